//! The files that the VRRP process may still open (Landlock): the settings of the network and, to read, what the kernel
//! says of its own threads. What is open already, and sockets, it keeps.

use anyhow::Context as _;
use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetStatus,
};

/// Every way to open or change a file that Landlock knew with Linux 6.10; an older kernel enforces those that it knows.
/// What came later is not about files: connecting to the log's socket is one of these.
const KNOWN: ABI = ABI::V5;

/// Rules that threads can put themselves under.
pub(super) struct Files {
    rules: RulesetCreated,
    /// A rule is about an inode, and /proc makes a new one for the same name whenever it has forgotten the last: what is
    /// held open is not forgotten.
    _held: Vec<PathFd>,
}

impl Files {
    /// Restricts nobody yet.
    ///
    /// # Errors
    /// When a place that must stay open is not there, or the kernel refuses a rule.
    pub(super) fn new() -> anyhow::Result<Self> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let places: [(&str, BitFlags<AccessFs>); 3] = [
            ("/proc/sys/net", read | AccessFs::WriteFile | AccessFs::Truncate),
            // How they are scheduled is set for each, and locked memory depends on who is who in there.
            ("/proc/self/task", read),
            ("/proc/self/uid_map", AccessFs::ReadFile.into()),
        ];
        let mut rules = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?.create()?;
        let mut held = Vec::new();
        for (place, access) in places {
            let fd = PathFd::new(place).with_context(|| format!("opening {place}"))?;
            rules = rules.add_rule(PathBeneath::new(&fd, access)).with_context(|| format!("a rule for {place}"))?;
            held.push(fd);
        }
        Ok(Self { rules, _held: held })
    }

    /// The calling thread, and what it starts from now on, opens nothing else. Whether the kernel does that at all.
    ///
    /// # Errors
    /// When it refuses.
    pub(super) fn restrict_thread(&self) -> anyhow::Result<bool> {
        let status = self.rules.try_clone()?.restrict_self()?;
        Ok(status.ruleset != RulesetStatus::NotEnforced)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn nothing_but_the_network_s_settings_is_left() {
        let outcome = std::thread::spawn(|| {
            let files = Files::new().unwrap();
            if !files.restrict_thread().unwrap() {
                return None;
            }
            let denied = |result: std::io::Result<()>| result.unwrap_err().kind() == ErrorKind::PermissionDenied;
            let closed = ["/etc/passwd", "/proc/self/environ", "/proc/self/status", "/proc/sys/kernel/hostname", "/"]
                .map(|path| (path, denied(fs::File::open(path).map(drop))));
            let written = denied(fs::write(std::env::temp_dir().join("keepalived-rs"), "x"));
            let ttl = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").map(|value| value.trim().parse::<u8>());
            let threads = fs::read_dir("/proc/self/task").map(Iterator::count);
            Some((closed, written, ttl, threads))
        })
        .join()
        .unwrap();
        let Some((closed, written, ttl, threads)) = outcome else {
            eprintln!("skipped: no Landlock in this kernel");
            return;
        };
        assert!(closed.iter().all(|(_, denied)| *denied), "{closed:?}");
        assert!(written);
        assert!(ttl.unwrap().is_ok());
        assert!(threads.unwrap() >= 1);
    }
}
