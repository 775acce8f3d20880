use std::sync::{Arc, Mutex};

use ipvs_control::types::{Destination, ForwardingMethod, InterfaceName, Scheduler, Seconds, Service, Stats, Weight};

use super::*;

/// A table in memory that others can look into and spoil.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) pools: Vec<Pool>,
    pub(crate) dumps: usize,
    /// Changes of this service fail.
    pub(crate) refused: Option<ServiceAddress>,
    /// With so many services there is no memory for another.
    pub(crate) capacity: Option<usize>,
    /// Every other request, in order.
    pub(crate) requests: Vec<String>,
    /// Sync daemons on this interface fail.
    pub(crate) missing: Option<&'static str>,
    /// Why packets cannot be marked.
    pub(crate) unmarkable: Option<&'static str>,
    /// Connections of every destination.
    pub(crate) connections: u32,
    /// How long idle connections are kept.
    pub(crate) timeouts: Timeouts,
    /// It cannot be emptied.
    pub(crate) unflushable: bool,
    /// Changes and counts wait for as long as somebody holds this.
    pub(crate) held: Option<Arc<Mutex<()>>>,
    /// One waits, or has.
    pub(crate) waits: bool,
}

/// One end of a [`Memory`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(pub(crate) Arc<Mutex<Memory>>);

impl Shared {
    /// A look into the table.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// For as long as somebody holds it.
    fn wait(&self) {
        let held = self.look(|memory| {
            memory.waits = memory.held.is_some();
            memory.held.clone()
        });
        drop(held.as_ref().map(|held| held.lock()));
    }
}

impl Memory {
    fn pool(&mut self, service: ServiceAddress) -> Result<&mut Pool, String> {
        self.pools
            .iter_mut()
            .find(|pool| pool.service.address == service)
            .ok_or_else(|| format!("no service {service}"))
    }

    fn change(&mut self, change: &Change) -> Result<(), String> {
        if self.refused == Some(change.service()) {
            return Err(format!("{change}: refused"));
        }
        match *change {
            Change::AddService(_) if self.capacity == Some(self.pools.len()) => {
                return Err(format!("{change}: Cannot allocate memory"));
            }
            Change::AddService(service) => self.pools.push(Pool { service, destinations: Vec::new() }),
            Change::EditService(service) => self.pool(service.address)?.service = service,
            Change::RemoveService(address) => {
                self.pool(address)?;
                self.pools.retain(|pool| pool.service.address != address);
            }
            Change::AddDestination { service, destination } => self.pool(service)?.destinations.push(destination),
            Change::EditDestination { service, destination } => {
                let there = self.pool(service)?.destinations.iter_mut().find(|there| there.key() == destination.key());
                *there.ok_or("no destination")? = destination;
            }
            Change::RemoveDestination { service, destination } => {
                self.pool(service)?.destinations.retain(|there| there.key() != destination);
            }
            _ => return Err("a change that the tests do not know".into()),
        }
        Ok(())
    }
}

impl Table for Shared {
    fn dump(&mut self) -> io::Result<Vec<Pool>> {
        self.look(|memory| {
            memory.dumps += 1;
            Ok(memory.pools.clone())
        })
    }

    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<Refused>> {
        self.wait();
        self.look(|memory| {
            let refused = |change: &Change| {
                let text = memory.change(change).err()?;
                Some(Refused { change: *change, setting: Some(Setting::Scheduler), text })
            };
            Ok(changes.iter().filter_map(refused).collect())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.look(|memory| {
            if memory.unflushable {
                return Err(io::Error::other("no"));
            }
            memory.pools.clear();
            memory.requests.push("flush".to_owned());
            Ok(())
        })
    }

    fn timeouts(&mut self) -> io::Result<Timeouts> {
        Ok(self.look(|memory| memory.timeouts))
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> io::Result<()> {
        let Timeouts { tcp, tcp_fin, udp } = timeouts;
        self.look(|memory| {
            let there = &mut memory.timeouts;
            for (time, there) in [(tcp, &mut there.tcp), (tcp_fin, &mut there.tcp_fin), (udp, &mut there.udp)] {
                *there = if time == Seconds(0) { *there } else { time };
            }
            memory.requests.push(format!("time-outs {} {} {}", tcp.0, tcp_fin.0, udp.0));
        });
        Ok(())
    }

    fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> io::Result<()> {
        self.look(|memory| {
            if memory.missing == Some(daemon.interface.as_str()) {
                return Err(io::Error::other(format!("starting the {daemon}: no such device")));
            }
            memory.requests.push(format!("start {daemon}"));
            Ok(())
        })
    }

    fn stop_sync_daemon(&mut self, role: SyncRole) -> io::Result<()> {
        self.look(|memory| memory.requests.push(format!("stop {role}")));
        Ok(())
    }

    fn mark(&mut self, wanted: Option<&Marking>, ours: &BTreeSet<String>) -> Result<(), String> {
        self.look(|memory| {
            if let Some(why) = memory.unmarkable {
                return Err(why.to_owned());
            }
            if wanted.is_some() || !ours.is_empty() {
                let targets = wanted.map_or(0, |marking| marking.targets.len());
                memory.requests.push(format!("mark {targets} targets, tables {ours:?}"));
            }
            Ok(())
        })
    }

    fn destinations(&mut self, service: ServiceAddress) -> io::Result<Option<Vec<DestinationEntry>>> {
        self.wait();
        self.look(|memory| {
            let active_connections = memory.connections;
            let entry = |destination: &Destination| DestinationEntry {
                destination: *destination,
                active_connections,
                inactive_connections: 0,
                persistent_connections: 0,
                stats: Stats::default(),
            };
            let pool = memory.pools.iter().find(|pool| pool.service.address == service);
            Ok(pool.map(|pool| pool.destinations.iter().map(entry).collect()))
        })
    }
}

fn address(last: u8) -> ServiceAddress {
    ServiceAddress::tcp(([192, 0, 2, last], 80).into())
}

/// A service with these destinations.
fn pool(last: u8, destinations: &[(u8, u32)]) -> Pool {
    let destination = |&(last, weight): &(u8, u32)| {
        Destination::new(([10, 0, 0, last], 80).into(), ForwardingMethod::DirectRoute).with_weight(Weight(weight))
    };
    Pool {
        service: Service::new(address(last), Scheduler::WLC),
        destinations: destinations.iter().map(destination).collect(),
    }
}

struct Lab {
    table: Shared,
    kernel: Kernel,
    number: u64,
}

impl Lab {
    fn new(pools: Vec<Pool>) -> Self {
        let table = Shared::default();
        table.look(|memory| memory.pools = pools);
        let kernel = Kernel::start(Box::new(table.clone())).unwrap();
        Self { table, kernel, number: 0 }
    }

    /// What comes of wishing for `pools`.
    fn want(&mut self, pools: Vec<Pool>, ours: &[ServiceAddress]) -> Applied {
        self.ask(Wanted { pools, ours: ours.iter().copied().collect(), ..Wanted::default() })
    }

    fn ask(&mut self, wanted: Wanted) -> Applied {
        self.number += 1;
        self.kernel.want(Wanted { number: self.number, ..wanted });
        let number = self.number;
        self.hear(|said| match said {
            Said::Applied(applied) if applied.number == number => Some(applied),
            _ => None,
        })
    }

    /// What comes of wishing for these services alone.
    fn adjust(&mut self, pools: Vec<Pool>) -> Applied {
        self.number += 1;
        self.kernel.adjust(pools, self.number);
        let number = self.number;
        self.hear(|said| match said {
            Said::Applied(applied) if applied.number == number => Some(applied),
            _ => None,
        })
    }

    /// The first that is looked for.
    fn hear<T>(&mut self, found: impl Fn(Said) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.kernel.said.try_recv() {
                Ok(said) => {
                    if let Some(found) = found(said) {
                        return found;
                    }
                }
                _ if Instant::now() > deadline => panic!("no answer within ten seconds"),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn pools(&self) -> Vec<Pool> {
        self.table.look(|memory| memory.pools.clone())
    }
}

fn complete(number: u64) -> Applied {
    Applied { number, failures: Vec::new(), mended: Vec::new(), complete: true }
}

#[test]
fn the_table_becomes_what_is_wanted_and_others_services_stay() {
    let mut lab = Lab::new(vec![pool(1, &[(9, 1)]), pool(2, &[]), pool(3, &[])]);
    let applied = lab.want(vec![pool(1, &[(1, 1), (2, 5)])], &[address(2)]);
    assert_eq!(applied, complete(1));
    assert_eq!(lab.pools(), [pool(1, &[(1, 1), (2, 5)]), pool(3, &[])]);
    assert_eq!(lab.want(vec![], &[address(1)]), complete(2));
    assert_eq!(lab.pools(), [pool(3, &[])]);
}

#[test]
fn what_was_changed_by_hand_stays_until_the_same_is_written() {
    let mut lab = Lab::new(vec![]);
    lab.want(vec![pool(1, &[(1, 1), (2, 1)])], &[]);
    lab.table.look(|memory| memory.pools = vec![pool(1, &[(1, 0), (2, 1)])]);
    lab.want(vec![pool(1, &[(1, 1)])], &[]);
    assert_eq!(lab.pools(), [pool(1, &[(1, 0)])], "the weight is the administrator's");
    lab.want(vec![pool(1, &[(1, 7)])], &[]);
    assert_eq!(lab.pools(), [pool(1, &[(1, 7)])]);
    assert_eq!(lab.table.look(|memory| memory.dumps), 1);
}

/// The first counts, each time: nothing is a surprise.
#[test]
fn of_two_pools_of_one_service_one_is_there() {
    let mut lab = Lab::new(vec![]);
    let wanted = vec![pool(1, &[(1, 1)]), pool(2, &[]), pool(1, &[(2, 0)])];
    for number in 1..=2 {
        assert_eq!(lab.want(wanted.clone(), &[address(1), address(2)]), complete(number));
        assert_eq!(lab.pools(), wanted[..2]);
    }
    assert_eq!(lab.want(vec![pool(1, &[(1, 7)]), pool(1, &[(2, 0)])], &[address(1)]), complete(3));
    assert_eq!(lab.table.look(|memory| memory.dumps), 1);
}

#[test]
fn after_a_surprise_the_table_is_read_anew_and_mended() {
    let mut lab = Lab::new(vec![]);
    lab.want(vec![pool(1, &[(1, 1)])], &[]);
    lab.table.look(|memory| memory.pools.clear());
    let applied = lab.want(vec![pool(1, &[(1, 2)])], &[]);
    let text = |failure: &Failure| matches!(failure, Failure::Change(refused) if refused.text.contains("no service"));
    assert!(applied.mended.iter().any(text), "{applied:?}");
    assert_eq!(Applied { mended: Vec::new(), ..applied }, complete(2));
    assert_eq!(lab.pools(), [pool(1, &[(1, 2)])]);
}

/// The services that find no room, their servers with them, are named; all others are there with theirs.
#[test]
fn a_full_table_keeps_only_what_does_not_fit_away() {
    let table = Shared::default();
    table.look(|memory| memory.capacity = Some(2));
    let pools: Vec<_> = (1..=3).map(|last| pool(last, &[(1, 1)])).collect();
    let ours = pools.iter().map(|pool| pool.service.address).collect();
    let failures = carry_out(Box::new(table.clone()), &Wanted { pools: pools.clone(), ours, ..Wanted::default() });
    let of = |failure: &Failure| match failure {
        Failure::Change(refused) => refused.change.service(),
        other => panic!("{other:?}"),
    };
    assert_eq!(failures.iter().map(of).collect::<BTreeSet<_>>(), BTreeSet::from([address(3)]));
    let text =
        |failure: &Failure| matches!(failure, Failure::Change(refused) if refused.text.contains("allocate memory"));
    assert!(failures.iter().any(text), "{failures:?}");
    assert_eq!(table.look(|memory| memory.pools.clone()), pools[..2]);
}

#[test]
fn a_refused_change_is_reported_once_and_the_others_are_made() {
    let mut lab = Lab::new(vec![]);
    lab.table.look(|memory| memory.refused = Some(address(1)));
    let wanted = vec![pool(1, &[]), pool(2, &[(1, 1)])];
    let applied = lab.want(wanted.clone(), &[]);
    let expected = Failure::Change(Refused {
        change: Change::AddService(wanted[0].service),
        setting: Some(Setting::Scheduler),
        text: "adding service [192.0.2.1]:tcp:80 (wlc): refused".to_owned(),
    });
    assert_eq!((applied.failures, applied.complete), (vec![expected], false));
    assert_eq!(lab.pools(), [pool(2, &[(1, 1)])]);
    let again = lab.want(wanted.clone(), &[]);
    assert_eq!((again.failures, again.complete), (vec![], false));
    lab.table.look(|memory| memory.refused = None);
    assert_eq!(lab.want(wanted, &[]), complete(3));
    assert_eq!(lab.pools(), [pool(2, &[(1, 1)]), pool(1, &[])]);
}

fn sync(role: SyncRole, interface: &str) -> SyncDaemon {
    SyncDaemon::new(role, InterfaceName::new(interface).unwrap())
}

#[test]
fn everything_goes_once_when_it_is_asked_for() {
    let mut lab = Lab::new(vec![pool(7, &[(1, 1)])]);
    let wanted = Wanted { pools: vec![pool(1, &[(1, 1)])], flush: true, ..Wanted::default() };
    assert_eq!(lab.ask(wanted.clone()), complete(1));
    assert_eq!(lab.pools(), [pool(1, &[(1, 1)])], "that of others is gone too");
    lab.table.look(|memory| memory.pools.push(pool(7, &[])));
    lab.ask(Wanted { flush: false, ..wanted });
    assert_eq!(lab.pools(), [pool(1, &[(1, 1)]), pool(7, &[])]);
}

#[test]
fn time_outs_are_set_when_they_are_others() {
    let mut lab = Lab::new(vec![]);
    let timeouts = Timeouts { tcp: Seconds(300), ..Timeouts::default() };
    let wanted = Wanted { timeouts, ..Wanted::default() };
    lab.ask(wanted.clone());
    lab.ask(wanted);
    lab.ask(Wanted::default());
    assert_eq!(lab.table.look(|memory| memory.requests.clone()), ["time-outs 300 0 0"]);
}

#[test]
fn a_sync_daemon_takes_the_place_of_the_other_role() {
    let mut lab = Lab::new(vec![]);
    let ours = BTreeSet::from([SyncRole::Master, SyncRole::Backup]);
    let backup =
        Wanted { sync_daemons: vec![sync(SyncRole::Backup, "eth0")], sync_ours: ours.clone(), ..Wanted::default() };
    lab.ask(backup.clone());
    lab.ask(backup);
    let master = vec![sync(SyncRole::Master, "eth0")];
    lab.ask(Wanted { sync_daemons: master, sync_ours: ours.clone(), ..Wanted::default() });
    lab.ask(Wanted { sync_ours: ours, ..Wanted::default() });
    let expected = [
        "stop master",
        "start backup sync daemon on eth0 (id 0)",
        "stop backup",
        "start master sync daemon on eth0 (id 0)",
        "stop master",
        "stop backup",
    ];
    assert_eq!(lab.table.look(|memory| memory.requests.clone()), expected);
}

#[test]
fn a_sync_daemon_that_cannot_start_keeps_no_service_away() {
    let mut lab = Lab::new(vec![]);
    lab.table.look(|memory| memory.missing = Some("eth9"));
    let wanted =
        Wanted { pools: vec![pool(1, &[])], sync_daemons: vec![sync(SyncRole::Master, "eth9")], ..Wanted::default() };
    let applied = lab.ask(wanted);
    let why = "starting the master sync daemon on eth9 (id 0): no such device".to_owned();
    assert_eq!((applied.failures, applied.complete), (vec![Failure::SyncDaemon(why)], false));
    assert_eq!(lab.pools(), [pool(1, &[])]);
}

/// What is the matter with a sync daemon says nothing of the table: a verdict does not read it anew, and does not put the
/// next try off.
#[test]
fn a_sync_daemon_that_cannot_start_makes_no_verdict_slow() {
    let table = Shared::default();
    table.look(|memory| memory.missing = Some("eth9"));
    let (outbox, _said) = unbounded_channel();
    let mut writer = Writer::new(Box::new(table.clone()), outbox);
    let sync_daemons = vec![sync(SyncRole::Master, "eth9")];
    let wanted = Wanted { pools: vec![pool(1, &[(1, 1)])], sync_daemons, number: 1, ..Wanted::default() };
    let Said::Applied(first) = writer.fulfil(Wish::All(Box::new(wanted))) else { panic!("no wish") };
    assert_eq!((first.failures.len(), first.complete), (1, false));
    let (dumps, retry_at) = (table.look(|memory| memory.dumps), writer.retry_at);
    let said = writer.fulfil(Wish::Some { pools: vec![pool(1, &[])], number: 2 });
    let applied = Applied { number: 2, failures: vec![], mended: vec![], complete: false };
    assert_eq!(said, Said::Applied(applied));
    assert_eq!(table.look(|memory| (memory.dumps, memory.pools.clone())), (dumps, vec![pool(1, &[])]));
    assert!(retry_at.is_some() && writer.retry_at == retry_at);
}

/// Of ten thousand services one is planned, whatever else was changed by hand or is wished for.
#[test]
fn what_changes_is_planned_alone() {
    let mut lab = Lab::new(vec![]);
    lab.want(vec![pool(1, &[(1, 1)]), pool(2, &[(1, 1)])], &[]);
    lab.table.look(|memory| memory.pools[0].destinations.clear());
    assert_eq!(lab.adjust(vec![pool(2, &[(1, 0)])]), complete(2));
    assert_eq!(lab.pools(), [pool(1, &[]), pool(2, &[(1, 0)])]);
    assert_eq!(lab.adjust(vec![pool(2, &[(1, 0)])]), complete(3));
    // What it does not know any more is read anew, and everything is as it was wished for last.
    lab.table.look(|memory| memory.pools.remove(1));
    let applied = lab.adjust(vec![pool(2, &[(1, 7), (2, 1)])]);
    assert!(!applied.mended.is_empty(), "{applied:?}");
    assert_eq!(Applied { mended: Vec::new(), ..applied }, complete(4));
    assert_eq!(lab.pools(), [pool(1, &[(1, 1)]), pool(2, &[(1, 7), (2, 1)])]);
    assert_eq!(lab.table.look(|memory| memory.dumps), 2);
}

/// One of ten thousand services may be refused for good. The others are planned alone, and it is tried again when it is
/// time, or when it changes itself.
#[test]
fn what_is_refused_makes_no_verdict_slow_and_is_not_forgotten() {
    let table = Shared::default();
    table.look(|memory| memory.refused = Some(address(1)));
    let (outbox, _said) = unbounded_channel();
    let mut writer = Writer::new(Box::new(table.clone()), outbox);
    let wanted = Wanted { pools: vec![pool(1, &[(1, 1)]), pool(2, &[(1, 1)])], number: 1, ..Wanted::default() };
    let seen = |said, retry_at| match said {
        Said::Applied(applied) => (applied.complete, applied.failures.len(), retry_at),
        Said::Counted { .. } => panic!("nothing was to be counted"),
    };
    let mut fulfil = |wish: Option<Wish>| match wish {
        Some(wish) => seen(writer.fulfil(wish), writer.retry_at),
        None => seen(writer.work(), writer.retry_at),
    };
    let (complete, failures, retry_at) = fulfil(Some(Wish::All(Box::new(wanted))));
    assert!(!complete && failures > 0 && retry_at.is_some());
    let dumps = table.look(|memory| memory.dumps);
    let some = |last, weight, number| Some(Wish::Some { pools: vec![pool(last, &[(1, weight)])], number });
    assert_eq!(fulfil(some(2, 0, 2)), (false, 0, retry_at));
    assert_eq!(table.look(|memory| (memory.dumps, memory.pools.clone())), (dumps, vec![pool(2, &[(1, 0)])]));
    assert!(!fulfil(some(1, 2, 3)).0, "it is refused again");
    table.look(|memory| memory.refused = None);
    assert!(!fulfil(some(2, 2, 4)).0, "nobody has tried");
    assert_eq!(fulfil(None), (true, 0, None));
    assert_eq!(table.look(|memory| memory.pools.clone()), [pool(2, &[(1, 2)]), pool(1, &[(1, 2)])]);
}

#[test]
fn a_newer_wish_replaces_those_before_but_no_question() {
    let all = |number, flush| Task::Wish(Wish::All(Box::new(Wanted { number, flush, ..Wanted::default() })));
    let some = |number| Task::Wish(Wish::Some { pools: Vec::new(), number });
    let count = || Task::Count(Question { services: Vec::new().into_iter(), number: 1, counts: Counts::new() });
    let mut waiting = Waiting::default();
    for task in [some(1), count(), all(2, true), some(3), all(4, false), some(5), count()] {
        waiting.push(task);
    }
    waiting.forget_replaced();
    let told = |wish: &Wish| match wish {
        Wish::All(wanted) => format!("all {} {}", wanted.number, wanted.flush),
        Wish::Some { number, .. } => format!("some {number}"),
    };
    assert_eq!(waiting.wishes.iter().map(told).collect::<Vec<_>>(), ["all 4 true", "some 5"]);
    assert_eq!(waiting.questions.len(), 2);
}

/// A server that has failed goes before thousands of services are counted.
#[test]
fn a_wish_waits_for_no_long_count() {
    let mut lab = Lab::new(vec![]);
    lab.want(vec![pool(1, &[(1, 1)])], &[]);
    let held = Arc::new(Mutex::new(()));
    lab.table.look(|memory| (memory.held, memory.waits) = (Some(Arc::clone(&held)), false));
    let busy = held.lock().unwrap();
    lab.kernel.count((0..200).map(address).collect(), 1);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !lab.table.look(|memory| memory.waits) {
        assert!(Instant::now() < deadline, "nobody counts");
        std::thread::sleep(Duration::from_millis(1));
    }
    lab.number += 1;
    lab.kernel.adjust(vec![pool(1, &[(1, 0)])], lab.number);
    drop(busy);
    assert_eq!(lab.hear(Some), Said::Applied(complete(2)));
    assert!(matches!(lab.hear(Some), Said::Counted { number: 1, counts } if counts.len() == 200));
}

/// A later wish does not ask for it any more.
#[test]
fn a_table_that_could_not_be_emptied_is_emptied_later() {
    let mut lab = Lab::new(vec![pool(7, &[(1, 1)])]);
    lab.table.look(|memory| memory.unflushable = true);
    let wanted = Wanted { pools: vec![pool(1, &[])], ..Wanted::default() };
    assert!(!lab.ask(Wanted { flush: true, ..wanted.clone() }).complete);
    assert_eq!(lab.pools(), [pool(7, &[(1, 1)])]);
    lab.table.look(|memory| memory.unflushable = false);
    assert_eq!(lab.ask(wanted), complete(2));
    assert_eq!(lab.pools(), [pool(1, &[])]);
}

/// Without any plan.
#[test]
fn connections_are_counted_on_request() {
    let mut lab = Lab::new(vec![pool(1, &[(1, 1)])]);
    lab.table.look(|memory| memory.connections = 3);
    lab.kernel.count(vec![address(1), address(2)], 5);
    let counts = lab.hear(|said| match said {
        Said::Counted { number: 5, counts } => Some(counts),
        _ => None,
    });
    let in_use = |service| counts[&service].iter().map(DestinationEntry::in_use).collect::<Vec<_>>();
    assert_eq!((in_use(address(1)), in_use(address(2))), (vec![3], vec![]));
    assert_eq!(lab.table.look(|memory| memory.dumps), 0);
}
