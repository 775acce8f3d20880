//! What keepalived's statistics tell of each instance: counted by a process, carried on by the next one. Pure.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use vrrp_proto::{ReceiverStats, RouterStats};

/// The lines of an instance below its name, in keepalived's order and words; each ends with a number.
const LINES: [&str; 14] = [
    "  Advertisements:\n    Received",
    "    Sent",
    "  Became master",
    "  Released master",
    "  Packet Errors:\n    Length",
    "    TTL",
    "    Invalid Type",
    "    Advertisement Interval",
    "    Address List",
    "  Authentication Errors:\n    Invalid Type",
    "    Type Mismatch",
    "    Failure",
    "  Priority Zero:\n    Received",
    "    Sent",
];

/// One number for each of [`LINES`]. Each wraps after 2^64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters([u64; LINES.len()]);

impl Counters {
    /// As many octets as any.
    #[cfg(test)]
    pub(crate) const LARGEST: Self = Self([u64::MAX; LINES.len()]);

    /// What a router and its receiver counted. Kinds of errors that keepalived has no line for are not among them.
    pub(crate) fn of(router: &RouterStats, receiver: &ReceiverStats) -> Self {
        let sum = |counts: &[u64]| counts.iter().copied().fold(0, u64::wrapping_add);
        Self([
            receiver.advertisements,
            router.advertisements_sent,
            router.became_active,
            router.released_active,
            sum(&[receiver.length, receiver.total_length]),
            sum(&[receiver.hop_limit, receiver.peer_hop_limit]),
            receiver.packet_type,
            receiver.advertisement_interval,
            sum(&[receiver.address_list, receiver.no_addresses, receiver.destination]),
            receiver.invalid_authentication_type,
            sum(&[
                receiver.authentication_type,
                receiver.unexpected_authentication_header,
                receiver.missing_authentication_header,
            ]),
            sum(&[receiver.authentication_failed, receiver.ah_integrity, receiver.ah_sequence]),
            receiver.priority_zero,
            router.priority_zero_sent,
        ])
    }

    /// These and those.
    pub(crate) fn plus(self, other: Self) -> Self {
        let mut sum = self;
        for (count, more) in sum.0.iter_mut().zip(other.0) {
            *count = count.wrapping_add(more);
        }
        sum
    }

    /// What [`plus`](Self::plus) these is zero.
    pub(crate) fn negated(self) -> Self {
        Self(self.0.map(u64::wrapping_neg))
    }

    /// What keepalived writes of the instance `name`.
    pub(crate) fn text(&self, name: &str) -> String {
        let mut text = format!("VRRP Instance: {name}\n");
        for (line, count) in LINES.iter().zip(self.0) {
            // A string takes whatever is written to it.
            let _ = writeln!(text, "{line}: {count}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> Counters {
        let router = RouterStats { advertisements_sent: 5, became_active: 1, ..RouterStats::default() };
        let mut receiver = ReceiverStats::default();
        receiver.advertisements = 35;
        receiver.priority_zero = 1;
        receiver.total_length = 2;
        receiver.length = 1;
        receiver.ah_sequence = 4;
        Counters::of(&router, &receiver)
    }

    #[test]
    fn the_text_has_the_lines_of_keepalived() {
        let expected = "VRRP Instance: V1\n  Advertisements:\n    Received: 35\n    Sent: 5\n  Became master: 1\n  \
                        Released master: 0\n  Packet Errors:\n    Length: 3\n    TTL: 0\n    Invalid Type: 0\n    \
                        Advertisement Interval: 0\n    Address List: 0\n  Authentication Errors:\n    Invalid Type: 0\n    \
                        Type Mismatch: 0\n    Failure: 4\n  Priority Zero:\n    Received: 1\n    Sent: 0\n";
        assert_eq!(counted().text("V1"), expected);
    }

    #[test]
    fn what_is_cleared_counts_from_zero() {
        let base = counted().negated();
        assert_eq!(counted().plus(base), Counters::default());
        assert_eq!(counted().plus(counted()).plus(base), counted());
    }
}
