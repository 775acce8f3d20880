use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::message::messages;

fn link(index: u32) -> LinkIndex {
    LinkIndex::new(index).unwrap()
}

/// What Linux 6.1 reports for `ip route add 10.3.0.0/16 via 198.18.0.2 dev eth0 table 300 metric 5 proto 18 mtu lock 1400
/// realms 3/4`.
#[test]
fn a_route_as_the_kernel_reports_it() {
    #[rustfmt::skip]
    let payload = [
        2, 16, 0, 0, 252, 18, 0, 1, 0, 0, 0, 0,
        8, 0, 15, 0, 44, 1, 0, 0,
        8, 0, 1, 0, 10, 3, 0, 0,
        8, 0, 6, 0, 5, 0, 0, 0,
        20, 0, 8, 0, 8, 0, 1, 0, 4, 0, 0, 0, 8, 0, 2, 0, 120, 5, 0, 0,
        8, 0, 5, 0, 198, 18, 0, 2,
        8, 0, 4, 0, 2, 0, 0, 0,
        8, 0, 11, 0, 4, 0, 3, 0,
    ];
    let expected = Route {
        table: 300,
        metric: 5,
        metrics: Metrics { mtu: Some(Metric { value: 1400, locked: true }), ..Metrics::default() },
        next_hops: vec![NextHop {
            gateway: Some([198, 18, 0, 2].into()),
            link: Some(link(2)),
            realms: Some(Realms { source: 3, destination: 4 }),
            ..NextHop::default()
        }],
        ..Route::new(Prefix::network([10, 3, 0, 0].into(), 16))
    };
    assert_eq!(parse(&payload), Ok(Some(expected)));
    assert_eq!(parse(&payload[..11]), Err(ParseError::Truncated { needed: 12, got: 11 }));
    assert_eq!(parse(&[&[2, 33], &payload[2..]].concat()), Err(ParseError::PrefixLen(33)));
    assert_eq!(parse(&[&[28], &payload[1..]].concat()), Ok(None), "MPLS");
    let cached = [&payload[..9], &[2], &payload[10..]].concat();
    assert_eq!(parse(&cached), Ok(None), "a copy in a cache");
}

#[test]
fn rejecting_ipv6_routes_have_no_next_hop_whatever_the_kernel_says() {
    let payload = [10, 0, 0, 0, 254, 18, 0, 7, 0, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0, 0];
    let read = parse(&payload).unwrap().unwrap();
    assert_eq!((read.kind, read.next_hops), (RouteKind::UNREACHABLE, vec![]));
}

#[test]
fn a_lifetime_is_rounded_up_to_whole_seconds() {
    let cache_info = |hundredths: i32| {
        let expires = hundredths.to_ne_bytes();
        [&[0; 8], expires.as_slice(), &[0; 4]].concat()
    };
    assert_eq!(time_left(&cache_info(39_601)), Some(397));
    assert_eq!(time_left(&cache_info(0)), None);
    assert_eq!(time_left(&[0; 7]), None);
}

#[test]
fn too_many_next_hops_are_not_written_as_fewer() {
    let hop = NextHop { gateway: Some([192, 0, 2, 1].into()), ..NextHop::default() };
    let route = Route { next_hops: vec![hop; 5000], ..Route::new(Prefix::network([10, 0, 0, 0].into(), 8)) };
    let mut out = Vec::new();
    emit_add(&route, NlmF::empty(), 1, &mut out);
    let message = messages(&out).next().unwrap().unwrap();
    assert!(parse(message.payload).is_err(), "neither we nor the kernel take it");
}

fn any_metric<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<Metric<T>>> {
    option::of((value, any::<bool>()).prop_map(|(value, locked)| Metric { value, locked }))
}

fn any_metrics() -> impl Strategy<Value = Metrics> {
    (vec(any_metric(any::<u32>()), NUMERIC.len()), any_metric("[a-z]{1,15}")).prop_map(|(values, congctl)| {
        let mut metrics = Metrics { congctl, ..Metrics::default() };
        for (kind, value) in NUMERIC.into_iter().zip(values) {
            *numeric(&mut metrics, kind).unwrap() = value;
        }
        metrics
    })
}

fn any_tunnel<A: std::fmt::Debug + Copy>(
    address: impl Strategy<Value = A> + Clone,
) -> impl Strategy<Value = Tunnel<A>> {
    (any::<u64>(), address.clone(), address, any::<u8>(), any::<u8>(), any::<u16>())
        .prop_map(|(id, destination, source, tos, ttl, flags)| Tunnel { id, destination, source, tos, ttl, flags })
}

fn any_encapsulation() -> impl Strategy<Value = Encapsulation> {
    prop_oneof![
        vec(0..1_u32 << 20, 1..3).prop_map(Encapsulation::Mpls),
        any_tunnel(any::<[u8; 4]>().prop_map(Ipv4Addr::from)).prop_map(Encapsulation::Ip),
        any_tunnel(any::<[u8; 16]>().prop_map(Ipv6Addr::from)).prop_map(Encapsulation::Ip6),
        any::<u64>().prop_map(Encapsulation::Ila),
        (5..9_u16, vec(any::<u8>(), 0..40)).prop_map(|(kind, octets)| Encapsulation::Other { kind, octets }),
    ]
}

fn any_hop(v4: bool) -> impl Strategy<Value = NextHop> {
    let gateway = prop_oneof![
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<[u8; 4]>().prop_map(move |ip| if v4 { ip.into() } else { IpAddr::from([7; 16]) }),
    ];
    let realms = (any::<u16>(), 1..u16::MAX).prop_map(|(source, destination)| Realms { source, destination });
    (option::of(gateway), 1..u32::MAX, 1..=256_u16, any::<bool>(), option::of(any_encapsulation()), option::of(realms))
        .prop_map(|(gateway, index, weight, onlink, encapsulation, realms)| NextHop {
            gateway,
            link: LinkIndex::new(index),
            weight,
            onlink,
            encapsulation,
            realms,
        })
}

fn any_prefix(v4: bool) -> BoxedStrategy<Prefix> {
    match v4 {
        true => (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, len)| Prefix::network(ip.into(), len)).boxed(),
        false => (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(ip, len)| Prefix::network(ip.into(), len)).boxed(),
    }
}

prop_compose! {
    fn any_route_of(v4: bool)(
        destination in any_prefix(v4),
        kind in 1..=9_u8,
        (table, metric, tos, protocol, scope) in (any::<u32>(), any::<u32>(), any::<u8>(), any::<u8>(), any::<u8>()),
        source in option::of(any_prefix(v4).prop_filter("not any", |source| source.len > 0)),
        preferred_source in option::of(any_prefix(v4)),
        next_hops in vec(any_hop(v4), 0..4),
        expires in any::<Option<u32>>(),
        preference in any::<u8>(),
        ttl_propagate in any::<Option<bool>>(),
        metrics in any_metrics(),
    ) -> Route {
        let mut route = Route {
            destination,
            kind: RouteKind(kind),
            table,
            metric,
            tos,
            protocol: RouteProtocol(protocol),
            scope: Scope(scope),
            source,
            preferred_source: preferred_source.map(|source| source.ip),
            next_hops,
            expires,
            preference: RouterPreference(preference),
            ttl_propagate,
            metrics,
        };
        if route.kind.rejects() {
            route.next_hops.clear();
        }
        if let [only] = route.next_hops.as_mut_slice() {
            only.weight = 1;
        }
        route
    }
}

/// Any route, as far as a message can say it.
pub(crate) fn any_route() -> impl Strategy<Value = Route> {
    any::<bool>().prop_flat_map(any_route_of)
}

codec_properties!(
    any_route(),
    |route: &Route, out: &mut Vec<u8>| emit_add(route, NlmF::EXCL, 1, out),
    |route: &Route, out: &mut Vec<u8>| emit_add(route, NlmF::ACK, 2, out),
    Some
);
