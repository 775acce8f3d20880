//! Findings as text: with an excerpt of the source, or on one line.

mod masked;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::{Expanded, FileId, Sources, Span};

use masked::Suspects;

/// Longest line that is shown whole; of longer ones only the part around the place.
const MAX_LINE: usize = 400;

/// The finding with the lines that it is about, as rustc shows its own; several lines of text, with a final newline.
///
/// Passwords and keys in these lines are shown as stars. Only the lines that are shown are looked at, so that many findings
/// in a large file stay cheap.
///
/// `color` puts ANSI colours into the text.
pub fn excerpt(diagnostic: &Diagnostic, sources: &Sources, color: Color) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str()));
    let mut notes = Vec::new();
    let steps = diagnostic.span.map(|span| steps(sources, span)).unwrap_or_default();
    let suspects = suspects(diagnostic, sources, &steps);
    if let Some(span) = diagnostic.span {
        let label = diagnostic.label.as_deref();
        group = match View::new(sources, span, suspects) {
            Some(view) => group.element(view.snippet(label)),
            None => group,
        };
        for related in &diagnostic.related {
            match View::new(sources, related.span, suspects) {
                Some(view) => group = group.element(view.context(&related.message)),
                None => notes.push(related.message.as_str()),
            }
        }
    }
    for step in &steps {
        match step.place.and_then(|place| View::new(sources, place, suspects)) {
            Some(view) => group = group.element(view.context(&step.message)),
            None => notes.push(step.message.as_str()),
        }
    }
    for note in notes {
        group = group.element(Level::NOTE.message(note));
    }
    let mut report = vec![];
    match (&diagnostic.help, suggestion(diagnostic, sources, suspects)) {
        (Some(help), Some((view, text))) => {
            report.push(group);
            let patch = Patch::new(view.place.clone(), text);
            report.push(
                Group::with_title(Level::HELP.secondary_title(help.as_str())).element(view.source().patch(patch)),
            );
        }
        (Some(help), None) => report.push(group.element(Level::HELP.message(help.as_str()))),
        (None, _) => report.push(group),
    }
    let renderer = match color {
        Color::Ansi => Renderer::styled(),
        Color::None => Renderer::plain(),
    };
    let mut text = renderer.render(&report);
    text.push('\n');
    text
}

/// What of the lines shown may be a secret although no word says so: it was to be behind a word that was misspelt, or came
/// there through a definition.
fn suspects<'a>(diagnostic: &Diagnostic, sources: &'a Sources, steps: &[Step]) -> Suspects<'a> {
    let text = |span: Span| Some((sources.file(span.file)?.text(), span.start as usize..span.end as usize));
    let is_misspelt = diagnostic.replacement.as_deref().is_some_and(masked::announces_secret);
    let word = diagnostic.span.filter(|_| is_misspelt).and_then(text);
    let mut places = steps.iter().filter_map(|step| text(step.place?));
    Suspects {
        definitions: places.any(|(text, place)| masked::holds_secret(text, place)),
        misspelt: word.and_then(|(text, place)| text.get(place)),
    }
}

/// One step on the way from a file to the text of a finding.
struct Step {
    place: Option<Span>,
    message: String,
}

/// Most steps that are shown of each kind.
const MAX_STEPS: usize = 4;

/// The definitions, repetitions and includes that text was read through; none where the place itself tells it all.
fn steps(sources: &Sources, span: Span) -> Vec<Step> {
    let mut steps = Vec::new();
    for Expanded { name, round, defined, used } in sources.expansions(span).take(MAX_STEPS) {
        let (place, message) = match (round, defined) {
            (Some(round), _) => (None, format!("in round {round} of {name}")),
            (None, Some(defined)) if defined.holds(span) => (Some(used), format!("${name} is used here")),
            (None, Some(defined)) => (Some(defined), format!("in the definition of ${name} here")),
            (None, None) => continue,
        };
        steps.push(Step { place, message });
    }
    let file = sources.used_in(span);
    if read_twice(sources, file) {
        let includes = sources.includes(file).take(MAX_STEPS);
        steps.extend(includes.map(|place| Step { place: Some(place), message: "included here".to_owned() }));
    }
    steps
}

/// Whether the file was included more than once, so that its name does not tell which time.
fn read_twice(sources: &Sources, file: FileId) -> bool {
    let Some(file) = sources.file(file).filter(|file| file.included_at().is_some()) else { return false };
    sources.files().iter().filter(|other| other.path() == file.path()).nth(1).is_some()
}

/// Whether an excerpt is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// ANSI escape sequences.
    Ansi,
    /// Plain text.
    None,
}

/// The finding on one line: `file:line:col: severity: message (what is wrong) [code]`.
pub fn line(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let mut text = String::new();
    if let Some(location) = diagnostic.span.and_then(|span| sources.location(span)) {
        let _ = write!(text, "{location}: ");
    }
    let _ = write!(text, "{}: {}", diagnostic.severity, diagnostic.message);
    if let Some(label) = &diagnostic.label {
        let _ = write!(text, " ({label})");
    }
    if let Some(help) = &diagnostic.help {
        let _ = write!(text, " - {help}");
    }
    let _ = write!(text, " [{}]", diagnostic.code);
    text
}

/// The finding as keepalived logs it: `(Line N) message`, or `(FILE: Line N) message` when several files were read.
pub fn log_line(diagnostic: &Diagnostic, sources: &Sources) -> String {
    match diagnostic.span.and_then(|span| sources.location(span)) {
        None => diagnostic.message.clone(),
        Some(place) if sources.files().len() > 1 => {
            format!("({}: Line {}) {}", place.path.display(), place.line, diagnostic.message)
        }
        Some(place) => format!("(Line {}) {}", place.line, diagnostic.message),
    }
}

/// The finding for a serialiser, with its places resolved.
///
/// Members: `code`, `severity`, `class`, `refuses_start`, `message`, `label`, `help`, `replacement`, `span`, `related` (each
/// `message` and `span`). A span has `file`, `line`, `column`, `end_line`, `end_column` (all from 1, columns in characters, the
/// end behind the last character), and the offsets `start` and `end` in bytes. What is not there is `null`.
#[cfg(feature = "serde")]
pub fn json<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Json<'a> {
    Json {
        code: diagnostic.code.as_str(),
        severity: diagnostic.severity,
        class: diagnostic.class,
        refuses_start: diagnostic.refuses_start,
        message: &diagnostic.message,
        label: diagnostic.label.as_deref(),
        help: diagnostic.help.as_deref(),
        replacement: diagnostic.replacement.as_deref(),
        span: diagnostic.span.and_then(|span| Place::new(sources, span)),
        related: diagnostic
            .related
            .iter()
            .map(|related| JsonRelated { message: &related.message, span: Place::new(sources, related.span) })
            .collect(),
    }
}

/// See [`json`].
#[cfg(feature = "serde")]
#[derive(Debug, Clone, serde::Serialize)]
pub struct Json<'a> {
    code: &'static str,
    severity: Severity,
    class: crate::Class,
    refuses_start: bool,
    message: &'a str,
    label: Option<&'a str>,
    help: Option<&'a str>,
    replacement: Option<&'a str>,
    span: Option<Place>,
    related: Vec<JsonRelated<'a>>,
}

#[cfg(feature = "serde")]
#[derive(Debug, Clone, serde::Serialize)]
struct JsonRelated<'a> {
    message: &'a str,
    span: Option<Place>,
}

/// A range of a file as editors and people name it.
#[cfg(feature = "serde")]
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    file: String,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    start: u32,
    end: u32,
}

#[cfg(feature = "serde")]
impl Place {
    /// The names of `span`.
    pub fn new(sources: &Sources, span: Span) -> Option<Self> {
        let first = sources.location(span)?;
        let last = sources.location(Span { start: span.end.max(span.start), ..span })?;
        Some(Self {
            file: first.path.display().to_string(),
            line: first.line,
            column: first.column,
            end_line: last.line,
            end_column: last.column,
            start: span.start,
            end: span.end,
        })
    }
}

/// The lines around one place.
struct View<'a> {
    path: String,
    first_line: usize,
    /// Without secrets.
    text: Cow<'a, str>,
    /// The place inside `text`.
    place: Range<usize>,
}

impl<'a> View<'a> {
    fn new(sources: &'a Sources, span: Span, suspects: Suspects<'_>) -> Option<Self> {
        let file = sources.file(span.file)?;
        let first_line = file.line(span.start);
        let last_line = file.line(span.end.saturating_sub(1).max(span.start));
        let (mut start, mut end) = (file.line_range(first_line).0, file.line_range(last_line).1);
        let (from, to) = (span.start as usize, (span.end as usize).min(end));
        if end - start > MAX_LINE {
            start = start.max(boundary(file.text(), from.saturating_sub(MAX_LINE / 4)));
            end = end.min(boundary(file.text(), start + MAX_LINE));
        }
        let text = file.text().get(start..end)?;
        let inside = |at: usize| at.saturating_sub(start).min(text.len());
        let place = boundary(text, inside(from))..boundary(text, inside(to.max(from)));
        let text = masked::masked(file.text(), start..end, suspects);
        Some(Self { path: file.path().display().to_string(), first_line, text, place })
    }

    fn annotated(self, annotation: Annotation<'a>) -> Snippet<'a, Annotation<'a>> {
        Snippet::source(self.text).path(self.path).line_start(self.first_line).annotation(annotation)
    }

    fn snippet(self, label: Option<&'a str>) -> Snippet<'a, Annotation<'a>> {
        let annotation = AnnotationKind::Primary.span(self.place.clone());
        self.annotated(match label {
            Some(label) => annotation.label(label),
            None => annotation,
        })
    }

    fn context(self, label: &'a str) -> Snippet<'a, Annotation<'a>> {
        let annotation = AnnotationKind::Context.span(self.place.clone()).label(label);
        self.annotated(annotation)
    }

    fn source(self) -> Snippet<'a, Patch<'a>> {
        Snippet::source(self.text).path(self.path).line_start(self.first_line)
    }
}

/// The last place at or before `at` where a character starts.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn suggestion<'a>(
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
    suspects: Suspects<'_>,
) -> Option<(View<'a>, &'a str)> {
    let view = View::new(sources, diagnostic.span?, suspects)?;
    Some((view, diagnostic.replacement.as_deref()?)).filter(|(view, _)| !view.place.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Code, MemoryLoader, Options, parse};

    fn findings(text: &str) -> (Vec<Diagnostic>, Sources) {
        let parsed = parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default());
        (parsed.diagnostics, parsed.sources)
    }

    #[test]
    fn one_line_names_the_place() {
        let (found, sources) = findings("global_defs {\n  vrrp_garp_intervall 1\n}\n");
        assert_eq!(
            line(&found[0], &sources),
            "k.conf:2:3: error: Unknown keyword 'vrrp_garp_intervall' - did you mean 'vrrp_garp_interval'? [K0101]"
        );
        assert_eq!(log_line(&found[0], &sources), "(Line 2) Unknown keyword 'vrrp_garp_intervall'");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let (found, sources) = findings(&format!("global_defs {{ {} é foo }}", "é ".repeat(5000)));
        assert_eq!(
            found.iter().map(|finding| finding.code).collect::<Vec<_>>(),
            [Code::LongLine, Code::UnknownKeyword]
        );
        assert!(found.iter().all(|finding| excerpt(finding, &sources, Color::None).len() < 1000));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_names_both_ends_of_a_place() {
        let (found, sources) = findings("global_defs {\n  vrrp_garp_intervall 1\n}\n");
        let json = serde_json::to_value(json(&found[0], &sources)).unwrap();
        let span = serde_json::json!({
            "file": "k.conf", "line": 2, "column": 3, "end_line": 2, "end_column": 22, "start": 16, "end": 35
        });
        assert_eq!(json["span"], span);
        assert_eq!(
            (&json["code"], &json["severity"], &json["class"]),
            (&"K0101".into(), &"error".into(), &"unknown_keyword".into())
        );
        assert_eq!((&json["refuses_start"], &json["replacement"]), (&false.into(), &"vrrp_garp_interval".into()));
        assert_eq!((&json["label"], &json["related"]), (&serde_json::Value::Null, &serde_json::json!([])));
    }

    #[test]
    fn the_way_through_definitions_and_includes_is_shown() {
        let files = [
            ("k.conf", "$P=zero\n$L=priority ${P}\\\nfoo\ninclude a.conf\ninclude a.conf\n"),
            ("a.conf", "vrrp_instance ${_INSTANCE} {\n ~SEQ(N, 1) $L\n}\n"),
        ];
        let options = Options { config_id: "n".to_owned(), ..Options::default() };
        let parsed = parse(&MemoryLoader::new(files), Path::new("k.conf"), &options);
        let finding = |code| parsed.diagnostics.iter().find(|finding| finding.code == code).unwrap();
        let shown = |code| {
            let finding = finding(code);
            let text = excerpt(finding, &parsed.sources, Color::None);
            let steps = ["in the definition of $P here", "$L is used here", "in round 1 of ~SEQ", "included here"];
            steps.map(|step| text.matches(step).count())
        };
        assert_eq!(shown(Code::UnknownKeyword), [0, 1, 1, 1]);
        assert_eq!(shown(Code::BadNumber), [1, 1, 1, 1]);
        let trace = parsed.sources.trace(finding(Code::UnknownKeyword).span.unwrap()).unwrap();
        assert_eq!(trace.to_string(), "k.conf:3:1, from $L, round 1 of ~SEQ, included at k.conf:4:9");
        assert_eq!(trace.expansions[0].used.file, FileId(1));
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "$WORD=sesame\nvrrp_instance A {\n authentication {\n  auth_type PASS\n  auth_pas sesame\n  \
                    auth_pass ${WORD} sesame\n  auth_pass sesame twice\n }\n}\nSSL {\n password sesame open\n}\n";
        let (found, sources) = findings(text);
        let shown: String = found.iter().map(|finding| excerpt(finding, &sources, Color::None)).collect();
        assert!(shown.contains("auth_pas ******") && shown.contains("auth_pass ******"), "{shown}");
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn every_span_can_be_shown() {
        let (found, sources) = findings("é\n}\n\"\n");
        for start in 0..8 {
            for end in start..9 {
                let finding = Diagnostic { span: Some(Span { start, end, ..Span::default() }), ..found[0].clone() };
                assert!(excerpt(&finding, &sources, Color::None).contains("Unknown keyword"));
            }
        }
    }
}
