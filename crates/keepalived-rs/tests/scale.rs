//! 4,096 virtual routers on 17 links, in one process on each of two hosts.

#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use netlab::harness::{self, CaseResult, Stop, case};
use netlab::{Bridge, Host, Lab, Process};
use nix::sys::signal::Signal;
use support::{Daemon, wait_until_within};

const LINKS: u8 = 17;
const ROUTERS: usize = 4096;

/// How long 4,096 addresses may take to come or go on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The links and VRIDs of all routers.
fn all() -> impl Iterator<Item = (u8, u8)> {
    (0..LINKS).flat_map(|link| (1..=u8::MAX).map(move |vrid| (link, vrid))).take(ROUTERS)
}

fn vip(link: u8, vrid: u8) -> IpAddr {
    Ipv4Addr::new(10, link, 1, vrid).into()
}

fn config(priority: u8) -> String {
    let mut text = "global_defs {\n router_id test\n}\n".to_owned();
    for (link, vrid) in all() {
        writeln!(
            text,
            "vrrp_instance V{link}_{vrid} {{\n version 3\n interface eth{link}\n virtual_router_id {vrid}\n \
             priority {priority}\n advert_int 1\n virtual_ipaddress {{\n {}/16\n }}\n}}",
            vip(link, vrid)
        )
        .expect("a string grows");
    }
    text
}

fn host(lab: &Lab, name: &str, number: u8, lans: &[Bridge]) -> Result<Host, Stop> {
    let host = lab.host(name)?;
    for (link, lan) in (0..LINKS).zip(lans) {
        let name = format!("eth{link}");
        lab.connect(&host, &name, lan)?;
        host.address(&name, &format!("10.{link}.0.{number}/16"))?;
    }
    Ok(host)
}

fn start(host: &Host, priority: u8) -> Result<Process, Stop> {
    // Its log would be tens of thousands of lines.
    Ok(host.spawn(Daemon::Ours.quiet_program(&config(priority))?)?)
}

/// How many virtual addresses a host has; `None` while so many come or go that they cannot be counted.
fn held(host: &Host) -> Option<usize> {
    let vips: BTreeSet<IpAddr> = all().map(|(link, vrid)| vip(link, vrid)).collect();
    Some(host.addresses().ok()?.iter().filter(|address| vips.contains(&address.ip)).count())
}

fn holds(host: &Host, process: &Process, count: usize) -> CaseResult {
    let mut now = None;
    let waited = wait_until_within(PATIENCE, &format!("{} to hold {count} addresses", host.name()), || {
        now = held(host);
        Ok(now == Some(count))
    });
    waited.map_err(|_| Stop::failed(format!("{} holds {now:?}, not {count}\n{}", host.name(), log(process))))
}

/// What was not said of one router alone.
fn log(process: &Process) -> String {
    let lines = process.lines();
    let of_all = lines.iter().filter(|line| !line.text.contains(" (V"));
    of_all.map(|line| format!("{}\n", line.text)).collect()
}

/// All come up, none moves while both routers run, all are taken over when the active one is killed, all return with
/// it, and a clean stop leaves none.
fn four_thousand_routers() -> CaseResult {
    let lab = Lab::new()?;
    let lans = (0..LINKS).map(|link| lab.bridge(&format!("br{link}"))).collect::<Result<Vec<_>, _>>()?;
    let (r1, r2) = (host(&lab, "r1", 1, &lans)?, host(&lab, "r2", 2, &lans)?);
    let active = start(&r1, 150)?;
    holds(&r1, &active, ROUTERS)?;
    let backup = start(&r2, 90)?;
    let adverts = r2.capture("eth16")?;
    // The last to be started on the last link.
    let on_last_link = all().filter(|(link, _)| *link == LINKS - 1).count();
    let since = Instant::now();
    let mut heard = 0;
    let waited = wait_until_within(PATIENCE, "five adverts of each router on the last link", || {
        heard = adverts.frames().iter().filter(|frame| frame.vrrp().is_some()).count();
        Ok(heard >= 5 * on_last_link)
    });
    waited.map_err(|_| {
        let logs = [log(&active), log(&backup)].concat();
        Stop::failed(format!("{heard} adverts of {on_last_link} routers in {:?}\n{logs}", since.elapsed()))
    })?;
    if held(&r2) != Some(0) || held(&r1) != Some(ROUTERS) {
        return Err(Stop::failed(format!("addresses moved in {:?}\n{}", since.elapsed(), log(&backup))));
    }
    active.kill_all()?;
    holds(&r2, &backup, ROUTERS)?;
    drop(active);
    let active = start(&r1, 150)?;
    holds(&r1, &active, ROUTERS)?;
    holds(&r2, &backup, 0)?;
    active.signal(Signal::SIGTERM)?;
    active.wait_for_exit(PATIENCE)?;
    holds(&r1, &active, 0)?;
    holds(&r2, &backup, ROUTERS)
}

fn main() -> ExitCode {
    harness::main(&[case("four_thousand_routers", four_thousand_routers)])
}
