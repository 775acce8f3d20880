//! One virtual router: the state machine of RFC 9568 §6.4 with keepalived's options.

use alloc::collections::{BTreeSet, VecDeque};
use core::net::IpAddr;
use core::time::Duration;

pub(crate) use group::Grouped;
pub use state::{Active, ActiveRouter, Backup, Conflict, Fault, RivalOwner, RivalPhase, State};

use crate::action::{
    Action, AnnounceScope, ConflictOutcome, Event, FaultReason, Notification, Ownership, Role, RouterSnapshot,
};
use crate::advertisement::Advertisement;
use crate::config::RouterConfig;
use crate::control::Control;
use crate::planted::{Bug, planted};
use crate::stats::RouterStats;
use crate::types::{AdvertisementInterval, Instant, Priority, RouterId, Ticket, Version};

mod active;
mod backup;
mod group;
mod rivals;
mod state;

/// Addresses taken away from outside are put back this often within [`LOSS_WINDOW`].
const LOSSES_RESTORED: u8 = 3;
/// See [`LOSSES_RESTORED`].
const LOSS_WINDOW: Duration = Duration::from_secs(10);
/// A router whose addresses the kernel did not take stays in fault for so many Active_Down_Intervals.
const NOT_APPLIED_HOLD: u32 = 10;

/// One Virtual Router (RFC 9568 §6.4). Holds no socket, clock, thread or logger.
///
/// Call one of `startup`, `resume`, `shutdown` or `handle_*`; drain [`poll_action`](Self::poll_action) to `None`;
/// sleep until [`poll_timeout`](Self::poll_timeout) or the next input; repeat.
#[derive(Debug, Clone)]
pub struct VirtualRouter {
    id: RouterId,
    config: RouterConfig,
    state: State,
    faults: BTreeSet<FaultReason>,
    weight: i32,
    link_address: Option<IpAddr>,
    last_advertisement: Option<Instant>,
    /// No peer waits for less after it: another interval counts for them once they hear of it.
    patience: Duration,
    last_transition: Option<Instant>,
    apply: Option<PendingApply>,
    /// Never given out by this router or one of the same id before it.
    pub(crate) next_ticket: u64,
    losses: AddressLosses,
    grouped: Grouped,
    control: Control,
    /// As owner: the second owner that made it run at 254 (RFC 9568 §8.3.2).
    reduced_by: Option<IpAddr>,
    stats: RouterStats,
    pub(crate) actions: VecDeque<Action>,
}

#[derive(Debug, Clone, Copy)]
struct PendingApply {
    ticket: Ticket,
    ownership: Ownership,
    /// Set once the kernel refused.
    retry: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct AddressLosses {
    since: Instant,
    count: u8,
}

impl AddressLosses {
    /// Whether the loss at `now` is still one to put back.
    fn restorable(&mut self, now: Instant) -> bool {
        if self.count == 0 || now >= self.since + LOSS_WINDOW {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= LOSSES_RESTORED
    }
}

impl VirtualRouter {
    /// A router in Initialize. Nothing happens before [`startup`](Self::startup).
    #[must_use]
    pub fn new(id: RouterId, config: RouterConfig) -> Self {
        Self {
            id,
            config,
            state: State::Initialize,
            faults: BTreeSet::new(),
            weight: 0,
            link_address: None,
            last_advertisement: None,
            patience: Duration::ZERO,
            last_transition: None,
            apply: None,
            next_ticket: 0,
            losses: AddressLosses::default(),
            grouped: Grouped::Alone,
            control: Control::default(),
            reduced_by: None,
            stats: RouterStats::default(),
            actions: VecDeque::new(),
        }
    }

    /// The Startup event (RFC 9568 §6.4.1). Only the owner of the addresses (priority 255) becomes Active at once; what
    /// an earlier process may have left in the kernel is released otherwise. With a start-up delay timers begin when it
    /// ends, and until then no advertisement is heard. Ignored unless in Initialize.
    pub fn startup(&mut self, now: Instant) {
        self.start(now, None, Continuation::Allowed);
    }

    /// Startup in a process that follows another: goes on as Active if no peer can have taken over yet (see
    /// [`RouterSnapshot::resumable`]), without transition or second notification; else as [`startup`](Self::startup).
    /// The commands of a person that held there hold here.
    pub fn resume(&mut self, now: Instant, snapshot: &RouterSnapshot) {
        if self.state == State::Initialize {
            self.inherit_control(snapshot.control);
        }
        self.start(now, Some(snapshot), Continuation::Allowed);
    }

    /// The Shutdown event (RFC 9568 §6.4.2, §6.4.3): an Active Router resigns and releases its addresses.
    pub fn shutdown(&mut self, now: Instant) {
        self.stop(now, Notification::Stop);
    }

    /// As [`shutdown`](Self::shutdown), for a router that is no longer configured.
    pub fn delete(&mut self, now: Instant) {
        self.stop(now, Notification::Deleted);
    }

    /// An Advertisement for this VRID that passed all checks of the [`Receiver`](crate::Receiver), received at `now`.
    pub fn handle_advertisement(&mut self, now: Instant, source: IpAddr, advertisement: &Advertisement) {
        match self.state {
            State::Initialize | State::Fault(_) => {}
            State::Backup(backup) => self.backup_hears(now, source, advertisement, backup),
            State::Active(active) => self.active_hears(now, source, advertisement, active),
        }
    }

    /// A reason to be in fault appeared. Before `startup` it decides the first state.
    pub fn handle_fault(&mut self, now: Instant, reason: FaultReason) {
        if !self.faults.insert(reason) {
            return;
        }
        if !is_pending(&reason) {
            self.record(Event::FaultRaised(reason));
        }
        match self.state {
            State::Initialize | State::Fault(Fault { silent: false, .. }) => {}
            State::Fault(_) if self.only_pending() => {}
            State::Fault(_) => self.enter_fault(now, Entry::First { known: None }),
            State::Backup(_) | State::Active(_) => self.enter_fault(now, Entry::Later),
        }
    }

    /// A reason to be in fault went away; with the last one the router starts again.
    pub fn handle_fault_cleared(&mut self, now: Instant, reason: FaultReason) {
        if planted(Bug::FaultStays) || !self.faults.remove(&reason) {
            return;
        }
        if !is_pending(&reason) {
            self.record(Event::FaultCleared(reason));
        }
        if matches!(self.state, State::Fault(_)) && self.faults.is_empty() {
            self.leave_initialize(now);
        }
    }

    /// The sum of the weights of all trackers.
    pub fn handle_weight(&mut self, weight: i32) {
        let before = self.effective_priority();
        self.weight = weight;
        self.priority_moved(before);
    }

    /// The primary address of the link, from which advertisements leave unless a source is configured.
    pub fn handle_link_address(&mut self, address: Option<IpAddr>) {
        self.link_address = address;
    }

    /// The kernel carried out the `Apply` with this ticket. An answer to an older one is ignored.
    ///
    /// A plan that succeeded in part counts as carried out: the driver goes on trying the refused object alone.
    pub fn handle_applied(&mut self, now: Instant, ticket: Ticket) {
        let Some(pending) = self.apply.take_if(|pending| pending.ticket == ticket) else {
            return;
        };
        match self.state {
            State::Active(active) if pending.ownership == Ownership::Held => self.announce_applied(now, active),
            State::Fault(_) => self.end_not_applied(now),
            _ => {}
        }
    }

    /// The kernel refused the `Apply` with this ticket as a whole. It is tried again after one advertisement interval;
    /// an Active Router that holds nothing after one Active_Down_Interval goes to fault.
    pub fn handle_refused(&mut self, now: Instant, ticket: Ticket) {
        let interval = self.config.advertisement_interval.duration();
        let Some(pending) = self.apply.as_mut().filter(|pending| pending.ticket == ticket) else {
            return;
        };
        pending.retry = (!planted(Bug::RefusalForgotten)).then(|| now + interval);
        let ownership = pending.ownership;
        self.record(Event::Refused { ownership });
    }

    /// An address that this router holds was taken away from outside. It is put back at once, three times in ten
    /// seconds; after that the router resigns as keepalived does, and comes back after Skew_Time.
    pub fn handle_address_lost(&mut self, now: Instant) {
        let State::Active(mut active) = self.state else {
            return;
        };
        let restored = self.losses.restorable(now);
        self.record(Event::AddressLost { restored });
        if restored {
            active.apply_deadline.get_or_insert(now + self.own_active_down_interval());
            self.state = State::Active(active);
            self.push_apply(Ownership::Held);
        } else {
            let interval = self.config.advertisement_interval;
            let wait = interval.skew_time(self.skew_priority());
            self.enter_backup(now, Entry::Later, Resign::Yes, Backup::new(now + wait, interval));
        }
    }

    /// Another configuration of the same virtual router (VRID, version, family and link must be the same). Nothing
    /// that stayed the same is touched; an Active Router applies again if its addresses or resources changed.
    pub fn reconfigure(&mut self, now: Instant, config: RouterConfig) {
        let (priority, snapshot) = (self.effective_priority(), self.snapshot());
        let old = core::mem::replace(&mut self.config, config);
        if !self.config.is_owner() {
            self.reduced_by = None;
        }
        self.priority_moved(priority);
        match self.state {
            State::Initialize | State::Fault(_) => {}
            State::Backup(backup) if backup.only_waits() && !self.config.is_owner() => {
                self.listen(now, Entry::First { known: None }, self.config.advertisement_interval);
            }
            State::Backup(backup) => self.reconfigure_backup(backup, &old),
            State::Active(active) => self.reconfigure_active(now, active, &old),
        }
        if self.snapshot() != snapshot && self.state != State::Initialize {
            self.push_fact();
        }
    }

    /// Fires what is due at `now`. Early or repeated calls change nothing. Packets that wait already are to be handed in
    /// first: a Backup that was held up would take over from a router that it has not listened to.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.retry_apply(now);
        match self.state {
            State::Initialize => {}
            State::Fault(_) => self.end_not_applied(now),
            State::Backup(Backup { active_down_timer, .. }) => {
                if active_down_timer <= now {
                    self.active_down(now);
                }
            }
            State::Active(active) => self.active_timeout(now, active),
        }
    }

    /// The next thing to do, or `None` when drained.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when nothing is scheduled.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let retry = self.apply.and_then(|pending| pending.retry);
        let timer = match self.state {
            State::Initialize => None,
            State::Fault(fault) => fault.not_applied_until.filter(|_| self.apply.is_none()),
            State::Backup(backup) => Some(backup.active_down_timer),
            State::Active(active) => active.timers().min(),
        };
        timer.into_iter().chain(retry).min()
    }

    /// When it takes over unless it hears somebody before.
    pub(crate) const fn takes_over_at(&self) -> Option<Instant> {
        match self.state {
            State::Backup(backup) => Some(backup.active_down_timer),
            State::Initialize | State::Fault(_) | State::Active(_) => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> RouterId {
        self.id
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// Its state with all timers.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Its state without timers.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.state {
            State::Initialize => Role::Stopped,
            State::Fault(_) => Role::Fault,
            State::Backup(_) => Role::Backup,
            State::Active(_) => Role::Active,
        }
    }

    /// Why it is in fault; empty otherwise.
    #[must_use]
    pub const fn faults(&self) -> &BTreeSet<FaultReason> {
        &self.faults
    }

    /// The configured priority moved by the trackers, 1..=254; 255 for the owner, or 254 while another owner does not
    /// yield (RFC 9568 §8.3.2).
    #[must_use]
    pub fn effective_priority(&self) -> Priority {
        if self.config.is_owner() {
            return if self.reduced_by.is_some() { rivals::REDUCED_OWNER } else { Priority::OWNER };
        }
        let base = self.control.priority.unwrap_or(self.config.priority);
        let sum = i32::from(base.0).saturating_add(self.weight).clamp(1, 254);
        Priority(u8::try_from(sum).unwrap_or(254))
    }

    /// The source of its advertisements: the configured one, else that of the link.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.config.source.or(self.link_address)
    }

    /// The Active Router: the one followed as Backup, itself as Active.
    #[must_use]
    pub fn active_router(&self) -> Option<ActiveRouter> {
        match self.state {
            State::Initialize | State::Fault(_) => None,
            State::Backup(backup) => backup.active_router,
            State::Active(_) => {
                self.source().map(|address| ActiveRouter { address, priority: self.effective_priority() })
            }
        }
    }

    /// The interval that its Active_Down_Interval is counted in: learned as Backup, its own otherwise.
    #[must_use]
    pub fn active_adver_interval(&self) -> AdvertisementInterval {
        match self.state {
            State::Backup(backup) => backup.active_adver_interval,
            State::Initialize | State::Fault(_) | State::Active(_) => self.config.advertisement_interval,
        }
    }

    /// When it last changed its state.
    #[must_use]
    pub const fn last_transition(&self) -> Option<Instant> {
        self.last_transition
    }

    /// Its counters.
    #[must_use]
    pub const fn stats(&self) -> &RouterStats {
        &self.stats
    }

    /// What a following process needs.
    #[must_use]
    pub fn snapshot(&self) -> RouterSnapshot {
        RouterSnapshot {
            role: if self.is_silent() { Role::Stopped } else { self.role() },
            last_advertisement: self.last_advertisement,
            active_down_interval: self.patience,
            active_adver_interval: self.active_adver_interval(),
            last_transition: self.last_transition,
            notified: matches!(self.state, State::Active(Active { notified: true, .. })),
            control: self.control,
        }
    }

    fn start(&mut self, now: Instant, snapshot: Option<&RouterSnapshot>, continuation: Continuation) {
        if self.state != State::Initialize {
            return;
        }
        let resumable = snapshot.is_some_and(|snapshot| snapshot.resumable(now));
        self.last_transition = snapshot.and_then(|snapshot| snapshot.last_transition);
        let continues = resumable
            && continuation == Continuation::Allowed
            && self.faults.is_empty()
            && self.control.may_be_active(now);
        if let Some(snapshot) = snapshot.filter(|_| continues) {
            return self.resume_active(now, snapshot.notified);
        }
        if snapshot.is_some_and(|snapshot| snapshot.ownership() == Ownership::Held) {
            self.push_fact();
        }
        if resumable {
            // Peers still count on the process before this one.
            self.push_resign();
        }
        if self.starts_active(now) && self.faults.is_empty() {
            return self.active_router_is_down(now);
        }
        self.push_apply(Ownership::Released);
        let entry = Entry::First { known: snapshot.map(|snapshot| snapshot.role) };
        if !self.faults.is_empty() {
            return self.enter_fault(now, entry);
        }
        let interval = snapshot
            .map(|snapshot| snapshot.active_adver_interval)
            .filter(|interval| interval.version() == Version::V3 && self.config.version == Version::V3)
            .unwrap_or(self.config.advertisement_interval);
        self.listen(now, entry, interval);
    }

    fn resume_active(&mut self, now: Instant, notified: bool) {
        self.record(Event::ResumedActive);
        self.state = State::Active(self.new_active(now, notified));
        self.advertise(now);
        self.push_apply(Ownership::Held);
    }

    fn stop(&mut self, now: Instant, notification: Notification) {
        if self.state == State::Initialize {
            return;
        }
        let was_active = self.leave(now, State::Initialize);
        self.reduced_by = None;
        self.push_fact();
        if was_active {
            self.push_resign();
            self.push_apply(Ownership::Released);
        }
        self.notify(notification);
    }

    fn enter_backup(&mut self, now: Instant, entry: Entry, resign: Resign, backup: Backup) {
        let was_active = self.leave(now, State::Backup(backup));
        self.record(Event::EnteringBackup { initial: entry.is_first() });
        self.push_fact();
        if was_active {
            if resign == Resign::Yes {
                self.push_resign();
            }
            if !planted(Bug::KeepsAddressesAsBackup) {
                self.push_apply(Ownership::Released);
            }
        }
        if entry.is_news(Role::Backup) {
            self.notify(Notification::Backup { initial: entry.is_first() });
        }
    }

    fn enter_fault(&mut self, now: Instant, entry: Entry) {
        let not_applied_until = self
            .faults
            .contains(&FaultReason::NotApplied)
            .then(|| now + self.own_active_down_interval().saturating_mul(NOT_APPLIED_HOLD));
        let silent = self.only_pending();
        let was_active = self.leave(now, State::Fault(Fault { not_applied_until, silent }));
        if silent {
            return self.push_fact();
        }
        self.record(Event::EnteringFault { initial: entry.is_first() });
        self.push_fact();
        if was_active {
            self.push_resign();
            self.push_apply(Ownership::Released);
        }
        if entry.is_news(Role::Fault) {
            self.notify(Notification::Fault { initial: entry.is_first() });
        }
    }

    /// Startup once nothing is missing any more.
    fn leave_initialize(&mut self, now: Instant) {
        if self.starts_active(now) {
            return self.active_router_is_down(now);
        }
        self.listen(now, Entry::Later, self.config.advertisement_interval);
    }

    /// Backup from Initialize. The timer begins when the start-up delay is over; the owner only waits for that, and
    /// nobody is told of it.
    fn listen(&mut self, now: Instant, entry: Entry, interval: AdvertisementInterval) {
        let begin = now.max(self.config.start_not_before);
        let mut backup = Backup::new(begin + self.first_wait(interval), interval);
        backup.ignores_until = (begin > now).then_some(begin);
        if self.waits_only(begin) {
            backup.active_down_timer = begin;
            self.leave(now, State::Backup(backup));
            return self.push_fact();
        }
        self.enter_backup(now, entry, Resign::No, backup);
    }

    /// Active_Down_Timer fires, or nobody is to be waited for.
    fn active_router_is_down(&mut self, now: Instant) {
        self.record(Event::ReceiveAdvertisementTimeout);
        self.become_active(now);
    }

    /// Changes the state, and says whether it was Active before.
    fn leave(&mut self, now: Instant, to: State) -> bool {
        let was_active = self.role() == Role::Active;
        if was_active {
            self.end_conflict(ConflictOutcome::Abandoned);
            self.stats.released_active = self.stats.released_active.wrapping_add(1);
        }
        self.state = to;
        self.last_transition = Some(now);
        was_active
    }

    /// Ends [`FaultReason::NotApplied`] once the kernel answers again and the hold time is over.
    fn end_not_applied(&mut self, now: Instant) {
        let State::Fault(Fault { not_applied_until: Some(until), silent }) = self.state else {
            return;
        };
        if until <= now && self.apply.is_none() {
            self.state = State::Fault(Fault { not_applied_until: None, silent });
            self.handle_fault_cleared(now, FaultReason::NotApplied);
        }
    }

    fn retry_apply(&mut self, now: Instant) {
        let due = self.apply.filter(|pending| pending.retry.is_some_and(|due| due <= now));
        if let Some(pending) = due {
            self.push_apply(pending.ownership);
        }
    }

    fn priority_moved(&mut self, from: Priority) {
        let to = self.effective_priority();
        if from != to {
            self.record(Event::PriorityChanged { from, to });
        }
    }

    /// The priority that Skew_Time is counted with: an owner's stays 255 while it runs at 254.
    fn skew_priority(&self) -> Priority {
        let priority = if self.config.is_owner() { Priority::OWNER } else { self.effective_priority() };
        if planted(Bug::SkewUpsideDown) { Priority(u8::MAX - priority.0) } else { priority }
    }

    /// How long this router waits in silence for one that advertises every `interval`.
    fn active_down_interval(&self, interval: AdvertisementInterval) -> Duration {
        self.config.active_down_interval(interval, self.skew_priority())
    }

    fn own_active_down_interval(&self) -> Duration {
        self.active_down_interval(self.config.advertisement_interval)
    }

    fn push_resign(&mut self) {
        self.push_advertise(Priority::RESIGN);
        self.stats.priority_zero_sent = self.stats.priority_zero_sent.wrapping_add(1);
        self.record(Event::SentPriorityZero);
    }

    fn push_advertise(&mut self, priority: Priority) {
        self.stats.advertisements_sent = self.stats.advertisements_sent.wrapping_add(1);
        self.actions.push_back(Action::Advertise { router: self.id, priority });
    }

    fn push_apply(&mut self, ownership: Ownership) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.apply = Some(PendingApply { ticket, ownership, retry: None });
        self.actions.push_back(Action::Apply { router: self.id, ownership, ticket });
    }

    fn push_fact(&mut self) {
        self.actions.push_back(Action::Fact { router: self.id, snapshot: self.snapshot() });
    }

    fn announce(&mut self, scope: AnnounceScope, repeat: u8) {
        self.actions.push_back(Action::Announce { router: self.id, scope, repeat });
    }

    fn notify(&mut self, notification: Notification) {
        let priority = self.effective_priority();
        self.actions.push_back(Action::Notify { router: self.id, notification, priority });
    }

    fn record(&mut self, event: Event) {
        self.actions.push_back(Action::Record { router: self.id, event });
    }
}

/// Whether a state is the first of this process, and what the process before it had said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    First { known: Option<Role> },
    Later,
}

impl Entry {
    fn is_first(self) -> bool {
        self != Self::Later
    }

    /// Whether scripts have yet to hear of `role`.
    fn is_news(self, role: Role) -> bool {
        self != Self::First { known: Some(role) }
    }
}

/// Whether a snapshot of an Active Router may be continued as such.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Continuation {
    Allowed,
    /// Another member of its sync group cannot.
    Denied,
}

/// Whether a router that gives up being Active sends an advertisement of priority 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resign {
    Yes,
    No,
}

const fn is_pending(reason: &FaultReason) -> bool {
    matches!(reason, FaultReason::TrackerPending(_))
}

#[cfg(test)]
mod tests;
