use super::*;
use crate::control::Command;
use crate::types::{Centis, Family, LinkId, Seconds, Vrid};
use alloc::string::String;
use alloc::vec::Vec;
use std::format;

mod conflicts;
mod options;
mod owners;
mod properties;
mod table;

const T0: Instant = Instant::from_nanos(1_000_000_000_000);
const LOW: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 9, 0, 1));
const OWN: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 9, 0, 2));
const HIGH: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 9, 0, 3));
const DOWN: FaultReason = FaultReason::LinkDown(LinkId(1));

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn centis(centis: u16) -> AdvertisementInterval {
    AdvertisementInterval::from_centis(Centis::new(centis).unwrap()).unwrap()
}

/// VRRPv3, priority 100, one second: Skew_Time 609.375 ms, Active_Down_Interval 3.609375 s.
fn config() -> RouterConfig {
    let mut config = RouterConfig::new(Vrid::new(51).unwrap(), Family::Ipv4);
    config.version = Version::V3;
    config.advertisement_interval = centis(100);
    config.source = Some(OWN);
    config
}

fn advert(priority: u8) -> Advertisement {
    Advertisement { vrid: Vrid::new(51).unwrap(), priority: Priority(priority), interval: centis(100) }
}

fn backup(config: RouterConfig) -> VirtualRouter {
    let mut router = VirtualRouter::new(RouterId(1), config);
    router.startup(T0);
    drain(&mut router);
    router
}

/// Active at [`due`], with its addresses in place.
fn active(config: RouterConfig) -> VirtualRouter {
    let mut router = backup(config);
    if router.role() == Role::Backup {
        router.handle_timeout(due(&router));
    }
    let since = router.last_transition().unwrap();
    acknowledge(&mut router, since);
    drain(&mut router);
    router
}

fn due(router: &VirtualRouter) -> Instant {
    router.poll_timeout().unwrap()
}

/// Answers the newest `Apply`.
fn acknowledge(router: &mut VirtualRouter, now: Instant) {
    let ticket = router.apply.unwrap().ticket;
    router.handle_applied(now, ticket);
}

fn drain(router: &mut VirtualRouter) -> Vec<String> {
    core::iter::from_fn(|| router.poll_action()).map(|action| brief(&action)).collect()
}

fn brief(action: &Action) -> String {
    match action {
        Action::TrackerFact { .. } | Action::NotifyGroup { .. } | Action::Prepare { .. } => format!("{action:?}"),
        Action::Fact { snapshot, .. } => format!("Fact({:?})", snapshot.role),
        Action::Advertise { priority, .. } => format!("Advertise({priority})"),
        Action::Apply { ownership, .. } => format!("Apply({ownership:?})"),
        Action::Announce { scope: AnnounceScope::Addresses, repeat, .. } => format!("Announce({repeat})"),
        Action::Announce { scope, repeat, .. } => format!("Announce({scope:?}, {repeat})"),
        Action::Notify { notification, .. } => format!("Notify({notification:?})"),
        Action::Record { event, .. } => format!("{event:?}"),
    }
}

#[test]
fn a_router_starts_as_backup_with_a_full_timer() {
    let mut router = VirtualRouter::new(RouterId(1), config());
    router.startup(T0);
    assert_eq!(
        drain(&mut router),
        ["Apply(Released)", "EnteringBackup { initial: true }", "Fact(Backup)", "Notify(Backup { initial: true })"]
    );
    assert_eq!(due(&router), T0 + micros(3_609_375));
}

#[test]
fn version_2_waits_as_keepalived_was_measured() {
    let mut config = RouterConfig::new(Vrid::new(51).unwrap(), Family::Ipv4);
    config.priority = Priority(150);
    assert_eq!(due(&backup(config)), T0 + micros(3_414_062));
}

#[test]
fn silence_makes_active_and_announcements_follow_the_kernel() {
    let mut router = backup(config());
    let now = due(&router);
    router.handle_timeout(now);
    assert_eq!(
        drain(&mut router),
        ["ReceiveAdvertisementTimeout", "Fact(Active)", "Advertise(100)", "EnteringActive", "Apply(Held)"]
    );
    acknowledge(&mut router, now + millis(2));
    assert_eq!(drain(&mut router), ["Announce(5)", "Notify(Active)", "Fact(Active)"]);
}

#[test]
fn the_owner_is_active_at_once() {
    let mut config = config();
    config.priority = Priority::OWNER;
    let mut router = VirtualRouter::new(RouterId(1), config);
    router.startup(T0);
    assert_eq!(
        drain(&mut router),
        ["ReceiveAdvertisementTimeout", "Fact(Active)", "Advertise(255)", "EnteringActive", "Apply(Held)"]
    );
}

#[test]
fn the_rhythm_neither_drifts_nor_bursts() {
    let mut router = active(config());
    let start = due(&router);
    router.handle_timeout(start + millis(30));
    assert_eq!(drain(&mut router), ["Advertise(100)", "Fact(Active)"]);
    assert_eq!(due(&router), start + millis(1000));
    router.handle_timeout(start + millis(4500));
    let actions = drain(&mut router);
    assert_eq!(actions.iter().filter(|action| *action == "Advertise(100)").count(), 1);
    let State::Active(active) = router.state() else { unreachable!("still Active") };
    assert_eq!(active.adver_timer, start + millis(5000));
}

#[test]
fn a_resigning_active_router_is_followed_after_skew_time() {
    let mut router = backup(config());
    router.handle_advertisement(T0 + millis(100), HIGH, &advert(0));
    assert_eq!(due(&router), T0 + millis(100) + micros(609_375));
}

#[test]
fn a_lower_priority_does_not_hold_a_backup_back() {
    let mut router = backup(config());
    let before = due(&router);
    router.handle_advertisement(T0 + millis(100), HIGH, &advert(99));
    assert_eq!(due(&router), before);
    assert!(drain(&mut router)[0].starts_with("LowerPriorityDiscarded"));
}

#[test]
fn without_preemption_any_priority_is_followed_except_by_the_owner() {
    let mut config = config();
    config.preempt_mode = false;
    let mut router = backup(config.clone());
    router.handle_advertisement(T0 + millis(100), HIGH, &advert(1));
    assert_eq!(due(&router), T0 + millis(100) + micros(3_609_375));
    config.priority = Priority::OWNER;
    assert!(config.preempts());
}

#[test]
fn the_preempt_delay_starts_with_a_lower_priority_and_then_ends() {
    let mut config = config();
    config.preempt_delay = millis(4000);
    let mut router = backup(config);
    router.handle_advertisement(T0, HIGH, &advert(50));
    assert_eq!(drain(&mut router)[0], "PreemptDelayStarted { delay: 4s }");
    router.handle_advertisement(T0 + millis(3000), HIGH, &advert(50));
    assert_eq!(due(&router), T0 + millis(3000) + micros(3_609_375));
    assert!(drain(&mut router).is_empty());
    router.handle_advertisement(T0 + millis(4000), HIGH, &advert(50));
    assert_eq!(due(&router), T0 + millis(3000) + micros(3_609_375), "the delay is over: discarded");
    router.handle_advertisement(T0 + millis(4500), LOW, &advert(100));
    assert_eq!(drain(&mut router)[1], "PreemptDelayStopped");
}

#[test]
fn a_version_3_backup_learns_the_interval_and_forgets_it_as_active() {
    let mut router = backup(config());
    let slow = Advertisement { interval: centis(200), ..advert(200) };
    router.handle_advertisement(T0, HIGH, &slow);
    let events = drain(&mut router);
    assert!(events[0].starts_with("IntervalLearned") && events[1].starts_with("ActiveSetTo"));
    assert_eq!(events[2], "Fact(Backup)");
    // Twice three seconds and twice the skew.
    assert_eq!(due(&router), T0 + micros(7_218_750));
    router.handle_timeout(due(&router));
    assert_eq!(router.active_adver_interval(), centis(100));
    assert_eq!(due(&router), T0 + micros(7_218_750) + millis(1000));
}

#[test]
fn a_version_2_backup_counts_in_its_own_interval() {
    let mut config = RouterConfig::new(Vrid::new(51).unwrap(), Family::Ipv4);
    config.advertisement_interval = AdvertisementInterval::from_seconds(Seconds(2)).unwrap();
    let mut router = backup(config.clone());
    router.handle_advertisement(T0, HIGH, &Advertisement { interval: config.advertisement_interval, ..advert(200) });
    assert_eq!(due(&router), T0 + micros(6_609_375));
}

#[test]
fn a_higher_priority_is_obeyed_without_resigning() {
    let mut router = active(config());
    let now = T0 + millis(5000);
    router.handle_advertisement(now, LOW, &advert(101));
    assert_eq!(
        drain(&mut router),
        [
            "ConflictStarted { source: 10.9.0.1, theirs: Priority(101), ours: Priority(100) }",
            "HigherPriorityAdvert { source: 10.9.0.1, theirs: Priority(101), ours: Priority(100) }",
            "ConflictEnded { source: 10.9.0.1, duration: 0ns, advertisements: 1, outcome: Yielded }",
            "EnteringBackup { initial: false }",
            "Fact(Backup)",
            "Apply(Released)",
            "Notify(Backup { initial: false })",
        ]
    );
    assert_eq!(due(&router), now + micros(3_609_375));
    assert_eq!(router.active_router().unwrap().address, LOW);
}

#[test]
fn one_more_advertisement_before_yielding_can_be_asked_for() {
    let mut config = config();
    config.higher_prio_send_advert = true;
    let mut router = active(config);
    router.handle_advertisement(T0 + millis(5000), LOW, &advert(101));
    assert_eq!(drain(&mut router)[2], "Advertise(100)");
    assert_eq!(router.role(), Role::Backup);
}

#[test]
fn equal_priorities_are_decided_by_address() {
    let now = T0 + millis(5000);
    let mut router = active(config());
    router.handle_advertisement(now, LOW, &advert(100));
    assert_eq!(router.role(), Role::Active);
    router.handle_advertisement(now, OWN, &advert(100));
    assert_eq!(router.role(), Role::Active);
    assert_eq!(drain(&mut router).last().unwrap(), "OwnAddressAdvert { source: 10.9.0.2 }");
    router.handle_advertisement(now, HIGH, &advert(100));
    assert_eq!(router.role(), Role::Backup);
}

#[test]
fn a_lower_priority_is_answered_once_per_interval() {
    let mut router = active(config());
    let now = T0 + millis(5000);
    router.handle_advertisement(now, LOW, &advert(50));
    let first = drain(&mut router);
    assert!(first[1].contains("answered: true"));
    assert_eq!(first[2..], ["Advertise(100)", "Fact(Active)", "Announce(5)", "Notify(ReceivedLowerPriority)"]);
    for later in 1..1000 {
        router.handle_advertisement(now + millis(later), LOW, &advert(50));
        assert!(drain(&mut router).is_empty());
    }
    router.handle_timeout(now + millis(1000));
    assert_eq!(drain(&mut router)[0], "Advertise(100)", "the storm did not move the rhythm");
    router.handle_advertisement(now + millis(1001), LOW, &advert(50));
    assert!(!drain(&mut router).is_empty());
}

#[test]
fn the_answer_to_a_lower_priority_can_be_switched_off() {
    let mut config = config();
    config.lower_prio_no_advert = true;
    let mut router = active(config);
    let before = router.state();
    router.handle_advertisement(T0 + millis(4000), LOW, &advert(50));
    let actions = drain(&mut router);
    assert!(actions[1].contains("answered: false"));
    assert!(!actions.iter().any(|action| action.starts_with("Advertise")));
    let (State::Active(before), State::Active(after)) = (before, router.state()) else { unreachable!("Active") };
    assert_eq!(before.adver_timer, after.adver_timer);
}

#[test]
fn announcements_come_twice_and_are_refreshed() {
    let mut config = config();
    config.announcements.refresh = millis(60_000);
    let mut router = backup(config);
    let start = due(&router);
    router.handle_timeout(start);
    acknowledge(&mut router, start);
    drain(&mut router);
    let mut announced = Vec::new();
    while due(&router) <= start + millis(120_000) {
        let now = due(&router);
        router.handle_timeout(now);
        let actions = drain(&mut router);
        announced.extend(
            actions
                .into_iter()
                .filter(|action| action.starts_with("Announce"))
                .map(|action| (now.saturating_duration_since(start).as_secs(), action)),
        );
    }
    let expected = [(5, "Announce(5)"), (60, "Announce(1)"), (120, "Announce(1)")];
    assert_eq!(announced, expected.map(|(at, what)| (at, String::from(what))));
}

#[test]
fn an_unacknowledged_active_router_goes_to_fault_and_comes_back_later() {
    let mut router = backup(config());
    let start = due(&router);
    router.handle_timeout(start);
    drain(&mut router);
    for second in 1..=3 {
        router.handle_timeout(start + millis(1000 * second));
    }
    drain(&mut router);
    assert_eq!(due(&router), start + micros(3_609_375));
    let failed = due(&router);
    router.handle_timeout(failed);
    assert_eq!(
        drain(&mut router),
        [
            "FaultRaised(NotApplied)",
            "EnteringFault { initial: false }",
            "Fact(Fault)",
            "Advertise(0)",
            "SentPriorityZero",
            "Apply(Released)",
            "Notify(Fault { initial: false })",
        ]
    );
    assert_eq!(router.poll_timeout(), None, "nothing before the kernel answers");
    acknowledge(&mut router, failed + millis(1));
    assert_eq!(due(&router), failed + micros(36_093_750));
    router.handle_timeout(due(&router));
    assert_eq!(router.role(), Role::Backup);
    assert!(router.faults().is_empty());
}

#[test]
fn a_refused_plan_is_tried_again_with_a_new_ticket() {
    let mut router = backup(config());
    let start = due(&router);
    router.handle_timeout(start);
    let first = router.apply.unwrap().ticket;
    router.handle_refused(start, first);
    drain(&mut router);
    router.handle_timeout(start + millis(1000));
    assert!(drain(&mut router).contains(&String::from("Apply(Held)")));
    router.handle_applied(start + millis(1001), first);
    assert!(drain(&mut router).is_empty(), "an old ticket says nothing");
    acknowledge(&mut router, start + millis(1001));
    assert_eq!(drain(&mut router), ["Announce(5)", "Notify(Active)", "Fact(Active)"]);
}

#[test]
fn a_refused_release_is_tried_again() {
    let mut router = backup(config());
    let ticket = router.apply.unwrap().ticket;
    router.handle_refused(T0, ticket);
    drain(&mut router);
    router.handle_timeout(T0 + millis(1000));
    assert_eq!(drain(&mut router), ["Apply(Released)"]);
}

#[test]
fn lost_addresses_are_put_back_three_times_in_ten_seconds() {
    let mut router = active(config());
    let start = T0 + millis(5000);
    for loss in 0..3 {
        let now = start + millis(loss * 100);
        router.handle_address_lost(now);
        assert_eq!(drain(&mut router), ["AddressLost { restored: true }", "Apply(Held)"]);
        acknowledge(&mut router, now);
        assert_eq!(drain(&mut router), ["Announce(5)"]);
    }
    router.handle_address_lost(start + millis(400));
    assert_eq!(
        drain(&mut router),
        [
            "AddressLost { restored: false }",
            "EnteringBackup { initial: false }",
            "Fact(Backup)",
            "Advertise(0)",
            "SentPriorityZero",
            "Apply(Released)",
            "Notify(Backup { initial: false })",
        ]
    );
    assert_eq!(due(&router), start + millis(400) + micros(609_375));
}

#[test]
fn addresses_that_are_being_put_back_are_announced_once_they_are_there() {
    let mut config = config();
    config.announcements.refresh = millis(1000);
    let mut router = active(config);
    let lost = T0 + millis(5000);
    router.handle_timeout(lost);
    router.handle_address_lost(lost);
    drain(&mut router);
    router.handle_timeout(lost + millis(1500));
    assert!(!drain(&mut router).iter().any(|action| action.starts_with("Announce")));
    acknowledge(&mut router, lost + millis(1600));
    assert_eq!(drain(&mut router), ["Announce(5)"]);
}

#[test]
fn losses_are_forgotten_after_ten_seconds() {
    let mut router = active(config());
    for loss in 0..20 {
        let now = T0 + millis(5000 + loss * 4000);
        router.handle_address_lost(now);
        acknowledge(&mut router, now);
        assert_eq!(router.role(), Role::Active);
    }
}

#[test]
fn faults_are_a_set() {
    let mut router = active(config());
    let other = FaultReason::TrackedLink(LinkId(2));
    router.handle_fault(T0, DOWN);
    router.handle_fault(T0, other);
    router.handle_fault(T0, other);
    drain(&mut router);
    router.handle_fault_cleared(T0, DOWN);
    assert_eq!(drain(&mut router), ["FaultCleared(LinkDown(LinkId(1)))"]);
    assert_eq!(router.role(), Role::Fault);
    router.handle_fault_cleared(T0 + millis(1), other);
    assert_eq!(router.role(), Role::Backup);
    assert_eq!(due(&router), T0 + millis(1) + micros(3_609_375));
    drain(&mut router);
    router.handle_fault_cleared(T0, DOWN);
    assert!(drain(&mut router).is_empty(), "what is up stays as it is");
}

#[test]
fn weights_move_the_priority_between_1_and_254() {
    let mut router = backup(config());
    for (weight, expected) in [(20, 120), (200, 254), (-200, 1), (0, 100)] {
        router.handle_weight(weight);
        assert_eq!(router.effective_priority(), Priority(expected));
        assert!(drain(&mut router)[0].starts_with("PriorityChanged"));
    }
    let mut owner = config();
    owner.priority = Priority::OWNER;
    let mut router = backup(owner);
    router.handle_weight(-50);
    assert_eq!(router.effective_priority(), Priority::OWNER);
}

#[test]
fn a_young_snapshot_resumes_as_active_in_silence() {
    let before = active(config());
    let snapshot = before.snapshot();
    let last = snapshot.last_advertisement.unwrap();
    let mut after = VirtualRouter::new(RouterId(1), config());
    after.resume(last + millis(3003), &snapshot);
    assert_eq!(drain(&mut after), ["ResumedActive", "Advertise(100)", "Fact(Active)", "Apply(Held)"]);
    assert_eq!(after.last_transition(), before.last_transition());
    acknowledge(&mut after, last + millis(3004));
    assert_eq!(drain(&mut after), ["Announce(5)"]);
}

#[test]
fn a_notification_that_the_process_before_did_not_live_to_give_is_made_up_for() {
    let mut before = backup(config());
    let now = before.poll_timeout().unwrap();
    before.handle_timeout(now);
    let snapshot = before.snapshot();
    assert_eq!((snapshot.role, snapshot.notified), (Role::Active, false));
    let mut after = VirtualRouter::new(RouterId(1), config());
    after.resume(now + millis(1), &snapshot);
    acknowledge(&mut after, now + millis(2));
    let actions = drain(&mut after);
    assert_eq!(actions[actions.len() - 3..], ["Announce(5)", "Notify(Active)", "Fact(Active)"]);
    assert!(after.snapshot().notified);
}

#[test]
fn an_old_snapshot_releases_and_starts_as_backup() {
    let snapshot = active(config()).snapshot();
    let last = snapshot.last_advertisement.unwrap();
    // A peer of priority 254 may have taken over, though one of ours would wait longer.
    for now in [last + micros(3_007_812), last.saturating_sub(millis(1))] {
        let mut after = VirtualRouter::new(RouterId(1), config());
        after.resume(now, &snapshot);
        assert_eq!(
            drain(&mut after),
            [
                "Fact(Stopped)",
                "Apply(Released)",
                "EnteringBackup { initial: true }",
                "Fact(Backup)",
                "Notify(Backup { initial: true })",
            ]
        );
    }
}

#[test]
fn the_supervisor_hears_that_it_is_no_longer_active_before_the_first_address_goes() {
    let snapshot = active(config()).snapshot();
    let last = snapshot.last_advertisement.unwrap();
    for late in [3003, 60_000] {
        let mut after = VirtualRouter::new(RouterId(1), config());
        after.handle_fault(last, DOWN);
        after.resume(last + millis(late), &snapshot);
        let actions = drain(&mut after);
        let position = |action: &str| actions.iter().position(|it| it == action).unwrap();
        assert!(position("Fact(Stopped)") < position("Apply(Released)"), "{actions:?}");
        let resigned = actions.iter().position(|it| it == "Advertise(0)");
        assert_eq!(resigned, (late == 3003).then_some(position("Fact(Stopped)") + 1), "{actions:?}");
    }
}

#[test]
fn peers_need_not_be_as_patient_as_this_router() {
    let patient = RouterConfig { down_timer_adverts: 10, ..config() };
    let hasty = RouterConfig { down_timer_adverts: 1, ..config() };
    for (config, shortest) in [(patient, 3_003_906), (hasty, 1_003_906)] {
        let snapshot = active(config).snapshot();
        let last = snapshot.last_advertisement.unwrap();
        assert!(snapshot.resumable(last + micros(shortest - 1)));
        assert!(!snapshot.resumable(last + micros(shortest)));
    }
}

#[test]
fn peers_wait_as_the_last_advertisement_says_and_not_as_the_configuration_does_since() {
    let mut router = active(config());
    let last = router.snapshot().last_advertisement.unwrap();
    router.reconfigure(last + millis(10), with_interval(1000));
    assert!(!router.snapshot().resumable(last + micros(3_003_906)));
    let next = due(&router);
    router.handle_timeout(next);
    assert!(router.snapshot().resumable(next + micros(30_039_061)));
}

#[test]
fn a_router_of_its_own_stays_under_the_commands_of_the_process_before() {
    let mut before = active(config());
    before.handle_command(T0 + millis(4000), Command::HoldInMaintenance);
    let snapshot = before.snapshot();
    let mut after = VirtualRouter::new(RouterId(1), config());
    after.resume(T0 + millis(4001), &snapshot);
    assert_eq!((after.role(), after.control().maintenance), (Role::Fault, true));
}

#[test]
fn a_backup_whose_interval_grows_waits_longer() {
    let mut router = backup(config());
    let slow = with_interval(1000);
    router.reconfigure(T0 + millis(100), slow);
    assert_eq!(due(&router), T0 + micros(36_093_750));
    router.reconfigure(T0 + millis(200), config());
    assert_eq!(due(&router), T0 + micros(36_093_750), "never sooner than somebody may rely on");
}

fn with_interval(interval: u16) -> RouterConfig {
    RouterConfig { advertisement_interval: centis(interval), ..config() }
}

#[test]
fn an_owner_that_is_none_any_more_listens_when_its_start_up_delay_is_over() {
    let delayed = |priority| RouterConfig { priority, start_not_before: T0 + millis(10_000), ..config() };
    let mut router = backup(delayed(Priority::OWNER));
    assert_eq!(due(&router), T0 + millis(10_000));
    router.reconfigure(T0 + millis(500), delayed(Priority(100)));
    assert_eq!(due(&router), T0 + millis(10_000) + micros(3_609_375));
    assert!(drain(&mut router).contains(&String::from("Notify(Backup { initial: true })")), "and says so");
}

#[test]
fn a_second_life_does_not_inherit_the_maintenance_of_the_first() {
    let mut router = active(config());
    let free = router.snapshot();
    router.handle_command(T0 + millis(4000), Command::HoldInMaintenance);
    router.shutdown(T0 + millis(4000));
    drain(&mut router);
    router.resume(T0 + millis(4500), &free);
    assert_eq!((router.role(), router.faults().len()), (Role::Active, 0));
}

#[test]
fn another_preempt_delay_counts_from_the_same_beginning() {
    let delayed = |delay| RouterConfig { preempt_delay: millis(delay), ..config() };
    for (delay, ends) in [(2000, 2000), (60_000, 60_000)] {
        let mut router = backup(delayed(4000));
        router.handle_advertisement(T0, HIGH, &advert(50));
        router.reconfigure(T0 + millis(100), delayed(delay));
        let State::Backup(state) = router.state() else { unreachable!("Backup") };
        assert_eq!(state.preempt_at, Some(T0 + millis(ends)));
    }
}

#[test]
fn a_resumed_router_in_fault_resigns() {
    let snapshot = active(config()).snapshot();
    let mut after = VirtualRouter::new(RouterId(1), config());
    after.handle_fault(T0, DOWN);
    after.resume(snapshot.last_advertisement.unwrap(), &snapshot);
    let actions = drain(&mut after);
    assert_eq!(actions[1..5], ["Fact(Stopped)", "Advertise(0)", "SentPriorityZero", "Apply(Released)"]);
    assert_eq!(after.role(), Role::Fault);
}

#[test]
fn a_resumed_backup_keeps_what_it_learned_and_says_nothing() {
    let mut before = backup(config());
    before.handle_advertisement(T0, HIGH, &Advertisement { interval: centis(300), ..advert(200) });
    let mut after = VirtualRouter::new(RouterId(1), config());
    after.resume(T0 + millis(500), &before.snapshot());
    assert_eq!(drain(&mut after), ["Apply(Released)", "EnteringBackup { initial: true }", "Fact(Backup)"]);
    assert_eq!(after.active_adver_interval(), centis(300));
}

#[test]
fn another_address_list_is_applied_without_a_transition() {
    let mut router = active(config());
    let before = router.state();
    let mut changed = config();
    changed.addresses.push(HIGH);
    router.reconfigure(T0 + millis(4000), changed.clone());
    assert_eq!(drain(&mut router), ["Apply(Held)"]);
    assert_eq!(router.last_transition(), Some(T0 + micros(3_609_375)));
    acknowledge(&mut router, T0 + millis(4001));
    assert_eq!(drain(&mut router), ["Announce(5)"]);
    changed.priority = Priority(120);
    router.reconfigure(T0 + millis(4002), changed);
    assert_eq!(drain(&mut router), ["PriorityChanged { from: Priority(100), to: Priority(120) }"]);
    let (State::Active(before), State::Active(after)) = (before, router.state()) else { unreachable!("Active") };
    assert_eq!(before.adver_timer, after.adver_timer);
}

#[test]
fn a_shorter_interval_takes_effect_at_once_and_a_longer_one_after_the_next_advertisement() {
    let mut router = active(config());
    let last = router.last_advertisement.unwrap();
    let mut fast = config();
    fast.advertisement_interval = centis(10);
    router.reconfigure(last + millis(20), fast);
    assert_eq!(due(&router), last + millis(100));
    router.reconfigure(last + millis(30), config());
    assert_eq!(due(&router), last + millis(100));
    router.handle_timeout(last + millis(100));
    assert_eq!(due(&router), last + millis(1100));
}

#[test]
fn stopping_says_so_first_then_resigns_then_releases() {
    let mut router = active(config());
    router.shutdown(T0 + millis(4000));
    assert_eq!(
        drain(&mut router),
        ["Fact(Stopped)", "Advertise(0)", "SentPriorityZero", "Apply(Released)", "Notify(Stop)"]
    );
    acknowledge(&mut router, T0 + millis(4000));
    assert_eq!(router.poll_timeout(), None);
    router.shutdown(T0 + millis(4001));
    assert!(drain(&mut router).is_empty());
}
