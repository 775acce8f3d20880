//! The Internet checksum (RFC 1071) and the pseudo-headers that VRRP puts before it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IP protocol number of VRRP (RFC 9568 §5.1.1.4).
pub const PROTOCOL: u8 = 112;

/// What the checksum of a packet covers beside the packet itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PseudoHeader {
    /// Nothing: VRRPv2 over IPv4, and VRRPv3 over IPv4 as RFC 9568 §5.2.8 has it (keepalived's `v3_checksum_as_v2`).
    None,
    /// Source, destination, protocol and length: VRRPv3 over IPv4 as RFC 5798 §5.2.8 was understood by keepalived and
    /// most others.
    Ipv4 {
        /// Source of the packet.
        source: Ipv4Addr,
        /// Destination of the packet.
        destination: Ipv4Addr,
    },
    /// The pseudo-header of RFC 8200 §8.1: both versions over IPv6.
    Ipv6 {
        /// Source of the packet.
        source: Ipv6Addr,
        /// Destination of the packet.
        destination: Ipv6Addr,
    },
}

impl PseudoHeader {
    /// The pseudo-header between two addresses; `None` if their families differ.
    #[must_use]
    pub const fn between(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::Ipv4 { source, destination }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::Ipv6 { source, destination }),
            _ => None,
        }
    }

    /// The sum of its 16-bit words for a packet of `length` octets.
    fn sum(self, length: usize) -> u64 {
        let rest = u64::from(PROTOCOL) + u64::try_from(length).unwrap_or(0);
        match self {
            Self::None => 0,
            Self::Ipv4 { source, destination } => sum(&source.octets()) + sum(&destination.octets()) + rest,
            Self::Ipv6 { source, destination } => sum(&source.octets()) + sum(&destination.octets()) + rest,
        }
    }
}

/// The Internet checksum of `bytes` after `pseudo`: what belongs into a checksum field that is zero in `bytes`, and zero
/// if the right one is already there.
#[must_use]
pub fn checksum(pseudo: PseudoHeader, bytes: &[u8]) -> u16 {
    !fold(pseudo.sum(bytes.len()) + sum(bytes))
}

/// In words of 32 bits, which come to the same when folded: 2^16 is 1 in one's complement arithmetic. The sum of 65,536
/// octets stays below 2^47.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let last = match *rest {
        [] => 0,
        [a] => u32::from_be_bytes([a, 0, 0, 0]),
        [a, b] => u32::from_be_bytes([a, b, 0, 0]),
        [a, b, c, ..] => u32::from_be_bytes([a, b, c, 0]),
    };
    words.iter().map(|&word| u64::from(u32::from_be_bytes(word))).sum::<u64>() + u64::from(last)
}

/// Adds what is above 16 bits to what is below, until nothing is.
fn fold(sum: u64) -> u16 {
    let mut sum = (sum & 0xffff_ffff) + (sum >> 32);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(PseudoHeader::None, &octets), !0xddf2);
    }

    #[test]
    fn an_odd_octet_is_padded_on_the_right() {
        assert_eq!(checksum(PseudoHeader::None, &[0x12]), !0x1200);
    }

    /// The sum of 16-bit words, as RFC 1071 writes it down.
    fn by_the_book(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |&octet| u32::from(octet));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn any_octets_sum_up_as_words_do(bytes: Vec<u8>) {
            prop_assert_eq!(checksum(PseudoHeader::None, &bytes), by_the_book(&bytes));
        }
    }

    #[test]
    fn the_largest_packet_folds_too() {
        let bytes = vec![0xff; 65_535];
        assert_eq!(checksum(PseudoHeader::None, &bytes), by_the_book(&bytes));
    }

    #[test]
    fn pseudo_headers_need_one_family() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(PseudoHeader::between(v4, v6), None);
        assert!(PseudoHeader::between(v6, v6).is_some());
    }
}
