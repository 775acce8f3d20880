//! What a person asks of virtual and real servers: drain one, use it again, how they are.

use std::collections::BTreeSet;
use std::time::Duration;

use ipvs_control::types::Instant;
use ipvs_control::virtual_server::{self as ipvs, CheckerId, Quorum, RealServerId};
use ipvs_control::{ServiceAddress, Verdict};

use super::super::kernel::Counts;
use super::{Balancer, DRAINED, Effect, Entry, Remembered};
use crate::control::Answer;
use crate::control::servers::{
    CheckerState, ConnectionCounts, DrainProgress, DrainState, RealServerName, RealServerState, SorryServerState,
    VirtualServerName, VirtualServerState,
};
use crate::ipc;

/// So many names are listed in an answer.
const MOST_LISTED: usize = 20;

/// The longest time that connections are waited for.
const MOST_PATIENCE: Duration = Duration::from_secs(u32::MAX as u64);

/// Which servers somebody asks about; all, where none is named.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Asked {
    pub(in super::super) virtual_server: Option<VirtualServerName>,
    pub(in super::super) real_server: Option<RealServerName>,
}

impl Balancer {
    /// Takes a real server out of use at `now`. The quorum is lost by that only if `force` says so.
    ///
    /// # Errors
    /// Why nothing was done.
    pub(in super::super) fn drain_server(
        &mut self,
        virtual_server: &VirtualServerName,
        real_server: &RealServerName,
        now: Instant,
        timeout: Option<Duration>,
        force: bool,
    ) -> Result<Answer, String> {
        let (place, id) = self.find(virtual_server, real_server)?;
        let entry = self.entries.get_mut(place).ok_or("there is no such virtual server")?;
        let (virtual_name, real_name) = names_of(entry, id);
        let (before, after) = (entry.logic.quorum(), entry.logic.quorum_when_drained(id));
        let loses = (before, after) == (Some(Quorum::Up), Some(Quorum::Down));
        let consequence = consequence(entry);
        if loses && !force {
            return Err(format!(
                "without {real_name} {virtual_name} loses its quorum: {consequence}; if that is meant, add --force"
            ));
        }
        let mut remarks = Vec::new();
        if loses {
            remarks.push(format!("{virtual_name} has lost its quorum: {consequence}"));
        } else if before == Some(Quorum::Down) {
            remarks.push(format!("the quorum of {virtual_name} is down"));
        }
        if entry.logic.verdict(id) == Some(Verdict::Down) {
            remarks.push(format!("{real_name} is down, and stays drained when it comes up"));
        }
        let since = entry.logic.drain_status(id).map_or(now, |drain| drain.since);
        let timeout = timeout.map(|timeout| timeout.min(MOST_PATIENCE));
        entry.logic.drain(id, since, timeout.map(|timeout| now + timeout));
        let patience = timeout.map_or_else(
            || "for as long as its connections take".to_owned(),
            |timeout| format!("for at most {} s", timeout.as_secs()),
        );
        self.effects.push_back(Effect::Info(format!(
            "Draining service {real_name} of VS {virtual_name} on request, waiting {patience}"
        )));
        self.follow_drain(place, id);
        Ok(Answer::Changed { virtual_server: virtual_name, real_server: real_name, remarks })
    }

    /// Takes a real server back into use.
    ///
    /// # Errors
    /// Why nothing was done.
    pub(in super::super) fn undrain_server(
        &mut self,
        virtual_server: &VirtualServerName,
        real_server: &RealServerName,
    ) -> Result<Answer, String> {
        let (place, id) = self.find(virtual_server, real_server)?;
        let entry = self.entries.get_mut(place).ok_or("there is no such virtual server")?;
        let (virtual_name, real_name) = names_of(entry, id);
        let mut remarks = Vec::new();
        if entry.logic.drain_status(id).is_none() {
            remarks.push(format!("{real_name} was not drained"));
        } else {
            entry.logic.undrain(id);
            let line = format!("Using service {real_name} of VS {virtual_name} again on request");
            self.effects.push_back(Effect::Info(line));
        }
        let entry = self.entries.get(place).ok_or("there is no such virtual server")?;
        remarks.push(match (entry.logic.verdict(id), entry.logic.weight(id)) {
            (Some(Verdict::Up), Some(weight)) => format!("{real_name} has weight {weight}"),
            _ => format!("{real_name} is down and gets its weight when it comes up"),
        });
        self.follow_drain(place, id);
        Ok(Answer::Changed { virtual_server: virtual_name, real_server: real_name, remarks })
    }

    /// What there is to do after a drain began or ended.
    fn follow_drain(&mut self, place: usize, id: RealServerId) {
        self.stale.place(place);
        self.drain(place);
        self.remember_drained(place, id);
        self.remember_quorum(place);
        self.find_draining();
    }

    /// Brings the facts of all real servers of a virtual server up to date that somebody drained.
    pub(super) fn remember_drains(&mut self, place: usize) {
        let Some(entry) = self.entries.get(place) else { return };
        let ids = (0..entry.config.real_servers.len()).map(RealServerId);
        let drained: Vec<_> = ids.filter(|id| entry.logic.drain_status(*id).is_some()).collect();
        for id in drained {
            self.remember_drained(place, id);
        }
    }

    /// Brings the fact of a real server that somebody drained up to date. Returns its key.
    pub(super) fn remember_drained(&mut self, entry: usize, id: RealServerId) -> String {
        let Some(entry) = self.entries.get(entry) else { return String::new() };
        let (virtual_server, (_, real_server)) = (entry.tag(), names_of(entry, id));
        let key = format!("{DRAINED}{virtual_server} {real_server}");
        match entry.logic.drain_status(id) {
            Some(ipvs::Drain { since, deadline, progress, .. }) => {
                let up = entry.logic.verdict(id) == Some(Verdict::Up);
                let fact = Remembered::Drained { virtual_server, real_server, since, deadline, progress, up };
                self.remember(key.clone(), ipc::encode(&fact));
            }
            None if self.facts.contains_key(&key) => self.forget([key.clone()].into()),
            None => {}
        }
        key
    }

    /// The only real server of these names.
    fn find(
        &self,
        virtual_server: &VirtualServerName,
        real_server: &RealServerName,
    ) -> Result<(usize, RealServerId), String> {
        let places = self.places_of(Some(virtual_server))?;
        let mut found = Vec::new();
        for place in &places {
            let Some(entry) = self.entries.get(*place) else { continue };
            for (number, (real, name)) in entry.real_servers().enumerate() {
                if real_server.fits(real, name) {
                    found.push((*place, RealServerId(number)));
                }
            }
        }
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(self.no_real_server(&places, real_server)),
            several => {
                let several: Vec<_> = several
                    .iter()
                    .filter_map(|(place, id)| {
                        let (virtual_server, real_server) = names_of(self.entries.get(*place)?, *id);
                        Some(format!("{virtual_server} {real_server}"))
                    })
                    .collect();
                Err(several_are_meant(&several))
            }
        }
    }

    fn no_real_server(&self, places: &[usize], name: &RealServerName) -> String {
        let entries = places.iter().filter_map(|place| self.entries.get(*place));
        let entries: Vec<_> = entries.collect();
        let virtual_servers: Vec<_> = entries.iter().map(|entry| entry.config.service.to_string()).collect();
        let mut leaving = entries.iter().flat_map(|entry| entry.logic.leaving());
        let leaving = leaving.any(|(server, _)| is_named(server, name));
        let virtual_servers = list(&virtual_servers);
        if leaving {
            return format!("{name} is not configured any more in {virtual_servers}, and is drained already");
        }
        let all = entries.iter().flat_map(|entry| entry.real_servers());
        let all = all.map(|(real, name)| (real.address.value, name.to_string()));
        let all: Vec<_> = all.collect();
        let near = all.iter().find(|(address, _)| *address == name.address).map(|(_, near)| near);
        let near = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        let all: Vec<_> = all.iter().map(|(_, name)| name.clone()).collect();
        format!("{virtual_servers} has no real server {name}; {near}It has {}", list(&all))
    }

    /// The places of the virtual servers of this name, or of all.
    fn places_of(&self, name: Option<&VirtualServerName>) -> Result<Vec<usize>, String> {
        let Some(name) = name else { return Ok((0..self.entries.len()).collect()) };
        let fits = self.entries.iter().enumerate().filter(|(_, entry)| name.fits(&entry.config.service.value));
        let fits: Vec<_> = fits.map(|(place, _)| place).collect();
        if !fits.is_empty() {
            return Ok(fits);
        }
        if self.entries.is_empty() {
            return Err(format!("there is no virtual server {name}, nor any other"));
        }
        let near = self.entries.iter().find(|entry| name.resembles(&entry.config.service.value));
        let near = near.map(|near| format!("did you mean {}? ", near.config.service.value)).unwrap_or_default();
        let all: Vec<_> = self.entries.iter().take(MOST_LISTED + 1).map(|it| it.config.service.to_string()).collect();
        Err(format!("there is no virtual server {name}; {near}There are {}", list(&all)))
    }

    /// The services whose connections somebody asks for.
    ///
    /// # Errors
    /// Which name names nothing, and what there is.
    pub(in super::super) fn services_of(&self, asked: &Asked) -> Result<Vec<ServiceAddress>, String> {
        let places = self.places_of(asked.virtual_server.as_ref())?;
        let entries = || places.iter().filter_map(|place| self.entries.get(*place));
        match &asked.real_server {
            Some(name) if !entries().any(|entry| has(entry, name)) => Err(self.no_real_server(&places, name)),
            _ => Ok(entries().flat_map(Entry::services).collect()),
        }
    }

    /// How servers are at `now`, with these connections.
    ///
    /// # Errors
    /// Which name names nothing, and what there is.
    pub(in super::super) fn states(
        &self,
        asked: &Asked,
        counts: &Counts,
        now: Instant,
    ) -> Result<Vec<VirtualServerState>, String> {
        let places = self.places_of(asked.virtual_server.as_ref())?;
        let entries = places.iter().filter_map(|place| self.entries.get(*place));
        let mut states: Vec<_> = entries.map(|entry| state(entry, asked.real_server.as_ref(), counts, now)).collect();
        if let Some(real_server) = &asked.real_server {
            states.retain(|state| !state.real_servers.is_empty());
            if states.is_empty() {
                return Err(self.no_real_server(&places, real_server));
            }
        }
        Ok(states)
    }
}

/// Whether any of its real servers, configured or leaving, is meant.
fn has(entry: &Entry, name: &RealServerName) -> bool {
    entry.real_servers().any(|(real, own)| name.fits(real, own))
        || entry.logic.leaving().any(|(server, _)| is_named(server, name))
}

/// Whether this name names a real server that is not configured any more.
fn is_named(server: &ipvs::RealServer, name: &RealServerName) -> bool {
    server.address == name.address && name.port.is_none_or(|port| Some(port) == server.port)
}

/// As messages name them.
fn names_of(entry: &Entry, id: RealServerId) -> (String, String) {
    let real_server = entry.real_server_name(id.0).map(|name| name.to_string());
    (entry.name().to_string(), real_server.unwrap_or_default())
}

fn several_are_meant(names: &[String]) -> String {
    let different: BTreeSet<_> = names.iter().collect();
    let advice = match different.len() == names.len() {
        true => "name one of them, as it is written here",
        false => "some have the same name: give them another address, port or mark in the configuration",
    };
    format!("several are meant: {}; {advice}", list(names))
}

/// What it means to lose the quorum.
fn consequence(entry: &Entry) -> String {
    let script = if entry.config.quorum_down.is_some() { "quorum_down is run, and " } else { "" };
    match &entry.logic.config().sorry_server {
        Some(sorry_server) => format!("{script}the sorry server {} takes the new connections", sorry_server.name),
        None => format!("{script}without any other live server nobody takes new connections"),
    }
}

/// The first of many names.
fn list(names: &[String]) -> String {
    let more = if names.len() > MOST_LISTED { ", …" } else { "" };
    names.iter().take(MOST_LISTED).map(String::as_str).collect::<Vec<_>>().join(", ") + more
}

fn state(entry: &Entry, only: Option<&RealServerName>, counts: &Counts, now: Instant) -> VirtualServerState {
    let logic = &entry.logic;
    let config = logic.config();
    let thresholds = config.thresholds();
    let view = logic.view(counts);
    let wanted = |server: &ipvs::RealServer| view.wanted_weight(server).map(|weight| weight.0);
    let connections = |server: &ipvs::RealServer| {
        let ipvs::Connections { active, inactive, persistent } = view.connections(server)?;
        Some(ConnectionCounts { active, inactive, persistent })
    };
    let mut real_servers = Vec::new();
    for (number, (real, server)) in entry.config.real_servers.iter().zip(&config.real_servers).enumerate() {
        let id = RealServerId(number);
        if only.is_some_and(|only| !only.fits(real, &server.name)) {
            continue;
        }
        let checkers = real.checkers.iter().enumerate().filter_map(|(number, checker)| {
            let state = logic.checker(id, CheckerId(number))?;
            let kind = checker.kind.checker_type().to_string();
            Some(CheckerState { kind, up: state.verdict == Verdict::Up, reported: state.reported })
        });
        real_servers.push(RealServerState {
            name: server.name.to_string(),
            leaving: false,
            up: logic.verdict(id) == Some(Verdict::Up),
            checkers: checkers.collect(),
            weight: wanted(server),
            configured_weight: Some(server.weight.0),
            drain: logic.drain_status(id).map(|drain| drain_state(drain, now)),
            connections: connections(server),
        });
    }
    for (server, drain) in logic.leaving() {
        if only.is_none_or(|only| is_named(server, only)) {
            real_servers.push(RealServerState {
                name: server.name.to_string(),
                leaving: true,
                up: false,
                checkers: Vec::new(),
                weight: wanted(server),
                configured_weight: None,
                drain: Some(drain_state(drain, now)),
                connections: connections(server),
            });
        }
    }
    let in_use = logic.quorum() == Some(Quorum::Down);
    VirtualServerState {
        name: entry.config.service.to_string(),
        leaving: entry.departing,
        quorum_up: logic.quorum() == Some(Quorum::Up),
        live_weight: logic.live_weight(),
        quorum: thresholds.quorum,
        hysteresis: thresholds.hysteresis,
        sorry_server: config
            .sorry_server
            .as_ref()
            .filter(|_| !entry.departing)
            .map(|sorry_server| SorryServerState { name: sorry_server.name.to_string(), in_use }),
        real_servers,
    }
}

fn drain_state(drain: ipvs::Drain, now: Instant) -> DrainState {
    let seconds = |from: Instant, to: Instant| {
        let nanos = to.as_nanos().saturating_sub(from.as_nanos());
        Duration::from_nanos(nanos).as_secs()
    };
    let progress = match drain.progress {
        ipvs::DrainProgress::Waiting => DrainProgress::Draining,
        ipvs::DrainProgress::Drained => DrainProgress::Drained,
        ipvs::DrainProgress::TimedOut => DrainProgress::TimedOut,
    };
    let seconds_left = drain.deadline.filter(|_| progress == DrainProgress::Draining);
    DrainState {
        progress,
        seconds: seconds(drain.since, now),
        seconds_left: seconds_left.map(|deadline| seconds(now, deadline)),
    }
}
