//! How scripts are run, and those of the daemon itself.

use super::{Globals, flag, must_be_in, switch};
use crate::config::Script;
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lower::{Context, Handler};
use crate::source::Spanned;
use crate::tree::Statement;

pub(in crate::lower) const SCRIPT: &[Handler<Globals>] = &[
    Handler("script_user", |globals, context, statement| {
        if context.word(statement, "No script username specified").is_some() {
            globals.defs.script_user = context.script_user(&statement.arguments);
        }
    }),
    Handler("enable_script_security", |globals, context, statement| {
        flag(&mut globals.defs.enable_script_security, context, statement);
    }),
    Handler("use_symlink_paths", |globals, context, statement| {
        switch(&mut globals.defs.scripts.use_symlink_paths, context, statement);
    }),
    Handler("set_supplementary_groups", |globals, context, statement| {
        switch(&mut globals.defs.scripts.set_supplementary_groups, context, statement);
    }),
    Handler("startup_script", |globals, context, statement| {
        script(&mut globals.defs.scripts.startup, context, statement, "startup");
    }),
    Handler("shutdown_script", |globals, context, statement| {
        script(&mut globals.defs.scripts.shutdown, context, statement, "shutdown");
    }),
    Handler("startup_script_timeout", |globals, context, statement| {
        if let Some(timeout) = timeout(context, statement) {
            globals.defs.scripts.startup_timeout = timeout;
        }
    }),
    Handler("shutdown_script_timeout", |globals, context, statement| {
        if let Some(timeout) = timeout(context, statement) {
            globals.defs.scripts.shutdown_timeout = timeout;
        }
    }),
];

/// The first one counts.
fn script(slot: &mut Option<Spanned<Script>>, context: &mut Context<'_>, statement: &Statement, what: &str) {
    let Some(word) = context.word(statement, format!("{what} script missing")) else { return };
    match slot {
        Some(first) => {
            let message = format!("{what} script already specified");
            let finding = Diagnostic::error(Code::AlreadySpecified, Class::General, word.span, message);
            context.push(finding.related(first.span, "the one that is used"));
        }
        None => context.script("", slot, statement),
    }
}

fn timeout(context: &mut Context<'_>, statement: &Statement) -> Option<std::time::Duration> {
    context.word(statement, format!("{} requires value", statement.keyword.text))?;
    context.time_with(statement, must_be_in(statement))
}
