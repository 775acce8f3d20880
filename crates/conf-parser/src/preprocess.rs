//! Files to lines: includes, `$DEFINITIONS`, `@id` conditions, `~SEQ` and `~LST`.
//!
//! The order of steps is keepalived's: comment, condition, definition, repetition, substitution
//! (again and again until nothing changes), include. Every kind of growth is bounded by [`Limits`](crate::Limits).

mod definition;
mod include;
mod repeat;

use std::path::{Path, PathBuf};

use crate::config::IncludeCheck;
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::lexer::{Line, is_blank, words};
use crate::loader::{LoadError, Loader};
use crate::source::{FileId, Sources, Span, Spanned};
use crate::tree::{Builder, Statement};
use crate::{Limits, Options};
use definition::{Definitions, Reference, Value};
pub(crate) use include::missing_parameter;

/// What was read.
pub(crate) struct Tree {
    pub(crate) sources: Sources,
    pub(crate) root: Vec<Statement>,
    /// What the last `include_check` of the main file says, which takes effect while the files are read.
    pub(crate) include_check: Option<Spanned<IncludeCheck>>,
}

/// Reads `main` and what it includes into a tree.
pub(crate) fn read(loader: &dyn Loader, main: &Path, options: &Options, diagnostics: &mut Vec<Diagnostic>) -> Tree {
    let mut reader = Reader {
        loader,
        options,
        diagnostics,
        sources: Sources::default(),
        builder: Builder::default(),
        definitions: Definitions::new(options),
        checks: if options.check_includes { IncludeCheck::ALL } else { IncludeCheck::default() },
        include_check: None,
        stack: Vec::new(),
        spent: Spent::default(),
        depth: 0,
        stopped: false,
    };
    reader.main_file(main);
    let Reader { builder, sources, diagnostics, include_check, .. } = reader;
    let root = builder.finish(diagnostics);
    Tree { sources, root, include_check }
}

/// Most references that are resolved in one line.
const MAX_ROUNDS: usize = 1024;

struct Reader<'a> {
    loader: &'a dyn Loader,
    options: &'a Options,
    diagnostics: &'a mut Vec<Diagnostic>,
    sources: Sources,
    builder: Builder,
    definitions: Definitions,
    checks: IncludeCheck,
    /// What the last `include_check` of the main file made of them.
    include_check: Option<Spanned<IncludeCheck>>,
    /// The files that are being read, outermost first.
    stack: Vec<PathBuf>,
    spent: Spent,
    /// Includes, definitions and repetitions inside each other.
    depth: usize,
    /// A limit was reached: nothing more is read.
    stopped: bool,
}

/// What was used of the limits.
#[derive(Debug, Default)]
struct Spent {
    bytes: usize,
    lines: usize,
    expanded: usize,
}

impl Reader<'_> {
    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn main_file(&mut self, path: &Path) {
        match self.loader.load(path) {
            Ok(bytes) => self.file(path, bytes, None),
            Err(error) => self.diagnostics.push(unreadable(path, &error)),
        }
    }

    fn file(&mut self, path: &Path, bytes: Vec<u8>, included_at: Option<Span>) {
        self.spent.bytes += bytes.len();
        if self.spent.bytes > self.limits().bytes || self.sources.files().len() >= self.limits().files {
            self.stop(included_at, "too many or too large files");
            return;
        }
        let id = self.sources.add(path.to_owned(), bytes);
        self.check_characters(id);
        self.stack.push(path.to_owned());
        let checks = self.checks;
        let directory = self.definitions.enter_file(path);
        self.file_lines(id);
        self.definitions.leave_file(directory);
        self.checks = checks;
        self.stack.pop();
    }

    /// Findings about bytes that no text editor shows.
    fn check_characters(&mut self, id: FileId) {
        let Some(file) = self.sources.file(id) else { return };
        if file.bytes().starts_with(BYTE_ORDER_MARK) {
            let message = "the file starts with a UTF-8 byte order mark, which is passed over";
            self.diagnostics.push(
                Diagnostic::note(Code::ByteOrderMark, Span::new(id, 0, BYTE_ORDER_MARK.len()), message)
                    .help("keepalived itself reads it as part of the first word: save the file without it"),
            );
        }
        if let Err(error) = std::str::from_utf8(file.bytes()) {
            let at = error.valid_up_to();
            let byte = file.bytes().get(at).copied().unwrap_or_default();
            let message = format!("the file is not UTF-8: byte 0x{byte:02x}");
            self.diagnostics
                .push(Diagnostic::note(Code::NotUtf8, Span::new(id, at, at + 1), message).label("the first such byte"));
        }
    }

    fn file_lines(&mut self, id: FileId) {
        let mut at = 0;
        let mut pending: Option<(String, Vec<Line>)> = None;
        while let Some(line) = self.physical_line(id, &mut at) {
            if self.stopped {
                return;
            }
            if line.text().contains(&0) {
                let finding = Diagnostic::error(
                    Code::NulByte,
                    Class::General,
                    line.whole(),
                    "the line holds a NUL byte - ignoring",
                );
                self.diagnostics.push(finding);
                continue;
            }
            // A line goes on even when its end is commented out.
            let (body, more) = definition::continued(&line.trimmed());
            if let Some((name, mut lines)) = pending.take() {
                let line = body.without_comment().trimmed();
                if !line.text().is_empty() {
                    lines.push(line);
                }
                pending = self.define_lines(name, lines, more);
                continue;
            }
            let line = line.without_comment().trimmed();
            let Some(line) = self.condition(line) else { continue };
            match definition::definition(&line) {
                Some((name, value)) => {
                    if more {
                        let (value, _) = definition::continued(&value);
                        let lines = if value.text().is_empty() { Vec::new() } else { vec![value] };
                        pending = Some((name, lines));
                    } else {
                        self.definitions.set(name, Value::Text(value.text().to_vec()));
                    }
                }
                None => self.line(line),
            }
        }
        if let Some((name, lines)) = pending {
            self.define_lines(name, lines, false);
        }
    }

    fn define_lines(&mut self, name: String, lines: Vec<Line>, more: bool) -> Option<(String, Vec<Line>)> {
        if more {
            return Some((name, lines));
        }
        self.definitions.set(name, Value::Lines(lines));
        None
    }

    /// The line at `at`, without its end; moves `at` behind it.
    fn physical_line(&self, id: FileId, at: &mut usize) -> Option<Line> {
        let bytes = self.sources.file(id)?.bytes();
        if *at == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            *at = BYTE_ORDER_MARK.len();
        }
        let rest = bytes.get(*at..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let start = *at;
        *at += length + 1;
        Some(Line::new(rest.get(..length)?, Span::new(id, start, start + length)))
    }

    /// The line if its `@id` condition holds; it comes back without the condition.
    fn condition(&mut self, line: Line) -> Option<Line> {
        let Some(rest) = line.text().strip_prefix(b"@") else {
            return Some(line);
        };
        let (negated, rest) = rest.strip_prefix(b"^").map_or((false, rest), |rest| (true, rest));
        let length = rest.iter().position(|byte| is_blank(*byte))?;
        let matches = rest.get(..length)? == self.options.config_id.as_bytes();
        let start = line.text().len() - rest.len() + length;
        (matches != negated).then(|| line.slice(start..line.text().len()).trimmed())
    }

    /// One logical line, from its condition on.
    fn line(&mut self, line: Line) {
        if self.stopped {
            return;
        }
        self.spent.lines += 1;
        self.spent.expanded += line.text().len();
        if self.spent.lines > self.limits().lines || self.spent.expanded > self.limits().expanded_bytes {
            self.stop(Some(line.whole()), "too many lines");
        } else if self.depth >= self.limits().expansion_depth {
            self.stop(Some(line.whole()), "includes, definitions or repetitions too deep inside each other");
        } else {
            self.depth += 1;
            self.line_inside(line);
            self.depth -= 1;
        }
    }

    fn line_inside(&mut self, line: Line) {
        let Some(line) = self.condition(line) else { return };
        if line.text().is_empty() {
            return;
        }
        if let Some((name, value)) = definition::definition(&line) {
            self.definitions.set(name, Value::Text(value.text().to_vec()));
            return;
        }
        if line.text().starts_with(b"~SEQ") || line.text().starts_with(b"~LST") {
            self.repetition(&line);
            return;
        }
        if let Some(line) = self.substituted(line) {
            self.finished(line);
        }
    }

    /// Resolves references until none is left; nothing comes back if the line went on as several lines, or was dropped.
    fn substituted(&mut self, line: Line) -> Option<Line> {
        let mut line = line;
        let mut from = 0;
        let mut rounds = 0;
        while let Some(reference) = self.next_reference(&line, from) {
            rounds += 1;
            match reference {
                (range, Reference::Lines(lines)) => {
                    self.lines(&line, range.start, lines);
                    return None;
                }
                (range, Reference::Text(value)) => {
                    if rounds > MAX_ROUNDS || line.text().len() + value.len() > self.limits().line_bytes {
                        let message = format!(
                            "the expansion is longer than {} bytes or never ends - not made",
                            self.limits().line_bytes
                        );
                        self.diagnostics.push(Diagnostic::error(
                            Code::LimitReached,
                            Class::General,
                            line.span(range.clone()),
                            message,
                        ));
                        return None;
                    }
                    self.spent.expanded += line.text().len() + value.len();
                    if self.spent.expanded > self.limits().expanded_bytes {
                        self.stop(Some(line.span(range)), "expansions too large together");
                        return None;
                    }
                    from = range.start;
                    line = line.replaced(range, &value).without_comment().trimmed();
                    if line.text().starts_with(b"@") {
                        line = self.condition(line)?;
                        from = 0;
                    }
                }
                (range, Reference::Unresolved(finding)) => {
                    self.diagnostics.push(*finding);
                    from = range.end;
                }
            }
        }
        Some(line)
    }

    fn next_reference(&mut self, line: &Line, from: usize) -> Option<(std::ops::Range<usize>, Reference)> {
        let loader = self.loader;
        self.definitions.next_reference(line, from, loader)
    }

    /// A definition of several lines, referred to at the end of `line`.
    fn lines(&mut self, line: &Line, start: usize, lines: Vec<Line>) {
        let mut lines = lines.into_iter();
        let before = line.slice(0..start);
        match lines.next() {
            Some(first) => self.line(before.spliced(start..start, &first)),
            None => self.line(before.trimmed()),
        }
        for line in lines {
            self.line(line);
        }
    }

    fn repetition(&mut self, line: &Line) {
        let limit = self.limits().lines.saturating_sub(self.spent.lines);
        let (head, text) = match repeat::split(line) {
            Ok(split) => split,
            Err(message) => {
                self.diagnostics.push(Diagnostic::error(Code::BadDefinition, Class::General, line.whole(), message));
                return;
            }
        };
        let Some(head) = self.substituted(head) else { return };
        match repeat::rounds(&head, limit) {
            Ok(rounds) => {
                for round in rounds {
                    for (name, value) in round {
                        self.definitions.set(name, Value::Text(value));
                    }
                    self.line(text.trimmed());
                    if self.stopped {
                        return;
                    }
                }
            }
            Err(message) => {
                self.diagnostics.push(Diagnostic::error(Code::BadDefinition, Class::General, head.whole(), message))
            }
        }
    }

    /// A line with nothing left to resolve.
    fn finished(&mut self, line: Line) {
        let start: Vec<_> =
            line.text().iter().copied().take_while(u8::is_ascii_lowercase).take("includea".len() + 1).collect();
        if start.starts_with(b"include") {
            let words = words(&line, 0..line.text().len());
            if let Some((keyword, arguments)) = words.split_first() {
                if keyword.text == "include_check" {
                    let findings = self.checks.change(arguments);
                    if self.stack.len() == 1 && findings.is_empty() {
                        self.include_check = Some(Spanned::new(self.checks, line.whole()));
                    }
                    self.diagnostics.extend(findings);
                    return;
                }
                if let Some(checks) = self.checks.of_directive(&keyword.text) {
                    self.include(keyword, arguments, checks);
                    return;
                }
            }
        }
        self.builder.line(&line, self.diagnostics);
    }

    fn stop(&mut self, span: Option<Span>, what: &str) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        let finding = Diagnostic::new(
            Severity::Error,
            Code::LimitReached,
            Class::Fatal,
            span,
            format!("{what}: the reading stops here"),
        );
        self.diagnostics.push(finding.refusing());
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn unreadable(path: &Path, error: &LoadError) -> Diagnostic {
    let message = match error {
        LoadError::NotFound => format!("Config files missing '{}'.", path.display()),
        error => format!("Configuration file '{}' cannot be read: {error}", path.display()),
    };
    Diagnostic::new(Severity::Error, Code::FileUnreadable, Class::FileNotFound, None, message).refusing()
}

#[cfg(test)]
mod tests;
