//! What waits while a configuration goes to the kernel: lines, checks and notifications. A start with thousands of
//! servers has thousands of them, and neither the servers nor a reload right after it are to wait for those. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use health_checkers::schedule::Schedule;
use tokio::time::Instant;

use super::balancer::{CheckId, Effect};

/// How long anything waits: a kernel or a log that hangs keeps no server unchecked.
const HOLD: Duration = Duration::from_secs(2);

/// Something that can wait.
#[derive(Debug)]
pub(super) enum Later {
    /// A new check is given to the driver.
    Check(CheckId, Schedule),
    /// Anything but a fact.
    Effect(Effect),
}

/// All of it, in its order.
#[derive(Debug, Default)]
pub(super) struct Held {
    waiting: VecDeque<Later>,
    /// Nothing waits any longer than that, nor at all without it.
    until: Option<Instant>,
}

impl Held {
    /// A configuration is taken at `now`.
    pub(super) fn hold(&mut self, now: Instant) {
        self.until = Some(now + HOLD);
    }

    /// Nothing waits any longer.
    pub(super) fn release(&mut self) {
        self.until = None;
    }

    /// To be done when it is time.
    pub(super) fn push(&mut self, later: Later) {
        self.waiting.push_back(later);
    }

    /// Notifications that nobody is to hear any more.
    pub(super) fn forget_notifications(&mut self) {
        self.waiting.retain(|later| !matches!(later, Later::Effect(Effect::Notify(_))));
    }

    /// What to do at `now`; `is_busy` while something else should come first.
    pub(super) fn poll(&mut self, now: Instant, is_busy: bool) -> Option<Later> {
        if is_busy && self.until.is_some_and(|until| now < until) {
            return None;
        }
        let next = self.waiting.pop_front();
        self.until = self.until.filter(|_| next.is_some() || is_busy);
        next
    }

    /// Whether something waits that nobody tells the time for.
    pub(super) fn is_waiting(&self) -> bool {
        self.until.is_some() && !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(later: Option<Later>) -> Option<CheckId> {
        match later {
            Some(Later::Effect(Effect::Activate(id))) => Some(id),
            _ => None,
        }
    }

    #[test]
    fn what_is_held_waits_its_turn_and_not_for_ever() {
        let now = Instant::now();
        let mut held = Held::default();
        (1..=4).for_each(|id| held.push(Later::Effect(Effect::Activate(id))));
        // Without a configuration on its way nothing waits.
        assert_eq!(number(held.poll(now, true)), Some(1));
        held.hold(now);
        assert_eq!((number(held.poll(now, true)), held.is_waiting()), (None, true));
        assert_eq!(number(held.poll(now, false)), Some(2));
        assert_eq!((number(held.poll(now, true)), held.is_waiting()), (None, true));
        assert_eq!(number(held.poll(now + HOLD, true)), Some(3));
        held.release();
        assert_eq!(number(held.poll(now, true)), Some(4));
        assert_eq!((number(held.poll(now, false)), held.is_waiting()), (None, false));
    }

    #[test]
    fn once_everything_is_done_the_next_thing_is_done_at_once() {
        let now = Instant::now();
        let mut held = Held::default();
        held.hold(now);
        assert!(held.poll(now, false).is_none());
        held.push(Later::Effect(Effect::Activate(1)));
        assert_eq!(number(held.poll(now, true)), Some(1));
    }
}
