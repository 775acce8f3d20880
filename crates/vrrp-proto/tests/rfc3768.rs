//! RFC 3768 (VRRPv2), requirement by requirement: one test per MUST or SHOULD that this crate can meet or break, named
//! after its section. `docs/conformance/rfc3768.md` lists them all.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use support::{
    T0, active_down_timer as master_down_timer, adver_timer, announces, applies, apply, drain, sent, started, vrid,
};
use vrrp_proto::{
    Action, AddressMismatch, Advertisement, AdvertisementInterval, Authentication, Discard, Event, Family, GROUP_IPV4,
    Instant, Ownership, PROTOCOL, Packet, Password, Priority, PseudoHeader, Receiver, Role, RouterConfig, RouterId,
    Seconds, Ticket, Transmitter, UnixTime, Verified, Version, VirtualMac, VirtualRouter, WireConfig, checksum,
};

const INTERVAL: Duration = Duration::from_secs(2);
/// (256 − 100) / 256 s, whatever the interval.
const SKEW_TIME: Duration = Duration::from_micros(609_375);
const MASTER_DOWN_INTERVAL: Duration = Duration::from_micros(6_609_375);
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const LOWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const HIGHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
/// Where the VRRP message begins in a datagram.
const MESSAGE: usize = 20;

fn seconds(value: u8) -> AdvertisementInterval {
    AdvertisementInterval::from_seconds(Seconds(value)).unwrap()
}

fn wire() -> WireConfig {
    let mut config = WireConfig::new(vrid(), Version::V2, Family::Ipv4);
    config.advertisement_interval = seconds(2);
    config.addresses = vec![VIP];
    config
}

fn wire_with(set: impl FnOnce(&mut WireConfig)) -> WireConfig {
    let mut config = wire();
    set(&mut config);
    config
}

fn with_password(word: &str) -> WireConfig {
    wire_with(|it| it.authentication = Authentication::Pass(Password::new(word.as_bytes())))
}

fn datagram(config: &WireConfig, priority: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    let advert = transmitter.begin(Priority(priority), UnixTime::EPOCH);
    transmitter.emit(&advert, HIGHER, IpAddr::V4(GROUP_IPV4), &mut out).unwrap();
    out
}

fn verify(receiver: &mut Receiver, datagram: &[u8]) -> Result<Verified, Discard> {
    receiver.receive(&Packet::from_ipv4(datagram).unwrap(), UnixTime::EPOCH)
}

fn receive(config: &WireConfig, datagram: &[u8]) -> Result<Advertisement, Discard> {
    verify(&mut Receiver::new(config.clone()), datagram).map(|verified| verified.advertisement)
}

/// Makes the checksum right again after a change.
fn repair(datagram: &mut [u8]) {
    datagram[MESSAGE + 6..MESSAGE + 8].fill(0);
    let sum = checksum(PseudoHeader::None, &datagram[MESSAGE..]);
    datagram[MESSAGE + 6..MESSAGE + 8].copy_from_slice(&sum.to_be_bytes());
}

fn config() -> RouterConfig {
    let mut config = RouterConfig::new(vrid(), Family::Ipv4);
    config.advertisement_interval = seconds(2);
    config.source = Some(OURS);
    config
}

fn config_with(set: impl FnOnce(&mut RouterConfig)) -> RouterConfig {
    let mut config = config();
    set(&mut config);
    config
}

fn owner() -> RouterConfig {
    config_with(|it| it.priority = Priority::OWNER)
}

fn advert(priority: u8) -> Advertisement {
    Advertisement { vrid: vrid(), priority: Priority(priority), interval: seconds(2) }
}

fn backup() -> VirtualRouter {
    started(config()).0
}

/// Master since the returned time, its addresses in place.
fn master() -> (VirtualRouter, Instant) {
    let mut router = backup();
    let since = T0 + MASTER_DOWN_INTERVAL;
    router.handle_timeout(since);
    apply(&mut router, since);
    (router, since)
}

#[test]
fn s5_2_3_ttl_is_255() {
    let mut bytes = datagram(&wire(), 100);
    assert_eq!(bytes[8], 255);
    for ttl in [0, 1, 64, 254] {
        bytes[8] = ttl;
        assert_eq!(receive(&wire(), &bytes), Err(Discard::HopLimit { got: ttl }));
    }
}

#[test]
fn s5_3_2_unknown_types_are_discarded() {
    for kind in [0, 2, 15] {
        let mut bytes = datagram(&wire(), 100);
        bytes[MESSAGE] = 0x20 | kind;
        repair(&mut bytes);
        assert_eq!(receive(&wire(), &bytes), Err(Discard::PacketType { got: kind }));
    }
}

#[test]
fn s5_3_4_priorities_of_owner_and_backups() {
    let (mut router, actions) = started(owner());
    assert_eq!(sent(&actions), [255]);
    router.handle_weight(-100);
    assert_eq!(router.effective_priority(), Priority(255));
    let mut router = backup();
    for (weight, priority) in [(0, 100), (1000, 254), (-1000, 1)] {
        router.handle_weight(weight);
        assert_eq!(router.effective_priority(), Priority(priority));
    }
    assert_eq!(Priority::default(), Priority(100));
}

#[test]
fn s5_3_6_other_authentication_types_are_discarded() {
    let mut bytes = datagram(&wire(), 100);
    assert_eq!(bytes[MESSAGE + 4], 0);
    for (got, discard) in [
        (1, Discard::AuthenticationType { got: 1, expected: 0 }),
        (2, Discard::AuthenticationType { got: 2, expected: 0 }),
        (3, Discard::InvalidAuthenticationType { got: 3 }),
        (255, Discard::InvalidAuthenticationType { got: 255 }),
    ] {
        bytes[MESSAGE + 4] = got;
        repair(&mut bytes);
        assert_eq!(receive(&wire(), &bytes), Err(discard));
    }
}

#[test]
fn s5_3_6_passwords_of_rfc_2338_are_compared() {
    let bytes = datagram(&with_password("secret"), 100);
    assert_eq!(bytes[MESSAGE + 4], 1);
    assert!(receive(&with_password("secret"), &bytes).is_ok());
    assert_eq!(receive(&with_password("secreT"), &bytes), Err(Discard::AuthenticationFailed));
    assert_eq!(receive(&wire(), &bytes), Err(Discard::AuthenticationType { got: 1, expected: 0 }));
}

#[test]
fn s5_3_7_the_interval_is_in_seconds() {
    assert_eq!(datagram(&wire(), 100)[MESSAGE + 5], 2);
    assert_eq!(RouterConfig::new(vrid(), Family::Ipv4).advertisement_interval, seconds(1));
}

#[test]
fn s5_3_8_the_checksum_covers_the_whole_message() {
    let bytes = datagram(&wire(), 100);
    assert_eq!(bytes.len(), MESSAGE + 8 + 4 + 8, "one address and the authentication data");
    assert_eq!(checksum(PseudoHeader::None, &bytes[MESSAGE..]), 0);
}

#[test]
fn s5_3_10_authentication_data_is_zero_and_ignored() {
    let mut bytes = datagram(&wire(), 100);
    let data = bytes.len() - 8;
    assert_eq!(bytes[data..], [0; 8]);
    bytes[data..].copy_from_slice(b"whatever");
    repair(&mut bytes);
    assert!(receive(&wire(), &bytes).is_ok());
    let password = datagram(&with_password("ab"), 100);
    assert_eq!(password[data..], *b"ab\0\0\0\0\0\0", "RFC 2338: a shorter one is filled with zeros");
}

#[test]
fn s6_1_skew_time_and_master_down_interval() {
    assert_eq!(seconds(2).skew_time(Priority(100)), SKEW_TIME);
    assert_eq!(config().active_down_interval(seconds(2), Priority(100)), MASTER_DOWN_INTERVAL);
    assert_eq!(seconds(255).skew_time(Priority(255)), Duration::from_micros(3906));
}

#[test]
fn s6_1_the_owner_always_preempts() {
    let owner = config_with(|it| {
        it.priority = Priority::OWNER;
        it.preempt_mode = false;
    });
    assert!(owner.preempts());
    assert_eq!(started(owner).0.role(), Role::Active);
}

#[test]
fn s6_4_1_startup_of_the_owner() {
    let mut router = VirtualRouter::new(RouterId(1), owner());
    router.startup(T0);
    let actions = apply(&mut router, T0);
    assert_eq!(sent(&actions), [255]);
    assert!(announces(&actions));
    assert_eq!(adver_timer(&router), T0 + INTERVAL);
}

#[test]
fn s6_4_1_startup_of_a_backup() {
    let (router, actions) = started(config());
    assert_eq!(sent(&actions), []);
    assert_eq!(master_down_timer(&router), T0 + MASTER_DOWN_INTERVAL);
}

#[test]
fn s6_4_2_a_backup_holds_no_address() {
    let (_, actions) = started(config());
    assert!(applies(&actions, Ownership::Released) && !announces(&actions));
    let (mut router, since) = master();
    router.handle_advertisement(since, HIGHER, &advert(200));
    assert!(applies(&drain(&mut router), Ownership::Released));
}

#[test]
fn s6_4_2_shutdown_of_a_backup() {
    let mut router = backup();
    router.handle_applied(T0, Ticket(0));
    router.shutdown(T0);
    assert_eq!(sent(&drain(&mut router)), []);
    assert_eq!((router.role(), router.poll_timeout()), (Role::Stopped, None));
}

#[test]
fn s6_4_2_master_down_timer_fires() {
    let mut router = backup();
    let due = T0 + MASTER_DOWN_INTERVAL;
    router.handle_timeout(due.saturating_sub(Duration::from_nanos(1)));
    assert_eq!(router.role(), Role::Backup);
    router.handle_timeout(due);
    let actions = apply(&mut router, due);
    assert_eq!(sent(&actions), [100]);
    assert!(applies(&actions, Ownership::Held) && announces(&actions));
    assert_eq!(adver_timer(&router), due + INTERVAL);
}

#[test]
fn s6_4_2_priority_zero_sets_the_timer_to_skew_time() {
    let mut router = backup();
    router.handle_advertisement(T0 + INTERVAL, HIGHER, &advert(0));
    assert_eq!(master_down_timer(&router), T0 + INTERVAL + SKEW_TIME);
}

#[test]
fn s6_4_2_a_higher_or_equal_priority_restarts_the_timer() {
    for (source, priority) in [(HIGHER, 200), (LOWER, 101), (LOWER, 100)] {
        let mut router = backup();
        router.handle_advertisement(T0 + INTERVAL, source, &advert(priority));
        assert_eq!(master_down_timer(&router), T0 + INTERVAL + MASTER_DOWN_INTERVAL);
    }
}

#[test]
fn s6_4_2_a_lower_priority_is_discarded() {
    let mut router = backup();
    router.handle_advertisement(T0 + INTERVAL, HIGHER, &advert(99));
    assert_eq!(master_down_timer(&router), T0 + MASTER_DOWN_INTERVAL);
}

#[test]
fn s6_4_2_without_preempt_mode_a_lower_priority_restarts_the_timer() {
    let (mut router, _) = started(config_with(|it| it.preempt_mode = false));
    router.handle_advertisement(T0 + INTERVAL, HIGHER, &advert(1));
    assert_eq!(master_down_timer(&router), T0 + INTERVAL + MASTER_DOWN_INTERVAL);
}

#[test]
fn s6_4_3_only_the_owner_accepts() {
    let mut strict = config_with(|it| {
        it.strict = true;
        it.accept_mode = Some(true);
    });
    assert!(!strict.rules().accept_mode);
    strict.priority = Priority::OWNER;
    assert!(strict.rules().accept_mode);
}

#[test]
fn s6_4_3_shutdown_of_a_master() {
    let (mut router, since) = master();
    router.shutdown(since);
    let actions = apply(&mut router, since);
    assert_eq!(sent(&actions), [0]);
    assert!(applies(&actions, Ownership::Released));
    assert_eq!((router.role(), router.poll_timeout()), (Role::Stopped, None));
}

#[test]
fn s6_4_3_adver_timer_fires() {
    let (mut router, since) = master();
    router.handle_timeout(since + INTERVAL);
    assert_eq!(sent(&drain(&mut router)), [100]);
    assert_eq!(adver_timer(&router), since + INTERVAL * 2);
}

#[test]
fn s6_4_3_priority_zero_is_answered() {
    let (mut router, since) = master();
    let now = since + INTERVAL / 2;
    router.handle_advertisement(now, HIGHER, &advert(0));
    assert_eq!(sent(&drain(&mut router)), [100]);
    assert_eq!(adver_timer(&router), now + INTERVAL);
}

#[test]
fn s6_4_3_a_better_router_is_obeyed() {
    for (source, priority) in [(LOWER, 101), (HIGHER, 100)] {
        let (mut router, since) = master();
        router.handle_advertisement(since, source, &advert(priority));
        let actions = drain(&mut router);
        assert_eq!(sent(&actions), []);
        assert!(applies(&actions, Ownership::Released));
        assert_eq!(master_down_timer(&router), since + MASTER_DOWN_INTERVAL);
    }
}

#[test]
fn s6_4_3_a_worse_router_is_discarded() {
    for (source, priority) in [(HIGHER, 99), (LOWER, 100)] {
        let (mut router, _) = started(config_with(|it| it.strict = true));
        let since = T0 + MASTER_DOWN_INTERVAL;
        router.handle_timeout(since);
        apply(&mut router, since);
        router.handle_advertisement(since + INTERVAL / 2, source, &advert(priority));
        assert_eq!(sent(&drain(&mut router)), []);
        assert_eq!(adver_timer(&router), since + INTERVAL);
    }
}

#[test]
fn s7_1_the_version_is_2() {
    let mut bytes = datagram(&wire(), 100);
    bytes[MESSAGE] = 0x41;
    repair(&mut bytes);
    assert_eq!(receive(&wire(), &bytes), Err(Discard::Version { got: 4, expected: 2 }));
}

#[test]
fn s7_1_the_packet_is_complete() {
    let bytes = datagram(&wire(), 100);
    for length in MESSAGE..bytes.len() {
        assert!(matches!(receive(&wire(), &bytes[..length]), Err(Discard::Length { .. })), "{length} octets");
    }
    assert!(receive(&wire(), &bytes).is_ok());
}

#[test]
fn s7_1_the_checksum_is_verified() {
    for octet in [1, 2, 12, 19] {
        let mut bytes = datagram(&wire(), 100);
        bytes[MESSAGE + octet] ^= 0x80;
        assert!(receive(&wire(), &bytes).is_err(), "octet {octet}");
    }
    let mut bytes = datagram(&wire(), 100);
    bytes[MESSAGE + 6] ^= 0x80;
    assert_eq!(receive(&wire(), &bytes), Err(Discard::Checksum));
}

#[test]
fn s7_1_the_vrid_is_configured() {
    let mut bytes = datagram(&wire(), 100);
    bytes[MESSAGE + 1] = 8;
    repair(&mut bytes);
    assert_eq!(receive(&wire(), &bytes), Err(Discard::Vrid { got: 8, expected: 7 }));
}

#[test]
fn s7_1_the_owner_discards() {
    let owner = wire_with(|it| it.owner_ignore_adverts = true);
    assert_eq!(receive(&owner, &datagram(&wire(), 100)), Err(Discard::AddressOwner));
}

#[test]
fn s7_1_discards_are_counted() {
    let mut receiver = Receiver::new(wire());
    let mut bytes = datagram(&wire(), 100);
    bytes[8] = 1;
    let reports = (0..3).filter(|_| {
        let discard = verify(&mut receiver, &bytes).unwrap_err();
        receiver.report_once(HIGHER, &discard).is_some()
    });
    assert_eq!(reports.count(), 1);
    assert_eq!((receiver.stats().hop_limit, receiver.stats().discarded()), (3, 3));
}

#[test]
fn s7_1_a_different_address_list_is_reported() {
    let other = wire_with(|it| it.addresses = vec![OURS]);
    let mut receiver = Receiver::new(wire());
    let verified = verify(&mut receiver, &datagram(&other, 100)).unwrap();
    assert_eq!(verified.addresses, Some(AddressMismatch::Missing(VIP)));
    assert_eq!(receiver.stats().address_list, 1);
}

#[test]
fn s7_1_a_different_interval_is_discarded() {
    let slow = wire_with(|it| it.advertisement_interval = seconds(3));
    let mut receiver = Receiver::new(wire());
    let discard = verify(&mut receiver, &datagram(&slow, 100)).unwrap_err();
    assert_eq!(discard, Discard::AdvertisementInterval { got: 3, expected: 2 });
    assert!(receiver.report_once(HIGHER, &discard).is_some());
    assert_eq!(receiver.stats().advertisement_interval, 1);
}

#[test]
fn s7_2_packets_are_filled_in() {
    let bytes = datagram(&wire(), 100);
    assert_eq!(bytes[9], PROTOCOL);
    assert_eq!(bytes[12..20], [192, 0, 2, 3, 224, 0, 0, 18], "from our address to the group");
    assert_eq!(bytes[20..26], [0x21, 7, 100, 1, 0, 2]);
    assert_eq!(bytes[28..32], [192, 0, 2, 100]);
    assert_eq!(checksum(PseudoHeader::None, &bytes[..MESSAGE]), 0);
}

#[test]
fn s7_3_virtual_router_mac_address() {
    assert_eq!(VirtualMac::new(Family::Ipv4, vrid()).0, [0x00, 0x00, 0x5e, 0x00, 0x01, 7]);
}

#[test]
fn s8_2_announcements_wait_until_the_addresses_are_there() {
    let mut router = backup();
    let due = T0 + MASTER_DOWN_INTERVAL;
    router.handle_timeout(due);
    router.handle_timeout(due + INTERVAL);
    let before = drain(&mut router);
    assert!(!announces(&before));
    let ticket = before.iter().find_map(|action| match action {
        Action::Apply { ticket, ownership: Ownership::Held, .. } => Some(*ticket),
        _ => None,
    });
    router.handle_applied(due + INTERVAL, ticket.unwrap());
    let after = drain(&mut router);
    assert!(announces(&after));
    assert!(!after.iter().any(|action| matches!(action, Action::Record { event: Event::Refused { .. }, .. })));
}
