use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::*;
use crate::host::{Facts, Interface, NoHost};
use crate::{Code, Diagnostic, MemoryLoader, Options, Parsed, Severity, check, check_interfaces, parse};

fn read(text: &str) -> Parsed {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
}

fn line(line: &str) -> Parsed {
    read(&format!("static_routes {{\n{line}\n}}\n"))
}

fn messages(parsed: &Parsed) -> Vec<&str> {
    parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect()
}

fn only(text: &str) -> Route {
    let parsed = line(text);
    assert_eq!(messages(&parsed), Vec::<&str>::new(), "{text}");
    parsed.config.static_routes[0].value.clone()
}

/// The one finding about a line whose route is not used.
fn dropped(text: &str) -> String {
    let parsed = line(text);
    assert!(parsed.config.static_routes.is_empty(), "{text}");
    let errors: Vec<_> = parsed.diagnostics.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    errors[0].message.clone()
}

fn prefix(text: &str, len: u8) -> Prefix {
    Prefix { address: text.parse().unwrap(), len }
}

#[test]
fn a_route_with_every_part() {
    let route = only(
        "192.0.2.0/24 dev eth0 via 198.51.100.9 onlink table 0x10 tos AF11 protocol bird no_track scope link \
         priority 12 mtu 1000 ssthresh lock 107 realms PQA/0x14 rtt 4000 rto_min 0.5s features ecn append",
    );
    assert_eq!(route.destination, prefix("192.0.2.0", 24));
    assert_eq!(route.gateway, Some("198.51.100.9".parse().unwrap()));
    assert!(route.onlink);
    assert_eq!(route.table, RouteTable::Table(Named::Number(16)));
    assert_eq!((route.tos, route.protocol, route.scope), (Named::Number(0x28), Named::Number(12), Named::Number(253)));
    assert_eq!((route.metric, route.mode, route.track), (Some(12), RouteMode::Append, false));
    let metrics = route.metrics.unwrap();
    assert_eq!(metrics.mtu, Some(Metric { value: 1000, lock: false }));
    assert_eq!(metrics.ssthresh, Some(Metric { value: 107, lock: true }));
    assert_eq!(metrics.rtt.unwrap().value, Duration::from_millis(500));
    assert_eq!(metrics.rto_min.unwrap().value, Duration::from_millis(500));
    assert!(metrics.ecn);
    let realms = route.realms.unwrap();
    assert!(matches!(realms.source, Some(Named::Name(name)) if name.value == "PQA"));
    assert_eq!(realms.destination, Named::Number(0x14));
}

#[test]
fn a_type_adds_and_the_last_word_wins() {
    assert_eq!(only("blackhole 192.0.2.0/24 no_track").mode, RouteMode::Add);
    assert_eq!(only("append 6 192.0.2.0/24 no_track").kind, RouteType::Blackhole);
    assert_eq!(only("append blackhole 192.0.2.0/24 no_track").mode, RouteMode::Add);
    assert_eq!(only("blackhole 192.0.2.0/24 no_track append").mode, RouteMode::Append);
    assert_eq!(only("192.0.2.0/24 dev eth0 add prepend").mode, RouteMode::Prepend);
    assert_eq!(only("0x63 192.0.2.0/24 no_track").kind, RouteType::Other(0x63));
}

#[test]
fn the_family_is_that_of_the_first_word_that_tells() {
    assert_eq!(only("default dev eth0").family(), Family::Ipv4);
    assert_eq!(only("default dev eth0 inet6").family(), Family::Ipv6);
    assert_eq!(only("default dev eth0 via 2001:db8::1").family(), Family::Ipv6);
    assert_eq!(only("default dev eth0 pref low").family(), Family::Ipv6);
    assert_eq!(only("default no_track nexthop via 2001:db8::1").family(), Family::Ipv6);
    assert_eq!(dropped("192.0.2.0/24 via 2001:db8::1"), "Cannot mix IPv4 and IPv6 addresses for route");
    assert_eq!(dropped("via 198.51.100.9 default dev eth0"), "Cannot mix IPv4 and IPv6 addresses for route (default)");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 expires 5"), "expires is only valid for IPv6");
    assert_eq!(dropped("2001:db8::/32 dev eth0 realms 3"), "realms are only valid for IPv4");
    assert_eq!(dropped("2001:db8::/32 dev eth0 inet"), "inet specified for IPv6 route");
    assert_eq!(dropped("192.0.2.0/24 from 192.0.2.0/24"), "route from address only supported with IPv6 (192.0.2.0/24)");
}

#[test]
fn the_word_after_inet6_is_passed_over() {
    let parsed = line("inet6 default via 2001:db8::1 dev eth0");
    assert_eq!(messages(&parsed), ["Route must have a destination", "keepalived passes over the word after 'inet6'"]);
    assert!(parsed.config.static_routes.is_empty());
}

#[test]
fn a_mistake_costs_the_route() {
    assert_eq!(dropped("dev eth0"), "Route must have a destination");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 metrik 5"), "unknown route keyword metrik");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 metric 0x10"), "Invalid metric 0x10 specified for route");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 hoplimit 256"), "Invalid hoplimit 256 specified for route");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 mtu lock x"), "Invalid MTU x specified for route");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 protocol 300"), "Protocol 300 not found or invalid for route");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 realms 3/4/5"), "Invalid realms 3/4/5 for route");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 rtt 5m"), "Invalid rtt 5m for route");
    assert_eq!(dropped("192.0.2.0/24 dev eth0 rto_min 500s"), "Invalid rto_min value 500s specified for route");
    assert_eq!(dropped("192.0.2.0/24 via 198.51.100.9/24"), "invalid route via address 198.51.100.9/24");
}

#[test]
fn a_word_without_its_value_refuses_the_start() {
    let parsed = line("192.0.2.0/24 dev eth0 mtu lock");
    assert_eq!(
        messages(&parsed),
        [
            "*** Configuration line starting `192.0.2.0/24` is missing a parameter after keyword `lock` at word position 6"
        ]
    );
    assert!(parsed.refuses_start());
}

#[test]
fn times_that_cannot_be_told_are_moved_into_the_range() {
    let parsed = line("192.0.2.0/24 dev eth0 rtt 100 rttvar 200s");
    assert_eq!(messages(&parsed), ["rtt 12.5ms counts as 200ms", "rttvar 200s counts as 120s"]);
    let metrics = &parsed.config.static_routes[0].metrics;
    assert_eq!(metrics.as_ref().unwrap().rtt.unwrap().value, Duration::from_millis(200));
    assert_eq!(metrics.as_ref().unwrap().rttvar.unwrap().value, Duration::from_secs(120));
}

#[test]
fn or_makes_two_next_hops() {
    let parsed = line("192.0.2.0/24 dev eth0 via 198.51.100.9 or 198.51.100.10 or 198.51.100.11");
    let route = &parsed.config.static_routes[0];
    let gateways: Vec<_> = route.next_hops.iter().map(|hop| hop.gateway.unwrap().to_string()).collect();
    assert_eq!(gateways, ["198.51.100.9", "198.51.100.10"]);
    assert_eq!(route.gateway, None);
    assert!(messages(&parsed).contains(&"\"or\" route already specified - ignoring subsequent"));
    assert_eq!(
        dropped("192.0.2.0/24 via 198.51.100.9 or 198.51.100.10 nexthop via 198.51.100.11"),
        "Cannot specify nexthops with \"or\" route"
    );
}

#[test]
fn an_address_to_translate_to_is_passed_over() {
    for word in ["as 198.51.100.9", "as to 198.51.100.9"] {
        let parsed = line(&format!("192.0.2.0/24 dev eth0 {word} metric 3"));
        assert_eq!(messages(&parsed), ["\"as to\" for MPLS only - ignoring"]);
        assert_eq!(parsed.config.static_routes[0].metric, Some(3));
    }
}

#[test]
fn a_bad_next_hop_takes_the_rest_with_it() {
    let hops = |text: &str| {
        let parsed = line(&format!("192.0.2.0/24 dev eth0 nexthop via 198.51.100.9 {text}"));
        let message = parsed.diagnostics[0].message.clone();
        (parsed.config.static_routes[0].next_hops.len(), message)
    };
    let next = "nexthop via 198.51.100.10";
    assert_eq!(hops(&format!("weight 0 {next}")), (0, "Invalid weight 0 specified for route".to_owned()));
    assert_eq!(hops(&format!("{next} weight 257")), (1, "Invalid weight 257 specified for route".to_owned()));
    assert_eq!(hops(&format!("{next} as to 192.0.2.1")), (1, "'as [to]' (nat) not supported".to_owned()));
    assert_eq!(hops("nexthop via 2001:db8::1"), (1, "Address family mismatch for next hop".to_owned()));
    assert_eq!(hops("nexthop via inet6 2001:db8::1"), (1, "IPv4/6 mismatch for nexthop".to_owned()));
    let trailing = "Route has trailing nonsense after nexthops - metric".to_owned();
    assert_eq!(hops(&format!("metric 5 {next}")), (1, trailing));
}

#[test]
fn encapsulations() {
    let encapsulation = |text: &str| *only(&format!("192.0.2.0/24 dev eth0 encap {text}")).encapsulation.unwrap();
    assert_eq!(encapsulation("mpls 100/0x10"), Encapsulation::Mpls(vec![100, 16]));
    assert_eq!(encapsulation("ila 1:2:3:ffff"), Encapsulation::Ila(0x0001_0002_0003_ffff));
    // The second `src` and `metric` are the route's own.
    let route = only("192.0.2.0/24 dev eth0 encap ip id 5 dst 198.51.100.1 ttl 64 metric 4");
    let tunnel = TunnelRoute {
        id: Some(5),
        destination: Some("198.51.100.1".parse().unwrap()),
        hop_limit: Some(64),
        ..TunnelRoute::default()
    };
    assert_eq!(route.encapsulation, Some(Box::new(Encapsulation::Ip(tunnel))));
    assert_eq!(route.metric, Some(4));
    let bad = |text: &str| dropped(&format!("192.0.2.0/24 dev eth0 encap {text}"));
    assert_eq!(bad("mpls 100/200/300"), "invalid mpls address 100/200/300 for encapsulation");
    assert_eq!(bad("mpls 1048576"), "invalid mpls address 1048576 for encapsulation");
    assert_eq!(bad("ila 1::4"), "invalid locator 1::4 for ila encapsulation");
    assert_eq!(bad("ip dst 2001:db8::1"), "IPv6 address 2001:db8::1 not valid for ip encapsulation");
    assert_eq!(bad("ip6 id 1 hoplimit 300"), "Invalid hoplimit 300 specified for ip6 encapsulation");
    assert_eq!(bad("ip id 1 tc 4"), "unknown route keyword tc");
    let parsed = line("192.0.2.0/24 dev eth0 encap gre 5 metric 6");
    assert_eq!(messages(&parsed), ["Unknown encap type - gre"]);
    assert_eq!(
        (parsed.config.static_routes[0].encapsulation.as_ref(), parsed.config.static_routes[0].metric),
        (None, Some(6))
    );
}

#[test]
fn without_an_interface_nothing_is_tracked() {
    let parsed = line("192.0.2.0/24 via 198.51.100.9 protocol bird");
    assert_eq!(
        messages(&parsed),
        [
            "Warning - cannot track route 192.0.2.0/24 with no interface specified, not tracking",
            "Route cannot be tracked if protocol is not RTPROT_KEEPALIVED(18), resetting protocol"
        ]
    );
    let route = &parsed.config.static_routes[0];
    assert_eq!((route.track, &route.protocol), (false, &Named::Number(18)));
}

#[test]
fn a_track_group_is_defined_before_its_use() {
    let group = "track_group G {\ngroup {\n}\n}\n";
    let routes = |group: &str| format!("static_routes {{\n192.0.2.0/24 dev eth0 track_group {group}\n}}\n");
    let parsed = read(&format!("{group}{}", routes("G")));
    assert!(parsed.diagnostics.iter().all(|finding| finding.severity != Severity::Error), "{:?}", messages(&parsed));
    assert!(messages(&read(&format!("{}{group}", routes("G")))).contains(&"track_group G not found"));
    let parsed = read(&format!("{group}static_routes {{\n192.0.2.0/24 no_track track_group G\n}}\n"));
    assert!(messages(&parsed).contains(&"Static route cannot have track group if no oif specified"));
    assert_eq!(parsed.config.static_routes[0].track_group, None);
}

#[test]
fn virtual_routes_have_no_track_group() {
    let parsed = read(
        "vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.1\n}\n\
         virtual_routes {\n192.0.2.0/24 dev eth0 track_group G\n198.51.100.0/24 dev eth1\n}\n}\n",
    );
    assert_eq!(messages(&parsed), ["unknown route keyword track_group"]);
    assert_eq!(parsed.config.vrrp_instances[0].virtual_routes.len(), 1);
}

#[test]
fn what_the_host_must_have_is_listed() {
    let parsed = read(
        "static_routes {\n192.0.2.0/24 dev eth0 table small nexthop dev eth7\n198.51.100.0/24 dev eth0 vrf blue\n}\n\
         static_rules {\niif eth8 table other preference 5 suppress_ifgroup uplink ipproto foo\n}\n",
    );
    let interfaces = ["eth0", "blue"].map(|name| (name.to_owned(), Interface::default()));
    let tables = [("small".to_owned(), 100), ("others".to_owned(), 101)];
    let mut host = Facts { interfaces: Some(interfaces.into()), ..Facts::default() };
    let missing = check_interfaces(&parsed.config, &host);
    let missing: Vec<_> = missing.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        missing,
        [
            "WARNING - interface eth7 for VROUTE nexthop doesn't exist",
            "WARNING - interface eth8 for rule doesn't exist"
        ]
    );
    assert_eq!(check(&parsed.config, &parsed.sources, &NoHost), []);
    let all = [NameTable::VrfDevices, NameTable::InterfaceGroups, NameTable::IpProtocols];
    host.names = all.into_iter().map(|table| (table, [].into())).collect();
    host.names.insert(NameTable::RoutingTables, tables.into());
    let mut unknown = check(&parsed.config, &parsed.sources, &host);
    unknown.retain(|finding| finding.code == Code::UnknownName);
    let said = |finding: &Diagnostic| {
        [Some(&finding.message), finding.label.as_ref(), finding.help.as_ref()].map(|text| text.unwrap().clone())
    };
    let rule = "the rule is not used";
    assert_eq!(
        unknown.iter().map(said).collect::<Vec<_>>(),
        [
            [
                "Route specified VRF blue is not a VRF",
                "the route is not used",
                "create a device of type vrf with the name blue, or write 'table'"
            ],
            ["Routing table other not found for rule", rule, "did you mean 'others'?"],
            ["suppress_group uplink is invalid", rule, "name 'uplink' in /etc/iproute2/group, or write its number"],
            [
                "Invalid ipproto foo",
                "the rule is used without it, and so matches more",
                "name 'foo' in /etc/protocols, or write its number"
            ]
        ]
    );
    assert!(unknown.iter().all(|finding| !finding.refuses_start));

    let mut config = parsed.config.clone();
    config.resolve_names(&NoHost);
    assert_eq!(config, parsed.config);
    config.resolve_names(&host);
    assert_eq!(config.static_routes.len(), 1);
    assert_eq!(config.static_routes[0].table, RouteTable::Table(Named::Number(100)));
    assert_eq!(config.static_rules, []);
}

/// What becomes of `text` on a host that has the table `small`, the realm `PQA`, and nothing else with a name.
fn on_a_host(text: &str) -> (Config, Vec<(String, String)>) {
    let mut names = BTreeMap::new();
    for table in [NameTable::RouteProtocols, NameTable::Scopes, NameTable::DsFields, NameTable::IpProtocols] {
        names.insert(table, [("huge".to_owned(), 256)].into());
    }
    names.insert(NameTable::RoutingTables, [("small".to_owned(), 100)].into());
    names.insert(NameTable::Realms, [("PQA".to_owned(), 3)].into());
    let host = Facts { names, ..Facts::default() };
    let mut parsed = read(text);
    let found = check(&parsed.config, &parsed.sources, &host);
    let found = found.into_iter().filter(|finding| finding.code == Code::UnknownName);
    let found = found.map(|finding| (finding.message, finding.label.unwrap())).collect();
    parsed.config.resolve_names(&host);
    (parsed.config, found)
}

#[test]
fn names_become_the_numbers_of_the_host() {
    let route = "192.0.2.0/24 dev eth0 table small realms PQA/cosmos nexthop via 198.51.100.9 realms PQA";
    let (config, found) = on_a_host(&format!("static_routes {{\n{route}\n}}\n"));
    assert_eq!(found, []);
    let route = &config.static_routes[0];
    assert_eq!(route.table, RouteTable::Table(Named::Number(100)));
    let realms = Realms { source: Some(Named::Number(3)), destination: Named::Number(0) };
    assert_eq!(route.realms, Some(Box::new(realms)));
    assert_eq!(route.next_hops[0].realms, Some(Box::new(Realms { source: None, destination: Named::Number(3) })));
}

#[test]
fn a_name_that_the_host_does_not_know_costs_what_it_costs_keepalived() {
    let whole = "the route is not used";
    for (words, message) in [
        ("table smal", "Routing table smal not found for route"),
        ("protocol birt no_track", "Protocol birt not found or invalid for route"),
        ("protocol huge no_track", "Protocol huge not found or invalid for route"),
        ("scope sit", "Scope sit not found or invalid for route"),
        ("tos AF99", "TOS value AF99 is invalid"),
        ("realms PQA/bar", "Invalid realms PQA/bar for route"),
        ("encap ip id 5 tos AF99", "dsfield AF99 not valid for ip encapsulation"),
        ("encap ip6 id 5 tc AF99", "tc value AF99 is invalid for ip6 encapsulation"),
    ] {
        let (config, found) = on_a_host(&format!("static_routes {{\n192.0.2.0/24 dev eth0 {words}\n}}\n"));
        assert_eq!(found, [(message.to_owned(), whole.to_owned())], "{words}");
        assert_eq!(config.static_routes, [], "{words}");
    }
    let hops = |words: &str| {
        let hops = format!("nexthop via 198.51.100.9 {words} nexthop via 198.51.100.10");
        let (config, found) = on_a_host(&format!("static_routes {{\n192.0.2.0/24 dev eth0 {hops}\n}}\n"));
        assert_eq!(found.len(), 1, "{words}");
        config.static_routes[0].next_hops.clone()
    };
    assert_eq!(hops("realms bar"), []);
    let kept = hops("encap ip id 5 tos AF99");
    let tunnel = TunnelRoute { id: Some(5), ..TunnelRoute::default() };
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].encapsulation, Some(Box::new(Encapsulation::Ip(tunnel))));
}

#[test]
fn rules_and_addresses_go_on_without_some_names() {
    let (config, found) = on_a_host(
        "static_rules {\ntable small preference 5 ipproto foo\n}\n\
         static_ipaddress {\n192.0.2.1/24 dev eth0 scope sit\n192.0.2.2 dev eth0 scope 0x10\n}\n",
    );
    let messages: Vec<_> = found.iter().map(|(message, label)| (message.as_str(), label.as_str())).collect();
    assert_eq!(
        messages,
        [
            ("Invalid scope 'sit' specified for 192.0.2.1/24 - ignoring", "the address is used with scope global"),
            ("Invalid ipproto foo", "the rule is used without it, and so matches more"),
        ]
    );
    assert_eq!(config.static_rules[0].ip_protocol, None);
    let scopes: Vec<_> = config.static_addresses.iter().map(|address| address.options().scope.number()).collect();
    assert_eq!(scopes, [Some(0), Some(16)]);
}
