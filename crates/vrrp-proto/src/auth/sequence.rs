//! The wall clock, and the sequence of the HMAC trailer made from it.

use core::time::Duration;

/// Wall-clock time: what has passed since 1970-01-01 00:00 UTC. Only the HMAC trailer needs it; where there is none,
/// [`UnixTime::EPOCH`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UnixTime(pub Duration);

impl UnixTime {
    /// 1970-01-01 00:00 UTC.
    pub const EPOCH: Self = Self(Duration::ZERO);
}

/// The sequence of an HMAC trailer: seconds (32 bits), 65536ths of a second (16 bits), and a counter (16 bits) for
/// advertisements between two ticks of the clock. Compared as serial numbers (RFC 1982), so that 2106 is no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sequence(u64);

impl Sequence {
    pub(crate) const fn from_octets(octets: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(octets))
    }

    pub(crate) const fn octets(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The first one of this moment.
    pub(crate) fn at(now: UnixTime) -> Self {
        let fraction = u64::from(now.0.subsec_nanos()) * 65_536 / 1_000_000_000;
        Self(now.0.as_secs() << 32 | fraction << 16)
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    pub(crate) const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// How far it lies from `other`, on either side.
    pub(crate) const fn distance(self, other: Self) -> Duration {
        let distance = self.0.wrapping_sub(other.0).cast_signed().unsigned_abs();
        let (seconds, fraction) = (distance >> 32, distance & 0xffff_ffff);
        Duration::from_secs(seconds).saturating_add(Duration::from_nanos((fraction * 1_000_000_000) >> 32))
    }

    /// The last one of the moment `duration` later, which is less than 68 years.
    pub(crate) fn end_of(self, duration: Duration) -> Self {
        let later = Self::at(UnixTime(duration));
        Self(self.0.wrapping_add(later.0) | 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_seconds_and_65536ths() {
        let sequence = Sequence::at(UnixTime(Duration::new(0x6b02_33de, 863_770_000)));
        assert_eq!(sequence.octets(), [0x6b, 0x02, 0x33, 0xde, 0xdd, 0x20, 0, 0]);
        assert_eq!(Sequence::from_octets(sequence.octets()), sequence);
    }

    #[test]
    fn order_goes_on_where_32_bits_of_seconds_end() {
        let last = Sequence::at(UnixTime(Duration::from_secs(0xffff_ffff)));
        let first = Sequence::at(UnixTime(Duration::from_secs(0x1_0000_0000)));
        assert!(first.is_after(last) && !last.is_after(first) && !first.is_after(first));
        assert_eq!(first.distance(last), Duration::from_secs(1));
        assert_eq!(last.distance(first), Duration::from_secs(1));
    }

    #[test]
    fn a_counter_that_is_full_moves_the_clock() {
        let last = Sequence::from_octets([0, 0, 0, 1, 0, 2, 0xff, 0xff]);
        assert_eq!(last.next().octets(), [0, 0, 0, 1, 0, 3, 0, 0]);
    }

    #[test]
    fn distances_are_fractions_too() {
        let one = Sequence::at(UnixTime(Duration::from_millis(1_000)));
        let other = Sequence::at(UnixTime(Duration::from_millis(2_500)));
        assert_eq!(one.distance(other), Duration::from_millis(1_500));
        assert!(one.end_of(Duration::from_millis(1_500)).is_after(other));
    }
}
