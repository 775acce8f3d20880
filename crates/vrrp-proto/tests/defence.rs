//! A receiver and a virtual router as a driver puts them together: what is not accepted moves no timer in any state, and
//! what is accepted does not keep an Active Router silent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vrrp_proto::{
    Action, AdvertisementInterval, Authentication, Family, GROUP_IPV4, Instant, Packet, Password, Priority, Receiver,
    Role, RouterConfig, RouterId, Seconds, Transmitter, UnixTime, Version, VirtualRouter, Vrid, WireConfig,
};

const T0: Instant = Instant::from_nanos(1_000_000_000);
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));

fn vrid(number: u8) -> Vrid {
    Vrid::new(number).unwrap()
}

fn wire() -> WireConfig {
    let mut config = WireConfig::new(vrid(7), Version::V2, Family::Ipv4);
    config.addresses = vec![VIP];
    config.authentication = Authentication::Pass(Password::new(b"secret"));
    config
}

/// A packet of priority 254, which would depose anybody.
fn packet(set: impl FnOnce(&mut WireConfig)) -> Vec<u8> {
    let mut config = wire();
    set(&mut config);
    let mut out = Vec::new();
    let mut transmitter = Transmitter::new(config).unwrap();
    let advert = transmitter.begin(Priority(254), UnixTime::EPOCH);
    transmitter.emit(&advert, STRANGER, IpAddr::V4(GROUP_IPV4), &mut out).unwrap();
    out
}

fn changed(octet: usize, value: u8) -> Vec<u8> {
    let mut octets = packet(|_| ());
    octets[octet] = value;
    octets
}

/// One of every kind that is not accepted.
fn junk() -> Vec<(&'static str, Vec<u8>)> {
    let two_seconds = AdvertisementInterval::from_seconds(Seconds(2)).unwrap();
    let mut short = packet(|_| ());
    short.truncate(27);
    vec![
        ("TTL", changed(8, 254)),
        ("version", changed(20, 0x31)),
        ("type", changed(20, 0x22)),
        ("checksum", changed(26, 0xaa)),
        ("VRID", packet(|it| it.vrid = vrid(8))),
        ("password", packet(|it| it.authentication = Authentication::Pass(Password::new(b"guess")))),
        ("authentication", packet(|it| it.authentication = Authentication::None)),
        ("interval", packet(|it| it.advertisement_interval = two_seconds)),
        ("length", short),
    ]
}

struct Node {
    receiver: Receiver,
    router: VirtualRouter,
}

impl Node {
    fn backup() -> Self {
        let mut config = RouterConfig::new(vrid(7), Family::Ipv4);
        config.source = Some(OURS);
        let mut router = VirtualRouter::new(RouterId(1), config);
        router.startup(T0);
        let mut node = Self { receiver: Receiver::new(wire()), router };
        node.drain(T0);
        node
    }

    fn active() -> Self {
        let mut node = Self::backup();
        node.run(T0 + Duration::from_secs(4));
        assert_eq!(node.router.role(), Role::Active);
        node
    }

    /// Whether the packet was accepted.
    fn hear(&mut self, now: Instant, octets: &[u8]) -> bool {
        let packet = Packet::from_ipv4(octets).unwrap();
        let verified = self.receiver.receive(&packet, UnixTime::EPOCH);
        if let Ok(verified) = &verified {
            self.router.handle_advertisement(now, packet.source, &verified.advertisement);
        }
        verified.is_ok()
    }

    /// Carries out every action; says whether an advertisement was among them.
    fn drain(&mut self, now: Instant) -> bool {
        let mut advertised = false;
        while let Some(action) = self.router.poll_action() {
            match action {
                Action::Advertise { .. } => advertised = true,
                Action::Apply { ticket, .. } => self.router.handle_applied(now, ticket),
                _ => {}
            }
        }
        advertised
    }

    /// Fires every timer up to `until`; gives back when it advertised.
    fn run(&mut self, until: Instant) -> Vec<Instant> {
        let mut sent = Vec::new();
        while let Some(now) = self.router.poll_timeout().filter(|due| *due <= until) {
            self.router.handle_timeout(now);
            if self.drain(now) {
                sent.push(now);
            }
        }
        sent
    }
}

#[test]
fn the_packet_that_the_junk_is_made_of_is_accepted() {
    let mut node = Node::active();
    assert!(node.hear(T0 + Duration::from_secs(4), &packet(|_| ())));
    assert_eq!(node.router.role(), Role::Backup);
}

#[test]
fn what_is_not_accepted_moves_no_timer_in_any_state() {
    for (name, octets) in junk() {
        for mut node in [Node::backup(), Node::active()] {
            let before = node.router.state();
            for millis in 0..100 {
                let now = T0 + Duration::from_millis(4000 + millis);
                assert!(!node.hear(now, &octets), "another {name} is accepted");
                assert!(!node.drain(now));
            }
            assert_eq!(node.router.state(), before, "{name}");
        }
    }
}

#[test]
fn a_stream_of_junk_does_not_silence_an_active_router() {
    for (name, octets) in junk() {
        let (mut node, mut quiet) = (Node::active(), Node::active());
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for step in 1..100 {
            let now = T0 + Duration::from_secs(4) + Duration::from_millis(step * 400);
            sent.extend(node.run(now));
            expected.extend(quiet.run(now));
            node.hear(now, &octets);
        }
        assert!(expected.len() > 30);
        assert_eq!(sent, expected, "{name}");
        assert!(node.receiver.stats().discarded() >= 99);
    }
}

#[test]
fn a_stream_of_junk_does_not_hold_a_backup_back() {
    for (name, octets) in junk() {
        let mut node = Node::backup();
        let due = node.router.poll_timeout();
        for step in 1..30 {
            node.hear(T0 + Duration::from_millis(step * 100), &octets);
        }
        assert_eq!(node.router.poll_timeout(), due, "{name}");
    }
}
