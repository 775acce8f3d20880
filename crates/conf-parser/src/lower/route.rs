//! Lines of `static_routes` and `virtual_routes`.
//!
//! A mistake costs the whole route, except where keepalived says that it ignores a word.

mod encapsulation;
mod metric;
mod next_hop;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Context;
use super::track::Suggestions;
use super::words::{Net, Words, named, number_of_any_base};
use crate::config::{
    Family, KEEPALIVED, Metrics, Named, NextHop, PROTOCOLS, Route, RouteMode, RouteTable, RouteType, RouterPreference,
    SCOPES, TABLES,
};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// Paths of the words of a route.
#[derive(Debug, Clone, Copy)]
struct Paths {
    line: &'static str,
    next_hop: &'static str,
    encapsulation: &'static str,
}

const STATIC: Paths =
    Paths { line: "static_routes", next_hop: "static_routes/nexthop", encapsulation: "static_routes/encap" };

const VIRTUAL: Paths = Paths {
    line: "vrrp_instance/virtual_routes",
    next_hop: "vrrp_instance/virtual_routes/nexthop",
    encapsulation: "vrrp_instance/virtual_routes/encap",
};

/// Reads the lines of a `static_routes` block.
pub(super) fn read_static(routes: &mut Vec<Spanned<Route>>, context: &mut Context<'_>, statement: &Statement) {
    routes.extend(statement.body.iter().filter_map(|line| read(context, &line, STATIC)));
}

/// Reads the lines of a `virtual_routes` block.
pub(super) fn read_virtual(routes: &mut Vec<Spanned<Route>>, context: &mut Context<'_>, statement: &Statement) {
    routes.extend(statement.body.iter().filter_map(|line| read(context, &line, VIRTUAL)));
}

/// A route as far as it is read.
#[derive(Debug)]
struct Draft {
    paths: Paths,
    route: Route,
    metrics: Metrics,
    destination: Option<Net>,
    /// How the destination is written.
    written: String,
    /// `or`.
    second: Option<Spanned<IpAddr>>,
    /// Where `protocol` is written.
    protocol: Option<Span>,
}

fn read(context: &mut Context<'_>, line: &Statement, paths: Paths) -> Option<Spanned<Route>> {
    let mut words = Words::new(context, line, "route", Code::BadRoute, paths.line);
    let mut draft = Draft {
        paths,
        route: Route::default(),
        metrics: Metrics::default(),
        destination: None,
        written: String::new(),
        second: None,
        protocol: None,
    };
    while let Some(word) = words.next() {
        option(&mut draft, &mut words, word)?;
    }
    let route = draft.finish(&mut words)?;
    Some(Spanned::new(route, line.span()))
}

fn option(draft: &mut Draft, words: &mut Words<'_, '_, '_>, word: &Word) -> Option<()> {
    let known = words.known(word);
    let route = &mut draft.route;
    match word.text.as_str() {
        "inet" => words.inet(word, Family::Ipv4)?,
        "inet6" => words.inet(word, Family::Ipv6)?,
        "to" => {
            let next = words.value(word)?;
            match kind(next) {
                Some(kind) => draft.typed(words, next, kind)?,
                None => draft.destination(words, next)?,
            }
        }
        "src" => route.preferred_source = Some(own_address(words, word, "route src address")?),
        "via" => route.gateway = Some(gateway(words, word)?),
        "gw" => {
            deprecated(words, word, "\"gw\" for routes is deprecated. Please use \"via\"", Some("via"));
            route.gateway = Some(gateway(words, word)?);
        }
        "or" => draft.second_gateway(words, word)?,
        "as" => {
            words.value(word).filter(|to| to.text != "to").or_else(|| words.value(word))?;
            let message = "\"as to\" for MPLS only - ignoring";
            words.context.push(Diagnostic::warning(Code::BadRoute, Class::General, word.span, message));
        }
        "from" => draft.from(words, word)?,
        "tos" | "dsfield" => route.tos = words.tos(word)?,
        "table" => route.table = RouteTable::Table(table(words, word)?),
        "vrf" => route.table = RouteTable::Vrf(words.interface(word)?),
        "protocol" => {
            let value = words.value(word)?;
            route.protocol = of_host(words, value, "Protocol", PROTOCOLS)?;
            draft.protocol = Some(word.span.to(value.span));
        }
        "scope" => {
            let value = words.value(word)?;
            route.scope = of_host(words, value, "Scope", SCOPES)?;
        }
        "metric" | "priority" | "preference" => {
            let value = words.value(word)?;
            let message = format!("Invalid metric {} specified for route", value.text);
            route.metric = Some(words.number_in(word, value, message)?);
        }
        "dev" | "oif" => route.dev = Some(words.interface(word)?),
        "onlink" => route.onlink = true,
        "encap" => {
            let encapsulation = encapsulation::read(words, word, draft.paths)?;
            route.encapsulation = encapsulation.or(route.encapsulation.take());
        }
        "expires" => {
            only(words, word, Family::Ipv6)?;
            route.expires = Some(Duration::from_secs(words.number(word, "expires time")?));
        }
        "realms" => {
            if !words.fits(Family::Ipv4) {
                return words.refuse(word, "realms are only valid for IPv4");
            }
            let value = words.value(word)?;
            route.realms = Some(words.realms(value, format!("Invalid realms {} for route", value.text))?);
        }
        "pref" => {
            only(words, word, Family::Ipv6)?;
            route.preference = Some(preference(words, word)?);
        }
        "ttl-propagate" => route.ttl_propagate = Some(ttl_propagate(words, word)?),
        "add" => route.mode = RouteMode::Add,
        "prepend" => route.mode = RouteMode::Prepend,
        "append" => route.mode = RouteMode::Append,
        "no_track" => route.track = false,
        "track_group" if known => {
            let group = words.track_group(word)?;
            if route.track_group.is_some() {
                return words.refuse(word, format!("track_group {} is a duplicate", group.value));
            }
            route.track_group = Some(group);
        }
        "nexthop" => draft.next_hops(words, word)?,
        _ if metric::read(&mut draft.metrics, words, word)? => {}
        _ => match kind(word) {
            Some(kind) => draft.typed(words, word, kind)?,
            None => draft.destination(words, word)?,
        },
    }
    Some(())
}

/// The type that a word or a number stands for.
fn kind(word: &Word) -> Option<RouteType> {
    let number = || number_of_any_base(&word.text).and_then(|number| u8::try_from(number).ok());
    RouteType::named(&word.text).or_else(|| number().map(RouteType::from_number))
}

fn deprecated(words: &mut Words<'_, '_, '_>, word: &Word, message: &str, replacement: Option<&str>) {
    let finding = Diagnostic::warning(Code::Deprecated, Class::Deprecated, word.span, message);
    words.context.push(match replacement {
        Some(text) => finding.replacement(text),
        None => finding,
    });
}

const MIXED: &str = "Cannot mix IPv4 and IPv6 addresses for route";

/// An address of the family of the route.
fn own_address(words: &mut Words<'_, '_, '_>, keyword: &Word, what: &str) -> Option<IpAddr> {
    let word = words.value(keyword)?;
    let address = words.ip(word, format!("invalid {what} {}", word.text))?;
    if words.fits(Family::of(address)) { Some(address) } else { words.refuse(word, MIXED) }
}

/// `[inet|inet6] ADDRESS`.
fn gateway(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<IpAddr> {
    let Some((word, family)) = words.peek().and_then(|word| Some((word, family(word)?))) else {
        return own_address(words, keyword, "route via address");
    };
    words.next();
    let address = own_address(words, word, "route via address")?;
    if Family::of(address) == family { Some(address) } else { words.refuse(word, MIXED) }
}

/// The family that a word before an address tells.
fn family(word: &Word) -> Option<Family> {
    match word.text.as_str() {
        "inet" => Some(Family::Ipv4),
        "inet6" => Some(Family::Ipv6),
        _ => None,
    }
}

fn only(words: &mut Words<'_, '_, '_>, word: &Word, family: Family) -> Option<()> {
    if words.fits(family) { Some(()) } else { words.refuse(word, format!("{} is only valid for {family}", word.text)) }
}

fn table(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<Named<u32>> {
    let word = words.value(keyword)?;
    match named(word, TABLES, u32::MAX) {
        Some(table) => Some(table),
        None => words.refuse(word, format!("Routing table {} not found for route", word.text)),
    }
}

/// An eight bit number that the host may have a name for.
fn of_host(words: &mut Words<'_, '_, '_>, word: &Word, what: &str, names: crate::config::Names) -> Option<Named<u8>> {
    match named(word, names, u8::MAX.into()) {
        Some(value) => Some(value),
        None => words.refuse(word, format!("{what} {} not found or invalid for route", word.text)),
    }
}

fn preference(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<RouterPreference> {
    let word = words.value(keyword)?;
    words.known(word);
    match word.text.as_str() {
        "low" => Some(RouterPreference::Low),
        "medium" => Some(RouterPreference::Medium),
        "high" => Some(RouterPreference::High),
        text => {
            let message = format!("Invalid pref value {text} specified for route");
            words.number_in(keyword, word, message).map(RouterPreference::from_number)
        }
    }
}

fn ttl_propagate(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<bool> {
    let word = words.value(keyword)?;
    words.known(word);
    if !matches!(word.text.as_str(), "enabled" | "disabled") {
        let message = format!("ttl-propagate value {} not recognised", word.text);
        let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message).label("read as disabled");
        words.context.push(finding.help("one of enabled, disabled"));
    }
    Some(word.text == "enabled")
}

impl Draft {
    /// A type, after which the destination stands.
    fn typed(&mut self, words: &mut Words<'_, '_, '_>, word: &Word, kind: RouteType) -> Option<()> {
        if RouteType::named(&word.text).is_none() {
            words.context.known_option(words.block, "<type>", word.span);
        }
        self.route.kind = kind;
        self.route.mode = RouteMode::Add;
        let destination = words.value(word)?;
        self.destination(words, destination)
    }

    fn destination(&mut self, words: &mut Words<'_, '_, '_>, word: &Word) -> Option<()> {
        let Some(net) = words.net(word) else {
            return words.unknown(word, format!("unknown route keyword {}", word.text));
        };
        if words.family.is_some() && words.family != net.family() {
            return match net {
                Net::Any => self.refuse_default(words, word),
                Net::Prefix(_) => words.refuse(word, format!("{MIXED} ({})", word.text)),
            };
        }
        words.family = net.family();
        self.destination = Some(net);
        self.written.clone_from(&word.text);
        Some(())
    }

    /// `default` takes its family from what comes after it only.
    fn refuse_default(&self, words: &mut Words<'_, '_, '_>, word: &Word) -> Option<()> {
        let finding = Diagnostic::error(Code::BadRoute, Class::General, word.span, format!("{MIXED} ({})", word.text));
        let net = words.family.map_or_else(|| "default".to_owned(), |family| Net::Any.prefix(family).to_string());
        let help = format!("write '{}' first on the line, or {net}", word.text);
        words.context.push(finding.label(words.cost).help(help).replacement(net));
        None
    }

    fn from(&mut self, words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<()> {
        let word = words.value(keyword)?;
        match words.net(word) {
            None => words.refuse(word, format!("invalid route from address {}", word.text)),
            Some(Net::Prefix(prefix)) if prefix.family() == Family::Ipv6 => {
                self.route.source = Some(prefix);
                if words.fits(Family::Ipv6) { Some(()) } else { words.refuse(word, MIXED) }
            }
            Some(_) => words.refuse(word, format!("route from address only supported with IPv6 ({})", word.text)),
        }
    }

    fn second_gateway(&mut self, words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<()> {
        let message = "\"or\" for routes is deprecated. Please use \"nexthop\"";
        deprecated(words, keyword, message, None);
        let word = words.value(keyword)?;
        let address = words.ip(word, format!("Invalid \"or\" address {}", word.text))?;
        if !words.fits(Family::of(address)) {
            return words.refuse(word, MIXED);
        }
        if self.second.is_some() {
            let message = "\"or\" route already specified - ignoring subsequent";
            words.context.push(Diagnostic::warning(Code::BadRoute, Class::General, keyword.span, message));
            return Some(());
        }
        self.second = Some(Spanned::new(address, keyword.span));
        Some(())
    }

    fn next_hops(&mut self, words: &mut Words<'_, '_, '_>, word: &Word) -> Option<()> {
        if let Some(second) = &self.second {
            let finding = Diagnostic::error(
                Code::BadRoute,
                Class::General,
                word.span,
                "Cannot specify nexthops with \"or\" route",
            );
            words.context.push(finding.label(words.cost).related(second.span, "\"or\" stands here"));
            return None;
        }
        next_hop::read(&mut self.route.next_hops, words, self.paths);
        Some(())
    }

    /// What holds once the line is read, and what cannot be.
    fn finish(mut self, words: &mut Words<'_, '_, '_>) -> Option<Route> {
        let Some(destination) = self.destination else {
            return words.refuse(words.first(), "Route must have a destination");
        };
        self.route.destination = destination.prefix(words.family.unwrap_or(Family::Ipv4));
        if let Some(second) = self.second.take() {
            let Some(first) = self.route.gateway.take() else {
                let message = "\"or\" names a second gateway of a route without a first one";
                words.context.push(
                    Diagnostic::error(Code::BadRoute, Class::General, second.span, message)
                        .label(words.cost)
                        .help("write 'via' in its place"),
                );
                return None;
            };
            let hop = |gateway| NextHop { gateway: Some(gateway), ..NextHop::default() };
            self.route.next_hops = vec![hop(first), hop(second.value)];
        }
        self.check_tracking(words);
        let metrics = std::mem::take(&mut self.metrics);
        self.route.metrics = (metrics != Metrics::default()).then(|| Box::new(metrics));
        Some(self.route)
    }

    fn check_tracking(&mut self, words: &mut Words<'_, '_, '_>) {
        let route = &mut self.route;
        if let Some(span) = self.protocol.filter(|_| route.track && route.protocol != Named::Number(KEEPALIVED)) {
            let message = "Route cannot be tracked if protocol is not RTPROT_KEEPALIVED(18), resetting protocol";
            let finding = Diagnostic::warning(Code::NotTracked, Class::General, span, message);
            words.context.push(finding.help("add 'no_track' to keep the protocol"));
            route.protocol = Named::Number(KEEPALIVED);
        }
        if route.dev.is_some() {
            return;
        }
        if route.track {
            let message =
                format!("Warning - cannot track route {} with no interface specified, not tracking", self.written);
            let finding = Diagnostic::warning(Code::NotTracked, Class::General, words.first().span, message);
            words.context.push(finding.help("add 'dev' with the interface, or 'no_track'"));
            route.track = false;
        }
        if let Some(group) = route.track_group.take() {
            let message = "Static route cannot have track group if no oif specified";
            let finding = Diagnostic::error(Code::NotTracked, Class::General, group.span, message);
            words.context.push(finding.label("the group is ignored").help("add 'dev' with the interface"));
        }
    }
}

/// Drops every `track_group` of a static route or rule that no `track_group` block before it defines.
pub(super) fn check_track_groups<'a>(
    context: &mut Context<'_>,
    groups: &HashMap<String, Span>,
    suggestions: &Suggestions,
    uses: impl Iterator<Item = &'a mut Option<Box<Spanned<String>>>>,
) {
    for slot in uses {
        let Some(used) = slot.as_ref() else { continue };
        let same = groups.get(&used.value);
        if same.is_some_and(|defined| *defined < used.span) {
            continue;
        }
        let message = format!("track_group {} not found", used.value);
        let finding =
            Diagnostic::error(Code::NotTracked, Class::General, used.span, message).label("no instance tracks it");
        context.push(match (same, suggestions.nearest(used, groups.keys().map(String::as_str))) {
            (Some(later), _) => finding.related(*later, "it is defined only here").help("define it before its use"),
            (None, Some(near)) => finding.help(format!("did you mean '{near}'?")).replacement(near),
            (None, None) => finding.help(format!("define it before this line: track_group {} {{ ... }}", used.value)),
        });
        *slot = None;
    }
}

#[cfg(test)]
mod tests;
