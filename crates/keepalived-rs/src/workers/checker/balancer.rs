//! What the checks' results mean for the virtual servers, the log, the scripts and a successor. Holds no socket and no
//! clock: call one method, drain [`poll_effect`](Balancer::poll_effect), hand the checks to their driver, and give
//! [`wanted`](Balancer::wanted) to the kernel.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use conf_parser::config::{Checker, RealServer, ServiceKey, VirtualServer};
use health_checkers::driver;
use health_checkers::outcome::Outcome;
use health_checkers::probe::Probe;
use health_checkers::schedule::{self, Schedule};
use ipvs_control::types::{DestinationEntry, Instant, SyncDaemon, SyncRole};
use ipvs_control::virtual_server::{self as ipvs, Audience, CheckerId, Quorum, RealServerId};
use ipvs_control::{ForwardingMethod, Pool, ServiceAddress, Verdict, Weight};
use serde::{Deserialize, Serialize};

use super::kernel::{Failure, Wanted};
use super::refusals;
use crate::config::checker::table::TablePart;
use crate::config::checker::{self as lower, CheckerPart, Inexpressible, Lines};
use crate::ipc::{self, Fact, NotifyEvent};
use crate::workers::vrrp::facts;

/// Names a check to the driver. Never used twice.
pub(super) type CheckId = u64;

/// Begins the keys of the facts that say which services are ours.
const SERVICES: &str = "services ";

/// Begins the keys of the facts of real servers that are not configured any more.
const LEAVING: &str = "leaving ";

/// The key of the fact that says which sync daemons are ours.
const SYNC_DAEMONS: &str = "sync daemons";

/// How many services one fact names: one message holds it.
const SERVICES_PER_FACT: usize = 1000;

/// A configuration that can be run.
#[derive(Debug, Default)]
pub(super) struct Plan {
    servers: Vec<(VirtualServer, ipvs::Config)>,
    table: TablePart,
    lines: Lines,
}

impl Plan {
    /// Finds out whether `part` can be run.
    pub(super) fn new(part: CheckerPart) -> Result<Self, Inexpressible> {
        let configs = part.virtual_servers.iter().map(|server| part.virtual_server(server));
        let configs: Vec<_> = configs.collect::<Result<_, _>>()?;
        if let Some(sync) = &part.table.sync_daemon {
            sync.daemon(SyncRole::Master)?;
        }
        let CheckerPart { virtual_servers, table, lines, .. } = part;
        Ok(Self { servers: virtual_servers.into_iter().zip(configs).collect(), table, lines })
    }

    /// Whether the host's addresses decide about checks.
    pub(super) fn needs_addresses(&self) -> bool {
        self.servers.iter().any(|(server, _)| server.ha_suspend)
    }

    /// Whether the start empties the table.
    pub(super) fn flushes(&self) -> bool {
        self.table.flush
    }
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A line for the log.
    Info(String),
    /// A line about something that needs somebody.
    Error(String),
    /// A line for who wants to know more.
    Debug(String),
    /// Tell the runner.
    Notify(NotifyEvent),
    /// Tell the supervisor.
    Remember(Fact),
    /// Run a check.
    Activate(CheckId),
    /// Pause it.
    Suspend(CheckId),
}

/// What a reload changes for the driver.
#[derive(Default)]
pub(super) struct Checks {
    /// To be added.
    pub(super) added: Vec<(CheckId, Schedule, Box<dyn Probe>)>,
    /// To be removed.
    pub(super) removed: Vec<CheckId>,
}

/// A fact's content.
#[derive(Debug, Serialize, Deserialize)]
enum Remembered {
    /// The checkers of one real server and whether each found it up.
    Checkers { virtual_server: String, real_server: String, verdicts: Vec<(Checker, bool)> },
    /// Whether a virtual server had its quorum.
    Quorum { virtual_server: String, up: bool },
    /// Some of the services that are ours in the kernel.
    Services(Vec<ServiceAddress>),
    /// The roles whose sync daemon is ours.
    SyncDaemons(BTreeSet<SyncRole>),
    /// A real server that a reload left out and whose connections may end.
    Leaving { virtual_server: String, server: LeavingServer },
}

/// What a successor has to know of a real server that is not configured any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LeavingServer {
    name: String,
    address: IpAddr,
    port: Option<u16>,
    forwarding: ForwardingMethod,
    upper_threshold: u32,
    lower_threshold: u32,
    deadline: Instant,
}

impl LeavingServer {
    fn new(server: &ipvs::RealServer, deadline: Instant) -> Self {
        Self {
            name: server.name.to_string(),
            address: server.address,
            port: server.port,
            forwarding: server.forwarding,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
            deadline,
        }
    }

    fn real_server(&self) -> ipvs::RealServer {
        ipvs::RealServer {
            name: self.name.as_str().into(),
            address: self.address,
            port: self.port,
            weight: Weight::ZERO,
            forwarding: self.forwarding,
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
            inhibit_on_failure: false,
            checkers: Vec::new(),
        }
    }
}

/// What is known before a configuration is taken: from the one before, or from a predecessor.
#[derive(Debug, Default)]
struct Memory {
    /// By virtual server and real server.
    checkers: BTreeMap<(String, String), Vec<Known>>,
    /// By virtual server.
    quorum: BTreeMap<String, Quorum>,
    /// By virtual server.
    leaving: BTreeMap<String, Vec<LeavingServer>>,
}

#[derive(Debug)]
struct Known {
    checker: Checker,
    state: ipvs::Checker,
    /// Its check, when that is still running.
    id: Option<CheckId>,
}

impl Memory {
    /// What is known of this checker. One whose timing alone is another keeps its verdict, but not its check.
    fn take(&mut self, server: &VirtualServer, real: &RealServer, checker: &Checker) -> Option<Known> {
        let known = self.checkers.get_mut(&names(server, real))?;
        let equal = known.iter().position(|known| known.checker == *checker);
        let similar = |known: &Known| known.checker.kind == checker.kind && known.checker.target == checker.target;
        let place = equal.or_else(|| known.iter().position(similar))?;
        let mut found = known.swap_remove(place);
        if equal.is_none() {
            found.id = None;
        }
        Some(found)
    }
}

fn names(server: &VirtualServer, real: &RealServer) -> (String, String) {
    (server.service.to_string(), lower::real_server_name(server, real))
}

/// One virtual server.
#[derive(Debug)]
struct Entry {
    config: VirtualServer,
    logic: ipvs::VirtualServer,
    /// The check of each checker of each real server; `None` for one that cannot run.
    checks: Vec<Vec<Option<CheckId>>>,
    /// Somebody hears of its changes.
    heard: bool,
}

impl Entry {
    /// What it stands for in the kernel.
    fn services(&self) -> impl Iterator<Item = ServiceAddress> {
        self.logic.config().services.iter().map(|service| service.address)
    }
}

/// The virtual servers of the configuration before, by what they stand for.
struct Former {
    entries: Vec<Option<Entry>>,
    places: HashMap<ServiceKey, VecDeque<usize>>,
}

impl Former {
    fn new(entries: Vec<Entry>) -> Self {
        let mut places: HashMap<_, VecDeque<_>> = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            places.entry(entry.config.service.value.clone()).or_default().push_back(place);
        }
        Self { entries: entries.into_iter().map(Some).collect(), places }
    }

    /// The first of `key` that was not taken yet.
    fn take(&mut self, key: &ServiceKey) -> Option<Entry> {
        let place = self.places.get_mut(key)?.pop_front()?;
        self.entries.get_mut(place)?.take()
    }

    /// Those that were not taken, in the order of the file.
    fn rest(self) -> impl Iterator<Item = Entry> {
        self.entries.into_iter().flatten()
    }
}

/// Which checker a check is.
#[derive(Debug, Clone, Copy)]
struct Place {
    entry: usize,
    real: RealServerId,
    checker: CheckerId,
    kind: &'static str,
}

/// Every virtual server.
#[derive(Debug)]
pub(super) struct Balancer {
    entries: Vec<Entry>,
    places: BTreeMap<CheckId, Place>,
    effects: VecDeque<Effect>,
    /// What the supervisor knows.
    facts: BTreeMap<String, Vec<u8>>,
    /// What a predecessor left, until the first configuration.
    inherited: Option<Memory>,
    /// The services that are or may be in the kernel for us.
    owned: Vec<ServiceAddress>,
    /// What holds for all virtual servers.
    table: TablePart,
    /// Where they were written.
    lines: Lines,
    /// The roles whose sync daemon is or may be ours.
    sync_owned: BTreeSet<SyncRole>,
    /// Whether the routers that sync daemons may follow are Active, by the keys of their facts.
    routers: BTreeMap<String, bool>,
    /// The addresses of this host, as far as anybody asks.
    on_host: BTreeSet<IpAddr>,
    /// The places of the virtual servers with a real server whose connections are waited for.
    draining: Vec<usize>,
    /// The checks that are not suspended.
    running: BTreeSet<CheckId>,
    next_id: CheckId,
    seed: u64,
}

impl Balancer {
    /// No virtual server. `seed` is for the checks' first waits.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            places: BTreeMap::new(),
            effects: VecDeque::new(),
            facts: BTreeMap::new(),
            inherited: None,
            owned: Vec::new(),
            table: TablePart::default(),
            lines: Lines::default(),
            sync_owned: BTreeSet::new(),
            routers: BTreeMap::new(),
            on_host: BTreeSet::new(),
            draining: Vec::new(),
            running: BTreeSet::new(),
            next_id: 0,
            seed,
        }
    }

    /// Takes over what a predecessor knew.
    pub(super) fn resume(&mut self, facts: Vec<Fact>) {
        let mut memory = Memory::default();
        for Fact { key, value } in facts {
            match ipc::decode(&value) {
                Ok(Remembered::Checkers { virtual_server, real_server, verdicts }) => {
                    let known = verdicts.into_iter().map(|(checker, up)| {
                        let verdict = if up { Verdict::Up } else { Verdict::Down };
                        let state = ipvs::Checker { verdict, reported: true, ..ipvs::Checker::UP };
                        Known { checker, state, id: None }
                    });
                    memory.checkers.insert((virtual_server, real_server), known.collect());
                }
                Ok(Remembered::Quorum { virtual_server, up }) => {
                    memory.quorum.insert(virtual_server, if up { Quorum::Up } else { Quorum::Down });
                }
                Ok(Remembered::Services(services)) => self.owned.extend(services),
                Ok(Remembered::SyncDaemons(roles)) => self.sync_owned.extend(roles),
                Ok(Remembered::Leaving { virtual_server, server }) => {
                    memory.leaving.entry(virtual_server).or_default().push(server);
                }
                Err(error) => self.effects.push_back(Effect::Error(format!("forgetting {key}: {error}"))),
            }
            self.facts.insert(key, value);
        }
        self.inherited = Some(memory);
    }

    /// Takes a configuration at `now`. What did not change goes on as it was.
    pub(super) fn configure(&mut self, plan: Plan, now: Instant) -> Checks {
        let mut memory = self.inherited.take().unwrap_or_else(|| self.memory());
        let mut former = Former::new(std::mem::take(&mut self.entries));
        let before: BTreeSet<_> = std::mem::take(&mut self.places).into_keys().collect();
        let mut checks = Checks::default();
        (self.table, self.lines) = (plan.table, plan.lines);
        for (server, mut config) in plan.servers {
            let entry = self.entries.len();
            let ids = self.check_all(entry, &server, &mut config, &mut memory, &mut checks);
            let former = former.take(&server.service);
            let heard = has_scripts(&server) || former.as_ref().is_some_and(|entry| entry.heard);
            let logic = match former {
                Some(Entry { mut logic, .. }) => {
                    match server.drain_timeout {
                        Some(patience) => logic.reconfigure_draining(config, now + patience),
                        None => logic.reconfigure(config),
                    }
                    logic
                }
                None => begin(config, &memory, &server.service.to_string()),
            };
            self.entries.push(Entry { config: server, logic, checks: ids, heard });
            self.follow_host(entry);
        }
        for entry in former.rest() {
            self.retire(entry);
        }
        checks.removed = before.into_iter().filter(|id| !self.places.contains_key(id)).collect();
        self.running.retain(|id| self.places.contains_key(id));
        let draining = self.entries.iter().enumerate().filter(|(_, entry)| entry.logic.is_draining());
        self.draining = draining.map(|(place, _)| place).collect();
        self.own();
        self.remember_all();
        checks
    }

    /// What is known of the configuration in force.
    fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for entry in &self.entries {
            for (place, (real, ids)) in entry.config.real_servers.iter().zip(&entry.checks).enumerate() {
                let known = real.checkers.iter().zip(ids).enumerate().filter_map(|(checker, (config, id))| {
                    let state = entry.logic.checker(RealServerId(place), CheckerId(checker))?;
                    Some(Known { checker: config.clone(), state, id: *id })
                });
                memory.checkers.insert(names(&entry.config, real), known.collect());
            }
        }
        memory
    }

    /// Finds or makes the check of every checker, and says in `config` with which verdict each begins.
    fn check_all(
        &mut self,
        entry: usize,
        server: &VirtualServer,
        config: &mut ipvs::Config,
        memory: &mut Memory,
        checks: &mut Checks,
    ) -> Vec<Vec<Option<CheckId>>> {
        let mut all = Vec::new();
        for (place, (real, target)) in server.real_servers.iter().zip(&mut config.real_servers).enumerate() {
            let mut ids = Vec::new();
            for (number, (checker, state)) in real.checkers.iter().zip(&mut target.checkers).enumerate() {
                let known = memory.take(server, real, checker);
                if let Some(known) = &known {
                    *state = known.state;
                }
                let id = self.check(server, real, checker, known, checks);
                if let Some((id, kind)) = id {
                    let place = Place { entry, real: RealServerId(place), checker: CheckerId(number), kind };
                    self.places.insert(id, place);
                } else {
                    *state = ipvs::Checker::DOWN;
                }
                ids.push(id.map(|(id, _)| id));
            }
            all.push(ids);
        }
        all
    }

    /// The check of one checker and its kind; `None` when it cannot run.
    fn check(
        &mut self,
        server: &VirtualServer,
        real: &RealServer,
        checker: &Checker,
        known: Option<Known>,
        checks: &mut Checks,
    ) -> Option<(CheckId, &'static str)> {
        let (virtual_server, real_server) = names(server, real);
        let probe = match lower::probe(real, checker) {
            Ok(probe) => probe,
            Err(why) => {
                let line = format!("Service {real_server} of VS {virtual_server} counts as down: {why}");
                self.effects.push_back(Effect::Error(line));
                return None;
            }
        };
        let kind = probe.kind();
        if let Some(id) = known.as_ref().and_then(|known| known.id) {
            return Some((id, kind));
        }
        let id = self.next_id;
        self.next_id += 1;
        let timing = lower::timing(server, real, checker, self.seed.wrapping_add(id));
        let schedule = match known.filter(|known| known.state.reported).map(|known| known.state.verdict) {
            Some(Verdict::Up) => Schedule::resume(timing, schedule::Verdict::Up),
            Some(Verdict::Down) => Schedule::resume(timing, schedule::Verdict::Down),
            None => Schedule::new(timing),
        };
        checks.added.push((id, schedule, probe));
        // Of one that may be suspended the virtual server says so.
        if !server.ha_suspend {
            let line = format!("Activating healthchecker for service {real_server} for VS {virtual_server}");
            self.effects.push_back(Effect::Info(line));
        }
        Some((id, kind))
    }

    /// A virtual server that is not configured any more.
    fn retire(&mut self, mut entry: Entry) {
        entry.logic.remove();
        while let Some(event) = entry.logic.poll_event() {
            self.effects.extend(effect(&entry, &event));
        }
    }

    /// A try of a check ended.
    pub(super) fn handle_event(&mut self, event: &driver::Event<CheckId>) {
        let Some(place) = self.places.get(&event.id).copied() else { return };
        let Some(entry) = self.entries.get_mut(place.entry) else { return };
        let Some(real) = entry.config.real_servers.get(place.real.0) else { return };
        let checker = real.checkers.get(place.checker.0);
        let log_all = checker.is_some_and(|checker| checker.log_all_failures);
        let (_, name) = names(&entry.config, real);
        self.effects.extend(lines(event, &name, place.kind, log_all));
        if !(event.report.changed || event.report.first) {
            return;
        }
        let verdict = match event.report.verdict {
            schedule::Verdict::Up => Verdict::Up,
            schedule::Verdict::Down => Verdict::Down,
        };
        entry.logic.handle_verdict(place.real, place.checker, verdict);
        self.remember_checkers(place.entry, place.real.0);
        self.drain(place.entry);
        self.remember_quorum(place.entry);
    }

    /// Everything goes.
    pub(super) fn stop(&mut self) {
        for entry in 0..self.entries.len() {
            if let Some(entry) = self.entries.get_mut(entry) {
                entry.logic.shutdown();
            }
            self.drain(entry);
        }
    }

    /// What the kernel shall hold.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            pools: self.pools(),
            timeouts: self.table.timeouts,
            sync_daemons: self.sync_daemons(),
            count: self
                .draining
                .iter()
                .filter_map(|entry| self.entries.get(*entry))
                .flat_map(Entry::services)
                .collect(),
            ..self.nothing()
        }
    }

    /// Nothing of ours: what a stop leaves, or nothing at all with `lvs_flush_on_stop`.
    pub(super) fn withdrawn(&self) -> Wanted {
        Wanted { flush: self.table.flush_on_stop, ..self.nothing() }
    }

    fn nothing(&self) -> Wanted {
        Wanted { ours: self.ours(), sync_ours: self.sync_owned.clone(), ..Wanted::default() }
    }

    fn pools(&self) -> Vec<Pool> {
        self.entries.iter().flat_map(|entry| entry.logic.wanted()).collect()
    }

    /// The services that are ours, wanted or not.
    fn ours(&self) -> BTreeSet<ServiceAddress> {
        self.owned.iter().copied().collect()
    }

    /// Both, or the one that goes with the role of the router they follow, once that is known.
    fn sync_daemons(&self) -> Vec<SyncDaemon> {
        let Some(sync) = &self.table.sync_daemon else { return Vec::new() };
        let roles: &[SyncRole] = match sync.router.as_ref().map(|router| self.routers.get(router)) {
            None => &[SyncRole::Master, SyncRole::Backup],
            Some(Some(true)) => &[SyncRole::Master],
            Some(Some(false)) => &[SyncRole::Backup],
            Some(None) => &[],
        };
        // The plan was refused if the kernel could not hold its name.
        roles.iter().filter_map(|role| sync.daemon(*role).ok()).collect()
    }

    /// What is known of a router that a sync daemon may follow. Whether something else is wanted now.
    pub(super) fn handle_router(&mut self, fact: Fact) -> bool {
        let before = self.sync_daemons();
        self.routers.insert(fact.key, facts::is_active(&fact.value));
        self.sync_daemons() != before
    }

    /// The addresses of this host.
    pub(super) fn handle_addresses(&mut self, on_host: BTreeSet<IpAddr>) {
        if self.on_host != on_host {
            self.on_host = on_host;
            (0..self.entries.len()).for_each(|entry| self.follow_host(entry));
        }
    }

    /// Runs or pauses the checks of a virtual server.
    fn follow_host(&mut self, entry: usize) {
        if let Some(entry) = self.entries.get_mut(entry) {
            entry.logic.handle_addresses(&self.on_host);
        }
        self.drain(entry);
        let Some(entry) = self.entries.get(entry) else { return };
        let run = entry.logic.checks_run();
        for id in entry.checks.iter().flatten().flatten() {
            if run && self.running.insert(*id) {
                self.effects.push_back(Effect::Activate(*id));
            } else if !run && self.running.remove(id) {
                self.effects.push_back(Effect::Suspend(*id));
            }
        }
    }

    /// Whether connections have to be counted now and then.
    pub(super) fn is_draining(&self) -> bool {
        !self.draining.is_empty()
    }

    /// The connections of the services that were to be counted. Whether something else is wanted now.
    pub(super) fn handle_counts(&mut self, counts: &BTreeMap<ServiceAddress, Vec<DestinationEntry>>) -> bool {
        self.drain_with(|logic| logic.handle_destinations(counts))
    }

    /// Gives up waiting for connections where it is time. Whether something else is wanted now.
    pub(super) fn handle_time(&mut self, now: Instant) -> bool {
        self.drain_with(|logic| logic.handle_timeout(now))
    }

    fn drain_with(&mut self, act: impl Fn(&mut ipvs::VirtualServer)) -> bool {
        let mut changed = false;
        for place in std::mem::take(&mut self.draining) {
            let Some(logic) = self.entries.get_mut(place).map(|entry| &mut entry.logic) else { continue };
            let before = logic.leaving().count();
            act(logic);
            changed |= logic.leaving().count() != before;
            if logic.is_draining() {
                self.draining.push(place);
            }
            self.drain(place);
            self.remember_leaving(place);
        }
        changed
    }

    /// The line for what the kernel did not take.
    pub(super) fn refusal(&self, failure: &Failure) -> String {
        match failure {
            Failure::Table(text) => text.clone(),
            Failure::SyncDaemon(text) => {
                let place = self.table.sync_daemon.as_ref().map(|sync| self.lines.prefix(sync.span));
                format!("{}lvs_sync_daemon: {text}", place.unwrap_or_default())
            }
            Failure::Change(refused) => {
                let service = refused.change.service();
                let entry = self.entries.iter().find(|entry| entry.services().any(|own| own == service));
                entry.map_or_else(|| refused.text.clone(), |entry| refusals::line(&self.lines, &entry.config, refused))
            }
        }
    }

    /// The kernel holds what is wanted, and nothing else of ours.
    pub(super) fn handle_applied(&mut self) {
        let configured: HashSet<_> = self.entries.iter().flat_map(Entry::services).collect();
        self.owned.retain(|service| configured.contains(service));
        self.remember_services();
        if self.table.sync_daemon.is_none() {
            self.sync_owned.clear();
        }
        self.remember_sync_daemons();
    }

    /// The next thing to do, or `None` when drained.
    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn drain(&mut self, entry: usize) {
        let Some(entry) = self.entries.get_mut(entry) else { return };
        while let Some(event) = entry.logic.poll_event() {
            self.effects.extend(effect(entry, &event));
        }
    }

    /// The configured services and sync daemons become ours, before the kernel is told of them.
    fn own(&mut self) {
        if self.table.sync_daemon.is_some() {
            self.sync_owned = BTreeSet::from([SyncRole::Master, SyncRole::Backup]);
        }
        self.remember_sync_daemons();
        let mut known: HashSet<_> = self.owned.iter().copied().collect();
        self.owned.extend(self.entries.iter().flat_map(Entry::services).filter(|service| known.insert(*service)));
        self.remember_services();
    }

    /// A service only ever moves to an earlier fact, and those are sent first: none is in no fact in between.
    fn remember_services(&mut self) {
        let mut gone: BTreeSet<_> = self.facts.keys().filter(|key| key.starts_with(SERVICES)).cloned().collect();
        let chunks = self.owned.chunks(SERVICES_PER_FACT).map(|keys| Remembered::Services(keys.to_vec()));
        for (number, services) in chunks.collect::<Vec<_>>().iter().enumerate() {
            let key = format!("{SERVICES}{number:06}");
            gone.remove(&key);
            self.remember(key, services);
        }
        self.forget(gone);
    }

    fn remember_sync_daemons(&mut self) {
        if !self.sync_owned.is_empty() {
            self.remember(SYNC_DAEMONS.to_owned(), &Remembered::SyncDaemons(self.sync_owned.clone()));
        } else if self.facts.contains_key(SYNC_DAEMONS) {
            self.forget(BTreeSet::from([SYNC_DAEMONS.to_owned()]));
        }
    }

    /// Brings every fact up to date, and has the supervisor forget what is gone.
    fn remember_all(&mut self) {
        let mut gone: BTreeSet<_> = self.facts.keys().filter(|key| !is_of_kernel(key)).cloned().collect();
        for entry in 0..self.entries.len() {
            gone.remove(&self.remember_quorum(entry));
            gone.retain({
                let leaving = self.remember_leaving(entry);
                move |key| !leaving.contains(key)
            });
            let reals = self.entries.get(entry).map_or(0, |entry| entry.config.real_servers.len());
            for real in 0..reals {
                gone.remove(&self.remember_checkers(entry, real));
            }
        }
        self.forget(gone);
    }

    fn forget(&mut self, gone: BTreeSet<String>) {
        for key in gone {
            self.facts.remove(&key);
            self.effects.push_back(Effect::Remember(Fact { key, value: Vec::new() }));
        }
    }

    /// Returns the key.
    fn remember_quorum(&mut self, entry: usize) -> String {
        let Some(entry) = self.entries.get(entry) else { return String::new() };
        let virtual_server = entry.config.service.to_string();
        let key = format!("quorum {virtual_server}");
        let up = entry.logic.quorum() == Some(Quorum::Up);
        self.remember(key.clone(), &Remembered::Quorum { virtual_server, up });
        key
    }

    /// Brings the facts of servers that a reload left out up to date. Returns their keys.
    fn remember_leaving(&mut self, entry: usize) -> BTreeSet<String> {
        let Some(entry) = self.entries.get(entry) else { return BTreeSet::new() };
        let virtual_server = entry.config.service.to_string();
        let of_all = format!("{LEAVING}{virtual_server} ");
        let mut facts = BTreeMap::new();
        for (server, drain) in entry.logic.leaving() {
            let Some(deadline) = drain.deadline else { continue };
            let server = LeavingServer::new(server, deadline);
            let virtual_server = virtual_server.clone();
            facts.insert(format!("{of_all}{}", server.name), Remembered::Leaving { virtual_server, server });
        }
        let stale = |key: &&String| key.starts_with(&of_all) && !facts.contains_key(*key);
        let known = self.facts.range(LEAVING.to_owned()..).map(|(key, _)| key);
        self.forget(known.take_while(|key| key.starts_with(LEAVING)).filter(stale).cloned().collect());
        let keys = facts.keys().cloned().collect();
        for (key, fact) in facts {
            self.remember(key, &fact);
        }
        keys
    }

    /// Returns the key.
    fn remember_checkers(&mut self, entry: usize, place: usize) -> String {
        let Some(entry) = self.entries.get(entry) else { return String::new() };
        let Some(real) = entry.config.real_servers.get(place) else { return String::new() };
        let (virtual_server, real_server) = names(&entry.config, real);
        let key = format!("checkers {virtual_server} {real_server}");
        let verdict = |(number, checker): (usize, &Checker)| {
            let state = entry.logic.checker(RealServerId(place), CheckerId(number));
            (checker.clone(), state.is_some_and(|state| state.verdict == Verdict::Up))
        };
        let verdicts: Vec<_> = real.checkers.iter().enumerate().map(verdict).collect();
        if !verdicts.is_empty() {
            self.remember(key.clone(), &Remembered::Checkers { virtual_server, real_server, verdicts });
        }
        key
    }

    fn remember(&mut self, key: String, what: &Remembered) {
        let value = ipc::encode(what);
        if self.facts.get(&key) != Some(&value) {
            self.facts.insert(key.clone(), value.clone());
            self.effects.push_back(Effect::Remember(Fact { key, value }));
        }
    }
}

/// Whether a fact tells what is ours in the kernel.
fn is_of_kernel(key: &str) -> bool {
    key.starts_with(SERVICES) || key == SYNC_DAEMONS
}

fn begin(config: ipvs::Config, memory: &Memory, name: &str) -> ipvs::VirtualServer {
    let mut logic = ipvs::VirtualServer::new(config);
    for server in memory.leaving.get(name).into_iter().flatten() {
        logic.leave(server.real_server(), server.deadline);
    }
    match memory.quorum.get(name) {
        Some(quorum) => logic.resume(*quorum),
        None => logic.start(),
    }
    logic
}

fn has_scripts(server: &VirtualServer) -> bool {
    let of_real = |real: &RealServer| real.notify_up.is_some() || real.notify_down.is_some();
    server.quorum_up.is_some() || server.quorum_down.is_some() || server.real_servers.iter().any(of_real)
}

/// What an event of a virtual server leads to.
fn effect(entry: &Entry, event: &ipvs::Event) -> Option<Effect> {
    let virtual_server = || entry.config.service.to_string();
    match event {
        ipvs::Event::Message { .. } => Some(Effect::Info(event.to_string())),
        ipvs::Event::RealServer { real_server, verdict, audience: Audience::Everyone, .. } if entry.heard => {
            let (real_server, up) = (real_server.to_string(), *verdict == Verdict::Up);
            Some(Effect::Notify(NotifyEvent::RealServer { virtual_server: virtual_server(), real_server, up }))
        }
        ipvs::Event::Quorum { quorum, audience: Audience::Everyone } if entry.heard => {
            let up = *quorum == Quorum::Up;
            Some(Effect::Notify(NotifyEvent::Quorum { virtual_server: virtual_server(), up }))
        }
        _ => None,
    }
}

/// What keepalived logs for a try: a success only while the server is not yet known to be up, a failure when it counts,
/// or each with `log_all_failures`.
fn lines(event: &driver::Event<CheckId>, name: &str, kind: &str, log_all: bool) -> Vec<Effect> {
    let news = event.report.changed || event.report.first;
    let said = event.outcome.lines(name).into_iter().map(Effect::Info);
    let Outcome::Failure(failure) = &event.outcome else {
        let down = event.report.verdict == schedule::Verdict::Down;
        return if news || down { said.collect() } else { Vec::new() };
    };
    let detail = failure.detail.as_ref().map(|detail| Effect::Debug(format!("{kind} on service {name}: {detail}")));
    if !(news || log_all) {
        return detail.into_iter().collect();
    }
    let retries = event.report.failures.saturating_sub(1);
    let counted = event.report.changed && retries > 0;
    let verdict = counted.then(|| Effect::Info(format!("{kind} on service {name} failed after {retries} retries.")));
    said.chain(detail).chain(verdict).collect()
}

#[cfg(test)]
mod tests;
