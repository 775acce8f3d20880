//! The files that were read, and places in them.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One file of [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FileId(pub u32);

/// A range of bytes in one file; `end` is the first byte after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset of the first byte that no longer belongs to the range.
    pub end: u32,
    /// Which use of a definition, or which round of a repetition, the text came through.
    pub via: Via,
}

/// One use of a definition or one round of a repetition; [`Sources::trace`] tells which. The default is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Via(u32);

impl Via {
    /// Whether the text stands in its file as it was read.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn numbered(number: u32) -> Self {
        Self(number)
    }
}

impl Span {
    /// The range `start..end` of `file`; offsets beyond 4 GiB are cut there.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        let cut = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { file, start: cut(start), end: cut(end.max(start)), via: Via::default() }
    }

    /// The smallest range that holds both; `self` where they lie in different files.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        if self.file != other.file {
            return self;
        }
        Self { start: self.start.min(other.start), end: self.end.max(other.end), ..self }
    }

    /// Whether the other is a part of this range.
    #[cfg(feature = "render")]
    pub(crate) fn holds(self, other: Self) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }

    /// Whether the other is a part of this range, however its text was used.
    pub(crate) fn encloses(self, other: Self) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }

    /// Whether both are the same range of the same file, however its text was used.
    pub(crate) fn same_text(self, other: Self) -> bool {
        Self { via: Via::default(), ..self } == Self { via: Via::default(), ..other }
    }
}

/// A value and where it was written.
///
/// Two of them are equal when their values are: an instance that moved by a line did not change.
#[derive(Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, written at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: fmt::Debug> fmt::Debug for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// A place as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location<'a> {
    /// The file, as it was named when it was opened.
    pub path: &'a Path,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// One file that was read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    path: PathBuf,
    content: Arc<Content>,
    included_at: Option<Span>,
    /// Found when the first line number is asked for.
    line_starts: OnceLock<Vec<u32>>,
}

/// What stands in a file.
#[derive(Debug)]
pub(crate) struct Content {
    /// The content with every byte that is not UTF-8 replaced by one `?`, so that offsets hold.
    text: String,
    /// The content as read, where it differs from `text`.
    raw: Option<Vec<u8>>,
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text, raw: None },
            Err(error) => {
                let bytes = error.into_bytes();
                Self { text: same_length_text(&bytes), raw: Some(bytes) }
            }
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }

    /// Offset of the first byte that is not UTF-8.
    pub(crate) fn not_utf8(&self) -> Option<usize> {
        std::str::from_utf8(self.raw.as_deref()?).err().map(|error| error.valid_up_to())
    }
}

impl SourceFile {
    fn new(path: PathBuf, bytes: Vec<u8>, included_at: Option<Span>) -> Self {
        Self { path, content: Arc::new(Content::new(bytes)), included_at, line_starts: OnceLock::new() }
    }

    /// The name under which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content; bytes that are not UTF-8 show as `?`.
    pub fn text(&self) -> &str {
        &self.content.text
    }

    /// The content as it was read.
    pub fn bytes(&self) -> &[u8] {
        self.content.bytes()
    }

    /// Where the pattern stands that named it; `None` for the main file. A file that is included twice is two files.
    pub fn included_at(&self) -> Option<Span> {
        self.included_at
    }

    pub(crate) fn content(&self) -> Arc<Content> {
        Arc::clone(&self.content)
    }

    /// Offsets of the first byte of each line, in bytes from the beginning of the file; behind the last line end is one more.
    pub fn line_starts(&self) -> &[u32] {
        self.line_starts.get_or_init(|| {
            let mut starts = vec![0];
            let ends = self.text().bytes().zip(1..).filter(|(byte, _)| *byte == b'\n');
            ends.for_each(|(_, after)| starts.push(after));
            starts
        })
    }

    /// Number of the line (from 1) that holds the byte at `offset`.
    pub fn line(&self, offset: u32) -> usize {
        self.line_starts().partition_point(|start| *start <= offset)
    }

    /// Byte range of `line` (from 1) without its line end; empty for a line that does not exist.
    pub fn line_range(&self, line: usize) -> (usize, usize) {
        let start = line.checked_sub(1).and_then(|index| self.line_starts().get(index));
        let Some(start) = start.map(|start| *start as usize) else {
            return (self.text().len(), self.text().len());
        };
        let rest = self.text().get(start..).unwrap_or_default();
        let length = rest.find('\n').unwrap_or(rest.len());
        (start, start + length)
    }
}

/// `bytes` as text of the same length: what is not UTF-8 becomes one `?` for each byte.
fn same_length_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// All files of one reading, in the order in which they were opened; the main file is the first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
    definitions: Vec<Definition>,
    expansions: Vec<Expansion>,
}

/// One `$NAME=`, `~SEQ(` or `~LST(`.
#[derive(Debug, Clone)]
struct Definition {
    name: Box<str>,
    /// `None` for a name that is built in.
    span: Option<Span>,
}

/// A place of a name's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DefinitionId(u32);

#[derive(Debug, Clone, Copy)]
struct Expansion {
    definition: DefinitionId,
    /// Of a repetition, from 1; 0 for the use of a definition.
    round: u32,
    /// The reference, or the head of the repetition.
    used: Span,
}

/// How a piece of text came to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace<'a> {
    /// Where it stands.
    pub location: Location<'a>,
    /// The definitions and repetitions that it came through, innermost first.
    pub expansions: Vec<Expanded<'a>>,
    /// The include lines that led to the file that uses it, the one in the main file last.
    pub includes: Vec<Location<'a>>,
}

/// One use of a definition, or one round of a repetition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded<'a> {
    /// The name, without `$`.
    pub name: &'a str,
    /// Of a repetition the round, from 1.
    pub round: Option<u32>,
    /// Where the name was defined; `None` for one that is built in.
    pub defined: Option<Span>,
    /// Where the reference stands, or the head of the repetition.
    pub used: Span,
}

/// `FILE:LINE:COLUMN`, then how the text came there.
impl fmt::Display for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.location)?;
        for expanded in &self.expansions {
            match expanded.round {
                Some(round) => write!(f, ", round {round} of {}", expanded.name)?,
                None => write!(f, ", from ${}", expanded.name)?,
            }
        }
        for include in &self.includes {
            write!(f, ", included at {include}")?;
        }
        Ok(())
    }
}

impl Sources {
    pub(crate) fn add(&mut self, path: PathBuf, bytes: Vec<u8>, included_at: Option<Span>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(SourceFile::new(path, bytes, included_at));
        id
    }

    /// Notes the place of a definition.
    pub(crate) fn define(&mut self, name: &str, span: Option<Span>) -> DefinitionId {
        self.definitions.push(Definition { name: name.into(), span });
        DefinitionId(u32::try_from(self.definitions.len() - 1).unwrap_or(u32::MAX))
    }

    /// Notes a use of a definition, or a round of a repetition.
    pub(crate) fn expand(&mut self, definition: DefinitionId, round: u32, used: Span) -> Via {
        self.expansions.push(Expansion { definition, round, used });
        Via(u32::try_from(self.expansions.len()).unwrap_or(u32::MAX))
    }

    /// The file with this id.
    pub fn file(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// Every file that was read, the main file first.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// File, line and column of the start of `span`.
    pub fn location(&self, span: Span) -> Option<Location<'_>> {
        let file = self.file(span.file)?;
        let line = file.line(span.start);
        let (start, _) = file.line_range(line);
        let before = file.text().get(start..span.start as usize).unwrap_or_default();
        Some(Location { path: &file.path, line, column: before.chars().count() + 1 })
    }

    /// Where `span` stands, and through which definitions and includes it was read.
    pub fn trace(&self, span: Span) -> Option<Trace<'_>> {
        Some(Trace {
            location: self.location(span)?,
            expansions: self.expansions(span).collect(),
            includes: self.includes(self.used_in(span)).filter_map(|at| self.location(at)).collect(),
        })
    }

    /// The definitions and repetitions that `span` was read through, innermost first.
    pub fn expansions(&self, span: Span) -> impl Iterator<Item = Expanded<'_>> {
        let mut via = span.via;
        std::iter::from_fn(move || {
            let expansion = self.expansions.get((via.0 as usize).checked_sub(1)?)?;
            // Each use was noted after the ones around it.
            via = if expansion.used.via < via { expansion.used.via } else { Via::default() };
            let definition = self.definitions.get(expansion.definition.0 as usize)?;
            Some(Expanded {
                name: &definition.name,
                round: Some(expansion.round).filter(|round| *round > 0),
                defined: definition.span,
                used: expansion.used,
            })
        })
    }

    /// The file that uses the text of `span`: its own, or that of the outermost reference.
    pub fn used_in(&self, span: Span) -> FileId {
        self.expansions(span).last().map_or(span.file, |outermost| outermost.used.file)
    }

    /// The include lines that led to `file`, the one in the main file last.
    pub fn includes(&self, file: FileId) -> impl Iterator<Item = Span> {
        let next = move |id: FileId| self.file(id).and_then(SourceFile::included_at);
        // A file is added after the one that names it.
        std::iter::successors(next(file), move |at| next(at.file).filter(|outer| outer.file < at.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_line_and_column() {
        let mut sources = Sources::default();
        let id = sources.add("a.conf".into(), b"one\n \xfftwo\n".to_vec(), None);
        let at = |offset| sources.location(Span::new(id, offset, offset + 1)).map(|place| place.to_string());
        assert_eq!(at(0).as_deref(), Some("a.conf:1:1"));
        assert_eq!(at(6).as_deref(), Some("a.conf:2:3"));
        assert_eq!(sources.file(id).map(SourceFile::text), Some("one\n ?two\n"));
        assert_eq!(sources.file(id).map(|file| file.line_range(2)), Some((4, 9)));
        assert_eq!(sources.file(id).map(|file| file.line_range(9)), Some((10, 10)));
    }

    #[test]
    fn a_place_is_small() {
        assert_eq!(size_of::<Span>(), 16);
    }

    #[test]
    fn equality_of_spanned_values_ignores_the_place() {
        let file = FileId(0);
        assert_eq!(Spanned::new(1, Span::new(file, 0, 1)), Spanned::new(1, Span::new(file, 9, 10)));
    }
}
