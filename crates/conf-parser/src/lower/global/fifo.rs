//! Named pipes that get events.

use super::{Globals, flag};
use crate::config::{NotifyFifo, NotifyFifos, Pipe};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::{Context, Handler};
use crate::source::Spanned;
use crate::tree::Statement;

pub(in crate::lower) const FIFO: &[Handler<Globals>] = &[
    Handler("notify_fifo", pipe),
    Handler("vrrp_notify_fifo", pipe),
    Handler("lvs_notify_fifo", pipe),
    Handler("notify_fifo_script", script),
    Handler("vrrp_notify_fifo_script", script),
    Handler("lvs_notify_fifo_script", script),
    Handler("fifo_write_vrrp_states_on_reload", |globals, context, statement| {
        flag(&mut globals.defs.fifos.states_on_reload, context, statement);
    }),
];

/// The pipe that a keyword is about.
fn fifo<'g>(globals: &'g mut Globals, statement: &Statement) -> &'g mut NotifyFifo {
    let fifos = &mut globals.defs.fifos;
    match statement.keyword.text.split('_').next() {
        Some("vrrp") => &mut fifos.vrrp,
        Some("lvs") => &mut fifos.lvs,
        _ => &mut fifos.all,
    }
}

/// The first one counts.
fn pipe(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let keyword = &statement.keyword.text;
    let Some(word) = context.word(statement, format!("No {keyword} name specified")) else { return };
    let slot = &mut fifo(globals, statement).pipe;
    if let Some(first) = slot {
        already(context, statement, first, &word.text);
        return;
    }
    let owner = context.script_user(statement.arguments.get(1..).unwrap_or_default()).map(|owner| owner.value);
    *slot = Some(Spanned::new(Pipe { path: word.text.clone(), owner }, word.span));
}

/// The first one counts.
fn script(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = context.word(statement, format!("No {} specified", statement.keyword.text)) else { return };
    let slot = &mut fifo(globals, statement).script;
    match slot {
        Some(first) => already(context, statement, first, &word.text),
        None => context.script("", slot, statement),
    }
}

fn already<T>(context: &mut Context<'_>, statement: &Statement, first: &Spanned<T>, what: &str) {
    let message = format!("{} already specified - ignoring {what}", statement.keyword.text);
    let finding = Diagnostic::error(Code::AlreadySpecified, Class::General, statement.span(), message);
    context.push(finding.related(first.span, "the one that is used"));
}

/// Pipes must differ, and a reader needs one.
pub(super) fn check(context: &mut Context<'_>, fifos: &NotifyFifos) {
    let mut seen: Vec<(&str, &Spanned<Pipe>)> = Vec::new();
    for (keyword, fifo) in fifos.iter() {
        if let (None, Some(script)) = (&fifo.pipe, &fifo.script) {
            let message = format!("{keyword}_script is never started: there is no {keyword}");
            context.push(Diagnostic::note(Code::BadGlobal, script.span, message));
        }
        let Some(pipe) = &fifo.pipe else { continue };
        if let Some((other, first)) = seen.iter().find(|(_, first)| first.path == pipe.path) {
            let message = format!("{keyword} and {other} are the same pipe: its readers would share the events");
            let finding = Diagnostic::note(Code::BadGlobal, pipe.span, message);
            context.push(finding.related(first.span, format!("{other} is here")));
        }
        seen.push((keyword, pipe));
    }
}
