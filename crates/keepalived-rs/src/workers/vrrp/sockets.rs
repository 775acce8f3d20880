//! The raw sockets that adverts travel through: one pair per link, family, and group or unicast source
//! (`behaviour.md` §3.2). Opening a pair may wait inside the kernel, so the kernel thread does it; the advert thread
//! only reads and writes.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::Context as _;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sockopt};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};

/// A protocol that is only ever sent: the kernel delivers nothing to such a socket and takes the IP header from us.
const SEND_ONLY: i32 = 255;

/// The largest packet that is read whole: the largest advert has 255 IPv6 addresses.
pub(crate) const LARGEST_PACKET: usize = 8192;

/// What tells one pair of sockets from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The kernel's number of the link.
    pub(crate) link: u32,
    /// The multicast group, or our own address for unicast.
    pub(crate) address: IpAddr,
    /// What follows the IP header.
    pub(crate) carrier: Carrier,
}

/// What follows the IP header of an advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Carrier {
    /// The advert (RFC 9568 §5.1.1.4).
    Vrrp,
    /// An authentication header (RFC 2338 §5.3.6.3).
    Ah,
}

impl Carrier {
    /// Its number in IP headers.
    fn number(self) -> i32 {
        match self {
            Self::Vrrp => 112,
            Self::Ah => 51,
        }
    }
}

/// One packet as it came.
#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    /// IPv4: with the IP header; IPv6: without.
    pub(crate) octets: &'a [u8],
    /// What the kernel says beside the packet, which for IPv4 stands in its header.
    pub(crate) ipv6: Option<Ipv6Meta>,
}

/// What an IPv6 raw socket delivers beside the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ipv6Meta {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) hop_limit: u8,
}

/// A socket that receives from a place and one that sends to it.
#[derive(Debug)]
pub(crate) struct SocketPair {
    place: Place,
    receive: Socket,
    send: Socket,
}

impl SocketPair {
    /// Opens both sockets on the link `name`, whose number is in `place`.
    ///
    /// # Errors
    /// The refused call, the place and the kernel's reason.
    pub(crate) fn open(place: Place, name: &str, receive_buffer: usize) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<Self> {
            let receive = open_receive(place, name, receive_buffer)?;
            Ok(Self { place, receive, send: open_send(place, name)? })
        };
        open().with_context(|| format!("opening sockets for {} on {name}", place.address))
    }

    /// Where it leads.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// As keepalived lists its sockets in a detailed log.
    pub(crate) fn describe(&self) -> String {
        let Place { link, address, carrier } = self.place;
        let protocol = carrier.number();
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let cast = if address.is_multicast() { "multicast" } else { ", unicast" };
        let (receive, send) = (self.receive.as_raw_fd(), self.send.as_raw_fd());
        format!(
            "VRRP sockpool: [ifindex({link:3}), family({family}), proto({protocol}), fd({receive},{send}) {cast}, address({address})]"
        )
    }

    /// The next packet, `None` when nothing waits.
    ///
    /// # Errors
    /// The kernel's reason, such as a link that is gone.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<Datagram<'a>>> {
        let received = match self.place.address {
            IpAddr::V4(_) => self.receive_v4(buffer),
            IpAddr::V6(_) => self.receive_v6(buffer),
        };
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => other.map(Some),
        }
    }

    fn receive_v4<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Datagram<'a>> {
        let (_, length) = rustix::net::recv(&self.receive, &mut *buffer, RecvFlags::DONTWAIT)?;
        Ok(Datagram { octets: buffer.get(..length).unwrap_or_default(), ipv6: None })
    }

    fn receive_v6<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Datagram<'a>> {
        let mut space = cmsg_space!(i32, nix::libc::in6_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<SockaddrIn6>(self.receive.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
        let mut meta = Ipv6Meta {
            source: message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip()),
            destination: Ipv6Addr::UNSPECIFIED,
            hop_limit: 0,
        };
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv6HopLimit(limit) => meta.hop_limit = u8::try_from(limit).unwrap_or(0),
                ControlMessageOwned::Ipv6PacketInfo(info) => meta.destination = info.ipi6_addr.s6_addr.into(),
                _ => {}
            }
        }
        let length = message.bytes;
        Ok(Datagram { octets: buffer.get(..length).unwrap_or_default(), ipv6: Some(meta) })
    }

    /// Sends `packet`, which begins with its IP header.
    ///
    /// # Errors
    /// The kernel's reason; `WouldBlock` when the link's queue is full.
    pub(crate) fn send(&self, packet: &[u8], destination: IpAddr) -> io::Result<()> {
        let to = scoped(destination, self.place.link);
        rustix::net::sendto(&self.send, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &to)?;
        Ok(())
    }
}

impl AsFd for SocketPair {
    /// The receiving socket.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receive.as_fd()
    }
}

fn open_receive(place: Place, name: &str, buffer: usize) -> anyhow::Result<Socket> {
    let socket = raw_socket(place.address, place.carrier.number())?;
    set_receive_buffer(&socket, buffer).context("setting the receive buffer")?;
    match place.address {
        IpAddr::V4(group) if group.is_multicast() => {
            socket.set_multicast_all_v4(false).context("IP_MULTICAST_ALL")?;
            socket.bind_device(Some(name.as_bytes())).context("SO_BINDTODEVICE")?;
            rustix::net::sockopt::set_ip_add_membership_with_ifindex(
                &socket,
                &group,
                &Ipv4Addr::UNSPECIFIED,
                place.link,
            )
            .context("IP_ADD_MEMBERSHIP")?;
        }
        IpAddr::V4(_) => socket.set_freebind_v4(true).context("IP_FREEBIND")?,
        IpAddr::V6(group) => {
            nix::sys::socket::setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true).context("IPV6_RECVHOPLIMIT")?;
            nix::sys::socket::setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).context("IPV6_RECVPKTINFO")?;
            if group.is_multicast() {
                socket.set_multicast_all_v6(false).context("IPV6_MULTICAST_ALL")?;
                socket.bind_device(Some(name.as_bytes())).context("SO_BINDTODEVICE")?;
                socket.join_multicast_v6(&group, place.link).context("IPV6_JOIN_GROUP")?;
            } else {
                socket.set_freebind_v6(true).context("IPV6_FREEBIND")?;
            }
        }
    }
    socket.bind(&scoped(place.address, place.link).into()).context("bind")?;
    discard_early(&socket);
    Ok(socket)
}

fn open_send(place: Place, name: &str) -> anyhow::Result<Socket> {
    let socket = raw_socket(place.address, SEND_ONLY)?;
    match place.address {
        IpAddr::V4(address) => {
            socket.set_header_included_v4(true).context("IP_HDRINCL")?;
            if address.is_multicast() {
                socket.bind_device(Some(name.as_bytes())).context("SO_BINDTODEVICE")?;
                rustix::net::sockopt::set_ip_multicast_if_with_ifindex(
                    &socket,
                    &Ipv4Addr::UNSPECIFIED,
                    &Ipv4Addr::UNSPECIFIED,
                    place.link,
                )
                .context("IP_MULTICAST_IF")?;
            }
            socket.set_multicast_loop_v4(false).context("IP_MULTICAST_LOOP")?;
        }
        IpAddr::V6(address) => {
            socket.set_header_included_v6(true).context("IPV6_HDRINCL")?;
            if address.is_multicast() {
                socket.bind_device(Some(name.as_bytes())).context("SO_BINDTODEVICE")?;
                socket.set_multicast_if_v6(place.link).context("IPV6_MULTICAST_IF")?;
            }
            socket.set_multicast_loop_v6(false).context("IPV6_MULTICAST_LOOP")?;
        }
    }
    Ok(socket)
}

fn raw_socket(address: IpAddr, protocol: i32) -> anyhow::Result<Socket> {
    let domain = match address {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    };
    let kind = Type::RAW.nonblocking().cloexec();
    Socket::new_raw(domain, kind, Some(Protocol::from(protocol))).context("opening a raw socket")
}

/// Beyond `rmem_max` where the capability allows it.
fn set_receive_buffer(socket: &Socket, octets: usize) -> io::Result<()> {
    rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, octets)
        .or_else(|_| rustix::net::sockopt::set_socket_recv_buffer_size(socket, octets))?;
    Ok(())
}

/// Throws away what came in before the socket was bound: from any link, to any group.
fn discard_early(socket: &Socket) {
    let mut buffer = [0; 1];
    while rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT).is_ok() {}
}

/// The kernel wants the link beside a link-local IPv6 address.
fn scoped(address: IpAddr, link: u32) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::new(address, 0),
        IpAddr::V6(ip) if ip.is_multicast() || ip.is_unicast_link_local() => SocketAddrV6::new(ip, 0, 0, link).into(),
        IpAddr::V6(_) => SocketAddr::new(address, 0),
    }
}
