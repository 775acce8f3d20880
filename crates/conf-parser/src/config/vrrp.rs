//! `vrrp_instance`.

use super::*;

config_type! {
/// Version of the VRRP protocol.
#[derive(Copy, Hash)]
pub enum VrrpVersion {
    /// VRRPv2 (RFC 3768).
    V2,
    /// VRRPv3 (RFC 9568).
    V3,
}}

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
    /// `authentication`; only ever set for VRRPv2 over IPv4.
    authentication: Option<Authentication> as "authentication" via show_authentication,
    /// `virtual_ipaddress`: in adverts, in this order.
    virtual_addresses: Vec<VirtualAddress> as "virtual_ipaddress" via show_addresses,
    /// `virtual_ipaddress_excluded`, and what does not fit into an advert.
    excluded_addresses: Vec<VirtualAddress> as "virtual_ipaddress_excluded" via show_addresses,
    /// `virtual_routes`: held while master.
    virtual_routes: Vec<Spanned<Route>> as "virtual_routes" via route::show_routes,
    /// `virtual_rules`: held while master.
    virtual_rules: Vec<Spanned<Rule>> as "virtual_rules" via rule::show_rules,
    /// Preempt_Mode; `nopreempt` clears it.
    preempt: bool as "nopreempt" via show_inverted,
    /// `preempt_delay`: 0 to 1000 s.
    preempt_delay: Duration as "preempt_delay",
    /// `accept`: packets to the addresses are accepted though they are not this router's own (RFC 9568 Accept_Mode).
    accept: bool as "accept",
    /// The `garp_*` settings.
    <flatten> garp: Garp,
    /// `skip_check_adv_addr`: the addresses in an advert of the known master are not compared.
    skip_check_adv_addr: bool as "skip_check_adv_addr",
    /// `lower_prio_no_advert`: an advert of lower priority is not answered.
    lower_prio_no_advert: bool as "lower_prio_no_advert",
    /// `higher_prio_send_advert`: one more advert before giving way.
    higher_prio_send_advert: bool as "higher_prio_send_advert",
    /// `down_timer_adverts`: adverts that may be missed, 1 to 100; default 3.
    down_timer_adverts: u8 as "down_timer_adverts",
    /// `mcast_src_ip` or `unicast_src_ip`.
    source_address: Option<Spanned<IpAddr>> as "mcast_src_ip",
    /// `unicast_peer`: where adverts go; empty = multicast.
    unicast_peers: Vec<Spanned<IpAddr>> as "unicast_peer" via show_peers,
    /// Unless `dont_track_primary`: FAULT while `interface` is down.
    track_primary: bool as "dont_track_primary" via show_inverted,
    /// `track_interface` entries without a weight: FAULT while one of them is down.
    track_interfaces: Vec<Spanned<String>> as "track_interface" via show_interfaces,
    /// The `notify*` scripts.
    <flatten> notify: Notify,
    /// `smtp_alert`.
    smtp_alert: Option<bool> as "smtp_alert",
    /// Where the keywords were written.
    places: Places,
}}

config_type! {
/// How adverts are authenticated.
#[derive(Copy)]
pub enum Authentication {
    /// `auth_type PASS`: simple text password (RFC 2338 §5.3.6).
    Pass(AuthPass),
}}

/// The eight bytes of a simple text password, padded with zero. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AuthPass(pub [u8; 8]);

impl fmt::Debug for AuthPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthPass(…)")
    }
}

config_type! {
/// One line of `virtual_ipaddress`.
pub struct VirtualAddress {
    /// The address.
    pub address: Spanned<IpAddr>,
    /// Length of the network prefix: 0 to 32, or 0 to 128; all bits where absent.
    pub prefix_len: u8,
    /// `dev`; the instance's interface where absent.
    pub dev: Option<Spanned<String>>,
    /// `brd` or `broadcast`; IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// `scope`: the kernel's RT_SCOPE number; 0 = global.
    pub scope: u8,
    /// `label`; IPv4 only, up to 15 bytes.
    pub label: Option<String>,
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

impl Default for Garp {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            repeat: 5,
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            lower_prio_delay: Duration::from_secs(5),
            lower_prio_repeat: 5,
        }
    }
}

settings! {
/// The scripts of an instance.
#[derive(Default)]
pub struct Notify {
    /// `notify_master`.
    master: Option<Spanned<Script>> as "notify_master",
    /// `notify_backup`.
    backup: Option<Spanned<Script>> as "notify_backup",
    /// `notify_fault`.
    fault: Option<Spanned<Script>> as "notify_fault",
    /// `notify_stop`.
    stop: Option<Spanned<Script>> as "notify_stop",
    /// `notify`: run at each change, with four more parameters.
    any: Option<Spanned<Script>> as "notify",
}}

impl VrrpInstance {
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&str, Span, String)> {
        let own = self
            .interface
            .iter()
            .map(|name| (name.value.as_str(), name.span, missing(name, &format!("vrrp_instance {}", *self.name))));
        let tracked = self.track_interfaces.iter().map(|name| {
            (name.value.as_str(), name.span, format!("({}) tracked interface {} doesn't exist", *self.name, **name))
        });
        let devices = self.virtual_addresses.iter().chain(&self.excluded_addresses).filter_map(|address| {
            let dev = address.dev.as_ref()?;
            let user = format!("ip address {}/{}", *address.address, address.prefix_len);
            Some((dev.value.as_str(), dev.span, missing(dev, &user)))
        });
        let routes = self.virtual_routes.iter().flat_map(|route| route.interfaces());
        let rules = self.virtual_rules.iter().flat_map(|rule| rule.interfaces());
        own.chain(tracked).chain(devices).chain(routes).chain(rules)
    }
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

impl Block for VrrpInstance {
    fn head(&self) -> Vec<Scalar> {
        vec![Scalar::Text(self.name.value.clone())]
    }

    fn written(&self) -> Option<Span> {
        Some(self.name.span)
    }

    fn body(&self) -> Vec<Setting> {
        let mut out = Vec::new();
        self.lines("vrrp_instance", &self.places, &mut out);
        out
    }
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

fn show_addresses(addresses: &[VirtualAddress], slot: Slot, out: &mut Vec<Setting>) {
    show_list(addresses, slot, out, |address| Setting::entry(address.words(slot.row), address.address.span));
}

fn show_peers(peers: &[Spanned<IpAddr>], slot: Slot, out: &mut Vec<Setting>) {
    show_list(peers, slot, out, |peer| Setting::entry(vec![peer.word(slot.row)], peer.span));
}

fn show_interfaces(interfaces: &[Spanned<String>], slot: Slot, out: &mut Vec<Setting>) {
    show_list(interfaces, slot, out, |name| Setting::entry(vec![name.word(slot.row)], name.span));
}

fn show_authentication(authentication: &Option<Authentication>, slot: Slot, out: &mut Vec<Setting>) {
    let block = "vrrp_instance/authentication";
    let line = |keyword, word| Slot::new(block, keyword, &Places::default()).line(vec![word]);
    out.push(match authentication {
        Some(Authentication::Pass(password)) => slot.block(
            Vec::new(),
            vec![
                line("auth_type", Scalar::Text("PASS".to_owned())),
                line("auth_pass", Scalar::Secret(password.0.iter().copied().take_while(|byte| *byte != 0).collect())),
            ],
        ),
        None => slot.absent(),
    });
}

impl VirtualAddress {
    fn words(&self, row: &Row) -> Vec<Scalar> {
        let mut words = vec![Scalar::Text(format!("{}/{}", *self.address, self.prefix_len))];
        let mut option = |keyword: &str, value: Option<Scalar>| {
            if let Some(value) = value {
                words.extend([Scalar::Text(keyword.to_owned()), value]);
            }
        };
        option("dev", self.dev.as_ref().map(|dev| dev.word(row)));
        option("broadcast", self.broadcast.map(|broadcast| broadcast.word(row)));
        option("scope", Some(self.scope).filter(|scope| *scope != 0).map(|scope| scope.word(row)));
        option("label", self.label.as_ref().map(|label| label.word(row)));
        words
    }
}
