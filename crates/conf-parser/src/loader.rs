//! Where files come from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Gives the parser the files that a configuration names; the crate itself opens nothing.
///
/// Paths come in as written in the file, joined to the directory of the file that names them.
pub trait Loader {
    /// The content of one file.
    ///
    /// # Errors
    ///
    /// Why there is no content. Only regular files count as configuration; the executable bit
    /// matters for included files only (see [`LoadError::Executable`]).
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError>;

    /// The files that match a wildcard pattern (`*`, `?`, `[…]`; braces are expanded by the caller), sorted.
    ///
    /// # Errors
    ///
    /// That the pattern is malformed or a directory cannot be read.
    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, LoadError>;

    /// The value of an environment variable, for `${_ENV NAME}`; nothing unless overridden.
    fn environment(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// It is a directory, a device or a socket.
    #[error("not a regular file")]
    NotRegular,
    /// It is executable: included files must not be.
    #[error("the file is executable")]
    Executable,
    /// It may not be read.
    #[error("permission denied")]
    PermissionDenied,
    /// It is larger than the loader accepts.
    #[error("the file is too large")]
    TooLarge,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Files held in memory: for tests, editors and examples.
///
/// ```
/// use conf_parser::{Loader, MemoryLoader};
/// let loader = MemoryLoader::new([("/etc/keepalived/conf.d/a.conf", "global_defs { }")]);
/// assert_eq!(loader.glob("/etc/keepalived/conf.d/*.conf").unwrap().len(), 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryLoader {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MemoryLoader {
    /// A loader of these files.
    pub fn new<P: Into<PathBuf>, B: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, B)>) -> Self {
        Self { files: files.into_iter().map(|(path, bytes)| (path.into(), bytes.into())).collect() }
    }

    /// Adds or replaces one file.
    pub fn insert(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), bytes.into());
    }
}

impl Loader for MemoryLoader {
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        self.files.get(path).cloned().ok_or(LoadError::NotFound)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, LoadError> {
        let matches =
            |path: &&PathBuf| path.to_str().is_some_and(|path| wildcard_match(pattern.as_bytes(), path.as_bytes()));
        Ok(self.files.keys().filter(matches).cloned().collect())
    }
}

/// `*` and `?` match anything but `/`.
fn wildcard_match(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) if wildcard_match(rest, text) => true,
        (Some((b'*', _)), Some((byte, text))) => *byte != b'/' && wildcard_match(pattern, text),
        (Some((b'?', rest)), Some((byte, text))) => *byte != b'/' && wildcard_match(rest, text),
        (Some((expected, rest)), Some((byte, text))) => expected == byte && wildcard_match(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        assert!(wildcard_match(b"/a/*.conf", b"/a/b.conf"));
        assert!(wildcard_match(b"/a/?.conf", b"/a/b.conf"));
        assert!(!wildcard_match(b"/a/*.conf", b"/a/b/c.conf"));
        assert!(!wildcard_match(b"/a/*.conf", b"/a/b.txt"));
        assert!(!wildcard_match(b"/a", b"/a/b"));
    }
}
