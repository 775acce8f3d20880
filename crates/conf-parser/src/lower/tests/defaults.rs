//! What holds for a keyword that is not written is what the table says, and only the table says it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use crate::schema::default::changed;
use crate::schema::{Row, schema};
use crate::setting::Setting;
use crate::{MemoryLoader, Options, parse};

/// One of each block, with nothing but what it cannot do without.
const FILE: &str = "global_defs {\n}\nvrrp_script s {\nscript /bin/true\n}\ntrack_file f {\nfile /run/f\n}\n\
    vrrp_track_process p {\nprocess haproxy\n}\nbfd_instance b {\nneighbor_ip 192.0.2.3\n}\n\
    vrrp_sync_group G {\ngroup {\nV\n}\n}\nvrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n\
    virtual_server 192.0.2.10 80 {\nprotocol TCP\nreal_server 192.0.2.12 80 {\n}\n\
    real_server 192.0.2.11 80 {\n\
    TCP_CHECK {\n}\nPING_CHECK {\n}\nUDP_CHECK {\n}\nDNS_CHECK {\n}\nSMTP_CHECK {\n}\nHTTP_GET {\nurl {\npath /\nregex a\n}\n}\n\
    SSL_GET {\nurl {\npath /\nregex a\n}\n}\nMISC_CHECK {\nmisc_path /bin/true\n}\n}\n}\n";

/// Values that are none of the table's literals, by the text of their rows: they are worked out from other values.
const COMPUTED: &[&str] = &[
    "100, or 255 when state is MASTER",
    "255 for IPv4, 64 for IPv6",
    "MASTER when priority is 255, else BACKUP",
    "interval",
    "lvs_method of the virtual server",
    "on, off in strict mode unless priority is 255",
    "snmp_vs_stats_update_interval",
    "that of the real server",
    "that of the real server, else delay_loop",
    "vmac_prefix",
    "vrrp_down_timer_adverts",
    "vrrp_garp_lower_prio_delay, 0 in strict mode",
    "vrrp_garp_lower_prio_repeat, 0 in strict mode",
    "vrrp_garp_master_delay",
    "vrrp_garp_master_refresh",
    "vrrp_garp_master_refresh_repeat",
    "vrrp_garp_master_repeat",
    "vrrp_mcast_group4 or vrrp_mcast_group6",
    "vrrp_version, 3 for IPv6",
    "weight of the virtual server",
];

/// Rows whose literal no value starts from, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("fwmark", "0 is no mark: a checker without one holds nothing"),
    ("vrrp_lower_prio_no_advert", "without it strict mode decides"),
    ("vrrp_priority", "without it the daemon decides"),
    ("checker_priority", "without it the daemon decides"),
    ("bfd_priority", "without it the daemon decides"),
];

/// A keyword that nobody wrote.
struct Absent {
    row: &'static Row,
    /// What holds.
    shown: String,
}

/// The default of a row as a value, with what stands around it in the column.
struct Literal {
    text: &'static str,
    before: &'static str,
    after: &'static str,
}

impl Absent {
    /// The literal that it starts from; none for what is not set, and for what is worked out.
    fn literal(&self) -> Option<Literal> {
        let text = self.row.default_text();
        let (before, after) = self.row.default.rsplit_once(text).filter(|(_, after)| ["", ")"].contains(after))?;
        // A value of zero that cannot be written is not shown.
        let zero = self.shown == "off" && text == "0";
        // Of what is no switch, "off" says that it is not there.
        let switch = self.row.takes_switch() || !["on", "off"].contains(&text);
        let computed = COMPUTED.contains(&self.row.default);
        (switch && !computed && (zero || self.shown == text)).then_some(Literal { text, before, after })
    }
}

fn shown(setting: &Setting) -> String {
    let words: Vec<_> = setting.words.iter().map(ToString::to_string).collect();
    match (setting.set, words.is_empty()) {
        (false, _) => "off".to_owned(),
        (true, true) => "on".to_owned(),
        (true, false) => words.join(" "),
    }
}

fn collect(settings: &[Setting], found: &mut Vec<Absent>) {
    for setting in settings {
        collect(setting.body.as_deref().unwrap_or_default(), found);
        if let Some(row) = setting.row.filter(|_| setting.written.is_none() && setting.body.is_none()) {
            found.push(Absent { row, shown: shown(setting) });
        }
    }
}

/// What holds for every keyword that is not written.
fn absent() -> Vec<Absent> {
    let loader = MemoryLoader::new([("k.conf", FILE)]);
    let parsed = parse(&loader, Path::new("k.conf"), &Options::default());
    let mut found = Vec::new();
    collect(&parsed.config.settings(), &mut found);
    found
}

/// Another value that the row could have.
fn another(row: &Row, text: &str) -> String {
    let number = |number: i64| {
        let next = i128::from(number + 1) * 1_000_000;
        let fits = row.bounds.is_none_or(|(least, most)| (least..=most).contains(&next));
        (if fits { number + 1 } else { number - 1 }).to_string()
    };
    match text {
        "on" => "off".to_owned(),
        "off" => "on".to_owned(),
        "wlc" => "rr".to_owned(),
        "200-299" => "200-298".to_owned(),
        "0177" => "0077".to_owned(),
        _ if row.keyword == "vrrp_ipsets" => text.replace("keepalived", "other"),
        _ if row.arguments.contains('|') => {
            row.arguments.split(['|', ' ']).find(|word| *word != text).unwrap_or_default().to_owned()
        }
        _ if text.parse::<IpAddr>().is_ok() => format!("{text}1"),
        _ => text.parse().map_or_else(|_| format!("{text}x"), number),
    }
}

/// The rows that change with `row`: one type stands for both kinds of pages, and hysteresis stays below the quorum.
fn together(row: &'static Row, column: &'static str) -> Vec<(&'static Row, &'static str)> {
    let lookup = |block: &str, keyword| schema().lookup(block, keyword);
    let page = lookup(&row.block.replace("HTTP_GET", "SSL_GET"), row.keyword).into_iter();
    let page = page.chain(lookup(&row.block.replace("SSL_GET", "HTTP_GET"), row.keyword));
    let page = page.filter(|twin| twin.number != row.number).inspect(|twin| assert_eq!(twin.default, row.default));
    let quorum = lookup("virtual_server", "quorum").filter(|_| row.keyword == "hysteresis");
    std::iter::once((row, column)).chain(page.map(|twin| (twin, column))).chain(quorum.map(|row| (row, "2"))).collect()
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[test]
fn a_default_that_changes_in_the_table_changes_in_the_configuration() {
    let (mut changed, mut wrong) = (0, Vec::new());
    for absent in absent().iter().filter(|absent| OTHERWISE.iter().all(|(keyword, _)| *keyword != absent.row.keyword)) {
        let Some(Literal { text, before, after }) = absent.literal() else { continue };
        let row = absent.row;
        let other = another(row, text);
        let rows = together(row, leak(format!("{before}{other}{after}")));
        let then = changed::with(&rows, self::absent);
        changed += 1;
        if !then.iter().any(|absent| absent.row.number == row.number && absent.shown == other) {
            wrong.push(format!("{} {}: {text} in the table does not become {other}", row.block, row.keyword));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(changed > 90, "{changed}");
}

#[test]
fn what_is_not_a_literal_is_worked_out_or_not_there() {
    let absent = absent();
    let others = absent.iter().filter(|absent| absent.literal().is_none() && absent.shown != "off");
    let texts: BTreeSet<_> = others.map(|absent| absent.row.default).collect();
    assert_eq!(texts, COMPUTED.iter().copied().chain(["off"]).collect());
    for absent in absent.iter().filter(|absent| absent.shown == "off") {
        let number = absent.row.default.parse::<f64>().is_ok_and(|number| number != 0.0);
        assert!(!number && absent.row.default != "on", "{} {}", absent.row.block, absent.row.keyword);
    }
}
