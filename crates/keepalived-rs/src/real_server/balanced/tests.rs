use std::ffi::OsString;

use super::*;
use crate::control::servers::{CheckerState, SorryServerState};

fn command(line: &str) -> anyhow::Result<Option<(PathBuf, Ask)>> {
    let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
    let (verb, rest) = words.split_first().unwrap();
    parse(verb.to_str().unwrap(), &mut lexopt::Parser::from_args(rest))
}

fn refusal(line: &str) -> String {
    format!("{:#}", command(line).unwrap_err())
}

#[test]
fn a_drain_is_read() {
    let (pid_file, ask) = command("drain --timeout 60 fwmark 3 --no-wait 10.0.0.1 80").unwrap().unwrap();
    let real_server = || RealServerName { address: "10.0.0.1".parse().unwrap(), port: Some(80) };
    let options = DrainOptions { timeout: Some(Duration::from_secs(60)), wait: false, force: false };
    let virtual_server = VirtualServerName::Fwmark(3);
    assert_eq!(ask, Ask::Drain { virtual_server, real_server: real_server(), options });
    assert_eq!(pid_file, PathBuf::from("/run/keepalived.pid"));
    let (pid_file, ask) = command("undrain -p /x fwmark 3 10.0.0.1 80").unwrap().unwrap();
    assert_eq!(ask, Ask::Undrain { virtual_server: VirtualServerName::Fwmark(3), real_server: real_server() });
    assert_eq!(pid_file, PathBuf::from("/x"));
    let (_, ask) = command("status --format json").unwrap().unwrap();
    assert_eq!(ask, Ask::Status { virtual_server: None, real_server: None, json: true });
    assert!(command("drain --help").unwrap().is_none());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    assert!(refusal("drain").contains("needs a virtual and a real server"));
    assert!(refusal("undrain 192.0.2.1 80").contains("needs a real server behind"));
    for time in ["0", "-1", "1m", "2592001"] {
        assert!(
            refusal(&format!("drain --timeout={time} fwmark 3 10.0.0.1")).contains("--timeout takes 1 to"),
            "{time}"
        );
    }
    assert!(refusal("status --format xml").contains("text or json"));
    assert!(refusal("undrain --force fwmark 3 10.0.0.1").contains("--force"));
    assert!(refusal("status --timeout 3").contains("--timeout"));
}

fn real_server(name: &str, drain: Option<(DrainProgress, Option<u64>)>, counts: [u64; 3]) -> RealServerState {
    let [active, inactive, persistent] = counts;
    let drain = drain.map(|(progress, seconds_left)| DrainState { progress, seconds: 125, seconds_left });
    RealServerState {
        name: name.to_owned(),
        leaving: false,
        up: true,
        checkers: vec![CheckerState { kind: "TCP_CHECK".into(), up: true, reported: true }],
        weight: Some(if drain.is_some() { 0 } else { 3 }),
        configured_weight: Some(3),
        drain,
        connections: Some(ConnectionCounts { active, inactive, persistent }),
    }
}

fn virtual_server(real_servers: Vec<RealServerState>) -> VirtualServerState {
    VirtualServerState {
        name: "[192.0.2.1]:tcp:80".into(),
        leaving: false,
        quorum_up: true,
        live_weight: 3,
        quorum: 2,
        hysteresis: 0,
        sorry_server: Some(SorryServerState { name: "[10.0.0.9]:tcp:80".into(), in_use: false }),
        real_servers,
    }
}

#[test]
fn servers_are_shown() {
    let waiting = Some((DrainProgress::Draining, Some(3700)));
    let mut down = real_server("[10.0.0.3]:tcp:80", None, [0; 3]);
    (down.up, down.weight, down.connections) = (false, None, None);
    down.checkers.push(CheckerState { kind: "HTTP_GET".into(), up: false, reported: true });
    let first = virtual_server(vec![
        real_server("[10.0.0.1]:tcp:80", None, [12, 3, 0]),
        real_server("[10.0.0.2]:tcp:80", waiting, [1, 0, 4]),
        down,
    ]);
    let sorry_server = first.sorry_server.clone().map(|sorry_server| SorryServerState { in_use: true, ..sorry_server });
    let leaving = RealServerState {
        leaving: true,
        configured_weight: None,
        checkers: Vec::new(),
        ..real_server("[10.0.0.1]:none:0", Some((DrainProgress::TimedOut, None)), [0; 3])
    };
    let second =
        VirtualServerState { name: "FWM 3".into(), quorum_up: false, sorry_server, ..virtual_server(vec![leaving]) };
    let third = VirtualServerState { leaving: true, ..virtual_server(Vec::new()) };
    insta::assert_snapshot!(table::text(&[first, second, third]), @r"
    [192.0.2.1]:tcp:80: quorum up, live weight 3, lost below 2; sorry server [10.0.0.9]:tcp:80
      real server        state                                               weight  configured  active  inactive  remembered  checks
      [10.0.0.1]:tcp:80  up                                                  3       3           12      3         0           TCP_CHECK up
      [10.0.0.2]:tcp:80  up, draining for 2 min 5 s, at most 1 h 1 min more  0       3           1       0         4           TCP_CHECK up
      [10.0.0.3]:tcp:80  down                                                -       3           -       -         -           TCP_CHECK up, HTTP_GET down

    FWM 3: quorum down, live weight 3, gained from 2 on; the sorry server [10.0.0.9]:tcp:80 takes the connections
      real server        state                                                   weight  configured  active  inactive  remembered  checks
      [10.0.0.1]:none:0  leaving, not drained in time, out of use for 2 min 5 s  0       -           0       0         0           -

    [192.0.2.1]:tcp:80: not configured any more, its connections may end
      real server  state  weight  configured  active  inactive  remembered  checks
    ");
    assert_eq!(table::text(&[]), "No virtual server is configured\n");
}

/// Programs read it: names of fields are kept.
#[test]
fn servers_are_shown_to_programs() {
    let state =
        virtual_server(vec![real_server("[10.0.0.1]:tcp:80", Some((DrainProgress::TimedOut, None)), [1, 2, 3])]);
    insta::assert_snapshot!(serde_json::to_string(&state).unwrap(), @r#"{"name":"[192.0.2.1]:tcp:80","leaving":false,"quorum_up":true,"live_weight":3,"quorum":2,"hysteresis":0,"sorry_server":{"name":"[10.0.0.9]:tcp:80","in_use":false},"real_servers":[{"name":"[10.0.0.1]:tcp:80","leaving":false,"up":true,"checkers":[{"kind":"TCP_CHECK","up":true,"reported":true}],"weight":0,"configured_weight":3,"drain":{"progress":"timed_out","seconds":125,"seconds_left":null},"connections":{"active":1,"inactive":2,"persistent":3}}]}"#);
}

/// A daemon that gives these answers, one after the other.
fn wait(mut answers: Vec<Option<(DrainProgress, [u64; 3])>>) -> anyhow::Result<u8> {
    answers.reverse();
    wait_for("[192.0.2.1]:tcp:80", "[10.0.0.1]:tcp:80", || {
        let answer = answers.pop().unwrap().map(|(progress, counts)| (Some((progress, None)), counts));
        let (drain, counts) = answer.unwrap_or((None, [0; 3]));
        Ok(Answer::Servers(vec![virtual_server(vec![real_server("[10.0.0.1]:tcp:80", drain, counts)])]))
    })
}

#[test]
fn a_drain_ends_with_its_last_connection_or_at_its_deadline() {
    use DrainProgress::{Drained, Draining, TimedOut};
    assert_eq!(wait(vec![Some((Draining, [1, 0, 0])), Some((Drained, [0; 3]))]).unwrap(), 0);
    assert_eq!(wait(vec![Some((TimedOut, [1, 0, 0]))]).unwrap(), EXIT_LEFT);
    assert_eq!(wait(vec![Some((TimedOut, [0; 3]))]).unwrap(), 0);
    let error = wait(vec![None]).unwrap_err().to_string();
    assert!(error.contains("taken back into use"), "{error}");
    let refuse = || Ok(Answer::Refused("there is no such virtual server".into()));
    let error = wait_for("[192.0.2.1]:tcp:80", "[10.0.0.1]:tcp:80", refuse).unwrap_err().to_string();
    assert!(error.contains("is not configured any more"), "{error}");
    let left = ConnectionCounts { active: 1, inactive: 2, persistent: 3 };
    let drain = DrainState { progress: Draining, seconds: 1, seconds_left: Some(59) };
    let text = left_over(Some(left), Some(drain));
    assert_eq!(text, "1 active and 2 inactive connections, 3 remembered clients, at most 59 s more");
    assert!(left_over(None, None).starts_with("an unknown number of connections"));
}

/// A moment in which nobody counts, or too many ask, ends no wait. The names are those of the messages, whatever is in them.
#[test]
fn a_drain_is_watched_through_busy_moments() {
    let uncounted = |connections| {
        let waiting = real_server("[10.0.0.1]:tcp:80", Some((DrainProgress::Draining, None)), [0; 3]);
        let name = "[my web]:0".to_owned();
        let real_servers = vec![RealServerState { connections, ..waiting }];
        Answer::Servers(vec![VirtualServerState { name, ..virtual_server(real_servers) }])
    };
    let mut drained = uncounted(Some(ConnectionCounts::default()));
    if let Answer::Servers(states) = &mut drained {
        states[0].real_servers[0].drain =
            Some(DrainState { progress: DrainProgress::Drained, seconds: 1, seconds_left: None });
    }
    let mut answers = vec![Ok(drained), Err(anyhow::anyhow!("too many ask at once")), Ok(uncounted(None))];
    assert_eq!(wait_for("[my web]:0", "[10.0.0.1]:tcp:80", || answers.pop().unwrap()).unwrap(), 0);
    assert!(answers.is_empty());
}
