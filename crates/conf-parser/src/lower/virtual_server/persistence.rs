//! `persistence_timeout` and `persistence_granularity`.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Draft, Service};
use crate::config::{Family, Granularity, Persistence};
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::lexer::Word;
use crate::lower::Context;
use crate::lower::value::integer;
use crate::tree::Statement;

/// What holds where no time is given.
const DEFAULT: Duration = Duration::from_secs(360);

/// `[SECONDS]`.
pub(super) fn timeout(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    if statement.arguments.is_empty() {
        draft.persistence_timeout = Some(DEFAULT);
    } else if let Some(seconds) = context.number_with::<u32>(statement, |_| "persistence_timeout invalid".to_owned()) {
        draft.persistence_timeout = Some(Duration::from_secs(seconds.into()));
    }
}

/// A mask for IPv4, a length for IPv6; where the family is not settled yet it settles it.
pub(super) fn granularity(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    let mask = word.text.parse::<Ipv4Addr>().ok();
    let family = draft.known_family().unwrap_or(if mask.is_some() { Family::Ipv4 } else { Family::Ipv6 });
    let granularity = match (family, mask) {
        (Family::Ipv4, Some(mask)) => Some(Granularity::Netmask(mask)),
        (Family::Ipv4, None) => netmask_of_length(context, word),
        (Family::Ipv6, _) => match integer(&word.text, &(1..=128)) {
            Ok(bits) => Some(Granularity::Prefix(bits)),
            Err(wrong) => {
                let message = format!("Invalid IPv6 persistence_granularity specified - {}", word.text);
                context.bad_number(word, wrong, message);
                None
            }
        },
    };
    if granularity.is_some() {
        draft.granularity = granularity;
        draft.family.get_or_insert(family);
    }
}

/// The mask that is meant by the length of a prefix, which keepalived takes for a mask.
fn netmask_of_length(context: &mut Context<'_>, word: &Word) -> Option<Granularity> {
    let message = format!("Invalid IPv4 persistence_granularity specified - {}", word.text);
    let Ok(bits) = integer(&word.text, &(0..=u32::MAX)) else {
        let finding = Diagnostic::error(Code::BadAddress, Class::General, word.span, message);
        context.push(finding.help("write a mask like 255.255.255.0"));
        return None;
    };
    let taken = format!("keepalived takes {bits} for the mask {}", Ipv4Addr::from_bits(bits));
    if bits > 32 {
        let finding = Diagnostic::new(Severity::Error, Code::BadAddress, Class::Notice, Some(word.span), message);
        context.push(finding.label(taken).help("write a mask like 255.255.255.0"));
        return None;
    }
    let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0));
    let message = format!("{bits} is read as the mask {mask}");
    let note = Diagnostic::note(Code::BadAddress, word.span, message).label(taken);
    context.push(note.help("write the mask itself").replacement(mask.to_string()));
    Some(Granularity::Netmask(mask))
}

impl Draft {
    /// Persistence with its defaults; a service without a port has it in any case.
    pub(super) fn persistence(&self, context: &mut Context<'_>, service: &Service<'_>) -> Option<Persistence> {
        let mut timeout = self.persistence_timeout.or(self.granularity.map(|_| DEFAULT));
        if timeout.is_none() && service.takes_every_port() {
            let message = format!("Virtual server {service}: zero port only valid for persistent services - setting");
            context.push(Diagnostic::warning(Code::BadVirtualServer, Class::General, self.span, message));
            timeout = Some(DEFAULT);
        }
        let whole = Granularity::whole(service.family().unwrap_or(Family::Ipv4));
        timeout.map(|timeout| Persistence { timeout, granularity: self.granularity.unwrap_or(whole) })
    }
}
