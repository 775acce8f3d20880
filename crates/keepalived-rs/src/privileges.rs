//! What each process may still do (`design.md` §3): everything that its work does not need is given up before it
//! reads a byte from the network.

use std::os::fd::AsFd;
use std::sync::Arc;

use caps::{CapSet, Capability, CapsHashSet};
use serde::{Deserialize, Serialize};

use crate::ipc::{Channel, Report, Role};
use files::Files;

pub(crate) mod calls;
mod files;

/// What a configuration asks of a process beyond its work. A process has it from its start or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Extras {
    /// It is scheduled in another way than usual, or may be: `*_priority`, `*_rt_priority`, `max_auto_priority`.
    pub(crate) scheduling: bool,
    /// It stays in memory: `*_no_swap`.
    pub(crate) locking: bool,
}

impl Extras {
    /// What one of them, or both, ask for.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { scheduling: self.scheduling || other.scheduling, locking: self.locking || other.locking }
    }
}

/// The capabilities that a role keeps; `None` for those that keep all (scripts need them).
fn kept(role: Role, extras: Extras) -> Option<Vec<Capability>> {
    let mut kept = match role {
        Role::Runner => return None,
        Role::Reader => return Some(vec![Capability::CAP_DAC_READ_SEARCH]),
        Role::Cleanup => return Some(vec![Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]),
        // `bind_port` may be a privileged one.
        Role::Checker => vec![Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_NET_BIND_SERVICE],
        Role::Vrrp => vec![Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_IPC_LOCK],
    };
    kept.extend(extras.locking.then_some(Capability::CAP_IPC_LOCK));
    kept.extend(extras.scheduling.then_some(Capability::CAP_SYS_NICE));
    Some(kept)
}

/// Exit status of a process that may not do its work (`behaviour.md` §1.2).
pub(crate) const EXIT_NO_PERMISSION: u8 = 4;

/// What the work of a role cannot do without, and for what.
const fn needed(role: Role) -> &'static [(Capability, &'static str)] {
    match role {
        Role::Vrrp | Role::Cleanup => &[
            (Capability::CAP_NET_ADMIN, "changes addresses, routes and rules"),
            (Capability::CAP_NET_RAW, "sends and receives adverts"),
        ],
        _ => &[],
    }
}

/// Whether this process has the capabilities that `role` cannot do without.
///
/// # Errors
/// The first one that it lacks, and where it may come from.
pub(crate) fn check(role: Role) -> anyhow::Result<()> {
    let effective = caps::read(None, CapSet::Effective)?;
    let missing = needed(role).iter().find(|(capability, _)| !effective.contains(capability));
    let Some((capability, purpose)) = missing else { return Ok(()) };
    anyhow::bail!(
        "without {capability}, with which this process {purpose}, it cannot work: start the daemon as root with that \
         capability (CapabilityBoundingSet= of a systemd unit, --cap-add of a container), or as a user to whom it is \
         given (AmbientCapabilities= of a systemd unit)"
    )
}

/// Whether the kernel said that something is not permitted, though the capabilities are there.
pub(crate) fn is_denied(error: &anyhow::Error) -> bool {
    const EPERM: i32 = nix::libc::EPERM;
    error.chain().any(|cause| {
        let by_host = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        let by_netlink = cause.downcast_ref::<vip_netlink::Error>().and_then(|error| error.io().raw_os_error());
        let by_call = cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error());
        [by_host, by_netlink, by_call].contains(&Some(EPERM))
    })
}

/// Gives up what `role` with these `extras` does not need. Call before the process starts a thread: capabilities are per thread.
///
/// # Errors
/// When the kernel refuses, which would leave the process with more than it should have.
pub(crate) fn drop_to(role: Role, extras: Extras) -> anyhow::Result<()> {
    // They are for those who are not root, and would go on to their scripts.
    let _ = caps::clear(None, CapSet::Ambient);
    let Some(kept) = kept(role, extras) else { return Ok(()) };
    let permitted = caps::read(None, CapSet::Permitted)?;
    let keep: CapsHashSet = kept.into_iter().filter(|cap| permitted.contains(cap)).collect();
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for cap in caps::read(None, CapSet::Bounding)?.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *cap)?;
        }
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &keep)?;
    caps::set(None, CapSet::Permitted, &keep)?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Puts into effect again, in the calling thread, what [`drop_to_supervisor`] put out of effect.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn raise() -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    caps::set(None, CapSet::Effective, &permitted)?;
    Ok(())
}

/// Puts out of effect, in the calling thread, what the supervisor does not need. All of it stays permitted, for the
/// processes that it executes: where `no_new_privs` is set from outside, or under a tracer, these get no more.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn drop_to_supervisor() -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    // Its files may lie in a folder of another user, and memory that it takes later is locked too.
    let needed = [Capability::CAP_DAC_OVERRIDE, Capability::CAP_IPC_LOCK];
    let keep = permitted.intersection(&needed.into()).copied().collect();
    caps::set(None, CapSet::Effective, &keep)?;
    Ok(())
}

/// What keeps a process from more than capabilities do. Hold it as long as the process runs.
#[derive(Default)]
pub(crate) struct Confinement {
    files: Option<Arc<Files>>,
    remarks: Vec<String>,
}

/// Takes the right to start programs and processes from the VRRP process, in this thread and in those that it starts,
/// and tells the supervisor; prepares to take files from it. The other processes are let be. What the kernel
/// cannot do is no reason to stop, and is [said](Confinement::say).
pub(crate) fn confine(role: Role, supervisor: &Channel) -> Confinement {
    let mut confinement = Confinement::default();
    if role == Role::Vrrp {
        confinement.remarks.extend(refuse_calls(supervisor).err());
        match Files::new() {
            Ok(files) => confinement.files = Some(Arc::new(files)),
            Err(error) => confinement.remarks.push(format!("{STILL_FILES}: {error:#}")),
        }
    }
    confinement
}

const STILL_FILES: &str = "This process may still open files, as far as its user may";

fn refuse_calls(supervisor: &Channel) -> Result<(), String> {
    let listener = calls::refuse()
        .map_err(|error| format!("This process may still start others, which it never does: no seccomp: {error}"))?;
    let told = listener.and_then(|listener| supervisor.send(&Report::Calls, &[listener.as_fd()]));
    told.map_err(|error| format!("Were this process to start others, it would be refused but not counted: {error}"))
}

impl Confinement {
    /// Takes the files from the calling thread, and from those that it starts.
    pub(crate) fn close_files(&mut self) {
        if let Some(files) = &self.files {
            match files.restrict_thread() {
                Ok(true) => {}
                Ok(false) => self.remarks.push(format!("{STILL_FILES}: this kernel has no Landlock")),
                Err(error) => self.remarks.push(format!("{STILL_FILES}: {error:#}")),
            }
        }
    }

    /// The same for a thread that was started before, which calls it.
    pub(crate) fn of_thread(&self) -> impl FnOnce() + Send + 'static {
        let files = self.files.clone();
        move || {
            // What it says is what the first thread is told too.
            let _ = files.map(|files| files.restrict_thread());
        }
    }

    /// Logs what could not be done.
    pub(crate) fn say(&self) {
        for remark in &self.remarks {
            tracing::warn!("{remark}");
        }
    }
}
