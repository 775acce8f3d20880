//! The lines of a block. Those of a giant block are packed: they take little more than what was written.

use std::borrow::Cow;

use super::Statement;
use crate::lexer::Word;
use crate::schema::{BlockId, schema};
use crate::source::{FileId, Span, Via};

/// What stands in the braces of a block, in the order of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body(Vec<Chunk>);

#[derive(Debug, Clone)]
enum Chunk {
    /// One line, or one block.
    Loose(Statement),
    /// Several, as [`Packed::push`] writes them.
    Packed(Packed),
}

/// Packed bytes above which a block stays where it is when it becomes a line of the block around it.
const LARGE: usize = 4096;

impl Body {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lines that there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Adds a line as it is.
    pub(super) fn push(&mut self, line: Statement) {
        self.0.push(Chunk::Loose(line));
    }

    /// Adds a line in few bytes; it comes back where that is not worth it.
    pub(super) fn pack(&mut self, line: Statement) -> Option<Statement> {
        if line.body.0.iter().any(|chunk| matches!(chunk, Chunk::Packed(packed) if packed.0.len() > LARGE)) {
            self.push(line);
            return None;
        }
        if let Some(Chunk::Packed(packed)) = self.0.last_mut() {
            packed.push(&line);
        } else {
            let mut packed = Packed::default();
            packed.push(&line);
            self.0.push(Chunk::Packed(packed));
        }
        Some(line)
    }

    /// Takes out the last line that is not packed, and forgets what is packed behind it.
    pub(super) fn pop(&mut self) -> Option<Statement> {
        loop {
            if let Chunk::Loose(line) = self.0.pop()? {
                return Some(line);
            }
        }
    }

    /// The lines and blocks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Cow<'_, Statement>> {
        self.0.iter().flat_map(|chunk| {
            let (loose, packed) = match chunk {
                Chunk::Loose(line) => (Some(line), None),
                Chunk::Packed(packed) => (None, Some(packed)),
            };
            loose.map(Cow::Borrowed).into_iter().chain(packed.into_iter().flat_map(Packed::iter).map(Cow::Owned))
        })
    }
}

/// Lines one after the other, their numbers in LEB128: block and count of words, the words, and the length of the body,
/// which again is packed lines.
#[derive(Debug, Clone, Default)]
struct Packed(Vec<u8>);

/// The first byte of a word: it stood in quotes.
const QUOTED: u8 = 1;
/// The first byte of a word: it stands behind the one before it, in the same file and byte by byte. Before the first
/// word of a line that is the start of the main file.
const NEAR: u8 = 2;

impl Packed {
    fn push(&mut self, line: &Statement) {
        let block = line.row.map_or(0, |row| 1 + u64::from(row.inside().number()));
        self.number(block);
        self.length(line.arguments.len());
        let mut last = Span::default();
        for word in line.words() {
            self.word(word, last);
            last = word.span;
        }
        let mut body = Self::default();
        for chunk in &line.body.0 {
            match chunk {
                Chunk::Loose(line) => body.push(line),
                Chunk::Packed(packed) => body.0.extend_from_slice(&packed.0),
            }
        }
        self.bytes(&body.0);
    }

    fn word(&mut self, word: &Word, last: Span) {
        let (bytes, span) = (word.bytes(), word.span);
        let verbatim = usize::try_from(span.end.saturating_sub(span.start)) == Ok(bytes.len());
        let near = (span.file, span.via) == (last.file, last.via) && span.start >= last.end && verbatim;
        self.0.push(if word.quoted { QUOTED } else { 0 } | if near { NEAR } else { 0 });
        if near {
            self.number((span.start - last.end).into());
        } else {
            for part in [span.file.0, span.start, span.end, span.via.number()] {
                self.number(part.into());
            }
        }
        self.bytes(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn length(&mut self, length: usize) {
        self.number(u64::try_from(length).unwrap_or(u64::MAX));
    }

    fn number(&mut self, number: u64) {
        let mut rest = number;
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    fn iter(&self) -> Lines<'_> {
        Lines(&self.0)
    }
}

/// The lines of a [`Packed`].
#[derive(Debug)]
struct Lines<'a>(&'a [u8]);

impl Iterator for Lines<'_> {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        if self.0.is_empty() {
            return None;
        }
        let block = self.number().checked_sub(1).and_then(|block| u16::try_from(block).ok());
        let arguments = self.length();
        let mut line = Statement { keyword: self.word(Span::default()), ..Statement::default() };
        line.row =
            block.and_then(|block| schema().statement_in(BlockId::numbered(block), line.keyword.text.as_bytes()));
        let mut last = line.keyword.span;
        for _ in 0..arguments {
            let word = self.word(last);
            last = word.span;
            line.arguments.push(word);
        }
        let body = self.bytes();
        if !body.is_empty() {
            line.body.0.push(Chunk::Packed(Packed(body.to_vec())));
        }
        Some(line)
    }
}

impl<'a> Lines<'a> {
    fn word(&mut self, last: Span) -> Word {
        let head = self.take(1).first().copied().unwrap_or_default();
        let span = if head & NEAR == 0 {
            let [file, start, end, via] = [(); 4].map(|()| self.number());
            Span { file: FileId(file), start, end, via: Via::numbered(via) }
        } else {
            Span { start: last.end.saturating_add(self.number()), ..last }
        };
        let bytes = self.bytes();
        let end = span.start.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let span = if head & NEAR == 0 { span } else { Span { end, ..span } };
        Word::written(bytes, head & QUOTED != 0, span)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.length();
        self.take(length)
    }

    fn number(&mut self) -> u32 {
        u32::try_from(self.length()).unwrap_or(u32::MAX)
    }

    fn length(&mut self) -> usize {
        let mut number = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.take(1).first().copied().unwrap_or_default();
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::{Cut, Line};

    fn word(text: &[u8], quoted: bool, span: Span) -> Word {
        let mut word = Word::new(&Line::new(text, span), Cut { range: 0..text.len(), quoted });
        word.span = span;
        word
    }

    #[test]
    fn packed_lines_come_back() {
        let at = |start, end| Span::new(FileId(0), start, end);
        let weight = schema().lookup("virtual_server/real_server", "weight");
        let server = schema().lookup("virtual_server", "real_server");
        let elsewhere = Span { file: FileId(3), start: 9, end: 9, via: Via::numbered(200) };
        let lines = [
            Statement { keyword: word(b"192.0.2.1", false, at(70_000, 70_009)), ..Statement::default() },
            Statement {
                keyword: word(b"weight", false, at(5, 11)),
                arguments: vec![
                    word(b"\xff b", true, at(13, 16)),
                    word(b"", true, elsewhere),
                    word(b"7", false, at(1, 2)),
                ],
                row: weight,
                ..Statement::default()
            },
        ];
        let mut inner = Body::default();
        let mut packed = Body::default();
        for line in &lines {
            inner.push(line.clone());
            assert!(packed.pack(line.clone()).is_some());
        }
        let block = Statement {
            keyword: word(b"real_server", false, at(3, 14)),
            row: server,
            body: inner,
            ..Statement::default()
        };
        assert!(packed.pack(block.clone()).is_some());
        let shown = |body: &Body| -> Vec<_> { body.iter().map(|line| line.into_owned()).collect() };
        let back = shown(&packed);
        for (line, back) in lines.iter().chain([&block]).zip(&back) {
            assert_eq!((&line.keyword, &line.arguments), (&back.keyword, &back.arguments));
            assert_eq!(line.row.map(std::ptr::from_ref), back.row.map(std::ptr::from_ref));
        }
        let inside = back.last().map(|block| shown(&block.body)).unwrap_or_default();
        assert_eq!(
            inside.iter().map(|line| &line.keyword).collect::<Vec<_>>(),
            lines.iter().map(|line| &line.keyword).collect::<Vec<_>>()
        );
    }
}
