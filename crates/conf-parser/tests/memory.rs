//! A giant file takes at most ten times its size in memory, be it one giant block or all the smallest ones.
//!
//! Each file is read by a process of its own, which then tells the most memory that it ever held.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods, reason = "a test of the process")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;

use conf_parser::{Limits, LoadError, Loader, Options, parse};

const SIZE: usize = 3_000_000;
const MOST: usize = 10;

/// Limits of numbers: here as many for the size of the file as by default for one of 100 MB.
fn limits() -> Limits {
    let all = Limits::default();
    let part = |number: usize| number / 100_000_000_usize.div_ceil(SIZE);
    Limits {
        findings: part(all.findings),
        definitions: part(all.definitions),
        blocks: part(all.blocks),
        entries: part(all.entries),
        ..all
    }
}

const INSTANCE: &str =
    "vrrp_instance V {\n interface eth0\n virtual_router_id 5\n virtual_ipaddress {\n 192.0.2.1\n }\n";
const ADDRESSES: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 5\n virtual_ipaddress {\n";

type Line = fn(usize) -> String;

/// What a file is called, what stands before and behind its lines, the lines.
fn files() -> Vec<(&'static str, String, Line, &'static str)> {
    let list = |keyword: &str| format!("{INSTANCE} {keyword} {{\n");
    let server = "virtual_server 192.0.2.1 80 {\n protocol TCP\n".to_owned();
    vec![
        ("virtual_ipaddress", ADDRESSES.to_owned(), |n| format!("        {}/24 dev eth0", ip(n)), " }\n}\n"),
        ("the same address", ADDRESSES.to_owned(), |_| "192.0.2.7".to_owned(), " }\n}\n"),
        ("no addresses", ADDRESSES.to_owned(), |n| format!("x{n}"), " }\n}\n"),
        (
            "virtual_ipaddress_excluded",
            list("virtual_ipaddress_excluded"),
            |n| format!("        {}/24 dev eth0", ip(n)),
            "}}",
        ),
        ("virtual_rules", list("virtual_rules"), |n| format!("        from {} lookup 5 priority {n}", ip(n)), "}}"),
        ("unicast_peer", list("unicast_peer"), |n| format!("        {}", ip(n)), "}}"),
        ("track_interface", list("track_interface"), |n| format!("        eth{n} weight 5"), "}}"),
        ("static_ipaddress", "static_ipaddress {\n".to_owned(), |n| format!("        {}/24 dev eth0", ip(n)), "}\n"),
        ("virtual_server_group", "virtual_server_group G {\n".to_owned(), |n| format!("{} 80", ip(n)), "}\n"),
        ("real_server", server.clone(), real_server, "}\n"),
        ("virtual_routes", list("virtual_routes"), |n| format!("        {}/32 dev eth0", ip(n)), "}}"),
        ("next hops", list("virtual_routes"), |n| format!("{}/32 {}", ip(n), "nexthop via 10.0.0.1 ".repeat(9)), "}}"),
        ("addresses without indentation", ADDRESSES.to_owned(), |n| format!("{}/24 dev eth0", ip(n)), "}}"),
        ("bare addresses", ADDRESSES.to_owned(), ip, "}}"),
        ("empty real_server", server.clone(), |n| format!("real_server {} 80 {{\n}}", ip(n)), "}\n"),
        ("scripts of real servers", server.clone(), scripts, "}\n"),
        ("checkers", format!("{server}real_server 192.0.2.2 80 {{\n"), |_| "TCP_CHECK {\n}".to_owned(), "}}\n"),
        (
            "HTTP_GET",
            format!("{server}real_server 192.0.2.2 80 {{\n"),
            |_| "HTTP_GET {\nurl {\npath /\n}\n}".to_owned(),
            "}}\n",
        ),
        ("virtual_server", String::new(), virtual_server, ""),
        ("virtual_server with one real_server", String::new(), short_virtual_server, ""),
        ("vrrp_instance", String::new(), instance, ""),
        ("vrrp_script", String::new(), |n| format!("vrrp_script s{n} {{ script /bin/true }}"), ""),
        ("parameters", String::new(), |n| format!("vrrp_script s{n} {{\nscript \"/a{}\"\n}}", " b".repeat(4000)), ""),
        ("definitions", String::new(), |n| format!("$A{n}="), ""),
        ("one keyword", INSTANCE.to_owned(), |_| "accept".to_owned(), "}\n"),
        ("unknown words", INSTANCE.to_owned(), |n| format!("foo{n} bar"), "}\n"),
        ("one line", "global_defs {\n router_id".to_owned(), |_| " a".to_owned(), "\n}\n"),
        ("one word", "global_defs {\n router_id \"".to_owned(), |_| "aaaaaaaaaaaaaaaa".to_owned(), "\"\n}\n"),
    ]
}

fn real_server(number: usize) -> String {
    let check = "        TCP_CHECK {\n            connect_timeout 3\n        }";
    format!("    real_server {} 80 {{\n        weight 5\n{check}\n    }}", ip(number))
}

fn scripts(number: usize) -> String {
    format!("real_server {} 80 {{\nnotify_up /a\nnotify_down /a\n}}", ip(number))
}

fn virtual_server(number: usize) -> String {
    let servers: Vec<_> = (0..10).map(|server| real_server(number * 10 + server)).collect();
    let settings = "    lb_algo rr\n    lb_kind NAT\n    protocol TCP";
    format!("virtual_server {} 80 {{\n{settings}\n{}\n}}", ip(number), servers.join("\n"))
}

fn short_virtual_server(number: usize) -> String {
    format!("virtual_server {} 80 {{\nreal_server 192.0.2.1 80 {{\n}}\n}}", ip(number))
}

fn instance(number: usize) -> String {
    let settings = format!("interface eth0\nvirtual_router_id {}", number % 255 + 1);
    format!("vrrp_instance V{number} {{\n{settings}\nvirtual_ipaddress {{\n{}\n}}\n}}", ip(number))
}

fn ip(number: usize) -> String {
    format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((first, [name])) if first == "--read" => read(name),
        _ if words.iter().any(|word| word == "--list") => {}
        _ => compare(),
    }
    ExitCode::SUCCESS
}

fn compare() {
    let mut large = Vec::new();
    for (name, ..) in files() {
        let output = Command::new(std::env::current_exe().unwrap()).args(["--read", name]).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let (size, most) = told.trim().split_once(' ').unwrap();
        let (size, most) = (size.parse::<usize>().unwrap(), most.parse::<usize>().unwrap());
        println!("{name}: {:.1} times its size", f64::from(u32::try_from(most * 10 / size).unwrap()) / 10.0);
        if most > size * MOST {
            large.push(format!("{name}: {size} bytes take {most} bytes of memory"));
        }
    }
    assert!(large.is_empty(), "{large:#?}");
}

/// A file that is handed over, not copied.
#[derive(Debug)]
struct Once(Mutex<Option<Vec<u8>>>);

impl Loader for Once {
    fn load(&self, _: &Path) -> Result<Vec<u8>, LoadError> {
        self.0.lock().unwrap().take().ok_or(LoadError::NotFound)
    }

    fn glob(&self, _: &str) -> Result<Vec<PathBuf>, LoadError> {
        Ok(Vec::new())
    }
}

fn read(name: &str) {
    let (_, before, line, after) = files().into_iter().find(|file| file.0 == name).unwrap();
    let mut text = Vec::with_capacity(SIZE + 1000);
    text.extend_from_slice(before.as_bytes());
    let one_line = name.starts_with("one ") && name != "one keyword";
    for number in 0.. {
        if text.len() >= SIZE {
            break;
        }
        text.extend_from_slice(line(number).as_bytes());
        text.extend((!one_line).then_some(b'\n'));
    }
    text.extend_from_slice(after.as_bytes());
    let size = text.len();
    let options = Options { limits: limits(), ..Options::default() };
    let at_first = peak();
    let parsed = parse(&Once(Mutex::new(Some(text))), Path::new("k.conf"), &options);
    assert!(parsed.main_file_read() && parsed.diagnostics.len() <= options.limits.findings + 1);
    // What the program itself takes does not grow with the file.
    println!("{size} {}", peak() - at_first + size);
}

/// The most bytes of memory that the process ever held.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}
