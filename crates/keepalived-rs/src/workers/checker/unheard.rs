//! Notifications that the runner has not acknowledged, and the facts that tell a successor of them. Pure.
//!
//! The fact that tells the new state of a server or quorum tells the notification of it too: a successor knows both or
//! neither, so that none is lost and none is told twice. What no such fact is left for (a server that a reload left out)
//! has a fact of its own.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::ipc::{Notification, NotifyEvent};

/// Begins the keys of the facts that hold a notification. They are sent before those of the states, which it follows.
pub(super) const ABOUT: &str = "about ";

/// How many one fact of a state repeats; with more the oldest are not repeated by a successor.
const PER_FACT: usize = 2000;

/// What the runner has not acknowledged, by number and by the key of its fact.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    last: u64,
    events: BTreeMap<u64, (String, NotifyEvent)>,
    numbers: BTreeMap<String, BTreeSet<u64>>,
}

impl Unheard {
    /// Numbers from now on are higher than `number`.
    pub(super) fn count_from(&mut self, number: u64) {
        self.last = self.last.max(number);
    }

    /// A number for an event. `key` is that of the fact of its state; without one it gets a fact of its own.
    pub(super) fn push(&mut self, key: Option<String>, event: NotifyEvent) -> Notification {
        let number = self.last + 1;
        self.inherit(key.unwrap_or_else(|| own_key(number)), Notification { number, event: event.clone() });
        Notification { number, event }
    }

    /// What a predecessor told in the fact `key`.
    pub(super) fn inherit(&mut self, key: String, Notification { number, event }: Notification) {
        self.count_from(number);
        self.numbers.entry(key.clone()).or_default().insert(number);
        self.events.insert(number, (key, event));
    }

    /// Whether the runner has acknowledged everything.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// In their order.
    pub(super) fn all(&self) -> impl Iterator<Item = Notification> {
        self.events.iter().map(|(number, (_, event))| Notification { number: *number, event: event.clone() })
    }

    /// The events that wait in facts of their own.
    pub(super) fn told_apart(&self) -> HashSet<NotifyEvent> {
        self.events.values().filter(|(key, _)| key.starts_with(ABOUT)).map(|(_, event)| event.clone()).collect()
    }

    /// The numbers in the fact `key`, each with whether something came up.
    pub(super) fn of(&self, key: &str) -> Vec<(u64, bool)> {
        let numbers = self.numbers.get(key).into_iter().flatten().rev().take(PER_FACT);
        let mut found: Vec<_> =
            numbers.filter_map(|number| Some((*number, is_up(&self.events.get(number)?.1)))).collect();
        found.reverse();
        found
    }

    /// The runner has everything up to `number`. The keys of the facts that change.
    pub(super) fn acknowledged(&mut self, number: u64) -> BTreeSet<String> {
        let rest = self.events.split_off(&number.saturating_add(1));
        let done = std::mem::replace(&mut self.events, rest);
        let mut keys = BTreeSet::new();
        for (number, (key, _)) in done {
            if let Some(numbers) = self.numbers.get_mut(&key) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.numbers.remove(&key);
                }
            }
            keys.insert(key);
        }
        keys
    }

    /// The fact `key` goes: what it told goes on in facts of its own, which are given with their keys.
    pub(super) fn part(&mut self, key: &str) -> Vec<(String, Notification)> {
        let numbers = self.numbers.remove(key).unwrap_or_default();
        let mut parted = Vec::new();
        for number in numbers {
            let Some((_, event)) = self.events.get(&number).cloned() else { continue };
            let own = own_key(number);
            self.inherit(own.clone(), Notification { number, event: event.clone() });
            parted.push((own, Notification { number, event }));
        }
        parted
    }
}

/// The key of the fact of one notification alone.
pub(super) fn own_key(number: u64) -> String {
    format!("{ABOUT}{number:020}")
}

fn is_up(event: &NotifyEvent) -> bool {
    match event {
        NotifyEvent::RealServer { up, .. } | NotifyEvent::Quorum { up, .. } => *up,
        NotifyEvent::Instance { .. } | NotifyEvent::Group { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(up: bool) -> NotifyEvent {
        NotifyEvent::Quorum { virtual_server: "FWM 1".into(), up }
    }

    fn numbers(unheard: &Unheard) -> Vec<u64> {
        unheard.all().map(|notification| notification.number).collect()
    }

    #[test]
    fn what_is_acknowledged_is_in_no_fact_any_more() {
        let mut unheard = Unheard::default();
        let key = || Some("quorum FWM 1".to_owned());
        for up in [true, false, true] {
            unheard.push(key(), quorum(up));
        }
        assert_eq!(unheard.of("quorum FWM 1"), [(1, true), (2, false), (3, true)]);
        assert_eq!(unheard.acknowledged(2), BTreeSet::from(["quorum FWM 1".to_owned()]));
        assert_eq!((unheard.of("quorum FWM 1"), numbers(&unheard)), (vec![(3, true)], vec![3]));
        assert_eq!(unheard.acknowledged(2), BTreeSet::new());
        unheard.acknowledged(3);
        assert_eq!(unheard.of("quorum FWM 1"), []);
        unheard.count_from(1000);
        unheard.count_from(5);
        assert_eq!(unheard.push(key(), quorum(false)).number, 1001);
    }

    #[test]
    fn what_has_lost_its_state_has_a_fact_of_its_own() {
        let mut unheard = Unheard::default();
        unheard.push(Some("quorum FWM 1".into()), quorum(false));
        assert!(unheard.told_apart().is_empty());
        let parted = unheard.part("quorum FWM 1");
        assert_eq!(parted, [(own_key(1), Notification { number: 1, event: quorum(false) })]);
        assert_eq!(unheard.told_apart(), HashSet::from([quorum(false)]));
        assert_eq!(unheard.push(None, quorum(true)).number, 2);
        assert_eq!(unheard.acknowledged(2), BTreeSet::from([own_key(1), own_key(2)]));
    }

    #[test]
    fn one_fact_repeats_no_more_than_a_message_can_hold() {
        let mut unheard = Unheard::default();
        for number in 0..3 * PER_FACT {
            unheard.push(Some("quorum FWM 1".into()), quorum(number % 2 == 0));
        }
        let told = unheard.of("quorum FWM 1");
        assert_eq!((told.len(), told.last()), (PER_FACT, Some(&(3 * PER_FACT as u64, false))));
    }

    /// Facts are sent in the order of their keys.
    #[test]
    fn a_notification_without_a_state_is_told_before_the_state_goes() {
        assert!(own_key(u64::MAX).as_str() < "checkers " && own_key(9) < own_key(10));
    }
}
