//! Every word of the language, in an example: it is typed, shown, and read again from what is shown.
//!
//! `tests/examples/*.tsv` hold block, keyword, and the lines that use it (`\n` between lines), one word to a row.

#[path = "support/examples.rs"]
mod examples;

use conf_parser::schema::{Kind, schema};
use examples::{Example, error, examples, file, read, shown};

#[test]
fn every_example_is_typed_shown_and_read_again() {
    for Example { block, keyword, lines } in examples() {
        let name = format!("{block} {keyword}");
        assert!(schema().lookup(block, keyword).is_some(), "{name} is not in the table");
        let text = file(block, &lines, &lines);
        let parsed = read(&text);
        assert!(error(&parsed).is_none(), "{name}: {:?}\n{text}", error(&parsed));
        let with = shown(&parsed.config);
        assert_ne!(with, shown(&read(&file(block, "", &lines)).config), "{name} changes nothing\n{text}");
        let again = read(&with);
        assert_eq!(again.config, parsed.config, "{name}: what is shown means something else\n{text}\n{with}");
    }
}

#[test]
fn every_word_has_an_example() {
    let given: std::collections::HashSet<_> = examples().map(|example| (example.block, example.keyword)).collect();
    let rows = schema().rows().filter(|row| row.kind != Kind::Syntax);
    let without: Vec<_> = rows.map(|row| (row.block, row.keyword)).filter(|row| !given.contains(row)).collect();
    assert_eq!(without, []);
}
