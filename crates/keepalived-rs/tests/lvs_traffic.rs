//! Connections of a client through a balancer to its real servers: this test boots a virtual machine and runs itself in there.
//! Real servers of DR and TUN are made by `keepalived-rs real-server setup`.

#[path = "lvs_traffic/marked.rs"]
mod marked;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::vm::Vm;
use netlab::{Bridge, Host, Lab, Process, Program};
use vip_netlink::{Address, Change, LinkFlags, RouteSocket};

const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client tries one connection.
const CONNECT: Duration = Duration::from_secs(3);

const PORT: u16 = 80;

/// Real servers of every case; each has its own share of the connections.
const SERVERS: [u8; 2] = [11, 12];

/// How packets get to the real servers.
#[derive(Debug, Clone, Copy)]
struct Path {
    /// The word behind `lvs_method`.
    method: &'static str,
    /// The arguments of `real-server setup`; none where none is needed.
    setup: Option<&'static [&'static str]>,
    /// The virtual address.
    vip: &'static str,
    /// Of all others, the number missing.
    client: &'static str,
    real: &'static str,
    prefix_len: u8,
    /// The virtual address is a group whose packets nftables marks.
    marked: bool,
}

const NAT: Path = Path {
    method: "NAT",
    setup: None,
    vip: "198.18.0.100",
    client: "198.18.0.",
    real: "192.0.2.",
    prefix_len: 24,
    marked: false,
};
const MARKED: Path = Path { marked: true, ..NAT };
const NAT6: Path = Path { vip: "2001:db8:1::100", client: "2001:db8:1::", real: "2001:db8:2::", prefix_len: 64, ..NAT };
const DR: Path = Path { method: "DR", setup: Some(&["--method", "dr"]), real: "198.18.0.", ..NAT };
const DR6: Path = Path { vip: "2001:db8:1::100", client: "2001:db8:1::", real: "2001:db8:1::", prefix_len: 64, ..DR };
const TUN: Path = Path { method: "TUN", setup: Some(&["--method", "tun"]), ..DR };
const TUN6: Path = Path { method: "TUN", setup: Some(&["--method", "tun"]), ..DR6 };

/// A client, a balancer and real servers. With NAT the real servers are on a network of their own, behind the balancer.
struct Net {
    _lab: Lab,
    _lans: [Bridge; 2],
    client: Host,
    reals: BTreeMap<u8, Host>,
    servers: BTreeMap<u8, Server>,
    daemon: Process,
    path: Path,
}

impl Net {
    fn start(path: Path) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lans = [lab.bridge("br0")?, lab.bridge("br1")?];
        let behind = path.setup.is_none();
        let address = |network: &str, number: u8| format!("{network}{number}/{}", path.prefix_len);
        let host = |name: &str, lan: &Bridge, address: &str| -> Result<Host, Stop> {
            let host = lab.host(name)?;
            lab.connect(&host, "eth0", lan)?;
            host.address("eth0", address)?;
            Ok(host)
        };
        let client = host("client", &lans[0], &address(path.client, 9))?;
        let balancer = host("lb", &lans[0], &address(path.client, 1))?;
        add_virtual_address(&balancer, path.vip)?;
        if behind {
            lab.connect(&balancer, "eth1", &lans[1])?;
            balancer.address("eth1", &address(path.real, 1))?;
            balancer.set_sysctl("net/ipv4/ip_forward", "1")?;
            balancer.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        let mut reals = BTreeMap::new();
        for number in SERVERS {
            let real =
                host(&format!("rs{number}"), if behind { &lans[1] } else { &lans[0] }, &address(path.real, number))?;
            // What keeps out forged senders must not keep out what comes out of a tunnel.
            real.set_sysctl("net/ipv4/conf/all/rp_filter", "1")?;
            match path.setup {
                Some(arguments) => set_up(&real, arguments, path.vip)?,
                None => route_back(&real, &format!("{}1", path.real))?,
            }
            reals.insert(number, real);
        }
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlDG", "-f", "/run/keepalived.conf"]);
        let daemon = balancer.spawn(program.file("/run/keepalived.conf", config(path)))?;
        let mut net = Self { _lab: lab, _lans: lans, client, reals, servers: BTreeMap::new(), daemon, path };
        for number in SERVERS {
            net.open(number)?;
        }
        Ok(net)
    }

    /// The real server begins to serve.
    fn open(&mut self, number: u8) -> CaseResult {
        let place = SocketAddr::new("::".parse()?, PORT);
        let real = self.reals.get(&number).ok_or_else(|| Stop::failed(format!("no real server {number}")))?;
        let listener = real.run(|| TcpListener::bind(place))?;
        self.servers.insert(number, Server::start(listener, number)?);
        Ok(())
    }

    /// Whom a connection reaches; nothing where it reaches nobody.
    fn ask(&self) -> Option<u8> {
        let place = SocketAddr::new(self.path.vip.parse().ok()?, PORT);
        self.client.run(|| {
            let mut stream = TcpStream::connect_timeout(&place, CONNECT).ok()?;
            stream.set_read_timeout(Some(CONNECT)).ok()?;
            let mut number = [0];
            stream.read_exact(&mut number).ok()?;
            number.first().copied()
        })
    }

    /// Twenty connections all arrive, and in equal shares at exactly these servers.
    fn shares(&self, servers: &[u8]) -> CaseResult {
        let mut counts = BTreeMap::new();
        for _ in 0..20 {
            *counts.entry(self.ask()).or_insert(0) += 1;
        }
        let expected: BTreeMap<_, _> = servers.iter().map(|server| (Some(*server), 20 / servers.len())).collect();
        if counts == expected {
            return Ok(());
        }
        Err(Stop::failed(format!("{counts:?}, not {expected:?}\n{}", self.log())))
    }

    fn wait_for(&self, words: &str) -> CaseResult {
        self.daemon.wait_for_line(words, PATIENCE).map_err(|error| Stop::failed(format!("{error}\n{}", self.log())))?;
        Ok(())
    }

    fn log(&self) -> String {
        self.daemon.lines().into_iter().map(|line| line.text + "\n").collect()
    }
}

fn config(path: Path) -> String {
    let servers = SERVERS.map(|number| {
        format!(
            " real_server {}{number} {PORT} {{\n  alpha\n  TCP_CHECK {{\n   connect_timeout 3\n  }}\n }}\n",
            path.real
        )
    });
    let (marks, opening) = if path.marked {
        let group = format!("virtual_server_group G {{\n {} {PORT}\n}}\n", path.vip);
        (format!("global_defs {{\n nftables_ipvs\n nftables_counters\n}}\n{group}"), "group G".to_owned())
    } else {
        (String::new(), format!("{} {PORT}", path.vip))
    };
    format!(
        "global_defs {{\n router_id test\n}}\n{marks}virtual_server {opening} {{\n protocol TCP\n lvs_sched rr\n lvs_method {}\n \
         delay_loop 0.5\n warmup 0\n retry 1\n delay_before_retry 0.1\n{}}}\n",
        path.method,
        servers.concat()
    )
}

/// As keepalived adds it: never the source of a check.
fn add_virtual_address(balancer: &Host, vip: &str) -> CaseResult {
    let mut route = balancer.run(RouteSocket::open)?;
    let link = route.link("eth0".parse()?)?.ok_or_else(|| Stop::failed("no eth0"))?.index;
    let vip: IpAddr = vip.parse()?;
    let address = Address::virtual_address(link, vip, if vip.is_ipv4() { 32 } else { 128 });
    let refused = route.apply(&[Change::AddAddress(address)]).refused.pop();
    refused.map_or(Ok(()), |refusal| Err(refusal.error.into()))
}

fn set_up(real: &Host, arguments: &[&str], vip: &str) -> CaseResult {
    let record = format!("/tmp/{}-{}.json", real.name(), vip);
    let _ = std::fs::remove_file(&record);
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["real-server", "setup"]).args(arguments);
    let process = real.spawn(program.args(["--record", &record, vip]))?;
    let exit = process.wait_for_exit(PATIENCE)?;
    let said = process.lines().into_iter().map(|line| line.text + "\n").collect::<String>();
    if exit.success() { Ok(()) } else { Err(Stop::failed(format!("setup: {exit}: {said}"))) }
}

/// With NAT the answers go through the balancer.
fn route_back(real: &Host, gateway: &str) -> CaseResult {
    let gateway: IpAddr = gateway.parse()?;
    let any = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let process = real.spawn(Program::new("/sbin/ip").args(["route", "add", any, "via", &gateway.to_string()]))?;
    let exit = process.wait_for_exit(PATIENCE)?;
    if exit.success() { Ok(()) } else { Err(Stop::failed(format!("adding a route: {exit}"))) }
}

/// Tells everyone its number. Closed when dropped.
struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(listener: TcpListener, number: u8) -> Result<Self, Stop> {
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A check is gone before it is told.
                    Ok((mut stream, _)) => drop(stream.write_all(&[number])),
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Both serve; one fails and the other takes its share; it returns and gets its share back.
fn connections_arrive(path: Path) -> CaseResult {
    let [first, second] = SERVERS;
    let mut net = Net::start(path)?;
    let bracketed = |number: u8| format!("service [{}{number}]:tcp:{PORT} to VS", path.real);
    for number in SERVERS {
        net.wait_for(&format!("Adding {}", bracketed(number)))?;
        wait_until_reached(&net, number)?;
    }
    net.shares(&SERVERS)?;
    let mark = net.daemon.mark();
    net.servers.remove(&first);
    net.daemon.wait_for_line_after(mark, &format!("Removing service [{}{first}]", path.real), PATIENCE)?;
    wait_until_alone(&net, second)?;
    net.shares(&[second])?;
    let mark = net.daemon.mark();
    net.open(first)?;
    net.daemon.wait_for_line_after(mark, &format!("Adding {}", bracketed(first)), PATIENCE)?;
    wait_until_reached(&net, first)?;
    net.shares(&SERVERS)
}

/// The checker is killed while a client makes one connection after the other: all of them arrive. Its successor neither adds the
/// server that was down, nor takes the other one out, and notices when the first one serves again.
fn a_killed_checker_costs_no_connection() -> CaseResult {
    const STARTED: &str = "Starting Healthcheck child process, pid=";
    let [first, second] = SERVERS;
    let mut net = Net::start(NAT)?;
    for number in SERVERS {
        wait_until_reached(&net, number)?;
    }
    net.servers.remove(&first);
    wait_until_alone(&net, second)?;
    let line = net.daemon.wait_for_line(STARTED, PATIENCE)?.text;
    let pid: i32 = line.rsplit('=').next().unwrap_or_default().trim().parse()?;
    let lines = |net: &Net| net.daemon.lines().into_iter().map(|line| line.text).collect::<Vec<_>>();
    let before = lines(&net).len();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?;
    let (mut reached, mut settled, deadline) = (0, None, Instant::now() + PATIENCE);
    // Its successor has tried both servers by then: each is tried twice a second.
    while settled.is_none_or(|settled| Instant::now() < settled) {
        match net.ask() {
            Some(number) if number == second && Instant::now() < deadline => reached += 1,
            other => return Err(Stop::failed(format!("connection {reached} reached {other:?}\n{}", net.log()))),
        }
        if settled.is_none() && lines(&net).iter().skip(before).any(|line| line.contains("Activating healthchecker")) {
            settled = Some(Instant::now() + Duration::from_secs(2));
        }
    }
    let moves = ["Adding service [", "Removing service ["];
    let moved: Vec<_> = lines(&net).split_off(before);
    if reached < 20 || moved.iter().any(|line| moves.iter().any(|words| line.contains(words))) {
        return Err(Stop::failed(format!("{reached} connections\n{}", net.log())));
    }
    net.open(first)?;
    wait_until_reached(&net, first)?;
    net.shares(&SERVERS)
}

/// The kernel is told a moment after the log.
fn wait_until_reached(net: &Net, server: u8) -> CaseResult {
    wait(net, &format!("{server} to be reached"), || net.ask() == Some(server))
}

fn wait_until_alone(net: &Net, server: u8) -> CaseResult {
    wait(net, &format!("{server} to be reached alone"), || (0..3).all(|_| net.ask() == Some(server)))
}

fn until(what: &str, condition: impl Fn() -> Result<bool, Stop>) -> CaseResult {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() > deadline {
            return Err(Stop::failed(format!("waited for {what}")));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn wait(net: &Net, what: &str, condition: impl Fn() -> bool) -> CaseResult {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > deadline {
            return Err(Stop::failed(format!("waited for {what}\n{}", net.log())));
        }
    }
    Ok(())
}

fn through_nat() -> CaseResult {
    connections_arrive(NAT)
}

fn through_nat_of_ipv6() -> CaseResult {
    connections_arrive(NAT6)
}

fn through_marks_of_nftables() -> CaseResult {
    connections_arrive(MARKED)
}

fn by_direct_routing() -> CaseResult {
    connections_arrive(DR)
}

fn by_direct_routing_of_ipv6() -> CaseResult {
    connections_arrive(DR6)
}

fn through_tunnels() -> CaseResult {
    connections_arrive(TUN)
}

fn through_tunnels_of_ipv6() -> CaseResult {
    connections_arrive(TUN6)
}

/// Without its preparation a real server does not take what the balancer sends: what the other cases rely on.
fn an_unprepared_server_is_not_reached() -> CaseResult {
    let net = Net::start(Path { setup: Some(&["--method", "dr"]), ..TUN })?;
    for number in SERVERS {
        net.wait_for(&format!("Adding service [{}{number}]", TUN.real))?;
    }
    match net.ask() {
        None => Ok(()),
        Some(number) => Err(Stop::failed(format!("{number} took packets of a tunnel that it does not have"))),
    }
}

/// Setup and teardown of a tunnel leave the host as it was.
fn a_tunnel_is_taken_back() -> CaseResult {
    const RECORD: &str = "/tmp/tunnel.json";
    const FILTER: &str = "/proc/sys/net/ipv4/conf/tunl0/rp_filter";
    let lab = Lab::new()?;
    let host = lab.host("rs")?;
    let command = |line: &str| -> CaseResult {
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).arg("real-server").args(line.split(' '));
        let process = host.spawn(program.args(["--record", RECORD]))?;
        let exit = process.wait_for_exit(PATIENCE)?;
        if exit.success() { Ok(()) } else { Err(Stop::failed(format!("{line}: {exit}: {:?}", process.lines()))) }
    };
    let state = || -> Result<(String, bool, bool), Stop> {
        let filter = host.run(|| std::fs::read_to_string(FILTER))?;
        let tunnel = host.run(RouteSocket::open)?.link("tunl0".parse()?)?;
        let up = tunnel.is_some_and(|link| link.flags.contains(LinkFlags::UP));
        Ok((filter, up, host.holds("198.18.0.100".parse()?)?))
    };
    // Loads the module.
    command("setup --method tun 198.18.0.99")?;
    command("teardown")?;
    host.set_sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    let before = state()?;
    command("setup --method tun 198.18.0.100")?;
    let during = state()?;
    command("setup --method tun 198.18.0.100")?;
    command("teardown 198.18.0.100")?;
    let after = state()?;
    let expected = ("2\n".to_owned(), true, true);
    if before == after && during == expected && !std::path::Path::new(RECORD).exists() {
        return Ok(());
    }
    Err(Stop::failed(format!("{before:?}, {during:?}, {after:?}")))
}

fn main() -> ExitCode {
    let files = |vm: Vm| {
        let modules = ["ip_vs", "ip_vs_rr", "veth", "bridge", "nf_tables"];
        let vm = modules.into_iter().fold(vm, |vm, module| vm.module(module)).memory(1024);
        Ok(vm.program(env!("CARGO_BIN_EXE_keepalived-rs"))?.program("ip")?)
    };
    harness::main_in_vm(
        files,
        &[
            case("a_tunnel_is_taken_back", a_tunnel_is_taken_back),
            case("through_nat", through_nat),
            case("through_nat_of_ipv6", through_nat_of_ipv6),
            case("through_marks_of_nftables", through_marks_of_nftables),
            case("the_tables_of_marks_come_and_go", marked::the_tables_of_marks_come_and_go),
            case("the_tables_of_a_killed_daemon_go", marked::the_tables_of_a_killed_daemon_go),
            case("ipvs_is_in_another_namespace", marked::ipvs_is_in_another_namespace),
            case("by_direct_routing", by_direct_routing),
            case("by_direct_routing_of_ipv6", by_direct_routing_of_ipv6),
            case("through_tunnels", through_tunnels),
            case("through_tunnels_of_ipv6", through_tunnels_of_ipv6),
            case("a_killed_checker_costs_no_connection", a_killed_checker_costs_no_connection),
            case("an_unprepared_server_is_not_reached", an_unprepared_server_is_not_reached),
        ],
    )
}
