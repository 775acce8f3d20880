//! `global_defs`.

use super::*;

settings! {
/// `global_defs`, and the settings of the top level.
pub struct GlobalDefs {
    /// `router_id`; the host name where absent.
    router_id: Option<String> as "router_id",
    /// `notification_email`: who gets mail.
    notification_email: Vec<Spanned<String>> as "notification_email" via show_recipients,
    /// `notification_email_from`.
    notification_email_from: Option<String> as "notification_email_from",
    /// The `smtp_*` settings.
    <flatten> smtp: Smtp,
    /// `script_user`: whom scripts run as where they name nobody.
    script_user: Option<Spanned<ScriptUser>> as "script_user",
    /// `enable_script_security`: scripts of root that others may change are refused.
    enable_script_security: bool as "enable_script_security",
    /// `dynamic_interfaces`: interfaces may be missing at the start, and come and go.
    dynamic_interfaces: bool as "dynamic_interfaces",
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
    /// `vrrp_strict`: for instances without `strict_mode`.
    vrrp_strict: bool as "vrrp_strict",
    /// `vrrp_check_unicast_src`: for every instance.
    vrrp_check_unicast_src: bool as "vrrp_check_unicast_src",
    /// `vrrp_owner_ignore_adverts`: for instances without `owner_ignore_adverts`.
    vrrp_owner_ignore_adverts: bool as "vrrp_owner_ignore_adverts",
    /// `vrrp_notify_priority_changes`: for instances and groups without `notify_priority_changes`.
    vrrp_notify_priority_changes: bool as "vrrp_notify_priority_changes",
    /// `vrrp_garp_extra_if`: for instances without `garp_extra_if`.
    vrrp_garp_extra_if: GarpExtraIf as "vrrp_garp_extra_if" via show_extra_unless_zero,
    /// `v3_checksum_as_v2`: for instances without one.
    v3_checksum_as_v2: bool as "v3_checksum_as_v2",
    /// `default_interface`: of static addresses without `dev`; default eth0.
    default_interface: String as "default_interface",
    /// `child_wait_time`: how long a stop waits for the children; default 5 s.
    child_wait_time: Duration,
    /// `max_auto_priority`: highest real-time priority that lateness may lead to, -1 to 99; `None` = never raise.
    max_auto_priority: Option<i8> as "max_auto_priority",
    /// Where the keywords were written.
    places: Places,
}}

impl Default for GlobalDefs {
    fn default() -> Self {
        Self {
            router_id: None,
            notification_email: Vec::new(),
            notification_email_from: None,
            smtp: Smtp::default(),
            script_user: None,
            enable_script_security: false,
            dynamic_interfaces: false,
            vrrp_mcast_group4: Ipv4Addr::new(224, 0, 0, 18),
            vrrp_mcast_group6: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
            vrrp_version: VrrpVersion::V2,
            vrrp_garp_interval: Duration::ZERO,
            vrrp_gna_interval: Duration::ZERO,
            vrrp_strict: false,
            vrrp_check_unicast_src: false,
            vrrp_owner_ignore_adverts: false,
            vrrp_notify_priority_changes: false,
            vrrp_garp_extra_if: GarpExtraIf::default(),
            v3_checksum_as_v2: false,
            default_interface: "eth0".to_owned(),
            child_wait_time: Duration::from_secs(5),
            max_auto_priority: None,
            places: Places::default(),
        }
    }
}

settings! {
/// The `smtp_*` settings of `global_defs`.
pub struct Smtp {
    /// `smtp_server`: where mail goes.
    server: Option<SmtpServer> as "smtp_server",
    /// `smtp_helo_name`; the host name where absent.
    helo_name: Option<String> as "smtp_helo_name",
    /// `smtp_connect_timeout`; default 30 s.
    connect_timeout: Duration as "smtp_connect_timeout",
    /// `smtp_alert`: for every object that says nothing itself.
    alert: Option<bool> as "smtp_alert",
    /// `smtp_alert_vrrp`.
    alert_vrrp: Option<bool> as "smtp_alert_vrrp",
    /// `smtp_alert_checker`.
    alert_checker: Option<bool> as "smtp_alert_checker",
    /// `no_email_faults`: none for a change to FAULT.
    no_email_faults: bool as "no_email_faults",
}}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            server: None,
            helo_name: None,
            connect_timeout: Duration::from_secs(30),
            alert: None,
            alert_vrrp: None,
            alert_checker: None,
            no_email_faults: false,
        }
    }
}

config_type! {
/// `smtp_server`.
pub struct SmtpServer {
    /// Host name or address.
    pub host: String,
    /// Port; default 25.
    pub port: u16,
}}

impl Show for SmtpServer {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(slot.line(vec![Scalar::Text(self.host.clone()), Scalar::Integer(self.port.into())]));
    }
}

impl Block for GlobalDefs {
    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        self.lines("global_defs", &self.places, &mut out);
        out
    }
}

fn show_recipients(recipients: &[Spanned<String>], slot: Slot, out: &mut Vec<Setting>) {
    show_list(recipients, slot, out, |one| Setting::entry(vec![Scalar::Text(one.value.clone())], one.span));
}

fn show_extra_unless_zero(extra: &GarpExtraIf, slot: Slot, out: &mut Vec<Setting>) {
    Some(*extra).filter(|extra| !extra.interval.is_zero()).show(slot, out);
}

/// A time whose default, zero, cannot be written.
pub(super) fn show_unless_zero(time: &Duration, slot: Slot, out: &mut Vec<Setting>) {
    Some(*time).filter(|time| !time.is_zero()).show(slot, out);
}
