//! What a keyword or the code of a finding means, for people.
//!
//! ```
//! use conf_parser::{Code, explain};
//! assert!(explain::explain("priority").unwrap().contains("1..255"));
//! assert!(explain::explain("K0402").unwrap().starts_with("# K0402: "));
//! assert_eq!(explain::explain("prioriti").unwrap_err().near, ["priority"]);
//! assert!(explain::page(Code::NoVrid).unwrap().contains("virtual_router_id"));
//! ```

use std::fmt::Write as _;

use crate::diagnostic::Code;
use crate::schema::{Kind, Row, Support, Unit, nearest, schema};

macro_rules! pages {
    ($($code:literal)+) => {
        /// `docs/diagnostics/CODE.md` by code, in order.
        static PAGES: &[(&str, &str)] =
            &[$(($code, include_str!(concat!("../docs/diagnostics/", $code, ".md")))),+];
    };
}

pages! {
    "K0001" "K0002" "K0003" "K0004" "K0005" "K0006" "K0007" "K0008" "K0009" "K0010" "K0011" "K0101" "K0102" "K0103"
    "K0104" "K0105" "K0106" "K0107" "K0108" "K0109" "K0110" "K0201" "K0202" "K0203" "K0204" "K0205" "K0301" "K0302"
    "K0303" "K0304" "K0305" "K0306" "K0307" "K0308" "K0309" "K0310" "K0401" "K0402" "K0403" "K0404" "K0405" "K0406" "K0407"
    "K0408" "K0409" "K0410" "K0411" "K0412" "K0413" "K0414" "K0415" "K0416" "K0417" "K0418" "K0419" "K0420" "K0421"
    "K0422" "K0423" "K0424" "K0425" "K0426" "K0430" "K0431" "K0432" "K0433" "K0434" "K0501" "K0502" "K0503" "K0504"
    "K0505" "K0506" "K0507" "K0508" "K0601" "K0602" "K0603" "K0701" "K0702"
}

/// The page about findings with this code, in Markdown; every code has one.
pub fn page(code: Code) -> Option<&'static str> {
    page_of(code.as_str())
}

fn page_of(code: &str) -> Option<&'static str> {
    let at = PAGES.binary_search_by_key(&code, |(known, _)| known).ok()?;
    PAGES.get(at).map(|(_, page)| *page)
}

/// A word that is neither a keyword nor a code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is neither a keyword nor the code of a finding")]
pub struct Unknown {
    /// The word.
    pub word: String,
    /// What may have been meant.
    pub near: Vec<&'static str>,
}

/// What there is to say about a keyword, an option inside a line, a path such as `vrrp_instance/priority`, or a code such
/// as `K0101`.
///
/// # Errors
///
/// That there is nothing, with words that are written nearly like it.
pub fn explain(word: &str) -> Result<String, Unknown> {
    let code = word.to_ascii_uppercase();
    if let Some(page) = page_of(&code) {
        return Ok(page.to_owned());
    }
    let rows = rows(word);
    if rows.is_empty() {
        return Err(unknown(word));
    }
    let mut text = String::new();
    for (at, group) in grouped(&rows).into_iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        describe(&mut text, &group);
    }
    Ok(text)
}

/// The rows of a word or of a path.
fn rows(word: &str) -> Vec<&'static Row> {
    let word = word.trim_matches('/');
    let of_word = || schema().rows().filter(|row| row.keyword == word).collect::<Vec<_>>();
    match word.rsplit_once('/') {
        Some((block, keyword)) if of_word().is_empty() => schema().lookup(block, keyword).into_iter().collect(),
        _ => of_word(),
    }
}

fn unknown(word: &str) -> Unknown {
    let last = word.rsplit('/').next().unwrap_or(word);
    let mut near = Vec::new();
    let mut rest: Vec<_> = schema().rows().filter(|row| row.kind != Kind::Syntax).map(|row| row.keyword).collect();
    rest.sort_unstable();
    rest.dedup();
    while let Some(found) = nearest(last, rest.iter().copied()).filter(|_| near.len() < 3) {
        near.push(found);
        rest.retain(|word| *word != found);
    }
    Unknown { word: word.to_owned(), near }
}

/// Rows that say the same stand together.
fn grouped(rows: &[&'static Row]) -> Vec<Vec<&'static Row>> {
    let mut groups: Vec<Vec<&'static Row>> = Vec::new();
    let said = |row: &Row| (row.kind, row.arguments, row.default, row.range, row.since, row.support, row.doc);
    for row in rows {
        match groups.iter_mut().find(|group| group.first().is_some_and(|first| said(first) == said(row))) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

/// One paragraph about rows that say the same.
fn describe(text: &mut String, group: &[&'static Row]) {
    let Some(row) = group.first() else { return };
    let arguments = if row.arguments.starts_with(row.keyword) { "" } else { row.arguments };
    let head = if row.kind == Kind::Syntax && arguments.is_empty() { row.arguments } else { row.keyword };
    // Writing into a `String` cannot fail.
    let _ = writeln!(text, "{}", format!("{head} {arguments}").trim_end());
    let _ = writeln!(text, "    {}.", row.doc.trim_end_matches('.'));
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "    {name:<9}{value}");
        }
    };
    let places: Vec<_> = group.iter().map(|row| place(row)).collect();
    field("in", &places.join(", "));
    field("default", row.default);
    field("range", row.range);
    field("unit", unit(row));
    match row.since {
        "" => {}
        "keepalived-rs" => field("only in", row.since),
        release => field("since", &format!("keepalived {release}")),
    }
    if row.kind != Kind::Syntax {
        field("support", support(row.support));
        if row.support == Support::Acted {
            field("acted on", &format!("by the {} process, shown by {}", row.worker, row.shown_by));
        }
    }
    if row.kind == Kind::Block {
        let inside: Vec<_> = schema().words(&row.path()).map(|row| row.keyword).collect();
        field("keywords", &wrapped(&inside));
    }
}

fn place(row: &Row) -> &str {
    match (row.block, row.kind) {
        ("", _) => "the top level",
        (_, Kind::Syntax) => "any line",
        (block, _) => block,
    }
}

fn unit(row: &Row) -> &'static str {
    match row.unit {
        Unit::Seconds => "seconds",
        Unit::Milliseconds => "milliseconds",
        Unit::Microseconds => "microseconds",
        Unit::None => "",
    }
}

fn support(support: Support) -> &'static str {
    match support {
        Support::Acted => "acted on",
        Support::None => "read, not acted on yet; traffic does not notice",
        Support::Traffic => "read, not acted on yet; refuses the start unless --allow-unsupported is given",
    }
}

/// Words in lines of readable length, below each other.
fn wrapped(words: &[&str]) -> String {
    let mut lines = vec![String::new()];
    for word in words {
        if lines.last().is_some_and(|line| line.len() + word.len() > 80) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n             ")
}

#[cfg(test)]
mod tests;
