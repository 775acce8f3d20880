//! For how long both routers hold the virtual address under each fault: where one of the two is keepalived-rs no longer
//! than where both are Debian's keepalived, in the same run. The other half of `docs/migration.md`, whose table this prints.
#![allow(clippy::indexing_slicing, reason = "a test")]

#[path = "support/crowd.rs"]
mod crowd;
#[path = "support/dual.rs"]
mod dual;
#[path = "support/junk.rs"]
mod junk;
#[path = "support/stage.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod stage;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crowd::crowded;
use dual::{Happen, PAIRS, vip};
use junk::{JUNK, flood};
use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Junk, Program, peers};
use nix::sys::signal::{Signal, kill};
use stage::{Kind, PLAIN, Stage, copy_program, overwrite};
use support::{Daemon, PATIENCE};
use vip_netlink::{Address, Change, LinkName};

/// A fault lasts so long after the peer has taken over.
const LASTS: Duration = Duration::from_millis(400);

/// More than the peer's patience, whatever the fault has done to it.
const AFTERMATH: Duration = Duration::from_millis(1200);

const VMAC: Kind = Kind { lines: "use_vmac", ..PLAIN };

/// The peer's patience is longer than a host stands still.
const SLOWER: Kind = Kind { interval: Duration::from_millis(400), ..PLAIN };

/// A build for tests takes some hundredths of a second more to start and to go on than keepalived, twice that where others
/// compute.
const STARTS: Kind = Kind { interval: Duration::from_millis(200), ..PLAIN };

/// What happens to two routers.
#[derive(Clone, Copy)]
struct Fault {
    kind: Kind,
    /// Until the fault may begin.
    begin: fn(&mut Stage) -> CaseResult,
    /// The fault, with its end if it has one.
    happen: Happen,
    /// It needs the machine for itself, as it disturbs whoever else runs there.
    is_loud: bool,
}

// ---- Beginnings ----

/// r1 is Active and r2 is Backup.
fn usual(stage: &mut Stage) -> CaseResult {
    begin_with(stage, |text| text)
}

/// The same with an interface that may come back.
fn dynamic(stage: &mut Stage) -> CaseResult {
    begin_with(stage, |text| text.replace("global_defs {", "global_defs {\n dynamic_interfaces"))
}

/// The same with little room for news.
fn little_room(stage: &mut Stage) -> CaseResult {
    begin_with(stage, |text| text.replace("global_defs {", "global_defs {\n vrrp_netlink_monitor_rcv_bufs 65536"))
}

fn begin_with(stage: &mut Stage, text: fn(String) -> String) -> CaseResult {
    stage.r1.start(&text(stage.kind.config(150, "")))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&text(stage.kind.config(90, "")))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")
}

/// The same with a program that was installed where it can be overwritten.
fn installed(stage: &mut Stage) -> CaseResult {
    let (peer, installed) = (peers::keepalived()?, stage.r1.path("keepalived"));
    let (binary, program) = match stage.r1.daemon {
        Daemon::Ours => (env!("CARGO_BIN_EXE_keepalived-rs").into(), Program::new(&installed)),
        Daemon::C => (peer.path.clone(), peer.program_as(&installed)),
    };
    copy_program(binary.as_ref(), &installed)?;
    stage.r1.start_program(program.args(["-nlDG", "--vrrp"]), &stage.kind.config(150, ""))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&stage.kind.config(90, ""))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")
}

/// Both are Active with the same priority, as they do not hear each other.
fn equals(stage: &mut Stage) -> CaseResult {
    stage.r1.start(&stage.kind.config(100, ""))?;
    stage.wait_for_holder("r1")?;
    stage.lans[0].block(&stage.r2.host, "eth0")?;
    stage.r2.start(&stage.kind.config(100, ""))?;
    both_hold(stage)
}

/// r2 owns the addresses and is alone.
fn an_owner(stage: &mut Stage) -> CaseResult {
    stage.r2.start(&owner(stage.kind))?;
    stage.wait_for_holder("r2")
}

/// With a script to wait for, keepalived would begin as Backup.
fn owner(kind: Kind) -> String {
    kind.config(255, "").replace("track_script {\n alive\n }", "")
}

// ---- Faults ----

fn both_hold(stage: &Stage) -> CaseResult {
    stage.wait_until("both to hold the address", || Ok(stage.lab.holders(vip())?.len() == 2))
}

fn taken_over(stage: &Stage) -> CaseResult {
    stage.wait_until("the peer to take over", || Ok(stage.r2.host.holds(vip())?))
}

/// The peer has taken over and goes on for a while.
fn lasts(stage: &Stage) -> CaseResult {
    taken_over(stage)?;
    stage.pass(LASTS)
}

fn kill_worker(stage: &mut Stage) -> CaseResult {
    kill(stage.r1.pid("VRRP")?, Signal::SIGKILL)?;
    stage.pass(AFTERMATH)
}

fn kill_parent(stage: &mut Stage) -> CaseResult {
    kill(stage.r1.process().pid(), Signal::SIGKILL)?;
    lasts(stage)
}

fn kill_everything(stage: &mut Stage) -> CaseResult {
    stage.r1.process().kill_all()?;
    lasts(stage)?;
    stage.r1.start(&stage.kind.config(150, ""))
}

fn stop_worker(stage: &mut Stage) -> CaseResult {
    let worker = stage.r1.pid("VRRP")?;
    kill(worker, Signal::SIGSTOP)?;
    lasts(stage)?;
    // A watchdog may have ended it.
    let _ = kill(worker, Signal::SIGCONT);
    Ok(())
}

fn stop_everything(stage: &mut Stage) -> CaseResult {
    stage.r1.process().freeze_all()?;
    lasts(stage)?;
    Ok(stage.r1.process().thaw_all()?)
}

fn terminate(stage: &mut Stage) -> CaseResult {
    stage.r1.process().signal(Signal::SIGTERM)?;
    stage.r1.process().wait_for_exit(PATIENCE)?;
    lasts(stage)
}

fn reload(stage: &mut Stage) -> CaseResult {
    stage.r1.process().signal(Signal::SIGHUP)?;
    stage.pass(AFTERMATH)
}

fn link_down_and_up(stage: &mut Stage) -> CaseResult {
    stage.r1.host.cut("eth0")?;
    lasts(stage)?;
    Ok(stage.r1.host.mend("eth0")?)
}

/// A switch that forwards nothing for a while after the link is up.
fn silence_after_carrier(stage: &mut Stage) -> CaseResult {
    stage.r1.host.cut("eth0")?;
    stage.wait_for_holder("r2")?;
    stage.lans[0].block(&stage.r1.host, "eth0")?;
    stage.r1.host.mend("eth0")?;
    both_hold(stage)?;
    stage.pass(LASTS)?;
    dual::wait_for_turn(stage, &stage.r1, stage.kind.interval / 4)
}

fn silence_ends(stage: &mut Stage) -> CaseResult {
    Ok(stage.lans[0].unblock(&stage.r1.host, "eth0")?)
}

fn delete_address(stage: &mut Stage) -> CaseResult {
    remove_addresses(stage, |address| address.ip == vip())?;
    stage.pass(AFTERMATH)
}

/// As a network manager does that starts: all goes, its own address comes back.
fn network_manager(stage: &mut Stage) -> CaseResult {
    remove_addresses(stage, |address| address.ip.is_ipv4() && !address.ip.is_loopback())?;
    stage.r1.host.address("eth0", "198.18.0.1/24")?;
    stage.pass(AFTERMATH)
}

fn remove_addresses(stage: &Stage, which: fn(&Address) -> bool) -> CaseResult {
    for address in stage.r1.host.addresses()?.into_iter().filter(which) {
        stage.r1.host.change(&[Change::RemoveAddress(address)])?;
    }
    Ok(())
}

fn recreate_interface(stage: &mut Stage) -> CaseResult {
    stage.r1.host.change(&[Change::DelLink("eth0".parse::<LinkName>()?.into())])?;
    lasts(stage)?;
    stage.lab.connect(&stage.r1.host, "eth0", &stage.lans[0])?;
    Ok(stage.r1.host.address("eth0", "198.18.0.1/24")?)
}

fn delete_vmac(stage: &mut Stage) -> CaseResult {
    stage.r1.host.change(&[Change::DelLink("vrrp.51".parse::<LinkName>()?.into())])?;
    stage.pass(AFTERMATH)
}

/// Far more news than a socket has room for, while nobody reads them.
fn netlink_overflow(stage: &mut Stage) -> CaseResult {
    let many = many_addresses(stage, 2000)?;
    stage.r1.process().freeze_all()?;
    stage.r1.host.change(&many.iter().copied().map(Change::AddAddress).collect::<Vec<_>>())?;
    stage.r1.process().thaw_all()?;
    stage.r1.host.change(&many.into_iter().map(Change::RemoveAddress).collect::<Vec<_>>())?;
    if stage.r1.daemon == Daemon::Ours {
        stage.wait_for_line(&stage.r1, "Receive buffer overrun on monitor socket")?;
    }
    stage.pass(AFTERMATH)
}

fn ten_thousand_addresses(stage: &mut Stage) -> CaseResult {
    let many = many_addresses(stage, 10_000)?;
    stage.r1.host.change(&many.iter().copied().map(Change::AddAddress).collect::<Vec<_>>())?;
    stage.r1.host.change(&many.into_iter().map(Change::RemoveAddress).collect::<Vec<_>>())?;
    stage.pass(AFTERMATH)
}

fn many_addresses(stage: &Stage, count: u16) -> Result<Vec<Address>, Stop> {
    let link = stage.r1.host.addresses()?.iter().find(|address| address.ip == vip()).map(|address| address.link);
    let link = link.ok_or_else(|| stage.fail("r1 does not hold its address"))?;
    let address =
        |number: u16| Address::new(link, [10, 9, number.to_be_bytes()[0], number.to_be_bytes()[1]].into(), 32);
    Ok((0..count).map(address).collect())
}

fn busy_processors(stage: &mut Stage) -> CaseResult {
    let spin = || stage.client.spawn(netlab::Program::new("/bin/sh").args(["-c", "while :; do :; done"]));
    let hogs: Vec<_> =
        (0..2 * std::thread::available_parallelism()?.get()).map(|_| spin()).collect::<Result<_, _>>()?;
    stage.pass(AFTERMATH)?;
    drop(hogs);
    Ok(())
}

/// Another process deletes network namespaces with hundreds of links while a router gains addresses of which its peer hears
/// nothing.
fn routing_lock_held(stages: &mut [Stage; 3]) -> CaseResult {
    let namespaces = [crowded(300)?, crowded(300)?];
    let more: String =
        (0..4_u8).flat_map(|high| (0..250_u8).map(move |low| format!(" 10.9.{high}.{low}/32\n"))).collect();
    let more = format!("virtual_ipaddress_excluded {{\n{more} }}");
    for stage in stages.iter() {
        stage.r1.write(&stage.kind.config(150, &more))?;
        stage.r1.process().signal(Signal::SIGHUP)?;
    }
    drop(namespaces);
    for stage in stages.iter() {
        stage.wait_until("the addresses", || Ok(stage.r1.host.holds([10, 9, 3, 249].into())?))?;
    }
    stages[0].pass(AFTERMATH)
}

/// The package manager puts another file in place of the program.
fn overwrite_and_kill(stage: &mut Stage) -> CaseResult {
    overwrite(&stage.r1.path("keepalived"))?;
    kill_worker(stage)
}

fn junk_slowly(stage: &mut Stage) -> CaseResult {
    junk_of_all_kinds(stage, 8)
}

fn junk_fast(stage: &mut Stage) -> CaseResult {
    junk_of_all_kinds(stage, 5000)
}

/// Each kind for longer than the peer is patient.
fn junk_of_all_kinds(stage: &Stage, rate: u32) -> CaseResult {
    let host = junk::host(stage, "junk", JUNK)?;
    for kind in Junk::ALL.chunks(1) {
        let flood = flood(&host, stage.kind, kind, rate)?;
        stage.pass(stage.kind.active_down(stage.r2.priority) + stage.kind.interval)?;
        drop(flood);
    }
    Ok(())
}

/// The better one is about to speak.
fn equals_in_turn(stage: &mut Stage) -> CaseResult {
    dual::wait_for_turn(stage, &stage.r2, stage.kind.interval / 4)
}

/// They hear each other.
fn equals_meet(stage: &mut Stage) -> CaseResult {
    Ok(stage.lans[0].unblock(&stage.r2.host, "eth0")?)
}

fn another_owner(stage: &mut Stage) -> CaseResult {
    stage.r1.start(&owner(stage.kind))?;
    stage.pass(AFTERMATH)
}

// ---- Measurement ----

/// Held by whoever needs quiet; a loud one has it for itself.
static MACHINE: RwLock<()> = RwLock::new(());

/// All three pairs at the same time.
fn measure_all(fault: &Fault) -> Result<[Duration; 3], Stop> {
    let quiet = (!fault.is_loud).then(|| MACHINE.read().unwrap_or_else(PoisonError::into_inner));
    let loud = fault.is_loud.then(|| MACHINE.write().unwrap_or_else(PoisonError::into_inner));
    let mut stages = dual::at_once(PAIRS, |[first, second]| {
        let mut stage = Stage::new(fault.kind, first, second)?;
        (fault.begin)(&mut stage)?;
        Ok(stage)
    })?;
    let measured = dual::measure(&mut stages, fault.happen);
    drop((stages, quiet, loud));
    measured
}

/// They wait for timers most of the time.
const AT_ONCE: usize = 6;

/// The loud ones wait for the others, and these for them; each may be looked at again.
const PATIENT: Duration = Duration::from_secs(900);

macro_rules! faults {
    ($($test:ident = $name:literal, $kind:expr, $begin:ident, $which:ident($($happen:ident),+), $is_loud:literal;)+) => {
        fn main() -> ExitCode {
            harness::main_parallel(&[$(case(stringify!($test), || {
                let fault = Fault { kind: $kind, begin: $begin, happen: Happen::$which($($happen),+), is_loud: $is_loud };
                dual::no_longer_than_c_with_c($name, fault.kind.interval, || measure_all(&fault))
            }).within(PATIENT)),+], AT_ONCE)
        }
    };
}

faults! {
    killed_worker = "SIGKILL of the VRRP process", PLAIN, usual, Each(kill_worker), false;
    killed_parent = "SIGKILL of the parent", PLAIN, usual, Each(kill_parent), false;
    killed_daemon = "SIGKILL of all, a new start", STARTS, usual, Each(kill_everything), false;
    stopped_worker = "SIGSTOP and SIGCONT of the VRRP process", STARTS, usual, Each(stop_worker), false;
    stopped_daemon = "SIGSTOP and SIGCONT of all", STARTS, usual, Each(stop_everything), false;
    termination = "SIGTERM", PLAIN, usual, Each(terminate), false;
    reload_of_the_same_file = "SIGHUP", PLAIN, usual, Each(reload), false;
    link = "link down and up", PLAIN, usual, Each(link_down_and_up), false;
    silence = "end of a silence after carrier", SLOWER, usual, Then(silence_after_carrier, silence_ends), false;
    address = "address deleted by hand", PLAIN, usual, Each(delete_address), false;
    manager = "every address gone, the own one back", PLAIN, usual, Each(network_manager), false;
    interface = "interface deleted and recreated", PLAIN, dynamic, Each(recreate_interface), false;
    vmac = "VMAC deleted", VMAC, usual, Each(delete_vmac), false;
    equal_priority = "equal priority", SLOWER, equals, Then(equals_in_turn, equals_meet), false;
    owners = "two address owners", PLAIN, an_owner, Each(another_owner), false;
    overflow = "netlink overflow", SLOWER, little_room, Each(netlink_overflow), true;
    addresses = "ten thousand addresses", PLAIN, usual, Each(ten_thousand_addresses), true;
    processors = "all processors busy", PLAIN, usual, Each(busy_processors), true;
    routing_lock = "routing lock held by another process, 1,000 addresses more", PLAIN, usual, All(routing_lock_held), true;
    overwritten = "installed binary overwritten, SIGKILL of the VRRP process", PLAIN, installed, Each(overwrite_and_kill), false;
    slow_junk = "junk of eight kinds, 8/s", PLAIN, usual, Each(junk_slowly), false;
    fast_junk = "junk of eight kinds, 5,000/s", PLAIN, usual, Each(junk_fast), true;
}
