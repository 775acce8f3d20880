//! What the kernel has, as far as it told: links and addresses. Pure; dumps and events come in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vip_netlink::{Address, AddressFlags, AddressKey, Event, Link, LinkFlags, LinkIndex, LinkName};
use vrrp_proto::{Family, LinkFacts};

/// Links and addresses of this network namespace.
#[derive(Debug, Default)]
pub(crate) struct View {
    links: BTreeMap<LinkIndex, Link>,
    names: BTreeMap<LinkName, LinkIndex>,
    addresses: BTreeMap<AddressKey, Seen>,
    /// Links whose carrier is asked for, not told.
    carriers: BTreeMap<LinkName, bool>,
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

    /// Whether a link that was known by another name is now called as `link`.
    pub(crate) fn renames(&self, link: &Link) -> bool {
        self.links.get(&link.index).is_some_and(|before| before.name != link.name)
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

    /// The name of the link below the macvlan or ipvlan of that name.
    pub(crate) fn below(&self, name: &str) -> Option<String> {
        let parent = self.link(name).filter(|link| shares_parent(link))?.parent?;
        Some(self.links.get(&parent)?.name.to_string())
    }

    /// Every link that is there.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The VRF that a link belongs to.
    pub(crate) fn vrf(&self, index: LinkIndex) -> Option<LinkIndex> {
        let master = self.links.get(&index)?.master?;
        self.links.get(&master).filter(|link| link.kind.as_deref() == Some("vrf")).map(|link| link.index)
    }

    /// Macvlans and ipvlans, and the link below each.
    pub(crate) fn stacked(&self) -> BTreeMap<LinkIndex, LinkIndex> {
        let stacked = self.links.values().filter(|link| shares_parent(link));
        stacked.filter_map(|link| Some((link.index, link.parent?))).collect()
    }

    /// Whether an address is there just as it says, but for its lifetimes.
    pub(crate) fn knows(&self, address: &Address) -> bool {
        let known = self.addresses.get(&address.key()).map(|seen| seen.address);
        known.is_some_and(|known| Address { preferred: address.preferred, valid: address.valid, ..known } == *address)
    }

    /// Whether the address is there.
    pub(crate) fn has(&self, key: &AddressKey) -> bool {
        self.addresses.contains_key(key)
    }

    /// Every address that is there.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = AddressKey> {
        self.addresses.keys().copied()
    }

    /// What routers need to know of the link with that name; `None` if there is none. Where they depend on a certain
    /// `address`, that is their source, or nothing is.
    pub(crate) fn facts(
        &self,
        name: &str,
        address: Option<IpAddr>,
        virtual_ones: &BTreeSet<IpAddr>,
    ) -> Option<LinkFacts> {
        let link = self.link(name)?;
        let source = |family| match address {
            Some(address) => self.has_address(link.index, address).then_some(address),
            None => self.sources(link.index, family, virtual_ones).first().copied(),
        };
        let up = self.is_up(link);
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
        address: Option<IpAddr>,
        virtual_ones: &BTreeSet<IpAddr>,
    ) -> Option<LinkFacts> {
        if source == name {
            return self.facts(name, address, virtual_ones);
        }
        let facts = self.facts(name, None, virtual_ones)?;
        let below = self.facts(source, address, virtual_ones)?;
        Some(LinkFacts { ipv4_source: below.ipv4_source, ipv6_source: below.ipv6_source, ..facts })
    }

    /// Whether an address of the host, which is not one that may yet prove to be somebody else's, is on a link.
    fn has_address(&self, link: LinkIndex, ip: IpAddr) -> bool {
        self.addresses.values().any(|seen| seen.address.link == link && seen.address.ip == ip && settled(&seen.address))
    }

    /// These links are as they say here, if they are administratively up, whatever the kernel reports.
    pub(crate) fn set_carriers<'a>(&mut self, carriers: impl Iterator<Item = (&'a str, bool)>) {
        self.carriers = carriers.filter_map(|(name, carrier)| Some((name.parse().ok()?, carrier))).collect();
    }

    fn has_carrier(&self, link: &Link) -> bool {
        let polled = self.carriers.get(&link.name);
        polled.map_or_else(|| link.is_up(), |carrier| *carrier && link.flags.contains(LinkFlags::UP))
    }

    /// A macvlan or ipvlan is up only if the link below is.
    fn is_up(&self, link: &Link) -> bool {
        let below = link.parent.filter(|_| link.virtual_kind.is_some());
        let parent = below.and_then(|parent| self.links.get(&parent));
        self.has_carrier(link) && parent.is_none_or(|parent| self.has_carrier(parent))
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

/// Whether a link is another face of the one below it.
fn shares_parent(link: &Link) -> bool {
    matches!(link.kind.as_deref(), Some("macvlan" | "ipvlan"))
}

fn usable(address: &Address, family: Family) -> bool {
    match (address.ip, family) {
        (IpAddr::V4(_), Family::Ipv4) => true,
        (IpAddr::V6(ip), Family::Ipv6) => ip.is_unicast_link_local() && settled(address),
        _ => false,
    }
}

/// Whether duplicate address detection (RFC 4862 §5.4) is over and well, or lets the address be used meanwhile.
fn settled(address: &Address) -> bool {
    let flags = address.flags;
    let waits = flags.contains(AddressFlags::TENTATIVE) && !flags.contains(AddressFlags::OPTIMISTIC);
    !waits && !flags.contains(AddressFlags::DADFAILED)
}

#[cfg(test)]
pub(crate) mod tests {
    use vip_netlink::OperState;

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
            vrf_table: None,
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
    fn an_address_that_may_be_somebody_elses_is_no_source() {
        let flagged = |flags| Address { flags, ..address("fe80::1") };
        for (flags, usable) in [
            (AddressFlags::TENTATIVE, false),
            (AddressFlags::TENTATIVE | AddressFlags::OPTIMISTIC, true),
            (AddressFlags::DADFAILED, false),
            (AddressFlags::DEPRECATED, true),
        ] {
            let view = View::new(vec![link(index(), "eth0")], vec![flagged(flags)]);
            assert_eq!(sources(&view, Family::Ipv6, &[]).is_empty(), !usable, "{flags:?}");
            let tracked = view.facts("eth0", Some(address("fe80::1").ip), &BTreeSet::new()).unwrap();
            assert_eq!(tracked.ipv6_source.is_some(), usable, "{flags:?}");
        }
    }

    #[test]
    fn where_a_certain_address_is_needed_no_other_is_a_source() {
        let view = View::new(vec![link(index(), "eth0")], vec![address("192.0.2.1"), address("192.0.2.2")]);
        let source = |needed: &str| {
            view.facts("eth0", Some(needed.parse().unwrap()), &BTreeSet::new()).unwrap().source(Family::Ipv4)
        };
        assert_eq!(source("192.0.2.2"), Some([192, 0, 2, 2].into()));
        assert_eq!(source("192.0.2.3"), None);
    }

    #[test]
    fn a_link_that_is_polled_is_as_it_says() {
        let mut view = View::new(vec![link(index(), "eth0")], vec![]);
        let up = |view: &View| view.facts("eth0", None, &BTreeSet::new()).unwrap().up;
        assert!(up(&view));
        view.set_carriers([("eth0", false)].into_iter());
        assert!(!up(&view));
        let dormant = Link { flags: LinkFlags::UP | LinkFlags::MULTICAST, ..link(index(), "eth0") };
        view.update(Event::Link(dormant.clone()));
        view.set_carriers([("eth0", true)].into_iter());
        assert!(up(&view));
        view.update(Event::Link(Link { flags: LinkFlags::MULTICAST, ..dormant }));
        assert!(!up(&view), "somebody took it down");
    }

    #[test]
    fn another_name_for_the_same_link_is_noticed() {
        let view = View::new(vec![link(index(), "eth0")], vec![]);
        assert!(view.renames(&link(index(), "old0")));
        assert!(!view.renames(&link(index(), "eth0")));
        assert!(!view.renames(&link(LinkIndex::new(3).unwrap(), "old0")));
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
