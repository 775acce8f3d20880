//! A host: its clock, its kernel, the process that runs the engine, and what outlives that process.

use std::collections::{BTreeMap, VecDeque};

use vrrp_proto::{
    Authentication, Engine, EngineConfig, Family, GroupId, Instant, LinkFacts, LinkId, Receiver, ReplayMemory,
    Reserved, Role, RouterConfig, Snapshot, TrackerConfig, Transmitter, UnixTime, Verdict,
};

use super::kernel::Kernel;
use super::network::Datagram;
use super::scenario::{MILLI, RouterSpec, SCRIPT, Scenario, UPLINK, link_facts};

#[derive(Debug)]
pub(crate) struct Node {
    /// What its clock shows less the simulation's time; negative after a boot.
    pub(crate) clock: i64,
    pub(crate) process: Option<Process>,
    /// Counts processes, so that what was meant for a dead one gets lost.
    pub(crate) life: u32,
    /// The newest facts, held by the supervisor; by virtual router what authentication needs.
    pub(crate) snapshot: Snapshot,
    pub(crate) sequences: BTreeMap<usize, (Reserved, ReplayMemory)>,
    pub(crate) kernel: Kernel,
    /// Until then it may be that addresses could not be put in place.
    pub(crate) kernel_sick_until: u64,
    pub(crate) stalled: bool,
    /// When the process last began to run.
    pub(crate) awake_since: u64,
    /// What the sockets hold that the process has not read yet: one for each link and family.
    pub(crate) sockets: BTreeMap<(usize, Family), VecDeque<Waiting>>,
    /// Somebody will start a process, or clean up.
    pub(crate) awaited: bool,
    pub(crate) carriers: Vec<bool>,
    pub(crate) uplink: bool,
    /// Whether its script succeeds.
    pub(crate) script: bool,
    /// The configuration file.
    pub(crate) wanted: BTreeMap<usize, RouterConfig>,
}

/// A packet in a socket.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// When the kernel had it.
    pub(crate) came: u64,
    pub(crate) datagram: Datagram,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) engine: Engine,
    pub(crate) wires: BTreeMap<usize, Wire>,
}

/// The way of one virtual router to the network.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) receiver: Receiver,
    pub(crate) transmitter: Transmitter,
    /// Packets given to the receiver.
    pub(crate) handed: u64,
    /// `Advertise` actions since the engine knows the router.
    pub(crate) advertised: u64,
    /// How often it went on as Active where another process ended.
    pub(crate) resumed: u64,
}

impl Node {
    pub(crate) fn new(scenario: &Scenario, index: usize) -> Self {
        let members = scenario.routers.iter().enumerate();
        let wanted = members.filter_map(|(at, spec)| Some((at, spec.members.get(&index)?.clone()))).collect();
        Self {
            clock: scenario.clocks[index] as i64,
            process: None,
            life: 0,
            snapshot: Snapshot::default(),
            sequences: BTreeMap::new(),
            kernel: Kernel::new(scenario.routers.len()),
            kernel_sick_until: 0,
            stalled: false,
            awake_since: 0,
            sockets: BTreeMap::new(),
            awaited: true,
            carriers: vec![true; scenario.links],
            uplink: true,
            script: true,
            wanted,
        }
    }

    pub(crate) fn local(&self, now: u64) -> Instant {
        Instant::from_nanos(now.saturating_add_signed(self.clock))
    }

    /// When its engine wants to be called.
    pub(crate) fn due(&self) -> Option<u64> {
        let engine = &self.process.as_ref().filter(|_| !self.stalled)?.engine;
        Some(engine.poll_timeout()?.as_nanos().saturating_add_signed(-self.clock))
    }

    pub(crate) fn role(&self, router: usize) -> Role {
        let router = self.process.as_ref().and_then(|process| process.engine.router(RouterSpec::id(router)));
        router.map_or(Role::Stopped, |router| router.role())
    }

    /// The links as the kernel reports them.
    pub(crate) fn links(&self, index: usize) -> Vec<(LinkId, LinkFacts)> {
        let facts = |(link, up): (usize, &bool)| (LinkId(link as u32), link_facts(link, index, *up));
        let uplink = (UPLINK, LinkFacts { up: self.uplink, ..LinkFacts::default() });
        self.carriers.iter().enumerate().map(facts).chain([uplink]).collect()
    }

    pub(crate) fn engine_config(&self, scenario: &Scenario) -> EngineConfig {
        let routers = self.wanted.iter().map(|(at, config)| (RouterSpec::id(*at), config.clone()));
        EngineConfig {
            routers: routers.collect(),
            groups: (1..).map(GroupId).zip(scenario.group_configs()).collect(),
            trackers: BTreeMap::from([(SCRIPT, TrackerConfig::Script { init_fail: false })]),
        }
    }

    /// What its script says.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.script { Verdict::Up } else { Verdict::Down }
    }
}

/// The time of day, on which all nodes agree but for some milliseconds.
pub(crate) fn time_of_day(now: u64, node: usize) -> UnixTime {
    UnixTime(std::time::Duration::from_nanos(1_800_000_000_000 * MILLI + now + node as u64 * MILLI))
}

impl Wire {
    pub(crate) fn new(spec: &RouterSpec, node: usize, config: &RouterConfig) -> Self {
        let wire = spec.wire(node, config);
        Self {
            receiver: Receiver::new(wire.clone()),
            transmitter: Transmitter::new(wire).unwrap(),
            handed: 0,
            advertised: 0,
            resumed: 0,
        }
    }

    /// Goes on where the wire of another process ended.
    pub(crate) fn resume(&mut self, (reserved, memory): &(Reserved, ReplayMemory)) {
        self.transmitter.resume(*reserved);
        self.transmitter.resume_behind(memory);
        self.receiver.resume(memory.clone());
    }

    /// Whether packets carry sequences.
    pub(crate) fn counts(&self) -> bool {
        matches!(self.transmitter.config().authentication, Authentication::Ah(_) | Authentication::Hmac(_))
    }
}
