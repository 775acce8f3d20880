//! A virtual server against a model of its own: a few plain tables and the rules of weights, quorum and drains as a
//! reader of the manual would write them down, worked out anew after every step.

use proptest::prelude::*;

use super::*;

/// The last octet of an address stands for a real server.
type Octet = u8;

#[derive(Debug, Clone)]
struct Server {
    octet: Octet,
    weight: i64,
    inhibit: bool,
    /// Whether it is up, and what it does to the weight.
    checkers: Vec<(bool, Contribution)>,
    /// Deadline in seconds, and once it is over whether nothing was left.
    drain: Option<(Option<u64>, Option<bool>)>,
}

impl Server {
    fn up(&self) -> bool {
        self.checkers.iter().all(|(up, _)| *up)
    }

    fn weight(&self) -> i64 {
        let added = self.checkers.iter().map(|(_, contribution)| match contribution {
            Contribution::Adds(adds) => *adds,
            Contribution::Replaces(Weight(weight)) => i64::from(*weight) - self.weight,
        });
        let sum = self.weight + added.sum::<i64>();
        if self.drain.is_some() { 0 } else { sum.clamp(0, 0x7fff_ffff) }
    }
}

#[derive(Debug, Clone)]
struct Model {
    servers: Vec<Server>,
    quorum: i64,
    hysteresis: i64,
    /// Whether it has one, and whether that is inhibited while it is not needed.
    sorry: Option<bool>,
    /// Whether the quorum is up, while it runs.
    up: Option<bool>,
    /// Who is not configured any more, with the deadline.
    leaving: BTreeMap<Octet, u64>,
    /// It is not configured any more itself, and there are some of those.
    departing: bool,
    now: u64,
}

/// 10.0.0.99.
const SORRY: Octet = 99;

impl Model {
    fn live(&self) -> i64 {
        self.servers.iter().filter(|server| server.up()).map(Server::weight).sum()
    }

    fn gain(&self) -> i64 {
        self.quorum + self.hysteresis
    }

    fn start(&mut self) {
        self.up = Some(self.live() >= self.gain());
    }

    /// What the quorum becomes: gained at the upper limit, lost below the lower one or without anybody.
    fn settle(&mut self) {
        let live = self.live();
        self.up = self.up.map(|up| match up {
            false => live >= self.gain(),
            true => live != 0 && live >= self.quorum - self.hysteresis,
        });
    }

    fn replaced(&self) -> bool {
        self.up == Some(false) && self.sorry.is_some()
    }

    /// What the kernel shall hold.
    fn table(&self) -> BTreeMap<Octet, i64> {
        let mut table = BTreeMap::new();
        if self.up.is_none() && !self.departing {
            return table;
        }
        table.extend(self.leaving.keys().map(|octet| (*octet, 0)));
        if self.departing {
            return table;
        }
        for server in &self.servers {
            if server.up() && (!self.replaced() || server.drain.is_some()) {
                table.insert(server.octet, server.weight());
            } else if server.inhibit {
                table.insert(server.octet, 0);
            }
        }
        if self.replaced() {
            table.insert(SORRY, 1);
        } else if self.sorry == Some(true) {
            table.insert(SORRY, 0);
        }
        table
    }

    /// Whether the kernel shall know its services.
    fn is_there(&self) -> bool {
        self.up.is_some() || self.departing
    }

    /// It is gone with the last of its servers.
    fn depart(&mut self) {
        self.departing &= !self.leaving.is_empty();
    }

    /// The time has come for whom it has come.
    fn expire(&mut self) {
        if self.is_there() {
            let now = self.now;
            self.leaving.retain(|_, deadline| *deadline > now);
            for (deadline, over) in self.servers.iter_mut().filter_map(|server| server.drain.as_mut()) {
                let is_due = deadline.is_some_and(|deadline| deadline <= now);
                *over = over.or(is_due.then_some(false));
            }
            self.depart();
        }
    }

    /// Who has no connections left at the destinations that are there is drained.
    fn count(&mut self, left: &BTreeMap<Octet, u32>) {
        if self.is_there() {
            // Who serves as the sorry server again has not left.
            let serves = |octet: &Octet| self.sorry.is_some() && self.up == Some(false) && *octet == SORRY;
            self.leaving.retain(|octet, _| left.get(octet).is_some_and(|left| *left > 0) || serves(octet));
            for server in &mut self.servers {
                if let Some((_, over)) = &mut server.drain {
                    let is_left = left.get(&server.octet).is_some_and(|left| *left > 0);
                    *over = over.or((!is_left).then_some(true));
                }
            }
            self.depart();
        }
    }

    fn reload(&mut self, new: Self, deadline: Option<u64>) {
        let before = std::mem::replace(self, Self { up: self.up, now: self.now, leaving: self.leaving.clone(), ..new });
        for server in &before.servers {
            if let Some(kept) = self.servers.iter_mut().find(|kept| kept.octet == server.octet) {
                kept.drain = server.drain;
            } else if let Some(deadline) = deadline.filter(|_| before.may_finish(server)) {
                self.leaving.insert(server.octet, deadline);
            }
        }
        self.leaving.retain(|octet, _| self.servers.iter().all(|server| server.octet != *octet));
        if before.departing {
            self.start();
        }
    }

    /// Whether a server has something to end when it is left out.
    fn may_finish(&self, server: &Server) -> bool {
        let listed = self.up.is_some() && (!self.replaced() || server.drain.is_some());
        listed && server.up() && server.drain.is_none_or(|(_, over)| over != Some(true))
    }

    fn remove(&mut self, deadline: u64) {
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.extend(self.servers.iter().filter(|server| self.may_finish(server)).map(|it| (it.octet, deadline)));
        leaving.extend(self.replaced().then_some((SORRY, deadline)));
        let departing = self.is_there() && !leaving.is_empty();
        *self = Self { servers: Vec::new(), up: None, leaving, departing, ..self.clone() };
    }

    fn stop(&mut self) {
        self.up = None;
        self.departing = false;
        self.leaving.clear();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Verdict {
        server: usize,
        checker: usize,
        up: bool,
    },
    Weight {
        server: usize,
        checker: usize,
        contribution: Contribution,
    },
    Drain {
        server: usize,
        seconds: Option<u64>,
    },
    Undrain {
        server: usize,
    },
    /// Connections left at each destination.
    Count(Vec<u32>),
    Wait(u64),
    /// Checkers keep what they said, if `known`. With seconds, who goes leaves by and by.
    Reload {
        model: Model,
        known: bool,
        seconds: Option<u64>,
    },
    /// The process dies and another goes on.
    Crash,
    Stop,
    /// With seconds, who serves leaves by and by.
    Remove(Option<u64>),
    Start,
}

fn any_server(octet: Octet) -> impl Strategy<Value = Server> {
    let checkers = proptest::collection::vec(any::<bool>().prop_map(|up| (up, Contribution::NONE)), 0..3);
    (0i64..4, checkers, any::<bool>()).prop_map(move |(weight, checkers, inhibit)| Server {
        octet,
        weight,
        inhibit,
        checkers,
        drain: None,
    })
}

/// Any virtual server of at most four real servers, in any order.
fn any_model() -> impl Strategy<Value = Model> {
    let servers = (any_server(1), any_server(2), any_server(3), any_server(4))
        .prop_map(|(a, b, c, d)| vec![a, b, c, d])
        .prop_shuffle();
    let sorry = prop_oneof![Just(None), Just(Some(false)), Just(Some(true))];
    (servers, 0usize..5, sorry, 0i64..8, 0i64..8).prop_map(|(mut servers, count, sorry, quorum, hysteresis)| {
        servers.truncate(count);
        // The quorum can be met, and the hysteresis is less.
        let total = servers.iter().map(|server| server.weight).sum::<i64>();
        let quorum = quorum.min(total).max(1);
        let hysteresis = hysteresis.min(quorum - 1);
        Model { servers, quorum, hysteresis, sorry, up: None, leaving: BTreeMap::new(), departing: false, now: 0 }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let seconds = || proptest::option::of(0u64..20);
    let verdict = (0usize..5, 0usize..3, any::<bool>());
    let adds = prop_oneof![4 => -5i64..70000, 1 => Just(1 << 40)].prop_map(Contribution::Adds);
    let replaces = prop_oneof![4 => 0u32..300, 1 => Just(u32::MAX)];
    let replaces = replaces.prop_map(|weight| Contribution::Replaces(Weight::saturating_from(weight.into())));
    let weight = (0usize..5, 0usize..3, prop_oneof![adds, replaces]);
    let reload = (any_model(), any::<bool>(), seconds());
    prop_oneof![
        8 => verdict.prop_map(|(server, checker, up)| Step::Verdict { server, checker, up }),
        2 => weight.prop_map(|(server, checker, contribution)| Step::Weight { server, checker, contribution }),
        2 => (0usize..5, seconds()).prop_map(|(server, seconds)| Step::Drain { server, seconds }),
        1 => (0usize..5).prop_map(|server| Step::Undrain { server }),
        2 => proptest::collection::vec(0u32..3, 4).prop_map(Step::Count),
        2 => (0u64..15).prop_map(Step::Wait),
        2 => reload.prop_map(|(model, known, seconds)| Step::Reload { model, known, seconds }),
        1 => Just(Step::Crash),
        1 => Just(Step::Stop),
        2 => seconds().prop_map(Step::Remove),
        2 => Just(Step::Start),
    ]
}

/// The configuration that the model stands for.
fn config_of(model: &Model) -> Config {
    let real_server = |there: &Server| {
        let checkers = there.checkers.iter().map(checker_of).collect();
        let weight = u32::try_from(there.weight).unwrap();
        RealServer { inhibit_on_failure: there.inhibit, ..server(there.octet.into(), weight, checkers) }
    };
    Config {
        real_servers: model.servers.iter().map(real_server).collect(),
        sorry_server: model.sorry.and_then(sorry_server),
        quorum: u32::try_from(model.quorum).unwrap(),
        hysteresis: u32::try_from(model.hysteresis).unwrap(),
        ..Config::new(service())
    }
}

fn checker_of((up, contribution): &(bool, Contribution)) -> Checker {
    let verdict = if *up { Verdict::Up } else { Verdict::Down };
    Checker { verdict, contribution: *contribution, reported: false }
}

fn octet_of(address: IpAddr) -> Octet {
    match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => panic!("{address}"),
    }
}

fn table_of(virtual_server: &VirtualServer) -> BTreeMap<Octet, i64> {
    let wanted = virtual_server.wanted();
    assert_eq!(wanted.len(), usize::from(virtual_server.quorum().is_some() || virtual_server.is_departing()));
    let destinations: Vec<_> = wanted.into_iter().flat_map(|pool| pool.destinations).collect();
    let table: BTreeMap<_, _> =
        destinations.iter().map(|there| (octet_of(there.address), i64::from(there.weight.0))).collect();
    assert_eq!(table.len(), destinations.len(), "a destination twice");
    table
}

/// The real thing and the model of it.
struct Both {
    real: VirtualServer,
    model: Model,
}

impl Both {
    fn deadline(&self, seconds: Option<u64>) -> Option<u64> {
        seconds.map(|seconds| self.model.now + seconds)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Verdict { server, checker, up } => {
                let verdict = if up { Verdict::Up } else { Verdict::Down };
                self.real.handle_verdict(RealServerId(server), CheckerId(checker), verdict);
                if let Some(checker) = self.checker(server, checker) {
                    checker.0 = up;
                }
            }
            Step::Weight { server, checker, contribution } => {
                self.real.handle_weight(RealServerId(server), CheckerId(checker), contribution);
                if let Some(checker) = self.checker(server, checker) {
                    checker.1 = contribution;
                }
            }
            Step::Drain { server, seconds } => {
                let deadline = self.deadline(seconds);
                let foreseen = self.real.quorum_when_drained(RealServerId(server));
                self.real.drain(RealServerId(server), at(self.model.now), deadline.map(at));
                assert_eq!(self.real.quorum(), foreseen);
                self.set_drain(server, Some((deadline, None)));
            }
            Step::Undrain { server } => {
                self.real.undrain(RealServerId(server));
                self.set_drain(server, None);
            }
            Step::Count(left) => self.count((1..).zip(left).collect()),
            Step::Wait(seconds) => {
                self.model.now += seconds;
                self.real.handle_timeout(at(self.model.now));
                self.model.expire();
            }
            Step::Reload { model, known, seconds } => self.reload(model, known, seconds),
            Step::Crash => self.crash(),
            Step::Stop => {
                self.real.shutdown();
                self.model.stop();
            }
            Step::Remove(None) => {
                self.real.remove();
                self.model.stop();
            }
            Step::Remove(Some(seconds)) => {
                let deadline = self.model.now + seconds;
                self.real.remove_draining(at(self.model.now), at(deadline));
                self.model.remove(deadline);
            }
            Step::Start if !self.model.is_there() => {
                self.real.start();
                self.model.start();
            }
            Step::Start => {}
        }
        self.model.settle();
    }

    fn checker(&mut self, server: usize, checker: usize) -> Option<&mut (bool, Contribution)> {
        self.model.servers.get_mut(server)?.checkers.get_mut(checker)
    }

    fn set_drain(&mut self, server: usize, drain: Option<(Option<u64>, Option<bool>)>) {
        if let Some(server) = self.model.servers.get_mut(server) {
            server.drain = drain;
        }
    }

    fn count(&mut self, left: BTreeMap<Octet, u32>) {
        let places: Vec<_> = left.iter().map(|(octet, left)| (format!("10.0.0.{octet}:80"), [0, *left, 0])).collect();
        let places: Vec<_> = places.iter().map(|(key, counts)| (key.as_str(), *counts)).collect();
        self.real.handle_destinations(&reported(&self.real, &places));
        let listed = self.model.table();
        self.model.count(&left.into_iter().filter(|(octet, _)| listed.contains_key(octet)).collect());
    }

    fn reload(&mut self, mut model: Model, known: bool, seconds: Option<u64>) {
        for server in model.servers.iter_mut().filter(|_| known) {
            let before = self.model.servers.iter().find(|before| before.octet == server.octet);
            for (checker, before) in server.checkers.iter_mut().zip(before.into_iter().flat_map(|it| &it.checkers)) {
                *checker = *before;
            }
        }
        let config = config_of(&model);
        let deadline = self.deadline(seconds);
        match deadline {
            Some(deadline) => self.real.reconfigure_draining(config, at(self.model.now), at(deadline)),
            None => self.real.reconfigure(config),
        }
        self.model.reload(model, deadline);
    }

    /// Another process is told what this one knew; nothing changes and nothing is told again.
    fn crash(&mut self) {
        if !self.model.is_there() {
            return;
        }
        let mut other = VirtualServer::new(config_of(&self.model));
        for (place, server) in self.model.servers.iter_mut().enumerate() {
            if let Some((deadline, over)) = &mut server.drain {
                other.drain(RealServerId(place), at(self.model.now), deadline.map(at));
                *over = None;
            }
        }
        for (server, drain) in self.real.leaving() {
            other.leave([(server.clone(), drain.since, drain.deadline.unwrap())]);
        }
        match self.real.quorum() {
            Some(quorum) => other.resume(quorum),
            None => other.resume_departing(),
        }
        assert_eq!(events(&mut other), "");
        assert_eq!(table_of(&other), table_of(&self.real));
        self.real = other;
    }
}

/// What was told to everyone or to traps of each real server and of the quorum, in order; true for "up".
#[derive(Debug, Default)]
struct Told {
    servers: BTreeMap<Octet, Vec<bool>>,
    quorum: Vec<bool>,
}

fn told(virtual_server: &mut VirtualServer) -> Told {
    let mut told = Told::default();
    while let Some(event) = virtual_server.poll_event() {
        match event {
            Event::RealServer { real_server, verdict, .. } => {
                let octet = (1..=4).find(|octet| real_server.contains(&format!("10.0.0.{octet}]"))).unwrap();
                told.servers.entry(octet).or_default().push(verdict == Verdict::Up);
            }
            Event::Quorum { quorum, .. } => told.quorum.push(quorum == Quorum::Up),
            Event::Message { .. } => {}
        }
    }
    told
}

/// A change is told once, what is told is so, and who goes is down.
fn check_told(told: &Told, before: &Model, after: &Model) {
    let up = |model: &Model, octet| {
        let server = model.servers.iter().find(|server| server.octet == octet);
        model.up.and_then(|_| server.map(Server::up))
    };
    for octet in 1..=4 {
        let words = told.servers.get(&octet).map_or(&[][..], Vec::as_slice);
        match (up(before, octet), up(after, octet)) {
            (Some(before), Some(after)) if before != after => assert_eq!(words, [after], "{octet}"),
            (Some(true), None) => assert_eq!(words, [false], "{octet}"),
            // The first result may be told though it changes nothing.
            (_, Some(after)) => assert!(words.is_empty() || words == [after], "{octet}: {words:?}"),
            (_, None) => assert!(words.is_empty(), "{octet}: {words:?}"),
        }
    }
    match (before.up, after.up) {
        (Some(before), Some(after)) if before != after => assert_eq!(told.quorum, [after]),
        (Some(_), Some(_)) | (None, None) => assert!(told.quorum.is_empty()),
        (None, Some(true)) => assert_eq!(told.quorum, [true]),
        (Some(true), None) => assert_eq!(told.quorum, [false]),
        // Told if there is a sorry server that takes over.
        (None, Some(false)) | (Some(false), None) => assert!(told.quorum.is_empty() || told.quorum == [false]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_rules_hold_whatever_the_order(
        model in any_model(),
        steps in proptest::collection::vec(any_step(), 0..50),
    ) {
        let mut both = Both { real: VirtualServer::new(config_of(&model)), model };
        both.step(Step::Start);
        told(&mut both.real);
        for step in steps {
            let before = both.model.clone();
            both.step(step);
            let Both { real, model } = &mut both;
            prop_assert_eq!(table_of(real), model.table());
            prop_assert_eq!(real.quorum(), model.up.map(|up| if up { Quorum::Up } else { Quorum::Down }));
            prop_assert_eq!(i64::try_from(real.live_weight()).unwrap(), model.live());
            let waiting = model.servers.iter().filter_map(|server| server.drain.filter(|(_, over)| over.is_none()));
            let due = waiting.filter_map(|(deadline, _)| deadline).chain(model.leaving.values().copied()).min();
            prop_assert_eq!(real.poll_timeout(), due.filter(|_| model.is_there()).map(at));
            check_told(&told(real), &before, model);
        }
    }
}
