//! How a server is tried.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use async_trait::async_trait;

pub mod dns;
pub mod file;
pub mod http;
pub mod misc;
pub mod ping;
pub mod smtp;
#[cfg(feature = "tls")]
pub mod ssl;
pub mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
pub mod udp;

mod connect;

pub use connect::Connect;

use crate::{
    outcome::Outcome,
    schedule::{Attempt, Verdict},
};

/// One kind of check of one server, with its settings.
///
/// A probe keeps nothing between tries and bounds its own time and memory, whatever the server does. Dropping the
/// future ends the try.
#[async_trait]
pub trait Probe: Send + Sync {
    /// keepalived's word for this kind of check in its log: `TCP_CHECK`, `HTTP_CHECK`.
    fn kind(&self) -> &'static str;

    /// Tries the server once. Every error is an [`Outcome::Failure`].
    async fn run(&self, cx: &Context) -> Outcome;
}

/// What a probe may know of the check it runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// Which step to try, and how often it failed before.
    pub attempt: Attempt,
    /// The verdict before this try.
    pub verdict: Verdict,
}

impl Context {
    /// The context of one try.
    #[must_use]
    pub const fn new(attempt: Attempt, verdict: Verdict) -> Self {
        Self { attempt, verdict }
    }
}

/// Numbers that nobody else can know: the keys of a hash that the standard library draws for its maps.
fn random() -> [u8; 8] {
    RandomState::new().build_hasher().finish().to_ne_bytes()
}
