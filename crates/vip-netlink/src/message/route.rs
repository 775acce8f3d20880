//! `RTM_NEWROUTE`, `RTM_DELROUTE`, `RTM_GETROUTE`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use neli::consts::{nl::NlmF, rtnl::Rtm};

use super::{Attributes, ParseError, attributes, fixed, ip_of, number, request, text};
use crate::types::{
    Encapsulation, Family, LinkIndex, Metric, Metrics, NextHop, Prefix, Realms, Route, RouteFilter, RouteKind,
    RouteProtocol, RouterPreference, Scope, Tunnel,
};

pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_DELROUTE: u16 = 25;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_FLOW: u16 = 11;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_PREF: u16 = 20;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_ENCAP: u16 = 22;
const RTA_EXPIRES: u16 = 23;
const RTA_TTL_PROPAGATE: u16 = 26;

const RTAX_LOCK: u16 = 1;
const RTAX_CC_ALGO: u16 = 16;

const RTNH_F_ONLINK: u8 = 4;
/// The route is a copy in a cache, made for one destination.
const RTM_F_CLONED: u32 = 0x200;

const ENCAP_MPLS: u16 = 1;
const ENCAP_IP: u16 = 2;
const ENCAP_ILA: u16 = 3;
const ENCAP_IP6: u16 = 4;

/// Reads the payload of `RTM_NEWROUTE` or `RTM_DELROUTE` (`struct rtmsg` and attributes). `None` for what is no IPv4 or
/// IPv6 route: other families, copies in a cache.
///
/// # Errors
/// [`ParseError`] names the first thing that is wrong.
pub fn parse(payload: &[u8]) -> Result<Option<Route>, ParseError> {
    let truncated = ParseError::Truncated { needed: 12, got: payload.len() };
    let (&[family, to_len, from_len, tos, table, protocol, scope, kind, f0, f1, f2, f3], rest) =
        payload.split_first_chunk::<12>().ok_or(truncated)?;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let any = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return Ok(None),
    };
    if flags & RTM_F_CLONED != 0 {
        return Ok(None);
    }
    let mut read = Route::new(prefix(any, to_len)?);
    read.tos = tos;
    read.table = table.into();
    read.protocol = RouteProtocol(protocol);
    read.scope = Scope(scope);
    read.kind = RouteKind(kind);
    read.source = if from_len == 0 { None } else { Some(prefix(any, from_len)?) };
    let mut only = HopAttributes::default();
    let mut several = None;
    for attribute in attributes(rest) {
        let (kind, value) = attribute?;
        match kind {
            RTA_DST => read.destination.ip = ip_of(family, kind, value)?,
            RTA_SRC => read.source = Some(prefix(ip_of(family, kind, value)?, from_len)?),
            RTA_PRIORITY => read.metric = number(kind, value)?,
            RTA_PREFSRC => read.preferred_source = Some(ip_of(family, kind, value)?),
            RTA_METRICS => read.metrics = parse_metrics(value)?,
            RTA_MULTIPATH => several = Some(parse_next_hops(family, value)?),
            RTA_TABLE => read.table = number(kind, value)?,
            RTA_PREF => read.preference = RouterPreference(fixed::<1>(kind, value)?[0]),
            RTA_EXPIRES => read.expires = Some(number(kind, value)?),
            RTA_CACHEINFO => read.expires = read.expires.or(time_left(value)),
            RTA_TTL_PROPAGATE => read.ttl_propagate = Some(fixed::<1>(kind, value)? != [0]),
            _ => only.take(family, kind, value)?,
        }
    }
    // The kernel gives rejecting IPv6 routes the loopback link.
    if !read.kind.rejects() {
        let [flags, ..] = flags.to_le_bytes();
        read.next_hops = match several {
            Some(hops) => hops,
            None => only.next_hop(flags)?.filter(|hop| *hop != NextHop::default()).into_iter().collect(),
        };
    }
    Ok(Some(read))
}

fn prefix(ip: IpAddr, len: u8) -> Result<Prefix, ParseError> {
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    if len > longest { Err(ParseError::PrefixLen(len)) } else { Ok(Prefix { ip, len }) }
}

/// Seconds that are left of a route (`rta_expires` of `struct rta_cacheinfo`, in hundredths of a second).
fn time_left(value: &[u8]) -> Option<u32> {
    let (&[e0, e1, e2, e3], _) = value.get(8..)?.split_first_chunk::<4>()?;
    match i32::from_ne_bytes([e0, e1, e2, e3]) {
        hundredths @ 1.. => Some(hundredths.unsigned_abs().div_ceil(100)),
        _ => None,
    }
}

/// The attributes of one next hop.
#[derive(Debug, Default)]
struct HopAttributes<'a> {
    hop: NextHop,
    encap_type: Option<u16>,
    encap: &'a [u8],
}

impl<'a> HopAttributes<'a> {
    fn take(&mut self, family: u8, kind: u16, value: &'a [u8]) -> Result<(), ParseError> {
        match kind {
            RTA_OIF => self.hop.link = LinkIndex::new(number(kind, value)?),
            RTA_GATEWAY => self.hop.gateway = Some(ip_of(family, kind, value)?),
            RTA_VIA => self.hop.gateway = Some(parse_via(value)?),
            RTA_FLOW => self.hop.realms = Realms::from_wire(number(kind, value)?),
            RTA_ENCAP_TYPE => self.encap_type = Some(u16::from_ne_bytes(fixed(kind, value)?)),
            RTA_ENCAP => self.encap = value,
            _ => {}
        }
        Ok(())
    }

    fn next_hop(self, flags: u8) -> Result<Option<NextHop>, ParseError> {
        let encapsulation = match self.encap_type {
            None | Some(0) => None,
            Some(kind) => Some(parse_encapsulation(kind, self.encap)?),
        };
        Ok(Some(NextHop { onlink: flags & RTNH_F_ONLINK != 0, encapsulation, ..self.hop }))
    }
}

/// A gateway of any family (`struct rtvia`).
fn parse_via(value: &[u8]) -> Result<IpAddr, ParseError> {
    let bad = ParseError::Attribute { kind: RTA_VIA, len: value.len() };
    let (&[f0, f1], octets) = value.split_first_chunk::<2>().ok_or(bad)?;
    let family = u8::try_from(u16::from_ne_bytes([f0, f1])).map_err(|_| bad)?;
    ip_of(family, RTA_VIA, octets)
}

/// `struct rtnexthop` and its attributes, one after another.
fn parse_next_hops(family: u8, mut octets: &[u8]) -> Result<Vec<NextHop>, ParseError> {
    let mut hops = Vec::new();
    while !octets.is_empty() {
        let truncated = |needed| ParseError::Truncated { needed, got: octets.len() };
        let (&[l0, l1, flags, weight, i0, i1, i2, i3], _) = octets.split_first_chunk::<8>().ok_or(truncated(8))?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let whole = octets.get(..len).ok_or(truncated(len))?;
        let mut read = HopAttributes::default();
        for attribute in attributes(whole.get(8..).ok_or(ParseError::Length(len))?) {
            let (kind, value) = attribute?;
            read.take(family, kind, value)?;
        }
        let link = LinkIndex::new(u32::from_ne_bytes([i0, i1, i2, i3]));
        let hop = read.next_hop(flags)?;
        hops.extend(hop.map(|hop| NextHop { link, weight: u16::from(weight) + 1, ..hop }));
        octets = octets.get(super::aligned(len)..).unwrap_or_default();
    }
    Ok(hops)
}

fn parse_metrics(octets: &[u8]) -> Result<Metrics, ParseError> {
    let mut metrics = Metrics::default();
    let mut locked = 0;
    for attribute in attributes(octets) {
        match attribute? {
            (RTAX_LOCK, value) => locked = number(RTAX_LOCK, value)?,
            (RTAX_CC_ALGO, value) => {
                metrics.congctl = Some(Metric::from(String::from_utf8_lossy(text(value)).into_owned()));
            }
            (kind, value) => {
                if let Some(metric) = numeric(&mut metrics, kind) {
                    *metric = Some(Metric::from(number(kind, value)?));
                }
            }
        }
    }
    let is_locked = |kind: u16| locked & (1 << kind) != 0;
    for kind in NUMERIC {
        if let Some(Some(metric)) = numeric(&mut metrics, kind) {
            metric.locked = is_locked(kind);
        }
    }
    if let Some(congctl) = &mut metrics.congctl {
        congctl.locked = is_locked(RTAX_CC_ALGO);
    }
    Ok(metrics)
}

/// Every `RTAX_*` that is a number.
const NUMERIC: [u16; 15] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17];

/// Where the number of `RTAX_*` belongs; `None` for one without a place.
fn numeric(metrics: &mut Metrics, kind: u16) -> Option<&mut Option<Metric<u32>>> {
    Some(match kind {
        2 => &mut metrics.mtu,
        3 => &mut metrics.window,
        4 => &mut metrics.rtt,
        5 => &mut metrics.rttvar,
        6 => &mut metrics.ssthresh,
        7 => &mut metrics.cwnd,
        8 => &mut metrics.advmss,
        9 => &mut metrics.reordering,
        10 => &mut metrics.hoplimit,
        11 => &mut metrics.initcwnd,
        12 => &mut metrics.features,
        13 => &mut metrics.rto_min,
        14 => &mut metrics.initrwnd,
        15 => &mut metrics.quickack,
        17 => &mut metrics.fastopen_no_cookie,
        _ => return None,
    })
}

fn parse_encapsulation(kind: u16, octets: &[u8]) -> Result<Encapsulation, ParseError> {
    Ok(match kind {
        ENCAP_MPLS => Encapsulation::Mpls(parse_labels(octets)?),
        ENCAP_IP => Encapsulation::Ip(parse_tunnel(octets, Ipv4Addr::UNSPECIFIED, |kind, value| {
            fixed::<4>(kind, value).map(Ipv4Addr::from)
        })?),
        ENCAP_IP6 => Encapsulation::Ip6(parse_tunnel(octets, Ipv6Addr::UNSPECIFIED, |kind, value| {
            fixed::<16>(kind, value).map(Ipv6Addr::from)
        })?),
        ENCAP_ILA => {
            let locator = attributes(octets).map_while(Result::ok).find(|(kind, _)| *kind == ILA_LOCATOR);
            let (kind, value) = locator.ok_or(ParseError::Missing(ILA_LOCATOR))?;
            Encapsulation::Ila(u64::from_be_bytes(fixed(kind, value)?))
        }
        kind => Encapsulation::Other { kind, octets: octets.to_vec() },
    })
}

const ILA_LOCATOR: u16 = 1;
const MPLS_DST: u16 = 1;
/// The last label of a stack has this bit (RFC 3032 §2.1).
const BOTTOM_OF_STACK: u32 = 0x100;

fn parse_labels(octets: &[u8]) -> Result<Vec<u32>, ParseError> {
    let found = attributes(octets).map_while(Result::ok).find(|(kind, _)| *kind == MPLS_DST);
    let (_, stack) = found.ok_or(ParseError::Missing(MPLS_DST))?;
    Ok(stack.as_chunks::<4>().0.iter().map(|entry| u32::from_be_bytes(*entry) >> 12).collect())
}

const TUNNEL_ID: u16 = 1;
const TUNNEL_DST: u16 = 2;
const TUNNEL_SRC: u16 = 3;
const TUNNEL_TTL: u16 = 4;
const TUNNEL_TOS: u16 = 5;
const TUNNEL_FLAGS: u16 = 6;

fn parse_tunnel<A: Copy>(
    octets: &[u8],
    unspecified: A,
    address: impl Fn(u16, &[u8]) -> Result<A, ParseError>,
) -> Result<Tunnel<A>, ParseError> {
    let mut tunnel = Tunnel { id: 0, destination: unspecified, source: unspecified, tos: 0, ttl: 0, flags: 0 };
    for attribute in attributes(octets) {
        let (kind, value) = attribute?;
        match kind {
            TUNNEL_ID => tunnel.id = u64::from_be_bytes(fixed(kind, value)?),
            TUNNEL_DST => tunnel.destination = address(kind, value)?,
            TUNNEL_SRC => tunnel.source = address(kind, value)?,
            TUNNEL_TTL => [tunnel.ttl] = fixed(kind, value)?,
            TUNNEL_TOS => [tunnel.tos] = fixed(kind, value)?,
            TUNNEL_FLAGS => tunnel.flags = u16::from_be_bytes(fixed(kind, value)?),
            _ => {}
        }
    }
    Ok(tunnel)
}

/// Appends a request to add `route`, or to put it in the place of the one with its key (`NLM_F_REPLACE` in `flags`).
pub(crate) fn emit_add(route: &Route, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    let mut attributes = identity(route);
    let metrics = metrics(&route.metrics);
    if !metrics.is_empty() {
        attributes.put(RTA_METRICS | Attributes::NESTED, &metrics);
    }
    if let Some(expires) = route.expires {
        attributes.put(RTA_EXPIRES, &expires.to_ne_bytes());
    }
    if route.preference != RouterPreference::MEDIUM {
        attributes.put(RTA_PREF, &[route.preference.0]);
    }
    if let Some(propagate) = route.ttl_propagate {
        attributes.put(RTA_TTL_PROPAGATE, &[propagate.into()]);
    }
    request(Rtm::Newroute, NlmF::CREATE | flags, sequence, payload(route, &attributes).as_slice(), out);
}

/// Appends a request to remove `route`, found by all that tells it from others with its key.
pub(crate) fn emit_remove(route: &Route, flags: NlmF, sequence: u32, out: &mut Vec<u8>) {
    request(Rtm::Delroute, flags, sequence, payload(route, &identity(route)).as_slice(), out);
}

/// Appends a request for all routes of both families.
pub(crate) fn emit_dump(sequence: u32, out: &mut Vec<u8>) {
    request(Rtm::Getroute, NlmF::DUMP, sequence, [0_u8; 12].as_slice(), out);
}

/// Appends a request for the routes that `filter` takes. A socket that does not check strictly gets others too.
pub(crate) fn emit_filtered_dump(filter: RouteFilter, sequence: u32, out: &mut Vec<u8>) {
    let family = match filter.family {
        Family::Ipv4 => AF_INET,
        Family::Ipv6 => AF_INET6,
    };
    let protocol = filter.protocol.map_or(0, |protocol| protocol.0);
    let mut attributes = Attributes::default();
    attributes.put(RTA_TABLE, &filter.table.to_ne_bytes());
    let head = [family, 0, 0, 0, 0, protocol, 0, 0, 0, 0, 0, 0];
    let payload = [head.as_slice(), attributes.as_slice()].concat();
    request(Rtm::Getroute, NlmF::DUMP, sequence, payload.as_slice(), out);
}

/// `struct rtmsg` and what follows it.
fn payload(route: &Route, attributes: &Attributes) -> Vec<u8> {
    let family = if route.destination.ip.is_ipv4() { AF_INET } else { AF_INET6 };
    let onlink = matches!(route.next_hops.as_slice(), [NextHop { onlink: true, .. }]);
    let flags = if onlink { u32::from(RTNH_F_ONLINK) } else { 0 };
    let from_len = route.source.map_or(0, |source| source.len);
    let table = 0; // RTA_TABLE has all of it
    let head =
        [family, route.destination.len, from_len, route.tos, table, route.protocol.0, route.scope.0, route.kind.0];
    [head.as_slice(), &flags.to_ne_bytes(), attributes.as_slice()].concat()
}

fn identity(route: &Route) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.put_ip(RTA_DST, route.destination.ip);
    if let Some(source) = route.source {
        attributes.put_ip(RTA_SRC, source.ip);
    }
    attributes.put(RTA_TABLE, &route.table.to_ne_bytes());
    attributes.put(RTA_PRIORITY, &route.metric.to_ne_bytes());
    if let Some(source) = route.preferred_source {
        attributes.put_ip(RTA_PREFSRC, source);
    }
    let family = route.destination.ip;
    match route.next_hops.as_slice() {
        [] => {}
        [only] => {
            if let Some(link) = only.link {
                attributes.put(RTA_OIF, &link.get().to_ne_bytes());
            }
            put_hop(only, family, &mut attributes);
        }
        several => {
            let hops: Vec<u8> = several.iter().flat_map(|hop| next_hop(hop, family)).collect();
            attributes.put(RTA_MULTIPATH, &hops);
        }
    }
    attributes
}

/// `struct rtnexthop` and its attributes.
fn next_hop(hop: &NextHop, family: IpAddr) -> Vec<u8> {
    let mut attributes = Attributes::default();
    put_hop(hop, family, &mut attributes);
    let len = u16::try_from(8 + attributes.as_slice().len()).unwrap_or(u16::MAX); // the kernel then refuses it
    let weight = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    let flags = if hop.onlink { RTNH_F_ONLINK } else { 0 };
    let link = hop.link.map_or(0, LinkIndex::get);
    [&len.to_ne_bytes(), [flags, weight].as_slice(), &link.to_ne_bytes(), attributes.as_slice()].concat()
}

fn put_hop(hop: &NextHop, family: IpAddr, attributes: &mut Attributes) {
    match hop.gateway {
        Some(IpAddr::V6(gateway)) if family.is_ipv4() => {
            let via = [&u16::from(AF_INET6).to_ne_bytes(), gateway.octets().as_slice()].concat();
            attributes.put(RTA_VIA, &via);
        }
        Some(gateway) => attributes.put_ip(RTA_GATEWAY, gateway),
        None => {}
    }
    if let Some(realms) = hop.realms {
        attributes.put(RTA_FLOW, &realms.to_wire().to_ne_bytes());
    }
    if let Some(encapsulation) = &hop.encapsulation {
        let (kind, value) = encap(encapsulation);
        attributes.put(RTA_ENCAP_TYPE, &kind.to_ne_bytes());
        attributes.put(RTA_ENCAP | Attributes::NESTED, &value);
    }
}

fn encap(encapsulation: &Encapsulation) -> (u16, Vec<u8>) {
    let mut inner = Attributes::default();
    let kind = match encapsulation {
        Encapsulation::Mpls(labels) => {
            let last = labels.len().saturating_sub(1);
            let entry = |(index, label): (usize, &u32)| {
                let bottom = if index == last { BOTTOM_OF_STACK } else { 0 };
                (label << 12 | bottom).to_be_bytes()
            };
            inner.put(MPLS_DST, &labels.iter().enumerate().flat_map(entry).collect::<Vec<_>>());
            ENCAP_MPLS
        }
        Encapsulation::Ip(tunnel) => {
            put_tunnel(tunnel, IpAddr::V4, &mut inner);
            ENCAP_IP
        }
        Encapsulation::Ip6(tunnel) => {
            put_tunnel(tunnel, IpAddr::V6, &mut inner);
            ENCAP_IP6
        }
        Encapsulation::Ila(locator) => {
            inner.put(ILA_LOCATOR, &locator.to_be_bytes());
            ENCAP_ILA
        }
        Encapsulation::Other { kind, octets } => return (*kind, octets.clone()),
    };
    (kind, inner.as_slice().to_vec())
}

fn put_tunnel<A: Copy>(tunnel: &Tunnel<A>, ip: impl Fn(A) -> IpAddr, attributes: &mut Attributes) {
    attributes.put(TUNNEL_ID, &tunnel.id.to_be_bytes());
    for (kind, address) in [(TUNNEL_DST, ip(tunnel.destination)), (TUNNEL_SRC, ip(tunnel.source))] {
        if !address.is_unspecified() {
            attributes.put_ip(kind, address);
        }
    }
    attributes.put(TUNNEL_TTL, &[tunnel.ttl]);
    attributes.put(TUNNEL_TOS, &[tunnel.tos]);
    if tunnel.flags != 0 {
        attributes.put(TUNNEL_FLAGS, &tunnel.flags.to_be_bytes());
    }
}

/// The octets of all metrics; none if the kernel decides on all.
fn metrics(metrics: &Metrics) -> Vec<u8> {
    let mut attributes = Attributes::default();
    let mut lock = 0_u32;
    let mut copy = metrics.clone();
    for kind in NUMERIC {
        if let Some(&mut Some(metric)) = numeric(&mut copy, kind) {
            attributes.put(kind, &metric.value.to_ne_bytes());
            lock |= u32::from(metric.locked) << kind;
        }
    }
    if let Some(Metric { value, locked }) = &metrics.congctl {
        attributes.put(RTAX_CC_ALGO, &[value.as_bytes(), &[0]].concat());
        lock |= u32::from(*locked) << RTAX_CC_ALGO;
    }
    if lock != 0 {
        attributes.put(RTAX_LOCK, &lock.to_ne_bytes());
    }
    attributes.as_slice().to_vec()
}

#[cfg(test)]
pub(crate) mod tests;
