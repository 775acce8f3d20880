use std::sync::{Arc, Mutex};
use std::time::Instant;

use ipvs_control::types::{Destination, ForwardingMethod, Scheduler, Service, Weight};

use super::*;

/// A table in memory that others can look into and spoil.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) pools: Vec<Pool>,
    pub(crate) dumps: usize,
    /// Changes of this service fail.
    pub(crate) refused: Option<ServiceAddress>,
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

    fn apply(&mut self, changes: &[Change]) -> io::Result<Vec<String>> {
        self.look(|memory| Ok(changes.iter().filter_map(|change| memory.change(change).err()).collect()))
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
        self.number += 1;
        let ours = ours.iter().copied().collect();
        self.kernel.want(Wanted { pools, ours, number: self.number });
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
    Applied { number, failures: Vec::new(), complete: true }
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
    let expected = vec!["adding service [192.0.2.1]:tcp:80 (wlc): refused".to_owned()];
    assert_eq!(applied, Applied { number: 1, failures: expected, complete: false });
    assert_eq!(lab.pools(), [pool(2, &[(1, 1)])]);
    let again = lab.want(wanted.clone(), &[]);
    assert_eq!(again, Applied { number: 2, failures: vec![], complete: false });
    lab.table.look(|memory| memory.refused = None);
    assert_eq!(lab.want(wanted, &[]), complete(3));
    assert_eq!(lab.pools(), [pool(2, &[(1, 1)]), pool(1, &[])]);
}
