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
         capability (CapabilityBoundingSet= of a systemd unit, --cap-add of a container)"
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
