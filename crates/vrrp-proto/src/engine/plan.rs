//! What a new configuration changes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Engine;
use crate::config::EngineConfig;
use crate::types::{GroupId, RouterId, TrackerId};

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
    /// Routers whose own configuration stays; their group or trackers may be among those that change.
    pub unchanged: Vec<RouterId>,
    /// The sync groups.
    pub groups: Changes<GroupId>,
    /// The trackers. One that becomes another kind has to speak again.
    pub trackers: Changes<TrackerId>,
}

/// What becomes of things of one sort; each list in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Changes<Id> {
    /// New.
    pub started: Vec<Id>,
    /// No longer wanted.
    pub stopped: Vec<Id>,
    /// With another configuration.
    pub changed: Vec<Id>,
    /// As before.
    pub unchanged: Vec<Id>,
}

impl<Id> Default for Changes<Id> {
    fn default() -> Self {
        Self { started: Vec::new(), stopped: Vec::new(), changed: Vec::new(), unchanged: Vec::new() }
    }
}

impl<Id: Copy + Ord> Changes<Id> {
    fn between<'a, Config: PartialEq + 'a>(
        now: impl Fn(&Id) -> Option<&'a Config>,
        present: impl Iterator<Item = Id>,
        wanted: &'a BTreeMap<Id, Config>,
    ) -> Self {
        let mut changes = Self { stopped: present.filter(|id| !wanted.contains_key(id)).collect(), ..Self::default() };
        for (id, config) in wanted {
            let list = match now(id) {
                None => &mut changes.started,
                Some(old) if old == config => &mut changes.unchanged,
                Some(_) => &mut changes.changed,
            };
            list.push(*id);
        }
        changes
    }
}

impl Engine {
    /// What [`reconfigure`](Self::reconfigure) would do.
    #[must_use]
    pub fn plan(&self, wanted: &EngineConfig) -> Plan {
        let mut plan = Plan {
            stopped: self.routers.keys().filter(|id| !wanted.routers.contains_key(id)).copied().collect(),
            groups: Changes::between(
                |id| self.groups.get(id).map(|group| &group.config),
                self.groups.keys().copied(),
                &wanted.groups,
            ),
            trackers: Changes::between(
                |id| self.trackers.get(id).map(|tracker| &tracker.config),
                self.trackers.keys().copied(),
                &wanted.trackers,
            ),
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
}
