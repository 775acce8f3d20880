//! Taking a real server out of use without cutting its connections: weight 0 until they have ended, or until a
//! deadline. Further connections of a client that persistence has bound to the server still go there, unless the
//! kernel's `expire_quiescent_template` is set.
//!
//! The caller counts: while [`is_draining`](VirtualServer::is_draining) it reads the destinations of the services
//! every now and then, after the kernel has the weight 0, and gives them to
//! [`handle_destinations`](VirtualServer::handle_destinations); at [`poll_timeout`](VirtualServer::poll_timeout) it
//! calls [`handle_timeout`](VirtualServer::handle_timeout).

use std::collections::BTreeMap;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{
    Config, Message, Phase, RealServer, RealServerId, ServerState, Verdict, VirtualServer, destination_port, key,
};
use crate::types::{DestinationEntry, DestinationKey, Instant, ServiceAddress, Weight};

/// How far a real server is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Drain {
    /// When its connections are waited for no longer; `None`: they are waited for as long as it takes.
    pub deadline: Option<Instant>,
    /// Connections and remembered clients when they were counted last, over all services; `None` before that.
    pub left: Option<u64>,
    /// How far it is.
    pub progress: DrainProgress,
}

impl Drain {
    const fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, left: None, progress: DrainProgress::Waiting }
    }

    fn is_waiting(&self) -> bool {
        self.progress == DrainProgress::Waiting
    }
}

/// Whether a drained real server still has connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum DrainProgress {
    /// They are waited for.
    Waiting,
    /// They have ended.
    Drained,
    /// The deadline passed before.
    TimedOut,
}

/// A real server that is not configured any more and whose connections may end.
#[derive(Debug, Clone)]
pub(super) struct Leaving {
    pub(super) server: RealServer,
    pub(super) drain: Drain,
}

impl VirtualServer {
    /// Takes a real server out of use: weight 0, which counts as that for the quorum, until
    /// [`undrain`](Self::undrain), and through reloads. It stays in the kernel's table while it is up, even when the
    /// sorry server has taken over. Beginning again sets another deadline. A real server that does not exist is
    /// ignored.
    ///
    /// Before [`start`](Self::start) and [`resume`](Self::resume) it is silent: so another process goes on.
    pub fn drain(&mut self, real_server: RealServerId, deadline: Option<Instant>) {
        self.set_drain(real_server, Some(Drain::new(deadline)));
    }

    /// Takes a drained real server back into use.
    pub fn undrain(&mut self, real_server: RealServerId) {
        self.set_drain(real_server, None);
    }

    fn set_drain(&mut self, id: RealServerId, drain: Option<Drain>) {
        let before = self.weight(id);
        let Some(state) = self.servers.get_mut(id.0) else { return };
        state.drain = drain;
        self.announce_weight(id, before);
        self.evaluate_quorum();
    }

    /// How far a real server is drained; `None` if it is in use or does not exist.
    pub fn drain_status(&self, real_server: RealServerId) -> Option<Drain> {
        self.servers.get(real_server.0)?.drain
    }

    /// Like [`reconfigure`](Self::reconfigure), but real servers that take part and are not configured any more stay
    /// with weight 0 until their connections have ended, at most until `deadline`. That they went down is told at
    /// once. One that a later configuration has again is in use again.
    pub fn reconfigure_draining(&mut self, config: Config, deadline: Instant) {
        self.replace(config, Some(deadline));
    }

    /// The real servers that are not configured any more and whose connections are waited for.
    pub fn leaving(&self) -> impl Iterator<Item = (&RealServer, Drain)> {
        self.leaving.iter().map(|leaving| (&leaving.server, leaving.drain))
    }

    /// Goes on with a real server that [`leaving`](Self::leaving) gave in another process. One that is configured
    /// stays.
    pub fn leave(&mut self, server: RealServer, deadline: Instant) {
        if self.config.real_servers.iter().any(|configured| key(configured) == key(&server)) {
            return;
        }
        self.leaving.retain(|leaving| key(&leaving.server) != key(&server));
        self.leaving.push(Leaving { server, drain: Drain::new(Some(deadline)) });
    }

    /// Whether connections are waited for.
    pub fn is_draining(&self) -> bool {
        self.phase != Phase::Stopped && self.drains().any(Drain::is_waiting)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when nothing is scheduled.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.drains().filter(|drain| drain.is_waiting() && self.phase != Phase::Stopped);
        waiting.filter_map(|drain| drain.deadline).min()
    }

    fn drains(&self) -> impl Iterator<Item = &Drain> {
        let configured = self.servers.iter().filter_map(|state| state.drain.as_ref());
        configured.chain(self.leaving.iter().map(|leaving| &leaving.drain))
    }

    /// Ends what is due at `now`. Early or repeated calls change nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.advance(|_, drain| {
                if drain.deadline.is_some_and(|deadline| deadline <= now) {
                    drain.progress = DrainProgress::TimedOut;
                }
            });
        }
    }

    /// What the kernel reports of the destinations of this virtual server's services. A real server is drained when
    /// none of them has anything left; one that is not among a service's destinations has nothing left there. Without
    /// an entry for one of the services nothing can be said.
    pub fn handle_destinations(&mut self, present: &BTreeMap<ServiceAddress, Vec<DestinationEntry>>) {
        if !self.is_draining() {
            return;
        }
        let services: Vec<_> = self.config.services.iter().map(|service| service.address).collect();
        let counts: Option<BTreeMap<_, _>> =
            services.iter().map(|service| Some((*service, count(present.get(service)?)))).collect();
        let Some(counts) = counts else { return };
        self.advance(|server, drain| {
            let left = |service: &ServiceAddress| counts.get(service)?.get(&destination_key(server, *service)).copied();
            let left = services.iter().filter_map(left).sum();
            drain.left = Some(left);
            if left == 0 {
                drain.progress = DrainProgress::Drained;
            }
        });
    }

    /// Changes every drain that is under way, says which of them ended, and removes what has left.
    fn advance(&mut self, change: impl Fn(&RealServer, &mut Drain)) {
        let mut messages = Vec::new();
        for (server, state) in self.config.real_servers.iter().zip(&mut self.servers) {
            if let Some(drain) = state.drain.as_mut().filter(|drain| drain.is_waiting()) {
                change(server, drain);
                messages.extend(ended(server, drain));
            }
        }
        self.leaving.retain_mut(|Leaving { server, drain }| {
            change(server, drain);
            let ended = ended(server, drain);
            let removing = ended.is_some().then(|| Message::Removing(server.name.clone()));
            messages.extend(ended.into_iter().chain(removing));
            drain.is_waiting()
        });
        messages.into_iter().for_each(|message| self.say(message));
    }

    /// A real server is not configured any more: it leaves by and by if it takes part and nobody drained it to the
    /// end, else at once.
    pub(super) fn part_with(
        &mut self,
        server: &RealServer,
        state: &ServerState,
        was_listed: bool,
        deadline: Option<Instant>,
    ) {
        let drained = state.drain.is_some_and(|drain| !drain.is_waiting());
        match deadline {
            Some(deadline) if was_listed && state.verdict() == Verdict::Up && !drained => {
                let (real_server, from, to) = (server.name.clone(), state.weight(server), Weight::ZERO);
                if from != to {
                    self.say(Message::ChangingWeight { real_server, from, to, verdict: Verdict::Up });
                }
                self.notify_down(server, None, self.last_audience());
                self.leave(server.clone(), deadline);
            }
            _ => self.announce_removed(server, state, None),
        }
    }
}

/// What a service's destinations have left.
fn count(entries: &[DestinationEntry]) -> BTreeMap<DestinationKey, u64> {
    entries.iter().map(|entry| (entry.destination.key(), entry.in_use())).collect()
}

pub(super) fn destination_key(server: &RealServer, service: ServiceAddress) -> DestinationKey {
    DestinationKey { address: server.address, port: destination_port(service, server.forwarding, server.port) }
}

fn ended(server: &RealServer, drain: &Drain) -> Option<Message> {
    let real_server = server.name.clone();
    match drain.progress {
        DrainProgress::Waiting => None,
        DrainProgress::Drained => Some(Message::Drained(real_server)),
        DrainProgress::TimedOut => Some(Message::NotDrained { real_server, left: drain.left }),
    }
}
