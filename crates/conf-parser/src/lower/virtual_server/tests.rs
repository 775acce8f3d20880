use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use crate::config::*;
use crate::{Code, Diagnostic, MemoryLoader, Options, Parsed, config_test_exit_code, parse};

const NAT: &str = "lvs_sched rr\nlvs_method NAT\n";
const REAL: &str = "real_server 192.0.2.21 80 {\n}\n";

fn read(text: &str) -> Parsed {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
}

fn messages(parsed: &Parsed) -> Vec<&str> {
    parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect()
}

/// What is said about a virtual server that is complete but for `lines`.
fn said(lines: &str) -> Vec<String> {
    let text = format!("virtual_server 192.0.2.10 80 {{\nprotocol TCP\n{NAT}{REAL}{lines}\n}}\n");
    read(&text).diagnostics.into_iter().map(|finding| finding.message).collect()
}

fn server(lines: &str) -> VirtualServer {
    let text = format!("virtual_server 192.0.2.10 80 {{\nprotocol TCP\n{NAT}{REAL}{lines}\n}}\n");
    read(&text).config.virtual_servers.remove(0)
}

fn group(entries: &str, server: &str) -> Parsed {
    read(&format!("virtual_server_group G {{\n{entries}\n}}\nvirtual_server group G {{\nlvs_sched rr\n{server}\n}}\n"))
}

fn entries(text: &str) -> (Vec<GroupEntry>, Vec<String>) {
    let parsed = read(&format!("virtual_server_group G {{\n192.0.2.77 80\n{text}\n}}\n"));
    let group = parsed.config.virtual_server_groups.into_iter().next().unwrap();
    let messages = parsed.diagnostics.into_iter().map(|finding| finding.message);
    (group.entries.into_iter().skip(1).map(|entry| entry.value).collect(), messages.collect())
}

#[test]
fn the_address_of_a_virtual_server() {
    for (head, message) in [
        ("192.0.2.256 80", "Invalid virtual server IP address/port 192.0.2.256/80 - skipping"),
        ("192.0.2.10:80", "Invalid virtual server IP address 192.0.2.10:80 - skipping"),
        ("192.0.2.10 80-90", "Invalid virtual server IP address/port 192.0.2.10/80-90 - skipping"),
        ("192.0.2.10/24-3 80", "Invalid virtual server IP address/port 192.0.2.10/24-3/80 - skipping"),
        ("fwmark x", "virtual server fwmark 'x' must be in [0, 4294967295] - ignoring"),
        ("fwmark 0", "virtual server fwmark '0' is no mark that a packet can have - ignoring"),
    ] {
        let parsed = read(&format!("virtual_server {head} {{\nprotocol TCP\n{NAT}{REAL}}}\n"));
        assert_eq!(messages(&parsed), [message]);
        assert_eq!(parsed.config.virtual_servers, []);
        assert_eq!(config_test_exit_code(&parsed.diagnostics), 5);
    }
    let parsed = read(&format!("virtual_server 192.0.2.10:80 {{\n{NAT}{REAL}}}\n"));
    assert_eq!(parsed.diagnostics[0].replacement.as_deref(), Some("192.0.2.10 80"));
}

#[test]
fn what_stands_behind_an_address_is_not_looked_at() {
    for suffix in ["/24", "-20", "-192.0.2.20", "/x", "-"] {
        let parsed = read(&format!("virtual_server 192.0.2.10{suffix} 80 {{\nprotocol TCP\n{NAT}{REAL}}}\n"));
        assert_eq!(messages(&parsed), [format!("'{suffix}' is not looked at: this is one address")]);
        assert_eq!(config_test_exit_code(&parsed.diagnostics), 0);
        assert_eq!(parsed.config.virtual_servers[0].service.to_string(), "[192.0.2.10]:tcp:80");
    }
}

#[test]
fn mistakes_in_keepalived_s_words() {
    for (line, message) in [
        ("ip_family inet6", "Virtual server specified family inet6 conflicts with server family"),
        ("ip_family inet4", "unknown address family inet4"),
        ("weight 0", "Virtual server weight 0 is outside range 1-2147483647"),
        ("quorum 0", "Quorum 0 must be in [1, 4294967295]. Setting to 1."),
        ("hysteresis x", "Hysteresis x must be in [0, 4294967295] - ignoring"),
        ("smtp_alert x", "Invalid virtual_server smtp_alert parameter x"),
        ("snmp_name a b", "virtual server snmp_name missing or extra parameters"),
        ("snmp_name", "virtual server snmp_name missing or extra parameters"),
        ("virtualhost", "virtual server virtualhost missing"),
        ("retry 0", "retry value invalid - 0"),
        ("warmup -1", "virtual server warmup '-1' invalid - ignoring"),
        ("delay_before_retry -1", "virtual server delay before retry '-1' invalid - ignoring"),
        ("connect_timeout 0", "virtual server connect_timeout 0 invalid - ignoring"),
        ("hashed", "hashed only applies to sh scheduler - ignoring"),
        ("persistence_granularity x", "Invalid IPv4 persistence_granularity specified - x"),
        ("persistence_engine a_very_long_name", "persistence_name too long, truncating - a_very_long_name"),
        ("sorry_server 192.0.2.x", "Invalid sorry server IP address 192.0.2.x - skipping"),
        ("sorry_server 192.0.2.9 99999", "Invalid sorry server IP address 192.0.2.9 - skipping"),
        ("sorry_server_lvs_method DR", "sorry_server forwarding used without sorry_server"),
        ("sorry_server_inhibit", "Ignoring sorry_server inhibit used before or without sorry_server"),
        (
            "sorry_server 2001:db8::1 80",
            "Address family of virtual server and sorry server 2001:db8::1 don't match - skipping sorry server.",
        ),
        (
            "sorry_server 192.0.2.9 81\nsorry_server_lvs_method DR",
            "WARNING - virtual server [192.0.2.10]:tcp:80 and sorry server ports don't match - resetting",
        ),
    ] {
        let line = line.replace("a_very_long_name", "a_very_long_name_");
        assert_eq!(said(&line), [message.replace("a_very_long_name", "a_very_long_name_")], "{line}");
    }
}

#[test]
fn mistakes_in_a_real_server() {
    for (line, message) in [
        ("weight 2147483648", "Real server weight 2147483648 is outside range 0-2147483647"),
        ("uthreshold 4294967296", "Invalid real_server uthreshold '4294967296' - ignoring"),
        ("lthreshold x", "Invalid real_server lthreshold 'x' - ignoring"),
        ("inhibit_on_failure x", "Invalid inhibit_on_failure parameter x"),
        ("alpha x", "Invalid alpha parameter x"),
        ("smtp_alert x", "Invalid real_server smtp_alert parameter x"),
        ("snmp_name", "real server snmp_name missing or extra parameters"),
        ("virtualhost", "real server virtualhost missing"),
        ("delay_loop 0", "real server delay_loop '0' invalid - ignoring"),
        ("lvs_method X", "PARSER : unknown [X] routing method for real server."),
        ("weight 65536", "the kernel takes weights up to 65535: this one counts as that"),
        ("lthreshold 5", "lthreshold 5 is above uthreshold 0: the kernel refuses such a server"),
    ] {
        assert_eq!(said(&format!("real_server 192.0.2.22 80 {{\n{line}\n}}")), [message]);
    }
    for (head, message) in [
        ("192.0.2.x", "Invalid real server ip address/port 192.0.2.x - skipping"),
        ("192.0.2.22 x", "Invalid real server ip address/port 192.0.2.22/x - skipping"),
        (
            "2001:db8::1 80",
            "Address family of virtual server and real server 2001:db8::1 don't match - skipping real server.",
        ),
        ("192.0.2.21 80", "VS [192.0.2.10]:tcp:80: real server [192.0.2.21]:tcp:80 is duplicated - removing second rs"),
    ] {
        assert_eq!(said(&format!("real_server {head} {{\n}}")), [message]);
    }
}

#[test]
fn tunnels_and_their_options() {
    let gue = |checksum| Tunnel::Gue { port: NonZeroU16::new(6080).unwrap(), checksum };
    for (options, tunnel) in [
        ("", Tunnel::Ipip),
        ("type ipip nocsum", Tunnel::Ipip),
        ("type gue port 6080", gue(TunnelChecksum::None)),
        ("port 6080 csum type gue", gue(TunnelChecksum::Checksum)),
        ("type gue port 6080 csum remcsum", gue(TunnelChecksum::Remote)),
        ("type gre csum", Tunnel::Gre { checksum: true }),
        ("type gue type gre", Tunnel::Gre { checksum: false }),
    ] {
        assert_eq!(said(&format!("lvs_method TUN {options}")), [""; 0], "{options}");
        assert_eq!(server(&format!("lvs_method TUN {options}")).forwarding, ForwardingMethod::Tunnel(tunnel));
    }
    for (options, message) in [
        ("type gue", "gue tunnels require port, otherwise cannot have port."),
        ("type gre port 5", "gue tunnels require port, otherwise cannot have port."),
        ("type gre remcsum", "gre tunnels do not support remote checksum option."),
        ("csum", "ipip tunnels do not support checksum option."),
        ("type x", "Unknown tunnel type x for virtual server."),
        ("type", "Missing tunnel type for virtual server."),
        ("foo", "Invalid tunnel option foo for virtual server."),
        ("type gue port 0", "Invalid gue tunnel port 0 for virtual server."),
        ("type gue port", "Missing port for virtual server gue tunnel."),
    ] {
        assert_eq!(said(&format!("lvs_method TUN {options}")), [message]);
        assert_eq!(server(&format!("lvs_method TUN {options}")).forwarding, ForwardingMethod::Tunnel(Tunnel::Ipip));
    }
    assert_eq!(said("lvs_method DR foo"), ["Invalid tunnel option foo for virtual server."]);
    assert_eq!(said("lvs_method NAT type ipip"), ["the options of a tunnel change nothing for NAT"]);
}

#[test]
fn entries_of_a_group() {
    let addresses = |first: &str, last: &str, port| GroupEntry::Addresses {
        first: first.parse().unwrap(),
        last: last.parse().unwrap(),
        port,
    };
    for (line, entry) in [
        ("192.0.2.1", addresses("192.0.2.1", "192.0.2.1", 0)),
        ("192.0.2.1-20 80", addresses("192.0.2.1", "192.0.2.20", 80)),
        ("192.0.2.250-192.0.3.4 80", addresses("192.0.2.250", "192.0.3.4", 80)),
        ("192.0.2.8/29 80", addresses("192.0.2.8", "192.0.2.15", 80)),
        ("192.0.2.8/32 80", addresses("192.0.2.8", "192.0.2.8", 80)),
        ("2001:db8::1-ff 80", addresses("2001:db8::1", "2001:db8::ff", 80)),
        ("2001:db8::1-0x10 80", addresses("2001:db8::1", "2001:db8::10", 80)),
        ("2001:db8::8/125 80", addresses("2001:db8::8", "2001:db8::f", 80)),
        ("fwmark 3", GroupEntry::Fwmark { mark: 3, family: None }),
        ("fwmark 3 inet6", GroupEntry::Fwmark { mark: 3, family: Some(Family::Ipv6) }),
    ] {
        assert_eq!(entries(line), (vec![entry], Vec::new()), "{line}");
    }
}

#[test]
fn entries_that_cannot_be_used() {
    for (line, message) in [
        ("192.0.2.1-256 80", "Virtual server group range '192.0.2.1-256' end '256' too large"),
        ("192.0.2.10-5 80", "Address range end is not greater than address range start - 192.0.2.10-5 - skipping"),
        ("192.0.2.10- 80", "Address range end is not greater than address range start - 192.0.2.10- - skipping"),
        (
            "192.0.2.10-192.0.2.5 80",
            "Address range end is less than address range start - 192.0.2.10-192.0.2.5 - skipping",
        ),
        ("192.0.2.1-x 80", "Virtual server group range '192.0.2.1-x' has extra characters at end 'x'"),
        ("192.0.2.1-5-9 80", "Virtual server group range '192.0.2.1-5-9' has extra characters at end '-9'"),
        ("2001:db8::1-1ffff 80", "Virtual server group range '2001:db8::1-1ffff' end '1ffff' too large"),
        ("192.0.2.9/29 80", "Address mask bits not empty - 192.0.2.9/29 - skipping"),
        ("192.0.2.0/33 80", "Invalid netmask - 192.0.2.0/33 - skipping"),
        ("0.0.0.0/0 80", "Invalid netmask - 0.0.0.0/0 - skipping"),
        ("x 80", "Invalid virtual server group IP address x /port/80 - skipping"),
        ("hallo", "Invalid virtual server group IP address hallo - skipping"),
        ("192.0.2.1 80-90", "Invalid virtual server group IP address 192.0.2.1 /port/80-90 - skipping"),
        (
            "192.0.2.1-2001:db8::1 80",
            "Invalid virtual server group IP address 192.0.2.1-2001:db8::1 /port/80 - skipping",
        ),
        ("fwmark x", "(G): fwmark 'x' must be in [0, 4294967295] - ignoring"),
        ("fwmark 3 inet4", "(G): fwmark '3' family inet4 unknown - ignoring"),
    ] {
        assert_eq!(entries(line), (Vec::new(), vec![message.to_owned()]), "{line}");
    }
    let (all, said) = entries("2001:db8::/64 80");
    assert_eq!((all.len(), said), (1, vec!["2001:db8::/64 stands for 18446744073709551616 services".to_owned()]));
}

#[test]
fn a_group_that_is_empty_unknown_or_given_twice() {
    let parsed = group("", &format!("protocol TCP\n{NAT}{REAL}"));
    assert_eq!(
        messages(&parsed),
        [
            "virtual server group G has no entries - removing",
            "Virtual server group G specified but not configured - ignoring virtual server [G]:0"
        ]
    );
    assert_eq!(parsed.config.virtual_servers, []);
    let parsed = read("virtual_server_group web {\n192.0.2.1 80\n}\nvirtual_server group Web {\n}\n");
    assert_eq!(parsed.diagnostics[0].replacement.as_deref(), Some("web"));
    assert_eq!(config_test_exit_code(&parsed.diagnostics), 0);
    let parsed = read("virtual_server_group G {\n192.0.2.1 80\n}\nvirtual_server_group G {\nfwmark 1\n}\n");
    assert_eq!(messages(&parsed), ["virtual server group G is given twice - the first one counts"]);
    assert_eq!(parsed.config.virtual_server_groups.len(), 1);
    assert_eq!(config_test_exit_code(&parsed.diagnostics), 0);
}

#[test]
fn the_families_of_a_group() {
    let both = "192.0.2.1 80\n2001:db8::1 80";
    let parsed = group(both, &format!("protocol TCP\nlvs_method NAT\n{REAL}"));
    assert_eq!(
        messages(&parsed),
        ["G: virtual server group with IPv4 & IPv6 doesn't match virtual server [G]:0 - ignoring"]
    );
    let parsed = group("2001:db8::1 80", &format!("protocol TCP\nlvs_method NAT\n{REAL}"));
    assert_eq!(messages(&parsed), ["G: address family doesn't match virtual server [G]:0 - ignoring"]);
    let parsed = group(both, &format!("protocol TCP\nlvs_method TUN\n{REAL}"));
    assert_eq!(messages(&parsed), [""; 0]);
    let key = |protocol, family| ServiceKey::Group { name: "G".to_owned(), number: 0, protocol, family };
    assert_eq!(parsed.config.virtual_servers[0].service.value, key(Some(Protocol::Tcp), None));
    let parsed = group("fwmark 3", &format!("lvs_method NAT\n{REAL}"));
    assert_eq!(messages(&parsed), [""; 0]);
    assert_eq!(parsed.config.virtual_servers[0].service.value, key(None, Some(Family::Ipv4)));
}

#[test]
fn a_group_of_marks_has_no_protocol() {
    let parsed = group("fwmark 3", &format!("protocol TCP\nlvs_method DR\nha_suspend\n{REAL}"));
    assert_eq!(
        messages(&parsed),
        [
            "Warning: Virtual server [G]:0: protocol specified for fwmark - protocol will be ignored",
            "Virtual server [G]:0: cannot use ha_suspend with fwmarks - clearing ha_suspend",
            "WARNING - fwmark virtual server [G]:0, real server [192.0.2.21]:none:80 has port specified - port will be \
             ignored"
        ]
    );
}

#[test]
fn ports_of_servers_in_a_group() {
    let parsed = group("192.0.2.1 80\n192.0.2.1 81", "protocol TCP\nlvs_method DR\nreal_server 192.0.2.21 80 {\n}");
    let message = "virtual server [G]:0:[192.0.2.1,81] and real server [192.0.2.21]:tcp:80 ports don't match";
    assert_eq!(messages(&parsed), [message]);
    assert_eq!(parsed.config.virtual_servers[0].real_servers[0].port, 80);
    let parsed = group("192.0.2.1", "protocol TCP\nlvs_method DR\nreal_server 192.0.2.21 {\n}");
    assert_eq!(messages(&parsed), ["Virtual server [G]:0: zero port only valid for persistent services - setting"]);
    assert!(parsed.config.virtual_servers[0].persistence.is_some());
}

#[test]
fn the_family_of_a_mark() {
    let of = |lines: &str| {
        let parsed = read(&format!("virtual_server fwmark 3 {{\nlvs_sched rr\n{lines}\n}}\n"));
        let said = messages(&parsed).into_iter().map(str::to_owned).collect::<Vec<_>>();
        (parsed.config.virtual_servers.into_iter().next().map(|server| server.service.value), said)
    };
    let mark = |family| Some(ServiceKey::Fwmark { mark: 3, family });
    assert_eq!(of("lvs_method NAT\nreal_server 2001:db8::1 {\n}"), (mark(Family::Ipv6), Vec::new()));
    assert_eq!(of("lvs_method TUN\nreal_server 2001:db8::1 {\n}"), (mark(Family::Ipv4), Vec::new()));
    assert_eq!(of("ip_family inet6\nlvs_method TUN\nreal_server 192.0.2.1 {\n}"), (mark(Family::Ipv6), Vec::new()));
    let granular = "persistence_granularity 64\nreal_server 2001:db8::1 {\n}";
    assert_eq!(of(&format!("lvs_method NAT\n{granular}")), (mark(Family::Ipv6), Vec::new()));
    let (server, said) = of("lvs_method NAT\npersistence_granularity 64\nreal_server 192.0.2.1 {\n}");
    assert_eq!(server, None);
    assert_eq!(
        said,
        [
            "Virtual server FWM 3 has no real servers - ignoring",
            "Address family of virtual server and real server 192.0.2.1 don't match - skipping real server."
        ]
    );
}

#[test]
fn a_quorum_that_cannot_be() {
    assert_eq!(
        said("real_server 192.0.2.22 80 {\nweight 2\n}\nquorum 3\nhysteresis 1"),
        [
            "virtual server [192.0.2.10]:tcp:80: a lost quorum can never be gained again: that takes a weight of quorum + \
             hysteresis = 4, all real servers together have 3"
        ]
    );
    let parsed = read(&format!(
        "virtual_server 192.0.2.10 80 {{\nprotocol TCP\n{NAT}real_server 192.0.2.1 80 {{\nweight 0\n}}\n}}\n"
    ));
    assert_eq!(
        messages(&parsed),
        [
            "Warning - quorum 1 for [192.0.2.10]:tcp:80 exceeds total weight of real servers 0, which can never be reached"
        ]
    );
    assert_eq!((parsed.config.virtual_servers[0].quorum, parsed.config.virtual_servers[0].hysteresis), (1, 0));
}

#[test]
fn the_same_service_twice() {
    let one = format!("virtual_server 192.0.2.10 80 {{\nprotocol TCP\n{NAT}{REAL}}}\n");
    let parsed = read(&format!("{one}{one}{}", one.replace("TCP", "UDP")));
    assert_eq!(messages(&parsed), ["virtual server [192.0.2.10]:tcp:80 is the same service as another one"]);
    let Diagnostic { code, related, .. } = &parsed.diagnostics[0];
    assert_eq!((*code, related.len(), config_test_exit_code(&parsed.diagnostics)), (Code::DuplicateService, 1, 0));
    assert_eq!(parsed.config.virtual_servers.len(), 3);
}

#[test]
fn real_servers_take_over_what_they_do_not_say() {
    let server = server(
        "weight 5\nvirtualhost a\ninhibit_on_failure\nalpha\ndelay_loop 6\nreal_server 192.0.2.22 81 {\nweight 2\n\
         virtualhost b\ninhibit_on_failure off\nretry 4\nlvs_method DR\n}",
    );
    let [first, second] = server.real_servers.as_slice() else { panic!("two servers") };
    assert_eq!((first.weight, first.virtualhost.as_deref(), first.inhibit_on_failure), (5, Some("a"), true));
    assert_eq!((second.weight, second.virtualhost.as_deref(), second.inhibit_on_failure), (2, Some("b"), false));
    assert_eq!((first.alpha, first.checks.is_none(), second.alpha), (true, true, true));
    assert_eq!(second.checks.as_ref().unwrap().retry, Some(4));
    assert_eq!((second.port, second.forwarding), (80, ForwardingMethod::DirectRoute));
    assert_eq!(server.checks.delay_loop, Some(Duration::from_secs(6)));
    assert_eq!(server.checks.connect_timeout, Some(Duration::from_secs(5)));
}

#[test]
fn mails_follow_the_global_switches() {
    let of = |globals: &str, vs: &str, rs: &str| {
        let text = format!(
            "global_defs {{\n{globals}\n}}\nvirtual_server 192.0.2.10 80 {{\nprotocol TCP\n{NAT}{vs}\n\
             real_server 192.0.2.1 80 {{\n{rs}\n}}\n}}\n"
        );
        let server = read(&text).config.virtual_servers.remove(0);
        (server.smtp_alert, server.real_servers[0].smtp_alert)
    };
    assert_eq!(of("", "", ""), (false, true));
    assert_eq!(of("smtp_alert off", "", ""), (false, false));
    assert_eq!(of("smtp_alert off\nsmtp_alert_checker on", "", ""), (true, true));
    assert_eq!(of("smtp_alert", "smtp_alert off", "smtp_alert off"), (false, false));
}

#[test]
fn an_inherited_value_is_shown_with_its_place() {
    let text = format!("virtual_server 192.0.2.10 80 {{\nweight 5\nprotocol TCP\n{NAT}{REAL}}}\n");
    let parsed = read(&text);
    let settings = parsed.config.settings();
    let server = settings.iter().find(|setting| setting.keyword() == "virtual_server").unwrap();
    let real = server.body.iter().flatten().find(|setting| setting.keyword() == "real_server").unwrap();
    let line = |keyword: &str| {
        let setting = real.body.iter().flatten().find(|setting| setting.keyword() == keyword).unwrap();
        setting.written.map(|span| parsed.sources.location(span).unwrap().line)
    };
    assert_eq!((line("weight"), line("lvs_method"), line("alpha")), (Some(2), Some(5), None));
}

#[test]
fn the_address_that_a_sorry_server_has_in_the_end() {
    let sorry = server("sorry_server 192.0.2.8 81\nsorry_server 192.0.2.9\nsorry_server_inhibit").sorry_server.unwrap();
    assert_eq!((*sorry.address, sorry.port, sorry.inhibit), (IpAddr::from([192, 0, 2, 9]), 80, true));
}

#[test]
fn a_second_ssl_block_replaces_the_first() {
    let parsed = read("SSL {\npassword secret\nca /a\n}\nSSL {\nkey /k\n}\n");
    assert_eq!(messages(&parsed), ["SSL context already specified - replacing"]);
    let ssl = parsed.config.ssl.unwrap();
    assert_eq!((ssl.key.map(|key| key.value), ssl.ca), (Some("/k".to_owned()), None));
    let parsed = read("SSL {\npassword secret\n}\n");
    assert!(!format!("{:?}", parsed.config).contains("secret"));
    assert_eq!(messages(&read("SSL {\nca\n}\n")), ["SSL ca missing"]);
}
