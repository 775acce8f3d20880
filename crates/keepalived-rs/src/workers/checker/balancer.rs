//! What the checks' results mean for the virtual servers, the log, the scripts and a successor. Holds no socket and no
//! clock: call one method, drain [`poll_effect`](Balancer::poll_effect), hand the checks to their driver, and give
//! [`wanted`](Balancer::wanted) to the kernel.

mod departing;
mod files;
mod servers;
mod unchanged;
mod wish;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use conf_parser::config::{Checker, CheckerKind, IpvsNamespace, MiscCheck, RealServer, ServiceKey, VirtualServer};
use health_checkers::driver;
use health_checkers::outcome::{Outcome, Reason};
use health_checkers::probe::tls::Client;
use health_checkers::probe::{Probe, file};
use health_checkers::schedule::{self, Schedule};
use ipvs_control::types::{DestinationKey, Instant, SyncDaemon, SyncRole, Timeouts};
use ipvs_control::virtual_server::{
    self as ipvs, Audience, CheckerId, Contribution, DrainProgress, Quorum, RealServerId,
};
use ipvs_control::{ForwardingMethod, Pool, Service, ServiceAddress, Verdict, Weight};
use serde::{Deserialize, Serialize};
use vip_netlink::nft::{Marking, Transport};

pub(crate) use self::departing::is_of_departure;
pub(super) use self::servers::Asked;
use self::unchanged::{Next, Taken, Terms};
use self::wish::Stale;
pub(super) use self::wish::Wish;
use super::errands::Errands;
use super::kernel::{Counts, Failure, Wanted};
use super::leftovers;
use super::refusals::{self, Finder};
use super::timeouts::ChangedTimeouts;
use super::unheard::{self, ABOUT, Unheard};
use crate::config::checker::table::TablePart;
use crate::config::checker::{self as lower, CheckerPart, Inexpressible, Lines, MarkingPart, Marks};
use crate::config::runner::has_scripts;
use crate::ipc::{self, Fact, Notification, NotifyEvent};
use crate::workers::vrrp::facts;

/// Names a check to the driver. Never used twice.
pub(super) type CheckId = u64;

/// Begins the keys of the facts that say which services are ours.
pub(super) const SERVICES: &str = "services ";

/// Begins the keys of the facts of real servers that are not configured any more.
pub(super) const LEAVING: &str = "leaving ";

/// Begins the keys of the facts of real servers that somebody drained.
pub(super) const DRAINED: &str = "drained ";

/// The key of the fact that says which sync daemons are ours.
pub(super) const SYNC_DAEMONS: &str = "sync daemons";

/// The key of the fact that there was a configuration: whoever hears of it goes on within the same daemon.
const RUNNING: &str = "running";

/// Begins the keys of the facts that say which group has which firewall mark.
const MARKS: &str = "marks ";

/// The key of the fact that says which tables of nftables are ours.
const TABLES: &str = "marking tables";

/// The key of the fact that says which time-outs are others than they were.
const TIMEOUTS: &str = "timeouts";

/// The key of the fact that says in which network namespace all that is.
const NAMESPACE: &str = "ipvs namespace";

/// How many marks one fact names: one message holds it.
const MARKS_PER_FACT: usize = 200;

/// How many services one fact names: one message holds it.
const SERVICES_PER_FACT: usize = 1000;

/// A configuration that can be run.
#[derive(Debug, Default)]
pub(super) struct Plan {
    servers: Vec<(VirtualServer, Next)>,
    terms: Terms,
    table: TablePart,
    lines: Lines,
    marking: Option<MarkingPart>,
    marked: Option<Arc<Marking>>,
    /// Who asks over TLS, if anybody does.
    client: Option<Client>,
}

impl Plan {
    /// Finds out whether `part` can be run. `same` has for each virtual server that goes on as it is its place.
    fn passing_over(part: CheckerPart, same: &[Option<usize>]) -> Result<Self, Inexpressible> {
        let next = |(server, same): (&VirtualServer, &Option<usize>)| match same {
            Some(place) => Ok(Next::Same(*place)),
            None => part.virtual_server(server).map(Next::Changed),
        };
        let next: Vec<_> = part.virtual_servers.iter().zip(same).map(next).collect::<Result<_, _>>()?;
        if let Some(sync) = &part.table.sync_daemon {
            sync.daemon(SyncRole::Master)?;
        }
        let marked = part.marking.as_ref().and_then(|marking| marking.marking(&part.groups)).map(Arc::new);
        let client = part.tls_client()?;
        let terms = Terms::of(&part);
        let CheckerPart { virtual_servers, table, lines, marking, .. } = part;
        let servers = virtual_servers.into_iter().zip(next).collect();
        Ok(Self { servers, terms, table, lines, marking, marked, client })
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
    /// A line for the log that there can be thousands of.
    Begins(Begins),
    /// Tell the runner. Boxed: of smaller effects there are tens of thousands at once.
    Notify(Box<Notification>),
    /// Tell the supervisor.
    Remember(Fact),
    /// Run a check.
    Activate(CheckId),
    /// Pause it.
    Suspend(CheckId),
}

/// A check begins. As text, which is worded when it is logged: the line for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begins {
    real_server: Arc<str>,
    virtual_server: Arc<str>,
}

impl fmt::Display for Begins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { real_server, virtual_server } = self;
        write!(f, "Activating healthchecker for service {real_server} for VS {virtual_server}")
    }
}

/// What a reload changes for the driver.
#[derive(Default)]
pub(super) struct Checks {
    /// To be added, each with the verdict that it goes on with: [`begin`](Balancer::begin) says how.
    pub(super) added: Vec<(CheckId, Option<schedule::Verdict>)>,
    /// To be removed.
    pub(super) removed: Vec<CheckId>,
}

/// A fact's content. Its `virtual_server` is a [`tag`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Remembered<'a> {
    /// The checkers of one real server, whether each found it up, whether it has said so, what it does to the weight, and
    /// the notifications of the server that the runner has not acknowledged.
    Checkers {
        virtual_server: Cow<'a, str>,
        real_server: Cow<'a, str>,
        verdicts: Vec<(Cow<'a, Checker>, bool, bool, Contribution)>,
        unheard: Vec<(u64, bool)>,
    },
    /// Whether a virtual server had its quorum, and the notifications of that which the runner has not acknowledged.
    Quorum { virtual_server: Cow<'a, str>, up: bool, unheard: Vec<(u64, bool)> },
    /// A notification of something that is not configured any more, which the runner has not acknowledged.
    About(Notification),
    /// Some of the services that are ours in the kernel.
    Services(Cow<'a, [ServiceAddress]>),
    /// The roles whose sync daemon is ours.
    SyncDaemons(BTreeSet<SyncRole>),
    /// A real server that a reload left out and whose connections may end.
    Leaving { virtual_server: Cow<'a, str>, server: LeavingServer },
    /// There was a configuration.
    Running,
    /// A virtual server that a reload left out and whose connections may end, with some of its services.
    Departing { server: Box<VirtualServer>, services: Vec<Service> },
    /// A real server that somebody drained.
    Drained {
        virtual_server: String,
        real_server: String,
        since: Instant,
        deadline: Option<Instant>,
        progress: DrainProgress,
        /// Its checks found it up.
        up: bool,
    },
    /// Some of the firewall marks that groups have, and the next one.
    Marks { marks: Vec<((String, Transport), NonZeroU32)>, next: NonZeroU32 },
    /// The names of the tables of nftables that are ours.
    Tables(BTreeSet<String>),
    /// The time-outs of connections that are others than they were.
    Timeouts(ChangedTimeouts),
    /// The network namespace of IPVS and of these tables; that of the daemon if no fact tells.
    Namespace(IpvsNamespace),
}

/// What a successor has to know of a real server that is not configured any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LeavingServer {
    name: String,
    address: IpAddr,
    port: Option<u16>,
    forwarding: ForwardingMethod,
    upper_threshold: u32,
    lower_threshold: u32,
    since: Instant,
    deadline: Instant,
}

impl LeavingServer {
    fn new(server: &ipvs::RealServer, since: Instant, deadline: Instant) -> Self {
        Self {
            name: server.name.to_string(),
            address: server.address,
            port: server.port,
            forwarding: server.forwarding,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
            since,
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
    /// By tag of the virtual server and by real server; those without checkers are left out.
    checkers: HashMap<Arc<str>, HashMap<Arc<str>, Vec<Known>>>,
    /// By tag of the virtual server.
    quorum: BTreeMap<String, Quorum>,
    /// By tag of the virtual server.
    leaving: BTreeMap<String, Vec<LeavingServer>>,
    /// By tag, with their services.
    departing: BTreeMap<String, (VirtualServer, Vec<Service>)>,
    /// By tag of the virtual server and by real server.
    drained: BTreeMap<(String, String), Drained>,
}

/// A real server that somebody drained.
#[derive(Debug)]
struct Drained {
    drain: ipvs::Drain,
    up: bool,
}

#[derive(Debug)]
struct Known {
    checker: Checker,
    state: ipvs::Checker,
    /// Its check, when that is still running.
    id: Option<CheckId>,
}

impl Memory {
    /// What is known of those of the configuration before that do not go on as they are.
    fn of(former: &Former) -> Self {
        let mut memory = Self::default();
        // One that departs has no checkers.
        for entry in former.left().filter(|entry| !entry.departing) {
            let of_server = memory.checkers.entry(entry.tag().into()).or_default();
            for (place, (real, ids)) in entry.config.real_servers.iter().zip(&entry.checks).enumerate() {
                let known = real.checkers.iter().zip(ids).enumerate().filter_map(|(checker, (config, id))| {
                    let state = entry.logic.checker(RealServerId(place), CheckerId(checker))?;
                    Some(Known { checker: config.clone(), state, id: *id })
                });
                let known: Vec<_> = known.collect();
                if let Some(name) = entry.real_server_name(place).filter(|_| !known.is_empty()) {
                    of_server.entry(Arc::clone(name)).or_default().extend(known);
                }
            }
        }
        memory
    }

    /// What is known of this checker. One whose timing alone is another keeps its verdict, but not its check.
    fn take(&mut self, names: Names<'_>, checker: &Checker) -> Option<Known> {
        let known = self.checkers.get_mut(names.virtual_server)?.get_mut(names.real_server)?;
        let equal = known.iter().position(|known| known.checker == *checker);
        let similar = |known: &Known| match (&known.checker.kind, &checker.kind) {
            // What the file of either holds is known by itself.
            (CheckerKind::File(_), CheckerKind::File(_)) => true,
            (former, kind) => former == kind && known.checker.target == checker.target,
        };
        let place = equal.or_else(|| known.iter().position(similar))?;
        let mut found = known.remove(place);
        if equal.is_none() {
            found.id = None;
        }
        Some(found)
    }
}

/// What log lines and facts call a real server.
#[derive(Clone, Copy)]
struct Names<'a> {
    virtual_server: &'a str,
    real_server: &'a str,
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
    /// It is not configured any more, and stays for its connections. Such ones come last.
    departing: bool,
}

impl Entry {
    /// What it stands for in the kernel.
    fn services(&self) -> impl Iterator<Item = ServiceAddress> {
        self.logic.config().services.iter().map(|service| service.address)
    }

    fn tag(&self) -> String {
        tag(&self.config.service.value)
    }

    fn name(&self) -> &Arc<str> {
        &self.logic.config().name
    }

    /// Each real server that is configured, with its name.
    fn real_servers(&self) -> impl Iterator<Item = (&RealServer, &Arc<str>)> {
        self.config.real_servers.iter().zip(self.logic.config().real_servers.iter().map(|real| &real.name))
    }

    /// Whether a successor without a fact would begin with this real server as it is: no check has said anything of it, and
    /// nobody hears what becomes of it. Should this worker die within a reload before all facts are out, the successor
    /// takes a server that is new to it for what the new file says (`alpha`).
    fn is_as_configured(&self, place: usize, real: &RealServer) -> bool {
        let is_fresh = |(number, checker)| {
            let state = self.logic.checker(RealServerId(place), CheckerId(number));
            state == Some(ipvs::Checker::UP) && !lower::starts_down(&self.config, real, checker)
        };
        !self.heard && real.checkers.iter().enumerate().all(is_fresh)
    }

    fn real_server_name(&self, place: usize) -> Option<&Arc<str>> {
        self.logic.config().real_servers.get(place).map(|real| &real.name)
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

    /// Those that were not taken yet, in the order of the file.
    fn left(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
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
    /// What the kernel has not been asked for.
    stale: Stale,
    /// What the runner has not acknowledged.
    unheard: Unheard,
    /// What the supervisor knows.
    facts: BTreeMap<String, Vec<u8>>,
    /// What a predecessor left, until the first configuration.
    inherited: Option<Memory>,
    /// What a killed daemon had in the kernel, and whether in use, until the first configuration.
    adopted: BTreeMap<ServiceAddress, BTreeMap<DestinationKey, bool>>,
    /// The services that are or may be in the kernel for us.
    owned: Vec<ServiceAddress>,
    /// What the virtual servers depend on.
    terms: Terms,
    /// What holds for all virtual servers.
    table: TablePart,
    /// Where they were written.
    lines: Lines,
    /// `nftables_ipvs`, once a configuration was taken.
    marking: Option<Option<MarkingPart>>,
    /// The marks that groups have.
    marks: Option<Marks>,
    /// The packets that get them.
    marked: Option<Arc<Marking>>,
    /// Who asks over TLS, if anybody does. Checks that go on have clones of it.
    client: Option<Client>,
    /// The names of the tables of nftables that are or may be in the kernel for us.
    tables: BTreeSet<String>,
    /// The time-outs of connections as this process found them at its start, and as it has put them back since. What
    /// somebody sets between the start and the first word of ours is not known.
    timeouts: Option<Timeouts>,
    /// Those that are or may be others than they were.
    timeouts_changed: ChangedTimeouts,
    /// The network namespace of IPVS, if it is not that of the daemon.
    namespace: Option<IpvsNamespace>,
    /// The roles whose sync daemon is or may be ours.
    sync_owned: BTreeSet<SyncRole>,
    /// Whether the routers that sync daemons may follow are Active, by the keys of their facts.
    routers: BTreeMap<String, bool>,
    /// What tracked files hold, as far as it is known.
    numbers: BTreeMap<String, i64>,
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
            stale: Stale::default(),
            unheard: Unheard::default(),
            facts: BTreeMap::new(),
            inherited: None,
            adopted: BTreeMap::new(),
            owned: Vec::new(),
            terms: Terms::default(),
            table: TablePart::default(),
            lines: Lines::default(),
            marking: None,
            marks: None,
            marked: None,
            client: None,
            tables: BTreeSet::new(),
            timeouts: None,
            timeouts_changed: ChangedTimeouts::default(),
            namespace: None,
            sync_owned: BTreeSet::new(),
            routers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            on_host: BTreeSet::new(),
            draining: Vec::new(),
            running: BTreeSet::new(),
            next_id: 0,
            seed,
        }
    }

    /// The network namespace of IPVS, if it is not that of the daemon. To be called first.
    pub(super) fn work_in(&mut self, namespace: Option<IpvsNamespace>) {
        self.namespace = namespace;
    }

    /// Notifications are numbered from a higher number than this: whoever counts from a number that only ever grows needs
    /// no memory of the last.
    pub(super) fn count_from(&mut self, number: u64) {
        self.unheard.count_from(number);
    }

    /// Takes over what a predecessor knew. Whether it was one of the same daemon: nothing was stopped in between.
    pub(super) fn resume(&mut self, facts: Vec<Fact>) -> bool {
        let mut memory = Memory::default();
        let same_daemon = facts.iter().any(|fact| fact.key == RUNNING);
        for Fact { key, value } in facts {
            match ipc::decode(&value) {
                Ok(Remembered::Checkers { virtual_server, real_server, verdicts, unheard }) => {
                    let known = verdicts.into_iter().map(|(checker, up, reported, contribution)| {
                        let verdict = if up { Verdict::Up } else { Verdict::Down };
                        let state = ipvs::Checker { verdict, reported, contribution };
                        Known { checker: checker.into_owned(), state, id: None }
                    });
                    for (number, up) in unheard {
                        let event = event_of_server(name_in(&virtual_server), &real_server, up);
                        self.unheard.inherit(key.clone(), Notification { number, event });
                    }
                    let of_server = memory.checkers.entry(virtual_server.into()).or_default();
                    of_server.insert(real_server.into(), known.collect());
                }
                Ok(Remembered::Quorum { virtual_server, up, unheard }) => {
                    for (number, up) in unheard {
                        let virtual_server = name_in(&virtual_server).to_owned();
                        let event = NotifyEvent::Quorum { virtual_server, up };
                        self.unheard.inherit(key.clone(), Notification { number, event });
                    }
                    memory.quorum.insert(virtual_server.into_owned(), if up { Quorum::Up } else { Quorum::Down });
                }
                Ok(Remembered::About(notification)) => self.unheard.inherit(key.clone(), notification),
                Ok(Remembered::Services(services)) => self.owned.extend(services.iter()),
                Ok(Remembered::SyncDaemons(roles)) => self.sync_owned.extend(roles),
                Ok(Remembered::Marks { marks, next }) => {
                    let known = self.marks.get_or_insert_with(|| Marks { handed_out: BTreeMap::new(), next });
                    known.handed_out.extend(marks);
                }
                Ok(Remembered::Tables(names)) => self.tables = names,
                Ok(Remembered::Timeouts(changed)) => self.timeouts_changed = changed,
                // The supervisor hands nothing of another one on.
                Ok(Remembered::Namespace(_)) => {}
                Ok(Remembered::Leaving { virtual_server, server }) => {
                    memory.leaving.entry(virtual_server.into_owned()).or_default().push(server);
                }
                Ok(Remembered::Running) => {}
                Ok(Remembered::Departing { server, services }) => memory.recall_departing(*server, services),
                Ok(Remembered::Drained { virtual_server, real_server, since, deadline, progress, up }) => {
                    let drain = ipvs::Drain { since, deadline, left: None, progress };
                    memory.drained.insert((virtual_server, real_server), Drained { drain, up });
                }
                Err(error) => self.effects.push_back(Effect::Error(format!("forgetting {key}: {error}"))),
            }
            self.facts.insert(key, value);
        }
        self.effects.extend(self.unheard.all().map(Box::new).map(Effect::Notify));
        self.inherited = Some(memory);
        same_daemon
    }

    /// What is in the kernel before the first configuration. What a killed daemon had in use stays there until a check
    /// says otherwise, also where a check would have to succeed first (`alpha`). One that somebody drained has weight 0
    /// there, also with `inhibit_on_failure` after it has failed: its fact says which.
    pub(super) fn adopt(&mut self, present: Vec<Pool>) {
        let ours = self.ours();
        let known = |pool: Pool| {
            let known = pool.destinations.iter().map(|there| (there.key(), there.weight != Weight::ZERO));
            (pool.service.address, known.collect())
        };
        let present = present.into_iter().filter(|pool| ours.contains(&pool.service.address));
        self.adopted = present.map(known).collect();
    }

    /// The time-outs of connections at the start of this process, before it changes any.
    pub(super) fn find_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = Some(timeouts);
    }

    /// Whether anything may be in the kernel for us.
    pub(super) fn owns_services(&self) -> bool {
        let is_clean = self.owned.is_empty() && self.sync_owned.is_empty() && self.tables.is_empty();
        !is_clean || !self.timeouts_changed.is_none()
    }

    /// What counts of this server until a check says otherwise, if a killed daemon had it in use, or knew that it had failed
    /// while it was drained.
    fn adopted_state(
        &self,
        config: &ipvs::Config,
        server: &ipvs::RealServer,
        drained: Option<&Drained>,
    ) -> Option<ipvs::Checker> {
        if drained.is_some_and(|drained| !drained.up) {
            return Some(ipvs::Checker::DOWN);
        }
        let address = server.address;
        let is_used = |service: ServiceAddress| {
            let ports = server.port.into_iter().chain([service.port()]);
            let known = self.adopted.get(&service);
            let mut places = ports.into_iter().map(|port| DestinationKey { address, port });
            known.is_some_and(|known| {
                places.any(|place| known.get(&place).is_some_and(|used| *used || drained.is_some()))
            })
        };
        config.services.iter().any(|service| is_used(service.address)).then_some(ipvs::Checker::UP)
    }

    /// Takes a configuration at `now`. What did not change goes on as it was.
    pub(super) fn configure(&mut self, plan: Plan, now: Instant) -> Checks {
        let inherited = self.inherited.take();
        let is_inherited = inherited.is_some();
        let mut former = Former::new(std::mem::take(&mut self.entries));
        let servers = former.take_same(plan.servers, &plan.terms);
        let is_changed = |(_, (_, taken)): &(usize, &(_, Taken))| matches!(taken, Taken::Changed(_));
        let mut changed: BTreeSet<_> = servers.iter().enumerate().filter(is_changed).map(|(place, _)| place).collect();
        let gone = match is_inherited {
            true => self.facts.keys().filter(|key| !is_of_kernel(key)).cloned().collect(),
            false => former.left().flat_map(|entry| self.keys_of(entry)).collect(),
        };
        let mut memory = inherited.unwrap_or_else(|| Memory::of(&former));
        let before: BTreeSet<_> =
            former.left().flat_map(|entry| entry.checks.iter().flatten().flatten().copied()).collect();
        self.places.retain(|id, _| !before.contains(id));
        let mut checks = Checks::default();
        (self.terms, self.table, self.lines, self.marked) = (plan.terms, plan.table, plan.lines, plan.marked);
        self.client = match (self.client.take(), plan.client) {
            (Some(client), Some(next)) => {
                client.follow(&next);
                Some(client)
            }
            (_, next) => next,
        };
        self.marks = plan.marking.as_ref().map(|marking| marking.marks.clone());
        self.marking = Some(plan.marking);
        self.entries.reserve(servers.len());
        for (server, taken) in servers {
            let mut config = match taken {
                Taken::Same(entry) => {
                    self.keep(*entry, server);
                    continue;
                }
                Taken::Changed(config) => config,
            };
            let entry = self.entries.len();
            let ids = self.check_all(entry, &server, &mut config, &mut memory, &mut checks);
            let former = former.take(&server.service);
            let hears = has_scripts(&server);
            // Whoever heard of the one before hears what becomes of it.
            let heard = hears || former.as_ref().is_some_and(|entry| entry.heard);
            let logic = match former {
                Some(Entry { mut logic, .. }) => {
                    match server.drain_timeout {
                        Some(patience) => logic.reconfigure_draining(config, now, now + patience),
                        None => logic.reconfigure(config),
                    }
                    logic
                }
                None => begin(&tag(&server.service.value), config, &memory),
            };
            self.entries.push(Entry { config: server, logic, checks: ids, heard, departing: false });
            self.follow_host(entry);
            if let Some(entry) = self.entries.get_mut(entry) {
                entry.heard = hears;
            }
        }
        let mut held = self.configured_services();
        let count = self.entries.len();
        for entry in former.rest() {
            self.retire(entry, &mut held, now);
        }
        if is_inherited {
            self.tell_of_missing(&memory);
            self.resume_departing(&mut memory, &held);
        }
        self.adopted.clear();
        self.forget_files();
        self.follow_files(None);
        checks.removed = before.into_iter().filter(|id| !self.places.contains_key(id)).collect();
        for id in &checks.removed {
            self.running.remove(id);
        }
        self.find_draining();
        self.replan();
        self.own();
        changed.extend(count..self.entries.len());
        self.remember_all(gone, &changed);
        checks
    }

    /// Goes on with the firewall marks that groups have.
    ///
    /// # Errors
    /// When a running daemon would have to do with other tables or another namespace: as with keepalived, that takes a
    /// restart.
    pub(super) fn adopt_marks(&self, part: &mut CheckerPart) -> Result<(), String> {
        if part.namespace != self.namespace {
            return Err("Cannot change IPVS network namespace at a reload - please restart keepalived".to_owned());
        }
        let name = |marking: &Option<MarkingPart>| marking.as_ref().map(|marking| marking.table.clone());
        if self.marking.as_ref().is_some_and(|before| name(before) != name(&part.marking)) {
            return Err("Cannot change IPVS nftables table name at a reload - please restart keepalived".to_owned());
        }
        if let (Some(marking), Some(marks)) = (&mut part.marking, &self.marks) {
            marking.go_on_from(marks);
        }
        Ok(())
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
        let mut all = Vec::with_capacity(server.real_servers.len());
        let tag = tag(&server.service.value);
        // Most often nothing was adopted, and nothing is to look for.
        let servers = config.real_servers.iter().filter(|_| !self.adopted.is_empty());
        let drained = |real: &ipvs::RealServer| memory.drained.get(&(tag.clone(), real.name.to_string()));
        let adopted: Vec<_> = servers.map(|real| self.adopted_state(config, real, drained(real))).collect();
        for (place, (real, target)) in server.real_servers.iter().zip(&mut config.real_servers).enumerate() {
            let names = (&config.name, &target.name);
            let mut ids = Vec::with_capacity(real.checkers.len());
            for (number, (checker, state)) in real.checkers.iter().zip(&mut target.checkers).enumerate() {
                let known = memory.take(Names { virtual_server: &tag, real_server: &target.name }, checker);
                if let Some(known) = &known {
                    *state = known.state;
                } else if let Some(first) = self.first_of_file(checker) {
                    *state = first;
                } else if let Some(Some(adopted)) = adopted.get(place) {
                    *state = *adopted;
                }
                let id = self.check((server, real, checker), names, known, checks);
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
        (server, real, checker): (&VirtualServer, &RealServer, &Checker),
        (virtual_server, real_server): (&Arc<str>, &Arc<str>),
        known: Option<Known>,
        checks: &mut Checks,
    ) -> Option<(CheckId, &'static str)> {
        let kind = match lower::kind(server, real, checker) {
            Ok(kind) => kind,
            Err(why) => {
                let line = format!("Service {real_server} of VS {virtual_server} counts as down: {why}");
                self.effects.push_back(Effect::Error(line));
                return None;
            }
        };
        if let Some(id) = known.as_ref().and_then(|known| known.id) {
            return Some((id, kind));
        }
        let id = self.next_id;
        self.next_id += 1;
        if kind == file::KIND {
            return Some((id, kind));
        }
        let verdict = known.filter(|known| known.state.reported).map(|known| match known.state.verdict {
            Verdict::Up => schedule::Verdict::Up,
            Verdict::Down => schedule::Verdict::Down,
        });
        checks.added.push((id, verdict));
        // Of one that may be suspended the virtual server says so.
        if !server.ha_suspend {
            let (real_server, virtual_server) = (Arc::clone(real_server), Arc::clone(virtual_server));
            self.effects.push_back(Effect::Begins(Begins { real_server, virtual_server }));
        }
        Some((id, kind))
    }

    /// When a check that goes on with `verdict` runs, and what it does; `None` for one that is not there or that tries
    /// nothing.
    pub(super) fn begin(
        &self,
        id: CheckId,
        verdict: Option<schedule::Verdict>,
        errands: &Errands,
    ) -> Option<(Schedule, Box<dyn Probe>)> {
        let place = self.places.get(&id)?;
        let server = &self.entries.get(place.entry)?.config;
        let real = server.real_servers.get(place.real.0)?;
        let checker = real.checkers.get(place.checker.0)?;
        let timing = lower::timing(server, real, checker, self.seed.wrapping_add(id));
        let schedule = match verdict {
            Some(verdict) => Schedule::resume(timing, verdict),
            None => Schedule::new(timing),
        };
        let program = |script, timeout| errands.program(id, script, timeout);
        let probe = lower::probe((server, real, checker), self.client.as_ref(), program).ok()??;
        Some((schedule, probe))
    }

    /// A predecessor may have died before it told of what the configuration leaves out.
    fn tell_of_missing(&mut self, memory: &Memory) {
        let of_entry = |entry: &Entry| -> HashSet<_> {
            entry.logic.config().real_servers.iter().map(|real| Arc::clone(&real.name)).collect()
        };
        let servers = self.entries.iter().map(|entry| (Arc::from(entry.tag()), of_entry(entry)));
        let servers: HashMap<Arc<str>, _> = servers.collect();
        let heard = self.entries.iter().map(|entry| (entry.tag(), entry.heard));
        let heard: BTreeMap<_, _> = heard.collect();
        let is_up = |known: &[Known]| known.iter().all(|known| known.state.verdict == Verdict::Up);
        let is_there = |virtual_server: &Arc<str>, real_server: &Arc<str>| {
            servers.get(virtual_server).is_some_and(|servers| servers.contains(real_server))
        };
        let known = memory.checkers.iter();
        // Of a virtual server that is missing too the runner knows whether anybody is to hear.
        let known = known.filter(|(virtual_server, _)| heard.get(&***virtual_server) != Some(&false));
        let known =
            known.flat_map(|(virtual_server, servers)| servers.iter().map(move |server| (virtual_server, server)));
        let missing = known
            .filter(|(virtual_server, (real_server, known))| is_up(known) && !is_there(virtual_server, real_server));
        let missing: BTreeMap<_, _> =
            missing.map(|(virtual_server, (real_server, _))| ((virtual_server, real_server), ())).collect();
        let missing = missing
            .into_keys()
            .map(|(virtual_server, real_server)| event_of_server(name_in(virtual_server), real_server, false));
        let quorums = memory.quorum.iter().filter(|(tag, quorum)| !heard.contains_key(*tag) && **quorum == Quorum::Up);
        let quorums =
            quorums.map(|(tag, _)| NotifyEvent::Quorum { virtual_server: name_in(tag).to_owned(), up: false });
        let mut told = self.unheard.told_apart();
        for event in missing.chain(quorums) {
            if told.insert(event.clone()) {
                self.notify(None, event);
            }
        }
    }

    /// Tells the runner, and the supervisor with the fact `key` or one of its own.
    fn notify(&mut self, key: Option<String>, event: NotifyEvent) {
        let is_alone = key.is_none();
        let notification = self.unheard.push(key, event);
        if is_alone {
            self.remember(unheard::own_key(notification.number), ipc::encode(&Remembered::About(notification.clone())));
        }
        self.effects.push_back(Effect::Notify(Box::new(notification)));
    }

    /// Whether anybody hears of changes.
    pub(super) fn is_heard(&self) -> bool {
        self.entries.iter().any(|entry| entry.heard)
    }

    /// The runner is gone, and there is no script that another one would run. Whether what it has not acknowledged is
    /// forgotten: a script of a later configuration is not run for it.
    pub(super) fn handle_runner_gone(&mut self) -> bool {
        let forgotten = !self.is_heard();
        if forgotten {
            self.handle_acknowledged(u64::MAX);
        }
        forgotten
    }

    /// The runner has every notification up to this number.
    pub(super) fn handle_acknowledged(&mut self, number: u64) {
        for key in self.unheard.acknowledged(number) {
            let fact = self.facts.get(&key).map(|value| ipc::decode(value));
            let newer = self.unheard.of(&key);
            match fact {
                Some(Ok(Remembered::About(_))) => self.forget(BTreeSet::from([key])),
                Some(Ok(Remembered::Checkers { virtual_server, real_server, verdicts, .. })) => {
                    let fact = Remembered::Checkers { virtual_server, real_server, verdicts, unheard: newer };
                    self.remember(key, ipc::encode(&fact));
                }
                Some(Ok(Remembered::Quorum { virtual_server, up, .. })) => {
                    self.remember(key, ipc::encode(&Remembered::Quorum { virtual_server, up, unheard: newer }));
                }
                _ => {}
            }
        }
    }

    /// A try of a check ended.
    pub(super) fn handle_event(&mut self, event: &driver::Event<CheckId>) {
        let Some(place) = self.places.get(&event.id).copied() else { return };
        let Some(entry) = self.entries.get_mut(place.entry) else { return };
        let Some(real) = entry.config.real_servers.get(place.real.0) else { return };
        let Some(checker) = real.checkers.get(place.checker.0) else { return };
        let Some(name) = entry.real_server_name(place.real.0) else { return };
        let names = Names { virtual_server: entry.name(), real_server: name };
        let lines = lines(event, names, place.kind, real, checker);
        let is_news = event.report.changed || event.report.first;
        let verdict = match event.report.verdict {
            schedule::Verdict::Up => Verdict::Up,
            schedule::Verdict::Down => Verdict::Down,
        };
        let found = Found { weight: other_weight(entry, place, event), verdict: is_news.then_some(verdict), lines };
        // At a start each check says for the first time what was taken for granted.
        let before = (is_news || found.weight.is_some()).then(|| entry.logic.wanted());
        self.follow_check(place, found);
        if let Some(before) = before {
            self.settle(place.entry, &before);
        }
    }

    /// Tells the virtual server what a check found. [`settle`](Self::settle) ends what may be several.
    fn follow_check(&mut self, place: Place, Found { weight, verdict, lines }: Found) {
        if let (Some(weight), Some(entry)) = (weight, self.entries.get_mut(place.entry)) {
            entry.logic.handle_weight(place.real, place.checker, weight);
            self.drain(place.entry);
        }
        self.effects.extend(lines);
        if let (Some(verdict), Some(entry)) = (verdict, self.entries.get_mut(place.entry)) {
            entry.logic.handle_verdict(place.real, place.checker, verdict);
        }
        if weight.is_none() && verdict.is_none() {
            return;
        }
        self.drain(place.entry);
        self.remember_checkers(place.entry, place.real.0);
        if self.entries.get(place.entry).is_some_and(|entry| entry.logic.drain_status(place.real).is_some()) {
            self.remember_drained(place.entry, place.real);
        }
    }

    /// The checks of a virtual server, which wanted this `before`, have said what they had to say.
    fn settle(&mut self, entry: usize, before: &[Pool]) {
        if self.entries.get(entry).is_some_and(|entry| entry.logic.wanted() != before) {
            self.stale.place(entry);
        }
        self.remember_quorum(entry);
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
            restore: Some(self.timeouts_changed.given_up(self.table.timeouts)).filter(|changed| !changed.is_none()),
            marking: self.marked.clone(),
            sync_daemons: self.sync_daemons(),
            ..self.nothing()
        }
    }

    /// Nothing of ours: what a stop leaves, or nothing at all with `lvs_flush_on_stop`.
    pub(super) fn withdrawn(&self) -> Wanted {
        let restore = Some(self.timeouts_changed.clone()).filter(|changed| !changed.is_none());
        Wanted { flush: self.table.flush_on_stop, restore, ..self.nothing() }
    }

    fn nothing(&self) -> Wanted {
        let (sync_ours, tables) = (self.sync_owned.clone(), self.tables.clone());
        Wanted { ours: self.ours(), sync_ours, tables, ..Wanted::default() }
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

    /// What is known of a router that a sync daemon may follow.
    pub(super) fn handle_router(&mut self, fact: Fact) {
        let before = self.sync_daemons();
        self.routers.insert(fact.key, facts::is_active(&fact.value));
        if self.sync_daemons() != before {
            self.stale.all();
        }
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

    /// The connections of the services that were to be counted.
    pub(super) fn handle_counts(&mut self, counts: &Counts) {
        self.drain_with(|logic| logic.handle_destinations(counts));
    }

    /// Gives up waiting for connections where it is time.
    pub(super) fn handle_time(&mut self, now: Instant) {
        self.drain_with(|logic| logic.handle_timeout(now));
    }

    fn find_draining(&mut self) {
        let draining = self.entries.iter().enumerate().filter(|(_, entry)| entry.logic.is_draining());
        self.draining = draining.map(|(place, _)| place).collect();
    }

    fn drain_with(&mut self, act: impl Fn(&mut ipvs::VirtualServer)) {
        for place in std::mem::take(&mut self.draining) {
            let Some(logic) = self.entries.get_mut(place).map(|entry| &mut entry.logic) else { continue };
            let (leaving, waiting) = (logic.leaving().count(), logic.waiting());
            act(logic);
            if logic.leaving().count() != leaving {
                self.stale.place(place);
            }
            if logic.is_draining() {
                self.draining.push(place);
            }
            // No fact tells how many connections are left.
            if logic.waiting() == waiting {
                continue;
            }
            self.drain(place);
            self.remember_leaving(place);
            self.remember_drains(place);
        }
        self.forget_departed();
    }

    /// The lines for what the kernel did not take.
    pub(super) fn refusals(&self, failures: &[Failure]) -> Vec<String> {
        let mut entries = HashMap::new();
        if failures.iter().any(|failure| matches!(failure, Failure::Change(_))) {
            for entry in &self.entries {
                for service in entry.services() {
                    entries.entry(service).or_insert(entry);
                }
            }
        }
        let mut finder = Finder::default();
        failures.iter().map(|failure| self.refusal(failure, &entries, &mut finder)).collect()
    }

    fn refusal<'a>(
        &self,
        failure: &Failure,
        entries: &HashMap<ServiceAddress, &'a Entry>,
        finder: &mut Finder<'a>,
    ) -> String {
        match failure {
            Failure::Table(text) => text.clone(),
            Failure::SyncDaemon(text) => {
                let place = self.table.sync_daemon.as_ref().map(|sync| self.lines.prefix(sync.span));
                format!("{}lvs_sync_daemon: {text}", place.unwrap_or_default())
            }
            Failure::Marking(text) => {
                let place = self.marking.iter().flatten().find_map(|marking| marking.span);
                let place = place.map(|span| self.lines.prefix(span)).unwrap_or_default();
                format!("{place}nftables_ipvs: {text}")
            }
            Failure::Change(refused) => {
                let entry = entries.get(&refused.change.service());
                let Some(entry) = entry else { return refused.text.clone() };
                // One that departs is not in the file any more.
                let lines = Some(&self.lines).filter(|_| !entry.departing);
                let leaving = entry.logic.leaving().map(|(server, _)| server);
                refusals::line(lines, finder, (&entry.config, leaving), refused)
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
        let given_up = self.timeouts_changed.given_up(self.table.timeouts);
        self.timeouts = self.timeouts.map(|present| given_up.restored(present));
        self.timeouts_changed = self.timeouts_changed.kept(self.table.timeouts);
        self.timeouts_changed.settle();
        self.remember_timeouts();
        self.remember_sync_daemons();
        self.tables = self.marked.iter().map(|marking| marking.name.clone()).collect();
        self.remember_marks();
    }

    /// The kernel holds nothing of ours any more.
    pub(super) fn handle_withdrawn(&mut self) {
        let gone = self.facts.keys().filter(|key| leftovers::is_on_host(key)).cloned().collect();
        self.forget(gone);
    }

    /// The next thing to do, or `None` when drained.
    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn drain(&mut self, entry: usize) {
        let Some(there) = self.entries.get_mut(entry) else { return };
        let mut all = Vec::new();
        while let Some(event) = there.logic.poll_event() {
            all.extend(said(there, &event));
        }
        let mut is_of_quorum = false;
        for said in all {
            match said {
                Said::Line(line) => self.effects.push_back(Effect::Info(line)),
                Said::Event { event, key } => {
                    is_of_quorum |= matches!(event, NotifyEvent::Quorum { .. });
                    self.notify(key, event);
                }
            }
        }
        if is_of_quorum {
            self.remember_quorum(entry);
        }
    }

    /// The configured services and sync daemons become ours, before the kernel is told of them.
    fn own(&mut self) {
        if self.table.sync_daemon.is_some() {
            self.sync_owned = BTreeSet::from([SyncRole::Master, SyncRole::Backup]);
        }
        if let Some(namespace) = &self.namespace {
            self.remember(NAMESPACE.to_owned(), ipc::encode(&Remembered::Namespace(namespace.clone())));
        }
        if let Some(present) = self.timeouts {
            self.timeouts_changed.change(self.table.timeouts, present);
        }
        self.remember_timeouts();
        self.remember_sync_daemons();
        self.tables.extend(self.marked.as_ref().map(|marking| marking.name.clone()));
        self.remember_marks();
        let mut known: HashSet<_> = self.owned.iter().copied().collect();
        self.owned.extend(self.entries.iter().flat_map(Entry::services).filter(|service| known.insert(*service)));
        self.remember_services();
    }

    /// A service only ever moves to an earlier fact, and those are sent first: none is in no fact in between.
    fn remember_services(&mut self) {
        let mut gone: BTreeSet<_> = self.facts.keys().filter(|key| key.starts_with(SERVICES)).cloned().collect();
        let chunks = self.owned.chunks(SERVICES_PER_FACT).map(|keys| ipc::encode(&Remembered::Services(keys.into())));
        for (number, services) in chunks.collect::<Vec<_>>().into_iter().enumerate() {
            let key = format!("{SERVICES}{number:06}");
            gone.remove(&key);
            self.remember(key, services);
        }
        self.forget(gone);
    }

    fn remember_timeouts(&mut self) {
        if !self.timeouts_changed.is_none() {
            self.remember(TIMEOUTS.to_owned(), ipc::encode(&Remembered::Timeouts(self.timeouts_changed.clone())));
        } else if self.facts.contains_key(TIMEOUTS) {
            self.forget(BTreeSet::from([TIMEOUTS.to_owned()]));
        }
    }

    fn remember_sync_daemons(&mut self) {
        if !self.sync_owned.is_empty() {
            let roles = Remembered::SyncDaemons(self.sync_owned.clone());
            self.remember(SYNC_DAEMONS.to_owned(), ipc::encode(&roles));
        } else if self.facts.contains_key(SYNC_DAEMONS) {
            self.forget(BTreeSet::from([SYNC_DAEMONS.to_owned()]));
        }
    }

    /// Brings the facts of marks and of the tables that give them up to date.
    fn remember_marks(&mut self) {
        let mut gone: BTreeSet<_> = self.facts.keys().filter(|key| key.starts_with(MARKS)).cloned().collect();
        if let Some(Marks { handed_out, next }) = self.marks.clone() {
            let marks: Vec<_> = handed_out.into_iter().collect();
            for (number, marks) in marks.chunks(MARKS_PER_FACT).enumerate() {
                let key = format!("{MARKS}{number:06}");
                gone.remove(&key);
                self.remember(key, ipc::encode(&Remembered::Marks { marks: marks.to_vec(), next }));
            }
        }
        if !self.tables.is_empty() {
            self.remember(TABLES.to_owned(), ipc::encode(&Remembered::Tables(self.tables.clone())));
        } else if self.facts.contains_key(TABLES) {
            gone.insert(TABLES.to_owned());
        }
        self.forget(gone);
    }

    /// Brings the facts of the virtual servers at the places `changed` up to date, and has the supervisor forget those of
    /// `gone` that are not among them.
    fn remember_all(&mut self, mut gone: BTreeSet<String>, changed: &BTreeSet<usize>) {
        gone.retain(|key| key != RUNNING && !key.starts_with(ABOUT));
        self.remember(RUNNING.to_owned(), ipc::encode(&Remembered::Running));
        for entry in 0..self.entries.len() {
            let is_changed = changed.contains(&entry);
            // One that goes on as it is may get servers of one that is not configured any more.
            if is_changed || self.entries.get(entry).is_some_and(|entry| entry.logic.leaving().next().is_some()) {
                for key in self.remember_leaving(entry) {
                    gone.remove(&key);
                }
            }
            if !is_changed {
                continue;
            }
            for key in self.remember_departing(entry) {
                gone.remove(&key);
            }
            gone.remove(&self.remember_quorum(entry));
            let reals = self.entries.get(entry).map_or(0, |entry| entry.config.real_servers.len());
            for real in 0..reals {
                if let Some(key) = self.remember_checkers(entry, real) {
                    gone.remove(&key);
                }
                let is_drained = |entry: &Entry| entry.logic.drain_status(RealServerId(real)).is_some();
                if self.entries.get(entry).is_some_and(is_drained) {
                    gone.remove(&self.remember_drained(entry, RealServerId(real)));
                }
            }
        }
        for (key, notification) in gone.iter().flat_map(|key| self.unheard.part(key)).collect::<Vec<_>>() {
            self.remember(key, ipc::encode(&Remembered::About(notification)));
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
        let virtual_server = Cow::from(entry.tag());
        let key = quorum_key(&virtual_server);
        // One that departs has none.
        let Some(quorum) = entry.logic.quorum() else { return String::new() };
        let unheard = self.unheard.of(&key);
        let value = ipc::encode(&Remembered::Quorum { virtual_server, up: quorum == Quorum::Up, unheard });
        self.remember(key.clone(), value);
        key
    }

    /// Brings the facts of servers that a reload left out up to date. Returns their keys.
    fn remember_leaving(&mut self, entry: usize) -> BTreeSet<String> {
        let Some(entry) = self.entries.get(entry) else { return BTreeSet::new() };
        let is_told = |(key, _): (&String, _)| key.starts_with(LEAVING);
        if entry.logic.leaving().next().is_none() && !self.facts.range(LEAVING.to_owned()..).next().is_some_and(is_told)
        {
            return BTreeSet::new();
        }
        let tag = entry.tag();
        let of_all = format!("{LEAVING}{tag} ");
        let mut facts = BTreeMap::new();
        for (server, drain) in entry.logic.leaving() {
            let Some(deadline) = drain.deadline else { continue };
            let server = LeavingServer::new(server, drain.since, deadline);
            let key = format!("{of_all}{}", server.name);
            let virtual_server = Cow::from(&tag);
            facts.insert(key, ipc::encode(&Remembered::Leaving { virtual_server, server }));
        }
        let known = self.keys_under(&of_all).into_iter();
        self.forget(known.filter(|key| !facts.contains_key(key)).collect());
        let keys = facts.keys().cloned().collect();
        for (key, fact) in facts {
            self.remember(key, fact);
        }
        keys
    }

    /// Returns the key, of a real server with checkers. None has a fact while a successor that is told nothing of it would
    /// take it for what it is.
    fn remember_checkers(&mut self, entry: usize, place: usize) -> Option<String> {
        let entry = self.entries.get(entry)?;
        let real = entry.config.real_servers.get(place).filter(|real| !real.checkers.is_empty())?;
        let is_as_configured = entry.is_as_configured(place, real);
        if is_as_configured && self.unheard.is_empty() {
            return None;
        }
        let (virtual_server, real_server) = (entry.tag(), &**entry.real_server_name(place)?);
        let key = checkers_key(&virtual_server, real_server);
        if is_as_configured && self.unheard.of(&key).is_empty() {
            return None;
        }
        let verdict = |(number, checker)| {
            let state = entry.logic.checker(RealServerId(place), CheckerId(number)).unwrap_or(ipvs::Checker::DOWN);
            (Cow::Borrowed(checker), state.verdict == Verdict::Up, state.reported, state.contribution)
        };
        let verdicts = real.checkers.iter().enumerate().map(verdict).collect();
        let (virtual_server, real_server) = (virtual_server.into(), real_server.into());
        let unheard = self.unheard.of(&key);
        let value = ipc::encode(&Remembered::Checkers { virtual_server, real_server, verdicts, unheard });
        self.remember(key.clone(), value);
        Some(key)
    }

    fn remember(&mut self, key: String, value: Vec<u8>) {
        if self.facts.get(&key) != Some(&value) {
            self.facts.insert(key.clone(), value.clone());
            self.effects.push_back(Effect::Remember(Fact { key, value }));
        }
    }
}

/// Whether a fact tells what is ours in the kernel.
pub(super) fn is_of_kernel(key: &str) -> bool {
    [SERVICES, MARKS].iter().any(|start| key.starts_with(start))
        || [SYNC_DAEMONS, TABLES, TIMEOUTS, NAMESPACE].contains(&key)
}

/// What facts call a virtual server: by its name, which a mark of each family has and a group whatever its protocol is,
/// and those.
fn tag(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address { .. } => lower::service_name(key),
        ServiceKey::Fwmark { family, .. } => format!("{key}#{family:?}"),
        ServiceKey::Group { protocol, family, .. } => format!("{key}#{protocol:?},{family:?}"),
    }
}

/// The name in a [`tag`].
fn name_in(tag: &str) -> &str {
    tag.rsplit_once('#').map_or(tag, |(name, _)| name)
}

fn begin(tag: &str, config: ipvs::Config, memory: &Memory) -> ipvs::VirtualServer {
    // Most often there is none, and nothing to look for.
    let servers = config.real_servers.iter().filter(|_| !memory.drained.is_empty());
    let drained: Vec<_> = servers.map(|real| memory.drained.get(&(tag.to_owned(), real.name.to_string()))).collect();
    let mut logic = ipvs::VirtualServer::new(config);
    if let Some(leaving) = memory.leaving.get(tag) {
        logic.leave(leaving.iter().map(|server| (server.real_server(), server.since, server.deadline)));
    }
    for (place, drained) in drained.into_iter().enumerate() {
        if let Some(drained) = drained {
            logic.resume_drain(RealServerId(place), drained.drain);
        }
    }
    match memory.quorum.get(tag) {
        Some(quorum) => logic.resume(*quorum),
        None => logic.start(),
    }
    logic
}

fn checkers_key(tag: &str, real_server: &str) -> String {
    format!("checkers {tag} {real_server}")
}

fn quorum_key(tag: &str) -> String {
    format!("quorum {tag}")
}

fn event_of_server(virtual_server: &str, real_server: &str, up: bool) -> NotifyEvent {
    NotifyEvent::RealServer { virtual_server: virtual_server.to_owned(), real_server: real_server.to_owned(), up }
}

/// What an event of a virtual server leads to.
enum Said {
    /// A line for the log.
    Line(String),
    /// Something for the runner, and the key of the fact of what it tells of.
    Event { event: NotifyEvent, key: Option<String> },
}

fn said(entry: &Entry, event: &ipvs::Event) -> Option<Said> {
    match event {
        ipvs::Event::Message { .. } => Some(Said::Line(event.to_string())),
        ipvs::Event::RealServer { real_server, id, verdict, audience: Audience::Everyone } if entry.heard => {
            let key = id.map(|_| checkers_key(&entry.tag(), real_server));
            let event = event_of_server(entry.name(), real_server, *verdict == Verdict::Up);
            Some(Said::Event { event, key })
        }
        ipvs::Event::Quorum { quorum, audience: Audience::Everyone } if entry.heard => {
            let key = Some(quorum_key(&entry.tag()));
            let event = NotifyEvent::Quorum { virtual_server: entry.name().to_string(), up: *quorum == Quorum::Up };
            Some(Said::Event { event, key })
        }
        _ => None,
    }
}

/// The weight that a check gives its server, if it is another one than before.
fn other_weight(entry: &Entry, place: Place, event: &driver::Event<CheckId>) -> Option<Contribution> {
    let Outcome::Success { weight, .. } = &event.outcome else { return None };
    let weight = weight.map(|weight| Contribution::Replaces(Weight::saturating_from(weight.into())));
    let contribution = weight.unwrap_or(Contribution::NONE);
    let before = entry.logic.checker(place.real, place.checker)?;
    (before.contribution != contribution).then_some(contribution)
}

/// What a check found.
struct Found {
    /// What it does to the weight of its server, if that is another thing than before.
    weight: Option<Contribution>,
    /// Whether the server is up, if that is news.
    verdict: Option<Verdict>,
    /// For the log.
    lines: Vec<Effect>,
}

/// What keepalived logs for a try: a success only while the server is not yet known to be up, a failure when it counts,
/// or each with `log_all_failures`.
fn lines(
    event: &driver::Event<CheckId>,
    names: Names<'_>,
    kind: &str,
    real: &RealServer,
    checker: &Checker,
) -> Vec<Effect> {
    if let CheckerKind::Misc(check) = &checker.kind {
        return misc_line(event, names, check, checker).map(Effect::Info).into_iter().collect();
    }
    let (name, log_all) = (names.real_server, checker.log_all_failures);
    let news = event.report.changed || event.report.first;
    // What a mail server does wrong is told of where it was asked.
    let is_mail = matches!((&event.outcome, &checker.kind), (Outcome::Failure(_), CheckerKind::Smtp(_)));
    let asked = is_mail.then(|| lower::target(real, &checker.target)).map(|to| format!("[{}]:{}", to.ip(), to.port()));
    let said = event.outcome.lines(asked.as_deref().unwrap_or(name)).into_iter().map(Effect::Info);
    let Outcome::Failure(failure) = &event.outcome else {
        let down = event.report.verdict == schedule::Verdict::Down;
        return if news || down { said.collect() } else { Vec::new() };
    };
    let detail = failure.detail.as_ref().map(|detail| format!("{kind} on service {name}: {detail}"));
    if !(news || log_all) {
        return detail.map(Effect::Debug).into_iter().collect();
    }
    // keepalived's words do not say what is wrong with the TLS of a server.
    let over_tls = matches!(failure.reason, Reason::TlsHandshake | Reason::TlsRead | Reason::TlsReadTimeout);
    let detail = detail.map(if over_tls { Effect::Info } else { Effect::Debug });
    if matches!(checker.kind, CheckerKind::Udp(_) | CheckerKind::Ping) && news {
        // The verdict stands for the failure too.
        return std::iter::once(Effect::Info(format!("{kind} on service {name} failed."))).chain(detail).collect();
    }
    let retries = event.report.failures.saturating_sub(1);
    let is_told = !matches!(checker.kind, CheckerKind::Dns(_) | CheckerKind::Smtp(_));
    let counted = event.report.changed && retries > 0 && is_told;
    let verdict = counted.then(|| Effect::Info(format!("{kind} on service {name} failed after {retries} retries.")));
    said.chain(detail).chain(verdict).collect()
}

/// What keepalived logs for a run of a program.
fn misc_line(
    event: &driver::Event<CheckId>,
    Names { virtual_server, real_server }: Names<'_>,
    check: &MiscCheck,
    checker: &Checker,
) -> Option<String> {
    let driver::Event { outcome, report, .. } = event;
    let is_news = report.changed || report.first;
    let result = match outcome {
        Outcome::Success { .. } => is_news.then(|| "succeeded".to_owned())?,
        Outcome::Failure(failure) => {
            if !(is_news || checker.log_all_failures) {
                return None;
            }
            let word = if failure.reason == Reason::ProgramTimeout { "timed out" } else { "failed" };
            let detail = failure.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{word}{}{detail}", tries(report, checker.timing.retry))
        }
        // Progress says nothing.
        _ => return None,
    };
    let script = check.script.command.first().map_or("", String::as_str);
    Some(format!("Misc check for [{real_server} VS {virtual_server}] by [{script}] {result}."))
}

/// How a failure stands to the tries that are left.
fn tries(report: &schedule::Report, retry: u32) -> String {
    let retries = |number| format!("{number} {}", if number == 1 { "retry" } else { "retries" });
    match report.failures.saturating_sub(1) {
        0 if report.retrying => format!(", will do {}", retries(retry)),
        done if report.retrying => format!(" on retry {done}/{retry}"),
        _ if retry == 0 => " with retry disabled".to_owned(),
        done if done > 0 => format!(" after {}", retries(done)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
