//! From what is wanted and what is present to an ordered list of changes.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
    os::fd::RawFd,
};

use crate::types::{
    Address, AddressFlags, AddressGeneration, AddressKey, Ipv4Conf, Lifetime, Link, LinkIndex, LinkName, LinkRef,
    MacAddr, Route, Rule, VirtualKind, VirtualLink,
};

mod link;
pub(crate) mod route;

/// One request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// Adds an address; one that is there already is adopted as it is.
    AddAddress(Address),
    /// Gives an address other lifetimes or flags, and adds it if it is not there.
    EditAddress(Address),
    /// Removes an address; one that is not there is no error. Without `promote_secondaries` the kernel removes the
    /// secondary addresses of its subnet with an IPv4 address; [`plan`] puts them back.
    RemoveAddress(Address),
    /// Adds a route; one that is there already is adopted.
    AddRoute {
        /// The route.
        route: Box<Route>,
        /// What happens where the kernel has one for the same packets.
        placement: Placement,
    },
    /// Puts a route in the place of the first for the same packets, without a gap, and adds it if there is none.
    ReplaceRoute(Box<Route>),
    /// Removes a route; one that is not there is no error.
    RemoveRoute(Box<Route>),
    /// Adds a rule; one that is there already is adopted.
    AddRule(Box<Rule>),
    /// Removes a rule; one that is not there is no error.
    RemoveRule(Box<Rule>),
    /// Makes a pair of virtual Ethernet links, both down.
    AddVeth {
        /// Name of the first end.
        name: LinkName,
        /// Name of the other end.
        peer: LinkName,
    },
    /// Makes an Ethernet bridge, down and without spanning tree.
    AddBridge {
        /// Its name.
        name: LinkName,
    },
    /// Makes a link on top of another one, down and with the kernel's settings; its group and master are as given.
    AddVirtualLink(Box<VirtualLink>),
    /// Changes the mode of a macvlan or an ipvlan.
    SetVirtualKind {
        /// The link.
        link: LinkIndex,
        /// What it is to be; of the same sort as it is.
        kind: VirtualKind,
    },
    /// Changes the MAC address of a link.
    SetMac {
        /// The link.
        link: LinkIndex,
        /// The address.
        mac: MacAddr,
    },
    /// Puts a link into a group. The kernel tells everyone of the link, even if it is in that group already.
    SetGroup {
        /// The link.
        link: LinkIndex,
        /// The group; 0 is the default one.
        group: u32,
    },
    /// Changes how the kernel makes a link's link-local IPv6 addresses.
    SetAddressGeneration {
        /// The link.
        link: LinkIndex,
        /// How.
        mode: AddressGeneration,
    },
    /// Changes settings of a link for IPv4.
    SetIpv4Conf {
        /// The link.
        link: LinkIndex,
        /// The settings that change.
        conf: Ipv4Conf,
    },
    /// Sets a link up.
    SetLinkUp(LinkRef),
    /// Sets a link down.
    SetLinkDown(LinkRef),
    /// Makes a link a port of a bridge, bond or VRF, or takes it out (`None`).
    SetMaster {
        /// The port.
        link: LinkRef,
        /// The bridge, bond or VRF.
        master: Option<LinkIndex>,
    },
    /// Moves a link to another network namespace, where it arrives down and without addresses.
    MoveToNamespace {
        /// The link.
        link: LinkRef,
        /// An open `/proc/PID/ns/net`; the caller keeps it open until the change is applied.
        namespace: RawFd,
    },
    /// Renames a link.
    Rename {
        /// The link.
        link: LinkIndex,
        /// Its new name.
        name: LinkName,
    },
    /// Removes a link (of a pair: both ends); one that is not there is no error.
    DelLink(LinkRef),
}

impl Change {
    /// What the change does, in words: "adding 192.0.2.1/24 to eth0". `name` finds the name of a link.
    pub fn describe(&self, name: impl Fn(LinkIndex) -> Option<LinkName>) -> String {
        let link = |link: LinkRef| match link {
            LinkRef::Index(index) => name(index).map_or_else(|| index.to_string(), |name| name.to_string()),
            LinkRef::Name(name) => name.to_string(),
        };
        match self {
            Self::AddAddress(address) => {
                format!("adding {address} to {}", link(address.link.into()))
            }
            Self::EditAddress(address) => {
                format!("changing {address} on {}", link(address.link.into()))
            }
            Self::RemoveAddress(address) => {
                format!("removing {address} from {}", link(address.link.into()))
            }
            Self::AddRoute { route, .. } => format!("adding the route {route}"),
            Self::ReplaceRoute(route) => format!("changing the route {route}"),
            Self::RemoveRoute(route) => format!("removing the route {route}"),
            Self::AddRule(rule) => format!("adding the {rule}"),
            Self::RemoveRule(rule) => format!("removing the {rule}"),
            Self::AddVeth { name, peer } => format!("making the veth pair {name} and {peer}"),
            Self::AddBridge { name } => format!("making the bridge {name}"),
            Self::AddVirtualLink(made) => {
                let mac = made.mac.map(|mac| format!(" with {mac}")).unwrap_or_default();
                format!("making the {} {}{mac} on {}", made.kind.name(), made.name, link(made.parent.into()))
            }
            Self::SetVirtualKind { link: target, kind } => {
                format!("changing the mode of the {} {}", kind.name(), link((*target).into()))
            }
            Self::SetMac { link: target, mac } => {
                format!("changing the MAC address of {} to {mac}", link((*target).into()))
            }
            Self::SetGroup { link: target, group } => {
                format!("putting {} into group {group}", link((*target).into()))
            }
            Self::SetAddressGeneration { link: target, .. } => {
                format!("changing how {} gets link-local addresses", link((*target).into()))
            }
            Self::SetIpv4Conf { link: target, conf } => format!("setting {conf} of {}", link((*target).into())),
            Self::SetLinkUp(target) => format!("setting {} up", link(*target)),
            Self::SetLinkDown(target) => format!("setting {} down", link(*target)),
            Self::SetMaster { link: port, master: Some(master) } => {
                format!("making {} a port of {}", link(*port), link((*master).into()))
            }
            Self::SetMaster { link: port, master: None } => format!("taking {} out of its master", link(*port)),
            Self::MoveToNamespace { link: target, .. } => {
                format!("moving {} to another namespace", link(*target))
            }
            Self::Rename { link: target, name } => {
                format!("renaming {} to {name}", link((*target).into()))
            }
            Self::DelLink(target) => format!("removing {}", link(*target)),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(|_| None))
    }
}

/// Where a route goes among those for the same packets (destination, source, type of service, metric).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Placement {
    /// Before them ("prepend"): it is the one that is used. In IPv6 it shares the traffic with them.
    #[default]
    First,
    /// After them ("append").
    Last,
    /// Nowhere if there is one ("add").
    Alone,
}

/// A route and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PlacedRoute {
    /// The route.
    pub route: Route,
    /// Where it goes.
    pub placement: Placement,
}

impl From<Route> for PlacedRoute {
    /// Before others for the same packets.
    fn from(route: Route) -> Self {
        Self { route, placement: Placement::First }
    }
}

/// What is ours: what to hold, and what to give up. Nothing else is ever removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// To be there, with these attributes. The first of two with the same [key](Address::key) counts.
    pub addresses: Vec<Address>,
    /// Those of `addresses` whose lifetimes begin anew with each plan. Of all others one that runs down is left to run.
    pub renew: Vec<AddressKey>,
    /// To be removed if present, unless also in `addresses`.
    pub release: Vec<AddressKey>,
    /// To be there. What is present and is the [same route](Route::meets) as one of them, but with other attributes, is
    /// taken for an earlier edition and goes; so all routes with the same key have to be in one plan.
    pub routes: Vec<PlacedRoute>,
    /// To be removed if present, unless also in `routes`. A route of others with the same key but other next hops stays.
    pub release_routes: Vec<Route>,
    /// To be there.
    pub rules: Vec<Rule>,
    /// To be removed if present, unless also in `rules`.
    pub release_rules: Vec<Rule>,
    /// To be there and up, with these attributes. The first of two with the same name counts. One that is missing is
    /// made by this plan and given its settings by the next: plan until nothing is left to do.
    pub links: Vec<VirtualLink>,
    /// Macvlans and ipvlans of these names go, unless they are in `links` as they are; on another parent, or of the
    /// other sort, they are made anew. A link of any other sort is never removed.
    pub release_links: Vec<LinkName>,
}

/// What the kernel has, as far as a plan needs it: [dumps](crate::RouteSocket::present).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    /// All addresses.
    pub addresses: Vec<Address>,
    /// All routes of the tables and protocols of those that are wanted or released, and in the places of those that
    /// change the routes of all.
    pub routes: Vec<Route>,
    /// All rules; not needed where none is wanted or released.
    pub rules: Vec<Rule>,
    /// All links; not needed where none is wanted or released.
    pub links: Vec<Link>,
}

/// The changes that lead from `present` to `wanted`. Empty once all is as wanted, but for addresses that are to be renewed.
///
/// They come in an order in which each finds what it needs: rules go, routes go, links go, are made and changed, then
/// addresses go, are edited and come, then routes come, then rules.
///
/// An address that is present as wanted is adopted, whoever put it there. A lifetime in seconds that is not above the wanted
/// one is taken to have run down from it, unless the address is to be renewed. Other lifetimes or flags are edited in place;
/// another peer, scope, label or broadcast address cannot be and makes a removal and an addition. So does an
/// IPv6 address that failed duplicate address detection if it is wanted without.
///
/// Without `promote_secondaries` the kernel removes the secondary IPv4 addresses of a subnet with its primary one.
/// Those that were not to go are added again right after it.
///
/// A route that is present as wanted is adopted if it is marked with the same protocol. Another edition of it, or one that
/// is released and has the same key, is replaced in one step where the kernel can be told which one is meant, else
/// removed and another added. With an address that is removed
/// and added the kernel drops the IPv4 routes that have it as their source or lead over a link that is left without
/// another; those that are wanted are added again.
pub fn plan(wanted: &Wanted, present: &Present) -> Vec<Change> {
    let addresses = plan_addresses(wanted, &present.addresses);
    let removed: Vec<_> = addresses.iter().filter_map(removed_address).collect();
    let lost = route::Lost::with(&removed, &present.addresses);
    let routes = route::plan(&wanted.routes, &wanted.release_routes, &present.routes, &lost);
    let rules: Vec<_> = wanted.rules.iter().map(Rule::as_reported).collect();
    let released: HashSet<_> = wanted.release_rules.iter().map(Rule::as_reported).collect();
    let surplus = present.rules.iter().filter(|rule| released.contains(rule) && !rules.contains(rule));
    let mut known: HashSet<&Rule> = present.rules.iter().collect();
    let missing = rules.iter().filter(|rule| known.insert(rule));

    let mut changes: Vec<_> = surplus.map(|rule| Change::RemoveRule(Box::new(rule.clone()))).collect();
    changes.extend(routes.removals);
    changes.extend(link::plan(&wanted.links, &wanted.release_links, &present.links));
    changes.extend(addresses);
    changes.extend(routes.additions);
    changes.extend(missing.map(|rule| Change::AddRule(Box::new(rule.clone()))));
    changes
}

const fn removed_address(change: &Change) -> Option<Address> {
    match change {
        Change::RemoveAddress(address) => Some(*address),
        _ => None,
    }
}

fn plan_addresses(wanted: &Wanted, present: &[Address]) -> Vec<Change> {
    let present_by_key: HashMap<_, _> = present.iter().rev().map(|address| (address.key(), address)).collect();
    let renew: HashSet<_> = wanted.renew.iter().copied().collect();
    let mut wanted_keys = HashSet::new();
    let mut remove: HashSet<AddressKey> = HashSet::new();
    let (mut edits, mut additions) = (Vec::new(), Vec::new());
    for address in wanted.addresses.iter().filter(|address| wanted_keys.insert(address.key())) {
        let renewed = renew.contains(&address.key());
        match present_by_key.get(&address.key()).map(|there| Difference::between(address, there, renewed)) {
            None => additions.push(Change::AddAddress(*address)),
            Some(Difference::Nothing) => {}
            Some(Difference::Editable) => edits.extend(edit(address, present_by_key.get(&address.key()).copied())),
            Some(Difference::Fixed) => {
                remove.insert(address.key());
                additions.push(Change::AddAddress(*address));
            }
        }
    }
    remove.extend(wanted.release.iter().filter(|key| !wanted_keys.contains(key)));

    let (mut removed, kept): (Vec<&Address>, Vec<&Address>) =
        present.iter().partition(|address| remove.contains(&address.key()));
    removed.sort_by_key(|address| is_primary(address)); // secondary ones first: a removal then takes no other along
    let torn_subnets: HashSet<_> =
        removed.iter().filter(|address| is_primary(address)).filter_map(|a| subnet(a)).collect();
    let restored =
        kept.into_iter().filter(|a| !is_primary(a) && subnet(a).is_some_and(|subnet| torn_subnets.contains(&subnet)));

    let mut changes: Vec<_> = removed.iter().flat_map(|address| removal(address)).collect();
    changes.extend(restored.map(|address| Change::AddAddress(*address)));
    changes.append(&mut edits);
    changes.append(&mut additions);
    changes
}

/// Gives `present` other lifetimes or flags. The kernel gives the route to an IPv6 prefix that has no end the end of an
/// address that gets one, though other addresses need it: so the address first parts with the route.
fn edit(wanted: &Address, present: Option<&Address>) -> impl Iterator<Item = Change> {
    let gets_an_end = present.is_some_and(|present| !has_end(present) && !present.flags.contains(NO_ROUTE));
    let parts = (gets_an_end && has_end(wanted) && wanted.ip.is_ipv6() && !wanted.flags.contains(NO_ROUTE))
        .then(|| Address { flags: wanted.flags | NO_ROUTE, ..without_end(wanted) });
    parts.into_iter().chain([*wanted]).map(Change::EditAddress)
}

/// Removes an address. The kernel would leave the route to the prefix of an IPv6 address that has an end until then.
fn removal(address: &Address) -> impl Iterator<Item = Change> {
    let leaves_route = has_end(address) && address.ip.is_ipv6() && !address.flags.contains(NO_ROUTE);
    let lasting = leaves_route.then(|| Change::EditAddress(without_end(address)));
    lasting.into_iter().chain([Change::RemoveAddress(*address)])
}

const NO_ROUTE: AddressFlags = AddressFlags::NOPREFIXROUTE;

fn has_end(address: &Address) -> bool {
    address.valid != Lifetime::Forever
}

const fn without_end(address: &Address) -> Address {
    Address { preferred: Lifetime::Forever, valid: Lifetime::Forever, ..*address }
}

enum Difference {
    Nothing,
    Editable,
    Fixed,
}

impl Difference {
    fn between(wanted: &Address, present: &Address, renewed: bool) -> Self {
        let flags = wanted.flags ^ present.flags;
        let lifetimes = lifetimes_differ(wanted, present) || renewed && runs_down(wanted);
        let (fixed_flags, editable_flags) = match wanted.ip {
            IpAddr::V4(_) => (AddressFlags::NOPREFIXROUTE | AddressFlags::MCAUTOJOIN, AddressFlags::empty()),
            IpAddr::V6(_) => (
                AddressFlags::MCAUTOJOIN,
                AddressFlags::NOPREFIXROUTE | AddressFlags::HOMEADDRESS | AddressFlags::MANAGETEMPADDR,
            ),
        };
        let fixed = wanted.peer != present.peer
            || flags.intersects(fixed_flags)
            || wanted.ip.is_ipv4() && differs_in_ipv4(wanted, present)
            || wanted.flags.contains(AddressFlags::NODAD) && present.flags.contains(AddressFlags::DADFAILED);
        if fixed {
            Self::Fixed
        } else if lifetimes || flags.intersects(editable_flags) {
            Self::Editable
        } else {
            Self::Nothing
        }
    }
}

fn differs_in_ipv4(wanted: &Address, present: &Address) -> bool {
    wanted.scope != present.scope
        || wanted.broadcast.is_some() && wanted.broadcast != present.broadcast
        || wanted.label.is_some() && wanted.label != present.label
}

fn lifetimes_differ(wanted: &Address, present: &Address) -> bool {
    let [wanted, present] = [wanted, present].map(lifetimes_as_reported);
    !has_run_down(wanted.0, present.0) || !has_run_down(wanted.1, present.1)
}

/// Whether `present` is what may be left of `wanted` by now.
fn has_run_down(wanted: Lifetime, present: Lifetime) -> bool {
    match (wanted, present) {
        (Lifetime::Seconds(wanted), Lifetime::Seconds(present)) => present <= wanted,
        (wanted, present) => wanted == present,
    }
}

/// Whether the kernel counts the seconds of an address.
fn runs_down(address: &Address) -> bool {
    let (preferred, valid) = lifetimes_as_reported(address);
    matches!(preferred, Lifetime::Seconds(1..)) || valid != Lifetime::Forever
}

/// Of an IPv4 address that is valid for ever the kernel tells only whether its preferred lifetime is over.
fn lifetimes_as_reported(address: &Address) -> (Lifetime, Lifetime) {
    match (address.ip, address.preferred, address.valid) {
        (IpAddr::V4(_), Lifetime::Seconds(1..), Lifetime::Forever) => (Lifetime::Forever, Lifetime::Forever),
        (_, preferred, valid) => (preferred, valid),
    }
}

fn is_primary(address: &Address) -> bool {
    !address.flags.contains(AddressFlags::SECONDARY)
}

/// What the kernel takes for one subnet when it makes an IPv4 address secondary.
fn subnet(address: &Address) -> Option<(LinkIndex, u8, Ipv4Addr)> {
    let IpAddr::V4(ip) = address.peer.unwrap_or(address.ip) else {
        return None;
    };
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(address.prefix_len.into())).unwrap_or(0);
    Some((address.link, address.prefix_len, Ipv4Addr::from_bits(ip.to_bits() & mask)))
}

#[cfg(test)]
mod tests;
