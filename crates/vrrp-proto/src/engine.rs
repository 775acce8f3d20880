//! Many virtual routers, the links that they depend on, reload and restart.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::action::{Action, FaultReason, RouterSnapshot};
use crate::advertisement::Advertisement;
use crate::config::{EngineConfig, RouterConfig, TrackedLink};
use crate::types::{Family, Instant, LinkId, RouterId, Ticket};
use crate::virtual_router::VirtualRouter;

/// Many virtual routers by [`RouterId`]. Holds no socket, clock, thread or logger.
///
/// Tell it the links with [`handle_link`](Self::handle_link), then what to run with
/// [`reconfigure`](Self::reconfigure). After each call drain [`poll_action`](Self::poll_action) to `None`; sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input; repeat. Calls that name an unknown router do nothing.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    routers: BTreeMap<RouterId, Slot>,
    links: BTreeMap<LinkId, LinkFacts>,
    /// One entry per router at most, never later than its next deadline (see [`Engine::schedule`]).
    timers: BTreeSet<(Instant, RouterId)>,
    /// What the process before this one left, until the router is configured.
    inherited: BTreeMap<RouterId, RouterSnapshot>,
    actions: VecDeque<Action>,
    /// Not given out by any router that was removed: a late answer to one of those is not taken for a new one's.
    next_ticket: u64,
}

#[derive(Debug, Clone)]
struct Slot {
    router: VirtualRouter,
    /// Its entry in [`Engine::timers`].
    queued: Option<Instant>,
    /// The faults that come from links.
    link_faults: BTreeSet<FaultReason>,
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

/// What [`Engine::reconfigure`] does, or would do; each list in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Plan {
    /// Routers that are new.
    pub started: Vec<RouterId>,
    /// Routers that are no longer wanted.
    pub stopped: Vec<RouterId>,
    /// Routers that go on with another configuration, without a transition.
    pub changed: Vec<RouterId>,
    /// Routers that stop and start, because their VRID, version, family or link changed.
    pub restarted: Vec<RouterId>,
    /// Routers that nothing touches.
    pub unchanged: Vec<RouterId>,
}

/// All that the next process needs to go on: the newest [`RouterSnapshot`] of every router, which is also what the
/// [`Action::Fact`]s add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot {
    /// By router.
    pub routers: BTreeMap<RouterId, RouterSnapshot>,
}

impl Engine {
    /// An engine without routers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine that follows another process of the same boot. The following [`reconfigure`](Self::reconfigure) goes on
    /// with every router whose last advertisement is young enough (see [`RouterSnapshot::resumable`]): no transition, no
    /// notification, an advertisement at once, and its addresses applied again. Tell the links before it.
    #[must_use]
    pub fn resume(snapshot: Snapshot) -> Self {
        Self { inherited: snapshot.routers, ..Self::default() }
    }

    /// What the next process would need now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { routers: self.routers.iter().map(|(&id, slot)| (id, slot.router.snapshot())).collect() }
    }

    /// What [`reconfigure`](Self::reconfigure) would do.
    #[must_use]
    pub fn plan(&self, wanted: &EngineConfig) -> Plan {
        let mut plan = Plan {
            stopped: self.routers.keys().filter(|id| !wanted.routers.contains_key(id)).copied().collect(),
            ..Plan::default()
        };
        for (&id, config) in &wanted.routers {
            let list = match self.routers.get(&id).map(|slot| slot.router.config()) {
                None => &mut plan.started,
                Some(old) if old == config => &mut plan.unchanged,
                Some(old) if old.same_identity(config) => &mut plan.changed,
                Some(_) => &mut plan.restarted,
            };
            list.push(id);
        }
        plan
    }

    /// Runs exactly the `wanted` routers from now on, and says what that changed. Routers whose configuration is the same
    /// keep everything, timers included; the removed ones resign and release their addresses first.
    pub fn reconfigure(&mut self, now: Instant, wanted: &EngineConfig) -> Plan {
        let plan = self.plan(wanted);
        for id in plan.stopped.iter().chain(&plan.restarted) {
            self.remove(now, *id);
        }
        for (&id, config) in &wanted.routers {
            if plan.changed.binary_search(&id).is_ok() {
                self.change(now, id, config);
            } else if plan.unchanged.binary_search(&id).is_err() {
                self.start(now, id, config);
            }
        }
        self.inherited.clear();
        plan
    }

    /// An advertisement for `router` that passed its [`Receiver`](crate::Receiver).
    pub fn handle_advertisement(
        &mut self,
        now: Instant,
        router: RouterId,
        source: IpAddr,
        advertisement: &Advertisement,
    ) {
        self.with(router, |it| it.handle_advertisement(now, source, advertisement));
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

    /// The kernel carried out an [`Action::Apply`]; see [`VirtualRouter::handle_applied`].
    pub fn handle_applied(&mut self, now: Instant, router: RouterId, ticket: Ticket) {
        self.with(router, |it| it.handle_applied(now, ticket));
    }

    /// The kernel refused an [`Action::Apply`] as a whole; see [`VirtualRouter::handle_refused`].
    pub fn handle_refused(&mut self, now: Instant, router: RouterId, ticket: Ticket) {
        self.with(router, |it| it.handle_refused(now, ticket));
    }

    /// An address of an Active Router was taken away from outside; see [`VirtualRouter::handle_address_lost`].
    pub fn handle_address_lost(&mut self, now: Instant, router: RouterId) {
        self.with(router, |it| it.handle_address_lost(now));
    }

    /// Fires what is due at `now`. Early or repeated calls change nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        // Each due router once, so that no deadline can keep the loop going.
        let later = self.timers.split_off(&(now + core::time::Duration::from_nanos(1), RouterId(0)));
        let due = core::mem::replace(&mut self.timers, later);
        for (_, id) in due {
            if let Some(slot) = self.routers.get_mut(&id) {
                slot.queued = None;
            }
            self.with(id, |it| it.handle_timeout(now));
        }
    }

    /// The next thing to do, or `None` when drained.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when nothing is scheduled. It may name a time
    /// before the next deadline, never one after it.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(due, _)| due)
    }

    /// Every Active Router resigns and releases its addresses; every router says that it stops. None does anything
    /// after that.
    pub fn shutdown(&mut self, now: Instant) {
        self.with_all(|it| it.shutdown(now));
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

    fn start(&mut self, now: Instant, id: RouterId, config: &RouterConfig) {
        let mut router = VirtualRouter::new(id, config.clone());
        router.next_ticket = self.next_ticket;
        self.routers.insert(id, Slot { router, queued: None, link_faults: BTreeSet::new() });
        self.follow_links(now, id);
        let inherited = self.inherited.remove(&id);
        self.with(id, |it| match &inherited {
            Some(snapshot) => it.resume(now, snapshot),
            None => it.startup(now),
        });
    }

    fn change(&mut self, now: Instant, id: RouterId, config: &RouterConfig) {
        self.with(id, |it| it.reconfigure(now, config.clone()));
        self.follow_links(now, id);
    }

    fn remove(&mut self, now: Instant, id: RouterId) {
        self.with(id, |it| it.delete(now));
        let Some(Slot { router, queued, .. }) = self.routers.remove(&id) else {
            return;
        };
        self.next_ticket = self.next_ticket.max(router.next_ticket);
        if let Some(due) = queued {
            self.timers.remove(&(due, id));
        }
    }

    fn link_changed(&mut self, now: Instant, link: LinkId) {
        let uses = |config: &RouterConfig| {
            config.link == Some(link) || config.tracked_links.iter().any(|tracked| tracked.link == link)
        };
        let users = self.routers.iter().filter(|(_, slot)| uses(slot.router.config()));
        for id in users.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.follow_links(now, id);
        }
    }

    /// Tells a router what its links mean for it: source address, weight, faults; new faults before those that end, so
    /// that no gap between the two starts it.
    fn follow_links(&mut self, now: Instant, id: RouterId) {
        let Some(slot) = self.routers.get_mut(&id) else {
            return;
        };
        let config = slot.router.config();
        let weight = weight_of_links(config, &self.links);
        let address = config.link.and_then(|link| self.links.get(&link)).and_then(|facts| facts.source(config.family));
        let faults = link_faults(config, &self.links);
        let before = core::mem::replace(&mut slot.link_faults, faults.clone());
        self.with(id, |it| {
            it.handle_link_address(address);
            it.handle_weight(weight);
            for reason in faults.difference(&before) {
                it.handle_fault(now, *reason);
            }
            for reason in before.difference(&faults) {
                it.handle_fault_cleared(now, *reason);
            }
        });
    }

    fn with_all(&mut self, mut call: impl FnMut(&mut VirtualRouter)) {
        for id in self.routers.keys().copied().collect::<Vec<_>>() {
            self.with(id, &mut call);
        }
    }

    /// Lends the engine's queue to the router for one call: the order of actions is kept and no router has a queue of
    /// its own.
    fn with(&mut self, id: RouterId, call: impl FnOnce(&mut VirtualRouter)) {
        let Some(slot) = self.routers.get_mut(&id) else {
            return;
        };
        core::mem::swap(&mut self.actions, &mut slot.router.actions);
        call(&mut slot.router);
        core::mem::swap(&mut self.actions, &mut slot.router.actions);
        Self::schedule(&mut self.timers, id, slot);
    }

    /// Keeps the router's entry no later than its next deadline. An entry that became too early stays: it costs one
    /// empty call when it comes, where moving it would cost two tree operations for every advertisement received.
    fn schedule(timers: &mut BTreeSet<(Instant, RouterId)>, id: RouterId, slot: &mut Slot) {
        match (slot.router.poll_timeout(), slot.queued) {
            (Some(due), Some(queued)) if queued <= due => {}
            (due, queued) => {
                if let Some(queued) = queued {
                    timers.remove(&(queued, id));
                }
                if let Some(due) = due {
                    timers.insert((due, id));
                }
                slot.queued = due;
            }
        }
    }
}

fn weight_of_links(config: &RouterConfig, links: &BTreeMap<LinkId, LinkFacts>) -> i32 {
    config
        .tracked_links
        .iter()
        .map(|tracked| if good(tracked, links) { i32::from(tracked.weight) } else { -i32::from(tracked.weight) })
        .sum()
}

/// Whether a tracked link is in the state that is wanted of it.
fn good(tracked: &TrackedLink, links: &BTreeMap<LinkId, LinkFacts>) -> bool {
    links.get(&tracked.link).is_some_and(|facts| facts.up) != tracked.reverse
}

fn link_faults(config: &RouterConfig, links: &BTreeMap<LinkId, LinkFacts>) -> BTreeSet<FaultReason> {
    let mut faults: BTreeSet<_> = config
        .tracked_links
        .iter()
        .filter(|tracked| tracked.weight == 0 && !good(tracked, links))
        .map(|tracked| FaultReason::TrackedLink(tracked.link))
        .collect();
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
