//! What the processes say to each other: serde values, one datagram each, over `SOCK_SEQPACKET` pairs.
//!
//! A child's end of its pair with the supervisor is its standard input; every other descriptor arrives over that pair.
//! Nothing here waits: a full socket is `WouldBlock`, and [`Outbox`] keeps what must not be lost until there is room.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::workers::lateness::Histogram;

/// The largest message; larger values travel as a sealed memfd beside a small message.
const MAX_MESSAGE: usize = 64 * 1024;

/// The most descriptors one message carries.
const MAX_FDS: usize = 4;

/// Tells one build from another: both ends of a pair must come from the same executable.
pub(crate) const BUILD_ID: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

/// Who a process is (`design.md` §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Reads and checks the configuration, once.
    Reader,
    /// Runs scripts for the others.
    Runner,
    /// Health checks, virtual servers, IPVS.
    Checker,
    /// VRRP and the addresses.
    Vrrp,
    /// Withdraws what a worker that may not be restarted in time left behind.
    Cleanup,
}

impl Role {
    /// The word on the command line of the child.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Runner => "runner",
            Self::Checker => "checker",
            Self::Vrrp => "vrrp",
            Self::Cleanup => "cleanup",
        }
    }

    /// The role that `word` names.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Reader, Self::Runner, Self::Checker, Self::Vrrp, Self::Cleanup]
            .into_iter()
            .find(|role| role.word() == word)
    }
}

/// What every process needs to know before its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Common {
    /// The supervisor's build; another one is refused.
    pub(crate) build: String,
    /// When the daemon started, since boot (CLOCK_BOOTTIME).
    pub(crate) started: Duration,
    /// How to log.
    pub(crate) log: crate::log::Options,
    /// `-V`: leave addresses in place at stop and send no priority 0.
    pub(crate) dont_release_vrrp: bool,
    /// `-I`: leave the IPVS configuration in place at stop.
    pub(crate) dont_release_ipvs: bool,
}

/// What the supervisor tells a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The first message; what the process may need besides its work.
    Hello(Common, crate::privileges::Extras),
    /// Read `source` and answer with [`Report::Reading`] (reader only). At a reload a memfd with the VRRP worker's part of
    /// the running configuration is attached.
    Read(crate::reader::Source),
    /// Facts of a predecessor, newest per key, in the attached memfd as `Vec<Fact>`. Comes before the first `Prepare`.
    Resume,
    /// The attached memfd holds this worker's part of configuration `generation`. Check and open what it needs, change
    /// nothing yet, answer `Prepared` or `Rejected`.
    Prepare {
        /// Counts configurations from 1.
        generation: u64,
        /// It ran before, in a predecessor: what is missing on the host now is a fault, no reason to refuse.
        again: bool,
    },
    /// Make the prepared configuration the running one; answer `Committed`.
    Commit {
        /// As prepared.
        generation: u64,
    },
    /// Forget the prepared configuration; another worker refused its part.
    Abandon {
        /// As prepared.
        generation: u64,
    },
    /// The attached socket leads to the (new) process of this role.
    Connect {
        /// Who is at the other end.
        peer: Role,
    },
    /// Answers one [`Report::Note`]: the facts before it are in the state file.
    Noted,
    /// The attached socket is where commands ask what this worker answers.
    Listen,
    /// End cleanly: resign, withdraw, tell the runner, answer `Stopped`, exit 0.
    Stop,
}

/// What a worker tells the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// What the reader found; the parts are attached as memfds in the order of `parts`.
    Reading(crate::reader::Reading),
    /// The part of `generation` can be committed.
    Prepared {
        /// As ordered.
        generation: u64,
        /// The worker is hung when it has not beaten for this long; `None` for a worker that does not beat.
        beat_limit: Option<Duration>,
    },
    /// The part of `generation` cannot run on this host.
    Rejected {
        /// As ordered.
        generation: u64,
        /// The exit status for a refused start (`behaviour.md` §1.2).
        exit: u8,
        /// One sentence for the log.
        why: String,
    },
    /// The configuration of `generation` is the running one.
    Committed {
        /// As ordered.
        generation: u64,
    },
    /// Still alive.
    Beat,
    /// A fact that a successor resumes from.
    Fact(Fact),
    /// The facts before it must be safe, whoever dies, before it goes on; answered by [`Order::Noted`].
    Note,
    /// How late its timers have fired since it began.
    Lateness(Histogram),
    /// Everything is withdrawn; the process is about to exit 0.
    Stopped,
    /// Calls of this process that the kernel holds wait at the attached descriptor; they are to be refused.
    Calls,
}

/// One value of the snapshot: the newest per key counts, an empty value forgets the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// Names the value within its worker.
    pub(crate) key: String,
    /// The worker's own encoding.
    pub(crate) value: Vec<u8>,
}

/// What a worker asks of the runner. Sent over the pair that [`Order::Connect`] made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notification {
    /// Counts this sender's notifications from 1; the runner skips what it has seen (`sender`, `number`). A sender whose
    /// first number on a new connection is 1 knows of no predecessor: it is taken to count anew.
    pub(crate) number: u64,
    /// What happened.
    pub(crate) event: NotifyEvent,
}

/// An event that scripts and FIFOs hear of (`behaviour.md` §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotifyEvent {
    /// A VRRP instance entered a state.
    Instance {
        /// Its name in the file.
        name: String,
        /// Which state.
        state: NotifyState,
        /// The effective priority.
        priority: u8,
    },
    /// All members of a VRRP sync group entered a state.
    Group {
        /// Its name in the file.
        name: String,
        /// Which state.
        state: NotifyState,
    },
    /// A virtual server gained or lost its quorum.
    Quorum {
        /// The virtual server as in the log: `[10.0.0.1]:tcp:80`.
        virtual_server: String,
        /// Gained.
        up: bool,
    },
    /// A real server came or went.
    RealServer {
        /// The virtual server as in the log.
        virtual_server: String,
        /// The real server as in the log.
        real_server: String,
        /// Came.
        up: bool,
    },
}

/// The states that `notify` scripts are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum NotifyState {
    /// `MASTER`
    Active,
    /// `BACKUP`
    Backup,
    /// `FAULT`
    Fault,
    /// `STOP`
    Stop,
    /// `DELETED`
    Deleted,
    /// `MASTER_RX_LOWER_PRI`
    ActiveReceivedLowerPriority,
}

/// What the runner says over the pair that [`Order::Connect`] made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RunnerSays {
    /// How far it has come with notifications.
    Taken(NotifyAck),
    /// What became of a tracker; the newest of each counts.
    Tracker(TrackerFact),
}

/// A tracker that the runner watches, by its name in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum TrackerName {
    /// A `vrrp_script`.
    Script(String),
    /// A `track_file`.
    File(String),
    /// A `vrrp_track_process`.
    Process(String),
}

/// What the runner knows of a tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrackerFact {
    /// Which tracker.
    pub(crate) tracker: TrackerName,
    /// How it is.
    pub(crate) state: TrackerState,
}

/// How a tracker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TrackerState {
    /// There is no result yet.
    Pending,
    /// It says this.
    Says(vrrp_proto::Verdict),
    /// Its script cannot run: whoever tracks it does without.
    Disabled,
}

/// The runner's answer: everything up to `number` has been started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotifyAck {
    /// The highest number taken.
    pub(crate) number: u64,
}

/// One end of a pair of sockets between two processes.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: OwnedFd,
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.fd
    }
}

impl Channel {
    /// Two connected ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { fd: a }, Self { fd: b }))
    }

    /// The end that the supervisor gave this process as its standard input.
    pub(crate) fn inherited() -> io::Result<Self> {
        let fd = io::stdin().as_fd().try_clone_to_owned()?;
        if rustix::net::sockopt::socket_type(&fd)? != SocketType::SEQPACKET {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { fd })
    }

    /// Sends one message without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the other end does not keep up; other kinds when it is gone.
    pub(crate) fn send<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = encode(message);
        if bytes.len() > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "large values travel as a memfd"));
        }
        self.send_bytes(&bytes, fds)
    }

    fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut control, flags)?;
        Ok(())
    }

    /// The next message and its descriptors; `None` once the other end is closed.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `InvalidData` when it is not an `M`.
    pub(crate) fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut once = || rustix::net::recvmsg(&self.fd, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags);
        // An end that closed with unread messages says so once, before its own last messages.
        let got = match once() {
            Err(rustix::io::Errno::CONNRESET) => once()?,
            other => other?,
        };
        if got.bytes == 0 {
            return Ok(None);
        }
        let fds = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        let bytes = buffer.get(..got.bytes).unwrap_or_default();
        Ok(Some((decode(bytes)?, fds)))
    }

    /// As [`receive`](Self::receive), but waits for a message.
    ///
    /// # Errors
    /// `InvalidData` when it is not an `M`; the socket's.
    pub(crate) fn wait<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        loop {
            let mut fds = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            match self.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}

/// A value's wire form. Serialising plain data into memory cannot fail.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data has a wire form")
}

/// The value that [`encode`] wrote.
///
/// # Errors
/// `InvalidData` for anything else.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes `value` into a memfd that nobody can change any more.
///
/// # Errors
/// The kernel's, when memory is short.
pub(crate) fn seal<T: Serialize>(value: &T) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("keepalived-rs", flags)?);
    file.write_all(&encode(value))?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

/// The value in a memfd that [`seal`] made.
///
/// # Errors
/// `InvalidData` when it is not sealed or not a `T`.
pub(crate) fn unseal<T: DeserializeOwned>(fd: &OwnedFd) -> io::Result<T> {
    if !rustix::fs::fcntl_get_seals(fd)?.contains(SealFlags::WRITE) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the memfd is not sealed"));
    }
    let mut file = File::from(fd.try_clone()?);
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    decode(&bytes)
}

/// What waits for room in a socket: facts, newest per key, and messages in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<Report>,
    facts: BTreeMap<String, Vec<u8>>,
}

impl Outbox {
    /// Queues a message; facts replace older ones of their key.
    pub(crate) fn push(&mut self, report: Report) {
        match report {
            Report::Fact(Fact { key, value }) => {
                self.facts.insert(key, value);
            }
            // One sign of life is as good as many.
            Report::Beat if self.messages.back() == Some(&Report::Beat) => {}
            other => self.messages.push_back(other),
        }
    }

    /// Sends what fits: facts before messages, so that nothing is announced that the snapshot does not hold yet.
    /// `Ok(true)` when nothing is left.
    ///
    /// # Errors
    /// When the other end is gone.
    pub(crate) fn flush(&mut self, channel: &Channel) -> io::Result<bool> {
        while let Some((key, value)) = self.facts.pop_first() {
            let report = Report::Fact(Fact { key: key.clone(), value: value.clone() });
            if !sent(channel.send(&report, &[]))? {
                self.facts.insert(key, value);
                return Ok(false);
            }
        }
        while let Some(report) = self.messages.front() {
            if !sent(channel.send(report, &[]))? {
                return Ok(false);
            }
            self.messages.pop_front();
        }
        Ok(true)
    }
}

/// Whether a send went through; a full socket is no error.
fn sent(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (a, b) = Channel::pair().unwrap();
        let fd = seal(&vec![1u8, 2, 3]).unwrap();
        a.send(&Order::Prepare { generation: 7, again: false }, &[fd.as_fd()]).unwrap();
        let (order, fds) = b.receive::<Order>().unwrap().unwrap();
        assert_eq!(order, Order::Prepare { generation: 7, again: false });
        assert_eq!(unseal::<Vec<u8>>(&fds[0]).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn nothing_to_read_is_would_block_and_a_closed_end_is_none() {
        let (a, b) = Channel::pair().unwrap();
        assert_eq!(b.receive::<Order>().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(a);
        assert!(b.receive::<Order>().unwrap().is_none());
    }

    #[test]
    fn the_last_messages_of_an_end_that_closed_unread_still_arrive() {
        let (a, b) = Channel::pair().unwrap();
        b.send(&Report::Beat, &[]).unwrap();
        a.send(&Order::Stop, &[]).unwrap();
        drop(a);
        assert_eq!(b.receive::<Order>().unwrap().unwrap().0, Order::Stop);
        assert!(b.receive::<Order>().unwrap().is_none());
    }

    #[test]
    fn a_value_that_fits_no_message_is_refused() {
        let (a, _b) = Channel::pair().unwrap();
        let why = "x".repeat(MAX_MESSAGE);
        let error = a.send(&Report::Rejected { generation: 1, exit: 1, why }, &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_sealed_value_cannot_be_written() {
        let mut file = File::from(seal(&1u8).unwrap());
        assert!(file.write_all(b"x").is_err());
    }

    #[test]
    fn an_unsealed_memfd_is_refused() {
        let fd = rustix::fs::memfd_create("x", MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(unseal::<u8>(&fd).is_err());
    }

    #[test]
    fn the_outbox_keeps_the_newest_fact_and_survives_a_full_socket() {
        let (a, b) = Channel::pair().unwrap();
        let mut outbox = Outbox::default();
        for number in 0..20_000u32 {
            outbox.push(Report::Committed { generation: u64::from(number) });
        }
        outbox.push(Report::Fact(Fact { key: "k".into(), value: vec![1] }));
        outbox.push(Report::Fact(Fact { key: "k".into(), value: vec![2] }));
        assert!(!outbox.flush(&a).unwrap(), "twenty thousand messages fit no socket");
        let first = b.receive::<Report>().unwrap().unwrap().0;
        assert_eq!(first, Report::Fact(Fact { key: "k".into(), value: vec![2] }));
        let mut last = None;
        while last != Some(Report::Committed { generation: 19_999 }) {
            outbox.flush(&a).unwrap();
            while let Ok(Some((report, _))) = b.receive::<Report>() {
                last = Some(report);
            }
        }
    }
}
