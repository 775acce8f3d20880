//! `virtual_server`.

mod checks;
pub(super) mod forwarding;
mod group;
mod persistence;
pub(super) mod real_server;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::global::Globals;
use super::value::{NotNumber, host, integer};
use super::{Context, Handler};
use crate::config::{
    CheckDefaults, Family, ForwardingMethod, Granularity, GroupEntry, Protocol, RealServer, Scheduler, SchedulerFlags,
    Script, ServiceKey, SorryServer, VirtualServer, VirtualServerGroup,
};
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::lexer::Word;
use crate::schema::nearest;
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;
use checks::Checked;
pub(super) use group::Groups;
use real_server::Outer;

/// Path of the block.
const PATH: &str = "virtual_server";

/// Longest name of a persistence engine.
const MAX_ENGINE: usize = 16;

/// The first line of the block.
#[derive(Debug, Clone)]
enum Head {
    Address(IpAddr, u16),
    Fwmark(u32),
    Group(Spanned<String>),
}

/// A virtual server as written.
#[derive(Debug)]
pub(super) struct Draft {
    head: Head,
    span: Span,
    family: Option<Family>,
    protocol: Option<Spanned<Protocol>>,
    scheduler: Option<Scheduler>,
    flags: SchedulerFlags,
    /// `sh-...` and `mh-...` flags, which count only for their scheduler.
    named_flags: Vec<Spanned<&'static NamedFlag>>,
    hashed: Option<Span>,
    ops: Option<Span>,
    forwarding: Option<ForwardingMethod>,
    default_forwarding: ForwardingMethod,
    persistence_engine: Option<String>,
    persistence_timeout: Option<Duration>,
    granularity: Option<Granularity>,
    ha_suspend: Option<Span>,
    checks: CheckDefaults,
    weight: u32,
    inhibit: bool,
    quorum: Spanned<u32>,
    hysteresis: Spanned<u32>,
    quorum_up: Option<Box<Spanned<Script>>>,
    quorum_down: Option<Box<Spanned<Script>>>,
    alpha: bool,
    omega: bool,
    drain_timeout: Option<Duration>,
    sorry: Option<SorryDraft>,
    virtualhost: Option<String>,
    snmp_name: Option<String>,
    smtp_alert: Option<bool>,
    real_servers: Vec<real_server::Draft>,
    places: Places,
}

super::placed!(Draft);

/// A sorry server as written.
#[derive(Debug)]
struct SorryDraft {
    address: Spanned<IpAddr>,
    port: Option<u16>,
    forwarding: Option<ForwardingMethod>,
    inhibit: bool,
}

/// Reads one block; nothing comes back when its first line cannot be used.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement) -> Option<Draft> {
    let head = head(context, statement)?;
    let servers = statement.body.iter().filter(|line| line.keyword.text == "real_server").count();
    let defaults = &context.carried.defaults.virtual_server;
    let mut draft = Draft {
        head,
        span: statement.span(),
        family: None,
        protocol: None,
        scheduler: None,
        flags: SchedulerFlags::default(),
        named_flags: Vec::new(),
        hashed: None,
        ops: None,
        forwarding: None,
        default_forwarding: defaults.lvs_method,
        persistence_engine: None,
        persistence_timeout: None,
        granularity: None,
        ha_suspend: None,
        checks: CheckDefaults::default(),
        weight: defaults.weight,
        inhibit: false,
        quorum: Spanned::new(defaults.quorum, statement.span()),
        hysteresis: Spanned::new(defaults.hysteresis, statement.span()),
        quorum_up: None,
        quorum_down: None,
        alpha: false,
        omega: false,
        drain_timeout: None,
        sorry: None,
        virtualhost: None,
        snmp_name: None,
        smtp_alert: None,
        real_servers: Vec::with_capacity(servers),
        places: Places::default(),
    };
    context.visit(&mut draft, &statement.body, &[VIRTUAL_SERVER]);
    draft.real_servers.shrink_to_fit();
    Some(draft)
}

fn head(context: &mut Context<'_>, statement: &Statement) -> Option<Head> {
    let (first, rest) = statement.arguments.split_first()?;
    match (first.text.as_str(), rest.first()) {
        ("group", Some(name)) => {
            context.known_option(PATH, "group", first.span);
            Some(Head::Group(Spanned::new(name.text.clone(), name.span)))
        }
        ("fwmark", Some(mark)) => fwmark(context, mark).map(Head::Fwmark),
        ("fwmark" | "group", None) => {
            let message = crate::preprocess::missing_parameter(&first.text);
            context.push(Diagnostic::error(Code::MissingParameter, Class::MissingParameter, first.span, message));
            None
        }
        (_, port) => {
            let message = || match port {
                Some(port) => format!("Invalid virtual server IP address/port {}/{} - skipping", first.text, port.text),
                None => format!("Invalid virtual server IP address {} - skipping", first.text),
            };
            let (address, port) = endpoint(context, first, port, message)?;
            Some(Head::Address(*address, port.unwrap_or(0)))
        }
    }
}

fn fwmark(context: &mut Context<'_>, word: &Word) -> Option<u32> {
    match integer(&word.text, &(0..=u32::MAX)) {
        Ok(0) => {
            let message = "virtual server fwmark '0' is no mark that a packet can have - ignoring";
            let finding = Diagnostic::error(Code::BadVirtualServer, Class::General, word.span, message);
            context.push(finding.help("marks start at 1"));
            None
        }
        Ok(mark) => Some(mark),
        Err(wrong) => {
            let message = format!("virtual server fwmark '{}' must be in [0, {}] - ignoring", word.text, u32::MAX);
            context.bad_number(word, wrong, message);
            None
        }
    }
}

/// `ADDR [PORT]`, where 0 stands for no port; one that cannot be used is reported as `message`.
fn endpoint(
    context: &mut Context<'_>,
    word: &Word,
    port_word: Option<&Word>,
    message: impl FnOnce() -> String,
) -> Option<(Spanned<IpAddr>, Option<u16>)> {
    let Some((address, rest)) = host(&word.text) else {
        let finding = Diagnostic::error(Code::BadAddress, Class::General, word.span, message());
        context.push(match word.text.parse::<std::net::SocketAddr>() {
            Ok(both) => finding.help("a blank stands between address and port").replacement(format!(
                "{} {}",
                both.ip(),
                both.port()
            )),
            Err(_) => finding,
        });
        return None;
    };
    if !rest.is_empty() {
        let note =
            Diagnostic::note(Code::BadAddress, word.span, format!("'{rest}' is not looked at: this is one address"));
        context.push(match rest.starts_with('-') {
            true => note.help("ranges stand in a virtual_server_group"),
            false => note.help("write the address alone").replacement(address.to_string()),
        });
    }
    let port = match port_word.map(|word| (word, port(&word.text))) {
        None => None,
        Some((_, Ok(port))) => Some(port).filter(|port| *port != 0),
        Some((word, Err(wrong))) => {
            context.bad_number(word, wrong, message());
            return None;
        }
    };
    Some((Spanned::new(address, word.span), port))
}

/// A port; 0 stands for none.
fn port(text: &str) -> Result<u16, NotNumber> {
    if text == "0" { Ok(0) } else { integer(text, &(1..=u16::MAX)) }
}

/// What a virtual server stands for.
#[derive(Debug)]
enum Service<'a> {
    Address { address: IpAddr, port: u16, protocol: Protocol },
    Fwmark { mark: u32, family: Family },
    Group { group: &'a VirtualServerGroup, number: u16, protocol: Option<Protocol>, family: Option<Family> },
}

impl fmt::Display for Service<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, port, protocol } => write!(f, "[{address}]:{protocol}:{port}"),
            Self::Fwmark { mark, .. } => write!(f, "FWM {mark}"),
            Self::Group { group, number, .. } => write!(f, "[{}]:{number}", *group.name),
        }
    }
}

impl Service<'_> {
    /// The port of its servers where they name none.
    fn port(&self) -> u16 {
        match self {
            Self::Address { port, .. } => *port,
            Self::Fwmark { .. } | Self::Group { .. } => 0,
        }
    }

    fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Address { protocol, .. } => Some(*protocol),
            Self::Fwmark { .. } => None,
            Self::Group { protocol, .. } => *protocol,
        }
    }

    fn protocol_name(&self) -> String {
        self.protocol().map_or_else(|| "none".to_owned(), |protocol| protocol.to_string())
    }

    /// Whose servers must be of it unless they are tunnelled.
    fn family(&self) -> Option<Family> {
        match self {
            Self::Address { address, .. } => Some(Family::of(*address)),
            Self::Fwmark { family, .. } => Some(*family),
            Self::Group { family, .. } => *family,
        }
    }

    /// Whether it takes every port of some address.
    fn takes_every_port(&self) -> bool {
        match self {
            Self::Address { port, .. } => *port == 0,
            Self::Fwmark { .. } => false,
            Self::Group { group, .. } => {
                group.entries.iter().any(|entry| matches!(entry.value, GroupEntry::Addresses { port: 0, .. }))
            }
        }
    }

    fn key(&self) -> ServiceKey {
        match *self {
            Self::Address { address, port, protocol } => ServiceKey::Address { address, port, protocol },
            Self::Fwmark { mark, family } => ServiceKey::Fwmark { mark, family },
            Self::Group { group, number, protocol, family } => {
                ServiceKey::Group { name: group.name.value.clone(), number, protocol, family }
            }
        }
    }
}

/// Applies defaults to every virtual server.
pub(super) fn finish(
    context: &mut Context<'_>,
    drafts: Vec<Draft>,
    groups: &Groups,
    globals: &Globals,
) -> Vec<VirtualServer> {
    let mut numbers: HashMap<String, u16> = HashMap::new();
    let mut seen: HashMap<ServiceKey, Span> = HashMap::new();
    // The list of the drafts is the memory of the list of the servers.
    let finished = drafts.into_iter().filter_map(|draft| {
        let number = match &draft.head {
            Head::Group(name) => {
                let next = numbers.entry(name.value.clone()).or_default();
                let number = *next;
                *next = next.saturating_add(1);
                number
            }
            Head::Address(..) | Head::Fwmark(_) => 0,
        };
        let server = draft.finish(context, number, groups, globals)?;
        let mut key = server.service.value.clone();
        if let ServiceKey::Group { number, .. } = &mut key {
            *number = 0;
        }
        if let Some(first) = seen.insert(key, server.service.span) {
            let message = format!("virtual server {} is the same service as another one", *server.service);
            let finding = Diagnostic::note(Code::DuplicateService, server.service.span, message);
            context.push(finding.related(first, "first given here").help("the kernel has one of each: join the two"));
        }
        Some(server)
    });
    finished.collect()
}

impl Draft {
    /// The family as far as it is settled.
    fn known_family(&self) -> Option<Family> {
        if let Head::Address(address, _) = self.head {
            return Some(Family::of(address));
        }
        let default = self.forwarding();
        let tunnelled = |method: Option<ForwardingMethod>| is_tunnel(method.unwrap_or(default));
        let real = self.real_servers.iter().find(|server| !tunnelled(server.forwarding)).map(|server| &server.address);
        let sorry = self.sorry.iter().find(|server| !tunnelled(server.forwarding)).map(|server| &server.address);
        self.family.or(real.or(sorry).map(|address| Family::of(**address)))
    }

    fn forwarding(&self) -> ForwardingMethod {
        self.forwarding.unwrap_or(self.default_forwarding)
    }

    /// Applies defaults; nothing comes back for a service that cannot be.
    fn finish(
        mut self,
        context: &mut Context<'_>,
        number: u16,
        groups: &Groups,
        globals: &Globals,
    ) -> Option<VirtualServer> {
        let service = self.service(context, number, groups)?;
        self.drop_other_families(context, &service);
        self.drop_duplicates(context, &service);
        if self.real_servers.is_empty() {
            let message = format!("Virtual server {service} has no real servers - ignoring");
            let finding = Diagnostic::error(Code::NoRealServer, Class::General, self.span, message);
            context.push(finding.help("add a 'real_server <ip> <port> { ... }'"));
            return None;
        }
        let scheduler = self.scheduler(context, &service);
        let forwarding = self.forwarding();
        let hashed = self.hashed(context, scheduler);
        let persistence = self.persistence(context, &service);
        let one_packet = self.one_packet(context, &service);
        let ha_suspend = self.ha_suspend(context, &service);
        let defaults = &context.carried.defaults.virtual_server;
        let alert = defaults.smtp_alert;
        let checks = CheckDefaults {
            delay_loop: self.checks.delay_loop.or(Some(defaults.delay_loop)),
            connect_timeout: self.checks.connect_timeout.or(Some(defaults.connect_timeout)),
            ..self.checks
        };
        let real_servers = self.finish_real_servers(context, &service, checks, globals);
        let (quorum, hysteresis) = self.quorum(context, &service, &real_servers);
        let sorry_server = self.sorry.take().map(|sorry| sorry.finish(context, &service, forwarding));
        let smtp = &globals.defs.smtp;
        self.places.inherit(PATH, "smtp_alert", smtp_alert_place(globals));
        Some(VirtualServer {
            service: Spanned::new(service.key(), self.span),
            scheduler,
            scheduler_flags: self.flags,
            hashed,
            one_packet,
            forwarding,
            persistence_engine: self.persistence_engine,
            persistence,
            ha_suspend,
            checks,
            weight: self.weight,
            inhibit_on_failure: self.inhibit,
            quorum,
            hysteresis,
            quorum_up: self.quorum_up,
            quorum_down: self.quorum_down,
            alpha: self.alpha,
            omega: self.omega,
            drain_timeout: self.drain_timeout,
            sorry_server,
            virtualhost: self.virtualhost,
            snmp_name: self.snmp_name,
            smtp_alert: self.smtp_alert.or(smtp.alert_checker).or(smtp.alert).unwrap_or(alert),
            real_servers,
            places: self.places,
        })
    }

    /// What it stands for; protocol and family are settled here.
    fn service<'a>(&self, context: &mut Context<'_>, number: u16, groups: &'a Groups) -> Option<Service<'a>> {
        let family = self.known_family();
        match &self.head {
            Head::Address(address, port) => {
                let protocol = self.needed_protocol(context, || format!("[{address}]:none:{port}"));
                Some(Service::Address { address: *address, port: *port, protocol })
            }
            Head::Fwmark(mark) => {
                self.needless_protocol(context, &format!("FWM {mark}"));
                Some(Service::Fwmark { mark: *mark, family: family.unwrap_or(Family::Ipv4) })
            }
            Head::Group(name) => {
                let shown = format!("[{}]:{number}", **name);
                let group = find_group(context, groups, name, &shown)?;
                if family.is_some_and(|family| !of_one_family(context, group, name.span, family, &shown)) {
                    return None;
                }
                let addresses = group.entries.iter().any(|entry| matches!(entry.value, GroupEntry::Addresses { .. }));
                if !addresses {
                    self.needless_protocol(context, &shown);
                }
                let protocol = addresses.then(|| self.needed_protocol(context, || shown));
                Some(Service::Group { group, number, protocol, family })
            }
        }
    }

    fn needed_protocol(&self, context: &mut Context<'_>, name: impl FnOnce() -> String) -> Protocol {
        match &self.protocol {
            Some(protocol) => protocol.value,
            None => {
                let message = format!("Virtual server {}: no protocol set - defaulting to UDP", name());
                let finding = Diagnostic::error(Code::LvsDefault, Class::General, self.span, message);
                context.push(finding.help("add 'protocol TCP', UDP or SCTP"));
                Protocol::Udp
            }
        }
    }

    fn needless_protocol(&self, context: &mut Context<'_>, name: &str) {
        if let Some(protocol) = &self.protocol {
            let message =
                format!("Warning: Virtual server {name}: protocol specified for fwmark - protocol will be ignored");
            context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, protocol.span, message));
        }
    }

    /// Only a tunnel leads from one address family to the other.
    fn drop_other_families(&mut self, context: &mut Context<'_>, service: &Service<'_>) {
        let Some(family) = service.family() else { return };
        let default = self.forwarding();
        let mut leads = |address: &Spanned<IpAddr>, method: Option<ForwardingMethod>, what: &str| {
            let leads = Family::of(**address) == family || is_tunnel(method.unwrap_or(default));
            if !leads {
                let message = format!(
                    "Address family of virtual server and {what} server {} don't match - skipping {what} server.",
                    **address
                );
                let finding = Diagnostic::error(Code::BadRealServer, Class::General, address.span, message)
                    .label(format!("the virtual server is {family}"));
                context.push(finding.help("only 'lvs_method TUN' leads from one address family to the other"));
            }
            leads
        };
        self.real_servers.retain(|server| leads(&server.address, server.forwarding, "real"));
        if self.sorry.as_ref().is_some_and(|sorry| !leads(&sorry.address, sorry.forwarding, "sorry")) {
            self.sorry = None;
        }
    }

    fn drop_duplicates(&mut self, context: &mut Context<'_>, service: &Service<'_>) {
        let mut seen: HashMap<(IpAddr, Option<u16>), Span> = HashMap::with_capacity(self.real_servers.len());
        self.real_servers.retain(|server| {
            let Some(first) = seen.insert((*server.address, server.port), server.address.span) else { return true };
            let name = server.name(service);
            let message = format!("VS {service}: real server {name} is duplicated - removing second rs");
            let finding = Diagnostic::error(Code::BadRealServer, Class::General, server.address.span, message);
            context.push(finding.related(first, "first given here"));
            seen.insert((*server.address, server.port), first);
            false
        });
    }

    /// The scheduler; its flags are put in their places.
    fn scheduler(&mut self, context: &mut Context<'_>, service: &Service<'_>) -> Scheduler {
        let default_scheduler = context.carried.defaults.virtual_server.lvs_sched;
        let mut default = |what: &str, help: &str| {
            let message = format!("Virtual server {service}: {what}");
            context.push(Diagnostic::warning(Code::LvsDefault, Class::General, self.span, message).help(help));
        };
        if self.scheduler.is_none() {
            let word = default_scheduler.as_str();
            let what = format!("no scheduler set, setting default '{word}'");
            default(&what, &format!("add 'lb_algo {word}', or another scheduler"));
        }
        if self.forwarding.is_none() {
            let word = ForwardingMethod::WORDS.iter().find(|(_, method)| *method == self.default_forwarding);
            let what = format!("no forwarding method set, setting default {}", word.map_or("", |(word, _)| word));
            default(&what, "add 'lb_kind NAT', DR or TUN");
        }
        let scheduler = self.scheduler.unwrap_or(default_scheduler);
        for flag in &self.named_flags {
            if flag.scheduler == scheduler {
                (flag.set)(&mut self.flags);
            } else {
                wrong_scheduler(context, flag.word, flag.scheduler, flag.span);
            }
        }
        scheduler
    }

    fn hashed(&self, context: &mut Context<'_>, scheduler: Scheduler) -> bool {
        let Some(span) = self.hashed else { return false };
        let fits = matches!(scheduler, Scheduler::SourceHash | Scheduler::MaglevHash);
        if !fits {
            wrong_scheduler(context, "hashed", Scheduler::SourceHash, span);
        }
        fits
    }

    fn one_packet(&self, context: &mut Context<'_>, service: &Service<'_>) -> bool {
        let Some(span) = self.ops else { return false };
        let possible = service.protocol().is_none_or(|protocol| protocol == Protocol::Udp);
        if !possible {
            let message = format!("Virtual server {service}: one packet scheduling requires UDP - resetting");
            context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, span, message));
        }
        possible
    }

    fn ha_suspend(&self, context: &mut Context<'_>, service: &Service<'_>) -> bool {
        let Some(span) = self.ha_suspend else { return false };
        // Without a protocol there is no address either.
        let possible = service.protocol().is_some();
        if !possible {
            let message = format!("Virtual server {service}: cannot use ha_suspend with fwmarks - clearing ha_suspend");
            context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, span, message));
        }
        possible
    }

    fn quorum(&self, context: &mut Context<'_>, service: &Service<'_>, servers: &[RealServer]) -> (u32, u32) {
        let total = servers.iter().fold(0u32, |total, server| total.saturating_add(server.weight));
        let mut quorum = self.quorum.value;
        if quorum > total {
            // A sum of zero leaves the least quorum there is.
            let reduced = total.max(1);
            let then = if total == 0 {
                ", which can never be reached".to_owned()
            } else {
                format!(", reducing quorum to {reduced}")
            };
            let message =
                format!("Warning - quorum {quorum} for {service} exceeds total weight of real servers {total}{then}");
            context.push(Diagnostic::warning(Code::AdjustedValue, Class::General, self.quorum.span, message));
            quorum = reduced;
        }
        let mut hysteresis = self.hysteresis.value;
        if hysteresis >= quorum {
            let reduced = quorum - 1;
            let message = format!(
                "Virtual server {service}: hysteresis {hysteresis} >= quorum {quorum}; setting hysteresis to {reduced}"
            );
            context.push(Diagnostic::warning(Code::AdjustedValue, Class::General, self.hysteresis.span, message));
            hysteresis = reduced;
        }
        if total > 0 && quorum.saturating_add(hysteresis) > total {
            let message = format!(
                "virtual server {service}: a lost quorum can never be gained again: that takes a weight of quorum + \
                 hysteresis = {}, all real servers together have {total}",
                quorum.saturating_add(hysteresis)
            );
            context.push(Diagnostic::note(Code::UnreachableQuorum, self.hysteresis.span, message));
        }
        (quorum, hysteresis)
    }

    fn finish_real_servers(
        &mut self,
        context: &mut Context<'_>,
        service: &Service<'_>,
        checks: CheckDefaults,
        globals: &Globals,
    ) -> Vec<RealServer> {
        let drafts = std::mem::take(&mut self.real_servers);
        let outer = Outer {
            service,
            forwarding: self.forwarding(),
            weight: self.weight,
            inhibit: self.inhibit,
            alpha: self.alpha,
            virtualhost: self.virtualhost.as_deref(),
            checks,
            places: &self.places,
            globals,
            smtp_alert: smtp_alert_place(globals),
        };
        // The list of the drafts is the memory of the list of the servers.
        drafts.into_iter().map(|server| server.finish(context, &outer)).collect()
    }
}

/// The group of a virtual server; without it there is no service.
fn find_group<'a>(
    context: &mut Context<'_>,
    groups: &'a Groups,
    name: &Spanned<String>,
    shown: &str,
) -> Option<&'a VirtualServerGroup> {
    let group = groups.find(name);
    if group.is_none() {
        let message =
            format!("Virtual server group {} specified but not configured - ignoring virtual server {shown}", **name);
        let finding = Diagnostic::new(Severity::Error, Code::BadGroup, Class::Notice, Some(name.span), message);
        context.push(match nearest(name, groups.names()) {
            Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
            None => finding.help(format!("add 'virtual_server_group {} {{ <ip> <port> }}'", **name)),
        });
    }
    group
}

/// Whether every entry of a group is of the family of its virtual server.
fn of_one_family(
    context: &mut Context<'_>,
    group: &VirtualServerGroup,
    span: Span,
    family: Family,
    shown: &str,
) -> bool {
    let Some(other) = group.entries.iter().find(|entry| entry.family().is_some_and(|own| own != family)) else {
        return true;
    };
    let name = &group.name.value;
    let mixed = group.entries.iter().any(|entry| entry.family() == Some(family));
    let message = if mixed {
        format!("{name}: virtual server group with IPv4 & IPv6 doesn't match virtual server {shown} - ignoring")
    } else {
        format!("{name}: address family doesn't match virtual server {shown} - ignoring")
    };
    let finding = Diagnostic::new(Severity::Error, Code::BadGroup, Class::Notice, Some(span), message)
        .label(format!("this virtual server is {family}"));
    context.push(finding.related(other.span, "this entry is not").help("make a group for each family"));
    false
}

impl SorryDraft {
    fn finish(self, context: &mut Context<'_>, service: &Service<'_>, default: ForwardingMethod) -> SorryServer {
        let forwarding = self.forwarding.unwrap_or(default);
        let rewrites = forwarding == ForwardingMethod::Masquerade;
        let mut warn = |what: &str| {
            let message = format!("WARNING - virtual server {service}{what}");
            let finding = Diagnostic::warning(Code::BadRealServer, Class::General, self.address.span, message);
            context.push(finding.help("only NAT can change the port"));
        };
        let port = match (service, self.port) {
            (Service::Address { port, .. }, Some(own)) if !rewrites && own != *port => {
                warn(" and sorry server ports don't match - resetting");
                *port
            }
            (Service::Fwmark { .. }, Some(_)) if !rewrites => {
                warn(", sorry server has port specified - clearing");
                0
            }
            (_, own) => own.unwrap_or(service.port()),
        };
        SorryServer { address: self.address, port, forwarding, inhibit: self.inhibit }
    }
}

fn is_tunnel(method: ForwardingMethod) -> bool {
    matches!(method, ForwardingMethod::Tunnel(_))
}

fn wrong_scheduler(context: &mut Context<'_>, word: &str, scheduler: Scheduler, span: Span) {
    let message = format!("{word} only applies to {} scheduler - ignoring", scheduler.as_str());
    context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, span, message));
}

/// Where the mails of servers that say nothing themselves are switched.
fn smtp_alert_place(globals: &Globals) -> Option<Span> {
    let smtp = &globals.defs.smtp;
    let keyword = match (smtp.alert_checker, smtp.alert) {
        (Some(_), _) => "smtp_alert_checker",
        (None, Some(_)) => "smtp_alert",
        (None, None) => return None,
    };
    globals.defs.places.of("global_defs", keyword)
}

/// A flag under a scheduler's own name for it.
#[derive(Debug)]
pub(super) struct NamedFlag {
    word: &'static str,
    scheduler: Scheduler,
    set: fn(&mut SchedulerFlags),
}

static SH_FALLBACK: NamedFlag =
    NamedFlag { word: "sh-fallback", scheduler: Scheduler::SourceHash, set: |flags| flags.flag_1 = true };
static SH_PORT: NamedFlag =
    NamedFlag { word: "sh-port", scheduler: Scheduler::SourceHash, set: |flags| flags.flag_2 = true };
static MH_FALLBACK: NamedFlag =
    NamedFlag { word: "mh-fallback", scheduler: Scheduler::MaglevHash, set: |flags| flags.flag_1 = true };
static MH_PORT: NamedFlag =
    NamedFlag { word: "mh-port", scheduler: Scheduler::MaglevHash, set: |flags| flags.flag_2 = true };

pub(super) const PROTOCOLS: &[(&str, Protocol)] =
    &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];
pub(super) const FAMILIES: &[(&str, Family)] = &[("inet", Family::Ipv4), ("inet6", Family::Ipv6)];

fn find<T: Copy>(words: &[(&str, T)], text: &str) -> Option<T> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

/// Names that other load balancers give to schedulers, methods and protocols.
const FOREIGN: &[(&str, &str)] = &[
    ("roundrobin", "rr"),
    ("weightedroundrobin", "wrr"),
    ("leastconn", "lc"),
    ("leastconnection", "lc"),
    ("leastconnections", "lc"),
    ("weightedleastconnection", "wlc"),
    ("source", "sh"),
    ("sourcehash", "sh"),
    ("iphash", "sh"),
    ("maglev", "mh"),
    ("dsr", "DR"),
    ("directroute", "DR"),
    ("directrouting", "DR"),
    ("masq", "NAT"),
    ("masquerade", "NAT"),
    ("masquerading", "NAT"),
    ("ipip", "TUN"),
    ("tunnel", "TUN"),
    ("http", "TCP"),
    ("https", "TCP"),
    ("ssl", "TCP"),
    ("tls", "TCP"),
    ("dns", "UDP"),
];

/// The word for what other load balancers call `text`.
fn foreign(text: &str) -> Option<&'static str> {
    let plain = text.replace(['-', '_'], "").to_ascii_lowercase();
    find(FOREIGN, &plain)
}

/// Reports a value that is none of `words`.
fn bad_word<T>(context: &mut Context<'_>, word: &Word, message: String, words: &[(&'static str, T)]) {
    let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    let near = foreign(&word.text).filter(|name| names.contains(name));
    context.push(match near.or_else(|| nearest(&word.text, names.iter().copied())) {
        Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
        None => finding.help(format!("one of {}", names.join(", "))),
    });
}

/// The text after a keyword that keepalived wants, but does not stop without.
fn text(context: &mut Context<'_>, statement: &Statement, missing: &str) -> Option<String> {
    let text = context.text(statement);
    if text.is_none() {
        context.error(Code::MissingParameter, statement.keyword.span, missing);
    }
    text
}

/// The only text after a keyword.
fn one_text(context: &mut Context<'_>, statement: &Statement, wrong: &str) -> Option<String> {
    let Some(extra) = statement.arguments.get(1) else {
        return text(context, statement, wrong);
    };
    let finding = Diagnostic::error(Code::ExtraParameter, Class::General, extra.span, wrong);
    context.push(finding.help("write a text of several words in quotes"));
    None
}

fn weight(context: &mut Context<'_>, statement: &Statement, what: &str) -> Option<u32> {
    context.number_with(statement, |text| {
        let (least, most) = statement.row.and_then(|row| row.bounds).unwrap_or_default();
        let (least, most) = (least / 1_000_000, most / 1_000_000);
        format!("{what} server weight {text} is outside range {least}-{most}")
    })
}

fn family(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    let Some(family) = find(FAMILIES, &word.text) else {
        bad_word(context, word, format!("unknown address family {}", word.text), FAMILIES);
        return;
    };
    match draft.known_family().filter(|known| *known != family) {
        None => draft.family = Some(family),
        Some(known) => {
            let message = format!("Virtual server specified family {} conflicts with server family", word.text);
            let finding = Diagnostic::error(Code::BadVirtualServer, Class::General, word.span, message);
            context.push(finding.label(format!("the servers are {known}")));
        }
    }
}

fn protocol(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    match find(PROTOCOLS, &word.text.to_ascii_uppercase()) {
        Some(protocol) => draft.protocol = Some(Spanned::new(protocol, statement.span())),
        None => bad_word(context, word, format!("Unknown protocol {} - ignoring", word.text), PROTOCOLS),
    }
}

fn scheduler(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    match find(Scheduler::WORDS, &word.text) {
        Some(scheduler) => draft.scheduler = Some(scheduler),
        None => bad_word(context, word, format!("Invalid lvs_scheduler '{}' - ignoring", word.text), Scheduler::WORDS),
    }
}

fn method(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    draft.forwarding = forwarding::read(context, statement, forwarding::Server::Virtual).or(draft.forwarding);
}

fn persistence_engine(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    let mut name = word.text.clone();
    if name.len() > MAX_ENGINE {
        let message = format!("persistence_name too long, truncating - {name}");
        context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, word.span, message));
        while name.len() > MAX_ENGINE {
            name.pop();
        }
    } else if name != "sip" {
        let message = format!("the kernel knows the persistence engine 'sip' only, not '{name}'");
        let note = Diagnostic::note(Code::BadVirtualServer, word.span, message);
        context.push(note.help("write 'sip', or leave it out").replacement("sip"));
    }
    draft.persistence_engine = Some(name);
}

fn sorry_server(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some((first, rest)) = statement.arguments.split_first() else { return };
    let message = || format!("Invalid sorry server IP address {} - skipping", first.text);
    let read = endpoint(context, first, rest.first(), message);
    if let Some((address, port)) = read {
        draft.sorry = Some(SorryDraft { address, port, forwarding: None, inhibit: false });
    }
}

/// The sorry server that a keyword belongs to; without one there is a finding.
fn with_sorry_server(
    draft: &mut Draft,
    context: &mut Context<'_>,
    statement: &Statement,
    message: &str,
    set: impl FnOnce(&mut SorryDraft, &mut Context<'_>),
) {
    match &mut draft.sorry {
        Some(sorry) => set(sorry, context),
        None => {
            let span = statement.keyword.span;
            let finding = Diagnostic::error(Code::BadVirtualServer, Class::General, span, message);
            context.push(finding.help("it stands after 'sorry_server <ip> [<port>]'"));
        }
    }
}

impl Checked for Draft {
    fn checks(&mut self) -> &mut CheckDefaults {
        &mut self.checks
    }
}

pub(super) const VIRTUAL_SERVER: &[Handler<Draft>] = &[
    Handler("real_server", |draft, context, statement| {
        draft.real_servers.extend(real_server::read(
            context,
            statement,
            draft.protocol.as_ref().map(|protocol| protocol.value),
        ));
    }),
    Handler("ip_family", family),
    Handler("protocol", protocol),
    Handler("lb_algo", scheduler),
    Handler("lvs_sched", scheduler),
    Handler("lb_kind", method),
    Handler("lvs_method", method),
    Handler("hashed", |draft, _, statement| draft.hashed = Some(statement.keyword.span)),
    Handler("ops", |draft, _, statement| draft.ops = Some(statement.keyword.span)),
    Handler("flag-1", |draft, _, _| draft.flags.flag_1 = true),
    Handler("flag-2", |draft, _, _| draft.flags.flag_2 = true),
    Handler("flag-3", |draft, _, _| draft.flags.flag_3 = true),
    Handler("sh-fallback", |draft, _, statement| {
        draft.named_flags.push(Spanned::new(&SH_FALLBACK, statement.keyword.span))
    }),
    Handler("sh-port", |draft, _, statement| draft.named_flags.push(Spanned::new(&SH_PORT, statement.keyword.span))),
    Handler("mh-fallback", |draft, _, statement| {
        draft.named_flags.push(Spanned::new(&MH_FALLBACK, statement.keyword.span))
    }),
    Handler("mh-port", |draft, _, statement| draft.named_flags.push(Spanned::new(&MH_PORT, statement.keyword.span))),
    Handler("persistence_engine", persistence_engine),
    Handler("persistence_timeout", persistence::timeout),
    Handler("persistence_granularity", persistence::granularity),
    Handler("ha_suspend", |draft, _, statement| draft.ha_suspend = Some(statement.keyword.span)),
    Handler("inhibit_on_failure", |draft, _, _| draft.inhibit = true),
    Handler("alpha", |draft, _, _| draft.alpha = true),
    Handler("omega", |draft, _, _| draft.omega = true),
    Handler("drain_timeout", |draft, context, statement| {
        let time = context.time_with(statement, |text| format!("drain_timeout '{text}' invalid - ignoring"));
        draft.drain_timeout = time.or(draft.drain_timeout);
    }),
    Handler("virtualhost", |draft, context, statement| {
        draft.virtualhost = text(context, statement, "virtual server virtualhost missing").or(draft.virtualhost.take());
    }),
    Handler("snmp_name", |draft, context, statement| {
        let name = one_text(context, statement, "virtual server snmp_name missing or extra parameters");
        draft.snmp_name = name.or(draft.snmp_name.take());
    }),
    Handler("weight", |draft, context, statement| {
        draft.weight = weight(context, statement, "Virtual").unwrap_or(draft.weight)
    }),
    Handler("quorum", |draft, context, statement| {
        let message = |text: &str| format!("Quorum {text} must be in [1, {}]. Setting to 1.", u32::MAX);
        draft.quorum = Spanned::new(context.number_with(statement, message).unwrap_or(1), statement.span());
    }),
    Handler("hysteresis", |draft, context, statement| {
        let message = |text: &str| format!("Hysteresis {text} must be in [0, {}] - ignoring", u32::MAX);
        if let Some(hysteresis) = context.number_with(statement, message) {
            draft.hysteresis = Spanned::new(hysteresis, statement.span());
        }
    }),
    Handler("quorum_up", |draft, context, statement| context.script("", &mut draft.quorum_up, statement)),
    Handler("quorum_down", |draft, context, statement| context.script("", &mut draft.quorum_down, statement)),
    Handler("sorry_server", sorry_server),
    Handler("sorry_server_inhibit", |draft, context, statement| {
        let message = "Ignoring sorry_server inhibit used before or without sorry_server";
        with_sorry_server(draft, context, statement, message, |sorry, _| sorry.inhibit = true);
    }),
    Handler("sorry_server_lvs_method", |draft, context, statement| {
        let message = "sorry_server forwarding used without sorry_server";
        with_sorry_server(draft, context, statement, message, |sorry, context| {
            let method = forwarding::read(context, statement, forwarding::Server::Sorry);
            sorry.forwarding = method.or(sorry.forwarding);
        });
    }),
    Handler("smtp_alert", |draft, context, statement| {
        let message = |text: &str| format!("Invalid virtual_server smtp_alert parameter {text}");
        draft.smtp_alert = context.switch_with(statement, message).or(draft.smtp_alert);
    }),
    Handler("delay_loop", |draft, context, statement| {
        checks::delay_loop(draft, context, statement, "virtual server delay loop");
    }),
    Handler("warmup", |draft, context, statement| {
        checks::warmup(draft, context, statement, "virtual server warmup");
    }),
    Handler("retry", checks::retry),
    Handler("delay_before_retry", |draft, context, statement| {
        checks::delay_before_retry(draft, context, statement, "virtual server delay before retry");
    }),
    Handler("connect_timeout", |draft, context, statement| {
        checks::connect_timeout(draft, context, statement, "virtual server");
    }),
];

#[cfg(test)]
mod tests;
