//! Notifications on their way to the runner: numbered, kept until it acknowledges them, sent again to a new runner.
//! Pure but for the socket it is lent.

use std::collections::BTreeMap;
use std::io;

use crate::ipc::{Channel, Fact, Notification, NotifyAck, NotifyEvent, RunnerSays, ToRunner, TrackerFact};

use super::facts;

/// So many may wait for a runner that does not answer; the oldest are then dropped, and counted.
const RING: usize = 4096;

/// What the runner has not acknowledged yet.
#[derive(Debug)]
pub(crate) struct Notifier {
    next: u64,
    waiting: BTreeMap<u64, NotifyEvent>,
    /// The first number that was not sent to the present runner.
    unsent: u64,
    runner: Option<Channel>,
    /// What it said of trackers, until that is taken.
    trackers: Vec<TrackerFact>,
}

impl Default for Notifier {
    fn default() -> Self {
        Self { next: 1, waiting: BTreeMap::new(), unsent: 1, runner: None, trackers: Vec::new() }
    }
}

impl Notifier {
    /// Goes on where the process before this one ended.
    pub(crate) fn inherit(&mut self, facts: &[Fact]) {
        (self.waiting, self.next) = facts::notifications(facts);
        self.unsent = 0;
    }

    /// Keeps `event` for the runner; the facts that a successor needs.
    pub(crate) fn push(&mut self, event: NotifyEvent) -> Vec<Fact> {
        let number = self.next;
        self.next += 1;
        let mut facts = vec![facts::notification(number, &event), facts::next_notification(self.next)];
        self.waiting.insert(number, event);
        if self.waiting.len() > RING
            && let Some((dropped, event)) = self.waiting.pop_first()
        {
            tracing::warn!("a notification was dropped, scripts are not being run: {event:?}");
            facts.push(facts::forget_notification(dropped));
        }
        facts
    }

    /// Drops what waits; the facts that a successor no longer needs.
    pub(crate) fn clear(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.waiting).into_keys().map(facts::forget_notification).collect()
    }

    /// There is a new runner: it gets everything that waits.
    pub(crate) fn connect(&mut self, runner: Channel) {
        self.runner = Some(runner);
        self.unsent = 0;
    }

    /// Whether nothing waits for a runner that is there.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() || self.runner.is_none()
    }

    /// Sends what fits. `true` when nothing is left to send.
    pub(crate) fn flush(&mut self) -> bool {
        let Some(runner) = &self.runner else { return true };
        for (&number, event) in self.waiting.range(self.unsent..) {
            match runner.send(&ToRunner::Notify(Notification { number, event: event.clone() }), &[]) {
                Ok(()) => self.unsent = number + 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => {
                    // It is gone; the supervisor will send a new one.
                    self.runner = None;
                    return true;
                }
            }
        }
        true
    }

    /// Takes acknowledgements; the facts that a successor no longer needs.
    pub(crate) fn hear(&mut self) -> Vec<Fact> {
        let mut gone = Vec::new();
        while let Some(runner) = &self.runner {
            match runner.receive::<RunnerSays>() {
                Ok(Some((RunnerSays::Tracker(fact), _))) => self.trackers.push(fact),
                // Only the checker has any.
                Ok(Some((RunnerSays::Ended(_), _))) => {}
                Ok(Some((RunnerSays::Taken(NotifyAck { number }), _))) => {
                    let rest = self.waiting.split_off(&(number + 1));
                    let done = std::mem::replace(&mut self.waiting, rest);
                    gone.extend(done.into_keys().map(facts::forget_notification));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(None) | Err(_) => self.runner = None,
            }
        }
        gone
    }

    /// What was heard of trackers, in order.
    pub(crate) fn take_trackers(&mut self) -> Vec<TrackerFact> {
        std::mem::take(&mut self.trackers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::NotifyState;

    fn event(name: &str) -> NotifyEvent {
        NotifyEvent::Instance { name: name.into(), state: NotifyState::Backup, priority: 100 }
    }

    fn numbers(runner: &Channel) -> Vec<u64> {
        let receive = || match runner.receive().ok()??.0 {
            ToRunner::Notify(notification) => Some(notification.number),
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(receive).collect()
    }

    #[test]
    fn a_new_runner_gets_what_the_last_one_did_not_acknowledge() {
        let mut notifier = Notifier::default();
        notifier.push(event("a"));
        notifier.push(event("b"));
        let (ours, theirs) = Channel::pair().unwrap();
        notifier.connect(ours);
        assert!(notifier.flush());
        assert_eq!(numbers(&theirs), [1, 2]);
        theirs.send(&RunnerSays::Taken(NotifyAck { number: 1 }), &[]).unwrap();
        assert_eq!(notifier.hear(), [facts::forget_notification(1)]);
        assert!(!notifier.is_idle());
        let (ours, theirs) = Channel::pair().unwrap();
        notifier.connect(ours);
        notifier.flush();
        assert_eq!(numbers(&theirs), [2]);
        theirs.send(&RunnerSays::Taken(NotifyAck { number: 2 }), &[]).unwrap();
        notifier.hear();
        assert!(notifier.is_idle());
    }

    #[test]
    fn a_successor_goes_on_with_the_numbers() {
        let mut first = Notifier::default();
        let facts: Vec<_> = first.push(event("a"));
        let mut second = Notifier::default();
        second.inherit(&facts);
        second.push(event("b"));
        let (ours, theirs) = Channel::pair().unwrap();
        second.connect(ours);
        second.flush();
        assert_eq!(numbers(&theirs), [1, 2]);
    }

    #[test]
    fn a_runner_that_is_gone_is_forgotten_and_nothing_is_lost() {
        let mut notifier = Notifier::default();
        let (ours, theirs) = Channel::pair().unwrap();
        notifier.connect(ours);
        drop(theirs);
        notifier.push(event("a"));
        notifier.flush();
        assert!(notifier.is_idle(), "nobody is there to wait for");
        let (ours, theirs) = Channel::pair().unwrap();
        notifier.connect(ours);
        notifier.flush();
        assert_eq!(numbers(&theirs), [1]);
    }
}
