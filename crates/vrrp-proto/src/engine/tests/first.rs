//! Timers of many routers, a few at a time.

use super::*;
use crate::config::GroupConfig;

/// Routers that start together, and what they want until all have taken over.
fn taken_over(most: usize, groups: &[(GroupId, GroupConfig)]) -> (Engine, Vec<Vec<Action>>) {
    let routers: Vec<_> = (1..=10).map(|id| (RouterId(u32::from(id)), config(id))).collect();
    let mut wanted = wanted(&routers);
    wanted.groups = groups.iter().cloned().collect();
    let mut engine = Engine::new();
    engine.handle_link(T0, LINK, UP);
    engine.reconfigure(T0, &wanted);
    drain(&mut engine);
    let now = engine.poll_timeout().unwrap();
    let mut turns = Vec::new();
    loop {
        let more = engine.handle_first_timeouts(now, most);
        turns.push(settle(&mut engine, now));
        if !more {
            return (engine, turns);
        }
    }
}

fn of_routers(actions: &[Action]) -> BTreeSet<RouterId> {
    let applied = |action: &Action| match action {
        Action::Apply { router, .. } => Some(*router),
        _ => None,
    };
    actions.iter().filter_map(applied).collect()
}

/// What one router wants.
fn of(actions: &[Action], id: RouterId) -> Vec<Action> {
    let is_its = |action: &&Action| match action {
        Action::Fact { router, .. }
        | Action::Advertise { router, .. }
        | Action::Apply { router, .. }
        | Action::Announce { router, .. }
        | Action::Notify { router, .. }
        | Action::Record { router, .. } => *router == id,
        _ => false,
    };
    actions.iter().filter(is_its).cloned().collect()
}

#[test]
fn a_few_at_a_time_do_what_all_do_together() {
    let (together, all) = taken_over(100, &[]);
    let (mut by_three, few) = taken_over(3, &[]);
    assert_eq!((all.len(), few.len()), (1, 4));
    assert_eq!(few.iter().map(|turn| of_routers(turn).len()).collect::<Vec<_>>(), [3, 3, 3, 1]);
    for id in 1..=10 {
        assert_eq!(of(&few.concat(), RouterId(id)), of(&all.concat(), RouterId(id)));
    }
    assert_eq!(by_three.snapshot(), together.snapshot());
    assert_eq!(by_three.timers, together.timers);
    assert!(!by_three.handle_first_timeouts(T0 + Duration::from_millis(3_700), 3), "none is due");
}

#[test]
fn members_that_others_move_meanwhile_keep_one_timer_each() {
    let group = GroupConfig::new((1..=10).map(RouterId).collect());
    let (engine, few) = taken_over(3, &[(GroupId(1), group)]);
    assert_eq!(of_routers(&few.concat()).len(), 10);
    assert_eq!(few.concat().iter().filter(|action| matches!(action, Action::Apply { .. })).count(), 10);
    for (due, id) in &engine.timers {
        assert_eq!(engine.routers[id].queued, Some(*due));
    }
    assert_eq!(engine.timers.len(), 10);
}
