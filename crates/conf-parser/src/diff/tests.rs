use std::path::Path;

use super::*;
use crate::{MemoryLoader, Options, parse};

fn settings(text: &str) -> Vec<Setting> {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default()).config.settings()
}

fn texts(before: &str, after: &str) -> Vec<String> {
    diff(&settings(before), &settings(after)).changes.iter().map(Change::to_string).collect()
}

fn instance(name: &str, vrid: u8, lines: &str) -> String {
    format!("vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\n{lines}\n}}\n")
}

fn addresses(addresses: &str) -> String {
    instance("V", 1, &format!("virtual_ipaddress {{\n{addresses}\n}}"))
}

fn server(lines: &str) -> String {
    format!("virtual_server 192.0.2.10 80 {{\nprotocol TCP\nlvs_sched rr\nlvs_method NAT\n{lines}\n}}\n")
}

#[test]
fn what_is_the_same_is_no_change() {
    let text = format!("{}{}", addresses("192.0.2.1/24"), server("real_server 192.0.2.20 80 { }"));
    let moved = format!("# moved\n\n{}", text.replace('\n', "\n\n"));
    let diff = diff(&settings(&text), &settings(&moved));
    assert_eq!(diff.changes, []);
    assert_eq!(diff.unchanged, [("vrrp_instance", 1), ("virtual_server", 1)]);
}

#[test]
fn values_defaults_and_flags() {
    let before = instance("V", 1, "nopreempt\nvirtual_ipaddress {\n192.0.2.1\n}");
    let after = instance("V", 2, "priority 150\nsmtp_alert\nvirtual_ipaddress {\n192.0.2.1\n}");
    let diff = diff(&settings(&before), &settings(&after));
    let texts: Vec<_> = diff.changes.iter().map(Change::to_string).collect();
    assert_eq!(
        texts,
        [
            "vrrp_instance V: virtual_router_id changes from 1 to 2",
            "vrrp_instance V: priority changes from 100 (default) to 150",
            "vrrp_instance V: nopreempt is removed",
            "vrrp_instance V: smtp_alert changes from off (default) to on",
        ]
    );
    assert!(diff.changes[0].consequence.is_some_and(|text| text.contains("a new one starts")));
    assert_eq!((diff.changes[1].consequence, diff.unchanged.len()), (None, 0));
}

#[test]
fn lists_are_sets_with_an_order() {
    let before = addresses("192.0.2.1/24\n192.0.2.2/24\n192.0.2.3/24 dev eth0");
    let after = addresses("192.0.2.2/24\n192.0.2.1/24\n192.0.2.3/24 dev eth1\n192.0.2.4/24");
    assert_eq!(
        texts(&before, &after),
        [
            "virtual_ipaddress of vrrp_instance V: 192.0.2.3/24 dev eth0 changes to 192.0.2.3/24 dev eth1",
            "virtual_ipaddress of vrrp_instance V: 192.0.2.4/24 is added",
            "virtual_ipaddress of vrrp_instance V: the order changes",
        ]
    );
    let peers = instance("V", 1, "virtual_ipaddress {\n192.0.2.1\n}\nunicast_peer {\n192.0.2.8\n}");
    assert_eq!(
        texts(&addresses("192.0.2.1"), &peers),
        [
            "vrrp_instance V: mcast_dst_ip 224.0.0.18 is removed",
            "unicast_peer of vrrp_instance V: 192.0.2.8 is added",
            "vrrp_instance V: unicast_ttl 255 is added"
        ]
    );
}

#[test]
fn blocks_come_go_and_are_renamed() {
    let vip = "virtual_ipaddress {\n192.0.2.1\n}";
    let before = [instance("A", 1, vip), instance("B", 2, vip)].concat();
    let after = [instance("C", 2, vip), instance("D", 3, vip)].concat();
    assert_eq!(
        texts(&before, &after),
        ["vrrp_instance B is renamed to C", "vrrp_instance A is removed", "vrrp_instance D is added"]
    );
}

#[test]
fn servers_are_told_apart_by_address_port_and_protocol() {
    let before = server("real_server 192.0.2.20 80 {\nweight 1\n}\nreal_server 192.0.2.21 80 { }");
    let after = server("real_server 192.0.2.22 80 { }\nreal_server 192.0.2.20 80 {\nweight 2\n}");
    assert_eq!(
        texts(&before, &after),
        [
            "real_server 192.0.2.20 80 of virtual_server 192.0.2.10 80: weight changes from 1 to 2",
            "real_server 192.0.2.21 80 is removed from virtual_server 192.0.2.10 80",
            "real_server 192.0.2.22 80 is added to virtual_server 192.0.2.10 80",
        ]
    );
    let one = server("real_server 192.0.2.20 80 { }");
    let other = one.replace("TCP", "UDP");
    assert_eq!(texts(&one, &[one.as_str(), other.as_str()].concat()), ["virtual_server 192.0.2.10 80 is added"]);
}

#[test]
fn passwords_are_not_shown() {
    let text = |password: &str| {
        let authentication = format!("authentication {{\nauth_type PASS\nauth_pass {password}\n}}");
        instance("V", 1, &format!("{authentication}\nvirtual_ipaddress {{\n192.0.2.1\n}}"))
    };
    assert_eq!(texts(&text("one"), &text("two")), ["authentication of vrrp_instance V: auth_pass changes"]);
    let none = addresses("192.0.2.1");
    assert_eq!(texts(&none, &text("two")), ["authentication is added to vrrp_instance V"]);
    assert_eq!(texts(&text("two"), &none), ["authentication is removed from vrrp_instance V"]);
}

#[test]
fn what_cannot_change_at_a_reload_says_so() {
    let consequence = consequence("global_defs", "nftables", ChangeKind::Changed, Form::Line);
    assert!(consequence.is_some_and(|text| text.contains("until a restart")));
    assert!(is_checker("virtual_server/real_server/TCP_CHECK"));
    assert!(!is_checker("virtual_server/real_server"));
}
