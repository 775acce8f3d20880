//! The calls that the VRRP process may not make: it starts no program and no process, whatever becomes of it. The kernel
//! holds such a call until the supervisor, which counts and says it, has refused it. It kills nobody: `posix_spawn`
//! blocks every signal around its call, and a signal that is blocked then would end the process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{self, sock_filter};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::os;

// Instructions of the classic packet filter (`linux/filter.h`).
const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_NOT_LESS: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// Where in the kernel's description of a call is what (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

/// The kernel's number of the architecture that this program is made for (`linux/audit.h`); `None` where the calls are
/// not known to be as they are here.
const OURS: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// Calls from here on belong to another interface of the same processor (x32).
const OTHER_INTERFACE: u32 = 0x4000_0000;

/// The calls that are refused whatever their arguments.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// A call fails with this error and does nothing.
const fn fails(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.cast_unsigned()
}

const fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code, jt: yes, jf: no, k }
}

/// `refusal` is what becomes of a call that starts a program or a process. New threads are no processes: `clone` says
/// what it makes; `clone3` says it where no filter sees it, and C libraries fall back to `clone` where it is missing.
fn program(architecture: u32, refusal: u32) -> Vec<sock_filter> {
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let mut program = vec![
        step(LOAD_WORD, ARCHITECTURE),
        jump(JUMP_IF_EQUAL, architecture, 1, 0),
        step(RETURN, fails(libc::EPERM)),
        step(LOAD_WORD, NUMBER),
        jump(JUMP_IF_NOT_LESS, OTHER_INTERFACE, 0, 1),
        step(RETURN, fails(libc::EPERM)),
        jump(JUMP_IF_EQUAL, number(libc::SYS_clone3), 0, 1),
        step(RETURN, fails(libc::ENOSYS)),
    ];
    for call in REFUSED {
        program.extend([jump(JUMP_IF_EQUAL, number(*call), 0, 1), step(RETURN, refusal)]);
    }
    program.extend([
        jump(JUMP_IF_EQUAL, number(libc::SYS_clone), 0, 3),
        step(LOAD_WORD, FIRST_ARGUMENT),
        jump(JUMP_IF_ANY_BIT, libc::CLONE_THREAD.cast_unsigned(), 1, 0),
        step(RETURN, refusal),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
    ]);
    program
}

/// From now on neither this thread nor what it starts can start a program or a process. What the supervisor needs to
/// answer such calls; without it they fail all the same, and the reason says why nobody counts them.
///
/// # Errors
/// When the kernel has no filters, or they are not permitted: then nothing is refused.
pub(super) fn refuse() -> io::Result<Result<OwnedFd, io::Error>> {
    let architecture = OURS.ok_or(io::ErrorKind::Unsupported)?;
    match os::filter_calls(&program(architecture, libc::SECCOMP_RET_USER_NOTIF), true) {
        Ok(Some(listener)) => Ok(Ok(listener)),
        // Kernels before 5.0, and where somebody outside has the same in place already.
        refused => {
            os::filter_calls(&program(architecture, fails(libc::EPERM)), false)?;
            Ok(Err(refused.err().unwrap_or(io::ErrorKind::NotFound.into())))
        }
    }
}

/// The supervisor's view of a process whose calls it refuses.
#[derive(Debug)]
pub(crate) struct Watch {
    listener: OwnedFd,
    refused: u64,
}

impl Watch {
    /// With the descriptor that the process sent.
    pub(crate) fn new(listener: OwnedFd) -> Self {
        Self { listener, refused: 0 }
    }

    /// Refuses a call, if one waits. What there is to say: of the first, and each time that their number has doubled.
    ///
    /// # Errors
    /// When no more calls can come.
    pub(crate) fn answer(&mut self) -> io::Result<Option<String>> {
        let mut fds = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Err(Errno::EINTR) => return Ok(None),
            other => other?,
        };
        let [fd] = fds;
        let events = fd.revents().unwrap_or(PollFlags::empty());
        if !events.contains(PollFlags::POLLIN) {
            return if events.is_empty() { Ok(None) } else { Err(io::ErrorKind::NotConnected.into()) };
        }
        let call = match os::held_call(self.listener.as_fd()) {
            // Whoever made it is gone, or a signal came: the next time tells.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => return Ok(None),
            other => other?,
        };
        self.refused += 1;
        match os::fail_held_call(self.listener.as_fd(), call.id, libc::EPERM) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            _ => {}
        }
        Ok(self.refused.is_power_of_two().then(|| {
            let name = name(call.number);
            format!("{name} of thread {} was refused, which starts no process: {} so far", call.thread, self.refused)
        }))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn name(number: i32) -> String {
    match libc::c_long::from(number) {
        libc::SYS_execve => "execve".into(),
        libc::SYS_execveat => "execveat".into(),
        libc::SYS_clone => "clone".into(),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork => "fork".into(),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork => "vfork".into(),
        other => format!("call {other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use super::*;

    /// Runs `work` in a thread under the filter, which no other test shares, with somebody who answers; what that one
    /// said.
    fn under_filter<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> (T, Vec<String>, u64) {
        let (tell, told) = channel();
        let (done, over) = channel();
        let thread = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            tell.send(refuse().unwrap().unwrap()).unwrap();
            let result = work();
            done.send(()).unwrap();
            result
        });
        let mut watch = Watch::new(told.recv().unwrap());
        let mut said = Vec::new();
        while over.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
            said.extend(watch.answer().unwrap());
        }
        (thread.join().unwrap(), said, watch.refused)
    }

    #[test]
    fn no_program_is_started_and_each_try_is_counted() {
        let (errors, said, refused) = under_filter(|| [(); 5].map(|()| Command::new("/bin/true").spawn().unwrap_err()));
        assert!(errors.iter().all(|error| error.raw_os_error() == Some(libc::EPERM)), "{errors:?}");
        assert_eq!(refused, 5);
        // The first, the second, the fourth.
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said.iter().all(|line| line.contains("clone of thread") || line.contains("fork of thread")),
            "{said:?}"
        );
        assert!(said.last().is_some_and(|line| line.ends_with("4 so far")), "{said:?}");
    }

    #[test]
    fn a_program_does_not_become_another_one() {
        use std::os::unix::process::CommandExt;
        let (error, said, _) = under_filter(|| Command::new("/bin/true").exec());
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(said.iter().any(|line| line.starts_with("execve of thread")), "{said:?}");
    }

    #[test]
    fn threads_are_no_processes() {
        let (answer, said, refused) = under_filter(|| std::thread::spawn(|| 42).join().unwrap());
        assert_eq!((answer, said.len(), refused), (42, 0, 0));
    }

    #[test]
    fn nobody_is_left_to_ask() {
        let (tell, told) = channel();
        std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            tell.send(refuse().unwrap().unwrap()).unwrap();
        })
        .join()
        .unwrap();
        let mut watch = Watch::new(told.recv().unwrap());
        // The kernel lets go of a thread a little after it was joined.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while watch.answer().is_ok() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
