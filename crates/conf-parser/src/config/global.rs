//! `global_defs`.

mod fifo;
mod firewall;
mod lvs;
mod mail;
mod monitoring;
mod process;
mod reload;
mod script;
mod vrrp;

use super::*;

pub use fifo::*;
pub use firewall::*;
pub use lvs::*;
pub use mail::*;
pub use monitoring::*;
pub use process::*;
pub use reload::*;
pub use script::*;
pub use vrrp::*;

/// Path of the block.
const GLOBAL_DEFS: &str = "global_defs";

settings! {
/// `global_defs`, and the settings of the top level.
pub struct GlobalDefs {
    /// `router_id`; the host name where absent.
    router_id: Option<String> as "router_id",
    /// `notification_email`: who gets mail.
    notification_email: Vec<Spanned<String>> as "notification_email" via mail::show_recipients,
    /// `notification_email_from`.
    notification_email_from: Option<String> as "notification_email_from",
    /// The `smtp_*` settings.
    <flatten> smtp: Smtp,
    /// Names, priorities and limits of the processes.
    <flatten> processes: Processes,
    /// `max_auto_priority`: highest real-time priority that lateness may lead to, -1 to 99; `None` = never raise.
    max_auto_priority: Option<i8> as "max_auto_priority",
    /// `child_wait_time`: how long a stop waits for the children; default 5 s.
    child_wait_time: Duration,
    /// `script_user`: whom scripts run as where they name nobody.
    script_user: Option<Spanned<ScriptUser>> as "script_user",
    /// `enable_script_security`: scripts of root that others may change are refused.
    enable_script_security: bool as "enable_script_security",
    /// Scripts of the daemon itself, and how scripts are run.
    <flatten> scripts: ScriptSettings,
    /// `dynamic_interfaces`: interfaces may be missing at the start, and come and go.
    dynamic_interfaces: bool,
    /// `dynamic_interfaces allow_if_changes`: interfaces may come back with another type or parent.
    allow_interface_changes: bool,
    /// `vrrp_mcast_group4`: where adverts of IPv4 instances go; default 224.0.0.18.
    vrrp_mcast_group4: Ipv4Addr as "vrrp_mcast_group4",
    /// `vrrp_mcast_group6`: where adverts of IPv6 instances go; default ff02::12.
    vrrp_mcast_group6: Ipv6Addr as "vrrp_mcast_group6",
    /// `vrrp_version`: for IPv4 instances without `version`; default 2.
    vrrp_version: VrrpVersion as "vrrp_version",
    /// `vrrp_garp_interval`: least time between two gratuitous ARP frames on one link; default 0.
    vrrp_garp_interval: Duration as "vrrp_garp_interval" via show_unless_zero,
    /// `vrrp_gna_interval`: least time between two unsolicited neighbour advertisements on one link; default 0.
    vrrp_gna_interval: Duration as "vrrp_gna_interval" via show_unless_zero,
    /// Defaults of VRRP instances, and settings of the VRRP process.
    <flatten> vrrp: VrrpDefaults,
    /// Packet filters.
    <flatten> firewall: Firewall,
    /// Settings of IPVS, and defaults of virtual servers.
    <flatten> lvs: LvsDefaults,
    /// Named pipes that get events.
    <flatten> fifos: NotifyFifos,
    /// SNMP, D-Bus and dump files.
    <flatten> monitoring: Monitoring,
    /// How the configuration is read, kept and read again.
    <flatten> reload: ReloadSettings,
    /// Where the keywords were written.
    places: Places,
}}

impl Default for GlobalDefs {
    fn default() -> Self {
        static DEFAULT: OnceLock<GlobalDefs> = OnceLock::new();
        once(&DEFAULT, || Self {
            router_id: None,
            notification_email: Vec::new(),
            notification_email_from: None,
            smtp: Smtp::default(),
            processes: Processes::default(),
            max_auto_priority: Some(default(GLOBAL_DEFS, "max_auto_priority")).filter(|priority| *priority != 0),
            child_wait_time: default("", "child_wait_time"),
            script_user: None,
            enable_script_security: default(GLOBAL_DEFS, "enable_script_security"),
            scripts: ScriptSettings::default(),
            dynamic_interfaces: default(GLOBAL_DEFS, "dynamic_interfaces"),
            allow_interface_changes: false,
            vrrp_mcast_group4: default(GLOBAL_DEFS, "vrrp_mcast_group4"),
            vrrp_mcast_group6: default(GLOBAL_DEFS, "vrrp_mcast_group6"),
            vrrp_version: default(GLOBAL_DEFS, "vrrp_version"),
            vrrp_garp_interval: default(GLOBAL_DEFS, "vrrp_garp_interval"),
            vrrp_gna_interval: default(GLOBAL_DEFS, "vrrp_gna_interval"),
            vrrp: VrrpDefaults::default(),
            firewall: Firewall::default(),
            lvs: LvsDefaults::default(),
            fifos: NotifyFifos::default(),
            monitoring: Monitoring::default(),
            reload: ReloadSettings::default(),
            places: Places::default(),
        })
    }
}

impl Block for GlobalDefs {
    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        self.lines("global_defs", &self.places, &mut out);
        vrrp::show_garp(&self.vrrp.garp, &self.places, &mut out);
        let slot = Slot::new("global_defs", "dynamic_interfaces", &self.places);
        out.push(match (self.dynamic_interfaces, self.allow_interface_changes) {
            (false, _) => slot.absent(),
            (true, false) => slot.line(Vec::new()),
            (true, true) => slot.line(vec![Scalar::Text("allow_if_changes".to_owned())]),
        });
        out
    }
}

impl GlobalDefs {
    /// The scripts that the daemon itself runs, and those that read its pipes.
    pub fn own_scripts(&self) -> impl Iterator<Item = &Spanned<Script>> {
        let readers = self.fifos.iter().filter_map(|(_, fifo)| fifo.script.as_ref());
        self.scripts.startup.iter().chain(&self.scripts.shutdown).chain(readers)
    }
}

/// A time whose default, zero, cannot be written.
pub(super) fn show_unless_zero(time: &Duration, slot: Slot, out: &mut Vec<Setting>) {
    Some(*time).filter(|time| !time.is_zero()).show(slot, out);
}
