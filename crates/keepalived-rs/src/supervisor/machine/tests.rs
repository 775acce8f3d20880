use super::*;

fn roles(list: &[Role]) -> BTreeSet<Role> {
    list.iter().copied().collect()
}

fn drain(machine: &mut Machine) -> Vec<Action> {
    std::iter::from_fn(|| machine.poll_action()).collect()
}

/// Only what changes processes: no log lines, nothing for systemd.
fn effects(machine: &mut Machine) -> Vec<Action> {
    drain(machine)
        .into_iter()
        .filter(|action| !matches!(action, Action::Log(..) | Action::Notify(_) | Action::Forget(_)))
        .collect()
}

fn logs(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| if let Action::Log(_, text) = action { Some(text.as_str()) } else { None })
        .collect()
}

const WAIT: Duration = Duration::from_secs(5);

fn start(now: Instant, list: &[Role]) -> Machine {
    Machine::start(now, true, roles(list), WAIT)
}

/// A supervisor whose runner and VRRP worker run generation 1.
fn running(now: Instant) -> Machine {
    let mut machine = start(now, &[Role::Runner, Role::Vrrp]);
    machine.handle_spawned(Role::Runner, 10);
    machine.handle_spawned(Role::Vrrp, 11);
    machine.handle_prepared(now, Role::Runner, 1, None);
    machine.handle_prepared(now, Role::Vrrp, 1, Some(Duration::from_secs(1)));
    machine.handle_committed(now, Role::Runner, 1);
    machine.handle_committed(now, Role::Vrrp, 1);
    drain(&mut machine);
    machine
}

#[test]
fn a_start_prepares_everybody_before_anybody_commits() {
    let now = Instant::now();
    let mut machine = start(now, &[Role::Runner, Role::Vrrp]);
    assert_eq!(
        effects(&mut machine),
        [
            Action::Spawn(Role::Runner),
            Action::Prepare(Role::Runner, 1),
            Action::Spawn(Role::Vrrp),
            Action::Connect(Role::Vrrp, Role::Runner),
            Action::Prepare(Role::Vrrp, 1),
        ]
    );
    machine.handle_prepared(now, Role::Vrrp, 1, None);
    assert_eq!(effects(&mut machine), []);
    machine.handle_prepared(now, Role::Runner, 1, None);
    assert_eq!(effects(&mut machine), [Action::Commit(Role::Runner, 1)]);
    machine.handle_committed(now, Role::Runner, 1);
    assert_eq!(effects(&mut machine), [Action::Commit(Role::Vrrp, 1)]);
    machine.handle_committed(now, Role::Vrrp, 1);
    let actions = drain(&mut machine);
    assert_eq!(logs(&actions), ["Startup complete"]);
    assert!(actions.contains(&Action::Notify(Notify::Ready("Startup complete".into()))));
}

#[test]
fn nothing_to_run_is_said_and_is_ready() {
    let mut machine = start(Instant::now(), &[]);
    let actions = drain(&mut machine);
    assert_eq!(logs(&actions), ["Warning - keepalived has no configuration to run", "Startup complete"]);
}

#[test]
fn a_part_that_is_refused_at_start_stops_everything_with_its_status() {
    let now = Instant::now();
    let mut machine = start(now, &[Role::Vrrp]);
    drain(&mut machine);
    machine.handle_rejected(now, Role::Vrrp, 1, 2, "no such interface eth9");
    assert_eq!(effects(&mut machine), [Action::Stop(Role::Vrrp)]);
    machine.handle_exit(now, Role::Vrrp, Ended::Status(0));
    assert_eq!(effects(&mut machine), [Action::Retire(Role::Vrrp), Action::Exit(2)]);
}

#[test]
fn what_a_worker_had_to_leave_is_cleaned_up_before_the_end() {
    let now = Instant::now();
    for refused in [false, true] {
        let mut machine = if refused { start(now, &[Role::Vrrp]) } else { running(now) };
        drain(&mut machine);
        if refused {
            machine.handle_rejected(now, Role::Vrrp, 1, 2, "no such interface eth9");
        } else {
            machine.handle_stop(now);
        }
        drain(&mut machine);
        machine.handle_exit(now, Role::Vrrp, Ended::Status(71));
        assert!(effects(&mut machine).contains(&Action::CleanUp));
        machine.handle_exit(now, Role::Runner, Ended::Status(0));
        assert!(!effects(&mut machine).iter().any(|action| matches!(action, Action::Exit(_))));
        machine.handle_exit(now, Role::Cleanup, Ended::Status(0));
        assert_eq!(effects(&mut machine), [Action::Exit(if refused { 2 } else { 0 })]);
    }
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_gets_the_running_generation() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    let actions = drain(&mut machine);
    assert_eq!(
        logs(&actions),
        ["VRRP child process(11) died: Respawning", "Restart of VRRP process delayed 0 seconds to limit respawn rate"]
    );
    assert!(actions.contains(&Action::Spawn(Role::Vrrp)));
    assert!(actions.contains(&Action::Connect(Role::Vrrp, Role::Runner)));
    assert!(actions.contains(&Action::Restore(Role::Vrrp, 1)));
    machine.handle_prepared(now, Role::Vrrp, 1, None);
    assert_eq!(effects(&mut machine), [Action::Commit(Role::Vrrp, 1)]);
}

#[test]
fn quick_deaths_wait_0_1_2_4_seconds_and_the_addresses_are_cleaned_up_meanwhile() {
    let mut now = Instant::now();
    let mut machine = running(now);
    let mut waits = Vec::new();
    for _ in 0..4 {
        machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
        let actions = drain(&mut machine);
        let wait = machine.children[&Role::Vrrp].life;
        if let Life::Waiting(due) = wait {
            assert!(actions.contains(&Action::CleanUp));
            waits.push(due.duration_since(now).as_secs());
            machine.handle_exit(now, Role::Cleanup, Ended::Status(0));
            assert!(!drain(&mut machine).contains(&Action::Spawn(Role::Vrrp)), "the wait is not over");
            now = due;
            machine.handle_timeout(now);
            assert!(drain(&mut machine).contains(&Action::Spawn(Role::Vrrp)));
        } else {
            assert!(!actions.contains(&Action::CleanUp));
            waits.push(0);
        }
    }
    assert_eq!(waits, [0, 1, 2, 4]);
}

#[test]
fn a_worker_starts_only_when_the_clean_up_before_it_is_over() {
    for hangs in [false, true] {
        let now = Instant::now();
        let mut machine = running(now);
        for _ in 0..2 {
            machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
        }
        drain(&mut machine);
        let Life::Waiting(due) = machine.children[&Role::Vrrp].life else { panic!("the second death waits") };
        machine.handle_timeout(due);
        assert!(!drain(&mut machine).contains(&Action::Spawn(Role::Vrrp)), "it would add what is being removed");
        let over = machine.poll_timeout().unwrap();
        if hangs {
            machine.handle_timeout(over);
        } else {
            machine.handle_exit(due, Role::Cleanup, Ended::Status(0));
        }
        assert!(drain(&mut machine).contains(&Action::Spawn(Role::Vrrp)));
    }
}

#[test]
fn a_child_that_ran_a_minute_is_forgiven() {
    let mut now = Instant::now();
    let mut machine = running(now);
    for _ in 0..3 {
        now += Duration::from_secs(61);
        machine.handle_exit(now, Role::Vrrp, Ended::Signal(11));
        assert!(drain(&mut machine).contains(&Action::Spawn(Role::Vrrp)));
    }
}

#[test]
fn a_worker_without_a_beat_is_killed_and_replaced() {
    let now = Instant::now();
    let mut machine = running(now);
    assert_eq!(machine.poll_timeout(), Some(now + Duration::from_secs(1)));
    machine.handle_beat(now + Duration::from_millis(500), Role::Vrrp);
    machine.handle_timeout(now + Duration::from_secs(1));
    assert_eq!(effects(&mut machine), []);
    machine.handle_timeout(now + Duration::from_millis(1500));
    assert_eq!(effects(&mut machine), [Action::Kill(Role::Vrrp)]);
    machine.handle_exit(now + Duration::from_millis(1501), Role::Vrrp, Ended::Signal(9));
    assert!(effects(&mut machine).contains(&Action::Spawn(Role::Vrrp)));
}

#[test]
fn a_supervisor_that_was_held_up_itself_waits_for_the_beats_once_more() {
    let now = Instant::now();
    let mut machine = running(now);
    let thawed = now + Duration::from_secs(10);
    machine.handle_timeout(thawed);
    assert_eq!(effects(&mut machine), []);
    assert_eq!(machine.poll_timeout(), Some(thawed + Duration::from_secs(1)));
    machine.handle_timeout(thawed + Duration::from_secs(1));
    assert_eq!(effects(&mut machine), [Action::Kill(Role::Vrrp)]);
}

#[test]
fn a_supervisor_that_is_always_late_replaces_a_worker_that_hangs() {
    let now = Instant::now();
    let mut machine = running(now);
    let late = Duration::from_secs(5);
    machine.handle_timeout(now + late);
    assert_eq!(effects(&mut machine), []);
    machine.handle_beat(now + late, Role::Vrrp);
    machine.handle_timeout(now + 2 * late);
    assert_eq!(effects(&mut machine), [], "it has beaten since");
    machine.handle_timeout(now + 3 * late);
    assert_eq!(effects(&mut machine), [Action::Kill(Role::Vrrp)]);
}

#[test]
fn without_respawn_a_death_stops_everything() {
    let now = Instant::now();
    let mut machine = Machine::start(now, false, roles(&[Role::Runner, Role::Vrrp]), WAIT);
    drain(&mut machine);
    machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    assert_eq!(effects(&mut machine), [Action::CleanUp, Action::Retire(Role::Vrrp), Action::Stop(Role::Runner)]);
}

#[test]
fn a_stop_keeps_the_runner_until_the_workers_are_gone() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_stop(now);
    assert_eq!(effects(&mut machine), [Action::Stop(Role::Vrrp)]);
    machine.handle_exit(now, Role::Vrrp, Ended::Status(0));
    assert_eq!(effects(&mut machine), [Action::Retire(Role::Vrrp), Action::Stop(Role::Runner)]);
    machine.handle_exit(now, Role::Runner, Ended::Status(0));
    assert_eq!(effects(&mut machine), [Action::Retire(Role::Runner), Action::Exit(0)]);
}

#[test]
fn a_worker_that_does_not_stop_is_killed() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_stop(now);
    drain(&mut machine);
    assert_eq!(machine.poll_timeout(), Some(now + WAIT));
    machine.handle_timeout(now + WAIT);
    let actions = drain(&mut machine);
    assert_eq!(logs(&actions), ["VRRP process failed to die - forcing termination"]);
    assert!(actions.contains(&Action::Kill(Role::Vrrp)));
    machine.handle_exit(now + WAIT, Role::Vrrp, Ended::Signal(9));
    assert!(effects(&mut machine).contains(&Action::Stop(Role::Runner)));
}

#[test]
fn a_reload_is_prepared_by_all_then_committed() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_reload(now);
    assert_eq!(effects(&mut machine), [Action::Read]);
    let needed = roles(&[Role::Runner, Role::Vrrp]);
    machine.handle_reading(now, ReadOutcome::Usable { generation: 2, needed, child_wait: WAIT });
    assert_eq!(effects(&mut machine), [Action::Prepare(Role::Runner, 2), Action::Prepare(Role::Vrrp, 2)]);
    machine.handle_prepared(now, Role::Runner, 2, None);
    machine.handle_prepared(now, Role::Vrrp, 2, None);
    machine.handle_committed(now, Role::Runner, 2);
    machine.handle_committed(now, Role::Vrrp, 2);
    assert!(logs(&drain(&mut machine)).contains(&"Reload complete"));
}

#[test]
fn a_refused_file_changes_nothing_and_stays_visible() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_reload(now);
    drain(&mut machine);
    machine.handle_reading(now, ReadOutcome::Refused { exit: 6, why: "no such file".into() });
    let actions = drain(&mut machine);
    assert_eq!(logs(&actions), ["Reload refused, the running configuration stays: no such file"]);
    assert!(matches!(&actions[1], Action::Notify(Notify::Ready(status)) if status.contains("no such file")));
    assert_eq!(machine.running, 1);
}

#[test]
fn a_part_that_is_refused_at_reload_is_taken_back_from_everybody() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_reload(now);
    let needed = roles(&[Role::Runner, Role::Vrrp, Role::Checker]);
    machine.handle_reading(now, ReadOutcome::Usable { generation: 2, needed, child_wait: WAIT });
    drain(&mut machine);
    machine.handle_rejected(now, Role::Vrrp, 2, 2, "no");
    assert_eq!(
        effects(&mut machine),
        [Action::Abandon(Role::Runner, 2), Action::Kill(Role::Checker), Action::Abandon(Role::Vrrp, 2),]
    );
}

#[test]
fn a_death_during_a_reload_abandons_it_and_restarts_the_running_configuration() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_reload(now);
    let needed = roles(&[Role::Runner, Role::Vrrp]);
    machine.handle_reading(now, ReadOutcome::Usable { generation: 2, needed, child_wait: WAIT });
    drain(&mut machine);
    machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    let effects = effects(&mut machine);
    assert!(effects.contains(&Action::Abandon(Role::Runner, 2)));
    assert!(effects.contains(&Action::Restore(Role::Vrrp, 1)), "{effects:?}");
}

#[test]
fn reloads_during_a_reload_become_exactly_one() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_reload(now);
    machine.handle_reload(now);
    machine.handle_reload(now);
    drain(&mut machine);
    machine.handle_reading(now, ReadOutcome::Refused { exit: 6, why: "x".into() });
    assert_eq!(effects(&mut machine), [Action::Read]);
    machine.handle_reading(now, ReadOutcome::Refused { exit: 6, why: "x".into() });
    assert_eq!(effects(&mut machine), []);
}

#[test]
fn a_worker_that_is_no_longer_needed_stops_after_the_commit() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_reload(now);
    machine
        .handle_reading(now, ReadOutcome::Usable { generation: 2, needed: roles(&[Role::Runner]), child_wait: WAIT });
    drain(&mut machine);
    machine.handle_prepared(now, Role::Runner, 2, None);
    machine.handle_committed(now, Role::Runner, 2);
    assert!(effects(&mut machine).contains(&Action::Stop(Role::Vrrp)));
    machine.handle_exit(now, Role::Vrrp, Ended::Status(0));
    assert_eq!(effects(&mut machine), [Action::Retire(Role::Vrrp)]);
}

#[test]
fn a_reader_that_hangs_is_killed_and_the_reload_refused() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_reload(now);
    drain(&mut machine);
    for tick in 1..=30 {
        machine.handle_beat(now + Duration::from_secs(tick), Role::Vrrp);
    }
    machine.handle_timeout(now + READING_LIMIT);
    assert_eq!(effects(&mut machine), [Action::KillReader]);
}

#[test]
fn a_child_that_ends_with_a_permanent_status_ends_the_daemon_with_it() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_exit(now, Role::Vrrp, Ended::Status(2));
    let actions = drain(&mut machine);
    assert_eq!(logs(&actions), ["pid 11 exited with permanent error CONFIG. Terminating"]);
    machine.handle_exit(now, Role::Runner, Ended::Status(0));
    machine.handle_exit(now, Role::Cleanup, Ended::Status(0));
    assert!(drain(&mut machine).contains(&Action::Exit(2)));
}

#[test]
fn a_runner_that_is_no_longer_needed_outlives_the_workers() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_reload(now);
    machine.handle_reading(now, ReadOutcome::Usable { generation: 2, needed: roles(&[]), child_wait: WAIT });
    assert_eq!(effects(&mut machine), [Action::Read, Action::Stop(Role::Vrrp)]);
    machine.handle_exit(now, Role::Vrrp, Ended::Status(0));
    assert_eq!(effects(&mut machine), [Action::Retire(Role::Vrrp), Action::Stop(Role::Runner)]);
}

/// A reload of a running daemon has been read and handed out as generation 2.
fn reloading(now: Instant, list: &[Role]) -> Machine {
    let mut machine = running(now);
    machine.handle_reload(now);
    machine.handle_reading(now, ReadOutcome::Usable { generation: 2, needed: roles(list), child_wait: WAIT });
    drain(&mut machine);
    machine
}

#[test]
fn a_second_refusal_of_the_same_reload_harms_nobody() {
    let now = Instant::now();
    let mut machine = reloading(now, &[Role::Runner, Role::Vrrp]);
    machine.handle_rejected(now, Role::Runner, 2, 2, "no");
    drain(&mut machine);
    machine.handle_rejected(now, Role::Vrrp, 2, 2, "no");
    assert_eq!(drain(&mut machine), []);
}

#[test]
fn a_refusal_that_crosses_a_stop_does_not_kill_a_worker_that_resigns() {
    let now = Instant::now();
    let mut machine = reloading(now, &[Role::Runner, Role::Vrrp]);
    machine.handle_stop(now);
    drain(&mut machine);
    machine.handle_rejected(now, Role::Vrrp, 2, 2, "no");
    assert_eq!(drain(&mut machine), []);
}

#[test]
fn a_worker_started_for_a_refused_reload_starts_again_with_what_runs() {
    let now = Instant::now();
    let mut machine = running(now);
    for _ in 0..2 {
        machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    }
    machine.handle_exit(now, Role::Cleanup, Ended::Status(0));
    machine.handle_reload(now);
    let needed = roles(&[Role::Runner, Role::Vrrp]);
    machine.handle_reading(now, ReadOutcome::Usable { generation: 2, needed, child_wait: WAIT });
    assert!(drain(&mut machine).contains(&Action::Prepare(Role::Vrrp, 2)));
    machine.handle_rejected(now, Role::Runner, 2, 2, "no");
    assert!(drain(&mut machine).contains(&Action::Kill(Role::Vrrp)));
    machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    let due = machine.poll_timeout().unwrap();
    drain(&mut machine);
    machine.handle_exit(now, Role::Cleanup, Ended::Status(0));
    machine.handle_timeout(due);
    assert!(drain(&mut machine).contains(&Action::Restore(Role::Vrrp, 1)));
}

#[test]
fn a_reload_waits_until_a_worker_that_is_no_longer_needed_is_gone() {
    let now = Instant::now();
    let mut machine = reloading(now, &[Role::Runner]);
    machine.handle_prepared(now, Role::Runner, 2, None);
    machine.handle_committed(now, Role::Runner, 2);
    assert!(drain(&mut machine).contains(&Action::Stop(Role::Vrrp)));
    machine.handle_reload(now);
    let needed = roles(&[Role::Runner, Role::Vrrp]);
    machine.handle_reading(now, ReadOutcome::Usable { generation: 3, needed, child_wait: WAIT });
    assert_eq!(effects(&mut machine), [Action::Read]);
    machine.handle_exit(now, Role::Vrrp, Ended::Status(0));
    let actions = effects(&mut machine);
    assert!(actions.contains(&Action::Prepare(Role::Vrrp, 3)), "{actions:?}");
    assert!(!actions.contains(&Action::Stop(Role::Vrrp)));
}

#[test]
fn a_worker_that_is_no_longer_needed_and_does_not_stop_is_killed_once() {
    let now = Instant::now();
    let mut machine = reloading(now, &[Role::Runner]);
    machine.handle_prepared(now, Role::Runner, 2, None);
    machine.handle_committed(now, Role::Runner, 2);
    drain(&mut machine);
    machine.handle_timeout(now + WAIT);
    assert!(drain(&mut machine).contains(&Action::Kill(Role::Vrrp)));
    machine.handle_exit(now + WAIT, Role::Vrrp, Ended::Signal(9));
    assert_eq!(effects(&mut machine), [Action::CleanUp, Action::Retire(Role::Vrrp)]);
}

#[test]
fn a_worker_killed_at_a_stop_is_cleaned_up_after() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_stop(now);
    machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    machine.handle_exit(now, Role::Runner, Ended::Status(0));
    assert!(!drain(&mut machine).contains(&Action::Exit(0)));
    machine.handle_exit(now, Role::Cleanup, Ended::Status(0));
    assert_eq!(effects(&mut machine), [Action::Exit(0)]);
}

#[test]
fn what_a_checker_leaves_behind_at_a_stop_is_cleaned_up_too() {
    let now = Instant::now();
    let mut machine = Machine::start(now, true, roles(&[Role::Checker, Role::Vrrp]), WAIT);
    for role in [Role::Checker, Role::Vrrp] {
        machine.handle_prepared(now, role, 1, None);
    }
    for role in [Role::Checker, Role::Vrrp] {
        machine.handle_committed(now, role, 1);
    }
    machine.handle_exit(now, Role::Checker, Ended::Signal(9));
    assert!(!drain(&mut machine).contains(&Action::CleanUp), "its successor goes on with IPVS as it is");
    assert!(!machine.is_gone(Role::Checker));
    machine.handle_stop(now);
    drain(&mut machine);
    machine.handle_exit(now, Role::Checker, Ended::Signal(9));
    assert_eq!(effects(&mut machine), [Action::CleanUp, Action::Retire(Role::Checker)]);
    assert!(machine.is_gone(Role::Checker) && !machine.is_gone(Role::Vrrp), "it still stops by itself");
    // A second one waits for the first.
    machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    assert_eq!(effects(&mut machine), [Action::Retire(Role::Vrrp)]);
    machine.handle_exit(now, Role::Cleanup, Ended::Status(0));
    assert_eq!(effects(&mut machine), [Action::CleanUp]);
    assert!(machine.is_gone(Role::Vrrp));
    machine.handle_exit(now, Role::Cleanup, Ended::Status(0));
    assert_eq!(effects(&mut machine), [Action::Exit(0)]);
}

#[test]
fn a_clean_up_that_hangs_does_not_hold_up_the_stop() {
    let now = Instant::now();
    let mut machine = running(now);
    machine.handle_stop(now);
    machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    machine.handle_exit(now, Role::Runner, Ended::Status(0));
    drain(&mut machine);
    assert_eq!(machine.poll_timeout(), Some(now + CLEANUP_LIMIT));
    machine.handle_timeout(now + CLEANUP_LIMIT);
    assert_eq!(effects(&mut machine), [Action::Kill(Role::Cleanup), Action::Exit(0)]);
}

#[test]
fn a_worker_that_leaves_an_order_unanswered_is_replaced() {
    let now = Instant::now();
    let mut machine = start(now, &[Role::Vrrp]);
    drain(&mut machine);
    assert_eq!(machine.poll_timeout(), Some(now + ANSWER_LIMIT));
    machine.handle_timeout(now + ANSWER_LIMIT);
    assert_eq!(effects(&mut machine), [Action::Kill(Role::Vrrp)]);
}

#[test]
fn a_worker_that_dies_while_others_commit_gets_the_new_generation() {
    let now = Instant::now();
    let mut machine = reloading(now, &[Role::Runner, Role::Vrrp]);
    machine.handle_prepared(now, Role::Runner, 2, None);
    machine.handle_prepared(now, Role::Vrrp, 2, None);
    drain(&mut machine);
    machine.handle_exit(now, Role::Vrrp, Ended::Signal(9));
    assert!(drain(&mut machine).contains(&Action::Restore(Role::Vrrp, 2)));
    machine.handle_committed(now, Role::Runner, 2);
    machine.handle_prepared(now, Role::Vrrp, 2, None);
    assert_eq!(effects(&mut machine), [Action::Commit(Role::Vrrp, 2)]);
    machine.handle_committed(now, Role::Vrrp, 2);
    assert!(logs(&drain(&mut machine)).contains(&"Reload complete"));
}
