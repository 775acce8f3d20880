use super::*;
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;
use std::vec;

/// As keepalived 2.4.3 sends it: VRRPv2, VRID 54, priority 100, 10.9.0.104.
const V2_IPV4: [u8; 20] =
    [0x21, 0x36, 0x64, 0x01, 0x00, 0x01, 0x70, 0x56, 0x0a, 0x09, 0x00, 0x68, 0, 0, 0, 0, 0, 0, 0, 0];
/// As keepalived 2.4.3 sends it from 10.9.0.2: VRRPv3, VRID 55, priority 100, 10.9.0.105.
const V3_IPV4: [u8; 12] = [0x31, 0x37, 0x64, 0x01, 0x00, 0x64, 0x75, 0x57, 0x0a, 0x09, 0x00, 0x69];

fn ipv4_pseudo() -> PseudoHeader {
    PseudoHeader::Ipv4 { source: Ipv4Addr::new(10, 9, 0, 2), destination: crate::GROUP_IPV4 }
}

#[test]
fn a_version_2_capture_decodes() {
    let pdu = Pdu::parse(&V2_IPV4, Family::Ipv4, PseudoHeader::None).unwrap();
    assert_eq!(pdu.vrid.get(), 54);
    assert_eq!(pdu.priority, Priority(100));
    assert_eq!(
        pdu.fields,
        VersionFields::V2 { auth_type: 0, advertisement_interval: Seconds(1), auth_data: AuthData::default() }
    );
    assert_eq!(pdu.addresses.iter().collect::<Vec<_>>(), [IpAddr::from([10, 9, 0, 104])]);
    let mut out = Vec::new();
    pdu.emit(PseudoHeader::None, &mut out);
    assert_eq!(out, V2_IPV4);
}

#[test]
fn a_version_3_capture_decodes() {
    let pdu = Pdu::parse(&V3_IPV4, Family::Ipv4, ipv4_pseudo()).unwrap();
    assert_eq!(pdu.vrid.get(), 55);
    assert_eq!(pdu.fields, VersionFields::V3 { max_advertise_interval: Centis::new(100).unwrap() });
    assert!(pdu.addresses.contains(&IpAddr::from([10, 9, 0, 105])));
    let mut out = Vec::new();
    pdu.emit(ipv4_pseudo(), &mut out);
    assert_eq!(out, V3_IPV4);
    assert_eq!(Pdu::parse(&V3_IPV4, Family::Ipv4, PseudoHeader::None), Err(ParseError::Checksum));
}

#[test]
fn version_3_over_ipv6_is_written_out() {
    let pseudo = PseudoHeader::Ipv6 { source: "fe80::1".parse().unwrap(), destination: crate::GROUP_IPV6 };
    let address: Ipv6Addr = "fe80::5".parse().unwrap();
    let octets = [address.octets()];
    let pdu = Pdu {
        vrid: Vrid::new(6).unwrap(),
        priority: Priority(200),
        fields: VersionFields::V3 { max_advertise_interval: Centis::new(10).unwrap() },
        addresses: Addresses::ipv6(&octets).unwrap(),
    };
    let mut out = Vec::new();
    pdu.emit(pseudo, &mut out);
    // The words of pseudo-header and packet, added by hand:
    // fe80 + 1 + ff02 + 12 + 18 (length) + 70 (protocol) + 3106 + c801 + 000a + fe80 + 5 = 3f5b3 -> f5b6 -> 0a49.
    assert_eq!(out[..8], [0x31, 6, 200, 1, 0, 10, 0x0a, 0x49]);
    assert_eq!(out[8..], address.octets());
}

#[test]
fn octets_after_the_packet_are_left_alone() {
    let mut longer = V3_IPV4.to_vec();
    longer.extend_from_slice(&[0xaa; 28]);
    let pdu = Pdu::parse(&longer, Family::Ipv4, ipv4_pseudo()).unwrap();
    assert_eq!(pdu.wire_length(), V3_IPV4.len());
}

#[test]
fn reserved_bits_are_ignored() {
    let mut octets = V3_IPV4;
    octets[4] |= 0xf0;
    let pdu = Pdu::parse_unverified(&octets, Family::Ipv4).unwrap();
    assert_eq!(pdu.fields, VersionFields::V3 { max_advertise_interval: Centis::new(100).unwrap() });
}

#[test]
fn each_wrong_field_has_its_error() {
    let parse = |octets: &[u8]| Pdu::parse_unverified(octets, Family::Ipv4).unwrap_err();
    let with = |index: usize, value: u8| {
        let mut octets = V2_IPV4;
        octets[index] = value;
        octets
    };
    assert_eq!(parse(&V2_IPV4[..7]), ParseError::Truncated { needed: 8, got: 7 });
    assert_eq!(parse(&V2_IPV4[..19]), ParseError::Truncated { needed: 20, got: 19 });
    assert_eq!(parse(&V3_IPV4[..11]), ParseError::Truncated { needed: 12, got: 11 });
    assert_eq!(parse(&with(0, 0x41)), ParseError::Version(4));
    assert_eq!(parse(&with(0, 0x22)), ParseError::PacketType(2));
    assert_eq!(parse(&with(1, 0)), ParseError::ZeroVrid);
}

#[test]
fn more_than_255_addresses_cannot_be_built() {
    let octets = vec![[0; 4]; 256];
    assert_eq!(Addresses::ipv4(&octets), None);
    assert_eq!(Addresses::ipv4(&octets[1..]).unwrap().count(), 255);
}

/// Everything that makes a packet, owned.
#[derive(Debug, Clone)]
struct Parts {
    vrid: Vrid,
    priority: Priority,
    fields: VersionFields,
    pseudo: PseudoHeader,
    ipv4: Vec<[u8; 4]>,
    ipv6: Vec<[u8; 16]>,
    family: Family,
}

impl Parts {
    fn pdu(&self) -> Pdu<'_> {
        let addresses = match self.family {
            Family::Ipv4 => Addresses::ipv4(&self.ipv4),
            Family::Ipv6 => Addresses::ipv6(&self.ipv6),
        };
        Pdu { vrid: self.vrid, priority: self.priority, fields: self.fields, addresses: addresses.unwrap() }
    }

    fn wire(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.pdu().emit(self.pseudo, &mut out);
        out
    }
}

prop_compose! {
    fn parts()(
        vrid in 1u8.., priority: u8, v3: bool, ipv6: bool, interval in 0u16..4096, auth_type: u8, auth: [u8; 8],
        source: [u8; 16], destination: [u8; 16], count in 0usize..256, seed: [u8; 16],
    ) -> Parts {
        let family = if ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        let fields = if v3 {
            VersionFields::V3 { max_advertise_interval: Centis::new(interval).unwrap() }
        } else {
            let auth_data = AuthData(if ipv6 { [0; 8] } else { auth });
            VersionFields::V2 { auth_type, advertisement_interval: Seconds(interval.to_be_bytes()[1]), auth_data }
        };
        let [s0, s1, s2, s3, ..] = source;
        let [d0, d1, d2, d3, ..] = destination;
        let pseudo = match (family, v3) {
            (Family::Ipv6, _) => PseudoHeader::Ipv6 { source: source.into(), destination: destination.into() },
            (Family::Ipv4, true) => {
                PseudoHeader::Ipv4 { source: [s0, s1, s2, s3].into(), destination: [d0, d1, d2, d3].into() }
            }
            (Family::Ipv4, false) => PseudoHeader::None,
        };
        let [a, b, c, d, ..] = seed;
        Parts {
            vrid: Vrid::new(vrid).unwrap(), priority: Priority(priority), fields, pseudo, family,
            ipv4: vec![[a, b, c, d]; count], ipv6: vec![seed; count],
        }
    }
}

proptest! {
    #[test]
    fn parse_takes_back_what_emit_wrote(parts in parts()) {
        let wire = parts.wire();
        prop_assert_eq!(wire.len(), parts.pdu().wire_length());
        prop_assert_eq!(Pdu::parse(&wire, parts.family, parts.pseudo), Ok(parts.pdu()));
    }

    /// A flip that makes the packet another length (count, version) is the receiver's to refuse: it knows the length.
    #[test]
    fn a_flipped_bit_is_refused(parts in parts(), bit: prop::sample::Index) {
        let mut wire = parts.wire();
        let bit = bit.index(wire.len() * 8);
        wire[bit / 8] ^= 1 << (bit % 8);
        let parsed = Pdu::parse(&wire, parts.family, parts.pseudo);
        prop_assert!(parsed.is_err() || parsed.unwrap().wire_length() != wire.len());
    }

    #[test]
    fn no_octets_panic(octets: Vec<u8>, ipv6: bool) {
        let family = if ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        let parsed = Pdu::parse_unverified(&octets, family);
        prop_assert!(parsed.is_err() || parsed.unwrap().wire_length() <= octets.len());
    }
}
