use crate::{
    plan::{Present, Wanted, plan},
    types::{
        AddressGeneration, Ipv4Conf, Ipv4Setting, IpvlanFlags, IpvlanMode, Link, LinkFlags, LinkIndex, LinkName,
        MacAddr, MacvlanMode, OperState, VirtualKind, VirtualLink,
    },
};

const MACVLAN: VirtualKind = VirtualKind::Macvlan { mode: MacvlanMode::PRIVATE };

fn eth(index: u32) -> LinkIndex {
    LinkIndex::new(index).unwrap()
}

fn name(name: &str) -> LinkName {
    name.parse().unwrap()
}

/// That of virtual router 51.
fn vmac() -> VirtualLink {
    VirtualLink {
        name: name("vrrp.51"),
        parent: eth(2),
        kind: MACVLAN,
        mac: Some(MacAddr([0, 0, 0x5e, 0, 1, 51])),
        group: 0,
        master: None,
        address_generation: Some(AddressGeneration::NONE),
        ipv4: Ipv4Conf::default().with(Ipv4Setting::ArpIgnore, 1).with(Ipv4Setting::AcceptLocal, 1),
    }
}

/// The link that `made` is once it is as wanted.
fn there(made: &VirtualLink) -> Link {
    Link {
        index: eth(7),
        name: made.name,
        flags: LinkFlags::UP,
        oper_state: OperState::UP,
        mac: made.mac,
        mtu: 1500,
        kind: Some(made.kind.name().into()),
        parent: Some(made.parent),
        master: made.master,
        virtual_kind: Some(made.kind),
        group: made.group,
        address_generation: made.address_generation,
        vrf_table: None,
        ipv4: made.ipv4.with(Ipv4Setting::RpFilter, 2),
    }
}

/// The plan in words; links of these names may be removed.
fn in_words(links: &[VirtualLink], release: &[&str], present: &[Link]) -> String {
    let release_links = release.iter().map(|it| name(it)).collect();
    let wanted = Wanted { links: links.to_vec(), release_links, ..Wanted::default() };
    let present = Present { links: present.to_vec(), ..Present::default() };
    plan(&wanted, &present).iter().map(|change| format!("{change}\n")).collect()
}

#[test]
fn a_link_is_made_first_and_looked_after_once_it_is_known_to_be_ours() {
    let ipvlan = VirtualKind::Ipvlan { mode: IpvlanMode::L2, flags: IpvlanFlags::VEPA };
    let second = VirtualLink { name: name("ipv53"), kind: ipvlan, mac: None, ..vmac() };
    insta::assert_snapshot!(in_words(&[vmac(), second, vmac()], &[], &[]), @"
    making the macvlan vrrp.51 with 00:00:5e:00:01:33 on link 2
    making the ipvlan ipv53 on link 2
    ");
    let fresh = Link {
        flags: LinkFlags::empty(),
        address_generation: Some(AddressGeneration::EUI64),
        ipv4: Ipv4Conf::default().with(Ipv4Setting::ArpIgnore, 0).with(Ipv4Setting::AcceptLocal, 1),
        ..there(&vmac())
    };
    insta::assert_snapshot!(in_words(&[vmac()], &[], &[fresh]), @"
    changing how link 7 gets link-local addresses
    setting arp_ignore=1 of link 7
    setting link 7 up
    ");
    assert_eq!(in_words(&[vmac()], &["vrrp.51"], &[there(&vmac())]), "");
}

#[test]
fn what_somebody_changes_is_changed_back() {
    let changed = Link {
        mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        virtual_kind: Some(VirtualKind::Macvlan { mode: MacvlanMode::BRIDGE }),
        group: 9,
        master: Some(eth(8)),
        flags: LinkFlags::empty(),
        ..there(&vmac())
    };
    insta::assert_snapshot!(in_words(&[vmac()], &[], &[changed]), @"
    changing the mode of the macvlan link 7
    changing the MAC address of link 7 to 00:00:5e:00:01:33
    putting link 7 into group 0
    taking link 7 out of its master
    setting link 7 up
    ");
}

#[test]
fn on_another_parent_it_is_made_anew_if_it_was_ours() {
    let moved = VirtualLink { parent: eth(3), ..vmac() };
    insta::assert_snapshot!(in_words(&[moved], &["vrrp.51"], &[there(&vmac())]), @"
    removing link 7
    making the macvlan vrrp.51 with 00:00:5e:00:01:33 on link 3
    ");
    insta::assert_snapshot!(in_words(&[moved], &[], &[there(&vmac())]), @"making the macvlan vrrp.51 with 00:00:5e:00:01:33 on link 3");
}

#[test]
fn only_macvlans_and_ipvlans_that_are_named_are_removed() {
    let dummy =
        Link { index: eth(9), name: name("d0"), kind: Some("dummy".into()), virtual_kind: None, ..there(&vmac()) };
    let other = Link { index: eth(8), name: name("mv0"), ..there(&vmac()) };
    let present = [there(&vmac()), dummy.clone(), other];
    insta::assert_snapshot!(in_words(&[], &["vrrp.51", "d0", "gone"], &present), @"removing link 7");
    let taken = VirtualLink { name: dummy.name, ..vmac() };
    insta::assert_snapshot!(in_words(&[taken], &["d0"], &[dummy]), @"making the macvlan d0 with 00:00:5e:00:01:33 on link 2");
}

#[test]
fn without_ipv6_nothing_is_said_of_it() {
    assert_eq!(in_words(&[vmac()], &[], &[Link { address_generation: None, ..there(&vmac()) }]), "");
}
