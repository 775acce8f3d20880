//! Virtual servers that a reload left out: with `drain_timeout` they stay for their connections.

use std::collections::{BTreeSet, HashMap, HashSet};

use conf_parser::config::VirtualServer;
use ipvs_control::types::Instant;
use ipvs_control::virtual_server as ipvs;
use ipvs_control::{Service, ServiceAddress};

use super::{Balancer, Effect, Entry, Memory, Remembered, SERVICES_PER_FACT, Said, said, tag};
use crate::ipc;

/// Begins the keys of the facts of virtual servers that are not configured any more.
const DEPARTING: &str = "departing ";

impl Memory {
    /// Some of the services of one.
    pub(super) fn recall_departing(&mut self, server: VirtualServer, services: Vec<Service>) {
        let (_, known) = self.departing.entry(tag(&server.service.value)).or_insert_with(|| (server, Vec::new()));
        known.extend(services);
    }
}

impl Balancer {
    /// The place of the first virtual server with each service. To be called before any departs.
    pub(super) fn configured_services(&self) -> HashMap<ServiceAddress, usize> {
        let mut places = HashMap::new();
        for (place, entry) in self.entries.iter().enumerate() {
            for service in entry.services() {
                places.entry(service).or_insert(place);
            }
        }
        places
    }

    /// What of the services of one that departs is held by one in another place is that other one's, and whoever leaves them
    /// leaves that one.
    fn hand_over(&mut self, departing: &mut ipvs::VirtualServer, held: &HashMap<ServiceAddress, usize>) {
        let services = departing.config().services.iter();
        let heirs: BTreeSet<_> = services.filter_map(|service| held.get(&service.address)).collect();
        for place in heirs {
            let Some(heir) = self.entries.get_mut(*place) else { continue };
            let leaving = departing.leaving();
            heir.logic
                .leave(leaving.filter_map(|(server, drain)| Some((server.clone(), drain.since, drain.deadline?))));
        }
        departing.hand_over(|service| held.contains_key(&service));
    }

    /// A virtual server that is not configured any more. What it stays with is held by it: of two that depart with the same
    /// service the first has it, as before.
    pub(super) fn retire(&mut self, mut entry: Entry, held: &mut HashMap<ServiceAddress, usize>, now: Instant) {
        if !entry.departing {
            match entry.config.drain_timeout {
                Some(patience) => entry.logic.remove_draining(now, now + patience),
                None => entry.logic.remove(),
            }
            while let Some(event) = entry.logic.poll_event() {
                match said(&entry, &event) {
                    Some(Said::Line(line)) => self.effects.push_back(Effect::Info(line)),
                    Some(Said::Event { event, .. }) => self.notify(None, event),
                    None => {}
                }
            }
            entry.checks.clear();
            entry.config.real_servers.clear();
            // That was the last that there is to hear of it.
            entry.heard = false;
            entry.departing = true;
        }
        self.hand_over(&mut entry.logic, held);
        if entry.logic.is_departing() {
            held.extend(entry.services().map(|service| (service, self.entries.len())));
            self.entries.push(entry);
        }
    }

    /// Goes on with those of a predecessor that are not configured again.
    pub(super) fn resume_departing(&mut self, memory: &mut Memory, configured: &HashMap<ServiceAddress, usize>) {
        let again: HashSet<_> = self.entries.iter().map(Entry::tag).collect();
        for (tag, (config, services)) in std::mem::take(&mut memory.departing) {
            let Some(first) = services.first().filter(|_| !again.contains(&tag)).copied() else { continue };
            let name = config.service.to_string();
            let mut logic = ipvs::VirtualServer::new(ipvs::Config {
                name: name.as_str().into(),
                services,
                ..ipvs::Config::new(first)
            });
            let leaving = memory.leaving.get(&tag).into_iter().flatten();
            logic.leave(leaving.map(|server| (server.real_server(), server.since, server.deadline)));
            logic.resume_departing();
            self.hand_over(&mut logic, configured);
            if logic.is_departing() {
                self.entries.push(Entry { config, logic, checks: Vec::new(), heard: false, departing: true });
            }
        }
    }

    /// Forgets those whose last connection has ended: their services go with the next wish.
    pub(super) fn forget_departed(&mut self) {
        let is_over = |entry: &Entry| entry.departing && !entry.logic.is_departing();
        let over: Vec<_> = self.entries.iter().filter(|entry| is_over(entry)).map(prefix).collect();
        if over.is_empty() {
            return;
        }
        // They come last: nobody else's place becomes another.
        self.entries.retain(|entry| !is_over(entry));
        self.find_draining();
        self.replan();
        let keys = over.iter().flat_map(|prefix| self.keys_under(prefix)).collect();
        self.forget(keys);
    }

    /// What a successor has to know of one. Returns the keys.
    pub(super) fn remember_departing(&mut self, entry: usize) -> Vec<String> {
        let Some(entry) = self.entries.get(entry).filter(|entry| entry.departing) else { return Vec::new() };
        let prefix = prefix(entry);
        let chunks = entry.logic.config().services.chunks(SERVICES_PER_FACT).map(|services| Remembered::Departing {
            server: Box::new(entry.config.clone()),
            services: services.to_vec(),
        });
        let facts: Vec<_> = chunks.enumerate().map(|(number, fact)| (format!("{prefix}{number:06}"), fact)).collect();
        for (key, fact) in &facts {
            self.remember(key.clone(), ipc::encode(fact));
        }
        facts.into_iter().map(|(key, _)| key).collect()
    }
}

pub(super) fn prefix(entry: &Entry) -> String {
    format!("{DEPARTING}{} ", entry.tag())
}

/// Whether a fact tells of connections that may end although their servers are not configured any more.
pub(crate) fn is_of_departure(key: &str) -> bool {
    key.starts_with(DEPARTING) || key.starts_with(super::LEAVING)
}
