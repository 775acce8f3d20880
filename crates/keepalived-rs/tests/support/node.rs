//! A host with two interfaces whose links, settings and frames are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use netlab::harness::Stop;
use netlab::{Bridge, Capture, Host, Lab, Process, Skip};
use serde_json::Value;

use super::support::{Daemon, wait_until};

/// Settings that keepalived touches, and such as it could.
const SETTINGS: [&str; 9] = [
    "ipv4/accept_local",
    "ipv4/arp_filter",
    "ipv4/arp_ignore",
    "ipv4/arp_announce",
    "ipv4/promote_secondaries",
    "ipv4/rp_filter",
    "ipv6/addr_gen_mode",
    "ipv6/disable_ipv6",
    "ipv6/accept_ra",
];

/// A host with two interfaces, each in a network of its own, and a daemon.
pub(crate) struct Node {
    pub(crate) host: Host,
    _lans: [Bridge; 2],
    pub(crate) folder: tempfile::TempDir,
}

impl Node {
    pub(crate) fn new(lab: &Lab, name: &str) -> Result<Self, Stop> {
        let (host, lans) = lab.host_of_two_networks(name)?;
        for number in 0..lans.len() {
            host.address(&format!("eth{number}"), &format!("2001:db8:{number}::1/64"))?;
        }
        let node = Self { host, _lans: lans, folder: tempfile::tempdir()? };
        wait_until("link-local addresses", || Ok(node.link_locals()?.len() == 2))?;
        Ok(node)
    }

    /// Starts a daemon whose pid file outlives its own /run.
    pub(crate) fn start(&self, daemon: Daemon, config: &str) -> Result<Process, Stop> {
        let program = daemon.program(config)?.arg("-p").arg(self.folder.path().join("pid"));
        Ok(self.host.spawn(if daemon == Daemon::Ours { program.arg("--allow-unsupported") } else { program })?)
    }

    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<String, Stop> {
        let output = self.host.run(|| Command::new("ip").args(arguments).output());
        let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
        if !output.status.success() {
            return Err(Stop::failed(format!("ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Vec<Value>, Stop> {
        Ok(serde_json::from_str(&self.ip(arguments)?)?)
    }

    /// The link-local addresses of the cables, by address.
    fn link_locals(&self) -> Result<BTreeMap<String, String>, Stop> {
        let mut found = BTreeMap::new();
        for link in self.json(&["-6", "-j", "addr", "show", "scope", "link"])? {
            let name = text(&link["ifname"]);
            for address in link["addr_info"].as_array().into_iter().flatten().filter(|_| name.starts_with("eth")) {
                let local = text(&address["local"]);
                if local.starts_with("fe80:") && local != "fe80::100" {
                    found.insert(local, format!("LL({name})"));
                }
            }
        }
        Ok(found)
    }

    /// What is random about a host, by what stands for it.
    fn random(&self) -> Result<BTreeMap<String, String>, Stop> {
        let links = self.json(&["-j", "link"])?;
        let macs = links.iter().map(|link| (text(&link["address"]), format!("MAC({})", text(&link["ifname"]))));
        let cables = macs.filter(|(_, name)| name.starts_with("MAC(eth"));
        Ok(cables.chain(self.link_locals()?).collect())
    }

    /// Each link but cables with its attributes and addresses.
    pub(crate) fn links(&self) -> Result<BTreeSet<String>, Stop> {
        const SHOWN: [&str; 7] = ["link", "address", "mtu", "operstate", "group", "master", "inet6_addr_gen_mode"];
        let random = self.random()?;
        let known = |value: String| random.get(&value).cloned().unwrap_or(value);
        let mut shown = BTreeSet::new();
        for link in self.json(&["-d", "-j", "link"])? {
            let name = text(&link["ifname"]);
            // The MAC address of a VRF is random, and it is not ours.
            if name != "lo" && link["linkinfo"]["info_kind"] != "vrf" {
                let info = &link["linkinfo"];
                let attributes: Vec<_> = SHOWN.iter().map(|key| known(text(&link[key]))).collect();
                let (kind, mode) = (text(&info["info_kind"]), ways(&info["info_data"]));
                shown.insert(format!("{name} {kind} {mode} {} {}", attributes.join(" "), link["flags"]));
            }
        }
        for link in self.json(&["-j", "addr"])? {
            for address in link["addr_info"].as_array().into_iter().flatten() {
                let local = known(text(&address["local"]));
                let rest = ["prefixlen", "scope", "preferred_life_time"].map(|key| text(&address[key])).join(" ");
                shown.insert(format!("{} has {local}/{rest} {}", text(&link["ifname"]), address["nodad"]));
            }
        }
        Ok(shown)
    }

    /// Every setting of every interface.
    pub(crate) fn settings(&self) -> Result<BTreeMap<String, String>, Stop> {
        self.host.run(|| {
            let mut values = BTreeMap::new();
            for setting in SETTINGS {
                let (family, name) = setting.split_once('/').expect("written so above");
                for device in std::fs::read_dir(format!("/proc/sys/net/{family}/conf"))? {
                    let path = device?.path().join(name);
                    // A link may go meanwhile.
                    let value = std::fs::read_to_string(&path).unwrap_or_default();
                    values.insert(path.display().to_string(), value.trim().to_owned());
                }
            }
            Ok(values)
        })
    }
}

/// How a macvlan or ipvlan reaches others.
fn ways(data: &Value) -> String {
    let data = data.as_object().into_iter().flatten();
    data.filter(|(key, _)| !key.starts_with("bc") && !key.starts_with("used"))
        .map(|(key, value)| format!("{key}={value} "))
        .collect()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(crate) fn log(process: &Process) -> String {
    process.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
}

pub(crate) fn instance(name: &str, vrid: u8, interface: &str, body: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n state MASTER\n interface {interface}\n virtual_router_id {vrid}\n priority 200\n \
         version 3\n advert_int 0.2\n garp_master_delay 1\n {body}\n}}\n"
    )
}

/// What leaves a host: sender's MAC address and IP address of adverts and announcements.
pub(crate) fn frames(node: &Node, wires: &[Capture]) -> Result<BTreeSet<String>, Stop> {
    let random = node.random()?;
    let known = |value: String| random.get(&value).cloned().unwrap_or(value);
    let mut seen = BTreeSet::new();
    for (wire, number) in wires.iter().zip(0..) {
        for frame in wire.frames() {
            let bytes = frame.source_mac().unwrap_or_default();
            let mac = known(bytes.map(|byte| format!("{byte:02x}")).join(":"));
            if let Some(packet) = frame.vrrp() {
                let vrid = packet.payload.get(1).copied().unwrap_or_default();
                seen.insert(format!("eth{number} advert {vrid} {mac} {}", known(packet.source.to_string())));
            } else if let Some(address) = frame.gratuitous_arp() {
                let sender = frame.arp().map(|arp| arp.sender_mac).unwrap_or_default();
                seen.insert(format!("eth{number} ARP {address} {mac} {}", sender == bytes));
            } else if let Some(address) = frame.unsolicited_na() {
                seen.insert(format!("eth{number} NA {address} {mac}"));
            }
        }
    }
    Ok(seen)
}

pub(crate) fn difference<T: Ord + std::fmt::Debug>(theirs: &BTreeSet<T>, ours: &BTreeSet<T>) -> String {
    let only = |these: &BTreeSet<T>, those| these.difference(those).map(|it| format!("  {it:?}\n")).collect::<String>();
    format!("only keepalived:\n{}only ours:\n{}", only(theirs, ours), only(ours, theirs))
}
