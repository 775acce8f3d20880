//! IPVS services and destinations over generic netlink, and the logic of a virtual server.
//!
//! Four layers, each usable alone:
//!
//! * [`types`]: what IPVS knows, as values: [`Service`], [`Destination`], [`Pool`] (a service with its
//!   destinations), sync daemons, statistics.
//! * [`message`]: requests and answers of the generic netlink family `IPVS` as octets. Pure; no octets panic.
//! * [`plan`](mod@plan): the smallest ordered list of changes from what is present to what is wanted. Pure.
//! * [`socket`]: carries changes out and reads the kernel's table back; starts and stops sync daemons. The only I/O.
//!
//! Beside them stands [`virtual_server`]: verdicts of health checks in, the wanted table and events out. Real servers
//! can be drained, and checks suspended where the service's address is not. Pure.
//!
//! What is left to the caller: running the checks (with retries and warm-up), reading a configuration, deciding which
//! services are its own, counting connections while a server is drained, and when to carry a plan out.
//!
//! ```no_run
//! use ipvs_control::socket::Socket;
//! use ipvs_control::types::{Destination, ForwardingMethod, Pool, Scheduler, Service, ServiceAddress, Weight};
//! use std::collections::BTreeSet;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address = ServiceAddress::tcp("192.0.2.1:80".parse()?);
//! let server = Destination::new("10.0.0.1:80".parse()?, ForwardingMethod::Masquerade).with_weight(Weight(3));
//! let wanted = [Pool { service: Service::new(address, Scheduler::WLC), destinations: vec![server] }];
//!
//! let mut socket = Socket::open()?;
//! let present = socket.dump()?;
//! let changes = ipvs_control::plan(&wanted, &present.pools(), &BTreeSet::from([address]));
//! let report = socket.apply(&changes, Duration::from_secs(1))?;
//! for failure in &report.failures {
//!     eprintln!("{failure}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Features: `serde` derives `Serialize` and `Deserialize` for the values and the changes.

pub mod message;
pub mod plan;
pub mod socket;
#[cfg(test)]
mod testing;
pub mod types;
pub mod virtual_server;

pub use plan::plan;
pub use types::{Change, Destination, ForwardingMethod, Pool, Scheduler, Service, ServiceAddress, Weight};
pub use virtual_server::{Verdict, VirtualServer};

/// The example of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
