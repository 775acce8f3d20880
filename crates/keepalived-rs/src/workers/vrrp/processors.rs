//! Whether a thread that does not sleep would keep others from a processor.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{PROC_SUPER_MAGIC, fstatfs};
use rustix::thread::sched_getaffinity;

/// The processors that this process may use, and who uses them.
#[derive(Debug)]
pub(super) struct Processors {
    count: usize,
    /// What the kernel knows at the time of the reading: no disk, and no lock. `None` where it is another's file.
    load: Option<File>,
}

impl Processors {
    /// Opens what will be looked at. Call before privileges change.
    pub(super) fn open() -> Self {
        let count = sched_getaffinity(None).map_or(1, |set| usize::try_from(set.count()).unwrap_or(1));
        Self { count, load: File::open("/proc/loadavg").ok().filter(is_of_kernel) }
    }

    /// More than anybody could want.
    #[cfg(test)]
    pub(super) fn plenty() -> Self {
        Self { count: usize::MAX, ..Self::open() }
    }

    /// Whether there are fewer of them than threads that run or want to, the calling one and one more included. Who cannot
    /// tell keeps nobody from his.
    pub(super) fn are_crowded(&self) -> bool {
        let mut text = [0; 128];
        let count = self.load.as_ref().and_then(|load| load.read_at(&mut text, 0).ok());
        let runnable = count.and_then(|count| runnable(text.get(..count)?));
        runnable.is_none_or(|runnable| runnable + 1 > self.count)
    }
}

/// In a container the file may be that of a process (lxcfs), for which a reader waits.
fn is_of_kernel(file: &File) -> bool {
    fstatfs(file).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC)
}

/// How many threads run or want to, as `/proc/loadavg` has it (proc(5), the fourth field).
fn runnable(text: &[u8]) -> Option<usize> {
    let field = std::str::from_utf8(text).ok()?.split_ascii_whitespace().nth(3)?;
    field.split_once('/')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_field_begins_with_the_number_of_runnable_threads() {
        assert_eq!(runnable(b"4.16 4.33 4.03 3/170 4567\n"), Some(3));
        for text in ["", "0.00 0.01 0.05", "0.00 0.01 0.05 3 4567", "0.00 0.01 0.05 x/170 4567"] {
            assert_eq!(runnable(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn nobody_else_s_file_is_read() {
        assert!(is_of_kernel(&File::open("/proc/loadavg").unwrap()));
        assert!(!is_of_kernel(&tempfile::tempfile().unwrap()));
    }

    #[test]
    fn with_fewer_processors_than_runnable_threads_they_are_crowded() {
        // This thread runs.
        assert!(Processors { count: 1, ..Processors::open() }.are_crowded());
        assert!(!Processors::plenty().are_crowded());
        assert!(Processors { load: None, ..Processors::plenty() }.are_crowded());
    }
}
