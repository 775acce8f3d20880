//! Watches tracked processes on a thread of its own: reads the kernel's news of processes and `/proc`, and says when the
//! number of one becomes enough, or is it no longer.
//!
//! Where the kernel has no news, `/proc` is looked through every second.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use conf_parser::config::ReceiveBuffer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::process_event::{ProcessEvent, ProcessEvents};
use super::processes::{Change, Processes};
use crate::config::tracked_process::{Seen, TrackedProcess};

/// From one look through `/proc` to the next: without news, and after some were lost.
const SURVEY_INTERVAL: Duration = Duration::from_secs(1);

/// So many events are taken before what they mean is said.
const BATCH: usize = 1024;

/// Room for what stands in `/proc/PID/stat` up to the flags.
const STAT: usize = 256;

/// `PF_EXITING` of a process's flags.
const EXITING: u64 = 0x4;

/// The tracked processes of a configuration, and the kernel's news of them.
#[derive(Debug)]
pub(super) struct Watched {
    tracked: BTreeMap<String, TrackedProcess>,
    buffer: ReceiveBuffer,
    /// `None` where the kernel has no news.
    events: Option<ProcessEvents>,
}

impl Watched {
    /// Asks for news. May block for a second.
    pub(super) fn open(tracked: BTreeMap<String, TrackedProcess>, buffer: ReceiveBuffer) -> Self {
        let events = ProcessEvents::open(buffer).map_err(|error| {
            warn!(
                "The kernel tells nothing of processes here ({error}): it does so only in the first network and process \
                 namespace - tracked processes are looked for every second instead"
            );
        });
        Self { tracked, buffer, events: events.ok() }
    }
}

/// The thread that watches, and what it says.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    tracked: BTreeMap<String, TrackedProcess>,
    buffer: ReceiveBuffer,
    watching: Option<Watching>,
}

#[derive(Debug)]
struct Watching {
    changes: mpsc::Receiver<Change>,
    /// The thread ends when this is dropped.
    _stop: UnixStream,
}

impl Monitor {
    /// Watches these from now on. Those that are watched already in the same way are watched on.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn configure(&mut self, wanted: Option<Watched>) -> io::Result<()> {
        let Some(Watched { tracked, buffer, events }) = wanted else {
            *self = Self::default();
            return Ok(());
        };
        if self.watching.is_some() && self.tracked == tracked && self.buffer == buffer {
            return Ok(());
        }
        let (stop, stopped) = UnixStream::pair()?;
        let (say, changes) = mpsc::channel(BATCH);
        let watch = Watch { processes: Processes::new(tracked.clone()), events, say, stopped, survey_due: None };
        thread::Builder::new().name("processes".into()).spawn(move || watch.run())?;
        *self = Self { tracked, buffer, watching: Some(Watching { changes, _stop: stop }) };
        Ok(())
    }

    /// Whether this is watched.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.tracked.contains_key(name)
    }

    /// The next that is said; never, without processes. May be dropped without losing anything.
    pub(super) async fn next(&mut self) -> Change {
        let said = match &mut self.watching {
            Some(watching) => watching.changes.recv().await,
            None => None,
        };
        match said {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }
}

/// What the thread has.
struct Watch {
    processes: Processes,
    events: Option<ProcessEvents>,
    say: mpsc::Sender<Change>,
    stopped: UnixStream,
    /// When `/proc` has to be looked through; `None` before the first time.
    survey_due: Option<Instant>,
}

impl Watch {
    fn run(mut self) {
        self.survey();
        loop {
            while let Some(change) = self.processes.poll_change() {
                let Change { name, up, count } = &change;
                let quorum = if *up { "is" } else { "is not" };
                info!("Tracked process {name}: {count} running, which {quorum} the quorum");
                // Nobody listens any more: there is another configuration, or none.
                if self.say.blocking_send(change).is_err() {
                    return;
                }
            }
            match self.wait() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return error!("Tracked processes are not watched until a reload - {error}"),
            }
            self.take_events();
            if self.survey_due.is_some_and(|due| due <= Instant::now()) {
                self.survey();
            }
            self.processes.fire(Instant::now());
        }
    }

    /// Waits until there is something to do; `false` when that is to end.
    fn wait(&self) -> io::Result<bool> {
        let due = self.processes.poll_timeout().into_iter().chain(self.survey_due).min();
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let stopped = PollFd::new(&self.stopped, PollFlags::IN);
        let events = self.events.as_ref().map(|events| PollFd::new(events, PollFlags::IN));
        let mut fds: Vec<_> = [stopped].into_iter().chain(events).collect();
        match poll(&mut fds, left.as_ref()) {
            Ok(_) => Ok(fds.first().is_some_and(|stopped| stopped.revents().is_empty())),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn take_events(&mut self) {
        let Some(events) = &self.events else { return };
        let octets = self.processes.command_line_octets();
        for _ in 0..BATCH {
            let pid = match events.receive() {
                Ok(ProcessEvent::Forked { parent, pid }) if self.processes.is_counted(parent) => pid,
                Ok(ProcessEvent::Changed { pid }) => pid,
                Ok(ProcessEvent::Exits { pid }) if self.processes.is_counted(pid) => pid,
                Ok(_) => continue,
                Err(Errno::NOBUFS) => {
                    self.survey_due.get_or_insert_with(|| {
                        warn!("News of processes were lost, looking through /proc - see process_monitor_rcv_bufs");
                        Instant::now()
                    });
                    continue;
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(error) => {
                    error!("No more news of processes ({error}) - tracked ones are looked for every second instead");
                    self.events = None;
                    self.survey_due = Some(Instant::now());
                    return;
                }
            };
            // What it is now counts, not what the news says that it was.
            self.processes.saw(Instant::now(), pid, look(pid, octets).as_ref());
        }
    }

    /// Looks through `/proc`.
    fn survey(&mut self) {
        let octets = self.processes.command_line_octets();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        self.processes.survey(Instant::now(), pids.filter_map(|pid| Some((pid, look(pid, octets)?))));
        self.survey_due = self.events.is_none().then(|| Instant::now() + SURVEY_INTERVAL);
    }
}

/// A process as it is now, with so many octets of its command line; `None` if it does not run, or ends.
fn look(pid: i32, octets: usize) -> Option<Seen> {
    let stat = read(&format!("/proc/{pid}/stat"), STAT)?;
    let name = running(&stat)?.to_owned();
    let command_line = if octets == 0 { Vec::new() } else { read(&format!("/proc/{pid}/cmdline"), octets)? };
    Some(Seen { name, command_line })
}

fn read(path: &str, most: usize) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    File::open(path).ok()?.take(most).read_to_end(&mut octets).ok()?;
    Some(octets)
}

/// The name in a line of `/proc/PID/stat`: `PID (NAME) STATE` and seven numbers up to the flags. `None` for a zombie and
/// for what ends.
fn running(stat: &[u8]) -> Option<&[u8]> {
    let start = stat.iter().position(|octet| *octet == b'(')? + 1;
    let end = stat.iter().rposition(|octet| *octet == b')')?;
    let name = stat.get(start..end)?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace();
    let (state, flags) = (fields.next()?, fields.nth(5)?.parse::<u64>().ok()?);
    (!matches!(state, "Z" | "X" | "x") && flags & EXITING == 0).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn a_name_may_look_like_a_state() {
        assert_eq!(running(b"7 (a) Z (b) S 1 7 7 0 -1 4194560 12"), Some(&b"a) Z (b"[..]));
        assert_eq!(running(b"7 (a b) R 1 7 7 0 -1 4194304 12"), Some(&b"a b"[..]));
        assert_eq!(running(b"7 (a) Z 1 7 7 0 -1 4194304 12"), None);
        assert_eq!(running(b"7 (a) R 1 7 7 0 -1 4194308 12"), None, "it ends");
        assert_eq!(running(b"7 (a) R 1 7"), None);
        assert_eq!(running(b""), None);
    }

    fn tracked(lines: &str) -> BTreeMap<String, TrackedProcess> {
        let text = format!("vrrp_track_process p {{\n{lines}\n}}\n");
        let config = crate::config::checker::tests::config(&text);
        config.track_processes.iter().map(|it| (it.name.value.clone(), TrackedProcess::from_config(it))).collect()
    }

    fn sleeper(seconds: &str) -> Child {
        Command::new("sleep").arg(seconds).spawn().unwrap()
    }

    async fn next(monitor: &mut Monitor) -> (bool, usize) {
        let change = tokio::time::timeout(Duration::from_secs(10), monitor.next()).await.unwrap();
        (change.up, change.count)
    }

    /// With the kernel's news or without them.
    #[tokio::test]
    async fn processes_that_come_and_go_are_noticed() {
        let seconds = format!("{}", 100_000 + std::process::id());
        let mut monitor = Monitor::default();
        let config = tracked(&format!("process sleep {seconds}\nquorum 2"));
        monitor.configure(Some(Watched::open(config.clone(), ReceiveBuffer::default()))).unwrap();
        assert_eq!(next(&mut monitor).await, (false, 0));
        let mut sleepers = [sleeper(&seconds), sleeper(&seconds)];
        assert_eq!(next(&mut monitor).await, (true, 2));
        // Nothing is asked anew of a monitor that watches the same.
        monitor.configure(Some(Watched::open(config, ReceiveBuffer::default()))).unwrap();
        sleepers[0].kill().unwrap();
        assert_eq!(next(&mut monitor).await, (false, 1), "a zombie does not run");
        monitor.configure(None).unwrap();
        assert!(!monitor.contains("p"));
        for mut sleeper in sleepers {
            sleeper.kill().unwrap();
            sleeper.wait().unwrap();
        }
    }
}
