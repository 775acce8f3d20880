//! The vrrp worker's part of a configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use conf_parser::config::{self as file, Config};
use serde::{Deserialize, Serialize};
use vrrp_proto::{
    AdvertisementInterval, AnnounceConfig, Authentication, Cast, Family, LinkId, Partners, Password, Peer, Priority,
    RouterConfig, TrackedLink, Version, Vrid, WireConfig,
};

use crate::config::network::{self, HeldRoute};
use crate::config::runner::RunnerPart;

/// Everything the vrrp worker is told by a configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VrrpPart {
    /// `vrrp_garp_interval`: between two gratuitous ARP frames on one link; zero leaves it to the worker.
    pub(crate) garp_interval: Duration,
    /// `vrrp_gna_interval`: the same for unsolicited neighbour advertisements.
    pub(crate) gna_interval: Duration,
    /// Whether any script is configured, and so a runner that takes notifications.
    pub(crate) has_runner: bool,
    /// The `vrrp_instance` blocks, in the order of the file.
    pub(crate) instances: Vec<Instance>,
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
    /// Interfaces whose failure is its own (`track_interface` without weight).
    pub(crate) tracked: Vec<String>,
    /// Where its adverts go.
    pub(crate) transport: Transport,
    /// How it behaves; its links are left open, see [`router_config`](Self::router_config).
    router: RouterConfig,
    /// `auth_type PASS`.
    password: Option<Secret>,
    /// `skip_check_adv_addr`.
    skip_check_adv_addr: bool,
    /// `virtual_ipaddress`, then `virtual_ipaddress_excluded`.
    pub(crate) addresses: Vec<VirtualAddress>,
    /// `virtual_routes`.
    pub(crate) routes: Vec<HeldRoute>,
    /// `virtual_rules`.
    pub(crate) rules: Vec<vip_netlink::Rule>,
}

/// The eight octets of a password, padded with zeros. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Secret([u8; 8]);

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
        peers: Vec<IpAddr>,
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
        Self {
            garp_interval: config.global.vrrp_garp_interval,
            gna_interval: config.global.vrrp_gna_interval,
            has_runner: !RunnerPart::from_config(config).scripts.is_empty(),
            instances: config
                .vrrp_instances
                .iter()
                .map(|instance| Instance::from_config(instance, &config.global))
                .collect(),
        }
    }

    /// Every address that is virtual.
    pub(crate) fn virtual_addresses(&self) -> BTreeSet<IpAddr> {
        let addresses = self.instances.iter().flat_map(|instance| &instance.addresses);
        addresses.map(|address| address.ip).collect()
    }
}

impl Instance {
    fn from_config(instance: &file::VrrpInstance, global: &file::GlobalDefs) -> Self {
        let family = match instance.family {
            file::Family::Ipv4 => Family::Ipv4,
            file::Family::Ipv6 => Family::Ipv6,
        };
        let interface = instance.interface.as_ref().map(|name| name.value.clone());
        let transport = transport(instance, global);
        let device = interface.as_deref().unwrap_or(DEFAULT_INTERFACE);
        let addresses: Vec<VirtualAddress> = instance
            .virtual_addresses
            .iter()
            .chain(&instance.excluded_addresses)
            .map(|address| VirtualAddress::from_config(address, device))
            .collect();
        // A name that stands for nothing here costs its line.
        let routes: Vec<_> =
            instance.virtual_routes.iter().filter_map(|route| HeldRoute::from_config(&route.value)).collect();
        let rules: Vec<_> = instance.virtual_rules.iter().filter_map(|rule| network::rule(&rule.value)).collect();
        Self {
            name: instance.name.value.clone(),
            key: key(instance, &transport),
            tracked: instance.tracking.interfaces.iter().map(|tracked| tracked.name.value.clone()).collect(),
            router: router(instance, family, revision(&(&addresses, &routes, &rules))),
            password: instance.authentication.and_then(password),
            skip_check_adv_addr: instance.skip_check_adv_addr,
            interface,
            transport,
            addresses,
            routes,
            rules,
        }
    }

    /// How the instance behaves, with `link` numbering the interfaces.
    pub(crate) fn router_config(&self, mut link: impl FnMut(&str) -> LinkId) -> RouterConfig {
        let mut router = self.router.clone();
        router.link = self.interface.as_deref().map(&mut link);
        router.partners = match &self.transport {
            Transport::Multicast { .. } => Partners::Multicast,
            Transport::Unicast { .. } => Partners::Unicast,
        };
        router.tracked_links =
            self.tracked.iter().map(|name| TrackedLink { link: link(name), weight: 0, reverse: false }).collect();
        router
    }

    /// What its packets look like.
    pub(crate) fn wire_config(&self) -> WireConfig {
        let mut wire = WireConfig::new(self.router.vrid, self.router.version, self.router.family);
        wire.advertisement_interval = self.router.advertisement_interval;
        wire.addresses.clone_from(&self.router.addresses);
        wire.skip_check_adv_addr = self.skip_check_adv_addr;
        if let Some(password) = &self.password {
            wire.authentication = Authentication::Pass(Password::new(&password.0));
        }
        wire.cast = match &self.transport {
            Transport::Multicast { group } => Cast::Multicast { group: *group },
            Transport::Unicast { peers } => {
                Cast::Unicast { peers: peers.iter().copied().map(Peer::new).collect(), check_source: false }
            }
        };
        wire
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
        self.interface.as_deref().into_iter().chain(self.tracked.iter().map(String::as_str)).chain(devices)
    }
}

impl VirtualAddress {
    fn from_config(address: &file::VirtualAddress, device: &str) -> Self {
        Self {
            ip: address.address.value,
            prefix_len: address.prefix_len,
            device: address.dev.as_ref().map_or(device, |dev| dev.value.as_str()).to_owned(),
            broadcast: address.broadcast,
            // A name is one of which this host knows nothing.
            scope: address.scope.number().unwrap_or(0),
            label: address.label.as_deref().map(str::to_owned),
            peer: address.peer.as_deref().copied(),
            flags: network::address_flags(address),
            preferred: network::preferred(address.preferred_lifetime),
        }
    }
}

/// The password of adverts in clear; the other kind of authentication is not acted on.
fn password(authentication: file::Authentication) -> Option<Secret> {
    match authentication {
        file::Authentication::Pass(password) => Some(Secret(password.0)),
        file::Authentication::Ah(_) => None,
    }
}

fn transport(instance: &file::VrrpInstance, global: &file::GlobalDefs) -> Transport {
    if !instance.unicast_peers.is_empty() {
        return Transport::Unicast { peers: instance.unicast_peers.iter().map(|peer| peer.address.value).collect() };
    }
    let default = match instance.family {
        file::Family::Ipv4 => global.vrrp_mcast_group4.into(),
        file::Family::Ipv6 => global.vrrp_mcast_group6.into(),
    };
    Transport::Multicast { group: instance.multicast_group.unwrap_or(default) }
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
    router.announcements = announcements(&instance.garp);
    router
}

/// The configured source; nothing makes the interface that has the address of `use_ipvlan`.
fn source(instance: &file::VrrpInstance) -> Option<IpAddr> {
    let ipvlan = instance.ipvlan.as_ref().and_then(|ipvlan| ipvlan.address.as_ref());
    instance.source_address.as_ref().filter(|source| ipvlan != Some(source)).map(|source| source.value)
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
        assert_eq!(instance.wire_config().authentication, Authentication::Pass(Password::new(b"secret")));
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
        assert_eq!(unicast.transport, Transport::Unicast { peers: vec![[198, 51, 100, 2].into()] });
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
    fn the_address_of_an_ipvlan_that_nothing_makes_is_no_source() {
        let source = |body: &str| instance(&format!("{body}\nvirtual_ipaddress {{ 192.0.2.1 }}")).source();
        assert_eq!(source("use_ipvlan 192.0.2.9/24"), None);
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
