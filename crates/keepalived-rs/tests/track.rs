//! Tracked scripts and files: what they do to priority and faults, next to keepalived-rs and to Debian's keepalived.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use nix::sys::signal::{Signal, kill};
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(100), ipv6: false };

/// Two routers, of which r1 tracks what is in `folder`.
struct Bench {
    pair: Pair,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(first: Daemon, second: Daemon) -> Result<Self, Stop> {
        let folder = tempfile::tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { pair: Pair::new(V3, first, second)?, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A script that succeeds as long as there is a file `good`.
    fn script(&self) -> Result<String, Stop> {
        self.write("chk.sh", &format!("#!/bin/sh\ntest -e {} || exit 3\n", self.path("good").display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<String, Stop> {
        let path = self.path(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(path.display().to_string())
    }

    fn set_good(&self, good: bool) -> CaseResult {
        match good {
            true => std::fs::write(self.path("good"), "")?,
            false => std::fs::remove_file(self.path("good"))?,
        }
        Ok(())
    }

    /// Starts r1 with these blocks before its instance and these lines in it.
    fn start(&mut self, blocks: &str, lines: &str) -> CaseResult {
        let text = format!("{}\n{blocks}\n{}", "global_defs {\nscript_user root\n}", self.config(lines));
        let program = self.pair.r1.daemon.program(&text)?;
        self.pair.r1.process = Some(self.pair.r1.host.spawn(program)?);
        self.pair.r2.start(V3, "")
    }

    fn config(&self, lines: &str) -> String {
        V3.config(self.pair.r1.priority, lines)
    }

    fn says(&self, text: &str) -> CaseResult {
        let waited = self.pair.r1.process().wait_for_line(text, PATIENCE);
        waited.map(drop).map_err(|error| Stop::failed(format!("{error}\n{}", self.pair.logs())))
    }

    fn count(&self, text: &str) -> usize {
        self.pair.r1.process().lines().iter().filter(|line| line.text.contains(text)).count()
    }

    fn pid_of(&self, words: &str) -> nix::unistd::Pid {
        let lines = self.pair.r1.process().lines();
        let newest = lines.iter().rev().find_map(|line| line.text.split_once(words));
        let (_, pid) = newest.expect("the process was started");
        nix::unistd::Pid::from_raw(pid.trim().parse().expect("a pid"))
    }
}

/// 150 falls below the other's 90, and returns.
fn a_weighted_script_moves_the_mastership(first: Daemon, second: Daemon) -> CaseResult {
    let mut bench = Bench::new(first, second)?;
    bench.set_good(true)?;
    let script = bench.script()?;
    let block = format!("vrrp_script chk {{\nscript {script}\ninterval 0.1\nweight -5\nrise 2\nfall 2\n}}");
    bench.start(&block, "track_script {\nchk weight -80\n}")?;
    bench.says("VRRP_Script(chk) succeeded")?;
    bench.pair.wait_for_holder("r1")?;
    bench.set_good(false)?;
    bench.says("Script `chk` now returning 3")?;
    bench.says("VRRP_Script(chk) failed (exited with status 3)")?;
    bench.says("(VI_1) Changing effective priority from 150 to 70")?;
    bench.pair.wait_for_holder("r2")?;
    bench.set_good(true)?;
    bench.says("Script `chk` now returning 0")?;
    bench.says("(VI_1) Changing effective priority from 70 to 150")?;
    bench.pair.wait_for_holder("r1")
}

fn weights_ours_and_ours() -> CaseResult {
    a_weighted_script_moves_the_mastership(Daemon::Ours, Daemon::Ours)
}

fn weights_ours_and_c() -> CaseResult {
    a_weighted_script_moves_the_mastership(Daemon::Ours, Daemon::C)
}

fn weights_c_and_ours() -> CaseResult {
    a_weighted_script_moves_the_mastership(Daemon::C, Daemon::Ours)
}

fn an_unweighted_script_that_fails_is_a_fault() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let script = bench.script()?;
    bench.start(&format!("vrrp_script chk {{\nscript {script}\ninterval 0.1\n}}"), "track_script {\nchk\n}")?;
    bench.says("VRRP_Script(chk) failed (exited with status 3)")?;
    bench.says("(VI_1) Entering FAULT STATE")?;
    bench.pair.wait_for_holder("r2")?;
    bench.set_good(true)?;
    bench.says("VRRP_Script(chk) succeeded")?;
    bench.pair.wait_for_holder("r1")?;
    bench.set_good(false)?;
    bench.pair.wait_for_holder("r2")?;
    match bench.count("(VI_1) Entering FAULT STATE") {
        2 => Ok(()),
        times => Err(Stop::failed(format!("{times} times in FAULT\n{}", bench.pair.logs()))),
    }
}

/// `</path` is satisfied while the file can be read.
fn a_script_may_be_a_file_to_read() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    bench.set_good(true)?;
    let block = format!("vrrp_script chk {{\nscript <{}\ninterval 0.1\n}}", bench.path("good").display());
    bench.start(&block, "track_script {\nchk\n}")?;
    bench.says("VRRP_Script(chk) succeeded")?;
    bench.pair.wait_for_holder("r1")?;
    bench.set_good(false)?;
    bench.says("VRRP_Script(chk) failed")?;
    bench.pair.wait_for_holder("r2")?;
    bench.set_good(true)?;
    bench.pair.wait_for_holder("r1")
}

/// What is written into a directory that was deleted and made again counts.
fn a_directory_of_a_file_that_comes_back_is_watched() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let folder = bench.path("sub");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("load"), "5")?;
    let block = format!("track_file load {{\nfile {}\n}}", folder.join("load").display());
    bench.start(&block, "track_file {\nload\n}")?;
    bench.says("(VI_1) Changing effective priority from 150 to 155")?;
    std::fs::remove_dir_all(&folder)?;
    bench.says("(VI_1) Changing effective priority from 155 to 150")?;
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("load"), "-100")?;
    bench.says("(VI_1) Changing effective priority from 150 to 50")?;
    bench.pair.wait_for_holder("r2")
}

/// Until the first result the instance waits in silence.
fn an_instance_waits_for_the_first_result() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let good = bench.path("good");
    let script = format!("#!/bin/sh\nwhile ! test -e {}; do sleep 0.01; done\n", good.display());
    let script = bench.write("chk.sh", &script)?;
    let block = format!("vrrp_script chk {{\nscript {script}\ninterval 30\n}}");
    bench.start(&block, "track_script {\nchk\n}")?;
    bench.pair.wait_for_holder("r2")?;
    if bench.count("FAULT") != 0 || bench.count("MASTER STATE") != 0 {
        return Err(Stop::failed(format!("it was not silent\n{}", bench.pair.logs())));
    }
    bench.set_good(true)?;
    bench.says("VRRP_Script(chk) succeeded")?;
    bench.pair.wait_for_holder("r1")
}

fn a_script_counts_as_failed_until_it_succeeds() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let good = bench.path("good");
    let script = format!("#!/bin/sh\nwhile ! test -e {}; do sleep 0.01; done\n", good.display());
    let script = bench.write("chk.sh", &script)?;
    let block = format!("vrrp_script chk {{\nscript {script}\ninterval 30\ninit_fail\nrise 3\nweight -80\n}}");
    bench.start(&block, "track_script {\nchk\n}")?;
    bench.pair.wait_for_holder("r2")?;
    bench.set_good(true)?;
    bench.pair.wait_for_holder("r1")
}

fn a_script_that_hangs_has_failed() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let script = bench.write("chk.sh", "#!/bin/sh\ntrap '' TERM\nsleep 100 & wait\nwhile :; do sleep 1; done\n")?;
    let block = format!("vrrp_script chk {{\nscript {script}\ninterval 0.5\ntimeout 1.2\nweight -20 reverse\n}}");
    bench.start(&block, "track_script {\nchk\n}")?;
    bench.says("Track script chk is already running, expect idle - skipping run")?;
    bench.says("VRRP_Script(chk) timed_out")?;
    bench.says("(VI_1) Changing effective priority from 150 to 170")
}

/// Neither the runner's death nor that of the VRRP process shows in the priority of any advert.
fn verdicts_survive_both_processes() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let script = bench.script()?;
    let block = format!(
        "vrrp_script chk {{\nscript {script}\ninterval 0.1\n}}\ntrack_file load {{\nfile {}\ninit_file 5\n}}",
        bench.path("load").display()
    );
    bench.start(&block, "track_script {\nchk weight -20\n}\ntrack_file {\nload weight 2\n}")?;
    bench.says(" to 140")?;
    bench.pair.wait_for_holder("r1")?;
    let wire = bench.pair.client.capture("eth0")?;
    for words in ["Starting Runner child process, pid=", "Starting VRRP child process, pid="] {
        let dead = bench.pid_of(words);
        kill(dead, Signal::SIGKILL)?;
        wait_until("a successor", || Ok(bench.pid_of(words) != dead))?;
    }
    bench.says("continuing as MASTER")?;
    // From now on only what is new is heard of.
    bench.set_good(true)?;
    bench.says("VRRP_Script(chk) succeeded")?;
    bench.says("(VI_1) Changing effective priority from 140 to 160")?;
    wait_until("an advert that says so", || Ok(priorities(&wire).last() == Some(&160)))?;
    match priorities(&wire).into_iter().find(|priority| !matches!(priority, 140 | 160)) {
        Some(priority) => Err(Stop::failed(format!("an advert of priority {priority}\n{}", bench.pair.logs()))),
        None => bench.pair.wait_for_holder("r1"),
    }
}

/// The priorities that the adverts on the wire tell (RFC 9568 §5.2.4).
fn priorities(wire: &netlab::Capture) -> Vec<u8> {
    let priority = |frame: &netlab::Frame| frame.vrrp().and_then(|packet| packet.payload.get(2).copied());
    wire.frames().iter().filter_map(priority).collect()
}

fn a_file_moves_the_priority() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let load = bench.path("load");
    let block = format!("track_file load {{\nfile {}\nweight 3\ninit_file -7\n}}", load.display());
    bench.start(&block, "track_file {\nload\n}")?;
    bench.says("(VI_1) Changing effective priority from 150 to 129")?;
    bench.pair.wait_for_holder("r1")?;
    std::fs::write(&load, " -0x20 and more\n")?;
    bench.says("(VI_1) Changing effective priority from 129 to 54")?;
    bench.pair.wait_for_holder("r2")?;
    std::fs::remove_file(&load)?;
    bench.says("(VI_1) Changing effective priority from 54 to 150")?;
    bench.pair.wait_for_holder("r1")?;
    let aside = bench.path("aside");
    std::fs::write(&aside, "-200")?;
    std::fs::rename(&aside, &load)?;
    bench.says("(VI_1): tracked file load now FAULT state")?;
    bench.pair.wait_for_holder("r2")?;
    std::fs::write(&load, "0")?;
    bench.says("(VI_1): tracked file load leaving FAULT state")?;
    bench.pair.wait_for_holder("r1")
}

/// With weight 0 any number but 0 is a fault; a start value that is there is kept, unless it may be overwritten.
fn a_file_can_be_a_fault() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let (down, kept) = (bench.path("down"), bench.path("kept"));
    std::fs::write(&down, "5")?;
    std::fs::write(&kept, "-10")?;
    let block = format!(
        "track_file down {{\nfile {}\nweight 0\ninit_file 1 overwrite\n}}\nvrrp_track_file kept {{\nfile {}\ninit_file 4\n}}",
        down.display(),
        kept.display()
    );
    bench.start(&block, "track_file {\ndown\nkept weight 1 reverse\n}")?;
    bench.says("(VI_1): tracked file down now FAULT state")?;
    bench.pair.wait_for_holder("r2")?;
    let texts = [std::fs::read_to_string(&down)?, std::fs::read_to_string(&kept)?];
    if texts != ["1\n", "-10"] {
        return Err(Stop::failed(format!("{texts:?}")));
    }
    bench.says("(VI_1) Changing effective priority from 150 to 160")?;
    std::fs::write(&down, "0")?;
    bench.pair.wait_for_holder("r1")
}

fn a_reload_keeps_verdicts_and_files() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    bench.set_good(true)?;
    let script = bench.script()?;
    let load = bench.path("load");
    let block = format!(
        "vrrp_script chk {{\nscript {script}\ninterval 0.1\n}}\ntrack_file load {{\nfile {}\ninit_file 10 overwrite\n}}",
        load.display()
    );
    bench.start(&block, "track_script {\nchk weight 20\n}\ntrack_file {\nload\n}")?;
    bench.says("to 180")?;
    std::fs::write(&load, "11")?;
    bench.says("from 180 to 181")?;
    let before = bench.count("Changing effective priority");
    bench.pair.r1.process().signal(Signal::SIGHUP)?;
    bench.says("VRRP_Script(chk) considered successful on reload")?;
    bench.says("Reload complete")?;
    std::fs::write(&load, "12")?;
    bench.says("from 181 to 182")?;
    match bench.count("Changing effective priority") - before {
        1 => Ok(()),
        times => Err(Stop::failed(format!("{times} changes of priority\n{}", bench.pair.logs()))),
    }
}

/// The instance does without it.
fn a_script_that_cannot_run_is_left_out() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    let missing = bench.path("missing").display().to_string();
    bench.start(&format!("vrrp_script chk {{\nscript {missing}\n}}"), "track_script {\nchk\n}")?;
    bench.says(&format!("Script {missing} cannot be accessed - No such file or directory"))?;
    bench.says("Disabling track script chk since not found/accessible")?;
    bench.pair.wait_for_holder("r1")
}

/// A hundred scripts a second, and the adverts go on as if there were none.
fn many_scripts_disturb_no_adverts() -> CaseResult {
    let mut bench = Bench::new(Daemon::Ours, Daemon::Ours)?;
    bench.set_good(true)?;
    let script = bench.script()?;
    let names: Vec<_> = (0..100).map(|number| format!("chk{number}")).collect();
    let block = |name: &String| format!("vrrp_script {name} {{\nscript {script}\ninterval 1\nweight -1\n}}\n");
    let blocks: String = names.iter().map(block).collect();
    bench.start(&blocks, &format!("track_script {{\n{}\n}}", names.join("\n")))?;
    bench.pair.wait_for_holder("r1")?;
    bench.says("VRRP_Script(chk99) succeeded")?;
    let before = bench.pair.r2.process().lines().len();
    let over = Instant::now() + Duration::from_secs(3);
    wait_until("three rounds", || Ok(Instant::now() > over))?;
    match bench.pair.r2.process().lines().iter().skip(before).find(|line| line.text.contains("MASTER STATE")) {
        Some(line) => Err(Stop::failed(format!("{}\n{}", line.text, bench.pair.logs()))),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    harness::main(&[
        case("weights_ours_and_ours", weights_ours_and_ours),
        case("weights_ours_and_c", weights_ours_and_c),
        case("weights_c_and_ours", weights_c_and_ours),
        case("an_unweighted_script_that_fails_is_a_fault", an_unweighted_script_that_fails_is_a_fault),
        case("a_script_may_be_a_file_to_read", a_script_may_be_a_file_to_read),
        case("a_directory_of_a_file_that_comes_back_is_watched", a_directory_of_a_file_that_comes_back_is_watched),
        case("an_instance_waits_for_the_first_result", an_instance_waits_for_the_first_result),
        case("a_script_counts_as_failed_until_it_succeeds", a_script_counts_as_failed_until_it_succeeds),
        case("a_script_that_hangs_has_failed", a_script_that_hangs_has_failed),
        case("verdicts_survive_both_processes", verdicts_survive_both_processes),
        case("a_file_moves_the_priority", a_file_moves_the_priority),
        case("a_file_can_be_a_fault", a_file_can_be_a_fault),
        case("a_reload_keeps_verdicts_and_files", a_reload_keeps_verdicts_and_files),
        case("a_script_that_cannot_run_is_left_out", a_script_that_cannot_run_is_left_out),
        case("many_scripts_disturb_no_adverts", many_scripts_disturb_no_adverts),
    ])
}
