//! For how long two routers hold the virtual address at the same time under a fault: three pairs side by side, of which the
//! one of keepalived with keepalived is the measure of the others.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlab::Host;
use netlab::harness::{CaseResult, Stop};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vip_netlink::{Event, Monitor};

use super::stage::{PLAIN, Router, Stage, adverts};
use super::support::Daemon;

/// Who is to fail, and who is to stand by.
pub(crate) const PAIRS: [[Daemon; 2]; 3] =
    [[Daemon::C, Daemon::C], [Daemon::Ours, Daemon::C], [Daemon::C, Daemon::Ours]];

/// So often a fault is looked at; what counts is the median.
const ROUNDS: usize = 3;

/// So often that begins anew: what others do on this machine passes, a fault of ours stays.
const TRIES: usize = 3;

/// What happens to the routers.
#[derive(Clone, Copy)]
pub(crate) enum Happen {
    /// To each pair by itself.
    Each(fn(&mut Stage) -> CaseResult),
    /// The same after something that is not measured.
    Then(fn(&mut Stage) -> CaseResult, fn(&mut Stage) -> CaseResult),
    /// To the machine that all pairs are on.
    All(fn(&mut [Stage; 3]) -> CaseResult),
}

/// The virtual address.
pub(crate) fn vip() -> IpAddr {
    PLAIN.vips().next().expect("there is one")
}

/// Three of something at the same time.
pub(crate) fn at_once<T: Send, U: Send>(
    these: [T; 3],
    work: impl Fn(T) -> Result<U, Stop> + Sync,
) -> Result<[U; 3], Stop> {
    let work = &work;
    let [first, second, third] = thread::scope(|scope| {
        let threads = these.map(|it| scope.spawn(move || work(it)));
        threads.map(|thread| thread.join().unwrap_or_else(|_| Err(Stop::failed("it panicked"))))
    });
    Ok([first?, second?, third?])
}

/// Waits until a router has sent its next advert and the one after that is due after `rest`.
pub(crate) fn wait_for_turn(stage: &Stage, router: &Router, rest: Duration) -> CaseResult {
    let (wire, number) = (router.host.capture("eth0")?, if router.host.name() == "r1" { 1 } else { 2 });
    stage.wait_until("an advert", || Ok(adverts(&wire).iter().any(|(_, advert)| advert.is_from(number))))?;
    stage.pass(stage.kind.interval.saturating_sub(rest))
}

/// For how long both routers of each pair hold the address from the fault on until one of them alone does for good.
pub(crate) fn measure(stages: &mut [Stage; 3], happen: Happen) -> Result<[Duration; 3], Stop> {
    let all = match happen {
        Happen::Each(happen) => return at_once(stages.each_mut(), |stage| measure_one(stage, happen)),
        Happen::Then(before, happen) => {
            return at_once(stages.each_mut(), |stage| before(stage).and_then(|()| measure_one(stage, happen)));
        }
        Happen::All(all) => all,
    };
    let [first, second, third] = stages.each_ref().map(Overlap::begin);
    let [first, second, third] = [first?, second?, third?];
    all(stages)?;
    let [one, two, three] = stages.each_ref();
    at_once([(first, one), (second, two), (third, three)], |(overlap, stage)| overlap.end(stage))
}

fn measure_one(stage: &mut Stage, happen: fn(&mut Stage) -> CaseResult) -> Result<Duration, Stop> {
    let overlap = Overlap::begin(stage)?;
    happen(stage)?;
    overlap.end(stage)
}

/// Looks at both routers of a pair.
struct Overlap([Holding; 2]);

impl Overlap {
    fn begin(stage: &Stage) -> Result<Self, Stop> {
        Ok(Self([Holding::of(&stage.r1.host)?, Holding::of(&stage.r2.host)?]))
    }

    /// Waits until there is one holder for good.
    fn end(self, stage: &Stage) -> Result<Duration, Stop> {
        let quiet = stage.kind.active_down(stage.r2.priority) + stage.kind.interval;
        let mut since = Instant::now();
        stage.wait_until("one holder for good", || {
            if stage.lab.holders(vip())?.len() != 1 {
                since = Instant::now();
            }
            Ok(since.elapsed() > quiet)
        })?;
        let end = Instant::now();
        let [one, other] = self.0;
        Ok(overlap(&one.end()?, &other.end()?, end))
    }
}

/// Since when a host holds the address or does not.
type History = Vec<(Instant, bool)>;

/// Listens to what the kernel tells of the address.
struct Holding {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<History, Stop>>>,
}

impl Holding {
    fn of(host: &Host) -> Result<Self, Stop> {
        let (host, stop) = (host.clone(), Arc::new(AtomicBool::new(false)));
        let (mut monitor, stopped) = (host.run(Monitor::open)?, Arc::clone(&stop));
        let mut held = vec![(Instant::now(), host.holds(vip())?)];
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                poll(&mut [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)], PollTimeout::from(50_u8))?;
                while let Some(event) = monitor.poll_event()? {
                    let is_held = match event {
                        Event::Address(address) if address.ip == vip() => true,
                        Event::AddressRemoved(address) if address.ip == vip() => false,
                        Event::Overflow => host.holds(vip())?,
                        _ => continue,
                    };
                    held.push((Instant::now(), is_held));
                }
            }
            Ok(held)
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    fn end(mut self) -> Result<History, Stop> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread.join().map_err(|_| Stop::failed("the monitor panicked"))?
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How long both held it.
fn overlap(one: &[(Instant, bool)], other: &[(Instant, bool)], end: Instant) -> Duration {
    let held_at = |held: &[(Instant, bool)], at: Instant| {
        held.iter().rev().find(|(since, _)| *since <= at).is_some_and(|(_, is_held)| *is_held)
    };
    let mut times: Vec<_> = one.iter().chain(other).map(|(at, _)| *at).chain([end]).collect();
    times.sort_unstable();
    let both = times.windows(2).filter(|pair| held_at(one, pair[0]) && held_at(other, pair[0]));
    both.map(|pair| pair[1] - pair[0]).sum()
}

/// Of the table.
static HEADER: Once = Once::new();

/// Where the rows are told to those who migrate.
const GUIDE: &str = include_str!("../../../../docs/migration.md");

/// Compares the medians of what `measure` tells: a row of the table, or a failure.
///
/// Half an advertisement interval is allowed for: a fault meets the timers of the pairs at different moments, processes
/// start sooner or later, and events are read a little after they happen.
pub(crate) fn no_longer_than_c_with_c(
    name: &str,
    interval: Duration,
    mut measure: impl FnMut() -> Result<[Duration; 3], Stop>,
) -> CaseResult {
    if !GUIDE.contains(&format!("| {name} |")) {
        return Err(Stop::failed(format!("docs/migration.md has no row of {name}")));
    }
    let mut seen = String::new();
    for _ in 0..TRIES {
        let mut rounds = Vec::new();
        while rounds.len() < ROUNDS {
            match measure() {
                Ok(times) => rounds.push(times),
                Err(Stop::Failed(why)) => {
                    seen += &format!("{why}\n");
                    break;
                }
                skipped => rounds.push(skipped?),
            }
            if is_no_longer(&rounds, interval / 2) {
                HEADER.call_once(|| {
                    println!(
                        "| Fault | Both keepalived | keepalived-rs fails | keepalived-rs stands by |\n|---|---|---|---|"
                    );
                });
                println!("| {name} | {} |", row([0, 1, 2].map(|pair| sorted(&rounds, pair)[rounds.len() / 2])));
                return Ok(());
            }
        }
        seen += &rounds.into_iter().map(|times| format!("| {} |\n", row(times))).collect::<String>();
    }
    Err(Stop::failed(format!("longer than with keepalived alone, or not measured:\n{seen}")))
}

/// Whether neither pair's median is longer than keepalived's. The median of three is no greater than the greater one of any
/// two of them, and no less than the lesser one: two rounds are enough if these are good.
fn is_no_longer(rounds: &[[Duration; 3]], tolerance: Duration) -> bool {
    let (theirs, ours) = match rounds.len() {
        2 => (0, 1),
        ROUNDS => (1, 1),
        _ => return false,
    };
    (1..3).all(|pair| sorted(rounds, pair)[ours] <= sorted(rounds, 0)[theirs] + tolerance)
}

fn sorted(rounds: &[[Duration; 3]], pair: usize) -> Vec<Duration> {
    let mut times: Vec<_> = rounds.iter().map(|round| round[pair]).collect();
    times.sort_unstable();
    times
}

fn row(times: [Duration; 3]) -> String {
    times.map(|time| format!("{:.3}", time.as_secs_f64())).join(" | ")
}
