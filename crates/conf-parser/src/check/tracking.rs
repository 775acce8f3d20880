//! Weights that change nothing.

use std::collections::HashMap;

use crate::config::{Config, Priority, Tracked, Tracking, VrrpInstance};
use crate::diagnostic::{Code, Diagnostic};

/// The range of an effective priority that is not the owner's.
const LEAST: i32 = 1;
const MOST: i32 = 254;

pub(super) fn check(config: &Config, findings: &mut Vec<Diagnostic>) {
    let mut groups = HashMap::new();
    for group in &config.sync_groups {
        groups.extend(group.members.iter().map(|member| (member.as_str(), group)));
    }
    for instance in &config.vrrp_instances {
        if instance.priority == Priority::OWNER {
            continue;
        }
        let own = weighted(&instance.tracking);
        let group = groups.get(instance.name.as_str()).map(|group| &group.tracking);
        let all: Vec<_> = own.iter().copied().chain(group.map(weighted).unwrap_or_default()).collect();
        // What a file adds stands in the file.
        let bounded = !has_files(&instance.tracking) && !group.is_some_and(has_files);
        findings.extend(own.iter().filter(|_| bounded).filter_map(|entry| without_effect(instance, entry, &all)));
        findings.extend(unheard(instance));
    }
}

fn is_weighted(entry: &&Tracked) -> bool {
    entry.weight.value.value != 0
}

/// The trackers with a weight that adds the same each time.
fn weighted(tracking: &Tracking) -> Vec<&Tracked> {
    let Tracking { interfaces, scripts, processes, bfds, .. } = tracking;
    [interfaces, scripts, processes, bfds].into_iter().flatten().filter(is_weighted).collect()
}

fn has_files(tracking: &Tracking) -> bool {
    tracking.files.iter().any(|file| is_weighted(&file))
}

/// What a tracker adds while all is well, and while it failed.
fn effect(entry: &Tracked) -> (i32, i32) {
    let weight = i32::from(entry.weight.value.value);
    let (up, down) = if weight > 0 { (weight, 0) } else { (0, weight) };
    if entry.weight.value.reverse { (down, up) } else { (up, down) }
}

/// A weight that the limits of a priority swallow whatever else happens.
fn without_effect(instance: &VrrpInstance, entry: &Tracked, all: &[&Tracked]) -> Option<Diagnostic> {
    let base = i32::from(instance.priority.0.get());
    let clamp = |priority: i32| priority.clamp(LEAST, MOST);
    let others = all.iter().filter(|other| !std::ptr::eq(**other, entry)).map(|other| effect(other));
    let (mut least, mut most) = (base, base);
    for (up, down) in others {
        least += up.min(down);
        most += up.max(down);
    }
    let (up, down) = effect(entry);
    let same = |priority| clamp(priority + up) == clamp(priority + down);
    // Between the two ends the difference can only be larger.
    if !(same(least) && same(most) && (least >= MOST || most <= LEAST)) {
        return None;
    }
    let message = format!(
        "({}) the weight of {} never changes the priority: {base} is at the limit of {LEAST} to {MOST} already",
        *instance.name, *entry.name
    );
    Some(
        Diagnostic::note(Code::WeightWithoutEffect, entry.name.span, message)
            .help("choose a priority further from the limit"),
    )
}

/// With `nopreempt` a backup whose priority rises above the master's does not take over.
fn unheard(instance: &VrrpInstance) -> Option<Diagnostic> {
    let own = weighted(&instance.tracking).into_iter().chain(instance.tracking.files.iter().filter(is_weighted));
    let first = own.min_by_key(|entry| entry.name.span).filter(|_| !instance.preempt)?;
    let message = format!(
        "({}) a weight moves no mastership while the backups have nopreempt: they keep to a master of lower priority",
        *instance.name
    );
    Some(
        Diagnostic::note(Code::WeightWithoutEffect, first.name.span, message)
            .help("without a weight a failure is a fault, and the master gives up; or leave nopreempt out"),
    )
}
