//! The files that were read, and places in them.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

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
}

impl Span {
    /// The range `start..end` of `file`; offsets beyond 4 GiB are cut there.
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        let cut = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { file, start: cut(start), end: cut(end.max(start)) }
    }

    /// The smallest range that holds both; `self` where they lie in different files.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        if self.file != other.file {
            return self;
        }
        Self { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
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
    /// The content with every byte that is not UTF-8 replaced by one `?`, so that offsets hold.
    text: String,
    /// The content as read, where it differs from `text`.
    raw: Option<Vec<u8>>,
    line_starts: Vec<u32>,
}

impl SourceFile {
    fn new(path: PathBuf, bytes: Vec<u8>) -> Self {
        let line_starts = std::iter::once(0)
            .chain(
                bytes
                    .iter()
                    .enumerate()
                    .filter(|(_, byte)| **byte == b'\n')
                    .map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX)),
            )
            .collect();
        let (text, raw) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let bytes = error.into_bytes();
                (same_length_text(&bytes), Some(bytes))
            }
        };
        Self { path, text, raw, line_starts }
    }

    /// The name under which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content; bytes that are not UTF-8 show as `?`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The content as it was read.
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }

    /// Number of the line (from 1) that holds the byte at `offset`.
    pub fn line(&self, offset: u32) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Byte range of `line` (from 1) without its line end; empty for a line that does not exist.
    pub fn line_range(&self, line: usize) -> (usize, usize) {
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index));
        let Some(start) = start.map(|start| *start as usize) else {
            return (self.text.len(), self.text.len());
        };
        let rest = self.text.get(start..).unwrap_or_default();
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
}

impl Sources {
    pub(crate) fn add(&mut self, path: PathBuf, bytes: Vec<u8>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(SourceFile::new(path, bytes));
        id
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
        let before = file.text.get(start..span.start as usize).unwrap_or_default();
        Some(Location { path: &file.path, line, column: before.chars().count() + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_line_and_column() {
        let mut sources = Sources::default();
        let id = sources.add("a.conf".into(), b"one\n \xfftwo\n".to_vec());
        let at = |offset| sources.location(Span::new(id, offset, offset + 1)).map(|place| place.to_string());
        assert_eq!(at(0).as_deref(), Some("a.conf:1:1"));
        assert_eq!(at(6).as_deref(), Some("a.conf:2:3"));
        assert_eq!(sources.file(id).map(SourceFile::text), Some("one\n ?two\n"));
        assert_eq!(sources.file(id).map(|file| file.line_range(2)), Some((4, 9)));
        assert_eq!(sources.file(id).map(|file| file.line_range(9)), Some((10, 10)));
    }

    #[test]
    fn equality_of_spanned_values_ignores_the_place() {
        let file = FileId(0);
        assert_eq!(Spanned::new(1, Span::new(file, 0, 1)), Spanned::new(1, Span::new(file, 9, 10)));
    }
}
