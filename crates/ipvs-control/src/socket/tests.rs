use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};

use proptest::prelude::*;

use super::*;
use crate::message::Refusal;
use crate::testing;
use crate::types::{
    DestinationKey, ForwardingMethod, Granularity, InterfaceName, Persistence, PersistenceEngine, Pool, Scheduler,
    Seconds, Stats, Weight,
};

const FAMILY: u16 = 28;
const EINTR: i32 = 4;
const ENODEV: i32 = 19;
const MINUTE: Duration = Duration::from_secs(60);

/// A kernel with IPVS that keeps its table here and answers as ip_vs does.
#[derive(Debug, Default)]
struct Kernel {
    table: BTreeMap<ServiceAddress, (Service, BTreeMap<DestinationKey, Destination>)>,
    answers: VecDeque<Vec<u8>>,
    /// Number of requests in each send.
    sends: Vec<usize>,
    sync_daemons: BTreeMap<SyncRole, SyncDaemon>,
    /// The threads of sync daemons are stopped before they begin to run.
    hasty: bool,
    missing: bool,
    forbidden: bool,
    silent: bool,
}

impl Datagrams for Kernel {
    fn send(&mut self, octets: &[u8]) -> io::Result<Duration> {
        let frames: Vec<_> = frames(octets).map(Result::unwrap).collect();
        self.sends.push(frames.len());
        for frame in frames {
            if self.silent {
                continue;
            }
            let result = self.carry_out(frame.request().unwrap(), frame.sequence);
            if result == Err(EINTR) {
                continue;
            }
            if result.is_err() || frame.acknowledge() == Acknowledge::Always {
                let errno = result.err().unwrap_or(0);
                let kind = if errno == 0 && frame.flags & NLM_F_DUMP == NLM_F_DUMP { NLMSG_DONE } else { NLMSG_ERROR };
                self.answers.push_back(control(kind, frame.sequence, errno));
            } else if frame.flags & NLM_F_DUMP == NLM_F_DUMP {
                self.answers.push_back(control(NLMSG_DONE, frame.sequence, 0));
            }
        }
        Ok(Duration::ZERO)
    }

    fn receive<'a>(&mut self, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        *buffer = self.answers.pop_front().ok_or(io::Error::from_raw_os_error(EAGAIN))?;
        Ok(buffer)
    }
}

const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

fn control(kind: u16, sequence: u32, errno: i32) -> Vec<u8> {
    let mut octets = 36u32.to_ne_bytes().to_vec();
    octets.extend(kind.to_ne_bytes());
    octets.extend(0u16.to_ne_bytes());
    octets.extend(sequence.to_ne_bytes());
    octets.extend(0u32.to_ne_bytes());
    octets.extend((-errno).to_ne_bytes());
    octets.extend([0; 16]);
    octets
}

impl Kernel {
    fn answer(&mut self, answer: Answer, sequence: u32) {
        let mut octets = Vec::new();
        answer.emit(FAMILY, sequence, &mut octets);
        self.answers.push_back(octets);
    }

    fn carry_out(&mut self, request: Request, sequence: u32) -> Result<(), i32> {
        match request {
            Request::ResolveFamily if self.missing => Err(ENOENT),
            Request::ResolveFamily => {
                self.answer(Answer::Family(FAMILY), sequence);
                Ok(())
            }
            _ if self.forbidden => Err(EPERM),
            Request::Change(change) => self.change(change),
            Request::DumpServices => {
                let services: Vec<_> = self.table.values().map(|(service, _)| *service).collect();
                for service in services {
                    self.answer(Answer::Service(ServiceEntry { service, stats: Stats::default() }), sequence);
                }
                Ok(())
            }
            Request::DumpDestinations(address) => {
                let destinations: Vec<_> = self.table.get(&address).ok_or(ESRCH)?.1.values().copied().collect();
                for destination in destinations {
                    let entry = DestinationEntry {
                        destination,
                        active_connections: 0,
                        inactive_connections: 0,
                        persistent_connections: 0,
                        stats: Stats::default(),
                    };
                    self.answer(Answer::Destination(entry), sequence);
                }
                Ok(())
            }
            Request::Flush => {
                self.table.clear();
                Ok(())
            }
            Request::QueryInfo => {
                self.answer(Answer::Info(Info { version: [1, 2, 1], connection_table_size: 4096 }), sequence);
                Ok(())
            }
            Request::QueryTimeouts => {
                self.answer(Answer::Timeouts(Timeouts::default()), sequence);
                Ok(())
            }
            Request::Zero(_) | Request::SetTimeouts(_) => Ok(()),
            Request::StartSyncDaemon(daemon) if self.sync_daemons.contains_key(&daemon.role) => Err(EEXIST),
            Request::StartSyncDaemon(daemon) if daemon.interface.as_str() == "none-such" => Err(ENODEV),
            Request::StartSyncDaemon(daemon) => {
                let filled_in = daemon.max_length.or(NonZeroU16::new(1472));
                self.sync_daemons.insert(daemon.role, SyncDaemon { max_length: filled_in, ..daemon });
                Ok(())
            }
            Request::StopSyncDaemon(role) if self.hasty && self.sync_daemons.remove(&role).is_some() => Err(EINTR),
            Request::StopSyncDaemon(role) => self.sync_daemons.remove(&role).map(drop).ok_or(ESRCH),
            Request::DumpSyncDaemons => {
                let daemons: Vec<_> = self.sync_daemons.values().copied().collect();
                daemons.into_iter().for_each(|daemon| self.answer(Answer::SyncDaemon(daemon), sequence));
                Ok(())
            }
        }
    }

    fn change(&mut self, change: Change) -> Result<(), i32> {
        let service = change.service();
        match change {
            Change::AddService(_) if self.table.contains_key(&service) => Err(EEXIST),
            Change::AddService(new) if new.scheduler.as_str() == "none-such" => Err(ENOENT),
            Change::AddService(new) => {
                self.table.insert(service, (new, BTreeMap::new()));
                Ok(())
            }
            Change::EditService(new) => {
                self.table.get_mut(&service).ok_or(ESRCH)?.0 = new;
                Ok(())
            }
            Change::RemoveService(_) => self.table.remove(&service).map(drop).ok_or(ESRCH),
            Change::AddDestination { destination, .. } => {
                let destinations = &mut self.table.get_mut(&service).ok_or(ESRCH)?.1;
                match destinations.contains_key(&destination.key()) {
                    true => Err(EEXIST),
                    false if destination.lower_threshold > destination.upper_threshold => Err(ERANGE),
                    false => {
                        destinations.insert(destination.key(), destination);
                        Ok(())
                    }
                }
            }
            Change::EditDestination { destination, .. } => {
                let destinations = &mut self.table.get_mut(&service).ok_or(ESRCH)?.1;
                *destinations.get_mut(&destination.key()).ok_or(ENOENT)? = destination;
                Ok(())
            }
            Change::RemoveDestination { destination, .. } => {
                self.table.get_mut(&service).ok_or(ESRCH)?.1.remove(&destination).map(drop).ok_or(ENOENT)
            }
        }
    }
}

fn open() -> Exchange<Kernel> {
    Exchange::open(Kernel::default()).unwrap()
}

fn tcp(address: &str) -> ServiceAddress {
    ServiceAddress::tcp(address.parse().unwrap())
}

fn server(address: &str) -> Destination {
    Destination::new(address.parse().unwrap(), ForwardingMethod::Masquerade)
}

#[test]
fn a_kernel_without_ipvs_is_named() {
    let error = Exchange::open(Kernel { missing: true, ..Kernel::default() }).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("IPVS: Can't initialize ipvs: the kernel has no IPVS; load it with `modprobe ip_vs`"),
        "{text}"
    );
}

#[test]
fn a_process_without_the_right_is_told_so() {
    let error = Exchange::open(Kernel { forbidden: true, ..Kernel::default() }).unwrap_err();
    assert!(matches!(error, OpenError::NotPermitted), "{error}");
}

#[test]
fn a_kernel_that_says_nothing_is_an_error() {
    let error = Exchange::open(Kernel { silent: true, ..Kernel::default() }).unwrap_err();
    assert!(matches!(error, OpenError::Exchange(ExchangeError::NoAnswer)), "{error}");
}

#[test]
fn lost_answers_are_an_overrun() {
    let error = receive_error(io::Error::from_raw_os_error(ENOBUFS));
    assert!(matches!(error, ExchangeError::Overrun));
}

#[test]
fn thousands_of_changes_take_few_sends() {
    let mut exchange = open();
    let service = Service::new(tcp("192.0.2.1:80"), Scheduler::RR);
    let add = |number: u32| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
        let destination = Destination::new((address, 80).into(), ForwardingMethod::Masquerade);
        Change::AddDestination { service: service.address, destination }
    };
    let changes: Vec<_> = std::iter::once(Change::AddService(service)).chain((1..5000).map(add)).collect();
    exchange.datagrams.sends.clear();
    let report = exchange.apply(&changes, MINUTE).unwrap();
    assert_eq!((report.sent, report.failures.len()), (5000, 0));
    // 16, 32, 64 and then 128 at a time.
    assert_eq!(exchange.datagrams.sends.len(), 3 + (5000usize - 112).div_ceil(BATCH));
    assert_eq!(report.sends, exchange.datagrams.sends.len());
    assert_eq!(exchange.datagrams.table[&service.address].1.len(), 4999);
}

#[test]
fn batches_grow_while_the_kernel_is_quick_and_shrink_when_it_is_not() {
    let mut exchange = open();
    for _ in 0..10 {
        exchange.adapt(exchange.batch, KERNEL_TIME / 4);
    }
    assert_eq!(exchange.batch, BATCH);
    exchange.adapt(exchange.batch, KERNEL_TIME * 2);
    assert_eq!(exchange.batch, BATCH / 2);
    for _ in 0..10 {
        exchange.adapt(exchange.batch, KERNEL_TIME * 2);
    }
    assert_eq!(exchange.batch, 1);
}

#[test]
fn a_refused_change_is_its_own_failure() {
    let mut exchange = open();
    let service = Service::new(tcp("192.0.2.1:80"), Scheduler::RR);
    let wrong = Destination { lower_threshold: 1, ..server("10.0.0.2:80") };
    let changes = [
        Change::AddService(service),
        Change::AddDestination { service: service.address, destination: server("10.0.0.1:80") },
        Change::AddDestination { service: service.address, destination: wrong },
        Change::AddDestination { service: service.address, destination: server("10.0.0.3:80") },
        Change::AddService(Service::new(tcp("192.0.2.2:80"), Scheduler::new("none-such").unwrap())),
    ];
    let report = exchange.apply(&changes, MINUTE).unwrap();
    let texts: Vec<_> = report.failures.iter().map(|failure| (failure.index, failure.to_string())).collect();
    insta::assert_debug_snapshot!(texts, @r#"
    [
        (
            2,
            "adding 10.0.0.2:80 to [192.0.2.1]:tcp:80: Numerical result out of range (os error 34); the lower threshold is above the upper one",
        ),
        (
            4,
            "adding service [192.0.2.2]:tcp:80 (none-such): No such file or directory (os error 2); the kernel has no scheduler none-such: load it with `modprobe ip_vs_none-such`",
        ),
    ]
    "#);
    assert_eq!(exchange.datagrams.table[&service.address].1.len(), 2);
}

#[test]
fn what_is_there_is_edited_and_what_is_gone_is_gone() {
    let mut exchange = open();
    let (old, new) =
        (Service::new(tcp("192.0.2.1:80"), Scheduler::RR), Service::new(tcp("192.0.2.1:80"), Scheduler::WLC));
    let service = old.address;
    let heavy = server("10.0.0.1:80").with_weight(Weight(9));
    let mark = ServiceAddress::fwmark(NonZeroU32::MIN, Family::Inet6);
    exchange
        .apply(
            &[Change::AddService(old), Change::AddDestination { service, destination: server("10.0.0.1:80") }],
            MINUTE,
        )
        .unwrap();
    let changes = [
        Change::AddService(new),
        Change::AddDestination { service, destination: heavy },
        Change::EditDestination { service, destination: server("10.0.0.2:80") },
        Change::RemoveDestination { service, destination: server("10.0.0.3:80").key() },
        Change::RemoveService(mark),
    ];
    assert_eq!(exchange.apply(&changes, MINUTE).unwrap().failures, []);
    let wanted = [Pool { service: new, destinations: vec![heavy, server("10.0.0.2:80")] }];
    assert_eq!(exchange.dump().unwrap().pools(), wanted);
}

#[test]
fn sync_daemons_start_and_stop() {
    let mut exchange = open();
    let interface = InterfaceName::new("eth0").unwrap();
    let master = SyncDaemon { sync_id: 3, ..SyncDaemon::new(SyncRole::Master, interface) };
    let backup = SyncDaemon { max_length: NonZeroU16::new(900), ..SyncDaemon::new(SyncRole::Backup, interface) };
    exchange.start_sync_daemon(&master).unwrap();
    exchange.start_sync_daemon(&backup).unwrap();
    let running = SyncDaemon { max_length: NonZeroU16::new(1472), ..master };
    assert_eq!(exchange.sync_daemons().unwrap(), [running, backup]);
    exchange.stop_sync_daemon(SyncRole::Backup).unwrap();
    exchange.stop_sync_daemon(SyncRole::Backup).unwrap();
    assert_eq!(exchange.sync_daemons().unwrap(), [running]);
}

#[test]
fn a_sync_daemon_is_started_anew_only_with_other_settings() {
    let mut exchange = open();
    let daemon = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0").unwrap());
    exchange.start_sync_daemon(&daemon).unwrap();
    exchange.datagrams.sends.clear();
    exchange.start_sync_daemon(&daemon).unwrap();
    assert_eq!(exchange.datagrams.sends.len(), 2, "refused, looked at");
    let other = SyncDaemon { sync_id: 9, max_length: NonZeroU16::new(1000), ..daemon };
    exchange.start_sync_daemon(&other).unwrap();
    assert_eq!(exchange.sync_daemons().unwrap(), [other]);
}

#[test]
fn a_sync_daemon_that_stops_without_an_answer_is_stopped() {
    let mut exchange = Exchange::open(Kernel { hasty: true, ..Kernel::default() }).unwrap();
    let daemon = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0").unwrap());
    exchange.start_sync_daemon(&daemon).unwrap();
    exchange.start_sync_daemon(&SyncDaemon { sync_id: 1, ..daemon }).unwrap();
    exchange.stop_sync_daemon(SyncRole::Master).unwrap();
    assert_eq!(exchange.sync_daemons().unwrap(), []);
}

#[test]
fn a_sync_daemon_that_cannot_start_is_named() {
    let mut exchange = open();
    let daemon = SyncDaemon::new(SyncRole::Backup, InterfaceName::new("none-such").unwrap());
    let error = exchange.start_sync_daemon(&daemon).unwrap_err();
    let expected = "starting the backup sync daemon on none-such (id 0): No such device (os error 19)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn destinations_of_one_service() {
    let mut exchange = open();
    let service = Service::new(tcp("192.0.2.1:80"), Scheduler::RR);
    let add = Change::AddDestination { service: service.address, destination: server("10.0.0.1:80") };
    exchange.apply(&[Change::AddService(service), add], MINUTE).unwrap();
    let there = exchange.destinations(service.address).unwrap().unwrap();
    assert_eq!(there.iter().map(|entry| entry.destination).collect::<Vec<_>>(), [server("10.0.0.1:80")]);
    assert_eq!(exchange.destinations(tcp("192.0.2.2:80")).unwrap(), None);
}

/// Every refusal that the number alone does not explain.
#[test]
fn refusals_say_what_is_the_matter() {
    let service = Service::new(tcp("192.0.2.1:80"), Scheduler::MH);
    let sip = Service { persistence_engine: Some(PersistenceEngine::new("sip").unwrap()), ..service };
    let all_ports = Service { address: tcp("192.0.2.1:0"), ..service };
    let persistence = Persistence { timeout: Seconds(360), granularity: Granularity::host(Family::Inet) };
    let persistent = Service { persistence: Some(persistence), ..service };
    let add = |text| Change::AddDestination { service: service.address, destination: server(text) };
    let unlimited = Destination { upper_threshold: u32::MAX, ..server("10.0.0.1:80") };
    let edit = Change::EditDestination { service: service.address, destination: server("10.0.0.1:80") };
    let refusals = [
        (Change::AddService(service), ENOENT),
        (Change::EditService(sip), ENOENT),
        (Change::EditService(service), ESRCH),
        (Change::AddService(service), ENOMEM),
        (Change::AddService(service), EAFNOSUPPORT),
        (Change::AddService(all_ports), EINVAL),
        (Change::AddService(persistent), EINVAL),
        (add("10.0.0.1:80"), ESRCH),
        (edit, ESRCH),
        (Change::RemoveDestination { service: service.address, destination: server("10.0.0.1:80").key() }, ESRCH),
        (edit, ERANGE),
        (add("[2001:db8::1]:80"), EINVAL),
        (add("10.0.0.1:80"), EINVAL),
        (Change::AddDestination { service: service.address, destination: unlimited }, EINVAL),
        (Change::RemoveService(service.address), EPERM),
    ];
    let text = |(change, errno)| {
        let source = RefusedError(Refusal { errno, text: None });
        format!("{}\n", Failure { index: 0, change, source })
    };
    let written: String = refusals.map(text).concat();
    insta::assert_snapshot!(written, @r"
    adding service [192.0.2.1]:tcp:80 (mh): No such file or directory (os error 2); the kernel has no scheduler mh: load it with `modprobe ip_vs_mh`
    editing service [192.0.2.1]:tcp:80 (mh): No such file or directory (os error 2); the kernel has no scheduler mh or no persistence engine sip: load them with `modprobe ip_vs_mh` and `modprobe ip_vs_pe_sip`
    editing service [192.0.2.1]:tcp:80 (mh): No such process (os error 3); somebody removed the service
    adding service [192.0.2.1]:tcp:80 (mh): Cannot allocate memory (os error 12); the kernel has no memory left for it
    adding service [192.0.2.1]:tcp:80 (mh): Address family not supported by protocol (os error 97); the kernel has no IPVS for IPv6
    adding service [192.0.2.1]:tcp:0 (mh): Invalid argument (os error 22); port 0 needs persistence
    adding service [192.0.2.1]:tcp:80 (mh): Invalid argument (os error 22); the netmask or prefix length of persistence is wrong
    adding 10.0.0.1:80 to [192.0.2.1]:tcp:80: No such process (os error 3); somebody removed the service
    editing 10.0.0.1:80 of [192.0.2.1]:tcp:80: No such process (os error 3); somebody removed the service
    removing 10.0.0.1:80 from [192.0.2.1]:tcp:80: No such process (os error 3); somebody removed the service
    editing 10.0.0.1:80 of [192.0.2.1]:tcp:80: Numerical result out of range (os error 34); the lower threshold is above the upper one
    adding [2001:db8::1]:80 to [192.0.2.1]:tcp:80: Invalid argument (os error 22); a server of the other family needs a tunnel, and no sync daemon may run
    adding 10.0.0.1:80 to [192.0.2.1]:tcp:80: Invalid argument (os error 22); its address is not a host's
    adding 10.0.0.1:80 to [192.0.2.1]:tcp:80: Invalid argument (os error 22); the upper threshold is above 2147483647
    removing service [192.0.2.1]:tcp:80: Operation not permitted (os error 1)
    ");
}

#[test]
fn refusals_name_the_setting() {
    let service = Service::new(tcp("192.0.2.1:80"), Scheduler::MH);
    let engine = |name| Service { persistence_engine: Some(PersistenceEngine::new(name).unwrap()), ..service };
    let persistence = Persistence { timeout: Seconds(360), granularity: Granularity::host(Family::Inet) };
    let persistent = Service { persistence: Some(persistence), ..service };
    let add = |destination| Change::AddDestination { service: service.address, destination };
    let unlimited = Destination { upper_threshold: u32::MAX, ..server("10.0.0.1:80") };
    for (change, errno, expected) in [
        (Change::AddService(service), ENOENT, Some(Setting::Scheduler)),
        (Change::AddService(engine("sip")), ENOENT, Some(Setting::Scheduler)),
        (Change::EditService(engine("sap")), ENOENT, Some(Setting::PersistenceEngine)),
        (Change::AddService(persistent), EINVAL, Some(Setting::PersistenceGranularity)),
        (Change::AddService(service), EINVAL, None),
        (Change::AddService(service), ENOMEM, None),
        (add(server("10.0.0.1:80")), ERANGE, Some(Setting::LowerThreshold)),
        (add(server("[2001:db8::1]:80")), EINVAL, Some(Setting::Forwarding)),
        (add(unlimited), EINVAL, Some(Setting::UpperThreshold)),
        (add(server("10.0.0.1:80")), EINVAL, Some(Setting::Address)),
        (add(server("10.0.0.1:80")), ESRCH, None),
        (Change::RemoveService(service.address), EPERM, None),
    ] {
        let failure = Failure { index: 0, change, source: RefusedError(Refusal { errno, text: None }) };
        assert_eq!(failure.setting(), expected, "{failure}");
    }
}

#[test]
fn the_kernels_own_words_are_kept() {
    let refusal = Refusal { errno: EINVAL, text: Some("Attribute failed policy validation".to_owned()) };
    let expected = "Invalid argument (os error 22) (Attribute failed policy validation)";
    assert_eq!(RefusedError(refusal).to_string(), expected);
}

#[test]
fn what_is_too_late_is_left_out() {
    let mut exchange = open();
    let changes = [Change::RemoveService(tcp("192.0.2.1:80"))];
    assert_eq!(exchange.apply(&changes, Duration::ZERO).unwrap().sent, 0);
}

#[test]
fn single_requests_are_answered() {
    let mut exchange = open();
    assert_eq!(exchange.query("", Request::QueryTimeouts).unwrap(), Answer::Timeouts(Timeouts::default()));
    exchange.apply(&[Change::AddService(Service::new(tcp("192.0.2.1:80"), Scheduler::RR))], MINUTE).unwrap();
    exchange.command("", Request::Zero(None)).unwrap();
    exchange.command("", Request::Flush).unwrap();
    assert_eq!(exchange.dump().unwrap(), Table::default());
}

proptest! {
    #[test]
    fn what_is_planned_and_applied_is_dumped(tables in proptest::collection::vec(testing::table(), 1..4)) {
        let mut exchange = open();
        let ours: BTreeSet<_> = tables.iter().flatten().map(|pool| pool.service.address).collect();
        for wanted in tables {
            let present = exchange.dump().unwrap().pools();
            let changes = crate::plan(&wanted, &present, &ours);
            let report = exchange.apply(&changes, MINUTE).unwrap();
            prop_assert_eq!((report.sent, report.failures), (changes.len(), Vec::new()));
            prop_assert_eq!(exchange.dump().unwrap().pools(), wanted);
        }
    }
}
