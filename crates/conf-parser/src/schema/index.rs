//! Where each word and block stands in the table, worked out when this is compiled: nothing of the table is read that
//! is not asked for.
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "worked out when it is compiled, which ends where an index or a number is too large"
)]
#![allow(long_running_const_eval, reason = "the table has 170,000 bytes")]

use super::{BlockId, Kind, TABLE};

/// Rows of the table.
pub(super) const ROWS: usize = count_rows();

/// Room for blocks.
const BLOCKS: usize = 256;

/// Slots for the words, and for the paths of blocks: powers of two, so large that most words are found at once.
const WORD_SLOTS: usize = 4096;
const PATH_SLOTS: usize = 1024;

/// A slot with nothing in it.
const FREE: u16 = u16::MAX;

/// A part of the table: from this byte on, so many.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    length: u16,
}

impl Part {
    const NONE: Self = Self { start: 0, length: 0 };

    fn text(self) -> &'static str {
        let start = self.start as usize;
        TABLE.get(start..start + usize::from(self.length)).unwrap_or_default()
    }
}

/// What is known of a row without reading it.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    block: Part,
    keyword: Part,
    line: Part,
    pub(super) kind: Kind,
    /// The block that it stands in.
    pub(super) inside: BlockId,
    /// The block that it opens.
    pub(super) opens: BlockId,
}

impl Entry {
    pub(super) const NONE: Self = Self {
        block: Part::NONE,
        keyword: Part::NONE,
        line: Part::NONE,
        kind: Kind::Syntax,
        inside: BlockId(0),
        opens: BlockId(0),
    };

    pub(super) fn block(&self) -> &'static str {
        self.block.text()
    }

    pub(super) fn keyword(&self) -> &'static str {
        self.keyword.text()
    }

    pub(super) fn line(&self) -> &'static str {
        self.line.text()
    }

    pub(super) fn starts_lines(&self) -> bool {
        matches!(self.kind, Kind::Block | Kind::Keyword)
    }
}

/// What rows have in common that stand in one block.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Its path; where there is a last word, that of the block around it.
    path: Part,
    last: Option<Part>,
    hash: u64,
    /// Whether a row opens it.
    pub(super) opened: bool,
    /// Whether words start lines in it; the lines of other blocks are lists of values.
    pub(super) keywords: bool,
}

impl Block {
    const NONE: Self = Self { path: Part::NONE, last: None, hash: 0, opened: false, keywords: false };

    pub(super) fn path(&self) -> String {
        match self.last {
            None => self.path.text().to_owned(),
            Some(last) if self.path.length == 0 => last.text().to_owned(),
            Some(last) => format!("{}/{}", self.path.text(), last.text()),
        }
    }

    fn is(&self, path: &str) -> bool {
        match self.last {
            None => self.path.text() == path,
            Some(last) => path.rsplit_once('/').unwrap_or(("", path)) == (self.path.text(), last.text()),
        }
    }
}

pub(super) struct Index {
    rows: [Entry; ROWS],
    blocks: [Block; BLOCKS],
    words: [u16; WORD_SLOTS],
    paths: [u16; PATH_SLOTS],
}

pub(super) static INDEX: Index = Index::read();

impl Index {
    pub(super) fn rows(&self) -> &[Entry] {
        &self.rows
    }

    pub(super) fn row(&self, number: u16) -> Option<&Entry> {
        self.rows.get(usize::from(number))
    }

    pub(super) fn block(&self, block: BlockId) -> &Block {
        self.blocks.get(usize::from(block.0)).unwrap_or(&Block::NONE)
    }

    /// The number of the row of `keyword` in `block`.
    pub(super) fn find(&self, block: BlockId, keyword: &[u8]) -> Option<u16> {
        let mut slot = word_hash(block, keyword);
        loop {
            let number = *self.words.get(slot % WORD_SLOTS)?;
            let row = self.row(number)?;
            if row.inside == block && row.keyword().as_bytes() == keyword {
                return Some(number);
            }
            slot += 1;
        }
    }

    /// The block at `path`.
    pub(super) fn block_at(&self, path: &str) -> Option<BlockId> {
        let hash = hash(START, path.as_bytes());
        let mut slot = hash as usize;
        loop {
            let number = *self.paths.get(slot % PATH_SLOTS)?;
            let block = self.blocks.get(usize::from(number))?;
            if block.hash == hash && block.is(path) {
                return Some(BlockId(number));
            }
            slot += 1;
        }
    }

    const fn read() -> Self {
        let mut index = Self {
            rows: [Entry::NONE; ROWS],
            blocks: [Block::NONE; BLOCKS],
            words: [FREE; WORD_SLOTS],
            paths: [FREE; PATH_SLOTS],
        };
        // The top level.
        let mut count = 0;
        index.block_numbered(&mut count, Block::NONE);
        let mut at = line_end(0) + 1;
        let mut number = 0;
        while number < ROWS {
            let mut row = read_entry(at);
            at = row.line.start as usize + row.line.length as usize + 1;
            row.inside = index.block_numbered(&mut count, Block { path: row.block, ..Block::NONE });
            index.blocks[row.inside.0 as usize].keywords |= matches!(row.kind, Kind::Block | Kind::Keyword);
            if matches!(row.kind, Kind::Block) {
                let inner = Block { path: row.block, last: Some(row.keyword), ..Block::NONE };
                row.opens = index.block_numbered(&mut count, inner);
                index.blocks[row.opens.0 as usize].opened = true;
            }
            let (_, rest) = TABLE.as_bytes().split_at(row.keyword.start as usize);
            let (keyword, _) = rest.split_at(row.keyword.length as usize);
            let mut slot = word_hash(row.inside, keyword);
            while index.words[slot % WORD_SLOTS] != FREE {
                slot += 1;
            }
            index.words[slot % WORD_SLOTS] = number as u16;
            index.rows[number] = row;
            number += 1;
        }
        index
    }

    /// The number of a block, new or known.
    const fn block_numbered(&mut self, count: &mut usize, block: Block) -> BlockId {
        let hash = path_hash(&block);
        let mut slot = hash as usize % PATH_SLOTS;
        while self.paths[slot] != FREE {
            if self.blocks[self.paths[slot] as usize].hash == hash {
                if block.last.is_none() {
                    // Its path stands in the table as a whole: nothing is to be put together.
                    let known = &mut self.blocks[self.paths[slot] as usize];
                    (known.path, known.last) = (block.path, None);
                }
                return BlockId(self.paths[slot]);
            }
            slot = (slot + 1) % PATH_SLOTS;
        }
        self.paths[slot] = *count as u16;
        self.blocks[*count] = Block { hash, ..block };
        *count += 1;
        BlockId(self.paths[slot])
    }
}

const fn count_rows() -> usize {
    let mut rows = 0;
    // The first line names the columns.
    let mut at = line_end(0) + 1;
    while at < TABLE.len() {
        at = line_end(at) + 1;
        rows += 1;
    }
    rows
}

const fn line_end(from: usize) -> usize {
    end_of(from, b'\n')
}

/// Where the next `sign` stands, or the end of the table.
const fn end_of(from: usize, sign: u8) -> usize {
    let bytes = TABLE.as_bytes();
    let mut at = from;
    while at < bytes.len() && bytes[at] != sign {
        at += 1;
    }
    at
}

const fn part(start: usize, end: usize) -> Part {
    assert!(end - start < u16::MAX as usize);
    Part { start: start as u32, length: (end - start) as u16 }
}

/// The row whose line starts here, without the blocks.
const fn read_entry(start: usize) -> Entry {
    let block = end_of(start, b'\t');
    let keyword = end_of(block + 1, b'\t');
    let kind = match TABLE.as_bytes()[keyword + 1] {
        b'b' => Kind::Block,
        b'k' => Kind::Keyword,
        b'o' => Kind::Option,
        _ => Kind::Syntax,
    };
    Entry {
        block: part(start, block),
        keyword: part(block + 1, keyword),
        line: part(start, line_end(keyword)),
        kind,
        ..Entry::NONE
    }
}

/// Where a hash begins.
const START: u64 = 0xcbf2_9ce4_8422_2325;

/// Eight bytes at a time, each time as in FxHash; the bytes left over are one more such word.
const fn hash(start: u64, bytes: &[u8]) -> u64 {
    let (mut hash, mut rest) = (start, bytes);
    while let Some((word, after)) = rest.split_first_chunk() {
        hash = mixed(hash, u64::from_le_bytes(*word));
        rest = after;
    }
    let mut word = 0;
    while let Some((byte, after)) = rest.split_first() {
        word = word << 8 | *byte as u64;
        rest = after;
    }
    mixed(hash, word)
}

const fn mixed(hash: u64, word: u64) -> u64 {
    let mixed = (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    mixed ^ mixed >> 32
}

/// The hash of the path of a block.
const fn path_hash(block: &Block) -> u64 {
    let mut path = [0; 256];
    let mut length = copied(&mut path, 0, block.path);
    if let Some(last) = block.last {
        if length > 0 {
            path[length] = b'/';
            length += 1;
        }
        length = copied(&mut path, length, last);
    }
    hash(START, path.split_at(length).0)
}

/// Copies a part of the table to `at`; where it ends there.
const fn copied(to: &mut [u8; 256], at: usize, part: Part) -> usize {
    let mut length = 0;
    while length < part.length as usize {
        to[at + length] = TABLE.as_bytes()[part.start as usize + length];
        length += 1;
    }
    at + length
}

const fn word_hash(block: BlockId, keyword: &[u8]) -> usize {
    hash(START ^ block.0 as u64, keyword) as usize
}
