//! The driver: with probes that follow a script on a clock that jumps, and once with a real server.

use std::{
    net::Ipv4Addr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use health_checkers::{
    driver::{Driver, Event},
    outcome::{Failure, Outcome, Reason},
    probe::{Connect, Context, Probe, tcp::Tcp},
    schedule::{Config, Schedule, Verdict},
};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

/// A server that takes `takes` for an answer, and whose tries succeed from number `up_from` on.
struct Scripted {
    takes: Duration,
    up_from: usize,
    tries: AtomicUsize,
    running: Arc<AtomicUsize>,
}

impl Scripted {
    fn boxed(takes: Duration, up_from: usize) -> Box<Self> {
        Self::counted(takes, up_from, &Arc::default())
    }

    fn counted(takes: Duration, up_from: usize, running: &Arc<AtomicUsize>) -> Box<Self> {
        Box::new(Self { takes, up_from, tries: AtomicUsize::new(0), running: Arc::clone(running) })
    }
}

/// Counts while it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Probe for Scripted {
    fn kind(&self) -> &'static str {
        "SCRIPTED"
    }

    async fn run(&self, _: &Context) -> Outcome {
        let _counted = Counted::new(&self.running);
        tokio::time::sleep(self.takes).await;
        if self.tries.fetch_add(1, Ordering::Relaxed) >= self.up_from {
            Outcome::success(vec![])
        } else {
            Failure::new(Reason::Other).into()
        }
    }
}

fn driver() -> Driver<u32> {
    Driver::new(Driver::<u32>::DEFAULT_IN_FLIGHT)
}

fn config(delay_loop: Duration) -> Config {
    Config { delay_loop, warmup: Some(Duration::ZERO), retry: 0, ..Config::default() }
}

/// Adds and starts a check.
fn start(driver: &mut Driver<u32>, id: u32, config: Config, probe: Box<dyn Probe>) {
    driver.add(id, Schedule::new(config), probe);
    driver.activate(&id);
}

async fn next(driver: &mut Driver<u32>) -> Event<u32> {
    driver.next().await.expect("the stream of events does not end")
}

#[tokio::test(start_paused = true)]
async fn reports_each_try_and_marks_new_verdicts() {
    let mut driver = driver();
    let origin = Instant::now();
    let timing = Config { retry: 1, delay_before_retry: 2 * SECOND, ..config(10 * SECOND) };
    start(&mut driver, 7, timing, Scripted::boxed(SECOND, 3));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = next(&mut driver).await;
        assert_eq!(event.id, 7);
        assert!(event.took >= SECOND);
        seen.push((origin.elapsed().as_secs(), event.report.verdict, event.report.changed));
    }
    let (up, down) = (Verdict::Up, Verdict::Down);
    assert_eq!(seen, [(1, up, false), (4, down, true), (15, down, false), (26, up, true)]);
    assert_eq!(driver.verdict(&7), Some(Verdict::Up));
}

#[tokio::test(start_paused = true)]
async fn waits_for_ever_without_active_checks() {
    let mut driver = driver();
    driver.add(1, Schedule::new(config(SECOND)), Scripted::boxed(SECOND, 0));
    driver.activate(&2);
    assert!(timeout(1000 * SECOND, driver.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_check_ends_its_try_and_keeps_its_verdict() {
    let running = Arc::default();
    let mut driver = driver();
    start(&mut driver, 1, config(10 * SECOND), Scripted::counted(5 * SECOND, 9, &running));
    assert_eq!(next(&mut driver).await.report.verdict, Verdict::Down);
    assert!(timeout(12 * SECOND, driver.next()).await.is_err());
    assert_eq!(running.load(Ordering::Relaxed), 1, "the second try is under way");
    driver.suspend(&1);
    assert!(timeout(100 * SECOND, driver.next()).await.is_err());
    assert_eq!(running.load(Ordering::Relaxed), 0);
    assert_eq!((driver.verdict(&1), driver.in_flight()), (Some(Verdict::Down), 0));
    let resumed = Instant::now();
    driver.activate(&1);
    driver.activate(&1);
    next(&mut driver).await;
    assert_eq!(resumed.elapsed().as_secs(), 5);
    next(&mut driver).await;
    assert_eq!(resumed.elapsed().as_secs(), 20, "activating twice is activating once");
}

#[tokio::test(start_paused = true)]
async fn no_event_of_a_removed_check_follows() {
    let mut driver = driver();
    start(&mut driver, 1, config(10 * SECOND), Scripted::boxed(5 * SECOND, 9));
    start(&mut driver, 2, config(10 * SECOND), Scripted::boxed(7 * SECOND, 9));
    assert!(timeout(SECOND, driver.next()).await.is_err());
    assert_eq!(driver.remove(&1), Some(Verdict::Up));
    assert_eq!(driver.remove(&1), None);
    assert_eq!(next(&mut driver).await.id, 2);
    assert_eq!(next(&mut driver).await.id, 2);
}

#[tokio::test(start_paused = true)]
async fn adding_again_replaces_the_check_and_its_try() {
    let mut driver = driver();
    start(&mut driver, 1, config(10 * SECOND), Scripted::boxed(5 * SECOND, 9));
    assert!(timeout(SECOND, driver.next()).await.is_err());
    let resumed = Schedule::resume(config(10 * SECOND), Verdict::Down);
    driver.add(1, resumed, Scripted::boxed(SECOND, 0));
    assert_eq!(driver.verdicts().collect::<Vec<_>>(), [(&1, Verdict::Down)]);
    driver.activate(&1);
    let event = next(&mut driver).await;
    assert_eq!(event.took.as_secs(), 1, "the outcome of the new probe");
    assert!(event.report.changed && event.report.verdict == Verdict::Up);
}

#[tokio::test(start_paused = true)]
async fn first_tries_spread_over_warmup() {
    let mut driver = driver();
    let origin = Instant::now();
    for id in 0..1000 {
        let timing = Config { warmup: None, seed: u64::from(id), ..config(10 * SECOND) };
        start(&mut driver, id, timing, Scripted::boxed(Duration::ZERO, 0));
    }
    let mut per_second = [0; 10];
    for _ in 0..1000 {
        next(&mut driver).await;
        let second = usize::try_from(origin.elapsed().as_secs()).unwrap();
        per_second[second.min(9)] += 1;
    }
    assert!(per_second.iter().all(|&count| count > 50), "{per_second:?}");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_tries_are_under_way() {
    let running = Arc::new(AtomicUsize::new(0));
    let mut driver = Driver::new(NonZeroUsize::new(10).unwrap());
    for id in 0..100 {
        start(&mut driver, id, config(1000 * SECOND), Scripted::counted(SECOND, 0, &running));
    }
    let origin = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(next(&mut driver).await.id);
        assert!(running.load(Ordering::Relaxed) <= 10 && driver.in_flight() <= 10);
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
    assert_eq!(origin.elapsed().as_secs(), 10, "ten at a time, a second each");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_try_makes_room_for_others() {
    let mut driver = Driver::new(NonZeroUsize::MIN);
    start(&mut driver, 1, config(SECOND), Scripted::boxed(1_000_000 * SECOND, 0));
    start(&mut driver, 2, config(SECOND), Scripted::boxed(SECOND, 0));
    assert!(timeout(10 * SECOND, driver.next()).await.is_err());
    driver.suspend(&1);
    assert_eq!(timeout(10 * SECOND, driver.next()).await.unwrap().unwrap().id, 2);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_loses_nothing() {
    let mut driver = driver();
    start(&mut driver, 1, config(SECOND), Scripted::boxed(SECOND, 0));
    let mut events = 0;
    for _ in 0..100 {
        if timeout(Duration::from_millis(100), driver.next_event()).await.is_ok() {
            events += 1;
        }
    }
    assert!((4..=6).contains(&events), "{events} tries in 10 s, one each 2 s");
    assert!(driver.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_server_leaves_and_comes_back() {
    // No other test uses this host, so the port stays free.
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 77), 0)).await.unwrap();
    let target = listener.local_addr().unwrap();
    let timing =
        Config { delay_before_retry: Duration::from_millis(10), retry: 2, ..config(Duration::from_millis(20)) };
    let mut driver = driver();
    start(&mut driver, 1, timing, Box::new(Tcp::new(Connect::to(target))));
    let until = |verdict, mut driver: Driver<u32>| async move {
        timeout(20 * SECOND, async { while next(&mut driver).await.report.verdict != verdict {} })
            .await
            .expect("the verdict comes");
        driver
    };
    driver = until(Verdict::Up, driver).await;
    drop(listener);
    driver = until(Verdict::Down, driver).await;
    let _listener = TcpListener::bind(target).await.unwrap();
    until(Verdict::Up, driver).await;
}
