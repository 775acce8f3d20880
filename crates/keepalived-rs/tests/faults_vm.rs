//! Faults of a whole machine: a clock that is set, a disk that does not answer, memory that runs out. This test boots a
//! virtual machine and runs itself in there.

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "support/stage.rs"]
mod stage;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use netlab::Program;
use netlab::harness::{self, CaseResult, Stop, case};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use stage::{Kind, PLAIN, Stage, Watch};
use support::Daemon;

/// The machine is emulated and slow.
const SLOW: Kind = Kind { interval: Duration::from_secs(3), ..PLAIN };

/// Signed adverts carry the time.
const SIGNED: Kind = Kind { lines: "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n }", ..SLOW };

/// The owner, which begins at once, runs `first`; nobody tracks a script that this machine may be too slow for.
fn started(kind: Kind, first: &Path) -> Result<Stage, Stop> {
    let text = |priority| kind.config(priority, "").replace("track_script {\n alive\n }", "");
    let mut stage = Stage::new(kind, Daemon::Ours, Daemon::Ours)?;
    stage.r1.priority = 255;
    stage.r1.start_program(Program::new(first).args(["-nlDG", "--vrrp"]), &text(255))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&text(90))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
    stage.wait_for_line(&stage.r2, "master set to")?;
    Ok(stage)
}

fn ours() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_keepalived-rs"))
}

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
    for hours in [1, -2, 1] {
        let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
        clock_settime(ClockId::CLOCK_REALTIME, now + TimeSpec::new(hours * 3600, 0))?;
        stage.pass(SIGNED.active_down(90))?;
    }
    watch.expect_nothing()
}

/// The binary is on a disk that stops answering, and the worker is killed: the next one needs nothing of it.
fn disk() -> CaseResult {
    const FOLDER: &str = "/tmp/disk";
    let folder = tempfile::tempdir()?;
    let (image, installed) = (folder.path().join("image"), Path::new(FOLDER).join("keepalived"));
    let size = 64 * 1024 * 1024 + std::fs::metadata(ours())?.len() / 512 * 512;
    std::fs::File::create(&image)?.set_len(size)?;
    run(&format!("losetup /dev/loop0 {}", image.display()))?;
    let table = format!("0 {} linear /dev/loop0 0", size / 512);
    let made = Command::new("dmsetup").args(["create", "--noudevsync", "slow", "--table", &table]).output()?;
    if !made.status.success() {
        return Err(Stop::failed(String::from_utf8_lossy(&made.stderr)));
    }
    run("dmsetup mknodes")?;
    run("mke2fs -q -t ext4 /dev/mapper/slow")?;
    std::fs::create_dir_all(FOLDER)?;
    run(&format!("mount -t ext4 /dev/mapper/slow {FOLDER}"))?;
    std::fs::copy(ours(), &installed)?;
    run("sync")?;
    let stage = started(SLOW, &installed)?;
    let mut watch = Watch::begin(&stage)?;
    run("dmsetup suspend --noflush --nolockfs --noudevsync slow")?;
    let noticed = stage.r1.replace("VRRP").and_then(|()| watch.expect_nothing());
    run("dmsetup resume --noudevsync slow")?;
    noticed
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
        let modules = ["veth", "bridge", "loop", "dm-mod"];
        let vm = modules.into_iter().fold(vm, netlab::vm::Vm::module).memory(1024).processors(2);
        let programs = [env!("CARGO_BIN_EXE_keepalived-rs"), "ip", "dmsetup", "mke2fs"];
        Ok(programs.into_iter().try_fold(vm, |vm, program| vm.program(program))?)
    };
    harness::main_in_vm(files, &[case("clock", clock), case("disk", disk), case("memory", memory)])
}
