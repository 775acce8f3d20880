//! From what is present to what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{Change, Destination, DestinationKey, Pool, ServiceAddress};

/// The smallest ordered list of changes that makes the kernel's table as wanted.
///
/// `ours` are the services that belong to the caller, with all their destinations; a wanted service belongs to the
/// caller in any case. Other present services stay as they are. What can be edited is edited, so that connections
/// and counters survive. Within a service destinations are added before others are removed, so that it is never
/// without one in between; services are removed before others are added.
///
/// If a service or a destination is wanted twice, the first counts.
///
/// Applying the list and planning again gives an empty list.
pub fn plan(wanted: &[Pool], present: &[Pool], ours: &BTreeSet<ServiceAddress>) -> Vec<Change> {
    let present: BTreeMap<_, _> = present.iter().map(|pool| (pool.service.address, pool)).collect();
    let mut seen = BTreeSet::new();
    let wanted: Vec<_> = wanted.iter().filter(|pool| seen.insert(pool.service.address)).collect();
    let gone = present.keys().filter(|address| ours.contains(address) && !seen.contains(address));
    let mut changes: Vec<_> = gone.copied().map(Change::RemoveService).collect();
    for pool in wanted {
        match present.get(&pool.service.address) {
            Some(there) if *there == pool => continue,
            None => changes.push(Change::AddService(pool.service)),
            Some(there) if there.service != pool.service => changes.push(Change::EditService(pool.service)),
            Some(_) => {}
        }
        let there = present.get(&pool.service.address).map_or(&[][..], |there| &there.destinations);
        plan_destinations(pool, there, &mut changes);
    }
    changes
}

fn plan_destinations(wanted: &Pool, present: &[Destination], changes: &mut Vec<Change>) {
    let service = wanted.service.address;
    let present: BTreeMap<DestinationKey, &Destination> = present.iter().map(|there| (there.key(), there)).collect();
    let mut seen = BTreeSet::new();
    for destination in wanted.destinations.iter().filter(|destination| seen.insert(destination.key())) {
        match present.get(&destination.key()) {
            None => changes.push(Change::AddDestination { service, destination: *destination }),
            Some(there) if *there != destination => {
                changes.push(Change::EditDestination { service, destination: *destination });
            }
            Some(_) => {}
        }
    }
    let gone = present.into_keys().filter(|key| !seen.contains(key));
    changes.extend(gone.map(|destination| Change::RemoveDestination { service, destination }));
}

#[cfg(test)]
mod tests;
