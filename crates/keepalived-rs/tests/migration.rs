//! `docs/migration.md`: routers that carry traffic go from Debian's keepalived to keepalived-rs and back, one at a time.
//! What a hand-over takes between quiet hosts stands in `rhythm.rs`, what faults do in `dual_active.rs`.

#![allow(clippy::indexing_slicing, reason = "a test")]

#[path = "support/node.rs"]
#[expect(dead_code, reason = "the macvlan tests use the rest")]
mod node;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use netlab::harness::{self, Case, CaseResult, Stop, case};
use netlab::{Capture, EXPERIMENT, Host, Lab, Process, Program, Skip, Ticker, peers};
use nix::sys::signal::Signal;
use node::{Node, log};
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};
use tempfile::TempDir;
use vip_netlink::{Address, AddressFlags};

const V2: Protocol = Protocol { version: 2, interval: Duration::from_secs(1), ipv6: false };
const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: false };
const V3_IPV6: Protocol = Protocol { ipv6: true, ..V3 };

/// A configuration that is carried along.
#[derive(Debug, Clone, Copy)]
struct Row {
    protocol: Protocol,
    /// Lines of the instance; `{own}` and `{other}` are the routers' addresses.
    lines: &'static str,
    /// A second instance on the same link, and a sync group of both.
    group: bool,
    /// In strict mode.
    strict: bool,
}

impl Row {
    const fn new(protocol: Protocol, lines: &'static str) -> Self {
        Self { protocol, lines, group: false, strict: false }
    }

    /// Whether the better router becomes Active again when it returns.
    fn preempts(self) -> bool {
        self.lines != NO_PREEMPT
    }

    /// The file of the router with this number; the first is the better one.
    fn config(self, number: u8) -> String {
        let protocol = self.protocol;
        let address = |number| protocol.address(number).split('/').next().unwrap_or_default().to_owned();
        let lines = self.lines.replace("{own}", &address(number)).replace("{other}", &address(3 - number));
        let priority = if number == 1 { 150 } else { 90 };
        let link_local = if protocol.ipv6 { "fe80::100/64\n " } else { "" };
        let length = if protocol.ipv6 { 64 } else { 24 };
        let instance = |name: &str, vrid: u8, vips: &str| {
            format!(
                "vrrp_instance {name} {{\n state BACKUP\n interface eth0\n virtual_router_id {vrid}\n priority {priority}\n \
                 version {}\n advert_int {}\n {lines}\n virtual_ipaddress {{\n {vips}\n }}\n}}\n",
                protocol.version,
                protocol.interval.as_secs_f64(),
            )
        };
        let mut text = "global_defs {\n router_id test\n".to_owned();
        text += if self.strict { " vrrp_strict\n}\n" } else { "}\n" };
        text += &instance("VI_1", 51, &format!("{link_local}{}/{length}", protocol.vip()));
        if self.group {
            text += &instance("VI_2", 52, "198.18.0.102/24");
            text += "vrrp_sync_group G {\n group {\n VI_1\n VI_2\n }\n}\n";
        }
        text
    }
}

const PASS: &str = "authentication {\n auth_type PASS\n auth_pass secret\n }";
const AH: &str = "authentication {\n auth_type AH\n auth_pass secret\n }";
const UNICAST: &str = "unicast_src_ip {own}\n unicast_peer {\n {other}\n }";
const NO_PREEMPT: &str = "nopreempt";

/// Gives each row a case of the whole way and one of what a daemon leaves behind.
macro_rules! rows {
    ($($way:ident, $rest:ident: $row:expr;)*) => {
        fn cases() -> Vec<Case> {
            vec![$(case(stringify!($way), || there_and_back($row)), case(stringify!($rest), || leftovers($row))),*]
        }
    };
}

rows! {
    v2_there_and_back, v2_leftovers: Row::new(V2, "");
    pass_there_and_back, pass_leftovers: Row::new(V2, PASS);
    ah_there_and_back, ah_leftovers: Row::new(V2, AH);
    v3_there_and_back, v3_leftovers: Row::new(V3, "");
    unicast_there_and_back, unicast_leftovers: Row::new(V3, UNICAST);
    ipv6_there_and_back, ipv6_leftovers: Row::new(V3_IPV6, "");
    vmac_there_and_back, vmac_leftovers: Row::new(V3, "use_vmac");
    group_there_and_back, group_leftovers: Row { group: true, ..Row::new(V3, "") };
    nopreempt_there_and_back, nopreempt_leftovers: Row::new(V3, NO_PREEMPT);
    strict_there_and_back, strict_leftovers: Row { strict: true, ..Row::new(V3, "") };
}

/// What clients reach through the virtual address, as they do through a gateway: both routers have it.
const SERVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// So often a client asks.
const PERIOD: Duration = Duration::from_millis(2);

fn offer_a_service(pair: &Pair) -> CaseResult {
    for router in [&pair.r1, &pair.r2] {
        router.host.address("lo", &format!("{SERVICE}/32"))?;
    }
    let route = ["route", "add", &SERVICE.to_string(), "via", &pair.protocol.vip().to_string()];
    let status = pair.client.run(|| Command::new("ip").args(route).status());
    let status = status.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
    if status.success() { Ok(()) } else { Err(Stop::failed(format!("ip {route:?}: {status}"))) }
}

/// Two routers, and a client that sends to the virtual address all the time.
struct Site {
    pair: Pair,
    row: Row,
    adverts: Capture,
}

impl Site {
    /// Both run Debian's keepalived, and the first is Active.
    fn new(row: Row) -> Result<Self, Stop> {
        let pair = Pair::new(row.protocol, Daemon::C, Daemon::C)?;
        let adverts = pair.client.capture("eth0")?;
        if row.protocol.ipv6 {
            pair.client.address("eth0", &format!("{CLIENT}/24"))?;
        }
        if row.strict {
            offer_a_service(&pair)?;
        }
        let mut site = Self { pair, row, adverts };
        site.start(1, Daemon::C)?;
        site.pair.wait_for_holder("r1")?;
        site.start(2, Daemon::C)?;
        site.rests(2)?;
        Ok(site)
    }

    fn router(&self, number: u8) -> &support::Router {
        if number == 1 { &self.pair.r1 } else { &self.pair.r2 }
    }

    fn start(&mut self, number: u8, daemon: Daemon) -> CaseResult {
        let program = daemon.program(&self.row.config(number))?;
        let router = if number == 1 { &mut self.pair.r1 } else { &mut self.pair.r2 };
        router.daemon = daemon;
        router.process = Some(router.host.spawn(program)?);
        Ok(())
    }

    /// Stops a daemon for good.
    fn stop(&mut self, number: u8) -> CaseResult {
        let router = if number == 1 { &mut self.pair.r1 } else { &mut self.pair.r2 };
        if let Some(process) = router.process.take() {
            process.signal(Signal::SIGTERM)?;
            process.wait_for_exit(PATIENCE)?;
        }
        Ok(())
    }

    fn rests(&self, number: u8) -> CaseResult {
        let waited = self.router(number).process().wait_for_line("Entering BACKUP STATE", PATIENCE);
        waited.map(drop).map_err(|error| self.explain(error.into()))
    }

    /// Another daemon on the router that is not Active: the client and the other router notice nothing.
    fn swap_standby(&mut self, number: u8, daemon: Daemon) -> CaseResult {
        let active = self.router(3 - number).host.name().to_owned();
        // In strict mode the address itself answers nobody.
        let pinger = if self.row.strict { self.pair.client.ping(SERVICE, PERIOD)? } else { self.pair.ping()? };
        self.pair.answered(&pinger)?;
        let from = self.router(3 - number).process().lines().len();
        self.stop(number)?;
        self.start(number, daemon)?;
        self.rests(number)?;
        self.hear(5)?;
        self.pair.wait_for_holder(&active)?;
        self.pair.answered(&pinger)?;
        if let Some(gap) = pinger.longest_gap() {
            return Err(self.explain(Stop::failed(format!("the client lost {:?}", gap.duration()))));
        }
        let said = self.router(3 - number).process().lines();
        match said.iter().skip(from).find(|line| line.text.contains("Entering")) {
            Some(line) => Err(self.explain(Stop::failed(format!("a transition: {}", line.text)))),
            None => Ok(()),
        }
    }

    /// Another daemon on the Active Router; the other one takes over, for good if the first does not preempt.
    fn swap_active(&mut self, number: u8, daemon: Daemon) -> CaseResult {
        let names = ["r1", "r2"].map(str::to_owned);
        let [own, other] = if number == 1 { [&names[0], &names[1]] } else { [&names[1], &names[0]] };
        self.hand_over(number, other)?;
        self.start(number, daemon)?;
        let returns = number == 1 && self.row.preempts();
        if !returns {
            self.rests(number)?;
        }
        self.pair.wait_for_holder(if returns { own } else { other })?;
        self.hear(5)
    }

    /// Stops the Active Router: the other one speaks no later than its Skew_Time and 10 ms after the resignation, and as
    /// much more as a bare timer that sends on the same link was late in that time.
    fn hand_over(&mut self, number: u8, other: &str) -> CaseResult {
        let bound = self.row.protocol.skew(if number == 1 { 90 } else { 150 }) + Duration::from_millis(10);
        let _control = Ticker::control(&self.pair.client, CLIENT, CONTROL)?;
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let wire = self.router(3 - number).host.capture("eth0")?;
            self.stop(number)?;
            self.pair.wait_for_holder(other)?;
            let mut took = None;
            let waited = wait_until("the take-over", || {
                took = TakeOver::of(&wire, if self.row.group { 2 } else { 1 });
                Ok(took.is_some())
            });
            waited.map_err(|stop| self.explain(stop))?;
            if took.as_ref().is_some_and(|took| took.longest <= bound + took.control) {
                return Ok(());
            }
            seen.push(took);
            self.take_back(number)?;
        }
        Err(self.explain(Stop::failed(format!("it took {seen:?}, not {bound:?}"))))
    }

    /// The same daemon is Active again.
    fn take_back(&mut self, number: u8) -> CaseResult {
        let own = self.router(number).host.name().to_owned();
        self.start(number, self.router(number).daemon)?;
        if number == 1 && self.row.preempts() {
            return self.pair.wait_for_holder(&own);
        }
        self.rests(number)?;
        self.stop(3 - number)?;
        self.pair.wait_for_holder(&own)?;
        self.start(3 - number, self.router(3 - number).daemon)?;
        self.rests(3 - number)
    }

    /// Waits for so many adverts from now on.
    fn hear(&self, count: usize) -> CaseResult {
        let from = self.adverts.frames().len();
        let is_advert = |protocol| protocol == 51 || protocol == 112;
        let waited = wait_until("adverts", || {
            let frames = self.adverts.frames();
            let adverts = frames.iter().skip(from).filter(|it| it.ip().is_some_and(|ip| is_advert(ip.protocol)));
            // A client hears nothing of what goes to one peer alone.
            Ok(self.row.lines == UNICAST || adverts.count() >= count)
        });
        waited.map_err(|stop| self.explain(stop))
    }

    fn explain(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Failed(reason) => Stop::Failed(format!("{reason}\n{}", self.pair.logs())),
            skipped => skipped,
        }
    }
}

/// So often a hand-over may be looked at again: what others do on this machine passes, a fault of ours stays.
const TRIES: usize = 4;

/// How often the control sends, and from where.
const CONTROL: Duration = Duration::from_millis(10);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 9);

/// What a hand-over took.
#[derive(Debug)]
struct TakeOver {
    /// From the resignation of an instance to its next advert, of the instance for which that was the longest.
    longest: Duration,
    /// How late the control was at most meanwhile.
    control: Duration,
}

impl TakeOver {
    /// Of so many instances; once the control has spoken after the last of them.
    fn of(wire: &Capture, instances: usize) -> Option<Self> {
        const AH_LENGTH: usize = 24;
        let (mut resigned, mut taken, mut control) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for frame in wire.frames() {
            let Some(packet) = frame.ip() else { continue };
            let advert = match packet.protocol {
                112 => packet.payload,
                51 => packet.payload.get(AH_LENGTH..).unwrap_or_default(),
                EXPERIMENT => {
                    control.push(frame.at);
                    continue;
                }
                _ => continue,
            };
            let &[_, vrid, priority, ..] = advert else { continue };
            if priority == 0 {
                resigned.entry(vrid).or_insert(frame.at);
            } else if resigned.contains_key(&vrid) {
                taken.entry(vrid).or_insert(frame.at);
            }
        }
        let (first, last) = (resigned.values().min()?, taken.values().max()?);
        if taken.len() < instances || control.last()? < last {
            return None;
        }
        let meanwhile = control.windows(2).filter(|pair| pair[1] >= *first && pair[0] <= *last);
        let control = meanwhile.map(|pair| (pair[1] - pair[0]).saturating_sub(CONTROL)).max()?;
        let longest = taken.iter().map(|(vrid, at)| at.saturating_duration_since(resigned[vrid])).max()?;
        Some(Self { longest, control })
    }
}

/// Both routers go to keepalived-rs and back to keepalived, which then has on either host what it had before.
fn there_and_back(row: Row) -> CaseResult {
    let mut site = Site::new(row)?;
    let mut usual = [BTreeSet::new(), BTreeSet::new()];
    wait_until("a route to every address", || {
        usual = [shown(&site.pair.r1.host)?, shown(&site.pair.r2.host)?];
        Ok(usual.iter().all(has_a_route_to_every_address))
    })?;
    site.swap_standby(2, Daemon::Ours)?;
    site.swap_active(1, Daemon::Ours)?;
    let active = if row.preempts() { 1 } else { 2 };
    site.swap_standby(3 - active, Daemon::C)?;
    site.swap_active(active, Daemon::C)?;
    let waited =
        wait_until("what there was at first", || Ok([shown(&site.pair.r1.host)?, shown(&site.pair.r2.host)?] == usual));
    waited.map_err(|_| {
        let now = [&site.pair.r1.host, &site.pair.r2.host].map(|host| shown(host).ok());
        site.explain(Stop::failed(format!("before: {usual:#?}\nafter: {now:#?}")))
    })
}

/// The kernel makes those of IPv6 a little after the address.
fn has_a_route_to_every_address(shown: &BTreeSet<String>) -> bool {
    let addresses = shown.iter().filter_map(|line| line.split_once(" inet6 ")?.1.split_once('/'));
    addresses
        .map(|(address, _)| format!("local {address} dev "))
        .all(|it| shown.iter().any(|line| line.starts_with(&it)))
}

/// What `ip` shows of a host that a keepalived can change. (One that was Active leaves empty tables of nftables until it
/// ends.)
fn shown(host: &Host) -> Result<BTreeSet<String>, Stop> {
    let mut shown = BTreeSet::new();
    for arguments in ["-o link", "-o addr", "-4 rule", "-6 rule", "-4 route show table all", "-6 route show table all"]
    {
        let output = host.run(|| Command::new("ip").args(arguments.split(' ')).output());
        let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            // The number of a link, and what counts down or is the kernel's own business.
            let line = line.split_once(": ").map_or(line, |(_, rest)| rest);
            shown.insert(line.split_whitespace().take_while(|word| *word != "qdisc").collect::<Vec<_>>().join(" "));
        }
    }
    Ok(shown)
}

/// The lines of the tables of nftables.
fn packet_filter(host: &Host) -> Result<Vec<String>, Stop> {
    let nft = peers::nft()?;
    let output = host.run(|| nft.command().args(["list", "ruleset"]).output())?;
    if !output.status.success() {
        return Err(Stop::failed(format!("nft: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// How a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGTERM.
    Term,
    /// SIGKILL of all its processes.
    Kill,
    /// The host loses its power: only what is on its disk is left.
    Power,
}

/// Whatever one daemon leaves behind, the other one on the same file reaches its usual state, with nothing extra.
fn leftovers(row: Row) -> CaseResult {
    for (first, second) in [(Daemon::Ours, Daemon::C), (Daemon::C, Daemon::Ours)] {
        for end in [End::Term, End::Kill, End::Power] {
            leftover(row, first, second, end)
                .map_err(|stop| at(stop, &format!("{second:?} after {end:?} of {first:?}")))?;
        }
    }
    Ok(())
}

fn leftover(row: Row, first: Daemon, second: Daemon, end: End) -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r1")?;
    // What the second one makes of a host on which the first has never run.
    let daemon = run(&node, row, second)?;
    let usual = state(&node)?;
    stop(daemon, End::Term)?;
    let daemon = run(&node, row, first)?;
    let (node, _lab) = if end == End::Power {
        stop(daemon, End::Kill)?;
        let lab = Lab::new()?;
        let booted = Node::new(&lab, "r1")?;
        let files = ["pid", "pid.state"].map(|name| (node.folder.path().join(name), booted.folder.path().join(name)));
        for (from, to) in files.iter().filter(|(from, _)| from.exists()) {
            std::fs::copy(from, to)?;
        }
        (booted, lab)
    } else {
        stop(daemon, end)?;
        (node, lab)
    };
    let daemon = run(&node, row, second)?;
    let waited = wait_until("the usual state", || Ok(state(&node)? == usual));
    waited.map_err(|stop| {
        let now = state(&node).ok().unwrap_or_default();
        let extra: BTreeMap<_, _> = now.iter().filter(|(key, value)| usual.get(*key) != Some(value)).collect();
        let missing: Vec<_> = usual.iter().filter(|(key, _)| !now.contains_key(*key)).collect();
        at(stop, &format!("not as usual: {extra:#?}\nmissing: {missing:#?}\n{}", log(&daemon)))
    })
}

/// Starts a daemon and waits until it is Active.
fn run(node: &Node, row: Row, daemon: Daemon) -> Result<Process, Stop> {
    let process = node.start(daemon, &row.config(1))?;
    let mut vips: Vec<IpAddr> = vec![row.protocol.vip()];
    if row.group {
        vips.push([198, 18, 0, 102].into());
    }
    let up = wait_until("the virtual addresses", || {
        vips.iter().try_fold(true, |all, vip| Ok(all && node.host.holds(*vip)?))
    });
    up.map_err(|stop| at(stop, &log(&process)))?;
    Ok(process)
}

fn stop(process: Process, end: End) -> CaseResult {
    if end == End::Term {
        process.signal(Signal::SIGTERM)?;
        process.wait_for_exit(PATIENCE)?;
    } else {
        process.kill_all()?;
    }
    Ok(())
}

/// Links with what they have, settings, and rules. A macvlan is `UP` and no longer `UNKNOWN` once its parent changed.
fn state(node: &Node) -> Result<BTreeMap<String, String>, Stop> {
    let mut state = node.settings()?;
    state.extend(node.links()?.into_iter().map(|link| (link.replace(" UNKNOWN ", " UP "), String::new())));
    for family in ["-4", "-6"] {
        state.extend(node.ip(&[family, "rule"])?.lines().map(|line| (line.to_owned(), family.to_owned())));
    }
    let filter = packet_filter(&node.host)?.into_iter().enumerate();
    state.extend(filter.map(|(number, line)| (format!("nftables {number}"), line)));
    Ok(state)
}

fn at(stop: Stop, what: &str) -> Stop {
    match stop {
        Stop::Failed(reason) => Stop::Failed(format!("{what}: {reason}")),
        skipped => skipped,
    }
}

/// The pid file is the lock of both.
fn neither_starts_beside_the_other() -> CaseResult {
    let row = Row::new(V3, "");
    for (first, second) in [(Daemon::Ours, Daemon::C), (Daemon::C, Daemon::Ours)] {
        let lab = Lab::new()?;
        let node = Node::new(&lab, "r1")?;
        let running = run(&node, row, first)?;
        let refused = node.start(second, &row.config(1))?;
        refused
            .wait_for_line("daemon is already running", PATIENCE)
            .map_err(|error| at(error.into(), &log(&refused)))?;
        let status = refused.wait_for_exit(PATIENCE)?;
        if status.code() != Some(0) {
            return Err(Stop::failed(format!("{second:?} beside {first:?}: {status}\n{}", log(&refused))));
        }
        if !node.host.holds(row.protocol.vip())? {
            return Err(Stop::failed(format!("{first:?} lost its address\n{}", log(&running))));
        }
        stop(running, End::Term)?;
    }
    Ok(())
}

/// Asking whether this release starts with the file is no start.
fn a_check_beside_keepalived_changes_nothing() -> CaseResult {
    let row = Row::new(V3, "use_vmac");
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r1")?;
    let running = run(&node, row, Daemon::C)?;
    let before = state(&node)?;
    let pid_file = node.folder.path().join("pid");
    let check = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-t", "-f", "/run/keepalived.conf", "-p"]);
    let check = node.host.spawn(check.arg(&pid_file).file("/run/keepalived.conf", row.config(1)))?;
    let status = check.wait_for_exit(PATIENCE)?;
    let after = state(&node)?;
    let pid = std::fs::read_to_string(&pid_file)?;
    if status.success() && after == before && pid.trim() == running.pid().to_string() {
        return stop(running, End::Term);
    }
    Err(Stop::failed(format!("{status}, pid {pid}, before: {before:#?}\nafter: {after:#?}\n{}", log(&check))))
}

/// keepalived 2.2.7 drops adverts whose addresses are not its own: with another list on one side there are two Active
/// Routers.
fn another_list_of_addresses_makes_two_masters() -> CaseResult {
    let row = Row::new(V3, "");
    for theirs in [1, 2] {
        let mut pair = Pair::new(V3, Daemon::C, Daemon::C)?;
        let start = |host: &Host, number: u8| -> Result<Process, Stop> {
            let (daemon, vips) = if number == theirs {
                (Daemon::C, "198.18.0.100/24")
            } else {
                (Daemon::Ours, "198.18.0.100/24\n 198.18.0.101/24")
            };
            let text = row.config(number).replace("198.18.0.100/24", vips);
            Ok(host.spawn(daemon.program(&text)?)?)
        };
        pair.r1.process = Some(start(&pair.r1.host, 1)?);
        pair.wait_for_holder("r1")?;
        pair.r2.process = Some(start(&pair.r2.host, 2)?);
        let holders: &[&str] = if theirs == 1 { &["r1"] } else { &["r1", "r2"] };
        pair.r2.process().wait_for_line("Entering BACKUP STATE", PATIENCE)?;
        let adverts = pair.client.capture("eth0")?;
        wait_until("more adverts than may be missed", || {
            Ok(adverts.frames().iter().filter(|frame| frame.vrrp().is_some()).count() > 8)
        })?;
        let held = pair.lab.wait_for_holders(V3.vip(), holders, PATIENCE);
        held.map_err(|error| Stop::failed(format!("{error}\n{}", pair.logs())))?;
    }
    Ok(())
}

/// Beside each other in either role, both count nothing but adverts sent and received.
fn nothing_but_adverts_is_counted(row: Row) -> CaseResult {
    for daemons in [[Daemon::C, Daemon::Ours], [Daemon::Ours, Daemon::C]] {
        counts_beside(row, daemons).map_err(|stop| at(stop, &format!("{daemons:?}")))?;
    }
    Ok(())
}

fn counts_beside(row: Row, daemons: [Daemon; 2]) -> CaseResult {
    let mut pair = Pair::new(row.protocol, daemons[0], daemons[1])?;
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    pair.r1.process = Some(start_counting(&pair.r1.host, daemons[0], &row.config(1), &folders[0])?);
    pair.wait_for_holder("r1")?;
    pair.r2.process = Some(start_counting(&pair.r2.host, daemons[1], &row.config(2), &folders[1])?);
    pair.r2.process().wait_for_line("Entering BACKUP STATE", PATIENCE)?;
    let adverts = pair.client.capture("eth0")?;
    let hear = |count: usize| {
        wait_until("adverts", || {
            let frames = adverts.frames();
            Ok(frames.iter().filter(|it| it.ip().is_some_and(|ip| [51, 112].contains(&ip.protocol))).count() >= count)
        })
    };
    let counters = || -> Result<_, Stop> {
        Ok([statistics(pair.r1.process(), &folders[0])?, statistics(pair.r2.process(), &folders[1])?])
    };
    hear(2)?;
    let before = counters()?;
    hear(6)?;
    let after = counters()?;
    for (number, grows) in ["Sent:", "Received:"].into_iter().enumerate() {
        let (before, after) = (&before[number], &after[number]);
        let changed: Vec<_> = before.iter().zip(after).filter(|(before, after)| before != after).collect();
        let alone = matches!(changed.as_slice(), [(_, line)] if line.trim().starts_with(grows));
        if !alone || before.len() != after.len() {
            let what = format!("r{}: {grows} alone was to grow: {changed:#?}\n{before:#?}", number + 1);
            return Err(Stop::failed(format!("{what}\n{}", pair.logs())));
        }
    }
    let words = after.map(|lines| lines.into_iter().map(|line| words_of(&line)).collect::<Vec<_>>());
    if words[0] == words[1] { Ok(()) } else { Err(Stop::failed(format!("other words: {words:#?}"))) }
}

/// A daemon whose temporary files are in a folder of their own.
fn start_counting(host: &Host, daemon: Daemon, text: &str, folder: &TempDir) -> Result<Process, Stop> {
    Ok(host.spawn(daemon.program(text)?.env("TMPDIR", "/run/dumps").bind(folder.path(), "/run/dumps"))?)
}

/// Without $TMPDIR the file is in /tmp.
fn statistics_are_in_tmp_unless_told_otherwise() -> CaseResult {
    let row = Row::new(V3, "");
    for daemon in [Daemon::C, Daemon::Ours] {
        let lab = Lab::new()?;
        let (node, folder) = (Node::new(&lab, "r1")?, tempfile::tempdir()?);
        let (env, peer) = (Path::new("/usr/bin/env"), peers::keepalived()?);
        let (program, path) = match daemon {
            Daemon::Ours => (Program::new(env), PathBuf::from(env!("CARGO_BIN_EXE_keepalived-rs"))),
            Daemon::C => (peer.program_as(env), peer.path),
        };
        // It may lie in the real one.
        let program = program.args(["-u", "TMPDIR", "/run/daemon"]).bind(path, "/run/daemon");
        let program = program.args(["-nlDG", "--vrrp", "-f", "/run/keepalived.conf"]);
        let program = program.file("/run/keepalived.conf", row.config(1)).bind(folder.path(), "/tmp");
        let process = node.host.spawn(program)?;
        process.wait_for_line("Entering MASTER STATE", PATIENCE)?;
        statistics(&process, &folder).map_err(|stop| at(stop, &format!("{daemon:?}\n{}", log(&process))))?;
    }
    Ok(())
}

/// The lines of the file that SIGUSR2 asks for.
fn statistics(process: &Process, folder: &TempDir) -> Result<Vec<String>, Stop> {
    process.signal(Signal::SIGUSR2)?;
    written_statistics(folder)
}

/// The next file, which goes.
fn written_statistics(folder: &TempDir) -> Result<Vec<String>, Stop> {
    let (file, mut text) = (folder.path().join("keepalived.stats"), String::new());
    wait_until("the statistics", || {
        text = std::fs::read_to_string(&file).unwrap_or_default();
        Ok(text.contains("Priority Zero") && text.trim_end().lines().count() > 15)
    })?;
    std::fs::remove_file(&file)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// A line without its number.
fn words_of(line: &str) -> String {
    let number = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    line.rsplit_once(": ").filter(|(_, value)| number(value)).map_or(line, |(words, _)| words).to_owned()
}

/// A worker that takes the place of another one goes on counting; SIGRTMAX-1 begins anew.
fn statistics_outlive_the_worker() -> CaseResult {
    let row = Row::new(V3, "");
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir()?;
    pair.r1.process = Some(start_counting(&pair.r1.host, Daemon::Ours, &row.config(1), &folder)?);
    pair.wait_for_holder("r1")?;
    let sent = |lines: Vec<String>| -> u64 {
        let count = lines.iter().find_map(|line| line.trim().strip_prefix("Sent: ")?.parse().ok());
        count.unwrap_or_default()
    };
    // It takes a second until the supervisor knows.
    wait_until("adverts", || Ok(sent(statistics(pair.r1.process(), &folder)?) > 10))?;
    nix::sys::signal::kill(pair.r1.worker(), Signal::SIGKILL)?;
    pair.r1.process().wait_for_line("continuing as MASTER", PATIENCE)?;
    let lines = statistics(pair.r1.process(), &folder)?;
    if !lines.contains(&"  Became master: 1".to_owned()) || sent(lines.clone()) < 5 {
        return Err(Stop::failed(format!("{lines:#?}\n{}", pair.logs())));
    }
    let clear = || Command::new("sh").args(["-c", &format!("kill -63 {}", pair.r1.process().pid())]).status();
    if !clear()?.success() {
        return Err(Stop::failed("kill -63 failed"));
    }
    let lines = written_statistics(&folder)?;
    let after = statistics(pair.r1.process(), &folder)?;
    if sent(lines.clone()) >= 5 && sent(after.clone()) < 5 && after.contains(&"  Became master: 0".to_owned()) {
        return Ok(());
    }
    Err(Stop::failed(format!("not cleared: {lines:#?}\n{after:#?}\n{}", pair.logs())))
}

/// What keepalived-rs alone knows: block, keyword and a line of it.
fn own_words() -> Vec<(&'static str, &'static str, String)> {
    const WORDS: &str = include_str!("../../conf-parser/src/schema/keywords.tsv");
    let rows = WORDS.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let own = rows.filter(|columns| columns.get(8) == Some(&"keepalived-rs"));
    // The smallest value that its range names is 2 at least; 30 is good for all that there are.
    own.map(|columns| {
        (columns[0], columns[1], format!("{} {}", columns[1], vec!["30"; arguments(columns[3])].join(" ")))
    })
    .collect()
}

/// How many words must follow a keyword.
fn arguments(words: &str) -> usize {
    words.parse().unwrap_or(1)
}

/// keepalived names the word that it does not know, and does the rest; its addresses have no end.
fn keepalived_does_without_our_words() -> CaseResult {
    let words = own_words();
    if words.is_empty() {
        return Err(Stop::failed("there is no such word"));
    }
    for (block, keyword, line) in &words {
        let text = with_line(block, line)?;
        does_without(&text, &[keyword]).map_err(|stop| at(stop, &text))?;
    }
    Ok(())
}

/// A file with the line in such a block.
fn with_line(block: &str, line: &str) -> Result<String, Stop> {
    let text = Row::new(V3, "").config(1);
    let virtual_server = |inner: &str| {
        format!(
            "{text}virtual_server 198.18.0.100 80 {{\n lb_algo rr\n lb_kind DR\n protocol TCP\n{inner} real_server \
             198.18.0.7 80 {{\n weight 1\n TCP_CHECK {{\n connect_timeout 1\n }}\n }}\n}}\n"
        )
    };
    match block {
        "global_defs" => Ok(text.replacen("global_defs {\n", &format!("global_defs {{\n {line}\n"), 1)),
        "vrrp_instance" => Ok(text.replacen("interface eth0\n", &format!("interface eth0\n {line}\n"), 1)),
        "virtual_server" => Ok(virtual_server(&format!(" {line}\n"))),
        "real_server" => Ok(virtual_server("").replacen(" weight 1\n", &format!(" weight 1\n {line}\n"), 1)),
        other => Err(Stop::failed(format!("no file here has a block {other}: add one"))),
    }
}

fn does_without(text: &str, words: &[&str]) -> CaseResult {
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r1")?;
    let test = peers::keepalived()?.program().args(["-t", "-nl", "-f", "/run/k.conf"]).file("/run/k.conf", text);
    let test = node.host.spawn(test)?;
    let status = test.wait_for_exit(PATIENCE)?;
    let process = node.start(Daemon::C, text)?;
    let unknown = |said: &str| words.iter().all(|word| said.contains(&format!("Unknown keyword '{word}'")));
    let held = wait_until("the address", || node.host.holds(V3.vip()).map_err(Stop::from));
    held.map_err(|stop| at(stop, &log(&process)))?;
    let ends = |address: &Address| address.ip == V3.vip() && !address.flags.contains(AddressFlags::PERMANENT);
    if let Some(address) = node.host.addresses()?.iter().find(|address| ends(address)) {
        return Err(Stop::failed(format!("it has a lifetime: {address:?}")));
    }
    let only = |said: &str| said.matches("Unknown keyword").count() == words.len();
    let said = log(&test);
    if status.code() != Some(5) || !unknown(&said) || !only(&said) {
        return Err(Stop::failed(format!("keepalived -t: {status}\n{said}")));
    }
    let ours = node.host.spawn(
        Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-t", "-f", "/run/k.conf"]).file("/run/k.conf", text),
    )?;
    let status = ours.wait_for_exit(PATIENCE)?;
    if !status.success() {
        return Err(Stop::failed(format!("keepalived-rs -t: {status}\n{}", log(&ours))));
    }
    stop(process, End::Term)
}

/// They wait for timers most of the time.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let mut all = cases();
    all.extend([
        case("neither_starts_beside_the_other", neither_starts_beside_the_other),
        case("a_check_beside_keepalived_changes_nothing", a_check_beside_keepalived_changes_nothing),
        case("another_list_of_addresses_makes_two_masters", another_list_of_addresses_makes_two_masters),
        case("nothing_but_adverts_is_counted_pass", || nothing_but_adverts_is_counted(Row::new(V2, PASS))),
        case("nothing_but_adverts_is_counted_ah", || nothing_but_adverts_is_counted(Row::new(V2, AH))),
        case("nothing_but_adverts_is_counted_v3", || nothing_but_adverts_is_counted(Row::new(V3, ""))),
        case("nothing_but_adverts_is_counted_ipv6", || nothing_but_adverts_is_counted(Row::new(V3_IPV6, ""))),
        case("statistics_outlive_the_worker", statistics_outlive_the_worker),
        case("statistics_are_in_tmp_unless_told_otherwise", statistics_are_in_tmp_unless_told_otherwise),
        case("keepalived_does_without_our_words", keepalived_does_without_our_words),
    ]);
    harness::main_parallel(&all, AT_ONCE)
}
