//! `DNS_CHECK` and `SMTP_CHECK`.

use super::{Draft, Server, nothing_follows};
use crate::config::{CheckTarget, Checker, CheckerKind, CheckerType, DnsCheck, DnsType, SmtpCheck};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::{Context, Handler};
use crate::schema::nearest;
use crate::setting::Places;
use crate::source::Spanned;
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

/// `SMTP_CHECK`: one checker, and one more for each `host` in it.
pub(super) fn read_smtp(
    context: &mut Context<'_>,
    statement: &Statement,
    checker: Checker,
    server: Server,
    checkers: &mut Vec<Checker>,
) {
    let tables = [Draft::CONNECTION, Draft::TIMING, SMTP];
    let mut draft = Draft::<SmtpWords>::read(context, statement, checker, server, &tables);
    draft.check_link_local(context);
    let hosts = std::mem::take(&mut draft.kind.hosts);
    let own = draft.make(|words| CheckerKind::Smtp(Box::new(words.check)));
    let others: Vec<_> = hosts.into_iter().map(|host| host.checker(&own)).collect();
    checkers.reserve_exact(1 + others.len());
    checkers.push(own);
    checkers.extend(others);
}

/// What was read of an `SMTP_CHECK`.
#[derive(Debug, Default)]
pub(in crate::lower) struct SmtpWords {
    check: SmtpCheck,
    hosts: Vec<Host>,
}

/// A `host` of an `SMTP_CHECK`.
#[derive(Debug)]
struct Host {
    target: CheckTarget,
    place: Spanned<()>,
    places: Places,
}

impl Host {
    /// Its checker: another connection, all else as in `around`.
    fn checker(mut self, around: &Checker) -> Checker {
        let block = CheckerType::Smtp.block();
        if self.places.of(block, "connect_timeout").is_none() {
            self.target.connect_timeout = around.target.connect_timeout;
            self.places.inherit(block, "connect_timeout", around.places.of(block, "connect_timeout"));
        }
        let mut places = around.places.clone();
        drop(places.take_out(is_of_connection));
        places.extend(self.places);
        Checker { target: self.target, place: self.place, places, ..around.clone() }
    }
}

fn is_of_connection(keyword: &str) -> bool {
    Draft::<SmtpWords>::CONNECTION.iter().any(|Handler(word, _)| *word == keyword)
}

pub(in crate::lower) const SMTP: &[Handler<Draft<SmtpWords>>] = &[
    Handler("helo_name", |draft, context, statement| match context.text(statement) {
        Some(name) => draft.kind.check.helo_name = name,
        None => nothing_follows(context, statement, "SMTP_CHECK helo name missing"),
    }),
    Handler("host", host),
];

/// `host`: a connection of its own; what else stands in it acts on the `SMTP_CHECK`.
fn host(draft: &mut Draft<SmtpWords>, context: &mut Context<'_>, statement: &Statement) {
    let message = "The SMTP_CHECK host block is deprecated. Please define additional checkers.";
    let finding = Diagnostic::note(Code::Deprecated, statement.keyword.span, message);
    let finding = finding.label("a checker beside that of the SMTP_CHECK");
    context.push(finding.help("write an SMTP_CHECK of its own for each host"));
    let target = std::mem::take(&mut draft.checker.target);
    let before = std::mem::take(&mut draft.checker.places);
    context.visit(draft, &statement.body, &[Draft::CONNECTION, Draft::TIMING]);
    draft.check_link_local(context);
    let block = CheckerType::Smtp.block();
    draft.checker.places.relocate(&format!("{block}/host"), block);
    let places = draft.checker.places.take_out(is_of_connection);
    let timing = std::mem::replace(&mut draft.checker.places, before);
    draft.checker.places.extend(timing);
    let target = std::mem::replace(&mut draft.checker.target, target);
    draft.kind.hosts.push(Host { target, place: Spanned::new((), statement.keyword.span), places });
}
