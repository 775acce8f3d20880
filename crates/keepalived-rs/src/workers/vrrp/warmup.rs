//! A transition that does nothing: before memory is locked on use, everything that becoming Active uses is used once.

use std::net::IpAddr;
use std::time::Duration;

use vip_netlink::{Address, LinkIndex, Present, Wanted, plan};
use vrrp_proto::{
    Action, Engine, EngineConfig, Family, GROUP_IPV4, GROUP_IPV6, Instant, LinkFacts, LinkId, Packet, Receiver,
    RouterConfig, RouterId, Transmitter, UnixTime, Version, Vrid, WireConfig,
};

use super::packet;

const LINK: LinkId = LinkId(0);

/// Two routers become Active, advertise, hear themselves and stop, in an engine of their own; their addresses are
/// planned. How many actions that took.
pub(super) fn dry_transition() -> usize {
    let Some(vrid) = Vrid::new(1) else { return 0 };
    let mut engine = Engine::new();
    let start = Instant::ZERO + Duration::from_secs(1);
    let [v4, v6] = ["192.0.2.1", "fe80::1"].map(|text| text.parse::<IpAddr>().ok());
    let (Some(IpAddr::V4(v4)), Some(IpAddr::V6(v6))) = (v4, v6) else { return 0 };
    let facts = LinkFacts { up: true, multicast: true, ipv4_source: Some(v4), ipv6_source: Some(v6) };
    engine.handle_link(start, LINK, facts);
    let routers = [(RouterId(0), Family::Ipv4), (RouterId(1), Family::Ipv6)];
    let config = |(id, family)| {
        let mut config = RouterConfig::new(vrid, family);
        config.link = Some(LINK);
        (id, config)
    };
    engine.reconfigure(start, &routers.map(config).into_iter().collect::<EngineConfig>());
    let mut actions = 0;
    for _ in 0..8 {
        let Some(now) = engine.poll_timeout() else { break };
        engine.handle_timeout_ahead(now, Duration::from_millis(1));
        while let Some(action) = engine.poll_action() {
            actions += 1;
            match action {
                Action::Apply { router, ticket, .. } => engine.handle_applied(now, router, ticket),
                Action::Advertise { router: RouterId(0), priority } => {
                    let wire = WireConfig::new(vrid, Version::V2, Family::Ipv4);
                    say_and_hear(&mut engine, now, &wire, priority, [v4.into(), GROUP_IPV4.into()]);
                }
                Action::Advertise { priority, .. } => {
                    let wire = WireConfig::new(vrid, Version::V3, Family::Ipv6);
                    say_and_hear(&mut engine, now, &wire, priority, [v6.into(), GROUP_IPV6.into()]);
                }
                _ => {}
            }
        }
    }
    engine.shutdown(start);
    while engine.poll_action().is_some() {
        actions += 1;
    }
    if let Some(link) = LinkIndex::new(1) {
        let mut wanted = Wanted::default();
        wanted.addresses.extend([Address::new(link, v4.into(), 32), Address::new(link, v6.into(), 128)]);
        actions += plan(&wanted, &Present::default()).len();
    }
    actions
}

fn say_and_hear(
    engine: &mut Engine,
    now: Instant,
    wire: &WireConfig,
    priority: vrrp_proto::Priority,
    [source, group]: [IpAddr; 2],
) {
    let Ok(mut transmitter) = Transmitter::new(wire.clone()) else { return };
    let wall = UnixTime(Duration::ZERO);
    let advert = transmitter.begin(priority, wall);
    let mut octets = Vec::new();
    if packet::emit(&mut transmitter, &advert, source, group, &mut octets).is_err() {
        return;
    }
    let packet = match (source, group) {
        (IpAddr::V6(source), IpAddr::V6(group)) => Packet::from_ipv6(
            source,
            Some(group),
            wire.hop_limit,
            octets.get(packet::IPV6_HEADER..).unwrap_or_default(),
        ),
        _ => match Packet::from_ipv4(&octets) {
            Ok(packet) => packet,
            Err(_) => return,
        },
    };
    let id = if source.is_ipv4() { RouterId(0) } else { RouterId(1) };
    if let Ok(verified) = Receiver::new(wire.clone()).receive(&packet, wall) {
        engine.handle_advertisement(now, id, source, &verified.advertisement);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_routers_go_all_the_way() {
        // For each at least: two facts, two adverts, two applies, announcements, records, notifications; two addresses.
        assert!(dry_transition() >= 2 * 10 + 2);
    }
}
