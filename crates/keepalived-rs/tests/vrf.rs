//! A router whose link belongs to a VRF, which the host's kernel may not have: this test boots a virtual machine and runs
//! itself in there.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use netlab::Program;
use netlab::harness::{self, CaseResult, Stop, case};
use nix::sys::signal::Signal;
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

const PROTOCOL: Protocol = Protocol { version: 3, interval: Duration::from_millis(500), ipv6: false };

/// That of iproute2.
const IP: &str = "/usr/sbin/ip";

/// A multicast and a unicast instance on one link of a VRF, and a unicast one that names the VRF.
fn text(priority: u8, own: u8, peer: u8, vrf: &str) -> String {
    let instance = |name: &str, vrid: u8, lines: &str| {
        format!(
            "vrrp_instance {name} {{\n state BACKUP\n interface eth0\n virtual_router_id {vrid}\n priority {priority}\n \
             version 3\n advert_int 0.5\n {lines}\n virtual_ipaddress {{\n 198.18.0.{}/24\n }}\n}}\n",
            100 + vrid
        )
    };
    let unicast = format!("unicast_src_ip 198.18.0.{own}\n unicast_peer {{\n 198.18.0.{peer}\n }}");
    let anywhere = instance("VRF", 3, &format!("{vrf}\n {unicast}")).replace(" interface eth0\n", "");
    instance("GROUP", 1, "") + &instance("PEERS", 2, &unicast) + &anywhere
}

/// Its routes are in a table that nobody else looks into: it hears its peer, and is heard.
fn a_router_in_a_vrf_hears_and_is_heard() -> CaseResult {
    let mut pair = Pair::new(PROTOCOL, Daemon::Ours, Daemon::Ours)?;
    for line in ["link add red type vrf table 10", "link set red up", "link set eth0 master red"] {
        let ip = pair.r1.host.spawn(Program::new(IP).args(line.split(' ')))?;
        if !ip.wait_for_exit(PATIENCE)?.success() {
            return Err(Stop::failed(format!("ip {line}: {:?}", ip.lines())));
        }
    }
    pair.r2.process = Some(pair.r2.host.spawn(Daemon::Ours.program(&text(150, 2, 1, ""))?)?);
    for name in ["GROUP", "PEERS", "VRF"] {
        pair.r2.process().wait_for_line(&format!("({name}) Entering MASTER STATE"), PATIENCE)?;
    }
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&text(90, 1, 2, "vrf red"))?)?);
    for name in ["GROUP", "PEERS", "VRF"] {
        let heard = pair.r1.process().wait_for_line(&format!("({name}) master set to 198.18.0.2"), PATIENCE);
        heard.map_err(|error| Stop::failed(format!("{error}\n{}", pair.logs())))?;
    }
    let wire = pair.r2.host.capture("eth0")?;
    pair.r2.process().signal(Signal::SIGTERM)?;
    for name in ["GROUP", "PEERS", "VRF"] {
        pair.r1.process().wait_for_line(&format!("({name}) Entering MASTER STATE"), PATIENCE)?;
    }
    let sent = |vrid: u8| {
        let ours = |packet: netlab::IpPacket<'_>| {
            packet.source == std::net::IpAddr::from([198, 18, 0, 1]) && packet.payload.get(1) == Some(&vrid)
        };
        wire.frames().iter().any(|frame| frame.vrrp().is_some_and(ours))
    };
    let waited = wait_until("all adverts", || Ok(sent(1) && sent(2) && sent(3)));
    waited.map_err(|_| Stop::failed(pair.logs()))
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let vm = vm.module("vrf").module("veth").module("bridge").memory(1024);
        Ok(vm.program(env!("CARGO_BIN_EXE_keepalived-rs"))?.program_at(IP, IP)?)
    };
    harness::main_in_vm(files, &[case("a_router_in_a_vrf_hears_and_is_heard", a_router_in_a_vrf_hears_and_is_heard)])
}
