//! `real-server drain`, `undrain` and `status`: what the balancer of this host does with its real servers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lexopt::prelude::*;

use super::say;
use crate::control::servers::{
    ConnectionCounts, DrainProgress, DrainState, RealServerName, RealServerState, VirtualServerName,
    VirtualServerState, read,
};
use crate::control::{self, Answer, Request};

mod table;

/// Exit status when connections are left at the deadline.
const EXIT_LEFT: u8 = 3;

/// How often somebody who waits asks.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// For how long a daemon may be silent while its process is replaced.
const SILENCE: Duration = Duration::from_secs(15);

/// The longest `--timeout`: thirty days, in seconds.
const MOST_SECONDS: u64 = 30 * 24 * 3600;

/// What is asked of a balancer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Drain { virtual_server: VirtualServerName, real_server: RealServerName, options: DrainOptions },
    Undrain { virtual_server: VirtualServerName, real_server: RealServerName },
    Status { virtual_server: Option<VirtualServerName>, real_server: Option<RealServerName>, json: bool },
}

/// How to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DrainOptions {
    timeout: Option<Duration>,
    wait: bool,
    force: bool,
}

/// Reads what stands behind `verb`; nothing when it asks for help.
pub(super) fn parse(verb: &str, parser: &mut lexopt::Parser) -> anyhow::Result<Option<(PathBuf, Ask)>> {
    let mut pid_file = PathBuf::from("/run/keepalived.pid");
    let (mut words, mut json) = (Vec::new(), None);
    let mut options = DrainOptions { wait: true, ..DrainOptions::default() };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("pid") | Short('p') => pid_file = parser.value()?.into(),
            Long("timeout") if verb == "drain" => options.timeout = Some(seconds(&parser.value()?.string()?)?),
            Long("no-wait") if verb == "drain" => options.wait = false,
            Long("force") if verb == "drain" => options.force = true,
            Long("format") if verb == "status" => json = Some(parser.value()?.string()?),
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let json = match json.as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => bail!("--format takes text or json, not '{other}'"),
    };
    let (virtual_server, real_server) = read(&words)?;
    if verb == "status" {
        return Ok(Some((pid_file, Ask::Status { virtual_server, real_server, json })));
    }
    let virtual_server = virtual_server.with_context(|| format!("{verb} needs a virtual and a real server"))?;
    let real_server = real_server.with_context(|| format!("{verb} needs a real server behind the virtual one"))?;
    let ask = match verb {
        "drain" => Ask::Drain { virtual_server, real_server, options },
        _ => Ask::Undrain { virtual_server, real_server },
    };
    Ok(Some((pid_file, ask)))
}

fn seconds(word: &str) -> anyhow::Result<Duration> {
    match word.strip_suffix('s').unwrap_or(word).parse() {
        Ok(seconds @ 1..=MOST_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => bail!("--timeout takes 1 to {MOST_SECONDS} seconds, not '{word}'"),
    }
}

/// Asks the daemon with this pid file; returns the exit status.
pub(super) fn run(pid_file: &std::path::Path, ask: Ask) -> anyhow::Result<u8> {
    let ask_daemon = |request| match control::ask(pid_file, request)? {
        Answer::Refused(why) => bail!(why),
        answer => Ok(answer),
    };
    match ask {
        Ask::Status { virtual_server, real_server, json } => {
            let states = states(ask_daemon(Request::Servers { virtual_server, real_server })?)?;
            say(&if json { serde_json::to_string_pretty(&states)? + "\n" } else { table::text(&states) })?;
            Ok(0)
        }
        Ask::Undrain { virtual_server, real_server } => {
            let Answer::Changed { remarks, .. } = ask_daemon(Request::Undrain { virtual_server, real_server })? else {
                bail!("the daemon answered something else");
            };
            remarks.iter().try_for_each(|remark| say(&format!("{remark}\n")))?;
            Ok(0)
        }
        Ask::Drain { virtual_server, real_server, options } => {
            let DrainOptions { timeout, wait, force } = options;
            let status = Request::Servers {
                virtual_server: Some(virtual_server.clone()),
                real_server: Some(real_server.clone()),
            };
            let Answer::Changed { virtual_server, real_server, remarks } =
                ask_daemon(Request::Drain { virtual_server, real_server, timeout, force })?
            else {
                bail!("the daemon answered something else");
            };
            remarks.iter().for_each(|remark| eprintln!("keepalived-rs real-server: {remark}"));
            say(&format!("Draining {real_server} of {virtual_server}\n"))?;
            if !wait {
                return Ok(0);
            }
            wait_for(&virtual_server, &real_server, || control::ask(pid_file, status.clone()))
        }
    }
}

fn states(answer: Answer) -> anyhow::Result<Vec<VirtualServerState>> {
    match answer {
        Answer::Servers(states) => Ok(states),
        other => bail!("the daemon answered something else: {other:?}"),
    }
}

/// Tells what is left until nothing is, or the deadline has passed. `ask` asks how those servers are that were named.
fn wait_for(
    virtual_server: &str,
    real_server: &str,
    mut ask: impl FnMut() -> anyhow::Result<Answer>,
) -> anyhow::Result<u8> {
    let (mut told, mut heard) = (None, Instant::now());
    loop {
        let state = ask().and_then(|answer| match answer {
            // Nobody has these names any more.
            Answer::Refused(_) => Ok(None),
            answer => Ok(find(states(answer)?, virtual_server, real_server)),
        });
        match state {
            Ok(state) => {
                heard = Instant::now();
                match judge(state.as_ref()) {
                    Step::Wait(left) => {
                        if told != Some(left) {
                            say(&format!("{}\n", left_over(left, state.and_then(|state| state.drain))))?;
                            told = Some(left);
                        }
                    }
                    Step::Drained => return say("Drained: nothing is left\n").map(|()| 0),
                    Step::TimedOut(left) => {
                        eprintln!(
                            "keepalived-rs real-server: not drained in time: {}; {real_server} stays out of use, and \
                             what is left may go on, until 'undrain'",
                            left_over(left, None)
                        );
                        return Ok(EXIT_LEFT);
                    }
                    Step::Ended(why) => bail!("{real_server} of {virtual_server} {why}"),
                }
            }
            Err(error) if heard.elapsed() > SILENCE => {
                return Err(error.context("it is drained, but nobody tells how far"));
            }
            Err(_) => {}
        }
        std::thread::sleep(ASK_EVERY);
    }
}

fn find(states: Vec<VirtualServerState>, virtual_server: &str, real_server: &str) -> Option<RealServerState> {
    let named = states.into_iter().filter(|state| state.name == virtual_server);
    named.flat_map(|state| state.real_servers).find(|state| state.name == real_server)
}

/// What comes of a look at a server that is drained.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait(Option<ConnectionCounts>),
    Drained,
    TimedOut(Option<ConnectionCounts>),
    Ended(&'static str),
}

fn judge(state: Option<&RealServerState>) -> Step {
    let Some(state) = state else { return Step::Ended("is not configured any more") };
    let Some(drain) = state.drain else { return Step::Ended("was taken back into use by somebody else") };
    match (drain.progress, state.connections) {
        (DrainProgress::Draining, left) => Step::Wait(left),
        (DrainProgress::Drained, _) => Step::Drained,
        (DrainProgress::TimedOut, Some(left)) if left.is_none() => Step::Drained,
        (DrainProgress::TimedOut, left) => Step::TimedOut(left),
    }
}

/// `left` is what the kernel said, if it did in time.
fn left_over(left: Option<ConnectionCounts>, drain: Option<DrainState>) -> String {
    let mut text = match left {
        Some(ConnectionCounts { active, inactive, .. }) => {
            format!("{active} active and {inactive} inactive connections")
        }
        None => "an unknown number of connections (the kernel has not counted them in time)".to_owned(),
    };
    if let Some(persistent) = left.map(|left| left.persistent).filter(|persistent| *persistent > 0) {
        text += &format!(", {persistent} remembered clients");
    }
    if let Some(seconds) = drain.and_then(|drain| drain.seconds_left) {
        text += &format!(", at most {seconds} s more");
    }
    text
}

#[cfg(test)]
mod tests;
