//! `SSL`.

use super::*;

settings! {
/// The `SSL` block: what checkers show to TLS servers.
pub struct TlsClient {
    /// `password` of the private key.
    password: Option<Passphrase> as "password",
    /// `ca`: path of a file of certificates.
    ca: Option<Spanned<String>> as "ca",
    /// `certificate`: path of the certificate.
    certificate: Option<Spanned<String>> as "certificate",
    /// `key`: path of its private key.
    key: Option<Spanned<String>> as "key",
    /// Where the block starts.
    place: Spanned<()>,
    /// Where the keywords were written.
    places: Places,
}}

/// The pass phrase of a private key; never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Passphrase(pub String);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl Show for Passphrase {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(vec![Scalar::Secret(self.0.clone().into_bytes())]));
    }
}

impl Block for TlsClient {
    fn written(&self) -> Option<Span> {
        Some(self.place.span)
    }

    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        self.lines("SSL", &self.places, &mut out);
        out
    }
}
