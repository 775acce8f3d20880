//! keepalived in Rust: VRRP failover and IPVS load balancing from unmodified `keepalived.conf`.

mod config;
mod ipc;
mod log;
mod privileges;
mod reader;
mod workers;

fn main() {}
