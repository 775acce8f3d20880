//! What the VRRP worker does about events on its host: addresses and links that come and go, a reload, unicast, a worker
//! that dies between two fast adverts.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use nix::sys::signal::{Signal, kill};
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};
use vip_netlink::{Change, LinkName, LinkRef, RouteSocket};

const FAST: Protocol = Protocol { version: 3, interval: Duration::from_millis(100), ipv6: false };
const FAST_IPV6: Protocol = Protocol { version: 3, interval: Duration::from_millis(100), ipv6: true };

/// Where the test is not about time: a busy machine may need longer for an advert, or a new worker, than [`FAST`] gives it.
const SLOWER: Protocol = Protocol { interval: Duration::from_millis(500), ..FAST };

/// An address on a link of its own.
const ASIDE: &str = "virtual_ipaddress_excluded {\n 198.18.9.9/32 dev aside0\n }";

fn pair(protocol: Protocol, extra: [&str; 2]) -> Result<Pair, Stop> {
    let mut pair = Pair::new(protocol, Daemon::Ours, Daemon::Ours)?;
    if extra[0] == ASIDE {
        add_aside(&pair)?;
    }
    pair.r1.start(protocol, extra[0])?;
    pair.r2.start(protocol, extra[1])?;
    pair.wait_for_holder("r1")?;
    Ok(pair)
}

/// Takes the virtual address away as a careless administrator would.
fn remove_vip(pair: &Pair) -> CaseResult {
    let vip = pair.protocol.vip();
    let address = pair.r1.host.addresses()?.into_iter().find(|address| address.ip == vip);
    let address = address.ok_or_else(|| Stop::failed("the address is not there"))?;
    let applied =
        pair.r1.host.run(|| RouteSocket::open().map(|mut route| route.apply(&[Change::RemoveAddress(address)])));
    match applied {
        Ok(applied) if applied.refused.is_empty() => Ok(()),
        other => Err(Stop::failed(format!("{other:?}"))),
    }
}

fn change_links(pair: &Pair, changes: &[Change]) -> CaseResult {
    match pair.r1.host.run(|| RouteSocket::open().map(|mut route| route.apply(changes))) {
        Ok(applied) if applied.refused.is_empty() => Ok(()),
        other => Err(Stop::failed(format!("{other:?}"))),
    }
}

fn aside() -> LinkName {
    LinkName::try_from("aside0").expect("a name")
}

fn add_aside(pair: &Pair) -> CaseResult {
    change_links(pair, &[Change::AddBridge { name: aside() }, Change::SetLinkUp(LinkRef::Name(aside()))])
}

fn remove_aside(pair: &Pair) -> CaseResult {
    change_links(pair, &[Change::DelLink(LinkRef::Name(aside()))])
}

fn said(pair: &Pair, text: &str) -> usize {
    pair.r1.process().lines().iter().filter(|line| line.text.contains(text)).count()
}

/// Whether the second router did, after its first lines.
fn took_over(pair: &Pair, first: usize) -> bool {
    pair.r2.process().lines().iter().skip(first).any(|line| line.text.contains("MASTER STATE"))
}

/// Three times in ten seconds it is put back at once; then the router does as keepalived does.
fn an_address_removed_by_hand_comes_back() -> CaseResult {
    let pair = pair(FAST, ["", ""])?;
    for time in 1..=3 {
        remove_vip(&pair)?;
        wait_until("the loss to be seen", || {
            Ok(said(&pair, "Netlink reflector reports IP 198.18.0.100 removed") == time)
        })?;
        wait_until("the address", || Ok(pair.r1.host.holds(FAST.vip())?))?;
    }
    if said(&pair, "Entering BACKUP STATE") != 1 {
        return Err(Stop::failed(format!("it gave up too early\n{}", pair.logs())));
    }
    remove_vip(&pair)?;
    wait_until("giving up", || Ok(said(&pair, "(VI_1) Entering BACKUP STATE") == 2))?;
    pair.wait_for_holder("r1")
}

fn a_link_that_fails_and_returns() -> CaseResult {
    let pair = pair(FAST, ["", ""])?;
    pair.r1.host.cut("eth0")?;
    pair.r1.process().wait_for_line("(VI_1) Entering FAULT STATE", PATIENCE)?;
    pair.wait_for_holder("r2")?;
    pair.r1.host.mend("eth0")?;
    pair.wait_for_holder("r1")
}

fn unicast_peers_fail_over() -> CaseResult {
    let first = "unicast_src_ip 198.18.0.1\n unicast_peer {\n 198.18.0.2\n }";
    let second = "unicast_peer {\n 198.18.0.1\n }";
    let mut pair = pair(FAST, [first, second])?;
    let wire = pair.client.capture("eth0")?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.wait_for_holder("r2")?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    pair.r1.start(FAST, first)?;
    pair.wait_for_holder("r1")?;
    match wire.frames().iter().find(|frame| frame.vrrp().is_some_and(|packet| packet.destination.is_multicast())) {
        Some(frame) => Err(Stop::failed(format!("an advert to everyone: {frame:?}"))),
        None => Ok(()),
    }
}

/// What it can do without that interface it goes on doing. No spare waits so soon after the start, and what the supervisor
/// knows of the last advert is older than that by a beat: the next worker is given two seconds to start.
fn a_worker_dies_while_an_interface_is_missing() -> CaseResult {
    let pair = pair(Protocol { interval: Duration::from_secs(1), ..FAST }, [ASIDE, ""])?;
    remove_aside(&pair)?;
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    let goes_on = pair.r1.process().wait_for_line("continuing as MASTER", PATIENCE);
    goes_on.map_err(|_| Stop::failed(format!("it did not go on\n{}", pair.logs())))?;
    pair.wait_for_holder("r1")
}

/// Nobody would hear it, and it would hear nobody: it gives its addresses to the peer, says why, and comes back once the
/// kernel lets it.
fn a_worker_that_gets_no_socket_is_in_fault() -> CaseResult {
    const MOST_GROUPS: &str = "net/ipv4/igmp_max_memberships";
    let pair = pair(SLOWER, ["", ""])?;
    pair.r1.host.set_sysctl(MOST_GROUPS, "0")?;
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    for line in ["opening a socket for 224.0.0.18 on eth0: ", "(VI_1) entering FAULT state (no socket for its adverts)"]
    {
        pair.r1.process().wait_for_line(line, PATIENCE).map_err(|_| Stop::failed(pair.logs()))?;
    }
    pair.wait_for_holder("r2")?;
    pair.r1.host.set_sysctl(MOST_GROUPS, "20")?;
    pair.wait_for_holder("r1")?;
    match said(&pair, "(VI_1) Entering FAULT STATE") {
        1 => Ok(()),
        times => Err(Stop::failed(format!("it was in fault {times} times\n{}", pair.logs()))),
    }
}

fn an_interface_that_is_made_anew_gets_its_address() -> CaseResult {
    let pair = pair(FAST, [ASIDE, ""])?;
    let address = [198, 18, 9, 9].into();
    wait_until("the address", || Ok(pair.r1.host.holds(address)?))?;
    remove_aside(&pair)?;
    wait_until("its end", || Ok(!pair.r1.host.holds(address)?))?;
    add_aside(&pair)?;
    wait_until("the address to return", || Ok(pair.r1.host.holds(address)?))
}

/// No transition and no loss, though only a third of a second is left to the peer.
fn a_worker_dies_between_fast_adverts(protocol: Protocol) -> CaseResult {
    let pair = pair(protocol, ["", ""])?;
    let pinger = pair.ping()?;
    let before = pair.r2.process().lines().len();
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    pair.r1.process().wait_for_line("continuing as MASTER", PATIENCE)?;
    let over = Instant::now() + protocol.active_down(pair.r2.priority) * 2;
    wait_until("the peer's patience to end", || Ok(Instant::now() > over))?;
    pair.answered(&pinger)?;
    if took_over(&pair, before) {
        return Err(Stop::failed(format!("the peer took over\n{}", pair.logs())));
    }
    match pinger.longest_gap() {
        Some(gap) => Err(Stop::failed(format!("the client lost {:?}\n{}", gap.duration(), pair.logs()))),
        None => Ok(()),
    }
}

/// The silence was the worker's own: what came in meanwhile says that the Active Router lives.
fn a_backup_that_was_stopped_for_a_while_does_not_take_over() -> CaseResult {
    let pair = pair(SLOWER, ["", ""])?;
    let worker = pair.r2.worker();
    let patience = SLOWER.active_down(pair.r2.priority);
    pair.r2.process().wait_for_line("(VI_1) Entering BACKUP STATE", PATIENCE)?;
    let before = pair.r2.process().lines().len();
    // With its supervisor, which would replace it after a second.
    pair.r2.process().signal(Signal::SIGSTOP)?;
    kill(worker, Signal::SIGSTOP)?;
    let over = Instant::now() + patience * 2;
    wait_until("the peer's patience to end", || Ok(Instant::now() > over))?;
    kill(worker, Signal::SIGCONT)?;
    let over = Instant::now() + patience * 2;
    wait_until("what follows", || Ok(Instant::now() > over))?;
    pair.r2.process().signal(Signal::SIGCONT)?;
    if took_over(&pair, before) {
        return Err(Stop::failed(format!("the peer took over\n{}", pair.logs())));
    }
    Ok(())
}

fn a_worker_dies_ipv4() -> CaseResult {
    a_worker_dies_between_fast_adverts(FAST)
}

fn a_worker_dies_ipv6() -> CaseResult {
    a_worker_dies_between_fast_adverts(FAST_IPV6)
}

fn main() -> ExitCode {
    harness::main(&[
        case("an_address_removed_by_hand_comes_back", an_address_removed_by_hand_comes_back),
        case("a_link_that_fails_and_returns", a_link_that_fails_and_returns),
        case("unicast_peers_fail_over", unicast_peers_fail_over),
        case(
            "a_backup_that_was_stopped_for_a_while_does_not_take_over",
            a_backup_that_was_stopped_for_a_while_does_not_take_over,
        ),
        case("a_worker_dies_while_an_interface_is_missing", a_worker_dies_while_an_interface_is_missing),
        case("a_worker_that_gets_no_socket_is_in_fault", a_worker_that_gets_no_socket_is_in_fault),
        case("an_interface_that_is_made_anew_gets_its_address", an_interface_that_is_made_anew_gets_its_address),
        case("a_worker_dies_ipv4", a_worker_dies_ipv4),
        case("a_worker_dies_ipv6", a_worker_dies_ipv6),
    ])
}
