//! The only I/O: rtnetlink and packet sockets. Nothing here waits without an end.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fmt,
    io::{self, ErrorKind, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::{Duration, Instant},
};

use neli::{
    consts::socket::{Msg, NlFamily},
    socket::NlSocket,
    utils::Groups,
};
use nix::{
    libc,
    sys::socket::{LinkAddr, MsgFlags, MultiHeaders, NetlinkAddr, SockaddrLike, connect, sendmmsg},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{netdevice, sockopt},
};
use socket2::{Domain, Socket, Type};

use crate::{
    announce::Announcement,
    message::{
        self, Message, address, change,
        event::{self, Event},
        link,
        reply::{self, Reply},
        route, rule,
    },
    pace::Pace,
    plan::{self, Change, Present, Wanted, plan},
    types::{Address, Link, LinkIndex, LinkName, Route, RouteFilter, Rule},
};

mod carrier;
#[cfg(test)]
mod fake;
mod nft;

pub use carrier::CarrierSocket;
pub use nft::{NftEvent, NftMonitor, NftSocket};

/// Something that the kernel or the host refused.
///
/// Its text is whole: "adding 192.0.2.1/24 to eth0 (ip address add 192.0.2.1/24 dev eth0 proto 18): Invalid argument
/// (os error 22): ipv4: Invalid prefix length".
/// [`source`](std::error::Error::source) is therefore empty.
#[derive(Debug)]
pub struct Error {
    operation: String,
    source: io::Error,
    explanation: Option<String>,
}

impl Error {
    fn new(operation: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { operation: operation.into(), source: source.into(), explanation: None }
    }

    /// What was tried: "adding 192.0.2.1/24 to eth0", and for addresses, routes and rules the
    /// [command](Change::command) of iproute2 that asks for the same.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Why it failed, as a number and its meaning.
    pub const fn io(&self) -> &io::Error {
        &self.source
    }

    /// Why it failed in the kernel's own words, if it has any ("extended acknowledgement").
    pub fn explanation(&self) -> Option<&str> {
        self.explanation.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.source)?;
        self.explanation.iter().try_for_each(|text| write!(f, ": {text}"))
    }
}

impl std::error::Error for Error {}

/// One of many that was not carried out.
#[derive(Debug)]
pub struct Refusal<T = Change> {
    /// Which one, counted from 0.
    pub index: usize,
    /// What it was.
    pub what: T,
    /// Why.
    pub error: Error,
}

/// What became of a list of changes.
#[derive(Debug)]
pub struct Applied<T = Change> {
    /// Those that were refused or whose answer never came, in the order of the list. All others are carried out.
    pub refused: Vec<Refusal<T>>,
    /// At least one answer was lost or late: whether its change was carried out only a dump can tell.
    pub lost: bool,
    /// How many were for nothing, as what they were to bring about was there already, if perhaps with other attributes.
    pub already: usize,
    /// How many sends it took.
    pub sends: usize,
}

impl<T> Default for Applied<T> {
    /// Nothing was to be done.
    fn default() -> Self {
        Self { refused: Vec::new(), lost: false, already: 0, sends: 0 }
    }
}

/// How much a socket got from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Datagrams, each with one message or many.
    pub datagrams: u64,
    /// Octets of them.
    pub octets: u64,
}

/// Sends requests to the kernel's rtnetlink and takes its answers.
#[derive(Debug)]
pub struct RouteSocket {
    kernel: KernelSocket,
    pace: Pace,
    timeout: Duration,
    sequence: u32,
}

impl RouteSocket {
    /// How long to wait for one answer unless [`set_timeout`](Self::set_timeout) says otherwise. The kernel answers
    /// while it takes the request, so this is a fuse, not a pace.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// How often a dump that others disturb, or a plan whose answers are lost, is begun again.
    const ATTEMPTS: u32 = 5;

    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the host has no descriptor or memory left.
    pub fn open() -> Result<Self, Error> {
        let kernel = KernelSocket::open(&[])?;
        // Before Linux 4.20 the kernel knows of no filters: all of a dump comes, and is looked through here.
        let _ = kernel.socket.enable_strict_checking(true);
        Ok(Self::over(kernel))
    }

    fn over(kernel: KernelSocket) -> Self {
        let pace = Pace::new(kernel.receive_buffer);
        Self { kernel, pace, timeout: Self::TIMEOUT, sequence: 0 }
    }

    /// All that came so far.
    pub const fn received(&self) -> Received {
        self.kernel.received
    }

    /// Sets how long to wait for one answer.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sets the size of the receive buffer in octets, up to the system's limit or, with `force` and the capability for it,
    /// beyond. How many requests go into one send follows it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_receive_buffer(&mut self, octets: usize, force: bool) -> Result<(), Error> {
        self.kernel.set_receive_buffer(octets, force).map_err(buffer_refused)?;
        self.pace = Pace::new(self.kernel.receive_buffer);
        Ok(())
    }

    /// All links of the namespace.
    ///
    /// # Errors
    /// If the kernel refuses, does not answer in time, or answers with what cannot be read.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.dump("listing links", link::emit_dump, |message| match message.kind {
            link::RTM_NEWLINK => link::parse(message.payload),
            _ => Ok(None),
        })
    }

    /// The link of that name; `None` if there is none.
    ///
    /// # Errors
    /// As [`links`](Self::links).
    pub fn link(&mut self, name: LinkName) -> Result<Option<Link>, Error> {
        Ok(self.links()?.into_iter().find(|link| link.name == name))
    }

    /// All IPv4 and IPv6 addresses of the namespace.
    ///
    /// # Errors
    /// As [`links`](Self::links).
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        self.dump("listing addresses", address::emit_dump, |message| match message.kind {
            address::RTM_NEWADDR => address::parse_ip(message.payload),
            _ => Ok(None),
        })
    }

    /// All IPv4 and IPv6 routes of the namespace, of all tables.
    ///
    /// # Errors
    /// As [`links`](Self::links).
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        self.dump("listing routes", route::emit_dump, |message| match message.kind {
            route::RTM_NEWROUTE => route::parse(message.payload),
            _ => Ok(None),
        })
    }

    /// The routes that one of `filters` takes, and only these: the kernel leaves the others out (Linux 4.20), so a table
    /// with many of somebody else costs no more than one without.
    ///
    /// # Errors
    /// As [`links`](Self::links).
    pub fn routes_like(&mut self, filters: impl IntoIterator<Item = RouteFilter>) -> Result<Vec<Route>, Error> {
        let filters: BTreeSet<_> = filters.into_iter().collect();
        let of_all = |filter: &RouteFilter| RouteFilter { protocol: None, ..*filter };
        let mut routes = Vec::new();
        for filter in &filters {
            if filter.protocol.is_none() || !filters.contains(&of_all(filter)) {
                routes.extend(self.routes_of(*filter)?);
            }
        }
        Ok(routes)
    }

    fn routes_of(&mut self, filter: RouteFilter) -> Result<Vec<Route>, Error> {
        let emit = |sequence, out: &mut Vec<u8>| route::emit_filtered_dump(filter, sequence, out);
        let dumped = self.dump("listing routes", emit, |message| match message.kind {
            route::RTM_NEWROUTE => Ok(route::parse(message.payload)?.filter(|route| filter.takes(route))),
            _ => Ok(None),
        });
        match dumped {
            Err(error) if error.source.raw_os_error() == Some(libc::ENOENT) => Ok(Vec::new()), // no such table
            dumped => dumped,
        }
    }

    /// All IPv4 and IPv6 rules of the namespace.
    ///
    /// # Errors
    /// As [`links`](Self::links).
    pub fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        self.dump("listing rules", rule::emit_dump, |message| match message.kind {
            rule::RTM_NEWRULE => rule::parse(message.payload),
            _ => Ok(None),
        })
    }

    /// What a plan for `wanted` has to know: all addresses; rules and links where it has any; the routes of the tables and
    /// protocols of those that it has, and whatever else is in the place of a route that has to be replaced.
    ///
    /// # Errors
    /// As [`links`](Self::links).
    pub fn present(&mut self, wanted: &Wanted) -> Result<Present, Error> {
        let addresses = self.addresses()?;
        let of_wanted = wanted.routes.iter().map(|placed| &placed.route).chain(&wanted.release_routes);
        let filters: BTreeSet<_> = of_wanted.map(RouteFilter::of).collect();
        let routes = self.routes_like(filters.iter().copied())?;
        let no_rules = wanted.rules.is_empty() && wanted.release_rules.is_empty();
        let rules = if no_rules { Vec::new() } else { self.rules()? };
        let no_links = wanted.links.is_empty() && wanted.release_links.is_empty();
        let links = if no_links { Vec::new() } else { self.links()? };
        let mut present = Present { addresses, routes, rules, links };
        if !present.routes.is_empty() {
            let beside = self.routes_beside(&plan(wanted, &present), &filters)?;
            present.routes.extend(beside);
        }
        Ok(present)
    }

    /// The routes in the places of those that are to be replaced, but for those that `asked` takes: the kernel would
    /// replace the first in a place, whosever it is.
    fn routes_beside(&mut self, changes: &[Change], asked: &BTreeSet<RouteFilter>) -> Result<Vec<Route>, Error> {
        let replaced = changes.iter().filter_map(|change| match change {
            Change::ReplaceRoute(route) => Some(&**route),
            _ => None,
        });
        let places: HashSet<_> = replaced.clone().map(plan::route::place).collect();
        let tables = replaced.map(|route| RouteFilter { protocol: None, ..RouteFilter::of(route) });
        let mut beside = self.routes_like(tables)?;
        beside.retain(|it| places.contains(&plan::route::place(it)) && !asked.contains(&RouteFilter::of(it)));
        Ok(beside)
    }

    /// Carries `changes` out in their order, many in one send, and goes on after one that is refused. Adding an
    /// address that is there and removing one that is not is no error.
    ///
    /// The kernel works inside the send: it takes as long as it takes to get the kernel's own locks.
    pub fn apply(&mut self, changes: &[Change]) -> Applied {
        let mut applied = Applied::default();
        let mut first = 0;
        while let Some(batch) = changes.get(first..).filter(|rest| !rest.is_empty()) {
            let batch = batch.get(..self.pace.batch()).unwrap_or(batch);
            let answers = self.apply_batch(batch, &mut applied);
            for (offset, (change, answer)) in batch.iter().zip(answers).enumerate() {
                if let Err(failure) = answer {
                    let error = self.explain(change, failure);
                    applied.refused.push(Refusal { index: first + offset, what: change.clone(), error });
                }
            }
            first += batch.len();
        }
        applied
    }

    /// [Lists](Self::present) what is there, [plans](plan()) and applies. Begins again if answers are lost.
    ///
    /// # Errors
    /// If what is there cannot be listed. What is refused is in [`Applied`].
    pub fn reconcile(&mut self, wanted: &Wanted) -> Result<Applied, Error> {
        let (mut attempt, mut sends) = (0, 0);
        loop {
            back_off(attempt);
            attempt += 1;
            let present = self.present(wanted)?;
            let applied = self.apply(&plan(wanted, &present));
            sends += applied.sends;
            if !applied.lost || attempt == Self::ATTEMPTS {
                return Ok(Applied { sends, ..applied });
            }
        }
    }

    /// As [`reconcile`](Self::reconcile), for a host that takes over addresses of which it believes that none is there: it
    /// need not know which others it has. Where nothing else is wanted they are added first, and what is there is listed
    /// only if one of them was.
    ///
    /// # Errors
    /// As [`reconcile`](Self::reconcile).
    pub fn reconcile_unseen(&mut self, wanted: &Wanted) -> Result<Applied, Error> {
        if !adds_addresses_only(wanted) {
            return self.reconcile(wanted);
        }
        let added = self.apply(&plan(wanted, &Present::default()));
        if !added.lost && added.already == 0 {
            return Ok(added);
        }
        let applied = self.reconcile(wanted)?;
        Ok(Applied { sends: added.sends + applied.sends, ..applied })
    }

    /// One send and its answers, one for each change of the batch.
    fn apply_batch(&mut self, batch: &[Change], applied: &mut Applied) -> Vec<Result<(), Failure>> {
        let first = self.sequence.wrapping_add(1);
        let requests = change::emit_batch(batch, first);
        self.sequence = self.sequence.wrapping_add(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        let began = now();
        applied.sends += 1;
        if let Err(error) = self.kernel.send(&requests) {
            let failure = Failure { errno: error.raw_os_error().unwrap_or(libc::EIO), text: None };
            return vec![Err(failure); batch.len()];
        }
        self.pace.measured(batch.len(), now().saturating_duration_since(began));

        let mut answers = vec![Ok(()); batch.len()];
        if let Err(error) = self.collect(first, &mut answers, batch, &mut applied.already) {
            applied.lost = true;
            let errno = error.raw_os_error().unwrap_or(libc::ETIMEDOUT);
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(Failure { errno, text: None });
            }
        }
        answers
    }

    /// Takes answers until that of the last request.
    fn collect(
        &mut self,
        first: u32,
        answers: &mut [Result<(), Failure>],
        batch: &[Change],
        already: &mut usize,
    ) -> io::Result<()> {
        let deadline = now() + self.timeout;
        loop {
            for message in message::messages(self.kernel.receive(deadline)?) {
                let Ok(message) = message else { break };
                let Ok(offset) = usize::try_from(message.sequence.wrapping_sub(first)) else {
                    continue;
                };
                let (Some(answer), Some(change)) = (answers.get_mut(offset), batch.get(offset)) else {
                    continue;
                };
                match reply::parse(&message) {
                    Ok(Some(Reply::Refused { errno, .. })) if holds_already(change, errno) => *already += 1,
                    Ok(Some(Reply::Refused { errno, text })) => *answer = Err(Failure { errno, text }),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => continue,
                }
                if offset + 1 == batch.len() {
                    return Ok(());
                }
            }
        }
    }

    fn explain(&self, change: &Change, failure: Failure) -> Error {
        let name = |index| self.kernel.name_of(index);
        let command = change.command(name).map(|command| format!(" ({command})"));
        Error {
            operation: change.describe(name) + &command.unwrap_or_default(),
            source: io::Error::from_raw_os_error(failure.errno),
            explanation: failure.text,
        }
    }

    fn dump<T>(
        &mut self,
        operation: &str,
        emit: impl Fn(u32, &mut Vec<u8>),
        parse: impl Fn(&Message<'_>) -> Result<Option<T>, message::ParseError>,
    ) -> Result<Vec<T>, Error> {
        for attempt in 0..Self::ATTEMPTS {
            back_off(attempt);
            self.sequence = self.sequence.wrapping_add(1);
            let mut request = Vec::new();
            emit(self.sequence, &mut request);
            let dumped = self.kernel.send(&request).map_err(|error| Error::new(operation, error));
            match dumped.and_then(|()| self.collect_dump(operation, &parse))? {
                Dump::Whole(items) => return Ok(items),
                Dump::Disturbed => {}
            }
        }
        let error = io::Error::new(ErrorKind::Interrupted, "changed by others each time it was read");
        Err(Error::new(operation, error))
    }

    fn collect_dump<T>(
        &mut self,
        operation: &str,
        parse: impl Fn(&Message<'_>) -> Result<Option<T>, message::ParseError>,
    ) -> Result<Dump<T>, Error> {
        const NLM_F_DUMP_INTR: u16 = 0x10;
        let invalid = |error| Error::new(operation, io::Error::new(ErrorKind::InvalidData, error));
        let (mut items, mut disturbed) = (Vec::new(), false);
        loop {
            let deadline = now() + self.timeout;
            let datagram = match self.kernel.receive(deadline) {
                Ok(datagram) => datagram,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Dump::Disturbed);
                }
                Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                    return Ok(Dump::Disturbed);
                }
                Err(error) => return Err(Error::new(operation, error)),
            };
            for message in message::messages(datagram) {
                let message = message.map_err(invalid)?;
                if message.sequence != self.sequence {
                    continue;
                }
                disturbed |= message.flags & NLM_F_DUMP_INTR != 0;
                match reply::parse(&message).map_err(invalid)? {
                    None => items.extend(parse(&message).map_err(invalid)?),
                    Some(Reply::Done) if disturbed => return Ok(Dump::Disturbed),
                    Some(Reply::Done) => return Ok(Dump::Whole(items)),
                    Some(Reply::Refused { errno, text: explanation }) => {
                        let source = io::Error::from_raw_os_error(errno);
                        return Err(Error { operation: operation.into(), source, explanation });
                    }
                }
            }
        }
    }
}

impl AsFd for RouteSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}

#[derive(Debug, Clone)]
struct Failure {
    errno: i32,
    text: Option<String>,
}

enum Dump<T> {
    Whole(Vec<T>),
    Disturbed,
}

/// Whether nothing but addresses is wanted, and nothing has to go.
const fn adds_addresses_only(wanted: &Wanted) -> bool {
    let Wanted { addresses: _, renew: _, release, routes, release_routes, rules, release_rules, links, release_links } =
        wanted;
    let nothing_comes = routes.is_empty() && rules.is_empty() && links.is_empty();
    let nothing_goes = release.is_empty() && release_routes.is_empty() && release_rules.is_empty();
    nothing_comes && nothing_goes && release_links.is_empty()
}

/// The kernel refuses because what the change is to bring about is so already.
const fn holds_already(change: &Change, errno: i32) -> bool {
    match change {
        Change::AddAddress(_) | Change::AddRoute { .. } | Change::AddRule(_) => errno == libc::EEXIST,
        Change::RemoveRoute(_) => matches!(errno, libc::ESRCH | libc::ENODEV),
        Change::RemoveRule(_) => errno == libc::ENOENT,
        Change::RemoveAddress(_) => matches!(errno, libc::EADDRNOTAVAIL | libc::ENODEV),
        Change::DelLink(_) => errno == libc::ENODEV,
        _ => false,
    }
}

const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV4_RULE: u32 = 8;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
const RTNLGRP_IPV6_RULE: u32 = 19;
const ROUTE_GROUPS: [u32; 4] = [RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE];

/// Hears of every change to links and addresses in the namespace, and if asked to of routes and rules.
///
/// It never waits: ask for its descriptor to become readable, then take the events. Open it *before* the first dump,
/// so that nothing falls between the two.
#[derive(Debug)]
pub struct Monitor {
    kernel: KernelSocket,
    waiting: VecDeque<Event>,
    watches_routes: bool,
}

impl Monitor {
    /// Opens a monitor in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the host has no descriptor or memory left.
    pub fn open() -> Result<Self, Error> {
        Self::of(&[RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR])
    }

    /// From now on it hears of routes and rules too, of which a router with many may have news all the time; or no longer.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn watch_routes(&mut self, watch: bool) -> Result<(), Error> {
        if self.watches_routes == watch {
            return Ok(());
        }
        let groups = Groups::new_groups(&ROUTE_GROUPS);
        let socket = &self.kernel.socket;
        let done = if watch { socket.add_mcast_membership(groups) } else { socket.drop_mcast_membership(groups) };
        done.map_err(|error| Error::new("asking for news of routes and rules", io::Error::other(error)))?;
        self.watches_routes = watch;
        Ok(())
    }

    fn of(groups: &[u32]) -> Result<Self, Error> {
        Ok(Self { kernel: KernelSocket::open(groups)?, waiting: VecDeque::new(), watches_routes: false })
    }

    /// Sets the size of the receive buffer in octets, up to the system's limit or, with `force` and the capability for it,
    /// beyond.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_receive_buffer(&mut self, octets: usize, force: bool) -> Result<(), Error> {
        self.kernel.set_receive_buffer(octets, force).map_err(buffer_refused)
    }

    /// The next event; `None` if there is none at present. [`Event::Overflow`] stands where events were lost.
    ///
    /// # Errors
    /// If the descriptor cannot be read.
    pub fn poll_event(&mut self) -> Result<Option<Event>, Error> {
        while self.waiting.is_empty() {
            let datagram = match self.kernel.try_receive() {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Some(Event::Overflow));
                }
                Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                    return Ok(Some(Event::Overflow));
                }
                Err(error) => {
                    return Err(Error::new("listening for changes of links and addresses", error));
                }
            };
            for message in message::messages(datagram) {
                // What cannot be read may have been news: let the caller look for itself.
                let event = message.and_then(|message| event::parse(&message)).unwrap_or(Some(Event::Overflow));
                self.waiting.extend(event);
            }
        }
        Ok(self.waiting.pop_front())
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}

/// What became of a list of announcements.
#[derive(Debug, Default)]
#[must_use]
pub struct Announced {
    /// Those that were refused, in the order of the list. `ENOBUFS` is a link whose own queue is full, or a packet
    /// filter at its exit: the same frame may be taken later.
    pub refused: Vec<Refusal<Announcement>>,
    /// So many at the end of the list found no room in the socket and were not tried: they may be sent later.
    pub left: usize,
}

/// Sends announcements as Ethernet frames on any link of the namespace. It receives nothing and never waits.
///
/// What a link has not taken yet fills the socket, whichever link the next frame is for: where a link that is stuck
/// must not hold up the others, each needs a socket of its own.
#[derive(Debug)]
pub struct AnnounceSocket {
    socket: Socket,
}

impl AnnounceSocket {
    /// Room for some eighty frames as the kernel counts them: what a stuck link sends late is not true any more.
    const SEND_BUFFER: usize = 1 << 15;
    /// Most frames in one system call.
    const BATCH: usize = 256;

    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, or if the host has no descriptor or memory left.
    pub fn open() -> Result<Self, Error> {
        let open = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
            socket.set_send_buffer_size(Self::SEND_BUFFER)?;
            Ok(socket)
        };
        Ok(Self { socket: open().map_err(|error| Error::new("opening a packet socket", error))? })
    }

    /// Sends announcements in their order, many in one system call, goes on after one that is refused, and ends early
    /// when the socket has no room left.
    pub fn send(&self, announcements: &[Announcement]) -> Announced {
        let mut announced = Announced::default();
        let mut first = 0;
        while let Some(rest @ [what, ..]) = announcements.get(first..) {
            let batch = rest.get(..Self::BATCH).unwrap_or(rest);
            match self.send_batch(batch) {
                Ok(sent) => first += sent,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => {
                    announced.left = rest.len();
                    break;
                }
                Err(errno) => {
                    let error = self.explain(*what, errno);
                    announced.refused.push(Refusal { index: first, what: *what, error });
                    first += 1;
                }
            }
        }
        announced
    }

    /// How many were sent, at least one; an error is that of the first.
    fn send_batch(&self, batch: &[Announcement]) -> nix::Result<usize> {
        let frames: Vec<_> = batch.iter().map(Announcement::frame).collect();
        let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let to: Vec<_> = batch.iter().map(|announcement| Some(on_link(announcement.link))).collect();
        let mut headers = MultiHeaders::preallocate(batch.len(), None);
        let sent = sendmmsg(self.socket.as_raw_fd(), &mut headers, &slices, to, [], MsgFlags::MSG_DONTWAIT)?;
        match sent.count() {
            0 => Err(nix::Error::EIO),
            sent => Ok(sent),
        }
    }

    fn explain(&self, Announcement { link, ip, .. }: Announcement, errno: nix::Error) -> Error {
        let name = name_of(&self.socket, link).map_or_else(|| link.to_string(), |name| name.to_string());
        Error::new(format!("announcing {ip} on {name}"), errno)
    }
}

impl AsFd for AnnounceSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[expect(unsafe_code, reason = "nix makes packet addresses from raw memory only")]
fn on_link(link: LinkIndex) -> LinkAddr {
    const AF_PACKET: libc::sa_family_t = 17;
    let address = libc::sockaddr_ll {
        sll_family: AF_PACKET,
        sll_protocol: 0, // the kernel reads it from the frame
        sll_ifindex: link.get().cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: points to a whole `sockaddr_ll`, which is copied before this function returns.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), None) };
    address.expect("the family is AF_PACKET")
}

/// The receive buffer of an rtnetlink socket in octets, unless it is set otherwise.
pub const RECEIVE_BUFFER: usize = 1 << 20;

fn buffer_refused(error: io::Error) -> Error {
    Error::new("setting the receive buffer of an rtnetlink socket", error)
}

/// A netlink socket that only the kernel can write to.
struct KernelSocket {
    socket: NlSocket,
    receive_buffer: usize,
    datagram: Vec<u8>,
    received: Received,
}

impl KernelSocket {
    const DATAGRAM: usize = 1 << 16;
    const LARGEST_DATAGRAM: usize = 1 << 24;

    fn open(groups: &[u32]) -> Result<Self, Error> {
        Self::open_family(NlFamily::Route, groups, "opening an rtnetlink socket")
    }

    fn open_family(family: NlFamily, groups: &[u32], operation: &str) -> Result<Self, Error> {
        const KERNEL: u32 = 0;
        Self::open_to(family, groups, KERNEL).map_err(|error| Error::new(operation, error))
    }

    /// A socket that only the owner of `port` can write to.
    fn open_to(family: NlFamily, groups: &[u32], port: u32) -> io::Result<Self> {
        let socket = NlSocket::connect(family, None, Groups::new_groups(groups))?;
        connect(socket.as_raw_fd(), &NetlinkAddr::new(port, 0))?;
        socket.nonblock()?;
        socket.enable_ext_ack(true)?;
        let datagram = vec![0; Self::DATAGRAM];
        let mut kernel = Self { socket, receive_buffer: 0, datagram, received: Received::default() };
        kernel.set_receive_buffer(RECEIVE_BUFFER, true)?;
        Ok(kernel)
    }

    fn set_receive_buffer(&mut self, octets: usize, force: bool) -> io::Result<()> {
        // Only a privileged process of the host may pass the system's limit.
        let forced = force && sockopt::set_socket_recv_buffer_size_force(&*self, octets).is_ok();
        if !forced {
            sockopt::set_socket_recv_buffer_size(&*self, octets)?;
        }
        self.receive_buffer = sockopt::socket_recv_buffer_size(&*self)?;
        Ok(())
    }

    /// Sends requests after what earlier ones left unread is thrown away.
    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        loop {
            match self.try_receive() {
                Ok(None) => break,
                Ok(Some(_)) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS)) => {}
                Err(error) if error.kind() == ErrorKind::FileTooLarge => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            match self.socket.send(requests, Msg::DONTWAIT) {
                Ok(sent) if sent == requests.len() => return Ok(()),
                Ok(_) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next datagram before `deadline`.
    fn receive(&mut self, deadline: Instant) -> io::Result<&[u8]> {
        loop {
            // The borrow checker does not yet see that a datagram returned from here ends the loop.
            if let Some(len) = self.try_receive()?.map(<[u8]>::len) {
                return self.datagram.get(..len).ok_or_else(|| ErrorKind::FileTooLarge.into());
            }
            wait(self, deadline)?;
        }
    }

    /// The next datagram, if one is there. One that is too long for the buffer is lost ([`ErrorKind::FileTooLarge`]);
    /// the next of its size is not.
    fn try_receive(&mut self) -> io::Result<Option<&[u8]>> {
        let len = loop {
            match self.socket.recv(self.datagram.as_mut_slice(), Msg::DONTWAIT | Msg::TRUNC) {
                Ok((len, _)) => break len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        self.received.datagrams += 1;
        self.received.octets += len as u64;
        if len > self.datagram.len() {
            self.datagram.resize(len.next_power_of_two().min(Self::LARGEST_DATAGRAM), 0);
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(self.datagram.get(..len))
    }

    fn name_of(&self, link: LinkIndex) -> Option<LinkName> {
        name_of(self, link)
    }
}

impl AsFd for KernelSocket {
    #[expect(unsafe_code, reason = "neli's socket gives its descriptor as a number only")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as `self.socket` lives, which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

impl fmt::Debug for KernelSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelSocket").field("fd", &self.socket.as_raw_fd()).finish_non_exhaustive()
    }
}

fn name_of(socket: impl AsFd, link: LinkIndex) -> Option<LinkName> {
    netdevice::index_to_name(socket, link.get()).ok()?.parse().ok()
}

/// Waits before any attempt but the first, each time twice as long: what was in the way may be over then.
fn back_off(attempt: u32) {
    const FIRST: Duration = Duration::from_millis(2);
    let Some(doubled) = attempt.checked_sub(1) else { return };
    let pause = Timespec::try_from(FIRST * 2_u32.saturating_pow(doubled)).ok();
    // A signal may cut it short.
    let _ = poll(&mut [], pause.as_ref());
}

/// Waits for a descriptor, not longer than until `deadline`.
fn wait(descriptor: &impl AsFd, deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        let timeout = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the sockets keep their deadlines themselves")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No host has it, so nothing is ever changed by a test.
    const NOWHERE: u32 = i32::MAX.cast_unsigned();

    fn refused_changes(count: u8) -> Vec<Change> {
        let link = LinkIndex::new(NOWHERE).unwrap();
        (0..count).map(|host| Change::AddAddress(Address::new(link, [192, 0, 2, host].into(), 32))).collect()
    }

    #[test]
    fn waiting_for_an_answer_ends_at_the_deadline() {
        let mut kernel = KernelSocket::open(&[]).unwrap();
        let began = now();
        let error = kernel.receive(began + Duration::from_millis(30)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
        assert!(now() - began >= Duration::from_millis(30));
    }

    #[test]
    fn each_change_has_its_own_answer() {
        let mut route = RouteSocket::open().unwrap();
        let applied = route.apply(&refused_changes(200));
        let indices: Vec<_> = applied.refused.iter().map(|refusal| refusal.index).collect();
        assert_eq!(indices, (0..200).collect::<Vec<_>>());
        assert!(!applied.lost);
    }

    #[test]
    fn lost_answers_are_said_and_the_socket_lives_on() {
        let mut route = RouteSocket::open().unwrap();
        sockopt::set_socket_recv_buffer_size(&route, 1).unwrap(); // the kernel makes it its least
        let changes = refused_changes(100); // one batch
        let applied = route.apply(&changes);
        assert!(applied.lost);
        assert_eq!((applied.sends, applied.refused.len()), (1, 100));
        let last = applied.refused.last().unwrap();
        assert_eq!(last.error.io().raw_os_error(), Some(libc::ENOBUFS));

        let links = route.links().unwrap();
        assert!(links.iter().any(|link| link.flags.contains(crate::LinkFlags::LOOPBACK)));
        assert!(!route.apply(&changes[..1]).lost);
    }

    #[test]
    fn an_answer_to_an_earlier_request_is_thrown_away() {
        let mut route = RouteSocket::open().unwrap();
        route.kernel.send(&change::emit_batch(&refused_changes(1), 1)).unwrap();
        assert_ne!(route.links().unwrap(), []); // whose request has the same number
    }

    #[test]
    fn an_error_tells_the_whole_story() {
        let error = Error {
            operation: "adding 192.0.2.1/24 to eth0".into(),
            source: io::Error::from_raw_os_error(libc::EINVAL),
            explanation: Some("ipv4: Invalid prefix length".into()),
        };
        let text = "adding 192.0.2.1/24 to eth0: Invalid argument (os error 22): ipv4: Invalid prefix length";
        assert_eq!(error.to_string(), text);
    }
}
