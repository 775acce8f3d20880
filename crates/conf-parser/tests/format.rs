//! A formatted file means the same, keeps its comments, and is formatted.

mod support;

use std::path::Path;

use conf_parser::format::format;
use conf_parser::{Code, Config, Diagnostic, MemoryLoader, Options, parse};
use proptest::prelude::*;
use support::token;

/// What a file means: its configuration, its findings, and the words that nothing acts on, all without their places.
fn meaning(text: &[u8]) -> (Config, Vec<String>, Vec<String>) {
    let loader = MemoryLoader::new([("k.conf", text), ("a.conf", b"include k.conf\nglobal_defs {\n".as_slice())]);
    let options = Options { config_id: "n".to_owned(), ..Options::default() };
    let parsed = parse(&loader, Path::new("k.conf"), &options);
    let finding = |finding: &Diagnostic| {
        let Diagnostic { severity, code, message, label, help, replacement, refuses_start, related, .. } = finding;
        if *code == Code::MissingClosingBrace {
            // Where the brace is missing is guessed from the indentation.
            return format!("{severity} {code} {refuses_start} {message} {label:?}");
        }
        let related: Vec<_> = related.iter().map(|related| &related.message).collect();
        format!("{severity} {code} {refuses_start} {message} {label:?} {help:?} {replacement:?} {related:?}")
    };
    // Formatting takes away what these two are about: blanks.
    let about_blanks = |finding: &&Diagnostic| ![Code::LongLine, Code::LoneReturn].contains(&finding.code);
    let mut findings: Vec<_> = parsed.diagnostics.iter().filter(about_blanks).map(finding).collect();
    // Of several on one line the order may change with their columns.
    findings.sort();
    let mut unsupported: Vec<_> =
        parsed.unsupported.iter().map(|usage| format!("{} {}", usage.block, usage.keyword)).collect();
    unsupported.sort();
    (parsed.config, findings, unsupported)
}

/// The comments of lines that hold nothing else.
fn comments(text: &[u8]) -> Vec<Vec<u8>> {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let lines = text.split(|byte| *byte == b'\n').map(|line| {
        let start = line.iter().position(|byte| !blank(byte)).unwrap_or(line.len());
        let end = line.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
        line.get(start..end).unwrap_or_default()
    });
    lines.filter(|line| matches!(line.first(), Some(b'#' | b'!'))).map(<[u8]>::to_vec).collect()
}

/// Every byte that is no blank, in order: nothing else is added or lost.
fn ink(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != 0x0b).collect()
}

fn check(text: &[u8]) {
    let formatted = format(text);
    let shown = String::from_utf8_lossy(&formatted).into_owned();
    assert_eq!(format(&formatted), formatted, "formatting again changes\n{shown}");
    assert_eq!(ink(&formatted), ink(text), "lost or added\n{shown}");
    assert_eq!(comments(&formatted), comments(text), "{shown}");
    assert_eq!(
        meaning(&formatted),
        meaning(text),
        "means something else\n{}\n---\n{shown}",
        String::from_utf8_lossy(text)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tokens_mean_the_same(tokens in proptest::collection::vec((token(), any::<bool>()), 0..150)) {
        let text: String = tokens.iter().flat_map(|(token, blank)| [token.as_str(), if *blank { " " } else { "" }]).collect();
        check(text.as_bytes());
    }

    #[test]
    fn any_bytes_mean_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        check(&bytes);
    }

    #[test]
    fn blocks_mean_the_same(lines in proptest::collection::vec((token(), token(), 0..9usize), 0..80)) {
        let mut text = String::new();
        for (a, b, end) in &lines {
            let ends = [" {\n", "\n{\n", " }\n", "\n}\n", " # c\n", "\n\n\n", " { ", "\\\n", "\n"];
            text.push_str(&format!("{a}  {b}{}", ends[*end]));
        }
        check(text.as_bytes());
    }
}

/// Two conditions, of which either may hold.
#[test]
fn conditions_keep_their_meaning() {
    for id in ["n", "m"] {
        check(
            format!(
                "@{id} vrrp_instance A {{\n@^{id} vrrp_instance B {{ \n interface  eth0\n\n@{id} priority   5\n}}\n"
            )
            .as_bytes(),
        );
    }
}

/// The ends of lines that are kept as they are written too.
#[test]
fn any_number_of_carriage_returns_ends_a_line() {
    check(b"\0\r\r\n");
    check(format!("! {}\r\r\r\n", "x".repeat(1_000)).as_bytes());
}

/// A `\` before a brace is a word; at the end of a line it would continue it.
#[test]
fn no_line_is_broken_after_a_backslash() {
    check(b"net_namespace  \\ }\n$A=  virtual_server 192.0.2.1 80 {\n");
}
