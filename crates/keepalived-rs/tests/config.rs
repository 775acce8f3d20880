//! The commands that read, print and compare configurations, as a user calls them.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::{Value, json};

const GOOD: &str = "\
vrrp_instance VI_1 {
    interface lo0
    virtual_router_id 51
    priority 100
    virtual_ipaddress {
        192.0.2.10/24
    }
}
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// Runs the binary with words, and files behind them.
fn run(words: &str, files: &[&Path]) -> (i32, String, String) {
    finished(command(words, files).output().unwrap())
}

fn command(words: &str, files: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keepalived-rs"));
    command.args(words.split_whitespace()).args(files).env_remove("NO_COLOR");
    command
}

fn finished(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn check_has_the_exit_statuses_of_config_test() {
    let folder = Folder::new();
    for (name, text, status) in [
        ("good.conf", GOOD.to_owned(), 0),
        ("warning.conf", GOOD.replace("priority 100", "priority 300"), 5),
        ("refused.conf", GOOD.replace("virtual_router_id 51", ""), 4),
    ] {
        let file = folder.file(name, text);
        assert_eq!(run("config check --offline", &[&file]).0, status, "{name}");
        let (by_test, output, errors) = run("-t --offline -f", &[&file]);
        assert_eq!((by_test, output.as_str(), errors.is_empty()), (status, "", status == 0), "{name}");
    }
    let missing = folder.0.path().join("none.conf");
    assert_eq!(run("config check", &[&missing]).0, 4);
}

#[test]
fn a_key_that_the_daemon_could_not_read_is_found_before_it_starts() {
    let folder = Folder::new();
    let key = folder.file("key", "0123456789abcdef0123456789abcdef");
    let hmac = |path: &Path| {
        let keys = format!("version 3\nauth_hmac {{\nactive_key 1\nkey 1 file:{}\n}}", path.display());
        GOOD.replace("priority 100", &keys)
    };
    let said = |path: &Path, words: &str| {
        let (_, _, errors) = run(words, &[&folder.file("hmac.conf", hmac(path))]);
        errors.contains("auth_hmac key 1 cannot be read from")
    };
    assert!(!said(&key, "-t -f"));
    assert!(said(Path::new("/nonexistent/key"), "-t -f"));
    assert!(!said(Path::new("/nonexistent/key"), "-t --offline -f"), "another host has its own");
}

#[test]
fn files_of_tls_are_read_for_checks_only() {
    let folder = Folder::new();
    let checks = "virtual_server 192.0.2.1 443 {\n protocol TCP\n lvs_sched rr\n lvs_method NAT\n real_server \
                  192.0.2.11 443 {\n SSL_GET {\n url {\n path /\n }\n }\n }\n}\n";
    let ssl = "SSL {\n certificate /none.pem\n key /none.key\n}\n";
    let file = folder.file("k.conf", format!("{GOOD}{ssl}{checks}"));
    let unreadable = |words: &str| run(words, &[&file]).2.matches("cannot be used").count();
    assert_eq!((unreadable("-t -f"), unreadable("-t -P -f")), (2, 0));
}

#[test]
fn findings_show_no_password() {
    let folder = Folder::new();
    let block = "authentication {\n auth_type PASS\n auth_pass sesame open\n auth_pas sesame\n }\n virtual_ipaddress";
    let file = folder.file("k.conf", GOOD.replace("virtual_ipaddress", block));
    for words in ["-t -f", "config check", "config check --format json", "config check --format line"] {
        let (_, output, errors) = run(words, &[&file]);
        let said = output + &errors;
        assert!(said.contains("auth_pas") && !said.contains("sesame"), "{words}: {said}");
    }
}

#[test]
fn check_writes_for_people_for_editors_and_for_programs() {
    let folder = Folder::new();
    let file = folder.file("k.conf", GOOD.replace("priority 100", "prioritie 100"));
    let name = file.display();
    let (_, text, errors) = run("config check --offline", &[&file]);
    assert!(text.starts_with("error[K0101]: Unknown keyword 'prioritie'\n") && errors.is_empty(), "{text}");
    let (_, line, _) = run("config check --offline --format line", &[&file]);
    assert!(
        line.starts_with(&format!("{name}:4:5: error: Unknown keyword 'prioritie'")) && line.lines().count() == 1,
        "{line}"
    );
    let (status, text, _) = run("config check --offline --format json", &[&file]);
    let json = document(&text);
    let finding = &json["findings"][0];
    assert_eq!((&finding["code"], &finding["replacement"]), (&json!("K0101"), &json!("priority")));
    assert_eq!((&finding["span"]["line"], &finding["span"]["end_column"]), (&json!(4), &json!(14)));
    assert_eq!((&json["status"], &json["refuses_start"], status), (&json!(5), &json!(false), 5));
    let (_, _, errors) = run("-t --offline --format json -f", &[&file]);
    assert_eq!(document(&errors), json);
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let folder = Folder::new();
    let file = folder.file("k.conf", "nonsense\n");
    assert!(!run("config check", &[&file]).1.contains('\u{1b}'));
    assert!(run("config check --color always", &[&file]).1.contains('\u{1b}'));
    assert!(run("-t --color=always -f", &[&file]).2.contains('\u{1b}'));
}

/// What a command shows on a terminal of its own.
fn on_terminal(mut command: Command) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let screen = openpt(flags).unwrap();
    unlockpt(&screen).unwrap();
    let terminal = ioctl_tiocgptpeer(&screen, flags).unwrap();
    command.stdout(terminal.try_clone().unwrap()).stderr(terminal);
    let mut child = command.spawn().unwrap();
    // Nobody but the child has it open then, and it ends with the child; its end is an error.
    drop(command);
    let mut shown = Vec::new();
    let end = fs::File::from(screen).read_to_end(&mut shown).expect_err("a terminal has no end of file");
    assert_eq!(Errno::from_io_error(&end), Some(Errno::IO));
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn on_a_terminal_findings_are_coloured() {
    let folder = Folder::new();
    let file = folder.file("k.conf", "nonsense\n");
    for (program, last) in [("config check --offline", ""), ("-t --offline", "-f")] {
        let with = |options: &str| command(&format!("{program} {options} {last}"), &[&file]);
        let seen = |mut command: Command, no_color: Option<&str>| {
            command.envs(no_color.map(|value| ("NO_COLOR", value)));
            let text = on_terminal(command);
            assert!(text.contains("Unknown keyword 'nonsense'"), "{program}: {text:?}");
            text.contains("\u{1b}[")
        };
        assert!(seen(with(""), None), "{program}");
        assert!(!seen(with(""), Some("1")), "{program}: NO_COLOR");
        assert!(seen(with(""), Some("")), "{program}: an empty NO_COLOR is none (no-color.org)");
        for plain in ["--color=never", "--format=line", "--format=json"] {
            assert!(!seen(with(plain), None), "{program} {plain}");
        }
        assert!(seen(with("--color=always"), Some("1")), "{program}: what is asked for comes before the environment");
        let (_, output, errors) = finished(with("").output().unwrap());
        assert!(!(output + &errors).contains('\u{1b}'), "{program}: a pipe is no terminal");
    }
}

#[test]
fn with_strict_notes_count() {
    let folder = Folder::new();
    let file = folder.file("k.conf", [b"# caf\xe9\n", GOOD.as_bytes()].concat());
    for (words, status) in [
        ("config check --offline", 0),
        ("config check --offline --strict", 5),
        ("-t --offline -f", 0),
        ("-t --offline --strict -f", 5),
    ] {
        assert_eq!(run(words, &[&file]).0, status, "{words}");
    }
}

#[test]
fn a_file_can_be_checked_for_another_host() {
    let folder = Folder::new();
    let file = folder.file("k.conf", GOOD);
    let facts = |name, text: &str| format!("config check --host-facts {}", folder.file(name, text).display());
    assert_eq!(run(&facts("a.json", r#"{"interfaces": {"lo0": {}}}"#), &[&file]).0, 0);
    let (status, text, _) = run(&facts("b.json", r#"{"interfaces": {"eth0": {}}}"#), &[&file]);
    assert!(status == 4 && text.contains("interface lo0 for vrrp_instance VI_1 doesn't exist"), "{text}");
    let (status, _, errors) = run(&facts("c.json", r#"{"interface": {}}"#), &[&file]);
    assert!(status == 2 && errors.contains("unknown field `interface`"), "{errors}");
    let scripts = folder.file("s.conf", GOOD.replace("priority 100", "notify /opt/x.sh"));
    let (status, ..) = run(&facts("d.json", r#"{"files": {"/opt/x.sh": {"mode": "0755"}}}"#), &[&scripts]);
    assert_eq!(status, 6);
    assert_eq!(run("config check --offline", &[&scripts]).0, 0);
    // This host has no interface of that name.
    assert_eq!(run("config check", &[&file]).0, 4);
}

#[test]
fn names_of_the_host_are_looked_up() {
    let folder = Folder::new();
    let routes = "static_routes {\n192.0.2.0/24 dev lo0 table uplnk\n}\n";
    let file = folder.file("k.conf", format!("{GOOD}{routes}"));
    let check = |facts: &str| {
        let facts = folder.file("facts.json", facts);
        run(&format!("config check --format line --host-facts {}", facts.display()), &[&file])
    };
    let (status, text, _) = check(r#"{"names": {"rt_tables": {"uplink": 100}}}"#);
    let found =
        "error: Routing table uplnk not found for route (the route is not used) - did you mean 'uplink'? [K0434]";
    assert!(status == 5 && text.contains(found), "{text}");
    assert_eq!(check(r#"{"names": {"rt_tables": {"uplnk": 100}}}"#).0, 0);
    assert_eq!(run("config check --offline", &[&file]).0, 0);
}

#[test]
fn every_include_is_checked_on_demand() {
    let folder = Folder::new();
    let file = folder.file("k.conf", format!("{GOOD}include none.conf\n"));
    let (status, _, errors) = run("-t --offline -f", &[&file]);
    assert_eq!(status, 0, "{errors}");
    for option in ["-e", "--all-config"] {
        let (status, _, errors) = run(&format!("-t --offline {option} -f"), &[&file]);
        assert!(status == 4 && errors.contains("none.conf"), "{errors}");
    }
}

#[test]
fn show_prints_what_holds() {
    let folder = Folder::new();
    let secret = "authentication {\nauth_type PASS\nauth_pass hushhush\n}\npriority 90";
    let file = folder.file("k.conf", GOOD.replace("priority 100", secret));
    let name = file.display();
    let (status, text, errors) = run("config show", &[&file]);
    assert_eq!((status, errors.as_str()), (0, ""));
    let line = |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
    assert!(line("virtual_router_id 51").ends_with(&format!("# {name}:3:5")), "{text}");
    assert!(line("preempt_delay 0").ends_with("# default"), "{text}");
    assert!(!text.contains("hushhush") && run("config show --secrets", &[&file]).1.contains("hushhush"));
    let json = document(&run("config show --format json", &[&file]).1);
    assert_eq!(
        json["vrrp_instance"][0]["priority"],
        json!({"value": 90, "from": {"file": name.to_string(), "line": 8, "column": 1}})
    );
    // What is printed means the same.
    let again = folder.file("again.conf", run("config show --secrets", &[&file]).1);
    assert_eq!(run("config diff", &[&file, &again]), (0, String::new(), String::new()));
    let refused = folder.file("refused.conf", "vrrp_instance A {\n interface eth0\n}\n");
    let (status, _, errors) = run("config show", &[&refused]);
    assert!(status == 4 && errors.contains("config check"), "{errors}");
}

#[test]
fn identity_decides_about_conditions() {
    let folder = Folder::new();
    let file = folder.file("k.conf", format!("@one global_defs {{\n@one router_id first\n@one }}\n{GOOD}"));
    let router_id = |words: &str| document(&run(words, &[&file]).1)["global_defs"]["router_id"]["value"].clone();
    assert_eq!(router_id("config show --format json --config-id one"), "first");
    assert_eq!(router_id("config show --format json --config-id two"), Value::Null);
}

#[test]
fn fmt_prints_checks_and_writes() {
    let folder = Folder::new();
    let file = folder.file("k.conf", "global_defs{router_id  lb1 } # c\n");
    let formatted = "global_defs {\n    router_id lb1\n} # c\n";
    assert_eq!(run("config fmt", &[&file]), (0, formatted.to_owned(), String::new()));
    let name = format!("{}\n", file.display());
    assert_eq!(run("config fmt --check", &[&file]), (1, name.clone(), String::new()));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(run("config fmt --write", &[&file]), (0, name, String::new()));
    assert_eq!(fs::read_to_string(&file).unwrap(), formatted);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o604);
    assert_eq!(run("config fmt --check", &[&file]), (0, String::new(), String::new()));
    assert_eq!(run("config fmt --write", &[&file]), (0, String::new(), String::new()));
    assert_eq!(run("config fmt --check --write", &[&file]).0, 2);
    assert_eq!(run("config fmt", &[&folder.0.path().join("none")]).0, 2);
    let mut child = command("config fmt -", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"global_defs {\n\trouter_id x\n}").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"global_defs {\n    router_id x\n}\n");
}

#[test]
fn diff_says_what_a_reload_changes() {
    let folder = Folder::new();
    let old = folder.file("old.conf", GOOD);
    let new = folder.file("new.conf", GOOD.replace("priority 100", "priority 150").replace("id 51", "id 52"));
    assert_eq!(run("config diff", &[&old, &old]), (0, String::new(), String::new()));
    let (status, text, _) = run("config diff", &[&old, &new]);
    assert_eq!(status, 1);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "vrrp_instance VI_1: virtual_router_id changes from 51 to 52");
    assert!(lines[1].starts_with("    the old virtual router ends"), "{text}");
    assert_eq!(lines[2], "vrrp_instance VI_1: priority changes from 100 to 150");
    let json = document(&run("config diff --format json", &[&old, &new]).1);
    let change = &json["changes"][1];
    assert_eq!((&change["kind"], &change["keyword"]), (&json!("changed"), &json!("priority")));
    assert_eq!((&change["before"], &change["after"]), (&json!("100"), &json!("150")));
    assert_eq!((&change["object"], &change["written_after"]["line"]), (&json!(["vrrp_instance VI_1"]), &json!(4)));
    assert_eq!(change["text"], lines[2]);
    assert_eq!(run("config diff", &[&old]).0, 2);
    assert_eq!(run("config diff", &[&old, Path::new("/nonexistent")]).0, 2);
    let refused = folder.file("refused.conf", GOOD.replace("virtual_router_id 51", ""));
    let (status, _, errors) = run("config diff", &[&old, &refused]);
    assert!(status == 1 && errors.contains("would be refused"), "{errors}");
}

#[test]
fn explain_knows_keywords_and_codes() {
    let (status, text, _) = run("explain virtual_router_id", &[]);
    assert!(status == 0 && text.contains("1..255") && text.contains("vrrp_instance"), "{text}");
    assert_eq!(run("config explain virtual_router_id", &[]).1, text);
    let (status, page, _) = run("explain K0402", &[]);
    assert!(status == 0 && page.contains("## How to fix"), "{page}");
    let (status, _, errors) = run("explain virtual_routerid", &[]);
    assert!(status == 1 && errors.contains("virtual_router_id"), "{errors}");
    assert_eq!(run("explain", &[]).0, 2);
}

#[test]
fn completions_are_complete_and_correct() {
    for (shell, marks) in [
        ("bash", ["virtual_router_id", "--host-facts", "complete -o filenames -F _keepalived_rs keepalived-rs"]),
        ("zsh", ["virtual_router_id", "--host-facts", "#compdef keepalived-rs"]),
        ("fish", ["virtual_router_id", "-l host-facts", "complete -c keepalived-rs"]),
    ] {
        let (status, text, _) = run(&format!("completion {shell}"), &[]);
        assert_eq!(status, 0, "{shell}");
        for mark in marks {
            assert!(text.contains(mark), "{shell} lacks {mark}");
        }
    }
    assert_eq!(run("completion tcsh", &[]).0, 2);
}

/// What bash would offer for the last of `words`; nothing where there is no bash.
fn offered(words: &[&str]) -> Option<Vec<String>> {
    let script = run("completion bash", &[]).1;
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let last = words.len() - 1;
    let call = format!(
        "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={last}\n_keepalived_rs\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted.join(" ")
    );
    let output = match Command::new("bash").args(["-c", &call]).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: bash cannot be run: {error}");
            return None;
        }
    };
    let (status, text, errors) = finished(output);
    assert_eq!((status, errors.as_str()), (0, ""), "{call}");
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_keywords_and_values() {
    for (words, expected) in [
        (&["keepalived-rs", "comp"][..], "completion"),
        (&["keepalived-rs", "--host"], "--host-facts"),
        (&["keepalived-rs", "explain", "virtual_router"], "virtual_router_id"),
        (&["keepalived-rs", "config", "sh"], "show"),
        (&["keepalived-rs", "config", "explain", "K0402"], "K0402"),
        (&["keepalived-rs", "config", "check", "--str"], "--strict"),
        (&["keepalived-rs", "config", "check", "--format", "js"], "json"),
    ] {
        let Some(offered) = offered(words) else { return };
        assert_eq!(offered, [expected], "{words:?}");
    }
}

#[test]
fn help_tells_the_exit_statuses() {
    for command in ["check", "show", "fmt", "diff", "explain"] {
        let (status, text, _) = run(&format!("config {command} --help"), &[]);
        assert!(status == 0 && text.contains("Exit status: 0"), "{text}");
    }
    assert!(run("config --help", &[]).1.contains("config diff OLD NEW"));
    assert_eq!(run("config", &[]).0, 2);
    assert_eq!(run("config nonsense", &[]).0, 2);
    let (_, _, help) = run("--help", &[]);
    assert!(help.contains("keepalived-rs config check"));
    assert!(help.contains("4 too for a keyword that is not acted on yet") && help.contains("judges the file alone"));
    assert!(run("config check --help", &[]).1.contains("It is about the file alone"));
}

#[test]
fn a_keyword_that_is_not_acted_on_yet_stops_this_release_and_not_the_file() {
    let folder = Folder::new();
    let file = folder.file("k.conf", format!("global_defs {{\n    lvs_notify_fifo /run/f\n}}\n{GOOD}"));
    assert_eq!(run("config check --offline", &[&file]).0, 0);
    let (status, _, said) = run("-t --offline -f", &[&file]);
    assert!(status == 4 && said.contains("start with --allow-unsupported"), "{status}: {said}");
    assert_eq!(run("-t --offline --allow-unsupported -f", &[&file]).0, 0);
}

#[test]
fn with_reload_check_config_whatever_keepalived_reports_refuses() {
    let folder = Folder::new();
    let checked = |text: &str| format!("global_defs {{\n    reload_check_config\n}}\n{text}");
    let mistaken = GOOD.replace("priority 100", "priority 300");
    let good = folder.file("good.conf", checked(&format!("# a lone \r return\n{GOOD}")));
    let bad = folder.file("bad.conf", checked(&mistaken));
    let unchecked = folder.file("unchecked.conf", mistaken);
    assert_eq!(run("config check --offline --strict", &[&good]).0, 5, "there is a note, which is ours alone");
    for (file, status) in [(&good, 0), (&bad, 4), (&unchecked, 5)] {
        assert_eq!(run("config check --offline", &[file]).0, status, "{}", file.display());
        let (by_test, _, said) = run("-t --offline -f", &[file]);
        assert_eq!((by_test, said.contains("reload_check_config")), (status, status == 4), "{said}");
    }
    assert!(run("config diff", &[&good, &unchecked]).2.contains("would be refused"));
    assert!(run("config diff", &[&unchecked, &bad]).2.contains("would be refused"));
    assert!(run("config diff", &[&unchecked, &good]).2.is_empty());
}
