//! Routes and what they are made of.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Family, LinkIndex, Scope};

/// A network, or with all bits one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Prefix {
    /// The address. The kernel refuses one with bits after the prefix.
    pub ip: IpAddr,
    /// Length in bits: 0..=32 for IPv4, 0..=128 for IPv6.
    pub len: u8,
}

impl Prefix {
    /// The network of `len` bits that `ip` is in. A length beyond the address means all bits.
    pub const fn network(ip: IpAddr, len: u8) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                let len = if len > 32 { 32 } else { len };
                let mask = if len == 0 { 0 } else { u32::MAX << (32 - len) };
                Self { ip: IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask)), len }
            }
            IpAddr::V6(ip) => {
                let len = if len > 128 { 128 } else { len };
                let mask = if len == 0 { 0 } else { u128::MAX << (128 - len) };
                Self { ip: IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask)), len }
            }
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.len)
    }
}

/// Who made a route or a rule (`RTPROT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouteProtocol(pub u8);

impl RouteProtocol {
    /// The kernel itself.
    pub const KERNEL: Self = Self(2);
    /// The number that is assigned to keepalived (`RTPROT_KEEPALIVED`).
    pub const KEEPALIVED: Self = Self(18);
}

/// What becomes of packets to a destination (`RTN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouteKind(pub u8);

impl RouteKind {
    /// Sent on: an ordinary route.
    pub const UNICAST: Self = Self(1);
    /// Taken by this host.
    pub const LOCAL: Self = Self(2);
    /// Taken by this host, sent on as broadcast.
    pub const BROADCAST: Self = Self(3);
    /// Taken by this host, sent on as unicast.
    pub const ANYCAST: Self = Self(4);
    /// Sent to a group.
    pub const MULTICAST: Self = Self(5);
    /// Dropped silently.
    pub const BLACKHOLE: Self = Self(6);
    /// Rejected as unreachable.
    pub const UNREACHABLE: Self = Self(7);
    /// Rejected as prohibited.
    pub const PROHIBIT: Self = Self(8);
    /// Left to the next rule.
    pub const THROW: Self = Self(9);

    /// Whether packets go nowhere, so that the route has no next hop.
    pub const fn rejects(self) -> bool {
        matches!(self, Self::BLACKHOLE | Self::UNREACHABLE | Self::PROHIBIT | Self::THROW)
    }
}

/// For accounting and traffic control (`RTA_FLOW`); IPv4 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Realms {
    /// The realm of the source; 0 = none.
    pub source: u16,
    /// The realm of the destination; 0 = none.
    pub destination: u16,
}

impl Realms {
    /// The kernel's number.
    pub const fn to_wire(self) -> u32 {
        (self.source as u32) << 16 | self.destination as u32
    }

    /// From the kernel's number; `None` for 0, which it uses for "no realms".
    pub const fn from_wire(number: u32) -> Option<Self> {
        match number {
            0 => None,
            number => Some(Self { source: (number >> 16) as u16, destination: (number & 0xffff) as u16 }),
        }
    }
}

/// A value that the kernel adapts unless it is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Metric<T> {
    /// The value.
    pub value: T,
    /// The kernel must not change it.
    pub locked: bool,
}

impl<T> From<T> for Metric<T> {
    /// Not locked.
    fn from(value: T) -> Self {
        Self { value, locked: false }
    }
}

/// What a route tells TCP and the kernel about the path (`RTAX_*`); absent = the kernel decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Metrics {
    /// Largest packet, in octets.
    pub mtu: Option<Metric<u32>>,
    /// Largest segment that is offered, in octets.
    pub advmss: Option<Metric<u32>>,
    /// Initial round-trip time, in eighths of a millisecond.
    pub rtt: Option<Metric<u32>>,
    /// Initial variance of the round-trip time, in quarters of a millisecond.
    pub rttvar: Option<Metric<u32>>,
    /// Shortest retransmission time-out, in milliseconds.
    pub rto_min: Option<Metric<u32>>,
    /// Segments out of order before one is taken for lost.
    pub reordering: Option<Metric<u32>>,
    /// Largest window, in octets.
    pub window: Option<Metric<u32>>,
    /// Largest congestion window, in segments.
    pub cwnd: Option<Metric<u32>>,
    /// Initial slow-start threshold, in segments.
    pub ssthresh: Option<Metric<u32>>,
    /// Initial congestion window, in segments.
    pub initcwnd: Option<Metric<u32>>,
    /// Initial receive window, in segments.
    pub initrwnd: Option<Metric<u32>>,
    /// Hop limit of outgoing packets, 1..=255.
    pub hoplimit: Option<Metric<u32>>,
    /// `RTAX_FEATURE_*`: 1 = explicit congestion notification.
    pub features: Option<Metric<u32>>,
    /// Acknowledgements without delay: 0 or 1.
    pub quickack: Option<Metric<u32>>,
    /// TCP Fast Open without a cookie: 0 or 1.
    pub fastopen_no_cookie: Option<Metric<u32>>,
    /// Congestion control algorithm, up to 15 octets.
    pub congctl: Option<Metric<String>>,
}

impl Metrics {
    /// `RTAX_FEATURE_ECN`, among [`features`](Self::features).
    pub const ECN: u32 = 1;

    /// Those that the kernel reports: it takes a zero that is not locked for none.
    pub fn as_reported(&self) -> Self {
        let mut metrics = self.clone();
        let numbers = [
            &mut metrics.mtu,
            &mut metrics.advmss,
            &mut metrics.rtt,
            &mut metrics.rttvar,
            &mut metrics.rto_min,
            &mut metrics.reordering,
            &mut metrics.window,
            &mut metrics.cwnd,
            &mut metrics.ssthresh,
            &mut metrics.initcwnd,
            &mut metrics.initrwnd,
            &mut metrics.hoplimit,
            &mut metrics.features,
            &mut metrics.quickack,
            &mut metrics.fastopen_no_cookie,
        ];
        for number in numbers {
            number.take_if(|metric| metric.value == 0 && !metric.locked);
        }
        metrics
    }
}

/// An IP tunnel that packets enter (`LWTUNNEL_IP_*`, `LWTUNNEL_IP6_*`). The kernel reports what was not set as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tunnel<A> {
    /// Key of the tunnel.
    pub id: u64,
    /// The far end.
    pub destination: A,
    /// The near end.
    pub source: A,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Time to live or hop limit; 0 = that of the device.
    pub ttl: u8,
    /// `TUNNEL_*`.
    pub flags: u16,
}

/// What is put around the packets of a route: a light-weight tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Encapsulation {
    /// MPLS labels, 0..=1048575, the outer one first.
    Mpls(Vec<u32>),
    /// An IPv4 tunnel.
    Ip(Tunnel<Ipv4Addr>),
    /// An IPv6 tunnel.
    Ip6(Tunnel<Ipv6Addr>),
    /// Identifier-locator addressing: the locator.
    Ila(u64),
    /// Any other, such as segment routing (5), as the kernel has it.
    Other {
        /// `LWTUNNEL_ENCAP_*`.
        kind: u16,
        /// Its attributes.
        octets: Vec<u8>,
    },
}

/// Where packets of a route go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NextHop {
    /// The router; of either family for an IPv4 destination. `None`: the destination itself is on the link.
    pub gateway: Option<IpAddr>,
    /// The link; `None` in a request lets the kernel find it from the gateway.
    pub link: Option<LinkIndex>,
    /// Share of the traffic among several, 1..=256.
    pub weight: u16,
    /// The gateway is taken as directly reachable, whatever the addresses of the link say.
    pub onlink: bool,
    /// The tunnel that packets enter.
    pub encapsulation: Option<Encapsulation>,
    /// IPv4: for accounting and traffic control.
    pub realms: Option<Realms>,
}

impl Default for NextHop {
    /// Nowhere in particular, with weight 1.
    fn default() -> Self {
        Self { gateway: None, link: None, weight: 1, onlink: false, encapsulation: None, realms: None }
    }
}

/// IPv6: preference of a router among several (RFC 4191 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouterPreference(pub u8);

impl RouterPreference {
    /// Medium, the default.
    pub const MEDIUM: Self = Self(0);
    /// High.
    pub const HIGH: Self = Self(1);
    /// Low.
    pub const LOW: Self = Self(3);
}

/// What makes two routes the same one, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouteKey {
    /// Number of the routing table.
    pub table: u32,
    /// The destination.
    pub destination: Prefix,
    /// IPv6: only packets with such a source.
    pub source: Option<Prefix>,
    /// IPv4: only packets of this type of service.
    pub tos: u8,
    /// The lowest wins.
    pub metric: u32,
    /// Who made it.
    pub protocol: RouteProtocol,
}

/// Which routes to ask the kernel for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteFilter {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Number of the routing table.
    pub table: u32,
    /// Who made them; `None`: whoever did.
    pub protocol: Option<RouteProtocol>,
}

impl RouteFilter {
    /// The one for `route` and its like.
    pub const fn of(route: &Route) -> Self {
        let family = if route.destination.ip.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        Self { family, table: route.table, protocol: Some(route.protocol) }
    }

    /// Whether `route` is one of those.
    pub fn takes(&self, route: &Route) -> bool {
        let of_its_owner = Self::of(route);
        *self == of_its_owner || *self == Self { protocol: None, ..of_its_owner }
    }
}

/// An IPv4 or IPv6 route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Route {
    /// The destination, whose family is that of the route.
    pub destination: Prefix,
    /// What becomes of the packets.
    pub kind: RouteKind,
    /// Number of the routing table; not 0.
    pub table: u32,
    /// The lowest wins. The kernel takes 0 for [1024](Self::METRIC6) in IPv6.
    pub metric: u32,
    /// IPv4: only packets of this type of service; 0 = any.
    pub tos: u8,
    /// Who made it.
    pub protocol: RouteProtocol,
    /// IPv4: how far the destination is. The kernel has [`Scope::UNIVERSE`] for all of IPv6.
    pub scope: Scope,
    /// IPv6: only packets with such a source.
    pub source: Option<Prefix>,
    /// Source address of what this host sends.
    pub preferred_source: Option<IpAddr>,
    /// None where [`kind`](Self::kind) rejects, else one, or several that share the traffic.
    pub next_hops: Vec<NextHop>,
    /// IPv6: lifetime in seconds, from the request on.
    pub expires: Option<u32>,
    /// IPv6: preference among several routers.
    pub preference: RouterPreference,
    /// Whether the time to live goes from the IP to the MPLS header. The kernel does not report it for IP routes.
    pub ttl_propagate: Option<bool>,
    /// What it tells about the path.
    pub metrics: Metrics,
}

impl Route {
    /// The routing table that is looked into unless a rule says otherwise.
    pub const MAIN: u32 = 254;
    /// The metric of an IPv6 route that has none.
    pub const METRIC6: u32 = 1024;

    /// A route as keepalived makes it: unicast, in the main table, marked with protocol 18, without a next hop yet.
    pub fn new(destination: Prefix) -> Self {
        Self {
            destination,
            kind: RouteKind::UNICAST,
            table: Self::MAIN,
            metric: 0,
            tos: 0,
            protocol: RouteProtocol::KEEPALIVED,
            scope: Scope::UNIVERSE,
            source: None,
            preferred_source: None,
            next_hops: Vec::new(),
            expires: None,
            preference: RouterPreference::MEDIUM,
            ttl_propagate: None,
            metrics: Metrics::default(),
        }
    }

    /// What tells this route from any other.
    pub fn key(&self) -> RouteKey {
        let metric = match (self.destination.ip, self.metric) {
            (IpAddr::V6(_), 0) => Self::METRIC6,
            (_, metric) => metric,
        };
        RouteKey {
            table: self.table,
            destination: self.destination,
            source: self.source,
            // In IPv6 the kernel knows none, or refuses it.
            tos: if self.destination.ip.is_ipv6() { 0 } else { self.tos },
            metric,
            protocol: self.protocol,
        }
    }

    /// Whether `present`, as the kernel reports it, is this route or has a part of it: of the same [key](Self::key) and
    /// kind, and over the same next hops. Those of an IPv4 route count together, with their weights; in IPv6 each
    /// is a route of its own. A next hop without a link is the same over whichever link the kernel found for it.
    ///
    /// All else (source address, lifetime, metrics, …) may differ: it is another edition of the same route.
    pub fn meets(&self, present: &Self) -> bool {
        self.has_same_place(present) && self.entries().any(|entry| self.is_entry_of(entry, present))
    }

    /// Whether all of this route is in `present`; see [`meets`](Self::meets).
    pub fn is_within<'a>(&self, present: impl IntoIterator<Item = &'a Self>) -> bool {
        let alike: Vec<_> = present.into_iter().filter(|route| self.has_same_place(route)).collect();
        self.entries().all(|entry| alike.iter().any(|route| self.is_entry_of(entry, route)))
    }

    fn has_same_place(&self, present: &Self) -> bool {
        self.key() == present.key() && self.kind == present.kind
    }

    fn is_entry_of(&self, entry: &[NextHop], present: &Self) -> bool {
        self.kind.rejects() || present.entries().any(|there| same_hops(entry, there))
    }

    /// What the kernel takes for one route: in IPv4 all next hops together, in IPv6 each for itself.
    fn entries(&self) -> impl Iterator<Item = &[NextHop]> {
        let several = self.destination.ip.is_ipv6() && self.next_hops.len() > 1;
        let whole = Some(self.next_hops.as_slice()).filter(|_| !several);
        whole.into_iter().chain(self.next_hops.chunks(1).filter(move |_| several))
    }
}

fn same_hops(mine: &[NextHop], present: &[NextHop]) -> bool {
    let shared = mine.len() > 1;
    mine.len() == present.len()
        && mine.iter().zip(present).all(|(mine, there)| {
            mine.gateway == there.gateway
                && (mine.link.is_none() || mine.link == there.link)
                && mine.encapsulation == there.encapsulation
                && (!shared || mine.weight == there.weight)
        })
}

impl fmt::Display for Route {
    /// The destination, and what else tells it from others where it is not the usual.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.destination, f)?;
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        if self.tos != 0 {
            write!(f, " tos {:#04x}", self.tos)?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.table != Self::MAIN {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}
