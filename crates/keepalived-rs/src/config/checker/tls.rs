//! What checks show to TLS servers. The files are read by the reader; the checker opens none.

use std::fmt;

use conf_parser::config::{CheckerKind, Config};
use health_checkers::probe::tls::{Client, Identity, IdentityError, Key};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

/// The block `SSL`, with what is in its files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct TlsPart {
    /// `certificate` and `key`; `None` without them.
    pub(crate) identity: Option<Shown>,
}

/// A certificate and its key, which is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// In DER, the client's own first.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// In DER, decrypted.
    pub(crate) key: Vec<u8>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

impl TlsPart {
    /// Whether `config` checks anything over TLS.
    pub(crate) fn is_needed(config: &Config) -> bool {
        super::all(config).any(|checker| matches!(checker.kind, CheckerKind::Ssl(_)))
    }

    /// Who asks.
    ///
    /// # Errors
    /// When certificate and key are of no use.
    pub(crate) fn client(&self) -> Result<Client, IdentityError> {
        let identity = self.identity.as_ref().map(Shown::identity).transpose()?;
        Client::new(identity)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Shown {
    /// As checks take it.
    ///
    /// # Errors
    /// When the key is none.
    pub(crate) fn identity(&self) -> Result<Identity, IdentityError> {
        Ok(Identity::new(self.certificates.clone(), Key::from_der(&self.key)?))
    }
}
