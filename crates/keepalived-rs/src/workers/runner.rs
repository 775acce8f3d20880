//! The runner worker: runs scripts and watches files and processes for the others, who thereby neither fork nor hold root's rights.
//!
//! It takes no input from the network. Scripts get a process group of their own, `/dev/null` for their standard
//! descriptors and their user without supplementary groups. Those that still run when the runner stops are killed with
//! their groups. When the runner itself is killed they go on: the parent-death signal can be set only between fork and
//! exec, which would need code that the compiler cannot check. Its successor ends those whose result nobody waits for any
//! more: tracked scripts and programs of checks.

mod checks;
mod files;
mod host;
mod monitor;
mod orphans;
mod process_event;
mod processes;
mod queue;
mod schedule;
mod scripts;
mod security;
mod sender;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use conf_parser::config::Script;
use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio::task::{JoinError, JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use self::checks::{Checks, Program};
use self::files::{Files, Watch};
use self::host::ThisHost;
use self::monitor::{Monitor, Watched};
use self::processes::Change;
use self::queue::Queues;
use self::schedule::Verdict;
use self::scripts::Scripts;
use self::security::{Command, Commands, Note};
use self::sender::{Sender, Ticket};
use super::port::Port;
use super::signals;
use crate::config::runner::{Object, Occasion, RunnerPart, Timing, occasions};
use crate::ipc::{
    self, Channel, CheckRun, Common, Fact, Notification, NotifyAck, Order, Outbox, Report, Role, RunnerSays, ToRunner,
    TrackerFact, TrackerName, TrackerState,
};

/// How often the supervisor hears from this worker.
const BEAT: Duration = Duration::from_secs(1);

/// How long it may hear nothing.
const BEAT_LIMIT: Duration = Duration::from_secs(30);

/// Threads for what may take as long as a disk or a directory of accounts does.
const BLOCKING_THREADS: usize = 64;

/// How long a configuration waits for what its files hold.
const READING: Duration = Duration::from_secs(1);

/// How long a stop waits for scripts after the last one was started.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// What no script may inherit: the way words are split, libraries put in between, the right to speak to systemd.
const DROPPED_ENVIRONMENT: [&str; 4] = ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH", "NOTIFY_SOCKET"];

/// What begins the key of a tracked script's verdict.
const SCRIPT_FACT: &str = "script ";

/// Who sends notifications.
const SENDERS: [Role; 2] = [Role::Vrrp, Role::Checker];

/// Runs until the supervisor says stop or is gone; returns the exit status.
pub(crate) fn run(channel: Channel, _common: &Common) -> anyhow::Result<u8> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let status = runtime.block_on(async {
        signals::leave_to_supervisor()?;
        tokio::task::spawn_blocking(orphans::end);
        serve(channel, checked).await
    });
    // What still blocks ends with the process.
    runtime.shutdown_background();
    status
}

/// Everything but the process's signals.
async fn serve(channel: Channel, check: fn(RunnerPart) -> Table) -> anyhow::Result<u8> {
    signals::unblock()?;
    let mut runner = Runner::new(Port::new(channel)?, check);
    runner.work().await?;
    runner.farewell().await;
    Ok(0)
}

/// What the configuration in force says.
#[derive(Debug, Default)]
struct Table {
    objects: BTreeSet<Object>,
    commands: Commands,
    /// The programs of checks, with their places; those without a command cannot run.
    checks: BTreeMap<Script, String>,
    /// The tracked scripts; those without a command cannot run.
    scripts: BTreeMap<String, Timing>,
    /// The tracked files, until they are those of the running configuration.
    watch: Option<Watch>,
    /// The tracked processes, likewise.
    processes: Option<Watched>,
}

/// An event whose scripts have not been started.
#[derive(Debug)]
struct Waiting {
    from: Role,
    ticket: Ticket,
    scripts: Vec<(Command, Vec<String>)>,
}

/// An event whose scripts were started.
#[derive(Debug)]
struct Started {
    object: Object,
    from: Role,
    ticket: Ticket,
    /// Each with its command line.
    scripts: Vec<(Child, Pid, String)>,
}

/// A notification's sender and the pair that leads to it.
#[derive(Debug, Default)]
struct Peer {
    port: Option<Port>,
    sender: Sender,
    /// The trackers whose newest state it was not told.
    untold: BTreeSet<TrackerName>,
    /// The socket took no more.
    full: bool,
}

struct Runner {
    supervisor: Port,
    outbox: Outbox,
    peers: BTreeMap<Role, Peer>,
    /// Says what of a part may run. May block.
    check: fn(RunnerPart) -> Table,
    /// The configuration that is being checked.
    checking: Option<(u64, JoinHandle<Table>)>,
    prepared: Option<(u64, Table)>,
    /// The configuration that the workers may take once they can know what its files hold, or then.
    committing: Option<(u64, Instant)>,
    /// A configuration is in force; until then notifications wait.
    configured: bool,
    table: Table,
    /// The configuration before: what a reload removed is notified of by its scripts.
    former: Table,
    queues: Queues<Object, Waiting>,
    scripts: Scripts,
    checks: Checks,
    files: Files,
    processes: Monitor,
    trackers: BTreeMap<TrackerName, TrackerState>,
    /// What is being prepared is the first configuration of this daemon, which alone writes start values.
    first: bool,
    starting: JoinSet<Started>,
    running: JoinSet<(Object, Pid, io::Result<ExitStatus>)>,
    groups: Groups,
    /// When the stop was ordered, or the last script started since.
    stopping: Option<Instant>,
    /// The stop was ordered and waits for the first configuration to be checked.
    stop_is_due: bool,
    beat: Interval,
}

/// What the runner waits for.
enum Wake {
    Order(io::Result<Option<(Order, Vec<OwnedFd>)>>),
    Asked(Role, io::Result<Option<(ToRunner, Vec<OwnedFd>)>>),
    Room(Role),
    Checked(u64, Result<Table, JoinError>),
    Started(Result<Started, JoinError>),
    Ended(Object, Pid, io::Result<ExitStatus>),
    Script(scripts::Event),
    Check(checks::Event),
    File(files::Event),
    Process(Change),
    Beat,
    Again,
}

impl Runner {
    fn new(supervisor: Port, check: fn(RunnerPart) -> Table) -> Self {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            supervisor,
            outbox: Outbox::default(),
            peers: SENDERS.map(|role| (role, Peer::default())).into(),
            check,
            checking: None,
            prepared: None,
            committing: None,
            configured: false,
            table: Table::default(),
            former: Table::default(),
            queues: Queues::new(),
            scripts: Scripts::default(),
            checks: Checks::default(),
            files: Files::default(),
            processes: Monitor::default(),
            trackers: BTreeMap::new(),
            first: false,
            starting: JoinSet::new(),
            running: JoinSet::new(),
            groups: Groups::default(),
            stopping: None,
            stop_is_due: false,
            beat,
        }
    }

    /// Until the stop is done.
    async fn work(&mut self) -> anyhow::Result<()> {
        loop {
            let now = Instant::now();
            self.start_due(now);
            let verdicts = self.scripts.fire(now);
            self.judge(verdicts);
            self.checks.fire(now);
            self.answer();
            self.report_commit(now);
            // A supervisor that is gone shows as the end of its orders.
            let flushed = self.supervisor.flush(&mut self.outbox).unwrap_or(true);
            if self.is_done(now) {
                return Ok(());
            }
            match self.wake(flushed).await {
                Wake::Order(Ok(Some((order, fds)))) => self.obey(order, fds)?,
                Wake::Order(Ok(None)) => self.stop(),
                Wake::Order(Err(error)) => return Err(error.into()),
                Wake::Asked(role, Ok(Some((asked, _)))) => self.hear(role, asked),
                Wake::Asked(role, Ok(None)) => self.disconnect(role),
                Wake::Asked(role, Err(error)) => {
                    error!("runner: cannot read what the {} process says: {error}", role.word());
                    self.disconnect(role);
                }
                Wake::Room(role) => self.peer(role).full = false,
                Wake::Checked(generation, table) => self.checked(generation, table?),
                Wake::Started(started) => self.started(started?),
                Wake::Ended(object, pid, status) => self.ended(&object, pid, &status),
                Wake::Script(event) => {
                    let verdicts = self.scripts.take(event);
                    self.judge(verdicts);
                }
                Wake::Check(event) => self.checks.take(event),
                Wake::File(event) => {
                    if let Some((name, number)) = self.files.take(event) {
                        let state = TrackerState::Says(vrrp_proto::Verdict::Value(number));
                        self.tell(TrackerName::File(name), state);
                    }
                }
                Wake::Process(Change { name, up, .. }) => {
                    let verdict = if up { Verdict::Up } else { Verdict::Down };
                    self.tell(TrackerName::Process(name), says(verdict));
                }
                Wake::Beat if flushed => self.outbox.push(Report::Beat),
                Wake::Beat | Wake::Again => {}
            }
        }
    }

    async fn wake(&mut self, flushed: bool) -> Wake {
        let due = self.next_deadline();
        let heard = |role| self.peers.get(&role).filter(|_| self.configured);
        let (vrrp, checker) = (heard(Role::Vrrp), heard(Role::Checker));
        tokio::select! {
            order = self.supervisor.receive(), if self.stopping.is_none() && !self.stop_is_due => Wake::Order(order),
            _ = self.supervisor.writable(), if !flushed => Wake::Again,
            wake = listen(Role::Vrrp, vrrp) => wake,
            wake = listen(Role::Checker, checker) => wake,
            wake = next_checked(self.checking.as_mut()) => wake,
            Some(started) = self.starting.join_next() => Wake::Started(started),
            Some(ended) = self.running.join_next() => match ended {
                Ok((object, pid, status)) => Wake::Ended(object, pid, status),
                Err(_) => Wake::Again,
            },
            event = self.scripts.next() => Wake::Script(event),
            event = self.checks.next() => Wake::Check(event),
            event = self.files.next() => Wake::File(event),
            change = self.processes.next() => Wake::Process(change),
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => Wake::Again,
            _ = self.beat.tick() => Wake::Beat,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let stop = self.stopping.filter(|_| !self.queues.is_waiting()).map(|since| since + STOP_WAIT);
        let due = self.queues.poll_timeout().into_iter().chain(self.scripts.poll_timeout());
        let committing = self.committing.map(|(_, due)| due);
        due.chain(self.checks.poll_timeout()).chain(committing).chain(stop).min()
    }

    fn is_done(&self, now: Instant) -> bool {
        let Some(since) = self.stopping else { return false };
        let is_idle = self.queues.is_idle() && !self.scripts.is_starting() && !self.checks.is_starting();
        is_idle || (!self.queues.is_waiting() && now >= since + STOP_WAIT)
    }

    fn peer(&mut self, role: Role) -> &mut Peer {
        self.peers.entry(role).or_default()
    }

    fn obey(&mut self, order: Order, fds: Vec<OwnedFd>) -> anyhow::Result<()> {
        match order {
            Order::Resume => self.resume(&fds)?,
            Order::Prepare { generation, again } => {
                self.first = generation == 1 && !again;
                self.prepare(generation, fds);
            }
            Order::Commit { generation } => {
                if let Some((_, table)) = self.prepared.take_if(|(prepared, _)| *prepared == generation) {
                    self.former = std::mem::replace(&mut self.table, table);
                    self.configured = true;
                    self.configure_trackers()?;
                    self.committing = Some((generation, Instant::now() + READING));
                }
            }
            Order::Abandon { generation } => {
                self.checking.take_if(|(checking, _)| *checking == generation);
                self.prepared.take_if(|(prepared, _)| *prepared == generation);
            }
            Order::Connect { peer } => {
                let fd = fds.into_iter().next().ok_or_else(|| anyhow::anyhow!("a connection without a socket"))?;
                let untold =
                    self.trackers.keys().filter(|tracker| self.is_followed_by(tracker, peer)).cloned().collect();
                self.drop_runs(peer);
                let peer = self.peer(peer);
                peer.port = Some(Port::new(fd.into())?);
                peer.sender.connected();
                peer.untold = untold;
                peer.full = false;
            }
            Order::Stop => self.stop(),
            Order::Hello(..)
            | Order::Read(_)
            | Order::Hear(_)
            | Order::Listen
            | Order::Noted
            | Order::Statistics { .. } => {}
        }
        Ok(())
    }

    /// Verdicts that another runner had come to.
    fn resume(&mut self, fds: &[OwnedFd]) -> anyhow::Result<()> {
        let facts = fds.first().ok_or_else(|| anyhow::anyhow!("no facts were attached"))?;
        for Fact { key, value } in ipc::unseal::<Vec<Fact>>(facts)? {
            if let (Some(script), Ok(up)) = (key.strip_prefix(SCRIPT_FACT), ipc::decode(&value)) {
                self.scripts.inherit(script.to_owned(), if up { Verdict::Up } else { Verdict::Down });
            }
        }
        Ok(())
    }

    /// Tracks what the configuration that now holds wants tracked.
    fn configure_trackers(&mut self) -> io::Result<()> {
        let Table { commands, scripts, watch, processes, .. } = &mut self.table;
        self.processes.configure(processes.take())?;
        let init = std::mem::take(&mut self.first);
        self.files.configure(watch.take(), init)?;
        let mut disabled = Vec::new();
        let mut wanted = BTreeMap::new();
        for (name, timing) in scripts {
            match commands.get(&Occasion::Track { script: name.clone() }) {
                Some(command) => {
                    wanted.insert(name.clone(), (*timing, command.clone()));
                }
                None => disabled.push(name.clone()),
            }
        }
        let names: Vec<_> = wanted.keys().cloned().collect();
        self.scripts.configure(Instant::now(), wanted);
        self.forget_trackers();
        for name in disabled {
            self.tell(TrackerName::Script(name), TrackerState::Disabled);
        }
        for name in names {
            let state = self.scripts.verdict(&name).map_or(TrackerState::Pending, says);
            self.tell(TrackerName::Script(name), state);
        }
        Ok(())
    }

    /// Forgets the trackers that the configuration does not know any more, and what files held: each is read, and told
    /// of, anew.
    fn forget_trackers(&mut self) {
        let (table, processes) = (&self.table, &self.processes);
        let gone = self.trackers.extract_if(.., |tracker, _| match tracker {
            TrackerName::Script(name) => !table.scripts.contains_key(name),
            TrackerName::File(_) => true,
            TrackerName::Process(name) => !processes.contains(name),
        });
        for (tracker, _) in gone.collect::<Vec<_>>() {
            if let TrackerName::Script(name) = &tracker {
                self.outbox.push(Report::Facts(vec![Fact { key: format!("{SCRIPT_FACT}{name}"), value: Vec::new() }]));
            }
            for peer in self.peers.values_mut() {
                peer.untold.remove(&tracker);
            }
        }
    }

    fn judge(&mut self, verdicts: Vec<(String, Verdict)>) {
        for (name, verdict) in verdicts {
            let value = ipc::encode(&(verdict == Verdict::Up));
            self.outbox.push(Report::Facts(vec![Fact { key: format!("{SCRIPT_FACT}{name}"), value }]));
            self.tell(TrackerName::Script(name), says(verdict));
        }
    }

    /// The workers that follow a tracker learn of it, unless they know.
    fn tell(&mut self, tracker: TrackerName, state: TrackerState) {
        if self.trackers.insert(tracker.clone(), state) == Some(state) {
            return;
        }
        for role in SENDERS {
            if self.is_followed_by(&tracker, role) {
                self.peer(role).untold.insert(tracker.clone());
            }
        }
    }

    fn is_followed_by(&self, tracker: &TrackerName, role: Role) -> bool {
        match tracker {
            TrackerName::File(name) => self.files.is_followed_by(name, role),
            TrackerName::Script(_) | TrackerName::Process(_) => role == Role::Vrrp,
        }
    }

    /// Says that a configuration is in force, once all that its files hold was said: the workers commit next, and look at
    /// that first.
    fn report_commit(&mut self, now: Instant) {
        let Self { files, trackers, .. } = self;
        let is_read = || files.names().all(|name| trackers.contains_key(&TrackerName::File(name.to_owned())));
        if let Some((generation, _)) = self.committing.take_if(|(_, due)| is_read() || now >= *due) {
            self.outbox.push(Report::Committed { generation });
        }
    }

    fn prepare(&mut self, generation: u64, fds: Vec<OwnedFd>) {
        let part = fds.first().ok_or_else(|| io::ErrorKind::InvalidData.into()).and_then(ipc::unseal::<RunnerPart>);
        match part {
            Ok(part) => {
                let check = self.check;
                self.checking = Some((generation, spawn_blocking(move || check(part))));
            }
            Err(error) => {
                let why = format!("the runner cannot read its part of the configuration: {error}");
                self.outbox.push(Report::Rejected { generation, exit: 70, why });
            }
        }
    }

    fn checked(&mut self, generation: u64, table: Table) {
        self.checking = None;
        self.prepared = Some((generation, table));
        if self.stop_is_due {
            return self.stop();
        }
        self.outbox.push(Report::Prepared { generation, beat_limit: Some(BEAT_LIMIT) });
    }

    fn take(&mut self, role: Role, notification: Notification) {
        let Some(ticket) = self.peer(role).sender.take(notification.number) else { return };
        let object = Object::of(&notification.event);
        let removed = !self.table.objects.contains(&object);
        let commands = if removed { &self.former.commands } else { &self.table.commands };
        let scripts = occasions(&notification.event)
            .into_iter()
            .filter_map(|(occasion, arguments)| Some((commands.get(&occasion)?.clone(), arguments)))
            .collect();
        self.queues.push(object, Instant::now(), Waiting { from: role, ticket, scripts });
    }

    fn hear(&mut self, role: Role, asked: ToRunner) {
        match asked {
            ToRunner::Notify(notification) => self.take(role, notification),
            ToRunner::Run(run) if role == Role::Checker => self.run_check(run),
            ToRunner::Drop(number) if role == Role::Checker => self.checks.drop_run(number),
            ToRunner::Run(_) | ToRunner::Drop(_) => {}
        }
    }

    /// A check may be one of the configuration before, until the checker has this one too.
    fn run_check(&mut self, run: CheckRun) {
        let known = [&self.table, &self.former].into_iter().find_map(|it| Some((it, it.checks.get(&run.script)?)));
        let program = known.and_then(|(table, place)| {
            let command = table.commands.get(&Occasion::Check { script: run.script.clone() })?.clone();
            Some(Program { command, place: place.clone() })
        });
        self.checks.ask(run, program);
    }

    fn disconnect(&mut self, role: Role) {
        self.peer(role).port = None;
        self.drop_runs(role);
    }

    /// Its successor asks anew.
    fn drop_runs(&mut self, role: Role) {
        if role == Role::Checker {
            self.checks.drop_all();
        }
    }

    /// Tells the peers what is new for them: of trackers, and how far their notifications have come.
    fn answer(&mut self) {
        for peer in self.peers.values_mut() {
            peer.tell_trackers(&self.trackers);
            if let (Some(port), Some(number), false) = (&peer.port, peer.sender.poll_acknowledge(), peer.full) {
                match port.try_send(&RunnerSays::Taken(NotifyAck { number })) {
                    Ok(true) => peer.sender.acknowledged(number),
                    Ok(false) => peer.full = true,
                    // A peer that is gone shows as the end of its notifications.
                    Err(_) => peer.sender.acknowledged(number),
                }
            }
        }
        self.answer_checks();
    }

    fn answer_checks(&mut self) {
        let Some(peer) = self.peers.get_mut(&Role::Checker) else { return };
        let Some(port) = peer.port.as_ref().filter(|_| !peer.full) else { return };
        while let Some(end) = self.checks.poll_end() {
            if let Ok(false) = port.try_send(&RunnerSays::Ended(end)) {
                return peer.full = true;
            }
            self.checks.answered();
        }
    }

    fn start_due(&mut self, now: Instant) {
        while let Some((object, Waiting { from, ticket, scripts })) = self.queues.pop_due(now) {
            self.starting.spawn_blocking(move || {
                let scripts = scripts.iter().filter_map(|(command, arguments)| start(command, arguments)).collect();
                Started { object, from, ticket, scripts }
            });
            if let Some(since) = &mut self.stopping {
                *since = now;
            }
        }
    }

    fn started(&mut self, Started { object, from, ticket, scripts }: Started) {
        self.queues.started(&object, scripts.len());
        for (mut child, pid, command) in scripts {
            self.groups.0.insert(pid, command);
            let object = object.clone();
            self.running.spawn(async move { (object, pid, child.wait().await) });
        }
        self.peer(from).sender.started(ticket);
    }

    fn ended(&mut self, object: &Object, pid: Pid, status: &io::Result<ExitStatus>) {
        let command = self.groups.0.remove(&pid).unwrap_or_default();
        self.queues.ended(object);
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => info!("Script {command} with pid {} ended with {status}", pid.as_raw_nonzero()),
            Err(error) => error!("Script {command} with pid {} is lost: {error}", pid.as_raw_nonzero()),
        }
    }

    /// What was sent before the order is still taken.
    fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        if !self.configured {
            // What waits is for the scripts of the configuration that this runner was about to go on with.
            self.stop_is_due = self.checking.is_some();
            if self.stop_is_due {
                return;
            }
            self.table = self.prepared.take().map(|(_, table)| table).unwrap_or_default();
            self.configured = true;
        }
        for role in SENDERS {
            while let Some(Ok(Some((asked, _)))) = self.peer(role).port.as_ref().map(Port::try_receive) {
                self.hear(role, asked);
            }
        }
        self.checks.drop_all();
        self.scripts.stop();
        self.stopping = Some(Instant::now());
    }

    /// Says that the stop is done, unless nobody listens.
    async fn farewell(&mut self) {
        self.groups.kill();
        self.outbox.push(Report::Stopped);
        let said = async {
            while let Ok(false) = self.supervisor.flush(&mut self.outbox) {
                if self.supervisor.writable().await.is_err() {
                    return;
                }
            }
        };
        // A supervisor that does not listen learns it from the exit.
        let _ = timeout(STOP_WAIT, said).await;
    }
}

impl Peer {
    /// Sends what is new of `trackers`, as far as there is room.
    fn tell_trackers(&mut self, trackers: &BTreeMap<TrackerName, TrackerState>) {
        let Some(port) = self.port.as_ref().filter(|_| !self.full) else { return };
        while let Some(tracker) = self.untold.pop_first() {
            let Some(state) = trackers.get(&tracker).copied() else { continue };
            let fact = TrackerFact { tracker, state };
            // One that is gone is told everything by its successor's connection.
            if let Ok(false) = port.try_send(&RunnerSays::Tracker(fact.clone())) {
                self.untold.insert(fact.tracker);
                self.full = true;
                return;
            }
        }
    }
}

fn says(verdict: Verdict) -> TrackerState {
    TrackerState::Says(match verdict {
        Verdict::Up => vrrp_proto::Verdict::Up,
        Verdict::Down => vrrp_proto::Verdict::Down,
    })
}

/// The next sign from a peer; never, without one.
async fn listen(role: Role, peer: Option<&Peer>) -> Wake {
    let Some(Peer { port: Some(port), full, .. }) = peer else { return std::future::pending().await };
    tokio::select! {
        asked = port.receive() => Wake::Asked(role, asked),
        _ = port.writable(), if *full => Wake::Room(role),
    }
}

fn checked(part: RunnerPart) -> Table {
    let (commands, notes) = security::check(&part, &ThisHost);
    for note in notes {
        match note {
            Note::Error(text) => error!("{text}"),
            Note::Warning(text) => warn!("{text}"),
        }
    }
    let watch = (!part.tracked_files.is_empty()).then(|| Watch::open(part.tracked_files));
    let watch = watch.and_then(|watch| watch.map_err(|error| error!("track_files cannot be watched - {error}")).ok());
    let processes = part.tracked_processes;
    let processes = (!processes.is_empty()).then(|| Watched::open(processes, part.process_monitor));
    Table { objects: part.objects, commands, checks: part.checks, scripts: part.tracked_scripts, watch, processes }
}

/// What the next of `jobs` to end says; never, without any.
async fn next_of<T: 'static>(jobs: &mut JoinSet<T>) -> T {
    loop {
        match jobs.join_next().await {
            Some(Ok(said)) => return said,
            // Nothing of ours panics or is cancelled.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }
}

/// The configuration that was checked; never, without one.
async fn next_checked(checking: Option<&mut (u64, JoinHandle<Table>)>) -> Wake {
    match checking {
        Some((generation, table)) => Wake::Checked(*generation, table.await),
        None => std::future::pending().await,
    }
}

/// Starts a script. May block.
fn start(command: &Command, arguments: &[String]) -> Option<(Child, Pid, String)> {
    let child = match process(command, arguments)?.spawn() {
        Ok(child) => child,
        Err(error) => {
            error!("Script {} cannot be started - {error}", shown(command));
            return None;
        }
    };
    let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))?;
    let command = shown(command);
    debug!("Started script {command} with pid {}", pid.as_raw_nonzero());
    Some((child, pid, command))
}

/// The process that a script becomes.
fn process(command: &Command, arguments: &[String]) -> Option<tokio::process::Command> {
    let (program, words) = command.words.split_first()?;
    let mut process = tokio::process::Command::new(program);
    process.args(words).args(arguments);
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // With these the supplementary groups go too.
    process.uid(command.identity.uid).gid(command.identity.gid).process_group(0);
    for name in DROPPED_ENVIRONMENT {
        process.env_remove(name);
    }
    Some(process)
}

fn shown(command: &Command) -> String {
    let words: Vec<_> = command.words.iter().map(|word| format!("'{}'", word.display())).collect();
    words.join(" ")
}

/// The process groups of the scripts that have not ended, with their command lines; killed when the runner ends, however it does.
#[derive(Debug, Default)]
struct Groups(HashMap<Pid, String>);

impl Groups {
    fn kill(&mut self) {
        for (pid, command) in std::mem::take(&mut self.0) {
            warn!("Script {command} with pid {} still runs at the stop - killing it", pid.as_raw_nonzero());
            // It may have ended just now.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests;
