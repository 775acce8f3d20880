//! `RTM_NEWLINK`, `RTM_DELLINK`, `RTM_SETLINK`, `RTM_GETLINK`.

use std::os::fd::RawFd;

use neli::{
    consts::{
        nl::NlmF,
        rtnl::{Ifla, IflaInfo, RtAddrFamily, Rtm},
    },
    rtnl::{Ifinfomsg, IfinfomsgBuilder},
    types::{Buffer, RtBuffer},
};

use super::{ParseError, attributes, fixed, number, push, request, text};
use crate::types::{Link, LinkFlags, LinkIndex, LinkName, LinkRef, MacAddr, OperState};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VRF_TABLE: u16 = 1;
const VETH_INFO_PEER: u16 = 1;

/// Reads the payload of `RTM_NEWLINK` or `RTM_DELLINK` (`struct ifinfomsg` and attributes). `None` if it is not about
/// the link itself but about its part in a bridge.
///
/// # Errors
/// [`ParseError`] names the first thing that is wrong.
pub fn parse(payload: &[u8]) -> Result<Option<Link>, ParseError> {
    const AF_UNSPEC: u8 = 0;
    let truncated = ParseError::Truncated { needed: 16, got: payload.len() };
    let (&[family, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, _, _, _, _], rest) =
        payload.split_first_chunk::<16>().ok_or(truncated)?;
    if family != AF_UNSPEC {
        return Ok(None);
    }
    let index = i32::from_ne_bytes([i0, i1, i2, i3]);
    let index = u32::try_from(index).ok().and_then(LinkIndex::new).ok_or(ParseError::LinkIndex)?;
    let (mut name, mut oper_state, mut parent_elsewhere) = (None, OperState::UNKNOWN, false);
    let (mut mac, mut mtu, mut kind, mut vrf_table, mut parent, mut master) = (None, 0, None, None, None, None);
    for attribute in attributes(rest) {
        let (attribute, value) = attribute?;
        match attribute {
            IFLA_IFNAME => {
                let bad = ParseError::Attribute { kind: attribute, len: value.len() };
                name = Some(LinkName::new(text(value)).map_err(|_| bad)?);
            }
            IFLA_OPERSTATE => {
                let [state] = fixed(attribute, value)?;
                oper_state = OperState(state);
            }
            IFLA_ADDRESS => mac = fixed(attribute, value).ok().map(MacAddr),
            IFLA_MTU => mtu = number(attribute, value)?,
            IFLA_LINK => parent = LinkIndex::new(number(attribute, value)?),
            IFLA_LINK_NETNSID => parent_elsewhere = true,
            IFLA_MASTER => master = LinkIndex::new(number(attribute, value)?),
            IFLA_LINKINFO => (kind, vrf_table) = parse_info(value)?,
            _ => {}
        }
    }
    Ok(Some(Link {
        index,
        name: name.ok_or(ParseError::Missing(IFLA_IFNAME))?,
        flags: LinkFlags::from_bits_retain(u32::from_ne_bytes([f0, f1, f2, f3])),
        oper_state,
        mac,
        mtu,
        kind,
        parent: parent.filter(|_| !parent_elsewhere),
        master,
        vrf_table,
    }))
}

/// What the driver is called, and of a VRF its routing table.
fn parse_info(info: &[u8]) -> Result<(Option<String>, Option<u32>), ParseError> {
    let (mut kind, mut data) = (None, None);
    for attribute in attributes(info) {
        match attribute? {
            (IFLA_INFO_KIND, value) => kind = Some(String::from_utf8_lossy(text(value)).into_owned()),
            (IFLA_INFO_DATA, value) => data = Some(value),
            _ => {}
        }
    }
    let data = data.filter(|_| kind.as_deref() == Some("vrf"));
    let table = data.and_then(|data| attributes(data).map_while(Result::ok).find(|(kind, _)| *kind == IFLA_VRF_TABLE));
    let table = table.map(|(attribute, value)| number(attribute, value)).transpose()?;
    Ok((kind, table))
}

/// Appends a request for all links.
pub(crate) fn emit_dump(sequence: u32, out: &mut Vec<u8>) {
    request(Rtm::Getlink, NlmF::DUMP, sequence, built(header(), RtBuffer::new()), out);
}

/// Appends a request for a pair of virtual Ethernet links.
pub(crate) fn emit_add_veth(name: LinkName, peer: LinkName, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let mut data = RtBuffer::<u16, Buffer>::new();
    push(&mut data, VETH_INFO_PEER, built(header(), named(peer)));
    emit_add(name, "veth", data, flags, sequence, out);
}

/// Appends a request for an Ethernet bridge.
pub(crate) fn emit_add_bridge(name: LinkName, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    emit_add(name, "bridge", RtBuffer::new(), flags, sequence, out);
}

fn emit_add(name: LinkName, kind: &str, data: RtBuffer<u16, Buffer>, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let mut info = RtBuffer::new();
    push(&mut info, IflaInfo::Kind, kind);
    push(&mut info, IflaInfo::Data, data);
    let mut attributes = named(name);
    push(&mut attributes, Ifla::Linkinfo, info);
    let flags = NlmF::CREATE | NlmF::EXCL | flags;
    request(Rtm::Newlink, flags, sequence, built(header(), attributes), out);
}

/// Appends a request to set a link up.
pub(crate) fn emit_up(link: LinkRef, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, attributes) = of(link);
    request(Rtm::Setlink, flags, sequence, built(header.up(), attributes), out);
}

/// Appends a request to set a link down.
pub(crate) fn emit_down(link: LinkRef, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, attributes) = of(link);
    request(Rtm::Setlink, flags, sequence, built(header.down(), attributes), out);
}

/// Appends a request to make a link a port of another, or of none.
pub(crate) fn emit_set_master(link: LinkRef, master: Option<LinkIndex>, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, mut attributes) = of(link);
    push(&mut attributes, Ifla::Master, master.map_or(0, LinkIndex::get));
    request(Rtm::Setlink, flags, sequence, built(header, attributes), out);
}

/// Appends a request to move a link to the namespace behind an open file.
pub(crate) fn emit_move(link: LinkRef, namespace: RawFd, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, mut attributes) = of(link);
    push(&mut attributes, Ifla::NetNsFd, namespace);
    request(Rtm::Setlink, flags, sequence, built(header, attributes), out);
}

/// Appends a request to rename a link.
pub(crate) fn emit_rename(link: LinkIndex, name: LinkName, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, _) = of(link.into());
    request(Rtm::Setlink, flags, sequence, built(header, named(name)), out);
}

/// Appends a request to remove a link.
pub(crate) fn emit_remove(link: LinkRef, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, attributes) = of(link);
    request(Rtm::Dellink, flags, sequence, built(header, attributes), out);
}

type Attributes = RtBuffer<Ifla, Buffer>;

fn header() -> IfinfomsgBuilder {
    IfinfomsgBuilder::default().ifi_family(RtAddrFamily::Unspecified)
}

/// The kernel takes the name for the one to look for if the index is 0, else for a new name.
fn of(link: LinkRef) -> (IfinfomsgBuilder, Attributes) {
    match link {
        LinkRef::Index(index) => (header().ifi_index(index.get().cast_signed()), Attributes::new()),
        LinkRef::Name(name) => (header(), named(name)),
    }
}

fn named(name: LinkName) -> Attributes {
    let mut attributes = Attributes::new();
    push(&mut attributes, Ifla::Ifname, [name.as_bytes(), &[0]].concat().as_slice());
    attributes
}

fn built(header: IfinfomsgBuilder, attributes: Attributes) -> Ifinfomsg {
    header.rtattrs(attributes).build().expect("the family is given")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One end of a veth pair and port of a bridge, without the attributes that are not read.
    #[rustfmt::skip]
    const VETH: [u8; 100] = [
        0, 0, 1, 0, 5, 0, 0, 0, 0x43, 0x10, 0x01, 0, 0, 0, 0, 0,
        9, 0, 3, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0,
        8, 0, 4, 0, 0xdc, 0x05, 0, 0,
        8, 0, 5, 0, 4, 0, 0, 0,
        8, 0, 10, 0, 9, 0, 0, 0,
        5, 0, 16, 0, 6, 0, 0, 0,
        10, 0, 1, 0, 0x02, 0, 0, 0, 0, 0x01, 0, 0,
        28, 0, 18, 0,
            9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0,
            12, 0, 4, 0, b'b', b'r', b'i', b'd', b'g', b'e', 0, 0,
    ];

    #[test]
    fn a_link_as_the_kernel_reports_it() {
        let link = parse(&VETH).unwrap().unwrap();
        assert_eq!((link.index.get(), link.mtu), (5, 1500));
        assert_eq!(link.name, "veth");
        assert_eq!(link.oper_state, OperState::UP);
        assert_eq!(link.mac, Some(MacAddr([2, 0, 0, 0, 0, 1])));
        assert_eq!((link.parent, link.master), (LinkIndex::new(4), LinkIndex::new(9)));
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert!(link.is_up() && link.has_multicast() && !link.is_noarp());
    }

    /// What Linux 6.1 reports for `ip link add blue type vrf table 10`, as far as it matters.
    #[test]
    fn a_vrf_has_a_table() {
        #[rustfmt::skip]
        let info = [
            9, 0, 3, 0, b'b', b'l', b'u', b'e', 0, 0, 0, 0,
            24, 0, 18, 0,
                8, 0, 1, 0, b'v', b'r', b'f', 0,
                12, 0, 2, 0, 8, 0, 1, 0, 10, 0, 0, 0,
        ];
        let payload = [&VETH[..16], &info].concat();
        let link = parse(&payload).unwrap().unwrap();
        assert_eq!((link.kind.as_deref(), link.vrf_table), (Some("vrf"), Some(10)));
    }

    #[test]
    fn a_parent_in_another_namespace_is_none() {
        let payload = [VETH.as_slice(), &[8, 0, 37, 0, 0, 0, 0, 0]].concat();
        assert_eq!(parse(&payload).unwrap().unwrap().parent, None);
    }

    #[test]
    fn the_part_of_a_link_in_a_bridge_is_no_link() {
        let mut payload = VETH;
        payload[0] = 7; // AF_BRIDGE
        assert_eq!(parse(&payload), Ok(None));
    }

    #[test]
    fn a_negative_index_and_a_nameless_link_are_refused() {
        let mut payload = VETH;
        payload[7] = 0x80;
        assert_eq!(parse(&payload), Err(ParseError::LinkIndex));
        assert_eq!(parse(&VETH[..16]), Err(ParseError::Missing(IFLA_IFNAME)));
    }

    #[test]
    fn a_veth_pair_as_it_goes_out() {
        let mut out = Vec::new();
        emit_add_veth("va".parse().unwrap(), "vb".parse().unwrap(), NlmF::ACK, 1, &mut out);
        #[rustfmt::skip]
        let expected = [
            88, 0, 0, 0, 16, 0, 0x05, 0x06, 1, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            7, 0, 3, 0, b'v', b'a', 0, 0,
            48, 0, 18, 0,
                9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0,
                32, 0, 2, 0,
                    28, 0, 1, 0,
                        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                        7, 0, 3, 0, b'v', b'b', 0, 0,
        ];
        assert_eq!(out, expected);
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&octets);
        }

        #[test]
        fn no_flipped_octet_makes_it_panic(at in any::<prop::sample::Index>(), to: u8) {
            let mut payload = VETH;
            *at.get_mut(&mut payload) = to;
            let _ = parse(&payload);
        }
    }
}
