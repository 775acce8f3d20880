//! Which events wait for which scripts: a new state of an object waits for the scripts of the one before, but not longer
//! than [`WAIT`], then they run beside each other. They are always started one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long an event waits for the scripts of the one before.
pub(crate) const WAIT: Duration = Duration::from_secs(1);

/// The waiting events, each object's in order.
#[derive(Debug)]
pub(crate) struct Queues<K, T> {
    lines: BTreeMap<K, Line<T>>,
}

#[derive(Debug)]
struct Line<T> {
    /// The scripts of an event are being started.
    starting: bool,
    /// Scripts that have not ended.
    running: usize,
    waiting: VecDeque<(Instant, T)>,
}

impl<T> Line<T> {
    /// By when the next event is due; `None` too while the start of the one before is not done.
    fn deadline(&self) -> Option<Instant> {
        self.waiting.front().filter(|_| !self.starting).map(|(deadline, _)| *deadline)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| self.running == 0 || deadline <= now)
    }
}

impl<K: Ord + Clone, T> Queues<K, T> {
    /// Nothing waits.
    pub(crate) fn new() -> Self {
        Self { lines: BTreeMap::new() }
    }

    /// An event of `object` came at `now`.
    pub(crate) fn push(&mut self, object: K, now: Instant, event: T) {
        let empty = || Line { starting: false, running: 0, waiting: VecDeque::new() };
        self.lines.entry(object).or_insert_with(empty).waiting.push_back((now + WAIT, event));
    }

    /// The next event whose scripts are to start now; [`started`](Self::started) ends that.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(K, T)> {
        let (object, line) = self.lines.iter_mut().find(|(_, line)| line.is_due(now))?;
        let (_, event) = line.waiting.pop_front()?;
        line.starting = true;
        Some((object.clone(), event))
    }

    /// So many scripts of the event of `object` were started.
    pub(crate) fn started(&mut self, object: &K, scripts: usize) {
        if let Some(line) = self.lines.get_mut(object) {
            line.starting = false;
            line.running += scripts;
        }
        self.forget_idle(object);
    }

    /// A script of `object` ended.
    pub(crate) fn ended(&mut self, object: &K) {
        if let Some(line) = self.lines.get_mut(object) {
            line.running = line.running.saturating_sub(1);
        }
        self.forget_idle(object);
    }

    fn forget_idle(&mut self, object: &K) {
        let idle = |line: &Line<T>| !line.starting && line.running == 0 && line.waiting.is_empty();
        if self.lines.get(object).is_some_and(idle) {
            self.lines.remove(object);
        }
    }

    /// When to call [`pop_due`](Self::pop_due) at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.lines.values().filter_map(Line::deadline).min()
    }

    /// Whether an event waits for something else than a start.
    pub(crate) fn is_waiting(&self) -> bool {
        self.poll_timeout().is_some()
    }

    /// Whether nothing waits, nothing is being started and nothing runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(queues: &mut Queues<&'static str, u32>, now: Instant) -> Vec<(&'static str, u32)> {
        let mut found = Vec::new();
        while let Some((object, event)) = queues.pop_due(now) {
            queues.started(&object, 1);
            found.push((object, event));
        }
        found
    }

    #[test]
    fn an_event_waits_for_the_scripts_of_its_own_object_only() {
        let now = Instant::now();
        let mut queues = Queues::new();
        for (object, event) in [("a", 1), ("a", 2), ("b", 3)] {
            queues.push(object, now, event);
        }
        assert_eq!(due(&mut queues, now), [("a", 1), ("b", 3)]);
        assert_eq!(due(&mut queues, now), []);
        queues.ended(&"a");
        assert_eq!(due(&mut queues, now), [("a", 2)]);
    }

    #[test]
    fn nothing_waits_longer_than_a_second() {
        let now = Instant::now();
        let mut queues = Queues::new();
        for event in [1, 2, 3] {
            queues.push("a", now, event);
        }
        assert_eq!(due(&mut queues, now), [("a", 1)]);
        assert_eq!(queues.poll_timeout(), Some(now + WAIT));
        assert_eq!(due(&mut queues, now + WAIT / 2), []);
        assert_eq!(due(&mut queues, now + WAIT), [("a", 2), ("a", 3)], "in order, beside the first");
        assert!(!queues.is_waiting());
        assert!(!queues.is_idle());
        for _ in 0..3 {
            queues.ended(&"a");
        }
        assert!(queues.is_idle());
    }

    #[test]
    fn an_event_waits_for_a_start_however_long_that_takes() {
        let now = Instant::now();
        let mut queues = Queues::new();
        for event in [1, 2] {
            queues.push("a", now, event);
        }
        assert_eq!(queues.pop_due(now), Some(("a", 1)));
        assert_eq!(queues.pop_due(now + WAIT), None);
        assert_eq!(queues.poll_timeout(), None);
        queues.started(&"a", 1);
        assert_eq!(queues.poll_timeout(), Some(now + WAIT));
        assert_eq!(queues.pop_due(now + WAIT), Some(("a", 2)));
    }

    #[test]
    fn an_event_without_scripts_leaves_nothing_behind() {
        let now = Instant::now();
        let mut queues = Queues::new();
        queues.push("a", now, 1);
        assert_eq!(queues.pop_due(now), Some(("a", 1)));
        assert!(!queues.is_idle());
        queues.started(&"a", 0);
        assert!(queues.is_idle());
    }
}
