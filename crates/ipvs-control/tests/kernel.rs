//! Services and destinations as a real kernel reports them after `apply`.
//!
//! On the host this program boots one virtual machine with a kernel that has IPVS and runs itself in it.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the kernel under test needs the real world")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ipvs_control::socket::{OpenError, Report, Socket};
use ipvs_control::types::{
    DestinationEntry, Family, Granularity, InterfaceName, Persistence, PersistenceEngine, Seconds, ServiceFlags, Stats,
    SyncDaemon, SyncRole, Timeouts, Tunnel, TunnelChecksum,
};
use ipvs_control::virtual_server::{
    Checker, CheckerId, Config, DrainProgress, RealServer, RealServerId, SorryServer, VirtualServer,
};
use ipvs_control::{
    Change, Destination, ForwardingMethod, Pool, Scheduler, Service, ServiceAddress, Verdict, Weight, plan,
};
use netlab::harness::{self, case};
use netlab::peers;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const MINUTE: Duration = Duration::from_secs(60);

/// In this order: the first case needs a kernel that has not loaded `ip_vs` yet.
fn main() -> ExitCode {
    macro_rules! cases {
        ($($name:ident),+ $(,)?) => { [$(case(stringify!($name), || { $name(); Ok(()) })),+] };
    }
    harness::main_in_vm(
        |vm| Ok(peers::ipvsadm()?.add_to(vm)?),
        &cases![
            a_kernel_without_ipvs_is_named,
            services_of_every_kind,
            every_scheduler_of_the_kernel,
            every_forwarding_method,
            options_of_services,
            what_changed_is_edited,
            a_foreign_service_stays,
            each_request_has_its_own_error,
            what_is_there_or_gone_already_is_no_error,
            thousands_of_destinations,
            thousands_of_refusals_all_arrive,
            ipvsadm_and_proc_agree,
            ipvsadm_shows_every_option,
            timeouts_counters_and_version,
            connections_are_counted,
            a_drained_server_keeps_its_connections_until_they_end,
            sync_daemons_start_and_stop,
            no_sync_daemon_beside_a_mixed_family_tunnel,
            refusals_say_what_is_the_matter,
            a_service_that_somebody_removed_meanwhile,
            what_is_written_reads_back_whatever_it_is,
        ],
    )
}

fn ipvsadm() -> Command {
    peers::ipvsadm().expect("no machine is booted without it").command()
}

fn socket() -> Socket {
    let mut socket = Socket::open().unwrap();
    socket.flush().unwrap();
    socket
}

fn apply(socket: &mut Socket, changes: &[Change]) -> Report {
    let report = socket.apply(changes, MINUTE).unwrap();
    assert_eq!(report.sent, changes.len());
    report
}

/// Makes the kernel's table as wanted and checks that a dump says so; gives the changes that it took.
fn reach(socket: &mut Socket, wanted: &[Pool]) -> Vec<Change> {
    let present = socket.dump().unwrap().pools();
    let ours = present.iter().map(|pool| pool.service.address).collect();
    let changes = plan(wanted, &present, &ours);
    assert_eq!(apply(socket, &changes).failures, []);
    assert_eq!(sorted(socket.dump().unwrap().pools()), sorted(wanted.to_vec()));
    changes
}

fn sorted(mut pools: Vec<Pool>) -> Vec<Pool> {
    pools.sort_by_key(|pool| pool.service.address);
    pools.iter_mut().for_each(|pool| pool.destinations.sort_by_key(Destination::key));
    pools
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tcp(text: &str) -> ServiceAddress {
    ServiceAddress::tcp(address(text))
}

fn service(text: &str) -> Service {
    Service::new(tcp(text), Scheduler::WLC)
}

fn server(text: &str) -> Destination {
    Destination::new(address(text), ForwardingMethod::Masquerade)
}

fn pool(service: Service, destinations: Vec<Destination>) -> Pool {
    Pool { service, destinations }
}

fn mark(number: u32, family: Family) -> ServiceAddress {
    ServiceAddress::fwmark(NonZeroU32::new(number).unwrap(), family)
}

fn a_kernel_without_ipvs_is_named() {
    let loader = "/proc/sys/kernel/modprobe";
    let before = std::fs::read_to_string(loader).unwrap();
    std::fs::write(loader, "/bin/false").unwrap();
    let error = Socket::open().unwrap_err();
    std::fs::write(loader, before).unwrap();
    assert!(matches!(error, OpenError::NoIpvs), "{error}");
    // Now the kernel may load it.
    Socket::open().unwrap();
}

fn services_of_every_kind() {
    let mut socket = socket();
    let (v4, v6) = ("192.0.2.1:80", "[2001:db8::1]:80");
    let kinds = [ServiceAddress::tcp, ServiceAddress::udp, ServiceAddress::sctp];
    let by_address = kinds.iter().flat_map(|kind| [v4, v6].map(|text| kind(address(text))));
    let by_mark = [mark(3, Family::Inet), mark(3, Family::Inet6), mark(u32::MAX, Family::Inet)];
    let wanted: Vec<_> = by_address
        .chain(by_mark)
        .map(|address| {
            let destination = match address.family() {
                Family::Inet => server("10.0.0.1:80"),
                Family::Inet6 => server("[2001:db8::2]:80"),
            };
            pool(Service::new(address, Scheduler::RR), vec![destination])
        })
        .collect();
    assert_eq!(reach(&mut socket, &wanted).len(), 18);
    assert_eq!(reach(&mut socket, &wanted), []);
    assert_eq!(reach(&mut socket, &[]).len(), 9);
}

/// A scheduler that the kernel's package has must work; one that it has not must be named with what is missing.
fn every_scheduler_of_the_kernel() {
    let modules = Command::new("find").args(["/lib/modules", "-name", "ip_vs_*.ko"]).output().unwrap();
    let modules = String::from_utf8(modules.stdout).unwrap();
    let names = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "lbpr", "sed", "nq", "twos"];
    let mut available = 0;
    for name in names {
        let mut socket = socket();
        let wanted = pool(Service::new(tcp("192.0.2.1:80"), Scheduler::new(name).unwrap()), Vec::new());
        if modules.contains(&format!("/ip_vs_{name}.ko")) {
            reach(&mut socket, &[wanted]);
            available += 1;
        } else {
            let report = apply(&mut socket, &[Change::AddService(wanted.service)]);
            let text = report.failures[0].to_string();
            assert!(text.contains(&format!("load it with `modprobe ip_vs_{name}`")), "{text}");
        }
    }
    assert!(available >= 10, "{available}");
}

fn every_forwarding_method() {
    let mut socket = socket();
    let port = NonZeroU16::new(6080).unwrap();
    let tunnels = [
        Tunnel::Ipip,
        Tunnel::Gue { port, checksum: TunnelChecksum::None },
        Tunnel::Gue { port, checksum: TunnelChecksum::Checksum },
        Tunnel::Gue { port, checksum: TunnelChecksum::Remote },
        Tunnel::Gre { checksum: TunnelChecksum::None },
        Tunnel::Gre { checksum: TunnelChecksum::Checksum },
    ];
    let methods = [ForwardingMethod::Masquerade, ForwardingMethod::DirectRoute, ForwardingMethod::LocalNode];
    let methods = methods.into_iter().chain(tunnels.map(ForwardingMethod::Tunnel));
    let destinations = methods
        .zip(1..)
        .map(|(method, last)| Destination::new(SocketAddr::new(Ipv4Addr::new(10, 0, 0, last).into(), 80), method));
    // Behind a tunnel the families may differ.
    let other_family = Destination::new(address("[2001:db8::9]:80"), ForwardingMethod::Tunnel(Tunnel::Ipip));
    let wanted = pool(service("192.0.2.1:80"), destinations.chain([other_family]).collect());
    reach(&mut socket, &[wanted]);
}

fn options_of_services() {
    let mut socket = socket();
    let persistence = |timeout, granularity| Some(Persistence { timeout: Seconds(timeout), granularity });
    let netmask = Granularity::Netmask(Ipv4Addr::new(255, 255, 255, 0));
    let persistent = Service { persistence: persistence(360, netmask), ..service("192.0.2.1:80") };
    let all_ports = Service { address: tcp("192.0.2.2:0"), ..persistent };
    let persistent6 = Service { persistence: persistence(1, Granularity::Prefix(64)), ..service("[2001:db8::1]:80") };
    let one_packet = Service {
        address: ServiceAddress::udp(address("192.0.2.3:53")),
        flags: ServiceFlags::ONE_PACKET,
        ..service("192.0.2.3:53")
    };
    let hashing = Service {
        scheduler: Scheduler::SH,
        flags: ServiceFlags::SCHEDULER_1 | ServiceFlags::SCHEDULER_2,
        ..service("192.0.2.4:80")
    };
    let sip = Service {
        address: ServiceAddress::udp(address("192.0.2.5:5060")),
        persistence_engine: Some(PersistenceEngine::new("sip").unwrap()),
        ..persistent
    };
    let limited = Destination { upper_threshold: 100, lower_threshold: 50, ..server("10.0.0.1:80") };
    let weighted = server("10.0.0.2:80").with_weight(Weight::MAX);
    let drained = server("10.0.0.3:80").with_weight(Weight::ZERO);
    let wanted = [
        pool(persistent, vec![limited, weighted, drained]),
        pool(all_ports, vec![server("10.0.0.1:0")]),
        pool(persistent6, Vec::new()),
        pool(one_packet, Vec::new()),
        pool(hashing, Vec::new()),
        pool(sip, Vec::new()),
    ];
    reach(&mut socket, &wanted);
    // All of it can be taken back without removing a service.
    let plain = wanted.map(|there| pool(Service { flags: ServiceFlags::empty(), ..there.service }, there.destinations));
    let changes = reach(&mut socket, &plain);
    assert!(changes.iter().all(|change| matches!(change, Change::EditService(_))), "{changes:?}");
}

fn what_changed_is_edited() {
    let mut socket = socket();
    reach(&mut socket, &[pool(service("192.0.2.1:80"), vec![server("10.0.0.1:80"), server("10.0.0.2:80")])]);
    let edited = Service { scheduler: Scheduler::RR, ..service("192.0.2.1:80") };
    let heavy = server("10.0.0.1:80").with_weight(Weight(7));
    let routed = Destination { forwarding: ForwardingMethod::DirectRoute, ..server("10.0.0.2:80") };
    let changes = reach(&mut socket, &[pool(edited, vec![heavy, routed])]);
    let service = edited.address;
    let expected = [
        Change::EditService(edited),
        Change::EditDestination { service, destination: heavy },
        Change::EditDestination { service, destination: routed },
    ];
    assert_eq!(changes, expected);
}

fn a_foreign_service_stays() {
    let mut socket = socket();
    let status = ipvsadm().args(["-A", "-t", "192.0.2.9:80", "-s", "nq"]).status().unwrap();
    assert!(status.success());
    let ours = BTreeSet::from([tcp("192.0.2.1:80")]);
    for wanted in [vec![pool(service("192.0.2.1:80"), vec![server("10.0.0.1:80")])], Vec::new()] {
        let present = socket.dump().unwrap().pools();
        assert_eq!(apply(&mut socket, &plan(&wanted, &present, &ours)).failures, []);
        let foreign = Service::new(tcp("192.0.2.9:80"), Scheduler::NQ);
        let expected = [wanted, vec![pool(foreign, Vec::new())]].concat();
        assert_eq!(sorted(socket.dump().unwrap().pools()), expected);
    }
}

fn each_request_has_its_own_error() {
    let mut socket = socket();
    let service = service("192.0.2.1:80");
    let add = |destination| Change::AddDestination { service: service.address, destination };
    let wrong_limits = Destination { upper_threshold: 1, lower_threshold: 2, ..server("10.0.0.2:80") };
    let wrong_family = server("[2001:db8::9]:80");
    let changes = [
        Change::AddService(service),
        add(server("10.0.0.1:80")),
        add(wrong_limits),
        add(wrong_family),
        Change::AddService(Service::new(tcp("192.0.2.2:80"), Scheduler::new("none-such").unwrap())),
        Change::AddDestination { service: tcp("192.0.2.3:80"), destination: server("10.0.0.1:80") },
        add(server("10.0.0.3:80")),
    ];
    let report = apply(&mut socket, &changes);
    let failed: Vec<_> = report.failures.iter().map(|failure| (failure.index, failure.source.0.errno)).collect();
    assert_eq!(failed, [(2, 34), (3, 22), (4, 2), (5, 3)], "{:?}", report.failures);
    let expected = [pool(service, vec![server("10.0.0.1:80"), server("10.0.0.3:80")])];
    assert_eq!(sorted(socket.dump().unwrap().pools()), expected);
}

fn what_is_there_or_gone_already_is_no_error() {
    let mut socket = socket();
    let edited = Service { scheduler: Scheduler::RR, ..service("192.0.2.1:80") };
    let service = service("192.0.2.1:80");
    let (there, heavy) = (server("10.0.0.1:80"), server("10.0.0.1:80").with_weight(Weight(9)));
    let add = |destination| Change::AddDestination { service: service.address, destination };
    let changes = [
        Change::AddService(service),
        add(there),
        Change::AddService(edited),
        add(heavy),
        Change::EditDestination { service: service.address, destination: server("10.0.0.2:80") },
        Change::RemoveDestination { service: service.address, destination: server("10.0.0.3:80").key() },
        Change::RemoveService(tcp("192.0.2.8:80")),
    ];
    assert_eq!(apply(&mut socket, &changes).failures, []);
    // Who believes that there is such a service is mistaken about more than the destination.
    let mistaken = [Change::RemoveDestination { service: tcp("192.0.2.8:80"), destination: there.key() }];
    assert!(apply(&mut socket, &mistaken).failures[0].to_string().ends_with("somebody removed the service"));
    assert_eq!(sorted(socket.dump().unwrap().pools()), [pool(edited, vec![heavy, server("10.0.0.2:80")])]);
}

/// The first hosts of 10.0.0.0/16 on port 80.
fn many_servers(count: u16) -> Vec<Destination> {
    let octets = (1..=count).map(u16::to_be_bytes);
    octets.map(|[high, low]| server(&format!("10.0.{high}.{low}:80"))).collect()
}

fn thousands_of_destinations() {
    let mut socket = socket();
    let services = (1..=100).map(|last| service(&format!("192.0.2.{last}:80")));
    let wanted: Vec<_> = services.map(|service| pool(service, many_servers(50))).collect();
    let changes = plan(&wanted, &[], &BTreeSet::new());
    let started = Instant::now();
    let report = apply(&mut socket, &changes);
    println!("{} changes in {} sends and {:?}", changes.len(), report.sends, started.elapsed());
    assert_eq!(report.failures, []);
    assert!(report.sends < changes.len() / 4, "{} sends", report.sends);
    assert_eq!(sorted(socket.dump().unwrap().pools()), sorted(wanted));
    assert_eq!(reach(&mut socket, &[]).len(), 100);
}

/// Refusals come back with the whole request; the receive buffer must hold those of a batch.
fn thousands_of_refusals_all_arrive() {
    let mut socket = socket();
    let nowhere = tcp("192.0.2.7:80");
    let add = |destination| Change::AddDestination { service: nowhere, destination };
    let changes: Vec<_> = many_servers(3000).into_iter().map(add).collect();
    let report = apply(&mut socket, &changes);
    assert_eq!(report.failures.iter().map(|failure| failure.index).collect::<Vec<_>>(), (0..3000).collect::<Vec<_>>());
}

fn ipvsadm_and_proc_agree() {
    let mut socket = socket();
    let routed = |text: &str| Destination::new(address(text), ForwardingMethod::DirectRoute);
    let tunnel = |text: &str| Destination::new(address(text), ForwardingMethod::Tunnel(Tunnel::Ipip));
    let granularity = Granularity::Netmask(Ipv4Addr::BROADCAST);
    let persistent =
        Service { persistence: Some(Persistence { timeout: Seconds(50), granularity }), ..service("10.10.10.3:1358") };
    let marked = Service::new(mark(7, Family::Inet), Scheduler::RR);
    let wanted = [
        pool(persistent, vec![routed("192.168.200.2:1358").with_weight(Weight(3)), server("192.168.200.3:1358")]),
        pool(service("[2001:db8::1]:80"), vec![server("[2001:db8::2]:8080")]),
        pool(marked, vec![tunnel("192.168.200.4:0")]),
    ];
    reach(&mut socket, &wanted);
    let listed = ipvsadm().args(["-S", "-n"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut lines: Vec<_> = listed.lines().map(str::trim_end).collect();
    lines.sort_unstable();
    let expected = [
        "-A -f 7 -s rr",
        "-A -t 10.10.10.3:1358 -s wlc -p 50",
        "-A -t [2001:db8::1]:80 -s wlc",
        "-a -f 7 -r 192.168.200.4:0 -i -w 1 --tun-type ipip",
        "-a -t 10.10.10.3:1358 -r 192.168.200.2:1358 -g -w 3",
        "-a -t 10.10.10.3:1358 -r 192.168.200.3:1358 -m -w 1",
        "-a -t [2001:db8::1]:80 -r [2001:db8::2]:8080 -m -w 1",
    ];
    assert_eq!(lines, expected);
    let table = std::fs::read_to_string("/proc/net/ip_vs").unwrap();
    for line in ["TCP  0A0A0A03:054E wlc  persistent 12500 FFFFFFFF", "FWM  00000007 rr"] {
        assert!(table.contains(line), "{table}");
    }
}

/// What ipvsadm says of the table, in an order of its own: the kernel lists a hash table.
fn saved() -> Vec<String> {
    let mut lines: Vec<_> = said(&["-S", "-n"]).lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort_unstable();
    lines
}

fn said(arguments: &[&str]) -> String {
    String::from_utf8(ipvsadm().args(arguments).output().unwrap().stdout).unwrap()
}

fn without_limits(destination: Destination) -> Destination {
    Destination { upper_threshold: 0, lower_threshold: 0, ..destination }
}

/// Makes the table that `ipvsadm -S -n` said.
fn restore(script: &str) {
    let mut ipvsadm = ipvsadm().arg("-R").stdin(Stdio::piped()).spawn().unwrap();
    ipvsadm.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(ipvsadm.wait().unwrap().success());
}

fn ipvsadm_shows_every_option() {
    let mut socket = socket();
    let port = NonZeroU16::new(6080).unwrap();
    let behind = |tunnel, last| {
        Destination::new(SocketAddr::new(Ipv4Addr::new(10, 0, 0, last).into(), 80), ForwardingMethod::Tunnel(tunnel))
    };
    let tunnels = vec![
        behind(Tunnel::Gue { port, checksum: TunnelChecksum::None }, 1),
        behind(Tunnel::Gue { port, checksum: TunnelChecksum::Checksum }, 2),
        behind(Tunnel::Gue { port, checksum: TunnelChecksum::Remote }, 3),
        behind(Tunnel::Gre { checksum: TunnelChecksum::None }, 4),
        behind(Tunnel::Gre { checksum: TunnelChecksum::Checksum }, 5),
        Destination::new(address("[2001:db8::9]:80"), ForwardingMethod::Tunnel(Tunnel::Ipip)),
    ];
    let netmask = Granularity::Netmask(Ipv4Addr::new(255, 255, 255, 0));
    let persistent = Persistence { timeout: Seconds(360), granularity: netmask };
    let sip = Service {
        address: ServiceAddress::udp(address("192.0.2.2:5060")),
        persistence: Some(persistent),
        persistence_engine: Some(PersistenceEngine::new("sip").unwrap()),
        ..service("192.0.2.2:5060")
    };
    let prefix = Persistence { timeout: Seconds(50), granularity: Granularity::Prefix(64) };
    let one_packet = ServiceFlags::ONE_PACKET;
    let dns = ServiceAddress::udp(address("192.0.2.3:53"));
    let flags = ServiceFlags::SCHEDULER_1 | ServiceFlags::SCHEDULER_2;
    let sctp = ServiceAddress::sctp(address("192.0.2.5:80"));
    let limited = Destination { upper_threshold: 100, lower_threshold: 50, ..server("10.0.0.1:80") };
    let wanted = [
        pool(service("192.0.2.1:80"), tunnels),
        pool(sip, Vec::new()),
        pool(Service { flags: one_packet, ..Service::new(dns, Scheduler::RR) }, Vec::new()),
        pool(Service { flags, ..Service::new(tcp("192.0.2.4:80"), Scheduler::MH) }, Vec::new()),
        pool(Service::new(sctp, Scheduler::NQ), vec![limited]),
        pool(Service { persistence: Some(prefix), ..service("[2001:db8::1]:80") }, Vec::new()),
        pool(Service::new(mark(9, Family::Inet6), Scheduler::SED), Vec::new()),
    ];
    reach(&mut socket, &wanted);
    let expected = [
        "-A --sctp-service 192.0.2.5:80 -s nq",
        "-A -f 9 -6 -s sed",
        "-A -t 192.0.2.1:80 -s wlc",
        "-A -t 192.0.2.4:80 -s mh -b mh-fallback,mh-port",
        "-A -t [2001:db8::1]:80 -s wlc -p 50 -M 64",
        "-A -u 192.0.2.2:5060 -s wlc -p 360 -M 255.255.255.0 --pe sip",
        "-A -u 192.0.2.3:53 -s rr -o",
        "-a --sctp-service 192.0.2.5:80 -r 10.0.0.1:80 -m -w 1",
        "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum",
        "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
        "-a -t 192.0.2.1:80 -r 10.0.0.3:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
        "-a -t 192.0.2.1:80 -r 10.0.0.4:80 -i -w 1 --tun-type gre --tun-nocsum",
        "-a -t 192.0.2.1:80 -r 10.0.0.5:80 -i -w 1 --tun-type gre --tun-csum",
        "-a -t 192.0.2.1:80 -r [2001:db8::9]:80 -i -w 1 --tun-type ipip",
    ];
    assert_eq!(saved(), expected);
    let listed = said(&["-L", "-n", "--thresholds"]);
    let words = listed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("-> 10.0.0.1:80 100 50 0 0"), "{listed}");
    // What ipvsadm saved, it makes again, and the same is read back. It saves no thresholds.
    let script = said(&["-S", "-n"]);
    socket.flush().unwrap();
    restore(&script);
    let unlimited =
        wanted.map(|there| pool(there.service, there.destinations.into_iter().map(without_limits).collect()));
    assert_eq!(sorted(socket.dump().unwrap().pools()), sorted(unlimited.to_vec()));
}

fn timeouts_counters_and_version() {
    let mut socket = socket();
    let timeouts = Timeouts { tcp: Seconds(900), tcp_fin: Seconds(120), udp: Seconds(300) };
    socket.set_timeouts(timeouts).unwrap();
    assert_eq!(socket.timeouts().unwrap(), timeouts);
    socket.set_timeouts(Timeouts { udp: Seconds(77), ..Timeouts::default() }).unwrap();
    assert_eq!(socket.timeouts().unwrap(), Timeouts { udp: Seconds(77), ..timeouts });
    reach(&mut socket, &[pool(service("192.0.2.1:80"), vec![server("10.0.0.1:80")])]);
    socket.zero(Some(tcp("192.0.2.1:80"))).unwrap();
    socket.zero(None).unwrap();
    let error = socket.zero(Some(tcp("192.0.2.2:80"))).unwrap_err().to_string();
    assert!(error.starts_with("setting counters to 0: No such process"), "{error}");
    assert_eq!(socket.info().unwrap().version, [1, 2, 1]);
}

/// A command of the machine's busybox.
fn busybox(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{line}");
}

/// Waits until the kernel has counted; it sums up every two seconds.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < MINUTE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn connections_are_counted() {
    let mut socket = socket();
    for address in ["192.0.2.60/32", "192.0.2.61/32"] {
        busybox(&format!("ip addr add {address} dev lo"));
    }
    let real = TcpListener::bind("192.0.2.61:8080").unwrap();
    let virtual_address = tcp("192.0.2.60:80");
    reach(&mut socket, &[pool(service("192.0.2.60:80"), vec![server("192.0.2.61:8080")])]);
    let mut client = TcpStream::connect_timeout(&address("192.0.2.60:80"), MINUTE).unwrap();
    let (mut served, _) = real.accept().unwrap();
    client.write_all(b"hello").unwrap();
    served.read_exact(&mut [0; 5]).unwrap();
    let mut entry = || -> DestinationEntry { socket.destinations(virtual_address).unwrap().unwrap()[0] };
    let busy = entry();
    assert_eq!((busy.active_connections, busy.inactive_connections, busy.persistent_connections), (1, 0, 0));
    assert_eq!(busy.in_use(), 1);
    drop((client, served));
    let idle = wait_for("no active connection", || Some(entry()).filter(|entry| entry.active_connections == 0));
    assert_eq!(idle.inactive_connections, 1);
    // The numbers grow until the last packet is summed up.
    wait_for("ipvsadm and the dump to count the same", || {
        let Stats { connections, incoming_packets, outgoing_packets, incoming_octets, outgoing_octets, .. } =
            entry().stats;
        let numbers = [connections, incoming_packets, outgoing_packets, incoming_octets, outgoing_octets];
        let shown = said(&["-L", "-n", "--stats", "--exact"]);
        let line = shown.lines().find_map(|line| line.trim_start().strip_prefix("-> 192.0.2.61:8080"))?;
        let shown: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let counted = connections == 1 && incoming_packets >= 3 && incoming_octets > 5;
        (counted && shown == numbers).then_some(())
    });
    socket.zero(Some(virtual_address)).unwrap();
    let (service, destinations) = socket.dump().unwrap().entries.remove(0);
    assert_eq!((service.stats.connections, destinations[0].stats.connections), (0, 0));
    assert_eq!(destinations[0].inactive_connections, 1, "connections are no counter");
}

/// Three servers on this machine: two behind the service, and the sorry server.
fn a_drained_server_keeps_its_connections_until_they_end() {
    let mut socket = socket();
    for last in 70..74 {
        busybox(&format!("ip addr add 192.0.2.{last}/32 dev lo"));
    }
    let [first, second, sorry] = [71, 72, 73].map(|last| address(&format!("192.0.2.{last}:8080")));
    let service = Service { scheduler: Scheduler::RR, ..service("192.0.2.70:80") };
    let mut config = Config::new(service);
    for (address, checker) in [(first, Checker::UP), (second, Checker::DOWN)] {
        let server = RealServer::new(&service, address, ForwardingMethod::Masquerade).with_checkers(vec![checker]);
        config.real_servers.push(server);
    }
    config.sorry_server = Some(SorryServer::new(&service, sorry, ForwardingMethod::Masquerade));
    let [first, second, sorry] = [first, second, sorry].map(|address| TcpListener::bind(address).unwrap());
    let connect_to = |listener: &TcpListener| {
        let client = TcpStream::connect_timeout(&address("192.0.2.70:80"), MINUTE).unwrap();
        (client, listener.accept().unwrap().0)
    };
    let mut virtual_server = VirtualServer::new(config);
    virtual_server.start();
    reach(&mut socket, &virtual_server.wanted());
    let (mut client, served) = connect_to(&first);
    let drained = RealServerId(0);
    virtual_server.handle_verdict(RealServerId(1), CheckerId(0), Verdict::Up);
    virtual_server.drain(drained, ipvs_control::types::Instant::default(), None);
    reach(&mut socket, &virtual_server.wanted());
    let others: Vec<_> = (0..3).map(|_| connect_to(&second)).collect();
    // The other one fails, and the sorry server takes what is new. What there is goes on.
    virtual_server.handle_verdict(RealServerId(1), CheckerId(0), Verdict::Down);
    assert_eq!(reach(&mut socket, &virtual_server.wanted()).len(), 2);
    drop((others, connect_to(&sorry)));
    client.write_all(b"hello").unwrap();
    let mut count = || {
        let present = socket.destinations(service.address).unwrap().unwrap();
        virtual_server.handle_destinations(&BTreeMap::from([(service.address, present)]));
        virtual_server.drain_status(drained).unwrap()
    };
    assert_eq!((count().left, count().progress), (Some(1), DrainProgress::Waiting));
    wait_for("the octets", || served.peek(&mut [0; 5]).is_ok_and(|length| length == 5).then_some(()));
    // Closed with octets unread: a reset, after which the kernel keeps the connection for ten seconds.
    drop(served);
    wait_for("the end of the last connection", || {
        Some(count()).filter(|drain| drain.progress == DrainProgress::Drained)
    });
    reach(&mut socket, &virtual_server.wanted());
    virtual_server.undrain(drained);
    assert_eq!(reach(&mut socket, &virtual_server.wanted()).len(), 2);
    drop(connect_to(&first));
}

fn sync_daemons_start_and_stop() {
    let mut socket = socket();
    for line in ["ip link add sync0 type dummy", "ip link set sync0 up", "ip addr add 198.51.100.1/24 dev sync0"] {
        busybox(line);
    }
    busybox("ip route add 224.0.0.0/4 dev sync0");
    let interface = InterfaceName::new("sync0").unwrap();
    let master = SyncDaemon { sync_id: 255, ..SyncDaemon::new(SyncRole::Master, interface) };
    let backup = SyncDaemon {
        sync_id: 4,
        max_length: NonZeroU16::new(1300),
        group: Ipv4Addr::new(239, 1, 1, 1).into(),
        port: NonZeroU16::new(9000).unwrap(),
        ttl: NonZeroU8::new(7).unwrap(),
        ..SyncDaemon::new(SyncRole::Backup, interface)
    };
    assert_eq!(socket.sync_daemons().unwrap(), []);
    socket.start_sync_daemon(&master).unwrap();
    socket.start_sync_daemon(&backup).unwrap();
    // The largest message that an MTU of 1500 leaves.
    let filled_in = SyncDaemon { max_length: NonZeroU16::new(1472), ..master };
    assert_eq!(socket.sync_daemons().unwrap(), [filled_in, backup]);
    let shown = said(&["-L", "--daemon"]);
    let expected = [
        "master sync daemon (mcast=sync0, syncid=255, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)",
        "backup sync daemon (mcast=sync0, syncid=4, maxlen=1300, group=239.1.1.1, port=9000, ttl=7)",
    ];
    assert_eq!(shown.lines().map(str::trim_end).collect::<Vec<_>>(), expected);
    // What runs as wanted goes on, what does not is started anew, and what was read back is met.
    socket.start_sync_daemon(&master).unwrap();
    socket.start_sync_daemon(&filled_in).unwrap();
    let other = SyncDaemon { sync_id: 3, group: "ff02::51".parse().unwrap(), ..filled_in };
    socket.start_sync_daemon(&other).unwrap();
    let short = SyncDaemon { max_length: NonZeroU16::new(9), ..backup };
    socket.start_sync_daemon(&short).unwrap();
    let least = SyncDaemon { max_length: NonZeroU16::new(1024), ..backup };
    assert_eq!(socket.sync_daemons().unwrap(), [other, least]);
    assert!(short.is_met_by(&least));
    let nowhere = SyncDaemon { interface: InterfaceName::new("none-such").unwrap(), ..master };
    socket.stop_sync_daemon(SyncRole::Master).unwrap();
    let error = socket.start_sync_daemon(&nowhere).unwrap_err().to_string();
    assert!(error.starts_with("starting the master sync daemon on none-such (id 255): No such device"), "{error}");
    assert_eq!(socket.sync_daemons().unwrap(), [least]);
    socket.stop_sync_daemon(SyncRole::Backup).unwrap();
    socket.stop_sync_daemon(SyncRole::Backup).unwrap();
    assert_eq!(said(&["-L", "--daemon"]), "");
}

fn no_sync_daemon_beside_a_mixed_family_tunnel() {
    let mut socket = socket();
    let mixed = Destination::new(address("[2001:db8::9]:80"), ForwardingMethod::Tunnel(Tunnel::Ipip));
    let add = Change::AddDestination { service: tcp("192.0.2.1:80"), destination: mixed };
    let daemon = SyncDaemon::new(SyncRole::Backup, InterfaceName::new("lo").unwrap());
    reach(&mut socket, &[pool(service("192.0.2.1:80"), vec![mixed])]);
    let error = socket.start_sync_daemon(&daemon).unwrap_err().to_string();
    assert!(error.ends_with("Invalid argument (os error 22)"), "{error}");
    reach(&mut socket, &[pool(service("192.0.2.1:80"), Vec::new())]);
    socket.start_sync_daemon(&daemon).unwrap();
    let report = apply(&mut socket, &[add]);
    assert!(report.failures[0].to_string().ends_with("needs a tunnel, and no sync daemon may run"), "{report:?}");
    socket.stop_sync_daemon(SyncRole::Backup).unwrap();
    assert_eq!(apply(&mut socket, &[add]).failures, []);
}

/// The kernel's own error numbers for what people get wrong.
fn refusals_say_what_is_the_matter() {
    let mut socket = socket();
    let service = service("192.0.2.1:80");
    let add = |destination| Change::AddDestination { service: service.address, destination };
    let no_engine = Service {
        address: tcp("192.0.2.2:80"),
        persistence_engine: PersistenceEngine::new("none-such").ok(),
        ..service
    };
    let no_prefix = Persistence { timeout: Seconds(9), granularity: Granularity::Prefix(0) };
    let changes = [
        Change::AddService(service),
        Change::AddService(no_engine),
        Change::AddService(Service {
            persistence: Some(no_prefix),
            ..Service::new(tcp("[2001:db8::1]:80"), Scheduler::RR)
        }),
        add(Destination { upper_threshold: 1, lower_threshold: 2, ..server("10.0.0.2:80") }),
        add(server("[2001:db8::9]:80")),
        add(server("224.0.0.1:80")),
        Change::EditService(self::service("192.0.2.9:80")),
        add(Destination { upper_threshold: 1 << 31, ..server("10.0.0.3:80") }),
    ];
    let report = apply(&mut socket, &changes);
    let hints: Vec<_> = report
        .failures
        .iter()
        .map(|failure| {
            let text = failure.to_string();
            (failure.index, text.split_once("; ").map_or(text.clone(), |(_, hint)| hint.to_owned()))
        })
        .collect();
    let expected = [
        (
            1,
            "the kernel has no scheduler wlc or no persistence engine none-such: load them with `modprobe ip_vs_wlc` and `modprobe ip_vs_pe_none-such`",
        ),
        (2, "the netmask or prefix length of persistence is wrong"),
        (3, "the lower threshold is above the upper one"),
        (4, "a server of the other family needs a tunnel, and no sync daemon may run"),
        (5, "its address is not a host's"),
        (6, "somebody removed the service"),
        (7, "the upper threshold is above 2147483647"),
    ];
    assert_eq!(hints, expected.map(|(index, hint)| (index, hint.to_owned())));
}

fn a_service_that_somebody_removed_meanwhile() {
    let mut socket = socket();
    let (gone, kept) = (service("192.0.2.1:80"), service("192.0.2.2:80"));
    let before = [pool(gone, vec![server("10.0.0.1:80")]), pool(kept, vec![server("10.0.0.1:80")])];
    reach(&mut socket, &before);
    let present = socket.dump().unwrap().pools();
    assert!(ipvsadm().args(["-D", "-t", "192.0.2.1:80"]).status().unwrap().success());
    let heavy = |service| pool(service, vec![server("10.0.0.1:80").with_weight(Weight(5)), server("10.0.0.2:80")]);
    let wanted = [heavy(gone), heavy(kept)];
    let ours = BTreeSet::new();
    let report = apply(&mut socket, &plan(&wanted, &present, &ours));
    let failed: Vec<_> = report.failures.iter().map(|failure| failure.change.service()).collect();
    assert_eq!(failed, [gone.address; 2], "{:?}", report.failures);
    assert_eq!(sorted(socket.dump().unwrap().pools()), [heavy(kept)], "the others are programmed");
    // Planned again from what is there, all of it is.
    reach(&mut socket, &wanted);
}

fn any_family_address(family: Family, network: u8) -> BoxedStrategy<IpAddr> {
    let last = 1u8..9;
    match family {
        Family::Inet => last.prop_map(move |last| Ipv4Addr::new(network, 0, 0, last).into()).boxed(),
        Family::Inet6 => last
            .prop_map(move |last| Ipv6Addr::new(0x2001, 0xdb8, network.into(), 0, 0, 0, 0, last.into()).into())
            .boxed(),
    }
}

fn any_service_address() -> BoxedStrategy<ServiceAddress> {
    let family = || prop_oneof![Just(Family::Inet), Just(Family::Inet6)];
    let kinds = prop_oneof![
        Just(ServiceAddress::tcp as fn(SocketAddr) -> ServiceAddress),
        Just(ServiceAddress::udp as fn(SocketAddr) -> ServiceAddress),
        Just(ServiceAddress::sctp as fn(SocketAddr) -> ServiceAddress),
    ];
    let virtual_address = family().prop_flat_map(|family| any_family_address(family, 192));
    let by_address = (kinds, virtual_address, 1u16..4).prop_map(|(kind, address, port)| kind((address, port).into()));
    let by_mark = (1u32.., family()).prop_map(|(number, family)| mark(number, family));
    prop_oneof![3 => by_address, 1 => by_mark].boxed()
}

/// A service as the kernel takes it.
fn any_service(address: ServiceAddress) -> BoxedStrategy<Service> {
    let names = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq"];
    let scheduler = prop::sample::select(names.map(|name| Scheduler::new(name).unwrap()).to_vec());
    let udp = address.protocol() == Some(ipvs_control::types::Protocol::Udp);
    let flags = (0u32..8, any::<bool>()).prop_map(move |(scheduler_flags, one_packet)| {
        let one_packet = if one_packet && udp { ServiceFlags::ONE_PACKET } else { ServiceFlags::empty() };
        ServiceFlags::from_bits_retain(scheduler_flags << 3) | one_packet
    });
    let granularity = match address.family() {
        Family::Inet => (0u32..=32)
            .prop_map(|bits| Granularity::Netmask(Ipv4Addr::from(u32::MAX.checked_shl(32 - bits).unwrap_or(0))))
            .boxed(),
        Family::Inet6 => (1u8..=128).prop_map(Granularity::Prefix).boxed(),
    };
    let persistence = (1u32..2_678_400, granularity)
        .prop_map(|(timeout, granularity)| Persistence { timeout: Seconds(timeout), granularity });
    let engine = prop::option::of(Just(PersistenceEngine::new("sip").unwrap()));
    (scheduler, flags, prop::option::of(persistence), engine)
        .prop_map(move |(scheduler, flags, persistence, engine)| {
            let persistence_engine = engine.filter(|_| udp && persistence.is_some());
            Service { address, scheduler, flags, persistence, persistence_engine }
        })
        .boxed()
}

fn any_forwarding() -> BoxedStrategy<ForwardingMethod> {
    let checksum =
        || prop::sample::select(vec![TunnelChecksum::None, TunnelChecksum::Checksum, TunnelChecksum::Remote]);
    let gue = (any::<NonZeroU16>(), checksum()).prop_map(|(port, checksum)| Tunnel::Gue { port, checksum });
    let gre = checksum().prop_map(|checksum| Tunnel::Gre { checksum });
    prop_oneof![
        Just(ForwardingMethod::Masquerade),
        Just(ForwardingMethod::DirectRoute),
        Just(ForwardingMethod::LocalNode),
        prop_oneof![Just(Tunnel::Ipip), gue, gre].prop_map(ForwardingMethod::Tunnel),
    ]
    .boxed()
}

const THRESHOLD: u32 = i32::MAX.unsigned_abs();

/// Destinations as the kernel takes them for a service of `family`, each once.
fn any_destinations(family: Family) -> BoxedStrategy<Vec<Destination>> {
    let other = match family {
        Family::Inet => Family::Inet6,
        Family::Inet6 => Family::Inet,
    };
    let key = prop_oneof![3 => any_family_address(family, 10), 1 => any_family_address(other, 10)];
    let settings = (0..=Weight::MAX.0, any_forwarding(), 0u32..=THRESHOLD, 0u32..=THRESHOLD);
    btree_map((key, 1u16..3), settings, 0..6)
        .prop_map(move |found| {
            let destination =
                |((address, port), (weight, forwarding, one, two)): ((IpAddr, u16), (u32, _, u32, u32))| {
                    let tunnelled = matches!(forwarding, ForwardingMethod::Tunnel(_));
                    let mixed = Family::of(address) != family;
                    let forwarding =
                        if mixed && !tunnelled { ForwardingMethod::Tunnel(Tunnel::Ipip) } else { forwarding };
                    let destination = Destination::new((address, port).into(), forwarding).with_weight(Weight(weight));
                    Destination { upper_threshold: one.max(two), lower_threshold: one.min(two), ..destination }
                };
            found.into_iter().map(destination).collect()
        })
        .boxed()
}

fn any_table() -> impl Strategy<Value = Vec<Pool>> {
    let pool_of = |address: ServiceAddress| {
        (any_service(address), any_destinations(address.family())).prop_map(|(service, there)| pool(service, there))
    };
    vec(any_service_address().prop_flat_map(pool_of), 0..5).prop_map(|mut pools| {
        pools.sort_by_key(|pool| pool.service.address);
        pools.dedup_by_key(|pool| pool.service.address);
        pools
    })
}

/// From any table to any other, and what was read is written again and is the same.
fn what_is_written_reads_back_whatever_it_is() {
    let mut socket = socket();
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let socket = std::cell::RefCell::new(&mut socket);
    let apply_all = |socket: &mut Socket, wanted: &[Pool]| {
        let present = socket.dump().unwrap().pools();
        let ours = present.iter().map(|pool| pool.service.address).collect();
        let changes = plan(wanted, &present, &ours);
        apply(socket, &changes).failures.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let outcome = runner.run(&any_table(), |wanted| {
        let socket = &mut **socket.borrow_mut();
        let refused = apply_all(socket, &wanted);
        prop_assert_eq!(refused, Vec::<String>::new());
        let read = socket.dump().unwrap().pools();
        socket.flush().unwrap();
        reach(socket, &read);
        assert_eq!(sorted(read), sorted(wanted));
        Ok(())
    });
    outcome.unwrap();
}
