//! How a worker's process is scheduled and kept in memory (`behaviour.md` §3.14). Never a reason to stop: what the
//! kernel refuses is said, and the process runs as before.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use rustix::process::{Pid, Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit, setsid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::lateness::{Lateness, Verdict};
use crate::compat;
use crate::config::process::ProcessPart;
use crate::os;

/// The thread that writes the log is never scheduled in real time: it may wait for a disk.
const LOG_THREAD: &str = "log";

/// The number of the user namespace that the kernel begins with (`PROC_USER_INIT_INO`): only there are rights over memory.
const FIRST_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Nice value of a process that has times to keep, where no file names one. The log is written at [`ORDINARY`].
const PREFERRED: i32 = -20;
const ORDINARY: i32 = 0;

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Scheduling {
    applied: ProcessPart,
    /// The nice value where no file names one.
    usual: i32,
    /// Why that is not the preferred one, until it is said.
    refusal: Option<io::Error>,
    session: Option<Session>,
    /// The CPUs that the process might use before it was told of any.
    any_cpu: Option<CpuSet>,
    watches_limit: bool,
}

impl Scheduling {
    /// The calling process comes before others from now on, unless it was started with a nice value of its own. Call it
    /// while the process has every right that the daemon has, and before it starts a thread.
    pub(crate) fn preferred() -> Self {
        let mut preferred = Self {
            usual: getpriority_process(None).unwrap_or(ORDINARY),
            session: Session::new().ok(),
            ..Self::default()
        };
        if preferred.usual == ORDINARY {
            match setpriority_process(None, PREFERRED) {
                Ok(()) => preferred.usual = PREFERRED,
                Err(error) => preferred.refusal = Some(error.into()),
            }
        }
        // A new session is an ordinary one.
        if let Some(session) = preferred.session.as_ref().filter(|_| preferred.usual != ORDINARY) {
            session.set_nice(preferred.usual);
        }
        preferred
    }

    /// Follows a configuration, in every thread that there is; what did not change is not touched. May wait inside the
    /// kernel, and for a disk.
    pub(crate) fn apply(&mut self, part: &ProcessPart) {
        let before = std::mem::replace(&mut self.applied, part.clone());
        if part.cpus != before.cpus {
            self.set_cpus(&part.cpus);
        }
        self.set_nice(part.nice, before.nice);
        if part.may_be_real_time() {
            self.watch_limit();
            limit_real_time(part.real_time_limit);
        }
        // The priority may have been raised since.
        if part.real_time != before.real_time || part.lateness.highest > 0 || before.lateness.highest > 0 {
            set_real_time(part.real_time);
        }
        if part.no_swap && !before.no_swap {
            lock_memory();
        } else if before.no_swap && !part.no_swap {
            // It cannot be refused.
            let _ = munlockall();
        }
    }

    fn set_nice(&mut self, wanted: Option<i8>, before: Option<i8>) {
        let nice = wanted.map_or(self.usual, i32::from);
        if wanted != before {
            for_each_thread("the priority", |thread, name| {
                let ordinary = wanted.is_none() && name == LOG_THREAD;
                Ok(setpriority_process(Some(thread), if ordinary { nice.max(ORDINARY) } else { nice })?)
            });
        }
        if let Some(session) = &self.session {
            session.set_nice_soon(nice);
        }
        if let Some(error) = self.refusal.take().filter(|_| wanted.is_none()) {
            tracing::info!(
                "The VRRP process has no more than the usual priority: {error}; give it CAP_SYS_NICE, outside of user \
                 namespaces, or raise RLIMIT_NICE (LimitNICE=-20)"
            );
        }
    }

    fn set_cpus(&mut self, cpus: &[u32]) {
        if self.any_cpu.is_none() {
            self.any_cpu = sched_getaffinity(None).ok();
        }
        let mut set = CpuSet::new();
        for cpu in cpus {
            if let Ok(cpu) = usize::try_from(*cpu)
                && cpu < CpuSet::MAX_CPU
            {
                set.set(cpu);
            }
        }
        let set = if cpus.is_empty() { self.any_cpu.unwrap_or(set) } else { set };
        for_each_thread("the CPUs", |thread, _| Ok(sched_setaffinity(Some(thread), &set)?));
    }

    /// SIGXCPU, which would end the process, is said instead: by a thread of its own, as the one that it is about has
    /// no time to spare.
    fn watch_limit(&mut self) {
        if self.watches_limit {
            return;
        }
        let watch = || -> io::Result<()> {
            let (mut read, write) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(libc::SIGXCPU, write)?;
            std::thread::Builder::new().name("limit".into()).stack_size(64 << 10).spawn(move || {
                while matches!(read.read(&mut [0; 64]), Ok(1..)) {
                    tracing::warn!(
                        "SIGXCPU: real-time scheduling took more CPU time without a pause than the rlimit_rttime of \
                         this process allows; raise it or lower the load"
                    );
                }
            })?;
            Ok(())
        };
        match watch() {
            Ok(()) => self.watches_limit = true,
            Err(error) => tracing::error!("SIGXCPU is not handled: {error}"),
        }
    }
}

/// The log of a process that is preferred is not: call it in its thread.
pub(crate) fn write_log_as_usual() {
    if getpriority_process(None) == Ok(PREFERRED) {
        // More of it is never refused.
        let _ = setpriority_process(None, ORDINARY);
    }
}

/// A session of the process's own. Where the kernel groups processes by session, their nice values count within that
/// only, and the session has one that counts among sessions (`sched(7)`, "The autogroup feature").
#[derive(Debug)]
struct Session {
    autogroup: Arc<File>,
    /// The one that it has, or will have soon.
    nice: Arc<AtomicI32>,
}

impl Session {
    /// So long the kernel may refuse another nice value, of which it takes ten a second from all sessions without
    /// `CAP_SYS_ADMIN`.
    const PATIENCE: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(20);

    /// # Errors
    /// Where the kernel does not group processes like this.
    fn new() -> io::Result<Self> {
        let autogroup = Arc::new(File::options().write(true).open("/proc/self/autogroup")?);
        setsid()?;
        Ok(Self { autogroup, nice: Arc::new(AtomicI32::new(ORDINARY)) })
    }

    /// Tries it once.
    fn set_nice(&self, nice: i32) {
        if write_nice(&self.autogroup, nice).is_ok() {
            self.nice.store(nice, Ordering::Relaxed);
        }
    }

    /// Tries it until the kernel takes it, in a thread of its own, if it is another one.
    fn set_nice_soon(&self, nice: i32) {
        if self.nice.swap(nice, Ordering::Relaxed) == nice {
            return;
        }
        let (autogroup, nice) = (Arc::clone(&self.autogroup), Arc::clone(&self.nice));
        let set = move || {
            let end = Instant::now() + Self::PATIENCE;
            while let Err(error) = write_nice(&autogroup, nice.load(Ordering::Relaxed)) {
                if error.kind() != io::ErrorKind::WouldBlock || Instant::now() > end {
                    return tracing::error!("setting the priority of this session: {error}{}", hint(&error));
                }
                std::thread::sleep(Self::PAUSE);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("priority".into()).stack_size(64 << 10).spawn(set) {
            tracing::error!("setting the priority of this session: {error}");
        }
    }
}

fn write_nice(mut autogroup: &File, nice: i32) -> io::Result<()> {
    autogroup.write_all(nice.to_string().as_bytes())
}

/// The name of every process that no configuration names.
const PROCESS_NAME: &str = "keepalived";

/// Names the process; call it in its first thread. Cut at 15 octets.
pub(crate) fn set_name(name: Option<&str>) {
    if let Ok(name) = CString::new(name.unwrap_or(PROCESS_NAME))
        && let Err(error) = rustix::thread::set_name(&name)
    {
        tracing::error!("naming the process: {error}");
    }
}

/// A timer of the calling thread has fired so late: says so and raises the thread's priority, as configured.
pub(crate) fn note_lateness(lateness: &mut Lateness, late: Duration) {
    let Verdict { warn, raise } = lateness.note(late);
    if warn {
        tracing::warn!("A thread timer expired {} seconds ago", compat::seconds(late));
    }
    let Some(priority) = raise else { return };
    match os::schedule_round_robin(0, priority) {
        Ok(()) => tracing::info!("Set realtime priority {priority}"),
        Err(error) => {
            tracing::error!("setting realtime priority {priority}: {error}{}", hint(&error));
            lateness.give_up_raising();
        }
    }
}

/// The soft limit only: at the hard one the kernel kills.
fn limit_real_time(limit: Duration) {
    let hard = getrlimit(Resource::Rttime).maximum;
    let wanted = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    let soft = hard.map_or(wanted, |hard| hard.min(wanted));
    if let Err(error) = setrlimit(Resource::Rttime, Rlimit { current: Some(soft), maximum: hard }) {
        tracing::error!("limiting real-time CPU time to {wanted} us: {error}");
    }
}

fn set_real_time(priority: Option<u8>) {
    for_each_thread("real-time scheduling", |thread, name| {
        let thread = thread.as_raw_nonzero().get();
        match priority {
            Some(priority) if name != LOG_THREAD => os::schedule_round_robin(thread, priority),
            _ => os::schedule_normally(thread),
        }
    });
}

/// Calls `set` for each thread with its name; says the first refusal.
fn for_each_thread(what: &str, set: impl Fn(Pid, &str) -> io::Result<()>) {
    let each = || -> io::Result<()> {
        let mut result = Ok(());
        for entry in std::fs::read_dir("/proc/self/task")? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(thread) = number.and_then(Pid::from_raw) else { continue };
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            match set(thread, name.trim_end()) {
                // It has ended meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                refused => result = result.and(refused),
            }
        }
        result
    };
    if let Err(error) = each() {
        tracing::error!("setting {what} of this process: {error}{}", hint(&error));
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            " (CAP_SYS_NICE is needed; a process that gave it up, as no file asked for it when the process began, has it \
             again after a restart of the daemon)"
        }
        Some(libc::EINVAL) => " (is there such a CPU?)",
        _ => "",
    }
}

/// All pages are brought into memory and locked. Those of later mappings are locked once they are used, where the process
/// may lock any number of them: elsewhere allocating memory would fail at the limit.
fn lock_memory() {
    let now = MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT;
    let flags = if may_lock_everything() { now | MlockAllFlags::FUTURE } else { now };
    match mlockall(MlockAllFlags::CURRENT).and_then(|()| mlockall(flags)) {
        Ok(()) if flags.contains(MlockAllFlags::FUTURE) => {}
        Ok(()) => tracing::info!("Memory that is allocated later is not locked: RLIMIT_MEMLOCK is finite"),
        Err(error) => tracing::error!(
            "Unable to lock process in memory: {error}; give it CAP_IPC_LOCK or raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity)"
        ),
    }
}

fn may_lock_everything() -> bool {
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let capable = caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_IPC_LOCK).unwrap_or(false);
    // In another user namespace the capability is there and means nothing.
    let namespace = std::fs::metadata("/proc/self/ns/user").map(|namespace| namespace.ino());
    unlimited || capable && namespace.is_ok_and(|number| number == FIRST_USER_NAMESPACE)
}

/// All of the program of a process that waits to be needed is brought into memory, and stays there until the value is
/// dropped, with all else that it uses, as far as it may lock any. So does the program of its relatives, whose pages these
/// are too.
#[derive(Debug)]
pub(crate) struct LockedMeanwhile;

impl LockedMeanwhile {
    /// From now on.
    pub(crate) fn begin() -> Self {
        // The supervisor says it where there is no right to do it.
        if mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT).is_ok() && os::populate_program().is_err() {
            // An old kernel has only this: whole mappings, whatever is in them.
            let _ = mlockall(MlockAllFlags::CURRENT);
        }
        Self
    }
}

impl Drop for LockedMeanwhile {
    fn drop(&mut self) {
        // It cannot be refused.
        let _ = munlockall();
    }
}

/// Keeps in memory what this process uses, of its image and its libraries too, now and later: pages that nobody uses would
/// more than double what the daemon needs. Call it before there is more than one thread, and while `CAP_IPC_LOCK` is in
/// effect.
///
/// # Errors
/// What the kernel refused, and where the right may come from.
pub(crate) fn lock_supervisor() -> Result<(), String> {
    let lock = || {
        anyhow::ensure!(may_lock_everything(), "this process may not");
        Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?)
    };
    lock().map_err(|error| {
        format!(
            "The supervisor is not locked in memory: {error}; give it CAP_IPC_LOCK, outside of user namespaces, or raise \
             RLIMIT_MEMLOCK (LimitMEMLOCK=infinity)"
        )
    })
}
