mod defaults;
mod vrrp;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::*;
use crate::host::{Facts, Interface};
use crate::{FileId, MemoryLoader, Options, Parsed, parse};

fn read(text: &str) -> Parsed {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
}

fn messages(parsed: &Parsed) -> Vec<&str> {
    parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect()
}

/// An instance that is complete but for `lines`.
fn instance(lines: &str) -> Parsed {
    read(&format!(
        "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {{\n192.0.2.1/24\n}}\n{lines}\n}}\n"
    ))
}

fn server(lines: &str) -> Parsed {
    read(&format!("virtual_server 192.0.2.10 80 {{\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n{lines}\n}}\n"))
}

/// A host with these interfaces, of which nothing else is known.
fn interfaces(names: &[&str]) -> Facts {
    let interfaces = names.iter().map(|name| ((*name).to_owned(), Interface::default())).collect();
    Facts { interfaces: Some(interfaces), ..Facts::default() }
}

pub(super) fn handled<T>(block: &str, tables: &[&[Handler<T>]]) -> Vec<(String, String)> {
    tables.iter().flat_map(|table| table.iter()).map(|handler| (block.to_owned(), handler.0.to_owned())).collect()
}

/// Every word in quotation marks of readers that match on words instead of looking them up in a table.
fn matched<'a>(sources: &[&'a str]) -> BTreeSet<&'a str> {
    sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2)).collect()
}

/// Every word that some function of this module reads, with its block.
fn consumed() -> BTreeSet<(String, String)> {
    const REAL: &str = "virtual_server/real_server";
    let mut all = Vec::new();
    all.extend(handled("", &[ROOT, interface::TOP]));
    all.extend(handled("global_defs", global::GLOBAL_DEFS));
    all.extend(handled("garp_group", &[interface::GARP_GROUP]));
    all.extend(handled("track_group", &[interface::TRACK_GROUP]));
    all.extend(handled("vrrp_instance", &[instance::INSTANCE]));
    all.extend(handled("vrrp_instance/authentication", &[instance::AUTHENTICATION]));
    all.extend(handled("vrrp_instance/auth_hmac", &[instance::AUTH_HMAC]));
    all.extend(handled("vrrp_sync_group", &[sync_group::SYNC_GROUP]));
    all.extend(handled("vrrp_script", &[track::SCRIPT]));
    all.extend(handled("track_file", &[track::FILE]));
    all.extend(handled("vrrp_track_file", &[track::FILE]));
    all.extend(handled("vrrp_track_process", &[track::PROCESS]));
    all.extend(handled("SSL", &[ssl::SSL]));
    all.extend(handled("virtual_server", &[virtual_server::VIRTUAL_SERVER]));
    all.extend(handled(REAL, &[virtual_server::real_server::REAL_SERVER]));
    all.extend(checker::tests::handled(REAL));
    let mut options =
        |block: &str, words: Vec<&str>| all.extend(words.into_iter().map(|word| (block.to_owned(), word.to_owned())));
    for block in ["vrrp_instance/virtual_ipaddress", "vrrp_instance/virtual_ipaddress_excluded", "static_ipaddress"] {
        let words = instance::ADDRESS_OPTIONS.iter().map(|(word, _)| *word);
        let flags = instance::ADDRESS_FLAGS.iter().map(|(word, _)| *word);
        let known = |word: &&str| schema().lookup(block, word).is_some();
        options(block, words.chain(flags).chain(["<address>", "forever"]).filter(known).collect());
    }
    let routes = matched(&[
        include_str!("words.rs"),
        include_str!("route.rs"),
        include_str!("route/metric.rs"),
        include_str!("route/next_hop.rs"),
        include_str!("route/encapsulation.rs"),
        include_str!("../config/route.rs"),
    ]);
    for list in ["vrrp_instance/virtual_routes", "static_routes"] {
        for block in [list.to_owned(), format!("{list}/nexthop"), format!("{list}/encap")] {
            let known = |word: &&str| schema().lookup(&block, word).is_some();
            options(&block, routes.iter().copied().filter(known).collect());
        }
        options(list, vec!["<destination>", "<type>"]);
    }
    let rules = matched(&[include_str!("words.rs"), include_str!("rule.rs"), include_str!("../config/route.rs")]);
    for block in ["vrrp_instance/virtual_rules", "static_rules"] {
        let known = |word: &&str| schema().lookup(block, word).is_some();
        options(block, rules.iter().copied().filter(known).collect());
    }
    options("track_group/group", vec!["<vrrp_instance>"]);
    options("vrrp_instance", track::LISTS.to_vec());
    options("vrrp_sync_group", track::LISTS.to_vec());
    options("vrrp_instance/state", vec!["MASTER", "BACKUP"]);
    options("vrrp_instance/authentication/auth_type", vec!["PASS", "AH"]);
    options("vrrp_instance/auth_hmac/key", vec!["hex:", "file:"]);
    options("vrrp_instance/auth_hmac/anti_replay", vec!["time", "monotonic"]);
    options("vrrp_instance/auth_hmac/mode", HmacMode::WORDS.iter().map(|(word, _)| *word).collect());
    options("vrrp_instance/unicast_peer", vec!["<ip>", "min_ttl", "max_ttl"]);
    options("linkbeat_interfaces", vec!["<iface>", "MII", "ETHTOOL", "IOCTL"]);
    options("interface_up_down_delays", vec!["<iface>"]);
    options("garp_group/interfaces", vec!["<iface>"]);
    options("global_defs/dynamic_interfaces", vec!["allow_if_changes"]);
    options("vrrp_instance/old_unicast_checksum", vec!["never"]);
    options("vrrp_instance/garp_extra_if", vec!["all"]);
    options("global_defs/vrrp_garp_extra_if", vec!["all"]);
    options("vrrp_instance/use_vmac", vec!["name", "<ifname>", "<mac>", "netlink_notify_msg", "group"]);
    let modes = IpvlanMode::WORDS.iter().map(|(word, _)| *word);
    options("vrrp_instance/use_ipvlan", modes.chain(["name", "<ifname>", "<ip>", "group"]).collect());
    options("vrrp_instance/track_interface", vec!["<iface>", "weight", "reverse"]);
    options("vrrp_sync_group/track_interface", vec!["<iface>", "weight", "reverse"]);
    options("vrrp_sync_group/group", vec!["<vrrp_instance>"]);
    options("vrrp_instance/track_script", vec!["<vrrp_script>", "weight", "reverse", "noreverse"]);
    options("vrrp_instance/track_file", vec!["<track_file>", "weight", "reverse", "noreverse"]);
    options("vrrp_sync_group/track_script", vec!["<vrrp_script>", "weight", "reverse", "noreverse"]);
    options("vrrp_sync_group/track_file", vec!["<track_file>", "weight", "reverse", "noreverse"]);
    for block in ["vrrp_instance/track_process", "vrrp_sync_group/track_process"] {
        options(block, vec!["<vrrp_track_process>", "weight", "reverse", "noreverse"]);
    }
    options("vrrp_track_process/weight", vec!["reverse"]);
    options("vrrp_track_process/param_match", vec!["initial", "partial"]);
    options("vrrp_script/weight", vec!["reverse"]);
    options("track_file/weight", vec!["reverse"]);
    options("track_file/init_file", vec!["overwrite"]);
    options("global_defs", vec!["include_check"]);
    options("global_defs/vrrp_rx_bufs_policy", vec!["MTU", "ADVERT"]);
    options("global_defs/include_check", vec!["read", "match", "wildcard_match", "brace_match"]);
    let of_global_lvs = matched(&[include_str!("global/lvs.rs")]);
    options("global_defs/lvs_flush_on_stop", vec!["VS"]);
    options("global_defs/lvs_sync_daemon", vec!["group"]);
    for block in ["global_defs/lvs_timeouts", "global_defs/lvs_sync_daemon"] {
        let known = |word: &&str| schema().lookup(block, word).is_some();
        options(block, of_global_lvs.iter().copied().filter(known).collect());
    }
    let families = virtual_server::FAMILIES.iter().map(|(word, _)| *word);
    let entries = ["<ip>", "<ip>-<n>", "<ip>-<ip>", "<ip>/<len>", "fwmark"];
    options("virtual_server_group", entries.into_iter().chain(families).collect());
    options("virtual_server", vec!["fwmark", "group"]);
    options("virtual_server/ip_family", virtual_server::FAMILIES.iter().map(|(word, _)| *word).collect());
    options("virtual_server/protocol", virtual_server::PROTOCOLS.iter().map(|(word, _)| *word).collect());
    options("virtual_server/lvs_sched", Scheduler::WORDS.iter().map(|(word, _)| *word).collect());
    let keywords = ["lvs_method", "real_server/lvs_method", "sorry_server_lvs_method"];
    for keyword in keywords {
        options(&format!("virtual_server/{keyword}"), virtual_server::forwarding::words().collect());
    }
    for (keyword, words) in checker::tests::options() {
        options(&format!("virtual_server/real_server/{keyword}"), words);
    }
    all.into_iter().collect()
}

#[test]
fn every_acted_word_is_read_and_every_read_word_is_known() {
    let consumed = consumed();
    let acted: BTreeSet<_> = schema()
        .rows()
        .filter(|row| row.support == Support::Acted && row.kind != Kind::Syntax)
        .map(|row| (row.block.to_owned(), row.keyword.to_owned()))
        .collect();
    assert_eq!(
        acted.difference(&consumed).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "marked as acted, read by nothing"
    );
    for (block, word) in &consumed {
        assert!(schema().lookup(block, word).is_some(), "{block} {word} is not in the table");
    }
}

#[test]
fn every_word_of_the_language_is_recognised_and_nothing_panics() {
    for row in schema().rows().filter(|row| matches!(row.kind, Kind::Block | Kind::Keyword)) {
        let mut text = String::new();
        let blocks: Vec<_> = row.block.split('/').filter(|block| !block.is_empty()).collect();
        for block in &blocks {
            text.push_str(&format!("{block} 192.0.2.1 80 {{\n"));
        }
        let body = if row.kind == Kind::Block { "{\n}" } else { "" };
        for values in ["", " 1 2 3", " x", " \"\"", " 192.0.2.1"] {
            let file = format!("{text}{}{values} {body}\n{}", row.keyword, "}\n".repeat(blocks.len()));
            let parsed = read(&file);
            assert!(
                !messages(&parsed).iter().any(|message| message.starts_with("Unknown keyword")),
                "{file}{:?}",
                messages(&parsed)
            );
        }
    }
}

#[test]
fn words_without_effect_yet_are_listed() {
    let parsed = instance("notify_deleted\nsmtp_alert");
    let used: Vec<_> =
        parsed.unsupported.iter().map(|usage| (usage.keyword.as_str(), usage.block.as_str(), usage.effect)).collect();
    assert_eq!(
        used,
        [("notify_deleted", "vrrp_instance", Effect::Traffic), ("smtp_alert", "vrrp_instance", Effect::None),]
    );
    assert_eq!(read("global_defs { lvs_netlink_cmd_rcv_bufs_force off }").unsupported, []);
    assert_eq!(read("global_defs { lvs_netlink_cmd_rcv_bufs_force }").unsupported.len(), 1);
    let place = parsed.sources.location(parsed.unsupported[0].span).unwrap().to_string();
    assert_eq!(place, "k.conf:7:1");
}

#[test]
fn of_too_many_words_without_effect_the_first_that_matters_is_listed() {
    let mut uses = Uses { limit: 2, ..Uses::default() };
    for (at, effect) in [Effect::None, Effect::None, Effect::None, Effect::Traffic, Effect::Traffic].iter().enumerate()
    {
        uses.add("block", "word", Span::new(FileId(0), at, at + 1), *effect);
    }
    let mut findings = Findings::new(10);
    let listed: Vec<_> = uses.listed(&mut findings).iter().map(|usage| usage.effect).collect();
    assert_eq!(listed, [Effect::None, Effect::None, Effect::Traffic]);
    let findings: Vec<_> = findings.sorted().into_iter().map(|finding| (finding.message, finding.span)).collect();
    let message = "2 more uses of keywords that are not acted on are not listed".to_owned();
    assert_eq!(findings, [(message, Some(Span::new(FileId(0), 2, 3)))]);
}

#[test]
fn a_tutorial_pair() {
    let parsed = read(
        "global_defs {\n notification_email {\n a@example.org\n b@example.org\n }\n notification_email_from k@example.org\n smtp_server 192.0.2.9 2525\n smtp_connect_timeout 20\n \
         router_id LVS_DEVEL\n vrrp_skip_check_adv_addr\n vrrp_garp_interval 0\n vrrp_gna_interval 0\n}\n\
         vrrp_instance VI_1 {\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 90\n advert_int 2\n nopreempt\n authentication {\n auth_type PASS\n auth_pass secret\n }\n \
         virtual_ipaddress {\n 192.0.2.1\n 192.0.2.2/24 brd + dev eth1 scope link label eth1:1\n }\n}\n",
    );
    assert_eq!(messages(&parsed), ["vrrp_garp_interval '0' is invalid", "vrrp_gna_interval '0' is invalid"]);
    let global = &parsed.config.global;
    let recipients: Vec<_> = global.notification_email.iter().map(|one| one.value.as_str()).collect();
    assert_eq!(recipients, ["a@example.org", "b@example.org"]);
    assert_eq!(global.smtp.server.as_ref().map(|server| server.port), Some(2525));
    assert_eq!(global.smtp.connect_timeout, Duration::from_secs(20));
    assert_eq!(global.router_id.as_deref(), Some("LVS_DEVEL"));
    let instance = &parsed.config.vrrp_instances[0];
    assert_eq!(
        (instance.name.as_str(), instance.virtual_router_id.0.get(), instance.priority.0.get()),
        ("VI_1", 51, 90)
    );
    assert_eq!(
        (instance.state, instance.version, instance.family),
        (InitialState::Backup, VrrpVersion::V2, Family::Ipv4)
    );
    assert_eq!(instance.advertisement_interval, Duration::from_secs(2));
    assert_eq!(instance.authentication, Some(Authentication::Pass(AuthPass(*b"secret\0\0"))));
    assert!(!instance.preempt && instance.skip_check_adv_addr && instance.accept && instance.track_primary);
    assert_eq!(instance.garp, Garp::default());
    let second = &instance.virtual_addresses[1];
    let options = second.options();
    assert_eq!((second.prefix_len, options.scope.number(), options.label.as_deref()), (24, Some(253), Some("eth1:1")));
    assert_eq!(options.broadcast, Some(Ipv4Addr::new(192, 0, 2, 255)));
    assert_eq!(instance.virtual_addresses[0].prefix_len, 32);
    assert!(!format!("{parsed:?}").contains("AuthPass([") && !format!("{:?}", parsed.config).contains("115"));
}

#[test]
fn defaults_of_state_and_priority() {
    let of = |lines| {
        let parsed = instance(lines);
        (parsed.config.vrrp_instances[0].state, parsed.config.vrrp_instances[0].priority.0.get())
    };
    assert_eq!(of(""), (InitialState::Backup, 100));
    assert_eq!(of("state MASTER"), (InitialState::Master, 255));
    assert_eq!(of("priority 255"), (InitialState::Master, 255));
    assert_eq!(of("state BACKP"), (InitialState::Backup, 100));
    assert_eq!(of("state MASTER\nstate BACKUP\npriority 5"), (InitialState::Master, 5));
    assert_eq!(of("priority 300"), (InitialState::Backup, 100));
}

#[test]
fn intervals_are_rounded_to_what_the_version_carries() {
    let of = |lines: &str| {
        let parsed = instance(lines);
        let messages: Vec<_> = messages(&parsed).into_iter().map(str::to_owned).collect();
        (parsed.config.vrrp_instances[0].advertisement_interval.as_millis(), messages)
    };
    assert_eq!(
        of("advert_int 0.5"),
        (1000, vec!["(V) VRRPv2 advertisement interval 0.500000s must be an integer. rounding".to_owned()])
    );
    assert_eq!(of("advert_int 0.1\nversion 3"), (100, vec![]));
    assert_eq!(
        of("advert_int 50\nversion 3"),
        (
            40950,
            vec![
                "(V) VRRPv3 advertisement interval 50.00s is out of range. Must be less than 40.96s. Setting to 40.95s"
                    .to_owned()
            ]
        )
    );
    assert_eq!(of("advert_int 255"), (255_000, vec![]));
    assert_eq!(of("advert_int 300").0, 1000);
}

#[test]
fn the_family_follows_the_first_address() {
    let parsed = read(
        "vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nauthentication { auth_type PASS\nauth_pass x\n}\nvirtual_ipaddress {\nfe80::1\n192.0.2.1\n2001:db8::1/64 -nodad\n}\nvirtual_ipaddress_excluded {\n192.0.2.2\n}\n}\n",
    );
    assert_eq!(
        messages(&parsed),
        [
            "(V) VRRP version 3 does not support authentication. Ignoring.",
            "(V): address family must match VRRP instance [192.0.2.1] - ignoring"
        ]
    );
    let instance = &parsed.config.vrrp_instances[0];
    assert_eq!(
        (instance.family, instance.version, instance.virtual_addresses.len(), instance.excluded_addresses.len()),
        (Family::Ipv6, VrrpVersion::V3, 2, 1)
    );
    assert_eq!(parsed.unsupported, []);
}

#[test]
fn settings_of_global_defs_reach_the_instances() {
    let parsed = read(
        "vrrp_instance V { interface e\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\ngarp_master_repeat 7\n}\n\
         global_defs {\nvrrp_version 3\nvrrp_garp_master_delay 2\nvrrp_garp_master_refresh 60\nvrrp_down_timer_adverts 5\nvrrp_lower_prio_no_advert\nvrrp_higher_prio_send_advert true\n}\n",
    );
    let instance = &parsed.config.vrrp_instances[0];
    let expected = Garp {
        delay: Duration::from_secs(2),
        repeat: 7,
        refresh: Duration::from_secs(60),
        refresh_repeat: 1,
        lower_prio_delay: Duration::from_secs(2),
        lower_prio_repeat: 5,
    };
    assert_eq!(instance.garp, expected);
    assert_eq!((instance.version, instance.down_timer_adverts), (VrrpVersion::V3, 5));
    assert!(instance.lower_prio_no_advert && instance.higher_prio_send_advert);
}

#[test]
fn min_garp_touches_only_what_is_the_default_when_it_is_read() {
    let of = |lines: &str| {
        read(&format!("global_defs {{\n{lines}\n}}\nvrrp_instance V {{ interface e\nvirtual_router_id 1\nvirtual_ipaddress {{ 192.0.2.1 }}\n}}")).config.vrrp_instances[0].garp
    };
    assert_eq!(
        of("vrrp_min_garp"),
        Garp {
            delay: Duration::ZERO,
            repeat: 1,
            refresh: Duration::ZERO,
            refresh_repeat: 0,
            lower_prio_delay: Duration::ZERO,
            lower_prio_repeat: 1,
        }
    );
    assert_eq!(of("vrrp_garp_master_delay 5\nvrrp_min_garp").delay, Duration::ZERO);
    assert_eq!(of("vrrp_min_garp\nvrrp_garp_master_delay 5").lower_prio_delay, Duration::from_secs(5));
    assert_eq!(of("vrrp_min_garp\nvrrp_min_garp off").delay, Duration::ZERO);
    assert_eq!(of("vrrp_garp_master_repeat 3\nvrrp_min_garp\nvrrp_garp_master_delay 9").repeat, 3);
    assert_eq!(of("vrrp_min_garp\nvrrp_garp_master_delay 9").delay, Duration::from_secs(9));
    assert_eq!(of("vrrp_min_garp off"), Garp::default());
}

#[test]
fn preemption_options() {
    let of = |lines: &str| {
        let parsed = instance(lines);
        (
            parsed.config.vrrp_instances[0].preempt,
            parsed.config.vrrp_instances[0].preempt_delay.as_secs(),
            parsed.diagnostics.len(),
        )
    };
    assert_eq!(of("nopreempt"), (false, 0, 0));
    assert_eq!(of("nopreempt\npreempt"), (true, 0, 0));
    assert_eq!(of("state MASTER\npriority 50\nnopreempt"), (true, 0, 1));
    assert_eq!(of("priority 255\nnopreempt"), (true, 0, 1));
    assert_eq!(of("preempt_delay 30"), (true, 30, 0));
    assert_eq!(of("state MASTER\npreempt_delay 30"), (true, 0, 1));
    assert_eq!(of("nopreempt\npreempt_delay 30"), (false, 0, 1));
}

#[test]
fn unicast() {
    let parsed = read(
        "vrrp_instance V {\nvirtual_router_id 1\nunicast_src_ip 192.0.2.1\nunicast_peer {\n192.0.2.2\n192.0.2.2x\n2001:db8::1\n192.0.2.3 min_ttl 5\n}\nvirtual_ipaddress { 192.0.2.9 }\n}\n",
    );
    let instance = &parsed.config.vrrp_instances[0];
    assert_eq!(instance.interface, None);
    assert_eq!(instance.source_address.as_ref().map(|address| address.value), Some(IpAddr::from([192, 0, 2, 1])));
    assert_eq!(
        instance.unicast_peers.iter().map(|peer| *peer.address).collect::<Vec<_>>(),
        [IpAddr::from([192, 0, 2, 2]), IpAddr::from([192, 0, 2, 3])]
    );
    assert_eq!(parsed.diagnostics.len(), 2);
    assert_eq!(parsed.unsupported, []);
    assert_eq!((instance.unicast_peers[1].min_ttl, instance.check_unicast_src), (5, true));
    assert!(
        read(
            "vrrp_instance V {\nvirtual_router_id 1\nunicast_peer {\n192.0.2.2\n}\nvirtual_ipaddress { 192.0.2.9 }\n}\n"
        )
        .refuses_start()
    );
    assert!(messages(&super::tests::instance("unicast_src_ip 192.0.2.1"))[0].contains("without any unicast peers"));
}

#[test]
fn what_refuses_the_start() {
    for text in [
        "vrrp_instance V { interface e\nvirtual_ipaddress { 192.0.2.1 }\n}",
        "vrrp_instance V { virtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n}",
        "vrrp_instance V { interface lo\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n}",
        "vrrp_instance V { interface e\nvirtual_router_id 1\nversion 3\n}",
        "vrrp_instance V { interface e\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n}\nvrrp_instance W { interface e\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.2 }\n}",
    ] {
        let parsed = read(text);
        assert!(parsed.refuses_start(), "{text}");
        assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 4, "{text}");
    }
    for text in [
        "vrrp_instance V { interface e\nvirtual_router_id 1\n}",
        "vrrp_instance V { interface e\nvirtual_router_id 1\nno_virtual_ipaddress\nversion 3\n}",
        "vrrp_instance V { interface e\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n}\nvrrp_instance W { interface f\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.2 }\n}",
        "vrrp_instance V { interface e\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n}\nvrrp_instance W { interface e\nvirtual_router_id 1\nvirtual_ipaddress { fe80::2 }\n}",
        "vrrp_instance V { interface e\nvirtual_router_id 1\nunicast_peer { 192.0.2.5 }\nvirtual_ipaddress { 192.0.2.1 }\n}\nvrrp_instance W { interface e\nvirtual_router_id 1\nunicast_peer { 192.0.2.6 }\nvirtual_ipaddress { 192.0.2.2 }\n}",
    ] {
        assert!(!read(text).refuses_start(), "{text}");
    }
}

#[test]
fn a_missing_value_is_reported_and_the_reading_goes_on() {
    let parsed = instance("priority\nauthentication {\nauth_type\n}\nversion 3");
    assert_eq!(messages(&parsed).len(), 2);
    assert!(
        messages(&parsed)[0]
            .starts_with("*** Configuration line starting `priority` is missing a parameter after keyword `priority`")
    );
    assert_eq!(parsed.config.vrrp_instances[0].version, VrrpVersion::V3);
    assert_eq!(read("vrrp_instance {\nstate BACKUP\n}").config.vrrp_instances, []);
}

#[test]
fn scripts_have_a_command_and_a_user() {
    let parsed = instance(
        "notify_master \"/bin/a 'b c' d\" user group\nnotify /bin/e ignored\nnotify /bin/f\nnotify_fault '/bin/g h'",
    );
    let notify = &parsed.config.vrrp_instances[0].notify;
    let master = notify.master.as_ref().unwrap();
    assert_eq!(master.command, ["/bin/a", "b c", "d"]);
    assert_eq!(
        master.user,
        Some(ScriptUser { user: "user".to_owned(), group: Some("group".to_owned()), supplementary_groups: false })
    );
    assert_eq!(notify.any.as_ref().unwrap().command, ["/bin/e"]);
    assert_eq!(notify.fault.as_ref().unwrap().command, ["/bin/g", "h"]);
    assert_eq!(messages(&parsed), ["(V) notify script already specified - ignoring /bin/f"]);
    assert_eq!(parsed.config.scripts().count(), 3);
}

#[test]
fn commands_are_resolved_twice() {
    let script = |line: &str| {
        let parsed = instance(&format!("notify_master {line}"));
        let command = parsed.config.vrrp_instances[0].notify.master.as_ref().map(|script| script.command.join("|"));
        (command, messages(&parsed).join("\n"))
    };
    let command = |line: &str| script(line).0.unwrap();
    assert_eq!(command(r#"\"/bin/true\""#), "/bin/true");
    assert_eq!(command(r"/bin/true\ x"), "/bin/true|x");
    assert_eq!(command(r#""/bin/true \"x y\"" root"#), "/bin/true|x y");
    assert_eq!(command(r#""/bin/true \x5cx41 \\\"y\\\"""#), r#"/bin/true|A|"y""#);
    assert_eq!(command(r#""/bin/true 'x y' \\'z""#), "/bin/true|x y|'z");
    assert_eq!(command(r#""/bin/true '\x41\\x41' a\ b c\\ d""#), "/bin/true|AA|a|b|c d");
    assert_eq!(command(r#"/bin/true" 'x y'"' v'"#), "/bin/true|x y|v");
    let unfinished = script(r#"\"/bin/true 1\""#);
    assert_eq!(unfinished, (None, r#"String '"/bin/true': missing terminating ""#.to_owned()));
    assert_eq!(script(r#""/bin/true ' ""#).1, "String '/bin/true ' ': missing terminating '");
    assert_eq!(script(r#""/bin/true \\""#).0, None);
}

#[test]
fn the_digits_of_a_prefix_length_count() {
    let length = |text: &str| {
        let parsed = instance(&format!("virtual_ipaddress {{\n10.0.0.1{text}\n}}"));
        let address = parsed.config.vrrp_instances[0].virtual_addresses.last().unwrap();
        (address.prefix_len, crate::config_test_exit_code(&parsed.diagnostics))
    };
    let wrong = [("/24;", 24), ("/24x8", 24), ("/x", 0), ("/33", 32), ("/33;", 32), ("/-1", 32), ("/0x18", 0)];
    for (text, expected) in wrong {
        assert_eq!(length(text), (expected, 5), "{text}");
    }
    for (text, expected) in [("/024", 24), ("/+24", 24), ("/", 0), ("", 32)] {
        assert_eq!(length(text), (expected, 0), "{text}");
    }
}

#[test]
fn tracked_interfaces() {
    let parsed = instance("track_interface {\neth0\neth1 weight 0\neth2 weight 10\n}\ndont_track_primary");
    let instance = &parsed.config.vrrp_instances[0];
    assert_eq!(
        instance.tracking.interfaces.iter().map(|tracked| tracked.name.as_str()).collect::<Vec<_>>(),
        ["eth1", "eth2"]
    );
    assert!(!instance.track_primary);
    assert_eq!(messages(&parsed), ["(V) Ignoring track_interface eth0 since own interface"]);
    assert_eq!(parsed.unsupported, []);
    let missing = crate::check_interfaces(&parsed.config, &interfaces(&["eth0"]));
    assert_eq!(missing.len(), 2);
    assert!(missing.iter().all(|finding| finding.refuses_start));
    assert_eq!(missing[0].message, "(V) tracked interface eth1 doesn't exist");
}

#[test]
fn a_missing_interface_may_come_with_dynamic_interfaces() {
    let text = "vrrp_instance V { interface e\nvirtual_router_id 1\nvirtual_ipaddress {\n10.0.0.1 dev f\n}\n}";
    let statuses = ["", "global_defs { dynamic_interfaces }\n"].map(|start| {
        let parsed = read(&format!("{start}{text}"));
        let missing = crate::check_interfaces(&parsed.config, &interfaces(&[]));
        assert_eq!(missing[0].message, "WARNING - interface e for vrrp_instance V doesn't exist");
        assert_eq!(missing[1].message, "WARNING - interface f for ip address 10.0.0.1/32 doesn't exist");
        crate::config_test_exit_code(&missing)
    });
    assert_eq!(statuses, [4, 0]);
}

#[test]
fn instances_of_one_router_id_may_use_different_groups() {
    let text = |group: &str| {
        let one = "interface e\nvirtual_router_id 1\nvirtual_ipaddress { 10.0.0.1 }";
        format!("vrrp_instance V {{ {one}\n}}\nvrrp_instance W {{ {one}\n{group}\n}}")
    };
    assert!(read(&text("")).refuses_start());
    assert!(read(&text("mcast_dst_ip 224.0.0.18")).refuses_start());
    assert!(!read(&text("mcast_dst_ip 224.0.0.20")).refuses_start());
}

#[test]
fn the_label_of_an_address_is_no_interface() {
    let parsed = read("vrrp_instance V { interface eth0:1\nvirtual_router_id 1\nno_virtual_ipaddress }");
    let missing = crate::check_interfaces(&parsed.config, &crate::host::NoHost);
    assert_eq!(missing[0].message, "WARNING - interface eth0:1 for vrrp_instance V doesn't exist");
    assert_eq!(missing[0].help.as_deref(), Some("'eth0:1' labels an address: write eth0"));
}

#[test]
fn a_tunnel_leads_to_the_other_family() {
    let servers = |method: &str| {
        let text = format!(
            "virtual_server 192.0.2.10 80 {{ protocol TCP\nlb_kind {method}\nlb_algo rr\nsorry_server 2001:db8::9 80\n\
             real_server 192.0.2.21 80 {{\n}}\nreal_server 2001:db8::2 80 {{\n}}\n}}"
        );
        let server = read(&text).config.virtual_servers.remove(0);
        (server.real_servers.len(), server.sorry_server.is_some())
    };
    assert_eq!(servers("TUN"), (2, true));
    assert_eq!(servers("DR"), (1, false));
    assert_eq!(servers("NAT"), (1, false));
}

#[test]
fn a_server_whose_checker_has_no_url_is_not_unchecked() {
    let parsed = read(
        "virtual_server 192.0.2.10 80 { protocol TCP\nlb_kind NAT\nlb_algo rr\nreal_server 192.0.2.21 80 {\nHTTP_GET {\npath /\n}\n}\n}",
    );
    let checkers = &parsed.config.virtual_servers[0].real_servers[0].checkers;
    assert_eq!(checkers[0].kind, CheckerKind::Unusable(CheckerType::Http));
}

#[test]
fn the_first_version_and_master_stay() {
    let version = |text: &str| {
        let parsed = read(&format!("vrrp_instance V {{ interface e\nvirtual_router_id 1\n{text}\n}}"));
        (parsed.config.vrrp_instances[0].version, messages(&parsed).join("\n"))
    };
    let conflict =
        |new, old| format!("(V) vrrp_version {new} conflicts with configured or deduced version {old}; ignoring.");
    let v4 = "virtual_ipaddress { 10.0.0.1 }";
    assert_eq!(version(&format!("version 2\nversion 3\n{v4}")), (VrrpVersion::V2, conflict(3, 2)));
    assert_eq!(version(&format!("version 3\nversion 3\n{v4}")), (VrrpVersion::V3, String::new()));
    assert_eq!(version("virtual_ipaddress { fe80::1 }\nversion 2"), (VrrpVersion::V3, conflict(2, 3)));
    let master = version(&format!("state MASTER\nstate BACKUP\n{v4}")).1;
    assert_eq!(master, "(V) state previously set as MASTER - ignoring BACKUP");
}

#[test]
fn a_prefix_length_of_a_router_is_passed_over() {
    let parsed = instance("unicast_src_ip 10.0.0.2/24\nunicast_peer {\n10.0.0.3/24\n10.0.0.4/x\n}");
    let instance = &parsed.config.vrrp_instances[0];
    assert_eq!(instance.source_address.as_ref().unwrap().to_string(), "10.0.0.2");
    assert_eq!(instance.unicast_peers.len(), 2);
    assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 0);
}

#[test]
fn a_word_that_a_definition_repeats_is_listed_once() {
    let parsed = read("$V=\\\nbfd_instance $N {\\\n neighbor_ip 192.0.2.1\\\n}\n\n~LST(N, a, b, c) $V\n");
    assert_eq!(parsed.unsupported.len(), 1, "{:?}", parsed.unsupported);
}

#[test]
fn too_many_addresses_move_to_the_excluded_ones() {
    let addresses: String = (0..300).map(|number| format!("10.0.{}.{}\n", number / 250, number % 250)).collect();
    let parsed =
        read(&format!("vrrp_instance V {{ interface e\nvirtual_router_id 1\nvirtual_ipaddress {{\n{addresses}}}\n}}"));
    let instance = &parsed.config.vrrp_instances[0];
    assert_eq!((instance.virtual_addresses.len(), instance.excluded_addresses.len()), (255, 45));
    assert!(messages(&parsed)[0].starts_with("(V) Number of VIPs (300) exceeds"));
}

#[test]
fn a_tutorial_virtual_server() {
    let parsed = read(
        "virtual_server 192.0.2.10 8080 {\n delay_loop 6\n lb_algo wlc\n lb_kind DR\n persistence_timeout 50\n protocol TCP\n sorry_server 192.0.2.99 80\n \
         real_server 192.0.2.21 8080 {\n weight 3\n TCP_CHECK {\n connect_timeout 10\n retry 3\n delay_before_retry 3\n connect_port 8081\n }\n }\n \
         real_server 192.0.2.22 9090 {\n inhibit_on_failure\n HTTP_GET {\n url {\n path /a\n status_code 200 300-302\n }\n url {\n path /b\n digest 9b3a0c85a887a256d6939da88aabd8cd\n }\n nb_get_retry 2\n }\n }\n \
         real_server 192.0.2.23 8080 {\n MISC_CHECK {\n misc_path x\n }\n }\n}\n",
    );
    assert_eq!(
        messages(&parsed),
        [
            "WARNING - virtual server [192.0.2.10]:tcp:8080 and sorry server ports don't match - resetting",
            "WARNING - virtual server [192.0.2.10]:tcp:8080 and real server [192.0.2.22]:tcp:9090 ports don't match - resetting",
            "nb_get_retry is deprecated - please use 'retry'"
        ]
    );
    let server = &parsed.config.virtual_servers[0];
    assert_eq!(server.service.to_string(), "[192.0.2.10]:tcp:8080");
    assert_eq!(server.scheduler, Scheduler::WeightedLeastConnection);
    assert_eq!(
        server.persistence,
        Some(Persistence { timeout: Duration::from_secs(50), granularity: Granularity::whole(Family::Ipv4) })
    );
    assert_eq!(
        server.sorry_server.as_ref().map(|sorry| (sorry.port, sorry.forwarding)),
        Some((8080, ForwardingMethod::DirectRoute))
    );
    let [first, second, third] = server.real_servers.as_slice() else { panic!("three servers") };
    assert_eq!((first.weight, second.weight, second.port, second.inhibit_on_failure), (3, 1, 8080, true));
    let tcp = &first.checkers[0];
    assert_eq!(
        (tcp.kind.clone(), tcp.target.port, tcp.target.connect_timeout),
        (CheckerKind::Tcp, Some(8081), Duration::from_secs(10))
    );
    let six = Duration::from_secs(6);
    assert_eq!(
        tcp.timing,
        CheckTiming { delay_loop: six, warmup: six, retry: 3, delay_before_retry: Duration::from_secs(3) }
    );
    let CheckerKind::Http(http) = &second.checkers[0].kind else { panic!("HTTP_GET") };
    assert_eq!(http.urls[0].status_codes, [(200, 200), (300, 302)]);
    assert_eq!(http.urls[1].digest.map(|digest| digest[0]), Some(0x9b));
    assert_eq!(
        second.checkers[0].timing,
        CheckTiming { delay_loop: six, warmup: six, retry: 2, delay_before_retry: Duration::from_secs(3) }
    );
    let CheckerKind::Misc(misc) = &third.checkers[0].kind else { panic!("MISC_CHECK") };
    assert_eq!(misc.script.command, ["x"]);
    assert_eq!(parsed.unsupported, []);
}

#[test]
fn mistakes_in_a_virtual_server() {
    let one = "real_server 192.0.2.21 80 {\n}";
    for (lines, expected) in [
        ("", "Virtual server [192.0.2.10]:tcp:80 has no real servers - ignoring"),
        ("lb_algo roundrobin", "Invalid lvs_scheduler 'roundrobin' - ignoring"),
        ("lb_kind DSR", "PARSER : unknown [DSR] routing method for virtual server."),
        ("protocol HTTP", "Unknown protocol HTTP - ignoring"),
        ("delay_loop -6", "virtual server delay loop '-6' invalid - ignoring"),
        ("persistence_timeout 0", "persistence_timeout invalid"),
        (
            "quorum 5",
            "Warning - quorum 5 for [192.0.2.10]:tcp:80 exceeds total weight of real servers 1, reducing quorum to 1",
        ),
        ("hysteresis 1", "Virtual server [192.0.2.10]:tcp:80: hysteresis 1 >= quorum 1; setting hysteresis to 0"),
        ("ops", "Virtual server [192.0.2.10]:tcp:80: one packet scheduling requires UDP - resetting"),
        ("sh-port", "sh-port only applies to sh scheduler - ignoring"),
        ("real_server 192.0.2.22 70000 {\n}", "Invalid real server ip address/port 192.0.2.22/70000 - skipping"),
        ("real_server 192.0.2.22 80 {\nweight -1\n}", "Real server weight -1 is outside range 0-2147483647"),
        (
            "real_server 192.0.2.21 80 {\n}",
            "VS [192.0.2.10]:tcp:80: real server [192.0.2.21]:tcp:80 is duplicated - removing second rs",
        ),
    ] {
        let parsed = if lines.is_empty() { server("") } else { server(&format!("{one}\n{lines}")) };
        assert_eq!(messages(&parsed), [expected], "{lines}");
    }
}

#[test]
fn scheduler_flags_by_name_may_come_first() {
    let parsed = server("sh-port\nsh-fallback\nlb_algo sh\nreal_server 192.0.2.21 80 {\n}");
    assert_eq!(messages(&parsed), [""; 0]);
    assert_eq!(
        parsed.config.virtual_servers[0].scheduler_flags,
        SchedulerFlags { flag_1: true, flag_2: true, flag_3: false }
    );
}

#[test]
fn services_by_mark_and_group() {
    let parsed = read(
        "virtual_server fwmark 7 {\nlb_algo rr\nlb_kind DR\nreal_server 2001:db8::1 80 {\n}\n}\nvirtual_server group G 80 {\nreal_server 192.0.2.1 80 {\n}\n}\n",
    );
    assert_eq!(parsed.config.virtual_servers.len(), 1);
    assert_eq!(parsed.config.virtual_servers[0].service.value, ServiceKey::Fwmark { mark: 7, family: Family::Ipv6 });
    assert_eq!(parsed.config.virtual_servers[0].real_servers[0].port, 0);
    assert_eq!(parsed.unsupported, []);
}

#[test]
fn a_service_without_port_or_protocol() {
    let parsed = read("virtual_server 192.0.2.1 {\nlb_algo rr\nlb_kind NAT\nreal_server 192.0.2.2 80 {\n}\n}\n");
    assert_eq!(
        messages(&parsed),
        [
            "Virtual server [192.0.2.1]:none:0: no protocol set - defaulting to UDP",
            "Virtual server [192.0.2.1]:udp:0: zero port only valid for persistent services - setting"
        ]
    );
    assert_eq!(parsed.config.virtual_servers[0].persistence.unwrap().timeout, Duration::from_secs(360));
}

#[test]
fn persistence_granularity_is_a_mask_or_a_length() {
    let of = |value: &str| {
        let parsed = server(&format!("persistence_granularity {value}\nreal_server 192.0.2.21 80 {{\n}}"));
        (
            parsed.config.virtual_servers[0].persistence.map(|persistence| persistence.granularity),
            parsed.diagnostics.len(),
        )
    };
    let mask = |octets: [u8; 4]| Some(Granularity::Netmask(octets.into()));
    assert_eq!(of("255.255.255.0"), (mask([255, 255, 255, 0]), 0));
    assert_eq!(of("255.0.255.0"), (mask([255, 0, 255, 0]), 0));
    assert_eq!(of("24"), (mask([255, 255, 255, 0]), 1));
    assert_eq!(of("64"), (None, 1));
}

#[test]
fn tunnels() {
    let of = |value: &str| server(&format!("lb_kind {value}\nreal_server 192.0.2.21 80 {{\n}}"));
    assert_eq!(of("TUN type ipip").unsupported, []);
    assert_eq!(of("TUN").config.virtual_servers[0].real_servers[0].forwarding, ForwardingMethod::Tunnel(Tunnel::Ipip));
    let gue = of("TUN type gue port 5");
    assert_eq!(gue.unsupported, []);
    let (port, checksum) = (NonZeroU16::new(5).unwrap(), TunnelChecksum::None);
    assert_eq!(
        gue.config.virtual_servers[0].real_servers[0].forwarding,
        ForwardingMethod::Tunnel(Tunnel::Gue { port, checksum })
    );
}

#[cfg(feature = "serde")]
#[test]
fn a_configuration_survives_the_wire() {
    let parsed = server(
        "virtualhost a\nquorum_up \"/bin/x y\"\nreal_server 192.0.2.21 80 {\nHTTP_GET {\nurl { path / }\n}\n}\nvrrp_instance X {",
    );
    let bytes = postcard::to_stdvec(&parsed.config).unwrap();
    assert_eq!(postcard::from_bytes::<Config>(&bytes).unwrap(), parsed.config);
    assert_eq!(parsed.config.virtual_servers.len(), 1);
}

#[test]
fn an_address_with_a_peer_has_no_prefix_length() {
    let parsed = read(
        "vrrp_instance V {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n192.0.2.1/24 peer 192.0.2.9\n}\n\
         virtual_ipaddress_excluded {\n192.0.2.2 peer 192.0.2.10\n}\n}\n",
    );
    assert_eq!(parsed.diagnostics[0].message, "Cannot specify address prefix when specifying peer address - ignoring");
    let instance = &parsed.config.vrrp_instances[0];
    let held = instance.virtual_addresses.iter().chain(&instance.excluded_addresses);
    let held: Vec<_> =
        held.map(|address| (address.prefix_len, address.options().peer.as_ref().unwrap().to_string())).collect();
    assert_eq!(held, [(32, "192.0.2.9".to_owned()), (32, "192.0.2.10".to_owned())]);
    assert_eq!(parsed.unsupported, []);
}
