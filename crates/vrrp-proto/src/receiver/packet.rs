//! A packet of a raw socket, taken apart.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::advertisement::{Header, ParseError};
use crate::auth::{AH_LENGTH, PROTOCOL_AH};

/// A packet as it came from a raw socket, taken apart but not checked.
///
/// `Debug` tells the length of its payload only, in which a password may travel in clear.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// Its sender.
    pub source: IpAddr,
    /// Where it was sent to, if that is known.
    pub destination: Option<IpAddr>,
    /// Its TTL or hop limit.
    pub hop_limit: u8,
    /// The IPv4 header as it came; empty for IPv6.
    pub ip_header: &'a [u8],
    /// The authentication header between IP and VRRP, if there is one (VRRPv2 over IPv4).
    pub authentication_header: Option<&'a [u8; 24]>,
    /// From the first octet of the VRRP packet to the end.
    pub payload: &'a [u8],
    /// The length of `payload` as the IP header has it.
    pub declared_length: usize,
    /// Whether someone else, such as an IPv6 raw socket with `IPV6_CHECKSUM`, has verified the VRRP checksum.
    pub checksum_verified: bool,
}

impl<'a> Packet<'a> {
    /// Takes apart an IPv4 datagram with its header, as a raw IPv4 socket delivers it.
    ///
    /// # Errors
    /// [`ParseError::NotIpv4`] or [`ParseError::Truncated`] if the headers are not whole.
    pub fn from_ipv4(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let truncated = ParseError::Truncated { needed: 20, got: datagram.len() };
        let fixed = datagram.first_chunk::<20>().ok_or(truncated)?;
        let &[version_ihl, _, l0, l1, _, _, _, _, hop_limit, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = fixed;
        let header_length = usize::from(version_ihl & 0x0f) * 4;
        if version_ihl >> 4 != 4 || header_length < fixed.len() {
            return Err(ParseError::NotIpv4);
        }
        let truncated = ParseError::Truncated { needed: header_length, got: datagram.len() };
        let (ip_header, rest) = datagram.split_at_checked(header_length).ok_or(truncated)?;
        let (authentication_header, payload) = match protocol {
            PROTOCOL_AH => {
                let truncated = ParseError::Truncated { needed: header_length + AH_LENGTH, got: datagram.len() };
                let (header, payload) = rest.split_first_chunk::<AH_LENGTH>().ok_or(truncated)?;
                (Some(header), payload)
            }
            _ => (None, rest),
        };
        let headers = datagram.len() - payload.len();
        Ok(Self {
            source: IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3)),
            destination: Some(IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3))),
            hop_limit,
            ip_header,
            authentication_header,
            payload,
            declared_length: usize::from(u16::from_be_bytes([l0, l1])).saturating_sub(headers),
            checksum_verified: false,
        })
    }

    /// A VRRP packet from a raw IPv6 socket, which delivers it without its header. If `destination` is not known the
    /// configured group stands in for it in the checksum.
    #[must_use]
    pub fn from_ipv6(source: Ipv6Addr, destination: Option<Ipv6Addr>, hop_limit: u8, payload: &'a [u8]) -> Self {
        Self {
            source: IpAddr::V6(source),
            destination: destination.map(IpAddr::V6),
            hop_limit,
            ip_header: &[],
            authentication_header: None,
            payload,
            declared_length: payload.len(),
            checksum_verified: false,
        }
    }

    /// The VRID that it is for, to find its [`Receiver`](crate::Receiver); `None` if it is too short to be a VRRP packet.
    #[must_use]
    pub fn vrid(&self) -> Option<u8> {
        Header::split(self.payload).ok().map(|(header, _)| header.vrid)
    }

    /// The octets of the headers before `payload` that came with it; 0 for IPv6.
    pub(super) fn headers(&self) -> usize {
        self.ip_header.len() + self.authentication_header.map_or(0, |header| header.len())
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("source", &self.source)
            .field("destination", &self.destination)
            .field("hop_limit", &self.hop_limit)
            .field("authentication_header", &self.authentication_header.is_some())
            .field("payload", &format_args!("{} octets", self.payload.len()))
            .field("declared_length", &self.declared_length)
            .field("checksum_verified", &self.checksum_verified)
            .finish_non_exhaustive()
    }
}
