//! `config diff`: what a reload changes.

use anyhow::bail;
use conf_parser::Parsed;
use conf_parser::diff::{self, Change, Diff};
use serde_json::json;

use super::{Arguments, print, show};
use crate::reader::Format;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let [old, new] = arguments.operands.as_slice() else {
        bail!("config diff compares two files: OLD NEW");
    };
    let (before, after) = (show::read(arguments, old)?, show::read(arguments, new)?);
    let diff = diff::diff(&before.parsed().config.settings(), &after.parsed().config.settings());
    let refused = after.parsed().refuses_start();
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

fn as_json(diff: &Diff, before: &Parsed, after: &Parsed, refused: bool) -> anyhow::Result<String> {
    let change = |change: &Change| -> anyhow::Result<serde_json::Value> {
        let mut value = serde_json::to_value(change)?;
        let place = |parsed: &Parsed, span| {
            let place = parsed.sources.location(span)?;
            Some(json!({ "file": place.path.display().to_string(), "line": place.line, "column": place.column }))
        };
        value["text"] = change.to_string().into();
        value["written_before"] = json!(change.written_before.and_then(|span| place(before, span)));
        value["written_after"] = json!(change.written_after.and_then(|span| place(after, span)));
        Ok(value)
    };
    let changes = diff.changes.iter().map(change).collect::<Result<Vec<_>, _>>()?;
    let unchanged: serde_json::Map<_, _> =
        diff.unchanged.iter().map(|(keyword, count)| ((*keyword).to_owned(), json!(count))).collect();
    let document = json!({ "changes": changes, "unchanged": unchanged, "refused": refused });
    Ok(format!("{document:#}\n"))
}
