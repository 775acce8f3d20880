//! keepalived-rs beside Debian's keepalived as directors, in one virtual machine: how long a thousand virtual servers
//! with ten real servers each take to be programmed, to get one other weight by a reload, and to go; and how time and
//! memory grow up to ten thousand virtual servers.
//!
//! Two conditions, each a table: every real server has a `TCP_CHECK`, which finds it up, as in most configurations; and
//! no real server has a check, so that nothing but reading and IPVS takes time. Both daemons log to syslog (`/dev/log`,
//! which somebody reads), run without VRRP (`--check`), and are measured by turns. The virtual machine has one processor
//! and no KVM: what counts is the ratio. It is slower than a host by more than ten times, and `delay_loop` is longer than
//! the default of 60 s by ten times, so that checks take about as much of it as they would of a host. A reload and a stop
//! begin once the machine has come to rest.
//!
//! `cargo bench -p keepalived-rs-benches --bench lvs` prints the tables of the README. C keepalived comes from
//! `crates/netlab/peers.sh keepalived`; without it only our column is measured.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use ipvs_control::socket::Socket;
use ipvs_control::types::DestinationEntry;
use ipvs_control::{ServiceAddress, Weight};
use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Host, Lab, Process, Program, peers};
use nix::sys::signal::Signal;

/// Rounds of each daemon, one after the other.
const ROUNDS: usize = 3;

/// Virtual servers of the comparison.
const SIZE: usize = 1000;

/// Virtual servers of ours alone.
const SIZES: [usize; 3] = [100, 1000, 10_000];

/// Of each virtual server.
const REAL_SERVERS: usize = 10;

/// How often the kernel is asked; a question takes it a fraction of a millisecond.
const POLL: Duration = Duration::from_millis(10);

/// A machine that has done next to nothing for so long has nothing left to do from before.
const REST: Duration = Duration::from_millis(500);

const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Ours,
    C,
}

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    /// Every real server, by TCP.
    Tcp,
    None,
}

/// What one run of a daemon took.
struct Figures {
    /// From the start until the kernel has everything.
    start: Duration,
    /// The part of it from the first real server in the kernel on.
    program: Duration,
    /// PSS of all processes then, in octets.
    memory: u64,
    /// From SIGHUP until the kernel has the other weight.
    reload: Duration,
    /// From SIGTERM until the process is gone.
    stop: Duration,
    /// Destinations that are in the kernel then.
    left: usize,
}

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--test" || word == "--list") {
        return ExitCode::SUCCESS;
    }
    let prepare = |vm: netlab::vm::Vm| {
        build()?;
        let vm = vm.module("ip_vs").module("ip_vs_wlc").module("veth").module("bridge").memory(3072);
        let vm = vm.program(binary()?)?.program("ip")?;
        Ok(peers::keepalived().into_iter().try_fold(vm, |vm, peer| peer.add_to(vm))?)
    };
    harness::main_in_vm(
        prepare,
        &[
            case("with_checks", || beside_c(Checks::Tcp)).within(Duration::from_mins(4)),
            case("without_checks", || beside_c(Checks::None)).within(Duration::from_mins(2)),
            case("growth", growth).within(Duration::from_mins(2)),
        ],
    )
}

fn build() -> CaseResult {
    if std::env::var_os("KEEPALIVED_RS_BUILT").is_some() {
        return Ok(());
    }
    let built = Command::new(env!("CARGO")).args(["build", "--release", "--quiet", "-p", "keepalived-rs"]).status()?;
    if built.success() { Ok(()) } else { Err(Stop::failed("keepalived-rs does not build")) }
}

/// The daemon, beside which this program was built.
fn binary() -> Result<PathBuf, Stop> {
    let here = std::env::current_exe()?;
    let folder = here.ancestors().nth(2).ok_or_else(|| Stop::failed("this program is in no target folder"))?;
    Ok(Path::new(folder).join("keepalived-rs"))
}

fn beside_c(checks: Checks) -> CaseResult {
    let daemons = match peers::keepalived() {
        Ok(_) => vec![Daemon::Ours, Daemon::C],
        Err(skip) => {
            println!("without C keepalived: {skip}");
            vec![Daemon::Ours]
        }
    };
    let mut all: Vec<Vec<Figures>> = daemons.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (daemon, figures) in daemons.iter().zip(&mut all) {
            figures.push(measure(*daemon, SIZE, checks)?);
        }
    }
    let checked = if checks == Checks::Tcp { "each with a `TCP_CHECK`" } else { "without checks" };
    println!(
        "| 1,000 virtual servers × 10 real servers, {checked} | keepalived-rs | C keepalived 2.2.7 | ratio |\n\
         |---|---|---|---|"
    );
    row("start until the kernel has all", &all, |figures| figures.start.as_secs_f64(), seconds);
    row("of this, from the first real server on", &all, |figures| figures.program.as_secs_f64(), seconds);
    row("reload with one other weight", &all, |figures| figures.reload.as_secs_f64(), seconds);
    row("stop until the process is gone", &all, |figures| figures.stop.as_secs_f64(), seconds);
    row("the same: destinations left", &all, |figures| float(figures.left), |value| format!("{value}"));
    row("memory of all processes (PSS)", &all, |figures| float(figures.memory), mebibytes);
    Ok(())
}

fn growth() -> CaseResult {
    println!("| destinations | start | reload | stop | left | memory |\n|---|---|---|---|---|---|");
    for size in SIZES {
        let Figures { start, memory, reload, stop, left, .. } = measure(Daemon::Ours, size, Checks::None)?;
        let times = [start, reload, stop].map(|time| seconds(time.as_secs_f64()));
        println!("| {} | {} | {left} | {} |", size * REAL_SERVERS, times.join(" | "), mebibytes(float(memory)));
    }
    Ok(())
}

/// A row of medians.
fn row(what: &str, all: &[Vec<Figures>], value: impl Fn(&Figures) -> f64, shown: impl Fn(f64) -> String) {
    let medians: Vec<f64> = all.iter().map(|figures| median(figures.iter().map(&value).collect())).collect();
    let cell = |index: usize| medians.get(index).map_or_else(|| "–".to_owned(), |value| shown(*value));
    let ratio = match medians[..] {
        [ours, c] if c != 0.0 => format!("{:.2}", ours / c),
        _ => "–".to_owned(),
    };
    println!("| {what} | {} | {} | {ratio} |", cell(0), cell(1));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

fn seconds(value: f64) -> String {
    format!("{value:.2} s")
}

fn mebibytes(octets: f64) -> String {
    format!("{:.1} MiB", octets / 1024.0 / 1024.0)
}

fn float(value: impl TryInto<u32>) -> f64 {
    value.try_into().map_or(f64::INFINITY, f64::from)
}

/// One daemon from its start to its stop.
fn measure(daemon: Daemon, size: usize, checks: Checks) -> Result<Figures, Stop> {
    let lab = Lab::new()?;
    let host = lab.host("lb")?;
    if checks == Checks::Tcp {
        host.run(be_real_servers)?;
    }
    let mut socket = host.run(Socket::open).map_err(|error| Stop::failed(error.to_string()))?;
    let file = std::env::temp_dir().join("lvs.conf");
    std::fs::write(&file, config(size, 1, checks))?;
    let begin = Instant::now();
    let process = spawn(&host, daemon, &file)?;
    wait_for_first(&mut socket)?;
    let first = Instant::now();
    wait_for_last(&mut socket, size, 1)?;
    let (start, program) = (begin.elapsed(), first.elapsed());
    complete(&mut socket, size)?;
    let memory = memory(&process)?;
    std::fs::write(&file, config(size, 2, checks))?;
    wait_for_rest()?;
    let begin = Instant::now();
    process.signal(Signal::SIGHUP)?;
    wait_for_last(&mut socket, size, 2)?;
    let reload = begin.elapsed();
    wait_for_rest()?;
    let begin = Instant::now();
    process.signal(Signal::SIGTERM)?;
    process.wait_for_exit(PATIENCE)?;
    let stop = begin.elapsed();
    let left = destinations(&mut socket)?;
    socket.flush().map_err(|error| Stop::failed(error.to_string()))?;
    Ok(Figures { start, program, memory, reload, stop, left })
}

fn spawn(host: &Host, daemon: Daemon, file: &Path) -> Result<Process, Stop> {
    let program = match daemon {
        Daemon::Ours => Program::new(binary()?),
        Daemon::C => peers::keepalived()?.program(),
    };
    Ok(host.spawn(program.args(["-n", "--check", "-f"]).arg(file))?)
}

/// Answers for all addresses of real servers; not before the end of this program does it end.
fn be_real_servers() -> CaseResult {
    let added = Command::new("ip").args(["route", "add", "local", "10.64.0.0/16", "dev", "lo"]).status()?;
    if !added.success() {
        return Err(Stop::failed("the real servers have no route"));
    }
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80))?;
    std::thread::spawn(move || listener.incoming().for_each(drop));
    Ok(())
}

/// Virtual servers with real servers. The last real server of the last has a weight of its own.
fn config(size: usize, last: u32, checks: Checks) -> String {
    let check = if checks == Checks::Tcp { "\n  TCP_CHECK {\n   connect_timeout 3\n  }" } else { "" };
    let times = if checks == Checks::Tcp { " delay_loop 600\n" } else { "" };
    let mut text = "global_defs {\n router_id test\n}\n".to_owned();
    for server in 0..size {
        writeln!(
            text,
            "virtual_server {} 80 {{\n{times} lvs_sched wlc\n lvs_method NAT\n protocol TCP",
            virtual_server(server)
        )
        .expect("a string grows");
        for real in 0..REAL_SERVERS {
            let weight = if (server + 1, real + 1) == (size, REAL_SERVERS) { last } else { 1 };
            let address = real_server(server, real);
            writeln!(text, " real_server {address} 80 {{\n  weight {weight}{check}\n }}").expect("a string grows");
        }
        text.push_str("}\n");
    }
    text
}

fn virtual_server(number: usize) -> Ipv4Addr {
    address(Ipv4Addr::new(10, 1, 0, 0), number)
}

fn real_server(virtual_server: usize, number: usize) -> Ipv4Addr {
    address(Ipv4Addr::new(10, 64, 0, 0), virtual_server * REAL_SERVERS + number)
}

fn address(first: Ipv4Addr, number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + u32::try_from(number).expect("as many addresses as there are"))
}

/// Until the first virtual server of the file has a real server.
fn wait_for_first(socket: &mut Socket) -> CaseResult {
    let deadline = Instant::now() + PATIENCE;
    while of_service(socket, 0)?.is_empty() {
        if Instant::now() > deadline {
            return Err(Stop::failed("the first virtual server has no real servers"));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Until the last virtual server has all its real servers and the last of them this weight: both daemons go by the order
/// of the file.
fn wait_for_last(socket: &mut Socket, size: usize, weight: u32) -> CaseResult {
    let deadline = Instant::now() + PATIENCE;
    let last = IpAddr::V4(real_server(size - 1, REAL_SERVERS - 1));
    loop {
        let there = of_service(socket, size - 1)?;
        let weighs =
            there.iter().any(|entry| entry.destination.address == last && entry.destination.weight == Weight(weight));
        if weighs && there.len() == REAL_SERVERS {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Stop::failed(format!("the last virtual server has {} real servers", there.len())));
        }
        std::thread::sleep(POLL);
    }
}

fn of_service(socket: &mut Socket, number: usize) -> Result<Vec<DestinationEntry>, Stop> {
    let service = ServiceAddress::tcp(SocketAddr::new(virtual_server(number).into(), 80));
    let there = socket.destinations(service).map_err(|error| Stop::failed(error.to_string()))?;
    Ok(there.unwrap_or_default())
}

/// Until the machine has been idle for four fifths of a [`REST`]: whatever a daemon does after the kernel has its table, and
/// who reads its log, is not to fall into what is measured next. First checks are few, and go on for `delay_loop`.
fn wait_for_rest() -> CaseResult {
    let deadline = Instant::now() + PATIENCE;
    let mut before = ProcessorTime::now()?;
    while Instant::now() < deadline {
        std::thread::sleep(REST);
        let now = ProcessorTime::now()?;
        if (now.idle - before.idle) * 5 >= (now.all - before.all) * 4 {
            return Ok(());
        }
        before = now;
    }
    Err(Stop::failed("the machine does not come to rest"))
}

/// Of all processors since the machine was started, in ticks.
struct ProcessorTime {
    all: u64,
    idle: u64,
}

impl ProcessorTime {
    fn now() -> Result<Self, Stop> {
        let text = std::fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        // The fourth and fifth are idle and waiting for a device; those of guests are in the first two already.
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { all: ticks.iter().sum(), idle: ticks.iter().skip(3).take(2).sum() })
    }
}

/// Nothing before the last is missing.
fn complete(socket: &mut Socket, size: usize) -> CaseResult {
    let (there, expected) = (destinations(socket)?, size * REAL_SERVERS);
    if there == expected { Ok(()) } else { Err(Stop::failed(format!("{there} destinations instead of {expected}"))) }
}

fn destinations(socket: &mut Socket) -> Result<usize, Stop> {
    let table = socket.dump().map_err(|error| Stop::failed(error.to_string()))?;
    Ok(table.entries.iter().map(|(_, destinations)| destinations.len()).sum())
}

/// PSS of all processes, in octets.
fn memory(daemon: &Process) -> Result<u64, Stop> {
    let mut sum = 0;
    for process in daemon.processes()? {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kibibytes: u64 = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default().parse()?;
        sum += kibibytes * 1024;
    }
    Ok(sum)
}
