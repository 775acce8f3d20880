//! When a server is tried, and what the results mean.
//!
//! A [`Schedule`] holds no clock and does no input or output. The run loop of one check:
//!
//! 1. [`activate`](Schedule::activate) it;
//! 2. sleep until [`poll_timeout`](Schedule::poll_timeout);
//! 3. [`poll_attempt`](Schedule::poll_attempt) says what to try; run the probe;
//! 4. give its result to [`handle_outcome`](Schedule::handle_outcome), act on the [`Report`]; back to 2.
//!
//! The rules are keepalived's: a try every `delay_loop`; a server that is up gets `retry` further tries,
//! `delay_before_retry` apart, before it is down; a server that is down is up at its first success and gets no
//! retries; the first try comes after a random part of `warmup`.

use std::{ops::Add, time::Duration};

use crate::outcome::Outcome;

/// A point in time: nanoseconds since an origin that the caller chooses once (the daemon: CLOCK_BOOTTIME's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`, zero if that lies ahead.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates 584 years after the origin.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// What is known of a server, as far as one check can know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The server may be used.
    Up,
    /// The server failed this check.
    Down,
}

/// Timing of one check. `Default` is keepalived's, with the seed 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Time from the end of one try to the next one. Default 60 s.
    pub delay_loop: Duration,
    /// Further tries that a server now up gets before it is down. Default 1 (`MISC_CHECK` 0, `DNS_CHECK` 3).
    pub retry: u32,
    /// Time from a failed try to its retry. Default 1 s (`HTTP_GET` 3 s, `DNS_CHECK` `delay_loop`).
    pub delay_before_retry: Duration,
    /// The first try comes after a random part of this time, zero: at once. Default (`None`): `delay_loop`.
    pub warmup: Option<Duration>,
    /// The server is down until its first success. Otherwise it is up from the start.
    pub alpha: bool,
    /// Do all steps of a check without delay until it has succeeded: at the start, and after a failure.
    pub fast_recovery: bool,
    /// Seed of the random part of `warmup`. Checks with different seeds spread; the same seed repeats.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delay_loop: Duration::from_secs(60),
            retry: 1,
            delay_before_retry: Duration::from_secs(1),
            warmup: None,
            alpha: false,
            fast_recovery: false,
            seed: 0,
        }
    }
}

/// What to try now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attempt {
    /// Step of the check, from 0; counts the [`Outcome::Progress`] since the check began anew.
    pub step: usize,
    /// How many tries of this step failed since the last one that passed; 0 for a first try.
    pub retries: u32,
}

/// What an outcome led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Report {
    /// The verdict after this outcome.
    pub verdict: Verdict,
    /// The verdict was another one before.
    pub changed: bool,
    /// The check has for the first time come to a verdict of its own, changed or not (`rs_init_notifies`).
    pub first: bool,
    /// Consecutive failed tries, this one included; 0 after a success.
    pub failures: u32,
    /// A retry follows: this failure did not count yet.
    pub retrying: bool,
}

/// The state of one check. Holds no socket, clock, thread or logger.
#[derive(Debug, Clone)]
pub struct Schedule {
    config: Config,
    verdict: Verdict,
    /// The check has come to a verdict of its own.
    settled: bool,
    /// No success since the start or since the last failure.
    recovering: bool,
    failures: u32,
    step: usize,
    phase: Phase,
    random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not to be tried: not started yet, or suspended.
    Suspended,
    /// Waiting for the next try.
    Waiting { due: Instant },
    /// A try is under way.
    Trying,
}

impl Schedule {
    /// A check that waits for [`activate`](Self::activate): up, or with `alpha` down.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        let verdict = if config.alpha { Verdict::Down } else { Verdict::Up };
        let random = config.seed;
        Self {
            config,
            verdict,
            settled: false,
            recovering: true,
            failures: 0,
            step: 0,
            phase: Phase::Suspended,
            random,
        }
    }

    /// A check that goes on with a verdict found earlier: after a reload, or in a new process.
    #[must_use]
    pub const fn resume(config: Config, verdict: Verdict) -> Self {
        let mut schedule = Self::new(config);
        schedule.verdict = verdict;
        schedule.settled = true;
        schedule.recovering = matches!(verdict, Verdict::Down);
        schedule
    }

    /// Starts, or starts again after [`suspend`](Self::suspend): the first try is due after a random part of `warmup`.
    /// Changes nothing on a check that is active already.
    pub fn activate(&mut self, now: Instant) {
        if self.phase == Phase::Suspended {
            let due = now + self.warmup_delay();
            self.phase = Phase::Waiting { due };
        }
    }

    /// Stops trying. The verdict stays; a try under way and the failures counted so far are forgotten.
    pub const fn suspend(&mut self) {
        self.phase = Phase::Suspended;
        self.failures = 0;
        self.step = 0;
    }

    /// The timing it was made with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What is known of the server now.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// When to call [`poll_attempt`](Self::poll_attempt) next; `None` while suspended or while a try is under way.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { due } => Some(due),
            Phase::Suspended | Phase::Trying => None,
        }
    }

    /// What to try at `now`, if something is due. Early or repeated calls change nothing.
    pub fn poll_attempt(&mut self, now: Instant) -> Option<Attempt> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return None;
        }
        self.phase = Phase::Trying;
        let retries = if self.verdict == Verdict::Up { self.failures } else { 0 };
        Some(Attempt { step: self.step, retries })
    }

    /// The outcome of the try under way, which ended at `now`. `None` when no try is under way: it was suspended
    /// meanwhile.
    pub fn handle_outcome(&mut self, now: Instant, outcome: &Outcome) -> Option<Report> {
        if self.phase != Phase::Trying {
            return None;
        }
        let (before, settled_before) = (self.verdict, self.settled);
        let delay = match outcome {
            Outcome::Success { .. } => self.succeed(),
            Outcome::Progress { .. } => self.proceed(),
            Outcome::Failure(_) => self.fail(),
        };
        self.phase = Phase::Waiting { due: now + delay };
        Some(Report {
            verdict: self.verdict,
            changed: self.verdict != before,
            first: self.settled && !settled_before,
            failures: self.failures,
            retrying: self.is_retrying(),
        })
    }

    const fn succeed(&mut self) -> Duration {
        self.verdict = Verdict::Up;
        self.settled = true;
        self.recovering = false;
        self.failures = 0;
        self.step = 0;
        self.config.delay_loop
    }

    const fn proceed(&mut self) -> Duration {
        self.failures = 0;
        self.step = self.step.saturating_add(1);
        if self.recovering && self.config.fast_recovery { Duration::ZERO } else { self.config.delay_loop }
    }

    /// A retry repeats the failed step; a check that is down begins anew, since all its steps must pass.
    fn fail(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.recovering = true;
        if self.is_retrying() {
            return self.config.delay_before_retry;
        }
        self.verdict = Verdict::Down;
        self.settled = true;
        self.step = 0;
        self.config.delay_loop
    }

    fn is_retrying(&self) -> bool {
        self.verdict == Verdict::Up && (1..=self.config.retry).contains(&self.failures)
    }

    /// A random part of `warmup`, another one at each call.
    fn warmup_delay(&mut self) -> Duration {
        let warmup = self.config.warmup.unwrap_or(self.config.delay_loop);
        let whole = u64::try_from(warmup.as_nanos()).unwrap_or(u64::MAX);
        let part = (u128::from(whole) * u128::from(next_random(&mut self.random))) >> 64;
        Duration::from_nanos(u64::try_from(part).unwrap_or(whole))
    }
}

/// SplitMix64: one addition and two multiplications spread even consecutive seeds.
const fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
