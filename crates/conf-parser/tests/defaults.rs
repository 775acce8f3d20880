//! What holds for a keyword that is not written is what the table says.
//!
//! The table's defaults that are numbers or switches are compared; the others are sentences.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::path::Path;

use conf_parser::schema::Row;
use conf_parser::setting::Setting;
use conf_parser::{MemoryLoader, Options, parse};

/// One of each block, with nothing but what it cannot do without.
const FILE: &str = "global_defs {\n}\nvrrp_script s {\nscript /bin/true\n}\ntrack_file f {\nfile /run/f\n}\n\
    vrrp_track_process p {\nprocess haproxy\n}\nbfd_instance b {\nneighbor_ip 192.0.2.3\n}\n\
    vrrp_sync_group G {\ngroup {\nV\n}\n}\nvrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n\
    virtual_server 192.0.2.10 80 {\nprotocol TCP\nlvs_sched rr\nlvs_method NAT\nreal_server 192.0.2.11 80 {\n\
    TCP_CHECK {\n}\nPING_CHECK {\n}\nUDP_CHECK {\n}\nDNS_CHECK {\n}\nSMTP_CHECK {\n}\nHTTP_GET {\nurl {\npath /\n}\n}\n\
    SSL_GET {\nurl {\npath /\n}\n}\nMISC_CHECK {\nmisc_path /bin/true\n}\n}\n}\n";

/// Words whose absence means something else, and why.
const OTHERWISE: &[(&str, &str, &str)] = &[
    ("bfd_instance", "vrrp", "without it and without `checker` both hear of the session"),
    ("bfd_instance", "checker", "without it and without `vrrp` both hear of the session"),
];

fn literal(row: &Row) -> bool {
    let number = row.default.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !row.default.is_empty();
    number || ["on", "off"].contains(&row.default)
}

fn shown(setting: &Setting) -> String {
    let words: Vec<_> = setting.words.iter().map(ToString::to_string).collect();
    match (setting.set, words.is_empty()) {
        (false, _) => "off".to_owned(),
        (true, true) => "on".to_owned(),
        (true, false) => words.join(" "),
    }
}

fn compare(settings: &[Setting], compared: &mut usize, wrong: &mut Vec<String>) {
    for setting in settings {
        compare(setting.body.as_deref().unwrap_or_default(), compared, wrong);
        let Some(row) = setting.row.filter(|row| literal(row) && setting.written.is_none() && setting.body.is_none())
        else {
            continue;
        };
        if OTHERWISE.iter().any(|(block, keyword, _)| (*block, *keyword) == (row.block, row.keyword)) {
            continue;
        }
        *compared += 1;
        let shown = shown(setting);
        // A value of zero that cannot be written is not shown.
        if shown != row.default && !(shown == "off" && row.default == "0") {
            wrong.push(format!("{} {}: {shown}, the table says {}", row.block, row.keyword, row.default));
        }
    }
}

#[test]
fn defaults_are_those_of_the_table() {
    let loader = MemoryLoader::new([("k.conf", FILE)]);
    let parsed = parse(&loader, Path::new("k.conf"), &Options::default());
    let (mut compared, mut wrong) = (0, Vec::new());
    compare(&parsed.config.settings(), &mut compared, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 120, "{compared}");
}
