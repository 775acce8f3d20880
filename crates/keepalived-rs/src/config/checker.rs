//! The checker worker's part of a configuration, and what its words mean to the libraries.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use conf_parser::config::{
    self, Checker, CheckerKind, Config, HttpGet, HttpVersion, RealServer, ServiceKey, SorryServer, VirtualServer,
};
use health_checkers::probe::{Connect, Probe, http, tcp};
use health_checkers::schedule;
use ipvs_control::types::{Family, Granularity, Persistence, Seconds, ServiceFlags, Tunnel, TunnelChecksum};
use ipvs_control::{ForwardingMethod, Scheduler, Service, ServiceAddress, Weight, virtual_server};
use serde::{Deserialize, Serialize};

use crate::config::process::ProcessPart;

/// Everything the checker worker is told by a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CheckerPart {
    /// The virtual servers, in the order of the file.
    pub(crate) virtual_servers: Vec<VirtualServer>,
    /// How the process is named and scheduled.
    pub(crate) process: ProcessPart,
}

impl CheckerPart {
    /// What `config` says about virtual servers. Their scripts are the runner's affair.
    pub(crate) fn from_config(config: &Config) -> Self {
        let process = ProcessPart::checker(&config.global);
        Self { virtual_servers: virtual_servers(config).cloned().collect(), process }
    }
}

/// The virtual servers that are acted on: those of groups are left out.
pub(crate) fn virtual_servers(config: &Config) -> impl Iterator<Item = &VirtualServer> {
    config.virtual_servers.iter().filter(|server| !matches!(server.service.value, ServiceKey::Group { .. }))
}

/// What the kernel has no way to express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub(crate) struct Inexpressible {
    name: String,
    reason: String,
}

/// As log lines and events name a real server: `[10.0.0.1]:tcp:80`.
pub(crate) fn real_server_name(server: &VirtualServer, real: &RealServer) -> String {
    let address = SocketAddr::new(real.address.value, real.port);
    match service(server) {
        Ok(service) => virtual_server::RealServer::new(&service, address, forwarding(real.forwarding)).name.to_string(),
        Err(_) => address.to_string(),
    }
}

/// What tells a service apart, in the kernel's terms.
///
/// # Errors
/// For firewall mark 0, which no packet has, and for groups.
pub(crate) fn service_address(key: &ServiceKey) -> Result<ServiceAddress, Inexpressible> {
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
            let family = match family {
                config::Family::Ipv4 => Family::Inet,
                config::Family::Ipv6 => Family::Inet6,
            };
            Ok(ServiceAddress::fwmark(mark, family))
        }
        ServiceKey::Group { .. } => {
            let reason = "this release has no virtual server groups".to_owned();
            Err(Inexpressible { name: key.to_string(), reason })
        }
    }
}

/// The virtual server as `ipvs-control` keeps it, each checker with the verdict it begins with.
///
/// # Errors
/// When the kernel has no way to express it.
pub(crate) fn virtual_server(server: &VirtualServer) -> Result<virtual_server::Config, Inexpressible> {
    let service = service(server)?;
    let mut config = virtual_server::Config::new(service);
    config.real_servers = server.real_servers.iter().map(|real| real_server(server, &service, real)).collect();
    config.sorry_server = server.sorry_server.as_ref().map(|sorry| sorry_server(&service, sorry));
    config.quorum = server.quorum;
    config.hysteresis = server.hysteresis;
    config.omega = server.omega;
    Ok(config)
}

fn service(server: &VirtualServer) -> Result<Service, Inexpressible> {
    let address = service_address(&server.service)?;
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
        granularity: granularity(persistence.granularity),
    });
    Ok(service)
}

fn granularity(granularity: config::Granularity) -> Granularity {
    match granularity {
        config::Granularity::Netmask(mask) => Granularity::Netmask(mask),
        config::Granularity::Prefix(bits) => Granularity::Prefix(bits),
    }
}

fn real_server(server: &VirtualServer, service: &Service, real: &RealServer) -> virtual_server::RealServer {
    let address = SocketAddr::new(real.address.value, real.port);
    let first = |checker: &Checker| match runnable(&checker.kind) {
        // Never taken for unchecked.
        Err(_) => virtual_server::Checker::DOWN,
        Ok(_) if starts_down(server, real, checker) => virtual_server::Checker::DOWN,
        Ok(_) => virtual_server::Checker::UP,
    };
    virtual_server::RealServer {
        weight: Weight::saturating_from(real.weight.into()),
        upper_threshold: real.upper_threshold,
        lower_threshold: real.lower_threshold,
        inhibit_on_failure: real.inhibit_on_failure,
        checkers: real.checkers.iter().map(first).collect(),
        ..virtual_server::RealServer::new(service, address, forwarding(real.forwarding))
    }
}

fn starts_down(server: &VirtualServer, real: &RealServer, checker: &Checker) -> bool {
    server.alpha || real.alpha || checker.alpha
}

fn sorry_server(service: &Service, sorry: &SorryServer) -> virtual_server::SorryServer {
    let address = SocketAddr::new(sorry.address.value, sorry.port);
    virtual_server::SorryServer::new(service, address, forwarding(sorry.forwarding))
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
        seed,
        ..schedule::Config::default()
    }
}

/// A checker that there is a probe for.
#[derive(Debug, Clone, Copy)]
enum Runnable<'a> {
    Tcp,
    Http(&'a HttpGet),
}

/// What there is to run for a checker of this kind.
///
/// # Errors
/// Why there is nothing; its server then counts as down.
fn runnable(kind: &CheckerKind) -> Result<Runnable<'_>, String> {
    match kind {
        CheckerKind::Tcp => Ok(Runnable::Tcp),
        CheckerKind::Http(get) if get.urls.iter().all(|url| url.regex.is_none()) => Ok(Runnable::Http(get)),
        CheckerKind::Http(_) => Err("this release cannot run HTTP_GET with regex".to_owned()),
        CheckerKind::Unusable(kind) => Err(format!("its {kind} is incomplete")),
        kind => Err(format!("this release cannot run {}", kind.checker_type())),
    }
}

/// What a checker does.
///
/// # Errors
/// Why it cannot be done.
pub(crate) fn probe(real: &RealServer, checker: &Checker) -> Result<Box<dyn Probe>, String> {
    let connect = connect(real, &checker.target);
    match runnable(&checker.kind)? {
        Runnable::Tcp => Ok(Box::new(tcp::Tcp::new(connect))),
        Runnable::Http(get) => {
            let probe = http::HttpGet::new(http_config(real, connect, get)).map_err(|error| error.to_string())?;
            Ok(Box::new(probe))
        }
    }
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

fn connect(real: &RealServer, target: &config::CheckTarget) -> Connect {
    let socket = target.socket();
    let address = socket.address.unwrap_or(real.address.value);
    Connect {
        bindto: socket.bind_address,
        bind_port: socket.bind_port,
        bind_if: socket.bind_interface.as_ref().map(|name| name.value.clone()),
        fwmark: socket.fwmark,
        connect_timeout: target.connect_timeout,
        ..Connect::to(SocketAddr::new(address, target.port.unwrap_or(real.port)))
    }
}

#[cfg(test)]
pub(crate) mod tests;
