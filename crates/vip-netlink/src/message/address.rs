//! `RTM_NEWADDR`, `RTM_DELADDR`, `RTM_GETADDR`.

use std::net::IpAddr;

use neli::{
    consts::{
        nl::NlmF,
        rtnl::{Ifa, IfaF, RtAddrFamily, RtScope, Rtm},
    },
    rtnl::{Ifaddrmsg, IfaddrmsgBuilder},
    types::{Buffer, RtBuffer},
};

use super::{ParseError, attributes, fixed, ip_of, number, push, request, text};
use crate::types::{Address, AddressFlags, AddressProtocol, Lifetime, LinkIndex, LinkName, Scope};

pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;

/// Reads the payload of `RTM_NEWADDR` or `RTM_DELADDR` (`struct ifaddrmsg` and attributes).
///
/// # Errors
/// [`ParseError`] names the first thing that is wrong.
pub fn parse(payload: &[u8]) -> Result<Address, ParseError> {
    let truncated = ParseError::Truncated { needed: 8, got: payload.len() };
    let (&[family, prefix_len, flags, scope, i0, i1, i2, i3], rest) =
        payload.split_first_chunk::<8>().ok_or(truncated)?;
    let link = LinkIndex::new(u32::from_ne_bytes([i0, i1, i2, i3])).ok_or(ParseError::LinkIndex)?;
    let longest = match family {
        AF_INET => 32,
        AF_INET6 => 128,
        other => return Err(ParseError::Family(other)),
    };
    if prefix_len > longest {
        return Err(ParseError::PrefixLen(prefix_len));
    }
    let (mut local, mut address) = (None, None);
    // Its `ip` is replaced below, once all attributes are read.
    let mut read = Address::new(link, IpAddr::from([0; 4]), prefix_len);
    read.scope = Scope(scope);
    read.flags = AddressFlags::from_bits_retain(flags.into());
    for attribute in attributes(rest) {
        let (kind, value) = attribute?;
        match kind {
            IFA_ADDRESS => address = Some(ip_of(family, kind, value)?),
            IFA_LOCAL => local = Some(ip_of(family, kind, value)?),
            IFA_BROADCAST => read.broadcast = Some(fixed::<4>(kind, value)?.into()),
            IFA_LABEL => {
                let bad = ParseError::Attribute { kind, len: value.len() };
                read.label = Some(LinkName::new(text(value)).map_err(|_| bad)?);
            }
            IFA_FLAGS => read.flags = AddressFlags::from_bits_retain(number(kind, value)?),
            IFA_PROTO => {
                let [protocol] = fixed(kind, value)?;
                read.protocol = Some(AddressProtocol(protocol));
            }
            IFA_CACHEINFO => {
                let [p0, p1, p2, p3, v0, v1, v2, v3, ..] = fixed::<16>(kind, value)?;
                read.preferred = Lifetime::from_wire(u32::from_ne_bytes([p0, p1, p2, p3]));
                read.valid = Lifetime::from_wire(u32::from_ne_bytes([v0, v1, v2, v3]));
            }
            _ => {}
        }
    }
    // IFA_ADDRESS is the other end where IFA_LOCAL is there and differs, else it is the address itself.
    read.ip = local.or(address).ok_or(ParseError::Missing(IFA_ADDRESS))?;
    read.peer = address.filter(|&peer| peer != read.ip);
    // Of a permanent IPv4 address the kernel reports both lifetimes as endless, whatever was asked for.
    if family == AF_INET && read.flags.contains(AddressFlags::PERMANENT | AddressFlags::DEPRECATED) {
        read.preferred = Lifetime::ZERO;
    }
    Ok(read)
}

/// As [`parse`]; `None` where the address is of another family: a dump of all has those of AF_MCTP and AF_PHONET too.
///
/// # Errors
/// [`ParseError`] names the first thing that is wrong.
pub(crate) fn parse_ip(payload: &[u8]) -> Result<Option<Address>, ParseError> {
    match parse(payload) {
        Err(ParseError::Family(_)) => Ok(None),
        parsed => parsed.map(Some),
    }
}

/// Appends a request to add `address`.
pub(crate) fn emit_add(address: &Address, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let mut attributes = identity(address);
    if let Some(broadcast) = address.broadcast {
        push(&mut attributes, Ifa::Broadcast, broadcast.octets().as_slice());
    }
    if let Some(label) = &address.label {
        push(&mut attributes, Ifa::Label, [label.as_bytes(), &[0]].concat().as_slice());
    }
    let flag_bits = (address.flags & AddressFlags::SETTABLE).bits();
    push(&mut attributes, Ifa::Flags, flag_bits);
    let [preferred, valid] = [address.preferred, address.valid].map(Lifetime::to_wire);
    push(&mut attributes, Ifa::Cacheinfo, vec![preferred, valid, 0, 0]);
    if let Some(AddressProtocol(protocol)) = address.protocol {
        push(&mut attributes, Ifa::from(IFA_PROTO), protocol);
    }
    request(Rtm::Newaddr, NlmF::CREATE | flags, sequence, payload(address, attributes), out);
}

/// Appends a request to remove `address`.
pub(crate) fn emit_remove(address: &Address, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    request(Rtm::Deladdr, flags, sequence, payload(address, identity(address)), out);
}

/// Appends a request for all addresses of both families.
pub(crate) fn emit_dump(sequence: u32, out: &mut Vec<u8>) {
    let everything = IfaddrmsgBuilder::default()
        .ifa_family(RtAddrFamily::Unspecified)
        .ifa_prefixlen(0)
        .ifa_scope(RtScope::Universe)
        .ifa_index(0)
        .build()
        .expect("family, prefix, scope and index are given");
    request(Rtm::Getaddr, NlmF::DUMP, sequence, everything, out);
}

fn identity(address: &Address) -> RtBuffer<Ifa, Buffer> {
    let mut attributes = RtBuffer::new();
    push(&mut attributes, Ifa::Local, octets(address.ip).as_slice());
    push(&mut attributes, Ifa::Address, octets(address.peer.unwrap_or(address.ip)).as_slice());
    attributes
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn payload(address: &Address, attributes: RtBuffer<Ifa, Buffer>) -> Ifaddrmsg {
    let family = if address.ip.is_ipv4() { RtAddrFamily::Inet } else { RtAddrFamily::Inet6 };
    IfaddrmsgBuilder::default()
        .ifa_family(family)
        .ifa_prefixlen(address.prefix_len)
        .ifa_flags(IfaF::empty()) // all of them are in IFA_FLAGS
        .ifa_scope(RtScope::from(address.scope.0))
        .ifa_index(address.link.get())
        .rtattrs(attributes)
        .build()
        .expect("family, prefix, scope and index are given")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Linux 6.1 reports for `ip address add 192.0.2.1/24 brd + dev eth0 label eth0:v proto 18`.
    #[test]
    fn an_address_as_the_kernel_reports_it() {
        #[rustfmt::skip]
        let payload = [
            2, 24, 0x80, 0, 2, 0, 0, 0,
            8, 0, 1, 0, 192, 0, 2, 1,
            8, 0, 2, 0, 192, 0, 2, 1,
            8, 0, 4, 0, 192, 0, 2, 255,
            5, 0, 11, 0, 18, 0, 0, 0,
            11, 0, 3, 0, b'e', b't', b'h', b'0', b':', b'v', 0, 0,
            8, 0, 8, 0, 0x80, 0x02, 0, 0,
            20, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 1, 2, 3, 4,
        ];
        let mut expected = Address::new(LinkIndex::new(2).unwrap(), [192, 0, 2, 1].into(), 24);
        expected.broadcast = Some([192, 0, 2, 255].into());
        expected.label = Some("eth0:v".parse().unwrap());
        expected.flags = AddressFlags::PERMANENT | AddressFlags::NOPREFIXROUTE;
        expected.protocol = Some(AddressProtocol::KEEPALIVED);
        assert_eq!(parse(&payload), Ok(expected));

        let mut deprecated = payload;
        deprecated[56] |= 0x20;
        assert_eq!(parse(&deprecated).unwrap().preferred, Lifetime::ZERO);

        assert_eq!(parse(&payload[..7]), Err(ParseError::Truncated { needed: 8, got: 7 }));
        assert_eq!(parse(&payload[..8]), Err(ParseError::Missing(IFA_ADDRESS)));
    }

    #[test]
    fn an_addition_as_it_goes_out() {
        let link = LinkIndex::new(7).unwrap();
        let vip = Address::virtual_address(link, "2001:db8::1".parse().unwrap(), 128);
        let mut out = Vec::new();
        emit_add(&vip, NlmF::EXCL, 9, &mut out);
        #[rustfmt::skip]
        let expected = [
            100, 0, 0, 0, 20, 0, 0x01, 0x06, 9, 0, 0, 0, 0, 0, 0, 0,
            10, 128, 0, 0, 7, 0, 0, 0,
            20, 0, 2, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            20, 0, 1, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            8, 0, 8, 0, 2, 0, 0, 0,
            20, 0, 6, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 11, 0, 18, 0, 0, 0,
        ];
        assert_eq!(out, expected);
    }

    fn any_lifetime() -> impl Strategy<Value = Lifetime> {
        any::<u32>().prop_map(Lifetime::from_wire)
    }

    fn any_ip() -> impl Strategy<Value = (IpAddr, Option<IpAddr>, u8)> {
        prop_oneof![
            (any::<[u8; 4]>(), any::<Option<[u8; 4]>>(), 0..=32_u8).prop_map(|(ip, peer, prefix_len)| (
                ip.into(),
                peer.map(IpAddr::from),
                prefix_len
            )),
            (any::<[u8; 16]>(), any::<Option<[u8; 16]>>(), 0..=128_u8).prop_map(|(ip, peer, prefix_len)| (
                ip.into(),
                peer.map(IpAddr::from),
                prefix_len
            )),
        ]
    }

    prop_compose! {
        fn any_address()(
            (ip, peer, prefix_len) in any_ip(),
            index in 1..=u32::MAX,
            broadcast in any::<Option<[u8; 4]>>(),
            scope in any::<u8>(),
            label in proptest::option::of("[a-z0-9:.]{1,15}"),
            flags in any::<u32>(),
            preferred in any_lifetime(),
            valid in any_lifetime(),
            protocol in any::<Option<u8>>(),
        ) -> Address {
            Address {
                link: LinkIndex::new(index).unwrap(),
                ip,
                prefix_len,
                broadcast: broadcast.map(Into::into),
                scope: Scope(scope),
                label: label.map(|label| label.parse().unwrap()),
                peer: peer.filter(|&peer| peer != ip),
                flags: AddressFlags::from_bits_retain(flags) & AddressFlags::SETTABLE,
                preferred,
                valid,
                protocol: protocol.map(AddressProtocol),
            }
        }
    }

    codec_properties!(
        any_address(),
        |address: &Address, out: &mut Vec<u8>| emit_add(address, NlmF::EXCL, 1, out),
        |address: &Address, out: &mut Vec<u8>| emit_add(address, NlmF::ACK, 2, out),
        std::convert::identity
    );
}
