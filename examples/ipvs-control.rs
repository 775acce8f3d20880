//! The way from one IPVS table to another, in memory only: the kernel needs no IPVS and nothing is changed.
//!
//! `cargo run -p keepalived-rs-examples --example ipvs-control`

use std::collections::BTreeSet;

use anyhow::Result;
use ipvs_control::{Destination, ForwardingMethod, Pool, Scheduler, Service, ServiceAddress, Weight, plan};

/// A service with real servers on its port, each with a weight.
fn pool(address: ServiceAddress, scheduler: Scheduler, servers: &[(&str, u32)]) -> Result<Pool> {
    let destinations = servers.iter().map(|(server, weight)| {
        let destination = Destination::new(server.parse()?, ForwardingMethod::DirectRoute);
        Ok(destination.with_weight(Weight(*weight)))
    });
    Ok(Pool { service: Service::new(address, scheduler), destinations: destinations.collect::<Result<_>>()? })
}

fn main() -> Result<()> {
    let web = ServiceAddress::tcp("198.18.0.100:80".parse()?);
    let mail = ServiceAddress::tcp("198.18.0.101:25".parse()?);
    let old = ServiceAddress::tcp("198.18.0.102:21".parse()?);
    let foreign = ServiceAddress::udp("198.18.0.103:53".parse()?);

    let present = [
        pool(web, Scheduler::WLC, &[("192.0.2.11:80", 1), ("192.0.2.12:80", 1)])?,
        pool(old, Scheduler::WLC, &[("192.0.2.11:21", 1)])?,
        pool(foreign, Scheduler::WLC, &[("192.0.2.53:53", 1)])?,
    ];
    let wanted = [
        pool(web, Scheduler::WLC, &[("192.0.2.12:80", 5), ("192.0.2.13:80", 1)])?,
        pool(mail, Scheduler::WLC, &[("192.0.2.11:25", 1)])?,
    ];

    // Only what is ours may be removed: the foreign service stays.
    let ours = BTreeSet::from([web, mail, old]);
    for change in plan(&wanted, &present, &ours) {
        println!("{change}");
    }
    Ok(())
}
