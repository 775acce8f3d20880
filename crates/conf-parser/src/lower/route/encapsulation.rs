//! `encap`: light-weight tunnels.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use super::Paths;
use crate::config::{DSFIELDS, Encapsulation, Family, TunnelRoute};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::words::{Words, named, number_of_any_base};
use crate::schema::nearest;

/// Most labels of one route.
const MAX_LABELS: usize = 2;

/// Highest label: 20 bits (RFC 3032 §2.1).
const MAX_LABEL: u32 = (1 << 20) - 1;

/// Reads what follows `encap`; the inner `None` is for a type that keepalived passes over.
pub(super) fn read(words: &mut Words<'_, '_, '_>, keyword: &Word, paths: Paths) -> Option<Option<Box<Encapsulation>>> {
    let outer = std::mem::replace(&mut words.block, paths.encapsulation);
    let read = kind(words, keyword);
    words.block = outer;
    read
}

/// The words for a tunnel of one family.
struct Terms {
    kind: &'static str,
    dsfield: &'static str,
    hop_limit: &'static str,
}

const IP: Terms = Terms { kind: "ip", dsfield: "tos", hop_limit: "ttl" };
const IP6: Terms = Terms { kind: "ip6", dsfield: "tc", hop_limit: "hoplimit" };

fn kind(words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<Option<Box<Encapsulation>>> {
    let Some(word) = words.next() else {
        passed_over(words, keyword, "Missing encap type".to_owned(), None);
        return Some(None);
    };
    words.known(word);
    let encapsulation = match word.text.as_str() {
        "mpls" => {
            let Some(value) = words.next() else {
                return words.refuse(word, "missing address for MPLS encapsulation");
            };
            match labels(&value.text) {
                Some(labels) => Encapsulation::Mpls(labels),
                None => {
                    return words.refuse(value, format!("invalid mpls address {} for encapsulation", value.text));
                }
            }
        }
        "ip" => Encapsulation::Ip(tunnel(words, word, &IP)?),
        "ip6" => Encapsulation::Ip6(tunnel(words, word, &IP6)?),
        "ila" => {
            let Some(value) = words.next() else {
                return words.refuse(word, "missing locator for ILA encapsulation");
            };
            match locator(&value.text) {
                Some(locator) => Encapsulation::Ila(locator),
                None => {
                    return words.refuse(value, format!("invalid locator {} for ila encapsulation", value.text));
                }
            }
        }
        text => {
            let near = nearest(text, ["mpls", "ip", "ip6", "ila"].into_iter());
            passed_over(words, word, format!("Unknown encap type - {text}"), near);
            // Its value.
            words.next();
            return Some(None);
        }
    };
    Some(Some(Box::new(encapsulation)))
}

fn passed_over(words: &mut Words<'_, '_, '_>, word: &Word, message: String, near: Option<&str>) {
    let finding = Diagnostic::error(Code::BadRoute, Class::General, word.span, message);
    let finding = finding.label("there is no encapsulation");
    words.context.push(match near {
        Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
        None => finding.help("one of mpls, ip, ip6, ila"),
    });
}

/// `LABEL[/LABEL]`.
fn labels(text: &str) -> Option<Vec<u32>> {
    let label = |text| number_of_any_base(text).filter(|label| *label <= MAX_LABEL);
    let labels: Option<Vec<_>> = text.split('/').map(label).collect();
    labels.filter(|labels| labels.len() <= MAX_LABELS)
}

/// Four groups of up to four hexadecimal digits.
fn locator(text: &str) -> Option<u64> {
    let group = |text: &str| {
        let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| plain)
    };
    let groups: Option<Vec<_>> = text.split(':').map(group).collect();
    let groups = groups.filter(|groups| groups.len() == 4)?;
    Some(groups.into_iter().fold(0, |locator, group| locator << 16 | group))
}

fn tunnel<A: FromStr>(words: &mut Words<'_, '_, '_>, keyword: &Word, terms: &Terms) -> Option<TunnelRoute<A>> {
    let mut tunnel = TunnelRoute::default();
    let kind = terms.kind;
    while let Some(word) = words.peek().filter(|word| is_option(&word.text, terms)) {
        words.next();
        words.known(word);
        let Some(value) = words.next() else {
            return words.refuse(word, format!("no value for {} of {kind} encapsulation", word.text));
        };
        let text = value.text.as_str();
        match word.text.as_str() {
            "id" => tunnel.id = Some(words.number_in(word, value, format!("encap id {text} value is invalid"))?),
            "dst" => tunnel.destination = Some(address(words, word, value, kind)?),
            "src" => tunnel.source = Some(address(words, word, value, kind)?),
            "flags" => {
                let message = format!("flags {text} is not valid for {kind} encapsulation");
                tunnel.flags = Some(words.number_in(word, value, message)?);
            }
            name if name == terms.dsfield => match named(value, DSFIELDS, u8::MAX.into()) {
                Some(field) => tunnel.dsfield = Some(field),
                None => return words.refuse(value, invalid_dsfield(name, text, kind)),
            },
            name => tunnel.hop_limit = Some(words.number_in(word, value, invalid_hop_limit(name, text, kind))?),
        }
    }
    if tunnel.id.is_none() && tunnel.destination.is_none() {
        let message = format!("address or id missing for {kind} encapsulation");
        let finding = Diagnostic::error(Code::BadRoute, Class::General, keyword.span, message);
        words.context.push(finding.help("add 'dst' with the far end, or 'id'"));
    }
    Some(tunnel)
}

fn is_option(text: &str, terms: &Terms) -> bool {
    matches!(text, "id" | "dst" | "src" | "flags") || text == terms.dsfield || text == terms.hop_limit
}

fn invalid_dsfield(name: &str, text: &str, kind: &str) -> String {
    match name {
        "tos" => format!("dsfield {text} not valid for {kind} encapsulation"),
        _ => format!("tc value {text} is invalid for {kind} encapsulation"),
    }
}

fn invalid_hop_limit(name: &str, text: &str, kind: &str) -> String {
    match name {
        "ttl" => format!("ttl {text} is not valid for {kind} encapsulation"),
        _ => format!("Invalid hoplimit {text} specified for {kind} encapsulation"),
    }
}

/// An address of the family of the tunnel.
fn address<A: FromStr>(words: &mut Words<'_, '_, '_>, name: &Word, word: &Word, kind: impl Display) -> Option<A> {
    if let Ok(address) = word.text.parse() {
        return Some(address);
    }
    match word.text.parse::<IpAddr>() {
        Ok(other) => {
            let family = Family::of(other);
            words.refuse(word, format!("{family} address {} not valid for {kind} encapsulation", word.text))
        }
        Err(_) => words.ip(word, format!("Invalid encap {kind} {} {}", name.text, word.text)).and(None),
    }
}
