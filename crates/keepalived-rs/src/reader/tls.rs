//! The files of the block `SSL`. Neither what is in them nor the password is ever in a message.

use std::path::Path;

use conf_parser::config::{Config, TlsClient};
use conf_parser::{Class, Code, Diagnostic, Loader, Spanned};
use health_checkers::probe::tls::{Client, IdentityError, Key, certificates, completed};

use crate::config::checker::{Shown, TlsPart};

/// What `config` shows to TLS servers; `None` where it checks nothing over TLS. A file that is of no use refuses the
/// configuration.
pub(super) fn read(loader: &dyn Loader, config: &Config, findings: &mut Vec<Diagnostic>) -> Option<TlsPart> {
    if !TlsPart::is_needed(config) {
        return None;
    }
    let mut files = Files { loader, findings };
    let identity = config.ssl.as_ref().and_then(|block| files.identity(block));
    Some(TlsPart { identity })
}

struct Files<'a> {
    loader: &'a dyn Loader,
    findings: &'a mut Vec<Diagnostic>,
}

impl Files<'_> {
    fn identity(&mut self, block: &TlsClient) -> Option<Shown> {
        let password = block.password.as_ref().map(|password| password.0.as_str());
        let authorities = self.take("ca", block.ca.as_ref(), certificates).unwrap_or_default();
        let certificates = self.take("certificate", block.certificate.as_ref(), certificates);
        let key = self.take("key", block.key.as_ref(), |pem| Key::from_pem(pem, password));
        let (Some(certificates), Some(key)) = (certificates, key) else {
            self.warn_of_half(block);
            return None;
        };
        let shown = Shown { certificates: completed(certificates, &authorities), key: key.der().to_vec() };
        if let Err(error) = shown.identity().and_then(|identity| Client::new(Some(identity))) {
            let certificate = ("certificate", block.certificate.as_ref()?);
            let key = ("key", block.key.as_ref()?);
            let (keyword, path) = if error.is_of_certificate() { certificate } else { key };
            self.refuse(keyword, path, &error.to_string());
        }
        Some(shown)
    }

    /// What `read` makes of the file that `keyword` names.
    fn take<T>(
        &mut self,
        keyword: &str,
        path: Option<&Spanned<String>>,
        read: impl FnOnce(&[u8]) -> Result<T, IdentityError>,
    ) -> Option<T> {
        let path = path?;
        let text = self.loader.load(Path::new(&path.value)).map_err(|error| error.to_string());
        let taken = text.and_then(|text| read(&text).map_err(|error| error.to_string()));
        taken.inspect_err(|why| self.refuse(keyword, path, why)).ok()
    }

    fn refuse(&mut self, keyword: &str, path: &Spanned<String>, why: &str) {
        let message = format!("SSL {keyword} {} cannot be used: {why}", path.value);
        self.findings.push(Diagnostic::error(Code::BadChecker, Class::General, path.span, message).refusing());
    }

    /// One without the other shows nothing.
    fn warn_of_half(&mut self, block: &TlsClient) {
        let (half, other) = match (&block.certificate, &block.key) {
            (Some(half), None) => (half, "key"),
            (None, Some(half)) => (half, "certificate"),
            _ => return,
        };
        let message = format!("SSL has no {other}: servers that ask for a certificate are shown none");
        let finding = Diagnostic::note(Code::BadChecker, half.span, message);
        self.findings.push(finding.help(format!("add '{other} <path>'")));
    }
}

#[cfg(test)]
mod tests;
