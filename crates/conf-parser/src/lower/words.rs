//! What the lines of routes and of rules have in common: words of options, one after the other.

use std::fmt::Display;
use std::net::IpAddr;

use super::Context;
use super::value::{NotNumber, integer, row_bounds};
use crate::config::{Family, Named, Names, Prefix, Realms};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::schema::{Kind, nearest, schema};
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// A line that is being read.
pub(super) struct Words<'a, 'c, 'd> {
    pub(super) context: &'c mut Context<'d>,
    line: &'a Statement,
    /// How many words were read.
    read: usize,
    /// What the line is: `route` or `rule`.
    pub(super) what: &'static str,
    pub(super) code: Code,
    /// What a mistake costs.
    pub(super) cost: &'static str,
    /// Path of the words that are read now.
    pub(super) block: &'static str,
    /// The family, as far as it is known.
    pub(super) family: Option<Family>,
}

/// A destination or source.
#[derive(Debug, Clone, Copy)]
pub(super) enum Net {
    /// `default`, `any`, `all`: everything, of a family that is not told.
    Any,
    Prefix(Prefix),
}

impl Net {
    pub(super) fn family(self) -> Option<Family> {
        match self {
            Self::Any => None,
            Self::Prefix(prefix) => Some(prefix.family()),
        }
    }

    pub(super) fn prefix(self, family: Family) -> Prefix {
        match self {
            Self::Any => Prefix::any(family),
            Self::Prefix(prefix) => prefix,
        }
    }
}

impl<'a, 'c, 'd> Words<'a, 'c, 'd> {
    pub(super) fn new(
        context: &'c mut Context<'d>,
        line: &'a Statement,
        what: &'static str,
        code: Code,
        block: &'static str,
    ) -> Self {
        let cost = if what == "rule" { "the rule is not used" } else { "the route is not used" };
        Self { context, line, read: 0, what, code, cost, block, family: None }
    }

    pub(super) fn first(&self) -> &'a Word {
        &self.line.keyword
    }

    pub(super) fn peek(&self) -> Option<&'a Word> {
        match self.read.checked_sub(1) {
            None => Some(&self.line.keyword),
            Some(at) => self.line.arguments.get(at),
        }
    }

    pub(super) fn next(&mut self) -> Option<&'a Word> {
        let word = self.peek()?;
        self.read += 1;
        Some(word)
    }

    /// The word after `keyword`; without one keepalived does not start.
    pub(super) fn value(&mut self, keyword: &Word) -> Option<&'a Word> {
        let word = self.next();
        if word.is_none() {
            let message = format!(
                "*** Configuration line starting `{}` is missing a parameter after keyword `{}` at word position {}",
                self.line.keyword.text,
                keyword.text,
                self.read + 1
            );
            let finding =
                Diagnostic::error(Code::MissingParameter, Class::MissingParameter, keyword.span, message).refusing();
            let row = schema().lookup(self.block, &keyword.text);
            self.context.push(match row.filter(|row| !row.arguments.is_empty()) {
                Some(row) => finding.help(format!("write '{} {}'", row.keyword, row.arguments)),
                None => finding,
            });
        }
        word
    }

    /// Lists `word` as a word that is not acted on; whether it is a word of the line.
    pub(super) fn known(&mut self, word: &Word) -> bool {
        self.context.known_option(self.block, &word.text, word.span)
    }

    /// Reports what makes the line unusable.
    pub(super) fn refuse<T>(&mut self, word: &Word, message: impl Into<String>) -> Option<T> {
        self.context.push(Diagnostic::error(self.code, Class::General, word.span, message).label(self.cost));
        None
    }

    /// Reports a number that makes the line unusable.
    pub(super) fn refuse_number<T>(&mut self, word: &Word, wrong: NotNumber, message: impl Into<String>) -> Option<T> {
        let wrong = wrong.then(self.cost);
        self.context.bad_number(word, wrong, message);
        None
    }

    /// Reports a word that the line does not know.
    pub(super) fn unknown<T>(&mut self, word: &Word, message: String) -> Option<T> {
        let address = word.text.contains(['.', ':', '/']);
        let label = if address { "this is no address: " } else { "" }.to_owned() + self.cost;
        let finding = Diagnostic::error(self.code, Class::General, word.span, message).label(label);
        if self.context.diagnostics.is_full() {
            self.context.push(finding);
            return None;
        }
        let rows = schema().rows_of(self.block).filter(|row| row.kind == Kind::Option);
        let near = nearest(&word.text, rows.map(|row| row.keyword).filter(|keyword| !keyword.starts_with('<')));
        self.context.push(match near {
            Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
            None => finding,
        });
        None
    }

    /// The number after `keyword`, within the bounds of its row; `what` is the name that findings give it.
    pub(super) fn number<T: TryFrom<i128>>(&mut self, keyword: &Word, what: impl Display) -> Option<T> {
        let word = self.value(keyword)?;
        self.number_in(keyword, word, format!("Invalid {what} {} specified for {}", word.text, self.what))
    }

    /// The number in `word`, within the bounds of the row of `keyword`.
    pub(super) fn number_in<T: TryFrom<i128>>(&mut self, keyword: &Word, word: &Word, message: String) -> Option<T> {
        let row = schema().lookup(self.block, &keyword.text);
        // Another name has no bounds of its own.
        let row = row.and_then(|row| schema().row_numbered(row.number));
        match integer(&word.text, &row_bounds(row)) {
            Ok(number) => T::try_from(number).ok(),
            Err(wrong) => self.refuse_number(word, wrong, message),
        }
    }

    /// The value after `keyword`: 0 or 1.
    pub(super) fn bit(&mut self, keyword: &Word) -> Option<bool> {
        let word = self.value(keyword)?;
        match integer(&word.text, &(0..=1u8)) {
            Ok(number) => Some(number == 1),
            Err(wrong) => {
                let message = format!("Invalid {} value {} specified for {}", keyword.text, word.text, self.what);
                self.refuse_number(word, wrong, message)
            }
        }
    }

    /// The address in `word`; `invalid` is what is said about something else.
    pub(super) fn ip(&mut self, word: &Word, invalid: String) -> Option<IpAddr> {
        if let Ok(address) = word.text.parse() {
            return Some(address);
        }
        let finding = Diagnostic::error(Code::BadAddress, Class::General, word.span, invalid).label(self.cost);
        let bare = word.text.split_once('/').map(|(address, _)| address);
        self.context.push(match bare.filter(|address| address.parse::<IpAddr>().is_ok()) {
            Some(address) => finding.help("an address without the length of a prefix stands here").replacement(address),
            None => finding,
        });
        None
    }

    /// The network in `word`; nothing is said about what is none.
    pub(super) fn net(&mut self, word: &Word) -> Option<Net> {
        let text = word.text.as_str();
        if matches!(text, "default" | "any" | "all") {
            return Some(Net::Any);
        }
        if text == "default6" {
            let message = "'default6' is deprecated - please replace with 'inet6 default'";
            let finding = Diagnostic::warning(Code::Deprecated, Class::Notice, word.span, message);
            self.context.push(finding.help("write ::/0").replacement("::/0"));
            return Some(Net::Prefix(Prefix::any(Family::Ipv6)));
        }
        let (address, length) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
        let address: IpAddr = address.parse().ok()?;
        let len = self.context.prefix_len(word, address, length);
        Some(Net::Prefix(Prefix { address, len }))
    }

    /// Notes that the line is of `family`; whether that can be.
    pub(super) fn fits(&mut self, family: Family) -> bool {
        *self.family.get_or_insert(family) == family
    }

    /// `inet` or `inet6`, which makes keepalived pass over the next word.
    pub(super) fn inet(&mut self, word: &Word, family: Family) -> Option<()> {
        if !self.fits(family) {
            let known = if family == Family::Ipv4 { Family::Ipv6 } else { Family::Ipv4 };
            return self.refuse(word, format!("{} specified for {known} {}", word.text, self.what));
        }
        if let Some(skipped) = self.next() {
            let message = format!("keepalived passes over the word after '{}'", word.text);
            let finding = Diagnostic::note(self.code, skipped.span, message).label("not read");
            self.context.push(finding.help(format!("write '{}' as the last word of the line", word.text)));
        }
        Some(())
    }

    /// The interface after `keyword`.
    pub(super) fn interface(&mut self, keyword: &Word) -> Option<Box<Spanned<String>>> {
        self.value(keyword).map(|word| Box::new(name(word)))
    }

    /// A type of service.
    pub(super) fn tos(&mut self, keyword: &Word) -> Option<Named<u8>> {
        let word = self.value(keyword)?;
        match named(word, crate::config::DSFIELDS, u8::MAX.into()) {
            Some(value) => Some(value),
            None => self.refuse(word, format!("TOS value {} is invalid", word.text)),
        }
    }

    /// `SOURCE/DESTINATION`, or `DESTINATION`.
    pub(super) fn realms(&mut self, word: &Word, invalid: String) -> Option<Box<Realms>> {
        let (source, destination) =
            word.text.split_once('/').map_or((None, word.text.as_str()), |(source, last)| (Some(source), last));
        let realm = |text: &str, at| named_text(part(word, at, text), crate::config::REALMS, u8::MAX.into());
        let behind = word.text.len() - destination.len();
        let read = match (source.map(|source| realm(source, 0)), realm(destination, behind)) {
            (Some(None), _) | (_, None) => None,
            (source, Some(destination)) => Some(Realms { source: source.flatten(), destination }),
        };
        match read.filter(|_| !destination.contains('/')) {
            Some(realms) => Some(Box::new(realms)),
            None => self.refuse(word, invalid),
        }
    }

    /// `track_group`.
    pub(super) fn track_group(&mut self, keyword: &Word) -> Option<Box<Spanned<String>>> {
        self.value(keyword).map(|word| Box::new(name(word)))
    }
}

pub(super) fn name(word: &Word) -> Spanned<String> {
    Spanned::new(word.text.clone(), word.span)
}

/// `text`, which begins `at` bytes behind the start of `word`, with its place where the word is written as it reads.
fn part(word: &Word, at: usize, text: &str) -> Spanned<String> {
    let offset = |at: usize| u32::try_from(at).map_or(u32::MAX, |at| word.span.start.saturating_add(at));
    let span = match offset(word.text.len()) == word.span.end {
        true => Span { start: offset(at), end: offset(at + text.len()), ..word.span },
        false => word.span,
    };
    Spanned::new(text.to_owned(), span)
}

/// A number or a name; none for a number above `most`.
pub(super) fn named<T: TryFrom<u32>>(word: &Word, names: Names, most: u32) -> Option<Named<T>> {
    named_text(name(word), names, most)
}

fn named_text<T: TryFrom<u32>>(text: Spanned<String>, names: Names, most: u32) -> Option<Named<T>> {
    let known = names.iter().find(|(name, _)| *name == *text).map(|(_, number)| *number);
    match known {
        Some(number) => T::try_from(number).ok().map(Named::Number),
        None if text.is_empty() => None,
        None if text.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '+') => {
            let number = number_of_any_base(&text).filter(|number| *number <= most)?;
            T::try_from(number).ok().map(Named::Number)
        }
        None => Some(Named::Name(Box::new(text))),
    }
}

/// A number as C writes it: `0x` before hexadecimal, `0` before octal digits.
pub(super) fn number_of_any_base(text: &str) -> Option<u32> {
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, base).ok().filter(|_| plain)
}
