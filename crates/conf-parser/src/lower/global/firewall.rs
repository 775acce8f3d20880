//! Packet filters.

use super::{Globals, flag, repeated};
use crate::config::{Chains, IpSets};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::lexer::Word;
use crate::lower::{Context, Handler};
use crate::tree::Statement;

pub(in crate::lower) const FIREWALL: &[Handler<Globals>] = &[
    Handler("nftables", |globals, context, statement| {
        if !repeated(globals, context, statement, "nftables already specified - ignoring") {
            globals.defs.firewall.nftables = table(context, statement, "keepalived");
        }
    }),
    Handler("nftables_priority", |globals, context, statement| {
        let priority = context.number_with(statement, |text| format!("invalid nftables chain priority '{text}'"));
        globals.defs.firewall.nftables_priority = priority.unwrap_or(globals.defs.firewall.nftables_priority);
    }),
    Handler("nftables_ifindex", |globals, context, statement| {
        flag(&mut globals.defs.firewall.nftables_ifindex, context, statement);
    }),
    Handler("nftables_counters", |globals, context, statement| {
        flag(&mut globals.defs.firewall.nftables_counters, context, statement);
    }),
    Handler("nftables_ipvs", |globals, context, statement| {
        if !repeated(globals, context, statement, "ipvs nftables already specified - ignoring") {
            globals.defs.firewall.nftables_ipvs = table(context, statement, "keepalived_ipvs");
        }
    }),
    Handler("nftables_ipvs_priority", |globals, context, statement| {
        let priority = context.number_with(statement, |text| format!("invalid ipvs nftables chain priority '{text}'"));
        let slot = &mut globals.defs.firewall.nftables_ipvs_priority;
        *slot = priority.unwrap_or(*slot);
    }),
    Handler("nftables_ipvs_start_fwmark", |globals, context, statement| {
        let mark =
            context.number_with(statement, |text| format!("invalid ipvs nftables start_fwmark priority '{text}'"));
        let slot = &mut globals.defs.firewall.nftables_ipvs_start_fwmark;
        *slot = mark.unwrap_or(*slot);
    }),
    Handler("vrrp_iptables", |globals, context, statement| {
        without_iptables(globals, context, statement);
        let Some(names) = names(context, &statement.arguments, 2, MAX_CHAIN, "chain") else { return };
        globals.defs.firewall.iptables = Some(match names.as_slice() {
            [] => Chains::default(),
            [input, rest @ ..] => Chains { input: input.clone(), output: rest.first().cloned() },
        });
    }),
    Handler("vrrp_ipsets", |globals, context, statement| {
        let Some(names) = names(context, &statement.arguments, 6, MAX_SET, "ipset") else { return };
        let sets = sets(&names);
        match sets.as_ref().and_then(shared_name) {
            Some(name) => {
                let message = format!("two ipsets would have the name '{name}' - ignoring the line");
                context.error(Code::BadGlobal, statement.span(), message);
            }
            None => globals.defs.firewall.ipsets = sets,
        }
    }),
];

/// Longest name of a table of nftables.
const MAX_TABLE: usize = 254;

/// Longest name of a chain of iptables.
const MAX_CHAIN: usize = 27;

/// Longest name of a set that leaves room for what is added to it.
const MAX_SET: usize = 30;

fn table(context: &mut Context<'_>, statement: &Statement, default: &str) -> Option<String> {
    match statement.arguments.first() {
        None => Some(default.to_owned()),
        Some(word) => fitting(context, word, MAX_TABLE, "nftables table"),
    }
}

fn fitting(context: &mut Context<'_>, word: &Word, most: usize, what: &str) -> Option<String> {
    if (1..=most).contains(&word.text.len()) {
        return Some(word.text.clone());
    }
    let message = format!("{what} name '{}' must have 1 to {most} characters - ignoring", word.text);
    context.error(Code::BadGlobal, word.span, message);
    None
}

/// Up to `count` names, all different.
fn names(context: &mut Context<'_>, words: &[Word], count: usize, most: usize, what: &str) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for word in words.iter().take(count) {
        let name = fitting(context, word, most, what)?;
        if names.contains(&name) {
            let message = format!("{what} name '{name}' is given twice - ignoring the line");
            context.error(Code::BadGlobal, word.span, message);
            return None;
        }
        names.push(name);
    }
    Some(names)
}

/// A name that two sets have.
fn shared_name(sets: &IpSets) -> Option<&String> {
    let names = sets.names();
    names.into_iter().find(|name| names.iter().filter(|other| other == &name).count() > 1)
}

/// Without names there are no sets; those that are not given follow from the first.
fn sets(names: &[String]) -> Option<IpSets> {
    let mut sets = IpSets::derived(names.first()?);
    let slots =
        [&mut sets.addresses, &mut sets.addresses6, &mut sets.interfaces6, &mut sets.igmp, &mut sets.mld, &mut sets.nd];
    for (slot, name) in slots.into_iter().zip(names) {
        slot.clone_from(name);
    }
    Some(sets)
}

/// As a keepalived that was built without iptables, which is how it is packaged: filter with nftables instead.
fn without_iptables(globals: &mut Globals, context: &mut Context<'_>, statement: &Statement) {
    let message = "iptables not supported, using nftables instead. \
                   Please replace 'vrrp_iptables and 'vrrp_ipsets' with 'nftables' config option";
    let finding = Diagnostic::warning(Code::Deprecated, Class::Deprecated, statement.span(), message);
    context.push(finding.help("write 'nftables', with the name of a table unless it is to be 'keepalived'"));
    globals.defs.firewall.nftables.get_or_insert_with(|| "keepalived".to_owned());
    globals.defs.places.inherit("global_defs", "nftables", Some(statement.span()));
}
