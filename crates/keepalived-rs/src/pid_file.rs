//! Pid files: mode 0644, decimal pid and newline, a whole-file write lock of the open file description while the
//! process runs. keepalived 2.2.7 takes no lock: it looks whether the process that the file names is there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// A pid file that this process holds; removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

/// Why a pid file could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    /// Another process holds the lock, or is a keepalived that the file names.
    #[error("daemon is already running")]
    AlreadyRunning,
    /// The file cannot be made or written.
    #[error("pid file {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PidFile {
    /// Opens and locks `path`; whatever an earlier daemon left in it goes.
    ///
    /// # Errors
    /// [`PidFileError::AlreadyRunning`] when another process holds the lock, or is a keepalived that the file names.
    pub(crate) fn take(path: &Path) -> Result<Self, PidFileError> {
        let io_error = |source| PidFileError::Io { path: path.to_owned(), source };
        loop {
            let mut file = open(path).map_err(io_error)?;
            lock(&file).map_err(|error| match error {
                nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES => PidFileError::AlreadyRunning,
                other => io_error(other.into()),
            })?;
            // A daemon that ended between the two calls has removed the file that is locked now.
            if !is_at(&file, path).map_err(io_error)? {
                continue;
            }
            if names_a_keepalived(&mut file).map_err(io_error)? {
                return Err(PidFileError::AlreadyRunning);
            }
            // The mode must not depend on the umask.
            file.set_permissions(PermissionsExt::from_mode(0o644)).map_err(io_error)?;
            file.set_len(0).map_err(io_error)?;
            return Ok(Self { path: path.to_owned(), file });
        }
    }

    /// Writes `pid` in place of what the file holds.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn write(&mut self, pid: u32) -> Result<(), PidFileError> {
        let io_error = |source| PidFileError::Io { path: self.path.clone(), source };
        let line = format!("{pid}\n");
        self.file.set_len(0).map_err(io_error)?;
        std::os::unix::fs::FileExt::write_all_at(&self.file, line.as_bytes(), 0).map_err(io_error)?;
        self.file.flush().map_err(io_error)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it already; there is nobody left to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
}

/// Whether `path` still names this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let id = |metadata: &std::fs::Metadata| (metadata.dev(), metadata.ino());
    let ours = id(&file.metadata()?);
    match path.symlink_metadata() {
        Ok(there) => Ok(id(&there) == ours),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the pid in the file is that of a process with keepalived's name; one that a dead daemon left behind may be
/// anybody's by now.
fn names_a_keepalived(file: &mut File) -> io::Result<bool> {
    const LONGEST: u64 = 32;
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    let pid = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let name = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    Ok(pid != Some(std::process::id()) && name.is_some_and(|name| name.starts_with("keepalived")))
}

fn lock(file: &File) -> nix::Result<()> {
    let whole = libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).expect("lock types are small"),
        l_whence: i16::try_from(libc::SEEK_SET).expect("whence values are small"),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_that_the_daemon_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keepalived.pid");
        let mut first = PidFile::take(&path).unwrap();
        first.write(1234).unwrap();
        first.write(56).unwrap();
        assert!(matches!(PidFile::take(&path), Err(PidFileError::AlreadyRunning)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "56\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_that_is_named_and_is_no_keepalived_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keepalived.pid");
        for left_behind in ["1\n", "4294967295\n", "-1\n", "keepalived\n", "\0\u{ff}", ""] {
            std::fs::write(&path, left_behind).unwrap();
            PidFile::take(&path).unwrap();
        }
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("precious");
        std::fs::write(&target, "data").unwrap();
        let path = dir.path().join("keepalived.pid");
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(matches!(PidFile::take(&path), Err(PidFileError::Io { .. })));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "data");
    }
}
