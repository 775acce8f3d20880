//! What the runner says of scripts and files, as the engine takes it. Pure.

use std::collections::BTreeMap;

use vrrp_proto::{TrackerConfig, TrackerId, Verdict};

use crate::ipc::{TrackerFact, TrackerName, TrackerState};

/// The trackers of the running configuration, and what was heard of them.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    configured: BTreeMap<TrackerName, (TrackerId, TrackerConfig)>,
    /// The newest of each; the runner speaks of a new configuration's before that is the running one.
    states: BTreeMap<TrackerName, TrackerState>,
    /// Numbers never change their meaning.
    names: BTreeMap<TrackerId, TrackerName>,
}

/// What a fact means for the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// The tracker says this.
    Says(TrackerId, Verdict),
    /// [`wanted`](Trackers::wanted) is different.
    Wanted,
}

impl Trackers {
    /// These are configured from now on. Whatever else was heard of is forgotten.
    pub(crate) fn configure(&mut self, configured: BTreeMap<TrackerName, (TrackerId, TrackerConfig)>) {
        self.states.retain(|name, _| configured.contains_key(name));
        self.names.extend(configured.iter().map(|(name, (id, _))| (*id, name.clone())));
        self.configured = configured;
    }

    /// Takes what the runner says.
    pub(crate) fn hear(&mut self, TrackerFact { tracker, state }: TrackerFact) -> News {
        let disabled = |state: Option<TrackerState>| state == Some(TrackerState::Disabled);
        let before = self.states.insert(tracker.clone(), state);
        let Some((id, _)) = self.configured.get(&tracker) else { return News::None };
        match state {
            _ if disabled(before) != disabled(Some(state)) => News::Wanted,
            TrackerState::Says(verdict) => News::Says(*id, verdict),
            TrackerState::Pending | TrackerState::Disabled => News::None,
        }
    }

    /// The trackers that routers depend on: all but those whose script cannot run.
    pub(crate) fn wanted(&self) -> BTreeMap<TrackerId, TrackerConfig> {
        let runs = |name| self.states.get(name) != Some(&TrackerState::Disabled);
        self.configured.iter().filter(|(name, _)| runs(name)).map(|(_, tracker)| *tracker).collect()
    }

    /// What each says, as far as it says anything.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (TrackerId, Verdict)> {
        self.configured.iter().filter_map(|(name, (id, _))| match self.states.get(name) {
            Some(TrackerState::Says(verdict)) => Some((*id, *verdict)),
            _ => None,
        })
    }

    /// What a number means.
    pub(crate) fn name(&self, id: TrackerId) -> Option<&TrackerName> {
        self.names.get(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: TrackerConfig = TrackerConfig::Script { init_fail: false };

    fn script(name: &str) -> TrackerName {
        TrackerName::Script(name.into())
    }

    fn fact(name: &str, state: TrackerState) -> TrackerFact {
        TrackerFact { tracker: script(name), state }
    }

    fn trackers() -> Trackers {
        let mut trackers = Trackers::default();
        trackers.configure([(script("a"), (TrackerId(1), SCRIPT)), (script("b"), (TrackerId(2), SCRIPT))].into());
        trackers
    }

    #[test]
    fn a_script_that_cannot_run_is_left_out_until_it_can() {
        let mut trackers = trackers();
        assert_eq!(trackers.hear(fact("a", TrackerState::Disabled)), News::Wanted);
        assert_eq!(trackers.hear(fact("a", TrackerState::Disabled)), News::None);
        assert_eq!(trackers.wanted(), [(TrackerId(2), SCRIPT)].into());
        assert_eq!(trackers.hear(fact("a", TrackerState::Pending)), News::Wanted);
        assert_eq!(trackers.wanted().len(), 2);
        assert_eq!(trackers.hear(fact("a", TrackerState::Says(Verdict::Up))), News::Says(TrackerId(1), Verdict::Up));
    }

    #[test]
    fn what_was_heard_before_its_configuration_is_kept_for_that() {
        let mut trackers = trackers();
        assert_eq!(trackers.hear(fact("c", TrackerState::Says(Verdict::Down))), News::None);
        trackers.hear(fact("b", TrackerState::Says(Verdict::Up)));
        trackers.configure([(script("c"), (TrackerId(3), SCRIPT))].into());
        assert_eq!(trackers.verdicts().collect::<Vec<_>>(), [(TrackerId(3), Verdict::Down)]);
        trackers.configure([(script("b"), (TrackerId(2), SCRIPT))].into());
        assert_eq!(trackers.verdicts().count(), 0, "it has to speak again");
        assert_eq!(trackers.name(TrackerId(3)), Some(&script("c")));
    }
}
