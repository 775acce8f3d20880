//! Authentication. Secrets live here and are never printed; they are wiped when dropped and compared in constant time.

mod ah;
mod hmac;
mod replay;
mod sequence;

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub(crate) use ah::{AH_LENGTH, AhHeader, AhKey, PROTOCOL_AH, Reach};
pub use hmac::{AntiReplay, Hmac, HmacKey, HmacMode, KeyError, KeyId};
pub(crate) use hmac::{Signed, TRAILER_LENGTH, Trailer};
pub use replay::ReplayMemory;
pub(crate) use replay::Sender;
pub use sequence::{Sequence, UnixTime};

/// How a virtual router proves that it is one of us.
///
/// `Debug` names the kind, never the secret; nothing here can be serialised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Authentication {
    /// Type 0: nothing is proved (RFC 2338 §5.3.6.1).
    #[default]
    None,
    /// Type 1, "simple text password", VRRPv2 over IPv4 only (RFC 2338 §5.3.6.2). It travels in clear.
    Pass(Password),
    /// Type 2, "IP authentication header", VRRPv2 over IPv4 only: HMAC-MD5-96 keyed with the password
    /// (RFC 2338 §5.3.6.3, RFC 2402, RFC 2403).
    Ah(Password),
    /// A trailer with HMAC-SHA-256 behind the packet, keepalived's `auth_hmac`; any version and family.
    Hmac(Hmac),
}

/// A password of VRRPv2: eight octets, padded with zeros.
#[derive(Clone)]
pub struct Password([u8; 8]);

impl Password {
    /// The first eight octets of `text`; the rest is cut off, as keepalived does.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut octets = [0; 8];
        for (octet, given) in octets.iter_mut().zip(text) {
            *octet = *given;
        }
        Self(octets)
    }

    /// The Authentication Data field that carries it in clear.
    pub(crate) const fn auth_data(&self) -> AuthData {
        AuthData(self.0)
    }

    pub(crate) const fn ah_key(&self) -> AhKey<'_> {
        AhKey(&self.0)
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Password {}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The Authentication Data field of VRRPv2 over IPv4, zero where unused (RFC 2338 §5.3.10). Compared in constant time;
/// never printed.
#[derive(Clone, Copy, Default)]
pub struct AuthData(pub [u8; 8]);

impl PartialEq for AuthData {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for AuthData {}

impl fmt::Debug for AuthData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthData(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn passwords_are_cut_and_padded() {
        assert_eq!(Password::new(b"1111"), Password::new(b"1111\0\0\0\0"));
        assert_eq!(Password::new(b"longer than eight"), Password::new(b"longer t"));
        assert_ne!(Password::new(b"1111"), Password::new(b"1112"));
    }

    #[test]
    fn states_that_hold_a_key_are_wiped_when_dropped() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
        is_wiped::<sha2::block_api::Sha256VarCore>();
        is_wiped::<md5::block_api::Md5Core>();
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Authentication::Pass(Password::new(b"hunter22")));
        assert_eq!(shown, "Pass(Password(..))");
        assert_eq!(format!("{:?}", Authentication::Ah(Password::new(b"hunter22"))), "Ah(Password(..))");
        assert_eq!(format!("{:?}", AuthData(*b"hunter22")), "AuthData(..)");
        let id = KeyId::new(7).unwrap();
        let hmac = Hmac::new([HmacKey::new(id, &[b'h'; 32]).unwrap()], id).unwrap();
        let shown = format!("{:?}", Authentication::Hmac(hmac));
        assert!(shown.contains("KeyId(7)") && !shown.contains("104"), "{shown}");
    }
}
