//! What a checker may have in IPVS, as the supervisor and its state file know it: the next daemon adopts it, and whoever
//! comes when there is none removes it.

use std::collections::{BTreeMap, BTreeSet};

use conf_parser::config::IpvsNamespace;
use ipvs_control::ServiceAddress;
use ipvs_control::types::SyncRole;

use super::balancer::{DRAINED, Remembered, is_of_departure, is_of_kernel};
use super::kernel::{self, Failure, Table, Wanted};
use super::timeouts::ChangedTimeouts;
use super::{Balancing, Namespaced};
use crate::ipc::{self, Fact};
use crate::workers::vrrp::facts::MOST_WORDS;

/// Begins the keys of the facts of another network namespace than that of the configuration: a checker is not to look for
/// what they tell of where it is itself. The namespace and a slash follow.
const ELSEWHERE: &str = "elsewhere ";

/// Values of facts by their keys.
type Facts = BTreeMap<String, Vec<u8>>;

/// Whether a fact tells of something that is in the kernel, whatever becomes of the processes.
pub(crate) fn is_on_host(key: &str) -> bool {
    is_elsewhere(key) || is_of_kernel(key) || is_of_departure(key) || key.starts_with(DRAINED)
}

/// The services with all their servers, the sync daemons and the tables of nftables, of which `facts` tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    services: BTreeSet<ServiceAddress>,
    sync_daemons: BTreeSet<SyncRole>,
    tables: BTreeSet<String>,
    timeouts: Option<ChangedTimeouts>,
}

impl Told {
    /// What cannot be read is left out.
    fn by(facts: &[Fact]) -> Self {
        let mut told = Self::default();
        for fact in facts.iter().filter(|fact| is_of_kernel(&fact.key)) {
            match ipc::decode(&fact.value) {
                Ok(Remembered::Services(services)) => told.services.extend(services.iter()),
                Ok(Remembered::SyncDaemons(roles)) => told.sync_daemons.extend(roles),
                Ok(Remembered::Tables(names)) => told.tables.extend(names),
                Ok(Remembered::Timeouts(changed)) => told.timeouts = Some(changed),
                _ => {}
            }
        }
        told
    }

    fn wanted(self) -> Wanted {
        let Self { services, sync_daemons, tables, timeouts } = self;
        Wanted { ours: services, sync_ours: sync_daemons, tables, restore: timeouts, ..Wanted::default() }
    }
}

/// The network namespace in which all that is, if it is not that of the daemon.
pub(crate) fn namespace(facts: &[Fact]) -> Option<IpvsNamespace> {
    facts.iter().filter(|fact| is_of_kernel(&fact.key)).find_map(|fact| match ipc::decode(&fact.value) {
        Ok(Remembered::Namespace(namespace)) => Some(namespace),
        _ => None,
    })
}

/// What may be left in the kernel, in words, for whoever has to remove it.
pub(crate) fn remains(facts: &[Fact]) -> Vec<String> {
    let elsewhere = elsewhere(facts).into_iter().flat_map(|place| {
        let namespace = match namespace(&place.facts) {
            None => "that of the daemon".to_owned(),
            Some(IpvsNamespace::Default) => "that of process 1".to_owned(),
            Some(IpvsNamespace::Named(name)) => name,
        };
        remains(&place.facts).into_iter().map(move |what| format!("{what} (network namespace: {namespace})"))
    });
    let elsewhere: Vec<_> = elsewhere.take(MOST_WORDS).collect();
    let Told { services, sync_daemons, tables, timeouts } = Told::by(facts);
    let services = services.into_iter().map(|service| format!("virtual server {service} in IPVS"));
    let sync_daemons = sync_daemons.into_iter().map(|role| format!("{role} sync daemon"));
    let tables = tables.into_iter().map(|table| format!("nftables table {table}"));
    let timeouts = timeouts.map(|_| "time-outs of lvs_timeouts".to_owned());
    services.chain(sync_daemons).chain(tables).chain(timeouts).chain(elsewhere).take(MOST_WORDS).collect()
}

/// Whether a fact was [set aside](for_checker_in).
pub(crate) fn is_elsewhere(key: &str) -> bool {
    key.starts_with(ELSEWHERE)
}

/// Begins the keys of facts of this network namespace while it is not that of the configuration.
fn prefix(namespace: Option<&IpvsNamespace>) -> String {
    let place = match namespace {
        None => String::new(),
        // No namespace is called so.
        Some(IpvsNamespace::Default) => ".".to_owned(),
        Some(IpvsNamespace::Named(name)) => name.replace('/', " "),
    };
    format!("{ELSEWHERE}{place}/")
}

/// Facts as they are kept where the configuration has IPVS in another network namespace.
fn set_aside(facts: Vec<Fact>) -> Vec<Fact> {
    let prefix = prefix(namespace(&facts).as_ref());
    let aside = |Fact { key, value }| Fact { key: format!("{prefix}{key}"), value };
    facts.into_iter().map(aside).collect()
}

/// The facts for a checker in this network namespace: those in `own` that are of it, and those in `elsewhere` that were
/// set aside while the configuration had another. What is of another goes to `elsewhere`: the checker is not to look for
/// it where it is itself.
pub(crate) fn for_checker_in(wanted: Option<&IpvsNamespace>, mut own: Facts, elsewhere: &mut Facts) -> Facts {
    if namespace(&told(&own)).as_ref() != wanted {
        join(elsewhere, set_aside(told(&std::mem::take(&mut own))));
    }
    let prefix = prefix(wanted);
    let back = elsewhere.extract_if(.., |key, _| key.starts_with(&prefix));
    let back = back.filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value)));
    let mut all: Facts = back.collect();
    join(&mut all, told(&own));
    all
}

/// Adds what a later daemon told, so that nothing is forgotten that only the earlier one had in the kernel.
fn join(earlier: &mut Facts, later: Vec<Fact>) {
    for Fact { key, value } in later {
        let (key, value) = match earlier.get(&key).filter(|known| **known != value) {
            Some(known) => both(earlier, known, key, value),
            None => (key, value),
        };
        earlier.insert(key, value);
    }
}

/// The fact that has to be added to `earlier`, where `key` stands for `known`.
fn both(earlier: &Facts, known: &[u8], key: String, value: Vec<u8>) -> (String, Vec<u8>) {
    let together = match (ipc::decode(known), ipc::decode(&value)) {
        (Ok(Remembered::Services(_) | Remembered::Marks { .. }), _) => return (free(earlier, &key), value),
        (Ok(Remembered::SyncDaemons(known)), Ok(Remembered::SyncDaemons(roles))) => {
            Remembered::SyncDaemons(&known | &roles)
        }
        (Ok(Remembered::Tables(known)), Ok(Remembered::Tables(names))) => Remembered::Tables(&known | &names),
        (Ok(Remembered::Timeouts(known)), Ok(Remembered::Timeouts(changed))) => {
            Remembered::Timeouts(known.followed_by(&changed))
        }
        // What is in the kernel is told by the services.
        _ => return (key, value),
    };
    let value = ipc::encode(&together);
    (key, value)
}

/// A key like this one, with another number at its end, that no fact has.
fn free(facts: &Facts, key: &str) -> String {
    let start = key.trim_end_matches(|digit: char| digit.is_ascii_digit());
    let mut keys = (0u32..).map(|number| format!("{start}{number:06}"));
    keys.find(|key| !facts.contains_key(key)).unwrap_or_else(|| key.to_owned())
}

fn told(facts: &Facts) -> Vec<Fact> {
    facts.iter().map(|(key, value)| Fact { key: key.clone(), value: value.clone() }).collect()
}

/// Facts of one network namespace.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// With these they were set aside.
    pub(crate) keys: BTreeSet<String>,
    /// As a checker told them.
    pub(crate) facts: Vec<Fact>,
}

/// The facts in `facts` that were set aside, those of each network namespace by themselves.
pub(crate) fn elsewhere(facts: &[Fact]) -> Vec<Place> {
    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    for fact in facts {
        let Some((place, key)) = fact.key.strip_prefix(ELSEWHERE).and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let place = places.entry(place).or_default();
        place.keys.insert(fact.key.clone());
        place.facts.push(Fact { key: key.to_owned(), value: fact.value.clone() });
    }
    places.into_values().collect()
}

/// Opens what [`cleanup`] needs where that is in another network namespace, as `facts` tell. To be called before the
/// process gives its capabilities up.
///
/// # Errors
/// When the process cannot come back.
pub(crate) fn enter(facts: &[Fact]) -> anyhow::Result<Option<Namespaced>> {
    namespace(facts).map(|namespace| Namespaced::open(&namespace)).transpose()
}

/// Removes the services, sync daemons and tables that `facts` tell of; everything else in IPVS and nftables stays.
///
/// # Errors
/// When the kernel cannot be asked, or refuses.
pub(crate) fn cleanup(facts: &[Fact], namespaced: Option<Namespaced>) -> anyhow::Result<()> {
    let told = Told::by(facts);
    if told == Told::default() || namespaced.as_ref().is_some_and(|namespaced| namespaced.is_missing) {
        return Ok(());
    }
    remove(Box::new(Balancing::open(namespaced).map_err(anyhow::Error::msg)?), told)
}

/// [`cleanup`] of this table.
#[cfg(test)]
pub(super) fn withdraw_from(table: Box<dyn Table>, facts: &[Fact]) -> anyhow::Result<()> {
    remove(table, Told::by(facts))
}

fn remove(table: Box<dyn Table>, told: Told) -> anyhow::Result<()> {
    let failures = kernel::carry_out(table, &told.wanted());
    let texts = failures.into_iter().map(|failure| match failure {
        Failure::Change(refused) => refused.text,
        Failure::SyncDaemon(text) | Failure::Table(text) => text,
        Failure::Marking(text) => format!("nftables_ipvs: {text}"),
    });
    let texts: Vec<_> = texts.take(MOST_WORDS).collect();
    anyhow::ensure!(texts.is_empty(), "left in IPVS: {}", texts.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use ipvs_control::types::{Pool, Scheduler, Service};

    use super::super::kernel::tests::Shared;
    use super::*;

    fn address(last: u8) -> ServiceAddress {
        ServiceAddress::tcp(([192, 0, 2, last], 80).into())
    }

    fn facts() -> Vec<Fact> {
        let fact = |key: &str, told: &Remembered| Fact { key: key.to_owned(), value: ipc::encode(told) };
        vec![
            fact("running", &Remembered::Running),
            fact("services 000000", &Remembered::Services(vec![address(1)].into())),
            fact("services 000001", &Remembered::Services(vec![address(2)].into())),
            fact("sync daemons", &Remembered::SyncDaemons(BTreeSet::from([SyncRole::Backup]))),
            fact("marking tables", &Remembered::Tables(BTreeSet::from(["keepalived_ipvs".to_owned()]))),
            fact("ipvs namespace", &Remembered::Namespace(IpvsNamespace::Named("vips".to_owned()))),
            Fact { key: "services 000002".into(), value: vec![0xff] },
        ]
    }

    #[test]
    fn what_is_in_the_kernel_goes_into_the_state_file_and_verdicts_do_not() {
        let kept = [
            "services 000000",
            "sync daemons",
            "marks 000000",
            "marking tables",
            "timeouts",
            "ipvs namespace",
            "leaving [192.0.2.1]:tcp:80 [10.0.0.1]:tcp:80",
            "departing [192.0.2.1]:tcp:80 000000",
            "drained [192.0.2.1]:tcp:80 [10.0.0.1]:tcp:80",
        ];
        assert!(kept.iter().all(|key| is_on_host(key)));
        let others = ["running", "checkers [192.0.2.1]:tcp:80 [10.0.0.1]:tcp:80", "quorum FWM 1", "addresses 0 a"];
        assert!(!others.iter().any(|key| is_on_host(key)));
    }

    #[test]
    fn a_clean_up_removes_what_was_told_and_nothing_else() {
        let table = Shared::default();
        let there = |address| Pool { service: Service::new(address, Scheduler::WLC), destinations: Vec::new() };
        table.look(|memory| memory.pools = [1, 2, 3].map(|last| there(address(last))).to_vec());
        remove(Box::new(table.clone()), Told::by(&facts())).unwrap();
        table.look(|memory| {
            assert_eq!(memory.pools, [there(address(3))]);
            assert_eq!(memory.requests, ["stop backup", "mark 0 targets, tables {\"keepalived_ipvs\"}"]);
        });
        // Again, with nothing there.
        remove(Box::new(table), Told::by(&facts())).unwrap();
    }

    #[test]
    fn what_the_kernel_keeps_is_named() {
        let table = Shared::default();
        let there = Pool { service: Service::new(address(1), Scheduler::WLC), destinations: Vec::new() };
        table.look(|memory| (memory.pools, memory.refused) = (vec![there], Some(address(1))));
        let error = remove(Box::new(table), Told::by(&facts())).unwrap_err().to_string();
        assert!(error.contains("left in IPVS") && error.contains("[192.0.2.1]:tcp:80"), "{error}");
        let words = [
            "virtual server [192.0.2.1]:tcp:80 in IPVS",
            "virtual server [192.0.2.2]:tcp:80 in IPVS",
            "backup sync daemon",
            "nftables table keepalived_ipvs",
        ];
        assert_eq!(remains(&facts()), words);
    }

    /// Beside those of the running checker, whose keys are the same.
    #[test]
    fn facts_of_another_namespace_are_kept_apart() {
        let own: Vec<_> = facts().into_iter().filter(|fact| fact.key != "ipvs namespace").collect();
        let mut all = set_aside(facts());
        all.extend(set_aside(own.clone()));
        assert!(all.iter().all(|fact| is_elsewhere(&fact.key) && is_on_host(&fact.key)));
        all.extend(own.clone());
        let keys: BTreeSet<_> = all.iter().map(|fact| fact.key.clone()).collect();
        assert_eq!(keys.len(), all.len(), "each has a key of its own");
        let places = elsewhere(&all);
        assert_eq!(places.len(), 2);
        assert_eq!((&places[0].facts, &places[1].facts), (&own, &facts()));
        assert_eq!(places[1].keys, set_aside(facts()).into_iter().map(|fact| fact.key).collect());
        assert_eq!((namespace(&all), Told::by(&all)), (None, Told::by(&own)), "the checker's own are as they were");
        let words = remains(&all);
        assert!(words.contains(&"backup sync daemon (network namespace: vips)".to_owned()), "{words:?}");
    }

    fn by_key(facts: Vec<Fact>) -> Facts {
        facts.into_iter().map(|Fact { key, value }| (key, value)).collect()
    }

    /// Three daemons, each of which is killed before anything was cleaned up: the word comes, goes and comes back.
    #[test]
    fn what_was_set_aside_comes_back_with_its_namespace() {
        let vips = IpvsNamespace::Named("vips".to_owned());
        let first = by_key(facts());
        let mut elsewhere = Facts::new();
        assert_eq!(for_checker_in(None, first.clone(), &mut elsewhere), Facts::new());
        assert_eq!(elsewhere, by_key(set_aside(facts())));
        let own: Vec<_> = facts().into_iter().filter(|fact| fact.key != "ipvs namespace").collect();
        let second = by_key(own.clone());
        assert_eq!(for_checker_in(None, second.clone(), &mut elsewhere), second, "it goes on with its own");
        assert_eq!(for_checker_in(Some(&vips), second, &mut elsewhere), first);
        assert_eq!(elsewhere, by_key(set_aside(own)), "and what it does not go on with waits");
        assert_eq!(for_checker_in(Some(&vips), Facts::new(), &mut Facts::new()), Facts::new());
    }

    #[test]
    fn a_later_daemon_does_not_overwrite_what_an_earlier_one_had() {
        let fact = |key: &str, told: &Remembered| Fact { key: key.to_owned(), value: ipc::encode(told) };
        let place = |last, role, table: &str| {
            vec![
                fact("services 000000", &Remembered::Services(vec![address(last)].into())),
                fact("sync daemons", &Remembered::SyncDaemons(BTreeSet::from([role]))),
                fact("marking tables", &Remembered::Tables(BTreeSet::from([table.to_owned()]))),
                fact("ipvs namespace", &Remembered::Namespace(IpvsNamespace::Default)),
            ]
        };
        let mut elsewhere = Facts::new();
        for _ in 0..2 {
            for_checker_in(None, by_key(place(1, SyncRole::Master, "a")), &mut elsewhere);
            for_checker_in(None, by_key(place(2, SyncRole::Backup, "b")), &mut elsewhere);
        }
        let back = for_checker_in(Some(&IpvsNamespace::Default), Facts::new(), &mut elsewhere);
        let Told { services, sync_daemons, tables, .. } = Told::by(&told(&back));
        assert_eq!(services, BTreeSet::from([address(1), address(2)]));
        assert_eq!(sync_daemons, BTreeSet::from([SyncRole::Master, SyncRole::Backup]));
        assert_eq!(tables, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(elsewhere, Facts::new());
    }

    #[test]
    fn what_was_in_a_namespace_went_with_it() {
        let gone = Namespaced::open(&IpvsNamespace::Named("nowhere at all".to_owned())).unwrap();
        cleanup(&facts(), Some(gone)).unwrap();
        assert_eq!(namespace(&facts()), Some(IpvsNamespace::Named("vips".to_owned())));
    }
}
