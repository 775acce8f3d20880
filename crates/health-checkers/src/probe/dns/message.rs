//! As much of DNS as a check needs: one question, and the header of its response (RFC 1035 §4.1).

use std::fmt;

/// Octets of the header.
pub const HEADER_LENGTH: usize = 12;

/// QR: the message is a response.
const QR: u8 = 0x80;
/// RD: recursion is desired.
const RD: u8 = 0x01;
/// QCLASS of the Internet.
const IN: u16 = 1;

/// TYPE of a record (RFC 1035 §3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// A name server.
    pub const NS: Self = Self(2);
    /// Another name.
    pub const CNAME: Self = Self(5);
    /// The start of a zone of authority.
    pub const SOA: Self = Self(6);
    /// A mail exchanger.
    pub const MX: Self = Self(15);
    /// Text.
    pub const TXT: Self = Self(16);
    /// An IPv6 address (RFC 3596).
    pub const AAAA: Self = Self(28);
    /// A signature (RFC 4034).
    pub const RRSIG: Self = Self(46);
    /// A public key (RFC 4034).
    pub const DNSKEY: Self = Self(48);
}

/// A domain name as it is sent: labels of 1 to 63 octets, 255 octets with their lengths and the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Vec<u8>);

impl Name {
    /// The root.
    pub const ROOT: Self = Self(Vec::new());

    /// Octets of a name as it is sent, the root's included.
    pub const MAX_LENGTH: usize = 255;

    /// Octets of a label.
    pub const MAX_LABEL: usize = 63;

    /// A name as it is written, with or without the dot at its end; `.` is the root. Every octet but the dot is itself.
    ///
    /// # Errors
    /// [`NameError`] if a label is empty or too long, or all of it is too long.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::ROOT);
        }
        let mut octets = Vec::with_capacity(text.len() + 1);
        for label in text.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|length| usize::from(*length) <= Self::MAX_LABEL);
            match length {
                Some(0) => return Err(NameError::EmptyLabel),
                Some(length) => octets.push(length),
                None => return Err(NameError::LongLabel),
            }
            octets.extend_from_slice(label.as_bytes());
        }
        if octets.len() >= Self::MAX_LENGTH { Err(NameError::Long) } else { Ok(Self(octets)) }
    }
}

/// A text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Two dots, or a dot at the beginning.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label of more than 63 octets.
    #[error("a label of the name has more than {} octets", Name::MAX_LABEL)]
    LongLabel,
    /// More than 255 octets as they are sent.
    #[error("the name is too long for a DNS query")]
    Long,
}

/// A query with one question, recursion desired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// ID, which the response repeats.
    pub id: u16,
    /// QNAME.
    pub name: &'a Name,
    /// QTYPE.
    pub record: RecordType,
}

impl Query<'_> {
    /// Appends the message to `out`.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&[RD, 0]);
        // QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT.
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.name.0);
        out.push(0);
        out.extend_from_slice(&self.record.0.to_be_bytes());
        out.extend_from_slice(&IN.to_be_bytes());
    }
}

/// RCODE: how a query went, 0 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rcode(pub u8);

impl Rcode {
    /// No error condition.
    pub const NO_ERROR: Self = Self(0);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rcode = {}", self.0)
    }
}

/// The RCODE of the response to the query with this `id`; `None` for whatever else `octets` are: too short, a query, or
/// an answer to another one. What follows the header makes no difference.
#[must_use]
pub fn response_code(octets: &[u8], id: u16) -> Option<Rcode> {
    let header = octets.first_chunk::<HEADER_LENGTH>()?;
    let &[id0, id1, high, low, ..] = header;
    let is_answer = u16::from_be_bytes([id0, id1]) == id && high & QR != 0;
    is_answer.then_some(Rcode(low & 0x0f))
}

#[cfg(test)]
mod tests;
