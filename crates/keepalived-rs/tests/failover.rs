//! Two routers and a client: who holds the address, and what the client loses. Every story runs with keepalived-rs on
//! both sides and with Debian's keepalived on either side.

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use nix::sys::signal::Signal;
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

const V2: Protocol = Protocol { version: 2, interval: Duration::from_secs(1), ipv6: false };
const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(300), ipv6: false };
const V3_IPV6: Protocol = Protocol { version: 3, interval: Duration::from_millis(300), ipv6: true };

/// Election, death, return, clean stop.
fn story(protocol: Protocol, first: Daemon, second: Daemon) -> CaseResult {
    let mut pair = Pair::new(protocol, first, second)?;
    pair.r1.start(protocol, "")?;
    pair.r2.start(protocol, "")?;
    pair.wait_for_holder("r1")?;
    let pinger = pair.ping()?;
    if first == Daemon::Ours {
        worker_dies(&pair)?;
    }
    stops_cleanly(&mut pair)?;
    better_router_returns(&mut pair)?;
    everything_dies(&mut pair)?;
    better_router_returns(&mut pair)?;
    pair.answered(&pinger)
}

/// The peer notices nothing, the client loses nothing.
fn worker_dies(pair: &Pair) -> CaseResult {
    let pinger = pair.ping()?;
    let before = pair.r2.process().lines().len();
    let adverts = pair.client.capture("eth0")?;
    let dead = pair.r1.worker();
    nix::sys::signal::kill(dead, Signal::SIGKILL)?;
    let killed = Instant::now();
    wait_until("a new worker", || Ok(pair.r1.worker() != dead))?;
    // The peer would have taken over by then.
    let over = killed + pair.protocol.active_down(pair.r2.priority) + pair.protocol.interval * 2;
    wait_until("adverts of the new worker", || {
        Ok(Instant::now() > over && adverts.frames().iter().any(|frame| frame.at > over && frame.vrrp().is_some()))
    })?;
    let lines = pair.r2.process().lines();
    if let Some(line) = lines.iter().skip(before).find(|line| line.text.contains("MASTER STATE")) {
        return Err(Stop::failed(format!("the peer took over: {}\n{}", line.text, pair.logs())));
    }
    pair.wait_for_holder("r1")?;
    pair.answered(&pinger)?;
    match pinger.longest_gap() {
        Some(gap) => Err(Stop::failed(format!("the client lost {:?}\n{}", gap.duration(), pair.logs()))),
        None => Ok(()),
    }
}

/// Priority 0: the peer waits for Skew_Time only.
fn stops_cleanly(pair: &mut Pair) -> CaseResult {
    let pinger = pair.ping()?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.wait_for_holder("r2")?;
    pair.lost_at_most(&pinger, pair.protocol.skew(pair.r2.priority), "take-over after a clean stop")?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    pair.r1.process = None;
    Ok(())
}

fn better_router_returns(pair: &mut Pair) -> CaseResult {
    let pinger = pair.ping()?;
    let protocol = pair.protocol;
    pair.r1.start(protocol, "")?;
    pair.r1.host.mend("eth0")?;
    pair.wait_for_holder("r1")?;
    pair.lost_at_most(&pinger, Duration::ZERO, "return of the better router")
}

/// Frozen, killed and cut off: the peer waits for Active_Down_Interval.
fn everything_dies(pair: &mut Pair) -> CaseResult {
    let pinger = pair.ping()?;
    pair.r1.process().freeze_all()?;
    pair.r1.host.cut("eth0")?;
    pair.r1.process().kill_all()?;
    let bound = pair.protocol.active_down(pair.r2.priority);
    let dead = Instant::now();
    wait_until("the peer's take-over", || Ok(pair.r2.host.holds(pair.protocol.vip())?))?;
    pair.took_at_most(dead.elapsed(), bound, "taking over")?;
    pair.lost_at_most(&pinger, bound, "take-over after a death")?;
    pair.r1.process = None;
    Ok(())
}

/// Whoever is active stays so when a better router without the wish to preempt comes back.
fn nopreempt(protocol: Protocol, first: Daemon, second: Daemon) -> CaseResult {
    let mut pair = Pair::new(protocol, first, second)?;
    pair.r2.start(protocol, "")?;
    pair.wait_for_holder("r2")?;
    let pinger = pair.ping()?;
    let adverts = pair.client.capture("eth0")?;
    pair.r1.start(protocol, "nopreempt")?;
    pair.r1.process().wait_for_line("Entering BACKUP STATE", PATIENCE)?;
    let over = Instant::now() + protocol.active_down(pair.r1.priority) + protocol.interval * 2;
    wait_until("adverts of the active router", || {
        Ok(adverts.frames().iter().any(|frame| frame.at > over && frame.vrrp().is_some()))
    })?;
    pair.wait_for_holder("r2")?;
    match pinger.longest_gap() {
        Some(gap) => Err(Stop::failed(format!("the client lost {:?}\n{}", gap.duration(), pair.logs()))),
        None => Ok(()),
    }
}

macro_rules! cases {
    ($($name:ident = $story:ident($protocol:expr, $first:ident, $second:ident);)+) => {
        $(fn $name() -> CaseResult { $story($protocol, Daemon::$first, Daemon::$second) })+

        fn main() -> ExitCode {
            harness::main(&[$(case(stringify!($name), $name)),+])
        }
    };
}

cases! {
    v2_ours_and_ours = story(V2, Ours, Ours);
    v2_ours_and_c = story(V2, Ours, C);
    v2_c_and_ours = story(V2, C, Ours);
    v3_ours_and_ours = story(V3, Ours, Ours);
    v3_ours_and_c = story(V3, Ours, C);
    v3_c_and_ours = story(V3, C, Ours);
    v3_ipv6_ours_and_ours = story(V3_IPV6, Ours, Ours);
    v3_ipv6_ours_and_c = story(V3_IPV6, Ours, C);
    v3_ipv6_c_and_ours = story(V3_IPV6, C, Ours);
    nopreempt_v2_ours_and_ours = nopreempt(V2, Ours, Ours);
    nopreempt_v3_ours_and_c = nopreempt(V3, Ours, C);
    nopreempt_v3_c_and_ours = nopreempt(V3, C, Ours);
    nopreempt_v3_ipv6_ours_and_ours = nopreempt(V3_IPV6, Ours, Ours);
}
