//! Lines of `virtual_ipaddress`, `virtual_ipaddress_excluded` and `static_ipaddress`.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::{AddressOptions, Family, Lifetime, SCOPES, VirtualAddress};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::Context;
use crate::lower::value::{address_help, integer};
use crate::lower::words::named;
use crate::schema::{nearest, schema};
use crate::source::Spanned;
use crate::tree::Statement;

/// An address that is being read.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    address: VirtualAddress,
    options: AddressOptions,
    /// The first word of the line.
    word: &'a Word,
    /// A length of the prefix is given.
    has_length: bool,
    /// Whether the address is used after all.
    usable: bool,
}

/// What an option of the line does with its value.
type Setter = fn(&mut Draft<'_>, &mut Context<'_>, &Word);

/// The options that take a value.
pub(crate) const OPTIONS: &[(&str, Setter)] = &[
    ("dev", |draft, context, word| draft.address.dev = context.interface(word).map(Box::new)),
    ("scope", scope),
    ("brd", broadcast),
    ("broadcast", broadcast),
    ("label", label),
    ("peer", peer),
    ("preferred_lft", preferred_lifetime),
    ("track_group", |draft, _, word| {
        draft.options.track_group = Some(Spanned::new(word.text.clone(), word.span));
    }),
];

/// What an option without a value sets.
type Flag = fn(&mut AddressOptions) -> &mut bool;

/// The options that take no value.
pub(crate) const FLAGS: &[(&str, Flag)] = &[
    ("home", |options| &mut options.home),
    ("-nodad", |options| &mut options.detect_duplicates),
    ("mngtmpaddr", |options| &mut options.mngtmpaddr),
    ("noprefixroute", |options| &mut options.noprefixroute),
    ("autojoin", |options| &mut options.autojoin),
    ("no_track", |options| &mut options.no_track),
    ("use_vmac", |options| &mut options.use_vmac),
];

const NOT_USED: &str = "the address is not used";

/// Longest label of an address that the kernel takes.
const MAX_LABEL: usize = 15;

/// Reads one line; nothing comes back when the address cannot be used.
pub(crate) fn read(context: &mut Context<'_>, block: &str, line: &Statement) -> Option<VirtualAddress> {
    let word = &line.keyword;
    let (ip, length) = word.text.split_once('/').map_or((word.text.as_str(), None), |(ip, length)| (ip, Some(length)));
    let Ok(ip) = ip.parse::<IpAddr>() else {
        let message = format!("VRRP parsed invalid IP {}. skipping IP...", word.text);
        let finding = Diagnostic::error(Code::BadAddress, Class::General, word.span, message);
        context.push(finding.help(match word.text.contains(['.', ':']) {
            true => address_help(&word.text),
            false => "only addresses stand in this block: perhaps its '}' is missing above",
        }));
        return None;
    };
    let prefix_len = context.prefix_len(word, ip, length);
    let address = VirtualAddress::new(Spanned::new(ip, word.span), prefix_len);
    let mut draft =
        Draft { address, options: AddressOptions::default(), word, has_length: length.is_some(), usable: true };
    let mut words = line.arguments.iter();
    while let Some(option) = words.next() {
        // What stands in another kind of list, such as track_group, is unknown here.
        if !context.known_option(block, &option.text, option.span) {
            unknown(context, block, option);
        } else if let Some((_, set)) = OPTIONS.iter().find(|(name, _)| *name == option.text) {
            draft.option(context, option, words.next(), *set);
        } else if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == option.text) {
            *flag(&mut draft.options) = true;
        }
    }
    draft.finish(context)
}

fn unknown(context: &mut Context<'_>, block: &str, option: &Word) {
    let message = format!("Unknown configuration entry '{}' for ip address - ignoring", option.text);
    let finding = Diagnostic::error(Code::BadWord, Class::General, option.span, message);
    if context.diagnostics.is_full() {
        return context.push(finding);
    }
    let known = OPTIONS.iter().map(|(word, _)| *word).chain(FLAGS.iter().map(|(word, _)| *word));
    let known = known.filter(|word| schema().lookup(block, word).is_some());
    context.push(match nearest(&option.text, known) {
        Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
        None => finding,
    });
}

impl Draft<'_> {
    fn drop(&mut self, context: &mut Context<'_>, code: Code, word: &Word, message: String) {
        context.push(Diagnostic::error(code, Class::General, word.span, message).label(NOT_USED));
        self.usable = false;
    }

    fn option(&mut self, context: &mut Context<'_>, option: &Word, value: Option<&Word>, set: Setter) {
        let line = &self.word.text;
        match value {
            None => {
                let message = format!("No {} parameter specified for {line}", option.text);
                self.drop(context, Code::MissingParameter, option, message);
            }
            Some(_) if option.text == "dev" && self.address.dev.is_some() => {
                let message = format!("Cannot specify ipaddress device more than once for {line}");
                self.drop(context, Code::BadWord, option, message);
            }
            Some(value) => set(self, context, value),
        }
    }

    fn finish(mut self, context: &mut Context<'_>) -> Option<VirtualAddress> {
        let (address, options) = (&mut self.address, &mut self.options);
        if options.peer.is_some() {
            if self.has_length {
                let message = "Cannot specify address prefix when specifying peer address - ignoring";
                context.error(Code::BadAddress, self.word.span, message);
            }
            if options.broadcast.take().is_some() {
                let message = "Cannot specify broadcast and peer addresses - ignoring broadcast address";
                context.error(Code::BadAddress, self.word.span, message);
            }
        }
        // What is said as it is by default goes without saying.
        options.preferred_lifetime.take_if(|own| *own == Lifetime::default_of(*address.address, address.prefix_len));
        if options.peer.is_some() {
            address.prefix_len = Family::of(*address.address).bits();
        }
        address.set_options(self.options);
        self.usable.then_some(self.address)
    }
}

fn scope(draft: &mut Draft<'_>, context: &mut Context<'_>, word: &Word) {
    let line = &draft.word.text;
    if draft.address.address.is_ipv6() {
        let message = format!("Cannot specify scope for IPv6 addresses ({line}) - ignoring scope");
        return context.warning(Code::BadWord, word.span, message);
    }
    match named(word, SCOPES, u8::MAX.into()) {
        Some(scope) => draft.options.scope = scope,
        None => {
            let message = format!("Invalid scope '{}' specified for {line} - ignoring", word.text);
            let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
            context.push(finding.help("one of global, site, link, host, nowhere, or a number from 0 to 255"));
        }
    }
}

fn label(draft: &mut Draft<'_>, context: &mut Context<'_>, word: &Word) {
    if draft.address.address.is_ipv6() {
        let message = format!("Cannot specify label for IPv6 addresses ({}) - ignoring label", draft.word.text);
        context.warning(Code::BadWord, word.span, message);
    } else if word.text.len() > MAX_LABEL {
        let message =
            format!("Address label {} is longer than maximum length {MAX_LABEL} - removing address", word.text);
        draft.drop(context, Code::BadWord, word, message);
    } else {
        draft.options.label = context.interface(word).map(|label| label.value.into());
    }
}

fn broadcast(draft: &mut Draft<'_>, context: &mut Context<'_>, word: &Word) {
    let IpAddr::V4(ip) = *draft.address.address else {
        let message = format!(
            "VRRP is trying to assign a broadcast {} to the IPv6 address {} - skipping VIP",
            word.text, draft.word.text
        );
        return draft.drop(context, Code::BadAddress, word, message);
    };
    let prefix_len = draft.address.prefix_len;
    let host_bits = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
    let computed = match word.text.as_str() {
        "+" | "-" if prefix_len > 30 => None,
        "+" => Some(Ipv4Addr::from_bits(ip.to_bits() | host_bits)),
        "-" => Some(Ipv4Addr::from_bits(ip.to_bits() & !host_bits)),
        text => text.parse().ok(),
    };
    if computed.is_none() {
        context.error(Code::BadAddress, word.span, format!("Invalid broadcast address {} - ignoring", word.text));
    }
    draft.options.broadcast = computed.or(draft.options.broadcast);
}

fn peer(draft: &mut Draft<'_>, context: &mut Context<'_>, word: &Word) {
    let family = Family::of(*draft.address.address);
    let problem = match word.text.parse::<IpAddr>() {
        Ok(_) if draft.options.peer.is_some() => {
            format!("Peer {} - another peer has already been specified", word.text)
        }
        Ok(peer) if Family::of(peer) == family => {
            draft.options.peer = Some(peer);
            return;
        }
        Ok(_) => format!("Peer address {} does not match address family", word.text),
        Err(_) => format!("Invalid peer address {}", word.text),
    };
    let finding = Diagnostic::error(Code::BadAddress, Class::General, word.span, problem);
    context.push(match word.text.split_once('/') {
        Some((address, _)) if address.parse::<IpAddr>().is_ok() => finding.help(format!("write {address}")),
        _ => finding,
    });
}

/// Only IPv6 addresses age; the word is passed over for others.
fn preferred_lifetime(draft: &mut Draft<'_>, context: &mut Context<'_>, word: &Word) {
    let lifetime = match word.text.as_str() {
        "forever" => Lifetime::Forever,
        text => match integer(text, &(0..=u32::MAX)) {
            Ok(seconds) => Lifetime::Seconds(seconds),
            Err(wrong) => return context.bad_number(word, wrong, format!("preferred_lft {text} is invalid")),
        },
    };
    if draft.address.address.is_ipv6() {
        draft.options.preferred_lifetime = Some(lifetime);
    } else {
        let message = format!("preferred_lft is for IPv6 addresses only and not used for {}", draft.word.text);
        context.push(Diagnostic::note(Code::BadWord, word.span, message));
    }
}
