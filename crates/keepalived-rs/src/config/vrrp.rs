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

use crate::config::network::{self, HeldRoute};
use crate::config::runner::RunnerPart;
use crate::config::virtual_link::{Home, Kind, VirtualLink, VirtualLinks};
use crate::ipc::TrackerName;

/// Everything the vrrp worker is told by a configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VrrpPart {
    /// `vrrp_garp_interval`: between two gratuitous ARP frames on one link; zero leaves it to the worker.
    pub(crate) garp_interval: Duration,
    /// `vrrp_gna_interval`: the same for unsolicited neighbour advertisements.
    pub(crate) gna_interval: Duration,
    /// `vrrp_startup_delay`: nothing is heard or said so long after the start of the daemon.
    pub(crate) startup_delay: Duration,
    /// `vrrp_delay_after_boot`: nor so long after the boot of the host.
    pub(crate) delay_after_boot: Duration,
    /// Whether any script is configured, and so a runner that takes notifications.
    pub(crate) has_runner: bool,
    /// What the runner watches for the instances, in the order of the file.
    pub(crate) trackers: Vec<Tracker>,
    /// The `vrrp_instance` blocks, in the order of the file.
    pub(crate) instances: Vec<Instance>,
    /// The `vrrp_sync_group` blocks, in the order of the file.
    pub(crate) groups: Vec<Group>,
    /// The macvlans and ipvlans that the instances need, by name.
    pub(crate) virtual_links: BTreeMap<String, VirtualLink>,
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

/// A script or a file that somebody tracks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tracker {
    /// Its name.
    pub(crate) name: TrackerName,
    /// Of what sort it is.
    pub(crate) config: TrackerConfig,
}

/// A line of `track_script` or `track_file`.
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
    /// The macvlan or ipvlan that it runs on in place of `interface`.
    pub(crate) virtual_link: Option<String>,
    /// Its adverts travel on `interface` all the same.
    xmit_base: bool,
    /// `promote_secondaries`: of its interface; a macvlan has it anyway.
    pub(crate) promote_secondaries: bool,
    /// `track_interface`.
    pub(crate) tracked: Vec<TrackedInterface>,
    /// `track_script`, then `track_file`.
    uses: Vec<Use>,
    /// Where its adverts go.
    pub(crate) transport: Transport,
    /// How it behaves; its links are left open, see [`router_config`](Self::router_config).
    router: RouterConfig,
    /// `authentication` or `auth_hmac`.
    proof: Option<Proof>,
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
    pub(crate) addresses: Vec<VirtualAddress>,
    /// `virtual_routes`.
    pub(crate) routes: Vec<HeldRoute>,
    /// `virtual_rules`.
    pub(crate) rules: Vec<vip_netlink::Rule>,
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
        /// In the order of the file.
        peers: Vec<Peer>,
    },
}

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
}

/// Where addresses go whose line and instance name no interface (`default_interface`).
const DEFAULT_INTERFACE: &str = "eth0";

impl VrrpPart {
    /// What the worker needs of `config`.
    pub(crate) fn from_config(config: &Config) -> Self {
        let mut links = VirtualLinks::new(config);
        let instances = config.vrrp_instances.iter();
        let instances = instances.map(|instance| Instance::from_config(instance, &config.global, &mut links)).collect();
        Self {
            garp_interval: config.global.vrrp_garp_interval,
            gna_interval: config.global.vrrp_gna_interval,
            startup_delay: config.global.vrrp.startup_delay,
            delay_after_boot: config.global.vrrp.delay_after_boot,
            has_runner: RunnerPart::from_config(config).has_work(),
            trackers: trackers(config),
            instances,
            groups: config.sync_groups.iter().map(Group::from_config).collect(),
            virtual_links: links.into_links(),
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
            tracking_weight: group.sync_group_tracking_weight,
        }
    }

    /// What holds for its `members`, with `link` numbering the interfaces.
    pub(crate) fn group_config(&self, members: Vec<RouterId>, link: impl FnMut(&str) -> LinkId) -> GroupConfig {
        let mut group = GroupConfig::new(members);
        group.tracked_links = tracked_links(&self.tracked, link);
        group.tracking_weight = self.tracking_weight;
        group
    }
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
        let device = interface.as_deref().unwrap_or(DEFAULT_INTERFACE);
        let virtual_link = links.of_instance(instance);
        let own = virtual_link.as_deref().filter(|_| instance.vmac.is_some());
        let home = Home { instance, interface: device, own };
        let addresses: Vec<VirtualAddress> = instance
            .virtual_addresses
            .iter()
            .chain(&instance.excluded_addresses)
            .map(|address| VirtualAddress::from_config(address, links.of_address(home, address)))
            .collect();
        // A name that stands for nothing here costs its line.
        let routes: Vec<_> =
            instance.virtual_routes.iter().filter_map(|route| HeldRoute::from_config(&route.value)).collect();
        let rules: Vec<_> = instance.virtual_rules.iter().filter_map(|rule| network::rule(&rule.value)).collect();
        Self {
            name: instance.name.value.clone(),
            key: key(instance, &transport),
            xmit_base: instance.vmac_xmit_base,
            promote_secondaries: instance.promote_secondaries,
            tracked: tracked_interfaces(&instance.tracking),
            uses: uses(&instance.tracking),
            router: router(instance, family, revision(&(&addresses, &routes, &rules))),
            proof: proof(instance),
            skip_check_adv_addr: instance.skip_check_adv_addr,
            check_unicast_src: instance.check_unicast_src,
            owner_ignore_adverts: instance.owner_ignore_adverts,
            v3_checksum_as_v2: instance.v3_checksum_as_v2,
            old_checksum: (old_checksum(instance.old_unicast_checksum), global.vrrp_mcast_group4),
            interface,
            virtual_link,
            transport,
            addresses,
            routes,
            rules,
        }
    }

    /// How the instance behaves, with `link` numbering the interfaces. What the runner watches
    /// for it is left out, see [`trackers`](Self::trackers).
    pub(crate) fn router_config(&self, mut link: impl FnMut(&str) -> LinkId) -> RouterConfig {
        let mut router = self.router.clone();
        router.link = self.link().map(&mut link);
        router.partners = match &self.transport {
            Transport::Multicast { .. } => Partners::Multicast,
            Transport::Unicast { .. } => Partners::Unicast,
        };
        router.tracked_links = tracked_links(&self.tracked, link);
        router
    }

    /// The interface that it runs on: its macvlan or ipvlan if it has one.
    pub(crate) fn link(&self) -> Option<&str> {
        self.virtual_link.as_deref().or(self.interface.as_deref())
    }

    /// The interface that its adverts travel on.
    pub(crate) fn advert_interface(&self) -> Option<&str> {
        self.virtual_link.as_deref().filter(|_| !self.xmit_base).or(self.interface.as_deref())
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

    /// Every interface that it names; some more than once.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &str> {
        let devices = self.addresses.iter().map(|address| address.device.as_str());
        self.interface.as_deref().into_iter().chain(self.tracked.iter().map(|it| it.name.as_str())).chain(devices)
    }
}

impl VirtualAddress {
    fn from_config(address: &file::VirtualAddress, device: String) -> Self {
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
        }
    }
}

/// What of scripts and files `tracking` names.
fn uses(tracking: &file::Tracking) -> Vec<Use> {
    let made = |tracked: &file::Tracked, name: fn(String) -> TrackerName| Use {
        tracker: name(tracked.name.value.clone()),
        weight: tracked.weight.value.value,
        reverse: tracked.weight.value.reverse,
    };
    let scripts = tracking.scripts.iter().map(|tracked| made(tracked, TrackerName::Script));
    scripts.chain(tracking.files.iter().map(|tracked| made(tracked, TrackerName::File))).collect()
}

/// The same for the engine, with `id` numbering what is tracked.
pub(crate) fn tracker_uses(uses: &[Use], mut id: impl FnMut(&TrackerName) -> Option<TrackerId>) -> Vec<TrackerUse> {
    let made = |it: &Use| Some(TrackerUse { tracker: id(&it.tracker)?, weight: it.weight, reverse: it.reverse });
    uses.iter().filter_map(made).collect()
}

/// What the runner watches.
fn trackers(config: &Config) -> Vec<Tracker> {
    let tracked: BTreeSet<_> =
        config.vrrp_instances.iter().flat_map(|instance| uses(&instance.tracking)).map(|it| it.tracker).collect();
    let scripts = config.vrrp_scripts.iter().map(|script| Tracker {
        name: TrackerName::Script(script.name.value.clone()),
        config: TrackerConfig::Script { init_fail: script.init_fail },
    });
    let files = config
        .track_files
        .iter()
        .map(|file| Tracker { name: TrackerName::File(file.name.value.clone()), config: TrackerConfig::File });
    scripts.chain(files).filter(|tracker| tracked.contains(&tracker.name)).collect()
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
    if !instance.unicast_peers.is_empty() {
        return Transport::Unicast { peers: instance.unicast_peers.iter().map(peer).collect() };
    }
    let default = match instance.family {
        file::Family::Ipv4 => global.vrrp_mcast_group4.into(),
        file::Family::Ipv6 => global.vrrp_mcast_group6.into(),
    };
    Transport::Multicast { group: instance.multicast_group.unwrap_or(default) }
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
    let interface = instance.interface.as_ref().map_or("", |name| name.value.as_str());
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
        let loader = MemoryLoader::new([("k.conf", text)]);
        let parsed = conf_parser::parse(&loader, Path::new("k.conf"), &Options::default());
        assert!(!parsed.refuses_start(), "{:?}", parsed.diagnostics);
        VrrpPart::from_config(&parsed.config)
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
        let router = instance.router_config(|name| LinkId(if name == "eth0" { 7 } else { 8 }));
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
             vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress { 192.0.2.1 }\n\
             track_script {\ns\n}\ntrack_file {\nf\ng\n}\n}\n\
             vrrp_instance B {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress { 192.0.2.2 }\n\
             track_script {\ns weight -4 noreverse\n}\ntrack_file {\nf weight 3 noreverse\ng weight 1 reverse\n}\n}\n",
        );
        let names: Vec<_> = part.trackers.iter().map(|tracker| &tracker.name).collect();
        let [s, f, g] = [TrackerName::Script("s".into()), TrackerName::File("f".into()), TrackerName::File("g".into())];
        assert_eq!(names, [&s, &f, &g]);
        assert_eq!(part.trackers[0].config, TrackerConfig::Script { init_fail: true });
        let id = |name: &TrackerName| {
            let place = part.trackers.iter().position(|tracker| tracker.name == *name)?;
            Some(TrackerId(u32::try_from(place).ok()?))
        };
        let uses = |number: usize| {
            let uses = part.instances[number].trackers(id);
            uses.into_iter().map(|it| (it.tracker.0, it.weight, it.reverse)).collect::<Vec<_>>()
        };
        assert_eq!(uses(0), [(0, 5, true), (1, 2, true), (2, 7, false)]);
        assert_eq!(uses(1), [(0, -4, false), (1, 3, false), (2, 1, true)]);
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
            instance(&format!("virtual_ipaddress {{\n{addresses}\n}}")).router_config(|_| LinkId(1)).resources_revision
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
