//! Links, addresses, routes, rules and what they are made of.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    str::FromStr,
};

use bitflags::bitflags;
use thiserror::Error;

mod route;
mod rule;
mod virtual_link;

pub use route::{
    Encapsulation, Metric, Metrics, NextHop, Prefix, Realms, Route, RouteFilter, RouteKey, RouteKind, RouteProtocol,
    RouterPreference, Tunnel,
};
pub use rule::{Family, Fwmark, Rule, RuleAction};
pub use virtual_link::{
    AddressGeneration, Ipv4Conf, Ipv4Setting, IpvlanFlags, IpvlanMode, MacvlanMode, VirtualKind, VirtualLink,
};

/// The number by which the kernel knows a link in one network namespace: 1 and above, never used again while the
/// namespace lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkIndex(NonZeroU32);

impl LinkIndex {
    /// `None` for 0, which the kernel uses for "no link".
    pub const fn new(index: u32) -> Option<Self> {
        match NonZeroU32::new(index) {
            Some(index) => Some(Self(index)),
            None => None,
        }
    }

    /// The kernel's number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for LinkIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// The name of a link or the label of an IPv4 address: 1 to 15 octets without NUL. The kernel refuses more
/// (`/`, spaces, `.`); its answer then says so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct LinkName {
    octets: [u8; Self::MAX_LEN], // zeroes after the name
}

impl LinkName {
    /// Longest name in octets (`IFNAMSIZ` without its NUL).
    pub const MAX_LEN: usize = 15;

    /// Takes a name from its octets.
    ///
    /// # Errors
    /// [`InvalidName`] if it is empty, longer than 15 octets, or contains NUL.
    pub fn new(name: &[u8]) -> Result<Self, InvalidName> {
        let mut octets = [0; Self::MAX_LEN];
        match octets.get_mut(..name.len()) {
            Some(start) if !name.is_empty() && !name.contains(&0) => start.copy_from_slice(name),
            _ => return Err(InvalidName(String::from_utf8_lossy(name).into_owned())),
        }
        Ok(Self { octets })
    }

    /// The octets of the name; the kernel does not ask for UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.split(|&octet| octet == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl FromStr for LinkName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name.as_bytes())
    }
}

impl TryFrom<&str> for LinkName {
    type Error = InvalidName;

    fn try_from(name: &str) -> Result<Self, InvalidName> {
        name.parse()
    }
}

impl TryFrom<String> for LinkName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        name.parse()
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.to_string()
    }
}

impl PartialEq<str> for LinkName {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for LinkName {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// A text that no link or label can have as its name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a link name: 1 to 15 octets without NUL")]
pub struct InvalidName(pub String);

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

bitflags! {
    /// The flags of a link (`IFF_*`). Flags without a name here are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    pub struct LinkFlags: u32 {
        /// Set up by the administrator.
        const UP = 1 << 0;
        /// Has a broadcast address.
        const BROADCAST = 1 << 1;
        /// Leads back to this host.
        const LOOPBACK = 1 << 3;
        /// Has one neighbour only.
        const POINT_TO_POINT = 1 << 4;
        /// Able to carry packets (`operstate` is up or unknown).
        const RUNNING = 1 << 6;
        /// Does not resolve addresses: no ARP, no neighbour discovery.
        const NOARP = 1 << 7;
        /// Carries multicast.
        const MULTICAST = 1 << 12;
        /// The layer below has carrier.
        const LOWER_UP = 1 << 16;

        const _ = !0;
    }
}

/// Whether a link can carry packets (`IFLA_OPERSTATE`, RFC 2863 §3.1.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OperState(pub u8);

impl OperState {
    /// The driver does not tell (loopback, dummy, tun), or the kernel has not looked yet.
    pub const UNKNOWN: Self = Self(0);
    /// A part is missing.
    pub const NOT_PRESENT: Self = Self(1);
    /// No carrier.
    pub const DOWN: Self = Self(2);
    /// The link below is down.
    pub const LOWER_LAYER_DOWN: Self = Self(3);
    /// Under test.
    pub const TESTING: Self = Self(4);
    /// Waits for something outside, such as 802.1X.
    pub const DORMANT: Self = Self(5);
    /// Carries packets.
    pub const UP: Self = Self(6);
}

/// A link as the kernel reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Link {
    /// The kernel's number.
    pub index: LinkIndex,
    /// The name.
    pub name: LinkName,
    /// What the link can do and in what state it is.
    pub flags: LinkFlags,
    /// Whether it can carry packets.
    pub oper_state: OperState,
    /// The Ethernet address; `None` where there is none or its length is another.
    pub mac: Option<MacAddr>,
    /// The largest packet without the Ethernet header, in octets.
    pub mtu: u32,
    /// The type that a driver reports: `veth`, `bridge`, `macvlan`, …; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// The link below (of a macvlan, a vlan) or the other end (of a veth), if it is in the same network namespace.
    pub parent: Option<LinkIndex>,
    /// The bridge, bond or VRF that this link belongs to.
    pub master: Option<LinkIndex>,
    /// The routing table, if it is a VRF.
    pub vrf_table: Option<u32>,
    /// More about a macvlan or an ipvlan.
    pub virtual_kind: Option<VirtualKind>,
    /// The group of links that it belongs to (`IFLA_GROUP`).
    pub group: u32,
    /// How the kernel makes its link-local IPv6 addresses; `None` without IPv6.
    pub address_generation: Option<AddressGeneration>,
    /// Its settings for IPv4; none have a value in a link that does not do IPv4.
    pub ipv4: Ipv4Conf,
}

impl Link {
    /// Up and running, as keepalived understands it: set up and, as far as the kernel knows, able to carry packets.
    ///
    /// A veth end that was set up a moment ago is already "running" while its frames are still thrown away; it carries
    /// them from [`OperState::UP`] on.
    pub fn is_up(&self) -> bool {
        self.flags.contains(LinkFlags::UP | LinkFlags::RUNNING)
    }

    /// Carries multicast, without which adverts have to be unicast.
    pub fn has_multicast(&self) -> bool {
        self.flags.contains(LinkFlags::MULTICAST)
    }

    /// Nobody on it listens to ARP or neighbour advertisements, so none should be sent.
    pub fn is_noarp(&self) -> bool {
        self.flags.contains(LinkFlags::NOARP)
    }
}

/// How far an IPv4 address is valid (`RT_SCOPE_*`). The kernel derives the scope of IPv6 addresses itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Scope(pub u8);

impl Scope {
    /// Everywhere ("global").
    pub const UNIVERSE: Self = Self(0);
    /// Inside the site.
    pub const SITE: Self = Self(200);
    /// On this link.
    pub const LINK: Self = Self(253);
    /// On this host.
    pub const HOST: Self = Self(254);
    /// Nowhere: for destinations that do not exist.
    pub const NOWHERE: Self = Self(255);
}

/// Who put an address there (`IFA_PROTO`, Linux 5.18). A mark for people and monitors, no proof of ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AddressProtocol(pub u8);

impl AddressProtocol {
    /// The number that is assigned to keepalived (`RTPROT_KEEPALIVED`).
    pub const KEEPALIVED: Self = Self(18);
}

bitflags! {
    /// The flags of an address (`IFA_F_*`), all 32 of them. Flags without a name here are kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    pub struct AddressFlags: u32 {
        /// IPv4: not the first of its subnet on the link. IPv6: temporary.
        const SECONDARY = 0x01;
        /// No duplicate address detection.
        const NODAD = 0x02;
        /// Usable while duplicate address detection runs.
        const OPTIMISTIC = 0x04;
        /// Someone else has the address.
        const DADFAILED = 0x08;
        /// Mobile IPv6 home address (RFC 6275).
        const HOMEADDRESS = 0x10;
        /// Not chosen as a source any more.
        const DEPRECATED = 0x20;
        /// Duplicate address detection has not finished.
        const TENTATIVE = 0x40;
        /// Without an end of life.
        const PERMANENT = 0x80;
        /// Template for temporary addresses (RFC 8981).
        const MANAGETEMPADDR = 0x100;
        /// No route to the prefix is made.
        const NOPREFIXROUTE = 0x200;
        /// The multicast group of that address is joined.
        const MCAUTOJOIN = 0x400;
        /// The kernel made the address from its prefix (RFC 7217).
        const STABLE_PRIVACY = 0x800;

        const _ = !0;
    }
}

impl AddressFlags {
    /// The flags that a request may set; the others report a state.
    pub const SETTABLE: Self = Self::NODAD
        .union(Self::OPTIMISTIC)
        .union(Self::HOMEADDRESS)
        .union(Self::MANAGETEMPADDR)
        .union(Self::NOPREFIXROUTE)
        .union(Self::MCAUTOJOIN);
}

/// How long an address is valid or preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Lifetime {
    /// So many seconds from the request on, below 2³² − 1, which the kernel takes for [`Forever`](Self::Forever).
    Seconds(u32),
    /// Without end.
    Forever,
}

impl Lifetime {
    /// Nothing left: as a preferred lifetime, "never choose this address as a source".
    pub const ZERO: Self = Self::Seconds(0);

    /// The kernel's number: seconds, or all ones.
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::Forever => u32::MAX,
        }
    }

    /// From the kernel's number.
    pub const fn from_wire(seconds: u32) -> Self {
        match seconds {
            u32::MAX => Self::Forever,
            seconds => Self::Seconds(seconds),
        }
    }
}

/// What makes two addresses the same one: link, address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AddressKey {
    /// Where it is.
    pub link: LinkIndex,
    /// The address itself.
    pub ip: IpAddr,
    /// Length of the prefix in bits: 0..=32 for IPv4, 0..=128 for IPv6.
    pub prefix_len: u8,
}

impl fmt::Display for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_len)
    }
}

/// An IPv4 or IPv6 address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Address {
    /// Where it is.
    pub link: LinkIndex,
    /// The address itself (`IFA_LOCAL`).
    pub ip: IpAddr,
    /// Length of the prefix in bits: 0..=32 for IPv4, 0..=128 for IPv6.
    pub prefix_len: u8,
    /// IPv4: the broadcast address; `None` leaves it as it is, which is none on a new address.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv4: how far it is valid.
    pub scope: Scope,
    /// IPv4: the label; `None` leaves it as it is, which is the link's name on a new address.
    pub label: Option<LinkName>,
    /// The address at the other end of a point-to-point link, of the same family as `ip`.
    pub peer: Option<IpAddr>,
    /// Of these a request sends the [settable](AddressFlags::SETTABLE) ones.
    pub flags: AddressFlags,
    /// How long it may be chosen as a source; not above `valid`.
    pub preferred: Lifetime,
    /// How long it exists; above zero in a request.
    pub valid: Lifetime,
    /// Who put it there; kernels before 5.18 ignore it and report `None`.
    pub protocol: Option<AddressProtocol>,
}

impl Address {
    /// A plain address: valid for ever, of universe scope, nothing else set.
    pub const fn new(link: LinkIndex, ip: IpAddr, prefix_len: u8) -> Self {
        Self {
            link,
            ip,
            prefix_len,
            broadcast: None,
            scope: Scope::UNIVERSE,
            label: None,
            peer: None,
            flags: AddressFlags::empty(),
            preferred: Lifetime::Forever,
            valid: Lifetime::Forever,
            protocol: None,
        }
    }

    /// An address as keepalived adds it: marked with protocol 18; IPv6 without duplicate address detection, and never
    /// chosen as a source (preferred lifetime 0) if it is a /128.
    pub fn virtual_address(link: LinkIndex, ip: IpAddr, prefix_len: u8) -> Self {
        let plain = Self { protocol: Some(AddressProtocol::KEEPALIVED), ..Self::new(link, ip, prefix_len) };
        match (ip, prefix_len) {
            (IpAddr::V4(_), _) => plain,
            (IpAddr::V6(_), 128) => Self { flags: AddressFlags::NODAD, preferred: Lifetime::ZERO, ..plain },
            (IpAddr::V6(_), _) => Self { flags: AddressFlags::NODAD, ..plain },
        }
    }

    /// What tells this address from any other.
    pub const fn key(&self) -> AddressKey {
        AddressKey { link: self.link, ip: self.ip, prefix_len: self.prefix_len }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.key(), f)
    }
}

/// The link that a change is about: by number, or by name where the number is not known yet, as in one batch that
/// makes a link and sets it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkRef {
    /// By number.
    Index(LinkIndex),
    /// By name.
    Name(LinkName),
}

impl From<LinkIndex> for LinkRef {
    fn from(index: LinkIndex) -> Self {
        Self::Index(index)
    }
}

impl From<LinkName> for LinkRef {
    fn from(name: LinkName) -> Self {
        Self::Name(name)
    }
}

impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_to_fifteen_octets() {
        assert!(LinkName::new(b"").is_err());
        assert!(LinkName::new(b"a\0b").is_err());
        assert!(LinkName::new(b"sixteen-octets-x").is_err());
        let longest = LinkName::new(b"fifteen-octets-").expect("fits");
        assert_eq!(longest.as_bytes(), b"fifteen-octets-");
        assert_eq!("eth0".parse::<LinkName>().expect("fits"), "eth0");
        assert_eq!(
            "much-too-long-a-name".parse::<LinkName>().expect_err("too long").to_string(),
            "\"much-too-long-a-name\" is not a link name: 1 to 15 octets without NUL"
        );
    }

    #[test]
    fn virtual_addresses_are_as_keepalived_adds_them() {
        let link = LinkIndex::new(3).expect("not zero");
        let v4 = Address::virtual_address(link, [192, 0, 2, 1].into(), 24);
        assert_eq!((v4.flags, v4.preferred), (AddressFlags::empty(), Lifetime::Forever));
        assert_eq!(v4.protocol, Some(AddressProtocol(18)));
        let ip = "2001:db8::1".parse::<IpAddr>().expect("an address");
        let host = Address::virtual_address(link, ip, 128);
        assert_eq!((host.flags, host.preferred), (AddressFlags::NODAD, Lifetime::ZERO));
        let subnet = Address::virtual_address(link, ip, 64);
        assert_eq!((subnet.flags, subnet.preferred), (AddressFlags::NODAD, Lifetime::Forever));
    }

    #[test]
    fn lifetimes_use_all_ones_for_ever() {
        assert_eq!(Lifetime::from_wire(u32::MAX), Lifetime::Forever);
        assert_eq!(Lifetime::from_wire(7).to_wire(), 7);
        assert_eq!(Lifetime::Forever.to_wire(), u32::MAX);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn addresses_survive_a_file() {
        let link = LinkIndex::new(3).expect("not zero");
        let mut vip = Address::virtual_address(link, "2001:db8::1".parse().expect("an address"), 128);
        vip.label = Some("eth0:v".parse().expect("fits"));
        vip.flags |= AddressFlags::from_bits_retain(1 << 31);
        let text = serde_json::to_string(&vip).expect("all of it can be written");
        assert!(text.contains("\"label\":\"eth0:v\""), "{text}");
        assert_eq!(serde_json::from_str::<Address>(&text).expect("all of it can be read"), vip);
    }
}
