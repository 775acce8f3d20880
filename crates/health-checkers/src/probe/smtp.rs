//! keepalived's `SMTP_CHECK`: a server is usable if it greets, and answers a greeting.

use std::io;

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use self::reply::{Code, ReplyReader};
use super::{Connect, Context, Probe, connect::ConnectError};
use crate::outcome::{Failure, Note, Outcome, Reason};

pub mod reply;

/// Octets read at once.
const READ_BUFFER: usize = 512;

/// Settings of an `SMTP_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where and how to connect.
    pub connect: Connect,
    /// The name in our greeting (`helo_name`).
    pub helo_name: HeloName,
}

impl Config {
    /// Greets with keepalived's name.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self { connect, helo_name: HeloName("smtpchecker.keepalived.org".to_owned()) }
    }
}

/// A name without a character that would end the line it is sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeloName(String);

impl HeloName {
    /// The name as it is sent.
    ///
    /// # Errors
    /// [`NameError`] if it has a control character in it.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.chars().any(char::is_control) { Err(NameError(name.to_owned())) } else { Ok(Self(name.to_owned())) }
    }
}

/// A name with a control character in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a control character in {0:?}")]
pub struct NameError(String);

/// Greets, and takes its leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    config: Config,
}

/// A dialogue under way.
#[derive(Debug)]
struct Dialogue<'a> {
    connect: &'a Connect,
    stream: TcpStream,
    reader: ReplyReader,
}

impl Smtp {
    /// What messages call such a check.
    pub const KIND: &str = "SMTP_CHECK";

    /// A check with these settings.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config }
    }

    async fn ask(&self) -> Result<(), Failure> {
        let Config { connect, helo_name } = &self.config;
        let stream = connect.open().await.map_err(|error| match error {
            ConnectError::Timeout => Failure::new(Reason::SmtpConnectTimeout),
            ConnectError::Remote(error) | ConnectError::Local(error) => {
                Failure::with_detail(Reason::SmtpConnect, error)
            }
        })?;
        let mut dialogue = Dialogue { connect, stream, reader: ReplyReader::default() };
        dialogue.expect(Code::SERVICE_READY, Reason::SmtpGreeting).await?;
        dialogue.send(&format!("HELO {}\r\n", helo_name.0)).await?;
        dialogue.expect(Code::COMPLETED, Reason::SmtpHelo).await?;
        dialogue.send("QUIT\r\n").await?;
        // Whatever it says.
        dialogue.reply().await.map(drop)
    }
}

impl Dialogue<'_> {
    async fn send(&mut self, line: &str) -> Result<(), Failure> {
        match time::timeout(self.connect.connect_timeout, self.stream.write_all(line.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::with_detail(Reason::SmtpWrite, error)),
            Err(_elapsed) => Err(Failure::new(Reason::SmtpWriteTimeout)),
        }
    }

    async fn expect(&mut self, expected: Code, reason: Reason) -> Result<(), Failure> {
        let code = self.reply().await?;
        if code == expected { Ok(()) } else { Err(Failure::with_detail(reason, code)) }
    }

    /// The next reply, all of whose lines come within `connect_timeout`.
    async fn reply(&mut self) -> Result<Code, Failure> {
        let received = time::timeout(self.connect.connect_timeout, self.receive()).await;
        received.unwrap_or_else(|_elapsed| Err(Failure::new(Reason::SmtpReadTimeout)))
    }

    async fn receive(&mut self) -> Result<Code, Failure> {
        let failed = |error: io::Error| Failure::with_detail(Reason::SmtpRead, error);
        let mut buffer = [0; READ_BUFFER];
        loop {
            if let Some(code) =
                self.reader.poll_reply().map_err(|error| Failure::with_detail(Reason::SmtpRead, error))?
            {
                return Ok(code);
            }
            // What a reply may have at most bounds this loop.
            match self.stream.read(&mut buffer).await.map_err(failed)? {
                0 => return Err(Failure::with_detail(Reason::SmtpRead, "the server closed the connection")),
                length => self.reader.push(buffer.get(..length).unwrap_or_default()),
            }
        }
    }
}

#[async_trait]
impl Probe for Smtp {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn run(&self, _: &Context) -> Outcome {
        self.ask().await.map(|()| vec![Note::SmtpServer]).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_line_in_it_is_refused() {
        assert!(HeloName::new("mail.example.org").is_ok());
        let two_lines = "a\r\nMAIL FROM:<x>";
        assert_eq!(HeloName::new(two_lines), Err(NameError(two_lines.to_owned())));
    }
}
