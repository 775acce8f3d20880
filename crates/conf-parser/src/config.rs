//! The typed configuration: what the daemon acts on.
//!
//! Values are resolved: a setting of `global_defs` that an instance or a server does not override is
//! already in the instance or the server. Everything can be compared (places in the files do not
//! count) and, with the feature `serde`, shipped to another process.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use crate::source::{Span, Spanned};

macro_rules! config_type {
    ($(#[$meta:meta])* pub struct $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $($rest)*
    };
    ($(#[$meta:meta])* pub enum $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub enum $($rest)*
    };
}

config_type! {
/// A whole configuration.
#[derive(Default)]
pub struct Config {
    /// The top level and `global_defs`.
    pub global: GlobalDefs,
    /// The `vrrp_instance` blocks, in the order of the file.
    pub vrrp_instances: Vec<VrrpInstance>,
    /// The `virtual_server` blocks, in the order of the file.
    pub virtual_servers: Vec<VirtualServer>,
}}

config_type! {
/// `global_defs`, and the settings of the top level.
pub struct GlobalDefs {
    /// `router_id`; the host name where absent.
    pub router_id: Option<String>,
    /// `notification_email`: who gets mail.
    pub notification_email: Vec<String>,
    /// `notification_email_from`.
    pub notification_email_from: Option<String>,
    /// The `smtp_*` settings.
    pub smtp: Smtp,
    /// `script_user`: whom scripts run as where they name nobody.
    pub script_user: Option<Spanned<ScriptUser>>,
    /// `enable_script_security`: scripts of root that others may change are refused.
    pub enable_script_security: bool,
    /// `dynamic_interfaces`: interfaces may be missing at the start, and come and go.
    pub dynamic_interfaces: bool,
    /// `vrrp_mcast_group4`: where adverts of IPv4 instances go; default 224.0.0.18.
    pub vrrp_mcast_group4: Ipv4Addr,
    /// `vrrp_mcast_group6`: where adverts of IPv6 instances go; default ff02::12.
    pub vrrp_mcast_group6: Ipv6Addr,
    /// `vrrp_version`: for IPv4 instances without `version`; default 2.
    pub vrrp_version: VrrpVersion,
    /// `vrrp_garp_interval`: least time between two gratuitous ARP frames on one link; default 0.
    pub vrrp_garp_interval: Duration,
    /// `vrrp_gna_interval`: least time between two unsolicited neighbour advertisements on one link; default 0.
    pub vrrp_gna_interval: Duration,
    /// `child_wait_time`: how long a stop waits for the children; default 5 s.
    pub child_wait_time: Duration,
    /// `max_auto_priority`: highest real-time priority that lateness may lead to, -1 to 99; `None` = never raise.
    pub max_auto_priority: Option<i8>,
}}

impl Default for GlobalDefs {
    fn default() -> Self {
        Self {
            router_id: None,
            notification_email: Vec::new(),
            notification_email_from: None,
            smtp: Smtp::default(),
            script_user: None,
            enable_script_security: false,
            dynamic_interfaces: false,
            vrrp_mcast_group4: Ipv4Addr::new(224, 0, 0, 18),
            vrrp_mcast_group6: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
            vrrp_version: VrrpVersion::V2,
            vrrp_garp_interval: Duration::ZERO,
            vrrp_gna_interval: Duration::ZERO,
            child_wait_time: Duration::from_secs(5),
            max_auto_priority: None,
        }
    }
}

config_type! {
/// The `smtp_*` settings of `global_defs`.
pub struct Smtp {
    /// `smtp_server`: host name or address.
    pub server: Option<String>,
    /// The port of `smtp_server`; default 25.
    pub port: u16,
    /// `smtp_helo_name`; the host name where absent.
    pub helo_name: Option<String>,
    /// `smtp_connect_timeout`; default 30 s.
    pub connect_timeout: Duration,
    /// `smtp_alert`: for every object that says nothing itself.
    pub alert: Option<bool>,
    /// `smtp_alert_vrrp`.
    pub alert_vrrp: Option<bool>,
    /// `smtp_alert_checker`.
    pub alert_checker: Option<bool>,
    /// `no_email_faults`: none for a change to FAULT.
    pub no_email_faults: bool,
}}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            server: None,
            port: 25,
            helo_name: None,
            connect_timeout: Duration::from_secs(30),
            alert: None,
            alert_vrrp: None,
            alert_checker: None,
            no_email_faults: false,
        }
    }
}

config_type! {
/// Whom a script runs as.
pub struct ScriptUser {
    /// User name or number.
    pub user: String,
    /// Group name or number; the user's own where absent.
    pub group: Option<String>,
}}

config_type! {
/// A command with its parameters.
pub struct Script {
    /// The command and its parameters; never empty.
    pub command: Vec<String>,
    /// Whom it runs as; `script_user` where absent.
    pub user: Option<ScriptUser>,
}}

config_type! {
/// Address family.
#[derive(Copy, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}}

impl Family {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Length of an address in bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

config_type! {
/// Version of the VRRP protocol.
#[derive(Copy, Hash)]
pub enum VrrpVersion {
    /// VRRPv2 (RFC 3768).
    V2,
    /// VRRPv3 (RFC 9568).
    V3,
}}

config_type! {
/// The state that `state` asks for; it is honoured only for priority 255.
#[derive(Copy, Hash)]
pub enum InitialState {
    /// `state MASTER`.
    Master,
    /// `state BACKUP`.
    Backup,
}}

/// Virtual Router Identifier, 1 to 255 (RFC 9568 §5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vrid(pub NonZeroU8);

/// Priority of a virtual router, 1 to 255; 255 owns the addresses (RFC 9568 §5.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(pub NonZeroU8);

impl Priority {
    /// 100, for who says nothing.
    pub const DEFAULT: Self = Self(match NonZeroU8::new(100) {
        Some(value) => value,
        None => NonZeroU8::MIN,
    });
    /// 255: owns the addresses.
    pub const OWNER: Self = Self(NonZeroU8::MAX);
}

config_type! {
/// A `vrrp_instance` block.
pub struct VrrpInstance {
    /// The name after `vrrp_instance`.
    pub name: Spanned<String>,
    /// `state`; without it `Master` for priority 255, else `Backup`.
    pub state: InitialState,
    /// `interface`; absent only for a unicast instance with a source address.
    pub interface: Option<Spanned<String>>,
    /// `virtual_router_id`.
    pub virtual_router_id: Spanned<Vrid>,
    /// Family of the adverts: that of the first virtual address, of the unicast peers, or `native_ipv6`.
    pub family: Family,
    /// `priority`; default 100, or 255 for `state MASTER` without a priority.
    pub priority: Priority,
    /// `advert_int`: 10 ms to 255 s; whole seconds for VRRPv2, at most 40.95 s in steps of 10 ms for VRRPv3.
    pub advertisement_interval: Duration,
    /// `version`, else 3 for IPv6, else `vrrp_version`.
    pub version: VrrpVersion,
    /// `authentication`; only ever set for VRRPv2 over IPv4.
    pub authentication: Option<Authentication>,
    /// `virtual_ipaddress`: in adverts, in this order.
    pub virtual_addresses: Vec<VirtualAddress>,
    /// `virtual_ipaddress_excluded`, and what does not fit into an advert.
    pub excluded_addresses: Vec<VirtualAddress>,
    /// Preempt_Mode; `nopreempt` clears it.
    pub preempt: bool,
    /// `preempt_delay`: 0 to 1000 s.
    pub preempt_delay: Duration,
    /// `accept`: packets to the addresses are accepted though they are not this router's own (RFC 9568 Accept_Mode).
    pub accept: bool,
    /// The `garp_*` settings.
    pub garp: Garp,
    /// `skip_check_adv_addr`: the addresses in an advert of the known master are not compared.
    pub skip_check_adv_addr: bool,
    /// `lower_prio_no_advert`: an advert of lower priority is not answered.
    pub lower_prio_no_advert: bool,
    /// `higher_prio_send_advert`: one more advert before giving way.
    pub higher_prio_send_advert: bool,
    /// `down_timer_adverts`: adverts that may be missed, 1 to 100; default 3.
    pub down_timer_adverts: u8,
    /// `mcast_src_ip` or `unicast_src_ip`.
    pub source_address: Option<Spanned<IpAddr>>,
    /// `unicast_peer`: where adverts go; empty = multicast.
    pub unicast_peers: Vec<Spanned<IpAddr>>,
    /// Unless `dont_track_primary`: FAULT while `interface` is down.
    pub track_primary: bool,
    /// `track_interface` entries without a weight: FAULT while one of them is down.
    pub track_interfaces: Vec<Spanned<String>>,
    /// The `notify*` scripts.
    pub notify: Notify,
    /// `smtp_alert`.
    pub smtp_alert: Option<bool>,
}}

config_type! {
/// How adverts are authenticated.
#[derive(Copy)]
pub enum Authentication {
    /// `auth_type PASS`: simple text password (RFC 2338 §5.3.6).
    Pass(AuthPass),
}}

/// The eight bytes of a simple text password, padded with zero. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AuthPass(pub [u8; 8]);

impl fmt::Debug for AuthPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthPass(…)")
    }
}

config_type! {
/// One line of `virtual_ipaddress`.
pub struct VirtualAddress {
    /// The address.
    pub address: Spanned<IpAddr>,
    /// Length of the network prefix: 0 to 32, or 0 to 128; all bits where absent.
    pub prefix_len: u8,
    /// `dev`; the instance's interface where absent.
    pub dev: Option<Spanned<String>>,
    /// `brd` or `broadcast`; IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// `scope`: the kernel's RT_SCOPE number; 0 = global.
    pub scope: u8,
    /// `label`; IPv4 only, up to 15 bytes.
    pub label: Option<String>,
}}

config_type! {
/// Gratuitous ARP and unsolicited neighbour advertisements of one instance.
#[derive(Copy)]
pub struct Garp {
    /// `garp_master_delay`: from the first block to the second; zero = no second block. Default 5 s.
    pub delay: Duration,
    /// `garp_master_repeat`: sends per address and block. Default 5.
    pub repeat: u32,
    /// `garp_master_refresh`: period while master; zero = none. Default 0.
    pub refresh: Duration,
    /// `garp_master_refresh_repeat`: sends per address and refresh. Default 1.
    pub refresh_repeat: u32,
    /// `garp_lower_prio_delay`: as `delay`, after an advert of lower priority.
    pub lower_prio_delay: Duration,
    /// `garp_lower_prio_repeat`: as `repeat`, after an advert of lower priority; 0 = none.
    pub lower_prio_repeat: u32,
}}

impl Default for Garp {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            repeat: 5,
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            lower_prio_delay: Duration::from_secs(5),
            lower_prio_repeat: 5,
        }
    }
}

config_type! {
/// The scripts of an instance.
#[derive(Default)]
pub struct Notify {
    /// `notify_master`.
    pub master: Option<Spanned<Script>>,
    /// `notify_backup`.
    pub backup: Option<Spanned<Script>>,
    /// `notify_fault`.
    pub fault: Option<Spanned<Script>>,
    /// `notify_stop`.
    pub stop: Option<Spanned<Script>>,
    /// `notify`: run at each change, with four more parameters.
    pub any: Option<Spanned<Script>>,
}}

config_type! {
/// A `virtual_server` block.
pub struct VirtualServer {
    /// What identifies the service.
    pub service: Spanned<ServiceKey>,
    /// `lb_algo` or `lvs_sched`; default `wlc`.
    pub scheduler: Scheduler,
    /// `flag-1` to `flag-3`, under their own or a scheduler's names.
    pub scheduler_flags: SchedulerFlags,
    /// `ops`: each datagram is scheduled on its own.
    pub one_packet: bool,
    /// `persistence_timeout` and `persistence_granularity`.
    pub persistence: Option<Persistence>,
    /// `quorum`: least sum of weights of live servers; default 1.
    pub quorum: u32,
    /// `hysteresis`: less than `quorum`; default 0.
    pub hysteresis: u32,
    /// `quorum_up`.
    pub quorum_up: Option<Spanned<Script>>,
    /// `quorum_down`.
    pub quorum_down: Option<Spanned<Script>>,
    /// `alpha`: servers start as down.
    pub alpha: bool,
    /// `omega`: a stop runs the scripts for going down.
    pub omega: bool,
    /// `sorry_server`.
    pub sorry_server: Option<SorryServer>,
    /// `virtualhost`.
    pub virtualhost: Option<String>,
    /// The `real_server` blocks, in the order of the file; never empty.
    pub real_servers: Vec<RealServer>,
    /// `smtp_alert`.
    pub smtp_alert: Option<bool>,
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

config_type! {
/// A `real_server` block.
pub struct RealServer {
    /// Its address.
    pub address: Spanned<IpAddr>,
    /// Its port; that of the service where not given.
    pub port: u16,
    /// `weight`; default 1.
    pub weight: u32,
    /// `lvs_method`, else that of the virtual server.
    pub forwarding: ForwardingMethod,
    /// `uthreshold`: connections above which it gets no more; 0 = none.
    pub upper_threshold: u32,
    /// `lthreshold`: connections below which it gets some again; 0 = none.
    pub lower_threshold: u32,
    /// `inhibit_on_failure`: weight 0 instead of removal.
    pub inhibit_on_failure: bool,
    /// `alpha`: starts as down.
    pub alpha: bool,
    /// `notify_up`.
    pub notify_up: Option<Spanned<Script>>,
    /// `notify_down`.
    pub notify_down: Option<Spanned<Script>>,
    /// `virtualhost`, else that of the virtual server.
    pub virtualhost: Option<String>,
    /// `smtp_alert`.
    pub smtp_alert: Option<bool>,
    /// The checkers; none = always up.
    pub checkers: Vec<Checker>,
}}

config_type! {
/// One checker of a real server.
pub struct Checker {
    /// What it does.
    pub kind: CheckerKind,
    /// Whom it asks.
    pub target: CheckTarget,
    /// When.
    pub timing: CheckTiming,
    /// Starts as failed.
    pub alpha: bool,
    /// `log_all_failures`: each failed try is logged.
    pub log_all_failures: bool,
    /// Where it is written.
    pub place: Spanned<()>,
}}

config_type! {
/// What a checker does.
pub enum CheckerKind {
    /// `TCP_CHECK`: a connection can be made.
    Tcp,
    /// `HTTP_GET`: pages are as expected.
    Http(HttpGet),
    /// A checker that this release cannot run. Its server counts as down: never as unchecked.
    Unsupported {
        /// The keyword, `MISC_CHECK` for example.
        keyword: String,
    },
}}

config_type! {
/// Where a checker connects to, and from where.
#[derive(Default)]
pub struct CheckTarget {
    /// `connect_ip`; the real server's where absent.
    pub address: Option<IpAddr>,
    /// `connect_port`; the real server's where absent.
    pub port: Option<u16>,
    /// `bindto`.
    pub bind_address: Option<IpAddr>,
    /// `bind_port`.
    pub bind_port: Option<u16>,
    /// `bind_if`.
    pub bind_interface: Option<Spanned<String>>,
    /// `fwmark` of the packets; 0 = none.
    pub fwmark: u32,
    /// `connect_timeout`; default 5 s.
    pub connect_timeout: Duration,
}}

config_type! {
/// When a checker runs.
#[derive(Copy)]
pub struct CheckTiming {
    /// `delay_loop`: between checks; default 60 s.
    pub delay_loop: Duration,
    /// `warmup`: the first check comes after a random part of this; default `delay_loop`.
    pub warmup: Duration,
    /// `retry`: further tries before a live server counts as down; default 1.
    pub retry: u32,
    /// `delay_before_retry`: between tries; default 1 s, `HTTP_GET` 3 s.
    pub delay_before_retry: Duration,
}}

config_type! {
/// An `HTTP_GET` block.
pub struct HttpGet {
    /// `http_protocol`; default 1.0.
    pub version: HttpVersion,
    /// `virtualhost` of the checker.
    pub virtualhost: Option<String>,
    /// The `url` blocks, in order; never empty.
    pub urls: Vec<Url>,
}}

config_type! {
/// `http_protocol`.
#[derive(Copy)]
pub enum HttpVersion {
    /// `1.0`.
    Http10,
    /// `1.0C`: 1.0 with `Connection: close`.
    Http10Close,
    /// `1.1`.
    Http11,
}}

config_type! {
/// A `url` block.
pub struct Url {
    /// `path`.
    pub path: String,
    /// `status_code`: accepted ranges, both ends included, 100 to 599; default 200 to 299.
    pub status_codes: Vec<(u16, u16)>,
    /// `digest`: MD5 of the body.
    pub digest: Option<[u8; 16]>,
    /// `virtualhost`.
    pub virtualhost: Option<String>,
}}

impl Default for Url {
    fn default() -> Self {
        Self { path: "/".to_owned(), status_codes: vec![(200, 299)], digest: None, virtualhost: None }
    }
}

impl Config {
    /// Every interface that is named, with the place and what keepalived says where it does not exist.
    pub fn interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        self.vrrp_instances.iter().flat_map(VrrpInstance::interfaces)
    }
}

impl Config {
    /// Every script that may be run.
    pub fn scripts(&self) -> impl Iterator<Item = &Spanned<Script>> {
        let instances = self.vrrp_instances.iter().map(|instance| &instance.notify);
        let notify =
            instances.flat_map(|notify| [&notify.master, &notify.backup, &notify.fault, &notify.stop, &notify.any]);
        let quorum = self.virtual_servers.iter().flat_map(|server| [&server.quorum_up, &server.quorum_down]);
        let servers = self.virtual_servers.iter().flat_map(|server| &server.real_servers);
        let changes = servers.flat_map(|server| [&server.notify_up, &server.notify_down]);
        notify.chain(quorum).chain(changes).flatten()
    }
}

fn missing(interface: &str, user: &str) -> String {
    format!("WARNING - interface {interface} for {user} doesn't exist")
}

impl VrrpInstance {
    fn interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let own = self
            .interface
            .iter()
            .map(|name| (name.value.as_str(), name.span, missing(name, &format!("vrrp_instance {}", *self.name))));
        let tracked = self.track_interfaces.iter().map(|name| {
            (name.value.as_str(), name.span, format!("({}) tracked interface {} doesn't exist", *self.name, **name))
        });
        let devices = self.virtual_addresses.iter().chain(&self.excluded_addresses).filter_map(|address| {
            let dev = address.dev.as_ref()?;
            let user = format!("ip address {}/{}", *address.address, address.prefix_len);
            Some((dev.value.as_str(), dev.span, missing(dev, &user)))
        });
        own.chain(tracked).chain(devices)
    }
}
