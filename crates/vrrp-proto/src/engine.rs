//! Many virtual routers, the sync groups that they form, the links and trackers that they depend on, reload and restart.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Bound;
use core::time::Duration;

use crate::action::{Action, FaultReason, Role, RouterSnapshot};
use crate::advertisement::Advertisement;
use crate::config::{EngineConfig, Partners, RouterConfig};
use crate::control::Command;
use crate::planted::{Bug, planted};
use crate::track::{Dependency, Effect, Known, PriorityExplanation, Tracker, Verdict};
use crate::types::{Family, GroupId, Instant, LinkId, RouterId, Ticket, TrackerId};
use crate::virtual_router::{State, VirtualRouter};

mod group;
mod plan;
mod reconfigure;

use group::{Group, View};
pub use plan::{Changes, Plan};

/// Room for the adverts of a thousand routers at once.
const USUAL_ACTIONS: usize = 1024;

/// Entries of the timers that became too early are moved together when they would come so soon.
const SOON: Duration = Duration::from_millis(10);

/// And so many at a time.
const MOVED_TOGETHER: usize = 256;

/// Many virtual routers by [`RouterId`]. Holds no socket, clock, thread or logger.
///
/// Tell it the links with [`handle_link`](Self::handle_link), then what to run with
/// [`reconfigure`](Self::reconfigure). After each call drain [`poll_action`](Self::poll_action) to `None`; sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input; repeat. Calls that name an unknown router or tracker do
/// nothing. Each call can also be made as a value: [`Input`](crate::Input) and [`handle`](Self::handle).
#[derive(Debug, Clone, Default)]
pub struct Engine {
    /// In boxes, as a map leaves much of its room empty.
    routers: BTreeMap<RouterId, Box<Slot>>,
    groups: BTreeMap<GroupId, Group>,
    links: BTreeMap<LinkId, LinkFacts>,
    trackers: BTreeMap<TrackerId, Tracker>,
    /// Which routers to look at when a link changes, and when a tracker says something else.
    link_users: BTreeMap<LinkId, Vec<RouterId>>,
    tracker_users: BTreeMap<TrackerId, Vec<RouterId>>,
    /// The routers for which the driver could not open a socket.
    without_path: BTreeSet<RouterId>,
    /// One entry per router at most, never later than its next deadline (see [`Engine::schedule`]).
    timers: BTreeSet<(Instant, RouterId)>,
    /// What the process before this one left, until the first configuration.
    inherited: Snapshot,
    actions: VecDeque<Action>,
    /// See [`Engine::prepare_ahead`].
    lead: Duration,
    /// Not given out by any router that was removed: a late answer to one of those is not taken for a new one's.
    next_ticket: u64,
}

#[derive(Debug, Clone)]
struct Slot {
    router: VirtualRouter,
    /// Its entry in [`Engine::timers`].
    queued: Option<Instant>,
    group: Option<GroupId>,
    dependencies: Box<[Dependency]>,
    /// The faults that come from links, trackers, a lack of peers, and a lack of sockets.
    reasons: BTreeSet<FaultReason>,
}

impl Slot {
    /// When the engine has to look at the router: at its next deadline, or `lead` before it takes over.
    fn due(&self, lead: Duration) -> Option<Instant> {
        let ahead = self.router.takes_over_at().map(|due| due.saturating_sub(lead));
        self.router.poll_timeout().into_iter().chain(ahead).min()
    }
}

/// What one call did to a member of a sync group.
struct Change {
    group: GroupId,
    before: View,
    after: View,
    /// Whether it sent an advertisement of priority 0.
    resigned: bool,
    /// Whether it heard a lower priority as Active.
    heard_lower: bool,
}

/// What is known of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkFacts {
    /// Whether it is administratively up and running; for a macvlan its parent too.
    pub up: bool,
    /// Whether it can carry multicast.
    pub multicast: bool,
    /// Its primary IPv4 address that is not a virtual one.
    pub ipv4_source: Option<Ipv4Addr>,
    /// Its link-local IPv6 address that is not a virtual one.
    pub ipv6_source: Option<Ipv6Addr>,
}

impl LinkFacts {
    /// The address to send from in `family`.
    #[must_use]
    pub fn source(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv4 => self.ipv4_source.map(IpAddr::V4),
            Family::Ipv6 => self.ipv6_source.map(IpAddr::V6),
        }
    }
}

/// All that the next process needs to go on, which is also what the [`Action::Fact`]s and [`Action::TrackerFact`]s add up
/// to. Sync groups need nothing of their own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot {
    /// The newest of every router.
    pub routers: BTreeMap<RouterId, RouterSnapshot>,
    /// What each tracker said last: until it says something again, it counts as saying that still.
    pub trackers: BTreeMap<TrackerId, Verdict>,
}

impl Engine {
    /// An engine without routers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine that follows another process of the same boot. The following [`reconfigure`](Self::reconfigure) goes on
    /// with every router whose last advertisement is young enough (see [`RouterSnapshot::resumable`]): no transition, no
    /// notification, an advertisement at once, and its addresses applied again. A sync group goes on as a whole or not
    /// at all. Tell the links before it. What a router that is no longer wanted then left in the kernel is for the driver
    /// to release: nothing is known here of its configuration.
    #[must_use]
    pub fn resume(snapshot: Snapshot) -> Self {
        Self { inherited: snapshot, ..Self::default() }
    }

    /// From now on every take-over, which is the end of Active_Down_Timer (RFC 9568 §6.4.2), is foretold `lead` before it is
    /// due, by [`Action::Prepare`], so that the driver can have awake what it will need; with zero, as at the beginning,
    /// none is. No deadline changes by it. Any `lead` is taken; one of two advertisement intervals and more foretells, in vain,
    /// take-overs of routers that hear their Active Router in time.
    pub fn prepare_ahead(&mut self, lead: Duration) {
        self.lead = lead;
        for (&id, slot) in &mut self.routers {
            Self::schedule(&mut self.timers, id, slot, lead);
        }
    }

    /// What the next process would need now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let said = |(&id, tracker): (&TrackerId, &Tracker)| tracker.verdict.map(|verdict| (id, verdict));
        Snapshot {
            routers: self.routers.iter().map(|(&id, slot)| (id, slot.router.snapshot())).collect(),
            trackers: self.trackers.iter().filter_map(said).collect(),
        }
    }

    /// An advertisement for `router` that passed its [`Receiver`](crate::Receiver).
    pub fn handle_advertisement(
        &mut self,
        now: Instant,
        router: RouterId,
        source: IpAddr,
        advertisement: &Advertisement,
    ) {
        self.with(now, router, |it| it.handle_advertisement(now, source, advertisement));
    }

    /// The state of a link; to be told before the routers that use it start, and on every change.
    pub fn handle_link(&mut self, now: Instant, link: LinkId, facts: LinkFacts) {
        if self.links.insert(link, facts) != Some(facts) {
            self.link_changed(now, link);
        }
    }

    /// The link is gone.
    pub fn handle_link_removed(&mut self, now: Instant, link: LinkId) {
        if self.links.remove(&link).is_some() {
            self.link_changed(now, link);
        }
    }

    /// The driver could not open the sockets through which the advertisements of a router come and leave, which it tries
    /// again: until [`handle_path_restored`](Self::handle_path_restored) the router is in fault, so that its addresses are
    /// not on two hosts once its peers, who do not hear it, take over. May be told before the router starts.
    pub fn handle_path_lost(&mut self, now: Instant, router: RouterId) {
        if self.without_path.insert(router) {
            self.follow_facts(now, router);
        }
    }

    /// The advertisements of a router come and leave again, or it needs no sockets any more.
    pub fn handle_path_restored(&mut self, now: Instant, router: RouterId) {
        if self.without_path.remove(&router) {
            self.follow_facts(now, router);
        }
    }

    /// What a tracker says from now on. Ignored if it is not configured, or of a kind that cannot say that.
    pub fn handle_tracker(&mut self, now: Instant, tracker: TrackerId, verdict: Verdict) {
        let Some(known) = self.trackers.get_mut(&tracker).filter(|it| it.config.can_say(verdict)) else {
            return;
        };
        if known.verdict.replace(verdict) == Some(verdict) {
            return;
        }
        self.actions.push_back(Action::TrackerFact { tracker, verdict: Some(verdict) });
        let users = self.tracker_users.get(&tracker).cloned().unwrap_or_default();
        self.follow_facts_of(now, &users);
    }

    /// A person tells a router something; see [`VirtualRouter::handle_command`].
    pub fn handle_command(&mut self, now: Instant, router: RouterId, command: Command) {
        self.with(now, router, |it| it.handle_command(now, command));
    }

    /// The kernel carried out an [`Action::Apply`]; see [`VirtualRouter::handle_applied`].
    pub fn handle_applied(&mut self, now: Instant, router: RouterId, ticket: Ticket) {
        self.with(now, router, |it| it.handle_applied(now, ticket));
    }

    /// The kernel refused an [`Action::Apply`] as a whole; see [`VirtualRouter::handle_refused`].
    pub fn handle_refused(&mut self, now: Instant, router: RouterId, ticket: Ticket) {
        self.with(now, router, |it| it.handle_refused(now, ticket));
    }

    /// An address of an Active Router was taken away from outside; see [`VirtualRouter::handle_address_lost`].
    pub fn handle_address_lost(&mut self, now: Instant, router: RouterId) {
        self.with(now, router, |it| it.handle_address_lost(now));
    }

    /// Fires what is due at `now`. Early or repeated calls change nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        // Each due router once, so that no deadline can keep the loop going.
        let later = self.timers.split_off(&(now + Duration::from_nanos(1), RouterId(0)));
        let due = core::mem::replace(&mut self.timers, later);
        for (_, id) in due {
            let Some(slot) = self.routers.get_mut(&id) else { continue };
            slot.queued = None;
            let waits = slot.router.takes_over_at().is_some();
            self.with(now, id, |it| it.handle_timeout(now));
            if waits {
                self.foretell(now, id);
            }
        }
    }

    /// As [`handle_timeout`](Self::handle_timeout), but for the `most` routers alone that are due first, as long as more are;
    /// whether any are left. A driver that does what they want before it comes back for the next has the first of a
    /// thousand done sooner, and never a thousand things to do at once.
    pub fn handle_first_timeouts(&mut self, now: Instant, most: usize) -> bool {
        let Some(&next) = self.timers.iter().nth(most).filter(|(due, _)| *due <= now) else {
            self.handle_timeout(now);
            return false;
        };
        let later = self.timers.split_off(&next);
        self.handle_timeout(now);
        // What the first ones did may have given another one another deadline.
        let is_queued =
            |(due, id): &(Instant, RouterId)| self.routers.get(id).is_some_and(|it| it.queued == Some(*due));
        self.timers.extend(later.into_iter().filter(is_queued));
        true
    }

    /// Says that a router is about to take over, if it is.
    fn foretell(&mut self, now: Instant, id: RouterId) {
        let Some(slot) = self.routers.get_mut(&id) else { return };
        let Some(due) = slot.router.takes_over_at().filter(|due| now < *due && due.saturating_sub(self.lead) <= now)
        else {
            return;
        };
        Self::queue(&mut self.timers, id, slot, slot.router.poll_timeout());
        self.actions.push_back(Action::Prepare { router: id, due });
    }

    /// [`handle_timeout`](Self::handle_timeout), and with what is due now every advertisement of an Active Router that is
    /// due within `ahead` of it, so that the driver can send them together. None leaves earlier than `ahead` before its
    /// time; the next one is due an interval later, so that they stay together. Nobody takes over early.
    pub fn handle_timeout_ahead(&mut self, now: Instant, ahead: Duration) {
        self.handle_timeout(now);
        let limit = now + ahead;
        let last = Bound::Included((limit, RouterId(u32::MAX)));
        let mut seen = (now, RouterId(u32::MAX));
        while let Some(&entry) = self.timers.range((Bound::Excluded(seen), last)).next() {
            seen = entry;
            let (_, id) = entry;
            let adver_timer = self.routers.get(&id).and_then(|slot| match slot.router.state() {
                State::Active(active) => Some(active.adver_timer),
                _ => None,
            });
            if adver_timer.is_some_and(|due| due <= limit) {
                self.with(now, id, |it| it.advertise_early(now));
            }
        }
        self.move_early_entries(now);
    }

    /// Whether a router takes over at `now` unless it hears its Active Router before
    /// [`handle_timeout`](Self::handle_timeout): a driver that has packets which it has not read yet reads them first.
    #[must_use]
    pub fn is_take_over_due(&self, now: Instant) -> bool {
        if planted(Bug::TakeOverUnforeseen) {
            return false;
        }
        let takes_over = |id| self.routers.get(id).and_then(|slot| slot.router.takes_over_at());
        self.timers
            .iter()
            .take_while(|(due, _)| *due <= now)
            .any(|(_, id)| takes_over(id).is_some_and(|due| due <= now))
    }

    /// The next thing to do, or `None` when drained.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() && self.actions.capacity() > USUAL_ACTIONS {
            // Thousands of routers have changed at once: that is no reason to keep the room for it.
            self.actions.shrink_to(USUAL_ACTIONS);
        }
        action
    }

    /// Whether [`poll_action`](Self::poll_action) has something: most advertisements ask for nothing.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when nothing is scheduled. It may name a time
    /// before the next deadline, never one after it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(due, _)| due)
    }

    /// Every Active Router resigns and releases its addresses; every router says that it stops, then every sync group.
    /// None does anything after that.
    pub fn shutdown(&mut self, now: Instant) {
        for id in self.routers.keys().copied().collect::<Vec<_>>() {
            self.touch(id, |it| it.shutdown(now));
        }
        self.tell_groups_of_stop();
    }

    /// What it runs: what the last [`reconfigure`](Self::reconfigure) was given. To be changed and given to the next one.
    #[must_use]
    pub fn config(&self) -> EngineConfig {
        EngineConfig {
            routers: self.routers.iter().map(|(&id, slot)| (id, slot.router.config().clone())).collect(),
            groups: self.groups.iter().map(|(&id, group)| (id, group.config.clone())).collect(),
            trackers: self.trackers.iter().map(|(&id, tracker)| (id, tracker.config)).collect(),
        }
    }

    /// One router, for its state, priority and counters.
    #[must_use]
    pub fn router(&self, router: RouterId) -> Option<&VirtualRouter> {
        self.routers.get(&router).map(|slot| &slot.router)
    }

    /// All routers in ascending order.
    pub fn routers(&self) -> impl Iterator<Item = &VirtualRouter> {
        self.routers.values().map(|slot| &slot.router)
    }

    /// What is known of a link.
    #[must_use]
    pub fn link(&self, link: LinkId) -> Option<&LinkFacts> {
        self.links.get(&link)
    }

    /// What a tracker said last; `None` if nothing yet.
    #[must_use]
    pub fn tracker(&self, tracker: TrackerId) -> Option<Verdict> {
        self.trackers.get(&tracker).and_then(|it| it.verdict)
    }

    /// The part that all members of a sync group play, once they do and scripts were told.
    #[must_use]
    pub fn group_role(&self, group: GroupId) -> Option<Role> {
        self.groups.get(&group).and_then(Group::told)
    }

    /// How the effective priority of a router comes about.
    #[must_use]
    pub fn explain_priority(&self, router: RouterId) -> Option<PriorityExplanation> {
        let slot = self.routers.get(&router)?;
        let known = self.known();
        let moves = slot.dependencies.iter().filter_map(|it| match it.effect(known) {
            Effect::Moves(by) if by != 0 => Some((it.tracked, by)),
            _ => None,
        });
        let by_command = slot.router.control().priority.filter(|_| !slot.router.config().is_owner());
        Some(PriorityExplanation {
            base: by_command.unwrap_or(slot.router.config().priority),
            by_command: by_command.is_some(),
            moves: moves.collect(),
            effective: slot.router.effective_priority(),
        })
    }

    const fn known(&self) -> Known<'_> {
        Known { links: &self.links, trackers: &self.trackers }
    }

    fn link_changed(&mut self, now: Instant, link: LinkId) {
        let users = self.link_users.get(&link).cloned().unwrap_or_default();
        self.follow_facts_of(now, &users);
    }

    fn follow_facts_of(&mut self, now: Instant, routers: &[RouterId]) {
        for id in routers {
            self.follow_facts(now, *id);
        }
    }

    /// Tells a router what its links, trackers and sockets mean for it: source address, weight, faults; new faults before those
    /// that end, so that no gap between the two starts it.
    fn follow_facts(&mut self, now: Instant, id: RouterId) {
        let Some(slot) = self.routers.get(&id) else {
            return;
        };
        let config = slot.router.config();
        let address = config.link.and_then(|link| self.links.get(&link)).and_then(|facts| facts.source(config.family));
        let mut reasons = link_faults(config, &self.links);
        if self.without_path.contains(&id) {
            reasons.insert(FaultReason::NoPath);
        }
        let mut weight = 0i32;
        for dependency in &slot.dependencies {
            match dependency.effect(self.known()) {
                Effect::Moves(by) => weight = weight.saturating_add(by),
                Effect::Fault(reason) if self.counts(slot, reason) => drop(reasons.insert(reason)),
                Effect::Fault(_) => {}
            }
        }
        let Some(slot) = self.routers.get_mut(&id) else {
            return;
        };
        let before = core::mem::replace(&mut slot.reasons, reasons.clone());
        self.with(now, id, |it| {
            it.handle_link_address(address);
            it.handle_weight(weight);
            for reason in reasons.difference(&before) {
                it.handle_fault(now, *reason);
            }
            for reason in before.difference(&reasons) {
                it.handle_fault_cleared(now, *reason);
            }
        });
    }

    /// A tracker that has not said anything yet keeps a router from starting. It does not stop one that runs, nor one
    /// that ran in the process before this one.
    fn counts(&self, slot: &Slot, reason: FaultReason) -> bool {
        let ran = |role| matches!(role, Role::Backup | Role::Active);
        let inherited = || self.inherited.routers.get(&slot.router.id()).is_some_and(|it| ran(it.role));
        !matches!(reason, FaultReason::TrackerPending(_))
            || slot.reasons.contains(&reason)
            || slot.router.role() == Role::Stopped && !inherited()
    }

    /// One call to a router, and what follows from it for its sync group.
    fn with(&mut self, now: Instant, id: RouterId, call: impl FnOnce(&mut VirtualRouter)) {
        if let Some(change) = self.touch(id, call) {
            self.follow_member(now, id, &change);
        }
    }

    /// Lends the engine's queue to the router for one call: the order of actions is kept and no router has a queue of
    /// its own. Says what changed for its sync group.
    fn touch(&mut self, id: RouterId, call: impl FnOnce(&mut VirtualRouter)) -> Option<Change> {
        let slot = self.routers.get_mut(&id)?;
        let member = slot.group.map(|group| (group, View::of(&slot.router)));
        let known = self.actions.len();
        core::mem::swap(&mut self.actions, &mut slot.router.actions);
        call(&mut slot.router);
        core::mem::swap(&mut self.actions, &mut slot.router.actions);
        Self::schedule(&mut self.timers, id, slot, self.lead);
        let (group, before) = member?;
        let after = View::of(&slot.router);
        if before != after
            && let Some(group) = self.groups.get_mut(&group)
        {
            group.count(&before, &after);
        }
        let new = || self.actions.range(known..);
        Some(Change {
            group,
            before,
            after,
            resigned: new().any(group::resigns),
            heard_lower: new().any(group::hears_lower),
        })
    }

    /// Entries that became too early and come soon go where they belong now: each would wake the driver for nothing, at a
    /// time of its own. Ends at the first that is right, and after so many that what is due does not wait for it.
    fn move_early_entries(&mut self, now: Instant) {
        let limit = now + SOON;
        for _ in 0..MOVED_TOGETHER {
            let Some(&(queued, id)) = self.timers.first().filter(|(queued, _)| *queued <= limit) else { return };
            let Some(slot) = self.routers.get_mut(&id) else { return };
            let due = slot.due(self.lead);
            if due.is_some_and(|due| due <= queued) {
                return;
            }
            Self::queue(&mut self.timers, id, slot, due);
        }
    }

    /// Keeps the router's entry no later than its next deadline, and no later than its take-over is to be foretold. An entry
    /// that became too early stays: it costs one empty call when it comes, where moving it would cost two tree operations
    /// for every advertisement received.
    fn schedule(timers: &mut BTreeSet<(Instant, RouterId)>, id: RouterId, slot: &mut Slot, lead: Duration) {
        let due = slot.due(lead);
        match (due, slot.queued) {
            (Some(due), Some(queued)) if queued <= due => {}
            (due, _) => Self::queue(timers, id, slot, due),
        }
    }

    fn queue(timers: &mut BTreeSet<(Instant, RouterId)>, id: RouterId, slot: &mut Slot, due: Option<Instant>) {
        if let Some(queued) = slot.queued {
            timers.remove(&(queued, id));
        }
        if let Some(due) = due {
            timers.insert((due, id));
        }
        slot.queued = due;
    }
}

/// What a router's own link, and a lack of peers, keep it from.
fn link_faults(config: &RouterConfig, links: &BTreeMap<LinkId, LinkFacts>) -> BTreeSet<FaultReason> {
    let mut faults = BTreeSet::new();
    if config.partners == Partners::Missing {
        faults.insert(FaultReason::NoPeers);
    }
    let Some(link) = config.link else {
        return faults;
    };
    let Some(facts) = links.get(&link) else {
        faults.insert(FaultReason::LinkMissing(link));
        return faults;
    };
    if config.track_link && !facts.up {
        faults.insert(FaultReason::LinkDown(link));
    }
    if config.partners == Partners::Multicast && !facts.multicast {
        faults.insert(FaultReason::LinkWithoutMulticast(link));
    }
    let present = facts.source(config.family);
    let usable = match config.source {
        Some(source) => !config.track_source || present == Some(source),
        None => present.is_some(),
    };
    if !usable {
        faults.insert(FaultReason::NoSourceAddress);
    }
    faults
}

#[cfg(test)]
mod tests;
