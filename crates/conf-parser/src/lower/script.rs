//! Commands that are run, and whom they run as.

use super::Context;
use crate::config::{Script, ScriptUser};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::{Unfinished, Word, command, script_text};
use crate::schema::schema;
use crate::source::Spanned;
use crate::tree::Statement;

impl Context<'_> {
    /// `USER [GROUP]`.
    pub(super) fn script_user(&mut self, words: &[Word]) -> Option<Spanned<ScriptUser>> {
        let (user, rest) = words.split_first()?;
        let group = rest.first().map(|word| {
            if word.text.starts_with(':')
                && let Some(row) = schema().lookup("global_defs", "set_supplementary_groups")
            {
                self.unsupported(row, &word.text, word.span);
            }
            word.text.trim_start_matches(':').to_owned()
        });
        let supplementary_groups = rest.first().is_some_and(|word| word.text.starts_with(':'));
        let group = group.filter(|group| !group.is_empty());
        Some(Spanned::new(ScriptUser { user: user.text.clone(), group, supplementary_groups }, user.span))
    }

    /// `SCRIPT [USER [GROUP]]`: puts the script into `slot` unless there is one already.
    pub(super) fn script<S: From<Spanned<Script>>>(
        &mut self,
        owner: &str,
        slot: &mut Option<S>,
        statement: &Statement,
    ) {
        let Some((word, user)) = statement.arguments.split_first() else {
            return;
        };
        if slot.is_some() {
            let given: Vec<_> = statement.arguments.iter().map(|word| word.text.as_str()).collect();
            let message =
                format!("{owner}{} script already specified - ignoring {}", statement.keyword.text, given.join(" "));
            self.error(Code::ExtraParameter, statement.keyword.span, message);
            return;
        }
        let empty = || {
            let message = format!("{owner}{} has no command - ignoring", statement.keyword.text);
            Diagnostic::error(Code::MissingParameter, Class::General, word.span, message)
        };
        let Some(command) = self.command(word, empty) else { return };
        let user: Vec<_> = user.iter().map(resolved).collect();
        let user = self.script_user(&user).map(|user| user.value);
        *slot = Some(Spanned::new(Script { command, user }, word.span).into());
    }

    /// A command with its parameters. Quotes and escapes are resolved twice: first those of the line, then those of the
    /// word that this leaves, which is cut at its blanks. Where there is no command, `empty` is reported.
    pub(super) fn command(&mut self, word: &Word, empty: impl FnOnce() -> Diagnostic) -> Option<Vec<String>> {
        if word.text.contains(['“', '”', '‘', '’']) {
            let message = format!("the command '{}' holds typographic quotation marks", word.text);
            let plain = word.text.replace(['“', '”'], "\"").replace(['‘', '’'], "'");
            let finding = Diagnostic::note(Code::TypographicQuote, word.span, message);
            self.push(finding.help("write \" or ' instead").replacement(plain));
        }
        let text = script_text(word);
        match command(&text) {
            Ok(mut words) if words.first().is_some_and(|first| !first.is_empty()) => {
                words.shrink_to_fit();
                return Some(words);
            }
            Ok(_) => self.push(empty()),
            Err(Unfinished::Quote(quote)) => {
                let message = format!("String '{text}': missing terminating {quote}");
                let finding = Diagnostic::error(Code::UnmatchedQuote, Class::General, word.span, message);
                self.push(finding.label("it is passed over").help("put command and parameters in one pair of quotes"));
            }
            Err(Unfinished::Escape) => self.push(empty().label("nothing follows its last backslash")),
        }
        None
    }
}

/// Another word of a line that holds a command, without its quotes and escapes.
fn resolved(word: &Word) -> Word {
    let mut resolved = word.clone();
    resolved.text = script_text(word);
    resolved
}
