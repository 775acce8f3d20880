use super::*;
use crate::auth::{AntiReplay, Authentication, Hmac, HmacKey, HmacMode, KeyId, Password};
use crate::types::{AdvertisementInterval, Vrid};
use std::vec;

/// One advertisement to one destination, appended to `out`.
fn emit(
    transmitter: &mut Transmitter,
    priority: Priority,
    source: IpAddr,
    destination: IpAddr,
    out: &mut Vec<u8>,
) -> Result<(), TransmitError> {
    let advert = transmitter.begin(priority, NOW);
    transmitter.emit(&advert, source, destination, out)
}

const NOW: UnixTime = UnixTime(Duration::from_secs(1_800_000_000));

fn config(version: Version, family: Family) -> WireConfig {
    WireConfig::new(Vrid::new(51).unwrap(), version, family)
}

#[test]
fn a_version_2_packet_with_password_is_written_out() {
    let mut config = config(Version::V2, Family::Ipv4);
    config.addresses = vec![IpAddr::from([192, 168, 200, 16]), IpAddr::from([192, 168, 200, 17])];
    config.authentication = Authentication::Pass(Password::new(b"1111"));
    let mut transmitter = Transmitter::new(config).unwrap();
    let mut out = Vec::new();
    let (source, group) = (IpAddr::from([10, 9, 0, 1]), IpAddr::from([224, 0, 0, 18]));
    emit(&mut transmitter, Priority(150), source, group, &mut out).unwrap();
    #[rustfmt::skip]
    let expected = [
        // IPv4: TOS c0, 44 octets, id 1, DF clear, TTL 255, protocol 112.
        0x45, 0xc0, 0x00, 0x2c, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0xd0, 0x84,
        10, 9, 0, 1, 224, 0, 0, 18,
        // VRRP: version 2, VRID 51, priority 150, two addresses, password, one second.
        0x21, 0x33, 0x96, 0x02, 0x01, 0x01, 0xd3, 0xf2,
        192, 168, 200, 16, 192, 168, 200, 17,
        b'1', b'1', b'1', b'1', 0, 0, 0, 0,
    ];
    assert_eq!(out, expected);
}

#[test]
fn the_identification_counts_from_one_and_skips_zero() {
    let mut transmitter = Transmitter::new(config(Version::V3, Family::Ipv4)).unwrap();
    let (source, group) = (IpAddr::from([10, 9, 0, 1]), IpAddr::from([224, 0, 0, 18]));
    let mut out = Vec::new();
    for expected in (1..=u16::MAX).chain([1, 2]) {
        out.clear();
        emit(&mut transmitter, Priority::DEFAULT, source, group, &mut out).unwrap();
        assert_eq!(out[4..6], expected.to_be_bytes());
    }
}

#[test]
fn reconfiguring_keeps_the_identification() {
    let mut transmitter = Transmitter::new(config(Version::V3, Family::Ipv4)).unwrap();
    let (source, group) = (IpAddr::from([10, 9, 0, 1]), IpAddr::from([224, 0, 0, 18]));
    let mut out = Vec::new();
    emit(&mut transmitter, Priority::DEFAULT, source, group, &mut out).unwrap();
    transmitter.reconfigure(config(Version::V2, Family::Ipv4)).unwrap();
    out.clear();
    emit(&mut transmitter, Priority::DEFAULT, source, group, &mut out).unwrap();
    assert_eq!(out[4..6], [0, 2]);
    assert_eq!(out[20], 0x21);
}

#[test]
fn over_ipv6_only_the_vrrp_packet_is_built() {
    let mut config = config(Version::V3, Family::Ipv6);
    config.addresses = vec!["fe80::5".parse().unwrap()];
    let mut transmitter = Transmitter::new(config).unwrap();
    let mut out = Vec::new();
    emit(&mut transmitter, Priority(200), "fe80::1".parse().unwrap(), IpAddr::V6(crate::GROUP_IPV6), &mut out).unwrap();
    assert_eq!(out.len(), 24);
    assert_eq!(out[..4], [0x31, 51, 200, 1]);
}

#[test]
fn what_the_wire_cannot_carry_is_refused() {
    let mut many = config(Version::V2, Family::Ipv4);
    many.addresses = vec![IpAddr::from([10, 0, 0, 1]); 256];
    assert_eq!(Transmitter::new(many).unwrap_err(), TransmitError::TooManyAddresses(256));
    let mut mixed = config(Version::V2, Family::Ipv4);
    mixed.addresses = vec!["::1".parse().unwrap()];
    assert_eq!(Transmitter::new(mixed).unwrap_err(), TransmitError::Family("::1".parse().unwrap()));
    let mut other = config(Version::V2, Family::Ipv4);
    other.advertisement_interval = AdvertisementInterval::one_second(Version::V3);
    assert_eq!(Transmitter::new(other).unwrap_err(), TransmitError::Interval);
    let mut transmitter = Transmitter::new(config(Version::V2, Family::Ipv4)).unwrap();
    let mut out = Vec::new();
    let source = "fe80::1".parse().unwrap();
    let refused = emit(&mut transmitter, Priority(1), source, source, &mut out);
    assert_eq!(refused, Err(TransmitError::Family(source)));
    assert!(out.is_empty());
}

#[test]
fn debug_shows_no_password() {
    let mut config = config(Version::V2, Family::Ipv4);
    config.authentication = Authentication::Pass(Password::new(b"hunter22"));
    let transmitter = Transmitter::new(config).unwrap();
    let shown = std::format!("{transmitter:?}");
    assert!(!shown.contains("hunter22") && !shown.contains("104, 117, 110"));
}

/// Fields are plain octets, which nothing wipes.
#[test]
fn the_password_is_kept_in_one_place_only() {
    let mut config = config(Version::V2, Family::Ipv4);
    config.authentication = Authentication::Pass(Password::new(b"hunter22"));
    let transmitter = Transmitter::new(config).unwrap();
    let VersionFields::V2 { auth_type, auth_data, .. } = transmitter.fields else { panic!("version 2") };
    assert_eq!((auth_type, auth_data), (1, crate::auth::AuthData::default()));
}

fn signed(change: impl FnOnce(&mut Hmac)) -> WireConfig {
    let id = KeyId::new(7).unwrap();
    let mut hmac = Hmac::new([HmacKey::new(id, &[7; 32]).unwrap()], id).unwrap();
    change(&mut hmac);
    WireConfig { authentication: Authentication::Hmac(hmac), ..config(Version::V3, Family::Ipv4) }
}

fn ah() -> WireConfig {
    WireConfig { authentication: Authentication::Ah(Password::new(b"secret")), ..config(Version::V2, Family::Ipv4) }
}

fn later(millis: u64) -> UnixTime {
    UnixTime(NOW.0 + Duration::from_millis(millis))
}

fn begin_hmac(transmitter: &mut Transmitter, at: UnixTime) -> Sequence {
    transmitter.begin(Priority(100), at).hmac_sequence.unwrap()
}

#[test]
fn every_peer_gets_the_same_sequence_and_mac() {
    for config in [signed(|_| {}), ah()] {
        let mut transmitter = Transmitter::new(config).unwrap();
        let advert = transmitter.begin(Priority(100), NOW);
        let mut copies = [10, 11].map(|peer| {
            let mut out = Vec::new();
            let (source, peer) = (IpAddr::from([10, 9, 0, 1]), IpAddr::from([10, 9, 0, peer]));
            transmitter.emit(&advert, source, peer, &mut out).unwrap();
            out
        });
        let sequence = match advert.ah_sequence() {
            Some(_) => 28..32,
            None => copies[0].len() - 28..copies[0].len(),
        };
        assert_eq!(copies[0][sequence.clone()], copies[1][sequence]);
        assert_ne!(copies[0].pop(), None);
    }
}

#[test]
fn hmac_sequences_follow_the_clock_and_else_count() {
    let mut transmitter = Transmitter::new(signed(|_| {})).unwrap();
    assert_eq!(begin_hmac(&mut transmitter, NOW), Sequence::at(NOW));
    assert_eq!(begin_hmac(&mut transmitter, NOW), Sequence::at(NOW).next(), "the clock stands");
    assert_eq!(begin_hmac(&mut transmitter, later(1000)), Sequence::at(later(1000)));
    assert_eq!(begin_hmac(&mut transmitter, NOW), Sequence::at(later(1000)).next(), "the clock was set back");
    let long_ago = UnixTime(NOW.0 - Duration::from_secs(100));
    assert_eq!(begin_hmac(&mut transmitter, long_ago), Sequence::at(long_ago), "further than the window");
}

#[test]
fn without_a_window_a_sequence_never_goes_back() {
    let mut transmitter = Transmitter::new(signed(|hmac| hmac.anti_replay = AntiReplay::Monotonic)).unwrap();
    let first = begin_hmac(&mut transmitter, NOW);
    assert_eq!(begin_hmac(&mut transmitter, UnixTime::EPOCH), first.next());
}

#[test]
fn where_nothing_is_signed_nothing_is_counted() {
    for config in [signed(|hmac| hmac.mode = HmacMode::ReceiveOnly), config(Version::V3, Family::Ipv4)] {
        let mut transmitter = Transmitter::new(config).unwrap();
        assert_eq!(transmitter.reserve(NOW), None);
        let advert = transmitter.begin(Priority(100), NOW);
        assert_eq!((advert.hmac_sequence, advert.ah_sequence()), (None, None));
    }
}

#[test]
fn ah_sequences_count_from_one_and_go_on_behind_what_was_reserved() {
    let mut transmitter = Transmitter::new(ah()).unwrap();
    let mut reserved = transmitter.reserve(NOW).unwrap();
    let (mut last, mut reservations) = (0, 0);
    for expected in 1..=10_000 {
        if let Some(more) = transmitter.reserve(NOW) {
            (reserved, reservations) = (more, reservations + 1);
        }
        last = transmitter.begin(Priority(100), NOW).ah_sequence().unwrap();
        assert_eq!(last, expected);
    }
    assert_eq!(reservations, 2, "4096 at a time");
    let mut next = Transmitter::new(ah()).unwrap();
    next.resume(reserved);
    assert!(next.reserve(NOW).is_some());
    assert!(next.begin(Priority(100), NOW).ah_sequence().unwrap() > last);
    // Another router has counted on meanwhile.
    let mut memory = ReplayMemory::default();
    memory.remember_ah(50_000);
    next.resume_behind(&memory);
    assert_eq!(next.begin(Priority(100), NOW).ah_sequence(), Some(50_001));
    next.resume_behind(&ReplayMemory::default());
    assert_eq!(next.begin(Priority(100), NOW).ah_sequence(), Some(50_002));
}

/// However often the process dies and wherever the clock goes, no sequence is used twice.
#[test]
fn hmac_sequences_go_on_behind_what_was_reserved() {
    let config = signed(|_| {});
    let mut kept = Reserved::default();
    let mut last: Option<Sequence> = None;
    for process in 0..20 {
        let mut transmitter = Transmitter::new(config.clone()).unwrap();
        transmitter.resume(kept);
        for advert in 0..7 {
            // The clock goes back 50 ms with every other advertisement.
            let back = if advert % 2 == 1 { 150 } else { 0 };
            let now = later(1000 + process * 100 + advert * 100 - back);
            kept = transmitter.reserve(now).unwrap_or(kept);
            let sequence = begin_hmac(&mut transmitter, now);
            assert!(last.is_none_or(|last| sequence.is_after(last)), "process {process}, advert {advert}");
            assert!(sequence.distance(Sequence::at(now)) < Duration::from_millis(2500), "within half a window");
            last = Some(sequence);
        }
    }
}

#[test]
fn passwords_and_ah_need_version_2_over_ipv4() {
    for (version, family) in [(Version::V3, Family::Ipv4), (Version::V2, Family::Ipv6), (Version::V3, Family::Ipv6)] {
        for authentication in [Authentication::Pass(Password::new(b"x")), Authentication::Ah(Password::new(b"x"))] {
            let config = WireConfig { authentication, ..config(version, family) };
            assert_eq!(Transmitter::new(config).unwrap_err(), TransmitError::Authentication);
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn what_is_kept_over_a_restart_can_be_written_and_holds_no_secret() {
    let mut transmitter = Transmitter::new(signed(|_| {})).unwrap();
    let reserved = transmitter.reserve(NOW).unwrap();
    let text = serde_json::to_string(&reserved).unwrap();
    assert_eq!(serde_json::from_str::<Reserved>(&text).unwrap(), reserved);
    assert!(!text.contains("7,7,7"));
}
