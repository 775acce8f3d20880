//! Carrying a plan out, and what the kernel refused of it.

use std::collections::BTreeMap;

use vip_netlink::{AddressKey, Applied, Change, Route, RouteKey, RouteSocket, Rule, Wanted};

/// What the kernel refused, and why.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// The kernel could not even be asked.
    pub(super) everything: Option<String>,
    addresses: BTreeMap<AddressKey, String>,
    routes: BTreeMap<RouteKey, Vec<(Route, String)>>,
    rules: Vec<(Rule, String)>,
    links: Vec<String>,
}

impl Refused {
    /// Whether everything was carried out.
    pub(super) fn is_empty(&self) -> bool {
        let Self { everything, addresses, routes, rules, links } = self;
        everything.is_none() && addresses.is_empty() && routes.is_empty() && rules.is_empty() && links.is_empty()
    }

    /// Whether an address is as it was.
    pub(super) fn has(&self, key: &AddressKey) -> bool {
        self.everything.is_some() || self.addresses.contains_key(key)
    }

    /// How many of the things that are to come or to go in `wanted` are as they were.
    pub(super) fn of(&self, wanted: &Wanted) -> usize {
        if self.everything.is_some() {
            return things(wanted);
        }
        let addresses = wanted.addresses.iter().map(vip_netlink::Address::key).chain(wanted.release.iter().copied());
        let routes = wanted.routes.iter().map(|placed| &placed.route).chain(&wanted.release_routes);
        let rules = wanted.rules.iter().chain(&wanted.release_rules);
        addresses.filter(|key| self.addresses.contains_key(key)).count()
            + routes.filter(|route| self.has_route(route)).count()
            + rules.filter(|rule| self.rules.iter().any(|(refused, _)| refused == *rule)).count()
    }

    fn has_route(&self, route: &Route) -> bool {
        self.routes.get(&route.key()).is_some_and(|refused| refused.iter().any(|(other, _)| route.meets(other)))
    }

    /// One line of the log for each: what was asked for, the kernel's number and words, what becomes of the rest.
    pub(super) fn lines(&self) -> Vec<String> {
        let rest = if self.everything.is_some() { "" } else { "the rest is carried out; " };
        let line = |reason: String| format!("{reason}; {rest}this is tried again every second");
        self.reasons().into_iter().map(line).collect()
    }

    /// Why, for each.
    pub(super) fn reasons(&self) -> Vec<String> {
        let rules = self.rules.iter().map(|(_, reason)| reason);
        let routes = self.routes.values().flatten().map(|(_, reason)| reason);
        let all = self.everything.iter().chain(self.addresses.values()).chain(routes);
        all.chain(rules).chain(&self.links).cloned().collect()
    }

    fn add(&mut self, change: &Change, reason: String) {
        match change {
            Change::AddAddress(it) | Change::EditAddress(it) | Change::RemoveAddress(it) => {
                self.addresses.insert(it.key(), reason);
            }
            Change::AddRoute { route: it, .. } | Change::ReplaceRoute(it) | Change::RemoveRoute(it) => {
                self.routes.entry(it.key()).or_default().push((Route::clone(it), reason));
            }
            Change::AddRule(it) | Change::RemoveRule(it) => self.rules.push((Rule::clone(it), reason)),
            _ => self.links.push(reason),
        }
    }
}

/// How many things are to come or to go.
pub(super) fn things(wanted: &Wanted) -> usize {
    let come = wanted.addresses.len() + wanted.routes.len() + wanted.rules.len();
    come + wanted.release.len() + wanted.release_routes.len() + wanted.release_rules.len()
}

/// Reconciles the kernel with `wanted`.
pub(super) fn apply(route: &mut RouteSocket, wanted: &Wanted) -> Refused {
    refused(route.reconcile(wanted))
}

/// As [`apply`], where none of the addresses is known to be there.
pub(super) fn add(route: &mut RouteSocket, wanted: &Wanted) -> Refused {
    refused(route.reconcile_unseen(wanted))
}

fn refused(applied: Result<Applied, vip_netlink::Error>) -> Refused {
    let mut refused = Refused::default();
    match applied {
        Ok(applied) => {
            applied.refused.into_iter().for_each(|refusal| refused.add(&refusal.what, refusal.error.to_string()));
        }
        Err(error) => refused.everything = Some(error.to_string()),
    }
    refused
}

#[cfg(test)]
mod tests {
    use vip_netlink::{Address, Family, LinkIndex, NextHop, PlacedRoute, Prefix, RuleAction};

    use super::*;

    fn route(third: u8) -> Route {
        Route::new(Prefix::network([192, 0, third, 0].into(), 24))
    }

    #[test]
    fn a_refusal_is_of_those_who_want_the_thing() {
        let rule = Rule::new(Family::Ipv4, 5, RuleAction::Nop);
        let address = Address::virtual_address(LinkIndex::new(2).unwrap(), [192, 0, 2, 1].into(), 24);
        let hop = NextHop { gateway: Some([192, 0, 2, 9].into()), ..NextHop::default() };
        let double = Route { next_hops: vec![hop], ..route(1) };
        let mut refused = Refused::default();
        refused.add(&Change::RemoveRoute(Box::new(route(1))), "route".into());
        refused.add(&Change::AddRule(Box::new(rule.clone())), "rule".into());
        refused.add(&Change::AddAddress(address), "address".into());
        refused.add(&Change::SetLinkUp(address.link.into()), "link".into());
        assert_eq!(refused.reasons(), ["address", "route", "rule", "link"]);
        let wanted = Wanted {
            addresses: vec![address],
            routes: vec![PlacedRoute::from(route(2))],
            release_routes: vec![route(1), double.clone()],
            ..Wanted::default()
        };
        assert_eq!((refused.of(&wanted), things(&wanted)), (2, 4));
        let other = Wanted { routes: vec![PlacedRoute::from(route(2))], ..Wanted::default() };
        assert_eq!(refused.of(&other), 0);
        assert_eq!(refused.of(&Wanted { release_rules: vec![rule], ..Wanted::default() }), 1);
        assert_eq!(refused.lines()[0], "address; the rest is carried out; this is tried again every second");
        let nobody = Refused { everything: Some("no answer".into()), ..Refused::default() };
        assert_eq!(nobody.of(&other), 1);
        assert_eq!(nobody.lines(), ["no answer; this is tried again every second"]);
    }
}
