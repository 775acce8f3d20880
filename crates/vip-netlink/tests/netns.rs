//! Against the real kernel, in user and network namespaces of its own: needs no root and leaves nothing behind.

#![expect(clippy::disallowed_methods, reason = "a test of sockets needs a clock, a thread and the environment")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "netns/nft.rs"]
mod nft;

use std::{
    fs::File,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU64,
    os::fd::{AsFd, AsRawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode},
    slice::from_ref,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use socket2::{Domain, Protocol, Socket, Type};
use vip_netlink::{
    Address, AddressFlags, AddressGeneration, AddressProtocol, AnnounceSocket, Announcement, Change, Encapsulation,
    Event, Family, Fwmark, Ipv4Conf, Ipv4Setting, Lifetime, Link, LinkIndex, LinkName, MacAddr, MacvlanMode, Metric,
    Metrics, Monitor, NextHop, OperState, PlacedRoute, Placement, Prefix, Realms, Route, RouteFilter, RouteKind,
    RouteProtocol, RouteSocket, RouterPreference, Rule, RuleAction, Scope, Tunnel, VirtualKind, VirtualLink, Wanted,
    message::change::emit_batch, pace::Pace, plan,
};

/// Why a case cannot run on this kernel.
type Skip = String;
type Case = fn() -> Result<(), Skip>;

const CASES: &[(&str, Case)] = &[
    ("a_veth_pair_comes_up", a_veth_pair_comes_up),
    ("a_bridge_takes_and_gives_back_its_ports", a_bridge_takes_and_gives_back_its_ports),
    ("links_are_renamed_and_removed", links_are_renamed_and_removed),
    ("a_link_moves_to_another_namespace", a_link_moves_to_another_namespace),
    ("a_macvlan_is_made_kept_and_removed", a_macvlan_is_made_kept_and_removed),
    ("a_macvlan_that_cannot_be_made_is_named_with_the_reason", a_macvlan_that_cannot_be_made_is_named_with_the_reason),
    ("a_thousand_addresses_take_few_sends", a_thousand_addresses_take_few_sends),
    ("a_thousand_refusals_are_all_reported", a_thousand_refusals_are_all_reported),
    ("a_refusal_has_the_kernels_own_words", a_refusal_has_the_kernels_own_words),
    ("what_holds_already_is_no_error", what_holds_already_is_no_error),
    ("whatever_is_wanted_the_second_plan_is_empty", whatever_is_wanted_the_second_plan_is_empty),
    (
        "an_address_that_is_there_otherwise_is_edited_though_others_were_added_first",
        an_address_that_is_there_otherwise_is_edited_though_others_were_added_first,
    ),
    ("lifetimes_are_edited_in_place", lifetimes_are_edited_in_place),
    ("removing_a_primary_address_keeps_the_others", removing_a_primary_address_keeps_the_others),
    ("whatever_route_is_wanted_the_second_plan_is_empty", whatever_route_is_wanted_the_second_plan_is_empty),
    ("a_route_that_is_edited_is_replaced_without_a_gap", a_route_that_is_edited_is_replaced_without_a_gap),
    ("a_route_of_others_with_the_same_key_survives_ours", a_route_of_others_with_the_same_key_survives_ours),
    ("the_routes_of_others_are_not_asked_for", the_routes_of_others_are_not_asked_for),
    ("routes_outlive_an_edit_of_their_source", routes_outlive_an_edit_of_their_source),
    ("tunnels_are_read_back_as_they_were_set", tunnels_are_read_back_as_they_were_set),
    ("mpls_labels_are_read_back_as_they_were_set", mpls_labels_are_read_back_as_they_were_set),
    ("an_ila_locator_is_read_back_as_it_was_set", an_ila_locator_is_read_back_as_it_was_set),
    ("whatever_rule_is_wanted_the_second_plan_is_empty", whatever_rule_is_wanted_the_second_plan_is_empty),
    (
        "refusals_of_routes_and_rules_have_the_kernels_own_words",
        refusals_of_routes_and_rules_have_the_kernels_own_words,
    ),
    ("a_monitor_sees_routes_and_rules", a_monitor_sees_routes_and_rules),
    (
        "a_link_that_goes_between_plan_and_apply_costs_its_own_requests_only",
        a_link_that_goes_between_plan_and_apply_costs_its_own_requests_only,
    ),
    ("a_send_that_is_denied_costs_its_own_requests_only", a_send_that_is_denied_costs_its_own_requests_only),
    ("ipv6_addresses_are_usable_at_once", ipv6_addresses_are_usable_at_once),
    ("a_monitor_sees_links_and_addresses", a_monitor_sees_links_and_addresses),
    ("a_monitor_says_when_it_lost_events", a_monitor_says_when_it_lost_events),
    ("gratuitous_arp_reaches_the_neighbour", gratuitous_arp_reaches_the_neighbour),
    ("an_unsolicited_advertisement_reaches_the_neighbour", an_unsolicited_advertisement_reaches_the_neighbour),
    ("an_announcement_that_is_refused_stops_no_other", an_announcement_that_is_refused_stops_no_other),
    ("a_link_that_is_stuck_fills_its_own_socket_only", a_link_that_is_stuck_fills_its_own_socket_only),
    ("a_frame_that_a_full_queue_drops_is_refused", a_frame_that_a_full_queue_drops_is_refused),
    ("the_filter_of_routers_is_read_back_as_it_was_set", nft::the_filter_of_routers_is_read_back_as_it_was_set),
    ("marks_are_read_back_as_they_were_set", nft::marks_are_read_back_as_they_were_set),
    ("thousands_of_elements_take_more_than_one_batch", nft::thousands_of_elements_take_more_than_one_batch),
    ("tables_that_go_while_they_are_listed_are_not_there", nft::tables_that_go_while_they_are_listed_are_not_there),
    ("what_somebody_changed_is_put_back", nft::what_somebody_changed_is_put_back),
    (
        "a_batch_with_a_refusal_changes_nothing_and_says_which",
        nft::a_batch_with_a_refusal_changes_nothing_and_says_which,
    ),
    ("a_monitor_hears_of_others_only", nft::a_monitor_hears_of_others_only),
];

/// What no one can add to a host whose kernel lacks it. The daemon is tested with it in the virtual machine.
const MAY_BE_LACKING: &[&str] =
    &["mpls_labels_are_read_back_as_they_were_set", "an_ila_locator_is_read_back_as_it_was_set"];

const DEADLINE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let chosen = |name: &str| filter.is_none_or(|f| if has("--exact") { name == f } else { name.contains(f.as_str()) });
    let cases = CASES.iter().filter(|(name, _)| chosen(name) && !has("--ignored"));
    if has("--list") {
        cases.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let skips_are_failures = std::env::var_os("KEEPALIVED_RS_LABS").is_some_and(|labs| labs == "required");
    let user = nix::unistd::geteuid();
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET) {
        println!("skipped: user namespaces refused (unshare: {errno})");
        return ExitCode::from(u8::from(skips_are_failures));
    }
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1")).unwrap(); // rules can only name users of the namespace

    let (mut passed, mut failed, mut skipped, mut required_skips) = (0, 0, 0, 0);
    for (name, case) in cases {
        unshare(CloneFlags::CLONE_NEWNET).unwrap(); // each case has a network of its own
        match catch_unwind(AssertUnwindSafe(case)) {
            Ok(Ok(())) => {
                println!("test {name} ... ok");
                passed += 1;
            }
            Ok(Err(reason)) => {
                println!("test {name} ... skipped: {reason}");
                skipped += 1;
                required_skips += u32::from(!MAY_BE_LACKING.contains(name));
            }
            Err(_) => {
                println!("test {name} ... FAILED");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0 || skips_are_failures && required_skips > 0))
}

fn a_veth_pair_comes_up() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = veth(&mut route);
    assert!(a.is_up() && b.is_up(), "{a:?} {b:?}");
    assert_eq!((a.kind.as_deref(), a.parent), (Some("veth"), Some(b.index)));
    assert!(a.mac.is_some() && a.mac != b.mac && a.has_multicast() && !a.is_noarp());
    assert_eq!(a.mtu, 1500);

    all_applied(&mut route, &[Change::SetLinkDown(b.index.into())]);
    let monitor = Monitor::open().unwrap();
    until(&monitor, || !route.link(name("a")).unwrap().unwrap().is_up());
    Ok(())
}

fn a_bridge_takes_and_gives_back_its_ports() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let bridge = bridge(&mut route, "br")?;
    assert_eq!(bridge.kind.as_deref(), Some("bridge"));

    let mut monitor = Monitor::open().unwrap();
    all_applied(&mut route, &[Change::SetMaster { link: name("a").into(), master: Some(bridge.index) }]);
    assert_eq!(route.link(name("a")).unwrap().unwrap().master, Some(bridge.index));
    all_applied(&mut route, &[Change::SetMaster { link: a.index.into(), master: None }]);
    assert_eq!(route.link(name("a")).unwrap().unwrap().master, None);

    // The bridge says "gone" of the port; the link is still there.
    while let Some(event) = monitor.poll_event().unwrap() {
        assert!(!matches!(event, Event::LinkRemoved(_)), "{event:?}");
    }
    Ok(())
}

fn links_are_renamed_and_removed() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = veth(&mut route);
    let down_and_renamed =
        [Change::SetLinkDown(a.index.into()), Change::Rename { link: a.index, name: name("fifteen-octets-") }];
    all_applied(&mut route, &down_and_renamed);
    assert_eq!(route.link(name("fifteen-octets-")).unwrap().unwrap().index, a.index);

    all_applied(&mut route, &[Change::DelLink(b.index.into()), Change::DelLink(b.index.into())]);
    let left: Vec<_> = route.links().unwrap().iter().map(|link| link.name.to_string()).collect();
    assert_eq!(left, ["lo"]);
    Ok(())
}

fn a_link_moves_to_another_namespace() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = veth(&mut route);
    let (namespace, mut elsewhere) = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        (File::open("/proc/thread-self/ns/net").unwrap(), RouteSocket::open().unwrap())
    })
    .join()
    .unwrap();

    all_applied(&mut route, &[Change::MoveToNamespace { link: name("b").into(), namespace: namespace.as_raw_fd() }]);
    assert_eq!(route.link(name("b")).unwrap(), None);
    let moved = elsewhere.link(name("b")).unwrap().unwrap();
    assert_eq!((moved.mac, moved.parent), (b.mac, None), "the other end is not in its namespace");
    assert_eq!(route.link(name("a")).unwrap().unwrap().parent, None);
    assert_eq!(a.parent, Some(b.index));
    Ok(())
}

fn a_thousand_addresses_take_few_sends() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let vips = thousand(a.index);
    let wanted = Wanted { addresses: vips.clone(), ..Wanted::default() };

    let applied = route.reconcile_unseen(&wanted).unwrap();
    assert!(applied.refused.is_empty() && !applied.lost, "{applied:?}");
    assert!((1..=vips.len().div_ceil(Pace::LEAST)).contains(&applied.sends), "{} sends", applied.sends);
    assert_eq!(vips_on(&mut route, a.index), 1000);
    assert_eq!(route.reconcile(&wanted).unwrap().sends, 0, "the second plan is empty");

    let nothing = Wanted { release: vips.iter().map(Address::key).collect(), ..Wanted::default() };
    let applied = route.reconcile(&nothing).unwrap();
    assert!(applied.refused.is_empty() && !applied.lost, "{applied:?}");
    assert!((1..=vips.len().div_ceil(Pace::LEAST)).contains(&applied.sends), "{} sends", applied.sends);
    assert_eq!(vips_on(&mut route, a.index), 0);
    Ok(())
}

fn a_thousand_refusals_are_all_reported() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let nowhere = LinkIndex::new(4242).unwrap();
    let additions: Vec<_> = thousand(nowhere).into_iter().map(Change::AddAddress).collect();
    let applied = route.apply(&additions);
    assert!(!applied.lost);
    assert_eq!(applied.refused.len(), 1000);
    for (index, refusal) in applied.refused.iter().enumerate() {
        assert_eq!((refusal.index, refusal.error.io().raw_os_error()), (index, Some(19)));
    }
    let first = applied.refused.first().unwrap().error.to_string();
    assert!(first.starts_with("adding 10.9.0.1/32 to link 4242 (ip address add 10.9.0.1/32 dev if4242 proto 18): No such device (os error 19)"), "{first}");
    Ok(())
}

fn a_refusal_has_the_kernels_own_words() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let outer = bridge(&mut route, "outer")?;
    let inner = bridge(&mut route, "inner")?;
    let (a, _) = veth(&mut route);
    let applied = route.apply(&[
        Change::SetMaster { link: inner.index.into(), master: Some(outer.index) },
        Change::SetMaster { link: a.index.into(), master: Some(outer.index) },
    ]);
    let errors: Vec<_> = applied.refused.iter().map(|refusal| (refusal.index, refusal.error.to_string())).collect();
    let expected = "making inner a port of outer: Too many levels of symbolic links (os error 40): \
                    Can not enslave a bridge to a bridge";
    assert_eq!(errors, [(0, expected.to_owned())]);
    assert_eq!(route.link(name("a")).unwrap().unwrap().master, Some(outer.index), "the next one is carried out");
    Ok(())
}

fn what_holds_already_is_no_error() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = veth(&mut route);
    let vip = Address::virtual_address(a.index, [192, 0, 2, 1].into(), 24);
    all_applied(&mut route, &[Change::AddAddress(vip), Change::AddAddress(vip)]);
    all_applied(&mut route, &[Change::RemoveAddress(vip), Change::RemoveAddress(vip)]);
    all_applied(&mut route, &[Change::DelLink(b.index.into()), Change::RemoveAddress(vip)]);
    Ok(())
}

fn whatever_is_wanted_the_second_plan_is_empty() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let plain = |host, prefix_len| Address::virtual_address(a.index, [192, 0, 2, host].into(), prefix_len);
    let six = |text: &str, prefix_len| Address::virtual_address(a.index, text.parse().unwrap(), prefix_len);
    let addresses = vec![
        plain(1, 24),
        plain(2, 24),
        plain(3, 32),
        Address { label: Some(name("a:vip")), broadcast: Some([192, 0, 2, 255].into()), ..plain(4, 24) },
        Address { scope: Scope::LINK, ..plain(5, 32) },
        Address { peer: Some([198, 51, 100, 1].into()), ..plain(6, 32) },
        Address { flags: AddressFlags::NOPREFIXROUTE, ..plain(7, 25) },
        Address { preferred: Lifetime::Seconds(100), ..plain(9, 32) },
        Address { preferred: Lifetime::ZERO, ..plain(8, 32) },
        six("2001:db8::1", 64),
        six("2001:db8::2", 128),
        Address { flags: AddressFlags::NODAD | AddressFlags::NOPREFIXROUTE, ..six("2001:db8:1::1", 64) },
        Address { peer: Some("2001:db8:2::2".parse().unwrap()), ..six("2001:db8:2::1", 128) },
    ];
    let bare: Vec<_> = addresses.iter().map(|address| Address::new(a.index, address.ip, address.prefix_len)).collect();
    let wanted = Wanted { addresses, ..Wanted::default() };

    for present in [vec![], bare] {
        let additions: Vec<_> = present.into_iter().map(Change::AddAddress).collect();
        all_applied(&mut route, &additions);
        let applied = route.reconcile(&wanted).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!(plan(&wanted, &route.present(&wanted).unwrap()), []);
        let release = wanted.addresses.iter().map(Address::key).collect();
        let applied = route.reconcile(&Wanted { release, ..Wanted::default() }).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!(vips_on(&mut route, a.index), 0);
    }
    Ok(())
}

fn an_address_that_is_there_otherwise_is_edited_though_others_were_added_first() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let vip = |host| {
        let plain = Address::virtual_address(a.index, [192, 0, 2, host].into(), 32);
        Address { label: Some(name("a:vip")), ..plain }
    };
    let wanted = Wanted { addresses: vec![vip(1), vip(2), vip(3)], ..Wanted::default() };
    let others = [
        Address { scope: Scope::LINK, ..vip(2) },
        Address { label: Some(name("a:other")), ..vip(2) },
        Address { preferred: Lifetime::Seconds(500), valid: Lifetime::Seconds(1000), ..vip(2) },
    ];
    for other in others {
        all_applied(&mut route, &[Change::AddAddress(other)]);
        let applied = route.reconcile(&wanted).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        let [first, edited, third] = [1, 2, 3].map(|host| find(&mut route, &vip(host)));
        for ours in [first, third] {
            assert_eq!(edited, Address { ip: edited.ip, ..ours }, "it was {other:?}");
        }
        let release = wanted.addresses.iter().map(Address::key).collect();
        let applied = route.reconcile(&Wanted { release, ..Wanted::default() }).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
    }
    Ok(())
}

fn lifetimes_are_edited_in_place() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let ips = [(IpAddr::from([192, 0, 2, 1]), 24), ("2001:db8::1".parse().unwrap(), 64)];
    for (ip, prefix_len) in ips {
        let for_ever = Address::virtual_address(a.index, ip, prefix_len);
        let lease = Address { preferred: Lifetime::Seconds(500), valid: Lifetime::Seconds(1000), ..for_ever };
        all_applied(&mut route, &[Change::AddAddress(for_ever)]);
        let mut monitor = Monitor::open().unwrap();

        let applied = route.reconcile(&Wanted { addresses: vec![lease], ..Wanted::default() }).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        let there = find(&mut route, &lease);
        assert!((Lifetime::Seconds(900)..=Lifetime::Seconds(1000)).contains(&there.valid), "{there:?}");
        assert!((Lifetime::Seconds(400)..=Lifetime::Seconds(500)).contains(&there.preferred), "{there:?}");

        // It runs down, which is no reason to touch it; somebody who renews it says so.
        let mut wanted = Wanted { addresses: vec![lease], ..Wanted::default() };
        until(&monitor, || find(&mut route, &lease).preferred < Lifetime::Seconds(500));
        assert_eq!(plan(&wanted, &route.present(&wanted).unwrap()), []);
        wanted.renew = vec![lease.key()];
        let left = find(&mut route, &lease).valid;
        assert!(route.reconcile(&wanted).unwrap().refused.is_empty());
        assert!(find(&mut route, &lease).valid > left, "{left:?}");

        let applied = route.reconcile(&Wanted { addresses: vec![for_ever], ..Wanted::default() }).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!(find(&mut route, &lease).valid, Lifetime::Forever);
        while let Some(event) = monitor.poll_event().unwrap() {
            assert!(!matches!(event, Event::AddressRemoved(_)), "{event:?}");
        }
    }
    Ok(())
}

fn removing_a_primary_address_keeps_the_others() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let address = |host| Address::virtual_address(a.index, [192, 0, 2, host].into(), 24);
    let [vip, other_vip, of_the_host] = [address(1), address(2), address(3)];
    all_applied(&mut route, &[vip, other_vip, of_the_host].map(Change::AddAddress));
    assert!(find(&mut route, &of_the_host).flags.contains(AddressFlags::SECONDARY));

    let wanted = Wanted { addresses: vec![other_vip], release: vec![vip.key()], ..Wanted::default() };
    assert!(route.reconcile(&wanted).unwrap().refused.is_empty());
    let left: Vec<_> = route.addresses().unwrap().into_iter().filter(|a| a.ip.is_ipv4()).map(|a| a.ip).collect();
    assert_eq!(left, [other_vip.ip, of_the_host.ip]);
    Ok(())
}

fn ipv6_addresses_are_usable_at_once() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let host = Address::virtual_address(a.index, "2001:db8::1".parse().unwrap(), 128);
    let subnet = Address::virtual_address(a.index, "2001:db8:1::1".parse().unwrap(), 64);
    all_applied(&mut route, &[host, subnet].map(Change::AddAddress));

    let there = find(&mut route, &host);
    assert!(there.flags.contains(AddressFlags::NODAD | AddressFlags::DEPRECATED), "{there:?}");
    assert!(!there.flags.contains(AddressFlags::TENTATIVE), "{there:?}");
    assert_eq!((there.preferred, there.valid), (Lifetime::ZERO, Lifetime::Forever));
    let there = find(&mut route, &subnet);
    assert!(!there.flags.intersects(AddressFlags::TENTATIVE | AddressFlags::DEPRECATED), "{there:?}");
    assert_eq!((there.preferred, there.valid), (Lifetime::Forever, Lifetime::Forever));
    assert!(there.protocol.is_none_or(|protocol| protocol == AddressProtocol::KEEPALIVED), "{there:?}");
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
    socket.bind(&SocketAddr::new(host.ip, 0).into()).unwrap();
    Ok(())
}

fn a_monitor_sees_links_and_addresses() -> Result<(), Skip> {
    let mut monitor = Monitor::open().unwrap();
    let mut route = RouteSocket::open().unwrap();
    assert_eq!(monitor.poll_event().unwrap(), None);

    all_applied(&mut route, &[Change::AddVeth { name: name("a"), peer: name("b") }]);
    let Event::Link(a) = awaited(&mut monitor, |event| matches!(event, Event::Link(link) if link.name == "a")) else {
        unreachable!("that is what was awaited")
    };
    let both_up = [Change::SetLinkUp(name("a").into()), Change::SetLinkUp(name("b").into())];
    all_applied(&mut route, &both_up);
    awaited(&mut monitor, |event| matches!(event, Event::Link(link) if link.index == a.index && link.is_up()));

    for ip in [IpAddr::from([192, 0, 2, 1]), "2001:db8::1".parse().unwrap()] {
        let vip = Address::virtual_address(a.index, ip, 32);
        all_applied(&mut route, &[Change::AddAddress(vip)]);
        awaited(&mut monitor, |event| matches!(event, Event::Address(there) if there.key() == vip.key()));
        all_applied(&mut route, &[Change::RemoveAddress(vip)]);
        awaited(&mut monitor, |event| matches!(event, Event::AddressRemoved(gone) if gone.key() == vip.key()));
    }
    all_applied(&mut route, &[Change::DelLink(a.index.into())]);
    awaited(&mut monitor, |event| matches!(event, Event::LinkRemoved(link) if link.index == a.index));
    Ok(())
}

fn a_monitor_says_when_it_lost_events() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let vips = thousand(a.index);
    let mut monitor = Monitor::open().unwrap();
    for _ in 0..3 {
        all_applied(&mut route, &vips.iter().copied().map(Change::AddAddress).collect::<Vec<_>>());
        all_applied(&mut route, &vips.iter().copied().map(Change::RemoveAddress).collect::<Vec<_>>());
    }
    let mut seen = 0;
    awaited(&mut monitor, |event| {
        seen += 1;
        *event == Event::Overflow
    });
    assert!(seen < 6000, "{seen} events");
    while monitor.poll_event().unwrap().is_some() {}

    all_applied(&mut route, &[Change::SetLinkDown(a.index.into())]);
    awaited(&mut monitor, |event| matches!(event, Event::Link(link) if link.index == a.index));
    Ok(())
}

fn gratuitous_arp_reaches_the_neighbour() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = veth(&mut route);
    let neighbour = frames(0x0806);
    let announcements: Vec<_> = (1..=5).map(|host| announcement(&a, [192, 0, 2, host].into())).collect();
    all_sent(&announcements);
    for announcement in &announcements {
        received(&neighbour, &announcement.frame());
    }
    assert_ne!(a.mac, b.mac);
    Ok(())
}

fn an_unsolicited_advertisement_reaches_the_neighbour() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let neighbour = frames(0x86dd);
    let news = Announcement { router: true, ..announcement(&a, "2001:db8::1".parse().unwrap()) };
    all_sent(&[news]);
    received(&neighbour, &news.frame());
    Ok(())
}

fn an_announcement_that_is_refused_stops_no_other() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    all_applied(&mut route, &[Change::AddVeth { name: name("c"), peer: name("d") }]);
    let down = route.link(name("c")).unwrap().unwrap();
    let neighbour = frames(0x0806);
    let [first, refused, last] =
        [(&a, 1), (&down, 2), (&a, 3)].map(|(link, host)| announcement(link, [192, 0, 2, host].into()));

    let announced = AnnounceSocket::open().unwrap().send(&[first, refused, last]);
    assert_eq!(announced.left, 0);
    let errors: Vec<_> = announced.refused.iter().map(|refusal| (refusal.index, refusal.error.to_string())).collect();
    assert_eq!(errors, [(1, "announcing 192.0.2.2 on c: Network is down (os error 100)".to_owned())]);
    received(&neighbour, &first.frame());
    received(&neighbour, &last.frame());
    Ok(())
}

/// Its queue takes no frame any more; a socket that waits for it takes nothing for others either.
fn a_link_that_is_stuck_fills_its_own_socket_only() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let (c, _) = joined(&mut route, ["c", "d"]);
    tc("qdisc add dev a root tbf rate 8bit burst 1500 limit 1000000")?;
    let stuck: Vec<_> = (0..1000).map(|host| announcement(&a, Ipv4Addr::from_bits(host).into())).collect();
    let healthy = announcement(&c, [192, 0, 2, 1].into());
    let neighbour = frames(0x0806);
    let sockets = [AnnounceSocket::open().unwrap(), AnnounceSocket::open().unwrap()];

    let began = Instant::now();
    let announced = sockets[0].send(&stuck);
    let queued = stuck.len() - announced.left;
    assert!(announced.refused.is_empty() && (32..200).contains(&queued), "{announced:?}");
    assert_eq!(sockets[0].send(&[healthy]).left, 1);
    // Who waited for the stuck link would wait for a quarter of an hour.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let announced = sockets[1].send(&[healthy]);
    assert!(announced.refused.is_empty() && announced.left == 0, "{announced:?}");
    received(&neighbour, &healthy.frame());

    // What waited is not lost, and there is room for the rest.
    tc("qdisc change dev a root tbf rate 1gbit burst 100kb limit 1000000")?;
    let (waited, rest) = stuck.split_at(queued);
    received(&neighbour, &waited.last().unwrap().frame());
    let more = rest.first_chunk::<10>().unwrap();
    assert_eq!(sockets[0].send(more).left, 0);
    received(&neighbour, &more.last().unwrap().frame());
    Ok(())
}

/// The queue of the link itself is full long before the socket is.
fn a_frame_that_a_full_queue_drops_is_refused() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    tc("qdisc add dev a root tbf rate 8bit burst 1500 limit 200")?;
    let all: Vec<_> = (0..100).map(|host| announcement(&a, Ipv4Addr::from_bits(host).into())).collect();
    let announced = AnnounceSocket::open().unwrap().send(&all);
    assert!(announced.left == 0 && !announced.refused.is_empty(), "{announced:?}");
    let is_full = |refusal: &vip_netlink::Refusal<_>| refusal.error.io().raw_os_error() == Some(105);
    assert!(announced.refused.iter().all(is_full), "{announced:?}");
    Ok(())
}

fn all_sent(announcements: &[Announcement]) {
    let announced = AnnounceSocket::open().unwrap().send(announcements);
    assert!(announced.refused.is_empty() && announced.left == 0, "{announced:?}");
}

/// Traffic control, which only a kernel with this queue and a host with iproute2 have.
fn tc(arguments: &str) -> Result<(), Skip> {
    let output = Command::new("tc").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("tc (iproute2): {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("tc {arguments}: {said}")) }
}

fn name(text: &str) -> LinkName {
    text.parse().unwrap()
}

fn all_applied(route: &mut RouteSocket, changes: &[Change]) {
    let applied = route.apply(changes);
    assert!(applied.refused.is_empty() && !applied.lost, "{applied:?}");
}

/// The links `a` and `b`, joined, up and carrying frames.
fn veth(route: &mut RouteSocket) -> (Link, Link) {
    joined(route, ["a", "b"])
}

/// The same with other names.
fn joined(route: &mut RouteSocket, names: [&str; 2]) -> (Link, Link) {
    let monitor = Monitor::open().unwrap();
    let [a, b] = names.map(name);
    let changes = [Change::AddVeth { name: a, peer: b }, Change::SetLinkUp(a.into()), Change::SetLinkUp(b.into())];
    all_applied(route, &changes);
    let mut ends = || [a, b].map(|end| route.link(end).unwrap().unwrap());
    until(&monitor, || ends().iter().all(|end| end.is_up() && end.oper_state == OperState::UP));
    let [a, b] = ends();
    (a, b)
}

fn bridge(route: &mut RouteSocket, text: &str) -> Result<Link, Skip> {
    let applied = route.apply(&[Change::AddBridge { name: name(text) }, Change::SetLinkUp(name(text).into())]);
    match applied.refused.first().map(|refusal| &refusal.error) {
        None => Ok(route.link(name(text)).unwrap().unwrap()),
        Some(error) if error.io().raw_os_error() == Some(95) => Err("no bridge in this kernel".to_owned()),
        Some(error) => panic!("{error}"),
    }
}

fn thousand(link: LinkIndex) -> Vec<Address> {
    let first = Ipv4Addr::new(10, 9, 0, 1).to_bits();
    (0..1000).map(|n| Address::virtual_address(link, Ipv4Addr::from_bits(first + n).into(), 32)).collect()
}

fn vips_on(route: &mut RouteSocket, link: LinkIndex) -> usize {
    let is_ours = |address: &&Address| {
        address.link == link && address.scope != Scope::LINK && address.ip != IpAddr::from([127, 0, 0, 1])
    };
    route.addresses().unwrap().iter().filter(is_ours).count()
}

fn find(route: &mut RouteSocket, wanted: &Address) -> Address {
    route.addresses().unwrap().into_iter().find(|address| address.key() == wanted.key()).expect("it is there")
}

fn announcement(link: &Link, ip: IpAddr) -> Announcement {
    Announcement { link: link.index, mac: link.mac.unwrap(), ip, router: false }
}

/// All frames of an Ethernet type that arrive on any link of the namespace.
fn frames(ethernet_type: u16) -> Socket {
    let socket =
        Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ethernet_type.to_be())))).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn received(mut socket: &Socket, expected: &[u8]) {
    let deadline = Instant::now() + DEADLINE;
    let mut frame = [0; 2048];
    while Instant::now() < deadline {
        let len = socket.read(&mut frame).expect("a frame arrives before the deadline");
        if frame.get(..len) == Some(expected) {
            return;
        }
    }
    panic!("the frame did not arrive");
}

/// Reads events until one is as expected.
fn awaited(monitor: &mut Monitor, mut expected: impl FnMut(&Event) -> bool) -> Event {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match monitor.poll_event().unwrap() {
            Some(event) if expected(&event) => return event,
            Some(_) => {}
            None => readable(&*monitor, deadline).expect("the event comes before the deadline"),
        }
    }
}

/// Looks again whenever something has changed.
fn until(monitor: &Monitor, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        readable(monitor, deadline.min(Instant::now() + Duration::from_millis(20))).ok();
        assert!(Instant::now() < deadline, "it did not come about");
    }
}

fn readable(descriptor: impl AsFd, deadline: Instant) -> io::Result<()> {
    let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
    match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

fn net(text: &str) -> Prefix {
    let (ip, len) = text.split_once('/').unwrap();
    Prefix { ip: ip.parse().unwrap(), len: len.parse().unwrap() }
}

fn over(link: LinkIndex, gateway: &str) -> NextHop {
    NextHop { gateway: Some(gateway.parse().unwrap()), link: Some(link), ..NextHop::default() }
}

fn along(text: &str, hops: &[NextHop]) -> Route {
    Route { next_hops: hops.to_vec(), ..Route::new(net(text)) }
}

/// The addresses that the routes below need.
fn addressed(route: &mut RouteSocket) -> (Link, Link) {
    let (a, b) = veth(route);
    let address = |link: &Link, text: &str, len| Address::virtual_address(link.index, text.parse().unwrap(), len);
    let addresses = [
        address(&a, "192.0.2.1", 24),
        address(&b, "198.51.100.1", 24),
        address(&a, "2001:db8::1", 64),
        address(&b, "2001:db8:1::1", 64),
    ];
    all_applied(route, &addresses.map(Change::AddAddress));
    (a, b)
}

fn every_metric() -> Metrics {
    let metric = |value, locked| Some(Metric { value, locked });
    Metrics {
        mtu: metric(1400, true),
        advmss: metric(1300, false),
        rtt: metric(300 * 8, true),
        rttvar: metric(300 * 4, false),
        rto_min: metric(250, true),
        reordering: metric(7, true),
        window: metric(20_000, false),
        cwnd: metric(9, true),
        ssthresh: metric(11, true),
        initcwnd: metric(12, false),
        initrwnd: metric(13, false),
        hoplimit: metric(60, false),
        features: metric(Metrics::ECN, false),
        quickack: metric(1, false),
        fastopen_no_cookie: metric(1, false),
        congctl: Some(Metric { value: "reno".to_owned(), locked: true }),
    }
}

fn every_route(a: LinkIndex, b: LinkIndex) -> Vec<Route> {
    let [four, six] = [over(a, "192.0.2.9"), over(a, "2001:db8::9")];
    let device = NextHop { link: Some(b), ..NextHop::default() };
    let realms = Some(Realms { source: 3, destination: 4 });
    let rejecting = |text, kind| Route { kind, ..Route::new(net(text)) };
    vec![
        along("0.0.0.0/0", from_ref(&four)),
        along("10.1.0.0/16", from_ref(&device)),
        Route { scope: Scope::LINK, ..along("10.2.0.0/16", from_ref(&device)) },
        Route { tos: 0x10, metric: 5, table: 700, ..along("10.3.0.0/16", &[NextHop { realms, ..four.clone() }]) },
        Route { preferred_source: Some([192, 0, 2, 1].into()), ..along("10.4.0.0/16", from_ref(&four)) },
        Route { metrics: every_metric(), ..along("10.5.0.0/16", from_ref(&four)) },
        Route { protocol: RouteProtocol(99), ..along("10.6.0.0/16", &[NextHop { link: None, ..four.clone() }]) },
        along("10.7.0.0/16", &[NextHop { onlink: true, ..over(b, "203.0.113.9") }]),
        along("10.8.0.0/16", &[over(a, "fe80::9")]),
        along(
            "10.9.0.0/16",
            &[
                NextHop { weight: 256, ..four.clone() },
                NextHop { onlink: true, realms, ..over(b, "203.0.113.9") },
                over(b, "fe80::9"),
            ],
        ),
        rejecting("10.10.0.0/16", RouteKind::BLACKHOLE),
        rejecting("10.11.0.0/16", RouteKind::UNREACHABLE),
        rejecting("10.12.0.0/16", RouteKind::PROHIBIT),
        rejecting("10.13.0.0/16", RouteKind::THROW),
        along("::/0", from_ref(&six)),
        Route { metric: 7, ..along("2001:db8:11::/48", &[device]) },
        Route { source: Some(net("2001:db8:77::/48")), ..along("2001:db8:12::/48", from_ref(&six)) },
        Route { expires: Some(500), preference: RouterPreference::HIGH, ..along("2001:db8:13::/48", from_ref(&six)) },
        Route { metrics: every_metric(), table: 700, ..along("2001:db8:14::/48", from_ref(&six)) },
        Route {
            preferred_source: Some("2001:db8::1".parse().unwrap()),
            preference: RouterPreference::LOW,
            ..along("2001:db8:15::/48", from_ref(&six))
        },
        along("2001:db8:16::/48", &[NextHop { weight: 3, ..six }, over(b, "2001:db8:1::9")]),
        rejecting("2001:db8:17::/48", RouteKind::BLACKHOLE),
        rejecting("2001:db8:18::/48", RouteKind::UNREACHABLE),
        rejecting("2001:db8:19::/48", RouteKind::PROHIBIT),
        rejecting("2001:db8:20::/48", RouteKind::THROW),
    ]
}

fn whatever_route_is_wanted_the_second_plan_is_empty() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = addressed(&mut route);
    let routes = every_route(a.index, b.index);
    let release_routes = routes.clone();
    let wanted = Wanted { routes: routes.into_iter().map(PlacedRoute::from).collect(), ..Wanted::default() };
    // The kernel adds routes of its own as IPv6 gets ready.
    let made = |route: &mut RouteSocket| {
        let routes = route.routes().unwrap().into_iter();
        routes.filter(|route| route.protocol != RouteProtocol::KERNEL).collect::<Vec<_>>()
    };
    let before = made(&mut route);
    for placement in [Placement::First, Placement::Last, Placement::Alone] {
        let mut wanted = wanted.clone();
        wanted.routes.iter_mut().for_each(|placed| placed.placement = placement);
        let applied = route.reconcile(&wanted).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!(plan(&wanted, &route.present(&wanted).unwrap()), []);
        let release = Wanted { release_routes: release_routes.clone(), ..Wanted::default() };
        let applied = route.reconcile(&release).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!(made(&mut route), before);
    }
    Ok(())
}

fn a_route_that_is_edited_is_replaced_without_a_gap() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = addressed(&mut route);
    let foreign = Route { protocol: RouteProtocol(4), ..along("10.2.0.0/16", &[over(a.index, "192.0.2.7")]) };
    all_applied(&mut route, &[Change::AddRoute { route: Box::new(foreign.clone()), placement: Placement::First }]);
    let via = |text, gateways: &[&str]| {
        along(text, &gateways.iter().map(|gateway| over(a.index, gateway)).collect::<Vec<_>>())
    };
    let reject = |text| Route { kind: RouteKind::PROHIBIT, ..Route::new(net(text)) };
    let editions = [
        [via("10.1.0.0/16", &["192.0.2.8"]), via("10.2.0.0/16", &["192.0.2.8"]), via("2001:db8:9::/48", &["fe80::1"])],
        [
            via("10.1.0.0/16", &["192.0.2.8", "192.0.2.9"]),
            Route { metrics: every_metric(), ..via("10.2.0.0/16", &["192.0.2.8"]) },
            via("2001:db8:9::/48", &["fe80::1", "fe80::2"]),
        ],
        [
            along("10.1.0.0/16", &[NextHop { link: Some(b.index), ..NextHop::default() }]),
            reject("10.2.0.0/16"),
            via("2001:db8:9::/48", &["fe80::3", "fe80::2"]),
        ],
        [reject("10.1.0.0/16"), via("10.2.0.0/16", &["192.0.2.9"]), reject("2001:db8:9::/48")],
        [via("10.1.0.0/16", &["192.0.2.9"]), via("10.2.0.0/16", &["192.0.2.8"]), via("2001:db8:9::/48", &["fe80::3"])],
    ];
    let mut former = Vec::new();
    for edition in editions {
        let routes = edition.clone().map(PlacedRoute::from).to_vec();
        let wanted =
            Wanted { routes, release_routes: std::mem::replace(&mut former, edition.to_vec()), ..Wanted::default() };
        let applied = route.reconcile(&wanted).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        let present = route.present(&wanted).unwrap();
        assert_eq!(plan(&wanted, &present), []);
        assert!(route.routes().unwrap().contains(&foreign), "{:?}", route.routes());
        let ours = |route: &&Route| route.protocol == RouteProtocol::KEEPALIVED;
        assert_eq!(present.routes.iter().filter(ours).count(), 3, "{present:?}");
    }
    Ok(())
}

/// Of a hundred thousand in the same table none comes, unless one may stand where a route is replaced.
fn the_routes_of_others_are_not_asked_for() -> Result<(), Skip> {
    const MANY: u32 = 100_000;
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = addressed(&mut route);
    let first = Ipv4Addr::new(172, 16, 0, 0).to_bits();
    let foreign = |number| Route {
        protocol: RouteProtocol(186), // BGP
        next_hops: vec![over(a.index, "192.0.2.7")],
        ..Route::new(Prefix { ip: Ipv4Addr::from_bits(first + number).into(), len: 32 })
    };
    let add = |route| Change::AddRoute { route: Box::new(route), placement: Placement::First };
    all_applied(&mut route, &(0..MANY).map(foreign).map(add).collect::<Vec<_>>());
    let mut cost = |what: &mut dyn FnMut(&mut RouteSocket)| {
        let before = route.received();
        what(&mut route);
        let after = route.received();
        (after.datagrams - before.datagrams, after.octets - before.octets)
    };
    let (datagrams, octets) = cost(&mut |route| assert!(route.routes().unwrap().len() > 100_000));
    assert!(datagrams > 100 && octets > u64::from(MANY) * 40, "{datagrams} datagrams of {octets} octets");

    let via = |gateway| along("10.1.0.0/16", &[over(a.index, gateway)]);
    let six = |gateway| Route { table: 77, ..along("2001:db8:9::/48", &[over(a.index, gateway)]) };
    let mut wanted = Wanted { routes: vec![via("192.0.2.8").into(), six("fe80::8").into()], ..Wanted::default() };
    let no_more_than = |(datagrams, octets), limit| {
        assert!(datagrams < 20 && octets < limit, "{datagrams} datagrams of {octets} octets");
    };
    let quiet = |route: &mut RouteSocket, wanted: &Wanted| {
        let applied = route.reconcile(wanted).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
    };
    no_more_than(cost(&mut |route| quiet(route, &wanted)), 10_000);
    no_more_than(cost(&mut |route| assert_eq!(plan(&wanted, &route.present(&wanted).unwrap()), [])), 10_000);
    let ours = wanted.routes.iter().map(|placed| RouteFilter::of(&placed.route)).collect::<Vec<_>>();
    let nowhere = ours.iter().map(|filter| RouteFilter { table: 4_000_000, ..*filter });
    let filters: Vec<_> = ours.iter().copied().chain(nowhere).collect();
    no_more_than(cost(&mut |route| assert_eq!(route.routes_like(filters.clone()).unwrap().len(), 2)), 10_000);

    // What is replaced must not be another's: this once all of its table is looked at.
    wanted.release_routes = wanted.routes.iter().map(|placed| placed.route.clone()).collect();
    wanted.routes = vec![via("192.0.2.9").into(), six("fe80::9").into()];
    let (_, octets) = cost(&mut |route| quiet(route, &wanted));
    assert!(octets > u64::from(MANY) * 40, "{octets}");
    wanted.release_routes = wanted.routes.drain(..).map(|placed| placed.route).collect();
    no_more_than(cost(&mut |route| quiet(route, &wanted)), 10_000);
    assert_eq!(route.routes_like(ours).unwrap(), []);
    Ok(())
}

/// As they come and as they go; what is theirs is not even replaced.
fn a_route_of_others_with_the_same_key_survives_ours() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = addressed(&mut route);
    let reject = |text| Route { kind: RouteKind::PROHIBIT, ..Route::new(net(text)) };
    let (one, two) = (over(a.index, "192.0.2.8"), over(a.index, "192.0.2.9"));
    let (six, seven) = (over(a.index, "fe80::8"), over(b.index, "fe80::8"));
    let foreign = [
        along("10.1.0.0/16", from_ref(&two)),
        along("10.2.0.0/16", &[one.clone(), two.clone()]),
        along("10.3.0.0/16", &[NextHop { link: Some(b.index), ..NextHop::default() }]),
        reject("10.4.0.0/16"),
        along("2001:db8:9::/48", from_ref(&seven)),
    ];
    let ours = [
        along("10.1.0.0/16", from_ref(&one)),
        along("10.2.0.0/16", &[one.clone(), NextHop { weight: 9, ..two }]),
        along("10.3.0.0/16", &[NextHop { link: Some(a.index), ..NextHop::default() }]),
        along("10.4.0.0/16", &[one]),
        along("2001:db8:9::/48", &[six]),
    ];
    // By the hand of somebody who marks them as ours are.
    let add = |route: &Route| Change::AddRoute { route: Box::new(route.clone()), placement: Placement::First };
    all_applied(&mut route, &foreign.each_ref().map(add));
    let kept = route.routes().unwrap();
    let there = |route: &mut RouteSocket, what: &[Route]| {
        let present = route.routes().unwrap();
        what.iter().filter(|wanted| wanted.is_within(&present)).count()
    };
    let edited = ours.clone().map(|route| Route { metrics: every_metric(), ..route });
    for edition in [&ours, &edited] {
        let routes = edition.clone().map(PlacedRoute::from).to_vec();
        let applied = route.reconcile(&Wanted { routes, ..Wanted::default() }).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!((there(&mut route, &foreign), there(&mut route, edition)), (5, 5));
    }
    let release = Wanted { release_routes: ours.to_vec(), ..Wanted::default() };
    let applied = route.reconcile(&release).unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
    assert_eq!((there(&mut route, &foreign), there(&mut route, &ours)), (5, 0));
    for theirs in kept.iter().filter(|theirs| theirs.protocol == RouteProtocol::KEEPALIVED) {
        assert!(route.routes().unwrap().contains(theirs), "{theirs:?} is not as it was");
    }
    assert_eq!(plan(&release, &route.present(&release).unwrap()), []);
    Ok(())
}

fn routes_outlive_an_edit_of_their_source() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let vip = Address::virtual_address(a.index, [192, 0, 2, 1].into(), 24);
    let six = Address::virtual_address(a.index, "2001:db8::1".parse().unwrap(), 64);
    let sourced = |text, gateway, source: &Address| Route {
        preferred_source: Some(source.ip),
        ..along(text, &[over(a.index, gateway)])
    };
    let mut wanted = Wanted {
        addresses: vec![vip, six],
        routes: vec![
            sourced("10.0.0.0/8", "192.0.2.9", &vip).into(),
            along("11.0.0.0/8", &[over(a.index, "192.0.2.9")]).into(),
            sourced("2001:db8:9::/48", "fe80::9", &six).into(),
        ],
        ..Wanted::default()
    };
    for label in ["a:one", "a:two"] {
        let peer = Some("2001:db8::99".parse().unwrap()).filter(|_| label == "a:two");
        let labelled = Address { label: Some(name(label)), ..vip };
        wanted.addresses = vec![labelled, Address { peer, ..six }];
        let applied = route.reconcile(&wanted).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!(plan(&wanted, &route.present(&wanted).unwrap()), []);
    }
    Ok(())
}

fn tunnels_are_read_back_as_they_were_set() -> Result<(), Skip> {
    let four = Tunnel {
        id: 3,
        destination: Ipv4Addr::new(203, 0, 113, 9),
        source: Ipv4Addr::UNSPECIFIED,
        tos: 8,
        ttl: 9,
        flags: 0,
    };
    let six = Tunnel { id: 4, destination: Ipv6Addr::LOCALHOST, source: Ipv6Addr::LOCALHOST, tos: 0, ttl: 0, flags: 0 };
    is_read_back(&Encapsulation::Ip(four))?;
    is_read_back(&Encapsulation::Ip6(six))
}

fn mpls_labels_are_read_back_as_they_were_set() -> Result<(), Skip> {
    is_read_back(&Encapsulation::Mpls(vec![100, 200]))
}

fn an_ila_locator_is_read_back_as_it_was_set() -> Result<(), Skip> {
    is_read_back(&Encapsulation::Ila(0x0001_0002_0003_0004))
}

/// Of one next hop, and of each of several.
fn is_read_back(encapsulation: &Encapsulation) -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = addressed(&mut route);
    let hop = NextHop { encapsulation: Some(encapsulation.clone()), ..over(a.index, "2001:db8::9") };
    let other = NextHop { encapsulation: Some(encapsulation.clone()), ..over(a.index, "2001:db8::10") };
    // Of an ILA identifier the type must be one that the kernel translates.
    let [one, several] = ["2001:db8:9:0:2000::1/128", "2001:db8:10:0:2000::1/128"];
    let routes = [along(one, from_ref(&hop)), along(several, &[hop, other])];
    let wanted = Wanted { routes: routes.map(PlacedRoute::from).to_vec(), ..Wanted::default() };
    let applied = route.reconcile(&wanted).unwrap();
    match applied.refused.first() {
        None => assert_eq!(plan(&wanted, &route.present(&wanted).unwrap()), []),
        Some(refusal) if refusal.error.io().raw_os_error() == Some(95) => {
            return Err(format!("this kernel has no {encapsulation:?}"));
        }
        Some(refusal) => panic!("{encapsulation:?}: {}", refusal.error),
    }
    // `veth` makes the same names again.
    all_applied(&mut route, &[Change::DelLink(a.index.into())]);
    Ok(())
}

fn every_rule() -> Vec<Rule> {
    let table = RuleAction::Table(700);
    let four = |priority, action| Rule::new(Family::Ipv4, priority, action);
    let six = |priority, action| Rule::new(Family::Ipv6, priority, action);
    vec![
        Rule { from: Some(net("10.0.0.0/8")), to: Some(net("10.1.0.0/16")), tos: 0x10, ..four(1, table) },
        Rule { invert: true, iif: Some(name("a")), oif: Some(name("away")), ..four(2, RuleAction::Goto(40_000)) },
        Rule { fwmark: Some(Fwmark { mark: 0, mask: 7 }), tunnel_id: NonZeroU64::new(6), ..four(3, table) },
        Rule { uid_range: Some((0, 0)), ip_protocol: 6, source_ports: Some((3, 7)), ..four(4, table) },
        Rule {
            ip_protocol: 17,
            destination_ports: Some((9, 9)),
            realms: Some(Realms { source: 3, destination: 5 }),
            suppress_prefix_length: Some(3),
            suppress_group: Some(7),
            ..four(5, table)
        },
        four(6, RuleAction::L3mdev),
        four(7, RuleAction::Nop),
        four(8, RuleAction::Blackhole),
        four(9, RuleAction::Unreachable),
        four(10, RuleAction::Prohibit),
        Rule { protocol: RouteProtocol(99), fwmark: Some(Fwmark { mark: 5, mask: u32::MAX }), ..four(11, table) },
        Rule { from: Some(net("2001:db8::/32")), to: Some(net("2001:db8:1::/48")), tos: 0x10, ..six(1, table) },
        Rule { suppress_prefix_length: Some(0), suppress_group: Some(0), ..six(2, table) },
        six(3, RuleAction::L3mdev),
        six(4, RuleAction::Goto(5)),
        six(5, RuleAction::Prohibit),
    ]
}

fn whatever_rule_is_wanted_the_second_plan_is_empty() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let before = route.rules().unwrap();
    let wanted = Wanted { rules: every_rule(), ..Wanted::default() };
    let applied = route.reconcile(&wanted).unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
    let there = route.rules().unwrap();
    let missing: Vec<_> = wanted.rules.iter().filter(|rule| !there.contains(rule)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert_eq!(plan(&wanted, &route.present(&wanted).unwrap()), []);

    let applied = route.reconcile(&Wanted { release_rules: wanted.rules, ..Wanted::default() }).unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
    assert_eq!(route.rules().unwrap(), before);
    Ok(())
}

fn a_monitor_sees_routes_and_rules() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = addressed(&mut route);
    let mut monitor = Monitor::open().unwrap();
    monitor.watch_routes(true).unwrap();
    let routes =
        [along("10.2.0.0/16", &[over(a.index, "192.0.2.9")]), along("2001:db8:9::/48", &[over(a.index, "fe80::9")])];
    for there in routes.map(Box::new) {
        all_applied(&mut route, &[Change::AddRoute { route: there.clone(), placement: Placement::First }]);
        awaited(&mut monitor, |event| matches!(event, Event::Route(new) if new.key() == there.key()));
        all_applied(&mut route, &[Change::RemoveRoute(there.clone())]);
        awaited(&mut monitor, |event| matches!(event, Event::RouteRemoved(gone) if gone.key() == there.key()));
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        let rule = Box::new(Rule::new(family, 9, RuleAction::Table(7)));
        all_applied(&mut route, &[Change::AddRule(rule.clone())]);
        awaited(&mut monitor, |event| *event == Event::Rule(rule.clone()));
        all_applied(&mut route, &[Change::RemoveRule(rule.clone())]);
        awaited(&mut monitor, |event| *event == Event::RuleRemoved(rule.clone()));
    }
    // What it does not listen for it does not hear.
    monitor.watch_routes(false).unwrap();
    let rule = Box::new(Rule::new(Family::Ipv4, 9, RuleAction::Table(7)));
    all_applied(&mut route, &[Change::AddRule(rule.clone()), Change::RemoveRule(rule)]);
    let last = bridge(&mut route, "last")?;
    awaited(&mut monitor, |event| match event {
        Event::Rule(_) | Event::RuleRemoved(_) => panic!("{event:?}"),
        event => matches!(event, Event::Link(link) if link.index == last.index),
    });
    Ok(())
}

/// Each request that needs the link is refused for itself; the others are carried out.
fn a_link_that_goes_between_plan_and_apply_costs_its_own_requests_only() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (stays, _) = addressed(&mut route);
    let goes = bridge(&mut route, "goes")?;
    all_applied(&mut route, &[Change::SetLinkUp(goes.index.into())]);
    let to = |link: &Link, third: u8| Address::virtual_address(link.index, [10, 9, third, 1].into(), 24);
    let wanted = Wanted {
        addresses: vec![to(&stays, 1), to(&goes, 2), to(&stays, 3)],
        routes: vec![
            along("10.1.0.0/16", &[NextHop { link: Some(goes.index), ..NextHop::default() }]).into(),
            along("10.2.0.0/16", &[over(stays.index, "192.0.2.9")]).into(),
        ],
        rules: vec![Rule::new(Family::Ipv4, 9, RuleAction::Table(7))],
        ..Wanted::default()
    };
    let changes = plan(&wanted, &route.present(&wanted).unwrap());
    all_applied(&mut route, &[Change::DelLink(goes.index.into())]);
    let refused = route.apply(&changes).refused;
    let errors: Vec<_> = refused.iter().map(|it| (it.error.io().raw_os_error(), it.error.to_string())).collect();
    assert_eq!(errors.iter().map(|(errno, _)| *errno).collect::<Vec<_>>(), [Some(19), Some(19)], "{errors:?}");
    for ((_, error), command) in
        errors.iter().zip(["ip address add 10.9.2.1/24 dev if", "ip route prepend 10.1.0.0/16 dev if"])
    {
        assert!(error.contains(command), "{error}");
    }
    let left = plan(&wanted, &route.present(&wanted).unwrap());
    assert_eq!(left.len(), 2, "{left:?}");
    Ok(())
}

/// A seccomp filter denies the second of three sends.
fn a_send_that_is_denied_costs_its_own_requests_only() -> Result<(), Skip> {
    const BATCH: usize = 16;
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    route.set_receive_buffer(1 << 14, false).unwrap(); // each send has as many requests as their errors fit in there
    let four = |third| move |host| Address::virtual_address(a.index, [10, 9, third, host].into(), 32);
    let six = |host: u8| Address::virtual_address(a.index, Ipv6Addr::from_bits(host.into()).into(), 128);
    let hosts = || 1..=u8::try_from(BATCH).unwrap();
    let denied: Vec<_> = hosts().map(|host| Change::AddAddress(six(host + 16))).collect();
    let changes: Vec<_> = hosts().map(four(1)).map(Change::AddAddress).collect();
    let changes = [changes, denied.clone(), hosts().map(four(2)).map(Change::AddAddress).collect()].concat();

    let len = u64::try_from(emit_batch(&denied, 1).len()).unwrap();
    // A filter is for ever, but for one thread.
    let (applied, after) = std::thread::scope(|scope| {
        let denied_thread = scope.spawn(|| {
            let second = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, len).unwrap();
            let rules = [(nix::libc::SYS_sendto, vec![SeccompRule::new(vec![second]).unwrap()])].into();
            let arch = std::env::consts::ARCH.try_into().unwrap();
            let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(1), arch).unwrap();
            seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
            (route.apply(&changes), route.addresses().unwrap())
        });
        denied_thread.join().unwrap()
    });
    assert_eq!((applied.sends, applied.lost), (3, false));
    let places: Vec<_> = applied.refused.iter().map(|refusal| refusal.index).collect();
    assert_eq!(places, (BATCH..2 * BATCH).collect::<Vec<_>>());
    for (refusal, change) in applied.refused.iter().zip(&denied) {
        assert_eq!(refusal.what, *change);
        assert!(refusal.error.to_string().ends_with("): Operation not permitted (os error 1)"), "{}", refusal.error);
    }
    let there =
        |change: &&Change| matches!(change, Change::AddAddress(it) if after.iter().any(|at| at.key() == it.key()));
    assert_eq!(changes.iter().filter(there).count(), 2 * BATCH);
    assert!(!denied.iter().any(|change| there(&change)));
    Ok(())
}

fn refusals_of_routes_and_rules_have_the_kernels_own_words() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = addressed(&mut route);
    let add = |route: Route| Change::AddRoute { route: Box::new(route), placement: Placement::First };
    let good = along("10.2.0.0/16", &[over(a.index, "192.0.2.9")]);
    let rule = Rule { priority: 9, ..Rule::new(Family::Ipv4, 9, RuleAction::Goto(3)) };
    let changes = [
        add(along("10.1.0.0/16", &[over(a.index, "203.0.113.9")])),
        add(good.clone()),
        add(good.clone()),
        Change::AddRule(Box::new(rule)),
        Change::RemoveRoute(Box::new(good.clone())),
        Change::RemoveRoute(Box::new(good)),
        Change::RemoveRule(Box::new(Rule::new(Family::Ipv6, 77, RuleAction::Nop))),
    ];
    let refused = route.apply(&changes).refused;
    let errors: Vec<_> = refused.iter().map(|refusal| (refusal.index, refusal.error.to_string())).collect();
    assert_eq!(errors.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3], "{errors:?}");
    let starts = [
        "adding the route 10.1.0.0/16 (ip route prepend 10.1.0.0/16 via 203.0.113.9 dev ",
        "adding the IPv4 rule 9 (ip rule add from all priority 9 goto 3 protocol 18): Invalid argument (os error 22)",
    ];
    for ((_, error), start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start), "{error}");
    }
    assert!(refused.iter().all(|refusal| refusal.error.explanation().is_some()), "{errors:?}");
    Ok(())
}

/// That of virtual router 51 on `parent`, in a group of its own.
fn vmac(parent: LinkIndex) -> VirtualLink {
    VirtualLink {
        name: "vrrp.51".parse().unwrap(),
        parent,
        kind: VirtualKind::Macvlan { mode: MacvlanMode::PRIVATE },
        mac: Some(MacAddr([0, 0, 0x5e, 0, 1, 51])),
        group: 9,
        master: None,
        address_generation: Some(AddressGeneration::NONE),
        ipv4: Ipv4Conf::default().with(Ipv4Setting::ArpIgnore, 1).with(Ipv4Setting::AcceptLocal, 1),
    }
}

fn a_macvlan_is_made_kept_and_removed() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, b) = veth(&mut route);
    let wanted = Wanted { links: vec![vmac(a.index)], ..Wanted::default() };
    let first = route.reconcile(&wanted).unwrap().refused;
    if let Some(refusal) = first.first().filter(|refusal| refusal.error.io().raw_os_error() == Some(95)) {
        return Err(format!("no macvlans in this kernel: {}", refusal.error));
    }
    assert!(first.is_empty(), "{first:?}");
    assert!(route.reconcile(&wanted).unwrap().refused.is_empty());
    let made = route.link(vmac(a.index).name).unwrap().unwrap();
    assert!(made.flags.contains(vip_netlink::LinkFlags::UP));
    assert_eq!((made.parent, made.group, made.mac), (Some(a.index), 9, vmac(a.index).mac));
    assert_eq!(made.ipv4.value(Ipv4Setting::AcceptLocal), Some(1));
    let present = route.present(&wanted).unwrap();
    assert_eq!(plan(&wanted, &present), []);
    // What somebody changes is changed back, in the same link.
    let changes = [
        Change::SetMac { link: made.index, mac: MacAddr([2, 0, 0, 0, 0, 1]) },
        Change::SetVirtualKind { link: made.index, kind: VirtualKind::Macvlan { mode: MacvlanMode::BRIDGE } },
        Change::SetGroup { link: made.index, group: 0 },
        Change::SetIpv4Conf { link: made.index, conf: Ipv4Conf::default().with(Ipv4Setting::ArpIgnore, 0) },
        Change::SetAddressGeneration { link: made.index, mode: AddressGeneration::EUI64 },
        Change::SetLinkDown(made.index.into()),
    ];
    all_applied(&mut route, &changes);
    assert_eq!(plan(&wanted, &route.present(&wanted).unwrap()).len(), changes.len());
    assert!(route.reconcile(&wanted).unwrap().refused.is_empty());
    let repaired = route.link(made.name).unwrap().unwrap();
    assert_eq!((repaired.index, repaired.mac, repaired.group), (made.index, made.mac, 9));
    // To another parent it cannot be moved.
    let moved = Wanted { links: vec![vmac(b.index)], release_links: vec![made.name], ..Wanted::default() };
    assert!(route.reconcile(&moved).unwrap().refused.is_empty());
    assert_eq!(route.link(made.name).unwrap().unwrap().parent, Some(b.index));
    let gone = Wanted { release_links: vec![made.name], ..Wanted::default() };
    assert!(route.reconcile(&gone).unwrap().refused.is_empty());
    assert_eq!(route.link(made.name).unwrap(), None);
    Ok(())
}

fn a_macvlan_that_cannot_be_made_is_named_with_the_reason() -> Result<(), Skip> {
    let mut route = RouteSocket::open().unwrap();
    let (a, _) = veth(&mut route);
    let taken = VirtualLink { name: a.name, ..vmac(a.index) };
    let refused = route.reconcile(&Wanted { links: vec![taken], ..Wanted::default() }).unwrap().refused;
    let text = refused.iter().map(|refusal| refusal.error.to_string()).collect::<String>();
    let start =
        format!("making the macvlan {} with 00:00:5e:00:01:33 on {}: File exists (os error 17)", a.name, a.name);
    assert!(text.starts_with(&start) || text.contains("Operation not supported"), "{text}");
    Ok(())
}
