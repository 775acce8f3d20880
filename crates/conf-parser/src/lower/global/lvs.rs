//! IPVS as a whole.

use std::net::IpAddr;
use std::time::Duration;

use super::{Globals, flag, quiet_old_name, suggest, switch};
use crate::config::{FlushOnStop, LvsSyncDaemon};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::{Context, Handler};
use crate::preprocess::missing_parameter;
use crate::schema::schema;
use crate::source::Spanned;
use crate::tree::Statement;

pub(in crate::lower) const LVS: &[Handler<Globals>] = &[
    Handler("lvs_timeouts", timeouts),
    Handler("lvs_flush", |globals, context, statement| flag(&mut globals.defs.lvs.flush, context, statement)),
    Handler("lvs_flush_on_stop", flush_on_stop),
    Handler("lvs_flush_onstop", |globals, context, statement| {
        context.push(quiet_old_name(statement));
        flush_on_stop(globals, context, statement);
    }),
    Handler("lvs_sync_daemon", sync_daemon),
    Handler("checker_log_all_failures", |globals, context, statement| {
        switch(&mut globals.defs.lvs.log_all_failures, context, statement);
    }),
    Handler("rs_init_notifies", |globals, context, statement| {
        switch(&mut globals.defs.lvs.init_notifies, context, statement);
    }),
];

fn timeouts(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    const BLOCK: &str = "global_defs/lvs_timeouts";
    if statement.arguments.len() < 2 {
        let message = "lvs_timeouts requires at least one option";
        let finding = Diagnostic::error(Code::MissingParameter, Class::General, statement.span(), message);
        context.push(finding.help("lvs_timeouts [tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]"));
        return;
    }
    let timeouts = &mut globals.defs.lvs.timeouts;
    let mut words = statement.arguments.iter();
    while let Some(word) = words.next() {
        let slot = match word.text.as_str() {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcpfin,
            "udp" => &mut timeouts.udp,
            option => {
                let message = format!("Unknown option {option} specified for lvs_timeouts");
                let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
                context.push(suggest(finding, BLOCK, option));
                skip_number(&mut words);
                continue;
            }
        };
        let Some(value) = words.next() else {
            let message = format!("No value specified for lvs_timeout {} - ignoring", word.text);
            context.error(Code::MissingParameter, word.span, message);
            return;
        };
        let row = schema().lookup(BLOCK, &word.text);
        let message = format!("Invalid lvs_timeout {} ({}) - ignoring", word.text, value.text);
        if let Some(seconds) = context.bounded::<u32>(row, value, message) {
            context.known_option(BLOCK, &word.text, word.span);
            *slot = Some(Duration::from_secs(seconds.into()));
        }
    }
}

/// The value of an option that is not known is no mistake of its own.
fn skip_number(words: &mut std::slice::Iter<'_, Word>) {
    let number = |word: &Word| word.text.bytes().all(|byte| byte.is_ascii_digit());
    if words.as_slice().first().is_some_and(number) {
        words.next();
    }
}

fn flush_on_stop(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    const BLOCK: &str = "global_defs/lvs_flush_on_stop";
    globals.defs.lvs.flush_on_stop = match statement.arguments.first() {
        None => FlushOnStop::All,
        Some(word) if context.known_option(BLOCK, &word.text, word.span) => FlushOnStop::VirtualServers,
        Some(word) => {
            let message = format!("Unknown lvs_flush_on_stop type {}", word.text);
            let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
            context.push(suggest(finding, BLOCK, &word.text));
            return;
        }
    };
}

const SYNC_DAEMON: &str = "global_defs/lvs_sync_daemon";

/// The first one counts.
fn sync_daemon(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = context.word(statement, "lvs_sync_daemon requires interface") else { return };
    if let Some(first) = &globals.defs.lvs.sync_daemon {
        let instance = first.instance.as_ref().map(|name| format!(" {}", **name)).unwrap_or_default();
        let message =
            format!("lvs_sync_daemon has already been specified as {}{instance} - ignoring", *first.interface);
        let finding = Diagnostic::error(Code::AlreadySpecified, Class::General, statement.span(), message);
        context.push(finding.related(first.interface.span, "the one that is used"));
        return;
    }
    if word.text.len() > 15 {
        let message = format!("lvs_sync_daemon interface name '{}' too long - ignoring", word.text);
        context.error(Code::BadGlobal, word.span, message);
        return;
    }
    let mut daemon = LvsSyncDaemon {
        interface: Spanned::new(word.text.clone(), word.span),
        instance: None,
        id: None,
        max_len: None,
        port: None,
        ttl: None,
        group: None,
    };
    let words = statement.arguments.get(1..).unwrap_or_default();
    let words = positional(&mut daemon, context, words);
    sync_options(&mut daemon, context, words);
    globals.defs.lvs.sync_daemon = Some(daemon);
}

/// `[INSTANCE [ID]]`, without the words that belong before them; what follows is returned.
fn positional<'w>(daemon: &mut LvsSyncDaemon, context: &mut Context<'_>, words: &'w [Word]) -> &'w [Word] {
    let is_option = |word: &Word| schema().lookup(SYNC_DAEMON, &word.text).is_some();
    let [name, rest @ ..] = words else { return words };
    if is_option(name) {
        return words;
    }
    daemon.instance = Some(Spanned::new(name.text.clone(), name.span));
    let [id, after @ ..] = rest else { return rest };
    if is_option(id) {
        return rest;
    }
    daemon.id = sync_id(context, id);
    if daemon.id.is_some() {
        let message = "Please use keyword \"id\" before lvs_sync_daemon SYNCID";
        let finding = Diagnostic::warning(Code::Deprecated, Class::Deprecated, id.span, message);
        context.push(finding.replacement(format!("id {}", id.text)));
    }
    after
}

fn sync_id(context: &mut Context<'_>, word: &Word) -> Option<u8> {
    let message = format!("Invalid syncid ({}) - defaulting to vrid", word.text);
    context.bounded(schema().lookup(SYNC_DAEMON, "id"), word, message)
}

/// `OPTION VALUE ...`.
fn sync_options(daemon: &mut LvsSyncDaemon, context: &mut Context<'_>, words: &[Word]) {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let option = word.text.as_str();
        if !context.known_option(SYNC_DAEMON, option, word.span) {
            let message = format!("Unknown option {option} specified for lvs_sync_daemon");
            let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
            context.push(suggest(finding, SYNC_DAEMON, option));
            skip_number(&mut words);
            continue;
        }
        match words.next() {
            Some(value) => sync_option(daemon, context, option, value),
            None => no_value(context, word),
        }
    }
}

fn no_value(context: &mut Context<'_>, word: &Word) {
    let option = word.text.as_str();
    let finding = |message| Diagnostic::error(Code::MissingParameter, Class::General, word.span, message);
    context.push(match option {
        // The only one that stops keepalived.
        "inst" => Diagnostic { class: Class::MissingParameter, ..finding(missing_parameter(option)).refusing() },
        "id" => finding("No value specified for lvs_sync_daemon id, defaulting to vrid".to_owned()),
        _ => finding(format!("No value specified for lvs_sync_daemon {option} - ignoring")),
    });
}

fn sync_option(daemon: &mut LvsSyncDaemon, context: &mut Context<'_>, option: &str, value: &Word) {
    let row = schema().lookup(SYNC_DAEMON, option);
    let invalid = format!("Invalid lvs_sync_daemon {option} ({}) - ignoring", value.text);
    match option {
        "inst" => match &daemon.instance {
            Some(first) => {
                let message =
                    format!("lvs_sync_daemon vrrp instance has already been specified as {} - ignoring", **first);
                let finding = Diagnostic::error(Code::AlreadySpecified, Class::General, value.span, message);
                context.push(finding.related(first.span, "the one that is used"));
            }
            None => daemon.instance = Some(Spanned::new(value.text.clone(), value.span)),
        },
        "id" => daemon.id = sync_id(context, value).or(daemon.id),
        "maxlen" => daemon.max_len = context.bounded(row, value, invalid).or(daemon.max_len),
        "port" => daemon.port = context.bounded(row, value, invalid).or(daemon.port),
        "ttl" => daemon.ttl = context.bounded(row, value, invalid).or(daemon.ttl),
        _ => daemon.group = sync_group(context, value, invalid).or(daemon.group),
    }
}

fn sync_group(context: &mut Context<'_>, value: &Word, invalid: String) -> Option<IpAddr> {
    let wrong = match value.text.parse::<IpAddr>() {
        Ok(group) if group.is_multicast() => return Some(group),
        Ok(_) => format!("lvs_sync_daemon group address {} is not multicast - ignoring", value.text),
        Err(_) => invalid,
    };
    context.error(Code::BadAddress, value.span, wrong);
    None
}
