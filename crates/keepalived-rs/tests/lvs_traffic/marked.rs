//! Tables of nftables that mark the packets of groups: whose they are, and when they come and go. IPVS in a namespace of its
//! own.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::time::Duration;

use netlab::harness::{CaseResult, Stop};
use netlab::{Host, Lab, Process, Program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vip_netlink::nft::{Chain, Change, Marking, Table, TableName};
use vip_netlink::{Family, NftSocket};

use super::{PATIENCE, until};

const TABLE: &str = "keepalived_ipvs";

const START: &str = "Starting Healthcheck child process, pid=";

struct Scene {
    _lab: Lab,
    host: Host,
    /// Where IPVS is.
    balancer: Host,
    folder: PathBuf,
    daemon: Process,
}

impl Scene {
    /// Everything in one namespace.
    fn start(name: &str, config: &str) -> Result<Self, Stop> {
        Self::prepare(name, config, |_| Ok(()))
    }

    fn prepare(name: &str, config: &str, before: impl Fn(&Host) -> CaseResult) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let host = lab.host("lb")?;
        host.address("lo", "192.0.2.11/32")?;
        before(&host)?;
        let folder = folder(name, config)?;
        let daemon = host.spawn(program(&folder))?;
        Ok(Self { _lab: lab, balancer: host.clone(), host, folder, daemon })
    }

    /// IPVS in the namespace `vips`.
    fn divided(name: &str, config: &str) -> Result<Self, Stop> {
        let lab = Lab::new()?;
        let (host, balancer) = (lab.host("lb")?, lab.host("vips")?);
        host.address("lo", "192.0.2.11/32")?;
        let folder = folder(name, config)?;
        let daemon = host.spawn(beside(program(&folder), &balancer))?;
        Ok(Self { _lab: lab, host, balancer, folder, daemon })
    }

    fn reload(&self, config: &str, words: &str) -> CaseResult {
        let mark = self.daemon.mark();
        fs::write(self.folder.join("k.conf"), config)?;
        self.daemon.signal(Signal::SIGHUP)?;
        self.daemon.wait_for_line_after(mark, words, PATIENCE)?;
        Ok(())
    }

    /// The tables that mark packets.
    fn tables(&self) -> Result<Vec<Table>, Stop> {
        Ok(self.balancer.run(|| NftSocket::open()?.present(&Marking::names(TABLE)))?)
    }

    /// How many elements they have.
    fn elements(&self) -> Result<usize, Stop> {
        Ok(self.tables()?.iter().flat_map(|table| &table.sets).map(|set| set.elements.len()).sum())
    }

    fn wait_for_elements(&self, count: usize) -> CaseResult {
        let what = format!("{count} elements");
        until(&what, || Ok(self.elements()? == count)).map_err(|_| self.failed(&format!("no {what}")))
    }

    fn services(&self, host: &Host) -> Result<usize, Stop> {
        let list = host.run(|| fs::read_to_string("/proc/thread-self/net/ip_vs"))?;
        Ok(list.lines().filter(|line| line.starts_with("FWM") || line.starts_with("TCP")).count())
    }

    /// Whether nothing is left where IPVS is.
    fn is_empty(&self) -> Result<bool, Stop> {
        Ok(self.services(&self.balancer)? == 0 && self.tables()?.is_empty())
    }

    fn stop(&self) -> CaseResult {
        self.daemon.signal(Signal::SIGTERM)?;
        let exit = self.daemon.wait_for_exit(PATIENCE)?;
        if exit.success() { Ok(()) } else { Err(self.failed(&exit.to_string())) }
    }

    fn failed(&self, what: &str) -> Stop {
        let log: String = self.daemon.lines().into_iter().map(|line| line.text + "\n").collect();
        Stop::failed(format!("{what}\n{:#?}\n{log}", self.tables()))
    }
}

fn folder(name: &str, config: &str) -> Result<PathBuf, Stop> {
    let folder = PathBuf::from("/tmp/marked").join(name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("k.conf"), config)?;
    Ok(folder)
}

fn program(folder: &std::path::Path) -> Program {
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["-nlDG", "-f"]).arg(folder.join("k.conf"));
    program.arg("-p").arg(folder.join("pid"))
}

/// With `vips` as the name of a network namespace.
fn beside(program: Program, vips: &Host) -> Program {
    program.bind(format!("/proc/self/fd/{}", vips.netns().as_fd().as_raw_fd()), "/run/netns/vips")
}

fn cleanup(folder: &std::path::Path) -> Program {
    let program = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["cleanup", "-f"]).arg(folder.join("k.conf"));
    program.arg("-p").arg(folder.join("pid"))
}

/// A group with these members; its real server is not checked.
fn group(globals: &str, members: &str) -> String {
    format!(
        "global_defs {{\n router_id test\n {globals}\n}}\nvirtual_server_group G {{\n {members}\n}}\n\
         virtual_server group G {{\n protocol TCP\n lvs_sched rr\n lvs_method NAT\n real_server 192.0.2.11 80 {{\n }}\n}}\n"
    )
}

fn change(host: &Host, changes: &[Change]) -> CaseResult {
    let refused = host.run(|| NftSocket::open().map(|mut nft| nft.apply(changes)))?.refused.pop();
    refused.map_or(Ok(()), |refusal| Err(refusal.error.into()))
}

fn table(name: &str) -> TableName {
    TableName { family: Family::Ipv4, name: name.to_owned() }
}

/// A table of the same name that is somebody else's is let be, and named; once it is away, ours comes. It grows with the
/// group, outlives its worker, and goes with the daemon; a table of another name never changes.
pub(crate) fn the_tables_of_marks_come_and_go() -> CaseResult {
    let chain = Chain { name: "theirs".to_owned(), base: None, rules: Vec::new() };
    let of_others =
        |name: &str| [Change::AddTable(table(name)), Change::AddChain { table: table(name), chain: chain.clone() }];
    let scene = Scene::prepare("tables", &group("nftables_ipvs", "198.18.0.100 80"), |host| {
        change(host, &[of_others(TABLE), of_others("other")].concat())
    })?;
    scene
        .daemon
        .wait_for_line("k.conf:3: nftables_ipvs: packets to the addresses of groups are not marked", PATIENCE)?;
    if scene.tables()?.iter().any(|table| table.chains != [chain.clone()]) {
        return Err(scene.failed("their table was touched"));
    }
    change(&scene.host, &[Change::RemoveTable(table(TABLE))])?;
    scene.wait_for_elements(1)?;
    scene.reload(&group("nftables_ipvs", "198.18.0.100-104 80\n 198.18.0.200 80"), "Reload complete")?;
    scene.wait_for_elements(2)?;
    let before = scene.tables()?;
    let pid = scene.daemon.wait_for_line(START, PATIENCE)?;
    let mark = scene.daemon.mark();
    kill(Pid::from_raw(pid.text.rsplit('=').next().unwrap_or_default().trim().parse()?), Signal::SIGKILL)?;
    scene.daemon.wait_for_line_after(mark, START, PATIENCE)?;
    scene.reload(&group("nftables_ipvs x", "198.18.0.100 80"), "Cannot change IPVS nftables table name at a reload")?;
    if scene.tables()? != before || scene.services(&scene.host)? != 1 {
        return Err(scene.failed("the new worker changed something"));
    }
    scene.stop()?;
    let left = scene.host.run(|| NftSocket::open()?.present(&[table(TABLE), table("other")]))?;
    match left.as_slice() {
        [other] if other.name == table("other") && other.chains == [chain] => Ok(()),
        _ => Err(scene.failed(&format!("left: {left:#?}"))),
    }
}

/// What all processes left when they were killed, `cleanup` removes, and a daemon without such tables too.
pub(crate) fn the_tables_of_a_killed_daemon_go() -> CaseResult {
    let config = group("nftables_ipvs", "198.18.0.100 80\n 2001:db8:1::1 80").replace("NAT", "TUN");
    let scene = Scene::start("killed", &config)?;
    scene.wait_for_elements(2)?;
    scene.daemon.kill_all()?;
    if scene.tables()?.len() != 2 {
        return Err(scene.failed("somebody removed tables"));
    }
    let cleanup = scene.host.spawn(cleanup(&scene.folder))?;
    let exit = cleanup.wait_for_exit(PATIENCE)?;
    if !exit.success() || !scene.is_empty()? {
        return Err(scene.failed(&format!("{exit}: {:?}", cleanup.lines())));
    }
    let again = scene.host.spawn(program(&scene.folder))?;
    scene.wait_for_elements(2)?;
    again.kill_all()?;
    fs::write(scene.folder.join("k.conf"), group("", "198.18.0.100 80"))?;
    let without = scene.host.spawn(program(&scene.folder))?;
    until("the tables to go", || Ok(scene.tables()?.is_empty()))?;
    without.signal(Signal::SIGTERM)?;
    without.wait_for_exit(PATIENCE)?;
    Ok(())
}

/// IPVS and what marks its packets are in the named namespace, and the checks are not.
pub(crate) fn ipvs_is_in_another_namespace() -> CaseResult {
    let config = |namespace: &str| {
        let check = "TCP_CHECK {\n connect_timeout 3\n delay_loop 1\n }\n";
        format!("net_namespace_ipvs {namespace}\n")
            + &group("nftables_ipvs", "198.18.0.100 80").replace("80 {\n }", &format!("80 {{\n {check}}}"))
    };
    let scene = Scene::divided("namespace", &config("vips"))?;
    let listener = scene.host.run(|| std::net::TcpListener::bind("192.0.2.11:80"))?;
    scene.wait_for_elements(1)?;
    scene.daemon.wait_for_line("[192.0.2.11]:tcp:80 success", PATIENCE)?;
    let here = scene.host.run(|| NftSocket::open()?.present(&Marking::names(TABLE)))?;
    if scene.services(&scene.balancer)? != 1 || scene.services(&scene.host)? != 0 || !here.is_empty() {
        return Err(scene.failed(&format!("not there alone: {here:?}")));
    }
    let refusal = "Cannot change IPVS network namespace at a reload - please restart keepalived";
    scene.reload(&config("elsewhere"), refusal)?;
    scene.reload(&config("vips"), "Reload complete")?;
    scene.stop()?;
    if !scene.is_empty()? {
        return Err(scene.failed("something is left"));
    }
    what_was_in_another_namespace_goes(&scene)?;
    drop(listener);
    let nowhere = Scene::start("nowhere", &config("nowhere"))?;
    nowhere.daemon.wait_for_line(
        "k.conf:1: IPVS: Can't initialize ipvs: net_namespace_ipvs: entering /run/netns/nowhere: No such file",
        PATIENCE,
    )?;
    let exit = nowhere.daemon.wait_for_exit(Duration::from_secs(30))?;
    if exit.code() == Some(1) { Ok(()) } else { Err(nowhere.failed(&exit.to_string())) }
}

/// After a kill of all processes, with `cleanup`, and with a daemon whose IPVS is where it is itself.
fn what_was_in_another_namespace_goes(scene: &Scene) -> CaseResult {
    let spawn = |program: Program| scene.host.spawn(beside(program, &scene.balancer));
    let kill = || -> CaseResult {
        let daemon = spawn(program(&scene.folder))?;
        scene.wait_for_elements(1)?;
        daemon.kill_all()?;
        if scene.is_empty()? { Err(scene.failed("nothing is left after a kill")) } else { Ok(()) }
    };
    kill()?;
    let cleanup = spawn(cleanup(&scene.folder))?;
    let exit = cleanup.wait_for_exit(PATIENCE)?;
    if !exit.success() || !scene.is_empty()? {
        return Err(scene.failed(&format!("{exit}: {:?}", cleanup.lines())));
    }
    kill()?;
    fs::write(scene.folder.join("k.conf"), group("", "198.18.0.100 80"))?;
    what_cannot_be_removed_is_not_forgotten(scene)?;
    let here = spawn(program(&scene.folder))?;
    // What is being removed while it is listed cannot be listed.
    let gone = || Ok(scene.is_empty().unwrap_or(false) && scene.services(&scene.host)? == 1);
    until("IPVS to be elsewhere", gone).map_err(|_| scene.failed(&format!("{:?}", here.lines())))?;
    here.signal(Signal::SIGTERM)?;
    here.wait_for_exit(PATIENCE)?;
    Ok(())
}

/// Where that namespace cannot be entered, a daemon in another one fails to remove what is in it, and says so at its end;
/// so does `cleanup`. Whoever comes next still knows of it.
fn what_cannot_be_removed_is_not_forgotten(scene: &Scene) -> CaseResult {
    let spawn = |program: Program| scene.host.spawn(program.bind("/dev/null", "/run/netns/vips"));
    let here = spawn(program(&scene.folder))?;
    until("IPVS to be elsewhere", || Ok(scene.services(&scene.host)? == 1))?;
    here.wait_for_line("net_namespace_ipvs: entering /run/netns/vips", PATIENCE)?;
    here.signal(Signal::SIGTERM)?;
    here.wait_for_line("(network namespace: vips)", PATIENCE)?;
    here.wait_for_exit(PATIENCE)?;
    let cleanup = spawn(cleanup(&scene.folder))?;
    if cleanup.wait_for_exit(PATIENCE)?.success() || scene.is_empty()? || scene.services(&scene.host)? != 0 {
        return Err(scene.failed(&format!("{:?}", cleanup.lines())));
    }
    Ok(())
}
