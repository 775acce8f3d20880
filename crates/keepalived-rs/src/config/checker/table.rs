//! Settings of IPVS as a whole.

use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use conf_parser::config::{Config, FlushOnStop};
use conf_parser::{Span, Spanned};
use ipvs_control::types::{InterfaceName, NameError, Seconds, SyncDaemon, SyncRole, Timeouts};
use serde::{Deserialize, Serialize};

use crate::config::vrrp::VrrpPart;
use crate::workers::vrrp::facts;

/// What holds for every virtual server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct TablePart {
    /// `lvs_timeouts`: times that are not given are 0 and stay as they are.
    pub(crate) timeouts: Timeouts,
    /// `lvs_flush`: the start empties the table, whoever filled it.
    pub(crate) flush: bool,
    /// `lvs_flush_on_stop` without `VS`: so does the stop.
    pub(crate) flush_on_stop: bool,
    /// `lvs_sync_daemon`
    pub(crate) sync_daemon: Option<SyncPart>,
}

impl TablePart {
    /// What `config` says about IPVS as a whole.
    pub(crate) fn from_config(config: &Config) -> Self {
        let lvs = &config.global.lvs;
        Self {
            timeouts: Timeouts {
                tcp: seconds(lvs.timeouts.tcp),
                tcp_fin: seconds(lvs.timeouts.tcpfin),
                udp: seconds(lvs.timeouts.udp),
            },
            flush: lvs.flush,
            flush_on_stop: lvs.flush_on_stop == FlushOnStop::All,
            sync_daemon: SyncPart::from_config(config),
        }
    }
}

/// 0 leaves a time as it is.
fn seconds(time: Option<Duration>) -> Seconds {
    Seconds(time.map_or(0, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX)))
}

/// The sync daemons: both, or the one that goes with the role of a VRRP instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SyncPart {
    /// Where they send and listen, up to 15 octets.
    interface: String,
    /// The key of the fact that says which role the instance has; both daemons run without one.
    pub(crate) router: Option<String>,
    id: u8,
    max_length: Option<NonZeroU16>,
    port: Option<NonZeroU16>,
    ttl: Option<NonZeroU8>,
    group: Option<IpAddr>,
    /// Where it was written.
    pub(crate) span: Span,
}

impl SyncPart {
    /// `lvs_sync_daemon`, or else the `lvs_sync_daemon_interface` of an instance.
    fn from_config(config: &Config) -> Option<Self> {
        let instance = |name: &str| config.vrrp_instances.iter().find(|instance| instance.name.as_str() == name);
        if let Some(daemon) = &config.global.lvs.sync_daemon {
            let followed = daemon.instance.as_ref().and_then(|name| instance(name));
            return Some(Self {
                router: followed.and_then(|instance| router(config, &instance.name)),
                id: daemon.id.or(followed.map(|instance| instance.virtual_router_id.0.get())).unwrap_or_default(),
                max_length: daemon.max_len.and_then(NonZeroU16::new),
                port: daemon.port.and_then(NonZeroU16::new),
                ttl: daemon.ttl.and_then(NonZeroU8::new),
                group: daemon.group,
                ..Self::on(&daemon.interface)
            });
        }
        let mut named = config.vrrp_instances.iter();
        named.find_map(|instance| {
            let interface = instance.lvs_sync_daemon_interface.as_ref()?;
            let (router, id) = (router(config, &instance.name), instance.virtual_router_id.0.get());
            Some(Self { router, id, ..Self::on(interface) })
        })
    }

    fn on(interface: &Spanned<String>) -> Self {
        Self {
            interface: interface.value.clone(),
            router: None,
            id: 0,
            max_length: None,
            port: None,
            ttl: None,
            group: None,
            span: interface.span,
        }
    }

    /// The daemon of this role.
    ///
    /// # Errors
    /// When the kernel cannot hold the name of the interface.
    pub(crate) fn daemon(&self, role: SyncRole) -> Result<SyncDaemon, NameError> {
        Ok(SyncDaemon {
            sync_id: self.id,
            max_length: self.max_length,
            port: self.port.unwrap_or(SyncDaemon::PORT),
            ttl: self.ttl.unwrap_or(SyncDaemon::TTL),
            group: self.group.unwrap_or(SyncDaemon::GROUP),
            ..SyncDaemon::new(role, InterfaceName::new(&self.interface)?)
        })
    }
}

/// The key of the fact that tells the role of the instance `name`.
fn router(config: &Config, name: &str) -> Option<String> {
    let instances = VrrpPart::from_config(config).instances;
    let instance = instances.into_iter().find(|instance| instance.name == name)?;
    Some(facts::router_key(&instance.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checker::tests::config;

    fn table(text: &str) -> TablePart {
        TablePart::from_config(&config(text))
    }

    #[test]
    fn times_and_flushes_are_taken_over() {
        let part = table("global_defs {\n lvs_timeouts tcp 300 udp 5\n lvs_flush\n lvs_flush_on_stop\n}\n");
        let timeouts = Timeouts { tcp: Seconds(300), tcp_fin: Seconds(0), udp: Seconds(5) };
        assert_eq!(part, TablePart { timeouts, flush: true, flush_on_stop: true, sync_daemon: None });
        assert!(!table("global_defs {\n lvs_flush_on_stop VS\n}\n").flush_on_stop);
        assert_eq!(table(""), TablePart::default());
    }

    #[test]
    fn without_an_instance_the_kernel_chooses_what_is_not_given() {
        let sync = table("global_defs {\n lvs_sync_daemon eth1\n}\n").sync_daemon.unwrap();
        assert_eq!(sync.router, None);
        let eth1 = InterfaceName::new("eth1").unwrap();
        assert_eq!(sync.daemon(SyncRole::Backup).unwrap(), SyncDaemon::new(SyncRole::Backup, eth1));
        let words = "id 7 maxlen 1200 port 9000 ttl 3 group ff02::51";
        let sync = table(&format!("global_defs {{\n lvs_sync_daemon eth1 {words}\n}}\n")).sync_daemon.unwrap();
        let expected = SyncDaemon {
            sync_id: 7,
            max_length: NonZeroU16::new(1200),
            group: "ff02::51".parse().unwrap(),
            port: NonZeroU16::new(9000).unwrap(),
            ttl: NonZeroU8::new(3).unwrap(),
            ..SyncDaemon::new(SyncRole::Master, eth1)
        };
        assert_eq!(sync.daemon(SyncRole::Master).unwrap(), expected);
    }

    #[test]
    fn with_an_instance_its_number_is_the_id() {
        let instance =
            "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n";
        let sync = table(&format!("global_defs {{\n lvs_sync_daemon eth1 V\n}}\n{instance}")).sync_daemon.unwrap();
        assert_eq!(sync.daemon(SyncRole::Master).unwrap().sync_id, 51);
        let router = sync.router.unwrap();
        assert!(router.starts_with("router ") && router.contains("eth0"), "{router}");
        let own = format!("global_defs {{\n lvs_sync_daemon eth1 V id 0\n}}\n{instance}");
        assert_eq!(table(&own).sync_daemon.unwrap().daemon(SyncRole::Master).unwrap().sync_id, 0);
    }

    #[test]
    fn an_instance_may_name_the_interface() {
        // The word is an old one, of which there is a warning.
        let text = "vrrp_instance V {\n interface eth0\n virtual_router_id 52\n lvs_sync_daemon_interface eth1\n \
                    virtual_ipaddress {\n 192.0.2.1\n }\n}\n";
        let loader = conf_parser::MemoryLoader::new([("k.conf", text)]);
        let parsed = conf_parser::parse(&loader, std::path::Path::new("k.conf"), &conf_parser::Options::default());
        let sync = TablePart::from_config(&parsed.config).sync_daemon.unwrap();
        let daemon = sync.daemon(SyncRole::Master).unwrap();
        assert_eq!((daemon.interface.as_str(), daemon.sync_id), ("eth1", 52));
        assert!(sync.router.is_some());
    }
}
