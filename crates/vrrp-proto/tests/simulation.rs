//! Routers on a virtual LAN under a virtual clock: seeded loss, delay, duplication, reordering, corruption, partition,
//! crash, restart and slow kernels. Real octets travel from `Transmitter` to `Receiver`.
//!
//! A failure prints its seed; `VRRP_SIMULATION_SEED=N cargo test -p vrrp-proto --test simulation` runs that one alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vrrp_proto::{
    Action, AdvertisementInterval, Engine, Family, GROUP_IPV4, Instant, LinkFacts, LinkId, Ownership, Packet, Priority,
    Receiver, Role, RouterConfig, RouterId, Snapshot, Ticket, Transmitter, UnixTime, Version, Vrid, WireConfig,
};

const SEEDS: u64 = 400;
const ROUTER: RouterId = RouterId(1);
const LINK: LinkId = LinkId(1);
const MILLI: u64 = 1_000_000;
/// The longest way of a packet while the LAN is sound.
const DELAY: u64 = 3 * MILLI;
/// The longest work of a sound kernel.
const KERNEL: u64 = 20 * MILLI;
/// Boot times differ; some clocks pass 2^32 µs and 2^32 ms during the run.
const CLOCKS: [u64; 4] = [0, 77 * MILLI, (1 << 32) * 1_000 - 2_000 * MILLI, (1 << 32) * MILLI - 3_000 * MILLI];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

enum Event {
    Packet { to: usize, octets: Vec<u8> },
    Kernel { node: usize, life: u32, ownership: Ownership, ticket: Ticket },
}

/// How the LAN treats packets, in percent.
#[derive(Clone, Copy, Default)]
struct Weather {
    loss: u64,
    duplication: u64,
    corruption: u64,
    extra_delay: u64,
}

struct Node {
    engine: Option<Engine>,
    config: RouterConfig,
    receiver: Receiver,
    transmitter: Transmitter,
    address: IpAddr,
    clock: u64,
    /// Counts processes, so that the kernel's answer to a dead one gets lost.
    life: u32,
    facts: Snapshot,
    /// Whether the kernel has the virtual address.
    holds: bool,
    announced: bool,
    kernel_free: u64,
    kernel_hangs: bool,
    side: u8,
}

impl Node {
    fn role(&self) -> Role {
        self.engine.as_ref().and_then(|engine| engine.router(ROUTER)).map_or(Role::Stopped, |router| router.role())
    }

    fn local(&self, now: u64) -> Instant {
        Instant::from_nanos(now + self.clock)
    }
}

/// How often each thing happened over all seeds; none may be zero.
#[derive(Default)]
struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

struct Lan<'a> {
    seed: u64,
    random: Random,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    nodes: Vec<Node>,
    weather: Weather,
    counts: &'a mut Counts,
    trace: Vec<String>,
}

impl<'a> Lan<'a> {
    fn new(seed: u64, counts: &'a mut Counts) -> Self {
        let mut random = Random(seed);
        let version = if random.chance(50) { Version::V2 } else { Version::V3 };
        let interval = match version {
            Version::V2 => Duration::from_secs(1 + random.below(2)),
            Version::V3 => Duration::from_millis(100 + 10 * random.below(100)),
        };
        let preempt_mode = random.chance(70);
        let nodes = (0..2 + random.below(4))
            .map(|index| node(index as u8 + 1, version, interval, preempt_mode, &mut random))
            .collect();
        Self {
            seed,
            random,
            now: 10_000 * MILLI,
            sequence: 0,
            queue: BTreeMap::new(),
            nodes,
            weather: Weather::default(),
            counts,
            trace: Vec::new(),
        }
    }

    fn check(&self, holds: bool, rule: &str) {
        let tail = self.trace.len().saturating_sub(60);
        assert!(holds, "seed {}: at {} ms: {rule}\n{}", self.seed, self.now / MILLI, self.trace[tail..].join("\n"));
    }

    fn start(&mut self, index: usize, snapshot: Option<Snapshot>) {
        let (now, node) = (self.now, &mut self.nodes[index]);
        node.life += 1;
        let local = node.local(now);
        let mut engine = snapshot.map_or_else(Engine::new, Engine::resume);
        let ipv4_source = match node.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        engine.handle_link(local, LINK, LinkFacts { up: true, ipv4_source, ipv6_source: None });
        engine.reconfigure(local, &[(ROUTER, node.config.clone())]);
        node.engine = Some(engine);
        self.drain(index);
    }

    /// The process dies; its addresses stay, unless the whole host dies.
    fn kill(&mut self, index: usize, with_host: bool) {
        let node = &mut self.nodes[index];
        node.engine = None;
        node.life += 1;
        if with_host {
            node.holds = false;
        }
        let line = format!("{:>9} ms  node {index} killed, host too: {with_host}", self.now / MILLI);
        self.trace.push(line);
    }

    fn with(&mut self, index: usize, call: impl FnOnce(&mut Engine, Instant)) {
        let local = self.nodes[index].local(self.now);
        if let Some(engine) = &mut self.nodes[index].engine {
            call(engine, local);
            self.drain(index);
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(action) = self.nodes[index].engine.as_mut().and_then(Engine::poll_action) {
            let line = format!("{:>9} ms  node {index} {action:?}", self.now / MILLI);
            self.trace.push(line);
            match action {
                Action::Fact { router, snapshot } => {
                    self.nodes[index].facts.routers.insert(router, snapshot);
                }
                Action::Advertise { priority, .. } => self.send(index, priority),
                Action::Apply { ownership, ticket, .. } => self.apply(index, ownership, ticket),
                Action::Announce { .. } => {
                    self.check(self.nodes[index].holds, "announced an address that is not held");
                    self.nodes[index].announced = true;
                    self.counts.add("announcement");
                }
                Action::Notify { .. } => self.counts.add("notification"),
                _ => {}
            }
        }
    }

    fn send(&mut self, from: usize, priority: Priority) {
        let mut octets = Vec::new();
        let node = &mut self.nodes[from];
        let advert = node.transmitter.begin(priority, UnixTime::EPOCH);
        node.transmitter.emit(&advert, node.address, IpAddr::V4(GROUP_IPV4), &mut octets).unwrap();
        for to in 0..self.nodes.len() {
            if to == from || self.nodes[to].side != self.nodes[from].side {
                continue;
            }
            if self.random.chance(self.weather.loss) {
                self.counts.add("loss");
                continue;
            }
            let copies = if self.random.chance(self.weather.duplication) { 2 } else { 1 };
            for _ in 0..copies {
                let mut octets = octets.clone();
                if self.random.chance(self.weather.corruption) {
                    self.counts.add("corruption");
                    // Past the IP header, which the kernel checks.
                    let bit = 160 + self.random.below(octets.len() as u64 * 8 - 160) as usize;
                    octets[bit / 8] ^= 1 << (bit % 8);
                }
                let delay = self.random.below(DELAY) + self.random.below(self.weather.extra_delay + 1);
                self.push(self.now + delay, Event::Packet { to, octets });
            }
        }
    }

    fn apply(&mut self, index: usize, ownership: Ownership, ticket: Ticket) {
        let work = self.random.below(KERNEL);
        let node = &mut self.nodes[index];
        node.kernel_free = node.kernel_free.max(self.now) + work;
        let (life, at) = (node.life, node.kernel_free);
        self.push(at, Event::Kernel { node: index, life, ownership, ticket });
    }

    fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), event);
    }

    fn run(&mut self, duration: u64) {
        let end = self.now + duration;
        let mut steps = 0;
        loop {
            let timer = (0..self.nodes.len()).filter_map(|index| Some((self.timer(index)?, index))).min();
            let event = self.queue.first_key_value().map(|(key, _)| key.0);
            let Some(next) = timer.map(|(due, _)| due).into_iter().chain(event).min().filter(|due| *due <= end) else {
                break;
            };
            self.check(next >= self.now, "a timer in the past");
            steps = if next == self.now { steps + 1 } else { 0 };
            self.check(steps < 10_000, "time stands still: something due is never done");
            self.now = next;
            match timer.filter(|(due, _)| *due == next) {
                Some((_, index)) => self.with(index, Engine::handle_timeout),
                None => {
                    let event = self.queue.pop_first().unwrap().1;
                    self.happen(event);
                }
            }
        }
        self.now = end;
    }

    fn timer(&self, index: usize) -> Option<u64> {
        let node = &self.nodes[index];
        Some(node.engine.as_ref()?.poll_timeout()?.as_nanos() - node.clock)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { to, octets } => {
                let packet = Packet::from_ipv4(&octets).unwrap();
                match self.nodes[to].receiver.receive(&packet, UnixTime::EPOCH) {
                    Ok(verified) => self.with(to, |engine, now| {
                        engine.handle_advertisement(now, ROUTER, packet.source, &verified.advertisement);
                    }),
                    Err(_) => self.counts.add("discard"),
                }
            }
            Event::Kernel { node, life, ownership, ticket } => {
                let it = &mut self.nodes[node];
                if it.life != life || it.kernel_hangs {
                    return;
                }
                let gained = !it.holds && ownership == Ownership::Held;
                it.holds = ownership == Ownership::Held;
                it.announced &= !gained;
                self.with(node, |engine, now| engine.handle_applied(now, ROUTER, ticket));
            }
        }
    }

    fn active(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&index| self.nodes[index].role() == Role::Active).collect()
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&index| self.nodes[index].engine.is_some()).collect()
    }

    fn interval(&self) -> u64 {
        self.nodes[0].config.advertisement_interval.duration().as_nanos() as u64
    }

    /// Active_Down_Interval of the node that waits longest or shortest.
    fn active_down_intervals(&self, of: &[usize]) -> (u64, u64) {
        let intervals = of.iter().map(|&index| {
            let config = &self.nodes[index].config;
            config.active_down_interval(config.advertisement_interval, config.priority).as_nanos() as u64
        });
        (intervals.clone().min().unwrap_or(0), intervals.max().unwrap_or(0))
    }

    /// Best by priority, then address.
    fn best(&self, of: &[usize]) -> usize {
        *of.iter().max_by_key(|&&index| (self.nodes[index].config.priority, self.nodes[index].address)).unwrap()
    }

    /// Without faults: one Active Router, which alone holds the address and announced it; with preemption the best one.
    fn check_settled(&mut self) {
        let (_, longest) = self.active_down_intervals(&self.alive());
        self.run(2 * longest + self.interval());
        for _ in 0..40 {
            let active = self.active();
            self.check(active.len() == 1, "exactly one Active Router");
            let only = active[0];
            for index in self.alive() {
                self.check(self.nodes[index].holds == (index == only), "only the Active Router holds the address");
            }
            self.check(self.nodes[only].announced, "the address was announced");
            if self.nodes[only].config.preempt_mode {
                self.check(only == self.best(&self.alive()), "the best router is Active");
            }
            self.run(self.interval() / 10);
        }
    }

    /// The host of the Active Router dies.
    fn death(&mut self) {
        let active = self.active()[0];
        self.kill(active, true);
        let alive = self.alive();
        if !alive.is_empty() {
            let (soonest, _) = self.active_down_intervals(&alive);
            self.run(soonest + DELAY);
            self.check(!self.active().is_empty(), "some Active Router within Active_Down_Interval of a death");
            self.run(self.interval() + DELAY);
            self.check(self.active().len() == 1, "only one soon after");
            self.check_settled();
        }
        self.counts.add("death");
        self.start(active, None);
        self.check_settled();
    }

    /// The Active Router resigns: somebody follows within the longest Skew_Time.
    fn resignation(&mut self) {
        let active = self.active()[0];
        self.with(active, |engine, now| engine.shutdown(now));
        self.run(KERNEL);
        self.check(!self.nodes[active].holds, "a stopped router leaves nothing behind");
        self.kill(active, false);
        let alive = self.alive();
        if !alive.is_empty() {
            let skews = alive.iter().map(|&index| {
                let config = &self.nodes[index].config;
                config.advertisement_interval.skew_time(config.priority).as_nanos() as u64
            });
            let soonest = skews.min().unwrap();
            self.run(soonest + DELAY);
            self.check(!self.active().is_empty(), "some Active Router within Skew_Time of a resignation");
        }
        self.counts.add("resignation");
        self.start(active, None);
        self.check_settled();
    }

    /// The process of the Active Router dies and another goes on with its snapshot: nobody else notices.
    fn restart(&mut self) {
        let active = self.active()[0];
        self.kill(active, false);
        let pause = self.random.below(2 * self.interval() - 2 * DELAY);
        self.run(pause);
        let snapshot = self.nodes[active].facts.clone();
        let before: Vec<_> = self.nodes.iter().map(|node| node.facts.routers[&ROUTER].last_transition).collect();
        self.start(active, Some(snapshot));
        let (_, longest) = self.active_down_intervals(&self.alive());
        self.run(2 * longest);
        let after: Vec<_> = self.nodes.iter().map(|node| node.facts.routers[&ROUTER].last_transition).collect();
        self.check(self.active() == [active] && before == after, "a restart is no transition");
        self.counts.add("restart");
    }

    /// A process that comes back too late to go on as Active withdraws.
    fn late_restart(&mut self) {
        let active = self.active()[0];
        self.kill(active, false);
        let (_, longest) = self.active_down_intervals(&[active]);
        self.run(longest + 1);
        let snapshot = self.nodes[active].facts.clone();
        let owner = self.nodes[active].config.is_owner();
        self.start(active, Some(snapshot));
        self.check(owner || self.nodes[active].role() == Role::Backup, "a late restart starts as Backup");
        self.counts.add("late restart");
        self.check_settled();
    }

    /// The LAN falls into two and heals.
    fn partition(&mut self) {
        for node in &mut self.nodes {
            node.side = (self.random.next() % 2) as u8;
        }
        let (_, longest) = self.active_down_intervals(&self.alive());
        self.run(longest + self.interval() + 2 * DELAY);
        for side in 0..2 {
            let members = (0..self.nodes.len()).filter(|&index| self.nodes[index].side == side).count();
            let active = self.active().into_iter().filter(|&index| self.nodes[index].side == side).count();
            self.check(active == usize::from(members > 0), "one Active Router on each side");
        }
        if self.active().len() == 2 {
            self.counts.add("split brain");
        }
        for node in &mut self.nodes {
            node.side = 0;
        }
        self.run(self.interval() + DELAY);
        self.check(self.active().len() == 1, "only one Active Router within Advertisement_Interval of a heal");
        self.check_settled();
    }

    /// Loss, duplication, corruption and reordering for a while.
    fn storm(&mut self) {
        self.weather = Weather {
            loss: self.random.below(80),
            duplication: self.random.below(50),
            corruption: self.random.below(50),
            extra_delay: self.random.below(2 * self.interval()),
        };
        self.run(10 * self.interval());
        let late = self.weather.extra_delay;
        self.weather = Weather::default();
        self.counts.add("storm");
        self.run(late + DELAY);
        self.check_settled();
    }

    /// The kernel of the next Active Router hangs: it resigns, another one takes over with its address in place.
    fn hanging_kernel(&mut self) {
        if self.nodes.len() < 3 {
            return;
        }
        let active = self.active()[0];
        let others: Vec<_> = self.alive().into_iter().filter(|&index| index != active).collect();
        let next = self.best(&others);
        self.nodes[next].kernel_hangs = true;
        self.kill(active, true);
        let (_, longest) = self.active_down_intervals(&others);
        self.run(3 * longest);
        let holders = self.active().into_iter().filter(|&index| self.nodes[index].holds).count();
        self.check(holders == 1, "a router with a sound kernel holds the address");
        self.check(self.nodes[next].role() == Role::Fault, "the router with the hanging kernel is in fault");
        self.counts.add("hanging kernel");
        self.nodes[next].kernel_hangs = false;
        self.kill(next, true);
        self.start(next, None);
        self.start(active, None);
        self.check_settled();
    }

    /// Somebody removes the virtual address by hand.
    fn lost_address(&mut self) {
        let active = self.active()[0];
        self.nodes[active].holds = false;
        self.with(active, |engine, now| engine.handle_address_lost(now, ROUTER));
        self.run(KERNEL + 1);
        self.check(self.active() == [active] && self.nodes[active].holds, "the address is put back");
        self.check(self.nodes[active].announced, "and announced");
        self.counts.add("lost address");
        self.run(10_000 * MILLI);
    }
}

fn node(number: u8, version: Version, interval: Duration, preempt_mode: bool, random: &mut Random) -> Node {
    let vrid = Vrid::new(51).unwrap();
    let interval = AdvertisementInterval::nearest(version, interval);
    let mut config = RouterConfig::new(vrid, Family::Ipv4);
    config.version = version;
    config.advertisement_interval = interval;
    // A tenth of them share a priority.
    config.priority = Priority(if random.chance(10) { 100 } else { 10 + 40 * number + random.below(30) as u8 });
    config.preempt_mode = preempt_mode;
    config.link = Some(LINK);
    config.addresses = vec![IpAddr::from([10, 9, 0, 100])];
    let mut wire = WireConfig::new(vrid, version, Family::Ipv4);
    wire.advertisement_interval = interval;
    wire.addresses.clone_from(&config.addresses);
    Node {
        engine: None,
        config,
        receiver: Receiver::new(wire.clone()),
        transmitter: Transmitter::new(wire).unwrap(),
        address: IpAddr::from([10, 9, 0, number]),
        clock: CLOCKS[random.below(CLOCKS.len() as u64) as usize],
        life: 0,
        facts: Snapshot::default(),
        holds: false,
        announced: false,
        kernel_free: 0,
        kernel_hangs: false,
        side: 0,
    }
}

/// Names the seed of a panic inside the engine, too.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("failed with VRRP_SIMULATION_SEED={}", self.0);
        }
    }
}

fn simulate(seed: u64, counts: &mut Counts) {
    let _seed = Seed(seed);
    let mut lan = Lan::new(seed, counts);
    for index in 0..lan.nodes.len() {
        let pause = lan.random.below(500 * MILLI);
        lan.run(pause);
        lan.start(index, None);
    }
    lan.check_settled();
    for _ in 0..6 {
        match lan.random.below(8) {
            0 => lan.death(),
            1 => lan.resignation(),
            2 => lan.restart(),
            3 => lan.late_restart(),
            4 => lan.partition(),
            5 => lan.storm(),
            6 => lan.hanging_kernel(),
            _ => lan.lost_address(),
        }
    }
}

#[test]
fn a_lan_survives_its_faults() {
    let mut counts = Counts::default();
    match option_env!("VRRP_SIMULATION_SEED").and_then(|seed| seed.parse().ok()) {
        Some(seed) => simulate(seed, &mut counts),
        None => {
            (0..SEEDS).for_each(|seed| simulate(seed, &mut counts));
            println!("{:?}", counts.0);
            for kind in [
                "announcement",
                "notification",
                "loss",
                "corruption",
                "discard",
                "death",
                "resignation",
                "restart",
                "late restart",
                "split brain",
                "storm",
                "hanging kernel",
                "lost address",
            ] {
                assert!(counts.0.contains_key(kind), "no {kind} in any seed");
            }
        }
    }
}
