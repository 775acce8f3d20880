//! The kernel's news of processes (`linux/cn_proc.h` over `NETLINK_CONNECTOR`): which process something happened to.
//! The kernel speaks only in the first network namespace, to who may administer it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use conf_parser::config::ReceiveBuffer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send, socket_with, sockopt,
};
use tracing::warn;

/// How long the kernel may take to say that it will speak.
const ANSWER: Duration = Duration::from_secs(1);

/// More than the longest message.
const MESSAGE: usize = 512;

/// `CN_IDX_PROC`, `CN_VAL_PROC`, and the multicast group of the same number.
const PROCESSES: u32 = 1;

/// `PROC_CN_MCAST_LISTEN` and `PROC_CN_MCAST_IGNORE`.
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;

/// `NLMSG_DONE`: what every message of a connector is.
const DONE: u16 = 3;

/// `struct nlmsghdr`, then `struct cn_msg`.
const HEADERS: usize = 16 + 20;

/// What happened to a process; threads are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessEvent {
    /// `parent` has made it.
    Forked { parent: i32, pid: i32 },
    /// It is another program now, or has another name.
    Changed { pid: i32 },
    /// It ends.
    Exits { pid: i32 },
    /// The kernel will speak, or not for this reason.
    Answer(Option<Errno>),
    /// Nothing that matters here.
    Other,
}

/// A socket on which the kernel speaks.
#[derive(Debug)]
pub(super) struct ProcessEvents(OwnedFd);

impl AsFd for ProcessEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The kernel counts who listens, and goes on telling nobody when a socket is only closed.
impl Drop for ProcessEvents {
    fn drop(&mut self) {
        let _ = send(&self.0, &request(IGNORE), SendFlags::empty());
    }
}

impl ProcessEvents {
    /// Asks the kernel to speak. May block for a second.
    ///
    /// # Errors
    /// `ECONNREFUSED` outside the first network namespace, `EPERM` without CAP_NET_ADMIN there, `ETIMEDOUT` where the
    /// kernel does not answer, as in a pid namespace.
    pub(super) fn open(buffer: ReceiveBuffer) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::CONNECTOR))?;
        if let Some(size) = buffer.size.and_then(|size| usize::try_from(size).ok()) {
            let set = if buffer.force {
                sockopt::set_socket_recv_buffer_size_force(&socket, size)
            } else {
                sockopt::set_socket_recv_buffer_size(&socket, size)
            };
            if let Err(error) = set {
                warn!("process_monitor_rcv_bufs {size} cannot be set - {error}");
            }
        }
        bind(&socket, &netlink::SocketAddrNetlink::new(0, PROCESSES))?;
        send(&socket, &request(LISTEN), SendFlags::empty())?;
        let events = Self(socket);
        events.wait_for_answer()?;
        Ok(events)
    }

    fn wait_for_answer(&self) -> io::Result<()> {
        let deadline = Instant::now() + ANSWER;
        loop {
            match self.receive() {
                Ok(ProcessEvent::Answer(None)) => return Ok(()),
                Ok(ProcessEvent::Answer(Some(error))) => return Err(error.into()),
                Ok(_) => {}
                Err(Errno::AGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let left = Timespec::try_from(left).map_err(io::Error::other)?;
                    if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left))? == 0 {
                        return Err(Errno::TIMEDOUT.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// `EAGAIN` when there is none; `ENOBUFS` when some were lost.
    pub(super) fn receive(&self) -> Result<ProcessEvent, Errno> {
        let mut buffer = [0; MESSAGE];
        let (_, length) = recv(&self.0, &mut buffer, RecvFlags::empty())?;
        Ok(decode(buffer.get(..length).unwrap_or_default()).unwrap_or(ProcessEvent::Other))
    }
}

/// The message that asks the kernel to speak, or to be silent.
fn request(operation: u32) -> Vec<u8> {
    let operation = operation.to_ne_bytes();
    let mut message = Vec::with_capacity(HEADERS + operation.len());
    message.extend((40u32).to_ne_bytes());
    message.extend(DONE.to_ne_bytes());
    message.extend([0; 10]);
    for word in [PROCESSES, PROCESSES, 0, 0] {
        message.extend(word.to_ne_bytes());
    }
    message.extend(4u16.to_ne_bytes());
    message.extend([0; 2]);
    message.extend(operation);
    message
}

/// The event that a message tells of; `None` for a message that is none.
fn decode(message: &[u8]) -> Option<ProcessEvent> {
    let word = |at: usize| message.get(at..at + 4)?.as_array::<4>().copied().map(u32::from_ne_bytes);
    let number = |at: usize| word(at).map(u32::cast_signed);
    if word(16)? != PROCESSES || word(20)? != PROCESSES {
        return None;
    }
    // `struct proc_event`: what, cpu, a timestamp of eight octets, then what depends on `what`.
    let data = HEADERS + 16;
    // Process and thread group: the same number for a process, not for a thread.
    let process = |at: usize| number(at).filter(|pid| number(at + 4) == Some(*pid));
    let event = match word(HEADERS)? {
        0 => ProcessEvent::Answer(Some(number(data)?).filter(|error| *error != 0).map(Errno::from_raw_os_error)),
        1 => process(data + 8).map_or(ProcessEvent::Other, |pid| ProcessEvent::Forked {
            parent: number(data + 4).unwrap_or_default(),
            pid,
        }),
        2 | 0x200 => process(data).map_or(ProcessEvent::Other, |pid| ProcessEvent::Changed { pid }),
        0x8000_0000 => process(data).map_or(ProcessEvent::Other, |pid| ProcessEvent::Exits { pid }),
        _ => ProcessEvent::Other,
    };
    Some(event)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(what: u32, data: &[u32]) -> Vec<u8> {
        let mut message = request(LISTEN);
        message.truncate(HEADERS);
        for word in [what, 7, 1, 2].iter().chain(data) {
            message.extend(word.to_ne_bytes());
        }
        message
    }

    #[test]
    fn events_are_those_of_processes_not_threads() {
        let decoded = |what, data: &[u32]| decode(&message(what, data)).unwrap();
        assert_eq!(decoded(0, &[0]), ProcessEvent::Answer(None));
        assert_eq!(decoded(0, &[1]), ProcessEvent::Answer(Some(Errno::PERM)));
        assert_eq!(decoded(1, &[11, 10, 20, 20]), ProcessEvent::Forked { parent: 10, pid: 20 });
        assert_eq!(decoded(1, &[10, 10, 21, 10]), ProcessEvent::Other, "a thread");
        assert_eq!(decoded(2, &[20, 20]), ProcessEvent::Changed { pid: 20 });
        assert_eq!(decoded(0x200, &[20, 20, 0, 0, 0, 0]), ProcessEvent::Changed { pid: 20 });
        assert_eq!(decoded(0x200, &[21, 20, 0, 0, 0, 0]), ProcessEvent::Other, "a thread's name");
        assert_eq!(decoded(0x8000_0000, &[20, 20, 0, 17]), ProcessEvent::Exits { pid: 20 });
        assert_eq!(decoded(0x8000_0000, &[21, 20, 0, 17]), ProcessEvent::Other, "a thread");
        assert_eq!(decoded(4, &[20, 20, 0, 0]), ProcessEvent::Other, "another user");
    }

    #[test]
    fn the_request_is_as_long_as_it_says() {
        let message = request(LISTEN);
        assert_eq!(message.first_chunk::<4>(), Some(&40u32.to_ne_bytes()));
        assert_eq!(message.len(), 40);
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(octets in prop::collection::vec(any::<u8>(), 0..120), cut in 0usize..120) {
            let _ = decode(&octets);
            let mut event = message(1, &[1, 2, 3, 4]);
            event.truncate(cut);
            let _ = decode(&event);
        }
    }

    /// In the first network namespace it works for root, elsewhere it is refused; it never hangs.
    #[test]
    fn it_is_there_or_it_is_refused() {
        let opened = ProcessEvents::open(ReceiveBuffer::default());
        let refusals = [Errno::CONNREFUSED, Errno::PERM, Errno::TIMEDOUT, Errno::PROTONOSUPPORT];
        if let Err(error) = &opened {
            let errno = Errno::from_io_error(error);
            assert!(errno.is_some_and(|errno| refusals.contains(&errno)), "{error}");
        }
    }
}
