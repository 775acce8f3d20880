//! The part of a plan that is about routes.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{Change, PlacedRoute};
use crate::types::{Address, LinkIndex, NextHop, Realms, Route, RouteKey, RouterPreference, Scope};

/// What is to be done about routes.
#[derive(Debug, Default)]
pub(super) struct RoutePlan {
    /// To come before anything is done about addresses.
    pub(super) removals: Vec<Change>,
    /// To come after it.
    pub(super) additions: Vec<Change>,
}

/// What is present and [meets](Route::meets) a wanted or released route is taken for an edition of it.
pub(super) fn plan(wanted: &[PlacedRoute], release: &[Route], present: &[Route], lost: &Lost) -> RoutePlan {
    let wanted: Vec<_> =
        wanted.iter().map(|placed| PlacedRoute { route: weighed(&placed.route), ..placed.clone() }).collect();
    let released: Vec<_> = release.iter().map(weighed).collect();
    let by_key = by_key(wanted.iter().map(|placed| &placed.route));
    let released_by_key = self::by_key(&released);
    let is_ours = |entry: &Route| {
        let key = entry.key();
        let known = [&by_key, &released_by_key].into_iter().filter_map(|routes| routes.get(&key));
        known.flatten().any(|route| route.meets(entry))
    };
    // What stands in each place, and whether any of it is of others.
    let mut in_place: HashMap<RouteKey, (usize, bool)> = HashMap::new();
    let mut ours = Vec::new();
    for route in present.iter().map(weighed) {
        let (count, foreign) = in_place.entry(place(&route)).or_default();
        *count += 1;
        *foreign |= part(&route, |entry| !is_ours(entry)).is_some();
        ours.extend(part(&route, is_ours));
    }
    let present = ours;
    let of_key = self::by_key(&present);

    let mut out = RoutePlan::default();
    let mut replaced = HashSet::new();
    for placed in &wanted {
        let key = placed.route.key();
        let there = of_key.get(&key).map_or(&[][..], Vec::as_slice);
        let stays: Vec<Route> = there.iter().filter_map(|route| lost.without(route)).collect();
        let stays: Vec<&Route> = stays.iter().collect();
        let Some(missing) = part(&placed.route, |entry| !holds(&stays, |it| is(entry, it))) else { continue };
        let editions = by_key.get(&key).map_or(0, Vec::len);
        let is_edit = stays.iter().any(|route| part(route, |entry| !is(&placed.route, entry)).is_some());
        let alone = stays.len() == 1 && in_place.get(&place(&placed.route)) == Some(&(1, false));
        if editions == 1 && is_edit && alone {
            replaced.insert(key);
            out.additions.push(Change::ReplaceRoute(Box::new(placed.route.clone())));
        } else {
            out.additions.push(Change::AddRoute { route: Box::new(missing), placement: placed.placement });
        }
    }
    for route in present.iter().filter(|route| !replaced.contains(&route.key())) {
        let wanted = by_key.get(&route.key()).map_or(&[][..], Vec::as_slice);
        let surplus = part(route, |entry| !holds(wanted, |it| is(it, entry)));
        out.removals.extend(surplus.map(|route| Change::RemoveRoute(Box::new(route))));
    }
    out
}

fn by_key<'a>(routes: impl IntoIterator<Item = &'a Route>) -> HashMap<RouteKey, Vec<&'a Route>> {
    let mut by_key: HashMap<_, Vec<_>> = HashMap::new();
    for route in routes {
        by_key.entry(route.key()).or_default().push(route);
    }
    by_key
}

fn holds(routes: &[&Route], is: impl Fn(&Route) -> bool) -> bool {
    routes.iter().any(|route| entries(route).iter().any(&is))
}

/// What the kernel keeps apart from all other routes: the key without its owner.
pub(crate) fn place(route: &Route) -> RouteKey {
    RouteKey { protocol: crate::types::RouteProtocol(0), ..route.key() }
}

/// The route with the weights that count: the kernel keeps none for a next hop that is alone.
fn weighed(route: &Route) -> Route {
    let mut route = route.clone();
    if let [only] = route.next_hops.as_mut_slice() {
        only.weight = 1;
    }
    route
}

/// What the kernel takes for one route: in IPv4 all next hops together, in IPv6 each for itself.
fn entries(route: &Route) -> Vec<Route> {
    if route.destination.ip.is_ipv4() || route.next_hops.len() < 2 {
        return vec![route.clone()];
    }
    let only = |hop: &NextHop| Route { next_hops: vec![hop.clone()], ..route.clone() };
    route.next_hops.iter().map(only).collect()
}

/// The route with those of its entries that are `chosen`; `None` if that is none.
fn part(route: &Route, chosen: impl Fn(&Route) -> bool) -> Option<Route> {
    let chosen: Vec<_> = entries(route).into_iter().filter(chosen).collect();
    let next_hops = chosen.iter().flat_map(|entry| entry.next_hops.clone()).collect();
    chosen.first().map(|entry| Route { next_hops, ..entry.clone() })
}

/// Whether an entry of `wanted` is `present`, an entry that the kernel reports.
fn is(wanted: &Route, present: &Route) -> bool {
    let there = as_reported(present);
    entries(wanted).iter().any(|entry| {
        let entry = as_reported(entry);
        let hops = entry.next_hops.len() == there.next_hops.len()
            && entry.next_hops.iter().zip(&there.next_hops).all(|(entry, there)| hop_is(entry, there));
        hops && Route { next_hops: Vec::new(), ..entry } == Route { next_hops: Vec::new(), ..there.clone() }
    })
}

/// The kernel finds the link of a gateway itself where none is given.
fn hop_is(wanted: &NextHop, present: &NextHop) -> bool {
    let link = wanted.link.or(present.link);
    NextHop { link, ..wanted.clone() } == *present
}

/// The route without what the kernel does not report, or reports otherwise.
fn as_reported(route: &Route) -> Route {
    let mut route = Route { metric: route.key().metric, ttl_propagate: None, ..route.clone() };
    if route.destination.ip.is_ipv6() {
        route.scope = Scope::UNIVERSE;
        route.tos = 0;
        for hop in &mut route.next_hops {
            hop.realms = None;
        }
    } else {
        route.source = None;
        route.preference = RouterPreference::MEDIUM;
        route.expires = None;
    }
    route.expires = route.expires.map(|_| 0); // it runs down
    if route.kind.rejects() {
        route.next_hops.clear();
    }
    for hop in &mut route.next_hops {
        hop.realms = hop.realms.filter(|realms| *realms != Realms { source: 0, destination: 0 });
    }
    route.metrics = route.metrics.as_reported();
    route
}

/// What the kernel does to routes of its own accord while addresses are removed and put back.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Addresses that are gone for a moment.
    sources: HashSet<IpAddr>,
    /// Links that have no IPv4 address for a moment.
    bare: HashSet<LinkIndex>,
}

impl Lost {
    /// What is lost once `removed` are removed from `present`.
    pub(super) fn with(removed: &[Address], present: &[Address]) -> Self {
        let gone: HashSet<_> = removed.iter().map(Address::key).collect();
        let keeps =
            |link: LinkIndex| present.iter().any(|it| it.link == link && it.ip.is_ipv4() && !gone.contains(&it.key()));
        let links = removed.iter().filter(|address| address.ip.is_ipv4()).map(|address| address.link);
        Self {
            sources: removed.iter().map(|address| address.ip).collect(),
            bare: links.filter(|link| !keeps(*link)).collect(),
        }
    }

    /// What is left of `route`.
    fn without(&self, route: &Route) -> Option<Route> {
        let sourceless = route.preferred_source.is_some_and(|source| self.sources.contains(&source));
        if route.destination.ip.is_ipv6() {
            let preferred_source = route.preferred_source.filter(|_| !sourceless);
            return Some(Route { preferred_source, ..route.clone() });
        }
        let on_bare_link = route.next_hops.iter().filter_map(|hop| hop.link).any(|link| self.bare.contains(&link));
        (!sourceless && !on_bare_link).then(|| route.clone())
    }
}
