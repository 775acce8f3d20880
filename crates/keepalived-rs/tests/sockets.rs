//! The sockets that adverts travel through: what wakes the process, what leaves by which link, what a full buffer loses,
//! and how late it all is.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Capture, Frame, Host, Lab, Process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Protocol as IpProtocol, Socket, Type};
use support::{Daemon, PATIENCE, Pair, Protocol, Router, wait_until};

const FAST: Protocol = Protocol { version: 3, interval: Duration::from_millis(100), ipv6: false };
const FAST_IPV6: Protocol = Protocol { version: 3, interval: Duration::from_millis(100), ipv6: true };
const V2: Protocol = Protocol { version: 2, interval: Duration::from_secs(1), ipv6: false };

const AH: &str = "authentication {\n auth_type AH\n auth_pass secret\n }";
const UNICAST: &str = "unicast_src_ip 198.18.0.1\n unicast_peer {\n 198.18.0.2\n }";

/// The VRID of the configurations of [`support`].
const OURS: u8 = 51;

/// A flood that many hosts of one network could cause by mistake.
const PACKETS: u32 = 5_000;
const PER_SECOND: u32 = 5_000;

/// Adverts of other virtual routers.
#[derive(Debug, Clone, Copy)]
struct Flood {
    destination: &'static str,
    /// 112, or 51 with an authentication header.
    carrier: u8,
}

impl Flood {
    /// Sends `count` from `host`, so many a second, with VRIDs from `vrids` in turn.
    fn send(self, host: &Host, count: u32, vrids: &[u8]) -> CaseResult {
        let destination: IpAddr = self.destination.parse()?;
        host.run(|| -> CaseResult {
            let domain = if destination.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
            let socket = Socket::new(domain, Type::RAW, Some(IpProtocol::from(i32::from(self.carrier))))?;
            let to: SocketAddr = match destination {
                IpAddr::V4(_) => {
                    socket.set_multicast_ttl_v4(255)?;
                    socket.set_multicast_if_v4(&Ipv4Addr::new(198, 18, 0, 9))?;
                    SocketAddr::new(destination, 0)
                }
                IpAddr::V6(ip) => {
                    socket.set_multicast_hops_v6(255)?;
                    SocketAddrV6::new(ip, 0, 0, nix::net::if_::if_nametoindex("eth0")?).into()
                }
            };
            let begun = Instant::now();
            for (number, vrid) in (0..count).zip(vrids.iter().cycle()) {
                while Instant::now() < begun + Duration::from_secs(1) * number / PER_SECOND {
                    std::hint::spin_loop();
                }
                let mut packet = if self.carrier == 51 { vec![112; 24] } else { Vec::new() };
                packet.extend([0x31, *vrid, 100, 1, 0, 100, 0, 0, 198, 18, 0, 100]);
                socket.send_to(&packet, &to.into())?;
            }
            Ok(())
        })
    }
}

/// How often the thread that receives and sends adverts has gone to sleep, and so was woken.
fn sleeps(worker: Pid) -> Result<u64, Stop> {
    let status = std::fs::read_to_string(format!("/proc/{worker}/task/{worker}/status"))?;
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(count.ok_or_else(|| Stop::failed("the kernel does not count"))?.trim().parse()?)
}

fn foreign() -> Vec<u8> {
    (1..=255).filter(|vrid| *vrid != OURS).collect()
}

/// How often a router sleeps during a flood of other routers' adverts; `global` lines go into its `global_defs`.
fn sleeps_during(flood: Flood, protocol: Protocol, extra: &str, global: &str) -> Result<(u64, Pair), Stop> {
    let mut pair = Pair::new(protocol, Daemon::Ours, Daemon::Ours)?;
    let text = protocol.config(150, extra).replacen("router_id test", &format!("router_id test\n {global}"), 1);
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&text)?)?);
    pair.wait_for_holder("r1")?;
    let before = sleeps(pair.r1.worker())?;
    flood.send(&pair.client, PACKETS, &foreign())?;
    Ok((sleeps(pair.r1.worker())? - before, pair))
}

/// Beside a control that is told to hear everything.
fn others_wake_nobody(destination: &'static str, carrier: u8, protocol: Protocol, extra: &str) -> CaseResult {
    let flood = Flood { destination, carrier };
    let (ours, pair) = sleeps_during(flood, protocol, extra, "")?;
    if pair.logs().contains("were lost") {
        return Err(Stop::failed(format!("what is filtered counts as lost\n{}", pair.logs())));
    }
    drop(pair);
    let (control, pair) = sleeps_during(flood, protocol, extra, "log_unknown_vrids")?;
    println!(
        "{PACKETS} packets to {destination}: the thread slept {ours} times, {control} times with log_unknown_vrids"
    );
    if ours > u64::from(PACKETS / 10) || control < u64::from(PACKETS / 5) || control < 5 * ours {
        return Err(Stop::failed(format!("it slept {ours} times, the control {control} times\n{}", pair.logs())));
    }
    pair.r1.process().wait_for_line("Unknown VRID(255) received on interface(eth0). ignoring...", PATIENCE)?;
    let lines = pair.logs().matches("Unknown VRID(1) ").count();
    if lines != 1 { Err(Stop::failed(format!("VRID 1 was logged {lines} times\n{}", pair.logs()))) } else { Ok(()) }
}

fn others_wake_nobody_over_ipv4() -> CaseResult {
    others_wake_nobody("224.0.0.18", 112, FAST, "")
}

fn others_wake_nobody_over_ipv6() -> CaseResult {
    others_wake_nobody("ff02::12", 112, FAST_IPV6, "")
}

fn others_wake_nobody_over_unicast() -> CaseResult {
    others_wake_nobody("198.18.0.1", 112, FAST, UNICAST)
}

fn others_wake_nobody_with_authentication_headers() -> CaseResult {
    others_wake_nobody("224.0.0.18", 51, V2, AH)
}

/// `VRRP` packets of one sender with that VRID that a capture has.
fn adverts(wire: &Capture, vrid: u8, sender: &str) -> usize {
    let sender: IpAddr = sender.parse().expect("an address");
    let ours = |frame: &Frame| {
        frame.vrrp().is_some_and(|packet| packet.source == sender && packet.payload.get(1) == Some(&vrid))
    };
    wire.frames().iter().filter(|frame| ours(frame)).count()
}

fn two_instances(second: &str, priority: u8) -> String {
    let first = FAST.config(priority, "");
    let other =
        first.replace("VI_1", "VI_2").replace("virtual_router_id 51", second).replace("198.18.0.10", "198.18.0.20");
    let (_, instance) = other.split_once("vrrp_instance").expect("there is one");
    format!("{first}vrrp_instance{instance}")
}

/// A filter follows a reload: the new VRID is heard before the instance could take over.
fn a_reload_lets_a_new_vrid_pass() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keepalived.conf");
    std::fs::write(&file, FAST.config(90, ""))?;
    let program = Daemon::Ours.program("")?.args(["-f".into(), file.clone()]);
    let r2 = Daemon::Ours.program(&two_instances("virtual_router_id 52", 150))?;
    pair.r2.process = Some(pair.r2.host.spawn(r2)?);
    pair.wait_for_holder("r2")?;
    pair.r1.process = Some(pair.r1.host.spawn(program)?);
    pair.r1.process().wait_for_line("Startup complete", PATIENCE)?;
    std::fs::write(&file, two_instances("virtual_router_id 52", 90))?;
    pair.r1.process().signal(Signal::SIGHUP)?;
    pair.r1.process().wait_for_line("(VI_2) Entering BACKUP STATE", PATIENCE)?;
    let wire = pair.client.capture("eth0")?;
    // Longer than any Active_Down_Interval.
    wait_until("the peer's adverts", || Ok(adverts(&wire, 52, "198.18.0.2") >= 10))?;
    if adverts(&wire, 52, "198.18.0.1") > 0 || pair.logs().contains("(VI_2) Entering MASTER STATE\n(VI_2)") {
        return Err(Stop::failed(format!("it did not hear its peer\n{}", pair.logs())));
    }
    Ok(())
}

/// What the client saw of an advert: link, VRID, protocol, from, to.
type Sight = (&'static str, u8, u8, IpAddr, IpAddr);

fn sights(wires: &[(&'static str, Capture)]) -> BTreeSet<Sight> {
    let mut seen = BTreeSet::new();
    for (link, wire) in wires {
        for frame in wire.frames() {
            let Some(packet) = frame.ip().filter(|packet| [51, 112].contains(&packet.protocol)) else { continue };
            let at = if packet.protocol == 51 { 24 + 1 } else { 1 };
            let Some(vrid) = packet.payload.get(at) else { continue };
            if packet.ttl == 255 {
                seen.insert((*link, *vrid, packet.protocol, packet.source, packet.destination));
            }
        }
    }
    seen
}

/// One socket for each family, and yet every advert leaves by its own link and from its own source.
fn every_kind_of_advert_leaves_by_its_link() -> CaseResult {
    let instance = |vrid: u8, link: &str, lines: &str| {
        format!(
            "vrrp_instance VI_{vrid} {{\n state BACKUP\n interface {link}\n virtual_router_id {vrid}\n priority 150\n \
             {lines}\n virtual_ipaddress {{\n {}\n }}\n}}\n",
            if lines.contains("native_ipv6") { format!("fe80::1:{vrid}/64") } else { format!("198.18.9.{vrid}/32") }
        )
    };
    let fast = "version 3\n advert_int 0.1";
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let second = pair.lab.bridge("br1")?;
    for (host, number) in [(&pair.r1.host, 1), (&pair.client, 9)] {
        pair.lab.connect(host, "eth1", &second)?;
        host.address("eth1", &format!("198.18.1.{number}/24"))?;
        host.address("eth1", &format!("2001:db8:1::{number}/64"))?;
    }
    let text = [
        instance(1, "eth0", fast),
        instance(2, "eth1", fast),
        instance(3, "eth0", &format!("{fast}\n native_ipv6")),
        instance(4, "eth1", &format!("{fast}\n native_ipv6")),
        instance(5, "eth0", &format!("{fast}\n unicast_src_ip 198.18.0.1\n unicast_peer {{\n 198.18.0.9\n }}")),
        instance(6, "eth1", &format!("version 2\n {AH}")),
        instance(
            7,
            "eth1",
            &format!("{fast}\n native_ipv6\n unicast_src_ip 2001:db8:1::1\n unicast_peer {{\n 2001:db8:1::9\n }}"),
        ),
        instance(8, "eth1", &format!("{fast}\n mcast_src_ip 198.18.0.77")),
    ]
    .concat();
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&text)?)?);
    let wires = [("eth0", pair.client.capture("eth0")?), ("eth1", pair.client.capture("eth1")?)];
    let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let link_local = |link: &str| -> Result<IpAddr, Stop> {
        let index = pair.r1.host.run(|| nix::net::if_::if_nametoindex(link))?;
        let addresses = pair.r1.host.addresses()?;
        let found = addresses.into_iter().find(|address| {
            address.link.get() == index && matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
        });
        found.map(|address| address.ip).ok_or_else(|| Stop::failed(format!("{link} has no address of its own")))
    };
    let mut first = None;
    wait_until("the addresses of the links", || {
        first = link_local("eth0").ok().zip(link_local("eth1").ok());
        Ok(first.is_some())
    })?;
    let (first, second) = first.ok_or_else(|| Stop::failed("as was seen"))?;
    let (v4, v6) = (ip("224.0.0.18"), ip("ff02::12"));
    let wanted = BTreeSet::from([
        ("eth0", 1, 112, ip("198.18.0.1"), v4),
        ("eth1", 2, 112, ip("198.18.1.1"), v4),
        ("eth0", 3, 112, first, v6),
        ("eth1", 4, 112, second, v6),
        ("eth0", 5, 112, ip("198.18.0.1"), ip("198.18.0.9")),
        ("eth1", 6, 51, ip("198.18.1.1"), v4),
        ("eth1", 7, 112, ip("2001:db8:1::1"), ip("2001:db8:1::9")),
        ("eth1", 8, 112, ip("198.18.0.77"), v4),
    ]);
    let waited = wait_until("every kind of advert", || Ok(sights(&wires).is_superset(&wanted)));
    let seen = sights(&wires);
    if waited.is_err() || seen != wanted {
        let (missing, more): (Vec<_>, Vec<_>) =
            (wanted.difference(&seen).collect(), seen.difference(&wanted).collect());
        return Err(Stop::failed(format!("missing: {missing:?}\nmore: {more:?}\n{}", pair.logs())));
    }
    Ok(())
}

/// Of adverts that leave in one call one is refused: the others leave, and the log names whose it was.
fn a_refused_advert_does_not_stop_the_others() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let unreachable = "unicast_src_ip 198.18.0.1\n unicast_peer {\n 203.0.113.9\n 198.18.0.9\n }";
    let text = FAST.config(150, unreachable);
    let (_, second) = FAST.config(150, "").split_once("vrrp_instance").map(|(_, it)| ((), it.to_owned())).expect("one");
    let second = second.replace("VI_1", "VI_2").replace("id 51", "id 52").replace("198.18.0.10", "198.18.0.20");
    let wire = pair.client.capture("eth0")?;
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&format!("{text}vrrp_instance{second}"))?)?);
    wait_until("adverts of both instances", || {
        Ok(adverts(&wire, 51, "198.18.0.1") >= 10 && adverts(&wire, 52, "198.18.0.1") >= 10)
    })?;
    let logs = pair.logs();
    let lines: Vec<_> = logs.lines().filter(|line| line.contains("send advert error")).collect();
    match lines[..] {
        [line] if line.contains("(VI_1) send advert error 101") => Ok(()),
        _ => Err(Stop::failed(format!("{lines:?}\n{logs}"))),
    }
}

/// Junk with our VRID while the worker stands still for a moment.
fn stand_still(pair: &Pair) -> CaseResult {
    let flood = Flood { destination: "224.0.0.18", carrier: 112 };
    kill(pair.r1.worker(), Signal::SIGSTOP)?;
    let sent = flood.send(&pair.client, 300, &[OURS]);
    kill(pair.r1.worker(), Signal::SIGCONT)?;
    sent?;
    // Once it has read what there was, the next packet says what is missing.
    let wire = pair.client.capture("eth0")?;
    wait_until("the worker to go on", || Ok(adverts(&wire, OURS, "198.18.0.1") >= 2))?;
    flood.send(&pair.client, 1, &[OURS])
}

/// The room is what the configuration says, and what did not fit is said once.
fn what_a_small_buffer_loses_is_said() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    pair.r1.start(FAST, "kernel_rx_buf_size 1")?;
    pair.wait_for_holder("r1")?;
    stand_still(&pair)?;
    pair.r1.process().wait_for_line("adverts for 224.0.0.18 were lost", PATIENCE)?;
    stand_still(&pair)?;
    let wire = pair.client.capture("eth0")?;
    wait_until("some adverts", || Ok(adverts(&wire, OURS, "198.18.0.1") >= 10))?;
    match pair.logs().matches("were lost").count() {
        1 => Ok(()),
        count => Err(Stop::failed(format!("it was said {count} times\n{}", pair.logs()))),
    }
}

/// The control: by default there is room for as many.
fn the_usual_buffer_loses_nothing() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    pair.r1.start(FAST, "")?;
    pair.wait_for_holder("r1")?;
    stand_still(&pair)?;
    let wire = pair.client.capture("eth0")?;
    wait_until("some adverts", || Ok(adverts(&wire, OURS, "198.18.0.1") >= 10))?;
    if pair.logs().contains("were lost") { Err(Stop::failed(pair.logs())) } else { Ok(()) }
}

/// `vrrp_rx_bufs_policy`: three packets of 1500 octets are less than what comes, in contrast to a plain size.
fn the_policy_sets_the_room() -> CaseResult {
    for (policy, loses) in [("MTU", true), ("ADVERT", true), ("4000000", false)] {
        let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
        let lines = format!("router_id test\n vrrp_rx_bufs_policy {policy}\n vrrp_rx_bufs_multiplier 4");
        let text = FAST.config(150, "").replacen("router_id test", &lines, 1);
        pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&text)?)?);
        pair.wait_for_holder("r1")?;
        stand_still(&pair)?;
        let wire = pair.client.capture("eth0")?;
        wait_until("some adverts", || Ok(adverts(&wire, OURS, "198.18.0.1") >= 10))?;
        if pair.logs().contains("were lost") != loses {
            return Err(Stop::failed(format!("with {policy}\n{}", pair.logs())));
        }
    }
    Ok(())
}

/// Late timers are said from the configured lateness on, and counted for whoever asks after the end.
fn lateness_is_said_and_counted() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let text = FAST.config(150, "").replacen("router_id test", "router_id test\n min_auto_priority_delay 200000", 1);
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&text)?)?);
    pair.wait_for_holder("r1")?;
    let wire = pair.client.capture("eth0")?;
    // The supervisor hears of it once a second.
    wait_until("more than a second of adverts", || Ok(adverts(&wire, OURS, "198.18.0.1") >= 20))?;
    if pair.logs().contains("A thread timer expired") {
        return Err(Stop::failed(pair.logs()));
    }
    kill(pair.r1.worker(), Signal::SIGSTOP)?;
    let over = Instant::now() + Duration::from_millis(500);
    wait_until("half a second", || Ok(Instant::now() > over))?;
    kill(pair.r1.worker(), Signal::SIGCONT)?;
    pair.r1.process().wait_for_line("A thread timer expired 0.", PATIENCE)?;
    // So that the supervisor knows of adverts that are young enough to go on.
    let before = adverts(&wire, OURS, "198.18.0.1");
    wait_until("more adverts", || Ok(adverts(&wire, OURS, "198.18.0.1") >= before + 5))?;
    kill(pair.r1.worker(), Signal::SIGKILL)?;
    let waited = pair.r1.process().wait_for_line("continuing as MASTER", PATIENCE);
    waited.map_err(|error| Stop::failed(format!("{error}\n{}", pair.logs())))?;
    let logs = pair.logs();
    if !logs.lines().any(|line| line.contains("process: ") && line.contains(" timers fired, 50 % at most ")) {
        return Err(Stop::failed(format!("the supervisor does not say how late it was\n{logs}")));
    }
    pair.r1.process().signal(Signal::SIGTERM)?;
    pair.r1.process().wait_for_exit(PATIENCE)?;
    pair.r1.process().wait_for_line("Timers of adverts: ", PATIENCE)?;
    Ok(())
}

/// In a user namespace, where no more memory may be locked than the limit says: the daemon says what it could not do, goes
/// on, and never runs out of memory at that limit.
fn memory_is_locked_as_far_as_the_limit_allows() -> CaseResult {
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let text = FAST.config(150, "").replacen("router_id test", "router_id test\n vrrp_no_swap", 1);
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&text)?)?);
    pair.wait_for_holder("r1")?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", pair.r1.worker()))?;
    let unlimited = limits.lines().any(|line| line.starts_with("Max locked memory") && line.contains("unlimited"));
    if !unlimited {
        let refused = |line: &netlab::Line| {
            line.text.contains("Unable to lock process in memory") || line.text.contains("RLIMIT_MEMLOCK is finite")
        };
        wait_until("a word about the limit", || Ok(pair.r1.process().lines().iter().any(refused)))?;
    }
    // Threads, and with them memory, come and go.
    pair.r1.process().wait_for_line("Startup complete", PATIENCE)?;
    for _ in 0..3 {
        let mark = pair.r1.process().mark();
        pair.r1.process().signal(Signal::SIGHUP)?;
        pair.r1.process().wait_for_line_after(mark, "Reloading", PATIENCE)?;
    }
    pair.wait_for_holder("r1")
}

/// Many instances in step: their adverts leave in one call, which wakes the thread once.
fn adverts_due_together_leave_together() -> CaseResult {
    const COUNT: u8 = 200;
    let mut pair = Pair::new(FAST, Daemon::Ours, Daemon::Ours)?;
    let mut text = String::new();
    for vrid in 1..=COUNT {
        text += &format!(
            "vrrp_instance VI_{vrid} {{\n state BACKUP\n interface eth0\n virtual_router_id {vrid}\n priority 254\n \
             version 3\n advert_int 0.5\n virtual_ipaddress {{\n 198.18.9.{vrid}/32\n }}\n}}\n"
        );
    }
    pair.r1.process = Some(pair.r1.host.spawn(Daemon::Ours.program(&text)?)?);
    pair.r1.process().wait_for_line("(VI_200) Entering MASTER STATE", PATIENCE)?;
    let wire = pair.client.capture("eth0")?;
    wait_until("three rounds", || Ok((1..=COUNT).all(|vrid| adverts(&wire, vrid, "198.18.0.1") >= 3)))?;
    // Each interval wakes the thread once for all of them, and for beats: not once for each.
    let before = (sleeps(pair.r1.worker())?, adverts(&wire, 1, "198.18.0.1"));
    wait_until("four more rounds", || Ok(adverts(&wire, 1, "198.18.0.1") >= before.1 + 4))?;
    let slept = sleeps(pair.r1.worker())? - before.0;
    println!("{} adverts, the thread slept {slept} times", 4 * u32::from(COUNT));
    if slept > u64::from(COUNT) {
        return Err(Stop::failed(format!("it slept {slept} times for {} adverts", 4 * u32::from(COUNT))));
    }
    Ok(())
}

/// At a start all in one line, as it ends there; later each in a line of its own, however often it is tried again.
fn every_socket_that_cannot_be_opened_is_said() -> CaseResult {
    const MEMBERSHIPS: &str = "net/ipv4/igmp_max_memberships";
    let lab = Lab::new()?;
    let (host, lans) = lab.host_of_two_networks("r1")?;
    let second = two_instances("virtual_router_id 52", 150);
    let (first, second) = second.split_at(second.rfind("vrrp_instance").expect("there are two"));
    let config = format!("{first}{}", second.replace("interface eth0", "interface eth1"));
    let failure = |link| format!("opening a socket for 224.0.0.18 on {link}: IP_ADD_MEMBERSHIP: ");
    let said = |process: &Process, text: &str| process.lines().iter().filter(|line| line.text.contains(text)).count();
    let log = |process: &Process| process.lines().iter().map(|line| format!("{}\n", line.text)).collect::<String>();

    host.set_sysctl(MEMBERSHIPS, "0")?;
    let refused = host.spawn(Daemon::Ours.program(&config)?)?;
    refused.wait_for_exit(PATIENCE)?;
    if ["eth0", "eth1"].into_iter().any(|link| said(&refused, &failure(link)) != 1) {
        return Err(Stop::failed(log(&refused)));
    }

    host.set_sysctl(MEMBERSHIPS, "20")?;
    let process = host.spawn(Daemon::Ours.program(&config)?)?;
    for name in ["VI_1", "VI_2"] {
        process.wait_for_line(&format!("({name}) Entering MASTER STATE"), PATIENCE)?;
    }
    host.set_sysctl(MEMBERSHIPS, "0")?;
    let router = Router { host: host.clone(), daemon: Daemon::Ours, priority: 150, process: Some(process) };
    kill(router.worker(), Signal::SIGKILL)?;
    for link in ["eth0", "eth1"] {
        router.process().wait_for_line(&failure(link), PATIENCE)?;
    }
    // It is tried again each second.
    let over = Instant::now() + Duration::from_millis(2500);
    wait_until("two more attempts", || Ok(Instant::now() > over))?;
    host.set_sysctl(MEMBERSHIPS, "20")?;
    let wires = [lans[0].capture()?, lans[1].capture()?];
    for (wire, (vrid, sender)) in wires.iter().zip([(51, "198.18.0.1"), (52, "198.18.1.1")]) {
        wait_until("adverts", || Ok(adverts(wire, vrid, sender) > 0))?;
    }
    match ["eth0", "eth1"].into_iter().find(|link| said(router.process(), &failure(link)) != 1) {
        Some(link) => Err(Stop::failed(format!("{link}\n{}", log(router.process())))),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    harness::main(&[
        case("others_wake_nobody_over_ipv4", others_wake_nobody_over_ipv4),
        case("others_wake_nobody_over_ipv6", others_wake_nobody_over_ipv6),
        case("others_wake_nobody_over_unicast", others_wake_nobody_over_unicast),
        case("others_wake_nobody_with_authentication_headers", others_wake_nobody_with_authentication_headers),
        case("a_reload_lets_a_new_vrid_pass", a_reload_lets_a_new_vrid_pass),
        case("every_kind_of_advert_leaves_by_its_link", every_kind_of_advert_leaves_by_its_link),
        case("a_refused_advert_does_not_stop_the_others", a_refused_advert_does_not_stop_the_others),
        case("what_a_small_buffer_loses_is_said", what_a_small_buffer_loses_is_said),
        case("the_usual_buffer_loses_nothing", the_usual_buffer_loses_nothing),
        case("the_policy_sets_the_room", the_policy_sets_the_room),
        case("memory_is_locked_as_far_as_the_limit_allows", memory_is_locked_as_far_as_the_limit_allows),
        case("lateness_is_said_and_counted", lateness_is_said_and_counted),
        case("adverts_due_together_leave_together", adverts_due_together_leave_together),
        case("every_socket_that_cannot_be_opened_is_said", every_socket_that_cannot_be_opened_is_said),
    ])
}
