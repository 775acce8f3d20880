//! What each process may still do (`design.md` §3): everything that its work does not need is given up before it
//! reads a byte from the network.

use caps::{CapSet, Capability, CapsHashSet};

use crate::ipc::Role;

/// The capabilities that a role keeps; `None` for those that keep all (scripts need them).
fn kept(role: Role) -> Option<&'static [Capability]> {
    match role {
        Role::Runner => None,
        Role::Reader => Some(&[Capability::CAP_DAC_READ_SEARCH]),
        // `bind_port` may be a privileged one; `checker_rt_priority` and `checker_no_swap` need the last two.
        Role::Checker => Some(&[
            Capability::CAP_NET_ADMIN,
            Capability::CAP_NET_RAW,
            Capability::CAP_NET_BIND_SERVICE,
            Capability::CAP_IPC_LOCK,
            Capability::CAP_SYS_NICE,
        ]),
        Role::Cleanup => Some(&[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW]),
        Role::Vrrp => Some(&[
            Capability::CAP_NET_ADMIN,
            Capability::CAP_NET_RAW,
            Capability::CAP_IPC_LOCK,
            Capability::CAP_SYS_NICE,
        ]),
    }
}

/// Gives up what `role` does not need. Call before the process starts a thread: capabilities are per thread.
///
/// # Errors
/// When the kernel refuses, which would leave the process with more than it should have.
pub(crate) fn drop_to(role: Role) -> anyhow::Result<()> {
    let Some(kept) = kept(role) else { return Ok(()) };
    let permitted = caps::read(None, CapSet::Permitted)?;
    let keep: CapsHashSet = kept.iter().copied().filter(|cap| permitted.contains(cap)).collect();
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for cap in caps::read(None, CapSet::Bounding)?.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *cap)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &keep)?;
    caps::set(None, CapSet::Permitted, &keep)?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
