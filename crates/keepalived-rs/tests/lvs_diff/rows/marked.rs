//! Groups whose packets are marked by nftables (`nftables_ipvs`).

use super::{Down, Row, Up, group, reload, row, server, server6, service, three};

const MARKED: &str = "global_defs {\n nftables_ipvs\n}\n";

/// A virtual server of a group.
fn of(name: &str, protocol: &str, servers: &[String]) -> String {
    service(&format!("group {name}"), &format!("protocol {protocol}\n lvs_sched rr"), servers)
}

fn marked(rest: impl AsRef<str>) -> String {
    MARKED.to_owned() + rest.as_ref()
}

pub(super) fn rows() -> Vec<Row> {
    let ranges = "198.18.0.100 80\n 198.18.0.101-104 81\n 198.18.0.250-198.18.1.3 82\n 198.18.2.96/30 80";
    let (g, h) = (group("G", "198.18.0.100 80\n 198.18.0.101 81"), group("H", "198.18.0.90-120 80"));
    let one = [server(1, "")];
    vec![
        row("marked_group", marked(group("G", ranges) + &of("G", "TCP", &three()))).steps([Down(1), Up(1)]),
        row("marked_groups_of_both_families", {
            let words =
                "nftables_ipvs marks\n nftables_ipvs_priority -20\n nftables_ipvs_start_fwmark 77\n nftables_counters";
            let tunnels = |protocol| {
                service("group M", &format!("protocol {protocol}\n lvs_method TUN"), &[server(1, ""), server6(2, "")])
            };
            format!("global_defs {{\n {words}\n}}\n")
                + &group("M", "198.18.0.150 80\n 2001:db8:1::150 80")
                + &group("S", "2001:db8:1::a-10 80\n 2001:db8:1::200-2001:db8:1::201 81\n 2001:db8:1::300/127 80")
                + &tunnels("UDP")
                + &of("S", "SCTP", &[server6(1, "")])
                + &tunnels("TCP")
        }),
        row(
            "marked_group_with_a_mark_of_its_own",
            marked(
                group("G", "198.18.0.100 80\n fwmark 25")
                    + &g.replace('G', "K")
                    + &of("G", "TCP", &one)
                    + &of("K", "UDP", &one),
            ),
        ),
        row("marked_group_that_changes", marked(g.clone() + &of("G", "TCP", &three()))).steps([
            reload(marked(group("G", ranges) + &of("G", "TCP", &three()))),
            reload(marked(h.clone() + &group("G", ranges) + &of("H", "UDP", &one) + &of("G", "TCP", &three()))),
            reload(marked(h.clone() + &of("H", "UDP", &one))),
            reload(marked(h.clone() + &g + &of("H", "UDP", &one) + &of("G", "TCP", &one))),
            reload(
                service("198.18.0.1 80", "protocol TCP", &one)
                    .replace("virtual_server", &format!("{MARKED}virtual_server")),
            ),
        ]),
        row("marked_group_without_port", {
            let server = [super::real("192.0.2.11", super::CHECK)];
            let opening = "protocol TCP\n lvs_sched rr\n persistence_timeout 60";
            marked(group("G", "198.18.0.100\n 198.18.0.101-104") + &service("group G", opening, &server))
        }),
        row("marked_groups_that_overlap", {
            let inside = group("I", "198.18.0.110 80\n 198.18.0.110 80");
            marked(h + &g + &inside + &of("G", "TCP", &one) + &of("H", "TCP", &one) + &of("I", "TCP", &one))
        }),
        row("marked_group_beside_such_a_mark", {
            let same = service("fwmark 1000", "lvs_sched rr", &[server(2, "")]);
            marked(g.clone() + &same + &of("G", "TCP", &one))
        }),
        row("marked_group_left_at_stop", marked(g + &of("G", "TCP", &one))).arguments(&["--dont-release-ipvs"]),
    ]
}
