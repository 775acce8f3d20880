use super::*;
use crate::auth::{Authentication, Password};
use crate::types::{AdvertisementInterval, Vrid};
use std::vec;

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
    transmitter.emit(Priority(150), source, group, &mut out).unwrap();
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
        transmitter.emit(Priority::DEFAULT, source, group, &mut out).unwrap();
        assert_eq!(out[4..6], expected.to_be_bytes());
    }
}

#[test]
fn reconfiguring_keeps_the_identification() {
    let mut transmitter = Transmitter::new(config(Version::V3, Family::Ipv4)).unwrap();
    let (source, group) = (IpAddr::from([10, 9, 0, 1]), IpAddr::from([224, 0, 0, 18]));
    let mut out = Vec::new();
    transmitter.emit(Priority::DEFAULT, source, group, &mut out).unwrap();
    transmitter.reconfigure(config(Version::V2, Family::Ipv4)).unwrap();
    out.clear();
    transmitter.emit(Priority::DEFAULT, source, group, &mut out).unwrap();
    assert_eq!(out[4..6], [0, 2]);
    assert_eq!(out[20], 0x21);
}

#[test]
fn over_ipv6_only_the_vrrp_packet_is_built() {
    let mut config = config(Version::V3, Family::Ipv6);
    config.addresses = vec!["fe80::5".parse().unwrap()];
    let mut transmitter = Transmitter::new(config).unwrap();
    let mut out = Vec::new();
    transmitter.emit(Priority(200), "fe80::1".parse().unwrap(), IpAddr::V6(crate::GROUP_IPV6), &mut out).unwrap();
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
    let refused = transmitter.emit(Priority(1), source, source, &mut out);
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
