use super::*;
use crate::auth::Password;
use crate::transmitter::Transmitter;
use crate::types::{Family, Priority, Vrid};
use crate::wire::Peer;
use alloc::vec::Vec;
use proptest::prelude::*;
use std::vec;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
const GROUP: IpAddr = IpAddr::V4(crate::GROUP_IPV4);
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100));

fn config(version: Version) -> WireConfig {
    let mut config = WireConfig::new(Vrid::new(51).unwrap(), version, Family::Ipv4);
    config.addresses = vec![VIP];
    config
}

fn pass() -> WireConfig {
    let mut config = config(Version::V2);
    config.authentication = Authentication::Pass(Password::new(b"secret"));
    config
}

fn unicast(peer: Peer, check_source: bool) -> WireConfig {
    let mut config = config(Version::V3);
    config.cast = Cast::Unicast { peers: vec![peer], check_source };
    config
}

fn datagram_to(config: &WireConfig, destination: IpAddr) -> Vec<u8> {
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    transmitter.emit(Priority(100), PEER, destination, &mut out).unwrap();
    out
}

fn datagram(config: &WireConfig) -> Vec<u8> {
    datagram_to(config, GROUP)
}

/// Puts the right checksum of VRRPv2 into a datagram that was changed.
fn repair(datagram: &mut [u8]) {
    datagram[26..28].fill(0);
    let sum = checksum(crate::PseudoHeader::None, &datagram[20..]);
    datagram[26..28].copy_from_slice(&sum.to_be_bytes());
}

/// The receiver's word on a datagram; a discard must have moved exactly its counter.
fn receive(config: &WireConfig, datagram: &[u8]) -> Result<Verified, Discard> {
    let mut receiver = Receiver::new(config.clone());
    let result = receiver.receive(&Packet::from_ipv4(datagram).unwrap());
    assert_eq!(receiver.stats().discarded(), u64::from(result.is_err()));
    assert_eq!(receiver.stats().advertisements, u64::from(result.is_ok()));
    result
}

#[test]
fn what_a_transmitter_sends_its_receiver_accepts() {
    for config in [config(Version::V2), config(Version::V3), pass()] {
        let verified = receive(&config, &datagram(&config)).unwrap();
        assert_eq!(verified.advertisement.priority, Priority(100));
        assert_eq!(verified.advertisement.vrid.get(), 51);
        assert_eq!(verified.advertisement.interval, config.advertisement_interval);
        assert_eq!((verified.interval, verified.addresses), (None, None));
    }
}

#[test]
fn an_authentication_header_is_refused_first() {
    let config = config(Version::V2);
    let mut bytes = datagram(&config);
    bytes[9] = 51;
    bytes.splice(20..20, [0xee; 24]);
    assert_eq!(receive(&config, &bytes), Err(Discard::UnexpectedAuthenticationHeader));
}

#[test]
fn the_length_must_be_that_of_the_address_count() {
    let config = config(Version::V2);
    let mut short = datagram(&config);
    short.truncate(39);
    assert_eq!(receive(&config, &short), Err(Discard::Length { got: 19, expected: 20 }));
    let mut long = datagram(&config);
    long.extend_from_slice(&[0; 28]);
    assert_eq!(receive(&config, &long), Err(Discard::Length { got: 48, expected: 20 }));
    assert_eq!(receive(&config, &short[..25]), Err(Discard::Length { got: 5, expected: 8 }));
}

#[test]
fn ethernet_padding_is_no_fault() {
    let config = config(Version::V2);
    let mut padded = datagram(&config);
    padded.resize(46, 0);
    assert!(receive(&config, &padded).is_ok());
    padded.resize(47, 0);
    assert_eq!(receive(&config, &padded), Err(Discard::Length { got: 27, expected: 20 }));
}

#[test]
fn multicast_needs_a_ttl_of_255() {
    let config = config(Version::V2);
    let mut bytes = datagram(&config);
    bytes[8] = 254;
    assert_eq!(receive(&config, &bytes), Err(Discard::HopLimit { got: 254 }));
}

#[test]
fn the_version_must_be_ours() {
    let v3 = datagram(&config(Version::V3));
    assert_eq!(receive(&config(Version::V2), &v3), Err(Discard::Version { got: 3, expected: 2 }));
    let v2 = datagram(&config(Version::V2));
    assert_eq!(receive(&config(Version::V3), &v2), Err(Discard::Version { got: 2, expected: 3 }));
    let mut v4 = datagram(&config(Version::V3));
    v4[20] = 0x41;
    assert_eq!(receive(&config(Version::V3), &v4), Err(Discard::Version { got: 4, expected: 3 }));
}

#[test]
fn the_vrid_must_be_ours() {
    let config = config(Version::V2);
    let mut bytes = datagram(&config);
    bytes[21] = 52;
    repair(&mut bytes);
    assert_eq!(receive(&config, &bytes), Err(Discard::Vrid { got: 52, expected: 51 }));
}

#[test]
fn authentication_must_be_ours() {
    let plain = datagram(&config(Version::V2));
    assert_eq!(receive(&pass(), &plain), Err(Discard::AuthenticationType { got: 0, expected: 1 }));
    assert_eq!(
        receive(&config(Version::V2), &datagram(&pass())),
        Err(Discard::AuthenticationType { got: 1, expected: 0 })
    );
    let mut wrong = datagram(&pass());
    wrong[32] ^= 1;
    repair(&mut wrong);
    assert_eq!(receive(&pass(), &wrong), Err(Discard::AuthenticationFailed));
    let mut invalid = datagram(&config(Version::V2));
    invalid[24] = 3;
    repair(&mut invalid);
    assert_eq!(receive(&config(Version::V2), &invalid), Err(Discard::InvalidAuthenticationType { got: 3 }));
}

#[test]
fn a_version_2_interval_must_be_ours_and_is_counted() {
    let mut slow = config(Version::V2);
    slow.advertisement_interval = AdvertisementInterval::from_seconds(Seconds(2)).unwrap();
    let mut receiver = Receiver::new(config(Version::V2));
    let bytes = datagram(&slow);
    let discard = receiver.receive(&Packet::from_ipv4(&bytes).unwrap()).unwrap_err();
    assert_eq!(discard, Discard::AdvertisementInterval { got: 2, expected: 1 });
    assert_eq!(receiver.stats().advertisement_interval, 1);
}

#[test]
fn only_advertisements_are_known() {
    let config = config(Version::V2);
    let mut bytes = datagram(&config);
    bytes[20] = 0x22;
    repair(&mut bytes);
    assert_eq!(receive(&config, &bytes), Err(Discard::PacketType { got: 2 }));
}

#[test]
fn the_ip_header_must_declare_what_came() {
    let config = config(Version::V2);
    let mut bytes = datagram(&config);
    bytes[3] += 4;
    assert_eq!(receive(&config, &bytes), Err(Discard::TotalLength { declared: 24, got: 20 }));
}

#[test]
fn a_version_3_interval_that_differs_is_accepted_and_said_once() {
    let mut slow = config(Version::V3);
    let theirs = Centis::new(250).unwrap();
    slow.advertisement_interval = AdvertisementInterval::from_centis(theirs).unwrap();
    let ours = config(Version::V3).advertisement_interval;
    let bytes = datagram(&slow);
    let packet = Packet::from_ipv4(&bytes).unwrap();
    let mut receiver = Receiver::new(config(Version::V3));
    let first = receiver.receive(&packet).unwrap();
    assert_eq!(first.advertisement.interval, slow.advertisement_interval);
    assert_eq!(first.interval, Some(IntervalMismatch { ours, theirs }));
    assert_eq!(receiver.receive(&packet).unwrap().interval, None);
    receiver.forget_reports();
    assert!(receiver.receive(&packet).unwrap().interval.is_some());
    assert_eq!(receiver.stats().interval_differs, 3);
}

#[test]
fn an_interval_of_zero_is_never_learned() {
    let mut config = config(Version::V3);
    config.v3_checksum_as_v2 = true;
    let mut bytes = datagram(&config);
    bytes[24..26].fill(0);
    repair(&mut bytes);
    let verified = receive(&config, &bytes).unwrap();
    assert_eq!(verified.advertisement.interval, config.advertisement_interval);
    assert!(verified.interval.is_some());
}

#[test]
fn the_checksum_is_verified_in_each_form() {
    for mut config in [config(Version::V2), config(Version::V3), pass()] {
        let mut bytes = datagram(&config);
        bytes[22] ^= 1;
        assert_eq!(receive(&config, &bytes), Err(Discard::Checksum));
        config.version = Version::V3;
        config.advertisement_interval = AdvertisementInterval::one_second(Version::V3);
        config.v3_checksum_as_v2 = true;
        let mut bytes = datagram(&config);
        assert!(receive(&config, &bytes).is_ok());
        bytes[27] ^= 1;
        assert_eq!(receive(&config, &bytes), Err(Discard::Checksum));
    }
}

#[test]
fn over_ipv6_the_checksum_is_verified_unless_the_kernel_did() {
    let mut config = WireConfig::new(Vrid::new(51).unwrap(), Version::V3, Family::Ipv6);
    config.addresses = vec!["fe80::100".parse().unwrap()];
    let source: Ipv6Addr = "fe80::2".parse().unwrap();
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    transmitter.emit(Priority(9), source.into(), IpAddr::V6(crate::GROUP_IPV6), &mut out).unwrap();
    let mut receiver = Receiver::new(config);
    let unknown_destination = Packet::from_ipv6(source, None, 255, &out);
    assert!(receiver.receive(&unknown_destination).is_ok());
    let mut wrong = out.clone();
    wrong[7] ^= 1;
    let mut packet = Packet::from_ipv6(source, Some(crate::GROUP_IPV6), 255, &wrong);
    assert_eq!(receiver.receive(&packet), Err(Discard::Checksum));
    packet.checksum_verified = true;
    assert!(receiver.receive(&packet).is_ok());
}

#[test]
fn version_2_over_ipv6_has_no_authentication_data() {
    let mut config = WireConfig::new(Vrid::new(51).unwrap(), Version::V2, Family::Ipv6);
    config.addresses = vec!["fe80::100".parse().unwrap()];
    let source: Ipv6Addr = "fe80::2".parse().unwrap();
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    transmitter.emit(Priority(9), source.into(), IpAddr::V6(crate::GROUP_IPV6), &mut out).unwrap();
    assert_eq!(out.len(), 24);
    assert!(Receiver::new(config).receive(&Packet::from_ipv6(source, None, 255, &out)).is_ok());
}

#[test]
fn an_advertisement_without_addresses_is_for_a_router_without_addresses() {
    let mut bare = config(Version::V2);
    bare.addresses.clear();
    assert_eq!(receive(&config(Version::V2), &datagram(&bare)), Err(Discard::NoAddresses));
    assert!(receive(&bare, &datagram(&bare)).is_ok());
}

#[test]
fn multicast_and_unicast_do_not_mix() {
    let multicast = config(Version::V3);
    assert_eq!(receive(&multicast, &datagram_to(&multicast, OURS)), Err(Discard::Destination { destination: OURS }));
    let unicast = unicast(Peer::new(PEER), false);
    assert_eq!(receive(&unicast, &datagram(&unicast)), Err(Discard::Destination { destination: GROUP }));
    assert!(receive(&unicast, &datagram_to(&unicast, OURS)).is_ok());
}

#[test]
fn an_owner_that_ignores_adverts_does() {
    let mut owner = config(Version::V3);
    owner.owner_ignore_adverts = true;
    assert_eq!(receive(&owner, &datagram(&owner)), Err(Discard::AddressOwner));
}

#[test]
fn unicast_sources_are_checked_when_asked() {
    let stranger = Peer::new(OURS);
    let checked = unicast(stranger, true);
    assert_eq!(receive(&checked, &datagram_to(&checked, OURS)), Err(Discard::UnknownPeer { peer: PEER }));
    let unchecked = unicast(stranger, false);
    assert!(receive(&unchecked, &datagram_to(&unchecked, OURS)).is_ok());
}

#[test]
fn a_peer_may_be_bound_to_a_range_of_distances() {
    let mut peer = Peer::new(PEER);
    (peer.min_hop_limit, peer.max_hop_limit) = (250, 253);
    let config = unicast(peer, false);
    let mut bytes = datagram_to(&config, OURS);
    assert_eq!(receive(&config, &bytes), Err(Discard::PeerHopLimit { peer: PEER, got: 255 }));
    bytes[8] = 250;
    assert!(receive(&config, &bytes).is_ok());
}

#[test]
fn other_address_lists_are_accepted_counted_and_said_once() {
    let mut other = config(Version::V2);
    other.addresses = vec![OURS];
    let bytes = datagram(&other);
    let packet = Packet::from_ipv4(&bytes).unwrap();
    let mut receiver = Receiver::new(config(Version::V2));
    assert_eq!(receiver.receive(&packet).unwrap().addresses, Some(AddressMismatch::Missing(VIP)));
    assert_eq!(receiver.receive(&packet).unwrap().addresses, None);
    let from_another = Packet { source: OURS, ..packet };
    assert!(receiver.receive(&from_another).unwrap().addresses.is_some());
    assert_eq!(receiver.stats().address_list, 3);
    other.addresses = vec![VIP, OURS];
    let two = receive(&config(Version::V2), &datagram(&other)).unwrap();
    assert_eq!(two.addresses, Some(AddressMismatch::Count { got: 2, expected: 1 }));
}

#[test]
fn addresses_in_another_order_are_the_same_addresses() {
    let mut ours = config(Version::V2);
    ours.addresses = vec![VIP, OURS];
    let mut theirs = ours.clone();
    theirs.addresses.reverse();
    assert_eq!(receive(&ours, &datagram(&theirs)).unwrap().addresses, None);
}

#[test]
fn the_address_list_of_an_unchanged_sender_can_be_skipped() {
    let mut ours = config(Version::V2);
    ours.skip_check_adv_addr = true;
    let mut other = ours.clone();
    other.addresses = vec![OURS];
    let bytes = datagram(&other);
    let packet = Packet::from_ipv4(&bytes).unwrap();
    let mut receiver = Receiver::new(ours);
    receiver.receive(&packet).unwrap();
    receiver.receive(&packet).unwrap();
    assert_eq!(receiver.stats().address_list, 1);
}

#[test]
fn each_kind_of_discard_is_said_once() {
    let mut receiver = Receiver::new(config(Version::V2));
    assert!(receiver.report_once(&Discard::Checksum));
    assert!(!receiver.report_once(&Discard::Checksum));
    assert!(receiver.report_once(&Discard::HopLimit { got: 1 }));
    assert!(!receiver.report_once(&Discard::HopLimit { got: 2 }));
    receiver.forget_reports();
    assert!(receiver.report_once(&Discard::Checksum));
}

#[test]
fn priority_zero_is_counted() {
    let config = config(Version::V2);
    let mut out = Vec::new();
    Transmitter::new(config.clone()).unwrap().emit(Priority::RESIGN, PEER, GROUP, &mut out).unwrap();
    let mut receiver = Receiver::new(config);
    receiver.receive(&Packet::from_ipv4(&out).unwrap()).unwrap();
    assert_eq!(receiver.stats().priority_zero, 1);
}

#[test]
fn datagrams_without_whole_headers_are_refused() {
    assert_eq!(Packet::from_ipv4(&[0x45; 19]), Err(ParseError::Truncated { needed: 20, got: 19 }));
    assert_eq!(Packet::from_ipv4(&[0x60; 40]), Err(ParseError::NotIpv4));
    assert_eq!(Packet::from_ipv4(&[0x44; 40]), Err(ParseError::NotIpv4));
    assert_eq!(Packet::from_ipv4(&[0x4f; 40]), Err(ParseError::Truncated { needed: 60, got: 40 }));
    let mut ah = [0; 30];
    (ah[0], ah[9]) = (0x45, 51);
    assert_eq!(Packet::from_ipv4(&ah), Err(ParseError::Truncated { needed: 44, got: 30 }));
}

#[test]
fn debug_shows_no_password() {
    let shown = std::format!("{:?}", Receiver::new(pass()));
    assert!(!shown.contains("secret") && !shown.contains("115, 101"));
}

proptest! {
    #[test]
    fn no_octets_panic_and_each_is_counted(octets: Vec<u8>, v3: bool, ipv6: bool, hops: u8) {
        let version = if v3 { Version::V3 } else { Version::V2 };
        let mut ours = config(version);
        let packet = if ipv6 {
            ours = WireConfig::new(ours.vrid, version, Family::Ipv6);
            Packet::from_ipv6(Ipv6Addr::LOCALHOST, None, hops, &octets)
        } else {
            let Ok(packet) = Packet::from_ipv4(&octets) else { return Ok(()) };
            packet
        };
        let mut receiver = Receiver::new(ours);
        let result = receiver.receive(&packet);
        prop_assert_eq!(receiver.stats().discarded() + receiver.stats().advertisements, 1);
        prop_assert_eq!(receiver.stats().discarded() == 1, result.is_err());
    }

    #[test]
    fn a_flipped_bit_is_refused(v3: bool, bit in 160usize..) {
        let ours = if v3 { config(Version::V3) } else { pass() };
        let mut bytes = datagram(&ours);
        let bit = 160 + bit % ((bytes.len() - 20) * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(receive(&ours, &bytes).is_err());
    }
}
