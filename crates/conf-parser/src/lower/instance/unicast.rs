//! Where adverts come from and go to.

use std::net::IpAddr;

use super::Draft;
use crate::config::{Family, Ipvlan, UnicastPeer};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::Context;
use crate::lower::duplicates::take_duplicates;
use crate::lower::global::Globals;
use crate::lower::value::{address_help, bounds, integer, row_bounds};
use crate::schema::schema;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

const BLOCK: &str = "vrrp_instance";

/// The words of an instance about it.
#[derive(Debug, Default)]
pub(super) struct Cast {
    pub(super) source: Option<Spanned<IpAddr>>,
    pub(super) track_source: Option<Span>,
    /// `mcast_dst_ip`.
    group: Option<Spanned<IpAddr>>,
    /// A word that stands for unicast.
    pub(super) word: Option<Span>,
    peers: Vec<UnicastPeer>,
    pub(super) fault_no_peer: bool,
    ttl: Option<Spanned<u8>>,
    pub(super) check_source: bool,
}

impl Cast {
    pub(super) fn is_unicast(&self) -> bool {
        !self.peers.is_empty()
    }
}

/// What holds.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) source: Option<Spanned<IpAddr>>,
    pub(super) track_source: bool,
    pub(super) group: Option<IpAddr>,
    pub(super) peers: Vec<UnicastPeer>,
    pub(super) fault_no_peer: bool,
    pub(super) ttl: Option<u8>,
    pub(super) check_source: bool,
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

/// `mcast_src_ip` or `unicast_src_ip`.
pub(super) fn source(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    if statement.keyword.text == "unicast_src_ip" {
        draft.cast.word = Some(statement.keyword.span);
    }
    match router_address(context, word) {
        Some(address) if draft.fits_family(Family::of(address)) => {
            draft.cast.source = Some(Spanned::new(address, word.span))
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

/// `mcast_dst_ip`.
pub(super) fn group(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    let (tag, text) = (draft.tag(), &word.text);
    let problem = match text.parse::<IpAddr>() {
        Err(_) => format!("{tag} malformed mcast_dst_ip {text}. Skipping..."),
        Ok(group) if !group.is_multicast() => format!("{tag} mcast_dst_ip {text} not multicast. Skipping..."),
        Ok(IpAddr::V6(group)) if group.segments()[0] & 0xf != 2 => {
            format!("{tag} mcast_dst_ip {text} is not link-local. Skipping...")
        }
        Ok(group) if !draft.fits_family(Family::of(group)) => {
            format!("{tag} mcast dest address {text} MUST match VRRP instance family. Skipping...")
        }
        Ok(group) => {
            draft.cast.group = Some(Spanned::new(group, word.span));
            return;
        }
    };
    context.error(Code::BadAddress, word.span, problem);
}

/// `unicast_ttl`.
pub(super) fn ttl(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    match integer(&word.text, &bounds(statement)) {
        Ok(ttl) => draft.cast.ttl = u8::try_from(ttl).ok().map(|ttl| Spanned::new(ttl, statement.span())),
        Err(wrong) => {
            let message = format!("{}: TTL '{}' not valid - must be between 0 & 255", draft.tag(), word.text);
            context.bad_number(word, wrong, message);
        }
    }
}

const MALFORMED_PEER: &str = "malformed unicast peer address";
const PEER: &str = "vrrp_instance/unicast_peer";

/// `unicast_peer`.
pub(super) fn peers(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    draft.cast.word = Some(statement.keyword.span);
    for line in statement.body.iter() {
        let word = &line.keyword;
        let (min_ttl, max_ttl) = limits(draft, context, &line);
        let problem = match router_address(context, word) {
            None => MALFORMED_PEER,
            Some(peer) if !draft.fits_family(Family::of(peer)) => "address family does not match unicast peer address",
            Some(peer) => {
                draft.cast.peers.push(UnicastPeer { address: Spanned::new(peer, word.span), min_ttl, max_ttl });
                if draft.watch[1].is_due(draft.cast.peers.len()) {
                    draft.drop_duplicate_peers(context);
                }
                continue;
            }
        };
        let message =
            format!("Configuration error: VRRP instance[{}] {problem}[{}]. Skipping...", *draft.name, word.text);
        let finding = Diagnostic::error(Code::UnicastPeer, Class::General, word.span, message);
        context.push(finding.help(match problem {
            MALFORMED_PEER => address_help(&word.text),
            _ => "every peer is of the family of the instance's addresses",
        }));
    }
}

/// `[min_ttl N] [max_ttl N]`.
fn limits(draft: &mut Draft, context: &mut Context<'_>, line: &Statement) -> (u8, u8) {
    let tag = draft.tag();
    let (mut least, mut most) = (0, u8::MAX);
    let mut words = line.arguments.iter();
    while let Some(option) = words.next() {
        if !context.known_option(PEER, &option.text, option.span) {
            let message = format!("{tag} unknown unicast_peer option {} - ignoring", option.text);
            let finding = Diagnostic::error(Code::BadWord, Class::General, option.span, message);
            let address = option.text.parse::<IpAddr>().is_ok();
            context.push(if address { finding.help("every peer stands on a line of its own") } else { finding });
            continue;
        }
        let Some(word) = words.next() else {
            let message = format!("{tag} {} is missing a value", option.text);
            context.push(Diagnostic::error(Code::MissingParameter, Class::General, option.span, message));
            break;
        };
        draft.cast.check_source = true;
        draft.places.overwrite(BLOCK, "check_unicast_src", option.span);
        match integer(&word.text, &row_bounds(schema().lookup(PEER, &option.text))) {
            Ok(limit) => {
                let slot = if option.text == "min_ttl" { &mut least } else { &mut most };
                *slot = u8::try_from(limit).unwrap_or(*slot);
            }
            Err(wrong) => {
                context.bad_number(word, wrong, format!("{tag} {} '{}' is invalid - ignoring", option.text, word.text));
            }
        }
    }
    if least > most {
        let message = format!("{tag} min_ttl {least} > max_ttl {most} - all packets will be discarded");
        context.warning(Code::UnicastPeer, line.span(), message);
    }
    (least, most)
}

impl Draft {
    /// keepalived 2.2 takes a peer twice without a word.
    pub(super) fn drop_duplicate_peers(&mut self, context: &mut Context<'_>) {
        let duplicates =
            take_duplicates(&mut self.cast.peers, |one, other| one.address.value.cmp(&other.address.value));
        self.watch[1].looked_through(self.cast.peers.len());
        for UnicastPeer { address, .. } in duplicates {
            let message = format!(
                "Configuration error: VRRP instance[{}] duplicate unicast peer address[{}]. Skipping...",
                *self.name, *address
            );
            let finding = Diagnostic::warning(Code::UnicastPeer, Class::Notice, address.span, message);
            context.push(finding.help("remove this line"));
        }
    }

    /// Applies defaults to what concerns the way of adverts.
    pub(super) fn cast(
        &mut self,
        context: &mut Context<'_>,
        family: Family,
        strict: bool,
        globals: &Globals,
        ipvlan: Option<&Ipvlan>,
    ) -> Resolved {
        let cast = std::mem::take(&mut self.cast);
        self.check_unicast(context, &cast, strict);
        let source = cast.source.clone().or_else(|| {
            let address = ipvlan?.address.clone()?;
            self.places.inherit(BLOCK, "mcast_src_ip", Some(address.span));
            Some(address)
        });
        if let Some(span) = cast.track_source.filter(|_| source.is_none()) {
            let message = format!("{} track_src_ip is of no use without mcast_src_ip or unicast_src_ip", self.tag());
            context.push(Diagnostic::note(Code::BadAddress, span, message));
        }
        // Of no use without peers, and to be shown in the instance it would be a unicast keyword there.
        let check_source = cast.check_source
            || cast.is_unicast() && {
                let global = (globals.defs.vrrp.check_unicast_src, "vrrp_check_unicast_src");
                self.inherit(None, "check_unicast_src", global, globals)
            };
        Resolved {
            group: self.group(context, &cast, family, globals),
            ttl: self.ttl(context, &cast, family),
            track_source: cast.track_source.is_some(),
            fault_no_peer: cast.fault_no_peer,
            peers: cast.peers,
            source,
            check_source,
        }
    }

    fn check_unicast(&self, context: &mut Context<'_>, cast: &Cast, strict: bool) {
        let tag = self.tag();
        match cast.word {
            Some(span) if !cast.is_unicast() && !cast.fault_no_peer => {
                let message = format!(
                    "{tag} A unicast keyword has been specified without any unicast peers. Defaulting to multicast. This usage is deprecated - please update your configuration."
                );
                let finding = Diagnostic::warning(Code::UnicastPeer, Class::Deprecated, span, message);
                context.push(finding.help("list the other routers in unicast_peer"));
            }
            // keepalived 2.4 does not start on an interface that can multicast; 2.2 says nothing.
            Some(span) if strict && cast.is_unicast() => {
                let message = format!("{tag} Unicast peers are not supported in strict mode");
                context.push(Diagnostic::warning(Code::StrictMode, Class::Notice, span, message));
            }
            _ => {}
        }
    }

    fn group(&mut self, context: &mut Context<'_>, cast: &Cast, family: Family, globals: &Globals) -> Option<IpAddr> {
        let defs = &globals.defs;
        if !cast.is_unicast() {
            let global = match family {
                Family::Ipv4 => (defs.vrrp_mcast_group4.into(), "vrrp_mcast_group4"),
                Family::Ipv6 => (defs.vrrp_mcast_group6.into(), "vrrp_mcast_group6"),
            };
            return Some(self.inherit(cast.group.as_ref().map(|group| **group), "mcast_dst_ip", global, globals));
        }
        if let Some(group) = &cast.group {
            let message = format!("{} multicast destination specified with unicast - ignoring", self.tag());
            context.warning(Code::UnicastPeer, group.span, message);
            self.places.forget(BLOCK, "mcast_dst_ip");
        }
        None
    }

    /// The TTL of unicast adverts. keepalived sends multicast with a TTL of 0 after such a word, and nobody hears it.
    fn ttl(&mut self, context: &mut Context<'_>, cast: &Cast, family: Family) -> Option<u8> {
        match &cast.ttl {
            Some(ttl) if !cast.is_unicast() => {
                let message = format!("{}: Cannot use unicast_ttl without unicast peers - resetting", self.tag());
                context.warning(Code::UnicastPeer, ttl.span, message);
                self.places.forget(BLOCK, "unicast_ttl");
                None
            }
            Some(ttl) => Some(ttl.value),
            None => (cast.is_unicast() && family == Family::Ipv4).then_some(u8::MAX),
        }
    }
}
