//! Network laboratories for tests: hosts in user and network namespaces, virtual machines, peers.
//!
//! A program that calls [`enter`] first goes on as root in namespaces of its own, without any rights on the machine, and
//! leaves nothing behind however it ends. Inside, a [`Lab`] is a network on a table: [`Host`]s around [`Bridge`]s, with
//! [`Process`]es to start, freeze and kill, [`Pinger`]s that measure what a client loses, and [`Capture`]s. Tests get all that, and their skips
//! and names, from [`harness`]; C keepalived to compare with from [`peers`]; IPVS, which namespaces do not have, from [`vm`].
//!
//! ```no_run
//! use std::time::Duration;
//! use netlab::{Lab, Program};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     netlab::enter()?;
//!     let lab = Lab::new()?;
//!     let lan = lab.bridge("br0")?;
//!     let (router, client) = (lab.host("r1")?, lab.host("client")?);
//!     for (host, address) in [(&router, "192.0.2.1/24"), (&client, "192.0.2.9/24")] {
//!         lab.connect(host, "eth0", &lan)?;
//!         host.address("eth0", address)?;
//!     }
//!     let daemon = router.spawn(Program::new("keepalived").arg("-nlDP").file("/etc/keepalived/keepalived.conf", ""))?;
//!     let pinger = client.ping([192, 0, 2, 1].into(), Duration::from_millis(2))?;
//!     pinger.wait_for_answer(Duration::from_secs(1))?;
//!     router.cut("eth0")?;
//!     daemon.kill_all()?;
//!     println!("{:?}", pinger.longest_gap());
//!     Ok(())
//! }
//! ```
//!
//! All times are [`std::time::Instant`]s, CLOCK_MONOTONIC on Linux, so that they can be compared with each other.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod capture;
mod error;
pub mod harness;
mod isolation;
mod lab;
mod netns;
pub mod peers;
mod pinger;
mod process;
mod traffic;
pub mod vm;

pub use capture::{Arp, Capture, Frame, IpPacket};
pub use error::{LabError, Skip};
pub use isolation::{AS_ROOT, Refused, enter, is_as_root};
pub use lab::{Bridge, Host, Lab};
pub use netns::NetNs;
pub use pinger::{Gap, PingCounts, Pinger};
pub use process::{Line, Mark, Process, ProcessInfo, Program, Source};
pub use traffic::{Claim, EXPERIMENT, Junk, Lateness, Ticker};
