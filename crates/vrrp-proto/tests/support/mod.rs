//! What the tests of both RFCs do with a virtual router.
#![allow(clippy::unwrap_used)]

use vrrp_proto::{Action, Instant, Ownership, RouterConfig, RouterId, State, Ticket, VirtualRouter, Vrid};

pub(crate) const T0: Instant = Instant::from_nanos(1_000_000_000);

pub(crate) fn vrid() -> Vrid {
    Vrid::new(7).unwrap()
}

/// A router after Startup, and what it wants done.
pub(crate) fn started(config: RouterConfig) -> (VirtualRouter, Vec<Action>) {
    let mut router = VirtualRouter::new(RouterId(1), config);
    router.startup(T0);
    let actions = drain(&mut router);
    (router, actions)
}

/// Carries out what the router asked for, and gives back all actions.
pub(crate) fn apply(router: &mut VirtualRouter, now: Instant) -> Vec<Action> {
    let mut actions = drain(router);
    if let Some(ticket) = ticket(&actions) {
        router.handle_applied(now, ticket);
        actions.extend(drain(router));
    }
    actions
}

/// That of the newest `Apply`.
pub(crate) fn ticket(actions: &[Action]) -> Option<Ticket> {
    actions.iter().rev().find_map(|action| match action {
        Action::Apply { ticket, .. } => Some(*ticket),
        _ => None,
    })
}

/// All that the router wants done.
pub(crate) fn drain(router: &mut VirtualRouter) -> Vec<Action> {
    std::iter::from_fn(|| router.poll_action()).collect()
}

/// The priorities of the advertisements among `actions`.
pub(crate) fn sent(actions: &[Action]) -> Vec<u8> {
    let priority = |action: &Action| match action {
        Action::Advertise { priority, .. } => Some(priority.0),
        _ => None,
    };
    actions.iter().filter_map(priority).collect()
}

/// Whether the addresses are announced.
pub(crate) fn announces(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Announce { .. }))
}

/// Whether `wanted` is asked of the kernel.
pub(crate) fn applies(actions: &[Action], wanted: Ownership) -> bool {
    actions.iter().any(|action| matches!(action, Action::Apply { ownership, .. } if *ownership == wanted))
}

/// When a Backup Router takes over.
pub(crate) fn active_down_timer(router: &VirtualRouter) -> Instant {
    match router.state() {
        State::Backup(backup) => backup.active_down_timer,
        other => panic!("not Backup: {other:?}"),
    }
}

/// When an Active Router advertises next.
pub(crate) fn adver_timer(router: &VirtualRouter) -> Instant {
    match router.state() {
        State::Active(active) => active.adver_timer,
        other => panic!("not Active: {other:?}"),
    }
}
