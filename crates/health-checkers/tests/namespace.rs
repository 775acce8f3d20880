//! Probes in a network of their own: echoes, and hosts that cannot be reached.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use caps::{CapSet, Capability};
use health_checkers::outcome::{Note, Outcome, Reason};
use health_checkers::probe::ping::Ping;
use health_checkers::probe::udp::{self, Udp};
use health_checkers::probe::{Connect, Context, Probe};
use health_checkers::schedule::{Attempt, Verdict};
use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Host, Lab};

/// Long enough for a loaded machine; no test waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(20);

const OWN: [&str; 2] = ["198.18.0.1", "2001:db8::1"];
/// Nobody has them.
const NOBODY: [&str; 2] = ["198.18.0.9", "2001:db8::9"];

/// Who may have a socket for echoes only.
const GROUPS: &str = "net/ipv4/ping_group_range";

fn host(lab: &Lab) -> Result<Host, Stop> {
    let host = lab.host("a")?;
    lab.connect(&host, "eth0", &lab.bridge("lan")?)?;
    for address in OWN {
        host.address("eth0", &format!("{address}/{}", if address.contains(':') { 64 } else { 24 }))?;
    }
    Ok(host)
}

fn connect(address: &str, port: u16) -> Result<Connect, Stop> {
    let target = SocketAddr::new(address.parse()?, port);
    Ok(Connect { connect_timeout: PATIENCE, ..Connect::to(target) })
}

/// Tries once from `host`; with the right to raw sockets or without it.
fn run(host: &Host, probe: &impl Probe, may_be_raw: bool) -> Result<Outcome, Stop> {
    host.run(|| {
        if !may_be_raw {
            caps::drop(None, CapSet::Effective, Capability::CAP_NET_RAW)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let cx = Context::new(Attempt { step: 0, retries: 0 }, Verdict::Up);
        Ok(runtime.block_on(probe.run(&cx)))
    })
}

fn expect(outcome: &Outcome, expected: Result<Note, Reason>) -> CaseResult {
    let found = match outcome {
        Outcome::Success { notes, .. } => notes.first().cloned().map(Ok),
        Outcome::Failure(failure) => Some(Err(failure.reason)),
        _ => None,
    };
    if found == Some(expected.clone()) { Ok(()) } else { Err(Stop::failed(format!("{outcome:?} is not {expected:?}"))) }
}

fn an_echo_comes_back_by_either_kind_of_socket() -> CaseResult {
    let lab = Lab::new()?;
    let host = host(&lab)?;
    for address in OWN {
        let ping = Ping::new(connect(address, 0)?);
        host.set_sysctl(GROUPS, "1 0")?;
        expect(&run(&host, &ping, true)?, Ok(Note::Ping))?;
        expect(&run(&host, &ping, false)?, Err(Reason::PingFailed))?;
        host.set_sysctl(GROUPS, "0 4294967294")?;
        expect(&run(&host, &ping, false)?, Ok(Note::Ping))?;
    }
    Ok(())
}

fn the_options_of_an_echo_hold() -> CaseResult {
    let lab = Lab::new()?;
    let host = host(&lab)?;
    for ((address, other, loopback), groups) in [(OWN[0], NOBODY[0], "127.0.0.1"), (OWN[1], NOBODY[1], "::1")]
        .into_iter()
        .flat_map(|addresses| [(addresses, "1 0"), (addresses, "0 4294967294")])
    {
        host.set_sysctl(GROUPS, groups)?;
        let plain = connect(address, 0)?;
        let bindto = |address: &str| Ok::<_, Stop>(Some(address.parse::<IpAddr>()?));
        for (options, expected) in [
            (Connect { bindto: bindto(address)?, fwmark: 7, bind_port: Some(9), ..plain.clone() }, Ok(Note::Ping)),
            (Connect { bindto: bindto(other)?, ..plain.clone() }, Err(Reason::PingFailed)),
            (Connect { bind_if: Some("lo".to_owned()), ..connect(loopback, 0)? }, Ok(Note::Ping)),
            (Connect { bind_if: Some("no-such-if".to_owned()), ..plain.clone() }, Err(Reason::PingFailed)),
        ] {
            let said = format!("{options:?} {groups}");
            expect(&run(&host, &Ping::new(options), true)?, expected)
                .map_err(|stop| Stop::failed(format!("{said}: {stop:?}")))?;
        }
    }
    Ok(())
}

fn silence_is_a_time_out() -> CaseResult {
    let lab = Lab::new()?;
    let host = host(&lab)?;
    host.set_sysctl("net/ipv4/icmp_echo_ignore_all", "1")?;
    for groups in ["1 0", "0 4294967294"] {
        host.set_sysctl(GROUPS, groups)?;
        let impatient = Connect { connect_timeout: Duration::from_millis(150), ..connect(OWN[0], 0)? };
        expect(&run(&host, &Ping::new(impatient), true)?, Err(Reason::PingTimeout))?;
    }
    Ok(())
}

/// The kernel gives up looking for the host long before the probe does.
fn a_host_that_is_not_there_fails_before_the_time_is_over() -> CaseResult {
    let lab = Lab::new()?;
    let host = host(&lab)?;
    for address in NOBODY {
        let udp = Udp::new(udp::Config::new(connect(address, 9)?));
        expect(&run(&host, &udp, true)?, Err(Reason::UdpFailed))?;
        for groups in ["1 0", "0 4294967294"] {
            host.set_sysctl(GROUPS, groups)?;
            expect(&run(&host, &Ping::new(connect(address, 0)?), true)?, Err(Reason::PingFailed))?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    harness::main(&[
        case("an_echo_comes_back_by_either_kind_of_socket", an_echo_comes_back_by_either_kind_of_socket),
        case("the_options_of_an_echo_hold", the_options_of_an_echo_hold),
        case("silence_is_a_time_out", silence_is_a_time_out),
        case(
            "a_host_that_is_not_there_fails_before_the_time_is_over",
            a_host_that_is_not_there_fails_before_the_time_is_over,
        ),
    ])
}
