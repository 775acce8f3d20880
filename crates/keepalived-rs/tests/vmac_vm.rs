//! Ipvlans and VRFs, on a kernel that has them: this test boots a virtual machine and runs itself in there.

#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]

#[path = "support/node.rs"]
mod node;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::process::ExitCode;

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Lab, peers};
use nix::sys::signal::Signal;
use node::{Node, difference, frames, instance, log, text};
use support::{Daemon, PATIENCE, wait_until};

/// Starts both daemons on the same file and waits until the links, addresses and adverts of both hosts are the same and
/// there are so many ways of adverts; then that ours leaves nothing.
fn the_same(config: &str, adverts: usize, before: impl Fn(&Node) -> Result<(), Stop>) -> CaseResult {
    let lab = Lab::new()?;
    let (theirs, ours) = (Node::new(&lab, "c")?, Node::new(&lab, "r")?);
    before(&theirs)?;
    before(&ours)?;
    let (links, settings) = (ours.links()?, ours.settings()?);
    let wires = [[theirs.host.capture("eth0")?], [ours.host.capture("eth0")?]];
    let processes = [theirs.start(Daemon::C, config)?, ours.start(Daemon::Ours, config)?];
    let mut last = String::new();
    let same = wait_until("both hosts to look alike", || {
        let [there, here] = [(&theirs, &wires[0]), (&ours, &wires[1])].map(|(node, wires)| {
            let sent = frames(node, wires)?.into_iter().filter(|line| line.contains(" advert "));
            // Theirs removes the link-local addresses that it lets the kernel make.
            let links = node.links()?.into_iter();
            let links =
                links.map(|line| if line.contains(" ipvlan ") { line.replace(" none ", " eui64 ") } else { line });
            Ok::<_, Stop>(links.chain(sent).collect::<std::collections::BTreeSet<_>>())
        });
        let (there, here) = (there?, here?);
        last = format!("{}{here:#?}", difference(&there, &here));
        Ok(there == here && here.iter().filter(|line| line.contains(" advert ")).count() == adverts)
    });
    same.map_err(|_| Stop::failed(format!("{last}\n{}\n{}", log(&processes[0]), log(&processes[1]))))?;
    processes[1].signal(Signal::SIGTERM)?;
    processes[1].wait_for_exit(PATIENCE)?;
    if ours.links()? != links || ours.settings()? != settings {
        return Err(Stop::failed(format!("{}\n{}", difference(&links, &ours.links()?), log(&processes[1]))));
    }
    Ok(())
}

/// All modes of ipvlan: the kernel keeps one answer for all that share an interface, so each runs by itself.
fn ipvlans_carry_adverts_as_those_of_keepalived() -> CaseResult {
    for mode in ["bridge", "private", "vepa"] {
        let config = "global_defs {\n router_id test\n}\n".to_owned()
            + &instance(
                "A",
                51,
                "eth0",
                &format!("use_ipvlan ip0 198.18.0.50/24 {mode}\n virtual_ipaddress {{\n 198.18.0.100/24\n }}"),
            )
            + &instance(
                "B",
                52,
                "eth0",
                &format!("use_ipvlan 198.18.0.51/24 {mode}\n virtual_ipaddress {{\n 198.18.0.101/24\n }}"),
            );
        the_same(&slowly(config), 2, |_| Ok(()))?;
    }
    Ok(())
}

/// It sends from the link-local address that the kernel gives it; groups of ipvlans are younger than the other
/// keepalived.
fn an_ipvlan_for_ipv6_joins_a_group() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    let wires = [node.host.capture("eth0")?];
    let body = "use_ipvlan name ip6 group 7\n virtual_ipaddress {\n fe80::100/64\n }";
    let process = node.start(Daemon::Ours, &slowly(instance("A", 51, "eth0", body)))?;
    wait_until("adverts of the ipvlan", || {
        let links = node.json(&["-j", "addr"])?;
        let ip6 = links.iter().find(|link| link["ifname"] == "ip6");
        let Some(ip6) = ip6.filter(|link| link["group"] == "7") else { return Ok(false) };
        let own = text(&ip6["addr_info"][0]["local"]);
        Ok(frames(&node, &wires)?.contains(&format!("eth0 advert 51 MAC(eth0) {own}")))
    })
    .map_err(|_| Stop::failed(format!("{:?}\n{}", frames(&node, &wires), log(&process))))
}

/// What runs in a machine that is emulated takes its time.
fn slowly(config: String) -> String {
    config.replace("advert_int 0.2", "advert_int 1")
}

/// A macvlan joins the VRF of the interface below.
fn a_macvlan_joins_the_vrf_of_its_interface() -> CaseResult {
    let config = "global_defs {\n router_id test\n}\n".to_owned()
        + &instance("A", 51, "eth0", "use_vmac\n virtual_ipaddress {\n 198.18.0.100/24\n }")
        + &instance("B", 51, "eth0", "use_vmac\n virtual_ipaddress {\n fe80::100/64\n }");
    the_same(&slowly(config), 2, |node| {
        node.ip(&["link", "add", "red", "type", "vrf", "table", "10"])?;
        node.ip(&["link", "set", "red", "up"])?;
        node.ip(&["link", "set", "eth0", "master", "red"])?;
        wait_until("the link-local address to be back", || {
            Ok(node.ip(&["-6", "addr", "show", "dev", "eth0"])?.contains("fe80"))
        })
    })
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let vm =
            ["veth", "bridge", "macvlan", "ipvlan", "vrf"].into_iter().fold(vm.memory(1024), netlab::vm::Vm::module);
        let vm = vm.program(env!("CARGO_BIN_EXE_keepalived-rs"))?.program("ip")?;
        // Who lacks the peer skips the cases.
        Ok(peers::keepalived().into_iter().try_fold(vm, |vm, peer| peer.add_to(vm))?)
    };
    harness::main_in_vm(
        files,
        &[
            case("ipvlans_carry_adverts_as_those_of_keepalived", ipvlans_carry_adverts_as_those_of_keepalived),
            case("an_ipvlan_for_ipv6_joins_a_group", an_ipvlan_for_ipv6_joins_a_group),
            case("a_macvlan_joins_the_vrf_of_its_interface", a_macvlan_joins_the_vrf_of_its_interface),
        ],
    )
}
