//! Passwords and keys in files that everybody may read.

use std::collections::HashSet;
use std::path::Path;

use crate::config::{Config, HmacSecret};
use crate::diagnostic::{Code, Diagnostic};
use crate::host::{File, FileKind, Host};
use crate::source::{Sources, Span};

/// Each file is told of once, however often it is read.
pub(super) fn check(config: &Config, sources: &Sources, host: &dyn Host, findings: &mut Vec<Diagnostic>) {
    let mut seen = HashSet::new();
    let written = config.secrets().filter_map(|span| Some((sources.file(span.file)?.path(), span)));
    let hmacs = config.vrrp_instances.iter().filter_map(|instance| instance.auth_hmac.as_ref());
    let kept = hmacs.flat_map(|hmac| &hmac.keys).filter_map(|key| match &key.secret {
        HmacSecret::File(path) => Some((Path::new(path), key.id.span)),
        HmacSecret::Bytes(_) => None,
    });
    let shown = config.ssl.iter().filter_map(|ssl| ssl.key.as_ref()).map(|key| (Path::new(&key.value), key.span));
    let files = written.map(|it| ("password", it)).chain(kept.chain(shown).map(|it| ("key", it)));
    let files = files.filter(|(_, (path, _))| seen.insert(*path));
    findings.extend(files.filter_map(|(what, (path, span))| readable(what, path, span, host)));
}

fn readable(what: &str, path: &Path, span: Span, host: &dyn Host) -> Option<Diagnostic> {
    let mut chain = host.chain(path).into_iter().filter_map(|(_, file)| file.present());
    let file = chain.next()?;
    let barred = |file: &File| file.kind == FileKind::Directory && file.mode & 0o001 == 0;
    if file.mode & 0o004 == 0 || chain.any(|directory| barred(&directory)) {
        return None;
    }
    let message = format!("the {what} stands in a file that everybody may read (mode {:04o})", file.mode);
    Some(Diagnostic::note(Code::ReadableSecret, span, message).help(format!("chmod o-r {}", path.display())))
}
