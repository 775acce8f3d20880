//! Servers that follow the number in a file: nothing is tried, the runner says what the files hold.

use std::collections::{BTreeMap, HashSet};

use conf_parser::config::Checker;
use health_checkers::probe::file::{self, File};
use ipvs_control::Verdict;
use ipvs_control::virtual_server::{self as ipvs, Contribution};

use super::{Balancer, Effect, Entry, Found, Place};
use crate::config::checker as lower;

impl Balancer {
    /// What a tracked file holds.
    pub(in super::super) fn handle_number(&mut self, file: String, number: i64) {
        self.numbers.insert(file.clone(), number);
        self.follow_files(Some(&file));
    }

    /// What files hold that no check of this configuration follows is not known any more.
    pub(super) fn forget_files(&mut self) {
        let followed: HashSet<_> = self.file_checks().map(|(_, name, _)| name.to_owned()).collect();
        self.numbers.retain(|name, _| followed.contains(name));
    }

    /// Every check by a file, with the name of that and what the number in it does.
    fn file_checks(&self) -> impl Iterator<Item = (Place, &str, File)> {
        let places = self.places.values().filter(|place| place.kind == file::KIND);
        places.filter_map(|place| {
            let real = self.entries.get(place.entry)?.config.real_servers.get(place.real.0)?;
            let (name, file) = lower::followed(real.checkers.get(place.checker.0)?)?;
            Some((*place, name, file))
        })
    }

    /// What counts of a check by a file from the beginning, if it is known what that holds.
    pub(super) fn first_of_file(&self, checker: &Checker) -> Option<ipvs::Checker> {
        let (name, file) = lower::followed(checker)?;
        let adds = file.judge(*self.numbers.get(name)?);
        let contribution = adds.map_or(Contribution::NONE, Contribution::Adds);
        Some(ipvs::Checker { verdict: verdict_of_file(adds), contribution, reported: true })
    }

    /// Does to the servers that follow this file, or any, what it asks for.
    pub(super) fn follow_files(&mut self, only: Option<&str>) {
        let meant = self.file_checks().filter(|(_, name, _)| only.is_none_or(|only| only == *name));
        let judged = meant
            .filter_map(|(place, name, file)| Some((place, name.to_owned(), file.judge(*self.numbers.get(name)?))));
        let judged: Vec<_> = judged.collect();
        let mut before = BTreeMap::new();
        for (place, name, adds) in judged {
            let Some(entry) = self.entries.get(place.entry) else { continue };
            let found = found_in_file(entry, place, &name, adds);
            before.entry(place.entry).or_insert_with(|| entry.logic.wanted());
            self.follow_check(place, found);
        }
        for (entry, before) in before {
            self.settle(entry, &before);
        }
    }
}

const fn verdict_of_file(adds: Option<i64>) -> Verdict {
    if adds.is_some() { Verdict::Up } else { Verdict::Down }
}

/// What it means for a check that its file adds so much to the weight of the server, or takes it out of use.
fn found_in_file(entry: &Entry, place: Place, file: &str, adds: Option<i64>) -> Found {
    let state = entry.logic.checker(place.real, place.checker).unwrap_or(ipvs::Checker::UP);
    let verdict = verdict_of_file(adds);
    let is_other = state.verdict != verdict;
    let word = if verdict == Verdict::Up { "leaving" } else { "now" };
    let name = entry.real_server_name(place.real.0).filter(|_| is_other);
    let line = name.map(|name| Effect::Info(format!("({name}): tracked file {file} {word} FAULT state")));
    Found {
        weight: adds.map(Contribution::Adds).filter(|weight| *weight != state.contribution),
        verdict: (is_other || !state.reported).then_some(verdict),
        lines: line.into_iter().collect(),
    }
}
