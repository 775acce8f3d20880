//! Authentication of VRRPv2. Secrets live here and are never printed.

use core::fmt;

use subtle::ConstantTimeEq;

/// How a virtual router proves that it is one of us.
///
/// `Debug` names the kind, never the secret; nothing here can be serialised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Authentication {
    /// Type 0: nothing is proved (RFC 2338 §5.3.6.1). The only one of VRRPv3.
    #[default]
    None,
    /// Type 1, "simple text password", VRRPv2 over IPv4 only (RFC 2338 §5.3.6.2). It travels in clear.
    Pass(Password),
}

impl Authentication {
    /// The number of the Auth Type field.
    #[must_use]
    pub const fn auth_type(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Pass(_) => 1,
        }
    }

    /// The octets of the Authentication Data field.
    #[must_use]
    pub fn auth_data(&self) -> AuthData {
        match self {
            Self::None => AuthData::default(),
            Self::Pass(password) => password.0,
        }
    }
}

/// A password of VRRPv2: eight octets, padded with zeros.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(AuthData);

impl Password {
    /// The first eight octets of `text`; the rest is cut off, as keepalived does.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut octets = [0; 8];
        for (octet, given) in octets.iter_mut().zip(text) {
            *octet = *given;
        }
        Self(AuthData(octets))
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
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Authentication::Pass(Password::new(b"hunter22")));
        assert_eq!(shown, "Pass(Password(..))");
        assert_eq!(format!("{:?}", AuthData(*b"hunter22")), "AuthData(..)");
    }
}
