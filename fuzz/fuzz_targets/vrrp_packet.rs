//! Octets of a VRRP raw socket: no input panics, what is accepted is for us, and parse-emit-parse is stable.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use vrrp_proto::{
    Authentication, Cast, Family, GROUP_IPV4, GROUP_IPV6, Packet, Password, Pdu, Peer, PseudoHeader, Receiver, Version,
    Vrid, WireConfig,
};

const SOURCE_IPV4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const SOURCE_IPV6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

fuzz_target!(|octets: &[u8]| {
    if let Ok(packet) = Packet::from_ipv4(octets) {
        receive(&packet);
    }
    receive(&Packet::from_ipv6(SOURCE_IPV6, None, 255, octets));
    for family in [Family::Ipv4, Family::Ipv6] {
        if let Ok(pdu) = Pdu::parse_unverified(octets, family) {
            emit_and_parse(&pdu, family);
        }
    }
});

/// With a right checksum, so that the checks behind it are reached too.
fn emit_and_parse(pdu: &Pdu<'_>, family: Family) {
    let (source, group) = match family {
        Family::Ipv4 => (IpAddr::V4(SOURCE_IPV4), IpAddr::V4(GROUP_IPV4)),
        Family::Ipv6 => (IpAddr::V6(SOURCE_IPV6), IpAddr::V6(GROUP_IPV6)),
    };
    let between = PseudoHeader::between(source, group).expect("one family");
    for pseudo in [between, PseudoHeader::None] {
        let mut emitted = Vec::new();
        pdu.emit(pseudo, &mut emitted);
        assert_eq!(emitted.len(), pdu.wire_length());
        let parsed = Pdu::parse(&emitted, family, pseudo).expect("what was emitted");
        assert_eq!(&parsed, pdu);
        match family {
            Family::Ipv4 => receive(&Packet::from_ipv4(&datagram(&emitted)).expect("a whole header")),
            Family::Ipv6 => receive(&Packet::from_ipv6(SOURCE_IPV6, Some(GROUP_IPV6), 255, &emitted)),
        }
    }
}

fn datagram(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).expect("255 addresses at most");
    let mut datagram = vec![0x45, 0xc0];
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 1, 0, 0, 255, 112, 0, 0]);
    datagram.extend(SOURCE_IPV4.octets());
    datagram.extend(GROUP_IPV4.octets());
    datagram.extend(payload);
    datagram
}

/// Gives a packet to one receiver of each kind.
fn receive(packet: &Packet<'_>) {
    for config in configs() {
        let mut receiver = Receiver::new(config);
        // Twice: the second from a sender that is known already.
        let first = receiver.receive(packet);
        let second = receiver.receive(packet);
        assert_eq!(first.is_ok(), second.is_ok());
        if let Ok(verified) = first {
            assert_eq!(Some(verified.advertisement.vrid.get()), packet.vrid());
            assert_eq!(verified.advertisement.vrid, receiver.config().vrid);
        }
    }
}

fn configs() -> Vec<WireConfig> {
    let vrid = Vrid::new(51).expect("not zero");
    let mut configs = Vec::new();
    for (version, family) in [
        (Version::V2, Family::Ipv4),
        (Version::V3, Family::Ipv4),
        (Version::V2, Family::Ipv6),
        (Version::V3, Family::Ipv6),
    ] {
        let mut config = WireConfig::new(vrid, version, family);
        config.addresses = match family {
            Family::Ipv4 => vec![IpAddr::from([198, 18, 0, 100])],
            Family::Ipv6 => vec![IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 100))],
        };
        configs.push(config);
    }
    let mut with_password = configs.first().expect("four of them").clone();
    with_password.authentication = Authentication::Pass(Password::new(b"1111"));
    let mut unicast = configs.get(1).expect("four of them").clone();
    unicast.v3_checksum_as_v2 = true;
    unicast.cast = Cast::Unicast { peers: vec![Peer::new(SOURCE_IPV4.into())], check_source: true };
    configs.extend([with_password, unicast]);
    configs
}
