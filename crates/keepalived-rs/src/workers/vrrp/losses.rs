//! What others took away, from what the kernel reports. Pure.
//!
//! The kernel tells of a route that somebody deletes, and of rules. It says nothing of the IPv4 routes that it drops
//! itself with an interface that goes down or an address that goes: these only a dump shows.

use std::collections::{HashMap, HashSet};

use vip_netlink::{Event, Route, RouteKey, RouteProtocol, Rule};

/// The routes and rules that are to be there.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Routes, by their place among those of everyone.
    routes: HashMap<RouteKey, Vec<Route>>,
    /// Rules, as the kernel reports them.
    pub(crate) rules: HashSet<Rule>,
}

impl Held {
    /// These.
    pub(crate) fn new(routes: impl IntoIterator<Item = Route>, rules: HashSet<Rule>) -> Self {
        let mut by_place: HashMap<_, Vec<_>> = HashMap::new();
        for route in routes {
            by_place.entry(place(&route)).or_default().push(route);
        }
        Self { routes: by_place, rules }
    }

    /// All routes.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().flatten()
    }

    /// Those in the place of `route`.
    fn beside(&self, route: &Route) -> &[Route] {
        self.routes.get(&place(route)).map_or(&[], Vec::as_slice)
    }
}

/// What some events leave behind.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Routes that were deleted, as far as the events tell: a part of one may be left.
    pub(crate) routes: HashSet<Route>,
    /// Rules that were deleted.
    pub(crate) rules: HashSet<Rule>,
    /// Routes may be gone of which there is no news, or can be put back: a link came up.
    pub(crate) silent: bool,
}

impl Losses {
    /// Takes an event, in the order of the kernel.
    pub(crate) fn hear(&mut self, event: &Event, held: &Held) {
        match event {
            Event::RouteRemoved(route) => {
                self.routes.extend(held.beside(route).iter().filter(|ours| ours.meets(route)).cloned());
            }
            // One of others may stand beside ours, or in its place.
            Event::Route(route) => {
                for ours in held.beside(route) {
                    if ours.is_within([&**route]) {
                        self.routes.remove(ours);
                    } else {
                        self.routes.insert(ours.clone());
                    }
                }
            }
            Event::RuleRemoved(rule) if held.rules.contains(&**rule) => {
                self.rules.insert(Rule::clone(rule));
            }
            Event::Rule(rule) => {
                self.rules.remove(&**rule);
            }
            Event::AddressRemoved(address) => self.silent |= address.ip.is_ipv4(),
            _ => {}
        }
    }

    /// Events were lost: everything may be gone.
    pub(crate) fn fear(&mut self, held: Held) {
        self.routes.extend(held.routes.into_values().flatten());
        self.rules.extend(held.rules);
        self.silent = true;
    }

    /// Whether the routes that are there have to be asked for.
    pub(crate) fn need_routes(&self) -> bool {
        self.silent || !self.routes.is_empty()
    }

    /// The routes of `held` that are not there, and whether it was somebody who deleted each: else the kernel did.
    pub(crate) fn missing(&self, held: &Held, present: &[Route]) -> Vec<(Route, bool)> {
        let mut by_place: HashMap<_, Vec<_>> = HashMap::new();
        for route in present {
            by_place.entry(place(route)).or_default().push(route);
        }
        let beside = |route: &Route| by_place.get(&place(route)).map_or(&[][..], Vec::as_slice);
        let missing = held.routes().filter(|route| !route.is_within(beside(route).iter().copied()));
        let told = missing.map(|route| (route.clone(), self.routes.contains(route)));
        told.filter(|(_, deleted)| self.silent || *deleted).collect()
    }
}

/// What the kernel keeps apart from all other routes: the key without its owner.
fn place(route: &Route) -> RouteKey {
    RouteKey { protocol: RouteProtocol(0), ..route.key() }
}

#[cfg(test)]
mod tests {
    use vip_netlink::{Address, Family, LinkIndex, NextHop, Prefix, RuleAction};

    use super::*;

    fn route(third: u8) -> Route {
        let hop = NextHop { gateway: Some([192, 0, 2, 9].into()), link: LinkIndex::new(2), ..NextHop::default() };
        Route { next_hops: vec![hop], ..Route::new(Prefix::network([192, 0, third, 0].into(), 24)) }
    }

    /// One of somebody else with the same key.
    fn double(third: u8) -> Route {
        let hop = NextHop { gateway: Some([192, 0, 2, 7].into()), link: LinkIndex::new(2), ..NextHop::default() };
        Route { next_hops: vec![hop], ..route(third) }
    }

    fn rule(priority: u32) -> Rule {
        Rule::new(Family::Ipv4, priority, RuleAction::Table(7))
    }

    fn held() -> Held {
        Held::new([route(1), route(2)], [rule(1), rule(2)].into())
    }

    fn after(events: impl IntoIterator<Item = Event>) -> Losses {
        let mut losses = Losses::default();
        for event in events {
            losses.hear(&event, &held());
        }
        losses
    }

    #[test]
    fn what_was_put_back_is_not_lost() {
        let gone = |number| Event::RouteRemoved(Box::new(route(number)));
        let losses = after([gone(1), gone(2), gone(3), Event::Route(Box::new(route(1)))]);
        assert_eq!(losses.routes, [route(2)].into());
        let losses = after([
            Event::RuleRemoved(Box::new(rule(1))),
            Event::RuleRemoved(Box::new(rule(2))),
            Event::RuleRemoved(Box::new(rule(3))),
            Event::Rule(Box::new(rule(2))),
        ]);
        assert_eq!(losses.rules, [rule(1)].into());
        assert!(!losses.need_routes());
    }

    #[test]
    fn a_route_of_another_owner_may_have_taken_the_place() {
        let other = Route { protocol: RouteProtocol(3), ..route(1) };
        let losses = after([Event::Route(Box::new(other.clone()))]);
        assert!(losses.need_routes());
        assert_eq!(losses.missing(&held(), &[other.clone(), route(1), route(2)]), []);
        assert_eq!(losses.missing(&held(), &[other, route(2)]), [(route(1), true)]);
    }

    #[test]
    fn a_route_with_the_same_key_is_not_ours() {
        let losses = after([Event::RouteRemoved(Box::new(double(1)))]);
        assert!(!losses.need_routes());
        let losses = after([Event::RouteRemoved(Box::new(route(1))), Event::Route(Box::new(double(1)))]);
        assert_eq!(losses.missing(&held(), &[double(1), route(2)]), [(route(1), true)]);
        // "ip route replace" says nothing of what went.
        let losses = after([Event::Route(Box::new(double(1)))]);
        assert_eq!(losses.missing(&held(), &[double(1), route(2)]), [(route(1), true)]);
    }

    #[test]
    fn an_address_takes_routes_along_without_a_word() {
        let address = |ip: &str| Address::new(LinkIndex::new(2).unwrap(), ip.parse().unwrap(), 24);
        assert!(!after([Event::AddressRemoved(address("2001:db8::1"))]).need_routes());
        let losses = after([Event::AddressRemoved(address("192.0.2.1"))]);
        assert!(losses.need_routes());
        assert_eq!(losses.missing(&held(), &[route(2)]), [(route(1), false)]);
    }

    #[test]
    fn after_an_overflow_everything_is_in_doubt() {
        let mut losses = Losses::default();
        losses.fear(held());
        assert_eq!(losses.missing(&held(), &[route(2)]), [(route(1), true)]);
        assert_eq!(losses.rules, held().rules);
    }
}
