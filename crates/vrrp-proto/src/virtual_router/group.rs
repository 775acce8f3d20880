//! A virtual router as a member of a sync group, and under the commands of a person.

use core::time::Duration;

use super::{Active, Backup, Continuation, Entry, Fault, Resign, State, VirtualRouter};
use crate::action::{Event, FaultReason, Role, RouterSnapshot};
use crate::control::{Command, Control};
use crate::planted::{Bug, planted};
use crate::types::{AdvertisementInterval, Instant, Priority};

/// Whether a router is a member of a sync group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouped {
    /// It is not.
    Alone,
    /// It is, and every member owns its addresses: all of them want to be Active from the start.
    AllOwners,
    /// It is, and some member has to listen first.
    Member,
}

impl VirtualRouter {
    /// Makes it a member of a sync group, or takes it out of one. A member does not take over by itself when
    /// Active_Down_Timer ends, but becomes [`ready`](Self::ready).
    pub(crate) fn set_grouped(&mut self, grouped: Grouped) {
        self.grouped = grouped;
        if let (State::Backup(backup), Grouped::Alone) = (&mut self.state, grouped) {
            backup.ready = false;
        }
    }

    /// Whether it waits for the other members of its group only.
    pub(crate) fn ready(&self) -> bool {
        matches!(self.state, State::Backup(Backup { ready: true, .. }))
    }

    /// Whether it listens to an Active Router that it has accepted.
    pub(crate) fn follows(&self) -> bool {
        matches!(self.state, State::Backup(Backup { ready: false, active_router: Some(_), .. }))
    }

    /// Its group goes: a Backup becomes Active.
    pub(crate) fn take_over(&mut self, now: Instant) {
        if matches!(self.state, State::Backup(_)) {
            self.become_active(now);
        }
    }

    /// Another member of its group is no longer Active: an Active Router becomes Backup.
    ///
    /// If that one resigned, this one does too and comes back as soon; else it waits for the router that took over.
    pub(crate) fn stand_down(&mut self, now: Instant, resign: Resign) {
        if matches!(self.state, State::Active(_)) {
            let interval = self.config.advertisement_interval;
            let wait = match resign {
                Resign::Yes => interval.skew_time(self.skew_priority()),
                Resign::No => self.active_down_interval(interval),
            };
            self.enter_backup(now, Entry::Later, resign, Backup::new(now + wait, interval));
        }
    }

    /// Whether scripts were told that it is Active.
    pub(crate) fn is_notified(&self) -> bool {
        matches!(self.state, State::Active(Active { notified: true, .. }))
    }

    /// Whether it is in a fault that no one was told of.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.state, State::Fault(Fault { silent: true, .. }))
    }

    /// Whether nothing of its own keeps it from going on as Active.
    pub(crate) fn may_resume(&self, now: Instant) -> bool {
        self.faults.is_empty() && self.control.may_be_active(now)
    }

    /// As [`resume`](Self::resume) for a member of a group of which another cannot go on as Active.
    pub(crate) fn resume_as_backup(&mut self, now: Instant, snapshot: &RouterSnapshot) {
        self.start(now, Some(snapshot), Continuation::Denied);
    }

    /// Whether something of its own keeps it in fault, not just another member of its group.
    pub(crate) fn has_own_fault(&self) -> bool {
        let own = |reason: &FaultReason| !matches!(reason, FaultReason::SyncGroup(_) | FaultReason::TrackerPending(_));
        self.faults.iter().any(own)
    }

    /// What a person told it to do.
    #[must_use]
    pub const fn control(&self) -> Control {
        self.control
    }

    /// What the process before this one was told. Before `startup` only.
    pub(crate) fn inherit_control(&mut self, control: Control) {
        self.control = control;
        if control.maintenance {
            self.faults.insert(FaultReason::Maintenance);
        } else {
            self.faults.remove(&FaultReason::Maintenance);
        }
    }

    /// A person tells it something.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        if self.config.is_owner() && matches!(command, Command::SetPriority(_)) {
            return;
        }
        let Some(control) = self.control.after(command) else {
            return;
        };
        let before = self.effective_priority();
        let maintenance = self.control.maintenance;
        self.control = control;
        self.record(Event::Commanded(command));
        self.priority_moved(before);
        if control.maintenance && !maintenance {
            self.handle_fault(now, FaultReason::Maintenance);
        } else if maintenance && !control.maintenance {
            self.handle_fault_cleared(now, FaultReason::Maintenance);
        } else if self.role() == Role::Active && !control.may_be_active(now) {
            let interval = self.config.advertisement_interval;
            let backup = Backup::new(now + self.active_down_interval(interval), interval);
            self.enter_backup(now, Entry::Later, Resign::Yes, backup);
        }
        if let State::Backup(backup) = &mut self.state {
            // Its group would take it along.
            backup.ready &= control.may_be_active(now);
        }
        self.push_fact();
    }

    /// Active_Down_Timer ended: takes over, unless it is told to stay away or has to wait for its group. The timer runs
    /// again then.
    pub(super) fn active_down(&mut self, now: Instant) {
        let may = self.control.may_be_active(now);
        if may && (self.grouped == Grouped::Alone || planted(Bug::MemberGoesAlone)) {
            return self.active_router_is_down(now);
        }
        let timer = now + self.active_down_interval(self.active_adver_interval());
        let State::Backup(backup) = &mut self.state else {
            return;
        };
        let first = may && !backup.ready;
        backup.ready = may;
        backup.active_down_timer = timer;
        if first {
            self.record(Event::ReceiveAdvertisementTimeout);
        }
    }

    /// Whether it is Active without listening first.
    pub(super) fn starts_active(&self, now: Instant) -> bool {
        now >= self.config.start_not_before && self.waits_only(now)
    }

    /// Whether it has nobody to listen to at `begin`: the owner, unless it has to wait for its group or was told to.
    pub(super) fn waits_only(&self, begin: Instant) -> bool {
        self.config.is_owner() && self.grouped == Grouped::Alone && self.control.may_be_active(begin)
    }

    /// How long a router listens that was not Backup before. The owner in a sync group waits for less: it wants to be
    /// Active anyway.
    pub(super) fn first_wait(&self, interval: AdvertisementInterval) -> Duration {
        match self.grouped {
            Grouped::AllOwners => Duration::from_micros(1),
            Grouped::Member if self.config.is_owner() => interval.duration() + interval.skew_time(Priority::OWNER),
            Grouped::Member | Grouped::Alone => self.active_down_interval(interval),
        }
    }

    /// Whether all that keeps it in fault is that trackers have not said anything since the start.
    pub(super) fn only_pending(&self) -> bool {
        !self.faults.is_empty() && self.faults.iter().all(super::is_pending)
    }
}
