//! The laboratory itself: what it promises to the tests that are built on it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Host, Lab, LabError, Lateness, Pinger, Process, Program, Skip, peers};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What a copy of this program does instead of running tests.
const ACT: &str = "LAB_TEST_ACT";
const SECOND: Duration = Duration::from_secs(1);
const PERIOD: Duration = Duration::from_millis(2);
/// How long something that should happen at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// The kernel reuses the numbers of namespaces, and a program is known by that of its mounts.
fn the_end_of_a_program_does_not_reach_a_later_one() -> CaseResult {
    let lab = Lab::new()?;
    let host = lab.host("h1")?;
    let first = host.spawn(Program::new("/bin/true"))?;
    first.wait_for_exit(Duration::from_secs(10))?;
    let later: Vec<_> = (0..20)
        .map(|_| host.spawn(Program::new("/bin/sh").args(["-c", "echo ready; sleep 60"])))
        .collect::<Result<_, _>>()?;
    for process in &later {
        process.wait_for_line("ready", Duration::from_secs(10))?;
    }
    drop(first);
    for process in &later {
        if process.processes()?.is_empty() {
            return Err(Stop::failed("a program ended with an earlier one"));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match env::var(ACT).as_deref() {
        Ok("live") => live(),
        Ok("end with 7") => inside(|| ExitCode::from(7)),
        Ok("log") => log(),
        Ok("measure lateness") => measure_lateness(),
        _ => harness::main(&[
            case("nothing_outlives_the_outer_process", nothing_outlives_the_outer_process),
            case("the_exit_status_comes_out", the_exit_status_comes_out),
            case("the_mounts_of_the_host_stay_as_they_are", the_mounts_of_the_host_stay_as_they_are),
            case("an_ordinary_user_is_root_inside", an_ordinary_user_is_root_inside),
            case("root_needs_no_user_namespace", root_needs_no_user_namespace),
            case("a_refusal_names_its_call_and_what_works", a_refusal_names_its_call_and_what_works),
            case("hosts_reach_each_other", hosts_reach_each_other),
            case("a_pinger_measures_a_cut", a_pinger_measures_a_cut),
            case("a_capture_sees_frames", a_capture_sees_frames),
            case("tshark_reads_what_a_capture_wrote", tshark_reads_what_a_capture_wrote),
            case("a_killed_program_leaves_no_process", a_killed_program_leaves_no_process),
            case("a_frozen_program_can_go_on", a_frozen_program_can_go_on),
            case("a_stand_still_of_the_machine_is_measured", a_stand_still_of_the_machine_is_measured),
            case("programs_have_files_of_their_own", programs_have_files_of_their_own),
            case("a_program_that_says_nothing_is_not_waited_for", a_program_that_says_nothing_is_not_waited_for),
            case("the_end_of_a_program_does_not_reach_a_later_one", the_end_of_a_program_does_not_reach_a_later_one),
            case("two_c_keepalived_fail_over", two_c_keepalived_fail_over),
        ]),
    }
}

/// Enters namespaces, or says why not.
fn inside(then: impl FnOnce() -> ExitCode) -> ExitCode {
    match netlab::enter() {
        Ok(()) => then(),
        Err(refused) => {
            println!("refused {refused}; {}", refused.hint());
            ExitCode::from(3)
        }
    }
}

/// Makes a laboratory with a running program in it, says so, and waits for its end.
fn live() -> ExitCode {
    inside(|| {
        let lab = Lab::new().unwrap();
        let (host, bridge) = (lab.host("h").unwrap(), lab.bridge("br0").unwrap());
        lab.connect(&host, "eth0", &bridge).unwrap();
        fs::write("/run/trace", "").unwrap();
        let _sleep = host.spawn(Program::new("sleep").arg("1000")).unwrap();
        println!(
            "uid map {}",
            fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        );
        println!("ready");
        loop {
            thread::park();
        }
    })
}

fn log() -> ExitCode {
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(b"<30>Keepalived[1]: Startup complete\n", "/dev/log").unwrap();
    ExitCode::SUCCESS
}

/// A copy of this program that does `act`, with its standard output to read.
fn copy(act: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env(ACT, act).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// How many processes are seen in other pid namespaces; some, where /proc is that of a container.
fn other_pid_namespaces() -> std::io::Result<usize> {
    let own = fs::read_link("/proc/self/ns/pid")?;
    let others = fs::read_dir("/proc")?.flatten().filter_map(|entry| fs::read_link(entry.path().join("ns/pid")).ok());
    Ok(others.filter(|namespace| *namespace != own).count())
}

fn wait_until(what: &str, condition: impl Fn() -> std::io::Result<bool>) -> CaseResult {
    let deadline = Instant::now() + SOON;
    while !condition()? {
        if Instant::now() > deadline {
            return Err(Stop::failed(format!("never: {what}")));
        }
        thread::sleep(PERIOD);
    }
    Ok(())
}

/// As SIGINT is in what a shell without job control starts in the background.
fn is_ignored(signal: Signal) -> std::io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    let mask = mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(mask & (1 << (signal as i32 - 1)) != 0)
}

fn nothing_outlives_the_outer_process() -> CaseResult {
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        // Then it is ignored by the outer process too.
        if is_ignored(signal)? {
            println!("{signal} is ignored here");
            continue;
        }
        let before = other_pid_namespaces()?;
        let mut outer = copy("live").spawn()?;
        let mut lines = BufReader::new(outer.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "ready"));
        // Its pid 1, the program itself, and what that started.
        let during = other_pid_namespaces()?;
        assert!(during >= before + 3, "{during}");

        kill(Pid::from_raw(outer.id().cast_signed()), signal)?;
        assert_eq!(outer.wait()?.signal(), Some(signal as i32));
        wait_until("the namespaces are empty", || Ok(other_pid_namespaces()? == before))?;
        assert_eq!(lines.count(), 0, "the last process that could write is gone");
    }
    assert!(!Path::new("/run/trace").exists());
    Ok(())
}

fn the_exit_status_comes_out() -> CaseResult {
    assert_eq!(copy("end with 7").status()?.code(), Some(7));
    Ok(())
}

fn the_mounts_of_the_host_stay_as_they_are() -> CaseResult {
    let before = fs::read_to_string("/proc/self/mountinfo")?;
    let lab = Lab::new()?;
    let host = lab.host("h")?;
    let program = Program::new("cat").arg("/proc/self/mountinfo").file("/run/a", "").bind("/etc", "/run/etc");
    let cat = host.spawn(program)?;
    cat.wait_for_line(" /run/etc ", SOON)?;
    assert_eq!(copy("end with 7").status()?.code(), Some(7));
    assert_eq!(fs::read_to_string("/proc/self/mountinfo")?, before);
    Ok(())
}

/// The user outside, if the whole program was started by an ordinary one.
fn ordinary_user() -> std::io::Result<Option<String>> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    let columns: Vec<_> = map.split_whitespace().collect();
    Ok(if let ["0", user, "1"] = columns[..] { Some(user.to_owned()) } else { None })
}

/// A copy as user 65534, who exists only if the whole program was started by root.
fn as_nobody(act: &str) -> Command {
    let mut command = copy(act);
    command.uid(65534).gid(65534);
    command
}

fn an_ordinary_user_is_root_inside() -> CaseResult {
    let is_ordinary = ordinary_user()?.is_some();
    let mut outer = if is_ordinary { copy("live") } else { as_nobody("live") }.spawn()?;
    let lines: Vec<_> = BufReader::new(outer.stdout.take().unwrap()).lines().map_while(Result::ok).take(2).collect();
    let user = if is_ordinary { 0 } else { 65534 };
    assert_eq!(lines, [format!("uid map 0 {user} 1"), "ready".to_owned()]);
    outer.kill()?;
    outer.wait()?;
    Ok(())
}

/// A limit of the namespaces that this program may make, put back when dropped.
struct Limit {
    path: String,
    before: String,
}

impl Limit {
    fn zero(kind: &str) -> Result<Self, Skip> {
        let path = format!("/proc/sys/user/max_{kind}_namespaces");
        let failed = |error| Skip(format!("limits of namespaces cannot be set: {path}: {error}"));
        let before = fs::read_to_string(&path).map_err(failed)?;
        fs::write(&path, "0").map_err(failed)?;
        Ok(Self { path, before })
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        fs::write(&self.path, &self.before).unwrap();
    }
}

fn root_needs_no_user_namespace() -> CaseResult {
    let _limit = Limit::zero("user")?;
    assert_eq!(copy("end with 7").status()?.code(), Some(7));
    Ok(())
}

fn a_refusal_names_its_call_and_what_works() -> CaseResult {
    let answer = |mut command: Command| -> Result<String, Stop> {
        let mut child = command.spawn()?;
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output)?;
        assert_eq!(child.wait()?.code(), Some(3), "{output}");
        Ok(output)
    };
    let limit = Limit::zero("net")?;
    let text = answer(copy("end with 7"))?;
    assert!(text.starts_with("refused unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID): No space left"), "{text}");
    drop(limit);

    if ordinary_user()?.is_some() {
        return Ok(()); // Nobody else can be had to be refused what root is not.
    }
    let _limit = Limit::zero("user")?;
    let text = answer(as_nobody("end with 7"))?;
    assert!(text.starts_with("refused unshare(CLONE_NEWUSER): No space left"), "{text}");
    assert!(text.contains("root may: sudo /proc/self/exe"), "{text}");
    Ok(())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Hosts h1, h2, … on one bridge with the addresses 192.0.2.1, 192.0.2.2, … and 2001:db8::1, 2001:db8::2, …
fn hosts<const N: usize>(lab: &Lab) -> Result<(netlab::Bridge, [Host; N]), Stop> {
    let bridge = lab.bridge("br0")?;
    let mut hosts = Vec::new();
    for number in 1..=N {
        let host = lab.host(&format!("h{number}"))?;
        lab.connect(&host, "eth0", &bridge)?;
        host.address("eth0", &format!("192.0.2.{number}/24"))?;
        host.address("eth0", &format!("2001:db8::{number}/64"))?;
        hosts.push(host);
    }
    Ok((bridge, hosts.try_into().unwrap()))
}

fn hosts_reach_each_other() -> CaseResult {
    let lab = Lab::new()?;
    let (_bridge, [h1, _h2]) = hosts(&lab)?;
    for address in ["127.0.0.1", "192.0.2.2", "2001:db8::2"] {
        let pinger = h1.ping(ip(address), PERIOD)?;
        pinger.wait_for_answer(SOON)?;
        let counts = pinger.counts();
        assert!(counts.received > 0 && counts.received <= counts.sent, "{counts:?}");
    }
    let nobody = h1.ping(ip("192.0.2.99"), PERIOD)?;
    assert!(nobody.wait_for_answer(Duration::from_millis(50)).is_err());
    assert_eq!(nobody.counts().received, 0);

    assert_eq!(lab.holders(ip("192.0.2.2"))?, ["h2"]);
    assert_eq!(lab.holders(ip("127.0.0.1"))?, ["h1", "h2"]);
    assert!(lab.wait_for_holders(ip("192.0.2.2"), &["h1"], PERIOD).is_err());
    Ok(())
}

fn wait_for_silence(pinger: &Pinger, length: Duration) -> CaseResult {
    wait_until("the pinger hears nothing", || Ok(pinger.silence() > length))
}

fn a_pinger_measures_a_cut() -> CaseResult {
    let lab = Lab::new()?;
    let (_bridge, [h1, h2]) = hosts(&lab)?;
    let pinger = h1.ping(ip("192.0.2.2"), PERIOD)?;
    pinger.wait_for_answer(SOON)?;
    let before = pinger.gaps(SECOND).len();

    let cut = Instant::now();
    h2.cut("eth0")?;
    wait_for_silence(&pinger, Duration::from_millis(300))?;
    let mended = Instant::now();
    h2.mend("eth0")?;
    let answered = pinger.wait_for_answer(SOON)?;

    let gaps = pinger.gaps(SECOND);
    let gap = pinger.longest_gap().unwrap();
    assert!(gaps.len() > before && gaps.contains(&gap), "{gaps:?}");
    assert!(gap.from > cut - SECOND && gap.from < mended, "it begins with the cut: {gap:?}");
    assert!(gap.until.is_some_and(|until| until > mended && until <= answered), "it ends after the mending: {gap:?}");
    assert!(gap.duration() >= Duration::from_millis(300) && gap.lost > 5, "{gap:?}");
    Ok(())
}

fn a_capture_sees_frames() -> CaseResult {
    let lab = Lab::new()?;
    let (bridge, [h1, h2]) = hosts(&lab)?;
    let (on_bridge, on_host) = (bridge.capture()?, h2.capture("eth0")?);
    let start = Instant::now();
    let pinger = h1.ping(ip("192.0.2.2"), PERIOD)?;
    pinger.wait_for_answer(SOON)?;

    let asked = on_bridge
        .wait_for(SOON, |frame| frame.arp().filter(|arp| ip("192.0.2.2") == arp.target).map(|_| frame.clone()))?;
    assert!(asked.at > start && asked.at < Instant::now() && !asked.outgoing);
    assert_eq!(asked.gratuitous_arp(), None);
    let reply = on_host.wait_for(SOON, |frame| {
        frame
            .ip()
            .filter(|packet| packet.protocol == 1 && packet.source == ip("192.0.2.2"))
            .map(|packet| (frame.outgoing, packet.ttl))
    })?;
    assert_eq!(reply, (true, 64));
    assert!(on_host.wait_for(PERIOD, |frame| frame.vrrp().map(drop)).is_err());
    Ok(())
}

fn tshark_reads_what_a_capture_wrote() -> CaseResult {
    let tshark = peers::tshark()?;
    let lab = Lab::new()?;
    let (_bridge, [h1, h2]) = hosts(&lab)?;
    let capture = h2.capture("eth0")?;
    h1.ping(ip("192.0.2.2"), PERIOD)?.wait_for_answer(SOON)?;
    capture.wait_for(SOON, |frame| frame.ip().filter(|packet| packet.protocol == 1 && frame.outgoing).map(drop))?;

    let file = Path::new("/run/frames.pcap");
    capture.write_pcap(file)?;
    let reader = h1.spawn(tshark.program().args(["-r", "/run/frames.pcap"]).bind(file, file))?;
    reader.wait_for_line("Echo (ping) reply", 3 * SOON)?;
    assert!(reader.wait_for_exit(SOON)?.success());
    Ok(())
}

/// A shell with a child, and with a grandchild in a session of its own whose parent has ended: it says `ready` when all are there.
fn family(host: &Host) -> Result<Process, Stop> {
    let script = "sleep 1000 & (setsid sleep 1000 &) ; echo ready; wait";
    let process = host.spawn(Program::new("sh").args(["-c", script]))?;
    process.wait_for_line("ready", SOON)?;
    let sleeping = |process: &Process| -> Result<usize, LabError> {
        Ok(process.processes()?.iter().filter(|one| one.name == "sleep").count())
    };
    wait_until("the sleepers sleep", || sleeping(&process).map(|number| number == 2).map_err(std::io::Error::other))?;
    Ok(process)
}

fn a_killed_program_leaves_no_process() -> CaseResult {
    let lab = Lab::new()?;
    let host = lab.host("h")?;
    let (killed, other, dropped) = (family(&host)?, family(&host)?, family(&host)?);
    let members = killed.processes()?;
    assert_eq!(members.len(), 3, "{members:?}");
    assert_eq!(members.iter().filter(|one| one.parent == Some(killed.pid())).count(), 1, "{members:?}");
    killed.kill_all()?;
    assert_eq!(killed.processes()?, []);
    assert_eq!(killed.wait_for_exit(SOON)?.signal(), Some(Signal::SIGKILL as i32));
    assert!(killed.signal(Signal::SIGTERM).is_err());

    let pids: Vec<_> = dropped.processes()?.iter().map(|one| one.pid).collect();
    drop(dropped);
    for pid in pids {
        assert!(
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
                || kill(pid, None).is_err()
        );
    }
    assert_eq!(other.processes()?.len(), 3);
    Ok(())
}

fn a_frozen_program_can_go_on() -> CaseResult {
    let lab = Lab::new()?;
    let host = lab.host("h")?;
    let ticker = host.spawn(Program::new("sh").args(["-c", "while sleep 0.01; do echo tick; done"]))?;
    ticker.wait_for_line("tick", SOON)?;
    ticker.freeze_all()?;
    let mark = ticker.mark();
    assert!(ticker.wait_for_line_after(mark, "tick", Duration::from_millis(100)).is_err());
    ticker.thaw_all()?;
    ticker.wait_for_line_after(mark, "tick", SOON)?;
    Ok(())
}

/// Tells how late bare timers were, as often as that grows.
fn measure_lateness() -> ExitCode {
    let lateness = Lateness::measure().unwrap();
    let mut told = None;
    loop {
        let longest = lateness.longest().as_millis();
        if told.is_none_or(|told| told < longest) {
            println!("late {longest}");
            told = Some(longest);
        }
        thread::sleep(PERIOD);
    }
}

/// To a program that is frozen the machine stands still.
fn a_stand_still_of_the_machine_is_measured() -> CaseResult {
    const STILL: Duration = Duration::from_secs(2);
    let lab = Lab::new()?;
    let program = Program::new(env::current_exe()?).env(ACT, "measure lateness");
    let measures = lab.host("h")?.spawn(program)?;
    measures.wait_for_line("late", SOON)?;
    let late = || {
        let lines = measures.lines();
        let told = lines.iter().rev().find_map(|line| line.text.strip_prefix("late ")?.parse().ok());
        Duration::from_millis(told.unwrap_or_default())
    };
    measures.freeze_all()?;
    thread::sleep(STILL);
    measures.thaw_all()?;
    // It may have been about to look at its timer when it was frozen.
    let (most, deadline) = (STILL * 9 / 10, Instant::now() + SOON);
    while late() < most && Instant::now() < deadline {
        thread::sleep(PERIOD);
    }
    assert!(late() >= most, "{:?}", late());
    Ok(())
}

fn programs_have_files_of_their_own() -> CaseResult {
    let lab = Lab::new()?;
    let host = lab.host("h")?;
    let script = "ls -A /run; cat /run/app/conf; echo \"$WORD\"; cat";
    let shell = |text: &str| {
        Program::new("sh").args(["-c", script]).file("/run/app/conf", format!("text is {text}\n")).env("WORD", text)
    };
    let (one, two) = (host.spawn(shell("one"))?, host.spawn(shell("two"))?);
    assert!(one.wait_for_exit(SOON)?.success() && two.wait_for_exit(SOON)?.success());
    one.wait_for_line("text is one", SOON)?;
    two.wait_for_line("text is two", SOON)?;
    assert!(!Path::new("/run/app").exists());

    let script = "cat /etc/no/such/conf /run/etc/keepalived/copy /etc/passwd";
    let program =
        Program::new("sh").args(["-c", script]).file("/etc/no/such/conf", "here").file("/etc/no/such/other", "");
    let reader =
        host.spawn(program.bind("/proc/self/mountinfo", "/run/etc/keepalived/copy").file("/etc/passwd", "nobody"))?;
    reader.wait_for_line("here", SOON)?;
    reader.wait_for_line("nobody", SOON)?;
    assert!(reader.wait_for_exit(SOON)?.success());
    assert!(!Path::new("/etc/no").exists() && fs::read_to_string("/etc/passwd")? != "nobody");

    let logger = host.spawn(Program::new("/proc/self/exe").env(ACT, "log"))?;
    let line = logger.wait_for_line("Startup complete", SOON)?;
    assert_eq!((line.source, line.text.as_str()), (netlab::Source::Syslog, "<30>Keepalived[1]: Startup complete"));
    Ok(())
}

fn a_program_that_says_nothing_is_not_waited_for() -> CaseResult {
    let host = Lab::new()?.host("h")?;
    let echo = host.spawn(Program::new("echo").arg("something else"))?;
    echo.wait_for_line("something else", SOON)?;
    let error = echo.wait_for_line("the word", PERIOD).unwrap_err().to_string();
    assert!(error.contains("\"the word\"") && error.contains("something else"), "{error}");
    assert!(host.spawn(Program::new("/no/such/program")).is_err());
    Ok(())
}

fn vrrp(priority: u8) -> String {
    format!(
        "global_defs {{\n  router_id lab\n  vrrp_version 3\n}}\n\
         vrrp_instance VI_1 {{\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  advert_int 0.3\n\
         virtual_ipaddress {{\n    192.0.2.100/24\n  }}\n}}\n"
    )
}

fn two_c_keepalived_fail_over() -> CaseResult {
    let peer = peers::keepalived()?;
    let lab = Lab::new()?;
    let (bridge, [h1, h2, client]) = hosts(&lab)?;
    let start = |host: &Host, priority| {
        let program = peer.program().args(["-n", "-l", "-D", "-P"]);
        host.spawn(program.file("/etc/keepalived/keepalived.conf", vrrp(priority)))
    };
    let vip = ip("192.0.2.100");
    let capture = bridge.capture()?;
    let (first, second) = (start(&h1, 200)?, start(&h2, 100)?);
    first.wait_for_line("Entering MASTER STATE", SOON)?;
    second.wait_for_line("Entering BACKUP STATE", SOON)?;
    lab.wait_for_holders(vip, &["h1"], SOON)?;
    let source = capture.wait_for(SOON, |frame| frame.vrrp().map(|packet| packet.source))?;
    assert_eq!(source, ip("192.0.2.1"));

    let pinger = client.ping(vip, PERIOD)?;
    pinger.wait_for_answer(SOON)?;
    let mark = second.mark();
    let killed = Instant::now();
    first.kill_all()?;
    h1.cut("eth0")?;
    let took_over = second.wait_for_line_after(mark, "Entering MASTER STATE", SOON)?;
    pinger.wait_for_answer(SOON)?;
    // Three intervals and the skew of priority 100 are 1083 ms, up to one interval of which was over; and the machine may be busy.
    let gap = pinger.longest_gap().unwrap();
    assert!(took_over.at > killed && gap.duration() > Duration::from_millis(700), "{gap:?}");
    assert!(gap.duration() < Duration::from_millis(1083) + 2 * SECOND, "{gap:?}");
    capture.wait_for(SOON, |frame| {
        (frame.at > killed && frame.gratuitous_arp().map(IpAddr::from) == Some(vip)).then_some(())
    })?;
    assert!(h2.holds(vip)?);

    // The address that the killed one left behind is the machine's; a new one adopts it and wins.
    h1.mend("eth0")?;
    let mark = second.mark();
    let _first = start(&h1, 200)?;
    second.wait_for_line_after(mark, "Entering BACKUP STATE", SOON)?;
    lab.wait_for_holders(vip, &["h1"], SOON)?;
    Ok(())
}
