//! Debian's keepalived and ours, each on a host of its own with the same configuration: what `ip` shows of both.

use std::collections::BTreeSet;
use std::process::Command;

use netlab::harness::{CaseResult, Stop};
use netlab::{Bridge, Host, Lab, Process, Skip};
use nix::sys::signal::Signal;

use crate::support::{Daemon, PATIENCE, wait_until};

/// Both put the same in place, `added` entries, and ours leaves nothing of it behind.
pub(crate) fn same_is_shown(config: &str, added: usize) -> CaseResult {
    let lab = Lab::new()?;
    let theirs = Router::new(&lab, "c", Daemon::C, config)?;
    let ours = Router::new(&lab, "rs", Daemon::Ours, config)?;
    let all = ours.before.len() + added;
    let mut shown = [BTreeSet::new(), BTreeSet::new()];
    let same = wait_until("both to have put the same in place", || {
        shown = [theirs.shown()?, ours.shown()?];
        Ok(shown[0] == shown[1] && shown[0].len() == all)
    });
    if same.is_err() {
        let [there, here] = &shown;
        let (difference, logs) = (difference(there, here), [theirs.log(), ours.log()]);
        return Err(Stop::failed(format!("{} of {all}\n{difference}\n{}\n{}", there.len(), logs[0], logs[1])));
    }
    // Theirs is not asked: it leaves the address with a peer behind.
    ours.process.signal(Signal::SIGTERM)?;
    ours.process.wait_for_exit(PATIENCE)?;
    let after = ours.shown()?;
    if after != ours.before {
        return Err(Stop::failed(format!("before:\n{:#?}\nafter:\n{after:#?}", ours.before)));
    }
    Ok(())
}

/// A host with two interfaces and a daemon; each has a network of its own.
pub(crate) struct Router {
    pub(crate) host: Host,
    pub(crate) process: Process,
    /// What was shown before it began.
    before: BTreeSet<String>,
    _lans: [Bridge; 2],
}

impl Router {
    /// Starts a daemon with this configuration.
    pub(crate) fn new(lab: &Lab, name: &str, daemon: Daemon, config: &str) -> Result<Self, Stop> {
        Self::prepared(lab, name, daemon, config, |_| Ok(()))
    }

    /// The same after something was done to the host.
    pub(crate) fn prepared(
        lab: &Lab,
        name: &str,
        daemon: Daemon,
        config: &str,
        prepare: impl FnOnce(&Host) -> CaseResult,
    ) -> Result<Self, Stop> {
        let (host, lans) = lab.host_of_two_networks(name)?;
        host.address("eth0", "2001:db8::1/64")?;
        prepare(&host)?;
        let program = daemon.program(config)?;
        let before = shown_on(&host)?;
        let process = host.spawn(program)?;
        Ok(Self { host, process, before, _lans: lans })
    }

    /// What `ip` shows of the objects that a keepalived makes, one entry each.
    pub(crate) fn shown(&self) -> Result<BTreeSet<String>, Stop> {
        shown_on(&self.host)
    }

    /// What its daemon said.
    pub(crate) fn log(&self) -> String {
        self.process.lines().into_iter().map(|line| format!("{}\n", line.text)).collect()
    }
}

fn shown_on(host: &Host) -> Result<BTreeSet<String>, Stop> {
    let mut shown = BTreeSet::new();
    for link in ["eth0", "eth1"] {
        let addresses = ip(host, &["-d", "addr", "show", "dev", link])?;
        let addresses = addresses.lines().skip_while(|line| !line.trim_start().starts_with("inet"));
        shown.extend(
            entries(&addresses.collect::<Vec<_>>().join("\n"), "    inet")
                .into_iter()
                .filter(|it| !it.contains("fe80")),
        );
    }
    for family in ["-4", "-6"] {
        for protocol in ["18", "99"] {
            let routes = ip(host, &["-d", family, "route", "show", "table", "all", "proto", protocol])?;
            shown.extend(entries(&routes, "").into_iter().map(|entry| format!("proto {protocol} {entry}")));
        }
        shown.extend(
            entries(&ip(host, &["-d", family, "rule"])?, "").into_iter().map(|entry| format!("{family} {entry}")),
        );
    }
    Ok(shown)
}

fn ip(host: &Host, arguments: &[&str]) -> Result<String, Stop> {
    let output = host.run(|| Command::new("ip").args(arguments).output());
    let output = output.map_err(|error| Skip(format!("ip (iproute2): {error}")))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Entries begin with `start` and not with a tab; what is below belongs to them. Seconds run down and say nothing.
fn entries(text: &str, start: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        let words = line.split_whitespace().map(|word| if is_time_left(word) { "SECONDS" } else { word });
        let words = words.collect::<Vec<_>>().join(" ");
        match entries.last_mut() {
            Some(entry) if line.starts_with('\t') || !line.starts_with(start) => *entry += &format!(" {words}"),
            _ => entries.push(words),
        }
    }
    entries
}

fn is_time_left(word: &str) -> bool {
    let digits = word.strip_suffix("sec").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

fn difference(theirs: &BTreeSet<String>, ours: &BTreeSet<String>) -> String {
    let only =
        |these: &BTreeSet<String>, those| these.difference(those).map(|it| format!("  {it}\n")).collect::<String>();
    format!("only after keepalived:\n{}only after ours:\n{}", only(theirs, ours), only(ours, theirs))
}
