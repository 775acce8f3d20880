//! `lateness`: how late a running daemon's timers of adverts fired.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::control::{self, Answer, Request};

const USAGE: &str = "\
Usage: keepalived-rs lateness [--pid FILE] [--prometheus]

Tell how late the timers of a running daemon's adverts fired since its VRRP process began, as of a second ago.

  -p, --pid FILE                 Pid file of the daemon, if it is not /run/keepalived.pid
      --prometheus               As a histogram in the text format of Prometheus, in seconds

Exit status: 0, or 2: trouble
";

/// The name of the histogram.
const METRIC: &str = "keepalived_vrrp_timer_lateness_seconds";

/// What the command line asks for; nothing when it asks for help.
fn read(words: &[OsString]) -> anyhow::Result<Option<(PathBuf, bool)>> {
    let (mut pid_file, mut prometheus) = (PathBuf::from("/run/keepalived.pid"), false);
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("pid") | Short('p') => pid_file = parser.value()?.into(),
            Long("prometheus") => prometheus = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some((pid_file, prometheus)))
}

/// Runs the command; the exit status.
pub(crate) fn run(words: &[OsString]) -> u8 {
    match tell(words) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("keepalived-rs lateness: {error:#}");
            super::EXIT_TROUBLE
        }
    }
}

fn tell(words: &[OsString]) -> anyhow::Result<()> {
    let Some((pid_file, prometheus)) = read(words)? else {
        return super::print(USAGE);
    };
    match control::ask(&pid_file, Request::Lateness)? {
        Answer::Lateness(histogram) if prometheus => super::print(&histogram.prometheus(METRIC)),
        Answer::Lateness(histogram) => super::print(&format!("{histogram}\n")),
        Answer::Refused(why) => anyhow::bail!(why),
        other => anyhow::bail!("the daemon answered something else: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_a_daemon_and_a_form() {
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(read(&words("")).unwrap(), Some(("/run/keepalived.pid".into(), false)));
        assert_eq!(read(&words("-p /x --prometheus")).unwrap(), Some(("/x".into(), true)));
        assert_eq!(read(&words("--help")).unwrap(), None);
        assert!(read(&words("VI_1")).is_err() && read(&words("--pid")).is_err());
    }
}
