//! Checks across blocks, and against the host.
//!
//! What keepalived finds too is found in its words and with its class; what it does not look for is a note, which
//! changes no exit status.

mod address;
mod lease;
mod names;
mod script;
mod secret;
mod timing;
mod tracking;

use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::host::Host;
use crate::source::Sources;

/// Every finding that needs more than one block, or the host. `sources` are the files of `config`.
///
/// They come in no particular order: sort them by `span`, with those of the reading.
pub fn check(config: &Config, sources: &Sources, host: &dyn Host) -> Vec<Diagnostic> {
    let mut findings = crate::check_interfaces(config, host);
    script::check(config, host, &mut findings);
    names::check(config, host, &mut findings);
    address::check(config, host, &mut findings);
    tracking::check(config, &mut findings);
    timing::check(config, &mut findings);
    lease::check(config, &mut findings);
    secret::check(config, sources, host, &mut findings);
    findings
}

#[cfg(test)]
mod tests;
