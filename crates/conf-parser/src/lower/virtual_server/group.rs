//! `virtual_server_group`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::FAMILIES;
use crate::config::{Family, GroupEntry, VirtualServerGroup};
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::lexer::Word;
use crate::lower::Context;
use crate::lower::value::integer;
use crate::preprocess::missing_parameter;
use crate::source::Spanned;
use crate::tree::Statement;

/// Addresses of one entry above which there is a note.
const MANY_SERVICES: u128 = 4096;

/// The groups of a configuration.
#[derive(Debug, Default)]
pub(in crate::lower) struct Groups {
    pub(in crate::lower) list: Vec<VirtualServerGroup>,
    by_name: HashMap<String, usize>,
}

impl Groups {
    /// Reads one block; an empty one, or a second one of the same name, is left out.
    pub(in crate::lower) fn read(&mut self, context: &mut Context<'_>, statement: &Statement) {
        let Some(name) = statement.arguments.first() else { return };
        let mut entries = Vec::new();
        for line in statement.body.iter() {
            let entry = entry(context, &name.text, &line);
            entries.extend(entry.map(|entry| Spanned::new(entry, line.span())));
        }
        if entries.is_empty() {
            let message = format!("virtual server group {} has no entries - removing", name.text);
            context.error(Code::BadGroup, name.span, message);
        } else if let Some(first) = self.find(&name.text) {
            let message = format!("virtual server group {} is given twice - the first one counts", name.text);
            let finding = Diagnostic::new(Severity::Error, Code::BadGroup, Class::Notice, Some(name.span), message);
            context.push(finding.related(first.name.span, "first given here"));
        } else {
            self.by_name.insert(name.text.clone(), self.list.len());
            self.list.push(VirtualServerGroup { name: Spanned::new(name.text.clone(), name.span), entries });
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&VirtualServerGroup> {
        self.by_name.get(name).and_then(|at| self.list.get(*at))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|group| group.name.as_str())
    }
}

fn entry(context: &mut Context<'_>, group: &str, line: &Statement) -> Option<GroupEntry> {
    if line.keyword.text == "fwmark" { fwmark(context, group, line) } else { addresses(context, line) }
}

/// `fwmark N [inet|inet6]`.
fn fwmark(context: &mut Context<'_>, group: &str, line: &Statement) -> Option<GroupEntry> {
    context.known_option("virtual_server_group", "fwmark", line.keyword.span);
    let Some((word, rest)) = line.arguments.split_first() else {
        let message = missing_parameter("fwmark");
        let finding = Diagnostic::error(Code::MissingParameter, Class::MissingParameter, line.keyword.span, message);
        context.push(finding.help("fwmark <n> [inet|inet6]"));
        return None;
    };
    let mark = match integer(&word.text, &(0..=u32::MAX)) {
        Ok(mark) => mark,
        Err(wrong) => {
            let message = format!("({group}): fwmark '{}' must be in [0, {}] - ignoring", word.text, u32::MAX);
            context.bad_number(word, wrong, message);
            return None;
        }
    };
    if mark == 0 {
        let message = format!("({group}): no packet has the mark 0");
        context.push(Diagnostic::note(Code::BadGroup, word.span, message));
    }
    let Some(word) = rest.first() else { return Some(GroupEntry::Fwmark { mark, family: None }) };
    let family = super::find(FAMILIES, &word.text);
    if family.is_none() {
        let message = format!("({group}): fwmark '{mark}' family {} unknown - ignoring", word.text);
        super::bad_word(context, word, message, FAMILIES);
        return None;
    }
    context.known_option("virtual_server_group", &word.text, word.span);
    Some(GroupEntry::Fwmark { mark, family })
}

/// `RANGE [PORT]`.
fn addresses(context: &mut Context<'_>, line: &Statement) -> Option<GroupEntry> {
    let port = match line.arguments.first() {
        None => 0,
        Some(word) => match super::port(&word.text) {
            Ok(port) => port,
            Err(wrong) => {
                let finding = Diagnostic::error(Code::BadNumber, Class::InvalidNumber, word.span, invalid(line));
                context.push(finding.label(wrong.to_string()).help("an entry has one port: write an entry for each"));
                return None;
            }
        },
    };
    match range(&line.keyword) {
        Ok((first, last)) => {
            many_services(context, &line.keyword, first, last);
            Some(GroupEntry::Addresses { first, last, port })
        }
        Err(Wrong { message, help, replacement }) => {
            let message = message.unwrap_or_else(|| invalid(line));
            let mut finding = Diagnostic::error(Code::BadAddress, Class::General, line.keyword.span, message);
            finding.help = help.map(str::to_owned);
            finding.replacement = replacement;
            context.push(finding);
            None
        }
    }
}

fn invalid(line: &Statement) -> String {
    let port = line.arguments.first().map(|port| format!(" /port/{}", port.text)).unwrap_or_default();
    format!("Invalid virtual server group IP address {}{port} - skipping", line.keyword.text)
}

/// What is wrong with a range; without a message it is no range at all.
#[derive(Debug, Default)]
struct Wrong {
    message: Option<String>,
    help: Option<&'static str>,
    replacement: Option<String>,
}

impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self { message: Some(message), ..Self::default() }
    }
}

/// `ADDR`, `ADDR-ADDR`, `ADDR-END` or `ADDR/LENGTH`: the first and the last address.
fn range(word: &Word) -> Result<(IpAddr, IpAddr), Wrong> {
    let text = word.text.as_str();
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| Wrong::default());
    if let Some((start, end)) = text.split_once('-') {
        let first = address(start)?;
        if !end.contains(['.', ':']) {
            return Ok((first, short_end(text, first, end)?));
        }
        let last = address(end)?;
        if first.is_ipv4() != last.is_ipv4() {
            return Err(Wrong { help: Some("both ends of a range are of one family"), ..Wrong::default() });
        }
        if last < first {
            let message = format!("Address range end is less than address range start - {text} - skipping");
            let help = Some("the lower address comes first");
            return Err(Wrong { help, replacement: Some(format!("{last}-{first}")), ..message.into() });
        }
        return Ok((first, last));
    }
    if let Some((start, length)) = text.split_once('/') {
        return prefix(text, address(start)?, length);
    }
    let first = address(text)?;
    Ok((first, first))
}

/// The last octet of an IPv4 address, or the last 16 bits of an IPv6 address in hexadecimal digits.
fn short_end(text: &str, first: IpAddr, end: &str) -> Result<IpAddr, Wrong> {
    let help = match first {
        IpAddr::V4(_) => "behind '-' stands the last octet of the last address, at most 255, or the whole address",
        IpAddr::V6(_) => "behind '-' stand the last 16 bits of the last address, at most ffff, or the whole address",
    };
    read_short_end(text, first, end).map_err(|message| Wrong { help: Some(help), ..message.into() })
}

fn read_short_end(text: &str, first: IpAddr, end: &str) -> Result<IpAddr, String> {
    let (radix, most) = if first.is_ipv4() { (10, 0xff) } else { (16, 0xffff) };
    let digits = if radix == 16 { end.strip_prefix("0x").unwrap_or(end) } else { end };
    let junk = digits.find(|digit: char| !digit.is_digit(radix)).and_then(|at| digits.get(at..));
    if let Some(junk) = junk {
        return Err(format!("Virtual server group range '{text}' has extra characters at end '{junk}'"));
    }
    let number = if digits.is_empty() { Some(0) } else { u32::from_str_radix(digits, radix).ok() };
    let Some(number) = number.filter(|number| *number <= most) else {
        return Err(format!("Virtual server group range '{text}' end '{end}' too large"));
    };
    let last = match first {
        IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() & !most | number)),
        IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits() & !u128::from(most) | u128::from(number))),
    };
    if last <= first {
        return Err(format!("Address range end is not greater than address range start - {text} - skipping"));
    }
    Ok(last)
}

fn prefix(text: &str, first: IpAddr, length: &str) -> Result<(IpAddr, IpAddr), Wrong> {
    let bits = Family::of(first).bits();
    let Ok(length) = integer(length, &(1..=bits)) else {
        let wrong = Wrong::from(format!("Invalid netmask - {text} - skipping"));
        let help = if bits == 32 { "the length of a prefix is 1 to 32" } else { "the length of a prefix is 1 to 128" };
        return Err(Wrong { help: Some(help), ..wrong });
    };
    let host_bits = u32::from(bits.saturating_sub(length));
    let (network, last) = match first {
        IpAddr::V4(first) => {
            let host = u32::MAX.checked_shl(host_bits).map_or(u32::MAX, |mask| !mask);
            let network = first.to_bits() & !host;
            (IpAddr::V4(Ipv4Addr::from_bits(network)), IpAddr::V4(Ipv4Addr::from_bits(network | host)))
        }
        IpAddr::V6(first) => {
            let host = u128::MAX.checked_shl(host_bits).map_or(u128::MAX, |mask| !mask);
            let network = first.to_bits() & !host;
            (IpAddr::V6(Ipv6Addr::from_bits(network)), IpAddr::V6(Ipv6Addr::from_bits(network | host)))
        }
    };
    if network != first {
        let wrong = Wrong::from(format!("Address mask bits not empty - {text} - skipping"));
        let help = Some("a prefix starts at the first address of its network");
        return Err(Wrong { help, replacement: Some(format!("{network}/{length}")), ..wrong });
    }
    Ok((first, last))
}

/// A note about an entry that makes more services than anybody means.
fn many_services(context: &mut Context<'_>, word: &Word, first: IpAddr, last: IpAddr) {
    let number = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => u128::from(last.to_bits().saturating_sub(first.to_bits())),
        (IpAddr::V6(first), IpAddr::V6(last)) => last.to_bits().saturating_sub(first.to_bits()),
        _ => 0,
    };
    if number >= MANY_SERVICES {
        let message = format!("{} stands for {} services", word.text, number.saturating_add(1));
        let finding = Diagnostic::note(Code::BadGroup, word.span, message);
        context.push(finding.help("every address of a group becomes a service of its own: think of a fwmark"));
    }
}
