//! What is shown of a configuration means the same when it is read again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

#[path = "support/examples.rs"]
mod examples;

use std::collections::BTreeMap;

use conf_parser::schema::schema;
use conf_parser::setting;
use examples::{Example, error, examples, file, read, shown};
use proptest::prelude::*;

/// The examples of each block that has some.
fn blocks() -> Vec<(&'static str, Vec<Example>)> {
    let mut blocks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for example in examples() {
        let Example { block, keyword, .. } = example;
        assert!(schema().lookup(block, keyword).is_some(), "{block} {keyword}");
        blocks.entry(block).or_default().push(example);
    }
    blocks.into_iter().collect()
}

fn some_of(examples: &[Example]) -> BoxedStrategy<Vec<String>> {
    let lines: Vec<_> = examples.iter().map(|example| example.lines.clone()).collect();
    proptest::collection::vec(proptest::sample::select(lines), 0..10).boxed()
}

/// A block, some of its examples, and some of those of `global_defs`.
fn lines() -> impl Strategy<Value = (&'static str, Vec<String>, Vec<String>)> {
    let blocks = blocks();
    let globals = blocks.iter().find(|(block, _)| *block == "global_defs").unwrap();
    let globals = some_of(&globals.1);
    // A block with many words has more to be combined.
    let weights = blocks.iter().map(|(_, examples)| u32::try_from(examples.len()).unwrap());
    let strategies = blocks.iter().map(|(block, examples)| (Just(*block), some_of(examples), globals.clone()).boxed());
    proptest::strategy::Union::new_weighted(weights.zip(strategies).collect())
}

/// Words that values could be taken for something else with, or that are at the end of what is allowed.
const ODD: &[&str] = &[
    "\"\"",
    "\"a b\"",
    "\"#\"",
    "\"a!b\"",
    "\"{\"",
    "\"}\"",
    "\"\u{b}\"",
    "\"'\"",
    "'",
    "''",
    "'a b'",
    "\"'a  b'\"",
    "\\",
    "a\\",
    "\\\\",
    "\\#",
    "\"\\x22\\x24{_PWD}\\n\"",
    "\"\\0\"",
    "\"\\e9\"",
    "\"@n\"",
    "\"@n x\"",
    "\"~SEQ(A,3)\"",
    "\"$A=5\"",
    "\"$A\"",
    "$A",
    "${A}",
    "${_PWD}",
    "${_HASH}",
    "${_PWD",
    "\"include\"",
    "\"include x\"",
    "\u{e9}",
    "\u{fffd}",
    "\u{7f}",
    "\u{1}",
    "=",
    "-",
    "+",
    ":",
    "/",
    "0",
    "00",
    "010",
    "0x10",
    "+1",
    "-1",
    "1",
    "2",
    "3",
    "10",
    "100",
    "253",
    "254",
    "255",
    "256",
    "1000",
    "1001",
    "4094",
    "4294",
    "32767",
    "65535",
    "86400",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "0.5",
    "0.001",
    "0.000001",
    "1.9999995",
    "1.",
    "40.95",
    "4294.967295",
    "1-5",
    "5-1",
    "192.0.2.7",
    "192.0.2.0/24",
    "192.0.2.1/32",
    "192.0.2.1-9",
    "0.0.0.0",
    "0.0.0.0/0",
    "255.255.255.255",
    "224.0.0.18",
    "2001:db8::7",
    "2001:db8::7/64",
    "::",
    "::/0",
    "::ffff:192.0.2.1",
    "fe80::1",
    "ff02::12",
    "127.0.0.1",
    "on",
    "off",
    "true",
    "no",
    "default",
    "all",
    "any",
    "none",
    "never",
    "weight",
    "reverse",
    "noreverse",
    "inet6",
    "inet",
    "dev",
    "eth0",
    "eth1:1",
    "to",
    "from",
    "priority",
    "V",
    "W",
    "G",
    "chk",
    "overwrite",
    "initial",
    "MASTER",
    "TCP",
    "UDP",
    "SCTP",
    "NAT",
    "TUN",
    "OPS",
    "hex:00ff",
    "file:/x",
    "fwmark",
    "group",
    "min_ttl",
    "max_ttl",
];

/// A change to the lines: of the word at one place, or that the line stands at another.
fn changes() -> impl Strategy<Value = Vec<(usize, usize, Option<String>)>> {
    let keywords = schema().rows().map(|row| row.keyword).filter(|keyword| !keyword.starts_with(['<', '#', '{']));
    let word = prop_oneof![
        6 => proptest::sample::select(ODD).prop_map(|word| Some(word.to_owned())),
        1 => proptest::sample::select(keywords.collect::<Vec<_>>()).prop_map(|word| Some(word.to_owned())),
        1 => Just(None),
    ];
    proptest::collection::vec((0..10usize, 0..8usize, word), 0..8)
}

fn changed(lines: &mut [String], changes: &[(usize, usize, Option<String>)]) {
    for (line, at, word) in changes {
        let count = lines.len();
        let Some(line) = lines.get_mut(line % count.max(1)) else { return };
        let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        match word {
            // At the end too.
            Some(word) if *at >= words.len() => words.push(word.clone()),
            Some(word) => words[*at] = word.clone(),
            None => words.truncate(at.max(&1).to_owned()),
        }
        *line = words.join(" ");
    }
}

/// As many of `lines` as go together behind `before`, in a file.
fn without_mistakes(before: &str, block: &str, lines: &[String]) -> (usize, String) {
    let mut taken: Vec<&str> = Vec::new();
    let text = |lines: &[&str]| {
        let lines = lines.join("\n");
        format!("{before}{}", file(block, &lines, &lines))
    };
    for line in lines {
        taken.push(line);
        if error(&read(&text(&taken))).is_some() {
            taken.pop();
        }
    }
    (taken.len(), text(&taken))
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let parsed = read(text);
    if error(&parsed).is_some() || !setting::is_writable(&parsed.config.settings()) {
        return Ok(());
    }
    let with = shown(&parsed.config);
    let again = read(&with);
    prop_assert_eq!(error(&again), None, "{}\n{}", text, &with);
    prop_assert_eq!(&again.config, &parsed.config, "{}\n{}", text, &with);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_is_read_again((block, lines, globals) in lines()) {
        let (_, globals) = without_mistakes("", "global_defs", &globals);
        let (_, text) = without_mistakes(&globals, block, &lines);
        check(&text)?;
    }

    #[test]
    fn odd_words_are_shown_as_what_they_mean((block, mut lines, globals) in lines(), changes in changes()) {
        changed(&mut lines, &changes);
        let (_, globals) = without_mistakes("", "global_defs", &globals);
        let (_, text) = without_mistakes(&globals, block, &lines);
        check(&text)?;
    }
}

#[test]
fn examples_go_together() {
    let taken = |(block, examples): &(&str, Vec<Example>)| {
        let lines: Vec<_> = examples.iter().map(|example| example.lines.clone()).collect();
        without_mistakes("", block, &lines).0
    };
    let (taken, count) = (blocks().iter().map(taken).sum::<usize>(), examples().count());
    assert!(taken * 2 > count, "{taken} of {count}");
}
