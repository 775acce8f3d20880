use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use conf_parser::config::{Script, ScriptUser};
use nix::sys::signal::{SigSet, Signal as NixSignal};

use super::*;
use crate::config::runner::{Occasion, TrackedFile};
use crate::ipc::{CheckEnd, NotifyEvent, NotifyState, RunEnd};
use crate::workers::until;

/// A runner in a thread, driven as the supervisor and a vrrp worker do.
struct Lab {
    orders: Channel,
    vrrp: Channel,
    directory: tempfile::TempDir,
    runner: Option<std::thread::JoinHandle<u8>>,
    number: u64,
    generation: u64,
}

fn next<M: serde::de::DeserializeOwned>(channel: &Channel) -> M {
    until("message", || channel.receive::<M>().ok()).expect("the runner is there").0
}

/// The next report that is no beat.
fn report(orders: &Channel) -> Report {
    std::iter::repeat_with(|| next(orders)).find(|report| *report != Report::Beat).unwrap()
}

fn notify(name: &str, state: NotifyState) -> NotifyEvent {
    NotifyEvent::Instance { name: name.into(), state, priority: 150 }
}

fn me() -> ScriptUser {
    ScriptUser { user: nix::unistd::getuid().to_string(), group: None, supplementary_groups: false }
}

const QUICK: Timing = Timing { interval: Duration::from_millis(10), timeout: Duration::from_secs(5), rise: 1, fall: 1 };

fn tracked(name: &str, state: TrackerState) -> (TrackerName, TrackerState) {
    (TrackerName::Script(name.into()), state)
}

const UP: TrackerState = TrackerState::Says(vrrp_proto::Verdict::Up);
const DOWN: TrackerState = TrackerState::Says(vrrp_proto::Verdict::Down);

impl Lab {
    fn new() -> Self {
        Self::with_check(checked)
    }

    fn with_check(check: fn(RunnerPart) -> Table) -> Self {
        let (orders, theirs) = Channel::pair().unwrap();
        let runner = std::thread::spawn(move || {
            let mut blocked = SigSet::empty();
            blocked.add(NixSignal::SIGTERM);
            blocked.thread_block().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(theirs, check)).unwrap()
        });
        let (vrrp, theirs) = Channel::pair().unwrap();
        orders.send(&Order::Connect { peer: Role::Vrrp }, &[theirs.as_fd()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { orders, vrrp, directory, runner: Some(runner), number: 0, generation: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A script of this name; `$out` is a file of the same name with `.out`.
    fn script(&self, name: &str, body: &str) -> Script {
        let path = self.path(name);
        let text = format!("#!/bin/sh\nout={}\n{body}\n", self.path(&format!("{name}.out")).display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Script { command: vec![path.to_str().unwrap().to_owned()], user: None }
    }

    /// Makes these the tracked scripts.
    fn track(&mut self, scripts: impl IntoIterator<Item = (&'static str, Timing, Script)>) {
        let mut part = RunnerPart { script_user: Some(me()), ..RunnerPart::default() };
        for (name, timing, script) in scripts {
            part.scripts.insert(Occasion::Track { script: name.into() }, script);
            part.tracked_scripts.insert(name.into(), timing);
        }
        self.commit(&part);
    }

    /// The next that is heard of a tracker.
    fn tracker(&self) -> (TrackerName, TrackerState) {
        loop {
            if let RunnerSays::Tracker(TrackerFact { tracker, state }) = next(&self.vrrp) {
                return (tracker, state);
            }
        }
    }

    /// Makes these the programs of checks; a checker is at the other end.
    fn check<const N: usize>(&mut self, scripts: [&Script; N]) -> Channel {
        let mut part = RunnerPart { script_user: Some(me()), ..RunnerPart::default() };
        for script in scripts {
            part.scripts.insert(Occasion::Check { script: script.clone() }, script.clone());
            part.checks.insert(script.clone(), String::new());
        }
        self.commit(&part);
        let (checker, theirs) = Channel::pair().unwrap();
        self.orders.send(&Order::Connect { peer: Role::Checker }, &[theirs.as_fd()]).unwrap();
        checker
    }

    /// A new vrrp worker is at the other end.
    fn reconnect(&mut self) {
        let (vrrp, theirs) = Channel::pair().unwrap();
        self.orders.send(&Order::Connect { peer: Role::Vrrp }, &[theirs.as_fd()]).unwrap();
        self.vrrp = vrrp;
    }

    /// Makes these scripts the configuration.
    fn configure(&mut self, scripts: impl IntoIterator<Item = (Occasion, Script)>) {
        let scripts: BTreeMap<_, _> = scripts.into_iter().collect();
        let objects = scripts.keys().filter_map(|occasion| match occasion {
            Occasion::Enter { instance, .. } | Occasion::Change { instance } => {
                Some(Object::Instance(instance.clone()))
            }
            _ => None,
        });
        let part = RunnerPart {
            script_user: Some(me()),
            script_security: false,
            objects: objects.collect(),
            scripts,
            ..RunnerPart::default()
        };
        self.commit(&part);
    }

    fn commit(&mut self, part: &RunnerPart) {
        self.generation += 1;
        let generation = self.generation;
        let fd = ipc::seal(part).unwrap();
        self.orders.send(&Order::Prepare { generation, again: false }, &[fd.as_fd()]).unwrap();
        assert_eq!(report(&self.orders), Report::Prepared { generation, beat_limit: Some(BEAT_LIMIT) });
        self.orders.send(&Order::Commit { generation }, &[]).unwrap();
        let committed = |report: &Report| !matches!(report, Report::Facts(_));
        let report = std::iter::repeat_with(|| report(&self.orders)).find(committed);
        assert_eq!(report, Some(Report::Committed { generation }));
    }

    fn tell(&mut self, event: NotifyEvent) {
        self.number += 1;
        self.vrrp.send(&ToRunner::Notify(Notification { number: self.number, event }), &[]).unwrap();
    }

    fn acknowledged(&self, number: u64) {
        while !matches!(next(&self.vrrp), RunnerSays::Taken(NotifyAck { number: taken }) if taken >= number) {}
    }

    /// The lines of a script's output once there are `count`.
    fn lines(&self, name: &str, count: usize) -> Vec<String> {
        until(&format!("line {count} of the output of {name}"), || {
            let text = fs::read_to_string(self.path(&format!("{name}.out"))).ok()?;
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            (lines.len() >= count && text.ends_with('\n')).then_some(lines)
        })
    }

    fn stop(&mut self) -> u8 {
        self.orders.send(&Order::Stop, &[]).unwrap();
        assert_eq!(report(&self.orders), Report::Stopped);
        self.runner.take().unwrap().join().unwrap()
    }
}

fn enter(state: NotifyState) -> Occasion {
    Occasion::Enter { instance: "VI_1".into(), state }
}

fn change() -> Occasion {
    Occasion::Change { instance: "VI_1".into() }
}

#[test]
fn a_state_runs_both_scripts_with_keepaliveds_words_and_is_acknowledged() {
    let mut lab = Lab::new();
    let mut master = lab.script("master", "echo \"master $*\" >$out");
    master.command.push("of my own".into());
    let any = lab.script("any", "echo \"$*\" >$out");
    lab.configure([(enter(NotifyState::Active), master), (change(), any)]);
    lab.tell(notify("VI_1", NotifyState::Active));
    assert_eq!(lab.lines("master", 1), ["master of my own"]);
    assert_eq!(lab.lines("any", 1), ["INSTANCE VI_1 MASTER 150"]);
    lab.acknowledged(1);
    assert_eq!(lab.stop(), 0);
}

#[test]
fn a_tracked_script_is_heard_of_whenever_its_result_changes() {
    let mut lab = Lab::new();
    let script = lab.script("chk", "test -e $out");
    lab.track([("chk", QUICK, script)]);
    assert_eq!(lab.tracker(), tracked("chk", TrackerState::Pending));
    assert_eq!(lab.tracker(), tracked("chk", DOWN));
    let fact = report(&lab.orders);
    assert_eq!(fact, Report::Facts(vec![Fact { key: "script chk".into(), value: ipc::encode(&false) }]));
    fs::write(lab.path("chk.out"), "").unwrap();
    assert_eq!(lab.tracker(), tracked("chk", UP));
    lab.reconnect();
    assert_eq!(lab.tracker(), tracked("chk", UP), "a new worker is told everything");
    let fact = report(&lab.orders);
    assert_eq!(fact, Report::Facts(vec![Fact { key: "script chk".into(), value: ipc::encode(&true) }]));
    assert_eq!(lab.stop(), 0);
}

#[test]
fn a_runner_goes_on_with_the_verdicts_of_the_one_before() {
    let mut lab = Lab::new();
    let facts = vec![Fact { key: "script chk".into(), value: ipc::encode(&true) }];
    lab.orders.send(&Order::Resume, &[ipc::seal(&facts).unwrap().as_fd()]).unwrap();
    let script = lab.script("chk", "exit 1");
    lab.track([("chk", Timing { fall: 3, ..QUICK }, script)]);
    assert_eq!(lab.tracker(), tracked("chk", UP));
    assert_eq!(lab.tracker(), tracked("chk", DOWN));
}

#[test]
fn a_tracked_script_that_cannot_run_is_disabled_and_a_reload_can_mend_it() {
    let mut lab = Lab::new();
    let missing = Script { command: vec![lab.path("chk").to_str().unwrap().to_owned()], user: None };
    lab.track([("chk", QUICK, missing)]);
    assert_eq!(lab.tracker(), tracked("chk", TrackerState::Disabled));
    let script = lab.script("chk", "exit 0");
    lab.track([("chk", QUICK, script)]);
    assert_eq!(lab.tracker(), tracked("chk", TrackerState::Pending));
    assert_eq!(lab.tracker(), tracked("chk", UP));
}

#[test]
fn a_script_is_satisfied_while_a_file_can_be_read() {
    let mut lab = Lab::new();
    let script = Script { command: vec![format!("<{}", lab.path("f").display())], user: None };
    lab.track([("f", QUICK, script)]);
    assert_eq!(lab.tracker(), tracked("f", TrackerState::Pending));
    assert_eq!(lab.tracker(), tracked("f", DOWN));
    fs::write(lab.path("f"), "").unwrap();
    assert_eq!(lab.tracker(), tracked("f", UP));
}

/// Whether the process is there; one that only waits for its parent to look is not.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_script_that_takes_too_long_dies_with_what_it_started() {
    let mut lab = Lab::new();
    let script =
        lab.script("chk", "(trap '' TERM; echo $$ >$out; while :; do sleep 1; done) &\necho $! >$out.child\nwait");
    lab.track([(
        "chk",
        Timing { interval: Duration::from_secs(60), timeout: Duration::from_secs(1), ..QUICK },
        script,
    )]);
    assert_eq!(lab.tracker(), tracked("chk", TrackerState::Pending));
    assert_eq!(lab.tracker(), tracked("chk", DOWN));
    for name in ["chk.out", "chk.out.child"] {
        let pid = fs::read_to_string(lab.path(name)).unwrap();
        until(&format!("end of {name}"), || (!lives(pid.trim())).then_some(()));
    }
}

#[test]
fn a_script_that_a_reload_removes_is_killed() {
    let mut lab = Lab::new();
    let script = lab.script("chk", "echo $$ >$out\nsleep 100");
    lab.track([("chk", Timing { timeout: Duration::from_secs(200), ..QUICK }, script)]);
    let pid = lab.lines("chk", 1).remove(0);
    lab.track([]);
    until("its end", || (!lives(&pid)).then_some(()));
}

#[test]
fn a_stop_does_not_wait_for_tracked_scripts() {
    let mut lab = Lab::new();
    let script = lab.script("chk", "echo $$ >$out\ntrap '' TERM\nsleep 100 & wait; sleep 100");
    lab.track([("chk", Timing { timeout: Duration::from_secs(200), ..QUICK }, script)]);
    let pid = lab.lines("chk", 1).remove(0);
    assert_eq!(lab.stop(), 0);
    until("its end", || (!lives(&pid)).then_some(()));
}

/// What Rust ignores (SIGPIPE, 13) is not inherited.
fn ignored_by_who_started_the_tests() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    u64::from_str_radix(mask, 16).unwrap() & !(1 << 12)
}

#[test]
fn a_script_gets_a_clean_environment() {
    let mut lab = Lab::new();
    let body = "{ grep -E '^Sig(Blk|Ign)' /proc/self/status; readlink /proc/$$/fd/0 /proc/$$/fd/2; \
                ps -o pgid= -p $$ | grep -qx \" *$$\" && echo leader; env | grep -c NOTIFY_SOCKET; } >$out.new; mv $out.new $out";
    let script = lab.script("environment", body);
    lab.configure([(change(), script)]);
    lab.tell(notify("VI_1", NotifyState::Backup));
    let expected = [
        "SigBlk:\t0000000000000000",
        &format!("SigIgn:\t{:016x}", ignored_by_who_started_the_tests()),
        "/dev/null",
        "/dev/null",
        "leader",
        "0",
    ];
    assert_eq!(lab.lines("environment", expected.len()), expected);
    lab.stop();
}

#[test]
fn a_state_waits_for_the_scripts_of_the_one_before() {
    let mut lab = Lab::new();
    let gate = lab.path("gate");
    let body = format!(
        "echo \"begin $3\" >>$out; while [ ! -e {} ]; do sleep 0.01; done; echo \"end $3\" >>$out",
        gate.display()
    );
    let script = lab.script("slow", &body);
    lab.configure([(change(), script)]);
    lab.tell(notify("VI_1", NotifyState::Backup));
    lab.tell(notify("VI_1", NotifyState::Active));
    assert_eq!(lab.lines("slow", 1), ["begin BACKUP"]);
    fs::write(&gate, "").unwrap();
    assert_eq!(lab.lines("slow", 4), ["begin BACKUP", "end BACKUP", "begin MASTER", "end MASTER"]);
    lab.stop();
}

#[test]
fn a_state_does_not_wait_longer_than_a_second() {
    let mut lab = Lab::new();
    let script = lab.script("hung", "echo \"begin $3\" >>$out; exec sleep 1000");
    lab.configure([(change(), script)]);
    let before = Instant::now();
    lab.tell(notify("VI_1", NotifyState::Backup));
    lab.tell(notify("VI_1", NotifyState::Active));
    assert_eq!(lab.lines("hung", 2), ["begin BACKUP", "begin MASTER"]);
    let waited = before.elapsed();
    assert!(waited >= queue::WAIT, "{waited:?}");
    lab.acknowledged(2);
    lab.stop();
}

#[test]
fn a_repeated_notification_runs_nothing() {
    let mut lab = Lab::new();
    let script = lab.script("once", "echo $3 >>$out");
    lab.configure([(change(), script)]);
    lab.tell(notify("VI_1", NotifyState::Backup));
    lab.number = 0;
    lab.tell(notify("VI_1", NotifyState::Backup));
    lab.tell(notify("VI_1", NotifyState::Active));
    lab.acknowledged(2);
    assert_eq!(lab.lines("once", 2), ["BACKUP", "MASTER"]);
    lab.stop();
}

#[test]
fn what_a_reload_removed_is_notified_by_its_old_scripts() {
    let mut lab = Lab::new();
    let fault = lab.script("fault", "echo fault >$out");
    lab.configure([(enter(NotifyState::Fault), fault)]);
    lab.configure([]);
    lab.tell(notify("VI_1", NotifyState::Deleted));
    assert_eq!(lab.lines("fault", 1), ["fault"]);
    lab.stop();
}

/// Of the test that follows.
static ACCOUNTS_ANSWER: AtomicBool = AtomicBool::new(false);

#[test]
fn it_beats_while_the_directory_of_accounts_does_not_answer() {
    let lab = Lab::with_check(|part| {
        until("answer", || ACCOUNTS_ANSWER.load(Ordering::Relaxed).then_some(()));
        checked(part)
    });
    let fd = ipc::seal(&RunnerPart::default()).unwrap();
    lab.orders.send(&Order::Prepare { generation: 1, again: false }, &[fd.as_fd()]).unwrap();
    for _ in 0..2 {
        assert_eq!(next::<Report>(&lab.orders), Report::Beat);
    }
    ACCOUNTS_ANSWER.store(true, Ordering::Relaxed);
    assert_eq!(report(&lab.orders), Report::Prepared { generation: 1, beat_limit: Some(BEAT_LIMIT) });
}

#[test]
fn what_is_repeated_to_a_new_runner_waits_for_its_configuration() {
    let mut lab = Lab::new();
    let script = lab.script("repeated", "echo $3 >$out");
    lab.tell(notify("VI_1", NotifyState::Active));
    // The beat says that the runner is past what was there at its start.
    assert_eq!(next::<Report>(&lab.orders), Report::Beat);
    assert_eq!(next::<Report>(&lab.orders), Report::Beat);
    lab.configure([(change(), script)]);
    assert_eq!(lab.lines("repeated", 1), ["MASTER"]);
    lab.acknowledged(1);
    lab.stop();
}

#[test]
fn a_stop_before_the_configuration_is_in_force_still_runs_what_waits() {
    let mut lab = Lab::new();
    let script = lab.script("waiting", "echo $3 >$out");
    let part = RunnerPart {
        script_user: Some(me()),
        objects: [Object::Instance("VI_1".into())].into(),
        scripts: [(change(), script)].into(),
        ..RunnerPart::default()
    };
    lab.tell(notify("VI_1", NotifyState::Stop));
    let fd = ipc::seal(&part).unwrap();
    lab.orders.send(&Order::Prepare { generation: 1, again: true }, &[fd.as_fd()]).unwrap();
    lab.orders.send(&Order::Stop, &[]).unwrap();
    assert_eq!(lab.lines("waiting", 1), ["STOP"]);
    let stopped = std::iter::repeat_with(|| report(&lab.orders)).find(|report| *report == Report::Stopped);
    assert!(stopped.is_some());
    assert_eq!(lab.runner.take().unwrap().join().unwrap(), 0);
}

#[test]
fn an_abandoned_configuration_changes_nothing() {
    let mut lab = Lab::new();
    let script = lab.script("kept", "echo kept >$out");
    lab.configure([(change(), script)]);
    let fd = ipc::seal(&RunnerPart::default()).unwrap();
    lab.orders.send(&Order::Prepare { generation: 9, again: false }, &[fd.as_fd()]).unwrap();
    assert!(matches!(report(&lab.orders), Report::Prepared { generation: 9, .. }));
    lab.orders.send(&Order::Abandon { generation: 9 }, &[]).unwrap();
    lab.tell(notify("VI_1", NotifyState::Backup));
    assert_eq!(lab.lines("kept", 1), ["kept"]);
    lab.stop();
}

#[test]
fn a_part_that_cannot_be_read_is_rejected() {
    let lab = Lab::new();
    let fd = ipc::seal(&1u8).unwrap();
    lab.orders.send(&Order::Prepare { generation: 1, again: false }, &[fd.as_fd()]).unwrap();
    assert!(matches!(report(&lab.orders), Report::Rejected { generation: 1, .. }));
}

#[test]
fn a_stop_runs_what_was_sent_before_it_and_kills_what_hangs() {
    let mut lab = Lab::new();
    let script = lab.script("stop", "echo \"$3 $$\" >>$out; [ $3 = STOP ] || exec sleep 1000");
    lab.configure([(change(), script)]);
    lab.tell(notify("VI_1", NotifyState::Backup));
    lab.tell(notify("VI_1", NotifyState::Stop));
    assert_eq!(lab.stop(), 0);
    let lines = lab.lines("stop", 2);
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    assert_eq!((words[0][0], words[1][0]), ("BACKUP", "STOP"));
    until("end of the script that hung", || (!is_alive(words[0][1])).then_some(()));
}

#[test]
fn a_supervisor_that_is_gone_is_a_stop() {
    let mut lab = Lab::new();
    let script = lab.script("last", "echo $3 >>$out");
    lab.configure([(change(), script)]);
    lab.tell(notify("VI_1", NotifyState::Stop));
    let (unconnected, _) = Channel::pair().unwrap();
    drop(std::mem::replace(&mut lab.orders, unconnected));
    assert_eq!(lab.runner.take().unwrap().join().unwrap(), 0);
    assert_eq!(lab.lines("last", 1), ["STOP"]);
}

/// Whether the process is there and no zombie.
fn is_alive(pid: &str) -> bool {
    fs::read_to_string(Path::new("/proc").join(pid).join("stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z")))
}

const LONG: Duration = Duration::from_secs(1000);

/// A checker asks for run `number` of `check`.
fn ask(checker: &Channel, number: u64, check: u64, script: &Script, timeout: Duration) {
    let run = CheckRun { number, check, script: script.clone(), timeout };
    checker.send(&ToRunner::Run(run), &[]).unwrap();
}

/// The next answer.
fn ended(checker: &Channel) -> (u64, RunEnd) {
    match next(checker) {
        RunnerSays::Ended(CheckEnd { number, how }) => (number, how),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_program_of_a_check_runs_when_it_is_asked_for() {
    let mut lab = Lab::new();
    let [seven, killed, sleeps, gone] =
        [("seven", "exit 7"), ("killed", "kill -9 $$"), ("sleeps", "sleep 1000"), ("gone", "")]
            .map(|(name, body)| lab.script(name, body));
    let nowhere = Script { command: vec!["/nowhere/check".into()], user: None };
    let other = Script { command: vec!["/bin/true".into()], user: None };
    let checker = lab.check([&seven, &killed, &sleeps, &gone, &nowhere]);
    fs::remove_file(lab.path("gone")).unwrap();
    let short = Duration::from_millis(50);
    for (number, script, timeout, how) in [
        (1, &seven, LONG, RunEnd::Exited(7)),
        (2, &killed, LONG, RunEnd::Signalled(9)),
        (3, &sleeps, short, RunEnd::TimedOut),
        (4, &gone, LONG, RunEnd::NotStarted),
        (5, &nowhere, LONG, RunEnd::Refused),
        (6, &other, LONG, RunEnd::Refused),
        (7, &seven, Duration::MAX, RunEnd::Exited(7)),
    ] {
        ask(&checker, number, 1, script, timeout);
        assert_eq!(ended(&checker), (number, how));
    }
    assert_eq!(lab.stop(), 0);
}

/// One that ignores SIGTERM is killed two seconds later.
#[test]
fn a_check_has_one_run_at_a_time() {
    let mut lab = Lab::new();
    let stubborn = lab.script("stubborn", "trap '' TERM\necho $$ >>$out\nwhile :; do sleep 0.1; done");
    let checker = lab.check([&stubborn]);
    ask(&checker, 1, 1, &stubborn, Duration::from_secs(1));
    let [first] = &lab.lines("stubborn", 1)[..] else { panic!("one line") };
    ask(&checker, 2, 1, &stubborn, LONG);
    assert_eq!(ended(&checker), (2, RunEnd::TimedOut), "the first one has not ended");
    assert!(is_there(first));
    assert_eq!(ended(&checker), (1, RunEnd::TimedOut));
    until("the end of the first", || (!is_there(first)).then_some(()));
    // The runner may not have noticed yet.
    let second_run = (3..).find(|number| {
        ask(&checker, *number, 1, &stubborn, LONG);
        until("a run or its refusal", || match said(&checker)[..] {
            [] => {
                fs::read_to_string(lab.path("stubborn.out")).is_ok_and(|text| text.lines().count() == 2).then_some(true)
            }
            _ => Some(false),
        })
    });
    let second_run = second_run.unwrap();
    let second = &lab.lines("stubborn", 2)[1];
    // One that nobody waits for any more stands in nobody's way.
    checker.send(&ToRunner::Drop(second_run), &[]).unwrap();
    ask(&checker, second_run + 1, 1, &stubborn, LONG);
    let third = &lab.lines("stubborn", 3)[2];
    until("the end of the second", || (!is_there(second)).then_some(()));
    assert!(is_there(third));
    drop(checker);
    until("the end of the third, with its checker", || (!is_there(third)).then_some(()));
    assert_eq!(lab.stop(), 0);
}

fn is_there(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Until the checker has the configuration too, it asks for what the one before named.
#[test]
fn a_check_of_the_configuration_before_still_runs() {
    let mut lab = Lab::new();
    let [old, new] = [("old", "exit 3"), ("new", "exit 4")].map(|(name, body)| lab.script(name, body));
    let checker = lab.check([&old]);
    ask(&checker, 1, 1, &old, LONG);
    assert_eq!(ended(&checker), (1, RunEnd::Exited(3)));
    let checker = lab.check([&new]);
    ask(&checker, 2, 1, &old, LONG);
    assert_eq!(ended(&checker), (2, RunEnd::Exited(3)));
    ask(&checker, 3, 2, &new, LONG);
    assert_eq!(ended(&checker), (3, RunEnd::Exited(4)));
    assert_eq!(lab.stop(), 0);
}

/// A file, with the number in it and the worker that follows it.
type Followed = (&'static str, i64, Role);

impl Lab {
    /// Makes these files the tracked ones.
    fn follow<const N: usize>(&mut self, files: [Followed; N]) {
        let mut part = RunnerPart::default();
        for (name, number, follower) in files {
            fs::write(self.path(name), number.to_string()).unwrap();
            let file = TrackedFile { path: self.path(name), init: None, followers: [follower].into() };
            part.tracked_files.insert(name.to_owned(), file);
        }
        self.commit(&part);
    }

    fn connect_checker(&self) -> Channel {
        let (checker, theirs) = Channel::pair().unwrap();
        self.orders.send(&Order::Connect { peer: Role::Checker }, &[theirs.as_fd()]).unwrap();
        checker
    }
}

fn holds(name: &str, number: i64) -> RunnerSays {
    let state = TrackerState::Says(vrrp_proto::Verdict::Value(number));
    RunnerSays::Tracker(TrackerFact { tracker: TrackerName::File(name.to_owned()), state })
}

/// What is there to be read, by name: files are read beside each other.
fn said(channel: &Channel) -> Vec<RunnerSays> {
    let mut said: Vec<RunnerSays> = std::iter::from_fn(|| Some(channel.receive().ok()??.0)).collect();
    said.sort_by_key(|said| format!("{said:?}"));
    said
}

/// It is said before the configuration is in force: workers begin with it.
#[test]
fn each_worker_hears_what_its_files_hold() {
    let mut lab = Lab::new();
    let checker = lab.connect_checker();
    lab.follow([("a", 1, Role::Checker), ("b", 2, Role::Vrrp), ("c", 3, Role::Checker)]);
    assert_eq!((said(&checker), said(&lab.vrrp)), (vec![holds("a", 1), holds("c", 3)], vec![holds("b", 2)]));
    fs::write(lab.path("c"), "-4").unwrap();
    while next::<RunnerSays>(&checker) != holds("c", -4) {}
    let checker = lab.connect_checker();
    assert_eq!([(); 2].map(|()| next::<RunnerSays>(&checker)), [holds("a", 1), holds("c", -4)], "a new one hears all");
    // The same numbers are news for who did not follow the file.
    lab.follow([("a", 1, Role::Vrrp), ("b", 2, Role::Checker)]);
    assert_eq!((said(&checker), said(&lab.vrrp)), (vec![holds("b", 2)], vec![holds("a", 1)]));
    assert_eq!(lab.stop(), 0);
}

/// A pipe is empty, a directory cannot be read.
#[test]
fn a_file_that_cannot_be_read_keeps_no_configuration_waiting() {
    let mut lab = Lab::new();
    let checker = lab.connect_checker();
    fs::create_dir(lab.path("folder")).unwrap();
    nix::unistd::mkfifo(&lab.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let followed = |path| TrackedFile { path, init: None, followers: [Role::Checker].into() };
    let files = ["folder", "nowhere", "pipe"].map(|name| (name.to_owned(), followed(lab.path(name))));
    lab.commit(&RunnerPart { tracked_files: files.into(), ..RunnerPart::default() });
    assert_eq!(said(&checker), ["folder", "nowhere", "pipe"].map(|name| holds(name, 0)));
    assert_eq!(lab.stop(), 0);
}
