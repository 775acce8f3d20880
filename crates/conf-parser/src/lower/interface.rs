//! The top level: namespaces, interfaces, groups of interfaces and of instances.

use std::collections::HashMap;

use super::duplicates::take_duplicates;
use super::track::Suggestions;
use super::value::seconds;
use super::{Context, Draft, Handler};
use crate::config::{
    GarpGroup, InterfaceDelays, IpvsNamespace, LinkbeatInterface, LinkbeatMethod, TopLevel, TrackGroup,
};
use crate::diagnostic::{Class, Code, Diagnostic, Severity};
use crate::lexer::Word;
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// The top level before its groups are checked against the instances.
#[derive(Debug, Default)]
pub(super) struct Top {
    top: TopLevel,
    /// The interfaces of the `garp_group` blocks, with where they are given.
    paced: HashMap<String, Span>,
    /// The names of the `track_group` blocks, with where they are given.
    groups: HashMap<String, Span>,
    /// How many `garp_group` blocks there are, with those that were dropped.
    garp_groups: usize,
}

pub(super) const TOP: &[Handler<Draft>] = &[
    Handler("net_namespace", |draft, context, statement| {
        once(draft, context, statement, |top| &mut top.net_namespace);
    }),
    Handler("net_namespace_ipvs", |draft, context, statement| {
        let name = statement.arguments.first();
        if !repeated(draft, context, statement) {
            let namespace = name.map(|word| IpvsNamespace::Named(word.text.clone()));
            draft.top.top.net_namespace_ipvs = Some(namespace.unwrap_or(IpvsNamespace::Default));
        }
    }),
    Handler("namespace_with_ipsets", |draft, _, _| draft.top.top.namespace_with_ipsets = true),
    Handler("instance", |draft, context, statement| once(draft, context, statement, |top| &mut top.instance)),
    Handler("use_pid_dir", |draft, _, _| draft.top.top.use_pid_dir = true),
    Handler("linkbeat_use_polling", |draft, _, _| draft.top.top.linkbeat_use_polling = true),
    Handler("linkbeat_interfaces", |draft, context, statement| {
        for line in statement.body.iter() {
            linkbeat(&mut draft.top.top.linkbeat_interfaces, context, &line);
        }
    }),
    Handler("interface_up_down_delays", |draft, context, statement| {
        for line in statement.body.iter() {
            delays(&mut draft.top.top.interface_delays, context, &line);
        }
    }),
    Handler("garp_group", |draft, context, statement| garp_group(&mut draft.top, context, statement)),
    Handler("track_group", |draft, context, statement| track_group(&mut draft.top, context, statement)),
];

/// Whether a keyword that counts once was given before; then that is reported.
fn repeated(draft: &Draft, context: &mut Context<'_>, statement: &Statement) -> bool {
    let keyword = &statement.keyword.text;
    let first = draft.places.of("", keyword);
    if let Some(first) = first {
        let name = statement.arguments.first().map_or("", |word| &word.text);
        let message = format!("Duplicate {keyword} definition {name} - ignoring");
        let finding = Diagnostic::error(Code::AlreadySpecified, Class::General, statement.span(), message);
        context.push(finding.related(first, "the one that is used"));
    }
    first.is_some()
}

/// A name of which the first one counts.
fn once(
    draft: &mut Draft,
    context: &mut Context<'_>,
    statement: &Statement,
    slot: impl FnOnce(&mut TopLevel) -> &mut Option<String>,
) {
    let missing = format!("{} name missing - ignoring", statement.keyword.text);
    if let Some(word) = context.word(statement, missing)
        && !repeated(draft, context, statement)
    {
        *slot(&mut draft.top.top) = Some(word.text.clone());
    }
}

/// `INTERFACE [METHOD]`; the last line for an interface counts.
fn linkbeat(interfaces: &mut Vec<LinkbeatInterface>, context: &mut Context<'_>, line: &Statement) {
    let Some(interface) = context.interface(&line.keyword) else { return };
    let mut method = None;
    if let Some(word) = line.arguments.first() {
        method = LinkbeatMethod::WORDS.iter().find(|(name, _)| *name == word.text).map(|(_, method)| *method);
        context.known_option("linkbeat_interfaces", &word.text, word.span);
    }
    if let Some(extra) = line.arguments.get(usize::from(method.is_some())) {
        let message = format!("extra characters {} in linkbeat interface", extra.text);
        let finding = Diagnostic::warning(Code::ExtraParameter, Class::General, extra.span, message);
        context.push(finding.help("INTERFACE, or INTERFACE and one of MII, ETHTOOL, IOCTL"));
    }
    interfaces.push(LinkbeatInterface { interface, method });
}

/// `INTERFACE DOWN [UP]`; the last usable line for an interface counts.
fn delays(delays: &mut Vec<InterfaceDelays>, context: &mut Context<'_>, line: &Statement) {
    let Some(interface) = context.interface(&line.keyword) else { return };
    let Some(down) = line.arguments.first() else {
        let message = format!("interface_up_down_delays of {} has no delay - ignoring", *interface);
        let finding = Diagnostic::note(Code::MissingParameter, line.keyword.span, message);
        context.push(finding.help("INTERFACE DOWN_DELAY [UP_DELAY], in seconds"));
        return;
    };
    let (down, up) = (delay(context, down), line.arguments.get(1).map(|up| delay(context, up)));
    if let (Some(down), Some(up)) = (down, up.unwrap_or(Some(std::time::Duration::ZERO))) {
        delays.push(InterfaceDelays { interface, down, up });
    }
}

fn delay(context: &mut Context<'_>, word: &Word) -> Option<std::time::Duration> {
    let row = crate::schema::schema().lookup("interface_up_down_delays", "<iface>")?;
    match seconds(&word.text, 6, &super::value::time_bounds(row)) {
        Ok((delay, complaint)) => {
            if let Some(complaint) = complaint {
                context.push(Diagnostic::warning(Code::BadNumber, Class::InvalidNumber, word.span, complaint));
            }
            Some(delay)
        }
        Err(wrong) => {
            context.bad_number(word, wrong, format!("up/down delay '{}' is invalid - ignoring the line", word.text));
            None
        }
    }
}

/// One group while it is read.
#[derive(Debug)]
pub(super) struct GarpDraft {
    group: GarpGroup,
    /// The names of `interfaces`, and whether a name is alone on its line.
    shared: Vec<(Spanned<String>, bool)>,
}

super::placed!(GarpDraft, group);

pub(super) const GARP_GROUP: &[Handler<GarpDraft>] = &[
    Handler("garp_interval", |draft, context, statement| {
        draft.group.garp_interval = gap(context, statement).or(draft.group.garp_interval);
    }),
    Handler("gna_interval", |draft, context, statement| {
        draft.group.gna_interval = gap(context, statement).or(draft.group.gna_interval);
    }),
    Handler("interface", |draft, context, statement| {
        let name = statement.arguments.first().and_then(|word| context.interface(word));
        draft.group.separate.extend(name);
    }),
    Handler("interfaces", |draft, context, statement| {
        if statement.body.is_empty() {
            let message = "Warning - empty garp_group interfaces block";
            context.warning(Code::InterfaceGroup, statement.keyword.span, message);
        }
        for line in statement.body.iter() {
            for word in line.words() {
                let name = context.interface(word);
                draft.shared.extend(name.map(|name| (name, line.arguments.is_empty())));
            }
        }
    }),
];

fn gap(context: &mut Context<'_>, statement: &Statement) -> Option<std::time::Duration> {
    context.time_with(statement, |text| format!("garp_group {} '{text}' invalid", statement.keyword.text))
}

fn garp_group(top: &mut Top, context: &mut Context<'_>, statement: &Statement) {
    let group = GarpGroup {
        garp_interval: None,
        gna_interval: None,
        separate: Vec::new(),
        shared: Vec::new(),
        span: Spanned::new((), statement.keyword.span),
        places: Places::default(),
    };
    let mut draft = GarpDraft { group, shared: Vec::new() };
    context.visit(&mut draft, &statement.body, &[GARP_GROUP]);
    let GarpDraft { mut group, shared } = draft;
    group.separate.retain(|name| free(&mut top.paced, context, name, false));
    let shared = shared.into_iter().filter(|(name, alone)| free(&mut top.paced, context, name, *alone));
    group.shared = shared.map(|(name, _)| name).collect();
    let number = top.garp_groups;
    top.garp_groups += 1;
    if group.garp_interval.is_none() && group.gna_interval.is_none() {
        let message = format!("garp group {number} does not have any delay set - removing");
        context.push(Diagnostic::warning(Code::InterfaceGroup, Class::General, statement.keyword.span, message));
        return;
    }
    if group.separate.is_empty() && group.shared.is_empty() {
        let message = "garp_group has no effect: it names no interface";
        context.push(Diagnostic::note(Code::InterfaceGroup, statement.keyword.span, message));
    }
    top.top.garp_groups.push(group);
}

/// Whether no group has this interface yet; otherwise that is reported.
fn free(
    paced: &mut HashMap<String, Span>,
    context: &mut Context<'_>,
    name: &Spanned<String>,
    alone_in_list: bool,
) -> bool {
    let Some(first) = paced.get(&name.value) else {
        paced.insert(name.value.clone(), name.span);
        return true;
    };
    let message = format!("garp_group already specified for {} - ignoring", **name);
    let finding = Diagnostic::error(Code::InterfaceGroup, Class::General, name.span, message)
        .related(*first, "the one that is used");
    // keepalived looks for a second word on the line of such a list, and ends where there is none.
    context.push(if alone_in_list { finding.refusing() } else { finding });
    false
}

/// One group while it is read.
#[derive(Debug)]
pub(super) struct TrackDraft {
    name: Spanned<String>,
    members: Option<Spanned<Vec<Spanned<String>>>>,
    places: Places,
}

super::placed!(TrackDraft);

pub(super) const TRACK_GROUP: &[Handler<TrackDraft>] = &[Handler("group", |draft, context, statement| {
    let span = statement.keyword.span;
    if let Some(first) = &draft.members {
        let message = format!("Group list already specified for sync group {}", *draft.name);
        let finding = Diagnostic::error(Code::AlreadySpecified, Class::General, span, message);
        context.push(finding.related(first.span, "the one that is used"));
        return;
    }
    if statement.body.is_empty() {
        let message = format!("Warning - track group {} has empty group block", *draft.name);
        context.warning(Code::BadGlobal, span, message);
    }
    draft.members = Some(Spanned::new(statement.names().collect(), span));
})];

fn track_group(top: &mut Top, context: &mut Context<'_>, statement: &Statement) {
    let Some(name) = context.block_name(statement, "track_group must have a name - skipping") else { return };
    if let Some(first) = top.groups.get(&name.text) {
        let message = format!("track_group {} already defined", name.text);
        let finding = Diagnostic::error(Code::AlreadySpecified, Class::General, name.span, message);
        context.push(finding.label("this block is ignored").related(*first, "the one that is used"));
        return;
    }
    top.groups.insert(name.text.clone(), name.span);
    let name = Spanned::new(name.text.clone(), name.span);
    let mut draft = TrackDraft { name, members: None, places: Places::default() };
    context.visit(&mut draft, &statement.body, &[TRACK_GROUP]);
    let members = draft.members.map(|members| members.value).unwrap_or_default();
    top.top.track_groups.push(TrackGroup { name: draft.name, members });
}

impl Top {
    /// The names of the `track_group` blocks so far, with where they are given.
    pub(super) fn track_groups(&self) -> &HashMap<String, Span> {
        &self.groups
    }

    /// Checks the groups against the instances; comes back with the names of the groups.
    pub(super) fn finish(
        mut self,
        context: &mut Context<'_>,
        instances: &HashMap<String, Span>,
        suggestions: &Suggestions,
    ) -> (TopLevel, HashMap<String, Span>) {
        for group in &mut self.top.track_groups {
            let name = &group.name.value;
            group.members.retain(|member| {
                let known = instances.contains_key(&member.value);
                if !known {
                    let message =
                        format!("vrrp instance {} specified in track group {name} doesn't exist - ignoring", **member);
                    context.push(unknown_instance(member, message, instances, suggestions));
                }
                known
            });
        }
        last_of_each(&mut self.top.interface_delays, |one| &one.interface);
        last_of_each(&mut self.top.linkbeat_interfaces, |one| &one.interface);
        (self.top, self.groups)
    }
}

/// Of several lines for an interface the last counts.
fn last_of_each<T>(lines: &mut Vec<T>, interface: impl Fn(&T) -> &Spanned<String>) {
    lines.reverse();
    take_duplicates(lines, |one, other| interface(one).value.cmp(&interface(other).value));
    lines.reverse();
}

/// keepalived says so only when it runs.
pub(super) fn unknown_instance(
    name: &Spanned<String>,
    message: String,
    instances: &HashMap<String, Span>,
    suggestions: &Suggestions,
) -> Diagnostic {
    let finding = Diagnostic::new(Severity::Warning, Code::UnknownInstance, Class::Notice, Some(name.span), message);
    match suggestions.nearest(&name.value, instances.keys().map(String::as_str)) {
        Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
        None => finding,
    }
}
