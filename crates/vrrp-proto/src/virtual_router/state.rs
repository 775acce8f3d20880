//! The states of a virtual router; each holds exactly the timers that exist in it.

use core::net::IpAddr;
use core::time::Duration;

use crate::types::{AdvertisementInterval, Instant, Priority};

/// Each state holds exactly the timers that exist in it (RFC 9568 §6.3), as absolute deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Not started, or shut down.
    Initialize,
    /// Initialize with a reason that keeps it there.
    Fault(Fault),
    /// Listens to the Active Router.
    Backup(Backup),
    /// Holds the addresses ("Master" in RFC 5798).
    Active(Active),
}

/// The timers of a router in fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The earliest end of [`FaultReason::NotApplied`](crate::FaultReason::NotApplied).
    pub not_applied_until: Option<Instant>,
    /// Whether no one was told of it: trackers have not said anything since the start.
    pub silent: bool,
}

/// The timers and memory of a Backup Router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// When it takes over ("Active_Down_Timer", RFC 9568 §6.2).
    pub active_down_timer: Instant,
    /// The interval of the Active Router ("Active_Adver_Interval", RFC 9568 §6.1).
    pub active_adver_interval: AdvertisementInterval,
    /// The Active Router, once heard.
    pub active_router: Option<ActiveRouter>,
    /// When the preempt delay ends that an advertisement of lower priority started.
    pub preempt_at: Option<Instant>,
    /// Until then advertisements are ignored unseen: the start-up delay.
    pub ignores_until: Option<Instant>,
    /// In a sync group: whether Active_Down_Timer ended, and it waits for the other members.
    pub ready: bool,
    /// Until then no further advertisement of lower priority is reported.
    pub(super) reported_until: Instant,
}

impl Backup {
    pub(super) const fn new(active_down_timer: Instant, active_adver_interval: AdvertisementInterval) -> Self {
        Self {
            active_down_timer,
            active_adver_interval,
            active_router: None,
            preempt_at: None,
            ignores_until: None,
            ready: false,
            reported_until: Instant::ZERO,
        }
    }

    /// Whether it is an owner that becomes Active as soon as the start-up delay is over, without listening first.
    pub(super) fn only_waits(&self) -> bool {
        self.ignores_until == Some(self.active_down_timer)
    }
}

/// The router that a Backup follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveRouter {
    /// Its primary address.
    pub address: IpAddr,
    /// Its priority.
    pub priority: Priority,
}

/// The timers of an Active Router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Active {
    /// The next advertisement ("Adver_Timer", RFC 9568 §6.2).
    pub adver_timer: Instant,
    /// When the router gives up waiting for the kernel; `None` while its addresses are in place.
    pub apply_deadline: Option<Instant>,
    /// The second block of announcements.
    pub announce_again: Option<Instant>,
    /// The next refreshing block.
    pub announce_refresh: Option<Instant>,
    /// The second block after an advertisement of lower priority.
    pub announce_lower_prio: Option<Instant>,
    /// The next announcement on other links.
    pub announce_extra: Option<Instant>,
    /// Another Active Router was heard and is not yet known to be gone.
    pub conflict: Option<Conflict>,
    /// A second owner of the addresses that ought to yield.
    pub rival_owner: Option<RivalOwner>,
    /// Until then no further advertisement of lower priority is answered.
    pub(super) answered_until: Instant,
    /// Until then it is not said again that another router has our address.
    pub(super) warned_until: Instant,
    pub(super) notified: bool,
}

impl Active {
    pub(super) const fn new(adver_timer: Instant, apply_deadline: Instant, notified: bool) -> Self {
        Self {
            adver_timer,
            apply_deadline: Some(apply_deadline),
            announce_again: None,
            announce_refresh: None,
            announce_lower_prio: None,
            announce_extra: None,
            conflict: None,
            rival_owner: None,
            answered_until: Instant::ZERO,
            warned_until: Instant::ZERO,
            notified,
        }
    }

    /// Every timer that runs.
    pub(super) fn timers(&self) -> impl Iterator<Item = Instant> {
        let rival_owner = self.rival_owner.and_then(|rival| match rival.phase {
            RivalPhase::Told { .. } => None,
            RivalPhase::Watched { until } => Some(until),
        });
        [
            Some(self.adver_timer),
            self.apply_deadline,
            self.announce_again,
            self.announce_refresh,
            self.announce_lower_prio,
            self.announce_extra,
            self.conflict.map(|conflict| conflict.over_at),
            rival_owner,
        ]
        .into_iter()
        .flatten()
    }
}

/// Two Active Routers at a time: this one, and at least one that it hears. One episode lasts from the first
/// advertisement of a rival until none was heard for one Active_Down_Interval, or until this router is no longer Active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// When a rival was first heard.
    pub since: Instant,
    /// When a rival was last heard.
    pub last_heard: Instant,
    /// When it counts as won unless a rival is heard before.
    pub over_at: Instant,
    /// The rival heard last.
    pub rival: ActiveRouter,
    /// How many advertisements of rivals were heard; saturates.
    pub advertisements: u32,
}

/// A second owner of lower address, which ought to yield (RFC 9568 §8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RivalOwner {
    /// Its address.
    pub source: IpAddr,
    /// Its advertisement interval.
    pub interval: Duration,
    /// What is done about it.
    pub phase: RivalPhase,
}

/// What an owner does about a second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RivalPhase {
    /// It is told that this router owns the addresses too.
    Told {
        /// So many more advertisements are to be sent.
        left: u8,
    },
    /// If it is still heard, this router gives up being the owner.
    Watched {
        /// When it counts as gone.
        until: Instant,
    },
}
