//! What can go wrong in a laboratory.

use std::io;

/// Something that the laboratory itself needed did not work.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct LabError {
    /// What was being done, for instance `adding the bridge br0`.
    pub operation: String,
    /// What the kernel said.
    pub source: io::Error,
}

impl LabError {
    /// For `map_err`: wraps whatever can be an [`io::Error`].
    pub(crate) fn of<E: Into<io::Error>>(operation: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self { operation: operation.into(), source: source.into() }
    }
}

impl From<vip_netlink::Error> for LabError {
    fn from(error: vip_netlink::Error) -> Self {
        let why = error.io();
        let source = match error.explanation() {
            Some(explanation) => io::Error::new(why.kind(), format!("{why}: {explanation}")),
            None => why.raw_os_error().map_or_else(|| why.kind().into(), io::Error::from_raw_os_error),
        };
        Self { operation: error.operation().to_owned(), source }
    }
}

/// Something that a test needs does not exist on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Skip(pub String);
