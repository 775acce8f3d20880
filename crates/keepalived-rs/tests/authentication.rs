//! Authentication headers, with Debian's keepalived on either side too, and signed adverts, which its release does not
//! know. What a router says is believed after a take-over, a return, and the death of the worker that said it.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::Capture;
use netlab::harness::{self, CaseResult, Stop, case};
use nix::sys::signal::{Signal, kill};
use support::{Daemon, PATIENCE, Pair, Protocol, wait_until};

const V2: Protocol = Protocol { version: 2, interval: Duration::from_secs(1), ipv6: false };
const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: false };
const V3_IPV6: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: true };

const AH: &str = "authentication {\n auth_type AH\n auth_pass secret\n }";

/// IP protocol number of the authentication header.
const PROTOCOL_AH: u8 = 51;

/// Take-over, death of the worker, clean stop, return.
fn story(protocol: Protocol, first: Daemon, second: Daemon, proof: &str) -> CaseResult {
    let mut pair = Pair::new(protocol, first, second)?;
    let wire = pair.client.capture("eth0")?;
    pair.r1.start(protocol, proof)?;
    pair.r2.start(protocol, proof)?;
    pair.wait_for_holder("r1")?;
    if first == Daemon::Ours {
        a_new_worker_is_believed(&pair)?;
    }
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.wait_for_holder("r2")?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    pair.r1.start(protocol, proof)?;
    pair.wait_for_holder("r1")?;
    if proof == AH { sequences_grow(&wire, &pair) } else { Ok(()) }
}

fn a_new_worker_is_believed(pair: &Pair) -> CaseResult {
    let before = pair.r2.process().lines().len();
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    pair.r1.process().wait_for_line("continuing as MASTER", PATIENCE)?;
    let over = Instant::now() + pair.protocol.active_down(pair.r2.priority) + pair.protocol.interval;
    wait_until("the peer's patience to end", || Ok(Instant::now() > over))?;
    let lines = pair.r2.process().lines();
    if let Some(line) = lines.iter().skip(before).find(|line| line.text.contains("MASTER STATE")) {
        return Err(Stop::failed(format!("the peer took over: {}\n{}", line.text, pair.logs())));
    }
    pair.wait_for_holder("r1")
}

/// No router of ours says a sequence twice, whichever of its workers says it, as long as it runs.
fn sequences_grow(wire: &Capture, pair: &Pair) -> CaseResult {
    let mut seen = Vec::new();
    for frame in wire.frames() {
        let Some(packet) = frame.ip().filter(|packet| packet.protocol == PROTOCOL_AH) else { continue };
        let Some(sequence) = packet.payload.get(8..12).and_then(<[u8]>::as_array::<4>) else {
            return Err(Stop::failed(format!("no authentication header: {frame:?}")));
        };
        seen.push((packet.source, u32::from_be_bytes(*sequence)));
    }
    let grows = seen.iter().zip(seen.iter().skip(1)).all(|(before, after)| before.0 != after.0 || before.1 < after.1);
    if grows && seen.len() > 3 { Ok(()) } else { Err(Stop::failed(format!("{seen:?}\n{}", pair.logs()))) }
}

fn authentication_headers(first: Daemon, second: Daemon) -> CaseResult {
    story(V2, first, second, AH)
}

/// Two keys, of which r2 signs with the other one and reads it from a file; a router with a third key is not believed.
fn signed_adverts(protocol: Protocol) -> CaseResult {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    std::fs::write(&file, format!("hex:{}\n", "0f".repeat(32)))?;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let key = "0123456789abcdef0123456789abcdef";
    let proof =
        |active: u8| format!("auth_hmac {{\n key 1 {key}\n key 2 file:{}\n active_key {active}\n }}", file.display());
    let mut pair = Pair::new(protocol, Daemon::Ours, Daemon::Ours)?;
    pair.r1.start(protocol, &proof(1))?;
    pair.r2.start(protocol, &proof(2))?;
    pair.wait_for_holder("r1")?;
    a_new_worker_is_believed(&pair)?;
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.wait_for_holder("r2")?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    pair.r1.start(protocol, &proof(1).replace(key, &key.replace('0', "f")))?;
    wait_until("two that do not believe each other", || Ok(pair.lab.holders(protocol.vip())?.len() == 2))?;
    let logs = pair.logs();
    if logs.contains(key) || logs.contains("0f0f") {
        return Err(Stop::failed("a key is in the log"));
    }
    Ok(())
}

/// A start without the key would send what nobody believes.
fn a_key_that_cannot_be_read_refuses_the_start() -> CaseResult {
    let mut pair = Pair::new(V3, Daemon::Ours, Daemon::Ours)?;
    pair.r1.start(V3, "auth_hmac {\n key 1 file:/nowhere/key\n active_key 1\n }")?;
    pair.r1
        .process()
        .wait_for_line("(VI_1) auth_hmac key 1 cannot be read from /nowhere/key: no such file", PATIENCE)?;
    match pair.r1.process().wait_for_exit(PATIENCE)?.code() {
        Some(2) => Ok(()),
        code => Err(Stop::failed(format!("{code:?}\n{}", pair.logs()))),
    }
}

fn headers_ours_and_ours() -> CaseResult {
    authentication_headers(Daemon::Ours, Daemon::Ours)
}

fn headers_ours_and_c() -> CaseResult {
    authentication_headers(Daemon::Ours, Daemon::C)
}

fn headers_c_and_ours() -> CaseResult {
    authentication_headers(Daemon::C, Daemon::Ours)
}

fn signed_v2() -> CaseResult {
    signed_adverts(V2)
}

fn signed_v3() -> CaseResult {
    signed_adverts(V3)
}

fn signed_v3_ipv6() -> CaseResult {
    signed_adverts(V3_IPV6)
}

fn main() -> ExitCode {
    harness::main(&[
        case("headers_ours_and_ours", headers_ours_and_ours),
        case("headers_ours_and_c", headers_ours_and_c),
        case("headers_c_and_ours", headers_c_and_ours),
        case("signed_v2", signed_v2),
        case("signed_v3", signed_v3),
        case("signed_v3_ipv6", signed_v3_ipv6),
        case("a_key_that_cannot_be_read_refuses_the_start", a_key_that_cannot_be_read_refuses_the_start),
    ])
}
