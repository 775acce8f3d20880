//! keepalived-rs beside Debian's keepalived, in one run on this machine: how long after the timer's own bound a virtual
//! address is announced by the new active router, what an advert costs, and how long a thousand virtual routers take to
//! start and to be taken over at once.
//!
//! `cargo bench -p keepalived-rs-benches --bench failover` prints the table of the README, and `-- one`, `-- load`,
//! `-- thousand` or `-- cpu` behind it a part of that. C keepalived comes from `crates/netlab/peers.sh keepalived`; without it only our
//! column is measured. With `NETLAB_AS_ROOT=1` root measures as on a host, where the VRRP process
//! comes before others, and the load with `vrrp_rt_priority` too.

#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod daemons;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use daemons::{
    ACTIVE_PRIORITY, BACKUP_PRIORITY, Daemon, Log, Net, ONE, PATIENCE, Pair, Part, Result, Size, THOUSAND, address,
    median, millis, row, vip, wait_until,
};
use netlab::{Host, Process};
use vip_netlink::{Event, Monitor};

/// Failovers measured for each daemon.
const ROUNDS: usize = 20;

/// Failovers measured for each daemon while every processor is busy, so many with each pair.
const LOAD_ROUNDS: usize = 100;
const LOAD_ROUNDS_PER_PAIR: usize = 20;

/// How long the CPU measurement lasts.
const CPU_TIME: Duration = Duration::from_secs(10);

/// Those of the CPU measurement.
const MANY: Size = Size { links: 1, routers: 200, interval: Duration::from_millis(100), real_time: None };

/// Mass failovers measured for each daemon.
const MASS_ROUNDS: usize = 5;

/// `vrrp_rt_priority` of the load measurement's second part.
const REAL_TIME: u8 = 50;

const PARTS: [Part; 4] =
    [("one", measure_one), ("load", measure_load), ("thousand", measure_thousand), ("cpu", measure_cpu)];

fn main() -> ExitCode {
    daemons::main(&PARTS)
}

fn measure_one(daemons: &[Daemon]) -> Result<()> {
    let mut past = vec![Vec::new(); daemons.len()];
    for _ in 0..ROUNDS {
        for (daemon, past) in daemons.iter().zip(&mut past) {
            past.push(failover(*daemon)?);
        }
    }
    let medians: Vec<f64> = past.iter_mut().map(|past| median(past)).collect();
    let worst: Vec<f64> = past.iter().map(|past| past.iter().copied().fold(f64::NAN, f64::max)).collect();
    row(&format!("failover past the bound, median of {ROUNDS}"), "ms", &medians);
    row(&format!("the same, worst of {ROUNDS}"), "ms", &worst);
    Ok(())
}

fn measure_load(daemons: &[Daemon]) -> Result<()> {
    measure_load_of(daemons, ONE, "every processor busy")?;
    if !netlab::is_as_root() {
        println!(
            "a user namespace does not let the VRRP process come before others, nor have vrrp_rt_priority, which is not \
             measured: root does with {}=1",
            netlab::AS_ROOT
        );
        return Ok(());
    }
    let real_time = Size { real_time: Some(REAL_TIME), ..ONE };
    measure_load_of(daemons, real_time, &format!("every processor busy, vrrp_rt_priority {REAL_TIME}"))
}

fn measure_load_of(daemons: &[Daemon], size: Size, what: &str) -> Result<()> {
    let mut past = vec![Vec::new(); daemons.len()];
    for _ in 0..LOAD_ROUNDS / LOAD_ROUNDS_PER_PAIR {
        for (daemon, past) in daemons.iter().zip(&mut past) {
            let pair = Pair::new(*daemon, size, Log::Nowhere)?;
            let load = Load::new();
            for _ in 0..LOAD_ROUNDS_PER_PAIR {
                pair.daemons[0].freeze_all()?;
                past.push(failover_of(&pair)?);
                pair.daemons[0].thaw_all()?;
                pair.lab.wait_for_holders(vip(0, 1), &["r1"], PATIENCE)?;
            }
            drop(load);
        }
    }
    let medians: Vec<f64> = past.iter_mut().map(|past| median(past)).collect();
    // In their order now.
    let almost_worst: Vec<f64> =
        past.iter().map(|past| past.get(past.len() * 99 / 100 - 1).copied().unwrap_or(f64::NAN)).collect();
    row(&format!("failover past the bound, {what}, median of {LOAD_ROUNDS}"), "ms", &medians);
    row(&format!("failover past the bound, {what}, p99 of {LOAD_ROUNDS}"), "ms", &almost_worst);
    Ok(())
}

/// A thread for each processor that never sleeps, of the usual priority.
struct Load {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn new() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let spin = |ends: Arc<AtomicBool>| move || while !ends.load(Ordering::Relaxed) {};
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..processors).map(|_| std::thread::spawn(spin(Arc::clone(&ends)))).collect();
        Self { ends, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn measure_thousand(daemons: &[Daemon]) -> Result<()> {
    let mut masses = vec![(Vec::new(), Vec::new()); daemons.len()];
    for _ in 0..MASS_ROUNDS {
        for (daemon, (starts, failovers)) in daemons.iter().zip(&mut masses) {
            let mass = mass(*daemon)?;
            starts.push(mass.0);
            failovers.push(mass.1);
        }
    }
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
    Ok(())
}

fn measure_cpu(daemons: &[Daemon]) -> Result<()> {
    let costs: Vec<(f64, f64)> = daemons.iter().map(|daemon| cpu(*daemon)).collect::<Result<_>>()?;
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
    let [active, backup] = [ACTIVE_PRIORITY, BACKUP_PRIORITY].map(|priority| THOUSAND.config(priority));
    let begin = Instant::now();
    let (active, ups) = Ups::open(first)?.of(THOUSAND, || net.start(0, daemon, active, Log::Nowhere))?;
    let last = ups.values().max().ok_or("nothing came up")?;
    let start = millis(last.duration_since(begin), THOUSAND.active_down(ACTIVE_PRIORITY));
    let _backup = net.start(1, daemon, backup, Log::Nowhere)?;
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

/// Milliseconds from the backup's own bound, counted from the dead router's last advert, to its first announcement.
fn failover(daemon: Daemon) -> Result<f64> {
    let pair = Pair::new(daemon, ONE, Log::Nowhere)?;
    pair.daemons[0].freeze_all()?;
    pair.hosts[0].cut("eth0")?;
    failover_of(&pair)
}

/// The same of a pair whose first router was the active one until a moment ago.
fn failover_of(pair: &Pair) -> Result<f64> {
    let begin = Instant::now();
    // The announcements of the first election are over.
    let sent = |host: u8| {
        move |frame: &netlab::Frame| {
            frame.vrrp().is_some_and(|packet| packet.source == address(0, host)) && (host == 1 || frame.at > begin)
        }
    };
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
    let pair = Pair::new(daemon, MANY, Log::Nowhere)?;
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
