//! What others took away, from what the kernel reports. Pure.
//!
//! The kernel tells of a route that somebody deletes, and of rules. It says nothing of the IPv4 routes that it drops
//! itself with an interface that goes down or an address that goes: these only a dump shows.

use std::collections::{BTreeSet, HashSet};

use vip_netlink::{Event, Route, RouteKey, RouteProtocol, Rule};

/// The routes and rules that are to be there.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Routes.
    pub(crate) routes: BTreeSet<RouteKey>,
    /// Rules, as the kernel reports them.
    pub(crate) rules: HashSet<Rule>,
}

/// What some events leave behind.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// Routes that were deleted, as far as the events tell: a part of one may be left.
    pub(crate) routes: BTreeSet<RouteKey>,
    /// Rules that were deleted.
    pub(crate) rules: HashSet<Rule>,
    /// Routes may be gone of which there is no news, or can be put back: a link came up.
    pub(crate) silent: bool,
}

impl Losses {
    /// Takes an event, in the order of the kernel.
    pub(crate) fn hear(&mut self, event: &Event, held: &Held) {
        match event {
            Event::RouteRemoved(route) if held.routes.contains(&route.key()) => {
                self.routes.insert(route.key());
            }
            Event::Route(route) if held.routes.contains(&route.key()) => {
                self.routes.remove(&route.key());
            }
            // Of another owner: it may stand beside ours, or in its place.
            Event::Route(route) => {
                self.routes.extend(held.routes.iter().filter(|key| place(**key) == place(route.key())));
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
        self.routes.extend(held.routes);
        self.rules.extend(held.rules);
        self.silent = true;
    }

    /// Whether the routes that are there have to be asked for.
    pub(crate) fn need_routes(&self) -> bool {
        self.silent || !self.routes.is_empty()
    }

    /// The routes of `held` that are not there, and whether it was somebody who deleted each: else the kernel did.
    pub(crate) fn missing(&self, held: &Held, present: &[Route]) -> Vec<(RouteKey, bool)> {
        let present: BTreeSet<_> = present.iter().map(Route::key).collect();
        let missing = held.routes.difference(&present);
        missing.map(|key| (*key, self.routes.contains(key))).filter(|(_, deleted)| self.silent || *deleted).collect()
    }
}

/// What the kernel keeps apart from all other routes: the key without its owner.
fn place(key: RouteKey) -> RouteKey {
    RouteKey { protocol: RouteProtocol(0), ..key }
}

#[cfg(test)]
mod tests {
    use vip_netlink::{Address, Family, LinkIndex, Prefix, RuleAction};

    use super::*;

    fn route(third: u8) -> Route {
        Route::new(Prefix::network([192, 0, third, 0].into(), 24))
    }

    fn rule(priority: u32) -> Rule {
        Rule::new(Family::Ipv4, priority, RuleAction::Table(7))
    }

    fn held() -> Held {
        Held { routes: [route(1).key(), route(2).key()].into(), rules: [rule(1), rule(2)].into() }
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
        assert_eq!(losses.routes, [route(2).key()].into());
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
        assert_eq!(losses.missing(&held(), &[other, route(2)]), [(route(1).key(), true)]);
    }

    #[test]
    fn an_address_takes_routes_along_without_a_word() {
        let address = |ip: &str| Address::new(LinkIndex::new(2).unwrap(), ip.parse().unwrap(), 24);
        assert!(!after([Event::AddressRemoved(address("2001:db8::1"))]).need_routes());
        let losses = after([Event::AddressRemoved(address("192.0.2.1"))]);
        assert!(losses.need_routes());
        assert_eq!(losses.missing(&held(), &[route(2)]), [(route(1).key(), false)]);
    }

    #[test]
    fn after_an_overflow_everything_is_in_doubt() {
        let mut losses = Losses::default();
        losses.fear(held());
        assert_eq!(losses.missing(&held(), &[route(2)]), [(route(1).key(), true)]);
        assert_eq!(losses.rules, held().rules);
    }
}
