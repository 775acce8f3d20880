//! When a tracked script runs, how long it may take, and what its results add up to (`behaviour.md` §3.9). Pure.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::config::runner::Timing;

/// What a script that was told to end may take before it is killed.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// What the executor does next, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a run.
    Start,
    /// SIGTERM to the process group of the run.
    Terminate,
    /// SIGKILL to the process group of the run.
    Kill,
    /// The verdict is another one.
    Say(Verdict),
    /// A line for the log.
    Log(String),
}

/// What the results add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It succeeds.
    Up,
    /// It fails.
    Down,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Not in time.
    TimedOut,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(0) => f.write_str("succeeded"),
            Self::Exited(status) => write!(f, "failed (exited with status {status})"),
            Self::Signalled(signal) => write!(f, "failed (due to signal {signal})"),
            Self::TimedOut => f.write_str("timed_out"),
        }
    }
}

/// One script. Call one `handle_*`, drain [`poll_action`](Self::poll_action), sleep until
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub(crate) struct Schedule {
    name: String,
    timing: Timing,
    next_start: Instant,
    run: Option<Run>,
    verdict: Option<Verdict>,
    /// So many results in a row speak against the verdict.
    against: u32,
    last_status: i32,
    /// It was said that runs are skipped, and none has ended in time since.
    skipping: bool,
    actions: VecDeque<Action>,
}

/// A run that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// It has time until then.
    InTime(Instant),
    /// It was told to end, and is killed then.
    Terminated(Instant),
    /// It was killed.
    Killed,
}

impl Schedule {
    /// A script that runs for the first time at `first`. A `verdict` is that of the process before this one.
    pub(crate) fn new(name: &str, timing: Timing, first: Instant, verdict: Option<Verdict>) -> Self {
        Self {
            name: name.to_owned(),
            timing,
            next_start: first,
            run: None,
            verdict,
            against: 0,
            last_status: 0,
            skipping: false,
            actions: VecDeque::new(),
        }
    }

    /// The configuration was read again. Verdict and rhythm stay.
    pub(crate) fn handle_reload(&mut self, now: Instant, timing: Timing) {
        self.timing = timing;
        self.next_start = self.next_start.min(now + timing.interval);
        if let Some(verdict) = self.verdict {
            let word = if verdict == Verdict::Up { "successful" } else { "unsuccessful" };
            self.log(format!("VRRP_Script({}) considered {word} on reload", self.name));
        }
    }

    /// The run ended. Its result counts if it came in time.
    pub(crate) fn handle_end(&mut self, outcome: Outcome) {
        let Some(run) = self.run.take() else { return };
        if let Run::InTime(_) = run {
            self.skipping = false;
            if let Outcome::Exited(status) = outcome {
                self.hear_status(status);
            }
            self.judge(outcome);
        }
    }

    /// Does what is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.next_start <= now {
            self.next_start = now + self.timing.interval;
            self.start(now);
        }
        match self.run {
            Some(Run::InTime(due)) if due <= now => {
                self.run = Some(Run::Terminated(now + GRACE));
                self.actions.push_back(Action::Terminate);
                self.judge(Outcome::TimedOut);
            }
            Some(Run::Terminated(due)) if due <= now => {
                self.run = Some(Run::Killed);
                self.actions.push_back(Action::Kill);
            }
            _ => {}
        }
    }

    fn start(&mut self, now: Instant) {
        if self.run.is_none() {
            self.run = Some(Run::InTime(now + self.timing.timeout));
            self.actions.push_back(Action::Start);
        } else if !std::mem::replace(&mut self.skipping, true) {
            self.log(format!("Track script {} is already running, expect idle - skipping run", self.name));
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub(crate) fn poll_timeout(&self) -> Instant {
        match self.run {
            Some(Run::InTime(due) | Run::Terminated(due)) => due.min(self.next_start),
            Some(Run::Killed) | None => self.next_start,
        }
    }

    /// The next thing to do, or `None` when drained.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What the results add up to; `None` before the first.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// Whether a run is under way that nobody has told to end.
    pub(crate) fn is_in_time(&self) -> bool {
        matches!(self.run, Some(Run::InTime(_)))
    }

    fn hear_status(&mut self, status: i32) {
        if std::mem::replace(&mut self.last_status, status) != status {
            self.log(format!("Script `{}` now returning {status}", self.name));
        }
    }

    /// The first result decides, later ones `rise` or `fall` in a row.
    fn judge(&mut self, outcome: Outcome) {
        let said = if outcome == Outcome::Exited(0) { Verdict::Up } else { Verdict::Down };
        let needed = match self.verdict {
            None => 1,
            Some(Verdict::Down) => self.timing.rise,
            Some(Verdict::Up) => self.timing.fall,
        };
        self.against = if self.verdict == Some(said) { 0 } else { self.against.saturating_add(1) };
        if self.against >= needed.max(1) {
            self.against = 0;
            self.verdict = Some(said);
            self.log(format!("VRRP_Script({}) {outcome}", self.name));
            self.actions.push_back(Action::Say(said));
        }
    }

    fn log(&mut self, text: String) {
        self.actions.push_back(Action::Log(text));
    }
}

#[cfg(test)]
mod tests;
