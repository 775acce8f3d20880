//! How many requests go into one send.

use std::time::Duration;

/// Sizes the batches of a socket: small enough that the answers fit into the receive buffer even if every request is
/// refused, and that one send keeps the kernel busy for about [`TARGET`](Self::TARGET).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    most: usize,
    batch: usize,
}

impl Pace {
    /// How long one send should take.
    pub const TARGET: Duration = Duration::from_millis(2);
    /// No batch is made smaller than this for time's sake.
    pub const LEAST: usize = 32;
    /// The first batch, of which nothing is known yet.
    const FIRST: usize = 128;
    /// No batch is made larger than this: its octets have to fit into the send buffer.
    pub const MOST: usize = 512;
    /// What one error with its text takes of the receive buffer at most: the request, the text and the kernel's own
    /// book-keeping.
    const ANSWER: usize = 2048;

    /// For a receive buffer of so many octets, as the kernel counts them (`SO_RCVBUF`).
    pub const fn new(receive_buffer: usize) -> Self {
        let most = match receive_buffer / Self::ANSWER {
            0 => 1,
            fits if fits < Self::MOST => fits,
            _ => Self::MOST,
        };
        Self { most, batch: if most < Self::FIRST { most } else { Self::FIRST } }
    }

    /// How many requests to send next.
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// A send of `sent` requests took so long. The next batch is at most twice the last.
    pub fn measured(&mut self, sent: usize, took: Duration) {
        let per_request = took.as_nanos() / sent.max(1) as u128;
        let fits = Self::TARGET.as_nanos().checked_div(per_request).unwrap_or(u128::MAX);
        let fits = usize::try_from(fits).unwrap_or(usize::MAX);
        self.batch = fits.min(self.batch * 2).max(Self::LEAST).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_all_errors_fit_into_the_receive_buffer() {
        let mut pace = Pace::new(212_992);
        for _ in 0..20 {
            pace.measured(pace.batch(), Duration::ZERO);
            assert!(pace.batch() * Pace::ANSWER <= 212_992, "{pace:?}");
        }
        assert_eq!(pace.batch(), 104);
        assert_eq!(Pace::new(0).batch(), 1);
    }

    #[test]
    fn a_slow_kernel_gets_smaller_batches_and_a_fast_one_larger() {
        let mut pace = Pace::new(1 << 24);
        assert_eq!(pace.batch(), 128);
        pace.measured(128, Duration::from_micros(128 * 40));
        assert_eq!(pace.batch(), 50);
        pace.measured(50, Duration::from_millis(100));
        assert_eq!(pace.batch(), Pace::LEAST);
        pace.measured(32, Duration::from_micros(32));
        assert_eq!(pace.batch(), 64);
        pace.measured(64, Duration::from_micros(64));
        pace.measured(128, Duration::from_micros(128));
        pace.measured(256, Duration::from_micros(256));
        assert_eq!(pace.batch(), 512);
    }
}
