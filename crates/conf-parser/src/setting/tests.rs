use std::path::Path;

use super::*;
use crate::{MemoryLoader, Options, Parsed, parse};

const PAIR: &str = "\
global_defs {
    router_id lb1
    notification_email {
        admin@example.com
    }
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    preempt_delay 0.5
    dont_track_primary
    authentication {
        auth_type PASS
        auth_pass secret
    }
    virtual_ipaddress {
        192.0.2.10/24 dev eth0
    }
}
virtual_server 192.0.2.10 80 {
    protocol TCP
    lvs_sched rr
    lvs_method NAT
    real_server 192.0.2.20 80 {
        weight 3
    }
}
";

fn read(text: &str) -> Parsed {
    parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default())
}

fn shown(parsed: &Parsed, secrets: bool) -> String {
    let place = |span| parsed.sources.location(span).map(|place| place.to_string());
    text(&parsed.config.settings(), &place, secrets)
}

#[test]
fn every_line_says_where_it_comes_from() {
    let text = shown(&read(PAIR), false);
    let origin = |start: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(start));
        line.and_then(|line| line.rsplit_once(" # ")).map(|(_, origin)| origin)
    };
    assert_eq!(origin("router_id"), Some("k.conf:2:5"));
    assert_eq!(origin("preempt_delay 0.5"), Some("k.conf:10:5"));
    assert_eq!(origin("192.0.2.10/24 dev eth0"), Some("k.conf:17:9"));
    assert_eq!(origin("vrrp_instance VI_1 {"), Some("k.conf:7:15"));
    assert_eq!(origin("priority 100"), Some("default"));
    assert_eq!(origin("# smtp_server"), Some("not set"));
    assert!(!text.contains("secret"), "{text}");
    assert!(shown(&read(PAIR), true).contains("auth_pass secret "));
}

#[test]
fn comments_stand_in_one_column_unless_a_line_is_long() {
    let text = shown(&read(&format!("global_defs {{\nrouter_id {}\n}}\n", "x".repeat(200))), false);
    let columns: Vec<_> = text.lines().filter_map(|line| line.rfind(" # ")).collect();
    assert!(columns.iter().filter(|column| **column < 70).count() > 10);
    assert_eq!(columns.iter().filter(|column| **column > 200).count(), 1);
}

/// What is shown of `text`, after a look that it means the same.
fn shown_again(text: &str) -> String {
    let parsed = read(text);
    let error = |parsed: &Parsed| parsed.diagnostics.iter().find(|it| it.severity == crate::Severity::Error).cloned();
    assert_eq!(error(&parsed), None, "{text}");
    let with = shown(&parsed, true).replace(" # k.conf", " # ");
    let again = read(&with);
    assert_eq!((error(&again), again.config), (None, parsed.config), "{with}");
    with
}

fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {{\n192.0.2.1\n}}\n{lines}\n}}\n"
    )
}

#[test]
fn words_that_could_be_something_else_are_quoted() {
    let list = |word: &str| format!("global_defs {{\nnotification_email {{\n{word}\n}}\n}}\n");
    for word in [
        "\"\"",
        "\"a b\"",
        "\"a#b\"",
        "\"a!b\"",
        "\"{\"",
        "\"}\"",
        "\"\u{b}\"",
        "\"\u{7f}\"",
        "\"\r\"",
        "\"a\\\"",
        "\\\\",
    ] {
        shown_again(&list(word));
        shown_again(&format!("global_defs {{\nrouter_id {word} \n}}\n"));
    }
    // At the start of a line.
    for word in
        ["\"@a\"", "\"@a b\"", "\"~SEQ(A,3)\"", "\"~LST(A,b)\"", "\"$A=5\"", "\"include\"", "\"include a.conf\"", "$A"]
    {
        assert!(shown_again(&list(word)).contains(&format!("\n        \"{}\" ", word.trim_matches('"'))), "{word}");
    }
    assert!(shown_again(&list("a'b")).contains(" a'b "));
    assert!(shown_again(&list("\u{e9}\u{fffd}")).contains(" \u{e9}\u{fffd} "));
}

#[test]
fn words_of_scripts_are_escaped() {
    let notify = |words: &str| shown_again(&instance(&format!("notify_master {words}")));
    assert!(notify(r#""/bin/x 'a b' \\x00\\x0b\\n\\x22""#).contains(r#" "'/bin/x' 'a b' '\x00\x0b\n\\x22'" "#));
    assert!(notify(r#"/bin/x "us\x65r" 'gr\x22p'"#).contains(r#" "'/bin/x'" user "gr\x22p" "#));
    assert!(notify(r#"/bin/x u's e'r :"#).contains(r#" "'/bin/x'" "us er" : "#));
    notify(r#"/bin/x "\x24{_PWD}" "\x5c""#);
}

#[test]
fn a_realm_is_quoted_once() {
    let routes = |realm: &str| format!("static_routes {{\n192.0.2.0/24 dev eth0 realms {realm}\n}}\n");
    assert!(shown_again(&routes("\"a b\"")).contains(" realms \"a b\" "));
    assert!(shown_again(&routes("\"a b/c#\"")).contains(" realms \"a b/c#\" "));
}

#[test]
fn only_passwords_can_be_what_text_does_not_hold() {
    let writable = |bytes: &[u8]| {
        let text = [b"authentication {\nauth_type PASS\nauth_pass ", bytes, b"\n}\n"].concat();
        let text = [
            b"vrrp_instance V {\ninterface eth0\nvirtual_router_id 5\n",
            text.as_slice(),
            b"virtual_ipaddress {\n192.0.2.1\n}\n}\n",
        ]
        .concat();
        let parsed = parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default());
        is_writable(&parsed.config.settings())
    };
    assert!(writable("p\u{e9}".as_bytes()) && writable("\u{fffd}".as_bytes()));
    // The last is cut after eight bytes.
    assert!(!writable(b"p\xe9") && !writable("1234567\u{e9}".as_bytes()));
}

#[cfg(feature = "serde")]
#[test]
fn json_has_numbers_switches_and_places() {
    let parsed = read(PAIR);
    let settings = parsed.config.settings();
    let json = serde_json::to_value(json(&settings, &parsed.sources, false)).unwrap();
    let instance = &json["vrrp_instance"][0];
    assert_eq!((&instance["name"], &instance["words"]), (&"VI_1".into(), &serde_json::json!(["VI_1"])));
    assert_eq!(instance["preempt_delay"]["value"], 0.5);
    assert_eq!(instance["virtual_router_id"]["value"], 51);
    assert_eq!(instance["priority"], serde_json::json!({ "value": 100, "from": "default" }));
    assert_eq!(instance["dont_track_primary"]["value"], true);
    assert_eq!(instance["skip_check_adv_addr"]["value"], false);
    assert_eq!(instance["authentication"]["auth_pass"]["value"], serde_json::Value::Null);
    let address = &instance["virtual_ipaddress"]["entries"][0];
    assert_eq!(address["value"], serde_json::json!(["192.0.2.10/24", "dev", "eth0"]));
    assert_eq!(address["from"], serde_json::json!({ "file": "k.conf", "line": 17, "column": 9 }));
    assert_eq!(json["global_defs"]["notification_email"]["entries"][0]["value"], "admin@example.com");
    assert_eq!(json["global_defs"]["smtp_server"]["value"], serde_json::Value::Null);
    let server = &json["virtual_server"][0];
    assert_eq!(server["words"], serde_json::json!(["192.0.2.10", 80]));
    assert_eq!(server["real_server"][0]["weight"]["value"], 3);
    let secret = serde_json::to_value(super::json(&settings, &parsed.sources, true)).unwrap();
    assert_eq!(secret["vrrp_instance"][0]["authentication"]["auth_pass"]["value"], "secret");
}

#[cfg(feature = "serde")]
#[test]
fn the_example_of_the_documentation_is_what_is_printed() {
    let page = include_str!("../../../../docs/config-json.md");
    let fenced = |info: &str| {
        let start = page.find(&format!("```{info}\n")).unwrap() + info.len() + 4;
        let rest = page.get(start..).unwrap();
        rest.get(..rest.find("```").unwrap()).unwrap()
    };
    let parsed = read(fenced("keepalived"));
    assert_eq!(parsed.diagnostics, []);
    let settings = parsed.config.settings();
    let printed = serde_json::to_value(json(&settings, &parsed.sources, false)).unwrap();
    let documented: serde_json::Value = serde_json::from_str(fenced("json")).unwrap();
    assert_holds("", &documented, &printed);
}

/// What is documented is printed, among others.
#[cfg(feature = "serde")]
fn assert_holds(at: &str, documented: &serde_json::Value, printed: &serde_json::Value) {
    match (documented, printed) {
        (serde_json::Value::Object(documented), serde_json::Value::Object(printed)) => {
            for (key, value) in documented {
                let at = format!("{at}.{key}");
                assert_holds(&at, value, printed.get(key).unwrap_or_else(|| panic!("{at} is not printed")));
            }
        }
        (serde_json::Value::Array(documented), serde_json::Value::Array(printed)) => {
            assert_eq!(documented.len(), printed.len(), "{at}");
            for (number, (documented, printed)) in documented.iter().zip(printed).enumerate() {
                assert_holds(&format!("{at}[{number}]"), documented, printed);
            }
        }
        _ => assert_eq!(documented, printed, "{at}"),
    }
}

#[test]
fn json_tells_how_a_value_came_in() {
    let files = [
        ("/k.conf", "include a.conf\n"),
        (
            "/a.conf",
            "$PRIO=150\nvrrp_instance V {\ninterface eth0\nvirtual_router_id 7\npriority $PRIO\nvirtual_ipaddress {\n\
             ~SEQ(N, 2) 192.0.2.$N\n}\n}\n",
        ),
    ];
    let parsed = parse(&MemoryLoader::new(files), Path::new("/k.conf"), &Options::default());
    let json = serde_json::to_value(json(&parsed.config.settings(), &parsed.sources, false)).unwrap();
    let instance = &json["vrrp_instance"][0];
    assert_eq!(
        instance["priority"]["from"],
        serde_json::json!({
            "file": "/a.conf", "line": 5, "column": 1,
            "definitions": [{ "name": "PRIO", "file": "/a.conf", "line": 1, "column": 1 }],
            "includes": [{ "file": "/k.conf", "line": 1, "column": 9 }]
        })
    );
    let rounds = &instance["virtual_ipaddress"]["entries"][1]["from"]["definitions"];
    assert!(rounds.as_array().unwrap().iter().any(|one| one["round"] == 2), "{rounds}");
}
