//! Checks that begin anew before the one before can have ended.

use std::time::Duration;

use crate::config::{Checker, CheckerKind, Config};
use crate::diagnostic::{Code, Diagnostic};

pub(super) fn check(config: &Config, findings: &mut Vec<Diagnostic>) {
    let servers = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    findings.extend(servers.flat_map(|server| &server.checkers).filter_map(checker));
    findings.extend(config.vrrp_scripts.iter().filter_map(|script| {
        let (interval, timeout) = (script.interval, script.timeout);
        (interval < timeout).then(|| {
            let message = format!(
                "script {} runs every {} and may take {}: a run is left out while the one before still goes on",
                *script.name,
                seconds(interval),
                seconds(timeout)
            );
            let place = script.places.of("vrrp_script", "timeout").unwrap_or(script.name.span);
            Diagnostic::note(Code::ShortInterval, place, message).help("let timeout be at most interval")
        })
    }));
}

fn checker(checker: &Checker) -> Option<Diagnostic> {
    let interval = checker.timing.delay_loop;
    let (timeout, keyword) = match &checker.kind {
        CheckerKind::Unusable(_) => return None,
        CheckerKind::Misc(misc) => (misc.timeout?, "misc_timeout"),
        kind if kind.checker_type().connects() => (checker.target.connect_timeout, "connect_timeout"),
        _ => return None,
    };
    if interval >= timeout {
        return None;
    }
    let message = format!(
        "the check is made every {} and waits up to {} for its answer: a server that is silent is found out late",
        seconds(interval),
        seconds(timeout)
    );
    Some(
        Diagnostic::note(Code::ShortInterval, checker.place.span, message)
            .help(format!("let {keyword} be at most delay_loop")),
    )
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
