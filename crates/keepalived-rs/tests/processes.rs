//! Tracked processes where the kernel tells of them: in the first network namespace of a virtual machine, next to Debian's
//! keepalived.

use std::fs::File;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::peers;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vip_netlink::{Address, Change, LinkName, RouteSocket};

/// The priority without trackers.
const BASE: u8 = 30;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Ours,
    C,
}

/// A daemon in the machine's own network.
struct Running {
    child: Child,
    log: String,
}

impl Running {
    /// One instance of priority [`BASE`] on a link of its own, with these blocks before it and these lines in it.
    fn start(daemon: Daemon, name: &str, blocks: &str, lines: &str) -> Result<Self, Stop> {
        let text = format!(
            "{blocks}\nvrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n priority {BASE}\n advert_int 1\n\
             {lines}\n virtual_ipaddress {{\n 198.18.0.100/24\n }}\n}}\n"
        );
        let (config, log) = (format!("/tmp/{name}.conf"), format!("/tmp/{name}.log"));
        std::fs::write(&config, text)?;
        let mut command = match daemon {
            Daemon::Ours => Command::new(env!("CARGO_BIN_EXE_keepalived-rs")),
            Daemon::C => peers::keepalived()?.command(),
        };
        let output = File::create(&log)?;
        command.args(["-nlDG", "--vrrp", "-f", &config]).stdin(Stdio::null());
        let child = command.stdout(output.try_clone()?).stderr(output).spawn()?;
        Ok(Self { child, log })
    }

    fn lines(&self) -> Result<Vec<String>, Stop> {
        Ok(std::fs::read_to_string(&self.log)?.lines().map(str::to_owned).collect())
    }

    /// The effective priority that it told last.
    fn priority(&self) -> Result<String, Stop> {
        let lines = self.lines()?;
        let told = lines.iter().rev().find_map(|line| line.split_once("Changing effective priority from "));
        Ok(told.and_then(|(_, change)| change.rsplit(' ').next()).map_or_else(|| BASE.to_string(), str::to_owned))
    }

    fn says(&self, text: &str) -> CaseResult {
        self.wait_until(text, || Ok(self.lines()?.iter().any(|line| line.contains(text))))
    }

    fn has_priority(&self, priority: u8) -> CaseResult {
        self.wait_until(&format!("priority {priority}"), || Ok(self.priority()? == priority.to_string()))
    }

    fn wait_until(&self, what: &str, mut condition: impl FnMut() -> Result<bool, Stop>) -> CaseResult {
        let deadline = Instant::now() + PATIENCE;
        while !condition()? {
            if Instant::now() > deadline {
                return Err(Stop::failed(format!("waited for {what}:\n{}", self.lines()?.join("\n"))));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The pid of its process that runs scripts.
    fn runner(&self) -> Result<Pid, Stop> {
        const WORDS: &str = "Starting Runner child process, pid=";
        let lines = self.lines()?;
        let pid = lines.iter().find_map(|line| line.split_once(WORDS)).ok_or_else(|| Stop::failed("no runner"))?;
        Ok(Pid::from_raw(pid.1.trim().parse()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// The machine has no link but `lo`.
fn make_link() -> CaseResult {
    let mut route = RouteSocket::open()?;
    let (name, peer) = ("eth0".parse::<LinkName>()?, "peer0".parse::<LinkName>()?);
    if route.link(name)?.is_some() {
        return Ok(());
    }
    let made = [Change::AddVeth { name, peer }, Change::SetLinkUp(name.into()), Change::SetLinkUp(peer.into())];
    let applied = route.apply(&made);
    let index = route.link(name)?.ok_or_else(|| Stop::failed(format!("{applied:?}")))?.index;
    let address = Address::new(index, [198, 18, 0, 1].into(), 24);
    match route.apply(&[Change::AddAddress(address)]) {
        applied if applied.refused.is_empty() => Ok(()),
        applied => Err(Stop::failed(format!("{applied:?}"))),
    }
}

/// A process that waits until it is killed: a shell with these words behind it.
struct Waiting(Child);

impl Waiting {
    fn new(words: &[&str]) -> Result<Self, Stop> {
        let mut command = Command::new("busybox");
        command.args(["sh", "-c", "read line"]).args(words).stdin(Stdio::piped());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Each with the weight of a power of two: the priority tells which are up.
const PATTERNS: [(&str, u8); 8] = [
    ("process busybox", 1),
    ("process busybox sh -c \"read line\" -a b", 2),
    ("process busybox sh -c \"read line\" -a b\n param_match partial", 4),
    ("process busybox sh -c \"read line\" -a b\n param_match initial", 8),
    ("process busybox\n full_command", 16),
    ("process busybox\n param_match", 32),
    ("process busybox\n param_match partial", 128),
    ("process busybox\n quorum 2\n quorum_max 3", 64),
];

fn counted(daemon: Daemon) -> CaseResult {
    make_link()?;
    let (mut blocks, mut lines) = (String::new(), "track_process {\n".to_owned());
    for (pattern, weight) in PATTERNS {
        blocks += &format!("vrrp_track_process p{weight} {{\n {pattern}\n weight {weight}\n}}\n");
        lines += &format!(" p{weight}\n");
    }
    let before = Waiting::new(&["-a", "b"])?;
    let running = Running::start(daemon, &format!("counted-{daemon:?}"), &blocks, &(lines + "}"))?;
    // One with these words, and then another instead.
    running.has_priority(BASE + 1 + 2 + 4 + 8 + 16 + 128)?;
    drop(before);
    running.has_priority(BASE)?;
    let more = Waiting::new(&["-a", "b", "c"])?;
    running.has_priority(BASE + 1 + 4 + 8 + 16 + 128)?;
    drop(more);
    running.has_priority(BASE)?;
    let longer = Waiting::new(&["-a", "bc"])?;
    running.has_priority(BASE + 1 + 8 + 16 + 128)?;
    let second = Waiting::new(&["-x"])?;
    running.has_priority(BASE + 1 + 8 + 16 + 128 + 64)?;
    let [_third, fourth] = [Waiting::new(&["-x"])?, Waiting::new(&["-x"])?];
    running.has_priority(BASE + 1 + 8 + 16 + 128)?;
    drop(fourth);
    running.has_priority(BASE + 1 + 8 + 16 + 128 + 64)?;
    drop([longer, second]);
    running.has_priority(BASE + 1 + 16 + 128)
}

fn processes_are_counted_as_c_keepalived_counts_them() -> CaseResult {
    counted(Daemon::C)?;
    counted(Daemon::Ours)
}

/// Too few for a moment is not noticed, and what lasts is noticed when the delay is over.
fn a_restart_within_the_delay_is_not_noticed() -> CaseResult {
    const DELAY: Duration = Duration::from_secs(2);
    make_link()?;
    let block = "vrrp_track_process p {\n process busybox\n weight -20\n delay 2\n}";
    let first = Waiting::new(&[])?;
    let running = Running::start(Daemon::Ours, "delays", block, "track_process {\n p\n}")?;
    running.says("Tracked process p: 1 running, which is the quorum")?;
    let since = Instant::now();
    drop(first);
    let second = Waiting::new(&[])?;
    running.wait_until("the delay to be over", || Ok(since.elapsed() > DELAY + DELAY / 4))?;
    if running.lines()?.iter().any(|line| line.contains("Changing effective priority")) {
        return Err(Stop::failed(format!("the restart was noticed\n{}", running.lines()?.join("\n"))));
    }
    let since = Instant::now();
    drop(second);
    running.has_priority(BASE - 20)?;
    let down = since.elapsed();
    let since = Instant::now();
    let _third = Waiting::new(&[])?;
    running.has_priority(BASE)?;
    let up = since.elapsed();
    let changes = running.lines()?.iter().filter(|line| line.contains("Changing effective priority")).count();
    match (down >= DELAY, up >= DELAY, changes) {
        (true, true, 2) => Ok(()),
        other => Err(Stop::failed(format!("{other:?}: {down:?}, {up:?}\n{}", running.lines()?.join("\n")))),
    }
}

/// The process that listens stands still while more happens than its buffer holds.
fn lost_news_of_processes_are_made_up_for() -> CaseResult {
    make_link()?;
    let block = "global_defs {\n process_monitor_rcv_bufs 4096\n process_monitor_rcv_bufs_force\n}\n\
                 vrrp_track_process p {\n process busybox\n weight 20\n}";
    let running = Running::start(Daemon::Ours, "lost", block, "track_process {\n p\n}")?;
    running.says("Tracked process p: 0 running, which is not the quorum")?;
    let runner = running.runner()?;
    kill(runner, Signal::SIGSTOP)?;
    for _ in 0..100 {
        Command::new("/bin/true").status()?;
    }
    let _process = Waiting::new(&[])?;
    kill(runner, Signal::SIGCONT)?;
    running.says("News of processes were lost")?;
    running.has_priority(BASE + 20)
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let vm = vm.module("veth").memory(1024).program(env!("CARGO_BIN_EXE_keepalived-rs"))?;
        // Who lacks the peer skips the case that asks for it.
        Ok(peers::keepalived().into_iter().try_fold(vm, |vm, peer| peer.add_to(vm))?)
    };
    harness::main_in_vm(
        files,
        &[
            case(
                "processes_are_counted_as_c_keepalived_counts_them",
                processes_are_counted_as_c_keepalived_counts_them,
            ),
            case("a_restart_within_the_delay_is_not_noticed", a_restart_within_the_delay_is_not_noticed),
            case("lost_news_of_processes_are_made_up_for", lost_news_of_processes_are_made_up_for),
        ],
    )
}
