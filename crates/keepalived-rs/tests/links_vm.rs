//! Routers on bonds and VLANs, for which this test boots a virtual machine and runs itself in there.

#![allow(clippy::indexing_slicing, reason = "a test")]

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::net::IpAddr;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Process};
use support::{Daemon, PATIENCE, wait_until};

const IN_FAULT: &str = "(VI_1) Entering FAULT STATE";

/// A router with two interfaces on the same bridge.
struct Bench {
    lab: Lab,
    lan: Bridge,
    host: Host,
}

impl Bench {
    fn new() -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = lab.host("r1")?;
        for interface in ["eth0", "eth1"] {
            lab.connect(&host, interface, &lan)?;
        }
        Ok(Self { lab, lan, host })
    }

    fn ip(&self, lines: &[&str]) -> CaseResult {
        for line in lines {
            let output = self.host.run(|| Command::new("ip").args(line.split(' ')).output())?;
            if !output.status.success() {
                return Err(Stop::failed(format!("ip {line}: {}", String::from_utf8_lossy(&output.stderr))));
            }
        }
        Ok(())
    }

    /// Starts a router on `interface` and waits until it is Active.
    fn start(&self, interface: &str) -> Result<Process, Stop> {
        self.host.address(interface, "198.18.0.1/24")?;
        let config = format!(
            "vrrp_instance VI_1 {{\n interface {interface}\n virtual_router_id 51\n version 3\n advert_int 0.2\n \
             virtual_ipaddress {{\n 198.18.0.100/24\n }}\n}}\n"
        );
        let process = self.host.spawn(Daemon::Ours.program(&config)?)?;
        let vip: IpAddr = "198.18.0.100".parse().expect("an address");
        let held = wait_until("the address", || Ok(self.host.holds(vip)?));
        held.map_err(|_| Stop::failed(log(&process)))?;
        Ok(process)
    }
}

fn log(process: &Process) -> String {
    process.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
}

/// As long as one leg of a bond carries, nothing happened; adverts go on through that one.
fn a_bond_fails_over() -> CaseResult {
    let bench = Bench::new()?;
    bench.ip(&[
        "link add bond0 type bond mode active-backup miimon 50",
        "link set eth0 down",
        "link set eth1 down",
        "link set eth0 master bond0",
        "link set eth1 master bond0",
        "link set bond0 up",
    ])?;
    let router = bench.start("bond0")?;
    let wire = bench.lan.capture()?;
    bench.host.cut("eth0")?;
    let (cut, quiet) = (Instant::now(), Duration::from_secs(2));
    wait_until("adverts through the other leg", || {
        let frames = wire.frames();
        let newest = frames.iter().rev().find(|frame| frame.vrrp().is_some());
        Ok(newest.is_some_and(|frame| frame.at > cut + quiet))
    })?;
    bench.host.mend("eth0")?;
    clients_lose_what_the_bond_costs(&bench)?;
    if log(&router).contains(IN_FAULT) {
        return Err(Stop::failed(log(&router)));
    }
    bench.host.cut("eth0")?;
    let mark = router.mark();
    bench.host.cut("eth1")?;
    router.wait_for_line_after(mark, "Netlink reports bond0 down", PATIENCE)?;
    router.wait_for_line_after(mark, IN_FAULT, PATIENCE)?;
    let mark = router.mark();
    bench.host.mend("eth0")?;
    router.wait_for_line_after(mark, "(VI_1) Entering MASTER STATE", PATIENCE)?;
    Ok(())
}

/// A client loses no more of the virtual address than of one on the same bond that VRRP has nothing to do with: the medians
/// of three times.
fn clients_lose_what_the_bond_costs(bench: &Bench) -> CaseResult {
    const TRIES: usize = 3;
    let client = bench.lab.host("client")?;
    bench.lab.connect(&client, "eth0", &bench.lan)?;
    client.address("eth0", "198.18.0.9/24")?;
    bench.host.address("bond0", "198.18.0.200/24")?;
    let (mut seen, mut legs) = (Vec::new(), ["eth1", "eth0"].into_iter().cycle());
    for _ in 0..TRIES {
        let times = [(); 3].map(|()| lost_with_leg(bench, &client, legs.next().expect("there is always a next one")));
        let [one, two, three] = times;
        let times = [one?, two?, three?];
        let [vip, control] = [0, 1].map(|which| {
            let mut lost = times.map(|time| time[which]);
            lost.sort_unstable();
            lost[1]
        });
        // A client that asks for two addresses asks for one of them later. A bond may fail over between two questions.
        if vip <= control + PERIOD * 10 && (vip.is_zero() || !control.is_zero()) {
            return Ok(());
        }
        seen.push(times);
    }
    Err(Stop::failed(format!("lost of the virtual address, and of the control: {seen:?}")))
}

/// For how long the virtual address and the control do not answer when the active leg of the bond is cut.
fn lost_with_leg(bench: &Bench, client: &Host, leg: &str) -> Result<[Duration; 2], Stop> {
    let bond_says = |what: &str, times: usize| {
        let said = bench.host.run(|| std::fs::read_to_string("/proc/thread-self/net/bonding/bond0"));
        said.is_ok_and(|said| said.matches(what).count() == times)
    };
    let [vip, control] = ["198.18.0.100", "198.18.0.200"].map(|it| it.parse().expect("an address"));
    let pingers = [client.ping(vip, PERIOD)?, client.ping(control, PERIOD)?];
    let answered = || pingers.iter().try_for_each(|it| it.wait_for_answer(PATIENCE).map(drop));
    wait_until("both legs", || Ok(bond_says("MII Status: up", 3)))?;
    wait_until("the active leg", || Ok(bond_says(&format!("Currently Active Slave: {leg}"), 1)))?;
    answered()?;
    bench.host.cut(leg)?;
    wait_until("the other leg", || Ok(bond_says(&format!("Currently Active Slave: {leg}"), 0)))?;
    answered()?;
    bench.host.mend(leg)?;
    Ok(pingers.each_ref().map(|it| it.longest_gap().map_or(Duration::ZERO, |gap| gap.duration())))
}

/// How often a client asks.
const PERIOD: Duration = Duration::from_millis(2);

/// Carrier of the interface below is carrier of the VLAN.
fn a_vlan_follows_the_interface_below() -> CaseResult {
    let bench = Bench::new()?;
    bench.ip(&["link add link eth0 name eth0.5 type vlan id 5", "link set eth0.5 up"])?;
    let router = bench.start("eth0.5")?;
    let mark = router.mark();
    bench.host.cut("eth0")?;
    router.wait_for_line_after(mark, "Netlink reports eth0.5 down", PATIENCE)?;
    router.wait_for_line_after(mark, IN_FAULT, PATIENCE)?;
    let mark = router.mark();
    bench.host.mend("eth0")?;
    router.wait_for_line_after(mark, "(VI_1) Entering MASTER STATE", PATIENCE)?;
    Ok(())
}

/// An address on a link of a VRF is a source like any other, and so is one on a link that joins a VRF later.
fn a_link_may_join_a_vrf() -> CaseResult {
    let bench = Bench::new()?;
    bench.ip(&["link add red type vrf table 77", "link set red up"])?;
    let router = bench.start("eth0")?;
    bench.ip(&["link set eth0 master red"])?;
    let wire = bench.lan.capture()?;
    let joined = Instant::now();
    let sent = wait_until("adverts from the VRF", || {
        let frames = wire.frames();
        let newest = frames.iter().rev().find(|frame| frame.vrrp().is_some());
        Ok(newest.is_some_and(|frame| frame.at > joined + Duration::from_secs(1)))
    });
    sent.map_err(|_| Stop::failed(log(&router)))
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let vm = vm.module("bonding").module("8021q").module("vrf").module("veth").module("bridge").memory(1024);
        Ok(vm.program(env!("CARGO_BIN_EXE_keepalived-rs"))?.program("ip")?)
    };
    harness::main_in_vm(
        files,
        &[
            case("a_bond_fails_over", a_bond_fails_over),
            case("a_vlan_follows_the_interface_below", a_vlan_follows_the_interface_below),
            case("a_link_may_join_a_vrf", a_link_may_join_a_vrf),
        ],
    )
}
