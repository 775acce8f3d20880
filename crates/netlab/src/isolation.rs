//! Namespaces of one's own for the whole program.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio, exit};
use std::{env, fs};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, Uid, getegid, getppid};

/// Which part of the play a copy of the program has; the children of [`ROLE_INSIDE`] never see it act,
/// because it only counts in a child of the namespace's pid 1.
pub(crate) const ROLE: &str = "NETLAB_ROLE";
/// The pid of the outer process, as the mounted /proc numbers it.
const OUTER: &str = "NETLAB_OUTER";
const ROLE_MAP: &str = "map";
const ROLE_INIT: &str = "init";
const ROLE_INSIDE: &str = "inside";

/// Names the environment variable with which root goes on without a user namespace in [`enter`]: what is started may then
/// lock memory and use real time as on a host, which no user namespace gives. Nothing else is different.
pub const AS_ROOT: &str = "NETLAB_AS_ROOT";

/// Where the lab's private /dev/log leads, as on a machine with systemd; empty until someone listens.
pub(crate) const SYSLOG_SOCKET: &str = "/run/systemd/journal/dev-log";

/// The kernel or the container does not allow namespaces here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    call: String,
    errno: Errno,
    hint: String,
}

impl Refused {
    /// The refused call, for instance `unshare(CLONE_NEWUSER)`.
    pub fn call(&self) -> &str {
        &self.call
    }

    /// Why the kernel refused it.
    pub fn error(&self) -> io::Error {
        self.errno.into()
    }

    /// What to do about it: one command that works here, with a word of explanation.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.call, self.errno.desc())
    }
}

impl std::error::Error for Refused {}

/// Whether [`AS_ROOT`] is set, and the user is root.
pub fn is_as_root() -> bool {
    env::var_os(AS_ROOT).is_some() && Uid::effective().is_root()
}

/// Goes on in user, mount, network and pid namespaces of the program's own, as root in there.
///
/// Call it first in `main`, before any thread starts. The program is executed again, with the same arguments, inside
/// the new namespaces; there, and only there, this returns `Ok`. Outside it waits, and ends the process with
/// the exit status of the copy inside (128 + signal number if a signal ended that).
///
/// Inside, /run and /dev are private, /proc shows the new pid namespace where the kernel permits that, and the network
/// has a loopback that is down. An ordinary user has one user id inside, 0; root has all of them, and may keep
/// its own user namespace ([`AS_ROOT`]). When the outer process ends, however
/// that happens, the kernel kills everything inside.
///
/// # Errors
/// [`Refused`] names the call that the kernel refused, and what would work. The process may then be in namespaces
/// of its own already: all it should do is to say so and end.
pub fn enter() -> Result<(), Refused> {
    match env::var(ROLE).as_deref() {
        Ok(ROLE_MAP) => exit(write_id_maps()),
        Ok(ROLE_INIT) if Pid::this() == Pid::from_raw(1) => exit(be_init()),
        Ok(ROLE_INSIDE) if getppid() == Pid::from_raw(1) => Ok(()),
        _ => exit(exit_code(enclose()?)),
    }
}

/// The outer process: makes the namespaces, starts their first process and waits for its end.
fn enclose() -> Result<ExitStatus, Refused> {
    let (may_be_root, is_root) = (may_be_root(), Uid::effective().is_root());
    let refused = |call: &str, errno| Refused { call: call.to_owned(), errno, hint: hint(may_be_root, is_root, errno) };
    let own_pid = fs::read_link("/proc/self").map_err(|error| refused("readlink(/proc/self)", errno(&error)))?;

    if !is_as_root() {
        new_user_namespace(is_root, &own_pid, &refused)?;
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID)
        .map_err(|errno| refused("unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID)", errno))?;
    private_mounts(&refused)?;

    let spawn = again(ROLE_INIT).env(OUTER, own_pid).spawn();
    let mut init = spawn.map_err(|error| refused("execve(/proc/self/exe)", errno(&error)))?;
    init.wait().map_err(|error| refused("wait", errno(&error)))
}

/// A new user namespace in which this process is root; where root may not have one it does without. The ids are mapped by a
/// copy of the program that stays outside, since only from there can root map all of them.
fn new_user_namespace(is_root: bool, own_pid: &Path, refused: &impl Fn(&str, Errno) -> Refused) -> Result<(), Refused> {
    let helper = again(ROLE_MAP).env(OUTER, own_pid).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut helper = helper.map_err(|error| refused("execve(/proc/self/exe)", errno(&error)))?;
    let made = unshare(CloneFlags::CLONE_NEWUSER);
    let mapped = finish_mapping(&mut helper, made.is_ok());
    match made {
        Ok(()) => mapped.map_err(|error| refused("write(/proc/self/uid_map)", errno(&error))),
        Err(_) if is_root => Ok(()),
        Err(errno) => Err(refused("unshare(CLONE_NEWUSER)", errno)),
    }
}

/// Lets the helper write (or, without a namespace, go) and reads the error number it answers with.
fn finish_mapping(helper: &mut Child, go: bool) -> io::Result<()> {
    let mut stdin = helper.stdin.take();
    if let Some(stdin) = stdin.as_mut().filter(|_| go) {
        stdin.write_all(b"\n")?;
    }
    drop(stdin);
    let mut answer = String::new();
    if let Some(stdout) = helper.stdout.as_mut() {
        stdout.read_to_string(&mut answer)?;
    }
    helper.wait()?;
    match answer.trim().parse() {
        Ok(0) => Ok(()),
        Ok(number) => Err(io::Error::from_raw_os_error(number)),
        Err(_) => Err(Errno::ECHILD.into()),
    }
}

/// The helper: waits for a line, maps the ids of its parent, answers with an error number (0: done).
fn write_id_maps() -> i32 {
    let mut line = [0];
    if !matches!(io::stdin().read(&mut line), Ok(1)) {
        return 0;
    }
    let answer = map_all_ids().or_else(|_| map_one_id()).err().map_or(0, |error| errno(&error) as i32);
    println!("{answer}");
    0
}

/// Every id that exists here keeps its number: needs root.
fn map_all_ids() -> io::Result<()> {
    for map in ["uid_map", "gid_map"] {
        let mut ids = String::new();
        for line in fs::read_to_string(Path::new("/proc/self").join(map))?.lines() {
            let mut columns = line.split_whitespace();
            if let (Some(first), Some(_), Some(count)) = (columns.next(), columns.next(), columns.next()) {
                ids.push_str(&format!("{first} {first} {count}\n"));
            }
        }
        write_of_parent(map, &ids)?;
    }
    Ok(())
}

/// The caller's own id becomes 0: anyone may do that.
fn map_one_id() -> io::Result<()> {
    write_of_parent("uid_map", &format!("0 {} 1\n", Uid::effective()))?;
    write_of_parent("setgroups", "deny")?;
    write_of_parent("gid_map", &format!("0 {} 1\n", getegid()))
}

fn write_of_parent(file: &str, text: &str) -> io::Result<()> {
    let directory = Path::new("/proc").join(env::var_os(OUTER).unwrap_or_default());
    File::options().write(true).open(directory.join(file))?.write_all(text.as_bytes())
}

/// Nothing that is mounted from here on is seen outside, and the host's /run and /dev/log are out of reach.
fn private_mounts(refused: &impl Fn(&str, Errno) -> Refused) -> Result<(), Refused> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| refused("mount(/, MS_PRIVATE)", errno))?;
    mount_tmpfs("/run").map_err(|errno| refused("mount(tmpfs, /run)", errno))?;
    private_dev().map_err(|error| refused("mount(tmpfs, /dev)", errno(&error)))
}

/// A fresh, empty tmpfs on `target`.
pub(crate) fn mount_tmpfs(target: &str) -> nix::Result<()> {
    mount(Some("netlab"), target, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755"))
}

/// What is written to `directory` from here on goes to the new directory `upper` instead, which is on a tmpfs.
pub(crate) fn mount_overlay(directory: &Path, upper: &str) -> io::Result<()> {
    let work = format!("{upper}.work");
    fs::create_dir_all(upper)?;
    fs::create_dir_all(&work)?;
    let options = format!("lowerdir={},upperdir={upper},workdir={work}", directory.display());
    Ok(mount(Some("netlab"), directory, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?)
}

/// `source` appears as `target`, which must exist.
pub(crate) fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

/// A /dev with the harmless devices of the real one, and a /dev/log of our own.
fn private_dev() -> io::Result<()> {
    let new = Path::new("/run/dev");
    fs::create_dir(new)?;
    mount_tmpfs("/run/dev")?;
    for directory in ["shm", "pts", "net"] {
        fs::create_dir(new.join(directory))?;
    }
    for device in ["null", "zero", "full", "random", "urandom", "tty", "net/tun", "pts"] {
        let (source, target) = (Path::new("/dev").join(device), new.join(device));
        if !source.exists() {
            continue;
        }
        if !target.exists() {
            File::create(&target)?;
        }
        bind(&source, &target)?;
    }
    for (link, target) in [("fd", "/proc/self/fd"), ("log", SYSLOG_SOCKET)] {
        std::os::unix::fs::symlink(target, new.join(link))?;
    }
    mount(Some(new), "/dev", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    fs::remove_dir(new)
}

/// Pid 1 inside: starts the program proper, reaps every orphan, ends with the program.
fn be_init() -> i32 {
    let complain = |error: Errno| eprintln!("netlab: pid 1: {error}");
    if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
        complain(error);
        return 1;
    }
    // Inside, the parent's pid is 0 for getppid. The outer process may have died before the line above: then nobody will send that signal.
    if status_field("PPid:") != env::var(OUTER).ok() {
        return 1;
    }
    // Refused in most containers; the rest works with the /proc that is there.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>);
    let program = match again(ROLE_INSIDE).env_remove(OUTER).spawn() {
        Ok(child) => child.id(),
        Err(error) => {
            eprintln!("netlab: starting the program again: {error}");
            return 1;
        }
    };
    let is_program = |pid: Pid| u32::try_from(pid.as_raw()) == Ok(program);
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if is_program(pid) => return code,
            Ok(WaitStatus::Signaled(pid, signal, _)) if is_program(pid) => {
                return 128 + signal as i32;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                complain(error);
                return 1;
            }
        }
    }
}

/// A line of this process's status as the mounted /proc shows it.
fn status_field(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().to_owned())
}

/// This program once more, with the same arguments, in another role.
fn again(role: &str) -> Command {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("netlab"));
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name).args(arguments).env(ROLE, role);
    command
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// What works where namespaces are refused with `errno`.
fn hint(may_be_root: bool, is_root: bool, errno: Errno) -> String {
    let program: Vec<_> = env::args().collect();
    if !may_be_root {
        "this container lacks the right to make namespaces; start it with that right: docker run --privileged IMAGE"
            .to_owned()
    } else if !is_root {
        format!("ordinary users may not make namespaces here, root may: sudo {}", program.join(" "))
    } else if errno == Errno::ENOSPC {
        "a limit is reached; raise it: \
         sysctl user.max_mnt_namespaces=10000 user.max_net_namespaces=10000 user.max_pid_namespaces=10000"
            .to_owned()
    } else {
        "a sandbox forbids namespaces even to root; run it outside of that".to_owned()
    }
}

/// Whether root has CAP_SYS_ADMIN here, as it does everywhere but in containers.
fn may_be_root() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let bounding = status_field("CapBnd:").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    bounding.is_none_or(|mask| mask & CAP_SYS_ADMIN != 0)
}
