//! Where the values are meant to differ from keepalived's.

/// Values that differ on purpose.
pub(crate) struct Difference {
    /// The files (numbers, `*` = any) where that may be.
    pub(crate) files: &'static [&'static str],
    /// Where keepalived shows it; an empty field stands for the whole object.
    pub(crate) section: &'static str,
    pub(crate) field: &'static str,
    /// What both sides say, as `canonical.rs` puts it; `*` = anything.
    pub(crate) theirs: &'static str,
    pub(crate) ours: &'static str,
    /// The keyword, and why.
    pub(crate) keyword: &'static str,
    pub(crate) reason: &'static str,
}

impl Difference {
    pub(crate) fn covers(&self, file: &str, section: &str, field: &str, theirs: &str, ours: &str) -> bool {
        let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        self.files.iter().any(|pattern| fits(pattern, file))
            && self.section == section
            && self.field == field
            && fits(self.theirs, theirs)
            && fits(self.ours, ours)
    }
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        files: &["*"],
        section: "Global definitions",
        field: "Gratuitous ARP lower priority delay",
        theirs: "4294967295000000",
        ours: "*",
        keyword: "vrrp_garp_lower_prio_delay",
        reason: "without a `vrrp_instance` keepalived does not fill in the default",
    },
    Difference {
        files: &["*"],
        section: "Global definitions",
        field: "Gratuitous ARP lower priority repeat",
        theirs: "4294967295",
        ours: "*",
        keyword: "vrrp_garp_lower_prio_repeat",
        reason: "without a `vrrp_instance` keepalived does not fill in the default",
    },
];
