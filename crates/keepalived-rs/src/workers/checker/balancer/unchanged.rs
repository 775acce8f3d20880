//! Virtual servers that a configuration leaves as they are: there can be thousands, and nothing is worked out anew for
//! them.

use std::collections::{BTreeSet, HashMap};

use conf_parser::config::{ServiceKey, VirtualServer};
use ipvs_control::virtual_server as ipvs;

use super::{Balancer, DRAINED, Entry, Former, LEAVING, Plan, departing, quorum_key};
use crate::config::checker::{CheckerPart, Groups, Inexpressible, MarkingPart};

/// What becomes of a virtual server.
#[derive(Debug)]
pub(super) enum Next {
    /// The one at this place goes on. It stays there until a configuration is taken.
    Same(usize),
    /// It begins, or takes another configuration.
    Changed(ipvs::Config),
}

/// What a virtual server is in the kernel depends on these and on itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Terms {
    groups: Groups,
    marking: Option<MarkingPart>,
    initial_notifications: bool,
}

impl Terms {
    pub(super) fn of(part: &CheckerPart) -> Self {
        let CheckerPart { groups, marking, initial_notifications, .. } = part;
        let marking = marking.clone().map(MarkingPart::without_place);
        Self { groups: groups.clone(), marking, initial_notifications: *initial_notifications }
    }

    fn config(&self, server: &VirtualServer) -> Result<ipvs::Config, Inexpressible> {
        CheckerPart::config_of(server, &self.groups, self.marking.as_ref(), self.initial_notifications)
    }
}

impl Balancer {
    /// Finds out whether `part` can be run, and what it changes.
    pub(in super::super) fn plan(&self, part: CheckerPart) -> Result<Plan, Inexpressible> {
        let places = self.unchanged(&part);
        Plan::passing_over(part, &places)
    }

    /// For each virtual server of `part` that goes on as it is its place.
    fn unchanged(&self, part: &CheckerPart) -> Vec<Option<usize>> {
        let servers = &part.virtual_servers;
        if self.terms != Terms::of(part) {
            return vec![None; servers.len()];
        }
        let former = only(self.entries.iter().map(|entry| &entry.config.service.value));
        let now = only(servers.iter().map(|server| &server.service.value));
        let place = |server: &VirtualServer| {
            now.get(&server.service.value).copied().flatten()?;
            let place = former.get(&server.service.value).copied().flatten()?;
            self.entries.get(place).filter(|entry| entry.goes_on_as(server)).map(|_| place)
        };
        servers.iter().map(place).collect()
    }

    /// The keys of the facts about a virtual server.
    pub(super) fn keys_of(&self, entry: &Entry) -> BTreeSet<String> {
        let tag = entry.tag();
        let prefixes = [format!("checkers {tag} "), format!("{DRAINED}{tag} "), format!("{LEAVING}{tag} ")];
        let prefixes = prefixes.into_iter().chain([departing::prefix(entry)]);
        let keys = prefixes.flat_map(|prefix| self.keys_under(&prefix));
        keys.chain(Some(quorum_key(&tag)).filter(|key| self.facts.contains_key(key))).collect()
    }

    /// The keys of facts that begin so, up to the name of a real server or a number. Neither has a blank: what has one is of
    /// another virtual server, whose name begins like this one's.
    pub(super) fn keys_under(&self, prefix: &str) -> Vec<String> {
        let from = self.facts.range(prefix.to_owned()..).map_while(|(key, _)| Some((key, key.strip_prefix(prefix)?)));
        from.filter(|(_, rest)| !rest.contains(' ')).map(|(key, _)| key.clone()).collect()
    }

    /// The virtual server goes on as it is, at the end of those that were taken so far; `server` says where it is written
    /// now.
    pub(super) fn keep(&mut self, entry: Entry, server: VirtualServer) {
        let place = self.entries.len();
        for id in entry.checks.iter().flatten().flatten() {
            if let Some(check) = self.places.get_mut(id) {
                check.entry = place;
            }
        }
        self.entries.push(Entry { config: server, ..entry });
    }
}

/// The places of those keys that are there once: which of two for one service goes on depends on their order.
fn only<'a>(keys: impl Iterator<Item = &'a ServiceKey>) -> HashMap<&'a ServiceKey, Option<usize>> {
    let mut places = HashMap::new();
    for (place, key) in keys.enumerate() {
        places.entry(key).and_modify(|first| *first = None).or_insert(Some(place));
    }
    places
}

impl Entry {
    /// Whether it is what a configuration with `server` would make of it. One that depends on the host's addresses is
    /// looked at anew, and what cannot be checked is told each time.
    fn goes_on_as(&self, server: &VirtualServer) -> bool {
        let runs = self.checks.iter().flatten().all(Option::is_some);
        !self.departing && !server.ha_suspend && runs && self.config == *server
    }
}

/// What a virtual server of a configuration that is taken begins with.
pub(super) enum Taken {
    /// It goes on as it is.
    Same(Box<Entry>),
    /// It begins, or takes another configuration.
    Changed(ipvs::Config),
}

impl Former {
    /// What each virtual server of `servers` begins with; those that go on are taken out. One that is not at its place any
    /// more is worked out as one that changed: under these terms it was one that the kernel can express.
    pub(super) fn take_same(
        &mut self,
        servers: Vec<(VirtualServer, Next)>,
        terms: &Terms,
    ) -> Vec<(VirtualServer, Taken)> {
        let taken = |(server, next): (VirtualServer, Next)| {
            let config = match next {
                Next::Same(place) => match self.take_at(place, &server.service) {
                    Some(entry) => return Some((server, Taken::Same(Box::new(entry)))),
                    None => terms.config(&server).ok()?,
                },
                Next::Changed(config) => config,
            };
            Some((server, Taken::Changed(config)))
        };
        servers.into_iter().filter_map(taken).collect()
    }

    /// The one of `key`, if it is at this place and was not taken yet.
    fn take_at(&mut self, place: usize, key: &ServiceKey) -> Option<Entry> {
        self.entries.get_mut(place)?.take_if(|entry| entry.config.service.value == *key)
    }
}
