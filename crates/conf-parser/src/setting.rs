//! The effective configuration as lines: what holds for every keyword, and where it comes from.
//!
//! [`Config::settings`](crate::Config::settings) turns the typed values into a tree of [`Setting`]s, in the words of the
//! language. What prints, compares or explains a configuration works on that tree and knows no keyword.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::schema::{Row, Unit, schema};
use crate::source::{Span, Spanned};

/// Where the values of one block were written: the keyword of each line that counted, in the order of the file.
///
/// Two of them are always equal: a block that moved by a line did not change.
#[derive(Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Places(Vec<(u16, Span)>);

/// Lines of a block that are noted one by one; of those beyond them, of each keyword the last.
const MANY_PLACES: usize = 64;

impl Places {
    pub(crate) fn add(&mut self, row: &'static Row, span: Span) {
        let number = schema().number(row);
        // What is written again and again takes no more room.
        let last = (self.0.len() >= MANY_PLACES).then(|| self.0.iter_mut().rev().find(|(other, _)| *other == number));
        match last.flatten() {
            Some((_, place)) => *place = span,
            None => self.0.push((number, span)),
        }
    }

    /// Takes over where the value of `keyword` came from, under the name that it has in `block`.
    pub(crate) fn inherit(&mut self, block: &str, keyword: &str, from: Option<Span>) {
        if let Some(span) = from
            && let Some(row) = schema().lookup(block, keyword)
            && self.of_row(row).is_none()
        {
            self.add(row, span);
        }
    }

    /// The value of `keyword` comes from `span`, whatever was written before.
    pub(crate) fn overwrite(&mut self, block: &str, keyword: &str, span: Span) {
        if let Some(row) = schema().lookup(block, keyword) {
            self.add(row, span);
        }
    }

    /// The value of `keyword` is no longer what was written.
    pub(crate) fn forget(&mut self, block: &str, keyword: &str) {
        if self.0.is_empty() {
            return;
        }
        if let Some(row) = schema().lookup(block, keyword) {
            let number = schema().number(row);
            self.0.retain(|(written, _)| *written != number);
        }
    }

    /// Where the value of `keyword` was written, of several lines the last; `None` for a default.
    ///
    /// `block` is the path of the block that the keyword stands in, empty for the top level.
    pub fn of(&self, block: &str, keyword: &str) -> Option<Span> {
        // Most blocks have nothing written that anybody asks for.
        if self.0.is_empty() { None } else { self.of_row(schema().lookup(block, keyword)?) }
    }

    /// The keywords that were written, of aliases the name proper.
    pub(crate) fn keywords(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|(number, _)| schema().row_numbered(*number)).map(|row| row.keyword)
    }

    /// Counts the keywords of the block `from` as those of the block `to`.
    pub(crate) fn relocate(&mut self, from: &str, to: &str) {
        for (number, _) in &mut self.0 {
            let row = schema().row_numbered(*number).filter(|row| row.block == from);
            if let Some(row) = row.and_then(|row| schema().lookup(to, row.keyword)) {
                *number = schema().number(row);
            }
        }
    }

    /// Takes out those of the keywords that `wanted` names.
    pub(crate) fn take_out(&mut self, wanted: impl Fn(&str) -> bool) -> Self {
        let is_wanted =
            |(number, _): &(u16, Span)| schema().row_numbered(*number).is_some_and(|row| wanted(row.keyword));
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(is_wanted);
        self.0 = left;
        Self(taken)
    }

    /// Adds what was written after these.
    pub(crate) fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// Gives back memory that is not needed.
    pub(crate) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    fn of_row(&self, row: &'static Row) -> Option<Span> {
        let number = schema().number(row);
        self.0.iter().rev().find(|(written, _)| *written == number).map(|(_, span)| *span)
    }
}

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}

/// One word of a line.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scalar {
    /// `on` or `off`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number in millionths, printed with as many decimals as it needs.
    Millionths(u64),
    /// A word or a quoted text.
    Text(String),
    /// A command line of which this is one word; quoted by the rules of scripts.
    Script(Vec<String>),
    /// A pattern, or another word of a line of scripts; quoted by their rules.
    Pattern(String),
    /// A password: bytes that are printed only on request.
    Secret(Vec<u8>),
}

impl Scalar {
    /// As the language writes it; a password only with `secrets`.
    pub(crate) fn shown(&self, secrets: bool) -> String {
        match self {
            Self::Secret(bytes) if secrets => Self::Text(String::from_utf8_lossy(bytes).into_owned()).to_string(),
            word => word.to_string(),
        }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string())
    }
}

/// As the language writes it; a secret as asterisks.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(on) => f.write_str(if *on { "on" } else { "off" }),
            Self::Integer(number) => number.fmt(f),
            Self::Millionths(number) => {
                let text = format!("{}.{:06}", number / 1_000_000, number % 1_000_000);
                f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
            }
            Self::Text(text) => write_word(f, text),
            Self::Script(words) => write_script(f, words),
            Self::Pattern(text) => write_pattern(f, text),
            Self::Secret(_) => f.write_str("********"),
        }
    }
}

/// In quotes where the word could be taken for something else, at the start or at the end of a line too.
fn write_word(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let special = |byte: u8| byte.is_ascii_control() || b" #!{}\"".contains(&byte);
    let at_start = text.starts_with(['@', '~', '$']) || text.starts_with("include");
    let plain = !text.is_empty() && !text.bytes().any(special) && !at_start && !text.ends_with('\\');
    if plain { f.write_str(text) } else { write!(f, "\"{text}\"") }
}

/// `"PATTERN"`, every character that could mean something else escaped.
fn write_pattern(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '\\' => f.write_str("\\\\")?,
            '"' | '$' | '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(character))?,
            character => write!(f, "{character}")?,
        }
    }
    f.write_str("\"")
}

/// `"COMMAND 'PARAMETER' ..."`, every character that could end a word escaped for both readings of it.
fn write_script(f: &mut fmt::Formatter<'_>, words: &[String]) -> fmt::Result {
    f.write_str("\"")?;
    for (at, word) in words.iter().enumerate() {
        f.write_str(if at == 0 { "'" } else { " '" })?;
        for character in word.chars() {
            match character {
                '\'' | '"' | '\\' => write!(f, "\\\\x{:02x}", u32::from(character))?,
                '\n' => f.write_str("\\n")?,
                '$' | '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(character))?,
                character => write!(f, "{character}")?,
            }
        }
        f.write_str("'")?;
    }
    f.write_str("\"")
}

/// One line of the effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The row of its keyword; none for the entries of a list, such as addresses.
    pub row: Option<&'static Row>,
    /// What follows the keyword; for an entry of a list the whole line.
    pub words: Vec<Scalar>,
    /// Where it was written; `None` for a default.
    pub written: Option<Span>,
    /// Whether the line is there: a flag that is not set, or an option that nothing is known of, is not.
    pub set: bool,
    /// The lines inside its braces.
    pub body: Option<Vec<Self>>,
}

impl Setting {
    /// The keyword; empty for an entry of a list.
    pub fn keyword(&self) -> &'static str {
        self.row.map_or("", |row| row.keyword)
    }

    /// The entry of a list.
    pub(crate) fn entry(words: Vec<Scalar>, written: Span) -> Self {
        Self { row: None, words, written: Some(written), set: true, body: None }
    }
}

/// Where a value is to be shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) row: &'static Row,
    pub(crate) written: Option<Span>,
}

impl Slot {
    pub(crate) fn new(block: &str, keyword: &str, places: &Places) -> Self {
        let row = schema().lookup(block, keyword);
        let row = row.unwrap_or_else(|| unreachable!("{block} {keyword} is a row of the table: a test looks each up"));
        Self { row, written: places.of_row(row) }
    }

    pub(crate) fn line(self, words: Vec<Scalar>) -> Setting {
        Setting { row: Some(self.row), words, written: self.written, set: true, body: None }
    }

    /// The line is not there.
    pub(crate) fn absent(self) -> Setting {
        Setting { set: false, ..self.line(Vec::new()) }
    }

    /// The line opens a block.
    pub(crate) fn block(self, words: Vec<Scalar>, body: Vec<Setting>) -> Setting {
        Setting { body: Some(body), ..self.line(words) }
    }
}

/// A value that stands for the words after a keyword, or for several lines.
pub(crate) trait Show {
    /// Adds the lines that stand for it.
    fn show(&self, slot: Slot, out: &mut Vec<Setting>);
}

/// A value that is one word.
pub(crate) trait ShowWord {
    /// The word; `row` says in which unit.
    fn word(&self, row: &Row) -> Scalar;
}

macro_rules! show_word {
    ($($type:ty => |$value:ident, $row:ident| $word:expr;)+) => { $(
        impl ShowWord for $type {
            fn word(&self, $row: &Row) -> Scalar {
                let $value = self;
                $word
            }
        }
        impl Show for $type {
            fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
                out.push(slot.line(vec![self.word(slot.row)]));
            }
        }
    )+ };
}
pub(crate) use show_word;

show_word! {
    u8 => |value, _row| Scalar::Integer((*value).into());
    u16 => |value, _row| Scalar::Integer((*value).into());
    u32 => |value, _row| Scalar::Integer((*value).into());
    u64 => |value, _row| Scalar::Integer(i64::try_from(*value).unwrap_or(i64::MAX));
    i8 => |value, _row| Scalar::Integer((*value).into());
    i16 => |value, _row| Scalar::Integer((*value).into());
    i32 => |value, _row| Scalar::Integer((*value).into());
    i64 => |value, _row| Scalar::Integer(*value);
    String => |value, _row| Scalar::Text(value.clone());
    IpAddr => |value, _row| Scalar::Text(value.to_string());
    Ipv4Addr => |value, _row| Scalar::Text(value.to_string());
    Ipv6Addr => |value, _row| Scalar::Text(value.to_string());
    Duration => |value, row| duration(*value, row.unit);
}

/// A time in the unit of its keyword.
pub(crate) fn duration(value: Duration, unit: Unit) -> Scalar {
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    Scalar::Millionths(match unit {
        Unit::Microseconds => micros.saturating_mul(1_000_000),
        Unit::Milliseconds => micros.saturating_mul(1000),
        Unit::Seconds | Unit::None => micros,
    })
}

/// A switch shows its value; a flag, which takes none, is there or not.
impl Show for bool {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(match (slot.row.takes_switch(), *self) {
            (true, on) => slot.line(vec![Scalar::Bool(on)]),
            (false, true) => slot.line(Vec::new()),
            (false, false) => slot.absent(),
        });
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        match self {
            Some(value) => value.show(slot, out),
            None => out.push(slot.absent()),
        }
    }
}

impl<T: Show + ?Sized> Show for Box<T> {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        (**self).show(slot, out);
    }
}

impl Show for str {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(vec![Scalar::Text(self.to_owned())]));
    }
}

impl<T: Show> Show for Spanned<T> {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        self.value.show(Slot { written: slot.written.or(Some(self.span)), ..slot }, out);
    }
}

impl<T: ShowWord> ShowWord for Spanned<T> {
    fn word(&self, row: &Row) -> Scalar {
        self.value.word(row)
    }
}

/// A block of the language: its lines, and the words behind its keyword.
pub(crate) trait Block {
    /// The words between the keyword and `{`.
    fn head(&self) -> Vec<Scalar> {
        Vec::new()
    }

    /// Where the head was written.
    fn written(&self) -> Option<Span> {
        None
    }

    /// The lines inside the braces.
    fn body(&self) -> Vec<Setting>;
}

/// Blocks that have a name behind their keyword and nothing but keywords inside.
macro_rules! named_blocks {
    ($($type:ty => $path:literal;)+) => { $(
        impl crate::setting::Block for $type {
            fn head(&self) -> Vec<crate::setting::Scalar> {
                vec![crate::setting::Scalar::Text(self.name.value.clone())]
            }

            fn written(&self) -> Option<crate::source::Span> {
                Some(self.name.span)
            }

            fn body(&self) -> Vec<crate::setting::Setting> {
                let mut out = Vec::new();
                self.lines($path, &self.places, &mut out);
                out
            }
        }
    )+ };
}
pub(crate) use named_blocks;

/// One block of the keyword `keyword`, which stands in `block`.
pub(crate) fn show_block<T: Block>(value: &T, slot: Slot, out: &mut Vec<Setting>) {
    let slot = Slot { written: value.written().or(slot.written), ..slot };
    out.push(slot.block(value.head(), value.body()));
}

/// Several blocks of one keyword.
pub(crate) fn show_blocks<T: Block>(values: &[T], slot: Slot, out: &mut Vec<Setting>) {
    for value in values {
        show_block(value, slot, out);
    }
}

/// One block whose lines are the words of `values`, one to a line; absent where there are none.
pub(crate) fn show_list<T>(values: &[T], slot: Slot, out: &mut Vec<Setting>, entry: impl Fn(&T) -> Setting) {
    out.push(match values {
        [] => slot.absent(),
        values => slot.block(Vec::new(), values.iter().map(entry).collect()),
    });
}

/// Declares a type whose fields are lines of a block, and how they are shown.
///
/// `field: Type as "keyword"` shows the field as that line; `as "keyword" via function` calls
/// `function(&field, slot, out)`; `<flatten> field: Type` adds the lines of another such type; a field without any of
/// them is shown by the block's head or not at all.
///
/// After `pub struct Name in "block"` the default of the type is what the table says of its lines in that block: each
/// field with a keyword starts as its row says, the others as their own types say.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident in $block:literal {
            $( $(#[$field_meta:meta])* $(<$flatten:ident>)? $field:ident : $type:ty $(as $keyword:literal $(via $show:expr)?)? , )*
        }
    ) => {
        crate::setting::settings! {
            $(#[$meta])*
            pub struct $name {
                $( $(#[$field_meta])* $(<$flatten>)? $field : $type $(as $keyword $(via $show)?)? , )*
            }
        }

        impl Default for $name {
            fn default() -> Self {
                static DEFAULT: std::sync::OnceLock<$name> = std::sync::OnceLock::new();
                crate::schema::default::once(&DEFAULT, || Self {
                    $( $field: crate::setting::settings!(@default $block $(, $keyword)?), )*
                })
            }
        }
    };
    (@default $block:literal) => { Default::default() };
    (@default $block:literal, $keyword:literal) => { crate::schema::default::default($block, $keyword) };
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $(<$flatten:ident>)? $field:ident : $type:ty $(as $keyword:literal $(via $show:expr)?)? , )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $name {
            /// Adds the lines of its fields as they stand in `block`.
            pub(crate) fn lines(
                &self,
                block: &str,
                places: &crate::setting::Places,
                out: &mut Vec<crate::setting::Setting>,
            ) {
                $( crate::setting::settings!(@show self, block, places, out, $field, [$($flatten)?] $($keyword $(, $show)?)?); )*
            }
        }
    };
    (@show $self:ident, $block:ident, $places:ident, $out:ident, $field:ident, [flatten]) => {
        $self.$field.lines($block, $places, $out);
    };
    (@show $self:ident, $block:ident, $places:ident, $out:ident, $field:ident, []) => {};
    (@show $self:ident, $block:ident, $places:ident, $out:ident, $field:ident, [] $keyword:literal) => {
        crate::setting::Show::show(&$self.$field, crate::setting::Slot::new($block, $keyword, $places), $out);
    };
    (@show $self:ident, $block:ident, $places:ident, $out:ident, $field:ident, [] $keyword:literal, $show:expr) => {
        $show(&$self.$field, crate::setting::Slot::new($block, $keyword, $places), $out);
    };
}
pub(crate) use settings;

/// Settings as the text of a configuration file that means the same.
///
/// A comment says of every line where it comes from: what `place` makes of its place, or that it is the default. What is
/// not set stands in a comment too. With `secrets`, passwords are printed as they are.
pub fn text(settings: &[Setting], place: &dyn Fn(Span) -> Option<String>, secrets: bool) -> String {
    let mut out = String::new();
    Text { place, secrets }.write(&mut out, settings, 0);
    out
}

/// Whether [`text`] with its passwords, read again, is the same configuration: the language has no escapes, so a password
/// whose bytes are not UTF-8 is shown with U+FFFD in their place.
pub fn is_writable(settings: &[Setting]) -> bool {
    settings.iter().all(|setting| {
        let secret = |word: &Scalar| matches!(word, Scalar::Secret(bytes) if std::str::from_utf8(bytes).is_err());
        !setting.words.iter().any(secret) && setting.body.as_deref().is_none_or(is_writable)
    })
}

struct Text<'a> {
    place: &'a dyn Fn(Span) -> Option<String>,
    secrets: bool,
}

/// Columns of the comments: no further left, so that blocks look alike, and no further right for the sake of one long line.
const COMMENT: std::ops::RangeInclusive<usize> = 40..=64;

impl Text<'_> {
    fn write(&self, out: &mut String, settings: &[Setting], depth: usize) {
        let indent = "    ".repeat(depth);
        let lines: Vec<_> = settings.iter().map(|setting| format!("{indent}{}", self.line(setting))).collect();
        let widths = lines.iter().map(|line| line.chars().count() + 1).filter(|width| COMMENT.contains(width));
        let column = widths.max().unwrap_or(*COMMENT.start());
        for (at, (setting, line)) in settings.iter().zip(lines).enumerate() {
            if depth == 0 && at > 0 && setting.body.is_some() {
                out.push('\n');
            }
            out.push_str(&line);
            if let Some(origin) = self.origin(setting) {
                let blanks = column.saturating_sub(line.chars().count()).max(1);
                out.extend(std::iter::repeat_n(' ', blanks));
                out.push_str("# ");
                out.push_str(&origin);
            }
            out.push('\n');
            if let Some(body) = &setting.body {
                self.write(out, body, depth + 1);
                out.push_str(&indent);
                out.push_str("}\n");
            }
        }
    }

    /// The words of a line, with its `{`.
    fn line(&self, setting: &Setting) -> String {
        let keyword = (!setting.keyword().is_empty()).then(|| setting.keyword().to_owned());
        let words = setting.words.iter().map(|word| word.shown(self.secrets));
        let brace = setting.body.as_ref().map(|_| "{".to_owned());
        let words: Vec<_> = keyword.into_iter().chain(words).chain(brace).collect();
        format!("{}{}", if setting.set { "" } else { "# " }, words.join(" "))
    }

    /// Where a line comes from; of a block that nobody wrote its lines tell enough.
    fn origin(&self, setting: &Setting) -> Option<String> {
        match setting.written {
            Some(span) => (self.place)(span),
            None if setting.body.is_some() => None,
            None => Some(if setting.set { "default" } else { "not set" }.to_owned()),
        }
    }
}

#[cfg(feature = "serde")]
mod json;
#[cfg(feature = "serde")]
pub use json::{Json, json};

#[cfg(test)]
mod tests;
