//! Who takes part, drawn from the seed: nodes, links, virtual routers and how each node runs them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use vrrp_proto::{
    AdvertisementInterval, Authentication, Cast, Family, GroupConfig, Hmac, HmacKey, KeyId, LinkFacts, LinkId,
    Partners, Password, Peer, Priority, RouterConfig, RouterId, TrackedLink, TrackerId, TrackerUse, Version, Vrid,
    WireConfig, default_group,
};

use super::random::Random;

pub(crate) const MILLI: u64 = 1_000_000;
/// A link that only trackers look at.
pub(crate) const UPLINK: LinkId = LinkId(900);
/// A script that every node runs.
pub(crate) const SCRIPT: TrackerId = TrackerId(7);
/// How long before each node's boot clock passes 2^32 µs or 2^32 ms, or any number.
const CLOCKS: [u64; 5] =
    [0, 77 * MILLI, 3_600_000 * MILLI, (1 << 32) * 1_000 - 20_000 * MILLI, (1 << 32) * MILLI - 20_000 * MILLI];

/// What a seed is about.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) nodes: usize,
    pub(crate) links: usize,
    pub(crate) routers: Vec<RouterSpec>,
    /// Virtual routers that move together.
    pub(crate) groups: Vec<Vec<usize>>,
    /// What each node's clock shows when the simulation begins.
    pub(crate) clocks: Vec<u64>,
}

/// A virtual router on the wire, and its members.
#[derive(Debug, Clone)]
pub(crate) struct RouterSpec {
    pub(crate) link: usize,
    pub(crate) vrid: Vrid,
    pub(crate) version: Version,
    pub(crate) family: Family,
    unicast: bool,
    authentication: Authentication,
    v3_checksum_as_v2: bool,
    /// By node: how it runs this virtual router.
    pub(crate) members: BTreeMap<usize, RouterConfig>,
}

impl Scenario {
    pub(crate) fn new(random: &mut Random) -> Self {
        let nodes = if random.chance(80) { random.between(2, 5) } else { random.between(6, 16) } as usize;
        let links = random.between(1, 3) as usize;
        let most = if nodes > 5 { 2 } else { 4 };
        let clocks = (0..nodes).map(|_| *random.pick(&CLOCKS)).collect();
        let mut scenario = Self { nodes, links, routers: Vec::new(), groups: Vec::new(), clocks };
        for _ in 0..random.between(1, most) {
            let link = random.index(links);
            let everybody: Vec<_> = (0..nodes).collect();
            scenario.add_router(random, link, &everybody);
        }
        if links > 1 && random.chance(40) {
            scenario.add_group(random);
        }
        scenario
    }

    fn add_router(&mut self, random: &mut Random, link: usize, nodes: &[usize]) -> usize {
        let at = self.routers.len();
        self.routers.push(RouterSpec::new(random, at, link, nodes));
        at
    }

    /// Two virtual routers on two links that each node runs with the same priority.
    fn add_group(&mut self, random: &mut Random) {
        let everybody: Vec<_> = (0..self.nodes).collect();
        let first = self.add_router(random, 0, &everybody);
        let second = self.add_router(random, 1, &everybody);
        for node in everybody {
            let model = self.routers[first].members[&node].clone();
            if let Some(config) = self.routers[second].members.get_mut(&node) {
                config.priority = model.priority;
                config.preempt_mode = model.preempt_mode;
                config.preempt_delay = model.preempt_delay;
                config.tracked_links = model.tracked_links;
                config.trackers = model.trackers;
            }
        }
        self.groups.push(vec![first, second]);
    }

    /// The groups as the engine wants them.
    pub(crate) fn group_configs(&self) -> impl Iterator<Item = GroupConfig> {
        self.groups.iter().map(|members| {
            let mut config = GroupConfig::default();
            config.members = members.iter().map(|at| RouterSpec::id(*at)).collect();
            config.tracking_weight = true;
            config
        })
    }

    /// The members of a virtual router's group; none if it is in none.
    pub(crate) fn companions(&self, router: usize) -> &[usize] {
        self.groups.iter().find(|group| group.contains(&router)).map_or(&[], Vec::as_slice)
    }
}

impl RouterSpec {
    fn new(random: &mut Random, at: usize, link: usize, nodes: &[usize]) -> Self {
        let family = if random.chance(65) { Family::Ipv4 } else { Family::Ipv6 };
        let version = if random.chance(40) { Version::V2 } else { Version::V3 };
        let authentication = match random.below(6) {
            0 | 1 if version == Version::V2 && family == Family::Ipv4 => Authentication::Pass(Password::new(SECRET)),
            2 if version == Version::V2 && family == Family::Ipv4 => Authentication::Ah(Password::new(SECRET)),
            3 => Authentication::Hmac(hmac(SECRET)),
            _ => Authentication::None,
        };
        let mut spec = Self {
            link,
            vrid: Vrid::new(11 + at as u8).unwrap(),
            version,
            family,
            unicast: random.chance(25),
            authentication,
            v3_checksum_as_v2: random.chance(20),
            members: BTreeMap::new(),
        };
        let habits = Habits::new(random, version);
        for (rank, &node) in nodes.iter().enumerate() {
            let config = spec.member(random, &habits, rank, nodes.len());
            spec.members.insert(node, config);
        }
        spec
    }

    fn member(&self, random: &mut Random, habits: &Habits, rank: usize, of: usize) -> RouterConfig {
        let mut config = RouterConfig::new(self.vrid, self.family);
        config.version = self.version;
        config.link = Some(LinkId(self.link as u32));
        config.addresses = virtual_addresses(self.family, self.vrid, habits.addresses);
        config.advertisement_interval = habits.interval;
        if self.version == Version::V3 && random.chance(habits.mixed_intervals) {
            let other = habits.interval.duration() * random.between(2, 5) as u32 / 3;
            config.advertisement_interval = AdvertisementInterval::nearest(Version::V3, other);
        }
        let step = 180 / of as u64;
        config.priority = match random.below(100) {
            0..=9 => Priority(100),
            10..=19 if rank == 0 => Priority::OWNER,
            _ => Priority((20 + rank as u64 * step + random.below(step)) as u8),
        };
        config.preempt_mode = !random.chance(habits.no_preempt);
        config.preempt_delay = if config.preempts() { habits.preempt_delay } else { Duration::ZERO };
        config.higher_prio_send_advert = random.chance(15);
        config.lower_prio_no_advert = random.chance(10);
        config.down_timer_adverts = habits.down_timer_adverts;
        config.timer_expired_backup = (!config.preempts() && random.chance(50)).then_some(Priority(254));
        config.announcements.refresh = Duration::from_secs(random.below(3));
        if self.unicast {
            config.partners = Partners::Unicast;
        }
        if random.chance(habits.tracked) {
            let (weight, reverse) = (weight(random), random.chance(10));
            config.tracked_links = vec![TrackedLink { link: UPLINK, weight, reverse }];
        }
        if random.chance(habits.tracked) {
            let (weight, reverse) = (weight(random), random.chance(10));
            config.trackers = vec![TrackerUse { tracker: SCRIPT, weight, reverse }];
        }
        config
    }

    /// How `node` puts it on the wire with this configuration.
    pub(crate) fn wire(&self, node: usize, config: &RouterConfig) -> WireConfig {
        let mut wire = WireConfig::new(self.vrid, self.version, self.family);
        wire.advertisement_interval = config.advertisement_interval;
        wire.addresses.clone_from(&config.addresses);
        wire.authentication = self.authentication.clone();
        wire.v3_checksum_as_v2 = self.v3_checksum_as_v2;
        if self.unicast {
            let peers = self.members.keys().filter(|other| **other != node);
            let peers = peers.map(|other| Peer::new(self.address(*other))).collect();
            wire.cast = Cast::Unicast { peers, check_source: true };
        }
        wire
    }

    /// Where `node` sends to.
    pub(crate) fn destinations(&self, node: usize) -> Vec<IpAddr> {
        if !self.unicast {
            return vec![default_group(self.family)];
        }
        self.members.keys().filter(|other| **other != node).map(|other| self.address(*other)).collect()
    }

    pub(crate) fn is_unicast(&self) -> bool {
        self.unicast
    }

    pub(crate) fn authentication(&self) -> &Authentication {
        &self.authentication
    }

    /// The address that `node` sends from.
    pub(crate) fn address(&self, node: usize) -> IpAddr {
        address(self.link, node, self.family)
    }

    pub(crate) fn id(at: usize) -> RouterId {
        RouterId(at as u32)
    }
}

/// One in three puts its router in fault.
fn weight(random: &mut Random) -> i16 {
    let amount = random.between(1, 60) as i16;
    *random.pick(&[0, amount, -amount])
}

const SECRET: &[u8] = b"x7!pass of the simulated network, 32 octets at least";

/// Keys from a secret that is long enough.
pub(crate) fn hmac(secret: &[u8]) -> Hmac {
    let id = KeyId::new(1).unwrap();
    Hmac::new([HmacKey::new(id, secret).unwrap()], id).unwrap()
}

/// What the members of one virtual router have in common.
struct Habits {
    interval: AdvertisementInterval,
    addresses: u64,
    /// Chances in percent.
    mixed_intervals: u64,
    no_preempt: u64,
    tracked: u64,
    preempt_delay: Duration,
    down_timer_adverts: u8,
}

impl Habits {
    fn new(random: &mut Random, version: Version) -> Self {
        let interval = match version {
            Version::V2 => Duration::from_secs(random.between(1, 2)),
            Version::V3 => Duration::from_millis(10 * random.between(30, 150)),
        };
        Self {
            interval: AdvertisementInterval::nearest(version, interval),
            addresses: random.between(1, 4),
            mixed_intervals: if random.chance(30) { 50 } else { 0 },
            no_preempt: *random.pick(&[0, 0, 0, 40, 100]),
            tracked: *random.pick(&[0, 50, 100]),
            preempt_delay: if random.chance(20) { interval * random.between(1, 4) as u32 / 2 } else { Duration::ZERO },
            down_timer_adverts: if random.chance(85) { 3 } else { random.between(2, 5) as u8 },
        }
    }
}

/// What `node` knows of a link that has a carrier, or not.
pub(crate) fn link_facts(link: usize, node: usize, up: bool) -> LinkFacts {
    let IpAddr::V4(ipv4) = address(link, node, Family::Ipv4) else { unreachable!("the address of a family is of it") };
    let IpAddr::V6(ipv6) = address(link, node, Family::Ipv6) else { unreachable!("the address of a family is of it") };
    LinkFacts { up, multicast: true, ipv4_source: Some(ipv4), ipv6_source: Some(ipv6) }
}

/// The primary address of `node` on a link.
pub(crate) fn address(link: usize, node: usize, family: Family) -> IpAddr {
    let (link, host) = (link as u8, node as u8 + 1);
    match family {
        Family::Ipv4 => IpAddr::from([10, 9, link, host]),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, link.into(), host.into())),
    }
}

/// `count` virtual addresses; the first of IPv6 is link-local (RFC 9568 §5.2.9).
pub(crate) fn virtual_addresses(family: Family, vrid: Vrid, count: u64) -> Vec<IpAddr> {
    let one = |number: u64| match family {
        Family::Ipv4 => IpAddr::from([10, 9, 100 + number as u8, vrid.get()]),
        Family::Ipv6 if number == 0 => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xff, vrid.get().into())),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, number as u16, 0, 0, 0, vrid.get().into())),
    };
    (0..count).map(one).collect()
}
