//! How the processes are named, scheduled and kept in memory. A user namespace may not do most of this: this test boots a
//! virtual machine and runs itself in there.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Host, Lab, Process, Program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{PATIENCE, wait_until};

/// One instance and one virtual server: both workers run. The machine is slow, and the worker is given time before it
/// counts as hung: half of three intervals. The announcements keep a timer that fires each second.
const WORK: &str = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 255\n version 3\n \
                    advert_int 10\n garp_master_refresh 1\n virtual_ipaddress {\n 198.18.0.100/24\n }\n}\n\
                    virtual_server 192.0.2.1 80 {\n delay_loop 1\n protocol TCP\n real_server 192.0.2.11 80 {\n }\n}\n";

const VRRP: &str = "Starting VRRP child process, pid=";
const CHECKER: &str = "Starting Healthcheck child process, pid=";

/// Programs of util-linux, which are on every Debian.
const SETPRIV: &str = "/usr/bin/setpriv";
const PRLIMIT: &str = "/usr/bin/prlimit";

/// A host with the daemon.
struct Node {
    _lab: Lab,
    host: Host,
    daemon: Process,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

/// What the kernel says of a thread.
#[derive(Debug, PartialEq, Eq)]
struct Thread {
    name: String,
    nice: i64,
    /// 0, or the real-time priority under SCHED_RR.
    real_time: i64,
    cpus: String,
}

impl Node {
    fn start(global: &str) -> Result<Self, Stop> {
        Self::start_by(&[], global)
    }

    /// Starts it by a command that ends with the program to execute.
    fn start_by(command: &[&str], global: &str) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = lab.host("r1")?;
        lab.connect(&host, "eth0", &lan)?;
        host.address("eth0", "198.18.0.1/24")?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("keepalived.conf");
        std::fs::write(&file, text(global))?;
        let mut words = command.iter().chain(&[env!("CARGO_BIN_EXE_keepalived-rs"), "-nlDG", "-f"]);
        let program = Program::new(words.next().expect("there is a program")).args(words).arg(&file);
        let daemon = host.spawn(program)?;
        daemon.wait_for_line("(VI_1) Entering MASTER STATE", PATIENCE)?;
        daemon.wait_for_line("Startup complete", PATIENCE)?;
        // From the first announcement that a timer makes on there is one every second.
        daemon.wait_for_line("Sending/queueing gratuitous ARPs", PATIENCE)?;
        daemon.wait_for_line_after(daemon.mark(), "Sending/queueing gratuitous ARPs", PATIENCE)?;
        Ok(Self { _lab: lab, host, daemon, file, _folder: folder })
    }

    fn reload(&self, global: &str) -> CaseResult {
        std::fs::write(&self.file, text(global))?;
        Ok(self.daemon.signal(Signal::SIGHUP)?)
    }

    /// The newest process that was announced with `words`.
    fn pid(&self, words: &str) -> Result<Pid, Stop> {
        let lines = self.daemon.lines();
        let pid = lines.iter().rev().find_map(|line| line.text.split_once(words)?.1.trim().parse().ok());
        pid.map(Pid::from_raw).ok_or_else(|| Stop::failed(format!("no {words}")))
    }

    fn threads(&self, words: &str) -> Result<Vec<Thread>, Stop> {
        let mut threads = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{}/task", self.pid(words)?))? {
            let path = entry?.path();
            match Thread::of(&path) {
                // It has ended meanwhile.
                Err(_) if !path.exists() => {}
                thread => threads.push(thread?),
            }
        }
        Ok(threads)
    }

    /// The first thread of a process.
    fn first(&self, words: &str) -> Result<Thread, Stop> {
        let pid = self.pid(words)?;
        Thread::of(&PathBuf::from(format!("/proc/{pid}/task/{pid}")))
    }

    fn wait_for(&self, words: &str, wanted: &Thread) -> CaseResult {
        let waited = wait_until("the thread", || Ok(self.first(words)? == *wanted));
        waited.map_err(|_| {
            Stop::failed(format!("wanted {wanted:?}, there is {:?}\n{}", self.first(words).ok(), self.logs()))
        })
    }

    /// The threads of the VRRP process but its log have `nice`, and the session that is its own.
    fn wait_for_priority(&self, nice: i64, of_log: i64) -> CaseResult {
        let mut seen = String::new();
        let waited = wait_until("the priority", || {
            let threads = self.threads(VRRP)?;
            let session = std::fs::read_to_string(format!("/proc/{}/autogroup", self.pid(VRRP)?))?;
            seen = format!("{threads:?} {session}");
            let expected = |thread: &Thread| if thread.name == "log" { of_log } else { nice };
            Ok(threads.iter().all(|thread| thread.nice == expected(thread))
                && threads.iter().any(|thread| thread.name == "log")
                && session.trim().ends_with(&format!(" nice {nice}")))
        });
        waited.map_err(|_| Stop::failed(format!("wanted {nice}, log {of_log}, there is {seen}\n{}", self.logs())))
    }

    fn logs(&self) -> String {
        self.daemon.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// A line of `/proc/PID/FILE` of a process.
    fn line(&self, words: &str, file: &str, begin: &str) -> Result<String, Stop> {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.pid(words)?))?;
        let line = text.lines().find_map(|line| line.strip_prefix(begin));
        Ok(line.ok_or_else(|| Stop::failed(format!("no {begin} in\n{text}")))?.trim().to_owned())
    }

    fn wait_for_locked(&self, words: &str, locked: bool) -> CaseResult {
        let waited = wait_until("memory", || Ok((self.line(words, "status", "VmLck:")? != "0 kB") == locked));
        waited.map_err(|_| Stop::failed(format!("{words}: not {locked}\n{}", self.logs())))
    }

    /// The soft limit in microseconds is this one, and there is no hard one. For each time that it is reached, the kernel
    /// itself adds a second to it.
    fn check_limit(&self, words: &str, wanted: u64) -> CaseResult {
        let mut limit = String::new();
        let waited = wait_until("the limit", || {
            limit = self.line(words, "limits", "Max realtime timeout")?;
            let fields: Vec<_> = limit.split_whitespace().collect();
            let soft = fields.first().and_then(|soft| soft.parse::<u64>().ok());
            Ok(soft.is_some_and(|soft| soft % 1_000_000 == wanted) && fields.get(1) == Some(&"unlimited"))
        });
        waited.map_err(|_| Stop::failed(format!("{words}: {limit}\n{}", self.logs())))
    }

    /// The worker stands still for so long that a timer is late. It does so right after an announcement: never between
    /// the moment when it looks how late a timer is and the one when it runs it.
    fn stand_still(&self) -> CaseResult {
        let worker = self.pid(VRRP)?;
        self.daemon.wait_for_line_after(self.daemon.mark(), "Sending/queueing gratuitous ARPs", PATIENCE)?;
        let send =
            |signal| kill(worker, signal).map_err(|error| Stop::failed(format!("{worker}: {error}\n{}", self.logs())));
        send(Signal::SIGSTOP)?;
        let over = Instant::now() + Duration::from_millis(1_500);
        wait_until("the time to pass", || Ok(Instant::now() > over))?;
        send(Signal::SIGCONT)
    }
}

fn text(global: &str) -> String {
    format!("global_defs {{\n router_id test\n {global}\n}}\n{WORK}")
}

impl Thread {
    fn of(path: &std::path::Path) -> Result<Self, Stop> {
        const ROUND_ROBIN: i64 = 2;
        let stat = std::fs::read_to_string(path.join("stat"))?;
        let status = std::fs::read_to_string(path.join("status"))?;
        let broken = || Stop::failed(format!("what does this mean?\n{stat}\n{status}"));
        let (_, name) = stat.split_once('(').ok_or_else(broken)?;
        let (name, fields) = name.rsplit_once(") ").ok_or_else(broken)?;
        // The third field of proc(5) is the first of these.
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<i64>().ok());
        let (nice, real_time, policy) = (field(19), field(40), field(41));
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Ok(Self {
            name: name.to_owned(),
            nice: nice.ok_or_else(broken)?,
            real_time: real_time.filter(|_| policy == Some(ROUND_ROBIN)).unwrap_or(0),
            cpus: cpus.ok_or_else(broken)?.trim().to_owned(),
        })
    }
}

fn thread(name: &str, nice: i64, real_time: i64, cpus: &str) -> Thread {
    Thread { name: name.to_owned(), nice, real_time, cpus: cpus.to_owned() }
}

/// At the start, and after reloads that change and remove all of it.
fn processes_are_named_and_scheduled() -> CaseResult {
    let node = Node::start(
        "process_name boss\n process_names\n vrrp_priority -5\n checker_priority 7\n vrrp_rt_priority 30\n \
         checker_rt_priority 10\n vrrp_cpu_affinity 1\n checker_cpu_affinity 0\n checker_rlimit_rttime 30000",
    )?;
    node.wait_for(VRRP, &thread("keepalived_vrrp", -5, 30, "1"))?;
    node.wait_for(CHECKER, &thread("keepalived_lvs", 7, 10, "0"))?;
    let main = node.daemon.processes()?.into_iter().find(|process| process.pid == node.daemon.pid());
    if main.as_ref().map(|main| main.name.as_str()) != Some("boss") {
        return Err(Stop::failed(format!("{main:?}")));
    }
    for thread in node.threads(VRRP)? {
        // Which one waits for SIGXCPU does not matter.
        let expected = if thread.name == "log" { 0 } else { 30 };
        if thread.name != "limit" && (thread.real_time != expected || thread.cpus != "1") {
            return Err(Stop::failed(format!("{thread:?}")));
        }
    }
    node.check_limit(CHECKER, 30_000)?;
    node.reload("vrrp_process_name edge\n lvs_process_name lb\n checker_rt_priority 11")?;
    node.wait_for(VRRP, &thread("edge", -20, 0, "0-1"))?;
    node.wait_for(CHECKER, &thread("lb", 0, 11, "0-1"))?;
    node.reload("checker_process_name balance")?;
    node.wait_for(VRRP, &thread("keepalived", -20, 0, "0-1"))?;
    node.wait_for(CHECKER, &thread("balance", 0, 0, "0-1"))
}

/// Without a word of the file it comes before all others, also before those of other sessions, and its log does not.
fn the_vrrp_process_is_preferred() -> CaseResult {
    let node = Node::start("")?;
    node.wait_for_priority(-20, 0)?;
    node.wait_for(CHECKER, &thread("keepalived", 0, 0, "0-1"))?;
    // To have less takes no right that the process gave up; to have more again does.
    for nice in [0, 5] {
        node.reload(&format!("vrrp_priority {nice}"))?;
        node.wait_for_priority(nice, nice)?;
    }
    kill(node.pid(VRRP)?, Signal::SIGKILL)?;
    node.daemon.wait_for_line("continuing as MASTER", PATIENCE)?;
    node.wait_for_priority(5, 5)?;
    node.reload("vrrp_priority -7")?;
    node.wait_for_priority(-7, -7)?;
    node.reload("")?;
    node.wait_for_priority(-20, 0)
}

/// Who has no right to come before others needs the limit, and is told so.
fn a_limit_is_as_good_as_the_right() -> CaseResult {
    let without_right = [SETPRIV, "--bounding-set", "-sys_nice"];
    let node = Node::start_by(&without_right, "")?;
    node.daemon.wait_for_line("no more than the usual priority", PATIENCE)?;
    node.wait_for_priority(0, 0)?;
    drop(node);
    let node = Node::start_by(&[&[PRLIMIT, "--nice=40:40"], &without_right[..]].concat(), "")?;
    node.wait_for_priority(-20, 0)
}

/// All of it stays in memory, later allocations too; without the word nothing is locked.
fn memory_is_locked() -> CaseResult {
    let node = Node::start("vrrp_no_swap\n checker_no_swap")?;
    node.wait_for_locked(VRRP, true)?;
    node.wait_for_locked(CHECKER, true)?;
    node.reload("checker_no_swap")?;
    node.wait_for_locked(VRRP, false)?;
    node.wait_for_locked(CHECKER, true)
}

/// Each late timer is one step, up to the highest; a reload begins anew.
fn a_late_process_raises_its_priority() -> CaseResult {
    let words = "max_auto_priority 2\n min_auto_priority_delay 200000";
    let node = Node::start(words)?;
    for step in 1..=2 {
        node.stand_still()?;
        // A slow machine may take the next step by itself.
        let waited = wait_until("a step", || Ok(node.first(VRRP)?.real_time >= step));
        waited.map_err(|_| Stop::failed(format!("no step {step}: {:?}\n{}", node.first(VRRP).ok(), node.logs())))?;
        node.daemon.wait_for_line(&format!("Set realtime priority {step}"), PATIENCE)?;
    }
    node.wait_for(VRRP, &thread("keepalived", -20, 2, "0-1"))?;
    let mark = node.daemon.mark();
    node.stand_still()?;
    node.daemon.wait_for_line_after(mark, "A thread timer expired ", PATIENCE)?;
    node.wait_for(VRRP, &thread("keepalived", -20, 2, "0-1"))?;
    // Late for more than ten seconds a process is never.
    node.reload("max_auto_priority 2\n min_auto_priority_delay 10000000\n vrrp_process_name anew")?;
    node.wait_for(VRRP, &thread("anew", -20, 0, "0-1"))
}

/// The soft limit: at the hard one the kernel would kill.
fn the_limit_of_real_time_is_said_and_does_not_kill() -> CaseResult {
    let node = Node::start("vrrp_rt_priority 10\n vrrp_rlimit_rttime 20000")?;
    node.wait_for(VRRP, &thread("keepalived", -20, 10, "0-1"))?;
    node.check_limit(VRRP, 20_000)?;
    let worker = node.pid(VRRP)?;
    kill(worker, Signal::SIGXCPU)?;
    node.daemon.wait_for_line("SIGXCPU", PATIENCE)?;
    let wire = node.host.capture("eth0")?;
    wire.wait_for(PATIENCE, |frame| frame.gratuitous_arp())?;
    if node.pid(VRRP)? != worker {
        return Err(Stop::failed("the worker was replaced"));
    }
    Ok(())
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let vm = vm.module("ip_vs").module("ip_vs_wlc").module("veth").module("bridge").memory(1024).processors(2);
        let vm = vm.program(SETPRIV)?.program(PRLIMIT)?;
        Ok(vm.program(env!("CARGO_BIN_EXE_keepalived-rs"))?)
    };
    harness::main_in_vm(
        files,
        &[
            case("processes_are_named_and_scheduled", processes_are_named_and_scheduled),
            case("the_vrrp_process_is_preferred", the_vrrp_process_is_preferred),
            case("a_limit_is_as_good_as_the_right", a_limit_is_as_good_as_the_right),
            case("memory_is_locked", memory_is_locked),
            case("a_late_process_raises_its_priority", a_late_process_raises_its_priority),
            case("the_limit_of_real_time_is_said_and_does_not_kill", the_limit_of_real_time_is_said_and_does_not_kill),
        ],
    )
}
