//! What the kernel is to be asked for: as little as has changed.

use std::collections::{BTreeSet, HashSet};

use ipvs_control::{Pool, ServiceAddress};

use super::super::kernel::Wanted;
use super::{Balancer, Entry};

/// What is wanted that the kernel has not been asked for.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// All of it may be another.
    all: bool,
    /// Of the virtual servers at these places who takes connections, and how many.
    places: BTreeSet<usize>,
    /// Several virtual servers have a service in common: only all of them together say what is wanted of it.
    shared: bool,
}

impl Stale {
    pub(super) fn all(&mut self) {
        self.all = true;
    }

    pub(super) fn place(&mut self, place: usize) {
        self.places.insert(place);
    }
}

/// What to ask the kernel for.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Wish {
    /// All of this.
    All(Box<Wanted>),
    /// These services like this; everything else stays as it was asked for last.
    Some(Vec<Pool>),
}

impl Balancer {
    /// There are other virtual servers than before.
    pub(super) fn replan(&mut self) {
        let mut seen = HashSet::new();
        let shared = self.entries.iter().flat_map(Entry::services).any(|service| !seen.insert(service));
        self.stale = Stale { all: true, places: BTreeSet::new(), shared };
    }

    /// Whether the kernel is to be asked for something.
    pub(in super::super) fn is_stale(&self) -> bool {
        self.stale.all || !self.stale.places.is_empty()
    }

    /// Whether it may be another set of services.
    pub(in super::super) fn is_all_stale(&self) -> bool {
        self.stale.all
    }

    /// What to ask the kernel for next.
    pub(in super::super) fn poll_wish(&mut self) -> Option<Wish> {
        if !self.is_stale() {
            return None;
        }
        let places = std::mem::take(&mut self.stale.places);
        if std::mem::take(&mut self.stale.all) || self.stale.shared {
            return Some(Wish::All(Box::new(self.wanted())));
        }
        let entries = places.into_iter().filter_map(|place| self.entries.get(place));
        Some(Wish::Some(entries.flat_map(|entry| entry.logic.wanted()).collect()))
    }

    /// The services whose connections are to be counted now and then.
    pub(in super::super) fn draining_services(&self) -> impl Iterator<Item = ServiceAddress> {
        self.draining.iter().filter_map(|place| self.entries.get(*place)).flat_map(Entry::services)
    }
}
