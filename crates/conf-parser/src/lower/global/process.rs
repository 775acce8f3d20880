//! The processes of the daemon.

use std::time::Duration;

use super::{Globals, bounds, flag, integer, must_be_in, quiet_old_name, switch};
use crate::config::{Process, ReceiveBuffer, Umask};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::{Context, Handler};
use crate::schema::schema;
use crate::source::Span;
use crate::tree::Statement;

pub(in crate::lower) const PROCESS: &[Handler<Globals>] = &[
    Handler("process_names", |globals, _, _| {
        let processes = &mut globals.defs.processes;
        processes.default_names = true;
        processes.vrrp.name = Some("keepalived_vrrp".to_owned());
        processes.checker.name = Some("keepalived_lvs".to_owned());
        processes.bfd.name = Some("keepalived_bfd".to_owned());
    }),
    Handler("process_name", |globals, context, statement| {
        globals.defs.processes.parent_name = name(context, statement);
    }),
    Handler("vrrp_process_name", process_name),
    Handler("checker_process_name", process_name),
    Handler("lvs_process_name", |globals, context, statement| {
        context.push(quiet_old_name(statement));
        process_name(globals, context, statement);
    }),
    Handler("bfd_process_name", process_name),
    Handler("vrrp_priority", priority),
    Handler("checker_priority", priority),
    Handler("bfd_priority", priority),
    Handler("vrrp_no_swap", no_swap),
    Handler("checker_no_swap", no_swap),
    Handler("bfd_no_swap", no_swap),
    Handler("vrrp_rt_priority", rt_priority),
    Handler("checker_rt_priority", rt_priority),
    Handler("bfd_rt_priority", rt_priority),
    Handler("vrrp_cpu_affinity", cpu_affinity),
    Handler("checker_cpu_affinity", cpu_affinity),
    Handler("bfd_cpu_affinity", cpu_affinity),
    Handler("vrrp_rlimit_rttime", rlimit_rttime),
    Handler("checker_rlimit_rttime", rlimit_rttime),
    Handler("bfd_rlimit_rttime", rlimit_rttime),
    Handler("vrrp_rlimit_rtime", old_rlimit_rttime),
    Handler("checker_rlimit_rtime", old_rlimit_rttime),
    Handler("bfd_rlimit_rtime", old_rlimit_rttime),
    Handler("max_auto_priority", |globals, context, statement| {
        if statement.arguments.is_empty() {
            globals.defs.max_auto_priority = Some(99);
            return;
        }
        let message =
            |text: &str| format!("max_auto_priority '{text}' must be in [0, 99] (or -1 to disable) - ignoring");
        if let Some(priority) = context.number_with(statement, message) {
            globals.defs.max_auto_priority = Some(priority).filter(|priority| *priority != 0);
        }
    }),
    Handler("min_auto_priority_delay", |globals, context, statement| {
        if context.word(statement, "min_auto_priority_delay requires delay time").is_some()
            && let Some(delay) = context.time_with(statement, must_be_in(statement))
        {
            globals.defs.processes.min_auto_priority_delay = delay;
        }
    }),
    Handler("umask", |globals, context, statement| match umask(&statement.arguments) {
        Ok(umask) => {
            for word in statement.arguments.iter().flat_map(|word| word.text.split('|')) {
                context.known_option("global_defs/umask", word, statement.span());
            }
            globals.defs.processes.umask = umask;
        }
        Err((span, message)) => {
            let finding = Diagnostic::error(Code::BadGlobal, Class::General, span, message);
            context.push(finding.help("a number such as 0022, or bits such as IWGRP|IWOTH"));
        }
    }),
    Handler("vrrp_netlink_cmd_rcv_bufs", buffer_size),
    Handler("vrrp_netlink_monitor_rcv_bufs", buffer_size),
    Handler("process_monitor_rcv_bufs", buffer_size),
    Handler("lvs_netlink_cmd_rcv_bufs", buffer_size),
    Handler("lvs_netlink_monitor_rcv_bufs", buffer_size),
    Handler("vrrp_netlink_cmd_rcv_bufs_force", buffer_force),
    Handler("vrrp_netlink_monitor_rcv_bufs_force", buffer_force),
    Handler("process_monitor_rcv_bufs_force", buffer_force),
    Handler("lvs_netlink_cmd_rcv_bufs_force", buffer_force),
    Handler("lvs_netlink_monitor_rcv_bufs_force", buffer_force),
];

/// The process that a keyword is about, and its name in findings.
fn process<'g>(globals: &'g mut Globals, statement: &Statement) -> (&'g mut Process, &'static str) {
    let processes = &mut globals.defs.processes;
    match statement.keyword.text.split('_').next() {
        Some("vrrp") => (&mut processes.vrrp, "vrrp"),
        Some("bfd") => (&mut processes.bfd, "bfd"),
        _ => (&mut processes.checker, "checker"),
    }
}

/// Longest name of a process, in bytes.
const MAX_NAME: usize = 15;

fn name(context: &mut Context<'_>, statement: &Statement) -> Option<String> {
    let word = statement.arguments.first()?;
    let end = word.text.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= MAX_NAME).last();
    let (kept, rest) = word.text.split_at_checked(end.unwrap_or_default())?;
    if !rest.is_empty() {
        let message = format!("Process name {} more than {MAX_NAME} characters, truncating", word.text);
        context.push(
            Diagnostic::warning(Code::AdjustedValue, Class::General, word.span, message)
                .label(format!("it becomes {kept}")),
        );
    }
    Some(kept.to_owned())
}

fn process_name(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    process(globals, statement).0.name = name(context, statement);
}

fn priority(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let (process, what) = process(globals, statement);
    if context.word(statement, format!("No {what} process priority specified")).is_some() {
        let priority = context.number_with(statement, |_| format!("Invalid {what} process priority specified"));
        process.priority = priority.or(process.priority);
    }
}

fn no_swap(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    flag(&mut process(globals, statement).0.no_swap, context, statement);
}

/// A number that is not in the range is moved into it.
fn rt_priority(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let (process, what) = process(globals, statement);
    let Some(word) = context.word(statement, format!("No {what} process real-time priority specified")) else {
        return;
    };
    let what = format!("{what} process real-time priority");
    let written: i32 = match integer(&word.text, &(i32::MIN..=i32::MAX)) {
        Ok(written) => written,
        Err(wrong) => {
            context.bad_number(word, wrong, format!("{what} '{}' invalid", word.text));
            return;
        }
    };
    let (least, most) = bounds(statement).into_inner();
    if i128::from(written) < least {
        let message = format!("{what} {written} less than minimum {least} - setting to minimum");
        context.warning(Code::AdjustedValue, word.span, message);
    }
    if i128::from(written) > most {
        let message = format!("{what} {written} greater than maximum {most} - setting to maximum");
        context.warning(Code::AdjustedValue, word.span, message);
    }
    process.rt_priority = u8::try_from(i128::from(written).clamp(least, most)).ok();
}

/// The last line counts, and only if all of its numbers can be used.
fn cpu_affinity(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let (process, what) = process(globals, statement);
    if context.word(statement, format!("No {what} cpu_id set specified")).is_none() {
        return;
    }
    let read = |word: &Word| {
        context.bounded(statement.row, word, format!("Invalid cpu_id:{} specified for {what} process", word.text))
    };
    let numbers: Vec<Option<u32>> = statement.arguments.iter().map(read).collect();
    if let Some(mut numbers) = numbers.into_iter().collect::<Option<Vec<_>>>() {
        numbers.sort_unstable();
        numbers.dedup();
        process.cpu_affinity = numbers;
    }
}

fn rlimit_rttime(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let (process, what) = process(globals, statement);
    let Some(word) = statement.arguments.first() else { return };
    let row = schema().lookup("global_defs", &format!("{what}_rlimit_rttime"));
    let message = format!("Invalid {what} real-time limit - {}", word.text);
    if let Some(micros) = context.bounded::<u32>(row, word, message) {
        // The kernel takes 1 for a limit of none.
        process.rlimit_rttime = Duration::from_micros(micros.max(2).into());
    }
}

fn old_rlimit_rttime(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    context.push(quiet_old_name(statement));
    rlimit_rttime(globals, context, statement);
}

/// A number, octal as in C, or `BIT|BIT`, with or without blanks.
///
/// # Errors
///
/// Where and what is wrong.
fn umask(words: &[Word]) -> Result<Umask, (Span, String)> {
    let Some((first, rest)) = words.split_first() else {
        return Err((Span::default(), "umask missing value".to_owned()));
    };
    if !first.text.starts_with(|char: char| char.is_ascii_digit()) {
        return bits(words).map(Umask);
    }
    if let Some(extra) = rest.first() {
        return Err((extra.span, "Extra parameter(s) to umask option".to_owned()));
    }
    let mask = match first.text.as_str() {
        text if text.starts_with("0x") || text.starts_with("0X") => {
            text.get(2..).map(|hex| u16::from_str_radix(hex, 16))
        }
        "0" => Some(Ok(0)),
        text if text.starts_with('0') => Some(u16::from_str_radix(text, 8)),
        text => Some(text.parse()),
    };
    let mask = mask.and_then(Result::ok).filter(|mask| *mask <= 0o777);
    mask.map(Umask).ok_or_else(|| (first.span, format!("invalid umask value {}", first.text)))
}

fn bits(words: &[Word]) -> Result<u16, (Span, String)> {
    let (mut mask, mut wanted, mut last) = (0, true, Span::default());
    for word in words {
        last = word.span;
        for (at, part) in word.text.split('|').enumerate() {
            if at > 0 {
                if wanted {
                    return Err((word.span, format!("Unknown umask bit {}", word.text)));
                }
                wanted = true;
            }
            if part.is_empty() {
                continue;
            }
            if !wanted {
                return Err((word.span, format!("Invalid umask syntax {part}")));
            }
            let bit = Umask::BITS.iter().find(|(name, _)| *name == part).map(|(_, bit)| *bit);
            mask |= bit.ok_or_else(|| (word.span, format!("Unknown umask bit {part}")))?;
            wanted = false;
        }
    }
    if wanted { Err((last, "umask missing bit value".to_owned())) } else { Ok(mask) }
}

/// The buffer that a keyword is about.
fn buffer<'g>(globals: &'g mut Globals, statement: &Statement) -> &'g mut ReceiveBuffer {
    let buffers = &mut globals.defs.processes.buffers;
    match statement.keyword.text.trim_end_matches("_force") {
        "vrrp_netlink_cmd_rcv_bufs" => &mut buffers.vrrp_command,
        "vrrp_netlink_monitor_rcv_bufs" => &mut buffers.vrrp_monitor,
        "process_monitor_rcv_bufs" => &mut buffers.process_monitor,
        "lvs_netlink_cmd_rcv_bufs" => &mut buffers.lvs_command,
        _ => &mut buffers.lvs_monitor,
    }
}

fn buffer_size(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let keyword = &statement.keyword.text;
    if context.word(statement, format!("{keyword} size missing")).is_some()
        && let Some(size) = context.number_with(statement, |text| format!("{keyword} size ({text}) invalid"))
    {
        buffer(globals, statement).size = Some(size).filter(|size| *size != 0);
    }
}

fn buffer_force(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    switch(&mut buffer(globals, statement).force, context, statement);
}
