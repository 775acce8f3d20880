//! `vrrp_instance`.

mod address;
mod hmac;
mod link;
mod unicast;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use super::duplicates::{Watch, take_duplicates};
use super::global::{GarpWords, Globals, garp_extra_if, old_name, repeats, version};
use super::sync_group::{self, Groups};
use super::track::{self, Fixed, Suggestions, Trackables};
use super::value::{bounds, integer};
use super::{Context, Handler};
use crate::config::{
    AuthPass, Authentication, Family, Garp, GarpExtraIf, InitialState, Notify, NotifyDeleted, OldChecksum, Priority,
    Route, Rule, Tracking, VirtualAddress, Vrid, VrrpInstance, VrrpVersion,
};
use crate::diagnostic::{Class, Code, Diagnostic};
use crate::schema::nearest;
use crate::setting::Places;
use crate::source::{Span, Spanned};
use crate::tree::Statement;
use unicast::Cast;

/// An instance as written, before defaults and settings of `global_defs`.
#[derive(Debug, Default)]
pub(super) struct Draft {
    name: Spanned<String>,
    state: Option<InitialState>,
    interface: Option<Spanned<String>>,
    vrf: Option<Spanned<String>>,
    links: link::Links,
    vrid: Option<Spanned<Vrid>>,
    /// Where one is given that cannot be used.
    bad_vrid: Option<Span>,
    family: Option<Family>,
    priority: Option<Priority>,
    interval: Option<Spanned<Duration>>,
    version: Option<Spanned<VrrpVersion>>,
    strict: Option<bool>,
    authentication: Option<AuthenticationWords>,
    hmac: Option<hmac::Draft>,
    v3_checksum_as_v2: Option<bool>,
    old_checksum: Option<OldChecksum>,
    addresses: Vec<VirtualAddress>,
    excluded: Vec<VirtualAddress>,
    routes: Vec<Spanned<Route>>,
    rules: Vec<Spanned<Rule>>,
    no_address: bool,
    promote_secondaries: bool,
    nopreempt: Option<Span>,
    preempt_delay: Spanned<Duration>,
    timer_expired: Option<Spanned<Priority>>,
    accept: Option<Spanned<bool>>,
    garp: GarpWords,
    garp_extra_if: Option<GarpExtraIf>,
    skip_check_adv_addr: Option<bool>,
    lower_prio_no_advert: Option<bool>,
    higher_prio_send_advert: Option<bool>,
    owner_ignore_adverts: Option<bool>,
    down_timer_adverts: Option<u8>,
    cast: Cast,
    ignore_primary: bool,
    linkbeat: bool,
    tracking: Tracking,
    /// When the lists of addresses and of peers are looked through for duplicates.
    watch: [Watch; 2],
    notify: Notify,
    notify_deleted: Option<NotifyDeleted>,
    notify_lower: Option<Box<Spanned<crate::config::Script>>>,
    notify_priority_changes: Option<bool>,
    smtp_alert: Option<bool>,
    sync_daemon: Option<Spanned<String>>,
    kernel_rx_buf_size: Option<u32>,
    debug: u8,
    places: Places,
}

super::placed!(Draft);

const BLOCK: &str = "vrrp_instance";

#[derive(Debug, Default)]
pub(super) struct AuthenticationWords {
    /// The instance, as findings name it.
    tag: String,
    span: Span,
    kind: Option<AuthenticationKind>,
    password: Option<AuthPass>,
    places: Places,
}

#[derive(Debug, Clone, Copy)]
enum AuthenticationKind {
    Pass,
    Ah,
}

super::placed!(AuthenticationWords);

/// Reads one block; nothing comes back for a second instance of the same name.
pub(super) fn read(
    context: &mut Context<'_>,
    statement: &Statement,
    names: &mut HashMap<String, Span>,
    trackables: &Trackables,
) -> Option<Draft> {
    let words = ["vrrp_instance must have a name", "vrrp instance"];
    let name = super::own_name(context, statement, names, words, Code::DuplicateInstance)?;
    let defaults = &context.carried.defaults.vrrp_instance;
    let preempt_delay = Spanned::new(defaults.preempt_delay, name.span);
    let mut draft = Draft { name, preempt_delay, debug: defaults.debug, ..Draft::default() };
    context.visit(&mut draft, &statement.body, &[INSTANCE]);
    draft.drop_duplicate_addresses(context);
    draft.drop_duplicate_peers(context);
    draft.tracking = track::read(context, statement, &draft.tag(), trackables);
    Some(draft)
}

/// Applies defaults to every instance and checks them against each other.
pub(super) fn finish(
    context: &mut Context<'_>,
    drafts: Vec<Draft>,
    globals: &Globals,
    groups: &Groups,
) -> Vec<VrrpInstance> {
    let mut instances: Vec<_> = drafts.into_iter().filter_map(|draft| draft.finish(context, globals, groups)).collect();
    report_shared_vrids(context, &instances);
    keep_first_sync_daemon(context, &mut instances);
    drop_taken_names(context, &mut instances);
    instances
}

/// Two instances with the same VRID on the same link hear each other's adverts when they use the same multicast group,
/// or when they share a unicast peer.
fn report_shared_vrids(context: &mut Context<'_>, instances: &[VrrpInstance]) {
    let key = |instance: &VrrpInstance| {
        let link = instance.interface.as_ref().map(|interface| interface.value.clone());
        (*instance.virtual_router_id, instance.family, link)
    };
    let mut sharing: HashMap<_, usize> = HashMap::new();
    instances.iter().for_each(|instance| *sharing.entry(key(instance)).or_default() += 1);
    let mut users = HashMap::new();
    for instance in instances.iter().filter(|instance| sharing.get(&key(instance)).is_some_and(|count| *count > 1)) {
        let link = instance.interface.as_ref().map(|interface| interface.value.as_str());
        let key = (*instance.virtual_router_id, instance.family, link);
        let peers = instance.unicast_peers.iter().map(|peer| *peer.address);
        let mut others = peers.chain(instance.multicast_group).filter_map(|group| match users.entry((key, group)) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) => {
                entry.insert(instance);
                None
            }
        });
        let other: Option<&VrrpInstance> = others.next();
        // The rest are noted, though one finding for an instance is enough.
        others.for_each(drop);
        if let Some(other) = other {
            let (vrid, family) = (instance.virtual_router_id.0, instance.family);
            let message = format!(
                "{} and {} both use VRID {vrid} with {family} on interface {}",
                *other.name,
                *instance.name,
                link.unwrap_or("none")
            );
            let finding =
                Diagnostic::error(Code::DuplicateVrid, Class::General, instance.virtual_router_id.span, message);
            context.push(
                finding
                    .refusing()
                    .related(other.virtual_router_id.span, format!("{} uses it here", *other.name))
                    .help(format!("give {} another virtual_router_id", *instance.name)),
            );
        }
    }
}

/// The IPVS synchronisation daemon follows one instance only.
fn keep_first_sync_daemon(context: &mut Context<'_>, instances: &mut [VrrpInstance]) {
    let mut first: Option<Spanned<String>> = None;
    for instance in instances {
        match (&first, &instance.lvs_sync_daemon_interface) {
            (Some(used), Some(name)) => {
                let message = format!(
                    "({}) lvs_sync_daemon_interface has already been specified as {} - ignoring",
                    *instance.name, **used
                );
                let finding = Diagnostic::error(Code::ExtraParameter, Class::General, name.span, message);
                context.push(finding.related(used.span, "the one that is used"));
                instance.lvs_sync_daemon_interface = None;
                instance.places.forget(BLOCK, "lvs_sync_daemon_interface");
            }
            (None, Some(name)) => first = Some(name.clone()),
            (_, None) => {}
        }
    }
}

/// Two instances may share a macvlan or ipvlan only on one interface and with different families.
fn drop_taken_names(context: &mut Context<'_>, instances: &mut [VrrpInstance]) {
    struct User {
        instance: String,
        family: Family,
        link: Option<String>,
        span: Span,
    }
    let mut users: HashMap<String, Vec<User>> = HashMap::new();
    for instance in instances {
        let link = instance.interface.as_ref().map(|interface| interface.value.clone());
        let vmac = instance.vmac.as_mut().map(|vmac| &mut vmac.name);
        let ipvlan = instance.ipvlan.as_mut().map(|ipvlan| &mut ipvlan.name);
        for slot in vmac.into_iter().chain(ipvlan) {
            let Some(name) = slot.clone() else { continue };
            let used = users.entry(name.value.clone()).or_default();
            let taken = used.iter().find(|user| {
                user.instance != instance.name.value && (user.family == instance.family || user.link != link)
            });
            if let Some(user) = taken {
                let message = format!(
                    "({}) VRRP instance {} is already using {} - ignoring name",
                    *instance.name, user.instance, *name
                );
                let finding = Diagnostic::error(Code::VirtualLink, Class::General, name.span, message);
                context.push(finding.related(user.span, "used here"));
                *slot = None;
            } else {
                let (instance, family) = (instance.name.value.clone(), instance.family);
                used.push(User { instance, family, link: link.clone(), span: name.span });
            }
        }
    }
}

/// Reads the lines of `static_ipaddress`.
pub(super) fn static_addresses(
    context: &mut Context<'_>,
    statement: &Statement,
    addresses: &mut Vec<VirtualAddress>,
    groups: &HashMap<String, Span>,
    suggestions: &Suggestions,
) {
    for line in statement.body.iter() {
        let Some(mut address) = address::read(context, "static_ipaddress", &line) else { continue };
        let mut options = address.take_options();
        let unknown = options.track_group.take_if(|group| !groups.contains_key(&group.value));
        address.set_options(options);
        if let Some(group) = unknown {
            let finding = Diagnostic::error(
                Code::UnknownTracked,
                Class::General,
                group.span,
                format!("track_group {} not found", group.value),
            );
            let near = suggestions.nearest(&group, groups.keys().map(String::as_str));
            context.push(match near {
                Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                None => finding.help("it must be defined above"),
            });
        }
        addresses.push(address);
    }
}

/// Static addresses without `dev` are on `default_interface`.
pub(super) fn use_default_interface(addresses: &mut [VirtualAddress], globals: &Globals) {
    let written = globals.defs.places.of("global_defs", "default_interface");
    for address in addresses.iter_mut().filter(|address| address.dev.is_none()) {
        let span = written.unwrap_or(address.address.span);
        address.dev = Some(Box::new(Spanned::new(globals.defs.vrrp.default_interface.clone(), span)));
    }
}

impl Draft {
    fn tag(&self) -> String {
        // Called for each instance: without the detour by `core::fmt`.
        ["(", self.name.as_str(), ")"].concat()
    }

    pub(super) fn name(&self) -> &str {
        &self.name.value
    }

    /// The priority: that of an owner for `state MASTER` alone.
    fn priority(&self) -> Priority {
        let wants_master = self.state == Some(InitialState::Master);
        self.priority.unwrap_or(if wants_master { Priority::OWNER } else { Priority::DEFAULT })
    }

    /// Whether it owns its addresses, so that its priority never changes.
    pub(super) fn is_owner(&self) -> bool {
        self.priority() == Priority::OWNER
    }

    fn finish(mut self, context: &mut Context<'_>, globals: &Globals, groups: &Groups) -> Option<VrrpInstance> {
        let defs = &globals.defs;
        let family = self.family.unwrap_or(Family::Ipv4);
        let strict = self.inherit(self.strict, "strict_mode", (defs.vrrp.strict, "vrrp_strict"), globals);
        let version = self.version(context, family, strict, globals);
        let priority = self.priority();
        let state =
            self.state.unwrap_or(if priority == Priority::OWNER { InitialState::Master } else { InitialState::Backup });
        let interval = self.interval(context, version);
        let auth_hmac = self.hmac.take().and_then(|hmac| hmac.finish(context, strict, interval));
        let authentication = self.authentication(context, version, family, strict, auth_hmac.is_some());
        self.move_excess(context, family);
        self.check_addresses(context, version, strict);
        self.check_preemption(context, state, priority, strict);
        self.drop_own_interface(context);
        self.check_vrf(context);
        let placed = self.check_interface(context);
        let links = self.links(context, family, strict);
        let cast = self.cast(context, family, strict, globals, links.ipvlan.as_ref());
        self.track(context, groups);
        let garp = self.garp(context, strict, globals);
        let (lower_prio_no_advert, higher_prio_send_advert) = self.adverts(context, strict, globals);
        let owner_ignore_adverts = self.owner_ignore_adverts(context, strict, globals);
        let down_timer_adverts = self.down_timer_adverts(context, strict, globals);
        let accept = self.accept(context, version, strict);
        let timer_expired_backup = self.timer_expired(context);
        let garp_extra_if = (defs.vrrp.garp_extra_if, "vrrp_garp_extra_if");
        let garp_extra_if = self.inherit(self.garp_extra_if.map(Some), "garp_extra_if", garp_extra_if, globals);
        let skip = (globals.defs.vrrp.skip_check_adv_addr, "vrrp_skip_check_adv_addr");
        let skip_check_adv_addr = self.inherit(self.skip_check_adv_addr, "skip_check_adv_addr", skip, globals);
        let as_v2 = (defs.vrrp.v3_checksum_as_v2, "v3_checksum_as_v2");
        let v3_checksum_as_v2 = self.inherit(self.v3_checksum_as_v2, "v3_checksum_as_v2", as_v2, globals);
        let notify_priority_changes = self.priority_changes(globals, groups);
        let alert = context.carried.defaults.vrrp_instance.smtp_alert;
        let smtp_alert = globals.vrrp_alert(self.smtp_alert, BLOCK, &mut self.places, alert);
        let Some(vrid) = self.vrid.clone() else {
            let message = format!("{} the virtual router id must be set", self.tag());
            let finding = Diagnostic::error(Code::NoVrid, Class::General, self.name.span, message).refusing();
            context.push(match self.bad_vrid {
                Some(span) => finding.related(span, "this one cannot be used"),
                None => finding.help("add 'virtual_router_id' with a number from 1 to 255"),
            });
            return None;
        };
        placed.then(|| VrrpInstance {
            state,
            interface: self.interface,
            vrf: self.vrf,
            vmac: links.vmac,
            use_vmac_addr: links.use_vmac_addr,
            vmac_xmit_base: links.xmit_base,
            ipvlan: links.ipvlan,
            virtual_router_id: vrid,
            family,
            priority,
            advertisement_interval: interval,
            version,
            strict_mode: strict,
            authentication,
            auth_hmac,
            v3_checksum_as_v2,
            old_unicast_checksum: self.old_checksum.unwrap_or(OldChecksum::Detect),
            virtual_addresses: self.addresses,
            excluded_addresses: self.excluded,
            virtual_routes: self.routes,
            virtual_rules: self.rules,
            no_virtual_ipaddress: self.no_address,
            promote_secondaries: self.promote_secondaries,
            preempt: self.nopreempt.is_none(),
            preempt_delay: self.preempt_delay.value,
            timer_expired_backup,
            accept,
            garp,
            garp_extra_if,
            skip_check_adv_addr,
            lower_prio_no_advert,
            higher_prio_send_advert,
            owner_ignore_adverts,
            down_timer_adverts,
            source_address: cast.source,
            track_src_ip: cast.track_source,
            multicast_group: cast.group,
            unicast_peers: cast.peers,
            unicast_fault_no_peer: cast.fault_no_peer,
            unicast_ttl: cast.ttl,
            check_unicast_src: cast.check_source,
            track_primary: !self.ignore_primary,
            linkbeat_use_polling: self.linkbeat,
            tracking: self.tracking,
            notify: self.notify,
            notify_deleted: self.notify_deleted,
            notify_master_rx_lower_pri: self.notify_lower,
            notify_priority_changes,
            smtp_alert,
            lvs_sync_daemon_interface: self.sync_daemon,
            kernel_rx_buf_size: self.kernel_rx_buf_size,
            debug: self.debug,
            name: self.name,
            places: self.places,
        })
    }

    /// The instance's own value, else that of `global_defs` with the keyword that gives it there.
    fn inherit<T>(&mut self, own: Option<T>, keyword: &str, global: (T, &str), globals: &Globals) -> T {
        let (value, from) = global;
        own.unwrap_or_else(|| {
            self.places.inherit(BLOCK, keyword, globals.defs.places.of("global_defs", from));
            value
        })
    }

    /// Reports that strict mode does not allow what `keyword` says.
    fn reset(&mut self, context: &mut Context<'_>, keyword: &str, problem: &str) {
        let span = self.places.of(BLOCK, keyword).unwrap_or(self.name.span);
        context.warning(Code::StrictMode, span, format!("{} {problem}", self.tag()));
        self.places.forget(BLOCK, keyword);
    }

    fn links(&mut self, context: &mut Context<'_>, family: Family, strict: bool) -> link::Resolved {
        let around = link::Circumstances {
            unicast: self.cast.is_unicast(),
            unicast_word: self.cast.word.is_some(),
            has_interface: self.interface.is_some(),
            strict,
            family,
            vrid: self.vrid.as_ref().map(|vrid| **vrid),
        };
        std::mem::take(&mut self.links).resolve(context, &self.tag(), around)
    }

    /// Trackers that would move the priority of one that may not move.
    fn track(&mut self, context: &mut Context<'_>, groups: &Groups) {
        let (tag, group) = (self.tag(), groups.of(&self.name));
        if self.is_owner() {
            track::drop_weights(context, &tag, &mut self.tracking, Fixed::Owner);
        }
        if let Some(group) = group {
            if !group.sync_group_tracking_weight {
                track::drop_weights(context, &tag, &mut self.tracking, Fixed::Member);
            }
            sync_group::report_shared_interfaces(context, &tag, &self.tracking, group);
        }
    }

    fn priority_changes(&mut self, globals: &Globals, groups: &Groups) -> bool {
        const KEYWORD: &str = "notify_priority_changes";
        let global = (globals.defs.vrrp.notify_priority_changes, "vrrp_notify_priority_changes");
        match groups.of(&self.name).filter(|_| self.notify_priority_changes.is_none()) {
            Some(group) => {
                self.places.inherit(BLOCK, KEYWORD, group.places.of(sync_group::BLOCK, KEYWORD));
                group.notify_priority_changes
            }
            None => self.inherit(self.notify_priority_changes, KEYWORD, global, globals),
        }
    }

    fn garp(&mut self, context: &mut Context<'_>, strict: bool, globals: &Globals) -> Garp {
        let (own, theirs) = (&self.garp, &globals.garp_words);
        let delay: &[_] = &["vrrp_garp_master_delay", "vrrp_min_garp"];
        let repeat: &[_] = &["vrrp_garp_master_repeat", "vrrp_min_garp"];
        let lower_delay: &[_] = &["vrrp_garp_lower_prio_delay", "vrrp_garp_master_delay", "vrrp_min_garp"];
        let lower_repeat: &[_] = &["vrrp_garp_lower_prio_repeat", "vrrp_garp_master_repeat", "vrrp_min_garp"];
        let words = [
            ("garp_master_delay", own.delay.is_none() && theirs.delay.is_some(), delay),
            ("garp_master_repeat", own.repeat.is_none() && theirs.repeat.is_some(), repeat),
            ("garp_master_refresh", own.refresh.is_none(), &["vrrp_garp_master_refresh"]),
            ("garp_master_refresh_repeat", own.refresh_repeat.is_none(), &["vrrp_garp_master_refresh_repeat"]),
            ("garp_lower_prio_delay", own.lower_prio_delay.is_none() && !strict, lower_delay),
            ("garp_lower_prio_repeat", own.lower_prio_repeat.is_none() && !strict, lower_repeat),
        ];
        for (keyword, inherits, from) in words {
            if inherits {
                let from = from.iter().find_map(|from| globals.defs.places.of("global_defs", from));
                self.places.inherit(BLOCK, keyword, from);
            }
        }
        let mut garp = self.garp.or(&globals.garp);
        if strict {
            if self.garp.lower_prio_repeat.is_some_and(|repeat| repeat != 0) {
                self.reset(context, "garp_lower_prio_repeat", "Strict mode requires no repeat garps. resetting");
            }
            if self.garp.lower_prio_delay.is_some_and(|delay| !delay.is_zero()) {
                self.reset(context, "garp_lower_prio_delay", "Strict mode requires no repeat garp delay. resetting");
            }
            (garp.lower_prio_repeat, garp.lower_prio_delay) = (0, Duration::ZERO);
        }
        garp
    }

    /// `lower_prio_no_advert` and `higher_prio_send_advert`.
    fn adverts(&mut self, context: &mut Context<'_>, strict: bool, globals: &Globals) -> (bool, bool) {
        const LOWER: &str = "lower_prio_no_advert";
        const HIGHER: &str = "higher_prio_send_advert";
        if !strict {
            let lower = (globals.defs.vrrp.lower_prio_no_advert.unwrap_or(false), "vrrp_lower_prio_no_advert");
            let higher = (globals.defs.vrrp.higher_prio_send_advert, "vrrp_higher_prio_send_advert");
            return (
                self.inherit(self.lower_prio_no_advert, LOWER, lower, globals),
                self.inherit(self.higher_prio_send_advert, HIGHER, higher, globals),
            );
        }
        if self.lower_prio_no_advert == Some(false) {
            self.reset(context, LOWER, "Strict mode requires no lower priority advert. resetting");
        }
        if self.higher_prio_send_advert == Some(true) {
            self.reset(context, HIGHER, "strict mode requires higher_prio_send_advert to be clear. resetting");
        }
        (true, false)
    }

    fn owner_ignore_adverts(&mut self, context: &mut Context<'_>, strict: bool, globals: &Globals) -> bool {
        const KEYWORD: &str = "owner_ignore_adverts";
        if !self.is_owner() {
            if self.owner_ignore_adverts == Some(true) {
                let span = self.places.of(BLOCK, KEYWORD).unwrap_or(self.name.span);
                let message = format!("{} {KEYWORD} is for priority 255 only - resetting", self.tag());
                context.warning(Code::AdjustedValue, span, message);
                self.places.forget(BLOCK, KEYWORD);
            }
            return false;
        }
        if strict {
            if self.owner_ignore_adverts == Some(false) {
                self.reset(context, KEYWORD, "strict mode requires owner_ignore_adverts. resetting");
            }
            return true;
        }
        let global = (globals.defs.vrrp.owner_ignore_adverts, "vrrp_owner_ignore_adverts");
        self.inherit(self.owner_ignore_adverts, KEYWORD, global, globals)
    }

    fn down_timer_adverts(&mut self, context: &mut Context<'_>, strict: bool, globals: &Globals) -> u8 {
        const KEYWORD: &str = "down_timer_adverts";
        // Strict mode leaves no other value.
        const STRICT: u8 = 3;
        let global = (globals.defs.vrrp.down_timer_adverts, "vrrp_down_timer_adverts");
        let adverts = self.inherit(self.down_timer_adverts, KEYWORD, global, globals);
        if strict && adverts != STRICT {
            self.reset(context, KEYWORD, "down_timer_adverts is incompatible with strict mode - resetting");
            return STRICT;
        }
        adverts
    }

    fn accept(&mut self, context: &mut Context<'_>, version: VrrpVersion, strict: bool) -> bool {
        self.places.inherit(BLOCK, "accept", self.places.of(BLOCK, "no_accept"));
        let stranger = strict && !self.is_owner();
        match &self.accept {
            Some(accept) if accept.value && stranger && version == VrrpVersion::V2 => {
                let message = "warning - accept mode for VRRP version 2 does not comply with RFC3768 - resetting";
                context.warning(Code::StrictMode, accept.span, format!("{} {message}", self.tag()));
                self.places.forget(BLOCK, "accept");
                false
            }
            Some(accept) => {
                self.places.overwrite(BLOCK, "accept", accept.span);
                accept.value
            }
            None => !stranger,
        }
    }

    fn timer_expired(&mut self, context: &mut Context<'_>) -> Option<Priority> {
        let timer = self.timer_expired.take()?;
        if self.nopreempt.is_some() {
            return Some(timer.value);
        }
        let message = format!("{} timer_expired_backup needs nopreempt - resetting", self.tag());
        context.warning(Code::Preemption, timer.span, message);
        self.places.forget(BLOCK, "timer_expired_backup");
        None
    }

    fn check_vrf(&mut self, context: &mut Context<'_>) {
        if let Some(vrf) = self.vrf.take_if(|_| self.interface.is_some()) {
            let message = format!("{} Cannot specify VRF interface and interface - ignoring", self.tag());
            context.error(Code::AdjustedValue, vrf.span, message);
            self.places.forget(BLOCK, "vrf");
        }
    }

    fn version(&mut self, context: &mut Context<'_>, family: Family, strict: bool, globals: &Globals) -> VrrpVersion {
        match (&self.version, family) {
            (Some(version), Family::Ipv6) if strict && version.value == VrrpVersion::V2 => {
                self.reset(context, "version", "cannot use IPv6 with VRRP version 2; setting version 3");
                VrrpVersion::V3
            }
            (Some(version), _) => version.value,
            (None, Family::Ipv6) => VrrpVersion::V3,
            (None, Family::Ipv4) => self.inherit(None, "version", (globals.defs.vrrp_version, "vrrp_version"), globals),
        }
    }

    /// The advertisement interval in the steps that the version can carry.
    fn interval(&self, context: &mut Context<'_>, version: VrrpVersion) -> Duration {
        let Some(written) = &self.interval else {
            return context.carried.defaults.vrrp_instance.advert_int;
        };
        let (step, most) = match version {
            VrrpVersion::V2 => (1_000_000, 255_000_000),
            VrrpVersion::V3 => (10_000, 40_950_000),
        };
        let micros = u64::try_from(written.as_micros()).unwrap_or(u64::MAX);
        let rounded = ((micros + step / 2) / step * step).clamp(step, most);
        let seconds = written.as_secs_f64();
        let message = match version {
            VrrpVersion::V2 => format!("VRRPv2 advertisement interval {seconds:.6}s must be an integer. rounding"),
            VrrpVersion::V3 if micros > most => {
                format!(
                    "VRRPv3 advertisement interval {seconds:.2}s is out of range. Must be less than 40.96s. Setting to 40.95s"
                )
            }
            VrrpVersion::V3 => {
                format!("VRRPv3 advertisement interval {seconds:.6}s must be a multiple of 0.01s. rounding")
            }
        };
        if rounded != micros {
            let used = Duration::from_micros(rounded).as_secs_f64();
            let finding = Diagnostic::warning(
                Code::AdjustedValue,
                Class::Warning,
                written.span,
                format!("{} {message}", self.tag()),
            );
            let help = match version {
                VrrpVersion::V2 => "write whole seconds, or 'version 3' for parts of a second",
                VrrpVersion::V3 if micros > most => "write 40.95 or less; 'version 2' goes up to 255",
                VrrpVersion::V3 => "write two decimal places at most",
            };
            context.push(finding.label(format!("{used} s is used")).help(help));
        }
        Duration::from_micros(rounded)
    }

    fn authentication(
        &self,
        context: &mut Context<'_>,
        version: VrrpVersion,
        family: Family,
        strict: bool,
        signed: bool,
    ) -> Option<Authentication> {
        let words = self.authentication.as_ref()?;
        let reason = match (words.kind?, words.password) {
            _ if strict => "Strict mode does not support authentication. Ignoring.",
            _ if version == VrrpVersion::V3 => "VRRP version 3 does not support authentication. Ignoring.",
            _ if family == Family::Ipv6 => "Cannot use authentication with IPv6. Ignoring.",
            _ if signed => "authentication is not used beside auth_hmac. Ignoring.",
            (_, None) => "Authentication specified but no password given. Ignoring",
            (AuthenticationKind::Pass, Some(password)) => return Some(Authentication::Pass(password)),
            (AuthenticationKind::Ah, Some(password)) => return Some(Authentication::Ah(password)),
        };
        let code = if strict { Code::StrictMode } else { Code::Authentication };
        context.warning(code, words.span, format!("{} {reason}", self.tag()));
        None
    }

    /// keepalived 2.2 passes over them without a word.
    fn drop_duplicate_addresses(&mut self, context: &mut Context<'_>) {
        let same = |one: &VirtualAddress, other: &VirtualAddress| {
            let dev = |one: &VirtualAddress, other: &VirtualAddress| {
                let [one, other] = [one, other].map(|it| it.dev.as_ref().map(|dev| &dev.value));
                one.cmp(&other)
            };
            let key = |it: &VirtualAddress| (*it.address, it.prefix_len);
            key(one).cmp(&key(other)).then_with(|| dev(one, other))
        };
        let duplicates = take_duplicates(&mut self.addresses, same);
        self.watch[0].looked_through(self.addresses.len());
        for VirtualAddress { address, prefix_len, .. } in duplicates {
            let message = format!("{} Duplicate VIP {}/{prefix_len} - ignoring", self.tag(), *address);
            context.push(Diagnostic::warning(Code::DuplicateAddress, Class::Notice, address.span, message));
        }
    }

    /// Addresses that do not fit into an advert become excluded ones.
    fn move_excess(&mut self, context: &mut Context<'_>, family: Family) {
        // 255 is what one byte counts; an IPv6 advert of an Ethernet frame has room for 90: (1500 - 40 - 8) / 16.
        let most = if family == Family::Ipv4 { 255 } else { 90 };
        let count = self.addresses.len();
        if count <= most {
            return;
        }
        // Neither list is copied: they may be long.
        let mut excess = std::mem::take(&mut self.addresses);
        self.addresses = excess.drain(..most).collect();
        let span = excess.first().map_or(self.name.span, |address| address.address.span);
        let first = self.addresses.first().map_or(span, |address| address.address.span);
        excess.append(&mut self.excluded);
        self.excluded = excess;
        let message = format!(
            "{} Number of VIPs ({count}) exceeds maximum/space available in packet (max {most} addresses) - excess moved to eVIPs",
            self.tag()
        );
        let finding = Diagnostic::warning(Code::TooManyAddresses, Class::Warning, span, message)
            .label(format!("from the {}th on they are set, though not advertised", most + 1))
            .related(first, format!("the first of {count}"));
        context.push(finding.help("put those beyond into virtual_ipaddress_excluded, or into another vrrp_instance"));
    }

    fn check_addresses(&mut self, context: &mut Context<'_>, version: VrrpVersion, strict: bool) {
        if strict && self.no_address {
            self.no_address = false;
            self.reset(
                context,
                "no_virtual_ipaddress",
                "no_virtual_ipaddress is incompatible with strict mode - resetting",
            );
        }
        if let Some(first) = self.addresses.first() {
            let link_local = |address: IpAddr| !matches!(address, IpAddr::V6(ip) if !ip.is_unicast_link_local());
            if strict && !link_local(*first.address) {
                let message = format!("{} the first IPv6 VIP address must be link local", self.tag());
                context.warning(Code::StrictMode, first.address.span, message);
            }
            return;
        }
        if self.no_address {
            return;
        }
        let message = |need| format!("{} No VIP specified; at least one is {need}", self.tag());
        let finding = match version {
            VrrpVersion::V2 if !strict => {
                Diagnostic::warning(Code::NoAddress, Class::General, self.name.span, message("sensible"))
            }
            _ => Diagnostic::error(Code::NoAddress, Class::General, self.name.span, message("required")).refusing(),
        };
        context.push(finding.help("list one in virtual_ipaddress"));
    }

    fn check_preemption(&mut self, context: &mut Context<'_>, state: InitialState, priority: Priority, strict: bool) {
        let tag = self.tag();
        if let Some(span) = self.nopreempt {
            let reason = match state {
                InitialState::Master if self.state.is_some() => {
                    Some("Warning - nopreempt will not work with initial state MASTER - clearing")
                }
                _ if priority == Priority::OWNER => {
                    Some("nopreempt is incompatible with priority 255. resetting nopreempt")
                }
                _ => None,
            };
            if let Some(reason) = reason {
                let finding = Diagnostic::warning(Code::Preemption, Class::General, span, format!("{tag} {reason}"));
                context.push(finding.help("write 'state BACKUP' here and on every other node: then nopreempt works"));
                self.nopreempt = None;
                self.places.forget(BLOCK, "nopreempt");
            }
        }
        if self.preempt_delay.value.is_zero() {
            return;
        }
        let reason = match state {
            InitialState::Master => "initial state MASTER",
            InitialState::Backup if self.nopreempt.is_some() => "nopreempt",
            InitialState::Backup if strict => {
                self.reset(context, "preempt_delay", "preempt_delay is incompatible with strict mode - resetting");
                self.preempt_delay.value = Duration::ZERO;
                return;
            }
            InitialState::Backup => return,
        };
        let message = format!("{tag} Warning - preempt delay will not work with {reason} - clearing");
        context.push(Diagnostic::warning(Code::Preemption, Class::General, self.preempt_delay.span, message));
        self.preempt_delay.value = Duration::ZERO;
        self.places.forget(BLOCK, "preempt_delay");
    }

    fn drop_own_interface(&mut self, context: &mut Context<'_>) {
        let tag = self.tag();
        let Some(own) = self.interface.as_ref().map(|interface| interface.value.as_str()) else {
            return;
        };
        self.tracking.interfaces.retain(|tracked| {
            if tracked.name.value != own {
                return true;
            }
            let message = format!("{tag} Ignoring track_interface {own} since own interface");
            context.push(Diagnostic::warning(Code::OwnInterface, Class::General, tracked.name.span, message));
            false
        });
    }

    /// Whether the instance has a link, or all that it needs without one.
    fn check_interface(&self, context: &mut Context<'_>) -> bool {
        let unicast = self.cast.is_unicast();
        match &self.interface {
            Some(interface) if interface.value != "lo" => return true,
            None if unicast && self.cast.source.is_some() => return true,
            _ => {}
        }
        let span = self.interface.as_ref().map_or(self.name.span, |interface| interface.span);
        let finding =
            Diagnostic::error(Code::NoInterface, Class::General, span, format!("{} Unknown interface!", self.tag()))
                .refusing();
        context.push(match (&self.interface, unicast) {
            (Some(_), _) => finding.help("the loopback interface cannot carry adverts"),
            (None, true) => finding.help("add 'interface' or 'unicast_src_ip'"),
            (None, false) => finding.help("add 'interface'"),
        });
        false
    }

    /// The family of the instance: that of the first address that tells it. Whether `family` fits.
    fn fits_family(&mut self, family: Family) -> bool {
        *self.family.get_or_insert(family) == family
    }
}

fn state(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let Some(word) = statement.arguments.first() else { return };
    let state = match word.text.as_str() {
        "MASTER" => InitialState::Master,
        "BACKUP" => InitialState::Backup,
        text => {
            let message = format!("{} unknown state '{text}', defaulting to BACKUP", draft.tag());
            let finding = Diagnostic::error(Code::UnknownState, Class::General, word.span, message);
            context.push(match nearest(text, ["MASTER", "BACKUP"].into_iter()) {
                Some(near) => finding.help(format!("did you mean '{near}'?")).replacement(near),
                None => finding.help("one of MASTER, BACKUP"),
            });
            InitialState::Backup
        }
    };
    // MASTER wins over a BACKUP that follows.
    if draft.state == Some(InitialState::Master) {
        if state == InitialState::Backup {
            let message = format!("{} state previously set as MASTER - ignoring {}", draft.tag(), word.text);
            context.warning(Code::AdjustedValue, word.span, message);
        }
        return;
    }
    draft.state = Some(state);
}

pub(super) const AUTHENTICATION: &[Handler<AuthenticationWords>] = &[
    Handler("auth_type", |words, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match word.text.as_str() {
            "PASS" => words.kind = Some(AuthenticationKind::Pass),
            "AH" => {
                context.known_option("vrrp_instance/authentication/auth_type", "AH", word.span);
                words.kind = Some(AuthenticationKind::Ah);
            }
            text => {
                let message = format!("{} unknown authentication type '{text}'", words.tag);
                let finding = Diagnostic::error(Code::Authentication, Class::General, word.span, message);
                context.push(finding.help("write PASS, or AH: there is no other type"));
            }
        }
    }),
    Handler("auth_pass", |words, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        let mut password = [0; 8];
        if word.bytes().len() > password.len() {
            let finding = Diagnostic::warning(
                Code::Authentication,
                Class::General,
                word.span,
                "Truncating auth_pass to 8 characters",
            );
            context.push(finding.help("only the first eight bytes are ever sent: write just these"));
        }
        password.iter_mut().zip(word.bytes()).for_each(|(to, from)| *to = *from);
        words.password = Some(AuthPass(password));
    }),
];

fn authentication(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    let mut words =
        AuthenticationWords { tag: draft.tag(), span: statement.keyword.span, ..AuthenticationWords::default() };
    context.visit(&mut words, &statement.body, &[AUTHENTICATION]);
    let block = "vrrp_instance/authentication";
    if let Some(span) = words.places.of(block, "auth_pass") {
        draft.places.overwrite(block, "auth_pass", span);
    }
    draft.authentication = Some(words);
}

pub(super) const INSTANCE: &[Handler<Draft>] = &[
    Handler("state", state),
    Handler("interface", |draft, context, statement| {
        draft.interface =
            statement.arguments.first().and_then(|word| context.interface(word)).or(draft.interface.take());
    }),
    Handler("virtual_router_id", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match super::value::integer(&word.text, &(1..=255u8)).map(NonZeroU8::new) {
            Ok(vrid) => draft.vrid = vrid.map(|vrid| Spanned::new(Vrid(vrid), word.span)),
            Err(wrong) => {
                draft.bad_vrid = Some(word.span);
                context.bad_number(
                    word,
                    wrong,
                    format!("{}: VRID '{}' not valid - must be between 1 & 255", draft.tag(), word.text),
                );
            }
        }
    }),
    Handler("priority", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match super::value::integer(&word.text, &(1..=255u8)).map(NonZeroU8::new) {
            Ok(priority) => draft.priority = priority.map(Priority),
            Err(wrong) => {
                context.bad_number(
                    word,
                    wrong,
                    format!("{} Priority not valid! must be between 1 & 255. Using default 100", draft.tag()),
                );
                draft.priority = Some(Priority::DEFAULT);
            }
        }
    }),
    Handler("advert_int", |draft, context, statement| {
        let tag = draft.tag();
        let interval = context.time_with(statement, |text| {
            format!("{tag} Advert interval ({text}) not valid! Must be between 0.01 & 255. Using default 1")
        });
        draft.interval = interval.map(|interval| Spanned::new(interval, statement.span()));
    }),
    Handler("version", |draft, context, statement| {
        let tag = format!("{} ", draft.tag());
        let Some(version) = version(context, statement, &tag) else { return };
        let deduced = (draft.family == Some(Family::Ipv6)).then_some(VrrpVersion::V3);
        let known = draft.version.as_ref().map(|version| version.value).or(deduced);
        if let Some(known) = known.filter(|known| *known != version) {
            let number = |version| if version == VrrpVersion::V2 { 2 } else { 3 };
            let message = format!(
                "{tag}vrrp_version {} conflicts with configured or deduced version {}; ignoring.",
                number(version),
                number(known)
            );
            context.error(Code::AdjustedValue, statement.span(), message);
            return;
        }
        draft.version = Some(Spanned::new(version, statement.span()));
    }),
    Handler("authentication", authentication),
    Handler("virtual_ipaddress", |draft, context, statement| {
        for line in statement.body.iter() {
            let Some(address) = address::read(context, "vrrp_instance/virtual_ipaddress", &line) else { continue };
            if !draft.fits_family(Family::of(*address.address)) {
                let message = format!(
                    "{}: address family must match VRRP instance [{}] - ignoring",
                    draft.tag(),
                    line.keyword.text
                );
                context.push(
                    Diagnostic::error(Code::AddressFamily, Class::General, line.keyword.span, message).help(
                        "move it to virtual_ipaddress_excluded, which takes either family, or to another instance",
                    ),
                );
            } else {
                draft.addresses.push(address);
                if draft.watch[0].is_due(draft.addresses.len()) {
                    draft.drop_duplicate_addresses(context);
                }
            }
        }
    }),
    Handler("virtual_ipaddress_excluded", |draft, context, statement| {
        for line in statement.body.iter() {
            draft.excluded.extend(address::read(context, "vrrp_instance/virtual_ipaddress_excluded", &line));
        }
    }),
    Handler("virtual_routes", |draft, context, statement| {
        super::route::read_virtual(&mut draft.routes, context, statement);
    }),
    Handler("virtual_rules", |draft, context, statement| {
        super::rule::read_virtual(&mut draft.rules, context, statement);
    }),
    Handler("no_virtual_ipaddress", |draft, _, _| draft.no_address = true),
    Handler("native_ipv6", |draft, context, statement| {
        if !draft.fits_family(Family::Ipv6) {
            let message = format!("{} native_ipv6 comes after an IPv4 address - ignoring", draft.tag());
            context.error(Code::AddressFamily, statement.keyword.span, message);
        }
    }),
    Handler("accept", |draft, _, statement| draft.accept = Some(Spanned::new(true, statement.keyword.span))),
    Handler("no_accept", |draft, _, statement| draft.accept = Some(Spanned::new(false, statement.keyword.span))),
    Handler("preempt", |draft, _, _| draft.nopreempt = None),
    Handler("nopreempt", |draft, _, statement| draft.nopreempt = Some(statement.keyword.span)),
    Handler("preempt_delay", |draft, context, statement| {
        let tag = draft.tag();
        let delay = context
            .time_with(statement, |text| format!("{tag} Preempt_delay ({text}) not valid! must be between 0-1000"));
        draft.preempt_delay = Spanned::new(delay.unwrap_or_default(), statement.span());
    }),
    Handler("garp_master_delay", |draft, context, statement| {
        draft.garp.delay = context.time(statement, &statement.keyword.text).or(draft.garp.delay);
    }),
    Handler("garp_master_repeat", |draft, context, statement| {
        draft.garp.repeat = repeats(context, statement).or(draft.garp.repeat);
    }),
    Handler("garp_master_refresh", |draft, context, statement| {
        draft.garp.refresh = context.time(statement, &statement.keyword.text).or(draft.garp.refresh);
    }),
    Handler("garp_master_refresh_repeat", |draft, context, statement| {
        draft.garp.refresh_repeat = repeats(context, statement).or(draft.garp.refresh_repeat);
    }),
    Handler("garp_lower_prio_delay", |draft, context, statement| {
        draft.garp.lower_prio_delay = context.time(statement, &statement.keyword.text).or(draft.garp.lower_prio_delay);
    }),
    Handler("garp_lower_prio_repeat", |draft, context, statement| {
        let repeat = context.number(statement, "garp_lower_prio_repeat");
        draft.garp.lower_prio_repeat = repeat.or(draft.garp.lower_prio_repeat);
    }),
    Handler("skip_check_adv_addr", |draft, context, statement| {
        draft.skip_check_adv_addr = switch(draft, context, statement).or(draft.skip_check_adv_addr);
    }),
    Handler("lower_prio_no_advert", |draft, context, statement| {
        draft.lower_prio_no_advert = switch(draft, context, statement).or(draft.lower_prio_no_advert);
    }),
    Handler("higher_prio_send_advert", |draft, context, statement| {
        draft.higher_prio_send_advert = switch(draft, context, statement).or(draft.higher_prio_send_advert);
    }),
    Handler("owner_ignore_adverts", |draft, context, statement| {
        draft.owner_ignore_adverts = switch(draft, context, statement).or(draft.owner_ignore_adverts);
    }),
    Handler("strict_mode", |draft, context, statement| {
        draft.strict = switch(draft, context, statement).or(draft.strict);
    }),
    Handler("v3_checksum_as_v2", |draft, context, statement| {
        draft.v3_checksum_as_v2 = switch(draft, context, statement).or(draft.v3_checksum_as_v2);
    }),
    Handler("notify_priority_changes", |draft, context, statement| {
        let tag = draft.tag();
        let notify = context.switch_with(statement, |text| {
            format!("{tag} Invalid value '{text}' for notify_priority_changes specified")
        });
        draft.notify_priority_changes = notify.or(draft.notify_priority_changes);
    }),
    Handler("down_timer_adverts", |draft, context, statement| {
        draft.down_timer_adverts = context.number(statement, "down_timer_adverts").or(draft.down_timer_adverts);
    }),
    Handler("mcast_src_ip", unicast::source),
    Handler("mcast_dst_ip", unicast::group),
    Handler("track_src_ip", |draft, _, statement| draft.cast.track_source = Some(statement.keyword.span)),
    Handler("unicast_src_ip", unicast::source),
    Handler("unicast_peer", unicast::peers),
    Handler("unicast_fault_no_peer", |draft, _, _| draft.cast.fault_no_peer = true),
    Handler("unicast_ttl", unicast::ttl),
    Handler("check_unicast_src", |draft, _, statement| {
        draft.cast.check_source = true;
        draft.cast.word = Some(statement.keyword.span);
    }),
    Handler("old_unicast_checksum", old_checksum),
    Handler("vrf", |draft, context, statement| {
        let name = statement.arguments.first().and_then(|word| context.interface(word));
        draft.vrf = name.or(draft.vrf.take());
    }),
    Handler("use_vmac", link::vmac),
    Handler("use_vmac_addr", |draft, _, _| draft.links.use_vmac_addr = true),
    Handler("vmac_xmit_base", |draft, _, statement| draft.links.xmit_base = Some(statement.keyword.span)),
    Handler("use_ipvlan", link::ipvlan),
    Handler("auth_hmac", |draft, context, statement| {
        draft.hmac = Some(hmac::read(context, statement, draft.tag()));
    }),
    Handler("promote_secondaries", |draft, _, _| draft.promote_secondaries = true),
    Handler("linkbeat_use_polling", |draft, context, statement| {
        let message = format!(
            "{} 'linkbeat_use_polling' in vrrp instance deprecated - use linkbeat_interfaces block",
            draft.tag()
        );
        context.push(Diagnostic::warning(Code::Deprecated, Class::Deprecated, statement.keyword.span, message));
        draft.linkbeat = true;
    }),
    Handler("timer_expired_backup", timer_expired),
    Handler("thread_timer_expired", timer_expired),
    Handler("garp_extra_if", extra_garp),
    Handler("vmac_garp_intvl", |draft, context, statement| {
        context.push(old_name(statement));
        extra_garp(draft, context, statement);
    }),
    Handler("lvs_sync_daemon_interface", |draft, context, statement| {
        let message = format!("{} Specifying lvs_sync_daemon_interface against a vrrp is deprecated.", draft.tag());
        let finding = Diagnostic::warning(Code::Deprecated, Class::Deprecated, statement.keyword.span, message);
        context.push(finding.help("use lvs_sync_daemon in global_defs"));
        let name = statement.arguments.first().and_then(|word| context.interface(word));
        draft.sync_daemon = name.or(draft.sync_daemon.take());
    }),
    Handler("kernel_rx_buf_size", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match integer(&word.text, &bounds(statement)) {
            Ok(bytes) => draft.kernel_rx_buf_size = u32::try_from(bytes).ok(),
            Err(wrong) => {
                context.bad_number(word, wrong, format!("{} invalid kernel_rx_buf_size specified", draft.tag()));
            }
        }
    }),
    Handler("debug", |draft, context, statement| {
        let Some(word) = statement.arguments.first() else { return };
        match integer(&word.text, &bounds(statement)) {
            Ok(level) => draft.debug = u8::try_from(level).unwrap_or_default(),
            Err(wrong) => {
                let message = format!("{} Debug value '{}' not valid; must be between 0-4", draft.tag(), word.text);
                context.bad_number(word, wrong, message);
            }
        }
    }),
    Handler("dont_track_primary", |draft, _, _| draft.ignore_primary = true),
    Handler("notify_master", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.master, statement)
    }),
    Handler("notify_backup", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.backup, statement)
    }),
    Handler("notify_fault", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.fault, statement)
    }),
    Handler("notify_stop", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.stop, statement)
    }),
    Handler("notify", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify.any, statement)
    }),
    Handler("notify_deleted", notify_deleted),
    Handler("notify_master_rx_lower_pri", |draft, context, statement| {
        context.script(&format!("{} ", draft.tag()), &mut draft.notify_lower, statement);
    }),
    Handler("smtp_alert", |draft, context, statement| {
        let alert = context.switch_with(statement, |text| format!("Invalid vrrp_instance smtp_alert parameter {text}"));
        draft.smtp_alert = alert.or(draft.smtp_alert);
    }),
];

/// A switch of an instance.
fn switch(draft: &Draft, context: &mut Context<'_>, statement: &Statement) -> Option<bool> {
    let (tag, keyword) = (draft.tag(), &statement.keyword.text);
    context.switch_with(statement, |text| format!("{tag} invalid {keyword} {text} specified"))
}

fn old_checksum(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    match statement.arguments.first() {
        None => draft.old_checksum = Some(OldChecksum::Use),
        Some(word) if word.text == "never" => {
            context.known_option("vrrp_instance/old_unicast_checksum", "never", word.span);
            draft.old_checksum = Some(OldChecksum::Never);
        }
        Some(word) => {
            let message = format!("{} Unknown old_unicast_chksum mode {} - ignoring", draft.tag(), word.text);
            let finding = Diagnostic::error(Code::BadWord, Class::General, word.span, message);
            context.push(finding.help("'never', or nothing"));
        }
    }
}

/// `timer_expired_backup`, or its old name.
fn timer_expired(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    const NEW: &str = "timer_expired_backup";
    let keyword = &statement.keyword.text;
    if keyword != NEW {
        let message = format!("Keyword \"{keyword}\" is deprecated - please use \"{NEW}\"");
        let finding = Diagnostic::warning(Code::Deprecated, Class::Deprecated, statement.keyword.span, message);
        context.push(finding.replacement(NEW));
    }
    let range = bounds(statement);
    let number = match statement.arguments.first() {
        None => *range.end(),
        Some(word) => match integer(&word.text, &range) {
            Ok(number) => number,
            Err(wrong) => {
                let message = format!("{} {keyword} '{}' is invalid - ignoring", draft.tag(), word.text);
                return context.bad_number(word, wrong, message);
            }
        },
    };
    let priority = u8::try_from(number).ok().and_then(NonZeroU8::new).map(Priority);
    draft.timer_expired = priority.map(|priority| Spanned::new(priority, statement.span()));
}

fn extra_garp(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    draft.garp_extra_if = garp_extra_if(context, statement, &format!("{}: ", draft.tag())).or(draft.garp_extra_if);
}

fn notify_deleted(draft: &mut Draft, context: &mut Context<'_>, statement: &Statement) {
    if draft.notify_deleted.is_some() {
        let given: Vec<_> = statement.arguments.iter().map(|word| word.text.as_str()).collect();
        let message = format!("{} notify_deleted already specified - ignoring {}", draft.tag(), given.join(" "));
        return context.error(Code::ExtraParameter, statement.keyword.span, message);
    }
    let mut script = None;
    context.script(&format!("{} ", draft.tag()), &mut script, statement);
    draft.notify_deleted = Some(NotifyDeleted { script });
}

#[cfg(test)]
pub(super) use {
    address::{FLAGS as ADDRESS_FLAGS, OPTIONS as ADDRESS_OPTIONS},
    hmac::AUTH_HMAC,
};
