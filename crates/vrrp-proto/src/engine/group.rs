//! Sync groups: virtual routers that move together.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Change, Engine};
use crate::action::{Action, Event, FaultReason, Notification, Role};
use crate::config::GroupConfig;
use crate::types::{GroupId, Instant, Priority, RouterId};
use crate::virtual_router::{Resign, VirtualRouter};

/// A sync group at work. Its counts follow its members, so that no change of one member asks all of them.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) config: GroupConfig,
    /// The configured members that exist and belong to no group before this one.
    pub(super) members: Vec<RouterId>,
    /// The members with a fault of their own.
    faulty: BTreeSet<RouterId>,
    counts: Counts,
    /// The part of all members that scripts were last told.
    told: Option<Role>,
}

/// How many members.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    fault: usize,
    backup: usize,
    active: usize,
    /// Of the Backup ones: those that wait for the others only.
    ready: usize,
    /// Of the Active ones: those that have said so.
    notified: usize,
}

/// What a sync group needs to know of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) role: Role,
    ready: bool,
    follows: bool,
    notified: bool,
    faulty: bool,
}

impl View {
    pub(super) fn of(router: &VirtualRouter) -> Self {
        Self {
            role: if router.is_silent() { Role::Stopped } else { router.role() },
            ready: router.ready(),
            follows: router.follows(),
            notified: router.is_notified(),
            faulty: router.has_own_fault(),
        }
    }
}

impl Counts {
    fn add(&mut self, view: &View, step: impl Fn(&mut usize)) {
        match view.role {
            Role::Stopped => {}
            Role::Fault => step(&mut self.fault),
            Role::Backup => step(&mut self.backup),
            Role::Active => step(&mut self.active),
        }
        if view.ready {
            step(&mut self.ready);
        }
        if view.notified {
            step(&mut self.notified);
        }
    }
}

impl Group {
    pub(super) const fn new(config: GroupConfig, members: Vec<RouterId>, told: Option<Role>) -> Self {
        let counts = Counts { fault: 0, backup: 0, active: 0, ready: 0, notified: 0 };
        Self { config, members, faulty: BTreeSet::new(), counts, told }
    }

    pub(super) const fn told(&self) -> Option<Role> {
        self.told
    }

    /// A member is another than before.
    pub(super) fn count(&mut self, before: &View, after: &View) {
        self.counts.add(before, |count| *count -= 1);
        self.counts.add(after, |count| *count += 1);
    }

    /// The part that all members play and have spoken of.
    fn common_role(&self) -> Option<Role> {
        let all = self.members.len();
        let Counts { fault, backup, notified, .. } = self.counts;
        [(Role::Fault, fault), (Role::Backup, backup), (Role::Active, notified)]
            .into_iter()
            .find_map(|(role, count)| (count == all && all > 0).then_some(role))
    }

    fn others(&self, member: RouterId) -> Vec<RouterId> {
        self.members.iter().copied().filter(|id| *id != member).collect()
    }
}

pub(super) const fn resigns(action: &Action) -> bool {
    matches!(action, Action::Advertise { priority: Priority::RESIGN, .. })
}

pub(super) const fn hears_lower(action: &Action) -> bool {
    matches!(action, Action::Record { event: Event::LowerPriorityAdvert { .. }, .. })
}

impl Engine {
    /// What the change of one member means for the others.
    pub(super) fn follow_member(&mut self, now: Instant, id: RouterId, change: &Change) {
        let Change { group, before, after, .. } = change;
        if change.heard_lower {
            self.others_announce(now, *group, id);
        }
        if before == after {
            return;
        }
        if before.faulty != after.faulty {
            self.spread_fault(now, *group, id, after.faulty);
        }
        let gave_up = before.role == Role::Active && after.role == Role::Backup;
        let found_another = after.follows && !before.follows;
        if gave_up || found_another {
            self.others_stand_down(now, *group, id, change.resigned);
        }
        self.go_if_all_are_ready(now, *group, id);
        self.tell_group(*group);
    }

    /// The others announce their addresses as the one did that heard a lower priority.
    fn others_announce(&mut self, now: Instant, group: GroupId, id: RouterId) {
        for other in self.groups.get(&group).map(|it| it.others(id)).unwrap_or_default() {
            self.touch(other, |it| it.announce_lower_prio(now));
        }
    }

    /// The first member with a fault of its own takes the others along; the last one lets them go.
    fn spread_fault(&mut self, now: Instant, group: GroupId, id: RouterId, faulty: bool) {
        let Some(state) = self.groups.get_mut(&group) else {
            return;
        };
        let _ = if faulty { state.faulty.insert(id) } else { state.faulty.remove(&id) };
        let alone = state.faulty.len() == if faulty { 1 } else { 0 };
        let affected = if alone {
            state.others(id)
        } else {
            // With two, each is in fault because of the other too.
            let two = state.faulty.len() == if faulty { 2 } else { 1 };
            state.faulty.iter().copied().filter(|other| two && *other != id).collect()
        };
        let reason = FaultReason::SyncGroup(group);
        if faulty && alone {
            self.record_sync(group, id, Role::Fault);
        }
        for other in affected {
            self.touch(
                other,
                |it| {
                    if faulty { it.handle_fault(now, reason) } else { it.handle_fault_cleared(now, reason) }
                },
            );
        }
    }

    fn others_stand_down(&mut self, now: Instant, group: GroupId, id: RouterId, resigned: bool) {
        let Some(state) = self.groups.get(&group).filter(|it| it.counts.active > 0) else {
            return;
        };
        let resign = if resigned { Resign::Yes } else { Resign::No };
        let others = state.others(id);
        self.record_sync(group, id, Role::Backup);
        for other in others {
            self.touch(other, |it| it.stand_down(now, resign));
        }
    }

    /// Once every member is Active or waits for the others only, all go: `last`, which was waited for, first.
    fn go_if_all_are_ready(&mut self, now: Instant, group: GroupId, last: RouterId) {
        let Some(state) = self.groups.get(&group) else {
            return;
        };
        let Counts { ready, active, .. } = state.counts;
        if ready == 0 || ready + active != state.members.len() {
            return;
        }
        let others = state.others(last);
        self.touch(last, |it| it.take_over(now));
        self.record_sync(group, last, Role::Active);
        for other in others {
            self.touch(other, |it| it.take_over(now));
        }
    }

    /// After members joined: those that are Active give way to the router that another one follows. Nobody has taken over
    /// from them, so they resign.
    pub(super) fn stand_down_if_one_follows(&mut self, now: Instant, group: GroupId) {
        let follows = |id: &&RouterId| self.router(**id).is_some_and(VirtualRouter::follows);
        let follower = self.groups.get(&group).and_then(|state| state.members.iter().find(follows).copied());
        if let Some(follower) = follower {
            self.others_stand_down(now, group, follower, true);
        }
    }

    /// After members left: those that wait may wait for no one any more.
    pub(super) fn go_if_one_was_missing(&mut self, now: Instant, group: GroupId) {
        let ready = |id: &&RouterId| self.router(**id).is_some_and(VirtualRouter::ready);
        let waiting = self.groups.get(&group).and_then(|state| state.members.iter().find(ready).copied());
        if let Some(first) = waiting {
            self.go_if_all_are_ready(now, group, first);
        }
    }

    /// Tells scripts of the part that all members play now, if that is news.
    pub(super) fn tell_group(&mut self, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else {
            return;
        };
        let Some(role) = state.common_role().filter(|role| state.told != Some(*role)) else {
            return;
        };
        let initial = state.told.is_none();
        state.told = Some(role);
        let notification = match role {
            Role::Active => Notification::Active,
            Role::Backup => Notification::Backup { initial },
            Role::Fault => Notification::Fault { initial },
            Role::Stopped => return,
        };
        self.actions.push_back(Action::NotifyGroup { group, notification });
    }

    pub(super) fn tell_groups_of_stop(&mut self) {
        let notification = Notification::Stop;
        self.actions.extend(self.groups.keys().map(|&group| Action::NotifyGroup { group, notification }));
    }

    /// Counts the members of a group anew, and brings its faults in line with theirs.
    pub(super) fn settle_group(&mut self, now: Instant, group: GroupId) {
        let Some(state) = self.groups.get_mut(&group) else {
            return;
        };
        state.counts = Counts::default();
        state.faulty.clear();
        for id in &state.members {
            let Some(slot) = self.routers.get(id) else {
                continue;
            };
            let view = View::of(&slot.router);
            state.counts.add(&view, |count| *count += 1);
            if view.faulty {
                state.faulty.insert(*id);
            }
        }
        let (faulty, members) = (state.faulty.clone(), state.members.clone());
        let reason = FaultReason::SyncGroup(group);
        for id in members {
            let other_is = faulty.len() > usize::from(faulty.contains(&id));
            self.touch(
                id,
                |it| {
                    if other_is { it.handle_fault(now, reason) } else { it.handle_fault_cleared(now, reason) }
                },
            );
        }
    }

    fn record_sync(&mut self, group: GroupId, router: RouterId, to: Role) {
        self.actions.push_back(Action::Record { router, event: Event::GroupSyncs { group, to } });
    }
}
