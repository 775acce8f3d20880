use proptest::prelude::*;

use super::*;
use crate::outcome::{Failure, Reason};

const SECOND: Duration = Duration::from_secs(1);

fn success() -> Outcome {
    Outcome::success(vec![])
}

fn progress() -> Outcome {
    Outcome::progress(vec![])
}

fn failure() -> Outcome {
    Failure::new(Reason::TcpFailed).into()
}

/// Ten seconds between tries, two retries two seconds apart, the first try at once.
fn config() -> Config {
    Config {
        delay_loop: 10 * SECOND,
        retry: 2,
        delay_before_retry: 2 * SECOND,
        warmup: Some(Duration::ZERO),
        ..Config::default()
    }
}

/// A check with its clock, which jumps from try to try.
struct Run {
    schedule: Schedule,
    now: Instant,
}

impl Run {
    fn new(config: Config) -> Self {
        Self::of(Schedule::new(config))
    }

    fn of(mut schedule: Schedule) -> Self {
        let now = Instant::from_nanos(5_000_000_000);
        schedule.activate(now);
        Self { schedule, now }
    }

    /// Waits for the next try and ends it with `outcome` at once. Returns the wait, the attempt and the report.
    fn step(&mut self, outcome: &Outcome) -> (Duration, Attempt, Report) {
        let due = self.schedule.poll_timeout().expect("an active check has a deadline");
        let wait = due.saturating_duration_since(self.now);
        self.now = self.now.max(due);
        let attempt = self.schedule.poll_attempt(self.now).expect("due");
        let report = self.schedule.handle_outcome(self.now, outcome).expect("a try is under way");
        (wait, attempt, report)
    }

    fn waits(&mut self, outcomes: &[Outcome]) -> Vec<u64> {
        outcomes.iter().map(|outcome| self.step(outcome).0.as_secs()).collect()
    }
}

#[test]
fn tries_every_delay_loop() {
    let mut run = Run::new(config());
    assert_eq!(run.waits(&[success(), success(), success()]), [0, 10, 10]);
    assert_eq!(run.schedule.verdict(), Verdict::Up);
}

#[test]
fn is_up_from_the_start_without_alpha() {
    assert_eq!(Schedule::new(config()).verdict(), Verdict::Up);
    assert_eq!(Schedule::new(Config { alpha: true, ..config() }).verdict(), Verdict::Down);
}

#[test]
fn a_server_that_is_up_retries_before_it_is_down() {
    let mut run = Run::new(config());
    let (_, _, report) = run.step(&failure());
    assert_eq!(report, Report { verdict: Verdict::Up, changed: false, first: false, failures: 1, retrying: true });
    let (wait, attempt, _) = run.step(&failure());
    assert_eq!((wait, attempt.retries), (2 * SECOND, 1));
    let (wait, attempt, report) = run.step(&failure());
    assert_eq!((wait, attempt.retries), (2 * SECOND, 2));
    assert_eq!(report, Report { verdict: Verdict::Down, changed: true, first: true, failures: 3, retrying: false });
}

#[test]
fn a_success_between_failures_starts_the_count_anew() {
    let mut run = Run::new(config());
    let rounds = [failure(), failure(), success(), failure(), failure()];
    assert_eq!(run.waits(&rounds), [0, 2, 2, 10, 2]);
    assert_eq!(run.schedule.verdict(), Verdict::Up);
    assert_eq!(run.step(&failure()).2.verdict, Verdict::Down);
}

#[test]
fn a_server_that_is_down_gets_no_retries_and_is_up_at_its_first_success() {
    let mut run = Run::of(Schedule::resume(config(), Verdict::Down));
    assert_eq!(run.waits(&[failure(), failure()]), [0, 10]);
    let (wait, attempt, report) = run.step(&success());
    assert_eq!((wait, attempt), (10 * SECOND, Attempt { step: 0, retries: 0 }));
    assert!(report.changed && report.verdict == Verdict::Up && !report.first);
}

#[test]
fn with_alpha_the_first_failure_is_final_and_the_first_success_counts() {
    let mut run = Run::new(Config { alpha: true, ..config() });
    let (_, _, report) = run.step(&failure());
    assert_eq!(report, Report { verdict: Verdict::Down, changed: false, first: true, failures: 1, retrying: false });
    let (wait, _, report) = run.step(&success());
    assert_eq!((wait, report.verdict, report.changed), (10 * SECOND, Verdict::Up, true));
}

#[test]
fn without_retry_the_first_failure_is_final() {
    let mut run = Run::new(Config { retry: 0, ..config() });
    assert_eq!(run.step(&failure()).2.verdict, Verdict::Down);
}

#[test]
fn a_retry_repeats_the_failed_step() {
    let mut run = Run::new(config());
    run.step(&progress());
    assert_eq!(run.step(&failure()).1, Attempt { step: 1, retries: 0 });
    assert_eq!(run.step(&progress()).1, Attempt { step: 1, retries: 1 });
    assert_eq!(run.step(&success()).1, Attempt { step: 2, retries: 0 });
    assert_eq!(run.step(&success()).1, Attempt { step: 0, retries: 0 });
}

#[test]
fn a_check_that_is_down_must_pass_all_its_steps() {
    let mut run = Run::new(Config { retry: 0, ..config() });
    run.step(&progress());
    assert_eq!(run.step(&failure()).2.verdict, Verdict::Down);
    let (_, attempt, report) = run.step(&progress());
    assert_eq!((attempt.step, report.verdict), (0, Verdict::Down));
    let (_, attempt, report) = run.step(&success());
    assert_eq!((attempt.step, report.verdict), (1, Verdict::Up));
}

#[test]
fn steps_are_one_per_cycle_and_with_fast_recovery_at_once_until_a_success() {
    let rounds = [progress(), progress(), success(), progress(), success(), failure(), progress(), progress()];
    let slow = Config { retry: 0, ..config() };
    assert_eq!(Run::new(slow.clone()).waits(&rounds), [0, 10, 10, 10, 10, 10, 10, 10]);
    let fast = Config { fast_recovery: true, ..slow };
    assert_eq!(Run::new(fast).waits(&rounds), [0, 0, 0, 10, 10, 10, 10, 0]);
}

#[test]
fn warmup_spreads_the_first_tries_over_its_whole_length() {
    let first = |seed, warmup| {
        let run = Run::new(Config { seed, warmup, ..config() });
        run.schedule.poll_timeout().unwrap().saturating_duration_since(run.now)
    };
    assert_eq!(first(1, Some(Duration::ZERO)), Duration::ZERO);
    assert_eq!(first(1, None), first(1, Some(10 * SECOND)), "the default is delay_loop");
    let mut per_second = [0; 10];
    for seed in 0..1000 {
        let delay = first(seed, None);
        assert_eq!(delay, first(seed, None), "seed {seed} repeats");
        per_second[usize::try_from(delay.as_secs()).unwrap()] += 1;
    }
    assert!(per_second.iter().all(|&count| count > 50), "{per_second:?}");
}

#[test]
fn a_suspended_check_keeps_its_verdict_and_begins_anew() {
    let mut run = Run::new(config());
    run.step(&failure());
    run.step(&failure());
    run.schedule.suspend();
    assert_eq!((run.schedule.poll_timeout(), run.schedule.verdict()), (None, Verdict::Up));
    assert_eq!(run.schedule.poll_attempt(run.now + 100 * SECOND), None);
    run.schedule.activate(run.now);
    assert_eq!(run.waits(&[failure(), failure()]), [0, 2]);
    assert_eq!(run.schedule.verdict(), Verdict::Up, "the failures before the suspension do not count");
}

#[test]
fn an_outcome_after_suspension_is_ignored() {
    let mut run = Run::new(Config { retry: 0, ..config() });
    assert!(run.schedule.poll_attempt(run.now).is_some());
    run.schedule.suspend();
    assert_eq!(run.schedule.handle_outcome(run.now, &failure()), None);
    assert_eq!(run.schedule.verdict(), Verdict::Up);
}

#[test]
fn a_second_activation_does_not_move_the_deadline() {
    let mut run = Run::new(config());
    run.step(&success());
    let due = run.schedule.poll_timeout();
    run.schedule.activate(run.now + SECOND);
    assert_eq!(run.schedule.poll_timeout(), due);
}

#[test]
fn time_saturates() {
    let end = Instant::from_nanos(u64::MAX);
    assert_eq!(end + Duration::MAX, end);
    assert_eq!(Instant::default().saturating_duration_since(end), Duration::ZERO);
    let mut run = Run::new(Config { delay_loop: Duration::MAX, ..config() });
    run.step(&success());
    assert_eq!(run.schedule.poll_timeout(), Some(end));
}

/// What happens to a check.
#[derive(Debug, Clone)]
enum Input {
    Outcome { outcome: Outcome, took: Duration },
    Suspend { pause: Duration },
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), (0..120_000_u64).prop_map(Duration::from_millis), Just(Duration::MAX)]
}

fn any_config() -> impl Strategy<Value = Config> {
    let timing = (any_duration(), 0..4_u32, any_duration(), proptest::option::of(any_duration()));
    (timing, any::<(bool, bool, u64)>()).prop_map(|(timing, (alpha, fast_recovery, seed))| {
        let (delay_loop, retry, delay_before_retry, warmup) = timing;
        Config { delay_loop, retry, delay_before_retry, warmup, alpha, fast_recovery, seed }
    })
}

fn any_input() -> impl Strategy<Value = Input> {
    let outcome = prop_oneof![3 => Just(success()), 1 => Just(progress()), 6 => Just(failure())];
    let took = (0..10_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        9 => (outcome, took.clone()).prop_map(|(outcome, took)| Input::Outcome { outcome, took }),
        1 => took.prop_map(|pause| Input::Suspend { pause }),
    ]
}

proptest! {
    /// Down only after `retry` + 1 consecutive failures when up; up after one success; no deadline in the past.
    #[test]
    fn holds_to_the_rules_whatever_happens(
        config in any_config(),
        inputs in proptest::collection::vec(any_input(), 0..60),
    ) {
        let mut now = Instant::from_nanos(1);
        let mut schedule = Schedule::new(config.clone());
        schedule.activate(now);
        let mut up = !config.alpha;
        let mut failures = 0;
        for input in inputs {
            let due = schedule.poll_timeout().expect("active");
            prop_assert!(due >= now, "{due:?} is before {now:?}");
            if now < due {
                let early = Instant::from_nanos(due.as_nanos() - 1);
                prop_assert_eq!(schedule.poll_attempt(early), None);
            }
            now = due;
            let attempt = schedule.poll_attempt(now);
            prop_assert!(attempt.is_some());
            prop_assert_eq!(schedule.poll_attempt(now), None, "one try at a time");
            prop_assert_eq!(schedule.poll_timeout(), None);
            match input {
                Input::Suspend { pause } => {
                    schedule.suspend();
                    now = now + pause;
                    schedule.activate(now);
                    failures = 0;
                }
                Input::Outcome { outcome, took } => {
                    now = now + took;
                    let was_up = up;
                    match outcome {
                        Outcome::Success { .. } => (up, failures) = (true, 0),
                        Outcome::Progress { .. } => failures = 0,
                        Outcome::Failure(_) => {
                            failures += 1;
                            up = up && failures <= config.retry;
                        }
                    }
                    let report = schedule.handle_outcome(now, &outcome).expect("under way");
                    prop_assert_eq!(report.verdict == Verdict::Up, up);
                    prop_assert_eq!(report.changed, up != was_up);
                    prop_assert_eq!(report.failures, failures);
                    let wait = schedule.poll_timeout().expect("active").saturating_duration_since(now);
                    prop_assert!(wait <= config.delay_loop.max(config.delay_before_retry));
                    if report.retrying {
                        prop_assert!(up && failures > 0);
                    }
                    prop_assert_eq!(schedule.handle_outcome(now, &outcome), None, "an outcome counts once");
                }
            }
            prop_assert_eq!(schedule.verdict() == Verdict::Up, up);
        }
    }

    /// A first try never comes after `warmup`.
    #[test]
    fn a_first_try_comes_within_warmup(seed: u64, warmup in any_duration(), start: u64) {
        let now = Instant::from_nanos(start);
        let mut schedule = Schedule::new(Config { seed, warmup: Some(warmup), ..Config::default() });
        schedule.activate(now);
        let due = schedule.poll_timeout().expect("active");
        prop_assert!(due >= now && due <= now + warmup);
    }
}
