//! Where a checker connects to, and when it runs.

use std::net::IpAddr;

use super::{Draft, Server};
use crate::config::{Checker, CheckerKind, CheckerType, Family};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::{Context, Handler};
use crate::source::Spanned;
use crate::tree::Statement;

/// `TCP_CHECK` and `PING_CHECK`, which have no words of their own.
pub(super) fn read(
    context: &mut Context<'_>,
    statement: &Statement,
    checker: Checker,
    server: Server,
    kind: CheckerType,
) -> Checker {
    let draft = Draft::<()>::read(context, statement, checker, server, &[Draft::CONNECTION, Draft::TIMING]);
    draft.check_link_local(context);
    draft.make(|()| if kind == CheckerType::Ping { CheckerKind::Ping } else { CheckerKind::Tcp })
}

impl<K: 'static> Draft<K> {
    /// The options of every checker that connects.
    pub(in crate::lower) const CONNECTION: &'static [Handler<Self>] = &[
        Handler("connect_ip", |draft, context, statement| {
            let Some(address) = address(context, statement) else { return };
            let bound = draft.checker.target.socket().bind_address;
            if draft.same_family(context, statement, &address, bound, "bindto") {
                draft.checker.target.socket_mut().address = Some(address.value);
            }
        }),
        Handler("connect_port", |draft, context, statement| {
            draft.checker.target.port = port(context, statement).or(draft.checker.target.port);
        }),
        Handler("bindto", |draft, context, statement| {
            let Some(address) = address(context, statement) else { return };
            let end = draft.destination();
            if draft.same_family(context, statement, &address, Some(end), "connect_ip") {
                draft.checker.target.socket_mut().bind_address = Some(address.value);
            }
        }),
        Handler("bind_port", |draft, context, statement| {
            if let Some(port) = port(context, statement) {
                draft.checker.target.socket_mut().bind_port = Some(port);
            }
        }),
        Handler("bind_if", |draft, context, statement| {
            let Some(word) = statement.arguments.first() else { return };
            if word.text.len() > 15 {
                let message = format!("Interface name {} is too long - ignoring", word.text);
                let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
                context.push(finding.help("the kernel allows 15 bytes"));
            } else if let Some(interface) = context.interface(word) {
                draft.checker.target.socket_mut().bind_interface = Some(interface);
            }
        }),
        Handler("connect_timeout", |draft, context, statement| {
            let timeout = context.time_with(statement, |text| format!("connect_timeout {text} invalid - ignoring"));
            draft.checker.target.connect_timeout = timeout.unwrap_or(draft.checker.target.connect_timeout);
        }),
        Handler("fwmark", |draft, context, statement| {
            if let Some(mark) = context.number_with(statement, connection_value(statement)) {
                draft.checker.target.socket_mut().fwmark = mark;
            }
        }),
    ];

    /// When it runs, and what it begins with.
    pub(in crate::lower) const TIMING: &'static [Handler<Self>] = &[
        Self::ALPHA,
        Handler("log_all_failures", |draft, context, statement| {
            let value = parameter(context, statement);
            draft.checker.log_all_failures = value.unwrap_or(draft.checker.log_all_failures);
        }),
        Handler("delay_loop", |draft, context, statement| {
            let value = context.time_with(statement, |text| format!("delay_loop '{text}' is invalid - ignoring"));
            draft.checker.timing.delay_loop = value.unwrap_or(draft.checker.timing.delay_loop);
        }),
        Handler("warmup", |draft, context, statement| {
            let value = context.time_with(statement, connection_value(statement));
            draft.checker.timing.warmup = value.unwrap_or(draft.checker.timing.warmup);
        }),
        Handler("retry", |draft, context, statement| {
            let value = context.number_with(statement, connection_value(statement));
            draft.checker.timing.retry = value.unwrap_or(draft.checker.timing.retry);
        }),
        Handler("delay_before_retry", |draft, context, statement| {
            let value = context.time_with(statement, connection_value(statement));
            draft.checker.timing.delay_before_retry = value.unwrap_or(draft.checker.timing.delay_before_retry);
        }),
    ];

    /// `alpha`.
    pub(super) const ALPHA: Handler<Self> = Handler("alpha", |draft, context, statement| {
        draft.checker.alpha = parameter(context, statement).unwrap_or(draft.checker.alpha);
    });

    /// The address that is checked.
    fn destination(&self) -> IpAddr {
        self.checker.target.socket().address.unwrap_or(self.server.address)
    }

    /// Whether `address` can be used with `other`, which `name` gave.
    fn same_family(
        &self,
        context: &mut Context<'_>,
        statement: &Statement,
        address: &Spanned<IpAddr>,
        other: Option<IpAddr>,
        name: &str,
    ) -> bool {
        let Some(other) = other.filter(|other| Family::of(*other) != Family::of(**address)) else {
            return true;
        };
        let keyword = &statement.keyword.text;
        let message = format!("{keyword} address {} does not match address family of {name} - skipping", address.value);
        let finding = Diagnostic::error(Code::BadAddress, Class::General, address.span, message);
        let finding = finding.label(match name {
            "connect_ip" => format!("this check connects to {other}"),
            _ => format!("this check connects from {other}"),
        });
        let block = self.checker.kind.checker_type().block();
        context.push(match self.checker.places.of(block, name) {
            Some(span) => finding.related(span, format!("{name} is given here")),
            None => finding,
        });
        false
    }

    /// A link-local address means nothing without an interface.
    pub(super) fn check_link_local(&self, context: &mut Context<'_>) {
        let IpAddr::V6(address) = self.destination() else { return };
        if !address.is_unicast_link_local() || self.checker.target.socket().bind_interface.is_some() {
            return;
        }
        let block = self.checker.kind.checker_type().block();
        let span = self.checker.places.of(block, "connect_ip").unwrap_or(self.checker.place.span);
        let message = format!("Checker link local address {address} requires a bind_if");
        let finding = Diagnostic::error(Code::BadChecker, Class::General, span, message);
        context.push(finding.help("add 'bind_if INTERFACE'"));
    }
}

fn connection_value(statement: &Statement) -> impl FnOnce(&str) -> String {
    move |text| format!("Invalid {} connection value '{text}'", statement.keyword.text)
}

fn port(context: &mut Context<'_>, statement: &Statement) -> Option<u16> {
    context.number_with(statement, |text| format!("Invalid checker {} '{text}'", statement.keyword.text))
}

/// A switch, in the words that keepalived has for those of checkers.
pub(super) fn parameter(context: &mut Context<'_>, statement: &Statement) -> Option<bool> {
    context.switch_with(statement, |text| format!("Invalid {} parameter {text}", statement.keyword.text))
}

fn address(context: &mut Context<'_>, statement: &Statement) -> Option<Spanned<IpAddr>> {
    let word = statement.arguments.first()?;
    let address = word.text.parse().ok();
    if address.is_none() {
        let message = format!("Invalid {} address {} - ignoring", statement.keyword.text, word.text);
        let finding = Diagnostic::error(Code::BadAddress, Class::General, word.span, message);
        context.push(match word.text.split_once('/').filter(|(host, _)| host.parse::<IpAddr>().is_ok()) {
            Some((host, _)) => finding.help("no prefix length belongs here").replacement(host),
            None => finding,
        });
    }
    address.map(|address| Spanned::new(address, word.span))
}
