//! `virtual_server` and `real_server`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::checker::{self, Timed, TimingWords};
use super::global::Globals;
use super::value::integer;
use super::{Context, Handler};
use crate::config::{
    Checker, Family, ForwardingMethod, Persistence, Protocol, RealServer, Scheduler, SchedulerFlags, Script,
    ServiceKey, SorryServer, VirtualServer,
};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::schema::nearest;
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// Longest persistence: 31 days.
const MAX_PERSISTENCE: u32 = 2_678_400;
const DEFAULT_PERSISTENCE: Duration = Duration::from_secs(360);
const MAX_WEIGHT: u32 = i32::MAX.unsigned_abs();

/// The first line of the block.
#[derive(Debug, Clone, Copy)]
enum Head {
    Address(IpAddr, u16),
    Fwmark(u32),
}

/// A virtual server as written.
#[derive(Debug)]
pub(super) struct Draft {
    head: Head,
    span: Span,
    family: Option<Family>,
    protocol: Option<Protocol>,
    protocol_word: Option<Span>,
    scheduler: Option<Scheduler>,
    flags: SchedulerFlags,
    /// `sh-…` and `mh-…` flags, which count only for their scheduler.
    named_flags: Vec<Spanned<&'static NamedFlag>>,
    forwarding: Option<ForwardingMethod>,
    ops: Option<Span>,
    persistence_timeout: Option<Duration>,
    granularity: Option<u8>,
    quorum: Spanned<u32>,
    hysteresis: u32,
    quorum_up: Option<Spanned<Script>>,
    quorum_down: Option<Spanned<Script>>,
    omega: bool,
    sorry: Option<(Spanned<IpAddr>, Option<u16>)>,
    shared: Shared,
    real_servers: Vec<RealDraft>,
    /// The addresses and ports of `real_servers`.
    listed: HashSet<(IpAddr, Option<u16>)>,
    places: Places,
}

super::placed!(Draft);

/// What a virtual server hands down to its real servers.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    pub(super) weight: Option<u32>,
    pub(super) inhibit: Option<bool>,
    pub(super) alpha: Option<bool>,
    pub(super) virtualhost: Option<String>,
    pub(super) smtp_alert: Option<bool>,
    pub(super) timing: TimingWords,
}

/// A real server as written.
#[derive(Debug)]
pub(super) struct RealDraft {
    address: Spanned<IpAddr>,
    port: Option<u16>,
    forwarding: Option<ForwardingMethod>,
    upper_threshold: u32,
    lower_threshold: u32,
    notify_up: Option<Spanned<Script>>,
    notify_down: Option<Spanned<Script>>,
    shared: Shared,
    /// The protocol of the service, as far as it is known here.
    protocol: Option<Protocol>,
    checkers: Vec<Checker>,
    places: Places,
}

super::placed!(RealDraft);

/// Reads one block; nothing comes back when its first line cannot be used.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement) -> Option<Draft> {
    let (first, rest) = statement.arguments.split_first()?;
    let head = match (first.text.as_str(), rest.first()) {
        ("group", Some(_)) => {
            context.known_option("virtual_server", "group", first.span);
            return None;
        }
        ("fwmark", Some(mark)) => match integer(&mark.text, &(0..=u32::MAX)) {
            Ok(mark) => Head::Fwmark(mark),
            Err(wrong) => {
                context.bad_number(
                    mark,
                    wrong,
                    format!("virtual server fwmark '{}' is invalid - the block is ignored", mark.text),
                );
                return None;
            }
        },
        ("fwmark" | "group", None) => {
            let message = crate::preprocess::missing_parameter(&first.text);
            context.push(Diagnostic::error(Code::MissingParameter, Class::MissingParameter, first.span, message));
            return None;
        }
        (_, port) => {
            let (address, port) = endpoint(context, first, port, "virtual server", "the block is ignored")?;
            Head::Address(*address, port.unwrap_or(0))
        }
    };
    let mut draft = Draft {
        head,
        span: statement.span(),
        family: None,
        protocol: None,
        protocol_word: None,
        scheduler: None,
        flags: SchedulerFlags::default(),
        named_flags: Vec::new(),
        forwarding: None,
        ops: None,
        persistence_timeout: None,
        granularity: None,
        quorum: Spanned::new(1, statement.keyword.span),
        hysteresis: 0,
        quorum_up: None,
        quorum_down: None,
        omega: false,
        sorry: None,
        shared: Shared::default(),
        real_servers: Vec::new(),
        listed: HashSet::new(),
        places: Places::default(),
    };
    context.visit(&mut draft, &statement.body, &[VIRTUAL_SERVER]);
    draft.real_servers.shrink_to_fit();
    Some(draft)
}

/// `ADDR [PORT]`; 0 stands for no port.
fn endpoint(
    context: &mut Context<'_>,
    word: &Word,
    port: Option<&Word>,
    what: &str,
    then: &str,
) -> Option<(Spanned<IpAddr>, Option<u16>)> {
    let shown = port.map_or_else(|| word.text.clone(), |port| format!("{}/{}", word.text, port.text));
    let message = format!("Invalid {what} ip address/port {shown} - {then}");
    let Ok(address) = word.text.parse() else {
        context.error(Code::BadAddress, word.span, message);
        return None;
    };
    let port = match port.map(|port| (port, integer(&port.text, &(0..=u16::MAX)))) {
        None => None,
        Some((_, Ok(port))) => Some(port).filter(|port| *port != 0),
        Some((port, Err(wrong))) => {
            context.bad_number(port, wrong, message);
            return None;
        }
    };
    Some((Spanned::new(address, word.span), port))
}

impl Draft {
    /// The service as messages name it before its protocol is settled.
    fn name(&self) -> String {
        match self.head {
            Head::Address(address, port) => {
                let protocol = self.protocol.map_or_else(|| "none".to_owned(), |protocol| protocol.to_string());
                format!("[{address}]:{protocol}:{port}")
            }
            Head::Fwmark(mark) => format!("FWM {mark}"),
        }
    }

    /// Applies defaults; nothing comes back for a service without servers.
    pub(super) fn finish(mut self, context: &mut Context<'_>, globals: &Globals) -> Option<VirtualServer> {
        let service = self.service(context);
        self.drop_other_families(context, service);
        let name = service.to_string();
        if self.real_servers.is_empty() {
            context.push(Diagnostic::error(
                Code::NoRealServer,
                Class::General,
                self.span,
                format!("Virtual server {name} has no real servers - ignoring"),
            ));
            return None;
        }
        let default = |context: &mut Context<'_>, span, what: &str| {
            context.push(Diagnostic::warning(
                Code::LvsDefault,
                Class::General,
                span,
                format!("Virtual server {name}: {what}"),
            ));
        };
        if self.scheduler.is_none() {
            default(context, self.span, "no scheduler set, setting default 'wlc'");
        }
        if self.forwarding.is_none() {
            default(context, self.span, "no forwarding method set, setting default NAT");
        }
        let scheduler = self.scheduler.unwrap_or(Scheduler::WeightedLeastConnection);
        self.apply_named_flags(context, scheduler);
        let forwarding = self.forwarding.unwrap_or(ForwardingMethod::Masquerade);
        let persistence = self.persistence(context, service);
        let one_packet = self.one_packet(context, service);
        let real_servers = self.finish_real_servers(context, service, forwarding, globals);
        let (quorum, hysteresis) = self.quorum(context, &name, &real_servers);
        let port = self.port();
        let sorry_server =
            self.sorry.take().map(|(address, given)| SorryServer { address, port: given.unwrap_or(port), forwarding });
        Some(VirtualServer {
            service: Spanned::new(service, self.span),
            scheduler,
            scheduler_flags: self.flags,
            one_packet,
            persistence,
            quorum,
            hysteresis,
            quorum_up: self.quorum_up,
            quorum_down: self.quorum_down,
            alpha: self.shared.alpha.unwrap_or(false),
            omega: self.omega,
            sorry_server,
            virtualhost: self.shared.virtualhost,
            real_servers,
            smtp_alert: self.shared.smtp_alert,
            places: self.places,
        })
    }

    /// Only a tunnel leads from one address family to the other.
    fn drop_other_families(&mut self, context: &mut Context<'_>, service: ServiceKey) {
        let family = match service {
            ServiceKey::Address { address, .. } => Family::of(address),
            ServiceKey::Fwmark { family, .. } => family,
        };
        let default = self.forwarding.unwrap_or(ForwardingMethod::Masquerade);
        let mut leads = |address: &Spanned<IpAddr>, method, what: &str| {
            let leads = method == ForwardingMethod::Tunnel || Family::of(**address) == family;
            if !leads {
                let message = format!(
                    "Address family of virtual server and {what} server {} don't match - skipping {what} server.",
                    **address
                );
                let finding = Diagnostic::error(Code::BadRealServer, Class::General, address.span, message);
                context.push(finding.help("only 'lb_kind TUN' leads from one address family to the other"));
            }
            leads
        };
        self.real_servers.retain(|server| leads(&server.address, server.forwarding.unwrap_or(default), "real"));
        if self.sorry.as_ref().is_some_and(|(address, _)| !leads(address, default, "sorry")) {
            self.sorry = None;
        }
    }

    fn port(&self) -> u16 {
        match self.head {
            Head::Address(_, port) => port,
            Head::Fwmark(_) => 0,
        }
    }

    fn service(&mut self, context: &mut Context<'_>) -> ServiceKey {
        match self.head {
            Head::Address(address, port) => {
                if self.protocol.is_none() {
                    let message = format!("Virtual server {}: no protocol set - defaulting to UDP", self.name());
                    context.push(Diagnostic::error(Code::LvsDefault, Class::General, self.span, message));
                }
                let protocol = *self.protocol.get_or_insert(Protocol::Udp);
                if self.family.is_some_and(|family| family != Family::of(address)) {
                    context.error(
                        Code::BadVirtualServer,
                        self.span,
                        format!("Virtual server {}: ip_family contradicts the address - ignoring", self.name()),
                    );
                }
                ServiceKey::Address { address, port, protocol }
            }
            Head::Fwmark(mark) => {
                let first = self.real_servers.first().map(|server| Family::of(*server.address));
                if let Some(span) = self.protocol_word {
                    let message = format!(
                        "Warning: Virtual server FWM {mark}: protocol specified for fwmark - protocol will be ignored"
                    );
                    context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, span, message));
                }
                ServiceKey::Fwmark { mark, family: self.family.or(first).unwrap_or(Family::Ipv4) }
            }
        }
    }

    fn apply_named_flags(&mut self, context: &mut Context<'_>, scheduler: Scheduler) {
        for flag in &self.named_flags {
            if flag.scheduler == scheduler {
                (flag.set)(&mut self.flags);
            } else {
                let message = format!("{} only applies to {} scheduler - ignoring", flag.word, flag.scheduler.as_str());
                context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, flag.span, message));
            }
        }
    }

    fn persistence(&self, context: &mut Context<'_>, service: ServiceKey) -> Option<Persistence> {
        let family = match service {
            ServiceKey::Address { address, .. } => Family::of(address),
            ServiceKey::Fwmark { family, .. } => family,
        };
        let mut timeout = self.persistence_timeout.or(self.granularity.map(|_| DEFAULT_PERSISTENCE));
        if timeout.is_none() && matches!(service, ServiceKey::Address { port: 0, .. }) {
            let message = format!("Virtual server {service}: zero port only valid for persistent services - setting");
            context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, self.span, message));
            timeout = Some(DEFAULT_PERSISTENCE);
        }
        let granularity = self.granularity.unwrap_or(family.bits());
        if granularity > family.bits() {
            context.error(
                Code::BadVirtualServer,
                self.span,
                format!("Virtual server {service}: persistence_granularity is longer than an address - ignoring"),
            );
        }
        timeout.map(|timeout| Persistence { timeout, granularity: granularity.min(family.bits()) })
    }

    fn one_packet(&self, context: &mut Context<'_>, service: ServiceKey) -> bool {
        let Some(span) = self.ops else { return false };
        let possible =
            matches!(service, ServiceKey::Fwmark { .. } | ServiceKey::Address { protocol: Protocol::Udp, .. });
        if !possible {
            let message = format!("Virtual server {service}: one packet scheduling requires UDP - resetting");
            context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, span, message));
        }
        possible
    }

    fn quorum(&self, context: &mut Context<'_>, name: &str, servers: &[RealServer]) -> (u32, u32) {
        let total = servers.iter().fold(0u32, |total, server| total.saturating_add(server.weight));
        let mut quorum = self.quorum.value;
        if quorum > total {
            // A sum of zero leaves the least quorum there is.
            let reduced = total.max(1);
            if quorum > reduced {
                let message = format!(
                    "Warning - quorum {quorum} for {name} exceeds total weight of real servers {total}, reducing quorum to {reduced}"
                );
                context.push(Diagnostic::warning(Code::AdjustedValue, Class::General, self.quorum.span, message));
            }
            quorum = reduced;
        }
        let mut hysteresis = self.hysteresis;
        if hysteresis >= quorum && hysteresis > 0 {
            let reduced = quorum - 1;
            let message = format!(
                "Virtual server {name}: hysteresis {hysteresis} >= quorum {quorum}; setting hysteresis to {reduced}"
            );
            context.push(Diagnostic::warning(Code::AdjustedValue, Class::General, self.span, message));
            hysteresis = reduced;
        }
        (quorum, hysteresis)
    }

    fn finish_real_servers(
        &mut self,
        context: &mut Context<'_>,
        service: ServiceKey,
        forwarding: ForwardingMethod,
        globals: &Globals,
    ) -> Vec<RealServer> {
        let drafts = std::mem::take(&mut self.real_servers);
        drafts
            .into_iter()
            .map(|server| self.finish_real_server(context, server, service, forwarding, globals))
            .collect()
    }

    fn finish_real_server(
        &self,
        context: &mut Context<'_>,
        server: RealDraft,
        service: ServiceKey,
        forwarding: ForwardingMethod,
        globals: &Globals,
    ) -> RealServer {
        let forwarding = server.forwarding.unwrap_or(forwarding);
        let shared = server.shared.or(&self.shared);
        let rewrites = forwarding == ForwardingMethod::Masquerade;
        let port = match (service, server.port) {
            (ServiceKey::Address { port, protocol, .. }, Some(own)) if !rewrites && own != port => {
                let message = format!(
                    "WARNING - virtual server {service} and real server [{}]:{protocol}:{own} ports don't match - resetting",
                    *server.address
                );
                context.push(Diagnostic::warning(Code::BadRealServer, Class::General, server.address.span, message));
                port
            }
            (ServiceKey::Fwmark { .. }, own) if !rewrites => {
                if let Some(own) = own {
                    let message = format!(
                        "WARNING - fwmark virtual server {service}, real server [{}]:none:{own} has port specified - clearing",
                        *server.address
                    );
                    let span = server.address.span;
                    context.push(Diagnostic::warning(Code::BadRealServer, Class::General, span, message));
                }
                0
            }
            (_, own) => own.unwrap_or(self.port()),
        };
        let alpha = shared.alpha.unwrap_or(false);
        let place = |keyword: &str| {
            let inner = server.places.of("virtual_server/real_server", keyword);
            inner.or_else(|| self.places.of("virtual_server", keyword))
        };
        let virtualhost = self.shared.virtualhost.is_some();
        let outer = checker::Outer { shared: &shared, place: &place, virtualhost, globals };
        let checkers = server.checkers.into_iter();
        let checkers = checkers.map(|checker| checker::finish(checker, context, &outer)).collect();
        RealServer {
            address: server.address,
            port,
            weight: shared.weight.unwrap_or(1),
            forwarding,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
            inhibit_on_failure: shared.inhibit.unwrap_or(false),
            alpha,
            notify_up: server.notify_up,
            notify_down: server.notify_down,
            virtualhost: shared.virtualhost,
            smtp_alert: server.shared.smtp_alert,
            checkers,
            places: server.places,
        }
    }
}

impl Shared {
    /// Fills what was not written from `outer`.
    fn or(&self, outer: &Self) -> Self {
        Self {
            weight: self.weight.or(outer.weight),
            inhibit: self.inhibit.or(outer.inhibit),
            alpha: self.alpha.or(outer.alpha),
            virtualhost: self.virtualhost.clone().or_else(|| outer.virtualhost.clone()),
            smtp_alert: self.smtp_alert.or(outer.smtp_alert),
            timing: self.timing.or(&outer.timing),
        }
    }
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

pub(super) const FORWARDING: &[(&str, ForwardingMethod)] =
    &[("NAT", ForwardingMethod::Masquerade), ("DR", ForwardingMethod::DirectRoute), ("TUN", ForwardingMethod::Tunnel)];
pub(super) const PROTOCOLS: &[(&str, Protocol)] =
    &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];
pub(super) const FAMILIES: &[(&str, Family)] = &[("inet", Family::Ipv4), ("inet6", Family::Ipv6)];

fn find<T: Copy>(words: &[(&str, T)], text: &str) -> Option<T> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

/// Reports a value that is none of `words`.
fn bad_word<T>(context: &mut Context<'_>, word: &Word, message: String, words: &[(&'static str, T)]) {
    let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    context.push(match nearest(&word.text, names.iter().copied()) {
        Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
        None => finding.help(format!("one of {}", names.join(", "))),
    });
}

/// `NAT|DR|TUN`; the options of a tunnel are not typed.
fn forwarding(context: &mut Context<'_>, statement: &Statement, what: &str) -> Option<ForwardingMethod> {
    let (word, options) = statement.arguments.split_first()?;
    let method = find(FORWARDING, &word.text);
    if method.is_none() {
        bad_word(
            context,
            word,
            format!("PARSER : unknown [{}] routing method for {what} server.", word.text),
            FORWARDING,
        );
    }
    for option in options.iter().filter(|option| option.text.starts_with(|char: char| char.is_ascii_alphabetic())) {
        // The plain form of IP in IP is what is acted on.
        if !matches!(option.text.as_str(), "type" | "ipip" | "nocsum") {
            context.known_option("virtual_server/lvs_method", &option.text, option.span);
        }
    }
    method
}

fn scheduler(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    match find(Scheduler::WORDS, &word.text) {
        Some(scheduler) => draft.scheduler = Some(scheduler),
        None => bad_word(context, word, format!("Invalid lvs_scheduler '{}' - ignoring", word.text), Scheduler::WORDS),
    }
}

fn protocol(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    match find(PROTOCOLS, &word.text.to_ascii_uppercase()) {
        Some(protocol) => {
            draft.protocol = Some(protocol);
            draft.protocol_word = Some(statement.span());
        }
        None => bad_word(context, word, format!("Unknown protocol {} - ignoring", word.text), PROTOCOLS),
    }
}

fn granularity(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    let mask = word.text.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
    // Ones, then zeros.
    let bits = match mask {
        Some(mask) if mask != 0 && mask.leading_ones() + mask.trailing_zeros() == 32 => {
            u8::try_from(mask.leading_ones()).ok()
        }
        Some(_) => None,
        None => integer(&word.text, &(1..=128u8)).ok(),
    };
    if bits.is_none() {
        context.error(
            Code::BadAddress,
            word.span,
            format!("Invalid IPv4 persistence_granularity specified - {}", word.text),
        );
    }
    draft.granularity = bits.or(draft.granularity);
}

fn real_server(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some((first, rest)) = statement.arguments.split_first() else { return };
    let Some((address, port)) = endpoint(context, first, rest.first(), "real server", "skipping") else {
        return;
    };
    if !draft.listed.insert((*address, port)) {
        context.error(
            Code::BadRealServer,
            first.span,
            format!("Real server {} is listed twice - ignoring", first.text),
        );
        return;
    }
    let mut server = RealDraft {
        address,
        port,
        forwarding: None,
        upper_threshold: 0,
        lower_threshold: 0,
        notify_up: None,
        notify_down: None,
        shared: Shared::default(),
        protocol: draft.protocol,
        checkers: Vec::new(),
        places: Places::default(),
    };
    context.visit(&mut server, &statement.body, &[REAL_SERVER]);
    server.checkers.shrink_to_fit();
    draft.real_servers.push(server);
}

fn weight(context: &mut Context<'_>, statement: &Statement, what: &str, range: RangeInclusive<u32>) -> Option<u32> {
    let word = statement.arguments.first()?;
    let weight = integer(&word.text, &range);
    if let Err(wrong) = &weight {
        let (least, most) = (range.start(), range.end());
        context.bad_number(
            word,
            wrong.clone(),
            format!("{what} server weight {} is outside range {least}-{most}", word.text),
        );
    }
    weight.ok()
}

impl Timed for Draft {
    const DELAY_LOOP: &'static str = "virtual server delay loop";

    fn timing(&mut self) -> &mut TimingWords {
        &mut self.shared.timing
    }
}

impl Timed for RealDraft {
    const DELAY_LOOP: &'static str = "real server delay loop";

    fn timing(&mut self) -> &mut TimingWords {
        &mut self.shared.timing
    }
}

pub(super) const VIRTUAL_SERVER: &[Handler<Draft>] = &[
    Handler("ip_family", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match find(FAMILIES, &word.text) {
            Some(family) => draft.family = Some(family),
            None => bad_word(context, word, format!("unknown address family {} - ignoring", word.text), FAMILIES),
        }
    }),
    Handler("protocol", protocol),
    Handler("lb_algo", scheduler),
    Handler("lvs_sched", scheduler),
    Handler("lb_kind", |draft, context, statement| {
        draft.forwarding = forwarding(context, statement, "virtual").or(draft.forwarding)
    }),
    Handler("lvs_method", |draft, context, statement| {
        draft.forwarding = forwarding(context, statement, "virtual").or(draft.forwarding)
    }),
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
    Handler("persistence_timeout", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else {
            draft.persistence_timeout = Some(DEFAULT_PERSISTENCE);
            return;
        };
        match integer(&word.text, &(1..=MAX_PERSISTENCE)) {
            Ok(seconds) => draft.persistence_timeout = Some(Duration::from_secs(seconds.into())),
            Err(wrong) => context.bad_number(word, wrong, "persistence_timeout invalid"),
        }
    }),
    Handler("persistence_granularity", granularity),
    Handler("inhibit_on_failure", |draft, _, _| draft.shared.inhibit = Some(true)),
    Handler("alpha", |draft, _, _| draft.shared.alpha = Some(true)),
    Handler("omega", |draft, _, _| draft.omega = true),
    Handler("virtualhost", |draft, context, statement| draft.shared.virtualhost = context.text(statement)),
    Handler("weight", |draft, context, statement| {
        draft.shared.weight = weight(context, statement, "Virtual", 1..=MAX_WEIGHT).or(draft.shared.weight)
    }),
    Handler("quorum", |draft, context, statement| {
        if let Some(quorum) = context.number(statement, "Quorum") {
            draft.quorum = Spanned::new(quorum, statement.span());
        }
    }),
    Handler("hysteresis", |draft, context, statement| {
        draft.hysteresis = context.number(statement, "Hysteresis").unwrap_or(draft.hysteresis);
    }),
    Handler("quorum_up", |draft, context, statement| context.script("", &mut draft.quorum_up, statement)),
    Handler("quorum_down", |draft, context, statement| context.script("", &mut draft.quorum_down, statement)),
    Handler("sorry_server", |draft, context, statement| {
        let Some((first, rest)) = statement.arguments.split_first() else { return };
        draft.sorry = endpoint(context, first, rest.first(), "sorry server", "ignoring").or(draft.sorry.take());
    }),
    Handler("smtp_alert", |draft, context, statement| {
        draft.shared.smtp_alert = context.switch(statement).or(draft.shared.smtp_alert)
    }),
    Handler("real_server", real_server),
    <Draft as Timed>::DELAY_LOOP_HANDLER,
    <Draft as Timed>::WARMUP_HANDLER,
    <Draft as Timed>::RETRY_HANDLER,
    <Draft as Timed>::DELAY_BEFORE_RETRY_HANDLER,
    <Draft as Timed>::CONNECT_TIMEOUT_HANDLER,
];

pub(super) const REAL_SERVER: &[Handler<RealDraft>] = &[
    Handler("weight", |server, context, statement| {
        server.shared.weight = weight(context, statement, "Real", 0..=MAX_WEIGHT).or(server.shared.weight)
    }),
    Handler("lvs_method", |server, context, statement| {
        server.forwarding = forwarding(context, statement, "real").or(server.forwarding)
    }),
    Handler("uthreshold", |server, context, statement| {
        server.upper_threshold = context.number(statement, "uthreshold").unwrap_or(server.upper_threshold);
    }),
    Handler("lthreshold", |server, context, statement| {
        server.lower_threshold = context.number(statement, "lthreshold").unwrap_or(server.lower_threshold);
    }),
    Handler("inhibit_on_failure", |server, context, statement| {
        server.shared.inhibit = context.switch(statement).or(server.shared.inhibit)
    }),
    Handler("alpha", |server, context, statement| {
        server.shared.alpha = context.switch(statement).or(server.shared.alpha)
    }),
    Handler("virtualhost", |server, context, statement| server.shared.virtualhost = context.text(statement)),
    Handler("notify_up", |server, context, statement| context.script("", &mut server.notify_up, statement)),
    Handler("notify_down", |server, context, statement| context.script("", &mut server.notify_down, statement)),
    Handler("smtp_alert", |server, context, statement| {
        server.shared.smtp_alert = context.switch(statement).or(server.shared.smtp_alert)
    }),
    <RealDraft as Timed>::DELAY_LOOP_HANDLER,
    <RealDraft as Timed>::WARMUP_HANDLER,
    <RealDraft as Timed>::RETRY_HANDLER,
    <RealDraft as Timed>::DELAY_BEFORE_RETRY_HANDLER,
    <RealDraft as Timed>::CONNECT_TIMEOUT_HANDLER,
    Handler("TCP_CHECK", checker),
    Handler("HTTP_GET", checker),
    Handler("SSL_GET", checker),
    Handler("SMTP_CHECK", checker),
    Handler("DNS_CHECK", checker),
    Handler("MISC_CHECK", checker),
    Handler("UDP_CHECK", checker),
    Handler("PING_CHECK", checker),
    Handler("FILE_CHECK", checker),
    Handler("BFD_CHECK", checker),
];

fn checker(server: &mut RealDraft, context: &mut Context<'_>, statement: &Statement) {
    let own = checker::Server { address: *server.address, port: server.port, protocol: server.protocol };
    if let Some(checker) = checker::read(context, statement, own, &server.checkers) {
        // Most servers have one.
        server.checkers.reserve_exact(1);
        server.checkers.push(checker);
    }
}
