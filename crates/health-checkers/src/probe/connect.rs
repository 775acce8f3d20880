//! Connections with a checker's common options.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    time,
};

use crate::outcome::{Failure, Reason};

/// Where and how a checker connects: the options that all of keepalived's checkers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Address and port to try (`connect_ip`, `connect_port`).
    pub target: SocketAddr,
    /// Local address (`bindto`); `None`: the kernel's choice.
    pub bindto: Option<IpAddr>,
    /// Local port, from 1 (`bind_port`); `None`: the kernel's choice.
    ///
    /// Such a TCP connection is closed with a reset, since a port that waits out an old connection could not be used for
    /// the next one to the same server.
    pub bind_port: Option<u16>,
    /// Local interface by name (`bind_if`).
    pub bind_if: Option<String>,
    /// Mark on the packets sent (`fwmark`), 0: none. Needs CAP_NET_ADMIN.
    pub fwmark: u32,
    /// Longest time to connect, and longest silence of the server afterwards (`connect_timeout`).
    /// Of a datagram: longest time until its reply.
    pub connect_timeout: Duration,
}

impl Connect {
    /// To `target` without options, with keepalived's `connect_timeout` of 5 s.
    #[must_use]
    pub const fn to(target: SocketAddr) -> Self {
        Self {
            target,
            bindto: None,
            bind_port: None,
            bind_if: None,
            fwmark: 0,
            connect_timeout: Duration::from_secs(5),
        }
    }

    /// Connects without blocking.
    pub(super) async fn open(&self) -> Result<TcpStream, ConnectError> {
        let socket = self.stream_socket().map_err(ConnectError::Local)?;
        match time::timeout(self.connect_timeout, socket.connect(self.target)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(ConnectError::Timeout),
            Ok(Err(error)) if is_remote(&error) => Err(ConnectError::Remote(error)),
            Ok(Err(error)) => Err(ConnectError::Local(error)),
            Err(_elapsed) => Err(ConnectError::Timeout),
        }
    }

    fn stream_socket(&self) -> io::Result<TcpSocket> {
        let socket = self.socket(Type::STREAM, Protocol::TCP)?;
        if self.bind_port.is_some() {
            socket.set_reuse_address(true)?;
            socket.set_linger(Some(Duration::ZERO))?;
        }
        if let Some(local) = self.local_address() {
            socket.bind(&local.into())?;
        }
        Ok(TcpSocket::from_std_stream(socket.into()))
    }

    /// A UDP socket that sends to the target and hears of it alone, ICMP errors included.
    pub(super) fn open_udp(&self) -> io::Result<UdpSocket> {
        let socket = self.socket(Type::DGRAM, Protocol::UDP)?;
        if let Some(local) = self.local_address() {
            socket.bind(&local.into())?;
        }
        self.connect_datagrams(socket)
    }

    /// A socket that sends ICMP echoes to the target and hears of it alone, ICMP errors included; and whether it is a raw
    /// one, which receives all ICMP messages of the target, IPv4 ones with their IP header.
    pub(super) fn open_echo(&self) -> io::Result<(UdpSocket, bool)> {
        let protocol = match self.target {
            SocketAddr::V4(_) => Protocol::ICMPV4,
            SocketAddr::V6(_) => Protocol::ICMPV6,
        };
        let (socket, is_raw) = match self.socket(Type::DGRAM, protocol) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (self.socket(Type::RAW, protocol)?, true),
            opened => (opened?, false),
        };
        if let Some(local) = self.bindto {
            socket.bind(&SocketAddr::new(local, 0).into())?;
        }
        Ok((self.connect_datagrams(socket)?, is_raw))
    }

    fn connect_datagrams(&self, socket: Socket) -> io::Result<UdpSocket> {
        // Without it the kernel keeps it to itself that a host or network cannot be reached.
        match self.target {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        socket.connect(&self.target.into())?;
        UdpSocket::from_std(socket.into())
    }

    /// A socket with the options that do not depend on its kind.
    fn socket(&self, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.target), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if let Some(interface) = &self.bind_if {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if self.fwmark != 0 {
            socket.set_mark(self.fwmark)?;
        }
        Ok(socket)
    }

    fn local_address(&self) -> Option<SocketAddr> {
        if self.bindto.is_none() && self.bind_port.is_none() {
            return None;
        }
        let any = match self.target {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        };
        Some(SocketAddr::new(self.bindto.unwrap_or(any), self.bind_port.unwrap_or(0)))
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// Nobody answered in time.
    Timeout,
    /// The server or the network refused.
    Remote(io::Error),
    /// This host could not try.
    Local(io::Error),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Timeout => Self::new(Reason::ConnectTimeout),
            ConnectError::Remote(error) => Self::with_detail(Reason::ConnectFailed, error),
            ConnectError::Local(error) => Self::with_detail(Reason::ConnectError, error),
        }
    }
}

fn is_remote(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
