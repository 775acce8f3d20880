//! Macvlans with the MAC addresses of virtual routers: as Debian's keepalived makes them of the same file, kept when
//! somebody interferes, and gone afterwards, with every setting as it was.

#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]

#[path = "support/node.rs"]
mod node;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Host, Lab, Program};
use nix::sys::signal::{Signal, kill};
use node::{Node, difference, frames, instance, log, text};
use serde_json::Value;
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

const V2: Protocol = Protocol { version: 2, interval: Duration::from_secs(1), ipv6: false };
const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(300), ipv6: false };
const V3_IPV6: Protocol = Protocol { version: 3, interval: Duration::from_millis(300), ipv6: true };

/// Two families of a router, macvlans for addresses elsewhere, a MAC address of its own, adverts below, unicast.
fn every_sort() -> String {
    let elsewhere = "virtual_ipaddress {\n 198.18.0.53/24\n 198.18.0.153/24 dev eth0\n 198.18.1.53/24 dev eth1\n }\n \
                     virtual_ipaddress_excluded {\n 2001:db8:0::53/64\n 2001:db8:1::53/64 dev eth1\n }";
    "global_defs {\n router_id test\n vmac_addr_prefix va\n}\n".to_owned()
        + &instance("VI_1", 51, "eth0", "use_vmac\n virtual_ipaddress {\n 198.18.0.100/24\n }")
        + &instance("VI_6", 51, "eth0", "use_vmac\n virtual_ipaddress {\n fe80::100/64\n 2001:db8::100/64\n }")
        + &instance("VI_53", 53, "eth0", &format!("use_vmac\n use_vmac_addr\n {elsewhere}"))
        + &instance(
            "VI_54",
            54,
            "eth1",
            &format!(
                "use_vmac own 02:00:00:00:01\n {}",
                "virtual_ipaddress {\n 198.18.1.54/24\n 198.18.0.54/24 dev eth0 use_vmac\n }\n \
             virtual_ipaddress_excluded {\n 2001:db8:1::54/64\n }"
            ),
        )
        + &instance("VI_55", 55, "eth0", "use_vmac\n vmac_xmit_base\n virtual_ipaddress {\n 198.18.0.55/24\n }")
        + &instance(
            "VI_56",
            56,
            "eth0",
            "use_vmac\n unicast_src_ip 198.18.0.1\n unicast_peer {\n 198.18.0.9\n }\n virtual_ipaddress {\n 198.18.0.56/24\n }",
        )
        + &instance("VI_57", 57, "eth1", "promote_secondaries\n virtual_ipaddress {\n 198.18.1.57/24\n }")
}

fn links_settings_and_frames_are_those_of_keepalived() -> CaseResult {
    let lab = Lab::new()?;
    let (theirs, ours) = (Node::new(&lab, "c")?, Node::new(&lab, "r")?);
    let wires = |node: &Node| -> Result<[netlab::Capture; 2], Stop> {
        Ok([node.host.capture("eth0")?, node.host.capture("eth1")?])
    };
    let (their_wires, our_wires) = (wires(&theirs)?, wires(&ours)?);
    let before = ours.settings()?;
    let links_before = ours.links()?;
    let processes = [theirs.start(Daemon::C, &every_sort())?, ours.start(Daemon::Ours, &every_sort())?];
    let mut last = String::new();
    let all = |node: &Node, wires: &[netlab::Capture]| -> Result<BTreeSet<String>, Stop> {
        let settings = node.settings()?.into_iter().map(|(path, value)| format!("{path} {value}"));
        Ok(settings.chain(node.links()?).chain(frames(node, wires)?).collect())
    };
    let same = wait_until("both hosts to look alike", || {
        let (there, here) = (all(&theirs, &their_wires)?, all(&ours, &our_wires)?);
        last = difference(&there, &here);
        let announced = here.iter().filter(|line| line.contains(" ARP ") || line.contains(" NA ")).count();
        Ok(there == here && announced == 14)
    });
    if same.is_err() {
        return Err(Stop::failed(format!("{last}\n{}\n{}", log(&processes[0]), log(&processes[1]))));
    }
    processes[1].signal(Signal::SIGTERM)?;
    processes[1].wait_for_exit(PATIENCE)?;
    // Theirs leaves the interfaces below as it made them.
    let (after, links_after) = (ours.settings()?, ours.links()?);
    if after != before || links_after != links_before {
        let pairs = |settings: BTreeMap<String, String>| settings.into_iter().collect::<BTreeSet<_>>();
        let text = difference(&pairs(before), &pairs(after));
        return Err(Stop::failed(format!("{text}{}", difference(&links_before, &links_after))));
    }
    for line in ["(VI_1): Success creating VMAC interface vrrp.51", "(VI_1) Success removing VMAC interface vrrp.51"] {
        processes[1].wait_for_line(line, PATIENCE)?;
    }
    Ok(())
}

/// Reverse path filtering of all interfaces would drop what a macvlan receives.
fn rp_filter_moves_to_each_interface_and_back() -> CaseResult {
    let lab = Lab::new()?;
    let (theirs, ours) = (Node::new(&lab, "c")?, Node::new(&lab, "r")?);
    for node in [&theirs, &ours] {
        node.host.set_sysctl("net/ipv4/conf/all/rp_filter", "1")?;
        node.host.set_sysctl("net/ipv4/conf/eth1/rp_filter", "2")?;
    }
    let before = ours.settings()?;
    let processes = [theirs.start(Daemon::C, &every_sort())?, ours.start(Daemon::Ours, &every_sort())?];
    let mut last = String::new();
    let same = wait_until("the same settings", || {
        let pairs = |node: &Node| -> Result<BTreeSet<_>, Stop> { Ok(node.settings()?.into_iter().collect()) };
        let (there, here) = (pairs(&theirs)?, pairs(&ours)?);
        last = difference(&there, &here);
        let moved = |(path, value): &(String, String)| path.ends_with("conf/all/rp_filter") && value == "0";
        Ok(there == here && here.iter().any(moved))
    });
    if same.is_err() {
        return Err(Stop::failed(format!("{last}\n{}\n{}", log(&processes[0]), log(&processes[1]))));
    }
    for line in [
        "NOTICE: setting sysctl net.ipv4.conf.default.rp_filter from 0 to 1",
        "NOTICE: setting sysctl net.ipv4.conf.all.rp_filter from 1 to 0",
    ] {
        processes.iter().try_for_each(|process| process.wait_for_line(line, PATIENCE).map(drop))?;
    }
    processes[1].signal(Signal::SIGTERM)?;
    processes[1].wait_for_line("NOTICE: resetting sysctl net.ipv4.conf.all.rp_filter to 1", PATIENCE)?;
    processes[1].wait_for_exit(PATIENCE)?;
    let after = ours.settings()?;
    if after != before {
        return Err(Stop::failed(format!("before {before:#?}\nafter {after:#?}")));
    }
    Ok(())
}

/// Containers often have a /proc/sys that nobody may write to: what is not done is not said to be, and said once.
fn settings_that_may_not_be_changed_are_named_once() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    node.host.set_sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    let read_only =
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro,nosuid,nodev,noexec /proc/sys && exec \"$@\"";
    let program =
        Program::new("sh").args(["-c", read_only, "sh", env!("CARGO_BIN_EXE_keepalived-rs"), "-nlDG", "--vrrp"]);
    let config = instance("VI_1", 51, "eth0", "use_vmac\n virtual_ipaddress {\n 198.18.0.100/24\n }");
    let program = program.args(["-f", "/run/keepalived.conf"]).file("/run/keepalived.conf", config);
    let process = node.host.spawn(program)?;
    let refused = "setting sysctl net.ipv4.conf.all.rp_filter to 0: Read-only file system";
    process.wait_for_line(refused, PATIENCE).map_err(|_| Stop::failed(log(&process)))?;
    wait_until("the address", || Ok(node.host.holds("198.18.0.100".parse()?)?))
        .map_err(|_| Stop::failed(log(&process)))?;
    let over = Instant::now() + Duration::from_millis(2500);
    wait_until("another two attempts", || Ok(Instant::now() > over))?;
    let text = log(&process);
    if text.contains("NOTICE: setting sysctl net.ipv4.conf.all") || text.matches(refused).count() != 1 {
        return Err(Stop::failed(text));
    }
    Ok(())
}

/// Election, clean stop, return and death, with the MAC address of the virtual router on either host.
fn story(protocol: Protocol, first: Daemon, second: Daemon) -> CaseResult {
    let mut pair = Pair::new(protocol, first, second)?;
    let vmac = [0, 0, 0x5e, 0, if protocol.ipv6 { 2 } else { 1 }, 51];
    let wire = pair.client.capture("eth0")?;
    pair.r1.start(protocol, "use_vmac")?;
    pair.r2.start(protocol, "use_vmac")?;
    pair.wait_for_holder("r1")?;
    let pinger = pair.ping()?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.wait_for_holder("r2")?;
    pair.lost_at_most(&pinger, protocol.skew(pair.r2.priority), "take-over after a clean stop")?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    let pinger = pair.ping()?;
    pair.r1.start(protocol, "use_vmac")?;
    pair.wait_for_holder("r1")?;
    // An answer of the old one after the first advert of the new one turns the switch back to it, until the next advert.
    pair.lost_at_most(&pinger, protocol.interval, "return of the better router")?;
    let pinger = pair.ping()?;
    pair.r1.process().freeze_all()?;
    pair.r1.host.cut("eth0")?;
    pair.r1.process().kill_all()?;
    wait_until("the peer's take-over", || Ok(pair.r2.host.holds(protocol.vip())?))?;
    pair.lost_at_most(&pinger, protocol.active_down(pair.r2.priority), "take-over after a death")?;
    let other = wire.frames().into_iter().find(|frame| frame.vrrp().is_some() && frame.source_mac() != Some(vmac));
    match other {
        Some(frame) => Err(Stop::failed(format!("an advert from {:x?}\n{}", frame.source_mac(), pair.logs()))),
        None => Ok(()),
    }
}

/// The index of a link; 0 without it.
fn index(host: &Host, name: &str) -> u32 {
    host.run(|| nix::net::if_::if_nametoindex(name)).unwrap_or_default()
}

/// The macvlan stays, the peer notices nothing, the client loses nothing.
fn a_dead_worker_leaves_its_macvlan_to_the_next(protocol: Protocol) -> CaseResult {
    let mut pair = Pair::new(protocol, Daemon::Ours, Daemon::C)?;
    pair.r1.start(protocol, "use_vmac")?;
    pair.r2.start(protocol, "use_vmac")?;
    pair.wait_for_holder("r1")?;
    let before = index(&pair.r1.host, "vrrp.51");
    let pinger = pair.ping()?;
    let adverts = pair.client.capture("eth0")?;
    let lines = pair.r2.process().lines().len();
    let dead = pair.r1.worker();
    kill(dead, Signal::SIGKILL)?;
    wait_until("a new worker", || Ok(pair.r1.worker() != dead))?;
    // The peer would have taken over by then.
    let over = std::time::Instant::now() + protocol.active_down(pair.r2.priority) + protocol.interval * 2;
    wait_until("adverts of the new worker", || {
        Ok(adverts.frames().iter().any(|frame| frame.at > over && frame.vrrp().is_some()))
    })?;
    let noticed = pair.r2.process().lines().iter().skip(lines).any(|line| line.text.contains("MASTER STATE"));
    let after = index(&pair.r1.host, "vrrp.51");
    if noticed || before == 0 || after != before {
        return Err(Stop::failed(format!("link {before}, then {after}\n{}", pair.logs())));
    }
    pair.wait_for_holder("r1")?;
    pair.lost_at_most(&pinger, Duration::ZERO, "a dead worker")?;
    Ok(())
}

fn a_dead_worker() -> CaseResult {
    a_dead_worker_leaves_its_macvlan_to_the_next(V3)
}

fn a_dead_worker_ipv6() -> CaseResult {
    a_dead_worker_leaves_its_macvlan_to_the_next(V3_IPV6)
}

/// Removed: made again, and the addresses are back. Changed: changed back.
fn what_others_do_to_a_macvlan_is_undone() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    let vip: IpAddr = "198.18.0.100".parse()?;
    let process = node.start(Daemon::Ours, &every_sort())?;
    let holds = || Ok(node.host.holds(vip)?);
    wait_until("the address", holds)?;
    let mut wished = BTreeSet::new();
    wait_until("carrier everywhere", || {
        wished = node.links()?;
        Ok(!wished.iter().any(|line| line.contains("UNKNOWN")))
    })?;
    for command in [
        "link del vrrp.51",
        "link set vrrp.51 address 02:00:00:00:00:09",
        "link set vrrp.51 down",
        "link set vrrp.51 group 5",
        "link set vrrp6.51 type macvlan mode bridge",
        "link del vrrp6.51",
        "link del va.53",
        "addr del 198.18.0.100/24 dev vrrp.51",
    ] {
        node.ip(&command.split(' ').collect::<Vec<_>>())?;
        let mut last = BTreeSet::new();
        let undone = wait_until(command, || {
            last = node.links()?;
            Ok(last == wished)
        });
        undone.map_err(|_| Stop::failed(format!("{command}\n{}{}", difference(&wished, &last), log(&process))))?;
    }
    let text = log(&process);
    let made = text.matches("(VI_1): Success creating VMAC interface vrrp.51").count();
    if made != 2 || !text.contains("Netlink reflector reports IP 198.18.0.100 removed from vrrp.51") {
        return Err(Stop::failed(text));
    }
    Ok(())
}

/// What nobody was left to take back is taken back by the command, and by the next start.
fn settings_are_restored_after_everything_was_killed() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    node.host.set_sysctl("net/ipv4/conf/all/rp_filter", "2")?;
    let (before, links) = (node.settings()?, node.links()?);
    let vip: IpAddr = "198.18.0.100".parse()?;
    let last: IpAddr = "198.18.1.57".parse()?;
    let file = node.folder.path().join("k.conf");
    let pid = node.folder.path().join("pid");
    std::fs::write(&file, every_sort())?;
    let state = node.folder.path().join("pid.state");
    for plain in [None, Some(instance("VI_1", 51, "eth0", "virtual_ipaddress {\n 198.18.0.100/24\n }"))] {
        let process = node.start(Daemon::Ours, &every_sort())?;
        wait_until("the addresses", || Ok(node.host.holds(vip)? && node.host.holds(last)?))?;
        let setting = "/proc/sys/net/ipv4/conf/eth1/promote_secondaries";
        let during = node.settings()?;
        process.kill_all()?;
        if during.get(setting).map(String::as_str) != Some("1") || !state.exists() {
            return Err(Stop::failed(format!("{during:#?}\n{}", log(&process))));
        }
        if let Some(text) = plain {
            // It does without macvlans: what the dead one left is not wanted.
            let process = node.start(Daemon::Ours, &text)?;
            wait_until("the address on its interface", || {
                Ok(node.ip(&["addr", "show", "dev", "eth0"])?.contains("198.18.0.100"))
            })?;
            process.signal(Signal::SIGTERM)?;
            process.wait_for_exit(PATIENCE)?;
        } else {
            let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs"))
                .args(["cleanup", "--allow-unsupported", "-f"])
                .arg(&file);
            let done = node.host.spawn(program.arg("-p").arg(&pid))?;
            if !done.wait_for_exit(PATIENCE)?.success() {
                return Err(Stop::failed(log(&done)));
            }
        }
        let mut rest = String::new();
        let undone = wait_until("everything to be as it was", || {
            let pairs = |settings: &BTreeMap<String, String>| settings.clone().into_iter().collect::<BTreeSet<_>>();
            let (settings, there) = (node.settings()?, node.links()?);
            rest = difference(&pairs(&before), &pairs(&settings)) + &difference(&links, &there);
            Ok(settings == before && there == links)
        });
        undone.map_err(|_| Stop::failed(format!("{rest}{}", log(&process))))?;
    }
    if state.exists() {
        return Err(Stop::failed("the file of what was to be taken back is still there"));
    }
    Ok(())
}

/// Neither a stop nor a clean-up takes back what is no longer as the daemon made it.
fn what_others_set_meanwhile_is_left_alone() -> CaseResult {
    const PARENT: &str = "net/ipv4/conf/eth0/arp_ignore";
    const ALL: &str = "net/ipv4/conf/all/rp_filter";
    const LINK: &str = "net/ipv4/conf/eth1/arp_filter";
    let vips: [IpAddr; 2] = ["198.18.0.100".parse()?, "198.18.1.57".parse()?];
    for crash in [false, true] {
        let lab = Lab::new()?;
        let node = Node::new(&lab, "r")?;
        node.host.set_sysctl(ALL, "1")?;
        let (mut expected, links) = (node.settings()?, node.links()?);
        let file = node.folder.path().join("k.conf");
        std::fs::write(&file, every_sort())?;
        let process = node.start(Daemon::Ours, &every_sort())?;
        let value =
            |name: &str| -> Result<Option<String>, Stop> { Ok(node.settings()?.remove(&format!("/proc/sys/{name}"))) };
        wait_until("the addresses and the settings", || {
            let held = vips.iter().all(|vip| node.host.holds(*vip).unwrap_or(false));
            let is = |name, wanted: &str| -> Result<bool, Stop> { Ok(value(name)?.as_deref() == Some(wanted)) };
            Ok(held && is(PARENT, "1")? && is(ALL, "0")? && is(LINK, "1")?)
        })?;
        if crash {
            process.kill_all()?;
        }
        for (name, theirs) in [(PARENT, "2"), (ALL, "2")] {
            node.host.set_sysctl(name, theirs)?;
            expected.insert(format!("/proc/sys/{name}"), theirs.to_owned());
        }
        let last = if crash {
            let program =
                Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["cleanup", "--allow-unsupported", "-f"]);
            node.host.spawn(program.arg(&file).arg("-p").arg(node.folder.path().join("pid")))?
        } else {
            process.signal(Signal::SIGTERM)?;
            process
        };
        last.wait_for_exit(PATIENCE)?;
        let (after, links_after) = (node.settings()?, node.links()?);
        if after != expected || links_after != links {
            let pairs = |settings: BTreeMap<String, String>| settings.into_iter().collect::<BTreeSet<_>>();
            let text = difference(&pairs(expected), &pairs(after));
            return Err(Stop::failed(format!("crash: {crash}\n{text}{}", log(&last))));
        }
    }
    Ok(())
}

/// `disable_local_igmp` holds while the file says so, and is taken back.
fn no_reports_of_link_local_groups() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    let reports = || {
        let value = node.host.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/igmp_link_local_mcast_reports"))?;
        Ok::<_, Stop>(value.trim().to_owned())
    };
    let router = instance("VI_1", 51, "eth0", "virtual_ipaddress {\n 198.18.0.100/24\n }");
    let without = format!("global_defs {{\n disable_local_igmp\n}}\n{router}");
    let file = node.folder.path().join("k.conf");
    for ends_by_reload in [false, true] {
        std::fs::write(&file, &without)?;
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlDG", "--vrrp", "-f"]).arg(&file);
        let process = node.host.spawn(program.arg("-p").arg(node.folder.path().join("pid")))?;
        let quiet = wait_until("the setting", || Ok(reports()? == "0"));
        quiet.map_err(|_| Stop::failed(log(&process)))?;
        if ends_by_reload {
            std::fs::write(&file, &router)?;
            process.wait_for_line("Startup complete", PATIENCE)?;
            process.signal(Signal::SIGHUP)?;
        } else {
            process.signal(Signal::SIGTERM)?;
            process.wait_for_exit(PATIENCE)?;
        }
        let back = wait_until("what was before", || Ok(reports()? == "1"));
        back.map_err(|_| Stop::failed(log(&process)))?;
    }
    Ok(())
}

/// A reload takes away what is no longer wanted and changes what has to change.
fn a_reload_makes_changes_and_removes_macvlans() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    let (before, links) = (node.settings()?, node.links()?);
    let file = node.folder.path().join("k.conf");
    let write = |body: &str| {
        std::fs::write(
            &file,
            instance("VI_1", 51, "eth0", &format!("{body}\n virtual_ipaddress {{\n 198.18.0.100/24\n }}")),
        )
    };
    write("use_vmac vm")?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs"))
        .args(["-nlDG", "--vrrp", "--allow-unsupported", "-f"])
        .arg(&file);
    let process = node.host.spawn(program.arg("-p").arg(node.folder.path().join("pid")))?;
    let address = || -> Result<String, Stop> {
        let shown = node.json(&["-j", "addr"])?;
        let has = |link: &&Value| link["addr_info"].to_string().contains("198.18.0.100");
        Ok(shown
            .iter()
            .find(has)
            .map(|link| format!("{} {}", text(&link["ifname"]), text(&link["address"])))
            .unwrap_or_default())
    };
    let waited = |wished: &str| {
        wait_until(wished, || Ok(address()? == wished))
            .map_err(|_| Stop::failed(format!("{wished}, not {:?}\n{}", address(), log(&process))))
    };
    waited("vm 00:00:5e:00:01:33")?;
    write("use_vmac vm 02:00:00:00:00:07")?;
    process.signal(Signal::SIGHUP)?;
    waited("vm 02:00:00:00:00:07")?;
    write("use_vmac other")?;
    process.signal(Signal::SIGHUP)?;
    waited("other 00:00:5e:00:01:33")?;
    write("")?;
    process.signal(Signal::SIGHUP)?;
    wait_until("the address on its interface", || Ok(address()?.starts_with("eth0 ")))?;
    let vip = |line: &&String| !line.contains("198.18.0.100");
    let mut rest = String::new();
    wait_until("everything else to be as it was", || {
        let there: BTreeSet<_> = node.links()?.iter().filter(vip).cloned().collect();
        rest = difference(&links, &there);
        Ok(there == links && node.settings()? == before)
    })
    .map_err(|_| Stop::failed(format!("{rest}{}", log(&process))))
}

/// Another instance that comes first in the file, with the same number, takes no macvlan away from one that runs.
fn a_reload_leaves_every_macvlan_its_name() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    let file = node.folder.path().join("k.conf");
    let [first, second] = [("A", "eth0", "198.18.0.100"), ("B", "eth1", "198.18.1.100")]
        .map(|(name, on, ip)| instance(name, 51, on, &format!("use_vmac\n virtual_ipaddress {{\n {ip}/24\n }}")));
    std::fs::write(&file, &first)?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlDG", "--vrrp", "-f"]).arg(&file);
    let process = node.host.spawn(program.arg("-p").arg(node.folder.path().join("pid")))?;
    let holds = |ip: &str| -> CaseResult {
        let ip: IpAddr = ip.parse().map_err(|_| Stop::failed("no address"))?;
        wait_until("the address", || Ok(node.host.holds(ip)?)).map_err(|_| Stop::failed(log(&process)))
    };
    holds("198.18.0.100")?;
    let before = index(&node.host, "vrrp.51");
    std::fs::write(&file, second + &first)?;
    process.signal(Signal::SIGHUP)?;
    holds("198.18.1.100")?;
    let after = (index(&node.host, "vrrp.51"), index(&node.host, "vrrp1.51") > 0);
    if after != (before, true) || log(&process).contains("(A) Entering FAULT STATE") {
        return Err(Stop::failed(format!("{before}, then {after:?}\n{}", log(&process))));
    }
    Ok(())
}

/// `group` of the line, else that of the interface below, of which everyone hears if told to.
fn a_link_joins_a_group_and_its_parent_is_told_of() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    node.ip(&["link", "set", "eth0", "group", "9"])?;
    let mut monitor = node.host.run(vip_netlink::Monitor::open)?;
    let config =
        instance("A", 51, "eth0", "use_vmac a group 7 netlink_notify_msg\n virtual_ipaddress {\n 198.18.0.100/24\n }")
            + &instance("B", 52, "eth0", "use_vmac b\n virtual_ipaddress {\n 198.18.0.101/24\n }");
    let process = node.start(Daemon::Ours, &config)?;
    let group = |name: &str| -> Result<String, Stop> {
        let links = node.json(&["-j", "link"])?;
        Ok(links.iter().find(|link| link["ifname"] == name).map(|link| text(&link["group"])).unwrap_or_default())
    };
    wait_until("both groups", || Ok(group("a")? == "7" && group("b")? == "9"))
        .map_err(|_| Stop::failed(format!("{:?} {:?}\n{}", group("a"), group("b"), log(&process))))?;
    let (mut made, mut told) = (false, false);
    wait_until("news of the interface below", || {
        while let Some(event) = monitor.poll_event()? {
            if let vip_netlink::Event::Link(link) = event {
                made |= link.name == "a";
                told |= made && link.name == "eth0";
            }
        }
        Ok(told)
    })
}

/// A name that somebody else's interface has is not taken away from it.
fn a_name_that_is_taken_is_refused_with_the_reason() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    node.ip(&["link", "add", "vm", "type", "bridge"])?;
    let process = node
        .start(Daemon::Ours, &instance("A", 51, "eth0", "use_vmac vm\n virtual_ipaddress {\n 198.18.0.100/24\n }"))?;
    process.wait_for_line("(A): Unable to create interface vm: another one has this name", PATIENCE)?;
    node.ip(&["link", "del", "vm"])?;
    wait_until("the address", || Ok(node.host.holds("198.18.0.100".parse()?)?)).map_err(|_| Stop::failed(log(&process)))
}

/// A switch forgets a MAC address that sends nothing: one that only holds addresses is reminded.
fn a_macvlan_that_only_holds_addresses_is_reminded() -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r")?;
    let wires = [node.host.capture("eth0")?, node.host.capture("eth1")?];
    let addresses = "virtual_ipaddress {\n 198.18.0.100/24\n 198.18.1.100/24 dev eth1\n }";
    let options = "garp_master_repeat 1\n garp_extra_if 1";
    let config = instance("A", 51, "eth0", &format!("use_vmac\n use_vmac_addr\n {options}\n {addresses}"));
    let process = node.start(Daemon::Ours, &config.replace("garp_master_delay 1", "garp_master_delay 0"))?;
    let count = |wire: usize| wires[wire].frames().iter().filter(|frame| frame.gratuitous_arp().is_some()).count();
    wait_until("the third announcement", || Ok(count(1) >= 3)).map_err(|_| Stop::failed(log(&process)))?;
    match count(0) {
        1 => Ok(()),
        other => Err(Stop::failed(format!("{other} of the instance's own\n{}", log(&process)))),
    }
}

/// A worker that dies again and again leaves nothing while it waits, and has it all once it is back.
fn a_crash_loop_takes_the_macvlan_away_and_brings_it_back() -> CaseResult {
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    pair.r1.start(V3, "use_vmac")?;
    let setting = || -> Result<String, Stop> {
        Ok(pair.r1.host.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_ignore"))?)
    };
    pair.wait_for_holder("r1")?;
    let mut killed = pair.r1.worker();
    kill(killed, Signal::SIGKILL)?;
    let mark = pair.r1.process().mark();
    wait_until("the macvlan to be gone", || {
        let newest = pair.r1.worker();
        if newest != killed && pair.r1.host.holds(V3.vip())? {
            // It may have ended by itself.
            let _ = kill(newest, Signal::SIGKILL);
            killed = newest;
        }
        Ok(index(&pair.r1.host, "vrrp.51") == 0)
    })
    .map_err(|_| Stop::failed(pair.logs()))?;
    wait_until("the setting to be restored", || Ok(setting()?.trim() == "0")).map_err(|_| Stop::failed(pair.logs()))?;
    pair.r1.process().wait_for_line_after(mark, "(VI_1): Success creating VMAC interface vrrp.51", PATIENCE)?;
    pair.wait_for_holder("r1")?;
    if setting()?.trim() != "1" {
        return Err(Stop::failed(pair.logs()));
    }
    Ok(())
}

macro_rules! cases {
    ($($name:ident = $protocol:expr, $first:ident, $second:ident;)+; $($plain:ident),+ $(,)?) => {
        $(fn $name() -> CaseResult { story($protocol, Daemon::$first, Daemon::$second) })+

        fn main() -> ExitCode {
            harness::main(&[$(case(stringify!($name), $name)),+, $(case(stringify!($plain), $plain)),+])
        }
    };
}

cases! {
    v2_ours_and_c = V2, Ours, C;
    v2_c_and_ours = V2, C, Ours;
    v3_ours_and_ours = V3, Ours, Ours;
    v3_ours_and_c = V3, Ours, C;
    v3_c_and_ours = V3, C, Ours;
    v3_ipv6_ours_and_ours = V3_IPV6, Ours, Ours;
    v3_ipv6_ours_and_c = V3_IPV6, Ours, C;
    v3_ipv6_c_and_ours = V3_IPV6, C, Ours;
    ;
    links_settings_and_frames_are_those_of_keepalived,
    rp_filter_moves_to_each_interface_and_back,
    settings_that_may_not_be_changed_are_named_once,
    a_dead_worker,
    a_dead_worker_ipv6,
    what_others_do_to_a_macvlan_is_undone,
    settings_are_restored_after_everything_was_killed,
    what_others_set_meanwhile_is_left_alone,
    no_reports_of_link_local_groups,
    a_reload_makes_changes_and_removes_macvlans,
    a_reload_leaves_every_macvlan_its_name,
    a_link_joins_a_group_and_its_parent_is_told_of,
    a_name_that_is_taken_is_refused_with_the_reason,
    a_macvlan_that_only_holds_addresses_is_reminded,
    a_crash_loop_takes_the_macvlan_away_and_brings_it_back,
}
