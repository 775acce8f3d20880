//! keepalived's `TCP_CHECK`: a server is usable if it accepts a connection.

use async_trait::async_trait;

use super::{
    Context, Probe,
    connect::{Connect, ConnectError},
};
use crate::outcome::{Failure, Note, Outcome, Reason};

/// Connects, and closes at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    connect: Connect,
}

impl Tcp {
    /// What messages call such a check.
    pub const KIND: &str = "TCP_CHECK";

    /// A check of `connect`.
    #[must_use]
    pub const fn new(connect: Connect) -> Self {
        Self { connect }
    }
}

#[async_trait]
impl Probe for Tcp {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    async fn run(&self, _: &Context) -> Outcome {
        match self.connect.open().await {
            Ok(_closed_at_once) => Outcome::success(vec![Note::TcpConnected]),
            Err(ConnectError::Timeout) => Failure::new(Reason::TcpTimeout).into(),
            Err(ConnectError::Remote(error) | ConnectError::Local(error)) => {
                Failure::with_detail(Reason::TcpFailed, error).into()
            }
        }
    }
}
