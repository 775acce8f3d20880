//! Faults of a whole machine: a clock that is set, a disk that does not answer, memory that runs out. This test boots a
//! virtual machine and runs itself in there.

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "support/stage.rs"]
mod stage;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::process::{Command, ExitCode};
use std::time::Duration;

use netlab::Program;
use netlab::harness::{self, CaseResult, Stop, case};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use stage::{Kind, PLAIN, Stage, Watch};
use support::Daemon;

/// The machine is emulated and slow.
const SLOW: Kind = Kind { interval: Duration::from_secs(2), ..PLAIN };

/// Signed adverts carry the time.
const SIGNED: Kind = Kind { lines: "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n }", ..SLOW };

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
fn the_clock_is_set(kind: Kind) -> CaseResult {
    let stage = Stage::started(kind, Daemon::Ours, Daemon::Ours)?;
    let mut watch = Watch::begin(&stage)?;
    for hours in [1, -2, 1] {
        let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
        clock_settime(ClockId::CLOCK_REALTIME, now + TimeSpec::new(hours * 3600, 0))?;
        stage.pass(kind.active_down(90) + kind.interval)?;
    }
    watch.expect_nothing()
}

fn clock() -> CaseResult {
    the_clock_is_set(SLOW)
}

fn clock_of_signed_adverts() -> CaseResult {
    the_clock_is_set(SIGNED)
}

/// The binary is on a disk that stops answering, and what the kernel had read of it and nobody uses is
/// forgotten. The worker is killed.
fn disk() -> CaseResult {
    const FOLDER: &str = "/tmp/disk";
    let mut stage = Stage::new(SLOW, Daemon::Ours, Daemon::Ours)?;
    let (image, installed) = (stage.r1.path("image"), format!("{FOLDER}/keepalived"));
    let size = 64 * 1024 * 1024 + std::fs::metadata(env!("CARGO_BIN_EXE_keepalived-rs"))?.len() / 512 * 512;
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
    std::fs::copy(env!("CARGO_BIN_EXE_keepalived-rs"), &installed)?;
    run("sync")?;
    let program = Program::new(&installed).args(["-nlDG", "--vrrp"]);
    stage.r1.start_program(program, &SLOW.config(150, ""))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&SLOW.config(90, ""))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
    let mut watch = Watch::begin(&stage)?;
    run("dmsetup suspend --noflush --nolockfs --noudevsync slow")?;
    std::fs::write("/proc/sys/vm/drop_caches", "1\n")?;
    let noticed = stage.r1.replace("VRRP").and_then(|()| watch.expect_nothing());
    run("dmsetup resume --noudevsync slow")?;
    noticed
}

/// The kernel kills who took all of it; whoever it killed beside that is back before anybody notices.
fn memory() -> CaseResult {
    let stage = Stage::started(SLOW, Daemon::Ours, Daemon::Ours)?;
    let mut watch = Watch::begin(&stage)?;
    let hog = stage.client.spawn(Program::new("/bin/sh").args(["-c", "exec tail /dev/zero"]))?;
    let ended = hog.wait_for_exit(Duration::from_secs(60))?;
    let killed = std::os::unix::process::ExitStatusExt::signal(&ended) == Some(9);
    stage.ensure(killed, &format!("memory did not run out: {ended}"))?;
    watch.expect_nothing()
}

fn main() -> ExitCode {
    let files = |vm: netlab::vm::Vm| {
        let modules = ["veth", "bridge", "loop", "dm-mod"];
        let vm = modules.into_iter().fold(vm, netlab::vm::Vm::module).memory(1536).processors(2);
        let programs = [env!("CARGO_BIN_EXE_keepalived-rs"), "ip", "dmsetup", "mke2fs"];
        Ok(programs.into_iter().try_fold(vm, |vm, program| vm.program(program))?)
    };
    harness::main_in_vm(
        files,
        &[
            case("clock", clock),
            case("clock_of_signed_adverts", clock_of_signed_adverts),
            case("disk", disk),
            case("memory", memory),
        ],
    )
}
