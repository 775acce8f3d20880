//! Two routers, a client and a bridge: the laboratory of the whole-daemon tests.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlab::harness::Stop;
use netlab::{Bridge, Host, Lab, Lateness, Pinger, Process, Program, peers};

/// How long a step may take before it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What scheduling, netlink and the client's own period may add to a timer.
pub(crate) const SLACK: Duration = Duration::from_millis(250);

/// Whose daemon a router runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemon {
    /// keepalived-rs.
    Ours,
    /// Debian's keepalived.
    C,
}

impl Daemon {
    /// This daemon on `config`, in the foreground with a detailed log.
    pub(crate) fn program(self, config: &str) -> Result<Program, Stop> {
        Ok(self.quiet_program(config)?.arg("-D"))
    }

    /// The same without details.
    pub(crate) fn quiet_program(self, config: &str) -> Result<Program, Stop> {
        let program = match self {
            Self::Ours => Program::new(env!("CARGO_BIN_EXE_keepalived-rs")),
            Self::C => peers::keepalived()?.program(),
        };
        Ok(program.args(["-nlG", "--vrrp", "-f", "/run/keepalived.conf"]).file("/run/keepalived.conf", config))
    }
}

/// What both routers have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    /// 2 or 3.
    pub(crate) version: u8,
    /// The advertisement interval.
    pub(crate) interval: Duration,
    /// IPv6 instead of IPv4.
    pub(crate) ipv6: bool,
}

impl Protocol {
    /// The first virtual address.
    pub(crate) fn vip(self) -> IpAddr {
        if self.ipv6 { "2001:db8::100" } else { "198.18.0.100" }.parse().expect("an address")
    }

    /// The address of a host with a number.
    pub(crate) fn address(self, number: u8) -> String {
        if self.ipv6 { format!("2001:db8::{number}/64") } else { format!("198.18.0.{number}/24") }
    }

    /// A configuration of one instance with three addresses; `extra` lines go into the instance.
    pub(crate) fn config(self, priority: u8, extra: &str) -> String {
        let state = if priority > 100 { "MASTER" } else { "BACKUP" };
        let addresses = if self.ipv6 {
            "fe80::100/64 2001:db8::100/64 2001:db8::101/64"
        } else {
            "198.18.0.100/24 198.18.0.101/24 198.18.0.102/24"
        };
        let addresses = addresses.replace(' ', "\n        ");
        let authentication = if self.version == 2 && !extra.contains("auth_") {
            "authentication { auth_type PASS\n auth_pass 1111\n }"
        } else {
            ""
        };
        // nopreempt does not go with `state MASTER`.
        let state = if extra.contains("nopreempt") { "BACKUP" } else { state };
        format!(
            "global_defs {{\n    router_id test\n    vrrp_skip_check_adv_addr\n}}\n\
             vrrp_instance VI_1 {{\n    state {state}\n    interface eth0\n    virtual_router_id 51\n    \
             priority {priority}\n    version {}\n    advert_int {}\n    {extra}\n    {authentication}\n    \
             virtual_ipaddress {{\n        {addresses}\n    }}\n}}\n",
            self.version,
            self.interval.as_secs_f64(),
        )
    }

    /// Skew_Time of a router with this priority (RFC 9568 §6.1; RFC 3768 §6.1 for version 2).
    pub(crate) fn skew(self, priority: u8) -> Duration {
        let base = if self.version == 2 { Duration::from_secs(1) } else { self.interval };
        base * (256 - u32::from(priority)) / 256
    }

    /// Active_Down_Interval of a router with this priority.
    pub(crate) fn active_down(self, priority: u8) -> Duration {
        self.interval * 3 + self.skew(priority)
    }
}

/// A router and what runs there.
pub(crate) struct Router {
    pub(crate) host: Host,
    pub(crate) daemon: Daemon,
    pub(crate) priority: u8,
    pub(crate) process: Option<Process>,
}

impl Router {
    /// Starts its daemon.
    pub(crate) fn start(&mut self, protocol: Protocol, extra: &str) -> Result<(), Stop> {
        let program = self.daemon.program(&protocol.config(self.priority, extra))?;
        self.process = Some(self.host.spawn(program)?);
        Ok(())
    }

    /// Its running daemon.
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("the daemon was started")
    }

    /// The pid of its newest VRRP process, as its log names it.
    pub(crate) fn worker(&self) -> nix::unistd::Pid {
        const WORDS: &str = "Starting VRRP child process, pid=";
        let lines = self.process().lines();
        let newest = lines.iter().rev().find_map(|line| line.text.split_once(WORDS));
        let (_, pid) = newest.expect("a daemon that runs has started its worker");
        nix::unistd::Pid::from_raw(pid.trim().parse().expect("a pid"))
    }
}

/// What is to be said of `what`, if it took longer than `bound` and a little, with what the machine itself stood still.
pub(crate) fn late(took: Duration, bound: Duration, control: &Lateness, what: &str) -> Option<String> {
    let control = control.longest();
    let is_late = took > bound + SLACK + control;
    is_late.then(|| format!("{what}: {took:?}, the bound is {bound:?}, a bare timer {control:?} late"))
}

/// The laboratory: r1 is the better router.
pub(crate) struct Pair {
    pub(crate) lab: Lab,
    _lan: Bridge,
    pub(crate) client: Host,
    pub(crate) r1: Router,
    pub(crate) r2: Router,
    pub(crate) protocol: Protocol,
    lateness: Lateness,
}

impl Pair {
    /// Both hosts and a client around a bridge; nothing runs yet.
    pub(crate) fn new(protocol: Protocol, first: Daemon, second: Daemon) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = |name: &str, number: u8| -> Result<Host, Stop> {
            let host = lab.host(name)?;
            lab.connect(&host, "eth0", &lan)?;
            host.address("eth0", &protocol.address(number))?;
            Ok(host)
        };
        let router = |name, number, daemon, priority| -> Result<Router, Stop> {
            Ok(Router { host: host(name, number)?, daemon, priority, process: None })
        };
        let r1 = router("r1", 1, first, 150)?;
        let r2 = router("r2", 2, second, 90)?;
        let client = host("client", 9)?;
        Ok(Self { lab, _lan: lan, client, r1, r2, protocol, lateness: Lateness::measure()? })
    }

    /// Waits until only `name` has the virtual address.
    pub(crate) fn wait_for_holder(&self, name: &str) -> Result<(), Stop> {
        let waited = self.lab.wait_for_holders(self.protocol.vip(), &[name], PATIENCE);
        waited.map_err(|error| Stop::failed(format!("{error}\n{}", self.logs())))
    }

    /// A client's ping that has had its first answer.
    pub(crate) fn ping(&self) -> Result<Pinger, Stop> {
        let pinger = self.client.ping(self.protocol.vip(), Duration::from_millis(2))?;
        self.answered(&pinger)?;
        Ok(pinger)
    }

    /// Waits for an answer to a request that is sent from now on.
    pub(crate) fn answered(&self, pinger: &Pinger) -> Result<(), Stop> {
        pinger.wait_for_answer(PATIENCE).map_err(|error| Stop::failed(format!("{error}\n{}", self.logs())))?;
        Ok(())
    }

    /// Fails if the client lost more than `bound` and a little.
    pub(crate) fn lost_at_most(&self, pinger: &Pinger, bound: Duration, what: &str) -> Result<(), Stop> {
        self.answered(pinger)?;
        let lost = pinger.longest_gap().map_or(Duration::ZERO, |gap| gap.duration());
        self.took_at_most(lost, bound, &format!("{what}, what the client lost"))
    }

    /// Fails if it took longer than `bound` and a little, with what the machine itself stood still.
    pub(crate) fn took_at_most(&self, took: Duration, bound: Duration, what: &str) -> Result<(), Stop> {
        let late = late(took, bound, &self.lateness, what);
        late.map_or(Ok(()), |late| Err(Stop::failed(format!("{late}\n{}", self.logs()))))
    }

    /// Everything both daemons said.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for router in [&self.r1, &self.r2] {
            text += &format!("--- {} ({:?})\n", router.host.name(), router.daemon);
            for line in router.process.iter().flat_map(Process::lines) {
                text += &format!("{}\n", line.text);
            }
        }
        text
    }
}

/// Waits for a condition.
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> Result<bool, Stop>) -> Result<(), Stop> {
    wait_until_within(PATIENCE, what, condition)
}

/// Waits for a condition as long as `patience`.
pub(crate) fn wait_until_within(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<bool, Stop>,
) -> Result<(), Stop> {
    let deadline = Instant::now() + patience;
    while !condition()? {
        if Instant::now() > deadline {
            return Err(Stop::failed(format!("waited {patience:?} for {what}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
