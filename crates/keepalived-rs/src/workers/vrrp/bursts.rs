//! When the worker lets adverts gather before it reads on. Pure.
//!
//! A peer sends the adverts of hundreds of routers one right after the other, and this thread is as fast as the peer: it
//! would be woken for each of them, which costs more than the advert. Adverts count from when they came, so that nobody
//! notices if it sleeps for a moment and then reads them together. A single advert never waits.

use std::time::Duration;

use vrrp_proto::Instant;

/// So long adverts gather. Less than what an advert may have waited and still count from when it came.
pub(super) const REST: Duration = Duration::from_micros(400);

/// Packets that are read no longer than this after the ones before belong to the same burst.
const CLOSE: Duration = Duration::from_micros(100);

/// So many packets are a burst, of which there will be more.
const MANY: usize = 4;

/// A sleep may end so late that nothing is to be due until then.
const MARGIN: Duration = Duration::from_micros(600);

/// What the thread has read lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bursts {
    last: Instant,
    packets: usize,
}

impl Default for Bursts {
    fn default() -> Self {
        Self { last: Instant::ZERO, packets: 0 }
    }
}

impl Bursts {
    /// So many packets were read at `now`.
    pub(super) fn note(&mut self, now: Instant, count: usize) {
        let goes_on = now.saturating_duration_since(self.last) <= CLOSE;
        self.packets = if goes_on { self.packets + count } else { count };
        self.last = now;
    }

    /// How long to sleep, now that the thread has nothing else to do until `due`; asked once after each reading.
    pub(super) fn rest(&mut self, now: Instant, due: Option<Instant>) -> Option<Duration> {
        let is_burst = self.packets >= MANY;
        let is_free = due.is_none_or(|due| due > now + REST + MARGIN);
        if !is_burst || !is_free {
            return None;
        }
        self.packets = 0;
        Some(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_nanos(5_000_000_000);

    #[test]
    fn a_burst_is_read_together() {
        let mut bursts = Bursts::default();
        for packet in 0..3 {
            bursts.note(T0 + CLOSE * packet, 1);
            assert_eq!(bursts.rest(T0 + CLOSE * packet, None), None, "{packet}");
        }
        bursts.note(T0 + CLOSE * 3, 1);
        assert_eq!(bursts.rest(T0 + CLOSE * 3, None), Some(REST));
        assert_eq!(bursts.rest(T0 + CLOSE * 3, None), None, "once");
        let after = T0 + CLOSE * 3 + REST;
        bursts.note(after, 100);
        assert_eq!(bursts.rest(after, None), Some(REST), "it goes on");
        bursts.note(after + REST, 3);
        assert_eq!(bursts.rest(after + REST, None), None, "it is over");
    }

    #[test]
    fn packets_apart_do_not_wait() {
        let mut bursts = Bursts::default();
        for packet in 0..100 {
            let now = T0 + (CLOSE + Duration::from_nanos(1)) * packet;
            bursts.note(now, 1);
            assert_eq!(bursts.rest(now, None), None);
        }
    }

    #[test]
    fn what_is_due_does_not_wait() {
        let mut bursts = Bursts::default();
        bursts.note(T0, 100);
        assert_eq!(bursts.rest(T0, Some(T0 + REST + MARGIN)), None);
        assert_eq!(bursts.rest(T0, Some(T0)), None);
        let later = T0 + REST + MARGIN + Duration::from_nanos(1);
        assert_eq!(bursts.rest(T0, Some(later)), Some(REST));
    }
}
