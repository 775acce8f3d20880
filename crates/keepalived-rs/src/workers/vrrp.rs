//! The vrrp worker: the process that owns adverts and addresses (`design.md` §3).
//!
//! Two threads. The [advert thread](advert) receives and sends adverts and runs the engine; it never waits. The
//! [kernel thread](kernel) does everything that may wait inside the kernel: links, addresses, group joins,
//! announcements.

mod advert;
mod announcer;
mod bursts;
mod cleanup;
pub(crate) mod clock;
mod counters;
mod debounce;
pub(crate) mod facts;
mod filter;
pub(crate) mod firewall;
mod holdings;
mod kernel;
mod linkbeat;
mod losses;
mod mailbox;
mod notifier;
mod packet;
mod processors;
mod roster;
mod sockets;
mod sysctl;
mod trackers;
mod view;
mod vigil;
mod vmac;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use nix::libc;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::ipc::{Channel, Common};
use crate::os;
use crate::workers::scheduling::{LockedMeanwhile, Scheduling};

pub(crate) use cleanup::cleanup;

/// Signals that mean something to the supervisor alone, though they often reach every process at once.
const SIGNALS: [i32; 6] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGQUIT];

/// Exit status of a worker that had to leave something on this host which it should have taken away: the supervisor has
/// another process do it.
const EXIT_REMAINS: u8 = 71;

/// Several times what the kernel thread needs: with `vrrp_no_swap` all of it is in memory.
const KERNEL_STACK: usize = 512 << 10;

/// Runs until the supervisor says stop or is gone; returns the exit status.
pub(crate) fn run(channel: Channel, common: &Common, scheduling: Scheduling) -> anyhow::Result<u8> {
    os::return_memory_soon();
    leave_signals_to_supervisor()?;
    if !has_orders(&channel).context("waiting for the first order")? {
        return Ok(0);
    }
    let (jobs, todo) = mailbox::channel().context("making a queue")?;
    let (results, outcomes) = mailbox::channel().context("making a queue")?;
    let kernel = kernel::Kernel::new(todo, results, scheduling)?;
    let advert = advert::Advert::new(channel, common.clone(), jobs, outcomes)?;
    let thread = std::thread::Builder::new()
        .name("kernel".into())
        .stack_size(KERNEL_STACK)
        .spawn(move || {
            if let Err(error) = kernel.run() {
                tracing::error!("{error:#}");
            }
        })
        .context("starting the kernel thread")?;
    let is_withdrawn = advert.run()?;
    // Its queue is closed now: it ends after what it is doing, unless it hangs, and nothing of ours is left by then.
    drop(thread);
    log_usage()?;
    Ok(if is_withdrawn { 0 } else { EXIT_REMAINS })
}

/// Who is told so soon what to do is no spare: the first worker starts while the configuration is read.
const NO_SPARE: Duration = Duration::from_millis(250);

/// Waits for the first order; whether one will come. A spare waits here long: what it looked at sooner would be out of date
/// when it is needed. All of the program is in memory then: the disk may not answer any more.
fn has_orders(channel: &Channel) -> std::io::Result<bool> {
    let _locked = (!channel.is_ready_within(NO_SPARE)?).then(|| {
        let locked = LockedMeanwhile::begin();
        tracing::debug!("A VRRP process waits to replace one that dies");
        locked
    });
    channel.wait_for_any()
}

/// Handlers that do nothing: a stop that reaches every process of the service must come from the supervisor, in order.
fn leave_signals_to_supervisor() -> anyhow::Result<()> {
    let received = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        signal_hook::flag::register(signal, Arc::clone(&received))
            .with_context(|| format!("handling signal {signal}"))?;
    }
    Ok(())
}

fn log_usage() -> anyhow::Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("asking for the time used")?;
    let text = |time: TimeVal| format!("{}.{:06}", time.tv_sec(), time.tv_usec());
    tracing::info!("Stopped - used {} user time, {} system time", text(usage.user_time()), text(usage.system_time()));
    Ok(())
}
