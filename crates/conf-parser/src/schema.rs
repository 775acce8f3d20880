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
mod index;

use std::sync::OnceLock;

use index::{Entry, INDEX};

const TABLE: &str = include_str!("schema/keywords.tsv");

/// The rows that were asked for.
static ROWS: [OnceLock<Box<Row>>; index::ROWS] = [const { OnceLock::new() }; index::ROWS];

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
    /// Whether its number has no fraction.
    pub(crate) whole: bool,
    /// Decimal places of a time that count.
    pub(crate) places: usize,
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

/// The table. A row is read when it is asked for: most configurations use few of them.
#[derive(Debug)]
pub struct Schema(());

/// The table of every word.
pub fn schema() -> &'static Schema {
    &Schema(())
}

impl Schema {
    /// The row that the index knows by this number.
    pub(crate) fn row_numbered(&self, number: u16) -> Option<&'static Row> {
        let row = ROWS.get(usize::from(number))?;
        Some(row.get_or_init(|| Box::new(self.read(number))))
    }

    #[cold]
    fn read(&self, number: u16) -> Row {
        let entry = INDEX.row(number).unwrap_or(&Entry::NONE);
        let mut row = read_row(entry.line());
        (row.number, row.inside, row.opens) = (number, entry.inside, entry.opens);
        row.most = most_words(&row).filter(|_| INDEX.block_at(&row.path()).is_none());
        if let Some(original) = self.original(&row) {
            row.number = original.number;
            if row.range.is_empty() {
                (row.unit, row.bounds) = (original.unit, original.bounds);
            }
        }
        row.places = decimal_places(&row);
        row
    }

    /// The row of the word that `row` is another name of.
    pub(crate) fn original(&self, row: &Row) -> Option<&'static Row> {
        let name = row.doc.strip_prefix("alias of ")?.split([',', ' ']).next()?;
        self.row(row.inside, name)
    }

    /// Every row, grouped by block.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> + Clone {
        (0..).zip(&ROWS).map(|(number, row)| &**row.get_or_init(|| Box::new(self.read(number))))
    }

    /// What is known of each row, with its number.
    fn entries(&self) -> impl Iterator<Item = (u16, &'static Entry)> + Clone {
        (0..).zip(INDEX.rows())
    }

    /// The place in the table of a row, or of the word that it is another name of.
    pub(crate) fn number(&self, row: &Row) -> u16 {
        row.number
    }

    /// The row of `keyword` in `block`.
    pub fn lookup(&self, block: &str, keyword: &str) -> Option<&'static Row> {
        self.row(INDEX.block_at(block)?, keyword)
    }

    fn row(&self, block: BlockId, keyword: &str) -> Option<&'static Row> {
        self.row_numbered(INDEX.find(block, keyword.as_bytes())?)
    }

    /// The row of a word that starts a line in `block`.
    pub(crate) fn statement(&self, block: &str, keyword: &str) -> Option<&'static Row> {
        self.statement_in(INDEX.block_at(block)?, keyword.as_bytes())
    }

    /// The row of a word that starts a line in the block with this number.
    pub(crate) fn statement_in(&self, block: BlockId, keyword: &[u8]) -> Option<&'static Row> {
        self.row_numbered(INDEX.find(block, keyword)?).filter(|row| row.starts_lines())
    }

    /// The path of a block.
    pub(crate) fn path(&self, block: BlockId) -> String {
        INDEX.block(block).path()
    }

    /// Whether the lines of the block at `path` are values, such as addresses, not keywords.
    pub fn is_list(&self, path: &str) -> bool {
        INDEX.block_at(path).is_some_and(|block| self.is_list_in(block))
    }

    /// [`is_list`](Self::is_list) of the block with this number.
    pub(crate) fn is_list_in(&self, block: BlockId) -> bool {
        let block = INDEX.block(block);
        block.opened && !block.keywords
    }

    /// The words that may start a line in `block`.
    pub fn words(&self, block: &str) -> impl Iterator<Item = &'static Row> {
        self.chosen(move |entry| entry.starts_lines() && entry.block() == block)
    }

    /// The blocks in which `keyword` may start a line.
    pub fn homes(&self, keyword: &str) -> impl Iterator<Item = &'static Row> {
        self.chosen(move |entry| entry.starts_lines() && entry.keyword() == keyword)
    }

    /// The rows of `block`.
    pub(crate) fn rows_of(&self, block: &str) -> impl Iterator<Item = &'static Row> + Clone {
        self.chosen(move |entry| entry.block() == block)
    }

    fn chosen(&self, wanted: impl Fn(&Entry) -> bool + Clone) -> impl Iterator<Item = &'static Row> + Clone {
        let wanted = self.entries().filter(move |(_, entry)| wanted(entry));
        wanted.filter_map(|(number, _)| self.row_numbered(number))
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
        whole: false,
        places: 6,
        most: None,
    };
    if row.worker == "not yet" {
        row.support = if row.shown_by == "none" { Support::None } else { Support::Traffic };
        row.shown_by = "";
    }
    row.script = row.arguments.contains("<script>") || row.keyword == "regex";
    row.whole = row.arguments.contains("<n>");
    if row.range.is_empty() {
        return row;
    }
    let parts = || row.range.split("; ");
    row.unit = parts().find_map(unit).unwrap_or(Unit::None);
    row.bounds = parts().flat_map(|part| part.split([' ', ',']).map(move |word| (part, word))).find_map(bounds);
    row
}

fn decimal_places(row: &Row) -> usize {
    match row.unit {
        _ if row.range.contains("ms resolution") => 3,
        Unit::Seconds | Unit::None => 6,
        Unit::Milliseconds => 3,
        Unit::Microseconds => 0,
    }
}

/// How many words after a keyword are read at most, by its arguments: nothing or one value; others are lists.
fn most_words(row: &Row) -> Option<u8> {
    match row.arguments {
        _ if row.kind != Kind::Keyword || row.script => None,
        // With blanks anywhere.
        arguments if arguments.contains("<hex>") => None,
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
        assert_eq!((lines.len(), index::ROWS), (1115, 1115));
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
        for (number, row) in schema().entries() {
            assert_eq!(INDEX.find(row.inside, row.keyword().as_bytes()), Some(number), "{}", row.line());
        }
    }

    #[test]
    fn every_row_is_found_by_its_words() {
        for row in schema().rows() {
            assert_eq!(schema().lookup(row.block, row.keyword), Some(row));
            assert_eq!(schema().path(row.inside), row.block);
            if row.kind == Kind::Block {
                assert_eq!(schema().path(row.opens), row.path());
            }
        }
        assert_eq!(schema().lookup("", "nothing"), None);
        assert_eq!(schema().lookup("nothing", "vrrp_instance"), None);
    }

    #[test]
    fn every_block_path_leads_to_a_block() {
        for row in
            schema().rows().filter(|row| !row.block.is_empty() && row.kind != Kind::Option && row.kind != Kind::Syntax)
        {
            assert!(INDEX.block(row.inside).opened, "{}", row.block);
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
