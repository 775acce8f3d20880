//! Which routers there are, by number: the running configuration and the one that is being prepared. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use vip_netlink::Link;
use vrrp_proto::{
    GroupConfig, GroupId, LinkFacts, LinkId, RouterConfig, RouterId, Snapshot, TrackerConfig, TrackerId, Transmitter,
    WireConfig,
};

use super::sockets::{Carrier, Place};
use super::view::View;
use super::vmac;
use crate::config::network::Belongings;
use crate::config::vrrp::{Group, Instance, Transport, VirtualAddress, VrrpPart};
use crate::ipc::TrackerName;

/// A worker that has not beaten for this long is hung, unless its adverts need more haste.
const SHORTEST_BEAT_LIMIT: Duration = Duration::from_secs(1);

/// A worker without routers.
const IDLE_BEAT_LIMIT: Duration = Duration::from_secs(10);

/// What the advert thread needs to run a configuration.
#[derive(Debug)]
pub(crate) struct Setup {
    /// In the order of the file.
    pub(crate) routers: Vec<RouterSetup>,
    /// The sync groups.
    pub(crate) groups: Vec<GroupSetup>,
    /// The names of all links, by number.
    pub(crate) link_names: Vec<String>,
    /// What the runner watches for the routers.
    pub(crate) trackers: BTreeMap<TrackerName, (TrackerId, TrackerConfig)>,
    /// How long the worker may be silent.
    pub(crate) beat_limit: Duration,
    /// `vrrp_startup_delay` and `vrrp_delay_after_boot`.
    pub(crate) delays: [Duration; 2],
    /// Whether there is a runner to notify.
    pub(crate) has_runner: bool,
    /// What the process before this one left; empty but for the first configuration.
    pub(crate) inherited: Snapshot,
}

/// What the advert thread needs of one sync group.
#[derive(Debug)]
pub(crate) struct GroupSetup {
    /// Its number.
    pub(crate) id: GroupId,
    /// Its name in the file.
    pub(crate) name: String,
    /// Its members, and what they depend on.
    pub(crate) config: GroupConfig,
}

/// What the advert thread needs of one router.
#[derive(Debug)]
pub(crate) struct RouterSetup {
    /// Its number.
    pub(crate) id: RouterId,
    /// Its name in the file.
    pub(crate) name: String,
    /// What makes it the same over a restart.
    pub(crate) key: String,
    /// How it behaves.
    pub(crate) config: RouterConfig,
    /// What its packets look like.
    pub(crate) wire: WireConfig,
    /// What it puts on this host while it is Active.
    pub(crate) addresses: Vec<VirtualAddress>,
    /// Where its adverts go.
    pub(crate) destinations: Vec<IpAddr>,
}

/// The running configuration, the prepared one, and the numbers given to routers and links, which never change.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    router_ids: BTreeMap<String, RouterId>,
    group_ids: BTreeMap<String, GroupId>,
    link_ids: BTreeMap<String, LinkId>,
    link_names: Vec<String>,
    tracker_ids: BTreeMap<TrackerName, TrackerId>,
    /// The names of the routers of the running configuration.
    names: BTreeMap<RouterId, String>,
    current: Option<VrrpPart>,
    /// With its generation.
    prepared: Option<(u64, VrrpPart)>,
}

impl Roster {
    /// The numbers that the process before this one had given to its routers.
    pub(crate) fn inherit(&mut self, ids: BTreeMap<String, RouterId>) {
        self.router_ids.extend(ids);
    }

    /// The numbers that it had given to its trackers.
    pub(crate) fn inherit_trackers(&mut self, ids: impl IntoIterator<Item = (TrackerName, TrackerId)>) {
        self.tracker_ids.extend(ids);
    }

    /// Checks `part` and numbers its routers and links.
    ///
    /// # Errors
    /// The first thing that cannot run.
    pub(crate) fn prepare(&mut self, generation: u64, part: VrrpPart) -> anyhow::Result<Setup> {
        check_unique(&part)?;
        let trackers =
            part.trackers.iter().map(|it| (it.name.clone(), (self.tracker_id(&it.name), it.config))).collect();
        let routers = part.instances.iter().map(|instance| self.number(instance)).collect::<Result<_, _>>()?;
        let groups = part.groups.iter().map(|group| self.number_group(group, &part)).collect();
        let setup = Setup {
            routers,
            groups,
            link_names: self.link_names.clone(),
            trackers,
            beat_limit: beat_limit(&part),
            delays: [part.startup_delay, part.delay_after_boot],
            has_runner: part.has_runner,
            inherited: Snapshot::default(),
        };
        self.prepared = Some((generation, part));
        Ok(setup)
    }

    fn number(&mut self, instance: &Instance) -> anyhow::Result<RouterSetup> {
        let next = self.router_ids.values().map(|id| id.0 + 1).max().unwrap_or(1);
        let id = *self.router_ids.entry(instance.key.clone()).or_insert(RouterId(next));
        let wire = instance.wire_config().with_context(|| format!("({}) auth_hmac", instance.name))?;
        Transmitter::new(wire.clone()).with_context(|| format!("({})", instance.name))?;
        let mut config = instance.router_config(|name| self.link_id(name));
        config.trackers = instance.trackers(|name| self.tracker_ids.get(name).copied());
        Ok(RouterSetup {
            id,
            name: instance.name.clone(),
            key: instance.key.clone(),
            config,
            wire,
            addresses: instance.addresses.clone(),
            destinations: match &instance.transport {
                Transport::Multicast { group } => vec![*group],
                Transport::Unicast { peers } => peers.iter().map(|peer| peer.address).collect(),
            },
        })
    }

    fn number_group(&mut self, group: &Group, part: &VrrpPart) -> GroupSetup {
        let next = self.group_ids.values().map(|id| id.0 + 1).max().unwrap_or(1);
        let id = *self.group_ids.entry(group.name.clone()).or_insert(GroupId(next));
        let members = part.instances.iter().filter(|instance| group.members.contains(&instance.name));
        let members = members.filter_map(|instance| self.id(instance)).collect();
        let config = group.group_config(members, |name| self.link_id(name));
        GroupSetup { id, name: group.name.clone(), config }
    }

    fn tracker_id(&mut self, name: &TrackerName) -> TrackerId {
        let next = self.tracker_ids.values().map(|id| id.0 + 1).max().unwrap_or(1);
        *self.tracker_ids.entry(name.clone()).or_insert(TrackerId(next))
    }

    fn link_id(&mut self, name: &str) -> LinkId {
        if let Some(id) = self.link_ids.get(name) {
            return *id;
        }
        let id = LinkId(u32::try_from(self.link_names.len()).unwrap_or(u32::MAX));
        self.link_names.push(name.to_owned());
        self.link_ids.insert(name.to_owned(), id);
        id
    }

    /// Makes the configuration that was prepared as `generation` the running one.
    pub(crate) fn commit(&mut self, generation: u64) -> Option<&VrrpPart> {
        let (_, part) = self.prepared.take_if(|(prepared, _)| *prepared == generation)?;
        let names = part.instances.iter().filter_map(|it| Some((self.id(it)?, it.name.clone()))).collect();
        self.names = names;
        Some(self.current.insert(part))
    }

    /// Forgets the configuration that was prepared as `generation`.
    pub(crate) fn abandon(&mut self, generation: u64) {
        self.prepared.take_if(|(prepared, _)| *prepared == generation);
    }

    /// The name of a router in the running configuration.
    pub(crate) fn name(&self, router: RouterId) -> &str {
        self.names.get(&router).map_or("", String::as_str)
    }

    /// The link that a router of the running configuration runs on.
    pub(crate) fn link_of(&self, router: RouterId) -> Option<&str> {
        let mut instances = self.current.iter().flat_map(|part| &part.instances);
        instances.find(|instance| self.id(instance) == Some(router))?.link()
    }

    /// What every router of the running configuration has.
    pub(crate) fn belongings(&self) -> Vec<(RouterId, Belongings)> {
        let instances = self.current.iter().flat_map(|part| &part.instances);
        instances.filter_map(|instance| Some((self.id(instance)?, Belongings::of(instance)))).collect()
    }

    /// The links that routers of either configuration run on or track, as the routers of the running one see them, if any
    /// does: what is only prepared changes nothing for them.
    pub(crate) fn links(&self, view: &View) -> Vec<(LinkId, &str, Option<LinkFacts>)> {
        let mut links = BTreeMap::new();
        for (part, virtual_ones) in self.parts() {
            for (name, multicast) in links_of(part) {
                let Some(id) = self.link_ids.get(name) else { continue };
                let source = part.source_interface(name);
                let facts = || view.facts_with_source(name, source, multicast, &virtual_ones);
                links.insert(*id, (name, own_link(part, name, view).and_then(|_| facts())));
            }
        }
        links.into_iter().map(|(id, (name, facts))| (id, name, facts)).collect()
    }

    /// Where the adverts of each router of either configuration come and go, as far as it can be told.
    pub(crate) fn routes(&self, view: &View) -> BTreeMap<RouterId, Place> {
        let mut routes = BTreeMap::new();
        for (part, virtual_ones) in self.parts() {
            let places =
                part.instances.iter().filter_map(|it| Some((self.id(it)?, place(it, part, view, &virtual_ones)?)));
            routes.extend(places);
        }
        routes
    }

    /// The prepared configuration, then the running one, which prevails; each with the addresses that are virtual to it.
    fn parts(&self) -> impl Iterator<Item = (&VrrpPart, BTreeSet<IpAddr>)> {
        let running = self.current.as_ref().map(|part| (part, part.virtual_addresses()));
        let prepared = self.prepared.as_ref().map(|(_, part)| {
            let mut virtual_ones = part.virtual_addresses();
            virtual_ones.extend(self.current.iter().flat_map(VrrpPart::virtual_addresses));
            (part, virtual_ones)
        });
        prepared.into_iter().chain(running)
    }

    fn id(&self, instance: &Instance) -> Option<RouterId> {
        self.router_ids.get(&instance.key).copied()
    }
}

/// Where an instance's adverts come and go; `None` while its interface or its source address is missing.
pub(crate) fn place(
    instance: &Instance,
    part: &VrrpPart,
    view: &View,
    virtual_ones: &BTreeSet<IpAddr>,
) -> Option<Place> {
    let link = match instance.advert_interface() {
        Some(name) => Some(own_link(part, name, view)?.index),
        None => None,
    };
    let address = match &instance.transport {
        Transport::Multicast { group } => *group,
        Transport::Unicast { .. } => match (instance.source(), link) {
            (Some(source), _) => source,
            (None, Some(link)) => view.sources(link, instance.family(), virtual_ones).first().copied()?,
            (None, None) => return None,
        },
    };
    let carrier = if instance.has_authentication_header() { Carrier::Ah } else { Carrier::Vrrp };
    Some(Place { link: link.map_or(0, |link| link.get()), address, carrier })
}

/// The link of that name. What else may have the name of a macvlan or ipvlan of `part` is none.
fn own_link<'a>(part: &VrrpPart, name: &str, view: &'a View) -> Option<&'a Link> {
    let link = view.link(name)?;
    part.virtual_link(name).is_none_or(|wanted| vmac::is_own(wanted, link, view)).then_some(link)
}

/// The links that routers run on or track, and whether multicast is needed there.
fn links_of(part: &VrrpPart) -> BTreeMap<&str, bool> {
    let mut multicast: BTreeMap<&str, bool> = BTreeMap::new();
    for instance in &part.instances {
        let tracked = instance.tracked.iter().map(|tracked| tracked.name.as_str());
        for name in instance.link().into_iter().chain(tracked) {
            let needed = matches!(instance.transport, Transport::Multicast { .. }) && instance.link() == Some(name);
            *multicast.entry(name).or_default() |= needed;
        }
    }
    for tracked in part.groups.iter().flat_map(|group| &group.tracked) {
        multicast.entry(&tracked.name).or_default();
    }
    multicast
}

/// Whether every interface that `part` names is there.
///
/// # Errors
/// The first one that is not.
pub(crate) fn check_interfaces(part: &VrrpPart, view: &View) -> anyhow::Result<()> {
    for instance in &part.instances {
        let missing = |name: &&str| view.link(name).is_none() && part.virtual_link(name).is_none();
        if let Some(name) = instance.interfaces().find(missing) {
            bail!("({}) interface {name} doesn't exist", instance.name);
        }
    }
    for link in part.virtual_links.values() {
        if view.link(&link.parent).is_none() {
            bail!("({}) interface {} below {} doesn't exist", link.instance, link.parent, link.name);
        }
    }
    for group in &part.groups {
        if let Some(tracked) = group.tracked.iter().find(|tracked| view.link(&tracked.name).is_none()) {
            bail!("({}) interface {} doesn't exist", group.name, tracked.name);
        }
    }
    Ok(())
}

fn check_unique(part: &VrrpPart) -> anyhow::Result<()> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for instance in &part.instances {
        if let Some(other) = seen.insert(&instance.key, &instance.name) {
            bail!("({}) has the VRID {} of ({other}) on the same interface", instance.name, instance.vrid().get());
        }
    }
    Ok(())
}

/// Half the shortest time in which a peer takes over, at least a second.
fn beat_limit(part: &VrrpPart) -> Duration {
    let shortest = part.instances.iter().map(Instance::active_down_interval).min();
    shortest.map_or(IDLE_BEAT_LIMIT, |shortest| (shortest / 2).max(SHORTEST_BEAT_LIMIT))
}

#[cfg(test)]
mod tests {
    use vip_netlink::{Address, LinkIndex};

    use super::*;
    use crate::config::vrrp::tests::part;
    use crate::workers::vrrp::view::tests::link;

    const RUNNING: &str =
        "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.9/24 }\n}\n";

    /// eth0 with 192.0.2.1.
    fn view() -> View {
        let index = LinkIndex::new(2).unwrap();
        View::new(vec![link(index, "eth0")], vec![Address::new(index, [192, 0, 2, 1].into(), 24)])
    }

    #[test]
    fn what_is_prepared_changes_nothing_for_the_routers_that_run() {
        let mut roster = Roster::default();
        roster.prepare(1, part(RUNNING)).unwrap();
        roster.commit(1).unwrap();
        let facts = |roster: &Roster| roster.links(&view()).first().and_then(|(.., facts)| *facts).unwrap();
        assert_eq!(facts(&roster).ipv4_source, Some([192, 0, 2, 1].into()));
        // As long as it is not committed, the address of the host is one to send from.
        roster.prepare(2, part(&RUNNING.replace("192.0.2.9", "192.0.2.1"))).unwrap();
        assert_eq!(facts(&roster).ipv4_source, Some([192, 0, 2, 1].into()));
        roster.commit(2).unwrap();
        assert_eq!(facts(&roster).ipv4_source, None);
    }

    #[test]
    fn only_the_generation_that_is_named_is_committed_or_abandoned() {
        let mut roster = Roster::default();
        roster.prepare(2, part(RUNNING)).unwrap();
        roster.abandon(1);
        assert!(roster.commit(1).is_none());
        assert!(roster.commit(2).is_some());
        roster.prepare(3, part(RUNNING)).unwrap();
        roster.abandon(3);
        assert!(roster.commit(3).is_none());
    }
}
