//! What systemd is told (`behaviour.md` §1.7).

use sd_notify::NotifyState;
use tracing::warn;

/// The states of the service manager's protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Start-up or reload complete.
    Ready {
        /// The status line of `systemctl status`.
        status: String,
    },
    /// A reload begins.
    Reloading,
    /// A stop begins.
    Stopping,
    /// A permanent failure, as an errno.
    Failed {
        /// The number that `ERRNO=` carries.
        errno: u32,
    },
}

/// Says it, if `NOTIFY_SOCKET` names somebody who listens.
pub(crate) fn notify(state: &State) {
    let pid = std::process::id();
    let result = match state {
        State::Ready { status } => {
            sd_notify::notify(&[NotifyState::Ready, NotifyState::MainPid(pid), NotifyState::Status(status)])
        }
        State::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
            Err(_) => sd_notify::notify(&[NotifyState::Reloading]),
        },
        State::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        State::Failed { errno } => sd_notify::notify(&[NotifyState::Errno(*errno)]),
    };
    if let Err(error) = result {
        warn!("telling systemd about {state:?}: {error}");
    }
}
