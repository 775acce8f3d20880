//! keepalived's `PING_CHECK`: a server is usable if it answers an ICMP echo.

use std::{io, net::SocketAddr};

use async_trait::async_trait;
use tokio::time::{self, Instant};

use self::echo::{Echo, Family, ip_payload};
use super::{Connect, Context, Probe, random};
use crate::outcome::{Failure, Note, Outcome, Reason};

pub mod echo;

/// Octets after the header of the message: 64 with it.
const PAYLOAD: &[u8; 56] = b"keepalived check - keepalived check - keepalived check -";

/// Longer than every reply to our request with an IPv4 header before it; of others the kernel throws the rest away.
const BUFFER: usize = 256;

/// Sends one echo request, and waits for its reply.
///
/// With a socket that may send nothing else where the host lets this process have one (`net.ipv4.ping_group_range`),
/// else with a raw one, which needs CAP_NET_RAW. keepalived widens that range instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    connect: Connect,
}

impl Ping {
    /// What messages call such a check.
    pub const KIND: &str = "ICMP CHECK";

    /// A check of `connect`, whose ports mean nothing.
    #[must_use]
    pub const fn new(connect: Connect) -> Self {
        Self { connect }
    }

    async fn ask(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.connect.connect_timeout;
        let failed = |error: io::Error| Failure::with_detail(Reason::PingFailed, error);
        let (socket, is_raw) = self.connect.open_echo().map_err(failed)?;
        let [.., i0, i1, s0, s1] = random();
        let request = Echo { identifier: u16::from_be_bytes([i0, i1]), sequence: u16::from_be_bytes([s0, s1]) };
        let mut message = Vec::new();
        request.emit(self.family(), PAYLOAD, &mut message);
        socket.send(&message).await.map_err(failed)?;
        let mut buffer = [0; BUFFER];
        loop {
            let length = match time::timeout_at(deadline, socket.recv(&mut buffer)).await {
                Ok(Ok(length)) => length,
                Ok(Err(error)) => return Err(failed(error)),
                Err(_elapsed) => return Err(Failure::new(Reason::PingTimeout)),
            };
            // The time-out polls the socket first: only this ends a server that always has more.
            if Instant::now() >= deadline {
                return Err(Failure::new(Reason::PingTimeout));
            }
            if self.is_reply(buffer.get(..length).unwrap_or_default(), request, is_raw) {
                return Ok(());
            }
        }
    }

    /// Whether these octets are what the server sends back for `request`.
    fn is_reply(&self, octets: &[u8], request: Echo, is_raw: bool) -> bool {
        let family = self.family();
        let message = if is_raw && family == Family::Inet { ip_payload(octets) } else { Some(octets) };
        let reply = message.and_then(|message| Echo::parse_reply(family, message));
        // The kernel has put an identifier of its own into what was not sent raw, and looks at it by itself.
        reply.is_some_and(|reply| reply.sequence == request.sequence && (!is_raw || reply == request))
    }

    fn family(&self) -> Family {
        match self.connect.target {
            SocketAddr::V4(_) => Family::Inet,
            SocketAddr::V6(_) => Family::Inet6,
        }
    }
}

#[async_trait]
impl Probe for Ping {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn run(&self, _: &Context) -> Outcome {
        self.ask().await.map(|()| vec![Note::Ping]).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Echo = Echo { identifier: 0x1234, sequence: 0x5678 };

    fn reply(family: Family, echo: Echo) -> Vec<u8> {
        let mut message = Vec::new();
        echo.emit_reply(family, PAYLOAD, &mut message);
        message
    }

    /// With a header of 24 octets.
    fn packet(message: &[u8]) -> Vec<u8> {
        [&[0x46][..], &[0; 23], message].concat()
    }

    #[test]
    fn the_message_has_64_octets() {
        let mut message = Vec::new();
        REQUEST.emit(Family::Inet, PAYLOAD, &mut message);
        assert_eq!(message.len(), 64);
    }

    #[test]
    fn only_the_reply_to_the_own_request_counts() {
        let v4 = Ping::new(Connect::to("192.0.2.1:0".parse().unwrap()));
        let v6 = Ping::new(Connect::to("[2001:db8::1]:0".parse().unwrap()));
        let (inet, inet6) = (reply(Family::Inet, REQUEST), reply(Family::Inet6, REQUEST));
        assert!(v4.is_reply(&packet(&inet), REQUEST, true) && v4.is_reply(&inet, REQUEST, false));
        assert!(v6.is_reply(&inet6, REQUEST, true) && v6.is_reply(&inet6, REQUEST, false));
        assert!(!v4.is_reply(&inet, REQUEST, true), "without the header");
        let other = Echo { sequence: 7, ..REQUEST };
        assert!(!v4.is_reply(&packet(&inet), other, true) && !v4.is_reply(&inet, other, false));
        assert!(!v6.is_reply(&inet6, other, true) && !v6.is_reply(&inet6, other, false));
        // That of another process on this host.
        let other = Echo { identifier: 7, ..REQUEST };
        assert!(!v4.is_reply(&packet(&inet), other, true) && !v6.is_reply(&inet6, other, true));
        assert!(v4.is_reply(&inet, other, false), "the kernel has another identifier");
        // What was sent comes by at the loopback interface.
        let mut request = Vec::new();
        REQUEST.emit(Family::Inet, PAYLOAD, &mut request);
        assert!(!v4.is_reply(&packet(&request), REQUEST, true));
    }
}
