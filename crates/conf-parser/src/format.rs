//! A file in its usual form: indented by blocks, one keyword to a line, braces where everybody has them.
//!
//! The form never changes what a file means and loses no comment. Lines that mean something before they are cut into
//! words (definitions, `@id` lines, `~SEQ`, `include`, references), lines that continue, commands, quoted texts and
//! lines with a word that is not known keep their text and are only indented. A line that is near the longest that
//! keepalived reads stays as it is.
//!
//! ```
//! let text = b"vrrp_instance V { state   BACKUP # as peer\n}\n";
//! let formatted = conf_parser::format::format(text);
//! assert_eq!(formatted, b"vrrp_instance V {\n    state BACKUP # as peer\n}\n");
//! ```

use std::ops::Range;

use crate::lexer::is_blank;
use crate::schema::{Kind, Row, schema};

const INDENT: &[u8] = b"    ";

/// Longer lines stay as they are: keepalived reads lines of up to 1,022 bytes and passes over others.
const MAX_LINE: usize = 960;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The content of a configuration file in its usual form. Formatting it again changes nothing.
pub fn format(bytes: &[u8]) -> Vec<u8> {
    let (mark, text) = match bytes.strip_prefix(BYTE_ORDER_MARK) {
        Some(text) => (BYTE_ORDER_MARK, text),
        None => (&[][..], bytes),
    };
    let mut formatter = Formatter { out: mark.to_vec(), ..Formatter::default() };
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|byte| *byte == b'\n') {
        formatter.line(line);
    }
    formatter.out
}

/// What the last line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    /// There was none yet.
    #[default]
    None,
    /// The keyword of a block, whose `{` may be put behind it.
    Head,
    /// It opened a block.
    Opening,
    /// Anything else.
    Other,
}

#[derive(Debug, Default)]
struct Formatter {
    out: Vec<u8>,
    /// The path of each open block, where it is known.
    open: Vec<Option<String>>,
    last: Last,
    /// Blank lines were read since the last line.
    blank: bool,
    /// The last line ends in `\`, and the next one may belong to it.
    continued: bool,
    /// The lines with `@id` since the last other one.
    alternatives: Vec<Alternative>,
    /// The blocks that were open before them.
    before: Vec<Option<String>>,
}

/// Lines that count under one condition; of several conditions, one holds.
#[derive(Debug)]
struct Alternative {
    condition: Vec<u8>,
    open: Vec<Option<String>>,
}

impl Formatter {
    fn line(&mut self, line: &[u8]) {
        let trimmed = trim(line);
        if trimmed.is_empty() {
            self.blank_line();
            return;
        }
        let follows = self.continued;
        // A line with a NUL byte is passed over: what is continued goes on behind it.
        self.continued = if line.contains(&0) { follows } else { trimmed.ends_with(b"\\") };
        let conditional = trimmed.first() == Some(&b'@');
        if !conditional {
            self.end_alternatives();
        }
        if line.contains(&0) || trimmed.len() > MAX_LINE {
            let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
            let raw = line.get(..end).unwrap_or_default();
            let body = if line.contains(&0) { &[][..] } else { body(trimmed).0 };
            self.kept(raw, body, Indent::AsWritten);
        } else if matches!(trimmed.first(), Some(b'#' | b'!')) {
            self.kept(trimmed, &[], Indent::Block);
        } else if conditional {
            self.conditional(trimmed);
        } else if follows || self.continued {
            self.kept(trimmed, body(trimmed).0, Indent::Block);
        } else {
            let (body, comment) = body(trimmed);
            match self.tokens(body) {
                Some(tokens) => self.ordinary(body, &tokens, comment),
                None => self.kept(trimmed, body, Indent::Block),
            }
        }
    }

    /// Runs of blank lines become one; at the edges of blocks they go. One after a `\` ends what is continued.
    fn blank_line(&mut self) {
        if std::mem::take(&mut self.continued) {
            self.out.push(b'\n');
            self.last = Last::Other;
        } else {
            self.blank = true;
        }
    }

    /// The parts of a line that may be put on lines of their own; none if the line is to be kept.
    fn tokens(&self, body: &[u8]) -> Option<Vec<Token>> {
        let special = [&b"$"[..], b"~", b"include"].iter().any(|start| body.starts_with(start));
        let quotes = body.iter().filter(|byte| **byte == b'"').count();
        if special || body.contains(&b'$') || body.contains(&b'\r') || quotes % 2 == 1 {
            return None;
        }
        let tokens = tokens(body);
        let mut open = self.open.clone();
        let mut head = None;
        for token in &tokens {
            if let Token::Text(range) = token {
                let row = self.known(open.last(), body.get(range.clone())?)?;
                // What a brace does to a command is for its author to see.
                if tokens.len() > 1 && row.is_some_and(Row::is_script) {
                    return None;
                }
                head = row;
                continue;
            }
            step(&mut open, token, head.take());
        }
        Some(tokens)
    }

    /// The row of the first word of `text` in the block `path`; `None` inside where the block is a list.
    fn known(&self, path: Option<&Option<String>>, text: &[u8]) -> Option<Option<&'static Row>> {
        let word = first_word(text);
        // At the end of a line a `\` would continue it.
        if trim(text).ends_with(b"\\") || word.starts_with(b"include") || matches!(word.first(), Some(b'@' | b'~')) {
            return None;
        }
        row_in(path, word)
    }

    /// A line whose parts may be put on lines of their own.
    fn ordinary(&mut self, body: &[u8], tokens: &[Token], comment: &[u8]) {
        let mut head = None;
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Text(range) => {
                    let text = body.get(range.clone()).unwrap_or_default();
                    let row = row_in(self.open.last(), first_word(text)).flatten();
                    self.start_line(false);
                    if row.is_some_and(Row::is_script) {
                        self.out.extend_from_slice(trim(text));
                    } else {
                        spaced(text, &mut self.out);
                    }
                    self.last = if row.is_some_and(|row| row.kind == Kind::Block) { Last::Head } else { Last::Other };
                    head = row;
                }
                Token::Open => {
                    if self.last == Last::Head && self.out.ends_with(b"\n") {
                        // The keyword stands on a line before this one.
                        self.out.pop();
                        self.out.extend_from_slice(b" {");
                        self.blank = false;
                    } else {
                        self.start_line(false);
                        self.out.push(b'{');
                    }
                    let row = head.take().or_else(|| self.row_of_last_line());
                    step(&mut self.open, token, row);
                    self.last = Last::Opening;
                }
                Token::Close => {
                    head = None;
                    step(&mut self.open, token, None);
                    self.start_line(true);
                    self.out.push(b'}');
                    self.last = Last::Other;
                }
            }
            if at + 1 == tokens.len() && !comment.is_empty() {
                self.out.push(b' ');
                self.out.extend_from_slice(comment);
                if self.last == Last::Head {
                    self.last = Last::Other;
                }
            }
            self.out.push(b'\n');
        }
    }

    /// The row of the keyword on the line that was just ended with `{`.
    fn row_of_last_line(&self) -> Option<&'static Row> {
        let line = self.out.rsplit(|byte| *byte == b'\n').next()?;
        row_in(self.open.last(), first_word(trim(line))).flatten()
    }

    /// A line whose text stays.
    fn kept(&mut self, text: &[u8], body: &[u8], indent: Indent) {
        let tokens = tokens(body);
        let closes = tokens.iter().take_while(|token| **token == Token::Close).count();
        let mut open = self.open.clone();
        advance(&mut open, body, &tokens);
        self.open.truncate(self.open.len().saturating_sub(closes));
        match indent {
            Indent::Block => self.start_line(closes > 0),
            Indent::AsWritten => self.blank_before(closes > 0),
        }
        self.out.extend_from_slice(text);
        self.out.push(b'\n');
        self.open = open;
        self.last = if tokens.last() == Some(&Token::Open) { Last::Opening } else { Last::Other };
    }

    /// `@id ...`: the blocks that lines of other conditions open do not count for it.
    fn conditional(&mut self, text: &[u8]) {
        let length = text.iter().position(|byte| is_blank(*byte)).unwrap_or(text.len());
        let (condition, rest) = text.split_at(length);
        if self.alternatives.is_empty() {
            self.before = self.open.clone();
        }
        let known = self.alternatives.iter().position(|one| one.condition == condition);
        let known = known.and_then(|at| self.alternatives.get_mut(at));
        self.open = known.map_or_else(|| self.before.clone(), |one| std::mem::take(&mut one.open));
        self.kept(text, body(trim(rest)).0, Indent::Block);
        let open = self.open.clone();
        match self.alternatives.iter_mut().find(|one| one.condition == condition) {
            Some(one) => one.open = open,
            None => self.alternatives.push(Alternative { condition: condition.to_vec(), open }),
        }
    }

    /// After lines with conditions, the blocks count that the first condition leaves open.
    fn end_alternatives(&mut self) {
        if let Some(first) = self.alternatives.drain(..).next() {
            self.open = first.open;
        }
    }

    fn start_line(&mut self, closing: bool) {
        self.blank_before(closing);
        for _ in 0..self.open.len() {
            self.out.extend_from_slice(INDENT);
        }
    }

    fn blank_before(&mut self, closing: bool) {
        let blank = std::mem::take(&mut self.blank);
        if blank && !closing && matches!(self.last, Last::Head | Last::Other) {
            self.out.push(b'\n');
        }
    }
}

/// Where a kept line starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Indent {
    Block,
    AsWritten,
}

/// A part of a line; texts are ranges of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(Range<usize>),
    Open,
    Close,
}

/// Cuts a line at its unquoted braces; those of a `${reference}` do not count.
fn tokens(body: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut start, mut quoted, mut reference, mut before) = (0, false, false, 0);
    let text = |range: Range<usize>| {
        let text = body.get(range.clone()).unwrap_or_default();
        text.iter().any(|byte| !is_blank(*byte)).then_some(Token::Text(range))
    };
    for (at, byte) in body.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'{' if before == b'$' => reference = true,
            b'}' if reference => reference = false,
            b'{' | b'}' if !quoted => {
                tokens.extend(text(start..at));
                tokens.push(if *byte == b'{' { Token::Open } else { Token::Close });
                start = at + 1;
            }
            _ => {}
        }
        before = *byte;
    }
    tokens.extend(text(start..body.len()));
    tokens
}

/// Follows the braces of a line that is kept.
fn advance(open: &mut Vec<Option<String>>, body: &[u8], tokens: &[Token]) {
    let mut head = None;
    for token in tokens {
        if let Token::Text(range) = token {
            head = row_in(open.last(), first_word(body.get(range.clone()).unwrap_or_default())).flatten();
        } else {
            step(open, token, head.take());
        }
    }
}

/// Follows one brace; `head` is the keyword before it.
fn step(open: &mut Vec<Option<String>>, token: &Token, head: Option<&Row>) {
    match token {
        Token::Open => open.push(head.filter(|row| row.kind == Kind::Block).map(Row::path)),
        Token::Close => {
            open.pop();
        }
        Token::Text(_) => {}
    }
}

/// The row of a word that starts a line in the block `path`; `None` inside for a value in a list, `None` if no block
/// knows it. Where the block is not known, any may.
fn row_in(path: Option<&Option<String>>, word: &[u8]) -> Option<Option<&'static Row>> {
    let word = std::str::from_utf8(word).ok()?;
    match path {
        Some(None) => schema().homes(word).next().map(Some),
        Some(Some(path)) if schema().is_list(path) => Some(None),
        Some(Some(path)) => schema().statement(path, word).map(Some),
        None => schema().statement("", word).map(Some),
    }
}

/// What stands before the comment of a line, and the comment; both without blanks at their ends.
fn body(line: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'#' | b'!' if !quoted && !escaped => {
                let (body, comment) = line.split_at(at);
                return (trim(body), trim(comment));
            }
            _ => {}
        }
        escaped = *byte == b'\\';
    }
    (trim(line), &[])
}

fn trim(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |at| at + 1);
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(0).min(end);
    text.get(start..end).unwrap_or_default()
}

fn first_word(text: &[u8]) -> &[u8] {
    let text = trim(text);
    let end = text.iter().position(|byte| is_blank(*byte) || matches!(byte, b'"' | b'{')).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Adds `text` with one space between its words; what is quoted stays.
fn spaced(text: &[u8], out: &mut Vec<u8>) {
    let mut quoted = false;
    let mut blank = false;
    for byte in trim(text) {
        if is_blank(*byte) && !quoted {
            blank = true;
            continue;
        }
        if std::mem::take(&mut blank) {
            out.push(b' ');
        }
        quoted ^= *byte == b'"';
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests;
