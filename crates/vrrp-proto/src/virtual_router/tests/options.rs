//! Settings beyond the RFC: stalls, start-up delay, strict mode, announcements on other links.

use super::*;
use crate::config::{AnnounceConfig, ExtraLinks, StrictChange};

fn with(set: impl FnOnce(&mut RouterConfig)) -> RouterConfig {
    let mut config = config();
    set(&mut config);
    config
}

fn no_preempt_after_stall(highest: u8) -> RouterConfig {
    with(|config| {
        config.preempt_mode = false;
        config.timer_expired_backup = Some(Priority(highest));
    })
}

#[test]
fn a_stalled_router_goes_to_backup_without_resigning() {
    // Three intervals and the skew of 200: 218.75 ms.
    let limit = millis(3000) + micros(218_750);
    let mut router = active(no_preempt_after_stall(200));
    let last = router.last_advertisement.unwrap();
    router.handle_timeout(last + limit);
    assert_eq!(router.role(), Role::Active, "a peer may just not have taken over yet");
    let last = router.last_advertisement.unwrap();
    drain(&mut router);
    let now = last + limit + micros(1);
    let adver_timer = due(&router);
    router.handle_timeout(now);
    assert_eq!(
        drain(&mut router),
        [
            format!("TimerExpired {{ late: {:?} }}", now.saturating_duration_since(adver_timer)).as_str(),
            "EnteringBackup { initial: false }",
            "Fact(Backup)",
            "Apply(Released)",
            "Notify(Backup { initial: false })",
        ]
    );
    assert_eq!(due(&router), now + micros(3_609_375));
}

#[test]
fn a_stall_is_noticed_by_the_packet_that_comes_first() {
    let mut router = active(no_preempt_after_stall(254));
    let now = T0 + millis(20_000);
    router.handle_advertisement(now, LOW, &advert(50));
    let actions = drain(&mut router);
    assert!(actions[0].starts_with("TimerExpired") && !actions.contains(&String::from("Advertise(100)")));
    assert_eq!(router.role(), Role::Backup);
    assert_eq!(router.active_router().unwrap().address, LOW, "who took over is followed");
}

#[test]
fn who_was_held_up_gives_up_to_whoever_took_over_meanwhile() {
    // Three intervals and the skew of an owner.
    let patience = millis(3000) + micros(3_906);
    let missed = |preempt_mode: bool, after: Duration, theirs: u8| {
        let mut router = active(with(|config| config.preempt_mode = preempt_mode));
        let now = router.last_advertisement.unwrap() + after;
        router.handle_advertisement(now, LOW, &advert(theirs));
        let waits = due(&router).saturating_duration_since(now);
        (router.role(), waits, drain(&mut router).contains(&String::from("Advertise(100)")))
    };
    assert_eq!(missed(true, patience, 50), (Role::Active, millis(1000), true), "no peer can have taken over");
    // It takes over again after Active_Down_Interval, or waits for the other one to fail.
    assert_eq!(missed(true, patience + micros(1), 50), (Role::Backup, micros(3_609_375), false));
    assert_eq!(missed(false, patience + micros(1), 50), (Role::Backup, micros(3_609_375), false));
    assert_eq!(missed(true, millis(60_000), 0).0, Role::Active, "who resigns does not hold the addresses any more");
}

#[test]
fn a_stall_that_nobody_made_up_for_matters_only_when_asked_for_and_without_preemption() {
    for config in [config(), with(|config| config.timer_expired_backup = Some(Priority(254)))] {
        let mut router = active(config);
        router.handle_timeout(T0 + millis(60_000));
        assert_eq!(router.role(), Role::Active);
    }
}

#[test]
fn during_the_start_up_delay_nothing_is_heard_and_timers_begin_after_it() {
    let mut router = backup(with(|config| config.start_not_before = T0 + millis(10_000)));
    assert_eq!(due(&router), T0 + millis(10_000) + micros(3_609_375));
    for priority in [0, 50, 200, 255] {
        router.handle_advertisement(T0 + millis(9_999), HIGH, &advert(priority));
    }
    assert!(drain(&mut router).is_empty());
    assert_eq!((router.active_router(), due(&router)), (None, T0 + millis(10_000) + micros(3_609_375)));
    router.handle_advertisement(T0 + millis(10_000), HIGH, &advert(200));
    assert_eq!(router.active_router().unwrap().address, HIGH);
}

#[test]
fn an_owner_waits_for_the_start_up_delay_in_silence() {
    let mut router = VirtualRouter::new(
        RouterId(1),
        with(|config| {
            config.priority = Priority::OWNER;
            config.start_not_before = T0 + millis(2000);
        }),
    );
    router.startup(T0);
    assert_eq!(drain(&mut router), ["Apply(Released)", "Fact(Backup)"]);
    assert_eq!(due(&router), T0 + millis(2000));
    router.handle_timeout(T0 + millis(2000));
    assert_eq!(drain(&mut router)[..2], ["ReceiveAdvertisementTimeout", "Fact(Active)"]);
}

#[test]
fn a_fault_that_ends_within_the_start_up_delay_does_not_cut_it_short() {
    let mut router = VirtualRouter::new(RouterId(1), with(|config| config.start_not_before = T0 + millis(10_000)));
    router.handle_fault(T0, DOWN);
    router.startup(T0);
    router.handle_fault_cleared(T0 + millis(1000), DOWN);
    assert_eq!(due(&router), T0 + millis(10_000) + micros(3_609_375));
}

#[test]
fn a_start_up_delay_that_a_reload_brings_makes_nobody_deaf() {
    let mut router = backup(config());
    router.reconfigure(T0, with(|config| config.start_not_before = T0 + millis(60_000)));
    router.handle_advertisement(T0 + millis(100), HIGH, &advert(200));
    assert_eq!(router.active_router().unwrap().address, HIGH);
}

#[test]
fn a_learned_interval_is_forgotten_in_fault() {
    let mut router = backup(config());
    router.handle_advertisement(T0, HIGH, &Advertisement { interval: centis(300), ..advert(200) });
    assert_eq!(router.active_adver_interval(), centis(300));
    router.handle_fault(T0, DOWN);
    router.handle_fault_cleared(T0, DOWN);
    assert_eq!((router.active_adver_interval(), due(&router)), (centis(100), T0 + micros(3_609_375)));
}

#[test]
fn the_interval_of_a_lower_priority_is_learned_only_while_it_is_left_alone() {
    for (delay, learned) in [(0, centis(100)), (5000, centis(300))] {
        let mut router = backup(with(|config| config.preempt_delay = millis(delay)));
        router.handle_advertisement(T0, HIGH, &Advertisement { interval: centis(300), ..advert(50) });
        assert_eq!(router.active_adver_interval(), learned);
    }
}

#[test]
fn a_preempt_delay_of_four_seconds_ends_in_a_take_over_after_another_active_down_interval() {
    let mut router = backup(with(|config| config.preempt_delay = millis(4000)));
    let mut taken_over = None;
    for step in 0..100 {
        let now = T0 + millis(step * 100);
        if step % 10 == 0 {
            router.handle_advertisement(now, HIGH, &advert(50));
        }
        router.handle_timeout(now);
        if router.role() == Role::Active {
            taken_over.get_or_insert(step * 100);
        }
    }
    // The last one that counted came after 3 s.
    assert_eq!(taken_over, Some(6700));
}

#[test]
fn down_timer_adverts_count_in_the_active_down_interval() {
    for (adverts, wait) in [(1, 1_609_375), (5, 5_609_375), (0, 1_609_375), (255, 100_609_375)] {
        assert_eq!(due(&backup(with(|config| config.down_timer_adverts = adverts))), T0 + micros(wait));
    }
}

#[test]
fn the_preempt_delay_is_at_most_a_thousand_seconds_and_needs_preemption() {
    let delay = |preempt_mode| {
        with(|config| {
            config.preempt_mode = preempt_mode;
            config.preempt_delay = millis(2_000_000);
        })
        .rules()
        .preempt_delay
    };
    assert_eq!((delay(true), delay(false)), (millis(1_000_000), Duration::ZERO));
}

#[test]
fn strict_mode_says_what_it_overrides() {
    let loose = with(|config| {
        config.strict = true;
        config.preempt_delay = millis(5000);
        config.down_timer_adverts = 5;
        config.higher_prio_send_advert = true;
        config.timer_expired_backup = Some(Priority(200));
    });
    assert_eq!(
        loose.strict_changes(),
        [
            StrictChange::PreemptDelay,
            StrictChange::DownTimerAdverts,
            StrictChange::AcceptMode,
            StrictChange::LowerPrioNoAdvert,
            StrictChange::HigherPrioSendAdvert,
            StrictChange::LowerPrioAnnouncements,
        ]
    );
    let rules = loose.rules();
    assert_eq!((rules.preempt_delay, rules.down_timer_adverts), (Duration::ZERO, 3));
    assert!(!rules.accept_mode && rules.lower_prio_no_advert && !rules.higher_prio_send_advert);
    assert_eq!((rules.announcements.lower_prio_repeat, rules.announcements.lower_prio_delay), (0, Duration::ZERO));
    assert_eq!(loose.active_down_interval(centis(100), Priority(100)), micros(3_609_375));
    assert!(config().strict_changes().is_empty());
}

#[test]
fn strict_mode_takes_effect() {
    let mut router = active(with(|config| config.strict = true));
    router.handle_advertisement(T0 + millis(4000), LOW, &advert(50));
    let actions = drain(&mut router);
    assert!(actions[1].ends_with("answered: false }"));
    assert_eq!(actions[2..], ["Notify(ReceivedLowerPriority)"], "no advertisement, no announcement");
}

#[test]
fn accept_mode_follows_owner_version_and_strict_mode() {
    let accepts = |priority: u8, version, strict, accept_mode| {
        with(|config| {
            config.priority = Priority(priority);
            config.version = version;
            config.strict = strict;
            config.accept_mode = accept_mode;
        })
        .rules()
        .accept_mode
    };
    assert!(accepts(100, Version::V2, false, None), "keepalived's default");
    assert!(!accepts(100, Version::V3, true, None), "the RFC's");
    assert!(accepts(255, Version::V2, true, Some(false)), "the owner always");
    assert!(accepts(100, Version::V3, true, Some(true)));
    assert!(!accepts(100, Version::V2, true, Some(true)), "version 2 has no such mode");
    assert!(!accepts(100, Version::V2, false, Some(false)));
}

#[test]
fn another_accept_mode_is_applied() {
    let mut router = active(config());
    router.reconfigure(T0 + millis(4000), with(|config| config.accept_mode = Some(false)));
    assert_eq!(drain(&mut router), ["Apply(Held)"]);
}

#[test]
fn other_links_are_announced_with_a_period_of_their_own() {
    for (extra_links, scope) in [(ExtraLinks::VirtualMac, "VirtualMacLinks"), (ExtraLinks::All, "AllLinks")] {
        let mut router = active(with(|config| {
            config.announcements.delay = Duration::ZERO;
            config.announcements.extra_period = millis(100_000);
            config.announcements.extra_links = extra_links;
        }));
        let since = router.last_transition().unwrap();
        let mut seen = Vec::new();
        while due(&router) <= since + millis(250_000) {
            let now = due(&router);
            router.handle_timeout(now);
            let announced = drain(&mut router).into_iter().filter(|action| action.starts_with("Announce"));
            seen.extend(announced.map(|action| (now.saturating_duration_since(since).as_secs(), action)));
        }
        assert_eq!(seen, [100, 200].map(|at| (at, format!("Announce({scope}, 1)"))));
    }
}

#[test]
fn the_minimum_of_announcements_is_one_send_and_no_second_block() {
    let mut router = backup(with(|config| config.announcements = AnnounceConfig::MINIMAL));
    let start = due(&router);
    router.handle_timeout(start);
    acknowledge(&mut router, start);
    assert!(drain(&mut router).contains(&String::from("Announce(1)")));
    let State::Active(state) = router.state() else { unreachable!("Active") };
    assert_eq!((state.announce_again, state.announce_refresh, state.announce_extra), (None, None, None));
}

#[test]
fn a_repeat_of_zero_counts_as_one() {
    let mut router = active(with(|config| {
        config.announcements.repeat = 0;
        config.announcements.refresh_repeat = 0;
        config.announcements.refresh = millis(500);
    }));
    router.handle_timeout(due(&router));
    assert_eq!(drain(&mut router), ["Announce(1)"]);
}

#[test]
fn a_second_block_is_never_sent_once_the_addresses_are_gone() {
    let mut router = active(config());
    router.handle_advertisement(T0 + millis(4000), LOW, &advert(200));
    drain(&mut router);
    let end = T0 + millis(7_000);
    while due(&router) <= end {
        router.handle_timeout(due(&router));
        assert!(!drain(&mut router).iter().any(|action| action.starts_with("Announce")));
    }
    assert_eq!(router.role(), Role::Backup);
}

#[test]
fn one_virtual_router_with_one_address_stays_under_one_kibibyte() {
    let mut config = config();
    config.addresses = alloc::vec![HIGH];
    let mut router = active(config);
    // The longest-lived memory: a conflict, a contest, every timer.
    router.handle_advertisement(T0 + millis(4000), LOW, &advert(50));
    // An engine lends its own queue, so that a router's is never filled. A set of faults is one leaf of a tree.
    let heap = router.config().addresses.capacity() * core::mem::size_of::<IpAddr>();
    assert_eq!(router.config().tracked_links.capacity(), 0);
    let faults = 12 * core::mem::size_of::<FaultReason>();
    let size = core::mem::size_of::<VirtualRouter>() + heap + faults;
    assert!(size <= 1024, "{size} octets");
}
