//! What links and trackers mean for routers.

use super::*;
use crate::config::{ConfigFinding, GroupConfig};
use crate::track::{Fixed, Tracked, TrackerConfig, TrackerUse};
use std::string::{String, ToString};

const SCRIPT: TrackerId = TrackerId(1);
const FILE: TrackerId = TrackerId(2);
const PROCESS: TrackerId = TrackerId(3);
const BFD: TrackerId = TrackerId(4);
const NERVOUS: TrackerId = TrackerId(5);

fn trackers() -> BTreeMap<TrackerId, TrackerConfig> {
    BTreeMap::from([
        (SCRIPT, TrackerConfig::Script { init_fail: false }),
        (FILE, TrackerConfig::File),
        (PROCESS, TrackerConfig::Process),
        (BFD, TrackerConfig::Bfd),
        (NERVOUS, TrackerConfig::Script { init_fail: true }),
    ])
}

fn uses(tracker: TrackerId, weight: i16, reverse: bool) -> TrackerUse {
    TrackerUse { tracker, weight, reverse }
}

/// One router that tracks these.
fn tracking(uses: &[TrackerUse]) -> Engine {
    let mut one = config(1);
    one.trackers = uses.to_vec();
    with_trackers([(RouterId(1), one)])
}

fn with_trackers(routers: impl IntoIterator<Item = (RouterId, RouterConfig)>) -> Engine {
    let wanted = EngineConfig { trackers: trackers(), ..EngineConfig::from_iter(routers) };
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.reconfigure(T0, &wanted);
    engine
}

fn priority(engine: &Engine) -> u8 {
    engine.router(RouterId(1)).unwrap().effective_priority().0
}

/// The priority of a router of priority 100 while the tracker is up, and while it is down.
fn up_and_down(tracker: TrackerId, weight: i16, reverse: bool) -> (u8, u8) {
    let mut engine = tracking(&[uses(tracker, weight, reverse)]);
    engine.handle_tracker(T0, tracker, Verdict::Up);
    let up = priority(&engine);
    engine.handle_tracker(T0, tracker, Verdict::Down);
    (up, priority(&engine))
}

#[test]
fn a_positive_weight_is_added_while_up_and_a_negative_one_subtracted_while_down() {
    for tracker in [SCRIPT, PROCESS, BFD] {
        assert_eq!(up_and_down(tracker, 20, false), (120, 100));
        assert_eq!(up_and_down(tracker, -20, false), (100, 80));
        assert_eq!(up_and_down(tracker, 20, true), (80, 100));
        assert_eq!(up_and_down(tracker, -20, true), (100, 120));
    }
}

#[test]
fn an_unweighted_tracker_that_fails_is_a_fault() {
    for tracker in [SCRIPT, PROCESS, BFD] {
        for (reverse, good, bad) in [(false, Verdict::Up, Verdict::Down), (true, Verdict::Down, Verdict::Up)] {
            let mut engine = tracking(&[uses(tracker, 0, reverse)]);
            engine.handle_tracker(T0, tracker, good);
            assert_eq!(role(&engine, 1), Role::Backup);
            engine.handle_tracker(T0, tracker, bad);
            assert_eq!(role(&engine, 1), Role::Fault);
            let faults = engine.router(RouterId(1)).unwrap().faults();
            assert_eq!(faults.iter().collect::<Vec<_>>(), [&FaultReason::Tracker(tracker)]);
        }
    }
}

#[test]
fn each_failing_tracker_is_a_fault_of_its_own() {
    let mut engine = tracking(&[uses(SCRIPT, 0, false), uses(PROCESS, 0, false)]);
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    engine.handle_tracker(T0, PROCESS, Verdict::Down);
    engine.handle_tracker(T0, SCRIPT, Verdict::Up);
    assert_eq!(role(&engine, 1), Role::Fault);
    engine.handle_tracker(T0, PROCESS, Verdict::Up);
    assert_eq!(role(&engine, 1), Role::Backup);
}

#[test]
fn an_unweighted_script_holds_the_router_in_a_silent_fault_until_it_has_run() {
    let mut engine = tracking(&[uses(SCRIPT, 0, false)]);
    assert_eq!(role(&engine, 1), Role::Fault);
    let spoken = |action: &Action| matches!(action, Action::Notify { .. } | Action::Record { .. });
    assert!(!drain(&mut engine).iter().any(spoken));
    engine.handle_tracker(T0, SCRIPT, Verdict::Up);
    let actions = drain(&mut engine);
    assert_eq!(role(&engine, 1), Role::Backup);
    let backup = |action: &Action| matches!(action, Action::Notify { notification: Notification::Backup { .. }, .. });
    assert!(actions.iter().any(backup));
}

#[test]
fn a_script_whose_first_run_fails_ends_the_silence() {
    let mut engine = tracking(&[uses(SCRIPT, 0, false)]);
    drain(&mut engine);
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    let fault =
        |action: &Action| matches!(action, Action::Notify { notification: Notification::Fault { initial: true }, .. });
    assert!(drain(&mut engine).iter().any(fault));
}

#[test]
fn init_fail_counts_as_failing_until_it_has_succeeded() {
    let mut engine = tracking(&[uses(NERVOUS, -20, false)]);
    assert_eq!(priority(&engine), 80);
    engine.handle_tracker(T0, NERVOUS, Verdict::Up);
    assert_eq!(priority(&engine), 100);
    assert_eq!(priority(&tracking(&[uses(SCRIPT, -20, false)])), 100, "without it nothing counts yet");
    let unweighted = tracking(&[uses(NERVOUS, 0, false)]);
    assert!(unweighted.router(RouterId(1)).unwrap().faults().contains(&FaultReason::Tracker(NERVOUS)));
}

#[test]
fn a_script_that_is_added_to_a_running_router_does_not_stop_it() {
    let mut engine = with_trackers([(RouterId(1), config(1))]);
    let mut one = config(1);
    one.trackers = vec![uses(SCRIPT, 0, false)];
    let wanted = EngineConfig { trackers: trackers(), ..EngineConfig::from_iter([(RouterId(1), one)]) };
    engine.reconfigure(T0, &wanted);
    assert_eq!(role(&engine, 1), Role::Backup);
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    assert_eq!(role(&engine, 1), Role::Fault);
}

#[test]
fn the_number_in_a_file_is_multiplied_by_the_weight() {
    for (number, weight, reverse, expected) in [
        (5, 3, false, Some(115)),
        (-5, 3, false, Some(85)),
        (5, 3, true, Some(85)),
        (-253, 1, false, Some(1)),
        (-254, 1, false, None),
        (254, 1, true, None),
        (1000, 1, false, Some(254)),
        (i64::MIN, 254, false, None),
        (i64::MIN, -254, false, Some(254)),
        (0, 0, false, Some(100)),
        (7, 0, false, None),
        (7, 0, true, Some(100)),
        (0, 0, true, None),
    ] {
        let mut engine = tracking(&[uses(FILE, weight, reverse)]);
        engine.handle_tracker(T0, FILE, Verdict::Value(number));
        let found = (role(&engine, 1) == Role::Backup).then(|| priority(&engine));
        assert_eq!(found, expected, "{number} × {weight}, reverse {reverse}");
    }
}

#[test]
fn a_product_above_253_counts_as_253() {
    let mut low = config(1);
    low.priority = Priority(1);
    low.trackers = vec![uses(FILE, 1, false), uses(SCRIPT, -10, false)];
    let mut engine = with_trackers([(RouterId(1), low)]);
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    engine.handle_tracker(T0, FILE, Verdict::Value(100_000));
    assert_eq!(priority(&engine), 244);
}

#[test]
fn a_file_that_was_not_read_yet_holds_zero() {
    assert_eq!(role(&tracking(&[uses(FILE, 0, false)]), 1), Role::Backup);
    assert_eq!(role(&tracking(&[uses(FILE, 0, true)]), 1), Role::Fault);
}

#[test]
fn the_effective_priority_stays_within_1_and_254() {
    let mut engine = tracking(&[uses(SCRIPT, 200, false), uses(PROCESS, -253, false)]);
    engine.handle_tracker(T0, SCRIPT, Verdict::Up);
    assert_eq!(priority(&engine), 254);
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    engine.handle_tracker(T0, PROCESS, Verdict::Down);
    assert_eq!(priority(&engine), 1);
}

#[test]
fn an_owner_has_no_weighted_trackers() {
    let mut owner = config(1);
    owner.priority = Priority::OWNER;
    owner.trackers =
        vec![uses(SCRIPT, -20, false), uses(FILE, 2, false), uses(PROCESS, -9, false), uses(BFD, -20, false)];
    owner.tracked_links = vec![TrackedLink { link: OTHER, weight: 20, reverse: false }];
    let mut engine = with_trackers([(RouterId(1), owner.clone())]);
    for tracker in [SCRIPT, PROCESS, BFD] {
        engine.handle_tracker(T0, tracker, Verdict::Down);
    }
    engine.handle_tracker(T0, FILE, Verdict::Value(-200));
    assert_eq!((role(&engine, 1), priority(&engine)), (Role::Active, 255));
    let wanted = EngineConfig { trackers: trackers(), ..EngineConfig::from_iter([(RouterId(1), owner)]) };
    assert_eq!(wanted.findings().len(), 5);
    let first =
        ConfigFinding::WeightIgnored { router: RouterId(1), tracked: Tracked::Link(OTHER), because: Fixed::Owner };
    assert_eq!(wanted.findings().first(), Some(&first));
    assert_eq!(first.to_string(), "the weight of interface 3 does not count for router 1: it owns the addresses");
}

#[test]
fn weights_outside_their_range_do_no_harm() {
    let mut owner = config(1);
    owner.priority = Priority::OWNER;
    owner.trackers = vec![uses(FILE, i16::MIN, true), uses(SCRIPT, i16::MIN, true)];
    assert_eq!(role(&with_trackers([(RouterId(1), owner.clone())]), 1), Role::Active);
    owner.priority = Priority(100);
    let mut engine = with_trackers([(RouterId(1), owner)]);
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    assert_eq!(priority(&engine), 254);
}

#[test]
fn an_owner_keeps_unweighted_trackers_and_files_with_weight_1() {
    let mut owner = config(1);
    owner.priority = Priority::OWNER;
    owner.trackers = vec![uses(SCRIPT, 0, false), uses(FILE, 1, false)];
    let mut engine = with_trackers([(RouterId(1), owner)]);
    engine.handle_tracker(T0, SCRIPT, Verdict::Up);
    assert_eq!(role(&engine, 1), Role::Active);
    engine.handle_tracker(T0, FILE, Verdict::Value(1));
    assert_eq!((role(&engine, 1), priority(&engine)), (Role::Fault, 255));
}

/// Two members of a group, of which the first tracks everything with a weight.
fn grouped(tracking_weight: bool) -> EngineConfig {
    let mut first = config(1);
    first.trackers =
        vec![uses(SCRIPT, -20, false), uses(FILE, 1, false), uses(PROCESS, -9, false), uses(BFD, -20, false)];
    first.tracked_links = vec![TrackedLink { link: OTHER, weight: -30, reverse: false }];
    let mut wanted = EngineConfig::from_iter([(RouterId(1), first), (RouterId(2), config(2))]);
    wanted.trackers = trackers();
    let mut group = GroupConfig::new(vec![RouterId(1), RouterId(2)]);
    group.tracking_weight = tracking_weight;
    wanted.groups.insert(GroupId(1), group);
    wanted
}

#[test]
fn a_member_of_a_group_may_not_float_its_priority_but_for_processes() {
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.handle_link(T0, OTHER, UP);
    engine.reconfigure(T0, &grouped(false));
    for tracker in [SCRIPT, PROCESS, BFD] {
        engine.handle_tracker(T0, tracker, Verdict::Down);
    }
    assert_eq!((role(&engine, 1), priority(&engine)), (Role::Backup, 91));
    engine.handle_tracker(T0, FILE, Verdict::Value(1));
    assert_eq!(role(&engine, 1), Role::Fault, "a file with weight 1 has none");
    engine.handle_tracker(T0, FILE, Verdict::Value(0));
    engine.handle_link(T0, OTHER, DOWN);
    assert_eq!(role(&engine, 1), Role::Fault, "nor has a link");
    assert_eq!(grouped(false).findings().len(), 4);
}

#[test]
fn sync_group_tracking_weight_lets_members_float() {
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.handle_link(T0, OTHER, UP);
    engine.reconfigure(T0, &grouped(true));
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    engine.handle_tracker(T0, BFD, Verdict::Up);
    engine.handle_tracker(T0, FILE, Verdict::Value(5));
    engine.handle_link(T0, OTHER, DOWN);
    assert_eq!((role(&engine, 1), priority(&engine)), (Role::Backup, 55));
    assert!(grouped(true).findings().is_empty());
}

#[test]
fn trackers_of_a_group_apply_to_all_members() {
    let mut wanted = EngineConfig { trackers: trackers(), ..EngineConfig::from_iter(two()) };
    let mut group = GroupConfig::new(vec![RouterId(1), RouterId(2)]);
    group.trackers = vec![uses(SCRIPT, -20, false), uses(PROCESS, 0, false)];
    group.tracked_links = vec![TrackedLink { link: OTHER, weight: 10, reverse: false }];
    wanted.groups.insert(GroupId(1), group);
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.handle_link(T0, OTHER, UP);
    engine.reconfigure(T0, &wanted);
    assert_eq!((role(&engine, 1), role(&engine, 2)), (Role::Fault, Role::Fault), "the process is unknown");
    engine.handle_tracker(T0, PROCESS, Verdict::Up);
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    let priorities: Vec<_> = engine.routers().map(|router| router.effective_priority().0).collect();
    assert_eq!((priorities, role(&engine, 1)), (vec![90, 90], Role::Backup));
    engine.handle_tracker(T0, PROCESS, Verdict::Down);
    assert_eq!((role(&engine, 1), role(&engine, 2)), (Role::Fault, Role::Fault));
}

#[test]
fn the_effective_priority_is_explained() {
    let mut one = config(1);
    one.priority = Priority(150);
    one.trackers = vec![uses(SCRIPT, -20, false), uses(BFD, 30, false)];
    one.tracked_links = vec![TrackedLink { link: OTHER, weight: 10, reverse: false }];
    let mut engine = with_trackers([(RouterId(1), one)]);
    let text = |engine: &Engine| engine.explain_priority(RouterId(1)).unwrap().to_string();
    assert_eq!(text(&engine), "150");
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    let name = |tracked| match tracked {
        Tracked::Script(SCRIPT) => "chk_nginx",
        _ => "another",
    };
    let explanation = engine.explain_priority(RouterId(1)).unwrap();
    assert_eq!(explanation.named(name).to_string(), "150 − 20 script chk_nginx");
    assert_eq!((explanation.effective, explanation.moves), (Priority(130), vec![(Tracked::Script(SCRIPT), -20)]));
    engine.handle_link(T0, OTHER, UP);
    engine.handle_tracker(T0, BFD, Verdict::Up);
    assert_eq!(text(&engine), "150 + 10 interface 3 − 20 script 1 + 30 BFD session 4");
    engine.handle_command(T0, RouterId(1), Command::SetPriority(Priority(253)));
    assert_eq!(text(&engine), "253 by command + 10 interface 3 − 20 script 1 + 30 BFD session 4, limited to 254");
}

#[test]
fn an_owners_priority_needs_no_explanation() {
    let mut owner = config(1);
    owner.priority = Priority::OWNER;
    let mut engine = with_trackers([(RouterId(1), owner)]);
    engine.handle_command(T0, RouterId(1), Command::SetPriority(Priority(7)));
    let explanation = engine.explain_priority(RouterId(1)).unwrap();
    assert_eq!((explanation.to_string(), explanation.effective), (String::from("255"), Priority::OWNER));
}

#[test]
fn a_link_without_multicast_is_a_fault_for_multicast_routers_only() {
    let plain = LinkFacts { multicast: false, ..UP };
    for (partners, expected) in [(Partners::Multicast, Role::Fault), (Partners::Unicast, Role::Backup)] {
        let mut one = config(1);
        one.partners = partners;
        let mut engine = engine(&[(RouterId(1), one)]);
        engine.handle_link(T0, LINK, plain);
        assert_eq!(role(&engine, 1), expected);
        let faults = engine.router(RouterId(1)).unwrap().faults();
        assert_eq!(faults.contains(&FaultReason::LinkWithoutMulticast(LINK)), expected == Role::Fault);
    }
}

#[test]
fn a_unicast_router_without_peers_is_in_fault() {
    let mut one = config(1);
    one.partners = Partners::Missing;
    let mut engine = engine(&[(RouterId(1), one.clone())]);
    assert_eq!(role(&engine, 1), Role::Fault);
    assert!(engine.router(RouterId(1)).unwrap().faults().contains(&FaultReason::NoPeers));
    one.partners = Partners::Unicast;
    engine.reconfigure(T0, &wanted(&[(RouterId(1), one)]));
    assert_eq!(role(&engine, 1), Role::Backup);
}

#[test]
fn what_no_tracker_of_that_kind_can_say_is_ignored() {
    let mut engine = tracking(&[uses(SCRIPT, 20, false), uses(FILE, 1, false)]);
    drain(&mut engine);
    engine.handle_tracker(T0, SCRIPT, Verdict::Value(1));
    engine.handle_tracker(T0, FILE, Verdict::Up);
    engine.handle_tracker(T0, TrackerId(99), Verdict::Up);
    assert!(drain(&mut engine).is_empty());
    assert_eq!(priority(&engine), 100);
}

#[test]
fn what_is_configured_wrongly_is_named() {
    let mut wanted = EngineConfig::from_iter(two());
    wanted.routers.get_mut(&RouterId(1)).unwrap().trackers = vec![uses(SCRIPT, 0, false)];
    let mut group = GroupConfig::new(vec![RouterId(1), RouterId(9)]);
    group.trackers = vec![uses(FILE, 0, false)];
    wanted.groups.insert(GroupId(1), group);
    wanted.groups.insert(GroupId(2), GroupConfig::new(vec![RouterId(1), RouterId(2)]));
    let texts: Vec<_> = wanted.findings().iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "group 1 names router 9, which does not exist",
            "group 1 has 1 members",
            "group 1 tracks tracker 2, which does not exist",
            "router 1 is in group 1 already, its membership in group 2 does not count",
            "group 2 has 1 members",
            "router 1 tracks tracker 1, which does not exist",
        ]
    );
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.reconfigure(T0, &wanted);
    assert_eq!(role(&engine, 1), Role::Backup, "what does not exist does not count");
}

#[test]
fn a_tracker_keeps_its_verdict_over_a_reload_unless_it_becomes_another_kind() {
    let mut engine = tracking(&[uses(SCRIPT, -20, false)]);
    engine.handle_tracker(T0, SCRIPT, Verdict::Down);
    let mut one = config(1);
    one.trackers = vec![uses(SCRIPT, -20, false)];
    let mut wanted = EngineConfig { trackers: trackers(), ..EngineConfig::from_iter([(RouterId(1), one)]) };
    assert!(engine.reconfigure(T0, &wanted).trackers.unchanged.contains(&SCRIPT));
    assert_eq!(priority(&engine), 80);
    wanted.trackers.insert(SCRIPT, TrackerConfig::Process);
    drain(&mut engine);
    assert_eq!(engine.reconfigure(T0, &wanted).trackers.changed, [SCRIPT]);
    assert_eq!(priority(&engine), 100);
    let forgotten = Action::TrackerFact { tracker: SCRIPT, verdict: None };
    assert!(drain(&mut engine).contains(&forgotten));
}

#[test]
fn a_member_that_is_named_twice_is_one_member() {
    let mut wanted = EngineConfig::from_iter([(RouterId(1), config(1))]);
    wanted.groups.insert(GroupId(1), GroupConfig::new(vec![RouterId(1), RouterId(1)]));
    assert_eq!(wanted.findings(), [ConfigFinding::FewMembers { group: GroupId(1), members: 1 }]);
}

#[test]
fn another_init_fail_does_not_make_a_script_that_succeeded_fail() {
    let mut engine = tracking(&[uses(SCRIPT, 0, false)]);
    engine.handle_tracker(T0, SCRIPT, Verdict::Up);
    run_until(&mut engine, T0 + Duration::from_secs(10));
    assert_eq!(role(&engine, 1), Role::Active);
    let mut wanted = EngineConfig {
        routers: engine.routers().map(|it| (it.id(), it.config().clone())).collect(),
        trackers: trackers(),
        ..EngineConfig::default()
    };
    wanted.trackers.insert(SCRIPT, TrackerConfig::Script { init_fail: true });
    let plan = engine.reconfigure(T0 + Duration::from_secs(10), &wanted);
    assert_eq!((plan.trackers.changed, engine.tracker(SCRIPT)), (vec![SCRIPT], Some(Verdict::Up)));
    assert_eq!(role(&engine, 1), Role::Active);
    assert!(drain(&mut engine).is_empty());
}

#[test]
fn a_new_process_trusts_trackers_until_they_report_again() {
    let mut one = config(1);
    one.trackers = vec![uses(SCRIPT, 0, false), uses(FILE, 1, false)];
    let wanted = EngineConfig { trackers: trackers(), ..EngineConfig::from_iter([(RouterId(1), one)]) };
    let mut before = Engine::new();
    before.handle_link(T0, LINK, UP);
    before.reconfigure(T0, &wanted);
    before.handle_tracker(T0, SCRIPT, Verdict::Up);
    before.handle_tracker(T0, FILE, Verdict::Value(30));
    run_until(&mut before, T0 + Duration::from_secs(10));
    assert_eq!((role(&before, 1), priority(&before)), (Role::Active, 130));
    let now = T0 + Duration::from_millis(10_500);
    let mut after = Engine::resume(before.snapshot());
    after.handle_link(now, LINK, UP);
    after.reconfigure(now, &wanted);
    assert_eq!((role(&after, 1), priority(&after)), (Role::Active, 130), "neither fault nor dip");
    assert_eq!(after.snapshot().trackers, before.snapshot().trackers);
    after.handle_tracker(now, SCRIPT, Verdict::Down);
    assert_eq!(role(&after, 1), Role::Fault);
}

#[test]
fn a_link_of_many_routers_is_told_to_its_users_only() {
    let mut routers: Vec<_> = (0..300).map(|number| (RouterId(number), config(1 + (number % 255) as u8))).collect();
    for (_, config) in routers.iter_mut().skip(100) {
        config.link = Some(OTHER);
    }
    let mut engine = engine(&routers);
    engine.handle_link(T0, OTHER, UP);
    drain(&mut engine);
    engine.handle_link(T0, LINK, DOWN);
    let faults = engine.routers().filter(|router| router.role() == Role::Fault).count();
    assert_eq!(faults, 100);
    assert!(drain(&mut engine).iter().filter_map(Action::router).all(|id| id < RouterId(100)));
}
