//! Which process runs, with which configuration, and what happens when one dies: decisions only. Time and events come
//! in, [`Action`]s come out; the shell in `supervisor.rs` owns the processes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::ipc::Role;

/// A child that dies within this time of its start makes the next restart wait longer (`behaviour.md` §1.5).
const SETTLED: Duration = Duration::from_secs(60);

/// The longest wait before a restart.
const MAX_RESTART_DELAY: u64 = 60;

/// A reader that takes longer has failed.
const READING_LIMIT: Duration = Duration::from_secs(30);

/// A worker that leaves an order unanswered for longer is replaced.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A clean-up that takes longer is given up.
const CLEANUP_LIMIT: Duration = Duration::from_secs(5);

/// Who looks so late whether a worker has beaten was held up itself, often together with the worker: the beats are still
/// to come.
const HELD_UP: Duration = Duration::from_millis(250);

/// What scripts may still take at stop, beyond what the runner itself grants them.
const RUNNER_STOP_LIMIT: Duration = Duration::from_secs(3);

/// In this order workers are started: scripts must have somebody to run them.
const START_ORDER: [Role; 3] = [Role::Runner, Role::Checker, Role::Vrrp];

/// What the shell does next, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start the reader.
    Read,
    /// End the reader, whatever it is doing.
    KillReader,
    /// Start this worker; say hello; hand it the facts of its predecessor.
    Spawn(Role),
    /// Withdraw what workers left that [have no successor yet](Machine::is_gone).
    CleanUp,
    /// Give the two processes a socket pair.
    Connect(Role, Role),
    /// Hand over the part of this generation, which may be refused.
    Prepare(Role, u64),
    /// Hand over the part of a generation that others run already.
    Restore(Role, u64),
    /// Make it the running one.
    Commit(Role, u64),
    /// Forget it.
    Abandon(Role, u64),
    /// The generation is refused or replaced: its parts can go.
    Forget(u64),
    /// Ask for a clean end.
    Stop(Role),
    /// SIGKILL.
    Kill(Role),
    /// The pid file of a role that is no longer needed can go.
    Retire(Role),
    /// A line for the log.
    Log(Severity, String),
    /// What systemd is told.
    Notify(Notify),
    /// Leave with this status; every child is gone.
    Exit(u8),
}

/// How serious a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Something failed.
    Error,
    /// Worth a look.
    Warning,
    /// What happened.
    Info,
}

/// States that systemd knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notify {
    /// Started, or reloaded; with the status line.
    Ready(String),
    /// A reload begins.
    Reloading,
    /// A stop begins.
    Stopping,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this status.
    Status(u8),
    /// By this signal.
    Signal(i32),
}

/// What the reader found, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// These workers are needed.
    Usable {
        /// The number of this configuration, higher than any before.
        generation: u64,
        /// Those with something to do.
        needed: BTreeSet<Role>,
        /// How long a child may take to stop.
        child_wait: Duration,
    },
    /// It cannot run; the first sentence says why.
    Refused {
        /// Status for a start.
        exit: u8,
        /// For the log and the status line.
        why: String,
    },
}

/// The signs of life of a worker.
#[derive(Debug, Clone, Copy)]
struct Beat {
    /// How long it may give none.
    limit: Duration,
    /// When it last gave one, or was excused.
    last: Instant,
    /// It has been waited for longer once.
    excused: bool,
}

#[derive(Debug)]
struct Child {
    pid: u32,
    started: Instant,
    quick_deaths: u32,
    prepared: u64,
    committed: u64,
    beat: Option<Beat>,
    /// When an order that is on its way must be answered.
    answer_by: Option<Instant>,
    life: Life,
}

impl Child {
    /// When something must be done about it.
    fn due(&self) -> Option<Instant> {
        match self.life {
            Life::Waiting(due) | Life::Stopping(due) => Some(due),
            Life::Running => self.beat.map(|beat| beat.last + beat.limit).into_iter().chain(self.answer_by).min(),
            Life::Killed => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// Dead; starts again then.
    Waiting(Instant),
    /// Told to stop; killed then.
    Stopping(Instant),
    /// Killed for a missing beat or a refusal; its exit is awaited.
    Killed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first configuration is being prepared.
    Starting,
    Running,
    /// Waiting for the workers, then for the runner.
    Stopping {
        exit: u8,
    },
    Done,
}

/// The supervisor's decisions. Call one `handle_*`, drain [`poll_action`](Self::poll_action), sleep until
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub(crate) struct Machine {
    respawn: bool,
    phase: Phase,
    needed: BTreeSet<Role>,
    children: BTreeMap<Role, Child>,
    child_wait: Duration,
    /// The running generation; 0 before the first.
    running: u64,
    /// The generation being prepared or committed.
    target: Option<Target>,
    reading: Option<Instant>,
    /// An accepted reading that waits until every process has settled.
    accepted: Option<Target>,
    reload_queued: bool,
    /// Until when a clean-up may take.
    cleaning: Option<Instant>,
    /// Another one follows it.
    clean_again: bool,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Target {
    generation: u64,
    needed: BTreeSet<Role>,
    child_wait: Duration,
    committing: bool,
}

impl Machine {
    /// A supervisor that has read its first configuration. `respawn` is off with `-R`.
    pub(crate) fn start(now: Instant, respawn: bool, needed: BTreeSet<Role>, child_wait: Duration) -> Self {
        let mut machine = Self {
            respawn,
            phase: Phase::Starting,
            needed: BTreeSet::new(),
            children: BTreeMap::new(),
            child_wait,
            running: 0,
            target: None,
            reading: None,
            accepted: None,
            reload_queued: false,
            cleaning: None,
            clean_again: false,
            actions: VecDeque::new(),
        };
        machine.prepare(now, Target { generation: 1, needed, child_wait, committing: false });
        machine
    }

    /// The next thing to do, or `None` when drained.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let children = self.children.values().filter_map(Child::due);
        children.chain(self.reading.map(|since| since + READING_LIMIT)).chain(self.cleaning).min()
    }

    /// The process of `role` was started as `pid`.
    pub(crate) fn handle_spawned(&mut self, role: Role, pid: u32) {
        if let Some(child) = self.children.get_mut(&role) {
            child.pid = pid;
        }
        self.log(Severity::Info, format!("Starting {} child process, pid={pid}", child_name(role)));
    }

    /// SIGHUP.
    pub(crate) fn handle_reload(&mut self, now: Instant) {
        match self.phase {
            Phase::Starting => {
                self.log(Severity::Warning, "Reload ignored: the start-up is not complete yet".into());
            }
            Phase::Running if self.is_reloading() => self.reload_queued = true,
            Phase::Running => {
                self.log(Severity::Info, "Reloading ...".into());
                self.actions.push_back(Action::Notify(Notify::Reloading));
                self.actions.push_back(Action::Read);
                self.reading = Some(now);
            }
            Phase::Stopping { .. } | Phase::Done => {}
        }
    }

    /// What the reader of a reload found.
    pub(crate) fn handle_reading(&mut self, now: Instant, outcome: ReadOutcome) {
        if self.reading.take().is_none() || self.phase != Phase::Running {
            return;
        }
        match outcome {
            ReadOutcome::Usable { generation, needed, child_wait } => {
                self.accepted = Some(Target { generation, needed, child_wait, committing: false });
                self.prepare_accepted(now);
            }
            ReadOutcome::Refused { why, .. } => self.refuse_reload(now, &why),
        }
    }

    fn is_reloading(&self) -> bool {
        self.reading.is_some() || self.accepted.is_some() || self.target.is_some()
    }

    /// A worker can commit `generation`.
    pub(crate) fn handle_prepared(&mut self, now: Instant, role: Role, generation: u64, limit: Option<Duration>) {
        let Some(child) = self.children.get_mut(&role) else { return };
        child.prepared = generation;
        child.beat = limit.map(|limit| Beat { limit, last: now, excused: false });
        child.answer_by = None;
        if generation == self.running || self.is_committing(generation) {
            self.commit(now, role, generation);
        } else {
            self.commit_if_prepared(now);
        }
    }

    /// A worker refuses its part of `generation`.
    pub(crate) fn handle_rejected(&mut self, now: Instant, role: Role, generation: u64, exit: u8, why: &str) {
        if matches!(self.phase, Phase::Stopping { .. } | Phase::Done) {
            return;
        }
        let pending = self.target.as_ref().is_some_and(|target| target.generation == generation);
        if generation == self.running || self.is_committing(generation) {
            self.log(Severity::Error, format!("{} process cannot run its configuration: {why}", process_name(role)));
            self.kill(role);
        } else if pending && self.phase == Phase::Starting {
            self.log(Severity::Error, why.to_owned());
            self.begin_stop(now, exit);
        } else if pending {
            self.abandon();
            self.refuse_reload(now, why);
        }
    }

    fn is_committing(&self, generation: u64) -> bool {
        self.target.as_ref().is_some_and(|target| target.committing && target.generation == generation)
    }

    /// A worker runs `generation`.
    pub(crate) fn handle_committed(&mut self, now: Instant, role: Role, generation: u64) {
        if let Some(child) = self.children.get_mut(&role) {
            child.committed = generation;
            child.answer_by = None;
        }
        if role == Role::Runner && self.is_committing(generation) {
            self.commit_workers(now);
        }
        self.finish_if_committed(now);
        self.prepare_accepted(now);
    }

    /// A worker is alive.
    pub(crate) fn handle_beat(&mut self, now: Instant, role: Role) {
        if let Some(beat) = self.children.get_mut(&role).and_then(|child| child.beat.as_mut()) {
            (beat.last, beat.excused) = (now, false);
        }
    }

    /// A child is gone.
    pub(crate) fn handle_exit(&mut self, now: Instant, role: Role, ended: Ended) {
        if role == Role::Cleanup {
            self.cleaned(now);
            self.continue_stop(now);
            self.prepare_accepted(now);
            return;
        }
        let Some(child) = self.children.get_mut(&role) else { return };
        child.beat = None;
        child.answer_by = None;
        let pid = child.pid;
        let stopping = matches!(self.phase, Phase::Stopping { .. });
        let awaited = self.target.as_ref().is_some_and(|target| target.needed.contains(&role));
        if stopping || !(awaited || self.needed.contains(&role)) {
            self.remove(now, role, ended);
            self.continue_stop(now);
            self.stop_unneeded(now);
            self.prepare_accepted(now);
            return;
        }
        if let Ended::Status(status @ (1 | 2 | 4)) = ended {
            let word = match status {
                2 => "CONFIG",
                4 => "NO PERMISSION",
                _ => "FATAL",
            };
            self.log(Severity::Error, format!("pid {pid} exited with permanent error {word}. Terminating"));
            self.remove(now, role, ended);
            self.begin_stop(now, status);
            return;
        }
        if !self.respawn {
            self.log(Severity::Error, format!("{} child process({pid}) died: Exiting", process_name(role)));
            self.remove(now, role, ended);
            self.begin_stop(now, 1);
            return;
        }
        self.log(Severity::Error, format!("{} child process({pid}) died: Respawning", process_name(role)));
        self.schedule_restart(now, role);
    }

    /// SIGTERM or SIGINT.
    pub(crate) fn handle_stop(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Starting | Phase::Running) {
            self.log(Severity::Info, "Stopping".into());
            self.begin_stop(now, 0);
        }
    }

    /// Fires what is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.excuse_beats(now);
        if self.reading.is_some_and(|since| since + READING_LIMIT <= now) {
            self.actions.push_back(Action::KillReader);
            self.reading = None;
            self.refuse_reload(now, "reading the configuration took longer than 30 s");
        }
        if self.cleaning.is_some_and(|due| due <= now) {
            self.log(Severity::Error, "Cleanup process failed to end - addresses may be left".into());
            self.actions.push_back(Action::Kill(Role::Cleanup));
            self.cleaned(now);
            self.continue_stop(now);
        }
        let due: Vec<(Role, Life)> = self
            .children
            .iter()
            .filter(|(_, child)| child.due().is_some_and(|due| due <= now))
            .map(|(role, child)| (*role, child.life))
            .collect();
        for (role, life) in due {
            match life {
                Life::Waiting(_) => self.spawn_or_wait(now, role),
                Life::Stopping(_) => {
                    let name = process_name(role);
                    self.log(Severity::Error, format!("{name} process failed to die - forcing termination"));
                    self.kill(role);
                }
                Life::Running => {
                    let name = process_name(role);
                    self.log(Severity::Error, format!("{name} process gave no sign of life in time - replacing it"));
                    self.kill(role);
                }
                Life::Killed => {}
            }
        }
    }

    /// A daemon that was frozen as a whole goes on with the worker that it has, which finds out by itself. Once for each
    /// beat: who is always late would otherwise keep a worker that hangs.
    fn excuse_beats(&mut self, now: Instant) {
        let beats = self.children.values_mut().filter_map(|child| child.beat.as_mut());
        for beat in beats.filter(|beat| !beat.excused && beat.last + beat.limit + HELD_UP <= now) {
            (beat.last, beat.excused) = (now, true);
        }
    }

    /// Begins with an accepted reading once nothing else is under way: no process stops, and each runs the running
    /// generation or waits to be started.
    fn prepare_accepted(&mut self, now: Instant) {
        let settled = |child: &Child| match child.life {
            Life::Running => child.committed == self.running,
            Life::Waiting(_) => true,
            Life::Stopping(_) | Life::Killed => false,
        };
        let quiet = self.target.is_none() && self.cleaning.is_none() && self.children.values().all(settled);
        if self.phase == Phase::Running
            && quiet
            && let Some(target) = self.accepted.take()
        {
            self.prepare(now, target);
        }
    }

    /// Starts what is missing and hands every worker its part.
    fn prepare(&mut self, now: Instant, target: Target) {
        let (generation, needed) = (target.generation, target.needed.clone());
        self.target = Some(target);
        if needed.is_empty() {
            self.log(Severity::Warning, "Warning - keepalived has no configuration to run".into());
        }
        for role in START_ORDER.into_iter().filter(|role| needed.contains(role)) {
            if self.is_running(role) {
                self.order(now, role, Action::Prepare(role, generation));
            } else {
                self.spawn(now, role);
            }
        }
        self.commit_if_prepared(now);
        self.finish_if_committed(now);
    }

    fn spawn(&mut self, now: Instant, role: Role) {
        let quick_deaths = self.children.get(&role).map_or(0, |child| child.quick_deaths);
        let child = Child {
            pid: 0,
            started: now,
            quick_deaths,
            prepared: 0,
            committed: 0,
            beat: None,
            answer_by: None,
            life: Life::Running,
        };
        self.children.insert(role, child);
        self.actions.push_back(Action::Spawn(role));
        for other in [Role::Checker, Role::Vrrp] {
            let pair = if role == Role::Runner { other } else { role };
            if pair == other && self.is_running(other) && self.is_running(Role::Runner) {
                self.actions.push_back(Action::Connect(other, Role::Runner));
            }
        }
        let order = match &self.target {
            Some(target) if target.needed.contains(&role) && target.committing => {
                Action::Restore(role, target.generation)
            }
            Some(target) if target.needed.contains(&role) => Action::Prepare(role, target.generation),
            _ => Action::Restore(role, self.running),
        };
        self.order(now, role, order);
    }

    /// Gives an order that must be answered.
    fn order(&mut self, now: Instant, role: Role, order: Action) {
        if let Some(child) = self.children.get_mut(&role) {
            child.answer_by = Some(now + ANSWER_LIMIT);
        }
        self.actions.push_back(order);
    }

    fn commit(&mut self, now: Instant, role: Role, generation: u64) {
        self.order(now, role, Action::Commit(role, generation));
    }

    fn is_running(&self, role: Role) -> bool {
        self.children.get(&role).is_some_and(|child| child.life == Life::Running)
    }

    /// Once every worker is prepared, the runner commits first: the others' notifications need the new scripts.
    fn commit_if_prepared(&mut self, now: Instant) {
        let Some(target) = self.target.as_mut().filter(|target| !target.committing) else { return };
        let generation = target.generation;
        let children = &self.children;
        if !target.needed.iter().all(|role| children.get(role).is_some_and(|child| child.prepared == generation)) {
            return;
        }
        target.committing = true;
        if target.needed.contains(&Role::Runner) {
            self.commit(now, Role::Runner, generation);
        } else {
            self.commit_workers(now);
        }
    }

    fn commit_workers(&mut self, now: Instant) {
        let Some(target) = &self.target else { return };
        let (generation, needed) = (target.generation, target.needed.clone());
        for role in needed.into_iter().filter(|role| *role != Role::Runner) {
            // One that was started anew meanwhile commits when it is prepared.
            if self.children.get(&role).is_some_and(|child| child.prepared == generation) {
                self.commit(now, role, generation);
            }
        }
    }

    fn finish_if_committed(&mut self, now: Instant) {
        let Some(target) = self.target.take_if(|target| {
            let children = &self.children;
            target.committing
                && target
                    .needed
                    .iter()
                    .all(|role| children.get(role).is_some_and(|child| child.committed == target.generation))
        }) else {
            return;
        };
        let first = self.phase == Phase::Starting;
        let previous = std::mem::replace(&mut self.running, target.generation);
        self.needed = target.needed;
        self.child_wait = target.child_wait;
        self.phase = Phase::Running;
        self.actions.push_back(Action::Forget(previous));
        self.stop_unneeded(now);
        let done = if first { "Startup complete" } else { "Reload complete" };
        self.log(Severity::Info, done.into());
        self.actions.push_back(Action::Notify(Notify::Ready(done.into())));
        self.start_queued_reload(now);
    }

    /// Workers first: the runner still has their last notifications to hear.
    fn stop_unneeded(&mut self, now: Instant) {
        if self.phase != Phase::Running || self.target.is_some() {
            return;
        }
        let unneeded: Vec<Role> = self.children.keys().copied().filter(|role| !self.needed.contains(role)).collect();
        let workers: Vec<Role> = unneeded.iter().copied().filter(|role| *role != Role::Runner).collect();
        for role in if workers.is_empty() { unneeded } else { workers } {
            self.stop(now, role);
        }
    }

    fn start_queued_reload(&mut self, now: Instant) {
        if std::mem::take(&mut self.reload_queued) {
            self.handle_reload(now);
        }
    }

    fn refuse_reload(&mut self, now: Instant, why: &str) {
        self.log(Severity::Error, format!("Reload refused, the running configuration stays: {why}"));
        let status = format!("Running; the last reload was refused: {why}");
        self.actions.push_back(Action::Notify(Notify::Ready(status)));
        self.start_queued_reload(now);
    }

    /// Takes the pending generation back from everybody who may have it. Those started with it end; who of them the
    /// running generation needs starts again with that.
    fn abandon(&mut self) {
        let Some(target) = self.target.take() else { return };
        let running: Vec<Role> = target.needed.iter().copied().filter(|role| self.is_running(*role)).collect();
        for role in running {
            if self.children.get(&role).is_some_and(|child| child.committed == self.running) {
                self.actions.push_back(Action::Abandon(role, target.generation));
                if let Some(child) = self.children.get_mut(&role) {
                    child.answer_by = None;
                }
            } else {
                self.kill(role);
            }
        }
        self.actions.push_back(Action::Forget(target.generation));
    }

    fn schedule_restart(&mut self, now: Instant, role: Role) {
        if self.phase == Phase::Running && self.target.as_ref().is_some_and(|target| !target.committing) {
            self.abandon();
            let why = format!("the {} process died meanwhile", process_name(role));
            self.refuse_reload(now, &why);
        }
        let Some(child) = self.children.get_mut(&role) else { return };
        if now.duration_since(child.started) >= SETTLED {
            child.quick_deaths = 0;
        }
        let delay = match child.quick_deaths {
            0 => 0,
            deaths => (1 << (deaths - 1).min(6)).min(MAX_RESTART_DELAY),
        };
        child.quick_deaths += 1;
        child.life = Life::Waiting(now + Duration::from_secs(delay));
        let name = process_name(role);
        self.log(Severity::Info, format!("Restart of {name} process delayed {delay} seconds to limit respawn rate"));
        if delay == 0 {
            self.spawn(now, role);
        } else if role == Role::Vrrp {
            self.clean_up(now);
        }
    }

    /// A VRRP worker must not add what a clean-up is about to remove: it waits for that to end.
    fn spawn_or_wait(&mut self, now: Instant, role: Role) {
        match (role, self.cleaning, self.children.get_mut(&role)) {
            (Role::Vrrp, Some(limit), Some(child)) => child.life = Life::Waiting(limit),
            _ => self.spawn(now, role),
        }
    }

    /// A clean-up is over, and nobody waits for it any longer.
    fn cleaned(&mut self, now: Instant) {
        let limit = self.cleaning.take();
        let again = std::mem::take(&mut self.clean_again);
        if again {
            self.clean_up(now);
        }
        let waiting = self.children.get_mut(&Role::Vrrp).filter(|child| Some(child.life) == limit.map(Life::Waiting));
        match (waiting, self.cleaning) {
            (Some(child), Some(limit)) => child.life = Life::Waiting(limit),
            (Some(_), None) => self.spawn(now, Role::Vrrp),
            (None, _) => {}
        }
    }

    /// A child is gone and gets no successor now.
    fn remove(&mut self, now: Instant, role: Role, ended: Ended) {
        self.children.remove(&role);
        if matches!(role, Role::Vrrp | Role::Checker) && ended != Ended::Status(0) {
            self.clean_up(now);
        }
        self.actions.push_back(Action::Retire(role));
    }

    /// Whether what a worker of `role` left is to go: it has no successor. Addresses do not wait for one that starts
    /// late; IPVS does.
    pub(crate) fn is_gone(&self, role: Role) -> bool {
        let waits = |child: &Child| role == Role::Vrrp && matches!(child.life, Life::Waiting(_));
        self.children.get(&role).is_none_or(waits)
    }

    /// Something is on the host that no worker of ours will remove.
    pub(crate) fn clean_up(&mut self, now: Instant) {
        if self.cleaning.is_some() {
            self.clean_again = true;
            return;
        }
        self.cleaning = Some(now + CLEANUP_LIMIT);
        self.actions.push_back(Action::CleanUp);
    }

    fn stop(&mut self, now: Instant, role: Role) {
        let limit = if role == Role::Runner { RUNNER_STOP_LIMIT } else { self.child_wait };
        let Some(child) = self.children.get_mut(&role) else { return };
        if let Life::Waiting(_) = child.life {
            self.children.remove(&role);
            self.actions.push_back(Action::Retire(role));
            return;
        }
        if child.life == Life::Running {
            child.life = Life::Stopping(now + limit);
            self.actions.push_back(Action::Stop(role));
        }
    }

    fn kill(&mut self, role: Role) {
        if let Some(child) = self.children.get_mut(&role) {
            child.life = Life::Killed;
            self.actions.push_back(Action::Kill(role));
        }
    }

    fn begin_stop(&mut self, now: Instant, exit: u8) {
        if self.reading.take().is_some() {
            self.actions.push_back(Action::KillReader);
        }
        self.target = None;
        self.accepted = None;
        self.phase = Phase::Stopping { exit };
        self.actions.push_back(Action::Notify(Notify::Stopping));
        self.continue_stop(now);
    }

    /// Workers first; the runner stays until their last notifications are with it.
    fn continue_stop(&mut self, now: Instant) {
        let Phase::Stopping { exit } = self.phase else { return };
        for role in [Role::Checker, Role::Vrrp] {
            self.stop(now, role);
        }
        if !self.children.keys().any(|role| *role != Role::Runner) {
            self.stop(now, Role::Runner);
        }
        if self.children.is_empty() && self.cleaning.is_none() {
            self.phase = Phase::Done;
            self.actions.push_back(Action::Exit(exit));
        }
    }

    fn log(&mut self, severity: Severity, text: String) {
        self.actions.push_back(Action::Log(severity, text));
    }
}

/// The name in `Starting … child process`.
fn child_name(role: Role) -> &'static str {
    match role {
        Role::Checker => "Healthcheck",
        other => process_name(other),
    }
}

/// The name in `… process died`.
pub(crate) fn process_name(role: Role) -> &'static str {
    match role {
        Role::Vrrp => "VRRP",
        Role::Checker => "Healthcheck",
        Role::Runner => "Runner",
        Role::Reader => "Reader",
        Role::Cleanup => "Cleanup",
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
