//! `static_rules` and `virtual_rules`.

use std::num::NonZeroU64;

use super::route::Line;
use super::*;

/// `group`.
pub(crate) const GROUPS: Names = &[("default", 0)];

/// `/etc/protocols`.
pub(crate) const IP_PROTOCOLS: Names = &[
    ("ip", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("ipip", 94),
    ("etherip", 97),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("isis", 124),
    ("sctp", 132),
    ("udplite", 136),
    ("mpls-in-ip", 137),
];

config_type! {
/// What a rule does with the packets that it matches.
pub enum RuleAction {
    /// `table`: looks up the route in this table, never 0.
    Table(Named<u32>),
    /// `l3mdev`: looks up the route in the table of the VRF device.
    L3mdev,
    /// `goto`: goes on at the rule with this preference, which is above that of the rule itself.
    Goto(u32),
    /// `nop`: goes on with the next rule.
    Nop,
    /// `blackhole`: drops silently.
    Blackhole,
    /// `unreachable`: rejects as unreachable.
    Unreachable,
    /// `prohibit`: rejects as prohibited.
    Prohibit,
}}

config_type! {
/// `fwmark`: matches packets whose mark is `mark` in the bits of `mask`.
#[derive(Copy, Hash)]
pub struct Fwmark {
    /// The number before the `/`.
    pub mark: u32,
    /// The number after the `/`; all bits where absent.
    pub mask: u32,
}}

config_type! {
/// One line of `static_rules` or `virtual_rules`: a rule of policy routing.
pub struct Rule {
    /// `inet`, `inet6`, or the family of the addresses.
    pub family: Family,
    /// `preference`: rules are tried in ascending order. Without one they count down from 16384 in the order of the
    /// file, each family for itself.
    pub preference: u32,
    /// `not`: matches what the rest of the rule does not.
    pub invert: bool,
    /// `from`: source of the packets.
    pub from: Option<Prefix>,
    /// `to`: destination of the packets.
    pub to: Option<Prefix>,
    /// `tos`; any where absent.
    pub tos: Option<Named<u8>>,
    /// `fwmark`.
    pub fwmark: Option<Fwmark>,
    /// `iif`: incoming interface.
    pub iif: Option<Box<Spanned<String>>>,
    /// `oif`: outgoing interface.
    pub oif: Option<Box<Spanned<String>>>,
    /// `tunnel-id`; 0, which is written for any, is `None`.
    pub tunnel_id: Option<NonZeroU64>,
    /// `uidrange`: first and last user id, both included.
    pub uid_range: Option<(u32, u32)>,
    /// `ipproto`: IP protocol, 0 to 127 as a number.
    pub ip_protocol: Option<Named<u8>>,
    /// `sport`: first and last source port, both included.
    pub source_ports: Option<(u16, u16)>,
    /// `dport`: first and last destination port, both included.
    pub destination_ports: Option<(u16, u16)>,
    /// `realms`; IPv4 only.
    pub realms: Option<Box<Realms>>,
    /// `suppress_prefixlength`: a route with a prefix of this length or shorter is not used; 0 to 2147483647.
    pub suppress_prefix_length: Option<u32>,
    /// `suppress_ifgroup`: a route through an interface of this group is not used; 0 to 2147483647.
    pub suppress_interface_group: Option<Named<u32>>,
    /// `protocol`; default keepalived (18), and always that where `track` is set.
    pub protocol: u8,
    /// What it does.
    pub action: RuleAction,
    /// Whether its deletion by others is acted on; `no_track` clears it.
    pub track: bool,
    /// `track_group`: its instances fault when the rule is lost for good. Static rules with an `iif` only.
    pub track_group: Option<Box<Spanned<String>>>,
}}

/// Matches every packet of IPv4 and does nothing.
impl Default for Rule {
    fn default() -> Self {
        Self {
            family: Family::Ipv4,
            preference: 0,
            invert: false,
            from: None,
            to: None,
            tos: None,
            fwmark: None,
            iif: None,
            oif: None,
            tunnel_id: None,
            uid_range: None,
            ip_protocol: None,
            source_ports: None,
            destination_ports: None,
            realms: None,
            suppress_prefix_length: None,
            suppress_interface_group: None,
            protocol: KEEPALIVED,
            action: RuleAction::Nop,
            track: true,
            track_group: None,
        }
    }
}

impl Rule {
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let devices = self.iif.iter().chain(&self.oif);
        devices.map(|dev| (dev.value.as_str(), dev.span, missing(dev, "rule")))
    }

    pub(super) fn host_names<'a>(&'a self, out: &mut Vec<HostName<'a>>) {
        let mut names = HostNames { out, cost: "the rule is not used" };
        if let RuleAction::Table(table) = &self.action {
            names.add(NameTable::RoutingTables, table, |name| format!("Routing table {name} not found for rule"));
        }
        if let Some(tos) = &self.tos {
            names.add(NameTable::DsFields, tos, |name| format!("TOS value {name} is invalid"));
        }
        if let Some(realms) = &self.realms {
            realms.host_names("invalid", "rule", &mut names);
        }
        if let Some(group) = &self.suppress_interface_group {
            names.add(NameTable::InterfaceGroups, group, |name| format!("suppress_group {name} is invalid"));
        }
        if let Some(protocol) = &self.ip_protocol {
            names.cost = "the rule is used without it, and so matches more";
            names.add(NameTable::IpProtocols, protocol, |name| format!("Invalid ipproto {name}"));
        }
    }

    /// Puts numbers in the place of names. False where `host` is known not to have one that the rule needs.
    pub(super) fn resolve(&mut self, host: &dyn Host) -> bool {
        if !self.ip_protocol.as_mut().is_none_or(|protocol| protocol.resolve(NameTable::IpProtocols, host)) {
            self.ip_protocol = None;
        }
        let table = match &mut self.action {
            RuleAction::Table(table) => table.resolve(NameTable::RoutingTables, host),
            _ => true,
        };
        let group = &mut self.suppress_interface_group;
        table
            && self.tos.as_mut().is_none_or(|tos| tos.resolve(NameTable::DsFields, host))
            && self.realms.as_mut().is_none_or(|realms| realms.resolve(host))
            && group.as_mut().is_none_or(|group| group.resolve(NameTable::InterfaceGroups, host))
    }

    fn words(&self) -> Vec<Scalar> {
        let mut line = Line::default();
        let range = |(first, last): (u32, u32)| format!("{first}-{last}");
        let ports = |(first, last): (u16, u16)| format!("{first}-{last}");
        line.flag("not", self.invert);
        line.text("from", self.from);
        line.text("to", self.to);
        line.value("tos", self.tos.as_ref().map(|tos| tos.word(DSFIELDS)));
        line.text("fwmark", self.fwmark.map(|Fwmark { mark, mask }| format!("{mark:#x}/{mask:#x}")));
        line.text("iif", self.iif.as_ref().map(|iif| &iif.value));
        line.text("oif", self.oif.as_ref().map(|oif| &oif.value));
        line.text("tunnel-id", self.tunnel_id);
        line.text("uidrange", self.uid_range.map(range));
        line.value("ipproto", self.ip_protocol.as_ref().map(|protocol| protocol.word(IP_PROTOCOLS)));
        line.text("sport", self.source_ports.map(ports));
        line.text("dport", self.destination_ports.map(ports));
        line.value("realms", self.realms.as_deref().map(Realms::word));
        line.number("suppress_prefixlength", self.suppress_prefix_length);
        line.value("suppress_ifgroup", self.suppress_interface_group.as_ref().map(|group| group.word(GROUPS)));
        line.number("protocol", Some(self.protocol));
        line.number("preference", Some(self.preference));
        line.action(&self.action);
        line.flag("no_track", !self.track);
        line.text("track_group", self.track_group.as_ref().map(|group| &group.value));
        let told = self.from.or(self.to).is_some();
        line.flag("inet6", self.family == Family::Ipv6 && !told);
        line.0
    }
}

impl Line {
    fn action(&mut self, action: &RuleAction) {
        match action {
            RuleAction::Table(table) => self.value("table", Some(table.word(TABLES))),
            RuleAction::L3mdev => self.word("l3mdev"),
            RuleAction::Goto(preference) => self.number("goto", Some(*preference)),
            RuleAction::Nop => self.word("nop"),
            RuleAction::Blackhole => self.word("blackhole"),
            RuleAction::Unreachable => self.word("unreachable"),
            RuleAction::Prohibit => self.word("prohibit"),
        }
    }
}

pub(super) fn show_rules(rules: &[Spanned<Rule>], slot: Slot, out: &mut Vec<Setting>) {
    show_list(rules, slot, out, |rule| Setting::entry(rule.words(), rule.span));
}
