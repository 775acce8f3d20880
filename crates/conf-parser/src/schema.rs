//! Every word of the language as a table: blocks, keywords, their options, defaults and ranges.
//!
//! The table itself is `schema/keywords.tsv`, one row per word, tab-separated:
//!
//! | column | holds |
//! |---|---|
//! | block | path of the block, or of the keyword whose line an option belongs to; empty = top level, `syntax` = everywhere |
//! | keyword | the word; in angle brackets a value that has no word of its own |
//! | kind | `block`, `keyword`, `option` or `syntax` |
//! | words | how many words must follow on the line |
//! | arguments | what follows: `<x>` a value, `[x]` may be left out, `a\|b` one of them, `...` may repeat |
//! | default | what holds when the word is absent; the name of another keyword means its value |
//! | range | unit, range (both ends included), conditions |
//! | area | `global`, `vrrp`, `lvs`, `bfd`, `script`, `snmp`, `dbus` or `process` |
//! | since | first keepalived release with it where later than 2.2.7; `keepalived-rs` for a word of our own |
//! | worker | the process that acts on it; `not yet` for none |
//! | shown by | the test that shows it; for `not yet` what leaving it out can do: `none` or `traffic` |
//! | doc | one line of explanation |

pub(crate) mod default;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

static TABLE: &str = include_str!("schema/keywords.tsv");

/// How many rows to make room for.
const ROWS: usize = 1200;

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::read);

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Opens a braced body.
    Block,
    /// Starts a line in its block.
    Keyword,
    /// A word or value inside such a line, or a line of a list.
    Option,
    /// Part of the line syntax.
    Syntax,
}

/// Whether the typed configuration carries a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Support {
    /// It is typed and acted on.
    Acted,
    /// It is not acted on, which traffic does not notice.
    None,
    /// It is not acted on, which can change who is active, where packets go, or what counts as up.
    Traffic,
}

/// One word of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Row {
    /// Path of the block that it stands in; empty = top level, `syntax` = everywhere.
    pub block: &'static str,
    /// The word; in angle brackets a value that has no word of its own.
    pub keyword: &'static str,
    /// What it is.
    pub kind: Kind,
    /// How many words must follow on the line.
    pub words: usize,
    /// What follows.
    pub arguments: &'static str,
    /// What holds when it is absent.
    pub default: &'static str,
    /// Unit, range and conditions.
    pub range: &'static str,
    /// The part of the program that it concerns.
    pub area: &'static str,
    /// First keepalived release with it where later than 2.2.7.
    pub since: &'static str,
    /// Whether it is acted on.
    pub support: Support,
    /// The process that acts on it: `reader`, `supervisor`, `vrrp`, `checker` or `runner`; `not yet` for none.
    pub worker: &'static str,
    /// The test that shows it, for a word that is acted on.
    pub shown_by: &'static str,
    /// One line of explanation.
    pub doc: &'static str,
    /// The unit of its number.
    pub unit: Unit,
    /// The numbers that it takes, both ends included, in millionths.
    pub bounds: Option<(i128, i128)>,
    /// Its place in the table, or that of the word that it is another name of.
    pub(crate) number: u16,
    /// The block that it stands in.
    inside: BlockId,
    /// The block that it opens.
    opens: BlockId,
    script: bool,
    /// How many words after it are read at most, where that is told: 0 or 1.
    pub(crate) most: Option<u8>,
}

/// A block, or a keyword with options, by number; the default is the top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct BlockId(u16);

impl BlockId {
    pub(crate) fn number(self) -> u16 {
        self.0
    }

    pub(crate) fn numbered(number: u16) -> Self {
        Self(number)
    }
}

/// The unit of a number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// A plain number.
    None,
}

impl Row {
    fn starts_lines(&self) -> bool {
        matches!(self.kind, Kind::Block | Kind::Keyword)
    }

    /// Path of the block that this word opens.
    pub fn path(&self) -> String {
        if self.block.is_empty() { self.keyword.to_owned() } else { format!("{}/{}", self.block, self.keyword) }
    }

    /// The block that it stands in.
    pub(crate) fn inside(&self) -> BlockId {
        self.inside
    }

    /// The block that it opens.
    pub(crate) fn opens(&self) -> BlockId {
        self.opens
    }

    /// Whether it takes `on` or `off`; a word that takes nothing is there or not.
    pub fn takes_switch(&self) -> bool {
        self.arguments.contains("<bool>") || self.arguments.contains("on|off")
    }

    /// Whether its line or block may stand several times in one block, each of them counting.
    pub fn repeats(&self) -> bool {
        let named = self.kind == Kind::Block && !self.arguments.starts_with('{');
        named || self.range.split("; ").any(|part| part == "repeatable") || self.keyword == "garp_group"
    }

    /// Whether it takes nothing: it is there or not.
    pub fn is_flag(&self) -> bool {
        self.kind != Kind::Block && (self.arguments.is_empty() || self.takes_switch())
    }

    /// Whether its value is a command line, which is cut by richer rules than other lines.
    pub fn is_script(&self) -> bool {
        self.script
    }
}

/// The table.
#[derive(Debug)]
pub struct Schema {
    rows: Vec<Row>,
    index: HashMap<(BlockId, &'static str), u16, Fast>,
    blocks: Vec<Block>,
    ids: HashMap<String, BlockId, Fast>,
}

/// What rows have in common that stand in one block.
#[derive(Debug, Default)]
struct Block {
    path: String,
    /// Whether a row opens it.
    opened: bool,
    /// Whether words start lines in it; the lines of other blocks are lists of values.
    keywords: bool,
}

type Fast = BuildHasherDefault<FastHasher>;

/// Hashes the words of the table, which are fixed: what is looked up cannot make them collide.
#[derive(Debug, Default)]
struct FastHasher(u64);

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, word: u64) {
        // The multiplier of FxHash spreads a word over the upper bits, which the rotation brings down.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

/// The table of every word.
pub fn schema() -> &'static Schema {
    &SCHEMA
}

impl Schema {
    fn read() -> Self {
        let rows = Vec::with_capacity(ROWS);
        let index = HashMap::with_capacity_and_hasher(ROWS, Fast::default());
        let mut schema = Self { rows, index, blocks: vec![Block::default()], ids: HashMap::default() };
        schema.ids.insert(String::new(), BlockId::default());
        for line in TABLE.lines().filter(|line| !line.starts_with("# block")) {
            schema.add(line);
        }
        for row in &mut schema.rows {
            row.most = most_words(row).filter(|_| !schema.ids.contains_key(&row.path()));
        }
        for at in 0..schema.rows.len() {
            let original = schema.rows.get(at).and_then(|row| schema.original(row));
            let original = original.map(|row| (row.number, row.unit, row.bounds));
            if let (Some((number, unit, bounds)), Some(row)) = (original, schema.rows.get_mut(at)) {
                row.number = number;
                if row.range.is_empty() {
                    (row.unit, row.bounds) = (unit, bounds);
                }
            }
        }
        schema
    }

    fn add(&mut self, line: &'static str) {
        let mut row = read_row(line);
        row.number = u16::try_from(self.rows.len()).unwrap_or(u16::MAX);
        row.inside = match self.rows.last() {
            Some(last) if last.block == row.block => last.inside,
            _ => self.block(row.block),
        };
        if row.kind == Kind::Block {
            row.opens = self.block(&row.path());
        }
        if let Some(block) = self.blocks.get_mut(usize::from(row.opens.0)).filter(|_| row.kind == Kind::Block) {
            block.opened = true;
        }
        if let Some(block) = self.blocks.get_mut(usize::from(row.inside.0)) {
            block.keywords |= row.starts_lines();
        }
        self.index.insert((row.inside, row.keyword), row.number);
        self.rows.push(row);
    }

    /// The block at `path`, new or known.
    fn block(&mut self, path: &str) -> BlockId {
        if let Some(id) = self.ids.get(path) {
            return *id;
        }
        let id = BlockId(u16::try_from(self.blocks.len()).unwrap_or(u16::MAX));
        self.blocks.push(Block { path: path.to_owned(), ..Block::default() });
        self.ids.insert(path.to_owned(), id);
        id
    }

    /// The row of the word that `row` is another name of.
    pub(crate) fn original(&self, row: &Row) -> Option<&Row> {
        let name = row.doc.strip_prefix("alias of ")?.split([',', ' ']).next()?;
        self.row(row.inside, name)
    }

    /// Every row, grouped by block.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The place in the table of a row, or of the word that it is another name of.
    pub(crate) fn number(&self, row: &Row) -> u16 {
        row.number
    }

    /// The row of `keyword` in `block`.
    pub fn lookup(&self, block: &str, keyword: &str) -> Option<&Row> {
        self.row(*self.ids.get(block)?, keyword)
    }

    fn row(&self, block: BlockId, keyword: &str) -> Option<&Row> {
        self.index.get(&(block, keyword)).and_then(|at| self.rows.get(usize::from(*at)))
    }

    /// The row of a word that starts a line in `block`.
    pub(crate) fn statement(&self, block: &str, keyword: &str) -> Option<&Row> {
        self.statement_in(*self.ids.get(block)?, keyword)
    }

    /// The row of a word that starts a line in the block with this number.
    pub(crate) fn statement_in(&self, block: BlockId, keyword: &str) -> Option<&Row> {
        self.row(block, keyword).filter(|row| row.starts_lines())
    }

    /// The path of a block.
    pub(crate) fn path(&self, block: BlockId) -> &str {
        self.blocks.get(usize::from(block.0)).map_or("", |block| block.path.as_str())
    }

    /// Whether the lines of the block at `path` are values, such as addresses, not keywords.
    pub fn is_list(&self, path: &str) -> bool {
        self.ids.get(path).is_some_and(|block| self.is_list_in(*block))
    }

    /// [`is_list`](Self::is_list) of the block with this number.
    pub(crate) fn is_list_in(&self, block: BlockId) -> bool {
        self.blocks.get(usize::from(block.0)).is_some_and(|block| block.opened && !block.keywords)
    }

    /// The words that may start a line in `block`.
    pub fn words(&self, block: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.block == block && row.starts_lines())
    }

    /// The blocks in which `keyword` may start a line.
    pub fn homes(&self, keyword: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.keyword == keyword && row.starts_lines())
    }

    /// The word of `block` that another block's `word` is an old name of.
    pub(crate) fn alias(&self, block: &str, word: &str) -> Option<&'static str> {
        let names = self.homes(word).filter_map(|row| row.doc.strip_prefix("alias of ")?.split([',', ' ']).next());
        names.filter_map(|name| self.statement(block, name)).map(|row| row.keyword).next()
    }

    /// The word of `block` that is written most like `word`, if any is close enough to be meant.
    pub fn nearest(&self, block: &str, word: &str) -> Option<&'static str> {
        nearest(word, self.words(block).map(|row| row.keyword))
    }
}

/// The candidate most like `word`, if it is close enough to be meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let score = |candidate: &str| strsim::jaro_winkler(&word.to_ascii_lowercase(), &candidate.to_ascii_lowercase());
    let best = candidates.map(|candidate| (score(candidate), candidate)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= 0.85).map(|(_, candidate)| candidate)
}

fn read_row(line: &'static str) -> Row {
    let mut fields = line.split('\t');
    let mut next = || fields.next().unwrap_or_default();
    let mut row = Row {
        block: next(),
        keyword: next(),
        kind: match next() {
            "block" => Kind::Block,
            "keyword" => Kind::Keyword,
            "option" => Kind::Option,
            _ => Kind::Syntax,
        },
        words: next().parse().unwrap_or(0),
        arguments: next(),
        default: next(),
        range: next(),
        area: next(),
        since: next(),
        support: Support::Acted,
        worker: next(),
        shown_by: next(),
        doc: next(),
        unit: Unit::None,
        bounds: None,
        number: 0,
        inside: BlockId::default(),
        opens: BlockId::default(),
        script: false,
        most: None,
    };
    if row.worker == "not yet" {
        row.support = if row.shown_by == "none" { Support::None } else { Support::Traffic };
        row.shown_by = "";
    }
    row.script = row.arguments.contains("<script>") || row.keyword == "regex";
    if row.range.is_empty() {
        return row;
    }
    let parts = || row.range.split("; ");
    row.unit = parts().find_map(unit).unwrap_or(Unit::None);
    row.bounds = parts().flat_map(|part| part.split([' ', ',']).map(move |word| (part, word))).find_map(bounds);
    row
}

/// How many words after a keyword are read at most, by its arguments: nothing or one value; others are lists.
fn most_words(row: &Row) -> Option<u8> {
    match row.arguments {
        _ if row.kind != Kind::Keyword || row.script => None,
        "" => Some(0),
        arguments => Some(1).filter(|_| !arguments.contains(' ')),
    }
}

/// `s`, or `s, us resolution`.
fn unit(part: &str) -> Option<Unit> {
    match part.split([' ', ',']).next() {
        Some("s") => Some(Unit::Seconds),
        Some("ms") => Some(Unit::Milliseconds),
        Some("us") => Some(Unit::Microseconds),
        _ => None,
    }
}

/// `LEAST..MOST`, or `LEAST and up`, in millionths.
fn bounds((part, word): (&str, &str)) -> Option<(i128, i128)> {
    match word.split_once("..") {
        Some((least, most)) => Some((millionths(least)?, millionths(most)?)),
        None => Some((millionths(part.strip_suffix(" and up").filter(|least| *least == word)?)?, i128::MAX)),
    }
}

/// A decimal number in millionths; six places at most.
fn millionths(text: &str) -> Option<i128> {
    let (digits, sign) = text.strip_prefix('-').map_or((text, 1), |digits| (digits, -1));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction: i128 = format!("{fraction:0<6}").parse().ok().filter(|_| fraction.len() <= 6)?;
    Some(sign * (whole.parse::<i128>().ok()? * 1_000_000 + fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_well_formed() {
        let lines: Vec<_> = TABLE.lines().skip(1).collect();
        assert_eq!(lines.len(), 1115);
        for line in lines {
            let fields: Vec<_> = line.split('\t').collect();
            assert_eq!(fields.len(), 12, "{line}");
            assert!(["block", "keyword", "option", "syntax"].contains(&fields[2]), "{line}");
            assert!(fields[3].parse::<usize>().is_ok(), "{line}");
            let shown_by = fields[10];
            match fields[9] {
                "not yet" => assert!(["none", "traffic"].contains(&shown_by), "{line}"),
                worker => assert!(
                    ["reader", "supervisor", "vrrp", "checker", "runner"].contains(&worker) && shown_by.contains('_')
                        || ["integers", "times"].contains(&shown_by),
                    "{line}"
                ),
            }
            assert!(!fields[11].is_empty(), "{line}");
        }
    }

    #[test]
    fn no_word_is_listed_twice() {
        assert_eq!(schema().index.len(), schema().rows().len());
    }

    #[test]
    fn every_block_path_leads_to_a_block() {
        for row in schema()
            .rows()
            .iter()
            .filter(|row| !row.block.is_empty() && row.kind != Kind::Option && row.kind != Kind::Syntax)
        {
            assert!(schema().blocks[usize::from(row.inside.0)].opened, "{}", row.block);
        }
    }

    #[test]
    fn lists_are_told_from_blocks_of_keywords() {
        assert!(schema().is_list("vrrp_instance/virtual_ipaddress"));
        assert!(schema().is_list("virtual_server_group"));
        assert!(schema().is_list("global_defs/notification_email"));
        assert!(!schema().is_list("vrrp_instance"));
        assert!(!schema().is_list("virtual_server/real_server/HTTP_GET/url"));
    }

    #[test]
    fn units_and_bounds_are_those_of_the_text() {
        let row = |block, keyword| schema().lookup(block, keyword).unwrap();
        assert_eq!(row("vrrp_instance", "priority").bounds, Some((1_000_000, 255_000_000)));
        assert_eq!(row("vrrp_instance", "advert_int").bounds, Some((10_000, 255_000_000)));
        assert_eq!(row("vrrp_instance", "advert_int").unit, Unit::Seconds);
        assert_eq!(row("bfd_instance", "min_rx").unit, Unit::Milliseconds);
        assert_eq!(row("virtual_server", "delay_loop").bounds, Some((1, i128::MAX)));
        assert_eq!(row("virtual_server/real_server/SMTP_CHECK/host", "connect_timeout").unit, Unit::Seconds);
        assert_eq!(row("vrrp_script", "weight").bounds, Some((-253_000_000, 253_000_000)));
        assert_eq!(row("global_defs", "router_id").bounds, None);
    }

    #[test]
    fn near_misses() {
        assert_eq!(schema().nearest("vrrp_instance", "virtual_routerid"), Some("virtual_router_id"));
        assert_eq!(schema().nearest("", "vrrp_instanse"), Some("vrrp_instance"));
        assert_eq!(schema().nearest("vrrp_instance", "Priority"), Some("priority"));
        assert_eq!(schema().nearest("vrrp_instance", "quux"), None);
    }
}
