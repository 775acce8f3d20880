//! What instances and groups track: `vrrp_script`, `track_file`, `vrrp_track_process`, and the lists of trackers.

use super::*;

config_type! {
/// What a tracker does to the priority.
#[derive(Copy, Default, Hash)]
pub struct Weight {
    /// Priority points, -254 to 254: added while all is well where positive, subtracted on a failure where negative.
    /// For a file the factor of its content. 0 = a failure is a fault of the whole instance.
    pub value: i16,
    /// `reverse`: well and failed change places.
    pub reverse: bool,
}}

settings! {
/// A `vrrp_script` block.
pub struct VrrpScript {
    /// The name after `vrrp_script`.
    name: Spanned<String>,
    /// `script`, with its `user`.
    script: Spanned<Script> as "script" via show_command,
    /// `interval`: from one run to the next, 1 ms to 4294 s; default 1 s.
    interval: Duration as "interval",
    /// `timeout`: a run that takes longer has failed, 1 ms to 4294 s; default `interval`.
    timeout: Duration as "timeout",
    /// `weight`, for trackers that name none: -253 to 253; default 0.
    weight: Weight as "weight",
    /// `rise`: successes in a row that count as up; default 1.
    rise: u32 as "rise",
    /// `fall`: failures in a row that count as down; default 1.
    fall: u32 as "fall",
    /// `init_fail`: failed until the first result.
    init_fail: bool as "init_fail",
    /// Where the keywords were written.
    places: Places,
}}

settings! {
/// A `track_file` block.
pub struct TrackFile {
    /// The name after `track_file`.
    name: Spanned<String>,
    /// `file`: path of a file that holds one whole number.
    file: Spanned<String> as "file",
    /// `weight`, for trackers that name none: -254 to 254; default 1.
    weight: Weight as "weight",
    /// `init_file`: what is written into it at the start.
    init_file: Option<InitFile> as "init_file",
    /// Where the keywords were written.
    places: Places,
}}

config_type! {
/// `init_file`.
#[derive(Copy)]
pub struct InitFile {
    /// The number that is written; default 0.
    pub value: i32,
    /// `overwrite`: even where the file exists.
    pub overwrite: bool,
}}

settings! {
/// A `vrrp_track_process` block.
pub struct TrackProcess {
    /// The name after `vrrp_track_process`.
    name: Spanned<String>,
    /// `process`: the command and its parameters; never empty.
    process: Spanned<Vec<String>> as "process" via show_process,
    /// `param_match`: how parameters are compared; absent without parameters, which are then not looked at.
    param_match: Option<ParamMatch> as "param_match",
    /// `weight`, for trackers that name none: -254 to 254; default 0.
    weight: Weight as "weight",
    /// `quorum`: least number of processes, 1 to 65535, default 1; 0 with a `quorum_max` of 0.
    quorum: u16 as "quorum" via show_quorum,
    /// `quorum_max`: greatest number of processes, 0 to 65535; no limit where absent.
    quorum_max: Option<u16> as "quorum_max",
    /// `terminate_delay`: from too few processes to down, at most an hour; default 0.
    terminate_delay: Duration as "terminate_delay" via show_unless_zero,
    /// `fork_delay`: from enough processes to up, at most an hour; default 0.
    fork_delay: Duration as "fork_delay" via show_unless_zero,
    /// `full_command`: the command line is compared, not the name of the process; always so with parameters.
    full_command: bool as "full_command",
    /// Where the keywords were written.
    places: Places,
}}

config_type! {
/// How the parameters of a process are compared.
#[derive(Copy, Hash)]
pub enum ParamMatch {
    /// All are equal.
    Exact,
    /// The last may go on.
    Initial,
    /// More may follow.
    Partial,
}}

config_type! {
/// One line of a `track_*` list.
pub struct Tracked {
    /// The name of what is tracked.
    pub name: Spanned<String>,
    /// Its weight here, and where that was written: in the line, else with what is tracked, else nowhere.
    pub weight: Spanned<Weight>,
}}

settings! {
/// What an instance or a group tracks. Every name but those of interfaces is one that is defined.
#[derive(Default)]
pub struct Tracking {
    /// `track_interface`; weights -253 to 253.
    interfaces: Vec<Tracked> as "track_interface" via show_interfaces,
    /// `track_script`; weights -253 to 253.
    scripts: Vec<Tracked> as "track_script" via show_tracked,
    /// `track_file`; weights -254 to 254.
    files: Vec<Tracked> as "track_file" via show_tracked,
    /// `track_process`; weights -254 to 254.
    processes: Vec<Tracked> as "track_process" via show_tracked,
    /// `track_bfd`; weights -253 to 253.
    bfds: Vec<Tracked> as "track_bfd" via show_tracked,
}}

impl Tracking {
    /// The tracked interfaces, as findings about those that do not exist name them.
    pub(super) fn interfaces<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = (&'a str, Span, String)> + 'a {
        self.interfaces.iter().map(move |tracked| {
            let message = format!("({owner}) tracked interface {} doesn't exist", *tracked.name);
            (tracked.name.as_str(), tracked.name.span, message)
        })
    }
}

const SCRIPT: &str = "vrrp_script";

impl Block for VrrpScript {
    fn head(&self) -> Vec<Scalar> {
        vec![Scalar::Text(self.name.value.clone())]
    }

    fn written(&self) -> Option<Span> {
        Some(self.name.span)
    }

    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        self.lines(SCRIPT, &self.places, &mut out);
        self.script.user.show(Slot::new(SCRIPT, "user", &self.places), &mut out);
        out
    }
}

impl Weight {
    fn words(self) -> impl Iterator<Item = Scalar> {
        let reverse = self.reverse.then(|| Scalar::Text("reverse".to_owned()));
        std::iter::once(Scalar::Integer(self.value.into())).chain(reverse)
    }
}

table_default! {
    Weight => |row| Some(Self { value: row.default_number()?, reverse: false }), else Self::default();
}

impl Show for Weight {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(self.words().collect()));
    }
}

impl Show for InitFile {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let overwrite = self.overwrite.then(|| Scalar::Text("overwrite".to_owned()));
        out.push(slot.line(std::iter::once(Scalar::Integer(self.value.into())).chain(overwrite).collect()));
    }
}

impl Show for ParamMatch {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let word = match self {
            Self::Exact => None,
            Self::Initial => Some("initial"),
            Self::Partial => Some("partial"),
        };
        out.push(slot.line(word.map(|word| Scalar::Text(word.to_owned())).into_iter().collect()));
    }
}

/// The command alone: its user stands on a line of its own.
fn show_command(script: &Spanned<Script>, slot: Slot, out: &mut Vec<Setting>) {
    out.push(slot.line(vec![Scalar::Script(script.command.clone())]));
}

fn show_process(process: &[String], slot: Slot, out: &mut Vec<Setting>) {
    out.push(slot.line(process.iter().cloned().map(Scalar::Text).collect()));
}

/// A quorum of 0 comes with `quorum_max 0` and cannot be written.
fn show_quorum(quorum: &u16, slot: Slot, out: &mut Vec<Setting>) {
    Some(*quorum).filter(|quorum| *quorum != 0).show(slot, out);
}

fn show_interfaces(interfaces: &[Tracked], slot: Slot, out: &mut Vec<Setting>) {
    show_list(interfaces, slot, out, |tracked| tracked.entry(false));
}

fn show_tracked(tracked: &[Tracked], slot: Slot, out: &mut Vec<Setting>) {
    show_list(tracked, slot, out, |tracked| tracked.entry(true));
}

impl Tracked {
    /// The line; with `explicit` it says `noreverse`, which what is tracked may say otherwise.
    fn entry(&self, explicit: bool) -> Setting {
        let mut words = vec![Scalar::Text(self.name.value.clone()), Scalar::Text("weight".to_owned())];
        words.extend(self.weight.words());
        if explicit && !self.weight.reverse {
            words.push(Scalar::Text("noreverse".to_owned()));
        }
        Setting::entry(words, self.name.span)
    }
}
