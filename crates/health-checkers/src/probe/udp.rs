//! keepalived's `UDP_CHECK`: a server is usable if it does not refuse a datagram, or if it answers one as expected.

use async_trait::async_trait;
use tokio::time;

use super::{Connect, Context, Probe};
use crate::outcome::{Failure, Note, Outcome, Reason};

/// Settings of a `UDP_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where and how to send.
    pub connect: Connect,
    /// What to send (`payload`).
    pub payload: Vec<u8>,
    /// What must come back (`require_reply`); `None`: nothing need come back.
    pub require_reply: Option<Reply>,
}

impl Config {
    /// What keepalived sends unless there is a `payload`: a text of 18 octets, up to the 32nd octet.
    pub const PAYLOAD: &'static [u8; 32] = b"keepalived check - keepalived ch";

    /// Sends what keepalived sends and requires no reply.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self { connect, payload: Self::PAYLOAD.to_vec(), require_reply: None }
    }
}

/// What a reply has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What it begins with; empty: anything.
    pub pattern: Vec<ReplyByte>,
    /// Octets it has at least (`min_reply_length`).
    pub min_length: u16,
    /// Octets it has at most (`max_reply_length`).
    pub max_length: u16,
}

impl Default for Reply {
    /// Any reply that keepalived takes by default: of up to 255 octets.
    fn default() -> Self {
        Self { pattern: Vec::new(), min_length: 0, max_length: 255 }
    }
}

impl Reply {
    /// Holds `octets` against it.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self, octets: &[u8]) -> Result<(), ReplyError> {
        let length = octets.len();
        if !(usize::from(self.min_length)..=usize::from(self.max_length)).contains(&length) {
            return Err(ReplyError::Length(length));
        }
        if length < self.pattern.len() {
            return Err(ReplyError::Short { length, expected: self.pattern.len() });
        }
        let differs = |(octet, expected): (&u8, &ReplyByte)| (octet ^ expected.value) & expected.mask != 0;
        octets.iter().zip(&self.pattern).position(differs).map_or(Ok(()), |offset| Err(ReplyError::Octet(offset)))
    }
}

/// One octet of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyByte {
    /// What it must be where `mask` has ones.
    pub value: u8,
    /// The bits that count.
    pub mask: u8,
}

/// Why a reply is not the one that is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// It has too few octets or too many.
    #[error("a reply of {0} octets")]
    Length(usize),
    /// It ends within the pattern.
    #[error("a reply of {length} octets, fewer than the {expected} to compare")]
    Short {
        /// Octets of the reply.
        length: usize,
        /// Octets of the pattern.
        expected: usize,
    },
    /// The octet at this offset is another one.
    #[error("another octet at offset {0} of the reply")]
    Octet(usize),
}

/// Sends one datagram, and waits for what comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udp {
    config: Config,
}

impl Udp {
    /// What messages call such a check.
    pub const KIND: &str = "UDP_CHECK";

    /// A check with these settings.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config }
    }

    async fn ask(&self) -> Result<(), Failure> {
        let Config { connect, payload, require_reply } = &self.config;
        let failed = |error: &dyn std::fmt::Display| Failure::with_detail(Reason::UdpFailed, error);
        let socket = connect.open_udp().map_err(|error| failed(&error))?;
        socket.send(payload).await.map_err(|error| failed(&error))?;
        // One octet more than may come, to see that it is too much; of more the kernel throws the rest away.
        let most = require_reply.as_ref().map_or(0, |reply| usize::from(reply.max_length));
        let mut buffer = vec![0; most + 1];
        match (time::timeout(connect.connect_timeout, socket.recv(&mut buffer)).await, require_reply) {
            (Ok(Err(error)), _) => Err(failed(&error)),
            (Ok(Ok(_)) | Err(_), None) => Ok(()),
            (Ok(Ok(length)), Some(reply)) => {
                let octets = buffer.get(..length).unwrap_or_default();
                reply.check(octets).map_err(|error| Failure::with_detail(Reason::UdpReply, error))
            }
            (Err(_elapsed), Some(_)) => Err(Failure::new(Reason::UdpTimeout)),
        }
    }
}

#[async_trait]
impl Probe for Udp {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn run(&self, _: &Context) -> Outcome {
        self.ask().await.map(|()| vec![Note::Udp]).into()
    }
}

#[cfg(test)]
mod tests;
