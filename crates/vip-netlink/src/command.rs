//! Changes as the command of iproute2 that asks for the same. Pure; for people who read a refusal.

use std::fmt::{self, Display, Write};

use crate::{
    plan::{Change, Placement},
    types::{
        Address, AddressFlags, Encapsulation, Family, Lifetime, LinkIndex, LinkName, Metric, Metrics, NextHop, Route,
        RouteKind, RouterPreference, Rule, RuleAction, Tunnel,
    },
};

impl Change {
    /// The change as a command of iproute2: `ip address add 192.0.2.1/24 dev eth0 proto 18`. `name` finds the name of a
    /// link. `None` for what is not about an address, a route or a rule.
    pub fn command(&self, name: impl Fn(LinkIndex) -> Option<LinkName>) -> Option<String> {
        let link = |index: LinkIndex| name(index).map_or_else(|| format!("if{}", index.get()), |name| name.to_string());
        let mut out = Words::default();
        match self {
            Self::AddAddress(it) => out.address("add", it, &link(it.link)),
            Self::EditAddress(it) => out.address("replace", it, &link(it.link)),
            Self::RemoveAddress(it) => {
                out.word(format_args!("ip address del {}/{}", it.ip, it.prefix_len));
                out.pair("dev", Some(link(it.link)));
            }
            Self::AddRoute { route, placement } => {
                let verb = match placement {
                    Placement::First => "prepend",
                    Placement::Last => "append",
                    Placement::Alone => "add",
                };
                out.route(verb, route, &link);
            }
            Self::ReplaceRoute(route) => out.route("replace", route, &link),
            Self::RemoveRoute(route) => out.route("del", route, &link),
            Self::AddRule(rule) => out.rule("add", rule),
            Self::RemoveRule(rule) => out.rule("del", rule),
            _ => return None,
        }
        Some(out.0)
    }
}

/// Words with a space between.
#[derive(Default)]
struct Words(String);

impl Words {
    fn word(&mut self, word: impl Display) {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{space}{word}");
    }

    fn flag(&mut self, set: bool, word: &str) {
        if set {
            self.word(word);
        }
    }

    fn pair(&mut self, word: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.word(format_args!("{word} {value}"));
        }
    }

    fn address(&mut self, verb: &str, it: &Address, link: &str) {
        self.word(format_args!("ip address {verb} {}", it.ip));
        match it.peer {
            None => self.0 += &format!("/{}", it.prefix_len),
            Some(peer) => self.word(format_args!("peer {peer}/{}", it.prefix_len)),
        }
        self.pair("brd", it.broadcast);
        self.pair("dev", Some(link));
        self.pair("scope", Some(it.scope.0).filter(|scope| *scope != 0));
        self.pair("label", it.label);
        for (flag, word) in [
            (AddressFlags::HOMEADDRESS, "home"),
            (AddressFlags::NODAD, "nodad"),
            (AddressFlags::MANAGETEMPADDR, "mngtmpaddr"),
            (AddressFlags::NOPREFIXROUTE, "noprefixroute"),
            (AddressFlags::MCAUTOJOIN, "autojoin"),
        ] {
            self.flag(it.flags.contains(flag), word);
        }
        for (word, lifetime) in [("valid_lft", it.valid), ("preferred_lft", it.preferred)] {
            if let Lifetime::Seconds(seconds) = lifetime {
                self.pair(word, Some(seconds));
            }
        }
        self.pair("proto", it.protocol.map(|protocol| protocol.0));
    }

    fn route(&mut self, verb: &str, it: &Route, link: &impl Fn(LinkIndex) -> String) {
        self.word(if it.destination.ip.is_ipv4() { "ip route" } else { "ip -6 route" });
        self.word(verb);
        if it.kind != RouteKind::UNICAST {
            self.word(Kind(it.kind));
        }
        self.word(it.destination);
        self.pair("from", it.source);
        let (only, several) = match it.next_hops.as_slice() {
            [only] => (Some(only), &[][..]),
            several => (None, several),
        };
        if let Some(hop) = only {
            self.next_hop(hop, link);
        }
        self.pair("src", it.preferred_source);
        self.pair("tos", Some(it.tos).filter(|tos| *tos != 0));
        self.pair("metric", Some(it.metric).filter(|metric| *metric != 0));
        self.pair("table", Some(it.table).filter(|table| *table != Route::MAIN));
        self.pair("scope", Some(it.scope.0).filter(|scope| *scope != 0));
        self.pair("proto", Some(it.protocol.0));
        self.pair("expires", it.expires);
        match it.preference {
            RouterPreference::MEDIUM => {}
            RouterPreference::HIGH => self.word("pref high"),
            RouterPreference::LOW => self.word("pref low"),
            RouterPreference(other) => self.pair("pref", Some(other)),
        }
        self.pair("ttl-propagate", it.ttl_propagate.map(|on| if on { "enabled" } else { "disabled" }));
        self.metrics(&it.metrics);
        for hop in several {
            self.word("nexthop");
            self.next_hop(hop, link);
            self.pair("weight", Some(hop.weight));
        }
    }

    fn next_hop(&mut self, it: &NextHop, link: &impl Fn(LinkIndex) -> String) {
        if let Some(encapsulation) = &it.encapsulation {
            self.encapsulation(encapsulation);
        }
        self.pair("via", it.gateway);
        self.pair("dev", it.link.map(link));
        self.flag(it.onlink, "onlink");
        self.pair("realms", it.realms.map(|realms| format!("{}/{}", realms.source, realms.destination)));
    }

    fn encapsulation(&mut self, it: &Encapsulation) {
        match it {
            Encapsulation::Mpls(labels) => {
                let labels: Vec<_> = labels.iter().map(ToString::to_string).collect();
                self.word(format_args!("encap mpls {}", labels.join("/")));
            }
            Encapsulation::Ip(tunnel) => self.tunnel("ip", ["tos", "ttl"], tunnel),
            Encapsulation::Ip6(tunnel) => self.tunnel("ip6", ["tc", "hoplimit"], tunnel),
            Encapsulation::Ila(locator) => {
                let [a, b, c, d] = [48, 32, 16, 0].map(|bits| locator >> bits & 0xffff);
                self.word(format_args!("encap ila {a:x}:{b:x}:{c:x}:{d:x}"));
            }
            Encapsulation::Other { kind, .. } => self.word(format_args!("encap {kind}")),
        }
    }

    fn tunnel<A: Display>(&mut self, kind: &str, [class, hops]: [&str; 2], it: &Tunnel<A>) {
        self.word(format_args!("encap {kind} id {} dst {} src {}", it.id, it.destination, it.source));
        self.pair(class, Some(it.tos).filter(|tos| *tos != 0));
        self.pair(hops, Some(it.ttl).filter(|ttl| *ttl != 0));
        self.pair("flags", Some(it.flags).filter(|flags| *flags != 0));
    }

    fn metrics(&mut self, it: &Metrics) {
        let mut metric = |word: &str, metric: &Option<Metric<u32>>| {
            self.pair(word, metric.as_ref().map(|it| format!("{}{}", if it.locked { "lock " } else { "" }, it.value)));
        };
        metric("mtu", &it.mtu);
        metric("advmss", &it.advmss);
        metric("rtt", &it.rtt);
        metric("rttvar", &it.rttvar);
        metric("rto_min", &it.rto_min);
        metric("reordering", &it.reordering);
        metric("window", &it.window);
        metric("cwnd", &it.cwnd);
        metric("ssthresh", &it.ssthresh);
        metric("initcwnd", &it.initcwnd);
        metric("initrwnd", &it.initrwnd);
        metric("hoplimit", &it.hoplimit);
        metric("features", &it.features);
        metric("quickack", &it.quickack);
        metric("fastopen_no_cookie", &it.fastopen_no_cookie);
        self.pair("congctl", it.congctl.as_ref().map(|it| &it.value));
    }

    fn rule(&mut self, verb: &str, it: &Rule) {
        self.word(if it.family == Family::Ipv4 { "ip rule" } else { "ip -6 rule" });
        self.word(verb);
        self.flag(it.invert, "not");
        match it.from {
            None => self.word("from all"),
            from => self.pair("from", from),
        }
        self.pair("to", it.to);
        self.pair("tos", Some(it.tos).filter(|tos| *tos != 0));
        self.pair("fwmark", it.fwmark.map(|it| format!("{:#x}/{:#x}", it.mark, it.mask)));
        self.pair("iif", it.iif);
        self.pair("oif", it.oif);
        self.pair("tun_id", it.tunnel_id);
        self.pair("uidrange", it.uid_range.map(|(first, last)| format!("{first}-{last}")));
        self.pair("ipproto", Some(it.ip_protocol).filter(|protocol| *protocol != 0));
        let ports = |ports: Option<(u16, u16)>| ports.map(|(first, last)| format!("{first}-{last}"));
        self.pair("sport", ports(it.source_ports));
        self.pair("dport", ports(it.destination_ports));
        self.pair("priority", Some(it.priority));
        match it.action {
            RuleAction::Table(table) => self.pair("table", Some(table)),
            RuleAction::L3mdev => self.word("l3mdev"),
            RuleAction::Goto(priority) => self.pair("goto", Some(priority)),
            RuleAction::Nop => self.word("nop"),
            RuleAction::Blackhole => self.word("blackhole"),
            RuleAction::Unreachable => self.word("unreachable"),
            RuleAction::Prohibit => self.word("prohibit"),
            RuleAction::Other(number) => self.pair("type", Some(number)),
        }
        self.pair("realms", it.realms.map(|realms| format!("{}/{}", realms.source, realms.destination)));
        self.pair("suppress_prefixlength", it.suppress_prefix_length);
        self.pair("suppress_ifgroup", it.suppress_group);
        self.pair("protocol", Some(it.protocol.0));
    }
}

/// The word for what becomes of the packets of a route.
struct Kind(RouteKind);

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.0 {
            RouteKind::LOCAL => "local",
            RouteKind::BROADCAST => "broadcast",
            RouteKind::ANYCAST => "anycast",
            RouteKind::MULTICAST => "multicast",
            RouteKind::BLACKHOLE => "blackhole",
            RouteKind::UNREACHABLE => "unreachable",
            RouteKind::PROHIBIT => "prohibit",
            RouteKind::THROW => "throw",
            RouteKind(other) => return write!(f, "{other}"),
        };
        f.write_str(word)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::types::{Fwmark, Prefix, Realms, Scope};

    fn link() -> LinkIndex {
        LinkIndex::new(2).unwrap()
    }

    fn words(change: &Change) -> String {
        change.command(|index| (index == link()).then(|| "eth0".parse().unwrap())).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_with_everything() {
        let plain = Address::virtual_address(link(), ip("192.0.2.1"), 24);
        assert_eq!(words(&Change::AddAddress(plain)), "ip address add 192.0.2.1/24 dev eth0 proto 18");
        assert_eq!(words(&Change::RemoveAddress(plain)), "ip address del 192.0.2.1/24 dev eth0");
        let all = Address {
            peer: Some(ip("2001:db8::2")),
            scope: Scope(253),
            label: Some("eth0:1".parse().unwrap()),
            broadcast: Some([192, 0, 2, 255].into()),
            flags: AddressFlags::all(),
            preferred: Lifetime::Seconds(5),
            ..Address::virtual_address(link(), ip("2001:db8::1"), 128)
        };
        assert_eq!(
            words(&Change::EditAddress(all)),
            "ip address replace 2001:db8::1 peer 2001:db8::2/128 brd 192.0.2.255 dev eth0 scope 253 label eth0:1 home \
             nodad mngtmpaddr noprefixroute autojoin preferred_lft 5 proto 18"
        );
    }

    #[test]
    fn routes_with_everything() {
        let hop = NextHop {
            gateway: Some(ip("192.0.2.9")),
            link: Some(link()),
            weight: 3,
            onlink: true,
            encapsulation: Some(Encapsulation::Mpls(vec![16, 17])),
            realms: Realms::from_wire(0x0001_0002),
        };
        let far = NextHop { link: LinkIndex::new(9), encapsulation: None, ..NextHop::default() };
        let plain = Route::new(Prefix::network(ip("10.1.0.0"), 16));
        let several = Route { next_hops: vec![hop.clone(), far], ..plain.clone() };
        assert_eq!(
            words(&Change::AddRoute { route: Box::new(several), placement: Placement::Last }),
            "ip route append 10.1.0.0/16 proto 18 nexthop encap mpls 16/17 via 192.0.2.9 dev eth0 onlink realms 1/2 \
             weight 3 nexthop dev if9 weight 1"
        );
        let locked = |value| Some(Metric { value, locked: true });
        let metrics = Metrics { mtu: locked(1400), hoplimit: Some(9.into()), ..Metrics::default() };
        let tunnel =
            Tunnel { id: 3, destination: [192, 0, 2, 1].into(), source: [0; 4].into(), tos: 8, ttl: 3, flags: 0 };
        let one = Route {
            kind: RouteKind::BROADCAST,
            preferred_source: Some(ip("192.0.2.3")),
            tos: 16,
            metric: 5,
            table: 77,
            scope: Scope(253),
            ttl_propagate: Some(true),
            metrics,
            next_hops: vec![NextHop { encapsulation: Some(Encapsulation::Ip(tunnel)), ..hop }],
            ..plain
        };
        assert_eq!(
            words(&Change::AddRoute { route: Box::new(one.clone()), placement: Placement::First }),
            "ip route prepend broadcast 10.1.0.0/16 encap ip id 3 dst 192.0.2.1 src 0.0.0.0 tos 8 ttl 3 via 192.0.2.9 \
             dev eth0 onlink realms 1/2 src 192.0.2.3 tos 16 metric 5 table 77 scope 253 proto 18 ttl-propagate enabled \
             mtu lock 1400 hoplimit 9"
        );
        let ila = Encapsulation::Ila(0x0001_0002_0003_abcd);
        let six = Route {
            source: Some(Prefix::network(ip("2001:db8:1::"), 48)),
            expires: Some(30),
            preference: RouterPreference::HIGH,
            next_hops: vec![NextHop { encapsulation: Some(ila), ..NextHop::default() }],
            ..Route::new(Prefix::network(ip("2001:db8::"), 48))
        };
        assert_eq!(
            words(&Change::RemoveRoute(Box::new(six))),
            "ip -6 route del 2001:db8::/48 from 2001:db8:1::/48 encap ila 1:2:3:abcd proto 18 expires 30 pref high"
        );
    }

    #[test]
    fn rules_with_everything() {
        let plain = Rule::new(Family::Ipv4, 3, RuleAction::Table(7));
        assert_eq!(
            words(&Change::RemoveRule(Box::new(plain.clone()))),
            "ip rule del from all priority 3 table 7 protocol 18"
        );
        let all = Rule {
            family: Family::Ipv6,
            invert: true,
            from: Some(Prefix::network(ip("2001:db8::"), 32)),
            to: Some(Prefix::network(ip("2001:db8:1::"), 48)),
            tos: 16,
            fwmark: Some(Fwmark { mark: 3, mask: 7 }),
            iif: "eth0".parse().ok(),
            oif: "eth1".parse().ok(),
            tunnel_id: std::num::NonZeroU64::new(6),
            uid_range: Some((0, 9)),
            ip_protocol: 6,
            source_ports: Some((3, 7)),
            destination_ports: Some((8, 8)),
            suppress_prefix_length: Some(3),
            suppress_group: Some(4),
            action: RuleAction::Goto(9),
            ..plain
        };
        assert_eq!(
            words(&Change::AddRule(Box::new(all))),
            "ip -6 rule add not from 2001:db8::/32 to 2001:db8:1::/48 tos 16 fwmark 0x3/0x7 iif eth0 oif eth1 tun_id 6 \
             uidrange 0-9 ipproto 6 sport 3-7 dport 8-8 priority 3 goto 9 suppress_prefixlength 3 suppress_ifgroup 4 \
             protocol 18"
        );
        assert_eq!(Change::DelLink(link().into()).command(|_| None), None);
    }
}
