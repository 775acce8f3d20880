//! The runner worker.

use crate::ipc::{Channel, Common};

/// Runs until the supervisor says stop or is gone; returns the exit status.
pub(crate) fn run(_channel: Channel, _common: &Common) -> anyhow::Result<u8> {
    Ok(0)
}
