//! What waits while a configuration goes to the kernel: lines, checks and notifications. A start with thousands of
//! servers has thousands of them, and neither the servers nor a reload right after it are to wait for those. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use health_checkers::schedule::Verdict;
use tokio::time::Instant;

use super::balancer::{CheckId, Effect};

/// How long anything waits: a kernel or a log that hangs keeps no server unchecked.
const HOLD: Duration = Duration::from_secs(2);

/// Something that can wait.
#[derive(Debug)]
pub(super) enum Later {
    /// A new check is given to the driver, and goes on with this verdict.
    Check(CheckId, Option<Verdict>),
    /// Anything but a fact.
    Effect(Effect),
}

/// What comes before anything that waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Busy {
    /// The kernel does not have the configuration yet.
    pub(super) kernel: bool,
    /// The log has more to write than it can at once. Notifications do not wait for it.
    pub(super) log: bool,
}

/// All of it: notifications in their order, and everything else in its.
#[derive(Debug, Default)]
pub(super) struct Held {
    notifications: VecDeque<Later>,
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
        let queue = match &later {
            Later::Effect(Effect::Notify(_)) => &mut self.notifications,
            Later::Effect(_) | Later::Check(..) => &mut self.waiting,
        };
        queue.push_back(later);
    }

    /// Notifications that nobody is to hear any more.
    pub(super) fn forget_notifications(&mut self) {
        self.notifications.clear();
    }

    /// What to do at `now`.
    pub(super) fn poll(&mut self, now: Instant, busy: Busy) -> Option<Later> {
        let busy = if self.until.is_some_and(|until| now < until) { busy } else { Busy::default() };
        if busy.kernel {
            return None;
        }
        let next = self.notifications.pop_front();
        if next.is_some() || busy.log {
            return next;
        }
        let next = self.waiting.pop_front();
        self.until = self.until.filter(|_| next.is_some());
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
    use crate::ipc::{Notification, NotifyEvent};

    const FREE: Busy = Busy { kernel: false, log: false };
    const KERNEL: Busy = Busy { kernel: true, log: false };
    const LOG: Busy = Busy { kernel: false, log: true };

    fn number(later: Option<Later>) -> Option<CheckId> {
        match later {
            Some(Later::Effect(Effect::Activate(id))) => Some(id),
            Some(Later::Effect(Effect::Notify(notification))) => Some(notification.number),
            _ => None,
        }
    }

    fn notification(number: u64) -> Later {
        let event = NotifyEvent::Quorum { virtual_server: "FWM 1".into(), up: false };
        Later::Effect(Effect::Notify(Box::new(Notification { number, event })))
    }

    #[test]
    fn what_is_held_waits_its_turn_and_not_for_ever() {
        let now = Instant::now();
        let mut held = Held::default();
        (1..=4).for_each(|id| held.push(Later::Effect(Effect::Activate(id))));
        // Without a configuration on its way nothing waits.
        assert_eq!(number(held.poll(now, KERNEL)), Some(1));
        held.hold(now);
        for busy in [KERNEL, LOG] {
            assert_eq!((number(held.poll(now, busy)), held.is_waiting()), (None, true));
        }
        assert_eq!(number(held.poll(now, FREE)), Some(2));
        assert_eq!((number(held.poll(now, LOG)), held.is_waiting()), (None, true));
        assert_eq!(number(held.poll(now + HOLD, KERNEL)), Some(3));
        held.release();
        assert_eq!(number(held.poll(now, LOG)), Some(4));
        assert_eq!((number(held.poll(now, FREE)), held.is_waiting()), (None, false));
    }

    #[test]
    fn notifications_wait_for_the_kernel_and_not_for_the_log() {
        let now = Instant::now();
        let mut held = Held::default();
        held.hold(now);
        held.push(Later::Effect(Effect::Activate(9)));
        (1..=3).for_each(|number| held.push(notification(number)));
        assert_eq!(number(held.poll(now, KERNEL)), None);
        assert_eq!([LOG, LOG].map(|busy| number(held.poll(now, busy))), [Some(1), Some(2)]);
        held.forget_notifications();
        assert_eq!([LOG, FREE].map(|busy| number(held.poll(now, busy))), [None, Some(9)]);
    }

    #[test]
    fn once_everything_is_done_the_next_thing_is_done_at_once() {
        let now = Instant::now();
        let mut held = Held::default();
        held.hold(now);
        assert!(held.poll(now, FREE).is_none());
        held.push(Later::Effect(Effect::Activate(1)));
        assert_eq!(number(held.poll(now, KERNEL)), Some(1));
    }
}
