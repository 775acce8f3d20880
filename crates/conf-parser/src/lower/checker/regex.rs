//! `regex` of a `url`, and the words that belong to it.
//!
//! keepalived only logs what is wrong with them: none of these findings changes the exit status of `--config-test`.

use super::http::UrlWords;
use super::pattern;
use crate::config::{Regex, RegexOption, RegexOptions, RegexStack};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::{Word, script_text};
use crate::lower::value::integer;
use crate::lower::{Context, Handler};
use crate::schema::{Row, nearest};
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// The `regex` words of a `url` as written.
#[derive(Debug, Default)]
pub(in crate::lower) struct RegexWords {
    pattern: Option<Spanned<String>>,
    no_match: bool,
    options: RegexOptions,
    min_offset: Option<u64>,
    max_offset: Option<Spanned<u64>>,
    stack: Option<RegexStack>,
    /// Where the first of them stands.
    first: Option<Span>,
    /// A pattern was written that cannot be used: that was reported.
    wrong: bool,
}

impl UrlWords {
    pub(in crate::lower) const REGEX: &'static [Handler<Self>] = &[
        Handler("regex", |url, context, statement| read_pattern(&mut url.regex, context, statement)),
        Handler("regex_no_match", |url, _, statement| url.regex.word(statement).no_match = true),
        Handler("regex_options", |url, context, statement| {
            let words = url.regex.word(statement);
            for word in &statement.arguments {
                match RegexOption::WORDS.iter().find(|(name, _)| *name == word.text) {
                    Some((_, option)) => {
                        let block = statement.row.map(Row::path).unwrap_or_default();
                        context.known_option(&block, &word.text, word.span);
                        words.options.insert(*option);
                    }
                    None => {
                        let message = format!("unknown regex option {} - ignoring", word.text);
                        let finding = Diagnostic::note(Code::BadWord, word.span, message);
                        context.push(match nearest(&word.text, RegexOption::WORDS.iter().map(|(name, _)| *name)) {
                            Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                            None => finding,
                        });
                    }
                }
            }
        }),
        Handler("regex_min_offset", |url, context, statement| {
            let words = url.regex.word(statement);
            words.min_offset = offset(context, statement).map(|offset| offset.value).or(words.min_offset);
        }),
        Handler("regex_max_offset", |url, context, statement| {
            let words = url.regex.word(statement);
            words.max_offset = offset(context, statement).or(words.max_offset.take());
        }),
        Handler("regex_stack", |url, context, statement| {
            let words = url.regex.word(statement);
            let [start, max, ..] = statement.arguments.as_slice() else {
                logged(context, statement.span(), "regex_stack requires start and max values", None);
                return;
            };
            let Some(start) = size(context, start, "regex_stack invalid start value") else { return };
            let Some(max) = size(context, max, "regex_stack invalid max value") else { return };
            if start > max {
                logged(context, statement.span(), "regex stack start cannot exceed max value", None);
                return;
            }
            words.stack = Some(RegexStack { start, max });
        }),
    ];
}

impl RegexWords {
    /// Takes note of one of them.
    fn word(&mut self, statement: &Statement) -> &mut Self {
        self.first.get_or_insert(statement.keyword.span);
        self
    }

    pub(super) fn finish(mut self, context: &mut Context<'_>) -> Option<Box<Regex>> {
        let Some(pattern) = self.pattern.take() else {
            if let Some(span) = self.first.filter(|_| !self.wrong) {
                logged(
                    context,
                    span,
                    "regex parameters specified without regex",
                    Some("add 'regex PATTERN' to the url"),
                );
            }
            return None;
        };
        if let Err(pattern::Fault { at, what }) = pattern::check(&pattern, self.options) {
            let message = format!("Invalid regex: '{}' at offset {at}: {what}", pattern.value);
            logged(context, pattern.span, message, Some("the url is checked without it"));
            return None;
        }
        let min_offset = self.min_offset.unwrap_or(context.carried.defaults.url.regex_min_offset);
        let max = self.max_offset.take();
        if let Some(max) = max.as_ref().filter(|max| max.value < min_offset) {
            let message = format!("regex min offset {} > regex_max_offset {} - ignoring", min_offset, max.value);
            logged(context, max.span, message, Some("there is no greatest offset then"));
        }
        let max_offset = max.map(|max| max.value).filter(|max| *max >= min_offset);
        Some(Box::new(Regex {
            pattern,
            no_match: self.no_match,
            options: self.options,
            min_offset,
            max_offset,
            stack: self.stack,
        }))
    }
}

fn read_pattern(words: &mut RegexWords, context: &mut Context<'_>, statement: &Statement) {
    let [word] = statement.arguments.as_slice() else {
        words.wrong = true;
        let help = "write the pattern as one word, or in quotes";
        logged(context, statement.span(), "regex missing or too many fields", Some(help));
        return;
    };
    lost_backslash(context, word);
    words.pattern = Some(Spanned::new(script_text(word), word.span));
}

/// Line syntax takes one backslash for itself.
fn lost_backslash(context: &mut Context<'_>, word: &Word) {
    let mut characters = word.text.chars();
    while let Some(character) = characters.next() {
        let Some(escaped) = (character == '\\').then(|| characters.next()).flatten() else { continue };
        if "dDsSwWB.*+?()[]{}|^$".contains(escaped) {
            let message = format!("the backslash of '\\{escaped}' does not reach the pattern");
            let finding = Diagnostic::note(Code::BadRegex, word.span, message);
            context.push(finding.help(format!("write '\\\\{escaped}'")));
            return;
        }
    }
}

fn offset(context: &mut Context<'_>, statement: &Statement) -> Option<Spanned<u64>> {
    let keyword = &statement.keyword.text;
    let [word] = statement.arguments.as_slice() else {
        logged(context, statement.span(), format!("Missing or too may options for {keyword}"), None);
        return None;
    };
    let value = size(context, word, &format!("Invalid {keyword} {} specified", word.text))?;
    Some(Spanned::new(value, word.span))
}

fn size(context: &mut Context<'_>, word: &Word, message: &str) -> Option<u64> {
    match integer(&word.text, &(0..=u64::from(u32::MAX))) {
        Ok(size) => Some(size),
        Err(wrong) => {
            let finding = Diagnostic::error(Code::BadNumber, Class::Notice, word.span, message);
            context.push(finding.label(wrong.to_string()));
            None
        }
    }
}

/// Reports what keepalived logs.
fn logged(context: &mut Context<'_>, span: Span, message: impl Into<String>, help: Option<&str>) {
    let finding = Diagnostic::error(Code::BadRegex, Class::Notice, span, message);
    context.push(match help {
        Some(help) => finding.help(help),
        None => finding,
    });
}
