//! Whose the addresses are when processes die, freeze or crash again and again (`vrrp_vip_lease`, crash loops, kills between
//! any two steps).

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::net::IpAddr;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Process, Program};
use nix::sys::signal::{Signal, kill};
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: false };
const V3_IPV6: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: true };

const LEASE: &str = "vrrp_vip_lease 2";

fn log(process: &Process) -> String {
    process.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
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
    let killed = Instant::now();
    expect(pair.r1.host.holds(protocol.vip())?, "it is gone with the daemon already", &pair)?;
    pair.lab.wait_for_holders(protocol.vip(), &[], PATIENCE)?;
    expect(killed.elapsed() < Duration::from_secs(3), &format!("it took {:?}", killed.elapsed()), &pair)?;
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
    let frozen = Instant::now();
    pair.lab.wait_for_holders(V3.vip(), &[], PATIENCE)?;
    expect(frozen.elapsed() < Duration::from_secs(3), &format!("it took {:?}", frozen.elapsed()), &pair)?;
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
        let said = log(pair.r1.process());
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
    ]
}
