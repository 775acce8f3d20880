//! The checker worker's part of a configuration.

use std::net::IpAddr;

use conf_parser::config::{Config, ServiceKey, VirtualServer};
use serde::{Deserialize, Serialize};

/// Everything the checker worker is told by a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CheckerPart {
    /// The virtual servers, in the order of the file.
    pub(crate) virtual_servers: Vec<VirtualServer>,
}

impl CheckerPart {
    /// What `config` says about virtual servers. Their scripts are the runner's affair.
    pub(crate) fn from_config(config: &Config) -> Self {
        Self { virtual_servers: config.virtual_servers.clone() }
    }
}

/// As log lines and events name a real server: `[ADDR]:PROTO:PORT`, or without a protocol behind a firewall mark.
pub(crate) fn real_server_name(service: &ServiceKey, address: IpAddr, port: u16) -> String {
    match service {
        ServiceKey::Address { protocol, .. } => format!("[{address}]:{protocol}:{port}"),
        ServiceKey::Fwmark { .. } => format!("[{address}]:{port}"),
    }
}
