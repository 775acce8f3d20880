//! What routers make of their interfaces: states that last or do not, interfaces and addresses that come and go, what is
//! polled instead of told, news that is lost.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::net::IpAddr;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Capture, Frame, Host, Lab, Mark, Process, Skip};
use support::{Daemon, PATIENCE, wait_until};
use vip_netlink::{Address, Change, LinkIndex, LinkName, LinkRef, RouteSocket};

const VIP: &str = "198.18.0.100";
const GROUP: &str = "224.0.0.18";

/// What the instances below have, so that this is not said in each test.
const FAST: &str = "version 3\n advert_int 0.1";
const SLOW: &str = "version 3\n advert_int 1";

/// One router alone on a bridge.
struct Bench {
    lab: Lab,
    lan: Bridge,
    host: Host,
    process: Option<Process>,
}

impl Bench {
    /// A host whose eth0, if it has one, has 198.18.0.1.
    fn new(with_interface: bool) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = lab.host("r1")?;
        let bench = Self { lab, lan, host, process: None };
        if with_interface {
            bench.connect("eth0")?;
            bench.host.address("eth0", "198.18.0.1/24")?;
        }
        Ok(bench)
    }

    fn connect(&self, interface: &str) -> CaseResult {
        Ok(self.lab.connect(&self.host, interface, &self.lan)?)
    }

    /// Starts a daemon with one instance; `top` stands before it, `extra` in it.
    fn start(&mut self, daemon: Daemon, top: &str, extra: &str) -> CaseResult {
        let text = config(top, extra, &format!("{VIP}/24"));
        self.process = Some(self.host.spawn(daemon.program(&text)?)?);
        Ok(())
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the daemon was started")
    }

    fn mark(&self) -> Mark {
        self.process().mark()
    }

    /// The time at which a line with `text` was written after `mark`.
    fn line(&self, mark: Mark, text: &str) -> Result<Instant, Stop> {
        let line = self.process().wait_for_line_after(mark, text, PATIENCE);
        line.map(|line| line.at).map_err(|error| self.fail(&error.to_string()))
    }

    fn said(&self, text: &str) -> usize {
        self.process().lines().iter().filter(|line| line.text.contains(text)).count()
    }

    fn fail(&self, why: &str) -> Stop {
        let log: String = self.process.iter().flat_map(Process::lines).map(|line| format!("{}\n", line.text)).collect();
        Stop::failed(format!("{why}\n{log}"))
    }

    fn ensure(&self, holds: bool, what: &str) -> CaseResult {
        if holds { Ok(()) } else { Err(self.fail(what)) }
    }

    fn wait_until(&self, what: &str, condition: impl FnMut() -> Result<bool, Stop>) -> CaseResult {
        wait_until(what, condition).map_err(|_| self.fail(&format!("waited for {what}")))
    }

    /// Waits until the host has the virtual address, or until it has not.
    fn wait_for_vip(&self, held: bool) -> CaseResult {
        let vip: IpAddr = VIP.parse().expect("an address");
        self.wait_until(&format!("{VIP} to be held: {held}"), || Ok(self.host.holds(vip)? == held))
    }

    fn change(&self, changes: &[Change]) -> CaseResult {
        match self.host.run(|| RouteSocket::open().map(|mut route| route.apply(changes))) {
            Ok(applied) if applied.refused.is_empty() => Ok(()),
            other => Err(Stop::failed(format!("{other:?}"))),
        }
    }

    fn remove_address(&self, ip: &str) -> CaseResult {
        let found = self.host.addresses()?.into_iter().find(|address| address.ip.to_string() == ip);
        self.change(&[Change::RemoveAddress(found.ok_or_else(|| Stop::failed(format!("{ip} is not there")))?)])
    }

    /// iproute2, for what the laboratory does not do itself.
    fn ip(&self, arguments: &str) -> CaseResult {
        let output = self.host.run(|| Command::new("ip").args(arguments.split(' ')).output());
        let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(Stop::failed(format!("ip {arguments}: {text}"))) }
    }

    fn index(&self, interface: &str) -> Result<u32, Stop> {
        let found = self.host.run(|| RouteSocket::open().and_then(|mut route| route.link(name(interface))));
        let link = found.map_err(|error| Stop::failed(error.to_string()))?;
        Ok(link.ok_or_else(|| Stop::failed(format!("there is no {interface}")))?.index.get())
    }

    /// The address that the kernel gave eth0.
    fn link_local(&self) -> Result<String, Stop> {
        let mut found = None;
        self.wait_until("the link-local address", || {
            let addresses = self.host.addresses()?;
            found = addresses.into_iter().map(|address| address.ip.to_string()).find(|ip| ip.starts_with("fe80::"));
            Ok(found.is_some())
        })?;
        found.ok_or_else(|| Stop::failed("no link-local address"))
    }

    /// Waits for the first advert that is sent from now on.
    fn next_advert(&self, wire: &Capture) -> Result<Frame, Stop> {
        let (now, mut found) = (Instant::now(), None);
        self.wait_until("an advert", || {
            found = wire.frames().into_iter().find(|frame| frame.at > now && frame.vrrp().is_some());
            Ok(found.is_some())
        })?;
        found.ok_or_else(|| Stop::failed("no advert"))
    }
}

fn config(top: &str, extra: &str, addresses: &str) -> String {
    let interface = if extra.contains("interface ") { "" } else { "interface eth0" };
    format!(
        "{top}\nvrrp_instance VI_1 {{\n {interface}\n virtual_router_id 51\n priority 150\n {extra}\n \
         virtual_ipaddress {{\n {addresses}\n }}\n}}\n"
    )
}

fn name(interface: &str) -> LinkName {
    interface.parse().expect("a name")
}

fn link(interface: &str) -> LinkRef {
    LinkRef::Name(name(interface))
}

/// Waits for a time to pass in which something must not happen.
fn pass(time: Duration) -> CaseResult {
    let over = Instant::now() + time;
    wait_until("time to pass", || Ok(Instant::now() > over))
}

const IN_FAULT: &str = "(VI_1) Entering FAULT STATE";
const IN_BACKUP: &str = "(VI_1) Entering BACKUP STATE";
const ACTIVE: &str = "(VI_1) Entering MASTER STATE";

fn changes_of_a_link_have_to_last() -> CaseResult {
    const DOWN: Duration = Duration::from_millis(1500);
    const UP: Duration = Duration::from_millis(700);
    let mut bench = Bench::new(true)?;
    bench.start(Daemon::Ours, "interface_up_down_delays {\n eth0 1.5 0.7\n}", SLOW)?;
    bench.wait_for_vip(true)?;
    let start = bench.mark();
    bench.change(&[Change::SetLinkDown(link("eth0"))])?;
    pass(Duration::from_millis(300))?;
    bench.change(&[Change::SetLinkUp(link("eth0"))])?;
    pass(DOWN * 2)?;
    bench.ensure(bench.said(IN_FAULT) == 0, "a link that was down for a moment is a fault")?;
    let down = Instant::now();
    bench.change(&[Change::SetLinkDown(link("eth0"))])?;
    let fault = bench.line(start, IN_FAULT)?;
    bench.ensure(fault >= down + DOWN, "the fault came too early")?;
    let (up, again) = (Instant::now(), bench.mark());
    bench.change(&[Change::SetLinkUp(link("eth0"))])?;
    let back = bench.line(again, IN_BACKUP)?;
    bench.ensure(back >= up + UP, "the end of the fault came too early")
}

/// A peer would have taken over before.
fn no_delay_is_longer_than_adverts_may_be_missing(daemon: Daemon) -> CaseResult {
    let mut bench = Bench::new(true)?;
    bench.start(daemon, "interface_up_down_delays {\n eth0 200\n}", SLOW)?;
    bench
        .process()
        .wait_for_line("VI_1: interface eth0 debounce timer(s) not less that 2 * advert_int - resetting", PATIENCE)?;
    bench.wait_for_vip(true)?;
    let (down, mark) = (Instant::now(), bench.mark());
    bench.change(&[Change::SetLinkDown(link("eth0"))])?;
    let fault = bench.line(mark, IN_FAULT)?;
    let waited = fault.saturating_duration_since(down);
    let limits = Duration::from_millis(1900)..Duration::from_millis(2400);
    bench.ensure(limits.contains(&waited), &format!("the fault came after {waited:?}"))
}

fn interfaces_come_and_go(daemon: Daemon) -> CaseResult {
    let mut bench = Bench::new(false)?;
    bench.start(daemon, "global_defs {\n dynamic_interfaces\n}", FAST)?;
    let start = bench.process().wait_for_line("eth0 which doesn't currently exist - will use if created", PATIENCE);
    start.map_err(|error| bench.fail(&error.to_string()))?;
    let mut before = 0;
    for time in 0..2 {
        let mark = bench.mark();
        bench.connect("eth0")?;
        bench.ensure(bench.index("eth0")? != before, "the kernel gives the same number twice")?;
        before = bench.index("eth0")?;
        bench.line(mark, "Interface eth0 added")?;
        bench.host.address("eth0", "198.18.0.1/24")?;
        bench.line(mark, IN_BACKUP)?;
        bench.wait_for_vip(true)?;
        let wire = bench.lan.capture()?;
        bench.next_advert(&wire)?;
        drop(wire);
        let mark = bench.mark();
        bench.change(&[Change::DelLink(link("eth0"))])?;
        bench.line(mark, "Netlink reports eth0 down")?;
        bench.line(mark, IN_FAULT)?;
        bench.line(mark, "Interface eth0 deleted")?;
        bench.ensure(bench.said(ACTIVE) == time + 1, "it was MASTER without an interface")?;
    }
    Ok(())
}

/// Another name is another interface: the old one is gone, and what was on it is taken away.
fn a_renamed_interface_is_another() -> CaseResult {
    let mut bench = Bench::new(true)?;
    bench.start(Daemon::Ours, "global_defs {\n dynamic_interfaces allow_if_changes\n}", FAST)?;
    bench.wait_for_vip(true)?;
    let index = LinkIndex::new(bench.index("eth0")?).expect("a number");
    let mark = bench.mark();
    let rename = |name| Change::Rename { link: index, name };
    bench.change(&[Change::SetLinkDown(index.into()), rename(name("old0")), Change::SetLinkUp(index.into())])?;
    bench.line(mark, "Interface eth0 deleted")?;
    bench.line(mark, IN_FAULT)?;
    bench.wait_for_vip(false)?;
    let mark = bench.mark();
    bench.change(&[Change::SetLinkDown(index.into()), rename(name("eth0")), Change::SetLinkUp(index.into())])?;
    bench.line(mark, "Interface eth0 added")?;
    bench.line(mark, ACTIVE)?;
    bench.wait_for_vip(true)
}

fn a_missing_interface_refuses_the_start() -> CaseResult {
    for (interface, status) in [("eth7", 2), ("lo", 2)] {
        let mut bench = Bench::new(true)?;
        bench.start(Daemon::Ours, "", &format!("interface {interface}\n {FAST}"))?;
        let exit = bench.process().wait_for_exit(PATIENCE)?;
        bench.ensure(exit.code() == Some(status), &format!("{interface}: {exit}"))?;
    }
    Ok(())
}

/// Where nothing else says, addresses go to `default_interface`.
fn addresses_without_an_interface() -> CaseResult {
    let mut bench = Bench::new(true)?;
    bench.connect("eth1")?;
    let unicast = format!("unicast_src_ip 198.18.0.1\n unicast_peer {{\n 198.18.0.2\n }}\n {FAST}");
    let text =
        config("global_defs {\n default_interface eth1\n}", &format!("#interface \n {unicast}"), "198.51.100.1/24");
    bench.process = Some(bench.host.spawn(Daemon::Ours.program(&text)?)?);
    let index = bench.index("eth1")?;
    bench.wait_until("the address on eth1", || {
        let mut addresses = bench.host.addresses()?.into_iter();
        Ok(addresses.any(|it| it.ip.to_string() == "198.51.100.1" && it.link.get() == index))
    })
}

/// The virtual address, which the kernel keeps or not, is never what adverts come from.
fn the_source_address_goes_and_returns(daemon: Daemon) -> CaseResult {
    let mut bench = Bench::new(true)?;
    bench.host.set_sysctl("net/ipv4/conf/eth0/promote_secondaries", "1")?;
    bench.start(daemon, "", FAST)?;
    bench.wait_for_vip(true)?;
    let mark = bench.mark();
    bench.remove_address("198.18.0.1")?;
    if daemon == Daemon::Ours {
        bench.line(mark, "(VI_1) entering FAULT state (no IPv4 address for interface)")?;
    }
    bench.line(mark, IN_FAULT)?;
    bench.wait_for_vip(false)?;
    let wire = bench.lan.capture()?;
    let mark = bench.mark();
    bench.host.address("eth0", "198.18.0.7/24")?;
    bench.line(mark, IN_BACKUP)?;
    bench.line(mark, ACTIVE)?;
    bench.wait_for_vip(true)?;
    let source = bench.next_advert(&wire)?.vrrp().map(|packet| packet.source.to_string());
    bench.ensure(source.as_deref() == Some("198.18.0.7"), &format!("{source:?}"))
}

/// In IPv6 adverts come from the link-local address, whatever else is there.
fn the_link_local_address_goes_and_returns() -> CaseResult {
    let mut bench = Bench::new(true)?;
    bench.host.address("eth0", "2001:db8::1/64")?;
    let own = bench.link_local()?;
    let text = config("", FAST, "fe80::100/64\n 2001:db8::100/64");
    bench.process = Some(bench.host.spawn(Daemon::Ours.program(&text)?)?);
    bench.process().wait_for_line(ACTIVE, PATIENCE)?;
    let mark = bench.mark();
    bench.remove_address(&own)?;
    bench.line(mark, "(VI_1) entering FAULT state (no IPv6 address for interface)")?;
    bench.line(mark, IN_FAULT)?;
    let wire = bench.lan.capture()?;
    let mark = bench.mark();
    bench.host.address("eth0", "fe80::7/64")?;
    bench.line(mark, ACTIVE)?;
    let source = bench.next_advert(&wire)?.vrrp().map(|packet| packet.source.to_string());
    bench.ensure(source.as_deref() == Some("fe80::7"), &format!("{source:?}"))
}

/// `mcast_src_ip` may be an address that the host does not have, unless it is tracked.
fn a_source_address_that_has_to_be_there() -> CaseResult {
    let mut bench = Bench::new(true)?;
    let wire = bench.lan.capture()?;
    bench.start(Daemon::Ours, "", &format!("mcast_src_ip 198.18.0.7\n track_src_ip\n {FAST}"))?;
    bench.process().wait_for_line(IN_FAULT, PATIENCE)?;
    for _ in 0..2 {
        let mark = bench.mark();
        bench.host.address("eth0", "198.18.0.7/24")?;
        bench.line(mark, ACTIVE)?;
        let source = bench.next_advert(&wire)?.vrrp().map(|packet| packet.source.to_string());
        bench.ensure(source.as_deref() == Some("198.18.0.7"), &format!("{source:?}"))?;
        let mark = bench.mark();
        bench.remove_address("198.18.0.7")?;
        bench.line(mark, IN_FAULT)?;
        bench.wait_for_vip(false)?;
    }
    Ok(())
}

fn unicast_without_peers_may_be_a_fault() -> CaseResult {
    let mut bench = Bench::new(true)?;
    let wire = bench.lan.capture()?;
    bench.start(Daemon::Ours, "", &format!("unicast_src_ip 198.18.0.1\n unicast_fault_no_peer\n {FAST}"))?;
    bench.process().wait_for_line("(VI_1) entering FAULT state (unicast without any peers)", PATIENCE)?;
    pass(Duration::from_secs(1))?;
    bench.ensure(bench.said(ACTIVE) == 0, "it was MASTER")?;
    bench.ensure(wire.frames().iter().all(|frame| frame.vrrp().is_none()), "an advert")
}

/// 255 where nothing else holds, whatever keepalived does with multicast after `unicast_ttl`.
fn the_ttl_of_adverts() -> CaseResult {
    let unicast = "unicast_peer {\n 198.18.0.2\n }";
    for (extra, ttl, peer) in [
        (format!("unicast_ttl 7\n {unicast}"), 7, "198.18.0.2"),
        (unicast.to_owned(), 255, "198.18.0.2"),
        ("unicast_ttl 7".to_owned(), 255, GROUP),
    ] {
        let mut bench = Bench::new(true)?;
        let other = bench.lab.host("r2")?;
        bench.lab.connect(&other, "eth0", &bench.lan)?;
        other.address("eth0", "198.18.0.2/24")?;
        let wire = other.capture("eth0")?;
        bench.start(Daemon::Ours, "", &format!("{extra}\n {FAST}"))?;
        let advert = bench.next_advert(&wire)?;
        let seen = advert.vrrp().map(|packet| (packet.ttl, packet.destination.to_string()));
        bench.ensure(seen == Some((ttl, peer.to_owned())), &format!("{extra}: {seen:?}"))?;
    }
    Ok(())
}

fn a_link_without_multicast_is_for_unicast() -> CaseResult {
    let mut bench = Bench::new(true)?;
    bench.ip("link set eth0 multicast off")?;
    bench.start(Daemon::Ours, "", FAST)?;
    bench.process().wait_for_line("(VI_1) entering FAULT state (interface eth0 has no multicast)", PATIENCE)?;
    let mark = bench.mark();
    bench.ip("link set eth0 multicast on")?;
    bench.line(mark, ACTIVE)?;
    let mut bench = Bench::new(true)?;
    bench.ip("link set eth0 multicast off")?;
    bench.start(Daemon::Ours, "", &format!("unicast_peer {{\n 198.18.0.2\n }}\n {FAST}"))?;
    bench.wait_for_vip(true)
}

/// Nothing else tells the switches where a router is that sends to nobody.
fn a_unicast_source_is_announced_after_its_link_returns(daemon: Daemon) -> CaseResult {
    let mut bench = Bench::new(true)?;
    bench.start(daemon, "", &format!("unicast_peer {{\n 198.18.0.2\n }}\n {SLOW}"))?;
    bench.process().wait_for_line(IN_BACKUP, PATIENCE)?;
    let mark = bench.mark();
    bench.host.cut("eth0")?;
    bench.line(mark, IN_FAULT)?;
    let wire = bench.lan.capture()?;
    bench.host.mend("eth0")?;
    let own = "198.18.0.1".parse().ok();
    bench.line(mark, "VI_1: sending gratuitous ARP for 198.18.0.1")?;
    bench.wait_until("the announcement", || Ok(wire.frames().iter().any(|frame| frame.gratuitous_arp() == own)))
}

fn a_link_local_unicast_source_is_announced_too() -> CaseResult {
    let mut bench = Bench::new(true)?;
    let own = bench.link_local()?;
    let text = config("", &format!("unicast_peer {{\n fe80::2\n }}\n {SLOW}"), "2001:db8::100/64");
    bench.process = Some(bench.host.spawn(Daemon::Ours.program(&text)?)?);
    bench.process().wait_for_line(IN_BACKUP, PATIENCE)?;
    let mark = bench.mark();
    bench.host.cut("eth0")?;
    bench.line(mark, IN_FAULT)?;
    let wire = bench.lan.capture()?;
    bench.host.mend("eth0")?;
    bench.line(mark, &format!("VI_1: sending unsolicited Neighbour Advert for {own}"))?;
    let own = own.parse().ok();
    bench.wait_until("the announcement", || Ok(wire.frames().iter().any(|frame| frame.unsolicited_na() == own)))
}

/// A dormant link has carrier, which is all that ethtool is asked for; the kernel's reports and the flags say "down".
fn what_is_polled_counts_instead_of_what_is_told() -> CaseResult {
    const DORMANT: &str = "link set eth0 mode dormant state dormant";
    let polled = |method: &str| format!("linkbeat_interfaces {{\n eth0 {method}\n}}");
    let mut bench = Bench::new(true)?;
    bench.start(Daemon::Ours, &polled("ETHTOOL"), FAST)?;
    bench.wait_for_vip(true)?;
    let mark = bench.mark();
    bench.ip(DORMANT)?;
    pass(Duration::from_millis(2500))?;
    bench.ensure(bench.said(IN_FAULT) == 0, "what the kernel reports counts")?;
    bench.host.cut("eth0")?;
    bench.line(mark, "Linkbeat reports eth0 down")?;
    bench.line(mark, IN_FAULT)?;
    let mark = bench.mark();
    bench.host.mend("eth0")?;
    bench.line(mark, "Linkbeat reports eth0 up")?;
    bench.line(mark, ACTIVE)?;
    for top in [&polled("IOCTL"), ""] {
        let mut bench = Bench::new(true)?;
        bench.start(Daemon::Ours, top, FAST)?;
        bench.wait_for_vip(true)?;
        let mark = bench.mark();
        bench.ip(DORMANT)?;
        bench.line(mark, IN_FAULT)?;
    }
    Ok(())
}

/// Each of the three ways to ask for it.
fn every_link_may_be_polled(daemon: Daemon) -> CaseResult {
    let ways = [
        ("linkbeat_use_polling", ""),
        ("", "linkbeat_use_polling"),
        ("linkbeat_interfaces {\n eth0\n}", ""),
        ("linkbeat_interfaces {\n eth0 MII\n}", ""),
    ];
    for (top, extra) in ways {
        let mut bench = Bench::new(true)?;
        bench.start(daemon, top, &format!("{extra}\n {FAST}"))?;
        bench.wait_for_vip(true)?;
        let mark = bench.mark();
        bench.host.cut("eth0")?;
        bench.line(mark, "Linkbeat reports eth0 down")?;
        bench.line(mark, IN_FAULT)?;
        bench.host.mend("eth0")?;
        bench.line(mark, "Linkbeat reports eth0 up")?;
        bench.line(mark, ACTIVE)?;
    }
    Ok(())
}

/// An address that may be somebody else's is not spoken from.
fn a_router_waits_for_its_source_to_be_its_own() -> CaseResult {
    let mut bench = Bench::new(false)?;
    for (sysctl, value) in [("all/accept_dad", "1"), ("default/accept_dad", "1"), ("default/dad_transmits", "2")] {
        match bench.host.set_sysctl(&format!("net/ipv6/conf/{sysctl}"), value) {
            Ok(()) => {}
            Err(error) => return Err(Skip(format!("no IPv6 sysctls here: {error}")).into()),
        }
    }
    let text = config("global_defs {\n dynamic_interfaces\n}", FAST, "fe80::100/64\n 2001:db8::100/64");
    bench.process = Some(bench.host.spawn(Daemon::Ours.program(&text)?)?);
    bench.process().wait_for_line("will use if created", PATIENCE)?;
    let mark = bench.mark();
    bench.connect("eth0")?;
    bench.line(mark, "Netlink reports eth0 up")?;
    let tentative = |address: &Address| address.flags.contains(vip_netlink::AddressFlags::TENTATIVE);
    let own = |address: &Address| address.ip.to_string().starts_with("fe80::") && address.ip.to_string() != "fe80::100";
    bench.wait_until("the link-local address", || Ok(bench.host.addresses()?.iter().any(own)))?;
    let waiting = bench.host.addresses()?.iter().any(|address| own(address) && tentative(address));
    bench.ensure(waiting && bench.said(IN_BACKUP) == 0, "it did not wait")?;
    bench.wait_until("it to start", || Ok(bench.said(IN_BACKUP) == 1))?;
    let addresses = bench.host.addresses()?;
    bench.ensure(addresses.iter().filter(|it| own(it)).all(|it| !tentative(it)), "it did not wait long enough")
}

/// With next to no room for them most reports are lost; what is the case then is asked for.
fn reports_that_are_lost_are_made_up_for() -> CaseResult {
    let mut bench = Bench::new(true)?;
    let top = "global_defs {\n dynamic_interfaces\n vrrp_netlink_monitor_rcv_bufs 1\n \
               vrrp_netlink_cmd_rcv_bufs 4096\n vrrp_netlink_cmd_rcv_bufs_force on\n}";
    bench.start(Daemon::Ours, top, FAST)?;
    bench.wait_for_vip(true)?;
    let eth0 = LinkIndex::new(bench.index("eth0")?).expect("a number");
    let own = Address::new(eth0, [198, 18, 0, 1].into(), 24);
    let mark = bench.mark();
    bench.change(&amid_many(eth0, vec![Change::RemoveAddress(own)]))?;
    bench.line(mark, "Receive buffer overrun on monitor socket")?;
    bench.line(mark, "(VI_1) entering FAULT state (no IPv4 address for interface)")?;
    bench.wait_for_vip(false)?;
    let mark = bench.mark();
    bench.change(&[Change::AddAddress(own)])?;
    bench.line(mark, ACTIVE)?;
    bench.wait_for_vip(true)?;
    let rename = Change::Rename { link: eth0, name: name("old0") };
    bench.change(&amid_many(eth0, vec![Change::SetLinkDown(eth0.into()), rename, Change::SetLinkUp(eth0.into())]))?;
    bench.wait_for_vip(false)
}

/// `changes` between thousands of others.
fn amid_many(link: LinkIndex, changes: Vec<Change>) -> Vec<Change> {
    let many = (0..3000_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        Address::new(link, [10, 9, high, low].into(), 32)
    });
    let many: Vec<_> = many.collect();
    let added = many.iter().copied().map(Change::AddAddress);
    let removed = many.iter().copied().map(Change::RemoveAddress);
    added.clone().take(1500).chain(changes).chain(added.skip(1500)).chain(removed).collect()
}

/// The addresses of two interfaces, of which each or both together keep a gap.
fn groups_of_interfaces_have_gaps_of_their_own() -> CaseResult {
    const GAP: Duration = Duration::from_millis(200);
    let separate = "interface eth0\n interface eth1";
    for (interfaces, together) in [(separate, false), ("interfaces {\n eth0 eth1\n }", true)] {
        let mut bench = Bench::new(true)?;
        bench.connect("eth1")?;
        let [first, second] = [bench.host.capture("eth0")?, bench.host.capture("eth1")?];
        let top = format!("garp_group {{\n garp_interval 0.2\n {interfaces}\n}}");
        let extra = format!("garp_master_repeat 2\n garp_master_delay 0\n {FAST}");
        let text = config(&top, &extra, "198.18.0.100/24\n 198.18.1.100/24 dev eth1");
        bench.process = Some(bench.host.spawn(Daemon::Ours.program(&text)?)?);
        let mut sent: Vec<Vec<Instant>> = Vec::new();
        bench.wait_until("four announcements", || {
            let garps = |wire: &Capture| {
                let frames =
                    wire.frames().into_iter().filter(|frame| frame.outgoing && frame.gratuitous_arp().is_some());
                frames.map(|frame| frame.at).collect::<Vec<_>>()
            };
            sent = vec![garps(&first), garps(&second)];
            Ok(sent.iter().map(Vec::len).sum::<usize>() == 4)
        })?;
        let mut all: Vec<_> = sent.concat();
        all.sort();
        let gap = |times: &[Instant]| times.array_windows().map(|[one, next]| *next - *one).min().unwrap_or_default();
        // The timer is exact; what is measured is when the kernel took the frames.
        let kept = |least: Duration| least + Duration::from_millis(20) >= GAP;
        bench.ensure(sent.iter().all(|times| kept(gap(times))), &format!("{interfaces}: {sent:?}"))?;
        bench.ensure(kept(gap(&all)) == together, &format!("{interfaces}: {sent:?}"))?;
    }
    Ok(())
}

/// The same story with our daemon and with Debian's keepalived.
macro_rules! with_both {
    ($name:literal, $story:path) => {
        [case(concat!($name, "_ours"), || $story(Daemon::Ours)), case(concat!($name, "_c"), || $story(Daemon::C))]
    };
}

fn main() -> ExitCode {
    let stories = [
        with_both!("no_delay_is_longer", no_delay_is_longer_than_adverts_may_be_missing),
        with_both!("interfaces_come_and_go", interfaces_come_and_go),
        with_both!("the_source_address_goes_and_returns", the_source_address_goes_and_returns),
        with_both!("a_unicast_source_is_announced", a_unicast_source_is_announced_after_its_link_returns),
        with_both!("every_link_may_be_polled", every_link_may_be_polled),
    ];
    let ours = [
        case("changes_of_a_link_have_to_last", changes_of_a_link_have_to_last),
        case("a_renamed_interface_is_another", a_renamed_interface_is_another),
        case("a_missing_interface_refuses_the_start", a_missing_interface_refuses_the_start),
        case("addresses_without_an_interface", addresses_without_an_interface),
        case("the_link_local_address_goes_and_returns", the_link_local_address_goes_and_returns),
        case("a_source_address_that_has_to_be_there", a_source_address_that_has_to_be_there),
        case("unicast_without_peers_may_be_a_fault", unicast_without_peers_may_be_a_fault),
        case("the_ttl_of_adverts", the_ttl_of_adverts),
        case("a_link_without_multicast_is_for_unicast", a_link_without_multicast_is_for_unicast),
        case("a_link_local_unicast_source_is_announced_too", a_link_local_unicast_source_is_announced_too),
        case("what_is_polled_counts_instead_of_what_is_told", what_is_polled_counts_instead_of_what_is_told),
        case("a_router_waits_for_its_source_to_be_its_own", a_router_waits_for_its_source_to_be_its_own),
        case("reports_that_are_lost_are_made_up_for", reports_that_are_lost_are_made_up_for),
        case("groups_of_interfaces_have_gaps_of_their_own", groups_of_interfaces_have_gaps_of_their_own),
    ];
    harness::main(&[ours.as_slice(), stories.as_flattened()].concat())
}
