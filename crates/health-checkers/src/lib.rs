//! Is this real server usable?
//!
//! Three layers, each usable alone:
//!
//! * [`schedule`]: *when* a server is tried and what the results mean. A pure state machine: time and outcomes are
//!   arguments, the next deadline and the [`Verdict`](schedule::Verdict) come out.
//! * [`probe`]: *how* a server is tried: [`Probe`](probe::Probe) and the probes [`Tcp`](probe::tcp::Tcp) (keepalived's
//!   `TCP_CHECK`), [`HttpGet`](probe::http::HttpGet) (`HTTP_GET`), `SslGet` (`SSL_GET`, with the feature `tls`),
//!   [`Smtp`](probe::smtp::Smtp) (`SMTP_CHECK`), [`Dns`](probe::dns::Dns) (`DNS_CHECK`),
//!   [`Udp`](probe::udp::Udp) (`UDP_CHECK`), [`Ping`](probe::ping::Ping) (`PING_CHECK`) and
//!   [`Misc`](probe::misc::Misc) (`MISC_CHECK`, whose program the caller runs). Whatever a server does, a probe ends
//!   within bounded time and memory. Nothing is tried for `FILE_CHECK`: [`File`](probe::file::File) says what a number
//!   in a file does to a server.
//! * [`driver`]: runs many checks on one task: a [`Stream`](futures::Stream) of events, one for each finished try.
//!
//! What a verdict leads to (weights, quorum, the kernel's table), what is logged and where, and what keeps the list of
//! servers is left to the caller.
//!
//! ```no_run
//! use std::time::Duration;
//! use futures::StreamExt as _;
//! use health_checkers::{driver::Driver, probe::{Connect, tcp::Tcp}, schedule::{Config, Schedule}};
//!
//! # async fn example() {
//! let mut driver = Driver::new(Driver::<&str>::DEFAULT_IN_FLIGHT);
//! let config = Config { delay_loop: Duration::from_secs(5), ..Config::default() };
//! let probe = Tcp::new(Connect::to("192.0.2.10:80".parse().unwrap()));
//! driver.add("web 1", Schedule::new(config), Box::new(probe));
//! driver.activate(&"web 1");
//! while let Some(event) = driver.next().await {
//!     if event.report.changed {
//!         println!("{} is now {:?}", event.id, event.report.verdict);
//!     }
//! }
//! # }
//! ```
//!
//! Cargo features: `tls` adds `probe::ssl` and `probe::tls`; without it there is neither rustls nor ring.

pub mod driver;
pub mod outcome;
pub mod probe;
pub mod schedule;
