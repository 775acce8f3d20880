//! `vrrp_sync_group`.

use std::collections::{HashMap, HashSet};

use super::global::Globals;
use super::track::{self, Suggestions, Trackables};
use super::{Context, Handler, instance};
use crate::config::{Notify, SyncGroup, Tracking};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;

/// A group as written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    name: Spanned<String>,
    members: Option<Vec<Spanned<String>>>,
    tracking: Tracking,
    weights: bool,
    notify: Notify,
    notify_priority_changes: Option<bool>,
    smtp_alert: Option<bool>,
    places: Places,
}

super::placed!(Draft);

pub(super) const BLOCK: &str = "vrrp_sync_group";

/// Reads one block; nothing comes back for a second group of the same name, or one without a name of its own.
pub(super) fn read(
    context: &mut Context<'_>,
    statement: &Statement,
    names: &mut HashMap<String, Span>,
    trackables: &Trackables,
) -> Option<Draft> {
    let words = ["vrrp_sync_group must have a name - skipping", "vrrp sync group"];
    let name = super::own_name(context, statement, names, words, Code::DuplicateName)?;
    let mut draft = Draft { name, ..Draft::default() };
    context.visit(&mut draft, &statement.body, &[SYNC_GROUP]);
    draft.tracking = track::read(context, statement, &format!("({})", *draft.name), trackables);
    Some(draft)
}

fn members(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    if draft.members.is_some() {
        let message = format!("Group list already specified for sync group {}", *draft.name);
        return context.error(Code::SyncGroup, statement.keyword.span, message);
    }
    draft.members = Some(statement.names().collect());
}

fn script_owner(draft: &Draft) -> String {
    format!("vrrp group {}: ", *draft.name)
}

pub(super) const SYNC_GROUP: &[Handler<Draft>] = &[
    Handler("group", members),
    Handler("notify_master", |draft, context, statement| {
        context.script(&script_owner(draft), &mut draft.notify.master, statement);
    }),
    Handler("notify_backup", |draft, context, statement| {
        context.script(&script_owner(draft), &mut draft.notify.backup, statement);
    }),
    Handler("notify_fault", |draft, context, statement| {
        context.script(&script_owner(draft), &mut draft.notify.fault, statement);
    }),
    Handler("notify_stop", |draft, context, statement| {
        context.script(&script_owner(draft), &mut draft.notify.stop, statement);
    }),
    Handler("notify", |draft, context, statement| {
        context.script(&script_owner(draft), &mut draft.notify.any, statement);
    }),
    Handler("smtp_alert", |draft, context, statement| {
        let alert = context.switch_with(statement, |text| format!("Invalid vrrp_group smtp_alert parameter {text}"));
        draft.smtp_alert = alert.or(draft.smtp_alert);
    }),
    Handler("notify_priority_changes", |draft, context, statement| {
        let name = &*draft.name;
        let notify = context.switch_with(statement, |text| {
            format!("({name}) Invalid value '{text}' for sync group notify_priority_changes specified")
        });
        draft.notify_priority_changes = notify.or(draft.notify_priority_changes);
    }),
    Handler("global_tracking", |draft, context, statement| {
        let message = format!(
            "({}) global_tracking is deprecated. Use track_interface/script/file on the sync group",
            *draft.name
        );
        let finding = Diagnostic::warning(Code::Deprecated, Class::Deprecated, statement.keyword.span, message);
        context.push(finding.help("sync_group_tracking_weight keeps the weights of members"));
        draft.weights = true;
    }),
    Handler("sync_group_tracking_weight", |draft, _, _| draft.weights = true),
];

/// The groups, and which of them each instance is a member of.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) groups: Vec<SyncGroup>,
    members: HashMap<String, usize>,
}

impl Groups {
    /// The group of an instance.
    pub(super) fn of(&self, instance: &str) -> Option<&SyncGroup> {
        self.members.get(instance).and_then(|at| self.groups.get(*at))
    }
}

/// The instances that may be members.
#[derive(Debug)]
struct Instances<'a> {
    /// Their names, with whether they own their addresses.
    owners: HashMap<&'a str, bool>,
    suggestions: Suggestions,
}

/// Looks the members up, and drops groups that have none.
pub(super) fn finish(
    context: &mut Context<'_>,
    drafts: Vec<Draft>,
    instances: &[instance::Draft],
    globals: &Globals,
) -> Groups {
    let owners: HashMap<&str, bool> = instances.iter().map(|instance| (instance.name(), instance.is_owner())).collect();
    let instances = Instances { owners, suggestions: Suggestions::default() };
    let mut groups = Groups::default();
    for draft in drafts {
        let at = groups.groups.len();
        let (name, span) = (draft.name.value.clone(), draft.name.span);
        let Some(members) = draft.members(context, &instances, &mut groups.members, at) else { continue };
        if members.len() == 1 {
            let message = format!("Sync group {name} has only 1 virtual router(s) - this probably isn't what you want");
            context.warning(Code::SyncGroup, span, message);
        }
        groups.groups.push(draft.finish(context, members, &instances, globals));
    }
    groups
}

impl Draft {
    /// The instances of the group; nothing where there are none.
    fn members(
        &self,
        context: &mut Context<'_>,
        instances: &Instances<'_>,
        taken: &mut HashMap<String, usize>,
        at: usize,
    ) -> Option<Vec<Spanned<String>>> {
        let name = &*self.name;
        let listed = self.members.as_deref().unwrap_or_default();
        if listed.is_empty() {
            let message = format!("Sync group {name} has no virtual router(s). removing");
            context.error(Code::SyncGroup, self.name.span, message);
            return None;
        }
        let names: HashSet<&str> = listed.iter().map(|member| member.as_str()).collect();
        let mut members = Vec::new();
        for member in listed {
            if !instances.owners.contains_key(member.as_str()) {
                let message =
                    format!("Virtual router {} specified in sync group {name} doesn't exist - ignoring", **member);
                let finding = Diagnostic::error(Code::SyncGroup, Class::General, member.span, message);
                let near = instances.suggestions.nearest(member, instances.owners.keys().copied());
                // Nobody means a member that is listed as well, or one of another group.
                let near = near.filter(|near| !taken.contains_key(*near) && !names.contains(near));
                context.push(match near {
                    Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                    None => finding.help(format!("add 'vrrp_instance {} {{ ... }}', or remove the line", **member)),
                });
            } else if taken.contains_key(member.as_str()) {
                let message =
                    format!("Virtual router {} cannot exist in more than one sync group; ignoring {name}", **member);
                context.error(Code::SyncGroup, member.span, message);
            } else {
                taken.insert(member.value.clone(), at);
                members.push(member.clone());
            }
        }
        if members.is_empty() {
            let message =
                format!("Sync group {name}, no matching virtual router found in group declaration - removing");
            context.error(Code::SyncGroup, self.name.span, message);
            return None;
        }
        Some(members)
    }

    fn finish(
        mut self,
        context: &mut Context<'_>,
        members: Vec<Spanned<String>>,
        instances: &Instances<'_>,
        globals: &Globals,
    ) -> SyncGroup {
        if members.iter().any(|member| instances.owners.get(member.as_str()).copied().unwrap_or(false)) {
            track::clear_weights(context, &format!("({})", *self.name), &mut self.tracking);
        }
        let defs = &globals.defs;
        let changes = self.notify_priority_changes.unwrap_or(defs.vrrp.notify_priority_changes);
        if self.notify_priority_changes.is_none() {
            let from = defs.places.of("global_defs", "vrrp_notify_priority_changes");
            self.places.inherit(BLOCK, "notify_priority_changes", from);
        }
        let alert = context.carried.defaults.sync_group.smtp_alert;
        SyncGroup {
            members,
            tracking: self.tracking,
            sync_group_tracking_weight: self.weights,
            notify: self.notify,
            notify_priority_changes: changes,
            smtp_alert: globals.vrrp_alert(self.smtp_alert, BLOCK, &mut self.places, alert),
            name: self.name,
            places: self.places,
        }
    }
}

/// Interfaces that both a group and one of its members track.
pub(super) fn report_shared_interfaces(context: &mut Context<'_>, tag: &str, own: &Tracking, group: &SyncGroup) {
    let shared: HashSet<&str> = group.tracking.interfaces.iter().map(|tracked| tracked.name.as_str()).collect();
    for tracked in own.interfaces.iter().filter(|tracked| shared.contains(tracked.name.as_str())) {
        let message = format!(
            "{tag} track_interface {} is configured on VRRP instance and sync group. Remove vrrp instance or sync group config",
            *tracked.name
        );
        context.warning(Code::SyncGroup, tracked.name.span, message);
    }
}
