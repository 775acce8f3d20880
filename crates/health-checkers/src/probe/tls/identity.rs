//! Certificate and key of a client. No message has a part of a key, of a password or of a file that holds one.

use std::fmt;

use pkcs8::{
    EncryptedPrivateKeyInfoRef, Error, SecretDocument,
    der::{Decode as _, SliceReader, Tag, Tagged as _, asn1::AnyRef},
    pkcs5,
};
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::{CertifiedKey, SigningKey},
};
use zeroize::Zeroize as _;

/// What a client shows to servers that ask who it is.
#[derive(Debug)]
pub struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: Key,
}

impl Identity {
    /// `certificates` in DER, the client's own first and then those of who signed it, and the key of the first.
    #[must_use]
    pub fn new(certificates: Vec<Vec<u8>>, key: Key) -> Self {
        Self { certificates: certificates.into_iter().map(CertificateDer::from).collect(), key }
    }

    /// What signs for it. rustls would refuse certificates of X.509 version 1, which `openssl x509 -req` makes.
    pub(super) fn certified(self) -> Result<CertifiedKey, IdentityError> {
        let key = any_supported_type(&self.key.0).map_err(|error| IdentityError::Key(error.to_string()))?;
        let own = self.certificates.first().ok_or(IdentityError::NoCertificate)?;
        let fields = Fields::of(own).ok_or(IdentityError::Certificate)?;
        if public_key(&*key).is_some_and(|public_key| public_key != fields.public_key) {
            return Err(IdentityError::Mismatch);
        }
        Ok(CertifiedKey::new(self.certificates, key))
    }
}

/// What belongs to `key`, as certificates have it.
fn public_key(key: &dyn SigningKey) -> Option<Vec<u8>> {
    Some(AnyRef::from_der(&key.public_key()?).ok()?.value().to_vec())
}

/// The certificates in `pem`, in DER and in their order. At least one.
///
/// # Errors
/// [`IdentityError::NoCertificate`] if there is none that can be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, IdentityError> {
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates: Vec<_> = read.map_err(|_| IdentityError::NotPem)?.iter().map(|it| it.to_vec()).collect();
    if certificates.is_empty() { Err(IdentityError::NoCertificate) } else { Ok(certificates) }
}

/// `certificates`, and where that is one alone, those of `authorities` that lead from it to one that has signed itself,
/// which servers have. OpenSSL, and so keepalived, completes what it shows in this way.
#[must_use]
pub fn completed(mut certificates: Vec<Vec<u8>>, authorities: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let names: Vec<_> = authorities.iter().filter_map(|it| Some((it, Fields::of(it)?))).collect();
    let mut last = match certificates.as_slice() {
        [only] => Fields::of(only).map(|names| names.issuer),
        _ => None,
    };
    // Each is taken once at most: there may be rings.
    while let Some(issuer) = last.take() {
        let next = names
            .iter()
            .find(|(it, names)| names.subject == issuer && names.issuer != issuer && !certificates.contains(*it));
        if let Some((certificate, names)) = next {
            certificates.push((*certificate).clone());
            last = Some(names.issuer.clone());
        }
    }
    certificates
}

/// Who a certificate is about, who signed it and the key of whom it is about, in DER (RFC 5280 §4.1).
struct Fields {
    issuer: Vec<u8>,
    subject: Vec<u8>,
    public_key: Vec<u8>,
}

impl Fields {
    fn of(certificate: &[u8]) -> Option<Self> {
        let certificate = AnyRef::from_der(certificate).ok()?;
        let signed = *elements(certificate.value()).first()?;
        let fields = elements(signed.value());
        // Version 1 has no version.
        let serial_number = fields.iter().position(|field| field.tag() == Tag::Integer)?;
        let [_serial_number, _signature, issuer, _validity, subject, public_key, ..] = fields.get(serial_number..)?
        else {
            return None;
        };
        let [issuer, subject, public_key] = [issuer, subject, public_key].map(|field| field.value().to_vec());
        Some(Self { issuer, subject, public_key })
    }
}

/// What a sequence holds, as far as it can be read.
fn elements(sequence: &[u8]) -> Vec<AnyRef<'_>> {
    let reader = SliceReader::new(sequence).into_iter();
    reader.flat_map(|mut reader| std::iter::from_fn(move || AnyRef::decode(&mut reader).ok())).collect()
}

/// A private key; never printed by `Debug`, and wiped when it is dropped.
pub struct Key(PrivateKeyDer<'static>);

impl Key {
    /// The first key in `pem`, decrypted with `password` if it has to be.
    ///
    /// # Errors
    /// [`IdentityError`] says what is wrong with it.
    pub fn from_pem(pem: &[u8], password: Option<&str>) -> Result<Self, IdentityError> {
        let has = |text: &str| pem.windows(text.len()).any(|window| window == text.as_bytes());
        if has("Proc-Type: 4,ENCRYPTED") {
            return Err(IdentityError::OldEncryption);
        }
        match PrivateKeyDer::from_pem_slice(pem) {
            Ok(key) => Ok(Self(key)),
            Err(pem::Error::NoItemsFound) if has(ENCRYPTED[0]) => {
                decrypt(pem, password.ok_or(IdentityError::NoPassword)?)
            }
            Err(pem::Error::NoItemsFound) => Err(IdentityError::NoKey),
            Err(_) => Err(IdentityError::NotPem),
        }
    }

    /// The key in `der`: PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    /// [`IdentityError::NoKey`] if it is none of them.
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        PrivateKeyDer::try_from(der).map(|key| Self(key.clone_key())).map_err(|_| IdentityError::NoKey)
    }

    /// The key as [`from_der`](Self::from_der) takes it.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.0.secret_der()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// The first and last line of an encrypted key (RFC 7468 §11).
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----"];

fn decrypt(pem: &[u8], password: &str) -> Result<Key, IdentityError> {
    let section = section(pem).ok_or(IdentityError::NotPem)?;
    let (_, document) = SecretDocument::from_pem(section).map_err(|_| IdentityError::NotPem)?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| IdentityError::Encryption)?;
    let decrypted = encrypted.decrypt(password).map_err(|error| match error {
        // What comes of another password is sometimes padded well, and no key.
        Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed) | Error::Asn1(_) => IdentityError::WrongPassword,
        _ => IdentityError::Encryption,
    })?;
    Key::from_der(decrypted.as_bytes()).map_err(|_| IdentityError::WrongPassword)
}

/// The encrypted key in `pem`, with its first and last line.
fn section(pem: &[u8]) -> Option<&str> {
    let [begin, end] = ENCRYPTED.map(|line| pem.windows(line.len()).position(|window| window == line.as_bytes()));
    let section = pem.get(begin?..end? + ENCRYPTED[1].len())?;
    std::str::from_utf8(section).ok()
}

/// What is wrong with a certificate or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file is damaged.
    #[error("it is not in PEM")]
    NotPem,
    /// There is no certificate.
    #[error("it has no certificate in PEM (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// What stands there as one is none.
    #[error("its first certificate cannot be read")]
    Certificate,
    /// There is no private key.
    #[error("it has no private key in PEM (BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or BEGIN EC PRIVATE KEY)")]
    NoKey,
    /// The key is encrypted.
    #[error("the key is encrypted, and there is no password for it")]
    NoPassword,
    /// The password is another one.
    #[error("the key cannot be decrypted with this password")]
    WrongPassword,
    /// The key is encrypted by a cipher or a function that is not known.
    #[error(
        "the key is encrypted in a way that is not known; `openssl pkcs8 -topk8 -in OLD -out NEW` makes one that is"
    )]
    Encryption,
    /// The key is encrypted as OpenSSL did before PKCS #8.
    #[error(
        "the key is encrypted in the old way (DEK-Info); `openssl pkcs8 -topk8 -in OLD -out NEW` makes one that can be read"
    )]
    OldEncryption,
    /// The certificate is that of another key.
    #[error("certificate and key do not belong together")]
    Mismatch,
    /// No signature can be made with it.
    #[error("the key is of no use here: RSA with 2048 to 8192 bits, ECDSA with P-256 or P-384 and Ed25519 are ({0})")]
    Key(String),
}

impl IdentityError {
    /// Whether the certificate is what is wrong.
    #[must_use]
    pub fn is_of_certificate(&self) -> bool {
        matches!(self, Self::NoCertificate | Self::Certificate)
    }
}

#[cfg(test)]
mod tests;
