use std::time::Duration;

use health_checkers::driver::Event;
use health_checkers::outcome::{Failure, Note, Reason};
use health_checkers::schedule::{Attempt, Report};

use super::*;
use crate::config::checker::tests::part;

const VS: &str = "[192.0.2.1]:tcp:80";
const RS: [&str; 2] = ["[10.0.0.1]:tcp:80", "[10.0.0.2]:tcp:80"];

/// Two real servers; `more` is put into the virtual server, `checks` into the checkers.
fn file(more: &str, checks: [&str; 2]) -> String {
    let [first, second] = checks;
    format!(
        "virtual_server 192.0.2.1 80 {{
            protocol TCP
            lb_algo rr
            lb_kind NAT
            {more}
            real_server 10.0.0.1 80 {{ TCP_CHECK {{ connect_timeout 1\n {first} }} }}
            real_server 10.0.0.2 80 {{ TCP_CHECK {{ connect_timeout 1\n {second} }} }}
        }}"
    )
}

fn configure(balancer: &mut Balancer, file: &str) -> Checks {
    balancer.configure(Plan::new(part(file)).unwrap(), Instant::default())
}

/// A configured balancer with its effects drained, and the ids of its checks.
fn balancer(file: &str) -> (Balancer, Vec<CheckId>) {
    let mut balancer = Balancer::new(1);
    let checks = configure(&mut balancer, file);
    drain(&mut balancer);
    (balancer, ids(&checks))
}

fn ids(checks: &Checks) -> Vec<CheckId> {
    checks.added.iter().map(|(id, ..)| *id).collect()
}

fn drain(balancer: &mut Balancer) -> Vec<Effect> {
    std::iter::from_fn(|| balancer.poll_effect()).collect()
}

/// The lines for everybody's log.
fn lines(effects: &[Effect]) -> Vec<&str> {
    let line = |effect| match effect {
        &Effect::Info(ref line) | &Effect::Error(ref line) => Some(line.as_str()),
        _ => None,
    };
    effects.iter().filter_map(line).collect()
}

fn event(id: CheckId, outcome: impl Into<Outcome>, report: Report) -> Event<CheckId> {
    Event { id, attempt: Attempt::default(), outcome: outcome.into(), report, took: Duration::ZERO }
}

/// The check found its server down after `failures` tries.
fn fail(id: CheckId, failures: u32) -> Event<CheckId> {
    let verdict = schedule::Verdict::Down;
    let report = Report { verdict, changed: true, first: true, failures, retrying: false };
    event(id, Failure::with_detail(Reason::TcpFailed, "connection refused"), report)
}

fn succeed(id: CheckId) -> Event<CheckId> {
    let verdict = schedule::Verdict::Up;
    let report = Report { verdict, changed: true, first: false, failures: 0, retrying: false };
    event(id, Outcome::success(vec![Note::TcpConnected]), report)
}

/// The addresses of the wanted destinations.
fn wanted(balancer: &Balancer) -> Vec<String> {
    balancer.pools().iter().flat_map(|pool| &pool.destinations).map(|there| there.key().to_string()).collect()
}

#[test]
fn a_start_activates_every_check_and_claims_the_service() {
    let mut balancer = Balancer::new(1);
    let checks = configure(&mut balancer, &file("", ["", ""]));
    assert_eq!(ids(&checks).len(), 2);
    assert_eq!(wanted(&balancer), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(balancer.ours(), [ServiceAddress::tcp("192.0.2.1:80".parse().unwrap())].into());
    let effects = drain(&mut balancer);
    let lines = lines(&effects);
    for rs in RS {
        let line = format!("Activating healthchecker for service {rs} for VS {VS}");
        assert!(lines.contains(&line.as_str()), "{lines:?}");
    }
    let facts = effects.iter().filter_map(|effect| match effect {
        Effect::Remember(fact) => Some(fact.key.as_str()),
        _ => None,
    });
    let facts: BTreeSet<_> = facts.collect();
    assert!(facts.contains("services 000000"), "{facts:?}");
}

#[test]
fn a_failed_server_leaves_and_comes_back_with_keepaliveds_words() {
    let (mut balancer, ids) = balancer(&file("", ["", ""]));
    balancer.handle_event(&fail(ids[0], 3));
    assert_eq!(wanted(&balancer), ["10.0.0.2:80"]);
    let expected = [
        format!("TCP connection to {} failed.", RS[0]),
        format!("TCP_CHECK on service {} failed after 2 retries.", RS[0]),
        format!("Removing service {} from VS {VS}", RS[0]),
    ];
    assert_eq!(lines(&drain(&mut balancer)), expected);
    balancer.handle_event(&succeed(ids[0]));
    assert_eq!(wanted(&balancer), ["10.0.0.1:80", "10.0.0.2:80"]);
    let expected = [format!("TCP connection to {} success.", RS[0]), format!("Adding service {} to VS {VS}", RS[0])];
    assert_eq!(lines(&drain(&mut balancer)), expected);
}

#[test]
fn a_failure_that_does_not_count_yet_is_said_only_if_asked_for() {
    let report = Report { verdict: schedule::Verdict::Up, changed: false, first: false, failures: 1, retrying: true };
    for (word, expected) in [("", vec![]), ("log_all_failures", vec![format!("TCP connection to {} failed.", RS[0])])] {
        let (mut balancer, ids) = balancer(&file("", [word, ""]));
        balancer.handle_event(&event(ids[0], Failure::new(Reason::TcpFailed), report));
        assert_eq!(lines(&drain(&mut balancer)), expected);
        assert_eq!(wanted(&balancer).len(), 2);
    }
}

#[test]
fn a_reload_keeps_unchanged_checks_and_their_verdicts() {
    let (mut balancer, ids) = balancer(&file("", ["", ""]));
    balancer.handle_event(&fail(ids[0], 1));
    drain(&mut balancer);
    let checks = configure(&mut balancer, &file("quorum 1", ["", ""]));
    assert!(checks.added.is_empty() && checks.removed.is_empty());
    assert_eq!(lines(&drain(&mut balancer)), [""; 0]);
    assert_eq!(wanted(&balancer), ["10.0.0.2:80"]);
    balancer.handle_event(&succeed(ids[0]));
    assert_eq!(wanted(&balancer).len(), 2, "the check goes on under its id");
}

#[test]
fn a_check_with_another_timing_is_a_new_one_with_the_old_verdict() {
    let (mut balancer, old) = balancer(&file("", ["", ""]));
    balancer.handle_event(&fail(old[0], 1));
    let checks = configure(&mut balancer, &file("", ["retry 7", ""]));
    assert_eq!(checks.removed, [old[0]]);
    assert_eq!(checks.added.len(), 1);
    assert_eq!(checks.added[0].1.verdict(), schedule::Verdict::Down);
    assert_eq!(wanted(&balancer), ["10.0.0.2:80"]);
}

#[test]
fn a_check_of_something_else_starts_afresh() {
    let (mut balancer, old) = balancer(&file("", ["", ""]));
    balancer.handle_event(&fail(old[0], 1));
    let checks = configure(&mut balancer, &file("", ["connect_port 81", ""]));
    assert_eq!(checks.added[0].1.verdict(), schedule::Verdict::Up);
    assert_eq!(wanted(&balancer).len(), 2);
}

#[test]
fn a_successor_goes_on_where_this_process_ended() {
    let text = file("sorry_server 10.0.0.9 80", ["", ""]);
    let (mut first, ids) = balancer(&text);
    let mut snapshot = first.facts.clone();
    for id in ids {
        first.handle_event(&fail(id, 1));
    }
    for effect in drain(&mut first) {
        if let Effect::Remember(Fact { key, value }) = effect {
            snapshot.insert(key, value);
        }
    }
    let mut second = Balancer::new(2);
    second.resume(snapshot.into_iter().map(|(key, value)| Fact { key, value }).collect());
    assert_eq!(second.ours(), first.ours(), "before the first configuration");
    let checks = configure(&mut second, &text);
    assert_eq!(second.pools(), first.pools());
    assert_eq!(wanted(&second), ["10.0.0.9:80"]);
    assert!(checks.added.iter().all(|(_, schedule, _)| schedule.verdict() == schedule::Verdict::Down));
    let effects = drain(&mut second);
    let said: Vec<_> = lines(&effects).into_iter().filter(|line| !line.starts_with("Activating")).collect();
    assert_eq!(said, [""; 0], "nothing is announced again");
}

#[test]
fn what_a_reload_removes_stays_ours_until_it_is_gone() {
    let (mut balancer, ids) = balancer(&file("", ["", ""]));
    let checks = configure(&mut balancer, "");
    assert_eq!(checks.removed, ids);
    assert_eq!(balancer.pools(), []);
    assert_eq!(balancer.ours().len(), 1);
    let effects = drain(&mut balancer);
    let expected = format!("Removing service {} from VS {VS}", RS[0]);
    assert!(lines(&effects).contains(&expected.as_str()), "{effects:?}");
    balancer.handle_applied();
    assert!(balancer.ours().is_empty());
    assert_eq!(balancer.facts, BTreeMap::new());
}

/// This many virtual servers of one service each.
fn many(count: usize) -> String {
    let service = |number: usize| {
        format!(
            "virtual_server 2001:db8::{number:x} 80 {{
                protocol TCP
                lb_algo rr
                lb_kind NAT
                real_server 2001:db8:1::1 80 {{
                }}
            }}\n"
        )
    };
    (0..count).map(service).collect()
}

#[test]
fn every_fact_fits_a_message_and_a_successor_owns_all_services() {
    const COUNT: usize = 7000;
    let (mut first, _) = balancer(&many(COUNT));
    let largest = first.facts.values().map(Vec::len).max().unwrap();
    assert!(largest < 32 * 1024, "{largest} bytes");
    let mut second = Balancer::new(2);
    second.resume(first.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect());
    assert_eq!(second.ours().len(), COUNT);
    assert_eq!(second.ours(), first.ours());

    configure(&mut first, &many(1500));
    first.handle_applied();
    let forgotten = drain(&mut first).into_iter().filter(
        |effect| matches!(effect, Effect::Remember(fact) if fact.key.starts_with(SERVICES) && fact.value.is_empty()),
    );
    assert_eq!(forgotten.count(), 5, "two facts are left");
    assert_eq!(first.ours().len(), 1500);
}

#[test]
fn a_stop_says_what_it_shuts_down() {
    let (mut balancer, _) = balancer(&file("", ["", ""]));
    balancer.stop();
    assert_eq!(balancer.pools(), []);
    let expected = RS.map(|rs| format!("Shutting down service {rs} from VS {VS}"));
    assert_eq!(lines(&drain(&mut balancer)), expected);
}

#[test]
fn the_runner_hears_of_virtual_servers_with_scripts() {
    let notified = |text: &str| {
        let (mut balancer, ids) = balancer(text);
        balancer.handle_event(&fail(ids[0], 1));
        balancer.handle_event(&fail(ids[1], 1));
        let notify = |effect| match effect {
            Effect::Notify(event) => Some(event),
            _ => None,
        };
        drain(&mut balancer).into_iter().filter_map(notify).collect::<Vec<_>>()
    };
    assert_eq!(notified(&file("", ["", ""])), []);
    let down = |rs: &str| NotifyEvent::RealServer { virtual_server: VS.into(), real_server: rs.into(), up: false };
    let quorum = NotifyEvent::Quorum { virtual_server: VS.into(), up: false };
    assert_eq!(notified(&file("quorum_down /q", ["", ""])), [down(RS[0]), down(RS[1]), quorum]);
}

#[test]
fn a_checker_that_cannot_run_keeps_its_server_out() {
    let mut part = part(&file("", ["", ""]));
    part.virtual_servers[0].real_servers[0].checkers[0].kind = conf_parser::config::CheckerKind::Ping;
    let mut balancer = Balancer::new(1);
    let checks = balancer.configure(Plan::new(part).unwrap(), Instant::default());
    assert_eq!(ids(&checks).len(), 1);
    assert_eq!(wanted(&balancer), ["10.0.0.2:80"]);
    let expected = format!("Service {} of VS {VS} counts as down: this release cannot run PING_CHECK", RS[0]);
    assert!(drain(&mut balancer).contains(&Effect::Error(expected)));
}

#[test]
fn what_comes_up_at_the_start_is_notified_on_request() {
    let first_result = |more: &str| {
        let text = format!("{more}{}", file("quorum_up /u", ["", ""]));
        let (mut balancer, ids) = balancer(&text);
        let verdict = schedule::Verdict::Up;
        let report = Report { verdict, changed: false, first: true, failures: 0, retrying: false };
        balancer.handle_event(&event(ids[0], Outcome::success(vec![Note::TcpConnected]), report));
        drain(&mut balancer).into_iter().filter(|effect| matches!(effect, Effect::Notify(_))).collect::<Vec<_>>()
    };
    assert_eq!(first_result(""), []);
    let up = NotifyEvent::RealServer { virtual_server: VS.into(), real_server: RS[0].into(), up: true };
    assert_eq!(first_result("global_defs {\n rs_init_notifies\n}\n"), [Effect::Notify(up)]);
}

/// What is done with the checks.
fn moves(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| matches!(effect, Effect::Activate(_) | Effect::Suspend(_))).collect()
}

#[test]
fn checks_follow_the_address_of_their_virtual_server() {
    let here: BTreeSet<IpAddr> = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
    let mut balancer = Balancer::new(1);
    let ids = ids(&configure(&mut balancer, &file("ha_suspend", ["", ""])));
    let effects = drain(&mut balancer);
    let line = format!("Deactivating healthchecker for service {} for VS {VS}", RS[0]);
    assert!(lines(&effects).contains(&line.as_str()), "{effects:?}");
    assert_eq!(moves(effects), []);
    balancer.handle_addresses(here.clone());
    assert_eq!(moves(drain(&mut balancer)), [Effect::Activate(ids[0]), Effect::Activate(ids[1])]);
    balancer.handle_addresses(here.clone());
    assert_eq!(drain(&mut balancer), []);
    balancer.handle_addresses(BTreeSet::new());
    let effects = drain(&mut balancer);
    assert_eq!(moves(effects), [Effect::Suspend(ids[0]), Effect::Suspend(ids[1])]);
    assert_eq!(wanted(&balancer).len(), 2, "the table stays as it is");
    configure(&mut balancer, &file("", ["", ""]));
    assert_eq!(moves(drain(&mut balancer)), [Effect::Activate(ids[0]), Effect::Activate(ids[1])]);
}

fn router(active: bool) -> Fact {
    let role = if active { vrrp_proto::Role::Active } else { vrrp_proto::Role::Backup };
    facts::tests::router_fact("key", role)
}

#[test]
fn sync_daemons_follow_their_router() {
    let instance =
        "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n";
    let text = format!("global_defs {{\n lvs_sync_daemon eth1 V\n}}\n{instance}");
    let mut plan = Plan::new(part(&text)).unwrap();
    plan.table.sync_daemon.as_mut().unwrap().router = Some(router(true).key);
    let mut balancer = Balancer::new(1);
    balancer.configure(plan, Instant::default());
    let roles = |wanted: Wanted| wanted.sync_daemons.iter().map(|daemon| daemon.role).collect::<Vec<_>>();
    assert_eq!(roles(balancer.wanted()), []);
    assert!(balancer.handle_router(router(false)));
    assert_eq!(roles(balancer.wanted()), [SyncRole::Backup]);
    assert!(!balancer.handle_router(router(false)));
    assert!(balancer.handle_router(router(true)));
    assert_eq!(roles(balancer.wanted()), [SyncRole::Master]);
    let both = BTreeSet::from([SyncRole::Master, SyncRole::Backup]);
    assert_eq!((roles(balancer.withdrawn()), balancer.withdrawn().sync_ours), (vec![], both.clone()));
    assert!(balancer.facts.contains_key(SYNC_DAEMONS));

    let mut second = Balancer::new(2);
    second.resume(balancer.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect());
    configure(&mut second, "");
    assert_eq!((roles(second.wanted()), second.wanted().sync_ours), (vec![], both));
    second.handle_applied();
    assert_eq!((second.wanted().sync_ours, second.facts), (BTreeSet::new(), BTreeMap::new()));
}

#[test]
fn without_an_instance_both_sync_daemons_run() {
    let (balancer, _) = balancer("global_defs {\n lvs_sync_daemon eth1\n}\n");
    assert_eq!(balancer.wanted().sync_daemons.len(), 2);
}

#[test]
fn only_lvs_flush_on_stop_without_vs_removes_what_others_made() {
    for (word, all) in [("", false), ("lvs_flush_on_stop VS", false), ("lvs_flush_on_stop", true)] {
        let (balancer, _) = balancer(&format!("global_defs {{\n router_id x\n {word}\n}}\n{}", file("", ["", ""])));
        assert_eq!(balancer.withdrawn().flush, all, "{word}");
        assert_eq!((balancer.withdrawn().pools, balancer.withdrawn().ours.len()), (vec![], 1));
    }
}

/// One destination of the service with so many connections.
fn counts(balancer: &Balancer, connections: u32) -> BTreeMap<ServiceAddress, Vec<DestinationEntry>> {
    let entry = |destination: &ipvs_control::types::Destination| DestinationEntry {
        destination: *destination,
        active_connections: connections,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: ipvs_control::types::Stats::default(),
    };
    let pools = balancer.pools();
    pools.iter().map(|pool| (pool.service.address, pool.destinations.iter().map(entry).collect())).collect()
}

#[test]
fn a_server_that_is_left_out_keeps_its_connections_for_a_while() {
    let one = |more: &str| {
        let both = file(more, ["", ""]);
        let first = both.find("real_server 10.0.0.1").unwrap();
        let second = both.find("real_server 10.0.0.2").unwrap();
        format!("{}{}", &both[..first], &both[second..])
    };
    let weights = |balancer: &Balancer| {
        let pools = balancer.pools();
        let there = |there: &ipvs_control::types::Destination| (there.key().to_string(), there.weight.0);
        pools.iter().flat_map(|pool| &pool.destinations).map(there).collect::<BTreeMap<_, _>>()
    };
    let leaving: BTreeMap<_, _> = [("10.0.0.1:80".to_owned(), 0), ("10.0.0.2:80".to_owned(), 1)].into();
    for gone in [true, false] {
        let (mut balancer, _) = balancer(&file("drain_timeout 30", ["", ""]));
        assert!(!balancer.is_draining() && balancer.wanted().count.is_empty());
        configure(&mut balancer, &one("drain_timeout 30"));
        assert_eq!(weights(&balancer), leaving);
        assert!(balancer.is_draining());
        assert_eq!(balancer.wanted().count, [ServiceAddress::tcp("192.0.2.1:80".parse().unwrap())]);

        let facts = balancer.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() });
        let mut second = Balancer::new(2);
        second.resume(facts.collect());
        configure(&mut second, &one("drain_timeout 30"));
        assert_eq!(weights(&second), leaving, "a successor waits too");
        assert!(second.facts.keys().any(|key| key.starts_with(LEAVING)));
        drain(&mut second);

        assert!(!second.handle_counts(&counts(&second, 2)));
        assert!(!second.handle_time(Instant::default() + Duration::from_secs(29)));
        let line = if gone {
            assert!(second.handle_counts(&counts(&second, 0)));
            format!("Drained service {} of VS {VS}", RS[0])
        } else {
            assert!(second.handle_time(Instant::default() + Duration::from_secs(30)));
            format!("Not waiting any longer for 2 connections of service {} of VS {VS}", RS[0])
        };
        let effects = drain(&mut second);
        assert_eq!(lines(&effects), [line, format!("Removing service {} from VS {VS}", RS[0])]);
        assert_eq!(wanted(&second), ["10.0.0.2:80"]);
        assert!(!second.is_draining() && !second.facts.keys().any(|key| key.starts_with(LEAVING)));
    }
    let (mut balancer, _) = balancer(&file("", ["", ""]));
    configure(&mut balancer, &one(""));
    assert_eq!(wanted(&balancer), ["10.0.0.2:80"], "without the keyword it goes at once");
}
