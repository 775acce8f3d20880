//! `config check`: what `-t` says, to standard output.

use super::{Arguments, print};
use crate::reader;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let host = arguments.target.host()?;
    let checked = reader::check(&arguments.source(arguments.file()?), &*host);
    let color = arguments.color.of(&std::io::stdout());
    print(&checked.render(arguments.format, color, arguments.strict))?;
    Ok(checked.config_test_status(arguments.strict))
}
