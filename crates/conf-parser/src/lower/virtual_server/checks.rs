//! What virtual and real servers hand down to their checkers.

use std::time::Duration;

use crate::config::CheckDefaults;
use crate::lower::Context;
use crate::tree::Statement;

/// A block that hands such values down.
pub(super) trait Checked {
    /// Where they go.
    fn checks(&mut self) -> &mut CheckDefaults;
}

/// Fills what `inner` does not give from `outer`.
pub(super) fn or(inner: CheckDefaults, outer: CheckDefaults) -> CheckDefaults {
    CheckDefaults {
        delay_loop: inner.delay_loop.or(outer.delay_loop),
        warmup: inner.warmup.or(outer.warmup),
        retry: inner.retry.or(outer.retry),
        delay_before_retry: inner.delay_before_retry.or(outer.delay_before_retry),
        connect_timeout: inner.connect_timeout.or(outer.connect_timeout),
    }
}

/// A time; `what` is how keepalived calls it in `WHAT 'TEXT' invalid - ignoring`.
fn time(context: &mut Context<'_>, statement: &Statement, what: &str) -> Option<Duration> {
    context.time_with(statement, |text| format!("{what} '{text}' invalid - ignoring"))
}

pub(super) fn delay_loop(block: &mut impl Checked, context: &mut Context<'_>, statement: &Statement, what: &str) {
    if let Some(time) = time(context, statement, what) {
        block.checks().delay_loop = Some(time);
    }
}

pub(super) fn warmup(block: &mut impl Checked, context: &mut Context<'_>, statement: &Statement, what: &str) {
    if let Some(time) = time(context, statement, what) {
        block.checks().warmup = Some(time);
    }
}

pub(super) fn retry<T: Checked>(block: &mut T, context: &mut Context<'_>, statement: &Statement) {
    if let Some(retry) = context.number_with(statement, |text| format!("retry value invalid - {text}")) {
        block.checks().retry = Some(retry);
    }
}

pub(super) fn delay_before_retry(
    block: &mut impl Checked,
    context: &mut Context<'_>,
    statement: &Statement,
    what: &str,
) {
    if let Some(time) = time(context, statement, what) {
        block.checks().delay_before_retry = Some(time);
    }
}

pub(super) fn connect_timeout(block: &mut impl Checked, context: &mut Context<'_>, statement: &Statement, owner: &str) {
    let message = |text: &str| format!("{owner} connect_timeout {text} invalid - ignoring");
    if let Some(time) = context.time_with(statement, message) {
        block.checks().connect_timeout = Some(time);
    }
}
