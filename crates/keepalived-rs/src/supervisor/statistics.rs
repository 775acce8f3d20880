//! The file with keepalived's statistics, which SIGUSR2 and SIGRTMAX-1 ask for.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use nix::libc;
use rustix::fs::SealFlags;
use tracing::{error, warn};

use crate::ipc;

/// keepalived's name for it.
const NAME: &str = "keepalived.stats";

/// The most octets of a text: 4,096 routers take a quarter of that.
const LIMIT: i64 = 16 << 20;

/// Writes the file, on a thread of its own: a disk that stands still is nobody else's business.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    writing: Option<JoinHandle<()>>,
    /// So often they were asked for and have not come yet.
    asked: u32,
}

impl Statistics {
    /// They have been asked for.
    pub(super) fn expect(&mut self) {
        self.asked = self.asked.saturating_add(1);
    }

    /// What nobody asked for is not read, nor what is larger than thousands of routers make it: a worker may have been
    /// taken over.
    fn accept(&mut self, text: &OwnedFd) -> io::Result<()> {
        self.asked = self.asked.checked_sub(1).ok_or_else(|| io::Error::other("nobody asked for them"))?;
        let seals = SealFlags::GROW | SealFlags::WRITE;
        if !rustix::fs::fcntl_get_seals(text)?.contains(seals) {
            return Err(io::Error::other("their memfd is not sealed"));
        }
        let octets = rustix::fs::fstat(text)?.st_size;
        if octets > LIMIT {
            return Err(io::Error::other(format!("they have {octets} octets, the most is {LIMIT}")));
        }
        Ok(())
    }

    /// Writes the text in the memfd to keepalived's place, unless that is still being done with another one.
    pub(super) fn write(&mut self, text: OwnedFd) {
        let path = path();
        if let Err(error) = self.accept(&text) {
            return error!("{}: the statistics are not written: {error}", path.display());
        }
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return warn!("{} is still being written", path.display());
        }
        let work = move || {
            let written = ipc::unseal::<String>(&text).and_then(|text| write(&path, &text));
            if let Err(error) = written {
                error!("{}: the statistics cannot be written: {error}", path.display());
            }
        };
        match thread::Builder::new().name("statistics".into()).spawn(work) {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => error!("starting a thread for the statistics: {error}"),
        }
    }
}

/// In `$TMPDIR`, or else in /tmp.
fn path() -> PathBuf {
    let folder = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    folder.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from).join(NAME)
}

/// Puts a new file, for its owner only, in the place of the one that is there: nobody reads half of it, and no link that
/// somebody put there is followed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("stats.{}", std::process::id()));
    let create =
        || OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(&new);
    let mut file = match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&new)?;
            create()?
        }
        other => other?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The reason is what counts.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_what_was_asked_for_is_accepted_and_only_so_much() {
        let text = ipc::seal(&"text").unwrap();
        let mut statistics = Statistics::default();
        assert!(statistics.accept(&text).is_err(), "nobody asked");
        statistics.expect();
        assert!(statistics.accept(&text).is_ok());
        assert!(statistics.accept(&text).is_err(), "asked once");

        statistics.expect();
        let large = ipc::seal(&" ".repeat(usize::try_from(LIMIT).unwrap())).unwrap();
        let refusal = statistics.accept(&large).unwrap_err().to_string();
        assert!(refusal.contains("the most is"), "{refusal}");

        statistics.expect();
        let open = rustix::fs::memfd_create("open", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(statistics.accept(&open).is_err(), "it may still grow");
    }

    #[test]
    fn a_new_file_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for text in ["long text\n", "short\n"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_are_not_followed_and_what_is_in_the_way_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, precious) = (folder.path().join(NAME), folder.path().join("precious"));
        fs::write(&precious, "kept").unwrap();
        symlink(&precious, &path).unwrap();
        symlink(&precious, path.with_extension(format!("stats.{}", std::process::id()))).unwrap();
        write(&path, "text").unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_in_the_way_is_an_error_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::create_dir(&path).unwrap();
        assert!(write(&path, "text").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
