//! AH and the HMAC trailer: packets of keepalived, replay, modes, keys, clocks.

use super::*;

/// From keepalived 2.4.3, sent by 10.9.0.2: VRID 54, priority 100, 10.9.0.104, key 7.
const V2: &str =
    "2136640100017056 0a090068 0000000000000000 01070000 6b0233dedd200000 6a4e7f96d0aa79dba1b1acb1a234ef45";
/// From keepalived 2.4.3, sent by 10.9.0.2: VRID 55, priority 100, 10.9.0.105, key 1.
const V3: &str = "3137640100647557 0a090069 01010000 6b0233dee21c0000 009e530e2f33d8e3e9d3fd182498c9a3";
const V2_KEY: &[u8; 32] = b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
const V3_KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let digit = |byte: u8| (char::from(byte).to_digit(16).unwrap() & 15) as u8;
    digits.as_chunks::<2>().0.iter().map(|&[high, low]| digit(high) << 4 | digit(low)).collect()
}

fn vector(version: Version, vrid: u8, address: u8, key: u8, secret: &[u8]) -> WireConfig {
    let mut config = WireConfig::new(Vrid::new(vrid).unwrap(), version, Family::Ipv4);
    config.addresses = vec![IpAddr::from([10, 9, 0, address])];
    let id = KeyId::new(key).unwrap();
    config.authentication = Authentication::Hmac(Hmac::new([HmacKey::new(id, secret).unwrap()], id).unwrap());
    config
}

/// The first moment of a tick of a 65536th second.
fn tick(seconds: u64, fraction: u64) -> UnixTime {
    UnixTime(Duration::new(seconds, u32::try_from((fraction * 1_000_000_000).div_ceil(65_536)).unwrap()))
}

#[test]
fn keepalived_s_trailers_are_made_and_believed() {
    for (config, text, fraction, length) in [
        (vector(Version::V2, 54, 104, 7, V2_KEY), V2, 0xdd20, 68),
        (vector(Version::V3, 55, 105, 1, V3_KEY), V3, 0xe21c, 60),
    ] {
        let now = tick(0x6b02_33de, fraction);
        let mut transmitter = Transmitter::new(config.clone()).unwrap();
        let advert = transmitter.begin(Priority(100), now);
        let mut out = Vec::new();
        transmitter.emit(&advert, PEER, GROUP, &mut out).unwrap();
        assert_eq!(out[20..], octets(text));
        assert_eq!((out[2..4].to_vec(), out.len()), (vec![0, length], usize::from(length)));
        let mut receiver = Receiver::new(config);
        let verified = receiver.receive(&Packet::from_ipv4(&out).unwrap(), now).unwrap();
        assert_eq!(verified.advertisement.priority, Priority(100));
    }
}

fn later(millis: u64) -> UnixTime {
    UnixTime(NOW.0 + Duration::from_millis(millis))
}

fn send(transmitter: &mut Transmitter, at: UnixTime) -> Vec<u8> {
    let mut out = Vec::new();
    let advert = transmitter.begin(Priority(100), at);
    transmitter.emit(&advert, PEER, GROUP, &mut out).unwrap();
    out
}

fn take(receiver: &mut Receiver, bytes: &[u8], at: UnixTime) -> Result<Verified, Discard> {
    receiver.receive(&Packet::from_ipv4(bytes).unwrap(), at)
}

fn with(change: impl FnOnce(&mut Hmac)) -> WireConfig {
    let mut config = hmac(Version::V3);
    if let Authentication::Hmac(hmac) = &mut config.authentication {
        change(hmac);
    }
    config
}

#[test]
fn a_recorded_trailer_is_refused_in_both_ways_of_counting() {
    for anti_replay in [AntiReplay::Time { window: Duration::from_secs(5) }, AntiReplay::Monotonic] {
        let config = with(|hmac| hmac.anti_replay = anti_replay);
        let mut transmitter = Transmitter::new(config.clone()).unwrap();
        let (first, second) = (send(&mut transmitter, NOW), send(&mut transmitter, later(1000)));
        let mut receiver = Receiver::new(config.clone());
        assert!(take(&mut receiver, &first, NOW).is_ok());
        assert_eq!(take(&mut receiver, &first, NOW), Err(Discard::HmacReplay));
        assert!(take(&mut receiver, &second, later(1000)).is_ok());
        assert_eq!(take(&mut receiver, &first, later(1000)), Err(Discard::HmacReplay));
        let mut next = Receiver::new(config);
        next.resume(receiver.memory().clone());
        assert_eq!(take(&mut next, &second, later(1000)), Err(Discard::HmacReplay), "after a restart");
    }
}

#[test]
fn a_copy_that_was_changed_does_not_make_the_true_packet_a_replay() {
    let config = hmac(Version::V3);
    let bytes = send(&mut Transmitter::new(config.clone()).unwrap(), NOW);
    let mut receiver = Receiver::new(config);
    let mut changed = bytes.clone();
    changed[26] ^= 1;
    assert_eq!(take(&mut receiver, &changed, NOW), Err(Discard::Checksum));
    assert!(take(&mut receiver, &bytes, NOW).is_ok());
}

#[test]
fn without_a_window_the_clocks_may_be_anywhere() {
    let config = with(|hmac| hmac.anti_replay = AntiReplay::Monotonic);
    let bytes = send(&mut Transmitter::new(config.clone()).unwrap(), NOW);
    assert!(take(&mut Receiver::new(config), &bytes, UnixTime::EPOCH).is_ok());
}

#[test]
fn a_clock_half_a_window_away_is_told_once_and_one_further_away_is_stale() {
    let config = hmac(Version::V3);
    let mut receiver = Receiver::new(config.clone());
    let mut transmitter = Transmitter::new(config).unwrap();
    let mut at = |sent: u64, heard: u64| take(&mut receiver, &send(&mut transmitter, later(sent)), later(heard));
    assert_eq!(at(0, 2000).unwrap().clock_skew, None);
    let skew = at(1000, 4000).unwrap().clock_skew;
    assert_eq!(skew, Some(ClockSkew { ahead: false, by: Duration::from_secs(3) }));
    assert_eq!(at(2000, 5000).unwrap().clock_skew, None, "said already");
    assert_eq!(at(3000, 9000), Err(Discard::HmacStale { ahead: false, by: Duration::from_secs(6) }));
    assert_eq!(at(20_000, 14_000), Err(Discard::HmacStale { ahead: true, by: Duration::from_secs(6) }));
    assert_eq!((receiver.stats().clock_skew, receiver.stats().hmac_stale), (2, 2));
}

#[test]
fn modes_say_what_becomes_of_packets_without_trailer() {
    let plain = send(&mut Transmitter::new(config(Version::V3)).unwrap(), NOW);
    let signed = send(&mut Transmitter::new(hmac(Version::V3)).unwrap(), NOW);
    let mut wrong = signed.clone();
    *wrong.last_mut().unwrap() ^= 1;
    for (mode, accepts, signs) in
        [(HmacMode::Enforce, false, true), (HmacMode::Permissive, true, true), (HmacMode::ReceiveOnly, true, false)]
    {
        let config = with(|hmac| hmac.mode = mode);
        let mut receiver = Receiver::new(config.clone());
        assert_eq!(take(&mut receiver, &plain, NOW).is_ok(), accepts);
        let stats = receiver.stats();
        assert_eq!((stats.hmac_unsigned, stats.hmac_missing), (u64::from(accepts), u64::from(!accepts)));
        assert_eq!(take(&mut receiver, &wrong, NOW), Err(Discard::HmacInvalid { key: 7 }), "whatever the mode");
        assert!(take(&mut receiver, &signed, NOW).is_ok());
        let sent = send(&mut Transmitter::new(config).unwrap(), NOW);
        assert_eq!(sent.len() > plain.len(), signs);
    }
}

#[test]
fn a_trailer_is_no_trailer_where_none_is_configured() {
    let signed = send(&mut Transmitter::new(hmac(Version::V3)).unwrap(), NOW);
    assert_eq!(
        take(&mut Receiver::new(config(Version::V3)), &signed, NOW),
        Err(Discard::Length { got: 40, expected: 12 })
    );
}

#[test]
fn a_key_is_changed_without_a_gap() {
    let key = |number| HmacKey::new(KeyId::new(number).unwrap(), &[number; 32]).unwrap();
    let of = |keys: &[u8], active| {
        let hmac = Hmac::new(keys.iter().copied().map(key), KeyId::new(active).unwrap()).unwrap();
        WireConfig { authentication: Authentication::Hmac(hmac), ..config(Version::V3) }
    };
    let mut receiver = Receiver::new(of(&[1, 2], 1));
    let mut transmitter = Transmitter::new(of(&[1], 1)).unwrap();
    assert!(take(&mut receiver, &send(&mut transmitter, NOW), NOW).is_ok());
    transmitter.reconfigure(of(&[1, 2], 2)).unwrap();
    assert!(take(&mut receiver, &send(&mut transmitter, NOW), NOW).is_ok(), "the sequence went on");
    transmitter.reconfigure(of(&[1, 2], 1)).unwrap();
    let old = send(&mut transmitter, NOW);
    receiver.reconfigure(of(&[2], 2));
    assert_eq!(take(&mut receiver, &old, NOW), Err(Discard::HmacUnknownKey { key: 1 }));
}

#[test]
fn every_unicast_peer_has_its_memory() {
    let mut config = hmac(Version::V3);
    let host = |host| IpAddr::from([10, 9, 0, host]);
    config.cast = Cast::Unicast { peers: (10..40).map(host).map(Peer::new).collect(), check_source: true };
    let mut receiver = Receiver::new(config.clone());
    let from = |number| {
        let (mut out, mut transmitter) = (Vec::new(), Transmitter::new(config.clone()).unwrap());
        let advert = transmitter.begin(Priority(100), NOW);
        transmitter.emit(&advert, host(number), OURS, &mut out).unwrap();
        out
    };
    for number in 10..40 {
        assert!(take(&mut receiver, &from(number), NOW).is_ok());
    }
    for number in 10..40 {
        assert_eq!(take(&mut receiver, &from(number), NOW), Err(Discard::HmacReplay));
    }
}

/// Of more routers than four each was heard before: none of them may be played back in turn.
#[test]
fn recordings_of_many_routers_are_refused_in_turn() {
    let config = with(|hmac| hmac.anti_replay = AntiReplay::Monotonic);
    let recorded: Vec<_> = (10u8..42)
        .map(|host| {
            let (mut out, mut transmitter) = (Vec::new(), Transmitter::new(config.clone()).unwrap());
            let advert = transmitter.begin(Priority(100), NOW);
            transmitter.emit(&advert, IpAddr::from([10, 9, 0, host]), GROUP, &mut out).unwrap();
            out
        })
        .collect();
    let mut receiver = Receiver::new(config.clone());
    assert!(recorded.iter().all(|bytes| take(&mut receiver, bytes, NOW).is_ok()));
    assert!(recorded.iter().all(|bytes| take(&mut receiver, bytes, NOW) == Err(Discard::HmacReplay)));
}

#[test]
fn a_trailer_over_ipv6_is_under_the_checksum() {
    let mut config = hmac(Version::V3);
    config.family = Family::Ipv6;
    config.cast = Cast::Multicast { group: IpAddr::V6(crate::GROUP_IPV6) };
    config.addresses = vec!["fe80::100".parse().unwrap()];
    let (mut out, source) = (Vec::new(), "fe80::2".parse::<Ipv6Addr>().unwrap());
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    let advert = transmitter.begin(Priority(9), NOW);
    transmitter.emit(&advert, source.into(), IpAddr::V6(crate::GROUP_IPV6), &mut out).unwrap();
    assert_eq!(out.len(), 24 + 28);
    let pseudo = PseudoHeader::Ipv6 { source, destination: crate::GROUP_IPV6 };
    assert_eq!(checksum(pseudo, &out), 0, "as a kernel with IPV6_CHECKSUM verifies it");
    assert!(Receiver::new(config).receive(&Packet::from_ipv6(source, None, 255, &out), NOW).is_ok());
}

#[test]
fn a_recorded_authentication_header_is_refused() {
    let mut transmitter = Transmitter::new(ah()).unwrap();
    let (first, second) = (send(&mut transmitter, NOW), send(&mut transmitter, NOW));
    let mut receiver = Receiver::new(ah());
    assert_eq!(take(&mut receiver, &second, NOW).unwrap().ah_sequence, Some(2));
    assert_eq!(take(&mut receiver, &second, NOW), Err(Discard::AhSequence { got: 2, last: 2 }));
    assert_eq!(take(&mut receiver, &first, NOW), Err(Discard::AhSequence { got: 1, last: 2 }));
    let mut next = Receiver::new(ah());
    next.resume(receiver.memory().clone());
    assert_eq!(take(&mut next, &first, NOW), Err(Discard::AhSequence { got: 1, last: 2 }), "after a restart");
}

#[test]
fn what_is_older_than_our_own_advertisements_is_refused() {
    let recorded = send(&mut Transmitter::new(ah()).unwrap(), NOW);
    let (mut receiver, mut transmitter) = (Receiver::new(ah()), Transmitter::new(ah()).unwrap());
    transmitter.begin(Priority(150), NOW);
    receiver.follow(OURS, &transmitter.begin(Priority(150), NOW));
    assert_eq!(take(&mut receiver, &recorded, NOW), Err(Discard::AhSequence { got: 1, last: 1 }));
}

/// They became Active at the same moment; one of them must hear that the other one is better.
#[test]
fn two_active_routers_that_count_in_step_hear_each_other() {
    let (mut receiver, mut transmitter) = (Receiver::new(ah()), Transmitter::new(ah()).unwrap());
    receiver.follow(OURS, &transmitter.begin(Priority(100), NOW));
    let rival = send(&mut Transmitter::new(ah()).unwrap(), NOW);
    assert_eq!(take(&mut receiver, &rival, NOW).unwrap().ah_sequence, Some(1));
}

/// A Backup Router would wait for itself as long as the recording lasts.
#[test]
fn our_own_advertisements_are_not_played_back_to_us() {
    for config in [ah(), hmac(Version::V3), with(|hmac| hmac.anti_replay = AntiReplay::Monotonic)] {
        let (mut receiver, mut transmitter) =
            (Receiver::new(config.clone()), Transmitter::new(config.clone()).unwrap());
        let mut recorded = Vec::new();
        for millis in [0, 100, 200] {
            let advert = transmitter.begin(Priority(100), later(millis));
            receiver.follow(PEER, &advert);
            let mut out = Vec::new();
            transmitter.emit(&advert, PEER, GROUP, &mut out).unwrap();
            recorded.push(out);
        }
        for bytes in recorded {
            assert!(take(&mut receiver, &bytes, later(300)).is_err());
        }
        let newer = send(&mut transmitter, later(400));
        assert!(take(&mut receiver, &newer, later(400)).is_ok(), "another router with our address is told of");
    }
}

/// A rebooted router hears the Active Router first, and is then believed at once.
#[test]
fn a_router_that_starts_anew_counts_on_from_what_it_hears() {
    let (mut active, mut peers) = (Transmitter::new(ah()).unwrap(), Receiver::new(ah()));
    for _ in 0..1000 {
        peers.follow(OURS, &active.begin(Priority(100), NOW));
    }
    let (mut receiver, mut transmitter) = (Receiver::new(ah()), Transmitter::new(ah()).unwrap());
    let unheard = send(&mut Transmitter::new(ah()).unwrap(), NOW);
    assert_eq!(take(&mut peers, &unheard, NOW), Err(Discard::AhSequence { got: 1, last: 999 }));
    let verified = take(&mut receiver, &send(&mut active, NOW), NOW).unwrap();
    transmitter.follow(&verified);
    let preempts = send(&mut transmitter, NOW);
    assert_eq!(take(&mut peers, &preempts, NOW).unwrap().ah_sequence, Some(1002));
}

/// The TTL is under the integrity check value for a group, and not for a peer, who may be behind a router.
#[test]
fn fields_that_change_on_the_way_are_not_under_the_integrity_check_value() {
    let group = send(&mut Transmitter::new(ah()).unwrap(), NOW);
    let mut config = ah();
    config.cast = Cast::Unicast { peers: vec![Peer::new(PEER)], check_source: true };
    let (mut unicast, mut transmitter) = (Vec::new(), Transmitter::new(config.clone()).unwrap());
    let advert = transmitter.begin(Priority(100), NOW);
    transmitter.emit(&advert, PEER, OURS, &mut unicast).unwrap();
    let changed = |bytes: &[u8], place: usize| {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 0x40;
        bytes
    };
    for place in [1, 6, 7, 10, 11] {
        assert!(take(&mut Receiver::new(ah()), &changed(&group, place), NOW).is_ok(), "octet {place}");
        assert!(take(&mut Receiver::new(config.clone()), &changed(&unicast, place), NOW).is_ok(), "octet {place}");
    }
    assert!(take(&mut Receiver::new(config), &changed(&unicast, 8), NOW).is_ok());
    assert_eq!(take(&mut Receiver::new(ah()), &changed(&group, 4), NOW), Err(Discard::AhIntegrity));
}
