//! Links on top of other links.

use std::collections::{HashMap, HashSet};

use super::Change;
use crate::types::{Link, LinkFlags, LinkName, VirtualLink};

/// A link that is missing is made now and looked after by the next plan, which knows that it is ours.
pub(super) fn plan(wanted: &[VirtualLink], release: &[LinkName], present: &[Link]) -> Vec<Change> {
    let by_name: HashMap<_, _> = present.iter().map(|link| (link.name, link)).collect();
    let released: HashSet<_> = release.iter().copied().collect();
    let mut names = HashSet::new();
    let (mut removals, mut changes) = (Vec::new(), Vec::new());
    for link in wanted.iter().filter(|link| names.insert(link.name)) {
        match by_name.get(&link.name) {
            Some(there) if link.is(there) => changes.extend(edits(link, there)),
            there => {
                // Somebody else's is left alone: making ours is refused then.
                let ours = there.filter(|there| there.virtual_kind.is_some() && released.contains(&there.name));
                removals.extend(ours.map(|there| Change::DelLink(there.index.into())));
                changes.push(Change::AddVirtualLink(Box::new(*link)));
            }
        }
    }
    let surplus = released.iter().filter(|name| !names.contains(*name)).filter_map(|name| by_name.get(name));
    let mut surplus: Vec<_> = surplus.filter(|link| link.virtual_kind.is_some()).map(|link| link.index).collect();
    surplus.sort_unstable();
    removals.extend(surplus.into_iter().map(|index| Change::DelLink(index.into())));
    removals.append(&mut changes);
    removals
}

/// What makes a link that is there the one that is wanted.
fn edits(wanted: &VirtualLink, there: &Link) -> Vec<Change> {
    let link = there.index;
    let mut edits = Vec::new();
    if there.virtual_kind != Some(wanted.kind) {
        edits.push(Change::SetVirtualKind { link, kind: wanted.kind });
    }
    if let Some(mac) = wanted.mac.filter(|mac| there.mac != Some(*mac)) {
        edits.push(Change::SetMac { link, mac });
    }
    if wanted.group != there.group {
        edits.push(Change::SetGroup { link, group: wanted.group });
    }
    if wanted.master != there.master {
        edits.push(Change::SetMaster { link: link.into(), master: wanted.master });
    }
    // A kernel without IPv6 reports none, and could not be told.
    let generation = wanted.address_generation.filter(|_| there.address_generation.is_some());
    if let Some(mode) = generation.filter(|mode| there.address_generation != Some(*mode)) {
        edits.push(Change::SetAddressGeneration { link, mode });
    }
    let conf = wanted.ipv4.beside(&there.ipv4);
    if !conf.is_empty() {
        edits.push(Change::SetIpv4Conf { link, conf });
    }
    if !there.flags.contains(LinkFlags::UP) {
        edits.push(Change::SetLinkUp(link.into()));
    }
    edits
}

#[cfg(test)]
mod tests;
