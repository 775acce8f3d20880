//! `UDP_CHECK`.

use super::{Draft, Server, nothing_follows};
use crate::config::{Checker, CheckerKind, CheckerType, Payload, ReplyByte, ReplyPattern, UdpCheck};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::{Context, Handler};
use crate::tree::Statement;

/// `UDP_CHECK`.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement, checker: Checker, server: Server) -> Checker {
    let tables = [Draft::CONNECTION, Draft::TIMING, UDP];
    let draft = Draft::<UdpCheck>::read(context, statement, checker, server, &tables);
    draft.check_link_local(context);
    let UdpCheck { min_reply_length: min, max_reply_length: max, .. } = draft.kind;
    if min > max {
        let message = format!("UDP_CHECK min_reply length {min} > max_reply_length {max} - will always fail");
        let place = |keyword| draft.checker.places.of(CheckerType::Udp.block(), keyword);
        let span = place("min_reply_length").unwrap_or(statement.keyword.span);
        let finding = Diagnostic::warning(Code::BadChecker, Class::General, span, message);
        context.push(match place("max_reply_length") {
            Some(span) => finding.related(span, "the greatest length is given here"),
            None => finding.help(format!("add 'max_reply_length {min}' or more")),
        });
    }
    draft.make(|check| CheckerKind::Udp(Box::new(check)))
}

pub(in crate::lower) const UDP: &[Handler<Draft<UdpCheck>>] = &[
    Handler("payload", |draft, context, statement| {
        if statement.arguments.is_empty() {
            nothing_follows(context, statement, "UDP_CHECK payload requires a payload");
            return;
        }
        let bytes = pattern(&statement.arguments);
        // Every digit counts in what is sent.
        let bytes = bytes.filter(|bytes| bytes.iter().all(|byte| byte.mask == 0xff));
        match bytes {
            Some(bytes) => draft.kind.payload = Some(Payload(bytes.iter().map(|byte| byte.value).collect())),
            None => bad_hex(context, statement, "payload", "hexadecimal digits: 0102 a3 4"),
        }
    }),
    Handler("require_reply", |draft, context, statement| match pattern(&statement.arguments) {
        _ if statement.arguments.is_empty() => draft.kind.require_reply = Some(ReplyPattern::default()),
        Some(bytes) => draft.kind.require_reply = Some(ReplyPattern(bytes)),
        None => bad_hex(context, statement, "reply", "hexadecimal digits, x for one that may be anything: 01x2 xx"),
    }),
    Handler("min_reply_length", |draft, context, statement| {
        draft.kind.min_reply_length = length(context, statement, "min").unwrap_or(draft.kind.min_reply_length);
    }),
    Handler("max_reply_length", |draft, context, statement| {
        draft.kind.max_reply_length = length(context, statement, "max").unwrap_or(draft.kind.max_reply_length);
    }),
];

fn length(context: &mut Context<'_>, statement: &Statement, which: &str) -> Option<u16> {
    let message = |text: &str| format!("UDP_CHECK {which} length {text} not valid - must be between 0 & 65535");
    context.number_with(statement, message)
}

fn bad_hex(context: &mut Context<'_>, statement: &Statement, what: &str, help: &str) {
    let span = statement.arguments.first().map_or(statement.keyword.span, |first| {
        statement.arguments.last().map_or(first.span, |last| first.span.to(last.span))
    });
    let message = format!("Invalid hex string for UDP_CHECK {what}");
    context.push(Diagnostic::error(Code::BadChecker, Class::General, span, message).help(help));
}

/// Bytes as digits in pairs, with blanks anywhere; a digit that is left over before a blank is a byte of its own.
/// `x` is a digit that may be anything.
fn pattern(words: &[Word]) -> Option<Vec<ReplyByte>> {
    let mut bytes = Vec::new();
    for word in words.iter().flat_map(|word| word.text.split_ascii_whitespace()) {
        for digits in word.as_bytes().chunks(2) {
            bytes.push(match digits {
                [low] => join(ReplyByte { value: 0, mask: 0xf }, digit(*low)?),
                [high, low] => join(digit(*high)?, digit(*low)?),
                _ => return None,
            });
        }
    }
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn join(high: ReplyByte, low: ReplyByte) -> ReplyByte {
    ReplyByte { value: high.value << 4 | low.value, mask: high.mask << 4 | low.mask }
}

/// Half a byte.
fn digit(digit: u8) -> Option<ReplyByte> {
    if matches!(digit, b'x' | b'X') {
        return Some(ReplyByte { value: 0, mask: 0 });
    }
    let value = char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())?;
    Some(ReplyByte { value, mask: 0xf })
}
