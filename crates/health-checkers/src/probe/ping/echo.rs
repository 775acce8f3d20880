//! Echo requests and replies of ICMP (RFC 792) and ICMPv6 (RFC 4443 §4).

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// ICMP.
    Inet,
    /// ICMPv6, whose checksum, with addresses in it, the kernel makes and looks at.
    Inet6,
}

impl Family {
    const fn echo(self) -> u8 {
        match self {
            Self::Inet => 8,
            Self::Inet6 => 128,
        }
    }

    const fn echo_reply(self) -> u8 {
        match self {
            Self::Inet => 0,
            Self::Inet6 => 129,
        }
    }
}

/// What a reply repeats of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Identifier.
    pub identifier: u16,
    /// Sequence Number.
    pub sequence: u16,
}

impl Echo {
    /// Appends an echo request with this data to `out`.
    pub fn emit(&self, family: Family, data: &[u8], out: &mut Vec<u8>) {
        self.emit_type(family, family.echo(), data, out);
    }

    /// Appends an echo reply with this data to `out`; [`parse_reply`](Self::parse_reply) of those octets gives back `self`.
    pub fn emit_reply(&self, family: Family, data: &[u8], out: &mut Vec<u8>) {
        self.emit_type(family, family.echo_reply(), data, out);
    }

    fn emit_type(&self, family: Family, message_type: u8, data: &[u8], out: &mut Vec<u8>) {
        let ([i0, i1], [s0, s1]) = (self.identifier.to_be_bytes(), self.sequence.to_be_bytes());
        let mut header = [message_type, 0, 0, 0, i0, i1, s0, s1];
        if family == Family::Inet {
            [header[2], header[3]] = checksum(header.iter().chain(data)).to_be_bytes();
        }
        out.extend_from_slice(&header);
        out.extend_from_slice(data);
    }

    /// Reads an echo reply; `None` for every other message, and for one of ICMP whose checksum is wrong.
    #[must_use]
    pub fn parse_reply(family: Family, message: &[u8]) -> Option<Self> {
        let &[message_type, code, _, _, i0, i1, s0, s1] = message.first_chunk()?;
        let is_whole = family == Family::Inet6 || checksum(message) == 0;
        let is_reply = message_type == family.echo_reply() && code == 0 && is_whole;
        is_reply.then(|| Self { identifier: u16::from_be_bytes([i0, i1]), sequence: u16::from_be_bytes([s0, s1]) })
    }
}

/// What follows the header of an IPv4 packet; `None` if that is not whole.
#[must_use]
pub fn ip_payload(packet: &[u8]) -> Option<&[u8]> {
    let first = packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 == 4 && header >= 20 { packet.get(header..) } else { None }
}

/// The Internet checksum (RFC 1071); 0 for a message with the right one in it.
fn checksum<'a>(octets: impl IntoIterator<Item = &'a u8>) -> u16 {
    let (mut sum, mut high) = (0u16, true);
    for &octet in octets {
        let word = if high { u16::from(octet) << 8 } else { u16::from(octet) };
        let (wrapped, carry) = sum.overflowing_add(word);
        sum = wrapped + u16::from(carry);
        high = !high;
    }
    !sum
}

#[cfg(test)]
mod tests;
