//! What each process may still do, as the kernel tells it, and a daemon of an ordinary user.
#![allow(clippy::indexing_slicing, reason = "a test")]

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Process, Program, Skip};
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use support::{PATIENCE, Protocol, wait_until};

const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: false };

// Numbers of linux/capability.h.
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const IPC_LOCK: u64 = 1 << 14;
const SYS_NICE: u64 = 1 << 23;

/// `nobody`
const USER: u32 = 65534;

const VRRP: &str = "Starting VRRP child process, pid=";
const RUNNER: &str = "Starting Runner child process, pid=";

/// A router with a folder for its files, which `USER` may write to.
struct Node {
    lab: Lab,
    _lan: Bridge,
    host: Host,
    folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = lab.host("r1")?;
        lab.connect(&host, "eth0", &lan)?;
        host.address("eth0", &V3.address(1))?;
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        Ok(Self { lab, _lan: lan, host, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A script that writes its arguments and who it is to `witness`.
    fn script(&self) -> Result<PathBuf, Stop> {
        let script = self.path("notify.sh");
        let text = format!(
            "#!/bin/sh\n(echo \"$@\"; id -u; grep CapEff: /proc/self/status) >> {}\n",
            self.path("witness").display()
        );
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    fn config(&self) -> Result<PathBuf, Stop> {
        let file = self.path("keepalived.conf");
        fs::write(&file, V3.config(150, &format!("notify {}", self.script()?.display())))?;
        Ok(file)
    }

    /// The arguments of a daemon whose files are all in the folder.
    fn arguments(&self) -> Result<Vec<String>, Stop> {
        let mut arguments = vec!["-nlDG".to_owned(), "-f".into(), self.config()?.display().to_string()];
        for (option, name) in [("-p", "pid"), ("-r", "vrrp.pid"), ("-c", "checkers.pid")] {
            arguments.extend([option.to_owned(), self.path(name).display().to_string()]);
        }
        Ok(arguments)
    }

    fn program(&self) -> Result<Program, Stop> {
        Ok(Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(self.arguments()?))
    }

    fn start(&self) -> Result<Process, Stop> {
        let daemon = self.host.spawn(self.program()?)?;
        self.wait_for_vip(&daemon)?;
        Ok(daemon)
    }

    fn wait_for_vip(&self, daemon: &Process) -> CaseResult {
        let waited = self.lab.wait_for_holders(V3.vip(), &["r1"], PATIENCE);
        waited.map_err(|error| Stop::failed(format!("{error}\n{}", log(daemon))))
    }
}

fn log(process: &Process) -> String {
    process.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
}

fn expect(condition: bool, what: impl AsRef<str>, process: &Process) -> CaseResult {
    if condition { Ok(()) } else { Err(Stop::failed(format!("{}\n{}", what.as_ref(), log(process)))) }
}

/// The pid of the newest process that was announced with `words`.
fn newest(daemon: &Process, words: &str) -> Result<Pid, Stop> {
    daemon.wait_for_line(words, PATIENCE)?;
    let lines = daemon.lines();
    let pid = lines.iter().rev().find_map(|line| line.text.split_once(words)?.1.trim().parse().ok());
    pid.map(Pid::from_raw).ok_or_else(|| Stop::failed(format!("no {words}")))
}

/// What `/proc/PID/status` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Status {
    inheritable: u64,
    permitted: u64,
    effective: u64,
    bounding: u64,
    ambient: u64,
    no_new_privs: u64,
    /// 2 under a filter.
    seccomp: u64,
}

impl Status {
    fn of(process: impl std::fmt::Display) -> Result<Self, Stop> {
        let text = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str, radix| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value
                .and_then(|value| u64::from_str_radix(value.trim(), radix).ok())
                .ok_or_else(|| Stop::failed(format!("no {name} in\n{text}")))
        };
        Ok(Self {
            inheritable: field("CapInh", 16)?,
            permitted: field("CapPrm", 16)?,
            effective: field("CapEff", 16)?,
            bounding: field("CapBnd", 16)?,
            ambient: field("CapAmb", 16)?,
            no_new_privs: field("NoNewPrivs", 10)?,
            seccomp: field("Seccomp", 10)?,
        })
    }

    /// A process with these capabilities that cannot get others.
    const fn only(capabilities: u64, seccomp: u64) -> Self {
        Self {
            inheritable: 0,
            permitted: capabilities,
            effective: capabilities,
            bounding: capabilities,
            ambient: 0,
            no_new_privs: 1,
            seccomp,
        }
    }
}

/// The files below /proc of a process that is not dumpable belong to root, whoever it runs as.
fn is_dumpable(process: Pid, user: u32) -> Result<bool, Stop> {
    Ok(fs::metadata(format!("/proc/{process}/environ"))?.uid() == user)
}

fn check(what: &str, has: &Status, may: &Status, daemon: &Process) -> CaseResult {
    expect(has == may, format!("{what}: {has:x?}, not {may:x?}"), daemon)
}

/// Every thread of every process that goes on running.
fn each_process_keeps_only_its_capabilities() -> CaseResult {
    let own = Status::of("self")?;
    let node = Node::new()?;
    let daemon = node.start()?;
    let (vrrp, runner) = (newest(&daemon, VRRP)?, newest(&daemon, RUNNER)?);
    let supervisor =
        Status { effective: (DAC_OVERRIDE | IPC_LOCK) & own.bounding, permitted: own.bounding, ..own.clone() };
    let all = Status { effective: own.bounding, permitted: own.bounding, ..own.clone() };
    let worker = Status::only((NET_ADMIN | NET_RAW | IPC_LOCK) & own.bounding, 2);
    for (what, pid, may) in [("supervisor", daemon.pid(), supervisor), ("vrrp", vrrp, worker), ("runner", runner, all)]
    {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.file_name();
            check(&format!("{what}, thread {task:?}"), &Status::of(task.display())?, &may, &daemon)?;
        }
    }
    // Root of a user namespace has no right over memory, which is said and no reason to stop.
    let said =
        daemon.lines().iter().filter(|line| line.text.contains("The supervisor is not locked in memory")).count();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let locked = !status.lines().any(|line| line.starts_with("VmLck:") && line.ends_with(" 0 kB"));
    expect(said == usize::from(!locked), format!("locked: {locked}, said {said} times"), &daemon)?;
    stops(&node, &daemon)
}

/// Rights over the scheduler are for files that say how a process is scheduled.
fn scheduling_takes_a_capability_of_its_own() -> CaseResult {
    let bounding = Status::of("self")?.bounding;
    let node = Node::new()?;
    let file = node.config()?;
    let text = fs::read_to_string(&file)?.replace("global_defs {", "global_defs {\n max_auto_priority 5");
    let daemon = node.host.spawn(node.program()?)?;
    node.wait_for_vip(&daemon)?;
    let before = newest(&daemon, VRRP)?;
    fs::write(&file, &text)?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_for_line("Reload complete", PATIENCE).map_err(|_| Stop::failed(log(&daemon)))?;
    let plain = Status::only((NET_ADMIN | NET_RAW | IPC_LOCK) & bounding, 2);
    check("after a reload", &Status::of(before)?, &plain, &daemon)?;
    kill(before, Signal::SIGKILL)?;
    let more = Status::only((NET_ADMIN | NET_RAW | IPC_LOCK | SYS_NICE) & bounding, 2);
    wait_until("the next worker", || {
        let pid = newest(&daemon, VRRP)?;
        Ok(pid != before && Status::of(pid)? == more)
    })
    .map_err(|_| Stop::failed(log(&daemon)))?;
    stops(&node, &daemon)
}

/// The reader and the clean-up, looked at when they end.
fn short_lived_processes_keep_only_their_capabilities() -> CaseResult {
    let bounding = Status::of("self")?.bounding;
    let node = Node::new()?;
    let daemon = node.start()?;
    let reader = at_its_end(daemon.pid(), "reader", || Ok(daemon.signal(Signal::SIGHUP)?))?;
    check("reader", &reader, &Status::only(DAC_READ_SEARCH & bounding, 0), &daemon)?;
    // The second death follows too quickly: the restart waits and the addresses go.
    let cleanup = at_its_end(daemon.pid(), "cleanup", || {
        let first = newest(&daemon, VRRP)?;
        kill(first, Signal::SIGKILL)?;
        wait_until("the next worker", || Ok(newest(&daemon, VRRP)? != first))?;
        Ok(kill(newest(&daemon, VRRP)?, Signal::SIGKILL)?)
    })?;
    check("cleanup", &cleanup, &Status::only((NET_ADMIN | NET_RAW) & bounding, 0), &daemon)
}

/// The status of the next process of `role` that `supervisor` starts, at its end.
fn at_its_end(supervisor: Pid, role: &str, trigger: impl FnOnce() -> CaseResult + Send) -> Result<Status, Stop> {
    // The kernel lets go of what a thread traces when that thread ends.
    let trace = || -> Result<Status, Stop> {
        use ptrace::Options;
        let starts = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
        ptrace::seize(supervisor, starts | Options::PTRACE_O_TRACEEXIT)?;
        std::thread::scope(|scope| {
            let trigger = scope.spawn(trigger);
            let found = follow(role);
            trigger.join().map_err(|_| Stop::failed("the trigger panicked"))?.and(found)
        })
    };
    let result = std::thread::scope(|scope| scope.spawn(trace).join());
    result.map_err(|_| Stop::failed("the tracer panicked"))?
}

fn follow(role: &str) -> Result<Status, Stop> {
    const AT_EXIT: i32 = libc::PTRACE_EVENT_EXIT;
    let deadline = Instant::now() + PATIENCE;
    let mine = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        match waitpid(None, Some(mine)) {
            Ok(WaitStatus::PtraceEvent(pid, _, AT_EXIT)) => {
                let words = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
                if words.split('\0').any(|word| word == role) {
                    return Status::of(pid);
                }
                seen.push(words);
                ptrace::cont(pid, None)?;
            }
            Ok(WaitStatus::PtraceEvent(pid, ..)) => ptrace::cont(pid, None)?,
            Ok(WaitStatus::Stopped(pid, signal)) => ptrace::cont(pid, signal)?,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    Err(Stop::failed(format!("no {role} ended, only {seen:?}")))
}

/// A thread that makes calls on our behalf.
struct Puppet {
    thread: Pid,
    /// Where its program began: nobody comes there again.
    place: u64,
}

impl Puppet {
    /// A thread of `process`.
    fn new(process: Pid, thread: Pid) -> Result<Self, Stop> {
        const AT_ENTRY: u64 = 9;
        let auxiliary = fs::read(format!("/proc/{process}/auxv"))?;
        let words: Vec<_> = auxiliary.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let entry = words.as_chunks::<2>().0.iter().find(|[key, _]| *key == AT_ENTRY);
        let [_, place] = *entry.ok_or_else(|| Stop::failed("no entry in the auxiliary vector"))?;
        Ok(Self { thread, place })
    }

    /// What the kernel returns for a call; arguments that are text are put on its stack.
    #[cfg(target_arch = "x86_64")]
    fn call(&self, number: libc::c_long, arguments: &[Argument<'_>]) -> Result<i64, Stop> {
        let thread = self.thread;
        ptrace::seize(thread, ptrace::Options::empty())?;
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        let before = ptrace::getregs(thread)?;
        // syscall; int3
        ptrace::write(thread, as_pointer(self.place), 0xcc_050f)?;
        // Below the red zone.
        let mut stack = before.rsp - 4096;
        let mut values = [0; 4];
        for (value, argument) in values.iter_mut().zip(arguments) {
            *value = match argument {
                Argument::Number(number) => *number,
                Argument::Text(text) => {
                    let start = stack;
                    for octets in text.as_bytes().chunks(8) {
                        let mut word = [0; 8];
                        word[..octets.len()].copy_from_slice(octets);
                        ptrace::write(thread, as_pointer(stack), i64::from_ne_bytes(word))?;
                        stack += 8;
                    }
                    ptrace::write(thread, as_pointer(stack), 0)?;
                    stack += 8;
                    start
                }
            };
        }
        let [rdi, rsi, rdx, r10] = values;
        let mut registers = before;
        // Nothing that a signal interrupted is to be made again meanwhile.
        registers.orig_rax = u64::MAX;
        registers.rip = self.place;
        registers.rax = number.cast_unsigned();
        (registers.rdi, registers.rsi, registers.rdx, registers.r10) = (rdi, rsi, rdx, r10);
        ptrace::setregs(thread, registers)?;
        ptrace::cont(thread, None)?;
        let stopped = waitpid(thread, Some(WaitPidFlag::__WALL))?;
        if !matches!(stopped, WaitStatus::Stopped(_, Signal::SIGTRAP)) {
            return Err(Stop::failed(format!("call {number} ended in {stopped:?}")));
        }
        let result = ptrace::getregs(thread)?.rax.cast_signed();
        ptrace::setregs(thread, before)?;
        ptrace::detach(thread, None)?;
        Ok(result)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn call(&self, _: libc::c_long, _: &[Argument<'_>]) -> Result<i64, Stop> {
        Err(Skip(format!("calls of thread {} at {:x}: on x86_64 only", self.thread, self.place)).into())
    }

    fn open(&self, path: &str, flags: i32) -> Result<i64, Stop> {
        let flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
        let here = i64::from(libc::AT_FDCWD).cast_unsigned();
        self.call(libc::SYS_openat, &[Argument::Number(here), Argument::Text(path), Argument::Number(flags)])
    }
}

enum Argument<'a> {
    Number(u64),
    Text(&'a str),
}

#[cfg(target_arch = "x86_64")]
fn as_pointer(address: u64) -> ptrace::AddressType {
    std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or_default())
}

/// Whoever takes the worker over starts nothing with it; it runs on, and it is said.
fn the_vrrp_worker_starts_nothing() -> CaseResult {
    use Argument::{Number, Text};
    let node = Node::new()?;
    let daemon = node.start()?;
    let vrrp = newest(&daemon, VRRP)?;
    let puppet = Puppet::new(vrrp, vrrp)?;
    let sigchld = u64::from(libc::SIGCHLD.cast_unsigned());
    let fork_of_posix_spawn = u64::from((libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD).cast_unsigned());
    let refused = -i64::from(libc::EPERM);
    let mut calls = vec![
        ("execve", puppet.call(libc::SYS_execve, &[Text("/bin/true"), Number(0), Number(0)])?, refused),
        ("execveat", puppet.call(libc::SYS_execveat, &[Number(0), Text("/bin/true"), Number(0), Number(0)])?, refused),
        ("clone", puppet.call(libc::SYS_clone, &[Number(sigchld)])?, refused),
        ("clone", puppet.call(libc::SYS_clone, &[Number(fork_of_posix_spawn)])?, refused),
        ("clone3", puppet.call(libc::SYS_clone3, &[Number(0), Number(0)])?, -i64::from(libc::ENOSYS)),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend([
        ("fork", puppet.call(libc::SYS_fork, &[])?, refused),
        ("vfork", puppet.call(libc::SYS_vfork, &[])?, refused),
    ]);
    for (name, result, wanted) in calls {
        expect(result == wanted, format!("{name} gave {result}"), &daemon)?;
    }
    for words in [
        "VRRP process: execve of thread".to_owned(),
        format!("VRRP process: execveat of thread {vrrp} was refused, which starts no process: 2 so far"),
        format!("VRRP process: clone of thread {vrrp} was refused, which starts no process: 4 so far"),
    ] {
        daemon.wait_for_line(&words, PATIENCE).map_err(|_| Stop::failed(format!("no {words:?}\n{}", log(&daemon))))?;
    }
    expect(newest(&daemon, VRRP)? == vrrp && kill(vrrp, None).is_ok(), "the worker died", &daemon)?;
    node.wait_for_vip(&daemon)?;
    stops(&node, &daemon)
}

/// In none of its threads, whatever its user might.
fn the_vrrp_worker_opens_nothing_but_network_settings() -> CaseResult {
    let node = Node::new()?;
    let daemon = node.start()?;
    if log(&daemon).contains("no Landlock") {
        return Err(Skip("this kernel has no Landlock".into()).into());
    }
    let vrrp = newest(&daemon, VRRP)?;
    let witness = node.path("made");
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{vrrp}/task"))? {
        let thread = task?.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw);
        let puppet = Puppet::new(vrrp, thread.ok_or_else(|| Stop::failed("a thread without a number"))?)?;
        let denied = -i64::from(libc::EACCES);
        for (path, flags) in [
            ("/etc/passwd", libc::O_RDONLY),
            ("/proc/self/environ", libc::O_RDONLY),
            ("/proc/self/mem", libc::O_RDWR),
            ("/proc/sys/kernel/core_pattern", libc::O_RDONLY),
            (&*witness.to_string_lossy(), libc::O_WRONLY | libc::O_CREAT),
        ] {
            let result = puppet.open(path, flags)?;
            expect(result == denied, format!("{:?} opens {path}: {result}", puppet.thread), &daemon)?;
        }
        for path in ["/proc/sys/net/ipv4/conf/eth0/arp_ignore", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"] {
            let result = puppet.open(path, libc::O_RDWR)?;
            expect(result >= 0, format!("{:?} opens {path}: {result}", puppet.thread), &daemon)?;
        }
        threads += 1;
    }
    expect(threads >= 3, format!("{threads} threads"), &daemon)?;
    expect(!witness.exists(), "a file was made", &daemon)?;
    stops(&node, &daemon)
}

/// With nothing but the two capabilities and no way to others, as `AmbientCapabilities=` and `NoNewPrivileges=` of a
/// systemd unit have it.
fn an_ordinary_user_runs_it() -> CaseResult {
    let node = Node::new()?;
    let bounding = Status::of("self")?.bounding;
    let daemon = start_as_user(&node, "+net_admin,+net_raw", &node.arguments()?)?;
    node.wait_for_vip(&daemon)?;
    daemon.wait_for_line("no more than the usual priority", PATIENCE).map_err(|_| Stop::failed(log(&daemon)))?;
    let (vrrp, runner) = (newest(&daemon, VRRP)?, newest(&daemon, RUNNER)?);
    let both = NET_ADMIN | NET_RAW;
    // Nobody of an ordinary user's may shrink the bounding set; without new privileges it means nothing.
    check("vrrp", &Status::of(vrrp)?, &Status { bounding, ..Status::only(both, 2) }, &daemon)?;
    let supervisor = Status::of(daemon.pid())?;
    expect(supervisor.effective == 0 && supervisor.ambient == both, format!("{supervisor:x?}"), &daemon)?;
    expect(Status::of(runner)?.ambient == 0, "scripts get capabilities", &daemon)?;
    for (what, pid, dumpable) in [("vrrp", vrrp, false), ("runner", runner, true)] {
        expect(is_dumpable(pid, USER)? == dumpable, format!("{what}: dumpable is not {dumpable}"), &daemon)?;
    }
    let witness = node.path("witness");
    let written = || fs::read_to_string(&witness).unwrap_or_default();
    let expected = format!("INSTANCE VI_1 MASTER 150\n{USER}\nCapEff:\t{:016x}\n", 0);
    let waited = wait_until("the script", || Ok(written().contains(&expected)));
    waited.map_err(|_| Stop::failed(format!("the script wrote {}\n{}", written(), log(&daemon))))?;
    // A new worker, a reload and a stop are of the same rights.
    kill(vrrp, Signal::SIGKILL)?;
    wait_until("the next worker", || Ok(newest(&daemon, VRRP)? != vrrp))?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.wait_for_line("Reload complete", PATIENCE).map_err(|_| Stop::failed(log(&daemon)))?;
    node.wait_for_vip(&daemon)?;
    stops(&node, &daemon)
}

/// What all of its killed processes left.
fn an_ordinary_user_cleans_up() -> CaseResult {
    let node = Node::new()?;
    let daemon = start_as_user(&node, "+net_admin,+net_raw", &node.arguments()?)?;
    node.wait_for_vip(&daemon)?;
    wait_until("the state file", || Ok(node.path("pid.state").exists()))?;
    daemon.kill_all()?;
    daemon.wait_for_exit(PATIENCE)?;
    expect(node.host.holds(V3.vip())?, "nothing is left to clean up", &daemon)?;
    let mut arguments = node.arguments()?;
    arguments[0] = "cleanup".into();
    let cleanup = start_as_user(&node, "+net_admin,+net_raw", &arguments)?;
    expect(cleanup.wait_for_exit(PATIENCE)?.success(), "it failed", &cleanup)?;
    expect(!node.host.holds(V3.vip())?, "an address is left", &cleanup)?;
    expect(!node.path("pid.state").exists(), "the state file is left", &cleanup)
}

/// One line says what is missing.
fn what_an_ordinary_user_lacks_is_said() -> CaseResult {
    let node = Node::new()?;
    let daemon = start_as_user(&node, "+net_raw", &node.arguments()?)?;
    let words = "without CAP_NET_ADMIN, with which this process changes addresses, routes and rules, it cannot work";
    let line = daemon.wait_for_line(words, PATIENCE).map_err(|_| Stop::failed(log(&daemon)))?;
    expect(line.text.contains("AmbientCapabilities="), line.text, &daemon)?;
    expect(daemon.wait_for_exit(PATIENCE)?.code() == Some(4), "another exit status", &daemon)?;
    let mut arguments = node.arguments()?;
    arguments[4] = "/proc/keepalived.pid".into();
    let daemon = start_as_user(&node, "+net_admin,+net_raw", &arguments)?;
    let words = "pid file /proc/keepalived.pid: ";
    daemon.wait_for_line(words, PATIENCE).map_err(|_| Stop::failed(log(&daemon)))?;
    expect(daemon.wait_for_exit(PATIENCE)?.code() == Some(1), "another exit status", &daemon)
}

fn start_as_user(node: &Node, capabilities: &str, arguments: &[String]) -> Result<Process, Stop> {
    let maps = fs::read_to_string("/proc/self/uid_map")?;
    let last = maps.split_whitespace().nth(2).and_then(|count| count.parse::<u64>().ok());
    if last.is_none_or(|count| count <= u64::from(USER)) {
        return Err(Skip(format!("user {USER} does not exist in this user namespace")).into());
    }
    chown(node.folder.path(), Some(USER), Some(USER))?;
    let binary = reachable(node)?;
    let user = USER.to_string();
    let program = Program::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"])
        .args(["--inh-caps", &format!("-all,{capabilities}"), "--ambient-caps", capabilities])
        .arg(binary)
        .args(arguments);
    node.host.spawn(program).map_err(|_| Skip("setpriv (util-linux)".into()).into())
}

/// The program where anybody may execute it: the build's own folder may be root's alone.
fn reachable(node: &Node) -> Result<PathBuf, Stop> {
    let path = node.path("keepalived-rs");
    if !path.exists() {
        fs::copy(Path::new(env!("CARGO_BIN_EXE_keepalived-rs")), &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

/// Clean: nothing is left.
fn stops(node: &Node, daemon: &Process) -> CaseResult {
    daemon.signal(Signal::SIGTERM)?;
    expect(daemon.wait_for_exit(PATIENCE)?.success(), "the exit status is not 0", daemon)?;
    expect(!node.host.holds(V3.vip())?, "an address is left", daemon)?;
    for name in ["pid", "vrrp.pid", "keepalived.state", "pid.state"] {
        expect(!node.path(name).exists(), format!("{name} is left"), daemon)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    harness::main(&[
        case("each_process_keeps_only_its_capabilities", each_process_keeps_only_its_capabilities),
        case("scheduling_takes_a_capability_of_its_own", scheduling_takes_a_capability_of_its_own),
        case("short_lived_processes_keep_only_their_capabilities", short_lived_processes_keep_only_their_capabilities),
        case("the_vrrp_worker_starts_nothing", the_vrrp_worker_starts_nothing),
        case("the_vrrp_worker_opens_nothing_but_network_settings", the_vrrp_worker_opens_nothing_but_network_settings),
        case("an_ordinary_user_runs_it", an_ordinary_user_runs_it),
        case("an_ordinary_user_cleans_up", an_ordinary_user_cleans_up),
        case("what_an_ordinary_user_lacks_is_said", what_an_ordinary_user_lacks_is_said),
    ])
}
