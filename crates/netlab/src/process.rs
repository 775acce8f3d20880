//! Programs under test: started in a host, listened to, frozen and killed with everything they started.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::errno::Errno;
use nix::libc::O_PATH;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::LabError;
use crate::isolation::{ROLE, SYSLOG_SOCKET, bind, mount_overlay, mount_tmpfs};
use crate::netns::{NetNs, on_own_thread};

/// How long [`Process::kill_all`] and the end of a [`Process`] wait for killed processes to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(5);
/// How often conditions that the kernel does not report are looked at.
const POLL: Duration = Duration::from_millis(2);

/// What to start and how its file system differs from the host's.
#[derive(Debug)]
pub struct Program {
    command: Command,
    binds: Vec<(PathBuf, PathBuf)>,
    files: Vec<(PathBuf, String)>,
}

impl Program {
    /// `program` with a fresh /run and nothing else changed.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Command::new(program).into()
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The file or directory `source` appears as `target`, for this program only.
    #[must_use]
    pub fn bind(mut self, source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.binds.push((source.into(), target.into()));
        self
    }

    /// A file that only this program sees, for instance its configuration.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push((path.into(), text.into()));
        self
    }

    /// Starts it in `namespace`.
    pub(crate) fn spawn(mut self, namespace: &NetNs) -> Result<Process, LabError> {
        let name = self.command.get_program().to_string_lossy().into_owned();
        let (reader, writer) = io::pipe().map_err(LabError::of("making a pipe"))?;
        let errors = writer.try_clone().map_err(LabError::of("making a pipe"))?;
        self.command.stdin(Stdio::null()).stdout(writer).stderr(errors).env_remove(ROLE);
        let (child, mounts, syslog) = on_own_thread(|| -> Result<_, LabError> {
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(LabError::of("entering the host"))?;
            let mounts = self.make_mounts().map_err(LabError::of(format!("file system of {name}")))?;
            let syslog = listen_to_syslog().map_err(LabError::of("making /dev/log"))?;
            let child = self.command.spawn().map_err(LabError::of(format!("starting {name}")))?;
            Ok((child, mounts, syslog))
        })?;
        // The command holds the writing ends of the pipe: they go, so that the end of the output can be seen.
        drop(self.command);
        let process = Process { name, child: Mutex::new(child), mounts, output: Output::default(), syslog };
        process.output.read_lines(reader);
        process.output.read_datagrams(process.syslog.try_clone().map_err(LabError::of("listening to /dev/log"))?);
        Ok(process)
    }

    /// A mount namespace for the current thread and what it starts; it identifies the processes later.
    fn make_mounts(&self) -> io::Result<Mounts> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        // Opened first: they may be below the /run that is about to be covered.
        let sources: Vec<_> = self.binds.iter().map(|(source, _)| open(source)).collect::<Result<_, _>>()?;
        mount_tmpfs("/run")?;
        let mut layers = Layers::default();
        for (source, (_, target)) in sources.iter().zip(&self.binds) {
            layers.bind(source, target).map_err(|error| at(target, error))?;
        }
        for (path, text) in &self.files {
            layers.write(path, text).map_err(|error| at(path, error))?;
        }
        let held = File::open("/proc/thread-self/ns/mnt")?;
        Ok(Mounts { number: held.metadata()?.ino(), _held: held })
    }
}

/// A mount namespace. Held open: the kernel gives the number of one that is gone to the next, and whoever then kills
/// what was started in the first kills what runs in the second.
#[derive(Debug)]
struct Mounts {
    number: u64,
    _held: File,
}

/// A file or directory to mount, not to read.
fn open(path: &Path) -> io::Result<File> {
    let opened = File::options().read(true).custom_flags(O_PATH).open(path);
    opened.map_err(|error| at(path, error))
}

/// Directories that were made writable for one program: what is written there lies on its /run.
#[derive(Debug, Default)]
struct Layers(Vec<PathBuf>);

impl Layers {
    fn bind(&mut self, source: &File, target: &Path) -> io::Result<()> {
        if !target.exists() && source.metadata()?.is_dir() {
            self.make_parent(target)?;
            fs::create_dir(target)?;
        } else if !target.exists() {
            self.write(target, "")?;
        }
        Ok(bind(&PathBuf::from(format!("/proc/thread-self/fd/{}", source.as_raw_fd())), target)?)
    }

    fn write(&mut self, path: &Path, text: &str) -> io::Result<()> {
        self.make_parent(path)?;
        // Another user's file can be replaced here, but not written to.
        if path.exists() {
            fs::remove_file(path)?;
        }
        fs::write(path, text)
    }

    /// Makes the directory of `path`, and the nearest one that exists writable without any trace outside.
    fn make_parent(&mut self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Err(Errno::EISDIR.into()) };
        let existing = parent.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(parent);
        if !existing.starts_with("/run") && !self.0.iter().any(|ours| ours == existing) {
            mount_overlay(existing, &format!("/run/.netlab/{}", self.0.len()))?;
            self.0.push(existing.to_owned());
        }
        fs::create_dir_all(parent)?;
        self.0.push(parent.to_owned());
        Ok(())
    }
}

fn listen_to_syslog() -> io::Result<UnixDatagram> {
    if let Some(directory) = Path::new(SYSLOG_SOCKET).parent() {
        fs::create_dir_all(directory)?;
    }
    UnixDatagram::bind(SYSLOG_SOCKET)
}

impl From<Command> for Program {
    fn from(command: Command) -> Self {
        Self { command, binds: Vec::new(), files: Vec::new() }
    }
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Where a line of a program came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Its standard output or standard error.
    Output,
    /// Its messages to /dev/log, with the `<priority>` in front.
    Syslog,
}

/// One line that a program wrote.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read (CLOCK_MONOTONIC).
    pub at: Instant,
    /// Where it was written to.
    pub source: Source,
    /// Without the line's end.
    pub text: String,
}

/// The lines of one program, filled by threads that end with the program.
#[derive(Debug, Clone, Default)]
struct Output {
    shared: Arc<(Mutex<Vec<Line>>, Condvar)>,
}

impl Output {
    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, source: Source, text: &[u8]) {
        let text = String::from_utf8_lossy(text).trim_end().to_owned();
        self.lines().push(Line { at: Instant::now(), source, text });
        self.shared.1.notify_all();
    }

    fn read_lines(&self, pipe: io::PipeReader) {
        let output = self.clone();
        thread::spawn(move || {
            let (mut reader, mut line) = (BufReader::new(pipe), Vec::new());
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                output.push(Source::Output, &line);
                line.clear();
            }
        });
    }

    /// The thread ends when the socket is shut down, which [`Process`] does at its end.
    fn read_datagrams(&self, socket: UnixDatagram) {
        let output = self.clone();
        thread::spawn(move || {
            let mut message = vec![0; 65536];
            while let Ok(length @ 1..) = socket.recv(&mut message) {
                output.push(Source::Syslog, message.get(..length).unwrap_or_default());
            }
        });
    }
}

/// A place in a program's output: lines written so far are before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

/// One process of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// As the laboratory numbers processes: for `kill`, and equal to what the program's pid files say.
    pub pid: Pid,
    /// Likewise; `None` if it lies outside the laboratory.
    pub parent: Option<Pid>,
    /// The kernel's name for it, at most 15 characters.
    pub name: String,
    stopped: bool,
}

/// A started program with everything that it started itself. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    mounts: Mounts,
    output: Output,
    syslog: UnixDatagram,
}

impl Process {
    /// The pid of the process that was started (a daemon that put itself into the background has left it by now).
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child().id().cast_signed())
    }

    /// Everything written so far.
    pub fn lines(&self) -> Vec<Line> {
        self.output.lines().clone()
    }

    /// Where the output ends now, for [`Process::wait_for_line_after`].
    pub fn mark(&self) -> Mark {
        Mark(self.output.lines().len())
    }

    /// Waits until a line contains `text`; one that is there already counts.
    ///
    /// # Errors
    /// After `timeout`, with the last lines.
    pub fn wait_for_line(&self, text: &str, timeout: Duration) -> Result<Line, LabError> {
        self.wait_for_line_after(Mark(0), text, timeout)
    }

    /// Waits until a line after `mark` contains `text`.
    ///
    /// # Errors
    /// After `timeout`, with the last lines.
    pub fn wait_for_line_after(&self, mark: Mark, text: &str, timeout: Duration) -> Result<Line, LabError> {
        let deadline = Instant::now() + timeout;
        let mut lines = self.output.lines();
        let mut seen = mark.0;
        loop {
            if let Some(line) = lines.iter().skip(seen).find(|line| line.text.contains(text)) {
                return Ok(line.clone());
            }
            seen = lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let tail: Vec<_> =
                    lines.iter().rev().take(20).rev().map(|line| format!("\n    {}", line.text)).collect();
                let what = format!("nothing after {timeout:?}; its last lines:{}", tail.concat());
                let source = io::Error::new(io::ErrorKind::TimedOut, what);
                return Err(LabError { operation: format!("waiting for {text:?} from {}", self.name), source });
            }
            let changed = &self.output.shared.1;
            lines = changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end of the process that was started.
    ///
    /// # Errors
    /// After `timeout`.
    pub fn wait_for_exit(&self, timeout: Duration) -> Result<ExitStatus, LabError> {
        let failed = |what: &str| format!("waiting for {what} of {}", self.name);
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child().try_wait().map_err(LabError::of(failed("the status")))? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(LabError::of(failed("the end"))(Errno::ETIMEDOUT));
            }
            thread::sleep(POLL);
        }
    }

    /// Sends `signal` to the process that was started.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let mut child = self.child();
        let gone = child.try_wait().is_ok_and(|status| status.is_some());
        let sent = if gone { Err(Errno::ESRCH) } else { kill(Pid::from_raw(child.id().cast_signed()), signal) };
        sent.map_err(LabError::of(format!("sending {signal} to {}", self.name)))
    }

    /// Its living processes: what shares the file system it was given, and all their descendants.
    ///
    /// # Errors
    /// Without a readable /proc.
    pub fn processes(&self) -> Result<Vec<ProcessInfo>, LabError> {
        let failed = || LabError::of(format!("listing the processes of {}", self.name));
        let all = ProcEntry::all().map_err(failed())?;
        let mut members: HashSet<i32> =
            all.iter().filter(|entry| entry.mounts == Some(self.mounts.number)).map(|entry| entry.number).collect();
        loop {
            let size = members.len();
            members.extend(
                all.iter()
                    .filter(|entry| members.contains(&entry.parent))
                    .map(|entry| entry.number)
                    .collect::<Vec<_>>(),
            );
            if members.len() == size {
                break;
            }
        }
        let pid_of = |number| all.iter().find(|entry| entry.number == number).map(|entry| entry.pid);
        let members = all.iter().filter(|entry| members.contains(&entry.number)).map(|entry| ProcessInfo {
            pid: entry.pid,
            parent: pid_of(entry.parent),
            name: entry.name.clone(),
            stopped: entry.stopped,
        });
        Ok(members.collect())
    }

    /// Stops all its processes where they are (SIGSTOP), and returns when none of them runs any more.
    ///
    /// # Errors
    /// If that takes longer than 5 s.
    pub fn freeze_all(&self) -> Result<(), LabError> {
        self.signal_until("freezing", Signal::SIGSTOP, |process| process.stopped)
    }

    /// Lets frozen processes go on (SIGCONT).
    ///
    /// # Errors
    /// Without a readable /proc.
    pub fn thaw_all(&self) -> Result<(), LabError> {
        for process in self.processes()? {
            let _ = kill(process.pid, Signal::SIGCONT);
        }
        Ok(())
    }

    /// A sudden death: freezes all its processes, so that none sees another one die, then kills them all (SIGKILL) and
    /// returns when they are gone.
    ///
    /// # Errors
    /// If that takes longer than 5 s.
    pub fn kill_all(&self) -> Result<(), LabError> {
        self.freeze_all()?;
        let victims: HashSet<Pid> = self.processes()?.iter().map(|process| process.pid).collect();
        self.signal_until("killing", Signal::SIGKILL, |_| false)?;
        // One that is ending loses its file system, by which it was found, before its sockets.
        let deadline = Instant::now() + KILL_DEADLINE;
        let failed = || format!("waiting for the end of all processes of {}", self.name);
        while ProcEntry::all().map_err(LabError::of(failed()))?.iter().any(|entry| victims.contains(&entry.pid)) {
            if Instant::now() > deadline {
                return Err(LabError::of(failed())(Errno::ETIMEDOUT));
            }
            thread::sleep(POLL);
        }
        self.wait_for_exit(KILL_DEADLINE).map(drop)
    }

    /// Sends `signal` to every process that is not yet as wanted, until all are.
    fn signal_until(&self, verb: &str, signal: Signal, wanted: impl Fn(&ProcessInfo) -> bool) -> Result<(), LabError> {
        let deadline = Instant::now() + KILL_DEADLINE;
        loop {
            let others: Vec<_> = self.processes()?.into_iter().filter(|process| !wanted(process)).collect();
            if others.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(LabError::of(format!("{verb} {}: {others:?}", self.name))(Errno::ETIMEDOUT));
            }
            for process in others {
                let _ = kill(process.pid, signal);
            }
            thread::yield_now();
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill_all() {
            eprintln!("netlab: {error}");
        }
        let _ = self.syslog.shutdown(Shutdown::Both);
    }
}

/// SIGSTOP in the sets of signals that /proc shows.
const SIGSTOP_BIT: u64 = 1 << (Signal::SIGSTOP as u64 - 1);

/// One living process in /proc, which may number processes as an outer pid namespace does.
struct ProcEntry {
    number: i32,
    parent: i32,
    pid: Pid,
    name: String,
    /// Runs no instruction of its own any more, though it may still be inside the kernel.
    stopped: bool,
    mounts: Option<u64>,
}

impl ProcEntry {
    fn all() -> io::Result<Vec<Self>> {
        let numbers = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(numbers.filter_map(Self::read).collect())
    }

    /// `None` for what has ended.
    fn read(number: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{number}/status")).ok()?;
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let state = field("State:")?.chars().next()?;
        // A shell that waits inside vfork for a child that was stopped first stops when it leaves the kernel, no sooner.
        let stop_pending = u64::from_str_radix(field("ShdPnd:")?, 16).ok()? & SIGSTOP_BIT != 0;
        let entry = Self {
            number,
            parent: field("PPid:")?.parse().ok()?,
            pid: Pid::from_raw(field("NSpid:")?.split_whitespace().last()?.parse().ok()?),
            name: field("Name:")?.to_owned(),
            stopped: state == 'T' || (state == 'D' && stop_pending),
            mounts: fs::metadata(format!("/proc/{number}/ns/mnt")).ok().map(|file| file.ino()),
        };
        (!"ZX".contains(state)).then_some(entry)
    }
}
