//! The conformance tables and the conformance tests name each other, and no requirement is left out.

use std::collections::BTreeMap;
use std::path::Path;

/// A table and the tests that it names.
struct Conformance {
    table: &'static str,
    tests: &'static str,
    /// How many requirements each section of the RFC has.
    requirements: &'static [(&'static str, usize)],
}

const RFC_9568: Conformance = Conformance {
    table: include_str!("../../../docs/conformance/rfc9568.md"),
    tests: include_str!("rfc9568.rs"),
    requirements: &[
        ("1.1", 1),
        ("2.5", 1),
        ("5.1.1.2", 1),
        ("5.1.1.3", 2),
        ("5.1.2.2", 1),
        ("5.1.2.3", 2),
        ("5.2.2", 1),
        ("5.2.4", 2),
        ("5.2.5", 1),
        ("5.2.6", 1),
        ("5.2.9", 2),
        ("6.1", 2),
        ("6.4.2", 6),
        ("6.4.3", 9),
        ("7.1", 16),
        ("7.2", 1),
        ("7.4", 2),
        ("8.1.2", 6),
        ("8.1.3", 1),
        ("8.2.1", 1),
        ("8.2.2", 8),
        ("8.2.3", 2),
        ("8.2.4", 1),
        ("8.3.1", 1),
        ("8.3.2", 4),
        ("8.4.2", 7),
        ("8.4.2.1.1", 1),
        ("9", 1),
    ],
};

const RFC_3768: Conformance = Conformance {
    table: include_str!("../../../docs/conformance/rfc3768.md"),
    tests: include_str!("rfc3768.rs"),
    requirements: &[
        ("5.2.2", 1),
        ("5.2.3", 2),
        ("5.3.2", 1),
        ("5.3.4", 2),
        ("5.3.6", 1),
        ("5.3.10", 1),
        ("6.4.2", 4),
        ("6.4.3", 5),
        ("7.1", 17),
        ("7.2", 1),
        ("8.2", 3),
        ("9.1", 1),
        ("9.2", 2),
    ],
};

impl Conformance {
    /// Section and requirement of every row.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let rows = self.table.lines().filter(|line| line.starts_with("| ")).skip(1);
        rows.map(|row| {
            let mut cells = row.split('|').map(str::trim).skip(1);
            (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
        })
    }

    /// The words of the table that look like a test's name.
    fn named(&self) -> impl Iterator<Item = &'static str> {
        let words = self.table.split('`').skip(1).step_by(2);
        words.filter(|word| word.starts_with('s') && word.chars().nth(1).is_some_and(|c| c.is_ascii_digit()))
    }

    fn check_names(&self) {
        assert!(self.named().count() > 30);
        for name in self.named() {
            assert!(self.tests.contains(&format!("#[test]\nfn {name}()")), "no test {name}");
        }
        for test in self.tests.split("#[test]\nfn ").skip(1) {
            let name = test.split('(').next().unwrap_or_default();
            assert!(self.named().any(|named| named == name), "{name} is not in the table");
        }
    }

    fn check_requirements(&self) {
        let mut counted = BTreeMap::new();
        for (section, requirement) in self.rows() {
            *counted.entry(section).or_insert(0) += keywords(requirement);
        }
        counted.retain(|_, count| *count > 0);
        let wanted: BTreeMap<_, _> = self.requirements.iter().copied().collect();
        assert_eq!(counted, wanted);
    }
}

/// How often RFC 2119's words occur; "MUST NOT" once.
fn keywords(text: &str) -> usize {
    const WORDS: [&str; 7] = ["MUST", "SHALL", "SHOULD", "MAY", "REQUIRED", "RECOMMENDED", "OPTIONAL"];
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| WORDS.contains(word)).count()
}

/// The section that a line of an RFC opens.
fn heading(line: &str) -> Option<&str> {
    let (number, title) = line.split_once(' ')?;
    let number = number.strip_suffix('.')?;
    let numeric = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    (numeric && title.starts_with(' ') && !title.contains("....")).then_some(number)
}

#[test]
fn the_table_of_rfc_9568_and_its_tests_name_each_other() {
    RFC_9568.check_names();
}

#[test]
fn the_table_of_rfc_3768_and_its_tests_name_each_other() {
    RFC_3768.check_names();
}

#[test]
fn the_table_of_rfc_9568_has_a_row_for_every_requirement() {
    RFC_9568.check_requirements();
}

#[test]
fn the_table_of_rfc_3768_has_a_row_for_every_requirement() {
    RFC_3768.check_requirements();
}

#[test]
fn the_requirements_of_rfc_9568_are_counted_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/rfc9568.txt");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: the text of RFC 9568 is not beside the workspace");
        return;
    };
    let (mut counted, mut section) = (BTreeMap::new(), "");
    for line in text.lines() {
        section = heading(line).unwrap_or(section);
        *counted.entry(section).or_insert(0) += keywords(line);
    }
    // Section 1.5 says what the words mean.
    counted.retain(|section, count| *count > 0 && *section != "1.5");
    assert_eq!(counted, RFC_9568.requirements.iter().copied().collect());
}
