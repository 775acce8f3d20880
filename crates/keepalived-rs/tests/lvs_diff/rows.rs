//! The configurations, and what happens to each while it runs.

mod marked;

/// One thing that happens to a running daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nobody listens any more where this real server is checked.
    Down(u8),
    /// Somebody listens there again.
    Up(u8),
    /// The file that stands for this real server holds a number.
    File(u8, u8),
    /// It holds this text, whether it was there or not.
    Text(u8, &'static str),
    /// It is not there any more.
    Gone(u8),
    /// The first virtual address comes to the host.
    AddressComes,
    /// It leaves.
    AddressGoes,
    /// The file becomes this one, and SIGHUP is sent.
    Reload(String),
}

/// A configuration and its story; a stop always ends it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) config: String,
    pub(crate) steps: Vec<Step>,
    /// Real servers where nobody listens at first.
    pub(crate) closed: Vec<u8>,
    /// Both daemons say this before the first table counts.
    pub(crate) starts_with: &'static str,
    /// More arguments of the daemon.
    pub(crate) arguments: &'static [&'static str],
}

impl Row {
    fn steps(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps.extend(steps);
        self
    }

    fn closed(mut self, servers: &[u8]) -> Self {
        self.closed.extend(servers);
        self
    }

    const fn starts_with(mut self, line: &'static str) -> Self {
        self.starts_with = line;
        self
    }

    const fn arguments(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }
}

fn row(name: &'static str, config: impl Into<String>) -> Row {
    let (steps, closed) = (Vec::new(), Vec::new());
    Row { name, config: GLOBAL.to_owned() + &config.into(), steps, closed, starts_with: STARTED, arguments: &[] }
}

fn reload(config: impl Into<String>) -> Step {
    Step::Reload(GLOBAL.to_owned() + &config.into())
}

const GLOBAL: &str = "global_defs {\n router_id test\n script_user root\n}\n";

/// Once every service is there.
const STARTED: &str = "Activating healthchecker for service";

/// Verdicts within a second.
const TIMING: &str = "delay_loop 0.5\n warmup 0\n retry 1\n delay_before_retry 0.1\n connect_timeout 3";

/// The first virtual address.
pub(crate) const VIP: &str = "198.18.0.100";
const VIP6: &str = "2001:db8:1::100";

/// Where the listeners of the real servers are.
pub(crate) const CHECKED_PORT: u16 = 9000;

/// Where the real servers of rows that name it answer over TLS.
pub(crate) const TLS_PORT: u16 = 9443;

/// A `virtual_server` block.
fn service(opening: &str, options: &str, servers: &[String]) -> String {
    format!("virtual_server {opening} {{\n {TIMING}\n {options}\n{}}}\n", servers.concat())
}

/// The usual service: TCP, port 80, weighted least connections.
fn web(options: &str, servers: &[String]) -> String {
    service(&format!("{VIP} 80"), &format!("protocol TCP\n {options}"), servers)
}

/// A `real_server` block with anything in it.
fn real(place: &str, inside: &str) -> String {
    format!(" real_server {place} {{\n  {inside}\n }}\n")
}

/// A check of a port where the test listens, or not.
const CHECK: &str = "TCP_CHECK {\n   connect_port 9000\n  }";

/// A checked real server.
fn server(number: u8, options: &str) -> String {
    real(&format!("192.0.2.1{number} 80"), &format!("{options}\n  {CHECK}"))
}

fn server6(number: u8, options: &str) -> String {
    real(&format!("2001:db8::1{number} 80"), &format!("{options}\n  {CHECK}"))
}

fn three() -> [String; 3] {
    [1, 2, 3].map(|number| server(number, ""))
}

/// Every row.
pub(crate) fn rows() -> Vec<Row> {
    [
        services(),
        scheduling(),
        forwarding(),
        persistence(),
        servers(),
        marks(),
        groups(),
        marked::rows(),
        pools(),
        notifications(),
        checkers(),
        reloads(),
    ]
    .concat()
}

use Step::{AddressComes, AddressGoes, Down, File, Gone, Text, Up};

fn services() -> Vec<Row> {
    vec![
        row("tcp", web("", &three())).steps([Down(2), Down(3), Up(2), Up(3)]),
        row("udp", service(&format!("{VIP} 53"), "protocol UDP\n lvs_sched rr", &three())).steps([Down(1), Up(1)]),
        row("sctp", service(&format!("{VIP} 3868"), "protocol SCTP\n lvs_sched rr", &three())),
        row("protocol_in_small_letters", service(&format!("{VIP} 80"), "protocol tcp", &three())),
        row("no_protocol", service(&format!("{VIP} 80"), "lvs_sched rr", &three())),
        row("unknown_protocol", service(&format!("{VIP} 80"), "protocol DCCP", &three())),
        row("ipv6", service(&format!("{VIP6} 80"), "protocol TCP\n lvs_sched wrr", &[1, 2].map(|n| server6(n, ""))))
            .steps([Down(1), Up(1)]),
        row("no_port", service(VIP, "protocol TCP\n persistence_timeout 60", &[real("192.0.2.11", CHECK)]))
            .steps([Down(1), Up(1)]),
        row("no_port_and_no_persistence", service(VIP, "protocol TCP", &[real("192.0.2.11", CHECK)])),
        row("no_real_server", web("", &[]) + &service(&format!("{VIP} 81"), "protocol TCP", &three())),
        row("the_same_service_twice", web("lvs_sched rr", &three()) + &web("lvs_sched wrr", &[server(1, "")])),
        row(
            "two_services_of_one_server",
            web("", &three())
                + &service(&format!("{VIP} 81"), "protocol TCP\n lvs_sched rr", &[server(2, ""), server(3, "")]),
        )
        .steps([Down(2), Up(2)]),
        row(
            "words_without_effect_on_the_table",
            web(
                "smtp_alert\n virtualhost www.example.org\n snmp_name web",
                &[server(1, "smtp_alert\n  virtualhost a.example.org\n  snmp_name first"), server(2, "")],
            ),
        ),
        row("address_and_family_agree", service(&format!("{VIP} 80"), "protocol TCP\n ip_family inet", &three())),
    ]
}

/// Every scheduler of the kernel.
pub(crate) const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos"];

fn scheduling() -> Vec<Row> {
    let each = SCHEDULERS.iter().zip(8001..).map(|(name, port)| {
        service(&format!("{VIP} {port}"), &format!("protocol TCP\n lvs_sched {name}"), &[server(1, ""), server(2, "")])
    });
    vec![
        row("every_scheduler", each.collect::<String>()),
        row("unknown_scheduler", web("lvs_sched nosuch", &three())),
        row("lb_algo", web("lb_algo sed", &three())),
        row("flags", web("lvs_sched rr\n flag-1\n flag-3", &three())),
        row("flag_2", web("lvs_sched sh\n flag-2", &three())),
        row("sh_port", web("lvs_sched sh\n sh-port", &three())).steps([Down(1), Up(1)]),
        row("sh_port_and_fallback", web("lvs_sched sh\n sh-port\n sh-fallback", &three())),
        row("sh_port_before_the_scheduler", web("sh-port\n lvs_sched sh", &three())),
        row("sh_port_of_another_scheduler", web("lvs_sched rr\n sh-port", &three())),
        row("mh_port", web("lvs_sched mh\n mh-port", &three())),
        row("mh_port_and_fallback", web("lvs_sched mh\n mh-port\n mh-fallback", &three())),
        row("hashed", web("lvs_sched sh\n hashed", &three())),
        row("ops", service(&format!("{VIP} 53"), "protocol UDP\n lvs_sched rr\n ops", &three())),
        row("ops_of_tcp", web("ops", &three())),
        row("ops_of_a_mark", service("fwmark 3", "lvs_sched rr\n ops", &three())),
    ]
}

fn forwarding() -> Vec<Row> {
    let method = |port: u16, words: &str| {
        service(
            &format!("{VIP} {port}"),
            &format!("protocol TCP\n lvs_method {words}"),
            &[real(&format!("192.0.2.11 {port}"), CHECK)],
        )
    };
    let tunnels = [
        "TUN",
        "TUN type ipip",
        "TUN type gue port 6080",
        "TUN type gue port 6080 nocsum",
        "TUN type gue port 6080 csum",
        "TUN type gue port 6080 remcsum",
        "TUN type gre",
        "TUN type gre csum",
    ];
    let tunnels = tunnels.iter().zip(8001..).map(|(words, port)| method(port, words));
    vec![
        row("forwarding_of_services", method(8001, "NAT") + &method(8002, "DR") + &method(8003, "TUN"))
            .steps([Down(1), Up(1)]),
        row("tunnels", tunnels.collect::<String>()),
        row("lb_kind", web("lb_kind DR", &three())),
        row(
            "forwarding_of_servers",
            web(
                "lvs_method DR",
                &[
                    server(1, "lvs_method NAT"),
                    server(2, "lvs_method TUN type gue port 6080 csum"),
                    server(3, "lvs_method TUN type gre"),
                ],
            ),
        )
        .steps([Down(2), Up(2)]),
        row("another_port_with_nat", web("", &[real("192.0.2.11 8080", CHECK), real("192.0.2.12 0", CHECK)])),
        row("another_port_with_dr", web("lvs_method DR", &[real("192.0.2.11 8080", CHECK), real("192.0.2.12", CHECK)])),
        row("another_port_with_tun", web("lvs_method TUN", &[real("192.0.2.11 8080", CHECK)])),
        row("ipv6_servers_of_an_ipv4_service", web("lvs_method TUN", &[server6(1, ""), server(2, "")]))
            .steps([Down(1), Up(1)]),
        row(
            "ipv4_servers_of_an_ipv6_service",
            service(&format!("{VIP6} 80"), "protocol TCP\n lvs_method TUN", &[server(1, ""), server6(2, "")]),
        ),
    ]
}

fn persistence() -> Vec<Row> {
    vec![
        row("persistence", web("persistence_timeout 120", &three())).steps([Down(1), Up(1)]),
        row("persistence_without_a_number", web("persistence_timeout", &three())),
        row("granularity", web("persistence_timeout 60\n persistence_granularity 255.255.255.0", &three())),
        row("granularity_alone", web("persistence_granularity 255.255.0.0", &three())),
        row(
            "granularity_of_ipv6",
            service(
                &format!("{VIP6} 80"),
                "protocol TCP\n persistence_timeout 60\n persistence_granularity 64",
                &[server6(1, "")],
            ),
        ),
        row(
            "persistence_engine",
            service(
                &format!("{VIP} 5060"),
                "protocol UDP\n lvs_sched rr\n persistence_timeout 60\n persistence_engine sip",
                &three(),
            ),
        ),
        row(
            "persistence_engine_alone",
            service(&format!("{VIP} 5060"), "protocol UDP\n lvs_sched rr\n persistence_engine sip", &three()),
        ),
        row("persistence_engine_of_tcp", web("persistence_engine sip\n persistence_timeout 60", &three())),
    ]
}

fn servers() -> Vec<Row> {
    vec![
        row("weights", web("weight 7", &[server(1, "weight 0"), server(2, "weight 300"), server(3, "")]))
            .steps([Down(2), Up(2)]),
        row(
            "weights_at_the_limit",
            web("", &[server(1, "weight 65535"), server(2, "weight 65536"), server(3, "weight 2000000")]),
        ),
        row("thresholds", web("", &[server(1, "uthreshold 100\n  lthreshold 50"), server(2, "uthreshold 10")]))
            .steps([Down(1), Up(1)]),
        row(
            "thresholds_the_wrong_way_round",
            web("", &[server(1, "uthreshold 10\n  lthreshold 50"), server(2, "lthreshold 5")]),
        ),
        row("the_same_server_twice", web("", &[server(1, "weight 3"), server(1, "weight 5"), server(2, "")])),
        row("no_checker", web("", &[real("192.0.2.11 80", "weight 2"), server(2, "")])).steps([Down(2), Up(2)]),
        row("inhibit_on_failure", web("inhibit_on_failure", &three())).steps([Down(1), Down(2), Up(1), Up(2)]),
        row(
            "inhibit_on_failure_of_servers",
            web(
                "inhibit_on_failure",
                &[server(1, "inhibit_on_failure no"), server(2, "inhibit_on_failure"), server(3, "")],
            ),
        )
        .steps([Down(1), Down(2), Up(1), Up(2)]),
        row("alpha", web("alpha", &three()))
            .closed(&[2])
            .starts_with("TCP connection to [192.0.2.13]:tcp:80 success")
            .steps([Up(2)]),
        row("alpha_of_servers", web("", &[server(1, "alpha"), server(2, "alpha no"), server(3, "")]))
            .closed(&[1])
            .starts_with("TCP connection to [192.0.2.13]:tcp:80 success")
            .steps([Up(1)]),
        row("alpha_and_inhibit", web("alpha\n inhibit_on_failure", &three()))
            .closed(&[1])
            .starts_with("TCP connection to [192.0.2.13]:tcp:80 success")
            .steps([Up(1), Down(1)]),
        row(
            "timing_of_servers",
            service(
                &format!("{VIP} 80"),
                "protocol TCP\n delay_loop 30\n warmup 20\n retry 3\n delay_before_retry 10\n connect_timeout 9",
                &[
                    server(1, "delay_loop 0.5\n  warmup 0\n  retry 1\n  delay_before_retry 0.1\n  connect_timeout 2"),
                    server(2, ""),
                ],
            ),
        )
        .steps([Down(1), Up(1)]),
    ]
}

fn marks() -> Vec<Row> {
    vec![
        row("mark", service("fwmark 7", "lvs_sched wrr", &[server(1, "weight 3"), server(2, "")]))
            .steps([Down(1), Up(1)]),
        row("mark_of_ipv6", service("fwmark 8", "ip_family inet6", &[server6(1, "")])),
        row("mark_whose_servers_tell_the_family", service("fwmark 9", "", &[server6(1, ""), server6(2, "")])),
        row("mark_with_dr", service("fwmark 10", "lvs_method DR", &[server(1, ""), real("192.0.2.12", CHECK)]))
            .steps([Down(1), Up(1)]),
        row("mark_with_nat_and_no_port", service("fwmark 11", "", &[real("192.0.2.12", CHECK)])),
        row(
            "mark_whose_servers_are_all_tunnelled",
            service("fwmark 12", "lvs_method TUN\n ip_family inet6", &[server(1, "")]),
        ),
        row(
            "mark_with_persistence",
            service("fwmark 13", "persistence_timeout 300\n persistence_granularity 255.255.255.0", &three()),
        ),
        row("mark_and_protocol", service("fwmark 14", "protocol UDP", &three())),
    ]
}

fn group(name: &str, members: &str) -> String {
    format!("virtual_server_group {name} {{\n {members}\n}}\n")
}

fn groups() -> Vec<Row> {
    let of = |members: &str, options: &str, servers: &[String]| {
        group("G", members) + &service("group G", &format!("protocol TCP\n {options}"), servers)
    };
    vec![
        row("group", of("198.18.0.100 80\n 198.18.0.101 81", "", &three())).steps([Down(1), Up(1)]),
        row("group_of_a_range", of("198.18.0.100-103 80", "lvs_sched rr", &[server(1, ""), server(2, "")]))
            .steps([Down(1), Up(1)]),
        row("group_of_a_range_with_two_ends", of("198.18.0.252-198.18.0.254 80", "lvs_sched rr", &[server(1, "")])),
        row("group_of_a_prefix", of("198.18.0.96/30 80", "lvs_sched rr", &[server(1, "")])),
        row(
            "group_of_ipv6",
            of(
                "2001:db8:1::a-10 80\n 2001:db8:1::200-2001:db8:1::201 80\n 2001:db8:1::300/127 80",
                "",
                &[server6(1, "")],
            ),
        ),
        row("group_of_marks", of("fwmark 21\n fwmark 22", "", &three())).steps([Down(1), Up(1)]),
        row(
            "group_of_marks_of_both_families",
            of("fwmark 23 inet\n fwmark 24 inet6", "lvs_method TUN", &[server(1, ""), server6(2, "")]),
        ),
        row(
            "group_of_addresses_and_marks",
            of("198.18.0.100 80\n fwmark 25", "", &[server(1, ""), server(2, "weight 4")]),
        )
        .steps([Down(2), Up(2)]),
        row(
            "group_without_port",
            of("198.18.0.100\n 198.18.0.101", "persistence_timeout 50", &[real("192.0.2.11", CHECK)]),
        ),
        row(
            "group_with_a_sorry_server",
            of("198.18.0.100 80\n 198.18.0.101 80", "sorry_server 192.0.2.19 80\n quorum 2", &three()),
        )
        .steps([Down(1), Down(2), Up(1)]),
        row("group_of_two_services", {
            let members = group("G", "198.18.0.100 80");
            members
                + &service("group G", "protocol TCP", &[server(1, "")])
                + &service("group G", "protocol UDP\n lvs_sched rr", &[server(2, "")])
        }),
        row("group_that_changes", of("198.18.0.100 80\n 198.18.0.101 80", "", &[server(1, ""), server(2, "")])).steps(
            [Down(2), reload(of("198.18.0.101 80\n 198.18.0.102 80", "", &[server(1, ""), server(2, "")])), Up(2)],
        ),
    ]
}

fn pools() -> Vec<Row> {
    vec![
        row("quorum_without_sorry_server", web("quorum 2", &three())).steps([Down(1), Down(2), Down(3), Up(1), Up(2)]),
        row("sorry_server", web("sorry_server 192.0.2.19 8080", &[server(1, ""), server(2, "")])).steps([
            Down(1),
            Down(2),
            Up(2),
            Up(1),
        ]),
        row("sorry_server_and_quorum", web("quorum 2\n sorry_server 192.0.2.19 80", &three())).steps([
            Down(1),
            Down(2),
            Up(2),
            Up(1),
        ]),
        row("sorry_server_and_inhibit", web("quorum 2\n sorry_server 192.0.2.19 80\n inhibit_on_failure", &three()))
            .steps([Down(1), Down(2), Up(2)]),
        row("sorry_server_inhibit", web("sorry_server 192.0.2.19 80\n sorry_server_inhibit", &[server(1, "")]))
            .steps([Down(1), Up(1)]),
        row(
            "sorry_server_forwarding",
            web(
                "lvs_method DR\n sorry_server 192.0.2.19 80\n sorry_server_lvs_method TUN type gre csum",
                &[server(1, "")],
            ),
        )
        .steps([Down(1), Up(1)]),
        row("sorry_server_without_port", web("sorry_server 192.0.2.19", &[server(1, "")])).steps([Down(1), Up(1)]),
        row(
            "sorry_server_with_dr_and_another_port",
            web("lvs_method DR\n sorry_server 192.0.2.19 8080", &[server(1, "")]),
        )
        .steps([Down(1)]),
        row(
            "sorry_server_that_is_a_real_server",
            web("sorry_server 192.0.2.12 80\n quorum 2", &[server(1, ""), server(2, "weight 3")]),
        )
        .steps([Down(2), Down(1), Up(2)]),
        row("sorry_server_from_the_start", web("alpha\n sorry_server 192.0.2.19 80", &three()))
            .closed(&[1, 2, 3])
            .steps([Up(1), Down(1)]),
        row(
            "hysteresis",
            web(
                "quorum 4\n hysteresis 2\n sorry_server 192.0.2.19 80",
                &[server(1, "weight 2"), server(2, "weight 2"), server(3, "weight 3")],
            ),
        )
        .steps([Down(3), Down(2), Up(2), Up(3)]),
        row("hysteresis_not_below_quorum", web("quorum 2\n hysteresis 5\n sorry_server 192.0.2.19 80", &three()))
            .steps([Down(1), Down(2), Up(1)]),
        row("quorum_above_all_weights", web("quorum 20\n sorry_server 192.0.2.19 80", &three()))
            .steps([Down(1), Up(1)]),
        row("ha_suspend", web("ha_suspend", &three())).starts_with("Starting Healthcheck child").steps([
            AddressComes,
            Down(1),
            AddressGoes,
            AddressComes,
        ]),
        row("left_at_stop", web("", &three())).arguments(&["--dont-release-ipvs"]).steps([Down(1)]),
    ]
}

/// Scripts that note every change of the quorum.
const NOTED: &str = "quorum_up \"{dir}/note quorum up\"\n quorum_down \"{dir}/note quorum down\"";

/// A real server whose changes are noted.
fn noted(number: u8, options: &str) -> String {
    let notes = ["up", "down"].map(|what| format!("notify_{what} \"{{dir}}/note {number} {what}\"\n  "));
    server(number, &format!("{}{options}", notes.concat()))
}

fn notifications() -> Vec<Row> {
    let service =
        |options: &str, weight: &str| web(&format!("{options}\n {NOTED}"), &[1, 2, 3].map(|n| noted(n, weight)));
    let sorry = "sorry_server 192.0.2.19 80";
    let other = || web("", &[server(1, "")]).replacen(" 80 {", " 81 {", 1);
    vec![
        row("notes", service("", "")).steps([Down(1), Down(2), Down(3), Up(2), Up(1)]),
        row("notes_of_a_quorum", service("quorum 2", "")).steps([Down(1), Down(2), Down(3), Up(1), Up(2), Up(3)]),
        row("notes_with_a_sorry_server", service(&format!("quorum 2\n {sorry}"), "")).steps([
            Down(1),
            Down(2),
            Down(3),
            Up(1),
            Up(2),
            Up(3),
        ]),
        row("notes_with_hysteresis", service(&format!("quorum 4\n hysteresis 1\n {sorry}"), "weight 2")).steps([
            Down(1),
            Down(2),
            Up(2),
            Up(1),
        ]),
        row(
            "notes_with_inhibit",
            service(&format!("inhibit_on_failure\n quorum 3\n {sorry}\n sorry_server_inhibit"), ""),
        )
        .steps([Down(1), Up(1)]),
        row("notes_with_alpha", service(&format!("alpha\n {sorry}"), "")).closed(&[1, 2, 3]).steps([
            Up(1),
            Up(2),
            Down(1),
            Down(2),
        ]),
        row("notes_with_omega", service(&format!("omega\n {sorry}"), "")).steps([Down(1)]),
        row("notes_with_omega_and_quorum_lost", service("omega\n quorum 3", "")).steps([Down(1)]),
        row("notes_of_a_reload", service("quorum 2", "")).steps([
            Down(1),
            reload(service("quorum 3", "")),
            Up(1),
            reload(service("quorum 3", "weight 2")),
        ]),
        row("notes_of_servers_that_a_reload_removes", service("quorum 2", ""))
            .steps([reload(web(&format!("quorum 1\n {NOTED}"), &[noted(1, "")])), Down(1)]),
        row("notes_of_a_server_that_was_down_when_a_reload_removes_it", service("", "")).steps([
            Down(2),
            reload(web(NOTED, &[noted(1, ""), noted(3, "")])),
            Down(1),
        ]),
        row("notes_of_a_virtual_server_that_a_reload_removes", service("quorum 2", ""))
            .steps([Down(3), reload(other())]),
        row("notes_of_a_removed_virtual_server_with_omega", service("omega", "")).steps([Down(3), reload(other())]),
    ]
}

/// A server that goes and comes back four times, and scripts that take a second each. Not one of [`rows`].
pub(crate) fn slow_notifications() -> Row {
    let config = web(NOTED, &[noted(1, "")]).replace("/note ", "/note-slowly ");
    row("slow_notifications", config).steps([Down(1), Up(1), Down(1), Up(1), Down(1), Up(1), Down(1), Up(1)])
}

fn checkers() -> Vec<Row> {
    let misc = |number: u8, more: &str| {
        let check =
            format!("MISC_CHECK {{\n   misc_path \"{{dir}}/check {number}\"\n   misc_timeout 5\n   {more}\n  }}");
        real(&format!("192.0.2.1{number} 80"), &format!("weight 10\n  {check}"))
    };
    // Nobody ever listens there.
    let refused = |checker: &str, more: &str| {
        real("192.0.2.11 80", &format!("{checker} {{\n   connect_port 9001\n   {more}\n  }}"))
    };
    let url = "url {\n    path /\n    status_code 200\n   }";
    let page = |number: u8, more: &str, path: &str| {
        let url = format!("url {{\n    path {path}\n    status_code 200\n   }}");
        let check = format!("connect_port {TLS_PORT}\n   enable_sni\n   virtualhost a.example.org\n   {url}");
        real(&format!("192.0.2.1{number} 80"), &format!("{more}\n  SSL_GET {{\n   {check}\n  }}"))
    };
    let tracked = |number: u8, weight: &str| {
        let file = format!("track_file f{number} {{\n file {{dir}}/server-{number}\n {weight}\n}}\n");
        (
            file,
            real(
                &format!("192.0.2.1{number} 80"),
                &format!("weight 10\n  FILE_CHECK {{\n   track_file f{number}\n  }}"),
            ),
        )
    };
    let files = |weights: &[&str]| -> String {
        let file =
            |(number, weight)| format!("track_file f{number} {{\n file {{dir}}/server-{number}\n {weight}\n}}\n");
        (1..).zip(weights).map(file).collect()
    };
    let quorum_notes = "quorum_up \"{dir}/note quorum up\"\n quorum_down \"{dir}/note quorum down\"".to_owned();
    let notes =
        |number: u8| format!("notify_up \"{{dir}}/note {number} up\"\n  notify_down \"{{dir}}/note {number} down\"");
    let by_file = |number: u8, more: &str| {
        real(
            &format!("192.0.2.1{number} 80"),
            &format!("weight 10\n  {more}\n  FILE_CHECK {{\n   track_file f{number}\n  }}"),
        )
    };
    let ((file1, by_file1), (file2, by_file2)) = (tracked(1, "weight 0"), tracked(2, "weight 2"));
    vec![
        row("misc_check", web("", &[misc(1, ""), misc(2, "")])).steps([File(1, 1), File(1, 0)]),
        row("misc_check_dynamic", web("", &[misc(1, "misc_dynamic"), misc(2, "")])).steps([
            File(1, 7),
            File(1, 1),
            File(1, 2),
            File(1, 0),
        ]),
        row(
            "misc_check_of_two",
            web(
                "",
                &[
                    real(
                        "192.0.2.11 80",
                        &format!("MISC_CHECK {{\n   misc_timeout 5\n   misc_path \"{{dir}}/check 1\"\n  }}\n  {CHECK}"),
                    ),
                    server(2, ""),
                ],
            ),
        )
        .steps([File(1, 1), Down(1), File(1, 0), Up(1)]),
        row(
            "misc_check_without_its_script",
            web("", &[real("192.0.2.11 80", "MISC_CHECK {\n   misc_path /nowhere/check\n  }"), server(2, "")]),
        ),
        row("file_check", file1 + &file2 + &web("", &[by_file1, by_file2, server(3, "")])).steps([
            File(1, 1),
            File(2, 5),
            File(1, 0),
        ]),
        row(
            "file_check_of_odd_text",
            files(&["weight 0", "weight 1", "weight -1"]) + &web("", &[by_file(1, ""), by_file(2, ""), by_file(3, "")]),
        )
        .starts_with("")
        .steps([
            Text(1, ""),
            Text(1, "abc"),
            Text(1, "-1"),
            Text(1, "0"),
            Text(2, "abc"),
            Text(2, " 7 x"),
            Text(2, "0x10"),
            Text(2, "010"),
            Text(2, "-20"),
            Text(2, "4"),
            Text(2, "99999999999"),
            Text(2, "-99999999999"),
            Text(2, "-2147483647"),
            Text(2, "-2147483648"),
            Text(2, "70000"),
            Gone(2),
            Text(2, "3"),
            Text(1, "1"),
            Gone(1),
            Text(3, "4"),
            Text(3, "-3"),
            Text(3, "2147483647"),
            Text(3, "2147483648"),
            Text(3, ""),
        ]),
        row(
            "file_check_of_what_comes",
            "track_file f1 {\n file {dir}/server-7\n weight 2\n init_file 3\n}\n\
             track_file f2 {\n file {dir}/server-8\n weight 1\n}\n\
             track_file f3 {\n file {dir}/server-3\n weight 1\n init_file 4 overwrite\n}\n"
                .to_owned()
                + &web("", &[by_file(1, ""), by_file(2, ""), by_file(3, "")]),
        )
        .starts_with("")
        .steps([Text(8, "5"), Gone(8), Gone(7), Text(7, "1")]),
        row(
            "file_check_twice",
            files(&["weight 1", "weight 2", "weight 0"])
                + &web(
                    "",
                    &[
                        real(
                            "192.0.2.11 80",
                            "weight 10\n  FILE_CHECK {\n   track_file f1\n  }\n  FILE_CHECK {\n   track_file f2\n  }\n  \
                             FILE_CHECK {\n   track_file f1\n   weight -3\n  }\n  FILE_CHECK {\n   track_file f3\n  }",
                        ),
                        real(
                            "192.0.2.12 80",
                            "weight 10\n  FILE_CHECK {\n   track_file f1\n   weight 3 reverse\n  }\n  MISC_CHECK {\n   misc_path \"{dir}/check 2\"\n   \
                             misc_timeout 5\n   misc_dynamic\n  }",
                        ),
                        server(3, ""),
                    ],
                ),
        )
        .starts_with("")
        .steps([File(1, 1), File(2, 2), File(1, 3), File(3, 1), File(2, 7), File(3, 0), File(1, 0), File(2, 0)]),
        row("file_check_reloaded", files(&["weight 1", "weight 2", "weight 0"]) + &web("", &[by_file(1, ""), by_file(2, ""), by_file(3, "")]))
        .starts_with("")
        .steps([
            File(1, 2),
            File(2, 3),
            File(3, 1),
            reload(files(&["weight 3", "weight 2", "weight 0"]) + &web("", &[by_file(1, ""), by_file(2, ""), by_file(3, "")])),
            reload(files(&["weight 3", "weight 0", "weight 1"]) + &web("", &[by_file(1, ""), by_file(2, ""), by_file(3, "")])),
            reload(files(&["weight 3", "weight 0", "weight 1"]) + &web("", &[by_file(1, "").replace("weight 10", "weight 20"), by_file(2, ""), by_file(3, "")])),
            reload(files(&["weight 3", "weight 0", "weight 1"]).replace("/server-1", "/server-3") + &web("", &[by_file(1, "").replace("weight 10", "weight 20"), by_file(2, ""), by_file(3, "")])),
            File(3, 4),
            reload(files(&["weight 3", "weight 0", "weight 1"]) + &web("", &[by_file(1, ""), server(2, ""), by_file(3, "")])),
            reload(files(&["weight 3", "weight 0", "weight 1"]) + &web("", &[server(1, ""), by_file(2, ""), server(3, "")])),
        ]),
        row(
            "file_check_alpha",
            files(&["weight 1", "weight 0", "weight 0"])
                + &web(
                    &format!("alpha\n omega\n quorum 2\n {quorum_notes}"),
                    &[
                        by_file(1, &format!("inhibit_on_failure\n  {}", notes(1))),
                        by_file(2, &format!("inhibit_on_failure\n  {}", notes(2))),
                        by_file(3, &notes(3)),
                    ],
                ),
        )
        .starts_with("")
        .steps([File(1, 1), File(2, 1), File(3, 1), File(2, 0), File(3, 0)]),
        row(
            "file_check_at_the_start",
            "track_file f1 {\n file {dir}/server-1\n weight 0\n init_file 1 overwrite\n}\n\
             track_file f2 {\n file {dir}/server-2\n weight 2\n init_file 4 overwrite\n}\n"
                .to_owned()
                + &web(&quorum_notes, &[by_file(1, &notes(1)), by_file(2, &notes(2)), server(3, "")]),
        )
        .steps([File(1, 0), File(2, 1), File(1, 5)]),
        row(
            "file_check_reversed",
            "track_file f1 {\n file {dir}/server-1\n weight 0 reverse\n}\n\
             track_file f2 {\n file {dir}/server-2\n weight 0 reverse\n init_file 1 overwrite\n}\n\
             track_file f3 {\n file {dir}/server-3\n weight 2 reverse\n init_file 3 overwrite\n}\n"
                .to_owned()
                + &web("", &[by_file(1, ""), by_file(2, ""), by_file(3, "")]),
        )
        .starts_with("")
        .steps([File(1, 1), File(2, 0), File(2, 2), File(1, 0), File(3, 1)]),
        row(
            "file_check_of_great_numbers",
            files(&["weight 1", "weight 1", "weight 0"])
                + &web("", &[by_file(1, ""), by_file(2, "").replace("track_file f2", "track_file f2\n   weight 2147483647"), by_file(3, "")]),
        )
        .starts_with("")
        .steps([
            Text(1, "2147483647"),
            Text(1, "1"),
            Text(1, "2147483648"),
            Text(1, "2"),
            Text(1, "4294967295"),
            Text(1, "3"),
            Text(1, "4294967296"),
            Text(1, "-2147483649"),
            Text(1, "-4294967296"),
            Text(1, "-4294967295"),
            Text(1, "4"),
            Text(2, "2"),
            Text(2, "-2"),
            Text(2, "-1"),
            Text(3, "4294967296"),
            Text(3, "99999999999"),
        ]),
        row(
            "file_check_suspended",
            files(&["weight 0", "weight 2", "weight 1"])
                + &web("ha_suspend", &[by_file(1, ""), by_file(2, ""), server(3, "")]),
        )
        .starts_with("")
        .steps([File(1, 1), File(2, 3), AddressComes, File(2, 4), AddressGoes, File(1, 0)]),
        row("http_get", web("", &[refused("HTTP_GET", url), server(2, "")]))
            .starts_with("Removing service [192.0.2.11]"),
        row("ssl_get_of_pages", web("", &[page(1, "alpha", "/"), page(2, "", "/nowhere"), page(3, "", "/")]))
            .starts_with("Removing service [192.0.2.12]")
            .steps([reload(web("", &[page(1, "", "/nowhere"), page(2, "", "/"), page(3, "", "/")]))]),
        row("ssl_get", web("", &[refused("SSL_GET", url), server(2, "")])).starts_with("Removing service [192.0.2.11]"),
        row("smtp_check", web("", &[refused("SMTP_CHECK", ""), server(2, "")]))
            .starts_with("Removing service [192.0.2.11]"),
        row("dns_check", web("", &[refused("DNS_CHECK", "type A\n   name example.org"), server(2, "")]))
            .starts_with("Removing service [192.0.2.11]"),
        row("udp_check", web("", &[refused("UDP_CHECK", ""), server(2, "")]))
            .starts_with("Removing service [192.0.2.11]"),
        row("ping_check", web("", &[real("192.0.2.11 80", "alpha\n  PING_CHECK {\n  }"), server(2, "")]))
            .starts_with("Adding service [192.0.2.11]"),
        row(
            "bfd_check",
            "bfd_instance b {\n neighbor_ip 192.0.2.11\n source_ip 192.0.2.12\n}\n".to_owned()
                + &web("", &[real("192.0.2.11 80", "BFD_CHECK {\n   name b\n  }"), server(2, "")]),
        ),
    ]
}

fn reloads() -> Vec<Row> {
    let first = || web("", &three());
    vec![
        row("reload_of_the_same", first()).steps([reload(first()), Down(1), reload(first()), Up(1)]),
        row("reload_changes_weights", first())
            .steps([reload(web("weight 5", &[server(1, "weight 9"), server(2, ""), server(3, "")]))]),
        row("reload_adds_a_server", web("", &[server(1, "")])).steps([reload(first()), Down(3)]),
        row("reload_removes_a_server", first()).steps([
            Down(3),
            reload(web("", &[server(2, ""), server(3, "")])),
            Up(3),
        ]),
        row("reload_adds_a_service", first())
            .steps([reload(first() + &service(&format!("{VIP} 81"), "protocol TCP", &three())), Down(1)]),
        row("reload_removes_a_service", first() + &service(&format!("{VIP} 81"), "protocol TCP", &three()))
            .steps([reload(first())]),
        row("reload_removes_everything", first()).steps([reload("")]),
        row("reload_changes_the_scheduler", first())
            .steps([reload(web("lvs_sched sh\n sh-port", &three())), reload(first())]),
        row("reload_changes_persistence", first()).steps([
            reload(web("persistence_timeout 70\n persistence_granularity 255.255.255.0", &three())),
            reload(first()),
        ]),
        row("reload_changes_forwarding", first()).steps([reload(web("lvs_method DR", &three()))]),
        row("reload_changes_the_protocol", first()).steps([reload(service(
            &format!("{VIP} 80"),
            "protocol UDP",
            &three(),
        ))]),
        row("reload_while_a_server_is_down", first()).steps([Down(2), reload(web("lvs_sched rr", &three())), Up(2)]),
        row("reload_while_the_sorry_server_serves", web("sorry_server 192.0.2.19 80", &[server(1, "")])).steps([
            Down(1),
            reload(web("sorry_server 192.0.2.19 80", &[server(1, "weight 4")])),
            Up(1),
        ]),
        row("reload_while_the_sorry_server_serves_changes_it", web("sorry_server 192.0.2.19 80", &[server(1, "")]))
            .steps([Down(1), reload(web("sorry_server 192.0.2.18 80", &[server(1, "")])), Up(1)]),
        row("reload_turns_inhibit_on", first()).steps([Down(1), reload(web("inhibit_on_failure", &three())), Up(1)]),
        row("reload_turns_inhibit_off", web("inhibit_on_failure", &three())).steps([Down(1), reload(first()), Up(1)]),
        row("reload_raises_the_quorum", web("sorry_server 192.0.2.19 80", &three())).steps([
            Down(1),
            reload(web("quorum 3\n sorry_server 192.0.2.19 80", &three())),
            Up(1),
        ]),
        row("reload_changes_thresholds", web("", &[server(1, "uthreshold 10"), server(2, "")]))
            .steps([reload(web("", &[server(1, "uthreshold 20\n  lthreshold 5"), server(2, "")]))]),
    ]
}
