//! Options that change when a router speaks, and whom it believes.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use nix::sys::signal::{Signal, kill};
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

const FAST: Protocol = Protocol { version: 3, interval: Duration::from_millis(100), ipv6: false };

/// Where a worker has to be replaced before its peers' patience ends, which a busy machine takes its time for.
const SLOW: Protocol = Protocol { interval: Duration::from_secs(1), ..FAST };

/// `timer_expired_backup`: a peer has taken over meanwhile, and keeps what it has.
fn a_held_up_router_steps_down() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    pair.r1.start(FAST, "nopreempt\n timer_expired_backup 90")?;
    pair.wait_for_holder("r1")?;
    pair.r2.start(FAST, "")?;
    pair.r2.process().wait_for_line("(VI_1) Entering BACKUP STATE", PATIENCE)?;
    // With its supervisor, which would replace it after a second.
    let worker = pair.r1.worker();
    pair.r1.process().signal(Signal::SIGSTOP)?;
    kill(worker, Signal::SIGSTOP)?;
    wait_until("the peer to take over", || Ok(pair.r2.host.holds(FAST.vip())?))?;
    kill(worker, Signal::SIGCONT)?;
    pair.wait_for_holder("r2")?;
    pair.r1.process().signal(Signal::SIGCONT)?;
    if !pair.logs().contains("(VI_1) VRRP thread timer expired ") {
        return Err(Stop::failed(pair.logs()));
    }
    Ok(())
}

/// Two that both own the addresses, and both were told not to listen.
fn an_owner_may_ignore_adverts() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    (pair.r1.priority, pair.r2.priority) = (255, 255);
    pair.r1.start(FAST, "owner_ignore_adverts")?;
    pair.r2.start(FAST, "owner_ignore_adverts")?;
    for router in [&pair.r1, &pair.r2] {
        router.process().wait_for_line("since we are address owner", PATIENCE)?;
    }
    wait_until("both to hold the address", || Ok(pair.lab.holders(FAST.vip())?.len() == 2))
}

/// Whoever is told uses the old checksum; whoever is not finds out.
fn the_old_unicast_checksum(first: Daemon, second: Daemon) -> CaseResult {
    let unicast = |own: u8, peer: u8| format!("unicast_src_ip 198.18.0.{own}\n unicast_peer {{\n 198.18.0.{peer}\n }}");
    let old = format!("{}\n old_unicast_checksum", unicast(1, 2));
    let mut pair = Pair::new(FAST, first, second)?;
    pair.r1.start(FAST, &old)?;
    pair.wait_for_holder("r1")?;
    pair.r2.start(FAST, &unicast(2, 1))?;
    pair.r2.process().wait_for_line("(VI_1) Setting unicast VRRPv3 checksum to old version", PATIENCE)?;
    pair.wait_for_holder("r1")?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.wait_for_holder("r2")?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    pair.r1.start(FAST, &old)?;
    pair.wait_for_holder("r1")
}

/// Neither heard nor said anything before; a worker that follows later does not wait again.
fn a_start_up_delay_is_waited_for_once() -> CaseResult {
    const DELAY: Duration = Duration::from_secs(2);
    let mut pair = Pair::new(SLOW, Daemon::Ours, Daemon::Ours)?;
    let text = SLOW.config(150, "") + "global_defs {\n vrrp_startup_delay 2\n}\n";
    let wire = pair.client.capture("eth0")?;
    let started = Instant::now();
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&text)?)?);
    pair.wait_for_holder("r1")?;
    let first = wire.wait_for(PATIENCE, |frame| frame.vrrp().map(|_| frame.at))?;
    let waited = first.saturating_duration_since(started);
    if waited < DELAY + SLOW.interval * 3 {
        return Err(Stop::failed(format!("the first advert came after {waited:?}\n{}", pair.logs())));
    }
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    pair.r1.process().wait_for_line("continuing as MASTER", PATIENCE)?;
    Ok(())
}

/// One of three addresses once more each second.
fn a_link_is_reminded_of_one_of_its_addresses() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let wire = pair.client.capture("eth0")?;
    pair.r1.start(FAST, "garp_master_repeat 1\n garp_master_delay 0\n garp_extra_if all 1")?;
    let times = |last: u8| -> Vec<Instant> {
        let address = Ipv4Addr::new(198, 18, 0, last);
        let frames = wire.frames().into_iter().filter(|frame| frame.gratuitous_arp() == Some(address));
        frames.map(|frame| frame.at).collect()
    };
    wait_until("the third announcement of the address", || Ok(times(100).len() >= 3))?;
    let first = times(100);
    let gaps: Vec<_> = first.iter().zip(first.iter().skip(1)).map(|(before, after)| *after - *before).collect();
    if gaps.iter().any(|gap| *gap < Duration::from_millis(900)) || times(101).len() != 1 || times(102).len() != 1 {
        return Err(Stop::failed(format!("{gaps:?}\n{}", pair.logs())));
    }
    Ok(())
}

fn old_checksum_ours_and_ours() -> CaseResult {
    the_old_unicast_checksum(Daemon::Ours, Daemon::Ours)
}

fn old_checksum_ours_and_c() -> CaseResult {
    the_old_unicast_checksum(Daemon::Ours, Daemon::C)
}

fn old_checksum_c_and_ours() -> CaseResult {
    the_old_unicast_checksum(Daemon::C, Daemon::Ours)
}

fn main() -> ExitCode {
    harness::main(&[
        case("a_held_up_router_steps_down", a_held_up_router_steps_down),
        case("an_owner_may_ignore_adverts", an_owner_may_ignore_adverts),
        case("old_checksum_ours_and_ours", old_checksum_ours_and_ours),
        case("old_checksum_ours_and_c", old_checksum_ours_and_c),
        case("old_checksum_c_and_ours", old_checksum_c_and_ours),
        case("a_start_up_delay_is_waited_for_once", a_start_up_delay_is_waited_for_once),
        case("a_link_is_reminded_of_one_of_its_addresses", a_link_is_reminded_of_one_of_its_addresses),
    ])
}
