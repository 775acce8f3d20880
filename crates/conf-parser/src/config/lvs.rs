//! `virtual_server`.

use super::*;

settings! {
/// A `virtual_server` block.
pub struct VirtualServer {
    /// What identifies the service.
    service: Spanned<ServiceKey>,
    /// `lb_algo` or `lvs_sched`; default `wlc`.
    scheduler: Scheduler as "lvs_sched",
    /// `flag-1` to `flag-3`, under their own or a scheduler's names.
    scheduler_flags: SchedulerFlags as "flag-1" via show_flags,
    /// `ops`: each datagram is scheduled on its own.
    one_packet: bool as "ops",
    /// `persistence_timeout` and `persistence_granularity`.
    persistence: Option<Persistence> as "persistence_timeout" via show_persistence,
    /// `quorum`: least sum of weights of live servers; default 1.
    quorum: u32 as "quorum",
    /// `hysteresis`: less than `quorum`; default 0.
    hysteresis: u32 as "hysteresis",
    /// `quorum_up`.
    quorum_up: Option<Spanned<Script>> as "quorum_up",
    /// `quorum_down`.
    quorum_down: Option<Spanned<Script>> as "quorum_down",
    /// `alpha`: servers start as down.
    alpha: bool as "alpha",
    /// `omega`: a stop runs the scripts for going down.
    omega: bool as "omega",
    /// `sorry_server`.
    sorry_server: Option<SorryServer> as "sorry_server",
    /// `virtualhost`.
    virtualhost: Option<String> as "virtualhost",
    /// The `real_server` blocks, in the order of the file; never empty.
    real_servers: Vec<RealServer> as "real_server" via |servers: &[_], slot, out: &mut _| show_blocks(servers, slot, out),
    /// `smtp_alert`.
    smtp_alert: Option<bool> as "smtp_alert",
    /// Where the keywords were written.
    places: Places,
}}

config_type! {
/// What identifies a service in the kernel.
#[derive(Copy, Hash)]
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
        /// The firewall mark.
        mark: u32,
        /// `ip_family`, else that of the real servers.
        family: Family,
    },
}}

/// As log lines and events name a service: `[ADDR]:PROTO:PORT` or `FWM N`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, port, protocol } => write!(f, "[{address}]:{protocol}:{port}"),
            Self::Fwmark { mark, .. } => write!(f, "FWM {mark}"),
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
    /// `TUN`: IP in IP.
    Tunnel,
}}

config_type! {
/// Connections of one client stay with one server.
#[derive(Copy)]
pub struct Persistence {
    /// How long after the last connection; 1 s to 31 days, 360 s where not given.
    pub timeout: Duration,
    /// Bits of the address that tell clients apart; all where not given.
    pub granularity: u8,
}}

config_type! {
/// The server of last resort.
pub struct SorryServer {
    /// Its address.
    pub address: Spanned<IpAddr>,
    /// Its port; that of the service where not given.
    pub port: u16,
    /// How packets get there.
    pub forwarding: ForwardingMethod,
}}

settings! {
/// A `real_server` block.
pub struct RealServer {
    /// Its address.
    address: Spanned<IpAddr>,
    /// Its port; that of the service where not given.
    port: u16,
    /// `weight`; default 1.
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
    notify_up: Option<Spanned<Script>> as "notify_up",
    /// `notify_down`.
    notify_down: Option<Spanned<Script>> as "notify_down",
    /// `virtualhost`, else that of the virtual server.
    virtualhost: Option<String> as "virtualhost",
    /// `smtp_alert`.
    smtp_alert: Option<bool> as "smtp_alert",
    /// The checkers; none = always up.
    checkers: Vec<Checker> as "TCP_CHECK" via show_checkers,
    /// Where the keywords were written.
    places: Places,
}}

show_word! {
    Scheduler => |scheduler, _row| Scalar::Text(scheduler.as_str().to_owned());
    Protocol => |protocol, _row| Scalar::Text(protocol.to_string().to_uppercase());
    ForwardingMethod => |method, _row| Scalar::Text(match method {
        ForwardingMethod::Masquerade => "NAT",
        ForwardingMethod::DirectRoute => "DR",
        ForwardingMethod::Tunnel => "TUN",
    }.to_owned());
}

const VIRTUAL_SERVER: &str = "virtual_server";
const REAL_SERVER: &str = "virtual_server/real_server";

impl Block for VirtualServer {
    fn head(&self) -> Vec<Scalar> {
        match *self.service {
            ServiceKey::Address { address, port, .. } => {
                vec![Scalar::Text(address.to_string()), Scalar::Integer(port.into())]
            }
            ServiceKey::Fwmark { mark, .. } => vec![Scalar::Text("fwmark".to_owned()), Scalar::Integer(mark.into())],
        }
    }

    fn written(&self) -> Option<Span> {
        Some(self.service.span)
    }

    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        let slot = |keyword| Slot::new(VIRTUAL_SERVER, keyword, &self.places);
        match *self.service {
            ServiceKey::Address { protocol, .. } => protocol.show(slot("protocol"), &mut out),
            ServiceKey::Fwmark { family, .. } => family.show(slot("ip_family"), &mut out),
        }
        self.lines(VIRTUAL_SERVER, &self.places, &mut out);
        out
    }
}

show_word! {
    Family => |family, _row| Scalar::Text(match family {
        Family::Ipv4 => "inet",
        Family::Ipv6 => "inet6",
    }.to_owned());
}

fn show_flags(flags: &SchedulerFlags, slot: Slot, out: &mut Vec<Setting>) {
    flags.flag_1.show(slot, out);
}

fn show_persistence(persistence: &Option<Persistence>, slot: Slot, out: &mut Vec<Setting>) {
    persistence.map(|persistence| persistence.timeout).show(slot, out);
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
        self.lines(REAL_SERVER, &self.places, &mut out);
        out
    }
}
