//! Large files stay cheap, findings included.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use conf_parser::render::{self, Color};
use conf_parser::{MemoryLoader, Options, Parsed, parse, setting};

/// What a file of 200,000 lines may take, in a build without optimisation on a busy machine; scanning the file anew for
/// each finding takes minutes.
const BOUND: Duration = Duration::from_secs(60);

#[test]
#[expect(clippy::disallowed_types, reason = "a time bound is what is tested")]
fn two_hundred_thousand_lines_with_findings_all_over() {
    let mut text = String::new();
    for number in 0..25_000 {
        let _ = write!(
            text,
            "virtual_server 10.{}.{}.{} 80 {{\n lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 192.0.2.1 80 {{\n  wieght 5\n }}\n}}\n",
            number / 62_500,
            number / 250 % 250,
            number % 250
        );
    }
    assert_eq!(text.lines().count(), 200_000);
    let started = std::time::Instant::now();
    let parsed = parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default());
    assert_eq!(parsed.config.virtual_servers.len(), 25_000);
    assert_eq!(parsed.diagnostics.len(), 25_000);
    for finding in &parsed.diagnostics {
        let text = render::excerpt(finding, &parsed.sources, Color::None);
        assert!(
            text.contains("Unknown keyword 'wieght'") && render::line(finding, &parsed.sources).starts_with("k.conf:")
        );
    }
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
    println!("{:?}", started.elapsed());
}

/// What is read of `text`, in time.
#[expect(clippy::disallowed_types, reason = "a time bound is what is tested")]
fn read_in_time(name: &str, text: String) -> Parsed {
    let started = std::time::Instant::now();
    let parsed = parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default());
    let _ = setting::text(&parsed.config.settings(), &|_| None, true);
    assert!(started.elapsed() < BOUND, "{name}: {:?}", started.elapsed());
    println!("{name}: {:?}", started.elapsed());
    parsed
}

const REPEATED: usize = 100_000;

/// A block with one line again and again.
fn repeated(before: &str, line: impl Fn(usize) -> String, after: &str) -> String {
    let lines: String = (0..REPEATED).map(|number| line(number) + "\n").collect();
    format!("{before}{lines}{after}")
}

#[test]
fn a_hundred_thousand_times_the_same_keyword() {
    let instance = "vrrp_instance V {\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {\n192.0.2.1\n}\n";
    let address = |number: usize| format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    let list = |keyword: &str| format!("{instance}{keyword} {{\n");
    let read = |name: &str, before: &str, line: &dyn Fn(usize) -> String, after: &str| {
        read_in_time(name, repeated(before, line, after))
    };
    read("flag", "global_defs {\n", &|_| "vrrp_strict".to_owned(), "}\n");
    read("number", instance, &|number| format!("priority {number}"), "}\n");
    read("script", instance, &|_| "notify /bin/true".to_owned(), "}\n");
    read("address", &list("virtual_ipaddress_excluded"), &address, "}\n}\n");
    read("same address", &list("virtual_ipaddress_excluded"), &|_| address(1), "}\n}\n");
    read("peer", &list("unicast_peer"), &address, "}\n}\n");
    read("interface", &list("track_interface"), &|number| format!("eth{number}"), "}\n}\n");
    read("route", &list("virtual_routes"), &|number| format!("{}/32 dev eth0", address(number)), "}\n}\n");
    read("rule", &list("virtual_rules"), &|number| format!("from {} table 5", address(number)), "}\n}\n");
    read("email", "global_defs {\nnotification_email {\n", &|number| format!("a{number}@b"), "}\n}\n");
    read("group", "vrrp_sync_group G {\ngroup {\n", &|number| format!("V{number}"), "}\n}\n");
    read("vrrp_script", "", &|number| format!("vrrp_script s{number} {{ script /bin/true }}"), "");
    read("same script", "", &|_| "vrrp_script s { script /bin/true }".to_owned(), "");
    read("bfd_instance", "", &|number| format!("bfd_instance b{number} {{ neighbor_ip {} }}", address(number)), "");
    read("delays", "interface_up_down_delays {\n", &|number| format!("eth{number} 1"), "}\n");
}

#[test]
fn deep_nesting_and_nothing_but_braces() {
    let deep = |text: &str| read_in_time(text, text.repeat(200_000));
    for text in [
        "}",
        "}\n",
        "{",
        "{\n",
        "a {\n",
        "vrrp_instance V {\n",
        "virtual_server 192.0.2.1 80 { real_server ",
        "$A=${A}\n",
    ] {
        let parsed = deep(text);
        assert!(!parsed.diagnostics.is_empty() || text.starts_with('$'), "{text}");
    }
}
