//! The examples in `tests/examples`, as files.

use std::path::Path;

use conf_parser::schema::{Kind, schema};
use conf_parser::{Config, Diagnostic, MemoryLoader, Options, Parsed, Severity, parse, setting};

const EXAMPLES: &[(&str, &str)] = &[
    ("global", include_str!("../examples/global.tsv")),
    ("vrrp", include_str!("../examples/vrrp.tsv")),
    ("tracking", include_str!("../examples/tracking.tsv")),
    ("routes", include_str!("../examples/routes.tsv")),
    ("lvs", include_str!("../examples/lvs.tsv")),
    ("checkers", include_str!("../examples/checkers.tsv")),
    ("bfd", include_str!("../examples/bfd.tsv")),
];

pub(crate) struct Example {
    pub(crate) block: &'static str,
    pub(crate) keyword: &'static str,
    pub(crate) lines: String,
}

pub(crate) fn examples() -> impl Iterator<Item = Example> {
    EXAMPLES.iter().flat_map(|(file, text)| {
        text.lines().map(move |line| {
            let mut fields = line.splitn(3, '\t');
            let (Some(block), Some(keyword), Some(lines)) = (fields.next(), fields.next(), fields.next()) else {
                panic!("{file}: not three fields: {line}");
            };
            Example { block, keyword, lines: lines.replace("\\n", "\n") }
        })
    })
}

/// The lines of a block that it cannot do without, and its head.
fn frame(keyword: &str) -> (&'static str, &'static str) {
    match keyword {
        "vrrp_instance" => ("V", "interface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.1/24 }\n"),
        "vrrp_sync_group" => ("G", "group { W }\n"),
        "vrrp_script" => ("chk", "script /bin/true\n"),
        "track_file" | "vrrp_track_file" => ("f", "file /run/f\n"),
        "vrrp_track_process" => ("p", "process haproxy\n"),
        "auth_hmac" => ("", "key 1 0123456789abcdef0123456789abcdef\nactive_key 1\n"),
        "authentication" => ("", "auth_type PASS\nauth_pass x\n"),
        "virtual_server" => ("192.0.2.10 80", "protocol TCP\nlvs_sched rr\nlvs_method NAT\n"),
        "real_server" => ("192.0.2.11 80", ""),
        "MISC_CHECK" => ("", "misc_path /bin/true\n"),
        "FILE_CHECK" => ("", "track_file tf\n"),
        "HTTP_GET" | "SSL_GET" => ("", "url { path / }\n"),
        "url" => ("", "path /a\n"),
        "track_group" => ("G", ""),
        "virtual_server_group" => ("G", ""),
        "bfd_instance" => ("B", "neighbor_ip 192.0.2.3\n"),
        "garp_group" => ("", "gna_interval 9\n"),
        _ => ("", ""),
    }
}

/// What stands after the example in its block.
fn tail(keyword: &str) -> &'static str {
    match keyword {
        "virtual_server" => "real_server 192.0.2.99 80 {\n}\n",
        "track_group" => {
            "}\nvrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.1\n}\n"
        }
        _ => "",
    }
}

/// What must stand before the block `path` or a block in `lines`.
fn declarations(path: &str, lines: &str) -> String {
    let mut out = String::new();
    let lists = path.starts_with("vrrp_instance") || path.starts_with("vrrp_sync_group") || path.is_empty();
    let tracks = |keyword| path.ends_with(keyword) && path.contains('/') || lists && lines.contains(keyword);
    let trackers = [
        ("track_script", "vrrp_script chk {\nscript /bin/true\nweight 5 reverse\n}\n"),
        ("/track_file", "track_file f {\nfile /run/f\n}\n"),
        ("track_file {", "track_file f {\nfile /run/f\n}\n"),
        ("track_process", "vrrp_track_process p {\nprocess haproxy\n}\n"),
        ("track_bfd", "bfd_instance b {\nneighbor_ip 192.0.2.3\nsource_ip 192.0.2.4\n}\n"),
    ];
    trackers.iter().filter(|(list, _)| tracks(list)).for_each(|(_, block)| out.push_str(block));
    if path.starts_with("vrrp_sync_group") {
        for (name, vrid) in [("W", 61), ("X", 62)] {
            let lines = format!("interface eth0\nvirtual_router_id {vrid}\nvirtual_ipaddress {{ 192.0.2.{vrid} }}\n");
            out.push_str(&format!("vrrp_instance {name} {{\n{lines}}}\n"));
        }
    }
    let has = |keyword| path.contains(keyword) || lines.contains(keyword);
    if lines.contains("track_group") && !lines.contains("track_group G {") {
        out.push_str("track_group G {\ngroup {\n}\n}\n");
    }
    if has("FILE_CHECK") {
        out.push_str("track_file tf {\nfile /tmp/tf\n}\ntrack_file other {\nfile /tmp/other\n}\n");
    }
    if has("BFD_CHECK") {
        out.push_str("bfd_instance b1 {\nneighbor_ip 192.0.2.9\n}\n");
    }
    out
}

/// The lines of `needed` that neither the example nor the block in which it stands replaces.
fn unless_replaced<'a>(needed: &'a str, lines: &'a str, inner: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let first = |line: &'a str| line.split_whitespace().next();
    let given = lines.lines().next().and_then(first);
    needed.split_inclusive('\n').filter(move |line| first(line) != given && first(line) != inner)
}

/// `lines` where they belong: inside the blocks of `path`, below what `example` needs.
pub(crate) fn file(path: &str, lines: &str, example: &str) -> String {
    let (mut before, mut after) = (declarations(path, example), String::new());
    let mut at = String::new();
    let mut blocks = path.split('/').filter(|keyword| !keyword.is_empty()).peekable();
    while let Some(keyword) = blocks.next() {
        if schema().lookup(&at, keyword).is_none_or(|row| row.kind != Kind::Block) {
            // The rest of the path is a keyword, whose line the example holds.
            break;
        }
        // A list of instances has the name of a block of the top level.
        let list = keyword == "track_file" && !at.is_empty();
        let (head, needed) = if list { ("", "") } else { frame(keyword) };
        let needed: String = unless_replaced(needed, lines, blocks.peek().copied()).collect();
        before.push_str(&format!("{keyword} {head} {{\n{needed}"));
        after.insert_str(0, &format!("{}}}\n", tail(keyword)));
        at = if at.is_empty() { keyword.to_owned() } else { format!("{at}/{keyword}") };
    }
    format!("{before}{lines}\n{after}")
}

pub(crate) fn read(text: &str) -> Parsed {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
}

pub(crate) fn shown(config: &Config) -> String {
    setting::text(&config.settings(), &|_| None, true)
}

/// The first mistake in a file.
pub(crate) fn error(parsed: &Parsed) -> Option<&Diagnostic> {
    parsed.diagnostics.iter().find(|finding| finding.severity == Severity::Error)
}
