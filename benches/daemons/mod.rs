//! What the measurements share: both daemons, two routers on bridges with a listener, and the table that they print.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::{Bridge, Capture, Host, Lab, Process, Program, peers};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(crate) const ACTIVE_PRIORITY: u8 = 200;
pub(crate) const BACKUP_PRIORITY: u8 = 100;
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One virtual router, and those that are started and taken over all at once.
pub(crate) const ONE: Size = Size { links: 1, routers: 1, interval: Duration::from_millis(100), real_time: None };
pub(crate) const THOUSAND: Size = Size { links: 4, routers: 250, interval: Duration::from_secs(1), real_time: None };

/// What can be measured by itself, with its name.
pub(crate) type Part = (&'static str, fn(&[Daemon]) -> Result<()>);

/// Measures in namespaces of its own, with what there is to compare.
pub(crate) fn main(parts: &[Part]) -> ExitCode {
    if std::env::args().any(|word| word == "--test" || word == "--list") {
        return ExitCode::SUCCESS;
    }
    match prepare().and_then(|daemons| measure(parts, &daemons)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table of all `parts`, or of those that words on the command line name.
fn measure(parts: &[Part], daemons: &[Daemon]) -> Result<()> {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let Some(unknown) = words.iter().find(|word| parts.iter().all(|(part, _)| part != word)) {
        let known: Vec<_> = parts.iter().map(|(part, _)| *part).collect();
        return Err(format!("there is no part \"{unknown}\": {}", known.join(", ")).into());
    }
    head();
    let mut chosen = parts.iter().filter(|(part, _)| words.is_empty() || words.iter().any(|word| word == part));
    chosen.try_for_each(|(_, measure)| measure(daemons))
}

/// Goes on in namespaces of its own, beside a daemon that is built.
pub(crate) fn enter() -> Result<()> {
    // The copy inside the namespaces finds it built.
    if std::env::var_os("KEEPALIVED_RS_BUILT").is_none() {
        let built =
            Command::new(env!("CARGO")).args(["build", "--release", "--quiet", "-p", "keepalived-rs"]).status()?;
        if !built.success() {
            return Err("keepalived-rs does not build".into());
        }
    }
    netlab::enter().map_err(|refused| format!("{refused}; {}", refused.hint()))?;
    Ok(())
}

fn prepare() -> Result<Vec<Daemon>> {
    enter()?;
    Ok(match peers::keepalived() {
        Ok(_) => vec![Daemon::Ours, Daemon::C],
        Err(skip) => {
            println!("without C keepalived: {skip}");
            vec![Daemon::Ours]
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Daemon {
    Ours,
    C,
}

/// Where its log goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Nowhere,
    /// Here, so that it can be read.
    Console,
}

/// How much a daemon has to do.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) links: u8,
    /// On each link.
    pub(crate) routers: u8,
    pub(crate) interval: Duration,
    /// `vrrp_rt_priority`.
    pub(crate) real_time: Option<u8>,
}

impl Size {
    /// The links, and the VRIDs on each.
    pub(crate) fn all(self) -> impl Iterator<Item = (u8, u8)> {
        (0..self.links).flat_map(move |link| (1..=self.routers).map(move |router| (link, router)))
    }

    pub(crate) fn config(self, priority: u8) -> String {
        let seconds = self.interval.as_secs_f64();
        let real_time = self.real_time.map(|priority| format!("global_defs {{\n vrrp_rt_priority {priority}\n}}\n"));
        let routers = self.all().map(|(link, router)| {
            format!(
                "vrrp_instance V{link}_{router} {{\n version 3\n interface eth{link}\n virtual_router_id {router}\n \
                     priority {priority}\n advert_int {seconds}\n virtual_ipaddress {{ {}/16 }}\n}}\n",
                vip(link, router)
            )
        });
        real_time.into_iter().chain(routers).collect()
    }

    /// Active_Down_Interval (RFC 9568 §6.1).
    pub(crate) fn active_down(self, priority: u8) -> Duration {
        self.interval * 3 + self.interval * (256 - u32::from(priority)) / 256
    }
}

/// The head of the table.
pub(crate) fn head() {
    println!("| what | keepalived-rs | C keepalived 2.2.7 | ratio |\n|---|---|---|---|");
}

pub(crate) fn row(what: &str, unit: &str, values: &[f64]) {
    let cell = |index: usize| values.get(index).map_or_else(|| "–".to_owned(), |value| format!("{value:.2} {unit}"));
    let ratio = match values {
        [ours, c] if *c != 0.0 => format!("{:.2}", ours / c),
        _ => "–".to_owned(),
    };
    println!("| {what} | {} | {} | {ratio} |", cell(0), cell(1));
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

/// Milliseconds by which `took` is longer than `bound`.
pub(crate) fn millis(took: Duration, bound: Duration) -> f64 {
    (took.as_secs_f64() - bound.as_secs_f64()) * 1000.0
}

/// A measurement over a span of time, not a condition.
pub(crate) fn wait_until(end: Instant) {
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
}

/// Two routers and a listener on a bridge.
pub(crate) struct Pair {
    pub(crate) lab: Lab,
    pub(crate) hosts: [Host; 2],
    pub(crate) daemons: [Process; 2],
    /// One for each link.
    pub(crate) wires: Vec<Capture>,
    pub(crate) bridges: Vec<Bridge>,
}

impl Pair {
    pub(crate) fn new(daemon: Daemon, size: Size, log: Log) -> Result<Self> {
        let net = Net::new(size)?;
        let [active, backup] = [ACTIVE_PRIORITY, BACKUP_PRIORITY].map(|priority| size.config(priority));
        let daemons = [net.start(0, daemon, active, log)?, net.start(1, daemon, backup, log)?];
        let pair = Self { lab: net.lab, hosts: net.hosts, daemons, wires: net.wires, bridges: net.bridges };
        for router in [1, size.routers] {
            pair.lab.wait_for_holders(vip(0, router), &["r1"], PATIENCE)?;
        }
        Ok(pair)
    }
}

/// Two hosts and a listener on as many bridges as there are links.
pub(crate) struct Net {
    pub(crate) lab: Lab,
    pub(crate) hosts: [Host; 2],
    pub(crate) wires: Vec<Capture>,
    pub(crate) bridges: Vec<Bridge>,
}

impl Net {
    pub(crate) fn new(size: Size) -> Result<Self> {
        let lab = Lab::new()?;
        let bridges =
            (0..size.links).map(|link| lab.bridge(&format!("br{link}"))).collect::<std::result::Result<Vec<_>, _>>()?;
        let host = |name: &str, number: u8| -> Result<Host> {
            let host = lab.host(name)?;
            for (link, bridge) in (0..size.links).zip(&bridges) {
                let name = format!("eth{link}");
                lab.connect(&host, &name, bridge)?;
                host.address(&name, &format!("{}/16", address(link, number)))?;
            }
            Ok(host)
        };
        let hosts = [host("r1", 1)?, host("r2", 2)?];
        let listener = host("client", 9)?;
        let wires = (0..size.links).map(|link| listener.capture(&format!("eth{link}")));
        let wires = wires.collect::<std::result::Result<_, _>>()?;
        Ok(Self { lab, hosts, wires, bridges })
    }

    pub(crate) fn start(&self, host: usize, daemon: Daemon, config: String, log: Log) -> Result<Process> {
        let program = match daemon {
            Daemon::Ours => Program::new(binary()?),
            Daemon::C => peers::keepalived()?.program(),
        };
        let program = program.args(["-n", "-G", "--vrrp", "-f", "/run/keepalived.conf"]);
        let program = program.args((log == Log::Console).then_some("-l")).file("/run/keepalived.conf", config);
        // A developer's shell may ask for it, a service manager does not: each error would read all tables of unwinding.
        let program = program.env("RUST_BACKTRACE", "0");
        let host = self.hosts.get(host).ok_or("there are two hosts")?;
        Ok(host.spawn(program)?)
    }
}

/// The daemon, beside which this program was built.
pub(crate) fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.ancestors().nth(2).ok_or("this program is in no target folder")?;
    Ok(Path::new(folder).join("keepalived-rs"))
}

pub(crate) fn address(link: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, link, 0, number)
}

pub(crate) fn vip(link: u8, router: u8) -> IpAddr {
    Ipv4Addr::new(10, link, 1, router).into()
}
