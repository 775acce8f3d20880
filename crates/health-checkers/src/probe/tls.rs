//! TLS as checks need it: a server is asked whether it answers, not who it is.
//!
//! As with keepalived no certificate is verified, neither its names nor its dates nor who signed it. TLS 1.2 and 1.3 with
//! ephemeral keys (ECDHE with X25519, P-256, P-384) and AES-GCM or ChaCha20-Poly1305 are spoken; what a server lacks of
//! this is in the [`Failure`](crate::outcome::Failure) of its check.

use std::{
    fmt, io,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, InvalidMessage, PeerIncompatible, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, DnsName, ServerName, UnixTime},
    sign::SingleCertAndKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use self::identity::{Identity, IdentityError, Key, certificates, completed};

mod identity;

/// What all connections have in common. Clones are the same client.
#[derive(Clone)]
pub struct Client {
    config: Arc<RwLock<Arc<ClientConfig>>>,
}

impl Client {
    /// A client that shows `identity` to servers which ask for a certificate, or nothing.
    ///
    /// # Errors
    /// [`IdentityError`] if certificate and key do not belong together, or no signature can be made with the key.
    pub fn new(identity: Option<Identity>) -> Result<Self, IdentityError> {
        Ok(Self { config: Arc::new(RwLock::new(Arc::new(config(identity)?))) })
    }

    /// Becomes as `other` is: all clones are it from their next connections on.
    pub fn follow(&self, other: &Self) {
        let config = other.config();
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a session over `stream`, which leads to `address`.
    pub(super) async fn connect<S>(
        &self,
        name: Option<&Name>,
        address: IpAddr,
        stream: S,
    ) -> Result<TlsStream<S>, io::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Addresses are not sent (RFC 6066 §3).
        let name = name.map_or(ServerName::IpAddress(address.into()), |name| ServerName::DnsName(name.0.clone()));
        TlsConnector::from(self.config()).connect(name, stream).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_certificate = self.config().client_auth_cert_resolver.has_certs();
        f.debug_struct("Client").field("has_certificate", &has_certificate).finish_non_exhaustive()
    }
}

/// Sessions are not resumed: a check is to see the server do its work, and nothing is kept of thousands of servers.
fn config(identity: Option<Identity>) -> Result<ClientConfig, IdentityError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| IdentityError::Key(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified()?))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The name that a server is told it is meant by (SNI, RFC 6066 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(DnsName<'static>);

impl Name {
    /// That in `host`, which may have a port behind it as in a `Host` header. `None` for an address: these are not sent.
    ///
    /// # Errors
    /// [`NameError`] if it is no name of the DNS.
    pub fn of_host(host: &str) -> Result<Option<Self>, NameError> {
        let without_port = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = without_port.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if [host, bare.unwrap_or(without_port)].iter().any(|text| text.parse::<IpAddr>().is_ok()) {
            return Ok(None);
        }
        let name = without_port.strip_suffix('.').unwrap_or(without_port);
        let name = DnsName::try_from(name).map_err(|_| NameError(host.to_owned()))?;
        Ok(Some(Self(name.to_owned())))
    }
}

/// No name of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name that a TLS server can be told")]
pub struct NameError(String);

/// Takes every certificate.
///
/// A signature shows that the server has the key to its certificate, which says nothing of one that nobody trusts. To
/// check it all the same would fail servers that keepalived takes: certificates of X.509 version 1, short RSA keys,
/// SHA-1, P-521 and Ed448, none of which ring and webpki know.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Whatever a server might sign with.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::ECDSA_SHA1_Legacy,
            SignatureScheme::RSA_PKCS1_SHA1,
        ]
    }
}

/// What went wrong in a session, and what to do about it where that is known.
pub(super) fn cause(error: &io::Error) -> String {
    let Some(error) = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => error.to_string(),
        };
    };
    advice(error).map_or_else(|| error.to_string(), |advice| format!("{error}; {advice}"))
}

const VERSION: &str =
    "TLS 1.0, TLS 1.1 and older are not spoken here: let the server offer TLS 1.2 or 1.3, or use TCP_CHECK";
const CIPHER: &str = "nothing in common: the server is to offer ECDHE with AES-GCM or ChaCha20-Poly1305 (RSA key \
    exchange, DHE, CBC, and P-521 with TLS 1.2 are not spoken here); one that demands a client certificate gets it from \
    the block SSL";
const CERTIFICATE: &str =
    "the server wants a client certificate that it knows: see certificate and key in the block SSL";
const NAME: &str = "the server has no such name: see enable_sni, sni_name and virtualhost";
const PLAIN: &str = "the server does not speak TLS here: see the port, or use HTTP_GET";

fn advice(error: &rustls::Error) -> Option<&'static str> {
    use AlertDescription as Alert;
    use rustls::Error::{AlertReceived, InvalidMessage as Invalid, PeerIncompatible as Incompatible};
    Some(match error {
        AlertReceived(Alert::ProtocolVersion)
        | Incompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
        | Invalid(InvalidMessage::UnknownProtocolVersion) => VERSION,
        AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) | Incompatible(_) => CIPHER,
        AlertReceived(
            Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::DecryptError,
        ) => CERTIFICATE,
        AlertReceived(Alert::UnrecognisedName) => NAME,
        Invalid(InvalidMessage::InvalidContentType) => PLAIN,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
