//! `MISC_CHECK`.

use std::time::Duration;

use super::{Draft, Server, nothing_follows, unusable};
use crate::config::{Checker, CheckerKind, MiscCheck, Script, ScriptUser};
use crate::diagnostic::{Code, Diagnostic};
use crate::lower::{Context, Handler};
use crate::source::Spanned;
use crate::tree::Statement;

/// A `MISC_CHECK` block as written.
#[derive(Debug, Default)]
pub(in crate::lower) struct MiscWords {
    command: Option<Spanned<Vec<String>>>,
    timeout: Option<Duration>,
    dynamic: bool,
    user: Option<ScriptUser>,
}

/// `MISC_CHECK`.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement, checker: Checker, server: Server) -> Checker {
    let mut draft =
        Draft::<MiscWords>::read(context, statement, checker, server, &[MiscWords::HANDLERS, Draft::TIMING]);
    let words = std::mem::take(&mut draft.kind);
    let Some(Spanned { value: command, span }) = words.command else {
        let message = "No script path has been specified for MISC_CHECKER - skipping";
        unusable(context, statement.keyword.span, message, "write 'misc_path \"COMMAND PARAMETER ...\"' in it");
        return draft.checker;
    };
    let script = Spanned::new(Script { command, user: words.user }, span);
    let check = MiscCheck { script, timeout: words.timeout, dynamic: words.dynamic };
    draft.make(|_| CheckerKind::Misc(Box::new(check)))
}

impl MiscWords {
    pub(in crate::lower) const HANDLERS: &'static [Handler<Draft<Self>>] = &[
        Handler("misc_path", |draft, context, statement| {
            let Some(word) = statement.arguments.first() else { return };
            // keepalived says nothing about it, and goes without the line.
            let empty = || {
                let (span, message) = (statement.keyword.span, "misc_path has no command - ignoring");
                let finding = Diagnostic::note(Code::MissingParameter, span, message);
                finding.help("misc_path \"COMMAND PARAMETER ...\"")
            };
            let Some(command) = context.command(word, empty) else { return };
            if let Some(extra) = statement.arguments.get(1) {
                let message = "what follows the command is not used";
                let finding = Diagnostic::note(Code::ExtraParameter, extra.span, message);
                context.push(finding.help("put command and parameters in one pair of quotes"));
            }
            draft.kind.command = Some(Spanned::new(command, word.span));
        }),
        Handler("misc_timeout", |draft, context, statement| {
            let value = context.time_with(statement, |text| format!("Invalid misc_timeout value '{text}'"));
            if let Some(timeout) = value {
                draft.kind.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
            }
        }),
        Handler("misc_dynamic", |draft, _, _| draft.kind.dynamic = true),
        Handler("user", |draft, context, statement| match context.script_user(&statement.arguments) {
            Some(user) => draft.kind.user = Some(user.value),
            None => {
                let command = draft.kind.command.as_ref();
                let script: Vec<_> =
                    command.iter().flat_map(|command| command.value.iter()).map(|word| format!("'{word}'")).collect();
                let message = format!("No user specified for misc checker script {}", script.join(" "));
                nothing_follows(context, statement, message.trim_end());
            }
        }),
    ];
}
