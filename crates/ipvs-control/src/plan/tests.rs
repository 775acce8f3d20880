use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::testing;
use crate::types::{ForwardingMethod, Scheduler, Service, Weight};

/// What the kernel does with a list of changes; a change that it would refuse is a panic.
fn carry_out(changes: &[Change], present: &[Pool]) -> Vec<Pool> {
    let (table, refused) = carry_out_what_can_be(changes, present);
    assert_eq!(refused, []);
    table
}

/// What the kernel does with a list of changes, and which of them it refuses.
fn carry_out_what_can_be(changes: &[Change], present: &[Pool]) -> (Vec<Pool>, Vec<Change>) {
    let mut table: BTreeMap<_, _> = present.iter().map(|pool| (pool.service.address, pool.clone())).collect();
    let refused = changes.iter().filter(|change| carry_out_one(change, &mut table).is_none()).copied().collect();
    (table.into_values().map(sorted).collect(), refused)
}

/// `None` if the kernel refuses it.
fn carry_out_one(change: &Change, table: &mut BTreeMap<ServiceAddress, Pool>) -> Option<()> {
    match change {
        Change::AddService(service) if table.contains_key(&service.address) => return None,
        Change::AddService(service) => {
            table.insert(service.address, Pool { service: *service, destinations: Vec::new() });
        }
        Change::EditService(service) => table.get_mut(&service.address)?.service = *service,
        Change::RemoveService(address) => drop(table.remove(address)?),
        Change::AddDestination { service, destination } => {
            let destinations = &mut table.get_mut(service)?.destinations;
            if destinations.iter().any(|there| there.key() == destination.key()) {
                return None;
            }
            destinations.push(*destination);
        }
        Change::EditDestination { service, destination } => {
            let destinations = &mut table.get_mut(service)?.destinations;
            *destinations.iter_mut().find(|there| there.key() == destination.key())? = *destination;
        }
        Change::RemoveDestination { service, destination } => {
            let destinations = &mut table.get_mut(service)?.destinations;
            let place = destinations.iter().position(|there| there.key() == *destination)?;
            destinations.remove(place);
        }
    }
    Some(())
}

fn sorted(mut pool: Pool) -> Pool {
    pool.destinations.sort_by_key(Destination::key);
    pool
}

proptest! {
    #[test]
    fn a_plan_reaches_what_is_wanted(wanted in testing::table(), present in testing::table(), ours in testing::owned()) {
        let after = carry_out(&plan(&wanted, &present, &ours), &present);
        for pool in &wanted {
            prop_assert!(after.contains(&sorted(pool.clone())));
        }
        let is_wanted = |pool: &Pool| wanted.iter().any(|wanted| wanted.service.address == pool.service.address);
        for pool in after.iter().filter(|pool| !is_wanted(pool)) {
            prop_assert!(!ours.contains(&pool.service.address));
        }
        prop_assert!(plan(&wanted, &after, &ours).is_empty());
    }

    #[test]
    fn what_is_not_ours_stays(wanted in testing::table(), present in testing::table(), ours in testing::owned()) {
        let wanted_addresses: BTreeSet<_> = wanted.iter().map(|pool| pool.service.address).collect();
        for change in plan(&wanted, &present, &ours) {
            prop_assert!(wanted_addresses.contains(&change.service()) || ours.contains(&change.service()));
        }
    }

    /// The list is the smallest: without any one of its changes the kernel ends elsewhere.
    #[test]
    fn no_change_can_be_left_out(wanted in testing::table(), present in testing::table(), ours in testing::owned()) {
        let changes = plan(&wanted, &present, &ours);
        let reached = carry_out(&changes, &present);
        for place in 0..changes.len() {
            let (before, after) = (&changes[..place], &changes[place + 1..]);
            let (elsewhere, _) = carry_out_what_can_be(&[before, after].concat(), &present);
            prop_assert_ne!(&elsewhere, &reached, "without {}", changes[place]);
        }
    }

    /// Of a service that has some before and some after, none in between would refuse connections.
    #[test]
    fn a_service_is_never_without_destinations_in_between(wanted in testing::table(), present in testing::table()) {
        let changes = plan(&wanted, &present, &BTreeSet::new());
        let destinations = |table: &[Pool], service| {
            let pool = table.iter().find(|pool| pool.service.address == service);
            pool.map_or(0, |pool| pool.destinations.len())
        };
        for pool in &wanted {
            let service = pool.service.address;
            if pool.destinations.is_empty() || destinations(&present, service) == 0 {
                continue;
            }
            for place in 0..=changes.len() {
                prop_assert_ne!(destinations(&carry_out(&changes[..place], &present), service), 0);
            }
        }
    }

    #[test]
    fn nothing_is_touched_twice(wanted in testing::table(), present in testing::table(), ours in testing::owned()) {
        let mut seen = BTreeSet::new();
        for change in plan(&wanted, &present, &ours) {
            let destination = match change {
                Change::AddDestination { destination, .. } | Change::EditDestination { destination, .. } => {
                    Some(destination.key())
                }
                Change::RemoveDestination { destination, .. } => Some(destination),
                _ => None,
            };
            prop_assert!(seen.insert((change.service(), destination)));
        }
    }
}

fn pool(service: &str, scheduler: Scheduler, destinations: &[(&str, u32)]) -> Pool {
    let destination = |(address, weight): &(&str, u32)| {
        Destination::new(address.parse().unwrap(), ForwardingMethod::Masquerade).with_weight(Weight(*weight))
    };
    Pool {
        service: Service::new(ServiceAddress::tcp(service.parse().unwrap()), scheduler),
        destinations: destinations.iter().map(destination).collect(),
    }
}

fn written(wanted: &[Pool], present: &[Pool], ours: &[&str]) -> String {
    let ours = ours.iter().map(|service| ServiceAddress::tcp(service.parse().unwrap())).collect();
    plan(wanted, present, &ours).iter().fold(String::new(), |mut text, change| {
        let weight = match change {
            Change::AddDestination { destination, .. } | Change::EditDestination { destination, .. } => {
                format!(", weight {}", destination.weight)
            }
            _ => String::new(),
        };
        writeln!(text, "{change}{weight}").unwrap();
        text
    })
}

#[test]
fn from_nothing() {
    let wanted = [
        pool("192.0.2.1:80", Scheduler::WLC, &[("10.0.0.1:80", 1), ("10.0.0.2:80", 2)]),
        pool("[2001:db8::1]:80", Scheduler::RR, &[("[2001:db8::2]:80", 1)]),
    ];
    insta::assert_snapshot!(written(&wanted, &[], &[]), @r"
    adding service [192.0.2.1]:tcp:80 (wlc)
    adding 10.0.0.1:80 to [192.0.2.1]:tcp:80, weight 1
    adding 10.0.0.2:80 to [192.0.2.1]:tcp:80, weight 2
    adding service [2001:db8::1]:tcp:80 (rr)
    adding [2001:db8::2]:80 to [2001:db8::1]:tcp:80, weight 1
    ");
}

#[test]
fn what_can_be_edited_is_edited() {
    let present = [pool("192.0.2.1:80", Scheduler::WLC, &[("10.0.0.1:80", 1), ("10.0.0.2:80", 2)])];
    let wanted = [pool("192.0.2.1:80", Scheduler::RR, &[("10.0.0.3:80", 1), ("10.0.0.2:80", 5)])];
    insta::assert_snapshot!(written(&wanted, &present, &[]), @r"
    editing service [192.0.2.1]:tcp:80 (rr)
    adding 10.0.0.3:80 to [192.0.2.1]:tcp:80, weight 1
    editing 10.0.0.2:80 of [192.0.2.1]:tcp:80, weight 5
    removing 10.0.0.1:80 from [192.0.2.1]:tcp:80
    ");
}

#[test]
fn a_service_that_is_ours_goes_and_a_foreign_one_stays() {
    let present = [
        pool("192.0.2.1:80", Scheduler::WLC, &[("10.0.0.1:80", 1)]),
        pool("192.0.2.2:80", Scheduler::WLC, &[("10.0.0.1:80", 1)]),
    ];
    let wanted = [pool("192.0.2.3:80", Scheduler::WLC, &[])];
    insta::assert_snapshot!(written(&wanted, &present, &["192.0.2.1:80", "192.0.2.9:80"]), @r"
    removing service [192.0.2.1]:tcp:80
    adding service [192.0.2.3]:tcp:80 (wlc)
    ");
}

#[test]
fn of_two_that_are_the_same_the_first_counts() {
    let wanted = [
        pool("192.0.2.1:80", Scheduler::WLC, &[("10.0.0.1:80", 1), ("10.0.0.1:80", 2)]),
        pool("192.0.2.1:80", Scheduler::RR, &[]),
    ];
    insta::assert_snapshot!(written(&wanted, &[], &[]), @r"
    adding service [192.0.2.1]:tcp:80 (wlc)
    adding 10.0.0.1:80 to [192.0.2.1]:tcp:80, weight 1
    ");
}
