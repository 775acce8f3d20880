use super::*;
use crate::types::Version;
use crate::wire::{GROUP_IPV4, Peer};
use core::net::Ipv4Addr;
use std::string::ToString;

const LINK: Option<LinkId> = Some(LinkId(2));
const SECOND_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 118));

fn host(last: u8) -> IpAddr {
    [198, 18, 0, last].into()
}

fn vrid() -> Vrid {
    Vrid::new(51).unwrap()
}

fn wire(cast: Cast) -> WireConfig {
    let mut wire = WireConfig::new(vrid(), Version::V2, Family::Ipv4);
    wire.cast = cast;
    wire
}

fn group(group: IpAddr) -> WireConfig {
    wire(Cast::Multicast { group })
}

fn peers(last: &[u8], check_source: bool) -> WireConfig {
    let peers = last.iter().map(|last| Peer::new(host(*last))).collect();
    wire(Cast::Unicast { peers, check_source })
}

fn path(router: u32, wire: &WireConfig) -> Path<'_> {
    Path { router: RouterId(router), link: LINK, source: None, wire }
}

fn arrival(source: IpAddr, destination: Option<IpAddr>) -> Arrival {
    Arrival { link: LINK, source, destination, vrid: vrid() }
}

#[test]
fn the_same_vrid_with_another_group_is_another_router() {
    let (first, second) = (group(GROUP_IPV4.into()), group(SECOND_GROUP));
    let found = Demultiplexer::new([path(1, &first), path(2, &second)]).unwrap();
    assert_eq!(found.router(&arrival(host(9), Some(GROUP_IPV4.into()))), Some(RouterId(1)));
    assert_eq!(found.router(&arrival(host(9), Some(SECOND_GROUP))), Some(RouterId(2)));
    assert_eq!(found.router(&arrival(host(9), Some([224, 0, 0, 1].into()))), None);
}

#[test]
fn the_same_vrid_with_other_peers_is_another_router() {
    let (first, second, multicast) = (peers(&[2, 3], true), peers(&[4], true), group(GROUP_IPV4.into()));
    let found = Demultiplexer::new([path(1, &first), path(2, &second), path(3, &multicast)]).unwrap();
    assert_eq!(found.router(&arrival(host(3), Some(host(1)))), Some(RouterId(1)));
    assert_eq!(found.router(&arrival(host(4), None)), Some(RouterId(2)));
    assert_eq!(found.router(&arrival(host(5), None)), None);
}

#[test]
fn a_peer_goes_before_a_router_that_accepts_from_anyone() {
    let (closed, open) = (peers(&[2], true), peers(&[3], false));
    let found = Demultiplexer::new([path(1, &closed), path(2, &open)]).unwrap();
    assert_eq!(found.router(&arrival(host(2), None)), Some(RouterId(1)));
    assert_eq!(found.router(&arrival(host(77), None)), Some(RouterId(2)));
}

#[test]
fn our_own_address_tells_unicast_routers_apart() {
    let wire = peers(&[2], false);
    let from = |router, last| Path { source: Some(host(last)), ..path(router, &wire) };
    let found = Demultiplexer::new([from(1, 10), from(2, 11)]).unwrap();
    assert_eq!(found.router(&arrival(host(2), Some(host(10)))), Some(RouterId(1)));
    assert_eq!(found.router(&arrival(host(2), Some(host(11)))), Some(RouterId(2)));
    assert_eq!(found.router(&arrival(host(2), Some(host(12)))), None);
}

#[test]
fn links_families_and_vrids_are_told_apart() {
    let wire = group(GROUP_IPV4.into());
    let mut other_vrid = wire.clone();
    other_vrid.vrid = Vrid::new(52).unwrap();
    let elsewhere = Path { link: None, ..path(2, &wire) };
    let found = Demultiplexer::new([path(1, &wire), elsewhere, path(3, &other_vrid)]).unwrap();
    let here = arrival(host(9), Some(GROUP_IPV4.into()));
    assert_eq!(found.router(&here), Some(RouterId(1)));
    assert_eq!(found.router(&Arrival { link: None, ..here }), Some(RouterId(2)));
    assert_eq!(found.router(&Arrival { link: Some(LinkId(9)), ..here }), None);
    assert_eq!(found.router(&Arrival { vrid: Vrid::new(52).unwrap(), ..here }), Some(RouterId(3)));
}

#[test]
fn ambiguous_configurations_are_refused() {
    let multicast = group(GROUP_IPV4.into());
    let clash = |first: &WireConfig, second: &WireConfig| Demultiplexer::new([path(1, first), path(2, second)]);
    let ambiguous = Ambiguous { first: RouterId(1), second: RouterId(2), vrid: vrid() };
    let expected = Err(ambiguous);
    assert_eq!(clash(&multicast, &multicast), expected);
    assert_eq!(clash(&peers(&[2, 3], true), &peers(&[3, 4], true)), expected);
    assert_eq!(clash(&peers(&[2], false), &peers(&[3], false)), expected);
    assert!(ambiguous.to_string().starts_with("routers 1 and 2 both have VRID 51 on one link"));
}
