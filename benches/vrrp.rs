//! The advert path: an advertisement to octets and back, and one round of an engine with 1,000 virtual routers.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use vrrp_proto::{
    Action, Addresses, Advertisement, AdvertisementInterval, Centis, Engine, EngineConfig, Family, GROUP_IPV4, Instant,
    LinkFacts, LinkId, Packet, Pdu, Priority, PseudoHeader, Receiver, RouterConfig, RouterId, Transmitter, Version,
    VersionFields, Vrid, WireConfig,
};

const ROUTERS: u32 = 1000;
const PER_LINK: u32 = 250;
const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const INTERVAL: Duration = Duration::from_secs(1);

fn main() {
    divan::main();
}

fn vrid(number: u32) -> Vrid {
    u8::try_from(number % 255 + 1).ok().and_then(Vrid::new).expect("1 to 255")
}

/// `count` addresses through codec and checksum, both ways.
#[divan::bench(args = [1, 3, 20, 255])]
fn emit_and_parse_v3(bencher: divan::Bencher<'_, '_>, count: usize) {
    let octets = vec![[198, 18, 0, 100]; count];
    let pdu = Pdu {
        vrid: vrid(50),
        priority: Priority(100),
        fields: VersionFields::V3 { max_advertise_interval: Centis::new(100).expect("12 bits") },
        addresses: Addresses::ipv4(&octets).expect("at most 255"),
    };
    let pseudo = PseudoHeader::between(SOURCE.into(), GROUP_IPV4.into()).expect("one family");
    let mut buffer = Vec::new();
    bencher.bench_local(|| {
        buffer.clear();
        divan::black_box(&pdu).emit(pseudo, &mut buffer);
        let parsed = Pdu::parse(divan::black_box(&buffer), Family::Ipv4, pseudo).expect("what was emitted");
        assert_eq!(parsed, pdu);
    });
}

/// A whole IPv4 datagram, from priority to octets to verified advertisement.
#[divan::bench(args = [Version::V2, Version::V3])]
fn transmit_and_receive(bencher: divan::Bencher<'_, '_>, version: Version) {
    let mut wire = WireConfig::new(vrid(50), version, Family::Ipv4);
    wire.addresses = (100..103).map(|last| IpAddr::from([198, 18, 0, last])).collect();
    let mut transmitter = Transmitter::new(wire.clone()).expect("three addresses");
    let mut receiver = Receiver::new(wire);
    let mut datagram = Vec::new();
    bencher.bench_local(|| {
        datagram.clear();
        transmitter.emit(Priority(100), SOURCE.into(), GROUP_IPV4.into(), &mut datagram).expect("one family");
        let packet = Packet::from_ipv4(divan::black_box(&datagram)).expect("a whole header");
        receiver.receive(&packet).expect("what was transmitted").advertisement
    });
}

/// Each of 1,000 Active Routers is due and advertises.
#[divan::bench]
fn a_thousand_active_routers_advertise(bencher: divan::Bencher<'_, '_>) {
    let mut engine = engine(ROUTERS, Priority::OWNER);
    let mut now = Instant::ZERO + INTERVAL;
    bencher.counter(ROUTERS).bench_local(|| {
        engine.handle_timeout(now);
        let advertised = drain(&mut engine, now);
        assert_eq!(advertised, ROUTERS);
        now = now + INTERVAL;
    });
}

/// Each of 1,000 Backup Routers hears its Active Router.
#[divan::bench]
fn a_thousand_backup_routers_listen(bencher: divan::Bencher<'_, '_>) {
    let mut engine = engine(ROUTERS, Priority(100));
    let mut now = Instant::ZERO;
    let advertisement = |number| Advertisement {
        vrid: vrid(number),
        priority: Priority(200),
        interval: AdvertisementInterval::one_second(Version::V3),
    };
    bencher.counter(ROUTERS).bench_local(|| {
        now = now + INTERVAL;
        for number in 0..ROUTERS {
            engine.handle_advertisement(now, RouterId(number), [198, 18, 0, 2].into(), &advertisement(number));
        }
        engine.handle_timeout(now);
        assert_eq!(drain(&mut engine, now), 0);
    });
}

/// One of 4,096 Backup Routers hears its Active Router.
#[divan::bench]
fn one_of_4096_backup_routers_listens(bencher: divan::Bencher<'_, '_>) {
    const MANY: u32 = 4096;
    let mut engine = engine(MANY, Priority(100));
    let interval = AdvertisementInterval::one_second(Version::V3);
    let advertisement = Advertisement { vrid: vrid(0), priority: Priority(200), interval };
    let mut number = 0;
    bencher.bench_local(|| {
        // Another one each time, all over the tree.
        number = (number + 1_597) % MANY;
        engine.handle_advertisement(Instant::ZERO, RouterId(number), [198, 18, 0, 2].into(), &advertisement);
    });
    assert!(drain(&mut engine, Instant::ZERO) == 0);
}

/// An engine with so many virtual routers, 250 on each link, started and drained.
fn engine(routers: u32, priority: Priority) -> Engine {
    let mut engine = Engine::new();
    let facts = LinkFacts { up: true, multicast: true, ipv4_source: Some(SOURCE), ipv6_source: None };
    for link in 0..=routers / PER_LINK {
        engine.handle_link(Instant::ZERO, LinkId(link), facts);
    }
    let wanted: EngineConfig = (0..routers).map(|number| (RouterId(number), config(number, priority))).collect();
    engine.reconfigure(Instant::ZERO, &wanted);
    drain(&mut engine, Instant::ZERO);
    engine
}

fn config(number: u32, priority: Priority) -> RouterConfig {
    let mut config = RouterConfig::new(vrid(number % PER_LINK), Family::Ipv4);
    config.version = Version::V3;
    config.advertisement_interval = AdvertisementInterval::one_second(Version::V3);
    config.priority = priority;
    config.link = Some(LinkId(number / PER_LINK));
    config.addresses = vec![IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 | number))];
    config
}

/// Answers for the kernel; returns the number of advertisements.
fn drain(engine: &mut Engine, now: Instant) -> u32 {
    let mut advertised = 0;
    while let Some(action) = engine.poll_action() {
        match action {
            Action::Advertise { .. } => advertised += 1,
            Action::Apply { router, ticket, .. } => engine.handle_applied(now, router, ticket),
            _ => {}
        }
    }
    advertised
}
