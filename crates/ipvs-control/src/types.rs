//! What IPVS knows, as values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::ops::Add;
use std::str::FromStr;
use std::time::Duration;

use bitflags::bitflags;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// Address family of a service or a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Inet,
            IpAddr::V6(_) => Self::Inet6,
        }
    }
}

/// Transport protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp` or `sctp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    /// `tcp`, `udp` or `sctp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What tells services apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum ServiceAddress {
    /// Packets to an address and a port.
    Socket {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address.
        address: IpAddr,
        /// Port; 0 for all ports, which the kernel accepts of persistent services only.
        port: u16,
    },
    /// Packets that the firewall marked.
    Fwmark {
        /// The mark.
        mark: NonZeroU32,
        /// Family of the packets.
        family: Family,
    },
}

impl ServiceAddress {
    /// A TCP service. Scope and flow information of an IPv6 address do not exist in IPVS and are left out.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self::Socket { protocol: Protocol::Tcp, address: address.ip(), port: address.port() }
    }

    /// A UDP service, like [`tcp`](Self::tcp).
    pub const fn udp(address: SocketAddr) -> Self {
        Self::Socket { protocol: Protocol::Udp, address: address.ip(), port: address.port() }
    }

    /// An SCTP service, like [`tcp`](Self::tcp).
    pub const fn sctp(address: SocketAddr) -> Self {
        Self::Socket { protocol: Protocol::Sctp, address: address.ip(), port: address.port() }
    }

    /// A service of the packets with this firewall mark.
    pub const fn fwmark(mark: NonZeroU32, family: Family) -> Self {
        Self::Fwmark { mark, family }
    }

    /// Family of the packets.
    pub const fn family(&self) -> Family {
        match *self {
            Self::Socket { address, .. } => Family::of(address),
            Self::Fwmark { family, .. } => family,
        }
    }

    /// The port, 0 for a firewall mark.
    pub const fn port(&self) -> u16 {
        match *self {
            Self::Socket { port, .. } => port,
            Self::Fwmark { .. } => 0,
        }
    }

    /// The protocol; `None` for a firewall mark.
    pub const fn protocol(&self) -> Option<Protocol> {
        match *self {
            Self::Socket { protocol, .. } => Some(protocol),
            Self::Fwmark { .. } => None,
        }
    }
}

impl fmt::Display for ServiceAddress {
    /// As keepalived writes it: `[192.0.2.1]:tcp:80`, `FWM 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { protocol, address, port } => write!(f, "[{address}]:{protocol}:{port}"),
            Self::Fwmark { mark, .. } => write!(f, "FWM {mark}"),
        }
    }
}

/// A name is empty, too long for the kernel (15 octets at most), or has an octet 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name of 1 to 15 octets")]
pub struct NameError(pub String);

/// A name as the kernel holds it: 1 to 15 octets, none of them 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name([u8; 16]);

impl Name {
    /// For the constants below; a name that does not fit fails the build.
    const fn constant(name: &str) -> Self {
        let mut octets = [0; 16];
        let (head, _) = octets.split_at_mut(name.len());
        head.copy_from_slice(name.as_bytes());
        Self(octets)
    }

    fn new(name: &str) -> Result<Self, NameError> {
        let mut octets = [0; 16];
        match octets.get_mut(..name.len()) {
            Some(head) if !name.is_empty() && name.len() < 16 && !name.contains('\0') => {
                head.copy_from_slice(name.as_bytes());
                Ok(Self(octets))
            }
            _ => Err(NameError(name.to_owned())),
        }
    }

    fn as_str(&self) -> &str {
        let name = self.0.split(|octet| *octet == 0).next().unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
        #[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
        pub struct $type(Name);

        impl $type {
            /// A name of 1 to 15 octets; whether the kernel knows it shows when it is used.
            ///
            /// # Errors
            /// [`NameError`] if the kernel cannot hold the name.
            pub fn new(name: &str) -> Result<Self, NameError> {
                Name::new(name).map(Self)
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($type), self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

name_type! {
    /// How a service picks a destination for a new connection.
    Scheduler
}

name_type! {
    /// What finds the persistence of a connection in its payload; the kernel has `sip`.
    PersistenceEngine
}

name_type! {
    /// A network interface, as the kernel names it.
    InterfaceName
}

impl Scheduler {
    /// Round robin.
    pub const RR: Self = Self(Name::constant("rr"));
    /// Weighted round robin.
    pub const WRR: Self = Self(Name::constant("wrr"));
    /// Least connections.
    pub const LC: Self = Self(Name::constant("lc"));
    /// Weighted least connections.
    pub const WLC: Self = Self(Name::constant("wlc"));
    /// Locality-based least connections.
    pub const LBLC: Self = Self(Name::constant("lblc"));
    /// Locality-based least connections with replication.
    pub const LBLCR: Self = Self(Name::constant("lblcr"));
    /// Source hashing.
    pub const SH: Self = Self(Name::constant("sh"));
    /// Maglev hashing.
    pub const MH: Self = Self(Name::constant("mh"));
    /// Destination hashing.
    pub const DH: Self = Self(Name::constant("dh"));
    /// Weighted fail over.
    pub const FO: Self = Self(Name::constant("fo"));
    /// Weighted overflow.
    pub const OVF: Self = Self(Name::constant("ovf"));
    /// Shortest expected delay.
    pub const SED: Self = Self(Name::constant("sed"));
    /// Never queue.
    pub const NQ: Self = Self(Name::constant("nq"));
    /// Power of two random choices.
    pub const TWOS: Self = Self(Name::constant("twos"));
}

impl Default for Scheduler {
    /// [`WLC`](Self::WLC), as in keepalived.
    fn default() -> Self {
        Self::WLC
    }
}

bitflags! {
    /// Options of a service. That it is persistent is said by [`Service::persistence`]; that it is hashed is not
    /// said at all, because the kernel sets this flag on every service.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    #[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
    pub struct ServiceFlags: u32 {
        /// Every packet is scheduled for itself; UDP only.
        const ONE_PACKET = 0x0004;
        /// First flag of the scheduler; fallback for `sh` and `mh`.
        const SCHEDULER_1 = 0x0008;
        /// Second flag of the scheduler; the port counts for `sh` and `mh`.
        const SCHEDULER_2 = 0x0010;
        /// Third flag of the scheduler.
        const SCHEDULER_3 = 0x0020;
        /// Flags that later kernels may have stay as they are.
        const _ = !0;
    }
}

/// How much of a client's address counts for persistence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum Granularity {
    /// Bits of an IPv4 address that count.
    Netmask(Ipv4Addr),
    /// Leading bits of an IPv6 address that count, 1–128.
    Prefix(u8),
}

impl Granularity {
    /// Every client for itself: /32 or /128.
    pub const fn host(family: Family) -> Self {
        match family {
            Family::Inet => Self::Netmask(Ipv4Addr::BROADCAST),
            Family::Inet6 => Self::Prefix(128),
        }
    }
}

/// A client keeps its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Persistence {
    /// Seconds after the client's last connection that its destination is remembered.
    pub timeout: Seconds,
    /// Which clients are taken for the same one. Must fit the service's family.
    pub granularity: Granularity,
}

/// Whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Seconds(pub u32);

/// A virtual service: where connections arrive and how they are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Service {
    /// What tells it apart.
    pub address: ServiceAddress,
    /// How destinations are picked.
    pub scheduler: Scheduler,
    /// Options.
    pub flags: ServiceFlags,
    /// Whether and how clients keep their destination.
    pub persistence: Option<Persistence>,
    /// What finds persistence in the payload.
    pub persistence_engine: Option<PersistenceEngine>,
}

impl Service {
    /// A service without flags and persistence.
    pub const fn new(address: ServiceAddress, scheduler: Scheduler) -> Self {
        Self { address, scheduler, flags: ServiceFlags::empty(), persistence: None, persistence_engine: None }
    }
}

/// Share of a destination in new connections, 0–2147483647: the kernel refuses what is negative to it; 0 gets none and
/// keeps those it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Weight(pub u32);

impl Weight {
    /// No new connections.
    pub const ZERO: Self = Self(0);

    /// The most that the kernel takes.
    pub const MAX: Self = Self(i32::MAX.cast_unsigned());

    /// The nearest weight there is.
    pub fn saturating_from(value: i64) -> Self {
        u32::try_from(value.max(0)).map_or(Self::MAX, |weight| Self(weight).min(Self::MAX))
    }
}

impl Default for Weight {
    /// 1, as in keepalived.
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Checksums of an encapsulated packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// A checksum in the outer header.
    Checksum,
    /// Remote checksum offload.
    Remote,
    /// Flags that have no name yet.
    Unknown(u16),
}

/// How packets reach a destination behind a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// UDP port of the destination.
        port: NonZeroU16,
        /// Checksums.
        checksum: TunnelChecksum,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Checksums.
        checksum: TunnelChecksum,
    },
}

/// How packets reach a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub enum ForwardingMethod {
    /// Address translation (`NAT`).
    #[default]
    Masquerade,
    /// The destination is this host itself.
    LocalNode,
    /// Encapsulated (`TUN`).
    Tunnel(Tunnel),
    /// Sent unchanged to the destination's link address (`DR`).
    DirectRoute,
    /// Past IPVS, for caches.
    Bypass,
    /// A method that has no name yet, 5–7.
    Unknown(u8),
}

/// A real server of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Destination {
    /// Its address; of another family than the service's only behind a tunnel.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its share.
    pub weight: Weight,
    /// How packets reach it.
    pub forwarding: ForwardingMethod,
    /// Connections from which on it gets no new ones, at most 2³¹ − 1; 0: no limit.
    pub upper_threshold: u32,
    /// Connections below which it gets new ones again; 0: three quarters of the upper threshold.
    pub lower_threshold: u32,
}

impl Destination {
    /// A destination of weight 1 without thresholds.
    pub const fn new(address: SocketAddr, forwarding: ForwardingMethod) -> Self {
        Self {
            address: address.ip(),
            port: address.port(),
            weight: Weight(1),
            forwarding,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }

    /// With this weight.
    #[must_use]
    pub const fn with_weight(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }

    /// What tells it apart from the others of its service.
    pub const fn key(&self) -> DestinationKey {
        DestinationKey { address: self.address, port: self.port }
    }
}

/// What tells destinations of one service apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct DestinationKey {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for DestinationKey {
    /// `10.0.0.1:80`, `[2001:db8::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// A service with its destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Pool {
    /// The service.
    pub service: Service,
    /// Its destinations, in the kernel's or the configuration's order.
    pub destinations: Vec<Destination>,
}

/// One change of the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub enum Change {
    /// Adds a service without destinations.
    AddService(Service),
    /// Gives the service of this address other settings; its destinations and connections stay.
    EditService(Service),
    /// Removes a service with all its destinations.
    RemoveService(ServiceAddress),
    /// Adds a destination.
    AddDestination {
        /// The service it serves.
        service: ServiceAddress,
        /// The destination.
        destination: Destination,
    },
    /// Gives the destination of this address and port other settings; its connections stay.
    EditDestination {
        /// The service it serves.
        service: ServiceAddress,
        /// The destination.
        destination: Destination,
    },
    /// Removes a destination.
    RemoveDestination {
        /// The service it served.
        service: ServiceAddress,
        /// Which of its destinations.
        destination: DestinationKey,
    },
}

impl Change {
    /// Address of the service that is changed.
    pub const fn service(&self) -> ServiceAddress {
        match self {
            Self::AddService(service) | Self::EditService(service) => service.address,
            Self::RemoveService(address) => *address,
            Self::AddDestination { service, .. }
            | Self::EditDestination { service, .. }
            | Self::RemoveDestination { service, .. } => *service,
        }
    }
}

impl fmt::Display for Change {
    /// What an error message says was tried: `adding 10.0.0.1:80 to [192.0.2.1]:tcp:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(service) => write!(f, "adding service {} ({})", service.address, service.scheduler),
            Self::EditService(service) => write!(f, "editing service {} ({})", service.address, service.scheduler),
            Self::RemoveService(address) => write!(f, "removing service {address}"),
            Self::AddDestination { service, destination } => write!(f, "adding {} to {service}", destination.key()),
            Self::EditDestination { service, destination } => write!(f, "editing {} of {service}", destination.key()),
            Self::RemoveDestination { service, destination } => write!(f, "removing {destination} from {service}"),
        }
    }
}

/// Counters of a service or a destination since it was added or zeroed. Rates are per second, averaged by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub incoming_packets: u64,
    /// Packets to clients.
    pub outgoing_packets: u64,
    /// Octets from clients.
    pub incoming_octets: u64,
    /// Octets to clients.
    pub outgoing_octets: u64,
    /// New connections per second.
    pub connection_rate: u64,
    /// Packets from clients per second.
    pub incoming_packet_rate: u64,
    /// Packets to clients per second.
    pub outgoing_packet_rate: u64,
    /// Octets from clients per second.
    pub incoming_octet_rate: u64,
    /// Octets to clients per second.
    pub outgoing_octet_rate: u64,
}

/// A service as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct ServiceEntry {
    /// The service.
    pub service: Service,
    /// Its counters.
    pub stats: Stats,
}

/// A destination as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct DestinationEntry {
    /// The destination.
    pub destination: Destination,
    /// Connections that are established.
    pub active_connections: u32,
    /// Connections in any other state.
    pub inactive_connections: u32,
    /// Clients that are remembered for persistence.
    pub persistent_connections: u32,
    /// Its counters.
    pub stats: Stats,
}

impl DestinationEntry {
    /// All that keeps the destination in use: connections in any state, and clients that would come back to it.
    pub fn in_use(&self) -> u64 {
        [self.active_connections, self.inactive_connections, self.persistent_connections].map(u64::from).iter().sum()
    }
}

/// The kernel's whole table at the time of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Table {
    /// Services with their destinations, in the kernel's order.
    pub entries: Vec<(ServiceEntry, Vec<DestinationEntry>)>,
}

impl Table {
    /// The table without counters, as [`plan`](crate::plan()) takes it.
    pub fn pools(&self) -> Vec<Pool> {
        let pool = |(service, destinations): &(ServiceEntry, Vec<DestinationEntry>)| Pool {
            service: service.service,
            destinations: destinations.iter().map(|entry| entry.destination).collect(),
        };
        self.entries.iter().map(pool).collect()
    }
}

/// How long idle connections are kept; 0 leaves a time as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Timeouts {
    /// Established TCP connections.
    pub tcp: Seconds,
    /// TCP connections after a FIN.
    pub tcp_fin: Seconds,
    /// UDP.
    pub udp: Seconds,
}

/// Which half of connection synchronisation a [`SyncDaemon`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum SyncRole {
    /// Tells other hosts of this host's connections.
    Master,
    /// Takes over what other hosts tell of theirs.
    Backup,
}

impl fmt::Display for SyncRole {
    /// `master` or `backup`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A thread of the kernel that keeps connections the same on several hosts, so that they survive a failover. There
/// is at most one of each role in a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct SyncDaemon {
    /// Which half it does.
    pub role: SyncRole,
    /// Where it sends or listens. Must exist and be up.
    pub interface: InterfaceName,
    /// Tells groups of hosts apart; a backup with 0 takes messages of every id.
    pub sync_id: u8,
    /// Octets of the largest message; `None` for what the interface's MTU allows. A backup takes messages of 1024
    /// octets in any case.
    pub max_length: Option<NonZeroU16>,
    /// Multicast group, IPv4 or IPv6.
    pub group: IpAddr,
    /// UDP port; further ports after it are used where the host has several sync threads (`sync_ports`).
    pub port: NonZeroU16,
    /// TTL or hop limit of the messages.
    pub ttl: NonZeroU8,
}

impl SyncDaemon {
    /// The kernel's group unless another is given.
    pub const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
    /// The kernel's port unless another is given.
    pub const PORT: NonZeroU16 = NonZeroU16::new(8848).unwrap();
    /// The kernel's TTL unless another is given: the messages stay on the link.
    pub const TTL: NonZeroU8 = NonZeroU8::MIN;

    /// A daemon with id 0 and the kernel's settings.
    pub const fn new(role: SyncRole, interface: InterfaceName) -> Self {
        let (group, port, ttl) = (Self::GROUP, Self::PORT, Self::TTL);
        Self { role, interface, sync_id: 0, max_length: None, group, port, ttl }
    }

    /// Whether `running`, as the kernel reports it, is what was asked for: the kernel fills in the largest message.
    pub fn is_met_by(&self, running: &Self) -> bool {
        let length = self.max_length.map(|length| match self.role {
            SyncRole::Master => length,
            SyncRole::Backup => length.max(Self::LEAST_LENGTH),
        });
        *running == Self { max_length: length.or(running.max_length), ..*self }
    }

    /// The kernel's own minimum for a backup.
    const LEAST_LENGTH: NonZeroU16 = NonZeroU16::new(1024).unwrap();
}

impl fmt::Display for SyncDaemon {
    /// `master sync daemon on eth0 (id 3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sync daemon on {} (id {})", self.role, self.interface, self.sync_id)
    }
}

/// A point in time: nanoseconds since an origin that the caller chooses once and that all its processes share
/// (CLOCK_BOOTTIME's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The instant `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

/// Saturates 584 years after the origin.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// What the kernel's IPVS says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Info {
    /// Major, minor and patch level, such as 1.2.1.
    pub version: [u8; 3],
    /// Buckets of the connection table.
    pub connection_table_size: u32,
}

/// The address of family `family` in the first octets of `octets`.
pub(crate) fn address_from(family: Family, octets: &[u8; 16]) -> IpAddr {
    match (family, octets) {
        (Family::Inet, [a, b, c, d, ..]) => Ipv4Addr::new(*a, *b, *c, *d).into(),
        (Family::Inet6, octets) => Ipv6Addr::from(*octets).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_kernel_holds() {
        assert_eq!(Scheduler::new("wlc"), Ok(Scheduler::WLC));
        assert_eq!(Scheduler::new("123456789012345").unwrap().as_str(), "123456789012345");
        for wrong in ["", "1234567890123456", "a\0b"] {
            assert_eq!(Scheduler::new(wrong), Err(NameError(wrong.into())));
        }
    }

    #[test]
    fn services_are_written_as_in_logs() {
        assert_eq!(ServiceAddress::tcp("10.9.0.2:80".parse().unwrap()).to_string(), "[10.9.0.2]:tcp:80");
        assert_eq!(ServiceAddress::udp("[2001:db8::1]:53".parse().unwrap()).to_string(), "[2001:db8::1]:udp:53");
        let mark = ServiceAddress::fwmark(NonZeroU32::new(3).unwrap(), Family::Inet6);
        assert_eq!(mark.to_string(), "FWM 3");
    }

    #[test]
    fn a_sync_daemon_is_met_whatever_length_the_kernel_fills_in() {
        let asked = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0").unwrap());
        let running = SyncDaemon { max_length: NonZeroU16::new(1472), ..asked };
        assert!(asked.is_met_by(&running) && running.is_met_by(&running));
        assert!(!running.is_met_by(&SyncDaemon { max_length: NonZeroU16::new(1000), ..asked }));
        assert!(!asked.is_met_by(&SyncDaemon { sync_id: 1, ..running }));
        let short = SyncDaemon { max_length: NonZeroU16::new(1000), ..asked };
        let raised = SyncDaemon { max_length: NonZeroU16::new(1024), ..asked };
        assert!(!short.is_met_by(&raised));
        let backup = |daemon: SyncDaemon| SyncDaemon { role: SyncRole::Backup, ..daemon };
        assert!(backup(short).is_met_by(&backup(raised)));
        assert_eq!(asked.to_string(), "master sync daemon on eth0 (id 0)");
    }

    #[test]
    fn time_does_not_run_over() {
        assert_eq!(Instant::from_nanos(5) + Duration::from_nanos(2), Instant::from_nanos(7));
        assert_eq!((Instant::from_nanos(5) + Duration::MAX).as_nanos(), u64::MAX);
    }

    #[test]
    fn weights_stay_in_range() {
        let weights = [i64::MIN, -1, 0, 7, 65536, 0x7fff_ffff, 0x8000_0000, 1 << 32, i64::MAX];
        let expected = [0, 0, 0, 7, 65536, 0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff, 0x7fff_ffff];
        assert_eq!(weights.map(Weight::saturating_from).map(|weight| weight.0), expected);
    }
}
