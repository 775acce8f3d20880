//! `auth_hmac`.

use std::num::NonZeroU8;
use std::time::Duration;

use crate::config::{AntiReplay, AuthHmac, HmacKey, HmacKeyId, HmacMode, HmacSecret};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::value::{integer, row_bounds};
use crate::lower::{Context, Handler};
use crate::schema::{nearest, schema};
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

const BLOCK: &str = "vrrp_instance/auth_hmac";

/// Bytes of a key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=64;

/// An `auth_hmac` as written.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// The instance, as findings name it.
    tag: String,
    /// Where the block starts.
    pub(super) span: Span,
    keys: Vec<HmacKey>,
    active: Option<Spanned<HmacKeyId>>,
    window: Option<Spanned<Duration>>,
    monotonic: bool,
    mode: HmacMode,
    places: Places,
}

impl crate::lower::Placed for Draft {
    fn places(&mut self) -> &mut Places {
        &mut self.places
    }
}

/// Reads the block.
pub(super) fn read(context: &mut Context<'_>, statement: &Statement, tag: String) -> Draft {
    let mut draft = Draft { tag, span: statement.keyword.span, ..Draft::default() };
    context.visit(&mut draft, &statement.body, &[AUTH_HMAC]);
    draft
}

fn key_id(context: &mut Context<'_>, statement: &Statement, word: &Word, tag: &str) -> Option<HmacKeyId> {
    // The range of active_key is that of every key.
    let range = row_bounds(schema().lookup(BLOCK, "active_key"));
    match integer(&word.text, &range) {
        Ok(id) => u8::try_from(id).ok().and_then(NonZeroU8::new).map(HmacKeyId),
        Err(wrong) => {
            let message =
                format!("{tag} auth_hmac {} '{}' is not the number of a key", statement.keyword.text, word.text);
            context.bad_number(word, wrong, message);
            None
        }
    }
}

/// The bytes of `hex:` digits.
fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

fn secret(context: &mut Context<'_>, word: &Word, tag: &str) -> Option<HmacSecret> {
    let place = "vrrp_instance/auth_hmac/key";
    let bad = |message: String| Diagnostic::error(Code::Authentication, Class::General, word.span, message);
    let bytes = word.bytes();
    if let Some(path) = word.text.strip_prefix("file:") {
        context.known_option(place, "file:", word.span);
        if path.is_empty() {
            context.push(bad(format!("{tag} auth_hmac key file: has no path - ignoring the key")));
            return None;
        }
        return Some(HmacSecret::File(path.to_owned()));
    }
    let bytes = match bytes.strip_prefix(b"hex:") {
        None => bytes.to_vec(),
        Some(digits) => {
            context.known_option(place, "hex:", word.span);
            let Some(bytes) = hex(digits) else {
                let message = format!("{tag} auth_hmac key is no even number of hexadecimal digits - ignoring the key");
                context.push(bad(message));
                return None;
            };
            bytes
        }
    };
    if !KEY_BYTES.contains(&bytes.len()) {
        let message = format!("{tag} auth_hmac key has {} bytes - ignoring the key", bytes.len());
        context.push(bad(message).help("a key has 32 to 64 bytes"));
        return None;
    }
    Some(HmacSecret::Bytes(bytes))
}

fn key(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let [number, text, ..] = statement.arguments.as_slice() else { return };
    let Some(id) = key_id(context, statement, number, &draft.tag) else { return };
    if let Some(first) = draft.keys.iter().find(|key| *key.id == id) {
        let message = format!("{} auth_hmac key {} already specified - ignoring", draft.tag, number.text);
        let finding = Diagnostic::error(Code::Authentication, Class::General, number.span, message);
        return context.push(finding.related(first.id.span, "the one that is used"));
    }
    if let Some(secret) = secret(context, text, &draft.tag) {
        draft.keys.push(HmacKey { id: Spanned::new(id, number.span), secret });
    }
}

/// One of `words`; another is reported.
fn choice<T: Copy>(context: &mut Context<'_>, statement: &Statement, tag: &str, words: &[(&str, T)]) -> Option<T> {
    let word = statement.arguments.first()?;
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == word.text) {
        context.known_option(&format!("{BLOCK}/{}", statement.keyword.text), &word.text, word.span);
        return Some(*value);
    }
    let message = format!("{tag} unknown auth_hmac {} '{}' - ignoring", statement.keyword.text, word.text);
    let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
    context.push(match nearest(&word.text, words.iter().map(|(name, _)| *name)) {
        Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
        None => {
            let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
            finding.help(format!("one of {}", names.join(", ")))
        }
    });
    None
}

pub(crate) const AUTH_HMAC: &[Handler<Draft>] = &[
    Handler("key", key),
    Handler("active_key", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        let id = key_id(context, statement, word, &draft.tag);
        draft.active = id.map(|id| Spanned::new(id, word.span)).or(draft.active.take());
    }),
    Handler("time_window", |draft, context, statement| {
        let window = context.time(statement, &format!("{} auth_hmac time_window", draft.tag));
        draft.window = window.map(|window| Spanned::new(window, statement.span())).or(draft.window.take());
    }),
    Handler("anti_replay", |draft, context, statement| {
        let words = [("time", false), ("monotonic", true)];
        draft.monotonic = choice(context, statement, &draft.tag, &words).unwrap_or(draft.monotonic);
    }),
    Handler("mode", |draft, context, statement| {
        draft.mode = choice(context, statement, &draft.tag, HmacMode::WORDS).unwrap_or(draft.mode);
    }),
];

impl Draft {
    /// The settings that hold; nothing without a key that signs.
    pub(super) fn finish(self, context: &mut Context<'_>, strict: bool, interval: Duration) -> Option<Box<AuthHmac>> {
        let tag = &self.tag;
        let bad = |span, message| Diagnostic::error(Code::Authentication, Class::General, span, message);
        let Some(active) = self.active else {
            let message = format!("{tag} auth_hmac has no active_key - ignoring auth_hmac");
            context.push(
                bad(self.span, message).help("adverts are not signed: add 'active_key' with the number of a key"),
            );
            return None;
        };
        if !self.keys.iter().any(|key| key.id == active) {
            let message = format!("{tag} auth_hmac has no key {} - ignoring auth_hmac", active.0);
            context.push(bad(active.span, message).help("adverts are not signed: active_key names one of the keys"));
            return None;
        }
        let mut places = self.places;
        let mut mode = self.mode;
        if strict && mode != HmacMode::Enforce {
            let message = format!("{tag} strict mode requires auth_hmac mode enforce. resetting");
            context.warning(Code::StrictMode, places.of(BLOCK, "mode").unwrap_or(self.span), message);
            places.forget(BLOCK, "mode");
            mode = HmacMode::Enforce;
        }
        let anti_replay = match self.window {
            Some(window) if self.monotonic => {
                let message = format!("{tag} auth_hmac time_window is only used with anti_replay time");
                context.push(Diagnostic::note(Code::Authentication, window.span, message));
                AntiReplay::Monotonic
            }
            None if self.monotonic => AntiReplay::Monotonic,
            Some(window) => AntiReplay::Time { window: window.value },
            None => AntiReplay::Time { window: default_window(interval) },
        };
        Some(Box::new(AuthHmac { keys: self.keys, active_key: active.value, anti_replay, mode, places }))
    }
}

/// Three advertisement intervals in whole seconds, within what `time_window` takes, and at least five.
fn default_window(interval: Duration) -> Duration {
    let seconds = (interval * 3).as_millis().div_ceil(1000);
    let most = *row_bounds(schema().lookup(BLOCK, "time_window")).end();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX).clamp(5, most))
}
