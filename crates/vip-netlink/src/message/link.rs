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

use super::{Attributes as Nested, ParseError, attributes, fixed, number, push, request, text};
use crate::types::{
    AddressGeneration, Ipv4Conf, Ipv4Setting, IpvlanFlags, IpvlanMode, Link, LinkFlags, LinkIndex, LinkName, LinkRef,
    MacAddr, MacvlanMode, OperState, VirtualKind, VirtualLink,
};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VRF_TABLE: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
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
    let (mut mac, mut mtu, mut info, mut parent, mut master) = (None, 0, Info::default(), None, None);
    let (mut group, mut settings) = (0, Settings::default());
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
            IFLA_LINKINFO => info = parse_info(value)?,
            IFLA_GROUP => group = number(attribute, value)?,
            IFLA_AF_SPEC => settings = parse_settings(value)?,
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
        kind: info.kind,
        parent: parent.filter(|_| !parent_elsewhere),
        master,
        vrf_table: info.vrf_table,
        virtual_kind: info.virtual_kind,
        group,
        address_generation: settings.address_generation,
        ipv4: settings.ipv4,
    }))
}

/// `IFLA_LINKINFO`.
#[derive(Default)]
struct Info {
    kind: Option<String>,
    vrf_table: Option<u32>,
    virtual_kind: Option<VirtualKind>,
}

fn parse_info(info: &[u8]) -> Result<Info, ParseError> {
    let (mut kind, mut data) = (None, &[][..]);
    for attribute in attributes(info) {
        match attribute? {
            (IFLA_INFO_KIND, value) => kind = Some(String::from_utf8_lossy(text(value)).into_owned()),
            (IFLA_INFO_DATA, value) => data = value,
            _ => {}
        }
    }
    let virtual_kind = match kind.as_deref() {
        Some("macvlan") => Some(VirtualKind::Macvlan { mode: parse_macvlan(data)? }),
        Some("ipvlan") => Some(parse_ipvlan(data)?),
        _ => None,
    };
    let of_vrf = kind.as_deref() == Some("vrf");
    let table = attributes(data).map_while(Result::ok).find(|(kind, _)| of_vrf && *kind == IFLA_VRF_TABLE);
    let vrf_table = table.map(|(attribute, value)| number(attribute, value)).transpose()?;
    Ok(Info { kind, vrf_table, virtual_kind })
}

fn parse_macvlan(data: &[u8]) -> Result<MacvlanMode, ParseError> {
    let mut mode = MacvlanMode::VEPA; // the kernel's own default
    for attribute in attributes(data) {
        if let (IFLA_MACVLAN_MODE, value) = attribute? {
            mode = MacvlanMode(number(IFLA_MACVLAN_MODE, value)?);
        }
    }
    Ok(mode)
}

fn parse_ipvlan(data: &[u8]) -> Result<VirtualKind, ParseError> {
    let (mut mode, mut flags) = (IpvlanMode::L3, IpvlanFlags::BRIDGE); // the kernel's own defaults
    for attribute in attributes(data) {
        match attribute? {
            (IFLA_IPVLAN_MODE, value) => {
                mode = IpvlanMode(fixed(IFLA_IPVLAN_MODE, value).map(u16::from_ne_bytes)?);
            }
            (IFLA_IPVLAN_FLAGS, value) => {
                flags = IpvlanFlags(fixed(IFLA_IPVLAN_FLAGS, value).map(u16::from_ne_bytes)?);
            }
            _ => {}
        }
    }
    Ok(VirtualKind::Ipvlan { mode, flags })
}

/// `IFLA_AF_SPEC`.
#[derive(Default)]
struct Settings {
    address_generation: Option<AddressGeneration>,
    ipv4: Ipv4Conf,
}

fn parse_settings(spec: &[u8]) -> Result<Settings, ParseError> {
    let mut settings = Settings::default();
    for family in attributes(spec) {
        let (family, value) = family?;
        for attribute in attributes(value) {
            match (family, attribute?) {
                (AF_INET, (IFLA_INET_CONF, values)) => settings.ipv4 = parse_ipv4_conf(values),
                (AF_INET6, (kind @ IFLA_INET6_ADDR_GEN_MODE, value)) => {
                    let [mode] = fixed(kind, value)?;
                    settings.address_generation = Some(AddressGeneration(mode));
                }
                _ => {}
            }
        }
    }
    Ok(settings)
}

/// Values of four octets in the order of their numbers; older kernels have fewer.
fn parse_ipv4_conf(values: &[u8]) -> Ipv4Conf {
    let (values, _) = values.as_chunks::<4>();
    Ipv4Setting::ALL.into_iter().fold(Ipv4Conf::default(), |conf, setting| {
        let place = usize::from(setting.number()) - 1;
        values.get(place).map_or(conf, |value| conf.with(setting, u32::from_ne_bytes(*value)))
    })
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

/// Appends a request for a link on top of another one. Its settings need requests of their own: the kernel takes none
/// of them for a link that is not there yet.
pub(crate) fn emit_add_virtual(made: &VirtualLink, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let mut attributes = named(made.name);
    push(&mut attributes, Ifla::Link, made.parent.get());
    if let Some(mac) = made.mac {
        push(&mut attributes, Ifla::Address, mac.0.as_slice());
    }
    push(&mut attributes, Ifla::Group, made.group);
    if let Some(master) = made.master {
        push(&mut attributes, Ifla::Master, master.get());
    }
    push(&mut attributes, Ifla::Linkinfo, info_of(made.kind));
    let flags = NlmF::CREATE | NlmF::EXCL | flags;
    request(Rtm::Newlink, flags, sequence, built(header(), attributes), out);
}

/// Appends a request to change the mode of a macvlan or an ipvlan.
pub(crate) fn emit_set_kind(link: LinkIndex, kind: VirtualKind, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, mut attributes) = of(link.into());
    push(&mut attributes, Ifla::Linkinfo, info_of(kind));
    request(Rtm::Newlink, flags, sequence, built(header, attributes), out);
}

fn info_of(kind: VirtualKind) -> RtBuffer<IflaInfo, Buffer> {
    let mut data = Nested::default();
    match kind {
        VirtualKind::Macvlan { mode } => data.put(IFLA_MACVLAN_MODE, &mode.0.to_ne_bytes()),
        VirtualKind::Ipvlan { mode, flags } => {
            data.put(IFLA_IPVLAN_MODE, &mode.0.to_ne_bytes());
            data.put(IFLA_IPVLAN_FLAGS, &flags.0.to_ne_bytes());
        }
    }
    let mut info = RtBuffer::new();
    push(&mut info, IflaInfo::Kind, kind.name());
    push(&mut info, IflaInfo::Data, data.as_slice());
    info
}

/// Appends a request to change the MAC address of a link.
pub(crate) fn emit_set_mac(link: LinkIndex, mac: MacAddr, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, mut attributes) = of(link.into());
    push(&mut attributes, Ifla::Address, mac.0.as_slice());
    request(Rtm::Setlink, flags, sequence, built(header, attributes), out);
}

/// Appends a request to put a link into a group.
pub(crate) fn emit_set_group(link: LinkIndex, group: u32, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let (header, mut attributes) = of(link.into());
    push(&mut attributes, Ifla::Group, group);
    request(Rtm::Setlink, flags, sequence, built(header, attributes), out);
}

/// Appends a request to change how a link gets its link-local addresses.
pub(crate) fn emit_set_address_generation(
    link: LinkIndex,
    mode: AddressGeneration,
    flags: NlmF,
    sequence: u32,
    out: &mut Vec<u8>,
) {
    let mut settings = Nested::default();
    settings.put(IFLA_INET6_ADDR_GEN_MODE, &[mode.0]);
    emit_settings(link, AF_INET6, &settings, flags, sequence, out);
}

/// Appends a request to change settings of a link for IPv4.
pub(crate) fn emit_set_ipv4_conf(link: LinkIndex, conf: &Ipv4Conf, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let mut values = Nested::default();
    for (setting, value) in conf.iter() {
        values.put(setting.number(), &value.to_ne_bytes());
    }
    let mut settings = Nested::default();
    settings.put(IFLA_INET_CONF | Nested::NESTED, values.as_slice());
    emit_settings(link, AF_INET, &settings, flags, sequence, out);
}

fn emit_settings(link: LinkIndex, family: u16, settings: &Nested, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let mut spec = Nested::default();
    spec.put(family | Nested::NESTED, settings.as_slice());
    let (header, mut attributes) = of(link.into());
    push(&mut attributes, Ifla::AfSpec, spec.as_slice());
    request(Rtm::Setlink, flags, sequence, built(header, attributes), out);
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

    /// A private macvlan in group 9, without the attributes that are not read.
    fn macvlan() -> Vec<u8> {
        let put = |parts: &[(u16, &[u8])]| {
            let mut nested = Nested::default();
            parts.iter().for_each(|(kind, value)| nested.put(*kind, value));
            nested.as_slice().to_vec()
        };
        let number = |value: u32| value.to_ne_bytes();
        let values: Vec<u8> = (1..=23_u32).flat_map(u32::to_ne_bytes).collect();
        let attributes = put(&[
            (3, b"vrrp.51\0"),
            (5, &number(2)),
            (27, &number(9)),
            (18, &put(&[(1, b"macvlan\0"), (2, &put(&[(1, &number(1))]))])),
            (26, &put(&[(2, &put(&[(1, &values)])), (10, &put(&[(8, &[1])]))])),
        ]);
        [&VETH[..16], &attributes].concat()
    }

    #[test]
    fn a_macvlan_and_its_settings_as_the_kernel_reports_them() {
        let link = parse(&macvlan()).unwrap().unwrap();
        assert_eq!(link.virtual_kind, Some(VirtualKind::Macvlan { mode: MacvlanMode::PRIVATE }));
        assert_eq!((link.parent, link.group), (LinkIndex::new(2), 9));
        assert_eq!(link.address_generation, Some(AddressGeneration::NONE));
        let values: Vec<_> = link.ipv4.iter().map(|(setting, value)| format!("{} {value}", setting.name())).collect();
        // The value of each is its number here.
        assert_eq!(
            values,
            ["accept_local 23", "arp_filter 13", "arp_ignore 19", "promote_secondaries 20", "rp_filter 8"]
        );
    }

    #[test]
    fn what_goes_out_is_read_back() {
        let kinds = [
            VirtualKind::Macvlan { mode: MacvlanMode::PRIVATE },
            VirtualKind::Ipvlan { mode: IpvlanMode::L2, flags: IpvlanFlags::PRIVATE },
        ];
        for kind in kinds {
            let made = VirtualLink {
                name: "vrrp.51".parse().unwrap(),
                parent: LinkIndex::new(2).unwrap(),
                kind,
                mac: Some(MacAddr([0, 0, 0x5e, 0, 1, 51])),
                group: 9,
                master: LinkIndex::new(3),
                address_generation: None,
                ipv4: Ipv4Conf::default(),
            };
            let mut out = Vec::new();
            emit_add_virtual(&made, NlmF::empty(), 1, &mut out);
            let mut payload = out.split_off(16);
            payload[4] = 5; // the kernel gives it a number
            let link = parse(&payload).unwrap().unwrap();
            assert_eq!((link.virtual_kind, link.parent, link.mac), (Some(kind), Some(made.parent), made.mac));
            assert_eq!((link.group, link.master, link.name), (9, made.master, made.name));
        }
    }

    #[test]
    fn settings_as_they_go_out() {
        let mut out = Vec::new();
        let link = LinkIndex::new(5).unwrap();
        let conf = Ipv4Conf::default().with(Ipv4Setting::ArpIgnore, 1);
        emit_set_ipv4_conf(link, &conf, NlmF::ACK, 1, &mut out);
        emit_set_address_generation(link, AddressGeneration::NONE, NlmF::ACK, 2, &mut out);
        #[rustfmt::skip]
        let expected = [
            52, 0, 0, 0, 19, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            20, 0, 26, 0, 16, 0, 2, 0x80, 12, 0, 1, 0x80, 8, 0, 19, 0, 1, 0, 0, 0,
            48, 0, 0, 0, 19, 0, 5, 0, 2, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            16, 0, 26, 0, 12, 0, 10, 0x80, 5, 0, 8, 0, 1, 0, 0, 0,
        ];
        assert_eq!(out, expected);
    }

    proptest! {
        #[test]
        fn no_flipped_octet_of_a_macvlan_makes_it_panic(at in any::<prop::sample::Index>(), to: u8) {
            let mut payload = macvlan();
            *at.get_mut(&mut payload) = to;
            let _ = parse(&payload);
        }

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
