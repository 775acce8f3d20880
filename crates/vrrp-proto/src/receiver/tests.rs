use super::*;
use crate::advertisement::ParseError;
use crate::auth::{AntiReplay, Authentication, HmacKey, KeyId, Password};
use crate::transmitter::Transmitter;
use crate::types::Vrid;
use crate::wire::Peer;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;
use std::vec;

mod authentication;
mod order;

const NOW: UnixTime = UnixTime(Duration::from_secs(1_800_000_000));
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

fn ah() -> WireConfig {
    let mut config = config(Version::V2);
    config.authentication = Authentication::Ah(Password::new(b"secret"));
    config
}

fn hmac(version: Version) -> WireConfig {
    let id = KeyId::new(7).unwrap();
    let mut config = config(version);
    config.authentication = Authentication::Hmac(Hmac::new([HmacKey::new(id, &[0x5a; 32]).unwrap()], id).unwrap());
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
    let advert = transmitter.begin(Priority(100), NOW);
    transmitter.emit(&advert, PEER, destination, &mut out).unwrap();
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
    let result = receiver.receive(&Packet::from_ipv4(datagram).unwrap(), NOW);
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

/// A receiver that cannot check what it was told to check believes nobody.
#[test]
fn passwords_where_there_is_no_room_for_them_let_nobody_in() {
    let plain = datagram(&config(Version::V3));
    let with = |authentication| WireConfig { authentication, ..config(Version::V3) };
    let password = || Password::new(b"secret");
    assert_eq!(
        receive(&with(Authentication::Pass(password())), &plain),
        Err(Discard::AuthenticationType { got: 0, expected: 1 })
    );
    assert_eq!(receive(&with(Authentication::Ah(password())), &plain), Err(Discard::MissingAuthenticationHeader));
}

/// The octets of VRRPv2 over IPv4, to be had without a spoofed address, in an IPv6 packet.
#[test]
fn packets_of_the_other_family_are_refused() {
    let config = config(Version::V2);
    let bytes = datagram(&config);
    let mut packet = Packet::from_ipv6(Ipv6Addr::LOCALHOST, None, 255, &bytes[20..]);
    assert!(Receiver::new(config.clone()).receive(&packet, NOW).is_err());
    packet.destination = Some(IpAddr::V6(crate::GROUP_IPV6));
    assert!(Receiver::new(config).receive(&packet, NOW).is_err());
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
    let discard = receiver.receive(&Packet::from_ipv4(&bytes).unwrap(), NOW).unwrap_err();
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
    bytes.resize(46, 0);
    assert_eq!(receive(&config, &bytes), Err(Discard::TotalLength { declared: 24, got: 20 }), "padding or not");
    let signed = hmac(Version::V3);
    let mut bytes = datagram(&signed);
    bytes[3] = 22;
    let outcome = Receiver::new(signed).receive(&Packet::from_ipv4(&bytes).unwrap(), NOW);
    assert_eq!(outcome, Err(Discard::TotalLength { declared: 2, got: 40 }), "no padding behind a long datagram");
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
    let first = receiver.receive(&packet, NOW).unwrap();
    assert_eq!(first.advertisement.interval, slow.advertisement_interval);
    assert_eq!(first.interval, Some(IntervalMismatch { ours, theirs }));
    assert_eq!(receiver.receive(&packet, NOW).unwrap().interval, None);
    receiver.forget_reports();
    assert!(receiver.receive(&packet, NOW).unwrap().interval.is_some());
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
    let mut as_v2 = config(Version::V3);
    as_v2.v3_checksum_as_v2 = true;
    for config in [config(Version::V2), config(Version::V3), pass(), as_v2] {
        let mut bytes = datagram(&config);
        assert!(receive(&config, &bytes).is_ok());
        bytes[22] ^= 1;
        assert_eq!(receive(&config, &bytes), Err(Discard::Checksum));
    }
}

#[test]
fn v3_checksum_as_v2_is_for_sending_and_both_forms_are_verified() {
    let with_pseudo_header = config(Version::V3);
    let mut without = config(Version::V3);
    without.v3_checksum_as_v2 = true;
    let bytes = datagram(&without);
    assert_eq!(checksum(PseudoHeader::None, &bytes[20..]), 0);
    assert!(receive(&without, &datagram(&with_pseudo_header)).is_ok());
    assert_eq!(receive(&with_pseudo_header, &bytes), Err(Discard::Checksum));
}

#[test]
fn the_old_unicast_checksum_is_found_out_once_and_for_good() {
    let auto = unicast(Peer::new(PEER), true);
    let old = WireConfig { old_unicast_checksum: OldUnicastChecksum::Use, ..auto.clone() };
    let never = WireConfig { old_unicast_checksum: OldUnicastChecksum::Never, ..auto.clone() };
    let bytes = datagram_to(&old, OURS);
    let mut receiver = Receiver::new(auto.clone());
    let mut transmitter = Transmitter::new(auto.clone()).unwrap();
    let mut take = |bytes: &[u8]| {
        let verified = receiver.receive(&Packet::from_ipv4(bytes).unwrap(), NOW).unwrap();
        transmitter.follow(&verified);
        (verified.old_checksum, verified.checksum_switched)
    };
    assert_eq!(take(&datagram_to(&auto, OURS)), (false, false));
    assert_eq!(take(&bytes), (true, true));
    assert_eq!(take(&bytes), (true, false), "said once");
    assert_eq!(take(&datagram_to(&auto, OURS)), (false, false), "a peer that has the right one is heard still");
    let (mut sent, advert) = (Vec::new(), transmitter.begin(Priority(100), NOW));
    transmitter.emit(&advert, PEER, OURS, &mut sent).unwrap();
    assert_eq!(sent[20..], bytes[20..], "ours is the old one now");
    assert_eq!(receive(&never, &bytes), Err(Discard::Checksum));
    assert!(!receive(&old, &bytes).unwrap().checksum_switched);
    let multicast = config(Version::V3);
    let mut forwarded = datagram(&multicast);
    forwarded[19] = 19;
    assert_eq!(receive(&multicast, &forwarded), Err(Discard::Checksum), "for unicast only");
}

#[test]
fn over_ipv6_the_checksum_is_verified_unless_the_kernel_did() {
    let mut config = WireConfig::new(Vrid::new(51).unwrap(), Version::V3, Family::Ipv6);
    config.addresses = vec!["fe80::100".parse().unwrap()];
    let source: Ipv6Addr = "fe80::2".parse().unwrap();
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    let advert = transmitter.begin(Priority(9), NOW);
    transmitter.emit(&advert, source.into(), IpAddr::V6(crate::GROUP_IPV6), &mut out).unwrap();
    let mut receiver = Receiver::new(config);
    let unknown_destination = Packet::from_ipv6(source, None, 255, &out);
    assert!(receiver.receive(&unknown_destination, NOW).is_ok());
    let mut wrong = out.clone();
    wrong[7] ^= 1;
    let mut packet = Packet::from_ipv6(source, Some(crate::GROUP_IPV6), 255, &wrong);
    assert_eq!(receiver.receive(&packet, NOW), Err(Discard::Checksum));
    packet.checksum_verified = true;
    assert!(receiver.receive(&packet, NOW).is_ok());
}

#[test]
fn version_2_over_ipv6_has_no_authentication_data() {
    let mut config = WireConfig::new(Vrid::new(51).unwrap(), Version::V2, Family::Ipv6);
    config.addresses = vec!["fe80::100".parse().unwrap()];
    let source: Ipv6Addr = "fe80::2".parse().unwrap();
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    let advert = transmitter.begin(Priority(9), NOW);
    transmitter.emit(&advert, source.into(), IpAddr::V6(crate::GROUP_IPV6), &mut out).unwrap();
    assert_eq!(out.len(), 24);
    assert!(Receiver::new(config).receive(&Packet::from_ipv6(source, None, 255, &out), NOW).is_ok());
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
    assert_eq!(receiver.receive(&packet, NOW).unwrap().addresses, Some(AddressMismatch::Missing(VIP)));
    assert_eq!(receiver.receive(&packet, NOW).unwrap().addresses, None);
    let from_another = Packet { source: OURS, ..packet };
    assert!(receiver.receive(&from_another, NOW).unwrap().addresses.is_some());
    assert_eq!(receiver.stats().address_list, 3);
    other.addresses = vec![VIP, OURS];
    let two = receive(&config(Version::V2), &datagram(&other)).unwrap();
    assert_eq!(two.addresses, Some(AddressMismatch::Count { got: 2, expected: 1 }));
}

/// Whoever spoofs senders in turn must not be able to fill a log.
#[test]
fn senders_that_take_turns_are_each_told_once() {
    let mut ours = config(Version::V3);
    ours.v3_checksum_as_v2 = true;
    let mut theirs = WireConfig { addresses: vec![OURS], ..ours.clone() };
    theirs.advertisement_interval = AdvertisementInterval::from_centis(Centis::new(250).unwrap()).unwrap();
    let bytes = datagram(&theirs);
    let packet = Packet::from_ipv4(&bytes).unwrap();
    let told = |senders: u32| {
        let mut receiver = Receiver::new(ours.clone());
        let turns = (0..10_000).map(|turn| Ipv4Addr::from_bits(turn % senders).into());
        let verified: Vec<_> =
            turns.map(|source| receiver.receive(&Packet { source, ..packet }, NOW).unwrap()).collect();
        let count = |said: fn(&Verified) -> bool| verified.iter().filter(|it| said(it)).count();
        (count(|it| it.interval.is_some()), count(|it| it.addresses.is_some()))
    };
    assert_eq!(told(2), (2, 2));
    assert_eq!(told(10_000), (17, 17), "bounded as reports are");
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
    receiver.receive(&packet, NOW).unwrap();
    receiver.receive(&packet, NOW).unwrap();
    assert_eq!(receiver.stats().address_list, 1);
}

#[test]
fn a_stranger_is_reported_once_per_reason_with_name_and_reason() {
    let mut receiver = Receiver::new(config(Version::V2));
    let report = receiver.report_once(PEER, &Discard::HopLimit { got: 1 }).unwrap();
    assert_eq!(std::format!("{report}"), "from 10.9.0.2: TTL or hop limit 1, expected 255");
    assert_eq!(receiver.report_once(PEER, &Discard::HopLimit { got: 2 }), None);
    assert!(receiver.report_once(PEER, &Discard::Checksum).is_some());
    assert!(receiver.report_once(OURS, &Discard::HopLimit { got: 1 }).is_some(), "another sender");
    receiver.forget_reports();
    assert!(receiver.report_once(PEER, &Discard::Checksum).is_some());
}

#[test]
fn reports_are_bounded_however_many_strangers_there_are() {
    let mut receiver = Receiver::new(config(Version::V2));
    let reports: Vec<_> = (0..100_000)
        .filter_map(|host| receiver.report_once(Ipv4Addr::from_bits(host).into(), &Discard::Checksum))
        .collect();
    assert_eq!(reports.len(), 17);
    assert!(reports[..16].iter().all(|report| !report.last) && reports[16].last);
    assert!(std::format!("{}", reports[16]).ends_with("(further senders are only counted)"));
    assert!(receiver.report_once(PEER, &Discard::HopLimit { got: 1 }).is_some_and(|report| report.last));
}

#[test]
fn priority_zero_is_counted() {
    let config = config(Version::V2);
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    let advert = transmitter.begin(Priority::RESIGN, NOW);
    transmitter.emit(&advert, PEER, GROUP, &mut out).unwrap();
    let mut receiver = Receiver::new(config);
    receiver.receive(&Packet::from_ipv4(&out).unwrap(), NOW).unwrap();
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

/// Neither as text nor as numbers, nor in what is kept over a restart.
#[test]
fn no_secret_is_shown() {
    let secret = b"hunter22hunter22hunter22hunter22";
    let id = KeyId::new(7).unwrap();
    let hmac = Hmac::new([HmacKey::new(id, secret).unwrap()], id).unwrap();
    for authentication in [
        Authentication::Pass(Password::new(secret)),
        Authentication::Ah(Password::new(secret)),
        Authentication::Hmac(hmac),
    ] {
        let config = WireConfig { authentication, ..config(Version::V2) };
        let mut transmitter = Transmitter::new(config.clone()).unwrap();
        let reserved = transmitter.reserve(NOW);
        let mut receiver = Receiver::new(config.clone());
        let bytes = datagram(&config);
        let packet = Packet::from_ipv4(&bytes).unwrap();
        let verified = receiver.receive(&packet, NOW).unwrap();
        let mut shown = std::format!("{receiver:?} {receiver:#x?} {transmitter:?} {transmitter:#x?} {reserved:?}");
        shown += &std::format!("{packet:?} {packet:#x?} {verified:?}");
        for trace in ["hunter", "104, 117, 110", "0x68,\n", "68756e"] {
            assert!(!shown.contains(trace), "{trace} in {shown}");
        }
    }
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
        let result = receiver.receive(&packet, NOW);
        prop_assert_eq!(receiver.stats().discarded() + receiver.stats().advertisements, 1);
        prop_assert_eq!(receiver.stats().discarded() == 1, result.is_err());
    }

    #[test]
    fn what_is_sent_is_received(kind in kind(), priority: u8, addresses in 1u8..20, hours in 0u64..1_000_000) {
        let ours = WireConfig { addresses: (0..addresses).map(|last| kind.address(last)).collect(), ..kind.config() };
        let now = UnixTime(Duration::from_secs(hours * 3600));
        let mut transmitter = Transmitter::new(ours.clone()).unwrap();
        let mut receiver = Receiver::new(ours.clone());
        for _ in 0..3 {
            let advert = transmitter.begin(Priority(priority), now);
            let mut out = Vec::new();
            transmitter.emit(&advert, kind.source(), kind.destination(), &mut out).unwrap();
            let verified = receiver.receive(&kind.packet(&out), now).unwrap();
            prop_assert_eq!(verified.advertisement.priority, Priority(priority));
            prop_assert_eq!(verified.advertisement.interval, ours.advertisement_interval);
            prop_assert_eq!((verified.interval, verified.addresses), (None, None));
        }
    }
}

/// Bits that nothing covers, of IPv4 only: type of service, identification unless AH counts it in, fragment field,
/// the TTL of unicast, and the header's own checksum, all of which the kernel looks at before us; and without AH,
/// HMAC, or pseudo-header (VRRPv2, `v3_checksum_as_v2`) the addresses.
#[test]
fn every_flipped_bit_is_refused() {
    let (mut refused, mut open) = (0, 0);
    for kind in Kind::all() {
        let mut out = Vec::new();
        let mut transmitter = Transmitter::new(kind.config()).unwrap();
        let advert = transmitter.begin(Priority(100), NOW);
        transmitter.emit(&advert, kind.source(), kind.destination(), &mut out).unwrap();
        for bit in 0..out.len() * 8 {
            let mut flipped = out.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if kind.leaves_open(bit / 8) {
                open += 1;
                continue;
            }
            let whole = kind.family == Family::Ipv6 || Packet::from_ipv4(&flipped).is_ok();
            let taken = whole && Receiver::new(kind.config()).receive(&kind.packet(&flipped), NOW).is_ok();
            assert!(!taken, "octet {} of {kind:?}", bit / 8);
            refused += 1;
        }
    }
    assert!(refused > 5 * open, "{refused} refused, {open} open");
}

/// One of the combinations of version, family, cast, authentication and checksum.
#[derive(Debug, Clone, Copy)]
struct Kind {
    version: Version,
    family: Family,
    unicast: bool,
    /// 0 none, 1 PASS, 2 AH, 3 HMAC.
    authentication: u8,
    as_v2: bool,
    old_checksum: bool,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::all())
}

impl Kind {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for bits in 0u8..32 {
            let bit = |place: u8| bits >> place & 1 == 1;
            let version = if bit(0) { Version::V3 } else { Version::V2 };
            let family = if bit(1) { Family::Ipv6 } else { Family::Ipv4 };
            let plain = version == Version::V3 || family == Family::Ipv6;
            let (unicast, as_v2) = (bit(2), bit(3) && version == Version::V3);
            let old_checksum = bit(4) && version == Version::V3 && unicast;
            let authentications = [0, 1, 2, 3].into_iter().filter(|&it| !plain || it % 3 == 0);
            all.extend(authentications.map(|authentication| Self {
                version,
                family,
                unicast,
                authentication,
                as_v2,
                old_checksum,
            }));
        }
        all
    }

    fn address(self, last: u8) -> IpAddr {
        match self.family {
            Family::Ipv4 => IpAddr::from([10, 9, 0, last]),
            Family::Ipv6 => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(last)]),
        }
    }

    fn source(self) -> IpAddr {
        self.address(2)
    }

    fn destination(self) -> IpAddr {
        if self.unicast { self.address(1) } else { crate::default_group(self.family) }
    }

    fn config(self) -> WireConfig {
        let mut config = WireConfig::new(Vrid::new(51).unwrap(), self.version, self.family);
        config.addresses = vec![self.address(100)];
        config.authentication = match self.authentication {
            1 => pass().authentication,
            2 => ah().authentication,
            3 => hmac(self.version).authentication,
            _ => Authentication::None,
        };
        config.v3_checksum_as_v2 = self.as_v2;
        if self.old_checksum {
            config.old_unicast_checksum = OldUnicastChecksum::Use;
        }
        if self.unicast {
            config.cast = Cast::Unicast { peers: vec![Peer::new(self.source())], check_source: false };
        }
        config
    }

    fn packet(self, octets: &[u8]) -> Packet<'_> {
        match (self.family, self.source(), self.destination()) {
            (Family::Ipv6, IpAddr::V6(source), IpAddr::V6(destination)) => {
                Packet::from_ipv6(source, Some(destination), 255, octets)
            }
            _ => Packet::from_ipv4(octets).unwrap(),
        }
    }

    /// Whether nothing vouches for this octet.
    fn leaves_open(self, octet: usize) -> bool {
        let (ah, hmac) = (self.authentication == 2, self.authentication == 3);
        let bare = self.version == Version::V2 || self.as_v2;
        self.family == Family::Ipv4
            && match octet {
                1 | 6 | 7 | 10 | 11 => true,
                4 | 5 => !ah,
                8 => self.unicast,
                // Protocol: that of the raw socket that the packet comes from.
                9 => !ah,
                12..=15 => bare && !ah && !hmac,
                // A flip between unicast and multicast is seen, one among addresses is not.
                16..=19 => (bare || self.old_checksum) && !ah,
                _ => false,
            }
    }
}
