//! Arbitrary values for the property tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::types::{
    Change, Destination, DestinationEntry, DestinationKey, Family, ForwardingMethod, Granularity, Info, InterfaceName,
    Persistence, PersistenceEngine, Pool, Protocol, Scheduler, Seconds, Service, ServiceAddress, ServiceEntry,
    ServiceFlags, Stats, SyncDaemon, SyncRole, Timeouts, Tunnel, TunnelChecksum, Weight,
};

pub(crate) fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from(bits)));
    prop_oneof![v4, v6]
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Inet), Just(Family::Inet6)]
}

pub(crate) fn service_address() -> BoxedStrategy<ServiceAddress> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let socket = (protocol, address(), any::<u16>()).prop_map(|(protocol, address, port)| ServiceAddress::Socket {
        protocol,
        address,
        port,
    });
    let mark =
        (any::<std::num::NonZeroU32>(), family()).prop_map(|(mark, family)| ServiceAddress::Fwmark { mark, family });
    prop_oneof![socket, mark].boxed()
}

fn service_of(address: ServiceAddress) -> impl Strategy<Value = Service> {
    let scheduler = prop_oneof![Just(Scheduler::RR), Just(Scheduler::WLC), Just(Scheduler::MH)];
    let flags = (0u32..16).prop_map(|bits| ServiceFlags::from_bits_retain(bits << 2));
    let granularity = match address.family() {
        Family::Inet => any::<u32>().prop_map(|bits| Granularity::Netmask(bits.into())).boxed(),
        Family::Inet6 => (1u8..=128).prop_map(Granularity::Prefix).boxed(),
    };
    let persistence = (any::<u32>(), granularity)
        .prop_map(|(timeout, granularity)| Persistence { timeout: Seconds(timeout), granularity });
    let engine = PersistenceEngine::new("sip").unwrap();
    (scheduler, flags, option::of(persistence), option::of(Just(engine))).prop_map(
        move |(scheduler, flags, persistence, persistence_engine)| Service {
            address,
            scheduler,
            flags,
            persistence,
            persistence_engine,
        },
    )
}

pub(crate) fn service() -> BoxedStrategy<Service> {
    service_address().prop_flat_map(service_of).boxed()
}

fn forwarding() -> BoxedStrategy<ForwardingMethod> {
    let checksum = || {
        prop_oneof![
            Just(TunnelChecksum::None),
            Just(TunnelChecksum::Checksum),
            Just(TunnelChecksum::Remote),
            Just(TunnelChecksum::Unknown(7))
        ]
    };
    let gue = (any::<std::num::NonZeroU16>(), checksum()).prop_map(|(port, checksum)| Tunnel::Gue { port, checksum });
    let gre = checksum().prop_map(|checksum| Tunnel::Gre { checksum });
    prop_oneof![
        Just(ForwardingMethod::Masquerade),
        Just(ForwardingMethod::LocalNode),
        Just(ForwardingMethod::DirectRoute),
        Just(ForwardingMethod::Bypass),
        (5u8..8).prop_map(ForwardingMethod::Unknown),
        Just(ForwardingMethod::Tunnel(Tunnel::Ipip)),
        gue.prop_map(ForwardingMethod::Tunnel),
        gre.prop_map(ForwardingMethod::Tunnel),
    ]
    .boxed()
}

pub(crate) fn destination() -> BoxedStrategy<Destination> {
    (address(), any::<u16>(), 0..=Weight::MAX.0, forwarding(), any::<(u32, u32)>())
        .prop_map(|(address, port, weight, forwarding, (upper_threshold, lower_threshold))| Destination {
            address,
            port,
            weight: Weight(weight),
            forwarding,
            upper_threshold,
            lower_threshold,
        })
        .boxed()
}

pub(crate) fn change() -> BoxedStrategy<Change> {
    let key = destination().prop_map(|destination| destination.key());
    prop_oneof![
        service().prop_map(Change::AddService),
        service().prop_map(Change::EditService),
        service_address().prop_map(Change::RemoveService),
        (service_address(), destination())
            .prop_map(|(service, destination)| Change::AddDestination { service, destination }),
        (service_address(), destination())
            .prop_map(|(service, destination)| Change::EditDestination { service, destination }),
        (service_address(), key).prop_map(|(service, destination)| Change::RemoveDestination { service, destination }),
    ]
    .boxed()
}

pub(crate) fn sync_role() -> impl Strategy<Value = SyncRole> {
    prop_oneof![Just(SyncRole::Master), Just(SyncRole::Backup)]
}

pub(crate) fn sync_daemon() -> BoxedStrategy<SyncDaemon> {
    let interface = "[a-z0-9.@-]{1,15}".prop_map(|name| InterfaceName::new(&name).unwrap());
    (
        sync_role(),
        interface,
        any::<u8>(),
        option::of(any::<std::num::NonZeroU16>()),
        address(),
        any::<std::num::NonZeroU16>(),
        any::<std::num::NonZeroU8>(),
    )
        .prop_map(|(role, interface, sync_id, max_length, group, port, ttl)| SyncDaemon {
            role,
            interface,
            sync_id,
            max_length,
            group,
            port,
            ttl,
        })
        .boxed()
}

pub(crate) fn timeouts() -> impl Strategy<Value = Timeouts> {
    any::<[u32; 3]>().prop_map(|[tcp, tcp_fin, udp]| Timeouts {
        tcp: Seconds(tcp),
        tcp_fin: Seconds(tcp_fin),
        udp: Seconds(udp),
    })
}

pub(crate) fn info() -> impl Strategy<Value = Info> {
    any::<([u8; 3], u32)>().prop_map(|(version, connection_table_size)| Info { version, connection_table_size })
}

fn stats() -> impl Strategy<Value = Stats> {
    any::<[u64; 10]>().prop_map(|[a, b, c, d, e, f, g, h, i, j]| Stats {
        connections: a,
        incoming_packets: b,
        outgoing_packets: c,
        incoming_octets: d,
        outgoing_octets: e,
        connection_rate: f,
        incoming_packet_rate: g,
        outgoing_packet_rate: h,
        incoming_octet_rate: i,
        outgoing_octet_rate: j,
    })
}

pub(crate) fn service_entry() -> BoxedStrategy<ServiceEntry> {
    (service(), stats()).prop_map(|(service, stats)| ServiceEntry { service, stats }).boxed()
}

pub(crate) fn destination_entry() -> BoxedStrategy<DestinationEntry> {
    (destination(), any::<[u32; 3]>(), stats())
        .prop_map(|(destination, [active, inactive, persistent], stats)| DestinationEntry {
            destination,
            active_connections: active,
            inactive_connections: inactive,
            persistent_connections: persistent,
            stats,
        })
        .boxed()
}

/// One of few addresses, so that tables made from them overlap.
fn one_of_few_services() -> impl Strategy<Value = ServiceAddress> {
    (0u16..4).prop_map(|port| ServiceAddress::Socket {
        protocol: Protocol::Tcp,
        address: Ipv4Addr::new(192, 0, 2, 1).into(),
        port: 80 + port,
    })
}

fn pool_of(address: ServiceAddress) -> impl Strategy<Value = Pool> {
    let key = (0u8..4).prop_map(|last| DestinationKey { address: Ipv4Addr::new(10, 0, 0, last).into(), port: 80 });
    let destination = (0u32..3, prop_oneof![Just(ForwardingMethod::Masquerade), Just(ForwardingMethod::DirectRoute)]);
    let destinations = btree_map(key, destination, 0..4).prop_map(|table| {
        let destination = |(DestinationKey { address, port }, (weight, forwarding))| {
            Destination::new((address, port).into(), forwarding).with_weight(Weight(weight))
        };
        table.into_iter().map(destination).collect::<Vec<_>>()
    });
    let scheduler = prop_oneof![Just(Scheduler::RR), Just(Scheduler::WLC)];
    (scheduler, destinations)
        .prop_map(move |(scheduler, destinations)| Pool { service: Service::new(address, scheduler), destinations })
}

/// A table with each service once.
pub(crate) fn table() -> impl Strategy<Value = Vec<Pool>> {
    vec(one_of_few_services().prop_flat_map(pool_of), 0..5).prop_map(|mut pools| {
        pools.sort_by_key(|pool| pool.service.address);
        pools.dedup_by_key(|pool| pool.service.address);
        pools
    })
}

pub(crate) fn owned() -> impl Strategy<Value = std::collections::BTreeSet<ServiceAddress>> {
    proptest::collection::btree_set(one_of_few_services(), 0..5)
}
