//! Units and ranges as types.

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::ops::Add;
use core::time::Duration;

/// The identifier of a Virtual Router on its link, 1..=255 ("VRID", RFC 9568 §5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// `None` for 0, which no Virtual Router may have.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        match NonZeroU8::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The priority of a VRRP Router for one Virtual Router; higher wins (RFC 9568 §5.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(pub u8);

impl Priority {
    /// 0: the Active Router stops taking part.
    pub const RESIGN: Self = Self(0);
    /// 100: the default of a Backup Router.
    pub const DEFAULT: Self = Self(100);
    /// 255: the router owns the addresses.
    pub const OWNER: Self = Self(255);
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The VRRP version that a Virtual Router speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Version {
    /// VRRPv2 (RFC 2338, RFC 3768).
    V2,
    /// VRRPv3 (RFC 5798, RFC 9568).
    V3,
}

impl Version {
    /// The number in the packet: 2 or 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The version with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }
}

/// The address family of a Virtual Router: that of its packets and of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The length of an address in octets: 4 or 16.
    #[must_use]
    pub const fn address_length(self) -> usize {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }
}

/// Whole seconds as VRRPv2 carries them, 0..=255 ("Adver Int", RFC 2338 §5.3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Seconds(pub u8);

impl Seconds {
    /// The same time as a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

/// Centiseconds as VRRPv3 carries them, 0..=4095 ("Max Advertise Interval", RFC 9568 §5.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "u16", into = "u16"))]
pub struct Centis(u16);

impl Centis {
    /// The largest value that twelve bits hold.
    pub const MAX: Self = Self(0x0fff);

    /// `None` above 4095.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The twelve low bits of a header's fifth and sixth octet; the four reserved ones are ignored (RFC 9568 §5.2.6).
    #[must_use]
    pub const fn from_wire(octets: [u8; 2]) -> Self {
        Self(u16::from_be_bytes(octets) & Self::MAX.0)
    }

    /// The number of centiseconds.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The same time as a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

impl From<Centis> for u16 {
    fn from(value: Centis) -> Self {
        value.0
    }
}

impl TryFrom<u16> for Centis {
    type Error = OutOfRange;

    fn try_from(value: u16) -> Result<Self, OutOfRange> {
        Self::new(value).ok_or(OutOfRange)
    }
}

/// A number outside the range that its field can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("value out of range")]
pub struct OutOfRange;

/// The time between two advertisements of one router, never zero ("Advertisement_Interval", RFC 9568 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "Interval", into = "Interval")
)]
pub struct AdvertisementInterval(Interval);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Interval {
    Seconds(Seconds),
    Centis(Centis),
}

impl AdvertisementInterval {
    /// VRRPv2: 1..=255 seconds; `None` for 0.
    #[must_use]
    pub const fn from_seconds(seconds: Seconds) -> Option<Self> {
        if seconds.0 == 0 { None } else { Some(Self(Interval::Seconds(seconds))) }
    }

    /// VRRPv3: 1..=4095 centiseconds; `None` for 0.
    #[must_use]
    pub const fn from_centis(centis: Centis) -> Option<Self> {
        if centis.0 == 0 { None } else { Some(Self(Interval::Centis(centis))) }
    }

    /// One second, the default of both versions.
    #[must_use]
    pub const fn one_second(version: Version) -> Self {
        Self(match version {
            Version::V2 => Interval::Seconds(Seconds(1)),
            Version::V3 => Interval::Centis(Centis(100)),
        })
    }

    /// The interval of `version` nearest to `wanted`: whole seconds up to 255 s, or 10 ms steps up to 40.95 s.
    /// What cannot be carried becomes the nearest end of the range.
    #[must_use]
    pub fn nearest(version: Version, wanted: Duration) -> Self {
        let millis = wanted.as_millis();
        Self(match version {
            Version::V2 => {
                let seconds = (millis.saturating_add(500) / 1000).clamp(1, 255);
                Interval::Seconds(Seconds(u8::try_from(seconds).unwrap_or(u8::MAX)))
            }
            Version::V3 => {
                let centis = (millis.saturating_add(5) / 10).clamp(1, u128::from(Centis::MAX.0));
                Interval::Centis(Centis(u16::try_from(centis).unwrap_or(Centis::MAX.0)))
            }
        })
    }

    /// The version that carries this interval.
    #[must_use]
    pub const fn version(self) -> Version {
        match self.0 {
            Interval::Seconds(_) => Version::V2,
            Interval::Centis(_) => Version::V3,
        }
    }

    /// The interval as VRRPv2 carries it, if it is one of VRRPv2.
    #[must_use]
    pub const fn seconds(self) -> Option<Seconds> {
        match self.0 {
            Interval::Seconds(seconds) => Some(seconds),
            Interval::Centis(_) => None,
        }
    }

    /// The interval as VRRPv3 carries it, if it is one of VRRPv3.
    #[must_use]
    pub const fn centis(self) -> Option<Centis> {
        match self.0 {
            Interval::Seconds(_) => None,
            Interval::Centis(centis) => Some(centis),
        }
    }

    /// The same time as a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        match self.0 {
            Interval::Seconds(seconds) => seconds.duration(),
            Interval::Centis(centis) => centis.duration(),
        }
    }

    /// "Skew_Time" of a router with this `priority` that listens to this interval, in whole microseconds.
    ///
    /// VRRPv2: (256 − priority) / 256 seconds, whatever the interval (RFC 2338 §6.1).
    /// VRRPv3: (256 − priority) / 256 of the interval (RFC 9568 §6.1).
    #[must_use]
    pub const fn skew_time(self, priority: Priority) -> Duration {
        let weight = 256 - priority.0 as u64;
        Duration::from_micros(match self.0 {
            Interval::Seconds(_) => weight * 1_000_000 / 256,
            Interval::Centis(centis) => weight * centis.0 as u64 * 625 / 16,
        })
    }
}

impl From<AdvertisementInterval> for Interval {
    fn from(value: AdvertisementInterval) -> Self {
        value.0
    }
}

impl TryFrom<Interval> for AdvertisementInterval {
    type Error = OutOfRange;

    fn try_from(value: Interval) -> Result<Self, OutOfRange> {
        match value {
            Interval::Seconds(seconds) => Self::from_seconds(seconds),
            Interval::Centis(centis) => Self::from_centis(centis),
        }
        .ok_or(OutOfRange)
    }
}

/// A point on CLOCK_BOOTTIME in nanoseconds: the same in every process of one boot, running on while the machine is
/// suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The boot itself.
    pub const ZERO: Self = Self(0);

    /// `nanos` nanoseconds after the boot.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is the later one.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point less `duration`, at least [`Instant::ZERO`].
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates some 584 years after the boot.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The MAC address of a Virtual Router ("Virtual_Router_MAC_Address", RFC 9568 §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VirtualMac(pub [u8; 6]);

impl VirtualMac {
    /// `00-00-5E-00-01-VRID` for IPv4, `00-00-5E-00-02-VRID` for IPv6.
    #[must_use]
    pub const fn new(family: Family, vrid: Vrid) -> Self {
        let block = match family {
            Family::Ipv4 => 1,
            Family::Ipv6 => 2,
        };
        Self([0x00, 0x00, 0x5e, 0x00, block, vrid.get()])
    }
}

/// A virtual router of an [`Engine`](crate::Engine), named by the driver. On the wire routers are told apart by link,
/// family, VRID and group or peers; the engine needs only that the number stays the same over a reload and a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouterId(pub u32);

/// A network link (interface), named by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkId(pub u32);

/// A tracker (script, file, process or BFD session), named by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackerId(pub u32);

/// A sync group, named by the driver: virtual routers that move together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupId(pub u32);

/// Names one [`Apply`](crate::Action::Apply), so that its answer cannot be taken for that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ticket(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_exact_to_the_microsecond() {
        let v2 = AdvertisementInterval::one_second(Version::V2);
        assert_eq!(v2.skew_time(Priority(150)), Duration::from_micros(414_062));
        let v3 = AdvertisementInterval::nearest(Version::V3, Duration::from_millis(10));
        assert_eq!(v3.skew_time(Priority(255)), Duration::from_micros(39));
        assert_eq!(v3.skew_time(Priority(1)), Duration::from_micros(9960));
        let slow = AdvertisementInterval::nearest(Version::V2, Duration::from_secs(10));
        assert_eq!(slow.skew_time(Priority(100)), Duration::from_micros(609_375));
    }

    #[test]
    fn intervals_are_rounded_and_clamped() {
        let nearest =
            |version, millis| AdvertisementInterval::nearest(version, Duration::from_millis(millis)).duration();
        assert_eq!(nearest(Version::V2, 499), Duration::from_secs(1));
        assert_eq!(nearest(Version::V2, 1500), Duration::from_secs(2));
        assert_eq!(nearest(Version::V2, 900_000), Duration::from_secs(255));
        assert_eq!(nearest(Version::V3, 0), Duration::from_millis(10));
        assert_eq!(nearest(Version::V3, 14), Duration::from_millis(10));
        assert_eq!(nearest(Version::V3, 50_000), Duration::from_millis(40_950));
        assert_eq!(AdvertisementInterval::from_centis(Centis(0)), None);
        assert_eq!(AdvertisementInterval::from_seconds(Seconds(0)), None);
    }

    #[test]
    fn instants_saturate() {
        let end = Instant::from_nanos(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(Instant::ZERO.saturating_sub(Duration::from_secs(1)), Instant::ZERO);
        assert_eq!(Instant::ZERO.saturating_duration_since(end), Duration::ZERO);
    }

    #[test]
    fn virtual_macs_end_in_the_vrid() {
        let vrid = Vrid::new(51).unwrap();
        assert_eq!(VirtualMac::new(Family::Ipv4, vrid).0, [0, 0, 0x5e, 0, 1, 51]);
        assert_eq!(VirtualMac::new(Family::Ipv6, vrid).0, [0, 0, 0x5e, 0, 2, 51]);
    }
}
