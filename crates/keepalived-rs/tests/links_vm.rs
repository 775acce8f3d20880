//! Routers on bonds and VLANs, for which this test boots a virtual machine and runs itself in there.

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
    _lab: Lab,
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
        Ok(Self { _lab: lab, lan, host })
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
    if log(&router).contains(IN_FAULT) {
        return Err(Stop::failed(log(&router)));
    }
    let mark = router.mark();
    bench.host.cut("eth1")?;
    router.wait_for_line_after(mark, "Netlink reports bond0 down", PATIENCE)?;
    router.wait_for_line_after(mark, IN_FAULT, PATIENCE)?;
    let mark = router.mark();
    bench.host.mend("eth0")?;
    router.wait_for_line_after(mark, "(VI_1) Entering MASTER STATE", PATIENCE)?;
    Ok(())
}

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
