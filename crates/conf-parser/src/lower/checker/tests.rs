use std::path::Path;
use std::time::Duration;

use super::http::{HTTP, UrlWords};
use super::misc::MiscWords;
use super::tracked::{BfdWords, FileWords};
use super::udp::UDP;
use super::wire::{DNS, SMTP};
use super::*;
use crate::config::HttpVersion;
use crate::config::*;
use crate::lower::tests::handled as words;
use crate::{MemoryLoader, Options, Parsed, parse};

/// Every keyword that this module reads.
pub(in crate::lower) fn handled(real: &str) -> Vec<(String, String)> {
    let block = |keyword: &str| format!("{real}/{keyword}");
    let mut all = Vec::new();
    for keyword in ["TCP_CHECK", "PING_CHECK", "SMTP_CHECK/host"] {
        all.extend(words(&block(keyword), &[Draft::<()>::CONNECTION, Draft::<()>::TIMING]));
    }
    all.extend(words(&block("UDP_CHECK"), &[Draft::CONNECTION, Draft::TIMING, UDP]));
    all.extend(words(&block("DNS_CHECK"), &[Draft::CONNECTION, Draft::TIMING, DNS]));
    all.extend(words(&block("SMTP_CHECK"), &[Draft::CONNECTION, Draft::TIMING, SMTP]));
    all.extend(words(&block("MISC_CHECK"), &[Draft::TIMING, MiscWords::HANDLERS]));
    all.extend(words(&block("FILE_CHECK"), &[FileWords::HANDLERS]));
    all.extend(words(&block("BFD_CHECK"), &[BfdWords::HANDLERS, &[Draft::ALPHA]]));
    for keyword in ["HTTP_GET", "SSL_GET"] {
        let http = words(&block(keyword), &[Draft::CONNECTION, Draft::TIMING, HTTP]);
        let url = words(&block(&format!("{keyword}/url")), &[UrlWords::HANDLERS, UrlWords::REGEX]);
        // One table for both, though only SSL_GET has this word.
        let only_ssl = |word: &(String, String)| word.1 == "tls_compliant" && keyword == "HTTP_GET";
        all.extend(http.into_iter().chain(url).filter(|word| !only_ssl(word)));
    }
    all
}

/// Every option that this module reads, by the keyword whose line it stands in.
pub(in crate::lower) fn options() -> Vec<(String, Vec<&'static str>)> {
    let versions = || HttpVersion::WORDS.iter().map(|(word, _)| *word).collect();
    let regex = || RegexOption::WORDS.iter().map(|(word, _)| *word).collect();
    vec![
        ("HTTP_GET/http_protocol".to_owned(), versions()),
        ("SSL_GET/http_protocol".to_owned(), versions()),
        ("HTTP_GET/url/regex_options".to_owned(), regex()),
        ("SSL_GET/url/regex_options".to_owned(), regex()),
        ("DNS_CHECK/type".to_owned(), DnsType::WORDS.iter().map(|(word, _)| *word).collect()),
        ("FILE_CHECK/weight".to_owned(), vec!["reverse", "noreverse"]),
    ]
}

fn read(text: &str) -> Parsed {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
}

/// A real server with `lines`, in a virtual server with `outer`.
fn server(outer: &str, lines: &str) -> Parsed {
    read(&format!(
        "track_file tf {{\nfile /x\nweight 3 reverse\n}}\nbfd_instance b1 {{\nneighbor_ip 192.0.2.5\n}}\nbfd_instance b2 {{\nneighbor_ip 192.0.2.6\nvrrp\n}}\n\
         virtual_server 192.0.2.10 80 {{\nprotocol TCP\nlvs_sched rr\nlvs_method NAT\n{outer}\nreal_server 192.0.2.11 80 {{\n{lines}\n}}\n}}\n\
         track_file late {{\nfile /y\n}}\n"
    ))
}

fn checkers(parsed: &Parsed) -> &[Checker] {
    &parsed.config.virtual_servers[0].real_servers[0].checkers
}

fn messages(parsed: &Parsed) -> Vec<&str> {
    parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect()
}

/// The findings of a block `keyword` with `lines`.
fn findings(keyword: &str, lines: &str) -> Vec<String> {
    let parsed = server("", &format!("{keyword} {{\n{lines}\n}}"));
    messages(&parsed).into_iter().map(str::to_owned).collect()
}

#[test]
fn checkers_stay_small() {
    assert!(size_of::<Checker>() <= 152, "{}", size_of::<Checker>());
    assert!(size_of::<CheckerKind>() <= 16, "{}", size_of::<CheckerKind>());
}

#[test]
fn connection_values_are_complained_about_as_keepalived_does() {
    let lines = "connect_port 0\nconnect_port abc\nbind_port 70000\nbindto 2001:db8::1\nconnect_ip 1.2.3\n\
                 bind_if abcdefghijklmnopqrstuvw\nconnect_timeout 0\nfwmark -1\nretry -1\ndelay_before_retry -1\n\
                 warmup -1\ndelay_loop 0\nalpha maybe\nlog_all_failures maybe";
    let expected = [
        "Invalid checker connect_port '0'",
        "Invalid checker connect_port 'abc'",
        "Invalid checker bind_port '70000'",
        "bindto address 2001:db8::1 does not match address family of connect_ip - skipping",
        "Invalid connect_ip address 1.2.3 - ignoring",
        "Interface name abcdefghijklmnopqrstuvw is too long - ignoring",
        "connect_timeout 0 invalid - ignoring",
        "Invalid fwmark connection value '-1'",
        "Invalid retry connection value '-1'",
        "Invalid delay_before_retry connection value '-1'",
        "Invalid warmup connection value '-1'",
        "delay_loop '0' is invalid - ignoring",
        "Invalid alpha parameter maybe",
        "Invalid log_all_failures parameter maybe",
    ];
    assert_eq!(findings("TCP_CHECK", lines), expected);
    let parsed = server("", &format!("TCP_CHECK {{\n{lines}\n}}"));
    let plain = server("", "TCP_CHECK {\n}");
    assert_eq!(checkers(&parsed), checkers(&plain));
}

#[test]
fn the_first_address_decides_the_family() {
    let last = "bindto 192.0.2.7\nconnect_ip 2001:db8::1";
    assert_eq!(
        findings("TCP_CHECK", last),
        ["connect_ip address 2001:db8::1 does not match address family of bindto - skipping"]
    );
    assert_eq!(findings("TCP_CHECK", "connect_ip 2001:db8::1\nbindto 2001:db8::2"), [""; 0]);
    let local = "connect_ip fe80::1";
    assert_eq!(findings("TCP_CHECK", local), ["Checker link local address fe80::1 requires a bind_if"]);
    assert_eq!(findings("TCP_CHECK", "connect_ip fe80::1\nbind_if eth0"), [""; 0]);
}

#[test]
fn times_and_tries_come_from_outside_with_their_places() {
    let parsed = server(
        "delay_loop 7\nretry 5\nconnect_timeout 2",
        "retry 4\nwarmup 0\nTCP_CHECK {\nretry 3\n}\nDNS_CHECK {\n}",
    );
    let [tcp, dns] = checkers(&parsed) else { panic!("two checkers") };
    let seconds = Duration::from_secs;
    let timing = |retry, between| CheckTiming {
        delay_loop: seconds(7),
        warmup: Duration::ZERO,
        retry,
        delay_before_retry: seconds(between),
    };
    assert_eq!((tcp.timing, dns.timing), (timing(3, 1), timing(4, 7)));
    assert_eq!(dns.target.connect_timeout, seconds(2));
    let line = |checker: &Checker, keyword| {
        let span = checker.places.of(checker.kind.checker_type().block(), keyword);
        parsed.sources.location(span?).map(|location| location.line)
    };
    let lines = |checker| {
        ["delay_loop", "retry", "warmup", "connect_timeout", "delay_before_retry"].map(|word| line(checker, word))
    };
    assert_eq!(lines(tcp), [Some(16), Some(23), Some(21), Some(18), None]);
    assert_eq!(lines(dns), [Some(16), Some(20), Some(21), Some(18), None]);
}

#[test]
fn defaults_differ_by_kind() {
    let blocks = "TCP_CHECK {\n}\nDNS_CHECK {\n}\nMISC_CHECK {\nmisc_path x\n}\nSSL_GET {\nurl {\npath /\n}\n}";
    let parsed = server("", blocks);
    let defaults: Vec<_> = checkers(&parsed)
        .iter()
        .map(|checker| {
            (checker.timing.retry, checker.timing.delay_before_retry.as_secs(), checker.timing.warmup.as_secs())
        })
        .collect();
    assert_eq!(defaults, [(1, 1, 60), (3, 60, 60), (0, 1, 60), (1, 3, 60)]);
}

#[test]
fn what_a_checker_cannot_do_without() {
    for (keyword, lines, message) in [
        ("MISC_CHECK", "misc_timeout 5", "No script path has been specified for MISC_CHECKER - skipping"),
        ("FILE_CHECK", "", "FILE_CHECK has no track_file specified - ignoring"),
        ("FILE_CHECK", "track_file late", "track_file late not found"),
        ("BFD_CHECK", "", "([192.0.2.11]:tcp:80) No name has been specified for BFD_CHECKER - skipping"),
        ("BFD_CHECK", "name nope", "([192.0.2.11]:tcp:80) BFD_CHECK - BFD nope not configured"),
        ("BFD_CHECK", "name b2", "([192.0.2.11]:tcp:80) BFD_CHECK - BFD b2 not configured"),
        ("BFD_CHECK", "name", "([192.0.2.11]:tcp:80) BFD_CHECK - No or too many names specified - skipping checker"),
        ("HTTP_GET", "", "HTTP/SSL_GET checker has no urls specified - ignoring"),
        ("SSL_GET", "url {\nstatus_code 200\n}", "HTTP/SSL_GET checker url has no path - ignoring"),
    ] {
        let parsed = server("", &format!("{keyword} {{\n{lines}\n}}"));
        assert_eq!(messages(&parsed), [message]);
        let kind = checkers(&parsed)[0].kind.clone();
        assert!(matches!(kind, CheckerKind::Unusable(kind) if kind.as_str() == keyword), "{kind:?}");
    }
}

#[test]
fn a_session_is_followed_once() {
    let parsed = server("", "BFD_CHECK {\nname b1\nname b2\n}\nBFD_CHECK {\nname b1\n}");
    assert_eq!(
        messages(&parsed),
        [
            "([192.0.2.11]:tcp:80) BFD_CHECK - BFD b2 already specified as b1",
            "([192.0.2.11]:tcp:80) BFD_CHECK - RS already monitoring b1"
        ]
    );
    assert_eq!(checkers(&parsed).len(), 1);
}

#[test]
fn the_weight_of_a_file() {
    let weight = |lines: &str| {
        let parsed = server("", &format!("FILE_CHECK {{\ntrack_file tf\n{lines}\n}}"));
        let CheckerKind::File(check) = &checkers(&parsed)[0].kind else { panic!("FILE_CHECK") };
        (check.weight.multiplier, check.weight.reverse, messages(&parsed).join("\n"))
    };
    assert_eq!(weight(""), (3, true, String::new()));
    assert_eq!(weight("weight -5"), (-5, false, String::new()));
    let option = "unknown track file weight option foo - ignoring".to_owned();
    assert_eq!(weight("weight 2 foo"), (2, false, option));
    let range = "weight for track file must be in [-2147483647..2147483647] inclusive. Ignoring...".to_owned();
    assert_eq!(weight("weight -2147483648"), (3, true, range));
}

#[test]
fn hexadecimal_digits_as_they_come() {
    let parsed = server("", "UDP_CHECK {\npayload Ab12f 3 456 \"546443123\"\nrequire_reply x1 X 2x\n}");
    assert_eq!(messages(&parsed), [""; 0]);
    let CheckerKind::Udp(check) = &checkers(&parsed)[0].kind else { panic!("UDP_CHECK") };
    let payload = [0xab, 0x12, 0x0f, 0x03, 0x45, 0x06, 0x54, 0x64, 0x43, 0x12, 0x03];
    assert_eq!(check.payload, Some(Payload(payload.to_vec())));
    let byte = |value, mask| ReplyByte { value, mask };
    let reply = [byte(0x01, 0x0f), byte(0, 0xf0), byte(0x20, 0xf0)];
    assert_eq!(check.require_reply, Some(ReplyPattern(reply.to_vec())));
    let wrong =
        "payload 0x12\npayload\nrequire_reply foo\nrequire_reply \"\"\nmin_reply_length 70000\nmin_reply_length 300";
    assert_eq!(
        findings("UDP_CHECK", wrong),
        [
            "Invalid hex string for UDP_CHECK payload",
            "UDP_CHECK payload requires a payload",
            "Invalid hex string for UDP_CHECK reply",
            "Invalid hex string for UDP_CHECK reply",
            "UDP_CHECK min length 70000 not valid - must be between 0 & 65535",
            "UDP_CHECK min_reply length 300 > max_reply_length 255 - will always fail",
        ]
    );
}

#[test]
fn names_and_types_of_queries() {
    assert_eq!(findings("DNS_CHECK", "type soa\ntype Rrsig\nname www.example.com."), [""; 0]);
    assert_eq!(
        findings("DNS_CHECK", "type FOO\nname a..b\nname .x\nname .\nname x"),
        [
            "Unknown DNS check type FOO - ignoring",
            "DNS_CHECK name 'a..b' has empty label - ignoring",
            "DNS_CHECK name '.x' has empty label - ignoring",
            "DNS_CHECK name already specified - ignoring",
        ]
    );
    let long = server("", &format!("DNS_CHECK {{\nname {}.com\n}}", "a".repeat(64)));
    assert_eq!(messages(&long), ["the name is too long for a DNS query"]);
    assert_eq!(crate::config_test_exit_code(&long.diagnostics), 0);
}

#[test]
fn each_host_is_a_checker() {
    let parsed = server(
        "",
        "SMTP_CHECK {\nconnect_port 77\nhost {\nconnect_ip 192.0.2.7\nretry 9\n}\nconnect_timeout 10\n\
         host {\nconnect_port 26\nconnect_timeout 11\nwarmup 4\n}\nhelo_name last\n}",
    );
    let [own, first, second] = checkers(&parsed) else { panic!("three checkers") };
    let target = |checker: &Checker| {
        let target = &checker.target;
        (target.socket().address.map(|ip| ip.to_string()), target.port, target.connect_timeout.as_secs())
    };
    assert_eq!(target(own), (None, Some(77), 10));
    assert_eq!(target(first), (Some("192.0.2.7".to_owned()), None, 10));
    assert_eq!(target(second), (None, Some(26), 11));
    for checker in [own, first, second] {
        assert_eq!((checker.timing.retry, checker.timing.warmup.as_secs()), (9, 4));
        assert_eq!(checker.kind, CheckerKind::Smtp(Box::new(SmtpCheck { helo_name: "last".to_owned() })));
    }
    let written = |checker: &Checker, keyword| checker.places.of(CheckerType::Smtp.block(), keyword).is_some();
    assert!(written(first, "connect_ip") && written(first, "connect_timeout") && !written(first, "connect_port"));
    assert!(written(own, "retry") && !written(own, "connect_ip"));
    assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 0);
    assert_eq!(findings("SMTP_CHECK", "helo_name"), ["SMTP_CHECK helo name missing"]);
}

#[test]
fn urls_are_complained_about_as_keepalived_does() {
    let lines = "url {\npath /\ndigest 12\ndigest zz345678901234567890123456789012\n\
                 digest 0123456789abcdef0123456789abcdef\ndigest 1123456789abcdef0123456789abcdef\n\
                 status_code 99\nstatus_code 300-200 404\nvirtualhost\n}\nhttp_protocol 2.0\nhttp_protocol\n\
                 virtualhost\nenable_sni maybe\nfast_recovery maybe\nnb_get_retry x";
    assert_eq!(
        findings("HTTP_GET", lines),
        [
            "digest '12' character length should be 32 rather than 2",
            "Unable to interpret hex digit in 'zz' at offset 0/1",
            "Digest '1123456789abcdef0123456789abcdef' is a duplicate",
            "Invalid HTTP_GET status code '99'",
            "Invalid HTTP_GET status code '300-200'",
            "Missing HTTP_GET virtualhost name",
            "Invalid http_protocol version 2.0",
            "Missing http_protocol version",
            "HTTP_GET virtualhost name missing",
            "Invalid enable_sni parameter maybe",
            "Invalid fast_recovery parameter maybe",
            "nb_get_retry is deprecated - please use 'retry'",
            "Invalid nb_get_retry value 'x'",
        ]
    );
}

#[test]
fn patterns_change_no_exit_status() {
    let url = |lines: &str| {
        let parsed = server("", &format!("HTTP_GET {{\nurl {{\npath /\n{lines}\n}}\n}}"));
        assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 0, "{lines}");
        let CheckerKind::Http(get) = &checkers(&parsed)[0].kind else { panic!("HTTP_GET") };
        (get.urls[0].regex.clone(), messages(&parsed).join("\n"))
    };
    assert_eq!(url("regex \"(a\""), (None, "Invalid regex: '(a' at offset 2: missing closing parenthesis".to_owned()));
    assert_eq!(url("regex a b"), (None, "regex missing or too many fields".to_owned()));
    assert_eq!(url("regex_options caseless").1, "regex parameters specified without regex");
    let (regex, message) =
        url("regex \"a b\"\nregex_min_offset 10\nregex_max_offset 5\nregex_stack 50 20\nregex_options caseles dotall");
    let regex = regex.unwrap();
    assert_eq!((regex.pattern.as_str(), regex.min_offset, regex.max_offset, regex.stack), ("a b", 10, None, None));
    assert!(regex.options.contains(RegexOption::Dotall) && !regex.options.contains(RegexOption::Caseless));
    let expected = [
        "regex min offset 10 > regex_max_offset 5 - ignoring",
        "regex stack start cannot exceed max value",
        "unknown regex option caseles - ignoring",
    ];
    assert_eq!(message.lines().collect::<Vec<_>>(), expected);
    let pattern = |line: &str| url(line).0.unwrap().pattern.value;
    assert_eq!(pattern(r#"regex "it's \x22\\d\x24""#), r#"it's "\d$"#);
    assert_eq!(pattern(r#"regex a'b c'"d""#), "ab cd");
    assert_eq!(url(r#"regex "\d""#).1, r"the backslash of '\d' does not reach the pattern");
    assert_eq!(url(r#"regex "\\d""#).1, "");
}

#[test]
fn server_names_need_a_name() {
    let notes = |outer: &str, lines: &str| {
        let parsed = server(outer, &format!("SSL_GET {{\n{lines}\nurl {{\npath /\n}}\n}}"));
        assert_eq!(crate::config_test_exit_code(&parsed.diagnostics), 0);
        messages(&parsed).join("\n")
    };
    assert_eq!(notes("", "enable_sni"), "enable_sni has no name to send");
    assert_eq!(notes("virtualhost x", "enable_sni"), "");
    assert_eq!(notes("", "enable_sni\nvirtualhost x"), "");
    assert_eq!(notes("", "sni_name x"), "");
    assert_eq!(notes("", "sni_name x\nenable_sni off"), "");
    assert_eq!(
        findings("HTTP_GET", "enable_sni\nurl {\npath /\n}"),
        ["HTTP_GET makes no TLS connection: no server name is sent"]
    );
}

#[test]
fn a_url_is_tls_compliant_as_its_checker_is() {
    let parsed = server("", "SSL_GET {\nurl {\npath /a\n}\nurl {\npath /b\ntls_compliant off\n}\ntls_compliant\n}");
    let CheckerKind::Ssl(get) = &checkers(&parsed)[0].kind else { panic!("SSL_GET") };
    assert_eq!(get.urls.iter().map(|url| url.tls_compliant).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn programs_and_whom_they_run_as() {
    let parsed =
        server("", "MISC_CHECK {\nmisc_path \"/x 'a b' c\"\nuser nobody nogroup\nmisc_timeout 0\nmisc_dynamic off\n}");
    let CheckerKind::Misc(check) = &checkers(&parsed)[0].kind else { panic!("MISC_CHECK") };
    assert_eq!(check.script.command, ["/x", "a b", "c"]);
    let user = ScriptUser { user: "nobody".to_owned(), group: Some("nogroup".to_owned()), supplementary_groups: false };
    assert_eq!((check.script.user.clone(), check.timeout, check.dynamic), (Some(user), None, true));
    assert_eq!(parsed.config.scripts().count(), 1);
    assert_eq!(
        findings("MISC_CHECK", "misc_path \"/x y\"\nmisc_timeout 5000\nuser"),
        ["Invalid misc_timeout value '5000'", "No user specified for misc checker script '/x' 'y'"]
    );
}
