//! Real configuration files: read to their end, in time, and without calling a known word unknown.
//!
//! The files are looked for in `$KEEPALIVED_CORPUS`, else in `shared/corpus` beside the workspace.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use conf_parser::diff::diff;
use conf_parser::format::format;
use conf_parser::host::{Account, Fact, File, FileKind, Host, Interface};
use conf_parser::schema::schema;
use conf_parser::{
    Code, Diagnostic, LoadError, Loader, MemoryLoader, Options, Parsed, Severity, check, config_test_exit_code, parse,
    setting,
};
use netlab::Skip;
use netlab::harness::{self, CaseResult, Stop, case};

/// What any one file may take, in a build without optimisation on a busy machine.
const BOUND: std::time::Duration = std::time::Duration::from_secs(10);

struct Disk;

impl Loader for Disk {
    #[expect(clippy::disallowed_methods, reason = "the corpus is on disk")]
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        std::fs::read(path).map_err(|_| LoadError::NotFound)
    }

    fn glob(&self, _: &str) -> Result<Vec<PathBuf>, LoadError> {
        Ok(Vec::new())
    }
}

#[expect(clippy::disallowed_methods, reason = "a test looks for its data")]
fn corpus() -> Result<PathBuf, Skip> {
    let given = std::env::var("KEEPALIVED_CORPUS").map(PathBuf::from);
    let path = given.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"));
    if path.join("open").is_dir() {
        return Ok(path);
    }
    Err(Skip(format!("corpus not found at {}", path.display())))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    files
}

#[expect(clippy::disallowed_types, reason = "a time bound is what is tested")]
fn read_in_time(file: &Path) -> Parsed {
    let started = std::time::Instant::now();
    let parsed = parse(&Disk, file, &Options { config_id: "testhost".to_owned(), ..Options::default() });
    assert!(started.elapsed() < BOUND, "{} took {:?}", file.display(), started.elapsed());
    assert!(parsed.main_file_read(), "{}", file.display());
    parsed
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

/// The words that are called unknown, with their lines.
fn unknown(parsed: &Parsed) -> BTreeSet<(usize, String)> {
    let word = |message: &str| Some(message.strip_prefix("Unknown keyword '")?.strip_suffix('\'')?.to_owned());
    let found = parsed
        .diagnostics
        .iter()
        .filter_map(|finding| Some((parsed.sources.location(finding.span?)?.line, word(&finding.message)?)));
    found.collect()
}

fn table(path: &Path) -> Vec<Vec<String>> {
    table_without_head(path).split_off(1)
}

#[expect(clippy::disallowed_methods, reason = "the corpus is on disk")]
fn table_without_head(path: &Path) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn every_file_is_read_to_its_end() -> CaseResult {
    let corpus = corpus()?;
    for directory in ["open", "bad"] {
        for file in files(&corpus.join(directory)) {
            read_in_time(&file);
        }
    }
    Ok(())
}

/// The line of the first reference whose braces count as braces.
fn undefined_reference(parsed: &Parsed) -> Option<usize> {
    let braces = |finding: &&Diagnostic| finding.code == Code::BadReference && finding.severity == Severity::Error;
    let first = parsed.diagnostics.iter().find(braces)?;
    Some(parsed.sources.location(first.span?)?.line)
}

/// What is called unknown here is called unknown on the same line by keepalived 2.2.7 too. The other way round, keepalived
/// also reports what stands inside a block that it does not know, words that came after 2.2.7, the
/// `\` at the end of a comment, and what follows from the braces of an undefined `${NAME}`.
fn unknown_words_are_those_of_keepalived() -> CaseResult {
    let corpus = corpus()?;
    let mut theirs: BTreeMap<String, BTreeSet<(usize, String)>> = BTreeMap::new();
    for row in table(&corpus.join("diagnostics.tsv")) {
        let word = row[5].strip_prefix("Unknown keyword '").and_then(|word| word.strip_suffix('\''));
        if let (Some(word), Ok(line)) = (word, row[2].parse()) {
            theirs.entry(row[0].clone()).or_default().insert((line, word.to_owned()));
        }
    }
    // keepalived read these only in part: it ended at a missing parameter, or at a network namespace that does not exist,
    // or passed over an instance without a name.
    let in_part = |row: &Vec<String>| {
        row[1] == "2" || row[0] == "198.conf" || row[3].split(',').any(|feature| feature == "netns")
    };
    let cut_short: BTreeSet<_> =
        table(&corpus.join("labels.tsv")).into_iter().filter(in_part).map(|row| row[0].clone()).collect();
    let (mut compared, mut equal) = (0, 0);
    for file in files(&corpus.join("open")) {
        let name = name(&file);
        if cut_short.contains(&name) {
            continue;
        }
        let parsed = read_in_time(&file);
        let ours = unknown(&parsed);
        let reference = undefined_reference(&parsed);
        let theirs = theirs.remove(&name).unwrap_or_default();
        let ascii = |set: &BTreeSet<(usize, String)>| -> BTreeSet<_> {
            set.iter().filter(|(_, word)| word.is_ascii() && !word.contains("\\x")).cloned().collect()
        };
        let only_ours: Vec<_> = ascii(&ours).difference(&theirs).cloned().collect();
        assert_eq!(only_ours, [], "{name}: unknown here, known to keepalived");
        compared += 1;
        equal += usize::from(ascii(&ours) == ascii(&theirs));
        for (line, word) in ascii(&theirs).difference(&ours) {
            let newer = schema().rows().any(|row| row.keyword == word);
            let inside = word == "}" || word == "\\" || theirs.iter().any(|(earlier, _)| earlier < line);
            let follows = reference.is_some_and(|reference| reference <= *line);
            assert!(
                newer || inside || follows,
                "{name}:{line}: '{word}' is unknown to keepalived and passed over here"
            );
        }
    }
    println!("{compared} files compared, {equal} with the same unknown words");
    assert!(compared > 150 && equal * 10 > compared * 8, "{equal} of {compared}");
    Ok(())
}

fn mistakes_are_found_on_their_line() -> CaseResult {
    let corpus = corpus()?;
    // Where the mistake shows elsewhere (a brace missing at the end shows at its block, too many addresses at the first one
    // too many), is none here (a long line), on the host, or not at all.
    let elsewhere = [
        "003.conf", "033.conf", "057.conf", "032.conf", "035.conf", "042.conf", "043.conf", "051.conf", "015.conf",
        "026.conf", "044.conf", "045.conf", "046.conf", "047.conf",
    ];
    for row in table(&corpus.join("bad/labels.tsv")) {
        let (file, line, verdict) = (&row[0], row[1].parse::<usize>().unwrap(), row[5].as_str());
        let parsed = read_in_time(&corpus.join("bad").join(file));
        let lines: Vec<_> = parsed
            .diagnostics
            .iter()
            .filter_map(|finding| Some(parsed.sources.location(finding.span?)?.line))
            .collect();
        match verdict {
            "legal" => assert_eq!(parsed.diagnostics, [], "{file}"),
            "reported" | "crash" if !elsewhere.contains(&file.as_str()) => {
                assert!(lines.contains(&line), "{file}: {} should be reported on line {line}, is on {lines:?}", row[2]);
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a file means, without places.
fn meaning(name: &Path, bytes: Vec<u8>) -> (conf_parser::Config, Vec<String>) {
    let loader = MemoryLoader::new([(name, bytes)]);
    let parsed = parse(&loader, name, &Options { config_id: "testhost".to_owned(), ..Options::default() });
    (parsed.config, parsed.diagnostics.into_iter().map(|finding| finding.message).collect())
}

#[expect(clippy::disallowed_methods, reason = "the corpus is on disk")]
fn formatting_changes_no_meaning() -> CaseResult {
    let corpus = corpus()?;
    for file in ["open", "bad"].iter().flat_map(|directory| files(&corpus.join(directory))) {
        let bytes = std::fs::read(&file).unwrap();
        let formatted = format(&bytes);
        assert_eq!(format(&formatted), formatted, "{}", file.display());
        assert_eq!(meaning(&file, formatted), meaning(&file, bytes), "{}", file.display());
    }
    Ok(())
}

/// Nothing changes from a file to itself; without one of its blocks, that block is what changes.
fn a_file_differs_from_itself_in_nothing() -> CaseResult {
    let corpus = corpus()?;
    let mut without = 0;
    for file in files(&corpus.join("open")) {
        let settings = read_in_time(&file).config.settings();
        assert_eq!(diff(&settings, &settings).changes, [], "{}", file.display());
        let instance = settings.iter().position(|block| block.keyword() == "vrrp_instance");
        if let Some(at) = instance {
            let rest: Vec<_> =
                settings.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, it)| it.clone()).collect();
            let changes = diff(&settings, &rest).changes;
            assert!(
                changes.len() == 1 && changes[0].to_string().ends_with(" is removed"),
                "{}: {changes:?}",
                file.display()
            );
            without += 1;
        }
    }
    assert!(without > 100, "{without}");
    Ok(())
}

/// What is shown of a file without mistakes means the same.
fn what_is_shown_is_read_again() -> CaseResult {
    let corpus = corpus()?;
    let mut compared = 0;
    for file in files(&corpus.join("open")) {
        let parsed = read_in_time(&file);
        if parsed.diagnostics.iter().any(|finding| finding.severity == Severity::Error) {
            continue;
        }
        let settings = parsed.config.settings();
        assert!(setting::is_writable(&settings), "{}", file.display());
        let text = setting::text(&settings, &|_| None, true);
        let again = meaning(Path::new("k.conf"), text.clone().into_bytes());
        assert_eq!(again.0, parsed.config, "{}\n{text}", file.display());
        compared += 1;
    }
    println!("{compared} files are without mistakes, and shown as what they mean");
    assert!(compared > 100, "{compared}");
    Ok(())
}

/// The host on which keepalived was asked: whatever a file names was there, of scripts those whose path is written out.
struct Everything(String);

impl Host for Everything {
    fn interface(&self, _: &str) -> Fact<Interface> {
        Fact::Present(Interface::default())
    }

    fn user(&self, _: &str) -> Fact<Account> {
        Fact::Unknown
    }

    fn group(&self, _: &str) -> Fact<u32> {
        Fact::Unknown
    }

    fn file(&self, path: &Path) -> Fact<File> {
        let written = path.to_string_lossy();
        if written.contains('$') || !self.0.contains(written.strip_prefix("/bin/").unwrap_or(&written)) {
            return Fact::Absent;
        }
        Fact::Present(File { path: path.to_owned(), kind: FileKind::File, mode: 0o755, uid: 0, gid: 0 })
    }

    fn search_path(&self) -> Vec<PathBuf> {
        vec![PathBuf::from("/bin")]
    }
}

/// What comes of a file: of its test, and of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing to report; it runs.
    Clean,
    /// Something to report; it runs.
    Findings,
    /// It does not run.
    Refused,
}

/// Files of another verdict; `docs/compatibility.md` says why.
const OTHER_VERDICT: &[&str] = &["003.conf", "012.conf", "032.conf", "046.conf", "062.conf", "117.conf", "185.conf"];

/// As Debian's keepalived judged on a host that has what the file names: the status of its test is from the corpus,
/// whether it runs was recorded with the values (`tests/values/`).
fn their_verdict(name: &str, status: &str) -> Verdict {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name).with_extension("tsv");
    let recorded: BTreeMap<String, String> =
        table_without_head(&path).into_iter().map(|mut row| (row.remove(2), row.remove(2))).take(2).collect();
    match (recorded["run"].as_str(), status) {
        ("runs", "0") => Verdict::Clean,
        ("runs", _) => Verdict::Findings,
        _ => Verdict::Refused,
    }
}

/// What comes of a file here, and why.
#[expect(clippy::disallowed_methods, reason = "the corpus is on disk")]
fn our_verdict(file: &Path) -> (Verdict, Vec<String>) {
    let parsed = read_in_time(file);
    let host = Everything(String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned());
    let mut findings = parsed.diagnostics;
    findings.extend(check(&parsed.config, &parsed.sources, &host));
    let verdict = match config_test_exit_code(&findings) {
        0 => Verdict::Clean,
        5 | 6 => Verdict::Findings,
        _ => Verdict::Refused,
    };
    findings.retain(|finding| finding.severity != Severity::Note);
    (verdict, findings.into_iter().map(|finding| finding.message).collect())
}

/// The page gives a reason for each file of another verdict, and for no other file.
#[expect(clippy::disallowed_methods, reason = "the page is a file of the repository")]
fn other_verdicts_have_a_reason() -> CaseResult {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once("\n## Verdicts that differ on real files\n").expect("the page has the heading");
    let section = rest.split("\n## ").next().unwrap_or_default();
    let rows: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows, OTHER_VERDICT);
    Ok(())
}

fn verdicts_are_those_of_keepalived() -> CaseResult {
    let corpus = corpus()?;
    let (mut compared, mut same_start, mut wrong) = (0, 0, Vec::new());
    let (mut equal, mut intended) = (0, 0);
    for row in table(&corpus.join("labels.tsv")) {
        let (name, status) = (row[0].as_str(), row[6].as_str());
        let theirs = their_verdict(name, status);
        let (ours, why) = our_verdict(&corpus.join("open").join(name));
        compared += 1;
        same_start += usize::from((theirs == Verdict::Refused) == (ours == Verdict::Refused));
        if theirs == ours {
            equal += 1;
            assert!(!OTHER_VERDICT.contains(&name), "{name} is listed without need");
        } else if OTHER_VERDICT.contains(&name) {
            intended += 1;
        } else {
            wrong.push(format!("{name}: keepalived {theirs:?} ({status}), here {ours:?} {why:?}"));
        }
    }
    println!(
        "{compared} files: {equal} with the same verdict, {intended} with another for a reason, {} with another; \
         {same_start} start or are refused as with keepalived",
        wrong.len()
    );
    if wrong.is_empty() { Ok(()) } else { Err(Stop::failed(wrong.join("\n    "))) }
}

fn main() -> ExitCode {
    harness::main_in_place(&[
        case("verdicts_are_those_of_keepalived", verdicts_are_those_of_keepalived),
        case("other_verdicts_have_a_reason", other_verdicts_have_a_reason),
        case("every_file_is_read_to_its_end", every_file_is_read_to_its_end),
        case("unknown_words_are_those_of_keepalived", unknown_words_are_those_of_keepalived),
        case("mistakes_are_found_on_their_line", mistakes_are_found_on_their_line),
        case("formatting_changes_no_meaning", formatting_changes_no_meaning),
        case("what_is_shown_is_read_again", what_is_shown_is_read_again),
        case("a_file_differs_from_itself_in_nothing", a_file_differs_from_itself_in_nothing),
    ])
}
