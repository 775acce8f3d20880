//! `announce`: a running daemon sends gratuitous ARP and unsolicited neighbour advertisements once more.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::control::{self, Answer, Request};

const USAGE: &str = "\
Usage: keepalived-rs announce [--pid FILE] [INSTANCE...]

Have a running daemon announce the addresses that the instances hold, as on becoming master: gratuitous ARP and
unsolicited neighbour advertisements. Without INSTANCE: those of every instance. It says how many addresses on which
link; the frames are paced as the configuration has it.

  -p, --pid FILE                 Pid file of the daemon, if it is not /run/keepalived.pid

Exit status: 0: announced; 1: nothing, or not all, was announced; 2: trouble
";

/// Nothing, or not everything, was announced.
const EXIT_LEFT_OUT: u8 = 1;

/// What the command line asks for; nothing when it asks for help.
fn read(words: &[OsString]) -> anyhow::Result<Option<(PathBuf, Vec<String>)>> {
    let (mut pid_file, mut instances) = (PathBuf::from("/run/keepalived.pid"), Vec::new());
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("pid") | Short('p') => pid_file = parser.value()?.into(),
            Value(instance) => instances.push(instance.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some((pid_file, instances)))
}

/// Runs the command; the exit status.
pub(crate) fn run(words: &[OsString]) -> u8 {
    announce(words).unwrap_or_else(|error| {
        eprintln!("keepalived-rs announce: {error:#}");
        super::EXIT_TROUBLE
    })
}

fn announce(words: &[OsString]) -> anyhow::Result<u8> {
    let Some((pid_file, instances)) = read(words)? else {
        return super::print(USAGE).map(|()| 0);
    };
    match control::ask(&pid_file, Request::Announce { instances })? {
        Answer::Refused(why) => anyhow::bail!(why),
        Answer::Announced { links, left_out } => {
            super::print(&report(&links))?;
            left_out.iter().for_each(|line| eprintln!("{line}"));
            Ok(if links.is_empty() || !left_out.is_empty() { EXIT_LEFT_OUT } else { 0 })
        }
        other => anyhow::bail!("the daemon answered something else: {other:?}"),
    }
}

fn report(links: &[(String, usize)]) -> String {
    if links.is_empty() {
        return "No address is held that could be announced\n".into();
    }
    let plural = |count: usize| if count == 1 { "" } else { "es" };
    links.iter().map(|(link, count)| format!("{link}: {count} address{}\n", plural(*count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_names_a_daemon_and_instances() {
        let read = |line: &str| read(&words(line)).unwrap();
        assert_eq!(read(""), Some(("/run/keepalived.pid".into(), Vec::new())));
        assert_eq!(read("-p /x VI_1 VI_2"), Some(("/x".into(), vec!["VI_1".to_owned(), "VI_2".to_owned()])));
        assert_eq!(read("--pid=/x -- -odd"), Some(("/x".into(), vec!["-odd".to_owned()])));
        assert_eq!(read("VI_1 --help"), None);
        assert!(super::read(&words("--nonsense")).is_err() && super::read(&words("--pid")).is_err());
    }

    #[test]
    fn each_link_has_a_line() {
        assert_eq!(report(&[("eth0".into(), 1), ("eth1".into(), 3)]), "eth0: 1 address\neth1: 3 addresses\n");
        assert!(report(&[]).contains("No address"));
    }
}
