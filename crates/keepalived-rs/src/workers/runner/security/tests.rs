use super::*;
use crate::config::runner::Object;
use crate::ipc::NotifyState;

/// A machine made of a list of files.
#[derive(Default)]
struct Files {
    files: BTreeMap<PathBuf, (Status, &'static [u8])>,
    links: BTreeMap<PathBuf, PathBuf>,
    users: BTreeMap<&'static str, Identity>,
    accounts_fail: bool,
    bound_to: Option<Identity>,
}

const ROOT: Identity = Identity { uid: 0, gid: 0 };
const NOBODY: Identity = Identity { uid: 65534, gid: 65534 };

impl Files {
    /// A machine on which /etc/keepalived/notify.sh is as it should be.
    fn sane() -> Self {
        let mut files = Self { users: [("root", ROOT), ("nobody", NOBODY)].into(), ..Self::default() };
        for directory in ["/", "/etc", "/etc/keepalived"] {
            files.put(directory, 0, 0, 0o755, false);
        }
        files.put("/etc/keepalived/notify.sh", 0, 0, 0o755, true);
        files
    }

    fn put(&mut self, path: &str, uid: u32, gid: u32, mode: u32, is_file: bool) {
        self.files.insert(path.into(), (Status { uid, gid, mode, is_file }, b"#!/b"));
    }
}

impl Host for Files {
    fn user(&self, name: &str) -> io::Result<Option<Identity>> {
        match self.accounts_fail {
            true => Err(io::Error::from_raw_os_error(111)),
            false => Ok(self.users.get(name).copied()),
        }
    }
    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(self.user(name)?.map(|identity| identity.gid))
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let path = self.links.get(path).map_or(path, PathBuf::as_path);
        self.status(path).map(|_| path.to_owned())
    }
    fn status(&self, path: &Path) -> io::Result<Status> {
        let enoent = || io::Error::from_raw_os_error(2);
        self.files.get(path).map(|(status, _)| *status).ok_or_else(enoent)
    }
    fn head(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.files.get(path).map(|(_, head)| head.to_vec()).unwrap_or_default())
    }
    fn search_path(&self) -> Vec<PathBuf> {
        vec!["/usr/bin".into(), "/etc/keepalived".into()]
    }
    fn bound_to(&self) -> Option<Identity> {
        self.bound_to
    }
}

fn occasion() -> Occasion {
    Occasion::Enter { instance: "VI_1".into(), state: NotifyState::Active }
}

/// One script, by default secured and of root.
fn part(command: &[&str]) -> RunnerPart {
    let command = command.iter().map(|&word| word.to_owned()).collect();
    RunnerPart {
        objects: [Object::Instance("VI_1".into())].into(),
        script_user: Some(ScriptUser { user: "root".into(), group: None, supplementary_groups: false }),
        script_security: true,
        scripts: [(occasion(), Script { command, user: None })].into(),
        ..RunnerPart::default()
    }
}

const SCRIPT: &str = "/etc/keepalived/notify.sh";

/// The lines that refuse the script on this machine.
fn refusal(host: &Files, part: &RunnerPart) -> Vec<Note> {
    let (commands, notes) = check(part, host);
    assert_eq!(commands, Commands::new(), "refused for {notes:?}");
    notes
}

fn only_error(text: &str) -> [Note; 1] {
    [Note::Error(text.to_owned())]
}

#[test]
fn a_safe_script_runs_with_its_words_and_without_a_word() {
    let (commands, notes) = check(&part(&[SCRIPT, "a b", "c"]), &Files::sane());
    assert_eq!(notes, []);
    let words = [SCRIPT, "a b", "c"].map(OsString::from).to_vec();
    assert_eq!(commands, [(occasion(), Command { words, identity: ROOT })].into());
}

#[test]
fn the_default_user_is_script_user_then_keepalived_script_then_root() {
    let run_as = |host: &Files, part: &RunnerPart| check(part, host).0.get(&occasion()).map(|c| c.identity);
    let mut host = Files::sane();
    let mut part = part(&[SCRIPT]);
    part.script_security = false;
    part.script_user =
        Some(ScriptUser { user: "nobody".into(), group: Some("root".into()), supplementary_groups: false });
    assert_eq!(run_as(&host, &part), Some(Identity { uid: 65534, gid: 0 }));
    part.script_user = None;
    assert_eq!(run_as(&host, &part), Some(ROOT));
    host.users.insert("keepalived_script", Identity { uid: 99, gid: 99 });
    assert_eq!(run_as(&host, &part), Some(Identity { uid: 99, gid: 99 }));
}

#[test]
fn with_security_and_without_an_account_nothing_runs() {
    let part = RunnerPart { script_user: None, ..part(&[SCRIPT]) };
    let notes = refusal(&Files::sane(), &part);
    assert!(notes.iter().any(|note| matches!(note, Note::Error(text)
        if text.starts_with("Unable to set default user keepalived_script for script"))));
}

#[test]
fn an_unknown_user_disables_the_script() {
    let mut part = part(&[SCRIPT]);
    part.script_user = Some(ScriptUser { user: "ghost".into(), group: None, supplementary_groups: false });
    let notes = refusal(&Files::sane(), &part);
    assert_eq!(notes.first(), only_error("Unable to resolve script username 'ghost' - disabling its scripts").first());
}

#[test]
fn an_account_that_cannot_be_looked_up_is_not_taken_for_none() {
    let host = Files { accounts_fail: true, ..Files::sane() };
    let mut part = RunnerPart { script_user: None, script_security: false, ..part(&[SCRIPT]) };
    let why = "Unable to find out whether default user 'keepalived_script' exists - disabling its scripts: \
               Connection refused";
    assert_eq!(refusal(&host, &part).first(), only_error(why).first());
    part.script_user = Some(ScriptUser { user: "nobody".into(), group: None, supplementary_groups: false });
    let why = "Unable to resolve script username 'nobody' - disabling its scripts: Connection refused";
    assert_eq!(refusal(&host, &part).first(), only_error(why).first());
}

#[test]
fn a_script_without_security_runs_and_is_complained_about_once() {
    let mut part = RunnerPart { script_security: false, ..part(&[SCRIPT]) };
    let script = part.scripts.get(&occasion()).cloned().unwrap();
    part.scripts.insert(Occasion::Change { instance: "VI_1".into() }, script);
    let mut host = Files::sane();
    host.put("/etc", 1000, 0, 0o777, false);
    let (commands, notes) = check(&part, &host);
    assert_eq!(commands.len(), 2);
    let violation = "SECURITY VIOLATION - scripts are being executed but script_security not enabled.";
    assert_eq!(notes, [Note::Warning(violation.to_owned())]);
}

#[test]
fn a_missing_script_is_named_as_keepalived_does() {
    let notes = refusal(&Files::sane(), &part(&["/nowhere"]));
    assert_eq!(notes, only_error("Script /nowhere cannot be accessed - No such file or directory"));
}

#[test]
fn who_may_not_execute_it_does_not_run_it() {
    let mut host = Files::sane();
    host.put(SCRIPT, 0, 0, 0o744, true);
    assert_eq!(check(&part(&[SCRIPT]), &host).0.len(), 1, "root may");
    let mut part = part(&[SCRIPT]);
    part.script_user = Some(ScriptUser { user: "nobody".into(), group: None, supplementary_groups: false });
    let expected = "WARNING - script '/etc/keepalived/notify.sh' is not executable for 65534:65534 - disabling";
    assert_eq!(refusal(&host, &part), only_error(expected));
    host.put(SCRIPT, 65534, 0, 0o100, true);
    assert_eq!(check(&part, &host).0.len(), 1, "the owner's bit");
    host.put(SCRIPT, 0, 65534, 0o710, true);
    assert_eq!(check(&part, &host).0.len(), 1, "the group's bit");
    host.put(SCRIPT, 0, 65534, 0o701, true);
    assert_eq!(check(&part, &host).0.len(), 0, "the group's bit counts for members, not that of others");
}

#[test]
fn what_others_may_change_does_not_run_as_root_and_is_named() {
    let unsafe_because = |path: &str, uid, gid, mode, is_file| {
        let mut host = Files::sane();
        host.put(path, uid, gid, mode, is_file);
        check(&part(&[SCRIPT]), &host).1
    };
    let start = "Unsafe permissions found for script '/etc/keepalived/notify.sh' - disabling:";
    let refused = |why: &str| only_error(&format!("{start} {why}"));
    assert_eq!(unsafe_because("/etc", 1000, 0, 0o755, false), refused("/etc is owned by user 1000, not by root"));
    assert_eq!(
        unsafe_because("/etc/keepalived", 0, 50, 0o775, false),
        refused("/etc/keepalived is writable by group 50 (mode 0775)")
    );
    assert_eq!(
        unsafe_because(SCRIPT, 0, 0, 0o757, true),
        refused("/etc/keepalived/notify.sh is writable by others (mode 0757)")
    );
    assert_eq!(unsafe_because("/etc/keepalived", 0, 0, 0o775, false), [], "root's group");
    assert_eq!(unsafe_because("/etc/keepalived", 0, 0, 0o1777, false), [], "a sticky directory");
    assert_eq!(unsafe_because(SCRIPT, 0, 0, 0o1757, true).len(), 1, "a sticky file protects nothing");
}

#[test]
fn what_others_may_change_runs_as_another_user() {
    let mut host = Files::sane();
    host.put("/etc/keepalived", 1000, 0, 0o777, false);
    let mut part = part(&[SCRIPT]);
    part.script_user = Some(ScriptUser { user: "nobody".into(), group: None, supplementary_groups: false });
    assert_eq!(check(&part, &host).0.len(), 1);
}

#[test]
fn links_are_followed_before_the_check() {
    let mut host = Files::sane();
    host.links.insert("/l".into(), "/home/u/x".into());
    for directory in ["/home", "/home/u"] {
        host.put(directory, 0, 0, 0o755, false);
    }
    host.put("/home/u", 1000, 1000, 0o755, false);
    host.put("/home/u/x", 0, 0, 0o755, true);
    let expected = "Unsafe permissions found for script '/l' - disabling: /home/u is owned by user 1000, not by root";
    assert_eq!(refusal(&host, &part(&["/l"])), only_error(expected));
}

#[test]
fn a_command_without_a_slash_is_searched_with_a_warning() {
    let (commands, notes) = check(&part(&["notify.sh"]), &Files::sane());
    assert_eq!(commands.get(&occasion()).unwrap().words, [SCRIPT]);
    let expected = "WARNING - script `notify.sh` resolved by path search to `/etc/keepalived/notify.sh`. \
                    Please specify full path.";
    assert_eq!(notes, [Note::Warning(expected.to_owned())]);
}

#[test]
fn a_file_of_neither_kind_is_run_by_the_shell_with_a_word() {
    let mut host = Files::sane();
    host.files.get_mut(Path::new(SCRIPT)).unwrap().1 = b"echo";
    let (commands, notes) = check(&part(&[SCRIPT, "x"]), &host);
    assert_eq!(commands.get(&occasion()).unwrap().words, ["/bin/sh", SCRIPT, "x"]);
    assert!(matches!(notes.as_slice(), [Note::Warning(text)] if text.contains("please add a #!")));
}

/// A machine's part with a tracked script.
fn tracking(command: &[&str], user: Option<&str>) -> RunnerPart {
    let command = command.iter().map(|&word| word.to_owned()).collect();
    let user = user.map(|user| ScriptUser { user: user.into(), group: None, supplementary_groups: false });
    let scripts = [(Occasion::Track { script: "chk".into() }, Script { command, user })].into();
    RunnerPart { scripts, ..part(&[]) }
}

#[test]
fn a_tracked_script_runs_as_its_user() {
    let (commands, notes) = check(&tracking(&[SCRIPT, "x"], Some("nobody")), &Files::sane());
    assert_eq!(notes, []);
    let expected = Command { words: [SCRIPT, "x"].map(OsString::from).to_vec(), identity: NOBODY };
    assert_eq!(commands, [(Occasion::Track { script: "chk".into() }, expected)].into());
}

#[test]
fn a_tracked_script_that_cannot_run_is_disabled() {
    let (commands, notes) = check(&tracking(&["/etc/none"], None), &Files::sane());
    assert!(commands.is_empty());
    let expected = [
        Note::Error("Script /etc/none cannot be accessed - No such file or directory".into()),
        Note::Warning("Disabling track script chk since not found/accessible".into()),
    ];
    assert_eq!(notes, expected);
}

#[test]
fn a_file_to_be_read_is_no_program() {
    let (commands, notes) = check(&tracking(&["</etc/none"], Some("nobody")), &Files::sane());
    assert_eq!(notes, []);
    let expected = ["/bin/sh", "-c", "<\"$0\"", "/etc/none"].map(OsString::from).to_vec();
    assert_eq!(commands.into_values().collect::<Vec<_>>(), [Command { words: expected, identity: NOBODY }]);
}

#[test]
fn who_cannot_become_another_user_runs_scripts_as_itself() {
    let mut host = Files::sane();
    host.bound_to = Some(NOBODY);
    let unnamed = RunnerPart { script_user: None, script_security: true, ..part(&[SCRIPT]) };
    let named = RunnerPart { script_user: None, ..tracking(&[SCRIPT], Some("nobody")) };
    for part in [unnamed, named] {
        let (commands, notes) = check(&part, &host);
        assert_eq!(notes, []);
        assert!(commands.into_values().map(|command| command.identity).eq([NOBODY]));
    }
    let (commands, notes) = check(&tracking(&[SCRIPT], Some("root")), &host);
    assert!(commands.is_empty());
    let expected = "Scripts of user 'root' cannot run - disabling: this daemon runs as 65534:65534 without CAP_SETUID \
                    and CAP_SETGID, and so do its scripts";
    assert!(notes.contains(&Note::Error(expected.into())), "{notes:?}");
}

#[test]
fn a_check_whose_program_may_not_run_is_disabled_with_its_place_and_the_cause() {
    let script = |word: &str, user: &str| {
        let user = ScriptUser { user: user.into(), group: None, supplementary_groups: false };
        Script { command: vec![word.into()], user: Some(user) }
    };
    let mut host = Files::sane();
    host.put("/etc/unsafe", 0, 0, 0o757, true);
    host.put("/etc/plain", 0, 0, 0o644, true);
    let all = [script(SCRIPT, "nobody"), script("/none", "root"), script("/etc/unsafe", "root")];
    let all = all.into_iter().chain([script("/etc/plain", "root"), script(SCRIPT, "ghost")]);
    let mut part = part(&[]);
    for script in all {
        part.checks.insert(script.clone(), "k.conf:7:9: ".into());
        part.scripts.insert(Occasion::Check { script: script.clone() }, script);
    }
    let (commands, notes) = check(&part, &host);
    assert_eq!(commands.len(), 1);
    let causes = [
        (SCRIPT, "Unable to resolve script username 'ghost' - disabling its scripts"),
        ("/etc/plain", "WARNING - script '/etc/plain' is not executable for 0:0 - disabling"),
        (
            "/etc/unsafe",
            "Unsafe permissions found for script '/etc/unsafe' - disabling: /etc/unsafe is writable by others (mode 0757)",
        ),
        ("/none", "Script /none cannot be accessed - No such file or directory"),
    ];
    let lines = causes.map(|(name, cause)| {
        let rest = "without it a real server stays up, or with alpha down";
        Note::Error(format!("k.conf:7:9: {cause}. Disabling misc script '{name}': {rest}"))
    });
    assert_eq!(notes, lines);
}
