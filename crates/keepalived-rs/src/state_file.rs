//! What a daemon has put on this host, for the daemon or the `cleanup` that comes after all its processes were killed
//! (`design.md` §5).

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;
use serde::{Deserialize, Serialize};

use crate::ipc::{self, Fact};

/// A file that is larger was not written by a daemon.
const MAX_SIZE: u64 = 256 << 20;

/// The file, beside the pid file. There is none while there is nothing to be said.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    /// What it holds belongs to this build, boot and network namespace only.
    place: Place,
    exists: bool,
}

/// Where facts are true: after the next boot, or in another network namespace, nothing of them is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    build: String,
    boot: String,
    namespace: String,
}

impl StateFile {
    /// The file of the daemon with this pid file.
    ///
    /// # Errors
    /// When `/proc` does not tell boot and network namespace.
    pub(crate) fn beside(pid_file: &Path) -> io::Result<Self> {
        let place = Place {
            build: ipc::BUILD_ID.to_owned(),
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            namespace: fs::read_link("/proc/self/ns/net")?.to_string_lossy().into_owned(),
        };
        let mut path = pid_file.as_os_str().to_owned();
        // Added, not put in place of an ending: `a.blue` and `a.green` are the pid files of two daemons.
        path.push(".state");
        Ok(Self { path: path.into(), place, exists: false })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier daemon left; nothing if there was none, or if it was of another boot or network namespace.
    ///
    /// # Errors
    /// When the file cannot be read, or was written by another version.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Fact>> {
        let options = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&self.path);
        let mut octets = Vec::new();
        match options {
            Ok(file) => file.take(MAX_SIZE).read_to_end(&mut octets)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        self.exists = true;
        let (place, facts) = postcard::take_from_bytes::<Place>(&octets).map_err(unreadable)?;
        if place.build != self.place.build {
            return Err(unreadable(format!("it was written by version {}", place.build)));
        }
        if place != self.place {
            return Ok(Vec::new());
        }
        ipc::decode(facts)
    }

    /// Replaces the file, as a whole or not at all; removes it once there are no facts.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn write(&mut self, facts: &[Fact]) -> io::Result<()> {
        if facts.is_empty() {
            return self.remove();
        }
        let mut octets = ipc::encode(&self.place);
        octets.extend(ipc::encode(&facts));
        let new = self.path.with_extension("state.new");
        let options = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).custom_flags(options).open(&new)?;
        file.write_all(&octets)?;
        fs::rename(&new, &self.path)?;
        self.exists = true;
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.exists) {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn unreadable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn facts() -> Vec<Fact> {
        vec![Fact { key: "addresses 0 a".into(), value: vec![1, 2, 3] }]
    }

    #[test]
    fn the_next_daemon_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("keepalived.pid");
        let open = || StateFile::beside(&pid_file).unwrap();
        assert_eq!(open().read().unwrap(), []);
        open().write(&facts()).unwrap();
        let path = folder.path().join("keepalived.pid.state");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut next = open();
        assert_eq!(next.read().unwrap(), facts());
        next.write(&[]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn daemons_whose_pid_files_differ_in_the_ending_have_a_file_each() {
        let folder = tempfile::tempdir().unwrap();
        let open = |pid_file: &str| StateFile::beside(&folder.path().join(pid_file)).unwrap();
        open("keepalived.blue").write(&facts()).unwrap();
        for other in ["keepalived.green", "keepalived"] {
            assert_eq!(open(other).read().unwrap(), [], "{other}");
            open(other).write(&facts()).unwrap();
        }
        assert_eq!(open("keepalived.blue").read().unwrap(), facts());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn facts_of_another_boot_or_namespace_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = StateFile::beside(&folder.path().join("pid")).unwrap();
        for change in [|place: &mut Place| place.boot.clear(), |place: &mut Place| place.namespace.clear()] {
            let mut other = StateFile { path: file.path.clone(), place: file.place.clone(), exists: false };
            change(&mut other.place);
            other.write(&facts()).unwrap();
            assert_eq!(file.read().unwrap(), []);
        }
    }

    #[test]
    fn what_another_version_or_somebody_else_wrote_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = StateFile::beside(&folder.path().join("pid")).unwrap();
        let mut other = StateFile { path: file.path.clone(), place: file.place.clone(), exists: false };
        other.place.build = "0.0.1/7".into();
        other.write(&facts()).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("0.0.1/7"));
        for text in ["", "junk", "\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}\u{ff}"] {
            fs::write(file.path(), text).unwrap();
            assert!(file.read().is_err());
        }
    }
}
