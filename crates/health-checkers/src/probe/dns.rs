//! keepalived's `DNS_CHECK`: a server is usable if it answers a query without an error.

use std::io;

use async_trait::async_trait;
use nix::errno::Errno;
use tokio::time::{self, Instant};

use self::message::{Name, Query, Rcode, RecordType, response_code};
use super::{Connect, Context, Probe, random};
use crate::outcome::{Failure, Outcome, Reason};

pub mod message;

/// Settings of a `DNS_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where and how to send.
    pub connect: Connect,
    /// `type` of the record asked for.
    pub record: RecordType,
    /// `name` asked for.
    pub name: Name,
}

impl Config {
    /// Asks for what keepalived asks for: the start of authority of the root.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self { connect, record: RecordType::SOA, name: Name::ROOT }
    }
}

/// Sends one query by UDP, and waits for its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    config: Config,
}

impl Dns {
    /// What messages call such a check.
    pub const KIND: &str = "DNS_CHECK";

    /// A check with these settings.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config }
    }

    async fn ask(&self) -> Result<(), Failure> {
        let Config { connect, record, name } = &self.config;
        let deadline = Instant::now() + connect.connect_timeout;
        let socket = connect.open_udp().map_err(failed)?;
        let [.., high, low] = random();
        let id = u16::from_be_bytes([high, low]);
        let mut query = Vec::new();
        Query { id, name, record: *record }.emit(&mut query);
        socket.send(&query).await.map_err(failed)?;
        // Of a response its header counts; of the rest the kernel throws away what is too long.
        let mut buffer = [0; message::HEADER_LENGTH];
        loop {
            let length = match time::timeout_at(deadline, socket.recv(&mut buffer)).await {
                Ok(Ok(length)) => length,
                Ok(Err(error)) => return Err(failed(error)),
                Err(_elapsed) => return Err(Failure::new(Reason::DnsTimeout)),
            };
            // The time-out above polls the socket first: only this ends a server that always has more.
            if Instant::now() >= deadline {
                return Err(Failure::new(Reason::DnsTimeout));
            }
            match response_code(buffer.get(..length).unwrap_or_default(), id) {
                Some(Rcode::NO_ERROR) => return Ok(()),
                Some(code) => return Err(Failure::with_detail(Reason::DnsRcode, code)),
                None => {}
            }
        }
    }
}

#[async_trait]
impl Probe for Dns {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn run(&self, _: &Context) -> Outcome {
        self.ask().await.map(|()| Vec::new()).into()
    }
}

/// In keepalived's form.
fn failed(error: io::Error) -> Failure {
    match error.raw_os_error() {
        Some(number) => {
            let text = Errno::from_raw(number).desc();
            Failure::with_detail(Reason::DnsFailed, format_args!("errno {number} ({text})"))
        }
        None => Failure::with_detail(Reason::DnsFailed, error),
    }
}
