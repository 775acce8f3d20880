//! `nexthop`: the paths of a multipath route, up to the end of the line.

use super::{Paths, encapsulation, family};
use crate::config::{Family, NextHop};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::words::Words;

const COST: &str = "the next hop and all after it are not used";

/// Why the reading of a line ends before its end.
enum Stop {
    /// The path is not used.
    Dropped,
    /// The path is used as far as it is read.
    Kept,
}

/// Reads what follows the first `nexthop`. A mistake costs its path and all after it.
pub(super) fn read(hops: &mut Vec<NextHop>, words: &mut Words<'_, '_, '_>, paths: Paths) {
    let line = std::mem::replace(&mut words.block, paths.next_hop);
    let cost = std::mem::replace(&mut words.cost, COST);
    let mut hop = NextHop::default();
    let end = loop {
        match words.next() {
            None => break Stop::Kept,
            Some(word) if word.text == "nexthop" => {
                words.context.known_option(line, &word.text, word.span);
                hops.push(std::mem::take(&mut hop));
            }
            Some(word) => {
                if let Err(stop) = option(&mut hop, words, word, paths) {
                    // The rest is not read.
                    while words.next().is_some() {}
                    break stop;
                }
            }
        }
    };
    if let Stop::Kept = end {
        hops.push(hop);
    }
    words.block = line;
    words.cost = cost;
}

fn option(hop: &mut NextHop, words: &mut Words<'_, '_, '_>, word: &Word, paths: Paths) -> Result<(), Stop> {
    if !words.known(word) {
        let message = format!("Route has trailing nonsense after nexthops - {}", word.text);
        let finding = Diagnostic::error(Code::BadRoute, Class::General, word.span, message);
        words.context.push(finding.label("ignored, with all after it").help("'nexthop' comes last on the line"));
        return Err(Stop::Kept);
    }
    value(hop, words, word, paths).ok_or(Stop::Dropped)
}

fn value(hop: &mut NextHop, words: &mut Words<'_, '_, '_>, word: &Word, paths: Paths) -> Option<()> {
    match word.text.as_str() {
        "via" => gateway(hop, words, word)?,
        "dev" => hop.dev = Some(words.interface(word)?),
        "weight" => {
            let value = words.value(word)?;
            let message = format!("Invalid weight {} specified for route", value.text);
            hop.weight = words.number_in(word, value, message)?;
        }
        "onlink" => hop.onlink = true,
        "encap" => {
            let encapsulation = encapsulation::read(words, word, paths)?;
            hop.encapsulation = encapsulation.or(hop.encapsulation.take());
        }
        "realms" => {
            let value = words.value(word)?;
            if !words.fits(Family::Ipv4) {
                return words.refuse(word, "realms are only supported for IPv4");
            }
            hop.realms = Some(words.realms(value, format!("Invalid realms {} for route", value.text))?);
        }
        // `as [to] ADDRESS`
        _ => {
            let message = "'as [to]' (nat) not supported";
            let finding = Diagnostic::warning(Code::BadRoute, Class::General, word.span, message);
            words.context.push(finding.label(COST));
            return None;
        }
    }
    Some(())
}

/// `via [inet|inet6] ADDRESS`.
fn gateway(hop: &mut NextHop, words: &mut Words<'_, '_, '_>, keyword: &Word) -> Option<()> {
    let mut word = words.value(keyword)?;
    if let Some(family) = family(word) {
        let told = word;
        word = words.value(word)?;
        if !words.fits(family) {
            return words.refuse(told, "IPv4/6 mismatch for nexthop");
        }
    }
    let address = words.ip(word, format!("invalid nexthop address {}", word.text))?;
    if !words.fits(Family::of(address)) {
        return words.refuse(word, "Address family mismatch for next hop");
    }
    hop.gateway = Some(address);
    Some(())
}
