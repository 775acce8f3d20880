mod files;
mod seam;
mod servers;
mod unchanged;

use std::time::Duration;

use health_checkers::driver::Event;
use health_checkers::outcome::{Failure, Note, Reason};
use health_checkers::schedule::{Attempt, Report};
use ipvs_control::types::DestinationEntry;

use super::*;
use crate::config::checker::tests::part;
use crate::workers::checker::kernel;

mod marks;

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

impl Plan {
    /// All of `part` anew.
    fn new(part: CheckerPart) -> Result<Self, Inexpressible> {
        let none = vec![None; part.virtual_servers.len()];
        Self::passing_over(part, &none)
    }
}

fn configure(balancer: &mut Balancer, file: &str) -> Checks {
    let plan = balancer.plan(part(file)).unwrap();
    balancer.configure(plan, Instant::default())
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

/// Every effect, with the lines as they are logged.
fn drain(balancer: &mut Balancer) -> Vec<Effect> {
    let worded = |effect| match effect {
        Effect::Begins(line) => Effect::Info(line.to_string()),
        other => other,
    };
    std::iter::from_fn(|| balancer.poll_effect()).map(worded).collect()
}

/// Whether the kernel is to be asked for something else after `act`.
fn changes(balancer: &mut Balancer, act: impl FnOnce(&mut Balancer)) -> bool {
    let _ = balancer.poll_wish();
    act(balancer);
    balancer.is_stale()
}

/// Whether something else is wanted once this many connections were counted.
fn counted(balancer: &mut Balancer, connections: u32) -> bool {
    let counts = counts(balancer, connections);
    changes(balancer, |balancer| balancer.handle_counts(&counts))
}

fn waited(balancer: &mut Balancer, now: Instant) -> bool {
    changes(balancer, |balancer| balancer.handle_time(now))
}

fn followed(balancer: &mut Balancer, router: Fact) -> bool {
    changes(balancer, |balancer| balancer.handle_router(router))
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

/// A server of weight 10 with a program.
fn misc_file(weight: u8, more: &str) -> String {
    format!(
        "virtual_server 192.0.2.1 80 {{
            protocol TCP
            lb_algo rr
            lb_kind NAT
            real_server 10.0.0.1 80 {{
                weight {weight}
                MISC_CHECK {{\n misc_path \"/c 1\"\n misc_dynamic\n {more}\n }}
            }}
        }}"
    )
}

/// The program ended; the try was the `failures`th in a row to fail.
fn program(id: CheckId, outcome: impl Into<Outcome>, changed: bool, failures: u32, retrying: bool) -> Event<CheckId> {
    let down = failures > 0 && !retrying;
    let verdict = if down { schedule::Verdict::Down } else { schedule::Verdict::Up };
    event(id, outcome, Report { verdict, changed, first: false, failures, retrying })
}

fn exited(status: u8) -> Failure {
    Failure::with_detail(Reason::ProgramFailed, format_args!("exited with status {status}"))
}

/// As Debian's keepalived 2.2.7 says it.
#[test]
fn a_program_is_told_of_in_keepaliveds_words() {
    let misc = |text: &str| format!("Misc check for [{} VS {VS}] by [/c] {text}.", RS[0]);
    let heard = |balancer: &mut Balancer| {
        let lines: Vec<_> = lines(&drain(balancer)).into_iter().map(str::to_owned).collect();
        lines.into_iter().filter(|line| !line.contains(" quorum ")).collect::<Vec<_>>()
    };
    let removing = format!("Removing service {} from VS {VS}", RS[0]);
    for (words, told) in [
        ("retry 2\n log_all_failures", [", will do 2 retries", " on retry 1/2", " after 2 retries"].as_slice()),
        ("retry 1\n log_all_failures", &[", will do 1 retry", " after 1 retry"]),
        ("retry 1", &["", " after 1 retry"]),
        ("", &[" with retry disabled"]),
    ] {
        let (mut balancer, ids) = balancer(&misc_file(10, words));
        for (failures, tries) in (1..).zip(told) {
            let last = usize::try_from(failures).unwrap() == told.len();
            balancer.handle_event(&program(ids[0], exited(1), last, failures, !last));
            let line = misc(&format!("failed{tries} (exited with status 1)"));
            let expected = if last { vec![line, removing.clone()] } else { vec![line] };
            let expected = if tries.is_empty() { Vec::new() } else { expected };
            assert_eq!(heard(&mut balancer), expected);
        }
        balancer.handle_event(&program(ids[0], Outcome::success_with_weight(Vec::new(), 5), true, 0, false));
        let changing = format!("Changing weight from 10 to 5 for inactive service {} of VS {VS}", RS[0]);
        let expected = [changing, misc("succeeded"), format!("Adding service {} to VS {VS}", RS[0])];
        assert_eq!(heard(&mut balancer), expected);
        balancer.handle_event(&program(ids[0], Outcome::success(Vec::new()), false, 0, false));
        let changing = format!("Changing weight from 5 to 10 for active service {} of VS {VS}", RS[0]);
        assert_eq!(heard(&mut balancer), [changing]);
        balancer.handle_event(&program(ids[0], Outcome::progress(Vec::new()), false, 0, false));
        assert_eq!(drain(&mut balancer), [], "a program that may not run");
        let failures = u32::try_from(told.len()).unwrap();
        balancer.handle_event(&program(ids[0], Failure::new(Reason::ProgramTimeout), true, failures, false));
        let expected = misc(&format!("timed out{}", told.last().unwrap()));
        assert_eq!(heard(&mut balancer), [expected, removing.clone()]);
    }
}

/// What is said of a server that fails thrice, with one retry, and of its success: with `log_all_failures`.
fn told_of(checker: &str, failure: &Failure, notes: Vec<Note>) -> [Vec<String>; 4] {
    let text = file("", ["", ""]).replacen("TCP_CHECK {", &format!("{checker} {{\n log_all_failures\n"), 1);
    let (mut balancer, ids) = balancer(&text);
    let mut heard = |outcome: Outcome, changed: bool, failures: u32, retrying: bool| {
        let verdict = if failures > 0 && !retrying { schedule::Verdict::Down } else { schedule::Verdict::Up };
        let report = Report { verdict, changed, first: false, failures, retrying };
        balancer.handle_event(&event(ids[0], outcome, report));
        let said: Vec<_> = lines(&drain(&mut balancer)).into_iter().map(str::to_owned).collect();
        said.into_iter().filter(|line| !line.ends_with(VS)).collect::<Vec<_>>()
    };
    [
        heard(failure.clone().into(), false, 1, true),
        heard(failure.clone().into(), true, 2, false),
        heard(failure.clone().into(), false, 3, false),
        heard(Outcome::success(notes), true, 0, false),
    ]
}

/// As Debian's keepalived 2.2.7 says it.
#[test]
fn a_datagram_is_told_of_in_keepaliveds_words() {
    let tried = format!("UDP connection to {} failed.", RS[0]);
    let failed = format!("UDP_CHECK on service {} failed.", RS[0]);
    let success = format!("UDP connection to {} success.", RS[0]);
    let told = told_of("UDP_CHECK", &Failure::new(Reason::UdpFailed), vec![Note::Udp]);
    assert_eq!(told, [vec![tried.clone()], vec![failed], vec![tried], vec![success]]);
}

/// As Debian's keepalived 2.2.7 says it.
#[test]
fn an_echo_is_told_of_in_keepaliveds_words() {
    let tried = format!("ICMP connection to {} failed.", RS[0]);
    let failed = format!("ICMP CHECK on service {} failed.", RS[0]);
    let success = format!("ICMP connection to {} success.", RS[0]);
    let told = told_of("PING_CHECK", &Failure::new(Reason::PingTimeout), vec![Note::Ping]);
    assert_eq!(told, [vec![tried.clone()], vec![failed], vec![tried], vec![success]]);
}

/// As Debian's keepalived 2.2.7 says it, which has no words for a success.
#[test]
fn a_query_is_told_of_in_keepaliveds_words() {
    let failed = vec![format!("DNS_CHECK ({}) read error occurred. (rcode = 2)", RS[0])];
    let told = told_of("DNS_CHECK", &Failure::with_detail(Reason::DnsRcode, "rcode = 2"), Vec::new());
    assert_eq!(told, [failed.clone(), failed.clone(), failed, Vec::new()]);
}

/// As Debian's keepalived 2.2.7 says it.
#[test]
fn a_mail_server_is_told_of_in_keepaliveds_words() {
    let failed = vec!["SMTP_CHECK Bad greeting banner from server [10.0.0.1]:80".to_owned()];
    let success = format!("Remote SMTP server {} succeed on service.", RS[0]);
    let told = told_of("SMTP_CHECK", &Failure::new(Reason::SmtpGreeting), vec![Note::SmtpServer]);
    assert_eq!(told, [failed.clone(), failed.clone(), failed, vec![success]]);
}

#[test]
fn a_weight_of_a_program_outlives_a_reload_and_the_process() {
    let weight = |balancer: &Balancer| {
        let pools = balancer.pools();
        pools.iter().flat_map(|pool| &pool.destinations).map(|there| there.weight.0).collect::<Vec<_>>()
    };
    let mut first = Balancer::new(1);
    let id = ids(&configure(&mut first, &misc_file(10, "")))[0];
    let event = program(id, Outcome::success_with_weight(Vec::new(), 5), false, 0, false);
    assert!(changes(&mut first, |balancer| balancer.handle_event(&event)));
    assert_eq!(weight(&first), [5]);
    assert!(!changes(&mut first, |balancer| balancer.handle_event(&event)), "the same again");
    configure(&mut first, &misc_file(20, ""));
    assert_eq!(weight(&first), [5]);
    let facts = first.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() });
    let mut second = Balancer::new(2);
    second.resume(facts.collect());
    configure(&mut second, &misc_file(20, ""));
    assert_eq!(weight(&second), [5]);
}

/// With the virtual server of this file twice, which is only noted.
fn twice(file: &str) -> (Balancer, Vec<CheckId>) {
    let mut part = part(file);
    part.virtual_servers.push(part.virtual_servers[0].clone());
    let mut balancer = Balancer::new(1);
    let checks = balancer.configure(Plan::new(part).unwrap(), Instant::default());
    (balancer, ids(&checks))
}

/// A verdict is planned with its own services, unless others have a service of them.
#[test]
fn the_kernel_is_asked_for_what_has_changed() {
    let one = file("", ["", ""]);
    let other = one.replace("192.0.2.1", "192.0.2.2");
    let mut balancer = Balancer::new(1);
    let ids = ids(&configure(&mut balancer, &format!("{one}{other}")));
    let all = |balancer: &Balancer| Some(Wish::All(Box::new(balancer.wanted())));
    assert_eq!(balancer.poll_wish(), all(&balancer));
    assert_eq!(balancer.poll_wish(), None);
    balancer.handle_event(&fail(ids[2], 1));
    balancer.handle_event(&fail(ids[3], 1));
    assert_eq!(balancer.poll_wish(), Some(Wish::Some(vec![balancer.pools()[1].clone()])));
    assert!(!balancer.is_stale());
    let unsaid = Report { verdict: schedule::Verdict::Up, changed: false, first: false, failures: 1, retrying: true };
    balancer.handle_event(&event(ids[0], Failure::new(Reason::TcpFailed), unsaid));
    assert!(!balancer.is_stale(), "nothing has changed");

    let (mut balancer, ids) = twice(&one);
    assert!(balancer.poll_wish().is_some());
    balancer.handle_event(&fail(ids[3], 1));
    assert_eq!(balancer.poll_wish(), all(&balancer), "the first says what is wanted");
}

/// One that departs takes its services with it.
#[test]
fn the_end_of_a_departure_is_planned_with_everything() {
    let (mut balancer, _) = balancer(&file("drain_timeout 30", ["", ""]));
    configure(&mut balancer, "");
    assert!(counted(&mut balancer, 0) && balancer.is_all_stale());
    assert!(
        matches!(balancer.poll_wish(), Some(Wish::All(wanted)) if wanted.pools.is_empty() && wanted.ours.len() == 1)
    );
}

/// A look at all of them for each took minutes.
#[test]
fn ten_thousand_servers_of_one_virtual_server_take_no_square_of_that() {
    let servers: String = (0..10_000u32)
        .map(|number| {
            let [_, b, c, d] = (0x0a00_0000 + number).to_be_bytes();
            format!("real_server 10.{b}.{c}.{d} 80 {{\n }}\n")
        })
        .collect();
    let text = |more: &str, servers: &str| {
        format!(
            "virtual_server 192.0.2.1 80 {{\n protocol TCP\n lb_algo rr\n lb_kind NAT\n quorum_down /q\n {more}\n {servers}}}\n"
        )
    };
    let parts = [text("", &servers), text("drain_timeout 60", "real_server 10.0.0.1 80 {\n }\n")].map(|it| part(&it));
    let [all, one] = parts;
    let began = std::time::Instant::now();
    let mut first = Balancer::new(1);
    first.configure(Plan::new(all.clone()).unwrap(), Instant::default());
    let failures: Vec<_> = first.pools()[0]
        .destinations
        .iter()
        .map(|destination| {
            let change = ipvs_control::Change::AddDestination {
                service: ServiceAddress::tcp("192.0.2.1:80".parse().unwrap()),
                destination: *destination,
            };
            kernel::Failure::Change(kernel::Refused { change, setting: None, text: "no".to_owned() })
        })
        .collect();
    assert_eq!(first.refusals(&failures).len(), 10_000);
    first.configure(Plan::new(one.clone()).unwrap(), Instant::default());
    let mut second = servers::successor(&first);
    second.configure(Plan::new(one).unwrap(), Instant::default());
    assert_eq!(second.entries[0].logic.leaving().count(), 9_999);
    let mut third = servers::successor(&second);
    third.configure(Plan::new(all).unwrap(), Instant::default());
    assert_eq!(wanted(&third).len(), 10_000);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
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

/// A firewall mark of both families; the second time the one of them departs.
#[test]
fn a_reload_keeps_the_checks_of_virtual_servers_with_one_name() {
    let mark = |family: &str, server: &str| {
        format!(
            "virtual_server fwmark 7 {{
                ip_family {family}
                lb_algo rr
                lb_kind NAT
                drain_timeout 30
                real_server {server} 80 {{ TCP_CHECK {{ connect_timeout 1 }} }}
            }}\n"
        )
    };
    let (inet, inet6) = (mark("inet", "10.0.0.9"), mark("inet6", "2001:db8::9"));
    let both = format!("{inet}{inet6}");
    for after in [&both, &inet] {
        let (mut balancer, ids) = balancer(&both);
        balancer.handle_event(&fail(ids[0], 1));
        let first = |balancer: &Balancer| balancer.entries[0].logic.verdict(RealServerId(0));
        for round in 0..2 {
            let checks = configure(&mut balancer, after);
            assert!(checks.added.is_empty(), "round {round}: {:?} in {after}", self::ids(&checks));
            assert_eq!(first(&balancer), Some(Verdict::Down));
        }
        let others = balancer.entries.iter().filter(|entry| !entry.departing).flat_map(|entry| {
            (0..entry.config.real_servers.len()).map(|place| entry.logic.verdict(RealServerId(place)))
        });
        assert_eq!(others.filter(|verdict| *verdict == Some(Verdict::Down)).count(), 1);
    }
}

/// What a check begins with, if it is there.
fn begun(balancer: &Balancer, (id, verdict): (CheckId, Option<schedule::Verdict>)) -> Option<schedule::Verdict> {
    balancer.begin(id, verdict, &Errands::counting_from(1)).map(|(schedule, _)| schedule.verdict())
}

#[test]
fn a_check_with_another_timing_is_a_new_one_with_the_old_verdict() {
    let (mut balancer, old) = balancer(&file("", ["", ""]));
    balancer.handle_event(&fail(old[0], 1));
    let checks = configure(&mut balancer, &file("", ["retry 7", ""]));
    assert_eq!(checks.removed, [old[0]]);
    assert_eq!(checks.added.len(), 1);
    assert_eq!(begun(&balancer, checks.added[0]), Some(schedule::Verdict::Down));
    assert_eq!(begun(&balancer, (old[0], None)), None);
    assert_eq!(wanted(&balancer), ["10.0.0.2:80"]);
}

#[test]
fn the_kernel_is_asked_for_nothing_when_a_check_confirms_what_counts() {
    let (mut balancer, ids) = balancer(&file("", ["", ""]));
    assert!(balancer.poll_wish().is_some());
    balancer.handle_event(&succeed(ids[0]));
    assert!(!balancer.is_stale());
    balancer.handle_event(&fail(ids[0], 1));
    assert!(balancer.is_stale());
}

#[test]
fn a_check_of_something_else_starts_afresh() {
    let (mut balancer, old) = balancer(&file("", ["", ""]));
    balancer.handle_event(&fail(old[0], 1));
    let checks = configure(&mut balancer, &file("", ["connect_port 81", ""]));
    assert_eq!(begun(&balancer, checks.added[0]), Some(schedule::Verdict::Up));
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
    assert!(checks.added.iter().all(|check| begun(&second, *check) == Some(schedule::Verdict::Down)));
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
    assert_eq!(balancer.facts.keys().collect::<Vec<_>>(), [RUNNING]);
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
            Effect::Notify(notification) => Some(notification.event),
            _ => None,
        };
        drain(&mut balancer).into_iter().filter_map(notify).collect::<Vec<_>>()
    };
    assert_eq!(notified(&file("", ["", ""])), []);
    let down = |rs: &str| NotifyEvent::RealServer { virtual_server: VS.into(), real_server: rs.into(), up: false };
    let quorum = NotifyEvent::Quorum { virtual_server: VS.into(), up: false };
    assert_eq!(notified(&file("quorum_down /q", ["", ""])), [down(RS[0]), down(RS[1]), quorum]);
}

/// A script that comes back later is not run for what happened meanwhile, nor for what the former runner took with it.
#[test]
fn nobody_hears_of_changes_while_there_is_no_script() {
    let (with, without) = (file("quorum_down /q", ["", ""]), file("", ["", ""]));
    let (mut balancer, ids) = balancer(&with);
    balancer.handle_event(&fail(ids[0], 1));
    assert_eq!(notified(&mut balancer), [server_event(RS[0], false)]);
    assert!(!balancer.handle_runner_gone(), "another one is told again");
    assert_eq!(balancer.unheard.all().count(), 2, "with the quorum of the start");
    configure(&mut balancer, &without);
    assert!(balancer.handle_runner_gone());
    assert_eq!(balancer.unheard.all().count(), 0);
    balancer.handle_event(&succeed(ids[0]));
    balancer.handle_event(&fail(ids[1], 1));
    assert_eq!(notified(&mut balancer), []);
    configure(&mut balancer, &with);
    assert_eq!(notified(&mut balancer), []);
    balancer.handle_event(&succeed(ids[1]));
    assert_eq!(notified(&mut balancer), [server_event(RS[1], true)]);
}

/// The reload that takes the last script away tells of the server that it leaves out.
#[test]
fn a_reload_without_scripts_tells_of_what_it_leaves_out() {
    let (mut balancer, _) = balancer(&file("quorum_down /q", ["", ""]));
    let both = file("", ["", ""]);
    let second = both.find("real_server 10.0.0.2").unwrap();
    configure(&mut balancer, &format!("{}}}", &both[..second]));
    assert_eq!(notified(&mut balancer), [server_event(RS[1], false)]);
}

#[test]
fn a_checker_that_cannot_run_keeps_its_server_out() {
    let mut part = part(&file("", ["", ""]));
    let kind = conf_parser::config::CheckerKind::Unusable(conf_parser::config::CheckerType::Http);
    part.virtual_servers[0].real_servers[0].checkers[0].kind = kind;
    let mut balancer = Balancer::new(1);
    let plan = balancer.plan(part).unwrap();
    let checks = balancer.configure(plan, Instant::default());
    assert_eq!(ids(&checks).len(), 1);
    assert_eq!(wanted(&balancer), ["10.0.0.2:80"]);
    let expected = format!("Service {} of VS {VS} counts as down: its HTTP_GET is incomplete", RS[0]);
    assert!(drain(&mut balancer).contains(&Effect::Error(expected)));
}

/// What the runner is told.
fn notified(balancer: &mut Balancer) -> Vec<NotifyEvent> {
    let event = |effect| match effect {
        Effect::Notify(notification) => Some(notification.event),
        _ => None,
    };
    drain(balancer).into_iter().filter_map(event).collect()
}

#[test]
fn what_comes_up_at_the_start_is_notified_on_request() {
    let first_result = |more: &str| {
        let text = format!("{more}{}", file("quorum_up /u", ["", ""]));
        let (mut balancer, ids) = balancer(&text);
        let verdict = schedule::Verdict::Up;
        let report = Report { verdict, changed: false, first: true, failures: 0, retrying: false };
        balancer.handle_event(&event(ids[0], Outcome::success(vec![Note::TcpConnected]), report));
        notified(&mut balancer)
    };
    assert_eq!(first_result(""), []);
    let up = NotifyEvent::RealServer { virtual_server: VS.into(), real_server: RS[0].into(), up: true };
    assert_eq!(first_result("global_defs {\n rs_init_notifies\n}\n"), [up]);
}

fn server_event(real_server: &str, up: bool) -> NotifyEvent {
    event_of_server(VS, real_server, up)
}

fn quorum_event(up: bool) -> NotifyEvent {
    NotifyEvent::Quorum { virtual_server: VS.into(), up }
}

/// The supervisor may have heard of a part of the facts only, in the order of their keys: whatever that part is, the next
/// worker tells what the runner did not hear, and nothing twice.
#[test]
fn a_successor_tells_each_change_once_wherever_its_predecessor_died() {
    let text = file("quorum_down /q", ["", ""]);
    let both = |events: &[NotifyEvent]| {
        let down = [server_event(RS[0], false), server_event(RS[1], false), quorum_event(false)];
        down.map(|event| events.iter().filter(|told| **told == event).count())
    };
    let (mut first, ids) = balancer(&text);
    let before = first.facts.clone();
    first.handle_event(&fail(ids[0], 1));
    first.handle_event(&fail(ids[1], 1));
    let changed: Vec<_> = first.facts.iter().filter(|(key, value)| before.get(*key) != Some(value)).collect();
    assert_eq!(changed.len(), 3);
    for sent in 0..=changed.len() {
        let mut facts = before.clone();
        facts.extend(changed.iter().take(sent).map(|(key, value)| ((*key).clone(), (*value).clone())));
        let mut second = Balancer::new(2);
        second.resume(facts.into_iter().map(|(key, value)| Fact { key, value }).collect());
        let ids = self::ids(&configure(&mut second, &text));
        let mut events = notified(&mut second);
        // Its checks find the same, as changes only where nothing is known.
        for (id, real) in ids.iter().zip(0..) {
            if second.entries[0].logic.verdict(RealServerId(real)) == Some(Verdict::Up) {
                second.handle_event(&fail(*id, 1));
            }
        }
        events.extend(notified(&mut second));
        assert_eq!(both(&events), [1, 1, 1], "after {sent} facts: {events:?}");
    }
}

#[test]
fn what_the_runner_has_acknowledged_is_not_told_by_a_successor() {
    let text = file("quorum_down /q", ["", ""]);
    let (mut first, ids) = balancer(&text);
    first.handle_event(&fail(ids[0], 1));
    let told = drain(&mut first).into_iter().find_map(|effect| match effect {
        Effect::Notify(notification) => Some(notification.number),
        _ => None,
    });
    let number = told.expect("the server's end is told");
    first.handle_event(&fail(ids[1], 1));
    first.handle_acknowledged(number);
    // A reload leaves the second server out, and its notifications wait all the same.
    let one = "virtual_server 192.0.2.1 80 {\n protocol TCP\n lb_algo rr\n lb_kind NAT\n quorum_down /q\n real_server 10.0.0.1 80 {\n \
               TCP_CHECK {\n connect_timeout 1\n }\n }\n}\n";
    configure(&mut first, one);
    let mut second = Balancer::new(2);
    second.resume(first.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect());
    configure(&mut second, one);
    assert_eq!(notified(&mut second), [server_event(RS[1], false), quorum_event(false)]);
    second.handle_acknowledged(u64::MAX - 1);
    assert!(second.facts.keys().all(|key| !key.starts_with(ABOUT)), "{:?}", second.facts.keys());
    let mut third = Balancer::new(3);
    third.resume(second.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect());
    configure(&mut third, one);
    assert_eq!(notified(&mut third), []);
}

/// It has the fact of the reload's notification, or still that of the server.
#[test]
fn a_server_that_a_reload_leaves_out_is_told_once_wherever_the_worker_died() {
    let text = file("quorum_down /q", ["", ""]);
    let one = "virtual_server 192.0.2.1 80 {\n protocol TCP\n lb_algo rr\n lb_kind NAT\n quorum_down /q\n real_server 10.0.0.1 80 {\n \
               TCP_CHECK {\n connect_timeout 1\n }\n }\n}\n";
    let (mut first, _) = balancer(&text);
    first.handle_acknowledged(u64::MAX - 1);
    let before = first.facts.clone();
    configure(&mut first, one);
    assert_eq!(notified(&mut first), [server_event(RS[1], false)]);
    let after = first.facts.clone();
    let about: Vec<_> = after.iter().filter(|(key, _)| key.starts_with(ABOUT)).collect();
    assert_eq!(about.len(), 1);
    let mut with_both = before.clone();
    with_both.extend(about.into_iter().map(|(key, value)| (key.clone(), value.clone())));
    for facts in [before, with_both, after] {
        let mut second = Balancer::new(2);
        second.resume(facts.into_iter().map(|(key, value)| Fact { key, value }).collect());
        configure(&mut second, one);
        assert_eq!(notified(&mut second), [server_event(RS[1], false)]);
    }
}

/// Likewise a whole virtual server, of which any part may be told.
#[test]
fn a_virtual_server_that_a_reload_leaves_out_is_told_once_wherever_the_worker_died() {
    let expected = [server_event(RS[0], false), server_event(RS[1], false), quorum_event(false)];
    let (mut first, _) = balancer(&file("quorum_down /q", ["", ""]));
    first.handle_acknowledged(u64::MAX - 1);
    let before = first.facts.clone();
    configure(&mut first, "");
    assert_eq!(notified(&mut first), expected);
    let told = first.facts.iter().filter(|(key, _)| key.starts_with(ABOUT));
    let told: Vec<_> = told.map(|(key, value)| (key.clone(), value.clone())).collect();
    for sent in 0..=told.len() {
        let mut facts = before.clone();
        facts.extend(told.iter().take(sent).cloned());
        let mut second = Balancer::new(2);
        second.resume(facts.into_iter().map(|(key, value)| Fact { key, value }).collect());
        configure(&mut second, "");
        assert_eq!(notified(&mut second), expected, "after {sent} facts");
    }
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

/// All processes were killed: what was in use stays in use until a check says otherwise, and the quorum with it.
#[test]
fn a_new_daemon_goes_on_with_what_a_killed_one_had_in_use() {
    let text = file("alpha", ["", ""]);
    let (mut first, ids) = balancer(&text);
    first.handle_event(&succeed(ids[0]));
    let table = first.pools();
    let before = first.facts.clone();
    let facts = || before.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() });
    let mut same = Balancer::new(2);
    assert!(same.resume(facts().collect()), "the supervisor tells all of it");

    let mut second = Balancer::new(3);
    assert!(!second.resume(facts().filter(|fact| leftovers::is_on_host(&fact.key)).collect()));
    assert!(second.owns_services());
    second.adopt(table.clone());
    let ids = self::ids(&configure(&mut second, &text));
    assert_eq!(second.pools(), table);
    let effects = drain(&mut second);
    assert!(!lines(&effects).iter().any(|line| line.contains("sorry")), "{effects:?}");
    second.handle_event(&succeed(ids[0]));
    assert_eq!(
        drain(&mut second)
            .iter()
            .filter(|effect| matches!(effect, Effect::Info(line) if line.contains("Adding")))
            .count(),
        0
    );
    second.handle_event(&fail(ids[0], 1));
    assert_eq!(wanted(&second), [""; 0]);
    second.handle_event(&succeed(ids[1]));
    assert_eq!(wanted(&second), ["10.0.0.2:80"]);

    // What somebody drained has no weight there, and is up all the same.
    let mut drained = table.clone();
    drained[0].destinations[0].weight = Weight::ZERO;
    servers::drain_by_force(&mut first, "192.0.2.1 80 10.0.0.1 80");
    let facts_of_first = first.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() });
    let mut next = Balancer::new(6);
    next.resume(facts_of_first.filter(|fact| leftovers::is_on_host(&fact.key)).collect());
    next.adopt(drained);
    configure(&mut next, &text);
    assert_eq!(next.entries[0].logic.verdict(RealServerId(0)), Some(Verdict::Up));
    assert_eq!(wanted(&next), ["10.0.0.1:80"], "its connections may end");
    servers::undrain_server(&mut first, "192.0.2.1 80 10.0.0.1 80").unwrap();

    // What somebody else has is not looked at, nor what had no weight.
    let mut third = Balancer::new(4);
    third.adopt(table.clone());
    configure(&mut third, &text);
    assert_eq!(wanted(&third), [""; 0]);
    let mut fourth = Balancer::new(5);
    fourth.resume(facts().filter(|fact| leftovers::is_on_host(&fact.key)).collect());
    let mut drained = table;
    drained[0].destinations[0].weight = Weight::ZERO;
    fourth.adopt(drained);
    configure(&mut fourth, &text);
    assert_eq!(wanted(&fourth), [""; 0]);
}

/// With the virtual server, the real server and the line, whatever the kernel's reason is; with the option, where it is one.
#[test]
fn what_the_kernel_refuses_is_named_with_its_line() {
    use ipvs_control::Change;
    use ipvs_control::message::Refusal;
    use ipvs_control::socket::{Failure, RefusedError};
    use ipvs_control::types::{Scheduler, Service};

    use crate::workers::checker::kernel::{Failure as Failed, Refused};

    const ENOENT: i32 = 2;
    const ESRCH: i32 = 3;
    const ENOMEM: i32 = 12;
    let text = file("", ["", ""]);
    let loader = conf_parser::MemoryLoader::new([("k.conf", text.as_str())]);
    let mut parsed = conf_parser::parse(&loader, std::path::Path::new("k.conf"), &conf_parser::Options::default());
    let part = CheckerPart::take_from(&mut parsed.config).located(&parsed.sources);
    let mut balancer = Balancer::new(1);
    let plan = balancer.plan(part).unwrap();
    balancer.configure(plan, Instant::default());
    let address = ServiceAddress::tcp("192.0.2.1:80".parse().unwrap());
    let service = Service::new(address, Scheduler::RR);
    let destination = balancer.pools()[0].destinations[1];
    let add = Change::AddDestination { service: address, destination };
    let said = |change, errno| {
        let failure = Failure { index: 0, change, source: RefusedError(Refusal { errno, text: None }) };
        let refused = Refused { change, setting: failure.setting(), text: failure.to_string() };
        balancer.refusals(&[Failed::Change(refused)]).remove(0)
    };
    let server = format!("real server {}", RS[1]);
    for (change, errno, expected) in [
        (
            Change::AddService(service),
            ENOENT,
            [format!("k.conf:3: virtual server {VS}, lvs_sched: "), "load it with `modprobe ip_vs_rr`".into()],
        ),
        (
            Change::AddService(service),
            ENOMEM,
            [format!("k.conf:1: virtual server {VS}: "), "the kernel has no memory left for it".into()],
        ),
        (add, ENOMEM, [format!("k.conf:8: virtual server {VS}, {server}: "), "no memory left".into()]),
        (add, ESRCH, [format!("k.conf:8: virtual server {VS}, {server}: "), "somebody removed the service".into()]),
    ] {
        let line = said(change, errno);
        let [place, reason] = &expected;
        assert!(line.starts_with(place.as_str()) && line.contains(reason.as_str()), "{line}");
    }
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
    let mut balancer = Balancer::new(1);
    let mut plan = balancer.plan(part(&text)).unwrap();
    plan.table.sync_daemon.as_mut().unwrap().router = Some(router(true).key);
    balancer.configure(plan, Instant::default());
    let roles = |wanted: Wanted| wanted.sync_daemons.iter().map(|daemon| daemon.role).collect::<Vec<_>>();
    assert_eq!(roles(balancer.wanted()), []);
    assert!(followed(&mut balancer, router(false)));
    assert_eq!(roles(balancer.wanted()), [SyncRole::Backup]);
    assert!(!followed(&mut balancer, router(false)));
    assert!(followed(&mut balancer, router(true)));
    assert_eq!(roles(balancer.wanted()), [SyncRole::Master]);
    let both = BTreeSet::from([SyncRole::Master, SyncRole::Backup]);
    assert_eq!((roles(balancer.withdrawn()), balancer.withdrawn().sync_ours), (vec![], both.clone()));
    assert!(balancer.facts.contains_key(SYNC_DAEMONS));

    let mut second = Balancer::new(2);
    second.resume(balancer.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect());
    configure(&mut second, "");
    assert_eq!((roles(second.wanted()), second.wanted().sync_ours), (vec![], both));
    second.handle_applied();
    let left: Vec<_> = second.facts.keys().map(String::as_str).collect();
    assert_eq!((second.wanted().sync_ours, left), (BTreeSet::new(), vec![RUNNING]));
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
        assert!(!balancer.is_draining() && balancer.draining_services().next().is_none());
        configure(&mut balancer, &one("drain_timeout 30"));
        assert_eq!(weights(&balancer), leaving);
        assert!(balancer.is_draining());
        assert!(balancer.draining_services().eq([ServiceAddress::tcp("192.0.2.1:80".parse().unwrap())]));

        let facts = balancer.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() });
        let mut second = Balancer::new(2);
        second.resume(facts.collect());
        configure(&mut second, &one("drain_timeout 30"));
        assert_eq!(weights(&second), leaving, "a successor waits too");
        assert!(second.facts.keys().any(|key| key.starts_with(LEAVING)));
        drain(&mut second);

        assert!(!counted(&mut second, 2));
        assert!(!waited(&mut second, Instant::default() + Duration::from_secs(29)));
        let line = if gone {
            assert!(counted(&mut second, 0));
            format!("Drained service {} of VS {VS}", RS[0])
        } else {
            assert!(waited(&mut second, Instant::default() + Duration::from_secs(30)));
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
