//! Two Active Routers: every conflict starts, ends, lasts, and cannot be used against us.

use super::*;

fn hear(router: &mut VirtualRouter, now: Instant, source: IpAddr, priority: u8) -> Vec<String> {
    router.handle_advertisement(now, source, &advert(priority));
    drain(router)
}

/// Fires every timer up to `until`, and says when what happened.
fn run(router: &mut VirtualRouter, until: Instant) -> Vec<(Duration, String)> {
    let mut seen = Vec::new();
    while router.poll_timeout().is_some_and(|due| due <= until) {
        let now = due(router);
        router.handle_timeout(now);
        seen.extend(drain(router).into_iter().map(|action| (now.saturating_duration_since(T0), action)));
    }
    seen
}

fn count(actions: &[(Duration, String)], prefix: &str) -> usize {
    actions.iter().filter(|(_, action)| action.starts_with(prefix)).count()
}

#[test]
fn a_won_conflict_ends_after_silence_and_the_addresses_are_announced_once_more() {
    let mut quiet = config();
    quiet.announcements.lower_prio_repeat = 0;
    quiet.announcements.delay = Duration::ZERO;
    let mut router = active(quiet);
    let first = T0 + millis(5000);
    run(&mut router, first);
    assert_eq!(
        hear(&mut router, first, HIGH, 50)[0],
        "ConflictStarted { source: 10.9.0.3, theirs: Priority(50), ours: Priority(100) }"
    );
    let last = first + millis(1500);
    run(&mut router, last);
    hear(&mut router, last, LOW, 60);
    let seen = run(&mut router, last + millis(20_000));
    assert_eq!(count(&seen, "Announce"), 1);
    let ended: Vec<_> = seen.iter().filter(|(at, _)| *at == millis(6500) + micros(3_609_375)).collect();
    assert_eq!(
        ended.iter().map(|(_, action)| action.as_str()).collect::<Vec<_>>(),
        ["ConflictEnded { source: 10.9.0.1, duration: 1.5s, advertisements: 2, outcome: Won }", "Announce(5)"]
    );
    assert_eq!(router.stats().conflicts, 1);
}

#[test]
fn the_lower_priority_block_comes_at_once_and_again_later() {
    let mut router = active(config());
    let start = T0 + millis(20_000);
    run(&mut router, start);
    assert!(hear(&mut router, start, HIGH, 50).contains(&String::from("Announce(5)")));
    let seen = run(&mut router, start + millis(30_000));
    let announced: Vec<_> = seen.iter().filter(|(_, action)| action.starts_with("Announce")).map(|it| it.0).collect();
    assert_eq!(announced, [millis(20_000) + micros(3_609_375), millis(25_000)]);
}

#[test]
fn scripts_hear_of_it_again_only_if_asked_for() {
    for renotify in [false, true] {
        let mut config = config();
        config.renotify_on_conflict = renotify;
        let mut router = active(config);
        let start = T0 + millis(5000);
        run(&mut router, start);
        assert!(hear(&mut router, start, HIGH, 50).contains(&String::from("Notify(ReceivedLowerPriority)")));
        let seen = run(&mut router, start + millis(10_000));
        assert_eq!(count(&seen, "Notify(Active)"), usize::from(renotify));
    }
}

#[test]
fn a_conflict_before_the_addresses_are_in_place_is_not_announced_twice() {
    let mut router = backup(config());
    let start = due(&router);
    router.handle_timeout(start);
    hear(&mut router, start + millis(1), LOW, 50);
    // The kernel answers late; the conflict is over before.
    router.apply = None;
    let State::Active(mut state) = router.state() else { unreachable!("Active") };
    state.apply_deadline = Some(start + millis(60_000));
    router.state = State::Active(state);
    let seen = run(&mut router, start + millis(10_000));
    assert_eq!((count(&seen, "ConflictEnded"), count(&seen, "Announce")), (1, 0));
}

#[test]
fn every_way_out_of_active_ends_the_conflict() {
    let ways: [table::Input; 5] = [
        ("Yielded", |it, now| it.handle_advertisement(now, LOW, &advert(200))),
        ("Abandoned", |it, now| it.handle_fault(now, DOWN)),
        ("Abandoned", |it, now| it.shutdown(now)),
        ("Abandoned", |it, now| it.delete(now)),
        ("Abandoned", |it, now| (0..4).for_each(|_| it.handle_address_lost(now))),
    ];
    for (outcome, leave) in ways {
        let mut router = active(config());
        hear(&mut router, T0 + millis(4000), HIGH, 50);
        leave(&mut router, T0 + millis(4500));
        let ends: Vec<_> = drain(&mut router).into_iter().filter(|it| it.starts_with("ConflictEnded")).collect();
        assert_eq!(ends.len(), 1);
        assert!(ends[0].ends_with(&format!("outcome: {outcome} }}")), "{ends:?}");
        assert_ne!(router.role(), Role::Active);
    }
}

#[test]
fn a_router_that_resigns_is_no_rival() {
    let mut router = active(config());
    assert!(!hear(&mut router, T0 + millis(4000), HIGH, 0)[0].starts_with("Conflict"));
    assert_eq!(router.stats().conflicts, 0);
}

#[test]
fn no_accepted_advertisement_keeps_an_active_router_silent() {
    // Our interval is one second; whatever is heard every millisecond, so is our advertisement.
    for (source, priority) in [(HIGH, 50), (LOW, 100), (OWN, 100), (HIGH, 0)] {
        for lower_prio_no_advert in [false, true] {
            let mut config = config();
            config.lower_prio_no_advert = lower_prio_no_advert;
            let mut router = active(config);
            let start = T0 + millis(4000);
            run(&mut router, start);
            let mut last = start;
            for later in 0..20_000 {
                let now = start + millis(later);
                let mut actions = hear(&mut router, now, source, priority);
                actions.extend(run(&mut router, now).into_iter().map(|(_, action)| action));
                if actions.iter().any(|action| action.starts_with("Advertise")) {
                    last = now;
                }
                assert!(now.saturating_duration_since(last) <= millis(1000), "silent after {priority} from {source}");
            }
            assert_eq!(router.role(), Role::Active);
        }
    }
}

#[test]
fn a_storm_of_lower_priorities_is_answered_once_per_interval() {
    let mut router = active(config());
    let start = T0 + millis(4000);
    run(&mut router, start);
    let mut seen = Vec::new();
    for later in 0..10_000 {
        let now = start + millis(later);
        seen.extend(hear(&mut router, now, HIGH, 50).into_iter().map(|action| (millis(later), action)));
        seen.extend(run(&mut router, now));
    }
    for prefix in ["LowerPriorityAdvert", "Notify(ReceivedLowerPriority)"] {
        assert_eq!(count(&seen, prefix), 10, "{prefix}");
    }
    // Ours fall together with the answers, one per interval.
    assert!(count(&seen, "Advertise") <= 11, "{}", count(&seen, "Advertise"));
}

#[test]
fn a_storm_of_resignations_is_answered_before_the_fastest_backup_takes_over() {
    let mut router = active(config());
    let start = T0 + millis(4000);
    run(&mut router, start);
    let (mut answers, mut waiting) = (0, None);
    for later in 0..2000 {
        let now = start + micros(later * 500);
        let mut actions = hear(&mut router, now, HIGH, 0);
        actions.extend(run(&mut router, now).into_iter().map(|(_, action)| action));
        if actions.contains(&String::from("Advertise(100)")) {
            answers += 1;
            waiting = None;
        } else {
            // Skew_Time of priority 254 is 7.8125 ms.
            let since = *waiting.get_or_insert(now);
            assert!(now.saturating_duration_since(since) < micros(7812));
        }
    }
    assert!((100..=130).contains(&answers), "{answers} answers to 2000 in one second");
}

#[test]
fn a_storm_in_backup_is_reported_once_per_interval() {
    let mut router = backup(config());
    let before = due(&router);
    let mut reported = 0;
    for later in 0..3000 {
        reported += hear(&mut router, T0 + millis(later), HIGH, 50).len();
    }
    assert_eq!(reported, 3);
    assert_eq!(due(&router), before);
}

#[test]
fn our_own_address_is_reported_and_does_not_keep_rivals_unanswered() {
    let mut router = active(config());
    let start = T0 + millis(4000);
    let warned = (0..500).filter(|later| {
        hear(&mut router, start + millis(*later), OWN, 100).iter().any(|it| it.starts_with("OwnAddressAdvert"))
    });
    assert_eq!(warned.count(), 1);
    let State::Active(state) = router.state() else { unreachable!("Active") };
    assert_eq!(state.conflict, None, "it may be our own packet that came back");
    assert!(hear(&mut router, start + millis(501), HIGH, 50).contains(&String::from("Advertise(100)")));
}

#[test]
fn what_is_remembered_of_rivals_does_not_grow() {
    let mut router = active(config());
    let before = core::mem::size_of_val(&router);
    for host in 1..=250 {
        let source = IpAddr::from([10, 9, 1, host]);
        hear(&mut router, T0 + millis(4000), source, 50);
    }
    assert_eq!(core::mem::size_of_val(&router), before, "and nothing of it is on the heap");
    let State::Active(state) = router.state() else { unreachable!("Active") };
    assert_eq!(state.conflict.unwrap().advertisements, 250);
}
