//! The process that users signal: starts, watches and replaces the others. Its decisions are
//! [`machine`]; here are the processes, the signals, the pid files and the snapshot.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{error, info, warn};

use crate::cleanup_status;
use crate::control::{self, Door};
use crate::crash;
use crate::ipc::{self, Channel, Common, Fact, Order, Report, Role};
use crate::pid_file::PidFile;
use crate::privileges::Extras;
use crate::privileges::calls::Watch;
use crate::reader::{Finding, Reading, Source};
use crate::state_file::StateFile;
use crate::workers::checker::{self, leftovers};
use crate::workers::lateness::Histogram;
use crate::workers::scheduling;
use crate::workers::vrrp::facts;
use machine::{Action, Ended, Machine, Notify, ReadOutcome, Severity};
use spare::Spare;
use statistics::Statistics;

mod check_log;
mod machine;
mod spare;
mod statistics;

/// SIGRTMAX-1: the statistics, which then count from zero.
const STATS_CLEAR: i32 = 63;

/// Signals that mean something.
const SIGNALS: [i32; 9] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCHLD,
    /* SIGRTMIN+2 */ 36,
    STATS_CLEAR,
    /* SIGRTMAX */ 64,
];

/// How the daemon is run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What every child is told.
    pub(crate) common: Common,
    /// Which configuration.
    pub(crate) source: Source,
    /// `-n`: this process stays the parent of those that it starts.
    pub(crate) dont_fork: bool,
    /// Off with `-R`.
    pub(crate) respawn: bool,
    /// `--ignore-sigint`
    pub(crate) ignore_sigint: bool,
    /// The pid file of each worker.
    pub(crate) pid_files: BTreeMap<Role, PathBuf>,
    /// The daemon's own, beside which the state file lies.
    pub(crate) pid_file: PathBuf,
}

/// A process and the way to talk to it.
struct Process {
    channel: Channel,
    child: std::process::Child,
    pid_fd: OwnedFd,
    /// Orders that found the socket full, with their descriptors.
    waiting: Vec<(Order, Vec<OwnedFd>)>,
    /// Calls that it may not make.
    watch: Option<Watch>,
}

/// What one reading gave: the verdict and each worker's part.
pub(crate) struct ReadResult {
    reading: Reading,
    findings: Vec<Finding>,
    parts: BTreeMap<Role, OwnedFd>,
    /// The VRRP process that was started meanwhile.
    worker: Spare,
}

/// Which descriptor woke the loop.
#[derive(Debug, Clone, Copy)]
enum Wake {
    Signal(i32),
    Channel(Role),
    Exit(Role),
    Call(Role),
    Spare,
}

/// Reads the configuration in a child and waits for it: before the daemon exists there is nothing else to do but to start the
/// VRRP process, which almost every configuration needs.
///
/// # Errors
/// When the reader cannot be started, dies or hangs.
pub(crate) fn read_first(settings: &Settings) -> anyhow::Result<ReadResult> {
    let mut reader = Process::start(Role::Reader, settings, Extras::default())?;
    reader.send(Order::Read(settings.source.clone()), Vec::new());
    let needs_worker = settings.dont_fork && settings.source.workers.contains(&Role::Vrrp);
    let mut worker = if needs_worker { Spare::first(settings) } else { Spare::default() };
    let result = await_reading(&mut reader, settings);
    worker.keep(result.as_ref().ok().and_then(|result| result.reading.vrrp_extras()));
    Ok(ReadResult { worker, ..result? })
}

fn await_reading(process: &mut Process, settings: &Settings) -> anyhow::Result<ReadResult> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            process.kill();
            anyhow::bail!("reading {} took longer than 30 s", settings.source.file.display());
        }
        let mut fds = [PollFd::new(process.channel.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout(left)).or_else(interrupted)?;
        match process.channel.receive::<Report>() {
            Ok(Some((Report::Reading(reading), fds))) => {
                // Its end is not waited for: who waits for orphans does so.
                return ReadResult::new(reading, fds);
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                let status = process.child.wait()?;
                anyhow::bail!("the process that reads {} ended: {status}", settings.source.file.display());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl ReadResult {
    /// Takes what the reader sent: the findings first, then the parts.
    fn new(reading: Reading, fds: Vec<OwnedFd>) -> anyhow::Result<Self> {
        let mut fds = fds.into_iter();
        let findings = fds.next().context("the reader sent no findings")?;
        let parts = reading.parts.iter().copied().zip(fds).collect();
        Ok(Self { findings: ipc::unseal(&findings)?, reading, parts, worker: Spare::default() })
    }

    /// Logs what was found; the status of a refused start, or `None`.
    pub(crate) fn report(&self) -> Option<u8> {
        for finding in &self.findings {
            if finding.error {
                error!("{}", finding.text);
            } else {
                info!("{}", finding.text);
            }
        }
        self.reading.refused
    }

    /// What `reload_check_config` leaves in its file: a line for each finding that refuses, nothing for a usable file.
    fn refusals(&self) -> String {
        self.findings.iter().filter(|finding| finding.refuses).map(|finding| format!("{}\n", finding.text)).collect()
    }

    /// Prints what refuses the start to standard error, where the caller of a daemon still looks.
    pub(crate) fn complain(&self) {
        if self.is_refused() {
            for finding in self.findings.iter().filter(|finding| finding.refuses) {
                eprintln!("{}", finding.text);
            }
        }
    }

    /// Half a file is no order to withdraw everything.
    fn is_emptied_by_mistakes(&self) -> bool {
        let work = self.reading.parts.iter().any(|role| *role != Role::Checker || !self.reading.kept_checker);
        self.reading.refused.is_none() && !work && self.findings.iter().any(|finding| finding.error)
    }

    /// Whether the start is refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.reading.refused.is_some()
    }

    fn outcome(&self, generation: u64) -> ReadOutcome {
        match self.reading.refused {
            None => ReadOutcome::Usable {
                generation,
                needed: self.reading.parts.iter().copied().collect(),
                child_wait: self.reading.child_wait,
            },
            Some(exit) => {
                let first = self.findings.iter().find(|finding| finding.refuses);
                let why = first.map_or("the configuration cannot run", |finding| finding.text.as_str());
                ReadOutcome::Refused { exit, why: why.to_owned() }
            }
        }
    }
}

/// Runs the daemon on its first, accepted configuration until it is told to stop; returns the exit status.
///
/// # Errors
/// When the supervisor itself cannot work: signals, sockets, processes.
pub(crate) fn run(mut settings: Settings, signals: Signals, mut first: ReadResult) -> anyhow::Result<u8> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("becoming a subreaper")?;
    let ReadOutcome::Usable { needed, child_wait, .. } = first.outcome(1) else {
        anyhow::bail!("a refused configuration cannot be run");
    };
    settings.common.ipvs_namespace = first.reading.ipvs_namespace.clone();
    let mut state = StateFile::beside(&settings.pid_file).context("finding the state file")?;
    let mut left = read_state(&mut state);
    let mut of_checker: BTreeMap<_, _> = left.extract_if(.., |key, _| leftovers::is_on_host(key)).collect();
    let mut elsewhere: BTreeMap<_, _> = of_checker.extract_if(.., |key, _| leftovers::is_elsewhere(key)).collect();
    let mut state_changed = !elsewhere.is_empty();
    if needed.contains(&Role::Checker) {
        let namespace = settings.common.ipvs_namespace.as_ref();
        of_checker = leftovers::for_checker_in(namespace, of_checker, &mut elsewhere);
    }
    state_changed |= !elsewhere.is_empty();
    let orphans = !elsewhere.is_empty()
        || (!needed.contains(&Role::Vrrp) && left.keys().any(|key| facts::is_on_host(key)))
        || (!needed.contains(&Role::Checker) && !of_checker.is_empty());
    let mut machine = Machine::start(Instant::now(), settings.respawn, needed, child_wait);
    if orphans {
        machine.clean_up(Instant::now());
    }
    let spare = std::mem::take(&mut first.worker);
    let mut shell = Shell {
        signals,
        settings,
        processes: BTreeMap::new(),
        pid_files: BTreeMap::new(),
        generations: BTreeMap::from([(1, Generation::from(first))]),
        newest: 1,
        facts: BTreeMap::from([(Role::Vrrp, left), (Role::Checker, of_checker)]),
        cleaned: BTreeSet::new(),
        state,
        state_changed,
        elsewhere,
        cleaned_elsewhere: BTreeSet::new(),
        to_note: Vec::new(),
        doors: BTreeMap::new(),
        lateness: BTreeMap::new(),
        spare,
        statistics: Statistics::default(),
        exit: None,
    };
    shell.run(machine)
}

/// Whether a fact of `role` is for a daemon after this one too, should all processes be killed.
fn outlives_daemon(role: Role, key: &str) -> bool {
    match role {
        Role::Vrrp => facts::outlives_daemon(key),
        Role::Checker => leftovers::is_on_host(key),
        Role::Reader | Role::Runner | Role::Cleanup => false,
    }
}

fn told(facts: &BTreeMap<String, Vec<u8>>) -> Vec<Fact> {
    facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect()
}

/// What a daemon before this one left on the host because it was killed.
fn read_state(state: &mut StateFile) -> BTreeMap<String, Vec<u8>> {
    match state.read() {
        Ok(facts) => facts.into_iter().map(|Fact { key, value }| (key, value)).collect(),
        Err(error) => {
            error!("what an earlier daemon left on this host is not known: {}: {error}", state.path().display());
            BTreeMap::new()
        }
    }
}

/// The signals that mean something, each as a pipe that becomes readable.
pub(crate) type Signals = Vec<(i32, UnixStream)>;

/// Takes over all signals but those that end a broken program or stop a terminal job. Call it early: what comes before
/// the daemon is ready is then heard afterwards instead of killing it.
///
/// # Errors
/// When the kernel refuses a handler.
pub(crate) fn take_signals() -> anyhow::Result<Signals> {
    // Handlers rather than SIG_IGN, which scripts would inherit.
    let meaningless = [libc::SIGQUIT, libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGIO, libc::SIGPIPE];
    let real_time = (34..=64).filter(|signal| !SIGNALS.contains(signal));
    for signal in meaningless.into_iter().chain([libc::SIGPWR, libc::SIGSTKFLT]).chain(real_time) {
        signal_hook::flag::register(signal, std::sync::Arc::default())
            .with_context(|| format!("handling signal {signal}"))?;
    }
    SIGNALS
        .into_iter()
        .map(|signal| {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal, write)
                .with_context(|| format!("handling signal {signal}"))?;
            Ok((signal, read))
        })
        .collect()
}

/// A configuration that runs, or may soon.
struct Generation {
    parts: BTreeMap<Role, OwnedFd>,
    /// `reload_check_config`
    check_log: Option<PathBuf>,
    /// `process_name`
    process_name: Option<String>,
    extras: BTreeMap<Role, Extras>,
    /// The key of the VRRP worker's fact that the checker hears of.
    followed: Option<String>,
    /// Connections of what a reload leaves out may end.
    drains: bool,
}

impl From<ReadResult> for Generation {
    fn from(result: ReadResult) -> Self {
        let ReadResult { parts, reading, .. } = result;
        Self {
            parts,
            check_log: reading.check_log,
            process_name: reading.process_name,
            extras: reading.extras,
            followed: reading.followed,
            drains: reading.drains,
        }
    }
}

struct Shell {
    settings: Settings,
    signals: Signals,
    processes: BTreeMap<Role, Process>,
    pid_files: BTreeMap<Role, PidFile>,
    /// Each generation that may still be needed; when a reload begins, only the running one.
    generations: BTreeMap<u64, Generation>,
    newest: u64,
    /// The snapshot: per worker the newest value of each key.
    facts: BTreeMap<Role, BTreeMap<String, Vec<u8>>>,
    /// The roles whose facts the clean-up under way was told.
    cleaned: BTreeSet<Role>,
    /// What a killed daemon left in IPVS in another network namespace than that of this one, until the clean-up of it.
    elsewhere: BTreeMap<String, Vec<u8>>,
    /// The keys of those that the clean-up removes what they tell of.
    cleaned_elsewhere: BTreeSet<String>,
    /// Those of them that a daemon after this one needs.
    state: StateFile,
    state_changed: bool,
    /// Workers that wait until what they announced is in the state file.
    to_note: Vec<Role>,
    /// Where commands ask each worker that answers.
    doors: BTreeMap<Role, Door>,
    /// How late the timers of each worker were when it last said so.
    lateness: BTreeMap<Role, Histogram>,
    /// The next VRRP worker.
    spare: Spare,
    /// Writes them to a file.
    statistics: Statistics,
    exit: Option<u8>,
}

impl Shell {
    fn run(&mut self, mut machine: Machine) -> anyhow::Result<u8> {
        loop {
            while let Some(action) = machine.poll_action() {
                self.carry_out(action, &mut machine)?;
            }
            self.save_state();
            if let Some(exit) = self.exit {
                self.spare.end();
                return Ok(exit);
            }
            for ready in self.wait(machine.poll_timeout().into_iter().chain(self.spare.due()).min())? {
                self.handle(ready, &mut machine)?;
            }
            machine.handle_timeout(Instant::now());
            self.tend_spare();
        }
    }

    fn wait(&self, due: Option<Instant>) -> anyhow::Result<Vec<Wake>> {
        let mut sources = Vec::new();
        let mut fds = Vec::new();
        for (signal, pipe) in &self.signals {
            sources.push(Wake::Signal(*signal));
            fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
        }
        for (role, process) in &self.processes {
            let events =
                if process.waiting.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT };
            sources.push(Wake::Channel(*role));
            fds.push(PollFd::new(process.channel.as_fd(), events));
            sources.push(Wake::Exit(*role));
            fds.push(PollFd::new(process.pid_fd.as_fd(), PollFlags::POLLIN));
            if let Some(watch) = &process.watch {
                sources.push(Wake::Call(*role));
                fds.push(PollFd::new(watch.as_fd(), PollFlags::POLLIN));
            }
        }
        if let Some(fd) = self.spare.descriptor() {
            sources.push(Wake::Spare);
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        let left = due.map_or(PollTimeout::NONE, |due| timeout(due.saturating_duration_since(Instant::now())));
        poll(&mut fds, left).or_else(interrupted)?;
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        Ok(fds.iter().zip(sources).filter(|(fd, _)| ready(fd)).map(|(_, source)| source).collect())
    }

    fn handle(&mut self, ready: Wake, machine: &mut Machine) -> anyhow::Result<()> {
        match ready {
            Wake::Signal(signal) => self.handle_signal(signal, machine),
            Wake::Channel(role) => self.handle_channel(role, machine),
            Wake::Exit(role) => self.handle_exit(role, machine)?,
            Wake::Call(role) => self.refuse_call(role),
            Wake::Spare => {
                self.spare.settle(Instant::now());
                self.reap_orphans();
            }
        }
        Ok(())
    }

    fn handle_signal(&mut self, signal: i32, machine: &mut Machine) {
        if let Some((_, pipe)) = self.signals.iter_mut().find(|(number, _)| *number == signal) {
            // Several of the same kind count once.
            while matches!(pipe.read(&mut [0; 64]), Ok(1..)) {}
        }
        let now = Instant::now();
        match signal {
            libc::SIGINT if self.settings.ignore_sigint => {}
            libc::SIGTERM | libc::SIGINT => machine.handle_stop(now),
            libc::SIGHUP => machine.handle_reload(now),
            libc::SIGCHLD => self.reap_orphans(),
            libc::SIGUSR2 | STATS_CLEAR => {
                self.statistics.expect();
                self.order(Role::Vrrp, Order::Statistics { clear: signal == STATS_CLEAR }, Vec::new());
            }
            other => warn!("Signal {other} asks for a dump, which this version does not write yet"),
        }
    }

    fn handle_channel(&mut self, role: Role, machine: &mut Machine) {
        self.hear(role, machine);
        // Before any order that follows: what a worker announced may be on the host from then on.
        self.save_state();
        for role in std::mem::take(&mut self.to_note) {
            self.order(role, Order::Noted, Vec::new());
        }
    }

    fn hear(&mut self, role: Role, machine: &mut Machine) {
        loop {
            let Some(process) = self.processes.get_mut(&role) else { return };
            process.flush();
            match process.channel.receive::<Report>() {
                Ok(Some((report, fds))) => self.handle_report(role, report, fds, machine),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The exit itself is seen on the pid descriptor; a child that talks nonsense is replaced.
                Ok(None) => return,
                Err(error) if ipc::is_lost(&error) => {
                    error!("what the {} process says is lost: {error}", machine::process_name(role));
                }
                Err(error) => {
                    error!("{} process sent something unreadable ({error})", machine::process_name(role));
                    process.kill();
                    return;
                }
            }
        }
    }

    /// A worker does what it never does of itself.
    fn refuse_call(&mut self, role: Role) {
        let Some(process) = self.processes.get_mut(&role) else { return };
        let Some(watch) = &mut process.watch else { return };
        match watch.answer() {
            Ok(None) => {}
            Ok(Some(words)) => error!("{} process: {words}", machine::process_name(role)),
            // It is about to be seen dead.
            Err(_) => process.watch = None,
        }
    }

    fn handle_report(&mut self, role: Role, report: Report, fds: Vec<OwnedFd>, machine: &mut Machine) {
        let now = Instant::now();
        match report {
            Report::Reading(reading) => {
                // It has done its work: were its end seen later, it could pass for that of the next reader.
                self.end_reader();
                let outcome = match ReadResult::new(reading, fds) {
                    Ok(result) => self.keep_parts(result),
                    Err(error) => ReadOutcome::Refused { exit: 1, why: error.to_string() },
                };
                machine.handle_reading(now, outcome);
            }
            Report::Prepared { generation, beat_limit } => machine.handle_prepared(now, role, generation, beat_limit),
            Report::Rejected { generation, exit, why } => machine.handle_rejected(now, role, generation, exit, &why),
            Report::Committed { generation } => {
                machine.handle_committed(now, role, generation);
                if role == Role::Vrrp && self.settings.respawn {
                    self.spare.want(now);
                }
            }
            Report::Beat => machine.handle_beat(now, role),
            Report::Facts(facts) => {
                // A clean-up speaks for the worker that is gone.
                let role = if role == Role::Cleanup { Role::Vrrp } else { role };
                facts.into_iter().for_each(|fact| self.learn(role, fact));
            }
            Report::Note => self.to_note.push(role),
            Report::Lateness(histogram) => {
                self.lateness.insert(role, histogram);
            }
            // The exit follows and is what counts; it has said itself how late it was.
            Report::Stopped => drop(self.lateness.remove(&role)),
            Report::Statistics => {
                if let Some(text) = fds.into_iter().next().filter(|_| role == Role::Vrrp) {
                    self.statistics.write(text);
                }
            }
            Report::Calls => {
                if let Some(process) = self.processes.get_mut(&role) {
                    process.watch = fds.into_iter().next().map(Watch::new);
                }
            }
        }
    }

    /// Logs what a reload found, and keeps the parts of an accepted configuration for the machine to hand out.
    fn keep_parts(&mut self, result: ReadResult) -> ReadOutcome {
        result.report();
        if let Some(path) = self.check_log().or(result.reading.check_log.as_deref()) {
            if let Err(error) = check_log::write(path, &result.refusals()) {
                warn!("What reload_check_config found cannot be written to {}: {error}", path.display());
            }
            if result.is_refused() {
                error!("New config failed validation, see {} for details", path.display());
            }
        }
        if result.is_emptied_by_mistakes() {
            let why = "the file has mistakes and nothing in it is left to run".to_owned();
            return ReadOutcome::Refused { exit: 2, why };
        }
        let generation = self.newest + 1;
        let outcome = result.outcome(generation);
        if matches!(outcome, ReadOutcome::Usable { .. }) {
            self.newest = generation;
            self.generations.insert(generation, result.into());
        }
        outcome
    }

    /// The file that `reload_check_config` of the running configuration names.
    fn check_log(&self) -> Option<&Path> {
        self.generations.values().next().and_then(|running| running.check_log.as_deref())
    }

    /// Keeps what the next worker has to know.
    fn learn(&mut self, role: Role, Fact { key, value }: Fact) {
        self.pass_on(role, &key, &value);
        let facts = self.facts.entry(role).or_default();
        self.state_changed |= outlives_daemon(role, &key);
        if value.is_empty() {
            facts.remove(&key);
        } else {
            facts.insert(key, value);
        }
    }

    /// What the VRRP worker says of a router that a sync daemon follows, or is about to, is for the checker too.
    fn pass_on(&mut self, role: Role, key: &str, value: &[u8]) {
        let is_followed = |generation: &Generation| generation.followed.as_deref() == Some(key);
        if role == Role::Vrrp && self.generations.values().any(is_followed) {
            let fact = Fact { key: key.to_owned(), value: value.to_vec() };
            self.order(Role::Checker, Order::Hear(fact), Vec::new());
        }
    }

    /// Before the checker follows a router it hears what is known of it.
    fn tell_followed(&mut self, generation: u64) {
        let followed = self.generations.get(&generation).and_then(|generation| generation.followed.clone());
        let Some(key) = followed else { return };
        let value = self.facts.get(&Role::Vrrp).and_then(|facts| facts.get(&key)).cloned();
        if let Some(value) = value {
            self.order(Role::Checker, Order::Hear(Fact { key, value }), Vec::new());
        }
    }

    /// Mirrors what is on the host: once for all that changed since the last time.
    fn save_state(&mut self) {
        if !std::mem::take(&mut self.state_changed) {
            return;
        }
        let facts = self.facts.iter().flat_map(|(role, facts)| facts.iter().map(|fact| (*role, fact)));
        let facts = facts.filter(|(role, (key, _))| outlives_daemon(*role, key)).map(|(_, fact)| fact);
        let facts = facts.chain(&self.elsewhere);
        let facts: Vec<_> = facts.map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect();
        if let Err(error) = self.state.write(&facts) {
            error!(
                "{}: {error}: were all processes killed, the next daemon would not know what to remove",
                self.state.path().display()
            );
        }
    }

    /// What neither the worker nor a clean-up could remove.
    fn log_remains(&self) {
        let Common { dont_release_vrrp, dont_release_ipvs, .. } = self.settings.common;
        let mut left = if dont_release_vrrp { Vec::new() } else { facts::remains(&self.told(Role::Vrrp)) };
        if !dont_release_ipvs {
            left.extend(leftovers::remains(&self.told(Role::Checker)));
            left.extend(leftovers::remains(&told(&self.elsewhere)));
        }
        if !left.is_empty() {
            error!("Left on this host: {}; 'keepalived-rs cleanup' removes it", left.join(", "));
        }
    }

    /// What a worker of `role` said.
    fn told(&self, role: Role) -> Vec<Fact> {
        self.facts.get(&role).map(told).unwrap_or_default()
    }

    /// Nobody goes on with what a worker was doing; what `stays` is still true.
    fn forget_worker(&mut self, role: Role, stays: impl Fn(&str) -> bool) {
        self.facts.entry(role).or_default().retain(|key, _| stays(key));
        self.state_changed = true;
    }

    fn end_reader(&mut self) {
        if let Some(mut reader) = self.processes.remove(&Role::Reader) {
            reader.kill();
            // A killed process ends at once.
            let _ = reader.child.wait();
        }
    }

    /// Waits for what scripts left behind: this process is their parent once their own is gone.
    fn reap_orphans(&self) {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        if self.spare.is_starting() {
            // Its number is not known yet; once it is they are looked at again.
            return;
        }
        let children = || self.processes.values().chain(self.spare.process());
        let ours = |pid| children().any(|process| i32::try_from(process.child.id()) == Ok(pid));
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Some(pid) = waitid(Id::All, peek).ok().and_then(|status| status.pid()) {
            if ours(pid.as_raw()) {
                // Its own descriptor tells of it; the others are looked at again then.
                return;
            }
            // It is there: the call before has seen it.
            let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        }
    }

    fn handle_exit(&mut self, role: Role, machine: &mut Machine) -> anyhow::Result<()> {
        // What it said before it ended still counts.
        self.handle_channel(role, machine);
        let Some(process) = self.processes.get_mut(&role) else { return Ok(()) };
        let Some(status) = process.child.try_wait()? else { return Ok(()) };
        self.processes.remove(&role);
        if let Some(lateness) = self.lateness.remove(&role) {
            info!("{} process: {lateness}", machine::process_name(role));
        }
        let now = Instant::now();
        match role {
            Role::Reader => {
                let why = format!("the process that reads the configuration ended: {status}");
                machine.handle_reading(now, ReadOutcome::Refused { exit: 1, why });
            }
            Role::Cleanup => {
                let place = std::mem::take(&mut self.cleaned_elsewhere);
                if cleanup_status::is_over(Role::Checker, status.code()) {
                    self.elsewhere.retain(|key, _| !place.contains(key));
                    self.state_changed |= !place.is_empty();
                }
                for role in std::mem::take(&mut self.cleaned) {
                    if cleanup_status::is_over(role, status.code()) {
                        self.forget_worker(role, |key| role == Role::Vrrp && facts::outlives_cleanup(key));
                    }
                }
                machine.handle_exit(now, role, ended(status));
            }
            worker => machine.handle_exit(now, worker, ended(status)),
        }
        self.reap_orphans();
        Ok(())
    }

    fn carry_out(&mut self, action: Action, machine: &mut Machine) -> anyhow::Result<()> {
        match action {
            Action::Read => {
                if let Err(error) = self.start_reader() {
                    let why = format!("{error:#}");
                    machine.handle_reading(Instant::now(), ReadOutcome::Refused { exit: 1, why });
                }
            }
            Action::KillReader => self.end_reader(),
            Action::CleanUp => {
                if let Err(error) = self.start_cleanup(machine) {
                    error!("addresses and services may be left: {error:#}");
                    machine.handle_exit(Instant::now(), Role::Cleanup, Ended::Status(crate::EXIT_INTERNAL));
                }
            }
            Action::Spawn(role) => match self.start_worker(role) {
                Ok(pid) => machine.handle_spawned(role, pid),
                Err(error) => {
                    error!("{error:#}");
                    machine.handle_exit(Instant::now(), role, Ended::Status(crate::EXIT_INTERNAL));
                }
            },
            Action::Connect(a, b) => {
                if let Err(error) = self.connect(a, b) {
                    error!("{error:#}");
                }
            }
            Action::Prepare(role, generation) => self.hand_over(role, generation, false),
            Action::Restore(role, generation) => self.hand_over(role, generation, true),
            Action::Commit(role, generation) => {
                if let Some(running) = self.generations.get(&generation) {
                    scheduling::set_name(running.process_name.as_deref());
                }
                if role == Role::Checker {
                    self.tell_followed(generation);
                }
                self.order(role, Order::Commit { generation }, Vec::new());
            }
            Action::Abandon(role, generation) => self.order(role, Order::Abandon { generation }, Vec::new()),
            Action::Forget(generation) => {
                self.generations.remove(&generation);
            }
            Action::Stop(role) => self.order(role, Order::Stop, Vec::new()),
            Action::Kill(role) => self.kill(role),
            Action::Retire(role) => {
                self.pid_files.remove(&role);
                self.doors.remove(&role);
                if role == Role::Vrrp {
                    self.spare.end();
                }
                self.forget_worker(role, |key| outlives_daemon(role, key));
            }
            Action::Log(Severity::Error, text) => error!("{text}"),
            Action::Log(Severity::Warning, text) => warn!("{text}"),
            Action::Log(Severity::Info, text) => info!("{text}"),
            Action::Notify(notify) => crate::systemd::notify(&match notify {
                Notify::Ready(status) => crate::systemd::State::Ready { status },
                Notify::Reloading => crate::systemd::State::Reloading,
                Notify::Stopping => crate::systemd::State::Stopping,
            }),
            Action::Exit(status) => {
                self.log_remains();
                self.exit = Some(status);
            }
        }
        Ok(())
    }

    /// Starts a worker and tells it what its predecessor knew.
    fn start_worker(&mut self, role: Role) -> anyhow::Result<u32> {
        let extras = self.extras(role);
        let spare = if role == Role::Vrrp { self.spare.take(extras) } else { None };
        let mut process = match spare {
            Some(spare) => spare,
            None => Process::start(role, &self.settings, extras)?,
        };
        self.tell_facts(role, &mut process)?;
        if control::ANSWERING.contains(&role) {
            self.show_door(role, &mut process);
        }
        let pid = process.child.id();
        self.processes.insert(role, process);
        self.write_pid(role, pid);
        Ok(pid)
    }

    /// Starts a spare when it is time to, for the configuration that runs: one that follows may still be refused.
    fn tend_spare(&mut self) {
        let running = self.generations.values().next();
        let extras = running.and_then(|running| running.extras.get(&Role::Vrrp)).copied().unwrap_or_default();
        self.spare.tend(Instant::now(), extras, &self.settings);
    }

    /// Gives a worker the socket where commands ask it; a daemon goes on without.
    fn show_door(&mut self, role: Role, process: &mut Process) {
        let path = control::path_of(&self.settings.pid_file, role);
        let opened = match self.doors.remove(&role) {
            Some(door) => Ok(door),
            None => Door::open(path.clone()),
        };
        match opened.and_then(|door| Ok((door.socket()?, door))) {
            Ok((socket, door)) => {
                process.send(Order::Listen, vec![socket]);
                self.doors.insert(role, door);
            }
            Err(error) => {
                let command = if role == Role::Vrrp { "announce" } else { "real-server drain" };
                warn!("{}: {error}: commands such as {command} cannot reach this daemon", path.display());
            }
        }
    }

    /// What the running configuration, or one that may follow soon, asks of a worker.
    fn extras(&self, role: Role) -> Extras {
        let asked = self.generations.values().filter_map(|generation| generation.extras.get(&role));
        asked.copied().fold(Extras::default(), Extras::or)
    }

    fn tell_facts(&self, of: Role, process: &mut Process) -> anyhow::Result<()> {
        let facts = self.told(of);
        if !facts.is_empty() {
            process.send(Order::Resume, vec![ipc::seal(&facts)?]);
        }
        Ok(())
    }

    fn start_reader(&mut self) -> anyhow::Result<()> {
        let mut reader = Process::start(Role::Reader, &self.settings, Extras::default())?;
        let source = Source {
            check_config: self.check_log().is_some(),
            keep_checker: self.may_depart(),
            ..self.settings.source.clone()
        };
        let running = self.generations.values().next().and_then(|running| running.parts.get(&Role::Vrrp));
        let running = running.map(OwnedFd::try_clone).transpose()?;
        reader.send(Order::Read(source), running.into_iter().collect());
        self.processes.insert(Role::Reader, reader);
        Ok(())
    }

    /// Whether connections of virtual servers that a reload leaves out may be waited for, even if it leaves out all.
    fn may_depart(&self) -> bool {
        let running = self.generations.values().next().filter(|running| running.parts.contains_key(&Role::Checker));
        let facts = self.facts.get(&Role::Checker).into_iter().flatten();
        running.is_some_and(|running| running.drains) || facts.map(|(key, _)| key).any(|key| checker::is_departure(key))
    }

    /// With every part that may have left addresses: those of the running and of a coming generation.
    fn start_cleanup(&mut self, machine: &Machine) -> anyhow::Result<()> {
        self.cleaned = BTreeSet::from([Role::Vrrp, Role::Checker]);
        let keep_ipvs = self.settings.common.dont_release_ipvs;
        self.cleaned.retain(|role| machine.is_gone(*role) && !(*role == Role::Checker && keep_ipvs));
        let parts = self.generations.values().filter_map(|generation| generation.parts.get(&Role::Vrrp));
        let parts = parts.filter(|_| self.cleaned.contains(&Role::Vrrp));
        let parts: Vec<OwnedFd> = parts.map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        // A clean-up is in one namespace: where the checker's own leavings go, those of another one wait for the next start.
        let mut places = leftovers::elsewhere(&told(&self.elsewhere)).into_iter();
        let is_free = !self.cleaned.contains(&Role::Checker) || self.told(Role::Checker).is_empty();
        let place = places.next().filter(|_| !keep_ipvs && is_free).unwrap_or_default();
        let mut facts = place.facts;
        facts.extend(self.cleaned.iter().flat_map(|role| self.told(*role)));
        let mut settings = self.settings.clone();
        settings.common.ipvs_namespace = leftovers::namespace(&facts);
        let mut process = Process::start(Role::Cleanup, &settings, Extras::default())?;
        if !facts.is_empty() {
            process.send(Order::Resume, vec![ipc::seal(&facts)?]);
        }
        process.send(Order::Prepare { generation: 0, again: true }, parts);
        self.processes.insert(Role::Cleanup, process);
        self.cleaned_elsewhere = place.keys;
        for role in self.cleaned.clone() {
            self.forget_worker(role, |key| outlives_daemon(role, key));
        }
        Ok(())
    }

    /// Gives a worker its part of a generation; `again` if that ran before.
    fn hand_over(&mut self, role: Role, generation: u64, again: bool) {
        let part = self.generations.get(&generation).and_then(|generation| generation.parts.get(&role));
        match part.map(OwnedFd::try_clone).transpose() {
            Ok(part) => self.order(role, Order::Prepare { generation, again }, part.into_iter().collect()),
            // Without an answer it is replaced.
            Err(error) => error!("handing over a configuration: {error}"),
        }
    }

    fn connect(&mut self, a: Role, b: Role) -> anyhow::Result<()> {
        let (left, right) = Channel::pair()?;
        self.order(a, Order::Connect { peer: b }, vec![left.into()]);
        self.order(b, Order::Connect { peer: a }, vec![right.into()]);
        Ok(())
    }

    fn order(&mut self, role: Role, order: Order, fds: Vec<OwnedFd>) {
        if let Some(process) = self.processes.get_mut(&role) {
            process.send(order, fds);
        }
    }

    fn kill(&mut self, role: Role) {
        if let Some(process) = self.processes.get_mut(&role) {
            process.kill();
        }
    }

    fn write_pid(&mut self, role: Role, pid: u32) {
        let Some(path) = self.settings.pid_files.get(&role) else { return };
        if let Entry::Vacant(vacant) = self.pid_files.entry(role) {
            match PidFile::take(path) {
                Ok(file) => {
                    vacant.insert(file);
                }
                Err(error) => warn!("{} process runs without a pid file: {error}", machine::process_name(role)),
            }
        }
        if let Some(Err(error)) = self.pid_files.get_mut(&role).map(|file| file.write(pid)) {
            warn!("{error}");
        }
    }
}

impl Process {
    /// Starts a child from the supervisor's own image, so that an upgrade on disk mixes nothing, and says hello.
    fn start(role: Role, settings: &Settings, extras: Extras) -> anyhow::Result<Self> {
        let (ours, theirs) = Channel::pair().context("making a socket pair")?;
        let name = std::env::args_os().next().unwrap_or_else(|| "keepalived".into());
        let mut command = Command::new("/proc/self/exe");
        command.arg0(name).arg(crate::CHILD_ARGUMENT).arg(role.word()).env_remove("NOTIFY_SOCKET");
        if role == Role::Vrrp && std::env::var_os("TZ").is_none() {
            // It may open no file later: its log keeps the time zone of the start.
            command.env("TZ", ":/etc/localtime");
        }
        crash::before_start(role, &mut command);
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .with_context(|| format!("starting the {} process from /proc/self/exe", machine::process_name(role)))?;
        let pid = rustix::process::Pid::from_child(&child);
        let pid_fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .context("opening a descriptor for a child")?;
        let mut process = Self { channel: ours, child, pid_fd, waiting: Vec::new(), watch: None };
        process.send(Order::Hello(settings.common.clone(), extras), Vec::new());
        Ok(process)
    }

    /// Sends, or keeps for when there is room. A child whose socket is gone is about to be seen dead.
    fn send(&mut self, order: Order, fds: Vec<OwnedFd>) {
        self.waiting.push((order, fds));
        self.flush();
    }

    fn flush(&mut self) {
        while let Some((order, fds)) = self.waiting.first() {
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            match self.channel.send(order, &borrowed) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Gone: its exit is about to be seen.
                Ok(()) | Err(_) => {
                    self.waiting.remove(0);
                }
            }
        }
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Status(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}

/// Rounded up, so that what is due is due when the loop wakes.
fn timeout(left: Duration) -> PollTimeout {
    let millis = left.as_millis() + u128::from(!left.subsec_nanos().is_multiple_of(1_000_000));
    PollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
}

/// A signal is no error: its pipe says which one.
fn interrupted(error: nix::errno::Errno) -> nix::Result<i32> {
    if error == nix::errno::Errno::EINTR { Ok(0) } else { Err(error) }
}
