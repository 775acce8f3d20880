use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use std::collections::BTreeMap;

use crate::config::*;
use crate::host::Facts;
use crate::{MemoryLoader, Options, Parsed, parse};

fn read(text: &str) -> Parsed {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
}

fn global(lines: &str) -> (GlobalDefs, Vec<String>) {
    let parsed = read(&format!("global_defs {{\n{lines}\n}}\n"));
    (parsed.config.global, parsed.diagnostics.into_iter().map(|finding| finding.message).collect())
}

#[test]
fn default_names_replace_those_before_them() {
    let (global, findings) = global("vrrp_process_name a\nprocess_names\nbfd_process_name b");
    assert_eq!(findings, Vec::<String>::new());
    assert_eq!(global.processes.vrrp.name.as_deref(), Some("keepalived_vrrp"));
    assert_eq!(global.processes.checker.name.as_deref(), Some("keepalived_lvs"));
    assert_eq!(global.processes.bfd.name.as_deref(), Some("b"));
}

#[test]
fn long_names_are_cut() {
    let (global, findings) = global("process_name abcdefghijklmnopq");
    assert_eq!(global.processes.parent_name.as_deref(), Some("abcdefghijklmno"));
    assert_eq!(findings, ["Process name abcdefghijklmnopq more than 15 characters, truncating"]);
}

#[test]
fn process_limits() {
    let (defs, findings) = global(
        "vrrp_rt_priority 0\nchecker_rt_priority 100\nbfd_rt_priority 7\nbfd_rlimit_rttime 1\nvrrp_priority -20",
    );
    let processes = &defs.processes;
    let real_time = [&processes.vrrp, &processes.checker, &processes.bfd].map(|process| process.rt_priority);
    assert_eq!(real_time, [Some(1), Some(99), Some(7)]);
    assert_eq!(processes.bfd.rlimit_rttime, Duration::from_micros(2));
    assert_eq!(processes.vrrp.priority, Some(-20));
    assert_eq!(
        findings,
        [
            "vrrp process real-time priority 0 less than minimum 1 - setting to minimum",
            "checker process real-time priority 100 greater than maximum 99 - setting to maximum"
        ]
    );
}

#[test]
fn the_last_set_of_cpus_counts() {
    assert_eq!(global("vrrp_cpu_affinity 0\nvrrp_cpu_affinity 3 1 3").0.processes.vrrp.cpu_affinity, [1, 3]);
    assert_eq!(global("vrrp_cpu_affinity 0\nvrrp_cpu_affinity 1 x").0.processes.vrrp.cpu_affinity, [0]);
}

#[test]
fn masks() {
    for (text, mask) in [
        ("022", 0o022),
        ("18", 0o022),
        ("0x12", 0o022),
        ("0", 0),
        ("IRUSR|IWGRP", 0o420),
        ("IRUSR | IWGRP", 0o420),
        ("IRUSR| IRWXO", 0o407),
    ] {
        assert_eq!(global(&format!("umask {text}")).0.processes.umask, Umask(mask), "{text}");
    }
    for (text, message) in [
        ("01000", "invalid umask value 01000"),
        ("08", "invalid umask value 08"),
        ("irusr", "Unknown umask bit irusr"),
        ("IRUSR|", "umask missing bit value"),
        ("IRUSR IWUSR", "Invalid umask syntax IWUSR"),
        ("|IRUSR", "Unknown umask bit |IRUSR"),
        ("022 IWUSR", "Extra parameter(s) to umask option"),
    ] {
        let (global, findings) = global(&format!("umask {text}"));
        assert_eq!(findings, [message], "{text}");
        assert_eq!(global.processes.umask, Umask::default());
    }
}

#[test]
fn what_counts_once() {
    let (defs, findings) = global("vmac_prefix a\nvmac_prefix b\nnftables\nnftables x\nnotify_fifo /a\nnotify_fifo /b");
    assert_eq!((defs.vrrp.vmac_prefix.as_str(), defs.vrrp.vmac_addr_prefix.as_str()), ("a", "a"));
    assert_eq!(defs.firewall.nftables.as_deref(), Some("keepalived"));
    assert_eq!(defs.fifos.all.pipe.unwrap().path, "/a");
    assert_eq!(
        findings,
        [
            "vmac prefix has already been specified - ignoring b",
            "nftables already specified - ignoring",
            "notify_fifo already specified - ignoring /b"
        ]
    );
}

#[test]
fn instead_of_iptables_there_is_nftables() {
    let (defs, findings) = global("vrrp_iptables IN OUT\nnftables x");
    assert_eq!(defs.firewall.nftables.as_deref(), Some("keepalived"));
    assert!(findings[0].starts_with("iptables not supported, using nftables instead. Please replace"), "{findings:?}");
    assert_eq!(findings[1..], ["nftables already specified - ignoring"]);
    let (defs, findings) = global("nftables x\nvrrp_iptables");
    assert_eq!((defs.firewall.nftables.as_deref(), findings.len()), (Some("x"), 1));
}

#[test]
fn a_buffer_size_beats_the_mtu_which_beats_the_advert() {
    let of = |lines: &str| global(lines).0.vrrp.rx_bufs_policy;
    assert_eq!(of("vrrp_rx_bufs_policy ADVERT\nvrrp_rx_bufs_policy mtu"), RxBufsPolicy::Mtu);
    assert_eq!(of("vrrp_rx_bufs_policy MTU\nvrrp_rx_bufs_policy advert"), RxBufsPolicy::Mtu);
    assert_eq!(of("vrrp_rx_bufs_policy MTU\nvrrp_rx_bufs_policy 0"), RxBufsPolicy::Bytes(0));
    assert_eq!(of("vrrp_rx_bufs_policy 9\nvrrp_rx_bufs_policy MTU"), RxBufsPolicy::Bytes(9));
    assert_eq!(of("vrrp_rx_bufs_policy 9\nvrrp_rx_bufs_policy 10"), RxBufsPolicy::Bytes(10));
}

#[test]
fn the_sync_daemon() {
    let of = |words: &str| {
        let (global, findings) = global(&format!("lvs_sync_daemon {words}"));
        (global.lvs.sync_daemon.unwrap(), findings)
    };
    let (daemon, findings) = of("eth0 V 5 maxlen 1400 port 99 ttl 3 group ff02::81");
    assert_eq!((daemon.instance.as_ref().unwrap().value.as_str(), daemon.id), ("V", Some(5)));
    assert_eq!((daemon.max_len, daemon.port, daemon.ttl), (Some(1400), Some(99), Some(3)));
    assert_eq!(daemon.group, Some("ff02::81".parse::<IpAddr>().unwrap()));
    assert_eq!(
        findings,
        [
            "lvs_sync_daemon follows vrrp_instance V, which does not exist",
            "Please use keyword \"id\" before lvs_sync_daemon SYNCID"
        ]
    );
    let (daemon, findings) = of("eth0 id 256 ttl 0 group 192.0.2.1 V");
    assert_eq!((daemon.instance, daemon.id, daemon.ttl, daemon.group), (None, None, None, None));
    assert_eq!(
        findings,
        [
            "Invalid syncid (256) - defaulting to vrid",
            "Invalid lvs_sync_daemon ttl (0) - ignoring",
            "lvs_sync_daemon group address 192.0.2.1 is not multicast - ignoring",
            "Unknown option V specified for lvs_sync_daemon"
        ]
    );
    assert!(read("global_defs {\nlvs_sync_daemon eth0 inst\n}\n").refuses_start());
    assert!(!read("global_defs {\nlvs_sync_daemon eth0 id\n}\n").refuses_start());
}

#[test]
fn with_reload_check_config_whatever_is_reported_refuses() {
    let checked = |line: &str| read(&format!("global_defs {{\n{line}\nreload_check_config\n}}\n")).refuses_start();
    assert!(checked("nonsense") && !read("global_defs {\nnonsense\n}\n").refuses_start());
    assert!(!checked("") && !checked("# a note: a lone \r return"));
}

#[test]
fn time_outs_of_connections_add_up() {
    let (global, findings) = global("lvs_timeouts tcp 5 udp 3 tcp 9\nlvs_timeouts tcpfin 2678401 udp 4\nlvs_timeouts");
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(global.lvs.timeouts, LvsTimeouts { tcp: seconds(9), tcpfin: None, udp: seconds(4) });
    assert_eq!(
        findings,
        ["Invalid lvs_timeout tcpfin (2678401) - ignoring", "lvs_timeouts requires at least one option"]
    );
}

#[test]
fn sets_that_are_not_named_follow_from_the_first() {
    let (defs, _) = global("vrrp_ipsets a b");
    let sets = defs.firewall.ipsets.unwrap();
    assert_eq!(sets.names(), ["a", "b", "a_if6", "a_igmp", "a_mld", "a_nd"]);
    assert_eq!(global("vrrp_ipsets").0.firewall.ipsets, None);
    assert_eq!(global("vrrp_ipsets a a_nd").1, ["two ipsets would have the name 'a_nd' - ignoring the line"]);
}

#[test]
fn a_missing_value_that_keepalived_passes_over_does_not_refuse() {
    for line in ["router_id", "startup_script", "vrrp_priority", "notify_fifo", "reload_time_file"] {
        let parsed = read(&format!("global_defs {{\n{line}\n}}\n"));
        assert!(!parsed.refuses_start(), "{line}");
        assert_eq!(parsed.diagnostics.len(), 1, "{line}");
    }
}

#[test]
fn the_snmp_interval_of_real_servers_is_that_of_virtual_servers() {
    let (defs, _) = global("snmp_vs_stats_update_interval 2");
    assert_eq!(defs.monitoring.snmp_rs_stats_interval, Duration::from_secs(2));
}

#[test]
fn include_checks_of_the_main_file_are_kept() {
    let check = global("include_check match\ninclude_check -read").0.reload.include_check.unwrap().value;
    assert_eq!(check, IncludeCheck { matching: true, ..IncludeCheck::default() });
}

#[test]
fn groups_of_the_top_level() {
    let parsed = read(
        "garp_group {\ngarp_interval 1\ninterface a\n}\ngarp_group {\ngna_interval 1\ninterfaces {\na b\n}\n}\n\
         interface_up_down_delays {\ne 1 2\ne 3\nf 1 300\n}\ntrack_group G {\ngroup {\nV W\n}\n}\n\
         vrrp_instance V {\ninterface e\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n",
    );
    let top = &parsed.config.top;
    let names = |names: &[crate::Spanned<String>]| names.iter().map(|name| name.value.clone()).collect::<Vec<_>>();
    assert_eq!(names(&top.garp_groups[0].separate), ["a"]);
    assert_eq!(names(&top.garp_groups[1].shared), ["b"]);
    assert_eq!(names(&top.track_groups[0].members), ["V"]);
    let delays: Vec<_> = top.interface_delays.iter().map(|one| (one.down.as_secs(), one.up.as_secs())).collect();
    assert_eq!(delays, [(3, 0)]);
    assert!(!parsed.refuses_start());
    // A name alone on its line stops keepalived.
    let alone = "garp_group {\ngarp_interval 1\ninterface a\ninterfaces {\na\n}\n}\n";
    assert!(read(alone).refuses_start());
}

#[test]
fn missing_interfaces() {
    let text = "linkbeat_interfaces {\na\n}\ninterface_up_down_delays {\na 1\n}\n";
    let parsed = read(text);
    let findings =
        crate::check_interfaces(&parsed.config, &Facts { interfaces: Some(BTreeMap::new()), ..Facts::default() });
    assert_eq!(findings.len(), 2);
    assert!(findings.iter().all(|finding| !finding.refuses_start));
    assert_eq!(crate::config_test_exit_code(&findings), 4);
    let dynamic = read(&format!("global_defs {{\ndynamic_interfaces\n}}\n{text}"));
    assert_eq!(
        crate::check_interfaces(&dynamic.config, &Facts { interfaces: Some(BTreeMap::new()), ..Facts::default() }),
        []
    );
    let group = read("garp_group {\ngarp_interval 1\ninterface a\n}\n");
    assert!(
        crate::check_interfaces(&group.config, &Facts { interfaces: Some(BTreeMap::new()), ..Facts::default() })[0]
            .refuses_start
    );
}
