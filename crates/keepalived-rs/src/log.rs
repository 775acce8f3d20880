//! Log lines as keepalived writes them, through a bounded queue and a thread of its own: whoever logs never waits for
//! a disk, a terminal or a syslog daemon. What did not fit is counted and said.
//!
//! `tracing`'s levels are syslog's severities; [`Options::detail`] is `-D`: `DEBUG` lines appear with it only.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Lines that may wait for the writer.
const QUEUE: usize = 16_384;

/// Enough for what the thread does: where a process is locked in memory, all of it is.
const STACK: usize = 128 * 1024;

/// Where and how much to log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    /// `-l` with `-n`, or `-t`: to standard error too.
    pub(crate) console: bool,
    /// Off with `-G` and `-t`.
    pub(crate) syslog: bool,
    /// The syslog facility's number (`-S`), 3 is `daemon`.
    pub(crate) facility: u8,
    /// `-D`: `DEBUG` lines too; twice: more.
    pub(crate) detail: u8,
    /// `_NETNS` and `_INSTANCE` behind the ident.
    pub(crate) suffix: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { console: false, syslog: true, facility: 3, detail: 0, suffix: String::new() }
    }
}

enum Entry {
    Line { severity: u8, text: String },
    Flush(SyncSender<()>),
}

/// Ends logging in order: [`finish`](Self::finish) waits for what is queued.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    queue: Sender<Entry>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

impl Handle {
    /// Waits until the lines so far are written, two seconds at most.
    pub(crate) fn finish(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Entry::Flush(done)).is_ok() {
            // A writer that hangs must not hold up the exit.
            let _ = wait.recv_timeout(Duration::from_secs(2));
        }
    }
}

/// Starts the writer and makes it the destination of every `tracing` macro. Once per process. The writer's thread runs
/// `first` before it writes, and after it has read what the time zone is.
pub(crate) fn start(ident: &str, options: &Options, first: impl FnOnce() + Send + 'static) -> Handle {
    let (queue, lines) = channel();
    let writer = Writer {
        ident: format!("{ident}{}", options.suffix),
        options: options.clone(),
        socket: None,
        stamp: Stamp::default(),
    };
    std::thread::Builder::new()
        .name("log".into())
        .stack_size(STACK)
        .spawn(move || {
            let _time_zone = chrono::Local::now();
            first();
            writer.run(&lines);
        })
        .expect("a process that cannot start a thread at start-up cannot run");
    let collector =
        Collector { queue: queue.clone(), most: if options.detail > 0 { Level::DEBUG } else { Level::INFO } };
    // A second call in one process keeps the first destination.
    let _ = tracing::subscriber::set_global_default(collector);
    Handle { queue }
}

/// Lines in the queue above which who has many more should wait.
const MANY: usize = 512;

/// Whether the writer keeps up with the lines.
pub(crate) fn has_room() -> bool {
    WAITING.load(Ordering::Relaxed) < MANY
}

/// Lines in the queue. It takes memory for what waits only, so the bound is kept here.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Lines that did not fit into the queue since they were last reported.
static DROPPED: AtomicU64 = AtomicU64::new(0);

struct Collector {
    queue: Sender<Entry>,
    most: Level,
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("keepalived_rs") && *metadata.level() <= self.most
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let severity = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            _ => 6,
        };
        let line = Entry::Line { severity, text: message.0 };
        if WAITING.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // It fails only where the writer has panicked: nobody could be told.
        let _ = self.queue.send(line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Only the message: keepalived's lines carry no fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            // Writing into a `String` cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

struct Writer {
    ident: String,
    options: Options,
    socket: Option<UnixDatagram>,
    stamp: Stamp,
}

/// The time of a line, which all lines of one second share.
#[derive(Default)]
struct Stamp {
    /// Since the epoch.
    second: Option<u64>,
    console: String,
    syslog: String,
}

impl Stamp {
    /// Works it out for `now`, unless it is that already.
    fn follow(&mut self, now: SystemTime) {
        let second = now.duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs());
        if second.is_none() || second != self.second {
            let local = chrono::DateTime::<chrono::Local>::from(now);
            self.console = local.format("%a %b %e %H:%M:%S %Y").to_string();
            self.syslog = local.format("%b %e %H:%M:%S").to_string();
            self.second = second;
        }
    }
}

impl Writer {
    fn run(mut self, lines: &Receiver<Entry>) {
        for entry in lines {
            match entry {
                Entry::Line { severity, text } => {
                    WAITING.fetch_sub(1, Ordering::Relaxed);
                    self.write(severity, &text);
                }
                Entry::Flush(done) => {
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                }
            }
            let dropped = DROPPED.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                self.write(4, &format!("{dropped} log lines were dropped: the log is slower than the lines come"));
            }
        }
    }

    fn write(&mut self, severity: u8, text: &str) {
        self.stamp.follow(SystemTime::now());
        if self.options.console {
            let line = format!("{}: {text}\n", self.stamp.console);
            // A closed terminal is no reason to stop.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        if self.options.syslog {
            let priority = u16::from(self.options.facility) * 8 + u16::from(severity);
            let (stamp, pid) = (&self.stamp.syslog, std::process::id());
            self.send(format!("<{priority}>{stamp} {}[{pid}]: {text}", self.ident).as_bytes());
        }
    }

    /// To the syslog socket, connecting anew when the daemon behind it was restarted.
    fn send(&mut self, line: &[u8]) {
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket =
                    UnixDatagram::unbound().and_then(|socket| socket.connect("/dev/log").map(|()| socket)).ok();
            }
            match self.socket.as_ref().map(|socket| socket.send(line)) {
                Some(Ok(_)) | None => return,
                Some(Err(_)) => self.socket = None,
            }
        }
    }
}

/// The ident of keepalived's process of this role (`behaviour.md` §1.5).
pub(crate) fn ident(role: Option<crate::ipc::Role>) -> &'static str {
    use crate::ipc::Role;
    match role {
        Some(Role::Vrrp | Role::Cleanup) => "Keepalived_vrrp",
        Some(Role::Checker) => "Keepalived_healthcheckers",
        Some(Role::Runner) => "Keepalived_runner",
        Some(Role::Reader) | None => "Keepalived",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_second_share_their_time() {
        let at = |milliseconds: u64| UNIX_EPOCH + Duration::from_millis(1_600_000_000_000 + milliseconds);
        let mut stamp = Stamp::default();
        let mut shown = |milliseconds| {
            stamp.follow(at(milliseconds));
            (stamp.console.clone(), stamp.syslog.clone())
        };
        let first = shown(0);
        assert_eq!(shown(999), first);
        let second = shown(1000);
        assert!(second.0 != first.0 && second.1 != first.1, "{second:?}");
        // A clock that was set back.
        assert_eq!(shown(0), first);
        assert!(first.0.contains(" 2020") && first.0.contains(&first.1), "{first:?}");
    }
}
