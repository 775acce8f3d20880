//! Checks that run only while this host has the virtual server's address (`ha_suspend`). The kernel's table stays as
//! the last verdicts made it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Config, Message, VirtualServer};
use crate::types::ServiceAddress;

impl Config {
    /// Whether checks can be suspended at all: the packets of a firewall mark may go to any address, unless it is known
    /// who has it.
    fn can_be_suspended(&self) -> bool {
        let known = || self.services.iter().all(|service| address(service.address).is_some());
        self.ha_suspend && (!self.marked.is_empty() || known())
    }

    /// Whether any of its addresses is one of these.
    fn has_any(&self, on_host: &BTreeSet<IpAddr>) -> bool {
        let mut own = self.services.iter().filter_map(|service| address(service.address));
        let mut marked = self.marked.iter().filter(|(first, last)| first <= last);
        own.any(|address| on_host.contains(&address))
            || marked.any(|(first, last)| on_host.range(first..=last).next().is_some())
    }
}

fn address(service: ServiceAddress) -> Option<IpAddr> {
    match service {
        ServiceAddress::Socket { address, .. } => Some(address),
        ServiceAddress::Fwmark { .. } => None,
    }
}

impl VirtualServer {
    /// Which addresses this host has. To be called after the start, after a reload and whenever they change; until
    /// then checks that can be suspended do not run.
    ///
    /// Of a group any address will do: one of them here is traffic here.
    pub fn handle_addresses(&mut self, on_host: &BTreeSet<IpAddr>) {
        if !self.config.can_be_suspended() {
            return;
        }
        let now = self.config.has_any(on_host);
        let before = self.is_on_host.replace(now);
        let message = match (before, now) {
            (None | Some(false), true) => Message::ActivatingChecker,
            (None, false) => Message::DeactivatingChecker,
            (Some(true), false) => Message::SuspendingChecker,
            (Some(true), true) | (Some(false), false) => return,
        };
        for (server, state) in self.servers() {
            for _ in &state.checkers {
                self.say(message(server.name.clone()));
            }
        }
    }

    /// Whether the checks of this virtual server shall run now. Verdicts count in any case.
    pub fn checks_run(&self) -> bool {
        !self.config.can_be_suspended() || self.is_on_host == Some(true)
    }
}
