//! Carries changes out and reads the kernel's table back: the only I/O of this crate.
//!
//! The kernel does a request while it is sent, so nothing here waits for another process; what takes time is the
//! kernel's own work. Many requests travel in one send, and only the last of them is acknowledged: one
//! acknowledgement for each of a thousand would overflow the receive buffer. A refused request is always answered,
//! and the others of its batch are done.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, Instant};

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;

use crate::message::{Acknowledge, Answer, ParseError, Refusal, Reply, Request, frames};
use crate::types::{
    Change, Destination, DestinationEntry, Family, Info, Service, ServiceAddress, ServiceEntry, SyncDaemon, SyncRole,
    Table, Timeouts,
};

/// Why there is no IPVS to talk to. The text begins with the words that keepalived logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The kernel has no IPVS, and could not load it.
    #[error(
        "IPVS: Can't initialize ipvs: the kernel has no IPVS; load it with `modprobe ip_vs`, \
         or use a kernel that has the module"
    )]
    NoIpvs,
    /// The process may not configure IPVS.
    #[error("IPVS: Can't initialize ipvs: not permitted; run as root or with CAP_NET_ADMIN")]
    NotPermitted,
    /// The host gives no netlink socket.
    #[error("IPVS: Can't initialize ipvs: {operation}: {source}")]
    Host {
        /// What was tried.
        operation: &'static str,
        /// What the host answered.
        source: io::Error,
    },
    /// The kernel's answer makes no sense.
    #[error("IPVS: Can't initialize ipvs: {0}")]
    Exchange(#[from] ExchangeError),
}

/// Why a whole exchange with the kernel failed, as opposed to one request of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The host did not send or receive.
    #[error("{operation}: {source}")]
    Host {
        /// What was tried.
        operation: &'static str,
        /// What the host answered.
        source: io::Error,
    },
    /// Answers were lost because there were too many. What was done is unknown: dump and plan again.
    #[error("the kernel's answers did not fit into the receive buffer")]
    Overrun,
    /// The kernel did not answer.
    #[error("the kernel did not answer")]
    NoAnswer,
    /// An answer cannot be read.
    #[error("the kernel's answer cannot be read: {0}")]
    Parse(#[from] ParseError),
    /// The kernel refused.
    #[error("{operation}: {source}")]
    Refused {
        /// What was tried, with its object.
        operation: Cow<'static, str>,
        /// Why.
        source: RefusedError,
    },
    /// The time given was over before the end.
    #[error("the kernel was not done after {0:?}")]
    Deadline(Duration),
}

/// Why the kernel refused a request, with what it says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedError(pub Refusal);

impl RefusedError {
    /// The error number as the host's error.
    pub fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.0.errno)
    }
}

impl std::fmt::Display for RefusedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0.text {
            Some(text) => write!(f, "{} ({text})", self.error()),
            None => self.error().fmt(f),
        }
    }
}

impl std::error::Error for RefusedError {}

/// A change that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{change}: {source}{}", hint(change, source).unwrap_or_default())]
pub struct Failure {
    /// Place of the change in the list.
    pub index: usize,
    /// The change.
    pub change: Change,
    /// Why.
    pub source: RefusedError,
}

/// A setting of a service or a destination that the kernel may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// The service's scheduler.
    Scheduler,
    /// The service's persistence engine.
    PersistenceEngine,
    /// The service's mask or prefix length of persistence.
    PersistenceGranularity,
    /// The destination's address.
    Address,
    /// How packets reach the destination.
    Forwarding,
    /// The destination's upper threshold.
    UpperThreshold,
    /// The destination's lower threshold.
    LowerThreshold,
}

impl Failure {
    /// The setting that most likely is the matter; `None` where it is none of them.
    pub fn setting(&self) -> Option<Setting> {
        match (&self.change, self.source.0.errno) {
            (Change::AddService(service) | Change::EditService(service), ENOENT) => {
                // The kernel has this engine, if it has any.
                let known = service.persistence_engine.is_none_or(|engine| engine.as_str() == "sip");
                Some(if known { Setting::Scheduler } else { Setting::PersistenceEngine })
            }
            (Change::AddService(service) | Change::EditService(service), EINVAL) => {
                service.persistence.map(|_| Setting::PersistenceGranularity)
            }
            (
                Change::AddDestination { service, destination } | Change::EditDestination { service, destination },
                errno,
            ) => refused_setting(service, destination, errno),
            _ => None,
        }
    }
}

fn refused_setting(service: &ServiceAddress, destination: &Destination, errno: i32) -> Option<Setting> {
    match errno {
        ERANGE => Some(Setting::LowerThreshold),
        EINVAL if Family::of(destination.address) != service.family() => Some(Setting::Forwarding),
        EINVAL if destination.upper_threshold > GREATEST_THRESHOLD => Some(Setting::UpperThreshold),
        EINVAL => Some(Setting::Address),
        _ => None,
    }
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ERANGE: i32 = 34;
const EAFNOSUPPORT: i32 = 97;
const ENOBUFS: i32 = 105;

/// What most likely is the matter, where the error number alone misleads.
fn hint(change: &Change, refused: &RefusedError) -> Option<String> {
    match (change, refused.0.errno) {
        (_, ENOMEM) => Some("; the kernel has no memory left for it".to_owned()),
        (_, EAFNOSUPPORT) => Some("; the kernel has no IPVS for IPv6".to_owned()),
        (Change::AddService(service) | Change::EditService(service), ENOENT) => Some(missing_modules(service)),
        (Change::AddService(service) | Change::EditService(service), EINVAL) => {
            doubtful_option(service).map(str::to_owned)
        }
        (
            Change::EditService(_)
            | Change::AddDestination { .. }
            | Change::EditDestination { .. }
            | Change::RemoveDestination { .. },
            ESRCH,
        ) => Some("; somebody removed the service".to_owned()),
        (Change::AddDestination { service, destination } | Change::EditDestination { service, destination }, errno) => {
            doubtful_setting(service, destination, errno).map(str::to_owned)
        }
        _ => None,
    }
}

/// The kernel does not say which of the two it has not found.
fn missing_modules(service: &Service) -> String {
    let Service { scheduler, persistence_engine, .. } = service;
    match persistence_engine {
        None => format!("; the kernel has no scheduler {scheduler}: load it with `modprobe ip_vs_{scheduler}`"),
        Some(engine) => format!(
            "; the kernel has no scheduler {scheduler} or no persistence engine {engine}: load them with \
             `modprobe ip_vs_{scheduler}` and `modprobe ip_vs_pe_{engine}`"
        ),
    }
}

fn doubtful_option(service: &Service) -> Option<&'static str> {
    match service {
        Service { address: ServiceAddress::Socket { port: 0, .. }, persistence: None, .. } => {
            Some("; port 0 needs persistence")
        }
        Service { persistence: Some(_), .. } => Some("; the netmask or prefix length of persistence is wrong"),
        _ => None,
    }
}

/// The kernel counts connections in numbers with a sign.
const GREATEST_THRESHOLD: u32 = i32::MAX.unsigned_abs();

fn doubtful_setting(service: &ServiceAddress, destination: &Destination, errno: i32) -> Option<&'static str> {
    match errno {
        ERANGE => Some("; the lower threshold is above the upper one"),
        EINVAL if Family::of(destination.address) != service.family() => {
            Some("; a server of the other family needs a tunnel, and no sync daemon may run")
        }
        EINVAL if destination.upper_threshold > GREATEST_THRESHOLD => Some("; the upper threshold is above 2147483647"),
        EINVAL => Some("; its address is not a host's"),
        _ => None,
    }
}

/// What became of a list of changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many changes of the list were sent, from its beginning. All of them but the failures are done.
    pub sent: usize,
    /// Changes that the kernel refused.
    pub failures: Vec<Failure>,
    /// How many sends it took.
    pub sends: usize,
}

/// A socket to the kernel's IPVS.
#[derive(Debug)]
pub struct Socket {
    exchange: Exchange<Netlink>,
}

impl Socket {
    /// Opens a socket and asks for IPVS, which loads the kernel module `ip_vs` where the kernel may do so.
    ///
    /// # Errors
    /// [`OpenError`] says what is missing and how to get it.
    pub fn open() -> Result<Self, OpenError> {
        let netlink = Netlink::open().map_err(|(operation, source)| OpenError::Host { operation, source })?;
        Ok(Self { exchange: Exchange::open(netlink)? })
    }

    /// The kernel's table. Services and destinations that change meanwhile may be in it or not.
    ///
    /// # Errors
    /// [`ExchangeError`]; the table is unknown then.
    pub fn dump(&mut self) -> Result<Table, ExchangeError> {
        self.exchange.dump()
    }

    /// Carries out a list of changes, in its order, for at most `limit`. What is not sent by then is left out, and
    /// the report says so.
    ///
    /// A service or destination that is there already is edited instead of added, one that is gone already counts
    /// as removed, and a destination that is gone is added instead of edited. That the service of a destination is
    /// gone is a failure: the caller's table is not what is there.
    ///
    /// # Errors
    /// [`ExchangeError`] if it is unknown what was done: dump and plan again. A change that the kernel refuses is
    /// no error but a [`Failure`] in the report.
    pub fn apply(&mut self, changes: &[Change], limit: Duration) -> Result<Report, ExchangeError> {
        self.exchange.apply(changes, limit)
    }

    /// The destinations of one service with their counters; `None` if there is no such service.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub fn destinations(&mut self, service: ServiceAddress) -> Result<Option<Vec<DestinationEntry>>, ExchangeError> {
        self.exchange.destinations(service)
    }

    /// Starts a sync daemon. One of its role that runs with other settings is stopped first; one that runs as wanted
    /// goes on.
    ///
    /// # Errors
    /// [`ExchangeError`]. The kernel synchronises nothing while a destination is of another family than its service.
    pub fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), ExchangeError> {
        self.exchange.start_sync_daemon(daemon)
    }

    /// Stops the sync daemon of this role. That none runs is no error.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub fn stop_sync_daemon(&mut self, role: SyncRole) -> Result<(), ExchangeError> {
        self.exchange.stop_sync_daemon(role)
    }

    /// The sync daemons that run.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub fn sync_daemons(&mut self) -> Result<Vec<SyncDaemon>, ExchangeError> {
        self.exchange.sync_daemons()
    }

    /// Removes all services with their destinations, whoever made them.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub fn flush(&mut self) -> Result<(), ExchangeError> {
        self.exchange.command("removing all services", Request::Flush)
    }

    /// Sets the counters of a service and its destinations to 0, or of all.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub fn zero(&mut self, service: Option<ServiceAddress>) -> Result<(), ExchangeError> {
        self.exchange.command("setting counters to 0", Request::Zero(service))
    }

    /// How long idle connections are kept.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub fn timeouts(&mut self) -> Result<Timeouts, ExchangeError> {
        match self.exchange.query("reading time-outs", Request::QueryTimeouts)? {
            Answer::Timeouts(timeouts) => Ok(timeouts),
            _ => Err(ExchangeError::NoAnswer),
        }
    }

    /// Sets how long idle connections are kept; times of 0 stay as they are.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), ExchangeError> {
        self.exchange.command("setting time-outs", Request::SetTimeouts(timeouts))
    }

    /// Version and limits of the kernel's IPVS.
    ///
    /// # Errors
    /// [`ExchangeError`].
    pub fn info(&mut self) -> Result<Info, ExchangeError> {
        match self.exchange.query("reading the version", Request::QueryInfo)? {
            Answer::Info(info) => Ok(info),
            _ => Err(ExchangeError::NoAnswer),
        }
    }
}

/// Sends and receives datagrams; the kernel, or a stand-in for it in tests.
trait Datagrams {
    /// Sends requests, which are done when this returns, and says how long the kernel took.
    fn send(&mut self, octets: &[u8]) -> io::Result<Duration>;
    /// The next datagram of answers, or an error of kind `WouldBlock` if there is none.
    fn receive<'a>(&mut self, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]>;
}

/// A generic netlink socket.
struct Netlink(NlSocket);

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Netlink")
    }
}

impl Netlink {
    fn open() -> Result<Self, (&'static str, io::Error)> {
        let socket = NlSocket::connect(NlFamily::Generic, None, Groups::empty())
            .map_err(|source| ("opening a netlink socket", source))?;
        socket.enable_ext_ack(true).map_err(|source| ("asking for extended acknowledgements", source))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER).map_err(|source| ("setting the receive buffer", source))?;
        Ok(Self(socket))
    }
}

impl Datagrams for Netlink {
    fn send(&mut self, octets: &[u8]) -> io::Result<Duration> {
        let started = now();
        retry(|| self.0.send(octets, Msg::empty()))?;
        Ok(started.elapsed())
    }

    fn receive<'a>(&mut self, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        buffer.resize(DATAGRAM, 0);
        let length = retry(|| self.0.recv(&mut *buffer, Msg::DONTWAIT | Msg::TRUNC))?.0;
        let too_long = || io::Error::other(format!("a datagram of {length} octets"));
        buffer.get(..length).ok_or_else(too_long)
    }
}

/// Does a system call again when a signal interrupted it.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Octets asked for; the kernel gives twice the smaller of this and its limit, at least 416 KiB.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The kernel's answers have at most 32 KiB.
const DATAGRAM: usize = 64 << 10;
/// Requests in one send. If all are refused, each with the request in its answer (about 2 KiB of the receive
/// buffer's account), the answers still fit.
const BATCH: usize = 128;
/// How long the kernel may be kept busy by one send: others wait for it.
const KERNEL_TIME: Duration = Duration::from_millis(2);

/// Requests and answers over datagrams.
#[derive(Debug)]
struct Exchange<D> {
    datagrams: D,
    family: u16,
    sequence: u32,
    batch: usize,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl<D: Datagrams> Exchange<D> {
    fn open(datagrams: D) -> Result<Self, OpenError> {
        let mut exchange =
            Self { datagrams, family: 0, sequence: 0, batch: 16, outgoing: Vec::new(), incoming: Vec::new() };
        match exchange.query("looking for IPVS", Request::ResolveFamily) {
            Ok(Answer::Family(number)) => exchange.family = number,
            Ok(_) => return Err(ExchangeError::NoAnswer.into()),
            Err(ExchangeError::Refused { source, .. }) if source.0.errno == ENOENT => return Err(OpenError::NoIpvs),
            Err(error) => return Err(error.into()),
        }
        match exchange.query("reading the version", Request::QueryInfo) {
            Ok(_) => Ok(exchange),
            Err(ExchangeError::Refused { source, .. }) if source.0.errno == EPERM => Err(OpenError::NotPermitted),
            Err(error) => Err(error.into()),
        }
    }

    fn dump(&mut self) -> Result<Table, ExchangeError> {
        let mut services: Vec<ServiceEntry> = Vec::new();
        self.collect("reading services", Request::DumpServices, |answer| {
            if let Answer::Service(entry) = answer {
                services.push(entry);
            }
        })?;
        let mut table = Table::default();
        for service in services {
            // Somebody may have removed the service since it was listed.
            if let Some(destinations) = self.destinations(service.service.address)? {
                table.entries.push((service, destinations));
            }
        }
        Ok(table)
    }

    fn destinations(&mut self, service: ServiceAddress) -> Result<Option<Vec<DestinationEntry>>, ExchangeError> {
        let mut destinations = Vec::new();
        let dumped = self.collect("reading destinations", Request::DumpDestinations(service), |answer| {
            if let Answer::Destination(entry) = answer {
                destinations.push(entry);
            }
        });
        Ok(tolerating(dumped, &[ENOENT, ESRCH])?.map(|()| destinations))
    }

    fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), ExchangeError> {
        let start = |exchange: &mut Self| {
            let operation = format!("starting the {daemon}");
            exchange.collect(operation, Request::StartSyncDaemon(*daemon), |_| ())
        };
        let started = start(self);
        if tolerating(started, &[EEXIST])?.is_some() || self.sync_daemons()?.iter().any(|it| daemon.is_met_by(it)) {
            return Ok(());
        }
        self.stop_sync_daemon(daemon.role)?;
        start(self)
    }

    fn stop_sync_daemon(&mut self, role: SyncRole) -> Result<(), ExchangeError> {
        let operation = format!("stopping the {role} sync daemon");
        let stopped = self.collect(operation, Request::StopSyncDaemon(role), |_| ());
        match tolerating(stopped, &[ESRCH]) {
            // The kernel gives no answer when the thread had not begun to run: what it returns then, -EINTR, is
            // taken for a request that will be sent again.
            Err(ExchangeError::NoAnswer) if self.sync_daemons()?.iter().all(|running| running.role != role) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn sync_daemons(&mut self) -> Result<Vec<SyncDaemon>, ExchangeError> {
        let mut daemons = Vec::new();
        self.collect("reading sync daemons", Request::DumpSyncDaemons, |answer| {
            if let Answer::SyncDaemon(daemon) = answer {
                daemons.push(daemon);
            }
        })?;
        Ok(daemons)
    }

    fn apply(&mut self, changes: &[Change], limit: Duration) -> Result<Report, ExchangeError> {
        let started = now();
        let mut report = Report::default();
        let mut again = Vec::new();
        while report.sent < changes.len() && started.elapsed() < limit {
            let rest = changes.get(report.sent..).unwrap_or_default();
            let batch = rest.get(..self.batch).unwrap_or(rest);
            for (place, refusal) in self.send_batch(batch)? {
                let Some(change) = batch.get(place) else { continue };
                let failure = Failure { index: report.sent + place, change: *change, source: RefusedError(refusal) };
                match tolerate(&failure) {
                    Tolerance::Done => {}
                    Tolerance::Instead(other) => again.push((failure, other)),
                    Tolerance::Failed => report.failures.push(failure),
                }
            }
            report.sent += batch.len();
            report.sends += 1;
        }
        for (failure, other) in again {
            report.sends += 1;
            if let Some((_, refusal)) = self.send_batch(&[other])?.pop() {
                report.failures.push(Failure { source: RefusedError(refusal), ..failure });
            }
        }
        report.failures.sort_by_key(|failure| failure.index);
        Ok(report)
    }

    /// Sends changes as one datagram; gives the places of those that were refused, with the reason.
    fn send_batch(&mut self, batch: &[Change]) -> Result<Vec<(usize, Refusal)>, ExchangeError> {
        let requests: Vec<_> = batch.iter().copied().map(Request::Change).collect();
        let first = self.sequence.wrapping_add(1);
        let took = self.send(&requests)?;
        self.adapt(batch.len(), took);
        let last = self.sequence;
        let mut refused = Vec::new();
        self.receive(|sequence, reply| {
            if let Reply::Refused(refusal) = &reply {
                let place = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                refused.push((place, refusal.clone()));
            }
            sequence == last && matches!(reply, Reply::Acknowledged | Reply::Refused(_))
        })?;
        Ok(refused)
    }

    /// Makes batches larger while the kernel is quick with them, and smaller when it is not.
    fn adapt(&mut self, sent: usize, took: Duration) {
        if took > KERNEL_TIME {
            self.batch = (self.batch / 2).max(1);
        } else if sent == self.batch && took < KERNEL_TIME / 2 {
            self.batch = (self.batch * 2).min(BATCH);
        }
    }

    /// Does a request that is answered by an acknowledgement only.
    fn command(&mut self, operation: &'static str, request: Request) -> Result<(), ExchangeError> {
        self.collect(operation, request, |_| ())
    }

    /// Does a request that has one answer.
    fn query(&mut self, operation: &'static str, request: Request) -> Result<Answer, ExchangeError> {
        let mut found = None;
        self.collect(operation, request, |answer| found = Some(answer))?;
        found.ok_or(ExchangeError::NoAnswer)
    }

    /// Does one request and gives all its answers to `take`.
    fn collect(
        &mut self,
        operation: impl Into<Cow<'static, str>>,
        request: Request,
        mut take: impl FnMut(Answer),
    ) -> Result<(), ExchangeError> {
        self.send(&[request])?;
        let last = self.sequence;
        let mut refused = None;
        self.receive(|sequence, reply| match reply {
            _ if sequence != last => false,
            Reply::Answer(answer) => {
                take(answer);
                false
            }
            Reply::Refused(refusal) => {
                refused = Some(refusal);
                true
            }
            Reply::Done | Reply::Acknowledged => true,
            Reply::Noop => false,
        })?;
        match refused {
            Some(refusal) => Err(ExchangeError::Refused { operation: operation.into(), source: RefusedError(refusal) }),
            None => Ok(()),
        }
    }

    /// Sends requests as one datagram; only the last is acknowledged.
    fn send(&mut self, requests: &[Request]) -> Result<Duration, ExchangeError> {
        self.outgoing.clear();
        for (place, request) in requests.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let last = place + 1 == requests.len();
            let acknowledge = if last { Acknowledge::Always } else { Acknowledge::Refusal };
            request.emit(self.family, self.sequence, acknowledge, &mut self.outgoing);
        }
        let sending = |source| ExchangeError::Host { operation: "sending to the kernel", source };
        self.datagrams.send(&self.outgoing).map_err(sending)
    }

    /// Gives replies with their sequence numbers to `take` until it says that the last was among them.
    fn receive(&mut self, mut take: impl FnMut(u32, Reply) -> bool) -> Result<(), ExchangeError> {
        loop {
            let datagram = self.datagrams.receive(&mut self.incoming).map_err(receive_error)?;
            let mut last = false;
            for frame in frames(datagram) {
                let frame = frame?;
                last |= take(frame.sequence, frame.reply()?);
            }
            if last {
                return Ok(());
            }
        }
    }
}

/// `None` for a refusal with one of these error numbers.
fn tolerating<T>(result: Result<T, ExchangeError>, numbers: &[i32]) -> Result<Option<T>, ExchangeError> {
    match result {
        Err(ExchangeError::Refused { source, .. }) if numbers.contains(&source.0.errno) => Ok(None),
        other => other.map(Some),
    }
}

fn receive_error(source: io::Error) -> ExchangeError {
    match source.raw_os_error() {
        Some(ENOBUFS) => ExchangeError::Overrun,
        Some(EAGAIN) => ExchangeError::NoAnswer,
        _ => ExchangeError::Host { operation: "receiving from the kernel", source },
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of this crate: limits of exchanges with the kernel")]
fn now() -> Instant {
    Instant::now()
}

/// What a refusal means.
enum Tolerance {
    /// What was wanted is the case.
    Done,
    /// Another change leads to what was wanted.
    Instead(Change),
    /// It is an error.
    Failed,
}

fn tolerate(failure: &Failure) -> Tolerance {
    match (failure.change, failure.source.0.errno) {
        (Change::AddService(service), EEXIST) => Tolerance::Instead(Change::EditService(service)),
        (Change::AddDestination { service, destination }, EEXIST) => {
            Tolerance::Instead(Change::EditDestination { service, destination })
        }
        (Change::EditDestination { service, destination }, ENOENT) => {
            Tolerance::Instead(Change::AddDestination { service, destination })
        }
        (Change::RemoveService(_), ENOENT | ESRCH) | (Change::RemoveDestination { .. }, ENOENT) => Tolerance::Done,
        _ => Tolerance::Failed,
    }
}

#[cfg(test)]
mod tests;
