//! The `track_*` lists of instances and groups, and what stands in them: `vrrp_script`, `track_file`,
//! `vrrp_track_process`.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::value::{bounds, integer, row_bounds, seconds};
use super::{Context, Handler};
use crate::config::{
    InitFile, ParamMatch, Script, ScriptUser, TrackFile, TrackProcess, Tracked, Tracking, VrrpScript, Weight,
};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::schema::{Row, nearest, schema};
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// What can be tracked so far: keepalived knows a name only below the block that defines it.
#[derive(Debug, Default)]
pub(super) struct Trackables {
    scripts: Names,
    files: Names,
    processes: Names,
    bfds: Names,
    pub(super) suggestions: Suggestions,
}

/// Looks for the name that was meant, until that has taken long enough.
#[derive(Debug)]
pub(super) struct Suggestions {
    /// Comparisons that are left.
    left: Cell<usize>,
}

impl Default for Suggestions {
    fn default() -> Self {
        Self { left: Cell::new(200_000) }
    }
}

impl Suggestions {
    /// The one of `names` that is written most like `word`, if any is close enough to be meant.
    pub(super) fn nearest<'a>(&self, word: &str, names: impl ExactSizeIterator<Item = &'a str>) -> Option<&'a str> {
        self.left.set(self.left.get().checked_sub(names.len())?);
        nearest(word, names)
    }
}

type Names = HashMap<String, Known>;

#[derive(Debug)]
struct Known {
    /// Where the name is given.
    span: Span,
    /// The weight of trackers that name none, and where it was written.
    weight: Spanned<Weight>,
}

impl Trackables {
    fn of(&self, kind: Kind) -> Option<&Names> {
        match kind {
            Kind::Interface => None,
            Kind::Script => Some(&self.scripts),
            Kind::File => Some(&self.files),
            Kind::Process => Some(&self.processes),
            Kind::Bfd => Some(&self.bfds),
        }
    }

    /// Takes in a `bfd_instance`.
    pub(super) fn add_bfd(&mut self, name: &Word, weight: Weight, written: Option<Span>) {
        add(&mut self.bfds, &Spanned::new(name.text.clone(), name.span), weight, written);
    }
}

fn add(names: &mut Names, name: &Spanned<String>, weight: Weight, written: Option<Span>) {
    let weight = Spanned::new(weight, written.unwrap_or(name.span));
    names.insert(name.value.clone(), Known { span: name.span, weight });
}

/// What the lines of a list name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Interface,
    Script,
    File,
    Process,
    Bfd,
}

/// Every list by its keyword.
pub(super) const LISTS: &[&str] = &["track_interface", "track_script", "track_file", "track_process", "track_bfd"];

impl Kind {
    fn of(keyword: &str) -> Option<Self> {
        let kinds = [Self::Interface, Self::Script, Self::File, Self::Process, Self::Bfd];
        LISTS.iter().zip(kinds).find(|(list, _)| **list == keyword).map(|(_, kind)| kind)
    }

    /// As findings call it.
    fn what(self) -> &'static str {
        match self {
            Self::Interface => "track_interface",
            Self::Script => "track script",
            Self::File => "track file",
            Self::Process => "track process",
            Self::Bfd => "track bfd",
        }
    }

    /// The block that declares it.
    fn defined_by(self) -> Option<&'static str> {
        match self {
            Self::Interface => None,
            Self::Script => Some("vrrp_script"),
            Self::File => Some("track_file"),
            Self::Process => Some("vrrp_track_process"),
            Self::Bfd => Some("bfd_instance"),
        }
    }

    /// Interfaces and scripts take one more at either end, which is put right.
    fn forgives(self) -> bool {
        matches!(self, Self::Interface | Self::Script)
    }

    fn list(self, tracking: &mut Tracking) -> &mut Vec<Tracked> {
        match self {
            Self::Interface => &mut tracking.interfaces,
            Self::Script => &mut tracking.scripts,
            Self::File => &mut tracking.files,
            Self::Process => &mut tracking.processes,
            Self::Bfd => &mut tracking.bfds,
        }
    }
}

/// One `track_*` block.
struct List<'a> {
    kind: Kind,
    /// The instance or group, as findings name it.
    tag: &'a str,
    /// Path of the block.
    path: String,
    known: Option<&'a Names>,
    suggestions: &'a Suggestions,
}

/// What a list has already, in few bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Seen<'a> {
    Interface([u8; MAX_INTERFACE]),
    Known(Kind, &'a str),
}

/// Longest name of an interface.
const MAX_INTERFACE: usize = 15;

/// The name of an interface; none for a name that no interface can have.
fn interface_key(name: &str) -> Option<[u8; MAX_INTERFACE]> {
    let mut key = [0; MAX_INTERFACE];
    key.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    Some(key)
}

/// Reads every `track_*` block of `owner`, a block of the keyword `block`.
pub(super) fn read(context: &mut Context<'_>, owner: &Statement, tag: &str, trackables: &Trackables) -> Tracking {
    let mut tracking = Tracking::default();
    let mut seen = HashSet::new();
    for statement in owner.body.iter() {
        let Some(kind) = Kind::of(&statement.keyword.text) else { continue };
        let path = statement.row.map(Row::path).unwrap_or_default();
        let list = List { kind, tag, path, known: trackables.of(kind), suggestions: &trackables.suggestions };
        for line in statement.body.iter() {
            let name = &line.keyword;
            let known = list.known.map(|known| known.get_key_value(&name.text).map(|(name, _)| name.as_str()));
            let key = match known {
                Some(None) => {
                    list.not_found(context, name);
                    continue;
                }
                Some(Some(known)) => Some(Seen::Known(kind, known)),
                None => interface_key(&name.text).map(Seen::Interface),
            };
            if key.is_some_and(|key| !seen.insert(key)) {
                let message = format!("{tag} duplicate {} {} - ignoring", statement.keyword.text, name.text);
                context.warning(Code::AdjustedValue, name.span, message);
            } else {
                kind.list(&mut tracking).extend(list.line(context, &line));
            }
        }
    }
    tracking
}

impl List<'_> {
    fn not_found(&self, context: &mut Context<'_>, name: &Word) {
        let (tag, what) = (self.tag, self.kind.what());
        let message = format!("{tag} {what} {} not found, ignoring...", name.text);
        let finding = Diagnostic::error(Code::UnknownTracked, Class::General, name.span, message);
        let near = self.known.and_then(|known| {
            let near = self.suggestions.nearest(&name.text, known.keys().map(String::as_str))?;
            Some((near, known.get(near)?))
        });
        context.push(match near {
            Some((near, known)) => {
                finding.help(format!("did you mean '{near}'?")).replacement(near).related(known.span, "defined here")
            }
            None => finding.help(match self.kind.defined_by() {
                Some(block) => format!("add '{block} {} {{ ... }}' above this block, or remove the line", name.text),
                None => "it must be defined above".to_owned(),
            }),
        });
    }

    /// `NAME [weight N [reverse|noreverse]]`; nothing comes back when keepalived passes over the line.
    fn line(&self, context: &mut Context<'_>, line: &Statement) -> Option<Tracked> {
        let (tag, what, name) = (self.tag, self.kind.what(), &line.keyword);
        let name = match self.kind {
            Kind::Interface => context.interface(name)?,
            _ => Spanned::new(name.text.clone(), name.span),
        };
        let default = self.known.and_then(|known| known.get(&name.value)).map(|known| known.weight.clone());
        let mut weight = default.unwrap_or_else(|| Spanned::new(Weight::default(), name.span));
        let Some((first, rest)) = line.arguments.split_first() else {
            return Some(Tracked { name, weight });
        };
        if first.text != "weight" {
            let of = if self.kind == Kind::Interface { format!(" {}", *name) } else { String::new() };
            self.unknown(context, first, format!("{tag} unknown {what}{of} option {} - ignoring", first.text));
            return None;
        }
        let Some((number, rest)) = rest.split_first() else {
            let message = format!("{tag} weight without value specified for {what} {} - ignoring", *name);
            let finding = Diagnostic::error(Code::MissingParameter, Class::General, first.span, message);
            context.push(finding.label(NOT_TRACKED));
            return None;
        };
        // 0 is the default of an interface, which then is simply tracked.
        if self.kind != Kind::Interface || number.text != "0" {
            context.known_option(&self.path, "weight", first.span);
        }
        if let Some(value) = self.weight(context, &name, number) {
            weight = Spanned::new(Weight { value, ..*weight }, first.span.to(number.span));
        }
        if let Some(word) = rest.first() {
            match word.text.as_str() {
                "reverse" => weight.value.reverse = true,
                "noreverse" if self.kind != Kind::Interface => weight.value.reverse = false,
                text => {
                    let message = format!("{tag} unknown {what} {} weight option {text} - ignoring", *name);
                    self.unknown(context, word, message);
                    return Some(Tracked { name, weight });
                }
            }
            context.known_option(&self.path, &word.text, word.span);
            weight.span = weight.span.to(word.span);
        }
        if let Some(extra) = rest.get(1) {
            let message = format!("'{}' is one word too many and not looked at", extra.text);
            context.push(Diagnostic::note(Code::ExtraParameter, extra.span, message));
        }
        Some(Tracked { name, weight })
    }

    fn unknown(&self, context: &mut Context<'_>, word: &Word, message: String) {
        let options = OPTIONS.iter().copied().filter(|option| self.kind != Kind::Interface || *option != "noreverse");
        let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
        context.push(match nearest(&word.text, options) {
            Some(near) if near != word.text => finding.help(format!("did you mean '{near}'?")).replacement(near),
            Some("reverse" | "noreverse") => finding.help("it stands behind a weight: NAME weight N reverse"),
            _ => finding,
        });
    }

    fn weight(&self, context: &mut Context<'_>, name: &str, word: &Word) -> Option<i16> {
        let (tag, what) = (self.tag, self.kind.what());
        let range = weight_range(schema().lookup(&self.path, "weight"));
        let (least, most) = (*range.start(), *range.end());
        let wider = if self.kind.forgives() { least - 1..=most + 1 } else { range };
        match integer(&word.text, &wider) {
            Ok(value) if self.kind.forgives() && !(least..=most).contains(&value) => {
                let message = format!("{tag} weight for {name} cannot be +/-254. Setting to +/-253");
                context.warning(Code::AdjustedValue, word.span, message);
                Some(value.clamp(least, most))
            }
            Ok(value) => Some(value),
            Err(wrong) => {
                let message = match self.kind {
                    Kind::Interface => format!(
                        "{tag} weight {} for {name} must be between [{least}..{most}] inclusive. Ignoring...",
                        word.text
                    ),
                    Kind::Script => format!(
                        "{tag} track script {name}: weight must be between [{least}..{most}] inclusive, ignoring..."
                    ),
                    _ => format!("{tag} weight for {what} {name} must be in [{least}..{most}] inclusive. Ignoring..."),
                };
                context.bad_number(word, wrong, message);
                None
            }
        }
    }
}

/// The options of a line; an interface has no `noreverse`.
const OPTIONS: &[&str] = &["weight", "reverse", "noreverse"];

const NOT_TRACKED: &str = "it is not tracked";

/// The weights that a row allows.
fn weight_range(row: Option<&Row>) -> RangeInclusive<i16> {
    let range = row_bounds(row);
    let end = |value: i128| i16::try_from(value).unwrap_or_default();
    end(*range.start())..=end(*range.end())
}

/// Why an instance may not change its priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    /// It is a member of a group.
    Member,
    /// It owns the addresses.
    Owner,
}

/// Takes weights from the trackers of an instance whose priority does not change. Those of processes keep theirs.
pub(super) fn drop_weights(context: &mut Context<'_>, tag: &str, tracking: &mut Tracking, why: Fixed) {
    let reason = if why == Fixed::Member { "SYNC group" } else { "address_owner" };
    let mut say = |tracked: &Tracked, message: String| {
        let finding = Diagnostic::warning(Code::TrackerWeight, Class::General, tracked.name.span, message);
        let finding = finding.help("with 'weight 0' a failure is a fault of the whole instance");
        let elsewhere = tracked.weight.span.end < tracked.name.span.start && tracked.weight.value.value != 0;
        context.push(match elsewhere {
            true => finding.related(tracked.weight.span, "the weight is given here"),
            false => finding,
        });
    };
    tracking.interfaces.retain_mut(|tracked| {
        let weighted = tracked.weight.value.value != 0;
        match why {
            _ if !weighted => return true,
            Fixed::Member => {
                say(tracked, format!("{tag} ignoring {} tracked interface weight due to SYNC group", *tracked.name))
            }
            Fixed::Owner => {
                say(tracked, format!("{tag} ignoring {} tracked interface due to address owner", *tracked.name))
            }
        }
        tracked.weight.value.value = 0;
        why == Fixed::Member
    });
    tracking.scripts.retain(|tracked| {
        let keep = tracked.weight.value.value == 0;
        if !keep {
            say(tracked, format!("{tag} ignoring tracked script {} with weights due to {reason}", *tracked.name));
        }
        keep
    });
    tracking.files.retain_mut(|tracked| match tracked.weight.value.value {
        0 => true,
        1 => {
            let name = &tracked.name.value;
            say(tracked, format!("{tag} ignoring weight from tracked file {name} due to {reason}. specify weight 0"));
            tracked.weight.value.value = 0;
            true
        }
        weight => {
            let name = &tracked.name.value;
            say(tracked, format!("{tag} ignoring tracked file {name} with weight {weight} due to {reason}"));
            false
        }
    });
    tracking.bfds.retain(|tracked| {
        let (name, weight) = (&tracked.name.value, tracked.weight.value.value);
        if weight != 0 {
            say(tracked, format!("{tag} ignoring tracked bfd {name} with weight {weight} due to {reason}"));
        }
        weight == 0
    });
}

/// Takes the weights from the trackers of a group with a member that owns its addresses.
pub(super) fn clear_weights(context: &mut Context<'_>, tag: &str, tracking: &mut Tracking) {
    let kinds = [Kind::Script, Kind::File, Kind::Process, Kind::Bfd, Kind::Interface];
    for kind in kinds {
        let (what, outcome) = match kind {
            Kind::Interface => ("track interface", "clearing weight"),
            Kind::Script => ("track script", "clearing weight"),
            kind => (kind.what(), "setting weight 0"),
        };
        for tracked in kind.list(tracking).iter_mut().filter(|tracked| tracked.weight.value.value != 0) {
            let message = format!(
                "{tag} Cannot have weighted {what} '{}' with member having priority 255 - {outcome}",
                *tracked.name
            );
            context.push(Diagnostic::warning(Code::TrackerWeight, Class::General, tracked.name.span, message));
            tracked.weight.value.value = 0;
        }
    }
}

impl Context<'_> {
    /// `N [reverse]` behind the keyword `weight`; `bad` words a number that is none.
    fn default_weight(
        &mut self,
        statement: &Statement,
        owner: &str,
        bad: impl FnOnce(&str, i16, i16) -> String,
    ) -> Option<Weight> {
        let word = statement.arguments.first()?;
        let range = weight_range(statement.row);
        let value = match integer(&word.text, &range) {
            Ok(value) => value,
            Err(wrong) => {
                self.bad_number(word, wrong, bad(&word.text, *range.start(), *range.end()));
                return None;
            }
        };
        let mut weight = Weight { value, reverse: false };
        match statement.arguments.get(1) {
            Some(word) if word.text == "reverse" => weight.reverse = true,
            Some(word) => {
                let message = format!("{owner} unknown weight option {}", word.text);
                self.push(Diagnostic::error(Code::BadWord, Class::General, word.span, message).help("only 'reverse'"));
            }
            None => {}
        }
        Some(weight)
    }
}

/// A block with a name that something else of its kind already has is passed over. keepalived keeps it, but never
/// finds it.
fn is_duplicate(context: &mut Context<'_>, names: &Names, what: &str, name: &Word) -> bool {
    let Some(first) = names.get(&name.text) else {
        return false;
    };
    let message = format!("{what} {} already defined", name.text);
    let finding = Diagnostic::warning(Code::DuplicateName, Class::Notice, name.span, message);
    context.push(finding.label("this block is ignored").related(first.span, "the one that is used"));
    true
}

/// A `vrrp_script` as written.
#[derive(Debug, Default)]
pub(super) struct ScriptDraft {
    name: String,
    script: Option<Spanned<Script>>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    weight: Weight,
    rise: Option<u32>,
    fall: Option<u32>,
    user: Option<ScriptUser>,
    init_fail: bool,
    places: Places,
}

super::placed!(ScriptDraft);

/// Reads a `vrrp_script`.
pub(super) fn script(
    context: &mut Context<'_>,
    statement: &Statement,
    trackables: &mut Trackables,
) -> Option<VrrpScript> {
    const BLOCK: &str = "vrrp_script";
    let word = statement.arguments.first()?;
    let weight = context.carried.defaults.vrrp_script.weight;
    let mut draft = ScriptDraft { name: word.text.clone(), weight, ..ScriptDraft::default() };
    context.visit(&mut draft, &statement.body, &[SCRIPT]);
    if is_duplicate(context, &trackables.scripts, "vrrp script", word) {
        return None;
    }
    let Some(mut script) = draft.script else {
        let message = format!("No script set for vrrp_script {} - removing", word.text);
        context.push(Diagnostic::error(Code::BadTracker, Class::General, word.span, message).help("add 'script'"));
        return None;
    };
    script.value.user = draft.user;
    let mut places = draft.places;
    let defaults = &context.carried.defaults.vrrp_script;
    let interval = draft.interval.unwrap_or(defaults.interval);
    if draft.timeout.is_none() {
        places.inherit(BLOCK, "timeout", places.of(BLOCK, "interval"));
    }
    let name = Spanned::new(draft.name, word.span);
    add(&mut trackables.scripts, &name, draft.weight, places.of(BLOCK, "weight"));
    Some(VrrpScript {
        name,
        script,
        interval,
        timeout: draft.timeout.unwrap_or(interval),
        weight: draft.weight,
        rise: draft.rise.unwrap_or(defaults.rise),
        fall: draft.fall.unwrap_or(defaults.fall),
        init_fail: draft.init_fail,
        places,
    })
}

/// A time of a script: 0 is taken as a second.
fn script_time(
    context: &mut Context<'_>,
    statement: &Statement,
    name: &str,
    bad: impl FnOnce(&str) -> String,
) -> Option<Duration> {
    let word = statement.arguments.first()?;
    if seconds(&word.text, 6, &(Duration::ZERO..=Duration::ZERO)).is_ok() {
        let keyword = &statement.keyword.text;
        let message = format!("({name}): vrrp script {keyword} must be greater than 0, setting to 1");
        context.warning(Code::AdjustedValue, word.span, message);
        return Some(Duration::from_secs(1));
    }
    context.time_with(statement, bad)
}

/// `rise` or `fall`.
fn script_count(context: &mut Context<'_>, statement: &Statement, name: &str) -> Option<u32> {
    let word = statement.arguments.first()?;
    match integer(&word.text, &bounds(statement)) {
        Ok(count) => u32::try_from(count).ok(),
        Err(wrong) => {
            let (keyword, text) = (&statement.keyword.text, &word.text);
            let message = format!("({name}): vrrp script {keyword} value '{text}' invalid, defaulting to 1");
            context.bad_number(word, wrong, message);
            Some(1)
        }
    }
}

pub(super) const SCRIPT: &[Handler<ScriptDraft>] = &[
    // Of several the last counts.
    Handler("script", |draft, context, statement| {
        let owner = format!("vrrp_script {}: ", draft.name);
        let mut script = None;
        context.script(&owner, &mut script, statement);
        draft.script = script.or(draft.script.take());
    }),
    Handler("interval", |draft, context, statement| {
        let name = &draft.name;
        let bad =
            |text: &str| format!("({name}): vrrp script interval '{text}' must be between 0.001 and 4294 - ignoring");
        draft.interval = script_time(context, statement, name, bad).or(draft.interval);
    }),
    Handler("timeout", |draft, context, statement| {
        let name = &draft.name;
        let bad = |text: &str| format!("({name}): vrrp script timeout '{text}' invalid - ignoring");
        draft.timeout = script_time(context, statement, name, bad).or(draft.timeout);
    }),
    Handler("weight", script_weight),
    Handler("rise", |draft, context, statement| draft.rise = script_count(context, statement, &draft.name)),
    Handler("fall", |draft, context, statement| draft.fall = script_count(context, statement, &draft.name)),
    Handler("user", |draft, context, statement| {
        draft.user = context.script_user(&statement.arguments).map(|user| user.value);
    }),
    Handler("init_fail", |draft, _, _| draft.init_fail = true),
];

/// keepalived complains about a weight that is too large, and uses it nonetheless; priorities end where the range does.
fn script_weight(draft: &mut ScriptDraft, context: &mut Context<'_>, statement: &Statement) {
    let name = &draft.name;
    let bad = |text: &str, least, most| format!("vrrp_script {name} weight {text} must be in [{least}, {most}]");
    match context.default_weight(statement, &format!("vrrp_script {name}"), bad) {
        Some(weight) => draft.weight = weight,
        None => {
            let number = statement.arguments.first().and_then(|word| word.text.parse::<i64>().ok());
            let range = weight_range(statement.row);
            if let Some(number) = number {
                let value = number.clamp((*range.start()).into(), (*range.end()).into());
                let reverse = statement.arguments.get(1).is_some_and(|word| word.text == "reverse");
                draft.weight = Weight { value: i16::try_from(value).unwrap_or_default(), reverse };
            }
        }
    }
}

/// A `track_file` as written.
#[derive(Debug, Default)]
pub(super) struct FileDraft {
    name: String,
    file: Option<Spanned<String>>,
    weight: Option<Weight>,
    init_file: Option<InitFile>,
    places: Places,
}

super::placed!(FileDraft);

/// Reads a `track_file`, or a `vrrp_track_file`, which is its old name.
pub(super) fn file(context: &mut Context<'_>, statement: &Statement, trackables: &mut Trackables) -> Option<TrackFile> {
    const BLOCK: &str = "track_file";
    const OLD: &str = "vrrp_track_file";
    let word = statement.arguments.first()?;
    if statement.keyword.text == OLD {
        let message = "vrrp_track_file is the old name of track_file";
        let note = Diagnostic::note(Code::Deprecated, statement.keyword.span, message);
        context.push(note.help(format!("write {BLOCK}")).replacement(BLOCK));
    }
    let mut draft = FileDraft { name: word.text.clone(), ..FileDraft::default() };
    context.visit(&mut draft, &statement.body, &[FILE]);
    if is_duplicate(context, &trackables.files, "track file", word) {
        return None;
    }
    let Some(file) = draft.file else {
        let message = format!("No file set for track_file {} - ignoring", word.text);
        context.push(Diagnostic::error(Code::BadTracker, Class::General, word.span, message).help("add 'file'"));
        return None;
    };
    let mut places = draft.places;
    for keyword in ["file", "weight", "init_file"] {
        places.inherit(BLOCK, keyword, places.of(OLD, keyword));
    }
    let name = Spanned::new(draft.name, word.span);
    let weight = draft.weight.unwrap_or(context.carried.defaults.track_file.weight);
    add(&mut trackables.files, &name, weight, places.of(BLOCK, "weight"));
    Some(TrackFile { name, file, weight, init_file: draft.init_file, places })
}

/// Reports that something which may be said once is said again.
fn already(context: &mut Context<'_>, statement: &Statement, what: &str) {
    let given: Vec<_> = statement.arguments.iter().map(|word| word.text.as_str()).collect();
    let message = format!("{what} - ignoring {}", given.join(" "));
    context.error(Code::ExtraParameter, statement.keyword.span, message);
}

pub(super) const FILE: &[Handler<FileDraft>] = &[
    Handler("file", |draft, context, statement| {
        if draft.file.is_some() {
            return already(context, statement, &format!("File already set for track file {}", draft.name));
        }
        draft.file = statement.arguments.first().map(|word| Spanned::new(word.text.clone(), word.span));
    }),
    Handler("weight", |draft, context, statement| {
        let name = &draft.name;
        if draft.weight.is_some() {
            return already(context, statement, &format!("Weight already set for track file {name}"));
        }
        draft.weight = context.default_weight(statement, &format!("track_file {name}"), |text, least, most| {
            format!("Weight ({text}) for track_file {name} must be between [{least}..{most}] inclusive. Ignoring...")
        });
    }),
    Handler("init_file", init_file),
];

fn init_file(draft: &mut FileDraft, context: &mut Context<'_>, statement: &Statement) {
    let mut init = InitFile { value: 0, overwrite: false };
    for word in &statement.arguments {
        if word.text == "overwrite" {
            init.overwrite = true;
        } else if let Ok(value) = integer(&word.text, &(i32::MIN..=i32::MAX)) {
            let sensible = weight_range(schema().lookup("track_file", "weight"));
            if !(i32::from(*sensible.start())..=i32::from(*sensible.end())).contains(&value) {
                let message = format!(
                    "Track file {} init value {value} is outside sensible range [{}, {}]",
                    draft.name,
                    sensible.start(),
                    sensible.end()
                );
                context.warning(Code::BadTracker, word.span, message);
            }
            init.value = value;
        } else {
            let message = format!("Unknown track file init option {}", word.text);
            context.error(Code::BadWord, word.span, message);
        }
    }
    draft.init_file = Some(init);
}

/// A `vrrp_track_process` as written.
#[derive(Debug, Default)]
pub(super) struct ProcessDraft {
    name: String,
    process: Option<Spanned<Vec<String>>>,
    param_match: Option<ParamMatch>,
    weight: Option<Weight>,
    quorum: Option<u16>,
    quorum_max: Option<u16>,
    terminate_delay: Duration,
    fork_delay: Duration,
    full_command: bool,
    places: Places,
}

super::placed!(ProcessDraft);

/// Reads a `vrrp_track_process`.
pub(super) fn process(
    context: &mut Context<'_>,
    statement: &Statement,
    trackables: &mut Trackables,
) -> Option<TrackProcess> {
    let word = statement.arguments.first()?;
    let defaults = &context.carried.defaults.track_process;
    let mut draft = ProcessDraft {
        name: word.text.clone(),
        terminate_delay: defaults.terminate_delay,
        fork_delay: defaults.fork_delay,
        ..ProcessDraft::default()
    };
    context.visit(&mut draft, &statement.body, &[PROCESS]);
    if is_duplicate(context, &trackables.processes, "track process", word) {
        return None;
    }
    let Some(process) = draft.process else {
        let message = format!("track process '{}' process name not specified", word.text);
        context.push(Diagnostic::error(Code::BadTracker, Class::General, word.span, message).help("add 'process'"));
        return None;
    };
    let name = Spanned::new(draft.name, word.span);
    let defaults = &context.carried.defaults.track_process;
    let weight = draft.weight.unwrap_or(defaults.weight);
    add(&mut trackables.processes, &name, weight, draft.places.of(PROCESS_BLOCK, "weight"));
    let parameters = process.len() > 1;
    let param_match = draft.param_match.or(parameters.then_some(ParamMatch::Exact));
    Some(TrackProcess {
        name,
        process,
        param_match,
        weight,
        quorum: draft.quorum.unwrap_or(if draft.quorum_max == Some(0) { 0 } else { defaults.quorum }),
        quorum_max: draft.quorum_max,
        terminate_delay: draft.terminate_delay,
        fork_delay: draft.fork_delay,
        full_command: draft.full_command || param_match.is_some(),
        places: draft.places,
    })
}

const PROCESS_BLOCK: &str = "vrrp_track_process";

/// `quorum` or `quorum_max`, as findings call it.
fn quorum(draft: &ProcessDraft, context: &mut Context<'_>, statement: &Statement, what: &str) -> Option<u16> {
    let word = statement.arguments.first()?;
    let range = bounds(statement);
    match integer(&word.text, &range) {
        Ok(number) => u16::try_from(number).ok(),
        Err(wrong) => {
            let (text, name) = (&word.text, &draft.name);
            let (least, most) = (range.start(), range.end());
            let message = format!(
                "{what} ({text}) for vrrp_track_process {name} must be between [{least}..{most}] inclusive. Ignoring..."
            );
            context.bad_number(word, wrong, message);
            None
        }
    }
}

fn process_delay(draft: &ProcessDraft, context: &mut Context<'_>, statement: &Statement) -> Option<Duration> {
    let (keyword, name) = (&statement.keyword.text, &draft.name);
    context.time_with(statement, |text| {
        format!(
            "{keyword} ({text}) for vrrp_track_process {name} must be between [0.000001..3600] inclusive. Ignoring..."
        )
    })
}

pub(super) const PROCESS: &[Handler<ProcessDraft>] = &[
    Handler("process", |draft, context, statement| {
        if draft.process.is_some() {
            return already(context, statement, &format!("Process already set for track process {}", draft.name));
        }
        let Some(first) = statement.arguments.first() else { return };
        let words = statement.arguments.iter().map(|word| word.text.clone());
        draft.process = Some(Spanned::new(words.collect(), first.span));
    }),
    Handler("param_match", |draft, context, statement| {
        draft.param_match = Some(match statement.arguments.first() {
            None => ParamMatch::Exact,
            Some(word) if word.text == "initial" => ParamMatch::Initial,
            Some(word) if word.text == "partial" => ParamMatch::Partial,
            Some(word) => {
                let message = format!("Invalid param_match type {} - ignoring", word.text);
                let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
                context.push(finding.help("one of initial, partial, or nothing"));
                return;
            }
        });
    }),
    Handler("weight", |draft, context, statement| {
        let name = &draft.name;
        if draft.weight.is_some() {
            return already(context, statement, &format!("Weight already set for track process {name}"));
        }
        draft.weight = context.default_weight(statement, &format!("vrrp_track_process {name}"), |text, least, most| {
            format!(
                "Weight ({text}) for vrrp_track_process {name} must be between [{least}..{most}] inclusive. Ignoring..."
            )
        });
    }),
    Handler("quorum", |draft, context, statement| {
        let Some(quorum) = quorum(draft, context, statement, "Quorum") else { return };
        if draft.quorum_max.is_some_and(|most| quorum > most) {
            let message = "Quorum is greater than quorum_max - ignoring";
            return context.error(Code::BadTracker, statement.span(), message);
        }
        draft.quorum = Some(quorum);
    }),
    Handler("quorum_max", |draft, context, statement| {
        let Some(most) = quorum(draft, context, statement, "quorum_max") else { return };
        if draft.quorum.is_some_and(|quorum| most < quorum) {
            let message = "quorum_max is less than quorum - ignoring";
            return context.error(Code::BadTracker, statement.span(), message);
        }
        draft.quorum_max = Some(most);
    }),
    Handler("delay", |draft, context, statement| {
        let Some(delay) = process_delay(draft, context, statement) else { return };
        (draft.terminate_delay, draft.fork_delay) = (delay, delay);
        for keyword in ["terminate_delay", "fork_delay"] {
            draft.places.overwrite(PROCESS_BLOCK, keyword, statement.span());
        }
    }),
    Handler("terminate_delay", |draft, context, statement| {
        draft.terminate_delay = process_delay(draft, context, statement).unwrap_or(draft.terminate_delay);
    }),
    Handler("fork_delay", |draft, context, statement| {
        draft.fork_delay = process_delay(draft, context, statement).unwrap_or(draft.fork_delay);
    }),
    Handler("full_command", |draft, _, _| draft.full_command = true),
];

/// The name and the weight of a `bfd_instance`, for those who track it; `default` where it has none that can be read.
pub(super) fn bfd(statement: &Statement, trackables: &mut Trackables, default: Weight) {
    let Some(name) = statement.arguments.first() else { return };
    let line = statement.body.iter().filter(|line| line.keyword.text == "weight").last();
    let line = line.as_deref();
    let value = line.and_then(|line| integer(&line.arguments.first()?.text, &weight_range(line.row)).ok());
    let reverse = line.and_then(|line| line.arguments.get(1)).is_some_and(|word| word.text == "reverse");
    let weight = value.map_or(default, |value| Weight { value, reverse });
    trackables.add_bfd(name, weight, line.map(Statement::span));
}
