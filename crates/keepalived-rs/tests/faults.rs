//! Processes that die, stand still or are replaced, files that are read again or overwritten: what clients and peers
//! notice of it. With keepalived-rs on both sides, and with Debian's keepalived as the peer.
#![allow(clippy::indexing_slicing, reason = "a test")]

#[path = "support/stage.rs"]
mod stage;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Capture, Host, Pinger, Process, Program, peers};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use stage::{Kind, PLAIN, Router, Stage, Watch, adverts, copy_program, overwrite};
use support::{Daemon, PATIENCE};

/// VRRPv2 knows whole seconds only.
const HEADERS: Kind = Kind {
    version: 2,
    interval: Duration::from_secs(1),
    lines: "authentication {\n auth_type AH\n auth_pass secret\n }",
    links: 1,
};
const VMAC: Kind = Kind { lines: "use_vmac", ..PLAIN };
const GROUP: Kind = Kind { links: 2, ..PLAIN };
const SLOW: Kind = Kind { interval: Duration::from_secs(1), ..PLAIN };
/// Whoever is Active stays so.
const NOPREEMPT: Kind = Kind { lines: "nopreempt", ..PLAIN };
/// A macvlan with its packet filter, and everything else that a daemon puts on a host.
const EVERYTHING: Kind = Kind {
    lines: "use_vmac\n virtual_routes {\n 10.9.0.0/16 via 198.18.0.9 dev eth0\n }\n \
            virtual_rules {\n from 10.9.0.0/16 table 100\n }\n virtual_ipaddress_excluded {\n 198.18.0.77/32 dev eth0\n }",
    ..PLAIN
};

/// So often a story may begin anew in which a process has a third of a second to start: what others do on this machine
/// passes, a fault of ours stays.
const TRIES: usize = 3;

fn in_one_of_some(story: impl Fn() -> CaseResult) -> CaseResult {
    let mut last = Ok(());
    for _ in 0..TRIES {
        last = story();
        if !matches!(last, Err(Stop::Failed(_))) {
            break;
        }
    }
    last
}

fn processes_die(kind: Kind, peer: Daemon) -> CaseResult {
    in_one_of_some(|| each_process_dies(kind, peer))
}

/// SIGKILL of the peer's worker, of the process for scripts, and of the worker that advertises.
fn each_process_dies(kind: Kind, peer: Daemon) -> CaseResult {
    let stage = Stage::started(kind, Daemon::Ours, peer)?;
    let mut watch = Watch::begin(&stage)?;
    if peer == Daemon::Ours {
        stage.r2.replace("VRRP")?;
        stage.wait_until("the peer's worker", || Ok(stage.r2.said("Entering BACKUP STATE (init)") > 0))?;
        stage.r2.replace("Runner")?;
    }
    stage.r1.replace("Runner")?;
    stage.r1.replace("VRRP")?;
    for link in 0..kind.links {
        stage.wait_for_line(&stage.r1, &format!("(VI_{link}) continuing as MASTER"))?;
    }
    watch.expect_nothing()
}

/// Its workers resign: the peer waits for Skew_Time only.
fn the_supervisor_dies(kind: Kind, peer: Daemon) -> CaseResult {
    let mut stage = Stage::new(kind, Daemon::Ours, peer)?;
    let before = stage.r1.kernel_state()?;
    stage.r1.start(&kind.config(150, ""))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&kind.config(90, ""))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
    let pingers = stage.ping()?;
    kill(stage.r1.process().pid(), Signal::SIGKILL)?;
    stage.wait_for_holder("r2")?;
    stage.lost_at_most(&pingers, kind.skew(90), "take-over after the death of the supervisor")?;
    stage.wait_until("every process to end", || Ok(stage.r1.process().processes()?.is_empty()))?;
    same_as(&stage, &before)
}

/// Nothing that it made is left on r1.
fn same_as(stage: &Stage, before: &[String]) -> CaseResult {
    let mut after = Vec::new();
    let waited = stage.wait_until("the host to be as before", || {
        after = stage.r1.kernel_state()?;
        Ok(after == before)
    });
    waited.map_err(|_| {
        let not_in = |these: &[String], those: &[String]| {
            these.iter().filter(|it| !those.contains(it)).map(|it| format!("  {it}\n")).collect::<String>()
        };
        stage.fail(&format!("left:\n{}missing:\n{}", not_in(&after, before), not_in(before, &after)))
    })
}

/// A worker that stands still is replaced before its peers lose their patience.
fn a_stopped_worker_is_replaced_unnoticed(peer: Daemon) -> CaseResult {
    let stage = Stage::started(SLOW, Daemon::Ours, peer)?;
    let mut watch = Watch::begin(&stage)?;
    kill(stage.r1.pid("VRRP")?, Signal::SIGSTOP)?;
    stage.wait_for_line(&stage.r1, "VRRP process gave no sign of life in time - replacing it")?;
    stage.wait_for_line(&stage.r1, "(VI_0) continuing as MASTER")?;
    watch.expect_nothing()
}

/// The peer of fast adverts takes over before the watchdog bites. The new worker gives up what the old one held, and speaks
/// again only when it has won an election.
fn a_stopped_worker_of_fast_adverts_is_replaced(peer: Daemon) -> CaseResult {
    let stage = Stage::started(PLAIN, Daemon::Ours, peer)?;
    let wire = stage.lans[0].capture()?;
    let stopped = Instant::now();
    kill(stage.r1.pid("VRRP")?, Signal::SIGSTOP)?;
    stage.wait_for_line(&stage.r1, "VRRP process gave no sign of life in time - replacing it")?;
    stage.wait_for_line(&stage.r1, "(VI_0) Entering BACKUP STATE (init)")?;
    stage.wait_for_holder("r1")?;
    stage.spoke_only_after_giving_up(&wire, stopped)
}

/// Who has been silent for so long that the peer took over gives up first, for the peer has the clients, and says why. If
/// it takes over again, it announces that.
fn nobody_replaces_a_stopped_worker(kind: Kind, holder: &str) -> CaseResult {
    let stage = Stage::started(kind, Daemon::Ours, Daemon::Ours)?;
    let (supervisor, worker) = (stage.r1.process().pid(), stage.r1.pid("VRRP")?);
    let wire = stage.lans[0].capture()?;
    let stopped = Instant::now();
    kill(supervisor, Signal::SIGSTOP)?;
    kill(worker, Signal::SIGSTOP)?;
    stage.wait_until("the peer's take-over", || Ok(stage.r2.host.holds(vip())?))?;
    stage.wait_until("the announcements of the take-over", || Ok(garps(&wire, stopped) >= 5))?;
    let mended = Instant::now();
    kill(worker, Signal::SIGCONT)?;
    stage.wait_for_line(&stage.r1, "(VI_0) VRRP thread timer expired ")?;
    stage.wait_for_holder(holder)?;
    if holder == "r1" {
        stage.wait_until("the winner to announce itself", || Ok(garps(&wire, mended) > 0))?;
    }
    kill(supervisor, Signal::SIGCONT)?;
    stage.spoke_only_after_giving_up(&wire, stopped)
}

/// All processes stand still until the peer has taken over.
fn a_frozen_daemon_gives_up_before_it_speaks(kind: Kind, peer: Daemon, holder: &str) -> CaseResult {
    let stage = Stage::started(kind, Daemon::Ours, peer)?;
    for _ in 0..3 {
        let wire = stage.lans[0].capture()?;
        let frozen = Instant::now();
        stage.r1.process().freeze_all()?;
        stage.wait_until("the peer's take-over", || {
            let has_spoken = adverts(&wire).iter().any(|(at, advert)| *at > frozen && advert.is_from(2));
            Ok(has_spoken && stage.r2.host.holds(vip())?)
        })?;
        stage.r1.process().thaw_all()?;
        stage.wait_for_holder(holder)?;
        stage.spoke_only_after_giving_up(&wire, frozen)?;
        if holder == "r2" {
            break;
        }
    }
    Ok(())
}

/// A Backup Router stands still until its Active_Down_Timer has ended in silence. One advert that came after that and waits
/// in its socket when it goes on is heard before anything else; without one it takes over.
fn a_stopped_backup_goes_on(an_advert_waits: bool) -> CaseResult {
    let kind = Kind { interval: Duration::from_millis(300), ..PLAIN };
    let stage = Stage::started(kind, Daemon::Ours, Daemon::Ours)?;
    let (supervisor, worker) = (stage.r2.process().pid(), stage.r2.pid("VRRP")?);
    let wire = stage.r2.host.capture("eth0")?;
    stage.lans[0].block(&stage.r1.host, "eth0")?;
    // With its supervisor, which would replace it.
    kill(supervisor, Signal::SIGSTOP)?;
    kill(worker, Signal::SIGSTOP)?;
    stage.pass(2 * kind.active_down(90))?;
    if an_advert_waits {
        let mended = Instant::now();
        stage.lans[0].unblock(&stage.r1.host, "eth0")?;
        stage.wait_until("an advert", || {
            Ok(adverts(&wire).iter().any(|(at, advert)| *at > mended && advert.is_from(1)))
        })?;
    }
    kill(worker, Signal::SIGCONT)?;
    if !an_advert_waits {
        return stage.wait_for_line(&stage.r2, "Entering MASTER STATE");
    }
    kill(supervisor, Signal::SIGCONT)?;
    // Whatever the worker did first it has done then.
    stage.r2.reload()?;
    stage.ensure(stage.r2.pid("VRRP")? == worker, "the worker was replaced")?;
    let has_spoken = adverts(&wire).iter().any(|(_, advert)| advert.is_from(2));
    stage.ensure(stage.r2.said("Entering MASTER STATE") == 0 && !has_spoken, "r2 has overheard an advert")
}

/// The address of the first link.
fn vip() -> IpAddr {
    PLAIN.vips().next().expect("there is one")
}

/// How often any address was announced since then.
fn garps(wire: &Capture, since: Instant) -> usize {
    wire.frames().iter().filter(|frame| frame.at > since && frame.gratuitous_arp().is_some()).count()
}

/// SIGKILL of everything; the command takes away what is left, whatever it is.
fn cleanup_leaves_nothing() -> CaseResult {
    let mut stage = Stage::new(EVERYTHING, Daemon::Ours, Daemon::Ours)?;
    let before = stage.r1.kernel_state()?;
    stage.r1.start(&EVERYTHING.config(150, "no_accept"))?;
    stage.wait_for_holder("r1")?;
    stage
        .wait_until("the route", || Ok(stage.r1.kernel_state()?.iter().any(|line| line.starts_with("10.9.0.0/16"))))?;
    stage.r1.process().kill_all()?;
    stage.ensure(stage.r1.host.holds(vip())?, "a dead daemon cannot have removed it")?;
    let cleanup = Program::new(env!("CARGO_BIN_EXE_keepalived-rs")).args(["cleanup", "-f"]);
    let cleanup = cleanup.arg(stage.r1.path("keepalived.conf")).arg("-p").arg(stage.r1.path("daemon.pid"));
    let done = stage.r1.host.spawn(cleanup)?;
    if !done.wait_for_exit(PATIENCE)?.success() {
        let lines: Vec<_> = done.lines().into_iter().map(|line| line.text).collect();
        return Err(stage.fail(&format!("cleanup failed\n{}", lines.join("\n"))));
    }
    same_as(&stage, &before)?;
    stage.ensure(!stage.r1.path("daemon.state").exists(), "the state file is still there")
}

/// The same file: nobody sees anything, and nothing is announced.
fn a_reload_of_the_same_file_is_unnoticed() -> CaseResult {
    let stage = Stage::started(GROUP, Daemon::Ours, Daemon::Ours)?;
    let mut watch = Watch::begin(&stage)?;
    let since = Instant::now();
    for _ in 0..3 {
        stage.r1.reload()?;
        stage.r2.reload()?;
    }
    watch.expect_nothing()?;
    let announced: usize = watch.wires.iter().map(|wire| garps(wire, since)).sum();
    stage.ensure(announced == 0, &format!("{announced} announcements"))
}

/// One address more on one side, then on the other one, and one less again.
fn a_reload_with_one_address_more_moves_nothing() -> CaseResult {
    let stage = Stage::started(PLAIN, Daemon::Ours, Daemon::Ours)?;
    let added: IpAddr = [198, 18, 0, 101].into();
    let with = |text: String| text.replace("198.18.0.100/24\n", "198.18.0.100/24\n 198.18.0.101/24\n");
    for (router, text, holds) in [
        (&stage.r1, with(PLAIN.config(150, "")), true),
        (&stage.r2, with(PLAIN.config(90, "")), true),
        (&stage.r1, PLAIN.config(150, ""), false),
    ] {
        let mut watch = Watch::begin(&stage)?;
        router.write(&text)?;
        router.reload()?;
        stage.wait_until("the address", || Ok(stage.r1.host.holds(added)? == holds))?;
        stage.ensure(!stage.r2.host.holds(added)?, "the peer holds it")?;
        watch.expect_nothing()?;
    }
    Ok(())
}

/// The processes that follow are of the image that runs.
fn an_installed_binary_that_is_overwritten_does_not_matter() -> CaseResult {
    in_one_of_some(processes_follow_an_overwritten_binary)
}

fn processes_follow_an_overwritten_binary() -> CaseResult {
    let mut stage = Stage::new(PLAIN, Daemon::Ours, Daemon::Ours)?;
    let installed = stage.r1.path("keepalived");
    copy_program(env!("CARGO_BIN_EXE_keepalived-rs").as_ref(), &installed)?;
    stage.r1.start_program(Program::new(&installed).args(["-nlDG", "--vrrp"]), &PLAIN.config(150, ""))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&PLAIN.config(90, ""))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
    let mut watch = Watch::begin(&stage)?;
    overwrite(&installed)?;
    stage.r1.replace("Runner")?;
    stage.r1.replace("VRRP")?;
    watch.expect_nothing()
}

/// No carrier: the peer waits for Active_Down_Interval; the return costs nothing.
fn a_link_goes_down_and_up(kind: Kind, peer: Daemon) -> CaseResult {
    let stage = Stage::started(kind, Daemon::Ours, peer)?;
    let pingers = stage.ping()?;
    stage.r1.host.cut("eth0")?;
    stage.wait_for_holder("r2")?;
    stage.lost_at_most(&pingers, kind.active_down(90), "take-over after a link went down")?;
    let pingers = stage.ping()?;
    stage.r1.host.mend("eth0")?;
    stage.wait_for_holder("r1")?;
    stage.lost_at_most(&pingers, Duration::ZERO, "return of the link")
}

/// The interface goes with everything on it, and another one of its name comes: the peer waits for Active_Down_Interval, the
/// return costs nothing.
fn an_interface_goes_and_comes(peer: Daemon) -> CaseResult {
    use vip_netlink::{Change, LinkName, LinkRef};
    let mut stage = Stage::new(PLAIN, Daemon::Ours, peer)?;
    stage.r1.start(&PLAIN.config(150, "").replace("global_defs {", "global_defs {\n dynamic_interfaces\n"))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&PLAIN.config(90, ""))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
    let pingers = stage.ping()?;
    let eth0: LinkName = "eth0".parse().expect("a name");
    stage.r1.host.change(&[Change::DelLink(LinkRef::Name(eth0))])?;
    stage.wait_for_holder("r2")?;
    stage.lost_at_most(&pingers, PLAIN.active_down(90), "take-over after an interface was deleted")?;
    let pingers = stage.ping()?;
    stage.lab.connect(&stage.r1.host, "eth0", &stage.lans[0])?;
    stage.r1.host.address("eth0", "198.18.0.1/24")?;
    stage.wait_for_holder("r1")?;
    stage.lost_at_most(&pingers, Duration::ZERO, "return of the interface")
}

/// With next to no room for them most of the kernel's reports are lost; nobody but the log hears of it.
fn reports_of_the_kernel_are_lost() -> CaseResult {
    use vip_netlink::{Address, Change};
    let mut stage = Stage::new(PLAIN, Daemon::Ours, Daemon::Ours)?;
    let small = "global_defs {\n vrrp_netlink_monitor_rcv_bufs 1\n";
    stage.r1.start(&PLAIN.config(150, "").replace("global_defs {", small))?;
    stage.wait_for_holder("r1")?;
    stage.r2.start(&PLAIN.config(90, ""))?;
    stage.wait_for_line(&stage.r2, "Entering BACKUP STATE")?;
    let link = stage.r1.host.addresses()?.into_iter().find(|address| address.ip == vip()).map(|address| address.link);
    let link = link.ok_or_else(|| stage.fail("r1 lost its address"))?;
    let many = (0..3000_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        Address::new(link, [10, 9, high, low].into(), 32)
    });
    let many: Vec<_> = many.collect();
    let pingers = stage.ping()?;
    stage.r1.host.change(&many.iter().copied().map(Change::AddAddress).collect::<Vec<_>>())?;
    stage.r1.host.change(&many.into_iter().map(Change::RemoveAddress).collect::<Vec<_>>())?;
    stage.wait_for_line(&stage.r1, "Receive buffer overrun on monitor socket")?;
    stage.pass(PLAIN.active_down(90))?;
    stage.lost_at_most(&pingers, Duration::ZERO, "lost reports")?;
    let changes = stage.r2.said("Entering MASTER STATE") + stage.r1.said("Entering BACKUP STATE") - 1;
    stage.ensure(changes == 0 && stage.r1.said("removed") == 0, "somebody changed its state")
}

/// A switch that forwards nothing for a while after the link is up: both are Active, until they hear each other again.
fn a_switch_is_silent_after_carrier() -> CaseResult {
    let stage = Stage::started(PLAIN, Daemon::Ours, Daemon::Ours)?;
    stage.r1.host.cut("eth0")?;
    stage.wait_for_holder("r2")?;
    stage.lans[0].block(&stage.r1.host, "eth0")?;
    stage.r1.host.mend("eth0")?;
    stage.wait_until("two who do not hear each other", || Ok(stage.lab.holders(vip())?.len() == 2))?;
    let wire = stage.client.capture("eth0")?;
    let pingers = stage.ping()?;
    let heard = Instant::now();
    stage.lans[0].unblock(&stage.r1.host, "eth0")?;
    stage.wait_for_holder("r1")?;
    stage.took_at_most(heard.elapsed(), PLAIN.interval * 2, "the yielding of the worse one")?;
    stage.wait_until("the winner to announce itself", || Ok(garps(&wire, heard) > 0))?;
    stage.lost_at_most(&pingers, PLAIN.active_down(150), "the end of the silence")?;
    stage.wait_for_line(&stage.r2, "Master received advert from 198.18.0.1 with higher priority 150, ours 90")
}

/// What a network manager does when it starts: everything on the interface that it does not know goes, and its own
/// addresses are set once more.
fn a_network_manager_restarts(own_address_goes: bool) -> CaseResult {
    let stage = Stage::started(PLAIN, Daemon::Ours, Daemon::Ours)?;
    stage.r1.host.set_sysctl("net/ipv4/conf/eth0/promote_secondaries", "1")?;
    for _ in 0..3 {
        let (pingers, events): (Vec<Pinger>, _) = (stage.ping()?, stage.r1.said("198.18.0.100 removed"));
        for address in stage.r1.host.addresses()? {
            let own = address.ip == IpAddr::from([198, 18, 0, 1]);
            if address.ip.is_ipv4() && !address.ip.is_loopback() && (own_address_goes || !own) {
                stage.r1.host.change(&[vip_netlink::Change::RemoveAddress(address)])?;
            }
        }
        if own_address_goes {
            stage.r1.host.address("eth0", "198.18.0.1/24")?;
        } else {
            stage.wait_until("the loss to be seen", || Ok(stage.r1.said("198.18.0.100 removed") > events))?;
        }
        stage.wait_for_holder("r1")?;
        let bound = if own_address_goes { PLAIN.active_down(90) } else { Duration::ZERO };
        stage.lost_at_most(&pingers, bound, "what a network manager took away")?;
    }
    let resigned = stage.r1.said("(VI_0) Entering BACKUP STATE");
    stage.ensure(own_address_goes || resigned == 1, "it gave up what was put back at once")
}

/// systemd-networkd itself, as it starts on links that udev knows: with `KeepConfiguration=` and `ManageForeignRoutes=` as
/// they are unless set, all addresses of the link that it manages go, its own one comes back. Ours is there again as soon as
/// one of a bare loop that puts back what goes, and nobody changes its state.
fn networkd_restarts() -> CaseResult {
    in_one_of_some(networkd_starts_anew)
}

fn networkd_starts_anew() -> CaseResult {
    let stage = Stage::started(PLAIN, Daemon::Ours, Daemon::Ours)?;
    // As systemd sets it on its hosts.
    stage.r1.host.set_sysctl("net/ipv4/conf/eth0/promote_secondaries", "1")?;
    let keeper = Keeper::of(&stage.r1.host)?;
    let (mut networkd, mut times) = (None, [Vec::new(), Vec::new()]);
    for _ in 0..3 {
        let (pingers, control) = (stage.ping()?, stage.client.ping(keeper.address, Duration::from_millis(2))?);
        control.wait_for_answer(PATIENCE)?;
        let (removed, kept) = (stage.r1.said("198.18.0.100 removed"), keeper.kept.load(Ordering::Relaxed));
        stop_networkd(networkd.take())?;
        let process = networkd.insert(start_networkd(&stage)?);
        stage.wait_until("networkd to take the addresses", || {
            let ended = process.wait_for_exit(Duration::ZERO).ok();
            if ended.is_some_and(|status| status.code() == Some(NO_SYSFS)) {
                return Err(Stop::Skipped("sysfs cannot be mounted here".into()));
            }
            stage.ensure(
                ended.is_none(),
                &process.lines().iter().map(|line| format!("{}\n", line.text)).collect::<String>(),
            )?;
            Ok(stage.r1.said("198.18.0.100 removed") > removed && keeper.kept.load(Ordering::Relaxed) > kept)
        })?;
        process.wait_for_line("eth0: State changed: configuring -> configured", PATIENCE)?;
        stage.wait_for_holder("r1")?;
        stage.pass(PLAIN.active_down(90))?;
        control.wait_for_answer(PATIENCE)?;
        let lost = |pinger: &Pinger| pinger.longest_gap().map_or(Duration::ZERO, |gap| gap.duration());
        times[0].push(pingers.iter().map(lost).max().unwrap_or_default());
        times[1].push(lost(&control));
    }
    stop_networkd(networkd)?;
    times.iter_mut().for_each(|times| times.sort_unstable());
    let within = times[0][1] <= times[1][1] + Duration::from_millis(10);
    stage.ensure(within, &format!("the medians of the address and of the control: {times:?}"))?;
    let changes = stage.r2.said("Entering MASTER STATE") + stage.r1.said("Entering BACKUP STATE") - 1;
    stage.ensure(changes == 0, "somebody changed its state")
}

/// What the script below says where it cannot go on.
const NO_SYSFS: i32 = 77;

fn start_networkd(stage: &Stage) -> Result<Process, Stop> {
    const NETWORK: &str = "[Match]\nName=eth0\n[Network]\nAddress=198.18.0.1/24\n";
    // Without udev to tell that the links are ready it would take them for those of a container and leave them alone.
    const SCRIPT: &str = "mount -t sysfs none /sys || exit 77; mkdir -p /run/systemd/netif /run/udev/data\n\
                          for link in /sys/class/net/*; do echo I:1 >/run/udev/data/n$(cat $link/ifindex); done\n\
                          exec \"$0\"";
    let peer = peers::networkd()?;
    let program = peer.program_as(Path::new("/bin/sh")).args(["-c", SCRIPT]).arg(&peer.path);
    let program = program
        .env("SYSTEMD_LOG_LEVEL", "debug")
        .file("/etc/passwd", "root:x:0:0::/:/bin/sh\nsystemd-network:x:0:0::/:/bin/sh\n")
        .file("/etc/group", "root:x:0:\nsystemd-network:x:0:\n")
        .file("/run/systemd/network/eth0.network", NETWORK);
    Ok(stage.r1.host.spawn(program)?)
}

fn stop_networkd(process: Option<Process>) -> CaseResult {
    if let Some(process) = process {
        process.signal(Signal::SIGTERM)?;
        process.wait_for_exit(PATIENCE)?;
    }
    Ok(())
}

/// The control: puts an address back as soon as the kernel tells that it is gone.
struct Keeper {
    address: IpAddr,
    /// How often.
    kept: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn of(host: &Host) -> Result<Self, Stop> {
        use vip_netlink::{Change, Event, Monitor, RouteSocket};
        const ADDRESS: [u8; 4] = [198, 18, 0, 200];
        host.address("eth0", "198.18.0.200/24")?;
        let (mut route, mut monitor) = (host.run(RouteSocket::open)?, host.run(Monitor::open)?);
        let (kept, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (Arc::clone(&kept), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let _ = poll(&mut [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)], PollTimeout::from(50_u8));
                while let Ok(Some(event)) = monitor.poll_event() {
                    if let Event::AddressRemoved(address) = event
                        && address.ip == IpAddr::from(ADDRESS)
                    {
                        route.apply(&[Change::AddAddress(address)]);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Ok(Self { address: ADDRESS.into(), kept, stop, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ten_thousand_addresses_on_the_link() -> CaseResult {
    in_one_of_some(ten_thousand_addresses_come_and_go)
}

/// Ten thousand addresses on the link come, stay while the worker is killed, and go.
fn ten_thousand_addresses_come_and_go() -> CaseResult {
    use vip_netlink::{Address, Change};
    let stage = Stage::started(PLAIN, Daemon::Ours, Daemon::Ours)?;
    let link = stage.r1.host.addresses()?.into_iter().find(|address| address.ip == vip()).map(|address| address.link);
    let link = link.ok_or_else(|| stage.fail("r1 lost its address"))?;
    let many = (0..10_000_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        Address::new(link, [10, 9, high, low].into(), 32)
    });
    let many: Vec<_> = many.collect();
    let pingers = stage.ping()?;
    stage.r1.host.change(&many.iter().copied().map(Change::AddAddress).collect::<Vec<_>>())?;
    let mut watch = Watch::begin(&stage)?;
    stage.r1.replace("VRRP")?;
    stage.wait_for_line(&stage.r1, "(VI_0) continuing as MASTER")?;
    watch.expect_nothing()?;
    stage.r1.host.change(&many.into_iter().map(Change::RemoveAddress).collect::<Vec<_>>())?;
    stage.pass(PLAIN.active_down(90))?;
    let lost = pingers.iter().find_map(Pinger::longest_gap);
    stage.ensure(lost.is_none(), &format!("the client lost {lost:?}"))?;
    let changes = stage.r2.said("Entering MASTER STATE") + stage.r1.said("Entering BACKUP STATE") - 1;
    stage.ensure(changes == 0, "somebody changed its state")
}

/// The address decides, and nobody else takes over.
fn equal_priority(kind: Kind, daemons: [Daemon; 2], line: &str) -> CaseResult {
    let mut stage = Stage::new(kind, daemons[0], daemons[1])?;
    stage.r1.start(&kind.config(100, ""))?;
    stage.wait_for_holder("r1")?;
    // A Backup Router accepts who is as good as itself: only two that do not hear each other both become Active.
    stage.lans[0].block(&stage.r2.host, "eth0")?;
    stage.r2.start(&kind.config(100, ""))?;
    stage.wait_until("two who do not hear each other", || Ok(stage.lab.holders(vip())?.len() == 2))?;
    stage.lans[0].unblock(&stage.r2.host, "eth0")?;
    stage.wait_for_holder("r2")?;
    if daemons[0] == Daemon::Ours {
        stage.wait_for_line(&stage.r1, line)?;
    }
    stage.pass(kind.active_down(100) * 3)?;
    stage.wait_for_holder("r2")?;
    let changes = stage.r2.said("Entering BACKUP STATE") + stage.r1.said("Entering MASTER STATE");
    stage.ensure(changes == 2, "they change their states again and again")
}

/// Two that own the addresses: one of them gives way and says what is wrong. Debian's keepalived gives way to anyone, and
/// begins as Backup where it hears somebody.
fn two_owners(daemons: [Daemon; 2], yields: Option<fn(&Stage) -> &Router>) -> CaseResult {
    let mut stage = Stage::new(PLAIN, daemons[0], daemons[1])?;
    // With a script to wait for, keepalived would begin as Backup.
    let text = PLAIN.config(255, "").replace("track_script {\n alive\n }", "");
    stage.r2.start(&text)?;
    stage.wait_for_holder("r2")?;
    stage.r1.start(&text)?;
    if let Some(yields) = yields.map(|yields| yields(&stage)) {
        stage.wait_for_line(yields, "CONFIGURATION ERROR: local instance and")?;
        let other = if yields.host.name() == "r1" { "r2" } else { "r1" };
        stage.wait_for_holder(other)?;
    }
    let holders = || Ok(stage.lab.holders(vip())?.len() == 1);
    stage.wait_until("one holder", holders)?;
    let one = stage.lab.holders(vip())?;
    stage.pass(PLAIN.active_down(255) * 3)?;
    stage.ensure(stage.lab.holders(vip())? == one, "they change their states again and again")
}

macro_rules! cases {
    ($($name:ident = $test:ident($($argument:expr),*);)+) => {
        $(mod $name {
            use super::*;
            pub(crate) fn run() -> CaseResult {
                super::$test($($argument),*)
            }
        })+

        fn main() -> ExitCode {
            harness::main(&[$(case(stringify!($name), $name::run)),+])
        }
    };
}

const OURS: Daemon = Daemon::Ours;
const C: Daemon = Daemon::C;
const SAME_PRIORITY: &str = "with same priority 100 but higher IP address than ours";

cases! {
    killed_processes = processes_die(PLAIN, OURS);
    killed_processes_beside_c = processes_die(PLAIN, C);
    killed_processes_with_headers = processes_die(HEADERS, OURS);
    killed_processes_with_headers_beside_c = processes_die(HEADERS, C);
    killed_processes_with_a_vmac = processes_die(VMAC, OURS);
    killed_processes_with_a_vmac_beside_c = processes_die(VMAC, C);
    killed_processes_with_a_group = processes_die(GROUP, OURS);
    killed_processes_with_a_group_beside_c = processes_die(GROUP, C);
    killed_supervisor = the_supervisor_dies(PLAIN, OURS);
    killed_supervisor_beside_c = the_supervisor_dies(PLAIN, C);
    killed_supervisor_with_everything = the_supervisor_dies(EVERYTHING, OURS);
    stopped_worker = a_stopped_worker_is_replaced_unnoticed(OURS);
    stopped_worker_beside_c = a_stopped_worker_is_replaced_unnoticed(C);
    stopped_worker_of_fast_adverts = a_stopped_worker_of_fast_adverts_is_replaced(OURS);
    stopped_worker_of_fast_adverts_beside_c = a_stopped_worker_of_fast_adverts_is_replaced(C);
    stopped_worker_without_watchdog = nobody_replaces_a_stopped_worker(PLAIN, "r1");
    stopped_worker_without_watchdog_nopreempt = nobody_replaces_a_stopped_worker(NOPREEMPT, "r2");
    stopped_backup_whose_socket_holds_an_advert = a_stopped_backup_goes_on(true);
    stopped_backup_whose_socket_is_empty = a_stopped_backup_goes_on(false);
    frozen_daemon = a_frozen_daemon_gives_up_before_it_speaks(PLAIN, OURS, "r1");
    frozen_daemon_beside_c = a_frozen_daemon_gives_up_before_it_speaks(PLAIN, C, "r1");
    frozen_daemon_nopreempt = a_frozen_daemon_gives_up_before_it_speaks(NOPREEMPT, OURS, "r2");
    cleanup_after_everything_was_killed = cleanup_leaves_nothing();
    reload_of_the_same_file = a_reload_of_the_same_file_is_unnoticed();
    reload_with_one_address_more = a_reload_with_one_address_more_moves_nothing();
    overwritten_binary = an_installed_binary_that_is_overwritten_does_not_matter();
    link_down_and_up = a_link_goes_down_and_up(PLAIN, OURS);
    link_down_and_up_in_a_group = a_link_goes_down_and_up(GROUP, OURS);
    interface_deleted_and_recreated = an_interface_goes_and_comes(OURS);
    interface_deleted_and_recreated_beside_c = an_interface_goes_and_comes(C);
    netlink_overflow = reports_of_the_kernel_are_lost();
    silence_after_carrier = a_switch_is_silent_after_carrier();
    network_manager_drops_foreign_addresses = a_network_manager_restarts(false);
    network_manager_sets_its_own_address_anew = a_network_manager_restarts(true);
    networkd = networkd_restarts();
    ten_thousand_addresses = ten_thousand_addresses_on_the_link();
    equal_priority_higher_address_wins = equal_priority(PLAIN, [OURS, OURS], SAME_PRIORITY);
    equal_priority_ours_yields_to_c = equal_priority(PLAIN, [OURS, C], SAME_PRIORITY);
    equal_priority_c_yields_to_ours = equal_priority(PLAIN, [C, OURS], SAME_PRIORITY);
    two_address_owners = two_owners([OURS, OURS], Some(|stage| &stage.r1));
    two_address_owners_ours_joins_c = two_owners([OURS, C], Some(|stage| &stage.r2));
    two_address_owners_c_joins_ours = two_owners([C, OURS], None);
}
