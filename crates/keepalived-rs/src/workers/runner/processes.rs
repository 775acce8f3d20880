//! Which processes there are of each tracked process, and what their number says (`behaviour.md` §3.9). Pure.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Instant;

use crate::config::tracked_process::{Seen, TrackedProcess};

/// Every tracked process. Call [`survey`](Self::survey) first and whenever events were lost, [`saw`](Self::saw) for each
/// process that something happened to, and [`fire`](Self::fire) at [`poll_timeout`](Self::poll_timeout); drain
/// [`poll_change`](Self::poll_change).
#[derive(Debug)]
pub(super) struct Processes {
    tallies: BTreeMap<String, Tally>,
    changes: VecDeque<Change>,
}

/// A tracked process says something else than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Which one.
    pub(super) name: String,
    /// Whether there are enough now, and not too many.
    pub(super) up: bool,
    /// How many there are.
    pub(super) count: usize,
}

#[derive(Debug)]
struct Tally {
    tracked: TrackedProcess,
    pids: HashSet<i32>,
    /// `None` until the first survey.
    up: Option<bool>,
    /// When the opposite will be said, unless the number changes back.
    due: Option<Instant>,
}

impl Processes {
    pub(super) fn new(tracked: BTreeMap<String, TrackedProcess>) -> Self {
        let tally = |tracked| Tally { tracked, pids: HashSet::new(), up: None, due: None };
        let tallies = tracked.into_iter().map(|(name, tracked)| (name, tally(tracked))).collect();
        Self { tallies, changes: VecDeque::new() }
    }

    /// So many octets of a command line tell all that there is to know.
    pub(super) fn command_line_octets(&self) -> usize {
        self.tallies.values().map(|tally| tally.tracked.command_line_octets()).max().unwrap_or(0)
    }

    /// These are all processes that run. The first survey decides at once.
    pub(super) fn survey(&mut self, now: Instant, running: impl IntoIterator<Item = (i32, Seen)>) {
        let mut found: BTreeMap<_, HashSet<i32>> =
            self.tallies.keys().map(|name| (name.clone(), HashSet::new())).collect();
        for (pid, seen) in running {
            for (pids, tally) in found.values_mut().zip(self.tallies.values()) {
                if tally.tracked.counts(&seen) {
                    pids.insert(pid);
                }
            }
        }
        for ((name, pids), tally) in found.into_iter().zip(self.tallies.values_mut()) {
            let before = std::mem::replace(&mut tally.pids, pids).len();
            self.changes.extend(tally.recount(now, before).map(|up| tally.change(&name, up)));
        }
    }

    /// Whether a process counts for anything.
    pub(super) fn is_counted(&self, pid: i32) -> bool {
        self.tallies.values().any(|tally| tally.pids.contains(&pid))
    }

    /// How a process is now; `None` once it has ended.
    pub(super) fn saw(&mut self, now: Instant, pid: i32, seen: Option<&Seen>) {
        for (name, tally) in &mut self.tallies {
            let before = tally.pids.len();
            match seen.is_some_and(|seen| tally.tracked.counts(seen)) {
                true => tally.pids.insert(pid),
                false => tally.pids.remove(&pid),
            };
            if tally.pids.len() != before {
                self.changes.extend(tally.recount(now, before).map(|up| tally.change(name, up)));
            }
        }
    }

    /// Says what has lasted long enough at `now`.
    pub(super) fn fire(&mut self, now: Instant) {
        for (name, tally) in &mut self.tallies {
            if tally.due.take_if(|due| *due <= now).is_some() {
                let up = tally.satisfied();
                tally.up = Some(up);
                self.changes.push_back(tally.change(name, up));
            }
        }
    }

    /// When to call [`fire`](Self::fire) next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.tallies.values().filter_map(|tally| tally.due).min()
    }

    /// The next thing that is said.
    pub(super) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }
}

impl Tally {
    fn satisfied(&self) -> bool {
        self.tracked.is_satisfied_by(self.pids.len())
    }

    fn change(&self, name: &str, up: bool) -> Change {
        Change { name: name.to_owned(), up, count: self.pids.len() }
    }

    /// The number was `before`; what is to be said of the new one at once.
    fn recount(&mut self, now: Instant, before: usize) -> Option<bool> {
        let satisfied = self.satisfied();
        if self.up == Some(satisfied) {
            self.due = None;
            return None;
        }
        if self.due.is_some() {
            return None;
        }
        let more = self.pids.len() > before;
        let delay = if more { self.tracked.fork_delay } else { self.tracked.terminate_delay };
        if self.up.is_some() && !delay.is_zero() {
            self.due = Some(now + delay);
            return None;
        }
        self.up = Some(satisfied);
        self.up
    }
}

#[cfg(test)]
mod tests;
