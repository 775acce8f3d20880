//! Which keyword stands behind each field that keepalived shows.

use conf_parser::setting::Setting;

use crate::canonical::Compare::{
    self, Addresses, Default, Entries, First, Not, Number, Octal, Off, On, Routes, Script, Special, Switch, Text, Time,
    Tracked,
};
use crate::canonical::{Place, endpoint, entries, microseconds, number, own_time, plain, switch, words};

/// A field and its keyword.
pub(crate) struct Field {
    pub(crate) section: &'static str,
    pub(crate) field: &'static str,
    /// In the block of the object; see `Place::lines`.
    pub(crate) keyword: &'static str,
    pub(crate) compare: Compare,
}

/// A field that is not compared.
pub(crate) struct LeftOut {
    pub(crate) section: &'static str,
    pub(crate) field: &'static str,
    #[expect(dead_code, reason = "for the reader of the table")]
    pub(crate) reason: &'static str,
}

const fn global(field: &'static str, keyword: &'static str, compare: Compare) -> Field {
    Field { section: "Global definitions", field, keyword, compare }
}

const fn instance(field: &'static str, keyword: &'static str, compare: Compare) -> Field {
    Field { section: "VRRP Topology", field, keyword, compare }
}

const fn group(field: &'static str, keyword: &'static str, compare: Compare) -> Field {
    Field { section: "VRRP Sync groups", field, keyword, compare }
}

const fn service(field: &'static str, keyword: &'static str, compare: Compare) -> Field {
    Field { section: "Virtual server", field, keyword, compare }
}

const fn real(field: &'static str, keyword: &'static str, compare: Compare) -> Field {
    Field { section: "Real server", field, keyword, compare }
}

const fn checker(field: &'static str, keyword: &'static str, compare: Compare) -> Field {
    Field { section: "Health checkers", field, keyword, compare }
}

const fn other(section: &'static str, field: &'static str, keyword: &'static str, compare: Compare) -> Field {
    Field { section, field, keyword, compare }
}

pub(crate) const FIELDS: &[Field] = &[
    global("Network namespace", "/net_namespace", Default("(default)")),
    global("Network namespace ipvs", "/net_namespace_ipvs", Default("(main namespace)")),
    global("Instance name", "/instance", Text),
    global("Router ID", "router_id", Default("testhost")),
    global("Smtp server", "smtp_server", First),
    global("Smtp server port", "smtp_server", SMTP_PORT),
    global("Smtp server connection timeout", "smtp_connect_timeout", Time),
    global("Smtp HELO name", "smtp_helo_name", Default("testhost")),
    global("Default smtp_alert", "smtp_alert", UNSET_OR_SWITCH),
    global("Default smtp_alert_vrrp", "smtp_alert_vrrp", UNSET_OR_SWITCH),
    global("Default smtp_alert_checker", "smtp_alert_checker", UNSET_OR_SWITCH),
    global("Checkers log all failures", "checker_log_all_failures", Switch),
    global("No test config before reload", "reload_check_config", Off),
    global("Reload time file", "reload_time_file", Text),
    global("Dynamic interfaces", "dynamic_interfaces", Switch),
    global("Allow interface changes", "dynamic_interfaces", ALLOW_IF_CHANGES),
    global("Default interface", "default_interface", Text),
    global("Disable local IGMP", "disable_local_igmp", Switch),
    global("LVS flush", "lvs_flush", Switch),
    global("LVS flush on stop", "lvs_flush_on_stop", FLUSH),
    global("LVS TCP timeout", "lvs_timeouts", TCP_AND_UDP_TIMEOUT),
    global("LVS TCP FIN timeout", "lvs_timeouts", TCP_FIN_TIMEOUT),
    global("LVS syncd interface", "lvs_sync_daemon", First),
    global("LVS syncd vrrp instance", "lvs_sync_daemon", SYNC_INSTANCE),
    global("LVS syncd vrrp name", "lvs_sync_daemon", SYNC_INSTANCE),
    global("LVS syncd syncid", "lvs_sync_daemon", SYNC_ID),
    global("FIFO write vrrp states on reload", "fifo_write_vrrp_states_on_reload", Switch),
    global("Global notify fifo", "notify_fifo", FIFO),
    global("VRRP notify fifo", "vrrp_notify_fifo", FIFO),
    global("VRRP notify priority changes", "vrrp_notify_priority_changes", Switch),
    global("VRRP IPv4 mcast group", "vrrp_mcast_group4", Text),
    global("VRRP IPv6 mcast group", "vrrp_mcast_group6", Text),
    global("Gratuitous ARP delay", "vrrp_garp_master_delay", Time),
    global("Gratuitous ARP repeat", "vrrp_garp_master_repeat", Number),
    global("Gratuitous ARP refresh timer", "vrrp_garp_master_refresh", Time),
    global("Gratuitous ARP refresh repeat", "vrrp_garp_master_refresh_repeat", Number),
    global("Gratuitous ARP lower priority delay", "vrrp_garp_lower_prio_delay", Time),
    global("Gratuitous ARP lower priority repeat", "vrrp_garp_lower_prio_repeat", Number),
    global("Gratuitous ARP for each secondary VMAC", "vrrp_garp_extra_if", Time),
    global("Gratuitous ARP interval", "vrrp_garp_interval", Time),
    global("Gratuitous NA interval", "vrrp_gna_interval", Time),
    global("Num adverts before down", "vrrp_down_timer_adverts", Number),
    global("Send advert after receive lower priority advert", "vrrp_lower_prio_no_advert", Not),
    global("Send advert after receive higher priority advert", "vrrp_higher_prio_send_advert", Switch),
    global("VRRP default protocol version", "vrrp_version", Number),
    global("VRRP check unicast_src", "vrrp_check_unicast_src", Switch),
    global("VRRP skip check advert addresses", "vrrp_skip_check_adv_addr", Switch),
    global("VRRP strict mode", "vrrp_strict", Switch),
    global("vrrp_startup_delay", "vrrp_startup_delay", Time),
    global("nftables table name", "nftables", Text),
    global("nftables base chain priority", "nftables_priority", Number),
    global("nftables with counters", "nftables_counters", On),
    global("nftables without counters", "nftables_counters", Off),
    global("nftables don't force use ifindex for link local IPv6", "nftables_ifindex", Off),
    global("Max auto priority", "max_auto_priority", AUTO_PRIORITY),
    global("Min auto priority delay", "min_auto_priority_delay", Time),
    global("VRRP process priority", "vrrp_priority", ZERO_IF_UNSET),
    global("VRRP don't swap", "vrrp_no_swap", Switch),
    global("VRRP realtime priority", "vrrp_rt_priority", ZERO_IF_UNSET),
    global("VRRP realtime limit", "vrrp_rlimit_rttime", Number),
    global("Checker process priority", "checker_priority", ZERO_IF_UNSET),
    global("Checker don't swap", "checker_no_swap", Switch),
    global("Checker realtime priority", "checker_rt_priority", ZERO_IF_UNSET),
    global("Checker realtime limit", "checker_rlimit_rttime", Number),
    global("BFD process priority", "bfd_priority", ZERO_IF_UNSET),
    global("BFD don't swap", "bfd_no_swap", Switch),
    global("BFD realtime priority", "bfd_rt_priority", ZERO_IF_UNSET),
    global("BFD realtime limit", "bfd_rlimit_rttime", Number),
    global("SNMP vrrp disabled", "enable_snmp_vrrp", Off),
    global("SNMP vrrp enabled", "enable_snmp_vrrp", On),
    global("SNMP checker disabled", "enable_snmp_checker", Off),
    global("SNMP checker enabled", "enable_snmp_checker", On),
    global("SNMP RFCv2 disabled", "enable_snmp_rfcv2", Off),
    global("SNMP RFCv3 disabled", "enable_snmp_rfcv3", Off),
    global("SNMP RFCv3 enabled", "enable_snmp_rfcv3", On),
    global("SNMP traps disabled", "enable_traps", Off),
    global("SNMP traps enabled", "enable_traps", On),
    global("SNMP socket", "snmp_socket", Default("default (unix:/var/agentx/master)")),
    global("DBus disabled", "enable_dbus", Off),
    global(
        "DBus service name",
        "dbus_service_name",
        Special(str::to_owned, |_, line| vec![words(line).replace("org.keepalived.Vrrp1", "")]),
    ),
    global("Script security disabled", "enable_script_security", Off),
    global("Script security enabled", "enable_script_security", On),
    global("vrrp_netlink_cmd_rcv_bufs", "vrrp_netlink_cmd_rcv_bufs", ZERO_IF_UNSET),
    global("vrrp_netlink_cmd_rcv_bufs_force", "vrrp_netlink_cmd_rcv_bufs_force", Switch),
    global("vrrp_netlink_monitor_rcv_bufs", "vrrp_netlink_monitor_rcv_bufs", ZERO_IF_UNSET),
    global("vrrp_netlink_monitor_rcv_bufs_force", "vrrp_netlink_monitor_rcv_bufs_force", Switch),
    global("process_monitor_rcv_bufs", "process_monitor_rcv_bufs", ZERO_IF_UNSET),
    global("process_monitor_rcv_bufs_force", "process_monitor_rcv_bufs_force", Switch),
    global("lvs_netlink_cmd_rcv_bufs", "lvs_netlink_cmd_rcv_bufs", ZERO_IF_UNSET),
    global("lvs_netlink_cmd_rcv_bufs_force", "lvs_netlink_cmd_rcv_bufs_force", Switch),
    global("lvs_netlink_monitor_rcv_bufs", "lvs_netlink_monitor_rcv_bufs", ZERO_IF_UNSET),
    global("lvs_netlink_monitor_rcv_bufs_force", "lvs_netlink_monitor_rcv_bufs_force", Switch),
    global("rs_init_notifies", "rs_init_notifies", Switch),
    global("no_checker_emails", "no_checker_emails", Switch),
    global("rx_bufs_multiples", "vrrp_rx_bufs_multiplier", Number),
    global("rx_bufs_policy", "vrrp_rx_bufs_policy", Text),
    global("umask", "umask", Octal),
    other("Static Addresses", "entry", "static_ipaddress", Addresses),
    other("Static Routes", "entry", "static_routes", Routes),
    other("Static Rules", "entry", "static_rules", Routes),
    instance("VRRP Version", "version", Number),
    instance("Flags/", "unicast_peer", UNICAST),
    instance("Interface", "interface", INTERFACE),
    instance("Using src_ip", "mcast_src_ip", SOURCE),
    instance("Gratuitous ARP delay", "garp_master_delay", Time),
    instance("Gratuitous ARP repeat", "garp_master_repeat", Number),
    instance("Gratuitous ARP refresh", "garp_master_refresh", Time),
    instance("Gratuitous ARP refresh repeat", "garp_master_refresh_repeat", Number),
    instance("Gratuitous ARP lower priority delay", "garp_lower_prio_delay", Time),
    instance("Gratuitous ARP lower priority repeat", "garp_lower_prio_repeat", Number),
    instance("Down timer adverts", "down_timer_adverts", Number),
    instance("Send advert after receive lower priority advert", "lower_prio_no_advert", Not),
    instance("Send advert after receive higher priority advert", "higher_prio_send_advert", Switch),
    instance("Virtual Router ID", "virtual_router_id", Number),
    instance("Priority", "priority", Number),
    instance("Advert interval", "advert_int", Time),
    instance("Accept", "*", ACCEPT),
    instance("Preempt", "nopreempt", Not),
    instance("Preempt delay", "preempt_delay", Time),
    instance("Promote_secondaries", "promote_secondaries", Switch),
    instance("Authentication type", "authentication/auth_type", AUTHENTICATION),
    instance("Password", "authentication/auth_pass", Text),
    instance("Virtual IP/", "virtual_ipaddress", Addresses),
    instance("Virtual IP Excluded/", "virtual_ipaddress_excluded", Addresses),
    instance("Virtual Routes/", "virtual_routes", Routes),
    instance("Virtual Rules/", "virtual_rules", Routes),
    instance("Tracked scripts/", "track_script", Tracked),
    instance("Tracked files/", "track_file", Tracked),
    instance("Tracked interfaces/", "track_interface", Tracked),
    instance("Tracked processes/", "track_process", Tracked),
    instance("Tracked BFDs/", "track_bfd", Tracked),
    instance("Using smtp notification", "smtp_alert", Switch),
    instance("Notify deleted", "notify_deleted", NOTIFY_DELETED),
    instance("Notify priority changes", "notify_priority_changes", Switch),
    instance("Master state transition script", "notify_master", Script),
    instance("Backup state transition script", "notify_backup", Script),
    instance("Fault state transition script", "notify_fault", Script),
    instance("Stop state transition script", "notify_stop", Script),
    instance("Generic state transition script", "notify", Script),
    instance("Skip checking advert IP addresses", "skip_check_adv_addr", On),
    instance("Enforcing strict VRRP compliance", "strict_mode", On),
    instance("Using Native IPv6", "native_ipv6", On),
    instance("VRRP interface tracking disabled", "dont_track_primary", On),
    instance("Use VMAC", "use_vmac", On),
    instance("i/f name", "use_vmac", VMAC_NAME),
    instance("xmit_base", "vmac_xmit_base", Switch),
    instance("Unicast TTL", "unicast_ttl", TTL),
    instance("Check unicast src", "check_unicast_src", Switch),
    instance("Unicast Peer/", "unicast_peer", PEERS),
    instance("Unicast checksum compatibility", "old_unicast_checksum", Switch),
    group("VRRP member instances/", "group", Entries),
    group("Using smtp notification", "smtp_alert", Switch),
    group("Notify priority changes", "notify_priority_changes", Switch),
    group("sync group tracking weight set", "sync_group_tracking_weight", On),
    group("Tracked process/", "track_process", Tracked),
    group("Tracked interfaces/", "track_interface", Tracked),
    group("Tracked scripts/", "track_script", Tracked),
    group("Tracked files/", "track_file", Tracked),
    group("Tracked BFDs/", "track_bfd", Tracked),
    group("Master state transition script", "notify_master", Script),
    group("Backup state transition script", "notify_backup", Script),
    group("Fault state transition script", "notify_fault", Script),
    group("Generic state transition script", "notify", Script),
    other("VRRP Scripts", "Command", "script", Script),
    other("VRRP Scripts", "Interval", "interval", Time),
    other("VRRP Scripts", "Timeout", "timeout", Time),
    other("VRRP Scripts", "Weight", "weight", WEIGHT),
    other("VRRP Scripts", "Rise", "rise", Number),
    other("VRRP Scripts", "Fall", "fall", Number),
    other("VRRP Track files", "File", "file", Text),
    other("VRRP Track files", "Weight", "weight", WEIGHT),
    other("Checker track files", "File", "file", Text),
    other("Checker track files", "Weight", "weight", WEIGHT),
    other("VRRP Track processes", "Process", "process", First),
    other("VRRP Track processes", "Min processes", "quorum", Number),
    other("VRRP Track processes", "Weight", "weight", WEIGHT),
    other("VRRP Track processes", "Terminate delay", "terminate_delay", Time),
    other("VRRP Track processes", "Fork delay", "fork_delay", Time),
    other("VRRP Track processes", "Full command", "full_command", Switch),
    other("VRRP Track BFDs", "Weight", "weight", WEIGHT),
    other("Virtual server group", "VIP", "*", GROUP_ADDRESS),
    other("Virtual server group", "VIP Range", "*", GROUP_RANGE),
    other("Virtual server group", "VPORT", "*", GROUP_PORT),
    other("Virtual server group", "FWMARK", "*", GROUP_MARK),
    service("connection timeout", "connect_timeout", CONNECT_TIMEOUT),
    service("delay_loop", "delay_loop", DELAY_LOOP),
    service("lvs_sched", "lvs_sched", Text),
    service("Hashed", "hashed", Switch),
    service("sh-port", "sh-port", Switch),
    service("sh-fallback", "sh-fallback", Switch),
    service("mh-port", "mh-port", Switch),
    service("mh-fallback", "mh-fallback", Switch),
    service("Warmup", "warmup", DELAY),
    service("One packet scheduling", "ops", Switch),
    service("persistence timeout", "persistence_timeout", Time),
    service("protocol", "protocol", Default("none")),
    service("alpha", "alpha", Switch),
    service("omega", "omega", Switch),
    service("Inhibit on failure", "inhibit_on_failure", Switch),
    service("quorum", "quorum", Number),
    service("hysteresis", "hysteresis", Number),
    service("Using smtp notification", "smtp_alert", Switch),
    service("default forwarding method", "lvs_method", METHOD),
    service("VirtualHost", "virtualhost", Text),
    service("Retry count", "retry", COUNT),
    service("Retry delay", "delay_before_retry", DELAY),
    service("sorry server", "sorry_server", SORRY),
    service("sorry server (duplicates rs)", "sorry_server", SORRY),
    service("sorry server/forwarding method", "sorry_server_lvs_method", METHOD),
    service("sorry server (duplicates rs)/forwarding method", "sorry_server_lvs_method", METHOD),
    service("sorry server/Inhibit on failure", "sorry_server_inhibit", Switch),
    service("sorry server (duplicates rs)/Inhibit on failure", "sorry_server_inhibit", Switch),
    service("Quorum up notify script", "quorum_up", Script),
    service("Quorum down notify script", "quorum_down", Script),
    service("Using HA suspend", "ha_suspend", On),
    real("WEIGHT", "weight", Number),
    real("initial weight", "weight", Number),
    real("forwarding method", "lvs_method", METHOD),
    real("Alpha", "alpha", Switch),
    real("connection limit range", "lthreshold", LIMITS),
    real("connection timeout", "connect_timeout", CONNECT_TIMEOUT),
    real("Delay loop", "delay_loop", DELAY_LOOP),
    real("Inhibit on failure", "inhibit_on_failure", Switch),
    real("Using smtp notification", "smtp_alert", Switch),
    real("Retry count", "retry", COUNT),
    real("Retry delay", "delay_before_retry", DELAY),
    real("Warmup", "warmup", DELAY),
    real("RS down notify script", "notify_down", Script),
    checker("Alpha", "alpha", Switch),
    checker("Delay loop", "delay_loop", Time),
    checker("Warmup", "warmup", Time),
    checker("Retries", "retry", Number),
    checker("script", "misc_path", Script),
    checker("timeout", "misc_timeout", Time),
    checker("dynamic", "misc_dynamic", Switch),
    checker("Connection/Timeout", "connect_timeout", Time),
    checker("Delay before retry", "delay_before_retry", Time),
    checker("helo", "helo_name", Text),
    checker("Type", "type", Text),
    checker("Name", "name", Text),
    checker("Connection/Dest", "connect_port", DESTINATION),
    checker("Connection/Bind to", "bindto", BIND),
    checker("Checked url", "url/path", IF_SET),
    checker("Checked url/digest", "url/digest", IF_SET),
    checker("Checked url/Virtual host", "url/virtualhost", IF_SET),
    checker("Checked url/HTTP Status Code(s)", "url/status_code", STATUS_CODES),
    checker("Checked url/Regex", "url/regex", REGEX),
    checker("Enable SNI unset", "enable_sni", Off),
    checker("Fast recovery unset", "fast_recovery", Off),
    checker("Keepalive method/Tracked file", "track_file", Text),
    checker("Require reply", "require_reply", SET),
    checker("Payload specified", "payload", SET),
];

const fn left(section: &'static str, field: &'static str, reason: &'static str) -> LeftOut {
    LeftOut { section, field, reason }
}

/// What the value follows from is compared instead.
const DERIVED: &str = "follows from other fields";
const HEADING: &str = "the heading of a list";
const PERSONS: &str = "e-mail addresses of persons are not recorded";
const NUMBERS: &str = "numbers of users of the machine where it was recorded";

pub(crate) const LEFT_OUT: &[LeftOut] = &[
    left("Global definitions", "Default script uid:gid", NUMBERS),
    left("Global definitions", "Email notification from", PERSONS),
    left("Global definitions", "Email notification to", HEADING),
    left("Global definitions", "Email notification to/", PERSONS),
    left("VRRP Topology", "Flags", HEADING),
    left("VRRP Topology", "Sync group", DERIVED),
    left("VRRP Topology", "Multicast address", DERIVED),
    left("VRRP Topology", "Virtual IP", HEADING),
    left("VRRP Topology", "Virtual IP Excluded", HEADING),
    left("VRRP Topology", "Virtual Routes", HEADING),
    left("VRRP Topology", "Virtual Rules", HEADING),
    left("VRRP Topology", "Tracked scripts", HEADING),
    left("VRRP Topology", "Tracked files", HEADING),
    left("VRRP Topology", "Tracked interfaces", HEADING),
    left("VRRP Topology", "Tracked processes", HEADING),
    left("VRRP Topology", "Tracked BFDs", HEADING),
    left("VRRP Topology", "Unicast Peer", HEADING),
    left("VRRP Sync groups", "VRRP member instances", HEADING),
    left("VRRP Sync groups", "Tracked interfaces", HEADING),
    left("VRRP Sync groups", "Tracked process", HEADING),
    left("VRRP Sync groups", "Tracked scripts", HEADING),
    left("VRRP Sync groups", "Tracked files", HEADING),
    left("VRRP Sync groups", "Tracked BFDs", HEADING),
    left("VRRP Scripts", "Script uid:gid", NUMBERS),
    left("VRRP Scripts", "Insecure", "says what the file of the script is like"),
    left("Virtual server group", "IPv4", DERIVED),
    left("Virtual server group", "IPv6", DERIVED),
    left("Virtual server", "Address family", DERIVED),
    left("Virtual server", "flag-1", "another name of sh-port and mh-port"),
    left("Virtual server", "flag-2", "another name of sh-fallback and mh-fallback"),
    left("Virtual server", "flag-3", "the kernel has no scheduler with it"),
    left("Real server", "Tracked Files", HEADING),
    left("Real server", "Tracked Files/", "the FILE_CHECK is compared"),
    left("Real server", "Tracked BFDs", HEADING),
    left("Real server", "Tracked BFDs/", "the BFD_CHECK is compared"),
    left("Health checkers", "uid:gid", NUMBERS),
    left("Health checkers", "Keepalive method", DERIVED),
    left("Health checkers", "Connection", HEADING),
    left("Health checkers", "Retries iterations", DERIVED),
    left("Health checkers", "Log all failures", DERIVED),
    left("Health checkers", "Default delay before retry", DERIVED),
];

/// `unset`, or a switch.
const UNSET_OR_SWITCH: Compare = Special(switch, |_, line| match line.set {
    false => vec!["unset".to_owned()],
    true => vec![switch(&words(line))],
});

const ZERO_IF_UNSET: Compare =
    Special(number, |_, line| vec![if line.set { number(&words(line)) } else { "0".to_owned() }]);

const AUTO_PRIORITY: Compare = Special(
    |text| if text == "Disabled" { "-1".to_owned() } else { number(text) },
    |_, line| vec![if line.set { number(&words(line)) } else { "0".to_owned() }],
);

/// With a virtual interface, keepalived shows that first.
const INTERFACE: Compare = Special(
    |text| {
        let below = text.split_once(", vmac on ").map_or(text, |(_, below)| below);
        let name = below.split(',').next().unwrap_or(below);
        if name == "(none)" { String::new() } else { name.to_owned() }
    },
    |_, line| vec![words(line)],
);

const SMTP_PORT: Compare = Special(str::to_owned, |_, line| vec![line.words.get(1).map_or("25".to_owned(), plain)]);

const ALLOW_IF_CHANGES: Compare = Special(switch, |_, line| {
    let allowed = line.words.iter().any(|word| plain(word) == "allow_if_changes");
    vec![if allowed { "on" } else { "off" }.to_owned()]
});

/// The word after `option`.
fn after(line: &Setting, option: &str) -> Vec<String> {
    let words: Vec<_> = line.words.iter().map(plain).collect();
    let at = words.iter().position(|word| word == option);
    vec![at.and_then(|at| words.get(at + 1)).cloned().unwrap_or_default()]
}

/// keepalived calls both TCP.
const TCP_AND_UDP_TIMEOUT: Compare = Special(str::to_owned, |_, line| {
    let both = ["tcp", "udp"].map(|option| after(line, option)).concat();
    both.into_iter().filter(|time| !time.is_empty()).collect()
});
const TCP_FIN_TIMEOUT: Compare = Special(str::to_owned, |_, line| after(line, "tcpfin"));
const SYNC_INSTANCE: Compare = Special(str::to_owned, |_, line| after(line, "inst"));
const SYNC_ID: Compare = Special(str::to_owned, |_, line| after(line, "id"));

const FLUSH: Compare = Special(switch, |_, line| {
    let words = words(line).to_lowercase();
    vec![if words.is_empty() { switch(if line.set { "on" } else { "off" }) } else { words }]
});

const FIFO: Compare = Special(
    |text| text.split(", uid:gid").next().unwrap_or(text).to_owned(),
    |_, line| vec![line.words.first().map(plain).unwrap_or_default()],
);

const UNICAST: Compare = Special(
    |text| switch(if text == "Using unicast" { "on" } else { "off" }),
    |_, line| vec![switch(if line.set { "on" } else { "off" })],
);

/// Where none is given, keepalived shows an address of the interface.
const SOURCE: Compare = Special(
    |text| {
        let text = text.trim_end_matches(" (from configuration)");
        let of_host = text.starts_with("198.18.") || text.starts_with("fe80:") || text == "(none)";
        if of_host { String::new() } else { text.to_owned() }
    },
    |_, line| vec![words(line)],
);

const AUTHENTICATION: Compare = Special(
    |text| match text {
        "none" => String::new(),
        "SIMPLE_PASSWORD" => "PASS".to_owned(),
        "IPSEC_AH" => "AH".to_owned(),
        other => other.to_owned(),
    },
    |_, line| vec![words(line)],
);

const NOTIFY_DELETED: Compare = Special(
    |text| text.to_lowercase(),
    |_, line| {
        let word = words(line).to_lowercase();
        vec![match (line.set, word.as_str()) {
            (false, _) => "fault".to_owned(),
            (true, "") => "deleted".to_owned(),
            (true, word) => word.to_owned(),
        }]
    },
);

/// Where none is given, one of IPv6 has another name if there is one of IPv4 too.
const VMAC_NAME: Compare = Special(
    |text| text.replacen("vrrp6.", "vrrp.", 1),
    |place, line| {
        let given = after(line, "name").concat().replacen("vrrp6.", "vrrp.", 1);
        let number = place.word("virtual_router_id").unwrap_or_default();
        vec![if given.is_empty() { format!("vrrp.{number}") } else { given }]
    },
);

/// A line for each of the two says so.
const ACCEPT: Compare = Special(switch, |_, line| match line.keyword() {
    "accept" => vec![switch(if line.words.is_empty() && line.set { "on" } else { "off" })],
    "no_accept" if line.set => vec!["off".to_owned()],
    _ => Vec::new(),
});

const TTL: Compare = Special(number, |_, line| vec![if line.set { words(line) } else { "255".to_owned() }]);

const PEERS: Compare = Special(
    |text| text.trim_end_matches(" min_ttl 0 max_ttl 255").to_owned(),
    |_, line| entries(line).map(words).collect(),
);

/// What stands after the weight says that it is reversed.
const WEIGHT: Compare = Special(str::to_owned, |_, line| vec![words(line)]);

/// `NAT`, `DR`, or `TUN, type = IPIP`.
const METHOD: Compare = Special(
    |text| {
        let text = text.replace(", type =", "").replace([',', '='], "").replace("no checksum", "nocsum");
        text.replace("IPIP", "").to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
    },
    |_, line| vec![words(line).to_lowercase().replace("type ", "").replace("ipip", "").trim().to_owned()],
);

const CONNECT_TIMEOUT: Compare = Special(microseconds, |place, line| time_or(place, line, "5000000"));
const DELAY_LOOP: Compare = Special(microseconds, |place, line| time_or(place, line, "60000000"));
const DELAY: Compare = Special(microseconds, |place, line| time_or(place, line, "0"));
const COUNT: Compare =
    Special(number, |place, line| vec![place.effective(line).map_or("0".to_owned(), |line| number(&words(line)))]);

/// What holds, or keepalived's default.
fn time_or<'a>(place: &Place<'a>, line: &'a Setting, default: &str) -> Vec<String> {
    vec![place.effective(line).map_or(default.to_owned(), own_time)]
}

const LIMITS: Compare = Special(str::to_owned, |place, line| {
    let upper = place.word("uthreshold").unwrap_or_else(|| "0".to_owned());
    vec![format!("{} -> {upper}", words(line))]
});

/// `[ADDRESS]:PROTOCOL:PORT`.
const SORRY: Compare = Special(endpoint, |_, line| vec![words(line)]);

const IF_SET: Compare = Special(str::to_owned, |_, line| if line.set { vec![words(line)] } else { Vec::new() });

/// Without an address or port of its own, a checker asks those of its real server.
const DESTINATION: Compare = Special(str::to_owned, |place, line| {
    let real = endpoint(place.object.split_once(" -> ").map_or("", |(_, real)| real));
    let (address, port) = real.split_once(' ').unwrap_or_default();
    let address = place.word("connect_ip").unwrap_or_else(|| address.to_owned());
    let port = if line.set { words(line) } else { port.to_owned() };
    vec![format!("[{address}]:{port}")]
});

const BIND: Compare = Special(str::to_owned, |place, line| {
    let address = if line.set { words(line) } else { "0.0.0.0".to_owned() };
    vec![format!("[{address}]:{}", place.word("bind_port").unwrap_or_else(|| "0".to_owned()))]
});

/// The lines of a group: an address or a range with a port, or a firewall mark.
fn group_line(line: &Setting) -> (String, String) {
    let mut words = line.words.iter().map(plain);
    (words.next().unwrap_or_default(), words.next().unwrap_or_else(|| "0".to_owned()))
}

const GROUP_ADDRESS: Compare = Special(str::to_owned, |_, line| {
    let (first, _) = group_line(line);
    if first == "fwmark" || first.contains('-') { Vec::new() } else { vec![first] }
});
const GROUP_RANGE: Compare = Special(str::to_owned, |_, line| {
    let (first, _) = group_line(line);
    if first.contains('-') { vec![first] } else { Vec::new() }
});
const GROUP_PORT: Compare = Special(str::to_owned, |_, line| {
    let (first, port) = group_line(line);
    if first == "fwmark" { Vec::new() } else { vec![port] }
});
const GROUP_MARK: Compare = Special(str::to_owned, |_, line| {
    let (first, mark) = group_line(line);
    if first == "fwmark" { vec![mark] } else { Vec::new() }
});

/// One range for each word.
const STATUS_CODES: Compare = Special(str::to_owned, |_, line| line.words.iter().map(plain).collect());

const REGEX: Compare =
    Special(|text| text.trim_matches('"').to_owned(), |_, line| vec![words(line).trim_matches('"').to_owned()]);

const SET: Compare = Special(switch, |_, line| vec![switch(if line.set { "on" } else { "off" })]);

/// The keyword of the block that a section shows.
pub(crate) fn block(section: &str) -> &'static str {
    match section {
        "VRRP Topology" => "vrrp_instance",
        "VRRP Sync groups" => "vrrp_sync_group",
        "VRRP Scripts" => "vrrp_script",
        "VRRP Track files" | "Checker track files" => "track_file",
        "VRRP Track processes" => "vrrp_track_process",
        "VRRP Track BFDs" | "Checker track BFDs" | "BFD Topology" => "bfd_instance",
        "Virtual server group" => "virtual_server_group",
        "GARP delay group" => "garp_group",
        _ => "virtual_server",
    }
}
