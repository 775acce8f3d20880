//! The part that runs inside the virtual machine: each file in a network of its own.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netlab::peers::{self, Peer};
use netlab::{Host, Lab, Process, Program};
use nix::sys::signal::Signal;
use vip_netlink::{Change, LinkName, RouteSocket};

use crate::CORPUS_INSIDE;

/// What exists on the host for which the corpus was labelled.
const INTERFACES: [&str; 24] = [
    "eth0", "eth1", "eth2", "eth3", "eth4", "ens33", "ens160", "ens192", "ens18", "ens3", "ens4", "ens5", "enp0s3",
    "enp0s8", "enp1s0", "enp2s0", "em1", "em2", "bond0", "bond1", "eno1", "eno2", "br0", "eth0.1",
];

/// How long keepalived may take to check a file, to start, and to write its data.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked again for its data, which it may not be ready to write.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// After how long a daemon is asked that does not say that it is complete: one without children never does.
const NO_CHILDREN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// How many files are run at a time.
const AT_A_TIME: usize = 3;

/// What the parent and its children write.
const DUMPS: [&str; 4] = ["keepalived_parent.data", "keepalived.data", "keepalived_check.data", "keepalived_bfd.data"];

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Runs every file and prints what came of it.
pub(crate) fn run() -> Result<()> {
    let keepalived = peers::keepalived().map_err(|skip| skip.to_string())?;
    let mut files: Vec<PathBuf> =
        fs::read_dir(CORPUS_INSIDE)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension() == Some(OsStr::new("conf")));
    files.sort();
    for file in &files {
        let words = Words::of(&String::from_utf8_lossy(&fs::read(file)?));
        words.scripts.iter().try_for_each(|script| make_stub(script))?;
    }
    let (next, output) = (AtomicUsize::new(0), Mutex::new(()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = record(&keepalived, file).unwrap_or_else(|error| format!("@failed {error}\n"));
                    let printing = output.lock();
                    print!("@file {}\n{report}@end\n", name(file));
                    drop(printing);
                }
            });
        }
    });
    Ok(())
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a file needs of its host, as far as its words say so.
#[derive(Default)]
struct Words {
    scripts: BTreeSet<String>,
    users: BTreeSet<String>,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut found = Self::default();
        let (mut security, mut own_user) = (false, false);
        for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', '!'])) {
            let words: Vec<_> = line.split(|c: char| c.is_whitespace() || "\"'".contains(c)).collect();
            let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
            for (at, word) in words.iter().enumerate() {
                let following = words.iter().skip(at + 1).map(|&word| word.to_owned());
                match *word {
                    "enable_script_security" => security = true,
                    "script_user" | "user" => {
                        own_user |= *word == "script_user";
                        found.users.extend(following.take(2));
                    }
                    word if runs_a_script(word) => found.scripts.extend(following.take(1)),
                    _ => {}
                }
            }
        }
        if security && !own_user {
            found.users.insert("keepalived_script".to_owned());
        }
        found.scripts.retain(|script| !script.contains('$'));
        found.users.retain(|user| user.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)));
        found.users.retain(|user| user.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && user != "root");
        found
    }

    /// The host's `passwd` and `group`.
    fn write_users(&self, folder: &Path) -> Result<()> {
        let (mut users, mut groups) = ("root:x:0:0:root:/root:/bin/sh\n".to_owned(), "root:x:0:\n".to_owned());
        for (number, user) in (1000..).zip(&self.users) {
            writeln!(users, "{user}:x:{number}:{number}::/:/bin/false")?;
            writeln!(groups, "{user}:x:{number}:")?;
        }
        fs::write(folder.join("passwd"), users)?;
        Ok(fs::write(folder.join("group"), groups)?)
    }
}

fn runs_a_script(word: &str) -> bool {
    word == "script"
        || word == "notify"
        || word == "misc_path"
        || word == "quorum_up"
        || word == "quorum_down"
        || word.starts_with("notify_")
        || (word.ends_with("_script") && !matches!(word, "track_script" | "vrrp_script" | "keepalived_script"))
}

/// A program that does nothing, unless there is one of that name.
fn make_stub(script: &str) -> Result<()> {
    let folders = ["/usr/local/bin", "/usr/sbin", "/usr/bin"].map(Path::new);
    let path = if script.contains('/') { Path::new(CORPUS_INSIDE).join(script) } else { folders[0].join(script) };
    let exists = folders.iter().any(|folder| folder.join(script).exists()) || path.exists();
    let Some(folder) = path.parent().filter(|_| !exists && path.file_name().is_some()) else { return Ok(()) };
    fs::create_dir_all(folder)?;
    fs::write(&path, "#!/bin/sh\n")?;
    Ok(fs::set_permissions(&path, Permissions::from_mode(0o755))?)
}

/// What one file comes to.
fn record(keepalived: &Peer, file: &Path) -> Result<String> {
    let words = Words::of(&String::from_utf8_lossy(&fs::read(file)?));
    let lab = Lab::new()?;
    let host = lab.host("host")?;
    let mut interfaces = Interfaces::default();
    interfaces.add(&host, INTERFACES.map(str::to_owned))?;
    let mut report = String::new();
    let folder = PathBuf::from(format!("/runs/{}", name(file)));
    let dumps = folder.join("dumps");
    fs::create_dir_all(&dumps)?;
    words.write_users(&folder)?;
    // An interface may be missed only once another is there.
    for _ in 0..3 {
        let test = host.spawn(program(keepalived, &folder).args(["-t", "-l", "-f"]).arg(file))?;
        let status = test.wait_for_exit(PATIENCE)?;
        let missing: BTreeSet<_> = log(&test).iter().filter_map(|line| missing_interface(line)).collect();
        if !interfaces.add(&host, missing)? {
            writeln!(report, "@test {}", code(status))?;
            break;
        }
    }
    let mut name_of_network = None;
    let (mut daemon, mut ended) = start(keepalived, &host, file, &folder, None)?;
    // In a namespace the test does not see which interfaces are missing.
    for _ in 0..2 {
        let log = log(&daemon);
        let namespace = log.iter().find_map(|line| missing_namespace(line));
        let missing: BTreeSet<_> = log.iter().filter_map(|line| missing_interface(line)).collect();
        if ended.is_none() || !(interfaces.add(&host, missing)? || namespace.is_some()) {
            break;
        }
        name_of_network = namespace.or(name_of_network);
        (daemon, ended) = start(keepalived, &host, file, &folder, name_of_network.as_deref())?;
    }
    let log = log(&daemon);
    match ended {
        Some(status) => writeln!(report, "@ended {}", code(status))?,
        None if dumps_asked_for(&log).all(|dump| dumps.join(dump).exists()) => writeln!(report, "@ran")?,
        None => writeln!(report, "@late")?,
    }
    // It writes its data in one go: when it has ended, all of it is there.
    if ended.is_none() && daemon.signal(Signal::SIGTERM).is_ok() {
        // Else what it has written has to do.
        let _ = daemon.wait_for_exit(PATIENCE);
    }
    for dump in DUMPS {
        // Whatever else there is may be a FIFO.
        let Ok(text) = fs::read(dumps.join(dump)) else { continue };
        writeln!(report, "@dump {dump}")?;
        // The interfaces come last. They are those of the machine, and the serial port is slow.
        for line in String::from_utf8_lossy(&text).lines().take_while(|line| *line != "------< Interfaces >------") {
            writeln!(report, "{line}")?;
        }
    }
    for line in log.iter().filter(|_| ended.is_some()) {
        writeln!(report, "@log {line}")?;
    }
    daemon.kill_all()?;
    Ok(report)
}

/// Starts the daemon and has it write its data, until it has or ends. Its network has the name `namespace`, too.
fn start(
    keepalived: &Peer,
    host: &Host,
    file: &Path,
    folder: &Path,
    namespace: Option<&str>,
) -> Result<(Process, Option<ExitStatus>)> {
    let dumps = folder.join("dumps");
    let mut program = program(keepalived, folder).bind(&dumps, "/tmp").args(["-n", "-l", "-D", "-f"]).arg(file);
    if let Some(name) = namespace {
        program = program.bind("/proc/thread-self/ns/net", format!("/run/netns/{name}"));
    }
    let daemon = host.spawn(program)?;
    let ended = wait_for_dumps(&daemon, &dumps)?;
    Ok((daemon, ended))
}

/// keepalived, as the users of `folder` see it.
fn program(keepalived: &Peer, folder: &Path) -> Program {
    keepalived.program().bind(folder.join("passwd"), "/etc/passwd").bind(folder.join("group"), "/etc/group")
}

fn log(process: &Process) -> Vec<String> {
    process.lines().into_iter().map(|line| line.text).collect()
}

/// As a shell tells it.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// The interface that a message calls missing.
fn missing_interface(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("interface ")?;
    let (name, rest) = rest.split_once(' ')?;
    let missing = rest.contains("doesn't exist") || rest.contains("does not exist");
    missing.then(|| name.to_owned())
}

/// The network namespace that a message calls missing.
fn missing_namespace(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("Unable to set network namespace ")?;
    Some(rest.split_once(' ')?.0.to_owned())
}

/// The interfaces of one host: one end of a cable each, whose other end is on the same host.
#[derive(Default)]
struct Interfaces(BTreeSet<String>);

impl Interfaces {
    /// Whether any of them is new.
    fn add(&mut self, host: &Host, names: impl IntoIterator<Item = String>) -> Result<bool> {
        let mut any = false;
        for name in names {
            let Ok(link) = name.parse::<LinkName>() else { continue };
            if !self.0.insert(name.clone()) {
                continue;
            }
            any = true;
            let number = self.0.len();
            let other: LinkName = format!("other{number}").parse().map_err(|_| "a name that is too long")?;
            let applied = host.run(|| -> Result<_> {
                let changes = [
                    Change::AddVeth { name: link, peer: other },
                    Change::SetLinkUp(other.into()),
                    Change::SetLinkUp(link.into()),
                ];
                Ok(RouteSocket::open()?.apply(&changes))
            })?;
            if let Some(refusal) = applied.refused.into_iter().next() {
                return Err(format!("making {name}: {}", refusal.error).into());
            }
            host.address(&name, &format!("198.{}.{}.1/24", 18 + number / 256, number % 256))?;
        }
        Ok(any)
    }
}

/// Asks for the data until all is written; the exit status if the daemon ends instead.
fn wait_for_dumps(daemon: &Process, dumps: &Path) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    let mut asked: Option<Instant> = None;
    while started.elapsed() < PATIENCE {
        if let Ok(status) = daemon.wait_for_exit(POLL) {
            return Ok(Some(status));
        }
        let log = log(daemon);
        if !log.iter().any(|line| line.contains("Startup complete")) && started.elapsed() < NO_CHILDREN {
            continue;
        }
        if asked.is_some() && dumps_asked_for(&log).all(|dump| dumps.join(dump).exists()) {
            return Ok(None);
        }
        if asked.is_none_or(|asked| asked.elapsed() > ASK_AGAIN) {
            asked = Some(Instant::now());
            daemon.signal(Signal::SIGUSR1)?;
        }
    }
    Ok(None)
}

/// What the parent and the children that were started write.
fn dumps_asked_for(log: &[String]) -> impl Iterator<Item = &'static str> {
    let starts =
        ["", "Starting VRRP child process", "Starting Healthcheck child process", "Starting BFD child process"];
    let started = move |line: &str| log.iter().any(|written| written.contains(line));
    starts.into_iter().zip(DUMPS).filter(move |(line, _)| started(line)).map(|(_, dump)| dump)
}
