//! Virtual routers that move together.

use super::*;
use crate::config::GroupConfig;
use crate::track::{TrackerConfig, TrackerUse};

const GROUP: GroupId = GroupId(1);

/// Routers 1, 2 and 3 on links of their own; the group has the first `members` of them.
fn grouped(members: u32, change: impl Fn(u32, &mut RouterConfig)) -> EngineConfig {
    let routers = (1..=3u8).map(|number| {
        let mut config = config(number);
        config.link = Some(LinkId(u32::from(number)));
        change(u32::from(number), &mut config);
        (RouterId(u32::from(number)), config)
    });
    let mut wanted = EngineConfig::from_iter(routers);
    wanted.groups.insert(GROUP, GroupConfig::new((1..=members).map(RouterId).collect()));
    wanted
}

fn start(wanted: &EngineConfig) -> Engine {
    let mut engine = Engine::new();
    for link in 1..=3 {
        engine.handle_link(T0, LinkId(link), UP);
    }
    engine.reconfigure(T0, wanted);
    engine
}

/// All three Active at 10 s.
fn active(members: u32) -> Engine {
    let mut engine = start(&grouped(members, |_, _| {}));
    run_until(&mut engine, at(10));
    assert_eq!(roles(&engine), [Role::Active; 3]);
    engine
}

fn at(seconds: u64) -> Instant {
    T0 + Duration::from_secs(seconds)
}

fn roles(engine: &Engine) -> Vec<Role> {
    engine.routers().map(VirtualRouter::role).collect()
}

fn entered(actions: &[Action]) -> Vec<RouterId> {
    let entering = |action: &Action| match action {
        Action::Record { router, event: Event::EnteringActive } => Some(*router),
        _ => None,
    };
    actions.iter().filter_map(entering).collect()
}

fn resigned(actions: &[Action]) -> Vec<RouterId> {
    let resigning = |action: &Action| match action {
        Action::Advertise { router, priority: Priority::RESIGN } => Some(*router),
        _ => None,
    };
    actions.iter().filter_map(resigning).collect()
}

fn group_notifications(actions: &[Action]) -> Vec<Notification> {
    let notifying = |action: &Action| match action {
        Action::NotifyGroup { group: GROUP, notification } => Some(*notification),
        _ => None,
    };
    actions.iter().filter_map(notifying).collect()
}

#[test]
fn all_want_to_be_active_before_any_is_and_the_last_one_goes_first() {
    let slow = |number, config: &mut RouterConfig| config.priority = Priority(if number == 1 { 50 } else { 200 });
    let mut engine = start(&grouped(2, slow));
    let ready = T0 + Duration::from_micros(3_218_750);
    run_until(&mut engine, ready);
    assert_eq!(roles(&engine), [Role::Backup, Role::Backup, Role::Active]);
    assert!(engine.router(RouterId(2)).unwrap().ready());
    let actions = run_until(&mut engine, T0 + Duration::from_micros(3_804_687));
    assert_eq!(entered(&actions), [RouterId(1), RouterId(2)]);
    assert_eq!(roles(&engine), [Role::Active; 3]);
    let sync = Action::Record { router: RouterId(1), event: Event::GroupSyncs { group: GROUP, to: Role::Active } };
    let position = |wanted: &Action| actions.iter().position(|action| action == wanted).unwrap();
    let entering = |id| Action::Record { router: RouterId(id), event: Event::EnteringActive };
    assert!(position(&entering(1)) < position(&sync) && position(&sync) < position(&entering(2)));
}

#[test]
fn a_member_whose_timer_ended_keeps_rearming_while_another_does_not_want_to() {
    let mut engine = start(&grouped(2, |_, _| {}));
    for second in 0..60 {
        engine.handle_advertisement(at(second), RouterId(2), PEER, &advert(200));
        run_until(&mut engine, at(second));
    }
    assert_eq!(roles(&engine), [Role::Backup, Role::Backup, Role::Active]);
    run_until(&mut engine, at(64));
    assert_eq!(roles(&engine), [Role::Active; 3]);
}

#[test]
fn a_member_that_hears_an_active_router_does_not_want_to_any_more() {
    let mut engine = start(&grouped(2, |_, _| {}));
    engine.handle_advertisement(at(3), RouterId(2), PEER, &advert(200));
    run_until(&mut engine, at(5));
    assert!(engine.router(RouterId(1)).unwrap().ready());
    engine.handle_advertisement(at(5), RouterId(1), PEER, &advert(200));
    run_until(&mut engine, at(8));
    assert_eq!(roles(&engine)[..2], [Role::Backup; 2]);
}

#[test]
fn all_become_backup_when_one_yields_and_none_resigns() {
    let mut engine = active(2);
    engine.handle_advertisement(at(11), RouterId(1), PEER, &advert(200));
    let actions = settle(&mut engine, at(11));
    assert_eq!(roles(&engine), [Role::Backup, Role::Backup, Role::Active]);
    assert_eq!(resigned(&actions), []);
    let sync = Action::Record { router: RouterId(1), event: Event::GroupSyncs { group: GROUP, to: Role::Backup } };
    assert!(actions.contains(&sync));
    let due = engine.router(RouterId(2)).unwrap().poll_timeout().unwrap();
    assert_eq!(due, at(11) + Duration::from_micros(3_609_375));
}

#[test]
fn all_resign_and_come_back_soon_when_one_gives_up_lost_addresses() {
    let mut engine = active(2);
    for _ in 0..4 {
        engine.handle_address_lost(at(11), RouterId(1));
    }
    let actions = settle(&mut engine, at(11));
    assert_eq!(resigned(&actions), [RouterId(1), RouterId(2)]);
    assert_eq!(roles(&engine), [Role::Backup, Role::Backup, Role::Active]);
    run_until(&mut engine, at(11) + Duration::from_micros(609_375));
    assert_eq!(roles(&engine), [Role::Active; 3]);
}

#[test]
fn all_go_to_fault_with_one_and_resign() {
    let mut engine = active(2);
    engine.handle_link(at(11), LinkId(2), DOWN);
    let actions = settle(&mut engine, at(11));
    assert_eq!(roles(&engine), [Role::Fault, Role::Fault, Role::Active]);
    assert_eq!(resigned(&actions), [RouterId(2), RouterId(1)]);
    let faults = engine.router(RouterId(1)).unwrap().faults();
    assert_eq!(faults.iter().collect::<Vec<_>>(), [&FaultReason::SyncGroup(GROUP)]);
}

#[test]
fn the_fault_of_a_group_ends_when_no_member_is_faulty() {
    let mut engine = active(3);
    for link in 1..=3 {
        engine.handle_link(at(11), LinkId(link), DOWN);
    }
    for link in 1..=2 {
        engine.handle_link(at(12), LinkId(link), UP);
        assert_eq!(roles(&engine), [Role::Fault; 3]);
    }
    engine.handle_link(at(12), LinkId(3), UP);
    assert_eq!(roles(&engine), [Role::Backup; 3]);
    assert!(engine.routers().all(|router| router.faults().is_empty()));
}

#[test]
fn a_member_that_is_faulty_at_the_start_holds_all() {
    let mut engine = Engine::new();
    engine.handle_link(T0, LinkId(1), UP);
    engine.handle_link(T0, LinkId(2), DOWN);
    engine.handle_link(T0, LinkId(3), UP);
    engine.reconfigure(T0, &grouped(2, |_, _| {}));
    let actions = drain(&mut engine);
    assert_eq!(roles(&engine), [Role::Fault, Role::Fault, Role::Backup]);
    assert_eq!(group_notifications(&actions), [Notification::Fault { initial: true }]);
}

#[test]
fn a_group_speaks_after_its_members() {
    let mut engine = start(&grouped(2, |_, _| {}));
    let mut actions = run_until(&mut engine, at(10));
    engine.handle_link(at(11), LinkId(1), DOWN);
    actions.extend(settle(&mut engine, at(11)));
    engine.handle_link(at(12), LinkId(1), UP);
    actions.extend(settle(&mut engine, at(12)));
    let of_group = [
        Notification::Backup { initial: true },
        Notification::Active,
        Notification::Fault { initial: false },
        Notification::Backup { initial: false },
    ];
    assert_eq!(group_notifications(&actions), of_group);
    let mut of_members: Vec<Vec<Notification>> = vec![Vec::new(); 2];
    for action in &actions {
        match action {
            Action::Notify { router: RouterId(id @ 1..=2), notification, .. } => {
                of_members[*id as usize - 1].push(*notification);
            }
            Action::NotifyGroup { notification, .. } => {
                assert!(of_members.iter().all(|said| said.last() == Some(notification)), "{action:?}");
            }
            _ => {}
        }
    }
    assert_eq!(of_members, [of_group, of_group], "and no member says anything twice");
}

#[test]
fn on_shutdown_groups_stop_after_all_routers() {
    let mut engine = active(2);
    engine.shutdown(at(11));
    let actions = settle(&mut engine, at(11));
    let last = Action::NotifyGroup { group: GROUP, notification: Notification::Stop };
    assert_eq!(actions.last(), Some(&last));
    assert_eq!(group_notifications(&actions), [Notification::Stop]);
    assert_eq!(engine.poll_timeout(), None);
}

#[test]
fn an_owner_in_a_group_waits_for_one_interval_and_its_skew() {
    let owner = |number, config: &mut RouterConfig| {
        if number == 1 {
            config.priority = Priority::OWNER;
        }
    };
    let engine = start(&grouped(2, owner));
    let due = engine.router(RouterId(1)).unwrap().poll_timeout().unwrap();
    assert_eq!(due, T0 + Duration::from_micros(1_003_906));
}

#[test]
fn a_group_of_owners_goes_at_once() {
    let mut engine = start(&grouped(2, |_, config| config.priority = Priority::OWNER));
    run_until(&mut engine, T0 + Duration::from_millis(1));
    assert_eq!(roles(&engine), [Role::Active; 3]);
}

#[test]
fn all_members_announce_their_addresses_when_one_hears_a_lower_priority() {
    let mut engine = active(2);
    run_until(&mut engine, at(20));
    engine.handle_advertisement(at(20), RouterId(1), PEER, &advert(50));
    let announced: Vec<_> = settle(&mut engine, at(20))
        .into_iter()
        .filter_map(
            |action| if let Action::Announce { router, repeat, .. } = action { Some((router, repeat)) } else { None },
        )
        .collect();
    assert_eq!(announced, [(RouterId(1), 5), (RouterId(2), 5)]);
    // The one that heard it has won the conflict by then, and says so by a block of its own.
    let won = run_until(&mut engine, at(24));
    let again = run_until(&mut engine, at(25));
    let announcing = |actions: &[Action]| {
        let announced = |action: &Action| matches!(action, Action::Announce { repeat: 5, .. }).then(|| action.router());
        actions.iter().filter_map(announced).collect::<Vec<_>>()
    };
    assert_eq!(announcing(&won), [Some(RouterId(1))]);
    assert_eq!(announcing(&again), [Some(RouterId(1)), Some(RouterId(2))], "after garp_lower_prio_delay");
}

#[test]
fn the_second_membership_of_a_router_does_not_count() {
    let mut wanted = grouped(2, |_, _| {});
    wanted.groups.insert(GroupId(2), GroupConfig::new(vec![RouterId(2), RouterId(3)]));
    let mut engine = start(&wanted);
    run_until(&mut engine, at(10));
    engine.handle_link(at(11), LinkId(2), DOWN);
    assert_eq!(roles(&engine), [Role::Fault, Role::Fault, Role::Active]);
}

#[test]
fn a_group_of_one_works() {
    let mut engine = start(&grouped(1, |_, _| {}));
    let actions = run_until(&mut engine, at(10));
    assert_eq!(roles(&engine), [Role::Active; 3]);
    assert_eq!(group_notifications(&actions), [Notification::Backup { initial: true }, Notification::Active]);
    assert_eq!(engine.group_role(GROUP), Some(Role::Active));
}

#[test]
fn a_group_stands_aside_while_a_member_was_told_to() {
    let mut engine = active(2);
    engine.handle_command(at(11), RouterId(1), Command::StepDown { until: None });
    let actions = settle(&mut engine, at(11));
    assert_eq!(resigned(&actions), [RouterId(1), RouterId(2)]);
    run_until(&mut engine, at(100));
    assert_eq!(roles(&engine), [Role::Backup, Role::Backup, Role::Active]);
    engine.handle_command(at(100), RouterId(1), Command::EndStepDown);
    run_until(&mut engine, at(104));
    assert_eq!(roles(&engine), [Role::Active; 3]);
}

#[test]
fn a_group_resumes_whole() {
    let mut before = active(2);
    let now = T0 + Duration::from_millis(10_500);
    let mut after = Engine::resume(before.snapshot());
    drain(&mut before);
    for link in 1..=3 {
        after.handle_link(now, LinkId(link), UP);
    }
    after.reconfigure(now, &grouped(2, |_, _| {}));
    let actions = settle(&mut after, now);
    assert_eq!(roles(&after), [Role::Active; 3]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Notify { .. } | Action::NotifyGroup { .. })));
}

#[test]
fn a_group_does_not_resume_in_part() {
    let before = active(2);
    let now = T0 + Duration::from_millis(10_500);
    let mut snapshot = before.snapshot();
    snapshot.routers.get_mut(&RouterId(2)).unwrap().last_advertisement = Some(T0);
    let mut after = Engine::resume(snapshot);
    for link in 1..=3 {
        after.handle_link(now, LinkId(link), UP);
    }
    after.reconfigure(now, &grouped(2, |_, _| {}));
    let actions = settle(&mut after, now);
    assert_eq!(roles(&after), [Role::Backup, Role::Backup, Role::Active]);
    assert_eq!(resigned(&actions), [RouterId(1)], "peers still count on it");
}

#[test]
fn a_router_can_be_taken_out_of_what_runs_without_touching_the_rest() {
    let wanted = shaped(0b100 | 3 << 5);
    let mut engine = start(&wanted);
    engine.handle_tracker(T0, TrackerId(1), Verdict::Up);
    run_until(&mut engine, at(10));
    assert_eq!(engine.config(), wanted);
    let mut staying = engine.config();
    staying.routers.remove(&RouterId(3));
    let plan = engine.reconfigure(at(10), &staying);
    assert_eq!((plan.stopped, plan.unchanged), (vec![RouterId(3)], vec![RouterId(1), RouterId(2)]));
    assert!(settle(&mut engine, at(10)).iter().all(|action| action.router() == Some(RouterId(3))));
    assert_eq!(roles(&engine), [Role::Active; 2]);
}

#[test]
fn a_group_that_stays_is_left_alone_by_a_reload() {
    let mut engine = active(2);
    let before = format!("{:?}", engine.groups);
    let plan = engine.reconfigure(at(10), &grouped(2, |_, _| {}));
    assert_eq!((plan.groups.unchanged, plan.unchanged.len()), (vec![GROUP], 3));
    assert!(drain(&mut engine).is_empty());
    assert_eq!(format!("{:?}", engine.groups), before);
}

#[test]
fn members_that_leave_are_free_of_the_fault_of_the_others() {
    let mut engine = active(3);
    engine.handle_link(at(11), LinkId(1), DOWN);
    assert_eq!(roles(&engine), [Role::Fault; 3]);
    let plan = engine.reconfigure(at(12), &grouped(2, |_, _| {}));
    assert_eq!(plan.groups.changed, [GROUP]);
    assert_eq!(roles(&engine), [Role::Fault, Role::Fault, Role::Backup]);
    run_until(&mut engine, at(20));
    assert_eq!(roles(&engine)[2], Role::Active);
}

#[test]
fn members_that_waited_for_one_that_left_go() {
    let mut engine = start(&grouped(3, |_, _| {}));
    for second in 0..10 {
        engine.handle_advertisement(at(second), RouterId(3), PEER, &advert(200));
        run_until(&mut engine, at(second));
    }
    assert_eq!(roles(&engine), [Role::Backup; 3]);
    engine.reconfigure(at(10), &grouped(2, |_, _| {}));
    assert_eq!(roles(&engine), [Role::Active, Role::Active, Role::Backup]);
}

#[test]
fn a_new_member_joins_without_stopping_the_others() {
    let mut engine = active(2);
    let mut wanted = grouped(2, |_, _| {});
    wanted.routers.insert(RouterId(4), config(4));
    wanted.routers.get_mut(&RouterId(4)).unwrap().link = Some(LinkId(3));
    wanted.groups.get_mut(&GROUP).unwrap().members.push(RouterId(4));
    engine.reconfigure(at(10), &wanted);
    run_until(&mut engine, at(20));
    assert_eq!(roles(&engine), [Role::Active; 4]);
}

#[test]
fn a_new_member_that_finds_an_active_router_brings_the_others_back() {
    let mut engine = active(2);
    let mut wanted = grouped(2, |_, _| {});
    wanted.routers.insert(RouterId(4), config(4));
    wanted.groups.get_mut(&GROUP).unwrap().members.push(RouterId(4));
    engine.reconfigure(at(10), &wanted);
    engine.handle_advertisement(at(11), RouterId(4), PEER, &advert(200));
    assert_eq!(roles(&engine), [Role::Backup, Role::Backup, Role::Active, Role::Backup]);
}

#[test]
fn a_member_that_waits_and_is_then_told_to_stay_away_is_not_taken_along() {
    let slow = |number, config: &mut RouterConfig| config.priority = Priority(if number == 1 { 50 } else { 200 });
    let mut engine = start(&grouped(2, slow));
    let ready = T0 + Duration::from_micros(3_218_750);
    run_until(&mut engine, ready);
    engine.handle_command(ready, RouterId(2), Command::StepDown { until: None });
    run_until(&mut engine, at(20));
    assert_eq!(roles(&engine), [Role::Backup, Role::Backup, Role::Active]);
    assert!(engine.router(RouterId(1)).unwrap().ready());
    engine.handle_command(at(20), RouterId(2), Command::EndStepDown);
    run_until(&mut engine, at(24));
    assert_eq!(roles(&engine), [Role::Active; 3]);
}

#[test]
fn a_group_formed_around_a_member_that_follows_another_router_is_backup() {
    let mut engine = start(&grouped(0, |_, _| {}));
    for second in 0..=10 {
        engine.handle_advertisement(at(second), RouterId(1), PEER, &advert(200));
        run_until(&mut engine, at(second));
    }
    assert_eq!(roles(&engine), [Role::Backup, Role::Active, Role::Active]);
    engine.reconfigure(at(10), &grouped(2, |_, _| {}));
    let actions = settle(&mut engine, at(10));
    assert_eq!(roles(&engine), [Role::Backup, Role::Backup, Role::Active]);
    assert_eq!(resigned(&actions), [RouterId(2)], "nobody has taken over from it");
    assert_eq!(group_notifications(&actions), [Notification::Backup { initial: true }]);
}

/// The routers 1 and 2 in one group and 3 in another, or 1 in one and 2 and 3 in the other.
fn two_groups(first: u32, change: impl Fn(u32, &mut RouterConfig)) -> EngineConfig {
    let mut wanted = grouped(first, change);
    wanted.groups.insert(GroupId(2), GroupConfig::new((first + 1..=3).map(RouterId).collect()));
    wanted
}

#[test]
fn an_owner_that_moves_to_another_group_waits_for_that_one() {
    let owner = |number, config: &mut RouterConfig| {
        if number == 2 {
            config.priority = Priority::OWNER;
        }
    };
    let mut engine = start(&two_groups(2, owner));
    engine.handle_link(at(1), LinkId(1), DOWN);
    settle(&mut engine, at(1));
    assert_eq!(roles(&engine), [Role::Fault, Role::Fault, Role::Backup]);
    engine.handle_advertisement(at(1), RouterId(3), PEER, &advert(200));
    engine.reconfigure(at(2), &two_groups(1, owner));
    assert_eq!(roles(&engine), [Role::Fault, Role::Backup, Role::Backup]);
    assert_eq!(entered(&settle(&mut engine, at(2))), []);
}

#[test]
fn a_member_that_moves_from_one_faulty_group_to_another_stays_in_fault() {
    let mut engine = start(&two_groups(2, |_, _| {}));
    for link in [1, 3] {
        engine.handle_link(at(1), LinkId(link), DOWN);
    }
    settle(&mut engine, at(1));
    engine.reconfigure(at(2), &two_groups(1, |_, _| {}));
    let said = |action: &Action| matches!(action, Action::Notify { router: RouterId(2), .. });
    assert!(!settle(&mut engine, at(2)).iter().any(said));
    let faults = engine.router(RouterId(2)).unwrap().faults();
    assert_eq!(faults.iter().collect::<Vec<_>>(), [&FaultReason::SyncGroup(GroupId(2))]);
}

#[test]
fn a_restarted_process_tells_of_a_fault_that_nobody_was_told_of() {
    let mut wanted = grouped(2, |number, config| {
        if number == 1 {
            config.trackers = vec![TrackerUse { tracker: TrackerId(1), weight: 0, reverse: false }];
        }
    });
    wanted.trackers.insert(TrackerId(1), TrackerConfig::Script { init_fail: false });
    let mut before = start(&wanted);
    settle(&mut before, T0);
    let mut after = Engine::resume(before.snapshot());
    after.handle_link(at(1), LinkId(1), DOWN);
    after.handle_link(at(1), LinkId(2), UP);
    after.reconfigure(at(1), &wanted);
    let first = Notification::Fault { initial: true };
    let told = |action: &Action| matches!(action, Action::Notify { router: RouterId(1), notification, .. } if *notification == first);
    assert!(settle(&mut after, at(1)).iter().any(told));
}

proptest! {
    #[test]
    fn members_never_part(
        steps in prop::collection::vec((0u64..3_000_000_000, 0u8..7, 1u32..4, any::<u8>()), 1..80),
    ) {
        let mut engine = start(&grouped(3, |_, _| {}));
        let mut told = [None; 3];
        let mut now = T0;
        for (wait, kind, target, value) in steps {
            now = now + Duration::from_nanos(wait);
            let router = RouterId(target);
            match kind {
                0 | 1 => engine.handle_advertisement(now, router, PEER, &advert(value)),
                2 => engine.handle_link(now, LinkId(target), if value.is_multiple_of(2) { DOWN } else { UP }),
                3 => engine.handle_address_lost(now, router),
                4 => engine.handle_command(now, router, Command::HoldInMaintenance),
                5 => engine.handle_command(now, router, Command::EndMaintenance),
                _ => engine.handle_timeout(now),
            }
            engine.handle_timeout(now);
            for action in settle(&mut engine, now) {
                let Action::Notify { router, notification, .. } = action else { continue };
                if notification != Notification::ReceivedLowerPriority {
                    let before = told[router.0 as usize - 1].replace(notification);
                    prop_assert_ne!(before, Some(notification), "a notification is not repeated");
                }
            }
            let roles = roles(&engine);
            prop_assert!(roles.iter().all(|role| *role == roles[0]), "{:?}", roles);
            prop_assert!(engine.poll_timeout().is_none_or(|due| due > now));
        }
    }
}

/// One of many configurations of the three routers: `shape` decides their groups, priorities and trackers.
fn shaped(shape: u8) -> EngineConfig {
    let owner = |number, config: &mut RouterConfig| {
        if shape & 0b1 != 0 && number != 3 || shape & 0b10 != 0 && number == 3 {
            config.priority = Priority::OWNER;
        }
        if shape & 0b100 != 0 && number == 1 {
            config.trackers = vec![TrackerUse { tracker: TrackerId(1), weight: 0, reverse: false }];
        }
        if shape & 0b1000 != 0 && number == 2 {
            config.start_not_before = at(20);
        }
        if shape & 0b1_0000 != 0 && number == 3 {
            config.vrid = Vrid::new(77).unwrap();
        }
    };
    let mut wanted = match shape >> 5 {
        0 => grouped(0, owner),
        1 => grouped(3, owner),
        2 => grouped(2, owner),
        3 => two_groups(2, owner),
        _ => two_groups(1, owner),
    };
    if shape >> 5 == 7 {
        wanted.routers.remove(&RouterId(2));
    }
    wanted.trackers.insert(TrackerId(1), TrackerConfig::Script { init_fail: false });
    wanted
}

/// What must hold of groups and their members after every input.
fn check_groups(engine: &Engine, now: Instant) -> Result<(), TestCaseError> {
    let mut again = engine.clone();
    drain(&mut again);
    for group in engine.groups.keys() {
        again.settle_group(now, *group);
    }
    prop_assert!(drain(&mut again).is_empty());
    prop_assert_eq!(format!("{:?}", engine.groups), format!("{:?}", again.groups));
    for router in engine.routers() {
        let group = engine.routers[&router.id()].group;
        let foreign = |reason: &&FaultReason| matches!(reason, FaultReason::SyncGroup(id) if Some(*id) != group);
        prop_assert_eq!(router.faults().iter().find(foreign), None);
        prop_assert!(matches!(router.role(), Role::Fault) != router.faults().is_empty());
    }
    for group in engine.groups.values() {
        let members = || group.members.iter().filter_map(|id| engine.router(*id));
        let active = members().any(|it| it.role() == Role::Active);
        prop_assert!(!active || !members().any(|it| it.follows() || it.has_own_fault()));
        prop_assert!(
            !active
                || !members().all(|it| it.role() == Role::Active || it.ready())
                || !members().any(VirtualRouter::ready)
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn groups_hold_together_over_reloads_restarts_and_commands(
        steps in prop::collection::vec((0u64..3_000_000_000, 0u8..12, 1u32..4, any::<u8>()), 1..80),
    ) {
        let mut wanted = shaped(32);
        let mut engine = start(&wanted);
        settle(&mut engine, T0);
        let mut links = [UP; 3];
        let mut now = T0;
        for (wait, kind, target, value) in steps {
            now = now + Duration::from_nanos(wait);
            let router = RouterId(target);
            let until = value.is_multiple_of(2).then(|| now + Duration::from_secs(5));
            match kind {
                0 | 1 => engine.handle_advertisement(now, router, PEER, &advert(value)),
                2 => {
                    links[target as usize - 1] = if value.is_multiple_of(2) { DOWN } else { UP };
                    engine.handle_link(now, LinkId(target), links[target as usize - 1]);
                }
                3 => engine.handle_address_lost(now, router),
                4 if value.is_multiple_of(3) => engine.handle_command(now, router, Command::HoldInMaintenance),
                4 => engine.handle_command(now, router, Command::EndMaintenance),
                5 => engine.handle_command(now, router, Command::StepDown { until }),
                6 => engine.handle_command(now, router, Command::EndStepDown),
                7 => {
                    let verdict = if value.is_multiple_of(2) { Verdict::Up } else { Verdict::Down };
                    engine.handle_tracker(now, TrackerId(1), verdict);
                }
                8 => {
                    wanted = shaped(value);
                    engine.reconfigure(now, &wanted);
                }
                9 => {
                    engine = Engine::resume(engine.snapshot());
                    for (link, facts) in (1..).zip(links) {
                        engine.handle_link(now, LinkId(link), facts);
                    }
                    engine.reconfigure(now, &wanted);
                }
                _ => {}
            }
            check_groups(&engine, now)?;
            engine.handle_timeout(now);
            settle(&mut engine, now);
            check_groups(&engine, now)?;
            prop_assert!(engine.poll_timeout().is_none_or(|due| due > now));
        }
    }
}
