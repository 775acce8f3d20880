//! Blocks and keywords, not yet typed. Blocks of unknown keywords are skipped as a unit.

mod body;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

use crate::diagnostic::{Class, Code, Diagnostic, Findings, Severity};
use crate::lexer::{Cut, Line, Marks, Part, Word, parts, script_words, words};

use crate::loader::Loader;
use crate::schema::{BlockId, Kind, Row, schema};
use crate::source::{Sources, Span, Spanned, Via};
use crate::{Limits, Options, preprocess};
pub(crate) use body::Body;

/// One line: a keyword with its values, or a line of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement {
    /// The first word of the line.
    pub(crate) keyword: Word,
    /// The words after it.
    pub(crate) arguments: Vec<Word>,
    /// The keyword's row; none in a list.
    pub(crate) row: Option<&'static Row>,
    /// The braced body, where the keyword opens one.
    pub(crate) body: Body,
}

impl Statement {
    /// Every word of the line.
    pub(crate) fn words(&self) -> impl Iterator<Item = &Word> {
        std::iter::once(&self.keyword).chain(&self.arguments)
    }

    /// Every word in its braces: a list of names.
    pub(crate) fn names(&self) -> impl Iterator<Item = Spanned<String>> {
        let names = |line: Cow<'_, Self>| -> Vec<_> {
            line.words().map(|word| Spanned::new(word.text.clone(), word.span)).collect()
        };
        self.body.iter().flat_map(names)
    }

    /// Where the line stands, with the definition that its first value came through.
    pub(crate) fn place(&self) -> Span {
        let span = self.span();
        let through = self.arguments.iter().map(|word| word.span.via).find(|via| *via != Via::default());
        Span { via: if span.via == Via::default() { through.unwrap_or_default() } else { span.via }, ..span }
    }

    /// Where keyword and values stand.
    pub(crate) fn span(&self) -> Span {
        self.arguments.last().map_or(self.keyword.span, |last| self.keyword.span.to(last.span))
    }
}

/// Statements and words to use again: most lines need no memory of their own.
#[derive(Debug, Default)]
struct Spare {
    statements: Vec<Statement>,
    words: Vec<Word>,
}

/// Most statements and words that are kept, and the most bytes and lines that one of them may hold.
const MAX_SPARE: usize = 1024;
const MAX_SPARE_TEXT: usize = 64;
const MAX_SPARE_BODY: usize = 256;

impl Spare {
    fn statement(
        &mut self,
        line: &Line<'_>,
        row: Option<&'static Row>,
        keyword: Cut,
        cuts: impl Iterator<Item = Cut>,
    ) -> Statement {
        let mut statement = self.statements.pop().unwrap_or_default();
        statement.row = row;
        match row {
            // It is the word of its row, which is text.
            Some(row) if keyword.range.len() == row.keyword.len() => statement.keyword.name(line, keyword, row.keyword),
            _ => statement.keyword.read(line, keyword),
        }
        for cut in cuts {
            let mut word = self.words.pop().unwrap_or_default();
            word.read(line, cut);
            statement.arguments.push(word);
        }
        statement
    }

    /// Takes back a statement with what is inside it; blocks are never deeper than those of the schema.
    fn give(&mut self, mut statement: Statement) {
        while let Some(inner) = statement.body.pop() {
            self.give(inner);
        }
        while let Some(word) = statement.arguments.pop() {
            if word.capacity() <= MAX_SPARE_TEXT && self.words.len() < MAX_SPARE {
                self.words.push(word);
            }
        }
        let small = statement.keyword.capacity() <= MAX_SPARE_TEXT
            && statement.arguments.capacity() <= MAX_SPARE_TEXT
            && statement.body.capacity() <= MAX_SPARE_BODY;
        if small && self.statements.len() < MAX_SPARE {
            self.statements.push(statement);
        }
    }
}

/// One line of a file with what stands in its braces, as [`read_tree`] gives it.
#[derive(Debug, Clone)]
pub struct Node {
    /// The row of its keyword; `None` for a line of a list.
    pub row: Option<&'static Row>,
    /// Its words without quotes, the keyword first.
    pub words: Vec<Spanned<String>>,
    /// The lines inside its braces.
    pub body: Vec<Self>,
}

/// What [`read_tree`] found.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The lines of the top level.
    pub nodes: Vec<Node>,
    /// What is wrong with files, lines, words and braces; values are not looked at.
    pub diagnostics: Vec<Diagnostic>,
    /// The files that were read.
    pub sources: Sources,
}

/// Reads `main` and what it includes as [`parse`](crate::parse) does, up to blocks and words that are not typed:
/// for tools that rather look at what is written than at what it means.
pub fn read_tree(loader: &dyn Loader, main: &Path, options: &Options) -> Tree {
    let mut findings = Findings::new(options.limits.findings);
    let mut nodes = Nodes::default();
    let (sources, _) = preprocess::read(loader, main, options, &mut findings, &mut nodes);
    Tree { nodes: nodes.0, diagnostics: findings.sorted(), sources }
}

#[derive(Debug, Default)]
struct Nodes(Vec<Node>);

impl Sink for Nodes {
    fn statement(&mut self, statement: &Statement, _: &mut Findings) {
        self.0.push(node(statement));
    }
}

fn node(statement: &Statement) -> Node {
    Node {
        row: statement.row,
        words: statement.words().map(|word| Spanned::new(word.text.clone(), word.span)).collect(),
        body: statement.body.iter().map(|line| node(&line)).collect(),
    }
}

/// Takes what is complete at the top level.
pub(crate) trait Sink {
    /// Takes one block or keyword.
    fn statement(&mut self, statement: &Statement, diagnostics: &mut Findings);
}

/// A block that is being read.
#[derive(Debug)]
struct Open {
    block: BlockId,
    /// What opened it; its body grows here.
    statement: Statement,
    /// Whether its `{` was seen.
    braced: bool,
}

/// Builds the tree from lines. What is complete at the top level waits in [`take`](Self::take).
#[derive(Debug)]
pub(crate) struct Builder {
    room: Room,
    /// Complete, not yet taken.
    root: VecDeque<Statement>,
    spare: Spare,
    open: Vec<Open>,
    /// The body of an unknown keyword is being skipped.
    skipping: Option<Skip>,
    /// The last line was an unknown keyword without `{`: the next line's `{` would be its own.
    after_unknown: Option<Span>,
    /// The first line of a list that would be a keyword of the block around it.
    escaped: Option<Span>,
    /// Keyword and `}` of each block that was closed inside of the present one of the top level.
    closed: Vec<(Span, Span)>,
    /// Lines inside of the present block of the top level.
    lines: usize,
    /// The braces of a reference that stays as it is count as braces.
    astray: Option<Astray>,
    /// Unknown keywords so far; only the first ones get a suggestion, which takes time to find.
    unknown: usize,
}

/// What is kept so far, and the most that may be.
#[derive(Debug)]
struct Room {
    blocks: usize,
    entries: usize,
    most: Limits,
    /// A limit was reached, which is reported once: nothing that counts is kept any more.
    is_full: bool,
}

/// Words behind the first of a line that count as one more entry.
const ENTRY_WORDS: usize = 4;

/// Bytes of a script with its parameters that count as one more entry.
const ENTRY_BYTES: usize = 16;

impl Room {
    /// Counts `line`. Where it is too much comes what there is too much of.
    fn take(&mut self, line: &Statement, at_top: bool) -> Result<(), String> {
        let is_block = line.row.is_some_and(|row| row.kind == Kind::Block);
        let is_script = line.row.is_some_and(Row::is_script);
        let is_entry = line.row.is_none() || is_script || is_block && !at_top;
        let more = match is_script {
            true => line.arguments.iter().map(|word| word.text.len()).sum::<usize>() / ENTRY_BYTES,
            false => line.arguments.len() / ENTRY_WORDS,
        };
        let blocks = usize::from(is_block && at_top);
        let entries = usize::from(is_entry) + more;
        if blocks + entries == 0 {
            return Ok(());
        }
        self.blocks += blocks;
        self.entries += entries;
        if self.blocks > self.most.blocks {
            return Err(format!("the configuration has more than {} blocks", self.most.blocks));
        }
        if self.entries > self.most.entries {
            return Err(format!(
                "the lists and blocks of the configuration have more than {} lines",
                self.most.entries
            ));
        }
        Ok(())
    }
}

const MAX_SUGGESTIONS: usize = 200;

/// Most references of one line that are looked at when it has braces.
const MAX_REFERENCES: usize = 64;

/// Most closed blocks that are remembered until the one around them is.
const MAX_CLOSED: usize = 4096;

/// Lines of a block of the top level above which the others are packed.
const MAX_LOOSE: usize = 4096;

/// Most words of a line that are read.
const MAX_WORDS: usize = 4096;

/// Most blocks that are named as the place of a word.
const MAX_HOMES: usize = 3;

#[derive(Debug)]
struct Skip {
    depth: usize,
    keyword: Span,
}

/// Blocks are not where the file shows them, until its own braces agree again with what is open.
#[derive(Debug)]
struct Astray {
    /// Blocks that the braces of the file alone leave open.
    shown: usize,
}

/// What the braces of a reference bring about is not reported beside it.
const FOLLOW_UPS: [Code; 4] =
    [Code::UnknownKeyword, Code::UnexpectedOpeningBrace, Code::ExtraClosingBrace, Code::MissingOpeningBrace];

impl Builder {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            room: Room { blocks: 0, entries: 0, most: limits.clone(), is_full: false },
            root: VecDeque::new(),
            spare: Spare::default(),
            open: Vec::new(),
            skipping: None,
            after_unknown: None,
            escaped: None,
            closed: Vec::new(),
            lines: 0,
            astray: None,
            unknown: 0,
        }
    }

    /// Takes the next line.
    pub(crate) fn line(&mut self, line: &Line<'_>, diagnostics: &mut Findings) {
        if line.has_open_quote() {
            let text: String = String::from_utf8_lossy(line.text()).trim().chars().take(1024).collect();
            let finding = Diagnostic::error(
                Code::UnmatchedQuote,
                Class::UnmatchedQuote,
                line.whole(),
                format!("Unterminated quote '{text}'"),
            );
            diagnostics.push(
                finding
                    .label("Unmatched quote")
                    .help("write the closing '\"' on this line, where the quoted text ends"),
            );
        }
        for part in parts(line) {
            let first = diagnostics.len();
            self.note_reference(line, &part, diagnostics);
            self.part(line, part, diagnostics);
            if self.astray.is_some() {
                diagnostics.take_back(first, &FOLLOW_UPS);
            }
        }
        if self.astray.is_some() {
            let depth = self.depth();
            self.astray.take_if(|astray| astray.shown == depth);
        }
    }

    fn part(&mut self, line: &Line<'_>, part: Part, diagnostics: &mut Findings) {
        match (part, &mut self.skipping) {
            (Part::Open(_), Some(skip)) => skip.depth += 1,
            (Part::Close(_), Some(skip)) => {
                skip.depth -= 1;
                if skip.depth == 0 {
                    self.skipping = None;
                }
            }
            (Part::Text(_), Some(_)) => {}
            (Part::Open(at), None) => self.open_brace(line.span(at..at + 1), diagnostics),
            (Part::Close(at), None) => self.close_brace(line.span(at..at + 1), diagnostics),
            (Part::Text(range), None) => self.text(line, range, diagnostics),
        }
    }

    /// Blocks that are open, with those of unknown keywords.
    fn depth(&self) -> usize {
        let open = self.open.iter().filter(|open| open.braced).count();
        open + self.skipping.as_ref().map_or(0, |skip| skip.depth)
    }

    /// Tells braces of references that could not be resolved from the others.
    fn note_reference(&mut self, line: &Line<'_>, part: &Part, diagnostics: &mut Findings) {
        let (Part::Open(at) | Part::Close(at)) = *part else { return };
        if self.astray.is_none() && !line.may_hold(Marks::REFERENCE) {
            return;
        }
        let brace = line.own_span(at..at + 1);
        let made = |finding: &&mut Diagnostic| {
            finding.code == Code::BadReference && finding.span.is_some_and(|span| span.encloses(brace))
        };
        let reference = match line.may_hold(Marks::REFERENCE) {
            true => diagnostics.recent().take(MAX_REFERENCES).find(made),
            false => None,
        };
        match (reference, part, &mut self.astray) {
            (Some(finding), Part::Open(_), astray) => {
                finding.severity = Severity::Error;
                finding.class = Class::UnexpectedOpeningBrace;
                finding.label = Some("its braces count as braces: the '}' ends the block that is open".to_owned());
                // It does not belong to what stands before it.
                self.after_unknown = None;
                if astray.is_none() {
                    self.astray = Some(Astray { shown: self.depth() });
                }
            }
            (None, Part::Open(_), Some(astray)) => astray.shown += 1,
            (None, Part::Close(_), Some(astray)) => astray.shown = astray.shown.saturating_sub(1),
            _ => {}
        }
    }

    /// The next block or keyword of the top level that is complete.
    pub(crate) fn take(&mut self) -> Option<Statement> {
        self.root.pop_front()
    }

    /// Takes back what is no longer needed, so that its memory serves the next lines.
    pub(crate) fn recycle(&mut self, statement: Statement) {
        self.spare.give(statement);
    }

    /// Ends the reading; what is still open is reported, and complete.
    pub(crate) fn finish(&mut self, sources: &Sources, diagnostics: &mut Findings) {
        self.settle_missing_brace(diagnostics);
        let unclosed = self.open.len() + self.skipping.as_ref().map_or(0, |skip| skip.depth);
        let innermost = self
            .skipping
            .as_ref()
            .map(|skip| skip.keyword)
            .or_else(|| self.open.last().map(|open| open.statement.keyword.span));
        if let Some(span) = innermost {
            let message = format!("There are {unclosed} missing '}}'s or extra '{{'s");
            let mut finding = Diagnostic::error(Code::MissingClosingBrace, Class::MissingClosingBrace, span, message)
                .label("this block is never closed");
            for open in self.open.iter().rev().filter(|open| open.statement.keyword.span != span) {
                finding = finding.related(open.statement.keyword.span, "nor is this one");
            }
            diagnostics.push(match (self.escaped, self.outdented(sources)) {
                (Some(span), _) => finding.related(span, "perhaps the '}' is missing before this line"),
                (None, Some((keyword, brace, name))) => finding
                    .related(keyword, "further right than the '}' that closes it")
                    .related(brace, "closed here")
                    .help(format!("perhaps the '}}' of '{name}' is missing before this one")),
                (None, None) => finding.help("write '}' after its last line"),
            });
        }
        while !self.open.is_empty() {
            self.close(Span::default());
        }
    }

    /// The first block whose `}` stands further left than its keyword, with its name: it may be that of another block.
    fn outdented<'s>(&self, sources: &'s Sources) -> Option<(Span, Span, &'s str)> {
        self.closed.iter().find_map(|(keyword, brace)| {
            let apart = keyword.file == brace.file && indentation(sources, *brace)? < indentation(sources, *keyword)?;
            let name = sources.file(keyword.file)?.text().get(keyword.start as usize..keyword.end as usize)?;
            apart.then_some((*keyword, *brace, name))
        })
    }

    fn block(&self) -> BlockId {
        self.open.last().map(|open| open.block).unwrap_or_default()
    }

    fn text(&mut self, line: &Line<'_>, range: Range<usize>, diagnostics: &mut Findings) {
        self.settle_missing_brace(diagnostics);
        self.after_unknown = None;
        let mut cuts = words(line, range.clone());
        let Some(first) = cuts.next() else { return };
        // A quotation mark alone on its line was reported already.
        if first.range.is_empty() && line.has_open_quote() {
            return;
        }
        let block = self.block();
        let known = |block, keyword| schema().statement_in(block, keyword);
        let keyword = line.part(first.range.clone());
        if schema().is_list_in(block) {
            let around = self.open.iter().rev().nth(1).map(|open| open.block).unwrap_or_default();
            if self.escaped.is_none() && known(around, keyword).is_some() {
                self.escaped = Some(line.span(first.range.clone()));
            }
            if let Some(end) = excess(line, &range, diagnostics) {
                cuts.end_at(end);
            }
            let statement = self.spare.statement(line, None, first, cuts);
            if self.has_room(&statement, diagnostics) {
                self.push(statement);
            } else {
                self.spare.give(statement);
            }
            return;
        }
        let Some(row) = known(block, keyword) else {
            let keyword = Word::new(line, first);
            let finding = unknown_keyword(&keyword);
            let path = &schema().path(block);
            let around = self.open.last().map(|open| &open.statement.keyword);
            let finding =
                if self.unknown < MAX_SUGGESTIONS { suggest(finding, path, &keyword, around) } else { finding };
            diagnostics.push(finding);
            self.unknown += 1;
            self.after_unknown = Some(keyword.span);
            return;
        };
        if let Some(end) = excess(line, &range, diagnostics) {
            cuts.end_at(end);
        }
        let statement = if row.is_script() {
            let mut cuts = script_words(line, range.start..cuts.end()).into_iter();
            let Some(first) = cuts.next() else { return };
            self.spare.statement(line, Some(row), first, cuts)
        } else {
            self.spare.statement(line, Some(row), first, cuts)
        };
        if !self.has_room(&statement, diagnostics) {
            // Its braces are skipped with it.
            self.after_unknown = (row.kind == Kind::Block).then_some(statement.keyword.span);
            self.spare.give(statement);
        } else if row.kind == Kind::Block {
            self.open.push(Open { block: row.opens(), statement, braced: false });
        } else {
            self.push(statement);
        }
    }

    /// Whether there is room for a line; the first for which there is none is reported.
    fn has_room(&mut self, line: &Statement, diagnostics: &mut Findings) -> bool {
        let Err(what) = self.room.take(line, self.open.is_empty()) else { return true };
        if !std::mem::replace(&mut self.room.is_full, true) {
            // Whatever comes is too much now.
            (self.room.most.blocks, self.room.most.entries) = (0, 0);
            let message = format!("{what}: what follows is not kept");
            let finding = Diagnostic::error(Code::LimitReached, Class::Fatal, line.keyword.span, message).refusing();
            diagnostics.push(
                finding
                    .label("the first that is too much")
                    .help("use fewer of them; findings about things that are missing may come from this one"),
            );
        }
        false
    }

    fn open_brace(&mut self, span: Span, diagnostics: &mut Findings) {
        if let Some(keyword) = self.after_unknown.take() {
            self.skipping = Some(Skip { depth: 1, keyword });
            return;
        }
        match self.open.last_mut() {
            Some(open) if !open.braced => open.braced = true,
            outer => {
                let finding = Diagnostic::error(
                    Code::UnexpectedOpeningBrace,
                    Class::UnexpectedOpeningBrace,
                    span,
                    "Unexpected '{' - ignoring",
                );
                let list = outer.filter(|open| schema().is_list_in(open.block)).map(|open| &open.statement.keyword);
                diagnostics.push(match list.filter(|_| self.escaped.is_some()) {
                    Some(list) => finding
                        .help(format!("perhaps the '}}' of '{}' is missing before this line", list.text))
                        .related(list.span, "this block is still open"),
                    None => finding,
                });
            }
        }
    }

    fn close_brace(&mut self, span: Span, diagnostics: &mut Findings) {
        self.settle_missing_brace(diagnostics);
        self.after_unknown = None;
        if self.open.is_empty() {
            diagnostics.push(
                Diagnostic::error(Code::ExtraClosingBrace, Class::UnexpectedClosingBrace, span, "Extra '}' found")
                    .label("no block is open here")
                    .help("remove it, or look above for a block that is closed too early"),
            );
        }
        self.close(span);
    }

    /// A block whose `{` did not come is read as if it had.
    fn settle_missing_brace(&mut self, diagnostics: &mut Findings) {
        let Some(open) = self.open.last_mut().filter(|open| !open.braced) else {
            return;
        };
        open.braced = true;
        let message = "Missing '{' at beginning of configuration block";
        let finding =
            Diagnostic::error(Code::MissingOpeningBrace, Class::MissingOpeningBrace, open.statement.span(), message);
        diagnostics.push(finding.help("write '{' at the end of this line"));
    }

    /// Completes the innermost block at its `}`.
    fn close(&mut self, brace: Span) {
        if let Some(open) = self.open.pop() {
            if self.open.is_empty() {
                self.closed.clear();
            } else if self.closed.len() < MAX_CLOSED {
                self.closed.push((open.statement.keyword.span, brace));
            }
            self.push(open.statement);
        }
    }

    fn push(&mut self, statement: Statement) {
        match self.open.last_mut() {
            Some(open) if self.lines < MAX_LOOSE => {
                self.lines += 1;
                open.statement.body.push(statement);
            }
            Some(open) => {
                if let Some(packed) = open.statement.body.pack(statement) {
                    self.spare.give(packed);
                }
            }
            None => {
                self.lines = 0;
                self.root.push_back(statement);
            }
        }
    }
}

/// Where the words of a line end that are read, if there are more.
fn excess(line: &Line<'_>, range: &Range<usize>, diagnostics: &mut Findings) -> Option<usize> {
    if range.len() <= MAX_WORDS {
        return None;
    }
    let excess = words(line, range.clone()).nth(MAX_WORDS)?;
    let rest = excess.range.start - usize::from(excess.quoted)..range.end;
    let message = format!("the line has more than {MAX_WORDS} words: the rest of it is not read");
    let finding = Diagnostic::error(Code::LimitReached, Class::General, line.span(rest.clone()), message);
    diagnostics.push(finding.help("write several lines"));
    Some(rest.start)
}

/// How far the word at `span` is from the margin, if it is the first on its line; tabs go to the next multiple of eight.
fn indentation(sources: &Sources, span: Span) -> Option<usize> {
    let file = sources.file(span.file)?;
    let (start, _) = file.line_range(file.line(span.start));
    file.text().get(start..span.start as usize)?.chars().try_fold(0, |width, char| match char {
        '\t' => Some((width / 8 + 1) * 8),
        char if char.is_whitespace() => Some(width + 1),
        _ => None,
    })
}

fn unknown_keyword(word: &Word) -> Diagnostic {
    let mut shown: String = word.text.chars().take(80).collect();
    if shown.len() < word.text.len() {
        shown.push('…');
    }
    Diagnostic::error(Code::UnknownKeyword, Class::UnknownKeyword, word.span, format!("Unknown keyword '{shown}'"))
}

/// Adds what was perhaps meant by `word` in `block`, which `around` opened.
fn suggest(finding: Diagnostic, block: &str, word: &Word, around: Option<&Word>) -> Diagnostic {
    if word.text.contains('\u{a0}') || word.text.contains('\u{fffd}') && word.bytes().contains(&0xa0) {
        let finding = Diagnostic { code: Code::NoBreakSpace, ..finding };
        return finding
            .help("the word holds no-break spaces, as copied from a web page: replace them by ordinary spaces");
    }
    let homes: Vec<_> = schema().homes(&word.text).map(|row| row.block).take(MAX_HOMES).collect();
    let near = schema().alias(block, &word.text);
    if near.is_none() && !homes.is_empty() {
        if let Some(around) = around.filter(|_| homes.contains(&"")) {
            let help = "this word belongs outside of every block: perhaps a '}' is missing above";
            return finding.help(help).related(around.span, "this block is still open");
        }
        return finding.help(format!("this word belongs in {}", homes.join(" or ")));
    }
    match near.or_else(|| schema().nearest(block, &word.text)) {
        Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn build(text: &str) -> (String, Vec<String>) {
        let mut diagnostics = Findings::new(usize::MAX);
        let mut builder = Builder::new(&Limits::default());
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let trimmed = line.trim_end();
            builder
                .line(&Line::new(trimmed.as_bytes(), Span::new(FileId(0), at, at + trimmed.len())), &mut diagnostics);
            at += line.len();
        }
        builder.finish(&Sources::default(), &mut diagnostics);
        (
            std::iter::from_fn(|| builder.take()).map(|statement| show(&statement)).collect::<Vec<_>>().join(" "),
            diagnostics.sorted().into_iter().map(|finding| finding.message).collect(),
        )
    }

    fn show(statement: &Statement) -> String {
        let words: Vec<_> = statement.words().map(|word| word.text.as_str()).collect();
        let body: Vec<_> = statement.body.iter().map(|line| show(&line)).collect();
        if body.is_empty() {
            format!("({})", words.join(" "))
        } else {
            format!("({} {})", words.join(" "), body.join(" "))
        }
    }

    const WHOLE: &str = "(vrrp_instance A (priority 5) (virtual_ipaddress (1.2.3.4 dev x)))";

    #[test]
    fn braces_stand_on_any_line() {
        for text in [
            "vrrp_instance A {\npriority 5\nvirtual_ipaddress {\n1.2.3.4 dev x\n}\n}\n",
            "vrrp_instance A { priority 5\n virtual_ipaddress { 1.2.3.4 dev x } }\n",
            "vrrp_instance A\n{\npriority 5\nvirtual_ipaddress\n\n{ 1.2.3.4 dev x\n}}\n",
        ] {
            assert_eq!(build(text), (WHOLE.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn a_block_of_an_unknown_keyword_is_one_finding() {
        let (tree, findings) = build(
            "vrrp_instance A {\n foo {\n a\n b { c }\n }\n priority 5\n virtual_ipaddress { 1.2.3.4 dev x }\n}\nbar\n{\n x\n}\n",
        );
        assert_eq!(tree, WHOLE);
        assert_eq!(findings, ["Unknown keyword 'foo'", "Unknown keyword 'bar'"]);
    }

    #[test]
    fn a_missing_opening_brace_is_assumed() {
        let (tree, findings) = build("vrrp_instance A\n priority 5\n virtual_ipaddress { 1.2.3.4 dev x }\n}\n");
        assert_eq!(tree, WHOLE);
        assert_eq!(findings, ["Missing '{' at beginning of configuration block"]);
    }

    #[test]
    fn brace_mistakes() {
        assert_eq!(build("}\n").1, ["Extra '}' found"]);
        assert_eq!(build("{\n").1, ["Unexpected '{' - ignoring"]);
        assert_eq!(
            build("vrrp_instance A { {\n priority 5\n}\n"),
            ("(vrrp_instance A (priority 5))".to_owned(), vec!["Unexpected '{' - ignoring".to_owned()])
        );
        assert_eq!(build("vrrp_instance A {\n virtual_ipaddress {\n").1, ["There are 2 missing '}'s or extra '{'s"]);
        assert_eq!(build("foo { {\n").1, ["Unknown keyword 'foo'", "There are 2 missing '}'s or extra '{'s"]);
    }

    /// Help and places of the finding about blocks that are never closed.
    fn unclosed(text: &str) -> (Option<String>, Vec<usize>) {
        let loader = crate::MemoryLoader::new([("k.conf", text)]);
        let tree = read_tree(&loader, Path::new("k.conf"), &Options::default());
        let finding = tree.diagnostics.into_iter().find(|finding| finding.code == Code::MissingClosingBrace).unwrap();
        let lines = finding.related.iter().map(|related| tree.sources.location(related.span).unwrap().line).collect();
        (finding.help, lines)
    }

    #[test]
    fn a_missing_closing_brace_is_looked_for_by_indentation() {
        let help = |name: &str| Some(format!("perhaps the '}}' of '{name}' is missing before this one"));
        let list = "\tvirtual_ipaddress {\n\t\t1.2.3.4\n";
        let text = format!("vrrp_instance A {{\n\tauthentication {{\n\t}}\n{list}}}\nvrrp_instance B {{\n}}\n");
        assert_eq!(unclosed(&text), (help("virtual_ipaddress"), vec![4, 6]));
        // A tab reaches as far as eight blanks.
        assert_eq!(unclosed(&format!("vrrp_instance A {{\n{list}    }}\n")).0, help("virtual_ipaddress"));
        let last = Some("write '}' after its last line".to_owned());
        assert_eq!(unclosed(&format!("vrrp_instance A {{\n{list}        }}\n")), (last.clone(), vec![]));
        assert_eq!(unclosed("vrrp_instance A { virtual_ipaddress {\n}\n"), (last.clone(), vec![]));
        // Blocks that are complete say nothing about the one that is not.
        assert_eq!(unclosed(&format!("vrrp_instance A {{\n{list}}}\n}}\nvrrp_instance B {{\n")), (last, vec![]));
    }

    #[test]
    fn an_open_quote_is_reported_and_the_line_used() {
        let (tree, findings) = build("global_defs { router_id \"a b\n}\n");
        assert_eq!(tree, "(global_defs (router_id a b))");
        assert_eq!(findings, ["Unterminated quote 'global_defs { router_id \"a b'"]);
    }
}
