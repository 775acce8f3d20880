//! Reasons to drop a packet.

use core::net::IpAddr;
use core::time::Duration;

/// Why a packet was dropped. Such a packet moves no timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Discard {
    /// It has an authentication header, and ours have none.
    #[error("authentication header present, but authentication is not AH")]
    UnexpectedAuthenticationHeader,
    /// It has no authentication header, and ours have one.
    #[error("no authentication header, but authentication is AH")]
    MissingAuthenticationHeader,
    /// It is longer or shorter than its header says.
    #[error("packet of {got} octets, expected {expected}")]
    Length {
        /// Octets that came.
        got: usize,
        /// Octets that its address count calls for.
        expected: usize,
    },
    /// A multicast packet that was forwarded, or made to look like one of ours (RFC 9568 §5.1.1.3).
    #[error("TTL or hop limit {got}, expected 255")]
    HopLimit {
        /// The one that it came with.
        got: u8,
    },
    /// Another VRRP version than ours (RFC 9568 §7.1).
    #[error("VRRP version {got}, expected {expected}")]
    Version {
        /// Its version.
        got: u8,
        /// Ours.
        expected: u8,
    },
    /// A packet for another virtual router was given to this receiver (RFC 9568 §7.1).
    #[error("VRID {got}, expected {expected}")]
    Vrid {
        /// Its VRID.
        got: u8,
        /// Ours.
        expected: u8,
    },
    /// It has no HMAC trailer, and ours have one (`auth_hmac` in mode `enforce`).
    #[error("no HMAC trailer")]
    HmacMissing,
    /// Its HMAC trailer is of an unknown type, or its reserved octets are not zero.
    #[error("malformed HMAC trailer")]
    HmacMalformed,
    /// The time of its HMAC trailer lies outside the window.
    #[error("HMAC trailer {} s {} our clock", by.as_secs_f32(), if *ahead { "ahead of" } else { "behind" })]
    HmacStale {
        /// Whether its time lies after ours.
        ahead: bool,
        /// How far the times are apart.
        by: Duration,
    },
    /// The key of its HMAC trailer is not among ours.
    #[error("HMAC key {key} is unknown")]
    HmacUnknownKey {
        /// The number of its key.
        key: u8,
    },
    /// Its HMAC is wrong: another secret, or a packet that was changed.
    #[error("HMAC of key {key} is wrong")]
    HmacInvalid {
        /// The number of its key.
        key: u8,
    },
    /// Its HMAC is right, but not newer than what the sender sent before: it was recorded and sent again.
    #[error("HMAC sequence is not new")]
    HmacReplay,
    /// An authentication type that does not exist (VRRPv2).
    #[error("authentication type {got} is invalid")]
    InvalidAuthenticationType {
        /// Its type.
        got: u8,
    },
    /// Another authentication type than ours (VRRPv2).
    #[error("authentication type {got}, expected {expected}")]
    AuthenticationType {
        /// Its type.
        got: u8,
        /// Ours.
        expected: u8,
    },
    /// The password differs (VRRPv2).
    #[error("authentication failed")]
    AuthenticationFailed,
    /// The authentication header stands before something else than VRRP.
    #[error("protocol {got} after the authentication header")]
    AhNextHeader {
        /// The protocol number of what follows.
        got: u8,
    },
    /// The integrity check value of the authentication header is wrong: another password, or a packet that was changed.
    #[error("integrity check value of the authentication header is wrong")]
    AhIntegrity,
    /// The sequence of the authentication header did not increase: the packet was recorded and sent again, or the sender
    /// has started anew and has not heard us yet.
    #[error("sequence {got} of the authentication header does not exceed {last}")]
    AhSequence {
        /// Its sequence.
        got: u32,
        /// The highest one so far.
        last: u32,
    },
    /// Another interval than ours (VRRPv2; RFC 2338 §7.1).
    #[error("advertisement interval of {got} s, expected {expected} s")]
    AdvertisementInterval {
        /// Its interval in seconds.
        got: u8,
        /// Ours.
        expected: u8,
    },
    /// Not an ADVERTISEMENT (RFC 9568 §5.2.2).
    #[error("VRRP packet type {got} is unknown")]
    PacketType {
        /// Its type.
        got: u8,
    },
    /// The IP header has another length than came.
    #[error("the IP header declares {declared} octets, the packet has {got}")]
    TotalLength {
        /// As the IP header has it.
        declared: usize,
        /// As its address count calls for, trailer included.
        got: usize,
    },
    /// The checksum is wrong (RFC 9568 §5.2.8).
    #[error("the checksum is wrong")]
    Checksum,
    /// It names no address although the virtual router has some (RFC 9568 §5.2.5).
    #[error("no addresses in the advertisement")]
    NoAddresses,
    /// Multicast where unicast is configured, or the reverse.
    #[error("sent to {destination}")]
    Destination {
        /// Where it was sent to.
        destination: IpAddr,
    },
    /// We own the addresses and listen to nobody (RFC 9568 §7.1).
    #[error("this router is the address owner")]
    AddressOwner,
    /// By unicast from someone who is not a peer.
    #[error("{peer} is not a unicast peer")]
    UnknownPeer {
        /// The sender.
        peer: IpAddr,
    },
    /// By unicast from a peer that is nearer or farther than configured.
    #[error("TTL or hop limit {got} from peer {peer} is out of range")]
    PeerHopLimit {
        /// The sender.
        peer: IpAddr,
        /// The TTL or hop limit that it came with.
        got: u8,
    },
}

impl Discard {
    /// One bit per reason, below those of [`Difference`](super::reports::Difference).
    pub(super) const fn bit(&self) -> u32 {
        1 << match self {
            Self::UnexpectedAuthenticationHeader => 0,
            Self::MissingAuthenticationHeader => 1,
            Self::Length { .. } => 2,
            Self::HopLimit { .. } => 3,
            Self::Version { .. } => 4,
            Self::Vrid { .. } => 5,
            Self::HmacMissing => 6,
            Self::HmacMalformed => 7,
            Self::HmacStale { .. } => 8,
            Self::HmacUnknownKey { .. } => 9,
            Self::HmacInvalid { .. } => 10,
            Self::HmacReplay => 11,
            Self::InvalidAuthenticationType { .. } => 12,
            Self::AuthenticationType { .. } => 13,
            Self::AuthenticationFailed => 14,
            Self::AhNextHeader { .. } => 15,
            Self::AhIntegrity => 16,
            Self::AhSequence { .. } => 17,
            Self::AdvertisementInterval { .. } => 18,
            Self::PacketType { .. } => 19,
            Self::TotalLength { .. } => 20,
            Self::Checksum => 21,
            Self::NoAddresses => 22,
            Self::Destination { .. } => 23,
            Self::AddressOwner => 24,
            Self::UnknownPeer { .. } => 25,
            Self::PeerHopLimit { .. } => 26,
        }
    }
}
