//! One virtual router: the state machine of RFC 9568 §6.4 with keepalived's options.

use alloc::collections::{BTreeSet, VecDeque};
use core::net::IpAddr;
use core::time::Duration;

use crate::action::{Action, Event, FaultReason, Notification, Ownership, Role, RouterSnapshot};
use crate::advertisement::Advertisement;
use crate::config::RouterConfig;
use crate::control::Control;
use crate::stats::RouterStats;
use crate::types::{AdvertisementInterval, Instant, Priority, RouterId, Ticket, Version};

mod group;
pub(crate) use group::Grouped;

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
    last_transition: Option<Instant>,
    apply: Option<PendingApply>,
    /// Never given out by this router or one of the same id before it.
    pub(crate) next_ticket: u64,
    losses: AddressLosses,
    grouped: Grouped,
    control: Control,
    stats: RouterStats,
    pub(crate) actions: VecDeque<Action>,
}

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
    /// The earliest end of [`FaultReason::NotApplied`].
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
    /// In a sync group: whether Active_Down_Timer ended, and it waits for the other members.
    pub ready: bool,
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
    /// Until then no further advertisement of lower priority is answered.
    answered_until: Instant,
    notified: bool,
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
            last_transition: None,
            apply: None,
            next_ticket: 0,
            losses: AddressLosses::default(),
            grouped: Grouped::Alone,
            control: Control::default(),
            stats: RouterStats::default(),
            actions: VecDeque::new(),
        }
    }

    /// The Startup event (RFC 9568 §6.4.1). Only the owner of the addresses (priority 255) becomes Active at once; what
    /// an earlier process may have left in the kernel is released otherwise. Ignored unless in Initialize.
    pub fn startup(&mut self, now: Instant) {
        self.start(now, None, Continuation::Allowed);
    }

    /// Startup in a process that follows another: goes on as Active if no peer can have taken over yet (see
    /// [`RouterSnapshot::resumable`]), without transition or second notification; else as [`startup`](Self::startup).
    pub fn resume(&mut self, now: Instant, snapshot: &RouterSnapshot) {
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
        if !self.faults.remove(&reason) {
            return;
        }
        if !is_pending(&reason) {
            self.record(Event::FaultCleared(reason));
        }
        if matches!(self.state, State::Fault(_)) && self.faults.is_empty() {
            self.leave_initialize(now, Entry::Later);
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
        pending.retry = Some(now + interval);
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
            let wait = interval.skew_time(self.effective_priority());
            self.enter_backup(now, Entry::Later, Resign::Yes, interval, wait);
        }
    }

    /// Another configuration of the same virtual router (VRID, version, family and link must be the same). Nothing
    /// that stayed the same is touched; an Active Router applies again if its addresses or resources changed.
    pub fn reconfigure(&mut self, now: Instant, config: RouterConfig) {
        let before = self.effective_priority();
        let old = core::mem::replace(&mut self.config, config);
        self.priority_moved(before);
        match self.state {
            State::Initialize | State::Fault(_) => {}
            State::Backup(backup) => self.reconfigure_backup(backup, &old),
            State::Active(active) => self.reconfigure_active(now, active, &old),
        }
    }

    /// Fires what is due at `now`. Early or repeated calls change nothing.
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
        let timers = match self.state {
            State::Initialize => [None; 5],
            State::Fault(fault) => [fault.not_applied_until.filter(|_| self.apply.is_none()), None, None, None, None],
            State::Backup(backup) => [Some(backup.active_down_timer), None, None, None, None],
            State::Active(active) => [
                Some(active.adver_timer),
                active.apply_deadline,
                active.announce_again,
                active.announce_refresh,
                active.announce_lower_prio,
            ],
        };
        timers.into_iter().chain([retry]).flatten().min()
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

    /// The configured priority moved by the trackers, 1..=254; always 255 for the owner.
    #[must_use]
    pub fn effective_priority(&self) -> Priority {
        if self.config.is_owner() {
            return Priority::OWNER;
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
            role: self.role(),
            last_advertisement: self.last_advertisement,
            active_down_interval: self.shortest_active_down_interval(),
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
        if resumable {
            // Peers still count on the process before this one.
            self.push_fact();
            self.push_resign();
        }
        if self.starts_active(now) && self.faults.is_empty() {
            self.record(Event::ReceiveAdvertisementTimeout);
            return self.become_active(now);
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
        let wait = self.first_wait(interval);
        self.enter_backup(now, entry, Resign::No, interval, wait);
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
        self.push_fact();
        if was_active {
            self.push_resign();
            self.push_apply(Ownership::Released);
        }
        self.notify(notification);
    }

    fn backup_hears(&mut self, now: Instant, source: IpAddr, advertisement: &Advertisement, mut backup: Backup) {
        let (theirs, ours) = (advertisement.priority, self.effective_priority());
        if theirs == Priority::RESIGN {
            self.record(Event::BackupReceivedPriorityZero { source });
            backup.preempt_at = None;
            backup.active_down_timer = now + backup.active_adver_interval.skew_time(ours);
            self.state = State::Backup(backup);
            return;
        }
        if theirs >= ours {
            if backup.preempt_at.take().is_some() {
                self.record(Event::PreemptDelayStopped);
            }
        } else if self.config.preempts() && !self.preempt_delay_runs(now, &mut backup) {
            self.state = State::Backup(backup);
            self.record(Event::LowerPriorityDiscarded { source, theirs });
            return;
        }
        self.follow(&mut backup, source, advertisement);
        let wait = self.config.active_down_interval(backup.active_adver_interval, ours);
        backup.active_down_timer = now + wait;
        backup.ready = false;
        let learned = backup.active_adver_interval != self.active_adver_interval();
        self.state = State::Backup(backup);
        if learned {
            self.push_fact();
        }
    }

    /// Whether a router of lower priority is still left alone at `now`; the first one starts the delay.
    fn preempt_delay_runs(&mut self, now: Instant, backup: &mut Backup) -> bool {
        let delay = self.config.preempt_delay;
        if delay.is_zero() {
            return false;
        }
        if backup.preempt_at.is_none() {
            self.record(Event::PreemptDelayStarted { delay });
        }
        now < *backup.preempt_at.get_or_insert(now + delay)
    }

    fn follow(&mut self, backup: &mut Backup, source: IpAddr, advertisement: &Advertisement) {
        let (from, to) = (backup.active_adver_interval, advertisement.interval);
        if self.config.version == Version::V3 && to.version() == Version::V3 && from != to {
            backup.active_adver_interval = to;
            self.record(Event::IntervalLearned { from, to });
        }
        match backup.active_router.map(|active| active.address) {
            None => self.record(Event::ActiveSetTo { address: source }),
            Some(from) if from != source => self.record(Event::ActiveChanged { from, to: source }),
            Some(_) => {}
        }
        backup.active_router = Some(ActiveRouter { address: source, priority: advertisement.priority });
    }

    fn active_hears(&mut self, now: Instant, source: IpAddr, advertisement: &Advertisement, active: Active) {
        let (theirs, ours) = (advertisement.priority, self.effective_priority());
        if theirs == Priority::RESIGN {
            self.record(Event::ActiveReceivedPriorityZero { source });
            return self.advertise_now(now);
        }
        let own_address = self.source();
        if theirs == ours && own_address == Some(source) {
            return self.record(Event::OwnAddressAdvert { source });
        }
        if (theirs, Some(source)) > (ours, own_address) {
            return self.yield_to(now, source, advertisement);
        }
        if now >= active.answered_until {
            self.assert_active(now, source, theirs, active);
        }
    }

    /// Gives way to a better router (RFC 9568 §6.4.3).
    fn yield_to(&mut self, now: Instant, source: IpAddr, advertisement: &Advertisement) {
        let (theirs, ours) = (advertisement.priority, self.effective_priority());
        self.record(if ours == Priority::OWNER {
            Event::TwoOwners { source, yields: true }
        } else if theirs == ours {
            Event::HigherAddressAdvert { source, priority: ours }
        } else {
            Event::HigherPriorityAdvert { source, theirs, ours }
        });
        if self.config.higher_prio_send_advert {
            self.advertise_now(now);
        }
        let interval = match self.config.version {
            Version::V2 => self.config.advertisement_interval,
            Version::V3 => advertisement.interval,
        };
        let wait = self.config.active_down_interval(interval, ours);
        self.enter_backup(now, Entry::Later, Resign::No, interval, wait);
        if let State::Backup(backup) = &mut self.state {
            backup.active_router = Some(ActiveRouter { address: source, priority: theirs });
        }
    }

    /// Answers a lower priority, at most once per advertisement interval: a storm of them is not amplified, and as the
    /// answer restarts Adver_Timer, every rival hears from us within one interval.
    fn assert_active(&mut self, now: Instant, source: IpAddr, theirs: Priority, mut active: Active) {
        let ours = self.effective_priority();
        active.answered_until = now + self.config.advertisement_interval.duration();
        let answered = !self.config.lower_prio_no_advert;
        let announce = self.config.announcements;
        let blocks = active.apply_deadline.is_none() && announce.lower_prio_repeat > 0;
        if blocks {
            active.announce_lower_prio = after(now, announce.lower_prio_delay);
        }
        self.state = State::Active(active);
        if theirs == Priority::OWNER {
            self.record(Event::TwoOwners { source, yields: false });
        } else {
            self.record(Event::LowerPriorityAdvert { source, theirs, ours, answered });
        }
        if answered {
            self.advertise_now(now);
        }
        if blocks {
            self.announce(announce.lower_prio_repeat);
        }
        if theirs != Priority::OWNER {
            self.notify(Notification::ReceivedLowerPriority);
        }
    }

    fn become_active(&mut self, now: Instant) {
        self.state = State::Active(self.new_active(now, false));
        self.last_transition = Some(now);
        self.last_advertisement = Some(now);
        self.stats.became_active = self.stats.became_active.wrapping_add(1);
        self.push_fact();
        self.push_advertise(self.effective_priority());
        self.record(Event::EnteringActive);
        self.push_apply(Ownership::Held);
    }

    fn new_active(&self, now: Instant, notified: bool) -> Active {
        Active {
            adver_timer: now + self.config.advertisement_interval.duration(),
            apply_deadline: Some(now + self.own_active_down_interval()),
            announce_again: None,
            announce_refresh: None,
            announce_lower_prio: None,
            answered_until: now,
            notified,
        }
    }

    fn enter_backup(
        &mut self,
        now: Instant,
        entry: Entry,
        resign: Resign,
        active_adver_interval: AdvertisementInterval,
        wait: Duration,
    ) {
        let was_active = self.leave(
            now,
            State::Backup(Backup {
                active_down_timer: now + wait,
                active_adver_interval,
                active_router: None,
                preempt_at: None,
                ready: false,
            }),
        );
        self.record(Event::EnteringBackup { initial: entry.is_first() });
        self.push_fact();
        if was_active {
            if resign == Resign::Yes {
                self.push_resign();
            }
            self.push_apply(Ownership::Released);
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
    fn leave_initialize(&mut self, now: Instant, entry: Entry) {
        if self.starts_active(now) {
            self.record(Event::ReceiveAdvertisementTimeout);
            return self.become_active(now);
        }
        let interval = self.config.advertisement_interval;
        let wait = self.first_wait(interval);
        self.enter_backup(now, entry, Resign::No, interval, wait);
    }

    /// Changes the state, and says whether it was Active before.
    fn leave(&mut self, now: Instant, to: State) -> bool {
        let was_active = self.role() == Role::Active;
        if was_active {
            self.stats.released_active = self.stats.released_active.wrapping_add(1);
        }
        self.state = to;
        self.last_transition = Some(now);
        was_active
    }

    fn active_timeout(&mut self, now: Instant, mut active: Active) {
        if active.apply_deadline.is_some_and(|due| due <= now) {
            return self.handle_fault(now, FaultReason::NotApplied);
        }
        let announce = self.config.announcements;
        let again = take_due(&mut active.announce_again, now);
        let refresh = take_due(&mut active.announce_refresh, now);
        let lower_prio = take_due(&mut active.announce_lower_prio, now);
        if refresh {
            active.announce_refresh = after(now, announce.refresh);
        }
        let advertise = active.adver_timer <= now;
        if advertise {
            active.adver_timer = next_in_rhythm(active.adver_timer, now, self.config.advertisement_interval.duration());
        }
        self.state = State::Active(active);
        if advertise {
            self.advertise(now);
        }
        for (due, repeat) in
            [(again, announce.repeat), (refresh, announce.refresh_repeat), (lower_prio, announce.lower_prio_repeat)]
        {
            if due {
                self.announce(repeat);
            }
        }
    }

    fn announce_applied(&mut self, now: Instant, mut active: Active) {
        let announce = self.config.announcements;
        active.apply_deadline = None;
        active.announce_again = after(now, announce.delay);
        active.announce_refresh = after(now, announce.refresh);
        let first = !core::mem::replace(&mut active.notified, true);
        self.state = State::Active(active);
        self.announce(announce.repeat);
        if first {
            self.notify(Notification::Active);
            self.push_fact();
        }
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

    fn reconfigure_backup(&mut self, mut backup: Backup, old: &RouterConfig) {
        let unlearned = self.config.version == Version::V2 || backup.active_router.is_none();
        if unlearned && backup.active_adver_interval == old.advertisement_interval {
            backup.active_adver_interval = self.config.advertisement_interval;
        }
        if self.config.preempt_delay.is_zero() || !self.config.preempts() {
            backup.preempt_at = None;
        }
        self.state = State::Backup(backup);
    }

    fn reconfigure_active(&mut self, now: Instant, mut active: Active, old: &RouterConfig) {
        let interval = self.config.advertisement_interval.duration();
        if self.config.advertisement_interval != old.advertisement_interval {
            let sooner = self.last_advertisement.unwrap_or(now) + interval;
            active.adver_timer = active.adver_timer.min(sooner).max(now);
        }
        if self.config.announcements.refresh != old.announcements.refresh && active.apply_deadline.is_none() {
            active.announce_refresh = after(now, self.config.announcements.refresh);
        }
        let apply = self.config.addresses != old.addresses || self.config.resources_revision != old.resources_revision;
        if apply {
            active.apply_deadline.get_or_insert(now + self.own_active_down_interval());
        }
        self.state = State::Active(active);
        if apply {
            self.push_apply(Ownership::Held);
        }
    }

    fn priority_moved(&mut self, from: Priority) {
        let to = self.effective_priority();
        if from != to {
            self.record(Event::PriorityChanged { from, to });
        }
    }

    fn own_active_down_interval(&self) -> Duration {
        self.config.active_down_interval(self.config.advertisement_interval, self.effective_priority())
    }

    /// No peer's Active_Down_Interval is shorter, whatever its priority: the owner's.
    fn shortest_active_down_interval(&self) -> Duration {
        self.config.active_down_interval(self.config.advertisement_interval, Priority::OWNER)
    }

    /// An advertisement outside the rhythm, which starts a new one: Adver_Timer is reset (RFC 9568 §6.4.3).
    fn advertise_now(&mut self, now: Instant) {
        if let State::Active(active) = &mut self.state {
            active.adver_timer = now + self.config.advertisement_interval.duration();
        }
        self.advertise(now);
    }

    fn advertise(&mut self, now: Instant) {
        self.push_advertise(self.effective_priority());
        self.last_advertisement = Some(now);
        self.push_fact();
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

    fn announce(&mut self, repeat: u8) {
        if repeat > 0 {
            self.actions.push_back(Action::Announce { router: self.id, repeat });
        }
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

/// `now + delay`, or `None` for a delay of zero, which means never.
fn after(now: Instant, delay: Duration) -> Option<Instant> {
    (!delay.is_zero()).then(|| now + delay)
}

fn take_due(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|due| *due <= now).is_some()
}

/// The first deadline after `now` that is a whole number of intervals after `due`: a late timer neither moves the rhythm
/// nor causes a burst.
fn next_in_rhythm(due: Instant, now: Instant, interval: Duration) -> Instant {
    let period = interval.as_nanos().max(1);
    let late = now.saturating_duration_since(due).as_nanos();
    let missed = u32::try_from(late / period).unwrap_or(u32::MAX).saturating_add(1);
    (due + interval.saturating_mul(missed)).max(now)
}

#[cfg(test)]
mod tests;
