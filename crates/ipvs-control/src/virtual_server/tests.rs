mod model;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::types::{DestinationEntry, Family, Instant, Scheduler, Stats};
use std::num::NonZeroU32;
use std::time::Duration;

fn service() -> Service {
    Service::new(ServiceAddress::tcp("192.0.2.1:80".parse().unwrap()), Scheduler::WLC)
}

fn server(last: usize, weight: u32, checkers: Vec<Checker>) -> RealServer {
    let address = format!("10.0.0.{last}:80").parse().unwrap();
    let server = RealServer::new(&service(), address, ForwardingMethod::Masquerade).with_checkers(checkers);
    RealServer { weight: Weight(weight), ..server }
}

fn sorry_server(inhibit: bool) -> Option<SorryServer> {
    let address = "10.0.0.99:80".parse().unwrap();
    Some(SorryServer { inhibit, ..SorryServer::new(&service(), address, ForwardingMethod::Masquerade) })
}

/// A virtual server with a real server of each weight, each with a checker.
fn config(weights: &[u32], first: Checker) -> Config {
    let real_servers = (1..).zip(weights).map(|(last, weight)| server(last, *weight, vec![first])).collect();
    Config { real_servers, ..Config::new(service()) }
}

fn started(config: Config) -> VirtualServer {
    let mut virtual_server = VirtualServer::new(config);
    virtual_server.start();
    virtual_server
}

fn verdict(virtual_server: &mut VirtualServer, place: usize, verdict: Verdict) {
    virtual_server.handle_verdict(RealServerId(place), CheckerId(0), verdict);
}

/// All events as lines; those that are not for the log begin with an arrow.
fn events(virtual_server: &mut VirtualServer) -> String {
    let mut lines = String::new();
    while let Some(event) = virtual_server.poll_event() {
        let arrow = match &event {
            Event::Message { .. } => "",
            Event::RealServer { audience: Audience::Traps, .. } | Event::Quorum { audience: Audience::Traps, .. } => {
                "(-> "
            }
            _ => "-> ",
        };
        lines += &format!("{arrow}{event}\n");
    }
    lines
}

fn table(virtual_server: &VirtualServer) -> String {
    let destinations = virtual_server.wanted().into_iter().flat_map(|pool| pool.destinations);
    destinations.map(|destination| format!("{} {}\n", destination.key(), destination.weight)).collect()
}

#[test]
fn a_server_goes_and_comes_back() {
    let mut virtual_server = started(config(&[1, 2], Checker::UP));
    verdict(&mut virtual_server, 0, Verdict::Down);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 2\n");
    verdict(&mut virtual_server, 0, Verdict::Up);
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n10.0.0.2:80 2\n");
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Gained quorum 1+0=1 <= 3 for VS [192.0.2.1]:tcp:80
    -> quorum is Up
    Removing service [10.0.0.1]:tcp:80 from VS [192.0.2.1]:tcp:80
    -> [10.0.0.1]:tcp:80 is Down
    Adding service [10.0.0.1]:tcp:80 to VS [192.0.2.1]:tcp:80
    -> [10.0.0.1]:tcp:80 is Up
    ");
}

/// The flow of Debian's keepalived 2.2.7 for alpha, quorum 2, hysteresis 1, a sorry server with inhibit and an
/// inhibited real server.
#[test]
fn alpha_quorum_hysteresis_and_inhibit() {
    let mut config = config(&[1, 2], Checker::DOWN);
    config.real_servers[1].inhibit_on_failure = true;
    config = Config { sorry_server: sorry_server(true), quorum: 2, hysteresis: 1, ..config };
    let mut virtual_server = started(config);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 0\n10.0.0.99:80 1\n");
    verdict(&mut virtual_server, 0, Verdict::Up);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 0\n10.0.0.99:80 1\n");
    verdict(&mut virtual_server, 1, Verdict::Up);
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n10.0.0.2:80 2\n10.0.0.99:80 0\n");
    verdict(&mut virtual_server, 1, Verdict::Down);
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n10.0.0.2:80 0\n10.0.0.99:80 0\n");
    verdict(&mut virtual_server, 0, Verdict::Down);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 0\n10.0.0.99:80 1\n");
    virtual_server.shutdown();
    assert_eq!(table(&virtual_server), "");
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Starting with quorum down 2-1=3 > 0 for VS [192.0.2.1]:tcp:80
    Enabling sorry server [10.0.0.99]:tcp:80 to VS [192.0.2.1]:tcp:80
    Removing alive servers from the pool for VS [192.0.2.1]:tcp:80
    -> quorum is Down
    Adding service [10.0.0.1]:tcp:80 to VS [192.0.2.1]:tcp:80
    -> [10.0.0.1]:tcp:80 is Up
    Enabling service [10.0.0.2]:tcp:80 of VS [192.0.2.1]:tcp:80
    -> [10.0.0.2]:tcp:80 is Up
    Gained quorum 2+1=3 <= 3 for VS [192.0.2.1]:tcp:80
    Disabling sorry server [10.0.0.99]:tcp:80 from VS [192.0.2.1]:tcp:80
    Adding alive servers to the pool for VS [192.0.2.1]:tcp:80
    -> quorum is Up
    Disabling service [10.0.0.2]:tcp:80 of VS [192.0.2.1]:tcp:80
    -> [10.0.0.2]:tcp:80 is Down
    Removing service [10.0.0.1]:tcp:80 from VS [192.0.2.1]:tcp:80
    -> [10.0.0.1]:tcp:80 is Down
    Lost quorum 2-1=1 > 0 for VS [192.0.2.1]:tcp:80
    Enabling sorry server [10.0.0.99]:tcp:80 to VS [192.0.2.1]:tcp:80
    Removing alive servers from the pool for VS [192.0.2.1]:tcp:80
    -> quorum is Down
    Shutting down service [10.0.0.1]:tcp:80 from VS [192.0.2.1]:tcp:80
    Shutting down (inhibited) service [10.0.0.2]:tcp:80 from VS [192.0.2.1]:tcp:80
    ");
}

#[test]
fn without_a_sorry_server_the_rest_stays() {
    let mut virtual_server = started(Config { quorum: 2, ..config(&[1, 1], Checker::UP) });
    verdict(&mut virtual_server, 0, Verdict::Down);
    assert_eq!(virtual_server.quorum(), Some(Quorum::Down));
    assert_eq!(table(&virtual_server), "10.0.0.2:80 1\n");
}

#[test]
fn a_real_server_may_be_the_sorry_server_too() {
    let mut config = config(&[1, 5], Checker::UP);
    config.real_servers[0].inhibit_on_failure = true;
    let sorry = SorryServer { address: config.real_servers[0].address, ..sorry_server(true).unwrap() };
    let mut virtual_server = started(Config { quorum: 3, sorry_server: Some(sorry), ..config });
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n10.0.0.2:80 5\n");
    verdict(&mut virtual_server, 1, Verdict::Down);
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n");
    verdict(&mut virtual_server, 0, Verdict::Down);
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n");
    verdict(&mut virtual_server, 1, Verdict::Up);
    assert_eq!(table(&virtual_server), "10.0.0.1:80 0\n10.0.0.2:80 5\n");
}

#[test]
fn omega_notifies_the_stop() {
    let mut virtual_server = started(Config { omega: true, ..config(&[1], Checker::UP) });
    events(&mut virtual_server);
    virtual_server.shutdown();
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Shutting down service [10.0.0.1]:tcp:80 from VS [192.0.2.1]:tcp:80
    -> [10.0.0.1]:tcp:80 is Down
    -> quorum is Down
    ");
    virtual_server.shutdown();
    assert_eq!(events(&mut virtual_server), "");
}

#[test]
fn without_omega_the_stop_is_for_traps() {
    let mut virtual_server = started(config(&[1], Checker::UP));
    events(&mut virtual_server);
    virtual_server.shutdown();
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Shutting down service [10.0.0.1]:tcp:80 from VS [192.0.2.1]:tcp:80
    (-> [10.0.0.1]:tcp:80 is Down
    (-> quorum is Down
    ");
    assert_eq!(virtual_server.wanted(), []);
}

#[test]
fn a_reload_that_removes_the_virtual_server_tells_everybody() {
    let mut virtual_server = started(config(&[1], Checker::UP));
    events(&mut virtual_server);
    virtual_server.remove();
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Removing Virtual Server [192.0.2.1]:tcp:80
    Removing service [10.0.0.1]:tcp:80 from VS [192.0.2.1]:tcp:80
    -> [10.0.0.1]:tcp:80 is Down
    -> quorum is Down
    ");
    assert_eq!(virtual_server.wanted(), []);
}

#[test]
fn any_checker_takes_a_server_down() {
    let checkers = vec![Checker::UP, Checker::UP];
    let mut virtual_server = started(Config { real_servers: vec![server(1, 1, checkers)], ..Config::new(service()) });
    let id = RealServerId(0);
    virtual_server.handle_verdict(id, CheckerId(0), Verdict::Down);
    virtual_server.handle_verdict(id, CheckerId(1), Verdict::Down);
    virtual_server.handle_verdict(id, CheckerId(0), Verdict::Up);
    assert_eq!(virtual_server.verdict(id), Some(Verdict::Down));
    virtual_server.handle_verdict(id, CheckerId(1), Verdict::Up);
    assert_eq!(virtual_server.verdict(id), Some(Verdict::Up));
}

#[test]
fn first_results_are_told_once_if_asked_for() {
    for (initial_notifications, expected) in [(false, ""), (true, "-> [10.0.0.1]:tcp:80 is Up\n")] {
        let mut virtual_server = started(Config { initial_notifications, ..config(&[1], Checker::UP) });
        events(&mut virtual_server);
        verdict(&mut virtual_server, 0, Verdict::Up);
        verdict(&mut virtual_server, 0, Verdict::Up);
        assert_eq!(events(&mut virtual_server), expected);
    }
}

/// As Debian's keepalived 2.2.7 does it: under alpha the first failure changes nothing and is notified all the same.
#[test]
fn the_first_failure_under_alpha_is_told_once() {
    let mut virtual_server = started(config(&[1], Checker::DOWN));
    verdict(&mut virtual_server, 0, Verdict::Down);
    verdict(&mut virtual_server, 0, Verdict::Down);
    assert_eq!(events(&mut virtual_server), "-> [10.0.0.1]:tcp:80 is Down\n");
}

#[test]
fn weights_follow_the_checkers() {
    let mut virtual_server = started(config(&[10], Checker::UP));
    events(&mut virtual_server);
    for (contribution, weight) in [(5, 15), (-11, 0), (1 << 40, 0x7fff_ffff), (i64::MIN, 0), (0, 10)] {
        virtual_server.handle_weight(RealServerId(0), CheckerId(0), Contribution::Adds(contribution));
        assert_eq!(virtual_server.weight(RealServerId(0)), Some(Weight(weight)));
    }
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Changing weight from 10 to 15 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Changing weight from 15 to 0 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Lost quorum 1-0=1 > 0 for VS [192.0.2.1]:tcp:80
    -> quorum is Down
    Changing weight from 0 to 2147483647 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Gained quorum 1+0=1 <= 2147483647 for VS [192.0.2.1]:tcp:80
    -> quorum is Up
    Changing weight from 2147483647 to 0 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Lost quorum 1-0=1 > 0 for VS [192.0.2.1]:tcp:80
    -> quorum is Down
    Changing weight from 0 to 10 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Gained quorum 1+0=1 <= 10 for VS [192.0.2.1]:tcp:80
    -> quorum is Up
    ");
}

/// As Debian's keepalived 2.2.7 does it for two checks with `misc_dynamic`: what they differ by is added up. A weight in the
/// place of the configured one stays what it is when that is another.
#[test]
fn a_weight_in_the_place_of_the_configured_one() {
    let mut config = config(&[10], Checker::UP);
    config.real_servers[0].checkers.push(Checker::UP);
    let mut virtual_server = started(config);
    let mut set = |checker, weight| {
        virtual_server.handle_weight(RealServerId(0), CheckerId(checker), Contribution::Replaces(Weight(weight)));
        virtual_server.weight(RealServerId(0)).unwrap().0
    };
    assert_eq!([set(0, 5), set(1, 2), set(0, 10), set(1, 28), set(1, 10)], [5, 0, 2, 28, 10]);
    set(0, 5);
    let kept = [0, 1].map(|checker| virtual_server.checker(RealServerId(0), CheckerId(checker)).unwrap());
    let real_servers = vec![server(1, 20, vec![kept[0], Checker::UP])];
    virtual_server.reconfigure(Config { real_servers, ..virtual_server.config().clone() });
    assert_eq!(virtual_server.weight(RealServerId(0)), Some(Weight(5)));
}

#[test]
fn thresholds_stay_where_they_can_be_met() {
    let limits = |weights: &[u32], quorum, hysteresis| {
        let Thresholds { quorum, hysteresis } =
            Config { quorum, hysteresis, ..config(weights, Checker::UP) }.thresholds();
        (quorum, hysteresis)
    };
    assert_eq!(limits(&[1, 1], 5, 7), (2, 1));
    assert_eq!(limits(&[1, 1], 2, 1), (2, 1));
    assert_eq!(limits(&[0], 1, 0), (1, 0));
    assert_eq!(limits(&[], 0, u32::MAX), (1, 0));
}

#[test]
fn ports_are_the_services_where_they_cannot_differ() {
    let mut config = config(&[1], Checker::UP);
    config.real_servers[0].port = Some(8080);
    let port = |config: &Config| started(config.clone()).wanted()[0].destinations[0].port;
    assert_eq!(port(&config), 8080);
    config.real_servers[0].port = None;
    assert_eq!(port(&config), 80);
    config.real_servers[0] =
        RealServer { port: Some(8080), forwarding: ForwardingMethod::DirectRoute, ..config.real_servers[0].clone() };
    assert_eq!(port(&config), 80);
    let mark = ServiceAddress::fwmark(std::num::NonZeroU32::MIN, crate::types::Family::Inet);
    config.services = vec![Service::new(mark, Scheduler::RR)];
    assert_eq!(port(&config), 0);
    let name = RealServer::new(&config.services[0], "10.0.0.2:80".parse().unwrap(), ForwardingMethod::DirectRoute).name;
    assert_eq!(&*name, "[10.0.0.2]:none:0");
}

#[test]
fn a_reload_touches_what_changed() {
    let mut virtual_server =
        started(Config { quorum: 2, sorry_server: sorry_server(false), ..config(&[1, 1, 1], Checker::UP) });
    verdict(&mut virtual_server, 0, Verdict::Down);
    events(&mut virtual_server);
    let kept = virtual_server.checker(RealServerId(1), CheckerId(0)).unwrap();
    let reloaded = Config {
        real_servers: vec![server(2, 7, vec![kept]), server(4, 1, vec![Checker::UP])],
        ..virtual_server.config().clone()
    };
    virtual_server.reconfigure(reloaded);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 7\n10.0.0.4:80 1\n");
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Changing weight from 1 to 7 for active service [10.0.0.2]:tcp:80 of VS [192.0.2.1]:tcp:80
    service [10.0.0.1]:tcp:80 no longer exist
    service [10.0.0.3]:tcp:80 no longer exist
    Removing service [10.0.0.3]:tcp:80 from VS [192.0.2.1]:tcp:80
    -> [10.0.0.3]:tcp:80 is Down
    ");
}

#[test]
fn another_process_goes_on_without_saying_it_again() {
    let down = Checker { verdict: Verdict::Down, reported: true, ..Checker::UP };
    let mut config = config(&[1, 1], down);
    config.real_servers[1].checkers =
        vec![Checker { contribution: Contribution::Adds(4), reported: true, ..Checker::UP }];
    let mut virtual_server = VirtualServer::new(config);
    virtual_server.resume(Quorum::Up);
    verdict(&mut virtual_server, 0, Verdict::Down);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 5\n");
    assert_eq!(events(&mut virtual_server), "");
}

fn at(seconds: u64) -> Instant {
    Instant::default() + Duration::from_secs(seconds)
}

/// What the kernel reports: each destination that is wanted, with the connections given, or with none.
fn reported(
    virtual_server: &VirtualServer,
    connections: &[(&str, [u32; 3])],
) -> BTreeMap<ServiceAddress, Vec<DestinationEntry>> {
    let entry = |destination: Destination| {
        let found = connections.iter().find(|(key, _)| destination.key().to_string() == *key);
        let [active_connections, inactive_connections, persistent_connections] =
            found.map_or([0; 3], |(_, counts)| *counts);
        DestinationEntry {
            destination,
            active_connections,
            inactive_connections,
            persistent_connections,
            stats: Stats::default(),
        }
    };
    let pools = virtual_server.wanted().into_iter();
    pools.map(|pool| (pool.service.address, pool.destinations.into_iter().map(entry).collect())).collect()
}

#[test]
fn a_drained_server_keeps_its_connections_until_they_end() {
    let mut virtual_server = started(config(&[3, 1], Checker::UP));
    let id = RealServerId(0);
    events(&mut virtual_server);
    virtual_server.drain(id, at(0), Some(at(60)));
    assert_eq!(table(&virtual_server), "10.0.0.1:80 0\n10.0.0.2:80 1\n");
    assert_eq!(virtual_server.poll_timeout(), Some(at(60)));
    for (counts, left) in [([2, 0, 0], 2), ([0, 1, 1], 2), ([0, 0, 1], 1)] {
        virtual_server
            .handle_destinations(&reported(&virtual_server, &[("10.0.0.1:80", counts), ("10.0.0.2:80", [9; 3])]));
        let expected =
            Drain { since: at(0), deadline: Some(at(60)), left: Some(left), progress: DrainProgress::Waiting };
        assert_eq!(virtual_server.drain_status(id), Some(expected));
    }
    virtual_server.handle_destinations(&reported(&virtual_server, &[("10.0.0.2:80", [9; 3])]));
    assert_eq!(virtual_server.drain_status(id).unwrap().progress, DrainProgress::Drained);
    assert!(!virtual_server.is_draining() && virtual_server.poll_timeout().is_none());
    assert_eq!(table(&virtual_server), "10.0.0.1:80 0\n10.0.0.2:80 1\n");
    virtual_server.undrain(id);
    assert_eq!(table(&virtual_server), "10.0.0.1:80 3\n10.0.0.2:80 1\n");
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Changing weight from 3 to 0 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Drained service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Changing weight from 0 to 3 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    ");
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let mut virtual_server = started(config(&[1, 1], Checker::UP));
    virtual_server.drain(RealServerId(0), at(0), Some(at(60)));
    virtual_server.drain(RealServerId(1), at(0), None);
    virtual_server
        .handle_destinations(&reported(&virtual_server, &[("10.0.0.1:80", [7, 0, 0]), ("10.0.0.2:80", [1, 0, 0])]));
    events(&mut virtual_server);
    virtual_server.handle_timeout(at(59));
    assert_eq!(virtual_server.drain_status(RealServerId(0)).unwrap().progress, DrainProgress::Waiting);
    virtual_server.handle_timeout(at(60));
    virtual_server.handle_timeout(at(99));
    assert_eq!(virtual_server.drain_status(RealServerId(0)).unwrap().progress, DrainProgress::TimedOut);
    assert_eq!(virtual_server.drain_status(RealServerId(1)).unwrap().progress, DrainProgress::Waiting);
    let expected = "Not waiting any longer for 7 connections of service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80\n";
    assert_eq!(events(&mut virtual_server), expected);
}

/// What goes on after the deadline may go on while a reload leaves the server out; without anything left it goes at once.
#[test]
fn a_server_that_was_not_drained_in_time_may_finish() {
    for (connections, expected) in [(7, "10.0.0.1:80 1\n10.0.0.2:80 0\n"), (0, "10.0.0.1:80 1\n")] {
        let mut virtual_server = started(config(&[1, 1], Checker::UP));
        virtual_server.drain(RealServerId(1), at(0), Some(at(60)));
        let counts = reported(&virtual_server, &[("10.0.0.2:80", [connections, 0, 0])]);
        virtual_server.handle_destinations(&counts);
        virtual_server.handle_timeout(at(60));
        virtual_server.reconfigure_draining(config(&[1], Checker::UP), at(70), at(130));
        assert_eq!(table(&virtual_server), expected);
        assert_eq!(virtual_server.poll_timeout(), (connections > 0).then(|| at(130)));
    }
}

/// The sorry server takes the new connections, and the last server's own go on.
#[test]
fn the_last_server_can_be_drained() {
    let mut virtual_server = started(Config { sorry_server: sorry_server(false), ..config(&[1, 1], Checker::UP) });
    virtual_server.drain(RealServerId(0), at(0), None);
    virtual_server.drain(RealServerId(1), at(0), None);
    assert_eq!(virtual_server.quorum(), Some(Quorum::Down));
    assert_eq!(table(&virtual_server), "10.0.0.1:80 0\n10.0.0.2:80 0\n10.0.0.99:80 1\n");
    verdict(&mut virtual_server, 0, Verdict::Down);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 0\n10.0.0.99:80 1\n");
    virtual_server.undrain(RealServerId(1));
    assert_eq!(table(&virtual_server), "10.0.0.2:80 1\n");
}

#[test]
fn a_group_is_drained_when_all_its_services_are() {
    let other = Service { address: ServiceAddress::tcp("192.0.2.2:80".parse().unwrap()), ..service() };
    let mut virtual_server = started(Config { services: vec![service(), other], ..config(&[1], Checker::UP) });
    virtual_server.drain(RealServerId(0), at(0), None);
    let mut present = reported(&virtual_server, &[("10.0.0.1:80", [1, 0, 0])]);
    virtual_server.handle_destinations(&present);
    assert_eq!(virtual_server.drain_status(RealServerId(0)).unwrap().left, Some(2));
    let (first, second) = (present.remove(&service().address).unwrap(), other.address);
    virtual_server.handle_destinations(&BTreeMap::from([(second, Vec::new())]));
    assert_eq!(virtual_server.drain_status(RealServerId(0)).unwrap().left, Some(2), "half of it says nothing");
    virtual_server.handle_destinations(&BTreeMap::from([(service().address, first), (second, Vec::new())]));
    assert_eq!(virtual_server.drain_status(RealServerId(0)).unwrap().left, Some(1));
}

#[test]
fn a_reload_lets_servers_leave_by_and_by() {
    let mut virtual_server = started(config(&[1, 2, 3], Checker::UP));
    verdict(&mut virtual_server, 0, Verdict::Down);
    events(&mut virtual_server);
    virtual_server.reconfigure_draining(config(&[1], Checker::UP), at(0), at(60));
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n10.0.0.2:80 0\n10.0.0.3:80 0\n");
    virtual_server.handle_destinations(&reported(&virtual_server, &[("10.0.0.3:80", [1, 0, 0])]));
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n10.0.0.3:80 0\n");
    virtual_server.handle_timeout(at(60));
    assert_eq!(table(&virtual_server), "10.0.0.1:80 1\n");
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Adding service [10.0.0.1]:tcp:80 to VS [192.0.2.1]:tcp:80
    -> [10.0.0.1]:tcp:80 is Up
    service [10.0.0.2]:tcp:80 no longer exist
    Changing weight from 2 to 0 for active service [10.0.0.2]:tcp:80 of VS [192.0.2.1]:tcp:80
    -> [10.0.0.2]:tcp:80 is Down
    service [10.0.0.3]:tcp:80 no longer exist
    Changing weight from 3 to 0 for active service [10.0.0.3]:tcp:80 of VS [192.0.2.1]:tcp:80
    -> [10.0.0.3]:tcp:80 is Down
    Drained service [10.0.0.2]:tcp:80 of VS [192.0.2.1]:tcp:80
    Removing service [10.0.0.2]:tcp:80 from VS [192.0.2.1]:tcp:80
    Not waiting any longer for 1 connections of service [10.0.0.3]:tcp:80 of VS [192.0.2.1]:tcp:80
    Removing service [10.0.0.3]:tcp:80 from VS [192.0.2.1]:tcp:80
    ");
}

/// A look at all of them for each took minutes.
#[test]
#[expect(clippy::disallowed_methods, reason = "it is about the time that it takes")]
fn a_hundred_thousand_servers_take_no_square_of_that() {
    const COUNT: u32 = 100_000;
    let address = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
    let real = |number: u32| RealServer { address: address(number), ..server(1, 1, vec![Checker::UP]) };
    let all = Config { real_servers: (0..COUNT).map(real).collect(), ..config(&[], Checker::UP) };
    let began = std::time::Instant::now();
    let mut virtual_server = started(all.clone());
    for id in 0..COUNT as usize {
        virtual_server.handle_verdict(RealServerId(id), CheckerId(0), Verdict::Up);
        virtual_server.drain(RealServerId(id), at(0), None);
        virtual_server.undrain(RealServerId(id));
    }
    virtual_server.reconfigure_draining(config(&[1], Checker::UP), at(0), at(60));
    assert_eq!(virtual_server.leaving().count(), COUNT as usize - 1);
    virtual_server.reconfigure_draining(config(&[1], Checker::UP), at(0), at(60));
    let leaving: Vec<_> = virtual_server.leaving().map(|(server, _)| (server.clone(), at(0), at(60))).collect();
    virtual_server.leave(leaving.clone());
    virtual_server.remove_draining(at(0), at(60));
    let mut again = VirtualServer::new(all);
    again.leave(leaving);
    again.start();
    assert_eq!((again.leaving().count(), again.live_weight()), (0, u64::from(COUNT)));
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Who goes on knows how far it was.
#[test]
fn a_drain_that_has_ended_is_not_said_to_end_again() {
    let mut first = started(config(&[1, 1], Checker::UP));
    first.drain(RealServerId(0), at(0), Some(at(60)));
    first.handle_timeout(at(60));
    let drain = first.drain_status(RealServerId(0)).unwrap();
    let mut second = VirtualServer::new(config(&[1, 1], Checker::UP));
    second.resume_drain(RealServerId(0), drain);
    second.resume(Quorum::Up);
    second.handle_timeout(at(61));
    assert_eq!((events(&mut second).as_str(), second.is_draining()), ("", false));
    assert_eq!(second.drain_status(RealServerId(0)), Some(drain));
    assert_eq!(table(&second), "10.0.0.1:80 0\n10.0.0.2:80 1\n");
}

/// The kernel's table may be older than the word to drain.
#[test]
fn a_server_that_still_has_its_weight_is_not_drained() {
    let mut virtual_server = started(config(&[1, 1], Checker::UP));
    let before = reported(&virtual_server, &[]);
    virtual_server.drain(RealServerId(0), at(0), None);
    virtual_server.handle_destinations(&before);
    assert_eq!(virtual_server.drain_status(RealServerId(0)).unwrap().progress, DrainProgress::Waiting);
    virtual_server.handle_destinations(&reported(&virtual_server, &[]));
    assert_eq!(virtual_server.drain_status(RealServerId(0)).unwrap().progress, DrainProgress::Drained);
}

#[test]
fn whether_a_drain_costs_the_quorum_is_known_before() {
    let mut virtual_server = started(Config { quorum: 2, ..config(&[1, 1, 1], Checker::UP) });
    assert_eq!(virtual_server.quorum_when_drained(RealServerId(0)), Some(Quorum::Up));
    virtual_server.drain(RealServerId(0), at(0), None);
    assert_eq!(virtual_server.quorum_when_drained(RealServerId(1)), Some(Quorum::Down));
    assert_eq!(virtual_server.quorum_when_drained(RealServerId(0)), Some(Quorum::Up), "it does not count any more");
    virtual_server.shutdown();
    assert_eq!(virtual_server.quorum_when_drained(RealServerId(1)), None);
}

#[test]
fn a_removed_virtual_server_stays_until_its_connections_have_ended() {
    let mut virtual_server = started(config(&[1, 2], Checker::UP));
    events(&mut virtual_server);
    virtual_server.remove_draining(at(0), at(60));
    assert!(virtual_server.is_departing() && virtual_server.is_draining());
    assert_eq!((virtual_server.quorum(), virtual_server.live_weight()), (None, 0));
    assert_eq!(table(&virtual_server), "10.0.0.1:80 0\n10.0.0.2:80 0\n");
    let (first, _) = virtual_server.leaving().next().unwrap();
    let counts = reported(&virtual_server, &[("10.0.0.1:80", [2, 3, 4])]);
    let expected = Connections { active: 2, inactive: 3, persistent: 4 };
    let view = virtual_server.view(&counts);
    assert_eq!((view.wanted_weight(first), view.connections(first)), (Some(Weight::ZERO), Some(expected)));
    assert_eq!(virtual_server.view(&BTreeMap::new()).connections(first), None, "nothing was reported");
    let stranger = server(9, 1, vec![]);
    assert_eq!((view.wanted_weight(&stranger), view.connections(&stranger)), (None, Some(Connections::default())));
    virtual_server.handle_destinations(&counts);
    assert_eq!(table(&virtual_server), "10.0.0.1:80 0\n");
    virtual_server.handle_timeout(at(60));
    assert!(!virtual_server.is_departing() && virtual_server.wanted().is_empty());
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Removing Virtual Server [192.0.2.1]:tcp:80
    Changing weight from 1 to 0 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    -> [10.0.0.1]:tcp:80 is Down
    Changing weight from 2 to 0 for active service [10.0.0.2]:tcp:80 of VS [192.0.2.1]:tcp:80
    -> [10.0.0.2]:tcp:80 is Down
    -> quorum is Down
    Drained service [10.0.0.2]:tcp:80 of VS [192.0.2.1]:tcp:80
    Removing service [10.0.0.2]:tcp:80 from VS [192.0.2.1]:tcp:80
    Not waiting any longer for 9 connections of service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Removing service [10.0.0.1]:tcp:80 from VS [192.0.2.1]:tcp:80
    ");
}

/// Who waits is in use again where the configuration has it again; a stop leaves nothing.
#[test]
fn a_removed_virtual_server_can_come_back() {
    let mut virtual_server = started(config(&[1, 2], Checker::UP));
    virtual_server.remove_draining(at(0), at(60));
    virtual_server.reconfigure(config(&[3], Checker::UP));
    assert_eq!(virtual_server.quorum(), Some(Quorum::Up));
    assert_eq!(table(&virtual_server), "10.0.0.1:80 3\n10.0.0.2:80 0\n");
    virtual_server.remove_draining(at(1), at(61));
    assert_eq!(virtual_server.leaving().map(|(_, drain)| drain.deadline).min(), Some(Some(at(60))));
    virtual_server.shutdown();
    assert!(virtual_server.wanted().is_empty() && !virtual_server.is_draining());
}

#[test]
fn a_removed_virtual_server_goes_with_its_last_service() {
    let other = Service { address: ServiceAddress::tcp("192.0.2.2:80".parse().unwrap()), ..service() };
    let mut virtual_server = started(Config { services: vec![service(), other], ..config(&[1], Checker::UP) });
    virtual_server.hand_over(|_| true);
    assert_eq!(virtual_server.wanted().len(), 2, "it is in use");
    virtual_server.remove_draining(at(0), at(60));
    virtual_server.hand_over(|taken| taken == service().address);
    assert!(virtual_server.is_departing());
    assert_eq!(virtual_server.wanted().iter().map(|pool| pool.service).collect::<Vec<_>>(), [other]);
    virtual_server.hand_over(|taken| taken == other.address);
    assert!(!virtual_server.is_departing() && !virtual_server.is_draining());
    assert_eq!((virtual_server.wanted(), virtual_server.leaving().count()), (vec![], 0));
}

/// Whoever took the connections keeps them.
#[test]
fn the_sorry_server_of_a_removed_virtual_server_may_finish_too() {
    let mut virtual_server = started(Config { sorry_server: sorry_server(false), ..config(&[1], Checker::UP) });
    verdict(&mut virtual_server, 0, Verdict::Down);
    virtual_server.remove_draining(at(0), at(60));
    assert_eq!(table(&virtual_server), "10.0.0.99:80 0\n");
}

#[test]
fn checks_run_where_the_address_is() {
    let mut virtual_server = started(Config { ha_suspend: true, ..config(&[1, 1], Checker::UP) });
    assert!(!virtual_server.checks_run());
    events(&mut virtual_server);
    let here = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
    for (addresses, run) in
        [(&BTreeSet::new(), false), (&here, true), (&here, true), (&BTreeSet::new(), false), (&here, true)]
    {
        virtual_server.handle_addresses(addresses);
        assert_eq!(virtual_server.checks_run(), run);
    }
    let before = table(&virtual_server);
    virtual_server.handle_addresses(&BTreeSet::new());
    assert_eq!(table(&virtual_server), before, "the table stays");
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Deactivating healthchecker for service [10.0.0.1]:tcp:80 for VS [192.0.2.1]:tcp:80
    Deactivating healthchecker for service [10.0.0.2]:tcp:80 for VS [192.0.2.1]:tcp:80
    Activating healthchecker for service [10.0.0.1]:tcp:80 for VS [192.0.2.1]:tcp:80
    Activating healthchecker for service [10.0.0.2]:tcp:80 for VS [192.0.2.1]:tcp:80
    Suspending healthchecker for service [10.0.0.1]:tcp:80 for VS [192.0.2.1]:tcp:80
    Suspending healthchecker for service [10.0.0.2]:tcp:80 for VS [192.0.2.1]:tcp:80
    Activating healthchecker for service [10.0.0.1]:tcp:80 for VS [192.0.2.1]:tcp:80
    Activating healthchecker for service [10.0.0.2]:tcp:80 for VS [192.0.2.1]:tcp:80
    Suspending healthchecker for service [10.0.0.1]:tcp:80 for VS [192.0.2.1]:tcp:80
    Suspending healthchecker for service [10.0.0.2]:tcp:80 for VS [192.0.2.1]:tcp:80
    ");
}

#[test]
fn what_no_address_belongs_to_is_not_suspended() {
    let mark = ServiceAddress::fwmark(std::num::NonZeroU32::MIN, crate::types::Family::Inet);
    let other = Service::new(ServiceAddress::tcp("192.0.2.2:80".parse().unwrap()), Scheduler::RR);
    let there = BTreeSet::from(["192.0.2.2".parse().unwrap()]);
    for (services, ha_suspend, run) in [
        (vec![service()], false, true),
        (vec![service()], true, false),
        (vec![service(), other], true, true),
        (vec![Service::new(mark, Scheduler::RR)], true, true),
    ] {
        let mut virtual_server = started(Config { services, ha_suspend, ..config(&[1], Checker::UP) });
        virtual_server.handle_addresses(&there);
        assert_eq!(virtual_server.checks_run(), run);
    }
}

#[test]
fn the_addresses_of_a_mark_may_be_known() {
    let mark = ServiceAddress::fwmark(NonZeroU32::MIN, Family::Inet);
    let address = |text: &str| text.parse().unwrap();
    let marked = vec![(address("192.0.2.9"), address("192.0.2.1")), (address("192.0.2.2"), address("192.0.2.8"))];
    let services = vec![Service::new(mark, Scheduler::RR)];
    let mut virtual_server = started(Config { services, marked, ha_suspend: true, ..config(&[1], Checker::UP) });
    for (here, run) in [("192.0.2.9", false), ("192.0.2.8", true), ("192.0.2.1", false)] {
        virtual_server.handle_addresses(&BTreeSet::from([address(here)]));
        assert_eq!(virtual_server.checks_run(), run, "{here}");
    }
}

#[test]
fn a_reload_keeps_who_is_drained_and_what_is_suspended() {
    let config = Config { ha_suspend: true, ..config(&[1, 1], Checker::UP) };
    let mut virtual_server = started(config.clone());
    virtual_server.handle_addresses(&BTreeSet::from(["192.0.2.1".parse().unwrap()]));
    virtual_server.drain(RealServerId(1), at(0), Some(at(60)));
    events(&mut virtual_server);
    let swapped =
        Config { real_servers: vec![config.real_servers[1].clone(), config.real_servers[0].clone()], ..config.clone() };
    virtual_server.reconfigure(swapped);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 0\n10.0.0.1:80 1\n");
    assert!(virtual_server.checks_run());
    assert_eq!(events(&mut virtual_server), "");
    virtual_server.reconfigure(Config { ha_suspend: false, ..config.clone() });
    virtual_server.reconfigure(config);
    assert!(!virtual_server.checks_run(), "asked for anew");
}
