//! What a person tells a virtual router to do. It holds over a reload and a restart until it is taken back.

use crate::types::{Instant, Priority};

/// A command for one virtual router. Each ends by its opposite; one that is given twice counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Command {
    /// Resign if Active, and do not become Active again before the time, or before [`EndStepDown`](Self::EndStepDown).
    StepDown {
        /// The end; `None` for a command only.
        until: Option<Instant>,
    },
    /// Compete again.
    EndStepDown,
    /// Take no part: [`FaultReason::Maintenance`](crate::FaultReason::Maintenance).
    HoldInMaintenance,
    /// Take part again.
    EndMaintenance,
    /// This priority in place of the configured one, 1..=254; trackers move it as they move that. Does nothing to the
    /// owner of the addresses, whose priority never changes, nor with another number.
    SetPriority(Priority),
    /// The configured priority again.
    EndPriority,
}

/// The commands that are in force for one virtual router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Control {
    /// Whether it stays away from being Active.
    pub step_down: Option<StepDown>,
    /// Whether it is held in maintenance.
    pub maintenance: bool,
    /// The priority in place of the configured one.
    pub priority: Option<Priority>,
}

/// How long a router stays away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum StepDown {
    /// Until it is told otherwise.
    UntilEnded,
    /// Until then at most.
    Until(Instant),
}

impl Control {
    /// What holds after `command`; `None` if it changes nothing.
    #[must_use]
    pub(crate) fn after(self, command: Command) -> Option<Self> {
        let mut next = self;
        match command {
            Command::StepDown { until } => {
                next.step_down = Some(until.map_or(StepDown::UntilEnded, StepDown::Until));
            }
            Command::EndStepDown => next.step_down = None,
            Command::HoldInMaintenance => next.maintenance = true,
            Command::EndMaintenance => next.maintenance = false,
            Command::SetPriority(priority) if (1..=254).contains(&priority.0) => next.priority = Some(priority),
            Command::SetPriority(_) => {}
            Command::EndPriority => next.priority = None,
        }
        (next != self).then_some(next)
    }

    /// Whether the router may become Active at `now`.
    #[must_use]
    pub fn may_be_active(&self, now: Instant) -> bool {
        match self.step_down {
            None => true,
            Some(StepDown::Until(end)) => end <= now,
            Some(StepDown::UntilEnded) => false,
        }
    }
}
