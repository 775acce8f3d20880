//! `keepalived-rs config ...`, `explain` and `completion`: what the library computes, printed.

pub(crate) mod announce;
mod check;
mod completion;
mod diff;
mod explain;
mod fmt;
pub(crate) mod lateness;
mod show;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use lexopt::prelude::*;

use crate::cli::ColorChoice;
use crate::host::Target;
use crate::reader::{self, Format, Strict};

/// The file that is meant where none is named.
const DEFAULT_FILE: &str = "/etc/keepalived/keepalived.conf";

/// Exit status of a command line that cannot be understood, or of a command that could not do its work.
const EXIT_TROUBLE: u8 = 2;

/// An option of a command.
#[derive(Debug, Clone, Copy)]
struct Flag {
    name: &'static str,
    value: Option<&'static str>,
    help: &'static str,
}

const fn flag(name: &'static str, help: &'static str) -> Flag {
    Flag { name, value: None, help }
}

const fn option(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value: Some(value), help }
}

const FORMAT: Flag =
    option("format", "text|json|line", "How to write: for people, as one JSON document, one line each");
const PRINT_FORMAT: Flag = option("format", "text|json", "How to write: for people, or as one JSON document");
const COLOR: Flag = option("color", "auto|always|never", "Colours; auto: on a terminal");
const CONFIG_ID: Flag = option("config-id", "ID", "Identity for @id lines, instead of the host name");

/// A command that a name stands for.
#[derive(Debug)]
struct Command {
    name: &'static str,
    /// What stands behind the options.
    operands: &'static str,
    help: &'static str,
    /// The exit statuses, in a sentence.
    status: &'static str,
    flags: &'static [Flag],
    run: fn(&Arguments) -> anyhow::Result<u8>,
}

/// The commands behind `config`.
const COMMANDS: &[Command] = &[
    Command {
        name: "check",
        operands: "[FILE]",
        help: "Say what is wrong with a file, where, and what to do about it",
        status: "0: nothing to say; 4: keepalived would not start; 5: errors or warnings; 6: scripts without script security; 2: trouble\n\
                 It is about the file alone: --config-test says 4 too for a keyword that is not acted on yet and can change traffic",
        flags: &[
            FORMAT,
            COLOR,
            CONFIG_ID,
            flag("strict", "Notes count for the exit status"),
            flag("offline", "Look nothing up on this host"),
            option("host-facts", "FILE.json", "Check for the host that the file describes"),
            flag("allow-unsupported", "Keywords that can change traffic and are not acted on yet are no error"),
        ],
        run: check::run,
    },
    Command {
        name: "show",
        operands: "[FILE]",
        help: "Print what holds for every keyword, defaults included, and where it comes from",
        status: "0: shown; 4: shown, but the daemon would not start; 2: trouble",
        flags: &[PRINT_FORMAT, CONFIG_ID, flag("secrets", "Print passwords as they are")],
        run: show::run,
    },
    Command {
        name: "fmt",
        operands: "[FILE...]",
        help: "Print a file in its usual form, which means the same; - is standard input",
        status: "0: done; 1: --check found a file that is not formatted; 2: trouble",
        flags: &[
            flag("check", "Only name the files that are not formatted"),
            flag("write", "Replace the files that are not formatted, and name them"),
        ],
        run: fmt::run,
    },
    Command {
        name: "diff",
        operands: "OLD NEW",
        help: "Say in words what a reload from one file to another changes",
        status: "0: nothing changes; 1: something changes; 2: trouble",
        flags: &[PRINT_FORMAT, CONFIG_ID],
        run: diff::run,
    },
    Command {
        name: "explain",
        operands: "KEYWORD|CODE...",
        help: "Explain a keyword, or the code of a finding",
        status: "0: explained; 1: not known; 2: trouble",
        flags: &[],
        run: explain::run,
    },
];

/// A command line behind the name of its command.
#[derive(Debug, Default)]
struct Arguments {
    format: Format,
    color: ColorChoice,
    config_id: Option<String>,
    strict: Strict,
    target: Target,
    allow_unsupported: bool,
    check: bool,
    write: bool,
    secrets: bool,
    operands: Vec<PathBuf>,
}

impl Arguments {
    /// The only file, or the usual one.
    fn file(&self) -> anyhow::Result<&Path> {
        match self.operands.as_slice() {
            [] => Ok(Path::new(DEFAULT_FILE)),
            [file] => Ok(file),
            _ => bail!("more than one file"),
        }
    }

    fn source(&self, file: &Path) -> reader::Source {
        reader::Source {
            file: file.to_path_buf(),
            config_id: self.config_id.clone().unwrap_or_else(crate::host_name),
            check_includes: false,
            workers: crate::both_workers(),
            allow_unsupported: self.allow_unsupported,
            all: false,
            check_config: false,
            keep_checker: false,
        }
    }
}

/// Runs the command that the arguments name.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let words: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let result = match words.as_slice() {
        ["explain", ..] => start("explain", arguments.get(1..)),
        ["completion", shell] => completion::run(shell),
        ["completion", ..] => print("Usage: keepalived-rs completion bash|zsh|fish\n").map(|()| EXIT_TROUBLE),
        ["config", "--help" | "-h", ..] => print(&overview()).map(|()| 0),
        ["config", name, ..] => start(name, arguments.get(2..)),
        _ => Err(anyhow::anyhow!("which command?\n\n{}", overview().trim_end())),
    };
    result.unwrap_or_else(|error| {
        eprintln!("keepalived-rs: {error:#}");
        EXIT_TROUBLE
    })
}

fn start(name: &str, arguments: Option<&[OsString]>) -> anyhow::Result<u8> {
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        bail!("'{name}' is no command of config\n\n{}", overview().trim_end());
    };
    match read(command, arguments.unwrap_or_default())? {
        Some(arguments) => (command.run)(&arguments),
        None => print(&usage(command)).map(|()| 0),
    }
}

/// The arguments of a command; nothing when they ask for help.
fn read(command: &Command, words: &[OsString]) -> anyhow::Result<Option<Arguments>> {
    let mut arguments = Arguments::default();
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Value(operand) => arguments.operands.push(operand.into()),
            Long(name) => match command.flags.iter().find(|flag| flag.name == name) {
                Some(flag) => {
                    let value = if flag.value.is_some() { parser.value()? } else { OsString::new() };
                    set(&mut arguments, flag, value)?;
                }
                None => bail!("config {} has no option --{name}", command.name),
            },
            Short(letter) => bail!("config {} has no option -{letter}", command.name),
        }
    }
    Ok(Some(arguments))
}

fn set(arguments: &mut Arguments, flag: &Flag, value: OsString) -> anyhow::Result<()> {
    let word = value.to_string_lossy().into_owned();
    let known = |found: bool| {
        if found { Ok(()) } else { Err(anyhow::anyhow!("--{} takes {}", flag.name, flag.value.unwrap_or("nothing"))) }
    };
    match flag.name {
        "format" => {
            let allowed = flag.value.is_some_and(|words| words.split('|').any(|allowed| allowed == word));
            known(allowed)?;
            arguments.format = Format::from_word(&word).unwrap_or_default();
        }
        "color" => {
            let color = ColorChoice::from_word(&word);
            known(color.is_some())?;
            arguments.color = color.unwrap_or_default();
        }
        "config-id" => arguments.config_id = Some(word),
        "strict" => arguments.strict = Strict::Yes,
        "offline" => arguments.target = Target::Offline,
        "host-facts" => arguments.target = Target::Facts(value.into()),
        "allow-unsupported" => arguments.allow_unsupported = true,
        "check" => arguments.check = true,
        "write" => arguments.write = true,
        "secrets" => arguments.secrets = true,
        other => unreachable!("--{other} is in the table of a command, and not read"),
    }
    Ok(())
}

/// What `config --help` prints.
fn overview() -> String {
    let lines = COMMANDS.iter().map(|command| {
        let call = format!("{} {}", command.name, command.operands);
        format!("  keepalived-rs config {call:<24} {}\n", command.help)
    });
    format!(
        "{}\nWithout FILE: {DEFAULT_FILE}. 'keepalived-rs config COMMAND --help' lists the options.\n",
        lines.collect::<String>()
    )
}

/// What `--help` of a command prints.
fn usage(command: &Command) -> String {
    let options = if command.flags.is_empty() { "" } else { "[OPTION...] " };
    let mut text =
        format!("Usage: keepalived-rs config {} {options}{}\n\n{}.\n\n", command.name, command.operands, command.help);
    for flag in command.flags {
        let call = flag.value.map_or_else(|| format!("--{}", flag.name), |value| format!("--{} {value}", flag.name));
        text += &format!("  {call:<30} {}\n", flag.help);
    }
    if !command.flags.is_empty() {
        text.push('\n');
    }
    text + "Exit status: " + command.status + "\n"
}

/// To standard output; a reader that has seen enough is no trouble.
fn print(text: &str) -> anyhow::Result<()> {
    write(text.as_bytes())
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(command: &str, line: &str) -> anyhow::Result<Option<Arguments>> {
        let command = COMMANDS.iter().find(|known| known.name == command).expect("a command");
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        read(command, &words)
    }

    #[test]
    fn every_option_of_the_tables_is_read() {
        for command in COMMANDS {
            for flag in command.flags {
                let value = flag.value.map_or("", |words| words.split('|').next().unwrap_or_default());
                let line = format!("--{} {value} file", flag.name);
                let read = arguments(command.name, &line).expect(&line).expect("no help");
                assert_eq!(read.operands, [PathBuf::from("file")], "{line}");
            }
            assert!(arguments(command.name, "--help").unwrap().is_none());
            assert!(arguments(command.name, "--nonsense").is_err() && arguments(command.name, "-x").is_err());
            assert!(usage(command).contains("Exit status: 0"));
        }
    }

    #[test]
    fn values_are_checked() {
        assert!(arguments("check", "--format xml").is_err());
        assert!(arguments("show", "--format line").is_err());
        assert!(arguments("check", "--color blue").is_err());
        assert!(arguments("check", "--format").is_err());
        assert_eq!(arguments("check", "a b").unwrap().unwrap().file().unwrap_err().to_string(), "more than one file");
        assert_eq!(arguments("check", "").unwrap().unwrap().file().unwrap(), Path::new(DEFAULT_FILE));
    }
}
