//! The trailer behind the packet: HMAC-SHA-256 cut to 128 bits, with key numbers and a sequence (keepalived 2.4's
//! `auth_hmac`).

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::time::Duration;

use ::hmac::{Hmac as HmacOf, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::sequence::Sequence;
use crate::types::{AdvertisementInterval, Family, Version, Vrid};

/// Octets of the trailer.
pub(crate) const TRAILER_LENGTH: usize = PREFIX_LENGTH + MAC_LENGTH;

const PREFIX_LENGTH: usize = 12;
const MAC_LENGTH: usize = 16;
/// The only type of trailer.
const TRAILER_TYPE: u8 = 1;

/// The keys and rules of the HMAC trailer (`auth_hmac`).
///
/// Several keys may verify, one signs: a key is changed without a gap by giving the new one to every router first, then
/// making it the active one on each, then taking the old one away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hmac {
    keys: Vec<HmacKey>,
    active: KeyId,
    /// What becomes of packets without trailer, and whether ours have one. Default [`HmacMode::Enforce`].
    pub mode: HmacMode,
    /// How a packet that was recorded earlier is told. Default a window of 5 s.
    pub anti_replay: AntiReplay,
}

impl Hmac {
    /// These keys, of which `active` signs.
    ///
    /// # Errors
    /// If two keys have one number, or `active` is the number of none.
    pub fn new(keys: impl IntoIterator<Item = HmacKey>, active: KeyId) -> Result<Self, KeyError> {
        let mut known: Vec<HmacKey> = Vec::new();
        for key in keys {
            if known.iter().any(|other| other.id == key.id) {
                return Err(KeyError::Twice(key.id));
            }
            known.push(key);
        }
        if !known.iter().any(|key| key.id == active) {
            return Err(KeyError::NoActiveKey(active));
        }
        let anti_replay = AntiReplay::Time { window: AntiReplay::SHORTEST_DEFAULT };
        Ok(Self { keys: known, active, mode: HmacMode::default(), anti_replay })
    }

    pub(crate) fn key(&self, id: u8) -> Option<&HmacKey> {
        self.keys.iter().find(|key| key.id.get() == id)
    }

    /// The trailer of a packet, unless this mode does not sign.
    pub(crate) fn sign(&self, signed: &Signed<'_>, sequence: Sequence) -> Option<[u8; TRAILER_LENGTH]> {
        let key = self.key(self.active.get()).filter(|_| self.signs())?;
        let [s0, s1, s2, s3, f0, f1, c0, c1] = sequence.octets();
        let prefix = [TRAILER_TYPE, self.active.get(), 0, 0, s0, s1, s2, s3, f0, f1, c0, c1];
        let mut trailer = [0; TRAILER_LENGTH];
        for (octet, field) in trailer.iter_mut().zip(prefix.into_iter().chain(key.mac(signed, &prefix))) {
            *octet = field;
        }
        Some(trailer)
    }

    pub(crate) fn signs(&self) -> bool {
        self.mode != HmacMode::ReceiveOnly
    }
}

/// What the modes of `auth_hmac` do. A trailer that is there must be right in each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HmacMode {
    /// Sign, and accept signed packets only.
    #[default]
    Enforce,
    /// Sign, and accept packets without trailer too.
    Permissive,
    /// Do not sign yet, and accept both: the first step when a running network gets keys.
    ReceiveOnly,
}

/// How a signed packet that was recorded earlier is told (`anti_replay`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AntiReplay {
    /// Its time must lie in the window around ours, and after the last one of its sender. Needs clocks that agree, and
    /// is as good as they are: if ours is set back by more than the window, what was recorded at that time is believed
    /// once more.
    Time {
        /// How far both clocks may be apart, 1..=300 s in keepalived's files.
        window: Duration,
    },
    /// Its sequence must lie after the last one of its sender, wherever the clocks stand.
    Monotonic,
}

impl AntiReplay {
    const SHORTEST_DEFAULT: Duration = Duration::from_secs(5);

    /// keepalived's default window: three intervals, at least 5 s.
    #[must_use]
    pub fn for_interval(interval: AdvertisementInterval) -> Self {
        let window = interval.duration().saturating_mul(3).max(Self::SHORTEST_DEFAULT);
        Self::Time { window }
    }

    pub(crate) const fn window(self) -> Option<Duration> {
        match self {
            Self::Time { window } => Some(window),
            Self::Monotonic => None,
        }
    }
}

/// The number of a key, 1..=255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyId(NonZeroU8);

impl KeyId {
    /// `None` for 0.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match NonZeroU8::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A shared key with its number. Never printed.
#[derive(Clone)]
pub struct HmacKey {
    id: KeyId,
    secret: Vec<u8>,
}

impl HmacKey {
    /// A key of 32 to 64 octets.
    ///
    /// # Errors
    /// If it is shorter or longer.
    pub fn new(id: KeyId, secret: &[u8]) -> Result<Self, KeyError> {
        match secret.len() {
            32..=64 => Ok(Self { id, secret: secret.to_vec() }),
            length => Err(KeyError::Length { id, length }),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn verifies(&self, signed: &Signed<'_>, trailer: &Trailer<'_>) -> bool {
        self.mac(signed, trailer.prefix).ct_eq(trailer.mac).into()
    }

    fn mac(&self, signed: &Signed<'_>, prefix: &[u8; PREFIX_LENGTH]) -> [u8; MAC_LENGTH] {
        let mut mac = HmacOf::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        signed.put_into(&mut mac);
        mac.update(prefix);
        mac.update(&[0; MAC_LENGTH]);
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

impl PartialEq for HmacKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.secret.ct_eq(&other.secret).into()
    }
}

impl Eq for HmacKey {}

impl Drop for HmacKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is wrong with the keys of an HMAC trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Too short or too long.
    #[error("key {id} has {length} octets, it must have 32 to 64")]
    Length {
        /// Its number.
        id: KeyId,
        /// Its octets.
        length: usize,
    },
    /// Two keys with one number.
    #[error("key {0} is given twice")]
    Twice(KeyId),
    /// The active key is not among the keys.
    #[error("the active key {0} is not among the keys")]
    NoActiveKey(KeyId),
}

/// What a trailer vouches for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub(crate) source: IpAddr,
    pub(crate) version: Version,
    pub(crate) vrid: Vrid,
    /// The VRRP packet without trailer; its checksum is left out.
    pub(crate) pdu: &'a [u8],
}

impl Signed<'_> {
    fn put_into(&self, mac: &mut HmacOf<Sha256>) {
        let family = match Family::of(&self.source) {
            Family::Ipv4 => 4,
            Family::Ipv6 => 6,
        };
        mac.update(&[family, self.version.number(), self.vrid.get(), 0]);
        match self.source {
            IpAddr::V4(source) => {
                mac.update(&source.octets());
                mac.update(&[0; 12]);
            }
            IpAddr::V6(source) => mac.update(&source.octets()),
        }
        match self.pdu.split_first_chunk::<8>() {
            Some((&[a, b, c, d, e, f, _, _], rest)) => {
                mac.update(&[a, b, c, d, e, f, 0, 0]);
                mac.update(rest);
            }
            None => mac.update(self.pdu),
        }
    }
}

/// A received trailer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trailer<'a> {
    prefix: &'a [u8; PREFIX_LENGTH],
    mac: &'a [u8],
}

impl<'a> Trailer<'a> {
    pub(crate) fn split(octets: &'a [u8; TRAILER_LENGTH]) -> Self {
        match octets.split_first_chunk() {
            Some((prefix, mac)) => Self { prefix, mac },
            None => unreachable!("12 of 28 octets"),
        }
    }

    /// The number of its key, or `None` if its type is unknown or its reserved octets are not zero.
    pub(crate) const fn key(&self) -> Option<u8> {
        match *self.prefix {
            [TRAILER_TYPE, key, 0, 0, ..] => Some(key),
            _ => None,
        }
    }

    pub(crate) const fn sequence(&self) -> Sequence {
        let &[_, _, _, _, s0, s1, s2, s3, f0, f1, c0, c1] = self.prefix;
        Sequence::from_octets([s0, s1, s2, s3, f0, f1, c0, c1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> KeyId {
        KeyId::new(number).unwrap()
    }

    #[test]
    fn keys_have_32_to_64_octets() {
        for length in [0, 31, 65] {
            assert_eq!(HmacKey::new(id(1), &[7; 65][..length]).unwrap_err(), KeyError::Length { id: id(1), length });
        }
        assert!(HmacKey::new(id(1), &[7; 32]).is_ok() && HmacKey::new(id(1), &[7; 64]).is_ok());
    }

    #[test]
    fn numbers_are_unique_and_the_active_one_exists() {
        let key = |number| HmacKey::new(id(number), &[number; 32]).unwrap();
        assert_eq!(Hmac::new([key(1), key(1)], id(1)).unwrap_err(), KeyError::Twice(id(1)));
        assert_eq!(Hmac::new([key(1), key(2)], id(3)).unwrap_err(), KeyError::NoActiveKey(id(3)));
        assert_eq!(Hmac::new([], id(3)).unwrap_err(), KeyError::NoActiveKey(id(3)));
        assert_ne!(key(1), key(2));
        assert_ne!(key(1), HmacKey::new(id(1), &[1; 33]).unwrap());
    }

    #[test]
    fn the_default_window_is_three_intervals_or_five_seconds() {
        let window = |millis| {
            let interval = AdvertisementInterval::nearest(Version::V3, Duration::from_millis(millis));
            AntiReplay::for_interval(interval).window()
        };
        assert_eq!(window(1_000), Some(Duration::from_secs(5)));
        assert_eq!(window(10_000), Some(Duration::from_secs(30)));
        assert_eq!(AntiReplay::Monotonic.window(), None);
    }
}
