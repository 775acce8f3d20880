//! The balancer's table against that of Debian's keepalived, for a list of configurations that has every keyword: after the start, after each
//! verdict, after each reload and after the stop.
//!
//! What Debian's keepalived made was recorded (`recorded.txt`): `UPDATE_RECORDED=1 cargo test -p keepalived-rs --test lvs_diff` does it anew.
//! All of it happens in one virtual machine, with a network namespace per configuration. `KEEPALIVED_RS_ROWS=NAME` runs, or records, only the
//! rows whose names contain that; several parts of names have commas between them.

mod differences;
mod recording;
mod rows;
mod ruleset;
mod scene;
mod tls;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::vm::{Vm, VmError};
use netlab::{Lab, peers};

use differences::DIFFERENCES;
use recording::Recording;
use rows::{Row, rows};
use scene::{Daemon, Scene};

/// The words that the rows must have.
const KEYWORDS: &str = include_str!("../../../conf-parser/src/schema/keywords.tsv");

/// Where the machine is told which rows are meant.
const CHOICE: &str = "/etc/lvs-rows";

/// Set in the machine that records.
const RECORD: &str = "KEEPALIVED_RS_RECORD";

/// The rows wait most of the time.
const AT_ONCE: usize = 4;

/// For all rows.
const DEADLINE: Duration = Duration::from_secs(900);

fn the_tables_are_those_of_debians_keepalived() -> CaseResult {
    let recording = Recording::parse(include_str!("recorded.txt"));
    let failures = Mutex::new(Vec::<String>::new());
    let lab = Lab::new()?;
    let fail = |row: &Row, why: &str| {
        println!("row {} fails", row.name);
        failures.lock().expect("no thread panics with it").push(format!("{}: {why}", row.name));
    };
    for_each_row(&chosen(), |row| match compare(row, &recording, &lab) {
        Ok(()) => println!("row {} is equal", row.name),
        Err(why) => fail(row, &why),
    });
    let mut failures = failures.into_inner().expect("no thread panics with it");
    failures.sort();
    if failures.is_empty() { Ok(()) } else { Err(Stop::failed(failures.join("\n\n"))) }
}

/// The first phase in which the tables differ, as text.
fn compare(row: &Row, recording: &Recording, lab: &Lab) -> Result<(), String> {
    let recorded = recording.tables(row)?;
    let mut scene = Scene::start(Daemon::Ours, row, lab).map_err(|stop| format!("{stop:?}"))?;
    for (phase, recorded) in recorded.iter().enumerate() {
        let expected = differences::applied(row.name, phase, recorded);
        scene.proceed(phase).map_err(|stop| format!("phase {phase}: {stop:?}\n{}", scene.log()))?;
        let found = scene.wait_for(&expected).map_err(|stop| format!("phase {phase}: {stop:?}"))?;
        if found != expected {
            let what = scene.phase_name(phase);
            return Err(format!("{what}\n  expected:\n{expected}  found:\n{found}  log:\n{}", scene.log()));
        }
    }
    Ok(())
}

/// Scripts that take longer than the changes that they tell of: each runs once, those of a server and those of the quorum in their order, and
/// none is merged with another.
fn slow_notifications_all_arrive() -> CaseResult {
    let row = rows::slow_notifications();
    let lab = Lab::new()?;
    let mut scene = Scene::start(Daemon::Ours, &row, &lab)?;
    for phase in 0..=row.steps.len() {
        scene.proceed(phase)?;
    }
    let flaps = row.steps.len() / 2;
    let (server, quorum) = (["1 down", "1 up"].repeat(flaps), ["quorum down", "quorum up"].repeat(flaps));
    // The quorum is gained by the start too.
    let quorum = [&["quorum up"], quorum.as_slice()].concat();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while scene.notes().len() < server.len() + quorum.len() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    // What came twice would come before the end of the daemon.
    scene.proceed(row.steps.len() + 1)?;
    let notes = scene.notes();
    let (of_quorum, of_server): (Vec<&str>, Vec<&str>) =
        notes.iter().map(String::as_str).partition(|note| note.starts_with("quorum"));
    if of_server == server && of_quorum == quorum {
        return Ok(());
    }
    Err(Stop::failed(format!("{notes:?}\n{}", scene.log())))
}

/// Several at a time.
fn for_each_row(rows: &[Row], work: impl Fn(&Row) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(row);
                }
            });
        }
    });
}

/// The rows that this run is about.
fn chosen() -> Vec<Row> {
    let choice = std::fs::read_to_string(CHOICE).unwrap_or_default();
    let is_chosen = |row: &Row| choice.trim().split(',').any(|part| row.name.contains(part));
    rows().into_iter().filter(is_chosen).collect()
}

fn every_keyword_is_in_a_row() -> CaseResult {
    const BLOCKS: [&str; 3] = ["virtual_server", "virtual_server/real_server", "virtual_server_group"];
    let rows = rows();
    let names: std::collections::BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    if names.len() != rows.len() || rows.len() < 60 {
        return Err(Stop::failed(format!("{} rows with {} names", rows.len(), names.len())));
    }
    let text: String = rows.iter().map(|row| format!("{}\n", row.config)).collect();
    let words: std::collections::BTreeSet<_> = text.split_whitespace().collect();
    let keywords =
        KEYWORDS.lines().filter_map(|line| line.split_once('\t')).filter(|(block, _)| BLOCKS.contains(block));
    let keywords = keywords.filter_map(|(_, rest)| rest.split('\t').next());
    // A word of ours, unknown to keepalived.
    let keywords = keywords.filter(|word| *word != "drain_timeout");
    let missing: Vec<_> = keywords.filter(|word| !word.starts_with('<') && !words.contains(word)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Stop::failed(format!("in no row: {missing:?}"))) }
}

fn the_document_has_every_difference() -> CaseResult {
    let stored = include_str!("../../../../docs/lvs-differences.md");
    let (_, rest) = stored.split_once(BEGIN).ok_or_else(|| Stop::failed("the table does not begin"))?;
    if !rest.starts_with(&document()) {
        let how = "UPDATE_DOCS=1 cargo test -p keepalived-rs --test lvs_diff";
        return Err(Stop::failed(format!("the table differs, {how} writes it anew:\n{}", document())));
    }
    Ok(())
}

const BEGIN: &str = "<!-- begin -->\n";
const END: &str = "<!-- end -->\n";

fn document() -> String {
    let mut table = "\n| row | keepalived | keepalived-rs | why |\n|---|---|---|---|\n".to_owned();
    for difference in DIFFERENCES {
        let lines = |lines: &[&str]| lines.iter().map(|line| format!("`{line}`")).collect::<Vec<_>>().join("<br>");
        let (c, ours) = (lines(difference.c), lines(difference.ours));
        writeln!(table, "| `{}` | {c} | {ours} | {} |", difference.row, difference.why).expect("a String takes all");
    }
    table + "\n" + END
}

/// Writes the table of the document anew.
fn update_document() -> std::io::Result<()> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lvs-differences.md");
    let text = std::fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(BEGIN).unwrap_or((&text, END));
    let after = rest.split_once(END).map_or("", |(_, after)| after);
    std::fs::write(path, format!("{before}{BEGIN}{}{after}", document()))
}

/// What the machine needs beside this program.
fn fill(vm: Vm) -> Result<Vm, Stop> {
    // A module that the kernel has to load when it is wanted keeps everybody waiting.
    let schedulers = rows::SCHEDULERS.iter().map(|name| format!("ip_vs_{name}")).collect::<Vec<_>>();
    let vm = schedulers
        .iter()
        .fold(vm.module("ip_vs").module("ip_vs_pe_sip").module("nf_tables"), |vm, module| vm.module(module));
    let vm = vm.memory(2048).processors(2);
    let vm = vm.program(env!("CARGO_BIN_EXE_keepalived-rs"))?;
    let vm = vm.text(CHOICE, &std::env::var("KEEPALIVED_RS_ROWS").unwrap_or_default())?;
    Ok(peers::nft()?.add_to(peers::ipvsadm()?.add_to(vm)?)?)
}

/// On the host: boots a machine in which Debian's keepalived runs every row.
fn record() -> Result<(), Stop> {
    let vm = peers::keepalived()?.add_to(fill(Vm::new()?)?)?;
    let program = std::env::current_exe()?;
    let vm = vm.program(&program)?;
    let passed = ["HOME", "KEEPALIVED_RS_CACHE", "XDG_CACHE_HOME", peers::FOLDER];
    let passed = passed.iter().filter_map(|name| Some(format!("{name}='{}'", std::env::var(name).ok()?)));
    let environment = passed.collect::<Vec<_>>().join(" ");
    let command = format!("env {environment} {RECORD}=1 '{}'", program.display());
    let (output, failed) = match vm.run(&command, DEADLINE + DEADLINE) {
        Ok(run) if run.status == 0 => (run.output, None),
        Ok(run) => (run.output, Some(format!("the recording ended with status {}", run.status))),
        // What was recorded until then is worth keeping.
        Err(VmError::Deadline { output, after, .. }) => (output, Some(format!("not all was recorded in {after:?}"))),
        Err(error) => return Err(error.into()),
    };
    let (said, recorded): (Vec<_>, Vec<_>) = output.split_inclusive('\n').partition(|line| !line.starts_with(MARK));
    print!("{}", said.concat());
    let recorded: String = recorded.iter().filter_map(|line| line.strip_prefix(MARK)).collect();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lvs_diff/recorded.txt");
    let mut recording = Recording::parse(&std::fs::read_to_string(&path).unwrap_or_default());
    recording.update(Recording::parse(&recorded), rows().iter().map(|row| row.name));
    std::fs::write(path, recording.to_string())?;
    failed.map_or(Ok(()), |why| Err(Stop::failed(why)))
}

/// Precedes every line of a recording in what the machine writes.
const MARK: &str = "recorded: ";

/// In the machine. Each row is written as soon as it is known.
fn record_rows() -> ExitCode {
    let Ok(lab) = Lab::new() else { return ExitCode::FAILURE };
    let failed = AtomicUsize::new(0);
    for_each_row(&chosen(), |row| match record_row(row, &lab) {
        Ok(tables) => {
            let mut recording = Recording::default();
            recording.insert(row, tables);
            let text: String = recording.to_string().lines().map(|line| format!("{MARK}{line}\n")).collect();
            print!("{text}");
        }
        Err(why) => {
            failed.fetch_add(1, Ordering::Relaxed);
            println!("{}: {why}", row.name);
        }
    });
    if failed.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn record_row(row: &Row, lab: &Lab) -> Result<Vec<String>, String> {
    let mut scene = Scene::start(Daemon::C, row, lab).map_err(|stop| format!("{stop:?}"))?;
    let mut tables = Vec::new();
    for phase in 0..scene::phases(row) {
        scene.proceed(phase).map_err(|stop| format!("phase {phase}: {stop:?}\n{}", scene.log()))?;
        tables.push(scene.settled().map_err(|stop| format!("phase {phase}: {stop:?}"))?);
    }
    Ok(tables)
}

fn main() -> ExitCode {
    if std::env::var_os(RECORD).is_some() {
        return record_rows();
    }
    if std::env::var_os("UPDATE_RECORDED").is_some() {
        return match record() {
            Ok(()) => ExitCode::SUCCESS,
            Err(stop) => {
                eprintln!("{stop:?}");
                ExitCode::FAILURE
            }
        };
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return if update_document().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let all = [
        case("every_keyword_is_in_a_row", every_keyword_is_in_a_row),
        case("the_document_has_every_difference", the_document_has_every_difference),
        case("slow_notifications_all_arrive", slow_notifications_all_arrive),
        case("the_tables_are_those_of_debians_keepalived", the_tables_are_those_of_debians_keepalived).within(DEADLINE),
    ];
    harness::main_in_vm(fill, &all)
}
