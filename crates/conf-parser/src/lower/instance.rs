//! `vrrp_instance`.

mod address;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use super::global::{GarpWords, Globals, repeats, version};
use super::{Context, Handler};
use crate::config::{
    AuthPass, Authentication, Family, InitialState, Notify, Priority, Route, Rule, VirtualAddress, Vrid, VrrpInstance,
    VrrpVersion,
};
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::lexer::Word;
use crate::schema::nearest;
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// An instance as written, before defaults and settings of `global_defs`.
#[derive(Debug, Default)]
pub(super) struct Draft {
    name: Spanned<String>,
    state: Option<InitialState>,
    interface: Option<Spanned<String>>,
    vrid: Option<Spanned<Vrid>>,
    family: Option<Family>,
    priority: Option<Priority>,
    interval: Option<Spanned<Duration>>,
    version: Option<Spanned<VrrpVersion>>,
    authentication: Option<AuthenticationWords>,
    addresses: Vec<VirtualAddress>,
    excluded: Vec<VirtualAddress>,
    routes: Vec<Spanned<Route>>,
    rules: Vec<Spanned<Rule>>,
    no_address: bool,
    nopreempt: Option<Span>,
    preempt_delay: Spanned<Duration>,
    garp: GarpWords,
    skip_check_adv_addr: Option<bool>,
    lower_prio_no_advert: Option<bool>,
    higher_prio_send_advert: Option<bool>,
    down_timer_adverts: Option<u8>,
    source: Option<Spanned<IpAddr>>,
    /// `mcast_dst_ip`.
    group: Option<IpAddr>,
    unicast_word: Option<Span>,
    peers: Vec<Spanned<IpAddr>>,
    ignore_primary: bool,
    tracked: Vec<Spanned<String>>,
    /// What is in the lists above.
    listed: HashSet<Listed>,
    notify: Notify,
    smtp_alert: Option<bool>,
    places: Places,
}

super::placed!(Draft);

/// An entry of one of the lists of an instance.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Listed {
    Address(IpAddr, u8, Option<String>),
    Peer(IpAddr),
    Interface(String),
}

#[derive(Debug, Default)]
pub(super) struct AuthenticationWords {
    /// The instance, as findings name it.
    tag: String,
    span: Span,
    pass: bool,
    password: Option<AuthPass>,
    places: Places,
}

super::placed!(AuthenticationWords);

/// Reads one block; nothing comes back for a second instance of the same name.
pub(super) fn read(
    context: &mut Context<'_>,
    statement: &Statement,
    names: &mut HashMap<String, Span>,
) -> Option<Draft> {
    let name = statement.arguments.first()?;
    if let Some(first) = names.get(&name.text) {
        let message = format!("vrrp instance {} already defined", name.text);
        let finding = Diagnostic::error(Code::DuplicateInstance, Class::General, name.span, message)
            .label("this block is ignored");
        context.push(finding.related(*first, "the one that is used"));
        return None;
    }
    names.insert(name.text.clone(), name.span);
    let mut draft = Draft { name: Spanned::new(name.text.clone(), name.span), ..Draft::default() };
    context.visit(&mut draft, &statement.body, &[INSTANCE]);
    Some(draft)
}

/// Applies defaults to every instance and checks them against each other.
pub(super) fn finish(context: &mut Context<'_>, drafts: Vec<Draft>, globals: &Globals) -> Vec<VrrpInstance> {
    let default_group = |family| match family {
        Family::Ipv4 => IpAddr::V4(globals.defs.vrrp_mcast_group4),
        Family::Ipv6 => IpAddr::V6(globals.defs.vrrp_mcast_group6),
    };
    let instances = drafts.into_iter().filter_map(|draft| {
        let group = draft.group;
        let instance = draft.finish(context, globals)?;
        let group = group.unwrap_or_else(|| default_group(instance.family));
        Some((instance, group))
    });
    let instances: Vec<_> = instances.collect();
    report_shared_vrids(context, &instances);
    instances.into_iter().map(|(instance, _)| instance).collect()
}

/// Two instances with the same VRID on the same link hear each other's adverts when they use the same multicast group,
/// or when they share a unicast peer.
fn report_shared_vrids(context: &mut Context<'_>, instances: &[(VrrpInstance, IpAddr)]) {
    let mut users = HashMap::new();
    for (instance, group) in instances {
        let link = instance.interface.as_ref().map(|interface| interface.value.as_str());
        let key = (*instance.virtual_router_id, instance.family, link);
        let peers = instance.unicast_peers.iter().map(|peer| peer.value);
        let multicast = instance.unicast_peers.is_empty().then_some(*group);
        let mut others = peers.chain(multicast).filter_map(|group| match users.entry((key, group)) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) => {
                entry.insert(instance);
                None
            }
        });
        let other: Option<&VrrpInstance> = others.next();
        // The rest are noted, though one finding for an instance is enough.
        others.for_each(drop);
        if let Some(other) = other {
            let (vrid, family) = (instance.virtual_router_id.0, instance.family);
            let message = format!(
                "{} and {} both use VRID {vrid} with {family} on interface {}",
                *other.name,
                *instance.name,
                link.unwrap_or("none")
            );
            let finding =
                Diagnostic::error(Code::DuplicateVrid, Class::General, instance.virtual_router_id.span, message);
            context.push(
                finding.refusing().related(other.virtual_router_id.span, format!("{} uses it here", *other.name)),
            );
        }
    }
}

impl Draft {
    fn tag(&self) -> String {
        format!("({})", *self.name)
    }

    fn finish(mut self, context: &mut Context<'_>, globals: &Globals) -> Option<VrrpInstance> {
        let family = self.family.unwrap_or(Family::Ipv4);
        let version = self.version(family, globals);
        let wants_master = self.state == Some(InitialState::Master);
        let priority = self.priority.unwrap_or(if wants_master { Priority::OWNER } else { Priority::DEFAULT });
        let state =
            self.state.unwrap_or(if priority == Priority::OWNER { InitialState::Master } else { InitialState::Backup });
        let interval = self.interval(context, version);
        let authentication = self.authentication(context, version, family);
        self.check_unicast(context);
        self.move_excess(context, family);
        self.check_addresses(context, version);
        self.check_preemption(context, state, priority);
        self.drop_own_interface(context);
        let placed = self.check_interface(context);
        let Some(vrid) = self.vrid.clone() else {
            let message = format!("{} the virtual router id must be set", self.tag());
            context.push(
                Diagnostic::error(Code::NoVrid, Class::General, self.name.span, message)
                    .refusing()
                    .help("add 'virtual_router_id' with a number from 1 to 255"),
            );
            return None;
        };
        placed.then(|| VrrpInstance {
            state,
            interface: self.interface,
            virtual_router_id: vrid,
            family,
            priority,
            advertisement_interval: interval,
            version,
            authentication,
            virtual_addresses: self.addresses,
            excluded_addresses: self.excluded,
            virtual_routes: self.routes,
            virtual_rules: self.rules,
            preempt: self.nopreempt.is_none(),
            preempt_delay: self.preempt_delay.value,
            accept: true,
            garp: self.garp.or(&globals.garp),
            skip_check_adv_addr: self.skip_check_adv_addr.unwrap_or(globals.defs.vrrp.skip_check_adv_addr),
            lower_prio_no_advert: self.lower_prio_no_advert.or(globals.defs.vrrp.lower_prio_no_advert).unwrap_or(false),
            higher_prio_send_advert: self.higher_prio_send_advert.unwrap_or(globals.defs.vrrp.higher_prio_send_advert),
            down_timer_adverts: self.down_timer_adverts.unwrap_or(globals.defs.vrrp.down_timer_adverts),
            source_address: self.source,
            unicast_peers: self.peers,
            track_primary: !self.ignore_primary,
            track_interfaces: self.tracked,
            notify: self.notify,
            smtp_alert: self.smtp_alert,
            name: self.name,
            places: self.places,
        })
    }

    fn version(&self, family: Family, globals: &Globals) -> VrrpVersion {
        match (&self.version, family) {
            (Some(version), _) => version.value,
            (None, Family::Ipv6) => VrrpVersion::V3,
            (None, Family::Ipv4) => globals.defs.vrrp_version,
        }
    }

    /// The advertisement interval in the steps that the version can carry.
    fn interval(&self, context: &mut Context<'_>, version: VrrpVersion) -> Duration {
        let Some(written) = &self.interval else {
            return Duration::from_secs(1);
        };
        let (step, most) = match version {
            VrrpVersion::V2 => (1_000_000, 255_000_000),
            VrrpVersion::V3 => (10_000, 40_950_000),
        };
        let micros = u64::try_from(written.as_micros()).unwrap_or(u64::MAX);
        let rounded = ((micros + step / 2) / step * step).clamp(step, most);
        let seconds = written.as_secs_f64();
        let message = match version {
            VrrpVersion::V2 => format!("VRRPv2 advertisement interval {seconds:.6}s must be an integer. rounding"),
            VrrpVersion::V3 if micros > most => {
                format!(
                    "VRRPv3 advertisement interval {seconds:.2}s is out of range. Must be less than 40.96s. Setting to 40.95s"
                )
            }
            VrrpVersion::V3 => {
                format!("VRRPv3 advertisement interval {seconds:.6}s must be a multiple of 0.01s. rounding")
            }
        };
        if rounded != micros {
            let used = Duration::from_micros(rounded).as_secs_f64();
            let finding = Diagnostic::warning(
                Code::AdjustedValue,
                Class::Warning,
                written.span,
                format!("{} {message}", self.tag()),
            );
            context.push(finding.label(format!("{used} s is used")));
        }
        Duration::from_micros(rounded)
    }

    fn authentication(
        &self,
        context: &mut Context<'_>,
        version: VrrpVersion,
        family: Family,
    ) -> Option<Authentication> {
        let words = self.authentication.as_ref()?;
        let reason = match (words.pass, words.password) {
            (false, _) => return None,
            _ if version == VrrpVersion::V3 => "VRRP version 3 does not support authentication. Ignoring.",
            _ if family == Family::Ipv6 => "Cannot use authentication with IPv6. Ignoring.",
            (true, None) => "Authentication specified but no password given. Ignoring",
            (true, Some(password)) => return Some(Authentication::Pass(password)),
        };
        context.warning(Code::Authentication, words.span, format!("{} {reason}", self.tag()));
        None
    }

    fn check_unicast(&mut self, context: &mut Context<'_>) {
        let Some(span) = self.unicast_word.filter(|_| self.peers.is_empty()) else {
            return;
        };
        let message = format!(
            "{} A unicast keyword has been specified without any unicast peers. Defaulting to multicast. This usage is deprecated - please update your configuration.",
            self.tag()
        );
        context.push(Diagnostic::warning(Code::UnicastPeer, Class::Deprecated, span, message));
    }

    /// Addresses that do not fit into an advert become excluded ones.
    fn move_excess(&mut self, context: &mut Context<'_>, family: Family) {
        // 255 is what one byte counts; an IPv6 advert of an Ethernet frame has room for 90: (1500 - 40 - 8) / 16.
        let most = if family == Family::Ipv4 { 255 } else { 90 };
        let count = self.addresses.len();
        if count <= most {
            return;
        }
        let excess = self.addresses.split_off(most);
        let span = excess.first().map_or(self.name.span, |address| address.address.span);
        self.excluded.splice(0..0, excess);
        let message = format!(
            "{} Number of VIPs ({count}) exceeds maximum/space available in packet (max {most} addresses) - excess moved to eVIPs",
            self.tag()
        );
        context.warning(Code::TooManyAddresses, span, message);
    }

    fn check_addresses(&self, context: &mut Context<'_>, version: VrrpVersion) {
        if !self.addresses.is_empty() || self.no_address {
            return;
        }
        let message = |need| format!("{} No VIP specified; at least one is {need}", self.tag());
        context.push(match version {
            VrrpVersion::V2 => {
                Diagnostic::warning(Code::NoAddress, Class::General, self.name.span, message("sensible"))
            }
            VrrpVersion::V3 => {
                Diagnostic::error(Code::NoAddress, Class::General, self.name.span, message("required")).refusing()
            }
        });
    }

    fn check_preemption(&mut self, context: &mut Context<'_>, state: InitialState, priority: Priority) {
        let tag = self.tag();
        if let Some(span) = self.nopreempt {
            let reason = match state {
                InitialState::Master if self.state.is_some() => {
                    Some("Warning - nopreempt will not work with initial state MASTER - clearing")
                }
                _ if priority == Priority::OWNER => {
                    Some("nopreempt is incompatible with priority 255. resetting nopreempt")
                }
                _ => None,
            };
            if let Some(reason) = reason {
                let finding = Diagnostic::warning(Code::Preemption, Class::General, span, format!("{tag} {reason}"));
                context.push(finding.help("with 'state BACKUP' on every node nopreempt works"));
                self.nopreempt = None;
            }
        }
        if self.preempt_delay.value.is_zero() {
            return;
        }
        let reason = match state {
            InitialState::Master => "initial state MASTER",
            InitialState::Backup if self.nopreempt.is_some() => "nopreempt",
            InitialState::Backup => return,
        };
        let message = format!("{tag} Warning - preempt delay will not work with {reason} - clearing");
        context.push(Diagnostic::warning(Code::Preemption, Class::General, self.preempt_delay.span, message));
        self.preempt_delay.value = Duration::ZERO;
    }

    fn drop_own_interface(&mut self, context: &mut Context<'_>) {
        let tag = self.tag();
        let Some(own) = self.interface.as_ref().map(|interface| interface.value.as_str()) else {
            return;
        };
        self.tracked.retain(|tracked| {
            if tracked.value != own {
                return true;
            }
            let message = format!("{tag} Ignoring track_interface {own} since own interface");
            context.push(Diagnostic::warning(Code::OwnInterface, Class::General, tracked.span, message));
            false
        });
    }

    /// Whether the instance has a link, or all that it needs without one.
    fn check_interface(&self, context: &mut Context<'_>) -> bool {
        let unicast = !self.peers.is_empty();
        match &self.interface {
            Some(interface) if interface.value != "lo" => return true,
            None if unicast && self.source.is_some() => return true,
            _ => {}
        }
        let span = self.interface.as_ref().map_or(self.name.span, |interface| interface.span);
        let finding =
            Diagnostic::error(Code::NoInterface, Class::General, span, format!("{} Unknown interface!", self.tag()))
                .refusing();
        context.push(match (&self.interface, unicast) {
            (Some(_), _) => finding.help("the loopback interface cannot carry adverts"),
            (None, true) => finding.help("add 'interface' or 'unicast_src_ip'"),
            (None, false) => finding.help("add 'interface'"),
        });
        false
    }

    /// The family of the instance: that of the first address that tells it. Whether `family` fits.
    fn fits_family(&mut self, family: Family) -> bool {
        *self.family.get_or_insert(family) == family
    }
}

fn listed(address: &VirtualAddress) -> Listed {
    let dev = address.dev.as_ref().map(|dev| dev.value.clone());
    Listed::Address(*address.address, address.prefix_len, dev)
}

fn state(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    let state = match word.text.as_str() {
        "MASTER" => InitialState::Master,
        "BACKUP" => InitialState::Backup,
        text => {
            let message = format!("{} unknown state '{text}', defaulting to BACKUP", draft.tag());
            let finding = Diagnostic::error(Code::UnknownState, Class::General, word.span, message);
            context.push(match nearest(text, ["MASTER", "BACKUP"].into_iter()) {
                Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                None => finding.help("one of MASTER, BACKUP"),
            });
            InitialState::Backup
        }
    };
    // MASTER wins over a BACKUP that follows.
    if draft.state == Some(InitialState::Master) {
        if state == InitialState::Backup {
            let message = format!("{} state previously set as MASTER - ignoring {}", draft.tag(), word.text);
            context.warning(Code::AdjustedValue, word.span, message);
        }
        return;
    }
    draft.state = Some(state);
}

/// An address whose prefix length, if there is one, is passed over.
fn router_address(context: &mut Context<'_>, word: &Word) -> Option<IpAddr> {
    let Some((address, _)) = word.text.split_once('/') else {
        return word.text.parse().ok();
    };
    let address = address.parse().ok()?;
    let message = format!("the prefix length of {} is not used here", word.text);
    context.push(Diagnostic::note(Code::BadAddress, word.span, message).help(format!("write {address}")));
    Some(address)
}

fn source(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    match router_address(context, word) {
        Some(address) if draft.fits_family(Family::of(address)) => {
            draft.source = Some(Spanned::new(address, word.span))
        }
        _ => {
            let message = format!(
                "Configuration error: VRRP instance[{}] malformed src address[{}]. Skipping...",
                *draft.name, word.text
            );
            context.error(Code::BadAddress, word.span, message);
        }
    }
}

const DUPLICATE_PEER: &str = "duplicate unicast peer address";

fn peers(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    draft.unicast_word = Some(statement.keyword.span);
    for line in &statement.body {
        let mut words = line.arguments.iter();
        while let Some(word) = words.next() {
            if context.known_option("vrrp_instance/unicast_peer", &word.text, word.span) {
                words.next();
                continue;
            }
            let message = format!("{} unknown unicast_peer option {} - ignoring", draft.tag(), word.text);
            let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
            let address = word.text.parse::<IpAddr>().is_ok();
            context.push(if address { finding.help("every peer stands on a line of its own") } else { finding });
        }
        let word = &line.keyword;
        let problem = match router_address(context, word) {
            None => Some("malformed unicast peer address"),
            Some(peer) if !draft.fits_family(Family::of(peer)) => {
                Some("address family does not match unicast peer address")
            }
            Some(peer) if !draft.listed.insert(Listed::Peer(peer)) => Some(DUPLICATE_PEER),
            Some(peer) => {
                draft.peers.push(Spanned::new(peer, word.span));
                None
            }
        };
        if let Some(problem) = problem {
            let message =
                format!("Configuration error: VRRP instance[{}] {problem}[{}]. Skipping...", *draft.name, word.text);
            let finding = Diagnostic::error(Code::UnicastPeer, Class::General, word.span, message);
            // keepalived 2.2 takes a peer twice without a word.
            let harmless = problem == DUPLICATE_PEER;
            context.push(if harmless {
                Diagnostic { severity: Severity::Warning, class: Class::Notice, ..finding }
            } else {
                finding
            });
        }
    }
}

fn track_interfaces(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    for line in &statement.body {
        // The default, under which the interface is simply tracked.
        let words = match line.arguments.as_slice() {
            [weight, zero, rest @ ..] if weight.text == "weight" && zero.text == "0" => rest,
            words => words,
        };
        for word in words.iter().filter(|word| word.text.starts_with(|char: char| char.is_ascii_alphabetic())) {
            if !context.known_option("vrrp_instance/track_interface", &word.text, word.span) {
                let message = format!(
                    "{} unknown track_interface {} option {} - ignoring",
                    draft.tag(),
                    line.keyword.text,
                    word.text
                );
                context.error(Code::BadWord, word.span, message);
            }
        }
        let Some(name) = context.interface(&line.keyword) else { continue };
        if !draft.listed.insert(Listed::Interface(name.value.clone())) {
            context.warning(
                Code::AdjustedValue,
                name.span,
                format!("{} duplicate track_interface {} - ignoring", draft.tag(), *name),
            );
        } else {
            draft.tracked.push(name);
        }
    }
}

pub(super) const AUTHENTICATION: &[Handler<AuthenticationWords>] = &[
    Handler("auth_type", |words, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match word.text.as_str() {
            "PASS" => words.pass = true,
            text if context.known_option("vrrp_instance/authentication/auth_type", text, word.span) => {
                words.pass = false
            }
            text => {
                let message = format!("{} unknown authentication type '{text}'", words.tag);
                let finding = Diagnostic::error(Code::Authentication, Class::General, word.span, message);
                context.push(finding.help("one of PASS, AH"));
            }
        }
    }),
    Handler("auth_pass", |words, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        let mut password = [0; 8];
        if word.bytes().len() > password.len() {
            let finding = Diagnostic::warning(
                Code::Authentication,
                Class::General,
                word.span,
                "Truncating auth_pass to 8 characters",
            );
            context.push(finding.help("only the first eight bytes are ever sent: write just these"));
        }
        password.iter_mut().zip(word.bytes()).for_each(|(to, from)| *to = *from);
        words.password = Some(AuthPass(password));
    }),
];

fn authentication(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let mut words =
        AuthenticationWords { tag: draft.tag(), span: statement.keyword.span, ..AuthenticationWords::default() };
    context.visit(&mut words, &statement.body, &[AUTHENTICATION]);
    draft.authentication = Some(words);
}

pub(super) const INSTANCE: &[Handler<Draft>] = &[
    Handler("state", state),
    Handler("interface", |draft, context, statement| {
        draft.interface =
            statement.arguments.first().and_then(|word| context.interface(word)).or(draft.interface.take());
    }),
    Handler("virtual_router_id", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match super::value::integer(&word.text, &(1..=255u8)).map(NonZeroU8::new) {
            Ok(vrid) => draft.vrid = vrid.map(|vrid| Spanned::new(Vrid(vrid), word.span)),
            Err(wrong) => {
                context.bad_number(
                    word,
                    wrong,
                    format!("{}: VRID '{}' not valid - must be between 1 & 255", draft.tag(), word.text),
                );
            }
        }
    }),
    Handler("priority", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match super::value::integer(&word.text, &(1..=255u8)).map(NonZeroU8::new) {
            Ok(priority) => draft.priority = priority.map(Priority),
            Err(wrong) => {
                context.bad_number(
                    word,
                    wrong,
                    format!("{} Priority not valid! must be between 1 & 255. Using default 100", draft.tag()),
                );
                draft.priority = Some(Priority::DEFAULT);
            }
        }
    }),
    Handler("advert_int", |draft, context, statement| {
        let tag = draft.tag();
        let interval = context.time_with(statement, |text| {
            format!("{tag} Advert interval ({text}) not valid! Must be between 0.01 & 255. Using default 1")
        });
        draft.interval = interval.map(|interval| Spanned::new(interval, statement.span()));
    }),
    Handler("version", |draft, context, statement| {
        let tag = format!("{} ", draft.tag());
        let Some(version) = version(context, statement, &tag) else { return };
        let deduced = (draft.family == Some(Family::Ipv6)).then_some(VrrpVersion::V3);
        let known = draft.version.as_ref().map(|version| version.value).or(deduced);
        if let Some(known) = known.filter(|known| *known != version) {
            let number = |version| if version == VrrpVersion::V2 { 2 } else { 3 };
            let message = format!(
                "{tag}vrrp_version {} conflicts with configured or deduced version {}; ignoring.",
                number(version),
                number(known)
            );
            context.error(Code::AdjustedValue, statement.span(), message);
            return;
        }
        draft.version = Some(Spanned::new(version, statement.span()));
    }),
    Handler("authentication", authentication),
    Handler("virtual_ipaddress", |draft, context, statement| {
        for line in &statement.body {
            let Some(address) = address::read(context, "vrrp_instance/virtual_ipaddress", line) else { continue };
            let written = format!("{}/{}", *address.address, address.prefix_len);
            if !draft.fits_family(Family::of(*address.address)) {
                let message = format!(
                    "{}: address family must match VRRP instance [{}] - ignoring",
                    draft.tag(),
                    line.keyword.text
                );
                context.push(
                    Diagnostic::error(Code::AddressFamily, Class::General, line.keyword.span, message)
                        .help("virtual_ipaddress_excluded takes either family"),
                );
            } else if !draft.listed.insert(listed(&address)) {
                // keepalived 2.2 passes over it without a word.
                let message = format!("{} Duplicate VIP {written} - ignoring", draft.tag());
                let span = line.keyword.span;
                context.push(Diagnostic::warning(Code::DuplicateAddress, Class::Notice, span, message));
            } else {
                draft.addresses.push(address);
            }
        }
    }),
    Handler("virtual_ipaddress_excluded", |draft, context, statement| {
        for line in &statement.body {
            draft.excluded.extend(address::read(context, "vrrp_instance/virtual_ipaddress_excluded", line));
        }
    }),
    Handler("virtual_routes", |draft, context, statement| {
        super::route::read_virtual(&mut draft.routes, context, statement);
    }),
    Handler("virtual_rules", |draft, context, statement| {
        super::rule::read_virtual(&mut draft.rules, context, statement);
    }),
    Handler("no_virtual_ipaddress", |draft, _, _| draft.no_address = true),
    Handler("native_ipv6", |draft, context, statement| {
        if !draft.fits_family(Family::Ipv6) {
            let message = format!("{} native_ipv6 comes after an IPv4 address - ignoring", draft.tag());
            context.error(Code::AddressFamily, statement.keyword.span, message);
        }
    }),
    // On is the default, and strict mode, which turns it off, is not acted on.
    Handler("accept", |_, _, _| {}),
    Handler("preempt", |draft, _, _| draft.nopreempt = None),
    Handler("nopreempt", |draft, _, statement| draft.nopreempt = Some(statement.keyword.span)),
    Handler("preempt_delay", |draft, context, statement| {
        let tag = draft.tag();
        let delay = context
            .time_with(statement, |text| format!("{tag} Preempt_delay ({text}) not valid! must be between 0-1000"));
        draft.preempt_delay = Spanned::new(delay.unwrap_or_default(), statement.span());
    }),
    Handler("garp_master_delay", |draft, context, statement| {
        draft.garp.delay = context.time(statement, &statement.keyword.text).or(draft.garp.delay);
    }),
    Handler("garp_master_repeat", |draft, context, statement| {
        draft.garp.repeat = repeats(context, statement).or(draft.garp.repeat);
    }),
    Handler("garp_master_refresh", |draft, context, statement| {
        draft.garp.refresh = context.time(statement, &statement.keyword.text).or(draft.garp.refresh);
    }),
    Handler("garp_master_refresh_repeat", |draft, context, statement| {
        draft.garp.refresh_repeat = repeats(context, statement).or(draft.garp.refresh_repeat);
    }),
    Handler("garp_lower_prio_delay", |draft, context, statement| {
        draft.garp.lower_prio_delay = context.time(statement, &statement.keyword.text).or(draft.garp.lower_prio_delay);
    }),
    Handler("garp_lower_prio_repeat", |draft, context, statement| {
        let repeat = context.number(statement, "garp_lower_prio_repeat");
        draft.garp.lower_prio_repeat = repeat.or(draft.garp.lower_prio_repeat);
    }),
    Handler("skip_check_adv_addr", |draft, context, statement| {
        draft.skip_check_adv_addr = context.switch(statement).or(draft.skip_check_adv_addr)
    }),
    Handler("lower_prio_no_advert", |draft, context, statement| {
        draft.lower_prio_no_advert = context.switch(statement).or(draft.lower_prio_no_advert);
    }),
    Handler("higher_prio_send_advert", |draft, context, statement| {
        draft.higher_prio_send_advert = context.switch(statement).or(draft.higher_prio_send_advert);
    }),
    Handler("down_timer_adverts", |draft, context, statement| {
        draft.down_timer_adverts = context.number(statement, "down_timer_adverts").or(draft.down_timer_adverts);
    }),
    Handler("mcast_src_ip", source),
    Handler("mcast_dst_ip", |draft, _, statement| {
        let group = statement.arguments.first().and_then(|word| word.text.parse().ok());
        draft.group = group.filter(IpAddr::is_multicast).or(draft.group);
    }),
    Handler("unicast_src_ip", |draft, context, statement| {
        draft.unicast_word = Some(statement.keyword.span);
        source(draft, context, statement);
    }),
    Handler("unicast_peer", peers),
    Handler("dont_track_primary", |draft, _, _| draft.ignore_primary = true),
    Handler("track_interface", track_interfaces),
    Handler("notify_master", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.master, statement)
    }),
    Handler("notify_backup", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.backup, statement)
    }),
    Handler("notify_fault", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.fault, statement)
    }),
    Handler("notify_stop", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.stop, statement)
    }),
    Handler("notify", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.any, statement)
    }),
    Handler("smtp_alert", |draft, context, statement| {
        draft.smtp_alert = context.switch(statement).or(draft.smtp_alert)
    }),
];

#[cfg(test)]
pub(super) use address::OPTIONS as ADDRESS_OPTIONS;
