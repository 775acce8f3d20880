//! Lines, words, quotes, comments and braces; every word knows where it was written.

use std::borrow::Cow;
use std::ops::Range;

use crate::source::{FileId, Span, Via};

/// Which bytes with a meaning a line may hold, so that most lines need no second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks(u16);

impl Marks {
    pub(crate) const NUL: Self = Self(1);
    pub(crate) const REFERENCE: Self = Self(2);
    pub(crate) const COMMENT: Self = Self(4);
    pub(crate) const QUOTE: Self = Self(8);
    pub(crate) const BRACE: Self = Self(16);
    pub(crate) const RETURN: Self = Self(32);
    const BACKSLASH: Self = Self(64);
    const CONDITION: Self = Self(128);
    const REPETITION: Self = Self(256);

    /// The mark of each byte.
    #[expect(clippy::indexing_slicing, reason = "checked when it is compiled")]
    const OF: [Self; 256] = {
        let mut marks = [Self(0); 256];
        marks[0] = Self::NUL;
        marks[b'$' as usize] = Self::REFERENCE;
        marks[b'#' as usize] = Self::COMMENT;
        marks[b'!' as usize] = Self::COMMENT;
        marks[b'"' as usize] = Self::QUOTE;
        marks[b'{' as usize] = Self::BRACE;
        marks[b'}' as usize] = Self::BRACE;
        marks[b'\r' as usize] = Self::RETURN;
        marks[b'\\' as usize] = Self::BACKSLASH;
        marks[b'@' as usize] = Self::CONDITION;
        marks[b'~' as usize] = Self::REPETITION;
        marks
    };

    pub(crate) fn add(&mut self, byte: u8) {
        self.0 |= Self::OF.get(usize::from(byte)).map_or(0, |mark| mark.0);
    }

    fn of(text: &[u8]) -> Self {
        let mut marks = Self::default();
        text.iter().for_each(|byte| marks.add(*byte));
        marks
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file, without their ends.
#[derive(Debug)]
pub(crate) struct PhysicalLines<'a> {
    file: FileId,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> PhysicalLines<'a> {
    pub(crate) fn new(file: FileId, bytes: &'a [u8]) -> Self {
        let at = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Self { file, bytes, at }
    }
}

impl<'a> Iterator for PhysicalLines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let mut marks = Marks::default();
        let end = rest.iter().position(|byte| {
            marks.add(*byte);
            *byte == b'\n'
        });
        let length = end.unwrap_or(rest.len());
        let start = self.at;
        self.at += length + 1;
        Some(Line::marked(rest.get(..length)?, Span::new(self.file, start, start + length), marks))
    }
}

/// One line after preprocessing, which remembers where each part of it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    text: Cow<'a, [u8]>,
    pieces: Pieces,
    marks: Marks,
}

/// Where the parts of a line were written. Most lines have one part.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pieces {
    One(Piece),
    /// Never empty; ascending, the first at 0.
    Many(Vec<Piece>),
}

impl Pieces {
    fn as_slice(&self) -> &[Piece] {
        match self {
            Self::One(piece) => std::slice::from_ref(piece),
            Self::Many(pieces) => pieces,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Piece] {
        match self {
            Self::One(piece) => std::slice::from_mut(piece),
            Self::Many(pieces) => pieces,
        }
    }
}

/// The part of a line from `start` up to the next piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    start: usize,
    /// Where the reader of the file sees it: the reference for the text of a definition.
    origin: Span,
    /// The text is that of the file byte by byte; otherwise it stands for all of `origin`.
    verbatim: bool,
    /// Where the text itself stands, byte by byte; for the text of a definition that is its own line.
    own: Span,
}

impl Piece {
    fn at(&self, offset: usize) -> Span {
        if self.verbatim { self.byte(self.origin, offset) } else { self.origin }
    }

    /// Where a range of a verbatim piece is, which is not empty.
    fn range(&self, range: Range<usize>) -> Span {
        let at = |offset: usize| self.origin.start.saturating_add(cut_u32(offset.saturating_sub(self.start)));
        Span { start: at(range.start), end: at(range.end), ..self.origin }
    }

    fn byte(&self, from: Span, offset: usize) -> Span {
        let start = from.start.saturating_add(cut_u32(offset.saturating_sub(self.start)));
        Span { start, end: start.saturating_add(1), ..from }
    }

    /// The piece without its first `cut` bytes, at `start`.
    fn from(&self, cut: usize, start: usize) -> Self {
        let skip = |span: Span| Span { start: span.start.saturating_add(cut_u32(cut)), ..span };
        let origin = if self.verbatim { skip(self.origin) } else { self.origin };
        Self { start, origin, own: skip(self.own), ..*self }
    }
}

impl<'a> Line<'a> {
    /// A line as it stands in a file; `span` covers `text`.
    pub(crate) fn new(text: &'a [u8], span: Span) -> Self {
        Self::marked(text, span, Marks::of(text))
    }

    /// [`new`](Self::new) where the marks are known already.
    fn marked(text: &'a [u8], span: Span, marks: Marks) -> Self {
        let piece = Piece { start: 0, origin: span, verbatim: true, own: span };
        Self { text: Cow::Borrowed(text), pieces: Pieces::One(piece), marks }
    }

    /// The line with a text of its own.
    pub(crate) fn into_owned(self) -> Line<'static> {
        Line { text: Cow::Owned(self.text.into_owned()), pieces: self.pieces, marks: self.marks }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The bytes of `range`, which lies inside the line.
    pub(crate) fn part(&self, range: Range<usize>) -> &[u8] {
        self.text.get(range).unwrap_or_default()
    }

    /// Whether the line may hold a byte with this mark.
    pub(crate) fn may_hold(&self, mark: Marks) -> bool {
        self.marks.0 & mark.0 != 0
    }

    /// Whether preprocessing leaves the line as it is.
    pub(crate) fn is_plain(&self) -> bool {
        let special = [Marks::REFERENCE, Marks::COMMENT, Marks::BACKSLASH, Marks::CONDITION, Marks::REPETITION]
            .map(|mark| mark.0);
        self.marks.0 & special.into_iter().fold(0, |all, mark| all | mark) == 0
    }

    fn piece(&self, offset: usize) -> Option<&Piece> {
        match &self.pieces {
            Pieces::One(piece) => Some(piece),
            Pieces::Many(pieces) => {
                let after = pieces.partition_point(|piece| piece.start <= offset);
                pieces.get(after.saturating_sub(1))
            }
        }
    }

    /// Where `range` was written; an empty range is the place before its start.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        match &self.pieces {
            // Most lines stand in a file as they are.
            Pieces::One(piece) if piece.verbatim && !range.is_empty() => piece.range(range),
            _ => self.span_by(range, Piece::at),
        }
    }

    /// Where the text of `range` stands itself, be it in a definition.
    pub(crate) fn own_span(&self, range: Range<usize>) -> Span {
        self.span_by(range, |piece, offset| piece.byte(piece.own, offset))
    }

    fn span_by(&self, range: Range<usize>, at: impl Fn(&Piece, usize) -> Span) -> Span {
        let start = self.piece(range.start).map(|piece| at(piece, range.start)).unwrap_or_default();
        if range.is_empty() {
            return Span { end: start.start, ..start };
        }
        let last = range.end - 1;
        self.piece(last).map_or(start, |piece| start.to(at(piece, last)))
    }

    /// Where the whole line was written.
    pub(crate) fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }

    /// Notes that the text was read through a definition or a repetition.
    #[must_use]
    pub(crate) fn via(mut self, via: Via) -> Self {
        for piece in self.pieces.as_mut_slice() {
            piece.origin.via = via;
            piece.own.via = via;
        }
        self
    }

    /// A part of the line as a line of its own.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let pieces = match &self.pieces {
            Pieces::One(piece) => Pieces::One(piece.from(range.start.saturating_sub(piece.start), 0)),
            Pieces::Many(pieces) => {
                let first = pieces.partition_point(|piece| piece.start <= range.start).saturating_sub(1);
                let inside = pieces.iter().skip(first).take_while(|piece| piece.start < range.end.max(range.start + 1));
                let cut = |piece: &Piece| {
                    piece.from(range.start.saturating_sub(piece.start), piece.start.saturating_sub(range.start))
                };
                Pieces::Many(inside.map(cut).collect())
            }
        };
        let text = match &self.text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
            Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_vec()),
        };
        Self { text, pieces, marks: self.marks }
    }

    /// Without blanks at both ends.
    pub(crate) fn trimmed(self) -> Self {
        let end = self.text.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |at| at + 1);
        let start = self.text.iter().position(|byte| !is_blank(*byte)).unwrap_or(0).min(end);
        if end - start == self.text.len() {
            return self;
        }
        match (&self.text, &self.pieces) {
            // Most lines stand in a file as they are.
            (Cow::Borrowed(text), Pieces::One(piece)) => Self {
                text: Cow::Borrowed(text.get(start..end).unwrap_or_default()),
                pieces: Pieces::One(piece.from(start.saturating_sub(piece.start), 0)),
                marks: self.marks,
            },
            _ => self.slice(start..end),
        }
    }

    /// The line with `range` replaced by the text of a definition, which stands for what was written there.
    pub(crate) fn replaced(&self, range: Range<usize>, text: &Line<'_>, via: Via) -> Self {
        let origin = Span { via, ..self.span(range.clone()) };
        let mut new = text.clone();
        for piece in new.pieces.as_mut_slice() {
            *piece = Piece { origin, verbatim: false, own: Span { via, ..piece.own }, ..*piece };
        }
        self.spliced(range, &new)
    }

    /// The line with `range` replaced by another line, which keeps its places.
    pub(crate) fn spliced(&self, range: Range<usize>, new: &Line<'_>) -> Self {
        let mut line = Joined::with_capacity(self.text.len() + new.text.len());
        line.append(self, 0..range.start);
        line.append(new, 0..new.text.len());
        line.append(self, range.end..self.text.len());
        line.finish(self, self.marks.or(new.marks))
    }

    /// The line without its comment: from an unquoted `#` or `!` on. `\#` and `\!` lose their backslash and stay.
    pub(crate) fn without_comment(self) -> Self {
        if !self.may_hold(Marks::COMMENT) {
            return self;
        }
        let mut line = Joined::with_capacity(0);
        let (mut from, mut quoted, mut escaped) = (0, false, false);
        let mut end = self.text.len();
        for (at, byte) in self.text.iter().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'#' | b'!' if escaped && !quoted => {
                    line.append(&self, from..at - 1);
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
            return if end == self.text.len() { self } else { self.slice(0..end) };
        }
        line.append(&self, from..end);
        line.finish(&self, self.marks)
    }

    /// Whether a `"` is not closed.
    pub(crate) fn has_open_quote(&self) -> bool {
        self.may_hold(Marks::QUOTE) && self.text.iter().filter(|byte| **byte == b'"').count() % 2 == 1
    }
}

/// A line that is put together of parts of others.
struct Joined {
    text: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Joined {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), pieces: Vec::new() }
    }

    fn append(&mut self, line: &Line<'_>, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let at = self.text.len();
        self.text.extend_from_slice(line.part(range.clone()));
        let pieces = line.pieces.as_slice();
        let first = pieces.partition_point(|piece| piece.start <= range.start).saturating_sub(1);
        let inside = pieces.iter().skip(first).take_while(|piece| piece.start < range.end);
        self.pieces.extend(inside.map(|piece| {
            piece.from(range.start.saturating_sub(piece.start), at + piece.start.saturating_sub(range.start))
        }));
    }

    /// An empty line stands where `before` stood.
    fn finish<'a>(self, before: &Line<'_>, marks: Marks) -> Line<'a> {
        let pieces = match (self.pieces.is_empty(), before.pieces.as_slice().first()) {
            (true, Some(first)) => Pieces::One(*first),
            _ => Pieces::Many(self.pieces),
        };
        Line { text: Cow::Owned(self.text), pieces, marks }
    }
}

fn cut_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r')
}

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

/// Where a word stands in its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The word without its quotes.
    pub(crate) range: Range<usize>,
    /// Whether it stood in quotes.
    pub(crate) quoted: bool,
}

impl Word {
    pub(crate) fn new(line: &Line<'_>, cut: Cut) -> Self {
        let mut word = Self::default();
        word.read(line, cut);
        word
    }

    /// Makes this the word at `cut`.
    pub(crate) fn read(&mut self, line: &Line<'_>, cut: Cut) {
        let bytes = line.part(cut.range.clone());
        self.write(bytes, cut.quoted, line.span(cut.range));
    }

    /// Makes this the word at `cut`, which is `name`.
    pub(crate) fn name(&mut self, line: &Line<'_>, cut: Cut, name: &str) {
        self.span = line.span(cut.range);
        self.quoted = cut.quoted;
        self.text.clear();
        self.text.push_str(name);
        self.raw = None;
    }

    /// The word that was written as `bytes`.
    pub(crate) fn written(bytes: &[u8], quoted: bool, span: Span) -> Self {
        let mut word = Self::default();
        word.write(bytes, quoted, span);
        word
    }

    fn write(&mut self, bytes: &[u8], quoted: bool, span: Span) {
        self.span = span;
        self.quoted = quoted;
        self.text.clear();
        self.raw = None;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text.push_str(text),
            Err(_) => {
                self.text.push_str(&String::from_utf8_lossy(bytes));
                self.raw = Some(bytes.into());
            }
        }
    }

    /// The word as it was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }

    /// Bytes that are set aside for its text.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
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
pub(crate) fn parts<'l>(line: &'l Line<'_>) -> Parts<'l> {
    Parts { text: line.text(), at: 0, braces: line.may_hold(Marks::BRACE), brace: None }
}

/// The parts of one line.
#[derive(Debug)]
pub(crate) struct Parts<'l> {
    text: &'l [u8],
    at: usize,
    /// There may be braces.
    braces: bool,
    /// The brace that ended the last part.
    brace: Option<usize>,
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        loop {
            if let Some(at) = self.brace.take() {
                return Some(if self.text.get(at) == Some(&b'{') { Part::Open(at) } else { Part::Close(at) });
            }
            let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
            let start = self.at;
            let length = if self.braces { before_brace(rest) } else { rest.len() };
            self.at = start + length + 1;
            self.brace = (length < rest.len()).then_some(start + length);
            if rest.iter().take(length).any(|byte| !is_blank(*byte)) {
                return Some(Part::Text(start..start + length));
            }
        }
    }
}

/// Length of the text before the first unquoted brace.
fn before_brace(text: &[u8]) -> usize {
    let mut quoted = false;
    let brace = text.iter().position(|byte| {
        quoted ^= *byte == b'"';
        matches!(byte, b'{' | b'}') && !quoted
    });
    brace.unwrap_or(text.len())
}

/// Cuts `range` of a line at blanks and at `"`. A quoted part that touches other text is a word of its own.
pub(crate) fn words<'l>(line: &'l Line<'l>, range: Range<usize>) -> Words<'l> {
    Words { text: line.text(), at: range.start, end: range.end }
}

/// The words of a line.
#[derive(Debug)]
pub(crate) struct Words<'l> {
    text: &'l [u8],
    at: usize,
    end: usize,
}

impl Words<'_> {
    /// Where the last word ends at the latest.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// Leaves out what follows.
    pub(crate) fn end_at(&mut self, end: usize) {
        self.end = end;
    }
}

impl Iterator for Words<'_> {
    type Item = Cut;

    fn next(&mut self) -> Option<Cut> {
        let text = self.text.get(self.at..self.end)?;
        let blanks = text.iter().position(|byte| !is_blank(*byte))?;
        let (start, rest) = (self.at + blanks, text.get(blanks + 1..).unwrap_or_default());
        if text.get(blanks) == Some(&b'"') {
            let length = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
            self.at = start + length + 2;
            return Some(Cut { range: start + 1..start + 1 + length, quoted: true });
        }
        let length = 1 + rest.iter().position(|byte| is_blank(*byte) || *byte == b'"').unwrap_or(rest.len());
        self.at = start + length;
        Some(Cut { range: start..start + length, quoted: false })
    }
}

/// What a [`Token`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A word.
    Word,
    /// A word in quotes; its range leaves them out.
    Quoted,
    /// `{`.
    Open,
    /// `}`.
    Close,
}

/// A word or a brace of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// The words and braces of one file as they stand there: nothing is included or substituted, comments are left out.
///
/// ```
/// use conf_parser::{tokens, TokenKind};
/// let text = b"vrrp_instance \"VI 1\" { # the first";
/// let kinds: Vec<_> = tokens(text).map(|token| token.kind).collect();
/// assert_eq!(kinds, [TokenKind::Word, TokenKind::Quoted, TokenKind::Open]);
/// assert_eq!(&text[tokens(text).nth(1).unwrap().range], b"VI 1");
/// ```
pub fn tokens(text: &[u8]) -> impl Iterator<Item = Token> {
    PhysicalLines::new(FileId::default(), text).flat_map(|line| {
        let line = line.without_comment();
        let mut tokens = Vec::new();
        for part in parts(&line) {
            let mut add = |kind, range| {
                let span = line.span(range);
                tokens.push(Token { kind, range: span.start as usize..span.end as usize });
            };
            match part {
                Part::Open(at) => add(TokenKind::Open, at..at + 1),
                Part::Close(at) => add(TokenKind::Close, at..at + 1),
                Part::Text(range) => words(&line, range)
                    .for_each(|cut| add(if cut.quoted { TokenKind::Quoted } else { TokenKind::Word }, cut.range)),
            }
        }
        tokens
    })
}

/// Cuts `range` of a line that holds a command: `'` quotes as well as `"`, quotes may touch other text,
/// a backslash keeps the next character from ending a quote. Escapes stay for [`script_text`] to resolve.
pub(crate) fn script_words(line: &Line<'_>, range: Range<usize>) -> Vec<Cut> {
    let mut words = Vec::new();
    let mut at = range.start;
    while let Some(byte) = line.part(at..range.end).first().copied() {
        if is_blank(byte) {
            at += 1;
            continue;
        }
        let end = at + script_word_len(line.part(at..range.end));
        let inner = line.part(at..end);
        let quoted = is_quoted(inner);
        words.push(Cut { range: if quoted { at + 1..end - 1 } else { at..end }, quoted });
        at = end;
    }
    words
}

/// Whether a word consists of one quoted part.
fn is_quoted(word: &[u8]) -> bool {
    let Some((quote @ (b'"' | b'\''), inner)) = word.split_first() else { return false };
    let mut escaped = false;
    let end = inner.iter().position(|byte| {
        let ends = !escaped && byte == quote;
        escaped = !escaped && *byte == b'\\';
        ends
    });
    end.is_some_and(|end| end + 1 == inner.len())
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

/// Why a command cannot be cut into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// This quote is not closed.
    Quote(char),
    /// It ends with a backslash.
    Escape,
}

/// Cuts a command into its words and resolves quotes and escapes:
/// `\a \b \E \f \n \r \t \v`, `\ooo`, `\xHH`, `\cC`; before any other character the backslash goes.
/// A quote with nothing after it is an empty word.
pub(crate) fn command(text: &str) -> Result<Vec<String>, Unfinished> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (quote, *byte) {
            (_, b'\\') if rest.is_empty() => return Err(Unfinished::Escape),
            (_, b'\\') => {
                let (value, after) = escape(rest);
                word.get_or_insert_default().extend(value);
                rest = after;
            }
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(*byte).filter(|_| !rest.is_empty());
                word.get_or_insert_default();
            }
            (None, byte) if is_blank(byte) => words.extend(word.take()),
            (_, byte) => word.get_or_insert_default().push(byte),
        }
    }
    if let Some(open) = quote {
        return Err(Unfinished::Quote(char::from(open)));
    }
    words.extend(word);
    Ok(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
}

/// What a word of [`script_words`] stands for: quotes and escapes are resolved as in [`command`].
pub(crate) fn script_text(word: &Word) -> String {
    let mut out = Vec::with_capacity(word.text.len());
    let mut quote = None;
    let mut rest = word.text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (quote, *byte) {
            (_, b'\\') => {
                let (value, after) = escape(rest);
                out.extend(value);
                rest = after;
            }
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'\'') if !word.quoted => quote = Some(*byte),
            (_, byte) => out.push(byte),
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
    use crate::source::Sources;

    /// Some use of some definition.
    fn a_use() -> Via {
        let mut sources = Sources::default();
        let definition = sources.define("A", None);
        sources.expand(definition, 0, Span::default())
    }

    fn line(text: &str) -> Line<'_> {
        Line::new(text.as_bytes(), Span::new(FileId(0), 100, 100 + text.len()))
    }

    fn texts(line: &Line<'_>, words: impl IntoIterator<Item = Cut>) -> Vec<String> {
        words.into_iter().map(|cut| Word::new(line, cut).text).collect()
    }

    fn cut(text: &str) -> Vec<String> {
        let line = line(text);
        texts(&line, words(&line, 0..text.len()))
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
        let places: Vec<_> =
            words(&line, 0..10).map(|cut| Word::new(&line, cut)).map(|word| (word.span.start, word.span.end)).collect();
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
        let value = Line::new(b"long value", Span::new(FileId(0), 7, 17));
        let via = a_use();
        let replaced = line("x ${A} y").replaced(2..6, &value, via);
        assert_eq!(replaced.text(), b"x long value y");
        assert_eq!(replaced.span(2..6), Span { via, ..Span::new(FileId(0), 102, 106) });
        assert_eq!(replaced.own_span(7..12), Span { via, ..Span::new(FileId(0), 12, 17) });
        assert_eq!(replaced.span(13..14), Span::new(FileId(0), 107, 108));
        assert_eq!(replaced.slice(13..14).whole(), Span::new(FileId(0), 107, 108));
        assert_eq!(replaced.replaced(2..12, &line(""), via).text(), b"x  y");
    }

    #[test]
    fn braces_part_a_line() {
        let line = line(r#"a b { "{" c } d"#);
        assert_eq!(
            parts(&line).collect::<Vec<_>>(),
            [Part::Text(0..4), Part::Open(4), Part::Text(5..12), Part::Close(12), Part::Text(13..15)]
        );
    }

    #[test]
    fn commands_quote_and_escape() {
        let words = |text| command(text).unwrap();
        assert_eq!(words(r"/bin/x 'a b' c\ d"), ["/bin/x", "a b", "c d"]);
        assert_eq!(words(r#"x "a"'b' "" \x41\102\cA\t"#), ["x", "ab", "", "AB\u{1}\t"]);
        assert_eq!(words("  "), [""; 0]);
        assert_eq!(words("a '"), ["a", ""]);
        assert_eq!(command(r"a b\"), Err(Unfinished::Escape));
        assert_eq!(command("a 'b"), Err(Unfinished::Quote('\'')));
        assert_eq!(command("\"a' 'b"), Err(Unfinished::Quote('"')));
    }

    #[test]
    fn script_lines_know_both_quotes() {
        let line = line(r#""/x 'a b'" user 'one two'"#);
        assert_eq!(texts(&line, script_words(&line, 0..line.text().len())), ["/x 'a b'", "user", "one two"]);
    }

    #[test]
    fn quotes_and_escapes_of_a_script_line() {
        let text = |text: &str| {
            let line = line(text);
            let words = script_words(&line, 0..text.len());
            words.into_iter().map(|cut| script_text(&Word::new(&line, cut))).collect::<Vec<_>>()
        };
        assert_eq!(text(r#"\"/bin/x 1\""#), ["\"/bin/x", "1\""]);
        assert_eq!(text(r#""a"' b'"c" "d' \"e""#), ["a bc", "d' \"e"]);
        assert_eq!(text(r#"a\ b "\x5cx41" "c\""#), ["a b", r"\x41", "c\""]);
    }

    #[test]
    fn raw_bytes_are_kept() {
        let line = Line::new(b"p\xe9", Span::new(FileId(0), 0, 2));
        let word = Word::new(&line, words(&line, 0..2).next().unwrap());
        assert_eq!(word.text, "p\u{fffd}");
        assert_eq!(word.bytes(), b"p\xe9");
    }
}
