//! The few system calls that no crate of ours wraps safely, and the only `unsafe` of the binary: many datagrams in one
//! call, each with the link that it leaves by, real-time scheduling of one thread, what of the program and of freed memory
//! stays, and calls that the kernel holds until another process has answered them.

use std::fmt;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{SockaddrIn, SockaddrIn6, SockaddrLike};
use nix::unistd::{SysconfVar, sysconf};

/// The most datagrams that the kernel takes in one call (`UIO_MAXIOV`).
const MOST_IN_ONE_CALL: usize = 1024;

/// Room for the control messages of a datagram that came: packet information of IPv6 (40 octets), hop limit (24),
/// overflow (24), time (32), and something to spare. In words, for their alignment.
const CONTROL_WORDS: usize = 18;

const CONTROL_HEADER: usize = size_of::<libc::cmsghdr>();

/// Room for datagrams that come together. Allocates once; the default has no room.
#[derive(Default)]
pub(crate) struct Inbound {
    /// `size` octets for each datagram.
    octets: Vec<u8>,
    size: usize,
    controls: Vec<[u64; CONTROL_WORDS]>,
    /// Large enough for either family.
    senders: Vec<libc::sockaddr_in6>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// One datagram of an [`Inbound`], and what the kernel says beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived<'a> {
    /// At most the size of a place; what was longer is cut.
    pub(crate) octets: &'a [u8],
    /// Its sender, if it came over IPv6.
    pub(crate) source: Option<Ipv6Addr>,
    /// Where it was sent to, if the socket asked for that (`IPV6_RECVPKTINFO`).
    pub(crate) destination: Option<Ipv6Addr>,
    /// Its hop limit, if the socket asked for that (`IPV6_RECVHOPLIMIT`).
    pub(crate) hop_limit: Option<u8>,
    /// How many the socket has lost for want of room since it was opened, if any (`SO_RXQ_OVFL`). Wraps.
    pub(crate) lost: Option<u32>,
    /// When this host had it, by the wall clock since 1970, if the socket asked for that (`SO_TIMESTAMPNS`).
    pub(crate) time: Option<Duration>,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("places", &self.headers.len()).field("size", &self.size).finish()
    }
}

impl Inbound {
    /// Room for `places` datagrams of `size` octets each.
    pub(crate) fn new(places: usize, size: usize) -> Self {
        Self {
            octets: vec![0; places * size],
            size,
            controls: vec![[0; CONTROL_WORDS]; places],
            senders: vec![no_sender(); places],
            parts: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; places],
            headers: vec![no_header(); places],
        }
    }

    /// How many can come in one call.
    pub(crate) fn places(&self) -> usize {
        self.headers.len()
    }

    /// Takes what waits in `socket`, without waiting itself; how many came.
    ///
    /// # Errors
    /// The kernel's reason; `WouldBlock` when nothing waits.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let places = self.octets.chunks_exact_mut(self.size.max(1)).zip(&mut self.controls).zip(&mut self.senders);
        for (((octets, control), sender), (part, header)) in places.zip(self.parts.iter_mut().zip(&mut self.headers)) {
            *part = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
            let message = &mut header.msg_hdr;
            message.msg_iov = part;
            message.msg_iovlen = 1;
            message.msg_name = ptr::from_mut(sender).cast();
            message.msg_namelen = socklen(size_of::<libc::sockaddr_in6>());
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(control) as _;
            message.msg_flags = 0;
            header.msg_len = 0;
        }
        let count = libc::c_uint::try_from(self.headers.len()).unwrap_or(libc::c_uint::MAX);
        #[expect(unsafe_code, reason = "no crate receives many datagrams with control messages more than once")]
        // SAFETY: every pointer was set just above to memory of `self` that is borrowed mutably until the call is over,
        // with its true length; whatever octets the kernel writes there are valid for their types.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// The datagram at `index`, counted from 0, of those that came last.
    pub(crate) fn arrived(&self, index: usize) -> Option<Arrived<'_>> {
        let header = self.headers.get(index)?;
        let place = self.octets.get(index * self.size..)?;
        let length = usize::try_from(header.msg_len).unwrap_or(usize::MAX).min(self.size);
        let sender = self.senders.get(index)?;
        let is_ipv6 = i32::from(sender.sin6_family) == libc::AF_INET6;
        let mut arrived = Arrived {
            octets: place.get(..length)?,
            source: is_ipv6.then(|| Ipv6Addr::from(sender.sin6_addr.s6_addr)),
            destination: None,
            hop_limit: None,
            lost: None,
            time: None,
        };
        let words = self.controls.get(index)?;
        // The length is in octets, and an odd word at the end is never a whole message.
        #[expect(clippy::unnecessary_cast, reason = "the type is another one in other C libraries")]
        let filled = (header.msg_hdr.msg_controllen as usize).min(size_of_val(words));
        let mut octets = [0; CONTROL_WORDS * 8];
        for (place, word) in octets.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        for (level, kind, data) in controls(octets.get(..filled).unwrap_or_default()) {
            arrived.take(level, kind, data);
        }
        Some(arrived)
    }
}

impl Arrived<'_> {
    fn take(&mut self, level: i32, kind: i32, data: &[u8]) {
        let word = || data.first_chunk::<4>().map(|octets| u32::from_ne_bytes(*octets));
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => self.lost = word(),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => self.time = time(data),
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                self.hop_limit = word().and_then(|limit| u8::try_from(limit).ok());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                self.destination = data.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets));
            }
            _ => {}
        }
    }
}

/// A `timespec` of 64 bits each, which is what there is wherever pointers have as many.
fn time(data: &[u8]) -> Option<Duration> {
    let (seconds, rest) = data.split_first_chunk::<8>()?;
    let nanos = i64::from_ne_bytes(*rest.first_chunk()?);
    Some(Duration::new(u64::try_from(i64::from_ne_bytes(*seconds)).ok()?, u32::try_from(nanos).ok()?))
}

/// The control messages in `octets`: level, type, content. Ends at the first that is not whole.
fn controls(octets: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    const WORD: usize = size_of::<usize>();
    let mut rest = octets;
    std::iter::from_fn(move || {
        let length = usize::from_ne_bytes(*rest.first_chunk::<WORD>()?);
        let fields = rest.get(CONTROL_HEADER.checked_sub(8)?..CONTROL_HEADER)?;
        let (level, kind) = fields.split_first_chunk::<4>()?;
        let (level, kind) = (i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind.first_chunk()?));
        let data = rest.get(CONTROL_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(WORD)..).unwrap_or_default();
        Some((level, kind, data))
    })
}

/// By which link a datagram leaves, and the address that the route to it is looked up with: packet information.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Via {
    /// The kernel's number of the link; 0 leaves it to the routes.
    pub(crate) link: u32,
    /// Of the family of the destination.
    pub(crate) source: IpAddr,
}

/// Datagrams that leave together. Its memory grows to what was needed at once and is used again.
#[derive(Default)]
pub(crate) struct Outbound {
    octets: Vec<u8>,
    /// Where in `octets` the first datagram without a destination begins.
    begun: usize,
    datagrams: Vec<Departing>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

struct Departing {
    /// Its octets, in those of all.
    begin: usize,
    end: usize,
    to: Destination,
    control: Control,
}

#[derive(Clone, Copy)]
enum Destination {
    Ipv4(SockaddrIn),
    Ipv6(SockaddrIn6),
}

impl Destination {
    fn name(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        match self {
            Self::Ipv4(to) => (to.as_ptr(), to.len()),
            Self::Ipv6(to) => (to.as_ptr(), to.len()),
        }
    }
}

impl From<SocketAddr> for Destination {
    fn from(to: SocketAddr) -> Self {
        match to {
            SocketAddr::V4(to) => Self::Ipv4(to.into()),
            SocketAddr::V6(to) => Self::Ipv6(to.into()),
        }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct PacketInfo<T> {
    header: libc::cmsghdr,
    info: T,
}

#[derive(Clone, Copy)]
enum Control {
    Ipv4(PacketInfo<libc::in_pktinfo>),
    Ipv6(PacketInfo<libc::in6_pktinfo>),
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("datagrams", &self.datagrams.len()).finish_non_exhaustive()
    }
}

impl Outbound {
    /// Where the octets of the next datagram are appended; [`push`](Self::push) says where it goes.
    pub(crate) fn octets(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// What was appended since the last one is a datagram for `to`. Its number, from 0.
    pub(crate) fn push(&mut self, to: SocketAddr, via: Via) -> usize {
        let (begin, end) = (self.begun.min(self.octets.len()), self.octets.len());
        self.begun = end;
        self.datagrams.push(Departing { begin, end, to: to.into(), control: Control::new(via) });
        self.datagrams.len() - 1
    }

    /// Forgets what was appended since the last one.
    pub(crate) fn forget(&mut self) {
        self.octets.truncate(self.begun);
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Sends all in their order, without waiting: in one call if there are no more than the kernel takes and none is
    /// refused. What is refused goes to `refused` by its number and does not stop the others. Empty afterwards.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, mut refused: impl FnMut(usize, io::Error)) {
        let Self { octets, datagrams, parts, headers, .. } = self;
        parts.clear();
        headers.clear();
        parts.extend(datagrams.iter().map(|datagram| {
            let octets = octets.get(datagram.begin..datagram.end).unwrap_or_default();
            libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() }
        }));
        headers.extend(datagrams.iter_mut().zip(parts).map(|(datagram, part)| {
            let mut header = no_header();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            let (name, length) = datagram.to.name();
            header.msg_hdr.msg_name = name.cast_mut().cast();
            header.msg_hdr.msg_namelen = length;
            let (control, length) = match &mut datagram.control {
                Control::Ipv4(control) => (ptr::from_mut(control).cast(), size_of_val(control)),
                Control::Ipv6(control) => (ptr::from_mut(control).cast(), size_of_val(control)),
            };
            header.msg_hdr.msg_control = control;
            header.msg_hdr.msg_controllen = length as _;
            header
        }));
        let mut sent = 0;
        while let Some(rest) = headers.get_mut(sent..).filter(|rest| !rest.is_empty()) {
            match send_some(socket, rest) {
                Ok(count) => sent += count.max(1),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    refused(sent, error.into());
                    sent += 1;
                }
            }
        }
        self.octets.clear();
        self.begun = 0;
        self.datagrams.clear();
    }
}

/// How many of `headers` were sent before the first that the kernel refused; its reason if that is the first of them.
fn send_some(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr]) -> nix::Result<usize> {
    let count = libc::c_uint::try_from(headers.len().min(MOST_IN_ONE_CALL)).unwrap_or(0);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    #[expect(unsafe_code, reason = "no crate sends many datagrams with a control message of its own each")]
    // SAFETY: the pointers lead to the datagrams' octets, addresses and control messages, with their true lengths, which
    // nothing moves or changes between the making of the headers in `Outbound::send` and its end.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _) };
    usize::try_from(sent).map_err(|_| Errno::last())
}

impl Control {
    fn new(via: Via) -> Self {
        match via.source {
            IpAddr::V4(source) => Self::Ipv4(PacketInfo {
                header: control_header(size_of::<libc::in_pktinfo>(), libc::IPPROTO_IP, libc::IP_PKTINFO),
                info: libc::in_pktinfo {
                    ipi_ifindex: i32::try_from(via.link).unwrap_or_default(),
                    ipi_spec_dst: in_addr(source),
                    ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
                },
            }),
            IpAddr::V6(source) => Self::Ipv6(PacketInfo {
                header: control_header(size_of::<libc::in6_pktinfo>(), libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
                info: libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: via.link,
                },
            }),
        }
    }
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

fn control_header(content: usize, level: i32, kind: i32) -> libc::cmsghdr {
    let mut header = no_control_header();
    header.cmsg_len = (CONTROL_HEADER + content) as _;
    header.cmsg_level = level;
    header.cmsg_type = kind;
    header
}

fn socklen(length: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(length).unwrap_or_default()
}

fn no_header() -> libc::mmsghdr {
    #[expect(unsafe_code, reason = "some C libraries pad it with private fields")]
    // SAFETY: null pointers and zeros are a message without anything.
    unsafe {
        std::mem::zeroed()
    }
}

fn no_control_header() -> libc::cmsghdr {
    #[expect(unsafe_code, reason = "some C libraries pad it with private fields")]
    // SAFETY: it consists of integers.
    unsafe {
        std::mem::zeroed()
    }
}

fn no_sender() -> libc::sockaddr_in6 {
    #[expect(unsafe_code, reason = "some systems have further fields in it")]
    // SAFETY: it consists of integers.
    unsafe {
        std::mem::zeroed()
    }
}

/// Schedules a thread of this process, 0 for the calling one, in real time: round robin with others of `priority`, 1 to
/// 99. What it starts is scheduled as usual (reset on fork).
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE` and above `RLIMIT_RTPRIO`.
pub(crate) fn schedule_round_robin(thread: libc::pid_t, priority: u8) -> io::Result<()> {
    schedule(thread, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, priority)
}

/// Schedules a thread of this process, 0 for the calling one, as usual.
///
/// # Errors
/// The kernel's reason.
pub(crate) fn schedule_normally(thread: libc::pid_t) -> io::Result<()> {
    schedule(thread, libc::SCHED_OTHER, 0)
}

fn schedule(thread: libc::pid_t, policy: i32, priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority.into() };
    #[expect(unsafe_code, reason = "no crate of ours sets the scheduling policy")]
    // SAFETY: the kernel reads the parameters, which live until the call is over, and keeps no pointer.
    let result = unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) };
    Errno::result(result)?;
    Ok(())
}

/// Large pieces of memory go back to the kernel as soon as they are free, and what is free at the end of the heap too,
/// however large it once was: a worker keeps what it needs for years, not what a configuration took to read. Where the C
/// library has no such settings nothing happens.
pub(crate) fn return_memory_soon() {
    #[cfg(target_env = "gnu")]
    for (setting, octets) in
        [(libc::M_MMAP_THRESHOLD, 64 << 10), (libc::M_TRIM_THRESHOLD, 32 << 10), (libc::M_TOP_PAD, 16 << 10)]
    {
        #[expect(unsafe_code, reason = "no crate of ours sets it")]
        // SAFETY: it takes two integers and changes numbers that the C library guards.
        unsafe {
            libc::mallopt(setting, octets);
        }
    }
}

/// Brings into memory what this process may need of the program and its libraries: all code and constants. The tables of
/// unwinding stay where they are: a panic aborts, and only a backtrace reads them.
///
/// # Errors
/// `EINVAL` before Linux 5.14. `EFAULT` for a program that was cut short, `EIO` for a disk that fails.
pub(crate) fn populate_program() -> io::Result<()> {
    let size = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok()).ok_or(Errno::EINVAL)?;
    for part in parts_of_program() {
        let begin = part.start / size * size;
        let length = part.end.next_multiple_of(size) - begin;
        #[expect(unsafe_code, reason = "advice may be destructive")]
        // SAFETY: this advice only reads, and it is about memory that is mapped for as long as the process lives.
        let result = unsafe { libc::madvise(ptr::without_provenance_mut(begin), length, libc::MADV_POPULATE_READ) };
        Errno::result(result)?;
    }
    Ok(())
}

/// What of the program and its libraries came from a file, in addresses.
fn parts_of_program() -> Vec<Range<usize>> {
    #[expect(unsafe_code, reason = "the type that the C library calls")]
    unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _: libc::size_t, parts: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the C library describes one object, whose headers it counted; the last pointer is the one it was given.
        let (base, headers, parts) = unsafe {
            let headers = std::slice::from_raw_parts((*info).dlpi_phdr, (*info).dlpi_phnum.into());
            ((*info).dlpi_addr, headers, &mut *parts.cast::<Vec<Range<usize>>>())
        };
        let at = |address| usize::try_from(address).unwrap_or_default();
        let tables = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME).map(|header| header.p_vaddr);
        for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
            let (begin, end) = (header.p_vaddr, header.p_vaddr + header.p_filesz);
            // The tables of unwinding are the last of their segment.
            let end = tables.filter(|tables| (begin..end).contains(tables)).unwrap_or(end);
            parts.push(at(base + begin)..at(base + end));
        }
        0
    }
    let mut parts: Vec<Range<usize>> = Vec::new();
    #[expect(unsafe_code, reason = "no crate of ours asks where the program is")]
    // SAFETY: `note` has the type that it has to have, and gets what it expects, which outlives the call.
    unsafe {
        libc::dl_iterate_phdr(Some(note), (&raw mut parts).cast());
    }
    parts
}

/// Puts the calling thread, and what it starts from now on, under a seccomp filter. With `held` the kernel holds the
/// calls for which the filter says so (`SECCOMP_RET_USER_NOTIF`) until they are answered at the descriptor.
///
/// # Errors
/// `EACCES` before `no_new_privs`, `EBUSY` where calls are held for somebody else already, `EINVAL` for a program that
/// the kernel does not understand.
pub(crate) fn filter_calls(program: &[libc::sock_filter], held: bool) -> io::Result<Option<OwnedFd>> {
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // Without it, kernels before 5.16 have every filtered process pay for protection from programs of others in its own
    // memory, of which there are none.
    let mut flags: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if held {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    }
    let operation: libc::c_ulong = libc::SECCOMP_SET_MODE_FILTER.into();
    #[expect(unsafe_code, reason = "no crate installs a filter that hands calls over")]
    // SAFETY: the kernel copies the program, whose length is true, and keeps no pointer.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) };
    let fd = Errno::result(result)?;
    let Some(fd) = i32::try_from(fd).ok().filter(|_| held) else { return Ok(None) };
    #[expect(unsafe_code, reason = "a descriptor as the kernel returns it")]
    // SAFETY: the kernel has just made it, and nobody else knows it.
    let listener = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(Some(listener))
}

/// A call that the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldCall {
    /// The kernel's name for it.
    pub(crate) id: u64,
    /// The thread that made it.
    pub(crate) thread: u32,
    /// The number of the call on this architecture.
    pub(crate) number: i32,
}

/// The next call that waits at `listener`. Waits for one.
///
/// # Errors
/// `ENOENT` when whoever made it is gone.
pub(crate) fn held_call(listener: BorrowedFd<'_>) -> io::Result<HeldCall> {
    #[expect(unsafe_code, reason = "the kernel wants it empty, and it has no other constructor")]
    // SAFETY: it consists of integers.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    #[expect(unsafe_code, reason = "no crate of ours answers held calls")]
    // SAFETY: the kernel writes one `seccomp_notif` there, the size of which is part of the request, and keeps no pointer.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    Errno::result(result)?;
    Ok(HeldCall { id: call.id, thread: call.pid, number: call.data.nr })
}

/// The held call fails with `errno`.
///
/// # Errors
/// `ENOENT` when whoever made it is gone.
pub(crate) fn fail_held_call(listener: BorrowedFd<'_>, id: u64, errno: i32) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 };
    #[expect(unsafe_code, reason = "no crate of ours answers held calls")]
    // SAFETY: the kernel reads one `seccomp_notif_resp` there, the size of which is part of the request, and keeps no
    // pointer.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use socket2::SockRef;

    use super::*;

    fn socket() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    const VIA: Via = Via { link: 0, source: IpAddr::V4(Ipv4Addr::LOCALHOST) };

    fn push(out: &mut Outbound, octets: &[u8], to: SocketAddr) {
        out.octets().extend_from_slice(octets);
        out.push(to, VIA);
    }

    #[test]
    fn what_leaves_together_arrives_together_and_in_order() {
        let (receiver, address) = socket();
        let (sender, _) = socket();
        let mut out = Outbound::default();
        for octets in [&b"one"[..], b"two", b"three"] {
            push(&mut out, octets, address);
        }
        out.octets().extend_from_slice(b"never");
        out.forget();
        out.send(sender.as_fd(), |number, error| panic!("{number}: {error}"));
        assert!(out.is_empty());
        let mut inbound = Inbound::new(8, 4);
        // A second time into the same memory: nothing is left of the first.
        for expected in [&[&b"one"[..], b"two", b"thre"][..], &[b"x"]] {
            if expected.len() == 1 {
                push(&mut out, b"x", address);
                out.send(sender.as_fd(), |number, error| panic!("{number}: {error}"));
            }
            let came = inbound.receive(receiver.as_fd()).unwrap();
            let octets: Vec<_> = (0..came).filter_map(|index| inbound.arrived(index)).map(|it| it.octets).collect();
            assert_eq!(octets, expected);
        }
        let nothing = inbound.receive(receiver.as_fd()).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn one_that_is_refused_does_not_stop_the_others() {
        let (receiver, address) = socket();
        let (sender, _) = socket();
        let mut out = Outbound::default();
        // 70,000 octets are too many for a datagram of IPv4.
        for octets in [&b"one"[..], &[0; 70_000], &[0; 70_000], b"two", &[0; 70_000]] {
            push(&mut out, octets, address);
        }
        let mut refused = Vec::new();
        out.send(sender.as_fd(), |number, error| refused.push((number, error.raw_os_error())));
        let too_long = Some(libc::EMSGSIZE);
        assert_eq!(refused, [(1, too_long), (2, too_long), (4, too_long)]);
        assert_eq!(Inbound::new(8, 4).receive(receiver.as_fd()).unwrap(), 2);
    }

    #[test]
    fn what_a_full_buffer_loses_is_said_with_the_next_datagram() {
        let (receiver, address) = socket();
        nix::sys::socket::setsockopt(&receiver, nix::sys::socket::sockopt::RxqOvfl, &1).unwrap();
        SockRef::from(&receiver).set_recv_buffer_size(0).unwrap();
        let (sender, _) = socket();
        let mut out = Outbound::default();
        let mut inbound = Inbound::new(64, 4);
        let mut send_and_receive = |count| {
            for _ in 0..count {
                push(&mut out, b"1", address);
            }
            out.send(sender.as_fd(), |number, error| panic!("{number}: {error}"));
            let came = inbound.receive(receiver.as_fd()).unwrap();
            (came, inbound.arrived(came - 1).unwrap().lost)
        };
        // More than the kernel takes in one call.
        const COUNT: usize = MOST_IN_ONE_CALL + 50;
        let (came, first) = send_and_receive(COUNT);
        assert!(came < 64);
        assert_eq!(first, None);
        let (_, second) = send_and_receive(1);
        assert_eq!(second, u32::try_from(COUNT - came).ok());
    }

    #[test]
    fn a_datagram_says_when_it_came_to_who_asked() {
        let (receiver, address) = socket();
        let (sender, _) = socket();
        let mut out = Outbound::default();
        let mut inbound = Inbound::new(8, 4);
        let mut come = || {
            push(&mut out, b"1", address);
            out.send(sender.as_fd(), |number, error| panic!("{number}: {error}"));
            assert_eq!(inbound.receive(receiver.as_fd()).unwrap(), 1);
            inbound.arrived(0).unwrap().time
        };
        assert_eq!(come(), None);
        nix::sys::socket::setsockopt(&receiver, nix::sys::socket::sockopt::ReceiveTimestampns, &true).unwrap();
        let wall = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let before = wall();
        let time = come().unwrap();
        assert!(before <= time && time <= wall(), "{before:?}, {time:?}");
    }

    #[test]
    fn control_messages_that_are_not_whole_end_the_list() {
        for length in [0, 1, CONTROL_HEADER - 1, CONTROL_HEADER] {
            for claimed in [0, 1, CONTROL_HEADER, CONTROL_HEADER + 1, usize::MAX - 1, usize::MAX] {
                let mut octets = vec![0; length];
                for (place, octet) in octets.iter_mut().zip(claimed.to_ne_bytes()) {
                    *place = octet;
                }
                let found = controls(&octets).count();
                assert!(found <= 1, "{length} octets that say {claimed}");
            }
        }
    }
}
