//! Which routers there are, by number: the running configuration and the one that is being prepared. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use vip_netlink::Link;
use vrrp_proto::{
    GroupConfig, GroupId, LinkFacts, LinkId, RouterConfig, RouterId, Snapshot, TrackerConfig, TrackerId, Transmitter,
    WireConfig,
};

use super::announcer::{GapGroup, Gaps};
use super::filter::Vrids;
use super::holdings::HOST;
use super::sockets::{Carrier, Listening, Place, Rooms};
use super::view::View;
use super::vmac;
use crate::config::firewall::LinkKey;
use crate::config::network::{Belongings, Footprint};
use crate::config::process::ProcessPart;
use crate::config::vrrp::{Group, Instance, Transport, VrrpPart};
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
    /// How each of them behaves.
    pub(crate) configs: BTreeMap<RouterId, RouterConfig>,
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
    /// What is on this host for as long as the daemon runs.
    pub(crate) fixed: Arc<Footprint>,
    /// The name of the tables of nftables, if there are any.
    pub(crate) firewall: Option<String>,
    /// `log_unknown_vrids`.
    pub(crate) log_unknown_vrids: bool,
    /// How the process is named and scheduled.
    pub(crate) process: ProcessPart,
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
    /// What its packets look like.
    pub(crate) wire: Arc<WireConfig>,
    /// What it puts on this host while it is Active.
    pub(crate) footprint: Arc<Footprint>,
    /// Where its adverts go.
    pub(crate) destinations: Vec<IpAddr>,
    /// Packets to its addresses are not taken.
    pub(crate) drops: bool,
}

/// The running configuration, the prepared one, and the numbers given to routers and links, which never change.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    router_ids: BTreeMap<String, RouterId>,
    /// The highest number that was given to a router.
    last_router: u32,
    group_ids: BTreeMap<String, GroupId>,
    /// By name, and the address that has to be there.
    link_ids: BTreeMap<(String, Option<IpAddr>), LinkId>,
    link_names: Vec<String>,
    tracker_ids: BTreeMap<TrackerName, TrackerId>,
    /// Where the routers of the running configuration stand among its instances.
    positions: BTreeMap<RouterId, usize>,
    current: Option<VrrpPart>,
    /// With its generation.
    prepared: Option<(u64, VrrpPart)>,
}

impl Roster {
    /// The numbers that the process before this one had given to its routers.
    pub(crate) fn inherit(&mut self, ids: BTreeMap<String, RouterId>) {
        self.last_router = ids.values().map(|id| id.0).fold(self.last_router, u32::max);
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
        self.check_firewall(&part)?;
        let trackers =
            part.trackers.iter().map(|it| (it.name.clone(), (self.tracker_id(&it.name), it.config))).collect();
        let routers = part.instances.iter().map(|instance| self.number(instance)).collect::<Result<_, _>>()?;
        let configs = part.instances.iter().map(|instance| self.router_config(instance)).collect();
        let groups = part.groups.iter().map(|group| self.number_group(group, &part)).collect();
        let setup = Setup {
            routers,
            configs,
            groups,
            link_names: self.link_names.clone(),
            trackers,
            beat_limit: beat_limit(&part),
            delays: [part.startup_delay, part.delay_after_boot],
            has_runner: part.has_runner,
            fixed: part.fixed.footprint().into(),
            firewall: part.firewall.as_ref().map(|firewall| firewall.table.clone()),
            log_unknown_vrids: part.log_unknown_vrids,
            process: part.process.clone(),
            inherited: Snapshot::default(),
        };
        self.prepared = Some((generation, part));
        Ok(setup)
    }

    fn check_firewall(&self, part: &VrrpPart) -> anyhow::Result<()> {
        let table = |part: &VrrpPart| part.firewall.as_ref().map(|firewall| firewall.table.clone());
        let (before, now) = (self.current.as_ref().and_then(table), table(part));
        if before.is_some() && now.is_some() && before != now {
            bail!("Cannot change nftables table name at a reload - please restart keepalived");
        }
        Ok(())
    }

    fn number(&mut self, instance: &Instance) -> anyhow::Result<RouterSetup> {
        let id = self.router_id(&instance.key);
        let wire = instance.wire_config().with_context(|| format!("({}) auth_hmac", instance.name))?;
        let wire = Arc::new(wire);
        Transmitter::new(Arc::clone(&wire)).with_context(|| format!("({})", instance.name))?;
        Ok(RouterSetup {
            id,
            name: instance.name.clone(),
            key: instance.key.clone(),
            wire,
            footprint: Belongings::of(instance).footprint().into(),
            destinations: match &instance.transport {
                Transport::Multicast { group } => vec![*group],
                Transport::Unicast { peers } => peers.iter().map(|peer| peer.address).collect(),
            },
            drops: instance.drops(),
        })
    }

    fn router_config(&mut self, instance: &Instance) -> (RouterId, RouterConfig) {
        let mut config = instance.router_config(|name, source| self.link_id(name, source));
        config.trackers = instance.trackers(|name| self.tracker_ids.get(name).copied());
        (self.router_id(&instance.key), config)
    }

    fn router_id(&mut self, key: &str) -> RouterId {
        if let Some(id) = self.router_ids.get(key) {
            return *id;
        }
        self.last_router += 1;
        self.router_ids.insert(key.to_owned(), RouterId(self.last_router));
        RouterId(self.last_router)
    }

    fn number_group(&mut self, group: &Group, part: &VrrpPart) -> GroupSetup {
        let next = self.group_ids.values().map(|id| id.0 + 1).max().unwrap_or(1);
        let id = *self.group_ids.entry(group.name.clone()).or_insert(GroupId(next));
        let members = part.instances.iter().filter(|instance| group.members.contains(&instance.name));
        let members = members.filter_map(|instance| self.id(instance)).collect();
        let mut config = group.group_config(members, |name| self.link_id(name, None));
        config.trackers = group.trackers(|name| self.tracker_ids.get(name).copied());
        GroupSetup { id, name: group.name.clone(), config }
    }

    fn tracker_id(&mut self, name: &TrackerName) -> TrackerId {
        let next = self.tracker_ids.values().map(|id| id.0 + 1).max().unwrap_or(1);
        *self.tracker_ids.entry(name.clone()).or_insert(TrackerId(next))
    }

    /// A link of which a certain address has to be there is another one: its only source is that address.
    fn link_id(&mut self, name: &str, source: Option<IpAddr>) -> LinkId {
        let key = (name.to_owned(), source);
        if let Some(id) = self.link_ids.get(&key) {
            return *id;
        }
        let id = LinkId(u32::try_from(self.link_names.len()).unwrap_or(u32::MAX));
        self.link_names.push(name.to_owned());
        self.link_ids.insert(key, id);
        id
    }

    /// Makes the configuration that was prepared as `generation` the running one.
    pub(crate) fn commit(&mut self, generation: u64) -> Option<&VrrpPart> {
        let (_, part) = self.prepared.take_if(|(prepared, _)| *prepared == generation)?;
        let instances = part.instances.iter().enumerate();
        self.positions = instances.filter_map(|(position, instance)| Some((self.id(instance)?, position))).collect();
        Some(self.current.insert(part))
    }

    /// Forgets the configuration that was prepared as `generation`.
    pub(crate) fn abandon(&mut self, generation: u64) {
        self.prepared.take_if(|(prepared, _)| *prepared == generation);
    }

    /// The name of a router in the running configuration.
    pub(crate) fn name(&self, router: RouterId) -> &str {
        self.instance(router).map_or("", |instance| &instance.name)
    }

    /// Every router of the running configuration.
    pub(crate) fn routers(&self) -> impl Iterator<Item = RouterId> {
        self.positions.keys().copied()
    }

    fn instance(&self, router: RouterId) -> Option<&Instance> {
        self.current.as_ref()?.instances.get(*self.positions.get(&router)?)
    }

    /// The routers of the running configuration whose addresses packets are dropped for.
    pub(crate) fn closed(&self) -> BTreeMap<RouterId, LinkKey> {
        let instances = self.current.iter().flat_map(|part| &part.instances);
        instances.filter_map(|instance| Some((self.id(instance)?, instance.closed?))).collect()
    }

    /// How often each address of a router is announced when it comes (`garp_master_repeat`).
    pub(crate) fn announcements_per_address(&self, router: RouterId) -> u8 {
        self.instance(router).map_or(1, Instance::announcements_per_address)
    }

    /// The link that a router of the running configuration runs on.
    pub(crate) fn link_of(&self, router: RouterId) -> Option<&str> {
        self.instance(router)?.link()
    }

    /// What every router of the running configuration has, and the host.
    pub(crate) fn belongings(&self) -> Vec<(RouterId, Belongings)> {
        let instances = self.current.iter().flat_map(|part| &part.instances);
        let routers = instances.filter_map(|instance| Some((self.id(instance)?, Belongings::of(instance))));
        let fixed = self.current.iter().map(|part| (HOST, part.fixed.clone()));
        fixed.chain(routers).collect()
    }

    /// The links that routers of either configuration run on or track, as the routers of the running one see them, if any
    /// does: what is only prepared changes nothing for them.
    pub(crate) fn links(&self, view: &View) -> Vec<(LinkId, &str, Option<LinkFacts>)> {
        let mut links = BTreeMap::new();
        for (part, virtual_ones) in self.parts() {
            for (name, address) in links_of(part) {
                let Some(id) = self.link_ids.get(&(name.to_owned(), address)) else { continue };
                let source = part.source_interface(name);
                let facts = || view.facts_with_source(name, source, address, &virtual_ones);
                links.insert(*id, (name, own_link(part, name, view).and_then(|_| facts())));
            }
        }
        links.into_iter().map(|(id, (name, facts))| (id, name, facts)).collect()
    }

    /// The gaps between announcements in the running configuration: everywhere, and those of `garp_group`. Where such a
    /// group says nothing, the gaps that hold everywhere hold there too.
    pub(crate) fn gaps(&self, view: &View) -> (Gaps, Vec<GapGroup>) {
        let Some(part) = &self.current else { return Default::default() };
        let links = |names: &[String]| names.iter().filter_map(|name| Some(view.link(name)?.index)).collect();
        let groups = part.garp_groups.iter().map(|group| GapGroup {
            gaps: Gaps {
                garp: group.garp_interval.unwrap_or(part.garp_interval),
                gna: group.gna_interval.unwrap_or(part.gna_interval),
            },
            separate: links(&group.separate),
            shared: links(&group.shared),
        });
        (Gaps { garp: part.garp_interval, gna: part.gna_interval }, groups.collect())
    }

    /// The unicast routers of the running configuration that can be reached through a link again, with its name and
    /// their source: it is up and has their source address, and before one of the two was missing.
    pub(crate) fn unicast_sources(
        &self,
        link: LinkId,
        before: Option<LinkFacts>,
        now: LinkFacts,
    ) -> Vec<(RouterId, String, IpAddr)> {
        let source = |facts: LinkFacts, family| facts.source(family).filter(|_| facts.up);
        let instances = self.current.iter().flat_map(|part| &part.instances);
        instances
            .filter(|it| matches!(it.transport, Transport::Unicast { .. }))
            .filter_map(|it| {
                let interface = it.interface.clone()?;
                let id = self.link_ids.get(&(interface.clone(), it.tracked_source()))?;
                let own = source(now, it.family())?;
                let returns = *id == link && before.is_none_or(|before| source(before, it.family()).is_none());
                returns.then_some((self.id(it)?, interface, it.source().unwrap_or(own)))
            })
            .collect()
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

    /// What the socket of each place has to let through for the routers of both configurations.
    pub(crate) fn listening(&self, view: &View) -> BTreeMap<Place, Listening> {
        let mut all: BTreeMap<Place, Listening> = BTreeMap::new();
        for (part, virtual_ones) in self.parts() {
            let mut rooms: BTreeMap<Place, Rooms> = BTreeMap::new();
            for instance in &part.instances {
                let Some(place) = place(instance, part, view, &virtual_ones) else { continue };
                let nothing = Listening { vrids: Vrids::default(), hears_all: false, room: 0 };
                let listening = all.entry(place).or_insert(nothing);
                listening.vrids.insert(instance.vrid().get());
                listening.hears_all |= part.log_unknown_vrids;
                let mtu = instance.interface.as_ref().and_then(|name| view.link(name)).map(|link| link.mtu);
                rooms.entry(place).or_default().add(instance.room, mtu);
            }
            for (place, rooms) in rooms {
                let Some(listening) = all.get_mut(&place) else { continue };
                listening.room = listening.room.max(rooms.octets());
            }
        }
        all
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
    let vrf = match (link, &instance.vrf) {
        (Some(_), _) if address.is_multicast() => None,
        (Some(link), _) => view.vrf(link),
        (None, Some(name)) => Some(view.link(name)?.index),
        (None, None) => None,
    };
    let [link, vrf] = [link, vrf].map(|index| index.map_or(0, vip_netlink::LinkIndex::get));
    Some(Place { link, vrf, address, carrier })
}

/// The link of that name. What else may have the name of a macvlan or ipvlan of `part` is none.
fn own_link<'a>(part: &VrrpPart, name: &str, view: &'a View) -> Option<&'a Link> {
    let link = view.link(name)?;
    part.virtual_link(name).is_none_or(|wanted| vmac::is_own(wanted, link, view)).then_some(link)
}

/// The links that routers run on or track, and the address of them that has to be there.
fn links_of(part: &VrrpPart) -> BTreeSet<(&str, Option<IpAddr>)> {
    let own = part.instances.iter().filter_map(|it| Some((it.link()?, it.tracked_source())));
    let tracked = part.instances.iter().flat_map(|instance| &instance.tracked);
    let tracked = tracked.chain(part.groups.iter().flat_map(|group| &group.tracked));
    own.chain(tracked.map(|tracked| (tracked.name.as_str(), None))).collect()
}

/// The interfaces that `part` names and that are not there, each with who names it first.
pub(crate) fn missing_interfaces<'a>(part: &'a VrrpPart, view: &View) -> Vec<(&'a str, &'a str)> {
    let of_instances =
        part.instances.iter().flat_map(|it| it.interfaces().map(|interface| (it.name.as_str(), interface)));
    let of_groups =
        part.groups.iter().flat_map(|it| it.tracked.iter().map(|tracked| (it.name.as_str(), tracked.name.as_str())));
    let below = part.virtual_links.values().map(|link| (link.instance.as_str(), link.parent.as_str()));
    let is_missing = |name: &str| view.link(name).is_none() && part.virtual_link(name).is_none();
    let mut seen = BTreeSet::new();
    of_instances
        .chain(of_groups)
        .chain(below)
        .filter(|(_, interface)| is_missing(interface) && seen.insert(*interface))
        .collect()
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
    fn unicast_routers_whose_link_returns() {
        let text = "vrrp_instance U {\ninterface eth0\nvirtual_router_id 51\nunicast_peer {\n192.0.2.2\n}\n\
                    virtual_ipaddress { 192.0.2.9/24 }\n}\n\
                    vrrp_instance M {\ninterface eth0\nvirtual_router_id 52\nvirtual_ipaddress { 192.0.2.8/24 }\n}\n";
        let mut roster = Roster::default();
        roster.prepare(1, part(text)).unwrap();
        roster.commit(1).unwrap();
        let (link, _, up) = roster.links(&view()).remove(0);
        let up = up.unwrap();
        let down = LinkFacts { up: false, ..up };
        let homeless = LinkFacts { ipv4_source: None, ..up };
        let returned = |before, now| {
            roster.unicast_sources(link, before, now).into_iter().map(|(_, _, ip)| ip).collect::<Vec<_>>()
        };
        let own: Vec<IpAddr> = vec![[192, 0, 2, 1].into()];
        for before in [None, Some(down), Some(homeless)] {
            assert_eq!(returned(before, up), own, "{before:?}");
        }
        let nobody: Vec<IpAddr> = vec![];
        assert_eq!(returned(Some(up), up), nobody);
        assert_eq!(returned(Some(up), down), nobody);
        assert_eq!(returned(Some(down), homeless), nobody);
    }

    #[test]
    fn what_is_missing_is_named_once() {
        let text = RUNNING.replace("interface eth0", "interface eth0\ntrack_interface {\neth7\neth8 weight 3\n}");
        let text = text.replace("192.0.2.9/24", "192.0.2.9/24 dev eth7");
        let part = part(&text);
        assert_eq!(missing_interfaces(&part, &view()), [("VI_1", "eth7"), ("VI_1", "eth8")]);
    }

    #[test]
    fn the_tables_of_nftables_keep_their_name() {
        let text = |table: &str| {
            format!("global_defs {{\nnftables {table}\n}}\n{}", RUNNING.replace("interface", "no_accept\ninterface"))
        };
        let mut roster = Roster::default();
        let setup = roster.prepare(1, part(&text("a"))).unwrap();
        assert_eq!(setup.firewall.as_deref(), Some("a"));
        roster.commit(1).unwrap();
        assert_eq!(roster.closed().len(), 1);
        let refused = roster.prepare(2, part(&text("b"))).unwrap_err();
        assert_eq!(refused.to_string(), "Cannot change nftables table name at a reload - please restart keepalived");
        roster.prepare(2, part(&text("a"))).unwrap();
        assert_eq!(roster.prepare(3, part(RUNNING)).unwrap().firewall, None);
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
