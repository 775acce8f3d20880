//! Dual-Active time under the faults of a whole machine: the three pairs run once, and each fault happens to all of them.
//! The router that is to fail is on a bond, its program on a disk of its own, its processes in a control group each, and it
//! has virtual servers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use netlab::harness::{CaseResult, Stop};
use netlab::{Program, peers};
use nix::sys::signal::{Signal, kill};

use super::dual::{self, Happen, PAIRS, vip};
use super::stage::{Kind, PLAIN, Stage};
use super::support::{Daemon, PATIENCE};
use super::{LIBRARIES, OURS, SERVERS, mount_disk, run, shift_clock, without_script};

/// The machine is emulated and slow.
const KIND: Kind = Kind { interval: Duration::from_millis(500), ..PLAIN };

/// The rows of the table.
const FAULTS: [(&str, Happen); 5] = [
    ("clock set back and forth by an hour", Happen::All(set_clock)),
    ("control group frozen and thawed", Happen::All(freeze)),
    ("bond fails over", Happen::Each(fail_over)),
    (CHECKER, Happen::Each(kill_checker)),
    (STALL, Happen::All(stall_disk)),
];

const CHECKER: &str = "SIGKILL of the checker process";

const STALL: &str = "disk stalled, SIGKILL of the VRRP process";

pub(crate) fn no_longer_than_c_with_c() -> CaseResult {
    prepare_disk()?;
    std::fs::create_dir_all(GROUPS)?;
    run(&format!("mount -t cgroup2 none {GROUPS}"))?;
    let mut stages = dual::at_once(NUMBERED, |(number, [first, second])| begin(number, first, second))?;
    for (name, happen) in FAULTS {
        dual::no_longer_than_c_with_c(name, KIND.interval, || {
            // Either daemon waits before it replaces a process that dies often.
            if [CHECKER, STALL].contains(&name) {
                let [one, two, three] = &mut stages;
                dual::at_once([(0, one), (1, two), (2, three)], |(number, stage)| begin_anew(number, stage))?;
            }
            for stage in &stages {
                stage.wait_for_holder("r1")?;
            }
            dual::measure(&mut stages, happen)
        })?;
    }
    Ok(())
}

const NUMBERED: [(usize, [Daemon; 2]); 3] = [(0, PAIRS[0]), (1, PAIRS[1]), (2, PAIRS[2])];

// ---- Beginning ----

const GROUPS: &str = "/tmp/groups";

/// The control group of a pair's first router.
fn group(number: usize) -> PathBuf {
    Path::new(GROUPS).join(format!("pair{number}"))
}

const DISK: &str = "/tmp/programs";

/// A disk that can be stopped, with both daemons and all that they are linked with.
fn prepare_disk() -> CaseResult {
    mount_disk("programs", "/dev/loop1", 512 * 1024, DISK)?;
    for (original, copy) in on_disk()? {
        run(&format!("cp -a {} {}", original.display(), copy.display()))?;
    }
    run("sync")
}

/// What is on the disk, and where there.
fn on_disk() -> Result<Vec<(PathBuf, PathBuf)>, Stop> {
    let peer = peers::keepalived()?;
    let originals = LIBRARIES.iter().map(PathBuf::from).chain([OURS.into(), peer.path]).chain(peer.libraries);
    let copy = |original: &Path| Path::new(DISK).join(original.display().to_string().replace('/', "_"));
    Ok(originals.map(|original| (original.clone(), copy(&original))).collect())
}

fn begin(number: usize, first: Daemon, second: Daemon) -> Result<Stage, Stop> {
    let mut stage = Stage::new(KIND, first, second)?;
    put_on_bond(&stage)?;
    std::fs::create_dir(group(number))?;
    start(number, &mut stage)?;
    stage.r2.start(&text(90))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
    Ok(stage)
}

/// The first router runs as if nothing had ever happened to it.
fn begin_anew(number: usize, stage: &mut Stage) -> CaseResult {
    stage.r1.process().signal(Signal::SIGTERM)?;
    stage.r1.process().wait_for_exit(PATIENCE)?;
    start(number, stage)?;
    if stage.r1.daemon == Daemon::Ours {
        stage.wait_for_line(&stage.r1, "A VRRP process waits to replace one that dies")?;
    }
    Ok(())
}

fn start(number: usize, stage: &mut Stage) -> CaseResult {
    let program = program_of(stage.r1.daemon, number)?;
    stage.r1.start_program(program, &(text(150).replace("interface eth0", "interface bond0") + SERVERS))?;
    stage.wait_for_holder("r1")?;
    stage.wait_for_line(&stage.r1, "Starting Healthcheck child process, pid=")
}

fn text(priority: u8) -> String {
    without_script(KIND.config(priority, ""))
}

/// r1 gets a second cable to the same link, and its address.
fn put_on_bond(stage: &Stage) -> CaseResult {
    let host = &stage.r1.host;
    stage.lab.connect(host, "eth1", &stage.lans[0])?;
    for line in [
        "ip link add bond0 type bond mode active-backup miimon 50",
        "ip address flush dev eth0",
        "ip link set eth0 down",
        "ip link set eth1 down",
        "ip link set eth0 master bond0",
        "ip link set eth1 master bond0",
        "ip link set bond0 up",
    ] {
        host.run(|| run(line))?;
    }
    Ok(host.address("bond0", "198.18.0.1/24")?)
}

/// The daemon with checker, in its control group, of the disk.
fn program_of(daemon: Daemon, number: usize) -> Result<Program, Stop> {
    const ENTER: &str = "echo 0 >\"$0/cgroup.procs\" && exec \"$@\"";
    let (shell, peer) = (Path::new("/bin/sh"), peers::keepalived()?);
    let (program, path) = match daemon {
        Daemon::Ours => (Program::new(shell), PathBuf::from(OURS)),
        Daemon::C => (peer.program_as(shell), peer.path),
    };
    let program = program.args(["-c", ENTER]).arg(group(number)).arg(path).arg("-nlDG");
    Ok(on_disk()?.into_iter().fold(program, |program, (original, copy)| program.bind(copy, original)))
}

// ---- Faults ----

fn set_clock(stages: &mut [Stage; 3]) -> CaseResult {
    shift_clock(|| stages[0].pass(KIND.interval * 2))
}

fn freeze(stages: &mut [Stage; 3]) -> CaseResult {
    let write = |text: &str| (0..3).try_for_each(|number| std::fs::write(group(number).join("cgroup.freeze"), text));
    write("1")?;
    let taken_over = || stages.iter().try_fold(true, |all, stage| Ok(all && stage.r2.host.holds(vip())?));
    let waited = stages[0].wait_until("the peers to take over", taken_over);
    write("0")?;
    waited
}

/// To the other leg and back.
fn fail_over(stage: &mut Stage) -> CaseResult {
    for leg in ["eth0", "eth1"] {
        stage.r1.host.cut(leg)?;
        stage.pass(KIND.active_down(90))?;
        stage.r1.host.mend(leg)?;
        stage.pass(KIND.interval)?;
    }
    Ok(())
}

fn kill_checker(stage: &mut Stage) -> CaseResult {
    stage.r1.replace("Healthcheck")?;
    stage.pass(KIND.active_down(90))
}

/// Nothing of the disk is in memory that nobody holds there.
fn stall_disk(stages: &mut [Stage; 3]) -> CaseResult {
    run("dmsetup suspend --noflush --nolockfs --noudevsync programs")?;
    let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3").map_err(Stop::from);
    let killed = dropped.and_then(|()| {
        for stage in stages.iter() {
            kill(stage.r1.pid("VRRP")?, Signal::SIGKILL)?;
        }
        stages[0].pass(KIND.active_down(90) * 2)
    });
    run("dmsetup resume --noudevsync programs")?;
    killed
}
