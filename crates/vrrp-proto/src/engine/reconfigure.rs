//! From one configuration to the next, and from one process to the next.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem::discriminant;

use super::{Engine, Group, Plan, Slot};
use crate::action::{Action, FaultReason, Role, RouterSnapshot};
use crate::config::{EngineConfig, RouterConfig};
use crate::control::Control;
use crate::track::{self, Tracker};
use crate::types::{GroupId, Instant, RouterId};
use crate::virtual_router::{Grouped, VirtualRouter};

impl Engine {
    /// Runs exactly what is `wanted` from now on, and says what that changed. Routers for which nothing changes keep
    /// everything, timers included; the removed ones resign and release their addresses first. What
    /// [`EngineConfig::findings`] names is left out.
    pub fn reconfigure(&mut self, now: Instant, wanted: &EngineConfig) -> Plan {
        let plan = self.plan(wanted);
        let mut controls = BTreeMap::new();
        for id in plan.stopped.iter().chain(&plan.restarted) {
            if let Some(control) = self.remove(now, *id) {
                controls.insert(*id, control);
            }
        }
        self.take_trackers(wanted);
        let left = self.take_groups(wanted);
        for id in plan.started.iter().chain(&plan.restarted) {
            if let Some(config) = wanted.routers.get(id) {
                self.insert(*id, config, controls.get(id).copied());
            }
        }
        for id in &plan.changed {
            if let Some(config) = wanted.routers.get(id) {
                self.touch(*id, |it| it.reconfigure(now, config.clone()));
            }
        }
        self.assign(now);
        for (id, group) in left {
            self.touch(id, |it| it.handle_fault_cleared(now, FaultReason::SyncGroup(group)));
        }
        for id in plan.started.iter().chain(&plan.restarted).copied().collect::<BTreeSet<_>>() {
            self.start(now, id);
        }
        self.inherited = super::Snapshot::default();
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            self.stand_down_if_one_follows(now, group);
            self.go_if_one_was_missing(now, group);
            self.tell_group(group);
        }
        plan
    }

    /// Stops a router; returns the commands that it was under.
    fn remove(&mut self, now: Instant, id: RouterId) -> Option<Control> {
        self.touch(id, |it| it.delete(now));
        let Slot { router, queued, .. } = *self.routers.remove(&id)?;
        self.next_ticket = self.next_ticket.max(router.next_ticket);
        if let Some(due) = queued {
            self.timers.remove(&(due, id));
        }
        Some(router.control())
    }

    /// Trackers that stay of the same kind go on saying what they said.
    fn take_trackers(&mut self, wanted: &EngineConfig) {
        let before = core::mem::take(&mut self.trackers);
        for (&id, &config) in &wanted.trackers {
            let said = match before.get(&id) {
                Some(tracker) => tracker.verdict.filter(|_| discriminant(&tracker.config) == discriminant(&config)),
                None => self.inherited.trackers.get(&id).copied().filter(|verdict| config.can_say(*verdict)),
            };
            self.trackers.insert(id, Tracker { config, verdict: said });
        }
        let known = before.iter().filter(|(_, tracker)| tracker.verdict.is_some()).map(|(id, _)| *id);
        let known = known.chain(self.inherited.trackers.keys().copied());
        let forgotten = known.filter(|id| self.tracker(*id).is_none());
        let facts = forgotten.map(|tracker| Action::TrackerFact { tracker, verdict: None });
        let facts: Vec<_> = facts.collect();
        self.actions.extend(facts);
    }

    /// Forms the groups anew; each keeps what scripts were told of it. Gives back which routers left which group: the
    /// faults of their former companions are not to hold them any more.
    fn take_groups(&mut self, wanted: &EngineConfig) -> Vec<(RouterId, GroupId)> {
        let mut before = core::mem::take(&mut self.groups);
        let of_router = memberships(wanted);
        for (&id, config) in &wanted.groups {
            let mut members: Vec<_> =
                config.members.iter().copied().filter(|member| of_router.get(member) == Some(&id)).collect();
            members.sort_unstable();
            members.dedup();
            let told = before.remove(&id).and_then(|group| group.told()).or_else(|| self.inherited_role(&members));
            self.groups.insert(id, Group::new(config.clone(), members, told));
        }
        let left = self.routers.iter().filter_map(|(id, slot)| {
            let group = slot.group.filter(|group| of_router.get(id) != Some(group))?;
            Some((*id, group))
        });
        let left = left.collect();
        for slot in self.routers.values_mut() {
            // Until all are assigned, no group follows its members.
            slot.group = None;
        }
        left
    }

    /// The part that all `members` played in the process before this one.
    fn inherited_role(&self, members: &[RouterId]) -> Option<Role> {
        let mut roles = members.iter().map(|id| {
            let snapshot = self.inherited.routers.get(id)?;
            (snapshot.role != Role::Active || snapshot.notified).then_some(snapshot.role)
        });
        let first = roles.next()??;
        (first != Role::Stopped && roles.all(|role| role == Some(first))).then_some(first)
    }

    fn insert(&mut self, id: RouterId, config: &RouterConfig, control: Option<Control>) {
        let mut router = VirtualRouter::new(id, config.clone());
        router.next_ticket = self.next_ticket;
        let inherited = self.inherited.routers.get(&id).map(|snapshot| snapshot.control);
        router.inherit_control(control.or(inherited).unwrap_or_default());
        let slot = Slot { router, queued: None, group: None, dependencies: [].into(), reasons: BTreeSet::new() };
        self.routers.insert(id, Box::new(slot));
    }

    /// Gives every router its group and what it depends on, and lets it follow both.
    fn assign(&mut self, now: Instant) {
        let members = |(&group, state): (&GroupId, &Group)| {
            state.members.iter().map(move |member| (*member, group)).collect::<Vec<_>>()
        };
        let of_router: BTreeMap<_, _> = self.groups.iter().flat_map(members).collect();
        self.link_users.clear();
        self.tracker_users.clear();
        for (&id, slot) in &mut self.routers {
            let group = of_router.get(&id).and_then(|group| Some((*group, self.groups.get(group)?)));
            let kind = |tracker| self.trackers.get(&tracker).map(|it| it.config);
            let config = slot.router.config();
            let membership = group.map(|(id, state)| (id, &state.config));
            slot.dependencies = track::dependencies(config, membership, kind, |_, _| {}).into();
            let links = slot.dependencies.iter().filter_map(|it| it.tracked.link()).chain(config.link);
            for link in links.collect::<BTreeSet<_>>() {
                self.link_users.entry(link).or_default().push(id);
            }
            let trackers = slot.dependencies.iter().filter_map(|it| it.tracked.tracker());
            for tracker in trackers.collect::<BTreeSet<_>>() {
                self.tracker_users.entry(tracker).or_default().push(id);
            }
        }
        for id in self.routers.keys().copied().collect::<Vec<_>>() {
            let grouped = of_router.get(&id).map_or(Grouped::Alone, |group| self.grouping(*group));
            if let Some(slot) = self.routers.get_mut(&id) {
                slot.router.set_grouped(grouped);
            }
            self.follow_facts(now, id);
        }
        for (id, group) in of_router {
            if let Some(slot) = self.routers.get_mut(&id) {
                slot.group = Some(group);
            }
        }
        for group in self.groups.keys().copied().collect::<Vec<_>>() {
            self.settle_group(now, group);
        }
    }

    fn grouping(&self, group: GroupId) -> Grouped {
        let owns = |id: &RouterId| self.routers.get(id).is_some_and(|slot| slot.router.config().is_owner());
        match self.groups.get(&group) {
            Some(state) if state.members.iter().all(owns) => Grouped::AllOwners,
            Some(_) => Grouped::Member,
            None => Grouped::Alone,
        }
    }

    fn start(&mut self, now: Instant, id: RouterId) {
        let inherited = self.inherited.routers.get(&id).copied();
        let group = self.routers.get(&id).and_then(|slot| slot.group);
        let whole = group.is_none_or(|group| self.resumes_whole(now, group));
        self.with(now, id, |it| match &inherited {
            Some(snapshot) if whole => it.resume(now, snapshot),
            Some(snapshot) => it.resume_as_backup(now, snapshot),
            None => it.startup(now),
        });
    }

    /// Whether every member of a group is Active or can go on as such.
    fn resumes_whole(&self, now: Instant, group: GroupId) -> bool {
        let can = |id: &RouterId| {
            let Some(router) = self.router(*id) else { return false };
            let resumable = |snapshot: &RouterSnapshot| snapshot.resumable(now);
            router.role() == Role::Active
                || router.may_resume(now) && self.inherited.routers.get(id).is_some_and(resumable)
        };
        self.groups.get(&group).is_some_and(|state| state.members.iter().all(can))
    }
}

/// The group of each router: of several the one with the lowest id.
fn memberships(wanted: &EngineConfig) -> BTreeMap<RouterId, GroupId> {
    let mut of_router = BTreeMap::new();
    for (&id, config) in &wanted.groups {
        for member in config.members.iter().filter(|member| wanted.routers.contains_key(member)) {
            of_router.entry(*member).or_insert(id);
        }
    }
    of_router
}
