//! What a real server needs and what is taken back, decided from what is there. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// How the balancer's packets arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// As they are, on the wire (`lvs_method DR`).
    DirectRoute,
    /// In packets of IPv4 or IPv6 (`lvs_method TUN`).
    Tunnel(Outer),
}

/// The outer packets of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outer {
    /// Of the family of the virtual address.
    Same,
    /// IPv4.
    V4,
}

/// What setup is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) vips: BTreeSet<IpAddr>,
    pub(super) method: Method,
}

impl Wish {
    /// The devices that unpack: those that the kernel makes with the tunnel's module, which take packets of any sender.
    pub(super) fn tunnels(&self) -> BTreeSet<&'static str> {
        self.vips.iter().map(|vip| self.link_of(vip)).filter(|link| *link != LOOPBACK).collect()
    }

    /// Where an address is put. The filter of forged senders lets nothing out of a tunnel that has no address.
    fn link_of(&self, vip: &IpAddr) -> &'static str {
        match (self.method, vip) {
            (Method::DirectRoute, _) => LOOPBACK,
            (Method::Tunnel(_), IpAddr::V4(_)) => "tunl0",
            (Method::Tunnel(Outer::V4), IpAddr::V6(_)) => "sit0",
            (Method::Tunnel(Outer::Same), IpAddr::V6(_)) => "ip6tnl0",
        }
    }
}

/// A link of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) up: bool,
    /// Nobody is answered there who asks for an address: the loopback, tunnels.
    pub(super) quiet: bool,
    pub(super) addresses: Vec<IpAddr>,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) links: Vec<Link>,
    /// Below /proc/sys; those that there are.
    pub(super) settings: BTreeMap<String, i64>,
}

/// What setup did, so that teardown undoes that and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The virtual addresses of the setups, and the links that they were added to.
    pub(super) vips: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Settings that were changed.
    pub(super) settings: BTreeMap<String, Changed>,
    /// Links that were set up.
    pub(super) links: BTreeSet<String>,
}

/// A setting that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    pub(super) before: i64,
    pub(super) after: i64,
}

impl Record {
    pub(super) fn is_empty(&self) -> bool {
        self.vips.is_empty() && self.settings.is_empty() && self.links.is_empty()
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Gives a setting another value.
    Set { path: String, from: i64, to: i64 },
    /// Sets a link up.
    LinkUp(String),
    /// Sets a link down.
    LinkDown(String),
    /// Adds a virtual address to a link.
    Add(IpAddr, String),
    /// Removes it from there.
    Remove(IpAddr, String),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { path, from, to } => write!(f, "{path}: {from} becomes {to}"),
            Self::LinkUp(name) => write!(f, "{name}: up"),
            Self::LinkDown(name) => write!(f, "{name}: down"),
            Self::Add(vip, link) => write!(f, "{vip}/{}: added to {link}", prefix_len(vip)),
            Self::Remove(vip, link) => write!(f, "{vip}/{}: removed from {link}", prefix_len(vip)),
        }
    }
}

const LOOPBACK: &str = "lo";

/// Of a single address.
pub(super) const fn prefix_len(ip: &IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Why there can be no setup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Conflict {
    /// This host would answer whoever asks for the address.
    #[error(
        "{vip} is on {link}, where this host answers for it in place of the balancer - remove it there, for instance by \
         'ip address del', and stop what puts it there (keepalived's virtual_ipaddress belongs on balancers)"
    )]
    Elsewhere {
        /// The address.
        vip: IpAddr,
        /// Where it is.
        link: String,
    },
    /// The kernel has no such tunnels.
    #[error("there is no {0} - load the module of its tunnels, by 'modprobe {module}'", module = module(.0))]
    NoTunnel(&'static str),
}

/// The module that makes a device of tunnels.
fn module(device: &str) -> &'static str {
    match device {
        "tunl0" => "ipip",
        "sit0" => "sit",
        _ => "ip6_tunnel",
    }
}

pub(super) const ARP_IGNORE: &str = "net/ipv4/conf/all/arp_ignore";
pub(super) const ARP_ANNOUNCE: &str = "net/ipv4/conf/all/arp_announce";
pub(super) const RP_FILTER: &str = "net/ipv4/conf/all/rp_filter";

/// The reverse path filter of one link.
pub(super) fn rp_filter_of(link: &str) -> String {
    format!("net/ipv4/conf/{link}/rp_filter")
}

/// The steps to what is wished, in order: this host is quiet before it has an address. `record` is what earlier setups did, and then
/// what will have been done.
pub(super) fn setup(wish: &Wish, facts: &Facts, record: &mut Record) -> Result<Vec<Act>, Conflict> {
    let mut acts = Vec::new();
    for (path, to) in needed(wish, facts)? {
        let from = facts.settings.get(&path).copied().unwrap_or_default();
        record.settings.entry(path.clone()).or_insert(Changed { before: from, after: to }).after = to;
        acts.push(Act::Set { path, from, to });
    }
    for name in wish.tunnels() {
        let link = facts.links.iter().find(|link| link.name == name).ok_or(Conflict::NoTunnel(name))?;
        if !link.up {
            record.links.insert(name.to_owned());
            acts.push(Act::LinkUp(name.to_owned()));
        }
    }
    for vip in &wish.vips {
        let mut holders = facts.links.iter().filter(|link| link.addresses.contains(vip));
        if let Some(link) = holders.clone().find(|link| !link.quiet) {
            return Err(Conflict::Elsewhere { vip: *vip, link: link.name.clone() });
        }
        let (link, known) = (wish.link_of(vip), record.vips.entry(*vip).or_default());
        if !holders.any(|holder| holder.name == link) {
            known.insert(link.to_owned());
            acts.push(Act::Add(*vip, link.to_owned()));
        }
    }
    Ok(acts)
}

/// Settings that have to change, and to what.
fn needed(wish: &Wish, facts: &Facts) -> Result<Vec<(String, i64)>, Conflict> {
    let value = |path: &str| facts.settings.get(path).copied().unwrap_or_default();
    let mut needed = Vec::new();
    if wish.vips.iter().any(IpAddr::is_ipv4) {
        // No answer to who asks on another interface for an address of the loopback. 2, 3 and 8 are stricter still.
        if !matches!(value(ARP_IGNORE), 1..=3 | 8) {
            needed.push((ARP_IGNORE.to_owned(), 1));
        }
        // No question either that tells neighbours of it.
        if value(ARP_ANNOUNCE) < 2 {
            needed.push((ARP_ANNOUNCE.to_owned(), 2));
        }
    }
    // Clients are not reached through the tunnel: a strict filter would drop what comes out of it.
    for link in wish.tunnels().into_iter().filter(|name| *name == "tunl0") {
        let own = rp_filter_of(link);
        if value(RP_FILTER).max(value(&own)) == 1 {
            needed.push((own, 2));
        }
    }
    Ok(needed)
}

/// The steps that undo the setups of `vips`, or of all; the record of what is left.
pub(super) fn teardown(vips: &BTreeSet<IpAddr>, facts: &Facts, record: &Record) -> (Vec<Act>, Record) {
    let (mut acts, mut left) = (Vec::new(), record.clone());
    left.vips.retain(|vip, _| !vips.is_empty() && !vips.contains(vip));
    let there =
        |vip: &IpAddr, name: &String| facts.links.iter().any(|link| link.name == *name && link.addresses.contains(vip));
    for (vip, links) in record.vips.iter().filter(|(vip, _)| !left.vips.contains_key(*vip)) {
        acts.extend(links.iter().filter(|link| there(vip, link)).map(|link| Act::Remove(*vip, link.clone())));
    }
    if !left.vips.is_empty() {
        return (acts, left);
    }
    let is_up = |name: &String| facts.links.iter().any(|link| link.name == *name && link.up);
    acts.extend(record.links.iter().filter(|name| is_up(name)).cloned().map(Act::LinkDown));
    let unchanged = |(path, changed): &(&String, &Changed)| facts.settings.get(*path) == Some(&changed.after);
    let restored = record.settings.iter().filter(unchanged).filter(|(_, changed)| changed.before != changed.after);
    acts.extend(restored.map(|(path, Changed { before, after })| Act::Set {
        path: path.clone(),
        from: *after,
        to: *before,
    }));
    (acts, Record::default())
}

#[cfg(test)]
mod tests;
