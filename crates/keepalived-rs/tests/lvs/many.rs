//! Many virtual servers at once.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ipvs_control::socket::Socket;
use ipvs_control::types::{Destination, Service, Table};
use ipvs_control::{Change, ForwardingMethod, Pool, Scheduler, ServiceAddress, Weight};
use netlab::harness::{CaseResult, Stop};
use netlab::{Lab, Program};
use nix::sys::signal::Signal;

use crate::support::{PATIENCE, wait_until_within};

const VIRTUAL_SERVERS: usize = 1000;

/// Of each virtual server.
const REAL_SERVERS: usize = 10;

/// How long the supervisor waits for its workers at a stop, unless the file says otherwise (`child_wait_time`).
const CHILD_WAIT_TIME: Duration = Duration::from_secs(5);

/// Ten thousand destinations are programmed, a reload changes nothing but the one weight that is new, and a stop takes all
/// of them and nothing of others, in time.
pub(crate) fn ten_thousand_destinations_come_and_go() -> CaseResult {
    let lab = Lab::new()?;
    let host = lab.host("lb")?;
    let mut socket = host.run(Socket::open).map_err(|error| Stop::failed(error.to_string()))?;
    add_others(&mut socket)?;
    let others = table(&mut socket)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("k.conf");
    std::fs::write(&file, config(1))?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-n", "-G", "--check", "-f"]).arg(&file);
    let daemon = host.spawn(program)?;
    wait_for_last(&mut socket, 1)?;
    let before = table(&mut socket)?;
    let programmed: usize = before.iter().map(|pool| pool.destinations.len()).sum();
    if programmed != VIRTUAL_SERVERS * REAL_SERVERS + 1 {
        return Err(Stop::failed(format!("{programmed} destinations")));
    }
    std::fs::write(&file, config(2))?;
    daemon.signal(Signal::SIGHUP)?;
    wait_for_last(&mut socket, 2)?;
    let mut after = table(&mut socket)?;
    weigh_last(&mut after, 1);
    if before != after {
        return Err(Stop::failed("the reload changed more than one weight"));
    }
    let begin = Instant::now();
    daemon.signal(Signal::SIGTERM)?;
    let exit = daemon.wait_for_exit(PATIENCE)?;
    let (took, left) = (begin.elapsed(), table(&mut socket)?);
    if !exit.success() || took >= CHILD_WAIT_TIME || left != others {
        return Err(Stop::failed(format!("{exit} after {took:?}, {} services are left", left.len())));
    }
    Ok(())
}

fn config(last: u32) -> String {
    let mut text = "global_defs {\n router_id test\n}\n".to_owned();
    for server in 0..VIRTUAL_SERVERS {
        let address = virtual_server(server).ip();
        writeln!(text, "virtual_server {address} 80 {{\n lvs_sched wlc\n lvs_method NAT\n protocol TCP")
            .expect("a string grows");
        for real in 0..REAL_SERVERS {
            let address = real_server(server, real).ip();
            let weight = if (server + 1, real + 1) == (VIRTUAL_SERVERS, REAL_SERVERS) { last } else { 1 };
            writeln!(text, " real_server {address} 80 {{\n  weight {weight}\n }}").expect("a string grows");
        }
        text.push_str("}\n");
    }
    text
}

fn virtual_server(number: usize) -> SocketAddr {
    place(Ipv4Addr::new(10, 1, 0, 0), number)
}

fn real_server(virtual_server: usize, number: usize) -> SocketAddr {
    place(Ipv4Addr::new(10, 64, 0, 0), virtual_server * REAL_SERVERS + number)
}

fn place(first: Ipv4Addr, number: usize) -> SocketAddr {
    let number = u32::try_from(number).expect("as many addresses as there are");
    SocketAddr::new(Ipv4Addr::from_bits(first.to_bits() + number).into(), 80)
}

fn last_service() -> ServiceAddress {
    ServiceAddress::tcp(virtual_server(VIRTUAL_SERVERS - 1))
}

fn is_last(destination: &Destination) -> bool {
    SocketAddr::new(destination.address, destination.port) == real_server(VIRTUAL_SERVERS - 1, REAL_SERVERS - 1)
}

/// Until the last virtual server, which comes last, has all its real servers, and the last of them has this weight.
fn wait_for_last(socket: &mut Socket, weight: u32) -> CaseResult {
    wait_until_within(PATIENCE * 4, "the last virtual server", || {
        let there = socket.destinations(last_service()).map_err(|error| Stop::failed(error.to_string()))?;
        let there: Vec<_> = there.unwrap_or_default().iter().map(|entry| entry.destination).collect();
        let weighs = |destination: &Destination| is_last(destination) && destination.weight == Weight(weight);
        Ok(there.len() == REAL_SERVERS && there.iter().any(weighs))
    })
}

fn weigh_last(table: &mut [Pool], weight: u32) {
    let last = table.iter_mut().filter(|pool| pool.service.address == last_service());
    for destination in last.flat_map(|pool| &mut pool.destinations).filter(|destination| is_last(destination)) {
        destination.weight = Weight(weight);
    }
}

fn table(socket: &mut Socket) -> Result<Vec<Pool>, Stop> {
    let mut pools = socket.dump().map(|table: Table| table.pools()).map_err(|error| Stop::failed(error.to_string()))?;
    pools.sort_by_key(|pool| pool.service.address);
    Ok(pools)
}

/// A service and a destination of somebody else.
fn add_others(socket: &mut Socket) -> CaseResult {
    let service = ServiceAddress::udp("198.18.1.9:53".parse()?);
    let destination = Destination::new("192.0.2.99:53".parse()?, ForwardingMethod::Masquerade);
    let changes =
        [Change::AddService(Service::new(service, Scheduler::WLC)), Change::AddDestination { service, destination }];
    let report = socket.apply(&changes, Duration::from_secs(1)).map_err(|error| Stop::failed(error.to_string()))?;
    report.failures.first().map_or(Ok(()), |failure| Err(Stop::failed(failure.to_string())))
}
