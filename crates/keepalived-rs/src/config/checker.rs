//! The checker worker's part of a configuration, and what its words mean to the libraries.

mod group;
mod lines;
mod marking;
pub(crate) mod table;
mod tls;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use conf_parser::config::{
    self, Checker, CheckerKind, Config, DnsCheck, DnsType, FileCheck, HttpGet, HttpVersion, IpvsNamespace, MiscCheck,
    RealServer, Script, ServiceKey, SmtpCheck, SorryServer, UdpCheck, VirtualServer,
};
use conf_parser::{Sources, Span};
use health_checkers::probe::dns::message::{Name, RecordType};
use health_checkers::probe::tls::{Client, Name as ServerName};
use health_checkers::probe::{Connect, Probe, dns, file, http, misc, ping, smtp, ssl, tcp, udp};
use health_checkers::schedule;
use ipvs_control::types::{
    Family, Granularity, NameError, Persistence, PersistenceEngine, Protocol, Seconds, ServiceFlags, Tunnel,
    TunnelChecksum,
};
use ipvs_control::{ForwardingMethod, Scheduler, Service, ServiceAddress, Weight, virtual_server};
use serde::{Deserialize, Serialize};

pub(crate) use self::group::Groups;
pub(crate) use self::lines::Lines;
pub(crate) use self::marking::{MarkingPart, Marks};
use self::table::TablePart;
pub(crate) use self::tls::{Shown, TlsPart};
use crate::config::process::ProcessPart;

/// Everything the checker worker is told by a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CheckerPart {
    /// The virtual servers, in the order of the file.
    pub(crate) virtual_servers: Vec<VirtualServer>,
    /// What the groups that they name stand for.
    pub(crate) groups: Groups,
    /// How the packets to their addresses are marked, if they are.
    pub(crate) marking: Option<MarkingPart>,
    /// Real servers that come up at the start are told of (`rs_init_notifies`).
    pub(crate) initial_notifications: bool,
    /// What holds for all of them.
    pub(crate) table: TablePart,
    /// What they show to TLS servers; `None` where nothing is checked over TLS. The reader adds it.
    pub(crate) tls: Option<TlsPart>,
    /// `net_namespace_ipvs`: where IPVS is; the daemon's own namespace if absent.
    pub(crate) namespace: Option<IpvsNamespace>,
    /// Where that was written.
    pub(crate) namespace_span: Option<Span>,
    /// Where all this was written.
    pub(crate) lines: Lines,
    /// How the process is named and scheduled.
    pub(crate) process: ProcessPart,
}

impl CheckerPart {
    /// What `config` says about virtual servers, which it has no more afterwards: there may be thousands. Their scripts
    /// are the runner's affair.
    pub(crate) fn take_from(config: &mut Config) -> Self {
        let part = Self::from_config(config);
        Self { virtual_servers: std::mem::take(&mut config.virtual_servers), ..part }
    }

    /// All but the virtual servers themselves.
    fn from_config(config: &Config) -> Self {
        let process = ProcessPart::checker(&config.global);
        let groups = Groups::from_config(config);
        Self {
            virtual_servers: Vec::new(),
            marking: MarkingPart::from_config(config, &groups),
            groups,
            initial_notifications: config.global.lvs.init_notifies,
            table: TablePart::from_config(config),
            tls: None,
            namespace: config.top.net_namespace_ipvs.clone(),
            namespace_span: config.places.of("", "net_namespace_ipvs"),
            lines: Lines::default(),
            process,
        }
    }

    /// With the places of what it says.
    pub(crate) fn located(self, sources: &Sources) -> Self {
        Self { lines: Lines::of(sources), ..self }
    }

    /// Who asks over TLS, if anybody does.
    ///
    /// # Errors
    /// When what it is to show is of no use.
    pub(crate) fn tls_client(&self) -> Result<Option<Client>, Inexpressible> {
        let client = self.tls.as_ref().map(TlsPart::client).transpose();
        client.map_err(|error| Inexpressible { name: "SSL".to_owned(), reason: error.to_string() })
    }

    /// Whether there is anything to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.virtual_servers.is_empty() || self.table.sync_daemon.is_some()
    }

    /// The virtual server as `ipvs-control` keeps it, each checker with the verdict it begins with.
    ///
    /// # Errors
    /// When the kernel has no way to express it.
    pub(crate) fn virtual_server(&self, server: &VirtualServer) -> Result<virtual_server::Config, Inexpressible> {
        Self::config_of(server, &self.groups, self.marking.as_ref(), self.initial_notifications)
    }

    /// [`virtual_server`](Self::virtual_server) of a part with these.
    pub(crate) fn config_of(
        server: &VirtualServer,
        groups: &Groups,
        marking: Option<&MarkingPart>,
        initial_notifications: bool,
    ) -> Result<virtual_server::Config, Inexpressible> {
        let marks = marking.and_then(|marking| marking.services(&server.service, groups));
        let marked = marks.as_ref().map(|_| marking::ranges(&server.service, groups)).unwrap_or_default();
        let addresses = marks.map_or_else(|| groups.services(&server.service), Ok)?;
        let services = addresses.into_iter().map(|address| service(server, address)).collect::<Result<_, _>>()?;
        let name = service_name(&server.service).into();
        Ok(virtual_server::Config {
            name,
            services,
            marked,
            real_servers: server.real_servers.iter().map(|real| real_server(server, real)).collect(),
            sorry_server: server.sorry_server.as_ref().map(|sorry| sorry_server(server, sorry)),
            quorum: server.quorum,
            hysteresis: server.hysteresis,
            ha_suspend: server.ha_suspend,
            omega: server.omega,
            initial_notifications,
        })
    }
}

/// What the kernel has no way to express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub(crate) struct Inexpressible {
    name: String,
    reason: String,
}

impl From<NameError> for Inexpressible {
    fn from(error: NameError) -> Self {
        Self { name: "lvs_sync_daemon".to_owned(), reason: error.to_string() }
    }
}

/// As log lines and events name a virtual server: the text of `key`, of an address without the detour by `core::fmt`.
pub(crate) fn service_name(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Address { address, port, protocol } => {
            virtual_server::name_of(address, Some(self::protocol(protocol)), port)
        }
        ServiceKey::Fwmark { .. } | ServiceKey::Group { .. } => key.to_string(),
    }
}

fn protocol(protocol: config::Protocol) -> Protocol {
    match protocol {
        config::Protocol::Tcp => Protocol::Tcp,
        config::Protocol::Udp => Protocol::Udp,
        config::Protocol::Sctp => Protocol::Sctp,
    }
}

/// As log lines and events name a real server: `[10.0.0.1]:tcp:80`.
pub(crate) fn real_server_name(server: &VirtualServer, real: &RealServer) -> String {
    server_name(server, SocketAddr::new(real.address.value, real.port), forwarding(real.forwarding)).to_string()
}

/// Of a group, whose services differ, its own port counts.
fn server_name(server: &VirtualServer, address: SocketAddr, method: ForwardingMethod) -> Arc<str> {
    match (&server.service.value, service_address(&server.service)) {
        (ServiceKey::Group { protocol, .. }, _) => {
            let protocol = protocol.map_or_else(|| "none".to_owned(), |protocol| protocol.to_string());
            format!("[{}]:{protocol}:{}", address.ip(), address.port()).into()
        }
        (_, Ok(service)) => {
            virtual_server::RealServer::new(&Service::new(service, Scheduler::WLC), address, method).name
        }
        (_, Err(_)) => address.to_string().into(),
    }
}

/// What tells a service apart, in the kernel's terms.
///
/// # Errors
/// For firewall mark 0, which no packet has, and for groups.
fn service_address(key: &ServiceKey) -> Result<ServiceAddress, Inexpressible> {
    match *key {
        ServiceKey::Address { address, port, protocol } => {
            let socket = SocketAddr::new(address, port);
            Ok(match protocol {
                config::Protocol::Tcp => ServiceAddress::tcp(socket),
                config::Protocol::Udp => ServiceAddress::udp(socket),
                config::Protocol::Sctp => ServiceAddress::sctp(socket),
            })
        }
        ServiceKey::Fwmark { mark, family } => {
            let reason = "a firewall mark must be at least 1".to_owned();
            let mark = NonZeroU32::new(mark).ok_or(Inexpressible { name: key.to_string(), reason })?;
            Ok(ServiceAddress::fwmark(mark, self::family(family)))
        }
        ServiceKey::Group { .. } => {
            let reason = "a group is no service but has some".to_owned();
            Err(Inexpressible { name: key.to_string(), reason })
        }
    }
}

fn family(family: config::Family) -> Family {
    match family {
        config::Family::Ipv4 => Family::Inet,
        config::Family::Ipv6 => Family::Inet6,
    }
}

/// One service of a virtual server.
fn service(server: &VirtualServer, address: ServiceAddress) -> Result<Service, Inexpressible> {
    let scheduler = Scheduler::new(server.scheduler.as_str())
        .map_err(|error| Inexpressible { name: server.service.to_string(), reason: error.to_string() })?;
    let mut service = Service::new(address, scheduler);
    let flags = server.scheduler_flags;
    for (set, flag) in [
        (server.one_packet, ServiceFlags::ONE_PACKET),
        (flags.flag_1, ServiceFlags::SCHEDULER_1),
        (flags.flag_2, ServiceFlags::SCHEDULER_2),
        (flags.flag_3, ServiceFlags::SCHEDULER_3),
    ] {
        service.flags.set(flag, set);
    }
    service.persistence = server.persistence.map(|persistence| Persistence {
        timeout: Seconds(u32::try_from(persistence.timeout.as_secs()).unwrap_or(u32::MAX)),
        granularity: granularity(persistence.granularity, address.family()),
    });
    // Without persistence there is nothing that an engine could find, and keepalived does not set it.
    let engine = server.persistence_engine.as_deref().filter(|_| service.persistence.is_some());
    service.persistence_engine = engine.and_then(persistence_engine);
    Ok(service)
}

/// Whole addresses where it was written for the other family.
fn granularity(granularity: config::Granularity, family: Family) -> Granularity {
    match (granularity, family) {
        (config::Granularity::Netmask(mask), Family::Inet) => Granularity::Netmask(mask),
        (config::Granularity::Prefix(bits), Family::Inet6) => Granularity::Prefix(bits),
        _ => Granularity::host(family),
    }
}

/// The kernel's names have 15 octets, the file's up to 16: it is told the beginning of a longer one, and says what it
/// lacks.
fn persistence_engine(name: &str) -> Option<PersistenceEngine> {
    let end = name.floor_char_boundary(15);
    name.get(..end).and_then(|name| PersistenceEngine::new(name).ok())
}

fn real_server(server: &VirtualServer, real: &RealServer) -> virtual_server::RealServer {
    let address = SocketAddr::new(real.address.value, real.port);
    let first = |checker: &Checker| match runnable(&checker.kind) {
        // Never taken for unchecked.
        Err(_) => virtual_server::Checker::DOWN,
        Ok(_) if starts_down(server, real, checker) => virtual_server::Checker::DOWN,
        Ok(_) => virtual_server::Checker::UP,
    };
    virtual_server::RealServer {
        name: server_name(server, address, forwarding(real.forwarding)),
        address: address.ip(),
        port: Some(address.port()),
        forwarding: forwarding(real.forwarding),
        weight: Weight::saturating_from(real.weight.into()),
        upper_threshold: real.upper_threshold,
        lower_threshold: real.lower_threshold,
        inhibit_on_failure: real.inhibit_on_failure,
        checkers: real.checkers.iter().map(first).collect(),
    }
}

/// All checks, in the order of the file.
pub(crate) fn all(config: &Config) -> impl Iterator<Item = &Checker> {
    let real_servers = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    real_servers.flat_map(|real| &real.checkers)
}

/// Whether a server is down until this checker says otherwise.
pub(crate) fn starts_down(server: &VirtualServer, real: &RealServer, checker: &Checker) -> bool {
    // Of a file it is known at once what it says.
    let waits = !matches!(checker.kind, CheckerKind::File(_));
    waits && (server.alpha || real.alpha || checker.alpha)
}

fn sorry_server(server: &VirtualServer, sorry: &SorryServer) -> virtual_server::SorryServer {
    let address = SocketAddr::new(sorry.address.value, sorry.port);
    let forwarding = forwarding(sorry.forwarding);
    virtual_server::SorryServer {
        name: server_name(server, address, forwarding),
        address: address.ip(),
        port: Some(address.port()),
        forwarding,
        inhibit: sorry.inhibit,
    }
}

fn forwarding(method: config::ForwardingMethod) -> ForwardingMethod {
    match method {
        config::ForwardingMethod::Masquerade => ForwardingMethod::Masquerade,
        config::ForwardingMethod::DirectRoute => ForwardingMethod::DirectRoute,
        config::ForwardingMethod::Tunnel(kind) => ForwardingMethod::Tunnel(tunnel(kind)),
    }
}

fn tunnel(tunnel: config::Tunnel) -> Tunnel {
    match tunnel {
        config::Tunnel::Ipip => Tunnel::Ipip,
        config::Tunnel::Gue { port, checksum } => Tunnel::Gue {
            port,
            checksum: match checksum {
                config::TunnelChecksum::None => TunnelChecksum::None,
                config::TunnelChecksum::Checksum => TunnelChecksum::Checksum,
                config::TunnelChecksum::Remote => TunnelChecksum::Remote,
            },
        },
        config::Tunnel::Gre { checksum } => {
            Tunnel::Gre { checksum: if checksum { TunnelChecksum::Checksum } else { TunnelChecksum::None } }
        }
    }
}

/// When a checker runs; `seed` is for the random part of its first wait.
pub(crate) fn timing(server: &VirtualServer, real: &RealServer, checker: &Checker, seed: u64) -> schedule::Config {
    schedule::Config {
        delay_loop: checker.timing.delay_loop,
        retry: checker.timing.retry,
        delay_before_retry: checker.timing.delay_before_retry,
        warmup: Some(checker.timing.warmup),
        alpha: starts_down(server, real, checker),
        fast_recovery: matches!(&checker.kind, CheckerKind::Http(get) | CheckerKind::Ssl(get) if get.fast_recovery),
        seed,
    }
}

/// A checker that there is a probe for.
#[derive(Debug, Clone, Copy)]
enum Runnable<'a> {
    Tcp,
    Http(&'a HttpGet),
    Ssl(&'a HttpGet),
    Misc(&'a MiscCheck),
    /// It is told what the file holds.
    File,
    Ping,
    Dns(&'a DnsCheck),
    Smtp(&'a SmtpCheck),
    Udp(&'a UdpCheck),
}

/// What there is to run for a checker of this kind.
///
/// # Errors
/// Why there is nothing; its server then counts as down.
fn runnable(kind: &CheckerKind) -> Result<Runnable<'_>, String> {
    match kind {
        CheckerKind::Tcp => Ok(Runnable::Tcp),
        CheckerKind::Http(get) if !searches(get) => Ok(Runnable::Http(get)),
        CheckerKind::Ssl(get) if !searches(get) => Ok(Runnable::Ssl(get)),
        CheckerKind::Misc(check) => Ok(Runnable::Misc(check)),
        CheckerKind::File(_) => Ok(Runnable::File),
        CheckerKind::Ping => Ok(Runnable::Ping),
        CheckerKind::Udp(check) => Ok(Runnable::Udp(check)),
        CheckerKind::Smtp(check) => helo_name(check).map(|_| Runnable::Smtp(check)),
        CheckerKind::Dns(check) => name(check).map(|_| Runnable::Dns(check)),
        CheckerKind::Http(_) | CheckerKind::Ssl(_) => {
            Err(format!("this release cannot run {} with regex", kind.checker_type()))
        }
        CheckerKind::Unusable(kind) => Err(format!("its {kind} is incomplete")),
        kind => Err(format!("this release cannot run {}", kind.checker_type())),
    }
}

fn searches(get: &HttpGet) -> bool {
    get.urls.iter().any(|url| url.regex.is_some())
}

/// What messages call the [`probe`] of a checker.
///
/// # Errors
/// Why there is none.
pub(crate) fn kind(server: &VirtualServer, real: &RealServer, checker: &Checker) -> Result<&'static str, String> {
    match runnable(&checker.kind)? {
        Runnable::Tcp => Ok(tcp::Tcp::KIND),
        Runnable::Http(get) => check_texts(real, get).map(|()| http::HttpGet::KIND),
        Runnable::Ssl(get) => {
            check_texts(real, get)?;
            sessions(server, get).map(|_| ssl::SslGet::KIND)
        }
        Runnable::Misc(_) => Ok(misc::KIND),
        Runnable::File => Ok(file::KIND),
        Runnable::Ping => Ok(ping::Ping::KIND),
        Runnable::Udp(_) => Ok(udp::Udp::KIND),
        Runnable::Dns(_) => Ok(dns::Dns::KIND),
        Runnable::Smtp(_) => Ok(smtp::Smtp::KIND),
    }
}

/// What a checker does, if it tries anything; `client` speaks TLS, `program` makes one of a script and its time.
///
/// # Errors
/// Why it cannot be done.
pub(crate) fn probe<P: misc::Program + 'static>(
    (server, real, checker): (&VirtualServer, &RealServer, &Checker),
    client: Option<&Client>,
    program: impl FnOnce(Script, Duration) -> P,
) -> Result<Option<Box<dyn Probe>>, String> {
    let probe: Box<dyn Probe> = match runnable(&checker.kind)? {
        Runnable::Tcp => Box::new(tcp::Tcp::new(connect(real, &checker.target))),
        Runnable::Http(get) => {
            let config = http_config(real, connect(real, &checker.target), get);
            Box::new(http::HttpGet::new(config).map_err(|error| error.to_string())?)
        }
        Runnable::Ssl(get) => {
            let client = client.ok_or("there is no TLS for it")?.clone();
            let http = http_config(real, connect(real, &checker.target), get);
            let config = ssl::Config { http, client, sessions: sessions(server, get)? };
            Box::new(ssl::SslGet::new(config).map_err(|error| error.to_string())?)
        }
        Runnable::Misc(check) => {
            let program = program(check.script.value.clone(), misc_timeout(checker, check));
            Box::new(misc::Misc::new(program).dynamic(check.dynamic))
        }
        Runnable::Dns(check) => Box::new(dns::Dns::new(dns_config(connect(real, &checker.target), check)?)),
        Runnable::Smtp(check) => Box::new(smtp::Smtp::new(smtp_config(connect(real, &checker.target), check)?)),
        Runnable::Ping => Box::new(ping::Ping::new(connect(real, &checker.target))),
        Runnable::Udp(check) => Box::new(udp::Udp::new(udp_config(connect(real, &checker.target), check))),
        Runnable::File => return Ok(None),
    };
    Ok(Some(probe))
}

/// The `track_file` that a checker follows, and what the number in that does to its server; `None` for other kinds.
pub(crate) fn followed(checker: &Checker) -> Option<(&str, file::File)> {
    let CheckerKind::File(check) = &checker.kind else { return None };
    let FileCheck { track_file, weight } = &**check;
    Some((track_file, file::File { weight: weight.multiplier, reverse: weight.reverse }))
}

/// How long the program of a check may take.
fn misc_timeout(checker: &Checker, check: &MiscCheck) -> Duration {
    check.timeout.unwrap_or(checker.timing.delay_loop)
}

/// Whether a request can be made of what is sent, without making one.
fn check_texts(real: &RealServer, get: &HttpGet) -> Result<(), String> {
    let of_urls = get.urls.iter().flat_map(|url| [Some(url.path.value.as_str()), url.virtualhost.as_deref()]);
    let mut texts = of_urls.chain([get.virtualhost.as_deref().or(real.virtualhost.as_deref())]).flatten();
    texts.try_for_each(|text| http::check_text(text).map_err(|error| error.to_string()))
}

/// The TLS session of each URL. The `virtualhost` of the real server names none, as with keepalived.
///
/// # Errors
/// When a name is none that can be sent.
fn sessions(server: &VirtualServer, get: &HttpGet) -> Result<Vec<ssl::Session>, String> {
    let default = get.virtualhost.as_ref().or(server.virtualhost.as_ref());
    let session = |url: &config::Url| {
        let name = get.sni_name.as_ref().or(url.virtualhost.as_ref()).or(default).filter(|_| get.enable_sni);
        let server_name = name.map(|name| ServerName::of_host(name)).transpose().map_err(|error| error.to_string())?;
        Ok(ssl::Session { server_name: server_name.flatten(), close_notify: url.tls_compliant })
    };
    get.urls.iter().map(session).collect()
}

fn http_config(real: &RealServer, connect: Connect, get: &HttpGet) -> http::Config {
    http::Config {
        protocol: match get.version {
            HttpVersion::Http10 => http::Protocol::Http10,
            HttpVersion::Http10Close => http::Protocol::Http10Close,
            HttpVersion::Http11 => http::Protocol::Http11,
        },
        virtualhost: get.virtualhost.clone().or_else(|| real.virtualhost.as_deref().map(str::to_owned)),
        ..http::Config::new(connect, get.urls.iter().map(url).collect())
    }
}

fn url(url: &config::Url) -> http::Url {
    http::Url {
        path: url.path.value.clone(),
        virtualhost: url.virtualhost.clone(),
        status_code: url.status_codes.iter().map(|&(first, last)| first..=last).collect(),
        digest: url.digest,
    }
}

fn dns_config(connect: Connect, check: &DnsCheck) -> Result<dns::Config, String> {
    let record = match check.record {
        DnsType::A => RecordType::A,
        DnsType::Ns => RecordType::NS,
        DnsType::Cname => RecordType::CNAME,
        DnsType::Soa => RecordType::SOA,
        DnsType::Mx => RecordType::MX,
        DnsType::Txt => RecordType::TXT,
        DnsType::Aaaa => RecordType::AAAA,
        DnsType::Rrsig => RecordType::RRSIG,
        DnsType::Dnskey => RecordType::DNSKEY,
    };
    Ok(dns::Config { connect, record, name: name(check)? })
}

fn name(check: &DnsCheck) -> Result<Name, String> {
    Name::parse(&check.name).map_err(|error| error.to_string())
}

fn smtp_config(connect: Connect, check: &SmtpCheck) -> Result<smtp::Config, String> {
    Ok(smtp::Config { connect, helo_name: helo_name(check)? })
}

fn helo_name(check: &SmtpCheck) -> Result<smtp::HeloName, String> {
    smtp::HeloName::new(&check.helo_name).map_err(|error| error.to_string())
}

fn udp_config(connect: Connect, check: &UdpCheck) -> udp::Config {
    let default = udp::Config::new(connect);
    udp::Config {
        payload: check.payload.as_ref().map_or(default.payload, |payload| payload.0.clone()),
        require_reply: check.require_reply.as_ref().map(|pattern| udp::Reply {
            pattern: pattern.0.iter().map(|byte| udp::ReplyByte { value: byte.value, mask: byte.mask }).collect(),
            min_length: check.min_reply_length,
            max_length: check.max_reply_length,
        }),
        ..default
    }
}

/// Where a checker connects to.
pub(crate) fn target(real: &RealServer, target: &config::CheckTarget) -> SocketAddr {
    SocketAddr::new(target.socket().address.unwrap_or(real.address.value), target.port.unwrap_or(real.port))
}

fn connect(real: &RealServer, target: &config::CheckTarget) -> Connect {
    let socket = target.socket();
    Connect {
        bindto: socket.bind_address,
        bind_port: socket.bind_port,
        bind_if: socket.bind_interface.as_ref().map(|name| name.value.clone()),
        fwmark: socket.fwmark,
        connect_timeout: target.connect_timeout,
        ..Connect::to(self::target(real, target))
    }
}

#[cfg(test)]
pub(crate) mod tests;
