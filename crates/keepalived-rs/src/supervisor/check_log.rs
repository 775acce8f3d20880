//! The file in which `reload_check_config` leaves what it found.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

/// Replaces what is in the file at `path`; a new one is for its owner only, as keepalived makes it.
///
/// # Errors
/// When it cannot be written now: the supervisor does not wait for a reader of a FIFO, and follows no link that
/// somebody may have put there.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_file_holds_the_last_check_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("check.log");
        write(&path, "two\nlines\n").unwrap();
        write(&path, "one\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(Path::new("/dev/null"), "one\n").unwrap();
    }

    #[test]
    fn links_are_not_followed_and_nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, fifo) = (folder.path().join("file"), folder.path().join("link"), folder.path().join("fifo"));
        fs::write(&file, "kept").unwrap();
        symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(write(&link, "x").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(write(&fifo, "x").unwrap_err().raw_os_error(), Some(libc::ENXIO));
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    }
}
