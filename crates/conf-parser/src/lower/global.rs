//! `global_defs`.

use std::net::IpAddr;
use std::time::Duration;

use super::value::{bounds, integer, seconds};
use super::{Context, Handler};
use crate::config::{Garp, GarpExtraIf, GlobalDefs, SmtpServer, VrrpVersion};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::setting::Places;
use crate::source::Spanned;
use crate::tree::Statement;

/// `global_defs`, with what instances and servers take over from it.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) defs: GlobalDefs,
    /// The resolved `vrrp_garp_*` values.
    pub(super) garp: Garp,
    pub(super) garp_words: GarpWords,
    pub(super) skip_check_adv_addr: bool,
    pub(super) lower_prio_no_advert: bool,
    pub(super) higher_prio_send_advert: bool,
    pub(super) down_timer_adverts: Option<u8>,
    pub(super) log_all_failures: bool,
}

super::placed!(Globals, defs);

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
}

impl Globals {
    /// Works out what depends on other values; call it once all blocks were read.
    pub(super) fn resolve(&mut self) {
        let words = &self.garp_words;
        let default = Garp::default();
        let base = Garp {
            lower_prio_delay: words.delay.unwrap_or(default.delay),
            lower_prio_repeat: words.repeat.unwrap_or(default.repeat),
            ..default
        };
        self.garp = words.or(&base);
    }

    /// `smtp_alert` of an instance or a group: its own, else that for VRRP, else that for all.
    pub(super) fn vrrp_alert(&self, own: Option<bool>, block: &str, places: &mut Places) -> bool {
        let smtp = &self.defs.smtp;
        let keyword = if smtp.alert_vrrp.is_some() { "smtp_alert_vrrp" } else { "smtp_alert" };
        if own.is_none() {
            places.inherit(block, "smtp_alert", self.defs.places.of("global_defs", keyword));
        }
        own.or(smtp.alert_vrrp).or(smtp.alert).unwrap_or(false)
    }

    fn min_garp(&mut self) {
        let words = &mut self.garp_words;
        words.delay.get_or_insert(Duration::ZERO);
        words.repeat.get_or_insert(1);
        words.lower_prio_delay.get_or_insert(Duration::ZERO);
        words.lower_prio_repeat.get_or_insert(1);
    }
}

/// A number of repeats, of which 0 counts as 1.
pub(super) fn repeats(context: &mut Context<'_>, statement: &Statement) -> Option<u32> {
    let repeats: u32 = context.number(statement, &statement.keyword.text)?;
    if repeats == 0 {
        let message = format!("{} must be greater than 0, setting to 1", statement.keyword.text);
        context.warning(Code::AdjustedValue, statement.span(), message);
    }
    Some(repeats.max(1))
}

fn interval(context: &mut Context<'_>, statement: &Statement) -> Option<Duration> {
    let word = statement.arguments.first()?;
    // "0" is what tutorials write: keepalived complains and keeps its default, which is the same.
    if seconds(&word.text, 6, &(Duration::ZERO..=Duration::ZERO)).is_ok() {
        let message = format!("{} '{}' is invalid", statement.keyword.text, word.text);
        context.push(
            Diagnostic::warning(Code::BadNumber, Class::General, word.span, message)
                .help("0 is the default: leave the line out"),
        );
        return None;
    }
    context.time_with(statement, |text| format!("{} '{text}' is invalid", statement.keyword.text))
}

fn group(context: &mut Context<'_>, statement: &Statement) -> Option<IpAddr> {
    let word = statement.arguments.first()?;
    let v4 = statement.keyword.text.ends_with('4');
    let group = word.text.parse::<IpAddr>().ok().filter(|group| group.is_multicast() && group.is_ipv4() == v4);
    if group.is_none() {
        let message =
            format!("Configuration error: Cannot parse {} {}, keeping the default", statement.keyword.text, word.text);
        context.error(Code::BadAddress, word.span, message);
    }
    group
}

pub(super) const GLOBAL_DEFS: &[Handler<Globals>] = &[
    Handler("router_id", |globals, context, statement| globals.defs.router_id = context.text(statement)),
    Handler("notification_email", |globals, context, statement| {
        if statement.body.is_empty() {
            context.warning(Code::BadGlobal, statement.keyword.span, "Warning - empty notification_email block");
        }
        let words = statement.body.iter().flat_map(|line| std::iter::once(&line.keyword).chain(&line.arguments));
        globals.defs.notification_email.extend(words.map(|word| Spanned::new(word.text.clone(), word.span)));
    }),
    Handler("notification_email_from", |globals, context, statement| {
        globals.defs.notification_email_from = context.text(statement)
    }),
    Handler("smtp_server", |globals, context, statement| {
        let Some(host) = context.text(statement) else { return };
        let mut server = SmtpServer { host, port: 25 };
        if let Some(word) = statement.arguments.get(1) {
            match integer(&word.text, &(1..=u16::MAX)) {
                Ok(port) => server.port = port,
                Err(wrong) => {
                    context.bad_number(word, wrong, format!("Invalid smtp server port '{}', using 25", word.text))
                }
            }
        }
        globals.defs.smtp.server = Some(server);
    }),
    Handler("smtp_helo_name", |globals, context, statement| globals.defs.smtp.helo_name = context.text(statement)),
    Handler("smtp_connect_timeout", |globals, context, statement| {
        if let Some(timeout) = context.time(statement, &statement.keyword.text) {
            if timeout.is_zero() {
                let message = "smtp_connect_timeout must be greater than 0, setting to 1";
                context.warning(Code::AdjustedValue, statement.span(), message);
            }
            globals.defs.smtp.connect_timeout = timeout.max(Duration::from_secs(1));
        }
    }),
    Handler("smtp_alert", |globals, context, statement| globals.defs.smtp.alert = context.switch(statement)),
    Handler("smtp_alert_vrrp", |globals, context, statement| globals.defs.smtp.alert_vrrp = context.switch(statement)),
    Handler("smtp_alert_checker", |globals, context, statement| {
        globals.defs.smtp.alert_checker = context.switch(statement)
    }),
    Handler("no_email_faults", |globals, _, _| globals.defs.smtp.no_email_faults = true),
    Handler("max_auto_priority", |globals, context, statement| {
        globals.defs.max_auto_priority = match statement.arguments.is_empty() {
            true => Some(99),
            false => context.number(statement, "max_auto_priority").filter(|priority| *priority != 0),
        };
    }),
    Handler("script_user", |globals, context, statement| {
        globals.defs.script_user = context.script_user(&statement.arguments)
    }),
    Handler("enable_script_security", |globals, _, _| globals.defs.enable_script_security = true),
    Handler("dynamic_interfaces", |globals, _, _| globals.defs.dynamic_interfaces = true),
    Handler("checker_log_all_failures", |globals, context, statement| {
        globals.log_all_failures = context.switch(statement).unwrap_or(globals.log_all_failures);
    }),
    Handler("vrrp_mcast_group4", |globals, context, statement| {
        if let Some(IpAddr::V4(group)) = group(context, statement) {
            globals.defs.vrrp_mcast_group4 = group;
        }
    }),
    Handler("vrrp_mcast_group6", |globals, context, statement| {
        if let Some(IpAddr::V6(group)) = group(context, statement) {
            globals.defs.vrrp_mcast_group6 = group;
        }
    }),
    Handler("vrrp_version", |globals, context, statement| {
        globals.defs.vrrp_version = version(context, statement, "").unwrap_or(globals.defs.vrrp_version);
    }),
    Handler("vrrp_garp_interval", |globals, context, statement| {
        globals.defs.vrrp_garp_interval = interval(context, statement).unwrap_or(globals.defs.vrrp_garp_interval);
    }),
    Handler("vrrp_gna_interval", |globals, context, statement| {
        globals.defs.vrrp_gna_interval = interval(context, statement).unwrap_or(globals.defs.vrrp_gna_interval);
    }),
    Handler("vrrp_garp_master_delay", |globals, context, statement| {
        globals.garp_words.delay = context.time(statement, &statement.keyword.text).or(globals.garp_words.delay);
    }),
    Handler("vrrp_garp_master_repeat", |globals, context, statement| {
        globals.garp_words.repeat = repeats(context, statement).or(globals.garp_words.repeat);
    }),
    Handler("vrrp_garp_master_refresh", |globals, context, statement| {
        globals.garp_words.refresh = context.time(statement, &statement.keyword.text).or(globals.garp_words.refresh);
    }),
    Handler("vrrp_garp_master_refresh_repeat", |globals, context, statement| {
        globals.garp_words.refresh_repeat = repeats(context, statement).or(globals.garp_words.refresh_repeat);
    }),
    Handler("vrrp_garp_lower_prio_delay", |globals, context, statement| {
        globals.garp_words.lower_prio_delay =
            context.time(statement, &statement.keyword.text).or(globals.garp_words.lower_prio_delay);
    }),
    Handler("vrrp_garp_lower_prio_repeat", |globals, context, statement| {
        let repeat = context.number(statement, "vrrp_garp_lower_prio_repeat");
        globals.garp_words.lower_prio_repeat = repeat.or(globals.garp_words.lower_prio_repeat);
    }),
    Handler("vrrp_min_garp", |globals, context, statement| {
        if context.switch(statement) == Some(true) {
            globals.min_garp();
        }
    }),
    Handler("vrrp_strict", |globals, context, statement| context.set(&mut globals.defs.vrrp_strict, statement)),
    Handler("vrrp_check_unicast_src", |globals, _, _| globals.defs.vrrp_check_unicast_src = true),
    Handler("vrrp_owner_ignore_adverts", |globals, context, statement| {
        context.set(&mut globals.defs.vrrp_owner_ignore_adverts, statement);
    }),
    Handler("vrrp_notify_priority_changes", |globals, context, statement| {
        context.set(&mut globals.defs.vrrp_notify_priority_changes, statement);
    }),
    Handler("vrrp_garp_extra_if", |globals, context, statement| {
        let extra = garp_extra_if(context, statement, "");
        globals.defs.vrrp_garp_extra_if = extra.unwrap_or(globals.defs.vrrp_garp_extra_if);
    }),
    Handler("vrrp_vmac_garp_intvl", |globals, context, statement| {
        let extra = garp_extra_if(context, statement, "");
        globals.defs.vrrp_garp_extra_if = extra.unwrap_or(globals.defs.vrrp_garp_extra_if);
    }),
    Handler("v3_checksum_as_v2", |globals, _, _| globals.defs.v3_checksum_as_v2 = true),
    Handler("default_interface", |globals, context, statement| {
        let name = statement.arguments.first().and_then(|word| context.interface(word));
        globals.defs.default_interface = name.map_or(globals.defs.default_interface.clone(), |name| name.value);
    }),
    Handler("vrrp_skip_check_adv_addr", |globals, context, statement| {
        globals.skip_check_adv_addr = context.switch(statement).unwrap_or(globals.skip_check_adv_addr);
    }),
    Handler("vrrp_lower_prio_no_advert", |globals, context, statement| {
        globals.lower_prio_no_advert = context.switch(statement).unwrap_or(globals.lower_prio_no_advert);
    }),
    Handler("vrrp_higher_prio_send_advert", |globals, context, statement| {
        globals.higher_prio_send_advert = context.switch(statement).unwrap_or(globals.higher_prio_send_advert);
    }),
    Handler("vrrp_down_timer_adverts", |globals, context, statement| {
        globals.down_timer_adverts =
            context.number(statement, "vrrp_down_timer_adverts").or(globals.down_timer_adverts);
    }),
];

/// `[all] N`, under the new name of the keyword or the old.
pub(super) fn garp_extra_if(context: &mut Context<'_>, statement: &Statement, owner: &str) -> Option<GarpExtraIf> {
    let keyword = &statement.keyword.text;
    let new = if keyword.starts_with("vrrp_") { "vrrp_garp_extra_if" } else { "garp_extra_if" };
    if keyword != new {
        let message = format!("Keyword \"{keyword}\" is deprecated - please use \"{new}\"");
        let finding = Diagnostic::warning(Code::Deprecated, Class::Deprecated, statement.keyword.span, message);
        context.push(finding.replacement(new));
    }
    let (first, rest) = statement.arguments.split_first()?;
    let all = first.text == "all";
    let Some(word) = (if all { rest.first() } else { Some(first) }) else {
        let message = format!("{owner}{new} specified without time - ignoring");
        context.push(Diagnostic::error(Code::MissingParameter, Class::General, first.span, message));
        return None;
    };
    match integer(&word.text, &bounds(statement.row)) {
        Ok(seconds) => {
            let interval = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
            Some(GarpExtraIf { interval, all })
        }
        Err(wrong) => {
            context.bad_number(word, wrong, format!("{owner}{new} '{}' invalid - ignoring", word.text));
            None
        }
    }
}

/// `2` or `3`.
pub(super) fn version(context: &mut Context<'_>, statement: &Statement, owner: &str) -> Option<VrrpVersion> {
    let word = statement.arguments.first()?;
    match word.text.as_str() {
        "2" => Some(VrrpVersion::V2),
        "3" => Some(VrrpVersion::V3),
        text => {
            let message = format!("{owner}Version {text} not valid! must be 2 or 3 - ignoring");
            context.push(Diagnostic::error(Code::BadNumber, Class::InvalidNumber, word.span, message));
            None
        }
    }
}
