//! The packet filter of routers that do not accept, and strict mode, on the real kernel.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Pinger, Process, Program, peers};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};
use vip_netlink::nft::{Firewall, Vmac};
use vip_netlink::{Family, NftSocket, RouteSocket};

const FAST: Protocol = Protocol { version: 3, interval: Duration::from_millis(100), ipv6: false };
const FAST6: Protocol = Protocol { ipv6: true, ..FAST };

/// So often a client asks.
const PERIOD: Duration = Duration::from_millis(2);

/// So many requests without an answer are no coincidence: an address that is not filtered answers nearly all.
const ENOUGH: usize = 200;

fn nft(host: &Host, arguments: &[&str]) -> Result<String, Stop> {
    let mut command = peers::nft()?.command();
    let output = host.run(|| command.args(arguments).output());
    let output = output.map_err(|error| Stop::failed(format!("nft: {error}")))?;
    if !output.status.success() {
        return Err(Stop::failed(format!("nft {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `nft` shows of a ruleset, but for handles and what was counted: rules with their place in their chain.
fn ruleset(host: &Host) -> Result<BTreeSet<String>, Stop> {
    let text = nft(host, &["-j", "list", "ruleset"])?;
    let json: Value = serde_json::from_str(&text).map_err(|error| Stop::failed(format!("{error}: {text}")))?;
    let mut shown = BTreeSet::new();
    let mut rules = std::collections::BTreeMap::<String, usize>::new();
    for mut object in json.get("nftables").and_then(Value::as_array).into_iter().flatten().cloned() {
        if object.get("metainfo").is_some() {
            continue;
        }
        simplify(&mut object);
        let place = object.get("rule").map(|rule| {
            let chain = ["family", "table", "chain"].map(|field| rule.get(field).map(Value::to_string));
            let place = rules.entry(format!("{chain:?}")).or_default();
            *place += 1;
            *place
        });
        shown.insert(format!("{} {object}", place.unwrap_or(0)));
    }
    Ok(shown)
}

fn simplify(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("handle");
            if let Some(counter) = fields.get_mut("counter") {
                *counter = Value::Null;
            }
            if let Some(Value::Array(elements)) = fields.get_mut("elem") {
                elements.sort_by_key(Value::to_string);
            }
            fields.values_mut().for_each(simplify);
        }
        Value::Array(values) => values.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// A host with two interfaces and a daemon, alone in its network.
struct Node {
    host: Host,
    process: Process,
    _lans: [Bridge; 2],
}

impl Node {
    fn new(lab: &Lab, name: &str, daemon: Daemon, config: &str) -> Result<Self, Stop> {
        let (host, lans) = lab.host_of_two_networks(name)?;
        let process = host.spawn(daemon.program(config)?)?;
        Ok(Self { host, process, _lans: lans })
    }

    fn log(&self) -> String {
        self.process.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
    }
}

fn instance(vrid: u8, words: &str, addresses: &str, excluded: &str) -> String {
    format!(
        "vrrp_instance VI_{vrid} {{\n interface eth0\n virtual_router_id {vrid}\n version 3\n advert_int 0.1\n {words}\n \
         virtual_ipaddress {{\n {addresses}\n }}\n virtual_ipaddress_excluded {{\n {excluded}\n }}\n}}\n"
    )
}

/// Each with the number of addresses that end up in sets.
fn configurations() -> Vec<(String, usize)> {
    let globals = |words: &str| format!("global_defs {{\n router_id test\n {words}\n}}\n");
    let ipv4 = instance(51, "no_accept", "192.0.2.1/24\n 192.0.2.2", "192.0.2.7/24 dev eth1");
    let ipv6 = instance(52, "no_accept", "fe80::1:1\n 2001:db8::1/64", "2001:db8::7 dev eth1");
    let both = instance(51, "no_accept", "192.0.2.1/24", "2001:db8::7\n fe80::9 dev eth1");
    let by_name = instance(52, "no_accept\n dont_track_primary", "fe80::1:1\n 2001:db8::1/64", "");
    let open = instance(53, "accept", "192.0.2.31/24", "");
    let owner = instance(54, "no_accept\n priority 255", "192.0.2.41/24", "");
    let strict = instance(55, "strict_mode", "192.0.2.51/24", "");
    let macvlan = instance(56, "use_vmac\n no_accept", "192.0.2.61/24", "192.0.2.62/24");
    let own = "nftables routers\n nftables_priority 7\n nftables_counters";
    vec![
        (format!("{}{ipv4}", globals("")), 3),
        (format!("{}{ipv6}", globals("nftables\n nftables_counters")), 3),
        (format!("{}{both}{open}{owner}{strict}", globals(own)), 4),
        (format!("{}{by_name}", globals("")), 2),
        (format!("{}{by_name}", globals("nftables_ifindex")), 2),
        (format!("{}{macvlan}", globals("")), 2),
    ]
}

fn the_tables_are_those_of_c() -> CaseResult {
    for (config, count) in configurations() {
        let lab = Lab::new()?;
        let theirs = Node::new(&lab, "c", Daemon::C, &config)?;
        let ours = Node::new(&lab, "rs", Daemon::Ours, &config)?;
        let addresses = |host: &Host| {
            let tables = host.run(|| NftSocket::open()?.present(&all_names())).map_err(failed)?;
            Ok::<_, Stop>(Firewall::dropped_by(&tables).len())
        };
        let waited = wait_until("both to have filled their sets", || {
            Ok(addresses(&theirs.host)? == count && addresses(&ours.host)? == count)
        });
        let (there, here) = (ruleset(&theirs.host)?, ruleset(&ours.host)?);
        if waited.is_err() || there != here {
            let only =
                |these: &BTreeSet<String>, those| these.difference(those).cloned().collect::<Vec<_>>().join("\n");
            let (missing, surplus) = (only(&there, &here), only(&here, &there));
            let logs = [theirs.log(), ours.log()].join("---\n");
            return Err(Stop::failed(format!("{config}\nonly theirs:\n{missing}\nonly ours:\n{surplus}\n{logs}")));
        }
        ours.process.signal(Signal::SIGTERM)?;
        ours.process.wait_for_exit(PATIENCE)?;
        no_tables(&ours.host)?;
    }
    Ok(())
}

fn all_names() -> Vec<vip_netlink::nft::TableName> {
    ["keepalived", "routers"].into_iter().flat_map(Firewall::names).collect()
}

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::failed(error.to_string())
}

fn no_tables(host: &Host) -> CaseResult {
    match nft(host, &["list", "ruleset"])?.as_str() {
        "" => Ok(()),
        rest => Err(Stop::failed(format!("left behind:\n{rest}"))),
    }
}

/// Theirs is asked to make the macvlans; the tables for them are then made once more, by other means and with another name.
fn the_tables_of_macvlans_are_those_of_c() -> CaseResult {
    let lab = Lab::new()?;
    let config = instance(51, "use_vmac\n no_accept", "192.0.2.1/24", "")
        + &instance(52, "use_vmac\n no_accept", "2001:db8::1/64", "").replace("no_accept", "no_accept\n native_ipv6");
    let node = Node::new(&lab, "c", Daemon::C, &format!("global_defs {{\n nftables\n}}\n{config}"))?;
    let macvlans = || {
        let links = node.host.run(|| RouteSocket::open()?.links()).map_err(failed)?;
        let macvlans = links.into_iter().filter(|link| link.kind.as_deref() == Some("macvlan"));
        Ok::<_, Stop>(
            macvlans
                .filter_map(|it| Some((it.name.to_string(), Vmac { link: it.index, parent: it.parent? })))
                .collect::<Vec<_>>(),
        )
    };
    let dropped = || {
        let tables = node.host.run(|| NftSocket::open()?.present(&Firewall::names("keepalived"))).map_err(failed)?;
        Ok::<_, Stop>(Firewall::dropped_by(&tables))
    };
    wait_until("the sets to be filled", || Ok(dropped()?.len() == 2))
        .map_err(|_| Stop::failed(format!("the sets were not filled\n{}", node.log())))?;
    let of = |family, name: &str| -> Result<_, Stop> {
        Ok((family, macvlans()?.into_iter().filter(|(it, _)| it == name).map(|(_, vmac)| vmac).collect()))
    };
    let wanted = Firewall {
        name: "once_more".into(),
        priority: -1,
        counters: false,
        filters: [Family::Ipv4, Family::Ipv6].into(),
        by_index: false,
        by_name: false,
        dropped: dropped()?,
        vmacs: [of(Family::Ipv4, "vrrp.51")?, of(Family::Ipv6, "vrrp.52")?].into(),
    };
    let applied = node.host.run(|| NftSocket::open()?.reconcile(&wanted.tables(), &[])).map_err(failed)?;
    if let Some(refusal) = applied.refused.first() {
        return Err(failed(&refusal.error));
    }
    let shown = ruleset(&node.host)?;
    let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = shown.into_iter().partition(|line| line.contains("once_more"));
    let ours: BTreeSet<_> = ours.into_iter().map(|line| line.replace("once_more", "keepalived")).collect();
    if ours != theirs || ours.is_empty() {
        return Err(Stop::failed(format!("theirs:\n{theirs:#?}\nours:\n{ours:#?}")));
    }
    Ok(())
}

/// Requests that were sent when the address was there, and whether any answer came.
fn is_silent(pair: &Pair, pinger: &Pinger) -> CaseResult {
    let before = pinger.counts().sent;
    wait_until("the client to ask", || Ok(pinger.counts().sent > before + ENOUGH))?;
    match pinger.counts().received {
        0 => Ok(()),
        answers => Err(Stop::failed(format!("{answers} answers\n{}", pair.logs()))),
    }
}

fn packets_are_dropped(protocol: Protocol) -> CaseResult {
    let mut pair = Pair::new(protocol, Daemon::Ours, Daemon::Ours)?;
    let pinger = pair.client.ping(protocol.vip(), PERIOD)?;
    pair.r1.start(protocol, "no_accept")?;
    pair.wait_for_holder("r1")?;
    let own: IpAddr = protocol.address(1).split('/').next().expect("an address").parse().map_err(failed)?;
    let control = pair.client.ping(own, PERIOD)?;
    control.wait_for_answer(PATIENCE)?;
    is_silent(&pair, &pinger)?;
    control.wait_for_answer(PATIENCE)?;
    // Whoever routes through the address still has to find it.
    wait_until("the client to find the address", || is_neighbour(&pair.client, protocol.vip()))?;

    // Wherever it goes, there is no moment in which somebody answers.
    pair.r2.start(protocol, "no_accept")?;
    pair.r2.process().wait_for_line("(VI_1) Entering BACKUP STATE", PATIENCE)?;
    for (signal, holder) in [(Signal::SIGTERM, "r2"), (Signal::SIGCONT, "r1")] {
        match signal {
            Signal::SIGTERM => {
                pair.r1.process().signal(signal)?;
                pair.r1.process().wait_for_exit(PATIENCE)?;
            }
            _ => pair.r1.start(protocol, "no_accept")?,
        }
        pair.wait_for_holder(holder)?;
    }
    is_silent(&pair, &pinger)
}

fn packets_to_addresses_of_another_are_dropped() -> CaseResult {
    packets_are_dropped(FAST)
}

fn neighbour_discovery_of_dropped_addresses_works() -> CaseResult {
    packets_are_dropped(FAST6)
}

fn is_neighbour(host: &Host, ip: IpAddr) -> Result<bool, Stop> {
    let output = host.run(|| std::process::Command::new("ip").args(["neigh", "show", &ip.to_string()]).output());
    let output = output.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("lladdr"))
}

/// In strict mode too, if it is said (RFC 9568 §6.1, Accept_Mode).
fn accept_lets_packets_in() -> CaseResult {
    for words in ["", "accept", "strict_mode\n accept"] {
        let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
        pair.r1.priority = 100;
        pair.r1.start(FAST, words)?;
        pair.wait_for_holder("r1")?;
        pair.ping()?;
        no_tables(&pair.r1.host)?;
    }
    Ok(())
}

fn strict_mode_is_the_default_of_instances() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    pair.r1.priority = 100;
    let strict = |words: &str| FAST.config(100, words).replace("router_id test", "router_id test\n    vrrp_strict");
    let pinger = pair.client.ping(FAST.vip(), PERIOD)?;
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&strict("garp_lower_prio_repeat 3"))?)?);
    pair.wait_for_holder("r1")?;
    pair.r1.process().wait_for_line("(VI_1) Strict mode requires no repeat garps. resetting", PATIENCE)?;
    is_silent(&pair, &pinger)?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    no_tables(&pair.r1.host)?;
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&strict("strict_mode off"))?)?);
    pair.wait_for_holder("r1")?;
    pair.answered(&pinger)
}

/// The worker that follows finds the tables as they should be: not one of them is made anew.
fn a_worker_that_follows_takes_the_filter_over() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let pinger = pair.client.ping(FAST.vip(), PERIOD)?;
    pair.r1.start(FAST, "no_accept")?;
    pair.wait_for_holder("r1")?;
    pair.r1.process().wait_for_line("no firewall configured - using nftables", PATIENCE)?;
    let shown = || nft(&pair.r1.host, &["-a", "list", "ruleset"]);
    let before = shown()?;
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    let mark = pair.r1.process().wait_for_line("continuing as MASTER", PATIENCE)?;
    is_silent(&pair, &pinger)?;
    let after = shown()?;
    if before != after || !before.contains("198.18.0.100") {
        return Err(Stop::failed(format!("{mark:?}\nbefore:\n{before}\nafter:\n{after}\n{}", pair.logs())));
    }
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    no_tables(&pair.r1.host)
}

fn a_filter_that_somebody_removed_comes_back() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    pair.r1.start(FAST, "no_accept")?;
    pair.wait_for_holder("r1")?;
    wait_until("the address to be dropped", || {
        Ok(ruleset(&pair.r1.host)?.iter().any(|it| it.contains("198.18.0.102")))
    })?;
    let before = ruleset(&pair.r1.host)?;
    for harm in [
        &["flush", "ruleset"][..],
        &["flush", "chain", "ip", "keepalived", "in"],
        &["delete", "element", "ip", "keepalived", "vips", "{ 198.18.0.100 }"],
        &["add", "rule", "ip", "keepalived", "out", "drop"],
    ] {
        let mark = pair.r1.process().mark();
        nft(&pair.r1.host, harm)?;
        pair.r1.process().wait_for_line_after(mark, "changed the nftables table ip keepalived", PATIENCE)?;
        wait_until("the filter to be as before", || Ok(ruleset(&pair.r1.host)? == before))?;
    }
    nft(&pair.r1.host, &["add", "table", "ip", "others"])?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    let left = nft(&pair.r1.host, &["list", "ruleset"])?;
    if !left.contains("others") || left.contains("keepalived") {
        return Err(Stop::failed(left));
    }
    Ok(())
}

fn a_reload_opens_and_closes_the_addresses() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir().map_err(failed)?;
    let file = folder.path().join("keepalived.conf");
    let write = |words: &str| std::fs::write(&file, FAST.config(150, words)).map_err(failed);
    write("")?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlDG", "--vrrp", "-f"]).arg(&file);
    pair.r1.process = Some(pair.r1.host.spawn(program)?);
    pair.wait_for_holder("r1")?;
    let pinger = pair.ping()?;
    write("no_accept")?;
    pair.r1.process().signal(Signal::SIGHUP)?;
    wait_until("the answers to end", || Ok(pinger.silence() > Duration::from_millis(300)))?;
    write("accept")?;
    pair.r1.process().signal(Signal::SIGHUP)?;
    pair.answered(&pinger)?;
    wait_until("the tables to go", || Ok(nft(&pair.r1.host, &["list", "ruleset"])?.is_empty()))
}

fn cleanup_removes_the_tables() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    pair.r1.start(FAST, "no_accept")?;
    pair.wait_for_holder("r1")?;
    pair.r1.process().kill_all()?;
    if nft(&pair.r1.host, &["list", "ruleset"])?.is_empty() {
        return Err(Stop::failed(pair.logs()));
    }
    let cleanup = Program::new(env!("CARGO_BIN_EXE_keepalived-rs"))
        .args(["cleanup", "-f", "/run/keepalived.conf"])
        .file("/run/keepalived.conf", FAST.config(150, "no_accept"));
    let cleanup = pair.r1.host.spawn(cleanup)?;
    if !cleanup.wait_for_exit(PATIENCE)?.success() {
        return Err(Stop::failed(format!("{:?}", cleanup.lines())));
    }
    no_tables(&pair.r1.host)
}

/// A table that only this program may change, until it ends.
struct Owner(std::process::Child);

impl Owner {
    fn new(host: &Host) -> Result<Self, Stop> {
        let mut command = peers::nft()?.command();
        command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut owner = Self(host.run(|| command.spawn()).map_err(failed)?);
        let input = owner.0.stdin.as_mut().ok_or_else(|| Stop::failed("nft has no standard input"))?;
        writeln!(input, "add table ip keepalived {{ flags owner; }}").map_err(failed)?;
        wait_until("the table of another", || Ok(nft(host, &["list", "tables"])?.contains("ip keepalived")))?;
        Ok(owner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A router whose table belongs to another program, and its address.
fn beside_an_owner() -> Result<(Pair, Owner), Stop> {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let owner = Owner::new(&pair.r1.host)?;
    pair.r1.start(FAST, "no_accept\n garp_master_delay 0\n garp_master_repeat 1")?;
    pair.wait_for_holder("r1")?;
    pair.r1.process().wait_for_line("Operation not permitted", PATIENCE)?;
    Ok((pair, owner))
}

/// Nothing tells of it when the kernel would no longer refuse.
fn a_filter_that_is_refused_is_tried_until_it_is_not() -> CaseResult {
    let (pair, owner) = beside_an_owner()?;
    let over = Instant::now() + Duration::from_millis(3500);
    wait_until("some more refusals", || Ok(Instant::now() > over))?;
    drop(owner);
    wait_until("the address to be dropped", || Ok(ruleset(&pair.r1.host)?.iter().any(|it| it.contains("198.18.0.102"))))
        .map_err(|_| Stop::failed(pair.logs()))
}

/// A worker has only so much time to stop; what it has to leave another process takes away, or says why it cannot.
fn what_a_stop_leaves_is_the_cleanup_s() -> CaseResult {
    let (pair, _owner) = beside_an_owner()?;
    let mark = pair.r1.process().mark();
    pair.r1.process().signal(Signal::SIGTERM)?;
    let left = pair.r1.process().wait_for_line_after(mark, "the tables of nftables could not be removed", PATIENCE);
    left.map_err(|_| Stop::failed(pair.logs()))?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    let lines = pair.r1.process().lines();
    let after = lines.iter().skip_while(|line| !line.text.contains("the tables of nftables could not be removed"));
    if !after.skip(1).any(|line| line.text.contains("not permitted")) {
        return Err(Stop::failed(pair.logs()));
    }
    Ok(())
}

fn main() -> ExitCode {
    harness::main(&[
        case("the_tables_are_those_of_c", the_tables_are_those_of_c),
        case("the_tables_of_macvlans_are_those_of_c", the_tables_of_macvlans_are_those_of_c),
        case("packets_to_addresses_of_another_are_dropped", packets_to_addresses_of_another_are_dropped),
        case("neighbour_discovery_of_dropped_addresses_works", neighbour_discovery_of_dropped_addresses_works),
        case("accept_lets_packets_in", accept_lets_packets_in),
        case("strict_mode_is_the_default_of_instances", strict_mode_is_the_default_of_instances),
        case("a_worker_that_follows_takes_the_filter_over", a_worker_that_follows_takes_the_filter_over),
        case("a_filter_that_somebody_removed_comes_back", a_filter_that_somebody_removed_comes_back),
        case("a_reload_opens_and_closes_the_addresses", a_reload_opens_and_closes_the_addresses),
        case("cleanup_removes_the_tables", cleanup_removes_the_tables),
        case("a_filter_that_is_refused_is_tried_until_it_is_not", a_filter_that_is_refused_is_tried_until_it_is_not),
        case("what_a_stop_leaves_is_the_cleanup_s", what_a_stop_leaves_is_the_cleanup_s),
    ])
}
