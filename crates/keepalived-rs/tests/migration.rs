//! `docs/migration.md`: routers that carry traffic go from Debian's keepalived to keepalived-rs and back, one at a time.
//! What is judged by the clock stands in `handover.rs`.

#[path = "support/node.rs"]
#[expect(dead_code, reason = "the macvlan tests use the rest")]
#[expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]
mod node;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::{Command, ExitCode};
use std::time::Duration;

use netlab::harness::{self, Case, CaseResult, Stop, case};
use netlab::{Capture, Host, Lab, Process, Skip};
use nix::sys::signal::Signal;
use node::{Node, log};
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

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
        // In strict mode the address answers nobody.
        let pinger = if self.row.strict { None } else { Some(self.pair.ping()?) };
        let from = self.router(3 - number).process().lines().len();
        self.stop(number)?;
        self.start(number, daemon)?;
        self.rests(number)?;
        self.hear(5)?;
        self.pair.wait_for_holder(&active)?;
        if let Some(gap) = pinger.and_then(|pinger| pinger.longest_gap()) {
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
        self.stop(number)?;
        self.pair.wait_for_holder(other)?;
        self.start(number, daemon)?;
        let returns = number == 1 && self.row.preempts();
        if !returns {
            self.rests(number)?;
        }
        self.pair.wait_for_holder(if returns { own } else { other })?;
        self.hear(5)
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

/// Both routers go to keepalived-rs and back to keepalived, which then has on either host what it had before.
fn there_and_back(row: Row) -> CaseResult {
    let mut site = Site::new(row)?;
    let usual = [shown(&site.pair.r1.host)?, shown(&site.pair.r2.host)?];
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

/// What `ip` shows of a host that a keepalived can change.
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

/// Beside each other in either role, keepalived counts nothing but adverts sent and received.
fn nothing_but_adverts_is_counted() -> CaseResult {
    for row in [Row::new(V2, PASS), Row::new(V2, AH), Row::new(V3, ""), Row::new(V3_IPV6, "")] {
        for theirs in [1, 2] {
            counts_beside(row, theirs).map_err(|stop| at(stop, &format!("{row:?}, keepalived as r{theirs}")))?;
        }
    }
    Ok(())
}

fn counts_beside(row: Row, theirs: u8) -> CaseResult {
    let mut pair = Pair::new(row.protocol, Daemon::C, Daemon::C)?;
    let folder = tempfile::tempdir()?;
    let start = |host: &Host, number: u8| -> Result<Process, Stop> {
        let daemon = if number == theirs { Daemon::C } else { Daemon::Ours };
        let program = daemon.program(&row.config(number))?;
        Ok(host.spawn(if number == theirs { program.bind(folder.path(), "/tmp") } else { program })?)
    };
    pair.r1.process = Some(start(&pair.r1.host, 1)?);
    pair.wait_for_holder("r1")?;
    pair.r2.process = Some(start(&pair.r2.host, 2)?);
    pair.r2.process().wait_for_line("Entering BACKUP STATE", PATIENCE)?;
    let adverts = pair.client.capture("eth0")?;
    let hear = |count: usize| {
        wait_until("adverts", || {
            let frames = adverts.frames();
            Ok(frames.iter().filter(|it| it.ip().is_some_and(|ip| [51, 112].contains(&ip.protocol))).count() >= count)
        })
    };
    let counters = || -> Result<Vec<String>, Stop> {
        let file = folder.path().join("keepalived.stats");
        _ = std::fs::remove_file(&file);
        let process = if theirs == 1 { pair.r1.process() } else { pair.r2.process() };
        process.signal(Signal::SIGUSR2)?;
        let mut text = String::new();
        wait_until("the statistics", || {
            text = std::fs::read_to_string(&file).unwrap_or_default();
            Ok(text.contains("Priority Zero") && text.trim_end().lines().count() > 15)
        })?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    hear(2)?;
    let before = counters()?;
    hear(10)?;
    let after = counters()?;
    let what = if theirs == 1 { "Sent:" } else { "Received:" };
    let changed: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    match changed.as_slice() {
        [(_, line)] if line.trim().starts_with(what) && before.len() == after.len() => Ok(()),
        _ => Err(Stop::failed(format!("{what} alone was to grow: {changed:#?}\n{before:#?}\n{}", pair.logs()))),
    }
}

/// They wait for timers most of the time.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let mut all = cases();
    all.extend([
        case("neither_starts_beside_the_other", neither_starts_beside_the_other),
        case("another_list_of_addresses_makes_two_masters", another_list_of_addresses_makes_two_masters),
        case("nothing_but_adverts_is_counted", nothing_but_adverts_is_counted),
    ]);
    harness::main_parallel(&all, AT_ONCE)
}
