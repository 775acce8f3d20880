//! Words of routes that need MPLS, ILA or VRF: this test boots a virtual machine whose kernel has them and runs itself in
//! there, beside Debian's keepalived.

#[path = "support/beside.rs"]
mod beside;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::process::{Command, ExitCode};

use beside::Router;
use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Lab, peers};
use support::{Daemon, wait_until};

const ROUTES: &str = "
    10.1.0.0/16 dev eth0 encap mpls 100
    10.2.0.0/16 via 198.18.0.2 dev eth0 encap mpls 100/1048575
    10.3.0.0/16 via 198.18.0.2 dev eth0 ttl-propagate enabled encap mpls 16
    10.4.0.0/16 via 198.18.0.2 dev eth0 ttl-propagate disabled encap mpls 17
    2001:db8:11::/64 via fe80::7 dev eth0 encap mpls 18
    fc00:1:2:3:2000::1/128 via fe80::7 dev eth0 encap ila 2001:db8:1:2
";

/// The owner of the address, which begins at once: the machine is emulated and slow.
fn config(routes: &str, fixed: bool) -> String {
    let (before, within) = match fixed {
        true => (format!("static_routes {{{routes}}}\n"), String::new()),
        false => (String::new(), format!("virtual_routes {{{routes}}}\n")),
    };
    format!(
        "global_defs {{\n router_id test\n}}\n{before}vrrp_instance VI_1 {{\n state MASTER\n interface eth0\n \
         virtual_router_id 51\n priority 255\n version 3\n advert_int 10\n virtual_ipaddress {{\n 198.18.0.100/24\n }}\n \
         {within}}}\n"
    )
}

fn same_is_shown(fixed: bool) -> CaseResult {
    let lines = ROUTES.lines().filter(|line| !line.trim().is_empty()).count();
    beside::same_is_shown(&config(ROUTES, fixed), 1 + lines)
}

fn encapsulations_are_shown_the_same() -> CaseResult {
    same_is_shown(false)
}

fn static_encapsulations_are_shown_the_same() -> CaseResult {
    same_is_shown(true)
}

/// The table of the VRF is looked up by its name when the file is read.
fn a_vrf_names_its_table() -> CaseResult {
    for fixed in [false, true] {
        for daemon in [Daemon::Ours, Daemon::C] {
            let lab = Lab::new()?;
            let config = config("\n 10.5.0.0/16 dev eth0 vrf blue\n", fixed);
            let router = Router::prepared(&lab, "r", daemon, &config, |host| {
                let add = ["link", "add", "blue", "type", "vrf", "table", "10"];
                let added = host.run(|| Command::new("ip").args(add).status())?;
                if added.success() { Ok(()) } else { Err(Stop::failed(format!("adding a VRF: {added}"))) }
            })?;
            let wanted = "10.5.0.0/16 dev eth0 table 10";
            let mut shown = Default::default();
            let waited = wait_until("the route in the table of the VRF", || {
                shown = router.shown()?;
                Ok(shown.iter().any(|entry| entry.contains(wanted)))
            });
            waited.map_err(|_| Stop::failed(format!("{daemon:?}: {shown:#?}\n{}", router.log())))?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let modules = ["veth", "bridge", "mpls_router", "mpls_iptunnel", "ila", "vrf"];
        let vm = modules.into_iter().fold(vm, netlab::vm::Vm::module).memory(1024);
        let vm = vm.program(env!("CARGO_BIN_EXE_keepalived-rs"))?.program("ip")?;
        // Who lacks a peer skips the case that asks for it.
        let peers = [peers::keepalived()].into_iter().flatten();
        Ok(peers.into_iter().try_fold(vm, |vm, peer| peer.add_to(vm))?)
    };
    harness::main_in_vm(
        files,
        &[
            case("encapsulations_are_shown_the_same", encapsulations_are_shown_the_same),
            case("static_encapsulations_are_shown_the_same", static_encapsulations_are_shown_the_same),
            case("a_vrf_names_its_table", a_vrf_names_its_table),
        ],
    )
}
