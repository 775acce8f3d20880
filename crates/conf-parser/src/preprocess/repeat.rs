//! `~SEQ(var, start, step, end) text` and `~LST(var, value, …) text`.

use super::definition::name_len;
use crate::lexer::{Line, is_blank};

/// What a repetition sets before each of its rounds.
pub(super) struct Rounds {
    pub(super) names: Vec<String>,
    /// The values of the names, round by round, computed as they are asked for.
    pub(super) values: Box<dyn Iterator<Item = Vec<Vec<u8>>>>,
}

/// Parts a line into `~SEQ(…)` or `~LST(…)` and the text that it repeats.
pub(super) fn split<'l>(line: &Line<'l>) -> Result<(Line<'l>, Line<'l>), String> {
    let end = line.text().iter().position(|byte| *byte == b')').ok_or("the ')' is missing")?;
    Ok((line.slice(0..end + 1), line.slice(end + 1..line.text().len()).trimmed()))
}

/// The rounds of a head whose references are resolved; at most `limit`.
pub(super) fn rounds(head: &Line<'_>, limit: usize) -> Result<Rounds, String> {
    let text = String::from_utf8_lossy(head.text());
    let (word, inner) = text.strip_suffix(')').and_then(|text| text.split_once('(')).ok_or("'(' is missing")?;
    match word.trim() {
        "~SEQ" => sequence(inner, false, limit),
        "~SEQx" => sequence(inner, true, limit),
        "~LST" => list(inner, limit),
        other => Err(format!("'{other}' is neither ~SEQ, ~SEQx nor ~LST")),
    }
}

fn sequence(inner: &str, hex: bool, limit: usize) -> Result<Rounds, String> {
    let mut words = inner.split(',').map(str::trim);
    let names = vec![name(words.next().unwrap_or_default())?];
    let numbers = words.map(number).collect::<Result<Vec<_>, _>>()?;
    let toward = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, step, end) = match numbers.as_slice() {
        [end] if *end < 0 => (-1, -1, *end),
        [end] => (1, toward(1, *end), *end),
        [start, end] => (*start, toward(*start, *end), *end),
        [start, step, end] => (*start, *step, *end),
        _ => return Err("~SEQ takes a name and one to three numbers".to_owned()),
    };
    if step == 0 || (step > 0) != (end >= start) && start != end {
        return Err(format!("~SEQ from {start} never reaches {end} in steps of {step}"));
    }
    if hex && start.min(end) < 0 {
        return Err("~SEQx is only valid for positive numbers".to_owned());
    }
    let count = usize::try_from((end - start) / step).unwrap_or(usize::MAX).saturating_add(1);
    if count > limit {
        return Err(format!("~SEQ gives {count} rounds, more than the {limit} lines that may still come"));
    }
    let numbers = (0..).map(move |round: i64| start + round * step).take(count);
    let shown = move |value| if hex { format!("{value:x}") } else { format!("{value}") };
    Ok(Rounds { names, values: Box::new(numbers.map(move |value| vec![shown(value).into_bytes()])) })
}

/// A number whose base is told by its prefix, within ±2^32 so that no sum overflows.
fn number(word: &str) -> Result<i64, String> {
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    let (base, digits) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    let value = u32::from_str_radix(digits, base).map_err(|_| format!("invalid number '{word}'"))?;
    Ok(if negative { -i64::from(value) } else { i64::from(value) })
}

fn name(word: &str) -> Result<String, String> {
    if word.is_empty() || name_len(word.as_bytes()) != word.len() {
        return Err(format!("'{word}' is not a name"));
    }
    Ok(word.to_owned())
}

fn list(inner: &str, limit: usize) -> Result<Rounds, String> {
    let mut groups = groups(inner)?.into_iter();
    let names = groups.next().unwrap_or_default().into_iter().map(|word| name(&word)).collect::<Result<Vec<_>, _>>()?;
    if groups.len() == 0 {
        return Err("~LST has no values".to_owned());
    }
    if names.len().saturating_mul(groups.len()) > limit {
        return Err(format!("~LST has more than {limit} values"));
    }
    if let Some(value) = groups.as_slice().iter().flatten().find(|value| value.contains([' ', '\t'])) {
        return Err(format!("the value '{value}' of ~LST holds a blank"));
    }
    let count = names.len();
    if let Some(values) = groups.as_slice().iter().find(|values| values.len() > count) {
        return Err(format!("~LST has {} values for {count} names", values.len()));
    }
    let bytes = move |values: Vec<String>| {
        let values = values.into_iter().map(String::into_bytes).chain(std::iter::repeat_with(Vec::new));
        values.take(count).collect()
    };
    Ok(Rounds { names, values: Box::new(groups.map(bytes)) })
}

/// `a,{b,c},d` as `[[a], [b, c], [d]]`; a quoted value may hold commas.
fn groups(inner: &str) -> Result<Vec<Vec<String>>, String> {
    let mut groups = vec![vec![String::new()]];
    let (mut braced, mut quoted) = (false, false);
    for char in inner.chars() {
        match char {
            '"' => quoted = !quoted,
            '{' if !quoted && !braced => braced = true,
            '}' if !quoted && braced => braced = false,
            ',' if !quoted && !braced => groups.push(vec![String::new()]),
            ',' if !quoted => groups.last_mut().into_iter().for_each(|group| group.push(String::new())),
            char => groups.last_mut().and_then(|group| group.last_mut()).into_iter().for_each(|word| word.push(char)),
        }
    }
    if braced || quoted {
        return Err("'}' or '\"' is missing in ~LST".to_owned());
    }
    let trim = |word: String| word.trim_matches(|char: char| u8::try_from(char).is_ok_and(is_blank)).to_owned();
    Ok(groups.into_iter().map(|group| group.into_iter().map(trim).collect()).collect())
}
