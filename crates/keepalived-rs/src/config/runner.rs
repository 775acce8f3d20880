//! The runner worker's part of a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use conf_parser::config::{
    Checker, Config, InitFile, Notify, RealServer, ReceiveBuffer, Script, ScriptUser, Tracking, VirtualServer,
};
use conf_parser::{Sources, Spanned};
use serde::{Deserialize, Serialize};

use crate::config::checker;
use crate::config::tracked_process::TrackedProcess;
use crate::ipc::{NotifyEvent, NotifyState, Role};

/// Everything the runner worker is told by a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RunnerPart {
    /// `script_user`: whom scripts run as that name nobody.
    pub(crate) script_user: Option<ScriptUser>,
    /// `enable_script_security`: scripts of root that others may change are refused.
    pub(crate) script_security: bool,
    /// What the configuration holds, with or without scripts.
    pub(crate) objects: BTreeSet<Object>,
    /// What runs when.
    pub(crate) scripts: BTreeMap<Occasion, Script>,
    /// The `vrrp_script` blocks that somebody tracks, by name; their commands are among `scripts`.
    pub(crate) tracked_scripts: BTreeMap<String, Timing>,
    /// The `track_file` blocks that somebody tracks or a `FILE_CHECK` names, by name.
    pub(crate) tracked_files: BTreeMap<String, TrackedFile>,
    /// The `vrrp_track_process` blocks that somebody tracks, by name.
    pub(crate) tracked_processes: BTreeMap<String, TrackedProcess>,
    /// The programs of checks, with the place of each as `FILE:LINE:COLUMN: `; they are among `scripts`.
    pub(crate) checks: BTreeMap<Script, String>,
    /// `process_monitor_rcv_bufs` and its `_force`.
    pub(crate) process_monitor: ReceiveBuffer,
}

/// How a tracked script is run and judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timing {
    /// From the start of one run to that of the next, at least 1 ms.
    pub(crate) interval: Duration,
    /// A run that takes longer has failed; at least 1 ms.
    pub(crate) timeout: Duration,
    /// Successes in a row that make a failing script a succeeding one; at least 1.
    pub(crate) rise: u32,
    /// Failures in a row that make a succeeding script a failing one; at least 1.
    pub(crate) fall: u32,
}

/// A file with a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrackedFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What is written into it at the start.
    pub(crate) init: Option<InitFile>,
    /// The workers that follow it.
    pub(crate) followers: BTreeSet<Role>,
}

/// What events tell of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Object {
    /// A VRRP instance.
    Instance(String),
    /// A VRRP sync group.
    Group(String),
    /// A virtual server as in the log.
    VirtualServer(String),
    /// A real server as in the log, behind its virtual server.
    RealServer(String, String),
}

impl Object {
    /// What `event` tells of.
    pub(crate) fn of(event: &NotifyEvent) -> Self {
        match event {
            NotifyEvent::Instance { name, .. } => Self::Instance(name.clone()),
            NotifyEvent::Group { name, .. } => Self::Group(name.clone()),
            NotifyEvent::Quorum { virtual_server, .. } => Self::VirtualServer(virtual_server.clone()),
            NotifyEvent::RealServer { virtual_server, real_server, .. } => {
                Self::RealServer(real_server.clone(), virtual_server.clone())
            }
        }
    }
}

/// When a script runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Occasion {
    /// A VRRP instance enters this state: `notify_master` and its siblings.
    Enter {
        /// The instance.
        instance: String,
        /// The state.
        state: NotifyState,
    },
    /// A VRRP instance enters any state: `notify`.
    Change {
        /// The instance.
        instance: String,
    },
    /// All members of a sync group entered this state: its `notify_master` and siblings.
    GroupEnter {
        /// The group.
        group: String,
        /// The state.
        state: NotifyState,
    },
    /// All members of a sync group entered any state: its `notify`.
    GroupChange {
        /// The group.
        group: String,
    },
    /// `quorum_up`, `quorum_down`.
    Quorum {
        /// The virtual server as in the log.
        virtual_server: String,
        /// Gained.
        up: bool,
    },
    /// `notify_up`, `notify_down`.
    RealServer {
        /// The virtual server as in the log.
        virtual_server: String,
        /// The real server as in the log.
        real_server: String,
        /// Came.
        up: bool,
    },
    /// The checker asks for the program of a `MISC_CHECK`.
    Check {
        /// What it is.
        script: Script,
    },
    /// It is time for a tracked script.
    Track {
        /// The name of its `vrrp_script`.
        script: String,
    },
}

impl RunnerPart {
    /// What `config` says about scripts.
    pub(crate) fn from_config(config: &Config) -> Self {
        let mut part = Self {
            script_user: config.global.script_user.as_ref().map(|user| user.value.clone()),
            script_security: config.global.enable_script_security,
            process_monitor: config.global.processes.buffers.process_monitor,
            ..Self::default()
        };
        for instance in &config.vrrp_instances {
            let name = || instance.name.value.clone();
            let enter = |state| Occasion::Enter { instance: name(), state };
            part.scripts.extend(of_states(enter, || Occasion::Change { instance: name() }, &instance.notify));
        }
        for group in &config.sync_groups {
            let name = || group.name.value.clone();
            let enter = |state| Occasion::GroupEnter { group: name(), state };
            part.scripts.extend(of_states(enter, || Occasion::GroupChange { group: name() }, &group.notify));
        }
        part.add_trackers(config);
        // The names of thousands of instances and servers are worked out for scripts only.
        if part.has_work() || config.virtual_servers.iter().any(has_scripts) {
            let instances = config.vrrp_instances.iter().map(|it| Object::Instance(it.name.value.clone()));
            part.objects.extend(instances);
            part.objects.extend(config.sync_groups.iter().map(|group| Object::Group(group.name.value.clone())));
            config.virtual_servers.iter().for_each(|server| part.add_virtual_server(server));
        }
        for script in check_scripts(config).map(|script| &script.value) {
            part.scripts.insert(Occasion::Check { script: script.clone() }, script.clone());
            part.checks.insert(script.clone(), String::new());
        }
        part
    }

    /// With the places of the programs of checks; of those that are there more than once, the first.
    pub(crate) fn located(mut self, config: &Config, sources: &Sources) -> Self {
        for script in check_scripts(config) {
            if let Some(place) = self.checks.get_mut(&script.value).filter(|place| place.is_empty()) {
                *place = sources.location(script.span).map(|place| format!("{place}: ")).unwrap_or_default();
            }
        }
        self
    }

    /// Whether there is something to do.
    pub(crate) fn has_work(&self) -> bool {
        !(self.scripts.is_empty() && self.tracked_files.is_empty() && self.tracked_processes.is_empty())
    }

    fn add_trackers(&mut self, config: &Config) {
        let scripts: BTreeSet<_> =
            tracking(config).flat_map(|it| &it.scripts).map(|it| it.name.value.as_str()).collect();
        for script in config.vrrp_scripts.iter().filter(|script| scripts.contains(script.name.as_str())) {
            let name = script.name.value.clone();
            self.scripts.extend(taken(|| Occasion::Track { script: name.clone() }, Some(&script.script)));
            let timing =
                Timing { interval: script.interval, timeout: script.timeout, rise: script.rise, fall: script.fall };
            self.tracked_scripts.insert(name, timing);
        }
        let tracked: BTreeSet<_> = tracking(config).flat_map(|it| &it.files).map(|it| it.name.value.as_str()).collect();
        let checked: BTreeSet<_> = checker::all(config).filter_map(checker::followed).map(|(name, _)| name).collect();
        for file in &config.track_files {
            let named = [(Role::Vrrp, &tracked), (Role::Checker, &checked)];
            let followers = named.into_iter().filter(|(_, names)| names.contains(file.name.as_str()));
            let followers: BTreeSet<_> = followers.map(|(role, _)| role).collect();
            if !followers.is_empty() {
                let tracked = TrackedFile { path: PathBuf::from(&file.file.value), init: file.init_file, followers };
                self.tracked_files.insert(file.name.value.clone(), tracked);
            }
        }
        let processes: BTreeSet<_> = tracking(config).flat_map(|it| &it.processes).map(|it| &it.name.value).collect();
        let processes = config.track_processes.iter().filter(|process| processes.contains(&process.name.value));
        let tracked = |process| TrackedProcess::from_config(process);
        self.tracked_processes = processes.map(|process| (process.name.value.clone(), tracked(process))).collect();
    }

    fn add_virtual_server(&mut self, server: &VirtualServer) {
        let name = server.service.to_string();
        self.objects.insert(Object::VirtualServer(name.clone()));
        for (up, script) in [(true, &server.quorum_up), (false, &server.quorum_down)] {
            let occasion = || Occasion::Quorum { virtual_server: name.clone(), up };
            self.scripts.extend(taken(occasion, script.as_deref()));
        }
        for real in &server.real_servers {
            let real_server = checker::real_server_name(server, real);
            self.objects.insert(Object::RealServer(real_server.clone(), name.clone()));
            for (up, script) in [(true, &real.notify_up), (false, &real.notify_down)] {
                let occasion = || {
                    let (virtual_server, real_server) = (name.clone(), real_server.clone());
                    Occasion::RealServer { virtual_server, real_server, up }
                };
                self.scripts.extend(taken(occasion, script.as_deref()));
            }
        }
    }
}

/// The programs of all checks, in the order of the file.
fn check_scripts(config: &Config) -> impl Iterator<Item = &Spanned<Script>> {
    checker::all(config).filter_map(Checker::script)
}

/// Whether anybody hears of changes of the virtual server.
pub(crate) fn has_scripts(server: &VirtualServer) -> bool {
    let of_real = |real: &RealServer| real.notify_up.is_some() || real.notify_down.is_some();
    server.quorum_up.is_some() || server.quorum_down.is_some() || server.real_servers.iter().any(of_real)
}

/// What every instance, then every group tracks.
pub(crate) fn tracking(config: &Config) -> impl Iterator<Item = &Tracking> {
    let instances = config.vrrp_instances.iter().map(|instance| &instance.tracking);
    instances.chain(config.sync_groups.iter().map(|group| &group.tracking))
}

fn of_states(
    enter: impl Fn(NotifyState) -> Occasion,
    change: impl Fn() -> Occasion,
    notify: &Notify,
) -> impl Iterator<Item = (Occasion, Script)> {
    [
        taken(|| enter(NotifyState::Active), notify.master.as_deref()),
        taken(|| enter(NotifyState::Backup), notify.backup.as_deref()),
        taken(|| enter(NotifyState::Fault), notify.fault.as_deref()),
        taken(|| enter(NotifyState::Stop), notify.stop.as_deref()),
        taken(change, notify.any.as_deref()),
    ]
    .into_iter()
    .flatten()
}

fn taken(occasion: impl FnOnce() -> Occasion, script: Option<&Spanned<Script>>) -> Option<(Occasion, Script)> {
    let script = script?;
    Some((occasion(), script.value.clone()))
}

/// Scripts hear of a removal as FAULT (without `notify_deleted`).
fn of_scripts(state: NotifyState) -> NotifyState {
    if state == NotifyState::Deleted { NotifyState::Fault } else { state }
}

/// What one event sets off, in order: the specific script, then the general one (`behaviour.md` §4.1).
pub(crate) fn occasions(event: &NotifyEvent) -> Vec<(Occasion, Vec<String>)> {
    match event {
        NotifyEvent::Instance { name, state, priority } => {
            let state = of_scripts(*state);
            let specific = (Occasion::Enter { instance: name.clone(), state }, Vec::new());
            // `notify` does not hear of it.
            if state == NotifyState::ActiveReceivedLowerPriority {
                return vec![specific];
            }
            let arguments = ["INSTANCE", name, state.word(), &priority.to_string()].map(str::to_owned).to_vec();
            vec![specific, (Occasion::Change { instance: name.clone() }, arguments)]
        }
        NotifyEvent::Group { name, state } => {
            let state = of_scripts(*state);
            // A group has no priority.
            let arguments = ["GROUP", name, state.word(), "0"].map(str::to_owned).to_vec();
            vec![
                (Occasion::GroupEnter { group: name.clone(), state }, Vec::new()),
                (Occasion::GroupChange { group: name.clone() }, arguments),
            ]
        }
        NotifyEvent::Quorum { virtual_server, up } => {
            vec![(Occasion::Quorum { virtual_server: virtual_server.clone(), up: *up }, Vec::new())]
        }
        NotifyEvent::RealServer { virtual_server, real_server, up } => {
            let occasion = Occasion::RealServer {
                virtual_server: virtual_server.clone(),
                real_server: real_server.clone(),
                up: *up,
            };
            vec![(occasion, Vec::new())]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_is_found_under_its_occasion() {
        let config = crate::config::checker::tests::config(
            "global_defs {
                script_user nobody nogroup
                enable_script_security
            }
            vrrp_instance VI_1 {
                interface eth0
                virtual_router_id 51
                notify_master \"/m one\" root
                notify /n
                virtual_ipaddress { 192.0.2.9/24 }
            }
            vrrp_instance VI_2 {
                interface eth0
                virtual_router_id 52
                virtual_ipaddress { 192.0.2.10/24 }
            }
            vrrp_sync_group G {
                group { VI_1 VI_2 }
                notify_fault /g
                notify /h root
            }
            virtual_server 192.0.2.1 80 {
                protocol TCP
                lb_algo rr
                lb_kind NAT
                quorum_down /q
                real_server 10.0.0.1 80 { notify_up /u }
            }",
        );
        let part = RunnerPart::from_config(&config);
        assert!(part.script_security);
        assert_eq!(
            part.script_user,
            Some(ScriptUser { user: "nobody".into(), group: Some("nogroup".into()), supplementary_groups: false })
        );
        let [vs, rs] = ["[192.0.2.1]:tcp:80", "[10.0.0.1]:tcp:80"].map(str::to_owned);
        let found: Vec<_> =
            part.scripts.iter().map(|(occasion, script)| (occasion, script.command.as_slice())).collect();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let expected = [
            (Occasion::Enter { instance: "VI_1".into(), state: NotifyState::Active }, words(&["/m", "one"])),
            (Occasion::Change { instance: "VI_1".into() }, words(&["/n"])),
            (Occasion::GroupEnter { group: "G".into(), state: NotifyState::Fault }, words(&["/g"])),
            (Occasion::GroupChange { group: "G".into() }, words(&["/h"])),
            (Occasion::Quorum { virtual_server: vs.clone(), up: false }, words(&["/q"])),
            (Occasion::RealServer { virtual_server: vs.clone(), real_server: rs.clone(), up: true }, words(&["/u"])),
        ];
        let expected: Vec<_> = expected.iter().map(|(occasion, words)| (occasion, words.as_slice())).collect();
        assert_eq!(found, expected);
        let objects = [
            Object::Instance("VI_1".into()),
            Object::Instance("VI_2".into()),
            Object::Group("G".into()),
            Object::VirtualServer(vs.clone()),
            Object::RealServer(rs, vs),
        ];
        assert_eq!(part.objects, objects.into());
    }

    #[test]
    fn the_programs_of_checks_are_known_with_their_places() {
        let text = "virtual_server 192.0.2.1 80 {
                protocol TCP
                lb_algo rr
                lb_kind NAT
                real_server 10.0.0.1 80 { MISC_CHECK { misc_path \"/c 1\"\n user root } }
                real_server 10.0.0.2 80 {
                    MISC_CHECK {
                        misc_path \"/c 2\"
                    }
                }
                real_server 10.0.0.3 80 {
                    MISC_CHECK {
                        misc_path \"/c 2\"
                    }
                }
            }";
        let loader = conf_parser::MemoryLoader::new([("k.conf", text)]);
        let parsed = conf_parser::parse(&loader, std::path::Path::new("k.conf"), &conf_parser::Options::default());
        let part = RunnerPart::from_config(&parsed.config);
        assert!(part.has_work());
        let part = part.located(&parsed.config, &parsed.sources);
        let shown = |(script, place): (&Script, &String)| {
            let user = script.user.as_ref().map_or("-", |user| &user.user);
            format!("{place}{} by {user}", script.command.join(" "))
        };
        let checks: Vec<_> = part.checks.iter().map(shown).collect();
        assert_eq!(checks, ["k.conf:5:67: /c 1 by root", "k.conf:9:36: /c 2 by -"]);
        let scripts = part.checks.keys().map(|script| Occasion::Check { script: script.clone() });
        assert!(part.scripts.keys().cloned().eq(scripts));
    }

    #[test]
    fn a_file_is_watched_for_who_follows_it() {
        let text = "
            track_file both { file /b }
            track_file neither { file /n }
            track_file checked { file /c }
            track_file tracked { file /t }
            vrrp_instance V {
                interface eth0
                virtual_router_id 51
                track_file {
                    both
                    tracked
                }
                virtual_ipaddress { 192.0.2.9/24 }
            }
            virtual_server 192.0.2.1 80 {
                protocol TCP
                lb_algo rr
                lb_kind NAT
                real_server 10.0.0.1 80 {
                    FILE_CHECK { track_file both }
                    FILE_CHECK { track_file checked }
                }
            }";
        let part = RunnerPart::from_config(&crate::config::checker::tests::config(text));
        assert!(part.has_work());
        let followers = part.tracked_files.iter().map(|(name, file)| {
            let followers: Vec<_> = file.followers.iter().map(|role| role.word()).collect();
            format!("{name} {}: {}", file.path.display(), followers.join(" "))
        });
        assert_eq!(followers.collect::<Vec<_>>(), ["both /b: checker vrrp", "checked /c: checker", "tracked /t: vrrp"]);
    }

    #[test]
    fn a_state_runs_its_own_script_and_then_the_general_one_with_four_words() {
        let event = NotifyEvent::Instance { name: "VI_1".into(), state: NotifyState::Active, priority: 150 };
        let expected = [
            (Occasion::Enter { instance: "VI_1".into(), state: NotifyState::Active }, vec![]),
            (
                Occasion::Change { instance: "VI_1".into() },
                ["INSTANCE", "VI_1", "MASTER", "150"].map(str::to_owned).to_vec(),
            ),
        ];
        assert_eq!(occasions(&event), expected);
    }

    #[test]
    fn a_group_runs_its_own_scripts_with_priority_0() {
        let event = NotifyEvent::Group { name: "G".into(), state: NotifyState::Fault };
        let expected = [
            (Occasion::GroupEnter { group: "G".into(), state: NotifyState::Fault }, vec![]),
            (Occasion::GroupChange { group: "G".into() }, ["GROUP", "G", "FAULT", "0"].map(str::to_owned).to_vec()),
        ];
        assert_eq!(occasions(&event), expected);
        assert_eq!(Object::of(&event), Object::Group("G".into()));
    }

    #[test]
    fn notify_does_not_hear_of_adverts_of_lower_priority() {
        let state = NotifyState::ActiveReceivedLowerPriority;
        let event = NotifyEvent::Instance { name: "VI_1".into(), state, priority: 1 };
        assert_eq!(occasions(&event), [(Occasion::Enter { instance: "VI_1".into(), state }, vec![])]);
    }

    #[test]
    fn a_removed_instance_reports_fault() {
        let event = NotifyEvent::Instance { name: "VI_1".into(), state: NotifyState::Deleted, priority: 1 };
        let words: Vec<_> = occasions(&event).into_iter().flat_map(|(_, words)| words).collect();
        assert_eq!(words, ["INSTANCE", "VI_1", "FAULT", "1"]);
    }
}
