//! The supervisor's decisions on simulated hosts: its workers and itself die after every single action, and peers,
//! addresses and advertisements on virtual links show what comes of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use vrrp_proto::{Role as Part, Snapshot};

use self::simulator::kernel::KERNEL;
use self::simulator::random::Random;
use self::simulator::scenario::{MILLI, Scenario};
use self::simulator::trace::Trace;
use self::simulator::world::World;
use super::{Action, Ended, Machine, ReadOutcome};
use crate::ipc::Role;

#[path = "../../../../vrrp-proto/tests/simulator/mod.rs"]
#[expect(dead_code, reason = "the faults of the network are for the tests of vrrp-proto")]
mod simulator;

const CHILD_WAIT: Duration = Duration::from_secs(5);
const BEAT_LIMIT: Duration = Duration::from_secs(1);
const BEAT: u64 = 300 * MILLI;
/// How long a worker takes to read its part, to commit it, and a clean-up to work.
const PREPARING: u64 = 5 * MILLI;
const COMMITTING: u64 = 2 * MILLI;
const CLEANING: u64 = 30 * MILLI;
/// The service manager starts the daemon again after this.
const SERVICE_RESTART: u64 = 2_000 * MILLI;
/// Addresses are on a host without a worker for no longer, unless its supervisor is dead too.
const ORPHANED: u64 = PREPARING + COMMITTING + CLEANING + KERNEL;

/// What processes of a host do after a while.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Prepared(u64),
    Committed(u64),
    Beat,
    Ended(Role, Ended),
    /// A stopped worker has withdrawn everything.
    Withdrawn,
    CleanedUp,
    /// The service manager starts the daemon.
    Started,
}

struct Host {
    machine: Option<Machine>,
    happenings: BTreeMap<(u64, u64), Happening>,
    orphaned_since: Option<u64>,
    /// Until then a dead supervisor excuses what nobody withdraws.
    excused_until: u64,
}

/// What dies when: counted in actions of the victim's engine, one process after the other, and of its supervisor.
#[derive(Debug, Clone, Default)]
struct Deaths {
    workers: Vec<u64>,
    supervisor: Option<u64>,
}

struct Supervised {
    world: World,
    hosts: Vec<Host>,
    epoch: Instant,
    sequence: u64,
    generation: u64,
    deaths: Deaths,
    /// The host whose processes die: the one with the highest priority.
    victim: usize,
    /// The daemon was told to stop: the service manager does not start it again.
    stopped: bool,
    /// How many actions the victim's supervisor has carried out.
    supervisor_actions: u64,
}

impl Supervised {
    fn new(seed: u64, deaths: Deaths, traced: bool) -> Self {
        let mut random = Random::new(seed);
        let scenario = std::iter::repeat_with(|| Scenario::new(&mut random)).find(is_small).unwrap();
        let host = |_| Host { machine: None, happenings: BTreeMap::new(), orphaned_since: None, excused_until: 0 };
        let hosts = (0..scenario.nodes).map(host).collect();
        let mut world = World::new(scenario, random, Trace::new(traced));
        world.describe();
        let epoch = Instant::now();
        let victim = best(&world.scenario);
        let mut it = Self {
            world,
            hosts,
            epoch,
            sequence: 0,
            generation: 1,
            deaths,
            victim,
            stopped: false,
            supervisor_actions: 0,
        };
        for node in 0..it.hosts.len() {
            it.world.disturb_node(node, 0);
            it.after(node, 0, Happening::Started);
        }
        it.next_fuse();
        it
    }

    fn now(&self) -> Instant {
        self.epoch + Duration::from_nanos(self.world.now)
    }

    fn after(&mut self, node: usize, wait: u64, happening: Happening) {
        self.sequence += 1;
        self.hosts[node].happenings.insert((self.world.now + wait, self.sequence), happening);
    }

    fn next_fuse(&mut self) {
        if !self.deaths.workers.is_empty() {
            self.world.fuse = Some((self.victim, self.deaths.workers.remove(0)));
        }
    }

    fn run_until(&mut self, end: u64) {
        while self.world.failure.is_none() && self.world.now < end {
            let due = (0..self.hosts.len()).filter_map(|node| self.due(node)).min();
            self.world.run_until(due.unwrap_or(end).clamp(self.world.now, end));
            for node in std::mem::take(&mut self.world.deaths) {
                self.worker_died(node);
            }
            for node in 0..self.hosts.len() {
                self.tend(node);
                self.check_orphans(node);
            }
        }
    }

    fn due(&self, node: usize) -> Option<u64> {
        let host = &self.hosts[node];
        let timeout = host.machine.as_ref().and_then(Machine::poll_timeout);
        let timeout = timeout.map(|due| due.saturating_duration_since(self.epoch).as_nanos());
        let happening = host.happenings.first_key_value().map(|((at, _), _)| *at);
        timeout.map(|due| u64::try_from(due).unwrap()).into_iter().chain(happening).min()
    }

    /// A fuse has killed the worker. Only a death soon after another one may be seen from outside.
    fn worker_died(&mut self, node: usize) {
        self.hosts[node].happenings.retain(|_, happening| {
            !matches!(
                happening,
                Happening::Prepared(_) | Happening::Committed(_) | Happening::Beat | Happening::Withdrawn
            )
        });
        if self.world.failure.is_none() {
            self.after(node, 0, Happening::Ended(Role::Vrrp, Ended::Signal(9)));
        }
        self.next_fuse();
    }

    /// What is due on a host happens, then its supervisor decides.
    fn tend(&mut self, node: usize) {
        while let Some(entry) = self.hosts[node].happenings.first_entry()
            && entry.key().0 <= self.world.now
        {
            let happening = entry.remove();
            self.happen(node, happening);
        }
        let now = self.now();
        self.decide(node, |machine| machine.handle_timeout(now));
    }

    fn happen(&mut self, node: usize, happening: Happening) {
        let now = self.now();
        match happening {
            Happening::Prepared(generation) => {
                self.decide(node, |machine| machine.handle_prepared(now, Role::Vrrp, generation, Some(BEAT_LIMIT)));
            }
            Happening::Committed(generation) => {
                self.commit(node);
                self.decide(node, |machine| machine.handle_committed(now, Role::Vrrp, generation));
                self.after(node, BEAT, Happening::Beat);
            }
            Happening::Beat if self.world.nodes[node].process.is_some() => {
                self.decide(node, |machine| machine.handle_beat(now, Role::Vrrp));
                self.after(node, BEAT, Happening::Beat);
            }
            Happening::Beat => {}
            Happening::Withdrawn => {
                self.world.kill_process(node);
                self.world.nodes[node].awaited = false;
                self.decide(node, |machine| machine.handle_exit(now, Role::Vrrp, Ended::Status(0)));
            }
            Happening::Ended(role, ended) => self.decide(node, |machine| machine.handle_exit(now, role, ended)),
            Happening::CleanedUp => {
                self.world.clean_up(node);
                self.decide(node, |machine| machine.handle_exit(now, Role::Cleanup, Ended::Status(0)));
            }
            Happening::Started => {
                // A new supervisor knows nothing.
                self.world.nodes[node].snapshot = Snapshot::default();
                let needed = BTreeSet::from([Role::Vrrp]);
                self.hosts[node].machine = Some(Machine::start(now, true, needed, CHILD_WAIT));
                self.decide(node, |_| {});
            }
        }
    }

    /// The worker runs what it has prepared: from its predecessor's facts, or another configuration than until now.
    fn commit(&mut self, node: usize) {
        if self.world.nodes[node].process.is_none() {
            return self.world.start_process(node);
        }
        let mut wanted = self.world.nodes[node].wanted.clone();
        wanted.values_mut().for_each(|config| config.resources_revision += 1);
        self.world.reload(node, wanted);
    }

    /// Tells the supervisor something, and carries out what it decides.
    fn decide(&mut self, node: usize, tell: impl FnOnce(&mut Machine)) {
        if let Some(machine) = &mut self.hosts[node].machine {
            tell(machine);
        }
        while let Some(action) = self.hosts[node].machine.as_mut().and_then(Machine::poll_action) {
            self.carry_out(node, &action);
            if node == self.victim {
                self.supervisor_actions += 1;
                if self.deaths.supervisor == Some(self.supervisor_actions) {
                    return self.supervisor_dies(node);
                }
            }
        }
    }

    fn carry_out(&mut self, node: usize, action: &Action) {
        self.world.trace.line(self.world.now, || format!("node {node}: supervisor: {action:?}"));
        match *action {
            Action::Prepare(_, generation) | Action::Restore(_, generation) => {
                self.after(node, PREPARING, Happening::Prepared(generation));
            }
            Action::Commit(_, generation) => self.after(node, COMMITTING, Happening::Committed(generation)),
            Action::Stop(Role::Vrrp) => self.stop_worker(node),
            Action::Kill(Role::Vrrp) => {
                self.world.kill_process(node);
                self.worker_died(node);
            }
            Action::CleanUp => {
                self.world.nodes[node].snapshot = Snapshot::default();
                self.world.disturb_node(node, 0);
                self.after(node, CLEANING, Happening::CleanedUp);
            }
            Action::Retire(Role::Vrrp) => self.world.nodes[node].snapshot = Snapshot::default(),
            Action::Exit(_) => self.hosts[node].machine = None,
            _ => {}
        }
    }

    /// It resigns and releases; it ends once the kernel is done.
    fn stop_worker(&mut self, node: usize) {
        self.world.disturb_node(node, KERNEL);
        self.world.stop_process(node);
        self.after(node, KERNEL + MILLI, Happening::Withdrawn);
    }

    /// Its worker sees the socket close and ends by itself; a clean-up that runs goes on; the service manager starts
    /// the daemon again.
    fn supervisor_dies(&mut self, node: usize) {
        self.world.trace.line(self.world.now, || format!("node {node}: the supervisor is dead"));
        self.hosts[node].machine = None;
        self.hosts[node].excused_until = self.world.now + SERVICE_RESTART;
        self.hosts[node].happenings.retain(|_, happening| matches!(happening, Happening::CleanedUp));
        self.world.disturb_node(node, SERVICE_RESTART + KERNEL);
        if self.world.nodes[node].process.is_some() {
            self.stop_worker(node);
        }
        if !self.stopped {
            self.after(node, SERVICE_RESTART, Happening::Started);
        }
    }

    /// Addresses do not stay where no worker advertises them.
    fn check_orphans(&mut self, node: usize) {
        let (it, now) = (&self.world.nodes[node], self.world.now);
        let orphaned = it.process.is_none() && it.kernel.holdings.iter().any(|holding| holding.present);
        let host = &mut self.hosts[node];
        host.orphaned_since = orphaned.then(|| host.orphaned_since.unwrap_or(now));
        if host.orphaned_since.is_some_and(|since| now > since.max(host.excused_until) + ORPHANED) {
            self.world.fail(|| format!("node {node}: addresses stay although no worker runs"));
        }
    }

    /// The service manager stops the daemon once it runs.
    fn stop(&mut self) {
        if self.hosts[self.victim].machine.is_none() {
            self.run_until(self.world.now + SERVICE_RESTART + KERNEL);
        }
        self.stopped = true;
        self.world.disturb_node(self.victim, KERNEL);
        let now = self.now();
        self.decide(self.victim, |machine| machine.handle_stop(now));
    }

    fn reload(&mut self) {
        self.generation += 1;
        let (now, node, generation) = (self.now(), self.victim, self.generation);
        self.world.disturb_node(node, 0);
        self.decide(node, |machine| machine.handle_reload(now));
        let needed = BTreeSet::from([Role::Vrrp]);
        let outcome = ReadOutcome::Usable { generation, needed, child_wait: CHILD_WAIT };
        self.decide(node, |machine| machine.handle_reading(now, outcome));
    }
}

/// Few hosts and short intervals: there are hundreds of runs, one for each moment at which something can die.
fn is_small(scenario: &Scenario) -> bool {
    let configs = || scenario.routers.iter().flat_map(|router| router.members.values());
    let longest = configs().map(|config| config.advertisement_interval.duration()).max();
    scenario.nodes <= 3 && scenario.routers.len() <= 3 && longest < Some(Duration::from_millis(600))
}

/// The node with the highest priority, which is Active unless something goes wrong.
fn best(scenario: &Scenario) -> usize {
    let members = scenario.routers[0].members.iter();
    members.max_by_key(|(_, config)| config.priority).map_or(0, |(node, _)| *node)
}

/// A start, a long quiet time with a reload in it, and a stop.
fn play(seed: u64, deaths: &Deaths, traced: bool) -> Supervised {
    let mut it = Supervised::new(seed, deaths.clone(), traced);
    let quiet = it.world.settling() + it.world.longest_active_down_interval();
    it.run_until(quiet);
    it.reload();
    it.run_until(2 * quiet);
    it.stop();
    it.run_until(3 * quiet);
    it.check_end();
    it
}

impl Supervised {
    /// The victim was stopped for good; somebody else has its addresses.
    fn check_end(&mut self) {
        let victim = self.victim;
        let stopped = self.hosts[victim].machine.is_none();
        let left = self.world.nodes[victim].kernel.holdings.iter().any(|holding| holding.present);
        if !stopped || left {
            self.world.fail(|| format!("the stopped host has no supervisor: {stopped}; it has addresses: {left}"));
        }
        for router in 0..self.world.scenario.routers.len() {
            let mut others = (0..self.hosts.len()).filter(|node| *node != victim);
            let backup = others.any(|node| self.world.nodes[node].role(router) == Part::Backup);
            if self.world.active(router).is_empty() && backup {
                self.world.fail(|| format!("router {router}: nobody took over from the stopped host"));
            }
        }
    }
}

/// Plays with these deaths; how many actions the victim's engine and its supervisor carried out.
fn survive(seed: u64, deaths: &Deaths) -> (u64, u64) {
    let played = play(seed, deaths, false);
    if let Some(rule) = &played.world.failure {
        let trace = play(seed, deaths, true).world.trace.lines(false);
        panic!("{}\nseed {seed}, {deaths:?}: {rule}", trace.join("\n"));
    }
    (played.world.actions[played.victim], played.supervisor_actions)
}

/// Three in which the victim is Active and has much to do.
fn seeds() -> impl Iterator<Item = u64> {
    (1..).filter(|seed| survive(*seed, &Deaths::default()).0 > 100).take(3)
}

#[test]
fn a_worker_may_die_after_any_action() {
    for seed in seeds() {
        let (actions, _) = survive(seed, &Deaths::default());
        for action in 1..=actions {
            survive(seed, &Deaths { workers: vec![action], supervisor: None });
        }
    }
}

/// The second death makes the restart wait, and the addresses are cleaned up; the third one longer.
#[test]
fn its_successors_may_die_after_any_action() {
    for seed in seeds() {
        for action in 1..=40 {
            survive(seed, &Deaths { workers: vec![60, action], supervisor: None });
            survive(seed, &Deaths { workers: vec![60, 1, action], supervisor: None });
        }
    }
}

#[test]
fn a_supervisor_may_die_after_any_action_of_its_own() {
    for seed in seeds() {
        let deaths = Deaths { workers: vec![60, 10], supervisor: None };
        let (_, actions) = survive(seed, &deaths);
        for action in 1..actions {
            survive(seed, &Deaths { supervisor: Some(action), ..deaths.clone() });
        }
    }
}
