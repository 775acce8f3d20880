//! What comes at a pace: controls that show how late bare timers are, and junk that claims to be adverts.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Host, LabError};

/// What the control sends: a protocol for experiments (RFC 3692).
pub const EXPERIMENT: u8 = 253;

/// Where VRRP sends its adverts (RFC 9568 §5.1.1.2).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// IP protocol number of VRRP.
const VRRP: u8 = 112;

/// A thread with a timer, until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Does `work` every `period`.
    ///
    /// # Errors
    /// If the kernel has no timer left.
    pub fn start(period: Duration, mut work: impl FnMut() + Send + 'static) -> Result<Self, LabError> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC).map_err(LabError::of("a timer"))?;
        timer
            .set(Expiration::Interval(period.into()), TimerSetTimeFlags::empty())
            .map_err(LabError::of("setting a timer"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) && timer.wait().is_ok() {
                work();
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    /// The control: a packet of [`EXPERIMENT`] to the group of VRRP every `interval` and nothing else, from the address
    /// `source` of `host`.
    ///
    /// # Errors
    /// If a socket cannot be opened there.
    pub fn control(host: &Host, source: Ipv4Addr, interval: Duration) -> Result<Self, LabError> {
        let socket = raw_socket(host, EXPERIMENT, source)?;
        Self::start(interval, move || {
            let _ = socket.send_to(&[0; 8], &to_group());
        })
    }

    /// Sends the kinds of `junk` in turn, `rate` packets a second, from the address of `claim` of `host`.
    ///
    /// # Errors
    /// If a socket cannot be opened there.
    pub fn flood(host: &Host, claim: Claim, junk: &'static [Junk], rate: u32) -> Result<Self, LabError> {
        let socket = raw_socket(host, VRRP, claim.source)?;
        let (mut seed, mut next) = (0x9e37_79b9_7f4a_7c15, junk.iter().cycle());
        // A timer that fires oftener than a thousand times a second says little of the pace.
        let together = rate.div_ceil(1000);
        Self::start(Duration::from_secs(1) * together / rate, move || {
            for kind in (0..together).filter_map(|_| next.next()) {
                let (packet, ttl) = kind.packet(claim, &mut seed);
                let _ = socket.set_multicast_ttl_v4(ttl).and_then(|()| socket.send_to(&packet, &to_group()));
            }
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The control for what has a bound in time: how late threads were that only wait for a timer, one on each processor. A
/// daemon cannot be blamed for this much, as a machine that stands still does so for all.
#[derive(Debug)]
pub struct Lateness {
    /// In nanoseconds.
    longest: Arc<AtomicU64>,
    _threads: Vec<Ticker>,
}

impl Lateness {
    const PERIOD: Duration = Duration::from_millis(10);

    /// Measures until it is dropped.
    ///
    /// # Errors
    /// If the kernel has no timer left.
    pub fn measure() -> Result<Self, LabError> {
        let longest = Arc::new(AtomicU64::new(0));
        let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(LabError::of("the processors"))?;
        let processors = (0..CpuSet::count()).filter(|processor| allowed.is_set(*processor) == Ok(true));
        let threads = processors.map(|processor| Self::measure_on(processor, Arc::clone(&longest)));
        Ok(Self { _threads: threads.collect::<Result<_, _>>()?, longest })
    }

    fn measure_on(processor: usize, longest: Arc<AtomicU64>) -> Result<Ticker, LabError> {
        let mut only = CpuSet::new();
        only.set(processor).map_err(LabError::of("a processor"))?;
        let (mut only, mut last) = (Some(only), Instant::now());
        Ticker::start(Self::PERIOD, move || {
            if let Some(only) = only.take() {
                let _ = sched_setaffinity(Pid::from_raw(0), &only);
            }
            let late = last.elapsed().saturating_sub(Self::PERIOD);
            last = Instant::now();
            longest.fetch_max(late.as_nanos().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        })
    }

    /// The longest so far.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Ordering::Relaxed))
    }
}

fn to_group() -> socket2::SockAddr {
    SocketAddrV4::new(GROUP, 0).into()
}

/// Sends to the group from that address of the host.
fn raw_socket(host: &Host, protocol: u8, source: Ipv4Addr) -> Result<Socket, LabError> {
    let open = || -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
        socket.set_multicast_if_v4(&source)?;
        socket.set_multicast_ttl_v4(255)?;
        socket.set_multicast_loop_v4(false)?;
        Ok(socket)
    };
    host.run(open).map_err(LabError::of(format!("opening a raw socket of protocol {protocol}")))
}

/// What junk claims to be an advert of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// 2 (with the password `secret`) or 3.
    pub version: u8,
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// The virtual router.
    pub vrid: u8,
    /// Its address.
    pub vip: Ipv4Addr,
}

/// What is wrong with a packet that claims to be an advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Junk {
    /// It was forwarded.
    Ttl,
    /// Its checksum is another.
    Checksum,
    /// There is no such version.
    Version,
    /// There is no such virtual router.
    Vrid,
    /// Seven octets of it are left.
    Truncated,
    /// Its password is another.
    Authentication,
    /// Forty octets that say nothing.
    Random,
    /// Nothing but that.
    LowerPriority,
}

impl Junk {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Ttl,
        Self::Checksum,
        Self::Version,
        Self::Vrid,
        Self::Truncated,
        Self::Authentication,
        Self::Random,
        Self::LowerPriority,
    ];

    /// The packet, and its time to live. All that counts would take the addresses over, but for the one fault.
    fn packet(self, claim: Claim, seed: &mut u64) -> (Vec<u8>, u32) {
        let higher = || claim.advert(claim.vrid, 254);
        let packet = match self {
            Self::Ttl => return (higher(), 254),
            Self::Checksum => changed(higher(), 7, |octet| octet ^ 1),
            Self::Version => changed(higher(), 0, |_| 0x41),
            Self::Vrid => claim.advert(claim.vrid ^ 0x40, 254),
            Self::Truncated => higher().into_iter().take(7).collect(),
            Self::Authentication => claim.version_2(claim.vrid, 254, b"guessed\0"),
            Self::Random => changed((0..40).map(|_| random(seed)).collect(), 1, |_| claim.vrid),
            Self::LowerPriority => claim.advert(claim.vrid, 10),
        };
        (packet, 255)
    }
}

impl Claim {
    fn advert(self, vrid: u8, priority: u8) -> Vec<u8> {
        if self.version == 2 {
            return self.version_2(vrid, priority, b"secret\0\0");
        }
        // RFC 9568 §5.1; an advert every 0.1 s.
        let mut packet = vec![0x31, vrid, priority, 1, 0, 10, 0, 0];
        packet.extend(self.vip.octets());
        let mut pseudo = [self.source.octets(), GROUP.octets()].concat();
        pseudo.extend([0, VRRP, 0, 12]);
        let sum = checksum(&[pseudo, packet.clone()].concat());
        with_checksum(packet, sum)
    }

    /// RFC 2338 §5.1, with a password.
    fn version_2(self, vrid: u8, priority: u8, password: &[u8; 8]) -> Vec<u8> {
        let mut packet = vec![0x21, vrid, priority, 1, 1, 1, 0, 0];
        packet.extend(self.vip.octets());
        packet.extend(password);
        let sum = checksum(&packet);
        with_checksum(packet, sum)
    }
}

fn with_checksum(packet: Vec<u8>, [high, low]: [u8; 2]) -> Vec<u8> {
    changed(changed(packet, 6, |_| high), 7, |_| low)
}

fn changed(mut packet: Vec<u8>, place: usize, change: impl FnOnce(u8) -> u8) -> Vec<u8> {
    if let Some(octet) = packet.get_mut(place) {
        *octet = change(*octet);
    }
    packet
}

/// Xorshift.
const fn random(seed: &mut u64) -> u8 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    let [_, _, _, octet, ..] = seed.to_be_bytes();
    octet
}

/// RFC 1071, of whole 16-bit words.
fn checksum(octets: &[u8]) -> [u8; 2] {
    let words = octets.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = ((folded & 0xffff) + (folded >> 16)).to_be_bytes();
    [!high, !low]
}
