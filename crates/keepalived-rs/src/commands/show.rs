//! `config show`: what holds for every keyword.

use anyhow::bail;
use conf_parser::host::NoHost;
use conf_parser::{render, setting};

use super::{Arguments, print};
use crate::reader::{self, Checked, Format};

/// Exit status when the daemon would not start with what is shown.
const EXIT_REFUSED: u8 = 4;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let file = arguments.file()?;
    let checked = read(arguments, file)?;
    let parsed = checked.parsed();
    let settings = parsed.config.settings();
    let text = match arguments.format {
        Format::Json => {
            let json = setting::json(&settings, &parsed.sources, arguments.secrets);
            serde_json::to_string_pretty(&json)? + "\n"
        }
        Format::Text | Format::Line => {
            let place = |span| parsed.sources.trace(span).map(|trace| trace.to_string());
            setting::text(&settings, &place, arguments.secrets)
        }
    };
    print(&text)?;
    let findings = parsed.diagnostics.len();
    if findings > 0 {
        let what = if findings == 1 { "finding" } else { "findings" };
        eprintln!("{findings} {what}: see keepalived-rs config check {}", file.display());
    }
    Ok(if parsed.refuses_start() { EXIT_REFUSED } else { 0 })
}

/// Reads a file without looking at this host.
pub(super) fn read(arguments: &Arguments, file: &std::path::Path) -> anyhow::Result<Checked> {
    let checked = reader::check(&arguments.source(file), &NoHost);
    if !checked.readable() {
        let parsed = checked.parsed();
        let why: Vec<_> = parsed.diagnostics.iter().map(|finding| render::line(finding, &parsed.sources)).collect();
        bail!("{}", why.join("\n"));
    }
    Ok(checked)
}
