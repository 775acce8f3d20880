//! What must hold at every step. The bounds are worked out here anew, from RFC 9568 §6.1: the engine's own arithmetic
//! is what is tested.
//!
//! A *disturbance* is anything that may move a virtual router for a good reason. From the last one on its bounds count.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vrrp_proto::{Action, Authentication, Event, FaultReason, Ownership, Priority, Role, RouterConfig, Version};

use super::kernel::KERNEL;
use super::network::DELAY;
use super::scenario::{MILLI, RouterSpec, Scenario};
use super::world::World;

/// Every change of role that some seed must show.
pub(crate) const TRANSITIONS: [&str; 12] = [
    "transition: Stopped to Backup",
    "transition: Stopped to Active",
    "transition: Stopped to Fault",
    "transition: Backup to Active",
    "transition: Backup to Fault",
    "transition: Backup to Stopped",
    "transition: Active to Backup",
    "transition: Active to Fault",
    "transition: Active to Stopped",
    "transition: Fault to Backup",
    "transition: Fault to Active",
    "transition: Fault to Stopped",
];

#[derive(Debug)]
pub(crate) struct Checks {
    routers: Vec<Watch>,
    /// By node and virtual router.
    witnesses: Vec<BTreeMap<usize, Witness>>,
    tick: u64,
    next_tick: u64,
}

/// What is known of one virtual router.
#[derive(Debug)]
struct Watch {
    /// Until then it is or may be disturbed.
    settled_at: u64,
    /// The longest Advertisement_Interval that any member ever had.
    interval: u64,
    down_timer_adverts: u64,
    preempt_delay: u64,
    segments: BTreeMap<u32, Segment>,
}

/// The members that reach each other.
#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    none_since: Option<u64>,
    two_since: Option<u64>,
}

/// What one member showed.
#[derive(Debug, Clone, Copy)]
struct Witness {
    alive: bool,
    starting: bool,
    role: Role,
    since: u64,
    /// The newest fact at the supervisor.
    told: Option<Role>,
    /// The last advertisement as Active, and the interval that held then.
    sent: Option<(u64, u64)>,
    /// When the last lower priority came that was answered, and the interval that held then.
    answered: Option<(u64, u64)>,
    /// The last advertisement that the supervisor knows of, which a death may have kept from being sent.
    claimed: Option<Claim>,
    /// That of the processes before.
    inherited: Option<Claim>,
    /// When it heard priority 0, until it hears another one.
    resigned: Option<u64>,
    unapplied_since: Option<u64>,
    /// Whether it says that it hears another Active Router.
    conflict: bool,
    /// The lowest priority since Active_Down_Timer was set: the one that Skew_Time may have been worked out with.
    floor: Priority,
}

impl Witness {
    const fn new() -> Self {
        Self {
            alive: false,
            starting: false,
            role: Role::Stopped,
            since: 0,
            told: None,
            sent: None,
            answered: None,
            claimed: None,
            inherited: None,
            resigned: None,
            unapplied_since: None,
            conflict: false,
            floor: Priority(1),
        }
    }

    fn live_role(&self) -> Role {
        if self.alive { self.role } else { Role::Stopped }
    }
}

/// An advertisement that peers count on.
#[derive(Debug, Clone, Copy)]
struct Claim {
    sent: u64,
    /// No peer waits for less after it.
    patience: u64,
}

/// An accepted advertisement, before the engine gets it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) node: usize,
    pub(crate) router: usize,
    /// From when on it counts.
    pub(crate) came: u64,
    pub(crate) source: IpAddr,
    pub(crate) theirs: Priority,
    pub(crate) role: Role,
    pub(crate) advertised: u64,
    /// As Active it has been silent for longer than peers wait.
    pub(crate) missed: bool,
}

impl Checks {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let routers: Vec<_> = scenario.routers.iter().map(Watch::new).collect();
        let tick = routers.iter().map(|watch| watch.interval).min().unwrap_or(1) / 4;
        Self {
            routers,
            witnesses: (0..scenario.nodes).map(|node| witnesses(scenario, node)).collect(),
            tick,
            next_tick: 0,
        }
    }
}

fn witnesses(scenario: &Scenario, node: usize) -> BTreeMap<usize, Witness> {
    let routers = scenario.routers.iter().enumerate();
    routers.filter(|(_, spec)| spec.members.contains_key(&node)).map(|(at, _)| (at, Witness::new())).collect()
}

impl Watch {
    fn new(spec: &RouterSpec) -> Self {
        let mut watch =
            Self { settled_at: 0, interval: 0, down_timer_adverts: 1, preempt_delay: 0, segments: BTreeMap::new() };
        spec.members.values().for_each(|config| watch.widen(config));
        watch
    }

    fn widen(&mut self, config: &RouterConfig) {
        self.interval = self.interval.max(own_interval(config));
        self.down_timer_adverts = self.down_timer_adverts.max(config.down_timer_adverts.into());
        self.preempt_delay = self.preempt_delay.max(config.preempt_delay.as_nanos() as u64);
    }

    /// The longest Active_Down_Interval of any member.
    fn active_down_interval(&self, version: Version) -> u64 {
        self.down_timer_adverts * self.interval + skew_time(version, self.interval, Priority(1))
    }

    /// So long after the last disturbance everything is as it should be.
    fn settling(&self, version: Version) -> u64 {
        3 * self.active_down_interval(version) + self.preempt_delay + self.interval + KERNEL + 10 * DELAY
    }
}

fn own_interval(config: &RouterConfig) -> u64 {
    config.advertisement_interval.duration().as_nanos() as u64
}

/// What the peers of a router wait at least after each of its advertisements. No router counts on peers that wait longer
/// than the RFC has it.
fn least_patience(config: &RouterConfig) -> u64 {
    let interval = own_interval(config);
    u64::from(config.down_timer_adverts.min(3)) * interval + skew_time(config.version, interval, Priority::OWNER)
}

/// Skew_Time: RFC 2338 §6.1 for version 2, RFC 9568 §6.1 for version 3.
fn skew_time(version: Version, interval: u64, priority: Priority) -> u64 {
    let whole = match version {
        Version::V2 => 1_000_000_000,
        Version::V3 => interval,
    };
    whole * (256 - u64::from(priority.0)) / 256
}

impl World {
    /// The longest Active_Down_Interval of any member.
    pub(crate) fn active_down_interval(&self, router: usize) -> u64 {
        self.checks.routers[router].active_down_interval(self.scenario.routers[router].version)
    }

    /// How long everything may take to be as it should be.
    pub(crate) fn settling(&self) -> u64 {
        let routers = self.checks.routers.iter().zip(&self.scenario.routers);
        routers.map(|(watch, spec)| watch.settling(spec.version)).max().unwrap_or(0)
    }

    /// A virtual router, and those that move with it, may move for a good reason, now and for so long.
    pub(crate) fn disturb_router(&mut self, router: usize, lasts: u64) {
        let until = self.now + lasts;
        for other in self.scenario.companions(router).iter().chain([&router]) {
            let settled_at = &mut self.checks.routers[*other].settled_at;
            *settled_at = until.max(*settled_at);
        }
    }

    pub(crate) fn disturb_node(&mut self, node: usize, lasts: u64) {
        for router in self.checks.witnesses[node].keys().copied().collect::<Vec<_>>() {
            self.disturb_router(router, lasts);
        }
    }

    pub(crate) fn disturb_link(&mut self, link: usize, lasts: u64) {
        for router in 0..self.scenario.routers.len() {
            if self.scenario.routers[router].link == link {
                self.disturb_router(router, lasts);
                self.resegment(router);
            }
        }
    }

    /// The process of a node will be away for less than anybody's patience: where all is settled nothing may move, but for a
    /// fault that the next process does not know of.
    pub(crate) fn excuse(&mut self, node: usize, pause: u64) {
        for router in self.checks.witnesses[node].keys().copied().collect::<Vec<_>>() {
            if !self.is_settled(router) || self.is_not_applied(node, router) {
                self.disturb_router(router, pause);
            }
        }
    }

    fn is_settled(&self, router: usize) -> bool {
        let settling = |member: &usize| self.checks.routers[*member].settling(self.scenario.routers[*member].version);
        let longest = self.scenario.companions(router).iter().chain([&router]).map(settling).max();
        self.now > self.checks.routers[router].settled_at + longest.unwrap_or(0)
    }

    /// Another configuration: the longest intervals ever seen bound the time.
    pub(crate) fn widen_intervals(&mut self, wanted: &BTreeMap<usize, RouterConfig>) {
        for (router, config) in wanted {
            self.checks.routers[*router].widen(config);
        }
    }

    pub(crate) fn before_start(&mut self, node: usize) {
        for witness in self.checks.witnesses[node].values_mut() {
            let inherited = witness.claimed.or(witness.inherited);
            let (since, role) = (self.now, witness.role);
            *witness = Witness { alive: true, starting: true, since, role, inherited, ..Witness::new() };
        }
    }

    pub(crate) fn after_start(&mut self, node: usize) {
        for router in self.checks.witnesses[node].keys().copied().collect::<Vec<_>>() {
            self.check_resumption(node, router);
            if let Some(witness) = self.checks.witnesses[node].get_mut(&router) {
                witness.starting = false;
            }
        }
        self.resegment_all(node);
    }

    /// Who goes on as Active advertised so lately that no peer can have taken over.
    fn check_resumption(&mut self, node: usize, router: usize) {
        let wire = self.nodes[node].process.as_ref().and_then(|process| process.wires.get(&router));
        let resumed = wire.is_some_and(|wire| wire.resumed > 0);
        let inherited = self.checks.witnesses[node].get(&router).and_then(|witness| witness.inherited);
        if resumed && inherited.is_none_or(|claim| self.now > claim.sent + claim.patience) {
            self.fail(|| format!("router {router}: node {node} goes on as Active though a peer may have taken over"));
        }
    }

    pub(crate) fn after_death(&mut self, node: usize) {
        for witness in self.checks.witnesses[node].values_mut() {
            witness.alive = false;
        }
        self.resegment_all(node);
    }

    /// What follows the last process does not go on where it was.
    pub(crate) fn forget_roles(&mut self, node: usize) {
        for witness in self.checks.witnesses[node].values_mut() {
            witness.role = Role::Stopped;
        }
    }

    fn resegment_all(&mut self, node: usize) {
        for router in self.checks.witnesses[node].keys().copied().collect::<Vec<_>>() {
            self.resegment(router);
        }
    }

    /// Counts who is Active in each segment, and since when.
    fn resegment(&mut self, router: usize) {
        let link = self.scenario.routers[router].link;
        let mut active: BTreeMap<u32, u32> = BTreeMap::new();
        for (node, witnesses) in self.checks.witnesses.iter().enumerate() {
            if let Some(witness) = witnesses.get(&router) {
                let count = active.entry(self.network.segment(link, node)).or_default();
                *count += u32::from(witness.live_role() == Role::Active);
            }
        }
        let now = self.now;
        let before = std::mem::take(&mut self.checks.routers[router].segments);
        let since = |holds: bool, before: Option<u64>| holds.then(|| before.unwrap_or(now));
        let segment = |(side, count): (u32, u32)| {
            let before = before.get(&side).copied().unwrap_or_default();
            let none_since = since(count == 0, before.none_since);
            (side, Segment { none_since, two_since: since(count > 1, before.two_since) })
        };
        self.checks.routers[router].segments = active.into_iter().map(segment).collect();
    }

    /// The rules that time alone can break.
    pub(crate) fn check_time(&mut self) {
        if !self.network.tally.balanced() {
            let tally = self.network.tally;
            self.fail(|| format!("packets got lost in the books: {tally:?}"));
        }
        if self.now < self.checks.next_tick {
            return;
        }
        self.checks.next_tick = self.now + self.checks.tick;
        for router in 0..self.scenario.routers.len() {
            self.judge(router);
        }
        for node in 0..self.nodes.len() {
            self.check_rhythm(node);
            self.check_kernel(node);
        }
    }

    /// One Active Router per segment, soon, and the right one.
    fn judge(&mut self, router: usize) {
        let watch = &self.checks.routers[router];
        if self.now <= watch.settled_at {
            return;
        }
        let (settled_at, interval) = (watch.settled_at, watch.interval);
        // Of two sides that were apart, the one that has counted less is heard by the other once it has caught up.
        let counts = matches!(self.scenario.routers[router].authentication(), Authentication::Ah(_));
        let intervals = if counts { 2 } else { 1 };
        let segments: Vec<_> = watch.segments.iter().map(|(side, segment)| (*side, *segment)).collect();
        for (side, segment) in segments {
            if let Some(since) = segment.two_since
                && self.now > since.max(settled_at) + intervals * interval + 2 * DELAY
            {
                self.fail(|| format!("router {router}: two Active Routers since {} ms", since / 1_000_000));
            }
            if segment.none_since.is_some() {
                self.judge_silence(router, side);
            }
        }
        self.judge_resignations(router);
        if self.is_settled(router) {
            self.judge_election(router);
        }
    }

    /// Some Active Router within Active_Down_Interval.
    fn judge_silence(&mut self, router: usize, side: u32) {
        let link = self.scenario.routers[router].link;
        for node in 0..self.nodes.len() {
            if self.network.segment(link, node) != side {
                continue;
            }
            if let Some((since, wait)) = self.waiting(router, node)
                && self.now > since + wait + 2 * DELAY
            {
                let since = since / 1_000_000;
                self.fail(|| format!("router {router}: node {node} is Backup of nobody since {since} ms"));
            }
        }
    }

    /// If `node` is Backup of nobody, alone or with its whole group: since when, and how long it may be.
    fn waiting(&self, router: usize, node: usize) -> Option<(u64, u64)> {
        let mut longest = (0, 0);
        for member in self.scenario.companions(router).iter().chain([&router]) {
            let (watch, spec) = (&self.checks.routers[*member], &self.scenario.routers[*member]);
            let witness = self.checks.witnesses[node].get(member).filter(|it| it.live_role() == Role::Backup)?;
            let none_since = watch.segments.get(&self.network.segment(spec.link, node))?.none_since?;
            let since = none_since.max(witness.since).max(watch.settled_at);
            let adverts = u64::from(self.nodes[node].wanted.get(member)?.down_timer_adverts);
            let skew = skew_time(spec.version, watch.interval, witness.floor);
            longest = (longest.0.max(since), longest.1.max(adverts * watch.interval + skew));
        }
        Some(longest)
    }

    /// After a resignation somebody follows within Skew_Time.
    fn judge_resignations(&mut self, router: usize) {
        if !self.scenario.companions(router).is_empty() {
            return;
        }
        let (version, interval) = (self.scenario.routers[router].version, self.checks.routers[router].interval);
        for node in 0..self.nodes.len() {
            let witness = self.checks.witnesses[node].get(&router).filter(|it| it.live_role() == Role::Backup);
            let Some(resigned) = witness.and_then(|witness| witness.resigned) else { continue };
            let Some(priority) = witness.map(|witness| witness.floor) else { continue };
            let since = resigned.max(self.checks.routers[router].settled_at);
            if self.now > since + skew_time(version, interval, priority) + DELAY {
                self.fail(|| format!("router {router}: node {node} heard priority 0 and did not follow in Skew_Time"));
            }
        }
    }

    /// The highest priority that may preempt is Active, and it alone has the addresses.
    fn judge_election(&mut self, router: usize) {
        let link = self.scenario.routers[router].link;
        let whole = |member: &usize| self.checks.routers[*member].segments.len() == 1;
        if !self.scenario.companions(router).iter().all(whole) {
            return;
        }
        let active = (0..self.nodes.len()).filter(|node| self.witnessed(*node, router) == Role::Active);
        for active in active.collect::<Vec<_>>() {
            for other in 0..self.nodes.len() {
                let reached = self.network.segment(link, other) == self.network.segment(link, active);
                if other == active || !reached || self.checks.witnesses[other].get(&router).is_none_or(|it| !it.alive) {
                    continue;
                }
                let preempts = self.nodes[other].wanted.get(&router).is_some_and(RouterConfig::preempts);
                let better = self.priority(other, router) > self.priority(active, router);
                if preempts && better && self.witnessed(other, router) == Role::Backup {
                    self.fail(|| format!("router {router}: node {other} is better than the Active node {active}"));
                }
                if self.nodes[other].kernel.holdings[router].present {
                    self.fail(|| format!("router {router}: nodes {active} and {other} both have the addresses"));
                }
            }
        }
    }

    fn witnessed(&self, node: usize, router: usize) -> Role {
        self.checks.witnesses[node].get(&router).map_or(Role::Stopped, Witness::live_role)
    }

    fn priority(&self, node: usize, router: usize) -> Option<Priority> {
        let process = self.nodes[node].process.as_ref()?;
        Some(process.engine.router(RouterSpec::id(router))?.effective_priority())
    }

    /// An Active Router advertises once per Advertisement_Interval at least.
    fn check_rhythm(&mut self, node: usize) {
        if self.nodes[node].stalled {
            return;
        }
        for router in self.checks.witnesses[node].keys().copied().collect::<Vec<_>>() {
            self.check_gap(node, router);
        }
    }

    fn check_gap(&mut self, node: usize, router: usize) {
        let Some(witness) = self.checks.witnesses[node].get(&router) else { return };
        let Some((last, interval)) = witness.sent.filter(|_| witness.live_role() == Role::Active) else { return };
        let current = self.nodes[node].wanted.get(&router).map_or(0, own_interval);
        if self.now > last.max(self.nodes[node].awake_since) + interval.max(current) {
            self.fail(|| format!("router {router}: Active node {node} is silent since {} ms", last / 1_000_000));
        }
    }

    /// What is told, sent and applied comes in the order that a death between any two of them calls for.
    pub(crate) fn check_action(&mut self, node: usize, router: usize, action: &Action) {
        let Some(witness) = self.checks.witnesses[node].get_mut(&router) else { return };
        let told = witness.told;
        let starting = witness.starting;
        let config = self.nodes[node].wanted.get(&router);
        let (ours, patience) = (config.map_or(0, own_interval), config.map_or(0, least_patience));
        match action {
            Action::Fact { snapshot, .. } => {
                witness.told = Some(snapshot.role);
                let clock = self.nodes[node].clock;
                let last = snapshot.last_advertisement.map(|last| last.as_nanos().saturating_add_signed(-clock));
                let last = last.filter(|_| snapshot.role == Role::Active);
                // Another configuration counts for peers from the next advertisement on.
                let same = |claim: &Claim| Some(claim.sent) == last;
                let known = witness.claimed.or(witness.inherited).filter(same);
                witness.claimed = last.map(|sent| known.unwrap_or(Claim { sent, patience }));
            }
            Action::Advertise { priority: Priority::RESIGN, .. } if told == Some(Role::Active) => {
                self.fail(|| format!("router {router}: node {node} resigns before its supervisor knows"));
            }
            Action::Advertise { priority: Priority::RESIGN, .. } => {}
            Action::Advertise { .. } => {
                let before = witness.sent;
                witness.sent = Some((self.now, ours));
                if told != Some(Role::Active) && !(starting && told.is_none()) {
                    self.fail(|| format!("router {router}: node {node} advertises before its supervisor knows"));
                }
                self.check_sent(node, router, before);
            }
            Action::Apply { ownership, .. } => {
                let held = *ownership == Ownership::Held;
                if held != (told == Some(Role::Active)) && !(starting && told.is_none()) {
                    self.fail(|| {
                        format!("router {router}: node {node} asks for {ownership:?} before its supervisor knows")
                    });
                }
            }
            Action::Announce { .. } if !self.nodes[node].kernel.holdings[router].present => {
                self.fail(|| format!("router {router}: node {node} announces addresses that it does not have"));
            }
            Action::Record { event: Event::ConflictStarted { .. }, .. } => self.note_conflict(node, router, true),
            Action::Record { event: Event::ConflictEnded { .. }, .. } => self.note_conflict(node, router, false),
            Action::Record { event: Event::FaultCleared(FaultReason::NotApplied), .. } => {
                self.disturb_router(router, 0)
            }
            Action::Record { event: Event::FaultRaised(FaultReason::NotApplied), .. } => {
                self.disturb_router(router, 0);
                if self.nodes[node].kernel_sick_until < self.now {
                    self.fail(|| format!("router {router}: node {node} finds fault with a sound kernel"));
                }
            }
            _ => {}
        }
    }

    /// Conflicts begin and end in turn.
    fn note_conflict(&mut self, node: usize, router: usize, begins: bool) {
        let Some(witness) = self.checks.witnesses[node].get_mut(&router) else { return };
        let before = std::mem::replace(&mut witness.conflict, begins);
        self.census.count(if begins { "action: conflict begins" } else { "action: conflict ends" });
        if before == begins {
            self.fail(|| format!("router {router}: node {node}: a conflict begins or ends twice"));
        }
    }

    fn check_sent(&mut self, node: usize, router: usize, before: Option<(u64, u64)>) {
        let now = self.checks.witnesses[node].get(&router).and_then(|witness| witness.sent);
        if let Some(witness) = self.checks.witnesses[node].get_mut(&router) {
            witness.sent = before;
        }
        self.check_gap(node, router);
        if let Some(witness) = self.checks.witnesses[node].get_mut(&router) {
            witness.sent = now;
        }
    }

    /// The engine of a node has done what it wanted: roles, addresses, counters.
    pub(crate) fn check_node(&mut self, node: usize) {
        for router in self.checks.witnesses[node].keys().copied().collect::<Vec<_>>() {
            self.check_role(node, router);
            self.note_priority(node, router);
            self.check_reasons(node, router);
            self.check_counters(node, router);
        }
        self.check_groups(node);
        self.check_kernel(node);
    }

    fn check_role(&mut self, node: usize, router: usize) {
        let role = self.nodes[node].role(router);
        let Some(witness) = self.checks.witnesses[node].get(&router) else { return };
        let before = witness.role;
        if before == role {
            return;
        }
        if witness.conflict && before == Role::Active {
            self.fail(|| format!("router {router}: node {node} is no longer Active, its conflict goes on"));
        }
        self.judge(router);
        if self.is_settled(router) {
            self.fail(|| format!("router {router}: node {node} goes from {before:?} to {role:?} without a cause"));
        }
        self.trace.line(self.now, || format!("node {node}: router {router}: {before:?} -> {role:?}"));
        self.census.count(transition(before, role));
        if let Some(witness) = self.checks.witnesses[node].get_mut(&router) {
            let starting = witness.starting;
            let (told, sent) = (witness.told, witness.sent.filter(|_| role == Role::Active));
            let floor = if starting { Priority(1) } else { Priority::OWNER };
            let before = *witness;
            *witness = Witness { alive: true, starting, role, since: self.now, told, sent, floor, ..Witness::new() };
            (witness.claimed, witness.inherited) = (before.claimed, before.inherited);
        }
        self.resegment(router);
    }

    fn note_priority(&mut self, node: usize, router: usize) {
        let Some(priority) = self.priority(node, router) else { return };
        if let Some(witness) = self.checks.witnesses[node].get_mut(&router).filter(|witness| !witness.starting) {
            witness.floor = witness.floor.min(priority);
        }
    }

    /// Fault if and only if something that is needed is missing; the priority is the sum of what is written and what
    /// is tracked.
    fn check_reasons(&mut self, node: usize, router: usize) {
        let it = &self.nodes[node];
        let Some(found) = it.process.as_ref().and_then(|process| process.engine.router(RouterSpec::id(router))) else {
            return;
        };
        let Some(config) = it.wanted.get(&router).filter(|config| *config == found.config()) else { return };
        let (role, priority) = (found.role(), found.effective_priority());
        let not_applied = found.faults().contains(&FaultReason::NotApplied);
        if self.nodes[node].stalled || role == Role::Stopped {
            return;
        }
        let expected = self.expected_priority(node, config);
        if priority != expected {
            self.fail(|| format!("router {router}: node {node} has priority {}, not {}", priority.0, expected.0));
        }
        let companions = self.scenario.companions(router);
        let missing = companions.iter().chain([&router]).any(|other| self.misses_something(node, *other));
        let group_fault = companions.iter().any(|other| self.is_not_applied(node, *other));
        if (role == Role::Fault) != (missing || not_applied || group_fault) {
            self.fail(|| format!("router {router}: node {node} is {role:?}; something is missing: {missing}"));
        }
    }

    fn is_not_applied(&self, node: usize, router: usize) -> bool {
        let process = self.nodes[node].process.as_ref();
        let found = process.and_then(|process| process.engine.router(RouterSpec::id(router)));
        found.is_some_and(|found| found.faults().contains(&FaultReason::NotApplied))
    }

    fn misses_something(&self, node: usize, router: usize) -> bool {
        let it = &self.nodes[node];
        let Some(config) = it.wanted.get(&router) else { return false };
        let carrier = it.carriers[self.scenario.routers[router].link];
        !carrier || self.tracked(node, config).any(|(up, weight, reverse)| weight == 0 && up == reverse)
    }

    /// What a router tracks: whether it is up, the weight, and whether that is reversed.
    fn tracked(&self, node: usize, config: &RouterConfig) -> impl Iterator<Item = (bool, i16, bool)> {
        let it = &self.nodes[node];
        let links = config.tracked_links.iter().map(|tracked| (it.uplink, tracked.weight, tracked.reverse));
        let scripts = config.trackers.iter().map(|tracked| (it.script, tracked.weight, tracked.reverse));
        links.chain(scripts)
    }

    /// The configured priority, moved up by what is up and down by what is down, or in reverse.
    fn expected_priority(&self, node: usize, config: &RouterConfig) -> Priority {
        if config.priority == Priority::OWNER {
            return Priority::OWNER;
        }
        let movement = |(up, weight, reverse): (bool, i16, bool)| {
            let weight = i32::from(if up { weight.max(0) } else { weight.min(0) });
            if reverse { -weight } else { weight }
        };
        let sum: i32 = self.tracked(node, config).map(movement).sum();
        Priority((i32::from(config.priority.0) + sum).clamp(1, 254) as u8)
    }

    /// What the driver was told to send is what the router counts; each packet is accepted or discarded.
    fn check_counters(&mut self, node: usize, router: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let (Some(found), Some(wire)) = (process.engine.router(RouterSpec::id(router)), process.wires.get(&router))
        else {
            return;
        };
        let (sent, received) = (found.stats(), wire.receiver.stats());
        let active = sent.became_active + wire.resumed - sent.released_active;
        let adds_up = sent.advertisements_sent == wire.advertised
            && received.advertisements + received.discarded() == wire.handed
            && active == u64::from(found.role() == Role::Active);
        if !adds_up {
            let text = format!("{sent:?}, {received:?}, {} sent, {} received", wire.advertised, wire.handed);
            self.fail(|| format!("router {router}: node {node}: the counters do not add up: {text}"));
        }
    }

    /// Members of a group are Active together.
    fn check_groups(&mut self, node: usize) {
        for group in 0..self.scenario.groups.len() {
            let members = &self.scenario.groups[group];
            let active = members.iter().filter(|router| self.nodes[node].role(**router) == Role::Active).count();
            if active > 0 && active < members.len() {
                self.fail(|| format!("group {group}: on node {node} some members are Active and some are not"));
            }
        }
    }

    /// Addresses are where an Active Router is, and announced.
    fn check_kernel(&mut self, node: usize) {
        for router in self.checks.witnesses[node].keys().copied().collect::<Vec<_>>() {
            self.check_holding(node, router);
        }
    }

    fn check_holding(&mut self, node: usize, router: usize) {
        let it = &self.nodes[node];
        let holding = it.kernel.holdings[router];
        let (role, interval) = (it.role(router), self.checks.routers[router].interval);
        if it.process.is_none() {
            if holding.present && !it.awaited {
                self.fail(|| format!("router {router}: addresses stay on node {node}, where no process runs"));
            }
            return;
        }
        let awake_since = it.awake_since;
        let stalled = it.stalled;
        let settled = holding.order.is_none() && !stalled;
        let retried = !holding.accepted && self.now <= holding.answered.max(awake_since) + interval + KERNEL;
        if holding.present && role != Role::Active && settled && !retried {
            self.fail(|| format!("router {router}: node {node} is {role:?} and has the addresses"));
        }
        // A process that has just woken hears of it soon.
        let told = self.now > awake_since + MILLI;
        if holding.present && role == Role::Active && settled && told && holding.accepted && !holding.announced {
            self.fail(|| format!("router {router}: node {node} has gained addresses and does not announce them"));
        }
        let wait = self.active_down_interval(router) + KERNEL;
        let now = self.now;
        let Some(witness) = self.checks.witnesses[node].get_mut(&router) else { return };
        let missing = role == Role::Active && !holding.present;
        witness.unapplied_since = missing.then(|| witness.unapplied_since.unwrap_or(now));
        if let Some(since) = witness.unapplied_since
            && !stalled
            && now > since.max(awake_since) + wait
        {
            self.fail(|| format!("router {router}: node {node} is Active without addresses"));
        }
    }

    /// How a router takes an advertisement (RFC 9568 §6.4.2, §6.4.3).
    pub(crate) fn after_hearing(&mut self, heard: &Heard) {
        let Heard { node, router, theirs, role, .. } = *heard;
        let restarts = theirs == Priority::RESIGN || Some(theirs) >= self.priority(node, router);
        let Some(witness) = self.checks.witnesses[node].get_mut(&router).filter(|witness| witness.alive) else {
            return;
        };
        match role {
            Role::Backup => {
                witness.resigned = (theirs == Priority::RESIGN).then_some(self.now);
                if restarts {
                    witness.floor = Priority::OWNER;
                }
                let after = self.nodes[node].role(router);
                if after != Role::Backup {
                    self.fail(|| format!("router {router}: node {node} is Backup, hears {}, is {after:?}", theirs.0));
                }
                self.note_priority(node, router);
            }
            Role::Active => self.after_active_heard(heard),
            _ => {}
        }
    }

    pub(crate) fn is_missed(&self, node: usize, router: usize, came: u64) -> bool {
        let Some(config) = self.nodes[node].wanted.get(&router) else { return false };
        let patience = least_patience(config);
        let last = self.checks.witnesses[node].get(&router).and_then(|witness| witness.sent);
        last.is_some_and(|(sent, _)| came > sent + patience)
    }

    /// The virtual routers that a node is Backup of.
    pub(crate) fn listening(&self, node: usize) -> Vec<usize> {
        let routers = self.checks.witnesses[node].keys().copied();
        routers.filter(|router| self.nodes[node].role(*router) == Role::Backup).collect()
    }

    /// Nobody takes over without having listened to the end.
    pub(crate) fn check_heard(&mut self, node: usize, listening: &[usize]) {
        let it = &self.nodes[node];
        let deaf = |router: &&usize| {
            let spec = &self.scenario.routers[**router];
            let waits = it.sockets.get(&(spec.link, spec.family)).is_some_and(|socket| !socket.is_empty());
            waits && it.role(**router) == Role::Active
        };
        if let Some(router) = listening.iter().find(deaf).copied() {
            self.fail(|| format!("router {router}: node {node} takes over and has not read what waits in its socket"));
        }
    }

    fn after_active_heard(&mut self, heard: &Heard) {
        let Heard { node, router, came, source, theirs, advertised, missed, .. } = *heard;
        let (Some(ours), Some(config)) = (self.priority(node, router), self.nodes[node].wanted.get(&router)) else {
            return;
        };
        let own = self.scenario.routers[router].address(node);
        let answers = !config.lower_prio_no_advert;
        let shortest = skew_time(config.version, own_interval(config), Priority(254));
        let gives_up_stalled = config.timer_expired_backup.is_some();
        let wires = self.nodes[node].process.as_ref().map(|process| &process.wires);
        let now_advertised = wires.and_then(|wires| wires.get(&router)).map_or(0, |wire| wire.advertised);
        let answered = now_advertised > advertised;
        let still_active = self.nodes[node].role(router) == Role::Active;
        if (theirs, source) == (ours, own) || (theirs == Priority::OWNER && ours == Priority::OWNER) {
            return;
        }
        if gives_up_stalled && !still_active {
            return;
        }
        // It gives up to whoever took over.
        let missed = missed && theirs != Priority::RESIGN && theirs != Priority::OWNER;
        let yields = (theirs, source) > (ours, own) || missed;
        if still_active == yields {
            let (theirs, ours) = (theirs.0, ours.0);
            self.fail(|| {
                format!("router {router}: node {node} ({ours}) hears {theirs} from {source}; yields: {}", !yields)
            });
        }
        if theirs == Priority::RESIGN {
            // Who heard it waits for Skew_Time: an answer that is younger than the shortest one will do.
            let last = self.checks.witnesses[node].get(&router).and_then(|witness| witness.sent);
            if !answered && last.is_none_or(|(sent, _)| came > sent + shortest) {
                self.fail(|| format!("router {router}: Active node {node} hears priority 0 and says nothing"));
            }
        } else if !yields && (answers || answered) {
            self.check_answer(node, router, came, answered);
        }
    }

    /// A lower priority is answered at once, a storm of them once per Advertisement_Interval.
    fn check_answer(&mut self, node: usize, router: usize, came: u64, answered: bool) {
        let own = self.nodes[node].wanted.get(&router).map_or(0, own_interval);
        let interval = self.checks.routers[router].interval;
        let Some(witness) = self.checks.witnesses[node].get_mut(&router) else { return };
        let last = witness.answered;
        if answered {
            witness.answered = Some((came, own));
            if last.is_some_and(|(last, interval)| came < last + interval) {
                self.fail(|| format!("router {router}: node {node} answers a lower priority too often"));
            }
        } else if last.is_none_or(|(last, _)| came >= last + interval) {
            self.fail(|| format!("router {router}: node {node} does not answer a lower priority"));
        }
    }
}

fn transition(from: Role, to: Role) -> &'static str {
    let name = format!("transition: {from:?} to {to:?}");
    TRANSITIONS.into_iter().find(|known| *known == name).unwrap_or("transition: impossible")
}
