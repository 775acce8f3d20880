//! Lines of `virtual_ipaddress`: `ADDR[/LEN] [brd ADDR|+|-] [dev IF] [scope S] [label L]`.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::{Family, VirtualAddress};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::Context;
use crate::lower::value::integer;
use crate::source::Spanned;
use crate::tree::Statement;

/// What an option of the line does with its value.
type Setter = fn(&mut VirtualAddress, &mut Context<'_>, &Word);

/// The options that take a value and are typed.
pub(crate) const OPTIONS: &[(&str, Setter)] = &[
    ("dev", |address, context, word| address.dev = context.interface(word)),
    ("scope", scope),
    ("brd", broadcast),
    ("broadcast", broadcast),
    ("label", label),
];

const NOT_USED: &str = "the address is not used";

/// Longest label of an address that the kernel takes.
const MAX_LABEL: usize = 15;

/// Options that are not typed and whose value is to be passed over.
const WITH_VALUE: &[&str] = &["peer", "preferred_lft", "track_group"];

/// Reads one line; nothing comes back when the address itself is wrong.
pub(super) fn read(context: &mut Context<'_>, block: &str, line: &Statement) -> Option<VirtualAddress> {
    let word = &line.keyword;
    let (ip, length) = word.text.split_once('/').map_or((word.text.as_str(), None), |(ip, length)| (ip, Some(length)));
    let Ok(ip) = ip.parse::<IpAddr>() else {
        context.error(Code::BadAddress, word.span, format!("VRRP parsed invalid IP {}. skipping IP...", word.text));
        return None;
    };
    let bits = Family::of(ip).bits();
    let prefix_len = length.map_or(Ok(bits), |length| integer(length, &(0..=bits))).unwrap_or_else(|wrong| {
        let message = format!(
            "Invalid address prefix len {} for address {} - using {bits}",
            length.unwrap_or_default(),
            word.text
        );
        match length.and_then(netmask) {
            Some(length) => context.push(
                Diagnostic::error(Code::BadNumber, Class::InvalidNumber, word.span, message)
                    .label(wrong)
                    .help(format!("write the netmask as the length of the prefix: {ip}/{length}")),
            ),
            None => context.bad_number(word, wrong, message),
        }
        bits
    });
    let mut address = VirtualAddress {
        address: Spanned::new(ip, word.span),
        prefix_len,
        dev: None,
        broadcast: None,
        scope: 0,
        label: None,
    };
    let mut words = line.arguments.iter();
    let mut usable = true;
    while let Some(option) = words.next() {
        if option.text == "dev" && address.dev.is_some() {
            let message = format!("Cannot specify ipaddress device more than once for {}", word.text);
            context.push(Diagnostic::error(Code::BadWord, Class::General, option.span, message).label(NOT_USED));
            usable = false;
        }
        if let Some((_, set)) = OPTIONS.iter().find(|(name, _)| *name == option.text) {
            match words.next() {
                Some(value) if option.text == "label" && value.text.len() > MAX_LABEL => {
                    let message = format!(
                        "Address label {} is longer than maximum length {MAX_LABEL} - removing address",
                        value.text
                    );
                    context.error(Code::BadWord, value.span, message);
                    usable = false;
                }
                Some(value) => set(&mut address, context, value),
                None => {
                    let message = format!("No {} parameter specified for {}", option.text, word.text);
                    let finding = Diagnostic::error(Code::MissingParameter, Class::General, option.span, message);
                    let drops = option.text == "dev";
                    context.push(if drops { finding.label(NOT_USED) } else { finding });
                    usable &= !drops;
                }
            }
        } else if context.known_option(block, &option.text, option.span) {
            if WITH_VALUE.contains(&option.text.as_str()) {
                words.next();
            }
        } else {
            context.error(
                Code::BadWord,
                option.span,
                format!("Unknown configuration entry '{}' for ip address - ignoring", option.text),
            );
        }
    }
    usable.then_some(address)
}

/// Length of the prefix that `255.255.255.0` and its like stand for.
fn netmask(text: &str) -> Option<u32> {
    let mask = text.parse::<Ipv4Addr>().ok()?.to_bits();
    (mask.leading_ones() == mask.count_ones()).then_some(mask.leading_ones())
}

fn scope(address: &mut VirtualAddress, context: &mut Context<'_>, word: &Word) {
    let named = match word.text.as_str() {
        "global" => Some(0),
        "site" => Some(200),
        "link" => Some(253),
        "host" => Some(254),
        "nowhere" => Some(255),
        text => integer(text, &(0..=u8::MAX)).ok(),
    };
    match named {
        Some(_) if address.address.is_ipv6() => {
            context.warning(
                Code::BadWord,
                word.span,
                format!("scope {} is for IPv4 addresses only - ignoring", word.text),
            );
        }
        Some(scope) => address.scope = scope,
        None => {
            context.error(Code::BadWord, word.span, format!("Invalid scope '{}' for ip address - ignoring", word.text))
        }
    }
}

fn label(address: &mut VirtualAddress, context: &mut Context<'_>, word: &Word) {
    if address.address.is_ipv6() {
        context.warning(Code::BadWord, word.span, "a label is for IPv4 addresses only - ignoring");
    } else {
        address.label = context.interface(word).map(|label| label.value);
    }
}

fn broadcast(address: &mut VirtualAddress, context: &mut Context<'_>, word: &Word) {
    let IpAddr::V4(ip) = *address.address else {
        context.error(
            Code::BadAddress,
            word.span,
            format!("VRRP is trying to assign a broadcast {} to an IPv6 address - ignoring", word.text),
        );
        return;
    };
    let host_bits = u32::MAX.checked_shr(address.prefix_len.into()).unwrap_or(0);
    let computed = match word.text.as_str() {
        "+" | "-" if address.prefix_len > 30 => None,
        "+" => Some(Ipv4Addr::from_bits(ip.to_bits() | host_bits)),
        "-" => Some(Ipv4Addr::from_bits(ip.to_bits() & !host_bits)),
        text => text.parse().ok(),
    };
    if computed.is_none() {
        context.error(Code::BadAddress, word.span, format!("Invalid broadcast address {} - ignoring", word.text));
    }
    address.broadcast = computed.or(address.broadcast);
}
