//! `config check`: what `-t` says, to standard output; its status is about the file, not about what this release acts on.

use super::{Arguments, print};
use crate::reader;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let checked = reader::check_for(&arguments.source(arguments.file()?), &arguments.target)?;
    let color = arguments.color.of(&std::io::stdout());
    let status = checked.file_status(arguments.strict);
    print(&checked.render(arguments.format, color, status))?;
    Ok(status)
}
