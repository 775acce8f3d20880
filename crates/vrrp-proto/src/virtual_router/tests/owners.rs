//! Two routers that both say they own the addresses (RFC 9568 §8.3.2).

use super::*;

fn owner_config() -> RouterConfig {
    let mut config = config();
    config.priority = Priority::OWNER;
    config
}

fn hear(router: &mut VirtualRouter, at: u64, source: IpAddr, priority: u8) -> Vec<String> {
    router.handle_advertisement(T0 + millis(at), source, &advert(priority));
    drain(router)
}

fn wait(router: &mut VirtualRouter, until: u64) -> Vec<String> {
    while router.poll_timeout().is_some_and(|due| due <= T0 + millis(until)) {
        router.handle_timeout(due(router));
    }
    drain(router)
}

/// The second owner went on after it was told twice: told at 2.6 s and 3.6 s, heard again right after that.
pub(super) fn contested() -> VirtualRouter {
    let mut router = active(owner_config());
    wait(&mut router, 2500);
    hear(&mut router, 2600, LOW, 255);
    router.handle_timeout(T0 + millis(3600));
    hear(&mut router, 3650, LOW, 255);
    router
}

#[test]
fn of_two_owners_the_lower_address_yields() {
    let mut router = active(owner_config());
    let actions = hear(&mut router, 10, HIGH, 255);
    assert_eq!(actions[1], "TwoOwners { source: 10.9.0.3, yields: true }");
    assert!(!actions.contains(&String::from("Advertise(0)")));
    assert_eq!(router.role(), Role::Backup);
    // As long as the other one is heard.
    assert_eq!(hear(&mut router, 500, HIGH, 255), [""; 0]);
    assert_eq!(due(&router), T0 + millis(3500) + micros(3906));
}

#[test]
fn the_other_owner_says_it_twice_more_and_then_listens() {
    let mut router = active(owner_config());
    wait(&mut router, 100);
    let actions = hear(&mut router, 100, LOW, 255);
    assert_eq!(
        actions,
        [
            "ConflictStarted { source: 10.9.0.1, theirs: Priority(255), ours: Priority(255) }",
            "TwoOwners { source: 10.9.0.1, yields: false }",
            "Advertise(255)",
            "Fact(Active)",
        ]
    );
    assert!(hear(&mut router, 200, LOW, 255).is_empty(), "it may not have heard us yet");
    assert_eq!(wait(&mut router, 1100), ["Advertise(255)", "Fact(Active)"]);
    let State::Active(active) = router.state() else { unreachable!("Active") };
    let until = T0 + millis(1100) + millis(1200);
    assert_eq!(active.rival_owner.unwrap().phase, RivalPhase::Watched { until });
    let actions = wait(&mut router, 2300);
    assert_eq!(actions.last().unwrap(), "RivalOwnerStopped { source: 10.9.0.1 }");
    assert_eq!((router.role(), router.effective_priority()), (Role::Active, Priority::OWNER));
}

#[test]
fn the_wait_is_1_2_times_the_longer_interval() {
    let mut router = active(owner_config());
    let slow = Advertisement { interval: centis(500), ..advert(255) };
    router.handle_advertisement(T0 + millis(100), LOW, &slow);
    wait(&mut router, 1100);
    let State::Active(active) = router.state() else { unreachable!("Active") };
    let until = T0 + millis(1100) + millis(6000);
    assert_eq!(active.rival_owner.unwrap().phase, RivalPhase::Watched { until });
}

#[test]
fn an_owner_that_is_not_obeyed_runs_at_254_and_yields() {
    let mut router = contested();
    drain(&mut router);
    assert_eq!((router.role(), router.effective_priority()), (Role::Active, Priority(254)));
    let actions = hear(&mut router, 4000, LOW, 255);
    assert_eq!(actions[0], "HigherPriorityAdvert { source: 10.9.0.1, theirs: Priority(255), ours: Priority(254) }");
    assert_eq!(router.role(), Role::Backup);
    // Skew_Time stays that of 255.
    assert_eq!(due(&router), T0 + millis(7000) + micros(3906));
    hear(&mut router, 4100, LOW, 255);
    assert_eq!(router.effective_priority(), Priority(254), "still the same one");
    router.handle_advertisement(T0 + millis(4200), LOW, &advert(0));
    assert_eq!(due(&router), T0 + millis(4200) + micros(3906));
}

#[test]
fn giving_up_is_said_once() {
    let mut router = active(owner_config());
    hear(&mut router, 100, LOW, 255);
    wait(&mut router, 1100);
    assert_eq!(hear(&mut router, 1200, LOW, 255), ["RivalOwnerPersists { source: 10.9.0.1 }"]);
    assert_eq!(wait(&mut router, 2100)[0], "Advertise(254)");
}

#[test]
fn another_active_router_or_another_priority_makes_it_owner_again() {
    for (source, priority) in [(HIGH, 255), (HIGH, 100), (LOW, 254), (LOW, 0)] {
        let mut router = contested();
        drain(&mut router);
        let actions = hear(&mut router, 4000, source, priority);
        assert_eq!(actions[0], format!("OwnerPriorityRestored {{ source: {source} }}"));
        assert_eq!(router.effective_priority(), Priority::OWNER);
        let mut router = contested();
        hear(&mut router, 4000, LOW, 255);
        assert_eq!(router.role(), Role::Backup);
        assert!(hear(&mut router, 4100, source, priority)[0].starts_with("OwnerPriorityRestored"));
    }
}

#[test]
fn an_owner_at_254_that_hears_nobody_takes_over_at_254() {
    let mut router = contested();
    hear(&mut router, 4000, LOW, 255);
    let actions = wait(&mut router, 7100);
    assert!(actions.contains(&String::from("Advertise(254)")));
    assert_eq!(router.role(), Role::Active);
    // If the other one comes back, it is yielded to without another contest.
    assert!(hear(&mut router, 7200, LOW, 255)[1].starts_with("HigherPriorityAdvert"));
}

#[test]
fn a_restart_or_another_priority_forgets_the_second_owner() {
    let mut router = contested();
    router.shutdown(T0 + millis(4000));
    router.startup(T0 + millis(5000));
    assert_eq!(router.effective_priority(), Priority::OWNER);
    let mut router = contested();
    router.reconfigure(T0 + millis(4000), config());
    router.reconfigure(T0 + millis(4000), owner_config());
    assert_eq!(router.effective_priority(), Priority::OWNER);
}

#[test]
fn who_is_no_longer_owner_has_no_second_owner_to_watch() {
    let mut router = active(owner_config());
    hear(&mut router, 100, LOW, 255);
    router.reconfigure(T0 + millis(200), config());
    let actions = wait(&mut router, 10_000);
    assert!(!actions.iter().any(|action| action.starts_with("RivalOwner")), "{actions:?}");
}

#[test]
fn a_storm_of_a_second_owner_costs_two_advertisements_in_two_intervals() {
    let mut router = active(owner_config());
    let mut sent = 0;
    for at in 100..1900 {
        let actions = hear(&mut router, at, LOW, 255);
        let timeouts = wait(&mut router, at);
        sent += actions.iter().chain(&timeouts).filter(|action| action.starts_with("Advertise")).count();
        if router.effective_priority() < Priority::OWNER {
            break;
        }
    }
    assert_eq!(sent, 2);
}

#[test]
fn trackers_do_not_move_an_owner() {
    let mut router = active(owner_config());
    router.handle_weight(-100);
    assert_eq!(router.effective_priority(), Priority::OWNER);
    assert!(drain(&mut router).is_empty());
}
