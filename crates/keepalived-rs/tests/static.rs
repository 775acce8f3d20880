//! `static_ipaddress`, `static_routes`, `static_rules` and `track_group` next to Debian's keepalived, and what becomes of
//! addresses, routes and rules that somebody else takes away.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Process, Program, Skip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Daemon, PATIENCE, wait_until};

/// Between two looks at what must not change.
const A_WHILE: Duration = Duration::from_millis(300);

/// A host with two interfaces and a daemon.
struct Router {
    host: Host,
    daemon: Daemon,
    lans: [Bridge; 2],
    folder: tempfile::TempDir,
    process: Option<Process>,
    lab: Lab,
}

impl Router {
    fn new(daemon: Daemon) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let host = lab.host("r1")?;
        let lans = [lab.bridge("lan0")?, lab.bridge("lan1")?];
        for (number, lan) in lans.iter().enumerate() {
            let interface = format!("eth{number}");
            lab.connect(&host, &interface, lan)?;
            host.address(&interface, &format!("198.18.{number}.1/24"))?;
        }
        Ok(Self { host, daemon, lans, folder: tempfile::tempdir()?, process: None, lab })
    }

    /// A router whose daemon runs with this configuration.
    fn with(daemon: Daemon, config: &str) -> Result<Self, Stop> {
        let mut router = Self::new(daemon)?;
        router.start(config)?;
        Ok(router)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("keepalived.conf")
    }

    fn start(&mut self, config: &str) -> CaseResult {
        std::fs::write(self.file(), config)?;
        let program = match self.daemon {
            Daemon::Ours => {
                Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).arg("-p").arg(self.folder.path().join("pid"))
            }
            Daemon::C => netlab::peers::keepalived()?.program(),
        };
        let program = program.args(["-nlDG", "--vrrp", "-f"]).arg(self.file());
        self.process = Some(self.host.spawn(program)?);
        Ok(())
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the daemon was started")
    }

    fn reload(&self, config: &str) -> CaseResult {
        std::fs::write(self.file(), config)?;
        let mark = self.process().mark();
        self.process().signal(Signal::SIGHUP)?;
        self.process().wait_for_line_after(mark, "Reload", PATIENCE)?;
        Ok(())
    }

    fn stop(&self) -> CaseResult {
        self.process().signal(Signal::SIGTERM)?;
        self.process().wait_for_exit(PATIENCE)?;
        Ok(())
    }

    /// The pid of its newest VRRP process.
    fn worker(&self) -> Pid {
        const WORDS: &str = "Starting VRRP child process, pid=";
        let lines = self.process().lines();
        let (_, pid) = lines.iter().rev().find_map(|line| line.text.split_once(WORDS)).expect("there is a worker");
        Pid::from_raw(pid.trim().parse().expect("a pid"))
    }

    fn ip(&self, arguments: &str) -> Result<String, Stop> {
        let output = self.host.run(|| Command::new("ip").args(arguments.split(' ')).output());
        let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Does with `ip` what has to go well.
    fn set(&self, arguments: &str) -> CaseResult {
        let output = self.host.run(|| Command::new("ip").args(arguments.split(' ')).output())?;
        if output.status.success() {
            return Ok(());
        }
        Err(Stop::failed(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Addresses, routes and rules, in one text.
    fn shown(&self) -> Result<String, Stop> {
        let queries = ["-br addr show", "route show table all", "-6 route show", "rule", "-6 rule"];
        let shown: Result<Vec<_>, _> = queries.iter().map(|query| self.ip(query)).collect();
        Ok(shown?.concat())
    }

    fn waits_for(&self, what: &str, condition: impl Fn(&str) -> bool) -> CaseResult {
        let mut shown = String::new();
        let waited = wait_until(what, || {
            shown = self.shown()?;
            Ok(condition(&shown))
        });
        waited.map_err(|_| Stop::failed(format!("waited for {what}\n{shown}\n{}", self.log())))
    }

    fn has(&self, all: &[&str]) -> CaseResult {
        self.waits_for(&format!("{all:?}"), |shown| all.iter().all(|one| shown.contains(one)))
    }

    fn lacks(&self, none: &[&str]) -> CaseResult {
        self.waits_for(&format!("none of {none:?}"), |shown| none.iter().all(|one| !shown.contains(one)))
    }

    /// Nothing of it comes back by itself.
    fn stays_without(&self, none: &[&str]) -> CaseResult {
        self.lacks(none)?;
        let until = std::time::Instant::now() + A_WHILE;
        while std::time::Instant::now() < until {
            let shown = self.shown()?;
            if let Some(one) = none.iter().find(|one| shown.contains(**one)) {
                return Err(Stop::failed(format!("{one} is back\n{shown}\n{}", self.log())));
            }
        }
        Ok(())
    }

    fn says(&self, text: &str) -> CaseResult {
        let waited = self.process().wait_for_line(text, PATIENCE);
        waited.map(drop).map_err(|error| Stop::failed(format!("{error}\n{}", self.log())))
    }

    fn count(&self, text: &str) -> usize {
        self.process().lines().iter().filter(|line| line.text.contains(text)).count()
    }

    fn log(&self) -> String {
        self.process().lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
    }
}

const INSTANCE: &str = "vrrp_instance VI_1 {\n state MASTER\n interface eth0\n virtual_router_id 51\n priority 200\n \
    version 3\n advert_int 0.1\n virtual_ipaddress {\n 198.18.0.100/24\n 198.18.0.101/24 no_track\n }\n EXTRA\n}\n";

fn with_instance(blocks: &str, extra: &str) -> String {
    format!("global_defs {{\n router_id test\n}}\n{blocks}\n{}", INSTANCE.replace("EXTRA", extra))
}

const STATIC: &str = "
track_group G {
    group {
        VI_1
    }
}
static_ipaddress {
    198.51.100.1/24 dev eth1 track_group G
    198.51.101.1/24 dev eth1
    198.51.102.1/24 dev eth1 no_track
    198.51.103.1/24
    198.18.1.1/24 dev eth1
}
static_routes {
    10.1.0.0/16 dev eth1
    10.2.0.0/16 via 198.18.1.9 dev eth1
    10.3.0.0/16 dev eth1 no_track
    blackhole 10.4.0.0/16
}
static_rules {
    from 10.1.0.0/16 table 7 preference 100
    from 10.3.0.0/16 table 7 preference 102 no_track
}
";

const ALL: [&str; 11] = [
    "198.51.100.1/24",
    "198.51.101.1/24",
    "198.51.102.1/24",
    "198.51.103.1/24",
    "198.18.1.1/24",
    "\n10.1.0.0/16 dev eth1 proto keepalived",
    "\n10.2.0.0/16 via 198.18.1.9 dev eth1 proto keepalived",
    "\n10.3.0.0/16 dev eth1",
    "\nblackhole 10.4.0.0/16",
    "\n100:\tfrom 10.1.0.0/16 lookup 7",
    "\n102:\tfrom 10.3.0.0/16 lookup 7",
];

fn what_somebody_deletes_is_put_back(daemon: Daemon) -> CaseResult {
    let router = Router::with(daemon, &with_instance(STATIC, ""))?;
    router.says("(VI_1) Entering MASTER STATE")?;
    router.has(&ALL)?;
    let address = "Restoring deleted static address 198.51.10";
    let addresses = [
        ("addr del 198.51.100.1/24 dev eth1", format!("{address}0.1/24 dev eth1")),
        ("addr del 198.51.101.1/24 dev eth1", format!("{address}1.1/24 dev eth1")),
        ("addr del 198.51.103.1/24 dev eth0", format!("{address}3.1/24 dev eth0")),
    ];
    let others = [
        ("route del 10.1.0.0/16", "Restoring deleted static route".into()),
        ("route del 10.2.0.0/16", "Restoring deleted static route 10.2.0.0/16".into()),
        ("rule del preference 100", "Restoring deleted static rule".into()),
    ];
    // Of routes and rules that go soon after the start Debian's keepalived does not always hear.
    let all = addresses.into_iter().chain(others.into_iter().filter(|_| daemon == Daemon::Ours));
    for (deletion, words) in all {
        router.set(deletion)?;
        router.says(&words)?;
        router.has(&ALL)?;
    }
    // A route without `dev` is not tracked.
    for deletion in [
        "addr del 198.51.102.1/24 dev eth1",
        "route del 10.3.0.0/16",
        "route del 10.4.0.0/16",
        "rule del preference 102",
    ] {
        router.set(deletion)?;
    }
    router.stays_without(&["198.51.102.1", "\n10.3.0.0", "blackhole 10.4", "\n102:"])?;
    if router.count("Entering") != router.count("Entering BACKUP STATE (init)") + router.count("Entering MASTER STATE")
    {
        return Err(Stop::failed(format!("the instance did not stay as it was\n{}", router.log())));
    }
    router.stop()?;
    // What was there before, and adopted, goes too.
    router.lacks(&["198.51.10", "198.18.1.1/24", "\n10.", "100:\t"])
}

fn what_somebody_deletes_is_put_back_by_ours() -> CaseResult {
    what_somebody_deletes_is_put_back(Daemon::Ours)
}

fn what_somebody_deletes_is_put_back_by_c() -> CaseResult {
    what_somebody_deletes_is_put_back(Daemon::C)
}

/// The kernel says nothing of the routes that go with an address or an interface; Debian's keepalived leaves the former
/// away.
fn what_the_kernel_drops_is_put_back() -> CaseResult {
    let config = "static_ipaddress {\n 198.51.100.1/24 dev eth1\n}\nstatic_routes {\n 10.1.0.0/16 dev eth1\n \
        10.2.0.0/16 dev eth1 src 198.51.100.1\n}\n";
    let router = Router::with(Daemon::Ours, &with_instance(config, "virtual_routes {\n 10.5.0.0/16 dev eth1\n }"))?;
    let all = ["198.51.100.1/24", "\n10.1.0.0/16", "\n10.2.0.0/16", "\n10.5.0.0/16", "198.18.0.100/24"];
    router.has(&all)?;
    router.set("addr flush dev eth1")?;
    router.has(&all)?;
    router.set("link set eth1 down")?;
    router.lacks(&["\n10.1.0.0/16", "\n10.5.0.0/16"])?;
    router.set("link set eth1 up")?;
    router.has(&all)?;
    router.set("route flush proto keepalived")?;
    router.has(&all)?;
    router.set("addr flush dev eth0")?;
    router.set("addr add 198.18.0.1/24 dev eth0")?;
    router.has(&all)
}

fn an_interface_that_returns_gets_its_own(daemon: Daemon) -> CaseResult {
    let config = with_instance(
        "static_ipaddress {\n 198.51.100.1/24 dev eth1\n}\nstatic_routes {\n 10.1.0.0/16 dev eth1\n}\n",
        "",
    );
    let router = Router::with(daemon, &config)?;
    let all = ["198.51.100.1/24", "\n10.1.0.0/16"];
    router.has(&all)?;
    router.set("link del eth1")?;
    router.lacks(&all)?;
    router.lab.connect(&router.host, "eth1", &router.lans[1])?;
    router.has(&all)
}

fn an_interface_that_returns_gets_its_own_from_ours() -> CaseResult {
    an_interface_that_returns_gets_its_own(Daemon::Ours)
}

fn an_interface_that_returns_gets_its_own_from_c() -> CaseResult {
    an_interface_that_returns_gets_its_own(Daemon::C)
}

/// The members depend on the interface of what names their group.
fn a_track_group_follows_its_interface(daemon: Daemon) -> CaseResult {
    let router = Router::with(daemon, &with_instance(STATIC, ""))?;
    router.has(&["198.18.0.100/24", "198.51.100.1/24"])?;
    router.set("link set eth1 down")?;
    router.says("(VI_1) Entering FAULT STATE")?;
    router.lacks(&["198.18.0.100/24"])?;
    router.set("link set eth1 up")?;
    router.has(&["198.18.0.100/24", "\n10.1.0.0/16", "\n10.2.0.0/16"])
}

fn a_track_group_follows_its_interface_in_ours() -> CaseResult {
    a_track_group_follows_its_interface(Daemon::Ours)
}

fn a_track_group_follows_its_interface_in_c() -> CaseResult {
    a_track_group_follows_its_interface(Daemon::C)
}

/// `track_group` of a route and of a rule, and `default_interface`.
fn every_list_can_name_a_track_group() -> CaseResult {
    let group = "track_group G {\n group {\n VI_1\n }\n}\n";
    for list in [
        "static_routes {\n 10.1.0.0/16 dev eth1 track_group G\n}",
        "static_rules {\n iif eth1 table 7 preference 100 track_group G\n}",
        "global_defs {\n default_interface eth1\n}\nstatic_ipaddress {\n 198.51.100.1/24 track_group G\n}",
    ] {
        let router = Router::with(Daemon::Ours, &with_instance(&format!("{group}{list}"), ""))?;
        router.has(&["198.18.0.100/24"])?;
        router.set("link set eth1 down")?;
        router.says("(VI_1) Entering FAULT STATE")?;
    }
    Ok(())
}

fn a_reload_changes_what_is_static(daemon: Daemon) -> CaseResult {
    let router = Router::with(daemon, &with_instance(STATIC, ""))?;
    router.has(&ALL)?;
    let after = STATIC
        .replace("198.51.100.1/24 dev eth1 track_group G", "198.51.104.1/24 dev eth1")
        .replace("198.51.101.1/24 dev eth1", "198.51.101.1/24 dev eth1 label eth1:x")
        .replace("10.1.0.0/16 dev eth1", "10.1.0.0/16 dev eth1 metric 5")
        .replace("10.2.0.0/16 via 198.18.1.9 dev eth1\n", "\n")
        .replace("preference 100", "preference 105");
    router.reload(&with_instance(&after, ""))?;
    router.has(&["198.51.104.1/24", "\n10.1.0.0/16 dev eth1 proto keepalived metric 5", "\n105:\tfrom 10.1.0.0/16"])?;
    router.lacks(&["198.51.100.1/24", "\n10.2.0.0/16", "\n100:"])?;
    wait_until("the label", || Ok(router.ip("addr show dev eth1")?.contains("eth1:x")))?;
    router.has(&["198.18.0.100/24"])?;
    router.reload(&with_instance("", ""))?;
    router.lacks(&["198.51.", "\n10.", "\n105:"])
}

fn a_reload_changes_what_is_static_in_ours() -> CaseResult {
    a_reload_changes_what_is_static(Daemon::Ours)
}

fn a_reload_changes_what_is_static_in_c() -> CaseResult {
    a_reload_changes_what_is_static(Daemon::C)
}

/// Without an instance too.
fn what_is_static_outlives_a_worker_and_goes_with_the_daemon() -> CaseResult {
    let router = Router::with(Daemon::Ours, STATIC)?;
    router.has(&ALL)?;
    let before = router.ip("-ts -d addr show")?;
    kill(router.worker(), Signal::SIGKILL)?;
    router.says("died: Respawning")?;
    wait_until("a new worker", || Ok(router.count("Starting VRRP child process") == 2))?;
    router.has(&ALL)?;
    if router.ip("-ts -d addr show")? != before {
        return Err(Stop::failed(format!("something was touched\n{}", router.log())));
    }
    // The new worker repairs as the old one did.
    wait_until("repairs", || {
        let _ = router.set("route del 10.1.0.0/16");
        Ok(router.count("Restoring deleted static route 10.1.0.0/16") > 0)
    })?;
    router.has(&ALL)?;
    router.stop()?;
    router.lacks(&["198.51.10", "\n10.", "\n100:"])
}

/// What is no longer configured when a worker is started anew goes, though no one left knows the old configuration.
fn a_new_worker_removes_what_is_no_longer_configured() -> CaseResult {
    let lists =
        "virtual_routes {\n 10.5.0.0/16 dev eth1\n }\n virtual_rules {\n from 10.5.0.0/16 table 7 preference 110\n }";
    let router = Router::with(Daemon::Ours, &with_instance(STATIC, lists))?;
    let all = ["\n10.5.0.0/16", "\n110:", "198.51.100.1/24", "\n10.1.0.0/16", "\n100:"];
    router.has(&all)?;
    let worker = router.worker();
    kill(worker, Signal::SIGSTOP)?;
    std::fs::write(router.file(), with_instance("", ""))?;
    router.process().signal(Signal::SIGHUP)?;
    router.says("Reloading ...")?;
    kill(worker, Signal::SIGKILL)?;
    // Had the worker been asked to prepare already, the reload is refused.
    let said = |text: &str| router.process().lines().iter().any(|line| line.text.contains(text));
    wait_until("the end of the reload", || Ok(said("Reload complete") || said("Reload refused")))?;
    if said("Reload refused") {
        router.process().signal(Signal::SIGHUP)?;
    }
    router.lacks(&all)?;
    router.has(&["198.18.0.100/24"])
}

fn the_cleanup_command_removes_all_of_it() -> CaseResult {
    let lists =
        "virtual_routes {\n 10.5.0.0/16 dev eth1\n }\n virtual_rules {\n from 10.5.0.0/16 table 7 preference 110\n }";
    let router = Router::with(Daemon::Ours, &with_instance(STATIC, lists))?;
    router.has(&["\n10.5.0.0/16", "\n110:", "198.51.100.1/24", "\n10.1.0.0/16", "\n100:"])?;
    router.process().kill_all()?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs"));
    let cleanup = router.host.spawn(program.args(["cleanup", "-f"]).arg(router.file()))?;
    cleanup.wait_for_exit(PATIENCE)?;
    router.lacks(&["198.51.10", "198.18.0.10", "\n10.", "\n100:", "\n110:"])
}

/// The same network, table, metric and mark over another gateway: nobody's but theirs.
const THEIRS: [&str; 2] = ["\n10.2.0.0/16 via 198.18.1.8 dev eth1", "\n10.5.0.0/16 via 198.18.1.8 dev eth1"];
const OURS: [&str; 2] = ["\n10.2.0.0/16 via 198.18.1.9 dev eth1", "\n10.5.0.0/16 via 198.18.1.9 dev eth1"];

/// A router with routes beside those of somebody else: two that were there before the daemon came.
fn beside_others() -> Result<Router, Stop> {
    let mut router = Router::new(Daemon::Ours)?;
    for network in ["10.2.0.0/16", "10.5.0.0/16"] {
        router.set(&format!("route add {network} via 198.18.1.8 dev eth1 proto keepalived"))?;
    }
    let lists = "virtual_routes {\n 10.5.0.0/16 via 198.18.1.9 dev eth1\n }";
    router.start(&with_instance("static_routes {\n 10.2.0.0/16 via 198.18.1.9 dev eth1\n}\n", lists))?;
    router.has(&OURS)?;
    router.has(&THEIRS)?;
    Ok(router)
}

fn a_route_of_others_with_the_same_key_stays() -> CaseResult {
    let router = beside_others()?;
    // Theirs does not stand for ours.
    router.set("route del 10.2.0.0/16 via 198.18.1.9")?;
    router.says("Restoring deleted static route 10.2.0.0/16")?;
    router.has(&OURS)?;
    router.reload(&with_instance("", ""))?;
    router.lacks(&OURS)?;
    router.has(&THEIRS)?;
    let router = beside_others()?;
    router.stop()?;
    router.lacks(&OURS)?;
    router.has(&THEIRS)
}

/// The facts of the worker that was killed say which ones are ours, and so does the file.
fn after_a_crash_a_route_of_others_with_the_same_key_stays() -> CaseResult {
    let router = beside_others()?;
    router.process().kill_all()?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs"));
    let cleanup = router.host.spawn(program.args(["cleanup", "-f"]).arg(router.file()))?;
    cleanup.wait_for_exit(PATIENCE)?;
    router.lacks(&OURS)?;
    router.has(&THEIRS)?;
    let mut router = beside_others()?;
    router.process().kill_all()?;
    router.has(&OURS)?;
    // The next daemon finds what it told.
    router.start(&with_instance("", ""))?;
    router.lacks(&OURS)?;
    router.has(&THEIRS)
}

const LISTS: &str = "virtual_routes {\n 10.1.0.0/16 dev eth1\n 10.2.0.0/16 dev eth1 no_track\n blackhole 10.4.0.0/16\n }\n \
    virtual_rules {\n from 10.1.0.0/16 table 7 preference 100\n from 10.3.0.0/16 table 7 preference 102 no_track\n }";

const VIRTUAL: [&str; 7] = [
    "198.18.0.100/24",
    "198.18.0.101/24",
    "\n10.1.0.0/16",
    "\n10.2.0.0/16",
    "\nblackhole 10.4.0.0/16",
    "\n100:",
    "\n102:",
];

/// Ours puts it back at once, three times in ten seconds; then it gives up all, as Debian's keepalived does at once, and
/// takes over again within a second. The group follows.
fn what_is_virtual_and_tracked_comes_back(daemon: Daemon) -> CaseResult {
    let second = INSTANCE.replace("VI_1", "VI_2").replace(" 51", " 52").replace("198.18.0.10", "198.18.0.20");
    let group = "vrrp_sync_group G {\n group {\n VI_1\n VI_2\n }\n}\n";
    let config = with_instance(&format!("{group}{}", second.replace("EXTRA", "")), LISTS);
    let router = Router::with(daemon, &config)?;
    router.has(&VIRTUAL)?;
    let given_up = |router: &Router| {
        ["(VI_1)", "(VI_2)"].map(|name| {
            let all = router.process().lines();
            all.iter().filter(|line| line.text.ends_with(&format!("{name} Entering BACKUP STATE"))).count()
        })
    };
    let before = given_up(&router);
    let deletions =
        ["route del 10.1.0.0/16", "rule del preference 100", "route del 10.1.0.0/16", "rule del preference 100"];
    for (time, deletion) in deletions.into_iter().enumerate() {
        let masters = router.count("(VI_1) Entering MASTER STATE");
        router.set(deletion)?;
        if daemon == Daemon::C || time == 3 {
            wait_until("another takeover", || Ok(router.count("(VI_1) Entering MASTER STATE") > masters))?;
        } else {
            wait_until("the loss to be seen", || Ok(router.count("putting back what was removed") == time + 1))?;
        }
        router.has(&VIRTUAL)?;
    }
    let times = if daemon == Daemon::C { 4 } else { 1 };
    if given_up(&router) != before.map(|before| before + times) {
        return Err(Stop::failed(format!("{:?} after {before:?}\n{}", given_up(&router), router.log())));
    }
    Ok(())
}

fn what_is_virtual_and_tracked_comes_back_in_ours() -> CaseResult {
    what_is_virtual_and_tracked_comes_back(Daemon::Ours)
}

fn what_is_virtual_and_tracked_comes_back_in_c() -> CaseResult {
    what_is_virtual_and_tracked_comes_back(Daemon::C)
}

/// Until the router takes over again.
fn what_is_virtual_and_not_tracked_stays_away(daemon: Daemon) -> CaseResult {
    let router = Router::with(daemon, &with_instance("", LISTS))?;
    router.has(&VIRTUAL)?;
    for deletion in [
        "addr del 198.18.0.101/24 dev eth0",
        "route del 10.2.0.0/16",
        "route del 10.4.0.0/16",
        "rule del preference 102",
    ] {
        router.set(deletion)?;
    }
    let gone = ["198.18.0.101/24", "\n10.2.0.0/16", "\nblackhole 10.4.0.0/16", "\n102:"];
    router.stays_without(&gone)?;
    if router.count("Entering MASTER STATE") != 1 {
        return Err(Stop::failed(router.log()));
    }
    router.set("link set eth0 down")?;
    router.says("Entering FAULT STATE")?;
    router.set("link set eth0 up")?;
    router.has(&VIRTUAL)
}

fn what_is_virtual_and_not_tracked_stays_away_in_ours() -> CaseResult {
    what_is_virtual_and_not_tracked_stays_away(Daemon::Ours)
}

fn what_is_virtual_and_not_tracked_stays_away_in_c() -> CaseResult {
    what_is_virtual_and_not_tracked_stays_away(Daemon::C)
}

/// `ip route replace` puts a route of another owner in the place of ours.
fn a_route_that_somebody_replaces_comes_back() -> CaseResult {
    let router = Router::with(Daemon::Ours, &with_instance("static_routes {\n 10.6.0.0/16 dev eth1\n}", LISTS))?;
    router.has(&VIRTUAL)?;
    router.set("route replace 10.6.0.0/16 via 198.18.1.7")?;
    router.says("Restoring deleted static route 10.6.0.0/16")?;
    router.has(&["\n10.6.0.0/16 dev eth1 proto keepalived"])?;
    router.set("route replace 10.1.0.0/16 via 198.18.1.7")?;
    router.says("putting back what was removed from outside")?;
    router.has(&["\n10.1.0.0/16 dev eth1 proto keepalived"])
}

fn main() -> ExitCode {
    harness::main(&[
        case("what_somebody_deletes_is_put_back_by_ours", what_somebody_deletes_is_put_back_by_ours),
        case("what_somebody_deletes_is_put_back_by_c", what_somebody_deletes_is_put_back_by_c),
        case("what_the_kernel_drops_is_put_back", what_the_kernel_drops_is_put_back),
        case("an_interface_that_returns_gets_its_own_from_ours", an_interface_that_returns_gets_its_own_from_ours),
        case("an_interface_that_returns_gets_its_own_from_c", an_interface_that_returns_gets_its_own_from_c),
        case("a_track_group_follows_its_interface_in_ours", a_track_group_follows_its_interface_in_ours),
        case("a_track_group_follows_its_interface_in_c", a_track_group_follows_its_interface_in_c),
        case("every_list_can_name_a_track_group", every_list_can_name_a_track_group),
        case("a_reload_changes_what_is_static_in_ours", a_reload_changes_what_is_static_in_ours),
        case("a_reload_changes_what_is_static_in_c", a_reload_changes_what_is_static_in_c),
        case(
            "what_is_static_outlives_a_worker_and_goes_with_the_daemon",
            what_is_static_outlives_a_worker_and_goes_with_the_daemon,
        ),
        case("a_new_worker_removes_what_is_no_longer_configured", a_new_worker_removes_what_is_no_longer_configured),
        case("a_route_of_others_with_the_same_key_stays", a_route_of_others_with_the_same_key_stays),
        case(
            "after_a_crash_a_route_of_others_with_the_same_key_stays",
            after_a_crash_a_route_of_others_with_the_same_key_stays,
        ),
        case("the_cleanup_command_removes_all_of_it", the_cleanup_command_removes_all_of_it),
        case("what_is_virtual_and_tracked_comes_back_in_ours", what_is_virtual_and_tracked_comes_back_in_ours),
        case("what_is_virtual_and_tracked_comes_back_in_c", what_is_virtual_and_tracked_comes_back_in_c),
        case("what_is_virtual_and_not_tracked_stays_away_in_ours", what_is_virtual_and_not_tracked_stays_away_in_ours),
        case("what_is_virtual_and_not_tracked_stays_away_in_c", what_is_virtual_and_not_tracked_stays_away_in_c),
        case("a_route_that_somebody_replaces_comes_back", a_route_that_somebody_replaces_comes_back),
    ])
}
