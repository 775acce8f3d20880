//! Other Active Routers: conflicts as episodes, and two owners of the same addresses (RFC 9568 §8.3.2).

use core::net::IpAddr;
use core::time::Duration;

use super::{Active, ActiveRouter, Conflict, RivalOwner, RivalPhase, State, VirtualRouter};
use crate::action::{ConflictOutcome, Event};
use crate::advertisement::Advertisement;
use crate::types::{Instant, Priority};

/// So many advertisements tell a second owner that it has to yield.
const TOLD_TIMES: u8 = 2;

/// What an owner runs at while another one does not yield.
pub(super) const REDUCED_OWNER: Priority = Priority(254);

impl VirtualRouter {
    /// Another Active Router was heard: the conflict begins, or goes on. Gives back the state with it.
    pub(super) fn note_conflict(
        &mut self,
        now: Instant,
        source: IpAddr,
        advertisement: &Advertisement,
        mut active: Active,
    ) -> Active {
        let theirs = self.active_down_interval(advertisement.interval);
        let over_at = now + theirs.max(self.own_active_down_interval());
        let rival = ActiveRouter { address: source, priority: advertisement.priority };
        let (since, before) = active.conflict.map_or((now, 0), |it| (it.since, it.advertisements));
        let advertisements = before.saturating_add(1);
        active.conflict = Some(Conflict { since, last_heard: now, over_at, rival, advertisements });
        self.state = State::Active(active);
        if before == 0 {
            self.stats.conflicts = self.stats.conflicts.wrapping_add(1);
            let ours = self.effective_priority();
            self.record(Event::ConflictStarted { source, theirs: rival.priority, ours });
        }
        active
    }

    /// Every conflict ends, whatever ends it.
    pub(super) fn end_conflict(&mut self, outcome: ConflictOutcome) {
        let State::Active(active) = &mut self.state else {
            return;
        };
        if let Some(conflict) = active.conflict.take() {
            self.record(Event::ConflictEnded {
                source: conflict.rival.address,
                duration: conflict.last_heard.saturating_duration_since(conflict.since),
                advertisements: conflict.advertisements,
                outcome,
            });
        }
    }

    /// Fires what the rivals left to wait for. Says whether a conflict was won with the addresses in place: the last
    /// announcement that neighbours saw may be the rival's, so ours is to follow, once per conflict.
    #[must_use]
    pub(super) fn rivals_timeout(&mut self, now: Instant) -> bool {
        let State::Active(active) = &mut self.state else {
            return false;
        };
        let gone = |rival: &mut RivalOwner| matches!(rival.phase, RivalPhase::Watched { until } if until <= now);
        let stopped = active.rival_owner.take_if(gone);
        let won = active.conflict.is_some_and(|conflict| conflict.over_at <= now);
        let applied = active.apply_deadline.is_none();
        if let Some(rival) = stopped {
            self.record(Event::RivalOwnerStopped { source: rival.source });
        }
        if won {
            self.end_conflict(ConflictOutcome::Won);
        }
        won && applied
    }

    /// As owner, a second owner of lower address was heard. It is told twice that it has to yield; if it is heard after
    /// that, this router runs at 254 and so yields to it.
    pub(super) fn contest_ownership(&mut self, now: Instant, source: IpAddr, advertisement: &Advertisement) {
        let State::Active(active) = &mut self.state else {
            return;
        };
        match active.rival_owner.map(|rival| rival.phase) {
            None => {
                let interval = advertisement.interval.duration();
                let phase = RivalPhase::Told { left: TOLD_TIMES };
                active.rival_owner = Some(RivalOwner { source, interval, phase });
                self.record(Event::TwoOwners { source, yields: false });
                self.advertise_now(now);
            }
            Some(RivalPhase::Told { .. }) => {}
            Some(RivalPhase::Watched { .. }) => {
                active.rival_owner = None;
                self.reduced_by = Some(source);
                self.record(Event::RivalOwnerPersists { source });
            }
        }
    }

    /// An advertisement was sent; after the last one that a second owner is told with, it has a little more than the
    /// longer interval to be silent.
    pub(super) fn rival_owner_was_told(&mut self, now: Instant) {
        let ours = self.config.advertisement_interval.duration();
        let State::Active(active) = &mut self.state else {
            return;
        };
        let Some(rival) = &mut active.rival_owner else {
            return;
        };
        rival.phase = match rival.phase {
            RivalPhase::Told { left } if left > 1 => RivalPhase::Told { left: left - 1 },
            RivalPhase::Told { .. } => RivalPhase::Watched { until: now + patience(ours.max(rival.interval)) },
            watched @ RivalPhase::Watched { .. } => watched,
        };
    }

    /// An owner that runs at 254 is one again as soon as anything but the rival that made it so is heard.
    pub(super) fn restore_owner_priority(&mut self, source: IpAddr, theirs: Priority) {
        if self.reduced_by.is_some_and(|rival| (source, theirs) != (rival, Priority::OWNER)) {
            self.reduced_by = None;
            self.record(Event::OwnerPriorityRestored { source });
        }
    }
}

/// 1.2 times `interval`.
fn patience(interval: Duration) -> Duration {
    interval.saturating_mul(6) / 5
}
