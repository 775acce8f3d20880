//! Which announcement goes out when. Pure.
//!
//! Every address is announced once before any is announced again, and no link or group of links carries more than its pace allows:
//! switches and hosts drop what comes faster, and then a client keeps the stale entry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use vip_netlink::{Announcement, LinkIndex};
use vrrp_proto::{Family, Instant, RouterId};

/// Between two frames on one link where the configuration says nothing.
const DEFAULT_GAP: Duration = Duration::from_millis(1);

/// So many frames may follow each other at once where the configuration says nothing.
const BURST: u32 = 10;

/// The least time between two frames in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Gaps {
    /// Gratuitous ARP; zero for the default pace.
    pub(crate) garp: Duration,
    /// Unsolicited neighbour advertisements; zero for the default pace.
    pub(crate) gna: Duration,
}

/// Gaps that hold on certain links instead of those that hold everywhere (`garp_group`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GapGroup {
    /// The gaps.
    pub(crate) gaps: Gaps,
    /// Each of these links keeps them for itself.
    pub(crate) separate: Vec<LinkIndex>,
    /// All of these links together keep them: they lead to the same switch.
    pub(crate) shared: Vec<LinkIndex>,
}

/// What keeps a gap between its frames: a link, or the links of a group by the group's place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Link(LinkIndex),
    Group(usize),
}

/// The frames that wait, by way and family.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    /// Where no group says anything else.
    gaps: Gaps,
    groups: Vec<GapGroup>,
    /// Macvlans and the like, and the link below each: what leaves on the one leaves by the other.
    below: BTreeMap<LinkIndex, LinkIndex>,
    lanes: BTreeMap<(Way, Family), Lane>,
    /// Routers for which something may wait.
    routers: BTreeSet<RouterId>,
}

/// What waits for one way: the first frame of every address, the second, and so on.
#[derive(Debug, Default)]
struct Lane {
    rounds: Vec<VecDeque<(RouterId, Announcement)>>,
    next: Instant,
}

impl Announcer {
    /// Another pace, from the next frame on.
    pub(crate) fn set_gaps(&mut self, gaps: Gaps, groups: Vec<GapGroup>) {
        self.gaps = gaps;
        self.groups = groups;
    }

    /// Which links are made of another one: they share its gaps.
    pub(crate) fn set_below(&mut self, below: BTreeMap<LinkIndex, LinkIndex>) {
        self.below = below;
    }

    fn way(&self, link: LinkIndex) -> Way {
        let link = self.below.get(&link).copied().unwrap_or(link);
        let group = self.groups.iter().position(|group| group.shared.contains(&link));
        group.map_or(Way::Link(link), Way::Group)
    }

    fn gaps(&self, way: Way) -> Gaps {
        let group = match way {
            Way::Group(number) => self.groups.get(number),
            Way::Link(link) => self.groups.iter().find(|group| group.separate.contains(&link)),
        };
        group.map_or(self.gaps, |group| group.gaps)
    }

    /// Announces each of `addresses` `repeat` times, instead of what still waits for `router`.
    pub(crate) fn queue(&mut self, router: RouterId, addresses: &[Announcement], repeat: u8) {
        self.forget(router);
        self.add(router, addresses, repeat);
    }

    /// Announces each of `addresses` `repeat` times, beside what still waits.
    pub(crate) fn add(&mut self, router: RouterId, addresses: &[Announcement], repeat: u8) {
        self.routers.insert(router);
        for announcement in addresses {
            let way = self.way(announcement.link);
            let lane = self.lanes.entry((way, family(announcement.ip))).or_default();
            let repeat = usize::from(repeat);
            if lane.rounds.len() < repeat {
                lane.rounds.resize_with(repeat, VecDeque::new);
            }
            for round in lane.rounds.iter_mut().take(repeat) {
                round.push_back((router, *announcement));
            }
        }
    }

    /// Drops what waits for `router`: it no longer has the addresses.
    pub(crate) fn forget(&mut self, router: RouterId) {
        if !self.routers.remove(&router) {
            return;
        }
        for lane in self.lanes.values_mut() {
            for round in &mut lane.rounds {
                round.retain(|(owner, _)| *owner != router);
            }
        }
    }

    /// What is to be sent at `now`, in order.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Announcement> {
        let mut due = Vec::new();
        let paces: Vec<_> = self.lanes.keys().map(|&(way, family)| Pace::new(family, self.gaps(way))).collect();
        for (lane, pace) in self.lanes.values_mut().zip(paces) {
            while lane.next <= now {
                let Some(announcement) = lane.pop() else { break };
                lane.next = lane.next.max(now.saturating_sub(pace.burst)) + pace.gap;
                due.push(announcement);
            }
        }
        self.lanes.retain(|_, lane| !lane.is_empty() || lane.next > now);
        if self.next().is_none() {
            self.routers.clear();
        }
        due
    }

    /// When something is to be sent next; `None` while nothing waits.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.lanes.values().filter(|lane| !lane.is_empty()).map(|lane| lane.next).min()
    }
}

impl Lane {
    fn pop(&mut self) -> Option<Announcement> {
        self.rounds.iter_mut().find_map(VecDeque::pop_front).map(|(_, announcement)| announcement)
    }

    fn is_empty(&self) -> bool {
        self.rounds.iter().all(VecDeque::is_empty)
    }
}

struct Pace {
    gap: Duration,
    burst: Duration,
}

impl Pace {
    fn new(family: Family, gaps: Gaps) -> Self {
        let configured = match family {
            Family::Ipv4 => gaps.garp,
            Family::Ipv6 => gaps.gna,
        };
        if configured.is_zero() {
            Self { gap: DEFAULT_GAP, burst: DEFAULT_GAP * (BURST - 1) }
        } else {
            Self { gap: configured, burst: Duration::ZERO }
        }
    }
}

fn family(ip: IpAddr) -> Family {
    Family::of(&ip)
}

#[cfg(test)]
mod tests {
    use vip_netlink::MacAddr;

    use super::*;

    const ROUTER: RouterId = RouterId(1);
    const GAPS: Gaps = Gaps { garp: Duration::from_millis(20), gna: Duration::ZERO };

    fn addresses(count: u8) -> Vec<Announcement> {
        let link = LinkIndex::new(2).unwrap();
        let ip = |last| IpAddr::from([192, 0, 2, last]);
        (1..=count)
            .map(|last| Announcement { link, mac: MacAddr([2, 0, 0, 0, 0, 1]), ip: ip(last), router: false })
            .collect()
    }

    fn last_octets(frames: &[Announcement]) -> Vec<u8> {
        let octet = |frame: &Announcement| match frame.ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        frames.iter().map(octet).collect()
    }

    /// Runs until nothing waits; when each frame left, counted from the start.
    fn drain(announcer: &mut Announcer, start: Instant) -> Vec<(Duration, Announcement)> {
        let mut sent = Vec::new();
        let mut now = start;
        while let Some(next) = announcer.next() {
            now = now.max(next);
            let since = now.saturating_duration_since(start);
            sent.extend(announcer.due(now).into_iter().map(|frame| (since, frame)));
        }
        sent
    }

    #[test]
    fn every_address_once_before_any_again() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(3), 2);
        assert_eq!(last_octets(&announcer.due(Instant::from_nanos(1 << 40))), [1, 2, 3, 1, 2, 3]);
        assert_eq!(announcer.next(), None);
    }

    #[test]
    fn a_second_router_comes_before_the_repeats_of_the_first() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(2), 2);
        let mut other = addresses(3);
        other.drain(..2);
        announcer.queue(RouterId(2), &other, 2);
        assert_eq!(last_octets(&announcer.due(Instant::from_nanos(1 << 40))), [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn the_default_pace_is_a_thousand_a_second_after_a_short_burst() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(200), 5);
        let sent = drain(&mut announcer, Instant::from_nanos(1 << 40));
        assert_eq!(sent.len(), 1000);
        assert_eq!(sent.iter().filter(|(at, _)| at.is_zero()).count(), 10);
        assert_eq!(sent.last().unwrap().0, Duration::from_millis(990));
    }

    #[test]
    fn a_configured_gap_is_kept_between_any_two_frames() {
        let mut announcer = Announcer::default();
        announcer.set_gaps(GAPS, Vec::new());
        announcer.queue(ROUTER, &addresses(2), 2);
        let sent = drain(&mut announcer, Instant::from_nanos(1 << 40));
        let times: Vec<_> = sent.iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, [0, 20, 40, 60]);
    }

    /// Two links with a frame each; when the frames left.
    fn of_two_links(separate: &[u32], shared: &[u32]) -> Vec<u128> {
        let link = |number: &u32| LinkIndex::new(*number).unwrap();
        let group = GapGroup {
            gaps: GAPS,
            separate: separate.iter().map(link).collect(),
            shared: shared.iter().map(link).collect(),
        };
        let mut announcer = Announcer::default();
        announcer.set_gaps(Gaps::default(), vec![group]);
        let mut frames = addresses(2);
        frames[1].link = link(&3);
        announcer.queue(ROUTER, &frames, 2);
        drain(&mut announcer, Instant::from_nanos(1 << 40)).iter().map(|(at, _)| at.as_millis()).collect()
    }

    #[test]
    fn links_of_a_group_keep_their_gaps_each_for_itself_or_together() {
        assert_eq!(of_two_links(&[], &[]), [0, 0, 0, 0]);
        assert_eq!(of_two_links(&[2, 3], &[]), [0, 0, 20, 20]);
        assert_eq!(of_two_links(&[3], &[]), [0, 0, 0, 20]);
        assert_eq!(of_two_links(&[], &[2, 3]), [0, 20, 40, 60]);
    }

    #[test]
    fn a_macvlan_shares_the_gap_of_the_link_below() {
        let link = |number| LinkIndex::new(number).unwrap();
        let mut announcer = Announcer::default();
        announcer.set_gaps(GAPS, Vec::new());
        announcer.set_below([(link(3), link(2))].into());
        let mut frames = addresses(2);
        frames[1].link = link(3);
        announcer.queue(ROUTER, &frames, 2);
        let sent = drain(&mut announcer, Instant::from_nanos(1 << 40));
        let sent: Vec<_> = sent.iter().map(|(at, frame)| (at.as_millis(), frame.link.get())).collect();
        assert_eq!(sent, [(0, 2), (20, 3), (40, 2), (60, 3)]);
    }

    #[test]
    fn nothing_is_sent_for_a_router_that_gave_its_addresses_up() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(2), 5);
        announcer.forget(ROUTER);
        assert!(announcer.due(Instant::from_nanos(1 << 40)).is_empty());
        assert_eq!(announcer.next(), None);
    }

    #[test]
    fn a_new_block_replaces_what_is_left_of_the_one_before() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(200), 5);
        announcer.due(Instant::from_nanos(1 << 40));
        announcer.queue(ROUTER, &addresses(200), 1);
        assert_eq!(drain(&mut announcer, Instant::from_nanos(1 << 41)).len(), 200);
    }
}
