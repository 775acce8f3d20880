//! How the packets of one virtual router look: shared by [`Receiver`](crate::Receiver) and
//! [`Transmitter`](crate::Transmitter).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::auth::Authentication;
use crate::checksum::PseudoHeader;
use crate::types::{AdvertisementInterval, Family, Version, Vrid};

/// 224.0.0.18, the group of VRRP over IPv4 (RFC 9568 §5.1.1.2).
pub const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// ff02::12, the group of VRRP over IPv6 (RFC 9568 §5.1.2.2).
pub const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// How the packets of one virtual router look. Holds the secret of its authentication.
///
/// [`WireConfig::new`] gives the RFC's defaults; the fields are then set one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireConfig {
    /// Its number on the link.
    pub vrid: Vrid,
    /// The protocol version.
    pub version: Version,
    /// The family of packets and addresses.
    pub family: Family,
    /// The interval that its packets carry. Default one second.
    pub advertisement_interval: AdvertisementInterval,
    /// The virtual addresses that its packets carry, in this order; at most 255, all of `family`.
    pub addresses: Vec<IpAddr>,
    /// How its packets are authenticated. Default none.
    pub authentication: Authentication,
    /// Where its packets go. Default the group of the family.
    pub cast: Cast,
    /// VRRPv3 over IPv4: the checksum covers the packet only, as RFC 9568 §5.2.8 has it, in place of the pseudo-header
    /// that keepalived and most others add (`v3_checksum_as_v2`). Holds for sending and for verifying. Default off.
    pub v3_checksum_as_v2: bool,
    /// TTL of sent IPv4 packets. Default 255.
    pub hop_limit: u8,
    /// Drop every advertisement, because this router owns the addresses (RFC 9568 §7.1; keepalived's
    /// `owner_ignore_adverts`). Default off.
    pub owner_ignore_adverts: bool,
    /// Compare the address list only when the sender is another than the last one (`skip_check_adv_addr`). Default off.
    pub skip_check_adv_addr: bool,
}

impl WireConfig {
    /// A multicast router without authentication that advertises every second.
    #[must_use]
    pub fn new(vrid: Vrid, version: Version, family: Family) -> Self {
        Self {
            vrid,
            version,
            family,
            advertisement_interval: AdvertisementInterval::one_second(version),
            addresses: Vec::new(),
            authentication: Authentication::None,
            cast: Cast::Multicast { group: default_group(family) },
            v3_checksum_as_v2: false,
            hop_limit: 255,
            owner_ignore_adverts: false,
            skip_check_adv_addr: false,
        }
    }

    /// What the checksum between two addresses covers; `None` if they are of different families.
    pub(crate) fn pseudo_header(&self, source: IpAddr, destination: IpAddr) -> Option<PseudoHeader> {
        let pseudo = PseudoHeader::between(source, destination)?;
        let bare = self.family == Family::Ipv4 && (self.version == Version::V2 || self.v3_checksum_as_v2);
        Some(if bare { PseudoHeader::None } else { pseudo })
    }
}

/// The group that VRRP uses in `family`.
#[must_use]
pub const fn default_group(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(GROUP_IPV4),
        Family::Ipv6 => IpAddr::V6(GROUP_IPV6),
    }
}

/// Where advertisements go and come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cast {
    /// To a multicast group; TTL or hop limit must be 255.
    Multicast {
        /// The group.
        group: IpAddr,
    },
    /// To each peer by itself.
    Unicast {
        /// The peers.
        peers: Vec<Peer>,
        /// Accept from peers only (`check_unicast_src`).
        check_source: bool,
    },
}

/// A router that gets advertisements by unicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The smallest TTL or hop limit accepted from it. Default 0.
    pub min_hop_limit: u8,
    /// The largest one. Default 255.
    pub max_hop_limit: u8,
}

impl Peer {
    /// A peer from which any TTL is accepted.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self { address, min_hop_limit: 0, max_hop_limit: 255 }
    }
}
