//! Packets that nobody ought to have sent.

use std::net::IpAddr;

use vrrp_proto::{
    AdvertisementInterval, Authentication, Cast, Family, Password, Priority, RouterConfig, Transmitter, Version, Vrid,
    WireConfig, default_group,
};

use super::network::{Datagram, Verdict};
use super::node::time_of_day;
use super::random::Random;
use super::scenario::{RouterSpec, address, hmac};

/// A node that is no member of anything.
const STRANGER: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Junk {
    HopLimit,
    Checksum,
    Version,
    UnknownVrid,
    Truncated,
    Random,
    WrongAuthentication,
    PacketType,
    LowerPriority,
}

/// Each kind by its name in the census.
pub(crate) const KINDS: [&str; 9] = [
    "junk: hop limit",
    "junk: checksum",
    "junk: version",
    "junk: unknown VRID",
    "junk: truncated",
    "junk: random octets",
    "junk: wrong authentication",
    "junk: packet type",
    "junk: lower priority",
];

const ALL: [Junk; 9] = [
    Junk::HopLimit,
    Junk::Checksum,
    Junk::Version,
    Junk::UnknownVrid,
    Junk::Truncated,
    Junk::Random,
    Junk::WrongAuthentication,
    Junk::PacketType,
    Junk::LowerPriority,
];

impl Junk {
    /// One that no member of this virtual router follows.
    pub(crate) fn draw(random: &mut Random, spec: &RouterSpec) -> Self {
        let drawn = *random.pick(&ALL);
        let fits = match drawn {
            // By unicast any hop limit will do.
            Self::HopLimit => !spec.is_unicast(),
            Self::WrongAuthentication => *spec.authentication() != Authentication::None,
            // A Backup that does not preempt follows whoever is there.
            Self::LowerPriority => spec.members.values().all(follows_nobody_lower),
            _ => true,
        };
        if fits { drawn } else { Self::Checksum }
    }

    pub(crate) const fn name(self) -> &'static str {
        KINDS[self as usize]
    }

    /// A packet for `target`, or for everybody.
    pub(crate) fn build(self, now: u64, random: &mut Random, spec: &RouterSpec, target: usize) -> Datagram {
        let config = &spec.members[&target];
        let mut wire = spec.wire(target, config);
        let mut priority = Priority(255);
        match self {
            Self::Version => change_version(&mut wire),
            Self::UnknownVrid => wire.vrid = Vrid::new(200 + random.below(50) as u8).unwrap(),
            Self::WrongAuthentication => wire.authentication = wrong(random, spec.authentication()),
            Self::LowerPriority => priority = Priority(1),
            Self::HopLimit => wire.hop_limit = random.below(255) as u8,
            Self::Checksum | Self::Truncated | Self::Random | Self::PacketType => {}
        }
        let datagram = assemble(now, random, wire, spec, target, priority);
        self.spoil(random, datagram)
    }

    fn spoil(self, random: &mut Random, mut datagram: Datagram) -> Datagram {
        let header = if datagram.family == Family::Ipv4 { 20 } else { 0 };
        match self {
            Self::HopLimit => datagram.hop_limit = random.below(255) as u8,
            Self::Checksum => datagram.octets[header + 6] ^= 1 + random.below(255) as u8,
            Self::Truncated => {
                let length = header + random.index(datagram.octets.len() - header);
                datagram.octets.truncate(length);
            }
            Self::Random => {
                let length = random.index(80);
                datagram.octets.resize(header + length, 0);
                datagram.octets[header..].fill_with(|| random.next() as u8);
            }
            Self::PacketType => datagram.octets[header] ^= 1 + random.below(15) as u8,
            Self::Version | Self::UnknownVrid | Self::WrongAuthentication | Self::LowerPriority => {}
        }
        datagram.verdict = if self == Self::LowerPriority { Verdict::Open } else { Verdict::Refuse };
        datagram
    }
}

fn follows_nobody_lower(config: &RouterConfig) -> bool {
    config.preempts() && config.preempt_delay.is_zero()
}

fn change_version(wire: &mut WireConfig) {
    wire.version = match wire.version {
        Version::V2 => Version::V3,
        Version::V3 => Version::V2,
    };
    wire.authentication = Authentication::None;
    wire.advertisement_interval = AdvertisementInterval::one_second(wire.version);
}

/// None, or the right kind with a wrong secret.
fn wrong(random: &mut Random, right: &Authentication) -> Authentication {
    let guess = b"a guess that is as long as it has to be";
    match right {
        _ if random.chance(30) => Authentication::None,
        Authentication::Pass(_) => Authentication::Pass(Password::new(guess)),
        Authentication::Ah(_) => Authentication::Ah(Password::new(guess)),
        _ => Authentication::Hmac(hmac(guess)),
    }
}

fn assemble(
    now: u64,
    random: &mut Random,
    wire: WireConfig,
    spec: &RouterSpec,
    target: usize,
    priority: Priority,
) -> Datagram {
    let family = spec.family;
    // Who forges can forge a member's address, too; but a lower priority comes from a stranger, or from a peer.
    let others: Vec<_> = spec.members.keys().copied().filter(|member| *member != target).collect();
    let source = match wire.cast {
        Cast::Unicast { .. } => spec.address(*random.pick(&others)),
        _ => address(spec.link, STRANGER, family),
    };
    let destination: IpAddr = if spec.is_unicast() { spec.address(target) } else { default_group(family) };
    let hop_limit = wire.hop_limit;
    let mut octets = Vec::new();
    let mut transmitter = Transmitter::new(wire).unwrap();
    let advert = transmitter.begin(priority, time_of_day(now, target));
    transmitter.emit(&advert, source, destination, &mut octets).unwrap();
    Datagram { family, source, destination, hop_limit, octets, verdict: Verdict::Refuse }
}
