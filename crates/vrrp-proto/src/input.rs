//! Every input of the engine as a value, so that what happened can be written down and run again.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::action::Action;
use crate::advertisement::Advertisement;
use crate::config::EngineConfig;
use crate::control::Command;
use crate::engine::{Engine, LinkFacts, Snapshot};
use crate::track::Verdict;
use crate::types::{Instant, LinkId, RouterId, Ticket, TrackerId};

/// One input of an [`Engine`]; each stands for the method with the same name. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Input {
    /// [`Engine::reconfigure`].
    Reconfigure(Box<EngineConfig>),
    /// [`Engine::handle_advertisement`].
    Advertisement {
        /// For which router.
        router: RouterId,
        /// Its sender.
        source: IpAddr,
        /// What it says.
        advertisement: Advertisement,
    },
    /// [`Engine::handle_link`].
    Link {
        /// Which link.
        link: LinkId,
        /// What is known of it.
        facts: LinkFacts,
    },
    /// [`Engine::handle_link_removed`].
    LinkRemoved {
        /// Which link.
        link: LinkId,
    },
    /// [`Engine::handle_path_lost`].
    PathLost {
        /// Of which router.
        router: RouterId,
    },
    /// [`Engine::handle_path_restored`].
    PathRestored {
        /// Of which router.
        router: RouterId,
    },
    /// [`Engine::handle_tracker`].
    Tracker {
        /// Which tracker.
        tracker: TrackerId,
        /// What it says.
        verdict: Verdict,
    },
    /// [`Engine::handle_command`].
    Command {
        /// For which router.
        router: RouterId,
        /// What it is told.
        command: Command,
    },
    /// [`Engine::handle_applied`].
    Applied {
        /// Of which router.
        router: RouterId,
        /// That of the `Apply`.
        ticket: Ticket,
    },
    /// [`Engine::handle_refused`].
    Refused {
        /// Of which router.
        router: RouterId,
        /// That of the `Apply`.
        ticket: Ticket,
    },
    /// [`Engine::handle_address_lost`].
    AddressLost {
        /// Of which router.
        router: RouterId,
    },
    /// [`Engine::handle_timeout`].
    Timeout,
    /// [`Engine::handle_timeout_ahead`].
    TimeoutAhead {
        /// How much earlier than its time an advertisement may leave.
        ahead: Duration,
    },
    /// [`Engine::shutdown`].
    Shutdown,
}

impl Engine {
    /// Takes any input; what comes of it is in [`poll_action`](Self::poll_action).
    pub fn handle(&mut self, now: Instant, input: &Input) {
        match input {
            Input::Reconfigure(wanted) => drop(self.reconfigure(now, wanted)),
            Input::Advertisement { router, source, advertisement } => {
                self.handle_advertisement(now, *router, *source, advertisement);
            }
            Input::Link { link, facts } => self.handle_link(now, *link, *facts),
            Input::LinkRemoved { link } => self.handle_link_removed(now, *link),
            Input::PathLost { router } => self.handle_path_lost(now, *router),
            Input::PathRestored { router } => self.handle_path_restored(now, *router),
            Input::Tracker { tracker, verdict } => self.handle_tracker(now, *tracker, *verdict),
            Input::Command { router, command } => self.handle_command(now, *router, *command),
            Input::Applied { router, ticket } => self.handle_applied(now, *router, *ticket),
            Input::Refused { router, ticket } => self.handle_refused(now, *router, *ticket),
            Input::AddressLost { router } => self.handle_address_lost(now, *router),
            Input::Timeout => self.handle_timeout(now),
            Input::TimeoutAhead { ahead } => self.handle_timeout_ahead(now, *ahead),
            Input::Shutdown => self.shutdown(now),
        }
    }
}

/// What an engine was told, and when: enough to have it do the same again. Grows with every input; what is needed no
/// more is cut off by starting a new one with the engine's [`snapshot`](Engine::snapshot).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Recording {
    /// What the engine resumed from; the default for none.
    pub resumed: Snapshot,
    /// Its inputs in their order.
    pub inputs: Vec<(Instant, Input)>,
}

impl Recording {
    /// Writes the input down and gives it to the engine.
    pub fn handle(&mut self, engine: &mut Engine, now: Instant, input: Input) {
        engine.handle(now, &input);
        self.inputs.push((now, input));
    }

    /// The same inputs given to a new engine: everything that it does, bit for bit what the recorded one did.
    #[must_use]
    pub fn replay(&self) -> Vec<Action> {
        let mut engine = Engine::resume(self.resumed.clone());
        let mut actions = Vec::new();
        for (now, input) in &self.inputs {
            engine.handle(*now, input);
            actions.extend(core::iter::from_fn(|| engine.poll_action()));
        }
        actions
    }
}

#[cfg(test)]
mod tests;
