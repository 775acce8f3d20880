//! What the kernel thread does about things that others took away.
//!
//! * A tracked address, route or rule of a router: the router is told, which puts it back or resigns.
//! * A static one: it is put back.
//! * One with `no_track`, and a route without `dev`: it stays away until its router takes over again.
//! * A route that the kernel dropped with an interface or an address: it is put back as soon as the kernel takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vip_netlink::{AddressKey, Link, Route, RouteFilter, Rule};
use vrrp_proto::RouterId;

use super::{Kernel, Outcome, clock};
use crate::workers::vrrp::holdings::{HOST, Holder};
use crate::workers::vrrp::losses::{Held, Losses};

/// Between two repairs: others who take something away again and again are not to keep this process busy.
const REPAIR_GAP: Duration = Duration::from_millis(100);

impl Kernel {
    /// What is to be there of that which others may take away.
    pub(super) fn held(&self) -> Held {
        let view = &self.view;
        let routes = self.holdings.routes(|name| view.link(name).map(|link| link.index));
        Held::new(routes, self.holdings.rules().map(Rule::as_reported).collect())
    }

    /// Hears of routes and rules only as long as there are any: a router with many may have news of others all the time.
    pub(super) fn watch_what_is_held(&mut self) {
        if let Err(error) = self.monitor.watch_routes(self.holdings.has_routes_or_rules()) {
            self.complain(error.to_string());
        }
    }

    /// After events were lost: all routes are in doubt, and the rules that are not there.
    pub(super) fn fear_losses(&mut self, losses: &mut Losses) {
        let mut held = self.held();
        if held.routes().next().is_none() && held.rules.is_empty() {
            return;
        }
        match self.route.rules() {
            Ok(present) => held.rules.retain(|rule| !present.contains(rule)),
            Err(error) => {
                self.complain(error.to_string());
                self.out_of_step = true;
                return self.retry_soon();
            }
        }
        losses.fear(held);
    }

    /// Acts on addresses that are gone: `holders` had them.
    pub(super) fn take_lost_addresses(
        &mut self,
        removed: &BTreeSet<AddressKey>,
        holders: &BTreeMap<AddressKey, Vec<Holder>>,
        losers: &mut BTreeSet<RouterId>,
    ) {
        for key in removed {
            let Some(holders) = holders.get(key) else { continue };
            // With its interface it is not lost for ever.
            let interface = self.view.link_by_index(key.link).map(|link| link.name);
            if holders.iter().any(|holder| holder.tracks && holder.router != HOST) {
                let name = interface.map_or_else(|| key.link.to_string(), |name| name.to_string());
                tracing::info!("Netlink reflector reports IP {} removed from {name}", key.ip);
            }
            for holder in holders {
                match interface {
                    None if holder.tracks && holder.router != HOST => _ = losers.insert(holder.router),
                    None => self.repair(holder.router),
                    Some(_) if !holder.tracks => self.holdings.let_address_go(holder.router, *key),
                    Some(_) if holder.router != HOST => _ = losers.insert(holder.router),
                    Some(name) => {
                        tracing::info!("Restoring deleted static address {}/{} dev {name}", key.ip, key.prefix_len);
                        self.repair(HOST);
                    }
                }
            }
        }
    }

    /// Acts on routes and rules that are gone.
    pub(super) fn take_losses(&mut self, losses: &Losses, losers: &mut BTreeSet<RouterId>) {
        for rule in &losses.rules {
            for holder in self.holdings.holders_of_rule(rule).collect::<Vec<_>>() {
                if self.take_loss(holder, &format!("rule {rule}"), losers) {
                    self.holdings.let_rule_go(holder.router, rule);
                }
            }
        }
        if !losses.need_routes() || !self.holdings.has_routes_or_rules() {
            return;
        }
        let held = self.held();
        if held.routes().next().is_none() {
            return;
        }
        let like_ours = held.routes().map(RouteFilter::of).collect::<BTreeSet<_>>();
        let present = match self.route.routes_like(like_ours) {
            Ok(present) => present,
            Err(error) => {
                self.complain(error.to_string());
                self.out_of_step = true;
                return self.retry_soon();
            }
        };
        for (route, deleted) in losses.missing(&held, &present) {
            self.take_lost_route(&route, deleted, losers);
        }
    }

    fn take_lost_route(&mut self, route: &Route, deleted: bool, losers: &mut BTreeSet<RouterId>) {
        let view = &self.view;
        let is_up = |name: &str| view.link(name).is_some_and(Link::is_up);
        let holders = self.holdings.holders_of_route(route, |name| view.link(name).map(|link| link.index));
        let holders: Vec<_> = holders.map(|(holder, held)| (holder, held.clone(), held.devices().all(is_up))).collect();
        for (holder, held, up) in holders {
            if !up {
                // It comes back with its interface.
                continue;
            }
            if !deleted {
                self.repair(holder.router);
            } else if self.take_loss(holder, &format!("route {}", held.route()), losers) {
                self.holdings.let_route_go(holder.router, held);
            }
        }
    }

    /// Says what becomes of a route or rule that somebody deleted; whether it is to stay away.
    fn take_loss(&mut self, holder: Holder, what: &str, losers: &mut BTreeSet<RouterId>) -> bool {
        if !holder.tracks {
            return true;
        }
        if holder.router == HOST {
            tracing::info!("Restoring deleted static {what}");
            self.repair(HOST);
        } else {
            let name = self.roster.name(holder.router);
            tracing::info!("({name}) Netlink reflector reports {what} removed");
            losers.insert(holder.router);
        }
        false
    }

    /// Puts back what a router lacks, and the host.
    fn repair(&mut self, router: RouterId) {
        let now = clock::now();
        let at = self.repaired_at.map_or(now, |last| now.max(last + REPAIR_GAP));
        self.repaired_at = Some(at);
        self.unsettled.insert(router);
        self.retry_at = Some(self.retry_at.map_or(at, |due| due.min(at)));
    }

    /// Tells the advert thread who lost something.
    pub(super) fn tell_losers(&mut self, losers: BTreeSet<RouterId>) {
        for router in losers {
            self.outcomes.send(Outcome::AddressLost { router });
        }
    }
}
