use std::path::Path;

use crate::config::*;
use crate::{MemoryLoader, Options, Parsed, parse};

fn lines(lines: &str) -> Parsed {
    let text = format!("static_rules {{\n{lines}\n}}\n");
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
}

fn messages(parsed: &Parsed) -> Vec<&str> {
    parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect()
}

fn only(text: &str) -> Rule {
    let parsed = lines(text);
    assert_eq!(messages(&parsed), Vec::<&str>::new(), "{text}");
    parsed.config.static_rules[0].value.clone()
}

/// The one finding about a line whose rule is not used.
fn dropped(text: &str) -> String {
    let parsed = lines(text);
    assert!(parsed.config.static_rules.is_empty(), "{text}");
    assert_eq!(parsed.diagnostics.len(), 1, "{text}: {:?}", messages(&parsed));
    parsed.diagnostics[0].message.clone()
}

#[test]
fn a_rule_with_every_part() {
    let rule = only(
        "not from 192.0.2.0/24 to 198.51.100.0/26 table small iif eth0 oif eth1 tos 22 fwmark 24/0x1f preference 0x27 \
         realms 30/20 uidrange 10-20 ipproto UDP sport 10-20 dport 20-30 tunnel-id 7 sup_pl 8 protocol 12 no_track",
    );
    assert!(rule.invert && !rule.track);
    assert_eq!(rule.from.unwrap().to_string(), "192.0.2.0/24");
    assert_eq!(rule.to.unwrap().to_string(), "198.51.100.0/26");
    assert!(matches!(&rule.action, RuleAction::Table(Named::Name(name)) if name.value == "small"));
    assert_eq!((rule.iif.as_deref().unwrap().as_str(), rule.oif.as_deref().unwrap().as_str()), ("eth0", "eth1"));
    assert_eq!(rule.fwmark, Some(Fwmark { mark: 24, mask: 0x1f }));
    assert_eq!((rule.preference, rule.protocol), (0x27, 12));
    assert_eq!((rule.uid_range, rule.ip_protocol), (Some((10, 20)), Some(Named::Number(17))));
    assert_eq!((rule.source_ports, rule.destination_ports), (Some((10, 20)), Some((20, 30))));
    assert_eq!((rule.tunnel_id.unwrap().get(), rule.suppress_prefix_length), (7, Some(8)));
}

#[test]
fn preferences_count_down_each_family_for_itself() {
    let parsed = lines("table 5\nfrom 192.0.2.0/24 table 6\nblackhole\ntable 7 preference 9\nnop from 2001:db8::/32");
    let preferences: Vec<_> = parsed.config.static_rules.iter().map(|rule| rule.preference).collect();
    assert_eq!(preferences, [16384, 16383, 16382, 9, 16384]);
    assert_eq!(
        messages(&parsed)[1],
        "Rule has no preference specified - setting to 16383. This is probably not what you want."
    );
}

#[test]
fn there_is_one_action() {
    assert_eq!(dropped("from 192.0.2.0/24 preference 5"), "No action specified for rule - ignoring");
    assert_eq!(
        dropped("table 5 blackhole preference 5"),
        "Cannot specify more than one of table/nop/goto/blackhole/prohibit/unreachable/l3mdev for rule"
    );
    assert_eq!(
        dropped("l3mdev table 5 preference 5"),
        "Cannot specify more than one of table/nop/goto/blackhole/prohibit/unreachable for rule"
    );
    assert_eq!(dropped("table 5 l3mdev preference 5"), "Cannot specify l3mdev with other action");
    assert_eq!(only("type 8 preference 5").action, RuleAction::Prohibit);
    assert_eq!(only("type goto 7 preference 5").action, RuleAction::Goto(7));
    assert_eq!(dropped("type unicast preference 5"), "Invalid rule action unicast");
    assert_eq!(dropped("type table 5 preference 5"), "Unknown rule option table");
}

#[test]
fn goto_leads_down() {
    assert_eq!(dropped("goto 5 preference 5"), "Invalid rule - preference 5 >= goto target 5");
    assert_eq!(dropped("goto 5"), "Invalid rule - goto target 5 specified without preference");
    assert_eq!(only("goto 6 preference 5").preference, 5);
}

#[test]
fn suppressors_go_with_a_table() {
    let message = "suppressor/realm specified for non table action - skipping";
    assert_eq!(dropped("realms 3 blackhole preference 5"), message);
    assert_eq!(dropped("nop sup_group 3 preference 5"), message);
    assert_eq!(only("l3mdev realms 3/4 preference 5").action, RuleAction::L3mdev);
}

#[test]
fn families_do_not_mix() {
    let message = "rule specification has mixed IPv4 and IPv6";
    assert_eq!(dropped("from 192.0.2.0/24 to 2001:db8::/32 table 5 preference 5"), message);
    assert_eq!(dropped("from 2001:db8::/32 to default table 5 preference 5"), message);
    assert_eq!(only("from default to 2001:db8::/32 table 5 preference 5").from, Some(Prefix::any(Family::Ipv6)));
    assert_eq!(only("table 5 preference 5 inet6").family, Family::Ipv6);
    assert_eq!(dropped("from 2001:db8::/32 realms 3 table 5 preference 5"), "realms is only valid for IPv4");
}

#[test]
fn a_bad_protocol_or_single_port_leaves_a_wider_rule() {
    for (word, message) in [
        ("ipproto 128", "Invalid ipproto 128"),
        ("protocol 300", "Invalid protocol 300"),
        ("sport 80", "invalid sport range 80"),
        ("dport x-y", "invalid dport range x-y"),
    ] {
        let parsed = lines(&format!("table 5 preference 5 {word}"));
        assert_eq!(messages(&parsed), [message]);
        let plain = only("table 5 preference 5");
        assert_eq!(parsed.config.static_rules[0].value, plain, "{word}");
    }
    assert_eq!(dropped("table 5 preference 5 sport 10-65536"), "invalid sport range 10-65536");
}

#[test]
fn numbers_that_cannot_be_used_cost_the_rule() {
    assert_eq!(dropped("table 0 preference 5"), "Table 0 is not valid");
    assert_eq!(dropped("table 5 preference -1"), "Invalid rule preference -1 specified");
    assert_eq!(dropped("table 5 preference 5 fwmark 5/x"), "Invalid rule fwmark 5/x specified");
    assert_eq!(dropped("table 5 preference 5 tos 256"), "TOS value 256 is invalid");
    assert_eq!(dropped("table 5 preference 5 tunnel-id 0x10"), "Invalid tunnel-id 0x10 specified");
    assert_eq!(dropped("table 5 preference 5 uidrange 100"), "Invalid uidrange 100 specified");
    assert_eq!(dropped("table 5 preference 5 sup_group 2147483648"), "suppress_group 2147483648 is invalid");
    assert_eq!(dropped("table 5 preference 5 sup_pl 2147483648"), "Invalid suppress_prefixlength 2147483648 specified");
}

#[test]
fn a_range_may_end_in_nonsense() {
    let parsed = lines("table 5 preference 5 dport 10-20x uidrange 9-8");
    assert_eq!(
        messages(&parsed),
        ["'x' at the end of 10-20x is passed over", "the range 9-8 ends before it starts: the kernel refuses the rule"]
    );
    assert_eq!(parsed.config.static_rules[0].destination_ports, Some((10, 20)));
}
