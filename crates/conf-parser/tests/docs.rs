//! The pages that are written from the table of the language, and what the table says of the workspace.
//!
//! `UPDATE_DOCS=1` writes the pages anew.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use conf_parser::schema::{Kind, Row, Support, schema};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a page with what it should be, or writes it.
#[expect(clippy::disallowed_methods, reason = "the pages are files of the repository")]
fn page(path: &str, wanted: &str) {
    let path = workspace().join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = stored.lines().zip(wanted.lines()).position(|(stored, wanted)| stored != wanted);
    assert!(
        stored == wanted,
        "{} differs (line {:?}): UPDATE_DOCS=1 cargo test -p keepalived-conf-parser --test docs",
        path.display(),
        differs.map(|line| line + 1)
    );
}

/// Blocks in the order of the table, each with its rows.
fn blocks() -> Vec<(&'static str, Vec<&'static Row>)> {
    let mut blocks: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in schema().rows() {
        match blocks.iter_mut().find(|(block, _)| *block == row.block) {
            Some((_, rows)) => rows.push(row),
            None => blocks.push((row.block, vec![row])),
        }
    }
    blocks
}

fn title(block: &str) -> String {
    match block {
        "" => "Top level".to_owned(),
        "syntax" => "Syntax".to_owned(),
        block => format!("`{}`", block.replace('/', "` / `")),
    }
}

fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('>', "&gt;").replace('*', "\\*")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

#[test]
fn the_reference_shows_every_word() {
    let mut text = String::from(
        "# Every word of keepalived.conf\n\nWritten from the table in `crates/conf-parser/src/schema/`; `keepalived-rs explain WORD` prints a row. \
         `s`, `ms` and `us` are seconds, milliseconds and microseconds; ranges include both ends.\n",
    );
    for (block, rows) in blocks() {
        let _ = write!(
            text,
            "\n## {}\n\n| word | what follows | default | unit, range | meaning |\n|---|---|---|---|---|\n",
            title(block)
        );
        for row in rows {
            let since = if row.since.is_empty() { String::new() } else { format!(" (since {})", row.since) };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {}{} |",
                code(row.keyword),
                code(row.arguments),
                cell(row.default),
                cell(row.range),
                cell(row.doc),
                since
            );
        }
    }
    page("docs/keywords.md", &text);
}

const BEGIN: &str = "<!-- From here to the end of the table the page is written from the schema. -->\n";
const END: &str = "<!-- The end of the table. -->\n";

#[test]
#[expect(clippy::disallowed_methods, reason = "the page is a file of the repository")]
fn compatibility_shows_what_acts_on_every_word() {
    let count = |support| schema().rows().filter(|row| row.support == support).count();
    let mut table = format!(
        "\n{} words: {} acted on, {} not yet without harm to traffic (`none`), {} not yet that could change traffic (`traffic`).\n",
        schema().rows().count(),
        count(Support::Acted),
        count(Support::None),
        count(Support::Traffic)
    );
    for (block, rows) in blocks() {
        let acted: Vec<_> = rows.iter().filter(|row| row.support == Support::Acted).collect();
        let _ = write!(table, "\n### {}\n\n", title(block));
        if !acted.is_empty() {
            table.push_str("| word | acted on by | shown by the test |\n|---|---|---|\n");
            for row in acted {
                let _ = writeln!(table, "| {} | {} | `{}` |", code(row.keyword), row.worker, row.shown_by);
            }
            table.push('\n');
        }
        for (support, label) in [(Support::None, "Not yet, `none`"), (Support::Traffic, "Not yet, `traffic`")] {
            let words: Vec<_> = rows.iter().filter(|row| row.support == support).map(|row| code(row.keyword)).collect();
            if !words.is_empty() {
                let _ = writeln!(table, "{label}: {}\n", words.join(" "));
            }
        }
    }
    let path = workspace().join("docs/compatibility.md");
    let stored = std::fs::read_to_string(path).unwrap();
    let (before, rest) = stored.split_once(BEGIN).expect("the page has the mark where the table begins");
    let (_, after) = rest.split_once(END).expect("the page has the mark where the table ends");
    page("docs/compatibility.md", &format!("{before}{BEGIN}{}{END}{after}", table.replace("\n\n\n", "\n\n")));
}

/// The functions of every Rust file of the workspace.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut directories = vec![workspace().join("crates")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(defined(&path));
            }
        }
    }
    names
}

#[expect(clippy::disallowed_methods, reason = "the sources are files of the repository")]
fn defined(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = |rest: &str| rest.split(['(', '<']).next().unwrap_or_default().trim().to_owned();
    let defined = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")).map(name)
    };
    text.lines().filter_map(defined).collect()
}

#[test]
fn every_named_test_exists() {
    let functions = functions();
    for row in schema().rows().filter(|row| row.support == Support::Acted) {
        assert!(functions.contains(row.shown_by), "{} {}: there is no test {}", row.block, row.keyword, row.shown_by);
    }
}

/// The rows of the reference, with what they are compared by.
fn fields(line: &str) -> Vec<String> {
    line.split('\t').map(str::to_owned).collect()
}

/// The reference says everything twice, but for what acts on a word; both say the same.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test looks for its data")]
fn the_table_is_that_of_the_reference() {
    let path = workspace().join("../shared/reference/keywords.tsv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no reference at {}", path.display());
        return;
    };
    let theirs: BTreeSet<(String, String)> = text
        .lines()
        .skip(1)
        .map(fields)
        .map(|row| (if row[0] == "root" { String::new() } else { row[0].clone() }, row[1].clone()))
        .collect();
    let rows = schema().rows().filter(|row| row.since != "keepalived-rs");
    let ours: BTreeSet<_> = rows.map(|row| (row.block.to_owned(), row.keyword.to_owned())).collect();
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "only in the reference");
    assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "only here");
    for row in text.lines().skip(1).map(fields) {
        let block = if row[0] == "root" { "" } else { &row[0] };
        let ours = schema().lookup(block, &row[1]).unwrap();
        let kind = match ours.kind {
            Kind::Block => "block",
            Kind::Keyword => "keyword",
            Kind::Option => "option",
            Kind::Syntax => "syntax",
        };
        let given = |at: usize| if row[at] == "-" { "" } else { row[at].as_str() };
        let name = format!("{} {}", row[0], row[1]);
        assert_eq!((given(2), given(3)), (kind, ours.arguments), "{name}");
        assert_eq!((given(4), given(5)), (ours.default, ours.range), "{name}");
        assert_eq!((given(6), given(7)), (ours.area, ours.since), "{name}");
    }
}
