//! `config diff`: what a reload changes.

use std::collections::BTreeMap;

use anyhow::bail;
use conf_parser::diff::{self, Change, Diff};
use conf_parser::render::Place;
use conf_parser::{Diagnostic, Parsed, Span};
use serde::Serialize;
use serde_json::json;

use super::{Arguments, print, show};
use crate::reader::Format;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let [old, new] = arguments.operands.as_slice() else {
        bail!("config diff compares two files: OLD NEW");
    };
    let (before, after) = (show::read(arguments, old)?, show::read(arguments, new)?);
    let diff = diff::diff(&before.parsed().config.settings(), &after.parsed().config.settings());
    let refused = match before.parsed().config.global.reload.check_config {
        Some(_) => after.parsed().diagnostics.iter().any(Diagnostic::is_reported),
        None => after.parsed().refuses_start(),
    };
    print(&match arguments.format {
        Format::Json => as_json(&diff, before.parsed(), after.parsed(), refused)?,
        Format::Text | Format::Line => as_text(&diff),
    })?;
    if refused {
        let file = new.display();
        eprintln!("{file} would be refused and the running configuration stay: see keepalived-rs config check {file}");
    }
    Ok(u8::from(!diff.changes.is_empty()))
}

fn as_text(diff: &Diff) -> String {
    let mut text = String::new();
    for change in &diff.changes {
        text += &change.to_string();
        if let Some(consequence) = change.consequence {
            text += "\n    ";
            text += consequence;
        }
        text.push('\n');
    }
    let unchanged: Vec<_> = diff.unchanged.iter().map(|(keyword, count)| format!("{count} {keyword}")).collect();
    if !diff.changes.is_empty() && !unchanged.is_empty() {
        text += &format!("unchanged, with their state: {}\n", unchanged.join(", "));
    }
    text
}

/// A change with its sentence and its places.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    change: &'a Change,
    text: String,
    written_before: Option<Place>,
    written_after: Option<Place>,
}

fn as_json(diff: &Diff, before: &Parsed, after: &Parsed, refused: bool) -> anyhow::Result<String> {
    let place = |parsed: &Parsed, span: Option<Span>| span.and_then(|span| Place::new(&parsed.sources, span));
    let changes = diff.changes.iter().map(|change| Shown {
        change,
        text: change.to_string(),
        written_before: place(before, change.written_before),
        written_after: place(after, change.written_after),
    });
    let unchanged: BTreeMap<_, _> = diff.unchanged.iter().copied().collect();
    let document = json!({ "changes": changes.collect::<Vec<_>>(), "unchanged": unchanged, "refused": refused });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
