//! The raw sockets that adverts travel through (`behaviour.md` §3.2): one that receives for each family, protocol, link
//! or VRF, and group or unicast source; one that sends for each family. Opening and changing them may wait inside the
//! kernel, so the kernel thread does it; the advert thread only reads and writes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use vrrp_proto::{Family, Instant, RouterId};

use super::filter::{self, Vrids};
use crate::config::vrrp::Room;
use crate::os::{Outbound, Via};

/// A protocol that is only ever sent: the kernel delivers nothing to such a socket and takes the IP header from us.
const SEND_ONLY: i32 = 255;

/// The largest packet that is read whole: the largest advert has 255 IPv6 addresses.
pub(crate) const LARGEST_PACKET: usize = 8192;

/// Room for the adverts of some thousand routers that a slow link has not taken yet.
const SEND_BUFFER: usize = 4 << 20;

/// What tells one receive socket from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The kernel's number of the link.
    pub(crate) link: u32,
    /// The number of the VRF that a unicast source belongs to; 0 for none and for a group, whose link is enough.
    pub(crate) vrf: u32,
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

impl Place {
    /// The link that both directions are bound to: that of the group, or the VRF of the unicast source; 0 for none.
    pub(crate) fn device(&self) -> u32 {
        if self.address.is_multicast() { self.link } else { self.vrf }
    }

    /// Its family.
    pub(crate) fn family(&self) -> Family {
        Family::of(&self.address)
    }

    /// How a packet from `source` to `destination` leaves.
    fn via(&self, source: IpAddr, destination: IpAddr) -> Via {
        let link_local = matches!(destination, IpAddr::V6(ip) if ip.is_unicast_link_local());
        Via { link: if link_local { self.link } else { self.device() }, source }
    }
}

/// What a receive socket is told by the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listening {
    /// The VRIDs of the routers that use it.
    pub(crate) vrids: Vrids,
    /// `log_unknown_vrids`: adverts for others wake the process too.
    pub(crate) hears_all: bool,
    /// Room for so many octets as the kernel counts them: some 800 for a small advert.
    pub(crate) room: usize,
}

/// Room in the receive buffer of a socket unless the configuration says otherwise: for some thousand adverts while the
/// advert thread is kept waiting. keepalived leaves it at the host's `rmem_default`, usually a fifth of it.
const RECEIVE_BUFFER: u64 = 1 << 20;

/// The largest buffer that the kernel can be asked for.
const LARGEST_BUFFER: u64 = 1 << 30;

/// The receive buffer of one socket, from what its instances ask for.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    sum: u64,
    /// At least this, whatever the sum is.
    least: u64,
}

impl Rooms {
    /// Adds an instance on a link of that MTU.
    pub(crate) fn add(&mut self, room: Room, mtu: Option<u32>) {
        match room {
            Room::Default => self.least = self.least.max(RECEIVE_BUFFER),
            Room::Socket(octets) => self.least = self.least.max(octets.into()),
            Room::Instance(octets) => self.sum = self.sum.saturating_add(octets),
            Room::Mtu(packets) => {
                let octets = u64::from(mtu.unwrap_or_default()).saturating_mul(packets.into());
                self.sum = self.sum.saturating_add(octets);
            }
        }
    }

    /// Its size in octets.
    pub(crate) fn octets(&self) -> usize {
        usize::try_from(self.sum.max(self.least).min(LARGEST_BUFFER)).unwrap_or(usize::MAX)
    }
}

/// The first line about losses is written at once, the next ones at most so often.
const LOSSES_PAUSE: Duration = Duration::from_secs(60);

/// What a socket has lost for want of room.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    said: u32,
    quiet_until: Option<Instant>,
}

impl Losses {
    /// The socket has lost `total` since it was opened, a number that wraps. How many of these are to be logged now.
    pub(crate) fn note(&mut self, now: Instant, total: u32) -> Option<u32> {
        let new = total.wrapping_sub(self.said);
        if new == 0 || self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.said = total;
        self.quiet_until = Some(now + LOSSES_PAUSE);
        Some(new)
    }
}

/// A socket that receives from a place.
#[derive(Debug)]
pub(crate) struct ReceiveSocket {
    place: Place,
    /// The link that it was opened for, by name; empty for unicast without one.
    name: String,
    socket: Socket,
}

impl ReceiveSocket {
    /// Opens it on the link or VRF `device`, whose number is that of [`Place::device`]; the link of the place is `name`.
    /// What it lets through from its first packet on is what `listening` says.
    ///
    /// # Errors
    /// The refused call, the place and the kernel's reason.
    pub(crate) fn open(place: Place, name: &str, device: &str, listening: &Listening) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<Self> {
            let socket = raw_socket(place.address, place.carrier.number())?;
            let receive = Self { place, name: name.to_owned(), socket };
            receive.listen(listening)?;
            open_receive(&receive.socket, place, device)?;
            Ok(receive)
        };
        open().with_context(|| format!("opening a socket for {} on {name}", place.address))
    }

    /// One whose packets a test sends, each with its IP header.
    #[cfg(test)]
    pub(crate) fn of(place: Place, socket: Socket) -> Self {
        Self { place, name: String::new(), socket }
    }

    /// Follows another configuration. May wait inside the kernel.
    ///
    /// # Errors
    /// The refused call and the kernel's reason.
    pub(crate) fn listen(&self, listening: &Listening) -> anyhow::Result<()> {
        set_receive_buffer(&self.socket, listening.room).context("setting the receive buffer")?;
        if listening.hears_all {
            return match self.socket.detach_filter() {
                // There was none.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other.context("SO_DETACH_FILTER"),
            };
        }
        let program = filter::program(self.place.family(), self.place.carrier, listening.vrids);
        let program: Vec<_> =
            program.into_iter().map(|it| SockFilter::new(it.code, it.jumps[0], it.jumps[1], it.number)).collect();
        self.socket.attach_filter(&program).context("SO_ATTACH_FILTER")
    }

    /// Where it leads.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The link that it was opened for; empty for unicast without one.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As keepalived lists its sockets in a detailed log; `send` is the descriptor that sends there.
    pub(crate) fn describe(&self, send: RawFd) -> String {
        let Place { link, address, carrier, .. } = self.place;
        let protocol = carrier.number();
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let cast = if address.is_multicast() { "multicast" } else { ", unicast" };
        let receive = self.socket.as_raw_fd();
        format!(
            "VRRP sockpool: [ifindex({link:3}), family({family}), proto({protocol}), fd({receive},{send}) {cast}, address({address})]"
        )
    }
}

impl AsFd for ReceiveSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The socket that sends all adverts of a family, each with its IP header and by the link that it names.
#[derive(Debug)]
pub(crate) struct SendSocket {
    family: Family,
    socket: Socket,
}

impl SendSocket {
    /// Opens it.
    ///
    /// # Errors
    /// The refused call and the kernel's reason.
    pub(crate) fn open(family: Family) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<Socket> {
            let any = match family {
                Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
                Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = raw_socket(any, SEND_ONLY)?;
            match family {
                Family::Ipv4 => {
                    socket.set_header_included_v4(true).context("IP_HDRINCL")?;
                    socket.set_multicast_loop_v4(false).context("IP_MULTICAST_LOOP")?;
                }
                Family::Ipv6 => {
                    socket.set_header_included_v6(true).context("IPV6_HDRINCL")?;
                    socket.set_multicast_loop_v6(false).context("IPV6_MULTICAST_LOOP")?;
                    // The source may be an address that the host does not have on that link.
                    socket.set_freebind_v6(true).context("IPV6_FREEBIND")?;
                }
            }
            set_send_buffer(&socket, SEND_BUFFER).context("setting the send buffer")?;
            Ok(socket)
        };
        let socket = open().with_context(|| format!("opening a socket to send adverts over {family:?}"))?;
        Ok(Self { family, socket })
    }

    /// Its descriptor, for a detailed log.
    pub(crate) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The adverts of a family that wait to leave together, and their socket.
#[derive(Debug)]
pub(crate) struct Departures {
    socket: SendSocket,
    waiting: Outbound,
    /// Whose each is that waits, in their order.
    routers: Vec<RouterId>,
}

impl Departures {
    /// None yet.
    pub(crate) fn new(socket: SendSocket) -> Self {
        Self { socket, waiting: Outbound::default(), routers: Vec::new() }
    }

    /// Their family.
    pub(crate) fn family(&self) -> Family {
        self.socket.family
    }

    /// Adds a packet of `router` that `emit` appends, with its IP header, to those that leave with the next
    /// [`send`](Self::send).
    ///
    /// # Errors
    /// Those of `emit`; nothing is added then.
    pub(crate) fn add<E>(
        &mut self,
        router: RouterId,
        place: &Place,
        [source, destination]: [IpAddr; 2],
        emit: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Err(error) = emit(self.waiting.octets()) {
            self.waiting.forget();
            return Err(error);
        }
        self.waiting.push(scoped(destination, place.link), place.via(source, destination));
        self.routers.push(router);
        Ok(())
    }

    /// Sends what waits, without waiting itself. What the kernel refuses goes to `refused` and does not stop the others.
    pub(crate) fn send(&mut self, mut refused: impl FnMut(RouterId, io::Error)) {
        if self.waiting.is_empty() {
            return;
        }
        let routers = &self.routers;
        self.waiting.send(self.socket.socket.as_fd(), |number, error| {
            if let Some(router) = routers.get(number) {
                refused(*router, error);
            }
        });
        self.routers.clear();
    }
}

fn open_receive(socket: &Socket, place: Place, device: &str) -> anyhow::Result<()> {
    setsockopt(socket, sockopt::RxqOvfl, &1).context("SO_RXQ_OVFL")?;
    setsockopt(socket, sockopt::ReceiveTimestampns, &true).context("SO_TIMESTAMPNS")?;
    if !device.is_empty() {
        socket.bind_device(Some(device.as_bytes())).context("SO_BINDTODEVICE")?;
    }
    match place.address {
        IpAddr::V4(group) if group.is_multicast() => {
            socket.set_multicast_all_v4(false).context("IP_MULTICAST_ALL")?;
            rustix::net::sockopt::set_ip_add_membership_with_ifindex(
                socket,
                &group,
                &Ipv4Addr::UNSPECIFIED,
                place.link,
            )
            .context("IP_ADD_MEMBERSHIP")?;
        }
        IpAddr::V4(_) => socket.set_freebind_v4(true).context("IP_FREEBIND")?,
        IpAddr::V6(group) => {
            setsockopt(socket, sockopt::Ipv6RecvHopLimit, &true).context("IPV6_RECVHOPLIMIT")?;
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true).context("IPV6_RECVPKTINFO")?;
            if group.is_multicast() {
                socket.set_multicast_all_v6(false).context("IPV6_MULTICAST_ALL")?;
                socket.join_multicast_v6(&group, place.link).context("IPV6_JOIN_GROUP")?;
            } else {
                socket.set_freebind_v6(true).context("IPV6_FREEBIND")?;
            }
        }
    }
    socket.bind(&scoped(place.address, place.link).into()).context("bind")?;
    discard_early(socket);
    Ok(())
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

/// Beyond `wmem_max` where the capability allows it.
fn set_send_buffer(socket: &Socket, octets: usize) -> io::Result<()> {
    rustix::net::sockopt::set_socket_send_buffer_size_force(socket, octets)
        .or_else(|_| rustix::net::sockopt::set_socket_send_buffer_size(socket, octets))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_on_one_socket_add_their_room() {
        let octets = |rooms: &[Room]| {
            let mut all = Rooms::default();
            for room in rooms {
                all.add(*room, Some(1500));
            }
            all.octets()
        };
        assert_eq!(octets(&[Room::Default, Room::Default]), 1 << 20);
        assert_eq!(octets(&[Room::Mtu(3), Room::Mtu(3)]), 9000);
        assert_eq!(octets(&[Room::Instance(50_000), Room::Instance(60_000)]), 110_000);
        assert_eq!(octets(&[Room::Socket(100_000), Room::Socket(100_000)]), 100_000);
        assert_eq!(octets(&[Room::Default, Room::Instance(10)]), 1 << 20);
        assert_eq!(octets(&[Room::Instance(u64::MAX), Room::Mtu(u32::MAX)]), 1 << 30);
        assert_eq!(octets(&[Room::Socket(0)]), 0);
    }

    #[test]
    fn losses_are_said_at_once_and_then_once_a_minute() {
        let mut losses = Losses::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(losses.note(at(0), 0), None);
        assert_eq!(losses.note(at(1), 5), Some(5));
        assert_eq!(losses.note(at(2), 9), None);
        assert_eq!(losses.note(at(60), 12), None);
        assert_eq!(losses.note(at(61), 12), Some(7));
        assert_eq!(losses.note(at(200), 12), None);
        losses.said = u32::MAX;
        assert_eq!(losses.note(at(201), 1), Some(2));
    }

    #[test]
    fn a_link_is_named_where_the_routes_could_take_another_one() {
        let place = |address: &str| {
            let carrier = Carrier::Vrrp;
            Place { link: 7, vrf: 3, address: address.parse().unwrap(), carrier }
        };
        let link = |own: &str, to: &str| {
            let source = if own.contains(':') { "fe80::1" } else { "192.0.2.1" };
            place(own).via(source.parse().unwrap(), to.parse().unwrap()).link
        };
        assert_eq!(link("224.0.0.18", "224.0.0.18"), 7);
        assert_eq!(link("ff02::12", "ff02::12"), 7);
        assert_eq!(link("192.0.2.1", "192.0.2.2"), 3);
        assert_eq!(link("fe80::1", "fe80::2"), 7);
        assert_eq!(link("2001:db8::1", "2001:db8::2"), 3);
    }
}
