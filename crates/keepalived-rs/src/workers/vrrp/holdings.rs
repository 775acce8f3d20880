//! Which addresses, routes and rules every router has, and which of them belong on this host at the moment. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use vip_netlink::{Address, AddressKey, Lifetime, LinkIndex, LinkName, Route, Rule, Scope, Wanted};
use vrrp_proto::{Ownership, RouterId};

use crate::config::network::{Belongings, Footprint, HeldRoute, HeldRule};
use crate::config::vrrp::{HeldAddress, VirtualAddress};

/// Who has what is there for as long as the daemon runs (`static_ipaddress`, `static_routes`, `static_rules`): no router
/// has this number.
pub(crate) const HOST: RouterId = RouterId(0);

/// The addresses of all routers.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// In boxes, as a map leaves much of its room empty.
    routers: BTreeMap<RouterId, Box<Holding>>,
    /// How long virtual addresses outlive their last renewal; `None` for ever.
    lease: Option<Duration>,
}

/// The addresses of one router.
#[derive(Debug, Default)]
struct Holding {
    addresses: Vec<HeldAddress>,
    routes: Vec<HeldRoute>,
    rules: Vec<HeldRule>,
    /// What an earlier configuration had, and has to go.
    former: Footprint,
    /// Those whose lifetimes are others now: until they are set they would seem to run down.
    renew: Vec<HeldAddress>,
    /// What others took away and is not to be put back before the router takes over again.
    let_go: Option<Box<LetGo>>,
    held: bool,
    /// It gave everything up, and nobody refused to remove any of it.
    clear: bool,
    /// No longer configured: forgotten once its addresses are gone.
    deleted: bool,
}

#[derive(Debug, Default)]
struct LetGo {
    addresses: BTreeSet<AddressKey>,
    routes: HashSet<HeldRoute>,
    rules: Vec<Rule>,
}

/// One who holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Which router, or [`HOST`].
    pub(crate) router: RouterId,
    /// Whether it matters when others take it away.
    pub(crate) tracks: bool,
}

impl Holdings {
    /// The routers of a new configuration. What an old one had beside is removed with the next plan; here it is named.
    pub(crate) fn configure<B: Into<Belongings>>(
        &mut self,
        routers: impl IntoIterator<Item = (RouterId, B)>,
    ) -> Vec<(RouterId, HeldAddress)> {
        let mut all_gone = Vec::new();
        for holding in self.routers.values_mut() {
            holding.deleted = true;
        }
        for (id, belongings) in routers {
            let Belongings { addresses, routes, rules } = belongings.into();
            let holding = self.routers.entry(id).or_default();
            let before = Belongings {
                addresses: std::mem::replace(&mut holding.addresses, addresses),
                routes: std::mem::replace(&mut holding.routes, routes),
                rules: std::mem::replace(&mut holding.rules, rules),
            };
            let Footprint { addresses, routes, rules } = before.footprint();
            let kept: HashSet<_> = addresses.iter().map(|it| (place(it), it.preferred)).collect();
            let is_new = |it: &&HeldAddress| !kept.contains(&(place(it), it.preferred));
            holding.renew.extend(holding.addresses.iter().filter(is_new).cloned());
            let gone: Vec<_> = addresses.into_iter().filter(|it| !same_place(it, &holding.addresses)).collect();
            all_gone.extend(gone.iter().map(|address| (id, address.clone())));
            holding.former.addresses.extend(gone);
            let kept: HashSet<_> = holding.routes.iter().collect();
            holding.former.routes.extend(routes.into_iter().filter(|route| !kept.contains(route)));
            let kept: HashSet<_> = holding.rules.iter().map(|held| &held.rule).collect();
            holding.former.rules.extend(rules.into_iter().filter(|rule| !kept.contains(rule)));
            holding.deleted = false;
        }
        self.routers.retain(|_, holding| !(holding.deleted && holding.clear && holding.former.is_empty()));
        all_gone
    }

    /// What a process before this one may have left. The first configuration says what of it has to go.
    pub(crate) fn inherit(&mut self, router: RouterId, footprint: Footprint) {
        let Footprint { addresses, routes, rules } = footprint;
        let former = Footprint { addresses: Vec::new(), routes, rules };
        let holding = Holding { addresses, former, deleted: true, ..Holding::default() };
        self.routers.insert(router, Box::new(holding));
    }

    /// A router holds its addresses from now on, or no longer.
    pub(crate) fn set(&mut self, router: RouterId, ownership: Ownership) {
        if let Some(holding) = self.routers.get_mut(&router) {
            holding.held = ownership == Ownership::Held;
            holding.clear = false;
            holding.let_go = None;
        }
    }

    /// Virtual addresses outlive their last renewal by this from now on, or for ever. Whether that is new.
    pub(crate) fn set_lease(&mut self, lease: Option<Duration>) -> bool {
        std::mem::replace(&mut self.lease, lease) != lease
    }

    /// The routers that hold virtual addresses.
    pub(crate) fn holding(&self) -> impl Iterator<Item = RouterId> {
        self.held().map(|(id, _)| id).filter(|id| *id != HOST)
    }

    /// Every virtual address that is held, with all of its lease; none without one.
    pub(crate) fn leased(&self, link: impl Fn(&str) -> Option<LinkIndex>) -> Vec<Address> {
        let mut leased = Vec::new();
        for (id, holding) in self.held().filter(|(id, _)| *id != HOST && self.lease.is_some()) {
            leased.extend(holding.held_addresses(&link).map(|address| self.lend(id, address)));
        }
        leased
    }

    /// An address of a router as it is when its lease begins anew. What is static has none.
    fn lend(&self, router: RouterId, address: Address) -> Address {
        let Some(lease) = self.lease.filter(|_| router != HOST) else { return address };
        let lease = Lifetime::Seconds(u32::try_from(lease.as_secs()).unwrap_or(u32::MAX - 1));
        Address { preferred: address.preferred.min(lease), valid: lease, ..address }
    }

    /// Whether a router holds its addresses.
    pub(crate) fn holds(&self, router: RouterId) -> bool {
        self.routers.get(&router).is_some_and(|holding| holding.held)
    }

    /// What the kernel is to be asked for on behalf of `routers`. What another router holds is not given up.
    pub(crate) fn wanted(&self, routers: &BTreeSet<RouterId>, link: impl Fn(&str) -> Option<LinkIndex>) -> Wanted {
        let mut wanted = self.wanted_of_all(&link);
        let held = self.held_addresses(&link);
        for (id, holding) in routers.iter().filter_map(|id| Some((*id, self.routers.get(id)?))) {
            holding.want(&mut wanted, &held, |address| self.lend(id, address), &link);
        }
        wanted
    }

    /// The parts of that which are about each of `routers` alone.
    pub(crate) fn parts(
        &self,
        routers: &BTreeSet<RouterId>,
        link: impl Fn(&str) -> Option<LinkIndex>,
    ) -> BTreeMap<RouterId, Wanted> {
        let held = self.held_addresses(&link);
        let part = |id: RouterId, holding: &Holding| {
            let routes = holding.held_routes().filter_map(|route| route.resolve(&link)).collect();
            let rules = holding.held_rules().map(|held| held.rule.clone()).collect();
            let mut wanted = Wanted { routes, rules, ..Wanted::default() };
            holding.want(&mut wanted, &held, |address| self.lend(id, address), &link);
            wanted
        };
        routers.iter().filter_map(|id| Some((*id, part(*id, self.routers.get(id)?)))).collect()
    }

    /// Every address that any router holds.
    fn held_addresses(&self, link: &impl Fn(&str) -> Option<LinkIndex>) -> BTreeSet<AddressKey> {
        self.held().flat_map(|(_, holding)| keys(&holding.addresses, link)).collect()
    }

    /// The routes and rules that any router holds: a route of one may have the key of a route of another.
    fn wanted_of_all(&self, link: &impl Fn(&str) -> Option<LinkIndex>) -> Wanted {
        let routes = self.held_routes().filter_map(|(_, route)| route.resolve(link)).collect();
        let rules = self.held_rules().map(|(_, held)| held.rule.clone()).collect();
        Wanted { routes, rules, ..Wanted::default() }
    }

    /// Every route that is to be there, with who holds it.
    fn held_routes(&self) -> impl Iterator<Item = (RouterId, &HeldRoute)> {
        self.held().flat_map(|(id, holding)| holding.held_routes().map(move |route| (id, route)))
    }

    /// Every rule that is to be there, with who holds it.
    fn held_rules(&self) -> impl Iterator<Item = (RouterId, &HeldRule)> {
        self.held().flat_map(|(id, holding)| holding.held_rules().map(move |held| (id, held)))
    }

    /// What to say of the routes of a router whose interface is not there.
    pub(crate) fn homeless_routes<'a>(
        &'a self,
        router: RouterId,
        link: impl Fn(&str) -> Option<LinkIndex> + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        let routes = self.routers.get(&router).filter(|holding| holding.held).map(|holding| &holding.routes);
        let homeless = routes.into_iter().flatten().filter(move |route| route.resolve(&link).is_none());
        homeless.map(|route| format!("adding the route {}: one of its interfaces is not there", route.route()))
    }

    /// How many addresses of a router there is no interface for.
    pub(crate) fn homeless<'a>(
        &'a self,
        router: RouterId,
        link: impl Fn(&str) -> Option<LinkIndex> + 'a,
    ) -> impl Iterator<Item = &'a HeldAddress> {
        let addresses = self.routers.get(&router).filter(|holding| holding.held).map(|holding| &holding.addresses);
        addresses.into_iter().flatten().filter(move |address| link(&address.device).is_none())
    }

    /// Whether a router holds addresses, but there is an interface for none of them.
    pub(crate) fn has_no_home(&self, router: RouterId, link: impl Fn(&str) -> Option<LinkIndex>) -> bool {
        let homeless = self.homeless(router, link).count();
        homeless > 0 && homeless == self.addresses(router).len()
    }

    /// A plan for `router` was carried out without a refusal. Whether it is forgotten: it is no longer configured.
    pub(crate) fn settled(&mut self, router: RouterId) -> bool {
        let Some(holding) = self.routers.get_mut(&router) else { return false };
        holding.former = Footprint::default();
        holding.renew.clear();
        holding.clear = !holding.held;
        let gone = holding.deleted && holding.clear;
        if gone {
            self.routers.remove(&router);
        }
        gone
    }

    /// The routers that are no longer configured and hold nothing, though some of it may be on this host.
    pub(crate) fn left_over(&self) -> impl Iterator<Item = RouterId> {
        self.routers.iter().filter(|(_, holding)| holding.deleted && !holding.held).map(|(id, _)| *id)
    }

    /// The addresses of a router in the order of the file.
    pub(crate) fn addresses(&self, router: RouterId) -> &[HeldAddress] {
        self.routers.get(&router).map_or(&[], |holding| &holding.addresses)
    }

    /// Every address that is held, with those that hold it.
    pub(crate) fn holders(&self, link: impl Fn(&str) -> Option<LinkIndex>) -> BTreeMap<AddressKey, Vec<Holder>> {
        let mut holders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (router, holding) in self.held() {
            for address in &holding.addresses {
                let Some(key) = key(address, &link) else { continue };
                holders.entry(key).or_default().push(Holder { router, tracks: address.track });
            }
        }
        holders
    }

    /// Whether any router has routes or rules, held or not.
    pub(crate) fn has_routes_or_rules(&self) -> bool {
        self.routers.values().any(|holding| !holding.routes.is_empty() || !holding.rules.is_empty())
    }

    /// The routes that are to be there and can be.
    pub(crate) fn routes(&self, link: impl Fn(&str) -> Option<LinkIndex>) -> impl Iterator<Item = Route> {
        self.held_routes().filter_map(move |(_, route)| route.resolve(&link)).map(|placed| placed.route)
    }

    /// The rules that are to be there.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.held_rules().map(|(_, held)| &held.rule)
    }

    /// Those that hold one of [`routes`](Self::routes), each with what it has in its configuration.
    pub(crate) fn holders_of_route(
        &self,
        route: &Route,
        link: impl Fn(&str) -> Option<LinkIndex>,
    ) -> impl Iterator<Item = (Holder, &HeldRoute)> {
        let is_it = move |held: &HeldRoute| {
            held.route().destination == route.destination && held.resolve(&link).is_some_and(|it| it.route == *route)
        };
        let equal = self.held_routes().filter(move |(_, held)| is_it(held));
        equal.map(|(router, held)| (Holder { router, tracks: held.is_tracked() }, held))
    }

    /// Those that hold a rule.
    pub(crate) fn holders_of_rule(&self, rule: &Rule) -> impl Iterator<Item = Holder> {
        let equal = self.held_rules().filter(move |(_, held)| held.rule.as_reported() == *rule);
        equal.map(|(router, held)| Holder { router, tracks: held.track })
    }

    /// Others took an address away, and it stays away until the router takes over again.
    pub(crate) fn let_address_go(&mut self, router: RouterId, key: AddressKey) {
        self.routers.entry(router).and_modify(|holding| _ = holding.let_go_mut().addresses.insert(key));
    }

    /// As [`let_address_go`](Self::let_address_go).
    pub(crate) fn let_route_go(&mut self, router: RouterId, route: HeldRoute) {
        self.routers.entry(router).and_modify(|holding| _ = holding.let_go_mut().routes.insert(route));
    }

    /// As [`let_address_go`](Self::let_address_go).
    pub(crate) fn let_rule_go(&mut self, router: RouterId, rule: &Rule) {
        let Some(holding) = self.routers.get_mut(&router) else { return };
        let gone = holding.rules.iter().map(|held| &held.rule).filter(|held| held.as_reported() == *rule);
        let gone: Vec<_> = gone.cloned().collect();
        holding.let_go_mut().rules.extend(gone);
    }

    /// The routers that each address belongs to, or belonged to when it may still be on this host.
    pub(crate) fn owners(&self) -> BTreeMap<IpAddr, Vec<RouterId>> {
        let mut owners: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, holding) in &self.routers {
            for address in holding.addresses.iter().chain(&holding.former.addresses) {
                owners.entry(address.ip).or_default().push(*id);
            }
        }
        owners
    }

    fn held(&self) -> impl Iterator<Item = (RouterId, &Holding)> {
        self.routers.iter().filter(|(_, holding)| holding.held).map(|(id, holding)| (*id, &**holding))
    }
}

impl Holding {
    fn let_go_mut(&mut self) -> &mut LetGo {
        self.let_go.get_or_insert_default()
    }

    /// Whether it holds all that it has, but for what `is_gone`.
    fn holds(&self, is_gone: impl FnOnce(&LetGo) -> bool) -> bool {
        self.held && !self.let_go.as_deref().is_some_and(is_gone)
    }

    /// Its addresses that are to be there, without a lease.
    fn held_addresses(&self, link: &impl Fn(&str) -> Option<LinkIndex>) -> impl Iterator<Item = Address> {
        let resolved = self.addresses.iter().filter_map(|address| resolve(address, link));
        resolved.filter(|it| self.holds(|let_go| let_go.addresses.contains(&it.key())))
    }

    /// Its routes that are to be there.
    fn held_routes(&self) -> impl Iterator<Item = &HeldRoute> {
        self.routes.iter().filter(|route| self.holds(|let_go| let_go.routes.contains(*route)))
    }

    /// Its rules that are to be there.
    fn held_rules(&self) -> impl Iterator<Item = &HeldRule> {
        self.rules.iter().filter(|held| self.holds(|let_go| let_go.rules.contains(&held.rule)))
    }

    /// Adds its addresses, and what it gives up unless it is among those that are `held` by anyone.
    fn want(
        &self,
        wanted: &mut Wanted,
        held: &BTreeSet<AddressKey>,
        lend: impl Fn(Address) -> Address,
        link: &impl Fn(&str) -> Option<LinkIndex>,
    ) {
        let given_up = if self.held { (&[][..], &[][..]) } else { (&self.routes[..], &self.rules[..]) };
        let gone = given_up.0.iter().chain(&self.former.routes);
        wanted.release_routes.extend(gone.filter_map(|route| route.resolve_left(link)));
        wanted.release_rules.extend(given_up.1.iter().map(|held| held.rule.clone()));
        wanted.release_rules.extend_from_slice(&self.former.rules);
        let release = if self.held {
            wanted.addresses.extend(self.held_addresses(link).map(lend));
            wanted.renew.extend(keys(&self.renew, link));
            &[][..]
        } else {
            &self.addresses[..]
        };
        let given_up = keys(release, link).chain(keys(&self.former.addresses, link));
        wanted.release.extend(given_up.filter(|key| !held.contains(key)));
    }
}

/// Whether one of `others` is the same address to the kernel, whatever its attributes.
fn same_place(address: &VirtualAddress, others: &[HeldAddress]) -> bool {
    others.iter().any(|other| place(other) == place(address))
}

/// What the kernel tells addresses by.
fn place(address: &VirtualAddress) -> (IpAddr, u8, &str) {
    (address.ip, address.prefix_len, &address.device)
}

fn keys<'a>(
    addresses: &'a [HeldAddress],
    link: &'a impl Fn(&str) -> Option<LinkIndex>,
) -> impl Iterator<Item = AddressKey> + 'a {
    addresses.iter().filter_map(|address| key(address, link))
}

/// What tells it from other addresses; `None` without its interface.
fn key(address: &VirtualAddress, link: &impl Fn(&str) -> Option<LinkIndex>) -> Option<AddressKey> {
    Some(AddressKey { link: link(&address.device)?, ip: address.ip, prefix_len: address.prefix_len })
}

/// The address as the kernel is to have it; `None` without its interface.
fn resolve(address: &VirtualAddress, link: &impl Fn(&str) -> Option<LinkIndex>) -> Option<Address> {
    let mut resolved = Address::virtual_address(link(&address.device)?, address.ip, address.prefix_len);
    resolved.broadcast = address.broadcast;
    resolved.scope = Scope(address.scope);
    resolved.label = address.label.as_deref().and_then(|label| LinkName::try_from(label).ok());
    resolved.peer = address.peer;
    resolved.flags = address.flags;
    resolved.preferred = address.preferred;
    Some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> VirtualAddress {
        VirtualAddress {
            ip: [192, 0, 2, last].into(),
            prefix_len: 24,
            device: "eth0".into(),
            broadcast: None,
            scope: 0,
            label: None,
            peer: None,
            flags: vip_netlink::AddressFlags::empty(),
            preferred: vip_netlink::Lifetime::Forever,
            track: true,
        }
    }

    fn eth0(name: &str) -> Option<LinkIndex> {
        (name == "eth0").then(|| LinkIndex::new(2).unwrap())
    }

    /// The last octets of what is wanted and of what is to go.
    fn last_octets(wanted: &Wanted) -> (Vec<u8>, Vec<u8>) {
        let octet = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => unreachable!("no IPv6 address in these tests"),
        };
        (
            wanted.addresses.iter().map(|address| octet(address.ip)).collect(),
            wanted.release.iter().map(|key| octet(key.ip)).collect(),
        )
    }

    fn plan(holdings: &Holdings, router: RouterId) -> (Vec<u8>, Vec<u8>) {
        last_octets(&holdings.wanted(&BTreeSet::from([router]), eth0))
    }

    const ONE: RouterId = RouterId(1);
    const TWO: RouterId = RouterId(2);

    #[test]
    fn a_router_that_holds_nothing_gives_everything_up() {
        let mut holdings = Holdings::default();
        holdings.configure([(ONE, vec![address(1), address(2)])]);
        assert_eq!(plan(&holdings, ONE), (vec![], vec![1, 2]));
        holdings.set(ONE, Ownership::Held);
        assert_eq!(plan(&holdings, ONE), (vec![1, 2], vec![]));
    }

    #[test]
    fn a_lease_is_of_virtual_addresses_that_are_held() {
        let mut holdings = Holdings::default();
        let hidden = VirtualAddress { preferred: Lifetime::ZERO, ..address(2) };
        holdings.configure([(ONE, vec![address(1), hidden]), (TWO, vec![address(3)]), (HOST, vec![address(4)])]);
        holdings.set(ONE, Ownership::Held);
        holdings.set(HOST, Ownership::Held);
        assert!(holdings.leased(eth0).is_empty());
        assert!(holdings.set_lease(Some(Duration::from_secs(5))) && !holdings.set_lease(Some(Duration::from_secs(5))));
        let five = Lifetime::Seconds(5);
        let lives = |address: &Address| (address.preferred, address.valid);
        let leased = holdings.leased(eth0);
        assert_eq!(leased.iter().map(lives).collect::<Vec<_>>(), [(five, five), (Lifetime::ZERO, five)]);
        assert_eq!(holdings.wanted(&BTreeSet::from([ONE]), eth0).addresses, leased);
        let fixed = holdings.wanted(&BTreeSet::from([HOST]), eth0).addresses;
        assert_eq!(lives(&fixed[0]), (Lifetime::Forever, Lifetime::Forever));
        assert_eq!(holdings.holding().collect::<Vec<_>>(), [ONE]);
        holdings.let_address_go(ONE, leased[0].key());
        assert_eq!(holdings.leased(eth0), leased[1..]);
    }

    #[test]
    fn what_another_router_holds_stays() {
        let mut holdings = Holdings::default();
        holdings.configure([(ONE, vec![address(1), address(2)]), (TWO, vec![address(2)])]);
        holdings.set(TWO, Ownership::Held);
        assert_eq!(plan(&holdings, ONE), (vec![], vec![1]));
    }

    #[test]
    fn a_reload_removes_what_is_gone_and_keeps_the_rest() {
        let mut holdings = Holdings::default();
        holdings.configure([(ONE, vec![address(1), address(2)])]);
        holdings.set(ONE, Ownership::Held);
        let gone = holdings.configure([(ONE, vec![address(2), address(3)])]);
        assert_eq!(gone, [(ONE, address(1).into())]);
        assert_eq!(plan(&holdings, ONE), (vec![2, 3], vec![1]));
        holdings.settled(ONE);
        assert_eq!(plan(&holdings, ONE), (vec![2, 3], vec![]));
    }

    #[test]
    fn a_lifetime_that_a_reload_changes_begins_anew_once() {
        use vip_netlink::Lifetime;

        let lasting = |last, seconds| VirtualAddress { preferred: Lifetime::Seconds(seconds), ..address(last) };
        let renewed = |holdings: &Holdings| {
            let wanted = holdings.wanted(&BTreeSet::from([ONE]), eth0);
            wanted.renew.iter().map(|key| key.ip.to_string()).collect::<Vec<_>>()
        };
        let mut holdings = Holdings::default();
        holdings.configure([(ONE, vec![lasting(1, 100), lasting(2, 100)])]);
        holdings.set(ONE, Ownership::Held);
        holdings.settled(ONE);
        assert!(renewed(&holdings).is_empty());
        holdings.configure([(ONE, vec![lasting(1, 100), lasting(2, 200)])]);
        assert_eq!(renewed(&holdings), ["192.0.2.2"]);
        holdings.settled(ONE);
        assert!(renewed(&holdings).is_empty());
    }

    #[test]
    fn a_deleted_router_is_forgotten_when_its_addresses_are_gone() {
        let mut holdings = Holdings::default();
        holdings.configure([(ONE, vec![address(1)])]);
        holdings.set(ONE, Ownership::Held);
        holdings.configure::<Belongings>([]);
        holdings.settled(ONE);
        assert_eq!(holdings.addresses(ONE).len(), 1, "still held");
        holdings.set(ONE, Ownership::Released);
        assert_eq!(plan(&holdings, ONE), (vec![], vec![1]));
        holdings.settled(ONE);
        assert_eq!(holdings.addresses(ONE).len(), 0);
    }

    #[test]
    fn what_a_process_before_this_one_left_goes() {
        let mut holdings = Holdings::default();
        holdings.configure([(ONE, vec![address(1), address(2)]), (TWO, vec![address(3)])]);
        holdings.configure([(ONE, vec![address(1)])]);
        assert_eq!(holdings.left_over().collect::<Vec<_>>(), [TWO]);
        assert_eq!(plan(&holdings, TWO), (vec![], vec![3]));
        holdings.set(ONE, Ownership::Held);
        assert_eq!(plan(&holdings, ONE), (vec![1], vec![2]));
    }

    #[test]
    fn an_address_without_its_interface_is_named_and_left_out() {
        let mut holdings = Holdings::default();
        let astray = VirtualAddress { device: "eth7".into(), ..address(9) };
        holdings.configure([(ONE, vec![address(1), astray.clone()])]);
        holdings.set(ONE, Ownership::Held);
        assert_eq!(plan(&holdings, ONE), (vec![1], vec![]));
        assert_eq!(holdings.homeless(ONE, eth0).collect::<Vec<_>>(), [&HeldAddress::from(astray.clone())]);
        assert!(!holdings.has_no_home(ONE, eth0));
        holdings.configure([(ONE, vec![astray])]);
        assert!(holdings.has_no_home(ONE, eth0));
        holdings.set(ONE, Ownership::Released);
        assert!(!holdings.has_no_home(ONE, eth0), "nothing is wanted");
    }

    #[test]
    fn routes_and_rules_come_and_go_with_their_router() {
        use vip_netlink::{Family, RuleAction};

        let instance = |routes: &str| {
            let text = format!(
                "vrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {{\n192.0.2.1/24\n}}\n\
                 virtual_routes {{\n{routes}\n}}\nvirtual_rules {{\ntable 7 preference 5 inet\n}}\n}}\n"
            );
            Belongings::of(&crate::config::vrrp::tests::part(&text).instances[0])
        };
        let mut holdings = Holdings::default();
        let astray = "10.2.0.0/16 dev eth7";
        holdings.configure([(ONE, instance(&format!("10.1.0.0/16 via 192.0.2.9 dev eth0\n{astray}")))]);
        let rule = Rule::new(Family::Ipv4, 5, RuleAction::Table(7));
        let wanted = holdings.wanted(&BTreeSet::from([ONE]), eth0);
        assert_eq!(
            (wanted.routes.len(), wanted.release_routes.len(), wanted.rules.len()),
            (0, 1, 0),
            "one went with eth7"
        );
        assert_eq!(wanted.release_routes[0].next_hops[0].link, LinkIndex::new(2));
        assert_eq!(wanted.release_rules, std::slice::from_ref(&rule));

        holdings.set(ONE, Ownership::Held);
        let wanted = holdings.wanted(&BTreeSet::from([ONE]), eth0);
        assert_eq!((wanted.routes.len(), wanted.release_routes.len(), wanted.release_rules.len()), (1, 0, 0));
        assert_eq!(wanted.routes[0].route.next_hops[0].link, LinkIndex::new(2));
        assert_eq!(holdings.parts(&[ONE].into(), eth0)[&ONE].routes, wanted.routes);
        assert_eq!(holdings.parts(&[TWO].into(), eth0), BTreeMap::new(), "nothing of those of another router");
        assert_eq!(wanted.rules, [rule]);
        let homeless: Vec<_> = holdings.homeless_routes(ONE, eth0).collect();
        assert_eq!(homeless, ["adding the route 10.2.0.0/16: one of its interfaces is not there"]);

        holdings.configure([(ONE, instance("10.3.0.0/16 dev eth0"))]);
        let wanted = holdings.wanted(&BTreeSet::from([ONE]), eth0);
        assert_eq!((wanted.routes.len(), wanted.release_routes.len()), (1, 1));
        holdings.settled(ONE);
        assert_eq!(holdings.wanted(&BTreeSet::from([ONE]), eth0).release_routes, []);
    }

    #[test]
    fn an_ipv6_route_may_outlive_one_of_its_interfaces() {
        let text = "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.1/24\n}\n\
                    virtual_routes {\n2001:db8:1::/48 nexthop via fe80::1 dev eth0 nexthop via fe80::2 dev eth7\n\
                    2001:db8:2::/48 via fe80::1 dev eth7\n10.1.0.0/16 nexthop via 192.0.2.8 dev eth0 nexthop via 192.0.2.9 \
                    dev eth7\n}\n}\n";
        let mut holdings = Holdings::default();
        holdings.configure([(ONE, Belongings::of(&crate::config::vrrp::tests::part(text).instances[0]))]);
        let left = holdings.wanted(&BTreeSet::from([ONE]), eth0).release_routes;
        let [left] = left.as_slice() else { panic!("{left:?}") };
        let gateways: Vec<_> = left.next_hops.iter().map(|hop| hop.gateway.unwrap().to_string()).collect();
        assert_eq!((left.destination.to_string().as_str(), gateways), ("2001:db8:1::/48", vec!["fe80::1".to_owned()]));
    }

    #[test]
    fn reloads_leave_nothing_to_remember() {
        let text = "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.1/24\n}\n\
                    virtual_routes {\n10.1.0.0/16 dev eth0\n}\nvirtual_rules {\ntable 7 preference 5 inet\n}\n}\n";
        let part = crate::config::vrrp::tests::part(text);
        let mut holdings = Holdings::default();
        for _ in 0..3 {
            holdings.configure([(ONE, Belongings::of(&part.instances[0]))]);
        }
        assert!(holdings.routers[&ONE].former.is_empty());
        holdings.set(ONE, Ownership::Released);
        holdings.configure(<[(RouterId, Vec<VirtualAddress>); 0]>::default());
        assert_eq!(holdings.left_over().collect::<Vec<_>>(), [ONE], "it may still be there");
        holdings.settled(ONE);
        assert!(holdings.routers.is_empty());

        holdings.configure([(ONE, Belongings::of(&part.instances[0]))]);
        holdings.set(ONE, Ownership::Released);
        holdings.settled(ONE);
        holdings.configure(<[(RouterId, Vec<VirtualAddress>); 0]>::default());
        assert!(holdings.routers.is_empty(), "nobody orders anything for a router that had nothing");
    }
}
