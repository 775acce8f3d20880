//! The machine that the daemon runs on.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use nix::unistd::{Group, Uid, User, getegid, geteuid};

use super::security::{Host, Identity, Status};

/// Answers from the files and accounts of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThisHost;

impl Host for ThisHost {
    fn user(&self, name: &str) -> io::Result<Option<Identity>> {
        let mut user = User::from_name(name)?;
        if let (None, Ok(uid)) = (&user, name.parse()) {
            user = User::from_uid(Uid::from_raw(uid))?;
        }
        Ok(user.map(|user| Identity { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        let by_name = Group::from_name(name)?.map(|group| group.gid.as_raw());
        Ok(by_name.or_else(|| name.parse().ok()))
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn status(&self, path: &Path) -> io::Result<Status> {
        let found = fs::metadata(path)?;
        Ok(Status { uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777, is_file: found.is_file() })
    }

    fn head(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        fs::File::open(path)?.take(4).read_to_end(&mut head)?;
        Ok(head)
    }

    fn search_path(&self) -> Vec<PathBuf> {
        crate::host::search_path()
    }

    fn bound_to(&self) -> Option<Identity> {
        let may = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
        let bound = !may(Capability::CAP_SETUID) || !may(Capability::CAP_SETGID);
        // What was meant for somebody else must not run as root.
        let bound = bound && !geteuid().is_root();
        bound.then(|| Identity { uid: geteuid().as_raw(), gid: getegid().as_raw() })
    }
}
