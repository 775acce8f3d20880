//! The corpus of mistakes: what is said of each file, beside what keepalived says, as a page that a person reads.
//!
//! The files are looked for in `$KEEPALIVED_CORPUS`, else in `shared/corpus` beside the workspace.
//! `UPDATE_DOCS=1` writes the page.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use conf_parser::host::{Facts, FileFact, FileKind, Interface};
use conf_parser::render::{self, Color};
use conf_parser::{Diagnostic, LoadError, Loader, Options, Parsed, check, parse};
use netlab::Skip;
use netlab::harness::{self, CaseResult, case};

/// Most findings of one file that the page shows.
const MOST_SHOWN: usize = 4;

/// The interfaces of the machine that keepalived was asked on.
const INTERFACES: &[&str] = &["eth0", "eth1", "eth2", "eth3", "eth4", "lo"];

/// The mistake is one of the host or none at all, and the file itself has nothing to mend.
const NOTHING_TO_SUGGEST: &[&str] = &[];

struct Disk(PathBuf);

impl Loader for Disk {
    #[expect(clippy::disallowed_methods, reason = "the corpus is on disk")]
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        std::fs::read(self.0.join(path)).map_err(|_| LoadError::NotFound)
    }

    fn glob(&self, _: &str) -> Result<Vec<PathBuf>, LoadError> {
        Ok(Vec::new())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test looks for its data")]
fn corpus() -> Result<PathBuf, Skip> {
    let given = std::env::var("KEEPALIVED_CORPUS").map(PathBuf::from);
    let path =
        given.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus")).join("bad");
    if path.is_dir() {
        return Ok(path);
    }
    Err(Skip(format!("corpus not found at {}", path.display())))
}

/// One row of `labels.tsv`.
struct Label {
    file: String,
    line: usize,
    mistake: String,
    verdict: String,
    keepalived_says: String,
}

#[expect(clippy::disallowed_methods, reason = "the corpus is on disk")]
fn labels(corpus: &Path) -> Vec<Label> {
    let text = String::from_utf8_lossy(&std::fs::read(corpus.join("labels.tsv")).unwrap()).into_owned();
    let rows = text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| Label {
        file: row[0].clone(),
        line: row[1].parse().unwrap(),
        mistake: row[2].clone(),
        verdict: row[5].clone(),
        keepalived_says: row[7].clone(),
    })
    .collect()
}

fn read(corpus: &Path, file: &str) -> Parsed {
    let options = Options { config_id: "testhost".to_owned(), ..Options::default() };
    let mut parsed = parse(&Disk(corpus.to_owned()), Path::new(file), &options);
    parsed.diagnostics.extend(host_findings(&parsed));
    parsed.diagnostics.sort_by_key(|finding| finding.span);
    parsed
}

fn host_findings(parsed: &Parsed) -> Vec<Diagnostic> {
    let interfaces = INTERFACES.iter().map(|name| ((*name).to_owned(), Interface::default())).collect();
    let files = ["/bin/true", "/usr/bin/true"].map(|path| (PathBuf::from(path), executable()));
    let host = Facts { interfaces: Some(interfaces), files: Some(files.into()), ..Facts::default() };
    check(&parsed.config, &parsed.sources, &host)
}

fn executable() -> FileFact {
    FileFact { kind: FileKind::File, mode: 0o755, uid: 0, gid: 0 }
}

fn on_line(parsed: &Parsed, line: usize) -> impl Iterator<Item = &Diagnostic> {
    let at = move |span| parsed.sources.location(span).is_some_and(|place| place.line == line);
    parsed
        .diagnostics
        .iter()
        .filter(move |finding| finding.span.is_some_and(at) || finding.related.iter().any(|related| at(related.span)))
}

/// Every mistake has a finding at its line; nine of ten come with the fix.
fn every_mistake_is_named_on_its_line_with_a_fix() -> CaseResult {
    let corpus = corpus()?;
    let (mut mistakes, mut fixes) = (0, 0);
    let mut without = Vec::new();
    for label in labels(&corpus) {
        let parsed = read(&corpus, &label.file);
        if label.verdict == "legal" {
            assert_eq!(parsed.diagnostics, [], "{}", label.file);
            continue;
        }
        let found: Vec<_> = on_line(&parsed, label.line).collect();
        assert!(!found.is_empty(), "{}: nothing is said of line {}: {}", label.file, label.line, label.mistake);
        mistakes += 1;
        let fix = found.iter().any(|finding| finding.help.is_some() || finding.replacement.is_some());
        fixes += usize::from(fix);
        if !fix && !NOTHING_TO_SUGGEST.contains(&label.file.as_str()) {
            without.push(label.file);
        }
    }
    println!("{mistakes} mistakes, {fixes} with a fix; without: {without:?}");
    assert!(fixes * 10 >= mistakes * 9, "{fixes} of {mistakes}, without: {without:?}");
    Ok(())
}

fn cut(text: &str) -> String {
    let cut = |line: &str| match line.char_indices().nth(160) {
        Some((at, _)) => format!("{}…\n", &line[..at]),
        None => format!("{line}\n"),
    };
    text.lines().map(cut).collect()
}

fn page(corpus: &Path) -> String {
    let mut page = String::from(
        "# What is said of mistakes\n\nSixty small files with one mistake each: what this project says of them, and what Debian's \
         keepalived 2.2.7 says. The page is written by `UPDATE_DOCS=1 cargo test -p keepalived-conf-parser --test bad`.\n",
    );
    for label in labels(corpus) {
        let parsed = read(corpus, &label.file);
        let _ = write!(page, "\n## {} ({}, line {})\n\n", label.mistake, label.file, label.line);
        if parsed.diagnostics.is_empty() {
            page.push_str("Nothing to say: it is legal.\n");
        } else {
            page.push_str("```text\n");
            for finding in parsed.diagnostics.iter().take(MOST_SHOWN) {
                page.push_str(&cut(&render::excerpt(finding, &parsed.sources, Color::None)));
            }
            if let Some(more) = parsed.diagnostics.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
                let _ = writeln!(page, "... {more} more");
            }
            page.push_str("```\n");
        }
        match label.keepalived_says.as_str() {
            "-" => page.push_str("\nkeepalived: nothing.\n"),
            says => {
                page.push_str("\nkeepalived:\n\n```text\n");
                let says: Vec<_> = says.split(" | ").map(|line| line.split("\\n").collect::<String>()).collect();
                page.push_str(&cut(&says.join("\n")));
                page.push_str("```\n");
            }
        }
    }
    page
}

#[expect(clippy::disallowed_methods, reason = "the page is a file of the repository")]
fn the_page_shows_what_is_said() -> CaseResult {
    let corpus = corpus()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnostics.md");
    let page = page(&corpus);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = stored.lines().zip(page.lines()).position(|(stored, new)| stored != new);
    assert!(
        stored == page,
        "{} differs from line {:?} on: UPDATE_DOCS=1 writes it anew",
        path.display(),
        differs.map(|line| line + 1)
    );
    Ok(())
}

fn main() -> ExitCode {
    harness::main_in_place(&[
        case("every_mistake_is_named_on_its_line_with_a_fix", every_mistake_is_named_on_its_line_with_a_fix),
        case("the_page_shows_what_is_said", the_page_shows_what_is_said),
    ])
}
