//! `explain`: keywords and codes.

use anyhow::bail;

use super::{Arguments, print};

/// Exit status for a word that is not known.
const EXIT_UNKNOWN: u8 = 1;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.operands.is_empty() {
        bail!("explain what? A keyword such as priority, or a code such as K0101");
    }
    let mut status = 0;
    for (at, word) in arguments.operands.iter().enumerate() {
        let word = word.to_string_lossy();
        match conf_parser::explain::explain(&word) {
            Ok(text) => print(&format!("{}{text}", if at > 0 { "\n" } else { "" }))?,
            Err(unknown) => {
                status = EXIT_UNKNOWN;
                let near = unknown.near.join(", ");
                let hint = if near.is_empty() { near } else { format!("; did you mean {near}?") };
                eprintln!("keepalived-rs: {unknown}{hint}");
            }
        }
    }
    Ok(status)
}
