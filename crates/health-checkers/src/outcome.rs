//! What one try of a probe found, and the words keepalived logs for it.

use std::fmt;

/// The result of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server passed the whole check.
    #[non_exhaustive]
    Success {
        /// What was found, in the order found.
        notes: Vec<Note>,
        /// The weight that the server shall have instead of the configured one; `None` for that one.
        weight: Option<u32>,
    },
    /// This step passed; the check has further steps (the next URL of an `HTTP_GET`), one per cycle.
    #[non_exhaustive]
    Progress {
        /// What was found, in the order found.
        notes: Vec<Note>,
    },
    /// The server failed this try.
    Failure(Failure),
}

impl Outcome {
    /// The server passed the whole check.
    #[must_use]
    pub const fn success(notes: Vec<Note>) -> Self {
        Self::Success { notes, weight: None }
    }

    /// The server passed the whole check, and shall have this weight.
    #[must_use]
    pub const fn success_with_weight(notes: Vec<Note>, weight: u32) -> Self {
        Self::Success { notes, weight: Some(weight) }
    }

    /// This step passed; there are further steps.
    #[must_use]
    pub const fn progress(notes: Vec<Note>) -> Self {
        Self::Progress { notes }
    }

    /// The lines that keepalived logs for this outcome of a check of `server` (keepalived writes a server as
    /// `[192.0.2.10]:tcp:80`).
    ///
    /// keepalived logs the lines of a success only while the server is not yet up, and the line of a failure when the
    /// verdict changes or with `log_all_failures`.
    #[must_use]
    pub fn lines(&self, server: &str) -> Vec<String> {
        match self {
            Self::Success { notes, .. } | Self::Progress { notes } => {
                notes.iter().map(|note| note.line(server)).collect()
            }
            Self::Failure(failure) => vec![failure.line(server)],
        }
    }
}

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure.
    pub reason: Reason,
    /// More about it, for people: the system's error text, the status code received.
    pub detail: Option<String>,
}

impl Failure {
    /// A failure of which no more is known than its kind.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self { reason, detail: None }
    }

    /// A failure with more to say.
    pub fn with_detail(reason: Reason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: Some(detail.to_string()) }
    }

    /// The line keepalived logs for it in a check of `server`: of some it has more to say than the kind of failure.
    #[must_use]
    pub fn line(&self, server: &str) -> String {
        let line = self.reason.line(server);
        match (&self.detail, self.reason) {
            (Some(detail), Reason::DnsFailed) => format!("{line}; {detail}"),
            (Some(detail), Reason::DnsRcode) => format!("{line} ({detail})"),
            _ => line,
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Of a check of one step.
impl From<Result<Vec<Note>, Failure>> for Outcome {
    fn from(tried: Result<Vec<Note>, Failure>) -> Self {
        tried.map_or_else(Self::Failure, Self::success)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.reason.words()),
            None => f.write_str(self.reason.words()),
        }
    }
}

/// The kinds of failure, told apart as keepalived's log does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// `TCP_CHECK`: the connection was not made within `connect_timeout`.
    TcpTimeout,
    /// `TCP_CHECK`: the connection was refused, the server cannot be reached, or this host could not try.
    TcpFailed,
    /// The connection was not made within `connect_timeout`.
    ConnectTimeout,
    /// The connection was refused, or the server cannot be reached.
    ConnectFailed,
    /// This host could not try: no such interface or local address, no permission, no descriptors.
    ConnectError,
    /// The request could not be sent.
    Request,
    /// The server was silent for `connect_timeout`, or its answer took longer than any answer may.
    ReadTimeout,
    /// The connection broke, or the server closed it before a whole response header.
    Read,
    /// `SSL_GET`: no TLS session came about within `connect_timeout`.
    TlsHandshake,
    /// `SSL_GET`: as [`ReadTimeout`](Self::ReadTimeout).
    TlsReadTimeout,
    /// `SSL_GET`: as [`Read`](Self::Read); also a session that ends without the notification that is asked for.
    TlsRead,
    /// The status code is none of the accepted ones, or there is none.
    StatusCode,
    /// The body's MD5 is another one.
    Digest,
    /// `UDP_CHECK`: a reply was required, and none came within `connect_timeout`.
    UdpTimeout,
    /// `UDP_CHECK`: the datagram was refused, the server cannot be reached, or this host could not try.
    UdpFailed,
    /// `UDP_CHECK`: the reply is not the one that is required.
    UdpReply,
    /// `PING_CHECK`: no reply within `connect_timeout`.
    PingTimeout,
    /// `PING_CHECK`: the server cannot be reached, or this host could not try.
    PingFailed,
    /// `DNS_CHECK`: no response to the query within `connect_timeout`.
    DnsTimeout,
    /// `DNS_CHECK`: the query was refused, the server cannot be reached, or this host could not try.
    DnsFailed,
    /// `DNS_CHECK`: the response code says that something is wrong.
    DnsRcode,
    /// `SMTP_CHECK`: the connection was not made within `connect_timeout`.
    SmtpConnectTimeout,
    /// `SMTP_CHECK`: the connection was refused, the server cannot be reached, or this host could not try.
    SmtpConnect,
    /// `SMTP_CHECK`: the first reply is another one than 220.
    SmtpGreeting,
    /// `SMTP_CHECK`: the reply to our greeting is another one than 250.
    SmtpHelo,
    /// `SMTP_CHECK`: no whole reply within `connect_timeout`.
    SmtpReadTimeout,
    /// `SMTP_CHECK`: the connection broke, the server closed it before a reply, or what it sent is none.
    SmtpRead,
    /// `SMTP_CHECK`: the server does not read.
    SmtpWriteTimeout,
    /// `SMTP_CHECK`: the connection broke.
    SmtpWrite,
    /// `MISC_CHECK`: the program did not succeed.
    ProgramFailed,
    /// `MISC_CHECK`: the program did not end in time.
    ProgramTimeout,
    /// A probe of the caller's own; [`Failure::detail`] says what happened.
    Other,
}

impl Reason {
    /// The words keepalived's log uses.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::TcpTimeout => "timeout",
            Self::TcpFailed
            | Self::UdpTimeout
            | Self::UdpFailed
            | Self::UdpReply
            | Self::PingTimeout
            | Self::PingFailed => "failed",
            Self::DnsTimeout => "read timeout from socket",
            Self::DnsFailed => "failed to read socket",
            Self::DnsRcode => "read error occurred.",
            Self::SmtpConnectTimeout => "Connection timeout to",
            Self::SmtpConnect => "Could not connect to",
            Self::SmtpGreeting => "Bad greeting banner from",
            Self::SmtpHelo => "Bad HELO response from",
            Self::SmtpReadTimeout => "Read timeout from",
            Self::SmtpRead => "Read failure from",
            Self::SmtpWriteTimeout => "Write timeout to",
            Self::SmtpWrite => "Write failure to",
            Self::ConnectTimeout => "Timeout connecting",
            Self::ConnectFailed => "Connection failed",
            Self::ConnectError => "Error connecting",
            Self::Request => "Cannot send get request to",
            Self::ReadTimeout => "Timeout HTTP read",
            Self::Read => "Read error with",
            Self::TlsHandshake => "SSL handshake/communication error connecting to",
            Self::TlsReadTimeout => "Timeout SSL read",
            Self::TlsRead => "SSL read error from",
            Self::StatusCode => "HTTP status code error to",
            Self::Digest => "MD5 digest error to",
            Self::ProgramFailed => "Misc check failed for",
            Self::ProgramTimeout => "Misc check timed out for",
            Self::Other => "Check failed for",
        }
    }

    /// The line keepalived logs for a failure of `server`, which for an `SMTP_CHECK` is where it connects to, as
    /// `[192.0.2.10]:25`.
    #[must_use]
    pub fn line(self, server: &str) -> String {
        match self {
            Self::TcpTimeout | Self::TcpFailed => {
                format!("TCP connection to {server} {}.", self.words())
            }
            Self::UdpTimeout | Self::UdpFailed | Self::UdpReply => {
                format!("UDP connection to {server} {}.", self.words())
            }
            Self::PingTimeout | Self::PingFailed => format!("ICMP connection to {server} {}.", self.words()),
            Self::DnsTimeout | Self::DnsFailed | Self::DnsRcode => format!("DNS_CHECK ({server}) {}", self.words()),
            Self::SmtpConnectTimeout
            | Self::SmtpConnect
            | Self::SmtpGreeting
            | Self::SmtpHelo
            | Self::SmtpReadTimeout
            | Self::SmtpRead
            | Self::SmtpWriteTimeout
            | Self::SmtpWrite => format!("SMTP_CHECK {} server {server}", self.words()),
            _ => format!("{} server {server}.", self.words()),
        }
    }
}

/// Something found on the way to a success.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// `TCP_CHECK`: the connection was made.
    TcpConnected,
    /// `UDP_CHECK`: the datagram was not refused, and answered if that is required.
    Udp,
    /// `PING_CHECK`: the echo came back.
    Ping,
    /// `SMTP_CHECK`: the dialogue was had.
    SmtpServer,
    /// The status code for this path is an accepted one.
    StatusCode {
        /// Path of the URL.
        path: String,
    },
    /// The body of this path has the expected MD5.
    Digest {
        /// Path of the URL.
        path: String,
    },
    /// The last URL passed.
    WebServer,
    /// The server announced another length than it sent. keepalived accepts this.
    ContentLength {
        /// Octets announced.
        announced: u64,
        /// Octets received.
        received: u64,
    },
}

impl Note {
    /// The line keepalived logs for it.
    #[must_use]
    pub fn line(&self, server: &str) -> String {
        match self {
            Self::TcpConnected => format!("TCP connection to {server} success."),
            Self::Udp => format!("UDP connection to {server} success."),
            Self::Ping => format!("ICMP connection to {server} success."),
            Self::SmtpServer => format!("Remote SMTP server {server} succeed on service."),
            Self::StatusCode { path } => {
                format!("HTTP status code success to {server} url({path})")
            }
            Self::Digest { path } => format!("MD5 digest success to {server} url({path})"),
            Self::WebServer => format!("Remote Web server {server} succeed on service."),
            Self::ContentLength { announced, received } => {
                format!("Content-Length {announced} of {server} differs from the {received} octets received")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "[192.0.2.10]:tcp:80";

    #[test]
    fn failures_are_logged_in_keepaliveds_words() {
        let line = |reason| Outcome::from(Failure::new(reason)).lines(SERVER).join("|");
        assert_eq!(line(Reason::TcpTimeout), "TCP connection to [192.0.2.10]:tcp:80 timeout.");
        assert_eq!(line(Reason::TcpFailed), "TCP connection to [192.0.2.10]:tcp:80 failed.");
        assert_eq!(line(Reason::StatusCode), "HTTP status code error to server [192.0.2.10]:tcp:80.");
        assert_eq!(line(Reason::Request), "Cannot send get request to server [192.0.2.10]:tcp:80.");
    }

    #[test]
    fn successes_are_logged_in_keepaliveds_words() {
        let path = String::from("/health");
        let notes = vec![Note::StatusCode { path: path.clone() }, Note::Digest { path }, Note::WebServer];
        assert_eq!(
            Outcome::success(notes).lines(SERVER),
            [
                "HTTP status code success to [192.0.2.10]:tcp:80 url(/health)",
                "MD5 digest success to [192.0.2.10]:tcp:80 url(/health)",
                "Remote Web server [192.0.2.10]:tcp:80 succeed on service.",
            ]
        );
    }

    #[test]
    fn a_failure_reads_as_a_sentence() {
        assert_eq!(Failure::with_detail(Reason::StatusCode, 404).to_string(), "HTTP status code error to: 404");
    }
}
