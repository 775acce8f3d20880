//! What a worker has told the runner and the runner has not acknowledged: it is repeated to a new runner.

use std::collections::VecDeque;

use crate::ipc::{Notification, NotifyEvent};

/// How many notifications are kept for a runner that does not answer.
const KEPT: usize = 65_536;

/// The unacknowledged notifications in order. Holds no socket.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    waiting: VecDeque<Notification>,
    /// How many of `waiting` were sent on this connection.
    sent: usize,
    /// The number of the last one.
    last: u64,
}

impl Notices {
    /// Keeps `event` for the runner. `false` when the oldest had to be forgotten for it.
    pub(crate) fn push(&mut self, event: NotifyEvent) -> bool {
        self.last += 1;
        self.waiting.push_back(Notification { number: self.last, event });
        if self.waiting.len() <= KEPT {
            return true;
        }
        self.waiting.pop_front();
        self.sent = self.sent.saturating_sub(1);
        false
    }

    /// The runner is a new one: everything is sent again.
    pub(crate) fn connected(&mut self) {
        self.sent = 0;
    }

    /// What to send next.
    pub(crate) fn poll_send(&self) -> Option<&Notification> {
        self.waiting.get(self.sent)
    }

    /// The notification that [`poll_send`](Self::poll_send) gave was sent.
    pub(crate) fn sent(&mut self) {
        self.sent = (self.sent + 1).min(self.waiting.len());
    }

    /// The runner has started everything up to `number`.
    pub(crate) fn acknowledged(&mut self, number: u64) {
        while self.waiting.front().is_some_and(|first| first.number <= number) {
            self.waiting.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> NotifyEvent {
        NotifyEvent::Quorum { virtual_server: "FWM 1".into(), up: true }
    }

    fn send_all(notices: &mut Notices) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(notification) = notices.poll_send() {
            numbers.push(notification.number);
            notices.sent();
        }
        numbers
    }

    #[test]
    fn a_new_runner_is_told_what_the_old_one_did_not_acknowledge() {
        let mut notices = Notices::default();
        for _ in 0..4 {
            assert!(notices.push(event()));
        }
        assert_eq!(send_all(&mut notices), [1, 2, 3, 4]);
        notices.acknowledged(2);
        assert_eq!(send_all(&mut notices), [0u64; 0]);
        notices.connected();
        assert_eq!(send_all(&mut notices), [3, 4]);
        notices.push(event());
        assert_eq!(send_all(&mut notices), [5]);
    }

    #[test]
    fn the_newest_are_kept() {
        let mut notices = Notices::default();
        let kept = (0..KEPT + 3).filter(|_| notices.push(event())).count();
        assert_eq!(kept, KEPT);
        assert_eq!(notices.poll_send().map(|first| first.number), Some(4));
    }
}
