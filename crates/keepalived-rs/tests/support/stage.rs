//! Two routers on one link or two, a client that pings each virtual address, and those who watch what a fault must not do.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use netlab::harness::{CaseResult, Stop};
use netlab::{Bridge, Capture, Frame, Host, Lab, Lateness, Pinger, Process, Program, peers};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vip_netlink::{Event, Monitor};

use super::support::{Daemon, PATIENCE, Protocol, late, wait_until};

/// IP protocol numbers.
const VRRP: u8 = 112;
const AH: u8 = 51;

/// The length of an authentication header.
const AH_LENGTH: usize = 24;

/// What both routers run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// 2 or 3.
    pub(crate) version: u8,
    /// The advertisement interval.
    pub(crate) interval: Duration,
    /// Lines of each instance.
    pub(crate) lines: &'static str,
    /// Links with an instance each; several are a sync group.
    pub(crate) links: u8,
}

/// VRRPv3 every 0.1 s.
pub(crate) const PLAIN: Kind = Kind { version: 3, interval: Duration::from_millis(100), lines: "", links: 1 };

impl Kind {
    fn protocol(self) -> Protocol {
        Protocol { version: self.version, interval: self.interval, ipv6: false }
    }

    /// The virtual address of each link.
    pub(crate) fn vips(self) -> impl Iterator<Item = IpAddr> {
        (0..self.links).map(|link| IpAddr::from([198, 18, link, 100]))
    }

    /// Both routers track a script, so that there is a process for scripts; `extra` lines go into each instance.
    pub(crate) fn config(self, priority: u8, extra: &str) -> String {
        let mut text = "global_defs {\n router_id test\n vrrp_skip_check_adv_addr\n}\n\
                        vrrp_script alive {\n script /bin/true\n interval 1\n}\n"
            .to_owned();
        for link in 0..self.links {
            let vrid = 51 + link;
            let _ = write!(
                text,
                "vrrp_instance VI_{link} {{\n state BACKUP\n interface eth{link}\n virtual_router_id {vrid}\n \
                 priority {priority}\n version {}\n advert_int {}\n garp_master_delay 0\n {}\n {extra}\n \
                 track_script {{\n alive\n }}\n virtual_ipaddress {{\n 198.18.{link}.100/24\n }}\n}}\n",
                self.version,
                self.interval.as_secs_f64(),
                self.lines,
            );
        }
        if self.links > 1 {
            let members: String = (0..self.links).map(|link| format!(" VI_{link}\n")).collect();
            let _ = write!(text, "vrrp_sync_group G {{\n group {{\n{members} }}\n}}\n");
        }
        text
    }

    /// Skew_Time of a router with this priority (RFC 9568 §6.1; RFC 3768 §6.1 for version 2).
    pub(crate) fn skew(self, priority: u8) -> Duration {
        self.protocol().skew(priority)
    }

    /// Active_Down_Interval of a router with this priority.
    pub(crate) fn active_down(self, priority: u8) -> Duration {
        self.protocol().active_down(priority)
    }
}

/// A router and what runs there.
pub(crate) struct Router {
    pub(crate) host: Host,
    pub(crate) daemon: Daemon,
    pub(crate) priority: u8,
    folder: tempfile::TempDir,
    process: Option<Process>,
}

impl Router {
    /// A file of its own that outlives its daemon.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes its configuration.
    pub(crate) fn write(&self, text: &str) -> CaseResult {
        Ok(std::fs::write(self.path("keepalived.conf"), text)?)
    }

    /// Starts its daemon on `text`; the pid file outlives it.
    pub(crate) fn start(&mut self, text: &str) -> CaseResult {
        let program = self.daemon.program("")?;
        self.start_program(program, text)
    }

    /// The same with a program that is made otherwise.
    pub(crate) fn start_program(&mut self, program: Program, text: &str) -> CaseResult {
        self.write(text)?;
        let program = program.arg("-f").arg(self.path("keepalived.conf")).arg("-p").arg(self.path("daemon.pid"));
        self.process = Some(self.host.spawn(program)?);
        Ok(())
    }

    /// Its running daemon.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("the daemon was started")
    }

    /// The pid of its newest process of this name (`VRRP`, `Runner`), as its log says it.
    pub(crate) fn pid(&self, name: &str) -> Result<Pid, Stop> {
        let words = format!("Starting {name} child process, pid=");
        let lines = self.process().lines();
        let newest = lines.iter().rev().find_map(|line| line.text.split_once(&words));
        let (_, pid) = newest.ok_or_else(|| Stop::failed(format!("no {name} process was started")))?;
        Ok(Pid::from_raw(pid.trim().parse()?))
    }

    /// Kills that process with SIGKILL and waits for the next one.
    pub(crate) fn replace(&self, name: &str) -> CaseResult {
        let (dead, mark) = (self.pid(name)?, self.process().mark());
        kill(dead, Signal::SIGKILL)?;
        self.process().wait_for_line_after(mark, &format!("Starting {name} child process"), PATIENCE)?;
        Ok(())
    }

    /// Asks for a reload and waits for its end.
    pub(crate) fn reload(&self) -> CaseResult {
        let mark = self.process().mark();
        self.process().signal(Signal::SIGHUP)?;
        self.process().wait_for_line_after(mark, "Reload complete", PATIENCE)?;
        Ok(())
    }

    /// How many of its lines contain `text`.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.process().lines().iter().filter(|line| line.text.contains(text)).count()
    }

    /// All that a daemon might leave: addresses, links, routes, rules, and the packet filter.
    pub(crate) fn kernel_state(&self) -> Result<Vec<String>, Stop> {
        let mut state = Vec::new();
        for arguments in ["-o addr", "-o link", "route show table all", "-6 route show table all", "rule", "-6 rule"] {
            state.extend(lines_of(&self.host, Command::new("ip").args(arguments.split(' ')))?);
        }
        state.extend(lines_of(&self.host, peers::nft()?.command().args(["list", "ruleset"]))?);
        Ok(state)
    }
}

/// A copy of a program that can be executed at once: a process that is forked here while a file is written would still have
/// it open for writing.
pub(crate) fn copy_program(program: &Path, copy: &Path) -> CaseResult {
    let done = Command::new("cp").args([program, copy]).status()?;
    if done.success() { Ok(()) } else { Err(Stop::failed(format!("copying {}: {done}", program.display()))) }
}

/// As package managers do: another file takes the place of it.
pub(crate) fn overwrite(path: &Path) -> CaseResult {
    let new = path.with_extension("new");
    std::fs::write(&new, "#!/bin/sh\nexit 1\n")?;
    std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(std::fs::rename(new, path)?)
}

/// What a program says that goes well.
fn lines_of(host: &Host, command: &mut Command) -> Result<Vec<String>, Stop> {
    let output = host.run(|| command.output())?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout).lines().map(str::to_owned).collect())
    } else {
        Err(Stop::failed(format!("{command:?}: {}", text(&output.stderr))))
    }
}

/// The laboratory: r1 is the better router.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) lans: Vec<Bridge>,
    pub(crate) client: Host,
    pub(crate) r1: Router,
    pub(crate) r2: Router,
    pub(crate) kind: Kind,
    lateness: Lateness,
}

impl Stage {
    /// The hosts around their bridges; nothing runs yet.
    pub(crate) fn new(kind: Kind, first: Daemon, second: Daemon) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lans: Vec<_> = (0..kind.links).map(|link| lab.bridge(&format!("br{link}"))).collect::<Result<_, _>>()?;
        let host = |name: &str, number: u8| -> Result<Host, Stop> {
            let host = lab.host(name)?;
            for (link, lan) in lans.iter().enumerate() {
                lab.connect(&host, &format!("eth{link}"), lan)?;
                host.address(&format!("eth{link}"), &format!("198.18.{link}.{number}/24"))?;
            }
            Ok(host)
        };
        let router = |name, number, daemon, priority| -> Result<Router, Stop> {
            Ok(Router { host: host(name, number)?, daemon, priority, folder: tempfile::tempdir()?, process: None })
        };
        let (r1, r2) = (router("r1", 1, first, 150)?, router("r2", 2, second, 90)?);
        let client = host("client", 9)?;
        Ok(Self { lab, lans, client, r1, r2, kind, lateness: Lateness::measure()? })
    }

    /// Both run, and r1 holds every address.
    pub(crate) fn started(kind: Kind, first: Daemon, second: Daemon) -> Result<Self, Stop> {
        let mut stage = Self::new(kind, first, second)?;
        stage.r1.start(&kind.config(150, ""))?;
        stage.wait_for_holder("r1")?;
        stage.r2.start(&kind.config(90, ""))?;
        stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
        Ok(stage)
    }

    /// Waits until only `name` has the addresses.
    pub(crate) fn wait_for_holder(&self, name: &str) -> CaseResult {
        for vip in self.kind.vips() {
            let waited = self.lab.wait_for_holders(vip, &[name], PATIENCE);
            waited.map_err(|error| self.fail(&error.to_string()))?;
        }
        Ok(())
    }

    /// Waits for a line of a router's daemon.
    pub(crate) fn wait_for_line(&self, router: &Router, text: &str) -> CaseResult {
        let waited = router.process().wait_for_line(text, PATIENCE);
        waited.map(drop).map_err(|error| self.fail(&error.to_string()))
    }

    /// Waits for a condition.
    pub(crate) fn wait_until(&self, what: &str, condition: impl FnMut() -> Result<bool, Stop>) -> CaseResult {
        wait_until(what, condition).map_err(|_| self.fail(&format!("waited for {what}")))
    }

    /// Waits for a time in which something must not happen.
    pub(crate) fn pass(&self, time: Duration) -> CaseResult {
        let over = Instant::now() + time;
        wait_until("time to pass", || Ok(Instant::now() > over))
    }

    /// A client's pings of all addresses, each of which has had its first answer.
    pub(crate) fn ping(&self) -> Result<Vec<Pinger>, Stop> {
        let pingers: Vec<_> =
            self.kind.vips().map(|vip| self.client.ping(vip, Duration::from_millis(2))).collect::<Result<_, _>>()?;
        self.answered(&pingers)?;
        Ok(pingers)
    }

    fn answered(&self, pingers: &[Pinger]) -> CaseResult {
        for pinger in pingers {
            pinger.wait_for_answer(PATIENCE).map_err(|error| self.fail(&error.to_string()))?;
        }
        Ok(())
    }

    /// Fails if a client lost more than `bound` and a little.
    pub(crate) fn lost_at_most(&self, pingers: &[Pinger], bound: Duration, what: &str) -> CaseResult {
        self.answered(pingers)?;
        let lost = pingers.iter().filter_map(|pinger| Some(pinger.longest_gap()?.duration())).max().unwrap_or_default();
        self.took_at_most(lost, bound, &format!("{what}, what the client lost"))
    }

    /// Fails if it took longer than `bound` and a little, with what the machine itself stood still.
    pub(crate) fn took_at_most(&self, took: Duration, bound: Duration, what: &str) -> CaseResult {
        late(took, bound, &self.lateness, what).map_or(Ok(()), |late| Err(self.fail(&late)))
    }

    /// r2 took over; what r1 said after that it said as Backup Router that takes over in its turn: not before it had given up
    /// the addresses, unless to resign.
    pub(crate) fn spoke_only_after_giving_up(&self, wire: &Capture, since: Instant) -> CaseResult {
        let heard: Vec<_> = adverts(wire).into_iter().filter(|(at, _)| *at > since).collect();
        let taken_over = heard.iter().find(|(_, advert)| advert.is_from(2));
        let Some((taken_over, _)) = taken_over else { return Err(self.fail("the peer did not take over")) };
        let given_up = || {
            let lines = self.r1.process().lines();
            lines
                .iter()
                .find(|line| line.at > since && line.text.contains("(VI_0) Entering BACKUP STATE"))
                .map(|line| line.at)
        };
        // The kernel has the change sooner than the log.
        self.wait_until("r1 to give up", || Ok(given_up().is_some()))?;
        let given_up = given_up().ok_or_else(|| self.fail("r1 did not give up"))?;
        // Lines are read a little after they are written; an election takes much longer.
        let early = heard.iter().find(|(at, advert)| {
            advert.is_from(1) && advert.priority > 0 && at > taken_over && *at < given_up + self.kind.interval
        });
        match early {
            Some((at, advert)) => Err(self.fail(&format!("{advert:?} {:?} after it was stopped", *at - since))),
            None => Ok(()),
        }
    }

    /// A failure, with everything that both daemons said, and how many seconds ago.
    pub(crate) fn fail(&self, why: &str) -> Stop {
        let (mut text, now) = (format!("{why}\n"), Instant::now());
        for router in [&self.r1, &self.r2] {
            let _ = writeln!(text, "--- {} ({:?})", router.host.name(), router.daemon);
            for line in router.process.iter().flat_map(Process::lines) {
                let _ = writeln!(text, "{:8.3} {}", (now - line.at).as_secs_f64(), line.text);
            }
        }
        Stop::failed(text)
    }

    pub(crate) fn ensure(&self, holds: bool, why: &str) -> CaseResult {
        if holds { Ok(()) } else { Err(self.fail(why)) }
    }
}

/// What a frame says as an advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advert {
    /// Who sent it.
    pub(crate) source: IpAddr,
    /// 0 resigns.
    pub(crate) priority: u8,
}

impl Advert {
    /// Reads it, with an authentication header or without.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        let packet = frame.ip()?;
        let octets = match packet.protocol {
            VRRP => packet.payload,
            AH => packet.payload.get(AH_LENGTH..)?,
            _ => return None,
        };
        Some(Self { source: packet.source, priority: *octets.get(2)? })
    }

    /// Whether it comes from the router of this number.
    pub(crate) fn is_from(&self, number: u8) -> bool {
        matches!(self.source, IpAddr::V4(ip) if ip.octets()[3] == number)
    }
}

/// The adverts that a capture has, with their times.
pub(crate) fn adverts(wire: &Capture) -> Vec<(Instant, Advert)> {
    wire.frames().iter().filter_map(|frame| Some((frame.at, Advert::of(frame)?))).collect()
}

/// Watches clients, addresses, adverts and logs while something happens that nobody may notice.
pub(crate) struct Watch<'a> {
    stage: &'a Stage,
    pub(crate) pingers: Vec<Pinger>,
    pub(crate) wires: Vec<Capture>,
    monitors: Vec<(&'a str, Monitor)>,
    lines: [usize; 2],
}

impl<'a> Watch<'a> {
    /// From now on.
    pub(crate) fn begin(stage: &'a Stage) -> Result<Self, Stop> {
        let wires = stage.lans.iter().map(Bridge::capture).collect::<Result<_, _>>()?;
        let mut monitors = Vec::new();
        for router in [&stage.r1, &stage.r2] {
            monitors.push((router.host.name(), router.host.run(Monitor::open)?));
        }
        let lines = [&stage.r1, &stage.r2].map(|router| router.process().lines().len());
        Ok(Self { stage, pingers: stage.ping()?, wires, monitors, lines })
    }

    /// Waits until r2 would have taken over from an r1 that was silent from now on, and r1 still speaks. Then nothing may
    /// have happened: no ping is lost, no virtual address came or went, only r1 spoke, nobody changed its state.
    pub(crate) fn expect_nothing(&mut self) -> CaseResult {
        let stage = self.stage;
        let over = Instant::now() + stage.kind.active_down(stage.r2.priority) + stage.kind.interval;
        stage.wait_until("adverts after the peer's patience", || {
            let speaks = |wire| adverts(wire).iter().any(|(at, advert)| *at > over && advert.is_from(1));
            Ok(self.wires.iter().all(speaks))
        })?;
        stage.answered(&self.pingers)?;
        if let Some(gap) = self.pingers.iter().find_map(Pinger::longest_gap) {
            return Err(stage.fail(&format!("the client lost {} pings in {:?}", gap.lost, gap.duration())));
        }
        let other = |(_, advert): &(Instant, Advert)| !advert.is_from(1) || advert.priority != stage.r1.priority;
        if let Some((_, advert)) = self.wires.iter().flat_map(adverts).find(other) {
            return Err(stage.fail(&format!("it was noticed: {advert:?}")));
        }
        self.no_address_moved()?;
        self.nobody_changed()
    }

    fn no_address_moved(&mut self) -> CaseResult {
        for (host, monitor) in &mut self.monitors {
            while let Some(event) = monitor.poll_event()? {
                let moved = match &event {
                    Event::Address(address) | Event::AddressRemoved(address) => {
                        self.stage.kind.vips().any(|vip| vip == address.ip)
                    }
                    Event::LinkRemoved(_) | Event::Overflow => true,
                    _ => false,
                };
                self.stage.ensure(!moved, &format!("{host}: {event:?}"))?;
            }
        }
        Ok(())
    }

    /// A new worker of a Backup Router says that it is one.
    fn nobody_changed(&self) -> CaseResult {
        let states: [&[&str]; 2] = [&["MASTER", "BACKUP", "FAULT"], &["MASTER", "FAULT"]];
        for ((router, seen), states) in [&self.stage.r1, &self.stage.r2].into_iter().zip(self.lines).zip(states) {
            let lines = router.process().lines();
            let changes = |text: &str| states.iter().any(|state| text.contains(&format!("Entering {state} STATE")));
            if let Some(line) = lines.iter().skip(seen).find(|line| changes(&line.text)) {
                return Err(self.stage.fail(&format!("{}: {}", router.host.name(), line.text)));
            }
        }
        Ok(())
    }
}
