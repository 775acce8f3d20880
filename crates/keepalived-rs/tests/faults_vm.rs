//! Faults of a whole machine: a clock that is set, a disk that does not answer, memory that runs out. This test boots a
//! virtual machine and runs itself in there.
#![allow(clippy::indexing_slicing, reason = "a test")]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "support/dual.rs"]
mod dual;
#[path = "support/dual_vm.rs"]
mod dual_vm;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "support/stage.rs"]
mod stage;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Program, peers};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use stage::{Kind, PLAIN, Stage, Watch};
use support::Daemon;

/// The machine is emulated and slow.
const SLOW: Kind = Kind { interval: Duration::from_secs(3), ..PLAIN };

/// Signed adverts carry the time.
const SIGNED: Kind = Kind { lines: "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n }", ..SLOW };

/// The owner, which begins at once, runs `first`.
fn started(kind: Kind, first: impl Into<Program>) -> Result<Stage, Stop> {
    started_with(kind, first, 255, "")
}

/// Nobody tracks a script that this machine may be too slow for. `servers` are virtual ones of the first router.
fn started_with(kind: Kind, first: impl Into<Program>, priority: u8, servers: &str) -> Result<Stage, Stop> {
    let text = |priority| without_script(kind.config(priority, ""));
    let workers: &[&str] = if servers.is_empty() { &["-nlDG", "--vrrp"] } else { &["-nlDG"] };
    let mut stage = Stage::new(kind, Daemon::Ours, Daemon::Ours)?;
    stage.r1.priority = priority;
    stage.r1.start_program(first.into().args(workers), &(text(priority) + servers))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&text(90))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
    stage.wait_for_line(&stage.r2, "master set to")?;
    Ok(stage)
}

fn ours() -> Program {
    Program::new(OURS)
}

const OURS: &str = env!("CARGO_BIN_EXE_keepalived-rs");

/// A virtual server of which nobody is a client.
const SERVERS: &str = "virtual_server 198.18.0.100 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n \
                       real_server 198.18.0.9 80 {\n weight 1\n }\n}\n";

/// What programs of this machine are linked with.
const LIBRARIES: [&str; 2] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64"];

fn run(command: &str) -> CaseResult {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output()?;
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() {
        Ok(())
    } else {
        Err(Stop::failed(format!("{command}: {}", String::from_utf8_lossy(&said))))
    }
}

/// An hour forward, two back, one forward: nobody notices, and what is sent is believed.
fn clock() -> CaseResult {
    let stage = started(SIGNED, ours())?;
    let mut watch = Watch::begin(&stage)?;
    shift_clock(|| stage.pass(SIGNED.active_down(90)))?;
    watch.expect_nothing()
}

/// An hour forward, two back, one forward; each time there is a `pause`.
fn shift_clock(pause: impl Fn() -> CaseResult) -> CaseResult {
    for hours in [1, -2, 1] {
        let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
        clock_settime(ClockId::CLOCK_REALTIME, now + TimeSpec::new(hours * 3600, 0))?;
        pause()?;
    }
    Ok(())
}

/// A disk of so many sectors in a file, which `dmsetup suspend NAME` stops.
fn mount_disk(name: &str, loop_device: &str, sectors: u64, folder: &str) -> CaseResult {
    let image = format!("/tmp/{name}.image");
    std::fs::File::create(&image)?.set_len(sectors * 512)?;
    run(&format!("losetup {loop_device} {image}"))?;
    let table = format!("0 {sectors} linear {loop_device} 0");
    let made = Command::new("dmsetup").args(["create", "--noudevsync", name, "--table", &table]).output()?;
    if !made.status.success() {
        return Err(Stop::failed(String::from_utf8_lossy(&made.stderr)));
    }
    run("dmsetup mknodes")?;
    run(&format!("mke2fs -q -t ext4 /dev/mapper/{name}"))?;
    std::fs::create_dir_all(folder)?;
    run(&format!("mount -t ext4 /dev/mapper/{name} {folder}"))
}

/// The binary and its libraries are on a disk that stops answering, nothing of it is left in memory that nobody holds
/// there, and the worker is killed: the next one needs nothing of it.
fn disk() -> CaseResult {
    const FOLDER: &str = "/tmp/disk";
    let installed = Path::new(FOLDER).join("keepalived");
    mount_disk("slow", "/dev/loop0", 128 * 1024 + std::fs::metadata(OURS)?.len() / 512, FOLDER)?;
    std::fs::copy(OURS, &installed)?;
    let libraries = LIBRARIES.map(|library| (Path::new(FOLDER).join(library.replace('/', "_")), library));
    for (copy, library) in &libraries {
        run(&format!("cp -a {library} {}", copy.display()))?;
    }
    run("sync")?;
    let program = libraries.into_iter().fold(Program::new(&installed), |it, (copy, library)| it.bind(copy, library));
    let stage = started(SLOW, program)?;
    stage.wait_for_line(&stage.r1, "A VRRP process waits to replace one that dies")?;
    let mut watch = Watch::begin(&stage)?;
    run("dmsetup suspend --noflush --nolockfs --noudevsync slow")?;
    let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3").map_err(Stop::from);
    let noticed = dropped.and_then(|()| stage.r1.replace("VRRP")).and_then(|()| watch.expect_nothing());
    run("dmsetup resume --noudevsync slow")?;
    noticed
}

/// An instance with authentication headers, one with a macvlan, and two others in a sync group.
const MIXED: Kind = Kind { interval: Duration::from_secs(2), links: 4, ..PLAIN };

fn mixed(priority: u8) -> String {
    const HEADERS: &str = "authentication {\n auth_type AH\n auth_pass secret\n }\n garp_master_delay";
    let text = without_script(MIXED.config(priority, ""));
    let instances = text.split("vrrp_instance ").map(|block| match block.split(' ').next() {
        Some("VI_1") => block.replace("version 3", "version 2").replace("garp_master_delay", HEADERS),
        Some("VI_2") => block.replace("garp_master_delay", "use_vmac\n garp_master_delay"),
        _ => block.replace(" VI_1\n VI_2\n", ""),
    });
    instances.collect::<Vec<_>>().join("vrrp_instance ")
}

fn without_script(text: String) -> String {
    text.replace("track_script {\n alive\n }", "")
}

fn checker() -> CaseResult {
    for peer in [Daemon::Ours, Daemon::C] {
        // What others do on the host of this machine passes.
        match the_checker_dies(peer) {
            Err(Stop::Failed(_)) => the_checker_dies(peer)?,
            other => other?,
        }
    }
    Ok(())
}

/// The process for virtual servers is killed: neither they nor the routers change, whoever the peer is.
fn the_checker_dies(peer: Daemon) -> CaseResult {
    let mut stage = Stage::new(MIXED, Daemon::Ours, peer)?;
    stage.r1.priority = 255;
    stage.r1.start_program(ours().arg("-nlDG"), &(mixed(255) + SERVERS))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&mixed(90))?;
    for link in 0..MIXED.links {
        stage.wait_for_line(&stage.r2, &format!("(VI_{link}) Entering BACKUP STATE"))?;
    }
    let table = || stage.r1.host.run(|| std::fs::read_to_string("/proc/thread-self/net/ip_vs"));
    let is_whole = || Ok(["C6120064:0050", "C6120009:0050"].iter().all(|it| table().is_ok_and(|all| all.contains(it))));
    stage.wait_until("the virtual server", is_whole)?;
    let mut watch = Watch::begin(&stage)?;
    stage.r1.replace("Healthcheck")?;
    watch.expect_nothing()?;
    let whole = is_whole()?;
    stage.ensure(whole, &format!("it is gone\n{:?}", table()))
}

/// keepalived knows nothing of `drain_timeout`: who is connected to a real server that a reload leaves out is not any more.
fn keepalived_ends_connections_at_once() -> CaseResult {
    const SECOND: Kind = Kind { interval: Duration::from_secs(1), ..PLAIN };
    const REAL: &str = " real_server 198.18.0.1 80 {\n weight 1\n }\n";
    const OTHER: &str = " real_server 198.18.0.9 80 {\n weight 1\n }\n";
    let text = |servers: &str| {
        without_script(SECOND.config(255, ""))
            + "virtual_server 198.18.0.100 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n drain_timeout 600\n"
            + servers
            + "}\n"
    };
    let mut stage = Stage::new(SECOND, Daemon::C, Daemon::C)?;
    stage.r1.start_program(peers::keepalived()?.program().arg("-nlDG"), &text(REAL))?;
    stage.wait_for_holder("r1")?;
    let table = || stage.r1.host.run(|| std::fs::read_to_string("/proc/thread-self/net/ip_vs"));
    let has = |server: &str| table().is_ok_and(|all| all.contains(server));
    stage.wait_until("the real server", || Ok(has("C6120001:0050")))?;
    let listener = stage.r1.host.run(|| TcpListener::bind("198.18.0.1:80"))?;
    let mut client = stage.client.run(|| TcpStream::connect("198.18.0.100:80"))?;
    let (mut server, _) = listener.accept()?;
    let mut heard = [0];
    client.write_all(b"1")?;
    server.read_exact(&mut heard)?;
    stage.r1.write(&text(OTHER))?;
    stage.r1.process().signal(Signal::SIGHUP)?;
    stage.wait_until("the other real server alone", || Ok(has("C6120009:0050") && !has("C6120001:0050")))?;
    client.write_all(b"2")?;
    server.set_read_timeout(Some(Duration::from_secs(2)))?;
    let silent = server.read(&mut heard).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    stage.ensure(silent, "the connection goes on")
}

/// The whole daemon is frozen until the peer has taken over: it says nothing before it has given up, and why it did.
fn freezer() -> CaseResult {
    const KIND: Kind = Kind { interval: Duration::from_secs(1), ..PLAIN };
    let group = Path::new("/tmp/cgroup/daemon");
    std::fs::create_dir_all("/tmp/cgroup")?;
    run("mount -t cgroup2 none /tmp/cgroup")?;
    std::fs::create_dir(group)?;
    let stage = started_with(KIND, ours(), 150, "")?;
    for process in stage.r1.process().processes()? {
        std::fs::write(group.join("cgroup.procs"), process.pid.to_string())?;
    }
    let wire = stage.lans[0].capture()?;
    let frozen = Instant::now();
    std::fs::write(group.join("cgroup.freeze"), "1")?;
    let vip = KIND.vips().next().expect("there is one");
    stage.wait_until("the peer's take-over", || Ok(stage.r2.host.holds(vip)?))?;
    let events = std::fs::read_to_string(group.join("cgroup.events"))?;
    stage.ensure(events.contains("frozen 1"), &events)?;
    let thawed = Instant::now();
    std::fs::write(group.join("cgroup.freeze"), "0")?;
    stage.wait_until("one holder", || Ok(stage.lab.holders(vip)?.len() == 1))?;
    stage.took_at_most(thawed.elapsed(), KIND.interval, "two held the address")?;
    stage.wait_for_holder("r1")?;
    stage.wait_for_line(&stage.r1, "(VI_0) VRRP thread timer expired ")?;
    stage.spoke_only_after_giving_up(&wire, frozen)
}

/// What the supervisor uses of its image and of its libraries stays in memory, and what it takes later.
fn lock() -> CaseResult {
    let stage = started(SLOW, ours())?;
    let supervisor = stage.r1.process().pid();
    let status = std::fs::read_to_string(format!("/proc/{supervisor}/status"))?;
    let size = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or_default()
    };
    let (locked, program) = (size("VmLck:"), size("VmExe:") + size("VmLib:"));
    stage.ensure(locked > program && program > 0, &format!("{locked} KiB of {program} KiB are locked\n{status}"))?;
    stage.ensure(stage.r1.said("not locked in memory") == 0, "it says that it could not")
}

/// The kernel kills who took all of it; whoever it killed beside that is back before anybody notices.
fn memory() -> CaseResult {
    let stage = started(SLOW, ours())?;
    let mut watch = Watch::begin(&stage)?;
    let hog = || stage.client.spawn(Program::new("/bin/dd").args(["if=/dev/zero", "of=/dev/null", "bs=600M"]));
    let hogs: Vec<_> = (0..4).map(|_| hog()).collect::<Result<_, _>>()?;
    stage.wait_until("memory to run out", || {
        let ended = hogs.iter().filter_map(|hog| hog.wait_for_exit(Duration::ZERO).ok());
        Ok(ended.filter_map(|status| status.signal()).any(|signal| signal == 9))
    })?;
    drop(hogs);
    watch.expect_nothing()
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let modules = ["veth", "bridge", "bonding", "loop", "dm-mod", "ip_vs", "ip_vs_rr"];
        let vm = modules.into_iter().fold(vm, netlab::vm::Vm::module).memory(1536).processors(2);
        let vm = if let Ok(peer) = peers::keepalived() { peer.add_to(vm)? } else { vm };
        let programs = [env!("CARGO_BIN_EXE_keepalived-rs"), "ip", "dmsetup", "mke2fs"];
        Ok(programs.into_iter().try_fold(vm, |vm, program| vm.program(program))?)
    };
    harness::main_in_vm(
        files,
        &[
            case("checker", checker).within(Duration::from_secs(240)),
            case("clock", clock),
            case("disk", disk),
            case("dual_active", dual_vm::no_longer_than_c_with_c).within(Duration::from_secs(900)),
            case("freezer", freezer),
            case("keepalived_ends_connections_at_once", keepalived_ends_connections_at_once),
            case("lock", lock),
            case("memory", memory),
        ],
    )
}
