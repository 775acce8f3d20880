//! keepalived's `HTTP_GET`: a server is usable if it answers its URLs as expected.
//!
//! One connection for each URL, one URL for each step of the check. Unlike keepalived, the end of a body is known
//! from `Content-Length` and from chunks too, so a server that keeps its connections open passes.

use std::{fmt::Write as _, ops::RangeInclusive, time::Duration};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{self, Instant},
};

use self::response::{Limits, Response, ResponseError, ResponseReader, Status};
use super::{Context, Probe, connect::Connect};
use crate::outcome::{Failure, Note, Outcome, Reason};

pub mod response;

/// Octets read at once.
const READ_BUFFER: usize = 4096;

/// Settings of an `HTTP_GET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where and how to connect.
    pub connect: Connect,
    /// `http_protocol`.
    pub protocol: Protocol,
    /// The checker's, real server's or virtual server's `virtualhost`, the closest; `None`: address and port.
    pub virtualhost: Option<String>,
    /// What to ask for, in order. At least one.
    pub urls: Vec<Url>,
    /// Longest time for one response, [`RESPONSE_TIMEOUT`](Self::RESPONSE_TIMEOUT) unless there is reason for another.
    ///
    /// keepalived bounds only each silence, by `connect_timeout`, so it never judges a server that sends an octet now
    /// and then.
    pub response_timeout: Duration,
}

impl Config {
    /// No usable server takes longer for a response: five minutes.
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(300);

    /// A check of `urls` by HTTP/1.0 without a host name.
    #[must_use]
    pub const fn new(connect: Connect, urls: Vec<Url>) -> Self {
        Self { connect, protocol: Protocol::Http10, virtualhost: None, urls, response_timeout: Self::RESPONSE_TIMEOUT }
    }
}

/// Version of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// `1.0`: HTTP/1.0.
    #[default]
    Http10,
    /// `1.0C`: HTTP/1.0 with `Connection: close`.
    Http10Close,
    /// `1.1`: HTTP/1.1, with `Connection: close`.
    Http11,
}

/// One request and its expected answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// What to ask for, sent as it is.
    pub path: String,
    /// Host of this request; `None`: [`Config::virtualhost`].
    pub virtualhost: Option<String>,
    /// Accepted status codes, within 100–599.
    pub status_code: Vec<RangeInclusive<u16>>,
    /// MD5 that the body must have.
    ///
    /// The body in this sense is what the server sends after the header; for a chunked response the MD5 of the
    /// decoded body and that of the chunks as sent (which keepalived's `genhash` prints) are both accepted.
    pub digest: Option<[u8; 16]>,
}

impl Url {
    /// `path` with the status codes keepalived accepts if none are given: 200–299.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), virtualhost: None, status_code: vec![200..=299], digest: None }
    }
}

/// Settings that no request can be made from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no URL.
    #[error("an HTTP check needs a url")]
    NoUrl,
    /// A path or host has a character that would end the line it is sent on.
    #[error("a control character in {0:?}")]
    ControlCharacter(String),
}

/// Asks for its URLs, one for each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGet {
    config: Config,
}

/// Finds out whether `text` can be sent as part of a line: a path, a host.
///
/// # Errors
/// [`ConfigError::ControlCharacter`] if it has one.
pub fn check_text(text: &str) -> Result<(), ConfigError> {
    match text.chars().any(char::is_control) {
        true => Err(ConfigError::ControlCharacter(text.to_owned())),
        false => Ok(()),
    }
}

impl HttpGet {
    /// What messages call such a check.
    pub const KIND: &str = "HTTP_CHECK";

    /// A check with these settings.
    ///
    /// # Errors
    /// [`ConfigError`] if there is no URL, or if a path or host has a control character in it.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        if config.urls.is_empty() {
            return Err(ConfigError::NoUrl);
        }
        let of_urls = config.urls.iter().flat_map(|url| [Some(&url.path), url.virtualhost.as_ref()]);
        of_urls.chain([config.virtualhost.as_ref()]).flatten().try_for_each(|text| check_text(text))?;
        Ok(Self { config })
    }

    /// The octets sent for `url`: those of keepalived.
    fn request(&self, url: &Url) -> String {
        let (version, connection) = match self.config.protocol {
            Protocol::Http10 => ("1.0", ""),
            Protocol::Http10Close => ("1.0", "Connection: close\r\n"),
            Protocol::Http11 => ("1.1", "Connection: close\r\n"),
        };
        let mut request =
            format!("GET {} HTTP/{version}\r\nUser-Agent: KeepAliveClient\r\n{connection}Host: ", url.path);
        match url.virtualhost.as_ref().or(self.config.virtualhost.as_ref()) {
            Some(host) => request.push_str(host),
            None => {
                let target = self.config.connect.target;
                let _infallible = match target {
                    std::net::SocketAddr::V4(v4) => write!(request, "{v4}"),
                    std::net::SocketAddr::V6(v6) => write!(request, "[{}]:{}", v6.ip(), v6.port()),
                };
            }
        }
        request.push_str("\r\n\r\n");
        request
    }

    #[cfg(feature = "tls")]
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// What to ask for in a step, with its place.
    pub(super) fn url(&self, step: usize) -> Option<(usize, &Url)> {
        let place = step.min(self.config.urls.len().checked_sub(1)?);
        self.config.urls.get(place).map(|url| (place, url))
    }

    async fn fetch(&self, url: &Url) -> Result<Response, Failure> {
        let mut stream = self.config.connect.open().await?;
        self.exchange(&mut stream, url).await
    }

    /// Asks for `url` over a connection that was made, and reads the answer.
    pub(super) async fn exchange<S>(&self, stream: &mut S, url: &Url) -> Result<Response, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let request = self.request(url);
        let sending = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await
        };
        match time::timeout(self.config.connect.connect_timeout, sending).await {
            Ok(Ok(())) => self.read(stream).await,
            Ok(Err(error)) => Err(Failure::with_detail(Reason::Request, error)),
            Err(_elapsed) => Err(Failure::with_detail(Reason::Request, "the server does not read")),
        }
    }

    async fn read<S: AsyncRead + Unpin + Send>(&self, stream: &mut S) -> Result<Response, Failure> {
        let connect_timeout = self.config.connect.connect_timeout;
        let deadline = Instant::now() + self.config.response_timeout;
        let mut reader = ResponseReader::new(Limits::default());
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            let silence = Instant::now() + connect_timeout;
            let octets = match time::timeout_at(silence.min(deadline), stream.read(&mut buffer)).await {
                Ok(Ok(0)) => return reader.finish().map_err(failure_of),
                Ok(Ok(length)) => buffer.get(..length).unwrap_or_default(),
                Ok(Err(error)) => return Err(Failure::with_detail(Reason::Read, error)),
                Err(_elapsed) => return Err(Failure::new(Reason::ReadTimeout)),
            };
            // The time-out above polls the socket first: only this ends a server that always has more.
            if Instant::now() >= deadline {
                return Err(Failure::with_detail(Reason::ReadTimeout, "the response takes too long"));
            }
            if reader.push(octets).map_err(failure_of)? == Status::Complete {
                return reader.finish().map_err(failure_of);
            }
        }
    }
}

#[async_trait]
impl Probe for HttpGet {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn run(&self, cx: &Context) -> Outcome {
        match self.url(cx.attempt.step) {
            Some((place, url)) => self.judge(place, url, self.fetch(url).await),
            None => no_url(),
        }
    }
}

impl HttpGet {
    /// What the answer to the URL at `place` means for the check.
    pub(super) fn judge(&self, place: usize, url: &Url, answer: Result<Response, Failure>) -> Outcome {
        match answer.and_then(|response| check(url, &response)) {
            Ok(notes) if place.saturating_add(1) < self.config.urls.len() => Outcome::progress(notes),
            Ok(mut notes) => {
                notes.push(Note::WebServer);
                Outcome::success(notes)
            }
            Err(failure) => failure.into(),
        }
    }
}

/// The outcome of a check without a URL.
pub(super) fn no_url() -> Outcome {
    Failure::with_detail(Reason::Other, ConfigError::NoUrl).into()
}

/// Holds a response against what is expected of it.
fn check(url: &Url, response: &Response) -> Result<Vec<Note>, Failure> {
    let path = || url.path.clone();
    if !url.status_code.iter().any(|range| range.contains(&response.status_code)) {
        return Err(Failure::with_detail(Reason::StatusCode, format_args!("status code {}", response.status_code)));
    }
    let mut notes = vec![Note::StatusCode { path: path() }];
    if let Some(announced) = response.content_length
        && announced != response.body_length
    {
        notes.push(Note::ContentLength { announced, received: response.body_length });
    }
    if let Some(expected) = url.digest {
        if expected != response.digest && expected != response.digest_as_sent {
            return Err(Failure::with_detail(Reason::Digest, hex(&response.digest)));
        }
        notes.push(Note::Digest { path: path() });
    }
    Ok(notes)
}

fn failure_of(error: ResponseError) -> Failure {
    let reason = match error {
        ResponseError::Malformed => Reason::StatusCode,
        ResponseError::NoHeader | ResponseError::HeaderTooLong { .. } | ResponseError::BodyTooLong { .. } => {
            Reason::Read
        }
    };
    Failure::with_detail(reason, error)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _infallible = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
