//! Links on top of other links, and the IPv4 settings of a link.

use std::fmt;

use super::{Link, LinkIndex, LinkName, MacAddr};

/// How macvlans on one link reach each other (`IFLA_MACVLAN_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MacvlanMode(pub u32);

impl MacvlanMode {
    /// Not at all.
    pub const PRIVATE: Self = Self(1);
    /// Through the next switch.
    pub const VEPA: Self = Self(2);
    /// Directly.
    pub const BRIDGE: Self = Self(4);
    /// There is one only.
    pub const PASSTHRU: Self = Self(8);
}

/// On which layer an ipvlan shares the link below (`IFLA_IPVLAN_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IpvlanMode(pub u16);

impl IpvlanMode {
    /// Frames: broadcast and multicast reach it.
    pub const L2: Self = Self(0);
    /// Packets, routed by the host's other namespace.
    pub const L3: Self = Self(1);
}

/// How ipvlans on one link reach each other (`IFLA_IPVLAN_FLAGS`); the kernel keeps one answer for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IpvlanFlags(pub u16);

impl IpvlanFlags {
    /// Directly.
    pub const BRIDGE: Self = Self(0);
    /// Not at all.
    pub const PRIVATE: Self = Self(1);
    /// Through the next switch.
    pub const VEPA: Self = Self(2);
}

/// What sort of link stands on top of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum VirtualKind {
    /// With a MAC address of its own.
    Macvlan {
        /// How it reaches the others.
        mode: MacvlanMode,
    },
    /// With the MAC address of the link below.
    Ipvlan {
        /// On which layer.
        mode: IpvlanMode,
        /// How it reaches the others.
        flags: IpvlanFlags,
    },
}

impl VirtualKind {
    /// The kernel's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
        }
    }
}

/// A link on top of another one, as it is to be. It is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VirtualLink {
    /// Its name.
    pub name: LinkName,
    /// The link below.
    pub parent: LinkIndex,
    /// What sort of link it is.
    pub kind: VirtualKind,
    /// Its MAC address; `None` leaves it to the kernel. An ipvlan has that of the link below.
    pub mac: Option<MacAddr>,
    /// The group of links that it belongs to (`IFLA_GROUP`).
    pub group: u32,
    /// The VRF that it belongs to.
    pub master: Option<LinkIndex>,
    /// How it gets link-local IPv6 addresses; `None` leaves it to the kernel.
    pub address_generation: Option<AddressGeneration>,
    /// Its settings; those without a value are left as they are.
    pub ipv4: Ipv4Conf,
}

impl VirtualLink {
    /// Whether `link` is this one, if not in every detail: what differs can be changed while it stays.
    pub(crate) fn is(&self, link: &Link) -> bool {
        let kind = link.virtual_kind.map(VirtualKind::name);
        self.name == link.name && link.parent == Some(self.parent) && kind == Some(self.kind.name())
    }
}

/// How the kernel makes link-local IPv6 addresses of a link (`IFLA_INET6_ADDR_GEN_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AddressGeneration(pub u8);

impl AddressGeneration {
    /// From the MAC address (RFC 4291 appendix A).
    pub const EUI64: Self = Self(0);
    /// Not at all.
    pub const NONE: Self = Self(1);
}

/// A setting of a link for IPv4: a value of `/proc/sys/net/ipv4/conf/LINK` that netlink can read and write too
/// (`IPV4_DEVCONF_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Ipv4Setting {
    /// Packets from this host's own addresses are taken.
    AcceptLocal,
    /// ARP is answered only on the link that packets to the sender would leave on.
    ArpFilter,
    /// 1: ARP is answered only for addresses of the link itself.
    ArpIgnore,
    /// When the first address of a network goes, the next one takes its place.
    PromoteSecondaries,
    /// 1: packets are taken only from where answers would go (RFC 3704 strict); 2: from where any way leads; 0: all.
    RpFilter,
}

impl Ipv4Setting {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::AcceptLocal, Self::ArpFilter, Self::ArpIgnore, Self::PromoteSecondaries, Self::RpFilter];

    /// Its name below `/proc/sys/net/ipv4/conf/LINK`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptLocal => "accept_local",
            Self::ArpFilter => "arp_filter",
            Self::ArpIgnore => "arp_ignore",
            Self::PromoteSecondaries => "promote_secondaries",
            Self::RpFilter => "rp_filter",
        }
    }

    /// The kernel's number, from 1.
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::RpFilter => 8,
            Self::ArpFilter => 13,
            Self::ArpIgnore => 19,
            Self::PromoteSecondaries => 20,
            Self::AcceptLocal => 23,
        }
    }
}

/// Values of some [settings](Ipv4Setting); the others are not known or not to be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ipv4Conf {
    values: [Option<u32>; Ipv4Setting::ALL.len()], // in the order of ALL
}

impl Ipv4Conf {
    /// With a value for `setting`.
    #[must_use]
    pub fn with(mut self, setting: Ipv4Setting, value: u32) -> Self {
        for (place, known) in self.values.iter_mut().zip(Ipv4Setting::ALL) {
            if known == setting {
                *place = Some(value);
            }
        }
        self
    }

    /// The value of `setting`.
    pub fn value(&self, setting: Ipv4Setting) -> Option<u32> {
        self.iter().find(|(known, _)| *known == setting).map(|(_, value)| value)
    }

    /// What has a value.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Setting, u32)> {
        Ipv4Setting::ALL.into_iter().zip(self.values).filter_map(|(setting, value)| Some((setting, value?)))
    }

    /// What has a value here and another one, or none, in `present`.
    pub(crate) fn beside(&self, present: &Self) -> Self {
        let news = self.iter().filter(|(setting, value)| present.value(*setting) != Some(*value));
        news.fold(Self::default(), |conf, (setting, value)| conf.with(setting, value))
    }

    /// Whether nothing has a value.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Ipv4Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (setting, value)) in self.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(f, "{space}{}={value}", setting.name())?;
        }
        Ok(())
    }
}
