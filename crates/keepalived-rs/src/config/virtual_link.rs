//! The macvlans and ipvlans that instances run on or put addresses on, and what they are called
//! (`behaviour.md` §3.11).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use conf_parser::config as file;
use serde::{Deserialize, Serialize};

/// A macvlan or ipvlan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VirtualLink {
    /// Its name.
    pub(crate) name: String,
    /// The first instance that needs it.
    pub(crate) instance: String,
    /// The interface below.
    pub(crate) parent: String,
    /// What sort of link it is.
    pub(crate) kind: Kind,
    /// Its group of links; that of the interface below where absent.
    pub(crate) group: Option<Group>,
    /// The kernel is made to tell of the interface below when it is made.
    pub(crate) notify: bool,
    /// For the addresses or adverts of an IPv4 virtual router.
    pub(crate) ipv4: bool,
    /// For those of an IPv6 one.
    pub(crate) ipv6: bool,
    /// May do IPv6 even if it is for IPv4 alone.
    pub(crate) keeps_ipv6: bool,
}

/// What sort of link it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// `use_vmac`: with a MAC address of its own.
    Macvlan {
        /// The MAC address.
        mac: [u8; 6],
    },
    /// `use_ipvlan`.
    Ipvlan {
        /// How it reaches others on the same interface.
        mode: IpvlanMode,
        /// The address that is put on it.
        address: Option<(IpAddr, u8)>,
    },
}

/// How ipvlans on one interface reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum IpvlanMode {
    /// Directly.
    Bridge,
    /// Not at all.
    Private,
    /// Through the next switch.
    Vepa,
}

/// A group of links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Group {
    /// Its number.
    Number(u32),
    /// Its name in the host's list of groups.
    Name(String),
}

/// Where an instance runs and where its addresses go by default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home<'a> {
    /// The instance.
    pub(crate) instance: &'a file::VrrpInstance,
    /// Its interface, or the one for addresses of an instance that has none.
    pub(crate) interface: &'a str,
    /// The macvlan of the instance itself. An ipvlan carries adverts only.
    pub(crate) own: Option<&'a str>,
}

/// What a link is for, whatever its name: the instance, the interface below, what sort it is.
type Identity = (String, String, Kind);

/// All virtual links of a configuration.
#[derive(Debug, Default)]
pub(crate) struct VirtualLinks {
    /// Names that nothing may be given.
    taken: BTreeSet<String>,
    /// The names of links that the running configuration has too.
    kept: BTreeMap<Identity, String>,
    prefix: String,
    address_prefix: String,
    /// By name.
    links: BTreeMap<String, VirtualLink>,
    /// Those that only hold addresses, by instance, interface below and MAC address.
    for_addresses: BTreeMap<(String, String, [u8; 6]), String>,
}

impl VirtualLinks {
    /// None yet; the names that the file itself gives to interfaces are taken.
    pub(crate) fn new(config: &file::Config) -> Self {
        let names = config.vrrp_instances.iter().flat_map(|instance| {
            let vmac = instance.vmac.as_ref().and_then(|vmac| vmac.name.as_ref());
            let ipvlan = instance.ipvlan.as_ref().and_then(|ipvlan| ipvlan.name.as_ref());
            vmac.into_iter().chain(ipvlan).chain(&instance.interface)
        });
        Self {
            taken: names.map(|name| name.value.clone()).collect(),
            prefix: config.global.vrrp.vmac_prefix.clone(),
            address_prefix: config.global.vrrp.vmac_addr_prefix.clone(),
            ..Self::default()
        }
    }

    /// Those of a configuration that follows another one, whose links are `running`: who is in both keeps the name that it
    /// has, wherever it stands in the file now. `fresh` has the links as they are when nothing is running.
    pub(crate) fn following(
        config: &file::Config,
        running: &BTreeMap<String, VirtualLink>,
        fresh: &BTreeMap<String, VirtualLink>,
    ) -> Self {
        let mut links = Self::new(config);
        let stays: BTreeSet<_> = fresh.values().map(VirtualLink::identity).collect();
        let kept = running.values().map(|link| (link.identity(), link.name.clone()));
        links.kept = kept.filter(|(link, name)| stays.contains(link) && !links.taken.contains(name)).collect();
        links
    }

    /// Every link that was asked for, by name.
    pub(crate) fn into_links(self) -> BTreeMap<String, VirtualLink> {
        self.links
    }

    /// The name of the link of `instance` itself; `None` if it runs on its interface.
    pub(crate) fn of_instance(&mut self, instance: &file::VrrpInstance) -> Option<String> {
        let parent = instance.interface.as_ref()?.value.clone();
        let family = instance.family;
        let (name, kind, group, notify) = if let Some(vmac) = &instance.vmac {
            let kind = Kind::Macvlan { mac: mac(instance, family) };
            (vmac.name.as_ref(), kind, &vmac.group, vmac.netlink_notify)
        } else {
            let ipvlan = instance.ipvlan.as_ref()?;
            (ipvlan.name.as_ref(), Kind::ipvlan(ipvlan), &ipvlan.group, false)
        };
        let name = match name {
            Some(name) => name.value.clone(),
            None => self.name(&self.prefix.clone(), instance, family, (&parent, &kind)),
        };
        let group = group.as_ref().map(|group| match group {
            file::LinkGroup::Number(number) => Group::Number(*number),
            file::LinkGroup::Name(name) => Group::Name(name.clone()),
        });
        let six = instance.excluded_addresses.iter().any(|address| address.address.value.is_ipv6());
        let keeps_ipv6 = six || matches!(kind, Kind::Ipvlan { .. });
        self.add(VirtualLink {
            name: name.clone(),
            instance: instance.name.value.clone(),
            parent,
            kind,
            group,
            notify,
            ipv4: family == file::Family::Ipv4,
            ipv6: family == file::Family::Ipv6,
            keeps_ipv6,
        });
        Some(name)
    }

    /// The interface that `address` of an instance goes to.
    pub(crate) fn of_address(&mut self, home: Home<'_>, address: &file::VirtualAddress) -> String {
        let Home { instance, interface, own } = home;
        let family = file::Family::of(address.address.value);
        let device = address.dev.as_ref().map_or(interface, |dev| dev.value.as_str());
        let at_home = device == interface && family == instance.family;
        if let Some(own) = own.filter(|_| at_home) {
            return own.to_owned();
        }
        if !address.options().use_vmac && (at_home || !instance.use_vmac_addr) {
            return device.to_owned();
        }
        let mac = mac(instance, family);
        let place = (instance.name.value.clone(), device.to_owned(), mac);
        if let Some(name) = self.for_addresses.get(&place) {
            return name.clone();
        }
        let name = self.name(&self.address_prefix.clone(), instance, family, (device, &Kind::Macvlan { mac }));
        self.for_addresses.insert(place, name.clone());
        self.add(VirtualLink {
            name: name.clone(),
            instance: instance.name.value.clone(),
            parent: device.to_owned(),
            kind: Kind::Macvlan { mac },
            group: None,
            notify: false,
            ipv4: family == file::Family::Ipv4,
            ipv6: family == file::Family::Ipv6,
            keeps_ipv6: false,
        });
        name
    }

    /// Two instances of different families may share one.
    fn add(&mut self, link: VirtualLink) {
        let (ipv4, ipv6, keeps_ipv6) = (link.ipv4, link.ipv6, link.keeps_ipv6);
        let known = self.links.entry(link.name.clone()).or_insert(link);
        known.ipv4 |= ipv4;
        known.ipv6 |= ipv6;
        known.keeps_ipv6 |= keeps_ipv6;
    }

    /// That of the same link of the running configuration, as long as `prefix` is the same, or one that is free.
    fn name(
        &mut self,
        prefix: &str,
        instance: &file::VrrpInstance,
        family: file::Family,
        (parent, kind): (&str, &Kind),
    ) -> String {
        let identity = (instance.name.value.clone(), parent.to_owned(), kind.clone());
        let end = format!(".{}", instance.virtual_router_id.value.0);
        match self.kept.get(&identity).filter(|name| is_made_of(name, prefix, &end)).cloned() {
            Some(name) if self.taken.insert(name.clone()) => name,
            _ => self.free_name(prefix, instance, family),
        }
    }

    /// `vrrp.51`; where that is taken, `vrrp6.51` for IPv6, then `vrrp1.51`, `vrrp2.51` and so on. Of a long prefix only as
    /// much counts as fits.
    fn free_name(&mut self, prefix: &str, instance: &file::VrrpInstance, family: file::Family) -> String {
        let vrid = instance.virtual_router_id.value.0;
        let six = (family == file::Family::Ipv6).then(|| fit(prefix, &format!("6.{vrid}")));
        let numbered = (1..).map(|number: u32| fit(prefix, &format!("{number}.{vrid}")));
        let mut names = [fit(prefix, &format!(".{vrid}"))].into_iter().chain(six).chain(numbered);
        let kept: BTreeSet<_> = self.kept.values().collect();
        let is_free = |name: &String| !self.taken.contains(name) && !kept.contains(name);
        let name = names.find(is_free).expect("there are more numbers than links");
        self.taken.insert(name.clone());
        name
    }
}

/// The longest name that an interface can have, in octets.
const LONGEST_NAME: usize = 15;

/// As much of `prefix` as fits into a name that ends with `end`.
fn fit(prefix: &str, end: &str) -> String {
    let room = prefix.floor_char_boundary(LONGEST_NAME.saturating_sub(end.len()));
    let (prefix, _) = prefix.split_at(room);
    format!("{prefix}{end}")
}

/// Whether a name is `prefix`, a number or none, and `end`.
fn is_made_of(name: &str, prefix: &str, end: &str) -> bool {
    let start = name.strip_suffix(end).unwrap_or_default();
    let places = start.char_indices().map(|(place, _)| place).chain([start.len()]);
    let mut numbers = places.map(|place| start.split_at(place).1).filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    numbers.any(|number| fit(prefix, &format!("{number}{end}")) == name)
}

impl VirtualLink {
    fn identity(&self) -> Identity {
        (self.instance.clone(), self.parent.clone(), self.kind.clone())
    }
}

impl Kind {
    fn ipvlan(ipvlan: &file::Ipvlan) -> Self {
        let mode = match ipvlan.mode {
            file::IpvlanMode::Bridge => IpvlanMode::Bridge,
            file::IpvlanMode::Private => IpvlanMode::Private,
            file::IpvlanMode::Vepa => IpvlanMode::Vepa,
        };
        let address = ipvlan.address.as_ref().map(|address| {
            let whole = file::Family::of(address.value).bits();
            (address.value, ipvlan.prefix_len.unwrap_or(whole))
        });
        Self::Ipvlan { mode, address }
    }
}

/// The virtual router MAC address (RFC 9568 §7.3) unless the instance has one of its own for its family.
fn mac(instance: &file::VrrpInstance, family: file::Family) -> [u8; 6] {
    let own = instance.vmac.as_ref().and_then(|vmac| vmac.address).filter(|_| family == instance.family);
    let space = match family {
        file::Family::Ipv4 => 1,
        file::Family::Ipv6 => 2,
    };
    own.map_or([0, 0, 0x5e, 0, space, instance.virtual_router_id.value.0.get()], |own| own.0)
}

#[cfg(test)]
mod tests {
    use crate::config::vrrp::VrrpPart;
    use crate::config::vrrp::tests::{config, part};

    /// One line for each link, and one for each address.
    fn in_words(text: &str) -> String {
        let VrrpPart { virtual_links, instances, .. } = part(text);
        let links = virtual_links.values().map(|link| {
            let families = [(link.ipv4, " ipv4"), (link.ipv6, " ipv6"), (link.keeps_ipv6, " keeps-ipv6")];
            let families: String = families.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect();
            format!("{} on {}{families} {:x?}\n", link.name, link.parent, link.kind)
        });
        let addresses = instances.iter().flat_map(|instance| {
            let line = |address: &crate::config::vrrp::HeldAddress| {
                format!("({}) {} dev {}\n", instance.name, address.ip, address.device)
            };
            instance.addresses.iter().map(line)
        });
        links.chain(addresses).collect()
    }

    fn instance(name: &str, body: &str) -> String {
        format!("vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id 51\n{body}\n}}\n")
    }

    #[test]
    fn two_families_of_one_router_have_two_links() {
        let text = instance("A", "use_vmac\nvirtual_ipaddress { 192.0.2.1 }")
            + &instance("B", "use_vmac\nvirtual_ipaddress { fe80::1 }");
        insta::assert_snapshot!(in_words(&text), @"
        vrrp.51 on eth0 ipv4 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        vrrp6.51 on eth0 ipv6 Macvlan { mac: [0, 0, 5e, 0, 2, 33] }
        (A) 192.0.2.1 dev vrrp.51
        (B) fe80::1 dev vrrp6.51
        ");
    }

    #[test]
    fn two_families_may_share_a_link() {
        let text = instance("A", "use_vmac shared\nvirtual_ipaddress { 192.0.2.1 }")
            + &instance("B", "use_vmac shared\nvirtual_ipaddress { fe80::1 }");
        insta::assert_snapshot!(in_words(&text), @"
        shared on eth0 ipv4 ipv6 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        (A) 192.0.2.1 dev shared
        (B) fe80::1 dev shared
        ");
    }

    #[test]
    fn names_that_are_taken_are_numbered() {
        let other = |name: &str, interface: &str| {
            instance(name, "use_vmac\nvirtual_ipaddress { 192.0.2.1 }").replace("eth0", interface)
        };
        let six = instance("D", "use_vmac\nvirtual_ipaddress { fe80::1 }").replace("eth0", "eth1");
        let text = other("A", "eth0") + &other("B", "eth1") + &other("C", "eth2") + &six;
        insta::assert_snapshot!(in_words(&text), @"
        vrrp.51 on eth0 ipv4 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        vrrp1.51 on eth1 ipv4 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        vrrp2.51 on eth2 ipv4 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        vrrp6.51 on eth1 ipv6 Macvlan { mac: [0, 0, 5e, 0, 2, 33] }
        (A) 192.0.2.1 dev vrrp.51
        (B) 192.0.2.1 dev vrrp1.51
        (C) 192.0.2.1 dev vrrp2.51
        (D) fe80::1 dev vrrp6.51
        ");
    }

    /// As Debian's keepalived names them.
    #[test]
    fn a_prefix_that_is_too_long_is_cut() {
        let on = |name: &str, interface: &str, vrid: &str, ip: &str| {
            let text = instance(name, &format!("use_vmac\nvirtual_ipaddress {{ {ip} }}"));
            text.replace("eth0", interface).replace("51", vrid)
        };
        for prefix in ["abcdefghijklm", "abcdefghijklmnopqrstu"] {
            let text = format!("global_defs {{\nvmac_prefix {prefix}\n}}\n")
                + &on("A", "eth0", "51", "192.0.2.1")
                + &on("B", "eth1", "51", "192.0.2.2")
                + &on("C", "eth0", "5", "192.0.2.3")
                + &on("D", "eth1", "51", "fe80::1");
            let names: Vec<_> = part(&text).virtual_links.into_keys().collect();
            assert_eq!(names, ["abcdefghijk1.51", "abcdefghijk6.51", "abcdefghijkl.51", "abcdefghijklm.5"]);
        }
        assert_eq!(super::fit("ääääääää", ".51"), "ääääää.51");
    }

    /// The names of the links of the instances.
    fn names(part: &VrrpPart) -> Vec<String> {
        part.virtual_links.values().map(|link| format!("{} {}", link.instance, link.name)).collect()
    }

    #[test]
    fn a_reload_leaves_every_link_its_name() {
        let on = |name: &str, interface: &str| {
            instance(name, "use_vmac\nvirtual_ipaddress { 192.0.2.1 }").replace("eth0", interface)
        };
        let (a, b, c) = (on("A", "eth0"), on("B", "eth1"), on("C", "eth2"));
        let follow = |text: &str, running: &VrrpPart| VrrpPart::following(&config(text), running);
        let running = part(&a);
        let both = follow(&(b.clone() + &a), &running);
        assert_eq!(names(&both), ["A vrrp.51", "B vrrp1.51"]);
        // Who is gone leaves the name to others.
        assert_eq!(names(&follow(&(c.clone() + &b), &both)), ["C vrrp.51", "B vrrp1.51"]);
        let prefix = "global_defs {\nvmac_prefix vm\n}\n".to_owned();
        assert_eq!(names(&follow(&(prefix + &b + &a), &both)), ["B vm.51", "A vm1.51"]);
        let named = c.replace("use_vmac", "use_vmac vrrp1.51");
        assert_eq!(names(&follow(&(named + &b + &a), &both)), ["A vrrp.51", "C vrrp1.51", "B vrrp2.51"]);
        assert_eq!(names(&follow(&a.replace("51", "52"), &both)), ["A vrrp.52"]);
    }

    #[test]
    fn addresses_on_other_interfaces_may_have_links_of_their_own() {
        let addresses = "virtual_ipaddress {\n192.0.2.1\n192.0.2.2 dev eth0\n198.51.100.1 dev eth1\n}\n\
                         virtual_ipaddress_excluded {\n2001:db8::1\n198.51.100.2 dev eth1\n2001:db8:1::1 dev eth1\n}";
        let prefixes = "global_defs {\nvmac_prefix vm\nvmac_addr_prefix va\n}\n";
        let text = prefixes.to_owned() + &instance("A", &format!("use_vmac\nuse_vmac_addr\n{addresses}"));
        insta::assert_snapshot!(in_words(&text), @"
        va.51 on eth1 ipv4 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        va1.51 on eth1 ipv6 Macvlan { mac: [0, 0, 5e, 0, 2, 33] }
        va6.51 on eth0 ipv6 Macvlan { mac: [0, 0, 5e, 0, 2, 33] }
        vm.51 on eth0 ipv4 keeps-ipv6 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        (A) 192.0.2.1 dev vm.51
        (A) 192.0.2.2 dev vm.51
        (A) 198.51.100.1 dev va.51
        (A) 2001:db8::1 dev va6.51
        (A) 198.51.100.2 dev va.51
        (A) 2001:db8:1::1 dev va1.51
        ");
        insta::assert_snapshot!(in_words(&instance("A", &format!("use_vmac\n{addresses}"))), @"
        vrrp.51 on eth0 ipv4 keeps-ipv6 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        (A) 192.0.2.1 dev vrrp.51
        (A) 192.0.2.2 dev vrrp.51
        (A) 198.51.100.1 dev eth1
        (A) 2001:db8::1 dev eth0
        (A) 198.51.100.2 dev eth1
        (A) 2001:db8:1::1 dev eth1
        ");
        insta::assert_snapshot!(in_words(&instance("A", &format!("use_vmac_addr\n{addresses}"))), @"
        vrrp.51 on eth1 ipv4 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        vrrp1.51 on eth1 ipv6 Macvlan { mac: [0, 0, 5e, 0, 2, 33] }
        vrrp6.51 on eth0 ipv6 Macvlan { mac: [0, 0, 5e, 0, 2, 33] }
        (A) 192.0.2.1 dev eth0
        (A) 192.0.2.2 dev eth0
        (A) 198.51.100.1 dev vrrp.51
        (A) 2001:db8::1 dev vrrp6.51
        (A) 198.51.100.2 dev vrrp.51
        (A) 2001:db8:1::1 dev vrrp1.51
        ");
        let each = addresses.replace("198.51.100.1 dev eth1", "198.51.100.1 dev eth1 use_vmac");
        insta::assert_snapshot!(in_words(&instance("A", &each)), @"
        vrrp.51 on eth1 ipv4 Macvlan { mac: [0, 0, 5e, 0, 1, 33] }
        (A) 192.0.2.1 dev eth0
        (A) 192.0.2.2 dev eth0
        (A) 198.51.100.1 dev vrrp.51
        (A) 2001:db8::1 dev eth0
        (A) 198.51.100.2 dev eth1
        (A) 2001:db8:1::1 dev eth1
        ");
    }

    #[test]
    fn an_own_mac_address_and_an_ipvlan() {
        let text = instance("A", "use_vmac 02:00:00:00:01\nvirtual_ipaddress {\n192.0.2.1\n}");
        insta::assert_snapshot!(in_words(&text), @"
        vrrp.51 on eth0 ipv4 Macvlan { mac: [2, 0, 0, 0, 1, 33] }
        (A) 192.0.2.1 dev vrrp.51
        ");
        let text = instance("A", "use_ipvlan ipv0 192.0.2.9/24 vepa\nvirtual_ipaddress {\n192.0.2.1\n}");
        insta::assert_snapshot!(in_words(&text), @"
        ipv0 on eth0 ipv4 keeps-ipv6 Ipvlan { mode: Vepa, address: Some((192.0.2.9, 18)) }
        (A) 192.0.2.1 dev eth0
        ");
    }
}
