//! Programs that a runner before this one left behind: one that is killed cannot end them, nor hear of their end.

use std::fs;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal};
use tracing::warn;

/// Names the daemon that a program runs for, in its environment.
const MARK: &str = "KEEPALIVED_RS_DAEMON";

/// As no other daemon of this boot is called: the process id of the supervisor, and when that was started.
fn daemon() -> Option<&'static str> {
    static DAEMON: OnceLock<Option<String>> = OnceLock::new();
    let found = || {
        let supervisor = rustix::process::getppid()?.as_raw_nonzero();
        let started = Stat::read(&supervisor.to_string())?.started;
        Some(format!("{supervisor}.{started}"))
    };
    DAEMON.get_or_init(found).as_deref()
}

/// What a program that this runner starts has in its environment, so that a later one knows it.
pub(super) fn mark() -> Option<(&'static str, String)> {
    Some((MARK, format!("{}.{}", daemon()?, std::process::id())))
}

/// Ends the programs that runners of this daemon left which are gone, and what belongs to their groups. What programs left
/// behind themselves lives on. May block: the kernel shows no environment of a process that waits for a disk.
pub(super) fn end() {
    if let (Some(daemon), Some((_, own))) = (daemon(), mark()) {
        end_of(daemon, &own);
    }
}

fn end_of(daemon: &str, own: &str) {
    let (theirs, ours) = (format!("{MARK}={daemon}."), format!("{MARK}={own}"));
    let is_orphan = |word: &[u8]| word.starts_with(theirs.as_bytes()) && word != ours.as_bytes();
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let names = processes.filter_map(|process| process.ok()?.file_name().into_string().ok());
    for name in names {
        let Some(pid) = name.parse().ok().and_then(Pid::from_raw) else { continue };
        if !Stat::read(&name).is_some_and(|stat| stat.is_program(&name)) {
            continue;
        }
        let environment = fs::read(format!("/proc/{name}/environ")).unwrap_or_default();
        if environment.split(|octet| *octet == 0).any(is_orphan) {
            warn!("Script with pid {name} was left by a runner that is gone - killing it");
            // It may have ended just now.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

/// What the kernel says of a process (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pgrp: String,
    session: String,
    /// Ticks after the boot.
    started: String,
}

impl Stat {
    fn read(pid: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in front may hold anything.
        let (_, fields) = text.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(2).map(str::to_owned);
        Some(Self { pgrp: fields.next()?, session: fields.next()?, started: fields.nth(15)? })
    }

    /// Whether it leads a process group, as a program that the runner starts does, and no session, as a daemon may.
    fn is_program(&self, pid: &str) -> bool {
        self.pgrp == pid && self.session != pid
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;
    use crate::workers::until;

    fn sleeper(mark: &str) -> Command {
        let mut command = Command::new("sleep");
        command.arg("1000").env(MARK, mark);
        command
    }

    fn is_alive(child: &mut Child) -> bool {
        child.try_wait().unwrap().is_none()
    }

    #[test]
    fn the_programs_of_this_daemon_s_former_runners_are_ended() {
        let daemon = format!("test.{}", std::process::id());
        let (own, former) = (format!("{daemon}.2"), format!("{daemon}.1"));
        let mut program = sleeper(&former).process_group(0).spawn().unwrap();
        let mut member = sleeper("").process_group(i32::try_from(program.id()).unwrap()).spawn().unwrap();
        let mut of_another = sleeper(&format!("{daemon}0.1")).process_group(0).spawn().unwrap();
        let mut of_this_one = sleeper(&own).process_group(0).spawn().unwrap();
        let mut left_behind = sleeper(&former).spawn().unwrap();
        until("their end", || {
            // The kernel may show no environment yet of a program that has just started.
            end_of(&daemon, &own);
            (!is_alive(&mut program) && !is_alive(&mut member)).then_some(())
        });
        for child in [&mut of_another, &mut of_this_one, &mut left_behind] {
            assert!(is_alive(child));
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_process_may_have_any_name() {
        let text = "7 (a) R 1 (b) S 2 3 4 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 10 11";
        let [pgrp, session, started] = ["3", "4", "99"].map(str::to_owned);
        assert_eq!(Stat::parse(text), Some(Stat { pgrp, session, started }));
        let (_, mark) = mark().unwrap();
        assert!(mark.ends_with(&format!(".{}", std::process::id())), "{mark}");
    }
}
