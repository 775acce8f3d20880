//! keepalived-rs beside Debian's keepalived, in one run on this machine: how long after the timer's own bound a virtual
//! address is announced by the new active router, what an advert costs, and how long a thousand virtual routers take to
//! start and to be taken over at once.
//!
//! `cargo bench -p keepalived-rs-benches --bench failover` prints the table of the README. C keepalived comes from
//! `crates/netlab/peers.sh keepalived`; without it only our column is measured.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netlab::{Capture, Host, Lab, Process, Program, peers};
use vip_netlink::{Event, Monitor};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Failovers measured for each daemon.
const ROUNDS: usize = 20;

/// How long the CPU measurement lasts.
const CPU_TIME: Duration = Duration::from_secs(10);

/// One virtual router, those of the CPU measurement, and those that are started and taken over all at once.
const ONE: Size = Size { links: 1, routers: 1, interval: Duration::from_millis(100) };
const MANY: Size = Size { links: 1, routers: 200, interval: Duration::from_millis(100) };
const THOUSAND: Size = Size { links: 4, routers: 250, interval: Duration::from_secs(1) };

/// Mass failovers measured for each daemon.
const MASS_ROUNDS: usize = 5;

const ACTIVE_PRIORITY: u8 = 200;
const BACKUP_PRIORITY: u8 = 100;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Ours,
    C,
}

/// How much a daemon has to do.
#[derive(Clone, Copy)]
struct Size {
    links: u8,
    /// On each link.
    routers: u8,
    interval: Duration,
}

impl Size {
    /// The links, and the VRIDs on each.
    fn all(self) -> impl Iterator<Item = (u8, u8)> {
        (0..self.links).flat_map(move |link| (1..=self.routers).map(move |router| (link, router)))
    }

    fn config(self, priority: u8) -> String {
        let seconds = self.interval.as_secs_f64();
        self.all()
            .map(|(link, router)| {
                format!(
                    "vrrp_instance V{link}_{router} {{\n version 3\n interface eth{link}\n virtual_router_id {router}\n \
                     priority {priority}\n advert_int {seconds}\n virtual_ipaddress {{ {}/16 }}\n}}\n",
                    vip(link, router)
                )
            })
            .collect()
    }

    /// Active_Down_Interval (RFC 9568 §6.1).
    fn active_down(self, priority: u8) -> Duration {
        self.interval * 3 + self.interval * (256 - u32::from(priority)) / 256
    }
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
    let mut masses = vec![(Vec::new(), Vec::new()); daemons.len()];
    for _ in 0..MASS_ROUNDS {
        for (daemon, (starts, failovers)) in daemons.iter().zip(&mut masses) {
            let mass = mass(*daemon)?;
            starts.push(mass.0);
            failovers.push(mass.1);
        }
    }
    let costs: Vec<(f64, f64)> = daemons.iter().map(|daemon| cpu(*daemon)).collect::<Result<_>>()?;
    println!("| what | keepalived-rs | C keepalived 2.2.7 | ratio |\n|---|---|---|---|");
    row(&format!("failover past the bound, median of {ROUNDS}"), "ms", &medians);
    let starts: Vec<f64> = masses.iter_mut().map(|(starts, _)| median(starts)).collect();
    let failovers: Vec<f64> = masses.iter_mut().map(|(_, failovers)| median(failovers)).collect();
    row(
        &format!("start until the last of 1,000 addresses is up, past the bound, median of {MASS_ROUNDS}"),
        "ms",
        &starts,
    );
    row(
        &format!("the active of 1,000 killed: the last address is up, past its bound, median of {MASS_ROUNDS}"),
        "ms",
        &failovers,
    );
    let routers = MANY.routers;
    row(
        &format!("CPU per advert sent, {routers} routers at 0.1 s"),
        "µs",
        &costs.iter().map(|cost| cost.0).collect::<Vec<_>>(),
    );
    row(
        &format!("CPU per advert received, {routers} routers at 0.1 s"),
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
    /// One for each link.
    wires: Vec<Capture>,
}

impl Pair {
    fn new(daemon: Daemon, size: Size) -> Result<Self> {
        let net = Net::new(size)?;
        let daemons = [net.start(0, daemon, size, ACTIVE_PRIORITY)?, net.start(1, daemon, size, BACKUP_PRIORITY)?];
        let pair = Self { lab: net.lab, hosts: net.hosts, daemons, wires: net.wires };
        for router in [1, size.routers] {
            pair.lab.wait_for_holders(vip(0, router), &["r1"], PATIENCE)?;
        }
        Ok(pair)
    }
}

/// Two hosts and a listener on as many bridges as there are links.
struct Net {
    lab: Lab,
    hosts: [Host; 2],
    wires: Vec<Capture>,
}

impl Net {
    fn new(size: Size) -> Result<Self> {
        let lab = Lab::new()?;
        let bridges =
            (0..size.links).map(|link| lab.bridge(&format!("br{link}"))).collect::<std::result::Result<Vec<_>, _>>()?;
        let host = |name: &str, number: u8| -> Result<Host> {
            let host = lab.host(name)?;
            for (link, bridge) in (0..size.links).zip(&bridges) {
                let name = format!("eth{link}");
                lab.connect(&host, &name, bridge)?;
                host.address(&name, &format!("{}/16", address(link, number)))?;
            }
            Ok(host)
        };
        let hosts = [host("r1", 1)?, host("r2", 2)?];
        let listener = host("client", 9)?;
        let wires = (0..size.links).map(|link| listener.capture(&format!("eth{link}")));
        let wires = wires.collect::<std::result::Result<_, _>>()?;
        Ok(Self { lab, hosts, wires })
    }

    fn start(&self, host: usize, daemon: Daemon, size: Size, priority: u8) -> Result<Process> {
        let program = match daemon {
            Daemon::Ours => Program::new(binary()?),
            Daemon::C => peers::keepalived()?.program(),
        };
        let program = program
            .args(["-n", "-G", "--vrrp", "-f", "/run/keepalived.conf"])
            .file("/run/keepalived.conf", size.config(priority));
        let host = self.hosts.get(host).ok_or("there are two hosts")?;
        Ok(host.spawn(program)?)
    }
}

/// The daemon, beside which this program was built.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.ancestors().nth(2).ok_or("this program is in no target folder")?;
    Ok(Path::new(folder).join("keepalived-rs"))
}

fn address(link: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, link, 0, number)
}

fn vip(link: u8, router: u8) -> IpAddr {
    Ipv4Addr::new(10, link, 1, router).into()
}

/// When each virtual address came up on a host, from the opening of this on.
struct Ups<'a> {
    host: &'a Host,
    monitor: Monitor,
}

impl<'a> Ups<'a> {
    fn open(host: &'a Host) -> Result<Self> {
        Ok(Self { host, monitor: host.run(Monitor::open)? })
    }

    /// Listens while `work` goes on, and after it until all addresses of `size` are up.
    fn of<T>(mut self, size: Size, work: impl FnOnce() -> Result<T>) -> Result<(T, BTreeMap<IpAddr, Instant>)> {
        let failed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let listener = scope.spawn(|| self.listen(size, &failed));
            let done = work();
            failed.store(done.is_err(), Ordering::Relaxed);
            let ups = listener.join().map_err(|_| "the listener panicked")??;
            Ok((done?, ups))
        })
    }

    fn listen(&mut self, size: Size, failed: &AtomicBool) -> std::result::Result<BTreeMap<IpAddr, Instant>, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut ups = BTreeMap::new();
        let wanted = usize::from(size.links) * usize::from(size.routers);
        while ups.len() < wanted && !failed.load(Ordering::Relaxed) {
            if Instant::now() > deadline {
                return Err(format!("only {} of {wanted} addresses came up on {}", ups.len(), self.host.name()));
            }
            let fd = nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&self.monitor), nix::poll::PollFlags::POLLIN);
            nix::poll::poll(&mut [fd], 100u16).map_err(|error| error.to_string())?;
            let now = Instant::now();
            while let Some(event) = self.monitor.poll_event().map_err(|error| error.to_string())? {
                match event {
                    Event::Address(address) => {
                        ups.entry(address.ip).or_insert(now);
                    }
                    Event::Overflow => return Err("address events were lost".into()),
                    _ => {}
                }
            }
        }
        Ok(ups)
    }
}

/// Milliseconds past the bound: until the last address is up after the start, and after the active was killed.
fn mass(daemon: Daemon) -> Result<(f64, f64)> {
    let net = Net::new(THOUSAND)?;
    let [first, second] = &net.hosts;
    let begin = Instant::now();
    let (active, ups) = Ups::open(first)?.of(THOUSAND, || net.start(0, daemon, THOUSAND, ACTIVE_PRIORITY))?;
    let last = ups.values().max().ok_or("nothing came up")?;
    let start = millis(last.duration_since(begin), THOUSAND.active_down(ACTIVE_PRIORITY));
    let _backup = net.start(1, daemon, THOUSAND, BACKUP_PRIORITY)?;
    // The second block of announcements comes five seconds after the first.
    wait_until(Instant::now() + Duration::from_secs(8));
    let ((), ups) = Ups::open(second)?.of(THOUSAND, || Ok(active.kill_all()?))?;
    let bound = THOUSAND.active_down(BACKUP_PRIORITY);
    let mut worst = f64::NEG_INFINITY;
    for (link, wire) in (0..THOUSAND.links).zip(&net.wires) {
        let mut spoke = BTreeMap::new();
        for frame in wire.frames() {
            let Some(packet) = frame.vrrp().filter(|packet| packet.source == address(link, 1)) else { continue };
            if let Some(router) = packet.payload.get(1) {
                spoke.insert(*router, frame.at);
            }
        }
        for router in 1..=THOUSAND.routers {
            let last = spoke.get(&router).ok_or("a router never spoke")?;
            let up = ups.get(&vip(link, router)).ok_or("an address did not come up")?;
            worst = worst.max(millis(up.saturating_duration_since(*last), bound));
        }
    }
    Ok((start, worst))
}

/// Milliseconds by which `took` is longer than `bound`.
fn millis(took: Duration, bound: Duration) -> f64 {
    (took.as_secs_f64() - bound.as_secs_f64()) * 1000.0
}

/// Milliseconds from the backup's own bound, counted from the dead router's last advert, to its first announcement.
fn failover(daemon: Daemon) -> Result<f64> {
    let pair = Pair::new(daemon, ONE)?;
    // The announcements of the first election are over.
    let sent =
        |host: u8| move |frame: &netlab::Frame| frame.vrrp().is_some_and(|packet| packet.source == address(0, host));
    pair.daemons[0].freeze_all()?;
    pair.hosts[0].cut("eth0")?;
    let wire = pair.wires.first().ok_or("there is one link")?;
    let taken = wire.wait_for(PATIENCE, |frame| sent(2)(frame).then_some(frame.at))?;
    let announced = wire.wait_for(PATIENCE, |frame| {
        let announces = frame.gratuitous_arp().map(IpAddr::V4) == Some(vip(0, 1));
        (frame.at > taken && announces).then_some(frame.at)
    })?;
    let frames = wire.frames();
    let last = frames.iter().filter(|frame| sent(1)(frame)).map(|frame| frame.at).max().ok_or("r1 never spoke")?;
    Ok(millis(announced.duration_since(last), ONE.active_down(BACKUP_PRIORITY)))
}

/// Microseconds of CPU per advert, sent and received.
fn cpu(daemon: Daemon) -> Result<(f64, f64)> {
    let pair = Pair::new(daemon, MANY)?;
    let wire = pair.wires.first().ok_or("there is one link")?;
    let adverts = || wire.frames().iter().filter(|frame| frame.vrrp().is_some()).count();
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
