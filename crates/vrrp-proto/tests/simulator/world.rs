//! Nodes, links and one virtual clock. Every step is an event of the queue or a timer of an engine.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use vrrp_proto::{
    Action, Engine, Event as Report, Family, Instant, OutgoingAdvert, Ownership, Packet, Priority, Role, RouterConfig,
    Snapshot, Ticket,
};

use super::census::Census;
use super::checks::{Checks, Heard};
use super::faults::Step;
use super::network::{Datagram, Network, Verdict, WAIT};
use super::node::{Node, Process, Waiting, Wire, time_of_day};
use super::random::Random;
use super::scenario::{MILLI, RouterSpec, SCRIPT, Scenario};
use super::trace::Trace;

/// What a socket's receive buffer holds.
const BACKLOG: usize = 64;
/// Advertisements that are due so soon leave with those that are due now.
const AHEAD: Duration = Duration::from_millis(1);
/// Before a timer that fires so late the process reads its sockets, whatever the timer is for.
const STALLED: Duration = Duration::from_millis(2);
/// So many steps at one instant mean that something due is never done.
const STEPS_AT_ONCE: u32 = 20_000;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) random: Random,
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) checks: Checks,
    pub(crate) census: Census,
    pub(crate) trace: Trace,
    /// The first rule that was broken.
    pub(crate) failure: Option<String>,
    /// The process of this node dies after so many more actions.
    pub(crate) fuse: Option<(usize, u64)>,
    /// Nodes whose process a fuse killed, for whoever replaces it.
    pub(crate) deaths: Vec<usize>,
    /// How many actions each node's processes have carried out.
    pub(crate) actions: Vec<u64>,
    queue: BinaryHeap<Reverse<Queued>>,
    sequence: u64,
    due: Vec<Option<u64>>,
    steps_now: u32,
}

#[derive(Debug)]
pub(crate) enum Event {
    Packet { to: usize, link: usize, datagram: Datagram },
    Read { node: usize, socket: (usize, Family) },
    Kernel { node: usize, life: u32, router: usize, ticket: Ticket },
    Step(Step),
}

#[derive(Debug)]
struct Queued {
    at: u64,
    sequence: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl World {
    /// No process runs yet.
    pub(crate) fn new(scenario: Scenario, random: Random, trace: Trace) -> Self {
        Self {
            now: 0,
            nodes: (0..scenario.nodes).map(|index| Node::new(&scenario, index)).collect(),
            network: Network::new(scenario.links, scenario.nodes),
            checks: Checks::new(&scenario),
            census: Census::default(),
            failure: None,
            fuse: None,
            deaths: Vec::new(),
            actions: vec![0; scenario.nodes],
            queue: BinaryHeap::new(),
            sequence: 0,
            due: vec![None; scenario.nodes],
            steps_now: 0,
            scenario,
            random,
            trace,
        }
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse(Queued { at, sequence: self.sequence, event }));
    }

    /// A step that happens `after` nanoseconds from now.
    pub(crate) fn plan(&mut self, after: u64, step: Step) {
        self.push(self.now + after, Event::Step(step));
    }

    /// Breaks a rule; the first one counts.
    pub(crate) fn fail(&mut self, rule: impl FnOnce() -> String) {
        if self.failure.is_none() {
            let rule = rule();
            self.trace.line(self.now, || format!("BROKEN: {rule}"));
            self.failure = Some(rule);
        }
    }

    /// The first lines of a trace: who takes part.
    pub(crate) fn describe(&mut self) {
        for (at, spec) in self.scenario.routers.iter().enumerate() {
            let members: Vec<_> = spec.members.iter().map(|(node, config)| describe_member(*node, config)).collect();
            let cast = if spec.is_unicast() { "unicast" } else { "multicast" };
            self.trace.line(self.now, || {
                let head = format!("router {at}: {:?} {:?} on link {}, {cast}", spec.family, spec.version, spec.link);
                format!("{head}\n{}", members.join("\n"))
            });
        }
        let groups = &self.scenario.groups;
        self.trace.line(self.now, || format!("groups: {groups:?}"));
    }

    /// Runs until `end`; processes that a fuse kills get successors.
    pub(crate) fn live_until(&mut self, end: u64) {
        while self.failure.is_none() && self.now < end {
            self.run_until(end);
            for node in std::mem::take(&mut self.deaths) {
                self.bury(node);
            }
        }
    }

    /// The last counts.
    pub(crate) fn close(&mut self) {
        let tally = self.network.tally;
        self.census.add("packet: received", tally.received);
        self.census.add("packet: lost", tally.lost);
        self.census.add("packet: duplicated", tally.duplicated);
        self.census.add("packet: corrupted", tally.corrupted);
        self.census.add("packet: stopped by a partition", tally.unreachable);
    }

    /// Runs until `end`, until a rule is broken, or until a fuse has killed a process.
    pub(crate) fn run_until(&mut self, end: u64) {
        while self.failure.is_none() && self.deaths.is_empty() {
            let timer = (0..self.nodes.len()).filter_map(|node| Some((self.due[node]?, node))).min();
            let queued = self.queue.peek().map(|Reverse(queued)| queued.at);
            let next = timer.map(|(due, _)| due).into_iter().chain(queued).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.pass(end);
                return;
            };
            self.pass(next);
            match timer.filter(|(due, _)| *due <= next) {
                Some((_, node)) => self.fire(node),
                None => {
                    if let Some(Reverse(queued)) = self.queue.pop() {
                        self.happen(queued.event);
                    }
                }
            }
        }
    }

    fn pass(&mut self, next: u64) {
        self.steps_now = if next > self.now { 0 } else { self.steps_now + 1 };
        if self.steps_now > STEPS_AT_ONCE {
            self.fail(|| "time stands still: something that is due is never done".into());
        }
        self.now = self.now.max(next);
        self.check_time();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { to, link, datagram } => self.arrive(to, link, datagram),
            Event::Read { node, socket } => self.read(node, socket),
            Event::Kernel { node, life, router, ticket } => {
                if self.nodes[node].life == life {
                    self.kernel_done(node, router, ticket);
                }
            }
            Event::Step(step) => self.carry_out(step),
        }
    }

    /// Calls the engine of a node, if its process runs, and does what it says.
    pub(crate) fn with(&mut self, node: usize, call: impl FnOnce(&mut Engine, Instant)) {
        let local = self.nodes[node].local(self.now);
        if let Some(process) = &mut self.nodes[node].process {
            call(&mut process.engine, local);
            self.drain(node);
        }
    }

    /// Carries out the actions of a node's engine, one after the other, until the queue is empty or the process dies.
    fn drain(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].process.as_mut().and_then(|it| it.engine.poll_action()) {
            self.perform(node, action);
            self.actions[node] += 1;
            if let Some((_, left)) = self.fuse.as_mut().filter(|(burning, _)| *burning == node) {
                *left -= 1;
                if *left == 0 {
                    self.fuse = None;
                    self.trace.line(self.now, || format!("node {node}: the process dies after this action"));
                    self.kill_process(node);
                    self.deaths.push(node);
                    return;
                }
            }
        }
        self.due[node] = self.nodes[node].due();
        self.check_node(node);
    }

    fn perform(&mut self, node: usize, action: Action) {
        if let Action::TrackerFact { tracker, verdict } = action {
            let known = &mut self.nodes[node].snapshot.trackers;
            match verdict {
                Some(verdict) => known.insert(tracker, verdict),
                None => known.remove(&tracker),
            };
        }
        if let Some(router) = action.router() {
            self.check_action(node, router.0 as usize, &action);
            self.perform_for(node, router.0 as usize, action);
        }
    }

    fn perform_for(&mut self, node: usize, router: usize, action: Action) {
        match action {
            Action::Fact { router, snapshot } => {
                self.nodes[node].snapshot.routers.insert(router, snapshot);
            }
            Action::Advertise { priority, .. } => {
                if let Some(wire) = self.nodes[node].process.as_mut().and_then(|it| it.wires.get_mut(&router)) {
                    wire.advertised += 1;
                }
                self.send(node, router, priority);
            }
            Action::Apply { ownership, ticket, .. } => {
                self.trace.line(self.now, || format!("node {node}: router {router}: addresses to be {ownership:?}"));
                let kernel = &mut self.nodes[node].kernel;
                if let Some(at) = kernel.submit(self.now, &mut self.random, router, (ticket, ownership)) {
                    let life = self.nodes[node].life;
                    self.push(at, Event::Kernel { node, life, router, ticket });
                }
            }
            Action::Announce { repeat, .. } => {
                self.trace.line(self.now, || format!("node {node}: router {router}: announces {repeat} times"));
                self.nodes[node].kernel.holdings[router].announced = true;
                self.census.count("action: announcement");
            }
            Action::Notify { notification, priority, .. } => {
                self.trace.line(self.now, || {
                    format!("node {node}: router {router}: notifies {notification:?}, priority {}", priority.0)
                });
                self.census.count("action: notification");
            }
            Action::Record { event, .. } => {
                if event == Report::ResumedActive
                    && let Some(wire) = self.nodes[node].process.as_mut().and_then(|it| it.wires.get_mut(&router))
                {
                    wire.resumed += 1;
                }
                self.trace.line(self.now, || format!("node {node}: router {router}: {event:?}"));
            }
            _ => {}
        }
    }

    /// Puts an advertisement on the network. What the next process must know of its sequence is kept first.
    fn send(&mut self, node: usize, router: usize, priority: Priority) {
        self.trace.line(self.now, || format!("node {node}: router {router}: advertises priority {}", priority.0));
        let time = time_of_day(self.now, node);
        let it = &mut self.nodes[node];
        let Some(wire) = it.process.as_mut().and_then(|process| process.wires.get_mut(&router)) else { return };
        let reserved = wire.transmitter.reserve(time);
        let advert = wire.transmitter.begin(priority, time);
        wire.receiver.follow(self.scenario.routers[router].address(node), &advert);
        if let Some(reserved) = reserved {
            it.sequences.insert(router, (reserved, wire.receiver.memory().clone()));
        }
        self.send_copies(node, router, &advert);
    }

    fn send_copies(&mut self, node: usize, router: usize, advert: &OutgoingAdvert) {
        let spec = &self.scenario.routers[router];
        let (link, source, family) = (spec.link, spec.address(node), spec.family);
        for destination in spec.destinations(node) {
            let Some(wire) = self.nodes[node].process.as_mut().and_then(|it| it.wires.get_mut(&router)) else { return };
            let mut octets = Vec::new();
            if let Err(error) = wire.transmitter.emit(advert, source, destination, &mut octets) {
                return self.fail(|| format!("node {node}: router {router}: cannot build a packet: {error}"));
            }
            let datagram = Datagram { family, source, destination, hop_limit: 255, octets, verdict: Verdict::Open };
            self.transmit(link, Some(node), &datagram);
        }
    }

    /// Sends a packet to everybody on the link, or to the node that has the destination's address.
    pub(crate) fn transmit(&mut self, link: usize, from: Option<usize>, datagram: &Datagram) {
        for to in (0..self.nodes.len()).filter(|to| Some(*to) != from) {
            let meant = datagram.destination.is_multicast()
                || datagram.destination == super::scenario::address(link, to, datagram.family);
            if meant {
                for (after, datagram) in self.network.carry(&mut self.random, link, from, to, datagram) {
                    self.push(self.now + after, Event::Packet { to, link, datagram });
                }
            }
        }
    }

    /// The kernel of a host takes a packet; the process that runs there reads it soon, or when it runs again.
    fn arrive(&mut self, to: usize, link: usize, datagram: Datagram) {
        let node = &mut self.nodes[to];
        if node.process.is_none() {
            self.network.tally.in_flight -= 1;
            self.network.tally.unheard += 1;
            return;
        }
        let socket = (link, datagram.family);
        let waiting = node.sockets.entry(socket).or_default();
        if waiting.len() == BACKLOG {
            self.network.tally.in_flight -= 1;
            self.network.tally.lost += 1;
            return;
        }
        waiting.push_back(Waiting { came: self.now, datagram });
        let after = self.random.below(WAIT + 1);
        self.push(self.now + after, Event::Read { node: to, socket });
    }

    /// The process reads all that waits in one socket.
    fn read(&mut self, node: usize, socket: (usize, Family)) {
        if self.nodes[node].stalled {
            return;
        }
        while let Some(waiting) = self.nodes[node].sockets.get_mut(&socket).and_then(VecDeque::pop_front) {
            self.network.tally.in_flight -= 1;
            self.receive(node, socket.0, &waiting);
        }
    }

    fn read_all(&mut self, node: usize) {
        for socket in self.nodes[node].sockets.keys().copied().collect::<Vec<_>>() {
            self.read(node, socket);
        }
    }

    /// The process runs the timers that are due, as a driver does that sends together what is due together. What waits
    /// may contradict a take-over, and much of what is due after a stall: it is read before.
    fn fire(&mut self, node: usize) {
        let local = self.nodes[node].local(self.now);
        let Some(process) = &self.nodes[node].process else { return };
        let Some(due) = process.engine.poll_timeout().filter(|due| *due <= local) else { return };
        if local.saturating_duration_since(due) >= STALLED || process.engine.is_take_over_due(local) {
            self.read_all(node);
        }
        let listening = self.listening(node);
        self.with(node, |engine, now| engine.handle_timeout_ahead(now, AHEAD));
        self.check_heard(node, &listening);
    }

    /// A process reads a packet: octets to the receiver, what that verifies to the engine. It counts from when it came,
    /// but not from longer ago than [`WAIT`].
    fn receive(&mut self, to: usize, link: usize, Waiting { came, datagram }: &Waiting) {
        let came = (*came).max(self.now.saturating_sub(WAIT));
        let it = &mut self.nodes[to];
        let Some(process) = &mut it.process else { return };
        let found = packet(datagram).and_then(|packet| {
            let router = find_router(&self.scenario, &packet, link, datagram.family)?;
            Some((packet, router, process.wires.get_mut(&router)?))
        });
        let Some((packet, router, wire)) = found else {
            self.network.tally.stray += 1;
            return;
        };
        wire.handed += 1;
        self.network.tally.received += 1;
        let result = wire.receiver.receive(&packet, time_of_day(self.now, to));
        let verified = match result {
            Ok(_) if datagram.verdict == Verdict::Refuse => {
                let source = datagram.source;
                return self.fail(|| format!("node {to}: router {router}: accepted a bad packet from {source}"));
            }
            Ok(verified) => {
                wire.transmitter.follow(&verified);
                verified
            }
            Err(discard) => {
                self.trace.line(self.now, || {
                    format!("node {to}: router {router}: discards a packet from {}: {discard}", datagram.source)
                });
                self.census.count("packet: discarded");
                return;
            }
        };
        if wire.counts()
            && let Some((_, memory)) = it.sequences.get_mut(&router)
        {
            memory.clone_from(wire.receiver.memory());
        }
        let advertisement = verified.advertisement;
        self.trace.line(self.now, || {
            let priority = advertisement.priority.0;
            format!("node {to}: router {router}: hears priority {priority} from {}", datagram.source)
        });
        let heard = self.before_hearing((to, router), came, datagram.source, advertisement.priority);
        let local = self.nodes[to].local(came);
        self.with(to, |engine, _| {
            engine.handle_advertisement(local, RouterSpec::id(router), datagram.source, &advertisement);
        });
        self.after_hearing(&heard);
    }

    fn before_hearing(&self, (node, router): (usize, usize), came: u64, source: IpAddr, theirs: Priority) -> Heard {
        let wire = self.nodes[node].process.as_ref().and_then(|it| it.wires.get(&router));
        let role = self.nodes[node].role(router);
        let (advertised, missed) = (wire.map_or(0, |wire| wire.advertised), self.is_missed(node, router, came));
        Heard { node, router, came, source, theirs, role, advertised, missed }
    }

    fn kernel_done(&mut self, node: usize, router: usize, ticket: Ticket) {
        let Some(accepted) = self.nodes[node].kernel.complete(self.now, &mut self.random, router, ticket) else {
            return;
        };
        self.trace.line(self.now, || {
            let present = self.nodes[node].kernel.holdings[router].present;
            let answer = if accepted { "done" } else { "refused" };
            format!("node {node}: router {router}: the kernel says {answer}; addresses there: {present}")
        });
        let id = RouterSpec::id(router);
        if self.nodes[node].stalled {
            // The answer waits in a queue; the process hears it when it runs again.
            return self.plan(MILLI, Step::Answer { node, life: self.nodes[node].life, router, ticket, accepted });
        }
        self.with(node, |engine, now| match accepted {
            true => engine.handle_applied(now, id, ticket),
            false => engine.handle_refused(now, id, ticket),
        });
    }

    /// Tells the process what the kernel answered while it did not run.
    pub(crate) fn answer(&mut self, node: usize, life: u32, router: usize, ticket: Ticket, accepted: bool) {
        if self.nodes[node].life != life {
            return;
        }
        if self.nodes[node].stalled {
            return self.plan(MILLI, Step::Answer { node, life, router, ticket, accepted });
        }
        let id = RouterSpec::id(router);
        self.with(node, |engine, now| match accepted {
            true => engine.handle_applied(now, id, ticket),
            false => engine.handle_refused(now, id, ticket),
        });
    }

    /// Starts a process with what the supervisor knows.
    pub(crate) fn start_process(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let inherits = !self.nodes[node].snapshot.routers.is_empty();
        if !inherits {
            self.disturb_node(node, 0);
        }
        let it = &mut self.nodes[node];
        it.life += 1;
        it.awaited = false;
        it.awake_since = self.now;
        let mut engine = if inherits { Engine::resume(it.snapshot.clone()) } else { Engine::new() };
        let local = it.local(self.now);
        for (link, facts) in it.links(node) {
            engine.handle_link(local, link, facts);
        }
        engine.reconfigure(local, &it.engine_config(&self.scenario));
        engine.handle_tracker(local, SCRIPT, it.verdict());
        let wires: BTreeMap<_, _> = it
            .wanted
            .iter()
            .map(|(at, config)| {
                let mut wire = Wire::new(&self.scenario.routers[*at], node, config);
                if let Some(kept) = it.sequences.get(at) {
                    wire.resume(kept);
                }
                (*at, wire)
            })
            .collect();
        it.process = Some(Process { engine, wires });
        self.trace.line(self.now, || format!("node {node}: a process starts, with facts: {inherits}"));
        self.census.count("action: process started");
        self.before_start(node);
        self.drain(node);
        self.after_start(node);
    }

    /// The process dies; its addresses stay.
    pub(crate) fn kill_process(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.process.take().is_none() {
            return;
        }
        it.life += 1;
        it.stalled = false;
        it.awaited = true;
        it.kernel.orphan(&mut self.random);
        let unheard = std::mem::take(&mut it.sockets).values().map(VecDeque::len).sum::<usize>() as u64;
        self.network.tally.in_flight -= unheard;
        self.network.tally.unheard += unheard;
        self.due[node] = None;
        self.trace.line(self.now, || format!("node {node}: the process is dead"));
        self.after_death(node);
    }

    /// The host loses power: nothing of it stays.
    pub(crate) fn power_off(&mut self, node: usize) {
        self.kill_process(node);
        let it = &mut self.nodes[node];
        it.life += 1;
        it.kernel.reset();
        it.snapshot = Snapshot::default();
        it.sequences.clear();
        it.awaited = false;
        self.forget_roles(node);
        self.trace.line(self.now, || format!("node {node}: the host has lost power"));
    }

    /// The host starts; its clock starts anew.
    pub(crate) fn boot(&mut self, node: usize) {
        let since = self.random.below(10_000) * MILLI;
        self.nodes[node].clock = since as i64 - self.now as i64;
        self.trace.line(self.now, || format!("node {node}: the host starts"));
        self.start_process(node);
    }

    /// The process is told to end: it resigns and releases; it ends once the kernel has answered.
    pub(crate) fn stop_process(&mut self, node: usize) {
        self.trace.line(self.now, || format!("node {node}: the process is told to stop"));
        self.with(node, Engine::shutdown);
    }

    /// What the supervisor's clean-up process does: priority 0 for what is there, then away with it.
    pub(crate) fn clean_up(&mut self, node: usize) {
        self.trace.line(self.now, || format!("node {node}: clean-up"));
        self.nodes[node].snapshot = Snapshot::default();
        for router in 0..self.scenario.routers.len() {
            if !self.nodes[node].kernel.holdings[router].present {
                continue;
            }
            self.resign_for(node, router);
            self.nodes[node].kernel.put(router, Ownership::Released);
            self.census.count("action: address cleaned up");
        }
        self.nodes[node].awaited = false;
        self.forget_roles(node);
    }

    fn resign_for(&mut self, node: usize, router: usize) {
        let spec = &self.scenario.routers[router].clone();
        let (link, family, source) = (spec.link, spec.family, spec.address(node));
        let Some(config) = spec.members.get(&node) else { return };
        let mut wire = Wire::new(spec, node, config);
        if let Some(kept) = self.nodes[node].sequences.get(&router) {
            wire.resume(kept);
        }
        let time = time_of_day(self.now, node);
        let reserved = wire.transmitter.reserve(time);
        let advert = wire.transmitter.begin(Priority::RESIGN, time);
        if let Some(reserved) = reserved {
            self.nodes[node].sequences.insert(router, (reserved, wire.receiver.memory().clone()));
        }
        for destination in spec.destinations(node) {
            let mut octets = Vec::new();
            wire.transmitter.emit(&advert, source, destination, &mut octets).unwrap();
            let datagram = Datagram { family, source, destination, hop_limit: 255, octets, verdict: Verdict::Open };
            self.transmit(link, Some(node), &datagram);
        }
    }

    /// The process does not run until it wakes.
    pub(crate) fn stall(&mut self, node: usize) {
        self.nodes[node].stalled = true;
        self.due[node] = None;
    }

    /// It runs again: timers first, or one of the sockets.
    pub(crate) fn wake(&mut self, node: usize) {
        self.nodes[node].stalled = false;
        self.nodes[node].awake_since = self.now;
        self.tell_facts(node);
        let sockets: Vec<_> = self.nodes[node].sockets.keys().copied().collect();
        if !sockets.is_empty() && self.random.chance(50) {
            let first = *self.random.pick(&sockets);
            self.read(node, first);
        }
        self.fire(node);
        self.read_all(node);
    }

    /// A carrier comes or goes; the process hears of it.
    pub(crate) fn set_carrier(&mut self, node: usize, link: usize, up: bool) {
        self.nodes[node].carriers[link] = up;
        self.network.set_carrier(link, node, up);
        self.tell_facts(node);
    }

    /// The link that trackers look at.
    pub(crate) fn set_uplink(&mut self, node: usize, up: bool) {
        self.nodes[node].uplink = up;
        self.tell_facts(node);
    }

    /// What the script says.
    pub(crate) fn set_script(&mut self, node: usize, succeeds: bool) {
        self.nodes[node].script = succeeds;
        self.tell_facts(node);
    }

    /// A process that does not run hears of it later.
    fn tell_facts(&mut self, node: usize) {
        if self.nodes[node].stalled {
            return;
        }
        let (links, verdict) = (self.nodes[node].links(node), self.nodes[node].verdict());
        self.with(node, |engine, now| {
            for (link, facts) in links {
                engine.handle_link(now, link, facts);
            }
            engine.handle_tracker(now, SCRIPT, verdict);
        });
    }

    /// The process reads its configuration anew.
    pub(crate) fn reload(&mut self, node: usize, wanted: BTreeMap<usize, RouterConfig>) {
        let before = std::mem::replace(&mut self.nodes[node].wanted, wanted);
        let it = &mut self.nodes[node];
        let configs = it.engine_config(&self.scenario);
        let Some(process) = &mut it.process else { return };
        for (at, config) in &it.wanted {
            let spec = &self.scenario.routers[*at];
            let wire = process.wires.entry(*at).or_insert_with(|| Wire::new(spec, node, config));
            wire.receiver.reconfigure(spec.wire(node, config));
            wire.transmitter.reconfigure(spec.wire(node, config)).unwrap();
        }
        self.with(node, |engine, now| {
            engine.reconfigure(now, &configs);
        });
        let it = &mut self.nodes[node];
        for gone in before.keys().filter(|at| !it.wanted.contains_key(at)) {
            it.snapshot.routers.remove(&RouterSpec::id(*gone));
            if let Some(process) = &mut it.process {
                process.wires.remove(gone);
            }
        }
    }

    /// Everybody whose process runs and who is Active for this virtual router.
    pub(crate) fn active(&self, router: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].role(router) == Role::Active).collect()
    }
}

fn describe_member(node: usize, config: &RouterConfig) -> String {
    format!(
        "            node {node}: priority {}, every {:?} x {}, preempts {} after {:?}, tracks {:?}",
        config.priority.0,
        config.advertisement_interval.duration(),
        config.down_timer_adverts,
        config.preempts(),
        config.preempt_delay,
        (&config.tracked_links, &config.trackers),
    )
}

fn packet(datagram: &Datagram) -> Option<Packet<'_>> {
    match (datagram.family, datagram.source, datagram.destination) {
        (Family::Ipv4, _, _) => Packet::from_ipv4(&datagram.octets).ok(),
        (_, IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(Packet::from_ipv6(source, Some(destination), datagram.hop_limit, &datagram.octets))
        }
        _ => None,
    }
}

/// The virtual router that a socket of this link and family finds by VRID.
fn find_router(scenario: &Scenario, packet: &Packet<'_>, link: usize, family: Family) -> Option<usize> {
    let vrid = packet.vrid()?;
    scenario.routers.iter().position(|it| it.link == link && it.family == family && it.vrid.get() == vrid)
}
