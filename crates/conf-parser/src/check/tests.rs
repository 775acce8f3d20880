use std::path::{Path, PathBuf};

use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::host::{Account, Facts, FileFact, FileKind, Host, Interface, NoHost};
use crate::{MemoryLoader, Options, Parsed, check, config_test_exit_code, parse};

fn read(text: &str) -> Parsed {
    parse(&MemoryLoader::new([("/k.conf", text)]), Path::new("/k.conf"), &Options::default())
}

/// What the checks find in a text that is read without a finding.
fn found(text: &str, host: &dyn Host) -> Vec<Diagnostic> {
    let parsed = read(text);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let mut findings = check(&parsed.config, &parsed.sources, host);
    findings.sort_by_key(|finding| finding.span);
    findings
}

fn messages(findings: &[Diagnostic]) -> Vec<(Code, &str)> {
    findings.iter().map(|finding| (finding.code, finding.message.as_str())).collect()
}

fn label(finding: &Diagnostic) -> &str {
    finding.label.as_deref().unwrap_or_default()
}

fn help(finding: &Diagnostic) -> &str {
    finding.help.as_deref().unwrap_or_default()
}

fn file(mode: u32, uid: u32, gid: u32) -> FileFact {
    FileFact { kind: FileKind::File, mode, uid, gid }
}

fn directory(mode: u32, uid: u32) -> FileFact {
    FileFact { kind: FileKind::Directory, mode, uid, gid: 0 }
}

/// A host with eth0, the users root, ann and keepalived_script, and these files beside /bin/true.
fn host(files: &[(&str, FileFact)]) -> Facts {
    let mut known: std::collections::BTreeMap<_, _> =
        files.iter().map(|(path, fact)| (PathBuf::from(path), fact.clone())).collect();
    known.insert("/bin/true".into(), file(0o755, 0, 0));
    let accounts = [("root", 0, 0), ("ann", 1000, 1001), ("keepalived_script", 900, 900)];
    let users = accounts.map(|(name, uid, gid)| (name.to_owned(), Account { uid, gid }));
    let groups = [("root", 0), ("staff", 50)].map(|(name, gid)| (name.to_owned(), gid));
    let eth0 = Interface { addresses: vec!["192.0.2.2/24".parse().unwrap()], ..Interface::default() };
    Facts {
        interfaces: Some([("eth0".to_owned(), eth0)].into()),
        users: Some(users.into()),
        groups: Some(groups.into()),
        files: Some(known),
        ..Facts::default()
    }
}

const SECURE: &str = "global_defs {\nscript_user root\nenable_script_security\n}\n";

fn track_script(path: &str) -> String {
    format!("vrrp_script s {{\nscript \"{path}\"\n}}\n")
}

fn misc_check(lines: &str) -> String {
    let misc = format!("MISC_CHECK {{\n{lines}\n}}");
    real_server(&misc)
}

fn real_server(lines: &str) -> String {
    format!(
        "virtual_server 192.0.2.10 80 {{\nprotocol TCP\nlvs_sched rr\nlvs_method NAT\n\
         real_server 192.0.2.20 80 {{\n{lines}\n}}\n}}\n"
    )
}

/// An instance that is complete but for `lines`.
fn instance(name: &str, vrid: u8, address: &str, lines: &str) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\n\
         virtual_ipaddress {{\n{address}\n}}\n{lines}\n}}\n"
    )
}

fn vi(lines: &str) -> String {
    instance("V", 51, "192.0.2.10/24", lines)
}

#[test]
fn nothing_is_found_where_nothing_is_known() {
    let text = format!("{}{}", track_script("/nosuch"), vi("notify \"/nosuch\" bob"));
    assert_eq!(found(&text, &NoHost), []);
    assert_eq!(found(&text, &Facts::default()), []);
}

#[test]
fn a_file_that_is_refused_is_checked_all_the_same() {
    let host = host(&[("/k.conf", file(0o644, 0, 0))]);
    for text in ["", "vrrp_instance V {", "}\nvrrp_script", "vrrp_instance V {\nauthentication {\nauth_pass x\n"] {
        let parsed = read(text);
        let findings = check(&parsed.config, &parsed.sources, &host);
        assert!(findings.iter().all(|finding| finding.span.is_some()), "{text}");
    }
    let parsed = parse(&MemoryLoader::default(), Path::new("/k.conf"), &Options::default());
    assert!(parsed.refuses_start() && check(&parsed.config, &parsed.sources, &host).is_empty());
}

#[test]
fn scripts_that_do_not_exist() {
    let secure = format!("{SECURE}{}", track_script("/nosuch"));
    let findings = found(&secure, &host(&[]));
    assert_eq!(messages(&findings), [(Code::ScriptMissing, "Disabling track script s since not found/accessible")]);
    assert_eq!((label(&findings[0]), config_test_exit_code(&findings)), ("there is no file /nosuch", 5));

    let findings = found(&format!("{SECURE}{}", misc_check("misc_path \"/nosuch -x\"")), &host(&[]));
    assert_eq!(
        messages(&findings),
        [(Code::ScriptMissing, "Disabling misc script '/nosuch' since not found/accessible")]
    );
    assert_eq!(findings[0].related[0].message, "the check of 192.0.2.20");

    let findings = found(&format!("{SECURE}{}", vi("notify \"/nosuch -x\"")), &host(&[]));
    assert_eq!(
        messages(&findings),
        [(Code::ScriptMissing, "Script /nosuch cannot be accessed - No such file or directory")]
    );
    assert_eq!((findings[0].severity, config_test_exit_code(&findings)), (Severity::Note, 0));

    let findings = found(&format!("{SECURE}{}", track_script("/etc")), &host(&[("/etc", directory(0o755, 0))]));
    assert_eq!(label(&findings[0]), "/etc is no regular file");
}

#[test]
fn commands_without_a_path_are_looked_for() {
    let text = format!("{SECURE}{}{}", track_script("true"), misc_check("misc_path nosuch"));
    let mut host = host(&[]);
    assert_eq!(found(&text, &host), []);
    host.search_path = vec!["/sbin".into(), "/bin".into()];
    let findings = found(&text, &host);
    assert_eq!(findings.iter().map(label).collect::<Vec<_>>(), ["there is no file nosuch"]);
}

#[test]
fn a_file_to_be_read_may_be_missing() {
    assert_eq!(found(&format!("{SECURE}{}", track_script("</nosuch")), &host(&[])), []);
}

#[test]
fn scripts_that_may_not_be_executed() {
    let host = host(&[("/x", file(0o644, 0, 0)), ("/staff", file(0o750, 0, 50)), ("/own", file(0o700, 1000, 0))]);
    let labels = |text: &str| -> Vec<String> {
        let findings = found(&format!("{SECURE}{text}"), &host);
        assert!(findings.iter().all(|finding| finding.code == Code::ScriptMissing));
        findings.iter().map(|finding| label(finding).to_owned()).collect()
    };
    assert_eq!(labels(&track_script("/x")), ["/x is not executable for 0:0"]);
    assert_eq!(labels(&vi("notify /own ann\nnotify_master /staff ann")), ["/staff is not executable for 1000:1001"]);
    assert!(labels(&vi("notify /staff ann staff")).is_empty());
    // Which other groups ann is in is not known.
    assert!(labels(&vi("notify /staff ann :staff\nnotify_master /staff ann :root")).is_empty());

    let findings = found(&format!("{SECURE}{}", vi("notify /x ann")), &host);
    assert_eq!(findings[0].message, "WARNING - script '/x' is not executable for 1000:1001 - disabling");
    assert_eq!((help(&findings[0]), findings[0].severity), ("chmod a+x /x", Severity::Note));
}

#[test]
fn scripts_of_root_that_others_may_change() {
    let files = [
        ("/opt/everybody", file(0o757, 0, 0)),
        ("/opt/group", file(0o775, 0, 50)),
        ("/opt/owned", file(0o755, 1000, 0)),
        ("/opt/unnamed", file(0o755, 7, 0)),
        ("/home/ann", directory(0o755, 1000)),
        ("/home/ann/x", file(0o755, 0, 0)),
        ("/tmp", directory(0o1777, 0)),
        ("/tmp/x", file(0o755, 0, 0)),
    ];
    let host = host(&files);
    let labels = [
        ("/opt/everybody", "/opt/everybody may be changed by everybody"),
        ("/opt/group", "/opt/group may be changed by the group staff"),
        ("/opt/owned", "/opt/owned may be changed by the user ann"),
        ("/opt/unnamed", "/opt/unnamed may be changed by the user 7"),
        ("/home/ann/x", "/home/ann may be changed by the user ann"),
    ];
    for (path, expected) in labels {
        let findings = found(&format!("{SECURE}{}", track_script(path)), &host);
        assert_eq!(messages(&findings), [(Code::UnsafeScript, "Disabling track script s due to insecure")]);
        assert_eq!((label(&findings[0]), findings[0].class), (expected, Class::General));
    }
    let safe = format!("{SECURE}{}{}", track_script("/tmp/x"), vi("notify /opt/owned ann"));
    assert_eq!(found(&safe, &host), []);

    let text = format!("{SECURE}{}", misc_check("misc_path /opt/owned"));
    let message = "Unsafe permissions found for script '/opt/owned' - disabling";
    assert_eq!(messages(&found(&text, &host)), [(Code::UnsafeScript, message)]);

    let open = found(&format!("global_defs {{\nscript_user root\n}}\n{}", track_script("/opt/owned")), &host);
    let violation = "SECURITY VIOLATION - scripts are being executed but script_security not enabled. \
                     There are insecure scripts.";
    let expected = [
        (Code::UnsafeScript, "the script '/opt/owned' runs as root, and others may change it"),
        (Code::ScriptSecurity, violation),
    ];
    assert_eq!((messages(&open), open[0].severity), (expected.to_vec(), Severity::Note));
}

#[test]
fn script_security_is_a_matter_of_scripts_that_exist() {
    let host = host(&[]);
    let codes = |text: &str| found(text, &host).iter().map(|finding| finding.code).collect::<Vec<_>>();
    assert_eq!(codes(&vi("")), []);
    assert_eq!(codes(&vi("notify /nosuch")), [Code::ScriptMissing]);
    assert_eq!(codes(&format!("{SECURE}{}", vi("notify /bin/true"))), []);

    let both = found(
        &format!("{}{}{}", vi("notify /bin/true"), track_script("/bin/true"), misc_check("misc_path /bin/true")),
        &host,
    );
    let expected = [
        "SECURITY VIOLATION - scripts are being executed but script_security not enabled.",
        "SECURITY VIOLATION - check scripts are being executed but script_security not enabled.",
    ];
    assert_eq!(both.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!((config_test_exit_code(&both), both[0].class), (6, Class::Security));
}

#[test]
fn accounts_that_do_not_exist() {
    let host = host(&[]);
    let own = format!("{SECURE}{}", vi("notify /bin/true bob\nnotify_master /bin/true ann nogroup"));
    let findings = found(&own, &host);
    let message = "Unable to set uid/gid for script '/bin/true'";
    assert_eq!(messages(&findings), [(Code::ScriptUser, message), (Code::ScriptUser, message)]);
    assert_eq!(label(&findings[0]), "'bob' is no account of this host");
    assert_eq!(label(&findings[1]), "the group 'nogroup' is no account of this host");

    // As keepalived has it: nothing then runs that names no user, and nothing is said of script security.
    let scripts =
        format!("{}{}{}", track_script("/bin/true"), misc_check("misc_path /bin/true"), vi("notify /bin/true"));
    let removed = [
        (Code::ScriptUser, "Unable to set default user for vrrp script s - removing"),
        (Code::ScriptUser, "Unable to set default user for misc script '/bin/true' - removing"),
    ];
    let global = found(&format!("global_defs {{\nscript_user bob\n}}\n{scripts}"), &host);
    let expected = [[(Code::ScriptUser, "Error setting global script uid/gid")].as_slice(), &removed].concat();
    assert_eq!((messages(&global), config_test_exit_code(&global)), (expected, 5));
}

#[test]
fn the_default_account() {
    let mut host = host(&[]);
    let scripts = format!("{}{}", vi("notify /bin/true ann"), track_script("/bin/true"));
    let secure = format!("global_defs {{\nenable_script_security\n}}\n{scripts}");
    assert_eq!(found(&secure, &host), []);
    host.users.as_mut().unwrap().remove("keepalived_script");
    let findings = found(&secure, &host);
    let expected = [
        (Code::ScriptUser, "Unable to set default user keepalived_script for script"),
        (Code::ScriptUser, "Unable to set default user for vrrp script s - removing"),
    ];
    assert_eq!(messages(&findings), expected);
    // Without script security it is root.
    host.files.as_mut().unwrap().insert("/bin/true".into(), file(0o755, 1000, 0));
    let codes: Vec<_> = found(&scripts, &host).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::UnsafeScript, Code::ScriptSecurity]);
}

#[test]
fn an_address_of_two_instances() {
    let two = |lines: &str, address: &str| format!("{}{}", vi(""), instance("W", 52, address, lines));
    let findings = found(&two("", "192.0.2.10"), &NoHost);
    let message = "192.0.2.10 is an address of V and of W: whichever gives it up takes it from the other";
    assert_eq!(messages(&findings), [(Code::SharedAddress, message)]);
    assert_eq!((findings[0].related[0].message.as_str(), findings[0].severity), ("V has it here", Severity::Note));
    let excluded = two("virtual_ipaddress_excluded {\n192.0.2.10\n}", "192.0.2.11");
    assert_eq!(messages(&found(&excluded, &NoHost)), [(Code::SharedAddress, message)]);
    for other in ["192.0.2.11", "192.0.2.10 dev eth1"] {
        assert_eq!(found(&two("", other), &NoHost), [], "{other}");
    }
    let group = "vrrp_sync_group G {\ngroup {\nV\nW\n}\n}\n";
    assert_eq!(found(&format!("{}{group}", two("", "192.0.2.10")), &NoHost), []);
}

#[test]
fn an_address_outside_the_networks_of_its_interface() {
    let findings = found(&instance("V", 51, "198.51.100.1", ""), &host(&[]));
    let message = "198.51.100.1 lies in no network of eth0: only who routes it there reaches it";
    assert_eq!(messages(&findings), [(Code::OutsideNetwork, message)]);
    assert_eq!((label(&findings[0]), findings[0].severity), ("eth0 has 192.0.2.2/24", Severity::Note));
    for inside in ["192.0.2.77", "198.51.100.1/24", "2001:db8::1", "fe80::1"] {
        assert_eq!(found(&instance("V", 51, inside, ""), &host(&[])), [], "{inside}");
    }
    let mut host = host(&[]);
    let addresses = vec!["2001:db8:1::1/64".parse().unwrap()];
    host.interfaces.as_mut().unwrap().insert("eth1".to_owned(), Interface { addresses, ..Interface::default() });
    let codes = |address: &str| found(&instance("V", 51, address, ""), &host).len();
    assert_eq!([codes("2001:db8::1 dev eth1"), codes("2001:db8:1::5 dev eth1"), codes("fe80::1 dev eth1")], [1, 0, 0]);
}

#[test]
fn strict_mode_is_silent() {
    let findings = found(&vi("strict_mode"), &NoHost);
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::SilentAddress]);
    assert!(help(&findings[0]).contains("'version 3'"), "{findings:?}");
    let version3 = found(&vi("version 3\nstrict_mode"), &NoHost);
    assert!(help(&version3[0]).starts_with("with 'accept'"), "{version3:?}");
    let global = found(&format!("global_defs {{\nvrrp_strict\n}}\n{}", vi("")), &NoHost);
    assert_eq!(global[0].span.map(|span| span.start), Some(14));
    for lines in ["", "version 3\nstrict_mode\naccept", "strict_mode\npriority 255"] {
        assert_eq!(found(&vi(lines), &NoHost), [], "{lines}");
    }
}

/// What tracks `s` at this priority, with `more` beside it.
fn weighted(priority: u8, weight: i16, more: &str) -> String {
    let script = "vrrp_script s {\nscript /bin/true\n}\nvrrp_script t {\nscript /bin/true\n}\n";
    let other = "track_file f {\nfile /f\n}\nvrrp_track_process p {\nprocess p\n}\n";
    let lines = format!("priority {priority}\ntrack_script {{\ns weight {weight}\n}}\n{more}");
    format!("{script}{other}{}", vi(&lines))
}

#[test]
fn weights_without_effect() {
    let findings = found(&weighted(254, 10, ""), &NoHost);
    let message = "(V) the weight of s never changes the priority: 254 is at the limit of 1 to 254 already";
    assert_eq!(messages(&findings), [(Code::WeightWithoutEffect, message)]);
    assert_eq!(found(&weighted(1, -10, ""), &NoHost).len(), 1);
    for (priority, weight) in [(253, 10), (254, -10), (2, -10), (1, 10), (254, 0)] {
        assert_eq!(found(&weighted(priority, weight, ""), &NoHost), [], "{priority} {weight}");
    }
    // `reverse` moves the same points.
    assert_eq!(found(&weighted(254, 10, "").replace("weight 10", "weight 10 reverse"), &NoHost).len(), 1);
    // What others take away makes room for it.
    let others =
        ["track_interface {\neth1 weight -20\n}", "track_process {\np weight -20\n}", "track_file {\nf weight -1\n}"];
    for other in others {
        assert_eq!(found(&weighted(254, 10, other), &NoHost), [], "{other}");
    }
    let group = format!(
        "{}{}vrrp_sync_group G {{\ngroup {{\nV\nW\n}}\nsync_group_tracking_weight\ntrack_process {{\np weight -20\n}}\n}}\n",
        weighted(254, 10, ""),
        instance("W", 52, "192.0.2.11", "")
    );
    assert_eq!(found(&group, &NoHost), []);
}

#[test]
fn weights_and_nopreempt() {
    let backup = "state BACKUP\nnopreempt";
    let findings = found(&weighted(100, -10, backup), &NoHost);
    let message = "(V) a weight moves no mastership while the backups have nopreempt: \
                   they keep to a master of lower priority";
    assert_eq!(messages(&findings), [(Code::WeightWithoutEffect, message)]);
    let by_file = weighted(100, 0, &format!("{backup}\ntrack_file {{\nf weight 1\n}}"));
    assert_eq!(messages(&found(&by_file, &NoHost)), [(Code::WeightWithoutEffect, message)]);
    assert_eq!(found(&weighted(100, 0, backup), &NoHost), []);
    assert_eq!(found(&weighted(100, -10, "state BACKUP"), &NoHost), []);
}

#[test]
fn intervals_shorter_than_their_time_outs() {
    let script = |lines: &str| format!("vrrp_script s {{\nscript /bin/true\n{lines}\n}}\n");
    let findings = found(&script("interval 0.5\ntimeout 5"), &NoHost);
    let message = "script s runs every 0.5 s and may take 5 s: a run is left out while the one before still goes on";
    assert_eq!(messages(&findings), [(Code::ShortInterval, message)]);
    assert_eq!(found(&script("interval 5\ntimeout 5"), &NoHost), []);
    assert_eq!(found(&script("interval 5"), &NoHost), []);

    let check = |lines: &str| {
        found(&real_server(lines), &NoHost).iter().map(|finding| help(finding).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(check("delay_loop 3\nTCP_CHECK {\nconnect_timeout 4\n}"), ["let connect_timeout be at most delay_loop"]);
    assert_eq!(check("delay_loop 3\nTCP_CHECK {\n}"), ["let connect_timeout be at most delay_loop"]);
    assert_eq!(
        check("delay_loop 3\nMISC_CHECK {\nmisc_path /bin/true\nmisc_timeout 4\n}"),
        ["let misc_timeout be at most delay_loop"]
    );
    for fine in ["delay_loop 5\nTCP_CHECK {\n}", "delay_loop 3\nMISC_CHECK {\nmisc_path /bin/true\n}"] {
        assert!(check(fine).is_empty(), "{fine}");
    }
    let events = "bfd_instance b {\nneighbor_ip 192.0.2.9\n}\n".to_owned()
        + &real_server("delay_loop 3\nBFD_CHECK {\nname b\n}");
    assert_eq!(found(&events, &NoHost), []);
}

const PASSWORD: &str = "authentication {\nauth_type PASS\nauth_pass secret\n}";

#[test]
fn a_password_that_everybody_may_read() {
    let text = format!("{}{}", vi(PASSWORD), instance("W", 52, "192.0.2.11", PASSWORD));
    let findings = found(&text, &host(&[("/k.conf", file(0o644, 0, 0))]));
    let message = "the password stands in a file that everybody may read (mode 0644)";
    assert_eq!(messages(&findings), [(Code::ReadableSecret, message)]);
    assert_eq!((help(&findings[0]), findings[0].severity), ("chmod o-r /k.conf", Severity::Note));
    let at = text.find("auth_pass").unwrap();
    assert_eq!(findings[0].span.map(|span| span.start as usize), Some(at));

    assert_eq!(found(&text, &host(&[("/k.conf", file(0o640, 0, 50))])), []);
    assert_eq!(found(&vi(""), &host(&[("/k.conf", file(0o644, 0, 0))])), []);
    assert_eq!(found(&text, &host(&[("/k.conf", file(0o644, 0, 0)), ("/", directory(0o750, 0))])), []);
}

#[test]
fn a_password_in_an_included_file() {
    let files = [("/k.conf", "include /p.conf\ninclude /p.conf\n".to_owned()), ("/p.conf", vi(PASSWORD))];
    let parsed = parse(&MemoryLoader::new(files), Path::new("/k.conf"), &Options::default());
    let host = host(&[("/k.conf", file(0o644, 0, 0)), ("/p.conf", file(0o604, 0, 0))]);
    let findings = check(&parsed.config, &parsed.sources, &host);
    assert_eq!(findings.iter().map(help).collect::<Vec<_>>(), ["chmod o-r /p.conf"]);
}

#[test]
fn keys_in_files_of_their_own() {
    let hmac = |key: &str| vi(&format!("version 3\nauth_hmac {{\nkey 1 {key}\nactive_key 1\n}}"));
    let readable = [("/k.conf", file(0o644, 0, 0)), ("/key", file(0o600, 0, 0))];
    let helps = |text: &str, files: &[(&str, FileFact)]| -> Vec<String> {
        found(text, &host(files)).iter().map(|finding| help(finding).to_owned()).collect()
    };
    let (kept, written) = (hmac("file:/key"), hmac(&format!("hex:{}", "ab".repeat(32))));
    assert!(helps(&kept, &readable).is_empty());
    assert_eq!(helps(&kept, &[("/key", file(0o644, 0, 0))]), ["chmod o-r /key"]);
    assert_eq!(helps(&written, &readable), ["chmod o-r /k.conf"]);
    let shown = "SSL {\ncertificate /c.pem\nkey /key\n}\n";
    assert!(helps(shown, &readable).is_empty());
    let open = found(shown, &host(&[("/key", file(0o644, 0, 0))]));
    let message = "the key stands in a file that everybody may read (mode 0644)";
    assert_eq!((messages(&open), help(&open[0])), (vec![(Code::ReadableSecret, message)], "chmod o-r /key"));
}

#[test]
fn a_lease_outlasts_the_patience_of_every_peer() {
    let lease = |seconds: u64, lines: &str| {
        let text = format!("global_defs {{\nvrrp_vip_lease {seconds}\n}}\n");
        found(&(text + &instance("one", 1, "192.0.2.8", "") + &instance("two", 2, "192.0.2.9", lines)), &NoHost)
    };
    // 3 s, and 156/256 s of Skew_Time.
    assert_eq!(messages(&lease(5, "")), []);
    let short = lease(4, "");
    let message = "vrrp_vip_lease of 4 s is too short for instance two: its peers take over after 3.609375 s";
    assert_eq!(messages(&short), [(Code::ShortLease, message)]);
    assert!(short[0].refuses_start && help(&short[0]).contains("write 5 or more"));
    assert_eq!(messages(&lease(2, "version 3\nadvert_int 0.2")).len(), 1, "the other one is slow");
    assert_eq!(messages(&lease(5, "advert_int 2")).len(), 1);
    assert_eq!(messages(&lease(8, "advert_int 2")), []);
}
