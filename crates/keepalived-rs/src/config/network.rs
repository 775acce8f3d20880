//! Addresses, routes and rules of a configuration as values of `vip-netlink`, with interfaces still by name.

use std::time::Duration;

use conf_parser::Spanned;
use conf_parser::config as file;
use serde::{Deserialize, Serialize};
use vip_netlink::{
    AddressFlags, Encapsulation, Family, Fwmark, Lifetime, LinkIndex, LinkName, Metric, Metrics, NextHop, PlacedRoute,
    Placement, Prefix, Realms, Route, RouteKind, RouteProtocol, RouterPreference, Rule, RuleAction, Scope, Tunnel,
};

use super::vrrp::{HeldAddress, Instance, VirtualAddress};

/// What belongs to a router on this host, or to the host itself for as long as the daemon runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Belongings {
    /// `virtual_ipaddress`, then `virtual_ipaddress_excluded`; `static_ipaddress`.
    pub(crate) addresses: Vec<HeldAddress>,
    /// `virtual_routes`; `static_routes`.
    pub(crate) routes: Vec<HeldRoute>,
    /// `virtual_rules`; `static_rules`.
    pub(crate) rules: Vec<HeldRule>,
}

impl Belongings {
    /// What belongs to `instance`.
    pub(crate) fn of(instance: &Instance) -> Self {
        Self { addresses: instance.addresses.clone(), routes: instance.routes.clone(), rules: instance.rules.clone() }
    }

    /// `static_ipaddress`, `static_routes` and `static_rules`. Where a name stands for nothing here, its line is left out.
    pub(crate) fn fixed(config: &file::Config) -> Self {
        let device = &config.global.vrrp.default_interface;
        let address = |address: &file::VirtualAddress| {
            let device = address.dev.as_ref().map_or(device, |dev| &dev.value);
            VirtualAddress::from_config(address, device.clone()).into()
        };
        Self {
            addresses: config.static_addresses.iter().map(address).collect(),
            routes: config.static_routes.iter().filter_map(|route| HeldRoute::from_config(&route.value)).collect(),
            rules: config.static_rules.iter().filter_map(|rule| HeldRule::from_config(&rule.value)).collect(),
        }
    }

    /// What a successor has to know of it to take it away again.
    pub(crate) fn footprint(&self) -> Footprint {
        Footprint {
            addresses: self.addresses.clone(),
            routes: self.routes.clone(),
            rules: self.rules.iter().map(|held| held.rule.clone()).collect(),
        }
    }
}

/// What somebody may have put on this host: enough to take it away again, not to put it there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Addresses.
    pub(crate) addresses: Vec<HeldAddress>,
    /// Routes, with the names of their interfaces: a route of others may have the same key.
    pub(crate) routes: Vec<HeldRoute>,
    /// Rules.
    pub(crate) rules: Vec<Rule>,
}

impl Footprint {
    /// Whether there is nothing of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.routes.is_empty() && self.rules.is_empty()
    }

    /// Each thing of it in the words of `ip`, at most so many.
    pub(crate) fn words(&self, most: usize) -> String {
        let addresses = self.addresses.iter().map(|it| format!("{}/{} dev {}", it.ip, it.prefix_len, it.device));
        let routes = self.routes.iter().map(|held| format!("route {}", held.route()));
        let rules = self.rules.iter().map(|rule| format!("rule {rule}"));
        let words: Vec<_> = addresses.chain(routes).chain(rules).take(most).collect();
        let more = self.addresses.len() + self.routes.len() + self.rules.len() - words.len();
        words.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
    }

    /// This one, then what `other` has beside it.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        extend(&mut self.addresses, &other.addresses);
        extend(&mut self.routes, &other.routes);
        extend(&mut self.rules, &other.rules);
        self
    }
}

fn extend<T: Clone + PartialEq>(mine: &mut Vec<T>, others: &[T]) {
    let more: Vec<T> = others.iter().filter(|other| !mine.contains(other)).cloned().collect();
    mine.extend(more);
}

/// What each `track_group` depends on: its name, and the interface of a static address, route or rule that names it.
pub(crate) fn depended_on(config: &file::Config) -> Vec<(String, String)> {
    let pair = |group: Option<&Spanned<String>>, device: Option<&Spanned<String>>| {
        Some((group?.value.clone(), device?.value.clone()))
    };
    let addresses = config.static_addresses.iter().map(|it| pair(it.options().track_group.as_ref(), it.dev.as_deref()));
    let routes = config.static_routes.iter().map(|it| pair(it.track_group.as_deref(), it.dev.as_deref()));
    let rules = config.static_rules.iter().map(|it| pair(it.track_group.as_deref(), it.iif.as_deref()));
    addresses.chain(routes).chain(rules).flatten().collect()
}

impl From<Vec<VirtualAddress>> for Belongings {
    fn from(addresses: Vec<VirtualAddress>) -> Self {
        Self { addresses: addresses.into_iter().map(HeldAddress::from).collect(), ..Self::default() }
    }
}

/// A route whose links are not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct HeldRoute {
    /// The route; none of its next hops has a link.
    placed: PlacedRoute,
    /// The interface of each next hop; `None` leaves it to the kernel.
    devices: Vec<Option<String>>,
    /// Whether it matters when others delete it.
    track: bool,
}

impl HeldRoute {
    /// What the file says; `None` if a name in it stands for nothing here.
    pub(crate) fn from_config(route: &file::Route) -> Option<Self> {
        let file::RouteTable::Table(table) = &route.table else { return None };
        let shared = optional(route.realms.as_deref(), realms)?;
        let hops = hops(route);
        let next_hops = hops.iter().map(|hop| next_hop(hop, shared)).collect::<Option<Vec<_>>>()?;
        let placed = PlacedRoute {
            placement: match route.mode {
                file::RouteMode::Prepend => Placement::First,
                file::RouteMode::Append => Placement::Last,
                file::RouteMode::Add => Placement::Alone,
            },
            route: Route {
                kind: RouteKind(route.kind.number()),
                table: table.number()?,
                metric: route.metric.unwrap_or(0),
                tos: route.tos.number()?,
                protocol: RouteProtocol(route.protocol.number()?),
                scope: Scope(route.scope.number()?),
                source: route.source.map(prefix),
                preferred_source: route.preferred_source,
                next_hops,
                expires: route.expires.map(|expires| u32::try_from(expires.as_secs()).unwrap_or(u32::MAX)),
                preference: route.preference.map_or(RouterPreference::MEDIUM, preference),
                ttl_propagate: route.ttl_propagate,
                metrics: route.metrics.as_deref().map(metrics).unwrap_or_default(),
                ..Route::new(prefix(route.destination))
            },
        };
        let devices = hops.iter().map(|hop| hop.dev.as_ref().map(|dev| dev.value.clone())).collect();
        Some(Self { placed, devices, track: route.track })
    }

    /// The route as the kernel is to have it; `None` without one of its interfaces.
    pub(crate) fn resolve(&self, link: impl Fn(&str) -> Option<LinkIndex>) -> Option<PlacedRoute> {
        let mut placed = self.placed.clone();
        for (hop, device) in placed.route.next_hops.iter_mut().zip(&self.devices) {
            hop.link = device.as_deref().map(|device| link(device).ok_or(())).transpose().ok()?;
        }
        Some(placed)
    }

    /// The route as the kernel may still have it; `None` if that went with its interfaces. In IPv6 each next hop stays for
    /// itself.
    pub(crate) fn resolve_left(&self, link: impl Fn(&str) -> Option<LinkIndex>) -> Option<Route> {
        if self.placed.route.destination.ip.is_ipv4() {
            return self.resolve(link).map(|placed| placed.route);
        }
        let is_there = |device: &Option<String>| device.as_deref().is_none_or(|device| link(device).is_some());
        let mut left = self.clone();
        let hops = left.placed.route.next_hops.iter().zip(&self.devices).filter(|(_, device)| is_there(device));
        left.placed.route.next_hops = hops.map(|(hop, _)| hop.clone()).collect();
        left.devices.retain(is_there);
        let is_gone = left.devices.is_empty() && !self.devices.is_empty() && !left.placed.route.kind.rejects();
        if is_gone { None } else { left.resolve(link).map(|placed| placed.route) }
    }

    /// The route, without the links of its next hops.
    pub(crate) fn route(&self) -> &Route {
        &self.placed.route
    }

    /// The interfaces that it names.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().flatten().map(String::as_str)
    }

    /// Whether it matters when others delete it: not with `no_track`, nor without `dev`.
    pub(crate) fn is_tracked(&self) -> bool {
        self.track
    }
}

/// A rule, and what a deletion by others means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldRule {
    /// The rule.
    pub(crate) rule: Rule,
    /// Whether it matters when others delete it: not with `no_track`.
    pub(crate) track: bool,
}

impl HeldRule {
    /// What the file says; `None` if a name in it stands for nothing here.
    pub(crate) fn from_config(rule: &file::Rule) -> Option<Self> {
        Some(Self { rule: self::rule(rule)?, track: rule.track })
    }
}

/// `None` only if there is a value and nothing can be made of it.
fn optional<T, U>(value: Option<T>, make: impl FnOnce(T) -> Option<U>) -> Option<Option<U>> {
    match value {
        None => Some(None),
        Some(value) => make(value).map(Some),
    }
}

/// The next hops of a route: those of its `nexthop`s, else what the route itself says.
fn hops(route: &file::Route) -> Vec<file::NextHop> {
    if !route.next_hops.is_empty() {
        return route.next_hops.clone();
    }
    if route.gateway.is_none() && route.dev.is_none() && route.encapsulation.is_none() {
        return Vec::new();
    }
    vec![file::NextHop {
        gateway: route.gateway,
        dev: route.dev.clone(),
        weight: 1,
        onlink: route.onlink,
        encapsulation: route.encapsulation.clone(),
        realms: None,
    }]
}

fn next_hop(hop: &file::NextHop, shared: Option<Realms>) -> Option<NextHop> {
    let own = optional(hop.realms.as_deref(), realms)?;
    Some(NextHop {
        gateway: hop.gateway,
        link: None,
        weight: hop.weight,
        onlink: hop.onlink,
        encapsulation: optional(hop.encapsulation.as_deref(), encapsulation)?,
        realms: own.or(shared),
    })
}

fn prefix(prefix: file::Prefix) -> Prefix {
    Prefix::network(prefix.address, prefix.len)
}

fn realms(realms: &file::Realms) -> Option<Realms> {
    let source = realms.source.as_ref().map_or(Some(0), file::Named::number)?;
    Some(Realms { source: source.into(), destination: realms.destination.number()?.into() })
}

fn preference(preference: file::RouterPreference) -> RouterPreference {
    match preference {
        file::RouterPreference::Low => RouterPreference::LOW,
        file::RouterPreference::Medium => RouterPreference::MEDIUM,
        file::RouterPreference::High => RouterPreference::HIGH,
        file::RouterPreference::Other(number) => RouterPreference(number),
    }
}

fn metrics(metrics: &file::Metrics) -> Metrics {
    let number = |metric: Option<file::Metric<u32>>| metric.map(|it| Metric { value: it.value, locked: it.lock });
    let plain = |value: Option<u32>| value.map(Metric::from);
    // The kernel counts round-trip times in eighths and their variance in quarters of a millisecond.
    let time = |metric: Option<file::Metric<Duration>>, parts: u32| {
        let value = |time: Duration| u32::try_from((time * parts).as_millis()).unwrap_or(u32::MAX);
        metric.map(|it| Metric { value: value(it.value), locked: it.lock })
    };
    Metrics {
        mtu: number(metrics.mtu),
        advmss: number(metrics.advmss),
        rtt: time(metrics.rtt, 8),
        rttvar: time(metrics.rttvar, 4),
        rto_min: time(metrics.rto_min, 1),
        reordering: number(metrics.reordering),
        window: plain(metrics.window),
        cwnd: number(metrics.cwnd),
        ssthresh: number(metrics.ssthresh),
        initcwnd: plain(metrics.initcwnd),
        initrwnd: plain(metrics.initrwnd),
        hoplimit: plain(metrics.hoplimit.map(u32::from)),
        features: plain(metrics.ecn.then_some(Metrics::ECN)),
        quickack: plain(metrics.quickack.map(u32::from)),
        fastopen_no_cookie: plain(metrics.fastopen_no_cookie.then_some(1)),
        congctl: metrics.congctl.as_ref().map(|it| Metric { value: it.value.clone(), locked: it.lock }),
    }
}

fn encapsulation(encapsulation: &file::Encapsulation) -> Option<Encapsulation> {
    Some(match encapsulation {
        file::Encapsulation::Mpls(labels) => Encapsulation::Mpls(labels.clone()),
        file::Encapsulation::Ip(it) => Encapsulation::Ip(tunnel(it, std::net::Ipv4Addr::UNSPECIFIED)?),
        file::Encapsulation::Ip6(it) => Encapsulation::Ip6(tunnel(it, std::net::Ipv6Addr::UNSPECIFIED)?),
        file::Encapsulation::Ila(locator) => Encapsulation::Ila(*locator),
    })
}

fn tunnel<A: Copy>(tunnel: &file::TunnelRoute<A>, unspecified: A) -> Option<Tunnel<A>> {
    Some(Tunnel {
        id: tunnel.id.unwrap_or(0),
        destination: tunnel.destination.unwrap_or(unspecified),
        source: tunnel.source.unwrap_or(unspecified),
        tos: tunnel.dsfield.as_ref().map_or(Some(0), file::Named::number)?,
        ttl: tunnel.hop_limit.unwrap_or(0),
        flags: tunnel.flags.unwrap_or(0),
    })
}

/// What the file says of a rule; `None` if a name in it stands for nothing here.
fn rule(rule: &file::Rule) -> Option<Rule> {
    let family = match rule.family {
        file::Family::Ipv4 => Family::Ipv4,
        file::Family::Ipv6 => Family::Ipv6,
    };
    let action = match &rule.action {
        file::RuleAction::Table(table) => RuleAction::Table(table.number()?),
        file::RuleAction::L3mdev => RuleAction::L3mdev,
        file::RuleAction::Goto(preference) => RuleAction::Goto(*preference),
        file::RuleAction::Nop => RuleAction::Nop,
        file::RuleAction::Blackhole => RuleAction::Blackhole,
        file::RuleAction::Unreachable => RuleAction::Unreachable,
        file::RuleAction::Prohibit => RuleAction::Prohibit,
    };
    let link = |name: &Spanned<String>| LinkName::try_from(name.value.as_str()).ok();
    Some(Rule {
        invert: rule.invert,
        from: rule.from.map(prefix),
        to: rule.to.map(prefix),
        tos: rule.tos.as_ref().map_or(Some(0), file::Named::number)?,
        fwmark: rule.fwmark.map(|fwmark| Fwmark { mark: fwmark.mark, mask: fwmark.mask }),
        iif: optional(rule.iif.as_deref(), link)?,
        oif: optional(rule.oif.as_deref(), link)?,
        tunnel_id: rule.tunnel_id,
        uid_range: rule.uid_range,
        ip_protocol: rule.ip_protocol.as_ref().map_or(Some(0), file::Named::number)?,
        source_ports: rule.source_ports,
        destination_ports: rule.destination_ports,
        realms: optional(rule.realms.as_deref(), realms)?,
        suppress_prefix_length: rule.suppress_prefix_length,
        suppress_group: optional(rule.suppress_interface_group.as_ref(), file::Named::number)?,
        protocol: RouteProtocol(rule.protocol),
        ..Rule::new(family, rule.preference, action)
    })
}

/// The flags that a line asks for (`home`, `-nodad`, …).
pub(crate) fn address_flags(address: &file::VirtualAddress) -> AddressFlags {
    let options = address.options();
    let nodad = address.address.is_ipv6() && !options.detect_duplicates;
    let flags = [
        (nodad, AddressFlags::NODAD),
        (options.home, AddressFlags::HOMEADDRESS),
        (options.mngtmpaddr, AddressFlags::MANAGETEMPADDR),
        (options.noprefixroute, AddressFlags::NOPREFIXROUTE),
        (options.autojoin, AddressFlags::MCAUTOJOIN),
    ];
    flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect()
}

/// `preferred_lft`.
pub(crate) fn preferred(lifetime: file::Lifetime) -> Lifetime {
    match lifetime {
        file::Lifetime::Forever => Lifetime::Forever,
        file::Lifetime::Seconds(seconds) => Lifetime::Seconds(seconds),
    }
}
