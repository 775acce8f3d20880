//! What a Backup Router makes of the advertisements that it hears (RFC 9568 §6.4.2).

use core::net::IpAddr;

use super::{ActiveRouter, Backup, State, VirtualRouter};
use crate::action::Event;
use crate::advertisement::Advertisement;
use crate::config::RouterConfig;
use crate::planted::{Bug, planted};
use crate::types::{Instant, Priority, Version};

impl VirtualRouter {
    pub(super) fn backup_hears(
        &mut self,
        now: Instant,
        source: IpAddr,
        advertisement: &Advertisement,
        mut backup: Backup,
    ) {
        if backup.ignores_until.is_some_and(|until| now < until) {
            return;
        }
        let theirs = advertisement.priority;
        self.restore_owner_priority(source, theirs);
        let ours = self.effective_priority();
        if theirs == Priority::RESIGN && !planted(Bug::ResignationIgnored) {
            self.record(Event::BackupReceivedPriorityZero { source });
            backup.preempt_at = None;
            backup.active_down_timer = now + backup.active_adver_interval.skew_time(self.skew_priority());
            self.state = State::Backup(backup);
            return;
        }
        if theirs >= ours {
            if backup.preempt_at.take().is_some() {
                self.record(Event::PreemptDelayStopped);
            }
        } else if self.config.preempts() && !planted(Bug::NeverPreempts) && !self.preempt_delay_runs(now, &mut backup) {
            return self.discard_lower(now, source, theirs, backup);
        }
        self.follow(&mut backup, source, advertisement);
        backup.active_down_timer = now + self.active_down_interval(backup.active_adver_interval);
        backup.ready = false;
        let learned = backup.active_adver_interval != self.active_adver_interval();
        self.state = State::Backup(backup);
        if learned {
            self.push_fact();
        }
    }

    /// Active_Down_Timer runs on. Reported at most once per advertisement interval: a storm does not fill the log.
    fn discard_lower(&mut self, now: Instant, source: IpAddr, theirs: Priority, mut backup: Backup) {
        if planted(Bug::DiscardRestartsTimer) {
            backup.active_down_timer = now + self.active_down_interval(backup.active_adver_interval);
        }
        if now >= backup.reported_until {
            backup.reported_until = now + self.config.advertisement_interval.duration();
            self.record(Event::LowerPriorityDiscarded { source, theirs });
        }
        self.state = State::Backup(backup);
    }

    /// Whether a router of lower priority is still left alone at `now`; the first one starts the delay.
    fn preempt_delay_runs(&mut self, now: Instant, backup: &mut Backup) -> bool {
        let delay = self.config.rules().preempt_delay;
        if delay.is_zero() {
            return false;
        }
        if backup.preempt_at.is_none() {
            self.record(Event::PreemptDelayStarted { delay });
        }
        now < *backup.preempt_at.get_or_insert(now + delay)
    }

    fn follow(&mut self, backup: &mut Backup, source: IpAddr, advertisement: &Advertisement) {
        let (from, to) = (backup.active_adver_interval, advertisement.interval);
        if self.config.version == Version::V3 && to.version() == Version::V3 && from != to {
            backup.active_adver_interval = to;
            self.record(Event::IntervalLearned { from, to });
        }
        match backup.active_router.map(|active| active.address) {
            None => self.record(Event::ActiveSetTo { address: source }),
            Some(from) if from != source => self.record(Event::ActiveChanged { from, to: source }),
            Some(_) => {}
        }
        backup.active_router = Some(ActiveRouter { address: source, priority: advertisement.priority });
    }

    pub(super) fn reconfigure_backup(&mut self, mut backup: Backup, old: &RouterConfig) {
        let waited = old.active_down_interval(backup.active_adver_interval, self.skew_priority());
        let unlearned = self.config.version == Version::V2 || backup.active_router.is_none();
        if unlearned && backup.active_adver_interval == old.advertisement_interval {
            backup.active_adver_interval = self.config.advertisement_interval;
        }
        if !self.config.is_owner() {
            // The Active Router may take its longer time from now on.
            let longer = self.active_down_interval(backup.active_adver_interval).saturating_sub(waited);
            backup.active_down_timer = backup.active_down_timer + longer;
        }
        let (delay, before) = (self.config.rules().preempt_delay, old.rules().preempt_delay);
        let began = backup.preempt_at.filter(|_| !delay.is_zero()).map(|ends| ends.saturating_sub(before));
        backup.preempt_at = began.map(|began| began + delay);
        self.state = State::Backup(backup);
    }
}
