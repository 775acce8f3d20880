//! Records the frames of one interface.

use std::fs::File;
use std::io::{self, BufWriter, IoSliceMut, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt,
    socket, sockopt,
};

use crate::error::LabError;
use crate::netns::NetNs;

/// `PACKET_OUTGOING` of linux/if_packet.h.
const PACKET_OUTGOING: u8 = 4;

/// One frame as it passed the interface.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When the kernel saw it, on CLOCK_MONOTONIC.
    pub at: Instant,
    /// The same in wall-clock time.
    pub wall: SystemTime,
    /// Sent by the namespace that the capture is in.
    pub outgoing: bool,
    /// From the Ethernet header on.
    pub octets: Vec<u8>,
}

/// A frame's ARP message (RFC 826, for IPv4 over Ethernet).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Sender hardware address.
    pub sender_mac: [u8; 6],
    /// Sender protocol address.
    pub sender: Ipv4Addr,
    /// Target protocol address; the sender's own in a gratuitous message.
    pub target: Ipv4Addr,
}

/// A frame's IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpPacket<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Protocol or next header: 112 is VRRP, 58 ICMPv6.
    pub protocol: u8,
    /// What follows the header, without Ethernet padding.
    pub payload: &'a [u8],
}

impl Frame {
    /// The sender's hardware address.
    pub fn source_mac(&self) -> Option<[u8; 6]> {
        self.octets.get(6..12)?.first_chunk().copied()
    }

    /// The ARP message in it.
    pub fn arp(&self) -> Option<Arp> {
        let message = self.body(0x0806)?.first_chunk::<28>()?;
        let &[0, 1, 8, 0, 6, 4, o0, o1, ref sender_mac @ .., _, _, _, _, _, _, t0, t1, t2, t3] = message else {
            return None;
        };
        let (sender_mac, sender) = sender_mac.split_first_chunk::<6>()?;
        let sender: [u8; 4] = *sender.first_chunk()?;
        let target = Ipv4Addr::new(t0, t1, t2, t3);
        Some(Arp { operation: u16::from_be_bytes([o0, o1]), sender_mac: *sender_mac, sender: sender.into(), target })
    }

    /// The address that it announces as gratuitous ARP.
    pub fn gratuitous_arp(&self) -> Option<Ipv4Addr> {
        self.arp().filter(|arp| arp.sender == arp.target).map(|arp| arp.target)
    }

    /// The address that it announces as unsolicited neighbour advertisement to all nodes (RFC 4861 §4.4).
    pub fn unsolicited_na(&self) -> Option<Ipv6Addr> {
        let ip = self.ip().filter(|ip| ip.protocol == 58 && ip.destination.is_multicast())?;
        let (&[136, 0, ..], target) = ip.payload.split_first_chunk::<8>()? else {
            return None;
        };
        target.first_chunk::<16>().map(|&target| target.into())
    }

    /// The IP packet in it.
    pub fn ip(&self) -> Option<IpPacket<'_>> {
        self.ipv4().or_else(|| self.ipv6())
    }

    /// The octets of the VRRP packet in it, with its IP header's facts.
    pub fn vrrp(&self) -> Option<IpPacket<'_>> {
        self.ip().filter(|ip| ip.protocol == 112)
    }

    fn ipv4(&self) -> Option<IpPacket<'_>> {
        let packet = self.body(0x0800)?;
        let &[version_length, _, l0, l1, _, _, _, _, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            packet.first_chunk()?;
        let payload = packet.get(usize::from(version_length & 0x0f) * 4..usize::from(u16::from_be_bytes([l0, l1])))?;
        let (source, destination) = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
        Some(IpPacket { source: source.into(), destination: destination.into(), ttl, protocol, payload })
    }

    /// Extension headers are not looked through: nothing here sends any but MLD, which nobody asks for.
    fn ipv6(&self) -> Option<IpPacket<'_>> {
        let (header, rest) = self.body(0x86dd)?.split_first_chunk::<40>()?;
        let &[_, _, _, _, l0, l1, protocol, ttl, ref addresses @ ..] = header;
        let ([source, destination], []) = addresses.as_chunks::<16>() else {
            return None;
        };
        let payload = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
        let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
        Some(IpPacket { source: source.into(), destination: destination.into(), ttl, protocol, payload })
    }

    fn body(&self, ethertype: u16) -> Option<&[u8]> {
        let (header, body) = self.octets.split_first_chunk::<14>()?;
        header.ends_with(&ethertype.to_be_bytes()).then_some(body)
    }
}

/// Records every frame of one interface until it is dropped.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<(Mutex<Vec<Frame>>, Condvar)>,
    stop: Option<io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts on `interface`, which must exist. A bridge sees what is broadcast or multicast on it, a port of a bridge sees all that
    /// passes that port.
    pub(crate) fn start(namespace: &NetNs, interface: &str) -> Result<Self, LabError> {
        let failed = || LabError::of(format!("capturing on {interface}"));
        let (socket, index) = namespace.run(|| open(interface)).map_err(failed())?;
        let (stopped, stop) = io::pipe().map_err(failed())?;
        let frames = Arc::default();
        let shared = Arc::clone(&frames);
        let thread = thread::spawn(move || record(&socket, index, &stopped, &shared));
        Ok(Self { frames, stop: Some(stop), thread: Some(thread) })
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        lock(&self.frames).clone()
    }

    /// Waits for the first frame, from the start of the capture, for which `wanted` gives a value.
    ///
    /// # Errors
    /// After `timeout`.
    pub fn wait_for<T>(&self, timeout: Duration, wanted: impl Fn(&Frame) -> Option<T>) -> Result<T, LabError> {
        let deadline = Instant::now() + timeout;
        let mut frames = lock(&self.frames);
        let mut seen = 0;
        loop {
            if let Some(value) = frames.iter().skip(seen).find_map(&wanted) {
                return Ok(value);
            }
            seen = frames.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LabError::of(format!("waiting for a frame ({seen} others came)"))(Errno::ETIMEDOUT));
            }
            frames = self.frames.1.wait_timeout(frames, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes the frames so far as a pcap file with nanoseconds, for tshark.
    ///
    /// # Errors
    /// What writing the file gives.
    pub fn write_pcap(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        write_pcap(&mut file, &lock(&self.frames))?;
        file.flush()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(frames: &(Mutex<Vec<Frame>>, Condvar)) -> MutexGuard<'_, Vec<Frame>> {
    frames.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The socket hears every interface of its namespace (binding it would need `unsafe` code); the index tells ours.
fn open(interface: &str) -> io::Result<(OwnedFd, usize)> {
    let index = if_nametoindex(interface)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RcvBuf, &(8 << 20))?;
    Ok((socket, usize::try_from(index).map_err(|_| Errno::ENODEV)?))
}

/// Until the other end of `stopped` is closed.
fn record(socket: &OwnedFd, index: usize, stopped: &io::PipeReader, frames: &(Mutex<Vec<Frame>>, Condvar)) {
    let mut buffer = vec![0; 65536];
    loop {
        while let Ok(frame) = receive(socket, index, &mut buffer) {
            if let Some(frame) = frame {
                lock(frames).push(frame);
                frames.1.notify_all();
            }
        }
        let stop = PollFd::new(stopped.as_fd(), PollFlags::empty());
        let mut both = [PollFd::new(socket.as_fd(), PollFlags::POLLIN), stop];
        let _ = poll(&mut both, PollTimeout::NONE);
        let [_, stop] = both;
        if stop.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
            return;
        }
    }
}

/// `None` for a frame of another interface.
fn receive(socket: &OwnedFd, index: usize, buffer: &mut [u8]) -> nix::Result<Option<Frame>> {
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let (length, address) = (message.bytes, message.address);
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(time) => Some(SystemTime::UNIX_EPOCH + Duration::from(time)),
        _ => None,
    });
    let Some(address) = address.filter(|address| address.ifindex() == index) else {
        return Ok(None);
    };
    let (now, wall_now) = (Instant::now(), SystemTime::now());
    let wall = stamp.unwrap_or(wall_now);
    let at = now - wall_now.duration_since(wall).unwrap_or_default();
    let octets = buffer.get(..length).unwrap_or_default().to_vec();
    Ok(Some(Frame { at, wall, outgoing: address.pkttype() == PACKET_OUTGOING, octets }))
}

fn write_pcap(file: &mut impl Write, frames: &[Frame]) -> io::Result<()> {
    // Magic number for nanoseconds, version 2.4, UTC, no accuracy, whole frames, LINKTYPE_ETHERNET.
    for word in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 65536, 1_u32] {
        file.write_all(&word.to_le_bytes())?;
    }
    for frame in frames {
        let time = frame.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let length = number(frame.octets.len() as u64);
        for word in [number(time.as_secs()), time.subsec_nanos(), length, length] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame.octets)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(hex: &str) -> Frame {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let octets =
            digits.as_chunks::<2>().0.iter().map(|[high, low]| u8::try_from(high * 16 + low).unwrap()).collect();
        Frame { at: Instant::now(), wall: SystemTime::UNIX_EPOCH, outgoing: false, octets }
    }

    #[test]
    fn a_gratuitous_arp_announces_its_sender() {
        let frame =
            frame("ffffffffffff 00005e000133 0806 0001 0800 06 04 0001 00005e000133 c0000201 000000000000 c0000201");
        assert_eq!(frame.gratuitous_arp(), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(frame.source_mac(), Some([0, 0, 0x5e, 0, 1, 0x33]));
        assert_eq!(frame.ip(), None);
    }

    #[test]
    fn an_advertisement_is_found_without_its_padding() {
        let frame = frame(
            "01005e000012 02000000000a 0800 45c0 0020 0001 0000 ff70 0000 c000020a e0000012 31336401 0064 0000 c0000201 0000000000000000",
        );
        let vrrp = frame.vrrp().unwrap();
        assert_eq!((vrrp.source, vrrp.ttl, vrrp.payload.len()), (Ipv4Addr::new(192, 0, 2, 10).into(), 255, 12));
        assert_eq!(frame.arp(), None);
    }

    #[test]
    fn an_unsolicited_neighbour_advertisement_announces_its_target() {
        let frame = frame(
            "333300000001 02000000000a 86dd 60000000 0018 3a ff fe800000000000000000000000000001 ff020000000000000000000000000001 \
             88000000 20000000 20010db8000000000000000000000001",
        );
        assert_eq!(frame.unsolicited_na(), "2001:db8::1".parse().ok());
        assert_eq!(frame.gratuitous_arp(), None);
    }

    #[test]
    fn a_pcap_file_has_a_header_and_a_record_per_frame() {
        let mut file = Vec::new();
        write_pcap(&mut file, &[frame("0102"), frame("030405")]).unwrap();
        assert_eq!(file.len(), 24 + 16 + 2 + 16 + 3);
        assert!(file.ends_with(&[3, 0, 0, 0, 3, 0, 0, 0, 3, 4, 5]));
    }
}
