//! keepalived in Rust: VRRP failover and IPVS load balancing from unmodified `keepalived.conf`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use conf_parser::render::Color;
use tracing::{debug, error, info, warn};

use cli::{Cli, Command};
use ipc::{Channel, Common, Order, Role};
use workers::checker::{Namespaced, leftovers};
use workers::scheduling::{self, Scheduling};

mod cleanup_status;
mod cli;
mod commands;
mod compat;
mod config;
mod control;
mod crash;
mod demo;
mod host;
mod ipc;
mod log;
mod os;
mod pid_file;
mod privileges;
mod reader;
mod real_server;
mod state_file;
mod supervisor;
mod systemd;
mod workers;

/// The first argument of a process that the supervisor started; its role follows.
const CHILD_ARGUMENT: &str = "--child";

/// Exit status of a fatal failure (`behaviour.md` §1.2).
const EXIT_FATAL: u8 = 1;

/// What is said where the kernel does not permit what the capabilities do.
const DENIED: &str = "; the capabilities are there: look for a seccomp filter (SystemCallFilter= and \
     RestrictAddressFamilies= of a systemd unit, the profile of a container) or a security module";

/// Exit status of an internal error: a worker that ends with it is restarted.
const EXIT_INTERNAL: u8 = 70;

/// Said of a process that cannot go on, being in the wrong network namespace.
const NO_WAY_BACK: &str = "coming back from the network namespace of IPVS";

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let first = arguments.first().and_then(|word| word.to_str()).unwrap_or_default();
    let status = match first {
        CHILD_ARGUMENT => child(arguments.get(1).and_then(|word| word.to_str()).unwrap_or_default()),
        "cleanup" => cleanup_command(arguments.drain(1..)),
        "announce" => commands::announce::run(arguments.get(1..).unwrap_or_default()),
        "lateness" => commands::lateness::run(arguments.get(1..).unwrap_or_default()),
        "config" | "explain" | "completion" => commands::run(&arguments),
        "demo" => demo::run(arguments.get(1..).unwrap_or_default()),
        "real-server" => real_server::run(arguments.get(1..).unwrap_or_default()),
        _ => {
            let (command, remarks) = cli::parse(arguments.drain(..));
            for remark in remarks {
                eprintln!("{remark}");
            }
            match command {
                Command::Print(text) => {
                    print!("{text}");
                    0
                }
                Command::Complain(text, status) => {
                    eprint!("{text}");
                    status
                }
                Command::Daemon(cli) => daemon(&cli).unwrap_or_else(|error| {
                    eprintln!("keepalived-rs: {error:#}");
                    EXIT_FATAL
                }),
            }
        }
    };
    ExitCode::from(status)
}

/// Tests the configuration, or runs the daemon.
fn daemon(cli: &Cli) -> anyhow::Result<u8> {
    if let Some(mode) = cli.umask {
        rustix::process::umask(rustix::fs::Mode::from_bits_truncate(mode));
    }
    let source = source(cli)?;
    match &cli.config_test {
        Some(output) => config_test(&source, &cli.test, output.as_deref()),
        None => run(cli, source),
    }
}

fn source(cli: &Cli) -> anyhow::Result<reader::Source> {
    let workers = match (cli.vrrp_only, cli.checker_only) {
        (true, _) => BTreeSet::from([Role::Vrrp]),
        (false, true) => BTreeSet::from([Role::Checker]),
        (false, false) => both_workers(),
    };
    Ok(reader::Source {
        // A daemon changes to `/`, and a reload comes later.
        file: std::path::absolute(&cli.file).with_context(|| format!("finding {}", cli.file.display()))?,
        config_id: cli.config_id.clone().unwrap_or_else(host_name),
        check_includes: cli.check_includes,
        workers,
        allow_unsupported: cli.allow_unsupported,
        all: cli.all,
        check_config: false,
        keep_checker: false,
    })
}

/// Every worker that a configuration may need.
fn both_workers() -> BTreeSet<Role> {
    BTreeSet::from([Role::Vrrp, Role::Checker])
}

/// The node name up to its first dot.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// `-t`: every finding, and the status of the worst.
fn config_test(source: &reader::Source, test: &cli::Test, output: Option<&Path>) -> anyhow::Result<u8> {
    let checked = reader::check_for(source, &test.target)?;
    let status = checked.config_test_status(test.strict);
    match output {
        None => {
            let text = checked.render(test.format, test.color.of(&std::io::stderr()), status);
            std::io::stderr().write_all(text.as_bytes())?;
        }
        Some(path) => append(path, &checked.render(test.format, Color::None, status))
            .with_context(|| format!("writing to {}", path.display()))?,
    }
    Ok(status)
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)?
        .write_all(text.as_bytes())
}

fn run(cli: &Cli, source: reader::Source) -> anyhow::Result<u8> {
    let mut pid_file = match pid_file::PidFile::take(&cli.pid_file) {
        Ok(file) => file,
        Err(pid_file::PidFileError::AlreadyRunning) => {
            eprintln!("daemon is already running");
            return Ok(0);
        }
        Err(error) => return Err(error.into()),
    };
    let settings = settings(cli, source);
    let signals = supervisor::take_signals()?;
    // Before the process goes into the background and before it has a second thread: a refused file is the caller's
    // to see.
    let first = supervisor::read_first(&settings)?;
    if !settings.common.log.console {
        first.complain();
    }
    rustix::thread::set_name(c"keepalived").context("setting the process name")?;
    if !cli.dont_fork && !first.is_refused() {
        nix::unistd::daemon(false, false).context("going into the background")?;
    }
    pid_file.write(std::process::id())?;
    // Who is refused cleans up with fewer privileges than it takes to have all memory locked.
    let locked = if first.is_refused() { Ok(()) } else { scheduling::lock_supervisor() };
    let log = log::start(log::ident(None), &settings.common.log, || {
        // The first thread says it.
        let _ = privileges::drop_to_supervisor();
    });
    say_hello(cli);
    if let Err(error) = privileges::drop_to_supervisor() {
        warn!("This process keeps capabilities that it does not need: {error}");
    }
    if let Err(remark) = locked {
        warn!("{remark}");
    }
    let result = match first.report() {
        Some(refused) => {
            error!("The configuration is refused; nothing was started");
            withdraw_leftovers(cli).unwrap_or_else(|error| error!("{error:#}"));
            systemd::notify(&systemd::State::Failed { errno: 22 });
            Ok(refused)
        }
        None => supervisor::run(settings, signals, first),
    };
    if let Err(error) = &result {
        error!("{error:#}");
    }
    info!("Stopped Keepalived v{} (keepalived-rs)", env!("CARGO_PKG_VERSION"));
    log.finish();
    result.or(Ok(EXIT_FATAL))
}

/// CLOCK_BOOTTIME.
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

fn settings(cli: &Cli, source: reader::Source) -> supervisor::Settings {
    let common = Common {
        build: ipc::BUILD_ID.to_owned(),
        started: since_boot(),
        log: log::Options {
            console: cli.log_console && cli.dont_fork,
            syslog: !cli.no_syslog,
            facility: cli.facility,
            detail: cli.detail,
            suffix: String::new(),
        },
        dont_release_vrrp: cli.dont_release_vrrp,
        dont_release_ipvs: cli.dont_release_ipvs,
        ipvs_namespace: None,
    };
    supervisor::Settings {
        common,
        source,
        dont_fork: cli.dont_fork,
        respawn: !cli.dont_respawn,
        ignore_sigint: cli.ignore_sigint,
        pid_files: BTreeMap::from([
            (Role::Vrrp, cli.vrrp_pid_file.clone()),
            (Role::Checker, cli.checker_pid_file.clone()),
        ]),
        pid_file: cli.pid_file.clone(),
    }
}

/// `keepalived-rs cleanup -f FILE`: withdraws what a daemon that is gone left behind, for `ExecStopPost=` of a unit.
fn cleanup_command(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> u8 {
    let (command, _) = cli::parse(arguments);
    let result = match command {
        Command::Daemon(cli) => source(&cli).and_then(|source| clean_up(&cli, &source)),
        Command::Print(text) | Command::Complain(text, _) => Err(anyhow::anyhow!(text)),
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("keepalived-rs cleanup: {error:#}");
            EXIT_FATAL
        }
    }
}

fn clean_up(cli: &Cli, source: &reader::Source) -> anyhow::Result<()> {
    // Held until the end: a daemon that starts meanwhile would lose its addresses.
    let _lock =
        pid_file::PidFile::take(&cli.pid_file).context("a daemon must not run while its addresses are removed")?;
    let part = reader::vrrp_part(source).with_context(|| format!("{} cannot be read", source.file.display()))?;
    for role in control::ANSWERING {
        let door = control::path_of(&cli.pid_file, role);
        control::remove(&door).with_context(|| door.display().to_string())?;
    }
    let mut state = state_file::StateFile::beside(&cli.pid_file).context("finding the state file")?;
    let facts = state.read().unwrap_or_else(|error| {
        eprintln!("keepalived-rs cleanup: {}: {error}; only what the configuration names goes", state.path().display());
        Vec::new()
    });
    let (goes, stays) =
        facts.into_iter().partition(|fact| !(cli.dont_release_ipvs && leftovers::is_on_host(&fact.key)));
    withdraw(&[part], goes, stays, &mut state)
}

/// What a daemon that was killed left on this host is not to stay there while none runs: its peers have taken over.
fn withdraw_leftovers(cli: &Cli) -> anyhow::Result<()> {
    let mut state = state_file::StateFile::beside(&cli.pid_file).context("finding the state file")?;
    let facts = state.read().with_context(|| {
        format!("what an earlier daemon left on this host is not known: {}", state.path().display())
    })?;
    let is_kept = |key: &str| if leftovers::is_on_host(key) { cli.dont_release_ipvs } else { cli.dont_release_vrrp };
    let (stays, goes): (Vec<_>, Vec<_>) = facts.into_iter().partition(|fact| is_kept(&fact.key));
    let is_on_host = |key: &str| leftovers::is_on_host(key) || workers::vrrp::facts::is_on_host(key);
    if !goes.iter().any(|fact| is_on_host(&fact.key)) {
        return Ok(());
    }
    info!("An earlier daemon was killed and left something on this host: it is removed");
    withdraw(&[], goes, stays, &mut state)
}

/// Withdraws what is in `parts` and in `facts`, of which `state` keeps what stays true beside what `stays` anyway.
fn withdraw(
    parts: &[config::vrrp::VrrpPart],
    facts: Vec<ipc::Fact>,
    stays: Vec<ipc::Fact>,
    state: &mut state_file::StateFile,
) -> anyhow::Result<()> {
    // Before the privileges go that another namespace takes.
    privileges::raise().context("taking privileges up again")?;
    let namespaced = leftovers::enter(&facts).context(NO_WAY_BACK)?;
    let elsewhere = leftovers::elsewhere(&facts).into_iter();
    let elsewhere = elsewhere.map(|place| leftovers::enter(&place.facts).map(|namespaced| (place, namespaced)));
    let elsewhere: Vec<_> = elsewhere.collect::<Result<_, _>>().context(NO_WAY_BACK)?;
    privileges::drop_to(Role::Cleanup, privileges::Extras::default())?;
    let mut kept: Vec<_> = facts.iter().cloned().chain(stays.iter().cloned()).collect();
    let mut keep = |fact: ipc::Fact| {
        kept.retain(|known| known.key != fact.key);
        kept.extend(Some(fact).filter(|fact| !fact.value.is_empty()));
        state.write(&kept).with_context(|| state.path().display().to_string())
    };
    let vrrp = workers::vrrp::cleanup(parts, &facts, &mut keep);
    let mut ipvs = leftovers::cleanup(&facts, namespaced);
    let mut left_elsewhere = BTreeSet::new();
    for (place, namespaced) in elsewhere {
        if let Err(error) = leftovers::cleanup(&place.facts, namespaced) {
            left_elsewhere.extend(place.keys);
            ipvs = ipvs.and(Err(error));
        }
    }
    kept.retain(|fact| {
        let is_over = if leftovers::is_elsewhere(&fact.key) {
            !left_elsewhere.contains(&fact.key)
        } else if leftovers::is_on_host(&fact.key) {
            ipvs.is_ok()
        } else {
            vrrp.is_ok()
        };
        !is_over || stays.contains(fact) || workers::vrrp::facts::outlives_cleanup(&fact.key)
    });
    state.write(&kept).with_context(|| state.path().display().to_string())?;
    vrrp.and(ipvs)
}

/// The first lines of keepalived's log (`behaviour.md` §1.5).
fn say_hello(cli: &Cli) {
    info!("Starting Keepalived v{} (keepalived-rs)", env!("CARGO_PKG_VERSION"));
    let kernel = rustix::system::uname();
    info!("Running on Linux {} {}", kernel.release().to_string_lossy(), kernel.version().to_string_lossy());
    let words: Vec<_> = std::env::args().map(|word| format!("'{word}'")).collect();
    info!("Command line: {}", words.join(" "));
    debug!("Opening file '{}'.", cli.file.display());
    info!("Configuration file {}", cli.file.display());
    for option in &cli.not_yet {
        warn!("Option {option} is accepted but does nothing yet");
    }
    if cli.core_dump {
        let unlimited = rustix::process::Rlimit { current: None, maximum: None };
        if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, unlimited) {
            warn!("Core dumps stay limited: {error}");
        }
    }
}

/// A process that the supervisor started.
fn child(word: &str) -> u8 {
    let Some(role) = Role::from_word(word) else {
        eprintln!("{CHILD_ARGUMENT} is for the supervisor's own use");
        return EXIT_FATAL;
    };
    match start_child(role) {
        Ok(status) => status,
        Err(error) => {
            error!("{error:#}");
            eprintln!("keepalived-rs {word}: {error:#}");
            EXIT_INTERNAL
        }
    }
}

fn start_child(role: Role) -> anyhow::Result<u8> {
    let channel = Channel::inherited().context("standard input is not the supervisor's socket")?;
    let Some((Order::Hello(common, extras), _)) = channel.wait::<Order>()? else {
        anyhow::bail!("the supervisor did not say hello");
    };
    anyhow::ensure!(common.build == ipc::BUILD_ID, "the supervisor is of build {}", common.build);
    let namespace = common.ipvs_namespace.as_ref().filter(|_| matches!(role, Role::Checker | Role::Cleanup));
    let namespaced = namespace.map(Namespaced::open).transpose();
    let namespaced = namespaced.context(NO_WAY_BACK)?;
    let scheduling = (role == Role::Vrrp).then(Scheduling::preferred).unwrap_or_default();
    privileges::drop_to(role, extras).context("giving up privileges")?;
    let mut confinement = privileges::confine(role, &channel);
    rustix::thread::set_name(c"keepalived").context("setting the process name")?;
    if role == Role::Reader {
        return reader::run(&channel);
    }
    let confine_thread = confinement.of_thread();
    let log = log::start(log::ident(Some(role)), &common.log, || {
        scheduling::write_log_as_usual();
        confine_thread();
    });
    confinement.close_files();
    confinement.say();
    if let Err(error) = privileges::check(role) {
        error!("{error:#}");
        log.finish();
        return Ok(privileges::EXIT_NO_PERMISSION);
    }
    let status = match role {
        Role::Vrrp => workers::vrrp::run(channel, &common, scheduling),
        Role::Checker => workers::checker::run(channel, &common, namespaced),
        Role::Runner => workers::runner::run(channel, &common),
        Role::Cleanup => cleanup(&channel, namespaced),
        Role::Reader => Ok(0),
    };
    let denied = status.as_ref().is_err_and(privileges::is_denied);
    if let Err(error) = &status {
        complain(error);
    }
    log.finish();
    Ok(status.unwrap_or(if denied { privileges::EXIT_NO_PERMISSION } else { EXIT_INTERNAL }))
}

fn complain(error: &anyhow::Error) {
    let hint = if privileges::is_denied(error) { DENIED } else { "" };
    error!("{error:#}{hint}");
}

/// Withdraws what a VRRP worker that may not be restarted in time left behind.
fn cleanup(channel: &Channel, namespaced: Option<Namespaced>) -> anyhow::Result<u8> {
    crash::stop();
    let mut facts = Vec::new();
    loop {
        match channel.wait::<Order>()? {
            Some((Order::Resume, left)) => {
                for left in left {
                    facts.extend(ipc::unseal::<Vec<ipc::Fact>>(&left)?);
                }
            }
            Some((Order::Prepare { .. }, parts)) => {
                let parts = parts.iter().map(ipc::unseal).collect::<Result<Vec<_>, _>>()?;
                let mut tell = |fact| Ok(channel.send(&ipc::Report::Facts(vec![fact]), &[])?);
                // The addresses first: peers wait for them.
                let vrrp = (Role::Vrrp, workers::vrrp::cleanup(&parts, &facts, &mut tell));
                let ipvs = (Role::Checker, leftovers::cleanup(&facts, namespaced));
                let kept = [vrrp, ipvs].into_iter().filter_map(|(role, done)| {
                    complain(&done.err()?);
                    Some(role)
                });
                return Ok(cleanup_status::of(&kept.collect::<Vec<_>>()));
            }
            _ => anyhow::bail!("the supervisor did not say what to clean up"),
        }
    }
}
