use super::*;
use crate::auth::{Authentication, Password, UnixTime};
use crate::config::{EngineConfig, GroupConfig, RouterConfig, TrackedLink};
use crate::receiver::{Packet, Receiver};
use crate::track::{TrackerConfig, TrackerUse};
use crate::transmitter::Transmitter;
use crate::types::{AdvertisementInterval, Family, GroupId, Priority, Version, Vrid};
use crate::wire::{GROUP_IPV4, WireConfig};
use core::time::Duration;
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec;

const T0: Instant = Instant::from_nanos(5_000_000_000);
const PEER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 9, 0, 9));
const SECRET: &str = "xyzzy-42";

/// Four routers, two of them in a group, on two links, with two trackers; `variant` turns some knobs.
fn configuration(variant: u8) -> EngineConfig {
    let routers = (0..4u8).filter(|number| variant & (1 << number) == 0).map(|number| {
        let mut config = RouterConfig::new(Vrid::new(1 + number).unwrap(), Family::Ipv4);
        config.version = Version::V3;
        config.advertisement_interval = AdvertisementInterval::one_second(Version::V3);
        config.link = Some(LinkId(u32::from(number % 2)));
        config.priority = Priority(if variant >= 128 { 255 } else { 100 + number });
        config.tracked_links = vec![TrackedLink { link: LinkId(1), weight: -10, reverse: number == 3 }];
        config.trackers = vec![TrackerUse { tracker: TrackerId(0), weight: i16::from(number) - 1, reverse: false }];
        (RouterId(u32::from(number)), config)
    });
    let mut wanted = EngineConfig::from_iter(routers);
    let mut group = GroupConfig::new(vec![RouterId(0), RouterId(1)]);
    group.trackers = vec![TrackerUse { tracker: TrackerId(1), weight: i16::from(variant % 3) - 1, reverse: false }];
    group.tracking_weight = variant >= 64;
    wanted.groups.insert(GroupId(0), group);
    wanted.trackers.insert(TrackerId(0), TrackerConfig::Script { init_fail: variant.is_multiple_of(2) });
    wanted.trackers.insert(TrackerId(1), TrackerConfig::File);
    wanted
}

fn input() -> impl Strategy<Value = Input> {
    let router = (0u32..4).prop_map(RouterId);
    let ticket = (0u64..8).prop_map(Ticket);
    let link = (0u32..2).prop_map(LinkId);
    let facts =
        (any::<bool>(), any::<bool>(), prop::option::of(any::<[u8; 4]>())).prop_map(|(up, multicast, source)| {
            LinkFacts { up, multicast, ipv4_source: source.map(Into::into), ipv6_source: None }
        });
    let advertisement = (any::<u8>(), 1u16..400).prop_map(|(priority, millis)| Advertisement {
        vrid: Vrid::new(1).unwrap(),
        priority: Priority(priority),
        interval: AdvertisementInterval::nearest(Version::V3, Duration::from_millis(u64::from(millis) * 10)),
    });
    let verdict = prop_oneof![Just(Verdict::Up), Just(Verdict::Down), (-300i64..300).prop_map(Verdict::Value)];
    let command = prop_oneof![
        prop::option::of(0u64..90_000_000_000)
            .prop_map(|until| Command::StepDown { until: until.map(Instant::from_nanos) }),
        Just(Command::EndStepDown),
        Just(Command::HoldInMaintenance),
        Just(Command::EndMaintenance),
        any::<u8>().prop_map(|priority| Command::SetPriority(Priority(priority))),
        Just(Command::EndPriority),
    ];
    prop_oneof![
        1 => any::<u8>().prop_map(|variant| Input::Reconfigure(Box::new(configuration(variant)))),
        4 => (router.clone(), any::<[u8; 4]>(), advertisement).prop_map(|(router, source, advertisement)| {
            Input::Advertisement { router, source: source.into(), advertisement }
        }),
        2 => (link.clone(), facts).prop_map(|(link, facts)| Input::Link { link, facts }),
        1 => link.prop_map(|link| Input::LinkRemoved { link }),
        2 => ((0u32..2).prop_map(TrackerId), verdict)
            .prop_map(|(tracker, verdict)| Input::Tracker { tracker, verdict }),
        1 => (router.clone(), command).prop_map(|(router, command)| Input::Command { router, command }),
        3 => (router.clone(), ticket.clone()).prop_map(|(router, ticket)| Input::Applied { router, ticket }),
        1 => (router.clone(), ticket).prop_map(|(router, ticket)| Input::Refused { router, ticket }),
        1 => router.clone().prop_map(|router| Input::AddressLost { router }),
        1 => router.clone().prop_map(|router| Input::PathLost { router }),
        1 => router.prop_map(|router| Input::PathRestored { router }),
        6 => Just(Input::Timeout),
        3 => (0..5_000_000u64).prop_map(|ahead| Input::TimeoutAhead { ahead: Duration::from_nanos(ahead) }),
    ]
}

/// A recording of the inputs, each some time after the one before, and what the engine did.
fn record(resumed: Snapshot, start: Instant, steps: Vec<(u64, Input)>) -> (Recording, Engine, Vec<Action>) {
    let mut recording = Recording { resumed: resumed.clone(), inputs: Vec::new() };
    let mut engine = Engine::resume(resumed);
    let mut actions = Vec::new();
    let mut now = start;
    for (wait, input) in steps {
        now = now + Duration::from_nanos(wait);
        recording.handle(&mut engine, now, input);
        actions.extend(core::iter::from_fn(|| engine.poll_action()));
    }
    (recording, engine, actions)
}

fn opening() -> Vec<(u64, Input)> {
    let facts = LinkFacts { up: true, multicast: true, ipv4_source: Some([10, 9, 0, 1].into()), ipv6_source: None };
    let links = (0..2).map(|link| Input::Link { link: LinkId(link), facts });
    links.chain([Input::Reconfigure(Box::new(configuration(0)))]).map(|input| (0, input)).collect()
}

proptest! {
    #[test]
    fn a_replayed_recording_gives_the_same_actions(
        steps in prop::collection::vec((0u64..2_000_000_000, input()), 1..60),
        later in prop::collection::vec((0u64..2_000_000_000, input()), 1..20),
    ) {
        let (recording, engine, actions) = record(Snapshot::default(), T0, opening().into_iter().chain(steps).collect());
        prop_assert_eq!(recording.replay(), actions);
        // In the process after this one too.
        let end = recording.inputs.last().map_or(T0, |(now, _)| *now);
        let (recording, _, actions) = record(engine.snapshot(), end, opening().into_iter().chain(later).collect());
        prop_assert_eq!(recording.replay(), actions);
    }

    #[test]
    #[cfg(feature = "serde")]
    fn a_recording_that_was_written_down_is_the_same(
        steps in prop::collection::vec((0u64..2_000_000_000, input()), 1..40),
    ) {
        let (recording, engine, actions) = record(Snapshot::default(), T0, opening().into_iter().chain(steps).collect());
        let text = serde_json::to_string(&recording).unwrap();
        let read: Recording = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &recording);
        prop_assert_eq!(read.replay(), actions);
        let snapshot = serde_json::to_string(&engine.snapshot()).unwrap();
        prop_assert_eq!(serde_json::from_str::<Snapshot>(&snapshot).unwrap(), engine.snapshot());
    }
}

/// A packet with the secret in it goes through a receiver, and what comes out through an engine.
#[cfg(feature = "serde")]
fn everything_said() -> Vec<String> {
    let vrid = Vrid::new(1).unwrap();
    let mut wire = WireConfig::new(vrid, Version::V2, Family::Ipv4);
    wire.addresses = vec![[192, 0, 2, 1].into()];
    wire.authentication = Authentication::Pass(Password::new(SECRET.as_bytes()));
    let mut config = RouterConfig::new(vrid, Family::Ipv4);
    config.addresses.clone_from(&wire.addresses);
    config.link = Some(LinkId(0));
    let mut octets = Vec::new();
    let mut transmitter = Transmitter::new(wire.clone()).unwrap();
    let advert = transmitter.begin(Priority(50), UnixTime::EPOCH);
    transmitter.emit(&advert, PEER, GROUP_IPV4.into(), &mut octets).unwrap();
    assert!(octets.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "the wire has it");
    let mut receiver = Receiver::new(wire.clone());
    let verified = receiver.receive(&Packet::from_ipv4(&octets).unwrap(), UnixTime::EPOCH).unwrap();

    let mut steps = opening();
    steps.push((0, Input::Reconfigure(Box::new(EngineConfig::from_iter([(RouterId(0), config)])))));
    steps.push((4_000_000_000, Input::Timeout));
    let advertisement = verified.advertisement;
    steps.push((1, Input::Advertisement { router: RouterId(0), source: PEER, advertisement }));
    steps.push((1, Input::Command { router: RouterId(0), command: Command::HoldInMaintenance }));
    let (recording, engine, actions) = record(Snapshot::default(), T0, steps);
    assert!(actions.len() > 10);
    vec![
        format!("{wire:?} {receiver:?} {transmitter:?} {verified:?}"),
        format!("{engine:?} {:?}", engine.snapshot()),
        format!("{recording:?} {actions:?}"),
        serde_json::to_string(&recording).unwrap(),
        serde_json::to_string(&actions).unwrap(),
        serde_json::to_string(&engine.snapshot()).unwrap(),
    ]
}

#[test]
#[cfg(feature = "serde")]
fn no_secret_is_in_any_input_snapshot_dump_or_recording() {
    let octets = format!("{:?}", SECRET.as_bytes());
    let octets = octets.trim_matches(['[', ']']);
    for text in everything_said() {
        assert!(!text.is_empty());
        for form in [SECRET, octets, &octets.replace(' ', "")] {
            assert!(!text.contains(form), "{form} in {text}");
        }
    }
}
