//! nftables by netlink: tables, chains, sets and rules as values, messages, plans, the filter of virtual routers and the
//! marks of virtual servers.
//!
//! The same order of things as for addresses: say which [`Table`]s are wanted, ask [which are there](crate::NftSocket::present),
//! [`plan()`] the difference and [apply](crate::NftSocket::apply) it. The kernel takes a batch as a whole or not at all, so
//! packets never meet half of a filter. [`Firewall`] makes the tables that virtual routers need, [`Marking`] those of virtual
//! servers.
//!
//! A plan only looks at tables that it is told of: everything else in the ruleset belongs to somebody else.

pub mod firewall;
pub mod marking;
pub mod message;
pub mod plan;
pub mod types;

mod expression;

pub use firewall::{Dropped, Firewall, Vmac};
pub use marking::{Marking, Target, Transport};
pub use plan::{Change, plan};
pub use types::{
    BaseChain, Chain, DataType, Element, Expression, Hook, Meta, PayloadBase, Policy, Register, Rule, Set, SetFlags,
    Table, TableName, Verdict,
};
