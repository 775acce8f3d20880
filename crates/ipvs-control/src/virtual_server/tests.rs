use proptest::prelude::*;

use super::*;
use crate::types::Scheduler;

fn service() -> Service {
    Service::new(ServiceAddress::tcp("192.0.2.1:80".parse().unwrap()), Scheduler::WLC)
}

fn server(last: usize, weight: u16, checkers: Vec<Checker>) -> RealServer {
    let address = format!("10.0.0.{last}:80").parse().unwrap();
    let server = RealServer::new(&service(), address, ForwardingMethod::Masquerade).with_checkers(checkers);
    RealServer { weight: Weight(weight), ..server }
}

fn sorry_server(inhibit: bool) -> Option<SorryServer> {
    let address = "10.0.0.99:80".parse().unwrap();
    Some(SorryServer { inhibit, ..SorryServer::new(&service(), address, ForwardingMethod::Masquerade) })
}

/// A virtual server with a real server of each weight, each with a checker.
fn config(weights: &[u16], first: Checker) -> Config {
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
    virtual_server.remove();
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Removing Virtual Server [192.0.2.1]:tcp:80
    Removing service [10.0.0.1]:tcp:80 from VS [192.0.2.1]:tcp:80
    (-> [10.0.0.1]:tcp:80 is Down
    (-> quorum is Down
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
    for (contribution, weight) in [(5, 15), (-11, 0), (1 << 40, 65535), (i64::MIN, 0), (0, 10)] {
        virtual_server.handle_weight(RealServerId(0), CheckerId(0), contribution);
        assert_eq!(virtual_server.weight(RealServerId(0)), Some(Weight(weight)));
    }
    insta::assert_snapshot!(events(&mut virtual_server), @r"
    Changing weight from 10 to 15 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Changing weight from 15 to 0 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Lost quorum 1-0=1 > 0 for VS [192.0.2.1]:tcp:80
    -> quorum is Down
    Changing weight from 0 to 65535 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Gained quorum 1+0=1 <= 65535 for VS [192.0.2.1]:tcp:80
    -> quorum is Up
    Changing weight from 65535 to 0 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Lost quorum 1-0=1 > 0 for VS [192.0.2.1]:tcp:80
    -> quorum is Down
    Changing weight from 0 to 10 for active service [10.0.0.1]:tcp:80 of VS [192.0.2.1]:tcp:80
    Gained quorum 1+0=1 <= 10 for VS [192.0.2.1]:tcp:80
    -> quorum is Up
    ");
}

#[test]
fn thresholds_stay_where_they_can_be_met() {
    let limits = |weights: &[u16], quorum, hysteresis| {
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
    (-> [10.0.0.3]:tcp:80 is Down
    ");
}

#[test]
fn another_process_goes_on_without_saying_it_again() {
    let down = Checker { verdict: Verdict::Down, reported: true, ..Checker::UP };
    let mut config = config(&[1, 1], down);
    config.real_servers[1].checkers = vec![Checker { contribution: 4, reported: true, ..Checker::UP }];
    let mut virtual_server = VirtualServer::new(config);
    virtual_server.resume(Quorum::Up);
    verdict(&mut virtual_server, 0, Verdict::Down);
    assert_eq!(table(&virtual_server), "10.0.0.2:80 5\n");
    assert_eq!(events(&mut virtual_server), "");
}

#[derive(Debug, Clone)]
enum Step {
    Verdict(usize, usize, Verdict),
    Weight(usize, usize, i64),
    Reload(Config),
    Stop,
    Start,
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Up), Just(Verdict::Down)]
}

fn any_server(last: usize) -> impl Strategy<Value = RealServer> {
    let checkers = proptest::collection::vec(prop_oneof![Just(Checker::UP), Just(Checker::DOWN)], 0..3);
    (0u16..4, checkers, any::<bool>()).prop_map(move |(weight, checkers, inhibit_on_failure)| RealServer {
        inhibit_on_failure,
        ..server(last, weight, checkers)
    })
}

fn any_config() -> impl Strategy<Value = Config> {
    let servers = (any_server(1), any_server(2), any_server(3), 0usize..4)
        .prop_map(|(a, b, c, count)| [a, b, c].into_iter().take(count).collect::<Vec<_>>());
    let sorry_server = prop_oneof![Just(None), Just(sorry_server(false)), Just(sorry_server(true))];
    (servers, sorry_server, 0u32..8, 0u32..8, any::<(bool, bool)>()).prop_map(
        |(real_servers, sorry_server, quorum, hysteresis, (omega, initial_notifications))| Config {
            real_servers,
            sorry_server,
            quorum,
            hysteresis,
            omega,
            initial_notifications,
            ..Config::new(service())
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..4, 0usize..3, any_verdict()).prop_map(|(server, checker, verdict)| Step::Verdict(server, checker, verdict)),
        2 => (0usize..4, 0usize..3, -5i64..70000).prop_map(|(server, checker, value)| Step::Weight(server, checker, value)),
        1 => any_config().prop_map(Step::Reload),
        1 => Just(Step::Stop),
        1 => Just(Step::Start),
    ]
}

/// The rules of a virtual server as a reader of the manual would check them.
fn check_rules(virtual_server: &VirtualServer, before: Option<Quorum>) {
    let config = virtual_server.config();
    let limits = config.thresholds();
    let Some(quorum) = virtual_server.quorum() else {
        assert_eq!(virtual_server.wanted(), []);
        return;
    };
    let live = virtual_server.live_weight();
    match quorum {
        Quorum::Up => assert!(live >= 1 && live >= limits.quorum - limits.hysteresis),
        Quorum::Down => assert!(live < limits.quorum + limits.hysteresis),
    }
    if before == Some(Quorum::Up) && quorum == Quorum::Down {
        assert!(live == 0 || live < limits.quorum - limits.hysteresis);
    }
    let wanted = virtual_server.wanted();
    let weights: HashMap<_, _> = wanted[0].destinations.iter().map(|there| (there.address, there.weight)).collect();
    assert_eq!(weights.len(), wanted[0].destinations.len(), "a destination twice");
    let replaced = quorum == Quorum::Down && config.sorry_server.is_some();
    for (place, server) in config.real_servers.iter().enumerate() {
        let id = RealServerId(place);
        let takes_part = virtual_server.verdict(id) == Some(Verdict::Up) && !replaced;
        let expected = match (takes_part, server.inhibit_on_failure) {
            (true, _) => virtual_server.weight(id),
            (false, true) => Some(Weight::ZERO),
            (false, false) => None,
        };
        assert_eq!(weights.get(&server.address).copied(), expected, "{}", server.name);
    }
    if let Some(sorry_server) = &config.sorry_server {
        let expected = match (replaced, sorry_server.inhibit) {
            (true, _) => Some(Weight(1)),
            (false, true) => Some(Weight::ZERO),
            (false, false) => None,
        };
        assert_eq!(weights.get(&sorry_server.address).copied(), expected);
    }
}

proptest! {
    #[test]
    fn the_rules_hold_whatever_the_order(config in any_config(), steps in proptest::collection::vec(any_step(), 0..40)) {
        let mut virtual_server = started(config);
        check_rules(&virtual_server, None);
        for step in steps {
            let before = virtual_server.quorum();
            match step.clone() {
                Step::Verdict(server, checker, verdict) => {
                    virtual_server.handle_verdict(RealServerId(server), CheckerId(checker), verdict);
                }
                Step::Weight(server, checker, value) => {
                    virtual_server.handle_weight(RealServerId(server), CheckerId(checker), value);
                }
                Step::Reload(config) => virtual_server.reconfigure(config),
                Step::Stop => virtual_server.shutdown(),
                Step::Start if before.is_none() => virtual_server.start(),
                Step::Start => {}
            }
            let comparable = !matches!(step, Step::Reload(_) | Step::Stop | Step::Start);
            check_rules(&virtual_server, before.filter(|_| comparable));
        }
    }

    /// Every change is told, once, and what is told last is the case.
    #[test]
    fn what_is_told_last_is_so(config in any_config(), steps in proptest::collection::vec(any_step(), 0..40)) {
        let mut virtual_server = started(config);
        let mut told = None;
        for step in steps {
            if let Step::Verdict(server, checker, verdict) = step {
                virtual_server.handle_verdict(RealServerId(server), CheckerId(checker), verdict);
            }
            while let Some(event) = virtual_server.poll_event() {
                if let Event::Quorum { quorum, .. } = event {
                    prop_assert_ne!(told, Some(quorum));
                    told = Some(quorum);
                }
            }
            prop_assert!(told.is_none() || told == virtual_server.quorum());
        }
    }
}
