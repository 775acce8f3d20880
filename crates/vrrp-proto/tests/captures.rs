//! Packets of C keepalived, of each kind, decode to written-out values and pass every check; ours are the same octets.
//!
//! `captures/keepalived-2.2.7.txt` says how they were made. Those with the HMAC trailer of 2.4.3 are in the receiver's
//! own tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::net::IpAddr;

use vrrp_proto::{
    Authentication, Cast, Discard, Family, OldUnicastChecksum, Packet, Password, Peer, Priority, Receiver, Transmitter,
    UnixTime, Version, Vrid, WireConfig,
};

const FILE: &str = include_str!("captures/keepalived-2.2.7.txt");

/// What a line of the file must say.
struct Expected {
    name: &'static str,
    version: Version,
    source: &'static str,
    destination: &'static str,
    hop_limit: u8,
    vrid: u8,
    addresses: [&'static str; 2],
    /// Sequence of the first packet.
    ah_sequence: Option<u32>,
}

const GROUP: &str = "224.0.0.18";
const HOST: &str = "198.18.0.1";
const PEER: &str = "198.18.0.2";

macro_rules! expected {
    ($($name:literal $version:ident $vrid:literal: $source:tt > $destination:tt, $hops:literal, $a:literal $b:literal, $ah:expr;)+) => {
        [$(Expected {
            name: $name,
            version: Version::$version,
            source: $source,
            destination: $destination,
            hop_limit: $hops,
            vrid: $vrid,
            addresses: [$a, $b],
            ah_sequence: $ah,
        }),+]
    };
}

const EXPECTED: [Expected; 12] = expected![
    "v2" V2 1: HOST > GROUP, 255, "198.18.0.101" "198.18.0.201", None;
    "v2-pass" V2 2: HOST > GROUP, 255, "198.18.0.102" "198.18.0.202", None;
    "v2-ah" V2 3: HOST > GROUP, 255, "198.18.0.103" "198.18.0.203", Some(1);
    "v2-unicast" V2 4: HOST > PEER, 255, "198.18.0.104" "198.18.0.204", None;
    "v2-pass-unicast" V2 5: HOST > PEER, 255, "198.18.0.105" "198.18.0.205", None;
    "v2-ah-unicast" V2 6: HOST > PEER, 255, "198.18.0.106" "198.18.0.206", Some(1);
    "v2-ipv6" V2 7: "fe80::1" > "ff02::12", 255, "fe80::6b" "fe80::cf", None;
    "v3" V3 8: HOST > GROUP, 255, "198.18.0.108" "198.18.0.208", None;
    "v3-unicast" V3 9: HOST > PEER, 255, "198.18.0.109" "198.18.0.209", None;
    "v3-unicast-old-checksum" V3 10: HOST > PEER, 255, "198.18.0.110" "198.18.0.210", None;
    "v3-ipv6" V3 11: "fe80::1" > "ff02::12", 255, "fe80::6f" "fe80::d3", None;
    "v3-ipv6-unicast" V3 12: "fe80::1" > "fe80::2", 64, "fe80::70" "fe80::d4", None;
];

impl Expected {
    fn config(&self) -> WireConfig {
        let addresses = self.addresses.map(|address| address.parse::<IpAddr>().unwrap()).to_vec();
        let mut config = WireConfig::new(Vrid::new(self.vrid).unwrap(), self.version, Family::of(&addresses[0]));
        config.addresses = addresses;
        config.authentication = match self.name {
            name if name.contains("pass") => Authentication::Pass(Password::new(b"secret12")),
            name if name.contains("ah") => Authentication::Ah(Password::new(b"secret")),
            _ => Authentication::None,
        };
        if self.name.contains("unicast") {
            let peers = vec![Peer::new(self.source.parse().unwrap())];
            config.cast = Cast::Unicast { peers, check_source: true };
        }
        config
    }

    /// Its first packet and its resignation.
    fn datagrams(&self) -> [Vec<u8>; 2] {
        let lines = FILE.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| *name == self.name);
        let datagrams: Vec<_> = lines.map(|(_, hex)| octets(hex)).collect();
        datagrams.try_into().unwrap()
    }
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap()).collect()
}

fn packet(datagram: &[u8]) -> Packet<'_> {
    if datagram[0] >> 4 == 4 {
        return Packet::from_ipv4(datagram).unwrap();
    }
    let address = |place| <[u8; 16]>::try_from(&datagram[place..place + 16]).unwrap().into();
    Packet::from_ipv6(address(8), Some(address(24)), datagram[7], &datagram[40..])
}

#[test]
fn every_kind_decodes_to_what_was_configured() {
    for expected in EXPECTED {
        let name = expected.name;
        let mut receiver = Receiver::new(expected.config());
        for (datagram, priority) in expected.datagrams().iter().zip([150, 0]) {
            let packet = packet(datagram);
            assert_eq!(packet.source, expected.source.parse::<IpAddr>().unwrap(), "{name}");
            assert_eq!(packet.destination, Some(expected.destination.parse().unwrap()), "{name}");
            assert_eq!(packet.hop_limit, expected.hop_limit, "{name}");
            let verified = receiver.receive(&packet, UnixTime::EPOCH).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(verified.advertisement.vrid.get(), expected.vrid, "{name}");
            assert_eq!(verified.advertisement.priority, Priority(priority), "{name}");
            assert_eq!(verified.advertisement.interval.duration().as_millis(), 1000, "{name}");
            assert_eq!((verified.interval, verified.addresses), (None, None), "{name}");
            assert_eq!(verified.old_checksum, name == "v3-unicast-old-checksum", "{name}");
            assert_eq!(verified.ah_sequence.is_some(), expected.ah_sequence.is_some(), "{name}");
            if priority != 0 {
                assert_eq!(verified.ah_sequence, expected.ah_sequence, "{name}");
            }
        }
        assert_eq!((receiver.stats().advertisements, receiver.stats().priority_zero), (2, 1), "{name}");
    }
}

/// Octet by octet, the first packets are what we send.
#[test]
fn ours_are_the_same() {
    for expected in EXPECTED {
        let mut config = expected.config();
        if expected.name == "v3-unicast-old-checksum" {
            config.old_unicast_checksum = OldUnicastChecksum::Use;
        }
        let [theirs, _] = expected.datagrams();
        let mut transmitter = Transmitter::new(config).unwrap();
        let advert = transmitter.begin(Priority(150), UnixTime::EPOCH);
        let mut ours = Vec::new();
        let destination = expected.destination.parse().unwrap();
        transmitter.emit(&advert, expected.source.parse().unwrap(), destination, &mut ours).unwrap();
        // Over IPv6 the header is the kernel's.
        let theirs = if theirs[0] >> 4 == 4 { &theirs[..] } else { &theirs[40..] };
        assert_eq!(ours, theirs, "{}", expected.name);
    }
}

#[test]
fn another_password_is_refused() {
    for expected in EXPECTED {
        let mut config = expected.config();
        config.authentication = match config.authentication {
            Authentication::Pass(_) => Authentication::Pass(Password::new(b"secret13")),
            Authentication::Ah(_) => Authentication::Ah(Password::new(b"secreu")),
            _ => continue,
        };
        let [datagram, _] = expected.datagrams();
        let refused = Receiver::new(config).receive(&packet(&datagram), UnixTime::EPOCH);
        let (pass, ah) = (Discard::AuthenticationFailed, Discard::AhIntegrity);
        assert_eq!(refused, Err(if expected.ah_sequence.is_some() { ah } else { pass }), "{}", expected.name);
    }
}
