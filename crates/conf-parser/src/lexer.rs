//! Lines, words, quotes, comments and braces; every word knows where it was written.

use std::ops::Range;

use crate::source::Span;

/// One line after preprocessing, which remembers where each part of it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    text: Vec<u8>,
    /// Never empty; ascending, the first at 0.
    pieces: Vec<Piece>,
}

/// The part of a line from `start` up to the next piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    start: usize,
    origin: Span,
    /// The text is that of the file byte by byte; otherwise it stands for all of `origin`.
    verbatim: bool,
}

impl Piece {
    fn at(&self, offset: usize) -> Span {
        if !self.verbatim {
            return self.origin;
        }
        let start = self.origin.start as usize + offset.saturating_sub(self.start);
        Span::new(self.origin.file, start, start + 1)
    }
}

impl Line {
    /// A line as it stands in a file; `span` covers `text`.
    pub(crate) fn new(text: &[u8], span: Span) -> Self {
        Self { text: text.to_vec(), pieces: vec![Piece { start: 0, origin: span, verbatim: true }] }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The bytes of `range`, which lies inside the line.
    pub(crate) fn part(&self, range: Range<usize>) -> &[u8] {
        self.text.get(range).unwrap_or_default()
    }

    fn piece(&self, offset: usize) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.start <= offset);
        self.pieces.get(after.saturating_sub(1))
    }

    /// Where `range` was written; an empty range is the place before its start.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        let start = self.piece(range.start).map(|piece| piece.at(range.start)).unwrap_or_default();
        if range.is_empty() {
            return Span { end: start.start, ..start };
        }
        let last = range.end - 1;
        self.piece(last).map_or(start, |piece| start.to(piece.at(last)))
    }

    /// Where the whole line was written.
    pub(crate) fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }

    /// A part of the line as a line of its own.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let first = self.pieces.partition_point(|piece| piece.start <= range.start).saturating_sub(1);
        let inside = self.pieces.iter().skip(first).take_while(|piece| piece.start < range.end.max(range.start + 1));
        let pieces = inside
            .map(|piece| {
                let cut = range.start.saturating_sub(piece.start);
                let origin = if piece.verbatim {
                    Span { start: piece.origin.start.saturating_add(cut_u32(cut)), ..piece.origin }
                } else {
                    piece.origin
                };
                Piece { start: piece.start.saturating_sub(range.start), origin, verbatim: piece.verbatim }
            })
            .collect();
        Self { text: self.part(range).to_vec(), pieces }
    }

    /// Without blanks at both ends.
    pub(crate) fn trimmed(&self) -> Self {
        let end = self.text.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |at| at + 1);
        let start = self.text.iter().position(|byte| !is_blank(*byte)).unwrap_or(0).min(end);
        if (start, end) == (0, self.text.len()) { self.clone() } else { self.slice(start..end) }
    }

    /// The line with `range` replaced; the new text stands for what was written there.
    pub(crate) fn replaced(&self, range: Range<usize>, text: &[u8]) -> Self {
        let origin = self.span(range.clone());
        let new = Self { text: text.to_vec(), pieces: vec![Piece { start: 0, origin, verbatim: false }] };
        self.spliced(range, &new)
    }

    /// The line with `range` replaced by another line, which keeps its places.
    pub(crate) fn spliced(&self, range: Range<usize>, new: &Self) -> Self {
        let mut line = Self { text: Vec::with_capacity(self.text.len() + new.text.len()), pieces: Vec::new() };
        line.append(&self.slice(0..range.start));
        line.append(new);
        line.append(&self.slice(range.end..self.text.len()));
        if line.pieces.is_empty() {
            line.pieces.extend(self.pieces.first());
        }
        line
    }

    fn append(&mut self, other: &Self) {
        if other.text.is_empty() {
            return;
        }
        let at = self.text.len();
        self.text.extend_from_slice(&other.text);
        self.pieces.extend(other.pieces.iter().map(|piece| Piece { start: piece.start + at, ..*piece }));
    }

    /// The line without its comment: from an unquoted `#` or `!` on. `\#` and `\!` lose their backslash and stay.
    pub(crate) fn without_comment(self) -> Self {
        if !self.text.iter().any(|byte| matches!(byte, b'#' | b'!')) {
            return self;
        }
        let mut line = Self { text: Vec::with_capacity(self.text.len()), pieces: Vec::new() };
        let (mut from, mut quoted, mut escaped) = (0, false, false);
        let mut end = self.text.len();
        for (at, byte) in self.text.iter().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'#' | b'!' if escaped && !quoted => {
                    line.append(&self.slice(from..at - 1));
                    from = at;
                }
                b'#' | b'!' if !quoted => {
                    end = at;
                    break;
                }
                _ => {}
            }
            escaped = *byte == b'\\';
        }
        if from == 0 {
            return self.slice(0..end);
        }
        line.append(&self.slice(from..end));
        if line.pieces.is_empty() {
            line.pieces.extend(self.pieces.first());
        }
        line
    }

    /// Whether a `"` is not closed.
    pub(crate) fn has_open_quote(&self) -> bool {
        self.text.iter().filter(|byte| **byte == b'"').count() % 2 == 1
    }
}

fn cut_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word without its quotes; bytes that are not UTF-8 as U+FFFD.
    pub(crate) text: String,
    /// The word as written, where that is not UTF-8.
    raw: Option<Box<[u8]>>,
    /// Whether it stood in quotes.
    pub(crate) quoted: bool,
    /// Where it was written, without the quotes.
    pub(crate) span: Span,
}

impl Word {
    fn new(line: &Line, range: Range<usize>, quoted: bool) -> Self {
        let bytes = line.part(range.clone());
        let span = line.span(range);
        match std::str::from_utf8(bytes) {
            Ok(text) => Self { text: text.to_owned(), raw: None, quoted, span },
            Err(_) => Self { text: String::from_utf8_lossy(bytes).into_owned(), raw: Some(bytes.into()), quoted, span },
        }
    }

    /// The word as it was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

/// A part of a line: between, or at, its unquoted braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Words; never blank.
    Text(Range<usize>),
    /// `{` at this offset.
    Open(usize),
    /// `}` at this offset.
    Close(usize),
}

/// Cuts a line at its unquoted braces.
pub(crate) fn parts(line: &Line) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    let push_text = |parts: &mut Vec<Part>, range: Range<usize>| {
        if line.part(range.clone()).iter().any(|byte| !is_blank(*byte)) {
            parts.push(Part::Text(range));
        }
    };
    for (at, byte) in line.text().iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'{' | b'}' if !quoted => {
                push_text(&mut parts, start..at);
                parts.push(if *byte == b'{' { Part::Open(at) } else { Part::Close(at) });
                start = at + 1;
            }
            _ => {}
        }
    }
    push_text(&mut parts, start..line.text().len());
    parts
}

/// Cuts `range` of a line at blanks and at `"`. A quoted part that touches other text is a word of its own.
pub(crate) fn words(line: &Line, range: Range<usize>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = range.start;
    while let Some(byte) = line.part(at..range.end).first().copied() {
        let rest = line.part(at + 1..range.end);
        if is_blank(byte) {
            at += 1;
        } else if byte == b'"' {
            let length = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
            words.push(Word::new(line, at + 1..at + 1 + length, true));
            at += length + 2;
        } else {
            let length = 1 + rest.iter().position(|byte| is_blank(*byte) || *byte == b'"').unwrap_or(rest.len());
            words.push(Word::new(line, at..at + length, false));
            at += length;
        }
    }
    words
}

/// Cuts `range` of a line that holds a command: `'` quotes as well as `"`, quotes may touch other text,
/// a backslash keeps the next character from ending a quote. Escapes stay for [`command`] to resolve.
pub(crate) fn script_words(line: &Line, range: Range<usize>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = range.start;
    while let Some(byte) = line.part(at..range.end).first().copied() {
        if is_blank(byte) {
            at += 1;
            continue;
        }
        let end = at + script_word_len(line.part(at..range.end));
        let inner = line.part(at..end);
        let wrapped = matches!(byte, b'"' | b'\'') && inner.len() >= 2 && inner.last() == Some(&byte);
        words.push(if wrapped {
            Word::new(line, at + 1..end - 1, true)
        } else {
            Word::new(line, at..end, matches!(byte, b'"' | b'\''))
        });
        at = end;
    }
    words
}

fn script_word_len(text: &[u8]) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match (quote, *byte) {
            _ if escaped => escaped = false,
            (_, b'\\') => escaped = true,
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, byte) if is_blank(byte) => return at,
            _ => {}
        }
    }
    text.len()
}

/// Cuts a command into its words and resolves quotes and escapes:
/// `\a \b \E \f \n \r \t \v`, `\ooo`, `\xHH`, `\cC`; before any other character the backslash goes.
pub(crate) fn command(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (quote, *byte) {
            (_, b'\\') => {
                let (value, after) = escape(rest);
                word.get_or_insert_default().extend(value);
                rest = after;
            }
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(*byte);
                word.get_or_insert_default();
            }
            (None, byte) if is_blank(byte) => words.extend(word.take()),
            (_, byte) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect()
}

/// Resolves the escapes of [`command`] without cutting: what quotes held.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'\\' {
            let (value, after) = escape(rest);
            out.extend(value);
            rest = after;
        } else {
            out.push(*byte);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The byte that an escape stands for, and what follows it; `text` starts after the backslash.
fn escape(text: &[u8]) -> (Option<u8>, &[u8]) {
    let Some((first, rest)) = text.split_first() else {
        return (None, text);
    };
    let simple = |byte: u8| (Some(byte), rest);
    match *first {
        b'a' => simple(0x07),
        b'b' => simple(0x08),
        b'E' => simple(0x1b),
        b'f' => simple(0x0c),
        b'n' => simple(b'\n'),
        b'r' => simple(b'\r'),
        b't' => simple(b'\t'),
        b'v' => simple(0x0b),
        b'c' => rest.split_first().map_or((None, rest), |(control, rest)| (Some(control & 0x1f), rest)),
        b'x' => digits(rest, 16, 2),
        b'0'..=b'7' => digits(text, 8, 3),
        other => simple(other),
    }
}

fn digits(text: &[u8], base: u32, most: usize) -> (Option<u8>, &[u8]) {
    let length = text.iter().take(most).take_while(|byte| char::from(**byte).is_digit(base)).count();
    let (digits, rest) = text.split_at(length);
    let value = digits.iter().fold(0u32, |value, digit| value * base + char::from(*digit).to_digit(base).unwrap_or(0));
    (Some((value & 0xff).to_le_bytes()[0]), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn line(text: &str) -> Line {
        Line::new(text.as_bytes(), Span::new(FileId(0), 100, 100 + text.len()))
    }

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    fn cut(text: &str) -> Vec<String> {
        let line = line(text);
        words(&line, 0..text.len()).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_cut_at_blanks_and_quotes() {
        assert_eq!(cut("a  b\tc"), ["a", "b", "c"]);
        assert_eq!(cut(r#"a "b c"d "" e"#), ["a", "b c", "d", "", "e"]);
        assert_eq!(cut(r#"a"b c"#), ["a", "b c"]);
    }

    #[test]
    fn words_know_their_place() {
        let line = line(r#"ab "c d" e"#);
        let places: Vec<_> = words(&line, 0..10).iter().map(|word| (word.span.start, word.span.end)).collect();
        assert_eq!(places, [(100, 102), (104, 107), (109, 110)]);
    }

    #[test]
    fn comments_end_a_line_outside_quotes() {
        let strip = |text: &str| String::from_utf8(line(text).without_comment().text().to_vec()).unwrap();
        assert_eq!(strip("a # b"), "a ");
        assert_eq!(strip("a!b"), "a");
        assert_eq!(strip("a \"#b\" ! c"), "a \"#b\" ");
        assert_eq!(strip(r"a \#b \! c # d"), "a #b ! c ");
        assert_eq!(strip("#"), "");
    }

    #[test]
    fn places_survive_an_unescaped_comment_character() {
        let stripped = line(r"a \#b c").without_comment();
        assert_eq!(stripped.text(), b"a #b c");
        assert_eq!(stripped.span(5..6), Span::new(FileId(0), 106, 107));
        assert_eq!(stripped.span(2..4), Span::new(FileId(0), 103, 105));
    }

    #[test]
    fn replaced_text_stands_for_its_reference() {
        let replaced = line("x ${A} y").replaced(2..6, b"long value");
        assert_eq!(replaced.text(), b"x long value y");
        assert_eq!(replaced.span(2..6), Span::new(FileId(0), 102, 106));
        assert_eq!(replaced.span(13..14), Span::new(FileId(0), 107, 108));
        assert_eq!(replaced.slice(13..14).whole(), Span::new(FileId(0), 107, 108));
        assert_eq!(replaced.replaced(2..12, b"").text(), b"x  y");
    }

    #[test]
    fn braces_part_a_line() {
        let line = line(r#"a b { "{" c } d"#);
        assert_eq!(
            parts(&line),
            [Part::Text(0..4), Part::Open(4), Part::Text(5..12), Part::Close(12), Part::Text(13..15)]
        );
    }

    #[test]
    fn commands_quote_and_escape() {
        assert_eq!(command(r"/bin/x 'a b' c\ d"), ["/bin/x", "a b", "c d"]);
        assert_eq!(command(r#"x "a"'b' "" \x41\102\cA\t"#), ["x", "ab", "", "AB\u{1}\t"]);
        assert_eq!(command("  "), [""; 0]);
        assert_eq!(command(r"a \"), ["a", ""]);
    }

    #[test]
    fn script_lines_know_both_quotes() {
        let line = line(r#""/x 'a b'" user 'one two'"#);
        assert_eq!(texts(&script_words(&line, 0..line.text().len())), ["/x 'a b'", "user", "one two"]);
    }

    #[test]
    fn raw_bytes_are_kept() {
        let line = Line::new(b"p\xe9", Span::new(FileId(0), 0, 2));
        let word = words(&line, 0..2).remove(0);
        assert_eq!(word.text, "p\u{fffd}");
        assert_eq!(word.bytes(), b"p\xe9");
    }
}
