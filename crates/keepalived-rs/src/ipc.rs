//! What the processes say to each other: serde values, one datagram each, over `SOCK_SEQPACKET` pairs.
//!
//! A child's end of its pair with the supervisor is its standard input; every other descriptor arrives over that pair.
//! Nothing here waits: a full socket is `WouldBlock`, and [`Outbox`] keeps what must not be lost until there is room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use conf_parser::config::Script;
use rustix::event::Timespec;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::workers::lateness::Histogram;

/// The largest datagram; a larger message travels in a sealed memfd that is attached to an empty one.
const MAX_MESSAGE: usize = 64 * 1024;

/// The largest message; in tests less.
const MAX_ATTACHED: usize = if cfg!(test) { 1 << 20 } else { 256 << 20 };

/// The largest configuration, or table of statistics, that is taken from another process, in octets.
const MAX_SEALED: usize = 1 << 30;

/// The first octet of a datagram: the message follows.
const HERE: u8 = 0;

/// The first octet of a datagram: the message is in the last of the attached descriptors.
const ATTACHED: u8 = 1;

/// About so many octets of facts travel together: the socket's buffer counts a message of one fact like one of many.
const MOST_FACTS: usize = 16 * 1024;

/// The most descriptors that are attached to a datagram: four of a message, and the message itself.
const MAX_FDS: usize = 5;

/// Tells one build from another: both ends of a pair must come from the same executable, and whoever reads a state file
/// must know each fact as it was written. The number counts changes of messages and facts within a version.
pub(crate) const BUILD_ID: &str = concat!(env!("CARGO_PKG_VERSION"), "/5");

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
    /// `net_namespace_ipvs` of the configuration that the daemon began with.
    pub(crate) ipvs_namespace: Option<conf_parser::config::IpvsNamespace>,
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
    /// Tell what was counted; answer `Statistics` (VRRP only).
    Statistics {
        /// Count from zero afterwards.
        clear: bool,
    },
    /// The VRRP worker says this of the router that a sync daemon follows (checker only). Comes before the `Commit` that
    /// names the router, and with every change.
    Hear(Fact),
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
    /// Facts that a successor resumes from.
    Facts(Vec<Fact>),
    /// The facts before it must be safe, whoever dies, before it goes on; answered by [`Order::Noted`].
    Note,
    /// How late its timers have fired since it began.
    Lateness(Histogram),
    /// The attached memfd holds the statistics of all instances, as a `String`.
    Statistics,
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
pub(crate) enum ToRunner {
    /// Run the scripts that hear of this.
    Notify(Notification),
    /// Run the program of a check; answered by one [`RunnerSays::Ended`].
    Run(CheckRun),
    /// The answer to this run is not waited for any more.
    Drop(u64),
}

/// A run of the program of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckRun {
    /// Names it among all runs of this sender.
    pub(crate) number: u64,
    /// The check: it has one run at a time.
    pub(crate) check: u64,
    /// What runs; nothing does that the configuration does not name for checks.
    pub(crate) script: Script,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

/// How a run of the program of a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckEnd {
    /// Which run.
    pub(crate) number: u64,
    /// How it ended.
    pub(crate) how: RunEnd,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RunEnd {
    /// With this exit status.
    Exited(u8),
    /// By this signal.
    Signalled(i32),
    /// Not in time, or the one before it of the same check has not ended yet.
    TimedOut,
    /// It could not be started.
    NotStarted,
    /// The program may not run here.
    Refused,
}

/// A numbered event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notification {
    /// Counts this sender's notifications; the runner skips what it has seen (`sender`, `number`). A sender whose first
    /// number on a new connection is 1 knows of no predecessor: it is taken to count anew. The checker begins with a number
    /// higher than any before.
    pub(crate) number: u64,
    /// What happened.
    pub(crate) event: NotifyEvent,
}

/// An event that scripts and FIFOs hear of (`behaviour.md` §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// What became of a run of the program of a check.
    Ended(CheckEnd),
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
    /// `WouldBlock` when the other end does not keep up; `InvalidInput` for a message that is too large; other kinds when
    /// the other end is gone, or memory or descriptors are short.
    pub(crate) fn send<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = postcard::to_extend(message, vec![HERE]).expect("plain data has a wire form");
        if bytes.len() <= MAX_MESSAGE {
            return self.send_bytes(&bytes, fds);
        }
        let message = bytes.get(1..).unwrap_or_default();
        if message.len() > MAX_ATTACHED {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large"));
        }
        let attached = seal_bytes(message)?;
        let fds: Vec<_> = fds.iter().copied().chain([attached.as_fd()]).collect();
        self.send_bytes(&[ATTACHED], &fds)
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
    /// `WouldBlock` when there is none; `InvalidData` when it is not an `M`; [another](is_lost) when there was one that
    /// cannot be read, for want of memory or descriptors.
    pub(crate) fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let Some((bytes, mut fds)) = self.receive_bytes()? else { return Ok(None) };
        let message = match bytes.split_first() {
            Some((&HERE, message)) => decode(message)?,
            Some((&ATTACHED, [])) => {
                let attached = fds.pop().ok_or_else(|| io::Error::other("no descriptor is left"));
                let message = attached.and_then(|attached| unseal_bytes(&attached, MAX_ATTACHED));
                decode(&message.map_err(|error| io::Error::other(Lost(error)))?)?
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(Some((message, fds)))
    }

    /// As [`receive`](Self::receive), from somebody who may not make this process read for long.
    ///
    /// # Errors
    /// Those, and `InvalidData` when the message is a large one.
    pub(crate) fn receive_small<M: DeserializeOwned>(&self) -> io::Result<Option<M>> {
        let Some((bytes, _)) = self.receive_bytes()? else { return Ok(None) };
        match bytes.split_first() {
            Some((&HERE, message)) => decode(message).map(Some),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The next datagram.
    fn receive_bytes(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
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
        buffer.truncate(got.bytes);
        Ok(Some((buffer, fds)))
    }

    /// Whether there is a message within `patience`, or the other end is closed.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn is_ready_within(&self, patience: Duration) -> io::Result<bool> {
        let mut fds = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        match rustix::event::poll(&mut fds, Some(&patience)) {
            Err(rustix::io::Errno::INTR) => Ok(false),
            ready => Ok(ready? > 0),
        }
    }

    /// Waits until there is a message, and leaves it there; `false` once the other end is closed.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn wait_for_any(&self) -> io::Result<bool> {
        let mut fds = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
        while let Err(error) = rustix::event::poll(&mut fds, None) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        let mut octet = [MaybeUninit::uninit(); 1];
        match rustix::net::recv(&self.fd, &mut octet, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
            Ok((_, length)) => Ok(length > 0),
            // It closed with unread messages of ours.
            Err(rustix::io::Errno::CONNRESET) => Ok(false),
            Err(error) => Err(error.into()),
        }
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
    let mut wire = Wire { file: memfd()?, buffer: Vec::with_capacity(WIRE_BUFFER), result: Ok(()) };
    let written = postcard::serialize_with_flavor(value, &mut wire);
    wire.flush();
    wire.result?;
    written.expect("plain data has a wire form");
    sealed(wire.file)
}

/// Bytes of a [`Wire`] that are kept back: a value of megabytes is in memory once, in its memfd.
const WIRE_BUFFER: usize = 32 << 10;

/// Where a value's wire form goes.
struct Wire {
    file: File,
    buffer: Vec<u8>,
    result: io::Result<()>,
}

impl Wire {
    fn flush(&mut self) {
        if self.result.is_ok() {
            self.result = self.file.write_all(&self.buffer);
        }
        self.buffer.clear();
    }
}

impl postcard::ser_flavors::Flavor for &mut Wire {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.buffer.len() >= WIRE_BUFFER {
            self.flush();
        }
        self.buffer.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most numbers are small.
        if let [byte] = bytes {
            return self.try_push(*byte);
        }
        if self.buffer.len() + bytes.len() > WIRE_BUFFER {
            self.flush();
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn memfd() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(File::from(rustix::fs::memfd_create("keepalived-rs", flags)?))
}

fn seal_bytes(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = memfd()?;
    file.write_all(bytes)?;
    sealed(file)
}

fn sealed(file: File) -> io::Result<OwnedFd> {
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

/// The value in a memfd that [`seal`] made.
///
/// # Errors
/// `InvalidData` when it is not sealed or not a `T`.
pub(crate) fn unseal<T: DeserializeOwned>(fd: &OwnedFd) -> io::Result<T> {
    decode(&unseal_bytes(fd, MAX_SEALED)?)
}

/// Whoever sent it may be in other hands: what it holds costs the sender nothing where it was never written.
fn unseal_bytes(fd: &OwnedFd, most: usize) -> io::Result<Vec<u8>> {
    let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    if !rustix::fs::fcntl_get_seals(fd)?.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK) {
        return Err(invalid("the memfd is not sealed"));
    }
    let size = usize::try_from(rustix::fs::fstat(fd)?.st_size).ok().filter(|size| *size <= most);
    let size = size.ok_or_else(|| invalid("the memfd is too large"))?;
    let mut file = File::from(fd.try_clone()?);
    let mut bytes = Vec::with_capacity(size);
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What waits for room in a socket: facts, newest per key, and messages in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<Report>,
    facts: BTreeMap<String, Vec<u8>>,
    /// Keys of facts that are to be forgotten. These come last: what moves from one fact to another is never in none.
    forgotten: BTreeSet<String>,
}

impl Outbox {
    /// Queues a message; facts replace older ones of their key.
    pub(crate) fn push(&mut self, report: Report) {
        match report {
            Report::Facts(facts) => facts.into_iter().for_each(|fact| self.push_fact(fact)),
            // One sign of life is as good as many, and what was measured last says all.
            Report::Beat if self.messages.contains(&Report::Beat) => {}
            Report::Lateness(histogram) => {
                match self.messages.iter_mut().find(|it| matches!(it, Report::Lateness(_))) {
                    Some(older) => *older = Report::Lateness(histogram),
                    None => self.messages.push_back(Report::Lateness(histogram)),
                }
            }
            other => self.messages.push_back(other),
        }
    }

    fn push_fact(&mut self, Fact { key, value }: Fact) {
        if value.is_empty() {
            self.facts.remove(&key);
            self.forgotten.insert(key);
        } else {
            self.forgotten.remove(&key);
            self.facts.insert(key, value);
        }
    }

    /// Sends what fits: facts before messages, so that nothing is announced that the snapshot does not hold yet.
    /// `Ok(true)` when nothing is left.
    ///
    /// # Errors
    /// When the other end is [gone](is_gone), or memory or descriptors are short; what could not be sent waits then. A
    /// message that is too large now and later is left out.
    pub(crate) fn flush(&mut self, channel: &Channel) -> io::Result<bool> {
        while !self.facts.is_empty() || !self.forgotten.is_empty() {
            let report = Report::Facts(self.take_facts());
            match sent(channel.send(&report, &[])).map_err(|error| name_facts(&report, error)) {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                other => {
                    self.push(report);
                    return other;
                }
            }
        }
        while let Some(report) = self.messages.front() {
            match sent(channel.send(report, &[])) {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    let report = self.messages.pop_front().map(|report| format!("{report:?}")).unwrap_or_default();
                    let begin: String = report.chars().take(200).collect();
                    return Err(io::Error::new(error.kind(), format!("{begin}: {error}")));
                }
                other => {
                    if !other? {
                        return Ok(false);
                    }
                }
            }
            self.messages.pop_front();
        }
        Ok(true)
    }

    /// So many facts as are sent together.
    fn take_facts(&mut self) -> Vec<Fact> {
        let mut octets = 0;
        let mut facts = Vec::new();
        while let Some(next) = self.facts.first_entry() {
            octets += next.key().len() + next.get().len();
            if octets > MOST_FACTS && !facts.is_empty() {
                break;
            }
            let (key, value) = next.remove_entry();
            facts.push(Fact { key, value });
        }
        if self.facts.is_empty() {
            while octets <= MOST_FACTS
                && let Some(key) = self.forgotten.pop_first()
            {
                octets += key.len();
                facts.push(Fact { key, value: Vec::new() });
            }
        }
        facts
    }
}

/// The error with the facts that could not be sent.
fn name_facts(report: &Report, error: io::Error) -> io::Error {
    let Report::Facts(facts) = report else { return error };
    if is_gone(&error) {
        return error;
    }
    let first = facts.first().map(|fact| fact.key.as_str()).unwrap_or_default();
    let others = facts.len().saturating_sub(1);
    io::Error::new(error.kind(), format!("telling of '{first}' and {others} others: {error}"))
}

/// A message has come that cannot be read for want of memory or descriptors.
#[derive(Debug)]
struct Lost(io::Error);

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Lost {}

/// Whether a message has come that could not be read, and the next may be another.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|why| why.is::<Lost>())
}

/// Whether the other end of a channel is gone.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
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
    fn a_large_message_arrives_with_its_descriptors() {
        let (a, b) = Channel::pair().unwrap();
        let fds: Vec<_> = (1..MAX_FDS).map(|number| seal(&number).unwrap()).collect();
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        for length in [MAX_MESSAGE - 10, MAX_MESSAGE, MAX_ATTACHED - 10] {
            let report = Report::Rejected { generation: 1, exit: 1, why: "x".repeat(length) };
            a.send(&report, &borrowed).unwrap();
            let (received, fds) = b.receive::<Report>().unwrap().unwrap();
            assert_eq!(received, report);
            let numbers = fds.iter().map(|fd| unseal::<usize>(fd).unwrap());
            assert!(numbers.eq(1..MAX_FDS), "{fds:?}");
        }
        let why = "x".repeat(MAX_ATTACHED);
        let error = a.send(&Report::Rejected { generation: 1, exit: 1, why }, &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    /// Somebody could attach more than there is memory.
    #[test]
    fn a_large_message_of_a_stranger_is_not_read() {
        let (a, b) = Channel::pair().unwrap();
        let large = "x".repeat(MAX_MESSAGE);
        a.send(&large, &[]).unwrap();
        assert_eq!(b.receive_small::<String>().unwrap_err().kind(), io::ErrorKind::InvalidData);
        a.send(&"small", &[]).unwrap();
        assert_eq!(b.receive_small::<String>().unwrap().as_deref(), Some("small"));
    }

    #[test]
    fn a_message_that_was_lost_ends_nothing() {
        let (a, b) = Channel::pair().unwrap();
        a.send_bytes(&[ATTACHED], &[]).unwrap();
        assert!(is_lost(&b.receive::<Report>().unwrap_err()));
        for nonsense in [&[ATTACHED, 1][..], &[7, 7]] {
            a.send_bytes(nonsense, &[]).unwrap();
            assert_eq!(b.receive::<Report>().unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        a.send(&Report::Beat, &[]).unwrap();
        assert_eq!(b.receive::<Report>().unwrap().unwrap().0, Report::Beat);
    }

    #[test]
    fn a_sealed_value_cannot_be_written() {
        let mut file = File::from(seal(&1u8).unwrap());
        assert!(file.write_all(b"x").is_err());
    }

    #[test]
    fn a_memfd_that_is_larger_than_any_of_ours_is_not_read() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("huge", flags).unwrap();
        rustix::fs::ftruncate(&fd, 1 << 40).unwrap();
        rustix::fs::fcntl_add_seals(&fd, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK).unwrap();
        assert_eq!(unseal::<u8>(&fd).unwrap_err().to_string(), "the memfd is too large");
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
        outbox.push(Report::Facts(vec![Fact { key: "k".into(), value: vec![1] }]));
        outbox.push(Report::Facts(vec![Fact { key: "k".into(), value: vec![2] }]));
        assert!(!outbox.flush(&a).unwrap(), "twenty thousand messages fit no socket");
        let first = b.receive::<Report>().unwrap().unwrap().0;
        assert_eq!(first, Report::Facts(vec![Fact { key: "k".into(), value: vec![2] }]));
        let mut last = None;
        while last != Some(Report::Committed { generation: 19_999 }) {
            outbox.flush(&a).unwrap();
            while let Ok(Some((report, _))) = b.receive::<Report>() {
                last = Some(report);
            }
        }
    }

    fn hear(channel: &Channel) -> Option<Vec<Fact>> {
        match channel.receive::<Report>().ok()?? {
            (Report::Facts(facts), _) => Some(facts),
            _ => None,
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

        /// However long a fact is, it arrives.
        #[test]
        fn no_fact_is_too_large(sizes in proptest::collection::vec(1usize..4 * MAX_MESSAGE, 1..12)) {
            let (a, b) = Channel::pair().unwrap();
            let mut outbox = Outbox::default();
            let fact = |(number, size): (usize, &usize)| Fact { key: format!("fact {number:04}"), value: vec![7; *size] };
            let facts: Vec<_> = sizes.iter().enumerate().map(fact).collect();
            outbox.push(Report::Facts(facts.clone()));
            let mut received = Vec::new();
            while received.len() < facts.len() {
                outbox.flush(&a).unwrap();
                received.extend(hear(&b).into_iter().flatten());
            }
            proptest::prop_assert_eq!(received, facts);
        }
    }

    #[test]
    fn a_message_that_is_too_large_keeps_nothing_back_and_is_named() {
        let (a, b) = Channel::pair().unwrap();
        let mut outbox = Outbox::default();
        outbox.push(Report::Rejected { generation: 7, exit: 1, why: "x".repeat(MAX_ATTACHED) });
        outbox.push(Report::Stopped);
        let error = outbox.flush(&a).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("Rejected { generation: 7") && said.len() < 400, "{said}");
        assert!(outbox.flush(&a).unwrap());
        assert_eq!(b.receive::<Report>().unwrap().unwrap().0, Report::Stopped);
    }

    /// Whoever dies between two messages leaves a successor that knows too much rather than too little.
    #[test]
    fn what_is_told_comes_before_what_is_forgotten() {
        let (a, b) = Channel::pair().unwrap();
        let mut outbox = Outbox::default();
        let told = |key: &str| Fact { key: key.into(), value: vec![1; MOST_FACTS] };
        let forgotten = |key: &str| Fact { key: key.into(), value: Vec::new() };
        let first = [told("again"), forgotten("departing"), forgotten("leaving a"), told("leaving b"), forgotten("x")];
        outbox.push(Report::Facts(first.into()));
        outbox.push(Report::Facts(vec![forgotten("again"), told("x")]));
        assert!(outbox.flush(&a).unwrap());
        let heard: Vec<_> =
            std::iter::from_fn(|| hear(&b)).flatten().map(|fact| (fact.key, fact.value.len())).collect();
        let told = ["leaving b", "x"].map(|key| (key.to_owned(), MOST_FACTS));
        let forgotten = ["again", "departing", "leaving a"].map(|key| (key.to_owned(), 0));
        assert_eq!(heard, [&told[..], &forgotten].concat());
    }

    /// Everything that a thousand routers or servers say at once takes few messages, and none is too large.
    #[test]
    fn facts_travel_together() {
        let (a, b) = Channel::pair().unwrap();
        let mut outbox = Outbox::default();
        let fact = |number: usize| Fact { key: format!("fact {number:04}"), value: vec![7; 1 + number % 300] };
        let large = Fact { key: "large".into(), value: vec![1; MAX_MESSAGE - 100] };
        let facts: Vec<_> = (0..1000).map(fact).chain([large]).collect();
        outbox.push(Report::Facts(facts.clone()));
        outbox.push(Report::Beat);
        let (mut received, mut messages) = (Vec::new(), 0);
        loop {
            outbox.flush(&a).unwrap();
            match b.receive::<Report>().unwrap().unwrap().0 {
                Report::Facts(facts) => received.extend(facts),
                _ => break,
            }
            messages += 1;
        }
        assert_eq!(received, facts);
        assert!(messages < 20, "{messages} messages");
    }
}
