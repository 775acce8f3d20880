//! keepalived-rs beside Debian's keepalived, in one run on this machine: what a client and a peer notice when the VRRP
//! process is killed, how regular adverts are while junk arrives, and how much memory all processes take.
//!
//! `cargo bench -p keepalived-rs-benches --bench faults` prints the table of the README, and `-- killed`, `-- junk` or
//! `-- memory` behind it a part of that. C keepalived comes from `crates/netlab/peers.sh keepalived`; without it only our
//! column is measured. With `NETLAB_AS_ROOT=1` as root the daemons may lock memory.

#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod daemons;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use daemons::{
    ACTIVE_PRIORITY, Daemon, Log, Net, ONE, PATIENCE, Pair, Part, Result, Size, THOUSAND, address, median, row, vip,
    wait_until,
};
use netlab::{Claim, Junk, Process, Ticker};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often each fault is measured for each daemon.
const ROUNDS: usize = 3;

/// Packets of junk a second.
const RATES: [u32; 2] = [8, 5000];

/// How long junk arrives.
const WINDOW: Duration = Duration::from_secs(4);

/// Between two pings of the client.
const PING: Duration = Duration::from_millis(2);

/// The number of the host with the junk.
const JUNK: u8 = 66;

const PARTS: [Part; 3] = [("killed", measure_killed), ("junk", measure_junk), ("memory", measure_memory)];

fn main() -> ExitCode {
    daemons::main(&PARTS)
}

fn measure_killed(daemons: &[Daemon]) -> Result<()> {
    let mut silences = vec![Vec::new(); daemons.len()];
    let mut flaps = vec![0.0; daemons.len()];
    for _ in 0..ROUNDS {
        for (number, daemon) in daemons.iter().enumerate() {
            let (silence, transitions) = worker_killed(*daemon)?;
            push(&mut silences, number, silence);
            add(&mut flaps, number, transitions);
        }
    }
    row(&format!("VRRP process killed: silence for a client, worst of {ROUNDS}"), "ms", &worst(&silences));
    row(&format!("the same: transitions of both routers in {ROUNDS} times"), "", &flaps);
    Ok(())
}

fn measure_junk(daemons: &[Daemon]) -> Result<()> {
    for rate in RATES {
        let mut pauses = vec![Vec::new(); daemons.len()];
        let mut disturbed = vec![0.0; daemons.len()];
        for _ in 0..ROUNDS {
            for (number, daemon) in daemons.iter().enumerate() {
                let (pause, transitions) = junk(*daemon, rate)?;
                push(&mut pauses, number, pause);
                add(&mut disturbed, number, transitions);
            }
        }
        row(&format!("{rate} packets of junk a second: longest extra pause between adverts"), "ms", &worst(&pauses));
        row("the same: transitions of both routers", "", &disturbed);
    }
    Ok(())
}

fn measure_memory(daemons: &[Daemon]) -> Result<()> {
    for (size, routers) in [(ONE, "1 router"), (THOUSAND, "1,000 routers")] {
        let mut memory = vec![Vec::new(); daemons.len()];
        for _ in 0..ROUNDS {
            for (number, daemon) in daemons.iter().enumerate() {
                push(&mut memory, number, memory_of(*daemon, size)?);
            }
        }
        let medians: Vec<_> = memory.iter_mut().map(|values| median(values)).collect();
        row(&format!("memory (PSS) of all processes, {routers}"), "MB", &medians);
    }
    Ok(())
}

fn push(all: &mut [Vec<f64>], number: usize, value: f64) {
    if let Some(values) = all.get_mut(number) {
        values.push(value);
    }
}

fn add(all: &mut [f64], number: usize, value: f64) {
    if let Some(sum) = all.get_mut(number) {
        *sum += value;
    }
}

fn worst(all: &[Vec<f64>]) -> Vec<f64> {
    all.iter().map(|values| values.iter().copied().fold(f64::NAN, f64::max)).collect()
}

/// How often both routers of a pair have changed their state.
fn transitions(pair: &Pair) -> f64 {
    let lines = pair.daemons.iter().flat_map(Process::lines);
    let changes = lines.filter(|line| line.text.contains("Entering ") && line.text.contains(" STATE"));
    f64::from(u32::try_from(changes.count()).unwrap_or(u32::MAX))
}

/// Milliseconds in which a client had no answer after SIGKILL of the active router's VRRP process, and how many
/// transitions followed.
fn worker_killed(daemon: Daemon) -> Result<(f64, f64)> {
    let pair = Pair::new(daemon, ONE, Log::Console)?;
    let client = pair.lab.host("pinger")?;
    pair.lab.connect(&client, "eth0", pair.bridges.first().ok_or("there is one link")?)?;
    client.address("eth0", &format!("{}/16", address(0, 8)))?;
    let pinger = client.ping(vip(0, 1), PING)?;
    pinger.wait_for_answer(PATIENCE)?;
    // The second block of announcements comes five seconds after the first.
    wait_until(Instant::now() + Duration::from_secs(6));
    let before = transitions(&pair);
    kill(vrrp_process(&pair.daemons[0])?, Signal::SIGKILL)?;
    wait_until(Instant::now() + Duration::from_secs(3));
    let silence = pinger.longest_gap().map_or(Duration::ZERO, |gap| gap.duration());
    Ok((silence.as_secs_f64() * 1000.0, transitions(&pair) - before))
}

/// As the log of a daemon says it.
fn vrrp_process(daemon: &Process) -> Result<Pid> {
    const WORDS: &str = "Starting VRRP child process, pid=";
    let lines = daemon.lines();
    let newest =
        lines.iter().rev().find_map(|line| line.text.split_once(WORDS)).ok_or("no VRRP process was started")?;
    Ok(Pid::from_raw(newest.1.trim().parse()?))
}

/// Milliseconds by which the longest pause between two adverts of the active router was longer than the interval while
/// junk arrived, and how many transitions there were.
fn junk(daemon: Daemon, rate: u32) -> Result<(f64, f64)> {
    let pair = Pair::new(daemon, ONE, Log::Console)?;
    let host = pair.lab.host("junk")?;
    pair.lab.connect(&host, "eth0", pair.bridges.first().ok_or("there is one link")?)?;
    host.address("eth0", &format!("{}/16", address(0, JUNK)))?;
    let before = transitions(&pair);
    let vip = Ipv4Addr::new(10, 0, 1, 1);
    let flood = Ticker::flood(&host, Claim { version: 3, source: address(0, JUNK), vrid: 1, vip }, &Junk::ALL, rate)?;
    let began = Instant::now();
    wait_until(began + WINDOW);
    drop(flood);
    let wire = pair.wires.first().ok_or("there is one link")?;
    let frames = wire.frames();
    let from_active = |frame: &&netlab::Frame| frame.vrrp().is_some_and(|packet| packet.source == address(0, 1));
    let times = frames.iter().filter(from_active).map(|frame| frame.at).filter(|at| *at >= began);
    let times: Vec<_> = [began].into_iter().chain(times).chain([began + WINDOW]).collect();
    let pauses = times.windows(2).filter_map(|pair| Some(pair.last()?.saturating_duration_since(*pair.first()?)));
    let longest = pauses.max().unwrap_or_default().saturating_sub(ONE.interval);
    Ok((longest.as_secs_f64() * 1000.0, transitions(&pair) - before))
}

/// Megabytes of all processes of a daemon that is active, what they share counted once.
fn memory_of(daemon: Daemon, size: Size) -> Result<f64> {
    let net = Net::new(size)?;
    let process = net.start(0, daemon, size.config(ACTIVE_PRIORITY), Log::Nowhere)?;
    // While a thousand addresses come the kernel cannot list them.
    wait_until(Instant::now() + size.active_down(ACTIVE_PRIORITY) + Duration::from_secs(1));
    for router in [1, size.routers] {
        net.lab.wait_for_holders(vip(size.links - 1, router), &["r1"], PATIENCE)?;
    }
    // The second block of announcements comes five seconds after the first.
    wait_until(Instant::now() + Duration::from_secs(6));
    let mut kilobytes = 0.0;
    for process in process.processes()? {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid))?;
        let pss = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("smaps_rollup without Pss")?;
        kilobytes += pss.trim().trim_end_matches(" kB").parse::<f64>()?;
    }
    Ok(kilobytes / 1024.0)
}
