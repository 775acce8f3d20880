//! Packet filters.

use super::*;

settings! {
/// What filters packets to virtual addresses, and marks those of virtual server groups.
pub struct Firewall {
    /// `nftables`: filter in this table, 1 to 254 characters, `keepalived` where it has no name.
    nftables: Option<String> as "nftables",
    /// `nftables_priority`: of the base chains; default -1.
    nftables_priority: i32 as "nftables_priority",
    /// `nftables_ifindex`: link-local sets are keyed by the number of the interface, not by its name.
    nftables_ifindex: bool as "nftables_ifindex",
    /// `nftables_counters`: rules count packets.
    nftables_counters: bool as "nftables_counters",
    /// `nftables_ipvs`: packets of virtual server groups are marked in this table, `keepalived_ipvs` where it has no name.
    nftables_ipvs: Option<String> as "nftables_ipvs",
    /// `nftables_ipvs_priority`: of the marking chain; default -1.
    nftables_ipvs_priority: i32 as "nftables_ipvs_priority",
    /// `nftables_ipvs_start_fwmark`: the first mark that is handed out, not 0; default 1000.
    nftables_ipvs_start_fwmark: u32 as "nftables_ipvs_start_fwmark",
    /// `vrrp_iptables`: filter in these chains.
    iptables: Option<Chains> as "vrrp_iptables",
    /// `vrrp_ipsets`: the sets that go with `vrrp_iptables`; `None` = no sets.
    ipsets: Option<IpSets> as "vrrp_ipsets" via IpSets::show,
}}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            nftables: None,
            nftables_priority: default(GLOBAL_DEFS, "nftables_priority"),
            nftables_ifindex: default(GLOBAL_DEFS, "nftables_ifindex"),
            nftables_counters: default(GLOBAL_DEFS, "nftables_counters"),
            nftables_ipvs: None,
            nftables_ipvs_priority: default(GLOBAL_DEFS, "nftables_ipvs_priority"),
            nftables_ipvs_start_fwmark: default(GLOBAL_DEFS, "nftables_ipvs_start_fwmark"),
            iptables: None,
            ipsets: Some(IpSets::default()),
        }
    }
}

config_type! {
/// The chains of `vrrp_iptables`, which exist already; names of up to 27 characters.
pub struct Chains {
    /// Where packets that come in are filtered.
    pub input: String,
    /// Where packets that go out are filtered; none are where absent.
    pub output: Option<String>,
}}

impl Default for Chains {
    fn default() -> Self {
        Self { input: "INPUT".to_owned(), output: Some("OUTPUT".to_owned()) }
    }
}

impl Show for Chains {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let names = std::iter::once(&self.input).chain(&self.output);
        out.push(slot.line(names.cloned().map(Scalar::Text).collect()));
    }
}

config_type! {
/// The names of `vrrp_ipsets`, each of up to 30 characters, all different.
pub struct IpSets {
    /// IPv4 addresses.
    pub addresses: String,
    /// IPv6 addresses.
    pub addresses6: String,
    /// Link-local IPv6 addresses with their interface.
    pub interfaces6: String,
    /// Interfaces without IGMP.
    pub igmp: String,
    /// Interfaces without MLD.
    pub mld: String,
    /// Interfaces without neighbour discovery.
    pub nd: String,
}}

impl Default for IpSets {
    fn default() -> Self {
        default(GLOBAL_DEFS, "vrrp_ipsets")
    }
}

table_default! {
    IpSets => |row| row.default_text().split(' ').next().map(Self::derived), else Self::derived("");
}

impl IpSets {
    /// The names that follow from the first one.
    pub fn derived(first: &str) -> Self {
        let name = |suffix: &str| format!("{first}{suffix}");
        Self {
            addresses: first.to_owned(),
            addresses6: name("6"),
            interfaces6: name("_if6"),
            igmp: name("_igmp"),
            mld: name("_mld"),
            nd: name("_nd"),
        }
    }

    /// All names, in the order of the keyword's line.
    pub fn names(&self) -> [&String; 6] {
        [&self.addresses, &self.addresses6, &self.interfaces6, &self.igmp, &self.mld, &self.nd]
    }

    /// Without names there are no sets.
    fn show(sets: &Option<Self>, slot: Slot, out: &mut Vec<Setting>) {
        let names = sets.iter().flat_map(Self::names);
        out.push(slot.line(names.cloned().map(Scalar::Text).collect()));
    }
}
