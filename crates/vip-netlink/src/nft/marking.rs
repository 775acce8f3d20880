//! The tables that give packets to virtual servers a firewall mark, so that IPVS needs one service for many addresses and
//! ports.
//!
//! For each protocol there is a map from address and port to mark, and a rule that looks into it. Names and rules are
//! those of keepalived 2.2.7, for everything that reads them. It cannot mark what has no port: that has maps of its own here.
//! The rules are in the order of the protocols, not of what was needed first, so that a reload does not turn them round.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use super::types::{
    BaseChain, Chain, DataType, Element, Expression, Hook, Meta, PayloadBase, Policy, Register, Rule, Set, SetFlags,
    Table, TableName, Verdict,
};
use crate::types::Family;

/// The only chain.
const CHAIN: &str = "in";

/// Which packets are marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marking {
    /// Name of the tables.
    pub name: String,
    /// Priority of the base chains; keepalived's default is -1.
    pub priority: i32,
    /// Whether rules and elements count packets.
    pub counters: bool,
    /// Where they go to. What an earlier one marks, a later one does not; one with a port comes before all without.
    pub targets: Vec<Target>,
}

/// Packets to some addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// Their protocol.
    pub transport: Transport,
    /// The first address.
    pub first: IpAddr,
    /// The last address, of the same family.
    pub last: IpAddr,
    /// `None` for every port.
    pub port: Option<NonZeroU16>,
    /// What they are marked with.
    pub mark: NonZeroU32,
}

/// What stands in front of the payload of an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[expect(missing_docs, reason = "nothing to add to the names")]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// One map: a target with a port is looked for before one without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Map {
    family: Family,
    transport: Transport,
    every_port: bool,
}

impl Map {
    fn of(target: &Target) -> Self {
        Self { family: family(target.first), transport: target.transport, every_port: target.port.is_none() }
    }

    /// All that there may be for a family.
    fn all(family: Family) -> impl Iterator<Item = Self> {
        let both = move |transport| [false, true].map(|every_port| Self { family, transport, every_port });
        Transport::ALL.into_iter().flat_map(both)
    }

    fn name(self) -> String {
        let kind = if self.every_port { "any_map" } else { "map" };
        format!("{}_{kind}", self.transport.word())
    }

    /// Without elements.
    fn set(self, counters: bool) -> Set {
        let address = match self.family {
            Family::Ipv4 => DataType::IPV4_ADDRESS,
            Family::Ipv6 => DataType::IPV6_ADDRESS,
        };
        let key = address.then(DataType::PORT);
        Set {
            flags: SetFlags::INTERVAL.and(SetFlags::MAP).and(SetFlags::CONCATENATED),
            data: Some(DataType::MARK),
            parts: vec![address.len, DataType::PORT.len],
            counters,
            ..Set::new(self.name(), DataType { len: key.len.next_multiple_of(4), ..key })
        }
    }

    fn rule(self, counters: bool) -> Rule {
        let (offset, len, behind) = match self.family {
            Family::Ipv4 => (16, 4, Register::FIRST_SECOND_WORD),
            Family::Ipv6 => (24, 16, Register::SECOND),
        };
        let mut rule = vec![
            Expression::Meta { key: Meta::L4PROTO, to: Register::FIRST },
            Expression::Equals { register: Register::FIRST, value: vec![self.transport.number()] },
            Expression::Payload { base: PayloadBase::NETWORK, offset, len, to: Register::FIRST },
            Expression::Payload { base: PayloadBase::TRANSPORT, offset: 2, len: 2, to: behind },
            Expression::Lookup { set: self.name(), register: Register::FIRST, to: Some(Register::FIRST) },
            Expression::SetMeta { key: Meta::MARK, from: Register::FIRST },
        ];
        rule.extend(counters.then_some(Expression::Counter));
        rule.push(Expression::Verdict(Verdict::Return));
        rule
    }
}

/// The ranges of addresses that have a mark, from the first to the last; they have nothing in common.
type Claimed = BTreeMap<u128, u128>;

impl Marking {
    /// The names that its tables have or may have.
    pub fn names(name: &str) -> [TableName; 2] {
        super::Firewall::names(name)
    }

    /// The tables; none for a family without targets.
    pub fn tables(&self) -> Vec<Table> {
        Self::names(&self.name).into_iter().filter_map(|name| self.table(name)).collect()
    }

    fn table(&self, name: TableName) -> Option<Table> {
        let mut claimed: BTreeMap<(Transport, Option<NonZeroU16>), Claimed> = BTreeMap::new();
        let mut maps: Vec<(Map, Set)> = Vec::new();
        for target in self.targets.iter().filter(|target| family(target.first) == name.family) {
            let map = Map::of(target);
            let place = maps.iter().position(|(known, _)| *known == map).unwrap_or_else(|| {
                maps.push((map, map.set(self.counters)));
                maps.len() - 1
            });
            let free = claim(claimed.entry((target.transport, target.port)).or_default(), target);
            if let Some((_, set)) = maps.get_mut(place) {
                set.elements.extend(free.into_iter().map(|range| element(name.family, range, target)));
            }
        }
        maps.sort_by_key(|(map, _)| (map.transport, map.every_port));
        let rules: Vec<_> = maps.iter().map(|(map, _)| map.rule(self.counters)).collect();
        let chain = Chain { name: CHAIN.into(), base: Some(base(self.priority)), rules };
        let sets: Vec<_> = maps.into_iter().map(|(_, set)| set).collect();
        (!sets.is_empty()).then(|| Table { name, flags: 0, sets, chains: vec![chain] })
    }

    /// Whether everything in a table is of the kind that a marking makes, whatever its marks are.
    pub fn may_have_made(table: &Table) -> bool {
        let maps = || Map::all(table.name.family);
        let is_map = |set: &Set| {
            let shape = Set { elements: Default::default(), ..set.clone() };
            maps().any(|map| shape == map.set(set.counters))
        };
        let is_rule = |rule: &Rule| maps().any(|map| [false, true].iter().any(|counters| *rule == map.rule(*counters)));
        let is_chain = |chain: &Chain| {
            let like = chain.base.as_ref().map(|own| base(own.priority));
            chain.name == CHAIN && like.is_some() && chain.base == like && chain.rules.iter().all(is_rule)
        };
        table.sets.iter().all(is_map) && table.chains.iter().all(is_chain)
    }
}

fn base(priority: i32) -> BaseChain {
    BaseChain { kind: "filter".into(), hook: Hook::INPUT, priority, policy: Policy::ACCEPT }
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The ranges of the target's addresses that nobody has claimed; now it has.
fn claim(claimed: &mut Claimed, target: &Target) -> Vec<(u128, u128)> {
    let (first, last) = (bits(target.first), bits(target.last));
    if last < first {
        return Vec::new();
    }
    let reaches_in = claimed.range(..first).next_back().map(|(_, end)| *end).filter(|end| *end >= first);
    // Nothing comes after the greatest address.
    let mut next = reaches_in.map_or(Some(first), |end| end.checked_add(1));
    let mut free = Vec::new();
    for (start, end) in claimed.range(first..=last) {
        free.extend(next.filter(|next| next < start).map(|next| (next, start - 1)));
        next = end.checked_add(1);
    }
    free.extend(next.filter(|next| *next <= last).map(|next| (next, last)));
    claimed.extend(free.iter().copied());
    free
}

fn element(family: Family, (first, last): (u128, u128), target: &Target) -> Element {
    let ports = target.port.map_or((0, u16::MAX), |port| (port.get(), port.get()));
    let key = |bits: u128, port: u16| {
        let octets = bits.to_be_bytes();
        let address = match family {
            Family::Ipv4 => octets.last_chunk::<4>().map(<[u8; 4]>::as_slice),
            Family::Ipv6 => Some(octets.as_slice()),
        };
        [address.unwrap_or_default(), &port.to_be_bytes(), &[0, 0]].concat()
    };
    Element {
        end: key(last, ports.1),
        data: target.mark.get().to_ne_bytes().into(),
        ..Element::new(key(first, ports.0))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::super::{Change, plan};
    use super::*;

    fn target(transport: Transport, first: &str, last: &str, port: u16, mark: u32) -> Target {
        let [first, last] = [first, last].map(|text| text.parse().unwrap());
        Target { transport, first, last, port: NonZeroU16::new(port), mark: NonZeroU32::new(mark).unwrap() }
    }

    fn marking(targets: impl IntoIterator<Item = Target>) -> Marking {
        Marking { name: "t".into(), priority: -1, counters: false, targets: targets.into_iter().collect() }
    }

    /// `192.0.2.1-192.0.2.2 80-80 1000` of each element, behind the name of its map.
    fn elements(table: &Table) -> Vec<String> {
        let text = |set: &Set, element: &Element| {
            let len = usize::try_from(set.parts[0]).unwrap();
            let address = |key: &[u8]| match len {
                4 => Ipv4Addr::from(<[u8; 4]>::try_from(&key[..4]).unwrap()).to_string(),
                _ => Ipv6Addr::from(<[u8; 16]>::try_from(&key[..16]).unwrap()).to_string(),
            };
            let port = |key: &[u8]| u16::from_be_bytes([key[len], key[len + 1]]);
            let mark = u32::from_ne_bytes(element.data.as_slice().try_into().unwrap());
            let (key, end) = (element.key.as_slice(), element.end.as_slice());
            assert_eq!((key.len(), end.len()), (len + 4, len + 4));
            format!("{} {}-{} {}-{} {mark}", set.name, address(key), address(end), port(key), port(end))
        };
        table.sets.iter().flat_map(|set| set.elements.iter().map(move |element| text(set, element))).collect()
    }

    #[test]
    fn each_family_and_protocol_has_its_map() {
        let tables = marking([
            target(Transport::Sctp, "2001:db8::1", "2001:db8::ff", 80, 1000),
            target(Transport::Udp, "192.0.2.1", "192.0.2.1", 53, 1001),
            target(Transport::Tcp, "2001:db8::1", "2001:db8::1", 53, 1001),
        ])
        .tables();
        let names: Vec<_> = tables.iter().map(|table| table.name.to_string()).collect();
        assert_eq!(names, ["ip t", "ip6 t"]);
        assert_eq!(elements(&tables[0]), ["udp_map 192.0.2.1-192.0.2.1 53-53 1001"]);
        assert_eq!(
            elements(&tables[1]),
            ["tcp_map 2001:db8::1-2001:db8::1 53-53 1001", "sctp_map 2001:db8::1-2001:db8::ff 80-80 1000"]
        );
        assert_eq!(marking([]).tables(), []);
    }

    #[test]
    fn who_comes_first_has_the_address() {
        let tcp = |first, last, mark| target(Transport::Tcp, first, last, 80, mark);
        let tables = marking([
            tcp("192.0.2.5", "192.0.2.6", 1),
            tcp("192.0.2.0", "192.0.2.9", 2),
            tcp("192.0.2.6", "192.0.2.9", 3),
            target(Transport::Udp, "192.0.2.6", "192.0.2.6", 80, 4),
            target(Transport::Tcp, "192.0.2.6", "192.0.2.6", 81, 5),
            tcp("0.0.0.0", "255.255.255.255", 6),
        ])
        .tables();
        assert_eq!(
            elements(&tables[0]),
            [
                "tcp_map 0.0.0.0-192.0.1.255 80-80 6",
                "tcp_map 192.0.2.0-192.0.2.4 80-80 2",
                "tcp_map 192.0.2.5-192.0.2.6 80-80 1",
                "tcp_map 192.0.2.6-192.0.2.6 81-81 5",
                "tcp_map 192.0.2.7-192.0.2.9 80-80 2",
                "tcp_map 192.0.2.10-255.255.255.255 80-80 6",
                "udp_map 192.0.2.6-192.0.2.6 80-80 4",
            ]
        );
    }

    #[test]
    fn a_port_comes_before_every_port() {
        let tables = marking([
            target(Transport::Tcp, "192.0.2.1", "192.0.2.9", 0, 1),
            target(Transport::Tcp, "192.0.2.1", "192.0.2.1", 80, 2),
        ])
        .tables();
        assert_eq!(
            elements(&tables[0]),
            ["tcp_map 192.0.2.1-192.0.2.1 80-80 2", "tcp_any_map 192.0.2.1-192.0.2.9 0-65535 1"]
        );
        let looked_up: Vec<_> = tables[0].chains[0].rules.iter().map(|rule| rule[4].clone()).collect();
        let lookup =
            |set: &str| Expression::Lookup { set: set.into(), register: Register::FIRST, to: Some(Register::FIRST) };
        assert_eq!(looked_up, [lookup("tcp_map"), lookup("tcp_any_map")]);
    }

    #[test]
    fn an_address_more_is_an_element_more() {
        let one = target(Transport::Tcp, "192.0.2.1", "192.0.2.1", 80, 1);
        let two = target(Transport::Tcp, "192.0.2.3", "192.0.2.4", 80, 1);
        let changes = plan(&marking([one, two]).tables(), &marking([one]).tables(), &[]);
        assert!(matches!(changes.as_slice(), [Change::AddElements { elements, .. }] if elements.len() == 1));
    }

    #[test]
    fn what_others_made_is_told_apart() {
        let one = target(Transport::Tcp, "192.0.2.1", "192.0.2.1", 80, 1);
        let own = marking([one, target(Transport::Udp, "192.0.2.1", "192.0.2.1", 0, 9)]).tables().remove(0);
        let counting = Marking { counters: true, priority: 7, ..marking([one]) }.tables().remove(0);
        assert!(Marking::may_have_made(&own) && Marking::may_have_made(&counting));
        let twice = |rule: &Rule| vec![rule.clone(), rule.clone()];
        let mut of_others = [own.clone(), own.clone(), own.clone(), own.clone()];
        of_others[0].chains.push(Chain { name: "foo".into(), base: None, rules: Vec::new() });
        of_others[1].chains[0].rules.push(vec![Expression::Counter]);
        of_others[2].sets.push(Set::new("s", DataType::MARK));
        of_others[3].chains[0].base.as_mut().unwrap().hook = Hook::OUTPUT;
        assert!(of_others.iter().all(|table| !Marking::may_have_made(table)));
        let mut again = own;
        again.chains[0].rules = twice(&again.chains[0].rules[0]);
        assert!(Marking::may_have_made(&again), "keepalived adds its rules once more at every start");
    }

    proptest! {
        #[test]
        fn every_address_has_the_first_mark_of_all_that_name_it(
            ranges in prop::collection::vec((0..40_u32, 0..10_u32, 0..3_u16), 0..12),
        ) {
            let targets: Vec<_> = ranges.iter().zip(1..).map(|(&(first, more, port), mark)| Target {
                transport: Transport::Tcp,
                first: Ipv4Addr::from_bits(first).into(),
                last: Ipv4Addr::from_bits(first + more).into(),
                port: NonZeroU16::new(port),
                mark: NonZeroU32::new(mark).unwrap(),
            }).collect();
            let tables = marking(targets.clone()).tables();
            for (address, port) in (0..60_u32).flat_map(|address| (0..3_u16).map(move |port| (address, port))) {
                let is_meant = |target: &&Target| {
                    target.port.map_or(0, NonZeroU16::get) == port
                        && (bits(target.first)..=bits(target.last)).contains(&address.into())
                };
                let expected: Vec<_> = targets.iter().find(is_meant).map(|target| target.mark.get()).into_iter().collect();
                let [low, high] = if port == 0 { [0, u16::MAX] } else { [port, port] };
                let key = |port: u16| [&address.to_be_bytes()[..], &port.to_be_bytes(), &[0, 0]].concat();
                let map = if port == 0 { "tcp_any_map" } else { "tcp_map" };
                let sets = tables.iter().flat_map(|table| &table.sets).filter(|set| set.name == map);
                let found: Vec<_> = sets
                    .flat_map(|set| &set.elements)
                    .filter(|element| {
                        let of = |end: &[u8]| end[..4].to_vec();
                        let ports = (&element.key[4..], &element.end[4..]) == (&key(low)[4..], &key(high)[4..]);
                        ports && (of(&element.key)..=of(&element.end)).contains(&address.to_be_bytes().to_vec())
                    })
                    .map(|element| u32::from_ne_bytes(element.data.as_slice().try_into().unwrap()))
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
