//! When the worker stays awake for a take-over that is about to come. Pure.
//!
//! To wake a thread that sleeps takes some tenths of a millisecond where its processor sleeps too, and a take-over would
//! wait twice: for the advert thread, whose timer ends, and for the kernel thread, which puts the addresses in place.
//! So both are awake by then, if no one else wants their processors: who has just used one is the last to get it back, some
//! milliseconds later. Then the advert thread dozes instead. To be awake costs the time of a processor, of which there is a
//! budget: however often routers take over, or come close to it, no more than a small part of each second goes by like that.

use std::time::Duration;

use vrrp_proto::Instant;

/// So long before a take-over is due a vigil begins: a timer that ends late, and a thread that wakes up late, are awake by
/// then all the same.
pub(super) const LEAD: Duration = Duration::from_micros(600);

/// So long after it was due the kernel thread gives up waiting.
const GRACE: Duration = Duration::from_micros(400);

/// The kernel thread, once told, is awake for what is due this little later too.
const SLACK: Duration = Duration::from_micros(200);

/// So long the advert thread sleeps at a time where it must not stay awake: its processor does not fall asleep as deeply as
/// for longer.
const DOZE: Duration = Duration::from_micros(100);

/// In each [`PERIOD`] the threads are awake no longer than this.
const BUDGET: Duration = Duration::from_millis(5);

const PERIOD: Duration = Duration::from_secs(1);

/// The state of the advert thread's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vigil {
    /// When the take-over is due.
    due: Instant,
    /// The advert thread dozes until then.
    dozes: bool,
    /// What is left of the budget until it is renewed.
    left: Duration,
    renewed: Instant,
}

impl Default for Vigil {
    fn default() -> Self {
        Self { due: Instant::ZERO, dozes: false, left: Duration::ZERO, renewed: Instant::ZERO }
    }
}

impl Vigil {
    /// A router will take over at `due`. If the threads are to stay awake for it, or stay so for longer: until when the kernel
    /// thread has to be. `is_crowded` says whether they would keep others from their processors.
    pub(super) fn begin(&mut self, now: Instant, due: Instant, is_crowded: impl FnOnce() -> bool) -> Option<Instant> {
        // Whoever asks for more is mistaken.
        let is_soon = due.saturating_duration_since(now) <= LEAD;
        let is_prepared = now < self.due && due <= self.due + SLACK;
        if !is_soon || is_prepared {
            return None;
        }
        if self.renewed <= now {
            (self.left, self.renewed) = (BUDGET, now + PERIOD);
        }
        let until = due + GRACE;
        let left = self.left.checked_sub(until.saturating_duration_since(now)).filter(|_| !is_crowded());
        (self.due, self.dozes) = (due, left.is_none());
        self.left = left?;
        Some(until)
    }

    /// How long the advert thread may sleep at most; without a limit but in a vigil.
    pub(super) fn nap(&self, now: Instant) -> Option<Duration> {
        (now < self.due).then_some(if self.dozes { DOZE } else { Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_nanos(5_000_000_000);
    const SOON: Duration = Duration::from_micros(300);

    /// As it is where processors idle.
    fn begin(vigil: &mut Vigil, now: Instant, due: Instant) -> Option<Instant> {
        vigil.begin(now, due, || false)
    }

    #[test]
    fn a_vigil_lasts_until_the_take_over_and_the_kernel_thread_waits_a_little_longer() {
        let mut vigil = Vigil::default();
        assert_eq!(vigil.nap(T0), None);
        assert_eq!(begin(&mut vigil, T0, T0 + SOON), Some(T0 + SOON + GRACE));
        assert_eq!(vigil.nap(T0), Some(Duration::ZERO));
        assert_eq!(vigil.nap(T0 + SOON), None);
    }

    #[test]
    fn a_thousand_routers_that_take_over_together_begin_one() {
        let mut vigil = Vigil::default();
        let begun = (0..1000).filter(|_| begin(&mut vigil, T0, T0 + SOON).is_some()).count();
        assert_eq!(begun, 1);
    }

    #[test]
    fn a_second_router_soon_after_the_first_makes_it_longer() {
        let mut vigil = Vigil::default();
        begin(&mut vigil, T0, T0 + SOON);
        assert_eq!(begin(&mut vigil, T0, T0 + SOON + SLACK), None);
        let second = T0 + SOON + SLACK + Duration::from_nanos(1);
        assert_eq!(begin(&mut vigil, T0, second), Some(second + GRACE));
        assert_eq!(vigil.nap(T0 + SOON + SLACK), Some(Duration::ZERO));
    }

    /// In vain or not: one router after the other takes over, or comes close to it.
    #[test]
    fn of_each_second_little_goes_by_awake() {
        for gap in [100, 700, 1_000, 5_000] {
            let mut vigil = Vigil::default();
            let mut awake = Duration::ZERO;
            let rounds = 10_000_000 / gap;
            for round in 0..rounds {
                let now = T0 + Duration::from_micros(u64::from(gap)) * round;
                if let Some(until) = begin(&mut vigil, now, now + SOON) {
                    awake += until.saturating_duration_since(now);
                }
            }
            assert!(awake <= BUDGET * 10 && awake >= BUDGET * 8, "{gap}: {awake:?} of ten seconds");
        }
    }

    #[test]
    fn nobody_stays_awake_for_long() {
        let mut vigil = Vigil::default();
        assert_eq!(begin(&mut vigil, T0, T0 + LEAD + Duration::from_nanos(1)), None);
        assert_eq!(vigil.nap(T0), None);
    }

    #[test]
    fn where_others_want_the_processors_the_advert_thread_dozes_and_the_kernel_thread_sleeps() {
        let mut vigil = Vigil::default();
        assert_eq!(vigil.begin(T0, T0 + SOON, || true), None);
        assert_eq!(vigil.nap(T0), Some(DOZE));
        assert_eq!(vigil.nap(T0 + SOON), None);
        // It costs nothing of the budget.
        let next = T0 + SOON;
        assert_eq!(begin(&mut vigil, next, next + SOON), Some(next + SOON + GRACE));
        assert_eq!(vigil.left, BUDGET - SOON - GRACE);
    }

    #[test]
    fn a_thousand_routers_that_take_over_together_look_for_others_once() {
        let (mut vigil, mut asked) = (Vigil::default(), 0);
        for _ in 0..1000 {
            vigil.begin(T0, T0 + SOON, || {
                asked += 1;
                true
            });
        }
        assert_eq!(asked, 1);
    }

    #[test]
    fn once_the_budget_is_spent_the_advert_thread_dozes() {
        let mut vigil = Vigil::default();
        let naps: Vec<_> = (0..20u32)
            .map(|round| {
                let now = T0 + LEAD * round;
                begin(&mut vigil, now, now + LEAD);
                vigil.nap(now)
            })
            .collect();
        assert_eq!(naps[..5], [Some(Duration::ZERO); 5]);
        assert_eq!(naps[5..], [Some(DOZE); 15]);
    }
}
