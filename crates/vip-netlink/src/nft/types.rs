//! Tables and what is in them. Numbers are those of the kernel, whatever they are, so that everything it has can be said.

use std::{collections::BTreeSet, fmt};

use crate::types::Family;

/// What makes a table the same table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Whose packets it sees.
    pub family: Family,
    /// 1 to 254 octets.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        };
        write!(f, "{family} {}", self.name)
    }
}

/// A table and all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Family and name.
    pub name: TableName,
    /// `NFT_TABLE_F_*`: 0, unless somebody made it sleep.
    pub flags: u32,
    /// Sets and maps, in any order.
    pub sets: Vec<Set>,
    /// Chains, in any order.
    pub chains: Vec<Chain>,
}

/// A chain and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets come in; `None` if only from other chains.
    pub base: Option<BaseChain>,
    /// In the order in which packets meet them.
    pub rules: Vec<Rule>,
}

/// How a chain hangs in the path of packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// Where.
    pub hook: Hook,
    /// The least first; `filter` is 0.
    pub priority: i32,
    /// What becomes of a packet that no rule decides on.
    pub policy: Policy,
}

/// `NF_INET_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hook(pub u32);

impl Hook {
    /// Packets to this host.
    pub const INPUT: Self = Self(1);
    /// Packets from this host.
    pub const OUTPUT: Self = Self(3);
}

/// `NF_DROP` or `NF_ACCEPT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Policy(pub u32);

impl Policy {
    /// Lets packets pass.
    pub const ACCEPT: Self = Self(1);
}

/// A set, or a map if its elements have data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// What sort of set.
    pub flags: SetFlags,
    /// What it is asked for.
    pub key: DataType,
    /// What a map answers.
    pub data: Option<DataType>,
    /// The lengths in octets of the parts of a key that is looked for part by part, each in a range of its own; empty for
    /// a key that is looked for as a whole.
    pub parts: Vec<u32>,
    /// Whether each element counts the packets that it was found for.
    pub counters: bool,
    /// What is in it.
    pub elements: BTreeSet<Element>,
}

impl Set {
    /// A set without elements.
    pub fn new(name: impl Into<String>, key: DataType) -> Self {
        Self {
            name: name.into(),
            flags: SetFlags::NONE,
            key,
            data: None,
            parts: Vec::new(),
            counters: false,
            elements: BTreeSet::new(),
        }
    }
}

/// `NFT_SET_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetFlags(pub u32);

impl SetFlags {
    /// Elements come and go.
    pub const NONE: Self = Self(0);
    /// Its elements stay as they are.
    pub const CONSTANT: Self = Self(2);
    /// Its elements are ranges.
    pub const INTERVAL: Self = Self(4);
    /// It is a map.
    pub const MAP: Self = Self(8);
    /// Its keys have several parts.
    pub const CONCATENATED: Self = Self(0x80);

    /// This and the other.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a value is, as `nft` shows it, and its length. The kernel only looks at the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataType {
    /// `nft`'s number for it.
    pub number: u32,
    /// In octets.
    pub len: u32,
}

impl DataType {
    /// `ipv4_addr`
    pub const IPV4_ADDRESS: Self = Self { number: 7, len: 4 };
    /// `ipv6_addr`
    pub const IPV6_ADDRESS: Self = Self { number: 8, len: 16 };
    /// `inet_service`: a port.
    pub const PORT: Self = Self { number: 13, len: 2 };
    /// `mark`
    pub const MARK: Self = Self { number: 19, len: 4 };
    /// `iface_index`
    pub const LINK_INDEX: Self = Self { number: 20, len: 4 };
    /// `icmpv6_type`
    pub const ICMPV6_TYPE: Self = Self { number: 29, len: 1 };
    /// `ifname`
    pub const LINK_NAME: Self = Self { number: 41, len: 16 };

    /// This and then the other: `ipv6_addr . iface_index`.
    #[must_use]
    pub const fn then(self, other: Self) -> Self {
        Self { number: self.number << 6 | other.number, len: self.len.next_multiple_of(4) + other.len }
    }

    /// Whether values are in network byte order, as far as `nft` wants to know.
    pub(crate) const fn is_big_endian(self) -> bool {
        self.number == Self::IPV4_ADDRESS.number || self.number == Self::IPV6_ADDRESS.number
    }
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// As many octets as the set's key has; of a range the first.
    pub key: Vec<u8>,
    /// The last of a range, as long; empty where it is none.
    pub end: Vec<u8>,
    /// As many as the map's data has; none in a set.
    pub data: Vec<u8>,
}

impl Element {
    /// An element of a set.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), end: Vec::new(), data: Vec::new() }
    }
}

/// A rule: expressions one after the other, until one of them does not hold.
pub type Rule = Vec<Expression>;

/// `NFT_REG_*`: 16 octets each; a longer value goes on in the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u32);

impl Register {
    /// Takes decisions.
    pub const VERDICT: Self = Self(0);
    /// The first for values.
    pub const FIRST: Self = Self(1);
    /// The one behind it.
    pub const SECOND: Self = Self(2);
    /// The fifth to the eighth octet of the first one (`NFT_REG32_01`).
    pub const FIRST_SECOND_WORD: Self = Self(9);
}

/// Where [`Expression::Payload`] counts from (`NFT_PAYLOAD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadBase(pub u32);

impl PayloadBase {
    /// The IP header.
    pub const NETWORK: Self = Self(1);
    /// What follows it and its extensions.
    pub const TRANSPORT: Self = Self(2);
}

/// What is known of a packet beside its octets (`NFT_META_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Meta(pub u32);

impl Meta {
    /// The firewall mark.
    pub const MARK: Self = Self(3);
    /// Index of the link that it came in by.
    pub const IIF: Self = Self(4);
    /// Index of the link that it leaves by.
    pub const OIF: Self = Self(5);
    /// Name of the link that it came in by.
    pub const IIFNAME: Self = Self(6);
    /// Name of the link that it leaves by.
    pub const OIFNAME: Self = Self(7);
    /// Protocol of the transport layer.
    pub const L4PROTO: Self = Self(16);
    /// The driver's type of the link that it leaves by, 16 octets.
    pub const OIFKIND: Self = Self(27);
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expression {
    /// Loads octets of the packet.
    Payload {
        /// Counted from here.
        base: PayloadBase,
        /// In octets.
        offset: u32,
        /// In octets.
        len: u32,
        /// Where to.
        to: Register,
    },
    /// Loads what is known of the packet.
    Meta {
        /// What.
        key: Meta,
        /// Where to.
        to: Register,
    },
    /// Changes what is known of the packet.
    SetMeta {
        /// What.
        key: Meta,
        /// Where the value is.
        from: Register,
    },
    /// Holds if the register begins with these octets.
    Equals {
        /// What is compared.
        register: Register,
        /// With what.
        value: Vec<u8>,
    },
    /// Keeps the bits of a mask.
    Mask {
        /// Changed in place.
        register: Register,
        /// As long as the value.
        mask: Vec<u8>,
    },
    /// Holds if the register is in a set; loads what a map says.
    Lookup {
        /// Name of the set.
        set: String,
        /// What is looked for.
        register: Register,
        /// Where a map's answer goes; `None` for a set.
        to: Option<Register>,
    },
    /// Counts packets and octets.
    Counter,
    /// Sends a copy elsewhere.
    Duplicate {
        /// The register with the address of the next hop.
        address: Register,
        /// The register with the index of the link.
        link: Register,
    },
    /// Decides.
    Verdict(Verdict),
    /// Something that this library never makes: the name of the expression.
    Unknown(String),
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It passes this table.
    Accept,
    /// It is thrown away.
    Drop,
    /// Another chain decides, and its end is the end.
    Goto(String),
    /// The chain before goes on, or the policy of a base chain decides.
    Return,
}
