//! Octets to a verified advertisement, or a reason to drop them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::advertisement::{ADVERTISEMENT, Addresses, Advertisement, Header, ParseError, Pdu, VersionFields};
use crate::auth::{AuthData, Authentication};
use crate::checksum::checksum;
use crate::stats::ReceiverStats;
use crate::types::{AdvertisementInterval, Centis, Seconds, Version};
use crate::wire::{Cast, WireConfig};

/// The smallest payload of an Ethernet frame: shorter datagrams arrive padded to it.
const ETHERNET_PAYLOAD: usize = 46;
/// The IP protocol number of the authentication header of VRRPv2 (RFC 2402).
const PROTOCOL_AH: u8 = 51;
/// The length of that header with a 96-bit value.
const AH_LENGTH: usize = 24;

/// A packet as it came from a raw socket, taken apart but not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub authentication_header: Option<&'a [u8]>,
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
                let (header, payload) = rest.split_at_checked(AH_LENGTH).ok_or(truncated)?;
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

    /// The VRID that it is for, to find its [`Receiver`]; `None` if it is too short to be a VRRP packet.
    #[must_use]
    pub fn vrid(&self) -> Option<u8> {
        Header::split(self.payload).ok().map(|(header, _)| header.vrid)
    }
}

/// Why a packet was dropped. Such a packet moves no timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Discard {
    /// It has an authentication header, and ours have none.
    #[error("authentication header present, but authentication is not AH")]
    UnexpectedAuthenticationHeader,
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
    #[error("the IP header declares {declared} octets, {got} came")]
    TotalLength {
        /// As the IP header has it.
        declared: usize,
        /// As received.
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
    /// One bit per reason.
    fn bit(&self) -> u32 {
        1 << match self {
            Self::UnexpectedAuthenticationHeader => 0,
            Self::Length { .. } => 1,
            Self::HopLimit { .. } => 2,
            Self::Version { .. } => 3,
            Self::Vrid { .. } => 4,
            Self::InvalidAuthenticationType { .. } => 5,
            Self::AuthenticationType { .. } => 6,
            Self::AuthenticationFailed => 7,
            Self::AdvertisementInterval { .. } => 8,
            Self::PacketType { .. } => 9,
            Self::TotalLength { .. } => 10,
            Self::Checksum => 11,
            Self::NoAddresses => 12,
            Self::Destination { .. } => 13,
            Self::AddressOwner => 14,
            Self::UnknownPeer { .. } => 15,
            Self::PeerHopLimit { .. } => 16,
        }
    }
}

/// An advertisement that passed every check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Verified {
    /// What it says.
    pub advertisement: Advertisement,
    /// A VRRPv3 interval that differs from ours: accepted, said once per sender (RFC 9568 §7.1).
    pub interval: Option<IntervalMismatch>,
    /// An address list that differs from ours: accepted, said once per sender (RFC 9568 §7.1).
    pub addresses: Option<AddressMismatch>,
}

/// The sender's interval differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IntervalMismatch {
    /// The one configured here.
    pub ours: AdvertisementInterval,
    /// The one received, zero included.
    pub theirs: Centis,
}

/// The sender's address list differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AddressMismatch {
    /// Another number of addresses.
    Count {
        /// The number received.
        got: u8,
        /// The number configured here.
        expected: usize,
    },
    /// One of our addresses is not in it.
    Missing(IpAddr),
}

/// The checks on packets for one virtual router, and its secret.
#[derive(Debug, Clone)]
pub struct Receiver {
    config: WireConfig,
    stats: ReceiverStats,
    last_source: Option<IpAddr>,
    /// What was said since [`forget_reports`](Self::forget_reports), a bit per kind.
    reported: u32,
    reported_interval: bool,
    reported_addresses: bool,
}

impl Receiver {
    /// A receiver with all counters at zero.
    #[must_use]
    pub fn new(config: WireConfig) -> Self {
        Self {
            config,
            stats: ReceiverStats::default(),
            last_source: None,
            reported: 0,
            reported_interval: false,
            reported_addresses: false,
        }
    }

    /// Another configuration; counters go on.
    pub fn reconfigure(&mut self, config: WireConfig) {
        self.config = config;
        self.forget_reports();
    }

    /// Checks a packet, in keepalived's order. What is not accepted is counted and must not reach the state machine.
    ///
    /// # Errors
    /// The first check that fails, which also counts it.
    pub fn receive(&mut self, packet: &Packet<'_>) -> Result<Verified, Discard> {
        let result = self.check(packet);
        match &result {
            Ok(pdu) => Ok(self.accept(packet, pdu)),
            Err(discard) => {
                self.stats.count(discard);
                Err(*discard)
            }
        }
    }

    /// Whether this kind of discard has not been said since [`forget_reports`](Self::forget_reports): logs stay
    /// readable under a storm.
    pub fn report_once(&mut self, discard: &Discard) -> bool {
        let before = self.reported;
        self.reported |= discard.bit();
        before != self.reported
    }

    /// Lets everything be said once more; to be called when the router changes its state.
    pub fn forget_reports(&mut self) {
        self.reported = 0;
        self.reported_interval = false;
        self.reported_addresses = false;
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &ReceiverStats {
        &self.stats
    }

    /// Sets all counters to zero.
    pub fn clear_stats(&mut self) {
        self.stats = ReceiverStats::default();
    }

    /// The configuration that packets are held against.
    #[must_use]
    pub const fn config(&self) -> &WireConfig {
        &self.config
    }

    fn check<'a>(&self, packet: &Packet<'a>) -> Result<Pdu<'a>, Discard> {
        if packet.authentication_header.is_some() {
            return Err(Discard::UnexpectedAuthenticationHeader);
        }
        let got = packet.payload.len();
        let too_short = |_| Discard::Length { got, expected: crate::advertisement::HEADER_LENGTH };
        let (header, _) = Header::split(packet.payload).map_err(too_short)?;
        let length = self.check_length(packet, &header)?;
        self.check_hop_limit(packet)?;
        self.check_version(&header)?;
        if header.vrid != self.config.vrid.get() {
            return Err(Discard::Vrid { got: header.vrid, expected: self.config.vrid.get() });
        }
        if self.config.version == Version::V2 {
            self.check_version2(packet.payload.get(..length).unwrap_or_default(), &header)?;
        }
        if header.packet_type != ADVERTISEMENT {
            return Err(Discard::PacketType { got: header.packet_type });
        }
        if !same_length(packet.declared_length, got, packet.ip_header.len()) {
            return Err(Discard::TotalLength { declared: packet.declared_length, got });
        }
        self.check_checksum(packet, length)?;
        let wrong = |_| Discard::Length { got, expected: length };
        let pdu = Pdu::parse_unverified(packet.payload, self.config.family).map_err(wrong)?;
        if header.count == 0 && !self.config.addresses.is_empty() {
            return Err(Discard::NoAddresses);
        }
        self.check_destination(packet)?;
        if self.config.owner_ignore_adverts {
            return Err(Discard::AddressOwner);
        }
        self.check_peer(packet)?;
        Ok(pdu)
    }

    /// The length by the packet's own version, so that another version is reported as what it is.
    fn check_length(&self, packet: &Packet<'_>, header: &Header) -> Result<usize, Discard> {
        let Some(version) = Version::from_number(header.version) else {
            return Ok(packet.payload.len());
        };
        let expected = header.pdu_length(version, self.config.family);
        let got = packet.payload.len();
        if same_length(expected, got, packet.ip_header.len()) {
            Ok(expected)
        } else {
            Err(Discard::Length { got, expected })
        }
    }

    fn check_hop_limit(&self, packet: &Packet<'_>) -> Result<(), Discard> {
        match self.config.cast {
            Cast::Multicast { .. } if packet.hop_limit != 255 => Err(Discard::HopLimit { got: packet.hop_limit }),
            _ => Ok(()),
        }
    }

    fn check_version(&self, header: &Header) -> Result<(), Discard> {
        let expected = self.config.version.number();
        if header.version == expected { Ok(()) } else { Err(Discard::Version { got: header.version, expected }) }
    }

    fn check_version2(&self, pdu: &[u8], header: &Header) -> Result<(), Discard> {
        let [got, seconds] = header.parameters;
        if got > 2 {
            return Err(Discard::InvalidAuthenticationType { got });
        }
        let expected = self.config.authentication.auth_type();
        if got != expected {
            return Err(Discard::AuthenticationType { got, expected });
        }
        if let Authentication::Pass(_) = self.config.authentication {
            let data = pdu.last_chunk().copied().map(AuthData);
            if data != Some(self.config.authentication.auth_data()) {
                return Err(Discard::AuthenticationFailed);
            }
        }
        match self.config.advertisement_interval.seconds() {
            Some(Seconds(expected)) if expected != seconds => {
                Err(Discard::AdvertisementInterval { got: seconds, expected })
            }
            _ => Ok(()),
        }
    }

    fn check_checksum(&self, packet: &Packet<'_>, length: usize) -> Result<(), Discard> {
        if packet.checksum_verified {
            return Ok(());
        }
        let destination = match (packet.destination, &self.config.cast) {
            (Some(destination), _) => destination,
            (None, Cast::Multicast { group }) => *group,
            (None, Cast::Unicast { .. }) => return Err(Discard::Checksum),
        };
        let pseudo = self.config.pseudo_header(packet.source, destination).ok_or(Discard::Checksum)?;
        let covered = packet.payload.get(..length).ok_or(Discard::Checksum)?;
        if checksum(pseudo, covered) == 0 { Ok(()) } else { Err(Discard::Checksum) }
    }

    fn check_destination(&self, packet: &Packet<'_>) -> Result<(), Discard> {
        let multicast = matches!(self.config.cast, Cast::Multicast { .. });
        match packet.destination {
            Some(destination) if destination.is_multicast() != multicast => Err(Discard::Destination { destination }),
            _ => Ok(()),
        }
    }

    fn check_peer(&self, packet: &Packet<'_>) -> Result<(), Discard> {
        let Cast::Unicast { peers, check_source } = &self.config.cast else {
            return Ok(());
        };
        match peers.iter().find(|peer| peer.address == packet.source) {
            None if *check_source => Err(Discard::UnknownPeer { peer: packet.source }),
            Some(peer) if !(peer.min_hop_limit..=peer.max_hop_limit).contains(&packet.hop_limit) => {
                Err(Discard::PeerHopLimit { peer: packet.source, got: packet.hop_limit })
            }
            _ => Ok(()),
        }
    }

    fn accept(&mut self, packet: &Packet<'_>, pdu: &Pdu<'_>) -> Verified {
        let same_source = self.last_source.replace(packet.source) == Some(packet.source);
        if !same_source {
            self.reported_interval = false;
            self.reported_addresses = false;
        }
        self.stats.advertisements = self.stats.advertisements.wrapping_add(1);
        if pdu.priority == crate::Priority::RESIGN {
            self.stats.priority_zero = self.stats.priority_zero.wrapping_add(1);
        }
        let ours = self.config.advertisement_interval;
        let (interval, mismatch) = match pdu.fields {
            VersionFields::V2 { .. } => (ours, None),
            VersionFields::V3 { max_advertise_interval: theirs } => (
                AdvertisementInterval::from_centis(theirs).unwrap_or(ours),
                (ours.centis() != Some(theirs)).then_some(IntervalMismatch { ours, theirs }),
            ),
        };
        let addresses = match same_source && self.config.skip_check_adv_addr {
            true => None,
            false => address_mismatch(&self.config, pdu.addresses),
        };
        count_if(&mut self.stats.interval_differs, mismatch.is_some());
        count_if(&mut self.stats.address_list, addresses.is_some());
        Verified {
            advertisement: Advertisement { vrid: pdu.vrid, priority: pdu.priority, interval },
            interval: once(&mut self.reported_interval, mismatch),
            addresses: once(&mut self.reported_addresses, addresses),
        }
    }
}

/// Whether `got` octets are the `expected` ones, Ethernet padding allowed: then a datagram shorter than a frame comes
/// with a surplus that, addresses being multiples of four octets, leaves two.
fn same_length(expected: usize, got: usize, ip_header: usize) -> bool {
    let padded = ip_header > 0 && expected + ip_header < ETHERNET_PAYLOAD;
    got == expected || (padded && got > expected && (got - expected) % 4 == 2)
}

fn address_mismatch(config: &WireConfig, addresses: Addresses<'_>) -> Option<AddressMismatch> {
    let (got, expected) = (addresses.count(), config.addresses.len());
    if usize::from(got) != expected {
        return Some(AddressMismatch::Count { got, expected });
    }
    let in_order = addresses.iter().eq(config.addresses.iter().copied());
    let missing = config.addresses.iter().find(|address| !in_order && !addresses.contains(address));
    missing.copied().map(AddressMismatch::Missing)
}

fn count_if(counter: &mut u64, happened: bool) {
    *counter = counter.wrapping_add(u64::from(happened));
}

/// `report` if nothing of its kind was said yet.
fn once<T>(said: &mut bool, report: Option<T>) -> Option<T> {
    report.filter(|_| !core::mem::replace(said, true))
}

#[cfg(test)]
mod tests;
