//! How the packets of one virtual router look: shared by [`Receiver`](crate::Receiver) and
//! [`Transmitter`](crate::Transmitter).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::auth::{AhKey, AuthData, Authentication, Hmac};
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
    /// that keepalived and most others add (`v3_checksum_as_v2`). Default off.
    ///
    /// Both forms are then accepted: peers are changed one by one. Off, only the form with pseudo-header is. keepalived
    /// verifies nothing where this is on.
    pub v3_checksum_as_v2: bool,
    /// VRRPv3 over IPv4 by unicast: whether the group stands in for the destination in the checksum.
    pub old_unicast_checksum: OldUnicastChecksum,
    /// The group that does. Default 224.0.0.18; keepalived takes `vrrp_mcast_group4`.
    pub old_checksum_group: Ipv4Addr,
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
            old_unicast_checksum: OldUnicastChecksum::default(),
            old_checksum_group: GROUP_IPV4,
            hop_limit: 255,
            owner_ignore_adverts: false,
            skip_check_adv_addr: false,
        }
    }

    /// What the checksum between two addresses covers; `None` if they are not of the router's family.
    pub(crate) fn pseudo_header(&self, source: IpAddr, destination: IpAddr) -> Option<PseudoHeader> {
        let pseudo = PseudoHeader::between(source, destination).filter(|_| Family::of(&source) == self.family)?;
        let bare = self.family == Family::Ipv4 && (self.version == Version::V2 || self.v3_checksum_as_v2);
        Some(if bare { PseudoHeader::None } else { pseudo })
    }

    /// What the old unicast checksum covers, where there is one.
    pub(crate) fn old_pseudo_header(&self, source: IpAddr) -> Option<PseudoHeader> {
        match (source, &self.cast) {
            (IpAddr::V4(source), Cast::Unicast { .. }) if self.version == Version::V3 && !self.v3_checksum_as_v2 => {
                Some(PseudoHeader::Ipv4 { source, destination: self.old_checksum_group })
            }
            _ => None,
        }
    }

    /// Whether packets have the Authentication Data field (RFC 2338 §5.3.10).
    pub(crate) fn has_auth_data(&self) -> bool {
        (self.version, self.family) == (Version::V2, Family::Ipv4)
    }

    /// The Auth Type field.
    pub(crate) fn auth_type(&self) -> u8 {
        match self.authentication {
            Authentication::Pass(_) if self.has_auth_data() => 1,
            Authentication::Ah(_) if self.has_auth_data() => 2,
            _ => 0,
        }
    }

    /// The password that travels in clear.
    pub(crate) fn password(&self) -> Option<AuthData> {
        match &self.authentication {
            Authentication::Pass(password) if self.has_auth_data() => Some(password.auth_data()),
            _ => None,
        }
    }

    pub(crate) fn ah_key(&self) -> Option<AhKey<'_>> {
        match &self.authentication {
            Authentication::Ah(password) if self.has_auth_data() => Some(password.ah_key()),
            _ => None,
        }
    }

    pub(crate) const fn hmac(&self) -> Option<&Hmac> {
        match &self.authentication {
            Authentication::Hmac(hmac) => Some(hmac),
            _ => None,
        }
    }
}

/// Whether VRRPv3 unicast packets over IPv4 have the checksum of keepalived before 1.3.7, in whose pseudo-header the
/// multicast group stands where the peer's address belongs (`old_unicast_checksum`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OldUnicastChecksum {
    /// Both are accepted. Ours is the right one until the first advertisement with the old one is accepted, and then the
    /// old one for good ([`Verified::checksum_switched`](crate::Verified::checksum_switched)).
    #[default]
    Auto,
    /// Both are accepted, ours is the old one.
    Use,
    /// Only the right one.
    Never,
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

impl Cast {
    /// The peer with this address.
    pub(crate) fn peer(&self, address: IpAddr) -> Option<&Peer> {
        match self {
            Self::Multicast { .. } => None,
            Self::Unicast { peers, .. } => peers.iter().find(|peer| peer.address == address),
        }
    }
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
