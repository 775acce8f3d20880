//! The vrrp worker's part of a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use conf_parser::config::{self as file, Config};
use serde::{Deserialize, Serialize};
use vrrp_proto::{
    AdvertisementInterval, AnnounceConfig, AntiReplay, Authentication, Cast, ExtraLinks, Family, GroupConfig, Hmac,
    HmacKey, HmacMode, KeyError, KeyId, LinkId, OldUnicastChecksum, Partners, Password, Peer, Priority, RouterConfig,
    RouterId, TrackedLink, TrackerConfig, TrackerId, TrackerUse, Version, Vrid, WireConfig,
};

use crate::config::firewall::{self, FirewallPart, LinkKey};
use crate::config::network::{self, Belongings, HeldRoute, HeldRule};
use crate::config::process::ProcessPart;
use crate::config::runner::{self, RunnerPart};
use crate::config::shared::Shared;
use crate::config::virtual_link::{Home, Kind, VirtualLink, VirtualLinks};
use crate::ipc::TrackerName;

/// Everything the vrrp worker is told by a configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VrrpPart {
    /// `vrrp_garp_interval`: between two gratuitous ARP frames on one link; zero leaves it to the worker.
    pub(crate) garp_interval: Duration,
    /// `vrrp_gna_interval`: the same for unsolicited neighbour advertisements.
    pub(crate) gna_interval: Duration,
    /// `interface_up_down_delays`, as written.
    pub(crate) interface_delays: Vec<(String, LinkDelays)>,
    /// `dynamic_interfaces`: interfaces may be missing at the start.
    pub(crate) dynamic_interfaces: bool,
    /// The interfaces whose link is polled, and what is asked first.
    pub(crate) polled: BTreeMap<String, LinkbeatMethod>,
    /// The `garp_group` blocks, in the order of the file.
    pub(crate) garp_groups: Vec<GarpGroup>,
    /// `vrrp_netlink_cmd_rcv_bufs`; the worker's choice where absent.
    pub(crate) command_buffer: Option<BufferSize>,
    /// `vrrp_netlink_monitor_rcv_bufs`; the worker's choice where absent.
    pub(crate) monitor_buffer: Option<BufferSize>,
    /// `vrrp_startup_delay`: nothing is heard or said so long after the start of the daemon.
    pub(crate) startup_delay: Duration,
    /// `vrrp_delay_after_boot`: nor so long after the boot of the host.
    pub(crate) delay_after_boot: Duration,
    /// `log_unknown_vrids`: adverts for virtual routers that are not configured are logged.
    pub(crate) log_unknown_vrids: bool,
    /// How the process is scheduled.
    pub(crate) process: ProcessPart,
    /// Whether any script is configured, and so a runner that takes notifications.
    pub(crate) has_runner: bool,
    /// What the runner watches for the instances, in the order of the file.
    pub(crate) trackers: Vec<Tracker>,
    /// The `vrrp_instance` blocks, in the order of the file.
    pub(crate) instances: Vec<Instance>,
    /// The `vrrp_sync_group` blocks, in the order of the file.
    pub(crate) groups: Vec<Group>,
    /// What is there for as long as the daemon runs.
    pub(crate) fixed: Belongings,
    /// What filters packets; `None` if nothing is to be filtered.
    pub(crate) firewall: Option<FirewallPart>,
    /// The macvlans and ipvlans that the instances need, by name.
    pub(crate) virtual_links: BTreeMap<String, VirtualLink>,
    /// `disable_local_igmp`: the kernel sends no reports of link-local groups.
    pub(crate) disable_local_igmp: bool,
    /// `vrrp_vip_lease`: how long virtual addresses outlive their last renewal.
    pub(crate) vip_lease: Option<Duration>,
}

/// How long a change of a link has to last before it counts (`interface_up_down_delays`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct LinkDelays {
    /// Before a link that was up counts as down, 0 to 255 s.
    pub(crate) down: Duration,
    /// Before a link that was down counts as up, 0 to 255 s.
    pub(crate) up: Duration,
}

/// How the state of a link is asked for (`linkbeat_interfaces`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum LinkbeatMethod {
    /// The link bit of the MII status register.
    Mii,
    /// The link query of ethtool.
    Ethtool,
    /// The flags of the interface.
    Flags,
}

/// A receive buffer of a netlink socket (`vrrp_netlink_*_rcv_bufs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BufferSize {
    /// Octets, not 0.
    pub(crate) octets: usize,
    /// It may be larger than the system allows.
    pub(crate) force: bool,
}

/// One `garp_group`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GarpGroup {
    /// Between two gratuitous ARP frames; zero leaves it to the worker, and without it `vrrp_garp_interval` holds.
    pub(crate) garp_interval: Option<Duration>,
    /// The same for unsolicited neighbour advertisements and `vrrp_gna_interval`.
    pub(crate) gna_interval: Option<Duration>,
    /// Interfaces that keep the gaps, each for itself.
    pub(crate) separate: Vec<String>,
    /// Interfaces that keep the gaps together.
    pub(crate) shared: Vec<String>,
}

/// One `vrrp_sync_group`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Its name in the file, which makes it the same group over a reload.
    pub(crate) name: String,
    /// The names of its instances.
    pub(crate) members: Vec<String>,
    /// `track_interface`: counts for every member.
    pub(crate) tracked: Vec<TrackedInterface>,
    /// `track_script`, then `track_file`, then `track_process`: they count for every member.
    uses: Vec<Use>,
    /// `sync_group_tracking_weight`.
    tracking_weight: bool,
}

/// One line of `track_interface`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TrackedInterface {
    /// The interface.
    pub(crate) name: String,
    /// Priority points, -253 to 253; 0 makes the failure of the interface a fault.
    weight: i16,
    /// The other way round.
    reverse: bool,
}

/// A script, a file or processes that somebody tracks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tracker {
    /// Its name.
    pub(crate) name: TrackerName,
    /// Of what sort it is.
    pub(crate) config: TrackerConfig,
}

/// A line of `track_script`, `track_file` or `track_process`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Use {
    /// What is tracked.
    pub(crate) tracker: TrackerName,
    /// Points of priority, or the factor of a file's number.
    weight: i16,
    /// Up and down change places.
    reverse: bool,
}

/// One `vrrp_instance`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its name in the file.
    pub(crate) name: String,
    /// What makes it the same instance over a reload and a restart: family, VRID, interface, and the group or the
    /// unicast source.
    pub(crate) key: String,
    /// The interface that it runs on; `None` for a unicast instance that is bound to none.
    pub(crate) interface: Option<String>,
    /// The VRF that a unicast instance without interface speaks in.
    pub(crate) vrf: Option<String>,
    /// The macvlan or ipvlan that it runs on in place of `interface`.
    pub(crate) virtual_link: Option<String>,
    /// Its adverts travel on `interface` all the same.
    xmit_base: bool,
    /// `promote_secondaries`: of its interface; a macvlan has it anyway.
    pub(crate) promote_secondaries: bool,
    /// `track_interface`.
    pub(crate) tracked: Vec<TrackedInterface>,
    /// `track_script`, then `track_file`, then `track_process`.
    uses: Vec<Use>,
    /// Where its adverts go.
    pub(crate) transport: Transport,
    /// What it adds to the receive buffer of its socket.
    pub(crate) room: Room,
    /// How it behaves; its links are left open, see [`router_config`](Self::router_config).
    router: RouterConfig,
    /// `authentication` or `auth_hmac`.
    proof: Option<Proof>,
    /// `unicast_ttl`; 255 where absent, as RFC 9568 §5.1.1.3 and §5.1.2.3 have it, whatever the family.
    hop_limit: u8,
    /// `skip_check_adv_addr`.
    skip_check_adv_addr: bool,
    /// `check_unicast_src`.
    check_unicast_src: bool,
    /// `owner_ignore_adverts`.
    owner_ignore_adverts: bool,
    /// `v3_checksum_as_v2`.
    v3_checksum_as_v2: bool,
    /// `old_unicast_checksum`, and the group that stands in for the peer in it.
    old_checksum: (OldUnicastChecksum, Ipv4Addr),
    /// `virtual_ipaddress`, then `virtual_ipaddress_excluded`.
    pub(crate) addresses: Vec<HeldAddress>,
    /// `virtual_routes`.
    pub(crate) routes: Vec<HeldRoute>,
    /// `virtual_rules`.
    pub(crate) rules: Vec<HeldRule>,
    /// How the links of its link-local addresses are told if packets to its addresses are dropped; `None` if they are not.
    pub(crate) closed: Option<LinkKey>,
}

/// What an instance adds to the receive buffer of its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Room {
    /// Nothing is configured.
    Default,
    /// The socket has so many octets, however many instances use it.
    Socket(u32),
    /// So many octets for this instance.
    Instance(u64),
    /// So many packets of the link's MTU for this instance.
    Mtu(u32),
}

/// How adverts are authenticated.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Proof {
    /// `auth_type PASS`: the eight octets of a password, padded with zeros.
    Pass(Secret),
    /// `auth_type AH`: likewise.
    Ah(Secret),
    /// `auth_hmac`.
    Hmac(Signature),
}

/// `auth_hmac`; every key is here, that of a file was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Signature {
    /// By number.
    keys: Vec<(u8, Secret)>,
    /// The number of the key that signs.
    active: u8,
    mode: HmacMode,
    anti_replay: AntiReplay,
}

/// A password or key. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where adverts go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Transport {
    /// To everyone on the link.
    Multicast {
        /// The group.
        group: IpAddr,
    },
    /// To each peer alone.
    Unicast {
        /// In the order of the file; with `unicast_fault_no_peer` there may be none, and then the instance is in FAULT.
        peers: Vec<Peer>,
    },
}

/// A virtual address as everyone has it who has to do with it.
pub(crate) type HeldAddress = Shared<VirtualAddress>;

/// An address that the Active Router puts on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VirtualAddress {
    /// The address.
    pub(crate) ip: IpAddr,
    /// Length of its prefix in bits.
    pub(crate) prefix_len: u8,
    /// The interface that it goes to.
    pub(crate) device: String,
    /// IPv4 broadcast address.
    pub(crate) broadcast: Option<Ipv4Addr>,
    /// `RT_SCOPE_*`.
    pub(crate) scope: u8,
    /// IPv4 label.
    pub(crate) label: Option<String>,
    /// The far end of a point-to-point link.
    pub(crate) peer: Option<IpAddr>,
    /// `home`, `-nodad`, ….
    pub(crate) flags: vip_netlink::AddressFlags,
    /// How long it may be chosen as a source.
    pub(crate) preferred: vip_netlink::Lifetime,
    /// Whether it matters when others delete it: not with `no_track`.
    pub(crate) track: bool,
}

impl VrrpPart {
    /// What the worker needs of `config`.
    pub(crate) fn from_config(config: &Config) -> Self {
        Self::with_links(config, VirtualLinks::new(config))
    }

    /// As [`from_config`](Self::from_config) for a reload, `running` being what the worker has: what is in both keeps its
    /// macvlan, name and all.
    pub(crate) fn following(config: &Config, running: &Self) -> Self {
        let fresh = Self::from_config(config);
        Self::with_links(config, VirtualLinks::following(config, &running.virtual_links, &fresh.virtual_links))
    }

    fn with_links(config: &Config, mut links: VirtualLinks) -> Self {
        let instances = config.vrrp_instances.iter();
        let mut instances: Vec<_> =
            instances.map(|instance| Instance::from_config(instance, &config.global, &mut links)).collect();
        for instance in &mut instances {
            instance.track_groups(config);
        }
        Self {
            garp_interval: config.global.vrrp_garp_interval,
            gna_interval: config.global.vrrp_gna_interval,
            interface_delays: config.top.interface_delays.iter().map(interface_delays).collect(),
            dynamic_interfaces: config.global.dynamic_interfaces,
            polled: polled(config),
            garp_groups: config.top.garp_groups.iter().map(garp_group).collect(),
            command_buffer: buffer_size(config.global.processes.buffers.vrrp_command),
            monitor_buffer: buffer_size(config.global.processes.buffers.vrrp_monitor),
            startup_delay: config.global.vrrp.startup_delay,
            delay_after_boot: config.global.vrrp.delay_after_boot,
            log_unknown_vrids: config.global.vrrp.log_unknown_vrids,
            process: ProcessPart::vrrp(&config.global),
            has_runner: RunnerPart::from_config(config).has_work(),
            trackers: trackers(config),
            instances,
            groups: config.sync_groups.iter().map(Group::from_config).collect(),
            fixed: Belongings::fixed(config),
            firewall: FirewallPart::from_config(config),
            virtual_links: links.into_links(),
            disable_local_igmp: config.global.vrrp.disable_local_igmp,
            vip_lease: config.global.vrrp.vip_lease,
        }
    }

    /// The macvlan or ipvlan of that name.
    pub(crate) fn virtual_link(&self, name: &str) -> Option<&VirtualLink> {
        self.virtual_links.get(name)
    }

    /// The interface whose addresses adverts on `name` come from: for a macvlan the one below.
    pub(crate) fn source_interface<'a>(&'a self, name: &'a str) -> &'a str {
        match self.virtual_link(name) {
            Some(VirtualLink { kind: Kind::Macvlan { .. }, parent, .. }) => parent,
            _ => name,
        }
    }

    /// Every address that is virtual.
    pub(crate) fn virtual_addresses(&self) -> BTreeSet<IpAddr> {
        let addresses = self.instances.iter().flat_map(|instance| &instance.addresses);
        addresses.map(|address| address.ip).collect()
    }
}

impl Group {
    fn from_config(group: &file::SyncGroup) -> Self {
        Self {
            name: group.name.value.clone(),
            members: group.members.iter().map(|member| member.value.clone()).collect(),
            tracked: tracked_interfaces(&group.tracking),
            uses: uses(&group.tracking),
            tracking_weight: group.sync_group_tracking_weight,
        }
    }

    /// What holds for its `members`, with `link` numbering the interfaces. What the runner watches for it is left out,
    /// see [`trackers`](Self::trackers).
    pub(crate) fn group_config(&self, members: Vec<RouterId>, link: impl FnMut(&str) -> LinkId) -> GroupConfig {
        let mut group = GroupConfig::new(members);
        group.tracked_links = tracked_links(&self.tracked, link);
        group.tracking_weight = self.tracking_weight;
        group
    }

    /// What it tracks, with `id` numbering that.
    pub(crate) fn trackers(&self, id: impl FnMut(&TrackerName) -> Option<TrackerId>) -> Vec<TrackerUse> {
        tracker_uses(&self.uses, id)
    }
}

fn interface_delays(delays: &file::InterfaceDelays) -> (String, LinkDelays) {
    (delays.interface.value.clone(), LinkDelays { down: delays.down, up: delays.up })
}

/// Every interface of an instance with `linkbeat_use_polling` in the file, else those of the instances and of
/// `linkbeat_interfaces` that are named.
fn polled(config: &Config) -> BTreeMap<String, LinkbeatMethod> {
    let of_instances = config
        .vrrp_instances
        .iter()
        .filter(|instance| config.top.linkbeat_use_polling || instance.linkbeat_use_polling)
        .filter_map(|instance| Some((instance.interface.as_ref()?.value.clone(), LinkbeatMethod::Mii)));
    let listed = config.top.linkbeat_interfaces.iter().map(|one| {
        let method = match one.method {
            None | Some(file::LinkbeatMethod::Mii) => LinkbeatMethod::Mii,
            Some(file::LinkbeatMethod::Ethtool) => LinkbeatMethod::Ethtool,
            Some(file::LinkbeatMethod::Ioctl) => LinkbeatMethod::Flags,
        };
        (one.interface.value.clone(), method)
    });
    of_instances.chain(listed).collect()
}

fn garp_group(group: &file::GarpGroup) -> GarpGroup {
    let names = |names: &[conf_parser::Spanned<String>]| names.iter().map(|name| name.value.clone()).collect();
    GarpGroup {
        garp_interval: group.garp_interval,
        gna_interval: group.gna_interval,
        separate: names(&group.separate),
        shared: names(&group.shared),
    }
}

fn buffer_size(buffer: file::ReceiveBuffer) -> Option<BufferSize> {
    let octets = usize::try_from(buffer.size?).ok()?;
    Some(BufferSize { octets, force: buffer.force })
}

fn tracked_interfaces(tracking: &file::Tracking) -> Vec<TrackedInterface> {
    let interface = |tracked: &file::Tracked| {
        let file::Weight { value, reverse } = tracked.weight.value;
        TrackedInterface { name: tracked.name.value.clone(), weight: value, reverse }
    };
    tracking.interfaces.iter().map(interface).collect()
}

fn tracked_links(tracked: &[TrackedInterface], mut link: impl FnMut(&str) -> LinkId) -> Vec<TrackedLink> {
    let one = |it: &TrackedInterface| TrackedLink { link: link(&it.name), weight: it.weight, reverse: it.reverse };
    tracked.iter().map(one).collect()
}

impl Instance {
    fn from_config(instance: &file::VrrpInstance, global: &file::GlobalDefs, links: &mut VirtualLinks) -> Self {
        let family = match instance.family {
            file::Family::Ipv4 => Family::Ipv4,
            file::Family::Ipv6 => Family::Ipv6,
        };
        let interface = instance.interface.as_ref().map(|name| name.value.clone());
        let transport = transport(instance, global);
        let device = interface.as_deref().unwrap_or(&global.vrrp.default_interface);
        let virtual_link = links.of_instance(instance);
        let own = virtual_link.as_deref().filter(|_| instance.vmac.is_some());
        let home = Home { instance, interface: device, own };
        let addresses: Vec<HeldAddress> = instance
            .virtual_addresses
            .iter()
            .chain(&instance.excluded_addresses)
            .map(|address| VirtualAddress::from_config(address, links.of_address(home, address)).into())
            .collect();
        // A name that stands for nothing here costs its line.
        let routes: Vec<_> =
            instance.virtual_routes.iter().filter_map(|route| HeldRoute::from_config(&route.value)).collect();
        let rules: Vec<_> =
            instance.virtual_rules.iter().filter_map(|rule| HeldRule::from_config(&rule.value)).collect();
        Self {
            name: instance.name.value.clone(),
            key: key(instance, &transport),
            xmit_base: instance.vmac_xmit_base,
            promote_secondaries: instance.promote_secondaries,
            tracked: tracked_interfaces(&instance.tracking),
            uses: uses(&instance.tracking),
            router: router(instance, family, revision(&(&addresses, &routes, &rules))),
            proof: proof(instance),
            hop_limit: instance.unicast_ttl.unwrap_or(u8::MAX),
            skip_check_adv_addr: instance.skip_check_adv_addr,
            check_unicast_src: instance.check_unicast_src,
            owner_ignore_adverts: instance.owner_ignore_adverts,
            v3_checksum_as_v2: instance.v3_checksum_as_v2,
            old_checksum: (old_checksum(instance.old_unicast_checksum), global.vrrp_mcast_group4),
            room: room(instance, &global.vrrp),
            interface,
            vrf: instance.vrf.as_ref().map(|vrf| vrf.value.clone()),
            virtual_link,
            transport,
            addresses,
            routes,
            rules,
            closed: firewall::closed(instance, global),
        }
    }

    /// `track_group`: the interfaces of the static addresses, routes and rules that name a group of this instance count
    /// as if it tracked them.
    fn track_groups(&mut self, config: &Config) {
        let is_member = |group: &str| {
            let groups = config.top.track_groups.iter().filter(|it| it.name.value == group);
            groups.flat_map(|it| &it.members).any(|member| member.value == self.name)
        };
        let needed: BTreeSet<_> =
            network::depended_on(config).into_iter().filter(|(group, _)| is_member(group)).map(|it| it.1).collect();
        let tracked: BTreeSet<_> = self.tracked.iter().map(|it| it.name.clone()).collect();
        let more = needed.difference(&tracked);
        self.tracked.extend(more.map(|name| TrackedInterface { name: name.clone(), weight: 0, reverse: false }));
    }

    /// How the instance behaves, with `link` numbering the interfaces, each with the address of it that must be there
    /// (`track_src_ip`). What the runner watches for it is left out, see [`trackers`](Self::trackers).
    pub(crate) fn router_config(&self, mut link: impl FnMut(&str, Option<IpAddr>) -> LinkId) -> RouterConfig {
        let mut router = self.router.clone();
        router.link = self.link().map(|name| link(name, self.tracked_source()));
        router.partners = match &self.transport {
            Transport::Multicast { .. } => Partners::Multicast,
            Transport::Unicast { peers } if peers.is_empty() => Partners::Missing,
            Transport::Unicast { .. } => Partners::Unicast,
        };
        router.tracked_links = tracked_links(&self.tracked, |name| link(name, None));
        router
    }

    /// Whether packets to its addresses are not taken.
    pub(crate) fn drops(&self) -> bool {
        !self.router.rules().accept_mode
    }

    /// The interface that it runs on: its macvlan or ipvlan if it has one.
    pub(crate) fn link(&self) -> Option<&str> {
        self.virtual_link.as_deref().or(self.interface.as_deref())
    }

    /// The interface that its adverts travel on.
    pub(crate) fn advert_interface(&self) -> Option<&str> {
        self.virtual_link.as_deref().filter(|_| !self.xmit_base).or(self.interface.as_deref())
    }

    /// `garp_master_repeat`, at least 1.
    pub(crate) fn announcements_per_address(&self) -> u8 {
        self.router.announcements.repeat.max(1)
    }

    /// What it tracks, with `id` numbering that.
    pub(crate) fn trackers(&self, id: impl FnMut(&TrackerName) -> Option<TrackerId>) -> Vec<TrackerUse> {
        tracker_uses(&self.uses, id)
    }

    /// What its packets look like.
    ///
    /// # Errors
    /// When a key of `auth_hmac` cannot be one.
    pub(crate) fn wire_config(&self) -> Result<WireConfig, KeyError> {
        let mut wire = WireConfig::new(self.router.vrid, self.router.version, self.router.family);
        wire.advertisement_interval = self.router.advertisement_interval;
        wire.addresses.clone_from(&self.router.addresses);
        wire.hop_limit = self.hop_limit;
        wire.skip_check_adv_addr = self.skip_check_adv_addr;
        wire.owner_ignore_adverts = self.owner_ignore_adverts;
        wire.v3_checksum_as_v2 = self.v3_checksum_as_v2;
        (wire.old_unicast_checksum, wire.old_checksum_group) = self.old_checksum;
        wire.authentication = match &self.proof {
            None => Authentication::None,
            Some(Proof::Pass(password)) => Authentication::Pass(Password::new(&password.0)),
            Some(Proof::Ah(password)) => Authentication::Ah(Password::new(&password.0)),
            Some(Proof::Hmac(signature)) => Authentication::Hmac(signature.keys()?),
        };
        wire.cast = match &self.transport {
            Transport::Multicast { group } => Cast::Multicast { group: *group },
            Transport::Unicast { peers } => {
                Cast::Unicast { peers: peers.clone(), check_source: self.check_unicast_src }
            }
        };
        Ok(wire)
    }

    /// Whether its adverts travel behind an authentication header.
    pub(crate) fn has_authentication_header(&self) -> bool {
        matches!(self.proof, Some(Proof::Ah(_)))
    }

    /// How long its peers wait in silence before one takes over.
    pub(crate) fn active_down_interval(&self) -> Duration {
        self.router.active_down_interval(self.router.advertisement_interval, self.router.priority)
    }

    /// How many adverts its peers may miss beside one, and how long that is.
    pub(crate) fn debounce_limit(&self) -> (u8, Duration) {
        let adverts = self.router.down_timer_adverts.saturating_sub(1);
        (adverts, self.router.advertisement_interval.duration() * u32::from(adverts))
    }

    /// The number of the instance on the wire.
    pub(crate) fn vrid(&self) -> Vrid {
        self.router.vrid
    }

    /// The family of its adverts.
    pub(crate) fn family(&self) -> Family {
        self.router.family
    }

    /// The configured source address.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.router.source
    }

    /// The configured source address, if its loss is a fault (`track_src_ip`).
    pub(crate) fn tracked_source(&self) -> Option<IpAddr> {
        self.router.source.filter(|_| self.router.track_source)
    }

    /// Every interface that it names; some more than once.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &str> {
        let devices = self.addresses.iter().map(|address| address.device.as_str());
        let own = self.interface.iter().chain(&self.vrf).map(String::as_str);
        own.chain(self.tracked.iter().map(|it| it.name.as_str())).chain(devices)
    }
}

impl VirtualAddress {
    /// What the file says, on the interface `device`.
    pub(crate) fn from_config(address: &file::VirtualAddress, device: String) -> Self {
        let options = address.options();
        Self {
            ip: address.address.value,
            prefix_len: address.prefix_len,
            device,
            broadcast: options.broadcast,
            // A name is one of which this host knows nothing.
            scope: options.scope.number().unwrap_or(0),
            label: options.label.as_deref().map(str::to_owned),
            peer: options.peer,
            flags: network::address_flags(address),
            preferred: network::preferred(address.preferred_lifetime()),
            track: !options.no_track,
        }
    }
}

/// What of scripts, files and processes `tracking` names.
fn uses(tracking: &file::Tracking) -> Vec<Use> {
    let made = |tracked: &file::Tracked, name: fn(String) -> TrackerName| Use {
        tracker: name(tracked.name.value.clone()),
        weight: tracked.weight.value.value,
        reverse: tracked.weight.value.reverse,
    };
    let scripts = tracking.scripts.iter().map(|tracked| made(tracked, TrackerName::Script));
    let files = tracking.files.iter().map(|tracked| made(tracked, TrackerName::File));
    let processes = tracking.processes.iter().map(|tracked| made(tracked, TrackerName::Process));
    scripts.chain(files).chain(processes).collect()
}

/// The same for the engine, with `id` numbering what is tracked.
pub(crate) fn tracker_uses(uses: &[Use], mut id: impl FnMut(&TrackerName) -> Option<TrackerId>) -> Vec<TrackerUse> {
    let made = |it: &Use| Some(TrackerUse { tracker: id(&it.tracker)?, weight: it.weight, reverse: it.reverse });
    uses.iter().filter_map(made).collect()
}

/// What the runner watches.
fn trackers(config: &Config) -> Vec<Tracker> {
    let tracked: BTreeSet<_> = runner::tracking(config).flat_map(uses).map(|it| it.tracker).collect();
    let scripts = config.vrrp_scripts.iter().map(|script| Tracker {
        name: TrackerName::Script(script.name.value.clone()),
        config: TrackerConfig::Script { init_fail: script.init_fail },
    });
    let files = config
        .track_files
        .iter()
        .map(|file| Tracker { name: TrackerName::File(file.name.value.clone()), config: TrackerConfig::File });
    let processes = config.track_processes.iter().map(|process| Tracker {
        name: TrackerName::Process(process.name.value.clone()),
        config: TrackerConfig::Process,
    });
    scripts.chain(files).chain(processes).filter(|tracker| tracked.contains(&tracker.name)).collect()
}

impl Signature {
    fn from_config(hmac: &file::AuthHmac) -> Self {
        let key = |key: &file::HmacKey| match &key.secret {
            file::HmacSecret::Bytes(bytes) => Some((key.id.value.0.get(), Secret(bytes.clone()))),
            // The reader puts the bytes in its place, or refuses the configuration.
            file::HmacSecret::File(_) => None,
        };
        Self {
            keys: hmac.keys.iter().filter_map(key).collect(),
            active: hmac.active_key.0.get(),
            mode: match hmac.mode {
                file::HmacMode::Enforce => HmacMode::Enforce,
                file::HmacMode::Permissive => HmacMode::Permissive,
                file::HmacMode::ReceiveOnly => HmacMode::ReceiveOnly,
            },
            anti_replay: match hmac.anti_replay {
                file::AntiReplay::Time { window } => AntiReplay::Time { window },
                file::AntiReplay::Monotonic => AntiReplay::Monotonic,
            },
        }
    }

    fn keys(&self) -> Result<Hmac, KeyError> {
        let id = |number| KeyId::new(number).expect("the number of a key is not zero");
        let keys = self.keys.iter().map(|(number, secret)| HmacKey::new(id(*number), &secret.0));
        let mut hmac = Hmac::new(keys.collect::<Result<Vec<_>, _>>()?, id(self.active))?;
        hmac.mode = self.mode;
        hmac.anti_replay = self.anti_replay;
        Ok(hmac)
    }
}

fn proof(instance: &file::VrrpInstance) -> Option<Proof> {
    if let Some(hmac) = &instance.auth_hmac {
        return Some(Proof::Hmac(Signature::from_config(hmac)));
    }
    Some(match instance.authentication? {
        file::Authentication::Pass(password) => Proof::Pass(Secret(password.0.to_vec())),
        file::Authentication::Ah(password) => Proof::Ah(Secret(password.0.to_vec())),
    })
}

fn transport(instance: &file::VrrpInstance, global: &file::GlobalDefs) -> Transport {
    if !instance.unicast_peers.is_empty() || instance.unicast_fault_no_peer {
        return Transport::Unicast { peers: instance.unicast_peers.iter().map(peer).collect() };
    }
    let default = match instance.family {
        file::Family::Ipv4 => global.vrrp_mcast_group4.into(),
        file::Family::Ipv6 => global.vrrp_mcast_group6.into(),
    };
    Transport::Multicast { group: instance.multicast_group.unwrap_or(default) }
}

/// `kernel_rx_buf_size`, else `vrrp_rx_bufs_policy`.
fn room(instance: &file::VrrpInstance, global: &file::VrrpDefaults) -> Room {
    let multiplier = global.rx_bufs_multiplier;
    match (instance.kernel_rx_buf_size, global.rx_bufs_policy) {
        (Some(octets), _) => Room::Instance(octets.into()),
        (None, file::RxBufsPolicy::System) => Room::Default,
        (None, file::RxBufsPolicy::Bytes(octets)) => Room::Socket(octets),
        (None, file::RxBufsPolicy::Mtu) => Room::Mtu(multiplier),
        (None, file::RxBufsPolicy::Advert) => Room::Instance(advert_length(instance) * u64::from(multiplier)),
    }
}

/// The octets of an instance's advert with all headers.
fn advert_length(instance: &file::VrrpInstance) -> u64 {
    const PDU: u64 = 8;
    const PASSWORD: u64 = 8;
    const AH: u64 = 24;
    const HMAC_TRAILER: u64 = 28;
    let (ip, address) = match instance.family {
        file::Family::Ipv4 => (20, 4),
        file::Family::Ipv6 => (40, 16),
    };
    let extra = match proof(instance) {
        Some(Proof::Hmac(_)) => HMAC_TRAILER,
        Some(Proof::Ah(_)) => AH + PASSWORD,
        Some(Proof::Pass(_)) => PASSWORD,
        None if instance.version == file::VrrpVersion::V2 => PASSWORD,
        None => 0,
    };
    let count = u64::try_from(instance.virtual_addresses.len()).unwrap_or(u64::MAX);
    ip + PDU + extra + address * count
}

fn peer(peer: &file::UnicastPeer) -> Peer {
    Peer { address: peer.address.value, min_hop_limit: peer.min_ttl, max_hop_limit: peer.max_ttl }
}

fn old_checksum(checksum: file::OldChecksum) -> OldUnicastChecksum {
    match checksum {
        file::OldChecksum::Detect => OldUnicastChecksum::Auto,
        file::OldChecksum::Use => OldUnicastChecksum::Use,
        file::OldChecksum::Never => OldUnicastChecksum::Never,
    }
}

fn key(instance: &file::VrrpInstance, transport: &Transport) -> String {
    let device = instance.interface.as_ref().or(instance.vrf.as_ref());
    let interface = device.map_or("", |name| name.value.as_str());
    let path = match transport {
        Transport::Multicast { group } => group.to_string(),
        Transport::Unicast { .. } => {
            let source = source(instance).map(|source| source.to_string());
            format!("unicast {}", source.unwrap_or_default())
        }
    };
    format!("{} {} {interface} {path}", instance.family, instance.virtual_router_id.value.0)
}

fn router(instance: &file::VrrpInstance, family: Family, revision: u64) -> RouterConfig {
    let version = match instance.version {
        file::VrrpVersion::V2 => Version::V2,
        file::VrrpVersion::V3 => Version::V3,
    };
    let mut router = RouterConfig::new(vrid(instance), family);
    router.version = version;
    router.priority = Priority(instance.priority.0.get());
    router.advertisement_interval = AdvertisementInterval::nearest(version, instance.advertisement_interval);
    router.addresses = instance.virtual_addresses.iter().map(|address| address.address.value).collect();
    router.resources_revision = revision;
    router.track_link = instance.track_primary;
    router.source = source(instance);
    router.track_source = instance.track_src_ip;
    router.strict = instance.strict_mode;
    router.accept_mode = Some(instance.accept);
    router.preempt_mode = instance.preempt;
    router.preempt_delay = instance.preempt_delay;
    router.down_timer_adverts = instance.down_timer_adverts;
    router.lower_prio_no_advert = instance.lower_prio_no_advert;
    router.higher_prio_send_advert = instance.higher_prio_send_advert;
    router.timer_expired_backup = instance.timer_expired_backup.map(|priority| Priority(priority.0.get()));
    router.announcements = announcements(&instance.garp);
    if let Some(extra) = instance.garp_extra_if {
        router.announcements.extra_period = extra.interval;
        router.announcements.extra_links = if extra.all { ExtraLinks::All } else { ExtraLinks::VirtualMac };
    }
    router
}

/// The configured source.
fn source(instance: &file::VrrpInstance) -> Option<IpAddr> {
    instance.source_address.as_ref().map(|source| source.value)
}

fn vrid(instance: &file::VrrpInstance) -> Vrid {
    Vrid::new(instance.virtual_router_id.value.0.get()).expect("the number of an instance is not zero")
}

fn announcements(garp: &file::Garp) -> AnnounceConfig {
    let sends = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    AnnounceConfig {
        repeat: sends(garp.repeat),
        delay: garp.delay,
        refresh: garp.refresh,
        refresh_repeat: sends(garp.refresh_repeat),
        lower_prio_repeat: sends(garp.lower_prio_repeat),
        lower_prio_delay: garp.lower_prio_delay,
        ..AnnounceConfig::default()
    }
}

/// A number that changes with anything about the resources: FNV-1a of their wire form, the same in every process.
fn revision(resources: &impl Serialize) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    crate::ipc::encode(resources).into_iter().fold(BASIS, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(PRIME))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use conf_parser::{MemoryLoader, Options};

    use super::*;

    /// The part of a file whose instances are written as `vrrp_instance NAME { interface eth0 …}`.
    pub(crate) fn part(text: &str) -> VrrpPart {
        VrrpPart::from_config(&config(text))
    }

    /// What such a file says.
    pub(crate) fn config(text: &str) -> Config {
        let loader = MemoryLoader::new([("k.conf", text)]);
        let parsed = conf_parser::parse(&loader, Path::new("k.conf"), &Options::default());
        assert!(!parsed.refuses_start(), "{:?}", parsed.diagnostics);
        parsed.config
    }

    fn instance(body: &str) -> Instance {
        let text = format!("vrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\n{body}\n}}\n");
        part(&text).instances.remove(0)
    }

    #[test]
    fn a_tutorial_instance_becomes_a_router() {
        let instance = instance(
            "state MASTER\npriority 150\nadvert_int 2\nnopreempt\nauthentication {\nauth_type PASS\nauth_pass secret\n}\n\
             virtual_ipaddress {\n192.0.2.1/24\n192.0.2.2/24 dev eth1 label eth1:v\n}\nvirtual_ipaddress_excluded {\n192.0.2.3\n}",
        );
        let router = instance.router_config(|name, _| LinkId(if name == "eth0" { 7 } else { 8 }));
        assert_eq!((router.vrid.get(), router.priority, router.version), (51, Priority(150), Version::V2));
        assert_eq!(router.advertisement_interval.duration(), Duration::from_secs(2));
        assert_eq!(router.link, Some(LinkId(7)));
        assert_eq!(router.addresses, [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])]);
        let places: Vec<_> = instance
            .addresses
            .iter()
            .map(|address| format!("{}/{} {} {:?}", address.ip, address.prefix_len, address.device, address.label))
            .collect();
        assert_eq!(places, ["192.0.2.1/24 eth0 None", "192.0.2.2/24 eth1 Some(\"eth1:v\")", "192.0.2.3/32 eth0 None"]);
        assert_eq!(instance.wire_config().unwrap().authentication, Authentication::Pass(Password::new(b"secret")));
    }

    #[test]
    fn a_password_is_never_printed_but_travels() {
        let instance =
            instance("authentication {\nauth_type PASS\nauth_pass 12345678\n}\nvirtual_ipaddress { 192.0.2.1 }");
        assert!(!format!("{instance:?}").contains("1234"));
        let sent: Instance = crate::ipc::decode(&crate::ipc::encode(&instance)).unwrap();
        assert_eq!(sent.wire_config(), instance.wire_config());
    }

    #[test]
    fn keys_are_never_printed_but_travel() {
        let key = "0123456789abcdef0123456789abcdef";
        let words = format!("auth_hmac {{\nkey 7 {key}\nactive_key 7\nmode permissive\nanti_replay monotonic\n}}");
        let instance = instance(&format!("{words}\nvirtual_ipaddress {{ 192.0.2.1 }}"));
        assert!(!format!("{instance:?}").contains("0123") && !format!("{instance:?}").contains("48, 49"));
        let sent: Instance = crate::ipc::decode(&crate::ipc::encode(&instance)).unwrap();
        let wire = sent.wire_config().unwrap();
        assert_eq!(wire, instance.wire_config().unwrap());
        let Authentication::Hmac(hmac) = wire.authentication else { panic!("{:?}", wire.authentication) };
        assert_eq!((hmac.mode, hmac.anti_replay), (HmacMode::Permissive, AntiReplay::Monotonic));
    }

    #[test]
    fn the_weight_of_a_tracker_is_that_of_its_line_or_its_own() {
        let part = part(
            "vrrp_script s {\nscript /bin/true\nweight 5 reverse\ninit_fail\n}\nvrrp_script unused {\nscript /bin/true\n}\n\
             track_file f {\nfile /run/f\nweight 2 reverse\n}\nvrrp_track_file g {\nfile /run/g\nweight 7\n}\n\
             vrrp_track_process p {\nprocess p\nweight 9 reverse\n}\n\
             vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n\
             track_script {\ns\n}\ntrack_file {\nf\ng\n}\ntrack_process {\np\n}\n}\n\
             vrrp_instance B {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress { 192.0.2.2 }\n\
             track_script {\ns weight -4 noreverse\n}\ntrack_file {\nf weight 3 noreverse\ng weight 1 reverse\n}\n\
             track_process {\np weight 8 noreverse\n}\n}\n",
        );
        let names: Vec<_> = part.trackers.iter().map(|tracker| &tracker.name).collect();
        let [s, f, g] = [TrackerName::Script("s".into()), TrackerName::File("f".into()), TrackerName::File("g".into())];
        let p = TrackerName::Process("p".into());
        assert_eq!(names, [&s, &f, &g, &p]);
        assert_eq!(part.trackers[3].config, TrackerConfig::Process);
        assert_eq!(part.trackers[0].config, TrackerConfig::Script { init_fail: true });
        let id = |name: &TrackerName| {
            let place = part.trackers.iter().position(|tracker| tracker.name == *name)?;
            Some(TrackerId(u32::try_from(place).ok()?))
        };
        let uses = |number: usize| {
            let uses = part.instances[number].trackers(id);
            uses.into_iter().map(|it| (it.tracker.0, it.weight, it.reverse)).collect::<Vec<_>>()
        };
        assert_eq!(uses(0), [(0, 5, true), (1, 2, true), (2, 7, false), (3, 9, true)]);
        assert_eq!(uses(1), [(0, -4, false), (1, 3, false), (2, 1, true), (3, 8, false)]);
    }

    #[test]
    fn what_only_a_group_tracks_is_watched_for_it() {
        let part = part(
            "vrrp_script s {\nscript /bin/true\nweight 5\n}\nvrrp_script unused {\nscript /bin/true\n}\n\
             track_file f {\nfile /run/f\nweight 2 reverse\n}\n\
             vrrp_track_process p {\nprocess p\nweight 9\n}\n\
             vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n}\n\
             vrrp_instance B {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress { 192.0.2.2 }\n}\n\
             vrrp_sync_group G {\ngroup {\nA\nB\n}\ntrack_script {\ns weight -4 reverse\n}\n\
             track_file {\nf weight 3 noreverse\n}\ntrack_process {\np weight 8 reverse\n}\n}\n",
        );
        let [s, f] = [TrackerName::Script("s".into()), TrackerName::File("f".into())];
        let p = TrackerName::Process("p".into());
        let names: Vec<_> = part.trackers.iter().map(|tracker| &tracker.name).collect();
        assert_eq!(names, [&s, &f, &p]);
        assert!(part.has_runner);
        let id = |name: &TrackerName| names.iter().position(|it| *it == name);
        let uses = part.groups[0].trackers(|name| Some(TrackerId(u32::try_from(id(name)?).ok()?)));
        let uses: Vec<_> = uses.into_iter().map(|it| (it.tracker.0, it.weight, it.reverse)).collect();
        assert_eq!(uses, [(0, -4, true), (1, 3, false), (2, 8, true)]);
    }

    #[test]
    fn links_are_polled_as_the_file_says() {
        let text = "linkbeat_interfaces {\neth2 ETHTOOL\neth0 IOCTL\n}\n\
                    vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nlinkbeat_use_polling\n\
                    virtual_ipaddress { 192.0.2.1 }\n}\n\
                    vrrp_instance B {\ninterface eth1\nvirtual_router_id 2\nvirtual_ipaddress { 192.0.2.2 }\n}\n";
        let polled = |text: &str| part(text).polled.into_iter().collect::<Vec<_>>();
        let (eth0, eth2) = (("eth0".to_owned(), LinkbeatMethod::Flags), ("eth2".to_owned(), LinkbeatMethod::Ethtool));
        assert_eq!(polled(text), [eth0.clone(), eth2.clone()]);
        let eth1 = ("eth1".to_owned(), LinkbeatMethod::Mii);
        assert_eq!(polled(&format!("linkbeat_use_polling\n{text}")), [eth0, eth1, eth2]);
    }

    #[test]
    fn what_names_a_track_group_makes_its_members_track_an_interface() {
        let part = part(
            "track_group G {\ngroup {\nA\n}\n}\ntrack_group H {\ngroup {\nA\nB\n}\n}\n\
             static_ipaddress {\n192.0.2.1/24 dev eth1 track_group G\n192.0.2.2/24 dev eth5\n}\n\
             static_routes {\n10.1.0.0/16 dev eth2 track_group H\n}\nstatic_rules {\niif eth3 table 7 preference 3 track_group G\n}\n\
             vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.7 }\n\
             track_interface {\neth3 weight 5\n}\n}\n\
             vrrp_instance B {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress { 192.0.2.8 }\n}\n",
        );
        let tracked = |number: usize| {
            let tracked = part.instances[number].tracked.iter().map(|it| (it.name.as_str(), it.weight));
            tracked.collect::<Vec<_>>()
        };
        assert_eq!(tracked(0), [("eth3", 5), ("eth1", 0), ("eth2", 0)]);
        assert_eq!(tracked(1), [("eth2", 0)]);
        assert_eq!((part.fixed.addresses.len(), part.fixed.routes.len(), part.fixed.rules.len()), (2, 1, 1));
    }

    #[test]
    fn there_is_a_runner_if_there_are_scripts() {
        let text = "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress { 192.0.2.1 }\n}\n";
        assert!(!part(text).has_runner);
        assert!(part(&text.replace("virtual_router_id", "notify /bin/true\nvirtual_router_id")).has_runner);
    }

    #[test]
    fn the_key_names_what_peers_see() {
        let multicast = instance("virtual_ipaddress { 192.0.2.1 }");
        assert_eq!(multicast.key, "IPv4 51 eth0 224.0.0.18");
        let unicast =
            instance("unicast_src_ip 198.51.100.1\nunicast_peer {\n198.51.100.2\n}\nvirtual_ipaddress { 192.0.2.1 }");
        assert_eq!(unicast.key, "IPv4 51 eth0 unicast 198.51.100.1");
        assert_eq!(unicast.transport, Transport::Unicast { peers: vec![Peer::new([198, 51, 100, 2].into())] });
        let own = instance("mcast_dst_ip 224.0.0.20\nvirtual_ipaddress { 192.0.2.1 }");
        assert_eq!(own.key, "IPv4 51 eth0 224.0.0.20");
        assert_eq!(own.transport, Transport::Multicast { group: [224, 0, 0, 20].into() });
        let ipv6 = instance("virtual_ipaddress { fe80::1 }");
        assert_eq!(ipv6.key, "IPv6 51 eth0 ff02::12");
    }

    #[test]
    fn native_ipv6_needs_no_address() {
        let instance = instance("no_virtual_ipaddress\nnative_ipv6");
        assert_eq!((instance.family(), instance.router.version), (Family::Ipv6, Version::V3));
    }

    #[test]
    fn adverts_travel_on_the_macvlan_unless_told_otherwise() {
        let of = |body: &str| {
            let instance = instance(&format!("{body}\nvirtual_ipaddress {{ 192.0.2.1 }}"));
            (instance.link().map(str::to_owned), instance.advert_interface().map(str::to_owned))
        };
        let pair = |link: &str, adverts: &str| (Some(link.to_owned()), Some(adverts.to_owned()));
        assert_eq!(of(""), pair("eth0", "eth0"));
        assert_eq!(of("use_vmac"), pair("vrrp.51", "vrrp.51"));
        assert_eq!(of("use_vmac\nvmac_xmit_base"), pair("vrrp.51", "eth0"));
        assert_eq!(of("use_vmac vm\nunicast_peer {\n192.0.2.9\n}"), pair("vm", "eth0"));
        assert_eq!(of("use_ipvlan ip0 192.0.2.9/24"), pair("ip0", "ip0"));
    }

    #[test]
    fn the_address_of_an_ipvlan_is_a_source() {
        let source = |body: &str| instance(&format!("{body}\nvirtual_ipaddress {{ 192.0.2.1 }}")).source();
        assert_eq!(source("use_ipvlan 192.0.2.9/24"), Some([192, 0, 2, 9].into()));
        assert_eq!(source("use_ipvlan 192.0.2.9/24\nmcast_src_ip 192.0.2.8"), Some([192, 0, 2, 8].into()));
    }

    #[test]
    fn the_key_stays_when_addresses_and_priority_change() {
        let before = instance("priority 100\nvirtual_ipaddress { 192.0.2.1 }");
        let after = instance("priority 200\nvirtual_ipaddress { 192.0.2.2 }");
        assert_eq!(before.key, after.key);
    }

    #[test]
    fn the_revision_changes_with_anything_about_the_addresses() {
        let revision = |addresses: &str| {
            instance(&format!("virtual_ipaddress {{\n{addresses}\n}}"))
                .router_config(|_, _| LinkId(1))
                .resources_revision
        };
        let base = revision("192.0.2.1/24");
        assert_eq!(base, revision("192.0.2.1/24"));
        for other in ["192.0.2.1/25", "192.0.2.1/24 dev eth1", "192.0.2.1/24 label eth0:1", "192.0.2.1/24 scope link"] {
            assert_ne!(base, revision(other), "{other}");
        }
    }

    #[test]
    fn the_time_to_a_takeover_follows_priority_and_interval() {
        let instance = instance("priority 150\nvirtual_ipaddress { 192.0.2.1 }");
        assert_eq!(instance.active_down_interval(), Duration::from_micros(3_414_062));
    }
}
