//! Drains, counts of connections, time, reloads that pass most virtual servers over, and processes that die, in any order:
//! what the kernel is asked for, what the supervisor is told, and who goes on with that.

use proptest::prelude::*;

use super::unchanged::{Drawn, meaning, read};
use super::*;
use crate::control::servers::read as read_names;

/// Lines of one virtual server.
const LINES: [&str; 12] = [
    "",
    "drain_timeout 60",
    "drain_timeout 20\n alpha",
    "drain_timeout 60\n inhibit_on_failure",
    "alpha\n inhibit_on_failure",
    "quorum 3\n hysteresis 1",
    "ha_suspend",
    "sorry_server 10.9.9.9 80",
    "sorry_server 10.0.0.3 80\n drain_timeout 60",
    "sorry_server 10.9.9.9 80\n sorry_server_inhibit\n alpha",
    "quorum_up /u\n quorum_down /d",
    "omega\n quorum_down /d\n drain_timeout 20",
];

/// The virtual servers of a file by the last number of their address. Number 0 is a group of 192.0.2.1 and 192.0.2.9.
type File = BTreeMap<u8, Drawn>;

const GROUP: &str = "virtual_server_group g {\n 192.0.2.1 80\n 192.0.2.9 80\n}\n";

fn text(file: &File) -> String {
    let servers =
        file.values().map(|server| server.text().replace("virtual_server 192.0.2.0 80", "virtual_server group g"));
    GROUP.to_owned() + &servers.collect::<String>()
}

fn real_servers() -> impl Strategy<Value = BTreeMap<u8, (u8, bool)>> {
    prop::collection::btree_map(1..4u8, (1..4u8, prop::bool::weighted(0.7)), 1..4)
}

fn file() -> impl Strategy<Value = File> {
    let server = (prop::sample::select(&LINES[..]), real_servers());
    // The group is rarer: it shares a service, and then everything is planned together.
    let address = prop_oneof![1 => Just(0u8), 3 => Just(1u8), 3 => Just(2u8), 3 => Just(3u8)];
    prop::collection::btree_map(address, server, 1..4).prop_map(|servers| {
        let drawn = |(address, (lines, real_servers))| (address, Drawn { address, lines, real_servers });
        servers.into_iter().map(drawn).collect()
    })
}

/// How the next file differs from the one in force.
#[derive(Debug, Clone)]
enum Edit {
    Same,
    /// Of one virtual server a real server weighs something else.
    Weight(usize, usize, u8),
    /// Without one of the real servers of a virtual server.
    WithoutReal(usize, usize),
    /// Without one of the virtual servers.
    Without(usize),
    All(File),
}

impl Edit {
    fn of(&self, file: &File) -> File {
        let mut file = file.clone();
        let nth = |number: usize, count: usize| number.checked_rem(count).unwrap_or_default();
        let key = |number: usize| file.keys().nth(nth(number, file.len())).copied();
        match self {
            Self::Same => {}
            Self::All(other) => file = other.clone(),
            Self::Without(server) => {
                key(*server).map(|key| file.remove(&key));
            }
            Self::Weight(server, real, weight) => {
                if let Some(server) = key(*server).and_then(|key| file.get_mut(&key)) {
                    let count = server.real_servers.len();
                    server.real_servers.values_mut().nth(nth(*real, count)).into_iter().for_each(|it| it.0 = *weight);
                }
            }
            Self::WithoutReal(server, real) => {
                if let Some(server) = key(*server).and_then(|key| file.get_mut(&key)) {
                    let real = server.real_servers.keys().nth(nth(*real, server.real_servers.len())).copied();
                    real.map(|real| server.real_servers.remove(&real));
                }
            }
        }
        file
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => Just(Edit::Same),
        2 => (0..3usize, 0..3usize, 1..4u8).prop_map(|(server, real, weight)| Edit::Weight(server, real, weight)),
        3 => (0..3usize, 0..3usize).prop_map(|(server, real)| Edit::WithoutReal(server, real)),
        2 => (0..3usize).prop_map(Edit::Without),
        3 => file().prop_map(Edit::All),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    /// A reload is looked at: whether it can be run, and what it changes.
    Prepare(Edit),
    /// The one that was looked at last is carried out.
    Commit,
    /// The check of this place among those that run found its server up or down.
    Verdict(usize, bool),
    /// Somebody drains a server, by the last numbers of the addresses, for this long.
    Drain(u8, u8, Option<u8>),
    Undrain(u8, u8),
    /// The kernel counts: the servers of these numbers have connections.
    Count(BTreeSet<u8>),
    /// What it counted last becomes known.
    Counted,
    /// So many seconds pass.
    Time(u8),
    /// This host has these addresses.
    Addresses(BTreeSet<u8>),
    /// The process dies; the supervisor starts another one.
    Crash,
    /// All processes die; somebody starts the daemon again.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let connected = || prop::collection::btree_set(1..4u8, 0..3);
    prop_oneof![
        3 => edit().prop_map(Step::Prepare),
        4 => Just(Step::Commit),
        5 => (0..8usize, prop::bool::weighted(0.4)).prop_map(|(place, up)| Step::Verdict(place, up)),
        4 => (0..4u8, 1..4u8, prop::option::of(1..90u8)).prop_map(|(server, real, time)| Step::Drain(server, real, time)),
        2 => (0..4u8, 1..4u8).prop_map(|(server, real)| Step::Undrain(server, real)),
        3 => connected().prop_map(Step::Count),
        3 => Just(Step::Counted),
        3 => (1..50u8).prop_map(Step::Time),
        1 => prop::collection::btree_set(1..4u8, 0..3).prop_map(Step::Addresses),
        2 => Just(Step::Crash),
        1 => Just(Step::Kill),
    ]
}

/// The destinations of each service.
type Table = BTreeMap<ServiceAddress, (Service, BTreeMap<DestinationKey, ipvs_control::types::Destination>)>;

/// Of two pools for one service the first counts.
fn table(pools: &[Pool]) -> Table {
    let mut table = Table::new();
    for pool in pools {
        let destinations = pool.destinations.iter().map(|there| (there.key(), *there)).collect();
        table.entry(pool.service.address).or_insert((pool.service, destinations));
    }
    table
}

/// A virtual server and a real server of it by their names; whether that has left the configuration.
type Name = (String, String, bool);

/// Whose connections are waited for, or were.
fn drains(balancer: &Balancer) -> BTreeMap<Name, ipvs::Drain> {
    let mut drains = BTreeMap::new();
    for entry in &balancer.entries {
        for (place, real) in entry.logic.config().real_servers.iter().enumerate() {
            if let Some(drain) = entry.logic.drain_status(RealServerId(place)) {
                drains.insert((entry.tag(), real.name.to_string(), false), drain);
            }
        }
        drains.extend(entry.logic.leaving().map(|(real, drain)| ((entry.tag(), real.name.to_string(), true), drain)));
    }
    drains
}

/// [`drains`], without what a successor counts anew.
fn told_drains(balancer: &Balancer) -> BTreeMap<Name, ipvs::Drain> {
    drains(balancer).into_iter().map(|(name, drain)| (name, ipvs::Drain { left: None, ..drain })).collect()
}

/// What the checks of each real server have said, and each quorum.
fn verdicts(balancer: &Balancer) -> BTreeMap<(String, String), (Option<Verdict>, Option<Quorum>)> {
    let of_entry = |entry: &Entry| {
        let real = |(place, name): (usize, &Arc<str>)| {
            let verdict = entry.logic.verdict(RealServerId(place));
            ((entry.tag(), name.to_string()), (verdict, entry.logic.quorum()))
        };
        entry.real_servers().map(|(_, name)| name).enumerate().map(real).collect::<Vec<_>>()
    };
    balancer.entries.iter().flat_map(of_entry).collect()
}

/// Everything around a balancer.
struct World {
    balancer: Balancer,
    /// The reloads work everything out anew.
    is_full: bool,
    /// What the supervisor knows.
    told: BTreeMap<String, Vec<u8>>,
    kernel: Table,
    file: File,
    prepared: Option<(File, Plan)>,
    counted: Option<Counts>,
    /// What was counted last is what the table was asked for last.
    is_fresh: bool,
    now: Instant,
    addresses: BTreeSet<IpAddr>,
    lines: Vec<String>,
}

impl World {
    fn new(file: &File, is_full: bool) -> Self {
        let mut world = Self {
            balancer: Balancer::new(1),
            is_full,
            told: BTreeMap::new(),
            kernel: Table::new(),
            file: File::new(),
            prepared: None,
            counted: None,
            is_fresh: false,
            now: Instant::default() + Duration::from_secs(1000),
            addresses: BTreeSet::new(),
            lines: Vec::new(),
        };
        world.take(&Step::Prepare(Edit::All(file.clone())));
        world.take(&Step::Commit);
        world
    }

    fn plan(&self, file: &File) -> Plan {
        let part = read(&text(file));
        if self.is_full { Plan::new(part).unwrap() } else { self.balancer.plan(part).unwrap() }
    }

    /// Which real server is meant, and a virtual server.
    fn names(server: u8, real: u8) -> Asked {
        let server = if server == 0 { "group g".to_owned() } else { format!("192.0.2.{server} 80") };
        let words = format!("{server} 10.0.0.{real} 80");
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let (virtual_server, real_server) = read_names(&words).unwrap();
        Asked { virtual_server, real_server }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Prepare(edit) => {
                let file = edit.of(&self.file);
                let plan = self.plan(&file);
                self.prepared = Some((file, plan));
            }
            Step::Commit => {
                if let Some((file, plan)) = self.prepared.take() {
                    self.balancer.configure(plan, self.now);
                    self.file = file;
                }
            }
            Step::Verdict(place, up) => {
                let running: Vec<_> = self.balancer.running.iter().copied().collect();
                if let Some(id) = running.get(*place) {
                    self.balancer.handle_event(&if *up { succeed(*id) } else { fail(*id, 1) });
                }
            }
            Step::Drain(server, real, seconds) => {
                let Asked { virtual_server, real_server } = Self::names(*server, *real);
                let timeout = seconds.map(|seconds| Duration::from_secs(seconds.into()));
                let (virtual_server, real_server) = (virtual_server.unwrap(), real_server.unwrap());
                // There need not be one.
                let _ = self.balancer.drain_server(&virtual_server, &real_server, self.now, timeout, true);
            }
            Step::Undrain(server, real) => {
                let Asked { virtual_server, real_server } = Self::names(*server, *real);
                let _ = self.balancer.undrain_server(&virtual_server.unwrap(), &real_server.unwrap());
            }
            Step::Count(connected) => self.count(connected),
            Step::Counted => {
                if let Some(counts) = self.counted.take() {
                    self.balancer.handle_counts(&counts);
                }
            }
            Step::Time(seconds) => {
                self.now = self.now + Duration::from_secs((*seconds).into());
                self.balancer.handle_time(self.now);
            }
            Step::Addresses(numbers) => {
                self.addresses = numbers.iter().map(|number| IpAddr::from([192, 0, 2, *number])).collect();
                self.balancer.handle_addresses(self.addresses.clone());
            }
            Step::Crash => self.begin(self.told.clone(), None),
            Step::Kill => {
                let kept = self.told.iter().filter(|(key, _)| leftovers::is_on_host(key));
                let kept = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
                self.begin(kept, Some(self.pools()));
            }
        }
        if matches!(step, Step::Commit | Step::Crash | Step::Kill) {
            (self.prepared, self.counted) = (None, self.counted.take().filter(|_| matches!(step, Step::Commit)));
        }
        self.is_fresh &= matches!(step, Step::Counted);
        self.carry_out();
    }

    fn pools(&self) -> Vec<Pool> {
        let pool = |(service, destinations): &(Service, BTreeMap<_, _>)| Pool {
            service: *service,
            destinations: destinations.values().copied().collect(),
        };
        self.kernel.values().map(pool).collect()
    }

    /// Another process, which is told this and finds that in the kernel.
    fn begin(&mut self, told: BTreeMap<String, Vec<u8>>, present: Option<Vec<Pool>>) {
        let (balancer, lines) = self.successor(told.clone(), present);
        self.told = told;
        self.balancer = balancer;
        self.lines.extend(lines);
    }

    /// As the worker does it, before its first wish.
    fn successor(&self, told: BTreeMap<String, Vec<u8>>, present: Option<Vec<Pool>>) -> (Balancer, Vec<String>) {
        let mut balancer = Balancer::new(2);
        balancer.resume(told.into_iter().map(|(key, value)| Fact { key, value }).collect());
        let mut part = read(&text(&self.file));
        balancer.adopt_marks(&mut part).unwrap();
        let plan = if self.is_full { Plan::new(part).unwrap() } else { balancer.plan(part).unwrap() };
        if let Some(present) = present {
            balancer.adopt(present);
        }
        balancer.handle_addresses(self.addresses.clone());
        balancer.configure(plan, self.now);
        (balancer, Vec::new())
    }

    fn count(&mut self, connected: &BTreeSet<u8>) {
        if self.balancer.is_all_stale() {
            return;
        }
        let has_some = |address: IpAddr| connected.iter().any(|number| address == IpAddr::from([10, 0, 0, *number]));
        let entry = |destination: &ipvs_control::types::Destination| DestinationEntry {
            destination: *destination,
            active_connections: u32::from(has_some(destination.key().address)),
            inactive_connections: 0,
            persistent_connections: 0,
            stats: ipvs_control::types::Stats::default(),
        };
        let counts = self.balancer.draining_services().map(|service| {
            let there = self.kernel.get(&service);
            (service, there.map(|(_, there)| there.values().map(entry).collect()).unwrap_or_default())
        });
        self.counted = Some(counts.collect());
        self.is_fresh = !self.balancer.is_stale();
    }

    fn carry_out(&mut self) {
        for effect in drain(&mut self.balancer) {
            match effect {
                Effect::Remember(Fact { key, value }) if value.is_empty() => drop(self.told.remove(&key)),
                Effect::Remember(Fact { key, value }) => drop(self.told.insert(key, value)),
                Effect::Info(line) | Effect::Error(line) => self.lines.push(line),
                Effect::Begins(line) => self.lines.push(line.to_string()),
                Effect::Notify(notification) => self.lines.push(format!("{:?}", notification.event)),
                Effect::Debug(_) | Effect::Activate(_) | Effect::Suspend(_) => {}
            }
        }
    }

    /// The services that the supervisor knows of.
    fn announced(&self) -> BTreeSet<ServiceAddress> {
        let services = self.told.values().filter_map(|value| match ipc::decode(value) {
            Ok(Remembered::Services(services)) => Some(services.to_vec()),
            _ => None,
        });
        services.flatten().collect()
    }

    /// The kernel does what it is asked for.
    fn apply(&mut self) {
        match self.balancer.poll_wish() {
            Some(Wish::All(wanted)) => {
                let wishes = table(&wanted.pools);
                self.kernel.retain(|service, _| !wanted.ours.contains(service) || wishes.contains_key(service));
                self.kernel.extend(wishes);
                let announced = self.announced();
                assert!(self.kernel.keys().all(|service| announced.contains(service)), "{announced:?}");
                self.balancer.handle_applied();
                self.carry_out();
            }
            Some(Wish::Some(pools)) => {
                for (service, pool) in table(&pools) {
                    assert!(self.kernel.insert(service, pool).is_some(), "{service} was not there");
                }
            }
            None => {}
        }
    }

    fn is_shared(&self) -> bool {
        let mut seen = BTreeSet::new();
        self.balancer.entries.iter().flat_map(Entry::services).any(|service| !seen.insert(service))
    }

    /// What the two ways of a reload have in common.
    fn seen(&self) -> (Vec<String>, Vec<(String, String)>, Table, Table) {
        let told = self.told.iter().map(|(key, value)| (key.clone(), meaning(value)));
        (self.lines.clone(), told.collect(), self.kernel.clone(), table(&self.balancer.pools()))
    }
}

/// The file, the drains and what was counted.
type Before = (File, BTreeMap<Name, ipvs::Drain>, Option<Counts>);

/// A drain ends for a reason and for nothing else, and once there is one.
fn check_ends((file_before, before, counts): &Before, step: &Step, after: &World) {
    let counts = counts.as_ref();
    let now = drains(&after.balancer);
    let is_waiting = |drain: &ipvs::Drain| drain.progress == DrainProgress::Waiting;
    for (name, drain) in before.iter().filter(|(_, drain)| is_waiting(drain)) {
        if now.get(name).is_some_and(is_waiting) {
            continue;
        }
        match step {
            Step::Time(_) => {
                assert!(drain.deadline.is_some_and(|deadline| deadline <= after.now), "{name:?} {drain:?}")
            }
            Step::Counted => {
                let idle = |there: &DestinationEntry| there.active_connections == 0;
                let entries = counts.into_iter().flat_map(BTreeMap::values).flatten();
                let mut own =
                    entries.filter(|there| name.1.contains(&format!("[{}]", there.destination.key().address)));
                assert!(own.all(idle), "{name:?} has connections: {counts:?}");
            }
            // It may be another file, or somebody wants it so.
            Step::Commit if *file_before != after.file => {}
            Step::Undrain(..) => {}
            _ => panic!("{name:?} {drain:?} has ended by {step:?}"),
        }
    }
    if matches!(step, Step::Time(_)) {
        let is_due = |drain: &ipvs::Drain| drain.deadline.is_some_and(|deadline| deadline <= after.now);
        let late: Vec<_> = now.iter().filter(|(_, drain)| is_waiting(drain) && is_due(drain)).collect();
        assert!(late.is_empty(), "{late:?}");
    }
    let nobody_has_any = |counts: &Counts| counts.values().flatten().all(|there| there.active_connections == 0);
    if matches!(step, Step::Counted) && after.is_fresh && !after.is_shared() && counts.is_some_and(nobody_has_any) {
        assert!(!now.values().any(is_waiting), "nothing is left: {now:?}");
    }
}

/// Whoever goes on with what the supervisor knows is what this process is.
fn check_successor(world: &World) {
    let balancer = &world.balancer;
    let (next, _) = world.successor(world.told.clone(), None);
    assert_eq!(verdicts(&next), verdicts(balancer));
    assert_eq!(told_drains(&next), told_drains(balancer));
    assert_eq!(table(&next.pools()), table(&balancer.pools()));
    let sets = |balancer: &Balancer| (balancer.ours(), balancer.is_draining(), balancer.is_heard());
    assert_eq!(sets(&next), sets(balancer));
}

proptest! {
    #[test]
    fn drains_reloads_and_deaths_in_any_order(
        first in file(),
        steps in prop::collection::vec((step(), prop::bool::weighted(0.8)), 1..14),
    ) {
        let [mut quick, mut full] = [false, true].map(|is_full| World::new(&first, is_full));
        for (step, answers) in &steps {
            let before = (quick.file.clone(), drains(&quick.balancer), quick.counted.clone());
            let (verdicts_before, was_stale) = (verdicts(&quick.balancer), quick.balancer.is_stale());
            quick.take(step);
            full.take(step);
            check_ends(&before, step, &quick);
            if matches!(step, Step::Crash | Step::Kill) {
                let drained = |name: &(String, String)| before.1.contains_key(&(name.0.clone(), name.1.clone(), false));
                let after = verdicts(&quick.balancer);
                for (name, (verdict, _)) in after.iter().filter(|(name, _)| drained(name) && !was_stale) {
                    let known = verdicts_before.get(name).map(|(verdict, _)| *verdict);
                    prop_assert!(quick.is_shared() || known == Some(*verdict), "{:?} was {:?}", name, known);
                }
            }
            // It may be busy.
            if *answers {
                quick.apply();
                full.apply();
                prop_assert_eq!(&quick.kernel, &table(&quick.balancer.pools()), "after {:?}", step);
            }
            prop_assert_eq!(&quick.told, &quick.balancer.facts);
            prop_assert_eq!(quick.seen(), full.seen(), "after {:?}", step);
            check_successor(&quick);
        }
    }
}
