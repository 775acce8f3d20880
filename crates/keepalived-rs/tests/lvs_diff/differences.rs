//! Where the tables differ on purpose.

/// A difference from Debian's keepalived, and its reason.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) row: &'static str,
    /// Lines of its table that ours lacks.
    pub(crate) c: &'static [&'static str],
    /// Lines of our table that its lacks.
    pub(crate) ours: &'static [&'static str],
    /// The phases in which it shows, the start being 0.
    pub(crate) phases: std::ops::RangeInclusive<usize>,
    pub(crate) why: &'static str,
}

/// Every difference there is. `docs/lvs-differences.md` has this table too.
pub(crate) const DIFFERENCES: &[Difference] = &[];

/// Rows that are run and reported, but fail nothing: each with what is missing. To become empty.
pub(crate) const PENDING: &[(&[&str], &str)] = &[(
    &["misc_", "file_check", "dns_check", "udp_check", "ping_check", "smtp_check", "ssl_get", "bfd_check"],
    "the checker is not acted on yet",
)];

/// What a row waits for, if it does.
pub(crate) fn pending(row: &str) -> Option<&'static str> {
    let is_meant =
        |names: &[&str]| names.iter().any(|name| row == *name || (name.ends_with('_') && row.starts_with(name)));
    PENDING.iter().find(|(names, _)| is_meant(names)).map(|(_, why)| *why)
}

/// The table that is expected of us where Debian's keepalived made `recorded`.
pub(crate) fn applied(row: &str, phase: usize, recorded: &str) -> String {
    let mut table = recorded.to_owned();
    for difference in DIFFERENCES.iter().filter(|found| found.row == row && found.phases.contains(&phase)) {
        let kept = table.lines().filter(|line| !difference.c.contains(line));
        table = crate::scene::sorted(kept.chain(difference.ours.iter().copied()));
    }
    table
}
