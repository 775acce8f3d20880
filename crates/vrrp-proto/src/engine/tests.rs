use super::*;
use crate::action::{Event, Notification, Ownership};
use crate::config::TrackedLink;
use crate::types::{AdvertisementInterval, Priority, Version, Vrid};
use core::time::Duration;
use proptest::prelude::*;
use std::format;
use std::vec;

mod ahead;
mod control;
mod first;
mod group;
mod tracking;

const T0: Instant = Instant::from_nanos(5_000_000_000);
const LINK: LinkId = LinkId(2);
const OTHER: LinkId = LinkId(3);
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 9));
const UP: LinkFacts =
    LinkFacts { up: true, multicast: true, ipv4_source: Some(Ipv4Addr::new(10, 9, 0, 1)), ipv6_source: None };
const DOWN: LinkFacts = LinkFacts { up: false, ..UP };

fn config(vrid: u8) -> RouterConfig {
    let mut config = RouterConfig::new(Vrid::new(vrid).unwrap(), Family::Ipv4);
    config.link = Some(LINK);
    config
}

fn advert(priority: u8) -> Advertisement {
    let interval = AdvertisementInterval::one_second(Version::V2);
    Advertisement { vrid: Vrid::new(1).unwrap(), priority: Priority(priority), interval }
}

fn wanted(routers: &[(RouterId, RouterConfig)]) -> EngineConfig {
    routers.iter().cloned().collect()
}

fn engine(routers: &[(RouterId, RouterConfig)]) -> Engine {
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.reconfigure(T0, &wanted(routers));
    drain(&mut engine);
    engine
}

fn drain(engine: &mut Engine) -> Vec<Action> {
    core::iter::from_fn(|| engine.poll_action()).collect()
}

/// Drains, and answers every `Apply`.
fn settle(engine: &mut Engine, now: Instant) -> Vec<Action> {
    let mut seen = Vec::new();
    while let Some(action) = engine.poll_action() {
        if let Action::Apply { router, ticket, .. } = action {
            engine.handle_applied(now, router, ticket);
        }
        seen.push(action);
    }
    seen
}

fn run_until(engine: &mut Engine, end: Instant) -> Vec<Action> {
    let mut seen = settle(engine, T0);
    while let Some(now) = engine.poll_timeout().filter(|due| *due <= end) {
        engine.handle_timeout(now);
        seen.extend(settle(engine, now));
    }
    seen
}

fn role(engine: &Engine, id: u32) -> Role {
    engine.router(RouterId(id)).unwrap().role()
}

fn two() -> Vec<(RouterId, RouterConfig)> {
    vec![(RouterId(1), config(1)), (RouterId(2), config(2))]
}

#[test]
fn the_plan_names_every_router_once() {
    let mut engine = engine(&two());
    let mut priority = config(2);
    priority.priority = Priority(7);
    let mut vrid = config(1);
    vrid.vrid = Vrid::new(9).unwrap();
    let three = [(RouterId(1), vrid), (RouterId(2), priority), (RouterId(3), config(3))];
    let plan = engine.plan(&wanted(&three));
    assert_eq!(plan, engine.reconfigure(T0, &wanted(&three)));
    assert_eq!(plan.restarted, [RouterId(1)]);
    assert_eq!(plan.changed, [RouterId(2)]);
    assert_eq!(plan.started, [RouterId(3)]);
    let plan = engine.reconfigure(T0, &wanted(&three[..1]));
    assert_eq!((plan.unchanged, plan.stopped), (vec![RouterId(1)], vec![RouterId(2), RouterId(3)]));
}

#[test]
fn an_unchanged_router_keeps_its_timers() {
    let mut engine = engine(&two());
    run_until(&mut engine, T0 + Duration::from_secs(10));
    let before = format!("{:?}", engine.router(RouterId(1)));
    engine.reconfigure(T0 + Duration::from_secs(10), &wanted(&two()));
    assert!(drain(&mut engine).is_empty());
    assert_eq!(format!("{:?}", engine.router(RouterId(1))), before);
}

#[test]
fn a_removed_router_resigns_releases_and_says_so() {
    let mut engine = engine(&two());
    run_until(&mut engine, T0 + Duration::from_secs(10));
    engine.reconfigure(T0 + Duration::from_secs(10), &wanted(&two()[..1]));
    let actions = drain(&mut engine);
    assert!(actions.iter().all(|action| action.router() == Some(RouterId(2))));
    assert!(matches!(actions[0], Action::Fact { .. }));
    assert!(matches!(actions[1], Action::Advertise { priority: Priority::RESIGN, .. }));
    assert!(matches!(actions[3], Action::Apply { ownership: Ownership::Released, .. }));
    assert!(matches!(actions[4], Action::Notify { notification: Notification::Deleted, .. }));
    assert!(engine.router(RouterId(2)).is_none());
    let only = engine.timers.iter().map(|(_, id)| *id).collect::<Vec<_>>();
    assert_eq!(only, [RouterId(1)]);
}

#[test]
fn links_put_routers_in_fault_and_back() {
    let mut engine = engine(&two());
    engine.handle_link(T0, LINK, DOWN);
    assert_eq!((role(&engine, 1), role(&engine, 2)), (Role::Fault, Role::Fault));
    let no_address = LinkFacts { ipv4_source: None, ..UP };
    engine.handle_link(T0, LINK, no_address);
    let faults = engine.router(RouterId(1)).unwrap().faults();
    assert_eq!(faults.iter().collect::<Vec<_>>(), [&FaultReason::NoSourceAddress]);
    engine.handle_link(T0, LINK, UP);
    assert_eq!(role(&engine, 1), Role::Backup);
    engine.handle_link_removed(T0, LINK);
    assert!(engine.router(RouterId(1)).unwrap().faults().contains(&FaultReason::LinkMissing(LINK)));
}

/// Whose adverts do not leave gives up its addresses, for its peers take over, and says so.
#[test]
fn a_router_without_sockets_is_in_fault_until_it_has_them() {
    let mut engine = engine(&two());
    let later = T0 + Duration::from_secs(10);
    run_until(&mut engine, later);
    assert_eq!(role(&engine, 1), Role::Active);
    engine.handle_path_lost(later, RouterId(1));
    engine.handle_path_lost(later, RouterId(1));
    let actions = drain(&mut engine);
    let raised = |it: &&Action| matches!(it, Action::Record { event: Event::FaultRaised(FaultReason::NoPath), .. });
    assert_eq!(actions.iter().filter(raised).count(), 1);
    let released = |it: &Action| matches!(it, Action::Apply { ownership: Ownership::Released, .. });
    let notified =
        |it: &Action| matches!(it, Action::Notify { notification: Notification::Fault { initial: false }, .. });
    assert!(actions.iter().any(released) && actions.iter().any(notified), "{actions:?}");
    assert_eq!((role(&engine, 1), role(&engine, 2)), (Role::Fault, Role::Active));
    // Another reason comes and goes, and a reload changes nothing.
    engine.handle_link(later, LINK, DOWN);
    engine.handle_link(later, LINK, UP);
    engine.reconfigure(later, &wanted(&two()));
    assert_eq!(role(&engine, 1), Role::Fault);
    engine.handle_path_restored(later, RouterId(1));
    assert_eq!(role(&engine, 1), Role::Backup);
}

/// A worker that follows another one and cannot open a socket: the addresses that it found have to go.
#[test]
fn who_resumes_without_sockets_withdraws() {
    let mut before = engine(&two());
    let later = T0 + Duration::from_secs(10);
    run_until(&mut before, later);
    let mut engine = Engine::resume(before.snapshot());
    engine.handle_link(later, LINK, UP);
    engine.handle_path_lost(later, RouterId(1));
    engine.reconfigure(later, &wanted(&two()));
    let actions = drain(&mut engine);
    let released =
        |it: &Action| matches!(it, Action::Apply { router: RouterId(1), ownership: Ownership::Released, .. });
    assert!(actions.iter().any(released), "{actions:?}");
    assert_eq!((role(&engine, 1), role(&engine, 2)), (Role::Fault, Role::Active));
}

#[test]
fn an_unknown_link_is_a_fault_from_the_start() {
    let mut engine = Engine::new();
    engine.reconfigure(T0, &wanted(&two()));
    let actions = drain(&mut engine);
    assert!(matches!(actions[0], Action::Record { event: Event::FaultRaised(FaultReason::LinkMissing(LINK)), .. }));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Notify { notification: Notification::Fault { initial: true }, .. }))
    );
    engine.handle_link(T0, LINK, UP);
    assert_eq!(role(&engine, 1), Role::Backup);
}

#[test]
fn tracked_links_are_faults_or_weights() {
    let mut unweighted = config(1);
    unweighted.tracked_links = vec![TrackedLink { link: OTHER, weight: 0, reverse: false }];
    let mut weighted = config(2);
    weighted.tracked_links = vec![TrackedLink { link: OTHER, weight: 20, reverse: false }];
    let mut reversed = config(3);
    reversed.tracked_links = vec![TrackedLink { link: OTHER, weight: 20, reverse: true }];
    let mut engine = engine(&[(RouterId(1), unweighted), (RouterId(2), weighted), (RouterId(3), reversed)]);
    let priority = |engine: &Engine, id| engine.router(RouterId(id)).unwrap().effective_priority().0;
    assert_eq!(role(&engine, 1), Role::Fault);
    assert_eq!((priority(&engine, 2), priority(&engine, 3)), (100, 100));
    engine.handle_link(T0, OTHER, UP);
    assert_eq!(role(&engine, 1), Role::Backup);
    assert_eq!((priority(&engine, 2), priority(&engine, 3)), (120, 80));
}

#[test]
fn two_tracked_links_do_not_share_one_fault() {
    let mut both = config(1);
    both.tracked_links = [OTHER, LinkId(4)].map(|link| TrackedLink { link, weight: 0, reverse: false }).to_vec();
    let mut engine = engine(&[(RouterId(1), both)]);
    engine.handle_link(T0, OTHER, UP);
    assert_eq!(role(&engine, 1), Role::Fault);
    engine.handle_link(T0, LinkId(4), UP);
    assert_eq!(role(&engine, 1), Role::Backup);
}

#[test]
fn sources_may_be_configured_and_tracked() {
    let mut fixed = config(1);
    fixed.source = Some(PEER);
    let mut tracked = fixed.clone();
    tracked.track_source = true;
    let engine = engine(&[(RouterId(1), fixed), (RouterId(2), tracked)]);
    assert_eq!((role(&engine, 1), role(&engine, 2)), (Role::Backup, Role::Fault));
}

#[test]
fn its_own_link_need_not_be_tracked() {
    let mut untracked = config(1);
    untracked.track_link = false;
    let mut engine = engine(&[(RouterId(1), untracked)]);
    engine.handle_link(T0, LINK, DOWN);
    assert_eq!(role(&engine, 1), Role::Backup);
}

#[test]
#[cfg(feature = "serde")]
fn a_snapshot_taken_over_changes_nothing_for_peers() {
    let mut before = engine(&two());
    run_until(&mut before, T0 + Duration::from_secs(10));
    let text = serde_json::to_string(&before.snapshot()).unwrap();
    let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
    assert_eq!(snapshot, before.snapshot());
    let now = T0 + Duration::from_millis(10_700);
    let mut after = Engine::resume(snapshot);
    after.handle_link(now, LINK, UP);
    after.reconfigure(now, &wanted(&two()));
    let actions = settle(&mut after, now);
    assert_eq!((role(&after, 1), role(&after, 2)), (Role::Active, Role::Active));
    assert!(!actions.iter().any(|action| matches!(action, Action::Notify { .. })));
    let adverts = actions.iter().filter(|action| matches!(action, Action::Advertise { .. })).count();
    assert_eq!(adverts, 2);
}

#[test]
fn the_facts_add_up_to_the_snapshot() {
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.reconfigure(T0, &wanted(&two()));
    let mut fold = Snapshot::default();
    let mut take = |engine: &mut Engine, actions: Vec<Action>| {
        for action in actions {
            if let Action::Fact { router, snapshot } = action {
                fold.routers.insert(router, snapshot);
            }
        }
        assert_eq!(fold, engine.snapshot());
    };
    for second in 0..10 {
        let actions = run_until(&mut engine, T0 + Duration::from_secs(second));
        take(&mut engine, actions);
    }
    let now = T0 + Duration::from_secs(10);
    engine.handle_advertisement(now, RouterId(1), PEER, &advert(200));
    let actions = settle(&mut engine, now);
    take(&mut engine, actions);
    engine.handle_link(now, LINK, DOWN);
    let actions = settle(&mut engine, now);
    take(&mut engine, actions);
}

#[test]
fn a_restarted_router_gives_out_tickets_of_its_own() {
    let tickets = |actions: Vec<Action>| -> Vec<Ticket> {
        actions
            .into_iter()
            .filter_map(|action| if let Action::Apply { ticket, .. } = action { Some(ticket) } else { None })
            .collect()
    };
    let drain = |engine: &mut Engine| core::iter::from_fn(|| engine.poll_action()).collect::<Vec<_>>();
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.reconfigure(T0, &wanted(&[(RouterId(1), config(1))]));
    let before = tickets(drain(&mut engine));
    engine.reconfigure(T0, &EngineConfig::default());
    engine.reconfigure(T0, &wanted(&[(RouterId(1), config(1))]));
    let after = tickets(drain(&mut engine));
    assert!(!before.is_empty() && after.iter().all(|ticket| !before.contains(ticket)), "{before:?} {after:?}");
}

#[test]
fn shutdown_resigns_everywhere_and_leaves_no_timer() {
    let mut engine = engine(&two());
    run_until(&mut engine, T0 + Duration::from_secs(10));
    engine.shutdown(T0 + Duration::from_secs(10));
    let actions = settle(&mut engine, T0 + Duration::from_secs(10));
    let resigned = |action: &&Action| matches!(action, Action::Advertise { priority: Priority::RESIGN, .. });
    assert_eq!(actions.iter().filter(resigned).count(), 2);
    assert_eq!(engine.poll_timeout(), None);
}

#[test]
fn unknown_routers_are_ignored() {
    let mut engine = engine(&two());
    let stranger = RouterId(77);
    engine.handle_advertisement(T0, stranger, PEER, &advert(200));
    engine.handle_applied(T0, stranger, Ticket(0));
    engine.handle_refused(T0, stranger, Ticket(0));
    engine.handle_address_lost(T0, stranger);
    engine.handle_path_lost(T0, stranger);
    engine.handle_path_restored(T0, stranger);
    assert!(drain(&mut engine).is_empty());
}

#[test]
fn received_advertisements_move_no_tree() {
    let mut engine = engine(&two());
    let first = engine.poll_timeout();
    engine.handle_advertisement(T0 + Duration::from_secs(1), RouterId(1), PEER, &advert(200));
    engine.handle_advertisement(T0 + Duration::from_secs(1), RouterId(2), PEER, &advert(200));
    assert_eq!(engine.poll_timeout(), first, "an early entry stays");
    drain(&mut engine);
    engine.handle_timeout(first.unwrap());
    assert!(drain(&mut engine).is_empty(), "and fires nothing");
    assert_eq!(engine.poll_timeout(), Some(T0 + Duration::from_secs(1) + Duration::from_micros(3_609_375)));
}

#[test]
fn entries_that_became_too_early_move_together() {
    let mut engine = engine(&[]);
    let many = u32::try_from(3 * MOVED_TOGETHER).unwrap();
    let routers: Vec<_> = (1..=many).map(|id| (RouterId(id), config(1))).collect();
    let mut known = Vec::new();
    // Each starts a little later than the one before, the last one much later.
    for (number, router) in routers.iter().enumerate() {
        known.push(router.clone());
        let is_last = known.len() == routers.len();
        let later = if is_last { 2 * SOON } else { Duration::from_micros(number as u64) };
        engine.reconfigure(T0 + later, &wanted(&known));
    }
    drain(&mut engine);
    let first = engine.poll_timeout().unwrap();
    let heard = T0 + Duration::from_secs(1);
    for (id, _) in &routers {
        engine.handle_advertisement(heard, *id, PEER, &advert(200));
    }
    drain(&mut engine);
    // What is due does not wait for more than a part of them.
    let mut now = first;
    for _ in 0..routers.len().div_ceil(MOVED_TOGETHER) {
        assert!(engine.poll_timeout().unwrap() < first + SOON);
        now = now.max(engine.poll_timeout().unwrap());
        engine.handle_timeout_ahead(now, Duration::ZERO);
    }
    assert_eq!(engine.poll_timeout(), Some(first + 2 * SOON), "that of the last one is not soon");
    engine.handle_timeout_ahead(first + 2 * SOON, Duration::ZERO);
    assert!(drain(&mut engine).is_empty());
    assert_eq!(engine.poll_timeout(), Some(heard + Duration::from_micros(3_609_375)));
}

#[test]
fn a_take_over_is_due_until_the_active_router_is_heard() {
    let mut engine = engine(&two());
    let due = engine.poll_timeout().unwrap();
    assert!(!engine.is_take_over_due(due.saturating_sub(Duration::from_nanos(1))));
    assert!(engine.is_take_over_due(due));
    for id in [1, 2] {
        engine.handle_advertisement(due.saturating_sub(Duration::from_nanos(1)), RouterId(id), PEER, &advert(200));
    }
    assert!(!engine.is_take_over_due(due));
    run_until(&mut engine, due + Duration::from_secs(4));
    let advert_due = engine.poll_timeout().unwrap();
    assert_eq!(role(&engine, 1), Role::Active);
    assert!(!engine.is_take_over_due(advert_due), "it has taken over");
}

#[test]
#[cfg(feature = "serde")]
fn actions_and_configurations_can_be_written_down() {
    let mut engine = engine(&two());
    engine.handle_advertisement(T0, RouterId(1), PEER, &advert(200));
    for action in run_until(&mut engine, T0 + Duration::from_secs(20)) {
        let text = serde_json::to_string(&action).unwrap();
        assert_eq!(serde_json::from_str::<Action>(&text).unwrap(), action);
    }
    let text = serde_json::to_string(&two()).unwrap();
    assert_eq!(serde_json::from_str::<Vec<(RouterId, RouterConfig)>>(&text).unwrap(), two());
    assert!(serde_json::from_str::<AdvertisementInterval>(r#"{"Seconds":0}"#).is_err());
    assert!(serde_json::from_str::<crate::Centis>("4096").is_err());
}

/// Does the step numbered `kind` to one of three routers or links.
fn step(engine: &mut Engine, now: Instant, kind: u8, target: u32, value: u8) {
    let router = RouterId(target);
    match kind {
        0 => engine.handle_advertisement(now, router, PEER, &advert(value)),
        1 => engine.handle_link(now, LinkId(2 + target % 2), if value.is_multiple_of(3) { DOWN } else { UP }),
        2 => engine.handle_link_removed(now, LinkId(2 + target % 2)),
        3 => engine.handle_address_lost(now, router),
        4 => {
            let ids = (0..3u32).filter(|id| value & (1 << id) != 0);
            let wanted: EngineConfig = ids
                .map(|id| {
                    let mut config = config(1 + value % 2);
                    config.priority = Priority(value.max(1));
                    (RouterId(id), config)
                })
                .collect();
            engine.reconfigure(now, &wanted);
        }
        5 => engine.handle_refused(now, router, Ticket(u64::from(value) % 8)),
        6 => engine.handle_applied(now, router, Ticket(u64::from(value) % 8)),
        _ => engine.handle_timeout(now),
    }
}

proptest! {
    #[test]
    fn no_timeout_is_left_in_the_past(
        steps in prop::collection::vec((0u64..3_000_000_000, 0u8..8, 0u32..3, any::<u8>()), 1..60),
    ) {
        let mut engine = engine(&two());
        let mut now = T0;
        for (wait, kind, target, value) in steps {
            now = now + Duration::from_nanos(wait);
            step(&mut engine, now, kind, target, value);
            engine.handle_timeout(now);
            drain(&mut engine);
            prop_assert!(engine.poll_timeout().is_none_or(|due| due > now));
            let deadlines = engine.routers().filter_map(VirtualRouter::poll_timeout).min();
            prop_assert!(deadlines.is_none_or(|deadline| engine.poll_timeout().is_some_and(|due| due <= deadline)));
            engine.handle_timeout(now);
            prop_assert!(drain(&mut engine).is_empty());
        }
    }
}
