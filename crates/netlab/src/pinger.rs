//! A client that asks for echoes at a steady pace and says how long it got none.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::LabError;
use crate::netns::NetNs;

/// An interval without answers, after the first one, in which at least one request stayed unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last answer before it, CLOCK_MONOTONIC.
    pub from: Instant,
    /// The first answer after it; `None` while it lasts.
    pub until: Option<Instant>,
    /// How many requests stayed unanswered.
    pub lost: usize,
}

impl Gap {
    /// How long the client was without the service, up to now if it still is.
    pub fn duration(&self) -> Duration {
        self.until.unwrap_or_else(Instant::now).saturating_duration_since(self.from)
    }
}

/// What a [`Pinger`] counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PingCounts {
    /// Requests, those included that the kernel refused to send.
    pub sent: usize,
    /// Answers.
    pub received: usize,
}

/// Sends ICMP or ICMPv6 echo requests from a host until it is stopped or dropped.
#[derive(Debug)]
pub struct Pinger {
    log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pinger {
    /// Starts asking `target` every `period`; 2 ms is a good one.
    pub(crate) fn start(namespace: &NetNs, target: IpAddr, period: Duration) -> Result<Self, LabError> {
        let socket =
            namespace.run(|| open(target)).map_err(LabError::of(format!("opening a ping socket for {target}")))?;
        let log = Arc::new(Mutex::new(Log { started: Instant::now(), probes: Vec::new() }));
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = Client { socket, target, period, log: Arc::clone(&log), identifier: next_identifier() };
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || client.run(&stopped));
        Ok(Self { log, stop, thread: Some(thread) })
    }

    /// Requests and answers so far.
    pub fn counts(&self) -> PingCounts {
        let log = self.log();
        PingCounts {
            sent: log.probes.len(),
            received: log.probes.iter().filter(|probe| probe.answered.is_some()).count(),
        }
    }

    /// How long ago the latest answer came, or the pinger started.
    pub fn silence(&self) -> Duration {
        let log = self.log();
        log.probes.iter().filter_map(|probe| probe.answered).max().unwrap_or(log.started).elapsed()
    }

    /// All intervals in which requests stayed unanswered, in order; what was asked before the first answer ever does not
    /// count. The newest requests may still be answered: those that no answer to a later one has overtaken count only
    /// from an age of `patience` on.
    pub fn gaps(&self, patience: Duration) -> Vec<Gap> {
        self.log().gaps(Instant::now(), patience)
    }

    /// The longest gap, requests younger than 100 ms aside.
    pub fn longest_gap(&self) -> Option<Gap> {
        self.gaps(Duration::from_millis(100)).into_iter().max_by_key(Gap::duration)
    }

    /// Waits until something answers that was asked after this call.
    ///
    /// # Errors
    /// After `timeout`.
    pub fn wait_for_answer(&self, timeout: Duration) -> Result<Instant, LabError> {
        let (first, deadline) = (self.log().probes.len(), Instant::now() + timeout);
        loop {
            if let Some(at) = self.log().probes.iter().skip(first).find_map(|probe| probe.answered) {
                return Ok(at);
            }
            if Instant::now() > deadline {
                return Err(LabError::of("waiting for an echo")(nix::errno::Errno::ETIMEDOUT));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
struct Probe {
    sent: Instant,
    answered: Option<Instant>,
}

#[derive(Debug)]
struct Log {
    started: Instant,
    probes: Vec<Probe>,
}

impl Log {
    fn gaps(&self, now: Instant, patience: Duration) -> Vec<Gap> {
        let (mut gaps, mut open, mut last) = (Vec::new(), None::<Gap>, None::<Instant>);
        let is_late = |probe: &Probe| now.saturating_duration_since(probe.sent) >= patience;
        // In time, not by number: what the kernel kept until the address was resolved may overtake and be dropped.
        let Some(first_answer) = self.probes.iter().filter_map(|probe| probe.answered).min() else { return gaps };
        let newest_answered = self.probes.iter().rposition(|probe| probe.answered.is_some());
        for (number, probe) in self.probes.iter().enumerate() {
            match (probe.answered, last) {
                (Some(at), _) => {
                    gaps.extend(open.take().map(|gap| Gap { until: Some(at), ..gap }));
                    last = last.max(Some(at));
                }
                (None, Some(from))
                    if probe.sent >= first_answer && (Some(number) < newest_answered || is_late(probe)) =>
                {
                    open.get_or_insert(Gap { from, until: None, lost: 0 }).lost += 1;
                }
                (None, _) => {}
            }
        }
        gaps.extend(open);
        gaps
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending and receiving thread.
struct Client {
    socket: Socket,
    target: IpAddr,
    period: Duration,
    log: Arc<Mutex<Log>>,
    identifier: u16,
}

impl Client {
    fn run(&mut self, stop: &AtomicBool) {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                self.send(now);
                // After a pause of the machine the pace goes on from here: a burst would say nothing.
                next = (next + self.period).max(now);
            }
            self.receive_until(next);
        }
    }

    fn send(&self, now: Instant) {
        let mut log = lock(&self.log);
        let number = log.probes.len();
        log.probes.push(Probe { sent: now, answered: None });
        drop(log);
        // A request that the kernel refuses (no route, link down, full queue) is one that nobody answers.
        let _ = self
            .socket
            .send_to(&request(self.target, self.identifier, number), &SocketAddr::new(self.target, 0).into());
    }

    fn receive_until(&mut self, deadline: Instant) {
        let mut buffer = [0; 256];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(length) => self.take(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                    let _ = ppoll(&mut sockets, Some(left.into()), None);
                }
                Err(_) => return,
            }
        }
    }

    fn take(&self, packet: &[u8]) {
        let at = Instant::now();
        let Some(number) = answered(packet, self.target, self.identifier) else {
            return;
        };
        if let Some(probe) = lock(&self.log).probes.get_mut(number) {
            probe.answered.get_or_insert(at);
        }
    }
}

/// A raw socket: it needs no range of group ids to be configured, only root in the namespace.
fn open(target: IpAddr) -> io::Result<Socket> {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Tells the pingers of one program apart.
fn next_identifier() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An echo request whose data is its number; ICMPv6 checksums are the kernel's business.
fn request(target: IpAddr, identifier: u16, number: usize) -> [u8; 16] {
    let [i0, i1] = identifier.to_be_bytes();
    let [d0, d1, d2, d3, d4, d5, d6, d7] = (number as u64).to_be_bytes();
    let message = |kind, [c0, c1]: [u8; 2]| [kind, 0, c0, c1, i0, i1, d6, d7, d0, d1, d2, d3, d4, d5, d6, d7];
    match target {
        IpAddr::V4(_) => message(8, checksum(&message(8, [0, 0])).to_be_bytes()),
        IpAddr::V6(_) => message(128, [0, 0]),
    }
}

/// The number of the request that `packet`, as a raw socket gives it, answers.
fn answered(packet: &[u8], target: IpAddr, identifier: u16) -> Option<usize> {
    let (message, reply) = match target {
        IpAddr::V4(_) => (packet.get(usize::from(packet.first()? & 0x0f) * 4..)?, 0),
        IpAddr::V6(_) => (packet, 129),
    };
    let (header, data) = message.split_first_chunk::<8>()?;
    let &[kind, 0, _, _, i0, i1, _, _] = header else {
        return None;
    };
    let number = u64::from_be_bytes(*data.first_chunk()?);
    (kind == reply && u16::from_be_bytes([i0, i1]) == identifier).then_some(number)?.try_into().ok()
}

/// RFC 1071, of whole 16-bit words.
fn checksum(octets: &[u8; 16]) -> u16 {
    let sum: u32 = octets.as_chunks::<2>().0.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum();
    let [_, _, high, low] = ((sum & 0xffff) + (sum >> 16)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn an_echo_names_its_request() {
        let mut message = request(V4, 7, 70_000);
        assert_eq!(checksum(&message), 0, "the sum over a message with its checksum is 0");
        message[0] = 0;
        let mut packet = vec![0x45; 20];
        packet.extend(message);
        assert_eq!(answered(&packet, V4, 7), Some(70_000));
        assert_eq!(answered(&packet, V4, 8), None);
        assert_eq!(answered(&packet[..30], V4, 7), None);
    }

    #[test]
    fn gaps_are_between_answers_and_only_where_something_was_lost() {
        let started = Instant::now();
        let at = |millis| started + Duration::from_millis(millis);
        let probe = |sent, answered: Option<u64>| Probe { sent: at(sent), answered: answered.map(at) };
        let probes = vec![
            probe(0, Some(1)),
            probe(2, None),
            probe(4, None),
            probe(60, Some(61)),
            probe(90, Some(91)),
            probe(92, None),
        ];
        let log = Log { started, probes };

        let patience = Duration::from_millis(10);
        let closed = Gap { from: at(1), until: Some(at(61)), lost: 2 };
        assert_eq!(log.gaps(at(93), patience), [closed], "late requests and pauses of the client are no gaps");
        assert_eq!(closed.duration(), Duration::from_millis(60));

        let open = Gap { from: at(91), until: None, lost: 1 };
        assert_eq!(log.gaps(at(102), patience), [closed, open]);
        let never = Log { started, probes: vec![probe(0, None), probe(2, None), probe(4, Some(5))] };
        assert_eq!(never.gaps(at(99), patience), [], "nothing was there to be lost");
        let overtaken = Log { started, probes: vec![probe(0, Some(9)), probe(2, None), probe(4, Some(5))] };
        assert_eq!(overtaken.gaps(at(99), patience), [], "it was asked before the first answer, whoever got that");
    }
}
