//! What Debian's keepalived made of every row, as a text file.

use std::collections::BTreeMap;
use std::fmt;

use crate::rows::Row;

const ROW: &str = "=== ";
const PHASE: &str = "--- ";
/// Stands for the table of the phase before.
const SAME: &str = "same\n";

/// The tables of every row, by its name.
#[derive(Debug, Default)]
pub(crate) struct Recording(BTreeMap<String, Recorded>);

#[derive(Debug)]
struct Recorded {
    /// Of the row when it was recorded.
    fingerprint: String,
    /// One per phase.
    tables: Vec<String>,
}

impl Recording {
    pub(crate) fn parse(text: &str) -> Self {
        let rows = text.split(ROW).skip(1).map(|row| {
            let mut phases = row.split(PHASE);
            let (name, fingerprint) = phases.next().unwrap_or_default().trim().split_once(' ').unwrap_or_default();
            let mut tables: Vec<String> = Vec::new();
            for phase in phases {
                let table = phase.split_once('\n').map_or("", |(_, table)| table);
                let before = tables.last().filter(|_| table == SAME);
                tables.push(before.map_or(table, String::as_str).to_owned());
            }
            (name.to_owned(), Recorded { fingerprint: fingerprint.to_owned(), tables })
        });
        Self(rows.collect())
    }

    /// The tables of a row, one per phase.
    pub(crate) fn tables(&self, row: &Row) -> Result<&[String], String> {
        let how = "UPDATE_RECORDED=1 cargo test -p keepalived-rs --test lvs_diff records it";
        let recorded = self.0.get(row.name).ok_or_else(|| format!("was never recorded; {how}"))?;
        if recorded.fingerprint != fingerprint(row) {
            return Err(format!("is another than the one that was recorded; {how} anew"));
        }
        Ok(&recorded.tables)
    }

    pub(crate) fn insert(&mut self, row: &Row, tables: Vec<String>) {
        self.0.insert(row.name.to_owned(), Recorded { fingerprint: fingerprint(row), tables });
    }

    /// Takes over what is newer, and keeps only rows that exist.
    pub(crate) fn update<'a>(&mut self, newer: Self, names: impl Iterator<Item = &'a str>) {
        self.0.extend(newer.0);
        let names: Vec<_> = names.collect();
        self.0.retain(|name, _| names.contains(&name.as_str()));
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, Recorded { fingerprint, tables }) in &self.0 {
            writeln!(f, "{ROW}{name} {fingerprint}")?;
            for (phase, table) in tables.iter().enumerate() {
                let same = phase.checked_sub(1).is_some_and(|before| tables.get(before) == Some(table));
                write!(f, "{PHASE}{phase}\n{}", if same { SAME } else { table })?;
            }
        }
        Ok(())
    }
}

/// FNV-1a of all that makes a row.
fn fingerprint(row: &Row) -> String {
    let text = format!("{} {:?} {:?} {:?}", row.config, row.steps, row.closed, row.arguments);
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
