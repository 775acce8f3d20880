//! CLOCK_BOOTTIME: the time of `vrrp-proto`, and a timer on it; the wall clock for signed adverts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use vrrp_proto::{Instant, UnixTime};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The time now.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Instant::from_nanos(seconds * NANOS_PER_SECOND + u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The wall clock, which signed adverts carry.
pub(crate) fn wall() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// A packet that waited for this thread counts from when it came, but not from longer ago: after a stall the newest may be
/// missing, as there was no room for them, and the ones that are there must not look old.
const LONGEST_WAIT: Duration = Duration::from_millis(1);

/// Both clocks at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clocks {
    pub(crate) now: Instant,
    pub(crate) wall: UnixTime,
}

impl Clocks {
    /// As they are now.
    pub(crate) fn now() -> Self {
        Self { now: now(), wall: wall() }
    }

    /// When a packet came that the kernel has stamped with this time of the wall clock. Pure. Where that clock was set
    /// meanwhile, or there is no stamp, it is a time between then and now.
    pub(crate) fn when(self, stamp: Option<Duration>) -> Instant {
        let waited = stamp.map_or(Duration::ZERO, |stamp| self.wall.0.saturating_sub(stamp));
        self.now.saturating_sub(waited.min(LONGEST_WAIT))
    }
}

/// A descriptor that is readable from a certain time on.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    due: Option<Instant>,
    /// It may be readable, which setting it ends.
    fired: bool,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { fd: timerfd_create(TimerfdClockId::Boottime, flags)?, due: None, fired: false })
    }

    /// Makes it readable at `due`; `None` for never. Costs nothing when that is unchanged.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn set(&mut self, due: Option<Instant>) -> io::Result<()> {
        if due == self.due && !self.fired {
            return Ok(());
        }
        // All zeroes would disarm it, so the boot itself is a nanosecond later.
        let nanos = due.map_or(0, |due| due.as_nanos().max(1));
        let value = Timespec {
            tv_sec: i64::try_from(nanos / NANOS_PER_SECOND).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % NANOS_PER_SECOND).unwrap_or(0),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &once)?;
        self.due = due;
        self.fired = false;
        Ok(())
    }

    /// It was seen to be readable: the next [`set`](Self::set) makes it unreadable. That saves reading it.
    pub(crate) fn clear(&mut self) {
        self.fired = true;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn a_packet_counts_from_when_it_came() {
        let clocks = Clocks { now: Instant::from_nanos(5_000_000_000), wall: UnixTime(Duration::from_secs(1_000)) };
        let came = |micros_before: i64| {
            let stamp = 1_000_000_000 - micros_before;
            let when = clocks.when(Some(Duration::from_micros(u64::try_from(stamp).unwrap())));
            clocks.now.saturating_duration_since(when)
        };
        assert_eq!(came(0), Duration::ZERO);
        assert_eq!(came(300), Duration::from_micros(300));
        assert_eq!(came(1_001), LONGEST_WAIT);
        // The wall clock was set, forward and back.
        assert_eq!(came(900_000_000), LONGEST_WAIT);
        assert_eq!(came(-3_600_000_000), Duration::ZERO);
        assert_eq!(clocks.when(None), clocks.now);
    }

    fn fires(timer: &Timer, within: Duration) -> bool {
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::try_from(within.as_nanos()).unwrap() };
        let mut fds = [PollFd::new(timer, PollFlags::IN)];
        poll(&mut fds, Some(&limit)).unwrap() == 1
    }

    #[test]
    fn a_timer_fires_at_its_time_and_not_before() {
        let mut timer = Timer::new().unwrap();
        let due = now() + Duration::from_millis(20);
        timer.set(Some(due)).unwrap();
        assert!(fires(&timer, Duration::from_millis(999)));
        assert!(now() >= due);
        timer.clear();
        timer.set(Some(due + Duration::from_secs(60))).unwrap();
        assert!(!fires(&timer, Duration::ZERO));
        // The same time again, which has passed: it fires again.
        timer.set(Some(due)).unwrap();
        assert!(fires(&timer, Duration::from_millis(999)));
        timer.clear();
        timer.set(None).unwrap();
        assert!(!fires(&timer, Duration::ZERO));
    }

    /// Beside a control that counts in whole milliseconds, as the time-out of `poll` and the wheel of a runtime do.
    #[test]
    fn a_timer_is_finer_than_a_millisecond() {
        const TIMES: u32 = 21;
        let step = Duration::from_micros(1_300);
        // The lower quartile: what other tests take of the processors makes the rest later.
        let quartile = |mut sleep: Box<dyn FnMut(Instant)>| {
            let mut late: Vec<_> = (0..TIMES)
                .map(|_| {
                    let due = now() + step;
                    sleep(due);
                    now().saturating_duration_since(due)
                })
                .collect();
            late.sort_unstable();
            late[late.len() / 4]
        };
        let mut timer = Timer::new().unwrap();
        let ours = quartile(Box::new(move |due| {
            timer.set(Some(due)).unwrap();
            assert!(fires(&timer, Duration::from_millis(999)));
            timer.clear();
        }));
        let control = quartile(Box::new(|due| {
            // Rounded up, as nothing may be early.
            let millis = due.saturating_duration_since(now()).as_nanos().div_ceil(1_000_000);
            nix::poll::poll(&mut [], u16::try_from(millis).unwrap()).unwrap();
        }));
        assert!(ours < control, "timerfd {ours:?}, whole milliseconds {control:?}");
        assert!(control >= Duration::from_micros(600), "the control is {control:?} late");
    }

    #[test]
    fn the_past_fires_at_once_and_never_does_not() {
        let mut timer = Timer::new().unwrap();
        timer.set(Some(Instant::ZERO)).unwrap();
        assert!(fires(&timer, Duration::from_millis(999)));
        timer.set(None).unwrap();
        assert!(!fires(&timer, Duration::ZERO));
    }
}
