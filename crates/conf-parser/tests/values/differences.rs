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

const fn differs(
    files: &'static [&'static str],
    section: &'static str,
    field: &'static str,
    (theirs, ours): (&'static str, &'static str),
    keyword: &'static str,
    reason: &'static str,
) -> Difference {
    Difference { files, section, field, theirs, ours, keyword, reason }
}

const ANY: &[&str] = &["*"];
const GLOBAL: &str = "Global definitions";
const INSTANCE: &str = "VRRP Topology";
const SERVICE: &str = "Virtual server";
const REAL: &str = "Real server";

const NO_INSTANCE: &str = "without a `vrrp_instance` keepalived does not fill in the default";
const RANDOM: &str = "one file draws the value (`${_RANDOM}`), which another run draws anew";
const UNKNOWN_BLOCK: &str = "keepalived reads the body of an unknown block as part of the enclosing one";
const OLD_SYNC: &str = "the old form in an instance is shown there, keepalived shows it as the global one";

const NO_TIMES: &str = "a `BFD_CHECK` has none; keepalived shows the largest number";

pub(crate) const DIFFERENCES: &[Difference] = &[
    differs(
        ANY,
        GLOBAL,
        "Gratuitous ARP lower priority delay",
        ("4294967295000000", "*"),
        "vrrp_garp_lower_prio_delay",
        NO_INSTANCE,
    ),
    differs(
        ANY,
        GLOBAL,
        "Gratuitous ARP lower priority repeat",
        ("4294967295", "*"),
        "vrrp_garp_lower_prio_repeat",
        NO_INSTANCE,
    ),
    differs(
        ANY,
        GLOBAL,
        "nftables table name",
        ("keepalived", ""),
        "nftables",
        "keepalived turns it on by itself where an instance needs it",
    ),
    differs(
        ANY,
        GLOBAL,
        "nftables base chain priority",
        ("-1", "*"),
        "nftables_priority",
        "keepalived turns nftables on by itself where an instance needs it",
    ),
    differs(
        ANY,
        GLOBAL,
        "Smtp server",
        ("127.0.0.1", "localhost"),
        "smtp_server",
        "a name is looked up when mail is sent, not when it is read",
    ),
    differs(
        &["152", "169"],
        GLOBAL,
        "DBus disabled",
        ("off", "on"),
        "enable_dbus",
        "there was no bus where it was recorded",
    ),
    differs(&["005", "170"], GLOBAL, "LVS syncd vrrp instance", ("*", ""), "lvs_sync_daemon", OLD_SYNC),
    differs(&["005", "170"], GLOBAL, "LVS syncd interface", ("*", ""), "lvs_sync_daemon", OLD_SYNC),
    differs(
        ANY,
        GLOBAL,
        "LVS syncd syncid",
        ("0", ""),
        "lvs_sync_daemon",
        "without `id` it is that of the instance, which is not known at this place",
    ),
    differs(
        &["050"],
        INSTANCE,
        "objects",
        ("0", "*"),
        "vrrp_rlimit_rttime",
        "the limit that one file sets ended the process before it could say anything",
    ),
    differs(&["033"], REAL, "WEIGHT", ("*", "*"), "weight", RANDOM),
    differs(&["033"], REAL, "initial weight", ("*", "*"), "weight", RANDOM),
    differs(&["033"], REAL, "Delay loop", ("*", "*"), "delay_loop", RANDOM),
    differs(&["033"], SERVICE, "delay_loop", ("*", "*"), "delay_loop", RANDOM),
    differs(&["033"], SERVICE, "persistence timeout", ("*", "*"), "persistence_timeout", RANDOM),
    differs(&["033"], "Health checkers", "Delay loop", ("*", "*"), "delay_loop", RANDOM),
    differs(&["033"], "Health checkers", "Warmup", ("*", "*"), "warmup", RANDOM),
    differs(&["204"], SERVICE, "connection timeout", ("3000000", "5000000"), "connect_timeout", UNKNOWN_BLOCK),
    differs(&["204"], REAL, "connection timeout", ("3000000", "5000000"), "connect_timeout", UNKNOWN_BLOCK),
    differs(
        &["200"],
        SERVICE,
        "sorry server",
        ("1.2.3.4 0", "1.2.3.4 80"),
        "sorry_server",
        "without a port it has that of the virtual server; keepalived gives IPVS 0, which leaves the port of the packet as it is: the same",
    ),
    differs(
        &["108", "121", "164"],
        INSTANCE,
        "Interface",
        ("*", "*"),
        "interface",
        "keepalived shows the VMAC where it could not make it or has not yet",
    ),
    differs(
        &["191"],
        INSTANCE,
        "Virtual IP/",
        ("*", "*"),
        "virtual_ipaddress",
        "addresses that do not fit into an advert are shown in `virtual_ipaddress_excluded`",
    ),
    differs(
        ANY,
        GLOBAL,
        "LVS syncd syncid",
        ("4294967295", ""),
        "lvs_sync_daemon",
        "without `id` it is that of the instance, which is not known at this place",
    ),
    differs(ANY, "VRRP Scripts", "Timeout", ("0", "*"), "timeout", "keepalived shows 0 where the interval holds"),
    differs(ANY, "VRRP Scripts", "objects", ("*", "*"), "vrrp_script", "keepalived drops a script that nothing tracks"),
    differs(
        ANY,
        "VRRP Track BFDs",
        "",
        ("there", ""),
        "bfd_instance",
        "keepalived keeps the tracker of a session without a neighbour, which it does not run",
    ),
    differs(
        ANY,
        "Checker track BFDs",
        "",
        ("there", ""),
        "bfd_instance",
        "keepalived keeps the tracker of a session without a neighbour, which it does not run",
    ),
    differs(
        &["106", "210"],
        "Health checkers",
        "Connection/Timeout",
        ("0", "10000000"),
        "connect_timeout",
        "a `host` of an `SMTP_CHECK` without one has that of its checker, with keepalived 0: no time at all",
    ),
    differs(
        &["050"],
        "Health checkers",
        "Alpha",
        ("on\non", "on"),
        "alpha",
        "keepalived shows it twice for a `BFD_CHECK`",
    ),
    differs(&["050"], "Health checkers", "Delay loop", ("*", "0"), "delay_loop", NO_TIMES),
    differs(&["050"], "Health checkers", "Warmup", ("*", "0"), "warmup", NO_TIMES),
    differs(&["050"], "Health checkers", "Retries", ("*", "0"), "retry", NO_TIMES),
    differs(&["050"], "Health checkers", "Delay before retry", ("*", "0"), "delay_before_retry", NO_TIMES),
    differs(
        &["164"],
        "Static Addresses",
        "entry",
        ("*", "*"),
        "static_ipaddress",
        "keepalived shows the interface below a VMAC",
    ),
    differs(
        ANY,
        "GARP delay group",
        "",
        ("there", ""),
        "garp_group",
        "keepalived makes one for what `vrrp_garp_interval` and `vrrp_gna_interval` say",
    ),
    differs(
        &["164"],
        "Static Routes",
        "entry",
        ("*", "*"),
        "static_routes",
        "keepalived drops a route with a realm that the host has no number for; the host is not asked here",
    ),
];
