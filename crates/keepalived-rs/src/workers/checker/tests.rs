mod requests;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use ipvs_control::types::{Scheduler, Seconds, Service, ServiceAddress};

use super::kernel::tests::Shared;
use super::*;
use crate::config::checker::tests::part;
use crate::ipc::{CheckEnd, CheckRun, Notification, NotifyEvent, RunEnd};
use crate::workers::until;

const IN_FLIGHT: NonZeroUsize = Driver::<CheckId>::DEFAULT_IN_FLIGHT;

/// A checker in a thread, driven as the supervisor and the runner do.
struct Lab {
    table: Shared,
    orders: Channel,
    runner: Channel,
    checker: Option<JoinHandle<u8>>,
    facts: Vec<Fact>,
    generation: u64,
}

fn start(table: &Shared, keep: bool) -> (Channel, JoinHandle<u8>) {
    let (orders, theirs) = Channel::pair().unwrap();
    let table = table.clone();
    let checker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let open = || Ok(Box::new(table.clone()) as Box<dyn Table>);
        runtime.block_on(serve(theirs, (keep, None), IN_FLIGHT, open)).unwrap()
    });
    (orders, checker)
}

impl Lab {
    fn new(keep: bool) -> Self {
        let table = Shared::default();
        let (orders, checker) = start(&table, keep);
        let (runner, theirs) = Channel::pair().unwrap();
        orders.send(&Order::Connect { peer: Role::Runner }, &[theirs.as_fd()]).unwrap();
        Self { table, orders, runner, checker: Some(checker), facts: Vec::new(), generation: 0 }
    }

    /// The next report that is no beat with its lateness and no fact.
    fn report(&mut self) -> Report {
        loop {
            let (report, _) = until("report", || self.orders.receive::<Report>().ok()).expect("the checker is there");
            match report {
                Report::Beat | Report::Lateness(_) => {}
                Report::Facts(facts) => self.facts.extend(facts),
                // As the supervisor, once the state file has them.
                Report::Note => self.orders.send(&Order::Noted, &[]).unwrap(),
                other => return other,
            }
        }
    }

    /// Waits until the worker wants something in the state file, and writes it, as the supervisor.
    fn note(&mut self) {
        until("a note", || match self.orders.receive::<Report>().ok()??.0 {
            Report::Facts(facts) => {
                self.facts.extend(facts);
                None
            }
            report => (report == Report::Note).then_some(()),
        });
        self.orders.send(&Order::Noted, &[]).unwrap();
    }

    fn configure(&mut self, file: &str) {
        self.generation += 1;
        let generation = self.generation;
        let fd = ipc::seal(&part(file)).unwrap();
        self.orders.send(&Order::Prepare { generation, again: false }, &[fd.as_fd()]).unwrap();
        assert_eq!(self.report(), Report::Prepared { generation, beat_limit: Some(BEAT_LIMIT) });
        self.orders.send(&Order::Commit { generation }, &[]).unwrap();
        assert_eq!(self.report(), Report::Committed { generation });
    }

    /// The next notification for the runner, if there is one.
    fn told(&self) -> Option<Notification> {
        match self.runner.receive().ok()??.0 {
            ToRunner::Notify(notification) => Some(notification),
            other => panic!("{other:?}"),
        }
    }

    /// The runner is a new one.
    fn replace_runner(&mut self) {
        let (runner, theirs) = Channel::pair().unwrap();
        self.orders.send(&Order::Connect { peer: Role::Runner }, &[theirs.as_fd()]).unwrap();
        self.runner = runner;
    }

    /// The next run that the runner is asked for.
    fn asked(&self) -> CheckRun {
        match until("a run", || self.runner.receive().ok()).unwrap().0 {
            ToRunner::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    /// The program of a check runs, as the runner says it, until the only server has this weight.
    fn until_weight(&self, how: RunEnd, weight: Option<u32>) {
        until("weight", || {
            while let Ok(Some((asked, _))) = self.runner.receive() {
                let ToRunner::Run(CheckRun { number, .. }) = asked else { panic!("{asked:?}") };
                self.runner.send(&RunnerSays::Ended(CheckEnd { number, how }), &[]).unwrap();
            }
            let pools = self.table.look(|memory| memory.pools.clone());
            let destination = pools.first()?.destinations.first();
            (destination.map(|there| there.weight.0) == weight).then_some(())
        });
    }

    /// Waits until the table holds these destinations.
    fn holds(&self, expected: &[SocketAddr]) {
        let what = format!("table with {expected:?}");
        until(&what, || (destinations(&self.table) == expected).then_some(()));
    }

    fn stop(&mut self) -> u8 {
        self.orders.send(&Order::Stop, &[]).unwrap();
        assert_eq!(self.report(), Report::Stopped);
        self.checker.take().unwrap().join().unwrap()
    }
}

fn destinations(table: &Shared) -> Vec<SocketAddr> {
    let pools = table.look(|memory| memory.pools.clone());
    let all = pools.iter().flat_map(|pool| &pool.destinations);
    let mut all: Vec<_> = all.map(|there| SocketAddr::new(there.address, there.port)).collect();
    all.sort();
    all
}

/// Real servers at these addresses, looked at twenty times a second.
fn file(servers: &[SocketAddr], more: &str) -> String {
    let mut text = format!(
        "virtual_server 192.0.2.1 80 {{\n protocol TCP\n lb_algo wlc\n lb_kind NAT\n delay_loop 0.05\n warmup 0\n {more}\n"
    );
    for server in servers {
        text += &format!(
            "real_server {} {} {{\n TCP_CHECK {{\n connect_timeout 2\n retry 0\n }}\n }}\n",
            server.ip(),
            server.port()
        );
    }
    text + "}\n"
}

/// Servers on a loopback address that no other test uses, so that nobody else listens on a port that was closed.
fn servers<const N: usize>() -> ([Option<TcpListener>; N], [SocketAddr; N]) {
    static TEST: AtomicU8 = AtomicU8::new(1);
    let [.., process] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, TEST.fetch_add(1, Ordering::Relaxed), process, 1);
    let mut listeners = [(); N].map(|()| TcpListener::bind((address, 0)).unwrap());
    listeners.sort_by_key(|listener| listener.local_addr().unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    (listeners.map(Some), addresses)
}

#[test]
fn a_server_whose_port_closes_leaves_the_table_and_comes_back() {
    let mut lab = Lab::new(false);
    let ([mut first, _second], [a, b]) = servers();
    lab.configure(&file(&[a, b], ""));
    lab.holds(&[a, b]);
    drop(first.take());
    lab.holds(&[b]);
    let again = until("free port", || TcpListener::bind(a).ok());
    lab.holds(&[a, b]);
    drop(again);
    lab.holds(&[b]);
    assert_eq!(lab.stop(), 0);
    assert_eq!(lab.table.look(|memory| memory.pools.len()), 0, "nothing of ours is left");
}

#[test]
fn the_runner_is_told_of_a_server_that_goes() {
    let mut lab = Lab::new(false);
    let ([mut first], [a]) = servers();
    lab.configure(&file(&[a], "quorum_down /q"));
    lab.holds(&[a]);
    drop(first.take());
    let virtual_server = "[192.0.2.1]:tcp:80".to_owned();
    let wanted = NotifyEvent::Quorum { virtual_server, up: false };
    let mut last = 0;
    until("notification", || {
        let Notification { number, event } = lab.told()?;
        assert!(number > last);
        last = number;
        (event == wanted).then_some(())
    });
    lab.stop();
}

/// The runner may be ended once a configuration without scripts is in force.
#[test]
fn the_runner_has_heard_of_all_that_a_reload_left_out_before_it_is_in_force() {
    const SERVERS: u16 = 1000;
    let mut lab = Lab::new(false);
    let server = |port| format!("real_server 192.0.2.9 {port} {{\n weight 1\n notify_down /d\n}}\n");
    let servers: String = (1..=SERVERS).map(server).collect();
    lab.configure(&format!(
        "virtual_server 192.0.2.1 80 {{\n protocol TCP\n lb_algo rr\n lb_kind NAT\n quorum_down /q\n{servers}}}\n"
    ));
    lab.generation += 1;
    let generation = lab.generation;
    let fd = ipc::seal(&part("")).unwrap();
    lab.orders.send(&Order::Prepare { generation, again: false }, &[fd.as_fd()]).unwrap();
    assert_eq!(lab.report(), Report::Prepared { generation, beat_limit: Some(BEAT_LIMIT) });
    lab.orders.send(&Order::Commit { generation }, &[]).unwrap();
    // They are more than the socket holds.
    let mut heard = Vec::new();
    let mut hear = || {
        while let Some(notification) = lab.told() {
            heard.push(notification.event);
        }
    };
    until("commit", || {
        hear();
        match lab.orders.receive::<Report>().ok()??.0 {
            Report::Note => lab.orders.send(&Order::Noted, &[]).unwrap(),
            Report::Committed { .. } => return Some(()),
            _ => {}
        }
        None
    });
    hear();
    let of_servers = |event: &&NotifyEvent| matches!(event, NotifyEvent::RealServer { up: false, .. });
    assert_eq!(heard.iter().filter(of_servers).count(), usize::from(SERVERS));
    let virtual_server = "[192.0.2.1]:tcp:80".to_owned();
    assert!(heard.contains(&NotifyEvent::Quorum { virtual_server, up: false }), "{heard:?}");
    lab.stop();
}

/// One worker tells of a server's end and dies before anybody has heard it.
#[test]
fn a_successor_repeats_what_the_runner_has_not_acknowledged() {
    let told = |lab: &Lab| until("notification", || lab.told());
    let mut lab = Lab::new(true);
    let ([mut first, _second], [a, b]) = servers();
    let text = file(&[a, b], "quorum_up /q");
    lab.configure(&text);
    let up = told(&lab);
    lab.runner.send(&RunnerSays::Taken(NotifyAck { number: up.number }), &[]).unwrap();
    drop(first.take());
    lab.holds(&[b]);
    let down = told(&lab);
    let virtual_server = "[192.0.2.1]:tcp:80".to_owned();
    let event =
        NotifyEvent::RealServer { virtual_server, real_server: format!("[{}]:tcp:{}", a.ip(), a.port()), up: false };
    assert_eq!(down.event, event);
    // Another generation makes sure that its facts were read.
    lab.configure(&text);
    let mut newest = std::collections::BTreeMap::new();
    newest.extend(lab.facts.drain(..).map(|Fact { key, value }| (key, value)));
    newest.retain(|_, value| !value.is_empty());
    let facts: Vec<_> = newest.into_iter().map(|(key, value)| Fact { key, value }).collect();

    let mut successor = Lab::new(true);
    let fd = ipc::seal(&facts).unwrap();
    successor.orders.send(&Order::Resume, &[fd.as_fd()]).unwrap();
    successor.configure(&text);
    assert_eq!(told(&successor), down);
    successor.runner.send(&RunnerSays::Taken(NotifyAck { number: down.number }), &[]).unwrap();
    let again = until("free port", || TcpListener::bind(a).ok());
    let up = told(&successor);
    assert!(up.number > down.number && matches!(up.event, NotifyEvent::RealServer { up: true, .. }), "{up:?}");
    drop(again);
    successor.stop();
    lab.stop();
}

/// A server of weight 10 whose program is asked for twenty times a second.
fn misc_file(more: &str) -> String {
    format!(
        "virtual_server 192.0.2.1 80 {{\n protocol TCP\n lb_algo wlc\n lb_kind NAT\n delay_loop 0.05\n warmup 0\n \
         real_server 192.0.2.9 80 {{\n weight 10\n MISC_CHECK {{\n misc_path \"/check 1\"\n misc_timeout 7\n \
         misc_dynamic\n {more}\n }}\n }}\n}}\n"
    )
}

#[test]
fn a_program_takes_a_server_out_and_gives_it_a_weight() {
    let mut lab = Lab::new(false);
    lab.configure(&misc_file("user root"));
    let CheckRun { script, timeout, .. } = lab.asked();
    let words = script.user.map(|user| user.user).into_iter().chain(script.command).collect::<Vec<_>>();
    assert_eq!((words.join(" ").as_str(), timeout), ("root /check 1", Duration::from_secs(7)));
    // The first run is under way, and is asked of the next runner too.
    lab.replace_runner();
    for (how, weight) in [
        (RunEnd::Exited(7), Some(5)),
        (RunEnd::Exited(1), None),
        (RunEnd::Exited(2), Some(0)),
        (RunEnd::TimedOut, None),
        (RunEnd::NotStarted, Some(10)),
        (RunEnd::Signalled(9), None),
        (RunEnd::Exited(0), Some(10)),
    ] {
        lab.until_weight(how, weight);
    }
    lab.stop();
}

/// Nothing is known of the server then: it stays what it was.
#[test]
fn without_a_runner_and_with_a_program_that_may_not_run_a_server_stays_what_it_was() {
    for (more, begins) in [("", Some(10)), ("alpha", None)] {
        let mut lab = Lab::new(false);
        lab.configure(&misc_file(more));
        for _ in 0..3 {
            let first = lab.asked();
            lab.replace_runner();
            assert_eq!(lab.asked(), first);
            let refused = CheckEnd { number: first.number, how: RunEnd::Refused };
            lab.runner.send(&RunnerSays::Ended(refused), &[]).unwrap();
        }
        lab.asked();
        assert_eq!(destinations(&lab.table).len(), begins.into_iter().count());
        lab.replace_runner();
        lab.until_weight(RunEnd::Exited(6), Some(4));
        lab.stop();
    }
}

/// A server of weight 10 that follows a file.
fn tracking_file(weight: i32) -> String {
    format!(
        "track_file f {{\n file /run/f\n}}\nvirtual_server 192.0.2.1 80 {{\n protocol TCP\n lb_algo wlc\n lb_kind NAT\n \
         real_server 192.0.2.9 80 {{\n weight 10\n FILE_CHECK {{\n track_file f\n weight {weight}\n }}\n }}\n}}\n"
    )
}

impl Lab {
    /// The runner says what the file holds.
    fn file_holds(&self, number: i64) {
        let (tracker, state) = (TrackerName::File("f".to_owned()), TrackerState::Says(Verdict::Value(number)));
        self.runner.send(&RunnerSays::Tracker(TrackerFact { tracker, state }), &[]).unwrap();
    }

    /// Waits until the only server has this weight.
    fn has_weight(&self, weight: Option<u32>) {
        until(&format!("weight {weight:?}"), || (self.weight() == weight).then_some(()));
    }

    fn weight(&self) -> Option<u32> {
        let pools = self.table.look(|memory| memory.pools.clone());
        pools.first()?.destinations.first().map(|there| there.weight.0)
    }
}

#[test]
fn a_file_decides_from_the_start_and_without_a_runner_goes_on_to() {
    let mut lab = Lab::new(false);
    lab.file_holds(7);
    lab.configure(&tracking_file(2));
    assert_eq!(lab.weight(), Some(24));
    lab.file_holds(-1);
    lab.has_weight(Some(8));
    lab.replace_runner();
    lab.configure(&tracking_file(0));
    assert_eq!(lab.weight(), None);
    lab.file_holds(0);
    lab.has_weight(Some(10));
    lab.stop();
}

/// A run goes on that a reload of the same file finds; with the check it ends.
#[test]
fn the_runner_hears_that_a_run_is_not_wanted_any_more() {
    let mut lab = Lab::new(false);
    lab.configure(&misc_file(""));
    let run = lab.asked();
    lab.configure(&misc_file(""));
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], ""));
    let (heard, _) = until("news", || lab.runner.receive::<ToRunner>().ok()).unwrap();
    assert_eq!(heard, ToRunner::Drop(run.number));
    lab.stop();
}

#[test]
fn a_reload_keeps_a_server_out_that_was_found_down() {
    let mut lab = Lab::new(false);
    let ([mut first, _second], [a, b]) = servers();
    lab.configure(&file(&[a, b], ""));
    drop(first.take());
    lab.holds(&[b]);
    lab.configure(&file(&[a, b], "quorum 1"));
    lab.holds(&[b]);
    lab.configure(&file(&[b], ""));
    lab.holds(&[b]);
    lab.stop();
}

#[test]
fn a_successor_leaves_the_table_as_it_is() {
    let mut lab = Lab::new(true);
    let ([mut first, _second], [a, b]) = servers();
    let text = file(&[a, b], "");
    lab.configure(&text);
    drop(first.take());
    lab.holds(&[b]);
    // The fact is sent with the change; another generation makes sure that it was read.
    lab.configure(&text);
    let mut newest = std::collections::BTreeMap::new();
    for Fact { key, value } in lab.facts.drain(..) {
        newest.insert(key, value);
    }
    let facts: Vec<_> = newest.into_iter().map(|(key, value)| Fact { key, value }).collect();

    // Two at once would both put the server back.
    assert_eq!(lab.stop(), 0);
    let (orders, checker) = start(&lab.table, false);
    let mut second = Lab {
        table: lab.table.clone(),
        orders,
        runner: Channel::pair().unwrap().0,
        checker: Some(checker),
        facts: Vec::new(),
        generation: 0,
    };
    let fd = ipc::seal(&facts).unwrap();
    second.orders.send(&Order::Resume, &[fd.as_fd()]).unwrap();
    second.configure(&text);
    assert_eq!(destinations(&second.table), [b]);
    let again = until("free port", || TcpListener::bind(a).ok());
    second.holds(&[a, b]);
    drop(again);
    assert_eq!(second.stop(), 0);
}

/// What is about to be ours is in the state file before the kernel hears of it, and no longer once it is gone.
#[test]
fn the_kernel_waits_for_the_state_file() {
    let mut lab = Lab::new(false);
    let ([_first], [a]) = servers();
    let fd = ipc::seal(&part(&file(&[a], ""))).unwrap();
    lab.orders.send(&Order::Prepare { generation: 1, again: false }, &[fd.as_fd()]).unwrap();
    assert_eq!(lab.report(), Report::Prepared { generation: 1, beat_limit: Some(BEAT_LIMIT) });
    lab.orders.send(&Order::Commit { generation: 1 }, &[]).unwrap();
    let mut told = Vec::new();
    let mut hear = |wanted: &Report| {
        until("report", || match lab.orders.receive::<Report>().ok()??.0 {
            Report::Facts(facts) => {
                told.extend(facts.into_iter().map(|fact| fact.key));
                None
            }
            report => (report == *wanted).then_some(()),
        });
    };
    hear(&Report::Note);
    // It beats on, and changes nothing.
    hear(&Report::Beat);
    hear(&Report::Beat);
    assert!(told.contains(&"services 000000".to_owned()), "{told:?}");
    assert_eq!(lab.table.look(|memory| memory.pools.len()), 0);
    lab.orders.send(&Order::Noted, &[]).unwrap();
    assert_eq!(lab.report(), Report::Committed { generation: 1 });
    lab.holds(&[a]);
    lab.facts.clear();
    assert_eq!(lab.stop(), 0);
    let gone = Fact { key: "services 000000".into(), value: Vec::new() };
    assert!(lab.facts.contains(&gone), "{:?}", lab.facts);
}

/// What others set meanwhile stays; without a worker the fact tells it. A reload may take the word out and put it back.
#[test]
fn time_outs_are_at_the_stop_what_they_were() {
    let times = |tcp, tcp_fin, udp| Timeouts { tcp: Seconds(tcp), tcp_fin: Seconds(tcp_fin), udp: Seconds(udp) };
    let mut lab = Lab::new(false);
    lab.table.look(|memory| memory.timeouts = times(900, 120, 300));
    let ([_first], [a]) = servers();
    lab.configure(&format!("global_defs {{\n lvs_timeouts tcp 301 tcpfin 9 udp 17\n}}\n{}", file(&[a], "")));
    assert_eq!(lab.table.look(|memory| memory.timeouts), times(301, 9, 17));
    let set = times(301, 9, 17);
    let fact = lab.facts.iter().find(|fact| fact.key == "timeouts").unwrap().clone();
    assert!(leftovers::is_on_host(&fact.key));
    lab.configure(&format!("global_defs {{\n lvs_timeouts tcp 302 tcpfin 9\n}}\n{}", file(&[a], "")));
    assert_eq!(lab.table.look(|memory| memory.timeouts), times(302, 9, 300), "a reload gives them up too");
    lab.table.look(|memory| memory.timeouts.tcp_fin = Seconds(11));
    assert_eq!(lab.stop(), 0);
    assert_eq!(lab.table.look(|memory| memory.timeouts), times(900, 11, 300));
    assert_eq!(lab.facts.iter().rfind(|fact| fact.key == "timeouts").unwrap().value, [0u8; 0]);

    let mut lab = Lab::new(false);
    lab.table.look(|memory| memory.timeouts = times(900, 120, 300));
    let with = format!("global_defs {{\n lvs_timeouts tcp 301 tcpfin 9 udp 17\n}}\n{}", file(&[a], ""));
    lab.configure(&with);
    lab.configure(&file(&[a], ""));
    assert_eq!(lab.table.look(|memory| memory.timeouts), times(900, 120, 300));
    lab.configure(&with);
    assert_eq!(lab.table.look(|memory| memory.timeouts), set, "the same ones are set once more");
    lab.stop();

    lab.table.look(|memory| memory.timeouts = set);
    leftovers::withdraw_from(Box::new(lab.table.clone()), &[fact]).unwrap();
    assert_eq!(lab.table.look(|memory| memory.timeouts), times(900, 120, 300));
}

/// The supervisor hears of it by the status, and starts a clean-up.
#[test]
fn a_stop_that_leaves_something_behind_is_no_clean_one() {
    let mut lab = Lab::new(false);
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], ""));
    lab.holds(&[a]);
    lab.facts.clear();
    lab.table.look(|memory| memory.refused = memory.pools.first().map(|pool| pool.service.address));
    assert_eq!(lab.stop(), EXIT_INCOMPLETE);
    assert!(lab.facts.iter().all(|fact| fact.key != "services 000000"), "{:?}", lab.facts);
}

#[test]
fn the_table_can_be_left_at_the_stop() {
    let mut lab = Lab::new(true);
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], ""));
    lab.holds(&[a]);
    assert_eq!(lab.stop(), 0);
    assert_eq!(destinations(&lab.table), [a]);
}

#[test]
fn services_of_others_are_left_alone() {
    let mut lab = Lab::new(false);
    let theirs = Pool {
        service: Service::new(ServiceAddress::tcp("192.0.2.7:80".parse().unwrap()), Scheduler::WLC),
        destinations: Vec::new(),
    };
    lab.table.look(|memory| memory.pools.push(theirs.clone()));
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], ""));
    lab.holds(&[a]);
    lab.stop();
    assert_eq!(lab.table.look(|memory| memory.pools.clone()), [theirs]);
}

#[test]
fn a_supervisor_that_is_gone_is_a_stop() {
    let mut lab = Lab::new(false);
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], ""));
    lab.orders = Channel::pair().unwrap().0;
    assert_eq!(lab.checker.take().unwrap().join().unwrap(), 0);
    assert_eq!(destinations(&lab.table), []);
}

#[test]
fn without_ipvs_the_configuration_is_rejected() {
    let (orders, theirs) = Channel::pair().unwrap();
    let checker = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let open = || Err("IPVS: Can't initialize ipvs: there is none".to_owned());
        runtime.block_on(serve(theirs, (false, None), IN_FLIGHT, open)).unwrap()
    });
    let mut lab = Lab {
        table: Shared::default(),
        orders,
        runner: Channel::pair().unwrap().0,
        checker: Some(checker),
        facts: Vec::new(),
        generation: 0,
    };
    let fd = ipc::seal(&part(&file(&[([127, 0, 0, 1], 1).into()], ""))).unwrap();
    lab.orders.send(&Order::Prepare { generation: 1, again: false }, &[fd.as_fd()]).unwrap();
    let why = "IPVS: Can't initialize ipvs: there is none".to_owned();
    assert_eq!(lab.report(), Report::Rejected { generation: 1, exit: 1, why });
    assert_eq!(lab.stop(), 0);
}

#[test]
fn it_beats() {
    let mut lab = Lab::new(false);
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], ""));
    let mut beats = 0;
    until("beats", || {
        let beat = matches!(lab.orders.receive::<Report>(), Ok(Some((Report::Beat, _))));
        beats += usize::from(beat);
        (beats == 3).then_some(())
    });
    lab.stop();
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let lower = maximum.unwrap_or(1 << 20) - 1;
    setrlimit(Resource::Nofile, Rlimit { current: Some(lower), maximum }).unwrap();
    assert_eq!(raise_descriptor_limit(), maximum);
    assert_eq!(getrlimit(Resource::Nofile).current, maximum);
}

#[test]
fn tries_leave_descriptors_for_everything_else() {
    let found = [None, Some(524_288), Some(1024), Some(65), Some(64), Some(3)].map(|limit| in_flight(limit).get());
    assert_eq!(found, [4096, 4096, 960, 1, 1, 1]);
}
