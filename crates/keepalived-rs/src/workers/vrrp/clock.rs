//! CLOCK_BOOTTIME: the time of `vrrp-proto`, and a timer on it; the wall clock for signed adverts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

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

/// A descriptor that is readable from a certain time on.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    due: Option<Instant>,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { fd: timerfd_create(TimerfdClockId::Boottime, flags)?, due: None })
    }

    /// Makes it readable at `due`; `None` for never. Costs nothing when that is unchanged.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn set(&mut self, due: Option<Instant>) -> io::Result<()> {
        if due == self.due {
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
        Ok(())
    }

    /// Makes it unreadable after it fired. Nothing to read is no error.
    pub(crate) fn clear(&mut self) {
        let mut expirations = [0; 8];
        if rustix::io::read(&self.fd, &mut expirations).is_ok() {
            self.due = None;
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

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
        assert!(!fires(&timer, Duration::ZERO));
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
