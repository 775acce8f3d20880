//! `static_routes` and `virtual_routes`.

use super::*;
use crate::host::Fact;

config_type! {
/// A network, or with all bits one address.
#[derive(Copy, Hash)]
pub struct Prefix {
    /// The address; bits after the prefix are kept as written.
    pub address: IpAddr,
    /// Length of the prefix: 0 to 32, or 0 to 128.
    pub len: u8,
}}

impl Prefix {
    /// The prefix that every address of `family` matches.
    pub fn any(family: Family) -> Self {
        let address = match family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { address, len: 0 }
    }

    /// The family of the address.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

config_type! {
/// A number that a host may have a name for.
///
/// Names that the kernel and the files shipped with iproute2 define are numbers already. Any other name is kept:
/// which number it stands for, the files of the host say (`/etc/iproute2`, `/etc/protocols`), which this crate does not
/// read. [`Config::host_names`] lists them, [`check`](crate::check) asks a [`Host`] for them, and
/// [`Config::resolve_names`] puts the numbers in their place.
pub enum Named<T> {
    /// The number.
    Number(T),
    /// A name that only the host can resolve.
    Name(Box<Spanned<String>>),
}}

/// The number 0: global, or what stands for none.
impl<T: Default> Default for Named<T> {
    fn default() -> Self {
        Self::Number(T::default())
    }
}

/// Names and what they stand for.
pub(crate) type Names = &'static [(&'static str, u32)];

/// `rt_tables`.
pub(crate) const TABLES: Names = &[("unspec", 0), ("default", 253), ("main", 254), ("local", 255)];

/// `rt_protos`.
pub(crate) const PROTOCOLS: Names = &[
    ("unspec", 0),
    ("redirect", 1),
    ("kernel", 2),
    ("boot", 3),
    ("static", 4),
    ("gated", 8),
    ("ra", 9),
    ("mrt", 10),
    ("zebra", 11),
    ("bird", 12),
    ("dnrouted", 13),
    ("xorp", 14),
    ("ntk", 15),
    ("dhcp", 16),
    ("keepalived", 18),
    ("babel", 42),
    ("openr", 99),
    ("bgp", 186),
    ("isis", 187),
    ("ospf", 188),
    ("rip", 189),
    ("eigrp", 192),
];

/// `rt_scopes`.
pub(crate) const SCOPES: Names = &[("global", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];

/// `rt_realms`.
pub(crate) const REALMS: Names = &[("cosmos", 0)];

/// `rt_dsfield`.
pub(crate) const DSFIELDS: Names = &[
    ("default", 0x00),
    ("AF11", 0x28),
    ("AF12", 0x30),
    ("AF13", 0x38),
    ("AF21", 0x48),
    ("AF22", 0x50),
    ("AF23", 0x58),
    ("AF31", 0x68),
    ("AF32", 0x70),
    ("AF33", 0x78),
    ("AF41", 0x88),
    ("AF42", 0x90),
    ("AF43", 0x98),
    ("CS1", 0x20),
    ("CS2", 0x40),
    ("CS3", 0x60),
    ("CS4", 0x80),
    ("CS5", 0xa0),
    ("CS6", 0xc0),
    ("CS7", 0xe0),
    ("EF", 0xb8),
];

impl<T: Copy + Into<u32>> Named<T> {
    /// The word for it, where a name in `names` fits that.
    pub(super) fn word(&self, names: Names) -> Scalar {
        match self {
            Self::Number(number) if !names.iter().any(|(_, known)| *known == (*number).into()) => {
                Scalar::Integer(i64::from((*number).into()))
            }
            _ => Scalar::Text(self.text(names)),
        }
    }

    /// The name, else the number.
    fn text(&self, names: Names) -> String {
        match self {
            Self::Name(name) => name.value.clone(),
            Self::Number(number) => {
                let number: u32 = (*number).into();
                let known = names.iter().find(|(_, known)| *known == number);
                known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
            }
        }
    }
}

impl<T: Copy> Named<T> {
    /// The number; none for a name that is not [resolved](Config::resolve_names).
    pub fn number(&self) -> Option<T> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(_) => None,
        }
    }
}

impl<T: TryFrom<u32>> Named<T> {
    /// Puts the number in the place of a name. False where `host` is known to have none for it.
    pub(super) fn resolve(&mut self, table: NameTable, host: &dyn Host) -> bool {
        let Self::Name(name) = self else { return true };
        match table.look_up(name, host) {
            Fact::Unknown => true,
            Fact::Absent => false,
            Fact::Present(number) => T::try_from(number).map(|number| *self = Self::Number(number)).is_ok(),
        }
    }
}

config_type! {
/// The file of a host that gives numbers names, or its list of devices.
#[derive(Copy, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NameTable {
    /// Routing tables: `rt_tables`.
    #[cfg_attr(feature = "serde", serde(rename = "rt_tables"))]
    RoutingTables,
    /// Origins of routes: `rt_protos`.
    #[cfg_attr(feature = "serde", serde(rename = "rt_protos"))]
    RouteProtocols,
    /// Scopes: `rt_scopes`.
    #[cfg_attr(feature = "serde", serde(rename = "rt_scopes"))]
    Scopes,
    /// Realms: `rt_realms`.
    #[cfg_attr(feature = "serde", serde(rename = "rt_realms"))]
    Realms,
    /// Values of the type of service: `rt_dsfield`.
    #[cfg_attr(feature = "serde", serde(rename = "rt_dsfield"))]
    DsFields,
    /// Groups of interfaces: `group`.
    #[cfg_attr(feature = "serde", serde(rename = "group"))]
    InterfaceGroups,
    /// IP protocols: `/etc/protocols`.
    #[cfg_attr(feature = "serde", serde(rename = "protocols"))]
    IpProtocols,
    /// VRF devices: the name of one stands for its routing table.
    #[cfg_attr(feature = "serde", serde(rename = "vrf"))]
    VrfDevices,
}}

impl NameTable {
    /// The file that defines its names; none for the devices.
    pub fn file(self) -> Option<&'static str> {
        Some(match self {
            Self::RoutingTables => "/etc/iproute2/rt_tables",
            Self::RouteProtocols => "/etc/iproute2/rt_protos",
            Self::Scopes => "/etc/iproute2/rt_scopes",
            Self::Realms => "/etc/iproute2/rt_realms",
            Self::DsFields => "/etc/iproute2/rt_dsfield",
            Self::InterfaceGroups => "/etc/iproute2/group",
            Self::IpProtocols => "/etc/protocols",
            Self::VrfDevices => return None,
        })
    }

    /// The largest number that a configuration has room for.
    fn most(self) -> u32 {
        match self {
            Self::RoutingTables | Self::VrfDevices => u32::MAX,
            Self::InterfaceGroups => i32::MAX.unsigned_abs(),
            Self::RouteProtocols | Self::Scopes | Self::Realms | Self::DsFields | Self::IpProtocols => u8::MAX.into(),
        }
    }

    /// The number that `name` stands for; a name of a larger number than there is room for is not known.
    pub(crate) fn look_up(self, name: &str, host: &dyn Host) -> Fact<u32> {
        match host.number(self, name) {
            Fact::Present(number) if number > self.most() => Fact::Absent,
            Fact::Unknown if self == Self::VrfDevices && host.interface(name).is_absent() => Fact::Absent,
            found => found,
        }
    }

    /// The names that need no host.
    pub(crate) fn known(self) -> Names {
        match self {
            Self::RoutingTables => TABLES,
            Self::RouteProtocols => PROTOCOLS,
            Self::Scopes => SCOPES,
            Self::Realms => REALMS,
            Self::DsFields => DSFIELDS,
            Self::InterfaceGroups => GROUPS,
            Self::IpProtocols => IP_PROTOCOLS,
            Self::VrfDevices => &[],
        }
    }
}

/// A name that only the host can resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostName<'a> {
    /// Where to look.
    pub table: NameTable,
    /// The name.
    pub name: &'a str,
    /// Where it is written.
    pub span: Span,
    /// What keepalived says where it is not known.
    pub message: String,
    /// What becomes of the line then.
    pub cost: &'static str,
}

/// The names of one line.
pub(super) struct HostNames<'a, 'o> {
    pub(super) out: &'o mut Vec<HostName<'a>>,
    /// What becomes of the line where one is not known.
    pub(super) cost: &'static str,
}

impl<'a> HostNames<'a, '_> {
    /// Adds `value` if it is a name.
    pub(super) fn add<T>(&mut self, table: NameTable, value: &'a Named<T>, message: impl FnOnce(&str) -> String) {
        if let Named::Name(name) = value {
            self.push(table, name, message(name));
        }
    }

    fn push(&mut self, table: NameTable, name: &'a Spanned<String>, message: String) {
        self.out.push(HostName { table, name, span: name.span, message, cost: self.cost });
    }
}

config_type! {
/// `<type>`: what becomes of packets to the destination.
#[derive(Copy, Hash)]
pub enum RouteType {
    /// `unicast`: an ordinary route.
    Unicast,
    /// `local`: the destination is on this host.
    Local,
    /// `broadcast`.
    Broadcast,
    /// `anycast`.
    Anycast,
    /// `multicast`.
    Multicast,
    /// `blackhole`: dropped silently.
    Blackhole,
    /// `unreachable`: rejected as unreachable.
    Unreachable,
    /// `prohibit`: rejected as prohibited.
    Prohibit,
    /// `throw`: the next rule decides.
    Throw,
    /// `nat`: obsolete in the kernel.
    Nat,
    /// `xresolve`: not implemented in the kernel.
    Xresolve,
    /// Any other number of the kernel's RTN_ values.
    Other(u8),
}}

impl RouteType {
    const WORDS: &'static [(&'static str, Self, u8)] = &[
        ("unicast", Self::Unicast, 1),
        ("local", Self::Local, 2),
        ("broadcast", Self::Broadcast, 3),
        ("brd", Self::Broadcast, 3),
        ("anycast", Self::Anycast, 4),
        ("multicast", Self::Multicast, 5),
        ("blackhole", Self::Blackhole, 6),
        ("unreachable", Self::Unreachable, 7),
        ("prohibit", Self::Prohibit, 8),
        ("throw", Self::Throw, 9),
        ("nat", Self::Nat, 10),
        ("xresolve", Self::Xresolve, 11),
    ];

    /// The type that the language has `word` for.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _, _)| *name == word).map(|(_, kind, _)| *kind)
    }

    /// The type with the kernel's number `number`.
    pub fn from_number(number: u8) -> Self {
        let known = Self::WORDS.iter().find(|(_, _, known)| *known == number);
        known.map_or(Self::Other(number), |(_, kind, _)| *kind)
    }

    /// The kernel's number (RTN_UNICAST and so on).
    pub fn number(self) -> u8 {
        match self {
            Self::Other(number) => number,
            kind => Self::WORDS.iter().find(|(_, known, _)| *known == kind).map_or(0, |(_, _, number)| *number),
        }
    }

    fn word(self) -> Scalar {
        match Self::WORDS.iter().find(|(_, known, _)| *known == self) {
            Some((name, _, _)) => Scalar::Text((*name).to_owned()),
            None => Scalar::Integer(self.number().into()),
        }
    }
}

config_type! {
/// What happens where the kernel has a matching route already.
#[derive(Copy, Hash)]
pub enum RouteMode {
    /// `prepend`: the new route comes first. The default, unless a type is written.
    Prepend,
    /// `add`: the new route is not added. The default where a type is written.
    Add,
    /// `append`: the new route comes last.
    Append,
}}

config_type! {
/// Where a route is put.
pub enum RouteTable {
    /// `table`.
    Table(Named<u32>),
    /// `vrf`: the table of this device. [`Config::host_names`] lists it.
    Vrf(Box<Spanned<String>>),
}}

config_type! {
/// `realms`: for accounting and traffic control; IPv4 only.
pub struct Realms {
    /// The realm before the `/`.
    pub source: Option<Named<u8>>,
    /// The realm after the `/`, or the only one.
    pub destination: Named<u8>,
}}

config_type! {
/// A value of a route that the kernel adapts unless `lock` stands before it.
#[derive(Copy)]
pub struct Metric<T> {
    /// The value.
    pub value: T,
    /// `lock`: the kernel must not change it.
    pub lock: bool,
}}

config_type! {
/// `pref`: preference of a router among several; IPv6 only.
#[derive(Copy, Hash)]
pub enum RouterPreference {
    /// `low`.
    Low,
    /// `medium`; also the number 0.
    Medium,
    /// `high`; also the number 1.
    High,
    /// Another number than 0, 1 and 3.
    Other(u8),
}}

impl RouterPreference {
    /// The preference with the kernel's number `number` (RFC 4191 §2.1).
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Medium,
            1 => Self::High,
            3 => Self::Low,
            number => Self::Other(number),
        }
    }

    fn word(self) -> Scalar {
        let word = match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Other(number) => return Scalar::Integer(number.into()),
        };
        Scalar::Text(word.to_owned())
    }
}

config_type! {
/// What a route tells TCP and the kernel about the path; absent = the kernel decides.
#[derive(Default)]
pub struct Metrics {
    /// `mtu`: bytes.
    pub mtu: Option<Metric<u32>>,
    /// `advmss`: bytes.
    pub advmss: Option<Metric<u32>>,
    /// `rtt`: 0.2 to 120 s.
    pub rtt: Option<Metric<Duration>>,
    /// `rttvar`: 0.2 to 120 s.
    pub rttvar: Option<Metric<Duration>>,
    /// `rto_min`: 0.2 to 120 s.
    pub rto_min: Option<Metric<Duration>>,
    /// `reordering`: segments.
    pub reordering: Option<Metric<u32>>,
    /// `window`: bytes.
    pub window: Option<u32>,
    /// `cwnd`: segments.
    pub cwnd: Option<Metric<u32>>,
    /// `ssthresh`: segments.
    pub ssthresh: Option<Metric<u32>>,
    /// `initcwnd`: segments.
    pub initcwnd: Option<u32>,
    /// `initrwnd`: segments.
    pub initrwnd: Option<u32>,
    /// `hoplimit`: 0 to 255.
    pub hoplimit: Option<u8>,
    /// `features ecn`: explicit congestion notification.
    pub ecn: bool,
    /// `quickack`.
    pub quickack: Option<bool>,
    /// `congctl`: name of an algorithm.
    pub congctl: Option<Metric<String>>,
    /// `fastopen_no_cookie`.
    pub fastopen_no_cookie: bool,
}}

config_type! {
/// `encap`: a light-weight tunnel.
pub enum Encapsulation {
    /// `mpls`: one or two labels, 0 to 1048575, the outer one first.
    Mpls(Vec<u32>),
    /// `ip`.
    Ip(TunnelRoute<Ipv4Addr>),
    /// `ip6`.
    Ip6(TunnelRoute<Ipv6Addr>),
    /// `ila`: the locator, four groups of 16 bits.
    Ila(u64),
}}

config_type! {
/// An IP tunnel of a route; the kernel needs an id or a destination.
pub struct TunnelRoute<A> {
    /// `id`.
    pub id: Option<u64>,
    /// `dst`.
    pub destination: Option<A>,
    /// `src`.
    pub source: Option<A>,
    /// `tos`, for IPv6 `tc`.
    pub dsfield: Option<Named<u8>>,
    /// `ttl`, for IPv6 `hoplimit`.
    pub hop_limit: Option<u8>,
    /// `flags`.
    pub flags: Option<u16>,
}}

impl<A> Default for TunnelRoute<A> {
    fn default() -> Self {
        Self { id: None, destination: None, source: None, dsfield: None, hop_limit: None, flags: None }
    }
}

config_type! {
/// `nexthop`: one path of a multipath route.
pub struct NextHop {
    /// `via`; of the family of the route.
    pub gateway: Option<IpAddr>,
    /// `dev`.
    pub dev: Option<Box<Spanned<String>>>,
    /// `weight`: share of the traffic, 1 to 256; default 1.
    pub weight: u16,
    /// `onlink`: the gateway is taken as directly reachable.
    pub onlink: bool,
    /// `encap`.
    pub encapsulation: Option<Box<Encapsulation>>,
    /// `realms`.
    pub realms: Option<Box<Realms>>,
}}

impl Default for NextHop {
    fn default() -> Self {
        Self { gateway: None, dev: None, weight: 1, onlink: false, encapsulation: None, realms: None }
    }
}

config_type! {
/// One line of `static_routes` or `virtual_routes`.
pub struct Route {
    /// The destination, whose family is that of the route.
    pub destination: Prefix,
    /// `<type>`; default unicast.
    pub kind: RouteType,
    /// `add`, `prepend` or `append`.
    pub mode: RouteMode,
    /// `via`, of the family of the route.
    pub gateway: Option<IpAddr>,
    /// `dev`.
    pub dev: Option<Box<Spanned<String>>>,
    /// `onlink`: the gateway is taken as directly reachable.
    pub onlink: bool,
    /// `encap`.
    pub encapsulation: Option<Box<Encapsulation>>,
    /// `nexthop`; for `via A or B` these two.
    pub next_hops: Vec<NextHop>,
    /// `src`: source address of what this host sends.
    pub preferred_source: Option<IpAddr>,
    /// `from`: only packets with such a source; IPv6 only.
    pub source: Option<Prefix>,
    /// `tos`; default 0.
    pub tos: Named<u8>,
    /// `table` or `vrf`; default main (254).
    pub table: RouteTable,
    /// `protocol`; default keepalived (18), and always that where `track` is set.
    pub protocol: Named<u8>,
    /// `scope`: the kernel's RT_SCOPE number; default global (0).
    pub scope: Named<u8>,
    /// `metric`; the kernel's own default where absent.
    pub metric: Option<u32>,
    /// `expires`: lifetime in whole seconds; IPv6 only.
    pub expires: Option<Duration>,
    /// `realms`; IPv4 only.
    pub realms: Option<Box<Realms>>,
    /// `pref`; IPv6 only; medium where absent.
    pub preference: Option<RouterPreference>,
    /// `ttl-propagate`: between the IP and the MPLS header.
    pub ttl_propagate: Option<bool>,
    /// What the route says about the path.
    pub metrics: Option<Box<Metrics>>,
    /// Whether its deletion by others is acted on; `no_track` clears it, and so does the lack of a `dev`.
    pub track: bool,
    /// `track_group`: its instances fault when the route is lost for good. Static routes with a `dev` only.
    pub track_group: Option<Box<Spanned<String>>>,
}}

/// The number of keepalived among the origins of routes and rules.
pub(crate) const KEEPALIVED: u8 = 18;

/// `default`: every destination of IPv4.
impl Default for Route {
    fn default() -> Self {
        Self {
            destination: Prefix::any(Family::Ipv4),
            kind: RouteType::Unicast,
            mode: RouteMode::Prepend,
            gateway: None,
            dev: None,
            onlink: false,
            encapsulation: None,
            next_hops: Vec::new(),
            preferred_source: None,
            source: None,
            tos: Named::Number(0),
            table: RouteTable::Table(Named::Number(254)),
            protocol: Named::Number(KEEPALIVED),
            scope: Named::Number(0),
            metric: None,
            expires: None,
            realms: None,
            preference: None,
            ttl_propagate: None,
            metrics: None,
            track: true,
            track_group: None,
        }
    }
}

impl Route {
    /// The family of its destination.
    pub fn family(&self) -> Family {
        self.destination.family()
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let devices = self.dev.iter().chain(self.next_hops.iter().filter_map(|hop| hop.dev.as_ref()));
        devices.map(|dev| (dev.value.as_str(), dev.span, missing(dev, "VROUTE nexthop")))
    }

    pub(super) fn host_names<'a>(&'a self, out: &mut Vec<HostName<'a>>) {
        let mut names = HostNames { out, cost: "the route is not used" };
        names.add(NameTable::DsFields, &self.tos, |name| format!("TOS value {name} is invalid"));
        match &self.table {
            RouteTable::Table(number) => {
                names.add(NameTable::RoutingTables, number, |name| format!("Routing table {name} not found for route"));
            }
            RouteTable::Vrf(name) => {
                names.push(NameTable::VrfDevices, name, format!("VRF {} not found for route", name.value));
            }
        }
        let unknown = |what: &'static str| move |name: &str| format!("{what} {name} not found or invalid for route");
        names.add(NameTable::RouteProtocols, &self.protocol, unknown("Protocol"));
        names.add(NameTable::Scopes, &self.scope, unknown("Scope"));
        if let Some(realms) = &self.realms {
            realms.host_names("Invalid", "route", &mut names);
        }
        if let Some(encapsulation) = &self.encapsulation {
            encapsulation.host_names(&mut names);
        }
        for hop in &self.next_hops {
            hop.host_names(names.out);
        }
    }

    /// Puts numbers in the place of names. False where `host` is known not to have one that the route needs.
    pub(super) fn resolve(&mut self, host: &dyn Host) -> bool {
        let table = match &mut self.table {
            RouteTable::Table(table) => table.resolve(NameTable::RoutingTables, host),
            RouteTable::Vrf(name) => {
                let found = NameTable::VrfDevices.look_up(name, host);
                if let Fact::Present(number) = found {
                    self.table = RouteTable::Table(Named::Number(number));
                }
                !found.is_absent()
            }
        };
        let known = table
            && self.tos.resolve(NameTable::DsFields, host)
            && self.protocol.resolve(NameTable::RouteProtocols, host)
            && self.scope.resolve(NameTable::Scopes, host)
            && self.realms.as_mut().is_none_or(|realms| realms.resolve(host))
            && self.encapsulation.as_mut().is_none_or(|encapsulation| encapsulation.resolve(host));
        if known {
            NextHop::resolve_all(&mut self.next_hops, host);
        }
        known
    }
}

impl NextHop {
    fn host_names<'a>(&'a self, out: &mut Vec<HostName<'a>>) {
        let mut names = HostNames { out, cost: "the next hop and all after it are not used" };
        if let Some(realms) = &self.realms {
            realms.host_names("Invalid", "route", &mut names);
        }
        names.cost = "the next hop is used without it, those after it are not used";
        if let Some(encapsulation) = &self.encapsulation {
            encapsulation.host_names(&mut names);
        }
    }

    /// Puts numbers in the place of names. A name that `host` is known not to have ends the list.
    fn resolve_all(hops: &mut Vec<Self>, host: &dyn Host) {
        let mut used = 0;
        for hop in &mut *hops {
            if !hop.realms.as_mut().is_none_or(|realms| realms.resolve(host)) {
                break;
            }
            used += 1;
            if !hop.encapsulation.as_mut().is_none_or(|encapsulation| encapsulation.resolve(host)) {
                break;
            }
        }
        hops.truncate(used);
    }
}

impl Realms {
    pub(super) fn host_names<'a>(&'a self, invalid: &str, user: &str, names: &mut HostNames<'a, '_>) {
        for realm in self.source.iter().chain([&self.destination]) {
            names.add(NameTable::Realms, realm, |_| format!("{invalid} realms {} for {user}", self.text()));
        }
    }

    /// Puts numbers in the place of names. False where `host` is known not to have one.
    pub(super) fn resolve(&mut self, host: &dyn Host) -> bool {
        let mut realms = self.source.iter_mut().chain([&mut self.destination]);
        realms.all(|realm| realm.resolve(NameTable::Realms, host))
    }

    /// `3/4`, or `4`.
    pub(super) fn word(&self) -> Scalar {
        Scalar::Text(self.text())
    }

    fn text(&self) -> String {
        let destination = self.destination.text(REALMS);
        match &self.source {
            Some(source) => format!("{}/{destination}", source.text(REALMS)),
            None => destination,
        }
    }
}

impl Encapsulation {
    fn host_names<'a>(&'a self, names: &mut HostNames<'a, '_>) {
        match self {
            Self::Ip(TunnelRoute { dsfield: Some(field), .. }) => {
                names.add(NameTable::DsFields, field, |name| format!("dsfield {name} not valid for ip encapsulation"));
            }
            Self::Ip6(TunnelRoute { dsfield: Some(field), .. }) => {
                let invalid = |name: &str| format!("tc value {name} is invalid for ip6 encapsulation");
                names.add(NameTable::DsFields, field, invalid);
            }
            _ => {}
        }
    }

    /// Puts the number in the place of a name; one that `host` is known not to have is left out, and makes it false.
    fn resolve(&mut self, host: &dyn Host) -> bool {
        let field = match self {
            Self::Ip(tunnel) => &mut tunnel.dsfield,
            Self::Ip6(tunnel) => &mut tunnel.dsfield,
            Self::Mpls(_) | Self::Ila(_) => return true,
        };
        let known = field.as_mut().is_none_or(|field| field.resolve(NameTable::DsFields, host));
        if !known {
            *field = None;
        }
        known
    }
}

/// The words of a line that is being written.
#[derive(Debug, Default)]
pub(super) struct Line(pub(super) Vec<Scalar>);

impl Line {
    pub(super) fn word(&mut self, word: impl fmt::Display) {
        self.0.push(Scalar::Text(word.to_string()));
    }

    pub(super) fn flag(&mut self, word: &str, on: bool) {
        if on {
            self.word(word);
        }
    }

    pub(super) fn value(&mut self, keyword: &str, value: Option<Scalar>) {
        if let Some(value) = value {
            self.word(keyword);
            self.0.push(value);
        }
    }

    pub(super) fn text(&mut self, keyword: &str, value: Option<impl fmt::Display>) {
        self.value(keyword, value.map(|value| Scalar::Text(value.to_string())));
    }

    pub(super) fn number(&mut self, keyword: &str, value: Option<impl Into<i64>>) {
        self.value(keyword, value.map(|value| Scalar::Integer(value.into())));
    }

    fn metric<T>(&mut self, keyword: &str, metric: Option<&Metric<T>>, word: impl FnOnce(&T) -> Scalar) {
        if let Some(metric) = metric {
            self.word(keyword);
            self.flag("lock", metric.lock);
            self.0.push(word(&metric.value));
        }
    }

    fn encapsulation(&mut self, encapsulation: Option<&Encapsulation>) {
        let Some(encapsulation) = encapsulation else { return };
        self.word("encap");
        match encapsulation {
            Encapsulation::Mpls(labels) => {
                let labels: Vec<_> = labels.iter().map(u32::to_string).collect();
                self.text("mpls", Some(labels.join("/")));
            }
            Encapsulation::Ip(tunnel) => self.tunnel("ip", tunnel, "tos", "ttl"),
            Encapsulation::Ip6(tunnel) => self.tunnel("ip6", tunnel, "tc", "hoplimit"),
            Encapsulation::Ila(locator) => {
                let group = |shift: u32| (locator >> shift) & 0xffff;
                self.text("ila", Some(format!("{:x}:{:x}:{:x}:{:x}", group(48), group(32), group(16), group(0))));
            }
        }
    }

    fn tunnel<A: fmt::Display>(&mut self, kind: &str, tunnel: &TunnelRoute<A>, dsfield: &str, hop_limit: &str) {
        self.word(kind);
        self.text("id", tunnel.id);
        self.text("dst", tunnel.destination.as_ref());
        self.text("src", tunnel.source.as_ref());
        self.value(dsfield, tunnel.dsfield.as_ref().map(|field| field.word(DSFIELDS)));
        self.number(hop_limit, tunnel.hop_limit);
        self.number("flags", tunnel.flags);
    }

    fn metrics(&mut self, metrics: &Metrics) {
        let number = |value: &u32| Scalar::Integer((*value).into());
        self.metric("mtu", metrics.mtu.as_ref(), number);
        self.number("hoplimit", metrics.hoplimit);
        self.metric("advmss", metrics.advmss.as_ref(), number);
        self.metric("rtt", metrics.rtt.as_ref(), |time| tcp_time(*time, 8));
        self.metric("rttvar", metrics.rttvar.as_ref(), |time| tcp_time(*time, 4));
        self.metric("rto_min", metrics.rto_min.as_ref(), |time| tcp_time(*time, 1));
        self.metric("reordering", metrics.reordering.as_ref(), number);
        self.number("window", metrics.window);
        self.metric("cwnd", metrics.cwnd.as_ref(), number);
        self.metric("ssthresh", metrics.ssthresh.as_ref(), number);
        self.number("initcwnd", metrics.initcwnd);
        self.number("initrwnd", metrics.initrwnd);
        self.text("features", metrics.ecn.then_some("ecn"));
        self.number("quickack", metrics.quickack);
        self.metric("congctl", metrics.congctl.as_ref(), |name| Scalar::Text(name.clone()));
        self.number("fastopen_no_cookie", metrics.fastopen_no_cookie.then_some(true));
    }

    fn next_hop(&mut self, hop: &NextHop) {
        self.word("nexthop");
        self.text("via", hop.gateway);
        self.text("dev", hop.dev.as_ref().map(|dev| &dev.value));
        self.number("weight", Some(hop.weight));
        self.flag("onlink", hop.onlink);
        self.value("realms", hop.realms.as_deref().map(Realms::word));
        self.encapsulation(hop.encapsulation.as_deref());
    }
}

/// A time in milliseconds, or in parts of one where it is not a whole number of them.
fn tcp_time(time: Duration, parts: u32) -> Scalar {
    let parts = if time.subsec_micros().is_multiple_of(1000) { None } else { Some(parts) };
    Scalar::Text(match parts {
        None => format!("{}ms", time.as_millis()),
        Some(parts) => (time * parts).as_millis().to_string(),
    })
}

impl Route {
    /// The line that stands for it; what ends the reading of a line comes last.
    fn words(&self) -> Vec<Scalar> {
        let mut line = Line::default();
        if self.kind != RouteType::Unicast {
            line.0.push(self.kind.word());
        }
        line.word(self.destination);
        line.text("from", self.source);
        line.text("src", self.preferred_source);
        line.value("tos", Some(&self.tos).filter(|tos| **tos != Named::Number(0)).map(|tos| tos.word(DSFIELDS)));
        match &self.table {
            RouteTable::Table(table) => line.value("table", Some(table.word(TABLES))),
            RouteTable::Vrf(name) => line.text("vrf", Some(&name.value)),
        }
        line.value("protocol", Some(self.protocol.word(PROTOCOLS)));
        line.value("scope", Some(self.scope.word(SCOPES)));
        line.number("metric", self.metric);
        line.text("expires", self.expires.map(|expires| expires.as_secs()));
        if let Some(metrics) = &self.metrics {
            line.metrics(metrics);
        }
        line.value("realms", self.realms.as_deref().map(Realms::word));
        line.value("pref", self.preference.map(RouterPreference::word));
        line.text("ttl-propagate", self.ttl_propagate.map(|on| if on { "enabled" } else { "disabled" }));
        line.flag("no_track", !self.track);
        line.text("track_group", self.track_group.as_ref().map(|group| &group.value));
        line.word(match self.mode {
            RouteMode::Prepend => "prepend",
            RouteMode::Add => "add",
            RouteMode::Append => "append",
        });
        line.text("via", self.gateway);
        line.text("dev", self.dev.as_ref().map(|dev| &dev.value));
        line.flag("onlink", self.onlink);
        line.encapsulation(self.encapsulation.as_deref());
        self.next_hops.iter().for_each(|hop| line.next_hop(hop));
        line.0
    }
}

pub(super) fn show_routes(routes: &[Spanned<Route>], slot: Slot, out: &mut Vec<Setting>) {
    show_list(routes, slot, out, |route| Setting::entry(route.words(), route.span));
}
