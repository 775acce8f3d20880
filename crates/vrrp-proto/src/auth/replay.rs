//! What was heard already, so that it is not believed twice.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::sequence::Sequence;

/// How many senders beside the configured peers are remembered: of a multicast router the most recent ones. keepalived
/// remembers 4, so that recordings of five routers, played in turn, push each other out and are believed for ever.
const MOST_RECENT: usize = 32;

/// What a [`Receiver`](crate::Receiver) remembers to refuse packets that were recorded earlier. Bounded: one entry per
/// unicast peer, and the 32 most recent other senders, ourselves included. Only packets with the right key are remembered.
///
/// Handed from a process to the next, it closes the gap that a restart would open. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReplayMemory {
    /// The highest sequence of an authentication header, of any sender or sent by ourselves.
    ah: Option<u32>,
    /// The newest trailer of each sender, the one that was heard last at the end.
    senders: Vec<Sender>,
}

/// The newest trailer of one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Sender {
    pub(crate) address: IpAddr,
    pub(crate) sequence: Sequence,
}

impl ReplayMemory {
    /// The sequence that an authentication header must exceed.
    pub(crate) const fn ah(&self) -> Option<u32> {
        self.ah
    }

    pub(crate) fn remember_ah(&mut self, sequence: u32) {
        self.ah = self.ah.max(Some(sequence));
    }

    /// Whether a trailer of `sender` is older than what it sent before, or the same. What lies outside the `window`
    /// around `clock` no longer counts: a packet of that age would be refused anyway, and a clock may have been set.
    pub(crate) fn is_replay(&self, sender: Sender, clock: Sequence, window: Option<Duration>) -> bool {
        let counts = |known: &Sender| window.is_none_or(|window| known.sequence.distance(clock) <= window);
        self.senders
            .iter()
            .filter(|known| known.address == sender.address && counts(known))
            .any(|known| !sender.sequence.is_after(known.sequence))
    }

    pub(crate) fn remember(&mut self, sender: Sender, is_peer: impl Fn(IpAddr) -> bool) {
        self.senders.retain(|known| known.address != sender.address);
        // Looked at for strangers only: to find out who is a peer takes time, and peers may be many.
        if !is_peer(sender.address) {
            let mut others = self.senders.iter().enumerate().filter(|(_, known)| !is_peer(known.address));
            if let Some((oldest, _)) = others.next()
                && others.count() + 1 >= MOST_RECENT
            {
                self.senders.remove(oldest);
            }
        }
        self.senders.push(sender);
    }

    /// Both memories in one: nothing that either refuses passes.
    pub(crate) fn merge(&mut self, other: Self, is_peer: impl Fn(IpAddr) -> bool) {
        self.ah = self.ah.max(other.ah);
        for sender in other.senders {
            let newer = |known: &Sender| known.address == sender.address && known.sequence.is_after(sender.sequence);
            if !self.senders.iter().any(newer) {
                self.remember(sender, &is_peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::UnixTime;

    const WINDOW: Option<Duration> = Some(Duration::from_secs(5));

    fn at(seconds: u64) -> Sequence {
        Sequence::at(UnixTime(Duration::from_secs(seconds)))
    }

    fn sender(host: u8, seconds: u64) -> Sender {
        Sender { address: IpAddr::from([10, 9, 0, host]), sequence: at(seconds) }
    }

    fn nobody(_: IpAddr) -> bool {
        false
    }

    #[test]
    fn a_sequence_must_grow_per_sender() {
        let mut memory = ReplayMemory::default();
        memory.remember(sender(1, 100), nobody);
        assert!(memory.is_replay(sender(1, 100), at(100), WINDOW));
        assert!(memory.is_replay(sender(1, 99), at(100), WINDOW));
        assert!(!memory.is_replay(sender(1, 101), at(100), WINDOW));
        assert!(!memory.is_replay(sender(2, 100), at(100), WINDOW));
    }

    #[test]
    fn what_is_outside_the_window_expires() {
        let mut memory = ReplayMemory::default();
        memory.remember(sender(1, 1000), nobody);
        assert!(!memory.is_replay(sender(1, 100), at(100), WINDOW), "the sender's clock was set back");
        assert!(memory.is_replay(sender(1, 100), at(100), None));
    }

    #[test]
    fn the_most_recent_are_remembered_and_every_peer() {
        let mut memory = ReplayMemory::default();
        let peer = |address| address == IpAddr::from([10, 9, 0, 1]);
        for host in 1..=34 {
            memory.remember(sender(host, 100), peer);
        }
        let known = |host: &u8| memory.is_replay(sender(*host, 100), at(100), WINDOW);
        assert_eq!((1..=34).filter(known).collect::<Vec<_>>(), [&[1], &(3..=34).collect::<Vec<_>>()[..]].concat());
    }

    #[test]
    fn a_memory_that_is_handed_over_refuses_what_both_refuse() {
        let (mut first, mut second) = (ReplayMemory::default(), ReplayMemory::default());
        first.remember(sender(1, 100), nobody);
        first.remember_ah(7);
        second.remember(sender(1, 101), nobody);
        second.remember(sender(2, 50), nobody);
        second.remember_ah(6);
        first.merge(second, nobody);
        assert!(first.is_replay(sender(1, 101), at(100), None) && first.is_replay(sender(2, 50), at(50), None));
        assert_eq!(first.ah(), Some(7));
    }
}
