//! Links between nodes: who reaches whom, what gets lost, and where every packet went.

use std::net::IpAddr;

use vrrp_proto::Family;

use super::random::Random;
use super::scenario::MILLI;

/// The longest way of a packet while its link is sound.
const WAY: u64 = 3 * MILLI;
/// So long it waits at most for a process that does other things; after a longer wait it counts as that old.
pub(crate) const WAIT: u64 = MILLI;
/// The longest time from a process that sends to one that knows.
pub(crate) const DELAY: u64 = WAY + WAIT;

/// A VRRP packet on its way; for IPv4 `octets` begin with the IP header.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    pub(crate) family: Family,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hop_limit: u8,
    pub(crate) octets: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// What the receiver must make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Depends on the configurations on both ends.
    Open,
    /// Forged or damaged: no receiver may accept it.
    Refuse,
}

/// How a link treats packets, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weather {
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) corruption: u64,
    /// Up to so many nanoseconds more, each packet its own: they overtake each other.
    pub(crate) extra_delay: u64,
}

/// Where packets went, copies for each receiver counted apart.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) offered: u64,
    pub(crate) duplicated: u64,
    pub(crate) corrupted: u64,
    /// By the weather.
    pub(crate) lost: u64,
    /// The receiver is on another side of a partition or has no carrier.
    pub(crate) unreachable: u64,
    /// No process listens there.
    pub(crate) unheard: u64,
    /// For a virtual router that does not exist there, or no IP packet at all.
    pub(crate) stray: u64,
    /// Given to a `Receiver`.
    pub(crate) received: u64,
    pub(crate) in_flight: u64,
}

impl Tally {
    /// Whether every packet is somewhere.
    pub(crate) fn balanced(&self) -> bool {
        let ended = self.lost + self.unreachable + self.unheard + self.stray + self.received;
        self.offered + self.duplicated == ended + self.in_flight
    }
}

#[derive(Debug)]
struct Link {
    weather: Weather,
    /// Per node: its side of a partition, and whether it has a carrier.
    nodes: Vec<(u32, bool)>,
}

#[derive(Debug)]
pub(crate) struct Network {
    links: Vec<Link>,
    pub(crate) tally: Tally,
}

impl Network {
    pub(crate) fn new(links: usize, nodes: usize) -> Self {
        let link = || Link { weather: Weather::default(), nodes: vec![(0, true); nodes] };
        Self { links: (0..links).map(|_| link()).collect(), tally: Tally::default() }
    }

    pub(crate) fn divide(&mut self, link: usize, sides: &[u32]) {
        for ((side, _), new) in self.links[link].nodes.iter_mut().zip(sides) {
            *side = *new;
        }
    }

    pub(crate) fn set_carrier(&mut self, link: usize, node: usize, up: bool) {
        self.links[link].nodes[node].1 = up;
    }

    pub(crate) fn set_weather(&mut self, link: usize, weather: Weather) {
        self.links[link].weather = weather;
    }

    /// Nodes with the same segment reach each other; one without carrier is alone.
    pub(crate) fn segment(&self, link: usize, node: usize) -> u32 {
        match self.links[link].nodes[node] {
            (side, true) => side,
            (_, false) => 1_000 + node as u32,
        }
    }

    /// Sends one copy from `from` (or from nobody's place: it reaches all) to `to`: when it arrives, and as what.
    pub(crate) fn carry(
        &mut self,
        random: &mut Random,
        link: usize,
        from: Option<usize>,
        to: usize,
        datagram: &Datagram,
    ) -> Vec<(u64, Datagram)> {
        self.tally.offered += 1;
        let Weather { loss, duplication, corruption, extra_delay } = self.links[link].weather;
        let carrier = self.links[link].nodes[to].1;
        if !carrier || from.is_some_and(|from| self.segment(link, from) != self.segment(link, to)) {
            self.tally.unreachable += 1;
            return Vec::new();
        }
        if loss > 0 && random.chance(loss) {
            self.tally.lost += 1;
            return Vec::new();
        }
        let copies = if duplication > 0 && random.chance(duplication) { 2 } else { 1 };
        self.tally.duplicated += copies - 1;
        self.tally.in_flight += copies;
        let one = |_| {
            let mut copy = datagram.clone();
            if corruption > 0 && random.chance(corruption) && corrupt(random, &mut copy) {
                self.tally.corrupted += 1;
            }
            (random.below(WAY) + random.below(extra_delay + 1), copy)
        };
        (0..copies).map(one).collect()
    }
}

/// Flips a bit past the IP header, which the kernel checks. Not in a packet that is wrong anyway: it might become sound.
fn corrupt(random: &mut Random, datagram: &mut Datagram) -> bool {
    let header = if datagram.family == Family::Ipv4 { 20 } else { 0 };
    if datagram.verdict == Verdict::Refuse || datagram.octets.len() <= header {
        return false;
    }
    let bit = header * 8 + random.index((datagram.octets.len() - header) * 8);
    datagram.octets[bit / 8] ^= 1 << (bit % 8);
    datagram.verdict = Verdict::Refuse;
    true
}
