//! Arbitrary inputs in an arbitrary order: the engine does not panic, no timer is left in the past, addresses are held by
//! Active Routers only, and a recording replays bit for bit.

#![no_main]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use vrrp_proto::{
    Action, Advertisement, AdvertisementInterval, Command, Engine, EngineConfig, Family, GroupConfig, GroupId, Input,
    Instant, LinkFacts, LinkId, Ownership, Partners, Priority, Recording, Role, RouterConfig, RouterId, Snapshot,
    Ticket, TrackedLink, TrackerConfig, TrackerId, TrackerUse, Verdict, Version, Vrid,
};

const ROUTERS: u32 = 5;
const LINKS: u32 = 3;
const TRACKERS: u32 = 4;
/// More steps find nothing new, but make every run slow.
const MOST_STEPS: usize = 200;

fuzz_target!(|octets: &[u8]| {
    let mut octets = Unstructured::new(octets);
    // What is left out at the end is not needed.
    let _ = run(&mut octets);
});

fn run(octets: &mut Unstructured<'_>) -> Result<()> {
    let mut run = Run::new(Snapshot::default());
    let mut now = Instant::from_nanos(octets.arbitrary()?);
    for _ in 0..MOST_STEPS {
        if octets.is_empty() {
            break;
        }
        now = now + Duration::from_millis(octets.int_in_range(0..=4_000)?);
        if octets.ratio(1, 32)? {
            run.check_replay();
            run = Run::new(run.engine.snapshot());
            continue;
        }
        run.step(now, input(octets, &run)?);
        run.step(now, Input::Timeout);
        assert!(run.engine.poll_timeout().is_none_or(|due| due > now || now == Instant::from_nanos(u64::MAX)));
        let before = run.actions.len();
        run.step(now, Input::Timeout);
        assert_eq!(run.actions.len(), before, "a second timeout at the same instant does nothing");
    }
    run.check_replay();
    Ok(())
}

struct Run {
    engine: Engine,
    recording: Recording,
    actions: Vec<Action>,
    /// The newest of each router.
    applies: BTreeMap<RouterId, (Ownership, Ticket)>,
}

impl Run {
    fn new(resumed: Snapshot) -> Self {
        Self {
            engine: Engine::resume(resumed.clone()),
            recording: Recording { resumed, inputs: Vec::new() },
            actions: Vec::new(),
            applies: BTreeMap::new(),
        }
    }

    fn step(&mut self, now: Instant, input: Input) {
        self.recording.handle(&mut self.engine, now, input);
        let mut advertised = BTreeMap::new();
        while let Some(action) = self.engine.poll_action() {
            match &action {
                Action::Apply { router, ownership, ticket } => {
                    let before = self.applies.insert(*router, (*ownership, *ticket));
                    assert!(before.is_none_or(|(_, before)| before < *ticket), "tickets of {router:?} grow");
                }
                Action::Advertise { router, priority } => drop(advertised.insert(*router, *priority)),
                _ => {}
            }
            self.actions.push(action);
        }
        for router in self.engine.routers() {
            let active = router.role() == Role::Active;
            let held = self.applies.get(&router.id()).is_some_and(|(ownership, _)| *ownership == Ownership::Held);
            assert_eq!(held, active, "{:?} holds its addresses as Active only", router.id());
            let sent = advertised.get(&router.id()).copied().unwrap_or(Priority::RESIGN);
            let once_more = router.config().higher_prio_send_advert;
            assert!(sent == Priority::RESIGN || active || once_more, "{:?} advertises as Active only", router.id());
            let priority = router.effective_priority();
            match router.config().is_owner() {
                true => assert!(priority >= Priority(254), "254 while there is a second owner"),
                false => assert!(priority < Priority::OWNER),
            }
            assert_ne!(priority, Priority::RESIGN);
            assert_eq!(router.role() == Role::Fault, !router.faults().is_empty() && router.role() != Role::Stopped);
            assert!(self.engine.explain_priority(router.id()).is_some_and(|it| it.effective == priority));
        }
    }

    fn check_replay(&self) {
        assert_eq!(self.recording.replay(), self.actions);
    }
}

fn input(octets: &mut Unstructured<'_>, run: &Run) -> Result<Input> {
    let router = router(octets)?;
    let newest = run.applies.get(&router).map_or(0, |(_, ticket)| ticket.0);
    let ticket = Ticket(newest.saturating_sub(octets.int_in_range(0..=1)?));
    Ok(match octets.int_in_range(0..=11)? {
        0 => Input::Reconfigure(Box::new(configuration(octets)?)),
        1..=3 => Input::Advertisement { router, source: source(octets)?, advertisement: advertisement(octets)? },
        4 => Input::Link { link: link(octets)?, facts: facts(octets)? },
        5 => Input::LinkRemoved { link: link(octets)? },
        6 => Input::Tracker { tracker: tracker(octets)?, verdict: verdict(octets)? },
        7 => Input::Command { router, command: command(octets)? },
        8 | 9 => Input::Applied { router, ticket },
        10 => Input::Refused { router, ticket },
        _ if octets.ratio(1, 8)? => Input::Shutdown,
        _ => Input::AddressLost { router },
    })
}

fn router(octets: &mut Unstructured<'_>) -> Result<RouterId> {
    Ok(RouterId(octets.int_in_range(0..=ROUTERS)?))
}

fn link(octets: &mut Unstructured<'_>) -> Result<LinkId> {
    Ok(LinkId(octets.int_in_range(0..=LINKS)?))
}

fn tracker(octets: &mut Unstructured<'_>) -> Result<TrackerId> {
    Ok(TrackerId(octets.int_in_range(0..=TRACKERS)?))
}

fn source(octets: &mut Unstructured<'_>) -> Result<IpAddr> {
    Ok(IpAddr::from([198, 18, 0, octets.int_in_range(0..=3)?]))
}

fn priority(octets: &mut Unstructured<'_>) -> Result<Priority> {
    Ok(Priority(octets.arbitrary()?))
}

fn interval(octets: &mut Unstructured<'_>, version: Version) -> Result<AdvertisementInterval> {
    Ok(AdvertisementInterval::nearest(version, Duration::from_millis(octets.int_in_range(0..=50_000)?)))
}

fn advertisement(octets: &mut Unstructured<'_>) -> Result<Advertisement> {
    let vrid = Vrid::new(1).expect("not zero");
    let version = if octets.arbitrary()? { Version::V2 } else { Version::V3 };
    Ok(Advertisement { vrid, priority: priority(octets)?, interval: interval(octets, version)? })
}

fn facts(octets: &mut Unstructured<'_>) -> Result<LinkFacts> {
    let ipv4_source = match octets.int_in_range(0u8..=2)? {
        0 => None,
        last => Some([198, 18, 0, last].into()),
    };
    Ok(LinkFacts { up: octets.ratio(3, 4)?, multicast: octets.ratio(3, 4)?, ipv4_source, ipv6_source: None })
}

fn verdict(octets: &mut Unstructured<'_>) -> Result<Verdict> {
    Ok(match octets.int_in_range(0u8..=2)? {
        0 => Verdict::Up,
        1 => Verdict::Down,
        _ => Verdict::Value(octets.arbitrary()?),
    })
}

fn command(octets: &mut Unstructured<'_>) -> Result<Command> {
    Ok(match octets.int_in_range(0u8..=6)? {
        0 => Command::StepDown { until: None },
        1 => Command::StepDown { until: Some(Instant::from_nanos(octets.arbitrary()?)) },
        2 => Command::EndStepDown,
        3 => Command::HoldInMaintenance,
        4 => Command::EndMaintenance,
        5 => Command::SetPriority(priority(octets)?),
        _ => Command::EndPriority,
    })
}

fn configuration(octets: &mut Unstructured<'_>) -> Result<EngineConfig> {
    let mut wanted = EngineConfig::default();
    for _ in 0..octets.int_in_range(0..=ROUTERS)? {
        wanted.routers.insert(router(octets)?, router_config(octets)?);
    }
    for id in 0..octets.int_in_range(0..=2)? {
        let members = (0..octets.int_in_range(0..=3)?).map(|_| router(octets)).collect::<Result<_>>()?;
        let mut group = GroupConfig::new(members);
        group.tracking_weight = octets.arbitrary()?;
        group.trackers = tracker_uses(octets)?;
        group.tracked_links = tracked_links(octets)?;
        wanted.groups.insert(GroupId(id), group);
    }
    for _ in 0..octets.int_in_range(0..=TRACKERS)? {
        let config = match octets.int_in_range(0u8..=3)? {
            0 => TrackerConfig::Script { init_fail: octets.arbitrary()? },
            1 => TrackerConfig::File,
            2 => TrackerConfig::Process,
            _ => TrackerConfig::Bfd,
        };
        wanted.trackers.insert(tracker(octets)?, config);
    }
    for finding in wanted.findings() {
        assert!(!finding.to_string().is_empty());
    }
    Ok(wanted)
}

fn router_config(octets: &mut Unstructured<'_>) -> Result<RouterConfig> {
    let vrid = Vrid::new(octets.int_in_range(1..=3)?).expect("not zero");
    let mut config = RouterConfig::new(vrid, Family::Ipv4);
    config.version = if octets.arbitrary()? { Version::V2 } else { Version::V3 };
    config.advertisement_interval = interval(octets, config.version)?;
    config.priority = Priority(octets.int_in_range(1..=255)?);
    config.link = if octets.ratio(7, 8)? { Some(link(octets)?) } else { None };
    config.track_link = octets.arbitrary()?;
    config.source = if octets.arbitrary()? { Some(source(octets)?) } else { None };
    config.track_source = octets.arbitrary()?;
    config.preempt_mode = octets.ratio(3, 4)?;
    config.preempt_delay = Duration::from_secs(octets.int_in_range(0..=10)?);
    config.down_timer_adverts = octets.int_in_range(1..=100)?;
    config.lower_prio_no_advert = octets.arbitrary()?;
    config.higher_prio_send_advert = octets.arbitrary()?;
    config.resources_revision = octets.int_in_range(0..=1)?;
    config.partners = *octets.choose(&[Partners::Multicast, Partners::Unicast, Partners::Missing])?;
    config.announcements.refresh = Duration::from_secs(octets.int_in_range(0..=3)?);
    config.trackers = tracker_uses(octets)?;
    config.tracked_links = tracked_links(octets)?;
    Ok(config)
}

fn tracker_uses(octets: &mut Unstructured<'_>) -> Result<Vec<TrackerUse>> {
    (0..octets.int_in_range(0..=2)?)
        .map(|_| Ok(TrackerUse { tracker: tracker(octets)?, weight: weight(octets)?, reverse: octets.arbitrary()? }))
        .collect()
}

fn tracked_links(octets: &mut Unstructured<'_>) -> Result<Vec<TrackedLink>> {
    (0..octets.int_in_range(0..=1)?)
        .map(|_| Ok(TrackedLink { link: link(octets)?, weight: weight(octets)?, reverse: octets.arbitrary()? }))
        .collect()
}

/// Also outside the range that a configuration may have.
fn weight(octets: &mut Unstructured<'_>) -> Result<i16> {
    if octets.arbitrary()? { Ok(0) } else { octets.arbitrary() }
}
