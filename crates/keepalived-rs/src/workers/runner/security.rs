//! May this script run, and as whom (`behaviour.md` §4.3)? Answers come from a [`Host`], so that the rules can be tested
//! on any machine by anybody.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use conf_parser::config::{Script, ScriptUser};

use crate::config::runner::{Occasion, RunnerPart};

/// The account of scripts where neither they nor `script_user` name one.
const DEFAULT_USER: &str = "keepalived_script";

/// The rights that decide: user, group, file mode and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// The owner.
    pub(crate) uid: u32,
    /// The owning group.
    pub(crate) gid: u32,
    /// The lower twelve bits of the mode.
    pub(crate) mode: u32,
    /// A regular file.
    pub(crate) is_file: bool,
}

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
}

/// What the rules ask of the machine.
pub(crate) trait Host {
    /// The account that a name or number means; an error when that cannot be found out.
    fn user(&self, name: &str) -> io::Result<Option<Identity>>;
    /// The group that a name or number means; an error when that cannot be found out.
    fn group(&self, name: &str) -> io::Result<Option<u32>>;
    /// `path` without links.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;
    /// Who may do what with the file.
    fn status(&self, path: &Path) -> io::Result<Status>;
    /// The first four bytes, fewer when the file is shorter.
    fn head(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Where commands without `/` are looked for.
    fn search_path(&self) -> Vec<PathBuf>;
    /// Whom every script runs as, where this process may not become anybody else.
    fn bound_to(&self) -> Option<Identity> {
        None
    }
}

/// A script that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program and its arguments.
    pub(crate) words: Vec<OsString>,
    /// Whom it runs as.
    pub(crate) identity: Identity,
}

/// What runs when, after the checks.
pub(crate) type Commands = BTreeMap<Occasion, Command>;

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Note {
    /// A script does not run.
    Error(String),
    /// It runs, but something should be mended.
    Warning(String),
}

/// Checks every script of `part`.
pub(crate) fn check(part: &RunnerPart, host: &impl Host) -> (Commands, Vec<Note>) {
    let mut checker = Checker { part, host, notes: Vec::new() };
    let default = checker.default_identity();
    let mut commands = Commands::new();
    for (occasion, script) in &part.scripts {
        match (checker.script(script, default), occasion) {
            (Some(command), _) => {
                commands.insert(occasion.clone(), command);
            }
            (None, Occasion::Track { script }) => {
                checker.warn(format!("Disabling track script {script} since not found/accessible"));
            }
            (None, Occasion::Check { script }) => checker.disable_check(script),
            (None, _) => {}
        }
    }
    if !commands.is_empty() && !part.script_security {
        checker.warn("SECURITY VIOLATION - scripts are being executed but script_security not enabled.");
    }
    let mut notes = checker.notes;
    let mut seen = HashSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    (commands, notes)
}

struct Checker<'a, H> {
    part: &'a RunnerPart,
    host: &'a H,
    notes: Vec<Note>,
}

impl<H: Host> Checker<'_, H> {
    fn error(&mut self, text: impl Into<String>) {
        self.notes.push(Note::Error(text.into()));
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.notes.push(Note::Warning(text.into()));
    }

    /// Whom scripts run as that name nobody; `None` when they may not run at all.
    fn default_identity(&mut self) -> Option<Identity> {
        if self.part.scripts.is_empty() {
            return None;
        }
        if let Some(user) = &self.part.script_user {
            return self.identity(user);
        }
        if let Some(own) = self.host.bound_to() {
            return Some(own);
        }
        match self.host.user(DEFAULT_USER) {
            Ok(Some(identity)) => Some(identity),
            Ok(None) => {
                self.warn(format!(
                    "WARNING - default user '{DEFAULT_USER}' for script execution does not exist - please create."
                ));
                (!self.part.script_security).then_some(Identity { uid: 0, gid: 0 })
            }
            // It may exist, and then root would be more than was meant.
            Err(error) => {
                self.error(format!(
                    "Unable to find out whether default user '{DEFAULT_USER}' exists - disabling its scripts: {}",
                    reason(&error)
                ));
                None
            }
        }
    }

    fn identity(&mut self, wanted: &ScriptUser) -> Option<Identity> {
        let found = self.host.user(&wanted.user);
        let mut identity = self.resolve(found, "username", &wanted.user)?;
        if let Some(group) = &wanted.group {
            let found = self.host.group(group);
            identity.gid = self.resolve(found, "group name", group)?;
        }
        self.may_become(identity, wanted).then_some(identity)
    }

    fn may_become(&mut self, identity: Identity, wanted: &ScriptUser) -> bool {
        let Some(own) = self.host.bound_to().filter(|own| *own != identity) else { return true };
        let group = wanted.group.as_ref().map_or_else(String::new, |group| format!(" group '{group}'"));
        self.error(format!(
            "Scripts of user '{}'{group} cannot run - disabling: this daemon runs as {}:{} without CAP_SETUID and \
             CAP_SETGID, and so do its scripts",
            wanted.user, own.uid, own.gid
        ));
        false
    }

    /// What `name` means, or a line that says why that is not known.
    fn resolve<T>(&mut self, found: io::Result<Option<T>>, kind: &str, name: &str) -> Option<T> {
        let why = match found {
            Ok(Some(found)) => return Some(found),
            Ok(None) => String::new(),
            Err(error) => format!(": {}", reason(&error)),
        };
        self.error(format!("Unable to resolve script {kind} '{name}' - disabling its scripts{why}"));
        None
    }

    /// Adds to what was said last of the program of a check what becomes of the check.
    fn disable_check(&mut self, script: &Script) {
        let why = match self.notes.pop() {
            Some(Note::Error(text) | Note::Warning(text)) => text,
            None => String::new(),
        };
        let place = self.part.checks.get(script).map_or("", String::as_str);
        let name = script.command.first().map_or("", String::as_str);
        self.error(format!(
            "{place}{why}. Disabling misc script '{name}': without it a real server stays up, or with alpha down"
        ));
    }

    fn script(&mut self, script: &Script, default: Option<Identity>) -> Option<Command> {
        let (name, arguments) = script.command.split_first()?;
        let identity = match &script.user {
            Some(user) => self.identity(user)?,
            None => match default {
                Some(identity) => identity,
                None => {
                    self.error(format!(
                        "Unable to set default user {} for script {name} - disabling",
                        self.part.script_user.as_ref().map_or(DEFAULT_USER, |user| &user.user)
                    ));
                    return None;
                }
            },
        };
        if let Some(path) = name.strip_prefix('<') {
            return Some(readable(path, arguments, identity));
        }
        let path = self.resolved(name)?;
        self.executable(name, &path, identity)?;
        if self.part.script_security && identity.uid == 0 {
            self.safe(name, &path)?;
        }
        let mut words = self.interpreter(name, &path);
        words.push(path.into());
        words.extend(arguments.iter().map(OsString::from));
        Some(Command { words, identity })
    }

    /// The file that `name` means, without links.
    fn resolved(&mut self, name: &str) -> Option<PathBuf> {
        let path = if name.contains('/') { Ok(PathBuf::from(name)) } else { self.searched(name) };
        match path.and_then(|path| self.host.canonical(&path)) {
            Ok(path) => Some(path),
            Err(error) => {
                self.error(format!("Script {name} cannot be accessed - {}", reason(&error)));
                None
            }
        }
    }

    fn searched(&mut self, name: &str) -> io::Result<PathBuf> {
        let found = self
            .host
            .search_path()
            .into_iter()
            .map(|directory| directory.join(name))
            .find(|path| self.host.status(path).is_ok_and(|status| status.is_file && status.mode & 0o111 != 0));
        let path = found.ok_or(io::ErrorKind::NotFound)?;
        self.warn(format!(
            "WARNING - script `{name}` resolved by path search to `{}`. Please specify full path.",
            path.display()
        ));
        Ok(path)
    }

    fn executable(&mut self, name: &str, path: &Path, identity: Identity) -> Option<()> {
        let status = match self.host.status(path) {
            Ok(status) => status,
            Err(error) => {
                self.error(format!("Script {name} cannot be accessed - {}", reason(&error)));
                return None;
            }
        };
        if status.is_file && may_execute(status, identity) {
            return Some(());
        }
        let Identity { uid, gid } = identity;
        self.error(format!("WARNING - script '{name}' is not executable for {uid}:{gid} - disabling"));
        None
    }

    /// Nobody but root may change the script or put another one in its place.
    fn safe(&mut self, name: &str, path: &Path) -> Option<()> {
        for component in path.ancestors() {
            let status = match self.host.status(component) {
                Ok(status) => status,
                Err(error) => {
                    self.error(format!("Script {name} cannot be accessed - {}", reason(&error)));
                    return None;
                }
            };
            if let Some(fault) = fault(status) {
                let component = component.display();
                self.error(format!("Unsafe permissions found for script '{name}' - disabling: {component} {fault}"));
                return None;
            }
        }
        Some(())
    }

    /// What has to run the file: nothing for programs and scripts with a `#!` line, else the shell.
    fn interpreter(&mut self, name: &str, path: &Path) -> Vec<OsString> {
        let head = self.host.head(path).unwrap_or_default();
        if head.starts_with(b"#!") || head.starts_with(b"\x7fELF") {
            return Vec::new();
        }
        self.warn(format!("Script '{name}' is run by /bin/sh - please add a #! line that names its interpreter"));
        vec!["/bin/sh".into()]
    }
}

/// A script that is satisfied while its user may read the file: `</path`. The shell opens it, and so says what
/// keepalived's does.
fn readable(path: &str, arguments: &[String], identity: Identity) -> Command {
    let path = if path.is_empty() { arguments.first().map_or("", String::as_str) } else { path };
    Command { words: ["/bin/sh", "-c", "<\"$0\"", path].map(OsString::from).to_vec(), identity }
}

/// The kernel's sentence without Rust's "(os error N)".
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None if error.kind() == io::ErrorKind::NotFound => "No such file or directory".to_owned(),
        None => error.to_string(),
    }
}

fn may_execute(status: Status, identity: Identity) -> bool {
    let bit = match identity {
        Identity { uid: 0, .. } => 0o111,
        Identity { uid, .. } if uid == status.uid => 0o100,
        Identity { gid, .. } if gid == status.gid => 0o010,
        Identity { .. } => 0o001,
    };
    status.mode & bit != 0
}

/// How others than root could change this file or directory. A sticky directory protects what is in it.
fn fault(status: Status) -> Option<String> {
    let Status { uid, gid, mode, is_file } = status;
    let sticky_directory = !is_file && mode & 0o1000 != 0;
    if uid != 0 {
        return Some(format!("is owned by user {uid}, not by root"));
    }
    if sticky_directory {
        return None;
    }
    if mode & 0o002 != 0 {
        return Some(format!("is writable by others (mode {mode:04o})"));
    }
    (mode & 0o020 != 0 && gid != 0).then(|| format!("is writable by group {gid} (mode {mode:04o})"))
}

#[cfg(test)]
mod tests;
