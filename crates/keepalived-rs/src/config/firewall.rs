//! What filters packets to and from virtual addresses, and group membership reports on macvlans.

use std::collections::BTreeSet;

use conf_parser::config::{self as file, Config, Priority};
use serde::{Deserialize, Serialize};
use vip_netlink::{Family, MacAddr};

/// The table where the configuration names none.
const TABLE: &str = "keepalived";

/// The filter that a configuration needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FirewallPart {
    /// `nftables`: the name of its tables.
    pub(crate) table: String,
    /// Nobody asked for it in so many words.
    pub(crate) implied: bool,
    /// `nftables_priority`.
    pub(crate) priority: i32,
    /// `nftables_counters`.
    pub(crate) counters: bool,
    /// The families of the addresses that may be dropped.
    pub(crate) filters: BTreeSet<Family>,
    /// How the links of link-local addresses are told.
    pub(crate) link_keys: BTreeSet<LinkKey>,
    /// Virtual MAC addresses of macvlans.
    pub(crate) vmacs: BTreeSet<(Family, MacAddr)>,
}

/// How the link of a link-local address is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum LinkKey {
    /// By its number.
    Index,
    /// By its name: with `dont_track_primary` the link may go and come back.
    Name,
}

impl FirewallPart {
    /// What `config` needs; `None` if nothing is to be filtered.
    pub(crate) fn from_config(config: &Config) -> Option<Self> {
        let firewall = &config.global.firewall;
        let mut part = Self {
            table: firewall.nftables.clone().unwrap_or_else(|| TABLE.to_owned()),
            implied: firewall.nftables.is_none(),
            priority: firewall.nftables_priority,
            counters: firewall.nftables_counters,
            filters: BTreeSet::new(),
            link_keys: BTreeSet::new(),
            vmacs: BTreeSet::new(),
        };
        for instance in &config.vrrp_instances {
            part.add(instance, closed(instance, &config.global));
        }
        let needed = !part.filters.is_empty() || !part.vmacs.is_empty();
        needed.then_some(part)
    }

    fn add(&mut self, instance: &file::VrrpInstance, closed: Option<LinkKey>) {
        if let Some(key) = closed {
            for address in instance.virtual_addresses.iter().chain(&instance.excluded_addresses) {
                let ip = address.address.value;
                self.filters.insert(if ip.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 });
                if is_link_local(ip) {
                    self.link_keys.insert(key);
                }
            }
        }
        if let Some(vmac) = &instance.vmac {
            let (family, group) = match instance.family {
                file::Family::Ipv4 => (Family::Ipv4, 1),
                file::Family::Ipv6 => (Family::Ipv6, 2),
            };
            let virtual_mac = [0, 0, 0x5e, 0, group, instance.virtual_router_id.value.0.get()];
            self.vmacs.insert((family, MacAddr(vmac.address.map_or(virtual_mac, |own| own.0))));
        }
    }
}

/// How the links of an instance's link-local addresses are told if packets to its addresses are dropped; `None` if they
/// are taken in: with `accept`, and always if it owns the addresses.
pub(crate) fn closed(instance: &file::VrrpInstance, global: &file::GlobalDefs) -> Option<LinkKey> {
    let by_index = instance.track_primary || global.firewall.nftables_ifindex;
    let key = if by_index { LinkKey::Index } else { LinkKey::Name };
    (!instance.accept && instance.priority != Priority::OWNER).then_some(key)
}

/// IPv6 link-local (RFC 4291 §2.5.6).
pub(crate) const fn is_link_local(ip: std::net::IpAddr) -> bool {
    matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::vrrp::tests::part;

    fn firewall(globals: &str, instance: &str) -> Option<FirewallPart> {
        let text = format!(
            "global_defs {{\n{globals}\n}}\nvrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\n{instance}\n}}\n"
        );
        part(&text).firewall
    }

    const IPV4: &str = "virtual_ipaddress { 192.0.2.1 }\nvirtual_ipaddress_excluded { 2001:db8::1 }";
    const IPV6: &str = "virtual_ipaddress {\nfe80::1\n2001:db8::1\n}";

    #[test]
    fn only_who_does_not_accept_needs_a_filter() {
        assert_eq!(firewall("nftables", IPV4), None);
        assert_eq!(firewall("", &format!("no_accept\npriority 255\n{IPV4}")), None);
        let part = firewall("", &format!("no_accept\n{IPV4}")).unwrap();
        assert_eq!((part.table.as_str(), part.implied, part.priority), ("keepalived", true, -1));
        assert_eq!(part.filters, [Family::Ipv4, Family::Ipv6].into());
        assert!(firewall("vrrp_strict", &format!("version 3\n{IPV4}")).is_some());
        assert_eq!(firewall("vrrp_strict", &format!("version 3\naccept\n{IPV4}")), None);
        let part = firewall("vrrp_iptables", &format!("no_accept\n{IPV4}")).unwrap();
        assert!(!part.implied, "nftables in the place of iptables was announced already");
    }

    #[test]
    fn the_links_of_link_local_addresses_are_told_by_name_only_where_they_may_come_back() {
        let keys = |globals, words| firewall(globals, &format!("no_accept\n{words}\n{IPV6}")).unwrap().link_keys;
        assert_eq!(keys("", ""), [LinkKey::Index].into());
        assert_eq!(keys("", "dont_track_primary"), [LinkKey::Name].into());
        assert_eq!(keys("nftables_ifindex", "dont_track_primary"), [LinkKey::Index].into());
        assert_eq!(firewall("", &format!("no_accept\n{IPV4}")).unwrap().link_keys, BTreeSet::new());
    }

    #[test]
    fn macvlans_are_known_by_their_mac_addresses() {
        let macs = |words: &str| firewall("nftables x", words).unwrap().vmacs;
        let own = |mac| [(Family::Ipv4, MacAddr(mac))].into();
        assert_eq!(macs(&format!("use_vmac\n{IPV4}")), own([0, 0, 0x5e, 0, 1, 51]));
        assert_eq!(macs(&format!("use_vmac 02:00:00:00:00:01\n{IPV4}")), own([2, 0, 0, 0, 0, 1]));
        let virtual_ipv6 = MacAddr([0, 0, 0x5e, 0, 2, 51]);
        assert_eq!(macs(&format!("use_vmac\n{IPV6}")), [(Family::Ipv6, virtual_ipv6)].into());
    }
}
