//! Files to lines: includes, `$DEFINITIONS`, `@id` conditions, `~SEQ` and `~LST`.
//!
//! The order of steps is keepalived's: comment, condition, definition, repetition, substitution
//! (again and again until nothing changes), include. Every kind of growth is bounded by [`Limits`](crate::Limits).

mod definition;
mod include;
mod repeat;

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::config::IncludeCheck;
use crate::diagnostic::{Class, Code, Diagnostic, Findings, Severity};
use crate::lexer::{BYTE_ORDER_MARK, Line, Marks, PhysicalLines, is_blank};
use crate::loader::{LoadError, Loader};
use crate::source::{DefinitionId, FileId, SourceFile, Sources, Span, Spanned};
use crate::tree::{Builder, Sink};
use crate::{Limits, Options};
use definition::{Definitions, Reference, Text, Value};
pub(crate) use include::missing_parameter;

/// Reads `main` and what it includes; every block of the top level goes to `sink` as soon as it is complete. Comes back
/// with what the last `include_check` of the main file says.
pub(crate) fn read(
    loader: &dyn Loader,
    main: &Path,
    options: &Options,
    diagnostics: &mut Findings,
    sink: &mut dyn Sink,
) -> (Sources, Option<Spanned<IncludeCheck>>) {
    let mut sources = Sources::default();
    let definitions = Definitions::new(options, &mut sources);
    let mut reader = Reader {
        loader,
        options,
        diagnostics,
        sink,
        sources,
        builder: Builder::new(&options.limits),
        definitions,
        checks: if options.check_includes { IncludeCheck::ALL } else { IncludeCheck::default() },
        include_check: None,
        stack: Vec::new(),
        spent: Spent::default(),
        depth: 0,
        stopped: false,
    };
    reader.main_file(main);
    reader.builder.finish(&reader.sources, reader.diagnostics);
    reader.hand_over();
    (reader.sources, reader.include_check)
}

/// Most references that are resolved in one line.
const MAX_ROUNDS: usize = 1024;

/// What noting one use of a definition counts among the expanded bytes.
const USE: usize = 32;

/// Longest text of a line inside a message.
const MAX_SHOWN: usize = 200;

/// Lines that are longer, with their end, are dropped by keepalived.
const LONG_LINE: usize = 1024;

struct Reader<'a> {
    loader: &'a dyn Loader,
    options: &'a Options,
    diagnostics: &'a mut Findings,
    sink: &'a mut dyn Sink,
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
    definitions: usize,
}

/// A definition of several lines whose end is not reached.
struct Pending {
    name: String,
    place: Span,
    lines: Vec<Line<'static>>,
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
        let id = self.sources.add(path.to_owned(), bytes, included_at);
        self.stack.push(path.to_owned());
        let checks = self.checks;
        let directory = self.definitions.enter_file(path);
        self.file_lines(id);
        self.definitions.leave_file(directory);
        self.checks = checks;
        self.stack.pop();
    }

    fn file_lines(&mut self, id: FileId) {
        let Some(content) = self.sources.file(id).map(SourceFile::content) else { return };
        self.check_characters(id, content.bytes(), content.not_utf8());
        let mut pending = None;
        let mut returned = false;
        for line in PhysicalLines::new(id, content.bytes()) {
            if self.stopped {
                return;
            }
            if line.text().len() >= LONG_LINE {
                self.long_line(&line);
            }
            if line.may_hold(Marks::RETURN) && !returned {
                returned = self.lone_return(&line);
            }
            if line.may_hold(Marks::NUL) {
                let message = "the line holds a NUL byte - ignoring";
                self.diagnostics.push(
                    Diagnostic::error(Code::NulByte, Class::General, line.whole(), message)
                        .help("remove the NUL byte, which most editors do not show, or type the line anew"),
                );
                continue;
            }
            let line = line.trimmed();
            if pending.is_none() && line.is_plain() {
                self.inside(line.whole(), |reader| reader.finished(&line));
            } else {
                self.physical_line(line, &mut pending);
            }
        }
        if let Some(pending) = pending {
            self.define_lines(pending);
        }
    }

    /// Findings about bytes that no text editor shows.
    fn check_characters(&mut self, id: FileId, bytes: &[u8], not_utf8: Option<usize>) {
        if bytes.starts_with(BYTE_ORDER_MARK) {
            let message = "the file starts with a UTF-8 byte order mark, which is passed over";
            self.diagnostics.push(
                Diagnostic::note(Code::ByteOrderMark, Span::new(id, 0, BYTE_ORDER_MARK.len()), message)
                    .help("keepalived itself reads it as part of the first word: save the file without it"),
            );
        }
        if let Some(at) = not_utf8 {
            let byte = bytes.get(at).copied().unwrap_or_default();
            let message = format!("the file is not UTF-8: byte 0x{byte:02x}");
            self.diagnostics.push(
                Diagnostic::note(Code::NotUtf8, Span::new(id, at, at + 1), message)
                    .label("the first such byte")
                    .help("save the file as UTF-8, or remove what is not"),
            );
        }
    }

    fn long_line(&mut self, line: &Line<'_>) {
        let message = format!("the line has {} bytes", line.text().len());
        let finding = Diagnostic::note(Code::LongLine, line.span(0..0), message);
        self.diagnostics.push(
            finding.help(format!("keepalived itself drops what is longer than {} bytes: shorten the line, or give the comment lines of its own", LONG_LINE - 2)),
        );
    }

    /// Reports a carriage return that no line feed follows; whether there is one.
    fn lone_return(&mut self, line: &Line<'_>) -> bool {
        let text = line.text().strip_suffix(b"\r").unwrap_or(line.text());
        let Some(at) = text.iter().position(|byte| *byte == b'\r') else { return false };
        let message = "a carriage return without a line feed ends no line: it counts as a blank";
        self.diagnostics.push(
            Diagnostic::note(Code::LoneReturn, line.span(at..at + 1), message)
                .help("save the file with the line ends of Unix"),
        );
        true
    }

    /// One line as it stands in a file.
    fn physical_line(&mut self, line: Line<'_>, pending: &mut Option<Pending>) {
        // A line goes on even when its end is commented out.
        let (body, more) = definition::continued(line);
        let line = body.without_comment().trimmed();
        if let Some(open) = pending {
            if !line.text().is_empty() {
                open.place = open.place.to(line.whole());
                open.lines.push(line.into_owned());
                self.count_definition(open.place);
            }
        } else {
            let Some(line) = self.condition(line) else { return };
            let Some((name, value)) = definition::definition(&line) else {
                let place = line.whole();
                return self.inside(place, |reader| reader.resolved(line));
            };
            if !more {
                return self.define(name, line.whole(), value);
            }
            let (value, _) = definition::continued(value);
            let lines = if value.text().is_empty() { Vec::new() } else { vec![value.into_owned()] };
            *pending = Some(Pending { name, place: line.whole(), lines });
        }
        if let Some(pending) = pending.take_if(|_| !more) {
            self.define_lines(pending);
        }
    }

    fn count_definition(&mut self, place: Span) {
        self.spent.definitions += 1;
        if self.spent.definitions > self.limits().definitions {
            self.stop(Some(place), "too many definitions");
        }
    }

    fn define(&mut self, name: String, place: Span, value: Line<'_>) {
        self.count_definition(place);
        let id = self.sources.define(&name, Some(place));
        self.definitions.set(name, id, Value::text(value));
    }

    fn define_lines(&mut self, pending: Pending) {
        self.count_definition(pending.place);
        let id = self.sources.define(&pending.name, Some(pending.place));
        self.definitions.set(pending.name, id, Value::Lines(pending.lines.into()));
    }

    /// The line if its `@id` condition holds; it comes back without the condition.
    fn condition<'l>(&mut self, line: Line<'l>) -> Option<Line<'l>> {
        let Some(rest) = line.text().strip_prefix(b"@") else {
            return Some(line);
        };
        let (negated, rest) = rest.strip_prefix(b"^").map_or((false, rest), |rest| (true, rest));
        let length = rest.iter().position(|byte| is_blank(*byte))?;
        let matches = rest.get(..length)? == self.options.config_id.as_bytes();
        let start = line.text().len() - rest.len() + length;
        (matches != negated).then(|| line.slice(start..line.text().len()).trimmed())
    }

    /// Does `step` with the line at `place`, unless too much stands inside each other.
    fn inside(&mut self, place: Span, step: impl FnOnce(&mut Self)) {
        if self.depth >= self.limits().expansion_depth {
            self.stop(Some(place), "includes, definitions or repetitions too deep inside each other");
            return;
        }
        self.depth += 1;
        step(self);
        self.depth -= 1;
    }

    /// One line that a definition or a repetition made.
    fn made(&mut self, line: Line<'_>) {
        if self.stopped {
            return;
        }
        self.spent.lines += 1;
        self.spent.expanded += line.text().len();
        if self.spent.lines > self.limits().lines || self.spent.expanded > self.limits().expanded_bytes {
            self.stop(Some(line.whole()), "too many lines");
            return;
        }
        self.inside(line.whole(), |reader| {
            let Some(line) = reader.condition(line) else { return };
            match definition::definition(&line) {
                Some((name, value)) => reader.define(name, line.own_span(0..line.text().len()), value),
                None => reader.resolved(line),
            }
        });
    }

    /// A line that is no definition.
    fn resolved(&mut self, line: Line<'_>) {
        if line.text().starts_with(b"~SEQ") || line.text().starts_with(b"~LST") {
            self.repetition(line);
        } else if let Some(line) = self.substituted(line) {
            self.finished(&line);
        }
    }

    /// Resolves references until none is left; nothing comes back if the line went on as several lines, or was dropped.
    fn substituted<'l>(&mut self, line: Line<'l>) -> Option<Line<'l>> {
        if !line.may_hold(Marks::REFERENCE) {
            return Some(line);
        }
        let mut line = line;
        let mut from = 0;
        let mut rounds = 0;
        while let Some((range, reference)) = self.definitions.next_reference(&line, from, self.loader) {
            rounds += 1;
            match reference {
                Reference::Lines(id, lines) => {
                    self.lines(line, range, id, &lines);
                    return None;
                }
                Reference::Text(Text { id, value, complaint }) => {
                    self.diagnostics.extend(complaint.map(|finding| *finding));
                    let length = line.text().len() + value.text().len();
                    if rounds > MAX_ROUNDS || length > self.limits().line_bytes {
                        let most = self.limits().line_bytes;
                        let message = format!("the expansion is longer than {most} bytes or never ends - not made");
                        let span = line.span(range);
                        self.diagnostics.push(Diagnostic::error(Code::LimitReached, Class::General, span, message));
                        return None;
                    }
                    self.spent.expanded += length + USE;
                    if self.spent.expanded > self.limits().expanded_bytes {
                        self.stop(Some(line.span(range)), "expansions too large together");
                        return None;
                    }
                    from = range.start;
                    let via = self.sources.expand(id, 0, line.own_span(range.clone()));
                    line = line.replaced(range, &value, via).without_comment().trimmed();
                    if line.text().starts_with(b"@") {
                        line = self.condition(line)?;
                        from = 0;
                    }
                }
                Reference::Unresolved(finding) => {
                    self.diagnostics.push(*finding);
                    from = range.end;
                }
            }
        }
        Some(line)
    }

    /// A definition of several lines, referred to at the end of `line`.
    fn lines(&mut self, line: Line<'_>, range: Range<usize>, id: DefinitionId, lines: &[Line<'static>]) {
        let via = self.sources.expand(id, 0, line.own_span(range.clone()));
        let before = line.slice(0..range.start);
        match lines.first() {
            Some(first) => self.made(before.spliced(range.start..range.start, &first.clone().via(via))),
            None => self.made(before.trimmed()),
        }
        for line in lines.iter().skip(1) {
            self.made(line.clone().via(via));
        }
    }

    fn repetition(&mut self, line: Line<'_>) {
        let word = if line.text().starts_with(b"~LST") { "~LST" } else { "~SEQ" };
        let invalid = |span, reason: String| {
            let text: String = String::from_utf8_lossy(line.text()).chars().take(MAX_SHOWN).collect();
            let message = format!("Invalid {word} specification '{text}'");
            Diagnostic::error(Code::BadDefinition, Class::General, span, message).label(reason)
        };
        let (head, text) = match repeat::split(&line) {
            Ok(split) => split,
            Err(reason) => {
                self.diagnostics.push(invalid(line.whole(), reason));
                return;
            }
        };
        // The values of ~LST are resolved where they are used, as those of any definition.
        let head = if word == "~LST" { Some(head) } else { self.substituted(head) };
        let Some(head) = head else { return };
        let limit = self.limits().lines.saturating_sub(self.spent.lines);
        let rounds = match repeat::rounds(&head, limit) {
            Ok(rounds) => rounds,
            Err(reason) => {
                self.diagnostics.push(invalid(head.whole(), reason));
                return;
            }
        };
        let place = head.own_span(0..head.text().len());
        let repetition = self.sources.define(word, Some(place));
        let variables: Vec<_> = rounds.names.iter().map(|name| self.sources.define(name, Some(place))).collect();
        for (round, values) in rounds.values.enumerate() {
            for ((name, id), value) in rounds.names.iter().zip(&variables).zip(values) {
                self.definitions.set(name.clone(), *id, Value::text(Line::new(&value, place)));
            }
            let via = self.sources.expand(repetition, u32::try_from(round + 1).unwrap_or(u32::MAX), place);
            self.made(text.clone().via(via));
            if self.stopped {
                return;
            }
        }
    }

    /// A line with nothing left to resolve.
    fn finished(&mut self, line: &Line<'_>) {
        if line.text().is_empty() || line.text().starts_with(b"include") && self.directive(line) {
            return;
        }
        self.builder.line(line, self.diagnostics);
        self.hand_over();
    }

    /// Gives the sink what is complete.
    fn hand_over(&mut self) {
        while let Some(statement) = self.builder.take() {
            self.sink.statement(&statement, self.diagnostics);
            self.builder.recycle(statement);
        }
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

fn unreadable(path: &Path, error: &LoadError) -> Diagnostic {
    let message = match error {
        LoadError::NotFound => format!("Config files missing '{}'.", path.display()),
        error => format!("Configuration file '{}' cannot be read: {error}", path.display()),
    };
    Diagnostic::new(Severity::Error, Code::FileUnreadable, Class::FileNotFound, None, message).refusing()
}

#[cfg(test)]
mod tests;
