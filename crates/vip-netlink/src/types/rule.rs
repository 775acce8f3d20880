//! Rules of policy routing.

use std::{fmt, num::NonZeroU64};

use super::{LinkName, Prefix, Realms, RouteProtocol};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What a rule does with the packets that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum RuleAction {
    /// Looks the route up in this table; not 0.
    Table(u32),
    /// Looks the route up in the table of the VRF that the packet belongs to.
    L3mdev,
    /// Goes on at the rule of this priority, which is above that of the rule itself.
    Goto(u32),
    /// Goes on with the next rule.
    Nop,
    /// Drops silently.
    Blackhole,
    /// Rejects as unreachable.
    Unreachable,
    /// Rejects as prohibited.
    Prohibit,
    /// Any other number of the kernel's `FR_ACT_*`.
    Other(u8),
}

/// Matches packets whose mark is `mark` in the bits of `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Fwmark {
    /// The mark.
    pub mark: u32,
    /// The bits that count.
    pub mask: u32,
}

/// An IPv4 or IPv6 rule. Two rules are the same one if all of it is equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rule {
    /// Whose packets it is for.
    pub family: Family,
    /// Rules are tried in ascending order.
    pub priority: u32,
    /// What it does.
    pub action: RuleAction,
    /// Matches what the rest of the rule does not.
    pub invert: bool,
    /// Source of the packets.
    pub from: Option<Prefix>,
    /// Destination of the packets.
    pub to: Option<Prefix>,
    /// Type of service; 0 = any.
    pub tos: u8,
    /// Mark of the packets.
    pub fwmark: Option<Fwmark>,
    /// Incoming link, which need not exist yet.
    pub iif: Option<LinkName>,
    /// Outgoing link, which need not exist yet.
    pub oif: Option<LinkName>,
    /// Key of the tunnel that the packets came through.
    pub tunnel_id: Option<NonZeroU64>,
    /// First and last user of the packets, both included.
    pub uid_range: Option<(u32, u32)>,
    /// IP protocol; 0 = any.
    pub ip_protocol: u8,
    /// First and last source port, both included.
    pub source_ports: Option<(u16, u16)>,
    /// First and last destination port, both included.
    pub destination_ports: Option<(u16, u16)>,
    /// IPv4: for accounting and traffic control.
    pub realms: Option<Realms>,
    /// A route with a prefix of this length or shorter is not used; below 2³¹.
    pub suppress_prefix_length: Option<u32>,
    /// A route through a link of this group is not used; below 2³¹.
    pub suppress_group: Option<u32>,
    /// Who made it.
    pub protocol: RouteProtocol,
}

impl Rule {
    /// A rule as keepalived makes it: marked with protocol 18; matches every packet of `family`.
    pub const fn new(family: Family, priority: u32, action: RuleAction) -> Self {
        Self {
            family,
            priority,
            action,
            invert: false,
            from: None,
            to: None,
            tos: 0,
            fwmark: None,
            iif: None,
            oif: None,
            tunnel_id: None,
            uid_range: None,
            ip_protocol: 0,
            source_ports: None,
            destination_ports: None,
            realms: None,
            suppress_prefix_length: None,
            suppress_group: None,
            protocol: RouteProtocol::KEEPALIVED,
        }
    }

    /// The rule as the kernel reports it: a prefix that every address has is none.
    #[must_use]
    pub fn as_reported(&self) -> Self {
        let narrow = |network: Option<Prefix>| network.filter(|network| network.len > 0);
        Self { from: narrow(self.from), to: narrow(self.to), ..self.clone() }
    }
}

impl fmt::Display for Rule {
    /// Family, priority and what is asked for most: enough to find it in a list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        };
        write!(f, "{family} rule {}", self.priority)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some(iif) = self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = self.oif {
            write!(f, " oif {oif}")?;
        }
        Ok(())
    }
}
