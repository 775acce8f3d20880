//! A network namespace held by a descriptor.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace. It exists as long as a copy of this value or a process or socket in it does, and has no name that
/// could outlive the program.
#[derive(Debug, Clone)]
pub struct NetNs {
    descriptor: Arc<File>,
}

impl NetNs {
    /// A new, empty namespace: one loopback, down.
    ///
    /// # Errors
    /// Outside [`enter`](crate::enter) only root may do this.
    pub fn new() -> io::Result<Self> {
        let file = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })?;
        Ok(Self { descriptor: Arc::new(file) })
    }

    /// Runs `work` on a thread inside the namespace and waits for its result. Sockets that it opens belong to the namespace
    /// wherever they are used later; so do files of /proc/sys/net.
    ///
    /// # Panics
    /// If `work` does, and if the kernel does not let the program into the namespace it made itself.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_own_thread(|| {
            setns(self, CloneFlags::CLONE_NEWNET).expect("the namespace was made by this program");
            work()
        })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Namespaces belong to threads: what changes them gets a thread that ends afterwards.
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}
