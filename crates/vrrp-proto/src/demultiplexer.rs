//! Which virtual router a packet is for.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use crate::types::{Family, LinkId, RouterId, Vrid};
use crate::wire::{Cast, WireConfig};

/// Which virtual router a packet is for. The same VRID may occur more than once on a link, with another group or with
/// other peers; configurations in which a packet could be for two routers are refused.
///
/// ```
/// use vrrp_proto::*;
///
/// let vrid = Vrid::new(51).ok_or("VRID 0")?;
/// let wire = WireConfig::new(vrid, Version::V2, Family::Ipv4);
/// let path = Path { router: RouterId(7), link: Some(LinkId(2)), source: None, wire: &wire };
/// let demultiplexer = Demultiplexer::new([path])?;
/// let sender = [192, 0, 2, 9].into();
/// let arrival = Arrival { link: Some(LinkId(2)), source: sender, destination: Some(GROUP_IPV4.into()), vrid };
/// assert_eq!(demultiplexer.router(&arrival), Some(RouterId(7)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demultiplexer {
    groups: BTreeMap<(Place, IpAddr), RouterId>,
    peers: BTreeMap<(Place, Local, IpAddr), RouterId>,
    /// Unicast routers that accept from any sender.
    open: BTreeMap<(Place, Local), RouterId>,
}

/// Where a VRID is meant.
type Place = (Option<LinkId>, Family, Vrid);
/// Our own address of a unicast router; `None` where none is configured.
type Local = Option<IpAddr>;

/// The packets of one virtual router.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    /// The router.
    pub router: RouterId,
    /// The link on which its packets arrive; `None` if it is bound to none.
    pub link: Option<LinkId>,
    /// Our own address, if one is configured.
    pub source: Option<IpAddr>,
    /// How its packets look.
    pub wire: &'a WireConfig,
}

/// A packet that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The link to which the socket that it came from is bound, if to any.
    pub link: Option<LinkId>,
    /// Its sender.
    pub source: IpAddr,
    /// Where it was sent to: a group or one of our addresses; `None` if unknown.
    pub destination: Option<IpAddr>,
    /// Its VRID.
    pub vrid: Vrid,
}

/// Two virtual routers that the same packet could be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[error(
    "routers {} and {} both have VRID {vrid} on one link and family; give one of them another VRID, group or peers, \
     and let both accept from their peers only",
    first.0,
    second.0
)]
pub struct Ambiguous {
    /// The one that came first.
    pub first: RouterId,
    /// The other one.
    pub second: RouterId,
    /// Their VRID.
    pub vrid: Vrid,
}

impl Demultiplexer {
    /// Takes the routers in the given order.
    ///
    /// # Errors
    ///
    /// [`Ambiguous`] if two of them on the same link (or both on none), of the same family and with the same VRID have
    /// the same group, or the same own address and a common peer, or the same own address and both accept from anyone.
    pub fn new<'a>(paths: impl IntoIterator<Item = Path<'a>>) -> Result<Self, Ambiguous> {
        let mut found = Self::default();
        for path in paths {
            found.add(&path)?;
        }
        Ok(found)
    }

    /// The router that the packet is for. Takes the time of a few look-ups, however many routers there are.
    ///
    /// Among unicast routers one with the sender as a peer goes before one that accepts from anyone, and one with our
    /// address configured before one without.
    #[must_use]
    pub fn router(&self, arrival: &Arrival) -> Option<RouterId> {
        let place = (arrival.link, Family::of(&arrival.source), arrival.vrid);
        if let Some(group) = arrival.destination.filter(IpAddr::is_multicast) {
            return self.groups.get(&(place, group)).copied();
        }
        let locals = || arrival.destination.map(Some).into_iter().chain([None]);
        let known = locals().find_map(|local| self.peers.get(&(place, local, arrival.source)));
        known.or_else(|| locals().find_map(|local| self.open.get(&(place, local)))).copied()
    }

    fn add(&mut self, path: &Path<'_>) -> Result<(), Ambiguous> {
        let place = (path.link, path.wire.family, path.wire.vrid);
        let claim = |before: Option<RouterId>| match before {
            Some(first) if first != path.router => Err(Ambiguous { first, second: path.router, vrid: path.wire.vrid }),
            _ => Ok(()),
        };
        match &path.wire.cast {
            Cast::Multicast { group } => claim(self.groups.insert((place, *group), path.router)),
            Cast::Unicast { peers, check_source } => {
                for peer in peers {
                    claim(self.peers.insert((place, path.source, peer.address), path.router))?;
                }
                if *check_source { Ok(()) } else { claim(self.open.insert((place, path.source), path.router)) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
