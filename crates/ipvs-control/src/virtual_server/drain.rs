//! Taking a real server out of use without cutting its connections: weight 0 until they have ended, or until a
//! deadline. Further connections of a client that persistence has bound to the server still go there, unless the
//! kernel's `expire_quiescent_template` is set.
//!
//! The caller counts: while [`is_draining`](VirtualServer::is_draining) it reads the destinations of the services
//! every now and then, after the kernel has the weight 0, and gives them to
//! [`handle_destinations`](VirtualServer::handle_destinations); at [`poll_timeout`](VirtualServer::poll_timeout) it
//! calls [`handle_timeout`](VirtualServer::handle_timeout).
//!
//! A virtual server that is not configured any more goes in the same way
//! ([`remove_draining`](VirtualServer::remove_draining)): its services stay, without anybody who takes new
//! connections, until the last connection has ended.

use std::collections::{BTreeMap, HashSet};

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::{
    Audience, Config, Message, Phase, Quorum, RealServer, RealServerId, ServerState, SorryServer, Verdict,
    VirtualServer, destination_port, key,
};
use crate::types::{DestinationEntry, DestinationKey, Instant, ServiceAddress, Weight};

/// How far a real server is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Drain {
    /// When it began.
    pub since: Instant,
    /// When its connections are waited for no longer; `None`: they are waited for as long as it takes.
    pub deadline: Option<Instant>,
    /// Connections and remembered clients when they were counted last, over all services; `None` before that.
    pub left: Option<u64>,
    /// How far it is.
    pub progress: DrainProgress,
}

impl Drain {
    const fn new(since: Instant, deadline: Option<Instant>) -> Self {
        Self { since, deadline, left: None, progress: DrainProgress::Waiting }
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

/// What a real server has of a virtual server's clients, over all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Connections {
    /// Established connections.
    pub active: u64,
    /// Connections in any other state.
    pub inactive: u64,
    /// Clients that persistence would bring back.
    pub persistent: u64,
}

/// The real servers of a virtual server in the kernel, wanted and present, for many questions at once: each takes the
/// time of a look into a map.
#[derive(Debug)]
pub struct View<'a> {
    /// The service that stands for all in what is wanted; `None` when nothing is.
    first: Option<ServiceAddress>,
    weights: BTreeMap<DestinationKey, Weight>,
    /// `None` without an entry for one of them.
    services: Option<Vec<(ServiceAddress, BTreeMap<DestinationKey, &'a DestinationEntry>)>>,
}

impl View<'_> {
    /// The weight with which the kernel shall know a real server, configured or leaving; `None` for one that it shall
    /// not know.
    pub fn wanted_weight(&self, server: &RealServer) -> Option<Weight> {
        self.weights.get(&destination_key(server, self.first?)).copied()
    }

    /// What a real server, configured or leaving, has over all services; `None` if the kernel reported nothing of one
    /// of them.
    pub fn connections(&self, server: &RealServer) -> Option<Connections> {
        let mut sum = Connections::default();
        for (service, entries) in self.services.as_ref()? {
            if let Some(entry) = entries.get(&destination_key(server, *service)) {
                sum.active += u64::from(entry.active_connections);
                sum.inactive += u64::from(entry.inactive_connections);
                sum.persistent += u64::from(entry.persistent_connections);
            }
        }
        Some(sum)
    }
}

/// When connections begin to be waited for, and when they are not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    since: Instant,
    deadline: Instant,
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
    /// The quorum may be lost by it: [`quorum_when_drained`](Self::quorum_when_drained) tells before.
    ///
    /// Before [`start`](Self::start) and [`resume`](Self::resume) it is silent: so another process goes on.
    pub fn drain(&mut self, real_server: RealServerId, since: Instant, deadline: Option<Instant>) {
        self.set_drain(real_server, Some(Drain::new(since, deadline)));
    }

    /// Goes on with a drain that [`drain_status`](Self::drain_status) gave in another process: what has ended there is not
    /// said again.
    pub fn resume_drain(&mut self, real_server: RealServerId, drain: Drain) {
        self.set_drain(real_server, Some(drain));
    }

    /// What the quorum would be if this real server were drained; `None` while stopped.
    pub fn quorum_when_drained(&self, real_server: RealServerId) -> Option<Quorum> {
        let counts = self.verdict(real_server) == Some(Verdict::Up);
        let weight = self.weight(real_server).filter(|_| counts).map_or(0, |weight| u64::from(weight.0));
        let left = self.live_weight().saturating_sub(weight);
        self.quorum().map(|quorum| match quorum {
            Quorum::Up if left == 0 || left < self.thresholds.keep() => Quorum::Down,
            as_now => as_now,
        })
    }

    /// Takes a drained real server back into use.
    pub fn undrain(&mut self, real_server: RealServerId) {
        self.set_drain(real_server, None);
    }

    fn set_drain(&mut self, id: RealServerId, drain: Option<Drain>) {
        let before = self.weight(id);
        let known = self.change(id, |state| {
            state.drain = drain;
            Some(())
        });
        if known.is_some() {
            self.announce_weight(id, before);
            self.evaluate_quorum();
        }
    }

    /// How far a real server is drained; `None` if it is in use or does not exist.
    pub fn drain_status(&self, real_server: RealServerId) -> Option<Drain> {
        self.servers.get(real_server.0)?.drain
    }

    /// Like [`reconfigure`](Self::reconfigure), but real servers that take part and are not configured any more stay
    /// with weight 0 from `since` until their connections have ended, at most until `deadline`. That they went down is
    /// told at once. One that a later configuration has again is in use again.
    pub fn reconfigure_draining(&mut self, config: Config, since: Instant, deadline: Instant) {
        self.replace(config, Some(Patience { since, deadline }));
    }

    /// Like [`remove`](Self::remove), but real servers that take part, and the sorry server if it does, stay with
    /// weight 0 from `since` until their connections have ended, at most until `deadline`, and the services as long as
    /// one of them. Everybody is told at once that the virtual server is gone. It comes back, as by a start, with
    /// another configuration.
    pub fn remove_draining(&mut self, since: Instant, deadline: Instant) {
        self.say(Message::RemovingVirtualServer);
        let (stopped, replaced) = (self.phase == Phase::Stopped, self.is_replaced());
        let servers = std::mem::take(&mut self.config.real_servers).into_iter().zip(std::mem::take(&mut self.servers));
        self.live_weight = 0;
        let patience = Patience { since, deadline };
        for (server, state) in servers {
            let was_listed = !stopped && (!replaced || state.drain.is_some());
            self.part_with(&server, &state, was_listed, Some(patience));
        }
        if let Some(sorry_server) = self.config.sorry_server.as_ref().filter(|_| replaced) {
            let server = stand_in(sorry_server);
            self.let_leave(server, since, deadline);
        }
        self.stop(Audience::Everyone);
        self.resume_departing();
    }

    /// Goes on where another process was after [`remove_draining`](Self::remove_draining), once
    /// [`leave`](Self::leave) was told of who has not left.
    pub fn resume_departing(&mut self) {
        self.phase = if self.leaving.is_empty() { Phase::Stopped } else { Phase::Departing };
        self.notified_quorum = Some(Quorum::Down);
    }

    /// Another virtual server has taken over some of the services of one that departs. Without services it is gone, and
    /// whoever waits with it.
    pub fn hand_over(&mut self, taken: impl Fn(ServiceAddress) -> bool) {
        if self.is_departing() {
            self.config.services.retain(|service| !taken(service.address));
            if self.config.services.is_empty() {
                self.leaving.clear();
            }
            self.resume_departing();
        }
    }

    /// Whether it was removed and connections keep it.
    pub fn is_departing(&self) -> bool {
        self.phase == Phase::Departing
    }

    /// The real servers that are not configured any more and whose connections are waited for, by address.
    pub fn leaving(&self) -> impl Iterator<Item = (&RealServer, Drain)> {
        self.leaving.values().map(|leaving| (&leaving.server, leaving.drain))
    }

    /// Goes on with real servers that [`leaving`](Self::leaving) gave in another process, each with the time since when,
    /// and until when, its connections are waited for. Those that are configured stay.
    pub fn leave(&mut self, servers: impl IntoIterator<Item = (RealServer, Instant, Instant)>) {
        let configured: HashSet<_> = self.config.real_servers.iter().map(key).collect();
        for (server, since, deadline) in servers {
            if !configured.contains(&key(&server)) {
                self.let_leave(server, since, deadline);
            }
        }
    }

    /// One that is not configured.
    fn let_leave(&mut self, server: RealServer, since: Instant, deadline: Instant) {
        let drain = Drain::new(since, Some(deadline));
        self.leaving.insert(key(&server), Leaving { server, drain });
    }

    /// Whether connections are waited for.
    pub fn is_draining(&self) -> bool {
        self.phase != Phase::Stopped && self.drains().any(Drain::is_waiting)
    }

    /// How many real servers, configured or leaving, are waited for.
    pub fn waiting(&self) -> usize {
        self.drains().filter(|drain| drain.is_waiting()).count()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when nothing is scheduled.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.drains().filter(|drain| drain.is_waiting() && self.phase != Phase::Stopped);
        waiting.filter_map(|drain| drain.deadline).min()
    }

    fn drains(&self) -> impl Iterator<Item = &Drain> {
        let configured = self.servers.iter().filter_map(|state| state.drain.as_ref());
        configured.chain(self.leaving.values().map(|leaving| &leaving.drain))
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
    /// an entry for one of the services nothing can be said, and before the kernel knows of the weight 0 nobody is
    /// drained.
    pub fn handle_destinations(&mut self, present: &BTreeMap<ServiceAddress, Vec<DestinationEntry>>) {
        if !self.is_draining() {
            return;
        }
        let services: Vec<_> = self.config.services.iter().map(|service| service.address).collect();
        let counts: Option<BTreeMap<_, _>> =
            services.iter().map(|service| Some((*service, by_key(present.get(service)?)))).collect();
        let Some(counts) = counts else { return };
        self.advance(|server, drain| {
            let entry =
                |service: &ServiceAddress| counts.get(service)?.get(&destination_key(server, *service)).copied();
            let entries: Vec<_> = services.iter().filter_map(entry).collect();
            let left = entries.iter().map(|entry| entry.in_use()).sum();
            drain.left = Some(left);
            if left == 0 && entries.iter().all(|entry| entry.destination.weight == Weight::ZERO) {
                drain.progress = DrainProgress::Drained;
            }
        });
    }

    /// What the kernel shall know of the real servers, beside what it reports of the destinations of this virtual
    /// server's services.
    pub fn view<'a>(&self, present: &'a BTreeMap<ServiceAddress, Vec<DestinationEntry>>) -> View<'a> {
        let services = self.config.services.iter().map(|service| service.address);
        let first = services.clone().next().filter(|_| self.phase != Phase::Stopped);
        let wanted = first.map(|service| self.wanted_destinations(service)).unwrap_or_default();
        View {
            first,
            weights: wanted.into_iter().map(|wanted| (wanted.key(), wanted.weight)).collect(),
            services: services.map(|service| Some((service, by_key(present.get(&service)?)))).collect(),
        }
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
        self.leaving.retain(|_, Leaving { server, drain }| {
            change(server, drain);
            let ended = ended(server, drain);
            let removing = ended.is_some().then(|| Message::Removing(server.name.clone()));
            messages.extend(ended.into_iter().chain(removing));
            drain.is_waiting()
        });
        messages.into_iter().for_each(|message| self.say(message));
        if self.phase == Phase::Departing {
            self.resume_departing();
        }
    }

    /// A real server is not configured any more: it leaves by and by if it takes part and nobody drained it to the
    /// end, else at once.
    pub(super) fn part_with(
        &mut self,
        server: &RealServer,
        state: &ServerState,
        was_listed: bool,
        patience: Option<Patience>,
    ) {
        let drained = state.drain.is_some_and(|drain| drain.progress == DrainProgress::Drained);
        match patience {
            Some(Patience { since, deadline }) if was_listed && state.verdict() == Verdict::Up && !drained => {
                let (real_server, from, to) = (server.name.clone(), state.weight(server), Weight::ZERO);
                if from != to {
                    self.say(Message::ChangingWeight { real_server, from, to, verdict: Verdict::Up });
                }
                self.notify_down(server, None, Audience::Everyone);
                self.let_leave(server.clone(), since, deadline);
            }
            _ => self.announce_removed(server, state, None),
        }
    }
}

fn by_key(entries: &[DestinationEntry]) -> BTreeMap<DestinationKey, &DestinationEntry> {
    entries.iter().map(|entry| (entry.destination.key(), entry)).collect()
}

/// The sorry server as one whose connections may end.
fn stand_in(sorry_server: &SorryServer) -> RealServer {
    RealServer {
        name: sorry_server.name.clone(),
        address: sorry_server.address,
        port: sorry_server.port,
        weight: Weight::ZERO,
        forwarding: sorry_server.forwarding,
        upper_threshold: 0,
        lower_threshold: 0,
        inhibit_on_failure: false,
        checkers: Vec::new(),
    }
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
