//! `RTM_NEWRULE`, `RTM_DELRULE`, `RTM_GETRULE`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU64,
};

use neli::consts::{nl::NlmF, rtnl::Rtm};

use super::{Attributes, ParseError, attributes, fixed, ip_of, number, request, text};
use crate::types::{Family, Fwmark, LinkName, Prefix, Realms, RouteProtocol, Rule, RuleAction};

pub(crate) const RTM_NEWRULE: u16 = 32;
pub(crate) const RTM_DELRULE: u16 = 33;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_FLOW: u16 = 11;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;

const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_GOTO: u8 = 2;
const FR_ACT_NOP: u8 = 3;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;
const FR_ACT_PROHIBIT: u8 = 8;

const FIB_RULE_INVERT: u32 = 2;
/// What the kernel reports where nothing is suppressed.
const NOT_SUPPRESSED: u32 = u32::MAX;

/// Reads the payload of `RTM_NEWRULE` or `RTM_DELRULE` (`struct fib_rule_hdr` and attributes). `None` for another family
/// than IPv4 and IPv6.
///
/// # Errors
/// [`ParseError`] names the first thing that is wrong.
pub fn parse(payload: &[u8]) -> Result<Option<Rule>, ParseError> {
    let truncated = ParseError::Truncated { needed: 12, got: payload.len() };
    let (&[family_number, to_len, from_len, tos, table, _, _, action, f0, f1, f2, f3], rest) =
        payload.split_first_chunk::<12>().ok_or(truncated)?;
    let (family, any, longest) = match family_number {
        AF_INET => (Family::Ipv4, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 32),
        AF_INET6 => (Family::Ipv6, IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
        _ => return Ok(None),
    };
    if let Some(len) = [to_len, from_len].into_iter().find(|len| *len > longest) {
        return Err(ParseError::PrefixLen(len));
    }
    let network = |ip, len| (len > 0).then_some(Prefix { ip, len });
    let mut read = Rule::new(family, 0, RuleAction::Nop);
    read.invert = u32::from_ne_bytes([f0, f1, f2, f3]) & FIB_RULE_INVERT != 0;
    read.from = network(any, from_len);
    read.to = network(any, to_len);
    read.tos = tos;
    read.protocol = RouteProtocol(0);
    let mut target = Target { table: table.into(), ..Target::default() };
    let (mut mark, mut mask) = (None, None);
    for attribute in attributes(rest) {
        let (kind, value) = attribute?;
        match kind {
            FRA_DST => read.to = network(ip_of(family_number, kind, value)?, to_len),
            FRA_SRC => read.from = network(ip_of(family_number, kind, value)?, from_len),
            FRA_IIFNAME => read.iif = Some(name(kind, value)?),
            FRA_OIFNAME => read.oif = Some(name(kind, value)?),
            FRA_PRIORITY => read.priority = number(kind, value)?,
            FRA_FWMARK => mark = Some(number(kind, value)?),
            FRA_FWMASK => mask = Some(number(kind, value)?),
            FRA_FLOW => read.realms = Realms::from_wire(number(kind, value)?),
            FRA_TUN_ID => read.tunnel_id = NonZeroU64::new(u64::from_be_bytes(fixed(kind, value)?)),
            FRA_SUPPRESS_IFGROUP => read.suppress_group = suppressed(number(kind, value)?),
            FRA_SUPPRESS_PREFIXLEN => read.suppress_prefix_length = suppressed(number(kind, value)?),
            FRA_UID_RANGE => read.uid_range = Some(uids(kind, value)?),
            FRA_PROTOCOL => read.protocol = RouteProtocol(fixed::<1>(kind, value)?[0]),
            FRA_IP_PROTO => [read.ip_protocol] = fixed(kind, value)?,
            FRA_SPORT_RANGE => read.source_ports = Some(ports(kind, value)?),
            FRA_DPORT_RANGE => read.destination_ports = Some(ports(kind, value)?),
            FRA_TABLE => target.table = number(kind, value)?,
            FRA_GOTO => target.goto = number(kind, value)?,
            FRA_L3MDEV => target.l3mdev = fixed::<1>(kind, value)? != [0],
            _ => {}
        }
    }
    // A mark of 0 is not reported, its mask is.
    if mark.is_some() || mask.is_some() {
        read.fwmark = Some(Fwmark { mark: mark.unwrap_or(0), mask: mask.unwrap_or(u32::MAX) });
    }
    read.action = target.action(action);
    Ok(Some(read))
}

/// Where a rule leads to.
#[derive(Debug, Default)]
struct Target {
    table: u32,
    goto: u32,
    l3mdev: bool,
}

impl Target {
    const fn action(&self, number: u8) -> RuleAction {
        match number {
            FR_ACT_TO_TBL if self.l3mdev => RuleAction::L3mdev,
            FR_ACT_TO_TBL => RuleAction::Table(self.table),
            FR_ACT_GOTO => RuleAction::Goto(self.goto),
            FR_ACT_NOP => RuleAction::Nop,
            FR_ACT_BLACKHOLE => RuleAction::Blackhole,
            FR_ACT_UNREACHABLE => RuleAction::Unreachable,
            FR_ACT_PROHIBIT => RuleAction::Prohibit,
            other => RuleAction::Other(other),
        }
    }
}

const fn suppressed(number: u32) -> Option<u32> {
    match number {
        NOT_SUPPRESSED => None,
        number => Some(number),
    }
}

fn name(kind: u16, value: &[u8]) -> Result<LinkName, ParseError> {
    LinkName::new(text(value)).map_err(|_| ParseError::Attribute { kind, len: value.len() })
}

fn uids(kind: u16, value: &[u8]) -> Result<(u32, u32), ParseError> {
    let [a, b, c, d, e, f, g, h] = fixed(kind, value)?;
    Ok((u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])))
}

fn ports(kind: u16, value: &[u8]) -> Result<(u16, u16), ParseError> {
    let [a, b, c, d] = fixed(kind, value)?;
    Ok((u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])))
}

/// Appends a request to add `rule`.
pub(crate) fn emit_add(rule: &Rule, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    request(Rtm::Newrule, NlmF::CREATE | NlmF::EXCL | flags, sequence, payload(rule).as_slice(), out);
}

/// Appends a request to remove `rule`.
pub(crate) fn emit_remove(rule: &Rule, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    request(Rtm::Delrule, flags, sequence, payload(rule).as_slice(), out);
}

/// Appends a request for all rules of both families.
pub(crate) fn emit_dump(sequence: u32, out: &mut Vec<u8>) {
    request(Rtm::Getrule, NlmF::DUMP, sequence, [0_u8; 12].as_slice(), out);
}

/// `struct fib_rule_hdr` and what follows it.
fn payload(rule: &Rule) -> Vec<u8> {
    let family = match rule.family {
        Family::Ipv4 => AF_INET,
        Family::Ipv6 => AF_INET6,
    };
    let [to_len, from_len] = [rule.to, rule.from].map(|network| network.map_or(0, |network| network.len));
    let flags = if rule.invert { FIB_RULE_INVERT } else { 0 };
    let table = 0; // FRA_TABLE has all of it
    let head = [family, to_len, from_len, rule.tos, table, 0, 0, action_number(rule.action)];
    let mut attributes = Attributes::default();
    put_selectors(rule, &mut attributes);
    put_action(rule, &mut attributes);
    [head.as_slice(), &flags.to_ne_bytes(), attributes.as_slice()].concat()
}

const fn action_number(action: RuleAction) -> u8 {
    match action {
        RuleAction::Table(_) | RuleAction::L3mdev => FR_ACT_TO_TBL,
        RuleAction::Goto(_) => FR_ACT_GOTO,
        RuleAction::Nop => FR_ACT_NOP,
        RuleAction::Blackhole => FR_ACT_BLACKHOLE,
        RuleAction::Unreachable => FR_ACT_UNREACHABLE,
        RuleAction::Prohibit => FR_ACT_PROHIBIT,
        RuleAction::Other(number) => number,
    }
}

fn put_selectors(rule: &Rule, attributes: &mut Attributes) {
    for (kind, network) in [(FRA_DST, rule.to), (FRA_SRC, rule.from)] {
        if let Some(network) = network.filter(|network| network.len > 0) {
            attributes.put_ip(kind, network.ip);
        }
    }
    for (kind, link) in [(FRA_IIFNAME, rule.iif), (FRA_OIFNAME, rule.oif)] {
        if let Some(link) = link {
            attributes.put(kind, &[link.as_bytes(), &[0]].concat());
        }
    }
    if let Some(Fwmark { mark, mask }) = rule.fwmark {
        attributes.put(FRA_FWMARK, &mark.to_ne_bytes());
        attributes.put(FRA_FWMASK, &mask.to_ne_bytes());
    }
    if let Some(id) = rule.tunnel_id {
        attributes.put(FRA_TUN_ID, &id.get().to_be_bytes());
    }
    if let Some((first, last)) = rule.uid_range {
        attributes.put(FRA_UID_RANGE, &[first.to_ne_bytes(), last.to_ne_bytes()].concat());
    }
    if rule.ip_protocol != 0 {
        attributes.put(FRA_IP_PROTO, &[rule.ip_protocol]);
    }
    for (kind, range) in [(FRA_SPORT_RANGE, rule.source_ports), (FRA_DPORT_RANGE, rule.destination_ports)] {
        if let Some((first, last)) = range {
            attributes.put(kind, &[first.to_ne_bytes(), last.to_ne_bytes()].concat());
        }
    }
}

fn put_action(rule: &Rule, attributes: &mut Attributes) {
    attributes.put(FRA_PRIORITY, &rule.priority.to_ne_bytes());
    attributes.put(FRA_PROTOCOL, &[rule.protocol.0]);
    match rule.action {
        RuleAction::Table(table) => attributes.put(FRA_TABLE, &table.to_ne_bytes()),
        RuleAction::L3mdev => attributes.put(FRA_L3MDEV, &[1]),
        RuleAction::Goto(priority) => attributes.put(FRA_GOTO, &priority.to_ne_bytes()),
        _ => {}
    }
    if let Some(realms) = rule.realms {
        attributes.put(FRA_FLOW, &realms.to_wire().to_ne_bytes());
    }
    if let Some(length) = rule.suppress_prefix_length {
        attributes.put(FRA_SUPPRESS_PREFIXLEN, &length.to_ne_bytes());
    }
    if let Some(group) = rule.suppress_group {
        attributes.put(FRA_SUPPRESS_IFGROUP, &group.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests;
