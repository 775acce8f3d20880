//! How long a link has to be up or down before that counts (`interface_up_down_delays`). Pure.
//!
//! A change that is taken back in time never happened. What is first heard of a link counts at once, and so does its
//! end: nothing can be sent through a link that is gone. Addresses are not delayed either.

use std::collections::{BTreeMap, BTreeSet};

use vrrp_proto::{Instant, LinkFacts, LinkId};

use crate::config::vrrp::{LinkDelays, VrrpPart};

/// The states of links that count.
#[derive(Debug, Default)]
pub(crate) struct Debounce {
    delays: BTreeMap<String, LinkDelays>,
    links: BTreeMap<LinkId, State>,
}

#[derive(Debug)]
struct State {
    up: bool,
    /// When the opposite counts, if it lasts until then.
    turns: Option<Instant>,
}

impl Debounce {
    /// Other delays, by the name of the link; also for changes that are being waited for.
    pub(crate) fn configure(&mut self, delays: BTreeMap<String, LinkDelays>) {
        self.delays = delays;
    }

    /// What counts at `now` of what is known of a link. A virtual link without delays of its own has those of the link
    /// `below` it.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        link: LinkId,
        [name, below]: [Option<&str>; 2],
        facts: Option<LinkFacts>,
    ) -> Option<LinkFacts> {
        let Some(facts) = facts else {
            self.links.remove(&link);
            return None;
        };
        let delays = [name, below].into_iter().flatten().find_map(|name| self.delays.get(name));
        let delays = delays.copied().unwrap_or_default();
        let delay = if facts.up { delays.up } else { delays.down };
        let state = self.links.entry(link).or_insert(State { up: facts.up, turns: None });
        if state.up == facts.up {
            state.turns = None;
        } else {
            let turns = *state.turns.get_or_insert(now + delay);
            if turns.min(now + delay) <= now {
                *state = State { up: facts.up, turns: None };
            }
        }
        Some(LinkFacts { up: state.up, ..facts })
    }

    /// Forgets every link but these: nobody asks for the others any more.
    pub(crate) fn keep(&mut self, links: &BTreeSet<LinkId>) {
        self.links.retain(|link, _| links.contains(link));
    }

    /// When what is reported of a link counts, if it does not yet.
    pub(crate) fn turns(&self, link: LinkId) -> Option<Instant> {
        self.links.get(&link)?.turns
    }

    /// When to ask again, though nothing is heard.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.links.values().filter_map(|state| state.turns).min()
    }
}

/// The delays of `part`, and what is to be said of those that are too long: whoever is silent for longer than its peers
/// wait would meet them as Active on its return, so no delay is longer than the adverts that they may miss.
pub(crate) fn delays(part: &VrrpPart) -> (BTreeMap<String, LinkDelays>, Vec<String>) {
    let mut delays: BTreeMap<String, LinkDelays> = part.interface_delays.iter().cloned().collect();
    let mut warnings = Vec::new();
    for instance in &part.instances {
        for name in instance.interface.iter().chain(instance.tracked.iter().map(|tracked| &tracked.name)) {
            let Some(configured) = delays.get_mut(name) else { continue };
            let (adverts, limit) = instance.debounce_limit();
            let kept = LinkDelays { down: configured.down.min(limit), up: configured.up.min(limit) };
            if kept != *configured {
                warnings.push(format!(
                    "{}: interface {name} debounce timer(s) not less that {adverts} * advert_int - resetting",
                    instance.name
                ));
                *configured = kept;
            }
        }
    }
    (delays, warnings)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::vrrp::tests::part;

    const LINK: LinkId = LinkId(1);
    const UP: LinkFacts = LinkFacts { up: true, multicast: true, ipv4_source: None, ipv6_source: None };
    const DOWN: LinkFacts = LinkFacts { up: false, ..UP };

    fn debounce(down: u64, up: u64) -> Debounce {
        let mut debounce = Debounce::default();
        let delays = LinkDelays { down: Duration::from_secs(down), up: Duration::from_secs(up) };
        debounce.configure([("eth0".to_owned(), delays)].into());
        debounce
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn up(debounce: &mut Debounce, seconds: u64, facts: LinkFacts) -> bool {
        debounce.settle(at(seconds), LINK, [Some("eth0"), None], Some(facts)).unwrap().up
    }

    #[test]
    fn a_change_counts_once_it_has_lasted() {
        let mut debounce = debounce(2, 3);
        assert!(up(&mut debounce, 10, UP));
        assert!(up(&mut debounce, 20, DOWN));
        assert_eq!(debounce.next(), Some(at(22)));
        assert!(up(&mut debounce, 21, DOWN), "still waiting, from the first news on");
        assert!(!up(&mut debounce, 22, DOWN));
        assert!(!up(&mut debounce, 30, UP));
        assert!(!up(&mut debounce, 32, UP));
        assert!(up(&mut debounce, 33, UP));
        assert_eq!(debounce.next(), None);
    }

    #[test]
    fn a_change_that_is_taken_back_never_happened() {
        let mut debounce = debounce(2, 0);
        for second in 10..20 {
            let facts = if second % 2 == 0 { UP } else { DOWN };
            assert!(up(&mut debounce, second, facts), "{second}");
        }
        assert!(up(&mut debounce, 20, UP));
        assert_eq!(debounce.next(), None);
    }

    #[test]
    fn the_first_news_and_the_end_of_a_link_count_at_once() {
        let mut debounce = debounce(2, 2);
        assert!(!up(&mut debounce, 10, DOWN));
        assert_eq!(debounce.settle(at(11), LINK, [Some("eth0"), None], None), None);
        assert!(up(&mut debounce, 11, UP), "another link of that name");
    }

    #[test]
    fn nothing_is_waited_for_on_behalf_of_nobody() {
        let mut debounce = debounce(2, 0);
        up(&mut debounce, 10, UP);
        up(&mut debounce, 11, DOWN);
        assert_eq!(debounce.turns(LINK), Some(at(13)));
        debounce.keep(&BTreeSet::from([LINK]));
        assert_eq!(debounce.next(), Some(at(13)));
        debounce.keep(&BTreeSet::new());
        assert_eq!((debounce.next(), debounce.turns(LINK)), (None, None));
    }

    #[test]
    fn without_a_delay_nothing_waits() {
        let mut debounce = debounce(2, 0);
        assert!(!up(&mut debounce, 10, DOWN));
        assert!(up(&mut debounce, 10, UP));
        let other = |debounce: &mut Debounce, facts| {
            debounce.settle(at(10), LinkId(2), [Some("eth1"), None], Some(facts)).unwrap().up
        };
        assert!(other(&mut debounce, UP));
        assert!(!other(&mut debounce, DOWN));
    }

    #[test]
    fn shorter_delays_of_a_new_configuration_hold_for_what_is_waited_for() {
        let mut debounce = debounce(200, 0);
        assert!(up(&mut debounce, 10, UP));
        assert!(up(&mut debounce, 11, DOWN));
        debounce.configure(BTreeMap::new());
        assert!(!up(&mut debounce, 12, DOWN));
    }

    #[test]
    fn a_virtual_link_has_the_delays_of_the_link_below() {
        let mut debounce = debounce(2, 0);
        let mut settle = |seconds, facts| {
            debounce.settle(at(seconds), LINK, [Some("vrrp.51"), Some("eth0")], Some(facts)).unwrap().up
        };
        assert!(settle(10, UP));
        assert!(settle(11, DOWN));
        assert!(!settle(13, DOWN));
    }

    #[test]
    fn no_delay_is_longer_than_peers_wait() {
        let text = "interface_up_down_delays {\neth0 200 1\neth1 1.5\neth2 9\n}\n\
                    vrrp_instance VI_1 {\ninterface eth0\nadvert_int 1\nvirtual_router_id 51\n\
                    track_interface {\neth1 weight 10\n}\nvirtual_ipaddress { 192.0.2.9/24 }\n}\n\
                    vrrp_instance VI_2 {\ninterface eth1\nadvert_int 1\ndown_timer_adverts 2\nvirtual_router_id 51\n\
                    virtual_ipaddress { 192.0.2.10/24 }\n}\n";
        let (delays, warnings) = delays(&part(text));
        let of = |name: &str| (delays[name].down.as_millis(), delays[name].up.as_millis());
        assert_eq!([of("eth0"), of("eth1"), of("eth2")], [(2000, 1000), (1000, 0), (9000, 0)]);
        assert_eq!(
            warnings,
            [
                "VI_1: interface eth0 debounce timer(s) not less that 2 * advert_int - resetting",
                "VI_2: interface eth1 debounce timer(s) not less that 1 * advert_int - resetting"
            ]
        );
    }
}
