//! `DNS_CHECK` and `SMTP_CHECK`.

use super::{Draft, Server, nothing_follows};
use crate::config::{Checker, CheckerKind, CheckerType, DnsCheck, DnsType, SmtpCheck};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::{Context, Handler};
use crate::schema::nearest;
use crate::tree::Statement;

/// Most bytes of a label.
const MAX_LABEL: usize = 63;
/// Most bytes of a name, dots included.
const MAX_NAME: usize = 253;

/// `DNS_CHECK`.
pub(super) fn read_dns(context: &mut Context<'_>, statement: &Statement, checker: Checker, server: Server) -> Checker {
    let tables = [Draft::CONNECTION, Draft::TIMING, DNS];
    let draft = Draft::<DnsCheck>::read(context, statement, checker, server, &tables);
    draft.check_link_local(context);
    draft.make(|check| CheckerKind::Dns(Box::new(check)))
}

pub(in crate::lower) const DNS: &[Handler<Draft<DnsCheck>>] = &[
    Handler("type", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        let record = DnsType::WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word.text));
        match record {
            Some((name, record)) => {
                context.known_option("virtual_server/real_server/DNS_CHECK/type", name, word.span);
                draft.kind.record = *record;
            }
            None => {
                let message = format!("Unknown DNS check type {} - ignoring", word.text);
                let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
                let names: Vec<_> = DnsType::WORDS.iter().map(|(name, _)| *name).collect();
                context.push(match nearest(&word.text, names.iter().copied()) {
                    Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                    None => finding.help(format!("one of {}", names.join(", "))),
                });
            }
        }
    }),
    Handler("name", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        if let Some(first) = draft.checker.places.of(CheckerType::Dns.block(), "name") {
            let message = "DNS_CHECK name already specified - ignoring";
            let finding = Diagnostic::error(Code::ExtraParameter, Class::General, statement.span(), message);
            context.push(finding.related(first, "first given here"));
            return;
        }
        let name = word.text.strip_suffix('.').unwrap_or(&word.text);
        if !name.is_empty() && name.split('.').any(str::is_empty) || word.text == ".." {
            let message = format!("DNS_CHECK name '{}' has empty label - ignoring", word.text);
            context.error(Code::BadChecker, word.span, message);
            return;
        }
        if name.len() > MAX_NAME || name.split('.').any(|label| label.len() > MAX_LABEL) {
            let message = "the name is too long for a DNS query";
            let finding = Diagnostic::note(Code::BadChecker, word.span, message);
            context.push(finding.help(format!("a label has up to {MAX_LABEL} bytes, a name up to {MAX_NAME}")));
        }
        draft.kind.name = if word.text.is_empty() { ".".to_owned() } else { word.text.clone() };
    }),
];

/// `SMTP_CHECK`.
pub(super) fn read_smtp(context: &mut Context<'_>, statement: &Statement, checker: Checker, server: Server) -> Checker {
    let tables = [Draft::CONNECTION, Draft::TIMING, SMTP];
    let draft = Draft::<SmtpCheck>::read(context, statement, checker, server, &tables);
    draft.check_link_local(context);
    draft.make(|check| CheckerKind::Smtp(Box::new(check)))
}

pub(in crate::lower) const SMTP: &[Handler<Draft<SmtpCheck>>] = &[
    Handler("helo_name", |draft, context, statement| match context.text(statement) {
        Some(name) => draft.kind.helo_name = name,
        None => nothing_follows(context, statement, "SMTP_CHECK helo name missing"),
    }),
    // What stands in it acts on the checker itself.
    Handler("host", |draft, context, statement| {
        let message = "host is deprecated: its lines act on the SMTP_CHECK around it";
        let finding = Diagnostic::note(Code::Deprecated, statement.keyword.span, message);
        context.push(finding.help("move its lines into the SMTP_CHECK, or write one SMTP_CHECK for each host"));
        context.visit(draft, &statement.body, &[Draft::CONNECTION, Draft::TIMING]);
        let block = CheckerType::Smtp.block();
        draft.checker.places.relocate(&format!("{block}/host"), block);
    }),
];
