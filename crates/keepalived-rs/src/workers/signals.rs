//! Signals reach every process of a terminal or of a service at once; only the supervisor decides what they mean.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use tokio::signal::unix::{SignalKind, signal};

/// From now on nothing but the supervisor ends this process. The signals get handlers that do nothing instead of being
/// blocked or ignored, since both of these would be inherited by scripts. Call inside a runtime.
///
/// # Errors
/// The kernel's.
pub(crate) fn leave_to_supervisor() -> io::Result<()> {
    let numbers = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGQUIT]
        .map(|signal| signal as i32)
        .into_iter()
        .chain(nix::libc::SIGRTMIN()..=nix::libc::SIGRTMAX());
    for number in numbers {
        // The handler stays when its listener goes.
        drop(signal(SignalKind::from_raw(number))?);
    }
    unblock()
}

/// Blocks nothing in this thread and in what it starts.
///
/// # Errors
/// The kernel's.
pub(crate) fn unblock() -> io::Result<()> {
    SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    Ok(())
}
