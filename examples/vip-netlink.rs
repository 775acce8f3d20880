//! Shows links and addresses of this host, and what would have to change to add a virtual address. Changes nothing.
//!
//! `cargo run -p keepalived-rs-examples --example vip-netlink -- [INTERFACE] [ADDRESS]`
//!
//! Without arguments: 192.0.2.1 on `lo`. Reading needs no root.

use std::net::IpAddr;

use anyhow::{Context, Result};
use vip_netlink::{Address, Present, RouteSocket, Wanted, plan};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let interface = arguments.next().unwrap_or_else(|| "lo".into());
    let ip: IpAddr = arguments.next().map_or(Ok([192, 0, 2, 1].into()), |text| text.parse())?;

    let mut socket = RouteSocket::open()?;
    let links = socket.links()?;
    let present = socket.addresses()?;
    for link in &links {
        println!("{} {} {}", link.index, link.name, if link.is_up() { "up" } else { "down" });
        for address in present.iter().filter(|address| address.link == link.index) {
            println!("    {address}");
        }
    }

    // Kernel state is reconciled: say what is wanted, compare with what is there.
    let link = links.iter().find(|link| link.name.to_string() == interface).context("no such interface")?;
    let prefix_len = if ip.is_ipv4() { 32 } else { 128 };
    let vip = Address::virtual_address(link.index, ip, prefix_len);
    let name = |index| links.iter().find(|link| link.index == index).map(|link| link.name);
    let wanted = Wanted { addresses: vec![vip], ..Wanted::default() };
    let mut present = Present { addresses: present, ..Present::default() };
    println!("to have {ip} on {interface}:");
    for change in plan(&wanted, &present) {
        println!("    {}", change.describe(name));
    }

    // And the way back: nothing but what is named is ever removed.
    present.addresses.push(vip);
    let unwanted = Wanted { release: vec![vip.key()], ..Wanted::default() };
    println!("to give it up again:");
    for change in plan(&unwanted, &present) {
        println!("    {}", change.describe(name));
    }
    Ok(())
}
