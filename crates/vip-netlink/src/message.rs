//! Netlink messages as values. No octets make it panic, whoever sent them.
//!
//! Requests are built with neli; what comes back is taken apart here, every length proved first.

use std::{io::Cursor, net::IpAddr};

use neli::{
    Size, ToBytes,
    consts::{
        nl::NlmF,
        rtnl::{RtaType, Rtm},
    },
    nl::{NlPayload, NlmsghdrBuilder},
    rtnl::RtattrBuilder,
    types::{Buffer, RtBuffer},
};
use thiserror::Error;

/// What the codec of every kind of message has to keep. `any` gives values, `$first` and `$second` write one each, and
/// `parse` reads what `$as_read` makes of it.
#[cfg(test)]
macro_rules! codec_properties {
    ($any:expr, $first:expr, $second:expr, $as_read:expr) => {
        proptest::proptest! {
            #[test]
            fn parse_gives_back_what_was_emitted(first in $any, second in $any) {
                let mut out = Vec::new();
                $first(&first, &mut out);
                $second(&second, &mut out);
                let read: Vec<_> =
                    crate::message::messages(&out).map(|message| parse(message.unwrap().payload)).collect();
                proptest::prop_assert_eq!(read, [Ok($as_read(first)), Ok($as_read(second))]);
            }

            #[test]
            fn no_octets_make_it_panic(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
                let _ = parse(&octets);
            }

            #[test]
            fn no_flipped_octet_makes_it_panic(
                value in $any, at in proptest::prelude::any::<proptest::sample::Index>(), to: u8,
            ) {
                let mut out = Vec::new();
                $first(&value, &mut out);
                *at.get_mut(&mut out) = to;
                for message in crate::message::messages(&out) {
                    let _ = message.map(|message| parse(message.payload));
                }
            }
        }
    };
}

pub mod address;
pub mod change;
pub mod event;
pub mod link;
pub mod reply;
pub mod route;
pub mod rule;

/// Why octets are no message of the kind that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The octets end too early.
    #[error("truncated: {needed} octets needed, {got} there")]
    Truncated {
        /// Octets needed.
        needed: usize,
        /// Octets there.
        got: usize,
    },
    /// A length field counts less than its own header.
    #[error("a length of {0} octets is less than the header")]
    Length(usize),
    /// A value has not the size of its kind.
    #[error("attribute {kind} cannot have {len} octets")]
    Attribute {
        /// Type of the attribute.
        kind: u16,
        /// Octets of its value.
        len: usize,
    },
    /// An attribute that has to be there is not.
    #[error("attribute {0} is missing")]
    Missing(u16),
    /// The message is about no link.
    #[error("the link index is not positive")]
    LinkIndex,
    /// Neither IPv4 nor IPv6.
    #[error("address family {0} is neither IPv4 nor IPv6")]
    Family(u8),
    /// A prefix longer than the address.
    #[error("a prefix of {0} bits is longer than the address")]
    PrefixLen(u8),
}

/// One netlink message (`struct nlmsghdr` and what follows it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`: `RTM_NEWADDR`, `NLMSG_ERROR`, ….
    pub kind: u16,
    /// `nlmsg_flags`: `NLM_F_MULTI`, ….
    pub flags: u16,
    /// `nlmsg_seq`: in an answer, that of the request.
    pub sequence: u32,
    /// `nlmsg_pid`: whose request it was or answers; 0 for the kernel's own.
    pub port: u32,
    /// The octets after the header.
    pub payload: &'a [u8],
}

/// The messages in one datagram, up to and with the first that is malformed.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, ParseError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match split_message(rest) {
            Ok((message, after)) => {
                rest = after;
                Some(Ok(message))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}

fn split_message(octets: &[u8]) -> Result<(Message<'_>, &[u8]), ParseError> {
    const HEADER: usize = 16;
    let truncated = |needed| ParseError::Truncated { needed, got: octets.len() };
    let (header, _) = octets.split_first_chunk::<HEADER>().ok_or(truncated(HEADER))?;
    let &[l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = header;
    let len = u32::from_ne_bytes([l0, l1, l2, l3]);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let whole = octets.get(..len).ok_or(truncated(len))?;
    let message = Message {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        port: u32::from_ne_bytes([p0, p1, p2, p3]),
        payload: whole.get(HEADER..).ok_or(ParseError::Length(len))?,
    };
    Ok((message, octets.get(aligned(len)..).unwrap_or_default()))
}

/// The attributes (`struct rtattr`) in `octets`, up to and with the first that is malformed. Types are without the
/// nested and byte-order bits.
pub(crate) fn attributes(octets: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), ParseError>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match split_attribute(rest) {
            Ok((attribute, after)) => {
                rest = after;
                Some(Ok(attribute))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}

type Attribute<'a> = (u16, &'a [u8]);

fn split_attribute(octets: &[u8]) -> Result<(Attribute<'_>, &[u8]), ParseError> {
    const HEADER: usize = 4;
    const TYPE_MASK: u16 = 0x3fff;
    let truncated = |needed| ParseError::Truncated { needed, got: octets.len() };
    let (&[l0, l1, k0, k1], _) = octets.split_first_chunk::<HEADER>().ok_or(truncated(HEADER))?;
    let len = usize::from(u16::from_ne_bytes([l0, l1]));
    let whole = octets.get(..len).ok_or(truncated(len))?;
    let value = whole.get(HEADER..).ok_or(ParseError::Length(len))?;
    Ok(((u16::from_ne_bytes([k0, k1]) & TYPE_MASK, value), octets.get(aligned(len)..).unwrap_or_default()))
}

/// Messages and attributes begin at multiples of four octets.
const fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// A value of a fixed size.
pub(crate) fn fixed<const N: usize>(kind: u16, value: &[u8]) -> Result<[u8; N], ParseError> {
    value.try_into().map_err(|_| ParseError::Attribute { kind, len: value.len() })
}

pub(crate) fn number(kind: u16, value: &[u8]) -> Result<u32, ParseError> {
    fixed(kind, value).map(u32::from_ne_bytes)
}

/// An address of `family`.
pub(crate) fn ip_of(family: u8, kind: u16, value: &[u8]) -> Result<IpAddr, ParseError> {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    match family {
        AF_INET => fixed::<4>(kind, value).map(IpAddr::from),
        AF_INET6 => fixed::<16>(kind, value).map(IpAddr::from),
        other => Err(ParseError::Family(other)),
    }
}

/// A text, up to its first NUL if it has one.
pub(crate) fn text(value: &[u8]) -> &[u8] {
    value.split(|&octet| octet == 0).next().unwrap_or_default()
}

/// Appends a request to `out`, whose length stays a multiple of four.
pub(crate) fn request<P: Size + ToBytes>(kind: Rtm, flags: NlmF, sequence: u32, payload: P, out: &mut Vec<u8>) {
    let message = NlmsghdrBuilder::default()
        .nl_type(kind)
        .nl_flags(NlmF::REQUEST | flags)
        .nl_seq(sequence)
        .nl_payload(NlPayload::Payload(payload))
        .build()
        .expect("type, flags and payload are given");
    let end = out.len() as u64;
    let mut cursor = Cursor::new(std::mem::take(out));
    cursor.set_position(end);
    message.to_bytes(&mut cursor).expect("a vector takes all that is written to it");
    *out = cursor.into_inner();
}

/// Adds an attribute. Values are far below the 65,531 octets that fit: numbers, addresses, names.
pub(crate) fn push<T: RtaType, P: Size + ToBytes>(attributes: &mut RtBuffer<T, Buffer>, kind: T, value: P) {
    let attribute = RtattrBuilder::default().rta_type(kind).rta_payload(value).build();
    attributes.push(attribute.expect("type and value are given"));
}

/// Attributes (`struct rtattr`) that neli has no types for, as octets.
#[derive(Debug, Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// `NLA_F_NESTED`, part of the type of an attribute that has attributes in it.
    pub(crate) const NESTED: u16 = 0x8000;

    /// Adds an attribute. The kernel refuses one that is longer than its length field can say.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(aligned(self.0.len()), 0);
    }

    pub(crate) fn put_ip(&mut self, kind: u16, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.put(kind, &ip.octets()),
            IpAddr::V6(ip) => self.put(kind, &ip.octets()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_lie_end_the_iteration() {
        let short = [1, 2, 3];
        assert_eq!(messages(&short).collect::<Vec<_>>(), [Err(ParseError::Truncated { needed: 16, got: 3 })]);
        let mut header = [0; 16];
        header[..4].copy_from_slice(&15_u32.to_ne_bytes());
        assert_eq!(messages(&header).collect::<Vec<_>>(), [Err(ParseError::Length(15))]);
        header[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(matches!(messages(&header).next(), Some(Err(ParseError::Truncated { .. }))));
    }

    #[test]
    fn attributes_are_four_octets_apart_and_lose_their_nested_bit() {
        let mut octets = Vec::new();
        for (kind, value) in [(0x8003_u16, "abc"), (7, "defg")] {
            octets.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            octets.extend(kind.to_ne_bytes());
            octets.extend(value.as_bytes());
            octets.resize(aligned(octets.len()), 0);
        }
        let attributes: Vec<_> = attributes(&octets).map(Result::unwrap).collect();
        assert_eq!(attributes, [(3, b"abc".as_slice()), (7, b"defg".as_slice())]);
    }
}
