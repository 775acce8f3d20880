//! Deaths that a test orders. Builds without debug assertions know nothing of it.
//!
//! `KEEPALIVED_RS_TEST_KILL` says which: `all N` kills supervisor and worker with the worker's step number N, `worker N`
//! the worker alone, each time, `first N` only the first worker, `packet N` the worker with each packet whose third octet
//! is N, `stop 0` the worker and the clean-up when they are to withdraw everything.

use std::process::Command;
#[cfg(debug_assertions)]
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::ipc::Role;

#[cfg(debug_assertions)]
const VARIABLE: &str = "KEEPALIVED_RS_TEST_KILL";

/// What dies, and when.
#[cfg(debug_assertions)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    All(u64),
    Worker(u64),
    First(u64),
    Packet(u8),
    Stop,
}

#[cfg(debug_assertions)]
impl Order {
    fn from_text(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(' ')?;
        Some(match kind {
            "all" => Self::All(number.parse().ok()?),
            "worker" => Self::Worker(number.parse().ok()?),
            "first" => Self::First(number.parse().ok()?),
            "stop" => Self::Stop,
            "packet" => Self::Packet(number.parse().ok()?),
            _ => return None,
        })
    }
}

#[cfg(debug_assertions)]
fn order() -> Option<Order> {
    static ORDER: OnceLock<Option<Order>> = OnceLock::new();
    *ORDER.get_or_init(|| Order::from_text(&std::env::var(VARIABLE).ok()?))
}

/// A process is about to be started: a worker that follows another one is told nothing of an order for the first.
#[cfg(debug_assertions)]
pub(crate) fn before_start(role: Role, command: &mut Command) {
    static WORKERS: AtomicU64 = AtomicU64::new(0);
    let is_first = role != Role::Vrrp || WORKERS.fetch_add(1, Ordering::SeqCst) == 0;
    if !is_first && matches!(order(), Some(Order::First(_))) {
        command.env_remove(VARIABLE);
    }
}

/// This process is to withdraw everything.
#[cfg(debug_assertions)]
pub(crate) fn stop() {
    if order() == Some(Order::Stop) {
        die();
    }
}

/// The VRRP worker has come one step further: between two of them anything may kill it.
#[cfg(debug_assertions)]
pub(crate) fn step() {
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let Some(Order::All(due) | Order::Worker(due) | Order::First(due)) = order() else { return };
    if STEPS.fetch_add(1, Ordering::SeqCst) + 1 == due {
        die();
    }
}

/// A packet came in.
#[cfg(debug_assertions)]
pub(crate) fn packet(octets: &[u8]) {
    if order().is_some_and(|order| octets.get(2).is_some_and(|octet| order == Order::Packet(*octet))) {
        die();
    }
}

#[cfg(debug_assertions)]
fn die() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let parent = matches!(order(), Some(Order::All(_))).then(Pid::parent);
    for process in parent.into_iter().chain([Pid::this()]) {
        // One that is gone already is as dead as it was to be.
        let _ = kill(process, Signal::SIGKILL);
    }
}

#[cfg(not(debug_assertions))]
pub(crate) const fn step() {}

#[cfg(not(debug_assertions))]
pub(crate) const fn before_start(_role: Role, _command: &mut Command) {}

#[cfg(not(debug_assertions))]
pub(crate) const fn stop() {}

#[cfg(not(debug_assertions))]
pub(crate) const fn packet(_octets: &[u8]) {}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn only_whole_orders_are_obeyed() {
        assert_eq!(Order::from_text("all 7"), Some(Order::All(7)));
        assert_eq!(Order::from_text("worker 1"), Some(Order::Worker(1)));
        assert_eq!(Order::from_text("first 2"), Some(Order::First(2)));
        assert_eq!(Order::from_text("stop 0"), Some(Order::Stop));
        assert_eq!(Order::from_text("packet 66"), Some(Order::Packet(66)));
        for text in ["", "all", "all x", "packet 256", "nobody 1"] {
            assert_eq!(Order::from_text(text), None, "{text}");
        }
    }
}
