use std::sync::{Arc, Mutex};
use std::time::Instant;

use ipvs_control::types::{Destination, ForwardingMethod, InterfaceName, Scheduler, Seconds, Service, Stats, Weight};

use super::*;

/// A table in memory that others can look into and spoil.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) pools: Vec<Pool>,
    pub(crate) dumps: usize,
    /// Changes of this service fail.
    pub(crate) refused: Option<ServiceAddress>,
    /// Every other request, in order.
    pub(crate) requests: Vec<String>,
    /// Sync daemons on this interface fail.
    pub(crate) missing: Option<&'static str>,
    /// Connections of every destination.
    pub(crate) connections: u32,
}

/// One end of a [`Memory`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(pub(crate) Arc<Mutex<Memory>>);

impl Shared {
    /// A look into the table.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.0.lock().unwrap())
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
            memory.pools.clear();
            memory.requests.push("flush".to_owned());
        });
        Ok(())
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> io::Result<()> {
        let Timeouts { tcp, tcp_fin, udp } = timeouts;
        self.look(|memory| memory.requests.push(format!("time-outs {} {} {}", tcp.0, tcp_fin.0, udp.0)));
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

    fn destinations(&mut self, service: ServiceAddress) -> io::Result<Option<Vec<DestinationEntry>>> {
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
fn pool(last: u8, destinations: &[(u8, u16)]) -> Pool {
    let destination = |&(last, weight): &(u8, u16)| {
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
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.kernel.applied.try_recv() {
                Ok(applied) if applied.number == self.number => return applied,
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
    Applied { number, failures: Vec::new(), complete: true, counts: BTreeMap::new() }
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

#[test]
fn after_a_surprise_the_table_is_read_anew_and_mended() {
    let mut lab = Lab::new(vec![]);
    lab.want(vec![pool(1, &[(1, 1)])], &[]);
    lab.table.look(|memory| memory.pools.clear());
    let applied = lab.want(vec![pool(1, &[(1, 2)])], &[]);
    assert_eq!(applied, complete(2));
    assert_eq!(lab.pools(), [pool(1, &[(1, 2)])]);
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

#[test]
fn connections_are_counted_on_request() {
    let mut lab = Lab::new(vec![]);
    lab.table.look(|memory| memory.connections = 3);
    let count = vec![address(1), address(2)];
    let applied = lab.ask(Wanted { pools: vec![pool(1, &[(1, 1)])], count, ..Wanted::default() });
    let in_use = |service| applied.counts[&service].iter().map(DestinationEntry::in_use).collect::<Vec<_>>();
    assert_eq!((in_use(address(1)), in_use(address(2))), (vec![3], vec![]));
}
