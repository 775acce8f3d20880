//! Sync groups: two instances on two links that move together. With keepalived-rs on both sides, and with Debian's
//! keepalived on either side.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Process, Program};
use nix::sys::signal::{Signal, kill};
use support::{Daemon, PATIENCE, Protocol, wait_until};

const FAST: Protocol = Protocol { version: 3, interval: Duration::from_millis(100), ipv6: false };

/// Where a test is about who moves and not how quickly: a busy machine may need longer than [`FAST`] gives it.
const SLOW: Protocol = Protocol { interval: Duration::from_secs(1), ..FAST };

/// The links, of which the third carries no instance.
const LINKS: [&str; 3] = ["eth0", "eth1", "eth2"];

/// The address of each instance.
const VIPS: [[u8; 4]; 2] = [[198, 18, 0, 100], [198, 18, 1, 100]];

const GROUP: &str = "vrrp_sync_group G {\n group {\n A\n B\n }\n";

struct Router {
    host: Host,
    daemon: Daemon,
    priority: u8,
    process: Option<Process>,
    folder: tempfile::TempDir,
}

impl Router {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Two instances; `instance` lines go into each of them, `after` follows.
    fn write(&self, instance: &str, after: &str) -> CaseResult {
        let mut text = "global_defs {\n router_id test\n}\n".to_owned();
        for (vrid, ((name, link), vip)) in (51..).zip(["A", "B"].into_iter().zip(LINKS).zip(VIPS)) {
            text += &format!(
                "vrrp_instance {name} {{\n state BACKUP\n interface {link}\n virtual_router_id {vrid}\n priority {}\n \
                 version 3\n advert_int 0.1\n {instance}\n virtual_ipaddress {{\n {}/24\n }}\n}}\n",
                self.priority,
                IpAddr::from(vip),
            );
        }
        Ok(std::fs::write(self.path("keepalived.conf"), text + after)?)
    }

    fn start(&mut self, instance: &str, after: &str) -> CaseResult {
        self.write(instance, after)?;
        let program = self.daemon.program("")?.args(["-f".into(), self.path("keepalived.conf")]);
        self.process = Some(self.host.spawn(program)?);
        Ok(())
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the daemon was started")
    }

    /// A script that writes down what it is told, and where.
    fn witness(&self) -> Result<(String, PathBuf), Stop> {
        let (script, witness) = (self.path("notify.sh"), self.path("told"));
        std::fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", witness.display()))?;
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
        Ok((script.display().to_string(), witness))
    }

    fn worker(&self) -> nix::unistd::Pid {
        const WORDS: &str = "Starting VRRP child process, pid=";
        let lines = self.process().lines();
        let newest = lines.iter().rev().find_map(|line| line.text.split_once(WORDS));
        let (_, pid) = newest.expect("a daemon that runs has started its worker");
        nix::unistd::Pid::from_raw(pid.trim().parse().expect("a pid"))
    }
}

/// Two routers on three links; r1 is the better one.
struct Net {
    lab: Lab,
    _lans: Vec<Bridge>,
    r1: Router,
    r2: Router,
}

impl Net {
    fn new(first: Daemon, second: Daemon) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lans = ["br0", "br1", "br2"].map(|name| lab.bridge(name)).into_iter().collect::<Result<Vec<_>, _>>()?;
        let router = |name, number: u8, daemon, priority| -> Result<Router, Stop> {
            let host = lab.host(name)?;
            for (link, (interface, lan)) in LINKS.into_iter().zip(&lans).enumerate() {
                lab.connect(&host, interface, lan)?;
                host.address(interface, &format!("198.18.{link}.{number}/24"))?;
            }
            Ok(Router { host, daemon, priority, process: None, folder: tempfile::tempdir()? })
        };
        let (r1, r2) = (router("r1", 1, first, 150)?, router("r2", 2, second, 90)?);
        Ok(Self { lab, _lans: lans, r1, r2 })
    }

    fn started(first: Daemon, second: Daemon, instance: &str, after: &str) -> Result<Self, Stop> {
        let mut net = Self::new(first, second)?;
        net.r1.start(instance, after)?;
        net.r2.start(instance, after)?;
        net.wait_for_holders(["r1", "r1"])?;
        Ok(net)
    }

    /// Waits until each address is where it should be and nowhere else.
    fn wait_for_holders(&self, names: [&str; 2]) -> CaseResult {
        for (vip, name) in VIPS.into_iter().zip(names) {
            let waited = self.lab.wait_for_holders(vip.into(), &[name], PATIENCE);
            waited.map_err(|error| Stop::failed(format!("{error}\n{}", self.logs())))?;
        }
        Ok(())
    }

    fn wait_for_line(&self, router: &Router, text: &str) -> CaseResult {
        let waited = router.process().wait_for_line(text, PATIENCE);
        waited.map(drop).map_err(|error| Stop::failed(format!("{error}\n{}", self.logs())))
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for router in [&self.r1, &self.r2] {
            text += &format!("--- {} ({:?})\n", router.host.name(), router.daemon);
            for line in router.process.iter().flat_map(Process::lines) {
                text += &format!("{}\n", line.text);
            }
        }
        text
    }
}

/// One link of two fails, the other instance goes along, and both come back.
fn a_group_moves_together(first: Daemon, second: Daemon) -> CaseResult {
    let net = Net::started(first, second, "", &format!("{GROUP}}}\n"))?;
    net.wait_for_line(&net.r1, "VRRP_Group(G) Syncing instances to MASTER state")?;
    for link in ["eth1", "eth0"] {
        net.r1.host.cut(link)?;
        net.wait_for_holders(["r2", "r2"])?;
        net.wait_for_line(&net.r1, "VRRP_Group(G) Syncing instances to FAULT state")?;
        net.r1.host.mend(link)?;
        net.wait_for_holders(["r1", "r1"])?;
    }
    net.wait_for_line(&net.r2, "VRRP_Group(G) Syncing instances to BACKUP state")
}

fn the_scripts_of_a_group_hear_its_states() -> CaseResult {
    let mut net = Net::new(Daemon::Ours, Daemon::Ours)?;
    let (script, witness) = net.r1.witness()?;
    let scripts = ["", "_master", "_backup", "_fault", "_stop"];
    let scripts = scripts.map(|kind| format!(" notify{kind} \"{script} {kind}\"\n")).concat();
    net.r1.start(&format!("notify {script}"), &format!("{GROUP}{scripts}}}\n"))?;
    let told = || std::fs::read_to_string(&witness).unwrap_or_default();
    let hears = |words: &str| {
        let heard = wait_until(words, || Ok(told().lines().any(|line| line.trim() == words)));
        heard.map_err(|error| Stop::failed(format!("{error:?}\n{}", told())))
    };
    net.wait_for_holders(["r1", "r1"])?;
    for words in ["GROUP G BACKUP 0", "_backup", "INSTANCE B MASTER 150", "_master", "GROUP G MASTER 0"] {
        hears(words)?;
    }
    net.r1.host.cut("eth0")?;
    for words in ["INSTANCE B FAULT 150", "_fault", "GROUP G FAULT 0"] {
        hears(words)?;
    }
    if told().matches("GROUP G MASTER").count() != 1 {
        return Err(Stop::failed(format!("the group became MASTER once\n{}", told())));
    }
    net.r1.process().signal(Signal::SIGTERM)?;
    net.r1.process().wait_for_exit(PATIENCE)?;
    hears("_stop")?;
    hears("GROUP G STOP 0")
}

/// No member moves, nobody is told anything, and the group holds still.
fn a_worker_with_a_group_is_replaced() -> CaseResult {
    let mut net = Net::new(Daemon::Ours, Daemon::Ours)?;
    let (script, witness) = net.r1.witness()?;
    let interval = format!("advert_int {}", SLOW.interval.as_secs());
    net.r1.start(&interval, &format!("{GROUP} notify {script}\n}}\n"))?;
    net.wait_for_holders(["r1", "r1"])?;
    net.r2.start(&interval, &format!("{GROUP}}}\n"))?;
    net.wait_for_line(&net.r2, "(B) Entering BACKUP STATE")?;
    let told = || std::fs::read_to_string(&witness).unwrap_or_default();
    wait_until("the script", || Ok(told().contains("GROUP G MASTER 0")))?;
    let before = told();
    kill(net.r1.worker(), Signal::SIGKILL)?;
    for name in ["A", "B"] {
        net.wait_for_line(&net.r1, &format!("({name}) continuing as MASTER"))?;
    }
    let over = Instant::now() + SLOW.active_down(net.r2.priority) * 2;
    wait_until("the peer's patience to end", || Ok(Instant::now() > over))?;
    if net.r2.process().lines().iter().any(|line| line.text.contains("MASTER STATE")) || told() != before {
        return Err(Stop::failed(format!("something moved: {}\n{}", told(), net.logs())));
    }
    net.r1.host.cut("eth1")?;
    net.wait_for_holders(["r2", "r2"])?;
    wait_until("the script", || Ok(told().contains("GROUP G FAULT 0")))
}

/// With the group the instances stay together, without it each goes its way.
fn a_reload_makes_and_ends_a_group() -> CaseResult {
    let net = Net::started(Daemon::Ours, Daemon::Ours, "", "")?;
    let reload = |after: &str| -> CaseResult {
        for router in [&net.r1, &net.r2] {
            router.write("", after)?;
            let mark = router.process().mark();
            router.process().signal(Signal::SIGHUP)?;
            router.process().wait_for_line_after(mark, "Reload complete", PATIENCE)?;
        }
        Ok(())
    };
    reload(&format!("{GROUP}}}\n"))?;
    net.wait_for_holders(["r1", "r1"])?;
    net.r1.host.cut("eth1")?;
    net.wait_for_holders(["r2", "r2"])?;
    reload("")?;
    net.wait_for_holders(["r1", "r2"])?;
    net.r1.host.mend("eth1")?;
    net.wait_for_holders(["r1", "r1"])
}

/// A link that the group tracks with a weight moves every member.
fn a_group_tracks_a_link_for_its_members() -> CaseResult {
    let tracking = "track_interface {\n eth2 weight -100\n }\n";
    let net = Net::started(Daemon::Ours, Daemon::Ours, "", &format!("{GROUP} {tracking}}}\n"))?;
    net.r1.host.cut("eth2")?;
    net.wait_for_holders(["r2", "r2"])?;
    for name in ["A", "B"] {
        net.wait_for_line(&net.r1, &format!("({name}) Changing effective priority from 150 to 50"))?;
    }
    net.r1.host.mend("eth2")?;
    net.wait_for_holders(["r1", "r1"])
}

/// What the runner watches for a group moves every member, or is a fault of each; whether the weights of the members'
/// own trackers count makes no difference to that.
fn a_group_tracks_a_script_and_a_file_for_its_members() -> CaseResult {
    for weights in ["", "sync_group_tracking_weight\n"] {
        let mut net = Net::new(Daemon::Ours, Daemon::Ours)?;
        let (script, load) = (net.r1.path("chk.sh"), net.r1.path("load"));
        std::fs::write(&script, format!("#!/bin/sh\ntest -e {}\n", net.r1.path("good").display()))?;
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
        std::fs::write(net.r1.path("good"), "")?;
        let trackers = format!(
            "vrrp_script chk {{\n script {}\n interval 0.1\n }}\n track_file load {{\n file {}\n init_file 0\n }}\n",
            script.display(),
            load.display()
        );
        let tracking = " track_script {\n chk weight -10\n }\n track_file {\n load weight 2\n }\n";
        net.r1.start("", &format!("{trackers}{GROUP}{tracking}{weights}}}\n"))?;
        net.r2.start("", &format!("{GROUP}}}\n"))?;
        net.wait_for_holders(["r1", "r1"])?;
        let moves = |change: &str| {
            let line = |name| format!("({name}) Changing effective priority from {change}");
            ["A", "B"].into_iter().try_for_each(|name| net.wait_for_line(&net.r1, &line(name)))
        };
        std::fs::remove_file(net.r1.path("good"))?;
        moves("150 to 140")?;
        std::fs::write(&load, "-30")?;
        moves("140 to 80")?;
        net.wait_for_holders(["r2", "r2"])?;
        std::fs::write(net.r1.path("good"), "")?;
        moves("80 to 90")?;
        std::fs::write(&load, "-127")?;
        net.wait_for_line(&net.r1, "(A): tracked file load now FAULT state")?;
        std::fs::write(&load, "0")?;
        net.wait_for_holders(["r1", "r1"])?;
    }
    Ok(())
}

/// A process that a group tracks moves every member. The kernel tells nothing of processes to a namespace: they are looked
/// for.
fn a_group_tracks_processes_for_its_members() -> CaseResult {
    let mut net = Net::new(Daemon::Ours, Daemon::Ours)?;
    // A number that no other sleeper has.
    let seconds = format!("{}", 200_000 + std::process::id());
    let block = format!("vrrp_track_process nap {{\n process sleep {seconds}\n weight -100\n}}\n");
    let sleeper = net.r1.host.spawn(Program::new("sleep").arg(&seconds))?;
    net.r1.start("", &format!("{block}{GROUP} track_process {{\n nap weight -70\n }}\n}}\n"))?;
    net.r2.start("", &format!("{GROUP}}}\n"))?;
    net.wait_for_line(&net.r1, "tracked processes are looked for every second instead")?;
    net.wait_for_holders(["r1", "r1"])?;
    drop(sleeper);
    for name in ["A", "B"] {
        net.wait_for_line(&net.r1, &format!("({name}) Changing effective priority from 150 to 80"))?;
    }
    net.wait_for_holders(["r2", "r2"])?;
    let _sleeper = net.r1.host.spawn(Program::new("sleep").arg(&seconds))?;
    net.wait_for_holders(["r1", "r1"])
}

/// A member's own weight counts only if the group says so; else the link that fails is a fault.
fn the_weights_of_members_count_where_the_group_says_so() -> CaseResult {
    let tracking = "track_interface {\n eth2 weight -20\n }\n";
    let net = Net::started(Daemon::Ours, Daemon::Ours, tracking, &format!("{GROUP}}}\n"))?;
    net.r1.host.cut("eth2")?;
    net.wait_for_line(&net.r1, "(A) Entering FAULT STATE")?;
    let net = Net::started(Daemon::Ours, Daemon::Ours, tracking, &format!("{GROUP} sync_group_tracking_weight\n}}\n"))?;
    net.r1.host.cut("eth2")?;
    for name in ["A", "B"] {
        net.wait_for_line(&net.r1, &format!("({name}) Changing effective priority from 150 to 130"))?;
    }
    net.wait_for_holders(["r1", "r1"])
}

fn ours_and_ours() -> CaseResult {
    a_group_moves_together(Daemon::Ours, Daemon::Ours)
}

fn ours_and_c() -> CaseResult {
    a_group_moves_together(Daemon::Ours, Daemon::C)
}

fn c_and_ours() -> CaseResult {
    a_group_moves_together(Daemon::C, Daemon::Ours)
}

fn main() -> ExitCode {
    harness::main(&[
        case("ours_and_ours", ours_and_ours),
        case("ours_and_c", ours_and_c),
        case("c_and_ours", c_and_ours),
        case("the_scripts_of_a_group_hear_its_states", the_scripts_of_a_group_hear_its_states),
        case("a_worker_with_a_group_is_replaced", a_worker_with_a_group_is_replaced),
        case("a_reload_makes_and_ends_a_group", a_reload_makes_and_ends_a_group),
        case("a_group_tracks_a_link_for_its_members", a_group_tracks_a_link_for_its_members),
        case("a_group_tracks_a_script_and_a_file_for_its_members", a_group_tracks_a_script_and_a_file_for_its_members),
        case("a_group_tracks_processes_for_its_members", a_group_tracks_processes_for_its_members),
        case(
            "the_weights_of_members_count_where_the_group_says_so",
            the_weights_of_members_count_where_the_group_says_so,
        ),
    ])
}
