//! What the kernel refuses: the line that says so, what becomes of the rest, and the end of a daemon that may not do its work.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Process, Program, Skip};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use support::{Daemon, PATIENCE, wait_until};

const CONFIG: &str = "vrrp_instance VI_1 {\n state MASTER\n interface eth0\n virtual_router_id 51\n priority 200\n version 3\n \
    advert_int 0.1\n virtual_ipaddress {\n 198.18.0.100/24\n }\n EXTRA\n}\n";

/// A router with one interface, and a client.
struct Bench {
    lab: Lab,
    _lan: Bridge,
    router: Host,
    client: Host,
}

impl Bench {
    fn new() -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("lan")?;
        let (router, client) = (lab.host("r1")?, lab.host("client")?);
        for (host, address) in [(&router, "198.18.0.1/24"), (&client, "198.18.0.9/24")] {
            lab.connect(host, "eth0", &lan)?;
            host.address("eth0", address)?;
        }
        Ok(Self { lab, _lan: lan, router, client })
    }

    fn start(&self, extra: &str) -> Result<Process, Stop> {
        Ok(self.router.spawn(Daemon::Ours.program(&CONFIG.replace("EXTRA", extra))?)?)
    }

    /// The daemon behind another program, which takes its command line as its last arguments.
    fn start_behind(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<Process, Stop> {
        let program = Program::new(program.as_ref()).args(arguments).arg(env!("CARGO_BIN_EXE_keepalived-rs"));
        let program = program.args(["-nlDG", "--vrrp", "-f", "/run/keepalived.conf"]);
        Ok(self.router.spawn(program.file("/run/keepalived.conf", CONFIG.replace("EXTRA", "")))?)
    }
}

fn log(process: &Process) -> String {
    process.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
}

fn says(process: &Process, words: &[&str]) -> CaseResult {
    wait_until(&format!("a line with {words:?}"), || {
        Ok(process.lines().iter().any(|line| words.iter().all(|word| line.text.contains(word))))
    })
    .map_err(|_| Stop::failed(format!("no line with {words:?}\n{}", log(process))))
}

/// The request, the kernel's number and words, what becomes of it; the others are there, and it is tried again. What is
/// not there is not announced.
fn one_refusal_leaves_the_rest() -> CaseResult {
    let bench = Bench::new()?;
    bench.router.set_sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")?;
    let wire = bench.client.capture("eth0")?;
    let process = bench.start(
        "virtual_ipaddress_excluded {\n 2001:db8::100/64\n 198.18.0.101/24\n }\n virtual_routes {\n \
         10.1.0.0/16 via 203.0.113.9 dev eth0\n 10.2.0.0/16 via 198.18.0.9 dev eth0\n }\n virtual_rules {\n \
         from 10.1.0.0/16 table 7 preference 100\n }",
    )?;
    let done = "; the rest is carried out; this is tried again every second";
    says(
        &process,
        &["(ip address add 2001:db8::100/64 dev eth0 nodad proto 18): Permission denied (os error 13)", done],
    )?;
    says(
        &process,
        &[
            "(ip route prepend 10.1.0.0/16 via 203.0.113.9 dev eth0 proto 18): Network is unreachable (os error 101): \
             Nexthop has invalid gateway",
            done,
        ],
    )?;
    let announced =
        |ip: [u8; 4]| wire.wait_for(PATIENCE, |frame| frame.gratuitous_arp().filter(|it| it.octets() == ip));
    announced([198, 18, 0, 100])?;
    announced([198, 18, 0, 101])?;
    let there = |arguments: &[&str]| -> Result<String, Stop> {
        let output = bench.router.run(|| Command::new("ip").args(arguments).output());
        let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    wait_until("the other route", || Ok(there(&["route"])?.contains("10.2.0.0/16")))?;
    wait_until("the rule", || Ok(there(&["rule"])?.contains("100:")))?;
    if wire.frames().iter().any(|frame| frame.unsolicited_na().is_some()) {
        return Err(Stop::failed(format!("an address that is not there was announced\n{}", log(&process))));
    }
    // Once the kernel takes it, it comes and is announced.
    bench.router.set_sysctl("net/ipv6/conf/eth0/disable_ipv6", "0")?;
    wire.wait_for(PATIENCE, |frame| frame.unsolicited_na())?;
    let lines = process.lines();
    let complaints = lines.iter().filter(|line| line.text.contains("(ip route prepend 10.1.0.0/16")).count();
    if complaints != 1 {
        return Err(Stop::failed(format!("complained {complaints} times\n{}", log(&process))));
    }
    Ok(())
}

/// `nat` and `xresolve` have numbers, and nothing in the kernel.
fn a_route_type_that_the_kernel_lacks_is_refused() -> CaseResult {
    let bench = Bench::new()?;
    let lines = "nat 10.3.0.0/16 dev eth0\n xresolve 10.4.0.0/16 dev eth0\n 10.5.0.0/16 dev eth0\n";
    let config = CONFIG.replace("EXTRA", &format!("virtual_routes {{\n {lines} }}"));
    let config = format!("static_routes {{\n {}}}\n{config}", lines.replace("10.", "11."));
    let process = bench.router.spawn(Daemon::Ours.program(&config)?)?;
    for route in ["10 10.3.0.0/16", "11 10.4.0.0/16", "10 11.3.0.0/16", "11 11.4.0.0/16"] {
        says(&process, &[&format!("(ip route add {route} dev eth0 proto 18): Invalid argument (os error 22)")])?;
    }
    wait_until("the other routes", || {
        let output = bench.router.run(|| Command::new("ip").arg("route").output());
        let routes = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?.stdout;
        let routes = String::from_utf8_lossy(&routes).into_owned();
        Ok(routes.contains("10.5.0.0/16") && routes.contains("11.5.0.0/16"))
    })
}

/// The address of an interface that is not there any more is refused for itself.
fn an_interface_that_goes_is_named() -> CaseResult {
    let bench = Bench::new()?;
    let other = bench.lab.bridge("other")?;
    bench.lab.connect(&bench.router, "eth1", &other)?;
    let process = bench.start("virtual_ipaddress_excluded {\n 198.51.100.1/24 dev eth1\n }")?;
    wait_until("the addresses", || Ok(bench.router.holds([198, 51, 100, 1].into())?))?;
    let gone = bench.router.run(|| Command::new("ip").args(["link", "del", "eth1"]).status())?;
    assert!(gone.success());
    says(&process, &["adding 198.51.100.1 to eth1: there is no such interface"])?;
    wait_until("the other address", || Ok(bench.router.holds([198, 18, 0, 100].into())?))
}

fn ends_with(process: &Process, status: i32) -> CaseResult {
    let ended = process.wait_for_exit(PATIENCE)?;
    if ended.code() == Some(status) {
        return Ok(());
    }
    Err(Stop::failed(format!("ended with {ended}\n{}", log(process))))
}

fn without_a_capability_the_daemon_says_which_and_ends() -> CaseResult {
    for (word, capability) in [("-net_admin", "CAP_NET_ADMIN"), ("-net_raw", "CAP_NET_RAW")] {
        let bench = Bench::new()?;
        let process = bench.start_behind("setpriv", &["--bounding-set", word, "--inh-caps", word]);
        let process = process.map_err(|_| Skip("setpriv (util-linux)".into()))?;
        says(&process, &["without", capability, "start the daemon as root with that capability"])?;
        ends_with(&process, 4)?;
    }
    Ok(())
}

/// What `RestrictAddressFamilies=` of a systemd unit does.
fn a_netlink_socket_that_is_denied_is_named() -> CaseResult {
    let bench = Bench::new()?;
    let process = bench.start_behind(std::env::current_exe()?, &[DENY, "netlink"])?;
    says(
        &process,
        &["opening an rtnetlink socket: Operation not permitted (os error 1)", "look for a seccomp filter"],
    )?;
    ends_with(&process, 4)
}

fn a_group_that_may_not_be_joined_is_named() -> CaseResult {
    let bench = Bench::new()?;
    let process = bench.start_behind(std::env::current_exe()?, &[DENY, "membership"])?;
    says(
        &process,
        &["opening a socket for 224.0.0.18 on eth0: IP_ADD_MEMBERSHIP: Operation not permitted (os error 1)"],
    )?;
    ends_with(&process, 1)
}

/// The first argument of a copy of this program that runs another one under a filter; what is denied follows.
const DENY: &str = "--deny";

/// Denies a call, then becomes the program of the arguments.
fn run_denied(what: &str, command: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    const SOL_IP: u64 = 0;
    const IP_ADD_MEMBERSHIP: u64 = 35;
    const AF_NETLINK: u64 = 16;
    let is = |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    let (call, conditions) = match what {
        "netlink" => (nix::libc::SYS_socket, vec![is(0, AF_NETLINK)?]),
        "membership" => (nix::libc::SYS_setsockopt, vec![is(1, SOL_IP)?, is(2, IP_ADD_MEMBERSHIP)?]),
        other => return Err(format!("no filter is called {other}").into()),
    };
    let rules = [(call, vec![SeccompRule::new(conditions)?])].into();
    let denied = SeccompAction::Errno(u32::try_from(nix::libc::EPERM)?);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, std::env::consts::ARCH.try_into()?)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    let [program, arguments @ ..] = command else { return Err("no program to run".into()) };
    Err(Command::new(program).args(arguments).exec().into())
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [deny, what, command @ ..] = arguments.as_slice()
        && deny == DENY
    {
        let failed = run_denied(what, command);
        eprintln!("{failed:?}");
        return ExitCode::FAILURE;
    }
    harness::main(&[
        case("one_refusal_leaves_the_rest", one_refusal_leaves_the_rest),
        case("a_route_type_that_the_kernel_lacks_is_refused", a_route_type_that_the_kernel_lacks_is_refused),
        case("an_interface_that_goes_is_named", an_interface_that_goes_is_named),
        case(
            "without_a_capability_the_daemon_says_which_and_ends",
            without_a_capability_the_daemon_says_which_and_ends,
        ),
        case("a_netlink_socket_that_is_denied_is_named", a_netlink_socket_that_is_denied_is_named),
        case("a_group_that_may_not_be_joined_is_named", a_group_that_may_not_be_joined_is_named),
    ])
}
