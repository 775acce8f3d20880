//! One daemon seen from outside: the service manager, signals, files, the log, what is on the wire.
#![allow(clippy::indexing_slicing, reason = "a test")]

#[expect(dead_code, reason = "the failover tests use the rest")]
mod support;

use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Capture, Frame, Host, Lab, Pinger, Process, Program, Source, peers};
use nix::sys::signal::{Signal, kill};
use support::{PATIENCE, Protocol, wait_until};

const V2: Protocol = Protocol { version: 2, interval: Duration::from_secs(1), ipv6: false };
const V3: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: false };
const V3_IPV6: Protocol = Protocol { version: 3, interval: Duration::from_millis(200), ipv6: true };

/// A host with a folder for its files.
struct Node {
    lab: Lab,
    lan: Bridge,
    host: Host,
    folder: tempfile::TempDir,
}

impl Node {
    fn new(protocol: Protocol) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = lab.host("r1")?;
        lab.connect(&host, "eth0", &lan)?;
        host.address("eth0", &protocol.address(1))?;
        Ok(Self { lab, lan, host, folder: tempfile::tempdir()? })
    }

    fn config(&self) -> PathBuf {
        self.path("keepalived.conf")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) -> Result<(), Stop> {
        Ok(std::fs::write(self.config(), text)?)
    }

    fn program(&self) -> Program {
        Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlDG", "-f"]).arg(self.config())
    }

    fn start(&self, text: &str) -> Result<Process, Stop> {
        self.write(text)?;
        Ok(self.host.spawn(self.program())?)
    }

    fn wait_for_vip(&self, protocol: Protocol) -> Result<(), Stop> {
        Ok(self.lab.wait_for_holders(protocol.vip(), &["r1"], PATIENCE)?)
    }
}

/// What a service manager would hear.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn new(path: &Path) -> Result<Self, Stop> {
        let socket = UnixDatagram::bind(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, heard: Vec::new() })
    }

    /// The next message that contains `text`.
    fn wait_for(&mut self, text: &str) -> Result<String, Stop> {
        let mut buffer = [0; 4096];
        loop {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                return Err(Stop::failed(format!("waited for {text}, heard {:?}", self.heard)));
            };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.heard.push(message.clone());
            if message.contains(text) {
                return Ok(message);
            }
        }
    }
}

fn expect(condition: bool, what: &str, process: &Process) -> CaseResult {
    if condition {
        return Ok(());
    }
    let lines: Vec<_> = process.lines().into_iter().map(|line| line.text).collect();
    Err(Stop::failed(format!("{what}\n{}", lines.join("\n"))))
}

fn the_service_manager_hears_ready_reloading_stopping() -> CaseResult {
    let node = Node::new(V3)?;
    let socket = node.path("notify");
    let mut manager = Manager::new(&socket)?;
    node.write(&V3.config(150, ""))?;
    let daemon = node.host.spawn(node.program().env("NOTIFY_SOCKET", &socket))?;
    let ready = manager.wait_for("READY=1")?;
    expect(ready.contains(&format!("MAINPID={}", daemon.pid())), &format!("wrong main pid: {ready}"), &daemon)?;
    daemon.signal(Signal::SIGHUP)?;
    manager.wait_for("RELOADING=1")?;
    manager.wait_for("READY=1")?;
    node.write("vrrp_instance broken {\n interface eth0\n}\n")?;
    daemon.signal(Signal::SIGHUP)?;
    manager.wait_for("RELOADING=1")?;
    let status = manager.wait_for("READY=1")?;
    expect(status.contains("STATUS=") && status.contains("refused"), &format!("no trace in {status}"), &daemon)?;
    daemon.signal(Signal::SIGTERM)?;
    manager.wait_for("STOPPING=1")?;
    expect(daemon.wait_for_exit(PATIENCE)?.success(), "the exit status is not 0", &daemon)
}

/// systemd's default: every process of the unit gets the signal at once.
fn term_to_every_process_still_runs_the_stop_script() -> CaseResult {
    let node = Node::new(V3)?;
    let witness = node.path("stopped");
    let script = node.path("stop.sh");
    std::fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", witness.display()))?;
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let notify = format!("notify_stop {0}\n notify {0}", script.display());
    let daemon = node.start(&V3.config(150, &notify))?;
    node.wait_for_vip(V3)?;
    let wire = node.lan.capture()?;
    for process in daemon.processes()? {
        // A script may have ended since.
        if kill(process.pid, Signal::SIGTERM).is_err_and(|error| error != nix::errno::Errno::ESRCH) {
            return Err(Stop::failed(format!("{process:?} cannot be signalled")));
        }
    }
    expect(daemon.wait_for_exit(PATIENCE)?.success(), "the exit status is not 0", &daemon)?;
    expect(!node.host.holds(V3.vip())?, "the address is still there", &daemon)?;
    wire.wait_for(PATIENCE, is_resignation)?;
    let told = std::fs::read_to_string(&witness).unwrap_or_default();
    expect(told.lines().any(str::is_empty), &format!("notify_stop did not run: {told:?}"), &daemon)?;
    expect(told.contains("INSTANCE VI_1 STOP 150"), &format!("notify did not run: {told:?}"), &daemon)?;
    expect(daemon.processes()?.is_empty(), "processes are left", &daemon)
}

fn scripts_hear_every_state() -> CaseResult {
    let node = Node::new(V3)?;
    let witness = node.path("states");
    let script = node.path("notify.sh");
    std::fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", witness.display()))?;
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let daemon = node.start(&V3.config(150, &format!("notify {}", script.display())))?;
    node.wait_for_vip(V3)?;
    let told = || std::fs::read_to_string(&witness).unwrap_or_default();
    wait_until("MASTER", || Ok(told().contains("INSTANCE VI_1 MASTER 150")))?;
    expect(told().contains("INSTANCE VI_1 BACKUP 150"), "BACKUP is missing", &daemon)?;
    node.host.cut("eth0")?;
    wait_until("FAULT", || Ok(told().contains("INSTANCE VI_1 FAULT 150")))?;
    node.host.mend("eth0")?;
    wait_until("MASTER again", || Ok(told().matches("MASTER").count() == 2))
}

/// An active router with a client that would notice if it were less than that for a moment.
struct Watched {
    node: Node,
    daemon: Process,
    _client: Host,
    pinger: Pinger,
    wire: Capture,
}

impl Watched {
    fn start() -> Result<Self, Stop> {
        Self::start_on(Node::new(V3)?, &V3.config(150, ""))
    }

    fn start_on(node: Node, config: &str) -> Result<Self, Stop> {
        let daemon = node.start(config)?;
        node.wait_for_vip(V3)?;
        let client = node.lab.host("client")?;
        node.lab.connect(&client, "eth0", &node.lan)?;
        client.address("eth0", &V3.address(9))?;
        let wire = node.lan.capture()?;
        let pinger = client.ping(V3.vip(), Duration::from_millis(2))?;
        pinger.wait_for_answer(PATIENCE)?;
        Ok(Self { node, daemon, _client: client, pinger, wire })
    }

    /// Asks for a reload and waits for the line that says what became of it.
    fn reload(&self, outcome: &str) -> Result<String, Stop> {
        let mark = self.daemon.mark();
        self.daemon.signal(Signal::SIGHUP)?;
        Ok(self.daemon.wait_for_line_after(mark, outcome, PATIENCE)?.text)
    }

    /// Nobody has noticed anything.
    fn expect_undisturbed(&self) -> CaseResult {
        self.pinger.wait_for_answer(PATIENCE)?;
        expect(self.node.host.holds(V3.vip())?, "the address is gone", &self.daemon)?;
        let gap = self.pinger.longest_gap();
        expect(gap.is_none(), &format!("pings were lost: {gap:?}, {:?}", self.pinger.counts()), &self.daemon)?;
        let resigned = self.wire.frames().iter().any(|frame| is_resignation(frame).is_some());
        expect(!resigned, "it resigned", &self.daemon)
    }
}

/// An advert of priority 0.
fn is_resignation(frame: &Frame) -> Option<()> {
    frame.vrrp().filter(|packet| packet.payload.get(2) == Some(&0)).map(drop)
}

/// Whatever is wrong with the new file, the old configuration stays, and nobody sees anything.
fn a_refused_file_at_reload_changes_nothing() -> CaseResult {
    let watched = Watched::start()?;
    let config = watched.node.config();
    let refuse = |said: &str| -> CaseResult {
        let line = watched.reload("Reload refused")?;
        expect(line.contains(said), &format!("no '{said}' in: {line}"), &watched.daemon)
    };
    std::fs::remove_file(&config)?;
    refuse("keepalived.conf")?;
    std::fs::create_dir(&config)?;
    refuse("keepalived.conf")?;
    std::fs::remove_dir(&config)?;
    for (text, said) in [
        ("vrrp_instance A {\n interface eth9\n virtual_router_id 1\n}\n", ":2:"),
        ("vrrp_instance A {\n interface eth0\n}\n", "the virtual router id must be set"),
        ("vrrp_instanc VI_1 {\n interface eth0\n}\n", "nothing in it is left to run"),
        (&V3.config(150, "track_bfd { x }"), "not acted on yet"),
    ] {
        watched.node.write(text)?;
        refuse(said)?;
    }
    watched.expect_undisturbed()
}

/// `text` with `reload_check_config`, which leaves what it finds in `log`.
fn with_check(text: &str, log: &Path) -> String {
    text.replacen("global_defs {", &format!("global_defs {{\n    reload_check_config {}", log.display()), 1)
}

/// With it a reload tolerates nothing that keepalived would report, whichever of the two files it stands in.
fn reload_check_config_refuses_what_keepalived_reports() -> CaseResult {
    let node = Node::new(V3)?;
    let log = node.path("check.log");
    let good = V3.config(150, "");
    let checked = with_check(&good, &log);
    let watched = Watched::start_on(node, &checked)?;
    let found = || std::fs::read_to_string(&log).unwrap_or_default();
    let refuse = |text: &str, said: &str| -> CaseResult {
        watched.node.write(text)?;
        let mark = watched.daemon.mark();
        let line = watched.reload("Reload refused, the running configuration stays")?;
        expect(line.contains(said), &format!("no '{said}' in: {line}"), &watched.daemon)?;
        watched.daemon.wait_for_line_after(mark, &format!("validation, see {} for", log.display()), PATIENCE)?;
        let one = found().lines().count() == 1 && found().contains(said);
        expect(one, &format!("no single '{said}' in the file: {:?}", found()), &watched.daemon)
    };
    let accept = |text: &str| -> CaseResult {
        watched.node.write(text)?;
        watched.reload("Reload complete").map(drop)
    };
    let out_of_order = |text: &str| text.replace("state MASTER", "state BACKP");
    let unsafe_script = checked.replace("version 3", "notify /bin/true\n version 3");
    refuse(&out_of_order(&checked), "unknown state 'BACKP'")?;
    refuse(&out_of_order(&good), "refused because of reload_check_config")?;
    refuse(&unsafe_script, "script_security")?;
    refuse(&checked.replace("    virtual_router_id 51\n", ""), "the virtual router id must be set")?;
    // Notes are ours alone.
    accept(&checked.replace("router_id test", "router_id test # a lone \r return"))?;
    watched.daemon.wait_for_line("a carriage return without a line feed", PATIENCE)?;
    expect(found().is_empty(), &format!("the file holds {:?}", found()), &watched.daemon)?;
    accept(&good)?;
    accept(&out_of_order(&good))?;
    refuse(&out_of_order(&checked), "unknown state 'BACKP'")?;
    watched.expect_undisturbed()
}

/// What is refused, and what is in the file afterwards, is as with keepalived.
fn reload_check_config_decides_as_keepalived_does() -> CaseResult {
    for program in [Program::new(env!("CARGO_BIN_EXE_keepalived-rs")), peers::keepalived()?.program()] {
        let node = Node::new(V3)?;
        let log = node.path("check.log");
        let good = V3.config(150, "");
        let checked = with_check(&good, &log);
        node.write(&checked)?;
        let daemon = node.host.spawn(program.args(["-nlDG", "-f"]).arg(node.config()))?;
        node.wait_for_vip(V3)?;
        for (text, refused) in [
            (checked.replace("priority 150", "priority 300"), true),
            (good.replace("priority 150", "priority 300"), true),
            (checked.replace("eth0", "eth9"), true),
            (checked.replace("version 3", "notify /bin/true\n version 3"), true),
            (checked.replace("version 3", "versio 3"), true),
            (checked.replace("priority 150", "priority 140"), false),
            (good.clone(), false),
        ] {
            node.write(&text)?;
            let mark = daemon.mark();
            daemon.signal(Signal::SIGHUP)?;
            let end = if refused { "New config failed validation, see" } else { "Reload complete" };
            daemon.wait_for_line_after(mark, end, PATIENCE)?;
            let empty = std::fs::read_to_string(&log)?.is_empty();
            expect(empty != refused, &format!("the file is wrong after\n{text}"), &daemon)?;
        }
    }
    Ok(())
}

fn a_reload_keeps_what_stays() -> CaseResult {
    let watched = Watched::start()?;
    watched.node.write(&V3.config(150, "").replace("198.18.0.102/24", "198.18.0.103/24"))?;
    watched.reload("Reload complete")?;
    let (added, removed): (IpAddr, IpAddr) = ("198.18.0.103".parse()?, "198.18.0.102".parse()?);
    let host = &watched.node.host;
    wait_until("the new address", || Ok(host.holds(added)? && !host.holds(removed)?))?;
    watched.expect_undisturbed()
}

fn a_second_daemon_on_the_same_pid_file_is_told_so() -> CaseResult {
    let node = Node::new(V3)?;
    let pid_file = node.path("pid");
    node.write(&V3.config(150, ""))?;
    let program = || node.program().arg("-p").arg(&pid_file);
    let first = node.host.spawn(program())?;
    node.wait_for_vip(V3)?;
    let told = std::fs::read_to_string(&pid_file)?;
    expect(told == format!("{}\n", first.pid()), &format!("the pid file holds {told:?}"), &first)?;
    let second = node.host.spawn(program())?;
    expect(second.wait_for_exit(PATIENCE)?.code() == Some(0), "the exit status is not 0", &second)?;
    second.wait_for_line("daemon is already running", PATIENCE)?;
    expect(node.host.holds(V3.vip())?, "the address is gone", &first)?;
    first.signal(Signal::SIGINT)?;
    first.wait_for_exit(PATIENCE)?;
    expect(!pid_file.exists(), "the pid file is still there", &first)
}

/// One refused start: what it says, its status, and that nothing changed.
fn refused(node: &Node, status: i32, said: &[&str]) -> CaseResult {
    let before = node.host.addresses()?.len();
    let daemon = node.host.spawn(node.program())?;
    let exit = daemon.wait_for_exit(PATIENCE)?;
    expect(exit.code() == Some(status), &format!("{exit}, expected {status}"), &daemon)?;
    for words in said {
        daemon.wait_for_line(words, PATIENCE)?;
    }
    expect(node.host.addresses()?.len() == before, "addresses changed", &daemon)
}

fn a_file_that_cannot_run_is_refused_with_its_place() -> CaseResult {
    let node = Node::new(V3)?;
    refused(&node, 6, &["keepalived.conf"])?;
    std::fs::create_dir(node.config())?;
    refused(&node, 6, &["keepalived.conf"])?;
    std::fs::remove_dir(node.config())?;
    node.write(&V3.config(150, "").replace("eth0", "eth9"))?;
    refused(&node, 2, &["keepalived.conf:7:", "eth9"])?;
    node.write(&V3.config(150, "").replace("    virtual_router_id 51\n", ""))?;
    refused(&node, 2, &["(VI_1) the virtual router id must be set"])?;
    let mistaken = V3.config(150, "").replace("state MASTER", "state BACKP");
    node.write(&with_check(&mistaken, &node.path("check.log")))?;
    refused(&node, 2, &["keepalived.conf:7:", "refused because of reload_check_config"])?;
    expect_status(&node, 4, "a start that is refused is not status 4")
}

/// The exit status of a test of the node's file.
fn expect_status(node: &Node, status: i32, otherwise: &str) -> CaseResult {
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-t", "-f"]).arg(node.config());
    let check = node.host.spawn(program)?;
    expect(check.wait_for_exit(PATIENCE)?.code() == Some(status), otherwise, &check)
}

/// What keepalived carries on with: said with its place, and running.
fn a_file_with_mistakes_runs_and_names_them() -> CaseResult {
    let node = Node::new(V3)?;
    let text =
        V3.config(150, "").replace("state MASTER", "state BACKP").replacen("router_id test", "router_id te\u{1}", 1);
    let mut bytes = text.trim_end().trim_end_matches('}').as_bytes().to_vec();
    let place = bytes.iter().position(|byte| *byte == 1).expect("the marker is there");
    bytes[place] = 0xff;
    std::fs::write(node.config(), bytes)?;
    let daemon = node.host.spawn(node.program())?;
    daemon.wait_for_line("keepalived.conf:6:", PATIENCE)?;
    let state = daemon.wait_for_line("unknown state 'BACKP', defaulting to BACKUP", PATIENCE)?;
    expect(state.text.contains("keepalived.conf:6:"), &format!("no place in {}", state.text), &daemon)?;
    daemon.wait_for_line("keepalived.conf:2:", PATIENCE)?;
    daemon.wait_for_line("missing '}'s", PATIENCE)?;
    node.wait_for_vip(V3)
}

fn the_log_goes_to_syslog_under_keepalived_s_names() -> CaseResult {
    let node = Node::new(V3)?;
    node.write(&V3.config(150, ""))?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nD", "-f"]).arg(node.config());
    let daemon = node.host.spawn(program)?;
    node.wait_for_vip(V3)?;
    let has = |ident: &str, text: &str| {
        daemon.lines().iter().any(|line| {
            line.source == Source::Syslog && line.text.contains(&format!(" {ident}[")) && line.text.contains(text)
        })
    };
    wait_until("the lines in syslog", || {
        Ok(has("Keepalived", "Startup complete") && has("Keepalived_vrrp", "(VI_1) Entering MASTER STATE"))
    })
}

/// Without a supervisor there is nobody to restart a worker: it must not go on alone.
fn the_workers_resign_when_the_supervisor_dies() -> CaseResult {
    let node = Node::new(V3)?;
    let daemon = node.start(&V3.config(150, ""))?;
    node.wait_for_vip(V3)?;
    let wire = node.lan.capture()?;
    kill(daemon.pid(), Signal::SIGKILL)?;
    wait_until("the address to go", || Ok(!node.host.holds(V3.vip())?))?;
    wire.wait_for(PATIENCE, is_resignation)?;
    wait_until("every process to end", || Ok(daemon.processes()?.is_empty()))
}

/// tshark finds nothing to complain about in our packets.
fn tshark_reads_our_packets() -> CaseResult {
    for protocol in [V2, V3, V3_IPV6] {
        let node = Node::new(protocol)?;
        let wire = node.lan.capture()?;
        let daemon = node.start(&protocol.config(150, ""))?;
        node.wait_for_vip(protocol)?;
        daemon.signal(Signal::SIGTERM)?;
        daemon.wait_for_exit(PATIENCE)?;
        let adverts = wire.frames().iter().filter(|frame| frame.vrrp().is_some()).count();
        expect(adverts >= 2, &format!("{adverts} adverts"), &daemon)?;
        let pcap = node.path("wire.pcap");
        wire.write_pcap(&pcap)?;
        let dissect = |filter: &str| -> Result<Vec<String>, Stop> {
            let program = peers::tshark()?.program().args(["-o", "vrrp.v3_checksum_as_in_v2:FALSE", "-n", "-r"]);
            let options = ["-o", "ip.check_checksum:TRUE", "-Y", filter, "-V"];
            let tshark = node.host.spawn(program.arg(&pcap).args(options))?;
            tshark.wait_for_exit(PATIENCE)?;
            Ok(tshark.lines().into_iter().map(|line| line.text).collect())
        };
        let read = dissect("vrrp")?;
        let correct = read.iter().filter(|line| line.contains("Checksum Status: Good")).count();
        expect(correct >= adverts, &format!("{correct} good checksums of {adverts}:\n{}", read.join("\n")), &daemon)?;
        let wrong = dissect("_ws.malformed || vrrp.checksum.status == \"Bad\" || icmpv6.checksum.status == \"Bad\"")?;
        let wrong: Vec<_> = wrong.iter().filter(|line| line.starts_with("Frame ")).collect();
        expect(wrong.is_empty(), &format!("{wrong:?}"), &daemon)?;
    }
    Ok(())
}

/// A file checked for a person: every mistake, exit status by the worst.
fn a_test_of_the_file_shows_every_mistake() -> CaseResult {
    let node = Node::new(V3)?;
    let text = V3.config(150, "").replace("state MASTER", "state BACKP").replace("priority 150", "priority 300");
    node.write(&text)?;
    let program = || Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-t", "-f"]).arg(node.config());
    let check = node.host.spawn(program())?;
    expect(check.wait_for_exit(PATIENCE)?.code() == Some(5), "the exit status is not 5", &check)?;
    check.wait_for_line("BACKP", PATIENCE)?;
    check.wait_for_line("300", PATIENCE)?;
    node.write(&V3.config(150, ""))?;
    let check = node.host.spawn(program())?;
    expect(check.wait_for_exit(PATIENCE)?.code() == Some(0), "a clean file is not clean", &check)?;
    std::fs::remove_file(node.config())?;
    let check = node.host.spawn(program())?;
    expect(check.wait_for_exit(PATIENCE)?.code() == Some(4), "a missing file is not status 4", &check)?;
    node.write(&V3.config(150, "notify /bin/true"))?;
    let check = node.host.spawn(program())?;
    expect(check.wait_for_exit(PATIENCE)?.code() == Some(6), "unsecured scripts are not status 6", &check)?;
    node.write(&V3.config(150, "track_bfd { x }"))?;
    let check = node.host.spawn(program())?;
    expect(check.wait_for_exit(PATIENCE)?.code() == Some(4), "what would not start is not status 4", &check)
}

/// In the background: the caller gets its prompt back, the pid file names the daemon.
fn it_goes_into_the_background() -> CaseResult {
    let node = Node::new(V3)?;
    node.write(&V3.config(150, ""))?;
    let pid_file = node.path("pid");
    let program =
        Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).arg("-f").arg(node.config()).arg("-p").arg(&pid_file);
    let daemon = node.host.spawn(program)?;
    expect(daemon.wait_for_exit(PATIENCE)?.success(), "the caller did not get its prompt", &daemon)?;
    node.wait_for_vip(V3)?;
    let pid = nix::unistd::Pid::from_raw(std::fs::read_to_string(&pid_file)?.trim().parse()?);
    kill(pid, Signal::SIGTERM)?;
    wait_until("every process to end", || Ok(daemon.processes()?.is_empty()))?;
    expect(!node.host.holds(V3.vip())? && !pid_file.exists(), "something is left", &daemon)
}

/// The rhythm of adverts is that of the timer, whatever junk arrives.
fn junk_does_not_silence_a_master() -> CaseResult {
    let node = Node::new(V3)?;
    let daemon = node.start(&V3.config(150, ""))?;
    node.wait_for_vip(V3)?;
    let stranger = node.lab.host("junk")?;
    node.lab.connect(&stranger, "eth0", &node.lan)?;
    stranger.address("eth0", "198.18.0.66/24")?;
    let wire = node.lan.capture()?;
    let ours: IpAddr = "198.18.0.1".parse()?;
    let adverts = || -> Vec<Instant> {
        let frames = wire.frames();
        frames
            .iter()
            .filter(|frame| frame.vrrp().is_some_and(|packet| packet.source == ours))
            .map(|frame| frame.at)
            .collect()
    };
    stranger.run(|| -> CaseResult {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(112.into()))?;
        socket.set_multicast_if_v4(&std::net::Ipv4Addr::new(198, 18, 0, 66))?;
        // TTL 1, a nonsense checksum, priority 254.
        socket.set_multicast_ttl_v4(1)?;
        let group = socket2::SockAddr::from(std::net::SocketAddrV4::new([224, 0, 0, 18].into(), 0));
        wait_until("ten adverts amid junk", || {
            socket.send_to(&[0x31, 51, 254, 1, 0, 20, 0xde, 0xad, 198, 18, 0, 100], &group)?;
            Ok(adverts().len() > 10)
        })
    })?;
    let times = adverts();
    let longest = times.windows(2).filter_map(|pair| Some(*pair.get(1)? - *pair.first()?)).max().unwrap_or_default();
    expect(longest < V3.interval * 2, &format!("{longest:?} without an advert"), &daemon)?;
    expect(node.host.holds(V3.vip())?, "the address is gone", &daemon)
}

/// Without `-n` too, the caller sees the status of a refused start.
fn a_refused_start_in_the_background_is_the_caller_s_to_see() -> CaseResult {
    let node = Node::new(V3)?;
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-G", "-f"]).arg(node.config());
    let daemon = node.host.spawn(program)?;
    expect(daemon.wait_for_exit(PATIENCE)?.code() == Some(6), "the exit status is not 6", &daemon)?;
    daemon.wait_for_line("keepalived.conf", PATIENCE)?;
    Ok(())
}

/// Signals that mean nothing do not end it, and what scripts leave behind is reaped.
fn nothing_that_others_do_ends_it() -> CaseResult {
    let node = Node::new(V3)?;
    let script = node.path("notify.sh");
    std::fs::write(&script, "#!/bin/sh\nsleep 0.1 &\n")?;
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let daemon = node.start(&V3.config(150, &format!("notify {}", script.display())))?;
    node.wait_for_vip(V3)?;
    // The shell's own `kill`, since the real-time signals have no name here.
    let kill = format!("for signal in QUIT ALRM USR1 34 36 64; do kill -$signal {}; done", daemon.pid());
    let sent = node.host.spawn(Program::new("/bin/sh").arg("-ec").arg(kill))?;
    expect(sent.wait_for_exit(PATIENCE)?.success(), "the signals could not be sent", &daemon)?;
    node.host.cut("eth0")?;
    daemon.wait_for_line("Entering FAULT STATE", PATIENCE)?;
    let zombies = || -> Result<usize, Stop> {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid()))?;
        let is_zombie =
            |pid: &&str| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
        Ok(children.split_whitespace().filter(is_zombie).count())
    };
    // The supervisor, the VRRP process, the runner and nothing else.
    wait_until("the orphans to go", || Ok(zombies()? == 0 && daemon.processes()?.len() == 3))?;
    daemon.signal(Signal::SIGTERM)?;
    expect(daemon.wait_for_exit(PATIENCE)?.success(), "the exit status is not 0", &daemon)
}

/// Debian's own unit, its command lines to the letter, with this program as `/usr/sbin/keepalived`.
fn debian_s_unit_runs_it_unchanged() -> CaseResult {
    let unit = peers::unpacked("keepalived", "lib/systemd/system/keepalived.service")?;
    let unit = std::fs::read_to_string(unit.path)?;
    let command = |key: &str| -> Result<Vec<String>, Stop> {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let line = line.ok_or_else(|| Stop::failed(format!("no {key} in {unit}")))?;
        Ok(line.split_whitespace().filter(|word| !word.starts_with("$DAEMON")).map(str::to_owned).collect())
    };
    let node = Node::new(V3)?;
    let socket = node.path("notify");
    let mut manager = Manager::new(&socket)?;
    let start = command("ExecStart")?;
    let program = Program::new(&start[0])
        .args(&start[1..])
        .env("NOTIFY_SOCKET", &socket)
        .bind(env!("CARGO_BIN_EXE_keepalived-rs"), &start[0])
        .file("/etc/keepalived/keepalived.conf", V3.config(150, ""));
    let daemon = node.host.spawn(program)?;
    let main_pid = daemon.pid().to_string();
    expect(manager.wait_for("READY=1")?.contains(&main_pid), "another main pid", &daemon)?;
    let reload = command("ExecReload")?;
    let words = reload.iter().skip(1).map(|word| word.replace("$MAINPID", &main_pid));
    let told = node.host.spawn(Program::new(&reload[0]).args(words))?;
    expect(told.wait_for_exit(PATIENCE)?.success(), "ExecReload failed", &told)?;
    manager.wait_for("RELOADING=1")?;
    manager.wait_for("READY=1")?;
    node.wait_for_vip(V3)?;
    daemon.signal(Signal::SIGTERM)?;
    manager.wait_for("STOPPING=1")?;
    expect(daemon.wait_for_exit(PATIENCE)?.success(), "the exit status is not 0", &daemon)
}

/// A daemon that is gone left its addresses: the command takes them away.
fn cleanup_withdraws_what_a_dead_daemon_left() -> CaseResult {
    let node = Node::new(V3)?;
    let pid_file = node.path("pid");
    node.write(&V3.config(150, ""))?;
    let daemon = node.host.spawn(node.program().arg("-p").arg(&pid_file))?;
    node.wait_for_vip(V3)?;
    let cleanup = || {
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["cleanup", "-f"]).arg(node.config());
        node.host.spawn(program.arg("-p").arg(&pid_file))
    };
    let refused = cleanup()?;
    expect(!refused.wait_for_exit(PATIENCE)?.success(), "it took the addresses of a running daemon", &refused)?;
    expect(node.host.holds(V3.vip())?, "the address is gone", &daemon)?;
    daemon.kill_all()?;
    expect(node.host.holds(V3.vip())?, "a dead daemon cannot have removed it", &daemon)?;
    let wire = node.lan.capture()?;
    let done = cleanup()?;
    expect(done.wait_for_exit(PATIENCE)?.success(), "cleanup failed", &done)?;
    expect(!node.host.holds(V3.vip())?, "the address is still there", &done)?;
    expect(node.host.holds("198.18.0.1".parse()?)?, "the host's own address is gone", &done)?;
    wire.wait_for(PATIENCE, is_resignation)?;
    Ok(())
}

/// All processes of a daemon are killed, and the file is changed before the next one starts: it removes what it is not
/// configured to have, and a stop leaves no state behind.
fn the_next_daemon_removes_what_a_killed_one_left() -> CaseResult {
    let node = Node::new(V3)?;
    let (pid_file, state) = (node.path("daemon.pid"), node.path("daemon.pid.state"));
    let start = |text: &str| -> Result<Process, Stop> {
        node.write(text)?;
        Ok(node.host.spawn(node.program().arg("-p").arg(&pid_file))?)
    };
    let other = V3.config(150, "").replace(&V3.vip().to_string(), "198.18.0.77");
    let checks_only = "virtual_server 192.0.2.80 80 {\nlb_algo rr\nlb_kind NAT\n}\n";
    for text in [&other, checks_only] {
        let daemon = start(&V3.config(150, ""))?;
        node.wait_for_vip(V3)?;
        wait_until("the state file to appear", || Ok(state.exists()))?;
        daemon.kill_all()?;
        expect(node.host.holds(V3.vip())?, "a dead daemon cannot have removed it", &daemon)?;
        let next = start(text)?;
        node.lab.wait_for_holders(V3.vip(), &[], PATIENCE)?;
        if *text == other {
            node.lab.wait_for_holders("198.18.0.77".parse()?, &["r1"], PATIENCE)?;
        }
        next.signal(Signal::SIGTERM)?;
        next.wait_for_exit(PATIENCE)?;
        expect(!state.exists(), "the state file is still there", &next)?;
    }
    Ok(())
}

/// All processes of a daemon are killed, and the next one cannot run: it removes what no longer is advertised.
fn a_refused_start_removes_what_a_killed_daemon_left() -> CaseResult {
    let node = Node::new(V3)?;
    node.lab.connect(&node.host, "eth1", &node.lan)?;
    // Too small for IPv6.
    let output = node.host.run(|| Command::new("ip").args(["link", "set", "eth1", "mtu", "1200"]).output());
    output.map_err(|error| netlab::Skip(format!("ip (iproute2): {error}")))?;
    let (pid_file, state) = (node.path("daemon.pid"), node.path("daemon.pid.state"));
    let start = |text: &str| -> Result<Process, Stop> {
        node.write(text)?;
        Ok(node.host.spawn(node.program().arg("-p").arg(&pid_file))?)
    };
    let refused = [
        (V3.config(150, "").replace("eth0", "eth9"), 2, "The configuration is refused"),
        (V3_IPV6.config(150, "").replace("eth0", "eth1"), 1, "eth1"),
    ];
    for (text, status, why) in refused {
        let daemon = start(&V3.config(150, ""))?;
        node.wait_for_vip(V3)?;
        wait_until("the state file to appear", || Ok(state.exists()))?;
        daemon.kill_all()?;
        expect(node.host.holds(V3.vip())?, "a dead daemon cannot have removed it", &daemon)?;
        let next = start(&text)?;
        let exit = next.wait_for_exit(PATIENCE)?;
        expect(exit.code() == Some(status), &format!("{exit}, expected {status}"), &next)?;
        next.wait_for_line(why, PATIENCE)?;
        expect(!node.host.holds(V3.vip())?, "the address is still there", &next)?;
        expect(!state.exists(), "the state file is still there", &next)?;
    }
    Ok(())
}

/// An instance on an interface that cannot do IPv6 waits until it can; the others run.
fn an_interface_without_ipv6_keeps_nobody_else_from_starting() -> CaseResult {
    let node = Node::new(V3)?;
    node.lab.connect(&node.host, "eth1", &node.lan)?;
    let mtu = |mtu: &str| -> CaseResult {
        let output = node.host.run(|| Command::new("ip").args(["link", "set", "eth1", "mtu", mtu]).output());
        output.map_err(|error| netlab::Skip(format!("ip (iproute2): {error}")))?;
        Ok(())
    };
    mtu("1200")?;
    let other = V3_IPV6.config(150, "").replace("eth0", "eth1").replace("VI_1", "VI_2");
    let (_, other) = other.split_once("vrrp_instance").ok_or_else(|| Stop::failed("no instance"))?;
    let daemon = node.start(&format!("{}vrrp_instance{other}", V3.config(150, "")))?;
    node.wait_for_vip(V3).map_err(|_| Stop::failed(format!("{:?}", daemon.lines())))?;
    daemon.wait_for_line("on eth1", PATIENCE)?;
    expect(!node.host.holds(V3_IPV6.vip())?, "it is Active where no advert can leave", &daemon)?;
    mtu("1500")?;
    node.wait_for_vip(V3_IPV6).map_err(|_| Stop::failed(format!("{:?}", daemon.lines())))
}

fn main() -> ExitCode {
    macro_rules! cases {
        ($($name:ident),+ $(,)?) => { harness::main(&[$(case(stringify!($name), $name)),+]) };
    }
    cases![
        the_service_manager_hears_ready_reloading_stopping,
        term_to_every_process_still_runs_the_stop_script,
        scripts_hear_every_state,
        a_refused_file_at_reload_changes_nothing,
        reload_check_config_refuses_what_keepalived_reports,
        reload_check_config_decides_as_keepalived_does,
        a_reload_keeps_what_stays,
        a_second_daemon_on_the_same_pid_file_is_told_so,
        a_file_that_cannot_run_is_refused_with_its_place,
        a_file_with_mistakes_runs_and_names_them,
        the_log_goes_to_syslog_under_keepalived_s_names,
        the_workers_resign_when_the_supervisor_dies,
        tshark_reads_our_packets,
        a_test_of_the_file_shows_every_mistake,
        it_goes_into_the_background,
        junk_does_not_silence_a_master,
        a_refused_start_in_the_background_is_the_caller_s_to_see,
        nothing_that_others_do_ends_it,
        debian_s_unit_runs_it_unchanged,
        cleanup_withdraws_what_a_dead_daemon_left,
        the_next_daemon_removes_what_a_killed_one_left,
        a_refused_start_removes_what_a_killed_daemon_left,
        an_interface_without_ipv6_keeps_nobody_else_from_starting,
    ]
}
