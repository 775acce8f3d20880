//! Instances, groups and trackers.

use super::*;

const TRACKED: &str = "vrrp_script s {\nscript /bin/true\nweight 5 reverse\n}\ntrack_file f {\nfile /run/f\n}\n\
                       track_file g {\nfile /run/g\nweight 3\n}\nvrrp_track_process p {\nprocess foo\nweight 3\n}\n\
                       bfd_instance b {\nneighbor_ip 192.0.2.3\nsource_ip 192.0.2.4\nweight 4\n}\n";

const ALL: &str = "track_script {\ns\n}\ntrack_interface {\neth1 weight 5\n}\ntrack_process {\np\n}\n\
                   track_file {\nf\ng\n}\ntrack_bfd {\nb\n}\n";

/// A complete instance on its own address.
fn named(name: &str, number: u8, lines: &str) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {number}\nvirtual_ipaddress {{\n192.0.2.{number}\n}}\n{lines}\n}}\n"
    )
}

fn group(name: &str, members: &str, lines: &str) -> String {
    format!("vrrp_sync_group {name} {{\ngroup {{\n{members}\n}}\n{lines}\n}}\n")
}

/// Name, weight and `reverse` of trackers.
fn weights(tracked: &[Tracked]) -> Vec<(&str, i16, bool)> {
    tracked.iter().map(|it| (it.name.as_str(), it.weight.value.value, it.weight.value.reverse)).collect()
}

fn line(parsed: &Parsed, span: crate::Span) -> usize {
    parsed.sources.location(span).unwrap().line
}

#[test]
fn a_tracker_has_the_weight_of_what_it_tracks_and_its_place() {
    let parsed = read(&format!(
        "{TRACKED}{}",
        named("V", 1, "track_script {\ns\n}\ntrack_file {\nf weight -4 reverse\n}\ntrack_bfd {\nb weight 9\n}")
    ));
    assert_eq!(messages(&parsed), [""; 0]);
    let tracking = &parsed.config.vrrp_instances[0].tracking;
    assert_eq!(weights(&tracking.scripts), [("s", 5, true)]);
    assert_eq!(weights(&tracking.files), [("f", -4, true)]);
    assert_eq!(weights(&tracking.bfds), [("b", 9, false)]);
    assert_eq!(line(&parsed, tracking.scripts[0].weight.span), 3);
    assert_eq!(line(&parsed, tracking.files[0].weight.span), 31);
    let script = &parsed.config.vrrp_scripts[0];
    assert_eq!((script.interval.as_secs(), script.timeout.as_secs(), script.rise, script.fall), (1, 1, 1, 1));
}

#[test]
fn noreverse_undoes_the_reverse_of_a_script() {
    let of = |words: &str| {
        let parsed = read(&format!("{TRACKED}{}", named("V", 1, &format!("track_script {{\ns {words}\n}}"))));
        let tracked = parsed.config.vrrp_instances[0].tracking.scripts.first().map(|it| it.weight.value);
        (tracked.map(|weight| (weight.value, weight.reverse)), messages(&parsed).join("\n"))
    };
    assert_eq!(of("weight 7"), (Some((7, true)), String::new()));
    assert_eq!(of("weight 7 noreverse"), (Some((7, false)), String::new()));
    assert_eq!(
        of("weight 254"),
        (Some((253, true)), "(V) weight for s cannot be +/-254. Setting to +/-253".to_owned())
    );
    assert_eq!(
        of("weight 255"),
        (Some((5, true)), "(V) track script s: weight must be between [-253..253] inclusive, ignoring...".to_owned())
    );
    assert_eq!(of("weight"), (None, "(V) weight without value specified for track script s - ignoring".to_owned()));
    assert_eq!(of("reverse"), (None, "(V) unknown track script option reverse - ignoring".to_owned()));
}

#[test]
fn what_is_tracked_must_be_defined_above() {
    let instance = named("V", 1, "track_script {\ns\ns2\n}");
    let below = read(&format!("{instance}{TRACKED}"));
    assert_eq!(messages(&below)[0], "(V) track script s not found, ignoring...");
    let above = read(&format!("{TRACKED}{instance}"));
    assert_eq!(messages(&above), ["(V) track script s2 not found, ignoring..."]);
    assert!(!below.refuses_start() && !above.refuses_start());
    assert_eq!(above.config.vrrp_instances[0].tracking.scripts.len(), 1);
}

#[test]
fn members_of_a_group_lose_their_weights() {
    let text = |lines: &str| {
        let group = group("G", "V\nW", lines);
        format!("{TRACKED}{}{}{group}", named("V", 1, ALL), named("W", 2, ""))
    };
    let parsed = read(&text(""));
    assert_eq!(
        messages(&parsed),
        [
            "(V) ignoring tracked script s with weights due to SYNC group",
            "(V) ignoring eth1 tracked interface weight due to SYNC group",
            "(V) ignoring weight from tracked file f due to SYNC group. specify weight 0",
            "(V) ignoring tracked file g with weight 3 due to SYNC group",
            "(V) ignoring tracked bfd b with weight 4 due to SYNC group",
        ]
    );
    let tracking = &parsed.config.vrrp_instances[0].tracking;
    assert_eq!(weights(&tracking.interfaces), [("eth1", 0, false)]);
    assert_eq!(weights(&tracking.files), [("f", 0, false)]);
    assert_eq!(weights(&tracking.processes), [("p", 3, false)]);
    assert!(tracking.scripts.is_empty() && tracking.bfds.is_empty());
    let free = read(&text("sync_group_tracking_weight"));
    assert_eq!(messages(&free), [""; 0]);
    assert_eq!(weights(&free.config.vrrp_instances[0].tracking.scripts), [("s", 5, true)]);
}

#[test]
fn an_owner_and_its_group_have_no_weights() {
    let parsed = read(&format!("{TRACKED}{}", named("V", 1, &format!("priority 255\n{ALL}"))));
    let tracking = &parsed.config.vrrp_instances[0].tracking;
    assert_eq!(parsed.diagnostics.len(), 5);
    assert!(tracking.interfaces.is_empty() && tracking.scripts.is_empty() && tracking.bfds.is_empty());
    let parsed = read(&format!("{TRACKED}{}{}", group("G", "V", ALL), named("V", 1, "priority 255")));
    let tracking = &parsed.config.sync_groups[0].tracking;
    assert_eq!(weights(&tracking.scripts), [("s", 0, true)]);
    assert_eq!(weights(&tracking.processes), [("p", 0, false)]);
    assert_eq!(
        messages(&parsed)[1],
        "(G) Cannot have weighted track script 's' with member having priority 255 - clearing weight"
    );
}

#[test]
fn groups_keep_the_members_that_exist_and_are_free() {
    let parsed = read(&format!(
        "{}{}{}{}{}{}",
        named("V", 1, ""),
        named("W", 2, ""),
        group("G", "V nope", ""),
        group("H", "V\nW", ""),
        group("H", "W", ""),
        "vrrp_sync_group E {\n}\n"
    ));
    assert_eq!(
        messages(&parsed),
        [
            "Sync group G has only 1 virtual router(s) - this probably isn't what you want",
            "Virtual router nope specified in sync group G doesn't exist - ignoring",
            "Sync group H has only 1 virtual router(s) - this probably isn't what you want",
            "Virtual router V cannot exist in more than one sync group; ignoring H",
            "vrrp sync group H already defined",
            "Sync group E has no virtual router(s). removing",
        ]
    );
    let members: Vec<_> = parsed.config.sync_groups.iter().map(|group| group.members[0].as_str()).collect();
    assert_eq!(members, ["V", "W"]);
    assert!(!parsed.refuses_start());
}

#[test]
fn a_second_block_of_a_name_is_passed_over() {
    let (once, _) = TRACKED.split_once("bfd_instance").unwrap();
    let parsed = read(&format!("{TRACKED}{once}"));
    assert_eq!(
        messages(&parsed),
        [
            "vrrp script s already defined",
            "track file f already defined",
            "track file g already defined",
            "track process p already defined",
        ]
    );
    assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 0);
    assert_eq!((parsed.config.vrrp_scripts.len(), parsed.config.track_files.len()), (1, 2));
}

#[test]
fn values_of_scripts_files_and_processes() {
    let parsed = read(
        "vrrp_script s {\nscript /bin/true\nscript \"/bin/a b\"\ninterval 0\ntimeout 5000\nrise 0\nweight 300\nuser u g\n}\n\
         vrrp_script t {\n}\ntrack_file f {\nfile /a\nfile /b\ninit_file overwrite -3\nweight 2\nweight 3\n}\n\
         vrrp_track_process p {\nprocess a b\nquorum 3\nquorum_max 2\ndelay 2\nfork_delay 1\n}\n\
         vrrp_track_process q {\nprocess a\nquorum_max 0\n}\n",
    );
    assert_eq!(
        messages(&parsed),
        [
            "(s): vrrp script interval must be greater than 0, setting to 1",
            "(s): vrrp script timeout '5000' invalid - ignoring",
            "(s): vrrp script rise value '0' invalid, defaulting to 1",
            "vrrp_script s weight 300 must be in [-253, 253]",
            "No script set for vrrp_script t - removing",
            "File already set for track file f - ignoring /b",
            "Weight already set for track file f - ignoring 3",
            "quorum_max is less than quorum - ignoring",
        ]
    );
    let script = &parsed.config.vrrp_scripts[0];
    assert_eq!(
        (script.script.command.as_slice(), script.weight.value),
        (["/bin/a", "b"].map(str::to_owned).as_slice(), 253)
    );
    assert_eq!(script.script.user.as_ref().and_then(|user| user.group.as_deref()), Some("g"));
    let file = &parsed.config.track_files[0];
    assert_eq!((file.file.as_str(), file.weight.value), ("/a", 2));
    assert_eq!(file.init_file, Some(InitFile { value: -3, overwrite: true }));
    let [p, q] = parsed.config.track_processes.as_slice() else { panic!("two processes") };
    assert_eq!((p.quorum, p.quorum_max, p.full_command, p.param_match), (3, None, true, Some(ParamMatch::Exact)));
    assert_eq!((p.terminate_delay.as_secs(), p.fork_delay.as_secs()), (2, 1));
    assert_eq!((q.quorum, q.quorum_max, q.full_command, q.param_match), (0, Some(0), false, None));
    assert_eq!(parsed.config.scripts().count(), 1);
}

#[test]
fn strict_mode_changes_other_settings() {
    let parsed = instance(
        "strict_mode\nauthentication {\nauth_type PASS\nauth_pass x\n}\npreempt_delay 5\ndown_timer_adverts 5\n\
         garp_lower_prio_delay 3\ngarp_lower_prio_repeat 3\nlower_prio_no_advert off\nhigher_prio_send_advert\naccept\n\
         use_vmac 02:00:00:00:00:01\nvmac_xmit_base",
    );
    assert_eq!(
        messages(&parsed),
        [
            "(V) Strict mode does not support authentication. Ignoring.",
            "(V) preempt_delay is incompatible with strict mode - resetting",
            "(V) down_timer_adverts is incompatible with strict mode - resetting",
            "(V) Strict mode requires no repeat garp delay. resetting",
            "(V) Strict mode requires no repeat garps. resetting",
            "(V) Strict mode requires no lower priority advert. resetting",
            "(V) strict mode requires higher_prio_send_advert to be clear. resetting",
            "(V) warning - accept mode for VRRP version 2 does not comply with RFC3768 - resetting",
            "(V): cannot specify MAC address with strict mode - clearing",
            "(V) xmit_base is incompatible with strict mode - resetting",
        ]
    );
    let instance = &parsed.config.vrrp_instances[0];
    assert!(!instance.accept && instance.lower_prio_no_advert && !instance.higher_prio_send_advert);
    assert!(instance.vmac.as_ref().is_some_and(|vmac| vmac.address.is_none()) && !instance.vmac_xmit_base);
    assert_eq!((instance.garp.lower_prio_repeat, instance.down_timer_adverts), (0, 3));
    assert_eq!((instance.preempt_delay, &instance.authentication), (Duration::ZERO, &None));
}

#[test]
fn strict_mode_of_global_defs() {
    let of = |lines: &str| {
        let globals = "global_defs {\nvrrp_strict\nvrrp_garp_lower_prio_repeat 8\nvrrp_higher_prio_send_advert\n}\n";
        let parsed = read(&format!("{globals}{}", named("V", 1, lines)));
        (parsed.config.vrrp_instances[0].clone(), messages(&parsed).join("\n"))
    };
    let (plain, said) = of("");
    assert_eq!((plain.accept, plain.garp.lower_prio_repeat, plain.higher_prio_send_advert), (false, 0, false));
    assert_eq!(said, "");
    assert!(of("version 3\naccept").0.accept && of("priority 255").0.accept);
    assert!(of("priority 255").0.owner_ignore_adverts && of("strict_mode off").0.higher_prio_send_advert);
    let refused = read("vrrp_instance V {\ninterface e\nvirtual_router_id 1\nstrict_mode\nno_virtual_ipaddress\n}\n");
    assert!(refused.refuses_start());
}

#[test]
fn values_of_global_defs_bring_their_place_along() {
    let parsed = read(&format!(
        "global_defs {{\nvrrp_garp_master_delay 2\nvrrp_notify_priority_changes\nsmtp_alert\nvrrp_garp_extra_if all 7\nvrrp_version 3\n}}\n{}{}",
        group("G", "V", "notify_priority_changes off"),
        named("V", 1, "garp_master_repeat 3")
    ));
    let instance = &parsed.config.vrrp_instances[0];
    let at = |keyword: &str| instance.places.of("vrrp_instance", keyword).map(|span| line(&parsed, span));
    assert_eq!(
        (at("garp_master_delay"), at("garp_lower_prio_delay"), at("garp_master_repeat")),
        (Some(2), Some(2), Some(20))
    );
    assert_eq!((at("smtp_alert"), at("version"), at("garp_extra_if")), (Some(4), Some(6), Some(5)));
    assert_eq!((at("notify_priority_changes"), instance.notify_priority_changes), (Some(12), false));
    assert_eq!((instance.garp_extra_if.unwrap().all, instance.smtp_alert), (true, true));
    assert_eq!(at("strict_mode"), None);
}

#[test]
fn a_macvlan_and_its_address() {
    let of = |lines: &str| {
        let parsed = instance(lines);
        let vmac = parsed.config.vrrp_instances[0].vmac.clone().unwrap_or_default();
        (vmac.name.map(|name| name.value), vmac.address.map(|mac| mac.to_string()), messages(&parsed).join("\n"))
    };
    assert_eq!(of("use_vmac"), (None, None, String::new()));
    assert_eq!(of("use_vmac vm 2:0:0:0:1").1, Some("02:00:00:00:01:33".to_owned()));
    assert_eq!(of("use_vmac 01:00:00:00:00:01").2, "VMAC MAC address is multicast 01:00:00:00:00:01 - ignoring");
    assert_eq!(
        of("use_vmac 00:00:5e:00:01:07").2,
        "VMAC MAC address not allowed to be RFC5798 address (00:00:5e:00:01:07) - ignoring"
    );
    assert_eq!(of("use_vmac 02:00:00").2, "VMAC invalid MAC address 02:00:00 - ignored");
    assert_eq!(of("use_vmac a\nuse_vmac b").2, "VMAC interface name already specified");
    assert_eq!(of("use_vmac name group group 5").0, Some("group".to_owned()));
    assert_eq!(of("vmac_xmit_base").2, "(V) vmac_xmit_base is only valid with a vmac");
    let unicast = instance("use_vmac\nunicast_peer {\n192.0.2.9\n}");
    assert!(unicast.config.vrrp_instances[0].vmac_xmit_base);
    let forced = "(V) unicast with use_vmac requires vmac_xmit_base - setting";
    assert_eq!(messages(&unicast), [forced]);
    assert_eq!(crate::config_test_exit_code(&unicast.diagnostics), 5);
    // The keyword counts, not the peers.
    let peerless = instance("use_vmac\nunicast_src_ip 192.0.2.1");
    assert!(peerless.config.vrrp_instances[0].vmac_xmit_base);
    assert_eq!(messages(&peerless)[0], forced);
    let strict = instance("use_vmac\nstrict_mode\nunicast_peer {\n}");
    assert!(!strict.config.vrrp_instances[0].vmac_xmit_base);
    assert_eq!(messages(&strict)[..2], [forced, "(V) xmit_base is incompatible with strict mode - resetting"]);
}

#[test]
fn two_instances_share_a_macvlan_only_as_two_families() {
    let of = |second: &str| {
        let parsed = read(&format!("{}{second}", named("V", 1, "use_vmac vm")));
        (
            parsed.config.vrrp_instances[1].vmac.as_ref().and_then(|vmac| vmac.name.clone()).is_some(),
            messages(&parsed).join("\n"),
        )
    };
    assert_eq!(
        of(&named("W", 2, "use_vmac vm")),
        (false, "(W) VRRP instance V is already using vm - ignoring name".to_owned())
    );
    let six =
        "vrrp_instance W {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\nfe80::1\n}\nuse_vmac vm\n}\n";
    assert_eq!(of(six), (true, String::new()));
}

#[test]
fn an_ipvlan_is_where_adverts_come_from() {
    let parsed = instance("use_ipvlan ipv0 192.0.2.4/24 vepa bridge");
    let instance = &parsed.config.vrrp_instances[0];
    let ipvlan = instance.ipvlan.as_ref().unwrap();
    assert_eq!((ipvlan.mode, ipvlan.prefix_len), (IpvlanMode::Vepa, Some(24)));
    assert_eq!(instance.source_address.as_ref().map(|address| address.to_string()), Some("192.0.2.4".to_owned()));
    assert_eq!(messages(&parsed), ["(V) ipvlan type already specified - ignoring 'bridge'"]);
    let parsed = super::instance("use_ipvlan 2001::1");
    assert_eq!(parsed.diagnostics.len(), 2);
    assert!(!parsed.refuses_start());
}

#[test]
fn what_unicast_needs() {
    let of = |lines: &str| messages(&instance(lines)).join("\n");
    let multicast = "(V) A unicast keyword has been specified without any unicast peers. Defaulting to multicast. This usage is deprecated - please update your configuration.";
    assert_eq!(of("check_unicast_src"), multicast);
    assert_eq!(of("unicast_src_ip 192.0.2.4\nunicast_fault_no_peer"), "");
    assert_eq!(of("unicast_ttl 5"), "(V): Cannot use unicast_ttl without unicast peers - resetting");
    assert_eq!(
        of("unicast_peer {\n192.0.2.9 max_ttl 3 min_ttl 5\n}"),
        "(V) min_ttl 5 > max_ttl 3 - all packets will be discarded"
    );
    assert_eq!(of("unicast_peer {\n192.0.2.9 min_ttl\n}"), "(V) min_ttl is missing a value");
    assert_eq!(
        of("mcast_dst_ip 239.1.1.1\nunicast_peer {\n192.0.2.9\n}"),
        "(V) multicast destination specified with unicast - ignoring"
    );
    assert_eq!(of("mcast_dst_ip 10.0.0.1"), "(V) mcast_dst_ip 10.0.0.1 not multicast. Skipping...");
    assert_eq!(of("vrf red"), "(V) Cannot specify VRF interface and interface - ignoring");
    let parsed = instance("unicast_peer {\n192.0.2.9\n}");
    let unicast = &parsed.config.vrrp_instances[0];
    assert_eq!((unicast.unicast_ttl, unicast.multicast_group, unicast.check_unicast_src), (Some(255), None, false));
}

/// Else what `config show` prints of a multicast instance has a unicast keyword, and means something else with a VMAC.
#[test]
fn a_unicast_default_is_inherited_with_peers_only() {
    let of = |lines: &str| {
        let parsed = read(&format!("global_defs {{\nvrrp_check_unicast_src\n}}\n{}", named("V", 1, lines)));
        parsed.config.vrrp_instances[0].check_unicast_src
    };
    assert!(!of("use_vmac"));
    assert!(of("unicast_peer {\n192.0.2.9\n}"));
}

#[test]
fn signatures() {
    let key = "0123456789abcdef0123456789abcdef";
    let of = |lines: &str| {
        let parsed = instance(&format!("auth_hmac {{\n{lines}\n}}"));
        (parsed.config.vrrp_instances[0].auth_hmac.clone(), messages(&parsed).join("\n"))
    };
    let (hmac, said) = of(&format!("key 1 {key}\nkey 2 file:/k\nactive_key 2"));
    let hmac = hmac.unwrap();
    assert_eq!((hmac.keys.len(), hmac.mode, said.as_str()), (2, HmacMode::Enforce, ""));
    assert_eq!(hmac.anti_replay, AntiReplay::Time { window: Duration::from_secs(5) });
    assert!(!format!("{hmac:?}").contains("0123") && !format!("{hmac:?}").contains("48, 49"));
    assert_eq!(of(&format!("key 1 {key}")).1, "(V) auth_hmac has no active_key - ignoring auth_hmac");
    assert_eq!(
        of(&format!("key 1 {key}\nactive_key 2")),
        (None, "(V) auth_hmac has no key 2 - ignoring auth_hmac".to_owned())
    );
    assert!(of("key 1 short\nactive_key 1").1.starts_with("(V) auth_hmac key has 5 bytes - ignoring the key"));
    assert!(of("key 1 hex:0\nactive_key 1").1.starts_with("(V) auth_hmac key is no even number of hexadecimal digits"));
    let both = instance(&format!(
        "auth_hmac {{\nkey 1 {key}\nactive_key 1\n}}\nauthentication {{\nauth_type AH\nauth_pass x\n}}"
    ));
    assert_eq!(both.config.vrrp_instances[0].authentication, None);
    let alone = instance("authentication {\nauth_type AH\nauth_pass x\n}");
    assert_eq!(alone.config.vrrp_instances[0].authentication, Some(Authentication::Ah(AuthPass(*b"x\0\0\0\0\0\0\0"))));
    assert_eq!(alone.unsupported, []);
}

#[test]
fn lines_of_addresses() {
    let of = |line: &str| {
        let parsed = read(&format!("static_ipaddress {{\n{line}\n}}\n"));
        (parsed.config.static_addresses.first().cloned(), messages(&parsed).join("\n"))
    };
    let (address, said) = of("192.0.2.1/24 dev eth1 peer 10.0.0.1 brd +");
    let address = address.unwrap();
    assert_eq!((address.prefix_len, address.options().broadcast), (32, None));
    assert_eq!(address.options().peer, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(
        said,
        "Cannot specify address prefix when specifying peer address - ignoring\n\
         Cannot specify broadcast and peer addresses - ignoring broadcast address"
    );
    assert_eq!(of("192.0.2.1 peer fe80::1").1, "Peer address fe80::1 does not match address family");
    assert_eq!(of("192.0.2.1 label").0, None);
    assert_eq!(of("2001:db8::1/64 brd 192.0.2.1").0, None);
    assert_eq!(of("2001:db8::1/64 preferred_lft x").1, "preferred_lft x is invalid");
    assert_eq!(of("2001:db8::1").0.unwrap().preferred_lifetime(), Lifetime::Seconds(0));
    assert_eq!(of("2001:db8::1/64").0.unwrap().preferred_lifetime(), Lifetime::Forever);
    assert_eq!(of("192.0.2.1 use_vmac").1, "Unknown configuration entry 'use_vmac' for ip address - ignoring");
    assert_eq!(of("192.0.2.1 track_group g").1, "track_group g not found");
    assert_eq!(of("192.0.2.1").0.unwrap().dev.map(|dev| dev.value), Some("eth0".to_owned()));
}

#[test]
fn every_interface_is_looked_for() {
    let parsed = read(&format!(
        "static_ipaddress {{\n192.0.2.9 dev a\n}}\n{}{}vrrp_instance N {{\nvirtual_router_id 8\nvrf c\nunicast_src_ip 192.0.2.4\n\
         unicast_peer {{\n192.0.2.5\n}}\nvirtual_ipaddress {{\n192.0.2.8 dev d\n}}\nlvs_sync_daemon_interface e\n}}\n",
        group("G", "V", "track_interface {\nb\n}"),
        named("V", 1, "track_interface {\nf weight 5\n}\nvirtual_ipaddress_excluded {\n192.0.2.7 dev g\n}"),
    ));
    let findings = crate::check_interfaces(&parsed.config, &interfaces(&["eth0"]));
    let said: Vec<_> = findings.iter().map(|finding| (finding.message.as_str(), finding.refuses_start)).collect();
    assert_eq!(
        said,
        [
            ("WARNING - interface a for ip address 192.0.2.9/32 doesn't exist", true),
            ("(G) tracked interface b doesn't exist", true),
            ("(V) tracked interface f doesn't exist", true),
            ("WARNING - interface g for ip address 192.0.2.7/32 doesn't exist", true),
            ("(N) WARNING - VRF interface c doesn't exist", true),
            ("WARNING - interface d for ip address 192.0.2.8/32 doesn't exist", true),
            ("the IPVS synchronisation daemon cannot start: interface e doesn't exist", false),
        ]
    );
}

#[test]
fn the_name_of_an_instance_or_group_is_one_word() {
    let parsed = read("vrrp_instance V extra {\nvirtual_router_id x\n}\nvrrp_sync_group G x {\ngroup {\n}\n}\n");
    let expected = ["vrrp_instance must have a name", "vrrp_sync_group must have a name - skipping"];
    assert_eq!(messages(&parsed), expected);
    assert_eq!(parsed.config.vrrp_instances, []);
    assert!(!parsed.refuses_start());
    let parsed = read("vrrp_instance {\nvirtual_router_id x\n}\nvrrp_sync_group {\ngroup {\n}\n}\n");
    assert_eq!(messages(&parsed), expected);
    assert_eq!(parsed.config.vrrp_instances, []);
    assert!(!parsed.refuses_start());
}

#[test]
fn rare_words_of_an_instance() {
    for (line, expected) in [
        ("debug 5", "(V) Debug value '5' not valid; must be between 0-4"),
        ("kernel_rx_buf_size x", "(V) invalid kernel_rx_buf_size specified"),
        ("garp_extra_if all", "(V): garp_extra_if specified without time - ignoring"),
        ("garp_extra_if 100000", "(V): garp_extra_if '100000' invalid - ignoring"),
        ("vmac_garp_intvl 5", "Keyword \"vmac_garp_intvl\" is deprecated - please use \"garp_extra_if\""),
        ("unicast_ttl 300", "(V): TTL '300' not valid - must be between 0 & 255"),
        ("old_unicast_checksum foo", "(V) Unknown old_unicast_chksum mode foo - ignoring"),
        ("strict_mode maybe", "(V) invalid strict_mode maybe specified"),
        ("smtp_alert maybe", "Invalid vrrp_instance smtp_alert parameter maybe"),
        ("notify_deleted\nnotify_deleted /b", "(V) notify_deleted already specified - ignoring /b"),
        ("timer_expired_backup", "(V) timer_expired_backup needs nopreempt - resetting"),
        ("owner_ignore_adverts", "(V) owner_ignore_adverts is for priority 255 only - resetting"),
        (
            "linkbeat_use_polling",
            "(V) 'linkbeat_use_polling' in vrrp instance deprecated - use linkbeat_interfaces block",
        ),
    ] {
        assert_eq!(messages(&instance(line)), [expected], "{line}");
    }
    let daemons = read(&format!(
        "{}{}",
        named("V", 1, "lvs_sync_daemon_interface eth1"),
        named("W", 2, "lvs_sync_daemon_interface eth2")
    ));
    assert!(
        messages(&daemons).contains(&"(W) lvs_sync_daemon_interface has already been specified as eth1 - ignoring")
    );
    assert_eq!(daemons.config.vrrp_instances[1].lvs_sync_daemon_interface, None);
}

#[test]
fn suggestions_end_before_they_take_long() {
    let scripts: String = (0..1000).map(|number| format!("vrrp_script s{number} {{\nscript x\n}}\n")).collect();
    let tracked: String = (0..1000).map(|number| format!("s{number}x\n")).collect();
    let parsed = read(&format!("{scripts}{}", named("V", 1, &format!("track_script {{\n{tracked}}}"))));
    let helped = parsed.diagnostics.iter().filter(|finding| finding.replacement.is_some()).count();
    assert_eq!((helped, parsed.diagnostics.len()), (200, 1000));
}

#[test]
fn words_behind_a_value_are_noted() {
    let noted = |line: &str| {
        let parsed = read(&named("V", 1, line));
        assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 0, "{line}");
        parsed.diagnostics.into_iter().map(|finding| (finding.help.unwrap(), finding.replacement)).collect::<Vec<_>>()
    };
    let one = |help: &str, replacement: Option<&str>| vec![(help.to_owned(), replacement.map(str::to_owned))];
    assert_eq!(noted("priority 5"), []);
    assert_eq!(noted("priority 5 # better"), []);
    assert_eq!(noted("priority 5 //better"), one("a comment starts with '#'", Some("# better")));
    assert_eq!(noted("priority 5 ; better"), one("a comment starts with '#'", Some("# better")));
    assert_eq!(noted("priority 5 better"), one("remove it, or write '#' before it if it is a comment", None));
    assert_eq!(noted("nopreempt off"), one("remove the whole line to switch it off", None));
    assert!(!read(&named("V", 1, "nopreempt off")).config.vrrp_instances[0].preempt);
    // Of a list every word counts.
    assert_eq!(noted("track_interface {\neth1 weight 5 reverse\n}"), []);
    // A mistake is one finding.
    assert_eq!(messages(&read(&named("V", 1, "priority = 5"))).len(), 1);
    let passphrase = read(&named("V", 1, "authentication {\nauth_type PASS\nauth_pass ab cdef\n}"));
    assert_eq!(messages(&passphrase), ["'auth_pass' takes one value: the rest of the line is passed over"]);
}
