use proptest::{option, prelude::*};

use super::*;

/// What Linux 6.1 reports for `ip rule add from 10.0.0.0/8 fwmark 0/7 table 300 priority 3 protocol 18`.
#[test]
fn a_rule_as_the_kernel_reports_it() {
    #[rustfmt::skip]
    let payload = [
        2, 0, 8, 0, 252, 0, 0, 1, 0, 0, 0, 0,
        8, 0, 15, 0, 44, 1, 0, 0,
        8, 0, 14, 0, 0xff, 0xff, 0xff, 0xff,
        8, 0, 6, 0, 3, 0, 0, 0,
        8, 0, 16, 0, 7, 0, 0, 0,
        5, 0, 21, 0, 18, 0, 0, 0,
        8, 0, 2, 0, 10, 0, 0, 0,
    ];
    let expected = Rule {
        from: Some(Prefix::network([10, 0, 0, 0].into(), 8)),
        fwmark: Some(Fwmark { mark: 0, mask: 7 }),
        ..Rule::new(Family::Ipv4, 3, RuleAction::Table(300))
    };
    assert_eq!(parse(&payload), Ok(Some(expected)));
    assert_eq!(parse(&payload[..11]), Err(ParseError::Truncated { needed: 12, got: 11 }));
    assert_eq!(parse(&[&[2, 33], &payload[2..]].concat()), Err(ParseError::PrefixLen(33)));
    assert_eq!(parse(&[&[128], &payload[1..]].concat()), Ok(None), "of multicast routing");
}

fn any_prefix(family: Family) -> BoxedStrategy<Prefix> {
    match family {
        Family::Ipv4 => (any::<[u8; 4]>(), 1..=32_u8).prop_map(|(ip, len)| Prefix::network(ip.into(), len)).boxed(),
        Family::Ipv6 => (any::<[u8; 16]>(), 1..=128_u8).prop_map(|(ip, len)| Prefix::network(ip.into(), len)).boxed(),
    }
}

fn any_action() -> impl Strategy<Value = RuleAction> {
    prop_oneof![
        any::<u32>().prop_map(RuleAction::Table),
        any::<u32>().prop_map(RuleAction::Goto),
        prop::sample::select(vec![
            RuleAction::L3mdev,
            RuleAction::Nop,
            RuleAction::Blackhole,
            RuleAction::Unreachable,
            RuleAction::Prohibit,
            RuleAction::Other(9),
        ]),
    ]
}

fn any_realms() -> impl Strategy<Value = Realms> {
    (any::<u16>(), 1..u16::MAX).prop_map(|(source, destination)| Realms { source, destination })
}

fn any_link() -> impl Strategy<Value = Option<LinkName>> {
    option::of("[a-z0-9.]{1,15}".prop_map(|name| name.parse().unwrap()))
}

prop_compose! {
    fn any_rule_of(family: Family)(
        action in any_action(),
        (priority, invert, tos, ip_protocol, protocol) in any::<(u32, bool, u8, u8, u8)>(),
        from in option::of(any_prefix(family)),
        to in option::of(any_prefix(family)),
        fwmark in option::of(any::<(u32, u32)>().prop_map(|(mark, mask)| Fwmark { mark, mask })),
        iif in any_link(),
        oif in any_link(),
        (tunnel_id, uid_range, source_ports, destination_ports) in
            any::<(u64, Option<(u32, u32)>, Option<(u16, u16)>, Option<(u16, u16)>)>(),
        realms in option::of(any_realms()),
        suppress_prefix_length in option::of(0..1_u32 << 31),
        suppress_group in option::of(0..1_u32 << 31),
    ) -> Rule {
        Rule {
            family,
            priority,
            action,
            invert,
            from,
            to,
            tos,
            fwmark,
            iif,
            oif,
            tunnel_id: NonZeroU64::new(tunnel_id),
            uid_range,
            ip_protocol,
            source_ports,
            destination_ports,
            realms,
            suppress_prefix_length,
            suppress_group,
            protocol: RouteProtocol(protocol),
        }
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    any::<bool>().prop_flat_map(|v4| any_rule_of(if v4 { Family::Ipv4 } else { Family::Ipv6 }))
}

codec_properties!(
    any_rule(),
    |rule: &Rule, out: &mut Vec<u8>| emit_add(rule, NlmF::empty(), 1, out),
    |rule: &Rule, out: &mut Vec<u8>| emit_remove(rule, NlmF::ACK, 2, out),
    Some
);
