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
use conf_parser::{Diagnostic, LoadError, Loader, MemoryLoader, Options, Parsed, check, parse};
use netlab::Skip;
use netlab::harness::{self, CaseResult, Stop, case};

/// Most findings of one file that the page shows.
const MOST_SHOWN: usize = 4;

/// The interfaces of the machine that keepalived was asked on.
const INTERFACES: &[&str] = &["eth0", "eth1", "eth2", "eth3", "eth4", "lo"];

/// The fix for the mistake of each file: the code of the finding at its line, and what help or replacement say.
const FIXES: &[(&str, &str, &str)] = &[
    ("001.conf", "K0103", "write '{' at the end of this line"),
    ("002.conf", "K0105", "write '}' after its last line"),
    ("003.conf", "K0105", "perhaps the '}' of 'virtual_ipaddress' is missing before this one"),
    ("004.conf", "K0104", "remove it"),
    ("007.conf", "K0101", "=> virtual_router_id"),
    ("008.conf", "K0101", "=> vrrp_instance"),
    ("009.conf", "K0101", "=> priority"),
    ("010.conf", "K0101", "belongs in vrrp_instance"),
    ("011.conf", "K0101", "belongs in virtual_server"),
    ("012.conf", "K0101", "=> TCP_CHECK"),
    ("013.conf", "K0201", "remove the '='"),
    ("014.conf", "K0201", "=> 100"),
    ("015.conf", "K0108", "=> # preferred node"),
    ("016.conf", "K0201", "from 1 to 255"),
    ("017.conf", "K0201", "from 1 to 255"),
    ("018.conf", "K0402", "add 'virtual_router_id' with a number from 1 to 255"),
    ("019.conf", "K0201", "from 1 to 255"),
    ("020.conf", "K0201", "from 1 to 255"),
    ("021.conf", "K0408", "write whole seconds, or 'version 3'"),
    ("022.conf", "K0408", "40.95 or less"),
    ("023.conf", "K0201", "a number above 0"),
    ("024.conf", "K0201", "from 0 to 2147483647"),
    ("025.conf", "K0201", "from 1 to 65535"),
    ("026.conf", "K0201", "from -253 to 253"),
    ("027.conf", "K0203", "each of the four numbers of an IPv4 address is 0 to 255"),
    ("028.conf", "K0201", "the length of a prefix is a number from 0 to 32"),
    ("029.conf", "K0201", "=> 192.0.2.10/24"),
    ("030.conf", "K0407", "move it to virtual_ipaddress_excluded"),
    ("031.conf", "K0413", "write an IPv4 or IPv6 address"),
    ("032.conf", "K0412", "correct the name, or create the interface"),
    ("033.conf", "K0414", "put those beyond into virtual_ipaddress_excluded"),
    ("034.conf", "K0401", "=> BACKUP"),
    ("035.conf", "K0412", "correct the name, or create the interface"),
    ("036.conf", "K0403", "add 'interface'"),
    ("037.conf", "K0107", "write 'interface <iface>'"),
    ("038.conf", "K0405", "give VI_2 another virtual_router_id"),
    ("039.conf", "K0404", "give it another name, or remove it"),
    ("040.conf", "K0409", "only the first eight bytes are ever sent"),
    ("041.conf", "K0409", "write PASS"),
    ("042.conf", "K0417", "add 'vrrp_script chk_web { ... }' above this block"),
    ("043.conf", "K0420", "add 'vrrp_instance VI_2 { ... }', or remove the line"),
    ("044.conf", "K0410", "write 'state BACKUP'"),
    ("045.conf", "K0106", "write the closing '\"' on this line"),
    ("046.conf", "K0009", "=> \"/bin/true\""),
    ("047.conf", "K0504", "write 'real_server 192.0.2.21 80'"),
    ("048.conf", "K0204", "=> rr"),
    ("049.conf", "K0204", "=> DR"),
    ("050.conf", "K0204", "=> TCP"),
    ("051.conf", "K0506", "add 'virtual_server_group WEB {"),
    ("052.conf", "K0002", "create the file or correct its name"),
    ("053.conf", "K0003", "remove this line"),
    ("054.conf", "K0007", "save the file without it"),
    ("056.conf", "K0006", "remove the NUL byte"),
    ("057.conf", "K0010", "give the comment lines of its own"),
    ("058.conf", "K0108", "remove it"),
    ("059.conf", "K0008", "replace them by ordinary spaces"),
];

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

/// What a finding says is to be done.
fn fix(finding: &Diagnostic) -> String {
    let replacement = finding.replacement.as_ref().map(|text| format!("=> {text}"));
    finding.help.iter().cloned().chain(replacement).collect::<Vec<_>>().join(" ")
}

/// What is wrong with the answer to one file; nothing for a right one.
fn judge(corpus: &Path, label: &Label) -> Option<String> {
    let parsed = read(corpus, &label.file);
    if label.verdict == "legal" {
        let found: Vec<_> = parsed.diagnostics.iter().map(|finding| finding.message.as_str()).collect();
        return (!found.is_empty()).then(|| format!("is legal: {found:?}"));
    }
    let Some((_, code, expected)) = FIXES.iter().find(|(file, _, _)| *file == label.file) else {
        return Some("the test expects no fix".to_owned());
    };
    let found: Vec<_> = on_line(&parsed, label.line).collect();
    let told: Vec<_> = found.iter().map(|finding| format!("{}: {}", finding.code, fix(finding))).collect();
    let Some(finding) = found.iter().find(|finding| finding.code.as_str() == *code && fix(finding).contains(expected))
    else {
        return Some(format!("line {} should have {code} with \"{expected}\", has {told:?}", label.line));
    };
    let again = mended(corpus, &label.file, finding)?;
    let left: Vec<_> = on_line(&again, label.line).filter(|other| other.code == finding.code).collect();
    (!left.is_empty()).then(|| format!("with the replacement it is still wrong: {left:?}"))
}

/// The file once more, with the replacement in its place.
#[expect(clippy::disallowed_methods, reason = "the corpus is on disk")]
fn mended(corpus: &Path, file: &str, finding: &Diagnostic) -> Option<Parsed> {
    let (span, text) = (finding.span?, finding.replacement.as_ref()?);
    let mut bytes = std::fs::read(corpus.join(file)).unwrap();
    bytes.splice(span.start as usize..span.end as usize, text.bytes());
    let options = Options { config_id: "testhost".to_owned(), ..Options::default() };
    Some(parse(&MemoryLoader::new([(Path::new(file), bytes)]), Path::new(file), &options))
}

/// Every mistake has a finding at its line that comes with the right fix, and what is legal has none.
fn every_mistake_is_named_on_its_line_with_its_fix() -> CaseResult {
    let corpus = corpus()?;
    let labels = labels(&corpus);
    let wrong: Vec<_> = labels
        .iter()
        .filter_map(|label| Some(format!("{} ({}): {}", label.file, label.mistake, judge(&corpus, label)?)))
        .collect();
    println!("{} files, {} answers are wrong", labels.len(), wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(Stop::failed(wrong.join("\n    "))) }
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
            for (at, finding) in parsed.diagnostics.iter().take(MOST_SHOWN).enumerate() {
                page.push_str(if at > 0 { "\n" } else { "" });
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
        case("every_mistake_is_named_on_its_line_with_its_fix", every_mistake_is_named_on_its_line_with_its_fix),
        case("the_page_shows_what_is_said", the_page_shows_what_is_said),
    ])
}
