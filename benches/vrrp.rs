//! The advert path: an advertisement to octets and back, and one round of an engine with 1,000 virtual routers.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use vrrp_proto::{
    Action, Addresses, Advertisement, AdvertisementInterval, Authentication, Centis, Engine, EngineConfig, Family,
    GROUP_IPV4, Hmac, HmacKey, Instant, KeyId, LinkFacts, LinkId, Packet, Password, Pdu, Priority, PseudoHeader,
    Receiver, RouterConfig, RouterId, Transmitter, UnixTime, Version, VersionFields, Vrid, WireConfig,
};

/// Shows what a bench allocates beside what it costs.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

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

/// A VRRPv3 packet with `count` addresses to octets, checksum and all.
#[divan::bench(args = [1, 3, 20, 255])]
fn emit_v3(bencher: divan::Bencher<'_, '_>, count: usize) {
    let octets = vec![[198, 18, 0, 100]; count];
    let (pdu, pseudo) = (pdu(&octets), pseudo());
    let mut buffer = Vec::with_capacity(pdu.wire_length());
    bencher.bench_local(|| {
        buffer.clear();
        divan::black_box(&pdu).emit(pseudo, &mut buffer);
        divan::black_box(&mut buffer).len()
    });
}

/// The same back, checksum verified.
#[divan::bench(args = [1, 3, 20, 255])]
fn parse_v3(bencher: divan::Bencher<'_, '_>, count: usize) {
    let octets = vec![[198, 18, 0, 100]; count];
    let (pdu, pseudo) = (pdu(&octets), pseudo());
    let mut buffer = Vec::new();
    pdu.emit(pseudo, &mut buffer);
    assert_eq!(Pdu::parse(&buffer, Family::Ipv4, pseudo), Ok(pdu));
    bencher.bench_local(|| Pdu::parse(divan::black_box(&buffer), Family::Ipv4, pseudo).expect("what was emitted"));
}

fn pdu(octets: &[[u8; 4]]) -> Pdu<'_> {
    Pdu {
        vrid: vrid(50),
        priority: Priority(100),
        fields: VersionFields::V3 { max_advertise_interval: Centis::new(100).expect("12 bits") },
        addresses: Addresses::ipv4(octets).expect("at most 255"),
    }
}

fn pseudo() -> PseudoHeader {
    PseudoHeader::between(SOURCE.into(), GROUP_IPV4.into()).expect("one family")
}

/// How a packet proves where it comes from.
const PROOFS: [&str; 5] = ["v2", "v3", "v2 PASS", "v2 AH", "v3 HMAC"];

fn wire(proof: &str) -> WireConfig {
    let version = if proof.starts_with("v2") { Version::V2 } else { Version::V3 };
    let mut wire = WireConfig::new(vrid(50), version, Family::Ipv4);
    wire.addresses = vec![IpAddr::from([198, 18, 0, 100])];
    wire.authentication = match proof {
        "v2 PASS" => Authentication::Pass(Password::new(b"1111")),
        "v2 AH" => Authentication::Ah(Password::new(b"1111")),
        "v3 HMAC" => {
            let id = KeyId::new(1).expect("not 0");
            let key = HmacKey::new(id, &[7; 32]).expect("32 octets");
            Authentication::Hmac(Hmac::new([key], id).expect("its key"))
        }
        _ => Authentication::None,
    };
    wire
}

/// A whole IPv4 datagram with one address, from priority to octets.
#[divan::bench(args = PROOFS)]
fn transmit(bencher: divan::Bencher<'_, '_>, proof: &str) {
    let mut transmitter = Transmitter::new(wire(proof)).expect("one address");
    let mut datagram = Vec::with_capacity(128);
    bencher.bench_local(|| {
        datagram.clear();
        let advert = transmitter.begin(divan::black_box(Priority(100)), UnixTime::EPOCH);
        transmitter.emit(&advert, SOURCE.into(), GROUP_IPV4.into(), &mut datagram).expect("one family");
        divan::black_box(&mut datagram).len()
    });
}

/// And back, through every check, to a verified advertisement.
#[divan::bench(args = PROOFS)]
fn receive(bencher: divan::Bencher<'_, '_>, proof: &str) {
    let mut transmitter = Transmitter::new(wire(proof)).expect("one address");
    let mut receiver = Receiver::new(wire(proof));
    bencher
        .with_inputs(|| {
            let mut datagram = Vec::new();
            let advert = transmitter.begin(Priority(100), UnixTime::EPOCH);
            transmitter.emit(&advert, SOURCE.into(), GROUP_IPV4.into(), &mut datagram).expect("one family");
            datagram
        })
        .bench_local_refs(|datagram| {
            let packet = Packet::from_ipv4(divan::black_box(datagram)).expect("a whole header");
            receiver.receive(&packet, UnixTime::EPOCH).expect("what was transmitted").advertisement
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

/// Each of 4,096 Backup Routers hears the Active Router that it follows, all over the tree.
#[divan::bench]
fn each_of_4096_backup_routers_listens(bencher: divan::Bencher<'_, '_>) {
    const MANY: u32 = 4096;
    let mut engine = engine(MANY, Priority(100));
    let interval = AdvertisementInterval::one_second(Version::V3);
    let advertisement = Advertisement { vrid: vrid(0), priority: Priority(200), interval };
    let listen = |engine: &mut Engine| {
        for number in (0..MANY).map(|number| number * 1_597 % MANY) {
            engine.handle_advertisement(Instant::ZERO, RouterId(number), [198, 18, 0, 2].into(), &advertisement);
        }
    };
    // The first one is news.
    listen(&mut engine);
    drain(&mut engine, Instant::ZERO);
    bencher.counter(MANY).bench_local(|| listen(&mut engine));
    assert_eq!(engine.poll_action(), None);
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
