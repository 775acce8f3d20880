//! `nftables_ipvs`: one firewall mark stands for all addresses of a group, and nftables gives it to their packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use conf_parser::Span;
use conf_parser::config::{self, Config, GroupEntry, Protocol, ServiceKey};
use ipvs_control::ServiceAddress;
use ipvs_control::types::Family;
use serde::{Deserialize, Serialize};
use vip_netlink::nft::{Marking, Target, Transport};

use super::Groups;

const GLOBAL: &str = "global_defs";

/// What `nftables_ipvs` and the words around it say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkingPart {
    /// `nftables_ipvs`: the name of its tables.
    pub(crate) table: String,
    /// `nftables_ipvs_priority`.
    priority: i32,
    /// `nftables_counters`.
    counters: bool,
    /// The groups whose addresses are marked, and the protocols for which they are, in the order of their virtual servers.
    needed: Vec<(String, Transport)>,
    /// Marks with a meaning of their own.
    reserved: BTreeSet<u32>,
    /// Those that are handed out.
    pub(crate) marks: Marks,
    /// Where `nftables_ipvs` was written.
    pub(crate) span: Option<Span>,
}

/// The marks that were handed out. A group keeps its mark as long as it needs one, whatever comes and goes before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    /// By group and protocol.
    pub(crate) handed_out: BTreeMap<(String, Transport), NonZeroU32>,
    /// The next one: connections may still remember those before it.
    pub(crate) next: NonZeroU32,
}

impl MarkingPart {
    /// `None` without `nftables_ipvs`. Nothing is handed out yet.
    pub(crate) fn from_config(config: &Config, groups: &Groups) -> Option<Self> {
        let firewall = &config.global.firewall;
        let next = NonZeroU32::new(firewall.nftables_ipvs_start_fwmark).unwrap_or(NonZeroU32::MIN);
        let mut part = Self {
            table: firewall.nftables_ipvs.clone()?,
            priority: firewall.nftables_ipvs_priority,
            counters: firewall.nftables_counters,
            needed: Vec::new(),
            reserved: reserved(config),
            marks: Marks { handed_out: BTreeMap::new(), next },
            span: config.global.places.of(GLOBAL, "nftables_ipvs"),
        };
        for key in config.virtual_servers.iter().filter_map(|server| needs(&server.service.value, groups)) {
            if !part.needed.contains(&key) {
                part.needed.push(key);
            }
        }
        part.hand_out(None);
        Some(part)
    }

    /// Wherever it was written.
    pub(crate) fn without_place(self) -> Self {
        Self { span: None, ..self }
    }

    /// Hands marks out where those that `before` handed out are in use.
    pub(crate) fn go_on_from(&mut self, before: &Marks) {
        self.hand_out(Some(before));
    }

    fn hand_out(&mut self, before: Option<&Marks>) {
        let known = before.map(|before| &before.handed_out);
        let mut used: BTreeSet<u32> = self.reserved.clone();
        used.extend(known.into_iter().flat_map(BTreeMap::values).map(|mark| mark.get()));
        let mut next = before.map_or(self.marks.next, |before| before.next);
        let mut handed_out = BTreeMap::new();
        for key in &self.needed {
            let kept = known.and_then(|known| known.get(key)).filter(|mark| !self.reserved.contains(&mark.get()));
            let mark = kept.copied().unwrap_or_else(|| {
                while used.contains(&next.get()) {
                    next = next.checked_add(1).unwrap_or(NonZeroU32::MIN);
                }
                used.insert(next.get());
                next
            });
            handed_out.insert(key.clone(), mark);
        }
        self.marks = Marks { handed_out, next };
    }

    /// The services that stand for a group; `None` if each of its addresses is a service.
    pub(super) fn services(&self, key: &ServiceKey, groups: &Groups) -> Option<Vec<ServiceAddress>> {
        let needed = needs(key, groups)?;
        let mark = *self.marks.handed_out.get(&needed)?;
        let entries = groups.entries(&needed.0);
        let has = |family: &Family| addresses(entries).any(|(first, ..)| Family::of(first) == *family);
        let families = [Family::Inet, Family::Inet6].into_iter().filter(has);
        Some(families.map(|family| ServiceAddress::fwmark(mark, family)).collect())
    }

    /// What nftables is to mark; `None` if nothing.
    pub(crate) fn marking(&self, groups: &Groups) -> Option<Marking> {
        let mut targets = Vec::new();
        for key @ (group, transport) in &self.needed {
            let Some(mark) = self.marks.handed_out.get(key).copied() else { continue };
            let target =
                |(first, last, port)| Target { transport: *transport, first, last, port: NonZeroU16::new(port), mark };
            targets.extend(addresses(groups.entries(group)).map(target));
        }
        let (name, priority, counters) = (self.table.clone(), self.priority, self.counters);
        (!targets.is_empty()).then_some(Marking { name, priority, counters, targets })
    }
}

/// Whose packets carry the mark of the group that `key` names; empty for what is no group.
pub(super) fn ranges(key: &ServiceKey, groups: &Groups) -> Vec<(IpAddr, IpAddr)> {
    let ServiceKey::Group { name, .. } = key else { return Vec::new() };
    addresses(groups.entries(name)).map(|(first, last, _)| (first, last)).collect()
}

/// The group and the protocol whose packets need a mark: as in keepalived, those of a group without firewall marks of
/// its own.
fn needs(key: &ServiceKey, groups: &Groups) -> Option<(String, Transport)> {
    let ServiceKey::Group { name, protocol, .. } = key else { return None };
    let entries = groups.entries(name);
    let all_are_addresses = entries.iter().all(|entry| matches!(entry, GroupEntry::Addresses { .. }));
    (all_are_addresses && !entries.is_empty()).then(|| (name.clone(), transport(*protocol)))
}

fn transport(protocol: Option<Protocol>) -> Transport {
    match protocol {
        Some(Protocol::Tcp) => Transport::Tcp,
        Some(Protocol::Sctp) => Transport::Sctp,
        Some(Protocol::Udp) | None => Transport::Udp,
    }
}

fn addresses(entries: &[GroupEntry]) -> impl Iterator<Item = (IpAddr, IpAddr, u16)> {
    entries.iter().filter_map(|entry| match *entry {
        GroupEntry::Addresses { first, last, port } => Some((first, last, port)),
        GroupEntry::Fwmark { .. } => None,
    })
}

/// The firewall marks of the file, whose packets somebody else marks.
fn reserved(config: &Config) -> BTreeSet<u32> {
    let of_server = |server: &config::VirtualServer| match server.service.value {
        ServiceKey::Fwmark { mark, .. } => Some(mark),
        _ => None,
    };
    let of_entry = |entry: &GroupEntry| match *entry {
        GroupEntry::Fwmark { mark, .. } => Some(mark),
        GroupEntry::Addresses { .. } => None,
    };
    let groups = config.virtual_server_groups.iter().flat_map(|group| &group.entries);
    let in_groups = groups.filter_map(|entry| of_entry(&entry.value));
    config.virtual_servers.iter().filter_map(of_server).chain(in_groups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checker::CheckerPart;
    use crate::config::checker::tests::config;

    fn group(name: &str, members: &str) -> String {
        format!("virtual_server_group {name} {{\n{members}\n}}\n")
    }

    fn server(group: &str, protocol: &str) -> String {
        format!(
            "virtual_server group {group} {{\n lb_algo rr\n lb_kind NAT\n protocol {protocol}\n real_server 10.0.0.1 80 {{\n }}\n}}\n"
        )
    }

    fn part(globals: &str, rest: &str) -> CheckerPart {
        CheckerPart::take_from(&mut config(&format!("global_defs {{\n{globals}\n}}\n{rest}")))
    }

    fn services(part: &CheckerPart) -> Vec<String> {
        let of_one = |server| part.virtual_server(server).unwrap().services;
        let services = part.virtual_servers.iter().flat_map(of_one);
        services.map(|service| format!("{} {:?}", service.address, service.address.family())).collect()
    }

    #[test]
    fn a_group_of_addresses_is_one_service() {
        let groups = group("G", "192.0.2.1-9 80\n192.0.2.20 81") + &group("H", "192.0.2.1 80\nfwmark 5");
        let servers = server("H", "TCP") + &server("G", "TCP") + &server("G", "UDP");
        let marked = part("nftables_ipvs", &(groups.clone() + &servers));
        assert_eq!(
            services(&marked),
            ["192.0.2.1:80 TCP Inet", "FWM 5 Inet", "FWM 1000 Inet", "FWM 1001 Inet"].map(|text| {
                // As the library writes it.
                text.replace("192.0.2.1:80 TCP", &ServiceAddress::tcp("192.0.2.1:80".parse().unwrap()).to_string())
                    .replace("FWM 5", &mark(5))
                    .replace("FWM 1000", &mark(1000))
                    .replace("FWM 1001", &mark(1001))
            })
        );
        let marking = marked.marking.unwrap().marking(&marked.groups).unwrap();
        assert_eq!((marking.name.as_str(), marking.priority, marking.counters), ("keepalived_ipvs", -1, false));
        let targets: Vec<_> = marking.targets.iter().map(|it| (it.transport, it.mark.get())).collect();
        let [tcp, udp] = [(Transport::Tcp, 1000), (Transport::Udp, 1001)];
        assert_eq!(targets, [tcp, tcp, udp, udp]);
        assert_eq!(services(&part("", &(groups + &servers))).len(), 22);
    }

    fn mark(mark: u32) -> String {
        ServiceAddress::fwmark(NonZeroU32::new(mark).unwrap(), Family::Inet).to_string()
    }

    #[test]
    fn the_words_around_it_count() {
        let text = group("G", "192.0.2.1 80") + &server("G", "SCTP");
        let words = "nftables_ipvs t\nnftables_ipvs_priority 7\nnftables_ipvs_start_fwmark 9\nnftables_counters";
        let part = part(words, &text);
        let marking = part.marking.as_ref().unwrap().marking(&part.groups).unwrap();
        assert_eq!((marking.name.as_str(), marking.priority, marking.counters), ("t", 7, true));
        assert_eq!((marking.targets[0].transport, marking.targets[0].mark.get()), (Transport::Sctp, 9));
    }

    #[test]
    fn without_a_group_nothing_is_marked() {
        let part = part(
            "nftables_ipvs",
            "virtual_server 192.0.2.1 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.0.0.1 80 {\n }\n}\n",
        );
        assert_eq!(part.marking.unwrap().marking(&part.groups), None);
    }

    #[test]
    fn both_families_share_a_mark() {
        let text = group("G", "192.0.2.1 80\n2001:db8::1 80")
            + "virtual_server group G {\n lb_algo rr\n lb_kind TUN\n protocol TCP\n real_server 10.0.0.1 80 {\n }\n}\n";
        let families: Vec<_> = services(&part("nftables_ipvs", &text));
        assert_eq!(families, ["Inet", "Inet6"].map(|family| format!("{} {family}", mark(1000))));
    }

    #[test]
    fn a_mark_stays_and_none_comes_back() {
        let (a, b) = (group("A", "192.0.2.1 80"), group("B", "192.0.2.2 80"));
        let marks = |before: Option<&Marks>, text: &str| {
            let mut part = part("nftables_ipvs", text).marking.unwrap();
            if let Some(before) = before {
                part.go_on_from(before);
            }
            part.marks
        };
        let of = |marks: &Marks| -> Vec<_> {
            marks.handed_out.iter().map(|((group, _), mark)| format!("{group} {mark}")).collect()
        };
        let first = marks(None, &(b.clone() + &server("B", "TCP")));
        assert_eq!(of(&first), ["B 1000"]);
        let both = marks(Some(&first), &(a.clone() + &b + &server("A", "TCP") + &server("B", "TCP")));
        assert_eq!(of(&both), ["A 1001", "B 1000"]);
        let one = marks(Some(&both), &(a.clone() + &server("A", "TCP")));
        assert_eq!(of(&one), ["A 1001"]);
        let again = marks(Some(&one), &(a + &b + &server("A", "TCP") + &server("B", "TCP")));
        assert_eq!(of(&again), ["A 1001", "B 1002"]);
    }

    #[test]
    fn marks_of_the_file_are_not_handed_out() {
        let text = "virtual_server fwmark 1000 {\n lb_algo rr\n lb_kind NAT\n real_server 10.0.0.1 80 {\n }\n}\n"
            .to_owned()
            + &group("F", "fwmark 1001")
            + &group("G", "192.0.2.1 80")
            + &server("G", "TCP");
        assert_eq!(services(&part("nftables_ipvs", &text))[1], format!("{} Inet", mark(1002)));
        let last = part("nftables_ipvs\nnftables_ipvs_start_fwmark 4294967295", &text.replace("1000", "4294967295"));
        assert_eq!(services(&last)[1], format!("{} Inet", mark(1)));
    }
}
