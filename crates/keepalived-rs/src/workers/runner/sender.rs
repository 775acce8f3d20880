//! Which notifications of one sender were seen, started and acknowledged: none is lost or run twice, whichever of the two
//! processes is restarted.

use std::collections::BTreeSet;

/// The numbers of one sender.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// The highest number taken.
    seen: u64,
    /// Taken, but waiting for other scripts.
    waiting: BTreeSet<u64>,
    /// The highest number acknowledged on this connection.
    acknowledged: Option<u64>,
    /// Nothing came on this connection yet.
    fresh: bool,
    /// Counts the sender's beginnings from 1.
    life: u64,
}

/// Names one notification among all lives of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    life: u64,
    number: u64,
}

impl Sender {
    /// There is a new connection: the sender or the runner was replaced.
    pub(crate) fn connected(&mut self) {
        self.fresh = true;
        self.acknowledged = None;
    }

    /// A notification arrived; `None` when it was taken already. A sender whose first number is 1 knows of no
    /// predecessor and counts anew.
    pub(crate) fn take(&mut self, number: u64) -> Option<Ticket> {
        if self.fresh && number == 1 {
            self.seen = 0;
            self.waiting.clear();
            self.life += 1;
        }
        self.fresh = false;
        if number <= self.seen {
            return None;
        }
        self.seen = number;
        self.waiting.insert(number);
        Some(Ticket { life: self.life, number })
    }

    /// The scripts of a notification were started.
    pub(crate) fn started(&mut self, ticket: Ticket) {
        if ticket.life == self.life {
            self.waiting.remove(&ticket.number);
        }
    }

    /// The number to acknowledge, when it is another one than before.
    pub(crate) fn poll_acknowledge(&self) -> Option<u64> {
        let done = self.waiting.first().map_or(self.seen, |first| first - 1);
        (!self.fresh && self.acknowledged != Some(done)).then_some(done)
    }

    /// `number` was acknowledged.
    pub(crate) fn acknowledged(&mut self, number: u64) {
        self.acknowledged = Some(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected() -> Sender {
        let mut sender = Sender::default();
        sender.connected();
        sender
    }

    #[test]
    fn a_repeated_number_is_not_taken_twice_but_acknowledged_again() {
        let mut sender = connected();
        let ticket = sender.take(1).unwrap();
        assert_eq!(sender.take(1), None);
        sender.started(ticket);
        assert_eq!(sender.poll_acknowledge(), Some(1));
        sender.acknowledged(1);
        assert_eq!(sender.poll_acknowledge(), None);
        let ticket = sender.take(2).unwrap();
        sender.started(ticket);
        sender.acknowledged(2);
        sender.connected();
        assert_eq!(sender.poll_acknowledge(), None, "nothing to say before the sender speaks");
        assert_eq!(sender.take(2), None);
        assert_eq!(sender.poll_acknowledge(), Some(2));
    }

    #[test]
    fn only_what_was_started_is_acknowledged() {
        let mut sender = connected();
        let tickets: Vec<_> = (1..=3).map(|number| sender.take(number).unwrap()).collect();
        assert_eq!(sender.poll_acknowledge(), Some(0));
        sender.started(tickets[0]);
        sender.started(tickets[2]);
        assert_eq!(sender.poll_acknowledge(), Some(1), "the second still waits");
        sender.started(tickets[1]);
        assert_eq!(sender.poll_acknowledge(), Some(3));
    }

    #[test]
    fn a_sender_without_memory_begins_anew() {
        let mut sender = connected();
        let old = (1..=5).filter_map(|number| sender.take(number)).last().unwrap();
        sender.connected();
        assert!(sender.take(1).is_some());
        sender.started(old);
        assert_eq!(sender.poll_acknowledge(), Some(0), "the old life's ticket counts for nothing");
    }

    #[test]
    fn a_new_runner_takes_what_is_repeated() {
        let mut sender = connected();
        assert!(sender.take(41).is_some());
        assert_eq!(sender.poll_acknowledge(), Some(40));
    }
}
