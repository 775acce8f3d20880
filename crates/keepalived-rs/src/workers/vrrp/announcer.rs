//! Which announcement goes out when. Pure.
//!
//! Every address is announced once before any is announced again, and no link or group of links carries more than its pace allows:
//! switches and hosts drop what comes faster, and then a client keeps the stale entry. What a link does not take waits for
//! it, and holds up no other link.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use vip_netlink::{Announcement, LinkIndex};
use vrrp_proto::{Family, Instant, RouterId};

/// Between two frames on one link where the configuration says nothing.
const DEFAULT_GAP: Duration = Duration::from_millis(1);

/// So many frames may follow each other at once where the configuration says nothing: fewer than what a switch that
/// passes as many ARP frames a second lets pass at once, for there are others that send some.
const BURST: u32 = 4;

/// So many may after the thread was kept waiting, which a busy host does for some tens of milliseconds.
const CATCH_UP: u32 = 32;

/// A link that took no more is left alone for so long.
const PAUSE: Duration = Duration::from_millis(20);

/// A frame that is dropped so often is given up: a full queue is not full for a second, a filter drops for ever.
const ATTEMPTS: u8 = 50;

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

/// A frame that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    router: RouterId,
    /// What it says.
    pub(crate) announcement: Announcement,
    /// How often the same was to be sent before in its block.
    round: usize,
    /// How often it was dropped on its way out.
    dropped: u8,
}

/// What waits for one way, by the link that it leaves through.
#[derive(Debug, Default)]
struct Lane {
    queues: BTreeMap<LinkIndex, Queue>,
    /// Zero before the first frame.
    next: Instant,
}

/// What waits for one link: the first frame of every address, the second, and so on.
#[derive(Debug, Default)]
struct Queue {
    rounds: Vec<VecDeque<Frame>>,
    /// The link takes nothing before.
    held: Instant,
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

    /// The link that frames of `link` leave through in the end.
    fn outlet(&self, link: LinkIndex) -> LinkIndex {
        self.below.get(&link).copied().unwrap_or(link)
    }

    /// That of an outlet.
    fn way(&self, link: LinkIndex) -> Way {
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

    /// Announces each of `addresses` `repeat` times, instead of what still waits for `router`; but an address that waits
    /// for its first frame keeps its place, or blocks that follow each other quickly would never come to the last ones.
    pub(crate) fn queue(&mut self, router: RouterId, addresses: &[Announcement], repeat: u8) {
        let wanted: HashSet<_> = addresses.iter().collect();
        self.drop_all(router, |frame| frame.round == 0 && wanted.contains(&frame.announcement));
        self.add(router, addresses, repeat);
    }

    /// Announces each of `addresses` `repeat` times, beside what still waits; of two first frames of an address one is
    /// enough.
    pub(crate) fn add(&mut self, router: RouterId, addresses: &[Announcement], repeat: u8) {
        let waiting = if self.routers.insert(router) { HashSet::new() } else { self.firsts(router) };
        for announcement in addresses {
            let outlet = self.outlet(announcement.link);
            let lane = self.lanes.entry((self.way(outlet), family(announcement.ip))).or_default();
            let queue = lane.queues.entry(outlet).or_default();
            for round in usize::from(waiting.contains(announcement))..usize::from(repeat) {
                queue.round(round).push_back(Frame { router, announcement: *announcement, round, dropped: 0 });
            }
        }
    }

    /// What of `router` waits for its first frame.
    fn firsts(&self, router: RouterId) -> HashSet<Announcement> {
        let firsts = self.lanes.values().flat_map(|lane| lane.queues.values()).filter_map(|queue| queue.rounds.first());
        let own = firsts.flatten().filter(|frame| frame.router == router);
        own.map(|frame| frame.announcement).collect()
    }

    /// Drops what waits for `router`: it no longer has the addresses.
    pub(crate) fn forget(&mut self, router: RouterId) {
        self.drop_all(router, |_| false);
        self.routers.remove(&router);
    }

    fn drop_all(&mut self, router: RouterId, except: impl Fn(&Frame) -> bool) {
        if !self.routers.contains(&router) {
            return;
        }
        let queues = self.lanes.values_mut().flat_map(|lane| lane.queues.values_mut());
        for round in queues.flat_map(|queue| &mut queue.rounds) {
            round.retain(|frame| frame.router != router || except(frame));
        }
    }

    /// Drops what waits for links that are gone.
    pub(crate) fn keep_links(&mut self, is_there: impl Fn(LinkIndex) -> bool) {
        for queues in self.lanes.values_mut().map(|lane| &mut lane.queues) {
            queues.retain(|outlet, _| is_there(*outlet));
            for round in queues.values_mut().flat_map(|queue| &mut queue.rounds) {
                round.retain(|frame| is_there(frame.announcement.link));
            }
        }
    }

    /// What is to be sent at `now`, by the link that it leaves through, in order.
    pub(crate) fn due(&mut self, now: Instant) -> BTreeMap<LinkIndex, Vec<Frame>> {
        let mut due = BTreeMap::<_, Vec<_>>::new();
        let paces: Vec<_> = self.lanes.keys().map(|&(way, family)| Pace::new(family, self.gaps(way))).collect();
        for (lane, pace) in self.lanes.values_mut().zip(paces) {
            while lane.next <= now {
                let Some((outlet, frame)) = lane.pop(now) else { break };
                let burst = if lane.next == Instant::ZERO { pace.burst } else { pace.catch_up };
                lane.next = lane.next.max(now.saturating_sub(burst)) + pace.gap;
                due.entry(outlet).or_default().push(frame);
            }
        }
        self.lanes.retain(|_, lane| !lane.is_empty() || lane.next > now);
        if self.next().is_none() {
            self.routers.clear();
        }
        due
    }

    /// Takes back what found no room on its way out at `now`: it comes first once the link has had a pause.
    pub(crate) fn take_back(&mut self, now: Instant, outlet: LinkIndex, frames: &[Frame]) {
        for frame in frames.iter().rev() {
            self.hold(now, outlet, frame).push_front(*frame);
        }
    }

    /// Takes back a frame that was dropped on its way out at `now`, behind the others, which may pass; whether it did not
    /// give it up.
    pub(crate) fn try_again(&mut self, now: Instant, outlet: LinkIndex, frame: &Frame) -> bool {
        let dropped = frame.dropped + 1;
        let goes_on = dropped < ATTEMPTS;
        if goes_on {
            self.hold(now, outlet, frame).push_back(Frame { dropped, ..*frame });
        }
        goes_on
    }

    /// The place that `frame` came from, whose link is left alone from `now` on.
    fn hold(&mut self, now: Instant, outlet: LinkIndex, frame: &Frame) -> &mut VecDeque<Frame> {
        self.routers.insert(frame.router);
        let way = self.way(outlet);
        let lane = self.lanes.entry((way, family(frame.announcement.ip))).or_default();
        let queue = lane.queues.entry(outlet).or_default();
        queue.held = now + PAUSE;
        queue.round(frame.round)
    }

    /// When something is to be sent next; `None` while nothing waits.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.lanes.values().filter_map(Lane::ready).min()
    }
}

impl Lane {
    /// The next frame at `now`: of the queues that are not held, that with the earliest round.
    fn pop(&mut self, now: Instant) -> Option<(LinkIndex, Frame)> {
        let free = self.queues.iter_mut().filter(|(_, queue)| queue.held <= now);
        let (outlet, queue) = free.filter(|(_, queue)| !queue.is_empty()).min_by_key(|(_, queue)| queue.earliest())?;
        Some((*outlet, queue.pop()?))
    }

    /// When its next frame may leave.
    fn ready(&self) -> Option<Instant> {
        let waiting = self.queues.values().filter(|queue| !queue.is_empty());
        waiting.map(|queue| queue.held.max(self.next)).min()
    }

    fn is_empty(&self) -> bool {
        self.queues.values().all(Queue::is_empty)
    }
}

impl Queue {
    fn round(&mut self, number: usize) -> &mut VecDeque<Frame> {
        if self.rounds.len() <= number {
            self.rounds.resize_with(number + 1, VecDeque::new);
        }
        self.rounds.get_mut(number).expect("it was made just now")
    }

    /// The number of the first round of which something waits.
    fn earliest(&self) -> Option<usize> {
        self.rounds.iter().position(|round| !round.is_empty())
    }

    fn pop(&mut self) -> Option<Frame> {
        self.rounds.iter_mut().find_map(VecDeque::pop_front)
    }

    fn is_empty(&self) -> bool {
        self.earliest().is_none()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.rounds.iter().map(VecDeque::len).sum()
    }
}

struct Pace {
    gap: Duration,
    /// How far behind the first frame may be, and a later one.
    burst: Duration,
    catch_up: Duration,
}

impl Pace {
    fn new(family: Family, gaps: Gaps) -> Self {
        let configured = match family {
            Family::Ipv4 => gaps.garp,
            Family::Ipv6 => gaps.gna,
        };
        if configured.is_zero() {
            Self { gap: DEFAULT_GAP, burst: DEFAULT_GAP * (BURST - 1), catch_up: DEFAULT_GAP * (CATCH_UP - 1) }
        } else {
            Self { gap: configured, burst: Duration::ZERO, catch_up: Duration::ZERO }
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
    const NOW: Instant = Instant::from_nanos(1 << 40);
    const GAPS: Gaps = Gaps { garp: Duration::from_millis(20), gna: Duration::ZERO };

    fn addresses(count: u8) -> Vec<Announcement> {
        let link = LinkIndex::new(2).unwrap();
        let ip = |last| IpAddr::from([192, 0, 2, last]);
        (1..=count)
            .map(|last| Announcement { link, mac: MacAddr([2, 0, 0, 0, 0, 1]), ip: ip(last), router: false })
            .collect()
    }

    fn last_octets(frames: &[Frame]) -> Vec<u8> {
        let octet = |frame: &Frame| match frame.announcement.ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        frames.iter().map(octet).collect()
    }

    /// What is due, whatever the link.
    fn all_due(announcer: &mut Announcer, now: Instant) -> Vec<Frame> {
        announcer.due(now).into_values().flatten().collect()
    }

    /// Runs until nothing waits; when each frame left, counted from the start.
    fn drain(announcer: &mut Announcer, start: Instant) -> Vec<(Duration, Announcement)> {
        let mut sent = Vec::new();
        let mut now = start;
        while let Some(next) = announcer.next() {
            now = now.max(next);
            let since = now.saturating_duration_since(start);
            sent.extend(all_due(announcer, now).into_iter().map(|frame| (since, frame.announcement)));
        }
        sent
    }

    /// Runs until nothing waits; the last octets of the addresses in their order.
    fn order(announcer: &mut Announcer) -> Vec<u8> {
        let mut frames = Vec::new();
        while let Some(next) = announcer.next() {
            frames.extend(all_due(announcer, next.max(NOW)));
        }
        last_octets(&frames)
    }

    #[test]
    fn every_address_once_before_any_again() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(3), 2);
        assert_eq!(order(&mut announcer), [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_second_router_comes_before_the_repeats_of_the_first() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(2), 2);
        let mut other = addresses(3);
        other.drain(..2);
        announcer.queue(RouterId(2), &other, 2);
        assert_eq!(order(&mut announcer), [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn the_default_pace_is_a_thousand_a_second_after_a_short_burst() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(200), 5);
        let sent = drain(&mut announcer, NOW);
        assert_eq!(sent.len(), 1000);
        assert_eq!(sent.iter().filter(|(at, _)| at.is_zero()).count(), 4);
        assert_eq!(sent.last().unwrap().0, Duration::from_millis(996));
    }

    #[test]
    fn what_was_kept_waiting_is_made_up_for_with_a_few_frames_at_once() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(100), 1);
        let sent = [0, 6, 9, 99].map(|at| all_due(&mut announcer, NOW + Duration::from_millis(at)).len());
        assert_eq!(sent, [4, 6, 3, 32]);
    }

    #[test]
    fn a_configured_gap_is_kept_between_any_two_frames() {
        let mut announcer = Announcer::default();
        announcer.set_gaps(GAPS, Vec::new());
        announcer.queue(ROUTER, &addresses(2), 2);
        let sent = drain(&mut announcer, NOW);
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
        drain(&mut announcer, NOW).iter().map(|(at, _)| at.as_millis()).collect()
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
        let sent = drain(&mut announcer, NOW);
        let sent: Vec<_> = sent.iter().map(|(at, frame)| (at.as_millis(), frame.link.get())).collect();
        assert_eq!(sent, [(0, 2), (20, 3), (40, 2), (60, 3)]);
    }

    #[test]
    fn nothing_is_sent_for_a_router_that_gave_its_addresses_up() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(2), 5);
        announcer.forget(ROUTER);
        assert!(announcer.due(NOW).is_empty());
        assert_eq!(announcer.next(), None);
    }

    #[test]
    fn a_new_block_replaces_what_is_left_of_the_one_before() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(200), 5);
        announcer.due(NOW);
        announcer.queue(ROUTER, &addresses(200), 1);
        assert_eq!(drain(&mut announcer, Instant::from_nanos(1 << 41)).len(), 200);
    }
    fn number(link: u32) -> LinkIndex {
        LinkIndex::new(link).unwrap()
    }

    /// Frames of two links, so many each.
    fn on_two_links(count: u8) -> Vec<Announcement> {
        let first = addresses(count);
        let second = first.iter().map(|it| Announcement { link: number(3), ..*it });
        second.chain(first.clone()).collect()
    }

    #[test]
    fn what_a_link_does_not_take_comes_first_after_a_pause_and_holds_up_no_other() {
        for shared in [vec![], vec![number(2), number(3)]] {
            let mut announcer = Announcer::default();
            announcer.set_gaps(Gaps::default(), vec![GapGroup { gaps: GAPS, separate: vec![], shared }]);
            announcer.queue(ROUTER, &on_two_links(3), 2);
            let (mut now, mut sent, mut stuck) = (NOW, Vec::new(), 0);
            while let Some(next) = announcer.next() {
                now = now.max(next);
                for (link, frames) in announcer.due(now) {
                    if link == number(2) && now < NOW + PAUSE * 20 {
                        announcer.take_back(now, link, &frames);
                        stuck += 1;
                    } else {
                        sent.extend(frames);
                    }
                }
            }
            assert!(stuck > 3, "{stuck}");
            assert_eq!(last_octets(&sent), [[1, 2, 3, 1, 2, 3], [1, 2, 3, 1, 2, 3]].concat());
            assert!(sent[..6].iter().all(|frame| frame.announcement.link == number(3)), "{sent:?}");
        }
    }

    #[test]
    fn a_link_that_takes_frames_again_gets_them_at_its_pace() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(40), 1);
        let frames = all_due(&mut announcer, NOW);
        announcer.take_back(NOW, number(2), &frames);
        assert_eq!(announcer.next(), Some(NOW + PAUSE));
        let sent = drain(&mut announcer, NOW + PAUSE);
        assert_eq!(sent.len(), 40);
        assert_eq!(sent.iter().filter(|(at, _)| at.is_zero()).count(), 20);
        assert_eq!(sent.last().unwrap().0, Duration::from_millis(20));
    }

    #[test]
    fn a_frame_that_is_dropped_lets_others_pass_and_is_given_up_in_the_end() {
        let mut announcer = Announcer::default();
        announcer.queue(ROUTER, &addresses(30), 1);
        let (mut now, mut sent, mut tries) = (NOW, Vec::new(), 0);
        while let Some(next) = announcer.next() {
            now = now.max(next);
            for frame in all_due(&mut announcer, now) {
                if last_octets(&[frame]) == [2] {
                    tries += 1;
                    assert_eq!(announcer.try_again(now, number(2), &frame), tries < ATTEMPTS);
                } else {
                    sent.push(frame);
                }
            }
        }
        assert_eq!((sent.len(), tries), (29, ATTEMPTS));
        assert!(now.saturating_duration_since(NOW) >= Duration::from_millis(900), "{now:?}");
    }

    #[test]
    fn what_waits_for_a_link_that_is_gone_is_dropped() {
        let mut announcer = Announcer::default();
        announcer.set_below([(number(4), number(2))].into());
        let mut frames = on_two_links(2);
        frames.extend(addresses(1).iter().map(|it| Announcement { link: number(4), ..*it }));
        announcer.queue(ROUTER, &frames, 2);
        announcer.keep_links(|link| link != number(4));
        assert_eq!(announcer.due(NOW).into_values().map(|frames| frames.len()).collect::<Vec<_>>(), [4, 4]);
        announcer.queue(ROUTER, &frames, 2);
        announcer.keep_links(|link| link != number(2));
        assert_eq!(announcer.due(NOW + PAUSE).into_keys().collect::<Vec<_>>(), [number(3)]);
        assert_eq!(announcer.next(), None);
    }

    /// Each block takes longer than the time to the next one.
    #[test]
    fn blocks_that_follow_each_other_quickly_come_to_every_address() {
        let mut announcer = Announcer::default();
        let mut sent = HashSet::new();
        for block in 0..10 {
            announcer.queue(ROUTER, &addresses(200), 5);
            announcer.queue(RouterId(2), &[Announcement { link: number(2), ..on_two_links(250)[249] }], 5);
            for tick in 0..50 {
                let now = NOW + Duration::from_millis(block * 50 + tick);
                sent.extend(last_octets(&all_due(&mut announcer, now)));
            }
        }
        assert_eq!(sent.len(), 201);
    }

    #[test]
    fn blocks_on_a_link_that_is_stuck_do_not_add_up() {
        let mut announcer = Announcer::default();
        for block in 0..100_u32 {
            let now = NOW + PAUSE * block;
            announcer.queue(ROUTER, &addresses(20), 5);
            announcer.add(RouterId(2), &addresses(1), 1);
            for (link, frames) in announcer.due(now) {
                announcer.take_back(now, link, &frames);
            }
        }
        let waiting: usize = announcer.lanes.values().flat_map(|lane| lane.queues.values()).map(Queue::len).sum();
        assert_eq!(waiting, 101);
    }
}
