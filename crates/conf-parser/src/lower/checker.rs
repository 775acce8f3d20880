//! Checkers of a real server.

mod connection;
mod declared;
mod http;
mod misc;
mod pattern;
mod regex;
#[cfg(test)]
pub(super) mod tests;
mod tracked;
mod udp;
mod wire;

use std::net::IpAddr;
use std::time::Duration;

use super::defaults::Defaults;
use super::global::Globals;
use super::{Context, Handler};
use crate::config::{
    CheckDefaults, CheckSocket, CheckTarget, CheckTiming, Checker, CheckerKind, CheckerType, Protocol,
};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

pub(super) use declared::Declared;
pub(super) use http::StatusCodes;

/// A checker that is being read: what all have in common, and what belongs to its kind.
#[derive(Debug)]
pub(super) struct Draft<K> {
    checker: Checker,
    kind: K,
    server: Server,
}

impl<K> super::Placed for Draft<K> {
    fn places(&mut self) -> &mut Places {
        &mut self.checker.places
    }
}

/// The real server of a checker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
    /// The protocol of the service, as far as it is known where the checker stands.
    pub(super) protocol: Option<Protocol>,
}

impl Server {
    /// As messages name it: `[192.0.2.1]:tcp:80`.
    fn name(self) -> String {
        let protocol = self.protocol.map_or_else(|| "none".to_owned(), |protocol| protocol.to_string());
        format!("[{}]:{protocol}:{}", self.address, self.port.unwrap_or(0))
    }
}

/// Reads one checker block of `server` and adds its checkers to those that there are: as a rule one.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement, server: Server, checkers: &mut Vec<Checker>) {
    let Some(kind) = CheckerType::ALL.iter().find(|kind| kind.as_str() == statement.keyword.text) else { return };
    // Its times are filled in when all is read.
    let checker = Checker {
        kind: CheckerKind::Unusable(*kind),
        target: CheckTarget::default(),
        timing: CheckTiming {
            delay_loop: Duration::ZERO,
            warmup: Duration::ZERO,
            retry: 0,
            delay_before_retry: Duration::ZERO,
        },
        alpha: false,
        log_all_failures: false,
        place: Spanned::new((), statement.keyword.span),
        places: Places::default(),
    };
    let read = match kind {
        CheckerType::Tcp | CheckerType::Ping => Some(connection::read(context, statement, checker, server, *kind)),
        CheckerType::Udp => Some(udp::read(context, statement, checker, server)),
        CheckerType::Dns => Some(wire::read_dns(context, statement, checker, server)),
        CheckerType::Smtp => return wire::read_smtp(context, statement, checker, server, checkers),
        CheckerType::Http | CheckerType::Ssl => Some(http::read(context, statement, checker, server, *kind)),
        CheckerType::Misc => Some(misc::read(context, statement, checker, server)),
        CheckerType::File => Some(tracked::read_file(context, statement, checker, server)),
        CheckerType::Bfd => tracked::read_bfd(context, statement, checker, server, checkers),
    };
    checkers.reserve_exact(usize::from(read.is_some()));
    checkers.extend(read);
}

impl<K: Default + 'static> Draft<K> {
    fn read(
        context: &mut Context<'_>,
        statement: &Statement,
        checker: Checker,
        server: Server,
        tables: &[&[Handler<Self>]],
    ) -> Self {
        let mut draft = Self { checker, kind: K::default(), server };
        context.visit(&mut draft, &statement.body, tables);
        draft
    }
}

impl<K> Draft<K> {
    /// The checker, of the kind that `make` makes of what was read for it.
    fn make(self, make: impl FnOnce(K) -> CheckerKind) -> Checker {
        Checker { kind: make(self.kind), ..self.checker }
    }
}

/// Reports a checker without what it cannot do without.
fn unusable(context: &mut Context<'_>, span: Span, message: impl Into<String>, help: &str) {
    let finding = Diagnostic::error(Code::BadChecker, Class::General, span, message);
    context.push(finding.label("its server counts as down").help(help));
}

/// Reports a keyword that is passed over because nothing follows it.
fn nothing_follows(context: &mut Context<'_>, statement: &Statement, message: impl Into<String>) {
    let finding = Diagnostic::error(Code::MissingParameter, Class::General, statement.keyword.span, message);
    context.push(match statement.row {
        Some(row) => finding.help(format!("{} {}", row.keyword, row.arguments)),
        None => finding,
    });
}

/// What a checker takes over.
pub(super) struct Outer<'a> {
    /// The real server's words, and where it has none those of the virtual server.
    pub(super) checks: CheckDefaults,
    /// The real server's, which is the virtual server's where it has none.
    pub(super) alpha: bool,
    /// Where they were written.
    pub(super) place: &'a dyn Fn(&str) -> Option<Span>,
    /// Whether the virtual server has a `virtualhost`.
    pub(super) virtualhost: bool,
    pub(super) globals: &'a Globals,
}

/// The keywords that a checker has of its own, of those that it could take over.
#[derive(Default)]
struct Written {
    delay_loop: bool,
    warmup: bool,
    retry: bool,
    delay_before_retry: bool,
    connect_timeout: bool,
    alpha: bool,
    log_all_failures: bool,
}

impl Written {
    fn of(places: &Places) -> Self {
        let mut written = Self::default();
        for keyword in places.keywords() {
            match keyword {
                "delay_loop" => written.delay_loop = true,
                "warmup" => written.warmup = true,
                "retry" => written.retry = true,
                "delay_before_retry" => written.delay_before_retry = true,
                "connect_timeout" => written.connect_timeout = true,
                "alpha" => written.alpha = true,
                "log_all_failures" => written.log_all_failures = true,
                _ => {}
            }
        }
        written
    }
}

impl Outer<'_> {
    /// What a checker of `kind` takes for a keyword that it does not have: `outer`, with its place, or the default.
    fn take<T>(&self, kind: CheckerType, places: &mut Places, keyword: &str, outer: Option<T>, default: T) -> T {
        if outer.is_some() {
            places.inherit(kind.block(), keyword, (self.place)(keyword));
        }
        outer.unwrap_or(default)
    }
}

/// Applies what a checker takes over, and defaults.
pub(super) fn finish(mut checker: Checker, context: &mut Context<'_>, outer: &Outer<'_>) -> Checker {
    let kind = checker.kind.checker_type();
    let written = Written::of(&checker.places);
    take_timing(&mut checker, kind, &written, outer, &context.carried.defaults);
    let places = &mut checker.places;
    if !written.connect_timeout {
        let (timeout, default) =
            (outer.checks.connect_timeout, context.carried.defaults.virtual_server.connect_timeout);
        checker.target.connect_timeout = outer.take(kind, places, "connect_timeout", timeout, default);
    }
    if !written.alpha {
        checker.alpha = outer.take(kind, places, "alpha", Some(outer.alpha), false);
    }
    if !written.log_all_failures && outer.globals.defs.lvs.log_all_failures {
        checker.log_all_failures = true;
        let place = outer.globals.defs.places.of("global_defs", "checker_log_all_failures");
        places.inherit(kind.block(), "log_all_failures", place);
    }
    places.shrink();
    // What was only written as the default is not there.
    checker.target.rare = checker.target.rare.filter(|socket| **socket != CheckSocket::default());
    if let CheckerKind::Http(get) | CheckerKind::Ssl(get) = &checker.kind {
        http::check_sni(get, context, kind, &checker.places, outer.virtualhost);
    }
    checker
}

fn take_timing(checker: &mut Checker, kind: CheckerType, written: &Written, outer: &Outer<'_>, defaults: &Defaults) {
    let (words, retries) = (&outer.checks, defaults.retries(kind));
    let Checker { timing, places, .. } = checker;
    if !written.delay_loop {
        timing.delay_loop =
            outer.take(kind, places, "delay_loop", words.delay_loop, defaults.virtual_server.delay_loop);
    }
    if !written.warmup {
        timing.warmup = outer.take(kind, places, "warmup", words.warmup, timing.delay_loop);
    }
    if !written.retry {
        timing.retry = outer.take(kind, places, "retry", words.retry, retries.retry);
    }
    if !written.delay_before_retry {
        let default = retries.delay_before_retry.unwrap_or(timing.delay_loop);
        let between = words.delay_before_retry;
        timing.delay_before_retry = outer.take(kind, places, "delay_before_retry", between, default);
    }
}
