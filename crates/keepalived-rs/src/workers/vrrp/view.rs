//! What the kernel has, as far as it told: links and addresses. Pure; dumps and events come in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vip_netlink::{Address, AddressFlags, AddressKey, Event, Link, LinkIndex, LinkName};
use vrrp_proto::{Family, LinkFacts};

/// Links and addresses of this network namespace.
#[derive(Debug, Default)]
pub(crate) struct View {
    links: BTreeMap<LinkIndex, Link>,
    names: BTreeMap<LinkName, LinkIndex>,
    addresses: BTreeMap<AddressKey, Seen>,
    count: u64,
}

/// An address and its place in the order in which addresses came.
#[derive(Debug)]
struct Seen {
    order: u64,
    address: Address,
}

impl View {
    /// What two dumps say.
    pub(crate) fn new(links: Vec<Link>, addresses: Vec<Address>) -> Self {
        let mut view = Self::default();
        for link in links {
            view.see_link(link);
        }
        for address in addresses {
            view.see(address);
        }
        view
    }

    /// What changed since. An overflow says nothing about what: dump again.
    pub(crate) fn update(&mut self, event: Event) {
        match event {
            Event::Link(link) => self.see_link(link),
            Event::LinkRemoved(link) => {
                self.forget_link(link.index);
                self.addresses.retain(|key, _| key.link != link.index);
            }
            Event::Address(address) => self.see(address),
            Event::AddressRemoved(address) => {
                self.addresses.remove(&address.key());
            }
            _ => {}
        }
    }

    fn see_link(&mut self, link: Link) {
        self.forget_link(link.index);
        self.names.insert(link.name, link.index);
        self.links.insert(link.index, link);
    }

    fn forget_link(&mut self, index: LinkIndex) {
        if let Some(link) = self.links.remove(&index)
            && self.names.get(&link.name) == Some(&index)
        {
            self.names.remove(&link.name);
        }
    }

    fn see(&mut self, address: Address) {
        let order = self.count;
        self.count += 1;
        let seen = self.addresses.entry(address.key()).or_insert(Seen { order, address });
        seen.address = address;
    }

    /// The link of that name.
    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        let index = self.names.get(&LinkName::try_from(name).ok()?)?;
        self.links.get(index)
    }

    /// The link with that number.
    pub(crate) fn link_by_index(&self, index: LinkIndex) -> Option<&Link> {
        self.links.get(&index)
    }

    /// Whether the address is there.
    pub(crate) fn has(&self, key: &AddressKey) -> bool {
        self.addresses.contains_key(key)
    }

    /// Every address that is there.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = AddressKey> {
        self.addresses.keys().copied()
    }

    /// What routers need to know of the link with that name; `None` if there is none. Without multicast, where it is
    /// needed, a link is as good as down.
    pub(crate) fn facts(&self, name: &str, multicast: bool, virtual_ones: &BTreeSet<IpAddr>) -> Option<LinkFacts> {
        let link = self.link(name)?;
        let source = |family| self.sources(link.index, family, virtual_ones).first().copied();
        let up = self.is_up(link) && (link.has_multicast() || !multicast);
        let ipv4_source = match source(Family::Ipv4) {
            Some(IpAddr::V4(ip)) => Some(ip),
            _ => None,
        };
        let ipv6_source = match source(Family::Ipv6) {
            Some(IpAddr::V6(ip)) => Some(ip),
            _ => None,
        };
        Some(LinkFacts { up, multicast: link.has_multicast(), ipv4_source, ipv6_source })
    }

    /// As [`facts`](Self::facts), with the addresses of another link: adverts on a macvlan come from those of the link
    /// below (`behaviour.md` §3.2).
    pub(crate) fn facts_with_source(
        &self,
        name: &str,
        source: &str,
        multicast: bool,
        virtual_ones: &BTreeSet<IpAddr>,
    ) -> Option<LinkFacts> {
        let facts = self.facts(name, multicast, virtual_ones)?;
        if source == name {
            return Some(facts);
        }
        let below = self.facts(source, false, virtual_ones)?;
        Some(LinkFacts { ipv4_source: below.ipv4_source, ipv6_source: below.ipv6_source, ..facts })
    }

    /// Every link.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// A macvlan or ipvlan is up only if the link below is.
    fn is_up(&self, link: &Link) -> bool {
        let below = link.parent.filter(|_| link.virtual_kind.is_some());
        let parent = below.and_then(|parent| self.links.get(&parent));
        link.is_up() && parent.is_none_or(Link::is_up)
    }

    /// The addresses of `family` on a link that adverts may come from, the primary one first: for IPv4 all but virtual
    /// ones, for IPv6 the link-local ones (`behaviour.md` §3.2).
    pub(crate) fn sources(&self, link: LinkIndex, family: Family, virtual_ones: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        let mut found: Vec<&Seen> = self
            .addresses
            .values()
            .filter(|seen| seen.address.link == link && usable(&seen.address, family))
            .filter(|seen| !virtual_ones.contains(&seen.address.ip))
            .collect();
        found.sort_by_key(|seen| (seen.address.flags.contains(AddressFlags::SECONDARY), seen.order));
        found.into_iter().map(|seen| seen.address.ip).collect()
    }
}

fn usable(address: &Address, family: Family) -> bool {
    match (address.ip, family) {
        (IpAddr::V4(_), Family::Ipv4) => true,
        (IpAddr::V6(ip), Family::Ipv6) => {
            ip.is_unicast_link_local() && !address.flags.contains(AddressFlags::DADFAILED)
        }
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use vip_netlink::{LinkFlags, OperState};

    use super::*;

    /// A link that is up.
    pub(crate) fn link(index: LinkIndex, name: &str) -> Link {
        Link {
            index,
            name: LinkName::try_from(name).unwrap(),
            flags: LinkFlags::UP | LinkFlags::RUNNING | LinkFlags::MULTICAST,
            oper_state: OperState::UP,
            mac: None,
            mtu: 1500,
            kind: None,
            parent: None,
            master: None,
            virtual_kind: None,
            group: 0,
            address_generation: None,
            ipv4: vip_netlink::Ipv4Conf::default(),
        }
    }

    fn index() -> LinkIndex {
        LinkIndex::new(2).unwrap()
    }

    fn address(text: &str) -> Address {
        Address::new(index(), text.parse().unwrap(), 24)
    }

    fn sources(view: &View, family: Family, virtual_ones: &[&str]) -> Vec<String> {
        let virtual_ones = virtual_ones.iter().map(|text| text.parse().unwrap()).collect();
        view.sources(index(), family, &virtual_ones).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_own_address_is_the_source() {
        let secondary = Address { flags: AddressFlags::SECONDARY, ..address("192.0.2.9") };
        let view = View::new(vec![], vec![secondary, address("192.0.2.200"), address("192.0.2.7"), address("fe80::1")]);
        assert_eq!(sources(&view, Family::Ipv4, &["192.0.2.200"]), ["192.0.2.7", "192.0.2.9"]);
    }

    #[test]
    fn a_name_that_another_link_took_over_stays_its_own() {
        let (first, second) = (index(), LinkIndex::new(3).unwrap());
        let mut view = View::new(vec![link(first, "eth0")], vec![]);
        view.update(Event::Link(link(second, "eth0")));
        view.update(Event::Link(link(first, "old0")));
        assert_eq!(view.link("eth0").map(|link| link.index), Some(second));
        assert_eq!(view.link("old0").map(|link| link.index), Some(first));
    }

    #[test]
    fn ipv6_adverts_come_from_link_local_addresses() {
        let view = View::new(vec![], vec![address("2001:db8::1"), address("fe80::2"), address("fe80::1")]);
        assert_eq!(sources(&view, Family::Ipv6, &["fe80::2"]), ["fe80::1"]);
    }

    #[test]
    fn an_address_that_changes_keeps_its_place() {
        let mut view = View::new(vec![], vec![address("192.0.2.1"), address("192.0.2.2")]);
        view.update(Event::Address(address("192.0.2.1")));
        assert_eq!(sources(&view, Family::Ipv4, &[]), ["192.0.2.1", "192.0.2.2"]);
        view.update(Event::AddressRemoved(address("192.0.2.1")));
        view.update(Event::Address(address("192.0.2.1")));
        assert_eq!(sources(&view, Family::Ipv4, &[]), ["192.0.2.2", "192.0.2.1"]);
        assert!(view.has(&address("192.0.2.1").key()));
    }
}
