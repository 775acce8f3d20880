//! Announcements where they have it hard: a link that takes no frames, and a switch that drops most of what comes quickly.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Capture, Frame, Host, Lab, Process, Program, Skip, peers};
use socket2::{Domain, Protocol as IpProtocol, Socket, Type};
use support::{Daemon, PATIENCE, SLACK, wait_until};
use vip_netlink::{Change, LinkName, LinkRef, RouteSocket};

// ---- A link that takes nothing ----

/// How many addresses the instance on the link that is stuck has.
const STUCK: u8 = 200;

/// Less than a thread that waits for a full buffer would need.
const AT_ONCE: Duration = Duration::from_millis(800);

/// A router with two interfaces; what leaves by the first goes nowhere.
struct Stuck {
    host: Host,
    process: Process,
    wires: [Capture; 2],
    _lans: [Bridge; 2],
}

impl Stuck {
    fn new() -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let (host, lans) = lab.host_of_two_networks("r1")?;
        let wires = [lans[0].capture()?, lans[1].capture()?];
        traffic_control(&host, "qdisc add dev eth0 root tbf rate 8bit burst 1500 limit 1000000")?;
        let instance = |number: u8, addresses: u8| {
            let addresses: String = (1..=addresses).map(|last| format!("  198.18.1{number}.{last}/32\n")).collect();
            format!(
                "vrrp_instance VI_{number} {{\n state MASTER\n interface eth{number}\n virtual_router_id 51\n version 3\n \
                 priority 200\n advert_int 0.1\n garp_master_delay 0\n virtual_ipaddress {{\n{addresses} }}\n}}\n"
            )
        };
        let process = host.spawn(Daemon::Ours.program(&(instance(0, STUCK) + &instance(1, 3)))?)?;
        let stuck = Self { host, process, wires, _lans: lans };
        for number in [0, 1] {
            stuck.process.wait_for_line(&format!("(VI_{number}) Entering MASTER STATE"), PATIENCE)?;
        }
        Ok(stuck)
    }

    fn failed(&self, what: impl std::fmt::Display) -> Stop {
        Stop::failed(format!("{what}\n{}", log(&self.process)))
    }

    /// Somebody takes an address of the other link away; how long it is missing.
    fn lose_an_address(&self) -> Result<Duration, Stop> {
        let ip = IpAddr::from([198, 18, 11, 2]);
        let address = self.host.addresses()?.into_iter().find(|address| address.ip == ip);
        let address = address.ok_or_else(|| self.failed("the address is not there"))?;
        change(&self.host, Change::RemoveAddress(address))?;
        let began = Instant::now();
        wait_until("the address to return", || Ok(self.host.holds(ip)?))?;
        Ok(began.elapsed())
    }

    fn is_not_held_up(&self) -> CaseResult {
        let missing = self.lose_an_address()?;
        if missing > AT_ONCE { Err(self.failed(format!("the address was missing for {missing:?}"))) } else { Ok(()) }
    }
}

/// What it said, without the lines that there are for each frame.
fn log(process: &Process) -> String {
    let lines = process.lines().into_iter().filter(|line| !line.text.contains("gratuitous ARP"));
    lines.map(|line| format!("{}\n", line.text)).collect()
}

fn change(host: &Host, change: Change) -> CaseResult {
    match host.run(|| RouteSocket::open().map(|mut route| route.apply(&[change]))) {
        Ok(applied) if applied.refused.is_empty() => Ok(()),
        other => Err(Stop::failed(format!("{other:?}"))),
    }
}

fn traffic_control(host: &Host, arguments: &str) -> CaseResult {
    let output = host.run(|| Command::new("tc").args(arguments.split(' ')).output());
    let output = output.map_err(|error| Skip(format!("tc (iproute2): {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(Skip(format!("tc {arguments}: {said}")).into()) }
}

/// A gratuitous ARP that a capture has.
struct Announced {
    at: Instant,
    outgoing: bool,
    ip: Ipv4Addr,
}

/// All of them, in order.
fn announced(wire: &Capture) -> Vec<Announced> {
    let read = |frame: &Frame| Some(Announced { at: frame.at, outgoing: frame.outgoing, ip: frame.gratuitous_arp()? });
    wire.frames().iter().filter_map(read).collect()
}

/// The other link gets its addresses and announcements meanwhile; nothing is lost once frames leave again.
fn a_stuck_link_holds_up_nobody() -> CaseResult {
    let stuck = Stuck::new()?;
    wait_until("the announcements of the other link", || Ok(announced(&stuck.wires[1]).len() >= 15))?;
    let times: Vec<_> = announced(&stuck.wires[1]).into_iter().map(|sent| sent.at).collect();
    let took = times.iter().max().zip(times.iter().min()).map_or(Duration::ZERO, |(last, first)| *last - *first);
    if took > AT_ONCE {
        return Err(stuck.failed(format!("the announcements of the other link took {took:?}")));
    }
    stuck.is_not_held_up()?;
    let left = announced(&stuck.wires[0]).len();
    if left >= usize::from(STUCK) {
        return Err(stuck.failed(format!("{left} frames left by the link that is stuck")));
    }
    traffic_control(&stuck.host, "qdisc change dev eth0 root tbf rate 1gbit burst 100kb limit 1000000")?;
    let counts = || {
        let mut counts = BTreeMap::new();
        for Announced { ip, .. } in announced(&stuck.wires[0]) {
            *counts.entry(ip).or_insert(0_u32) += 1;
        }
        counts
    };
    let all = wait_until("every address five times", || {
        let counts = counts();
        Ok(counts.len() == usize::from(STUCK) && counts.values().all(|count| *count == 5))
    });
    all.map_err(|_| stuck.failed(format!("{:?}", counts())))?;
    let first: BTreeSet<_> = announced(&stuck.wires[0]).into_iter().take(STUCK.into()).map(|sent| sent.ip).collect();
    if first.len() != usize::from(STUCK) {
        return Err(stuck.failed(format!("{} addresses among the first {STUCK} frames", first.len())));
    }
    Ok(())
}

/// What waits for it goes with it.
fn a_stuck_link_that_goes_is_forgotten() -> CaseResult {
    let stuck = Stuck::new()?;
    wait_until("the announcements of the other link", || Ok(announced(&stuck.wires[1]).len() >= 15))?;
    change(&stuck.host, Change::DelLink(LinkRef::Name(LinkName::try_from("eth0")?)))?;
    stuck.process.wait_for_line("(VI_0) Entering FAULT STATE", PATIENCE)?;
    stuck.is_not_held_up()?;
    let lines = stuck.process.lines();
    match lines.iter().find(|line| line.text.contains("announcing addresses")) {
        Some(line) => Err(stuck.failed(format!("it was announced all the same: {}", line.text))),
        None => Ok(()),
    }
}

// ---- A switch that passes a thousand ARP frames a second ----

const VIPS: u32 = 1000;

const FILE: &str = "/run/keepalived.conf";

/// Of the switch; nft's own default for so many packets at once.
const POLICER: &str = "table bridge policer {\n chain arriving {\n type filter hook prerouting priority 0\n \
    ether type arp limit rate over 1000/second burst 5 packets counter drop\n }\n}\n";

fn vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 4, 0).to_bits() + number)
}

/// Two routers and a client around such a switch.
struct Policed {
    _lan: Bridge,
    routers: [(Host, Process); 2],
    client: Host,
}

impl Policed {
    /// The first is active, and the client knows its address for all of them.
    fn new(global: &str) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("lan")?;
        police(&lan)?;
        let host = |name: &str, number: u8| -> Result<Host, Stop> {
            let host = lab.host(name)?;
            lab.connect(&host, "eth0", &lan)?;
            host.address("eth0", &format!("198.18.0.{number}/16"))?;
            Ok(host)
        };
        let router = |name: &str, number: u8, priority: u8| -> Result<(Host, Process), Stop> {
            let host = host(name, number)?;
            // Without a line for each frame, which would slow it down.
            let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlG", "--vrrp", "-f", FILE]);
            let process = host.spawn(program.file(FILE, config(priority, global)))?;
            Ok((host, process))
        };
        let routers = [router("r1", 1, 200)?, router("r2", 2, 100)?];
        let client = host("client", 9)?;
        let policed = Self { _lan: lan, routers, client };
        wait_until("the addresses", || Ok(policed.routers[0].0.addresses()?.len() > 1000))?;
        // The routers know the client.
        policed.answers([[198, 18, 0, 1].into(), [198, 18, 0, 2].into()], PATIENCE)?;
        policed.know_the_first_router()?;
        let answers = policed.answers((0..VIPS).map(vip), PATIENCE)?;
        if answers.len() != 1000 {
            return Err(policed.failed(format!("{} addresses answered at first", answers.len())));
        }
        Ok(policed)
    }

    /// As the client would have learnt it: so many entries only fit into the kernel's table if they come from outside.
    fn know_the_first_router(&self) -> CaseResult {
        let eth0 = LinkName::try_from("eth0")?;
        let link = self.routers[0].0.run(|| RouteSocket::open()?.link(eth0))?;
        let mac = link.and_then(|link| link.mac).ok_or_else(|| self.failed("r1 has no eth0"))?;
        let entry =
            |number| format!("neigh replace {} lladdr {mac} dev eth0 nud reachable extern_learn\n", vip(number));
        let folder = tempfile::tempdir()?;
        let batch = folder.path().join("batch");
        std::fs::write(&batch, (0..VIPS).map(entry).collect::<String>())?;
        let output = self.client.run(|| Command::new("ip").arg("-batch").arg(&batch).output());
        let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(self.failed(said)) }
    }

    /// The client asks each of `targets` for an echo until it has one; when each answered.
    fn answers(
        &self,
        targets: impl IntoIterator<Item = Ipv4Addr>,
        patience: Duration,
    ) -> Result<BTreeMap<Ipv4Addr, Instant>, Stop> {
        const PERIOD: Duration = Duration::from_millis(50);
        /// Type 8, with the checksum of nothing else.
        const ECHO_REQUEST: [u8; 8] = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        let socket =
            self.client.run(|| Socket::new(Domain::IPV4, Type::RAW.nonblocking(), Some(IpProtocol::ICMPV4)))?;
        let deadline = Instant::now() + patience;
        let (mut answered, mut open) = (BTreeMap::new(), targets.into_iter().collect::<BTreeSet<_>>());
        while !open.is_empty() && Instant::now() < deadline {
            let next = Instant::now() + PERIOD;
            let asked: Vec<_> = open.iter().copied().collect();
            for some in asked.chunks(50) {
                for target in some {
                    socket.send_to(&ECHO_REQUEST, &SocketAddr::new((*target).into(), 0).into())?;
                }
                take_answers(&socket, &mut open, &mut answered)?;
            }
            while Instant::now() < next {
                take_answers(&socket, &mut open, &mut answered)?;
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(answered)
    }

    /// The first router is gone at once.
    fn take_over(&self) -> Result<TakeOver, Stop> {
        let wire = self.routers[1].0.capture("eth0")?;
        self.routers[0].1.freeze_all()?;
        self.routers[0].0.cut("eth0")?;
        self.routers[0].1.kill_all()?;
        let (answers, round) = std::thread::scope(|scope| {
            let round = scope.spawn(a_round_of_a_bare_thread);
            (self.answers((0..VIPS).map(vip), Duration::from_secs(4)), round.join())
        });
        // The first router's were heard here too.
        let sent: Vec<_> = announced(&wire).into_iter().filter(|sent| sent.outgoing).collect();
        let first = sent.first().map(|sent| sent.at).ok_or_else(|| self.failed("nothing is announced"))?;
        let mut times: Vec<_> = answers?.values().map(|at| at.saturating_duration_since(first)).collect();
        times.sort();
        let in_first_round = sent.into_iter().take(1000).map(|sent| sent.ip).collect::<BTreeSet<_>>().len();
        let round = round.map_err(|_| self.failed("the control failed"))?;
        Ok(TakeOver { times, in_first_round, round })
    }

    fn failed(&self, what: impl std::fmt::Display) -> Stop {
        let [first, second] = &self.routers;
        Stop::failed(format!("{what}\n{}---\n{}", log(&first.1), log(&second.1)))
    }
}

fn police(lan: &Bridge) -> CaseResult {
    let folder = tempfile::tempdir()?;
    let rules = folder.path().join("rules");
    std::fs::write(&rules, POLICER)?;
    let mut nft = peers::nft()?.command();
    let output = lan.run(|| nft.arg("-f").arg(&rules).output())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(Skip(format!("nft in the switch: {said}")).into()) }
}

fn take_answers(
    socket: &Socket,
    open: &mut BTreeSet<Ipv4Addr>,
    answered: &mut BTreeMap<Ipv4Addr, Instant>,
) -> CaseResult {
    let mut packet = [MaybeUninit::uninit(); 128];
    loop {
        match socket.recv_from(&mut packet) {
            Ok((_, from)) => {
                let from = from.as_socket_ipv4().map(|from| *from.ip());
                if let Some(ip) = from.filter(|ip| open.remove(ip)) {
                    answered.insert(ip, Instant::now());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// One instance with all of the addresses, all knobs of announcements as they are unless `global` says otherwise.
fn config(priority: u8, global: &str) -> String {
    let rest: String = (1..VIPS).map(|number| format!("  {}/32\n", vip(number))).collect();
    format!(
        "global_defs {{\n router_id test\n {global}\n}}\nvrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n \
         virtual_router_id 51\n priority {priority}\n version 3\n advert_int 0.3\n virtual_ipaddress {{\n  {}/32\n }}\n \
         virtual_ipaddress_excluded {{\n{rest} }}\n}}\n",
        vip(0)
    )
}

/// How long a thread that does nothing else takes for a frame each millisecond, with what it may catch up.
fn a_round_of_a_bare_thread() -> Duration {
    let begun = Instant::now();
    let (mut next, mut count) = (begun, 0);
    while count < VIPS {
        let now = Instant::now();
        next = next.max(now.checked_sub(Duration::from_millis(31)).unwrap_or(now));
        while next <= now {
            next += Duration::from_millis(1);
            count += 1;
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    begun.elapsed()
}

/// What became of the addresses after a take-over.
struct TakeOver {
    /// How long after the first announcement each answered, in order; some may not have answered.
    times: Vec<Duration>,
    /// How many different addresses the first thousand frames were about.
    in_first_round: usize,
    /// How long a round takes on this machine at present.
    round: Duration,
}

impl TakeOver {
    fn within(&self, bound: Duration) -> usize {
        self.times.iter().filter(|time| **time <= bound).count()
    }
}

impl std::fmt::Display for TakeOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.times.len();
        let part = |share: usize| self.times.get((count * share / 100).saturating_sub(1)).copied().unwrap_or_default();
        let parts = [part(50), part(99), part(100)];
        write!(f, "{count} of {VIPS} answered: 50 %, 99 % and 100 % of them after {parts:?}; ")?;
        write!(f, "{} in the first round; a bare thread needs {:?} for one", self.in_first_round, self.round)
    }
}

/// The first frame of every address comes before the second of any, and no faster than the switch passes them. On a busy
/// machine frames follow each other too quickly now and then: these addresses answer with the next round.
fn a_client_behind_a_policer_finds_every_address_again() -> CaseResult {
    let policed = Policed::new("")?;
    let after = policed.take_over()?;
    println!("as configured by default: {after}");
    let is_found = after.within(after.round + SLACK * 2) >= 900 && after.within(after.round * 3 + SLACK * 2) == 1000;
    if is_found && after.in_first_round == 1000 { Ok(()) } else { Err(policed.failed(after)) }
}

/// The same numbers of frames without a pace: many addresses are never heard of, so it is the pace that does it.
fn without_a_pace_many_addresses_stay_lost() -> CaseResult {
    let policed = Policed::new("vrrp_garp_interval 0.000001")?;
    let after = policed.take_over()?;
    println!("without a pace: {after}");
    if after.times.len() > 900 { Err(policed.failed(after)) } else { Ok(()) }
}

fn main() -> ExitCode {
    harness::main(&[
        case("a_stuck_link_holds_up_nobody", a_stuck_link_holds_up_nobody),
        case("a_stuck_link_that_goes_is_forgotten", a_stuck_link_that_goes_is_forgotten),
        case(
            "a_client_behind_a_policer_finds_every_address_again",
            a_client_behind_a_policer_finds_every_address_again,
        ),
        case("without_a_pace_many_addresses_stay_lost", without_a_pace_many_addresses_stay_lost),
    ])
}
