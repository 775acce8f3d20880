//! Commands ask the worker over its socket.

use std::path::PathBuf;

use super::super::requests::COUNTING_LIMIT;
use super::*;
use crate::control::servers::{DrainProgress, RealServerName, RealServerState, VirtualServerName};
use crate::control::{self, Answer, Door};

/// A place where commands ask, and the pid file that names it.
struct Place {
    _folder: tempfile::TempDir,
    door: Door,
    pid_file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let door = Door::open(control::path_of(&pid_file, Role::Checker)).unwrap();
        Self { _folder: folder, door, pid_file }
    }

    fn show(&self, lab: &Lab) {
        lab.orders.send(&Order::Listen, &[self.door.socket().unwrap().as_fd()]).unwrap();
    }

    fn ask(&self, request: Request) -> Answer {
        control::ask(&self.pid_file, request).unwrap()
    }

    fn drain(&self, real: SocketAddr, timeout: Option<Duration>, force: bool) -> Answer {
        let (virtual_server, real_server) = (virtual_server(), real_server(real));
        self.ask(Request::Drain { virtual_server, real_server, timeout, force })
    }

    fn state(&self, real: SocketAddr) -> RealServerState {
        let real_server = Some(real_server(real));
        let answer = self.ask(Request::Servers { virtual_server: Some(virtual_server()), real_server });
        let Answer::Servers(mut states) = answer else { panic!("{answer:?}") };
        states.pop().unwrap().real_servers.pop().unwrap()
    }
}

fn virtual_server() -> VirtualServerName {
    VirtualServerName::Address { address: "192.0.2.1".parse().unwrap(), port: Some(80), protocol: None }
}

fn real_server(place: SocketAddr) -> RealServerName {
    RealServerName { address: place.ip(), port: Some(place.port()) }
}

/// Each destination with its weight.
fn weights(table: &Shared) -> Vec<(SocketAddr, u32)> {
    let pools = table.look(|memory| memory.pools.clone());
    let all = pools.iter().flat_map(|pool| &pool.destinations);
    let mut all: Vec<_> = all.map(|there| (SocketAddr::new(there.address, there.port), there.weight.0)).collect();
    all.sort();
    all
}

fn newest(facts: &mut Vec<Fact>) -> Vec<Fact> {
    let mut newest = std::collections::BTreeMap::new();
    for Fact { key, value } in facts.drain(..) {
        newest.insert(key, value);
    }
    newest.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| Fact { key, value }).collect()
}

#[test]
fn a_drain_outlives_reloads_and_the_worker() {
    let (place, mut lab) = (Place::new(), Lab::new(true));
    place.show(&lab);
    let ([_first, _second], [a, b]) = servers();
    let text = file(&[a, b], "");
    lab.configure(&text);
    lab.table.look(|memory| memory.connections = 2);
    let answer = place.drain(a, Some(Duration::from_secs(600)), false);
    assert!(matches!(&answer, Answer::Changed { remarks, .. } if remarks.is_empty()), "{answer:?}");
    lab.note();
    let drained = [(a, 0), (b, 1)];
    until("weight 0", || (weights(&lab.table) == drained).then_some(()));
    let state = place.state(a);
    let drain = state.drain.unwrap();
    assert_eq!((drain.progress, state.connections.unwrap().active), (DrainProgress::Draining, 2));
    assert!(drain.seconds_left.is_some_and(|left| left <= 600) && place.state(b).drain.is_none());
    lab.configure(&file(&[a, b], "quorum 1"));
    assert_eq!(weights(&lab.table), drained);

    let facts = newest(&mut lab.facts);
    assert_eq!(lab.stop(), 0, "the table is left as it is");
    let (orders, checker) = start(&lab.table, false);
    let (table, runner) = (lab.table.clone(), Channel::pair().unwrap().0);
    let mut second = Lab { table, orders, runner, checker: Some(checker), facts: Vec::new(), generation: 0 };
    place.show(&second);
    second.orders.send(&Order::Resume, &[ipc::seal(&facts).unwrap().as_fd()]).unwrap();
    second.configure(&text);
    assert_eq!(weights(&second.table), drained);
    assert_eq!(place.state(a).drain.unwrap().progress, DrainProgress::Draining);
    second.table.look(|memory| memory.connections = 0);
    until("the end of it", || (place.state(a).drain?.progress == DrainProgress::Drained).then_some(()));
    let answer = place.ask(Request::Undrain { virtual_server: virtual_server(), real_server: real_server(a) });
    assert!(matches!(answer, Answer::Changed { .. }), "{answer:?}");
    second.note();
    until("its weight", || (weights(&second.table) == [(a, 1), (b, 1)]).then_some(()));
    assert_eq!(second.stop(), 0);
}

#[test]
fn the_last_server_is_drained_only_by_force() {
    let (place, mut lab) = (Place::new(), Lab::new(false));
    place.show(&lab);
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], "sorry_server 192.0.2.9 80"));
    lab.holds(&[a]);
    let answer = place.drain(a, None, false);
    let Answer::Refused(why) = &answer else { panic!("{answer:?}") };
    assert!(why.contains("the sorry server [192.0.2.9]:tcp:80 takes") && why.contains("--force"), "{why}");
    assert_eq!(weights(&lab.table), [(a, 1)]);
    let answer = place.drain(a, None, true);
    let said = |remarks: &[String]| remarks.iter().any(|remark| remark.contains("has lost its quorum"));
    assert!(matches!(&answer, Answer::Changed { remarks, .. } if said(remarks)), "{answer:?}");
    lab.note();
    let sorry = "192.0.2.9:80".parse().unwrap();
    until("the sorry server", || (weights(&lab.table) == [(a, 0), (sorry, 1)]).then_some(()));
    assert_eq!(lab.stop(), 0);
}

#[test]
fn a_question_that_comes_before_the_configuration_waits_for_it() {
    let (place, mut lab) = (Place::new(), Lab::new(false));
    place.show(&lab);
    let pid_file = place.pid_file.clone();
    let all = Request::Servers { virtual_server: None, real_server: None };
    let asking = std::thread::spawn(move || control::ask(&pid_file, all).unwrap());
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], ""));
    let Answer::Servers(states) = asking.join().unwrap() else { panic!("no states") };
    assert_eq!(states.len(), 1);
    lab.stop();
}

#[test]
fn a_virtual_server_that_is_left_out_stays_until_the_stop() {
    let mut lab = Lab::new(false);
    let ([_first], [a]) = servers();
    lab.configure(&file(&[a], "drain_timeout 600"));
    lab.holds(&[a]);
    lab.table.look(|memory| memory.connections = 1);
    lab.configure("");
    until("weight 0", || (weights(&lab.table) == [(a, 0)]).then_some(()));
    lab.configure("");
    assert_eq!(weights(&lab.table), [(a, 0)]);
    assert_eq!(lab.stop(), 0);
    assert_eq!(lab.table.look(|memory| memory.pools.len()), 0, "a stop leaves nothing");
}

/// While the kernel works at something long, a name that names nothing is answered at once, and how servers are without
/// their connections.
#[test]
fn nobody_waits_for_a_busy_kernel() {
    let (place, mut lab) = (Place::new(), Lab::new(false));
    place.show(&lab);
    let ([_first, _second], [a, b]) = servers();
    lab.configure(&file(&[a, b], ""));
    lab.holds(&[a, b]);
    let held = std::sync::Arc::new(std::sync::Mutex::new(()));
    lab.table.look(|memory| memory.held = Some(std::sync::Arc::clone(&held)));
    let busy = held.lock().unwrap();
    assert!(matches!(place.drain(a, None, false), Answer::Changed { .. }));
    lab.note();
    until("the change", || lab.table.look(|memory| memory.waits).then_some(()));
    let began = std::time::Instant::now();
    let virtual_server = Some(VirtualServerName::Fwmark(9));
    let answer = place.ask(Request::Servers { virtual_server, real_server: None });
    assert!(matches!(&answer, Answer::Refused(why) if why.contains("no virtual server fwmark 9")), "{answer:?}");
    assert!(began.elapsed() < COUNTING_LIMIT, "{:?}", began.elapsed());
    let state = place.state(a);
    assert_eq!((state.drain.unwrap().progress, state.connections), (DrainProgress::Draining, None));
    drop(busy);
    until("connections", || place.state(a).connections);
    assert_eq!(lab.stop(), 0);
}
