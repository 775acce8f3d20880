//! What VRRP instances take over, and what concerns all of them.

use std::net::IpAddr;
use std::time::Duration;

use super::{Globals, flag, old_name, repeated, suggest, switch};
use crate::config::{GarpExtraIf, RxBufsPolicy, VrrpVersion};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::value::seconds;
use crate::lower::{Context, Handler};
use crate::tree::Statement;

pub(in crate::lower) const VRRP: &[Handler<Globals>] = &[
    Handler("dynamic_interfaces", dynamic_interfaces),
    Handler("vrrp_mcast_group4", |globals, context, statement| {
        if let Some(IpAddr::V4(group)) = group(context, statement) {
            globals.defs.vrrp_mcast_group4 = group;
        }
    }),
    Handler("vrrp_mcast_group6", |globals, context, statement| {
        if let Some(IpAddr::V6(group)) = group(context, statement) {
            if group.octets()[1] & 0xf != 2 {
                let message = format!("vrrp_mcast_group6 [{group}] should be link-local multicast.");
                context.warning(Code::BadAddress, statement.span(), message);
            }
            globals.defs.vrrp_mcast_group6 = group;
        }
    }),
    Handler("vrrp_version", |globals, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match version_of(&word.text) {
            Some(version) => globals.defs.vrrp_version = version,
            None => {
                let message = "VRRP Error: Version must be either 2 or 3";
                context.push(Diagnostic::error(Code::BadNumber, Class::InvalidNumber, word.span, message));
            }
        }
    }),
    Handler("vrrp_garp_interval", |globals, context, statement| {
        globals.defs.vrrp_garp_interval = interval(context, statement).unwrap_or(globals.defs.vrrp_garp_interval);
    }),
    Handler("vrrp_gna_interval", |globals, context, statement| {
        globals.defs.vrrp_gna_interval = interval(context, statement).unwrap_or(globals.defs.vrrp_gna_interval);
    }),
    Handler("vrrp_garp_master_delay", |globals, context, statement| {
        globals.garp_words.delay = time(context, statement).or(globals.garp_words.delay);
    }),
    Handler("vrrp_garp_master_repeat", |globals, context, statement| {
        globals.garp_words.repeat = repeats(context, statement).or(globals.garp_words.repeat);
    }),
    Handler("vrrp_garp_master_refresh", |globals, context, statement| {
        globals.garp_words.refresh = time(context, statement).or(globals.garp_words.refresh);
    }),
    Handler("vrrp_garp_master_refresh_repeat", |globals, context, statement| {
        globals.garp_words.refresh_repeat = repeats(context, statement).or(globals.garp_words.refresh_repeat);
    }),
    Handler("vrrp_garp_lower_prio_delay", |globals, context, statement| {
        globals.garp_words.lower_prio_delay = time(context, statement).or(globals.garp_words.lower_prio_delay);
    }),
    Handler("vrrp_garp_lower_prio_repeat", |globals, context, statement| {
        let repeat = context.number_with(statement, |text| format!("Invalid vrrp_garp_lower_prio_repeat '{text}'"));
        globals.garp_words.lower_prio_repeat = repeat.or(globals.garp_words.lower_prio_repeat);
    }),
    Handler("vrrp_min_garp", |globals, context, statement| {
        let mut on = false;
        switch(&mut on, context, statement);
        if on {
            globals.defs.vrrp.min_garp = true;
            globals.garp_words.minimise();
        }
    }),
    Handler("vrrp_garp_extra_if", extra_garp),
    Handler("vrrp_vmac_garp_intvl", |globals, context, statement| {
        context.push(old_name(statement));
        extra_garp(globals, context, statement);
    }),
    Handler("vrrp_down_timer_adverts", |globals, context, statement| {
        let message = |text: &str| format!("Invalid vrrp_down_timer_adverts [1:100] '{text}'");
        let adverts = context.number_with(statement, message);
        globals.defs.vrrp.down_timer_adverts = adverts.unwrap_or(globals.defs.vrrp.down_timer_adverts);
    }),
    Handler("vrrp_skip_check_adv_addr", |globals, context, statement| {
        switch(&mut globals.defs.vrrp.skip_check_adv_addr, context, statement);
    }),
    Handler("vrrp_check_unicast_src", |globals, context, statement| {
        flag(&mut globals.defs.vrrp.check_unicast_src, context, statement);
    }),
    Handler("vrrp_lower_prio_no_advert", |globals, context, statement| {
        switch(&mut globals.defs.vrrp.lower_prio_no_advert, context, statement);
    }),
    Handler("vrrp_higher_prio_send_advert", |globals, context, statement| {
        switch(&mut globals.defs.vrrp.higher_prio_send_advert, context, statement);
    }),
    Handler("vrrp_owner_ignore_adverts", |globals, context, statement| {
        switch(&mut globals.defs.vrrp.owner_ignore_adverts, context, statement);
    }),
    Handler("vrrp_notify_priority_changes", |globals, context, statement| {
        switch(&mut globals.defs.vrrp.notify_priority_changes, context, statement);
    }),
    Handler("v3_checksum_as_v2", |globals, context, statement| {
        flag(&mut globals.defs.vrrp.v3_checksum_as_v2, context, statement);
    }),
    Handler("vrrp_strict", |globals, context, statement| {
        switch(&mut globals.defs.vrrp.strict, context, statement);
    }),
    Handler("vrrp_vip_lease", |globals, context, statement| {
        let lease = context.time_with(statement, |text| format!("vrrp_vip_lease '{text}' is invalid"));
        globals.defs.vrrp.vip_lease = lease.or(globals.defs.vrrp.vip_lease);
    }),
    Handler("vrrp_startup_delay", |globals, context, statement| {
        let delay = interval_of(context, statement);
        globals.defs.vrrp.startup_delay = delay.unwrap_or(globals.defs.vrrp.startup_delay);
    }),
    Handler("vrrp_delay_after_boot", |globals, context, statement| {
        let delay = interval_of(context, statement);
        globals.defs.vrrp.delay_after_boot = delay.unwrap_or(globals.defs.vrrp.delay_after_boot);
    }),
    Handler("log_unknown_vrids", |globals, context, statement| {
        flag(&mut globals.defs.vrrp.log_unknown_vrids, context, statement);
    }),
    Handler("default_interface", |globals, context, statement| {
        if let Some(word) = context.word(statement, "default_interface requires interface name")
            && let Some(name) = context.interface(word)
        {
            globals.defs.vrrp.default_interface = name.value;
        }
    }),
    Handler("disable_local_igmp", |globals, context, statement| {
        flag(&mut globals.defs.vrrp.disable_local_igmp, context, statement);
    }),
    Handler("vmac_prefix", |globals, context, statement| {
        if let Some(prefix) = prefix(globals, context, statement, "vmac") {
            globals.vmac_prefix = Some(prefix);
        }
    }),
    Handler("vmac_addr_prefix", |globals, context, statement| {
        if let Some(prefix) = prefix(globals, context, statement, "vmac_addr") {
            globals.vmac_addr_prefix = Some(prefix);
        }
    }),
    Handler("vrrp_rx_bufs_policy", rx_bufs_policy),
    Handler("vrrp_rx_bufs_multiplier", |globals, context, statement| {
        if context.word(statement, "Invalid vrrp_rx_bufs_multiplier").is_some()
            && let Some(multiplier) =
                context.number_with(statement, |text| format!("Invalid vrrp_rx_bufs_multiplier {text}"))
        {
            globals.defs.vrrp.rx_bufs_multiplier = multiplier;
        }
    }),
    Handler("iproute_usr_dir", |globals, context, statement| {
        context.set(&mut globals.defs.vrrp.iproute_usr_dir, statement);
    }),
    Handler("iproute_etc_dir", |globals, context, statement| {
        context.set(&mut globals.defs.vrrp.iproute_etc_dir, statement);
    }),
];

fn dynamic_interfaces(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    const BLOCK: &str = "global_defs/dynamic_interfaces";
    globals.defs.dynamic_interfaces = true;
    let Some(word) = statement.arguments.first() else { return };
    if context.known_option(BLOCK, &word.text, word.span) {
        globals.defs.allow_interface_changes = true;
        return;
    }
    // The keyword counts in spite of it.
    let message = format!("Unknown dynamic_interfaces option '{}'", word.text);
    let finding = Diagnostic::warning(Code::BadWord, Class::General, word.span, message);
    context.push(suggest(finding, BLOCK, &word.text));
}

fn group(context: &mut Context<'_>, statement: &Statement) -> Option<IpAddr> {
    let word = statement.arguments.first()?;
    let (keyword, v4) = (&statement.keyword.text, statement.keyword.text.ends_with('4'));
    let wrong = match word.text.parse::<IpAddr>() {
        Ok(group) if group.is_ipv4() != v4 => {
            format!("{keyword} [{}] is not IPv{}. Skipping", word.text, if v4 { 4 } else { 6 })
        }
        Ok(group) if !group.is_multicast() => format!("{keyword} [{}] is not multicast. Skipping", word.text),
        Ok(group) => return Some(group),
        Err(_) => format!("Can't parse {keyword} [{}]. Skipping", word.text),
    };
    context.error(Code::BadAddress, word.span, wrong);
    None
}

fn time(context: &mut Context<'_>, statement: &Statement) -> Option<Duration> {
    context.time_with(statement, |text| format!("{} '{text}' invalid - ignoring", statement.keyword.text))
}

fn interval_of(context: &mut Context<'_>, statement: &Statement) -> Option<Duration> {
    context.time_with(statement, |text| format!("{} '{text}' is invalid", statement.keyword.text))
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
    interval_of(context, statement)
}

/// A number of repeats, of which 0 counts as 1.
pub(in crate::lower) fn repeats(context: &mut Context<'_>, statement: &Statement) -> Option<u32> {
    let repeats: u32 =
        context.number_with(statement, |text| format!("{} '{text}' invalid - ignoring", statement.keyword.text))?;
    if repeats == 0 {
        let message = format!("{} must be greater than 0, setting to 1", statement.keyword.text);
        context.warning(Code::AdjustedValue, statement.span(), message);
    }
    Some(repeats.max(1))
}

fn extra_garp(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    if let Some(extra) = garp_extra_if(context, statement, "") {
        globals.defs.vrrp.garp_extra_if = Some(extra);
    }
}

/// `[all] SECONDS`; findings begin with `owner`.
pub(in crate::lower) fn garp_extra_if(
    context: &mut Context<'_>,
    statement: &Statement,
    owner: &str,
) -> Option<GarpExtraIf> {
    let row = statement.row?;
    let (all, word) = match statement.arguments.as_slice() {
        [all, rest @ ..] if all.text == "all" => (Some(all), rest.first()),
        words => (None, words.first()),
    };
    let Some(word) = word else {
        let message = format!("{owner}{} specified without time - ignoring", row.keyword);
        context.error(Code::MissingParameter, statement.span(), message);
        return None;
    };
    let message = format!("{owner}{} '{}' invalid - ignoring", row.keyword, word.text);
    let interval = context.bounded::<u32>(Some(row), word, message)?;
    if let Some(all) = all {
        context.known_option(&row.path(), &all.text, all.span);
    }
    Some(GarpExtraIf { interval: Duration::from_secs(interval.into()), all: all.is_some() })
}

/// The first one counts.
fn prefix(globals: &Globals, context: &mut Context<'_>, statement: &Statement, what: &str) -> Option<String> {
    let word = statement.arguments.first()?;
    let message = format!("{what} prefix has already been specified - ignoring {}", word.text);
    (!repeated(globals, context, statement, message)).then(|| word.text.clone())
}

/// A size beats `MTU`, which beats `ADVERT`.
fn rx_bufs_policy(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = context.word(statement, "vrrp_rx_bufs_policy missing") else { return };
    let Some(policy) = policy(context, statement, word) else { return };
    let slot = &mut globals.defs.vrrp.rx_bufs_policy;
    let (kept, message) = match (*slot, policy) {
        (RxBufsPolicy::Mtu, RxBufsPolicy::Advert) | (RxBufsPolicy::Advert, RxBufsPolicy::Mtu) => {
            (RxBufsPolicy::Mtu, "Cannot set both vrrp_rx_bufs_policy MTU and ADVERT, ignoring ADVERT")
        }
        (size @ RxBufsPolicy::Bytes(_), RxBufsPolicy::Mtu | RxBufsPolicy::Advert)
        | (RxBufsPolicy::Mtu | RxBufsPolicy::Advert, size @ RxBufsPolicy::Bytes(_)) => {
            (size, "Cannot set vrrp_rx_bufs_policy size and policy, ignoring policy")
        }
        _ => {
            *slot = policy;
            return;
        }
    };
    let finding = if kept == policy {
        Diagnostic::warning(Code::AlreadySpecified, Class::General, word.span, message)
    } else {
        Diagnostic::error(Code::AlreadySpecified, Class::General, word.span, message)
    };
    *slot = kept;
    let first = globals.defs.places.of("global_defs", "vrrp_rx_bufs_policy");
    context.push(match first {
        Some(first) => finding.related(first, "the other one"),
        None => finding,
    });
}

fn policy(context: &mut Context<'_>, statement: &Statement, word: &Word) -> Option<RxBufsPolicy> {
    let name = word.text.to_ascii_uppercase();
    if context.known_option("global_defs/vrrp_rx_bufs_policy", &name, word.span) {
        return Some(if name == "MTU" { RxBufsPolicy::Mtu } else { RxBufsPolicy::Advert });
    }
    let message = format!("Invalid vrrp_rx_bufs_policy {}", word.text);
    context.bounded(statement.row, word, message).map(RxBufsPolicy::Bytes)
}

fn version_of(text: &str) -> Option<VrrpVersion> {
    VrrpVersion::WORDS.iter().find(|(word, _)| *word == text).map(|(_, version)| *version)
}

/// `2` or `3`.
pub(in crate::lower) fn version(context: &mut Context<'_>, statement: &Statement, owner: &str) -> Option<VrrpVersion> {
    let word = statement.arguments.first()?;
    let version = version_of(&word.text);
    if version.is_none() {
        let message = format!("{owner}Version {} not valid! must be 2 or 3 - ignoring", word.text);
        context.push(Diagnostic::error(Code::BadNumber, Class::InvalidNumber, word.span, message));
    }
    version
}
