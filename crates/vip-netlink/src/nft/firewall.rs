//! The tables that virtual routers need (RFC 9568 §6.4.3, Accept_Mode; §8.1.2 and §8.2.3, virtual MAC addresses).
//!
//! Packets to and from addresses that are held for routing only are dropped, but for neighbour discovery. Group
//! membership reports that a host sends by a macvlan leave by the link below instead, with its own MAC address: switches
//! would learn the virtual one on the port of whoever reports, and a router solicitation would do the same.
//!
//! Names, rules and their order are those of keepalived 2.2.7, for everything that reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::types::{
    BaseChain, Chain, DataType, Element, Expression, Hook, Meta, PayloadBase, Policy, Register, Rule, Set, SetFlags,
    Table, TableName, Verdict,
};
use crate::types::{Family, LinkIndex, LinkName};

const VIPS: &str = "vips";
const VIPS_LINK_LOCAL: &str = "vips_link_local";
const VIPS_LINK_LOCAL_NAME: &str = "vips_link_local_name";
const NEIGHBOR_DISCOVERY: &str = "neighbor-discovery";
const VMAC_MAP: &str = "vmac_map";
const VMAC_SET: &str = "vmac_set";

const ICMPV6: u8 = 58;
const ROUTER_SOLICIT: u8 = 133;
const NEIGHBOR_SOLICIT: u8 = 135;
const NEIGHBOR_ADVERT: u8 = 136;
const MLD2_REPORT: u8 = 143;

/// What is filtered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Name of the tables.
    pub name: String,
    /// Priority of the base chains; keepalived's default is -1.
    pub priority: i32,
    /// Whether rules count packets.
    pub counters: bool,
    /// Families with addresses that may be dropped at some time.
    pub filters: BTreeSet<Family>,
    /// Whether link-local addresses may be dropped on links that are told by their index.
    pub by_index: bool,
    /// Whether link-local addresses may be dropped on links that are told by their name.
    pub by_name: bool,
    /// The addresses whose packets are dropped now.
    pub dropped: BTreeSet<Dropped>,
    /// The macvlans of virtual routers; a family that is here has some at some time.
    pub vmacs: BTreeMap<Family, Vec<Vmac>>,
}

/// An address whose packets are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// Wherever its packets come from; not for link-local IPv6 addresses.
    Anywhere(IpAddr),
    /// A link-local address, on the link with this index.
    OnLink(Ipv6Addr, LinkIndex),
    /// A link-local address, on whichever link has this name.
    OnLinkNamed(Ipv6Addr, LinkName),
}

impl Dropped {
    /// The address.
    pub fn ip(&self) -> IpAddr {
        match *self {
            Self::Anywhere(ip) => ip,
            Self::OnLink(ip, _) | Self::OnLinkNamed(ip, _) => ip.into(),
        }
    }
}

/// A macvlan with a virtual MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vmac {
    /// The macvlan.
    pub link: LinkIndex,
    /// The link below.
    pub parent: LinkIndex,
}

impl Firewall {
    /// The names that its tables have or may have.
    pub fn names(name: &str) -> [TableName; 2] {
        [Family::Ipv4, Family::Ipv6].map(|family| TableName { family, name: name.to_owned() })
    }

    /// The tables; none for a family that needs none.
    pub fn tables(&self) -> Vec<Table> {
        let needed = |family: &Family| self.filters.contains(family) || self.vmacs.contains_key(family);
        [Family::Ipv4, Family::Ipv6].into_iter().filter(needed).map(|family| self.table(family)).collect()
    }

    /// The addresses that `tables` of this module drop.
    pub fn dropped_by(tables: &[Table]) -> BTreeSet<Dropped> {
        let elements = |set: &Set| {
            let dropped = |element: &Element| dropped(&set.name, &element.key);
            set.elements.iter().filter_map(dropped).collect::<Vec<_>>()
        };
        tables.iter().flat_map(|table| &table.sets).flat_map(elements).collect()
    }

    fn table(&self, family: Family) -> Table {
        let name = TableName { family, name: self.name.clone() };
        let mut table = Table { name, flags: 0, sets: Vec::new(), chains: Vec::new() };
        let (mut out, mut inward) = (Vec::new(), Vec::new());
        if let Some(vmacs) = self.vmacs.get(&family) {
            out.extend(self.vmac_rules(family));
            table.sets.extend(vmac_sets(family, vmacs));
        }
        let filters = self.filters.contains(&family);
        if filters {
            table.sets.extend(self.address_sets(family));
            inward.extend(self.filter_rules(family, Side::DESTINATION));
            out.extend(self.filter_rules(family, Side::SOURCE));
        }
        table.chains.push(self.base("out", Hook::OUTPUT, out));
        if filters {
            table.chains.push(self.base("in", Hook::INPUT, inward));
        }
        if filters && family == Family::Ipv6 {
            for side in [Side::DESTINATION, Side::SOURCE] {
                let rules = self.link_local_rules(side);
                table.chains.push(Chain { name: side.link_local_chain.into(), base: None, rules });
            }
        }
        table
    }

    fn base(&self, name: &str, hook: Hook, rules: Vec<Rule>) -> Chain {
        let base = BaseChain { kind: "filter".into(), hook, priority: self.priority, policy: Policy::ACCEPT };
        Chain { name: name.into(), base: Some(base), rules }
    }

    fn address_sets(&self, family: Family) -> Vec<Set> {
        let link_local = DataType::IPV6_ADDRESS.then(DataType::LINK_INDEX);
        let link_local_name = DataType::IPV6_ADDRESS.then(DataType::LINK_NAME);
        let discovery = [NEIGHBOR_SOLICIT, NEIGHBOR_ADVERT].map(|kind| Element::new([kind]));
        match family {
            Family::Ipv4 => vec![self.set_of(VIPS, DataType::IPV4_ADDRESS)],
            Family::Ipv6 => [
                Some(self.set_of(VIPS, DataType::IPV6_ADDRESS)),
                Some(Set {
                    flags: SetFlags::CONSTANT,
                    elements: discovery.into(),
                    ..self.set_of(NEIGHBOR_DISCOVERY, DataType::ICMPV6_TYPE)
                }),
                self.by_index.then(|| self.set_of(VIPS_LINK_LOCAL, link_local)),
                self.by_name.then(|| self.set_of(VIPS_LINK_LOCAL_NAME, link_local_name)),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }

    /// The set of that name and those addresses that belong into it.
    fn set_of(&self, name: &str, key: DataType) -> Set {
        let len = usize::try_from(key.len).unwrap_or(usize::MAX);
        let keys = self.dropped.iter().map(set_and_key).filter(|(set, key)| *set == name && key.len() == len);
        let elements = keys.map(|(_, key)| Element::new(key)).collect();
        Set { elements, ..Set::new(name, key) }
    }

    fn filter_rules(&self, family: Family, side: Side) -> Vec<Rule> {
        let address = |to| side.address(family, to);
        let drop = self.rule(
            vec![
                address(Register::FIRST),
                Expression::Lookup { set: VIPS.into(), register: Register::FIRST, to: None },
            ],
            Verdict::Drop,
        );
        if family == Family::Ipv4 {
            return vec![drop];
        }
        let next_header = Expression::Payload { base: PayloadBase::NETWORK, offset: 6, len: 1, to: Register::FIRST };
        let discovery = vec![
            next_header,
            equals(Register::FIRST, [ICMPV6]),
            ICMPV6_TYPE,
            Expression::Lookup { set: NEIGHBOR_DISCOVERY.into(), register: Register::FIRST, to: None },
        ];
        let mask = octets(Ipv6Addr::new(0xffc0, 0, 0, 0, 0, 0, 0, 0));
        let link_local = vec![
            address(Register::FIRST),
            Expression::Mask { register: Register::FIRST, mask },
            equals(Register::FIRST, octets(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0))),
        ];
        vec![
            self.rule(discovery, Verdict::Accept),
            self.rule(link_local, Verdict::Goto(side.link_local_chain.into())),
            drop,
        ]
    }

    fn link_local_rules(&self, side: Side) -> Vec<Rule> {
        let sets =
            [(self.by_index, VIPS_LINK_LOCAL, side.link_index), (self.by_name, VIPS_LINK_LOCAL_NAME, side.link_name)];
        let rule = |set: &str, key| {
            let what = vec![
                side.address(Family::Ipv6, Register::FIRST),
                Expression::Meta { key, to: Register::SECOND },
                Expression::Lookup { set: set.into(), register: Register::FIRST, to: None },
            ];
            self.rule(what, Verdict::Drop)
        };
        sets.into_iter().filter(|(used, ..)| *used).map(|(_, set, key)| rule(set, key)).collect()
    }

    fn vmac_rules(&self, family: Family) -> Vec<Rule> {
        const IGMP: u8 = 2;
        let protocol = Expression::Payload { base: PayloadBase::NETWORK, offset: 9, len: 1, to: Register::FIRST };
        let icmpv6 = || {
            let protocol = Expression::Meta { key: Meta::L4PROTO, to: Register::FIRST };
            [protocol, equals(Register::FIRST, [ICMPV6]), ICMPV6_TYPE]
        };
        let reports = match family {
            Family::Ipv4 => vec![protocol, equals(Register::FIRST, [IGMP])],
            Family::Ipv6 => icmpv6().into_iter().chain([equals(Register::FIRST, [MLD2_REPORT])]).collect(),
        };
        let destination = Side::DESTINATION.address(family, Register::FIRST);
        let from_macvlan = || {
            let kind = Expression::Meta { key: Meta::OIFKIND, to: Register::SECOND };
            [kind, equals(Register::SECOND, *b"macvlan\0\0\0\0\0\0\0\0\0")]
        };
        let link = Expression::Meta { key: Meta::OIF, to: Register::SECOND };
        let parent =
            Expression::Lookup { set: VMAC_MAP.into(), register: Register::SECOND, to: Some(Register::SECOND) };
        let duplicate = Expression::Duplicate { address: Register::FIRST, link: Register::SECOND };
        let mut moved = reports;
        moved.push(destination);
        moved.extend(from_macvlan());
        moved.extend([link.clone(), parent, duplicate]);
        let mut rules = vec![self.rule(moved, Verdict::Drop)];
        if family == Family::Ipv6 {
            let mut solicitations: Vec<_> = icmpv6().into();
            solicitations.push(equals(Register::FIRST, [ROUTER_SOLICIT]));
            solicitations.extend(from_macvlan());
            let vmac = Expression::Lookup { set: VMAC_SET.into(), register: Register::SECOND, to: None };
            solicitations.extend([link, vmac]);
            rules.push(self.rule(solicitations, Verdict::Drop));
        }
        rules
    }

    fn rule(&self, mut what: Vec<Expression>, verdict: Verdict) -> Rule {
        what.extend(self.counters.then_some(Expression::Counter));
        what.push(Expression::Verdict(verdict));
        what
    }
}

const ICMPV6_TYPE: Expression =
    Expression::Payload { base: PayloadBase::TRANSPORT, offset: 0, len: 1, to: Register::FIRST };

/// Packets from an address, or packets to it.
#[derive(Debug, Clone, Copy)]
struct Side {
    /// Offset of the address in the header, IPv4 and IPv6.
    offsets: [u32; 2],
    link_index: Meta,
    link_name: Meta,
    link_local_chain: &'static str,
}

impl Side {
    const SOURCE: Self =
        Self { offsets: [12, 8], link_index: Meta::OIF, link_name: Meta::OIFNAME, link_local_chain: "out_link_local" };
    const DESTINATION: Self =
        Self { offsets: [16, 24], link_index: Meta::IIF, link_name: Meta::IIFNAME, link_local_chain: "in_link_local" };

    const fn address(self, family: Family, to: Register) -> Expression {
        let [ipv4, ipv6] = self.offsets;
        let (offset, len) = match family {
            Family::Ipv4 => (ipv4, 4),
            Family::Ipv6 => (ipv6, 16),
        };
        Expression::Payload { base: PayloadBase::NETWORK, offset, len, to }
    }
}

fn equals(register: Register, value: impl Into<Vec<u8>>) -> Expression {
    Expression::Equals { register, value: value.into() }
}

fn octets(ip: Ipv6Addr) -> Vec<u8> {
    ip.octets().into()
}

fn vmac_sets(family: Family, vmacs: &[Vmac]) -> Vec<Set> {
    let index = |link: LinkIndex| link.get().to_ne_bytes();
    let pairs = vmacs.iter().map(|vmac| Element { data: index(vmac.parent).into(), ..Element::new(index(vmac.link)) });
    let map = Set {
        flags: SetFlags::MAP,
        data: Some(DataType::LINK_INDEX),
        elements: pairs.collect(),
        ..Set::new(VMAC_MAP, DataType::LINK_INDEX)
    };
    if family == Family::Ipv4 {
        return vec![map];
    }
    let links = vmacs.iter().map(|vmac| Element::new(index(vmac.link))).collect();
    let set = Set { elements: links, ..Set::new(VMAC_SET, DataType::LINK_INDEX) };
    vec![map, set]
}

/// Which set an address belongs into, and the octets of its element.
fn set_and_key(dropped: &Dropped) -> (&'static str, Vec<u8>) {
    match dropped {
        Dropped::Anywhere(IpAddr::V4(ip)) => (VIPS, ip.octets().into()),
        Dropped::Anywhere(IpAddr::V6(ip)) => (VIPS, octets(*ip)),
        Dropped::OnLink(ip, link) => (VIPS_LINK_LOCAL, [octets(*ip), link.get().to_ne_bytes().into()].concat()),
        Dropped::OnLinkNamed(ip, link) => {
            let mut name = link.as_bytes().to_vec();
            name.resize(16, 0);
            (VIPS_LINK_LOCAL_NAME, [octets(*ip), name].concat())
        }
    }
}

/// The other way round; `None` for an element of another set, or one that this module never makes.
fn dropped(set: &str, key: &[u8]) -> Option<Dropped> {
    if set == VIPS {
        return match key.len() {
            4 => Some(Dropped::Anywhere(Ipv4Addr::from(<[u8; 4]>::try_from(key).ok()?).into())),
            _ => Some(Dropped::Anywhere(Ipv6Addr::from(<[u8; 16]>::try_from(key).ok()?).into())),
        };
    }
    let (ip, link) = key.split_first_chunk::<16>()?;
    let ip = Ipv6Addr::from(*ip);
    match set {
        VIPS_LINK_LOCAL => Some(Dropped::OnLink(ip, LinkIndex::new(u32::from_ne_bytes(link.try_into().ok()?))?)),
        VIPS_LINK_LOCAL_NAME => {
            let name = link.split(|octet| *octet == 0).next().unwrap_or_default();
            Some(Dropped::OnLinkNamed(ip, LinkName::new(name).ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firewall(dropped: impl IntoIterator<Item = Dropped>) -> Firewall {
        Firewall {
            name: "keepalived".into(),
            priority: -1,
            counters: false,
            filters: [Family::Ipv4, Family::Ipv6].into(),
            by_index: true,
            by_name: true,
            dropped: dropped.into_iter().collect(),
            vmacs: BTreeMap::new(),
        }
    }

    fn addresses() -> [Dropped; 4] {
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        [
            Dropped::Anywhere([192, 0, 2, 1].into()),
            Dropped::Anywhere("2001:db8::1".parse().unwrap()),
            Dropped::OnLink(link_local, LinkIndex::new(7).unwrap()),
            Dropped::OnLinkNamed(link_local, "eth0".parse().unwrap()),
        ]
    }

    #[test]
    fn addresses_go_into_their_sets_and_come_back() {
        let tables = firewall(addresses()).tables();
        assert_eq!(Firewall::dropped_by(&tables), addresses().into());
        let counts: Vec<_> = tables
            .iter()
            .flat_map(|table| {
                table.sets.iter().map(|set| (table.name.to_string(), set.name.as_str(), set.elements.len()))
            })
            .collect();
        let [v4, v6] = ["ip keepalived", "ip6 keepalived"].map(str::to_owned);
        assert_eq!(
            counts,
            [
                (v4, "vips", 1),
                (v6.clone(), "vips", 1),
                (v6.clone(), "neighbor-discovery", 2),
                (v6.clone(), "vips_link_local", 1),
                (v6, "vips_link_local_name", 1)
            ]
        );
    }

    #[test]
    fn a_family_without_need_has_no_table() {
        let only = |family| Firewall { filters: [family].into(), ..firewall([]) }.tables();
        let families = |tables: Vec<Table>| tables.into_iter().map(|table| table.name.family).collect::<Vec<_>>();
        assert_eq!(families(only(Family::Ipv4)), [Family::Ipv4]);
        assert_eq!(families(only(Family::Ipv6)), [Family::Ipv6]);
        assert_eq!(Firewall { filters: BTreeSet::new(), ..firewall([]) }.tables(), []);
    }

    #[test]
    fn macvlans_alone_need_no_chain_for_what_comes_in() {
        let link = |index| LinkIndex::new(index).unwrap();
        let vmacs = vec![Vmac { link: link(6), parent: link(3) }];
        let firewall = Firewall { filters: BTreeSet::new(), vmacs: [(Family::Ipv4, vmacs)].into(), ..firewall([]) };
        let tables = firewall.tables();
        let table = &tables[0];
        let names: Vec<_> = table.chains.iter().map(|chain| chain.name.as_str()).collect();
        assert_eq!((tables.len(), names), (1, vec!["out"]));
        let element = table.sets[0].elements.first().unwrap();
        assert_eq!((&element.key, &element.data), (&6_u32.to_ne_bytes().to_vec(), &3_u32.to_ne_bytes().to_vec()));
    }

    #[test]
    fn an_address_more_is_an_element_more() {
        let changes = super::super::plan(&firewall(addresses()).tables(), &firewall([]).tables(), &[]);
        let said: Vec<_> = changes.iter().map(super::super::Change::describe).collect();
        assert_eq!(
            said,
            [
                "adding 1 elements to the set vips of the table ip keepalived",
                "adding 1 elements to the set vips of the table ip6 keepalived",
                "adding 1 elements to the set vips_link_local of the table ip6 keepalived",
                "adding 1 elements to the set vips_link_local_name of the table ip6 keepalived",
            ]
        );
    }
}
