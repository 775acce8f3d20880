//! What an Active Router does (RFC 9568 §6.4.3), and when it announces its addresses.

use core::net::IpAddr;
use core::time::Duration;

use super::{Active, ActiveRouter, Backup, Entry, Resign, State, VirtualRouter};
use crate::action::{AnnounceScope, ConflictOutcome, Event, FaultReason, Notification, Ownership};
use crate::advertisement::Advertisement;
use crate::config::{ExtraLinks, RouterConfig};
use crate::planted::{Bug, planted};
use crate::types::{Instant, Priority, Version};

/// No Backup Router's Skew_Time is shorter than that of this priority (RFC 9568 §6.1).
const HIGHEST_OF_BACKUPS: Priority = Priority(254);

impl VirtualRouter {
    pub(super) fn become_active(&mut self, now: Instant) {
        self.state = State::Active(self.new_active(now, false));
        self.last_transition = Some(now);
        self.note_advertisement(now);
        self.stats.became_active = self.stats.became_active.wrapping_add(1);
        if !planted(Bug::AdvertisesUntold) {
            self.push_fact();
        }
        self.push_advertise(self.effective_priority());
        self.record(Event::EnteringActive);
        self.push_apply(Ownership::Held);
    }

    pub(super) fn new_active(&self, now: Instant, notified: bool) -> Active {
        let learned = planted(Bug::KeepsLearnedInterval);
        let interval = if learned { self.active_adver_interval() } else { self.config.advertisement_interval };
        let adver_timer = now + interval.duration();
        Active::new(adver_timer, now + self.own_active_down_interval(), notified)
    }

    pub(super) fn active_hears(&mut self, now: Instant, source: IpAddr, advertisement: &Advertisement, active: Active) {
        if let Some(late) = self.stalled(now, active) {
            self.give_up_stalled(now, late);
            return self.handle_advertisement(now, source, advertisement);
        }
        let theirs = advertisement.priority;
        self.restore_owner_priority(source, theirs);
        let ours = self.effective_priority();
        if theirs == Priority::RESIGN {
            return self.answer_resignation(now, source, active);
        }
        let own_address = self.source();
        if theirs == ours && own_address == Some(source) {
            return self.warn_of_own_address(now, source, active);
        }
        let active = self.note_conflict(now, source, advertisement, active);
        let upside_down = planted(Bug::LowerAddressWins) && theirs == ours;
        let better = ((theirs, Some(source)) > (ours, own_address)) != upside_down;
        if better {
            self.yield_to(now, source, advertisement);
        } else if theirs == Priority::OWNER {
            self.contest_ownership(now, source, advertisement);
        } else if self.was_missed(now) {
            self.give_up_stalled(now, now.saturating_duration_since(active.adver_timer));
            self.handle_advertisement(now, source, advertisement);
        } else {
            self.assert_active(now, source, theirs, active);
        }
    }

    /// Answers a router that resigned, at once (RFC 9568 §6.4.3): those that heard it wait for Skew_Time only. A storm is
    /// answered as often as the shortest Skew_Time needs it, and Adver_Timer never moves away.
    fn answer_resignation(&mut self, now: Instant, source: IpAddr, mut active: Active) {
        let gap = self.config.advertisement_interval.skew_time(HIGHEST_OF_BACKUPS);
        let earliest = self.last_advertisement.map_or(now, |last| last + gap);
        if earliest <= now {
            self.record(Event::ActiveReceivedPriorityZero { source });
            self.advertise_now(now);
        } else {
            active.adver_timer = active.adver_timer.min(earliest);
            self.state = State::Active(active);
        }
    }

    /// Gives way to a better router (RFC 9568 §6.4.3).
    fn yield_to(&mut self, now: Instant, source: IpAddr, advertisement: &Advertisement) {
        let (theirs, ours) = (advertisement.priority, self.effective_priority());
        self.record(if ours == Priority::OWNER {
            Event::TwoOwners { source, yields: true }
        } else if theirs == ours {
            Event::HigherAddressAdvert { source, priority: ours }
        } else {
            Event::HigherPriorityAdvert { source, theirs, ours }
        });
        if self.config.rules().higher_prio_send_advert {
            self.advertise_now(now);
        }
        let interval = match self.config.version {
            Version::V2 => self.config.advertisement_interval,
            Version::V3 => advertisement.interval,
        };
        let mut backup = Backup::new(now + self.active_down_interval(interval), interval);
        backup.active_router = Some(ActiveRouter { address: source, priority: theirs });
        self.end_conflict(ConflictOutcome::Yielded);
        self.enter_backup(now, Entry::Later, Resign::No, backup);
    }

    /// Another router has our address and our priority, or our own packet came back: said at most once per advertisement
    /// interval. Not a conflict: nothing shows that there is a rival.
    fn warn_of_own_address(&mut self, now: Instant, source: IpAddr, mut active: Active) {
        if now >= active.warned_until {
            active.warned_until = now + self.config.advertisement_interval.duration();
            self.state = State::Active(active);
            self.record(Event::OwnAddressAdvert { source });
        }
    }

    /// Answers a lower priority, at most once per advertisement interval: a storm of them is not amplified, and as the
    /// answer restarts Adver_Timer, every rival hears from us within one interval.
    fn assert_active(&mut self, now: Instant, source: IpAddr, theirs: Priority, mut active: Active) {
        if now < active.answered_until || planted(Bug::SilentToLowerPriority) {
            return;
        }
        active.answered_until = now + self.config.advertisement_interval.duration();
        self.state = State::Active(active);
        let ours = self.effective_priority();
        let answered = !self.config.rules().lower_prio_no_advert;
        self.record(Event::LowerPriorityAdvert { source, theirs, ours, answered });
        if answered {
            self.advertise_now(now);
        }
        self.announce_lower_prio(now);
        self.notify(Notification::ReceivedLowerPriority);
    }

    /// The block after an advertisement of lower priority, now and once more later; nothing while the addresses are not
    /// in place, as they are announced then anyway.
    pub(crate) fn announce_lower_prio(&mut self, now: Instant) {
        let announce = self.config.rules().announcements;
        if let State::Active(active) = &mut self.state
            && active.apply_deadline.is_none()
            && announce.lower_prio_repeat > 0
        {
            active.announce_lower_prio = after(now, announce.lower_prio_delay);
            self.announce(AnnounceScope::Addresses, announce.lower_prio_repeat);
        }
    }

    pub(super) fn active_timeout(&mut self, now: Instant, mut active: Active) {
        if let Some(late) = self.stalled(now, active) {
            return self.give_up_stalled(now, late);
        }
        if active.apply_deadline.is_some_and(|due| due <= now) {
            return self.handle_fault(now, FaultReason::NotApplied);
        }
        let due = DueBlocks::take(&mut active, now);
        let announce = self.config.rules().announcements;
        if due.refresh {
            active.announce_refresh = after(now, announce.refresh);
        }
        if due.extra {
            active.announce_extra = after(now, announce.extra_period);
        }
        let advertise = active.adver_timer <= now;
        if advertise {
            active.adver_timer = next_in_rhythm(active.adver_timer, now, self.config.advertisement_interval.duration());
        }
        self.state = State::Active(active);
        if advertise {
            self.advertise(now);
        }
        let won = self.rivals_timeout(now);
        // Addresses that are being put in place are announced when they are there.
        if active.apply_deadline.is_none() {
            self.announce_due(&due, won);
        }
        if won && self.config.renotify_on_conflict {
            self.notify(Notification::Active);
        }
    }

    /// The blocks that are due together are one: the longest.
    fn announce_due(&mut self, due: &DueBlocks, conflict_won: bool) {
        let announce = self.config.rules().announcements;
        let blocks = [
            (due.again || conflict_won, announce.repeat),
            (due.refresh, announce.refresh_repeat),
            (due.lower_prio, announce.lower_prio_repeat),
        ];
        let longest = blocks.into_iter().filter_map(|(due, repeat)| due.then_some(repeat)).max();
        if let Some(repeat @ 1..) = longest {
            self.announce(AnnounceScope::Addresses, repeat);
        }
        if due.extra {
            let scope = match announce.extra_links {
                ExtraLinks::VirtualMac => AnnounceScope::VirtualMacLinks,
                ExtraLinks::All => AnnounceScope::AllLinks,
            };
            self.announce(scope, 1);
        }
    }

    /// The addresses are in place.
    pub(super) fn announce_applied(&mut self, now: Instant, mut active: Active) {
        let announce = self.config.rules().announcements;
        active.apply_deadline = None;
        active.announce_again = after(now, announce.delay);
        active.announce_refresh = after(now, announce.refresh);
        active.announce_extra = after(now, announce.extra_period);
        let first = !core::mem::replace(&mut active.notified, true);
        self.state = State::Active(active);
        if !planted(Bug::GainsSilently) {
            self.announce(AnnounceScope::Addresses, announce.repeat);
        }
        if first {
            self.notify(Notification::Active);
            self.push_fact();
        }
    }

    pub(super) fn reconfigure_active(&mut self, now: Instant, mut active: Active, old: &RouterConfig) {
        let interval = self.config.advertisement_interval.duration();
        if self.config.advertisement_interval != old.advertisement_interval {
            let sooner = self.last_advertisement.unwrap_or(now) + interval;
            active.adver_timer = active.adver_timer.min(sooner).max(now);
        }
        let (announce, before) = (self.config.announcements, old.announcements);
        if announce.refresh != before.refresh && active.apply_deadline.is_none() {
            active.announce_refresh = after(now, announce.refresh);
        }
        if announce.extra_period != before.extra_period && active.apply_deadline.is_none() {
            active.announce_extra = after(now, announce.extra_period);
        }
        if !self.config.is_owner() {
            active.rival_owner = None;
        }
        let apply = self.config.applies_otherwise_than(old);
        if apply {
            active.apply_deadline.get_or_insert(now + self.own_active_down_interval());
        }
        self.state = State::Active(active);
        if apply {
            self.push_apply(Ownership::Held);
        }
    }

    /// How late Adver_Timer is, if this process was held up for so long that a peer must have taken over
    /// (`timer_expired_backup`).
    fn stalled(&self, now: Instant, active: Active) -> Option<Duration> {
        let highest = self.config.rules().timer_expired_backup?;
        let interval = self.config.advertisement_interval;
        let taken_over = self.last_advertisement? + self.config.active_down_interval(interval, highest);
        (now > taken_over).then(|| now.saturating_duration_since(active.adver_timer))
    }

    /// This process was held up for longer than its peers wait: whoever speaks now has taken over, rightly, and has the
    /// clients. As a process that is started anew (RFC 9568 §6.4.1), this router does not go on where it was; if it is the
    /// better one, it takes over again after Active_Down_Interval. Nobody is heard: nobody took over, and it goes on.
    fn was_missed(&self, now: Instant) -> bool {
        self.last_advertisement.is_some_and(|last| now > last + self.patience)
    }

    /// The peer that took over keeps what it has: no advertisement of priority 0, which would call for another election.
    fn give_up_stalled(&mut self, now: Instant, late: Duration) {
        self.record(Event::TimerExpired { late });
        let backup = Backup::new(now + self.own_active_down_interval(), self.config.advertisement_interval);
        self.enter_backup(now, Entry::Later, Resign::No, backup);
    }

    /// Adver_Timer fires at `now` instead of later.
    pub(crate) fn advertise_early(&mut self, now: Instant) {
        if let State::Active(active) = &mut self.state {
            active.adver_timer = active.adver_timer.min(now);
        }
        self.handle_timeout(now);
    }

    /// An advertisement outside the rhythm, which starts a new one: Adver_Timer is reset (RFC 9568 §6.4.3).
    pub(super) fn advertise_now(&mut self, now: Instant) {
        if let State::Active(active) = &mut self.state {
            active.adver_timer = now + self.config.advertisement_interval.duration();
        }
        self.advertise(now);
    }

    fn note_advertisement(&mut self, now: Instant) {
        self.last_advertisement = Some(now);
        self.patience = self.config.shortest_active_down_interval();
    }

    pub(super) fn advertise(&mut self, now: Instant) {
        self.push_advertise(self.effective_priority());
        self.note_advertisement(now);
        self.rival_owner_was_told(now);
        self.push_fact();
    }
}

/// The blocks of announcements that are due, taken from their timers.
struct DueBlocks {
    again: bool,
    refresh: bool,
    lower_prio: bool,
    extra: bool,
}

impl DueBlocks {
    fn take(active: &mut Active, now: Instant) -> Self {
        let due = |timer: &mut Option<Instant>| timer.take_if(|due| *due <= now).is_some();
        Self {
            again: due(&mut active.announce_again),
            refresh: due(&mut active.announce_refresh),
            lower_prio: due(&mut active.announce_lower_prio),
            extra: due(&mut active.announce_extra),
        }
    }
}

/// `now + delay`, or `None` for a delay of zero, which means never.
fn after(now: Instant, delay: Duration) -> Option<Instant> {
    (!delay.is_zero()).then(|| now + delay)
}

/// The first deadline after `now` that is a whole number of intervals after `due`: a late timer neither moves the rhythm
/// nor causes a burst.
fn next_in_rhythm(due: Instant, now: Instant, interval: Duration) -> Instant {
    let period = interval.as_nanos().max(1);
    let late = now.saturating_duration_since(due).as_nanos();
    let missed = u32::try_from(late / period).unwrap_or(u32::MAX).saturating_add(1);
    (due + interval.saturating_mul(missed)).max(now)
}
