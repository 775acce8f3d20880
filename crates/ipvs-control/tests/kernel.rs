//! Services and destinations as a real kernel reports them after `apply`.
//!
//! On the host this program boots one virtual machine with a kernel that has IPVS and runs itself in it.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the kernel under test needs the real world")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use ipvs_control::socket::{OpenError, Report, Socket};
use ipvs_control::types::{
    Family, Granularity, Persistence, PersistenceEngine, Seconds, ServiceFlags, Timeouts, Tunnel, TunnelChecksum,
};
use ipvs_control::{Change, Destination, ForwardingMethod, Pool, Scheduler, Service, ServiceAddress, Weight, plan};
use netlab::harness::{self, case};
use netlab::peers;

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
            timeouts_counters_and_version,
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
    let weighted = server("10.0.0.2:80").with_weight(Weight(u16::MAX));
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
        Change::RemoveDestination { service: tcp("192.0.2.8:80"), destination: there.key() },
    ];
    assert_eq!(apply(&mut socket, &changes).failures, []);
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
