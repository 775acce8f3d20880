//! Whatever a file holds, it is read to its end.

mod support;

use std::path::Path;

use conf_parser::render::{self, Color};
use conf_parser::{Limits, MemoryLoader, Options, parse};
use proptest::prelude::*;
use support::token;

fn read(text: &[u8]) {
    let limits = Limits { lines: 2000, expanded_bytes: 1 << 20, ..Limits::default() };
    let loader = MemoryLoader::new([("k.conf", text), ("a.conf", b"include k.conf\nglobal_defs {\n".as_slice())]);
    let parsed =
        parse(&loader, Path::new("k.conf"), &Options { config_id: "n".to_owned(), limits, ..Options::default() });
    for finding in parsed.diagnostics.iter().take(50) {
        assert!(!render::excerpt(finding, &parsed.sources, Color::None).is_empty());
        assert!(!render::line(finding, &parsed.sources).is_empty());
    }
    for usage in &parsed.unsupported {
        assert!(parsed.sources.location(usage.span).is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes);
    }

    #[test]
    fn tokens_never_panic(tokens in proptest::collection::vec((token(), any::<bool>()), 0..150)) {
        let text: String = tokens.iter().flat_map(|(token, blank)| [token.as_str(), if *blank { " " } else { "" }]).collect();
        read(text.as_bytes());
    }

    #[test]
    fn complete_blocks_never_panic(lines in proptest::collection::vec((0..4usize, token(), token(), token()), 0..60)) {
        let mut text = String::new();
        for (kind, a, b, c) in &lines {
            let block = ["vrrp_instance V", "global_defs", "virtual_server 192.0.2.1 80", "virtual_server fwmark 3"];
            text.push_str(&format!("{} {{\n{a} {b} {c}\nreal_server 192.0.2.2 {{\n{a} {b}\nHTTP_GET {{\n{b} {c}\nurl {{\n{a} {c}\n}}\n}}\n}}\n}}\n", block[*kind]));
        }
        read(text.as_bytes());
    }
}
