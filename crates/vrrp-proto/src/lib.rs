//! VRRPv2 and VRRPv3 (RFC 9568) without I/O, with keepalived's options.
//!
//! Four levels, each usable alone:
//!
//! | level | in | out |
//! |---|---|---|
//! | [`Pdu`], [`checksum()`] | octets | fields, and back |
//! | [`Receiver`], [`Transmitter`], [`Demultiplexer`] | packets of a raw socket; a priority | a [`Verified`] advertisement or a [`Discard`]; packets; whose packet it is |
//! | [`VirtualRouter`] | advertisements, timeouts, faults, [`Command`]s | [`Action`]s |
//! | [`Engine`] | the same for many routers, and links, trackers, reloads, kernel results | [`Action`]s, a [`Plan`] per reload |
//!
//! [`WireConfig`] says how the packets of a router look and holds its secrets; [`RouterConfig`] says how it behaves. An
//! [`EngineConfig`] is many of the latter with the sync groups ([`GroupConfig`]: routers that move together) and trackers
//! ([`TrackerConfig`], [`TrackerUse`]: what moves priorities or makes a fault); [`EngineConfig::findings`] names what of
//! it does not count. [`Engine::snapshot`] and [`Engine::resume`] carry everything into the next process;
//! [`Engine::explain_priority`] says how a priority comes about; an [`Input`] is any call as a value, and a [`Recording`]
//! of them replays bit for bit. Counters are [`RouterStats`] and [`ReceiverStats`].
//!
//! Left to the caller: sockets, the clock, netlink, ARP and Neighbor Advertisement frames, notification scripts, the log.
//! Time is an argument ([`Instant`], CLOCK_BOOTTIME); secrets are in [`WireConfig`] only, never in a state machine.
//!
//! The run loop of every state machine here: make one call, drain `poll_action` to `None`, wait until `poll_timeout` or
//! the next input.
//!
//! ```
//! use core::time::Duration;
//! use vrrp_proto::*;
//!
//! let vrid = Vrid::new(51).ok_or("VRID 0")?;
//! let config = RouterConfig::new(vrid, Family::Ipv4);
//! let mut router = VirtualRouter::new(RouterId(1), config);
//! let boot = Instant::ZERO;
//! router.startup(boot);
//! while let Some(action) = router.poll_action() {
//!     println!("{action:?}"); // Apply(Released), Record(EnteringBackup), ...
//! }
//! // Silence for Active_Down_Interval: three seconds and Skew_Time.
//! let due = router.poll_timeout().ok_or("no timer")?;
//! assert_eq!(due, boot + Duration::from_micros(3_609_375));
//! router.handle_timeout(due);
//! assert_eq!(router.role(), Role::Active);
//! # Ok::<(), &str>(())
//! ```
//!
//! # Features
//!
//! `serde` (default): `Serialize` and `Deserialize` for every input and output of the engine.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod action;
mod advertisement;
mod auth;
mod checksum;
mod config;
mod control;
mod demultiplexer;
mod engine;
mod input;
mod planted;
mod receiver;
mod stats;
mod track;
mod transmitter;
mod types;
mod virtual_router;
mod wire;

pub use action::{
    Action, AnnounceScope, ConflictOutcome, Event, FaultReason, Notification, Ownership, Role, RouterSnapshot,
};
pub use advertisement::{Addresses, Advertisement, ParseError, Pdu, VersionFields};
pub use auth::{
    AntiReplay, AuthData, Authentication, Hmac, HmacKey, HmacMode, KeyError, KeyId, Password, ReplayMemory, Sequence,
    UnixTime,
};
pub use checksum::{PROTOCOL, PseudoHeader, checksum};
pub use config::{
    AnnounceConfig, ConfigFinding, EngineConfig, ExtraLinks, GroupConfig, Partners, RouterConfig, Rules, StrictChange,
    TrackedLink,
};
pub use control::{Command, Control, StepDown};
pub use demultiplexer::{Ambiguous, Arrival, Demultiplexer, Path};
pub use engine::{Changes, Engine, LinkFacts, Plan, Snapshot};
pub use input::{Input, Recording};
#[cfg(feature = "planted-bugs")]
#[doc(hidden)]
pub use planted::{Bug, plant};
pub use receiver::{AddressMismatch, ClockSkew, Discard, IntervalMismatch, Packet, Receiver, Report, Verified};
pub use stats::{ReceiverStats, RouterStats};
pub use track::{Fixed, PriorityExplanation, Tracked, TrackerConfig, TrackerUse, Verdict};
pub use transmitter::{OutgoingAdvert, Reserved, TransmitError, Transmitter};
pub use types::{
    AdvertisementInterval, Centis, Family, GroupId, Instant, LinkId, OutOfRange, Priority, RouterId, Seconds, Ticket,
    TrackerId, Version, VirtualMac, Vrid,
};
pub use virtual_router::{Active, ActiveRouter, Backup, Conflict, Fault, RivalOwner, RivalPhase, State, VirtualRouter};
pub use wire::{Cast, GROUP_IPV4, GROUP_IPV6, OldUnicastChecksum, Peer, WireConfig, default_group};

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
