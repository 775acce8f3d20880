//! Entries of long lists that are there already, found in little memory.

use std::cmp::Ordering;

/// Takes out of `list` every entry that compares equal to one before it, in their order.
pub(super) fn take_duplicates<T>(list: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let mut order: Vec<u32> = (0..=u32::MAX).take(list.len()).collect();
    let of = |at: u32| list.get(at as usize);
    let by_value =
        |one: u32, other: u32| of(one).zip(of(other)).map_or(Ordering::Equal, |(one, other)| compare(one, other));
    order.sort_unstable_by(|one, other| by_value(*one, *other).then(one.cmp(other)));
    let again = |pair: &[u32]| match pair {
        [first, second] if by_value(*first, *second) == Ordering::Equal => Some(*second),
        _ => None,
    };
    let mut found: Vec<u32> = order.windows(2).filter_map(again).collect();
    drop(order);
    if found.is_empty() {
        return Vec::new();
    }
    found.sort_unstable();
    let (mut found, mut at) = (found.into_iter().peekable(), 0);
    let duplicate = |_: &mut T| {
        let hit = found.next_if_eq(&at).is_some();
        at += 1;
        hit
    };
    list.extract_if(.., duplicate).collect()
}

/// When a growing list is looked through: each time that it has doubled, so that what is there again and again takes no
/// memory.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Entries that were left the last time.
    looked_through: usize,
}

/// Entries below which a list is looked through only once it is complete.
const FEW: usize = 1024;

impl Watch {
    /// Whether the time has come for a list of so many entries.
    pub(super) fn is_due(&self, entries: usize) -> bool {
        entries >= self.looked_through * 2 + FEW
    }

    /// Notes that so many entries are left.
    pub(super) fn looked_through(&mut self, entries: usize) {
        self.looked_through = entries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_entries_stays() {
        let mut list = vec![(3, 'a'), (1, 'b'), (3, 'c'), (2, 'd'), (1, 'e'), (3, 'f')];
        let taken = take_duplicates(&mut list, |one, other| one.0.cmp(&other.0));
        assert_eq!(list, [(3, 'a'), (1, 'b'), (2, 'd')]);
        assert_eq!(taken, [(3, 'c'), (1, 'e'), (3, 'f')]);
    }
}
