//! Passwords in files that everybody may read.

use crate::config::Config;
use crate::diagnostic::{Code, Diagnostic};
use crate::host::Host;
use crate::source::{Sources, Span};

pub(super) fn check(config: &Config, sources: &Sources, host: &dyn Host, findings: &mut Vec<Diagnostic>) {
    let mut told = Vec::new();
    for span in config.secrets() {
        let Some(file) = sources.file(span.file).filter(|_| !told.contains(&span.file)) else { continue };
        told.push(span.file);
        findings.extend(readable(file.path(), span, host));
    }
}

fn readable(path: &std::path::Path, span: Span, host: &dyn Host) -> Option<Diagnostic> {
    let file = host.file(path).present().filter(|file| file.mode & 0o004 != 0)?;
    let message = format!("the password stands in a file that everybody may read (mode {:04o})", file.mode);
    Some(Diagnostic::note(Code::ReadableSecret, span, message).help(format!("chmod o-r {}", path.display())))
}
