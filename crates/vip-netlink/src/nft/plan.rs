//! From the tables that are there to those that are wanted.

use std::collections::BTreeSet;

use super::types::{Chain, Element, Rule, Set, Table, TableName};

/// Elements in one request: their list, with the longest keys and data, fits the 65,535 octets of an attribute.
const ELEMENTS_PER_REQUEST: usize = 500;

/// One request of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Adds a table; one that is there stays.
    AddTable(TableName),
    /// Removes a table with all that is in it.
    RemoveTable(TableName),
    /// Adds a chain without rules.
    AddChain {
        /// Where.
        table: TableName,
        /// Its rules do not count.
        chain: Chain,
    },
    /// Adds a set without elements.
    AddSet {
        /// Where.
        table: TableName,
        /// Its elements do not count.
        set: Set,
    },
    /// Adds elements to a set; those that are there stay.
    AddElements {
        /// Where.
        table: TableName,
        /// To which set.
        set: String,
        /// Not more than fit a request; [`plan`] sees to it.
        elements: Vec<Element>,
    },
    /// Removes elements from a set, all of which have to be there.
    RemoveElements {
        /// Where.
        table: TableName,
        /// From which set.
        set: String,
        /// Not more than fit a request.
        elements: Vec<Element>,
    },
    /// Adds a rule at the end of a chain.
    AddRule {
        /// Where.
        table: TableName,
        /// To which chain.
        chain: String,
        /// The rule.
        rule: Rule,
    },
}

impl Change {
    /// What it does, for messages: "adding the set vips to the table ip keepalived".
    pub fn describe(&self) -> String {
        match self {
            Self::AddTable(table) => format!("adding the table {table}"),
            Self::RemoveTable(table) => format!("removing the table {table}"),
            Self::AddChain { table, chain } => format!("adding the chain {} to the table {table}", chain.name),
            Self::AddSet { table, set } => format!("adding the set {} to the table {table}", set.name),
            Self::AddElements { table, set, elements } => {
                format!("adding {} elements to the set {set} of the table {table}", elements.len())
            }
            Self::RemoveElements { table, set, elements } => {
                format!("removing {} elements from the set {set} of the table {table}", elements.len())
            }
            Self::AddRule { table, chain, .. } => format!("adding a rule to the chain {chain} of the table {table}"),
        }
    }

    /// The table that it is about.
    pub const fn table(&self) -> &TableName {
        match self {
            Self::AddTable(table)
            | Self::RemoveTable(table)
            | Self::AddChain { table, .. }
            | Self::AddSet { table, .. }
            | Self::AddElements { table, .. }
            | Self::RemoveElements { table, .. }
            | Self::AddRule { table, .. } => table,
        }
    }
}

/// What makes the `wanted` tables of the `present` ones, and removes those of `release` that are present.
///
/// A table that has other chains, rules or sets than it should is made anew, in the same batch; otherwise only elements
/// come and go.
#[must_use]
pub fn plan(wanted: &[Table], present: &[Table], release: &[TableName]) -> Vec<Change> {
    let there = |name: &TableName| present.iter().find(|table| table.name == *name);
    let mut changes = Vec::new();
    for name in release {
        if there(name).is_some() && !wanted.iter().any(|table| table.name == *name) {
            changes.push(Change::RemoveTable(name.clone()));
        }
    }
    for table in wanted {
        match there(&table.name) {
            Some(present) if same_structure(table, present) => edit(table, present, &mut changes),
            Some(_) => {
                changes.push(Change::RemoveTable(table.name.clone()));
                build(table, &mut changes);
            }
            None => build(table, &mut changes),
        }
    }
    changes
}

/// The same chains, rules and sets, whatever the order of chains and sets and whatever the elements of sets; those of a
/// constant set count.
fn same_structure(wanted: &Table, present: &Table) -> bool {
    let shape = |set: &Set| {
        let elements = if set.flags == super::SetFlags::CONSTANT { set.elements.clone() } else { BTreeSet::new() };
        Set { elements, ..set.clone() }
    };
    let sets = |table: &Table| {
        let mut sets: Vec<_> = table.sets.iter().map(shape).collect();
        sets.sort_by(|one, other| one.name.cmp(&other.name));
        sets
    };
    let chains = |table: &Table| {
        let mut chains = table.chains.clone();
        chains.sort_by(|one, other| one.name.cmp(&other.name));
        chains
    };
    wanted.flags == present.flags && sets(wanted) == sets(present) && chains(wanted) == chains(present)
}

fn edit(wanted: &Table, present: &Table, changes: &mut Vec<Change>) {
    let nothing = BTreeSet::new();
    for set in &wanted.sets {
        let there = present.sets.iter().find(|there| there.name == set.name).map_or(&nothing, |there| &there.elements);
        let (table, name) = (&wanted.name, &set.name);
        // A key of a map has one value: the old one has to go first.
        for elements in requests(there.difference(&set.elements)) {
            changes.push(Change::RemoveElements { table: table.clone(), set: name.clone(), elements });
        }
        for elements in requests(set.elements.difference(there)) {
            changes.push(Change::AddElements { table: table.clone(), set: name.clone(), elements });
        }
    }
}

/// Sets before the rules that use them, and chains before the rules that lead to them.
fn build(table: &Table, changes: &mut Vec<Change>) {
    let name = || table.name.clone();
    changes.push(Change::AddTable(name()));
    for set in &table.sets {
        let empty = Set { elements: BTreeSet::new(), ..set.clone() };
        changes.push(Change::AddSet { table: name(), set: empty });
        for elements in requests(set.elements.iter()) {
            changes.push(Change::AddElements { table: name(), set: set.name.clone(), elements });
        }
    }
    for chain in &table.chains {
        let empty = Chain { rules: Vec::new(), ..chain.clone() };
        changes.push(Change::AddChain { table: name(), chain: empty });
    }
    for chain in &table.chains {
        for rule in &chain.rules {
            changes.push(Change::AddRule { table: name(), chain: chain.name.clone(), rule: rule.clone() });
        }
    }
}

fn requests<'a>(elements: impl Iterator<Item = &'a Element>) -> Vec<Vec<Element>> {
    let elements: Vec<_> = elements.cloned().collect();
    elements.chunks(ELEMENTS_PER_REQUEST).map(<[Element]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{nft::DataType, types::Family};

    fn name() -> TableName {
        TableName { family: Family::Ipv4, name: "t".into() }
    }

    fn table(hosts: impl IntoIterator<Item = u8>) -> Table {
        let elements = hosts.into_iter().map(|host| Element::new([192, 0, 2, host])).collect();
        let set = Set { elements, ..Set::new("s", DataType::IPV4_ADDRESS) };
        let chain = Chain { name: "c".into(), base: None, rules: vec![vec![super::super::Expression::Counter]] };
        Table { name: name(), flags: 0, sets: vec![set], chains: vec![chain] }
    }

    fn said(changes: &[Change]) -> Vec<String> {
        changes.iter().map(Change::describe).collect()
    }

    #[test]
    fn what_is_missing_is_built_and_what_is_there_is_left() {
        assert_eq!(
            said(&plan(&[table([1])], &[], &[])),
            [
                "adding the table ip t",
                "adding the set s to the table ip t",
                "adding 1 elements to the set s of the table ip t",
                "adding the chain c to the table ip t",
                "adding a rule to the chain c of the table ip t",
            ]
        );
        assert_eq!(plan(&[table([1])], &[table([1])], &[name()]), []);
    }

    #[test]
    fn elements_come_and_go_one_by_one() {
        assert_eq!(
            said(&plan(&[table([1, 2])], &[table([2, 3])], &[])),
            [
                "removing 1 elements from the set s of the table ip t",
                "adding 1 elements to the set s of the table ip t"
            ]
        );
        let many = Table {
            sets: vec![Set {
                elements: (0..1200_u32).map(|n| Element::new(n.to_be_bytes())).collect(),
                ..table([]).sets[0].clone()
            }],
            ..table([])
        };
        assert_eq!(plan(&[many], &[table([])], &[]).len(), 3);
    }

    #[test]
    fn a_table_that_somebody_changed_is_made_anew() {
        let mut changed = [table([1]), table([1]), table([1])];
        changed[0].chains[0].rules.push(Vec::new());
        changed[1].flags = 1;
        changed[2].sets.pop();
        for present in changed {
            let changes = plan(&[table([1])], &[present], &[]);
            assert_eq!((&changes[0], changes.len()), (&Change::RemoveTable(name()), 6));
        }
    }

    #[test]
    fn only_a_table_that_is_there_is_removed() {
        assert_eq!(plan(&[], &[], &[name()]), []);
        assert_eq!(plan(&[], &[table([1])], &[name()]), [Change::RemoveTable(name())]);
    }
}
