//! What the VRRP targets share.
#![allow(dead_code, reason = "each target uses a part")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use arbitrary::Arbitrary;
use vrrp_proto::{
    Authentication, Cast, Discard, Family, GROUP_IPV4, GROUP_IPV6, Packet, Pdu, Peer, Priority, PseudoHeader, Receiver,
    Transmitter, UnixTime, Verified, Version, Vrid, WireConfig,
};

pub const SOURCE_IPV4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub const SOURCE_IPV6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const START: Duration = Duration::from_secs(1_800_000_000);

/// A router with one address.
pub fn config(version: Version, family: Family) -> WireConfig {
    let mut config = WireConfig::new(Vrid::new(51).expect("not zero"), version, family);
    config.addresses = match family {
        Family::Ipv4 => vec![IpAddr::from([198, 18, 0, 100])],
        Family::Ipv6 => vec![IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 100))],
    };
    config
}

pub fn unicast(config: WireConfig) -> WireConfig {
    let peer = match config.family {
        Family::Ipv4 => Peer::new(SOURCE_IPV4.into()),
        Family::Ipv6 => Peer::new(SOURCE_IPV6.into()),
    };
    let mut config = config;
    config.cast = Cast::Unicast { peers: vec![peer], check_source: true };
    config
}

/// Octets as they are, and, if they are a VRRP packet, once more with a right checksum, so that the checks behind it
/// are reached too.
pub fn receive_octets(octets: &[u8], family: Family, configs: &[WireConfig]) {
    if let Some(packet) = packet(octets, family) {
        configs.iter().for_each(|config| receive(&packet, config));
    }
    let (source, group) = match family {
        Family::Ipv4 => (IpAddr::V4(SOURCE_IPV4), IpAddr::V4(GROUP_IPV4)),
        Family::Ipv6 => (IpAddr::V6(SOURCE_IPV6), IpAddr::V6(GROUP_IPV6)),
    };
    let Ok(pdu) = Pdu::parse_unverified(octets, family) else { return };
    for pseudo in [PseudoHeader::between(source, group).expect("one family"), PseudoHeader::None] {
        let mut emitted = Vec::new();
        pdu.emit(pseudo, &mut emitted);
        assert_eq!(emitted.len(), pdu.wire_length());
        assert_eq!(Pdu::parse(&emitted, family, pseudo).as_ref(), Ok(&pdu));
        let whole = if family == Family::Ipv4 { datagram(&emitted) } else { emitted };
        let packet = packet(&whole, family).expect("a whole header");
        configs.iter().for_each(|config| receive(&packet, config));
    }
}

fn packet(octets: &[u8], family: Family) -> Option<Packet<'_>> {
    match family {
        Family::Ipv4 => Packet::from_ipv4(octets).ok(),
        Family::Ipv6 => Some(Packet::from_ipv6(SOURCE_IPV6, Some(GROUP_IPV6), 255, octets)),
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

fn receive(packet: &Packet<'_>, config: &WireConfig) {
    let mut receiver = Receiver::new(config.clone());
    // Twice: the second from a sender that is known already.
    let first = receiver.receive(packet, UnixTime(START));
    let second = receiver.receive(packet, UnixTime(START));
    assert_eq!(first.is_ok(), second.is_ok());
    check(&receiver, packet, &first);
}

fn check(receiver: &Receiver, packet: &Packet<'_>, outcome: &Result<Verified, Discard>) {
    if let Ok(verified) = outcome {
        assert_eq!(Some(verified.advertisement.vrid.get()), packet.vrid());
        assert_eq!(verified.advertisement.vrid, receiver.config().vrid);
    }
}

/// What a sender with the key does, and what someone without it does to its packets on the way.
#[derive(Debug, Arbitrary)]
pub enum Step {
    /// The clock moves on, then an advertisement is sent, not yet delivered.
    Send { millis: u16, priority: u8 },
    /// One of the packets sent so far arrives, with these octets changed and this many left.
    Deliver { packet: u8, changes: Vec<(u8, u8)>, length: u8 },
    /// Something else arrives.
    Inject(Vec<u8>),
    /// The receiver's process is replaced.
    Restart,
}

/// Nothing is believed that was changed or that was believed before. `open` tells the octets of the datagram that are
/// not under the seal.
pub fn play(config: &WireConfig, steps: &[Step], open: fn(usize) -> bool) {
    let mut transmitter = Transmitter::new(config.clone()).expect("one address");
    let mut receiver = Receiver::new(config.clone());
    let mut now = UnixTime(START);
    let mut sent: Vec<(Vec<u8>, bool)> = Vec::new();
    for step in steps {
        match step {
            Step::Send { millis, priority } => {
                now = UnixTime(now.0 + Duration::from_millis((*millis).into()));
                let advert = transmitter.begin(Priority(*priority), now);
                let mut out = Vec::new();
                transmitter.emit(&advert, SOURCE_IPV4.into(), GROUP_IPV4.into(), &mut out).expect("one family");
                sent.push((out, false));
            }
            Step::Deliver { packet, changes, length } => {
                let Some((octets, believed)) = sent.get_mut(usize::from(*packet)) else { continue };
                let mut changed = octets.clone();
                for (place, flip) in changes {
                    if let Some(octet) = changed.get_mut(usize::from(*place)) {
                        *octet ^= flip;
                    }
                }
                // A length of 0 leaves it whole.
                changed.truncate(usize::from(length.wrapping_sub(1)));
                let Ok(taken) = Packet::from_ipv4(&changed) else { continue };
                let outcome = receiver.receive(&taken, now);
                check(&receiver, &taken, &outcome);
                if outcome.is_ok() {
                    assert!(!*believed, "believed twice");
                    let same = |(place, (a, b)): (usize, (&u8, &u8))| a == b || open(place);
                    assert_eq!(changed.len(), octets.len());
                    assert!(changed.iter().zip(&*octets).enumerate().all(same), "a change was not seen");
                    *believed = true;
                }
            }
            Step::Inject(octets) => {
                if let Ok(packet) = Packet::from_ipv4(octets) {
                    assert!(receiver.receive(&packet, now).is_err(), "a forgery was believed");
                }
            }
            Step::Restart => {
                let memory = receiver.memory().clone();
                receiver = Receiver::new(config.clone());
                receiver.resume(memory);
            }
        }
    }
}

pub fn with(authentication: Authentication, version: Version) -> WireConfig {
    let mut config = config(version, Family::Ipv4);
    config.authentication = authentication;
    config
}
