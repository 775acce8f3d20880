//! The balancer on a kernel with IPVS: this test boots a virtual machine and runs itself in there, each daemon in a
//! network namespace of its own.

#[expect(dead_code, reason = "the failover tests use the rest")]
mod support;

#[path = "lvs/director.rs"]
mod director;

#[path = "lvs/many.rs"]
mod many;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Host, Lab, Process, Program, peers};
use nix::sys::signal::Signal;
use support::{Daemon, PATIENCE, wait_until};

/// The tutorial's pair with three virtual servers, interface names and addresses aside.
const CONFIG: &str = include_str!("../../../examples/keepalived-lvs.conf");

const REAL_SERVERS: [&str; 3] = ["192.0.2.11", "192.0.2.12", "192.0.2.13"];
const PORTS: [u16; 3] = [8080, 25, 21];

/// A balancer whose real servers are addresses of its own.
struct Balancer {
    _lab: Lab,
    host: Host,
    listeners: BTreeMap<SocketAddr, TcpListener>,
    daemon: Process,
}

impl Balancer {
    fn start(daemon: Daemon, config: &str) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = lab.host("lb")?;
        lab.connect(&host, "eth0", &lan)?;
        host.address("eth0", "198.18.0.1/24")?;
        for real in REAL_SERVERS {
            host.address("lo", &format!("{real}/32"))?;
        }
        let mut listeners = BTreeMap::new();
        for place in places() {
            listeners.insert(place, host.run(|| TcpListener::bind(place))?);
        }
        let program = match daemon {
            Daemon::Ours => Program::new(env!("CARGO_BIN_EXE_keepalived-rs")),
            Daemon::C => peers::keepalived()?.program(),
        };
        let program = program.args(["-nlD", "-f", "/run/keepalived.conf"]).file("/run/keepalived.conf", config);
        let daemon = host.spawn(program)?;
        Ok(Self { _lab: lab, host, listeners, daemon })
    }

    /// The kernel's table as `/proc/net/ip_vs` shows it, connection counts included.
    fn table(&self) -> Result<String, Stop> {
        // Of the thread: the process's own is another namespace's.
        Ok(self.host.run(|| std::fs::read_to_string("/proc/thread-self/net/ip_vs"))?)
    }

    /// The same as an administrator sees it.
    fn ipvsadm(&self) -> Result<Vec<String>, Stop> {
        let ipvsadm = self.host.spawn(peers::ipvsadm()?.program().arg("-Ln"))?;
        ipvsadm.wait_for_exit(PATIENCE)?;
        Ok(ipvsadm.lines().into_iter().map(|line| line.text).collect())
    }

    fn wait_for_destinations(&self, count: usize) -> CaseResult {
        let waited = wait_until(&format!("{count} destinations"), || Ok(destinations(&self.table()?) == count));
        waited.map_err(|_| {
            let log: Vec<_> = self.daemon.lines().into_iter().map(|line| line.text).collect();
            Stop::failed(format!("not {count} destinations:\n{}\n{}", self.table().unwrap_or_default(), log.join("\n")))
        })
    }
}

fn places() -> impl Iterator<Item = SocketAddr> {
    let addresses = REAL_SERVERS.iter().map(|real| real.parse().expect("an address"));
    addresses.flat_map(|ip: std::net::IpAddr| PORTS.map(|port| SocketAddr::new(ip, port)))
}

fn destinations(table: &str) -> usize {
    table.lines().filter(|line| line.starts_with("  -> ") && !line.contains("RemoteAddress")).count()
}

/// Checks that decide within a second or two.
fn quick() -> String {
    CONFIG
        .replace("delay_loop 6", "delay_loop 1")
        .replace("nb_get_retry 3", "nb_get_retry 1")
        .replace("delay_before_retry 3", "delay_before_retry 1")
}

fn the_table_is_what_c_keepalived_makes_of_the_same_file() -> CaseResult {
    let ours = Balancer::start(Daemon::Ours, CONFIG)?;
    ours.wait_for_destinations(9)?;
    let c = Balancer::start(Daemon::C, CONFIG)?;
    c.wait_for_destinations(9)?;
    let (ours_table, c_table) = (ours.table()?, c.table()?);
    if sorted(&ours_table) != sorted(&c_table) {
        return Err(Stop::failed(format!("ours:\n{ours_table}\nC:\n{c_table}")));
    }
    let (ours_list, c_list) = (ours.ipvsadm()?, c.ipvsadm()?);
    if sorted(&ours_list.join("\n")) != sorted(&c_list.join("\n")) {
        return Err(Stop::failed(format!("ours:\n{ours_list:#?}\nC:\n{c_list:#?}")));
    }
    Ok(())
}

/// Services with their destinations, in an order of their own: the kernel lists a hash table.
fn sorted(table: &str) -> Vec<Vec<String>> {
    let mut services: Vec<Vec<String>> = Vec::new();
    for line in table.lines() {
        let line = line.trim_end().to_owned();
        match services.last_mut() {
            Some(service) if line.starts_with("  -> ") => service.push(line),
            _ => services.push(vec![line]),
        }
    }
    for service in &mut services {
        service.sort();
    }
    services.sort();
    services
}

fn a_server_whose_port_closes_leaves_and_comes_back() -> CaseResult {
    let mut balancer = Balancer::start(Daemon::Ours, &quick())?;
    balancer.wait_for_destinations(9)?;
    let place: SocketAddr = "192.0.2.12:25".parse()?;
    balancer.daemon.wait_for_line("Entering MASTER STATE", PATIENCE)?;
    balancer.listeners.remove(&place);
    balancer.wait_for_destinations(8)?;
    balancer.daemon.wait_for_line("Removing service [192.0.2.12]:tcp:25 from VS [198.18.0.101]:tcp:25", PATIENCE)?;
    let listener = balancer.host.run(|| TcpListener::bind(place))?;
    balancer.listeners.insert(place, listener);
    balancer.wait_for_destinations(9)?;
    balancer.daemon.wait_for_line("Adding service [192.0.2.12]:tcp:25 to VS [198.18.0.101]:tcp:25", PATIENCE)?;
    Ok(())
}

/// A check may come from a privileged port.
fn a_check_binds_a_low_port() -> CaseResult {
    let config = CONFIG.replacen("connect_port 8080", "connect_port 8080\n bind_port 179", 1);
    let balancer = Balancer::start(Daemon::Ours, &config)?;
    balancer.daemon.wait_for_line("TCP connection to [192.0.2.11]:tcp:8080 success.", PATIENCE)?;
    Ok(())
}

fn a_stop_leaves_nothing() -> CaseResult {
    let balancer = Balancer::start(Daemon::Ours, CONFIG)?;
    balancer.wait_for_destinations(9)?;
    balancer.daemon.signal(Signal::SIGTERM)?;
    let exit = balancer.daemon.wait_for_exit(PATIENCE)?;
    let table = balancer.table()?;
    if !exit.success() || table.lines().count() > 3 {
        return Err(Stop::failed(format!("{exit}\n{table}")));
    }
    Ok(())
}

/// The checker dies: the table stays as it is, and its successor goes on.
fn a_dead_checker_changes_nothing() -> CaseResult {
    const WORDS: &str = "Starting Healthcheck child process, pid=";
    let mut balancer = Balancer::start(Daemon::Ours, &quick())?;
    balancer.listeners.remove(&"192.0.2.13:21".parse()?);
    balancer.wait_for_destinations(8)?;
    let line = balancer.daemon.wait_for_line(WORDS, PATIENCE)?;
    let pid: i32 = line.text.rsplit('=').next().unwrap_or_default().trim().parse()?;
    let mark = balancer.daemon.mark();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL)?;
    let deadline = std::time::Instant::now() + Duration::from_secs(3);
    balancer.daemon.wait_for_line_after(mark, WORDS, PATIENCE)?;
    while std::time::Instant::now() < deadline {
        let count = destinations(&balancer.table()?);
        if count != 8 {
            return Err(Stop::failed(format!("{count} destinations while the checker was replaced")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    balancer.listeners.remove(&"192.0.2.11:21".parse()?);
    balancer.wait_for_destinations(7)
}

/// Netlink, ping and privileged source ports; nothing else.
fn the_checker_keeps_only_its_capabilities() -> CaseResult {
    // Numbers of linux/capability.h.
    const NET_BIND_SERVICE: u64 = 1 << 10;
    const NET_ADMIN: u64 = 1 << 12;
    const NET_RAW: u64 = 1 << 13;
    let balancer = Balancer::start(Daemon::Ours, CONFIG)?;
    balancer.wait_for_destinations(9)?;
    let line = balancer.daemon.wait_for_line("Starting Healthcheck child process, pid=", PATIENCE)?;
    let pid = line.text.rsplit('=').next().unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()))?;
    let may = format!("{:016x}", NET_BIND_SERVICE | NET_ADMIN | NET_RAW);
    for expected in [format!("CapPrm:\t{may}"), format!("CapEff:\t{may}"), "NoNewPrivs:\t1".to_owned()] {
        if !status.lines().any(|line| line == expected) {
            return Err(Stop::failed(format!("no {expected:?} in\n{status}")));
        }
    }
    Ok(())
}

/// Whoever loses the filter keeps the addresses, and says what it lacks. No module of nftables is loaded in this machine,
/// and while this case runs none can be.
fn without_nftables_an_instance_runs_and_says_so() -> CaseResult {
    const MODPROBE: &str = "/proc/sys/kernel/modprobe";
    let modprobe = std::fs::read_to_string(MODPROBE)?;
    std::fs::write(MODPROBE, "/nowhere")?;
    let result = an_instance_without_nftables();
    std::fs::write(MODPROBE, modprobe.trim())?;
    result
}

fn an_instance_without_nftables() -> CaseResult {
    let lab = Lab::new()?;
    let lan = lab.bridge("br0")?;
    let host = lab.host("r1")?;
    lab.connect(&host, "eth0", &lan)?;
    host.address("eth0", "198.18.0.1/24")?;
    let config = "global_defs {\n nftables_ipvs\n}\nvirtual_server_group G {\n 198.18.0.100 80\n}\n\
                  virtual_server group G {\n protocol TCP\n lvs_method NAT\n real_server 192.0.2.11 80 {\n }\n}\n\
                  vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n version 3\n advert_int 0.1\n no_accept\n \
                  virtual_ipaddress {\n 198.18.0.100/24\n }\n}\n";
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlDG", "-f", "/run/keepalived.conf"]);
    let daemon = host.spawn(program.file("/run/keepalived.conf", config))?;
    daemon.wait_for_line("packets to virtual addresses without accept are not dropped: ", PATIENCE)?;
    daemon.wait_for_line(" - is the kernel built with nf_tables?", PATIENCE)?;
    daemon.wait_for_line(":2: nftables_ipvs: packets to the addresses of groups are not marked", PATIENCE)?;
    wait_until("the address to be there", || Ok(host.holds([198, 18, 0, 100].into())?))?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.wait_for_exit(PATIENCE)?;
    let complaints = daemon
        .lines()
        .into_iter()
        .filter(|line| line.text.contains("are not dropped") || line.text.contains("could not be removed"))
        .count();
    if complaints != 1 || host.holds([198, 18, 0, 100].into())? {
        return Err(Stop::failed(format!("{:#?}", daemon.lines())));
    }
    Ok(())
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let vm = vm.module("ip_vs").module("ip_vs_wlc").module("ip_vs_rr").module("veth").module("bridge").memory(1024);
        let vm = vm.program(env!("CARGO_BIN_EXE_keepalived-rs"))?.program("ip")?;
        // Who lacks a peer skips the case that asks for it.
        let peers = [peers::ipvsadm(), peers::keepalived()].into_iter().flatten();
        Ok(peers.into_iter().try_fold(vm, |vm, peer| peer.add_to(vm))?)
    };
    harness::main_in_vm(
        files,
        &[
            case(
                "the_table_is_what_c_keepalived_makes_of_the_same_file",
                the_table_is_what_c_keepalived_makes_of_the_same_file,
            ),
            case("a_server_whose_port_closes_leaves_and_comes_back", a_server_whose_port_closes_leaves_and_comes_back),
            case("a_check_binds_a_low_port", a_check_binds_a_low_port),
            case("the_checker_keeps_only_its_capabilities", the_checker_keeps_only_its_capabilities),
            case("a_stop_leaves_nothing", a_stop_leaves_nothing),
            case("a_dead_checker_changes_nothing", a_dead_checker_changes_nothing),
            case(
                "each_address_and_mark_of_a_group_is_a_service",
                director::each_address_and_mark_of_a_group_is_a_service,
            ),
            case(
                "the_sorry_server_comes_and_goes_and_scripts_tell",
                director::the_sorry_server_comes_and_goes_and_scripts_tell,
            ),
            case(
                "a_server_is_not_checked_while_the_address_is_elsewhere",
                director::a_server_is_not_checked_while_the_address_is_elsewhere,
            ),
            case("what_others_have_in_the_table_stays", director::what_others_have_in_the_table_stays),
            case(
                "lvs_flush_empties_the_table_at_the_start_and_at_the_stop",
                director::lvs_flush_empties_the_table_at_the_start_and_at_the_stop,
            ),
            case(
                "time_outs_are_the_kernels_unless_they_are_given",
                director::time_outs_are_the_kernels_unless_they_are_given,
            ),
            case("the_sync_daemon_follows_its_instance", director::the_sync_daemon_follows_its_instance),
            case(
                "a_refusal_names_its_line_and_keeps_nothing_else_away",
                director::a_refusal_names_its_line_and_keeps_nothing_else_away,
            ),
            case("a_service_that_somebody_removed_is_put_back", director::a_service_that_somebody_removed_is_put_back),
            case(
                "a_new_checker_adopts_the_table_and_its_counters",
                director::a_new_checker_adopts_the_table_and_its_counters,
            ),
            case(
                "after_a_kill_of_all_cleanup_leaves_what_others_have",
                director::after_a_kill_of_all_cleanup_leaves_what_others_have,
            ),
            case(
                "after_a_kill_of_all_the_next_daemon_keeps_what_it_wants",
                director::after_a_kill_of_all_the_next_daemon_keeps_what_it_wants,
            ),
            case(
                "a_server_that_a_reload_leaves_out_may_finish",
                director::a_server_that_a_reload_leaves_out_may_finish,
            ),
            case(
                "a_drained_server_stays_out_of_use_until_undrain",
                director::drain::a_drained_server_stays_out_of_use_until_undrain,
            ),
            case(
                "a_virtual_server_that_a_reload_leaves_out_may_finish",
                director::drain::a_virtual_server_that_a_reload_leaves_out_may_finish,
            ),
            case(
                "a_killed_runner_changes_no_server_and_checks_go_on",
                director::runner::a_killed_runner_changes_no_server_and_checks_go_on,
            ),
            case("ten_thousand_destinations_come_and_go", many::ten_thousand_destinations_come_and_go),
            case("without_nftables_an_instance_runs_and_says_so", without_nftables_an_instance_runs_and_says_so),
        ],
    )
}
