//! Virtual IP addresses, routes and rules on Linux: rtnetlink plans, gratuitous ARP and unsolicited neighbour advertisements.
//!
//! All that is reconciled, not scripted: say what you want, [dump](RouteSocket::present) what is there,
//! [`plan()`] the difference and [`apply`](RouteSocket::apply) it, many requests in one send. Then tell the neighbours
//! with [`Announcement`]s. A [`Monitor`] reports what others change meanwhile.
//!
//! [`types`], [`message`], [`announce`], [`mod@plan`], [`pace`] and [`nft`] (nftables) are pure; [`socket`] is the only I/O. Left to the
//! caller: when to do all this, sysctls, and who owns what. A plan removes only what it is told to.
//!
//! ```no_run
//! use vip_netlink::{Address, Announcement, AnnounceSocket, Change, RouteSocket};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut route = RouteSocket::open()?;
//! let eth0 = route.link("eth0".parse()?)?.ok_or("no eth0 here")?;
//! let vip = Address::virtual_address(eth0.index, [192, 0, 2, 1].into(), 24);
//!
//! for refusal in route.apply(&[Change::AddAddress(vip)]).refused {
//!     eprintln!("{}", refusal.error); // adding 192.0.2.1/24 to eth0: Operation not permitted (os error 1)
//! }
//! let mac = eth0.mac.ok_or("not an Ethernet")?;
//! let news = Announcement { link: eth0.index, mac, ip: vip.ip, router: false };
//! for refusal in AnnounceSocket::open()?.send(&[news]).refused {
//!     eprintln!("{}", refusal.error); // announcing 192.0.2.1 on eth0: Network is down (os error 100)
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Sockets belong to the network namespace of the thread that opens them, wherever they are used later.
//!
//! The feature `serde` gives the values of [`types`] `Serialize` and `Deserialize`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod announce;
mod command;
pub mod message;
pub mod nft;
pub mod pace;
pub mod plan;
pub mod socket;
pub mod types;

pub use announce::Announcement;
pub use message::event::Event;
pub use plan::{Change, PlacedRoute, Placement, Present, Wanted, plan};
pub use socket::{
    AnnounceSocket, Announced, Applied, CarrierSocket, Error, Monitor, NftEvent, NftMonitor, NftSocket, RECEIVE_BUFFER,
    Received, Refusal, RouteSocket,
};
pub use types::{
    Address, AddressFlags, AddressGeneration, AddressKey, AddressProtocol, Encapsulation, Family, Fwmark, InvalidName,
    Ipv4Conf, Ipv4Setting, IpvlanFlags, IpvlanMode, Lifetime, Link, LinkFlags, LinkIndex, LinkName, LinkRef, MacAddr,
    MacvlanMode, Metric, Metrics, NextHop, OperState, Prefix, Realms, Route, RouteFilter, RouteKey, RouteKind,
    RouteProtocol, RouterPreference, Rule, RuleAction, Scope, Tunnel, VirtualKind, VirtualLink,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
