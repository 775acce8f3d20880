//! Any octets as a keepalived.conf, up to its blocks: every word has a place that exists, in the order of its line.
//!
//! A NUL ends the main file; what follows can be included as `other.conf`.

#![no_main]

use std::path::Path;

use conf_parser::{Limits, MemoryLoader, Node, Options, Sources, TokenKind, read_tree, tokens};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let mut end = 0;
    for token in tokens(octets) {
        assert!(token.range.start >= end && octets.get(token.range.clone()).is_some(), "{token:?} in order, and there");
        assert!(token.kind == TokenKind::Quoted || !token.range.is_empty());
        end = token.range.end;
    }
    let (main, other) = match octets.iter().position(|&octet| octet == 0) {
        Some(end) => (&octets[..end], &octets[end + 1..]),
        None => (octets, &b""[..]),
    };
    let loader = MemoryLoader::new([("main.conf", main), ("other.conf", other)]);
    let options = Options {
        // A few lines can ask for millions.
        limits: Limits { files: 16, lines: 2_000, expanded_bytes: 256 << 10, findings: 200, ..Limits::default() },
        ..Options::default()
    };
    let tree = read_tree(&loader, Path::new("main.conf"), &options);
    assert!(tree.diagnostics.len() <= 201);
    tree.nodes.iter().for_each(|node| check(node, &tree.sources, 0));
    for finding in &tree.diagnostics {
        assert!(!finding.message.is_empty());
        let spans = finding.span.into_iter().chain(finding.related.iter().map(|related| related.span));
        for span in spans {
            let trace = tree.sources.trace(span).expect("a place in a file that was read");
            assert!(trace.location.line > 0 && trace.location.column > 0);
            for expanded in &trace.expansions {
                assert!(tree.sources.location(expanded.used).is_some());
            }
        }
    }
});

/// A node stands somewhere, and no deeper than the language goes.
fn check(node: &Node, sources: &Sources, depth: usize) {
    assert!(depth < 8 && !node.words.is_empty());
    // A quote that touches the keyword of a command belongs to its word.
    assert!(node.row.is_none_or(|row| node.words[0].value.starts_with(row.keyword)));
    for word in &node.words {
        assert!(sources.trace(word.span).is_some());
    }
    node.body.iter().for_each(|inner| check(inner, sources, depth + 1));
}
