//! Runs the programs of health checks when the checker asks for it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::process::Child;
use tokio::task::JoinSet;
use tracing::error;

use super::schedule::{GRACE, Outcome};
use super::scripts::{self, Group};
use super::security::Command;
use crate::ipc::{CheckEnd, CheckRun, RunEnd};

/// How many run at once.
const MOST_RUNNING: usize = 512;

/// How many wait for that: more than the checker ever asks for at once.
const MOST_WAITING: usize = 8192;

/// The longest time that a run gets.
const LONGEST: Duration = Duration::from_secs(1 << 32);

/// The runs of one checker.
#[derive(Debug, Default)]
pub(super) struct Checks {
    waiting: VecDeque<Waiting>,
    /// By number.
    runs: BTreeMap<u64, Run>,
    jobs: JoinSet<Event>,
    ends: VecDeque<CheckEnd>,
    /// Why a program cannot be started, which is said once, until it can; by what it is called.
    refused: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    check: u64,
    timeout: Duration,
    program: Program,
}

/// What runs.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) command: Command,
    /// What lines about it begin with.
    pub(super) place: String,
}

#[derive(Debug)]
struct Run {
    check: u64,
    phase: Phase,
    /// Once it has been started.
    group: Option<Group>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has time until then.
    InTime(Instant),
    /// It was told to end, and is killed then.
    Terminated(Instant),
    /// It was killed, and has been answered.
    Killed,
    /// Nobody waits for it any more.
    Dropped,
}

/// What happened to a run.
#[derive(Debug)]
pub(super) struct Event {
    number: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Started(Child, Group, Program),
    Refused(io::Error, Program),
    Ended(Outcome),
}

impl Checks {
    /// The checker asks for a run of `program`; `None` if that may not run.
    pub(super) fn ask(&mut self, run: CheckRun, program: Option<Program>) {
        let CheckRun { number, check, timeout, .. } = run;
        let goes_on = |run: &Run| run.check == check && run.phase != Phase::Dropped;
        match program {
            None => self.end(number, RunEnd::Refused),
            Some(_) if self.runs.values().any(goes_on) || self.waiting.len() >= MOST_WAITING => {
                self.end(number, RunEnd::TimedOut);
            }
            Some(program) => self.waiting.push_back(Waiting { number, check, timeout, program }),
        }
    }

    /// Nobody waits for this run any more.
    pub(super) fn drop_run(&mut self, number: u64) {
        self.waiting.retain(|waiting| waiting.number != number);
        if let Some(run) = self.runs.get_mut(&number) {
            run.kill(Phase::Dropped);
        }
    }

    /// Nobody waits for any run any more.
    pub(super) fn drop_all(&mut self) {
        self.waiting.clear();
        self.ends.clear();
        self.runs.values_mut().for_each(|run| run.kill(Phase::Dropped));
    }

    /// Starts and ends what is due.
    pub(super) fn fire(&mut self, now: Instant) {
        while self.runs.len() < MOST_RUNNING
            && let Some(Waiting { number, check, timeout, program }) = self.waiting.pop_front()
        {
            let phase = Phase::InTime(now + timeout.min(LONGEST));
            self.runs.insert(number, Run { check, phase, group: None });
            self.jobs.spawn_blocking(move || start(number, program));
        }
        for (number, run) in &mut self.runs {
            match run.phase {
                Phase::InTime(due) if due <= now => {
                    run.phase = Phase::Terminated(now + GRACE);
                    run.signal(Signal::TERM);
                }
                Phase::Terminated(due) if due <= now => {
                    run.kill(Phase::Killed);
                    self.ends.push_back(CheckEnd { number: *number, how: RunEnd::TimedOut });
                }
                _ => {}
            }
        }
    }

    /// When to call [`fire`](Self::fire) next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = |run: &Run| match run.phase {
            Phase::InTime(due) | Phase::Terminated(due) => Some(due),
            Phase::Killed | Phase::Dropped => None,
        };
        self.runs.values().filter_map(due).min()
    }

    /// The next event; never, while nothing is being started and nothing runs.
    pub(super) async fn next(&mut self) -> Event {
        super::next_of(&mut self.jobs).await
    }

    /// Takes an event.
    pub(super) fn take(&mut self, Event { number, what }: Event) {
        match what {
            What::Started(child, group, program) => {
                if !self.refused.is_empty() {
                    self.refused.remove(&program.name());
                }
                let Some(run) = self.runs.get_mut(&number) else { return };
                self.jobs.spawn(async move { Event { number, what: What::Ended(scripts::end(child).await) } });
                let late = !matches!(run.phase, Phase::InTime(_));
                run.group = Some(group);
                if late {
                    run.signal(Signal::KILL);
                }
            }
            What::Refused(why, program) => {
                let (name, why) = (program.name(), why.to_string());
                if self.refused.get(&name) != Some(&why) {
                    error!("{name} cannot be started - {why}; as with keepalived, that counts as a success");
                    self.refused.insert(name, why);
                }
                self.conclude(number, RunEnd::NotStarted);
            }
            What::Ended(Outcome::Exited(status)) => {
                self.conclude(number, u8::try_from(status).map_or(RunEnd::Exited(u8::MAX), RunEnd::Exited));
            }
            What::Ended(Outcome::Signalled(signal)) => self.conclude(number, RunEnd::Signalled(signal)),
            What::Ended(Outcome::TimedOut) => self.conclude(number, RunEnd::TimedOut),
        }
    }

    /// A run is over.
    fn conclude(&mut self, number: u64, how: RunEnd) {
        let Some(run) = self.runs.remove(&number) else { return };
        match run.phase {
            Phase::InTime(_) => {
                // What it left behind lives on.
                run.group.into_iter().for_each(Group::leave);
                self.end(number, how);
            }
            Phase::Terminated(_) => self.end(number, RunEnd::TimedOut),
            Phase::Killed | Phase::Dropped => {}
        }
    }

    fn end(&mut self, number: u64, how: RunEnd) {
        self.ends.push_back(CheckEnd { number, how });
    }

    /// The next answer for the checker; [`answered`](Self::answered) ends it.
    pub(super) fn poll_end(&self) -> Option<CheckEnd> {
        self.ends.front().copied()
    }

    /// The checker has what [`poll_end`](Self::poll_end) gave.
    pub(super) fn answered(&mut self) {
        self.ends.pop_front();
    }

    /// Whether runs are being started: until [`take`](Self::take) nobody could tell them to end.
    pub(super) fn is_starting(&self) -> bool {
        self.runs.values().any(|run| run.group.is_none())
    }
}

impl Program {
    fn name(&self) -> String {
        format!("{}MISC_CHECK: {}", self.place, super::shown(&self.command))
    }
}

impl Run {
    fn signal(&self, signal: Signal) {
        if let Some(group) = &self.group {
            group.signal(signal);
        }
    }

    fn kill(&mut self, phase: Phase) {
        self.phase = phase;
        self.signal(Signal::KILL);
    }
}

/// May block.
fn start(number: u64, program: Program) -> Event {
    let what = match scripts::spawn(&program.command) {
        Ok((child, group)) => What::Started(child, group, program),
        Err(why) => What::Refused(why, program),
    };
    Event { number, what }
}
