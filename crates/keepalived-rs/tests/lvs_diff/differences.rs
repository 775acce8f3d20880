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
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        row: "sh_port_before_the_scheduler",
        c: &["-A -t 198.18.0.100:80 -s sh"],
        ours: &["-A -t 198.18.0.100:80 -s sh -b sh-port"],
        phases: 0..=0,
        why: "keepalived forgets `sh-port` where it comes before `lvs_sched sh`; the order of lines does not matter here",
    },
    Difference {
        row: "sorry_server_without_port",
        c: &[
            "-a -t 198.18.0.100:80 -r 192.0.2.19:0 -m -w 1",
            "TCP C6120064:0050 -> C0000213:0000      Masq    1      0          0",
        ],
        ours: &[
            "-a -t 198.18.0.100:80 -r 192.0.2.19:80 -m -w 1",
            "TCP C6120064:0050 -> C0000213:0050      Masq    1      0          0",
        ],
        phases: 1..=1,
        why: "with NAT keepalived sends to port 0 of a sorry server without port; here it has the port of the service, like a real server",
    },
    Difference {
        row: "group_that_changes",
        c: &["-A -t 198.18.0.100:80 -s wlc", "TCP  C6120064:0050 wlc"],
        ours: &[],
        phases: 2..=4,
        why: "an address that a reload takes out of a group leaves its service behind, without servers, even after the stop",
    },
    Difference {
        row: "group_that_changes",
        c: &["-A -t 198.18.0.102:80 -s wlc", "TCP  C6120066:0050 wlc"],
        ours: &[],
        phases: 4..=4,
        why: "the service of an address that a reload added to a group stays after the stop",
    },
    Difference {
        row: "notes_with_omega_and_quorum_lost",
        c: &["note: quorum down"],
        ours: &[],
        phases: 2..=2,
        why: "with `omega` the stop runs `quorum_down` once more where the quorum was lost before; a change is told once",
    },
];

/// Rows that are run and reported, but fail nothing: each with what is missing. To become empty.
pub(crate) const PENDING: &[(&[&str], &str)] = &[
    (
        &["misc_", "file_check", "dns_check", "udp_check", "ping_check", "smtp_check", "ssl_get"],
        "the checker is not acted on yet",
    ),
    (&["weights_at_the_limit"], "weights above 65535 are written as they are"),
    (&["notes_of_servers_that_a_reload_removes"], "notifications of servers that a reload removes"),
];

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
