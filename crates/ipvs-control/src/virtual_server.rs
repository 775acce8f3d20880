//! One virtual server: which of its real servers the kernel shall know, and with which weight.
//!
//! Verdicts of health checks go in; [`VirtualServer::wanted`] says what the kernel's table shall hold, and
//! [`VirtualServer::poll_event`] what happened, in order. No clock, socket or log: call one of `start`,
//! `handle_*`, `reconfigure` or `shutdown`, drain [`poll_event`](VirtualServer::poll_event), plan and apply
//! `wanted`.
//!
//! A real server can be taken out of use without cutting its connections ([`drain`](VirtualServer::drain)), and
//! checks can be left to the host that has the address ([`checks_run`](VirtualServer::checks_run)).
//!
//! ```
//! use ipvs_control::virtual_server::{Checker, CheckerId, Config, RealServer, RealServerId, Verdict, VirtualServer};
//! use ipvs_control::{ForwardingMethod, Scheduler, Service, ServiceAddress};
//!
//! let service = Service::new(ServiceAddress::tcp("192.0.2.1:80".parse().unwrap()), Scheduler::WLC);
//! let mut config = Config::new(service);
//! for address in ["10.0.0.1:80", "10.0.0.2:80"] {
//!     let server = RealServer::new(&config.services[0], address.parse().unwrap(), ForwardingMethod::DirectRoute);
//!     config.real_servers.push(server.with_checkers(vec![Checker::UP]));
//! }
//! let mut virtual_server = VirtualServer::new(config);
//! virtual_server.start();
//! assert_eq!(virtual_server.wanted()[0].destinations.len(), 2);
//! while virtual_server.poll_event().is_some() {} // the quorum was gained
//!
//! virtual_server.handle_verdict(RealServerId(1), CheckerId(0), Verdict::Down);
//! assert_eq!(virtual_server.wanted()[0].destinations.len(), 1);
//! let event = virtual_server.poll_event().unwrap();
//! assert_eq!(event.to_string(), "Removing service [10.0.0.2]:tcp:80 from VS [192.0.2.1]:tcp:80");
//! ```

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::types::{Destination, ForwardingMethod, Pool, Service, ServiceAddress, Weight};
use drain::{Leaving, Patience, destination_key};

mod drain;
mod name;
mod suspend;

pub use drain::{Connections, Drain, DrainProgress, View};
pub use name::name_of;

/// What a check says of a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum Verdict {
    /// It can be used.
    Up,
    /// It cannot.
    Down,
}

/// Whether enough weight is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum Quorum {
    /// Enough.
    Up,
    /// Too little; the sorry server, if there is one, takes the connections.
    Down,
}

/// Place of a real server in [`Config::real_servers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct RealServerId(pub usize);

/// Place of a checker in [`RealServer::checkers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct CheckerId(pub usize);

/// What is known from one checker of a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Checker {
    /// What it said last, or what counts until it has said something.
    pub verdict: Verdict,
    /// What it does to the configured weight.
    pub contribution: Contribution,
    /// Whether it has said something.
    pub reported: bool,
}

impl Checker {
    /// The server takes part until the checker says otherwise.
    pub const UP: Self = Self { verdict: Verdict::Up, contribution: Contribution::NONE, reported: false };
    /// The server takes part once the checker says so (`alpha`).
    pub const DOWN: Self = Self { verdict: Verdict::Down, contribution: Contribution::NONE, reported: false };
}

/// What a checker does to the configured weight of its real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub enum Contribution {
    /// Adds so much; negative to take away.
    Adds(i64),
    /// Puts this in its place. Of several checkers each counts with what its weight differs from the configured one.
    Replaces(Weight),
}

impl Contribution {
    /// Nothing.
    pub const NONE: Self = Self::Adds(0);

    fn to(self, configured: Weight) -> i64 {
        match self {
            Self::Adds(adds) => adds,
            Self::Replaces(weight) => i64::from(weight.0) - i64::from(configured.0),
        }
    }
}

/// A real server and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// As messages name it: `[10.0.0.1]:tcp:80`.
    pub name: Arc<str>,
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` for the service's. Behind direct routing and tunnels it is the service's in any case.
    pub port: Option<u16>,
    /// Its weight, before the checkers contribute to it.
    pub weight: Weight,
    /// How packets reach it.
    pub forwarding: ForwardingMethod,
    /// Connections from which on it gets no new ones; 0: no limit.
    pub upper_threshold: u32,
    /// Connections below which it gets new ones again; 0: three quarters of the upper threshold.
    pub lower_threshold: u32,
    /// While it is down it has weight 0 instead of being removed.
    pub inhibit_on_failure: bool,
    /// One entry for each checker: what counts until it has said something. Without checkers the server is always up.
    pub checkers: Vec<Checker>,
}

impl RealServer {
    /// A real server of weight 1 without checkers, named after its address and the service's protocol.
    pub fn new(service: &Service, address: SocketAddr, forwarding: ForwardingMethod) -> Self {
        Self {
            name: server_name(service, address, forwarding),
            address: address.ip(),
            port: Some(address.port()),
            weight: Weight::default(),
            forwarding,
            upper_threshold: 0,
            lower_threshold: 0,
            inhibit_on_failure: false,
            checkers: Vec::new(),
        }
    }

    /// With checkers.
    #[must_use]
    pub fn with_checkers(mut self, checkers: Vec<Checker>) -> Self {
        self.checkers = checkers;
        self
    }
}

/// Takes the connections while the quorum is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SorryServer {
    /// As messages name it.
    pub name: Arc<str>,
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` for the service's. Behind direct routing and tunnels it is the service's in any case.
    pub port: Option<u16>,
    /// How packets reach it.
    pub forwarding: ForwardingMethod,
    /// While it is not needed it has weight 0 instead of being removed.
    pub inhibit: bool,
}

impl SorryServer {
    /// A sorry server named after its address and the service's protocol.
    pub fn new(service: &Service, address: SocketAddr, forwarding: ForwardingMethod) -> Self {
        Self {
            name: server_name(service, address, forwarding),
            address: address.ip(),
            port: Some(address.port()),
            forwarding,
            inhibit: false,
        }
    }
}

/// As keepalived writes it: `[10.0.0.1]:tcp:80`, `[10.0.0.1]:none:0` for a firewall mark.
fn server_name(service: &Service, address: SocketAddr, forwarding: ForwardingMethod) -> Arc<str> {
    let port = destination_port(service.address, forwarding, Some(address.port()));
    name_of(address.ip(), service.address.protocol(), port).into()
}

/// A virtual server as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// As messages name it: `[192.0.2.1]:tcp:80`, `FWM 3`, `[GROUP]:80`.
    pub name: Arc<str>,
    /// The service, or one for each member of a group.
    pub services: Vec<Service>,
    /// The addresses, from the first to the last of each range, whose packets have the firewall marks of `services`;
    /// empty where that is not known.
    pub marked: Vec<(IpAddr, IpAddr)>,
    /// Its real servers.
    pub real_servers: Vec<RealServer>,
    /// Who takes the connections while the quorum is down.
    pub sorry_server: Option<SorryServer>,
    /// Live weight that is needed; 1 unless set.
    pub quorum: u32,
    /// How much more is needed to gain the quorum, and how much less is tolerated before it is lost; 0 unless set.
    pub hysteresis: u32,
    /// Checks run only while this host has the service's address, or one of a group's. Means nothing for firewall
    /// marks, unless it is known whose packets have them.
    pub ha_suspend: bool,
    /// The stop is notified as if all real servers went down.
    pub omega: bool,
    /// The first result of a real server is notified even if it changes nothing.
    pub initial_notifications: bool,
}

impl Config {
    /// A virtual server of one service, without real servers.
    pub fn new(service: Service) -> Self {
        Self {
            name: service.address.to_string().into(),
            services: vec![service],
            marked: Vec::new(),
            real_servers: Vec::new(),
            sorry_server: None,
            quorum: 1,
            hysteresis: 0,
            ha_suspend: false,
            omega: false,
            initial_notifications: false,
        }
    }

    /// Quorum and hysteresis as they can be met: the quorum from 1 to the total configured weight, the hysteresis
    /// below the quorum. Differs from what is configured where a warning is due.
    pub fn thresholds(&self) -> Thresholds {
        let total = self.real_servers.iter().map(|server| u64::from(server.weight.0)).sum();
        let quorum = u64::from(self.quorum).min(total).max(1);
        Thresholds { quorum, hysteresis: u64::from(self.hysteresis).min(quorum - 1) }
    }
}

/// Weights at which the quorum is gained and lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Thresholds {
    /// At least 1.
    pub quorum: u64,
    /// Less than the quorum.
    pub hysteresis: u64,
}

impl Thresholds {
    /// Live weight from which on the quorum is gained.
    pub const fn gain(&self) -> u64 {
        self.quorum.saturating_add(self.hysteresis)
    }

    /// Live weight below which the quorum is lost.
    pub const fn keep(&self) -> u64 {
        self.quorum.saturating_sub(self.hysteresis)
    }
}

/// What happened, in order. As text: the line for the log, without a line's end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Something for the log.
    Message {
        /// The virtual server's name.
        virtual_server: Arc<str>,
        /// What there is to say.
        message: Message,
    },
    /// A real server went up or down: run its `notify_up` or `notify_down` and the like.
    RealServer {
        /// Which one; it may be one that a reload has just removed.
        real_server: Arc<str>,
        /// Its place, unless it was removed.
        id: Option<RealServerId>,
        /// What it is now.
        verdict: Verdict,
        /// Who is told.
        audience: Audience,
    },
    /// The quorum was gained or lost: run `quorum_up` or `quorum_down` and the like.
    Quorum {
        /// What it is now.
        quorum: Quorum,
        /// Who is told.
        audience: Audience,
    },
}

/// Who is told of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Scripts, FIFOs, mail and traps.
    Everyone,
    /// Traps only: a stop without `omega`.
    Traps,
}

/// What there is to say of a virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// A real server is up and takes part.
    Adding(Arc<str>),
    /// A real server is down and is taken out.
    Removing(Arc<str>),
    /// A real server is up and gets its weight back.
    Enabling(Arc<str>),
    /// A real server is down and gets weight 0.
    Disabling(Arc<str>),
    /// A real server is taken out because the virtual server stops.
    ShuttingDown(Arc<str>),
    /// A real server with weight 0 is taken out because the virtual server stops.
    ShuttingDownInhibited(Arc<str>),
    /// A real server is not configured any more.
    NoLongerExists(Arc<str>),
    /// The virtual server is not configured any more.
    RemovingVirtualServer,
    /// A real server's weight is another.
    ChangingWeight {
        /// Which one.
        real_server: Arc<str>,
        /// The weight before.
        from: Weight,
        /// The weight now.
        to: Weight,
        /// Whether it is up.
        verdict: Verdict,
    },
    /// There is enough live weight again.
    GainedQuorum {
        /// What is needed.
        thresholds: Thresholds,
        /// What there is.
        live_weight: u64,
    },
    /// There is too little live weight.
    LostQuorum {
        /// What is needed.
        thresholds: Thresholds,
        /// What there is.
        live_weight: u64,
    },
    /// There is too little live weight from the start, and the sorry server takes over.
    StartingWithQuorumDown {
        /// What is needed.
        thresholds: Thresholds,
        /// What there is.
        live_weight: u64,
    },
    /// The sorry server takes over.
    AddingSorryServer(Arc<str>),
    /// The sorry server is not needed any more.
    RemovingSorryServer(Arc<str>),
    /// The sorry server takes over from weight 0.
    EnablingSorryServer(Arc<str>),
    /// The sorry server is not needed any more and gets weight 0.
    DisablingSorryServer(Arc<str>),
    /// A drained real server has nothing left.
    Drained(Arc<str>),
    /// A drained real server's connections were waited for long enough.
    NotDrained {
        /// Which one.
        real_server: Arc<str>,
        /// Connections and remembered clients when they were counted last.
        left: Option<u64>,
    },
    /// A checker begins, because the virtual server's address is on this host.
    ActivatingChecker(Arc<str>),
    /// A checker does not begin, because the virtual server's address is not on this host.
    DeactivatingChecker(Arc<str>),
    /// A checker pauses, because the virtual server's address went from this host.
    SuspendingChecker(Arc<str>),
    /// All real servers that are up take part again.
    AddingAliveServers,
    /// All real servers that are up are taken out.
    RemovingAliveServers,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { virtual_server, message } => message.write(virtual_server, f),
            Self::RealServer { real_server, verdict, .. } => write!(f, "{real_server} is {verdict:?}"),
            Self::Quorum { quorum, .. } => write!(f, "quorum is {quorum:?}"),
        }
    }
}

impl Message {
    /// In keepalived's words, which people search logs for.
    fn write(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adding(server) => write!(f, "Adding service {server} to VS {name}"),
            Self::Removing(server) => write!(f, "Removing service {server} from VS {name}"),
            Self::Enabling(server) => write!(f, "Enabling service {server} of VS {name}"),
            Self::Disabling(server) => write!(f, "Disabling service {server} of VS {name}"),
            Self::ShuttingDown(server) => write!(f, "Shutting down service {server} from VS {name}"),
            Self::ShuttingDownInhibited(server) => {
                write!(f, "Shutting down (inhibited) service {server} from VS {name}")
            }
            Self::NoLongerExists(server) => write!(f, "service {server} no longer exist"),
            Self::RemovingVirtualServer => write!(f, "Removing Virtual Server {name}"),
            Self::ChangingWeight { real_server, from, to, verdict } => {
                let activity = if *verdict == Verdict::Up { "active" } else { "inactive" };
                write!(f, "Changing weight from {from} to {to} for {activity} service {real_server} of VS {name}")
            }
            Self::GainedQuorum { thresholds, live_weight } => {
                let Thresholds { quorum, hysteresis } = thresholds;
                let needed = thresholds.gain();
                write!(f, "Gained quorum {quorum}+{hysteresis}={needed} <= {live_weight} for VS {name}")
            }
            Self::LostQuorum { thresholds, live_weight } => {
                let Thresholds { quorum, hysteresis } = thresholds;
                let needed = thresholds.keep();
                write!(f, "Lost quorum {quorum}-{hysteresis}={needed} > {live_weight} for VS {name}")
            }
            Self::StartingWithQuorumDown { thresholds, live_weight } => {
                let Thresholds { quorum, hysteresis } = thresholds;
                // The minus sign is keepalived's own, the sum what it compares with.
                let needed = thresholds.gain();
                write!(f, "Starting with quorum down {quorum}-{hysteresis}={needed} > {live_weight} for VS {name}")
            }
            Self::AddingSorryServer(server) => write!(f, "Adding sorry server {server} to VS {name}"),
            Self::RemovingSorryServer(server) => write!(f, "Removing sorry server {server} from VS {name}"),
            Self::EnablingSorryServer(server) => write!(f, "Enabling sorry server {server} to VS {name}"),
            Self::DisablingSorryServer(server) => write!(f, "Disabling sorry server {server} from VS {name}"),
            Self::Drained(server) => write!(f, "Drained service {server} of VS {name}"),
            Self::NotDrained { real_server, left } => {
                let left = left.map_or_else(|| "an unknown number of".to_owned(), |left| left.to_string());
                write!(f, "Not waiting any longer for {left} connections of service {real_server} of VS {name}")
            }
            Self::ActivatingChecker(server) => write!(f, "Activating healthchecker for service {server} for VS {name}"),
            Self::DeactivatingChecker(server) => {
                write!(f, "Deactivating healthchecker for service {server} for VS {name}")
            }
            Self::SuspendingChecker(server) => write!(f, "Suspending healthchecker for service {server} for VS {name}"),
            Self::AddingAliveServers => write!(f, "Adding alive servers to the pool for VS {name}"),
            Self::RemovingAliveServers => write!(f, "Removing alive servers from the pool for VS {name}"),
        }
    }
}

/// One virtual server (module documentation).
#[derive(Debug, Clone)]
pub struct VirtualServer {
    config: Config,
    thresholds: Thresholds,
    /// One for each of `config.real_servers`.
    servers: Vec<ServerState>,
    /// Sum of the weights of those that are up.
    live_weight: u64,
    /// Not configured any more.
    leaving: BTreeMap<Key, Leaving>,
    /// Whether this host has the address, once it is known.
    is_on_host: Option<bool>,
    phase: Phase,
    /// What was last told of the quorum.
    notified_quorum: Option<Quorum>,
    events: VecDeque<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Stopped,
    Running(Quorum),
    /// Removed, but connections are waited for.
    Departing,
}

#[derive(Debug, Clone)]
struct ServerState {
    checkers: Vec<Checker>,
    /// Whether anybody was told what it is.
    notified: bool,
    /// It is taken out of use.
    drain: Option<Drain>,
}

impl ServerState {
    fn new(server: &RealServer) -> Self {
        Self { checkers: server.checkers.clone(), notified: false, drain: None }
    }

    /// Down if any checker says so.
    fn verdict(&self) -> Verdict {
        let up = self.checkers.iter().all(|checker| checker.verdict == Verdict::Up);
        if up { Verdict::Up } else { Verdict::Down }
    }

    /// Whether no checker that has not reported yet can change the verdict.
    fn is_known(&self) -> bool {
        let failed = |checker: &Checker| checker.reported && checker.verdict == Verdict::Down;
        self.checkers.iter().any(failed) || self.checkers.iter().all(|checker| checker.reported)
    }

    fn weight(&self, server: &RealServer) -> Weight {
        if self.drain.is_some() {
            return Weight::ZERO;
        }
        let contributions = self.checkers.iter().map(|checker| checker.contribution.to(server.weight));
        Weight::saturating_from(contributions.fold(i64::from(server.weight.0), i64::saturating_add))
    }

    /// What it adds to that of its virtual server.
    fn live_weight(&self, server: &RealServer) -> u64 {
        if self.verdict() == Verdict::Up { u64::from(self.weight(server).0) } else { 0 }
    }
}

impl VirtualServer {
    /// A virtual server that has not been started: it wants nothing.
    pub fn new(config: Config) -> Self {
        let thresholds = config.thresholds();
        let servers: Vec<_> = config.real_servers.iter().map(ServerState::new).collect();
        let live_weight =
            config.real_servers.iter().zip(&servers).map(|(server, state)| state.live_weight(server)).sum();
        Self {
            config,
            thresholds,
            servers,
            live_weight,
            leaving: BTreeMap::new(),
            is_on_host: None,
            phase: Phase::Stopped,
            notified_quorum: None,
            events: VecDeque::new(),
        }
    }

    /// Begins to want its services and real servers. The quorum is up if the checkers' first verdicts give it.
    pub fn start(&mut self) {
        let live_weight = self.live_weight();
        if live_weight >= self.thresholds.gain() {
            self.phase = Phase::Running(Quorum::Up);
            self.say(Message::GainedQuorum { thresholds: self.thresholds, live_weight });
            self.notify_quorum(Quorum::Up, Audience::Everyone);
            return;
        }
        self.phase = Phase::Running(Quorum::Down);
        if self.config.sorry_server.is_some() {
            self.say(Message::StartingWithQuorumDown { thresholds: self.thresholds, live_weight });
            self.announce_sorry_server();
            self.notify_quorum(Quorum::Down, Audience::Everyone);
        }
    }

    /// Goes on where another process stopped, with the quorum as it was there and the verdicts of
    /// [`RealServer::checkers`].
    pub fn resume(&mut self, quorum: Quorum) {
        self.phase = Phase::Running(quorum);
        self.notified_quorum = Some(quorum);
        self.servers.iter_mut().for_each(|server| server.notified = server.is_known());
        self.evaluate_quorum();
    }

    /// What a checker found. The real server is down if any of its checkers is, up if none is. A real server or
    /// checker that does not exist is ignored.
    ///
    /// Changes are notified, and so is the first result of a server if it is "down", or if the configuration asks for
    /// it.
    pub fn handle_verdict(&mut self, real_server: RealServerId, checker: CheckerId, verdict: Verdict) {
        let Some(before) = self.verdict(real_server) else { return };
        let known = self.change(real_server, |server| {
            let state = server.checkers.get_mut(checker.0)?;
            *state = Checker { verdict, reported: true, ..*state };
            Some(())
        });
        let Some(server) = self.servers.get(real_server.0).filter(|_| known.is_some()) else { return };
        let after = server.verdict();
        let worth_telling = after == Verdict::Down || self.config.initial_notifications;
        let first = worth_telling && !server.notified && server.is_known();
        if before != after {
            self.announce_verdict(real_server, after);
        }
        if before != after || first {
            self.notify(real_server, after);
        }
        self.evaluate_quorum();
    }

    /// What a checker does to the real server's configured weight. The sum over all checkers is limited to the range of
    /// weights.
    pub fn handle_weight(&mut self, real_server: RealServerId, checker: CheckerId, contribution: Contribution) {
        let before = self.weight(real_server);
        let known = self.change(real_server, |server| {
            server.checkers.get_mut(checker.0)?.contribution = contribution;
            Some(())
        });
        if known.is_some() {
            self.announce_weight(real_server, before);
            self.evaluate_quorum();
        }
    }

    /// Changes what is known of a real server, if there is such a one.
    fn change(&mut self, id: RealServerId, change: impl FnOnce(&mut ServerState) -> Option<()>) -> Option<()> {
        let (server, state) = self.config.real_servers.get(id.0).zip(self.servers.get_mut(id.0))?;
        self.live_weight -= state.live_weight(server);
        let changed = change(state);
        self.live_weight += state.live_weight(server);
        changed
    }

    /// Takes another configuration. Real servers are told apart by address and port. [`RealServer::checkers`] says
    /// what is known from each checker: what [`checker`](Self::checker) gave for one that goes on, [`Checker::UP`] or
    /// [`Checker::DOWN`] for one that begins. The quorum stays as it is until the live weight says otherwise. Everybody is
    /// told that a real server that is left out went down, with `omega` or without.
    pub fn reconfigure(&mut self, config: Config) {
        self.replace(config, None);
    }

    /// Takes another configuration; with a deadline for the connections of real servers that it leaves out.
    fn replace(&mut self, config: Config, patience: Option<Patience>) {
        let (stopped, replaced) = (self.phase == Phase::Stopped, self.is_replaced());
        let old = std::mem::replace(self, Self::new(config));
        self.phase = old.phase;
        self.notified_quorum = old.notified_quorum;
        self.events = old.events;
        self.is_on_host = old.is_on_host.filter(|_| old.config.ha_suspend);
        self.leaving = old.leaving;
        for server in &self.config.real_servers {
            self.leaving.remove(&key(server));
        }
        if self.has_servers_of(&old.config) {
            for (place, (server, state)) in old.config.real_servers.iter().zip(&old.servers).enumerate() {
                self.adopt(RealServerId(place), server, state);
            }
            return self.go_on();
        }
        let mut former: HashMap<_, _> = old
            .config
            .real_servers
            .iter()
            .zip(&old.servers)
            .map(|(server, state)| (key(server), (server, state)))
            .collect();
        for place in 0..self.servers.len() {
            let before = self.config.real_servers.get(place).and_then(|server| former.remove(&key(server)));
            if let Some((server, state)) = before {
                self.adopt(RealServerId(place), server, state);
            }
        }
        for (server, state) in old.config.real_servers.iter().zip(&old.servers) {
            if former.contains_key(&key(server)) {
                self.say(Message::NoLongerExists(Arc::clone(&server.name)));
                let was_listed = !stopped && (!replaced || state.drain.is_some());
                self.part_with(server, state, was_listed, patience);
            }
        }
        self.go_on();
    }

    /// With another configuration.
    fn go_on(&mut self) {
        match self.phase {
            Phase::Departing => self.start(),
            _ => self.evaluate_quorum(),
        }
    }

    /// Whether the real servers are those of `other`, in the same order.
    fn has_servers_of(&self, other: &Config) -> bool {
        self.config.real_servers.iter().map(key).eq(other.real_servers.iter().map(key))
    }

    /// Takes over what was known of a real server that stays, and says what is new of it.
    fn adopt(&mut self, id: RealServerId, old: &RealServer, old_state: &ServerState) {
        self.change(id, |state| {
            state.notified = old_state.notified;
            state.drain = old_state.drain;
            Some(())
        });
        let Some(verdict) = self.verdict(id) else { return };
        self.announce_weight(id, Some(old_state.weight(old)));
        if verdict != old_state.verdict() {
            self.announce_verdict(id, verdict);
            self.notify(id, verdict);
        }
    }

    /// Stops with the process: nothing is wanted any more. With `omega` everybody is told that all went down.
    pub fn shutdown(&mut self) {
        let audience = self.last_audience();
        for (place, (server, state)) in self.servers().enumerate() {
            let real_server = Arc::clone(&server.name);
            let inhibited = server.inhibit_on_failure && state.verdict() == Verdict::Down;
            self.say(if inhibited {
                Message::ShuttingDownInhibited(real_server)
            } else {
                Message::ShuttingDown(real_server)
            });
            if state.verdict() == Verdict::Up {
                self.notify_down(&server, Some(RealServerId(place)), audience);
            }
        }
        for Leaving { server, .. } in std::mem::take(&mut self.leaving).into_values() {
            self.say(Message::ShuttingDown(server.name));
        }
        self.stop(audience);
    }

    /// Stops because a reload left the virtual server out: nothing is wanted any more. Everybody is told that all went
    /// down, with `omega` or without, as keepalived does.
    pub fn remove(&mut self) {
        self.say(Message::RemovingVirtualServer);
        for (place, (server, state)) in self.servers().enumerate() {
            self.announce_removed(&server, &state, Some(RealServerId(place)));
        }
        for Leaving { server, .. } in std::mem::take(&mut self.leaving).into_values() {
            self.say(Message::Removing(server.name));
        }
        self.stop(Audience::Everyone);
    }

    fn stop(&mut self, audience: Audience) {
        if self.notified_quorum != Some(Quorum::Down) {
            self.notify_quorum(Quorum::Down, audience);
        }
        self.phase = Phase::Stopped;
    }

    /// Says that a real server that is up goes without having failed.
    fn announce_removed(&mut self, server: &RealServer, state: &ServerState, id: Option<RealServerId>) {
        if state.verdict() == Verdict::Up {
            self.say(Message::Removing(Arc::clone(&server.name)));
            self.notify_down(server, id, Audience::Everyone);
        }
    }

    /// The next thing that happened, or `None` when drained.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What the kernel shall hold: one pool for each service, none while stopped.
    pub fn wanted(&self) -> Vec<Pool> {
        if self.phase == Phase::Stopped {
            return Vec::new();
        }
        let pool =
            |service: &Service| Pool { service: *service, destinations: self.wanted_destinations(service.address) };
        self.config.services.iter().map(pool).collect()
    }

    fn wanted_destinations(&self, service: ServiceAddress) -> Vec<Destination> {
        let leaving = self.leaving.values().map(|leaving| destination(&leaving.server, service, Weight::ZERO));
        if self.phase == Phase::Departing {
            return leaving.collect();
        }
        let replaced = self.is_replaced();
        let servers = self.config.real_servers.iter().zip(&self.servers);
        let servers = servers.filter_map(|(server, state)| {
            let weight = match state.verdict() {
                Verdict::Up if !replaced || state.drain.is_some() => state.weight(server),
                _ if server.inhibit_on_failure => Weight::ZERO,
                _ => return None,
            };
            Some(destination(server, service, weight))
        });
        let sorry_server = self.config.sorry_server.as_ref();
        let sorry_server = sorry_server.filter(|sorry_server| replaced || sorry_server.inhibit).map(|sorry_server| {
            let port = destination_port(service, sorry_server.forwarding, sorry_server.port);
            let weight = if replaced { Weight::default() } else { Weight::ZERO };
            Destination::new(SocketAddr::new(sorry_server.address, port), sorry_server.forwarding).with_weight(weight)
        });
        // A sorry server may be one of the real servers: whoever takes the connections counts.
        let takes_over = sorry_server.filter(|_| replaced).map(|sorry_server| sorry_server.key());
        let mut wanted: Vec<_> = servers.filter(|there| Some(there.key()) != takes_over).collect();
        let others: Vec<_> = sorry_server.into_iter().chain(leaving).collect();
        if !others.is_empty() {
            let mut known: HashSet<_> = wanted.iter().map(Destination::key).collect();
            wanted.extend(others.into_iter().filter(|other| known.insert(other.key())));
        }
        wanted
    }

    /// Whether the sorry server takes the connections.
    fn is_replaced(&self) -> bool {
        self.phase == Phase::Running(Quorum::Down) && self.config.sorry_server.is_some()
    }

    /// The configuration in force.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Whether enough weight is alive; `None` while stopped or removed.
    pub const fn quorum(&self) -> Option<Quorum> {
        match self.phase {
            Phase::Stopped | Phase::Departing => None,
            Phase::Running(quorum) => Some(quorum),
        }
    }

    /// Whether a real server is up; `None` if there is no such server.
    pub fn verdict(&self, real_server: RealServerId) -> Option<Verdict> {
        self.servers.get(real_server.0).map(ServerState::verdict)
    }

    /// What is known from a checker; `None` if there is no such checker.
    pub fn checker(&self, real_server: RealServerId, checker: CheckerId) -> Option<Checker> {
        self.servers.get(real_server.0)?.checkers.get(checker.0).copied()
    }

    /// A real server's weight with what its checkers contribute; `None` if there is no such server.
    pub fn weight(&self, real_server: RealServerId) -> Option<Weight> {
        Some(self.servers.get(real_server.0)?.weight(self.config.real_servers.get(real_server.0)?))
    }

    /// Sum of the weights of the real servers that are up.
    pub const fn live_weight(&self) -> u64 {
        self.live_weight
    }

    /// Without any live weight the quorum is down, whatever is configured.
    fn evaluate_quorum(&mut self) {
        let live_weight = self.live_weight();
        let thresholds = self.thresholds;
        match self.phase {
            Phase::Running(Quorum::Down) if live_weight >= thresholds.gain() => {
                self.phase = Phase::Running(Quorum::Up);
                self.say(Message::GainedQuorum { thresholds, live_weight });
                self.announce_sorry_server();
                self.notify_quorum(Quorum::Up, Audience::Everyone);
            }
            Phase::Running(Quorum::Up) if live_weight == 0 || live_weight < thresholds.keep() => {
                self.phase = Phase::Running(Quorum::Down);
                self.say(Message::LostQuorum { thresholds, live_weight });
                self.announce_sorry_server();
                self.notify_quorum(Quorum::Down, Audience::Everyone);
            }
            _ => {}
        }
    }

    /// Says who takes the connections now that the quorum has changed.
    fn announce_sorry_server(&mut self) {
        let Some(SorryServer { name, inhibit, .. }) = &self.config.sorry_server else { return };
        let name = Arc::clone(name);
        let (first, second) = match (self.quorum(), *inhibit) {
            (Some(Quorum::Up), false) => (Message::RemovingSorryServer(name), Message::AddingAliveServers),
            (Some(Quorum::Up), true) => (Message::DisablingSorryServer(name), Message::AddingAliveServers),
            (_, false) => (Message::AddingSorryServer(name), Message::RemovingAliveServers),
            (_, true) => (Message::EnablingSorryServer(name), Message::RemovingAliveServers),
        };
        self.say(first);
        self.say(second);
    }

    fn announce_verdict(&mut self, id: RealServerId, verdict: Verdict) {
        let Some(server) = self.config.real_servers.get(id.0) else { return };
        let name = Arc::clone(&server.name);
        self.say(match (verdict, server.inhibit_on_failure) {
            (Verdict::Up, false) => Message::Adding(name),
            (Verdict::Down, false) => Message::Removing(name),
            (Verdict::Up, true) => Message::Enabling(name),
            (Verdict::Down, true) => Message::Disabling(name),
        });
    }

    fn announce_weight(&mut self, id: RealServerId, before: Option<Weight>) {
        let (Some(from), Some(to), Some(verdict)) = (before, self.weight(id), self.verdict(id)) else { return };
        let Some(server) = self.config.real_servers.get(id.0) else { return };
        if from != to {
            let real_server = Arc::clone(&server.name);
            self.say(Message::ChangingWeight { real_server, from, to, verdict });
        }
    }

    fn notify(&mut self, id: RealServerId, verdict: Verdict) {
        let server = self.config.real_servers.get(id.0).zip(self.servers.get_mut(id.0));
        let Some((server, state)) = server else { return };
        state.notified = true;
        let (real_server, id, audience) = (Arc::clone(&server.name), Some(id), Audience::Everyone);
        self.tell(Event::RealServer { real_server, id, verdict, audience });
    }

    fn notify_down(&mut self, server: &RealServer, id: Option<RealServerId>, audience: Audience) {
        let real_server = Arc::clone(&server.name);
        self.tell(Event::RealServer { real_server, id, verdict: Verdict::Down, audience });
    }

    fn notify_quorum(&mut self, quorum: Quorum, audience: Audience) {
        self.notified_quorum = Some(quorum);
        self.tell(Event::Quorum { quorum, audience });
    }

    fn say(&mut self, message: Message) {
        self.tell(Event::Message { virtual_server: Arc::clone(&self.config.name), message });
    }

    /// Nothing is told before the start and after the stop.
    fn tell(&mut self, event: Event) {
        if self.phase != Phase::Stopped {
            self.events.push_back(event);
        }
    }

    /// Real servers with their state, apart from `self` so that events can be queued meanwhile.
    fn servers(&self) -> std::vec::IntoIter<(RealServer, ServerState)> {
        let pairs = self.config.real_servers.iter().cloned().zip(self.servers.iter().cloned());
        pairs.collect::<Vec<_>>().into_iter()
    }

    const fn last_audience(&self) -> Audience {
        if self.config.omega { Audience::Everyone } else { Audience::Traps }
    }
}

/// What tells real servers of one virtual server apart.
type Key = (IpAddr, Option<u16>);

fn key(server: &RealServer) -> Key {
    (server.address, server.port)
}

fn destination(server: &RealServer, service: ServiceAddress, weight: Weight) -> Destination {
    let place = destination_key(server, service);
    Destination {
        weight,
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
        ..Destination::new(SocketAddr::new(place.address, place.port), server.forwarding)
    }
}

/// Direct routing and tunnels leave the port as it is, so it cannot differ from the service's.
fn destination_port(service: ServiceAddress, forwarding: ForwardingMethod, port: Option<u16>) -> u16 {
    match forwarding {
        ForwardingMethod::DirectRoute | ForwardingMethod::Tunnel(_) => service.port(),
        _ => port.filter(|port| *port != 0).unwrap_or(service.port()),
    }
}

#[cfg(test)]
mod tests;
