//! What VRRP instances take over, and what concerns all of them.

use super::*;

settings! {
/// Defaults of VRRP instances, and settings of the VRRP process.
pub struct VrrpDefaults in "global_defs" {
    /// `vrrp_strict`: default of `strict_mode`.
    strict: bool as "vrrp_strict",
    /// `vrrp_vip_lease`: the kernel withdraws virtual addresses so long after they were renewed last, 2 to 86400 s.
    vip_lease: Option<Duration> as "vrrp_vip_lease",
    /// `vrrp_min_garp`: what the `vrrp_garp_*` values are where they are not written; `garp` holds them.
    min_garp: bool as "vrrp_min_garp",
    /// The `vrrp_garp_*` settings, every default filled in.
    garp: Garp,
    /// `vrrp_garp_extra_if`: default of `garp_extra_if`.
    garp_extra_if: Option<GarpExtraIf> as "vrrp_garp_extra_if",
    /// `vrrp_down_timer_adverts`: default of `down_timer_adverts`, 1 to 100; default 3.
    down_timer_adverts: u8 as "vrrp_down_timer_adverts",
    /// `vrrp_skip_check_adv_addr`: default of `skip_check_adv_addr`.
    skip_check_adv_addr: bool as "vrrp_skip_check_adv_addr",
    /// `vrrp_check_unicast_src`: default of `check_unicast_src`.
    check_unicast_src: bool as "vrrp_check_unicast_src",
    /// `vrrp_lower_prio_no_advert`: default of `lower_prio_no_advert`; without it, whatever strict mode says.
    lower_prio_no_advert: Option<bool> as "vrrp_lower_prio_no_advert",
    /// `vrrp_higher_prio_send_advert`: default of `higher_prio_send_advert`.
    higher_prio_send_advert: bool as "vrrp_higher_prio_send_advert",
    /// `vrrp_owner_ignore_adverts`: default of `owner_ignore_adverts`.
    owner_ignore_adverts: bool as "vrrp_owner_ignore_adverts",
    /// `vrrp_notify_priority_changes`: default of `notify_priority_changes`.
    notify_priority_changes: bool as "vrrp_notify_priority_changes",
    /// `v3_checksum_as_v2`: default of the keyword of the same name in instances.
    v3_checksum_as_v2: bool as "v3_checksum_as_v2",
    /// `vrrp_startup_delay`: 1 ms to 4294.967295 s after the start of the daemon; default 0.
    startup_delay: Duration as "vrrp_startup_delay" via show_unless_zero,
    /// `vrrp_delay_after_boot`: 1 ms to 4294.967295 s of uptime; default 0. The longer of the two delays counts.
    delay_after_boot: Duration as "vrrp_delay_after_boot" via show_unless_zero,
    /// `log_unknown_vrids`: adverts for other virtual routers are logged.
    log_unknown_vrids: bool as "log_unknown_vrids",
    /// `default_interface`: of static addresses that name none; default `eth0`.
    default_interface: String as "default_interface",
    /// `disable_local_igmp`: the kernel sends no IGMP reports for link-local groups.
    disable_local_igmp: bool as "disable_local_igmp",
    /// `vmac_prefix`: start of the names of VMAC interfaces; default `vrrp`.
    vmac_prefix: String as "vmac_prefix",
    /// `vmac_addr_prefix`: as `vmac_prefix`, for VMACs that only hold addresses; default `vmac_prefix`.
    vmac_addr_prefix: String as "vmac_addr_prefix",
    /// `vrrp_rx_bufs_policy`: receive buffers of the VRRP sockets.
    rx_bufs_policy: RxBufsPolicy as "vrrp_rx_bufs_policy",
    /// `vrrp_rx_bufs_multiplier`: packets of room for each instance, 1 to 4294967295; default 3.
    rx_bufs_multiplier: u32 as "vrrp_rx_bufs_multiplier",
    /// `iproute_usr_dir`: the vendor's tables of names of iproute2.
    iproute_usr_dir: Option<String> as "iproute_usr_dir",
    /// `iproute_etc_dir`: the tables of names of this machine; default `/etc/iproute2`.
    iproute_etc_dir: Option<String> as "iproute_etc_dir",
}}

/// The `vrrp_garp_*` lines; they come after `vrrp_min_garp`, which would change values that are the default.
pub(super) fn show_garp(garp: &Garp, places: &Places, out: &mut Vec<Setting>) {
    let slot = |keyword| Slot::new("global_defs", keyword, places);
    garp.delay.show(slot("vrrp_garp_master_delay"), out);
    garp.repeat.show(slot("vrrp_garp_master_repeat"), out);
    garp.refresh.show(slot("vrrp_garp_master_refresh"), out);
    Some(garp.refresh_repeat).filter(|repeat| *repeat != 0).show(slot("vrrp_garp_master_refresh_repeat"), out);
    garp.lower_prio_delay.show(slot("vrrp_garp_lower_prio_delay"), out);
    garp.lower_prio_repeat.show(slot("vrrp_garp_lower_prio_repeat"), out);
}

config_type! {
/// `garp_extra_if`: gratuitous ARP and unsolicited NA on interfaces other than the instance's own.
#[derive(Copy)]
pub struct GarpExtraIf {
    /// From one to the next, 1 to 86400 s.
    pub interval: Duration,
    /// `all`: on every interface that holds an address, not on VMACs only.
    pub all: bool,
}}

impl Show for GarpExtraIf {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        let all = self.all.then(|| Scalar::Text("all".to_owned()));
        out.push(slot.line(all.into_iter().chain([self.interval.word(slot.row)]).collect()));
    }
}

config_type! {
/// How large the receive buffers of VRRP sockets are.
#[derive(Copy)]
pub enum RxBufsPolicy {
    /// As the system makes them.
    System,
    /// `MTU`: the MTU of the interface times the multiplier, for each instance.
    Mtu,
    /// `ADVERT`: the length of an advert times the multiplier, for each instance.
    Advert,
    /// This many bytes.
    Bytes(u32),
}}

table_default! {
    RxBufsPolicy => |_row| Some(Self::System), else Self::System;
}

impl Show for RxBufsPolicy {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(match self {
            Self::System => slot.absent(),
            Self::Mtu => slot.line(vec![Scalar::Text("MTU".to_owned())]),
            Self::Advert => slot.line(vec![Scalar::Text("ADVERT".to_owned())]),
            Self::Bytes(bytes) => slot.line(vec![Scalar::Integer((*bytes).into())]),
        });
    }
}
