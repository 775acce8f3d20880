//! How often each thing happened, over all seeds. What never happened was not tested.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Clone, Default)]
pub(crate) struct Census(BTreeMap<&'static str, u64>);

impl Census {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.add(what, *times);
        }
    }

    /// Those of `kinds` that did not happen.
    pub(crate) fn missing(&self, kinds: &[&'static str]) -> Vec<&'static str> {
        kinds.iter().filter(|kind| self.0.get(*kind).is_none_or(|times| *times == 0)).copied().collect()
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, times)| writeln!(f, "{times:>12}  {what}"))
    }
}
