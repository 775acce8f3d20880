//! Advertisements that leave together.

use super::*;

const AHEAD: Duration = Duration::from_millis(1);

/// Runs like a driver that sleeps until `poll_timeout`; when each router advertised.
fn adverts(engine: &mut Engine, from: Instant, end: Instant) -> Vec<(Instant, RouterId)> {
    let mut sent = Vec::new();
    settle(engine, from);
    while let Some(now) = engine.poll_timeout().filter(|due| *due <= end) {
        engine.handle_timeout_ahead(now, AHEAD);
        let routers = settle(engine, now).into_iter().filter_map(|action| match action {
            Action::Advertise { router, .. } => Some(router),
            _ => None,
        });
        sent.extend(routers.map(|router| (now, router)));
    }
    sent
}

/// The second router starts so much later than the first; both are Active and in their rhythm at the returned time.
fn offset_by(offset: Duration) -> (Engine, Instant) {
    let mut engine = engine(&two()[..1]);
    engine.reconfigure(T0 + offset, &wanted(&two()));
    let settled = T0 + Duration::from_millis(5_500);
    run_until(&mut engine, settled);
    assert_eq!((role(&engine, 1), role(&engine, 2)), (Role::Active, Role::Active));
    (engine, settled)
}

#[test]
fn what_is_due_within_the_time_leaves_together_from_then_on() {
    let (mut engine, start) = offset_by(Duration::from_micros(700));
    let sent = adverts(&mut engine, start, start + Duration::from_secs(10));
    assert_eq!(sent.len(), 20);
    for pair in sent.chunks(2) {
        assert_eq!(pair[0].0, pair[1].0, "{sent:?}");
    }
    let times: Vec<_> = sent.iter().filter(|(_, router)| *router == RouterId(2)).map(|(at, _)| *at).collect();
    for pair in times.windows(2) {
        assert_eq!(pair[1].saturating_duration_since(pair[0]), Duration::from_secs(1));
    }
}

#[test]
fn what_is_due_later_waits() {
    let (mut engine, start) = offset_by(Duration::from_micros(1_001));
    let sent = adverts(&mut engine, start, start + Duration::from_secs(10));
    assert_eq!(sent.len(), 20);
    for pair in sent.chunks(2) {
        assert_eq!(pair[1].0.saturating_duration_since(pair[0].0), Duration::from_micros(1_001), "{sent:?}");
    }
}

#[test]
fn nobody_takes_over_early() {
    let (mut engine, start) = offset_by(Duration::ZERO);
    let mut three = two();
    three.push((RouterId(3), config(3)));
    // Its Active_Down_Timer ends half a millisecond after an advertisement of the others is due.
    let advert_due = engine.poll_timeout().unwrap();
    assert!(advert_due > start);
    let interval = AdvertisementInterval::one_second(Version::V2);
    let wait = config(3).active_down_interval(interval, config(3).priority);
    let begin = (advert_due + Duration::from_secs(4) + Duration::from_micros(500)).saturating_sub(wait);
    let before = adverts(&mut engine, start, begin);
    engine.reconfigure(begin, &wanted(&three));
    let due = begin + wait;
    adverts(&mut engine, begin, due.saturating_sub(Duration::from_nanos(1)));
    assert!(!before.is_empty());
    assert_eq!(role(&engine, 3), Role::Backup);
    adverts(&mut engine, begin, due);
    assert_eq!(role(&engine, 3), Role::Active);
}

proptest! {
    /// Whatever the offset: never earlier than allowed, never later than due, and as often as without.
    #[test]
    fn never_earlier_than_allowed(offset in 0u64..3_000_000) {
        let (mut engine, start) = offset_by(Duration::from_nanos(offset));
        let mut plain = engine.clone();
        let end = start + Duration::from_millis(3_200);
        let ahead = adverts(&mut engine, start, end);
        let mut exact = Vec::new();
        while let Some(now) = plain.poll_timeout().filter(|due| *due <= end) {
            plain.handle_timeout(now);
            for action in settle(&mut plain, now) {
                if let Action::Advertise { router, .. } = action {
                    exact.push((now, router));
                }
            }
        }
        let of = |sent: &[(Instant, RouterId)], id| -> Vec<Instant> {
            sent.iter().filter(|(_, router)| *router == id).map(|(at, _)| *at).collect()
        };
        for id in [RouterId(1), RouterId(2)] {
            let (ahead, exact) = (of(&ahead, id), of(&exact, id));
            prop_assert_eq!(ahead.len(), exact.len());
            for (at, due) in ahead.into_iter().zip(exact) {
                prop_assert!(at <= due && due.saturating_duration_since(at) <= AHEAD);
            }
        }
    }
}

const LEAD: Duration = Duration::from_micros(600);

/// When take-overs were foretold, and for when.
fn foretold(actions: &[Action], at: Instant) -> Vec<(Instant, Instant)> {
    let due = |action: &Action| if let Action::Prepare { due, .. } = action { Some((at, *due)) } else { None };
    actions.iter().filter_map(due).collect()
}

/// Runs until `end` like a driver that is never late; what came out, and when.
fn run(engine: &mut Engine, end: Instant) -> Vec<(Instant, Vec<Action>)> {
    let mut turns = Vec::new();
    while let Some(now) = engine.poll_timeout().filter(|due| *due <= end) {
        engine.handle_timeout(now);
        turns.push((now, settle(engine, now)));
    }
    turns
}

#[test]
fn a_take_over_is_foretold_once_and_happens_at_its_time() {
    let mut engine = engine(&two()[..1]);
    engine.prepare_ahead(LEAD);
    let down = config(1).active_down_interval(AdvertisementInterval::one_second(Version::V2), config(1).priority);
    let due = T0 + down;
    assert_eq!(engine.poll_timeout(), Some(due.saturating_sub(LEAD)));
    let turns = run(&mut engine, due.saturating_sub(Duration::from_nanos(1)));
    let all: Vec<_> = turns.iter().flat_map(|(at, actions)| foretold(actions, *at)).collect();
    assert_eq!(all, [(due.saturating_sub(LEAD), due)]);
    assert_eq!((role(&engine, 1), engine.poll_timeout()), (Role::Backup, Some(due)));
    run(&mut engine, due);
    assert_eq!(role(&engine, 1), Role::Active);
}

#[test]
fn who_hears_the_active_router_in_time_foretells_nothing() {
    let mut engine = engine(&two()[..1]);
    engine.prepare_ahead(LEAD);
    for second in 1..20 {
        let now = T0 + Duration::from_secs(second);
        for (at, actions) in run(&mut engine, now) {
            assert_eq!(foretold(&actions, at), []);
        }
        engine.handle_advertisement(now, RouterId(1), PEER, &advert(200));
        settle(&mut engine, now);
    }
}

#[test]
fn an_advertisement_at_the_last_moment_still_counts() {
    let mut engine = engine(&two()[..1]);
    engine.prepare_ahead(LEAD);
    let ahead = engine.poll_timeout().unwrap();
    engine.handle_timeout(ahead);
    assert_eq!(foretold(&drain(&mut engine), ahead).len(), 1);
    let heard = ahead + LEAD / 2;
    engine.handle_advertisement(heard, RouterId(1), PEER, &advert(200));
    run(&mut engine, heard + Duration::from_secs(3));
    assert_eq!(role(&engine, 1), Role::Backup);
}

proptest! {
    /// Whoever is told of take-overs ahead sees everything else as before, and at the same times.
    #[test]
    fn to_foretell_changes_nothing_else(
        lead in 0u64..2_000_000,
        offset in 0u64..2_000_000,
        heard in proptest::collection::vec((0u64..5_000_000_000, 1u32..=2, 50u8..=200), 0..12),
    ) {
        let mut plain = engine(&two()[..1]);
        plain.reconfigure(T0 + Duration::from_nanos(offset), &wanted(&two()));
        settle(&mut plain, T0 + Duration::from_nanos(offset));
        let mut ahead = plain.clone();
        ahead.prepare_ahead(Duration::from_nanos(lead));
        let mut heard = heard;
        heard.sort_unstable();
        let seen = |engine: &mut Engine| {
            let mut seen = Vec::new();
            let mut at = T0 + Duration::from_nanos(offset);
            for (nanos, id, priority) in &heard {
                at = at + Duration::from_nanos(nanos / 4);
                seen.extend(run(engine, at));
                engine.handle_advertisement(at, RouterId(*id), PEER, &advert(*priority));
                seen.push((at, settle(engine, at)));
            }
            seen.extend(run(engine, at + Duration::from_secs(8)));
            seen.retain_mut(|(_, actions)| {
                actions.retain(|action| !matches!(action, Action::Prepare { .. }));
                !actions.is_empty()
            });
            seen
        };
        prop_assert_eq!(seen(&mut ahead), seen(&mut plain));
    }
}
