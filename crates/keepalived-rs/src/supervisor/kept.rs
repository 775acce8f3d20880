//! Facts that must outlive every process: what the workers have put on the host beside addresses, and what it was before.
//! They are in a file beside the pid file, which the next start and `cleanup` read.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::ipc::Fact;

/// The keys of such facts begin with this.
const PREFIX: &str = "host ";

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 26;

/// The facts and their file.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    facts: BTreeMap<String, String>,
    /// The file does not say so yet.
    changed: bool,
}

impl Kept {
    /// The file of the daemon that has this pid file.
    pub(crate) fn path_of(pid_file: &Path) -> PathBuf {
        pid_file.with_extension("state")
    }

    /// What an earlier daemon left in `path`; nothing if there is no such file.
    ///
    /// # Errors
    /// The file's, or that it is not one of ours.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let mut kept = Self { path: path.to_owned(), facts: BTreeMap::new(), changed: false };
        let mut options = OpenOptions::new();
        match options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path) {
            Ok(file) => {
                let mut text = String::new();
                file.take(MAX_FILE).read_to_string(&mut text)?;
                kept.facts = serde_json::from_str(&text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(kept)
    }

    /// None, to be kept in `path`.
    pub(crate) fn none(path: &Path) -> Self {
        Self { path: path.to_owned(), facts: BTreeMap::new(), changed: false }
    }

    /// Takes a fact that is to be kept; any other is given back.
    pub(crate) fn take(&mut self, fact: Fact) -> Option<Fact> {
        if !fact.key.starts_with(PREFIX) {
            return Some(fact);
        }
        let value = String::from_utf8_lossy(&fact.value).into_owned();
        self.changed |= match value.as_str() {
            "" => self.facts.remove(&fact.key).is_some(),
            _ => self.facts.insert(fact.key, value.clone()).as_ref() != Some(&value),
        };
        None
    }

    /// All of them.
    pub(crate) fn facts(&self) -> impl Iterator<Item = Fact> {
        self.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone().into_bytes() })
    }

    /// Brings the file up to date: as a whole, or not at all. Without facts there is none.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        if self.facts.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let new = self.path.with_extension("state.new");
        let mut file = create(&new)?;
        serde_json::to_writer_pretty(&file, &self.facts)?;
        file.write_all(b"\n")?;
        fs::rename(&new, &self.path)
    }

    /// The file, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn create(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(key: &str, value: &str) -> Fact {
        Fact { key: key.into(), value: value.as_bytes().to_vec() }
    }

    #[test]
    fn what_was_kept_is_there_for_the_next_and_gone_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = Kept::path_of(&folder.path().join("keepalived.pid"));
        assert_eq!(path, folder.path().join("keepalived.state"));
        let mut first = Kept::load(&path).unwrap();
        assert_eq!(first.take(fact("router x", "1")), Some(fact("router x", "1")));
        assert_eq!(first.take(fact("host link vrrp.51", "\"odd\"\tname")), None);
        assert_eq!(first.take(fact("host sysctl a", "0 1")), None);
        first.save().unwrap();
        let mut second = Kept::load(&path).unwrap();
        let all: Vec<_> = second.facts().collect();
        assert_eq!(all, [fact("host link vrrp.51", "\"odd\"\tname"), fact("host sysctl a", "0 1")]);
        second.take(fact("host link vrrp.51", ""));
        second.take(fact("host sysctl a", ""));
        second.save().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.state");
        fs::write(&path, "[1, 2").unwrap();
        assert!(Kept::load(&path).is_err());
        let link = folder.path().join("l.state");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Kept::load(&link).is_err());
    }
}
