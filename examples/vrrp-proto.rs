//! Two routers elect on a LAN that exists in memory only: no root, no sockets, no waiting.
//!
//! `cargo run -p keepalived-rs-examples --example vrrp-proto`
//!
//! The better router dies after five seconds and is back after twelve. The clock jumps from event to event.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context, Result};
use vrrp_proto::{
    Action, Authentication, Engine, EngineConfig, Family, GROUP_IPV4, Instant, LinkFacts, LinkId, Packet, Password,
    Priority, Receiver, RouterConfig, RouterId, Transmitter, Version, Vrid, WireConfig,
};

const LINK: LinkId = LinkId(1);
const ROUTER: RouterId = RouterId(1);

/// One host: the state machine, and both directions of the wire.
struct Node {
    name: &'static str,
    address: Ipv4Addr,
    config: RouterConfig,
    engine: Engine,
    receiver: Receiver,
    transmitter: Transmitter,
    alive: bool,
}

impl Node {
    fn new(name: &'static str, address: Ipv4Addr, priority: Priority) -> Result<Self> {
        let vrid = Vrid::new(51).context("a VRID is not zero")?;
        let addresses = vec![IpAddr::from([198, 18, 0, 100])];
        // What the state machine may know ...
        let mut config = RouterConfig::new(vrid, Family::Ipv4);
        config.priority = priority;
        config.addresses.clone_from(&addresses);
        config.link = Some(LINK);
        // ... and what only the wire knows: the password.
        let mut wire = WireConfig::new(vrid, Version::V2, Family::Ipv4);
        wire.addresses = addresses;
        wire.authentication = Authentication::Pass(Password::new(b"1111"));
        Ok(Self {
            name,
            address,
            config,
            engine: Engine::new(),
            receiver: Receiver::new(wire.clone()),
            transmitter: Transmitter::new(wire)?,
            alive: false,
        })
    }

    /// Starts as a new process would: first the links, then what to run.
    fn start(&mut self, now: Instant) {
        let facts = LinkFacts { up: true, multicast: true, ipv4_source: Some(self.address), ipv6_source: None };
        self.engine = Engine::new();
        self.engine.handle_link(now, LINK, facts);
        self.engine.reconfigure(now, &EngineConfig::from_iter([(ROUTER, self.config.clone())]));
        self.alive = true;
    }

    /// Carries out what the engine wants; returns the packets it sends.
    fn drain(&mut self, now: Instant) -> Result<Vec<Vec<u8>>> {
        let mut sent = Vec::new();
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Advertise { priority, .. } => {
                    let mut packet = Vec::new();
                    self.transmitter.emit(priority, self.address.into(), GROUP_IPV4.into(), &mut packet)?;
                    sent.push(packet);
                }
                Action::Apply { ownership, ticket, .. } => {
                    println!("{:>9.3} {}: address {ownership:?}", seconds(now), self.name);
                    // The kernel did as told, at once.
                    self.engine.handle_applied(now, ROUTER, ticket);
                }
                Action::Record { event, .. } => println!("{:>9.3} {}: {event:?}", seconds(now), self.name),
                // Gratuitous ARP, notification scripts and the snapshot have no use here.
                _ => {}
            }
        }
        Ok(sent)
    }

    fn receive(&mut self, now: Instant, datagram: &[u8]) -> Result<()> {
        let packet = Packet::from_ipv4(datagram)?;
        match self.receiver.receive(&packet) {
            Ok(verified) => self.engine.handle_advertisement(now, ROUTER, packet.source, &verified.advertisement),
            Err(discard) => println!("{:>9.3} {}: dropped: {discard}", seconds(now), self.name),
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut nodes =
        [Node::new("a", [198, 18, 0, 1].into(), Priority(100))?, Node::new("b", [198, 18, 0, 2].into(), Priority(50))?];
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    for node in &mut nodes {
        node.start(Instant::ZERO);
    }
    run(&mut nodes, Instant::ZERO, at(5))?;

    println!("{:>9.3} a dies without a word", 5.0);
    nodes[0].alive = false;
    run(&mut nodes, at(5), at(12))?;

    println!("{:>9.3} a is back", 12.0);
    nodes[0].start(at(12));
    run(&mut nodes, at(12), at(20))
}

/// Lets the LAN live from `now` to `end`.
fn run(nodes: &mut [Node], mut now: Instant, end: Instant) -> Result<()> {
    while now < end {
        exchange(nodes, now)?;
        let due = nodes.iter().filter(|node| node.alive).filter_map(|node| node.engine.poll_timeout()).min();
        now = due.context("a living router always waits for something")?.min(end);
        for node in nodes.iter_mut().filter(|node| node.alive) {
            node.engine.handle_timeout(now);
        }
    }
    exchange(nodes, now)
}

/// Delivers what is sent until nobody has more to say.
fn exchange(nodes: &mut [Node], now: Instant) -> Result<()> {
    loop {
        let mut sent = Vec::new();
        for (sender, node) in nodes.iter_mut().enumerate().filter(|(_, node)| node.alive) {
            sent.extend(node.drain(now)?.into_iter().map(|packet| (sender, packet)));
        }
        if sent.is_empty() {
            return Ok(());
        }
        for (sender, packet) in sent {
            for (_, node) in nodes.iter_mut().enumerate().filter(|(index, node)| *index != sender && node.alive) {
                node.receive(now, &packet)?;
            }
        }
    }
}

fn seconds(now: Instant) -> f64 {
    now.saturating_duration_since(Instant::ZERO).as_secs_f64()
}
