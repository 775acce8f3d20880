//! What a reload from one configuration to another changes, in words.
//!
//! ```
//! use conf_parser::{MemoryLoader, Options, diff::diff, parse};
//! use std::path::Path;
//!
//! let settings = |priority| {
//!     let text = format!("vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n priority {priority}\n virtual_ipaddress {{\n 192.0.2.1/24\n }}\n}}\n");
//!     let parsed = parse(&MemoryLoader::new([("k.conf", text)]), Path::new("k.conf"), &Options::default());
//!     parsed.config.settings()
//! };
//! let changes = diff(&settings(100), &settings(150)).changes;
//! assert_eq!(changes[0].to_string(), "vrrp_instance V: priority changes from 100 to 150");
//! ```

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::schema::Row;
use crate::setting::{Scalar, Setting};
use crate::source::Span;

/// All that differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// What changes, in the order of the old configuration; what is added comes last in its block.
    pub changes: Vec<Change>,
    /// How many blocks of each keyword of the top level stay as they are, and keep their state.
    pub unchanged: Vec<(&'static str, usize)>,
}

/// What becomes of a line or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// It has another value.
    Changed,
    /// A block goes on under another name.
    Renamed,
    /// The values of a list are the same, in another order.
    Reordered,
}

/// One difference. Its text is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Change {
    /// What becomes of it.
    pub kind: ChangeKind,
    /// The blocks around it, outermost first: `vrrp_instance VI_1`.
    pub object: Vec<String>,
    /// The keyword of the line, list or block.
    pub keyword: &'static str,
    /// What stood there; of a block the words behind its keyword. A password stays hidden.
    pub before: Option<String>,
    /// What will stand there.
    pub after: Option<String>,
    /// What follows from it for a running daemon, where that is certain.
    pub consequence: Option<&'static str>,
    /// Where the old line was written; `None` for a default.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub written_before: Option<Span>,
    /// Where the new line was written; `None` for a default.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub written_after: Option<Span>,
    /// What is compared.
    #[cfg_attr(feature = "serde", serde(skip))]
    form: Form,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Line,
    Entry,
    Block,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let around: Vec<_> = self.object.iter().rev().map(String::as_str).collect();
        let around = around.join(" of ");
        let (before, after) = (self.before.as_deref().unwrap_or_default(), self.after.as_deref().unwrap_or_default());
        let keyword = self.keyword;
        if self.form == Form::Block {
            let inside = |word: &str| if around.is_empty() { String::new() } else { format!(" {word} {around}") };
            return match self.kind {
                ChangeKind::Added => write!(f, "{}{}", joined(keyword, "", &format!("{after} is added")), inside("to")),
                ChangeKind::Removed => {
                    write!(f, "{}{}", joined(keyword, "", &format!("{before} is removed")), inside("from"))
                }
                ChangeKind::Renamed => write!(f, "{keyword} {before} is renamed to {after}{}", inside("in")),
                ChangeKind::Changed | ChangeKind::Reordered => {
                    write!(f, "{keyword}{}: the order of the blocks changes", inside("of"))
                }
            };
        }
        if self.form == Form::Entry {
            f.write_str(keyword)?;
            if !around.is_empty() {
                write!(f, " of {around}")?;
            }
            return match self.kind {
                ChangeKind::Added => write!(f, ": {after} is added"),
                ChangeKind::Removed => write!(f, ": {before} is removed"),
                ChangeKind::Reordered => f.write_str(": the order changes"),
                ChangeKind::Changed | ChangeKind::Renamed => write!(f, ": {before} changes to {after}"),
            };
        }
        let note = |written: Option<Span>| if written.is_none() { " (default)" } else { "" };
        if !around.is_empty() {
            write!(f, "{around}: ")?;
        }
        match self.kind {
            ChangeKind::Added => f.write_str(&joined(keyword, after, "is added")),
            ChangeKind::Removed => f.write_str(&joined(keyword, before, "is removed")),
            _ if before == after => write!(f, "{keyword} changes"),
            _ => write!(
                f,
                "{keyword} changes from {before}{} to {after}{}",
                note(self.written_before),
                note(self.written_after)
            ),
        }
    }
}

/// The words that are not empty.
fn joined(keyword: &str, words: &str, end: &str) -> String {
    let words = [keyword, words, end.trim_start()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What differs between the [settings](crate::Config::settings) of two configurations.
pub fn diff(before: &[Setting], after: &[Setting]) -> Diff {
    let mut differ = Differ::default();
    differ.body("", before, after);
    differ.diff
}

#[derive(Debug, Default)]
struct Differ {
    diff: Diff,
    /// The names of the blocks around.
    object: Vec<String>,
}

/// The lines of one keyword.
struct Group<'a> {
    keyword: &'static str,
    row: Option<&'static Row>,
    before: Vec<&'a Setting>,
    after: Vec<&'a Setting>,
}

impl Differ {
    /// Compares what stands in the block at `path`.
    fn body(&mut self, path: &str, before: &[Setting], after: &[Setting]) {
        for group in groups(before, after) {
            let mut lines = group.before.iter().chain(&group.after);
            let repeats = group.row.is_some_and(Row::repeats) || group.before.len() > 1 || group.after.len() > 1;
            if group.keyword.is_empty() {
                self.entries(path, last_word(path), &group);
            } else if lines.any(|line| line.body.is_some()) {
                if repeats { self.blocks(path, &group) } else { self.single_block(path, &group) }
            } else if repeats {
                self.entries(&joined_path(path, group.keyword), group.keyword, &group);
            } else if let (Some(before), Some(after)) = (group.before.first(), group.after.first()) {
                self.line(path, group.keyword, before, after);
            }
        }
    }

    fn change(&mut self, kind: ChangeKind, form: Form, keyword: &'static str, path: &str) -> &mut Change {
        self.diff.changes.push(Change {
            kind,
            object: self.object.clone(),
            keyword,
            before: None,
            after: None,
            consequence: consequence(path, keyword, kind, form),
            written_before: None,
            written_after: None,
            form,
        });
        self.diff.changes.last_mut().unwrap_or_else(|| unreachable!("it was just pushed"))
    }

    fn line(&mut self, path: &str, keyword: &'static str, before: &Setting, after: &Setting) {
        if before.set == after.set && before.words == after.words {
            return;
        }
        let kind = match (before.set, after.set) {
            (false, _) => ChangeKind::Added,
            (true, false) => ChangeKind::Removed,
            (true, true) => ChangeKind::Changed,
        };
        let change = self.change(kind, Form::Line, keyword, path);
        (change.before, change.after) = (before.set.then(|| words(before)), after.set.then(|| words(after)));
        (change.written_before, change.written_after) = (before.written, after.written);
    }

    /// A block of which there is one at most.
    fn single_block(&mut self, path: &str, group: &Group<'_>) {
        let body = |lines: &[&Setting]| lines.first().and_then(|line| line.body.clone());
        let written = |lines: &[&Setting]| lines.first().and_then(|line| line.written);
        let inner = joined_path(path, group.keyword);
        let (before, after) = (body(&group.before), body(&group.after));
        let list = before.iter().chain(&after).flatten().any(|line| line.row.is_none());
        if list {
            let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
            let entries = Group {
                keyword: group.keyword,
                row: group.row,
                before: before.iter().collect(),
                after: after.iter().collect(),
            };
            self.entries(&inner, group.keyword, &entries);
            return;
        }
        match (before, after) {
            (Some(before), Some(after)) => self.inside(group.keyword.to_owned(), &inner, &before, &after),
            (Some(_), None) => {
                self.change(ChangeKind::Removed, Form::Block, group.keyword, path).written_before =
                    written(&group.before);
            }
            (None, Some(_)) => {
                self.change(ChangeKind::Added, Form::Block, group.keyword, path).written_after = written(&group.after);
            }
            (None, None) => {}
        }
    }

    fn inside(&mut self, name: String, path: &str, before: &[Setting], after: &[Setting]) {
        self.object.push(name);
        self.body(path, before, after);
        self.object.pop();
    }

    /// Values of a list, or lines of one keyword that may be repeated.
    fn entries(&mut self, path: &str, keyword: &'static str, group: &Group<'_>) {
        let (before, after) = (present(&group.before), present(&group.after));
        let pairs = match_up(&before, &after, &[&|line| words(line), &|line| first_word(line)]);
        for (old, new) in &pairs.matched {
            let (Some(old), Some(new)) = (before.get(*old), after.get(*new)) else { continue };
            if old.words != new.words {
                let change = self.change(ChangeKind::Changed, Form::Entry, keyword, path);
                (change.before, change.after) = (Some(words(old)), Some(words(new)));
                (change.written_before, change.written_after) = (old.written, new.written);
            }
        }
        for line in pairs.removed.iter().filter_map(|at| before.get(*at)) {
            let change = self.change(ChangeKind::Removed, Form::Entry, keyword, path);
            (change.before, change.written_before) = (Some(words(line)), line.written);
        }
        for line in pairs.added.iter().filter_map(|at| after.get(*at)) {
            let change = self.change(ChangeKind::Added, Form::Entry, keyword, path);
            (change.after, change.written_after) = (Some(words(line)), line.written);
        }
        if pairs.reordered() {
            self.change(ChangeKind::Reordered, Form::Entry, keyword, path);
        }
    }

    /// Blocks that are told apart by the words behind their keyword, or else by what is in them.
    fn blocks(&mut self, path: &str, group: &Group<'_>) {
        let (before, after) = (present(&group.before), present(&group.after));
        let inner = joined_path(path, group.keyword);
        let named = before.iter().chain(&after).all(|block| !block.words.is_empty());
        let nameless = |_: &Setting| String::new();
        let pairs = match group.keyword {
            "vrrp_instance" => match_up(&before, &after, &[&|block| words(block), &virtual_router]),
            "virtual_server" => match_up(&before, &after, &[&service]),
            _ if named => match_up(&before, &after, &[&|block| words(block)]),
            _ => match_up(&before, &after, &[&content, &nameless]),
        };
        let mut unchanged = 0;
        for (old, new) in &pairs.matched {
            let (Some(one), Some(other)) = (before.get(*old), after.get(*new)) else { continue };
            let seen = self.diff.changes.len();
            if one.words != other.words {
                let change = self.change(ChangeKind::Renamed, Form::Block, group.keyword, path);
                (change.before, change.after) = (Some(words(one)), Some(words(other)));
                (change.written_before, change.written_after) = (one.written, other.written);
            }
            let number =
                if !named && before.len().max(after.len()) > 1 { (new + 1).to_string() } else { String::new() };
            let name = joined(group.keyword, &words(other), &number);
            let bodies = [one, other].map(|block| block.body.as_deref().unwrap_or_default());
            let [one, other] = bodies;
            self.inside(name, &inner, one, other);
            unchanged += usize::from(self.diff.changes.len() == seen);
        }
        for block in pairs.removed.iter().filter_map(|at| before.get(*at)) {
            let change = self.change(ChangeKind::Removed, Form::Block, group.keyword, path);
            (change.before, change.written_before) = (Some(words(block)), block.written);
        }
        for block in pairs.added.iter().filter_map(|at| after.get(*at)) {
            let change = self.change(ChangeKind::Added, Form::Block, group.keyword, path);
            (change.after, change.written_after) = (Some(words(block)), block.written);
        }
        if !named && pairs.reordered() {
            self.change(ChangeKind::Reordered, Form::Block, group.keyword, path);
        }
        if path.is_empty() && unchanged > 0 {
            self.diff.unchanged.push((group.keyword, unchanged));
        }
    }
}

/// What follows from a change for a running daemon.
fn consequence(path: &str, keyword: &str, kind: ChangeKind, form: Form) -> Option<&'static str> {
    use ChangeKind::{Added, Removed, Renamed};
    if form == Form::Block && kind == Renamed {
        return Some("the virtual router goes on as it is");
    }
    Some(match (path, keyword, kind) {
        ("vrrp_instance", "virtual_router_id" | "interface" | "native_ipv6" | "version", _) => {
            "the old virtual router ends and gives its addresses up, a new one starts"
        }
        ("vrrp_instance", "state", _) => "it counts at the start of an instance only: a running one keeps its state",
        ("vrrp_instance/virtual_ipaddress" | "vrrp_instance/virtual_ipaddress_excluded", _, Added) => {
            "a master sets and announces it; its other addresses are not touched"
        }
        ("vrrp_instance/virtual_ipaddress" | "vrrp_instance/virtual_ipaddress_excluded", _, Removed) => {
            "a master takes it away; its other addresses are not touched"
        }
        ("vrrp_instance/virtual_ipaddress", _, ChangeKind::Reordered) => "adverts list the addresses in this order",
        ("", "vrrp_instance", Added) => "a new virtual router starts",
        ("", "vrrp_instance", Removed) => "it sends a last advert with priority 0 and gives its addresses up",
        ("", "virtual_server", Added) => "the service is created in the kernel",
        ("", "virtual_server", Removed) => "the service is deleted from the kernel",
        ("virtual_server", "lvs_sched" | "persistence_timeout" | "flag-1" | "ops", _) => {
            "the service is edited in the kernel, its connections stay"
        }
        ("virtual_server", "real_server", Removed) => "it is deleted from its service in the kernel",
        ("", "net_namespace" | "net_namespace_ipvs" | "instance", _)
        | ("global_defs", "nftables" | "nftables_ipvs" | "tmp_config_directory" | "disable_local_igmp", _) => {
            "it cannot change at a reload: the old configuration stays until a restart"
        }
        ("global_defs", "vrrp_mcast_group4", _) => "every IPv4 instance that sends multicast starts anew",
        ("global_defs", "vrrp_mcast_group6", _) => "every IPv6 instance that sends multicast starts anew",
        _ if is_checker(path) => "the check starts afresh",
        _ => return None,
    })
}

/// Whether `path` is that of a checker, or of a block in one.
fn is_checker(path: &str) -> bool {
    let checker = path.strip_prefix("virtual_server/real_server/").and_then(|rest| rest.split('/').next());
    checker.is_some_and(|keyword| keyword.ends_with("_CHECK") || keyword.ends_with("_GET"))
}

/// Indices of lines that belong together, of `before` first.
#[derive(Debug, Default)]
struct Pairs {
    matched: Vec<(usize, usize)>,
    removed: Vec<usize>,
    added: Vec<usize>,
}

impl Pairs {
    fn reordered(&self) -> bool {
        !self.matched.is_sorted_by_key(|(_, new)| *new)
    }
}

/// Pairs lines by the first of `keys`, what is left by the next, and so on; equal ones in their order.
fn match_up(before: &[&Setting], after: &[&Setting], keys: &[&dyn Fn(&Setting) -> String]) -> Pairs {
    let mut pairs =
        Pairs { removed: (0..before.len()).collect(), added: (0..after.len()).collect(), ..Pairs::default() };
    for key in keys {
        let mut waiting: HashMap<String, Vec<usize>> = HashMap::new();
        for at in pairs.added.iter().rev() {
            let key = after.get(*at).map(|line| key(line)).unwrap_or_default();
            waiting.entry(key).or_default().push(*at);
        }
        let mut taken = HashSet::new();
        pairs.removed.retain(|at| {
            let key = before.get(*at).map(|line| key(line)).unwrap_or_default();
            let Some(partner) = waiting.get_mut(&key).and_then(Vec::pop) else { return true };
            pairs.matched.push((*at, partner));
            taken.insert(partner);
            false
        });
        pairs.added.retain(|at| !taken.contains(at));
    }
    pairs.matched.sort_unstable();
    pairs
}

/// The lines of both sides by keyword.
fn groups<'a>(before: &'a [Setting], after: &'a [Setting]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut index = HashMap::new();
    for (old, setting) in before.iter().map(|line| (true, line)).chain(after.iter().map(|line| (false, line))) {
        let at = *index.entry(setting.keyword()).or_insert_with(|| {
            let (keyword, row) = (setting.keyword(), setting.row);
            groups.push(Group { keyword, row, before: Vec::new(), after: Vec::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(at) {
            if old { &mut group.before } else { &mut group.after }.push(setting);
        }
    }
    groups
}

fn present<'a>(lines: &[&'a Setting]) -> Vec<&'a Setting> {
    lines.iter().copied().filter(|line| line.set).collect()
}

fn words(line: &Setting) -> String {
    line.words.iter().map(Scalar::to_string).collect::<Vec<_>>().join(" ")
}

fn first_word(line: &Setting) -> String {
    line.words.first().map(Scalar::to_string).unwrap_or_default()
}

/// The words of some keywords in a block.
fn values(block: &Setting, keywords: &[&str]) -> String {
    let lines = block.body.iter().flatten().filter(|line| line.set && keywords.contains(&line.keyword()));
    lines.map(|line| format!("{} {}", line.keyword(), words(line))).collect::<Vec<_>>().join("\n")
}

/// What makes a virtual router the same under another name.
fn virtual_router(block: &Setting) -> String {
    values(block, &["interface", "virtual_router_id", "native_ipv6"])
}

/// What makes a service the same.
fn service(block: &Setting) -> String {
    format!("{}\n{}", words(block), values(block, &["protocol", "ip_family"]))
}

/// All of a block.
fn content(block: &Setting) -> String {
    format!(
        "{:?}",
        block
            .body
            .iter()
            .flatten()
            .map(|line| (line.set, line.keyword(), words(line), content(line)))
            .collect::<Vec<_>>()
    )
}

fn joined_path(path: &str, keyword: &str) -> String {
    if path.is_empty() { keyword.to_owned() } else { format!("{path}/{keyword}") }
}

/// The keyword of the list at `path`.
fn last_word(path: &str) -> &'static str {
    let (block, keyword) = path.rsplit_once('/').unwrap_or(("", path));
    crate::schema::schema().lookup(block, keyword).map_or("", |row| row.keyword)
}

#[cfg(test)]
mod tests;
