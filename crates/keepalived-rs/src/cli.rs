//! The command line of keepalived (`behaviour.md` §1.1): GNU `getopt_long` rules, abbreviations included.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::PathBuf;

use conf_parser::render::Color;
use lexopt::prelude::*;

use crate::host::Target;
use crate::reader::{Format, Strict};

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Required(&'static str),
    /// Only attached: `-tFILE`, `--config-test=FILE`.
    Optional(&'static str),
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Acted,
    /// Accepted; a line says that it does nothing yet.
    NotYet,
    /// Not acted on yet, and running without it would do something else than asked.
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct Opt {
    short: Option<char>,
    long: &'static str,
    takes: Takes,
    effect: Effect,
    help: &'static str,
}

const fn opt(short: char, long: &'static str, takes: Takes, effect: Effect, help: &'static str) -> Opt {
    Opt { short: if short == ' ' { None } else { Some(short) }, long, takes, effect, help }
}

use Effect::{Acted, NotYet, Refused};
use Takes::{Nothing, Optional, Required};

const OPTIONS: &[Opt] = &[
    opt('f', "use-file", Required("FILE"), Acted, "Use the given configuration file"),
    opt('P', "vrrp", Nothing, Acted, "Run the VRRP process only"),
    opt('C', "check", Nothing, Acted, "Run the health checker process only"),
    opt('B', "no_bfd", Nothing, Acted, "Do not run BFD"),
    opt(' ', "all", Nothing, Acted, "Start every process, even without configuration for it"),
    opt('l', "log-console", Nothing, Acted, "Log to standard error too (with -n)"),
    opt('D', "log-detail", Nothing, Acted, "Detailed log messages; twice: more"),
    opt('S', "log-facility", Required("0-7|local0-local7|user|daemon"), Acted, "Syslog facility"),
    opt('G', "no-syslog", Nothing, Acted, "Do not log to syslog"),
    opt('g', "log-file", Optional("FILE"), Refused, "Log to a file"),
    opt(' ', "flush-log-file", Nothing, NotYet, "Flush the log file after each line"),
    opt('X', "release-vips", Nothing, NotYet, "Flush addresses on transitions even if not believed to be set"),
    opt('V', "dont-release-vrrp", Nothing, Acted, "Leave addresses in place at stop"),
    opt('I', "dont-release-ipvs", Nothing, Acted, "Leave the IPVS tables in place at stop"),
    opt('R', "dont-respawn", Nothing, Acted, "Stop when a child dies instead of restarting it"),
    opt('n', "dont-fork", Nothing, Acted, "Stay in the foreground"),
    opt('d', "dump-conf", Nothing, NotYet, "Log the configuration at start"),
    opt('p', "pid", Required("FILE"), Acted, "Pid file of the parent"),
    opt('r', "vrrp_pid", Required("FILE"), Acted, "Pid file of the VRRP process"),
    opt('c', "checkers_pid", Required("FILE"), Acted, "Pid file of the health checker process"),
    opt('b', "bfd_pid", Required("FILE"), NotYet, "Pid file of the BFD process"),
    opt('a', "address-monitoring", Nothing, NotYet, "Log every address that comes or goes"),
    opt('x', "snmp", Nothing, NotYet, "Enable SNMP"),
    opt('A', "snmp-agent-socket", Required("SPEC"), NotYet, "AgentX master"),
    opt('s', "namespace", Required("NAME"), Refused, "Network namespace to run in"),
    opt('i', "config-id", Required("ID"), Acted, "Identity for @id lines, instead of the host name"),
    opt('e', "all-config", Nothing, Acted, "Every include check"),
    opt('m', "core-dump", Nothing, Acted, "Allow core dumps"),
    opt('M', "core-dump-pattern", Optional("PATTERN"), NotYet, "Also set the kernel's core pattern"),
    opt('u', "umask", Required("MODE"), Acted, "File mode creation mask"),
    opt('t', "config-test", Optional("FILE"), Acted, "Check the configuration and exit; messages go to FILE"),
    opt(' ', "signum", Required("NAME"), Acted, "Print the number of STOP, RELOAD, DATA, STATS, STATS_CLEAR or JSON"),
    opt('T', "genhash", Nothing, Refused, "Behave as genhash"),
    opt(' ', "ignore-sigint", Nothing, Acted, "Ignore SIGINT"),
    opt(
        ' ',
        "allow-unsupported",
        Nothing,
        Acted,
        "Start although a keyword that can change traffic is not acted on yet",
    ),
    opt('v', "version", Nothing, Acted, "Version"),
    opt('h', "help", Nothing, Acted, "This text"),
];

/// Options beside keepalived's own, for `--config-test`. They are known by their full names only, so that every
/// abbreviation means what it means to keepalived.
const TEST_OPTIONS: &[Opt] = &[
    opt(' ', "format", Required("text|json|line"), Acted, "How --config-test writes its findings"),
    opt(' ', "color", Required("auto|always|never"), Acted, "Whether they are coloured"),
    opt(' ', "strict", Nothing, Acted, "Notes count for the exit status of --config-test"),
    opt(' ', "offline", Nothing, Acted, "Look nothing up on this host for --config-test"),
    opt(' ', "host-facts", Required("FILE.json"), Acted, "Test for the host that the file describes"),
];

/// The long names of all options.
pub(crate) fn long_options() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().chain(TEST_OPTIONS).map(|option| option.long)
}

/// How `--config-test` works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Test {
    /// `--format`
    pub(crate) format: Format,
    /// `--color`
    pub(crate) color: ColorChoice,
    /// `--strict`
    pub(crate) strict: Strict,
    /// `--offline`, `--host-facts`
    pub(crate) target: Target,
}

/// `--color`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

impl ColorChoice {
    /// What `--color` takes.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "always" => Some(Self::Always),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    /// What to do for an output.
    pub(crate) fn of(self, output: &impl IsTerminal) -> Color {
        let wanted = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        match self {
            Self::Always => Color::Ansi,
            Self::Auto if output.is_terminal() && wanted() => Color::Ansi,
            Self::Auto | Self::Never => Color::None,
        }
    }
}

/// A parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the switches of the command line")]
pub(crate) struct Cli {
    /// `-f`
    pub(crate) file: PathBuf,
    /// `-P`
    pub(crate) vrrp_only: bool,
    /// `-C`
    pub(crate) checker_only: bool,
    /// `--all`
    pub(crate) all: bool,
    /// `-l`
    pub(crate) log_console: bool,
    /// `-D`, how often
    pub(crate) detail: u8,
    /// `-S`: the facility's number
    pub(crate) facility: u8,
    /// `-G`
    pub(crate) no_syslog: bool,
    /// `-V`
    pub(crate) dont_release_vrrp: bool,
    /// `-I`
    pub(crate) dont_release_ipvs: bool,
    /// `-R`
    pub(crate) dont_respawn: bool,
    /// `-n`
    pub(crate) dont_fork: bool,
    /// `-p`
    pub(crate) pid_file: PathBuf,
    /// `-r`
    pub(crate) vrrp_pid_file: PathBuf,
    /// `-c`
    pub(crate) checker_pid_file: PathBuf,
    /// `-i`
    pub(crate) config_id: Option<String>,
    /// `-e`
    pub(crate) check_includes: bool,
    /// `-m`
    pub(crate) core_dump: bool,
    /// `-u`
    pub(crate) umask: Option<u32>,
    /// `-t`; the inner value is the file for the messages.
    pub(crate) config_test: Option<Option<PathBuf>>,
    /// How it works.
    pub(crate) test: Test,
    /// `--ignore-sigint`
    pub(crate) ignore_sigint: bool,
    /// `--allow-unsupported`
    pub(crate) allow_unsupported: bool,
    /// Options that do nothing yet, as given.
    pub(crate) not_yet: Vec<String>,
}

impl Default for Cli {
    fn default() -> Self {
        Self {
            file: "/etc/keepalived/keepalived.conf".into(),
            vrrp_only: false,
            checker_only: false,
            all: false,
            log_console: false,
            detail: 0,
            facility: 3,
            no_syslog: false,
            dont_release_vrrp: false,
            dont_release_ipvs: false,
            dont_respawn: false,
            dont_fork: false,
            pid_file: "/run/keepalived.pid".into(),
            vrrp_pid_file: "/run/keepalived_vrrp.pid".into(),
            checker_pid_file: "/run/keepalived_checkers.pid".into(),
            config_id: None,
            check_includes: false,
            core_dump: false,
            umask: None,
            config_test: None,
            test: Test::default(),
            ignore_sigint: false,
            allow_unsupported: false,
            not_yet: Vec::new(),
        }
    }
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Run, or test a configuration.
    Daemon(Box<Cli>),
    /// Print this to standard output and leave with 0.
    Print(String),
    /// Print this to standard error and leave with the status.
    Complain(String, u8),
}

/// Reads the arguments behind the program's name. Every mistake is named before it gives up.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> (Command, Vec<String>) {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut reading = Reading::default();
    loop {
        match parser.next() {
            Ok(None) => break,
            Ok(Some(Value(word))) => reading.words.push(word.to_string_lossy().into_owned()),
            Ok(Some(argument)) => {
                let given = match &argument {
                    Short(letter) => format!("-{letter}"),
                    Long(name) => format!("--{name}"),
                    Value(_) => String::new(),
                };
                match find(&argument) {
                    Some(option) => reading.take(option, &given, &mut parser),
                    None => {
                        reading.complaints.push(format!("Unknown option {given}"));
                        // `--unknown=value`: the value belongs to it.
                        parser.optional_value();
                    }
                }
            }
            Err(error) => reading.complaints.push(error.to_string()),
        }
    }
    reading.finish()
}

/// The option that `argument` names; long ones may be abbreviated as long as one fits.
fn find(argument: &lexopt::Arg<'_>) -> Option<&'static Opt> {
    match argument {
        Short(letter) => OPTIONS.iter().find(|option| option.short == Some(*letter)),
        Long(name) => OPTIONS.iter().chain(TEST_OPTIONS).find(|option| option.long == *name).or_else(|| {
            let mut fitting = OPTIONS.iter().filter(|option| option.long.starts_with(name));
            let first = fitting.next()?;
            fitting.next().is_none().then_some(first)
        }),
        Value(_) => None,
    }
}

#[derive(Debug, Default)]
struct Reading {
    cli: Cli,
    complaints: Vec<String>,
    remarks: Vec<String>,
    words: Vec<String>,
    print: Option<Command>,
}

impl Reading {
    fn take(&mut self, option: &'static Opt, given: &str, parser: &mut lexopt::Parser) {
        let value = match option.takes {
            Nothing => None,
            Optional(_) => parser.optional_value(),
            Required(_) => match parser.value() {
                Ok(value) if !value.is_empty() => Some(value),
                _ => {
                    self.complaints.push(format!("Missing parameter for option {given}"));
                    return;
                }
            },
        };
        match option.effect {
            Acted => self.act(option.long, value.as_deref()),
            NotYet => self.cli.not_yet.push(given.to_owned()),
            Refused => self.complaints.push(format!(
                "Option {given} ({}) is not supported by this version, and running without it would do something else",
                option.help
            )),
        }
    }

    fn act(&mut self, long: &str, value: Option<&OsStr>) {
        let text = || value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
        let path = || PathBuf::from(value.unwrap_or_default());
        let cli = &mut self.cli;
        match long {
            "use-file" => cli.file = path(),
            "vrrp" => cli.vrrp_only = true,
            "check" => cli.checker_only = true,
            "all" => cli.all = true,
            "log-console" => cli.log_console = true,
            "log-detail" => cli.detail = cli.detail.saturating_add(1),
            "log-facility" => match facility(&text()) {
                Some(number) => cli.facility = number,
                None => self.remarks.push(format!("Invalid log facility '{}' - ignoring", text())),
            },
            "no-syslog" => cli.no_syslog = true,
            "dont-release-vrrp" => cli.dont_release_vrrp = true,
            "dont-release-ipvs" => cli.dont_release_ipvs = true,
            "dont-respawn" => cli.dont_respawn = true,
            "dont-fork" => cli.dont_fork = true,
            "pid" => cli.pid_file = path(),
            "vrrp_pid" => cli.vrrp_pid_file = path(),
            "checkers_pid" => cli.checker_pid_file = path(),
            "config-id" => cli.config_id = Some(text()),
            "all-config" => cli.check_includes = true,
            "core-dump" => cli.core_dump = true,
            "umask" => match c_number(&text()).filter(|mode| *mode <= 0o777) {
                Some(mode) => cli.umask = Some(mode),
                None => self.remarks.push(format!("Invalid umask '{}' - ignoring", text())),
            },
            "config-test" => cli.config_test = Some(value.map(PathBuf::from)),
            "format" | "color" | "strict" | "offline" | "host-facts" => self.act_on_test(long, &text(), path()),
            "ignore-sigint" => cli.ignore_sigint = true,
            "allow-unsupported" => cli.allow_unsupported = true,
            "signum" => {
                self.print = Some(match signal_number(&text()) {
                    Some(number) => Command::Print(format!("{number}\n")),
                    None => Command::Complain(format!("Unknown sigfunc {}\n", text()), 1),
                });
            }
            "version" => self.print = Some(Command::Complain(version(), 0)),
            "help" => self.print = Some(Command::Complain(help(), 0)),
            // `-B`: there is no BFD process to leave out.
            _ => {}
        }
    }

    /// An option of [`TEST_OPTIONS`].
    fn act_on_test(&mut self, long: &str, word: &str, path: PathBuf) {
        let test = &mut self.cli.test;
        let mut bad = false;
        match long {
            "format" => Format::from_word(word).map_or_else(|| bad = true, |format| test.format = format),
            "color" => ColorChoice::from_word(word).map_or_else(|| bad = true, |color| test.color = color),
            "strict" => test.strict = Strict::Yes,
            "offline" => test.target = Target::Offline,
            _ => test.target = Target::Facts(path),
        }
        if bad {
            self.complaints.push(format!("Invalid value '{word}' for option --{long}"));
        }
    }

    fn finish(mut self) -> (Command, Vec<String>) {
        if self.cli.config_test.is_none() && self.cli.test != Test::default() {
            let names: Vec<_> = TEST_OPTIONS.iter().map(|option| format!("--{}", option.long)).collect();
            self.complaints.push(format!("Options {} are for --config-test", names.join(", ")));
        }
        let command = if let Some(print) = self.print {
            print
        } else if self.complaints.is_empty() {
            if !self.words.is_empty() {
                println!("Unexpected argument(s): {}", self.words.join(" "));
            }
            Command::Daemon(Box::new(self.cli))
        } else {
            Command::Complain(self.complaints.join("\n") + "\n", 1)
        };
        (command, self.remarks)
    }
}

/// The number of a syslog facility (`behaviour.md` §1.1, `-S`).
fn facility(word: &str) -> Option<u8> {
    let local = word.strip_prefix("local").unwrap_or(word);
    match word {
        "user" => Some(1),
        "daemon" => Some(3),
        _ => local.parse::<u8>().ok().filter(|number| *number <= 7).map(|number| 16 + number),
    }
}

/// A number as C writes it: `022`, `0x12`, `18`.
fn c_number(text: &str) -> Option<u32> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        u32::from_str_radix(hex, 16).ok()
    } else if text.len() > 1 && text.starts_with('0') {
        u32::from_str_radix(text, 8).ok()
    } else {
        text.parse().ok()
    }
}

fn signal_number(name: &str) -> Option<u8> {
    match name {
        "STOP" => Some(15),
        "RELOAD" => Some(1),
        "DATA" => Some(10),
        "STATS" => Some(12),
        "STATS_CLEAR" => Some(63),
        "JSON" => Some(36),
        _ => None,
    }
}

/// What `-v` prints.
pub(crate) fn version() -> String {
    let kernel = rustix::system::uname();
    format!(
        "Keepalived v{} (keepalived-rs)\n\nRunning on {} {} {}\n",
        env!("CARGO_PKG_VERSION"),
        kernel.sysname().to_string_lossy(),
        kernel.release().to_string_lossy(),
        kernel.version().to_string_lossy(),
    )
}

/// What `-h` prints.
fn help() -> String {
    let mut text = String::from(
        "Usage: keepalived-rs [OPTION...]\n       keepalived-rs config check|show|fmt|diff|explain [--help]\n       \
         keepalived-rs explain KEYWORD|CODE\n       keepalived-rs completion bash|zsh|fish\n       \
         keepalived-rs demo [--help]\n       keepalived-rs cleanup -f FILE\n       \
         keepalived-rs announce [--pid FILE] [INSTANCE...]\n       \
         keepalived-rs lateness [--pid FILE] [--prometheus]\n       \
         keepalived-rs real-server setup|teardown|drain|undrain|status [--help]\n\n",
    );
    for option in OPTIONS.iter().chain(TEST_OPTIONS) {
        let short = option.short.map_or_else(|| "   ".into(), |letter| format!("-{letter},"));
        let long = match option.takes {
            Nothing => format!("--{}", option.long),
            Required(what) => format!("--{}={what}", option.long),
            Optional(what) => format!("--{}[={what}]", option.long),
        };
        let note = match option.effect {
            Acted => "",
            NotYet => " (accepted, does nothing yet)",
            Refused => " (not supported yet)",
        };
        text += &format!("  {short} {long:<34} {}{note}\n", option.help);
    }
    text + "\n--config-test ends with 0: nothing to say; 4: it would not start; 5: errors or warnings; 6: scripts without script security\n\
            4 too for a keyword that is not acted on yet and can change traffic, unless --allow-unsupported is given;\n\
            'keepalived-rs config check' judges the file alone\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        parse(line.split_whitespace().map(OsString::from)).0
    }

    fn daemon(line: &str) -> Cli {
        match command(line) {
            Command::Daemon(cli) => *cli,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn combined_letters_and_attached_values() {
        let cli = daemon("-nlDD -f/etc/k.conf");
        assert!(cli.dont_fork && cli.log_console);
        assert_eq!((cli.detail, cli.file), (2, PathBuf::from("/etc/k.conf")));
    }

    #[test]
    fn long_options_may_be_abbreviated_and_take_values_either_way() {
        assert_eq!(daemon("--use-f=x").file, PathBuf::from("x"));
        assert_eq!(daemon("--use-file x").file, PathBuf::from("x"));
        assert!(daemon("--dont-f").dont_fork);
    }

    #[test]
    fn an_ambiguous_abbreviation_is_unknown() {
        assert_eq!(command("--dont-release"), Command::Complain("Unknown option --dont-release\n".into(), 1));
    }

    #[test]
    fn every_mistake_is_named_before_it_gives_up() {
        let expected = "Unknown option --foo\nUnknown option -Q\nMissing parameter for option -f\n";
        assert_eq!(command("--foo -Q -n -f"), Command::Complain(expected.into(), 1));
    }

    #[test]
    fn an_empty_value_counts_as_missing() {
        assert_eq!(command("--pid="), Command::Complain("Missing parameter for option --pid\n".into(), 1));
    }

    #[test]
    fn the_optional_value_must_be_attached() {
        assert_eq!(daemon("-t").config_test, Some(None));
        assert_eq!(daemon("-tlog").config_test, Some(Some("log".into())));
        assert_eq!(daemon("--config-test=log").config_test, Some(Some("log".into())));
        assert_eq!(daemon("-t -f x").config_test, Some(None));
    }

    #[test]
    fn our_own_options_are_known_by_their_full_names_only() {
        let test = daemon("-t --format json --strict --color=never --offline").test;
        assert_eq!((test.format, test.strict, test.color), (Format::Json, Strict::Yes, ColorChoice::Never));
        assert_eq!(test.target, Target::Offline);
        assert_eq!(daemon("--f").not_yet, ["--f"]);
        assert_eq!(command("--forma json"), Command::Complain("Unknown option --forma\n".into(), 1));
        assert_eq!(
            command("-t --format xml"),
            Command::Complain("Invalid value 'xml' for option --format\n".into(), 1)
        );
        assert!(matches!(command("--strict"), Command::Complain(text, 1) if text.contains("are for --config-test")));
    }

    #[test]
    fn every_include_is_checked_on_demand() {
        assert!(daemon("-e").check_includes && daemon("--all-config").check_includes);
        assert!(!daemon("--all").check_includes);
        assert_eq!(daemon("-e").not_yet, [""; 0]);
    }

    #[test]
    fn signal_numbers() {
        assert_eq!(command("--signum=JSON"), Command::Print("36\n".into()));
        assert_eq!(command("--signum=NOPE"), Command::Complain("Unknown sigfunc NOPE\n".into(), 1));
    }

    #[test]
    fn facilities() {
        assert_eq!(daemon("-S local3").facility, 19);
        assert_eq!(daemon("-S 0").facility, 16);
        assert_eq!(daemon("-S nonsense").facility, 3);
    }

    #[test]
    fn what_would_run_differently_is_refused() {
        assert!(matches!(command("-s blue"), Command::Complain(_, 1)));
        assert_eq!(daemon("-x -d").not_yet, ["-x", "-d"]);
    }
}
