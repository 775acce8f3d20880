//! Whose the addresses are when processes die, freeze or crash again and again (`vrrp_vip_lease`, crash loops, kills between
//! any two steps).

#![expect(clippy::indexing_slicing, reason = "what JSON does not have is null")]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "support/node.rs"]
mod node;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Lab, Process, Program, Skip};
use nix::sys::signal::{Signal, kill};
use node::Node;
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: false };
const V3_IPV6: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: true };

const LEASE: &str = "vrrp_vip_lease 2";

/// Orders a death; only builds with debug assertions obey.
const KILL: &str = "KEEPALIVED_RS_TEST_KILL";

/// Whether the daemon of this build dies on order.
fn dies_on_order() -> CaseResult {
    if cfg!(debug_assertions) { Ok(()) } else { Err(Skip("a build without debug assertions".into()).into()) }
}

fn expect(condition: bool, what: &str, pair: &Pair) -> CaseResult {
    if condition { Ok(()) } else { Err(Stop::failed(format!("{what}\n{}", pair.logs()))) }
}

/// The configuration of `priority` with one more line in `global_defs`.
fn config(protocol: Protocol, priority: u8, global: &str) -> String {
    protocol.config(priority, "").replace("global_defs {", &format!("global_defs {{\n    {global}"))
}

/// Starts r1 on a file in a folder that all its processes see, so that it can be changed.
fn start(pair: &mut Pair, folder: &tempfile::TempDir, text: &str) -> CaseResult {
    let file = folder.path().join("keepalived.conf");
    std::fs::write(&file, text)?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlDG", "--vrrp", "-f"]).arg(&file);
    pair.r1.process = Some(pair.r1.host.spawn(program.arg("-p").arg(folder.path().join("pid")))?);
    Ok(())
}

fn reload(pair: &Pair, folder: &tempfile::TempDir, text: &str) -> CaseResult {
    std::fs::write(folder.path().join("keepalived.conf"), text)?;
    let mark = pair.r1.process().mark();
    pair.r1.process().signal(Signal::SIGHUP)?;
    pair.r1.process().wait_for_line_after(mark, "Reload complete", PATIENCE)?;
    Ok(())
}

fn ip(pair: &Pair, arguments: &[&str]) -> Result<String, Stop> {
    let output = pair.r1.host.run(|| Command::new("ip").args(arguments).output())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Looks again and again, for so long.
fn for_as_long_as(time: Duration, mut look: impl FnMut() -> CaseResult) -> CaseResult {
    let end = Instant::now() + time;
    wait_until("the time to pass", || {
        look()?;
        Ok(Instant::now() > end)
    })
}

/// After the last renewal of r1's addresses: until all of them are gone the kernel takes at most a second longer than for
/// an address of the same two seconds that nobody renews either, on the other host.
///
/// It looks for the end of addresses once a second at most, and when it can: that is what the control shows.
fn ends_as_a_lease_does(pair: &Pair, protocol: Protocol) -> CaseResult {
    let ended = Instant::now();
    let control: IpAddr = if protocol.ipv6 { "2001:db8:1::1" } else { "192.0.2.1" }.parse()?;
    let prefix = format!("{control}/{}", if protocol.ipv6 { 128 } else { 32 });
    let lifetime = ["valid_lft", "2", "preferred_lft", "2"];
    let status = pair
        .r2
        .host
        .run(|| Command::new("ip").args(["address", "add", &prefix, "dev", "eth0"]).args(lifetime).status())?;
    expect(status.success() && pair.r2.host.holds(control)?, "there is no control", pair)?;
    let gone = |holds: bool, at: &mut Option<Duration>| {
        if !holds && at.is_none() {
            *at = Some(ended.elapsed());
        }
        at.is_some()
    };
    let (mut leased, mut usual) = (None, None);
    wait_until("the addresses to go", || {
        let both =
            [gone(pair.r1.host.holds(protocol.vip())?, &mut leased), gone(pair.r2.host.holds(control)?, &mut usual)];
        Ok(both == [true; 2])
    })?;
    let late = leased > usual.map(|usual| usual + Duration::from_secs(1));
    expect(!late, &format!("it took {leased:?}, the control {usual:?}"), pair)
}

/// While the daemon lives nobody notices anything; two seconds after all of it was killed the kernel takes the addresses
/// away, and only those.
fn leased(protocol: Protocol, own: &str, route: &str) -> CaseResult {
    let mut pair = Pair::new(protocol, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir()?;
    start(&mut pair, &folder, &config(protocol, 150, LEASE))?;
    pair.wait_for_holder("r1")?;
    let announced = |pair: &Pair| {
        let lines = pair.r1.process().lines();
        lines
            .iter()
            .filter(|line| line.text.contains("Sending gratuitous") || line.text.contains("Sending unsol"))
            .count()
    };
    let mut quiet = (0, Instant::now());
    wait_until("the announcements to end", || {
        let count = announced(&pair);
        if count != quiet.0 {
            quiet = (count, Instant::now());
        }
        Ok(quiet.1.elapsed() > Duration::from_secs(6))
    })?;
    let lines = pair.r1.process().lines().len();
    let pinger = pair.ping()?;
    for_as_long_as(Duration::from_secs(7), || {
        expect(pair.r1.host.holds(protocol.vip())?, "the address is gone while the daemon lives", &pair)
    })?;
    expect(pinger.longest_gap().is_none(), "a ping was lost", &pair)?;
    expect(pair.r1.process().lines().len() == lines, "the daemon said something about renewals", &pair)?;
    drop(pinger);
    pair.r1.process().kill_all()?;
    expect(pair.r1.host.holds(protocol.vip())?, "it is gone with the daemon already", &pair)?;
    ends_as_a_lease_does(&pair, protocol)?;
    wait_until("the other addresses to go", || {
        let shown = ip(&pair, &["address", "show", "dev", "eth0"])?;
        Ok(!shown.contains("dynamic"))
    })?;
    expect(pair.r1.host.holds(own.parse()?)?, "the host's own address is gone", &pair)?;
    let routes = ip(&pair, &["-4", "route"])? + &ip(&pair, &["-6", "route"])?;
    expect(routes.lines().any(|line| line.starts_with(route)), &format!("{route} is gone:\n{routes}"), &pair)?;
    expect(!routes.contains("expires"), &format!("a route will go:\n{routes}"), &pair)
}

fn a_leased_address_goes_with_the_processes() -> CaseResult {
    leased(V3, "198.18.0.1", "198.18.0.0/24")
}

fn a_leased_ipv6_address_goes_with_the_processes() -> CaseResult {
    leased(V3_IPV6, "2001:db8::1", "2001:db8::/64")
}

/// The lease follows the file, in both families without a gap; what is not held in common stays as it is.
fn a_reload_turns_the_lease_on_and_off() -> CaseResult {
    for protocol in [V3, V3_IPV6] {
        let mut pair = Pair::new(protocol, Daemon::Ours, Daemon::Ours)?;
        let folder = tempfile::tempdir()?;
        start(&mut pair, &folder, &config(protocol, 150, ""))?;
        pair.wait_for_holder("r1")?;
        let pinger = pair.ping()?;
        let family = if protocol.ipv6 { "-6" } else { "-4" };
        let leased = || -> Result<usize, Stop> {
            Ok(ip(&pair, &[family, "address", "show", "dev", "eth0"])?.matches(" dynamic ").count())
        };
        // The addresses and the routes of the host, which must not get an end.
        let routes = || ip(&pair, &[family, "route", "show", "dev", "eth0", "table", "main"]);
        let before = routes()?;
        for (global, wanted) in [(LEASE, 3), ("vrrp_vip_lease 9", 3), ("", 0), (LEASE, 3)] {
            reload(&pair, &folder, &config(protocol, 150, global))?;
            wait_until(&format!("{wanted} leases with '{global}'"), || {
                let shown = ip(&pair, &[family, "address", "show", "dev", "eth0"])?;
                let lasts = global.rsplit(' ').next().unwrap_or_default();
                Ok(leased()? == wanted && (wanted == 0 || shown.contains(&format!("valid_lft {lasts}sec"))))
            })
            .map_err(|error| Stop::failed(format!("{error:?}\n{}", pair.logs())))?;
            expect(routes()? == before, &format!("routes were\n{before}and are\n{}", routes()?), &pair)?;
        }
        pair.r1.process().signal(Signal::SIGTERM)?;
        pair.r1.process().wait_for_exit(PATIENCE)?;
        expect(!pair.r1.host.holds(protocol.vip())?, "the address is still there", &pair)?;
        expect(routes()? == before, "routes changed", &pair)?;
        drop(pinger);
    }
    Ok(())
}

/// A worker that is replaced finds its addresses in time.
fn a_leased_address_stays_when_the_worker_is_killed() -> CaseResult {
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir()?;
    start(&mut pair, &folder, &config(V3, 150, LEASE))?;
    pair.wait_for_holder("r1")?;
    let pinger = pair.ping()?;
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    pair.r1.process().wait_for_line("continuing as MASTER", PATIENCE)?;
    for_as_long_as(Duration::from_secs(5), || expect(pair.r1.host.holds(V3.vip())?, "the address is gone", &pair))?;
    expect(pinger.longest_gap().is_none(), "a ping was lost", &pair)
}

/// A freeze of all processes ends the lease; the thawed daemon notices and puts the addresses back.
fn a_frozen_daemon_loses_its_leased_addresses() -> CaseResult {
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir()?;
    start(&mut pair, &folder, &config(V3, 150, LEASE))?;
    pair.wait_for_holder("r1")?;
    pair.r1.process().freeze_all()?;
    ends_as_a_lease_does(&pair, V3)?;
    pair.r1.process().thaw_all()?;
    pair.wait_for_holder("r1")
}

/// Each with its place or instance, the cause, and what to do.
fn a_lease_that_would_do_harm_is_refused() -> CaseResult {
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir()?;
    let refused = |pair: &mut Pair, text: &str, words: &[&str]| -> CaseResult {
        start(pair, &folder, text)?;
        let status = pair.r1.process().wait_for_exit(PATIENCE)?;
        expect(!status.success(), "it started", pair)?;
        let said = node::log(pair.r1.process());
        let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
        expect(missing.is_empty(), &format!("{missing:?} was not said"), pair)
    };
    let slow = config(V3, 150, LEASE).replace("advert_int 0.2", "advert_int 1");
    let words = ["keepalived.conf:2", "vrrp_vip_lease of 2 s is too short for instance VI_1", "write 5 or more"];
    refused(&mut pair, &slow, &words)?;
    // Not in the network of the host's own address.
    let alone = config(V3, 150, LEASE).replace("198.18.0.100/24", "192.0.2.100/24");
    let words = ["(VI_1)", "192.0.2.100/24 would be the primary address", "promote_secondaries"];
    refused(&mut pair, &alone, &words)?;
    pair.r1.host.set_sysctl("net/ipv4/conf/eth0/promote_secondaries", "1")?;
    start(&mut pair, &folder, &alone)?;
    pair.lab.wait_for_holders("192.0.2.100".parse::<IpAddr>()?, &["r1"], PATIENCE)?;
    Ok(())
}

/// The timers of a router that runs are counted, and whoever may ask is told.
fn the_lateness_of_adverts_can_be_asked_for() -> CaseResult {
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir()?;
    start(&mut pair, &folder, &V3.config(150, ""))?;
    pair.wait_for_holder("r1")?;
    let pid = folder.path().join("pid");
    let ask = |words: &[&str]| -> Result<String, Stop> {
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).arg("lateness").arg("-p").arg(&pid).args(words);
        let command = pair.r1.host.spawn(program)?;
        let code = command.wait_for_exit(PATIENCE)?.code();
        expect(code == Some(0), &node::log(&command), &pair)?;
        Ok(node::log(&command))
    };
    wait_until("timers that are counted", || Ok(ask(&[])?.contains("timers fired, 50 % at most")))?;
    let count = |text: String| text.lines().find_map(|line| line.split_once("_seconds_count ")?.1.parse::<u64>().ok());
    let mut before = None;
    // What a command wrote is read by a thread, which may come after its end.
    wait_until("a count of timers", || {
        before = count(ask(&["--prometheus"])?);
        Ok(before.is_some_and(|before| before > 0))
    })?;
    wait_until("more timers", || Ok(count(ask(&["--prometheus"])?) > before))
}

/// A reload with the same file sends none; the command sends one for each address that is held, and says so.
fn announce_sends_what_is_held_once_more() -> CaseResult {
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir()?;
    let text = V3.config(150, "garp_master_delay 0\n garp_master_repeat 2");
    let idle = "vrrp_instance IDLE {\n interface eth0\n virtual_router_id 52\n priority 10\n version 3\n \
        advert_int 40\n virtual_ipaddress {\n 198.18.0.200/24\n }\n}\n";
    let wire = pair.client.capture("eth0")?;
    let announced = || wire.frames().iter().filter(|frame| frame.gratuitous_arp().is_some()).count();
    start(&mut pair, &folder, &(text.clone() + idle))?;
    pair.wait_for_holder("r1")?;
    wait_until("three announced twice", || Ok(announced() >= 6))?;
    reload(&pair, &folder, &(text + idle))?;
    let ask = |words: &[&str], status: i32, said: &str| -> CaseResult {
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).arg("announce").args(words);
        let command = pair.r1.host.spawn(program)?;
        let code = command.wait_for_exit(PATIENCE)?.code();
        let heard = command.wait_for_line(said, PATIENCE).is_ok();
        let lines = node::log(&command);
        expect(heard && code == Some(status), &format!("{words:?} gave {code:?} and said\n{lines}"), &pair)
    };
    let pid = folder.path().join("pid");
    let pid = pid.to_str().unwrap_or_default();
    ask(&["-p", pid, "VI_9"], 2, "there is no instance VI_9, but VI_1, IDLE")?;
    ask(&["-p", pid, "IDLE"], 1, "(IDLE) is not master")?;
    expect(announced() == 6, &format!("{} announcements before one was asked for", announced()), &pair)?;
    ask(&["-p", pid], 0, "eth0: 3 addresses")?;
    wait_until("three more announced twice", || Ok(announced() >= 12))?;
    ask(&["-p", pid, "VI_1"], 0, "eth0: 3 addresses")?;
    wait_until("and once more", || Ok(announced() >= 18))?;
    expect(announced() == 18, "too many announcements", &pair)?;
    ask(&["-p", "/nowhere/pid"], 2, "no daemon with the pid file /nowhere/pid runs VRRP")?;
    // The worker that follows is asked at the same place.
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    ask(&["-p", pid], 0, "eth0: 3 addresses")?;
    let socket = folder.path().join("pid.vrrp.sock");
    expect(socket.metadata()?.permissions().mode() & 0o777 == 0o600, "everybody may ask", &pair)?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    expect(!socket.exists(), "the socket is still there", &pair)?;
    ask(&["-p", pid], 2, "no daemon")
}

/// Each packet of a stranger kills the worker: the peer takes over once and stays master while it lasts, and what was
/// before comes back when it is over.
fn a_poison_packet_hands_the_addresses_to_the_peer() -> CaseResult {
    dies_on_order()?;
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    let program = Daemon::Ours.program(&V3.config(150, ""))?;
    pair.r1.process = Some(pair.r1.host.spawn(program.env(KILL, "packet 66"))?);
    pair.r2.start(V3, "")?;
    pair.wait_for_holder("r1")?;
    let pinger = pair.ping()?;
    let masters = |router: &support::Router| {
        router.process().lines().iter().filter(|line| line.text.contains("Entering MASTER STATE")).count()
    };
    let before = [masters(&pair.r1), masters(&pair.r2)];
    let poison = || -> CaseResult {
        pair.client.run(|| -> CaseResult {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(112.into()))?;
            socket.set_multicast_if_v4(&Ipv4Addr::new(198, 18, 0, 9))?;
            let group = socket2::SockAddr::from(SocketAddrV4::new([224, 0, 0, 18].into(), 0));
            socket.send_to(&[0x31, 51, 66, 1, 0, 20, 0xde, 0xad, 198, 18, 0, 100], &group)?;
            Ok(())
        })
    };
    let by_peer =
        |pair: &Pair| -> Result<bool, Stop> { Ok(pair.r2.host.holds(V3.vip())? && !pair.r1.host.holds(V3.vip())?) };
    wait_until("the peer to hold the addresses alone", || {
        poison()?;
        by_peer(&pair)
    })
    .map_err(|_| Stop::failed(pair.logs()))?;
    pair.lost_at_most(&pinger, V3.skew(90), "the hand-over")?;
    let delays = ["delayed 0 seconds", "delayed 1 seconds", "delayed 2 seconds", "delayed 4 seconds"];
    wait_until("longer and longer delays", || {
        poison()?;
        expect(by_peer(&pair)?, "the addresses moved", &pair)?;
        let lines = pair.r1.process().lines();
        Ok(delays.iter().all(|delay| lines.iter().any(|line| line.text.contains(delay))))
    })
    .map_err(|_| Stop::failed(pair.logs()))?;
    let after = [masters(&pair.r1), masters(&pair.r2)];
    expect(after == [before[0], before[1] + 1], &format!("it flapped: {before:?}, then {after:?}"), &pair)?;
    pair.wait_for_holder("r1")?;
    pair.lost_at_most(&pinger, V3.skew(90), "the return")
}

/// A worker that dies at each start, before it has done anything.
fn a_crash_at_each_start_leaves_the_peer_alone() -> CaseResult {
    dies_on_order()?;
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    pair.r2.start(V3, "")?;
    pair.wait_for_holder("r2")?;
    let pinger = pair.ping()?;
    let program = Daemon::Ours.program(&V3.config(150, ""))?;
    pair.r1.process = Some(pair.r1.host.spawn(program.env(KILL, "worker 1"))?);
    pair.r1.process().wait_for_line("delayed 4 seconds", PATIENCE)?;
    let lines = pair.r2.process().lines();
    let moves = lines.iter().filter(|line| line.text.contains(" STATE") && !line.text.contains("init")).count();
    expect(moves == 1 && pair.r2.host.holds(V3.vip())?, &format!("{moves} states of the peer"), &pair)?;
    expect(!pair.r1.host.holds(V3.vip())?, "it holds the address", &pair)?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    expect(pinger.longest_gap().is_none(), "a ping was lost", &pair)
}

/// What may be left on a host.
type Everything = (BTreeSet<String>, BTreeMap<String, String>, String);

fn everything(node: &Node) -> Result<Everything, Stop> {
    let mut routes = String::new();
    for family in ["-4", "-6"] {
        routes += &node.ip(&[family, "route", "show", "table", "all"])?;
        routes += &node.ip(&[family, "rule"])?;
    }
    let tables = node.host.run(|| {
        let names: Vec<_> = vip_netlink::nft::Firewall::names("keepalived").into_iter().collect();
        vip_netlink::NftSocket::open()?.present(&names)
    });
    let tables = tables.map_err(|error| Stop::failed(error.to_string()))?;
    Ok((node.links()?, node.settings()?, format!("{routes}{tables:?}")))
}

/// So many daemons run beside each other.
const AT_ONCE: u64 = 4;

/// Runs daemons from the start to the stop, each of which dies at another step, until none dies any more; after each, the
/// host is as it was and no file stays. `withdraw` does what a person does after that death.
fn killed_at_each_step(kind: &str, withdraw: impl Fn(&Node, &str) -> CaseResult) -> CaseResult {
    dies_on_order()?;
    let lab = Lab::new()?;
    let nodes = (0..AT_ONCE).map(|number| Node::new(&lab, &format!("n{number}"))).collect::<Result<Vec<_>, _>>()?;
    let first = "use_vmac\n no_accept\n virtual_ipaddress {\n 198.18.0.100/24\n }\n virtual_ipaddress_excluded {\n \
        2001:db8:0::100/64\n }\n virtual_routes {\n 203.0.113.0/24 dev eth1 table 77\n }\n virtual_rules {\n \
        from 198.18.0.100 table 77 preference 700\n }";
    let second = "virtual_ipaddress {\n 198.18.1.100/24 label eth1:v\n }";
    let config = node::instance("A", 51, "eth0", first) + &node::instance("B", 52, "eth1", second);
    let before: Vec<_> = nodes.iter().map(everything).collect::<Result<_, _>>()?;
    let mut killed = 0;
    for step in (1..).step_by(usize::try_from(AT_ONCE)?) {
        let start = |(node, step): (&Node, u64)| -> Result<Process, Stop> {
            let program = Daemon::Ours.program(&config)?.arg("-p").arg(node.folder.path().join("pid"));
            Ok(node.host.spawn(program.env(KILL, format!("{kind} {step}")))?)
        };
        let daemons: Vec<_> = nodes.iter().zip(step..).map(start).collect::<Result<_, _>>()?;
        let mut unharmed = 0;
        for ((node, daemon), before) in nodes.iter().zip(&daemons).zip(&before) {
            let said = |what: &str| Stop::failed(format!("from step {step}: {what}\n{}", node::log(daemon)));
            let count = |text: &str| daemon.lines().iter().filter(|line| line.text.contains(text)).count();
            let is_dead = || daemon.processes().is_ok_and(|processes| processes.is_empty());
            wait_until("it to be master or dead", || {
                let all = ["198.18.0.100", "198.18.1.100"].map(|ip| ip.parse().map(|ip: IpAddr| node.host.holds(ip)));
                let holds = all.into_iter().all(|held| matches!(held, Ok(Ok(true))));
                Ok(is_dead() || holds && count("Startup complete") > 0)
            })
            .map_err(|_| said("neither master nor dead"))?;
            if !is_dead() {
                // One that dies meanwhile hears nothing; one that does not, and ought to, shows below.
                let _ = daemon.signal(Signal::SIGTERM);
            }
            if !daemon.wait_for_exit(PATIENCE)?.success() {
                wait_until("the other processes to end", || Ok(is_dead()))?;
                withdraw(node, &config)?;
                killed += 1;
            } else if count("Stopped - used") > 0 && count("died: Respawning") == 0 {
                unharmed += 1;
            } else {
                killed += 1;
            }
            let mut after = everything(node)?;
            // A link that is gone takes its routes along a little later.
            let _ = wait_until("the rest to go", || {
                after = everything(node)?;
                Ok(after == *before)
            });
            if after != *before {
                return Err(said(&format!("before\n{before:#?}\nafter\n{after:#?}")));
            }
            let files = std::fs::read_dir(node.folder.path())?.map(|it| Ok(it?.file_name()));
            let files = files.collect::<Result<Vec<_>, Stop>>()?;
            if !files.is_empty() {
                return Err(said(&format!("files stay: {files:?}")));
            }
        }
        if unharmed == AT_ONCE {
            break;
        }
    }
    // Start, take-over and stop of two instances have more steps than this.
    if killed < 20 { Err(Stop::failed(format!("only {killed} were killed"))) } else { Ok(()) }
}

fn clean_up(node: &Node, config: &str) -> CaseResult {
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["cleanup", "-f", "/run/keepalived.conf"]);
    let program = program.file("/run/keepalived.conf", config).arg("-p").arg(node.folder.path().join("pid"));
    let cleanup = node.host.spawn(program)?;
    if cleanup.wait_for_exit(PATIENCE)?.success() {
        return Ok(());
    }
    Err(Stop::failed(format!("cleanup failed: {}", node::log(&cleanup))))
}

/// All processes at once: `cleanup` takes back all that they did.
fn a_kill_between_any_two_steps_leaves_nothing_after_cleanup() -> CaseResult {
    killed_at_each_step("all", clean_up)
}

/// The worker alone: its successor goes on, or the clean-up of a stop takes all back.
fn a_worker_killed_between_any_two_steps_is_made_up_for() -> CaseResult {
    let nothing = |_: &Node, _: &str| Err(Stop::failed("the daemon did not end well".to_owned()));
    killed_at_each_step("first", nothing)
}

/// Worker and clean-up die when they are to withdraw everything.
fn a_stop_says_what_is_left() -> CaseResult {
    dies_on_order()?;
    let lab = Lab::new()?;
    let node = Node::new(&lab, "r1")?;
    let config = node::instance("A", 51, "eth0", "use_vmac\n virtual_ipaddress {\n 198.18.0.100/24\n }");
    let program = Daemon::Ours.program(&config)?.arg("-p").arg(node.folder.path().join("pid"));
    let daemon = node.host.spawn(program.env(KILL, "stop 0"))?;
    lab.wait_for_holders("198.18.0.100".parse()?, &["r1"], PATIENCE)?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.wait_for_exit(PATIENCE)?;
    let said = daemon.wait_for_line("Left on this host: 198.18.0.100/24 dev vrrp.51", PATIENCE)?;
    let whole = said.text.contains("link vrrp.51") && said.text.contains("keepalived-rs cleanup");
    if !whole || !node.host.holds("198.18.0.100".parse()?)? {
        return Err(Stop::failed(node::log(&daemon)));
    }
    clean_up(&node, &config)?;
    lab.wait_for_holders("198.18.0.100".parse()?, &[], PATIENCE)?;
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! cases {
        ($($name:ident),+ $(,)?) => { harness::main(&[$(case(stringify!($name), $name)),+]) };
    }
    cases![
        a_leased_address_goes_with_the_processes,
        a_leased_ipv6_address_goes_with_the_processes,
        a_reload_turns_the_lease_on_and_off,
        a_leased_address_stays_when_the_worker_is_killed,
        a_frozen_daemon_loses_its_leased_addresses,
        a_lease_that_would_do_harm_is_refused,
        announce_sends_what_is_held_once_more,
        the_lateness_of_adverts_can_be_asked_for,
        a_poison_packet_hands_the_addresses_to_the_peer,
        a_crash_at_each_start_leaves_the_peer_alone,
        a_kill_between_any_two_steps_leaves_nothing_after_cleanup,
        a_worker_killed_between_any_two_steps_is_made_up_for,
        a_stop_says_what_is_left,
    ]
}
