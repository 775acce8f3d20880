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
}

impl Notices {
    /// Keeps `notification`, whose number is the highest, for the runner. The oldest, when it had to be forgotten for it.
    pub(crate) fn push(&mut self, notification: Notification) -> Option<Notification> {
        self.waiting.push_back(notification);
        if self.waiting.len() <= KEPT {
            return None;
        }
        self.sent = self.sent.saturating_sub(1);
        self.waiting.pop_front()
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

/// The line for the log about one that had to be forgotten.
pub(crate) fn lost(event: &NotifyEvent) -> String {
    let word = |up: &bool| if *up { "up" } else { "down" };
    let script = match event {
        NotifyEvent::Quorum { virtual_server, up } => format!("quorum_{} of VS {virtual_server}", word(up)),
        NotifyEvent::RealServer { virtual_server, real_server, up } => {
            format!("notify_{} of service {real_server} of VS {virtual_server}", word(up))
        }
        NotifyEvent::Instance { name, .. } | NotifyEvent::Group { name, .. } => format!("notify of {name}"),
    };
    format!("{script} is not run: the process that runs scripts has not answered for {KEPT} events; is it held up?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(number: usize) -> Notification {
        let event = NotifyEvent::Quorum { virtual_server: "FWM 1".into(), up: true };
        Notification { number: u64::try_from(number).unwrap(), event }
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
        for number in 1..=4 {
            assert_eq!(notices.push(notification(number)), None);
        }
        assert_eq!(send_all(&mut notices), [1, 2, 3, 4]);
        notices.acknowledged(2);
        assert_eq!(send_all(&mut notices), [0u64; 0]);
        notices.connected();
        assert_eq!(send_all(&mut notices), [3, 4]);
        notices.push(notification(5));
        assert_eq!(send_all(&mut notices), [5]);
    }

    #[test]
    fn what_is_lost_is_named_by_its_script() {
        let line = lost(&NotifyEvent::Quorum { virtual_server: "FWM 1".into(), up: false });
        assert!(line.starts_with("quorum_down of VS FWM 1 is not run: "), "{line}");
        let (virtual_server, real_server) = ("FWM 1".to_owned(), "[10.0.0.1]:tcp:80".to_owned());
        let line = lost(&NotifyEvent::RealServer { virtual_server, real_server, up: true });
        assert!(line.starts_with("notify_up of service [10.0.0.1]:tcp:80 of VS FWM 1 is not run: "), "{line}");
    }

    #[test]
    fn the_newest_are_kept() {
        let mut notices = Notices::default();
        let forgotten: Vec<_> = (1..=KEPT + 3).filter_map(|number| notices.push(notification(number))).collect();
        assert_eq!(forgotten, [1, 2, 3].map(notification));
        assert_eq!(notices.poll_send().map(|first| first.number), Some(4));
    }
}
