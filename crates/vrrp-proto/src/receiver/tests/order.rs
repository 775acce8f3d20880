//! The order of the checks: of two defects the one that keepalived looks at first is said.

use super::*;

/// A sender, a receiver, and what happens to the packet between them.
struct Scene {
    ours: WireConfig,
    theirs: WireConfig,
    destination: IpAddr,
    /// The receiver's clock.
    now: UnixTime,
    /// A good packet that was accepted before.
    before: Option<UnixTime>,
    edits: Vec<fn(&mut Vec<u8>)>,
}

type Defect = (fn(&mut Scene), fn(&Discard) -> bool);

impl Scene {
    fn new(config: WireConfig, destination: IpAddr) -> Self {
        Self { ours: config.clone(), theirs: config, destination, now: NOW, before: None, edits: Vec::new() }
    }

    fn outcome(&self) -> Result<Verified, Discard> {
        let mut receiver = Receiver::new(self.ours.clone());
        let good = &self.ours;
        let send = |config: &WireConfig, destination, at| {
            let (mut out, mut transmitter) = (Vec::new(), Transmitter::new(config.clone()).unwrap());
            let advert = transmitter.begin(Priority(100), at);
            transmitter.emit(&advert, PEER, destination, &mut out).unwrap();
            out
        };
        if let Some(at) = self.before {
            receiver.receive(&Packet::from_ipv4(&send(good, GROUP, at)).unwrap(), at).unwrap();
        }
        let mut bytes = send(&self.theirs, self.destination, NOW);
        self.edits.iter().for_each(|edit| edit(&mut bytes));
        receiver.receive(&Packet::from_ipv4(&bytes).unwrap(), self.now)
    }
}

/// Every defect alone is found, and of each neighbouring pair, and of all that follow it, the first.
fn check(scene: impl Fn() -> Scene, defects: &[Defect]) {
    assert!(scene().outcome().is_ok());
    for (place, (_, expected)) in defects.iter().enumerate() {
        for also in place..defects.len() {
            let mut scene = scene();
            // The last one first: what changes the packet's shape comes early in the order.
            if also != place {
                defects[also].0(&mut scene);
            }
            defects[place].0(&mut scene);
            let discard = scene.outcome().unwrap_err();
            assert!(expected(&discard), "defects {place} and {also}: {discard:?}");
        }
    }
}

macro_rules! is {
    ($pattern:pat) => {
        |discard| matches!(discard, $pattern)
    };
}

fn vrid(scene: &mut Scene) {
    scene.ours.vrid = Vrid::new(52).unwrap();
}

fn header_inserted(scene: &mut Scene) {
    scene.edits.push(|bytes| {
        bytes[9] = 51;
        bytes.splice(20..20, [0xee; 24]);
    });
}

fn too_long(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes.extend([0; 33]));
}

fn near(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes[8] = 254);
}

fn version(scene: &mut Scene) {
    scene.theirs.version = Version::V3;
    scene.theirs.advertisement_interval = AdvertisementInterval::one_second(Version::V3);
    if scene.theirs.hmac().is_none() {
        scene.theirs.authentication = Authentication::None;
    }
}

fn authentication_type_3(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes[24] = 3);
}

fn authentication_type_0(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes[24] &= 0xfc);
}

fn password(scene: &mut Scene) {
    scene.ours.authentication = Authentication::Pass(Password::new(b"another"));
}

fn interval(scene: &mut Scene) {
    if scene.theirs.version == Version::V2 {
        scene.theirs.advertisement_interval = AdvertisementInterval::from_seconds(Seconds(2)).unwrap();
    }
}

fn packet_type(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes[20] = bytes[20] & 0xf0 | 2);
}

fn total_length(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes[3] += 4);
}

fn wrong_checksum(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes[26] ^= 1);
}

fn to_us(scene: &mut Scene) {
    scene.destination = OURS;
}

fn to_the_group(scene: &mut Scene) {
    scene.destination = GROUP;
}

fn owner(scene: &mut Scene) {
    scene.ours.owner_ignore_adverts = true;
}

fn no_addresses(scene: &mut Scene) {
    scene.theirs.addresses.clear();
}

#[test]
fn multicast_of_version_2() {
    check(
        || Scene::new(pass(), GROUP),
        &[
            (vrid, is!(Discard::Vrid { .. })),
            (header_inserted, is!(Discard::UnexpectedAuthenticationHeader)),
            (too_long, is!(Discard::Length { .. })),
            (near, is!(Discard::HopLimit { .. })),
            (version, is!(Discard::Version { .. })),
            (authentication_type_3, is!(Discard::InvalidAuthenticationType { .. })),
            (authentication_type_0, is!(Discard::AuthenticationType { .. })),
            (password, is!(Discard::AuthenticationFailed)),
            (interval, is!(Discard::AdvertisementInterval { .. })),
            (packet_type, is!(Discard::PacketType { .. })),
            (total_length, is!(Discard::TotalLength { .. })),
            (wrong_checksum, is!(Discard::Checksum)),
            (to_us, is!(Discard::Destination { .. })),
            (owner, is!(Discard::AddressOwner)),
            (no_addresses, is!(Discard::NoAddresses)),
        ],
    );
}

fn stranger(scene: &mut Scene) {
    scene.ours.cast = Cast::Unicast { peers: vec![Peer::new(OURS)], check_source: true };
}

fn too_near(scene: &mut Scene) {
    let peer = Peer { max_hop_limit: 100, ..Peer::new(PEER) };
    scene.ours.cast = Cast::Unicast { peers: vec![peer], check_source: true };
}

#[test]
fn unicast() {
    let common: [Defect; 5] = [
        (total_length, is!(Discard::TotalLength { .. })),
        (wrong_checksum, is!(Discard::Checksum)),
        (to_the_group, is!(Discard::Destination { .. })),
        (owner, is!(Discard::AddressOwner)),
        (no_addresses, is!(Discard::NoAddresses)),
    ];
    let last: [Defect; 2] =
        [(stranger, is!(Discard::UnknownPeer { .. })), (too_near, is!(Discard::PeerHopLimit { got: 255, .. }))];
    for last in last {
        let defects: Vec<_> = common.into_iter().chain([last]).collect();
        check(|| Scene::new(super::unicast(Peer::new(PEER), true), OURS), &defects);
    }
}

fn no_trailer(scene: &mut Scene) {
    scene.theirs.authentication = Authentication::None;
}

fn trailer_type(scene: &mut Scene) {
    scene.edits.push(|bytes| {
        let place = bytes.len() - 28;
        bytes[place] = 2;
    });
}

fn stale(scene: &mut Scene) {
    scene.now = UnixTime(NOW.0 + Duration::from_secs(6));
}

fn unknown_key(scene: &mut Scene) {
    scene.edits.push(|bytes| {
        let place = bytes.len() - 27;
        bytes[place] = 9;
    });
}

fn wrong_mac(scene: &mut Scene) {
    scene.edits.push(|bytes| *bytes.last_mut().unwrap() ^= 1);
}

fn replay(scene: &mut Scene) {
    scene.before = Some(UnixTime(NOW.0 + Duration::from_secs(1)));
}

#[test]
fn the_hmac_trailer() {
    let first: [Defect; 3] = [
        (too_long, is!(Discard::Length { .. })),
        (near, is!(Discard::HopLimit { .. })),
        (version, is!(Discard::Version { .. })),
    ];
    let last: [Defect; 4] = [
        (interval, is!(Discard::AdvertisementInterval { .. })),
        (total_length, is!(Discard::TotalLength { .. })),
        (wrong_checksum, is!(Discard::Checksum)),
        (to_us, is!(Discard::Destination { .. })),
    ];
    let trailer: [Defect; 5] = [
        (trailer_type, is!(Discard::HmacMalformed)),
        (stale, is!(Discard::HmacStale { ahead: false, .. })),
        (unknown_key, is!(Discard::HmacUnknownKey { key: 9 })),
        (wrong_mac, is!(Discard::HmacInvalid { key: 7 })),
        (replay, is!(Discard::HmacReplay)),
    ];
    let scene = || Scene::new(hmac(Version::V2), GROUP);
    check(scene, &first.into_iter().chain(trailer).chain(last).collect::<Vec<_>>());
    let missing: Defect = (no_trailer, is!(Discard::HmacMissing));
    check(scene, &first.into_iter().chain([missing]).chain(last).collect::<Vec<_>>());
}

fn no_authentication_header(scene: &mut Scene) {
    scene.theirs.authentication = Authentication::None;
}

fn next_header(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes[20] = 6);
}

fn other_password(scene: &mut Scene) {
    scene.ours.authentication = Authentication::Ah(Password::new(b"another"));
}

fn used_sequence(scene: &mut Scene) {
    scene.before = Some(NOW);
}

fn ah_authentication_type(scene: &mut Scene) {
    scene.edits.push(|bytes| bytes[48] = 1);
}

#[test]
fn the_authentication_header() {
    let last: [Defect; 3] = [
        (other_password, is!(Discard::AhIntegrity)),
        (used_sequence, is!(Discard::AhSequence { got: 1, last: 1 })),
        (interval, is!(Discard::AdvertisementInterval { .. })),
    ];
    let scene = || Scene::new(ah(), GROUP);
    let first: [Defect; 4] = [
        (too_long, is!(Discard::Length { .. })),
        (near, is!(Discard::HopLimit { .. })),
        (ah_authentication_type, is!(Discard::AuthenticationType { got: 1, expected: 2 })),
        (next_header, is!(Discard::AhNextHeader { got: 6 })),
    ];
    check(scene, &first.into_iter().chain(last).collect::<Vec<_>>());
    let missing: Defect = (no_authentication_header, is!(Discard::MissingAuthenticationHeader));
    check(scene, &[missing, first[0], first[1]]);
}
