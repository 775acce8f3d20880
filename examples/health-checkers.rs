//! Checks TCP addresses as keepalived's `TCP_CHECK` does, and says when a verdict changes.
//!
//! `cargo run -p keepalived-rs-examples --example health-checkers -- 127.0.0.1:22 192.0.2.1:80`
//!
//! Each server is tried every two seconds, six times in all. A server that is up gets one retry before it is down.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use health_checkers::{
    driver::Driver,
    probe::{Connect, tcp::Tcp},
    schedule::{Config, Schedule},
};

const TRIES: usize = 6;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let servers = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    ensure!(!servers.is_empty(), "usage: health-checkers ADDRESS:PORT...");

    let mut driver = Driver::new(Driver::<SocketAddr>::DEFAULT_IN_FLIGHT);
    for (seed, server) in (0..).zip(&servers) {
        let config = Config {
            delay_loop: Duration::from_secs(2),
            // A different seed for each server spreads the first tries.
            seed,
            ..Config::default()
        };
        let connect = Connect { connect_timeout: Duration::from_secs(1), ..Connect::to(*server) };
        driver.add(*server, Schedule::new(config), Box::new(Tcp::new(connect)));
        driver.activate(server);
    }

    // One event for each finished try. The stream never ends by itself.
    let mut events = driver.take(TRIES * servers.len());
    while let Some(event) = events.next().await {
        let lines = event.outcome.lines(&event.id.to_string()).join(" ");
        println!("{lines} ({:?})", event.took);
        if event.report.changed || event.report.first {
            println!("{} is {:?}", event.id, event.report.verdict);
        }
    }
    Ok(())
}
