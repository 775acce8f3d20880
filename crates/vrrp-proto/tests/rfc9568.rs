//! RFC 9568, requirement by requirement: one test per MUST or SHOULD that this crate can meet or break, named after its
//! section. `docs/conformance/rfc9568.md` lists them all.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use support::{T0, active_down_timer, adver_timer, announces, applies, apply, drain, sent, started, ticket, vrid};
use vrrp_proto::{
    Action, AddressMismatch, Advertisement, AdvertisementInterval, Centis, Discard, Event, Family, GROUP_IPV4,
    GROUP_IPV6, Instant, Ownership, PROTOCOL, Packet, Priority, PseudoHeader, Receiver, Role, RouterConfig, RouterId,
    Ticket, TransmitError, Transmitter, UnixTime, Version, VirtualMac, VirtualRouter, WireConfig, checksum,
};

const SKEW_TIME: Duration = Duration::from_micros(609_375);
const ACTIVE_DOWN_INTERVAL: Duration = Duration::from_micros(3_609_375);
const INTERVAL: Duration = Duration::from_secs(1);
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const LOWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const HIGHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3));
const GROUP: IpAddr = IpAddr::V4(GROUP_IPV4);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);

fn centis(value: u16) -> AdvertisementInterval {
    AdvertisementInterval::from_centis(Centis::new(value).unwrap()).unwrap()
}

fn wire() -> WireConfig {
    let mut config = WireConfig::new(vrid(), Version::V3, Family::Ipv4);
    config.addresses = vec![VIP];
    // The checksum of RFC 9568 §5.2.8; the default is that of RFC 5798 as others read it.
    config.v3_checksum_as_v2 = true;
    config
}

fn wire_ipv6() -> WireConfig {
    let mut config = WireConfig::new(vrid(), Version::V3, Family::Ipv6);
    config.addresses = vec!["fe80::100".parse().unwrap(), "2001:db8::100".parse().unwrap()];
    config
}

fn datagram(config: &WireConfig, priority: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config.clone()).unwrap();
    let advert = transmitter.begin(Priority(priority), UnixTime::EPOCH);
    transmitter.emit(&advert, HIGHER, GROUP, &mut out).unwrap();
    out
}

fn pdu_ipv6() -> Vec<u8> {
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(wire_ipv6()).unwrap();
    let advert = transmitter.begin(Priority(100), UnixTime::EPOCH);
    transmitter.emit(&advert, LINK_LOCAL.into(), GROUP_IPV6.into(), &mut out).unwrap();
    out
}

/// Makes the checksum right again after a change.
fn repair(datagram: &mut [u8]) {
    datagram[26..28].fill(0);
    let sum = checksum(PseudoHeader::None, &datagram[20..]);
    datagram[26..28].copy_from_slice(&sum.to_be_bytes());
}

fn receive(config: &WireConfig, datagram: &[u8]) -> Result<Advertisement, Discard> {
    let packet = Packet::from_ipv4(datagram).unwrap();
    Receiver::new(config.clone()).receive(&packet, UnixTime::EPOCH).map(|verified| verified.advertisement)
}

fn config() -> RouterConfig {
    let mut config = RouterConfig::new(vrid(), Family::Ipv4);
    config.version = Version::V3;
    config.advertisement_interval = centis(100);
    config.source = Some(OURS);
    config
}

fn advert(priority: u8) -> Advertisement {
    Advertisement { vrid: vrid(), priority: Priority(priority), interval: centis(100) }
}

fn backup() -> VirtualRouter {
    started(config()).0
}

/// Active since the returned time, its addresses in place.
fn active() -> (VirtualRouter, Instant) {
    let mut router = backup();
    let since = T0 + ACTIVE_DOWN_INTERVAL;
    router.handle_timeout(since);
    apply(&mut router, since);
    (router, since)
}

fn events(actions: &[Action]) -> Vec<&Event> {
    fn event(action: &Action) -> Option<&Event> {
        match action {
            Action::Record { event, .. } => Some(event),
            _ => None,
        }
    }
    actions.iter().filter_map(event).collect()
}

#[test]
fn s2_5_a_rival_is_reported_once_per_conflict() {
    let (mut router, since) = active();
    let mut reports = Vec::new();
    for packet in 0..20 {
        router.handle_advertisement(since + INTERVAL / 100 * packet, LOWER, &advert(50));
        reports.extend(drain(&mut router));
    }
    let started = Event::ConflictStarted { source: LOWER, theirs: Priority(50), ours: Priority(100) };
    assert_eq!(events(&reports).iter().filter(|event| ***event == started).count(), 1);
    router.handle_advertisement(since + INTERVAL, HIGHER, &advert(200));
    let end = drain(&mut router);
    let ended = |event: &&Event| matches!(event, Event::ConflictEnded { advertisements: 21, .. });
    assert_eq!(events(&end).into_iter().filter(ended).count(), 1);
}

#[test]
fn s5_1_1_3_ttl_is_255() {
    let mut bytes = datagram(&wire(), 100);
    assert_eq!(bytes[8], 255);
    for ttl in [0, 1, 64, 254] {
        bytes[8] = ttl;
        assert_eq!(receive(&wire(), &bytes), Err(Discard::HopLimit { got: ttl }));
    }
}

#[test]
fn s5_1_2_3_hop_limit_is_255() {
    let pdu = pdu_ipv6();
    let mut receiver = Receiver::new(wire_ipv6());
    assert!(receiver.receive(&Packet::from_ipv6(LINK_LOCAL, None, 255, &pdu), UnixTime::EPOCH).is_ok());
    let near = Packet::from_ipv6(LINK_LOCAL, None, 254, &pdu);
    assert_eq!(receiver.receive(&near, UnixTime::EPOCH), Err(Discard::HopLimit { got: 254 }));
}

#[test]
fn s5_2_2_unknown_types_are_discarded() {
    for kind in [0, 2, 15] {
        let mut bytes = datagram(&wire(), 100);
        bytes[20] = 0x30 | kind;
        repair(&mut bytes);
        assert_eq!(receive(&wire(), &bytes), Err(Discard::PacketType { got: kind }));
    }
}

#[test]
fn s5_2_4_priorities_of_owner_and_backups() {
    let mut owner = config();
    owner.priority = Priority::OWNER;
    let (mut router, actions) = started(owner);
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
fn s5_2_5_a_count_of_zero_is_ignored() {
    let mut empty = wire();
    empty.addresses.clear();
    assert_eq!(receive(&wire(), &datagram(&empty, 200)), Err(Discard::NoAddresses));
}

#[test]
fn s5_2_6_reserved_bits_are_zero_and_ignored() {
    let mut config = wire();
    config.advertisement_interval = centis(4095);
    let mut bytes = datagram(&config, 100);
    assert_eq!(bytes[24] & 0xf0, 0);
    bytes[24] |= 0xf0;
    repair(&mut bytes);
    assert_eq!(receive(&config, &bytes).unwrap().interval, centis(4095));
}

#[test]
fn s5_2_8_the_checksum_over_ipv4_covers_the_message() {
    let bytes = datagram(&wire(), 100);
    assert_eq!(checksum(PseudoHeader::None, &bytes[20..]), 0);
    let mut pseudo = wire();
    pseudo.v3_checksum_as_v2 = false;
    assert_eq!(receive(&pseudo, &bytes), Err(Discard::Checksum));
}

#[test]
fn s5_2_8_the_checksum_over_ipv6_covers_the_pseudo_header() {
    let header = PseudoHeader::Ipv6 { source: LINK_LOCAL, destination: GROUP_IPV6 };
    assert_eq!(checksum(header, &pdu_ipv6()), 0);
}

#[test]
fn s5_2_9_addresses_keep_their_order_and_are_of_one_family() {
    let pdu = pdu_ipv6();
    assert_eq!(pdu[8..10], [0xfe, 0x80], "the first one configured is the first one sent");
    let mut mixed = wire();
    mixed.addresses.push(LINK_LOCAL.into());
    assert_eq!(Transmitter::new(mixed).unwrap_err(), TransmitError::Family(LINK_LOCAL.into()));
}

#[test]
fn s6_1_skew_time_and_active_down_interval() {
    let config = config();
    assert_eq!(centis(100).skew_time(Priority(100)), SKEW_TIME);
    assert_eq!(config.active_down_interval(centis(100), Priority(100)), ACTIVE_DOWN_INTERVAL);
    let faster = Duration::from_micros(300_000 + 10 * 625 * 156 / 16);
    assert_eq!(config.active_down_interval(centis(10), Priority(100)), faster);
}

#[test]
fn s6_1_the_owner_always_preempts() {
    let mut owner = config();
    owner.priority = Priority::OWNER;
    owner.preempt_mode = false;
    assert!(owner.preempts());
    let (router, _) = started(owner);
    assert_eq!(router.role(), Role::Active);
}

#[test]
fn s6_1_accept_mode() {
    let mut strict = config();
    strict.strict = true;
    assert!(!strict.rules().accept_mode, "False by default");
    strict.accept_mode = Some(true);
    assert!(strict.rules().accept_mode);
    strict.accept_mode = Some(false);
    strict.priority = Priority::OWNER;
    assert!(strict.rules().accept_mode, "the owner accepts");
}

#[test]
fn s6_2_each_state_has_its_timer() {
    let router = backup();
    assert_eq!(router.poll_timeout(), Some(active_down_timer(&router)));
    let mut config = config();
    config.announcements.delay = Duration::ZERO;
    let (mut router, _) = started(config);
    let since = T0 + ACTIVE_DOWN_INTERVAL;
    router.handle_timeout(since);
    apply(&mut router, since);
    assert_eq!(router.poll_timeout(), Some(adver_timer(&router)));
    router.shutdown(since);
    apply(&mut router, since);
    assert_eq!(router.poll_timeout(), None);
}

#[test]
fn s6_4_1_startup_of_the_owner() {
    let mut owner = config();
    owner.priority = Priority::OWNER;
    let mut router = VirtualRouter::new(RouterId(1), owner);
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
    assert_eq!(router.active_adver_interval(), centis(100));
    assert_eq!(active_down_timer(&router), T0 + ACTIVE_DOWN_INTERVAL);
}

#[test]
fn s6_4_2_a_backup_holds_no_address() {
    let (_, actions) = started(config());
    assert!(applies(&actions, Ownership::Released) && !announces(&actions));
    let (mut router, since) = active();
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
fn s6_4_2_active_down_timer_fires() {
    let mut router = backup();
    let due = T0 + ACTIVE_DOWN_INTERVAL;
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
    assert_eq!(active_down_timer(&router), T0 + INTERVAL + SKEW_TIME);
}

#[test]
fn s6_4_2_a_higher_or_equal_priority_restarts_the_timer() {
    for (source, priority) in [(HIGHER, 200), (LOWER, 101), (LOWER, 100)] {
        let mut router = backup();
        let theirs = Advertisement { interval: centis(300), ..advert(priority) };
        router.handle_advertisement(T0 + INTERVAL, source, &theirs);
        assert_eq!(router.active_adver_interval(), centis(300));
        assert_eq!(active_down_timer(&router), T0 + INTERVAL + ACTIVE_DOWN_INTERVAL * 3);
    }
}

#[test]
fn s6_4_2_a_lower_priority_is_discarded() {
    let mut router = backup();
    let theirs = Advertisement { interval: centis(300), ..advert(99) };
    router.handle_advertisement(T0 + INTERVAL, HIGHER, &theirs);
    assert_eq!(router.active_adver_interval(), centis(100));
    assert_eq!(active_down_timer(&router), T0 + ACTIVE_DOWN_INTERVAL);
}

#[test]
fn s6_4_2_without_preempt_mode_a_lower_priority_restarts_the_timer() {
    let mut config = config();
    config.preempt_mode = false;
    let (mut router, _) = started(config);
    router.handle_advertisement(T0 + INTERVAL, HIGHER, &advert(1));
    assert_eq!(active_down_timer(&router), T0 + INTERVAL + ACTIVE_DOWN_INTERVAL);
}

#[test]
fn s6_4_3_an_active_router_holds_the_addresses() {
    let mut router = backup();
    router.handle_timeout(T0 + ACTIVE_DOWN_INTERVAL);
    assert!(applies(&drain(&mut router), Ownership::Held));
}

#[test]
fn s6_4_3_shutdown_of_an_active_router() {
    let (mut router, since) = active();
    router.shutdown(since);
    let actions = apply(&mut router, since);
    assert_eq!(sent(&actions), [0]);
    assert!(applies(&actions, Ownership::Released));
    assert_eq!((router.role(), router.poll_timeout()), (Role::Stopped, None));
}

#[test]
fn s6_4_3_adver_timer_fires() {
    let (mut router, since) = active();
    router.handle_timeout(since + INTERVAL);
    assert_eq!(sent(&drain(&mut router)), [100]);
    assert_eq!(adver_timer(&router), since + INTERVAL * 2);
}

#[test]
fn s6_4_3_priority_zero_is_answered() {
    let (mut router, since) = active();
    let now = since + INTERVAL / 2;
    router.handle_advertisement(now, HIGHER, &advert(0));
    assert_eq!(sent(&drain(&mut router)), [100]);
    assert_eq!(adver_timer(&router), now + INTERVAL);
    for _ in 0..20 {
        router.handle_advertisement(now, HIGHER, &advert(0));
    }
    assert_eq!(sent(&drain(&mut router)), []);
    let shortest_skew_time = centis(100).skew_time(Priority(254));
    assert_eq!(adver_timer(&router), now + shortest_skew_time);
}

#[test]
fn s6_4_3_a_better_router_is_obeyed() {
    for (source, priority) in [(LOWER, 101), (HIGHER, 100)] {
        let (mut router, since) = active();
        let theirs = Advertisement { interval: centis(300), ..advert(priority) };
        router.handle_advertisement(since, source, &theirs);
        let actions = drain(&mut router);
        assert_eq!(sent(&actions), []);
        assert!(applies(&actions, Ownership::Released));
        assert_eq!(router.active_adver_interval(), centis(300));
        assert_eq!(active_down_timer(&router), since + ACTIVE_DOWN_INTERVAL * 3);
    }
}

#[test]
fn s6_4_3_a_worse_router_is_answered_at_once() {
    for (source, priority) in [(HIGHER, 99), (LOWER, 100)] {
        let (mut router, since) = active();
        router.handle_advertisement(since, source, &advert(priority));
        assert_eq!(sent(&drain(&mut router)), [100]);
        router.handle_advertisement(since + INTERVAL / 2, source, &advert(priority));
        assert_eq!(sent(&drain(&mut router)), [], "a storm is not amplified");
        router.handle_advertisement(since + INTERVAL, source, &advert(priority));
        assert_eq!(sent(&drain(&mut router)), [100]);
        assert_eq!(router.role(), Role::Active);
    }
}

#[test]
fn s6_4_3_preempt_mode_is_not_considered() {
    let mut config = config();
    config.preempt_mode = false;
    let (mut router, _) = started(config);
    let since = T0 + ACTIVE_DOWN_INTERVAL;
    router.handle_timeout(since);
    router.handle_advertisement(since, LOWER, &advert(101));
    assert_eq!(router.role(), Role::Backup);
}

#[test]
fn s7_1_the_version_is_3() {
    for version in [0, 1, 2, 4, 15] {
        let mut bytes = datagram(&wire(), 100);
        bytes[20] = version << 4 | 1;
        bytes.extend_from_slice(if version == 2 { &[0; 8] } else { &[] });
        bytes[3] += if version == 2 { 8 } else { 0 };
        repair(&mut bytes);
        assert_eq!(receive(&wire(), &bytes), Err(Discard::Version { got: version, expected: 3 }));
    }
}

#[test]
fn s7_1_the_packet_is_complete() {
    let bytes = datagram(&wire(), 100);
    for length in 20..bytes.len() {
        assert!(matches!(receive(&wire(), &bytes[..length]), Err(Discard::Length { .. })));
    }
    assert!(receive(&wire(), &bytes).is_ok());
}

#[test]
fn s7_1_the_checksum_is_verified() {
    let mut bytes = datagram(&wire(), 100);
    bytes[26] ^= 0x80;
    assert_eq!(receive(&wire(), &bytes), Err(Discard::Checksum));
    let mut pdu = pdu_ipv6();
    pdu[6] ^= 0x80;
    let packet = Packet::from_ipv6(LINK_LOCAL, Some(GROUP_IPV6), 255, &pdu);
    assert_eq!(Receiver::new(wire_ipv6()).receive(&packet, UnixTime::EPOCH), Err(Discard::Checksum));
}

#[test]
fn s7_1_the_vrid_is_configured() {
    let mut bytes = datagram(&wire(), 100);
    assert_eq!(Packet::from_ipv4(&bytes).unwrap().vrid(), Some(7));
    bytes[21] = 8;
    repair(&mut bytes);
    assert_eq!(receive(&wire(), &bytes), Err(Discard::Vrid { got: 8, expected: 7 }));
}

#[test]
fn s7_1_the_owner_discards() {
    let mut owner = wire();
    owner.owner_ignore_adverts = true;
    assert_eq!(receive(&owner, &datagram(&wire(), 100)), Err(Discard::AddressOwner));
}

#[test]
fn s7_1_discards_are_counted_and_reported_with_a_limit() {
    let mut receiver = Receiver::new(wire());
    let mut bytes = datagram(&wire(), 100);
    bytes[8] = 1;
    let packet = Packet::from_ipv4(&bytes).unwrap();
    let reports = (0..10).filter(|_| {
        let discard = receiver.receive(&packet, UnixTime::EPOCH).unwrap_err();
        receiver.report_once(HIGHER, &discard).is_some()
    });
    assert_eq!(reports.count(), 1);
    assert_eq!((receiver.stats().hop_limit, receiver.stats().discarded()), (10, 10));
}

#[test]
fn s7_1_a_different_interval_is_reported() {
    let mut slow = wire();
    slow.advertisement_interval = centis(200);
    let bytes = datagram(&slow, 100);
    let mut receiver = Receiver::new(wire());
    let verified = receiver.receive(&Packet::from_ipv4(&bytes).unwrap(), UnixTime::EPOCH).unwrap();
    assert_eq!(verified.interval.unwrap().theirs, Centis::new(200).unwrap());
    let again = receiver.receive(&Packet::from_ipv4(&bytes).unwrap(), UnixTime::EPOCH).unwrap();
    assert_eq!((again.interval, receiver.stats().interval_differs), (None, 2), "said once, counted always");
}

#[test]
fn s7_1_a_different_address_list_is_reported() {
    let mut other = wire();
    other.addresses = vec![OURS];
    let bytes = datagram(&other, 100);
    let mut receiver = Receiver::new(wire());
    let verified = receiver.receive(&Packet::from_ipv4(&bytes).unwrap(), UnixTime::EPOCH).unwrap();
    assert_eq!(verified.addresses, Some(AddressMismatch::Missing(VIP)));
    let again = receiver.receive(&Packet::from_ipv4(&bytes).unwrap(), UnixTime::EPOCH).unwrap();
    assert_eq!((again.addresses, receiver.stats().address_list), (None, 2), "said once, counted always");
}

#[test]
fn s7_2_packets_are_filled_in() {
    let bytes = datagram(&wire(), 100);
    assert_eq!(bytes[9], PROTOCOL);
    assert_eq!(bytes[12..20], [192, 0, 2, 3, 224, 0, 0, 18], "from our address to the group");
    assert_eq!(bytes[20..26], [0x31, 7, 100, 1, 0, 100]);
    assert_eq!(bytes[28..], [192, 0, 2, 100]);
    assert_eq!(checksum(PseudoHeader::None, &bytes[20..]), 0);
    assert_eq!(checksum(PseudoHeader::None, &bytes[..20]), 0);
}

#[test]
fn s7_3_virtual_router_mac_addresses() {
    assert_eq!(VirtualMac::new(Family::Ipv4, vrid()).0, [0x00, 0x00, 0x5e, 0x00, 0x01, 7]);
    assert_eq!(VirtualMac::new(Family::Ipv6, vrid()).0, [0x00, 0x00, 0x5e, 0x00, 0x02, 7]);
}

#[test]
fn s8_1_2_announcements_wait_until_the_addresses_are_there() {
    let mut router = backup();
    let due = T0 + ACTIVE_DOWN_INTERVAL;
    router.handle_timeout(due);
    router.handle_advertisement(due, LOWER, &advert(50));
    router.handle_timeout(due + INTERVAL);
    let waiting = drain(&mut router);
    assert!(!announces(&waiting));
    router.handle_applied(due + INTERVAL, ticket(&waiting).unwrap());
    assert!(announces(&drain(&mut router)));
}

#[test]
fn s8_3_2_two_owners_are_reported() {
    let mut owner = config();
    owner.priority = Priority::OWNER;
    let (mut router, _) = started(owner);
    let mut reports = Vec::new();
    for packet in 0..20 {
        router.handle_advertisement(T0 + INTERVAL / 100 * packet, LOWER, &advert(255));
        reports.extend(drain(&mut router));
    }
    let told = Event::TwoOwners { source: LOWER, yields: false };
    assert_eq!(events(&reports).into_iter().filter(|event| **event == told).count(), 1);
    router.handle_advertisement(T0 + INTERVAL, HIGHER, &advert(255));
    let reported = Action::Record { router: RouterId(1), event: Event::TwoOwners { source: HIGHER, yields: true } };
    assert!(drain(&mut router).contains(&reported));
    assert_eq!(router.role(), Role::Backup);
}

#[test]
fn s8_3_2_equal_priorities_are_reported() {
    let (mut router, since) = active();
    let mut reports = Vec::new();
    for packet in 0..20 {
        router.handle_advertisement(since + INTERVAL / 100 * packet, LOWER, &advert(100));
        reports.extend(drain(&mut router));
    }
    let equal = |event: &&Event| matches!(event, Event::LowerPriorityAdvert { theirs, ours, .. } if theirs == ours);
    assert_eq!(events(&reports).into_iter().filter(equal).count(), 1);
    router.handle_advertisement(since + INTERVAL, HIGHER, &advert(100));
    let reported = Event::HigherAddressAdvert { source: HIGHER, priority: Priority(100) };
    assert!(events(&drain(&mut router)).contains(&&reported));
}
