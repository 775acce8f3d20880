//! Time-outs of idle connections that were changed (`lvs_timeouts`), and what they were before. Pure.
//!
//! They are the kernel's own, for every virtual server of the network namespace, also those of somebody else: as with
//! keepalived, a stop and a reload without the word set them as they were found. What somebody else has set meanwhile stays.

use ipvs_control::types::{Seconds, Timeouts};
use serde::{Deserialize, Serialize};

/// So many values of one time-out are remembered while the kernel has not taken the last; then the oldest is forgotten.
const MOST_SET: usize = 16;

/// The time-outs that are or may be others than they were.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ChangedTimeouts {
    tcp: Option<Changed>,
    tcp_fin: Option<Changed>,
    udp: Option<Changed>,
}

/// What was set in the place of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    found: Seconds,
    /// What is to be set, and before it what the kernel may still have instead.
    set: Vec<Seconds>,
}

impl ChangedTimeouts {
    /// `wanted` is about to be set, where there was `present` before anything was changed.
    pub(super) fn change(&mut self, wanted: Timeouts, present: Timeouts) {
        change(&mut self.tcp, wanted.tcp, present.tcp);
        change(&mut self.tcp_fin, wanted.tcp_fin, present.tcp_fin);
        change(&mut self.udp, wanted.udp, present.udp);
    }

    /// The kernel has what was to be set last.
    pub(super) fn settle(&mut self) {
        for changed in [&mut self.tcp, &mut self.tcp_fin, &mut self.udp].into_iter().flatten() {
            changed.set.drain(..changed.set.len().saturating_sub(1));
        }
    }

    /// What an earlier daemon changed, and then a later one that was not told of it.
    pub(super) fn followed_by(&self, later: &Self) -> Self {
        let both = |earlier: &Option<Changed>, later: &Option<Changed>| match (earlier, later) {
            (Some(earlier), Some(later)) => {
                let mut both = earlier.clone();
                later.set.iter().for_each(|time| both.add(*time));
                Some(both)
            }
            _ => earlier.clone().or_else(|| later.clone()),
        };
        Self {
            tcp: both(&self.tcp, &later.tcp),
            tcp_fin: both(&self.tcp_fin, &later.tcp_fin),
            udp: both(&self.udp, &later.udp),
        }
    }

    /// Whether nothing was changed.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Those that a configuration with these does not set any more.
    pub(super) fn given_up(&self, wanted: Timeouts) -> Self {
        self.filter(wanted, |wanted| wanted == Seconds(0))
    }

    /// Those that it still sets.
    pub(super) fn kept(&self, wanted: Timeouts) -> Self {
        self.filter(wanted, |wanted| wanted != Seconds(0))
    }

    fn filter(&self, wanted: Timeouts, goes_in: impl Fn(Seconds) -> bool) -> Self {
        Self {
            tcp: self.tcp.clone().filter(|_| goes_in(wanted.tcp)),
            tcp_fin: self.tcp_fin.clone().filter(|_| goes_in(wanted.tcp_fin)),
            udp: self.udp.clone().filter(|_| goes_in(wanted.udp)),
        }
    }

    /// What there is once these are as they were found, where the others are as in `present`.
    pub(super) fn restored(&self, present: Timeouts) -> Timeouts {
        let time = |changed: &Option<Changed>, present| changed.as_ref().map_or(present, |changed| changed.found);
        Timeouts {
            tcp: time(&self.tcp, present.tcp),
            tcp_fin: time(&self.tcp_fin, present.tcp_fin),
            udp: time(&self.udp, present.udp),
        }
    }

    /// What to set where there is `now`: what was found where that is still what was set, 0 where it is not.
    pub(super) fn to_restore(&self, now: Timeouts) -> Timeouts {
        let time = |changed: &Option<Changed>, now| {
            let ours = changed.as_ref().filter(|changed| changed.set.contains(&now));
            ours.map_or(Seconds(0), |changed| changed.found)
        };
        Timeouts {
            tcp: time(&self.tcp, now.tcp),
            tcp_fin: time(&self.tcp_fin, now.tcp_fin),
            udp: time(&self.udp, now.udp),
        }
    }
}

impl Changed {
    /// This is about to be set.
    fn add(&mut self, wanted: Seconds) {
        self.set.retain(|set| *set != wanted);
        self.set.push(wanted);
        self.set.drain(..self.set.len().saturating_sub(MOST_SET));
    }
}

fn change(changed: &mut Option<Changed>, wanted: Seconds, present: Seconds) {
    if wanted != Seconds(0) {
        changed.get_or_insert_with(|| Changed { found: present, set: Vec::new() }).add(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(tcp: u32, tcp_fin: u32, udp: u32) -> Timeouts {
        Timeouts { tcp: Seconds(tcp), tcp_fin: Seconds(tcp_fin), udp: Seconds(udp) }
    }

    #[test]
    fn what_was_found_comes_back_where_nobody_else_has_changed_it() {
        let found = times(900, 120, 300);
        let mut changed = ChangedTimeouts::default();
        changed.change(times(0, 0, 0), found);
        assert!(changed.is_none());
        changed.change(times(301, 0, 17), found);
        assert_eq!(changed.to_restore(times(301, 120, 17)), times(900, 0, 300));
        assert_eq!(changed.to_restore(times(301, 5, 18)), times(900, 0, 0), "somebody else's stay");
        changed.settle();
        // A reload sets others, and no longer the last. What the kernel has until it has taken them is ours too.
        changed.change(times(302, 60, 0), times(301, 120, 17));
        assert_eq!(changed.to_restore(times(301, 120, 17)), times(900, 0, 300));
        changed.change(times(303, 60, 0), times(301, 120, 17));
        assert_eq!(changed.to_restore(times(301, 60, 17)), found, "the kernel took neither");
        changed.change(times(302, 60, 0), times(301, 120, 17));
        changed.settle();
        assert_eq!(
            changed.to_restore(times(301, 60, 17)),
            times(0, 120, 300),
            "it has others, these are somebody else's"
        );
        assert_eq!(changed.to_restore(times(302, 60, 17)), found);
        let wanted = times(302, 60, 0);
        assert_eq!(changed.given_up(wanted).to_restore(times(302, 60, 17)), times(0, 0, 300));
        assert_eq!(changed.given_up(wanted).restored(times(301, 120, 17)), times(301, 120, 300));
        assert_eq!(changed.kept(wanted).to_restore(times(302, 60, 17)), times(900, 120, 0));
        assert!(changed.kept(times(0, 0, 0)).is_none());
    }
    #[test]
    fn two_daemons_that_knew_nothing_of_each_other_leave_what_the_first_found() {
        let (mut first, mut second) = (ChangedTimeouts::default(), ChangedTimeouts::default());
        first.change(times(301, 0, 0), times(900, 120, 300));
        second.change(times(302, 60, 0), times(301, 120, 300));
        let both = first.followed_by(&second);
        assert_eq!(both.to_restore(times(302, 60, 300)), times(900, 120, 0));
        assert_eq!(both.to_restore(times(301, 120, 300)), times(900, 0, 0));
    }

    #[test]
    fn reloads_that_the_kernel_refuses_fill_no_memory() {
        let mut changed = ChangedTimeouts::default();
        (1..1000).for_each(|tcp| changed.change(times(tcp, 0, 0), times(900, 120, 300)));
        assert_eq!(changed.tcp.as_ref().map(|changed| changed.set.len()), Some(MOST_SET));
        assert_eq!(changed.to_restore(times(999, 120, 300)), times(900, 0, 0));
    }
}
