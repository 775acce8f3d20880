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
    balancer.configure(Plan::new(part(file)).unwrap())
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
    balancer.wanted().iter().flat_map(|pool| &pool.destinations).map(|there| there.key().to_string()).collect()
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
    assert_eq!(second.wanted(), first.wanted());
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
    assert_eq!(balancer.wanted(), []);
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
    assert_eq!(balancer.wanted(), []);
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
    let checks = balancer.configure(Plan::new(part).unwrap());
    assert_eq!(ids(&checks).len(), 1);
    assert_eq!(wanted(&balancer), ["10.0.0.2:80"]);
    let expected = format!("Service {} of VS {VS} counts as down: this release cannot run PING_CHECK", RS[0]);
    assert!(drain(&mut balancer).contains(&Effect::Error(expected)));
}
