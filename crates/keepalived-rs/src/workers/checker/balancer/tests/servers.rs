//! Drains by request, the state of servers, and virtual servers that a reload leaves out.

use super::*;
use crate::control::Answer;
use crate::control::servers::{DrainProgress, read};

/// What the first of the words asks for.
fn asked(words: &str) -> Asked {
    let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
    let (virtual_server, real_server) = read(&words).unwrap();
    Asked { virtual_server, real_server }
}

fn drain_server(balancer: &mut Balancer, words: &str, timeout: Option<u64>) -> Result<Answer, String> {
    let asked = asked(words);
    let (virtual_server, real_server) = (asked.virtual_server.unwrap(), asked.real_server.unwrap());
    balancer.drain_server(&virtual_server, &real_server, at(10), timeout.map(Duration::from_secs), false)
}

pub(super) fn drain_by_force(balancer: &mut Balancer, words: &str) {
    let asked = asked(words);
    let (virtual_server, real_server) = (asked.virtual_server.unwrap(), asked.real_server.unwrap());
    balancer.drain_server(&virtual_server, &real_server, at(10), None, true).unwrap();
}

pub(super) fn undrain_server(balancer: &mut Balancer, words: &str) -> Result<Answer, String> {
    let asked = asked(words);
    balancer.undrain_server(&asked.virtual_server.unwrap(), &asked.real_server.unwrap())
}

fn at(seconds: u64) -> Instant {
    Instant::default() + Duration::from_secs(seconds)
}

fn weights(balancer: &Balancer) -> Vec<String> {
    let pools = balancer.pools();
    let there = |there: &ipvs_control::types::Destination| format!("{} {}", there.key(), there.weight);
    pools.iter().flat_map(|pool| &pool.destinations).map(there).collect()
}

/// Who goes on after `balancer`.
pub(super) fn successor(balancer: &Balancer) -> Balancer {
    let mut successor = Balancer::new(2);
    successor
        .resume(balancer.facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect());
    successor
}

const FIRST: &str = "192.0.2.1 80 10.0.0.1 80";

#[test]
fn a_drain_outlives_verdicts_reloads_and_the_process() {
    let (mut first, ids) = balancer(&file("", ["", ""]));
    drain_server(&mut first, FIRST, Some(60)).unwrap();
    let effects = drain(&mut first);
    let expected = [
        format!("Changing weight from 1 to 0 for active service {} of VS {VS}", RS[0]),
        format!("Draining service {} of VS {VS} on request, waiting for at most 60 s", RS[0]),
    ];
    let mut said = lines(&effects);
    said.sort_unstable();
    assert_eq!(said, expected);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Remember(fact) if fact.key.starts_with(DRAINED))));
    let drained = ["10.0.0.1:80 0", "10.0.0.2:80 1"];
    assert_eq!(weights(&first), drained);
    assert!(first.is_draining());
    first.handle_event(&fail(ids[0], 1));
    assert_eq!(weights(&first), ["10.0.0.2:80 1"]);
    first.handle_event(&succeed(ids[0]));
    assert_eq!(weights(&first), drained);
    configure(&mut first, &file("quorum 1", ["", ""]));
    assert_eq!(weights(&first), drained);

    let mut second = successor(&first);
    configure(&mut second, &file("", ["", ""]));
    assert_eq!(weights(&second), drained);
    let states = second.states(&asked(FIRST), &counts(&second, 3), at(15)).unwrap();
    let state = states[0].real_servers[0].clone();
    let shown = state.drain.unwrap();
    assert_eq!((shown.progress, shown.seconds, shown.seconds_left), (DrainProgress::Draining, 5, Some(55)));
    assert_eq!((state.weight, state.configured_weight, state.connections.unwrap().active), (Some(0), Some(1), 3));
    second.handle_counts(&counts(&second, 0));
    let states = second.states(&asked(FIRST), &BTreeMap::new(), at(15)).unwrap();
    assert_eq!(states[0].real_servers[0].drain.unwrap().progress, DrainProgress::Drained);

    undrain_server(&mut second, FIRST).unwrap();
    assert_eq!(weights(&second), ["10.0.0.1:80 1", "10.0.0.2:80 1"]);
    assert!(!second.facts.keys().any(|key| key.starts_with(DRAINED)));
    // The word goes with its server.
    drain_server(&mut second, FIRST, None).unwrap();
    let both = file("", ["", ""]);
    let one = format!(
        "{}{}",
        &both[..both.find("real_server 10.0.0.1").unwrap()],
        &both[both.find("real_server 10.0.0.2").unwrap()..]
    );
    configure(&mut second, &one);
    configure(&mut second, &both);
    assert_eq!(weights(&second), ["10.0.0.1:80 1", "10.0.0.2:80 1"]);
}

/// The next daemon goes on with what somebody drained and with what departs; after a stop nothing is known of either.
#[test]
fn drains_and_departures_outlive_a_killed_daemon_and_no_stop() {
    let departing = file("drain_timeout 30", ["", ""]);
    let staying = file("", ["", ""]).replace("192.0.2.1", "192.0.2.2");
    let (mut first, _) = balancer(&format!("{departing}{staying}"));
    drain_server(&mut first, "192.0.2.2 80 10.0.0.1 80", None).unwrap();
    configure(&mut first, &staying);
    let expected = ["10.0.0.1:80 0", "10.0.0.2:80 1", "10.0.0.1:80 0", "10.0.0.2:80 0"];
    assert_eq!(weights(&first), expected);

    let kept = first.facts.iter().filter(|(key, _)| leftovers::is_on_host(key));
    let kept = kept.map(|(key, value)| Fact { key: key.clone(), value: value.clone() });
    let mut second = Balancer::new(3);
    assert!(!second.resume(kept.collect()), "it is another daemon");
    second.adopt(first.pools());
    configure(&mut second, &staying);
    assert_eq!(weights(&second), expected);
    assert!(second.is_draining());

    second.handle_withdrawn();
    assert!(!second.facts.keys().any(|key| key.starts_with(DRAINED) || is_of_departure(key)), "{:?}", second.facts);
}

/// Who goes on once all processes were killed.
fn next_daemon(before: &Balancer, text: &str) -> (Balancer, Vec<CheckId>) {
    let kept = before.facts.iter().filter(|(key, _)| leftovers::is_on_host(key));
    let mut next = Balancer::new(3);
    next.resume(kept.map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect());
    next.adopt(before.pools());
    let checks = configure(&mut next, text);
    (next, ids(&checks))
}

/// Its weight 0 does not say whether that is for its drain or for `inhibit_on_failure`.
#[test]
fn a_drained_server_is_after_a_kill_what_its_checks_said() {
    for more in ["", "inhibit_on_failure", "alpha", "alpha\n inhibit_on_failure"] {
        let text = file(more, ["", ""]);
        let (mut first, ids) = balancer(&text);
        ids.iter().for_each(|id| first.handle_event(&succeed(*id)));
        drain_server(&mut first, FIRST, None).unwrap();
        let verdict = |balancer: &Balancer| balancer.entries[0].logic.verdict(RealServerId(0)).unwrap();
        assert_eq!(verdict(&next_daemon(&first, &text).0), Verdict::Up, "{more}");
        first.handle_event(&fail(ids[0], 1));
        let (mut second, ids) = next_daemon(&first, &text);
        assert_eq!((verdict(&second), weights(&second)), (Verdict::Down, weights(&first)), "{more}");
        undrain_server(&mut second, FIRST).unwrap();
        assert!(!weights(&second).contains(&"10.0.0.1:80 1".to_owned()), "{more}: {:?}", weights(&second));
        let report = Report { changed: false, ..succeed(ids[0]).report };
        second.handle_event(&event(ids[0], Outcome::success(Vec::<Note>::new()), Report { first: true, ..report }));
        assert_eq!(weights(&second), ["10.0.0.1:80 1", "10.0.0.2:80 1"], "{more}");
    }
}

/// With a hundred thousand of them that would be most of what the process does.
#[test]
fn facts_of_drains_are_made_when_one_ends_and_not_at_each_count() {
    let (mut balancer, _) = balancer(&file("drain_timeout 30", ["", ""]));
    drain_server(&mut balancer, FIRST, Some(60)).unwrap();
    balancer.facts.clear();
    assert!(!counted(&mut balancer, 3) && !waited(&mut balancer, at(20)));
    assert_eq!(balancer.facts.len(), 0);
    counted(&mut balancer, 0);
    assert_eq!(balancer.facts.keys().filter(|key| key.starts_with(DRAINED)).count(), 1);
}

/// A worker that is stopped before its first configuration has not put them back.
#[test]
fn time_outs_that_were_changed_are_something_in_the_kernel() {
    let text = format!("global_defs {{\n lvs_timeouts tcp 300\n}}\n{}", file("", ["", ""]));
    let mut first = Balancer::new(1);
    first.find_timeouts(Timeouts::default());
    configure(&mut first, &text);
    let kept = first.facts.iter().filter(|(key, _)| *key == TIMEOUTS);
    let kept: Vec<_> = kept.map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect();
    assert_eq!(kept.len(), 1);
    let mut second = Balancer::new(2);
    second.resume(kept);
    assert!(second.owns_services());
    assert!(!Balancer::new(3).owns_services());
}

/// A group that is rewritten as its address: who is left out leaves the new virtual server, also where its worker died
/// while nothing was configured, and the other services of the group stay for their connections.
#[test]
fn a_service_that_another_virtual_server_has_is_that_ones() {
    let address = file("drain_timeout 30", ["", ""]);
    let group = |addresses: &str| {
        let group = format!("virtual_server_group g {{\n {addresses}\n}}\n");
        group + &address.replace("virtual_server 192.0.2.1 80", "virtual_server group g")
    };
    let one = format!("{}}}", &address[..address.find("real_server 10.0.0.2").unwrap()]);
    let expected = ["10.0.0.1:80 1", "10.0.0.2:80 0"];
    let services = |balancer: &Balancer| balancer.pools().iter().map(|pool| pool.service.address).collect::<Vec<_>>();
    let service = |last: u8| ServiceAddress::tcp(([192, 0, 2, last], 80).into());
    for crashed in [false, true] {
        let (mut balancer, _) = balancer(&group("192.0.2.1 80"));
        if crashed {
            configure(&mut balancer, "");
            balancer = successor(&balancer);
        }
        configure(&mut balancer, &one);
        assert_eq!((weights(&balancer), services(&balancer)), (expected.map(str::to_owned).to_vec(), vec![service(1)]));
        assert!(!balancer.facts.keys().any(|key| key.starts_with("departing ")));
        let mut next = successor(&balancer);
        configure(&mut next, &one);
        assert_eq!((weights(&next), services(&next)), (weights(&balancer), services(&balancer)));
        assert!(counted(&mut next, 0));
        assert_eq!(weights(&next), ["10.0.0.1:80 1"]);
    }
    let (mut balancer, _) = balancer(&group("192.0.2.1 80\n 192.0.2.2 80"));
    configure(&mut balancer, &one);
    assert_eq!(services(&balancer), [service(1), service(2)]);
    assert_eq!(weights(&balancer), [expected[0], expected[1], "10.0.0.1:80 0", "10.0.0.2:80 0"]);
}

/// A group and one of its addresses go: the first in the file has the service, also for whoever goes on.
#[test]
fn of_two_that_depart_with_one_service_the_first_has_it() {
    let address = file("drain_timeout 30", ["", ""]);
    let group = address.replace("virtual_server 192.0.2.1 80", "virtual_server group g").replace("10.0.0.", "10.0.1.");
    let members = "virtual_server_group g {\n 192.0.2.1 80\n 192.0.2.2 80\n}\n";
    for text in [format!("{members}{group}{address}"), format!("{members}{address}{group}")] {
        let (mut first, _) = balancer(&text);
        let before = first.pools()[0].clone();
        configure(&mut first, "");
        let after = first.pools().into_iter().find(|pool| pool.service.address == before.service.address).unwrap();
        let there = |of: &ipvs_control::types::Destination| after.destinations.iter().any(|it| it.key() == of.key());
        assert!(before.destinations.iter().all(there), "{before:?} became {after:?}");
        let mut second = successor(&first);
        configure(&mut second, "");
        let by_service = |balancer: &Balancer| -> BTreeMap<_, _> {
            balancer.pools().into_iter().map(|pool| (pool.service.address, pool)).collect()
        };
        assert_eq!(by_service(&second), by_service(&first));
    }
}

/// Of a mark of both families each has its own quorum, drain and servers that leave, also for whoever goes on.
#[test]
fn a_mark_of_both_families_is_two_virtual_servers() {
    let mark = |family: &str, servers: &[&str]| {
        let real = |server: &&str| format!("real_server {server} 80 {{ TCP_CHECK {{ connect_timeout 1 }} }}\n");
        let servers: String = servers.iter().map(real).collect();
        format!(
            "virtual_server fwmark 7 {{\n ip_family {family}\n lb_algo rr\n lb_kind NAT\n drain_timeout 30
                quorum_down /q\n {servers}}}\n"
        )
    };
    let inet6 = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];
    let (all, fewer) = (mark("inet6", &inet6), mark("inet6", &inet6[..2]));
    let (inet, one) = (mark("inet", &["10.0.0.1", "10.0.0.2"]), mark("inet", &["10.0.0.1"]));
    let (mut first, ids) = balancer(&format!("{inet}{all}"));
    drain_server(&mut first, "fwmark 7 2001:db8::2 80", None).unwrap();
    let fewer = format!("{one}{fewer}");
    configure(&mut first, &fewer);
    first.handle_event(&fail(ids[0], 1));
    let expected = ["10.0.0.2:80 0", "[2001:db8::1]:80 1", "[2001:db8::2]:80 0", "[2001:db8::3]:80 0"];
    assert_eq!(weights(&first), expected);
    assert!(!counted(&mut first, 1));
    let quorums = |balancer: &Balancer| balancer.entries.iter().map(|entry| entry.logic.quorum()).collect::<Vec<_>>();
    let before = quorums(&first);
    assert_eq!(before, [Some(Quorum::Down), Some(Quorum::Up)]);
    first.handle_acknowledged(u64::MAX);

    let mut second = successor(&first);
    configure(&mut second, &fewer);
    assert_eq!((weights(&second), quorums(&second)), (expected.map(str::to_owned).to_vec(), before));
    assert_eq!(notified(&mut second), [], "nothing has changed");
    configure(&mut second, &one);
    let departing = ["10.0.0.2:80 0", "[2001:db8::1]:80 0", "[2001:db8::2]:80 0", "[2001:db8::3]:80 0"];
    let sorted = |balancer: &Balancer| weights(balancer).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(sorted(&second), departing.map(str::to_owned).into());
    let mut third = successor(&second);
    configure(&mut third, &one);
    assert_eq!(sorted(&third), sorted(&second));
}

#[test]
fn names_that_name_nothing_are_answered_with_those_that_do() {
    let udp = file("", ["", ""]).replace("protocol TCP", "protocol UDP");
    let mark = "virtual_server fwmark 7 {\n lb_algo rr\n lb_kind NAT\n real_server 10.0.0.9 {\n }\n}\n";
    let (mut balancer, _) = balancer(&(file("", ["", ""]) + &udp + mark));
    let mut refusal = |words: &str| drain_server(&mut balancer, words, None).unwrap_err();
    assert_eq!(
        refusal("192.0.2.1 81 10.0.0.1 80"),
        format!(
            "there is no virtual server 192.0.2.1 81; did you mean {VS}? There are {VS}, [192.0.2.1]:udp:80, FWM 7"
        )
    );
    assert!(refusal("192.0.2.9 80 10.0.0.1").starts_with("there is no virtual server 192.0.2.9 80; There are "));
    let why = refusal(FIRST);
    assert!(why.contains(&format!("several are meant: {VS} {}, [192.0.2.1]:udp:80 ", RS[0])), "{why}");
    let why = refusal(&format!("{VS} 10.0.0.1 81"));
    assert_eq!(
        why,
        format!("{VS} has no real server 10.0.0.1 81; did you mean {}? It has {}, {}", RS[0], RS[0], RS[1])
    );
    let why = refusal("fwmark 7 10.0.0.9");
    assert!(why.contains("FWM 7 loses its quorum: without any other live") && why.contains("--force"), "{why}");
    drain_server(&mut balancer, &format!("{VS} 10.0.0.1"), None).unwrap();
    let only = Asked { real_server: asked(FIRST).real_server, ..Asked::default() };
    assert_eq!(balancer.states(&only, &BTreeMap::new(), at(0)).unwrap().len(), 2);
    let none = balancer.states(&asked("fwmark 7 10.0.0.8"), &BTreeMap::new(), at(0)).unwrap_err();
    assert!(none.contains("FWM 7 has no real server 10.0.0.8"), "{none}");
}

#[test]
fn a_virtual_server_that_is_left_out_stays_for_its_connections() {
    let text = file("drain_timeout 30\n quorum_down /q", ["", ""]);
    let (mut first, ids) = balancer(&text);
    let checks = configure(&mut first, "");
    assert_eq!(checks.removed, ids, "nobody checks it any more");
    assert!(!first.is_heard(), "nor is there anything to tell");
    let leaving = ["10.0.0.1:80 0", "10.0.0.2:80 0"];
    assert_eq!(weights(&first), leaving);
    let service = ServiceAddress::tcp("192.0.2.1:80".parse().unwrap());
    assert_eq!((first.draining_services().collect(), first.ours()), (vec![service], [service].into()));
    first.handle_applied();
    assert!(!first.facts.keys().any(|key| key.starts_with("quorum ") || key.starts_with("checkers ")));

    let mut second = successor(&first);
    configure(&mut second, "");
    assert_eq!(weights(&second), leaving);
    assert!(second.wanted().pools[0].service == first.wanted().pools[0].service);
    let states = second.states(&Asked::default(), &counts(&second, 1), at(0)).unwrap();
    assert!(states[0].leaving && states[0].real_servers.iter().all(|real| real.leaving));
    configure(&mut second, "");
    assert_eq!(weights(&second), leaving, "another reload changes nothing");
    assert!(!counted(&mut second, 1));
    let mut third = successor(&second);
    drain(&mut second);
    assert!(waited(&mut second, at(30)));
    assert_eq!((second.pools(), second.is_draining()), (vec![], false));
    assert_eq!(second.ours(), [service].into(), "until the kernel has removed it");
    second.handle_applied();
    assert!(!second.facts.keys().any(|key| key.starts_with("services ") || is_of_departure(key)), "{:?}", second.facts);

    configure(&mut third, &text);
    assert_eq!(weights(&third), ["10.0.0.1:80 1", "10.0.0.2:80 1"], "it came back while nobody ran");
    configure(&mut third, "");
    configure(&mut third, &text);
    assert_eq!(weights(&third), ["10.0.0.1:80 1", "10.0.0.2:80 1"]);
    assert!(!third.facts.keys().any(|key| is_of_departure(key)));
    configure(&mut third, "");
    third.stop();
    assert_eq!(third.pools(), vec![]);
    let (mut at_once, _) = balancer(&file("", ["", ""]));
    configure(&mut at_once, "");
    assert_eq!(at_once.pools(), vec![]);
}

#[test]
fn what_a_lost_quorum_means_is_said_as_it_is_configured() {
    let one = |more: &str| {
        let (mut balancer, _) = balancer(&file(&format!("quorum 2\n {more}"), ["", ""]));
        drain_server(&mut balancer, FIRST, None).unwrap_err()
    };
    assert!(one("").contains("loses its quorum: without any other live server"), "{}", one(""));
    assert!(one("quorum_down /q").contains("quorum_down is run, and without any other"), "{}", one("quorum_down /q"));
    let both = one("sorry_server 10.0.0.9 80\n quorum_down /q");
    assert!(both.contains("quorum_down is run, and the sorry server [10.0.0.9]:tcp:80 takes"), "{both}");
}

#[test]
fn servers_of_one_name_are_not_told_to_be_named_as_they_are() {
    let (mut balancer, _) = twice(&file("", ["", ""]));
    let why = drain_server(&mut balancer, FIRST, None).unwrap_err();
    assert!(why.contains("several are meant") && why.contains("some have the same name"), "{why}");
}

/// What was said of a drain's end is not said again by who goes on.
#[test]
fn a_drain_that_has_ended_is_told_once_over_processes() {
    let text = file("", ["", ""]);
    let (mut first, _) = balancer(&text);
    drain_server(&mut first, FIRST, Some(30)).unwrap();
    drain_server(&mut first, "192.0.2.1 80 10.0.0.2 80", Some(60)).unwrap_err();
    assert!(!counted(&mut first, 1) && !waited(&mut first, at(41)));
    let effects = drain(&mut first);
    assert!(lines(&effects).iter().any(|line| line.starts_with("Not waiting any longer")), "{effects:?}");
    let mut second = successor(&first);
    configure(&mut second, &text);
    second.handle_time(at(42));
    let effects = drain(&mut second);
    assert!(!lines(&effects).iter().any(|line| line.starts_with("Not waiting any longer")), "{effects:?}");
    let states = second.states(&asked(FIRST), &BTreeMap::new(), at(43)).unwrap();
    assert_eq!(states[0].real_servers[0].drain.unwrap().progress, DrainProgress::TimedOut);
}

/// What departs stands on no line of the new file; what leaves a virtual server has its name.
#[test]
fn what_is_refused_of_a_server_that_is_left_out_is_named_as_it_was() {
    let text = file("drain_timeout 30", ["", ""]);
    let other = text.replace("192.0.2.1", "192.0.2.2");
    let one = format!("{}}}", &text[..text.find("real_server 10.0.0.2").unwrap()]);
    let mut balancer = Balancer::new(1);
    for text in [format!("{text}{other}"), format!("\n{one}")] {
        let loader = conf_parser::MemoryLoader::new([("k.conf", text.as_str())]);
        let mut parsed = conf_parser::parse(&loader, std::path::Path::new("k.conf"), &conf_parser::Options::default());
        let part = CheckerPart::take_from(&mut parsed.config).located(&parsed.sources);
        let plan = balancer.plan(part).unwrap();
        balancer.configure(plan, Instant::default());
    }
    let said = |service: &str| {
        let service = ServiceAddress::tcp(service.parse().unwrap());
        let destination = DestinationKey { address: "10.0.0.2".parse().unwrap(), port: 80 };
        let change = ipvs_control::Change::RemoveDestination { service, destination };
        let refused = kernel::Refused { change, setting: None, text: "no".to_owned() };
        balancer.refusals(&[kernel::Failure::Change(refused)]).remove(0)
    };
    assert_eq!(said("192.0.2.1:80"), format!("k.conf:2: virtual server {VS}, real server {}: no", RS[1]));
    assert_eq!(said("192.0.2.2:80"), format!("virtual server [192.0.2.2]:tcp:80, real server {}: no", RS[1]));
}
