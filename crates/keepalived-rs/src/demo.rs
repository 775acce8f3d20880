//! `keepalived-rs demo`: two real daemons, a bridge and a client in namespaces of their own, and what the client loses
//! when a router dies. Needs neither root nor packages; nothing of it is left however it ends.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use conf_parser::MemoryLoader;
use netlab::{Bridge, Host, Lab, Pinger, Process, Program, Source};
use nix::sys::signal::Signal;

use crate::config::vrrp::VrrpPart;

/// Exit status where the kernel or a container refuses namespaces.
const EXIT_REFUSED: u8 = 3;

/// The address that the client pings.
const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 100));

/// How often the client pings.
const PERIOD: Duration = Duration::from_millis(2);

/// How long any step may take before the demonstration has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG_A: &str = include_str!("../../../examples/keepalived-a.conf");
const CONFIG_B: &str = include_str!("../../../examples/keepalived-b.conf");

const HELP: &str = "\
Usage: keepalived-rs demo

Two routers and a client on a bridge, in namespaces of their own. Two keepalived-rs daemons share an address by
examples/keepalived-a.conf and examples/keepalived-b.conf. The demonstration kills a worker, then stops, freezes, kills and cuts
off the active router, and shows what the client lost each time. It takes about half a minute and needs no root.

Exit status: 0 when the address was always taken over within the protocol's bound, 1 when not, 3 where namespaces are refused.
";

/// Runs the demonstration; returns the exit status.
pub(crate) fn run(arguments: &[std::ffi::OsString]) -> u8 {
    if !arguments.is_empty() {
        let help = arguments.iter().all(|word| word == "--help" || word == "-h");
        if help {
            print!("{HELP}");
        } else {
            eprint!("{HELP}");
        }
        return u8::from(!help);
    }
    if let Err(refused) = netlab::enter() {
        eprintln!("The demonstration cannot run here: {refused}");
        eprintln!("{}", refused.hint());
        return EXIT_REFUSED;
    }
    match play() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("The demonstration failed: {error:#}");
            1
        }
    }
}

fn play() -> anyhow::Result<()> {
    let mut stage = Stage::new()?;
    println!("Two routers, r1 (priority 100) and r2 (priority 50), and a client share a bridge.");
    println!("The client pings {VIP} every {} ms.\n", PERIOD.as_millis());
    stage.start_both()?;
    stage.kill_the_worker()?;
    stage.stop_cleanly()?;
    stage.the_better_router_returns()?;
    stage.die()?;
    println!("\nDone: every take-over was within the protocol's bound, and nothing is left on this machine.");
    Ok(())
}

/// One router: its host and the daemon that runs there.
struct Router {
    host: Host,
    config: &'static str,
    daemon: Option<Process>,
    /// Lines of the daemon that were shown.
    shown: usize,
}

struct Stage {
    lab: Lab,
    _lan: Bridge,
    client: Host,
    routers: [Router; 2],
    start: Instant,
}

impl Stage {
    fn new() -> anyhow::Result<Self> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = |name: &str, address: &str| -> anyhow::Result<Host> {
            let host = lab.host(name)?;
            lab.connect(&host, "eth0", &lan)?;
            host.address("eth0", address)?;
            Ok(host)
        };
        let router = |name, address, config| -> anyhow::Result<Router> {
            Ok(Router { host: host(name, address)?, config, daemon: None, shown: 0 })
        };
        let routers = [router("r1", "198.18.0.1/24", CONFIG_A)?, router("r2", "198.18.0.2/24", CONFIG_B)?];
        let client = host("client", "198.18.0.9/24")?;
        Ok(Self { lab, _lan: lan, client, routers, start: Instant::now() })
    }

    fn start_both(&mut self) -> anyhow::Result<()> {
        self.title("Both start; the better one becomes MASTER");
        let [r1, r2] = &mut self.routers;
        r1.start()?;
        r2.start()?;
        self.wait_for_holder("r1")?;
        self.client.ping(VIP, PERIOD)?.wait_for_answer(PATIENCE)?;
        self.say("the client's ping is answered");
        Ok(())
    }

    fn kill_the_worker(&mut self) -> anyhow::Result<()> {
        self.title("The VRRP process of r1 is killed (SIGKILL)");
        let pinger = self.ping()?;
        let [r1, _] = &self.routers;
        let pid = r1.worker_pid()?;
        nix::sys::signal::kill(pid, Signal::SIGKILL).context("killing the worker")?;
        r1.daemon()?.wait_for_line("died: Respawning", PATIENCE)?;
        // Longer than r2 waits before it takes over.
        self.watch_for(self.bound()? + Duration::from_millis(500))?;
        self.wait_for_holder("r1")?;
        self.judge(&pinger, Duration::ZERO, "a restarted worker goes on as MASTER")
    }

    fn stop_cleanly(&mut self) -> anyhow::Result<()> {
        self.title("r1 is stopped (SIGTERM)");
        let pinger = self.ping()?;
        let [r1, _] = &self.routers;
        r1.daemon()?.signal(Signal::SIGTERM)?;
        self.wait_for_holder("r2")?;
        self.judge(&pinger, self.skew()?, "priority 0 lets r2 take over in Skew_Time")?;
        let [r1, _] = &mut self.routers;
        r1.daemon()?.wait_for_exit(PATIENCE)?;
        r1.daemon = None;
        Ok(())
    }

    fn the_better_router_returns(&mut self) -> anyhow::Result<()> {
        self.title("r1 comes back");
        let pinger = self.ping()?;
        let [r1, _] = &mut self.routers;
        r1.start()?;
        self.wait_for_holder("r1")?;
        self.judge(&pinger, Duration::ZERO, "r2 gives way only when r1 has spoken")
    }

    fn die(&mut self) -> anyhow::Result<()> {
        self.title("Every process of r1 is frozen and killed, and its link cut");
        let pinger = self.ping()?;
        let [r1, _] = &self.routers;
        r1.daemon()?.kill_all()?;
        r1.host.cut("eth0")?;
        self.say("r1 is dead");
        let deadline = Instant::now() + PATIENCE;
        while !self.routers[1].host.holds(VIP)? {
            self.show_news();
            anyhow::ensure!(Instant::now() < deadline, "r2 did not take over");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.judge(&pinger, self.bound()?, "r2 hears nothing for Active_Down_Interval")
    }

    /// A pinger that has had its first answer: what follows is loss.
    fn ping(&self) -> anyhow::Result<Pinger> {
        let pinger = self.client.ping(VIP, PERIOD)?;
        pinger.wait_for_answer(PATIENCE)?;
        Ok(pinger)
    }

    /// Compares what the client lost with the protocol's bound.
    fn judge(&mut self, pinger: &Pinger, bound: Duration, why: &str) -> anyhow::Result<()> {
        // Scheduling, the client's own period and the announcement come on top of any timer.
        const SLACK: Duration = Duration::from_millis(200);
        pinger.wait_for_answer(PATIENCE)?;
        self.show_news();
        let lost = pinger.longest_gap().map_or(Duration::ZERO, |gap| gap.duration());
        self.say(&format!(
            "the client lost {} ms; the timer's own bound is {} ms ({why})",
            lost.as_millis(),
            bound.as_millis()
        ));
        anyhow::ensure!(lost <= bound + SLACK, "{} ms is more than {} ms", lost.as_millis(), bound.as_millis());
        Ok(())
    }

    /// Active_Down_Interval of r2, the router that waits.
    fn bound(&self) -> anyhow::Result<Duration> {
        let [_, r2] = &self.routers;
        let config = r2.vrrp_config()?;
        Ok(config.active_down_interval(config.advertisement_interval, config.priority))
    }

    /// Skew_Time of r2.
    fn skew(&self) -> anyhow::Result<Duration> {
        let [_, r2] = &self.routers;
        let config = r2.vrrp_config()?;
        Ok(config.advertisement_interval.skew_time(config.priority))
    }

    fn wait_for_holder(&mut self, name: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.lab.holders(VIP)? != [name] {
            self.show_news();
            anyhow::ensure!(Instant::now() < deadline, "{VIP} did not come to {name}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.show_news();
        self.say(&format!("{VIP} is on {name}"));
        Ok(())
    }

    /// Shows what happens until `time` is over.
    fn watch_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.show_news();
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Prints the daemons' lines about states and processes that were not printed yet.
    fn show_news(&mut self) {
        const INTERESTING: [&str; 5] = ["STATE", "Stopping", "Respawning", "Startup complete", "higher priority"];
        for router in &mut self.routers {
            let Some(daemon) = &router.daemon else { continue };
            let lines = daemon.lines();
            for line in lines.iter().skip(router.shown).filter(|line| line.source == Source::Output) {
                if INTERESTING.iter().any(|word| line.text.contains(word)) {
                    // Behind the date that every line starts with.
                    let text = line.text.split_once(": ").map_or(line.text.as_str(), |(_, text)| text);
                    print_line(line.at.saturating_duration_since(self.start), router.host.name(), text);
                }
            }
            router.shown = lines.len();
        }
    }

    fn title(&self, text: &str) {
        println!("\n== {text}");
    }

    fn say(&self, text: &str) {
        print_line(self.start.elapsed(), "", text);
    }
}

fn print_line(at: Duration, who: &str, text: &str) {
    println!("{:>8.3} s  {who:<4}{text}", at.as_secs_f64());
}

impl Router {
    fn start(&mut self) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("finding this program")?;
        let program = Program::new(program)
            .args(["-nlD", "--vrrp", "-f", "/run/keepalived.conf"])
            .file("/run/keepalived.conf", self.config);
        self.daemon = Some(self.host.spawn(program)?);
        self.shown = 0;
        Ok(())
    }

    fn daemon(&self) -> anyhow::Result<&Process> {
        self.daemon.as_ref().with_context(|| format!("{} is not running", self.host.name()))
    }

    /// The VRRP worker, as the daemon's log names it.
    fn worker_pid(&self) -> anyhow::Result<nix::unistd::Pid> {
        const WORDS: &str = "Starting VRRP child process, pid=";
        let line = self.daemon()?.wait_for_line(WORDS, PATIENCE)?;
        let (_, pid) = line.text.split_once(WORDS).context("a line without its words")?;
        Ok(nix::unistd::Pid::from_raw(pid.trim().parse()?))
    }

    fn vrrp_config(&self) -> anyhow::Result<vrrp_proto::RouterConfig> {
        let loader = MemoryLoader::new([("k.conf", self.config)]);
        let parsed = conf_parser::parse(&loader, Path::new("k.conf"), &conf_parser::Options::default());
        let part = VrrpPart::from_config(&parsed.config);
        let instance = part.instances.first().context("the example has no instance")?;
        Ok(instance.router_config(|_, _| vrrp_proto::LinkId(0)))
    }
}
