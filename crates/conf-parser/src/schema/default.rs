//! The `default` column as values: what holds for a word that is not written.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;
use std::time::Duration;

use super::{Row, Unit, millionths, schema};

/// A value that a row of the table gives where its word is not written.
pub(crate) trait TableDefault: Sized {
    /// The value; `None` where the row gives none of this kind.
    fn of(row: &Row) -> Option<Self>;

    /// What stands where a row gives none.
    fn fallback() -> Self;
}

/// What holds where `keyword` is not written in `block`.
///
/// Each call names a row that has such a default: every test that comes by shows it.
pub(crate) fn default<T: TableDefault>(block: &str, keyword: &str) -> T {
    let value = schema().lookup(block, keyword).and_then(T::of);
    debug_assert!(value.is_some(), "the row '{block}' '{keyword}' has no default of this kind");
    value.unwrap_or_else(T::fallback)
}

/// What `read` makes of the table, which is read once.
pub(crate) fn once<T: Clone>(known: &OnceLock<T>, read: fn() -> T) -> T {
    // A test may change the table.
    if cfg!(test) { read() } else { known.get_or_init(read).clone() }
}

/// How types read the default of a row: `Type => |row| Option<Type>, else FALLBACK;`.
macro_rules! table_default {
    ($($type:ty => |$row:ident| $read:expr, else $fallback:expr;)+) => { $(
        impl crate::schema::default::TableDefault for $type {
            fn of($row: &crate::schema::Row) -> Option<Self> {
                $read
            }

            fn fallback() -> Self {
                $fallback
            }
        }
    )+ };
}
pub(crate) use table_default;

impl Row {
    /// The text of its default, or of that of another keyword of the block that it names.
    pub(crate) fn default_text(&self) -> &'static str {
        let own = value(self.default_column());
        let named = schema().row(self.inside, own).filter(|named| named.number != self.number);
        named.map_or(own, |named| value(named.default_column()))
    }

    #[cfg(not(test))]
    fn default_column(&self) -> &'static str {
        self.default
    }

    #[cfg(test)]
    fn default_column(&self) -> &'static str {
        changed::of(self)
    }

    /// Its default as a number in millionths, within its bounds; zero stands for none, whatever can be written.
    fn default_millionths(&self) -> Option<i128> {
        let number = millionths(self.default_text())?;
        let allowed = self.bounds.is_none_or(|(least, most)| (least..=most).contains(&number));
        Some(number).filter(|_| allowed || number == 0)
    }

    /// Its default as a whole number.
    pub(crate) fn default_number<T: TryFrom<i128>>(&self) -> Option<T> {
        let number = self.default_millionths().filter(|number| number % 1_000_000 == 0)?;
        T::try_from(number / 1_000_000).ok()
    }

    /// Its default as one of `words`.
    pub(crate) fn default_word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        words.iter().find(|(word, _)| *word == self.default_text()).map(|(_, value)| *value)
    }

    /// Its default as a time, which is in its unit.
    fn default_time(&self) -> Option<Duration> {
        let number = self.default_millionths()?;
        u64::try_from(match self.unit {
            Unit::Seconds => number,
            Unit::Milliseconds => number / 1000,
            Unit::Microseconds => number / 1_000_000,
            Unit::None => return None,
        })
        .ok()
        .map(Duration::from_micros)
    }
}

table_default! {
    u8 => |row| row.default_number(), else 0;
    u16 => |row| row.default_number(), else 0;
    u32 => |row| row.default_number(), else 0;
    u64 => |row| row.default_number(), else 0;
    i8 => |row| row.default_number(), else 0;
    i16 => |row| row.default_number(), else 0;
    i32 => |row| row.default_number(), else 0;
    Duration => |row| row.default_time(), else Self::ZERO;
    bool => |row| match row.default_text().split(',').next() {
        Some("on") => Some(true),
        Some("off") => Some(false),
        _ => None,
    }, else false;
    String => |row| Some(row.default_text()).filter(|text| !text.is_empty()).map(Self::from), else Self::new();
    Ipv4Addr => |row| row.default_text().parse().ok(), else Self::UNSPECIFIED;
    Ipv6Addr => |row| row.default_text().parse().ok(), else Self::UNSPECIFIED;
}

/// What need not be there is not there, whatever the row says of what happens then.
impl<T> TableDefault for Option<T> {
    fn of(_: &Row) -> Option<Self> {
        Some(None)
    }

    fn fallback() -> Self {
        None
    }
}

/// The value in a text: the last of several in turn, and what stands in parentheses behind a name for it.
fn value(text: &str) -> &str {
    let last = text.rsplit_once(", else ").map_or(text, |(_, last)| last);
    last.strip_suffix(')').and_then(|text| text.split_once(" (")).map_or(last, |(_, value)| value)
}

/// A table in which a test changed defaults.
#[cfg(test)]
pub(crate) mod changed {
    use std::cell::RefCell;

    use super::Row;

    thread_local! {
        static CHANGED: RefCell<Vec<(u16, &'static str)>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn of(row: &Row) -> &'static str {
        let found = CHANGED.with_borrow(|rows| rows.iter().find(|(number, _)| *number == row.number).copied());
        found.map_or(row.default, |(_, text)| text)
    }

    /// Runs `test` in this thread with these texts in the `default` column.
    pub(crate) fn with<T>(rows: &[(&Row, &'static str)], test: impl FnOnce() -> T) -> T {
        CHANGED.set(rows.iter().map(|(row, text)| (row.number, *text)).collect());
        let result = test();
        CHANGED.take();
        result
    }
}
