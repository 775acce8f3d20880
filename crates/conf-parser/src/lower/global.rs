//! `global_defs`.

mod fifo;
mod firewall;
mod lvs;
mod mail;
mod monitoring;
mod process;
mod reload;
mod script;
mod vrrp;

use std::collections::HashMap;
use std::time::Duration;

use super::interface::unknown_instance;
use super::track::Suggestions;
use super::value::{boolean, bounds, integer};
use super::{Context, Handler};
use crate::config::{Garp, GlobalDefs, IncludeCheck, LvsSyncDaemon};
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::schema::{nearest, schema};
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

pub(super) use vrrp::garp_extra_if;
pub(super) use vrrp::{repeats, version};

/// `global_defs`, with what instances and servers take over from it.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) defs: GlobalDefs,
    /// The resolved `vrrp_garp_*` values.
    pub(super) garp: Garp,
    pub(super) garp_words: GarpWords,
    vmac_prefix: Option<String>,
    vmac_addr_prefix: Option<String>,
    rs_stats_interval: Option<Duration>,
}

super::placed!(Globals, defs);

/// The words of `global_defs`.
pub(super) const GLOBAL_DEFS: &[&[Handler<Globals>]] = &[
    mail::MAIL,
    process::PROCESS,
    script::SCRIPT,
    vrrp::VRRP,
    firewall::FIREWALL,
    lvs::LVS,
    fifo::FIFO,
    monitoring::MONITORING,
    reload::RELOAD,
];

/// The `garp_*` words of an instance, or the `vrrp_garp_*` words of `global_defs`.
#[derive(Debug, Default)]
pub(super) struct GarpWords {
    pub(super) delay: Option<Duration>,
    pub(super) repeat: Option<u32>,
    pub(super) refresh: Option<Duration>,
    pub(super) refresh_repeat: Option<u32>,
    pub(super) lower_prio_delay: Option<Duration>,
    pub(super) lower_prio_repeat: Option<u32>,
}

impl GarpWords {
    /// Fills what was not written from `default`.
    pub(super) fn or(&self, default: &Garp) -> Garp {
        Garp {
            delay: self.delay.unwrap_or(default.delay),
            repeat: self.repeat.unwrap_or(default.repeat),
            refresh: self.refresh.unwrap_or(default.refresh),
            refresh_repeat: self.refresh_repeat.unwrap_or(default.refresh_repeat),
            lower_prio_delay: self.lower_prio_delay.unwrap_or(default.lower_prio_delay),
            lower_prio_repeat: self.lower_prio_repeat.unwrap_or(default.lower_prio_repeat),
        }
    }

    /// `vrrp_min_garp`: whatever is the default when its line is read becomes the least.
    fn minimise(&mut self) {
        let default = Garp::default();
        self.delay = self.delay.filter(|delay| *delay != default.delay).or(Some(Duration::ZERO));
        self.repeat = self.repeat.filter(|repeat| *repeat != default.repeat).or(Some(1));
        self.refresh_repeat = self.refresh_repeat.filter(|repeat| *repeat != default.refresh_repeat).or(Some(0));
    }
}

impl Globals {
    /// Works out what depends on other values; call it once all blocks were read.
    pub(super) fn resolve(
        &mut self,
        context: &mut Context<'_>,
        include_check: Option<Spanned<IncludeCheck>>,
        instances: &HashMap<String, Span>,
    ) {
        let words = &self.garp_words;
        let default = Garp::default();
        let base = Garp {
            lower_prio_delay: words.delay.unwrap_or(default.delay),
            lower_prio_repeat: words.repeat.unwrap_or(default.repeat),
            ..default
        };
        self.garp = words.or(&base);
        let defs = &mut self.defs;
        defs.vrrp.garp = self.garp;
        if let Some(prefix) = self.vmac_prefix.take() {
            defs.vrrp.vmac_prefix = prefix;
        }
        defs.vrrp.vmac_addr_prefix = self.vmac_addr_prefix.take().unwrap_or_else(|| defs.vrrp.vmac_prefix.clone());
        defs.monitoring.snmp_rs_stats_interval =
            self.rs_stats_interval.unwrap_or(defs.monitoring.snmp_vs_stats_interval);
        defs.reload.include_check = include_check;
        if let Some(daemon) = &defs.lvs.sync_daemon {
            check_sync_instance(context, daemon, instances);
        }
        fifo::check(context, &defs.fifos);
    }

    /// `smtp_alert` of an instance or a group: its own, else that for VRRP, else that for all, else `default`.
    pub(super) fn vrrp_alert(&self, own: Option<bool>, block: &str, places: &mut Places, default: bool) -> bool {
        let smtp = &self.defs.smtp;
        let keyword = if smtp.alert_vrrp.is_some() { "smtp_alert_vrrp" } else { "smtp_alert" };
        if own.is_none() {
            places.inherit(block, "smtp_alert", self.defs.places.of("global_defs", keyword));
        }
        own.or(smtp.alert_vrrp).or(smtp.alert).unwrap_or(default)
    }
}

/// The instance that the sync daemon follows must exist.
fn check_sync_instance(context: &mut Context<'_>, daemon: &LvsSyncDaemon, instances: &HashMap<String, Span>) {
    if let Some(name) = daemon.instance.as_ref().filter(|name| !instances.contains_key(&name.value)) {
        let message = format!("lvs_sync_daemon follows vrrp_instance {}, which does not exist", **name);
        context.push(unknown_instance(name, message, instances, &Suggestions::default()));
    }
}

/// A word that takes no value.
fn flag(slot: &mut bool, context: &mut Context<'_>, statement: &Statement) {
    if let Some(word) = statement.arguments.first()
        && boolean(&word.text) == Some(false)
    {
        let keyword = &statement.keyword.text;
        let message = format!("{keyword} takes no value: '{}' does not switch it off", word.text);
        context.push(Diagnostic::note(Code::ExtraParameter, word.span, message).help("remove the line"));
    }
    *slot = true;
}

/// Says which options of `block` there are, or which one was meant.
fn suggest(finding: Diagnostic, block: &str, word: &str) -> Diagnostic {
    let options = schema().rows_of(block).map(|row| row.keyword);
    match nearest(word, options.clone()) {
        Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
        None => finding.help(format!("known here: {}", options.collect::<Vec<_>>().join(", "))),
    }
}

/// A switch.
fn switch<T: From<bool>>(slot: &mut T, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else {
        *slot = true.into();
        return;
    };
    if let Some(on) = boolean(&word.text) {
        *slot = on.into();
        return;
    }
    let message = format!("Invalid value '{}' for global {} specified", word.text, statement.keyword.text);
    let finding = Diagnostic::error(Code::BadBoolean, Class::General, word.span, message);
    context.push(finding.help("one of true, on, yes, false, off, no, in lower case"));
}

/// A text; without one `missing` is reported.
fn text(slot: &mut Option<String>, context: &mut Context<'_>, statement: &Statement, missing: &str) {
    if let Some(word) = context.word(statement, missing) {
        *slot = Some(word.text.clone());
    }
}

/// `KEYWORD 'VALUE' must be in [LEAST, MOST] - ignoring`.
fn must_be_in(statement: &Statement) -> impl FnOnce(&str) -> String {
    let bounds = bounds(statement);
    move |text| {
        let (least, most) = bounds.into_inner();
        format!("{} '{text}' must be in [{least}, {most}] - ignoring", statement.keyword.text)
    }
}

/// Whether this keyword, which counts once, was given before; then `message` is reported.
fn repeated(globals: &Globals, context: &mut Context<'_>, statement: &Statement, message: impl Into<String>) -> bool {
    let first = globals.defs.places.of("global_defs", &statement.keyword.text);
    if let Some(first) = first {
        let finding = Diagnostic::error(Code::AlreadySpecified, Class::General, statement.span(), message);
        context.push(finding.related(first, "the one that is used"));
    }
    first.is_some()
}

/// An old name of a keyword.
pub(super) fn old_name(statement: &Statement) -> Diagnostic {
    let name = statement.row.and_then(|row| schema().original(row)).map_or("", |row| row.keyword);
    let message = format!("Keyword \"{}\" is deprecated - please use \"{name}\"", statement.keyword.text);
    Diagnostic::warning(Code::Deprecated, Class::Deprecated, statement.keyword.span, message).replacement(name)
}

/// An old name that keepalived takes in silence.
fn quiet_old_name(statement: &Statement) -> Diagnostic {
    Diagnostic { severity: Severity::Note, class: Class::Notice, ..old_name(statement) }
}

#[cfg(test)]
mod tests;
