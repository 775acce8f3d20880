//! Replies of a mail server (RFC 5321 §4.2): lines that begin with the same three digits, all but the last of them with
//! a hyphen after these.

use std::{collections::VecDeque, fmt};

/// The three digits of a reply, 200 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

impl Code {
    /// The service is ready.
    pub const SERVICE_READY: Self = Self(220);
    /// What was asked for is done.
    pub const COMPLETED: Self = Self(250);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reply {:03}", self.0)
    }
}

/// What is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// A line does not begin with a code, or with another one than the lines before it.
    #[error("what the server sends is no reply")]
    Malformed,
    /// There is no end to it.
    #[error("a reply of more than {} octets", ReplyReader::LIMIT)]
    TooLong,
}

/// Puts replies together from the pieces in which they come. Holds no socket.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// What no reply has been made of.
    octets: VecDeque<u8>,
    /// Of the reply that has begun.
    code: Option<Code>,
    /// Octets of the lines of that reply.
    length: usize,
}

impl ReplyReader {
    /// Octets of a reply, all its lines together. No usable server needs as many; RFC 5321 allows lines of 512.
    pub const LIMIT: usize = 16 * 1024;

    /// Takes the next octets.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.extend(octets);
    }

    /// The next whole reply; `None` if its end has not come.
    ///
    /// # Errors
    /// [`ReplyError`] if it is none; what follows is of no use then.
    pub fn poll_reply(&mut self) -> Result<Option<Code>, ReplyError> {
        while let Some(end) = self.octets.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.octets.drain(..=end).collect();
            self.length = self.length.saturating_add(line.len());
            self.within_limit(0)?;
            let (code, is_last) = parse_line(&line).ok_or(ReplyError::Malformed)?;
            if self.code.is_some_and(|begun| begun != code) {
                return Err(ReplyError::Malformed);
            }
            if is_last {
                (self.code, self.length) = (None, 0);
                return Ok(Some(code));
            }
            self.code = Some(code);
        }
        self.within_limit(self.octets.len())?;
        Ok(None)
    }

    fn within_limit(&self, more: usize) -> Result<(), ReplyError> {
        if self.length.saturating_add(more) > Self::LIMIT { Err(ReplyError::TooLong) } else { Ok(()) }
    }
}

/// The code of a line, and whether none follows it.
fn parse_line(line: &[u8]) -> Option<(Code, bool)> {
    let (digits, rest) = line.split_first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&digits[0]) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    Some((Code(code), rest.first() != Some(&b'-')))
}

#[cfg(test)]
mod tests;
