//! `vrrp_instance`.

mod address;
mod authentication;
mod group;
mod link;

use super::*;

pub use address::*;
pub use authentication::*;
pub use group::*;
pub use link::*;

config_type! {
/// Version of the VRRP protocol.
#[derive(Copy, Hash)]
pub enum VrrpVersion {
    /// VRRPv2 (RFC 3768).
    V2,
    /// VRRPv3 (RFC 9568).
    V3,
}}

impl VrrpVersion {
    /// Each version with its number.
    pub(crate) const WORDS: &[(&str, Self)] = &[("2", Self::V2), ("3", Self::V3)];
}

config_type! {
/// The state that `state` asks for; it is honoured only for priority 255.
#[derive(Copy, Hash)]
pub enum InitialState {
    /// `state MASTER`.
    Master,
    /// `state BACKUP`.
    Backup,
}}

/// Virtual Router Identifier, 1 to 255 (RFC 9568 §5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vrid(pub NonZeroU8);

/// Priority of a virtual router, 1 to 255; 255 owns the addresses (RFC 9568 §5.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(pub NonZeroU8);

impl Priority {
    /// 100, for who says nothing.
    pub const DEFAULT: Self = Self(match NonZeroU8::new(100) {
        Some(value) => value,
        None => NonZeroU8::MIN,
    });
    /// 255: owns the addresses.
    pub const OWNER: Self = Self(NonZeroU8::MAX);
}

settings! {
/// A `vrrp_instance` block.
pub struct VrrpInstance {
    /// The name after `vrrp_instance`.
    name: Spanned<String>,
    /// `state`; without it `Master` for priority 255, else `Backup`.
    state: InitialState as "state",
    /// `interface`; absent only for a unicast instance with a source address.
    interface: Option<Spanned<String>> as "interface",
    /// `vrf`: the VRF of a unicast instance without interface.
    vrf: Option<Spanned<String>> as "vrf",
    /// `use_vmac`: adverts and addresses on a macvlan with the MAC address of the virtual router.
    vmac: Option<Vmac> as "use_vmac",
    /// `use_vmac_addr`: macvlans for addresses on other interfaces and of the other family too.
    use_vmac_addr: bool as "use_vmac_addr",
    /// `vmac_xmit_base`: adverts travel on the interface below the macvlan.
    vmac_xmit_base: bool as "vmac_xmit_base",
    /// `use_ipvlan`: adverts on an ipvlan.
    ipvlan: Option<Ipvlan> as "use_ipvlan",
    /// `virtual_router_id`.
    virtual_router_id: Spanned<Vrid> as "virtual_router_id",
    /// Family of the adverts: that of the first virtual address, of the unicast peers, or `native_ipv6`.
    family: Family as "native_ipv6" via show_native_ipv6,
    /// `priority`; default 100, or 255 for `state MASTER` without a priority.
    priority: Priority as "priority",
    /// `advert_int`: 10 ms to 255 s; whole seconds for VRRPv2, at most 40.95 s in steps of 10 ms for VRRPv3.
    advertisement_interval: Duration as "advert_int",
    /// `version`, else 3 for IPv6, else `vrrp_version`.
    version: VrrpVersion as "version",
    /// `strict_mode`, else `vrrp_strict`. What it changes in other settings is already in them.
    strict_mode: bool as "strict_mode",
    /// `authentication`; only ever set for VRRPv2 over IPv4.
    authentication: Option<Authentication> as "authentication" via show_authentication,
    /// `auth_hmac`: a signature behind the advert.
    auth_hmac: Option<Box<AuthHmac>> as "auth_hmac" via show_auth_hmac,
    /// `v3_checksum_as_v2`: the checksum of VRRPv3 over IPv4 without the pseudo header.
    v3_checksum_as_v2: bool as "v3_checksum_as_v2",
    /// `old_unicast_checksum`.
    old_unicast_checksum: OldChecksum as "old_unicast_checksum",
    /// `virtual_ipaddress`: in adverts, in this order.
    virtual_addresses: Vec<VirtualAddress> as "virtual_ipaddress" via show_addresses,
    /// `virtual_ipaddress_excluded`, and what does not fit into an advert.
    excluded_addresses: Vec<VirtualAddress> as "virtual_ipaddress_excluded" via show_addresses,
    /// `virtual_routes`: held while master.
    virtual_routes: Vec<Spanned<Route>> as "virtual_routes" via route::show_routes,
    /// `virtual_rules`: held while master.
    virtual_rules: Vec<Spanned<Rule>> as "virtual_rules" via rule::show_rules,
    /// `no_virtual_ipaddress`: there may be no address.
    no_virtual_ipaddress: bool as "no_virtual_ipaddress",
    /// `promote_secondaries`: further addresses of a network stay when the first goes.
    promote_secondaries: bool as "promote_secondaries",
    /// Preempt_Mode; `nopreempt` clears it.
    preempt: bool as "nopreempt" via show_inverted,
    /// `preempt_delay`: 0 to 1000 s.
    preempt_delay: Duration as "preempt_delay",
    /// `timer_expired_backup`: after a timer was so late that a router of this priority may have taken over, step down.
    timer_expired_backup: Option<Priority> as "timer_expired_backup",
    /// `accept`, or not `no_accept`: packets to the addresses are taken though they are not this router's own
    /// (RFC 9568 Accept_Mode).
    accept: bool as "accept" via show_accept,
    /// The `garp_*` settings.
    <flatten> garp: Garp,
    /// `garp_extra_if`: refreshes on further interfaces.
    garp_extra_if: Option<GarpExtraIf> as "garp_extra_if",
    /// `skip_check_adv_addr`: the addresses in an advert of the known master are not compared.
    skip_check_adv_addr: bool as "skip_check_adv_addr",
    /// `lower_prio_no_advert`: an advert of lower priority is not answered.
    lower_prio_no_advert: bool as "lower_prio_no_advert",
    /// `higher_prio_send_advert`: one more advert before giving way.
    higher_prio_send_advert: bool as "higher_prio_send_advert",
    /// `owner_ignore_adverts`: at priority 255 the adverts of others do not count.
    owner_ignore_adverts: bool as "owner_ignore_adverts",
    /// `down_timer_adverts`: adverts that may be missed, 1 to 100; default 3.
    down_timer_adverts: u8 as "down_timer_adverts",
    /// `mcast_src_ip` or `unicast_src_ip`, else the address of `use_ipvlan`.
    source_address: Option<Spanned<IpAddr>> as "mcast_src_ip",
    /// `track_src_ip`: FAULT while the host does not have the source address.
    track_src_ip: bool as "track_src_ip",
    /// `mcast_dst_ip`, else `vrrp_mcast_group4` or `vrrp_mcast_group6`; absent for unicast.
    multicast_group: Option<IpAddr> as "mcast_dst_ip",
    /// `unicast_peer`: where adverts go; empty = multicast.
    unicast_peers: Vec<UnicastPeer> as "unicast_peer" via show_peers,
    /// `unicast_fault_no_peer`: FAULT, not multicast, for unicast without peers.
    unicast_fault_no_peer: bool as "unicast_fault_no_peer",
    /// `unicast_ttl`: TTL or hop limit of unicast adverts; 255 for IPv4, else the kernel's where absent.
    unicast_ttl: Option<u8> as "unicast_ttl",
    /// `check_unicast_src`: adverts count only when they come from a peer.
    check_unicast_src: bool as "check_unicast_src",
    /// Unless `dont_track_primary`: FAULT while `interface` is down.
    track_primary: bool as "dont_track_primary" via show_inverted,
    /// `linkbeat_use_polling`: the state of `interface` is asked for, not told.
    linkbeat_use_polling: bool as "linkbeat_use_polling",
    /// The `track_*` lists.
    <flatten> tracking: Tracking,
    /// The `notify*` scripts that groups have too.
    <flatten> notify: Notify,
    /// `notify_deleted`: where absent, an instance that a reload removes is reported as being in FAULT.
    notify_deleted: Option<NotifyDeleted> as "notify_deleted",
    /// `notify_master_rx_lower_pri`: run when a master hears an advert of lower priority.
    notify_master_rx_lower_pri: Option<Box<Spanned<Script>>> as "notify_master_rx_lower_pri",
    /// `notify_priority_changes`, else that of the group, else `vrrp_notify_priority_changes`.
    notify_priority_changes: bool as "notify_priority_changes",
    /// `smtp_alert`, else `smtp_alert_vrrp`, else the `smtp_alert` of all.
    smtp_alert: bool as "smtp_alert",
    /// `lvs_sync_daemon_interface`: the IPVS synchronisation daemon follows this instance.
    lvs_sync_daemon_interface: Option<Spanned<String>> as "lvs_sync_daemon_interface",
    /// `kernel_rx_buf_size`: bytes of receive buffer; by `vrrp_rx_bufs_policy` where absent.
    kernel_rx_buf_size: Option<u32> as "kernel_rx_buf_size",
    /// `debug`: 0 to 4, without effect; default 0.
    debug: u8 as "debug",
    /// Where the keywords were written.
    places: Places,
}}

config_type! {
/// One line of `unicast_peer`.
pub struct UnicastPeer {
    /// Its address.
    pub address: Spanned<IpAddr>,
    /// `min_ttl`: least TTL of an advert that counts; default 0.
    pub min_ttl: u8,
    /// `max_ttl`: greatest TTL of an advert that counts; default 255.
    pub max_ttl: u8,
}}

config_type! {
/// `old_unicast_checksum`: the checksum of VRRPv3 unicast adverts of keepalived up to 1.3.6.
#[derive(Copy, Hash)]
pub enum OldChecksum {
    /// Not configured: used once a peer is seen to use it.
    Detect,
    /// Used.
    Use,
    /// `never`: neither used nor detected.
    Never,
}}

config_type! {
/// `notify_deleted`: an instance that a reload removes is reported as DELETED.
pub struct NotifyDeleted {
    /// What is run too.
    pub script: Option<Box<Spanned<Script>>>,
}}

settings! {
/// Gratuitous ARP and unsolicited neighbour advertisements of one instance.
#[derive(Copy)]
pub struct Garp {
    /// `garp_master_delay`: from the first block to the second; zero = no second block. Default 5 s.
    delay: Duration as "garp_master_delay",
    /// `garp_master_repeat`: sends per address and block. Default 5.
    repeat: u32 as "garp_master_repeat",
    /// `garp_master_refresh`: period while master; zero = none. Default 0.
    refresh: Duration as "garp_master_refresh",
    /// `garp_master_refresh_repeat`: sends per address and refresh; 0 after `vrrp_min_garp`. Default 1.
    refresh_repeat: u32 as "garp_master_refresh_repeat" via show_repeat,
    /// `garp_lower_prio_delay`: as `delay`, after an advert of lower priority.
    lower_prio_delay: Duration as "garp_lower_prio_delay",
    /// `garp_lower_prio_repeat`: as `repeat`, after an advert of lower priority; 0 = none.
    lower_prio_repeat: u32 as "garp_lower_prio_repeat",
}}

/// What holds where `global_defs` does not say otherwise.
impl Default for Garp {
    fn default() -> Self {
        const BLOCK: &str = "global_defs";
        static DEFAULT: OnceLock<Garp> = OnceLock::new();
        once(&DEFAULT, || Self {
            delay: default(BLOCK, "vrrp_garp_master_delay"),
            repeat: default(BLOCK, "vrrp_garp_master_repeat"),
            refresh: default(BLOCK, "vrrp_garp_master_refresh"),
            refresh_repeat: default(BLOCK, "vrrp_garp_master_refresh_repeat"),
            lower_prio_delay: default(BLOCK, "vrrp_garp_lower_prio_delay"),
            lower_prio_repeat: default(BLOCK, "vrrp_garp_lower_prio_repeat"),
        })
    }
}

settings! {
/// The scripts of an instance or a group.
#[derive(Default)]
pub struct Notify {
    /// `notify_master`.
    master: Option<Box<Spanned<Script>>> as "notify_master",
    /// `notify_backup`.
    backup: Option<Box<Spanned<Script>>> as "notify_backup",
    /// `notify_fault`.
    fault: Option<Box<Spanned<Script>>> as "notify_fault",
    /// `notify_stop`.
    stop: Option<Box<Spanned<Script>>> as "notify_stop",
    /// `notify`: run at each change, with four more parameters.
    any: Option<Box<Spanned<Script>>> as "notify",
}}

impl Notify {
    /// Every script.
    pub(super) fn scripts(&self) -> impl Iterator<Item = &Spanned<Script>> {
        [&self.master, &self.backup, &self.fault, &self.stop, &self.any].into_iter().filter_map(Option::as_deref)
    }
}

impl VrrpInstance {
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let named = |name: &Spanned<String>, what: &str| {
            let message = format!("WARNING - interface {} for {what} doesn't exist", **name);
            (name.span, message)
        };
        let own = self.interface.iter().map(move |name| {
            let (span, message) = named(name, &format!("vrrp_instance {}", *self.name));
            (name.value.as_str(), span, message)
        });
        let vrf = self.vrf.iter().map(|name| {
            let message = format!("({}) WARNING - VRF interface {} doesn't exist", *self.name, **name);
            (name.value.as_str(), name.span, message)
        });
        let devices = self.virtual_addresses.iter().chain(&self.excluded_addresses);
        let tracked = self.tracking.interfaces(&self.name);
        let routes = self.virtual_routes.iter().flat_map(|route| route.interfaces());
        let rules = self.virtual_rules.iter().flat_map(|rule| rule.interfaces());
        let devices = devices.filter_map(VirtualAddress::interface);
        own.chain(vrf).chain(tracked).chain(devices).chain(routes).chain(rules)
    }

    /// Every script that it may run.
    pub(super) fn scripts(&self) -> impl Iterator<Item = &Spanned<Script>> {
        let deleted = self.notify_deleted.iter().filter_map(|deleted| deleted.script.as_deref());
        self.notify.scripts().chain(deleted).chain(self.notify_master_rx_lower_pri.as_deref())
    }
}

table_default! {
    VrrpVersion => |row| row.default_word(Self::WORDS), else Self::V3;
}

show_word! {
    VrrpVersion => |version, _row| Scalar::Integer(match version {
        VrrpVersion::V2 => 2,
        VrrpVersion::V3 => 3,
    });
    InitialState => |state, _row| Scalar::Text(match state {
        InitialState::Master => "MASTER",
        InitialState::Backup => "BACKUP",
    }.to_owned());
    Vrid => |vrid, _row| Scalar::Integer(vrid.0.get().into());
    Priority => |priority, _row| Scalar::Integer(priority.0.get().into());
}

/// A flag that turns something off.
pub(super) fn show_inverted(on: &bool, slot: Slot, out: &mut Vec<Setting>) {
    (!on).show(slot, out);
}

/// Zero cannot be written: it comes from `vrrp_min_garp`.
fn show_repeat(repeat: &u32, slot: Slot, out: &mut Vec<Setting>) {
    Some(*repeat).filter(|repeat| *repeat != 0).show(slot, out);
}

fn show_native_ipv6(family: &Family, slot: Slot, out: &mut Vec<Setting>) {
    (*family == Family::Ipv6).show(slot, out);
}

/// `accept` or `no_accept`.
fn show_accept(on: &bool, slot: Slot, out: &mut Vec<Setting>) {
    let negative = Slot { written: slot.written, ..Slot::new("vrrp_instance", "no_accept", &Places::default()) };
    true.show(if *on { slot } else { negative }, out);
}

fn show_peers(peers: &[UnicastPeer], slot: Slot, out: &mut Vec<Setting>) {
    show_list(peers, slot, out, |peer| Setting::entry(peer.words(slot.row), peer.address.span));
}

impl UnicastPeer {
    /// A limit that is none is left out, for naming one turns `check_unicast_src` on.
    fn words(&self, row: &Row) -> Vec<Scalar> {
        let limits = [("min_ttl", self.min_ttl, 0), ("max_ttl", self.max_ttl, u8::MAX)];
        let limits = limits.into_iter().filter(|(_, limit, none)| limit != none);
        let limits = limits.flat_map(|(word, limit, _)| [Scalar::Text(word.to_owned()), Scalar::Integer(limit.into())]);
        std::iter::once(self.address.word(row)).chain(limits).collect()
    }
}

impl Show for OldChecksum {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        out.push(match self {
            Self::Detect => slot.absent(),
            Self::Use => slot.line(Vec::new()),
            Self::Never => slot.line(vec![Scalar::Text("never".to_owned())]),
        });
    }
}

impl Show for NotifyDeleted {
    fn show(&self, slot: Slot, out: &mut Vec<Setting>) {
        match &self.script {
            Some(script) => script.show(slot, out),
            None => out.push(slot.line(Vec::new())),
        }
    }
}
