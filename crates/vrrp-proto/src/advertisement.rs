//! The VRRP packet: its wire form ([`Pdu`]) and what a verified one says ([`Advertisement`]).

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::auth::AuthData;
use crate::checksum::{PseudoHeader, checksum};
use crate::types::{AdvertisementInterval, Centis, Family, Priority, Seconds, Version, Vrid};

/// The only packet type, ADVERTISEMENT (RFC 9568 §5.2.2).
pub(crate) const ADVERTISEMENT: u8 = 1;
/// The octets before the first address.
pub(crate) const HEADER_LENGTH: usize = 8;
/// The octets of Authentication Data, after the addresses of VRRPv2 over IPv4.
pub(crate) const AUTH_DATA_LENGTH: usize = 8;

/// What a verified advertisement says to the state machine. Made by the [`Receiver`](crate::Receiver).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Advertisement {
    /// Virtual Rtr ID.
    pub vrid: Vrid,
    /// The sender's priority; 0 resigns.
    pub priority: Priority,
    /// The sender's interval. Where the packet says zero it is the receiver's own.
    pub interval: AdvertisementInterval,
}

/// One VRRP advertisement in its wire form (RFC 9568 §5.1, RFC 2338 §5.1). Addresses stay in the receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pdu<'a> {
    /// Virtual Rtr ID (RFC 9568 §5.2.3).
    pub vrid: Vrid,
    /// 0 resigns, 255 owns the addresses (RFC 9568 §5.2.4).
    pub priority: Priority,
    /// The fields in which the versions differ.
    pub fields: VersionFields,
    /// At most 255, in the sender's order (RFC 9568 §5.2.9).
    pub addresses: Addresses<'a>,
}

/// The fields of a [`Pdu`] that depend on its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionFields {
    /// VRRPv2.
    V2 {
        /// Auth Type: 0 none, 1 password, 2 authentication header (RFC 2338 §5.3.6).
        auth_type: u8,
        /// Adver Int in seconds (RFC 2338 §5.3.7).
        advertisement_interval: Seconds,
        /// Authentication Data (RFC 2338 §5.3.10). Over IPv6 the field does not exist: neither sent nor read.
        auth_data: AuthData,
    },
    /// VRRPv3.
    V3 {
        /// Max Advertise Interval in centiseconds (RFC 9568 §5.2.7).
        max_advertise_interval: Centis,
    },
}

impl VersionFields {
    /// The version that these fields belong to.
    #[must_use]
    pub const fn version(&self) -> Version {
        match self {
            Self::V2 { .. } => Version::V2,
            Self::V3 { .. } => Version::V3,
        }
    }
}

/// The addresses of an advertisement, of one family, at most 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses<'a>(List<'a>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List<'a> {
    Ipv4(&'a [[u8; 4]]),
    Ipv6(&'a [[u8; 16]]),
}

impl<'a> Addresses<'a> {
    /// IPv4 addresses; `None` for more than 255.
    #[must_use]
    pub fn ipv4(octets: &'a [[u8; 4]]) -> Option<Self> {
        (octets.len() <= 255).then_some(Self(List::Ipv4(octets)))
    }

    /// IPv6 addresses; `None` for more than 255.
    #[must_use]
    pub fn ipv6(octets: &'a [[u8; 16]]) -> Option<Self> {
        (octets.len() <= 255).then_some(Self(List::Ipv6(octets)))
    }

    /// The first `count` addresses of `octets`; `None` if there are fewer.
    fn from_octets(family: Family, count: u8, octets: &'a [u8]) -> Option<Self> {
        let count = usize::from(count);
        Some(Self(match family {
            Family::Ipv4 => List::Ipv4(octets.as_chunks().0.get(..count)?),
            Family::Ipv6 => List::Ipv6(octets.as_chunks().0.get(..count)?),
        }))
    }

    /// Their family.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self.0 {
            List::Ipv4(_) => Family::Ipv4,
            List::Ipv6(_) => Family::Ipv6,
        }
    }

    /// How many there are ("IPvX Addr Count", RFC 9568 §5.2.5).
    #[must_use]
    pub fn count(&self) -> u8 {
        let count = match self.0 {
            List::Ipv4(list) => list.len(),
            List::Ipv6(list) => list.len(),
        };
        u8::try_from(count).unwrap_or(u8::MAX)
    }

    /// Their octets as on the wire.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        match self.0 {
            List::Ipv4(list) => list.as_flattened(),
            List::Ipv6(list) => list.as_flattened(),
        }
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let (v4, v6): (&'a [[u8; 4]], &'a [[u8; 16]]) = match self.0 {
            List::Ipv4(list) => (list, &[]),
            List::Ipv6(list) => (&[], list),
        };
        v4.iter().map(|&octets| IpAddr::from(octets)).chain(v6.iter().map(|&octets| IpAddr::from(octets)))
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: &IpAddr) -> bool {
        match (self.0, address) {
            (List::Ipv4(list), IpAddr::V4(address)) => list.contains(&address.octets()),
            (List::Ipv6(list), IpAddr::V6(address)) => list.contains(&address.octets()),
            _ => false,
        }
    }
}

/// The first thing that is wrong with octets that should be a VRRP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It ends too early.
    #[error("{got} octets where {needed} are needed")]
    Truncated {
        /// Octets that the packet must have.
        needed: usize,
        /// Octets that are there.
        got: usize,
    },
    /// Neither version 2 nor 3.
    #[error("VRRP version {0} is unknown")]
    Version(u8),
    /// Not an ADVERTISEMENT.
    #[error("VRRP packet type {0} is unknown")]
    PacketType(u8),
    /// VRID 0.
    #[error("a VRID of 0 is not allowed")]
    ZeroVrid,
    /// The checksum is wrong.
    #[error("the checksum is wrong")]
    Checksum,
    /// Not an IPv4 datagram with a sound header.
    #[error("not an IPv4 datagram")]
    NotIpv4,
}

/// The eight octets that every VRRP packet begins with, before anything is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) version: u8,
    pub(crate) packet_type: u8,
    pub(crate) vrid: u8,
    pub(crate) priority: u8,
    pub(crate) count: u8,
    pub(crate) parameters: [u8; 2],
}

impl Header {
    /// The header and the octets after it.
    pub(crate) fn split(bytes: &[u8]) -> Result<(Self, &[u8]), ParseError> {
        let truncated = ParseError::Truncated { needed: HEADER_LENGTH, got: bytes.len() };
        let (header, rest) = bytes.split_first_chunk::<HEADER_LENGTH>().ok_or(truncated)?;
        let &[version_type, vrid, priority, count, p0, p1, _, _] = header;
        let (version, packet_type) = (version_type >> 4, version_type & 0x0f);
        Ok((Self { version, packet_type, vrid, priority, count, parameters: [p0, p1] }, rest))
    }

    /// The length of the packet that this header announces.
    pub(crate) fn pdu_length(&self, version: Version, family: Family) -> usize {
        let addresses = HEADER_LENGTH + usize::from(self.count) * family.address_length();
        match (version, family) {
            (Version::V2, Family::Ipv4) => addresses + AUTH_DATA_LENGTH,
            _ => addresses,
        }
    }
}

impl<'a> Pdu<'a> {
    /// Reads an IP payload and verifies its checksum. Octets after the packet (padding, a trailer) are left to the
    /// caller; see [`wire_length`](Self::wire_length).
    ///
    /// # Errors
    /// [`ParseError`] names the first field that is wrong. No input panics.
    pub fn parse(bytes: &'a [u8], family: Family, pseudo: PseudoHeader) -> Result<Self, ParseError> {
        let pdu = Self::parse_unverified(bytes, family)?;
        let covered = bytes.get(..pdu.wire_length()).unwrap_or(bytes);
        if checksum(pseudo, covered) != 0 {
            return Err(ParseError::Checksum);
        }
        Ok(pdu)
    }

    /// As [`parse`](Self::parse), without looking at the checksum.
    ///
    /// # Errors
    /// [`ParseError`] names the first field that is wrong. No input panics.
    pub fn parse_unverified(bytes: &'a [u8], family: Family) -> Result<Self, ParseError> {
        let (header, rest) = Header::split(bytes)?;
        let version = Version::from_number(header.version).ok_or(ParseError::Version(header.version))?;
        if header.packet_type != ADVERTISEMENT {
            return Err(ParseError::PacketType(header.packet_type));
        }
        let truncated = ParseError::Truncated { needed: header.pdu_length(version, family), got: bytes.len() };
        let addresses = Addresses::from_octets(family, header.count, rest).ok_or(truncated)?;
        let [auth_type, seconds] = header.parameters;
        let fields = match version {
            Version::V3 => VersionFields::V3 { max_advertise_interval: Centis::from_wire(header.parameters) },
            Version::V2 => VersionFields::V2 {
                auth_type,
                advertisement_interval: Seconds(seconds),
                auth_data: match family {
                    Family::Ipv4 => auth_data(rest, addresses).ok_or(truncated)?,
                    Family::Ipv6 => AuthData::default(),
                },
            },
        };
        Ok(Self {
            vrid: Vrid::new(header.vrid).ok_or(ParseError::ZeroVrid)?,
            priority: Priority(header.priority),
            fields,
            addresses,
        })
    }

    /// Appends the wire form with its checksum to `out`; `parse` of those octets gives back `self`.
    pub fn emit(&self, pseudo: PseudoHeader, out: &mut Vec<u8>) {
        let start = out.len();
        let [p0, p1] = match self.fields {
            VersionFields::V2 { auth_type, advertisement_interval, .. } => [auth_type, advertisement_interval.0],
            VersionFields::V3 { max_advertise_interval } => max_advertise_interval.get().to_be_bytes(),
        };
        let version_type = self.version().number() << 4 | ADVERTISEMENT;
        let count = self.addresses.count();
        out.reserve(self.wire_length());
        out.extend_from_slice(&[version_type, self.vrid.get(), self.priority.0, count, p0, p1, 0, 0]);
        out.extend_from_slice(self.addresses.octets());
        if let (VersionFields::V2 { auth_data, .. }, Family::Ipv4) = (&self.fields, self.addresses.family()) {
            out.extend_from_slice(&auth_data.0);
        }
        seal(pseudo, out.get_mut(start..).unwrap_or_default());
    }

    /// The version of the packet.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.fields.version()
    }

    /// The length of its wire form in octets.
    #[must_use]
    pub fn wire_length(&self) -> usize {
        let auth = match (self.version(), self.addresses.family()) {
            (Version::V2, Family::Ipv4) => AUTH_DATA_LENGTH,
            _ => 0,
        };
        HEADER_LENGTH + self.addresses.octets().len() + auth
    }
}

/// Puts the checksum of a VRRP packet into it.
pub(crate) fn seal(pseudo: PseudoHeader, packet: &mut [u8]) {
    put_checksum(packet, 0);
    let sum = checksum(pseudo, packet);
    put_checksum(packet, sum);
}

fn put_checksum(packet: &mut [u8], sum: u16) {
    if let Some([_, _, _, _, _, _, field @ ..]) = packet.first_chunk_mut::<HEADER_LENGTH>() {
        *field = sum.to_be_bytes();
    }
}

fn auth_data(rest: &[u8], addresses: Addresses<'_>) -> Option<AuthData> {
    rest.get(addresses.octets().len()..)?.first_chunk().copied().map(AuthData)
}

#[cfg(test)]
mod tests;
