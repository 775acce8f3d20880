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
