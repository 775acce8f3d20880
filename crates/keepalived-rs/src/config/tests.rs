//! What the table says of each word, held against what the workers are told.

use std::path::Path;

use conf_parser::schema::{Kind, Row, Support, schema};
use conf_parser::{Config, MemoryLoader, Options, parse};

use super::checker::{CheckerPart, MarkingPart};
use super::runner::RunnerPart;
use super::vrrp::VrrpPart;
use crate::ipc;

/// Block, keyword, and the lines that use it, of every word of the language.
const EXAMPLES: &[&str] = &[
    include_str!("../../../conf-parser/tests/examples/global.tsv"),
    include_str!("../../../conf-parser/tests/examples/vrrp.tsv"),
    include_str!("../../../conf-parser/tests/examples/tracking.tsv"),
    include_str!("../../../conf-parser/tests/examples/routes.tsv"),
    include_str!("../../../conf-parser/tests/examples/lvs.tsv"),
    include_str!("../../../conf-parser/tests/examples/checkers.tsv"),
    include_str!("../../../conf-parser/tests/examples/bfd.tsv"),
];

/// Words that are acted on and whose example cannot show it, and why.
const SILENT: &[(&str, &str, &str)] = &[
    ("global_defs", "vrrp_rx_bufs_multiplier", "it counts for a policy, and its example has none"),
    ("global_defs", "vrrp_owner_ignore_adverts", "no instance of the example owns its addresses"),
    ("global_defs", "default_interface", "every instance here has an interface"),
    ("global_defs", "vrrp_netlink_cmd_rcv_bufs_force", "it goes with a size"),
    ("global_defs", "vrrp_netlink_monitor_rcv_bufs_force", "it goes with a size"),
    ("global_defs/dynamic_interfaces", "allow_if_changes", "interfaces may always change"),
    ("linkbeat_interfaces", "MII", "it is asked first anyway"),
    ("global_defs", "vrrp_ipsets", "nftables has sets of its own"),
    ("vrrp_instance", "accept", "the default outside strict mode"),
    ("vrrp_instance", "no_virtual_ipaddress", "it permits, and the example has an address"),
    ("vrrp_instance", "native_ipv6", "the addresses say it too"),
    ("vrrp_instance", "use_vmac_addr", "the addresses of the example are on the interface of the instance"),
    ("vrrp_instance/use_ipvlan", "bridge", "the default"),
    ("vrrp_instance/state", "BACKUP", "the default"),
    ("vrrp_instance/auth_hmac/anti_replay", "time", "the default"),
    ("vrrp_instance/auth_hmac/mode", "enforce", "the default"),
    ("vrrp_instance/track_script", "noreverse", "the default of the script too"),
    ("vrrp_instance/track_file", "noreverse", "the default of the file too"),
    ("vrrp_instance/track_process", "noreverse", "the default of the process too"),
    ("vrrp_sync_group/track_script", "noreverse", "the default of the script too"),
    ("vrrp_sync_group/track_file", "noreverse", "the default of the file too"),
    ("vrrp_sync_group/track_process", "noreverse", "the default of the process too"),
    ("", "track_group", "no static line of the example names it"),
    ("track_group", "group", "no static line names the group"),
    ("track_group/group", "<vrrp_instance>", "no static line names the group"),
    ("global_defs", "default_interface", "no static address of the example is without dev"),
    ("static_ipaddress", "track_group", "there is no such group in the example"),
    ("static_routes", "track_group", "there is no such group in the example"),
    ("static_rules", "track_group", "there is no such group in the example"),
    ("static_routes", "inet", "the default"),
    ("static_routes", "prepend", "the default"),
    ("static_rules", "inet", "the default"),
    ("static_rules", "table", "a name for which the host has to be asked"),
    ("vrrp_instance/virtual_routes", "inet", "the default"),
    ("vrrp_instance/virtual_routes", "prepend", "the default"),
    ("vrrp_instance/virtual_rules", "inet", "the default"),
    ("vrrp_instance/virtual_rules", "table", "a name for which the host has to be asked"),
    ("global_defs/lvs_sync_daemon", "inst", "there is no such instance in the example"),
    ("global_defs/lvs_timeouts", "tcp", "0 leaves the time as it is"),
    ("", "virtual_server_group", "no virtual server of the example names it"),
    ("virtual_server_group", "inet", "the default"),
    ("virtual_server", "ip_family", "the default: its option inet6 is not"),
    ("virtual_server/ip_family", "inet", "the default"),
    ("virtual_server/lvs_sched", "wlc", "the default"),
    ("virtual_server/protocol", "UDP", "the default"),
    ("virtual_server/lvs_method", "NAT", "the default"),
    ("virtual_server/lvs_method", "ipip", "the default"),
    ("virtual_server/lvs_method", "nocsum", "the default"),
    ("virtual_server/real_server/lvs_method", "NAT", "the default"),
    ("virtual_server/real_server/lvs_method", "ipip", "the default"),
    ("virtual_server/real_server/lvs_method", "nocsum", "the default"),
    ("virtual_server/sorry_server_lvs_method", "NAT", "the default"),
    ("virtual_server/sorry_server_lvs_method", "ipip", "the default"),
    ("virtual_server/sorry_server_lvs_method", "nocsum", "the default"),
    ("virtual_server/real_server/HTTP_GET/http_protocol", "1.0", "the default"),
    ("virtual_server/real_server/SSL_GET/http_protocol", "1.0", "the default"),
    ("virtual_server/real_server/SSL_GET", "enable_sni", "its example has no name to send"),
    ("virtual_server/real_server/FILE_CHECK/weight", "noreverse", "the default"),
    ("virtual_server/real_server/DNS_CHECK/type", "SOA", "the default"),
    ("virtual_server/real_server/UDP_CHECK", "min_reply_length", "no reply is required in its example"),
    ("virtual_server/real_server/UDP_CHECK", "max_reply_length", "no reply is required in its example"),
];

/// Words that are not acted on and whose example changes what a worker is told, and why.
const HEARD: &[(&str, &str, &str)] = &[
    ("virtual_server/real_server", "BFD_CHECK", UNCHECKED),
    ("virtual_server/real_server/HTTP_GET/url", "regex", UNCHECKED),
    ("virtual_server/real_server/SSL_GET/url", "regex", UNCHECKED),
];

const UNCHECKED: &str = "a server whose check cannot run counts as down, never as unchecked";

/// What the lists of an example may name.
const BEFORE: &str = "
vrrp_script chk {
    script /bin/true
}
track_file f {
    file /run/f
}
vrrp_track_process p {
    process haproxy
}
bfd_instance b {
    neighbor_ip 192.0.2.3
}
";

/// What `global_defs` may change.
const AFTER: &str = "
vrrp_instance X {
    interface eth0
    virtual_router_id 91
    track_script {
        s
        own
    }
    track_file {
        x
        own
    }
    track_process {
        x
        own
    }
    use_vmac
    virtual_ipaddress {
        192.0.2.91
        192.0.2.90 dev eth1 use_vmac
    }
}
vrrp_instance W {
    interface eth0
    virtual_router_id 92
    virtual_ipaddress { fe80::92 }
}
vrrp_instance N {
    interface eth0
    virtual_router_id 93
    no_accept
    dont_track_primary
    virtual_ipaddress { fe80::93 }
}
vrrp_instance U {
    interface eth0
    virtual_router_id 94
    unicast_peer { 192.0.2.8 }
    virtual_ipaddress { 192.0.2.96 }
}
virtual_server group own {
    protocol TCP
    lvs_sched rr
    lvs_method TUN
    real_server 192.0.2.95 80 { TCP_CHECK { } }
}
virtual_server 192.0.2.93 80 {
    protocol TCP
    lvs_sched rr
    lvs_method NAT
    real_server 192.0.2.94 80 { TCP_CHECK { } }
}
";

const CHECKERS: &str = "TCP_CHECK {\n}\nHTTP_GET {\nurl {\npath /\n}\n}\n";

/// The head of a block, the lines that it cannot do without, and the lines after the example.
fn frame(keyword: &str) -> (&'static str, &'static str, String) {
    let (head, needed) = match keyword {
        // The words around it mean nothing without it.
        "global_defs" => ("", "nftables_ipvs other\n"),
        "vrrp_instance" => ("V", "interface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.1/24 }\n"),
        "vrrp_sync_group" => ("G", "group { X W }\n"),
        "vrrp_script" => ("own", "script /bin/true\n"),
        "track_file" | "vrrp_track_file" => ("own", "file /run/own\n"),
        "garp_group" => ("", "garp_interval 1\n"),
        "vrrp_track_process" => ("own", "process own\n"),
        "authentication" => ("", "auth_type PASS\nauth_pass x\n"),
        "auth_hmac" => ("", "key 1 0123456789abcdef0123456789abcdef\nactive_key 1\n"),
        "virtual_server_group" => ("own", "192.0.2.3 80\n"),
        "virtual_server" => ("192.0.2.10 80", "protocol TCP\nlvs_sched rr\nlvs_method NAT\n"),
        "real_server" => ("192.0.2.11 80", ""),
        "HTTP_GET" | "SSL_GET" => ("", "url { path / }\n"),
        "MISC_CHECK" => ("", "misc_path /own\n"),
        "FILE_CHECK" => ("", "track_file f\n"),
        "url" => ("", "path /a\n"),
        _ => ("", ""),
    };
    let after = match keyword {
        "virtual_server" => format!("real_server 192.0.2.99 80 {{\n{CHECKERS}}}\n"),
        "real_server" => CHECKERS.to_owned(),
        _ => String::new(),
    };
    (head, needed, after)
}

fn first_word(line: &str) -> Option<&str> {
    line.split_whitespace().next()
}

/// A file with `lines` in the block at `path`.
fn file(path: &str, lines: &str) -> String {
    let (mut before, mut after) = (BEFORE.to_owned(), AFTER.to_owned());
    let mut at = String::new();
    let mut blocks = path.split('/').filter(|keyword| !keyword.is_empty()).peekable();
    while let Some(keyword) = blocks.next() {
        if schema().lookup(&at, keyword).is_none_or(|row| row.kind != Kind::Block) {
            // An option: its keyword is in the example.
            break;
        }
        let (head, needed, tail) = frame(keyword);
        let inner = blocks.peek().copied();
        let given =
            |line: &&str| first_word(line) == inner || lines.lines().any(|own| first_word(own) == first_word(line));
        let needed: String = needed.split_inclusive('\n').filter(|line| !given(line)).collect();
        before += &format!("{keyword} {head} {{\n{needed}");
        after.insert_str(0, &format!("{tail}}}\n"));
        at = if at.is_empty() { keyword.to_owned() } else { format!("{at}/{keyword}") };
    }
    format!("{before}{lines}\n{after}")
}

/// `lines` without what `row` stands for: the lines of a keyword, an option with what follows it on its line.
fn without(row: &Row, lines: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    for line in lines.split_inclusive('\n') {
        if row.kind == Kind::Option {
            let place = line.rfind(&format!(" {}", row.keyword)).filter(|_| !line.contains('{'));
            out += &place.map_or_else(|| line.to_owned(), |place| format!("{}\n", &line[..place]));
        } else if depth > 0 || first_word(line) == Some(row.keyword) {
            depth += line.matches('{').count();
            depth -= line.matches('}').count();
        } else {
            out += line;
        }
    }
    // A word that opens its line, or stands for a value.
    if row.kind == Kind::Option && out == lines { String::new() } else { out }
}

fn read(text: &str) -> Config {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default()).config
}

/// What a worker is told by a file.
fn told(worker: &str, text: &str) -> Vec<u8> {
    let mut config = read(text);
    match worker {
        "vrrp" => ipc::encode(&VrrpPart::from_config(&config)),
        "runner" => ipc::encode(&RunnerPart::from_config(&config)),
        // Its part is a copy of the blocks: what the libraries make of it counts.
        _ => {
            let part = CheckerPart::take_from(&mut config);
            let table = super::checker::tests::without_places(part.table.clone());
            let marking = part.marking.clone().map(MarkingPart::without_place);
            ipc::encode(&(super::checker::tests::carried_out(&part), &part.process, table, marking, &part.namespace))
        }
    }
}

fn examples() -> impl Iterator<Item = (&'static Row, String)> {
    EXAMPLES.iter().flat_map(|text| text.lines()).map(|line| {
        let fields: Vec<_> = line.splitn(3, '\t').collect();
        let [block, keyword, lines] = fields[..] else { panic!("not three fields: {line}") };
        let row = schema().lookup(block, keyword).unwrap_or_else(|| panic!("{block} {keyword} is not in the table"));
        (row, lines.replace("\\n", "\n"))
    })
}

/// Whether the example of `row` changes what `worker` is told.
fn reaches(worker: &str, row: &Row, lines: &str) -> bool {
    told(worker, &file(row.block, lines)) != told(worker, &file(row.block, &without(row, lines)))
}

fn is_in(list: &[(&str, &str, &str)], row: &Row) -> bool {
    list.iter().any(|(block, keyword, _)| (*block, *keyword) == (row.block, row.keyword))
}

const WORKERS: &[&str] = &["vrrp", "checker", "runner"];

#[test]
fn every_acted_word_reaches_its_worker() {
    let acted = |row: &Row| row.support == Support::Acted && WORKERS.contains(&row.worker);
    let (mut seen, mut wrong) = (0, Vec::new());
    for (row, lines) in examples().filter(|(row, _)| acted(row)) {
        let (reaches, silent) = (reaches(row.worker, row, &lines), is_in(SILENT, row));
        if reaches == silent {
            wrong.push(format!("{} {}, acted on by {}: {lines}", row.block, row.keyword, row.worker));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, schema().rows().filter(|row| acted(row)).count());
}

#[test]
fn a_word_that_nothing_acts_on_reaches_no_worker() {
    let mut wrong = Vec::new();
    for (row, lines) in examples().filter(|(row, _)| row.support != Support::Acted) {
        let reaches = WORKERS.iter().any(|worker| reaches(worker, row, &lines));
        if reaches != is_in(HEARD, row) {
            wrong.push(format!("{} {}: {lines}", row.block, row.keyword));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
