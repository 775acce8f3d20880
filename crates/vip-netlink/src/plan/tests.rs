use std::slice::from_ref;

use proptest::prelude::*;

use super::*;
use crate::types::{
    AddressProtocol, Family, Metric, Metrics, NextHop, Prefix, RouteKind, RouteProtocol, RuleAction, Scope,
};

fn eth(index: u32) -> LinkIndex {
    LinkIndex::new(index).unwrap()
}

fn vip(text: &str) -> Address {
    let (ip, prefix_len) = text.split_once('/').unwrap();
    Address::virtual_address(eth(2), ip.parse().unwrap(), prefix_len.parse().unwrap())
}

fn secondary(text: &str) -> Address {
    Address { flags: AddressFlags::SECONDARY, ..vip(text) }
}

fn hold(addresses: &[Address]) -> Wanted {
    Wanted { addresses: addresses.to_vec(), ..Wanted::default() }
}

fn release(addresses: &[Address]) -> Wanted {
    Wanted { release: addresses.iter().map(Address::key).collect(), ..Wanted::default() }
}

/// The plan in words, one line for each change.
fn in_words(wanted: &Wanted, present: &[Address]) -> String {
    plan(wanted, &with(present)).iter().map(|change| format!("{change}\n")).collect()
}

/// A host that has these addresses only.
fn with(addresses: &[Address]) -> Present {
    Present { addresses: addresses.to_vec(), ..Present::default() }
}

#[test]
fn missing_addresses_are_added_in_the_order_of_the_wish() {
    let wanted = hold(&[vip("192.0.2.2/24"), vip("2001:db8::1/128"), vip("192.0.2.1/24")]);
    insta::assert_snapshot!(in_words(&wanted, &[vip("192.0.2.99/24")]), @"
    adding 192.0.2.2/24 to link 2
    adding 2001:db8::1/128 to link 2
    adding 192.0.2.1/24 to link 2
    ");
}

#[test]
fn an_address_wanted_twice_is_added_once() {
    let wanted = hold(&[vip("192.0.2.1/24"), Address { scope: Scope::HOST, ..vip("192.0.2.1/24") }]);
    insta::assert_snapshot!(in_words(&wanted, &[]), @"adding 192.0.2.1/24 to link 2");
}

#[test]
fn an_identical_address_is_adopted_whoever_put_it_there() {
    let there = Address {
        flags: AddressFlags::PERMANENT | AddressFlags::SECONDARY,
        label: Some("eth0".parse().unwrap()),
        broadcast: Some([192, 0, 2, 255].into()),
        protocol: None,
        ..vip("192.0.2.1/24")
    };
    assert_eq!(plan(&hold(&[vip("192.0.2.1/24")]), &with(&[there])), []);
}

#[test]
fn only_what_is_named_is_removed() {
    let present = [vip("192.0.2.1/24"), vip("198.51.100.1/24"), vip("2001:db8::1/64"), vip("192.0.2.1/32")];
    insta::assert_snapshot!(in_words(&release(&[vip("192.0.2.1/24"), vip("203.0.113.1/24")]), &present), @"removing 192.0.2.1/24 from link 2");
}

#[test]
fn what_is_wanted_is_not_released() {
    let wanted = Wanted { release: vec![vip("192.0.2.1/24").key()], ..hold(&[vip("192.0.2.1/24")]) };
    assert_eq!(plan(&wanted, &with(&[vip("192.0.2.1/24")])), []);
}

#[test]
fn an_address_that_moves_to_another_link_leaves_the_old_one_first() {
    let old = vip("192.0.2.1/24");
    let new = Address { link: eth(3), ..old };
    let wanted = Wanted { release: vec![old.key()], ..hold(&[new]) };
    insta::assert_snapshot!(in_words(&wanted, &[old]), @"
    removing 192.0.2.1/24 from link 2
    adding 192.0.2.1/24 to link 3
    ");
}

#[test]
fn secondary_addresses_go_before_the_primary_one() {
    let present = [vip("192.0.2.1/24"), secondary("192.0.2.2/24"), secondary("192.0.2.3/24")];
    insta::assert_snapshot!(in_words(&release(&present), &present), @"
    removing 192.0.2.2/24 from link 2
    removing 192.0.2.3/24 from link 2
    removing 192.0.2.1/24 from link 2
    ");
}

#[test]
fn what_the_kernel_removes_with_a_primary_address_is_put_back() {
    let present = [vip("192.0.2.1/24"), secondary("192.0.2.2/24"), secondary("192.0.2.3/24"), vip("198.51.100.7/24")];
    let wanted = Wanted { release: vec![vip("192.0.2.1/24").key()], ..hold(&[vip("192.0.2.3/24")]) };
    insta::assert_snapshot!(in_words(&wanted, &present), @"
    removing 192.0.2.1/24 from link 2
    adding 192.0.2.2/24 to link 2
    adding 192.0.2.3/24 to link 2
    ");
}

#[test]
fn lifetimes_and_ipv6_flags_are_edited_in_place() {
    let lease = Address { valid: Lifetime::Seconds(10), preferred: Lifetime::Seconds(10), ..vip("192.0.2.1/24") };
    let bare = Address { flags: AddressFlags::NOPREFIXROUTE, ..vip("2001:db8::1/64") };
    let present = [vip("192.0.2.1/24"), vip("2001:db8::1/64")];
    insta::assert_snapshot!(in_words(&hold(&[lease, bare]), &present), @"
    changing 192.0.2.1/24 on link 2
    changing 2001:db8::1/64 on link 2
    ");
}

#[test]
fn a_lifetime_that_runs_down_is_left_to_run_unless_it_is_renewed() {
    let lease = |text, preferred, valid| Address {
        preferred: Lifetime::from_wire(preferred),
        valid: Lifetime::from_wire(valid),
        ..vip(text)
    };
    const EVER: u32 = u32::MAX;
    for text in ["192.0.2.1/24", "2001:db8::1/64"] {
        let wanted = lease(text, 500, 1000);
        for there in [[500, 1000], [3, 503], [0, 200], [0, 0]] {
            assert_eq!(in_words(&hold(&[wanted]), &[lease(text, there[0], there[1])]), "", "{there:?}");
            let renewed = Wanted { renew: vec![wanted.key()], ..hold(&[wanted]) };
            let changes = plan(&renewed, &with(&[lease(text, there[0], there[1])]));
            assert_eq!(changes, [Change::EditAddress(wanted)], "{there:?}");
        }
        for there in [[501, 1000], [500, 1001], [EVER, EVER], [500, EVER]] {
            // In IPv6 it may have to be parted from a route that stays.
            let changes = plan(&hold(&[wanted]), &with(&[lease(text, there[0], there[1])]));
            assert_eq!(changes.last(), Some(&Change::EditAddress(wanted)), "{there:?}");
        }
        let for_ever = vip(text);
        assert_eq!(plan(&hold(&[for_ever]), &with(&[wanted])).last(), Some(&Change::EditAddress(for_ever)));
        let renewed = Wanted { renew: vec![for_ever.key()], ..hold(&[for_ever]) };
        assert_eq!(in_words(&renewed, &[for_ever]), "", "it has no lifetime to begin anew");
        let missing = Wanted { renew: vec![wanted.key()], ..hold(&[wanted]) };
        assert_eq!(plan(&missing, &with(&[])), [Change::AddAddress(wanted)]);
    }
    let preferred_for_a_while = lease("2001:db8::1/64", 500, EVER);
    assert_eq!(in_words(&hold(&[preferred_for_a_while]), &[lease("2001:db8::1/64", 499, EVER)]), "");
}

#[test]
fn what_cannot_be_edited_is_replaced() {
    let scope = Address { scope: Scope::LINK, ..vip("192.0.2.1/32") };
    let label = Address { label: Some("eth0:v".parse().unwrap()), ..vip("192.0.2.2/32") };
    let broadcast = Address { broadcast: Some([192, 0, 2, 255].into()), ..vip("192.0.2.3/32") };
    let peer = Address { peer: Some([192, 0, 2, 254].into()), ..vip("192.0.2.4/32") };
    let route = Address { flags: AddressFlags::NOPREFIXROUTE, ..vip("192.0.2.5/32") };
    let wanted = [scope, label, broadcast, peer, route];
    let present = wanted.map(|address| Address::virtual_address(eth(2), address.ip, 32));
    insta::assert_snapshot!(in_words(&hold(&wanted), &present), @"
    removing 192.0.2.1/32 from link 2
    removing 192.0.2.2/32 from link 2
    removing 192.0.2.3/32 from link 2
    removing 192.0.2.4/32 from link 2
    removing 192.0.2.5/32 from link 2
    adding 192.0.2.1/32 to link 2
    adding 192.0.2.2/32 to link 2
    adding 192.0.2.3/32 to link 2
    adding 192.0.2.4/32 to link 2
    adding 192.0.2.5/32 to link 2
    ");
}

#[test]
fn an_ipv6_address_that_failed_duplicate_detection_is_replaced() {
    let failed = AddressFlags::PERMANENT | AddressFlags::TENTATIVE | AddressFlags::DADFAILED;
    let present = [Address { flags: failed, ..vip("2001:db8::1/64") }];
    insta::assert_snapshot!(in_words(&hold(&[vip("2001:db8::1/64")]), &present), @"
    removing 2001:db8::1/64 from link 2
    adding 2001:db8::1/64 to link 2
    ");
}

fn route(text: &str) -> Route {
    let (ip, len) = text.split_once('/').unwrap();
    Route::new(Prefix { ip: ip.parse().unwrap(), len: len.parse().unwrap() })
}

fn via(text: &str, gateways: &[&str]) -> Route {
    let hop =
        |gateway: &&str| NextHop { gateway: Some(gateway.parse().unwrap()), link: Some(eth(2)), ..NextHop::default() };
    Route { next_hops: gateways.iter().map(hop).collect(), ..route(text) }
}

fn lead(routes: &[Route]) -> Wanted {
    Wanted { routes: routes.iter().cloned().map(PlacedRoute::from).collect(), ..Wanted::default() }
}

fn route_plan(wanted: &Wanted, routes: &[Route]) -> String {
    let present = Present { routes: routes.to_vec(), ..Present::default() };
    plan(wanted, &present).iter().map(|change| format!("{change}\n")).collect()
}

#[test]
fn everything_comes_in_the_order_that_it_needs() {
    let [mut hold, give_up] = [hold(&[vip("192.0.2.1/24")]), release(&[vip("192.0.2.2/24")])];
    hold.release = give_up.release;
    hold.routes = vec![via("10.0.0.0/8", &["192.0.2.9"]).into()];
    hold.release_routes = vec![via("10.1.0.0/16", &["192.0.2.9"])];
    hold.rules =
        vec![Rule { from: Some(route("10.0.0.0/8").destination), ..Rule::new(Family::Ipv4, 5, RuleAction::Nop) }];
    hold.release_rules = vec![Rule::new(Family::Ipv6, 7, RuleAction::L3mdev)];
    let present = Present {
        addresses: vec![vip("192.0.2.2/24")],
        routes: vec![via("10.1.0.0/16", &["192.0.2.9"]), route("10.2.0.0/16")],
        rules: vec![Rule::new(Family::Ipv6, 7, RuleAction::L3mdev), Rule::new(Family::Ipv6, 7, RuleAction::Nop)],
        ..Present::default()
    };
    let words: String = plan(&hold, &present).iter().map(|change| format!("{change}\n")).collect();
    insta::assert_snapshot!(words, @"
    removing the IPv6 rule 7
    removing the route 10.1.0.0/16
    removing 192.0.2.2/24 from link 2
    adding 192.0.2.1/24 to link 2
    adding the route 10.0.0.0/8
    adding the IPv4 rule 5 from 10.0.0.0/8
    ");
}

#[test]
fn a_rule_that_is_there_or_wanted_twice_is_added_once_or_not_at_all() {
    let [one, two] = [3, 4].map(|priority| Rule::new(Family::Ipv4, priority, RuleAction::Nop));
    let everything = Rule { from: Some(route("0.0.0.0/0").destination), ..one.clone() };
    let wanted = Wanted { rules: vec![everything, two.clone(), two.clone()], ..Wanted::default() };
    let present = Present { rules: vec![one], ..Present::default() };
    assert_eq!(plan(&wanted, &present), [Change::AddRule(Box::new(two))]);
}

fn instead_of(former: &Route, new: &Route) -> Wanted {
    Wanted { release_routes: vec![former.clone()], ..lead(from_ref(new)) }
}

#[test]
fn a_route_that_was_edited_is_replaced_in_one_step() {
    let there = via("10.0.0.0/8", &["192.0.2.8"]);
    let others = [Route { metric: 5, ..there.clone() }, Route { table: 7, ..there.clone() }];
    let present = [from_ref(&there), others.as_slice()].concat();
    let wanted = instead_of(&there, &via("10.0.0.0/8", &["192.0.2.9"]));
    insta::assert_snapshot!(route_plan(&wanted, &present), @"changing the route 10.0.0.0/8");
    let source = lead(&[Route { preferred_source: Some([192, 0, 2, 1].into()), ..there }]);
    insta::assert_snapshot!(route_plan(&source, &present), @"changing the route 10.0.0.0/8");
    let [former, new] = ["fe80::1", "fe80::2"].map(|gateway| via("2001:db8::/32", &[gateway]));
    let there = Route { metric: 1024, ..former.clone() };
    insta::assert_snapshot!(route_plan(&instead_of(&former, &new), &[there]), @"changing the route 2001:db8::/32");
}

#[test]
fn a_route_of_others_is_neither_replaced_nor_removed() {
    let foreign = Route { protocol: RouteProtocol(4), ..via("10.0.0.0/8", &["192.0.2.8"]) };
    let [former, new] = ["192.0.2.7", "192.0.2.9"].map(|gateway| via("10.0.0.0/8", &[gateway]));
    insta::assert_snapshot!(route_plan(&instead_of(&former, &new), &[foreign.clone(), former.clone()]), @"
    removing the route 10.0.0.0/8
    adding the route 10.0.0.0/8
    ");
    let release = Wanted { release_routes: vec![former.clone()], ..Wanted::default() };
    assert_eq!(route_plan(&release, &[foreign]), "");
    insta::assert_snapshot!(route_plan(&release, &[former]), @"removing the route 10.0.0.0/8");
}

#[test]
fn a_route_of_others_with_the_same_key_stays() {
    let two = ["192.0.2.8", "192.0.2.9"];
    let ours = via("10.0.0.0/8", &two[..1]);
    let mut shared = via("10.0.0.0/8", &two);
    let elsewhere = NextHop { link: Some(eth(3)), ..ours.next_hops[0].clone() };
    let mut foreign = vec![
        via("10.0.0.0/8", &two[1..]),
        Route { next_hops: vec![elsewhere], ..ours.clone() },
        Route { kind: RouteKind::BLACKHOLE, next_hops: Vec::new(), ..ours.clone() },
        shared.clone(),
    ];
    let release = |route: &Route| Wanted { release_routes: vec![route.clone()], ..Wanted::default() };
    assert_eq!(route_plan(&release(&ours), &foreign), "");
    insta::assert_snapshot!(route_plan(&lead(from_ref(&ours)), &foreign), @"adding the route 10.0.0.0/8");
    foreign.push(Route { preferred_source: Some([192, 0, 2, 1].into()), ..ours.clone() });
    let changes = plan(&release(&ours), &Present { routes: foreign.clone(), ..Present::default() });
    assert_eq!(changes, [Change::RemoveRoute(Box::new(foreign[4].clone()))], "another edition of it");
    shared.next_hops[1].weight = 9;
    assert_eq!(route_plan(&release(&shared), &foreign), "", "it shares otherwise");
    let no_link = NextHop { link: None, ..ours.next_hops[0].clone() };
    let ours = Route { next_hops: vec![no_link], ..ours };
    assert_eq!(plan(&release(&ours), &Present { routes: foreign, ..Present::default() }).len(), 2, "over any link");
}

#[test]
fn a_next_hop_of_others_stays_in_ipv6() {
    let [one, both] =
        [&["fe80::1"][..], &["fe80::1", "fe80::2"]].map(|hops| Route { metric: 1024, ..via("2001:db8::/32", hops) });
    let release = Wanted { release_routes: vec![one.clone()], ..Wanted::default() };
    let present = Present { routes: vec![both.clone()], ..Present::default() };
    assert_eq!(plan(&release, &present), [Change::RemoveRoute(Box::new(one.clone()))]);
    assert_eq!(route_plan(&lead(from_ref(&one)), from_ref(&both)), "");
    let three = via("2001:db8::/32", &["fe80::3"]);
    insta::assert_snapshot!(route_plan(&instead_of(&one, &three), &[both]), @"
    removing the route 2001:db8::/32 metric 1024
    adding the route 2001:db8::/32
    ");
}

#[test]
fn routes_with_the_same_key_live_side_by_side() {
    let [one, two] = ["192.0.2.8", "192.0.2.9"].map(|gateway| via("10.0.0.0/8", &[gateway]));
    let wanted = lead(&[one.clone(), two.clone()]);
    assert_eq!(route_plan(&wanted, &[two, one.clone()]), "");
    insta::assert_snapshot!(route_plan(&wanted, &[one]), @"adding the route 10.0.0.0/8");
    let [one, two] = ["fe80::1", "fe80::2"].map(|gateway| via("2001:db8::/32", &[gateway]));
    let joined = Route { metric: 1024, ..via("2001:db8::/32", &["fe80::2", "fe80::1"]) };
    assert_eq!(route_plan(&lead(&[one, two]), &[joined]), "", "the kernel makes one route of them");
}

#[test]
fn only_the_next_hops_that_are_missing_or_too_many_are_touched_in_ipv6() {
    let [both, one, two] = [&["fe80::1", "fe80::2"][..], &["fe80::1"], &["fe80::2"]]
        .map(|gateways| Route { metric: 1024, ..via("2001:db8::/32", gateways) });
    let changes = |wanted: &Route, there: &Route| {
        plan(&instead_of(&both, wanted), &Present { routes: vec![there.clone()], ..Present::default() })
    };
    let addition = Change::AddRoute { route: Box::new(two.clone()), placement: Placement::First };
    assert_eq!(changes(&both, &one), [addition]);
    assert_eq!(changes(&one, &both), [Change::RemoveRoute(Box::new(two))]);
}

#[test]
fn shares_of_the_traffic_are_changed() {
    for (destination, gateways) in
        [("10.0.0.0/8", ["192.0.2.8", "192.0.2.9"]), ("2001:db8::/32", ["fe80::1", "fe80::2"])]
    {
        let there = Route { metric: if destination.contains(':') { 1024 } else { 0 }, ..via(destination, &gateways) };
        let mut wanted = there.clone();
        wanted.next_hops[1].weight = 9;
        assert_ne!(route_plan(&lead(from_ref(&wanted)), from_ref(&there)), "", "{destination}");
        assert_eq!(route_plan(&lead(from_ref(&wanted)), from_ref(&wanted)), "");
        let mut alone = via(destination, &gateways[..1]);
        alone.next_hops[0].weight = 9;
        let there = Route { metric: there.metric, ..via(destination, &gateways[..1]) };
        assert_eq!(route_plan(&lead(&[alone]), &[there]), "", "nobody shares with it");
    }
}

#[test]
fn what_the_kernel_reports_otherwise_is_no_difference() {
    let no_link = NextHop { gateway: Some([192, 0, 2, 9].into()), ..NextHop::default() };
    let wanted = Route { next_hops: vec![no_link], ttl_propagate: Some(true), ..route("10.0.0.0/8") };
    assert_eq!(route_plan(&lead(&[wanted]), &[via("10.0.0.0/8", &["192.0.2.9"])]), "");
    let wanted = Route { expires: Some(500), scope: Scope::LINK, ..via("2001:db8::/32", &["fe80::1"]) };
    let there = Route { expires: Some(3), scope: Scope::UNIVERSE, metric: 1024, ..wanted.clone() };
    assert_eq!(route_plan(&lead(from_ref(&wanted)), from_ref(&there)), "");
    let for_ever = Route { expires: None, ..there };
    insta::assert_snapshot!(route_plan(&lead(&[wanted]), &[for_ever]), @"changing the route 2001:db8::/32");
    let wanted = Route { kind: RouteKind::BLACKHOLE, ..via("10.0.0.0/8", &["192.0.2.9"]) };
    let there = Route { kind: RouteKind::BLACKHOLE, ..route("10.0.0.0/8") };
    assert_eq!(route_plan(&lead(&[wanted]), &[there]), "");
    let zero = Metrics { quickack: Some(0.into()), ..Metrics::default() };
    let there = via("10.0.0.0/8", &["192.0.2.9"]);
    let wanted = Route { metrics: zero.clone(), ..there.clone() };
    assert_eq!(route_plan(&lead(&[wanted]), from_ref(&there)), "");
    let locked = Metrics { mtu: Some(Metric { value: 0, locked: true }), ..zero };
    let wanted = Route { metrics: locked, ..there.clone() };
    assert_ne!(route_plan(&lead(&[wanted]), &[there]), "");
    let there = Route { metric: 1024, ..via("2001:db8::/32", &["fe80::1"]) };
    let wanted = Route { tos: 16, ..there.clone() };
    assert_eq!(route_plan(&lead(&[wanted]), &[there]), "");
}

#[test]
fn routes_that_the_kernel_drops_with_an_address_are_put_back() {
    let there = vip("192.0.2.1/24");
    let mut wanted = hold(&[Address { scope: Scope::LINK, ..there }]);
    let with_source = Route { preferred_source: Some(there.ip), ..route("10.0.0.0/8") };
    let over_its_link = via("10.1.0.0/16", &["192.0.2.9"]);
    let routes = vec![with_source, over_its_link];
    wanted.routes = routes.iter().cloned().map(PlacedRoute::from).collect();
    let present = Present { addresses: vec![there], routes, ..Present::default() };
    let words = |present: &Present| plan(&wanted, present).iter().map(|it| format!("{it}\n")).collect::<String>();
    insta::assert_snapshot!(words(&present), @"
    removing 192.0.2.1/24 from link 2
    adding 192.0.2.1/24 to link 2
    adding the route 10.0.0.0/8
    adding the route 10.1.0.0/16
    ");
    let another = Present { addresses: vec![there, vip("198.51.100.1/24")], ..present };
    insta::assert_snapshot!(words(&another), @"
    removing 192.0.2.1/24 from link 2
    adding 192.0.2.1/24 to link 2
    adding the route 10.0.0.0/8
    ");
}

#[test]
fn link_changes_say_what_they_do() {
    let name = |text: &str| text.parse::<LinkName>().unwrap();
    let (a, b) = (name("a"), name("b"));
    let changes = [
        Change::AddVeth { name: a, peer: b },
        Change::AddBridge { name: b },
        Change::SetLinkUp(a.into()),
        Change::SetLinkDown(eth(2).into()),
        Change::SetMaster { link: a.into(), master: Some(eth(3)) },
        Change::SetMaster { link: a.into(), master: None },
        Change::MoveToNamespace { link: a.into(), namespace: 7 },
        Change::Rename { link: eth(2), name: b },
        Change::DelLink(a.into()),
    ];
    let names = |index: LinkIndex| (index == eth(2)).then(|| name("eth0"));
    let words: String = changes.iter().map(|change| format!("{}\n", change.describe(names))).collect();
    insta::assert_snapshot!(words, @"
    making the veth pair a and b
    making the bridge b
    setting a up
    setting eth0 down
    making a a port of link 3
    taking a out of its master
    moving a to another namespace
    renaming eth0 to b
    removing a
    ");
}

/// What the kernel does with a plan, as far as it matters here.
fn carry_out(changes: &[Change], mut present: Vec<Address>, promote_secondaries: bool) -> Vec<Address> {
    let at = |present: &[Address], key| present.iter().position(|address| address.key() == key);
    for change in changes {
        match change {
            &Change::AddAddress(address) if at(&present, address.key()).is_none() => add(&mut present, address),
            Change::AddAddress(_) => {}
            &Change::EditAddress(address) => match at(&present, address.key()) {
                Some(index) => {
                    let secondary = present[index].flags & AddressFlags::SECONDARY;
                    present[index] = Address { flags: address.flags | secondary, ..address };
                }
                None => add(&mut present, address),
            },
            &Change::RemoveAddress(address) => {
                let Some(index) = at(&present, address.key()) else {
                    continue;
                };
                remove(&mut present, index, promote_secondaries);
            }
            other => panic!("not in a plan of addresses: {other}"),
        }
    }
    present
}

fn add(present: &mut Vec<Address>, address: Address) {
    let is_secondary = subnet(&address).is_some()
        && present.iter().any(|other| is_primary(other) && subnet(other) == subnet(&address));
    let flags = address.flags & AddressFlags::SETTABLE;
    let flags = if is_secondary { flags | AddressFlags::SECONDARY } else { flags };
    present.push(Address { flags, ..address });
}

fn remove(present: &mut Vec<Address>, index: usize, promote_secondaries: bool) {
    let gone = present.remove(index);
    if subnet(&gone).is_none() || !is_primary(&gone) {
        return;
    }
    let follows = |other: &Address| !is_primary(other) && subnet(other) == subnet(&gone);
    if promote_secondaries {
        if let Some(heir) = present.iter_mut().find(|other| follows(other)) {
            heir.flags -= AddressFlags::SECONDARY;
        }
    } else {
        present.retain(|other| !follows(other));
    }
}

prop_compose! {
    /// Few enough values that wishes and presence meet.
    fn some_address()(
        link in 1..=2_u32,
        (ip, prefix_len) in prop_oneof![
            (0..6_u8, 30..=32_u8).prop_map(|(host, len)| (IpAddr::from([192, 0, 2, host]), len)),
            (0..3_u8).prop_map(|host| (IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]), 64)),
        ],
        scope in prop_oneof![4 => Just(Scope::UNIVERSE), 1 => Just(Scope::LINK)],
        flags in prop_oneof![
            4 => Just(AddressFlags::empty()),
            1 => Just(AddressFlags::NODAD),
            1 => Just(AddressFlags::NOPREFIXROUTE),
            1 => Just(AddressFlags::MCAUTOJOIN),
        ],
        valid in prop_oneof![4 => Just(Lifetime::Forever), 1 => (60..62_u32).prop_map(Lifetime::Seconds)],
        protocol in any::<Option<u8>>(),
    ) -> Address {
        Address {
            scope,
            flags,
            valid,
            protocol: protocol.map(AddressProtocol),
            ..Address::new(eth(link), ip, prefix_len)
        }
    }
}

prop_compose! {
    fn some_presence()(addresses in proptest::collection::vec(some_address(), 0..12)) -> Vec<Address> {
        let additions: Vec<_> = addresses.into_iter().map(Change::AddAddress).collect();
        carry_out(&additions, Vec::new(), false)
    }
}

proptest! {
    #[test]
    fn a_plan_leads_to_the_wish_and_touches_nothing_else(
        present in some_presence(),
        addresses in proptest::collection::vec(some_address(), 0..8),
        release in proptest::collection::vec(some_address().prop_map(|address| address.key()), 0..6),
        promote_secondaries: bool,
    ) {
        let wanted = Wanted { addresses, release, ..Wanted::default() };
        let changes = plan(&wanted, &with(&present));
        let after = carry_out(&changes, present.clone(), promote_secondaries);

        prop_assert_eq!(plan(&wanted, &with(&after)), [], "the second plan after {:?}", changes);
        let keys: HashSet<_> = after.iter().map(Address::key).collect();
        for address in &wanted.addresses {
            prop_assert!(keys.contains(&address.key()), "{} is missing", address);
        }
        let named = |key: &AddressKey| {
            wanted.release.contains(key) && !wanted.addresses.iter().any(|address| address.key() == *key)
        };
        for address in &present {
            prop_assert_eq!(keys.contains(&address.key()), !named(&address.key()), "{}", address);
        }
        prop_assert_eq!(keys.len(), after.len());
    }
}

#[test]
fn the_route_to_a_prefix_outlives_and_follows_an_address_with_an_end() {
    let lasting = vip("2001:db8::9/64");
    let leased = Address { preferred: Lifetime::Seconds(2), valid: Lifetime::Seconds(2), ..lasting };
    let parted = Address { flags: lasting.flags | AddressFlags::NOPREFIXROUTE, ..lasting };
    let changes =
        |wanted: &Wanted, there: Address| plan(wanted, &Present { addresses: vec![there], ..Present::default() });
    let release = Wanted { release: vec![lasting.key()], ..Wanted::default() };
    let edit = Change::EditAddress;
    assert_eq!(changes(&hold(&[leased]), lasting), [edit(parted), edit(leased)]);
    assert_eq!(changes(&hold(&[lasting]), leased), [edit(lasting)]);
    assert_eq!(changes(&release, leased), [edit(lasting), Change::RemoveAddress(leased)]);
    assert_eq!(changes(&release, lasting), [Change::RemoveAddress(lasting)]);
    let lasting = vip("192.0.2.9/24");
    let leased = Address { preferred: Lifetime::Seconds(2), valid: Lifetime::Seconds(2), ..lasting };
    assert_eq!(changes(&hold(&[leased]), lasting), [edit(leased)]);
    assert_eq!(changes(&Wanted { release: vec![lasting.key()], ..release }, leased), [Change::RemoveAddress(leased)]);
}
