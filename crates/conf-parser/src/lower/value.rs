//! Numbers, times, switches and addresses as keepalived reads and complains about them.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Context;
use crate::config::Family;
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::schema::{Row, Unit};
use crate::source::Spanned;
use crate::tree::Statement;

/// Why a text is not a number that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotNumber {
    /// In keepalived's words where it has some.
    wrong: String,
    /// What would be right.
    right: Option<String>,
}

impl NotNumber {
    fn new(wrong: String, least: impl Display, most: Option<impl Display>) -> Self {
        let least = least.to_string();
        let right = match most {
            // The shortest time.
            None if least == "0.000001" => "write a number above 0".to_owned(),
            Some(most) => format!("write a number from {least} to {most}"),
            None => format!("write a number of {least} or more"),
        };
        Self { wrong, right: Some(right) }
    }

    /// Says what follows from it.
    pub(super) fn then(self, consequence: &str) -> Self {
        Self { wrong: format!("{}: {consequence}", self.wrong), ..self }
    }
}

impl Display for NotNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.wrong)
    }
}

impl From<String> for NotNumber {
    fn from(wrong: String) -> Self {
        Self { wrong, right: None }
    }
}

/// A whole number in base 10.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn integer<T>(text: &str, range: &RangeInclusive<T>) -> Result<T, NotNumber>
where
    T: Copy + PartialOrd + Display + TryFrom<i128> + Into<i128>,
{
    let (least, most): (i128, i128) = ((*range.start()).into(), (*range.end()).into());
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let bad = |wrong| NotNumber::new(wrong, least, Some(most).filter(|most| *most < MANY));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(format!("invalid number '{text}'")));
    }
    if least >= 0 && text.starts_with('-') {
        return Err(bad(format!("negative number '{text}'")));
    }
    let value = text.parse::<i128>().ok().filter(|value| (least..=most).contains(value));
    value
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| bad(format!("number '{text}' outside range [{least}, {most}]")))
}

/// Nobody is told of an end that is as far away.
const MANY: i128 = 1 << 63;
const MANY_SECONDS: u64 = 1 << 40;

/// A time in seconds with up to `places` decimals; more are rounded half up, with a finding.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn seconds(
    text: &str,
    places: usize,
    range: &RangeInclusive<Duration>,
) -> Result<(Duration, Option<String>), NotNumber> {
    let bad = |wrong| {
        let most = Some(range.end().as_secs_f64()).filter(|_| range.end().as_secs() < MANY_SECONDS);
        NotNumber::new(wrong, range.start().as_secs_f64(), most)
    };
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Some(rest) = digits.strip_prefix('-').filter(|rest| rest.starts_with(|char: char| char.is_ascii_digit())) {
        return Err(bad(format!("negative number '-{rest}'")));
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !number(whole) || !number(fraction) {
        return Err(bad(format!("invalid number '{text}'")));
    }
    let outside = || {
        let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
        bad(format!("number '{text}' outside range [{least}, {most}]"))
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| outside())? };
    let digit = |at: usize| u64::from(fraction.as_bytes().get(at).map_or(0, |byte| byte - b'0'));
    let mut micros = (0..6).fold(0, |micros, at| micros * 10 + if at < places { digit(at) } else { 0 });
    let mut complaint = None;
    if fraction.len() > places {
        complaint = Some(format!("number '{text}' has too many decimal places"));
        if digit(places) >= 5 {
            micros += 10u64.pow(6u32.saturating_sub(u32::try_from(places).unwrap_or(6)));
        }
    }
    let value = Duration::from_secs(whole).saturating_add(Duration::from_micros(micros));
    if range.contains(&value) { Ok((value, complaint)) } else { Err(outside()) }
}

/// An address, and what keepalived overlooks behind it: the end of a range or the length of a prefix.
pub(super) fn host(text: &str) -> Option<(IpAddr, &str)> {
    let plain = text.bytes().all(|byte| !matches!(byte, b'-' | b'/'));
    let end = if plain { text.len() } else { text.find('-').or_else(|| text.find('/')).unwrap_or(text.len()) };
    let (address, rest) = text.split_at_checked(end)?;
    Some((address.parse().ok()?, rest))
}

/// How a text would be an address.
pub(super) fn address_help(text: &str) -> &'static str {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let bare = text.split('/').next().unwrap_or_default();
    if bare.split('.').count() == 4 && bare.split('.').all(number) {
        "each of the four numbers of an IPv4 address is 0 to 255, without leading zeros"
    } else {
        "write an IPv4 or IPv6 address, such as 192.0.2.1 or 2001:db8::1"
    }
}

/// A switch value.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        _ => None,
    }
}

/// What to do about signs of other languages in a value, and what stands there then.
fn punctuation(text: &str) -> Option<(&'static str, &str)> {
    if let Some(value) = text.strip_prefix('=') {
        Some(("remove the '=': a blank stands between a keyword and its value", value))
    } else {
        let value = text.strip_suffix([';', ','])?;
        Some(("remove what stands after the value: a line ends without ';' or ','", value))
    }
}

/// Length of the prefix that `255.255.255.0` and its like stand for.
fn netmask(text: &str) -> Option<u32> {
    let mask = text.parse::<Ipv4Addr>().ok()?.to_bits();
    (mask.leading_ones() == mask.count_ones()).then_some(mask.leading_ones())
}

/// What keepalived makes of a length that is no number of up to `most`: the digits that it starts with count.
fn leading_number(text: &str, most: u8) -> u8 {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    match digits.get(..end) {
        Some("") | None => {
            if text.starts_with('-') {
                most
            } else {
                0
            }
        }
        Some(digits) => digits.parse().ok().filter(|length| *length <= most).unwrap_or(most),
    }
}

/// The words after a keyword as a value of the typed configuration.
pub(super) trait Value: Sized {
    /// Reads them, with the unit and the bounds of the keyword's row; what is wrong is reported.
    fn read(context: &mut Context<'_>, statement: &Statement) -> Option<Self>;
}

macro_rules! values {
    ($($type:ty => $read:expr;)+) => { $(
        impl Value for $type {
            fn read(context: &mut Context<'_>, statement: &Statement) -> Option<Self> {
                let read: fn(&mut Context<'_>, &Statement) -> Option<Self> = $read;
                read(context, statement)
            }
        }
    )+ };
}

values! {
    u8 => |context, statement| context.number(statement, &statement.keyword.text);
    u16 => |context, statement| context.number(statement, &statement.keyword.text);
    u32 => |context, statement| context.number(statement, &statement.keyword.text);
    u64 => |context, statement| context.number(statement, &statement.keyword.text);
    i8 => |context, statement| context.number(statement, &statement.keyword.text);
    i16 => |context, statement| context.number(statement, &statement.keyword.text);
    i32 => |context, statement| context.number(statement, &statement.keyword.text);
    Duration => |context, statement| context.time(statement, &statement.keyword.text);
    bool => |context, statement| context.switch(statement);
    String => |context, statement| context.text(statement);
    IpAddr => |context, statement| context.address(statement).map(|address| address.value);
}

impl<T: Value> Value for Option<T> {
    fn read(context: &mut Context<'_>, statement: &Statement) -> Option<Self> {
        T::read(context, statement).map(Some)
    }
}

impl<T: Value> Value for Spanned<T> {
    fn read(context: &mut Context<'_>, statement: &Statement) -> Option<Self> {
        let span = statement.arguments.first().map_or(statement.keyword.span, |word| word.span);
        T::read(context, statement).map(|value| Self::new(value, span))
    }
}

/// The numbers that a keyword takes, by its row; without bounds there, all.
pub(super) fn bounds(statement: &Statement) -> RangeInclusive<i128> {
    row_bounds(statement.row)
}

/// The numbers that the row of a word allows; without bounds there, those of 32 bits.
pub(super) fn row_bounds(row: Option<&Row>) -> RangeInclusive<i128> {
    let bounds = row.and_then(|row| row.bounds);
    bounds.map_or(0..=i128::from(u32::MAX), |(least, most)| whole(least)..=whole(most))
}

/// The whole part of a number in millionths. Most of them fit into 64 bits, in which dividing is quick.
fn whole(millionths: i128) -> i128 {
    match i64::try_from(millionths) {
        Ok(millionths) => millionths.div_euclid(1_000_000).into(),
        Err(_) => millionths.div_euclid(1_000_000),
    }
}

/// The times that a keyword takes, in its own unit.
pub(super) fn time_bounds(row: &Row) -> RangeInclusive<Duration> {
    let time = |millionths: i128| u64::try_from(millionths).map_or(Duration::MAX, Duration::from_micros);
    row.bounds.map_or(Duration::ZERO..=Duration::MAX, |(least, most)| time(least)..=time(most))
}

impl Context<'_> {
    /// Reports a number that cannot be used.
    pub(super) fn bad_number(&mut self, word: &Word, wrong: impl Into<NotNumber>, message: impl Into<String>) {
        let NotNumber { wrong, right } = wrong.into();
        let finding = Diagnostic::error(Code::BadNumber, Class::InvalidNumber, word.span, message).label(wrong);
        self.push(match (punctuation(&word.text), right) {
            (Some((help, value)), _) => finding.help(help).replacement(value),
            (None, Some(right)) => finding.help(right),
            (None, None) => finding,
        });
    }

    /// The length of the prefix `address/length`, which is `word`; that of the whole address without one.
    ///
    /// Where more follows a number, keepalived says that it takes the whole address, but takes the number.
    pub(super) fn prefix_len(&mut self, word: &Word, address: IpAddr, length: Option<&str>) -> u8 {
        let bits = Family::of(address).bits();
        let Some(length) = length else { return bits };
        let wrong = match integer(length, &(0..=bits)) {
            Ok(length) => return length,
            Err(wrong) => wrong,
        };
        let used = leading_number(length, bits);
        if length.is_empty() {
            let finding = Diagnostic::note(Code::BadNumber, word.span, "nothing follows the '/': the length is 0");
            self.push(finding.help(format!("write {address}, or {address}/LENGTH")));
            return used;
        }
        let message = format!("Invalid address prefix len {length} for address {} - using {bits}", word.text);
        let NotNumber { wrong, .. } = wrong;
        let wrong = if used == bits { wrong } else { format!("{wrong}, but what is used is {used}") };
        let right = Some(format!("the length of a prefix is a number from 0 to {bits}"));
        let wrong = NotNumber { wrong, right };
        match netmask(length) {
            Some(length) => self.push(
                Diagnostic::error(Code::BadNumber, Class::InvalidNumber, word.span, message)
                    .label("this is a netmask")
                    .help("write the netmask as the length of the prefix")
                    .replacement(format!("{address}/{length}")),
            ),
            None => self.bad_number(word, wrong, message),
        }
        used
    }

    /// Puts the value after a keyword into `slot`, unless it cannot be used.
    pub(super) fn set<T: Value>(&mut self, slot: &mut T, statement: &Statement) {
        if let Some(value) = T::read(self, statement) {
            *slot = value;
        }
    }

    /// The number after a keyword; without one that can be used there is a finding whose message starts with `what`.
    pub(super) fn number<T: TryFrom<i128>>(&mut self, statement: &Statement, what: &str) -> Option<T> {
        self.number_with(statement, |text| format!("{what} '{text}' is invalid - ignoring"))
    }

    /// The number after a keyword; one that cannot be used is reported in the words that `message` gives for it.
    pub(super) fn number_with<T: TryFrom<i128>>(
        &mut self,
        statement: &Statement,
        message: impl FnOnce(&str) -> String,
    ) -> Option<T> {
        let word = statement.arguments.first()?;
        self.bounded_with(statement.row, word, || message(&word.text))
    }

    /// `word` as a number within the bounds of `row`; one that cannot be used is reported as `message`.
    pub(super) fn bounded<T: TryFrom<i128>>(
        &mut self,
        row: Option<&Row>,
        word: &Word,
        message: impl Into<String>,
    ) -> Option<T> {
        self.bounded_with(row, word, || message)
    }

    fn bounded_with<T: TryFrom<i128>, M: Into<String>>(
        &mut self,
        row: Option<&Row>,
        word: &Word,
        message: impl FnOnce() -> M,
    ) -> Option<T> {
        match integer(&word.text, &row_bounds(row)) {
            Ok(value) => T::try_from(value).ok(),
            Err(wrong) => {
                self.bad_number(word, wrong, message());
                None
            }
        }
    }

    /// The time after a keyword, in the unit of its row.
    pub(super) fn time(&mut self, statement: &Statement, what: &str) -> Option<Duration> {
        self.time_with(statement, |text| format!("{what} '{text}' is invalid - ignoring"))
    }

    /// The time after a keyword; a value that cannot be used is reported in the words that `message` gives for it.
    pub(super) fn time_with(
        &mut self,
        statement: &Statement,
        message: impl FnOnce(&str) -> String,
    ) -> Option<Duration> {
        let (row, word) = (statement.row?, statement.arguments.first()?);
        let read = match row.whole {
            true => integer(&word.text, &bounds(statement))
                .map(|whole| (Duration::from_secs(u64::try_from(whole).unwrap_or_default()), None)),
            false => seconds(&word.text, row.places, &time_bounds(row)),
        };
        match read {
            Ok((value, complaint)) => {
                if let Some(complaint) = complaint {
                    self.push(Diagnostic::warning(Code::BadNumber, Class::InvalidNumber, word.span, complaint));
                }
                Some(match row.unit {
                    Unit::Seconds | Unit::None => value,
                    Unit::Milliseconds => value / 1000,
                    Unit::Microseconds => value / 1_000_000,
                })
            }
            Err(wrong) => {
                self.bad_number(word, wrong, message(&word.text));
                None
            }
        }
    }

    /// The switch after a keyword; on where no value is given.
    pub(super) fn switch(&mut self, statement: &Statement) -> Option<bool> {
        let keyword = &statement.keyword.text;
        self.switch_with(statement, |text| format!("Invalid {keyword} value '{text}' specified - ignoring"))
    }

    /// The switch after a keyword; another word is reported as `message` gives for it.
    pub(super) fn switch_with(&mut self, statement: &Statement, message: impl FnOnce(&str) -> String) -> Option<bool> {
        let Some(word) = statement.arguments.first() else {
            return Some(true);
        };
        let value = boolean(&word.text);
        if value.is_none() {
            let finding = Diagnostic::error(Code::BadBoolean, Class::General, word.span, message(&word.text));
            self.push(finding.help("one of true, on, yes, false, off, no, in lower case"));
        }
        value
    }

    /// The word after a keyword that is passed over without one; then `missing` is reported.
    pub(super) fn word<'s>(&mut self, statement: &'s Statement, missing: impl Into<String>) -> Option<&'s Word> {
        let word = statement.arguments.first();
        if word.is_none() {
            let finding = Diagnostic::error(Code::MissingParameter, Class::General, statement.keyword.span, missing);
            self.push(match statement.row {
                Some(row) => finding.help(format!("write '{} {}'", row.keyword, row.arguments)),
                None => finding,
            });
        }
        word
    }

    /// The address after a keyword.
    pub(super) fn address(&mut self, statement: &Statement) -> Option<Spanned<IpAddr>> {
        let word = statement.arguments.first()?;
        let address = word.text.parse().ok().map(|address| Spanned::new(address, word.span));
        if address.is_none() {
            let message = format!("invalid {} address {} - ignoring", statement.keyword.text, word.text);
            let finding = Diagnostic::error(Code::BadAddress, Class::General, word.span, message);
            self.push(finding.help(address_help(&word.text)));
        }
        address
    }

    /// The text after a keyword.
    pub(super) fn text(&mut self, statement: &Statement) -> Option<String> {
        statement.arguments.first().map(|word| word.text.clone())
    }

    /// An interface name after a keyword; the kernel allows 15 bytes.
    pub(super) fn interface(&mut self, word: &Word) -> Option<Spanned<String>> {
        if word.text.len() > 15 || word.text.is_empty() {
            self.error(
                Code::BadWord,
                word.span,
                format!("interface name '{}' must have 1 to 15 characters - ignoring", word.text),
            );
            return None;
        }
        Some(Spanned::new(word.text.clone(), word.span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        assert_eq!(integer("5", &(1..=255u8)), Ok(5));
        assert_eq!(integer("-5", &(-253..=253)), Ok(-5));
        assert_eq!(integer("300", &(1..=255u8)).unwrap_err().wrong, "number '300' outside range [1, 255]");
        assert_eq!(integer("0", &(1..=255u8)).unwrap_err().wrong, "number '0' outside range [1, 255]");
        assert_eq!(integer("-1", &(0..=255u8)).unwrap_err().wrong, "negative number '-1'");
        assert_eq!(integer("100;", &(1..=255u8)).unwrap_err().wrong, "invalid number '100;'");
        assert_eq!(integer("", &(1..=255u8)).unwrap_err().wrong, "invalid number ''");
        assert_eq!(
            integer("99999999999999999999", &(0..=5u32)).unwrap_err().wrong,
            "number '99999999999999999999' outside range [0, 5]"
        );
    }

    #[test]
    fn times() {
        let any = Duration::ZERO..=Duration::MAX;
        let read = |text, places| {
            seconds(text, places, &any)
                .map(|(value, complaint)| (value.as_micros(), complaint.is_some()))
                .map_err(|not| not.wrong)
        };
        assert_eq!(read("1", 6), Ok((1_000_000, false)));
        assert_eq!(read("0.25", 6), Ok((250_000, false)));
        assert_eq!(read(".5", 6), Ok((500_000, false)));
        assert_eq!(read("1.255", 2), Ok((1_260_000, true)));
        assert_eq!(read("0.0000005", 6), Ok((1, true)));
        assert_eq!(read("1s", 6), Err("invalid number '1s'".to_owned()));
        assert_eq!(read(".", 6), Err("invalid number '.'".to_owned()));
        assert_eq!(read("-6", 6), Err("negative number '-6'".to_owned()));
        let short = Duration::from_millis(10)..=Duration::from_secs(255);
        assert_eq!(seconds("300", 6, &short).unwrap_err().wrong, "number '300' outside range [0.01, 255]");
    }

    #[test]
    fn what_is_no_number_comes_with_what_would_be_one() {
        let right = |text, range| integer(text, &range).unwrap_err().right.unwrap();
        assert_eq!(right("0", 1..=255i128), "write a number from 1 to 255");
        assert_eq!(right("-1", 0..=i128::MAX), "write a number of 0 or more");
        let right = |text, least: u64, most| {
            let range = Duration::from_micros(least)..=most;
            seconds(text, 6, &range).unwrap_err().right.unwrap()
        };
        assert_eq!(right("x", 10_000, Duration::from_secs(255)), "write a number from 0.01 to 255");
        assert_eq!(right("-6", 0, Duration::MAX), "write a number of 0 or more");
    }
}
