//! A director with real servers of its own: what it tells the kernel, and what the kernel then holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use ipvs_control::socket::Socket;
use ipvs_control::types::{Destination, Service, SyncDaemon, Table, Timeouts};
use ipvs_control::{Change, ForwardingMethod, Scheduler, ServiceAddress};
use netlab::harness::{CaseResult, Stop};
use netlab::{Host, Lab, Process, Program, peers};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{PATIENCE, wait_until};

#[path = "drain.rs"]
pub(crate) mod drain;

#[path = "runner.rs"]
pub(crate) mod runner;

/// Virtual and real addresses, all on `lo`: neither VRRP nor a second host is needed.
const OWN: [&str; 4] = ["192.0.2.11", "192.0.2.12", "198.18.1.1", "198.18.1.2"];

/// The real servers of most cases.
const REAL: [&str; 2] = ["192.0.2.11:80", "192.0.2.12:80"];

/// A check that decides at once.
const CHECK: &str = "TCP_CHECK {\n   connect_timeout 1\n   retry 0\n   delay_loop 0.2\n   warmup 0\n  }\n";

struct Director {
    _lab: Lab,
    host: Host,
    folder: tempfile::TempDir,
    listeners: BTreeMap<SocketAddr, TcpListener>,
    daemon: Option<Process>,
}

impl Director {
    fn new() -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let lan = lab.bridge("br0")?;
        let host = lab.host("lb")?;
        lab.connect(&host, "eth0", &lan)?;
        host.address("eth0", "198.18.0.1/24")?;
        for address in OWN {
            host.address("lo", &format!("{address}/32"))?;
        }
        let folder = tempfile::tempdir()?;
        let mut director = Self { _lab: lab, host, folder, listeners: BTreeMap::new(), daemon: None };
        for place in REAL {
            director.listen(place)?;
        }
        Ok(director)
    }

    /// With a daemon that has started.
    fn with(config: &str) -> Result<Self, Stop> {
        let mut director = Self::new()?;
        director.start(config)?;
        Ok(director)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&mut self, config: &str) -> CaseResult {
        self.begin(config)?;
        self.hear("Startup complete")
    }

    fn begin(&mut self, config: &str) -> CaseResult {
        std::fs::write(self.file("k.conf"), config)?;
        self.daemon = Some(self.host.spawn(self.program(&["-nlD"]))?);
        Ok(())
    }

    /// Of this daemon's configuration and pid file.
    fn program(&self, words: &[&str]) -> Program {
        let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(words);
        program.arg("-f").arg(self.file("k.conf")).arg("-p").arg(self.file("k.pid"))
    }

    /// The command.
    fn clean_up(&self) -> CaseResult {
        let cleanup = self.host.spawn(self.program(&["cleanup"]))?;
        let exit = cleanup.wait_for_exit(PATIENCE)?;
        if exit.success() { Ok(()) } else { Err(self.failed(&format!("cleanup: {exit}: {:?}", cleanup.lines()))) }
    }

    fn daemon(&self) -> &Process {
        self.daemon.as_ref().expect("the daemon was started")
    }

    fn hear(&self, words: &str) -> CaseResult {
        let heard = self.daemon().wait_for_line(words, PATIENCE);
        heard.map(|_| ()).map_err(|error| self.failed(&error.to_string()))
    }

    fn reload(&self, config: &str) -> CaseResult {
        std::fs::write(self.file("k.conf"), config)?;
        let mark = self.daemon().mark();
        self.daemon().signal(Signal::SIGHUP)?;
        let done = self.daemon().wait_for_line_after(mark, "Reload complete", PATIENCE);
        done.map(|_| ()).map_err(|error| self.failed(&error.to_string()))
    }

    fn stop(&self) -> CaseResult {
        self.daemon().signal(Signal::SIGTERM)?;
        let exit = self.daemon().wait_for_exit(PATIENCE)?;
        if exit.success() { Ok(()) } else { Err(self.failed(&exit.to_string())) }
    }

    /// `what`, and everything the daemon said.
    fn failed(&self, what: &str) -> Stop {
        let log: Vec<_> = self.daemon.iter().flat_map(Process::lines).map(|line| line.text).collect();
        Stop::failed(format!("{what}\n{}", log.join("\n")))
    }

    fn listen(&mut self, place: &str) -> CaseResult {
        let place: SocketAddr = place.parse()?;
        let listener = self.host.run(|| TcpListener::bind(place))?;
        self.listeners.insert(place, listener);
        Ok(())
    }

    fn close(&mut self, place: &str) -> CaseResult {
        self.listeners.remove(&place.parse()?);
        Ok(())
    }

    fn socket(&self) -> Result<Socket, Stop> {
        self.host.run(Socket::open).map_err(|error| Stop::failed(error.to_string()))
    }

    fn table(&self) -> Result<Table, Stop> {
        self.socket()?.dump().map_err(|error| Stop::failed(error.to_string()))
    }

    /// Each service, and each destination with its weight.
    fn shown(&self) -> Result<BTreeSet<String>, Stop> {
        let mut shown = BTreeSet::new();
        for (service, destinations) in self.table()?.entries {
            let address = service.service.address;
            shown.insert(format!("{address} {:?}", address.family()));
            shown.extend(destinations.iter().map(|entry| {
                let Destination { weight, .. } = entry.destination;
                format!("{address} -> {} {weight}", entry.destination.key())
            }));
        }
        Ok(shown)
    }

    fn holds(&self, expected: &[&str]) -> CaseResult {
        let expected: BTreeSet<_> = expected.iter().map(|line| (*line).to_owned()).collect();
        wait_until("the table", || Ok(self.shown()? == expected))
            .map_err(|_| self.failed(&format!("{:#?}\nis not\n{expected:#?}", self.shown().unwrap_or_default())))
    }

    fn apply(&self, changes: &[Change]) -> CaseResult {
        let report = self.socket()?.apply(changes, Duration::from_secs(1));
        let failures = report.map_err(|error| Stop::failed(error.to_string()))?.failures;
        match failures.first() {
            Some(failure) => Err(Stop::failed(failure.to_string())),
            None => Ok(()),
        }
    }

    /// A service and a destination of somebody else.
    fn add_others(&self) -> CaseResult {
        let service = ServiceAddress::udp("198.18.1.9:53".parse()?);
        let destination = Destination::new("192.0.2.99:53".parse()?, ForwardingMethod::Masquerade);
        self.apply(&[
            Change::AddService(Service::new(service, Scheduler::WLC)),
            Change::AddDestination { service, destination },
        ])
    }

    fn sync_daemons(&self) -> Result<Vec<SyncDaemon>, Stop> {
        self.socket()?.sync_daemons().map_err(|error| Stop::failed(error.to_string()))
    }

    /// Waits until these sync daemons run, as they are written in logs.
    fn synchronises(&self, expected: &[&str]) -> CaseResult {
        let shown =
            || -> Result<BTreeSet<String>, Stop> { Ok(self.sync_daemons()?.iter().map(ToString::to_string).collect()) };
        let expected: BTreeSet<_> = expected.iter().map(|line| (*line).to_owned()).collect();
        wait_until("sync daemons", || Ok(shown()? == expected))
            .map_err(|_| self.failed(&format!("{:?} is not {expected:?}", shown().unwrap_or_default())))
    }
}

/// What somebody else has there.
const OTHERS: [&str; 2] = ["[198.18.1.9]:udp:53 Inet", "[198.18.1.9]:udp:53 -> 192.0.2.99:53 1"];

/// A virtual server with both real servers; `more` is put into it.
fn file(more: &str) -> String {
    let real = |place: &str| format!(" real_server {} {{\n  weight 1\n  {CHECK} }}\n", place.replace(':', " "));
    format!(
        "virtual_server 198.18.1.1 80 {{\n protocol TCP\n lb_algo wlc\n lb_kind NAT\n {more}\n{}}}\n",
        REAL.map(real).concat()
    )
}

/// What the kernel holds of [`file`] while both servers are up.
const BOTH: [&str; 3] =
    ["[198.18.1.1]:tcp:80 Inet", "[198.18.1.1]:tcp:80 -> 192.0.2.11:80 1", "[198.18.1.1]:tcp:80 -> 192.0.2.12:80 1"];

pub(crate) fn each_address_and_mark_of_a_group_is_a_service() -> CaseResult {
    let group = "virtual_server_group G {\n 198.18.1.1-2 80\n 198.18.2.0/31 443\n fwmark 7\n}\n";
    let server = "virtual_server group G {\n protocol TCP\n lb_algo rr\n lb_kind NAT\n";
    let real = format!(" real_server 192.0.2.11 80 {{\n  weight 3\n  {CHECK} }}\n}}\n");
    let mut director = Director::with(&format!("{group}{server}{real}"))?;
    let services =
        ["[198.18.1.1]:tcp:80", "[198.18.1.2]:tcp:80", "[198.18.2.0]:tcp:443", "[198.18.2.1]:tcp:443", "FWM 7"];
    let with = |weight: Option<u16>| -> Vec<String> {
        let destination = |service: &&str| weight.map(|weight| format!("{service} -> 192.0.2.11:80 {weight}"));
        services.iter().flat_map(|service| [Some(format!("{service} Inet")), destination(service)]).flatten().collect()
    };
    let holds = |director: &Director, expected: Vec<String>| {
        director.holds(&expected.iter().map(String::as_str).collect::<Vec<_>>())
    };
    holds(&director, with(Some(3)))?;
    director.close("192.0.2.11:80")?;
    holds(&director, with(None))?;
    director.listen("192.0.2.11:80")?;
    holds(&director, with(Some(3)))?;
    let fewer = "virtual_server_group G {\n 198.18.1.2 80\n}\n";
    director.reload(&format!("{fewer}{server}{real}"))?;
    director.holds(&["[198.18.1.2]:tcp:80 Inet", "[198.18.1.2]:tcp:80 -> 192.0.2.11:80 3"])?;
    director.stop()?;
    director.holds(&[])
}

/// The scripts of quorum and servers run once each and in order, while the sorry server comes and goes.
pub(crate) fn the_sorry_server_comes_and_goes_and_scripts_tell() -> CaseResult {
    let mut director = Director::new()?;
    let (script, told) = (director.file("told.sh"), director.file("told"));
    std::fs::write(&script, format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display()))?;
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let script = script.display();
    let real = |place: &str, name: &str| {
        format!(
            " real_server {} {{\n  weight 1\n  notify_up \"{script} {name} up\"\n  notify_down \"{script} {name} down\"\n  {CHECK} }}\n",
            place.replace(':', " ")
        )
    };
    let config = format!(
        "global_defs {{\n script_user root\n}}\nvirtual_server 198.18.1.1 80 {{\n protocol TCP\n lb_algo wlc\n lb_kind NAT\n \
         quorum_up \"{script} quorum up\"\n quorum_down \"{script} quorum down\"\n sorry_server 192.0.2.9 81\n \
         sorry_server_inhibit\n omega\n{}{}}}\n",
        real(REAL[0], "first"),
        real(REAL[1], "second"),
    );
    director.start(&config)?;
    const SERVICE: &str = "[198.18.1.1]:tcp:80 Inet";
    let server = |place: &str, weight: u16| format!("[198.18.1.1]:tcp:80 -> {place} {weight}");
    let [first, second] = REAL.map(|place| server(place, 1));
    let (idle, needed) = (server("192.0.2.9:81", 0), server("192.0.2.9:81", 1));
    director.holds(&[SERVICE, &first, &second, &idle])?;
    director.close(REAL[0])?;
    director.holds(&[SERVICE, &second, &idle])?;
    // Nobody takes what the checker tells when it is killed: its successor tells it, once.
    let runner = director.pid_of("Runner")?;
    nix::sys::signal::kill(runner, Signal::SIGSTOP)?;
    director.close(REAL[1])?;
    director.holds(&[SERVICE, &needed])?;
    director.kill_checker()?;
    nix::sys::signal::kill(runner, Signal::SIGCONT)?;
    director.hear("Enabling sorry server [192.0.2.9]:tcp:81 to VS [198.18.1.1]:tcp:80")?;
    director.listen(REAL[1])?;
    director.holds(&[SERVICE, &second, &idle])?;
    director.stop()?;
    let told = std::fs::read_to_string(&told)?;
    // The scripts of one server or quorum run one after the other, those of others beside them.
    for (name, expected) in
        [("first", &["down"][..]), ("second", &["down", "up", "down"]), ("quorum", &["up", "down", "up", "down"])]
    {
        let found = told.lines().filter_map(|line| line.split_once(' ')).filter(|(who, _)| *who == name);
        if found.map(|(_, what)| what).ne(expected.iter().copied()) {
            return Err(director.failed(&format!("of {name} the scripts were told:\n{told}")));
        }
    }
    Ok(())
}

pub(crate) fn a_server_is_not_checked_while_the_address_is_elsewhere() -> CaseResult {
    let config = file("ha_suspend").replace("198.18.1.1", "198.18.3.1");
    let mut director = Director::with(&config)?;
    director.hear("Deactivating healthchecker for service [192.0.2.11]:tcp:80 for VS [198.18.3.1]:tcp:80")?;
    let both = BOTH.map(|line| line.replace("198.18.1.1", "198.18.3.1"));
    let both = both.each_ref().map(String::as_str);
    director.holds(&both)?;
    director.close(REAL[0])?;
    director.host.address("lo", "198.18.3.1/32")?;
    director.hear("Activating healthchecker for service [192.0.2.11]:tcp:80 for VS [198.18.3.1]:tcp:80")?;
    director.holds(&[both[0], both[2]])?;
    let ip = director
        .host
        .run(|| std::process::Command::new("ip").args("addr del 198.18.3.1/32 dev lo".split(' ')).status());
    if !ip.is_ok_and(|status| status.success()) {
        return Err(Stop::failed("ip addr del"));
    }
    director.hear("Suspending healthchecker for service [192.0.2.11]:tcp:80 for VS [198.18.3.1]:tcp:80")?;
    director.listen(REAL[0])?;
    director.holds(&[both[0], both[2]])
}

pub(crate) fn what_others_have_in_the_table_stays() -> CaseResult {
    let mut director = Director::new()?;
    director.add_others()?;
    director.start(&file(""))?;
    let with_others: Vec<_> = BOTH.into_iter().chain(OTHERS).collect();
    director.holds(&with_others)?;
    director.reload(&file("quorum 2"))?;
    director.holds(&with_others)?;
    director.stop()?;
    director.holds(&OTHERS)
}

pub(crate) fn lvs_flush_empties_the_table_at_the_start_and_at_the_stop() -> CaseResult {
    let mut director = Director::new()?;
    director.add_others()?;
    let config = format!("global_defs {{\n lvs_flush\n lvs_flush_on_stop\n}}\n{}", file(""));
    director.start(&config)?;
    director.holds(&BOTH)?;
    director.add_others()?;
    director.reload(&format!("{config}\n"))?;
    let with_others: Vec<_> = BOTH.into_iter().chain(OTHERS).collect();
    director.holds(&with_others)?;
    director.stop()?;
    director.holds(&[])?;
    director.add_others()?;
    director.start(&config.replace("lvs_flush_on_stop", "lvs_flush_on_stop VS").replace(" lvs_flush\n", ""))?;
    director.holds(&with_others)?;
    director.stop()?;
    director.holds(&OTHERS)
}

pub(crate) fn time_outs_are_the_kernels_unless_they_are_given() -> CaseResult {
    let director = Director::new()?;
    let timeouts = |director: &Director| director.socket()?.timeouts().map_err(|error| Stop::failed(error.to_string()));
    let before = timeouts(&director)?;
    let mut director = director;
    let config = format!("global_defs {{\n lvs_timeouts tcp 301 udp 17\n}}\n{}", file(""));
    director.start(&config)?;
    let found = timeouts(&director)?;
    if (found.tcp.0, found.tcp_fin, found.udp.0) != (301, before.tcp_fin, 17) {
        return Err(director.failed(&format!("{found:?}, before {before:?}")));
    }
    director.reload(&file(""))?;
    let reloaded = timeouts(&director)?;
    director.reload(&config)?;
    director.daemon().kill_all()?;
    director.clean_up()?;
    let cleaned = timeouts(&director)?;
    director.start(&config)?;
    director.stop()?;
    let stopped = timeouts(&director)?;
    if (reloaded, cleaned, stopped) != (before, before, before) {
        return Err(director.failed(&format!("{reloaded:?}, {cleaned:?} and {stopped:?}, before {before:?}")));
    }
    keepalived_restores_them_too(&director, before)
}

/// Debian's, at a reload without the word and at the stop.
fn keepalived_restores_them_too(director: &Director, before: Timeouts) -> CaseResult {
    let config = std::fs::read_to_string(director.file("k.conf"))?;
    let timeouts = || director.socket()?.timeouts().map_err(|error| Stop::failed(error.to_string()));
    for signal in [Signal::SIGHUP, Signal::SIGTERM] {
        std::fs::write(director.file("k.conf"), &config)?;
        let program = peers::keepalived()?.program().args(["-nlD"]);
        let program = program.arg("-f").arg(director.file("k.conf")).arg("-p").arg(director.file("c.pid"));
        let keepalived = director.host.spawn(program)?;
        wait_until("keepalived's time-outs", || Ok(timeouts()?.tcp.0 == 301))?;
        std::fs::write(director.file("k.conf"), file(""))?;
        keepalived.signal(signal)?;
        wait_until("keepalived to restore them", || Ok(timeouts()? == before))?;
        if signal == Signal::SIGHUP {
            keepalived.signal(Signal::SIGTERM)?;
        }
        keepalived.wait_for_exit(PATIENCE)?;
    }
    Ok(())
}

/// The instance's link goes and comes back: so do master and backup.
pub(crate) fn the_sync_daemon_follows_its_instance() -> CaseResult {
    const MASTER: &str = "master sync daemon on lo (id 51)";
    const BACKUP: &str = "backup sync daemon on lo (id 51)";
    let instance = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n version 3\n advert_int 2\n \
                    virtual_ipaddress {\n 198.18.0.100/24\n }\n}\n";
    let config = format!("global_defs {{\n lvs_sync_daemon lo VI_1 ttl 3 port 9000\n}}\n{instance}{}", file(""));
    let director = Director::with(&config)?;
    director.synchronises(&[MASTER])?;
    let daemons = director.sync_daemons()?;
    if daemons.iter().any(|daemon| (daemon.ttl.get(), daemon.port.get()) != (3, 9000)) {
        return Err(director.failed(&format!("{daemons:?}")));
    }
    director.host.cut("eth0")?;
    director.synchronises(&[BACKUP])?;
    director.host.mend("eth0")?;
    director.synchronises(&[MASTER])?;
    director.kill_checker()?;
    director.synchronises(&[MASTER])?;
    director.reload(&config.replace("lo VI_1", "lo"))?;
    director.synchronises(&["master sync daemon on lo (id 0)", "backup sync daemon on lo (id 0)"])?;
    director.reload(&file(""))?;
    director.synchronises(&[])?;
    director.reload(&config)?;
    director.synchronises(&[MASTER])?;
    director.stop()?;
    director.synchronises(&[])
}

/// What the kernel does not take is said with its place; everything else is there.
pub(crate) fn a_refusal_names_its_line_and_keeps_nothing_else_away() -> CaseResult {
    // No module has this scheduler here, and none is loaded meanwhile.
    const MODPROBE: &str = "/proc/sys/kernel/modprobe";
    let modprobe = std::fs::read_to_string(MODPROBE)?;
    std::fs::write(MODPROBE, "/nowhere")?;
    let result = two_services_of_which_one_is_refused();
    std::fs::write(MODPROBE, modprobe.trim())?;
    result
}

fn two_services_of_which_one_is_refused() -> CaseResult {
    let refused = "virtual_server 198.18.1.2 80 {\n protocol TCP\n lb_algo twos\n lb_kind NAT\n \
                   real_server 192.0.2.11 80 {\n }\n}\n";
    let director = Director::with(&format!("{refused}{}", file("")))?;
    director.holds(&BOTH)?;
    director
        .hear("k.conf:3: virtual server [198.18.1.2]:tcp:80, lvs_sched: adding service [198.18.1.2]:tcp:80 (twos): ")?;
    director.hear("the kernel has no scheduler twos: load it with `modprobe ip_vs_twos`")?;
    director.stop()?;
    director.holds(&[])
}

/// Somebody removes the service: with the next change it is there again.
pub(crate) fn a_service_that_somebody_removed_is_put_back() -> CaseResult {
    let mut director = Director::with(&file(""))?;
    director.holds(&BOTH)?;
    director.apply(&[Change::RemoveService(ServiceAddress::tcp("198.18.1.1:80".parse()?))])?;
    director.holds(&[])?;
    director.close(REAL[0])?;
    director.holds(&[BOTH[0], BOTH[2]])?;
    let what = "virtual server [198.18.1.1]:tcp:80, real server [192.0.2.11]:tcp:80: removing 192.0.2.11:80 from [198.18.1.1]:tcp:80";
    director.hear(&format!("k.conf:6: {what}: "))?;
    director.hear("; somebody removed the service; it is put right from what is there")
}

impl Director {
    /// The newest process of this name.
    fn pid_of(&self, child: &str) -> Result<Pid, Stop> {
        let words = format!("Starting {child} child process, pid=");
        let lines = self.daemon().lines();
        let found = lines.iter().rev().find_map(|line| line.text.split_once(&words));
        let (_, pid) = found.ok_or_else(|| self.failed(&format!("no {child} process")))?;
        Ok(Pid::from_raw(pid.trim().parse()?))
    }

    fn kill_checker(&self) -> CaseResult {
        let mark = self.daemon().mark();
        nix::sys::signal::kill(self.pid_of("Healthcheck")?, Signal::SIGKILL)?;
        self.daemon().wait_for_line_after(mark, "Activating healthchecker", PATIENCE)?;
        Ok(())
    }

    /// A connection to the virtual server.
    fn connect(&self) -> Result<TcpStream, Stop> {
        let place = SocketAddr::new(IpAddr::from([198, 18, 1, 1]), 80);
        Ok(self.host.run(|| TcpStream::connect_timeout(&place, PATIENCE))?)
    }

    /// Connections that the service has scheduled since it was added.
    fn connections(&self) -> Result<u64, Stop> {
        Ok(self.table()?.entries.iter().map(|(service, _)| service.stats.connections).sum())
    }
}

/// The kernel's counters show that nothing was removed and added again.
pub(crate) fn a_new_checker_adopts_the_table_and_its_counters() -> CaseResult {
    let mut director = Director::with(&file(""))?;
    director.close(REAL[0])?;
    director.holds(&[BOTH[0], BOTH[2]])?;
    let client = director.connect()?;
    // The kernel adds up its counters every two seconds.
    wait_until("the connection to be counted", || Ok(director.connections()? == 1))?;
    director.kill_checker()?;
    director.holds(&[BOTH[0], BOTH[2]])?;
    director.listen(REAL[0])?;
    director.holds(&BOTH)?;
    if director.connections()? != 1 {
        return Err(director.failed("the service was removed and added again"));
    }
    drop(client);
    Ok(())
}

/// Its connection goes on, whoever watches over it; when it has ended the server leaves.
pub(crate) fn a_server_that_a_reload_leaves_out_may_finish() -> CaseResult {
    let only = |place: &str| {
        let real = format!(" real_server {} {{\n  weight 1\n  {CHECK} }}\n", place.replace(':', " "));
        let head = " protocol TCP\n lb_algo wlc\n lb_kind NAT\n drain_timeout 600\n";
        format!("virtual_server 198.18.1.1 80 {{\n{head}{real}}}\n")
    };
    let director = Director::with(&only(REAL[0]))?;
    director.holds(&BOTH[..2])?;
    let client = director.connect()?;
    director.reload(&only(REAL[1]))?;
    let leaving = [BOTH[0], "[198.18.1.1]:tcp:80 -> 192.0.2.11:80 0", BOTH[2]];
    director.holds(&leaving)?;
    director.kill_checker()?;
    director.holds(&leaving)?;
    // Ended by a reset, it is forgotten within seconds.
    nix::sys::socket::setsockopt(
        &client,
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
    )?;
    drop(client);
    director.hear("Drained service [192.0.2.11]:tcp:80 of VS [198.18.1.1]:tcp:80")?;
    director.holds(&[BOTH[0], BOTH[2]])
}

/// The second virtual server of [`file`]'s host.
const SECOND: &str = "virtual_server 198.18.1.2 80 {\n protocol TCP\n lb_algo wlc\n lb_kind NAT\n \
                      real_server 192.0.2.11 80 {\n }\n}\n";

/// What it is in the kernel.
const OF_SECOND: [&str; 2] = ["[198.18.1.2]:tcp:80 Inet", "[198.18.1.2]:tcp:80 -> 192.0.2.11:80 1"];

/// Every process at once.
pub(crate) fn after_a_kill_of_all_cleanup_leaves_what_others_have() -> CaseResult {
    let mut director = Director::new()?;
    director.add_others()?;
    director.start(&format!("global_defs {{\n lvs_sync_daemon lo id 7\n}}\n{}{SECOND}", file("")))?;
    let all: Vec<_> = BOTH.into_iter().chain(OF_SECOND).chain(OTHERS).collect();
    director.holds(&all)?;
    director.synchronises(&["master sync daemon on lo (id 7)", "backup sync daemon on lo (id 7)"])?;
    director.daemon().kill_all()?;
    director.holds(&all)?;
    director.clean_up()?;
    director.holds(&OTHERS)?;
    director.synchronises(&[])?;
    // What came since is somebody else's.
    director
        .apply(&[Change::AddService(Service::new(ServiceAddress::tcp("198.18.1.2:80".parse()?), Scheduler::WLC))])?;
    director.clean_up()?;
    director.holds(&[OTHERS[0], OTHERS[1], OF_SECOND[0]])
}

/// The next daemon goes on with what it wants too, without taking it out for a moment, and removes the rest.
pub(crate) fn after_a_kill_of_all_the_next_daemon_keeps_what_it_wants() -> CaseResult {
    let mut director = Director::new()?;
    director.add_others()?;
    // Servers that would have to pass a check first, were they not there.
    director.start(&format!("{}{SECOND}", file("alpha")))?;
    director.holds(&BOTH.into_iter().chain(OF_SECOND).chain(OTHERS).collect::<Vec<_>>())?;
    let client = director.connect()?;
    wait_until("the connection to be counted", || Ok(director.connections()? == 1))?;
    director.daemon().kill_all()?;
    director.begin(&file("alpha"))?;
    let words = "TCP connection to [192.0.2.12]:tcp:80 success";
    wait_until("a check", || {
        let shown = director.shown()?;
        if BOTH.iter().any(|line| !shown.contains(*line)) {
            return Err(director.failed(&format!("something was taken out: {shown:?}")));
        }
        Ok(director.daemon().lines().iter().any(|line| line.text.contains(words)))
    })?;
    director.holds(&BOTH.into_iter().chain(OTHERS).collect::<Vec<_>>())?;
    if director.connections()? != 1 {
        return Err(director.failed("the service was removed and added again"));
    }
    drop(client);
    // One without virtual servers has no checker: a clean-up does it.
    director.daemon().kill_all()?;
    director.start(
        "vrrp_instance V {\n interface eth0\n virtual_router_id 9\n virtual_ipaddress {\n 198.18.0.9/24\n }\n}\n",
    )?;
    director.holds(&OTHERS)?;
    director.stop()?;
    // Nor has one that does not start.
    director.start(&file(""))?;
    director.holds(&BOTH.into_iter().chain(OTHERS).collect::<Vec<_>>())?;
    director.daemon().kill_all()?;
    director.begin("vrrp_instance V {\n interface eth0\n}\n")?;
    director.daemon().wait_for_exit(PATIENCE)?;
    director.holds(&OTHERS)
}
