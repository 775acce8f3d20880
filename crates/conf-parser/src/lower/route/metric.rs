//! What a route says about the path: `mtu`, `rtt` and so on.

use std::time::Duration;

use crate::config::{Metric, Metrics};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::value::seconds;
use crate::lower::words::Words;
use crate::schema::schema;

/// Reads the value of `word`; whether it is a word for one.
pub(super) fn read(metrics: &mut Metrics, words: &mut Words<'_, '_, '_>, word: &Word) -> Option<bool> {
    let what = || format!("{} value", word.text);
    match word.text.as_str() {
        "mtu" => metrics.mtu = Some(number(words, word, "MTU")?),
        "hoplimit" => metrics.hoplimit = Some(words.number(word, &word.text)?),
        "advmss" => metrics.advmss = Some(number(words, word, &word.text)?),
        "rtt" => metrics.rtt = Some(time(words, word, 8, |text| format!("Invalid rtt {text} for route"))?),
        "rttvar" => metrics.rttvar = Some(time(words, word, 4, |text| format!("Invalid rttvar {text} for route"))?),
        "rto_min" => {
            let message = |text: &str| format!("Invalid rto_min value {text} specified for route");
            metrics.rto_min = Some(time(words, word, 1, message)?);
        }
        "reordering" => metrics.reordering = Some(number(words, word, &what())?),
        "window" => metrics.window = Some(words.number(word, what())?),
        "cwnd" => metrics.cwnd = Some(number(words, word, &what())?),
        "ssthresh" => metrics.ssthresh = Some(number(words, word, &what())?),
        "initcwnd" => metrics.initcwnd = Some(words.number(word, what())?),
        "initrwnd" => metrics.initrwnd = Some(words.number(word, what())?),
        "features" => {
            let feature = words.value(word)?;
            words.known(feature);
            metrics.ecn |= feature.text == "ecn";
            if feature.text != "ecn" {
                let message = format!("feature {} not supported", feature.text);
                words.context.push(
                    Diagnostic::error(Code::BadWord, Class::General, feature.span, message)
                        .label("the word is ignored")
                        .help("the only feature is ecn"),
                );
            }
        }
        "quickack" => metrics.quickack = Some(words.bit(word)?),
        "congctl" => {
            let (lock, name) = locked(words, word)?;
            metrics.congctl = Some(Metric { value: name.text.clone(), lock });
        }
        "fastopen_no_cookie" => metrics.fastopen_no_cookie = words.bit(word)?,
        _ => return Some(false),
    }
    Some(true)
}

/// The value after `keyword`, and whether `lock` stands before it.
fn locked<'a>(words: &mut Words<'a, '_, '_>, keyword: &Word) -> Option<(bool, &'a Word)> {
    let word = words.value(keyword)?;
    if word.text != "lock" {
        return Some((false, word));
    }
    words.known(word);
    words.value(word).map(|value| (true, value))
}

fn number(words: &mut Words<'_, '_, '_>, keyword: &Word, what: &str) -> Option<Metric<u32>> {
    let (lock, word) = locked(words, keyword)?;
    let message = format!("Invalid {what} {} specified for route", word.text);
    Some(Metric { value: words.number_in(keyword, word, message)?, lock })
}

/// A time with the suffix `s` or `ms`; without one it is in parts of a millisecond, of which there are `parts`.
fn time(
    words: &mut Words<'_, '_, '_>,
    keyword: &Word,
    parts: u32,
    message: impl Fn(&str) -> String,
) -> Option<Metric<Duration>> {
    let (lock, word) = locked(words, keyword)?;
    let lower = word.text.to_ascii_lowercase();
    // One of the unit is this many microseconds; only of seconds there are decimals.
    let (digits, micros, places) = match (lower.strip_suffix("ms"), lower.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1000, 0),
        (None, Some(digits)) => (digits, 1_000_000, 3),
        (None, None) => (lower.as_str(), 1000 / parts, 0),
    };
    let (least, most) = bounds(words.block, &keyword.text);
    // keepalived compares every number with what the parts may be, and so takes times that are too long.
    let limit = most.saturating_mul(if places == 0 { 1000 * parts } else { parts });
    match seconds(digits, places, &(Duration::ZERO..=limit)) {
        Ok((value, complaint)) => {
            if let Some(complaint) = complaint {
                words.context.push(Diagnostic::warning(Code::BadNumber, Class::InvalidNumber, word.span, complaint));
            }
            let written = value * micros / 1_000_000;
            let value = written.clamp(least, most);
            if value != written {
                let message = format!("{} {written:?} counts as {value:?}", keyword.text);
                let range = format!("{least:?} to {most:?} can be told");
                words.context.push(Diagnostic::note(Code::AdjustedValue, word.span, message).label(range));
            }
            Some(Metric { value, lock })
        }
        Err(wrong) => words.refuse_number(word, wrong, message(&word.text)),
    }
}

/// The times that the row of `keyword` allows.
fn bounds(block: &str, keyword: &str) -> (Duration, Duration) {
    let micros = |millionths: i128| u64::try_from(millionths).map_or(Duration::MAX, Duration::from_micros);
    let bounds = schema().lookup(block, keyword).and_then(|row| row.bounds);
    bounds.map_or((Duration::ZERO, Duration::MAX), |(least, most)| (micros(least), micros(most)))
}
