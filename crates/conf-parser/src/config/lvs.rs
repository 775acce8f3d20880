//! `virtual_server`.

use super::*;

settings! {
/// A `virtual_server` block.
pub struct VirtualServer {
    /// What identifies the service.
    service: Spanned<ServiceKey>,
    /// `lvs_sched` or `lb_algo`; default `wlc`.
    scheduler: Scheduler as "lvs_sched",
    /// `flag-1` to `flag-3`, under their own or a scheduler's names.
    scheduler_flags: SchedulerFlags,
    /// `hashed`, with the schedulers `sh` and `mh` only; it changes nothing.
    hashed: bool as "hashed",
    /// `ops`: each datagram is scheduled on its own.
    one_packet: bool as "ops",
    /// `lvs_method` or `lb_kind`: how packets get to servers that say nothing themselves; default NAT.
    forwarding: ForwardingMethod as "lvs_method",
    /// `persistence_engine`: at most 16 bytes; the kernel knows `sip`.
    persistence_engine: Option<String> as "persistence_engine",
    /// `persistence_timeout` and `persistence_granularity`.
    persistence: Option<Persistence>,
    /// `ha_suspend`: nothing is checked while this machine lacks the address.
    ha_suspend: bool as "ha_suspend",
    /// What checkers take over where neither they nor their server say anything.
    <flatten> checks: CheckDefaults,
    /// `weight` of servers that name none, 1 to 2147483647; default 1.
    weight: u32 as "weight",
    /// `inhibit_on_failure` of servers that say nothing themselves.
    inhibit_on_failure: bool as "inhibit_on_failure",
    /// `quorum`: least sum of weights of live servers, at least 1; default 1.
    quorum: u32 as "quorum",
    /// `hysteresis`: less than `quorum`; default 0.
    hysteresis: u32 as "hysteresis",
    /// `quorum_up`.
    quorum_up: Option<Box<Spanned<Script>>> as "quorum_up",
    /// `quorum_down`.
    quorum_down: Option<Box<Spanned<Script>>> as "quorum_down",
    /// `alpha`: servers start as down.
    alpha: bool as "alpha",
    /// `omega`: a stop runs the scripts for going down.
    omega: bool as "omega",
    /// `drain_timeout`: how long a server that a reload leaves out keeps its connections, 1 s to a day; not at all where
    /// absent.
    drain_timeout: Option<Duration> as "drain_timeout",
    /// `sorry_server`.
    sorry_server: Option<SorryServer>,
    /// `virtualhost`.
    virtualhost: Option<String> as "virtualhost",
    /// `snmp_name`.
    snmp_name: Option<String> as "snmp_name",
    /// `smtp_alert`, else `smtp_alert_checker`, else `smtp_alert` of `global_defs`, else off: mail when the quorum changes.
    smtp_alert: bool as "smtp_alert",
    /// The `real_server` blocks, in the order of the file; never empty.
    real_servers: Vec<RealServer>,
    /// Where the keywords were written.
    places: Places,
}}

settings! {
/// What the checkers of a server take over; each value is that of the outer block, then of the checker, where absent.
#[derive(Default, Copy)]
pub struct CheckDefaults {
    /// `delay_loop`: between checks, 1 us and up; always there in a virtual server, default 60 s.
    delay_loop: Option<Duration> as "delay_loop",
    /// `warmup`: longest random wait before the first check; that of `delay_loop` where absent.
    warmup: Option<Duration> as "warmup",
    /// `retry`: further tries before a live server counts as down, at least 1.
    retry: Option<u32> as "retry",
    /// `delay_before_retry`: before each further try.
    delay_before_retry: Option<Duration> as "delay_before_retry",
    /// `connect_timeout`: 1 us to 4294.967295 s; always there in a virtual server, default 5 s.
    connect_timeout: Option<Duration> as "connect_timeout",
}}

config_type! {
/// What identifies a service in the kernel.
#[derive(Hash)]
pub enum ServiceKey {
    /// `virtual_server ADDR PORT`.
    Address {
        /// The address.
        address: IpAddr,
        /// The port; 0 = all, for persistent services only.
        port: u16,
        /// `protocol`; default UDP.
        protocol: Protocol,
    },
    /// `virtual_server fwmark N`.
    Fwmark {
        /// The firewall mark; never 0.
        mark: u32,
        /// `ip_family`, else that of the real servers.
        family: Family,
    },
    /// `virtual_server group NAME`: one service for each address and mark of the group.
    Group {
        /// The name of a [`VirtualServerGroup`] that there is.
        name: String,
        /// How many virtual servers of the same group stand before this one.
        number: u16,
        /// `protocol` of the addresses, default UDP; absent where the group has firewall marks only.
        protocol: Option<Protocol>,
        /// `ip_family`, else that of the real servers, which is then that of every entry of the group. Absent where all
        /// servers are tunnelled: each address is its own, and marks that name none are IPv4.
        family: Option<Family>,
    },
}}

/// As log lines and events name a service: `[ADDR]:PROTO:PORT`, `FWM N` or `[GROUP]:NUMBER`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, port, protocol } => write!(f, "[{address}]:{protocol}:{port}"),
            Self::Fwmark { mark, .. } => write!(f, "FWM {mark}"),
            Self::Group { name, number, .. } => write!(f, "[{name}]:{number}"),
        }
    }
}

config_type! {
/// A `virtual_server_group` block.
pub struct VirtualServerGroup {
    /// The name after `virtual_server_group`.
    pub name: Spanned<String>,
    /// Its entries, in the order of the file; never empty.
    pub entries: Vec<Spanned<GroupEntry>>,
}}

config_type! {
/// One entry of a virtual server group.
#[derive(Copy, Hash)]
pub enum GroupEntry {
    /// `ADDR [PORT]`, or a range of addresses.
    Addresses {
        /// The first address.
        first: IpAddr,
        /// The last address, of the same family; the first one itself where it is no range.
        last: IpAddr,
        /// The port; 0 = all, for persistent services only.
        port: u16,
    },
    /// `fwmark N [inet|inet6]`.
    Fwmark {
        /// The firewall mark.
        mark: u32,
        /// `inet` or `inet6`; that of the virtual server where absent.
        family: Option<Family>,
    },
}}

impl GroupEntry {
    /// The family that it is written for.
    pub fn family(&self) -> Option<Family> {
        match self {
            Self::Addresses { first, .. } => Some(Family::of(*first)),
            Self::Fwmark { family, .. } => *family,
        }
    }
}

config_type! {
/// Transport protocol of a service.
#[derive(Copy, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

macro_rules! schedulers {
    ($($name:ident $word:literal $meaning:literal;)+) => {
        config_type! {
        /// How the kernel spreads connections.
        #[derive(Copy, Hash)]
        pub enum Scheduler {
            $(#[doc = $meaning] $name,)+
        }}

        impl Scheduler {
            /// Every scheduler with its word, which is also the kernel's name for it.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$name)),+];

            /// The kernel's name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

schedulers! {
    RoundRobin "rr" "`rr`: round robin.";
    WeightedRoundRobin "wrr" "`wrr`: weighted round robin.";
    LeastConnection "lc" "`lc`: least connections.";
    WeightedLeastConnection "wlc" "`wlc`: weighted least connections.";
    LocalityLeastConnection "lblc" "`lblc`: locality-based least connections.";
    LocalityLeastConnectionReplication "lblcr" "`lblcr`: locality-based least connections with replication.";
    SourceHash "sh" "`sh`: hash of the source address.";
    MaglevHash "mh" "`mh`: Maglev hash.";
    DestinationHash "dh" "`dh`: hash of the destination address.";
    FailOver "fo" "`fo`: weighted fail-over.";
    Overflow "ovf" "`ovf`: weighted overflow.";
    ShortestExpectedDelay "sed" "`sed`: shortest expected delay.";
    NeverQueue "nq" "`nq`: never queue.";
    PowerOfTwo "twos" "`twos`: the better of two random choices.";
}

config_type! {
/// The flag bits of a scheduler.
#[derive(Default, Copy)]
pub struct SchedulerFlags {
    /// `flag-1`, `sh-fallback`, `mh-fallback`.
    pub flag_1: bool,
    /// `flag-2`, `sh-port`, `mh-port`.
    pub flag_2: bool,
    /// `flag-3`.
    pub flag_3: bool,
}}

config_type! {
/// How packets get from the director to a server.
#[derive(Copy, Hash)]
pub enum ForwardingMethod {
    /// `NAT`: addresses are rewritten.
    Masquerade,
    /// `DR`: sent to the server's link address.
    DirectRoute,
    /// `TUN`: inside other packets.
    Tunnel(Tunnel),
}}

impl ForwardingMethod {
    /// Every method with its word, `TUN` with the tunnel that it is without options.
    pub(crate) const WORDS: &[(&str, Self)] =
        &[("NAT", Self::Masquerade), ("DR", Self::DirectRoute), ("TUN", Self::Tunnel(Tunnel::Ipip))];
}

config_type! {
/// What packets travel in.
#[derive(Copy, Default, Hash)]
pub enum Tunnel {
    /// `type ipip`: IP in IP.
    #[default]
    Ipip,
    /// `type gue`: generic UDP encapsulation; since Linux 5.2.
    Gue {
        /// `port`: UDP port of the server.
        port: NonZeroU16,
        /// `nocsum`, `csum` or `remcsum`; since Linux 5.3.
        checksum: TunnelChecksum,
    },
    /// `type gre`: generic routing encapsulation; since Linux 5.3.
    Gre {
        /// `csum`: with a checksum.
        checksum: bool,
    },
}}

config_type! {
/// The checksum of a tunnel.
#[derive(Copy, Default, Hash)]
pub enum TunnelChecksum {
    /// `nocsum`.
    #[default]
    None,
    /// `csum`: in the outer header.
    Checksum,
    /// `remcsum`: remote checksum offload.
    Remote,
}}

config_type! {
/// Connections of one client stay with one server.
#[derive(Copy)]
pub struct Persistence {
    /// How long after the last connection; 1 s to 31 days, 360 s where not given.
    pub timeout: Duration,
    /// Which part of the address tells clients apart; all where not given.
    pub granularity: Granularity,
}}

config_type! {
/// `persistence_granularity`.
#[derive(Copy)]
pub enum Granularity {
    /// The mask of an IPv4 address.
    Netmask(Ipv4Addr),
    /// The length of the prefix of an IPv6 address, 1 to 128.
    Prefix(u8),
}}

impl Granularity {
    /// The whole address.
    pub fn whole(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Netmask(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::Prefix(128),
        }
    }
}

config_type! {
/// The server of last resort.
pub struct SorryServer {
    /// Its address.
    pub address: Spanned<IpAddr>,
    /// Its port; that of the service where not given, and 0 where that is one of several.
    pub port: u16,
    /// `sorry_server_lvs_method`, else that of the virtual server: how packets get there.
    pub forwarding: ForwardingMethod,
    /// `sorry_server_inhibit`: weight 0 instead of removal.
    pub inhibit: bool,
}}

settings! {
/// A `real_server` block.
pub struct RealServer {
    /// Its address.
    address: Spanned<IpAddr>,
    /// Its port; that of the service where not given, and 0 where that is one of several.
    port: u16,
    /// `weight`, else that of the virtual server, 0 to 2147483647; the kernel takes 65535 at most.
    weight: u32 as "weight",
    /// `lvs_method`, else that of the virtual server.
    forwarding: ForwardingMethod as "lvs_method",
    /// `uthreshold`: connections above which it gets no more; 0 = none.
    upper_threshold: u32 as "uthreshold",
    /// `lthreshold`: connections below which it gets some again; 0 = none.
    lower_threshold: u32 as "lthreshold",
    /// `inhibit_on_failure`: weight 0 instead of removal.
    inhibit_on_failure: bool as "inhibit_on_failure",
    /// `alpha`: starts as down.
    alpha: bool as "alpha",
    /// `notify_up`.
    notify_up: Option<Box<Spanned<Script>>> as "notify_up",
    /// `notify_down`.
    notify_down: Option<Box<Spanned<Script>>> as "notify_down",
    /// `virtualhost`, else that of the virtual server.
    virtualhost: Option<Box<str>> as "virtualhost",
    /// `snmp_name`.
    snmp_name: Option<Box<str>> as "snmp_name",
    /// `smtp_alert`, else `smtp_alert_checker`, else `smtp_alert` of `global_defs`, else on: mail when its state changes.
    smtp_alert: bool as "smtp_alert",
    /// What its checkers take over in place of the virtual server's values; absent where it says nothing.
    checks: Option<Box<CheckDefaults>>,
    /// The checkers; none = always up.
    checkers: Vec<Checker> as "TCP_CHECK" via show_checkers,
    /// Where the keywords were written.
    places: Places,
}}

table_default! {
    Scheduler => |row| row.default_word(Self::WORDS), else Self::RoundRobin;
    ForwardingMethod => |row| row.default_word(Self::WORDS), else Self::DirectRoute;
}

show_word! {
    Scheduler => |scheduler, _row| Scalar::Text(scheduler.as_str().to_owned());
    Protocol => |protocol, _row| Scalar::Text(protocol.to_string().to_uppercase());
    Family => |family, _row| Scalar::Text(match family {
        Family::Ipv4 => "inet",
        Family::Ipv6 => "inet6",
    }.to_owned());
    Granularity => |granularity, _row| match granularity {
        Granularity::Netmask(mask) => Scalar::Text(mask.to_string()),
        Granularity::Prefix(bits) => Scalar::Integer((*bits).into()),
    };
}

fn word(text: &str) -> Scalar {
    Scalar::Text(text.to_owned())
}

impl Show for ForwardingMethod {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(match self {
            Self::Masquerade => vec![word("NAT")],
            Self::DirectRoute => vec![word("DR")],
            Self::Tunnel(tunnel) => [word("TUN"), word("type")].into_iter().chain(tunnel.words()).collect(),
        }));
    }
}

impl Tunnel {
    fn words(self) -> Vec<Scalar> {
        match self {
            Self::Ipip => vec![word("ipip")],
            Self::Gue { port, checksum } => {
                let checksum = match checksum {
                    TunnelChecksum::None => "nocsum",
                    TunnelChecksum::Checksum => "csum",
                    TunnelChecksum::Remote => "remcsum",
                };
                vec![word("gue"), word("port"), Scalar::Integer(port.get().into()), word(checksum)]
            }
            Self::Gre { checksum } => vec![word("gre"), word(if checksum { "csum" } else { "nocsum" })],
        }
    }
}

const VIRTUAL_SERVER: &str = "virtual_server";
const REAL_SERVER: &str = "virtual_server/real_server";

/// What a real server takes over from its virtual server.
const INHERITED: [&str; 5] = ["weight", "lvs_method", "inhibit_on_failure", "alpha", "virtualhost"];

/// The names of each flag: its own, and that of schedulers.
const FLAGS: [(&str, &[(&str, Scheduler)]); 3] = [
    ("flag-1", &[("sh-fallback", Scheduler::SourceHash), ("mh-fallback", Scheduler::MaglevHash)]),
    ("flag-2", &[("sh-port", Scheduler::SourceHash), ("mh-port", Scheduler::MaglevHash)]),
    ("flag-3", &[]),
];

impl Block for VirtualServer {
    fn head(&self) -> Vec<Scalar> {
        match &self.service.value {
            ServiceKey::Address { address, port, .. } => {
                vec![Scalar::Text(address.to_string()), Scalar::Integer((*port).into())]
            }
            ServiceKey::Fwmark { mark, .. } => vec![word("fwmark"), Scalar::Integer((*mark).into())],
            ServiceKey::Group { name, .. } => vec![word("group"), word(name)],
        }
    }

    fn written(&self) -> Option<Span> {
        Some(self.service.span)
    }

    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        let slot = |keyword| Slot::new(VIRTUAL_SERVER, keyword, &self.places);
        match &self.service.value {
            ServiceKey::Address { protocol, .. } => protocol.show(slot("protocol"), &mut out),
            ServiceKey::Fwmark { family, .. } => family.show(slot("ip_family"), &mut out),
            ServiceKey::Group { protocol, family, .. } => {
                protocol.show(slot("protocol"), &mut out);
                family.show(slot("ip_family"), &mut out);
            }
        }
        self.lines(VIRTUAL_SERVER, &self.places, &mut out);
        self.show_flags(&mut out);
        self.persistence.map(|persistence| persistence.timeout).show(slot("persistence_timeout"), &mut out);
        self.persistence.map(|persistence| persistence.granularity).show(slot("persistence_granularity"), &mut out);
        self.show_sorry_server(&mut out);
        let first = out.len();
        show_blocks(&self.real_servers, slot("real_server"), &mut out);
        let inherited = INHERITED.map(|keyword| (keyword, self.places.of(VIRTUAL_SERVER, keyword)));
        for setting in out.iter_mut().skip(first).flat_map(|server| &mut server.body).flatten() {
            let found = inherited.iter().find(|(keyword, _)| *keyword == setting.keyword());
            setting.written = setting.written.or(found.and_then(|(_, written)| *written));
        }
        out
    }
}

impl VirtualServer {
    /// Each flag under the name that it was given.
    fn show_flags(&self, out: &mut Vec<Setting>) {
        let SchedulerFlags { flag_1, flag_2, flag_3 } = self.scheduler_flags;
        for ((own, names), set) in FLAGS.into_iter().zip([flag_1, flag_2, flag_3]) {
            let given = names.iter().find(|(name, scheduler)| {
                *scheduler == self.scheduler && self.places.of(VIRTUAL_SERVER, name).is_some()
            });
            let name = given.filter(|_| set).map_or(own, |(name, _)| name);
            set.show(Slot::new(VIRTUAL_SERVER, name, &self.places), out);
        }
    }

    fn show_sorry_server(&self, out: &mut Vec<Setting>) {
        let slot = |keyword| Slot::new(VIRTUAL_SERVER, keyword, &self.places);
        let Some(server) = &self.sorry_server else {
            out.push(slot("sorry_server").absent());
            return;
        };
        server.show(slot("sorry_server"), out);
        server.inhibit.show(slot("sorry_server_inhibit"), out);
        server.forwarding.show(slot("sorry_server_lvs_method"), out);
    }
}

impl Show for SorryServer {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let words = vec![self.address.word(slot.row), Scalar::Integer(self.port.into())];
        out.push(slot.line(words));
    }
}

impl Block for RealServer {
    fn head(&self) -> Vec<Scalar> {
        vec![Scalar::Text(self.address.to_string()), Scalar::Integer(self.port.into())]
    }

    fn written(&self) -> Option<Span> {
        Some(self.address.span)
    }

    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        self.checks.as_deref().copied().unwrap_or_default().lines(REAL_SERVER, &self.places, &mut out);
        self.lines(REAL_SERVER, &self.places, &mut out);
        out
    }
}

impl Block for VirtualServerGroup {
    fn head(&self) -> Vec<Scalar> {
        vec![word(&self.name)]
    }

    fn written(&self) -> Option<Span> {
        Some(self.name.span)
    }

    fn body(&self) -> Vec<Setting> {
        self.entries.iter().map(|entry| Setting::entry(entry.words(), entry.span)).collect()
    }
}

impl GroupEntry {
    fn words(&self) -> Vec<Scalar> {
        match self {
            Self::Addresses { first, last, port } => {
                let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
                let port = Some(*port).filter(|port| *port != 0).map(|port| Scalar::Integer(port.into()));
                std::iter::once(Scalar::Text(range)).chain(port).collect()
            }
            Self::Fwmark { mark, family } => {
                let family = family.map(|family| word(if family == Family::Ipv4 { "inet" } else { "inet6" }));
                [word("fwmark"), Scalar::Integer((*mark).into())].into_iter().chain(family).collect()
            }
        }
    }
}
