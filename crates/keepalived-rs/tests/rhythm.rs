//! Adverts keep their rhythm whatever arrives, whoever is busy and whoever holds the kernel's lock: next to a bare timer
//! that sends in the same run.
#![allow(clippy::indexing_slicing, reason = "a test")]

#[path = "support/crowd.rs"]
mod crowd;
#[path = "support/junk.rs"]
mod junk;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "support/stage.rs"]
mod stage;
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crowd::crowded;
use junk::{JUNK, address, flood, host};
use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Capture, EXPERIMENT, Host, Junk, Program, Ticker};
use nix::sys::signal::Signal;
use stage::{Advert, Kind, PLAIN, Stage};
use support::{Daemon, PATIENCE, wait_until};
use vip_netlink::Change;

/// Adverts with a password.
const PASS: Kind = Kind {
    version: 2,
    interval: Duration::from_secs(1),
    lines: "authentication {\n auth_type PASS\n auth_pass secret\n }",
    links: 1,
};

/// So often a window may be looked at again: what others do on this machine passes, a fault of ours stays.
const TRIES: usize = 4;

/// How far adverts and the packets of the control were from their rhythm.
#[derive(Debug, Default)]
struct Rhythm {
    /// How much longer than the interval the longest pause was, per VRID.
    late: BTreeMap<u8, Duration>,
    /// How much shorter the shortest one was, of all.
    early: Duration,
    /// The longest pause of the control.
    control: Duration,
    adverts: usize,
}

impl Rhythm {
    /// Of the router r1 within what a capture has.
    fn of(wire: &Capture, interval: Duration) -> Self {
        let (mut rhythm, mut last, mut last_control) = (Self::default(), BTreeMap::new(), None);
        for frame in wire.frames() {
            let Some(packet) = frame.ip() else { continue };
            if packet.protocol == EXPERIMENT {
                if let Some(before) = last_control.replace(frame.at) {
                    rhythm.control = rhythm.control.max((frame.at - before).saturating_sub(interval));
                }
            } else if Advert::of(&frame).is_some_and(|advert| advert.is_from(1)) {
                rhythm.adverts += 1;
                let vrid = packet.payload[1];
                if let Some(before) = last.insert(vrid, frame.at) {
                    let pause = frame.at - before;
                    let late = rhythm.late.entry(vrid).or_default();
                    *late = pause.saturating_sub(interval).max(*late);
                    rhythm.early = rhythm.early.max(interval.saturating_sub(pause));
                }
            }
        }
        rhythm
    }

    fn latest(&self) -> Duration {
        self.late.values().max().copied().unwrap_or(Duration::MAX)
    }
}

/// Looks at windows until one is good.
fn in_one_of_some(stage: &Stage, mut window: impl FnMut() -> Result<Result<(), String>, Stop>) -> CaseResult {
    let mut seen = String::new();
    for _ in 0..TRIES {
        match window()? {
            Ok(()) => return Ok(()),
            Err(what) => seen = format!("{seen}{what}\n"),
        }
    }
    Err(stage.fail(&seen))
}

const TOLERANCE: Duration = Duration::from_millis(5);

/// Neither side changes its state, and the adverts are as regular as the control.
fn junk(kind: Kind, kinds: &'static [Junk]) -> CaseResult {
    let stage = Stage::started(kind, Daemon::Ours, Daemon::Ours)?;
    let (junk_host, control) = (host(&stage, "junk", JUNK)?, host(&stage, "control", 8)?);
    let before = [&stage.r1, &stage.r2].map(|router| router.process().lines().len());
    let control = Ticker::control(&control, address(8), kind.interval)?;
    let window = kind.interval * 5 + Duration::from_secs(1);
    for rate in [8, 5000] {
        in_one_of_some(&stage, || {
            let flood = flood(&junk_host, kind, kinds, rate)?;
            let wire = stage.lans[0].capture()?;
            stage.pass(window)?;
            let rhythm = Rhythm::of(&wire, kind.interval);
            drop((wire, flood));
            // A lower priority is answered, which begins the rhythm anew.
            let answers = kinds.contains(&Junk::LowerPriority);
            let most = rhythm.control + TOLERANCE;
            let regular = rhythm.latest() <= most && (answers || rhythm.early <= most);
            let spoken = kind.interval * u32::try_from(rhythm.adverts).unwrap_or(u32::MAX);
            let few = spoken <= (window + kind.interval * 2) * if answers { 2 } else { 1 };
            Ok(if regular && few { Ok(()) } else { Err(format!("{rate} a second: {rhythm:?}")) })
        })?;
    }
    drop(control);
    for (router, before) in [&stage.r1, &stage.r2].into_iter().zip(before) {
        let changed = |text: &str| text.contains("Entering ") && text.contains(" STATE");
        let lines = router.process().lines();
        if let Some(line) = lines.iter().skip(before).find(|line| changed(&line.text)) {
            return Err(stage.fail(&format!("{}: {}", router.host.name(), line.text)));
        }
    }
    stage.wait_for_holder("r1")
}

/// As many processes that compute as would fill the machine twice.
fn both_processors_are_busy() -> CaseResult {
    let stage = Stage::started(PLAIN, Daemon::Ours, Daemon::Ours)?;
    let control_host = host(&stage, "control", 8)?;
    let spin = || stage.client.spawn(Program::new("/bin/sh").args(["-c", "while :; do :; done"]));
    let busy = 2 * thread::available_parallelism().map_or(2, usize::from);
    let hogs: Vec<_> = (0..busy).map(|_| spin()).collect::<Result<_, _>>()?;
    let _control = Ticker::control(&control_host, address(8), PLAIN.interval)?;
    in_one_of_some(&stage, || {
        let mut watch = stage::Watch::begin(&stage)?;
        stage.pass(Duration::from_secs(3))?;
        let rhythm = Rhythm::of(&watch.wires[0], PLAIN.interval);
        watch.expect_nothing()?;
        let regular = rhythm.latest() <= rhythm.control + TOLERANCE && rhythm.adverts >= 25;
        Ok(if regular { Ok(()) } else { Err(format!("{rhythm:?}")) })
    })?;
    drop(hogs);
    Ok(())
}

/// Many instances of which the last one has as many addresses.
fn many(instances: u8, addresses: u16) -> String {
    let mut text = "global_defs {\n router_id test\n}\n".to_owned();
    let big = instances + 1;
    for vrid in 1..=big {
        let _ = write!(
            text,
            "vrrp_instance VI_{vrid} {{\n interface eth0\n virtual_router_id {vrid}\n priority 150\n version 3\n \
             advert_int 0.1\n garp_master_delay 0\n garp_master_repeat 1\n virtual_ipaddress {{\n 198.18.0.{}/24\n }}\n",
            100 + vrid
        );
        if vrid == big && addresses > 0 {
            text += " virtual_ipaddress_excluded {\n";
            for number in 0..addresses {
                let [high, low] = number.to_be_bytes();
                let _ = writeln!(text, " 10.9.{high}.{low}/32");
            }
            text += " }\n";
        }
        text += "}\n";
    }
    text
}

/// Another process deletes a network namespace with hundreds of links while one instance gains a thousand addresses: the
/// kernel's routing lock is not for others then.
fn the_routing_lock_is_held() -> CaseResult {
    const INSTANCES: u8 = 10;
    const ADDRESSES: u16 = 1000;
    let mut stage = Stage::new(PLAIN, Daemon::Ours, Daemon::Ours)?;
    stage.r1.start(&many(INSTANCES, 0))?;
    let control_host = host(&stage, "control", 8)?;
    let _control = Ticker::control(&control_host, address(8), PLAIN.interval)?;
    for vrid in 1..=INSTANCES + 1 {
        stage.wait_for_line(&stage.r1, &format!("(VI_{vrid}) Entering MASTER STATE"))?;
    }
    let last: IpAddr = [10, 9, 3, 231].into();
    let mut longest = Duration::ZERO;
    in_one_of_some(&stage, || {
        stage.r1.write(&many(INSTANCES, 0))?;
        stage.r1.reload()?;
        stage.wait_until("the addresses to go", || Ok(!stage.r1.host.holds(last)?))?;
        let namespaces = [crowded(300)?, crowded(300)?];
        stage.r1.write(&many(INSTANCES, ADDRESSES))?;
        let wire = stage.lans[0].capture()?;
        let mark = stage.r1.process().mark();
        stage.r1.process().signal(Signal::SIGHUP)?;
        let probe = thread::spawn({
            let client = stage.client.clone();
            move || requests(&client, Duration::from_secs(2))
        });
        for namespace in namespaces {
            drop(namespace);
            stage.pass(Duration::from_millis(200))?;
        }
        stage.r1.process().wait_for_line_after(mark, "Reload complete", PATIENCE)?;
        wait_until("the addresses", || Ok(stage.r1.host.holds(last)?))?;
        let probed = probe.join().map_err(|_| Stop::failed("the probe panicked"))??;
        longest = longest.max(probed);
        let mut rhythm = Rhythm::of(&wire, PLAIN.interval);
        rhythm.late.remove(&(INSTANCES + 1));
        let good = rhythm.late.len() == usize::from(INSTANCES)
            && rhythm.latest() <= rhythm.control + Duration::from_millis(2)
            && longest > Duration::from_millis(10);
        Ok(if good { Ok(()) } else { Err(format!("a request took {probed:?}, {rhythm:?}")) })
    })
}

/// Asks the kernel for an address and for its end until the time is over; the longest that it took to do one of the two.
fn requests(host: &Host, time: Duration) -> Result<Duration, Stop> {
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    let link = host.addresses()?.iter().find(|it| it.ip == IpAddr::from(address(9))).map(|it| it.link);
    let link = link.ok_or_else(|| Stop::failed("the client has no address"))?;
    let address = vip_netlink::Address::new(link, [10, 8, 0, 1].into(), 32);
    while begun.elapsed() < time {
        for change in [Change::AddAddress(address), Change::RemoveAddress(address)] {
            let before = Instant::now();
            host.change(&[change])?;
            longest = longest.max(before.elapsed());
        }
    }
    Ok(longest)
}

/// What a migration costs: a router that is stopped resigns, and the other one speaks no later than Skew_Time and 10 ms
/// after it.
fn hand_over(kind: Kind, first: Daemon, second: Daemon) -> CaseResult {
    const MORE: Duration = Duration::from_millis(10);
    let mut stage = Stage::started(kind, first, second)?;
    let control_host = host(&stage, "control", 8)?;
    let _control = Ticker::control(&control_host, address(8), MORE)?;
    let bound = kind.skew(stage.r2.priority) + MORE;
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let wire = stage.lans[0].capture()?;
        stage.r1.process().signal(Signal::SIGTERM)?;
        stage.wait_for_holder("r2")?;
        stage.r1.process().wait_for_exit(PATIENCE)?;
        let takes_over = |advert: &Advert| advert.is_from(2) && advert.priority != 0;
        let has_spoken = || Ok(stage::adverts(&wire).iter().any(|(_, advert)| takes_over(advert)));
        stage.wait_until("the first advert of r2", has_spoken)?;
        let said = stage::adverts(&wire);
        let resigned = said.iter().find(|(_, advert)| advert.is_from(1) && advert.priority == 0).map(|(at, _)| *at);
        let resigned = resigned.ok_or_else(|| stage.fail("r1 did not resign"))?;
        let taken = said.iter().find(|(_, advert)| takes_over(advert)).map(|(at, _)| *at);
        let took = taken.ok_or_else(|| stage.fail("r2 said nothing"))?.saturating_duration_since(resigned);
        let control = Rhythm::of(&wire, MORE).control;
        if took <= bound + control {
            return Ok(());
        }
        seen.push((took, control));
        stage.r1.start(&kind.config(150, ""))?;
        stage.wait_for_holder("r1")?;
    }
    Err(stage.fail(&format!("it took {seen:?} (control), not {bound:?}")))
}

macro_rules! junk_cases {
    ($($name:ident = $kind:expr, $junk:expr;)+) => {
        $(fn $name() -> CaseResult { junk($kind, $junk) })+

        fn main() -> ExitCode {
            harness::main(&[
                $(case(stringify!($name), $name),)+
                case("a_hand_over_from_c_to_ours", || hand_over(PLAIN, Daemon::C, Daemon::Ours)),
                case("a_hand_over_from_ours_to_c", || hand_over(PLAIN, Daemon::Ours, Daemon::C)),
                case("a_hand_over_from_ours_to_ours", || hand_over(PLAIN, Daemon::Ours, Daemon::Ours)),
                case("a_hand_over_with_passwords_from_c", || hand_over(PASS, Daemon::C, Daemon::Ours)),
                case("a_hand_over_with_passwords_to_c", || hand_over(PASS, Daemon::Ours, Daemon::C)),
                case("both_processors_are_busy", both_processors_are_busy),
                case("the_routing_lock_is_held", the_routing_lock_is_held),
            ])
        }
    };
}

junk_cases! {
    junk_of_another_ttl = PLAIN, &[Junk::Ttl];
    junk_with_a_wrong_checksum = PLAIN, &[Junk::Checksum];
    junk_of_another_version = PLAIN, &[Junk::Version];
    junk_of_another_vrid = PLAIN, &[Junk::Vrid];
    junk_that_is_cut = PLAIN, &[Junk::Truncated];
    junk_with_authentication = PLAIN, &[Junk::Authentication];
    junk_that_is_random = PLAIN, &[Junk::Random];
    junk_of_lower_priority = PLAIN, &[Junk::LowerPriority];
    junk_of_all_kinds_and_passwords = PASS, &Junk::ALL;
}
