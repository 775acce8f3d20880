//! Runs tracked scripts as their schedules say.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio::task::JoinSet;
use tracing::{error, info};

use super::orphans;
use super::schedule::{Action, Outcome, Schedule, Verdict};
use super::security::Command;
use crate::config::runner::Timing;

/// From the first run of one script to that of the next: many do not start at once.
const SPREAD: Duration = Duration::from_millis(2);

/// What a shell returns for a command that is not there, and for one that it cannot run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// The tracked scripts of the running configuration.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    scripts: BTreeMap<String, Script>,
    /// Verdicts of the process before this one, until the first configuration.
    inherited: BTreeMap<String, Verdict>,
    /// The process groups of the runs that have not ended.
    groups: BTreeMap<u64, Group>,
    jobs: JoinSet<Event>,
    runs: u64,
}

#[derive(Debug)]
struct Script {
    command: Command,
    schedule: Schedule,
    /// The number of its newest run.
    run: u64,
    /// Why it could not be started the last time.
    refusal: Option<String>,
}

/// What happened to a run.
#[derive(Debug)]
pub(super) struct Event {
    script: String,
    run: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Started(Child, Group),
    /// It cannot be started: what a shell would return, and why.
    Refused(i32, String),
    Ended(Outcome),
}

impl Scripts {
    /// What the process before this one knew of `script`.
    pub(super) fn inherit(&mut self, script: String, verdict: Verdict) {
        self.inherited.insert(script, verdict);
    }

    /// Runs exactly the `wanted` scripts from now on. Those that stay keep verdict and rhythm.
    pub(super) fn configure(&mut self, now: Instant, wanted: BTreeMap<String, (Timing, Command)>) {
        let mut before = std::mem::take(&mut self.scripts);
        let inherited = std::mem::take(&mut self.inherited);
        let mut first = now;
        for (name, (timing, command)) in wanted {
            let script = match before.remove(&name) {
                Some(mut script) if script.command == command => {
                    script.schedule.handle_reload(now, timing);
                    script
                }
                before => {
                    // Another command says nothing of what this one will.
                    if let Some(script) = before {
                        self.signal(script.run, Signal::KILL);
                    }
                    let schedule = Schedule::new(&name, timing, first, inherited.get(&name).copied());
                    first += SPREAD;
                    Script { command, schedule, run: 0, refusal: None }
                }
            };
            self.scripts.insert(name, script);
        }
        for script in before.into_values() {
            self.signal(script.run, Signal::KILL);
        }
    }

    /// What the results of `script` add up to; `None` before the first.
    pub(super) fn verdict(&self, script: &str) -> Option<Verdict> {
        self.scripts.get(script).and_then(|script| script.schedule.verdict())
    }

    /// When to call [`fire`](Self::fire) next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.scripts.values().map(|script| script.schedule.poll_timeout()).min()
    }

    /// Starts and ends what is due; the verdicts that this changes.
    pub(super) fn fire(&mut self, now: Instant) -> Vec<(String, Verdict)> {
        let due = |(_, script): &(&String, &mut Script)| script.schedule.poll_timeout() <= now;
        let due: Vec<String> = self.scripts.iter_mut().filter(due).map(|(name, _)| name.clone()).collect();
        let mut verdicts = Vec::new();
        for name in due {
            if let Some(script) = self.scripts.get_mut(&name) {
                script.schedule.handle_timeout(now);
            }
            self.perform(&name, &mut verdicts);
        }
        verdicts
    }

    /// The next event; never, while nothing is being started and nothing runs.
    pub(super) async fn next(&mut self) -> Event {
        super::next_of(&mut self.jobs).await
    }

    /// Takes an event; the verdicts that it changes.
    pub(super) fn take(&mut self, Event { script: name, run, what }: Event) -> Vec<(String, Verdict)> {
        let mut verdicts = Vec::new();
        // A run that another one has replaced, or whose script is gone, is nobody's.
        let script = self.scripts.get(&name).filter(|script| script.run == run);
        let in_time = script.is_some_and(|script| script.schedule.is_in_time());
        match what {
            What::Started(child, group) => {
                if let Some(script) = self.scripts.get_mut(&name).filter(|script| script.run == run) {
                    script.refusal = None;
                }
                self.groups.insert(run, group);
                self.jobs.spawn(wait(name, run, child));
                if !in_time {
                    self.signal(run, Signal::KILL);
                }
            }
            What::Refused(status, why) => {
                if let Some(script) = self.scripts.get_mut(&name).filter(|script| script.run == run) {
                    // Said once, not with every run.
                    if script.refusal.as_ref() != Some(&why) {
                        error!("vrrp_script {name}: {} cannot be started - {why}", super::shown(&script.command));
                        script.refusal = Some(why);
                    }
                    script.schedule.handle_end(Outcome::Exited(status));
                }
                self.perform(&name, &mut verdicts);
            }
            What::Ended(outcome) => {
                // Else it is killed, with what it had started and left behind.
                if let Some(group) = self.groups.remove(&run).filter(|_| in_time) {
                    group.leave();
                }
                if let Some(script) = self.scripts.get_mut(&name).filter(|script| script.run == run) {
                    script.schedule.handle_end(outcome);
                }
                self.perform(&name, &mut verdicts);
            }
        }
        verdicts
    }

    /// Starts nothing any more, and tells what runs to end.
    pub(super) fn stop(&mut self) {
        self.scripts.clear();
        for run in self.groups.keys().copied().collect::<Vec<_>>() {
            self.signal(run, Signal::TERM);
        }
    }

    /// Whether runs are being started: until [`take`](Self::take) nobody could tell them to end.
    pub(super) fn is_starting(&self) -> bool {
        // A run that has been started has one job, which waits for its end.
        self.jobs.len() > self.groups.len()
    }

    fn perform(&mut self, name: &str, verdicts: &mut Vec<(String, Verdict)>) {
        while let Some(script) = self.scripts.get_mut(name) {
            match script.schedule.poll_action() {
                None => return,
                Some(Action::Start) => {
                    self.runs += 1;
                    script.run = self.runs;
                    let (name, run, command) = (name.to_owned(), self.runs, script.command.clone());
                    self.jobs.spawn_blocking(move || start(name, run, &command));
                }
                Some(Action::Terminate) => {
                    let run = script.run;
                    self.signal(run, Signal::TERM);
                }
                Some(Action::Kill) => {
                    let run = script.run;
                    self.signal(run, Signal::KILL);
                }
                Some(Action::Say(verdict)) => verdicts.push((name.to_owned(), verdict)),
                Some(Action::Log(line)) => info!("{line}"),
            }
        }
    }

    fn signal(&self, run: u64, signal: Signal) {
        if let Some(group) = self.groups.get(&run) {
            group.signal(signal);
        }
    }
}

/// The process group of a run; killed when this is dropped.
#[derive(Debug)]
pub(super) struct Group(Pid);

impl Group {
    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended just now.
        let _ = rustix::process::kill_process_group(self.0, signal);
    }

    /// The run has ended in time: what it left behind lives on.
    pub(super) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Starts a run. May block.
fn start(script: String, run: u64, command: &Command) -> Event {
    let what = match spawn(command) {
        Ok((child, group)) => What::Started(child, group),
        Err(error) => {
            let status = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            What::Refused(status, error.to_string())
        }
    };
    Event { script, run, what }
}

/// Starts a program in a process group of its own. May block.
pub(super) fn spawn(command: &Command) -> io::Result<(Child, Group)> {
    let mut process = super::process(command, &[]).ok_or(io::ErrorKind::NotFound)?;
    process.envs(orphans::mark());
    let child = process.spawn()?;
    // It cannot have been waited for yet.
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or(io::ErrorKind::NotFound)?;
    Ok((child, Group(pid)))
}

async fn wait(script: String, run: u64, child: Child) -> Event {
    Event { script, run, what: What::Ended(end(child).await) }
}

/// Waits until a program has ended.
pub(super) async fn end(mut child: Child) -> Outcome {
    child.wait().await.map_or(Outcome::Exited(NOT_EXECUTABLE), outcome)
}

fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(code), _) => Outcome::Exited(code),
        (None, signal) => Outcome::Signalled(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::runner::security::Identity;
    use crate::workers::until;

    #[tokio::test]
    async fn a_run_that_nobody_learns_of_is_killed() {
        let words = ["sleep", "1000"].map(Into::into).to_vec();
        let identity = Identity { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
        let Event { what: What::Started(mut child, group), .. } = start("chk".into(), 1, &Command { words, identity })
        else {
            panic!("it does not start");
        };
        drop(group);
        let status = until("its end", || child.try_wait().unwrap());
        assert_eq!(outcome(status), Outcome::Signalled(Signal::KILL.as_raw()));
    }
}
