//! Reads an HTTP/1 response piece by piece, in bounded memory: the header is kept, the body only hashed.
//!
//! Pure: octets in, a [`Response`] out. Where a server's framing makes no sense the body is taken to last until the
//! server closes, which is how keepalived reads every body.

use httparse::{Header, ParserConfig};
use md5::{Digest as _, Md5};

/// How much of a response is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of all headers, those of interim (1xx) responses included. Default 256 KiB.
    pub header: usize,
    /// Octets of the body as sent. Default 1 GiB; nothing of it is kept.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header: 256 << 10, body: 1 << 30 }
    }
}

/// A response read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100–999.
    pub status_code: u16,
    /// MD5 of the body.
    pub digest: [u8; 16],
    /// MD5 of what was sent after the header; differs from `digest` where the body is sent in chunks.
    pub digest_as_sent: [u8; 16],
    /// What the header announces, if it does so plainly and the body is not sent in chunks.
    pub content_length: Option<u64>,
    /// Octets of the body.
    pub body_length: u64,
}

/// Whether a response needs more octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There is more to come, or nothing but the end of the connection will tell.
    More,
    /// All of it was read; later octets do not belong to it.
    Complete,
}

/// Why octets are no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The connection ended before the header did.
    #[error("the connection ended before a whole response header")]
    NoHeader,
    /// The header is not one of HTTP/1.
    #[error("the response header is malformed")]
    Malformed,
    /// The header is longer than [`Limits::header`].
    #[error("a response header of more than {limit} octets")]
    HeaderTooLong {
        /// The limit.
        limit: usize,
    },
    /// The body is longer than [`Limits::body`].
    #[error("a response body of more than {limit} octets")]
    BodyTooLong {
        /// The limit.
        limit: u64,
    },
}

/// Reads one response.
#[derive(Debug, Clone)]
pub struct ResponseReader {
    limits: Limits,
    header: Vec<u8>,
    /// Octets of interim responses, which are no longer in `header`.
    interim: usize,
    line: Line,
    framing: Option<Framing>,
    status_code: u16,
    content_length: Option<u64>,
    decoded: Md5,
    decoded_length: u64,
    as_sent: Md5,
    as_sent_length: u64,
}

/// Where in the header the reader is; a header is parsed once, at its empty line, however slowly it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing but empty lines so far.
    BeforeFirst,
    /// At the begin of a line, or after its carriage return.
    Begin,
    /// In a line.
    Within,
}

/// How the end of the body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    UntilClose,
    Length { left: u64 },
    Chunked(Chunk),
    Complete,
}

/// Position in a chunked body (RFC 9112 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    Data { left: u64 },
    DataEnd,
    Trailer { line_is_empty: bool },
}

impl ResponseReader {
    /// A reader of one response.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            header: Vec::new(),
            interim: 0,
            line: Line::BeforeFirst,
            framing: None,
            status_code: 0,
            content_length: None,
            decoded: Md5::new(),
            decoded_length: 0,
            as_sent: Md5::new(),
            as_sent_length: 0,
        }
    }

    /// Takes the next octets received.
    ///
    /// # Errors
    /// [`ResponseError`] if the header is malformed, or if header or body exceed the limits. No input panics.
    pub fn push(&mut self, mut octets: &[u8]) -> Result<Status, ResponseError> {
        while self.framing.is_none() {
            let Some(end) = self.find_header_end(octets) else {
                self.keep(octets)?;
                return Ok(Status::More);
            };
            let (header, rest) = octets.split_at_checked(end).unwrap_or((octets, &[]));
            self.keep(header)?;
            self.parse_header()?;
            octets = rest;
        }
        self.push_body(octets)
    }

    /// The response, once it is complete or the server has closed.
    ///
    /// # Errors
    /// [`ResponseError::NoHeader`] if there is no whole header.
    pub fn finish(self) -> Result<Response, ResponseError> {
        if self.framing.is_none() {
            return Err(ResponseError::NoHeader);
        }
        Ok(Response {
            status_code: self.status_code,
            digest: self.decoded.finalize().into(),
            digest_as_sent: self.as_sent.finalize().into(),
            content_length: self.content_length,
            body_length: self.decoded_length,
        })
    }

    fn keep(&mut self, octets: &[u8]) -> Result<(), ResponseError> {
        let limit = self.limits.header;
        if self.interim.saturating_add(self.header.len()).saturating_add(octets.len()) > limit {
            return Err(ResponseError::HeaderTooLong { limit });
        }
        self.header.extend_from_slice(octets);
        Ok(())
    }

    /// Length of the octets up to and with the header's last, empty line.
    fn find_header_end(&mut self, octets: &[u8]) -> Option<usize> {
        for (index, octet) in octets.iter().enumerate() {
            self.line = match (octet, self.line) {
                (b'\n', Line::Begin) => return Some(index + 1),
                (b'\n', Line::Within) => Line::Begin,
                (b'\r' | b'\n', line) => line,
                _ => Line::Within,
            };
        }
        None
    }

    fn parse_header(&mut self) -> Result<(), ResponseError> {
        let head = Head::parse(&self.header)?;
        // An interim response is followed by the real one (RFC 9110 §15.2).
        if (100..=199).contains(&head.status_code) && head.status_code != 101 {
            self.interim = self.interim.saturating_add(self.header.len());
            self.header.clear();
            self.line = Line::BeforeFirst;
            return Ok(());
        }
        self.status_code = head.status_code;
        self.content_length = head.content_length.filter(|_| !head.chunked);
        self.framing = Some(head.framing());
        self.header = Vec::new();
        Ok(())
    }

    fn push_body(&mut self, mut octets: &[u8]) -> Result<Status, ResponseError> {
        while let Some((&first, _)) = octets.split_first() {
            let taken = match self.framing {
                Some(Framing::Complete) | None => break,
                Some(Framing::UntilClose) => self.take_data(octets, u64::MAX),
                Some(Framing::Length { left }) => {
                    let taken = self.take_data(octets, left);
                    self.framing = Some(match left.saturating_sub(length_of(taken)) {
                        0 => Framing::Complete,
                        left => Framing::Length { left },
                    });
                    taken
                }
                Some(Framing::Chunked(Chunk::Data { left })) => {
                    let taken = self.take_data(octets, left);
                    let left = left.saturating_sub(length_of(taken));
                    let chunk = if left == 0 { Chunk::DataEnd } else { Chunk::Data { left } };
                    self.framing = Some(Framing::Chunked(chunk));
                    taken
                }
                Some(Framing::Chunked(chunk)) => {
                    self.framing = Some(chunk.handle_octet(first));
                    octets.get(..1).unwrap_or(octets)
                }
            };
            self.as_sent.update(taken);
            self.as_sent_length = self.as_sent_length.saturating_add(length_of(taken));
            if self.as_sent_length > self.limits.body {
                return Err(ResponseError::BodyTooLong { limit: self.limits.body });
            }
            octets = octets.get(taken.len()..).unwrap_or_default();
        }
        Ok(if self.framing == Some(Framing::Complete) { Status::Complete } else { Status::More })
    }

    /// Hashes at most `left` octets of the body.
    fn take_data<'a>(&mut self, octets: &'a [u8], left: u64) -> &'a [u8] {
        let length = usize::try_from(left).map_or(octets.len(), |left| left.min(octets.len()));
        let data = octets.get(..length).unwrap_or(octets);
        self.decoded.update(data);
        self.decoded_length = self.decoded_length.saturating_add(length_of(data));
        data
    }
}

impl Chunk {
    /// Takes one octet that is not data.
    const fn handle_octet(self, octet: u8) -> Framing {
        let next = match (self, octet) {
            (Self::Size { digits: 1.., size }, b'\n') => Self::after_size(size),
            (Self::Size { digits: 1.., size }, b'\r' | b';' | b' ' | b'\t') => Self::Extension { size },
            (Self::Size { size, digits: digits @ ..=15 }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = match octet {
                    b'0'..=b'9' => octet - b'0',
                    _ => (octet | 0x20) - b'a' + 10,
                };
                Self::Size { size: (size << 4) | digit as u64, digits: digits + 1 }
            }
            (Self::Extension { size }, b'\n') => Self::after_size(size),
            (Self::Extension { size }, _) => Self::Extension { size },
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Trailer { line_is_empty: true }, b'\n') => return Framing::Complete,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { line_is_empty: true },
            (Self::Trailer { line_is_empty }, b'\r') => Self::Trailer { line_is_empty },
            (Self::Trailer { .. }, _) => Self::Trailer { line_is_empty: false },
            (Self::Size { .. } | Self::DataEnd | Self::Data { .. }, _) => {
                return Framing::UntilClose;
            }
        };
        Framing::Chunked(next)
    }

    const fn after_size(size: u64) -> Self {
        if size == 0 { Self::Trailer { line_is_empty: true } } else { Self::Data { left: size } }
    }
}

/// What the reader needs of a header.
struct Head {
    status_code: u16,
    content_length: Option<u64>,
    chunked: bool,
}

impl Head {
    /// Parses a whole header, as leniently as can be: keepalived itself looks at nothing but the status code.
    fn parse(octets: &[u8]) -> Result<Self, ResponseError> {
        let mut config = ParserConfig::default();
        config
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true)
            .allow_space_before_first_header_name(true)
            .ignore_invalid_headers_in_responses(true);
        // Every header takes a line, so these are enough.
        let lines = octets.iter().filter(|&&octet| octet == b'\n').count();
        let mut headers = vec![httparse::EMPTY_HEADER; lines];
        let mut response = httparse::Response::new(&mut headers);
        match config.parse_response(&mut response, octets) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(ResponseError::Malformed),
        }
        Ok(Self {
            status_code: response.code.ok_or(ResponseError::Malformed)?,
            content_length: content_length(response.headers),
            chunked: is_chunked(response.headers),
        })
    }

    const fn framing(&self) -> Framing {
        match self {
            Self { status_code: 204 | 304, .. } => Framing::Complete,
            Self { chunked: true, .. } => Framing::Chunked(Chunk::Size { size: 0, digits: 0 }),
            Self { content_length: Some(0), .. } => Framing::Complete,
            Self { content_length: Some(left), .. } => Framing::Length { left: *left },
            Self { content_length: None, .. } => Framing::UntilClose,
        }
    }
}

fn values<'a>(headers: &'a [Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The announced length, unless it is nonsense or announced twice with different values.
fn content_length(headers: &[Header<'_>]) -> Option<u64> {
    let mut lengths = values(headers, "content-length").map(|value| {
        let text = str::from_utf8(value).ok()?.trim();
        if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse::<u64>().ok() } else { None }
    });
    let first = lengths.next()??;
    lengths.all(|length| length == Some(first)).then_some(first)
}

/// `chunked` must be the last coding applied (RFC 9112 §6.1).
fn is_chunked(headers: &[Header<'_>]) -> bool {
    let last = values(headers, "transfer-encoding").last();
    let coding = last.and_then(|value| value.rsplit(|&octet| octet == b',').next());
    coding.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

fn length_of(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
