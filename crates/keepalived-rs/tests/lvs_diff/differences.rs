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
    Difference {
        row: "notes_of_servers_that_a_reload_removes",
        c: &["note: quorum down"],
        ours: &[],
        phases: 1..=1,
        why: "a reload that removes real servers runs `quorum_down` against the quorum of before, though the new one is met, and again when that is lost; here it runs when the quorum is lost",
    },
    Difference {
        row: "marked_group_that_changes",
        c: &[
            "-nft table ip keepalived_ipvs chain in: meta mark set ip daddr . tcp dport map @tcp_map return",
            "-nft table ip keepalived_ipvs map tcp_map",
            "-nft table ip keepalived_ipvs map tcp_map: flags interval",
            "-nft table ip keepalived_ipvs map tcp_map: type ipv4_addr . inet_service : mark",
        ],
        ours: &[],
        phases: 3..=3,
        why: "the map of a protocol that no group needs any more stays, empty",
    },
    Difference {
        row: "marked_group_that_changes",
        c: &[
            "-nft table ip keepalived_ipvs",
            "-nft table ip keepalived_ipvs chain in",
            "-nft table ip keepalived_ipvs chain in: type filter hook input priority filter - 1; policy accept;",
            "-nft table ip keepalived_ipvs chain in: meta mark set ip daddr . tcp dport map @tcp_map return",
            "-nft table ip keepalived_ipvs chain in: meta mark set ip daddr . udp dport map @udp_map return",
            "-nft table ip keepalived_ipvs map tcp_map",
            "-nft table ip keepalived_ipvs map tcp_map: flags interval",
            "-nft table ip keepalived_ipvs map tcp_map: type ipv4_addr . inet_service : mark",
            "-nft table ip keepalived_ipvs map udp_map",
            "-nft table ip keepalived_ipvs map udp_map: flags interval",
            "-nft table ip keepalived_ipvs map udp_map: type ipv4_addr . inet_service : mark",
        ],
        ours: &[],
        phases: 5..=5,
        why: "a table that no group needs any more stays until the stop",
    },
    Difference {
        row: "marked_group_without_port",
        c: &[
            "-nft table ip keepalived_ipvs chain in: meta mark set ip daddr . tcp dport map @tcp_map return",
            "-nft table ip keepalived_ipvs map tcp_map",
            "-nft table ip keepalived_ipvs map tcp_map: flags interval",
            "-nft table ip keepalived_ipvs map tcp_map: type ipv4_addr . inet_service : mark",
            "-nft table ip keepalived_ipvs map tcp_map: 198.18.0.100 . 0 : 0x000003e8",
            "-nft table ip keepalived_ipvs map tcp_map: 198.18.0.101-198.18.0.104 . 0 : 0x000003e8",
        ],
        ours: &[
            "-nft table ip keepalived_ipvs chain in: meta mark set ip daddr . tcp dport map @tcp_any_map return",
            "-nft table ip keepalived_ipvs map tcp_any_map",
            "-nft table ip keepalived_ipvs map tcp_any_map: flags interval",
            "-nft table ip keepalived_ipvs map tcp_any_map: type ipv4_addr . inet_service : mark",
            "-nft table ip keepalived_ipvs map tcp_any_map: 198.18.0.100 . 0-65535 : 0x000003e8",
            "-nft table ip keepalived_ipvs map tcp_any_map: 198.18.0.101-198.18.0.104 . 0-65535 : 0x000003e8",
        ],
        phases: 0..=0,
        why: "keepalived marks packets to port 0, which there are none of: nobody reaches the group; here those to every port are marked, in a map that is looked into after that of the ports",
    },
    Difference {
        row: "marked_groups_that_overlap",
        c: &["-nft table ip keepalived_ipvs map tcp_map: 198.18.0.90-198.18.0.120 . 80 : 0x000003e9"],
        ours: &[
            "-nft table ip keepalived_ipvs map tcp_map: 198.18.0.90-198.18.0.99 . 80 : 0x000003e9",
            "-nft table ip keepalived_ipvs map tcp_map: 198.18.0.101-198.18.0.120 . 80 : 0x000003e9",
        ],
        phases: 0..=0,
        why: "who comes first has the address in both; the kernel refuses a range that begins or ends in another one, here it gets what is left",
    },
    Difference {
        row: "marked_group_beside_such_a_mark",
        c: &[
            "-a -f 1000 -r 192.0.2.11:80 -m -w 1",
            "FWM 000003E8 -> C000020B:0050      Masq    1      0          0",
            "-nft table ip keepalived_ipvs map tcp_map: 198.18.0.100 . 80 : 0x000003e8",
            "-nft table ip keepalived_ipvs map tcp_map: 198.18.0.101 . 81 : 0x000003e8",
        ],
        ours: &[
            "-A -f 1001 -s rr",
            "-a -f 1001 -r 192.0.2.11:80 -m -w 1",
            "FWM  000003E9 rr",
            "FWM 000003E9 -> C000020B:0050      Masq    1      0          0",
            "-nft table ip keepalived_ipvs map tcp_map: 198.18.0.100 . 80 : 0x000003e9",
            "-nft table ip keepalived_ipvs map tcp_map: 198.18.0.101 . 81 : 0x000003e9",
        ],
        phases: 0..=0,
        why: "keepalived hands out a mark that the file gives to another virtual server, and mixes the two",
    },
    Difference {
        row: "file_check_reversed",
        c: &[
            "-a -t 198.18.0.100:80 -r 192.0.2.11:80 -m -w 10",
            "TCP C6120064:0050 -> C000020B:0050      Masq    10     0          0",
        ],
        ours: &[
            "-a -t 198.18.0.100:80 -r 192.0.2.12:80 -m -w 10",
            "TCP C6120064:0050 -> C000020C:0050      Masq    10     0          0",
        ],
        phases: 0..=0,
        why: "keepalived ignores `reverse` of weight 0 until the file changes: a server that is to be out is in",
    },
    Difference {
        row: "file_check_reversed",
        c: &[],
        ours: &[
            "-a -t 198.18.0.100:80 -r 192.0.2.12:80 -m -w 10",
            "TCP C6120064:0050 -> C000020C:0050      Masq    10     0          0",
        ],
        phases: 1..=1,
        why: "likewise: one that is to be in is out",
    },
];

/// The table that is expected of us where Debian's keepalived made `recorded`.
pub(crate) fn applied(row: &str, phase: usize, recorded: &str) -> String {
    let mut table = recorded.to_owned();
    for difference in DIFFERENCES.iter().filter(|found| found.row == row && found.phases.contains(&phase)) {
        let kept = table.lines().filter(|line| !difference.c.contains(line));
        table = crate::scene::sorted(kept.chain(difference.ours.iter().copied()));
    }
    table
}
