//! The conformance table and the conformance tests name each other.

const TABLE: &str = include_str!("../../../docs/conformance/rfc9568.md");
const TESTS: &str = include_str!("rfc9568.rs");

/// The words of the table that look like a test's name.
fn named() -> impl Iterator<Item = &'static str> {
    let words = TABLE.split('`').skip(1).step_by(2);
    words.filter(|word| word.starts_with('s') && word.chars().nth(1).is_some_and(|c| c.is_ascii_digit()))
}

#[test]
fn every_named_test_exists() {
    assert!(named().count() > 30);
    for name in named() {
        assert!(TESTS.contains(&format!("fn {name}()")), "no test {name}");
    }
}

#[test]
fn every_test_is_named() {
    for test in TESTS.split("#[test]\nfn ").skip(1) {
        let name = test.split('(').next().unwrap_or_default();
        assert!(named().any(|named| named == name), "{name} is not in the table");
    }
}
