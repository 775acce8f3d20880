//! A giant file, laid out as people do, takes at most ten times its size in memory, be it one giant block.
//!
//! Each file is read by a process of its own, which then tells the most memory that it ever held.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods, reason = "a test of the process")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;

use conf_parser::{LoadError, Loader, Options, parse};

const SIZE: usize = 6_000_000;
const MOST: usize = 10;

/// Findings are told up to a number: here as many for the size of the file as by default for one of 100 MB.
const FINDINGS: usize = 6000;

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
        ("real_server", server, real_server, "}\n"),
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
    let mut options = Options::default();
    options.limits.findings = FINDINGS;
    let at_first = peak();
    let parsed = parse(&Once(Mutex::new(Some(text))), Path::new("k.conf"), &options);
    assert!(parsed.main_file_read() && parsed.diagnostics.len() <= FINDINGS + 1);
    // What the program itself takes does not grow with the file.
    println!("{size} {}", peak() - at_first + size);
}

/// The most bytes of memory that the process ever held.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}
