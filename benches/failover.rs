//! keepalived-rs beside Debian's keepalived, in one run on this machine: how long after the timer's own bound a virtual
//! address is announced by the new active router, and what an advert costs.
//!
//! `cargo bench -p keepalived-rs-benches --bench failover` prints the table of the README. C keepalived comes from
//! `crates/netlab/peers.sh keepalived`; without it only our column is measured.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::{Capture, Host, Lab, Process, Program, peers};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Failovers measured for each daemon.
const ROUNDS: usize = 20;

/// The advertisement interval of everything here.
const INTERVAL: Duration = Duration::from_millis(100);

/// Virtual routers of the CPU measurement, and how long it lasts.
const ROUTERS: u8 = 200;
const CPU_TIME: Duration = Duration::from_secs(10);

const BACKUP_PRIORITY: u8 = 100;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Ours,
    C,
}

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--test" || word == "--list") {
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    // The copy inside the namespaces finds it built.
    if std::env::var_os("KEEPALIVED_RS_BUILT").is_none() {
        let built =
            Command::new(env!("CARGO")).args(["build", "--release", "--quiet", "-p", "keepalived-rs"]).status()?;
        if !built.success() {
            return Err("keepalived-rs does not build".into());
        }
    }
    netlab::enter().map_err(|refused| format!("{refused}; {}", refused.hint()))?;
    let daemons = match peers::keepalived() {
        Ok(_) => vec![Daemon::Ours, Daemon::C],
        Err(skip) => {
            println!("without C keepalived: {skip}");
            vec![Daemon::Ours]
        }
    };
    let mut past = vec![Vec::new(); daemons.len()];
    for _ in 0..ROUNDS {
        for (daemon, past) in daemons.iter().zip(&mut past) {
            past.push(failover(*daemon)?);
        }
    }
    let medians: Vec<f64> = past.iter_mut().map(|past| median(past)).collect();
    let costs: Vec<(f64, f64)> = daemons.iter().map(|daemon| cpu(*daemon)).collect::<Result<_>>()?;
    println!("| what | keepalived-rs | C keepalived 2.2.7 | ratio |\n|---|---|---|---|");
    row(&format!("failover past the bound, median of {ROUNDS}"), "ms", &medians);
    row(
        &format!("CPU per advert sent, {ROUTERS} routers at 0.1 s"),
        "µs",
        &costs.iter().map(|cost| cost.0).collect::<Vec<_>>(),
    );
    row(
        &format!("CPU per advert received, {ROUTERS} routers at 0.1 s"),
        "µs",
        &costs.iter().map(|cost| cost.1).collect::<Vec<_>>(),
    );
    Ok(())
}

fn row(what: &str, unit: &str, values: &[f64]) {
    let cell = |index: usize| values.get(index).map_or_else(|| "–".to_owned(), |value| format!("{value:.2} {unit}"));
    let ratio = match values {
        [ours, c] if *c != 0.0 => format!("{:.2}", ours / c),
        _ => "–".to_owned(),
    };
    println!("| {what} | {} | {} | {ratio} |", cell(0), cell(1));
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

/// Two routers and a listener on a bridge.
struct Pair {
    lab: Lab,
    hosts: [Host; 2],
    daemons: [Process; 2],
    wire: Capture,
}

impl Pair {
    fn new(daemon: Daemon, routers: u8) -> Result<Self> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = |name: &str, number: u8| -> Result<Host> {
            let host = lab.host(name)?;
            lab.connect(&host, "eth0", &lan)?;
            host.address("eth0", &format!("198.18.0.{number}/16"))?;
            Ok(host)
        };
        let hosts = [host("r1", 1)?, host("r2", 2)?];
        let listener = host("client", 9)?;
        let wire = listener.capture("eth0")?;
        let start = |host: &Host, priority: u8| -> Result<Process> {
            let program = match daemon {
                Daemon::Ours => Program::new(binary()?),
                Daemon::C => peers::keepalived()?.program(),
            };
            let text = config(priority, routers);
            let program =
                program.args(["-n", "-G", "--vrrp", "-f", "/run/keepalived.conf"]).file("/run/keepalived.conf", text);
            Ok(host.spawn(program)?)
        };
        let daemons = [start(&hosts[0], 200)?, start(&hosts[1], BACKUP_PRIORITY)?];
        let pair = Self { lab, hosts, daemons, wire };
        for router in [1, routers] {
            pair.lab.wait_for_holders(vip(router), &["r1"], PATIENCE)?;
        }
        Ok(pair)
    }
}

/// The daemon, beside which this program was built.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.ancestors().nth(2).ok_or("this program is in no target folder")?;
    Ok(Path::new(folder).join("keepalived-rs"))
}

fn vip(router: u8) -> IpAddr {
    Ipv4Addr::new(198, 18, 1, router).into()
}

fn config(priority: u8, routers: u8) -> String {
    (1..=routers)
        .map(|router| {
            format!(
                "vrrp_instance V{router} {{\n version 3\n interface eth0\n virtual_router_id {router}\n \
                 priority {priority}\n advert_int 0.1\n virtual_ipaddress {{ {}/16 }}\n}}\n",
                vip(router)
            )
        })
        .collect()
}

/// Milliseconds from the backup's own bound, counted from the dead router's last advert, to its first announcement.
fn failover(daemon: Daemon) -> Result<f64> {
    let pair = Pair::new(daemon, 1)?;
    // The announcements of the first election are over.
    let sent = |host: u8| {
        move |frame: &netlab::Frame| frame.vrrp().is_some_and(|packet| packet.source == Ipv4Addr::new(198, 18, 0, host))
    };
    pair.daemons[0].freeze_all()?;
    pair.hosts[0].cut("eth0")?;
    let taken = pair.wire.wait_for(PATIENCE, |frame| sent(2)(frame).then_some(frame.at))?;
    let announced = pair.wire.wait_for(PATIENCE, |frame| {
        let announces = frame.gratuitous_arp().map(IpAddr::V4) == Some(vip(1));
        (frame.at > taken && announces).then_some(frame.at)
    })?;
    let frames = pair.wire.frames();
    let last = frames.iter().filter(|frame| sent(1)(frame)).map(|frame| frame.at).max().ok_or("r1 never spoke")?;
    let bound = INTERVAL * 3 + INTERVAL * (256 - u32::from(BACKUP_PRIORITY)) / 256;
    let took = announced.duration_since(last);
    Ok((took.as_secs_f64() - bound.as_secs_f64()) * 1000.0)
}

/// Microseconds of CPU per advert, sent and received.
fn cpu(daemon: Daemon) -> Result<(f64, f64)> {
    let pair = Pair::new(daemon, ROUTERS)?;
    let adverts = || pair.wire.frames().iter().filter(|frame| frame.vrrp().is_some()).count();
    // The second block of announcements comes five seconds after the first.
    let settled = Instant::now() + Duration::from_secs(7);
    wait_until(settled);
    let (before, sender, receiver) = (adverts(), cpu_time(&pair.daemons[0])?, cpu_time(&pair.daemons[1])?);
    wait_until(Instant::now() + CPU_TIME);
    let count = f64::from(u32::try_from(adverts() - before)?);
    let cost = |now: Duration, then: Duration| (now - then).as_secs_f64() * 1e6 / count;
    Ok((cost(cpu_time(&pair.daemons[0])?, sender), cost(cpu_time(&pair.daemons[1])?, receiver)))
}

/// A measurement over a span of time, not a condition.
fn wait_until(end: Instant) {
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
}

/// What all threads of all processes of a daemon have used.
fn cpu_time(daemon: &Process) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for process in daemon.processes()? {
        for task in std::fs::read_dir(format!("/proc/{}/task", process.pid))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let nanos = text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?;
            sum += Duration::from_nanos(nanos);
        }
    }
    Ok(sum)
}
