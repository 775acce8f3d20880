//! Scripts that could not run, or that somebody else could change (`script_user`, `enable_script_security`).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::{Config, Script, ScriptUser};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::host::{Account, Fact, File, FileKind, Host, Writer};
use crate::source::{Span, Spanned};

/// Whom scripts run as that name nobody, where such an account exists.
const DEFAULT_USER: &str = "keepalived_script";

const ROOT: Account = Account { uid: 0, gid: 0 };

/// Why a script does not run, or should not.
enum Problem {
    Missing,
    NotAFile,
    NotExecutable(Account),
    Unsafe(PathBuf, Writer),
}

struct Scripts<'a> {
    config: &'a Config,
    host: &'a dyn Host,
    /// Whom scripts run as that name nobody; absent where none of them runs.
    default: Fact<Account>,
    /// A script that exists, which is what makes script security a matter.
    existing: Option<Span>,
    /// The same, of a check of a real server.
    existing_check: Option<Span>,
    insecure: bool,
}

pub(super) fn check(config: &Config, host: &dyn Host, findings: &mut Vec<Diagnostic>) {
    let mut scripts =
        Scripts { config, host, default: Fact::Unknown, existing: None, existing_check: None, insecure: false };
    scripts.default_user(findings);
    for script in &config.vrrp_scripts {
        let name = script.name.value.as_str();
        scripts.script(&script.script, &Owner::TrackScript(name), findings);
    }
    for server in config.virtual_servers.iter().flat_map(|server| &server.real_servers) {
        for (checker, script) in server.checkers.iter().filter_map(|checker| Some((checker, checker.script()?))) {
            let path = script.command.first().map_or("", String::as_str);
            let owner = Owner::Check { path, server: *server.address, span: checker.place.span };
            scripts.script(script, &owner, findings);
        }
    }
    for script in config.event_scripts() {
        scripts.script(script, &Owner::Event, findings);
    }
    scripts.security(findings);
}

/// What a script is for.
enum Owner<'a> {
    TrackScript(&'a str),
    Check { path: &'a str, server: IpAddr, span: Span },
    Event,
}

impl Scripts<'_> {
    fn default_user(&mut self, findings: &mut Vec<Diagnostic>) {
        let secure = self.config.global.enable_script_security;
        self.default = match (&self.config.global.script_user, self.host.user(DEFAULT_USER)) {
            (Some(user), _) => self.account(user),
            (None, Fact::Absent) if !secure => Fact::Present(ROOT),
            (None, account) => account,
        };
        if !self.default.is_absent() {
            return;
        }
        if let Some(user) = &self.config.global.script_user {
            findings.push(
                Diagnostic::error(Code::ScriptUser, Class::General, user.span, "Error setting global script uid/gid")
                    .label(format!("{} is no account of this host", self.missing_name(user)))
                    .help("create it, or name another one"),
            );
            return;
        }
        let without_user = self.config.scripts().filter(|script| script.user.is_none());
        findings.extend(without_user.min_by_key(|script| script.span).map(|first| {
            let message = format!("Unable to set default user {DEFAULT_USER} for script");
            Diagnostic::error(Code::ScriptUser, Class::General, first.span, message)
                .label("with script security nothing runs without an account")
                .help(format!("create the user {DEFAULT_USER}, or write 'script_user' into global_defs"))
        }));
    }

    /// The account that a script runs as.
    fn account(&self, user: &ScriptUser) -> Fact<Account> {
        let account = self.host.user(&user.user);
        match (&user.group, account) {
            (Some(group), Fact::Present(account)) => self.host.group(group).map(|gid| Account { gid, ..account }),
            (_, account) => account,
        }
    }

    fn missing_name(&self, user: &ScriptUser) -> String {
        let group = user.group.as_ref().filter(|_| !self.host.user(&user.user).is_absent());
        group.map_or_else(|| format!("'{}'", user.user), |group| format!("the group '{group}'"))
    }

    fn script(&mut self, script: &Spanned<Script>, owner: &Owner<'_>, findings: &mut Vec<Diagnostic>) {
        let account = script.user.as_ref().map_or(self.default, |user| self.account(user));
        if account.is_absent() {
            findings.extend(match &script.user {
                Some(user) => Some(self.unknown_user(script, user)),
                None => no_default(script, owner),
            });
            return;
        }
        let is_file_to_read = script.command.first().is_some_and(|command| command.starts_with('<'));
        if is_file_to_read && matches!(owner, Owner::TrackScript(_)) {
            // It may come and go: that is what is tracked.
            self.existing.get_or_insert(script.span);
            return;
        }
        let account = account.present();
        if let Some(problem) = self.problem(script, account) {
            self.insecure |= matches!(problem, Problem::Unsafe(..));
            let disabled = !matches!(problem, Problem::Unsafe(..)) || self.config.global.enable_script_security;
            findings.push(self.finding(script, owner, &problem, disabled));
            if matches!(problem, Problem::Missing | Problem::NotAFile) {
                return;
            }
        }
        let exists = script.command.first().is_some_and(|command| self.host.command(command).is_present());
        if exists {
            let slot = if matches!(owner, Owner::Check { .. }) { &mut self.existing_check } else { &mut self.existing };
            slot.get_or_insert(script.span);
        }
    }

    fn unknown_user(&self, script: &Spanned<Script>, user: &ScriptUser) -> Diagnostic {
        let command = script.command.first().map_or("", String::as_str);
        let message = format!("Unable to set uid/gid for script '{command}'");
        Diagnostic::error(Code::ScriptUser, Class::General, script.span, message)
            .label(format!("{} is no account of this host", self.missing_name(user)))
    }

    fn problem(&self, script: &Script, account: Option<Account>) -> Option<Problem> {
        let command = script.command.first()?;
        let file = match self.host.command(command) {
            Fact::Present(file) => file,
            Fact::Absent => return Some(Problem::Missing),
            Fact::Unknown => return None,
        };
        if file.kind != FileKind::File {
            return Some(Problem::NotAFile);
        }
        let account = account?;
        if !file.may_execute(account) && !self.perhaps_by_group(script, &file, account) {
            return Some(Problem::NotExecutable(account));
        }
        if account.uid != 0 {
            return None;
        }
        let mut chain = self.host.chain(Path::new(&file.path)).into_iter();
        chain.find_map(|(path, file)| Some(Problem::Unsafe(path, file.present()?.writable_by()?)))
    }

    /// Whether a group of the user's that is not asked for here may execute the file.
    fn perhaps_by_group(&self, script: &Script, file: &File, account: Account) -> bool {
        let user = script.user.as_ref().or(self.config.global.script_user.as_deref());
        let groups =
            self.config.global.scripts.set_supplementary_groups || user.is_some_and(|user| user.supplementary_groups);
        groups && file.uid != account.uid && file.mode & 0o010 != 0
    }

    fn finding(&self, script: &Spanned<Script>, owner: &Owner<'_>, problem: &Problem, disabled: bool) -> Diagnostic {
        let command = script.command.first().map_or("", String::as_str);
        let (label, help) = match problem {
            Problem::Missing => {
                let quotes = command.contains(['“', '”', '‘', '’']);
                let help =
                    if quotes { "remove the typographic quotation marks" } else { "create it, or correct the path" };
                (format!("there is no file {command}"), help.to_owned())
            }
            Problem::NotAFile => (format!("{command} is no regular file"), "name the script itself".to_owned()),
            Problem::NotExecutable(Account { uid, gid }) => {
                (format!("{command} is not executable for {uid}:{gid}"), format!("chmod a+x {command}"))
            }
            Problem::Unsafe(path, writer) => (
                format!("{} may be changed by {}", path.display(), self.writer(*writer)),
                format!("let {} be root's, and writable by nobody else", path.display()),
            ),
        };
        let finding = match (owner, problem) {
            (_, Problem::Unsafe(..)) if !disabled => {
                let message = format!("the script '{command}' runs as root, and others may change it");
                Diagnostic::note(Code::UnsafeScript, script.span, message)
            }
            (Owner::TrackScript(name), Problem::Unsafe(..)) => {
                let message = format!("Disabling track script {name} due to insecure");
                Diagnostic::error(Code::UnsafeScript, Class::General, script.span, message)
            }
            (Owner::TrackScript(name), Problem::Missing | Problem::NotAFile) => {
                let message = format!("Disabling track script {name} since not found/accessible");
                Diagnostic::error(Code::ScriptMissing, Class::General, script.span, message)
            }
            // What follows keepalived says when it runs, and not in a test of the file.
            (_, Problem::Unsafe(..)) => {
                let message = format!("Unsafe permissions found for script '{command}' - disabling");
                Diagnostic::note(Code::UnsafeScript, script.span, message)
            }
            (Owner::Check { path, server, span }, _) => {
                let message = format!("Disabling misc script '{path}' since not found/accessible");
                Diagnostic::note(Code::ScriptMissing, script.span, message)
                    .related(*span, format!("the check of {server}"))
            }
            (_, Problem::NotExecutable(Account { uid, gid })) => {
                let message = format!("WARNING - script '{command}' is not executable for {uid}:{gid} - disabling");
                Diagnostic::note(Code::ScriptMissing, script.span, message)
            }
            (Owner::Event, _) => {
                let message = format!("Script {command} cannot be accessed - No such file or directory");
                Diagnostic::note(Code::ScriptMissing, script.span, message)
            }
        };
        finding.label(label).help(help)
    }

    fn writer(&self, writer: Writer) -> String {
        match writer {
            Writer::Everybody => "everybody".to_owned(),
            Writer::Owner(uid) => format!("the user {}", self.host.user_name(uid).unwrap_or_else(|| uid.to_string())),
            Writer::Group(gid) => format!("the group {}", self.host.group_name(gid).unwrap_or_else(|| gid.to_string())),
        }
    }

    fn security(&self, findings: &mut Vec<Diagnostic>) {
        if self.config.global.enable_script_security {
            return;
        }
        let insecure = if self.insecure { " There are insecure scripts." } else { "" };
        for (span, what) in [(self.existing, "scripts"), (self.existing_check, "check scripts")] {
            findings.extend(span.map(|span| {
                let message = format!(
                    "SECURITY VIOLATION - {what} are being executed but script_security not enabled.{insecure}"
                );
                Diagnostic::warning(Code::ScriptSecurity, Class::Security, span, message)
                    .help("add 'enable_script_security' to global_defs")
            }));
        }
    }
}

/// A script without an account to run as. Of those that run on events keepalived says nothing more.
fn no_default(script: &Spanned<Script>, owner: &Owner<'_>) -> Option<Diagnostic> {
    let message = match owner {
        Owner::TrackScript(name) => format!("Unable to set default user for vrrp script {name} - removing"),
        Owner::Check { path, .. } => format!("Unable to set default user for misc script '{path}' - removing"),
        Owner::Event => return None,
    };
    Some(Diagnostic::error(Code::ScriptUser, Class::General, script.span, message))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::host::{Facts, FileFact, FileKind};
    use crate::{MemoryLoader, Options, config_test_exit_code, parse};

    /// The status of a test of a file with this script, which has `mode` or does not exist.
    fn status(security: &str, script: &str, mode: Option<u32>) -> u8 {
        let text = format!("global_defs {{\nscript_user root\n{security}\n}}\n{script}");
        let parsed = parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default());
        let file = |mode| (PathBuf::from("/s"), FileFact { kind: FileKind::File, mode, uid: 0, gid: 0 });
        let host = Facts {
            users: Some(BTreeMap::from([("root".to_owned(), ROOT)])),
            files: Some(mode.map(file).into_iter().collect()),
            ..Facts::default()
        };
        let mut findings = parsed.diagnostics;
        let before = findings.len();
        check(&parsed.config, &host, &mut findings);
        assert!(mode == Some(0o755) || findings.len() > before, "{script}");
        config_test_exit_code(&findings)
    }

    #[test]
    fn only_some_unusable_scripts_change_the_status_of_a_test() {
        let tracked = "vrrp_script a {\nscript /s\n}\n";
        let misc = "virtual_server 192.0.2.1 80 {\nprotocol TCP\nlvs_sched rr\nlvs_method NAT\n\
                    real_server 192.0.2.2 80 {\nMISC_CHECK {\nmisc_path /s\n}\n}\n}\n";
        let event =
            "vrrp_instance V {\ninterface eth0\nvirtual_router_id 1\nnotify /s\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n";
        for (script, missing, insecure) in [(tracked, 5, 5), (misc, 0, 0), (event, 0, 0)] {
            let secure = |mode| status("enable_script_security", script, mode);
            assert_eq!(
                [None, Some(0o777), Some(0o644), Some(0o755)].map(secure),
                [missing, insecure, 0, 0],
                "with script security: {script}"
            );
            let open = |mode| status("", script, mode);
            assert_eq!(
                [None, Some(0o777), Some(0o644), Some(0o755)].map(open),
                [missing, 6, 6, 6],
                "without script security: {script}"
            );
        }
    }
}
