//! A VRRP process that was started before it is needed: where the disk does not answer or memory is short, none can be
//! started any more. It has loaded its libraries, given up its privileges and opened its log, and waits for its first order.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Process, Settings};
use crate::ipc::Role;
use crate::privileges::Extras;

/// A worker that has just begun has the processors for itself.
const AFTER_START: Duration = Duration::from_secs(1);

/// After a spare that could not be started, or did not live.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// The spare, or how far it is from being there.
#[derive(Default)]
pub(super) enum Spare {
    /// Nobody wants one.
    #[default]
    Unwanted,
    /// It is to be started then.
    Due(Instant),
    /// A thread of its own starts it: who executes a program from a disk that does not answer waits.
    Starting { extras: Extras, done: UnixStream, thread: JoinHandle<anyhow::Result<Process>> },
    /// It waits.
    Ready(Extras, Box<Process>),
}

impl Spare {
    /// The first worker, which starts while the configuration is read. One that does not start is tried again once it is
    /// known what it is for, and what is wrong is said then.
    pub(super) fn first(settings: &Settings) -> Self {
        let extras = Extras::default();
        Process::start(Role::Vrrp, settings, extras)
            .map_or_else(|_| Self::Unwanted, |it| Self::Ready(extras, Box::new(it)))
    }

    /// Leaves only one that is as a worker has to be now; `None` if there is to be none.
    pub(super) fn keep(&mut self, extras: Option<Extras>) {
        if !matches!(self, Self::Ready(has, _) if Some(*has) == extras) {
            self.end();
        }
    }

    /// A worker runs for which there should be a spare.
    pub(super) fn want(&mut self, now: Instant) {
        if matches!(self, Self::Unwanted) {
            *self = Self::Due(now + AFTER_START);
        }
    }

    /// When [`tend`](Self::tend) has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Due(due) => Some(*due),
            _ => None,
        }
    }

    /// Becomes readable when [`settle`](Self::settle) has something to do.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Unwanted | Self::Due(_) => None,
            Self::Starting { done, .. } => Some(done.as_fd()),
            Self::Ready(_, process) => Some(process.pid_fd.as_fd()),
        }
    }

    /// Whether there may be a child that nobody knows of yet.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self, Self::Starting { .. })
    }

    /// The spare that waits.
    pub(super) fn process(&self) -> Option<&Process> {
        match self {
            Self::Ready(_, process) => Some(process),
            _ => None,
        }
    }

    /// Starts one that is due, and replaces one that has not what a worker is to have now.
    pub(super) fn tend(&mut self, now: Instant, extras: Extras, settings: &Settings) {
        if matches!(self, Self::Ready(has, _) if *has != extras) {
            self.end();
            *self = Self::Due(now);
        }
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        *self = Self::start(extras, settings.clone()).unwrap_or_else(|error| Self::failed(now, &error.into()));
    }

    fn start(extras: Extras, settings: Settings) -> std::io::Result<Self> {
        let (done, tell) = UnixStream::pair()?;
        let thread = std::thread::Builder::new().name("spare".into()).spawn(move || {
            // Its end is what is told.
            let _tell = tell;
            Process::start(Role::Vrrp, &settings, extras)
        })?;
        Ok(Self::Starting { extras, done, thread })
    }

    fn failed(now: Instant, error: &anyhow::Error) -> Self {
        warn!("No VRRP process waits to replace one that dies: {error:#}");
        Self::Due(now + AFTER_FAILURE)
    }

    /// It has been started, or it has ended.
    pub(super) fn settle(&mut self, now: Instant) {
        *self = match std::mem::take(self) {
            Self::Starting { extras, thread, .. } => match thread.join() {
                Ok(Ok(process)) => Self::Ready(extras, Box::new(process)),
                Ok(Err(error)) => Self::failed(now, &error),
                Err(_) => Self::failed(now, &anyhow::anyhow!("starting it failed")),
            },
            Self::Ready(extras, mut process) => match process.child.try_wait() {
                Ok(None) => Self::Ready(extras, process),
                Ok(Some(status)) => Self::failed(now, &anyhow::anyhow!("it ended: {status}")),
                Err(error) => Self::failed(now, &error.into()),
            },
            other => other,
        };
    }

    /// The spare, if it is there, able to run, and has exactly these extras. One with others is for the configuration that
    /// runs, while a worker has what one asks for that may never do.
    pub(super) fn take(&mut self, extras: Extras) -> Option<Process> {
        if !matches!(self, Self::Ready(has, _) if *has == extras) {
            return None;
        }
        let Self::Ready(_, mut process) = std::mem::take(self) else { return None };
        if !matches!(process.child.try_wait(), Ok(None)) {
            return None;
        }
        if is_stopped(&process) {
            process.kill();
            return None;
        }
        Some(*process)
    }

    /// None is wanted any more. It is not waited for, as it may hang in the kernel: who waits for orphans does so.
    pub(super) fn end(&mut self) {
        if let Self::Ready(_, mut process) = std::mem::take(self) {
            process.kill();
        }
    }
}

/// Whether somebody stopped or traces it (`proc_pid_stat(5)`). One that waits for a disk is better than none, as the next
/// would wait for that disk too.
fn is_stopped(process: &Process) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.child.id())).unwrap_or_default();
    // The name before it may hold anything.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('T' | 't'))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus};

    use super::*;
    use crate::ipc::Channel;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A spare that only waits.
    fn spare() -> (Spare, Pid) {
        let (channel, far) = Channel::pair().unwrap();
        let child = Command::new("cat").stdin(Stdio::from(std::os::fd::OwnedFd::from(far))).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let pid_fd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let process = Process { channel, child, pid_fd, waiting: Vec::new(), watch: None };
        (Spare::Ready(Extras::default(), Box::new(process)), pid)
    }

    /// Waits as the parent of any child does.
    fn reaped(pid: Pid) -> Option<WaitIdStatus> {
        rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).unwrap()
    }

    #[test]
    fn the_end_of_a_spare_is_not_waited_for() {
        let (mut spare, pid) = spare();
        spare.end();
        assert!(matches!(spare, Spare::Unwanted));
        assert!(reaped(pid).is_some_and(|status| status.killed()), "somebody has waited for it");
    }

    #[test]
    fn a_spare_that_is_stopped_does_not_become_the_worker() {
        let (mut spare, pid) = spare();
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while !spare.process().is_some_and(is_stopped) {
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::yield_now();
        }
        assert!(spare.take(Extras::default()).is_none());
        assert!(matches!(spare, Spare::Unwanted));
        assert!(reaped(pid).is_some_and(|status| status.killed()));
    }

    #[test]
    fn the_first_worker_stays_only_as_the_configuration_wants_it() {
        for wanted in [None, Some(Extras { scheduling: true, ..Extras::default() })] {
            let (mut first, pid) = spare();
            first.keep(wanted);
            assert!(matches!(first, Spare::Unwanted), "{wanted:?}");
            assert!(reaped(pid).is_some_and(|status| status.killed()));
        }
        let (mut first, pid) = spare();
        first.keep(Some(Extras::default()));
        assert!(first.process().is_some());
        first.end();
        reaped(pid);
    }

    #[test]
    fn a_spare_is_taken_by_a_worker_with_its_extras_only() {
        let (mut spare, pid) = spare();
        let others = Extras { scheduling: true, ..Extras::default() };
        assert!(spare.take(others).is_none());
        assert!(spare.process().is_some(), "it is still there for the configuration that runs");
        let taken = spare.take(Extras::default()).expect("it waits");
        assert_eq!(Pid::from_child(&taken.child), pid);
        spare = Spare::Ready(Extras::default(), Box::new(taken));
        spare.end();
        reaped(pid);
    }
}
