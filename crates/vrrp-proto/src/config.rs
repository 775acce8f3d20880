//! What a virtual router is told to be.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::track::{self, Fixed, Tracked, TrackerConfig, TrackerUse};
use crate::types::{
    AdvertisementInterval, Family, GroupId, Instant, LinkId, Priority, RouterId, TrackerId, Version, Vrid,
};

/// The RFC's number of advertisement intervals in Active_Down_Interval (RFC 9568 §6.1).
const DOWN_TIMER_ADVERTS: u8 = 3;
/// The longest preempt delay.
const LONGEST_PREEMPT_DELAY: Duration = Duration::from_secs(1000);

/// All that an [`Engine`](crate::Engine) runs: virtual routers, the groups in which they move together, and what they
/// depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EngineConfig {
    /// The virtual routers.
    pub routers: BTreeMap<RouterId, RouterConfig>,
    /// The sync groups.
    pub groups: BTreeMap<GroupId, GroupConfig>,
    /// The trackers that routers and groups name.
    pub trackers: BTreeMap<TrackerId, TrackerConfig>,
}

impl FromIterator<(RouterId, RouterConfig)> for EngineConfig {
    /// Routers without groups and trackers; the last configuration of an id counts.
    fn from_iter<T: IntoIterator<Item = (RouterId, RouterConfig)>>(routers: T) -> Self {
        Self { routers: routers.into_iter().collect(), ..Self::default() }
    }
}

impl EngineConfig {
    /// What of this configuration does not count, in the order of ids: groups first, then routers.
    #[must_use]
    pub fn findings(&self) -> Vec<ConfigFinding> {
        let mut findings = Vec::new();
        let mut of_router = BTreeMap::new();
        for (&group, config) in &self.groups {
            self.check_group(group, config, &mut of_router, &mut findings);
        }
        for (&router, config) in &self.routers {
            let membership = of_router.get(&router).and_then(|group| Some((*group, self.groups.get(group)?)));
            for tracker in config.trackers.iter().map(|it| it.tracker).filter(|id| !self.trackers.contains_key(id)) {
                findings.push(ConfigFinding::RouterTracksUnknown { router, tracker });
            }
            let kind = |tracker| self.trackers.get(&tracker).copied();
            track::dependencies(config, membership, kind, |tracked, because| {
                findings.push(ConfigFinding::WeightIgnored { router, tracked, because });
            });
        }
        findings
    }

    fn check_group(
        &self,
        group: GroupId,
        config: &GroupConfig,
        of_router: &mut BTreeMap<RouterId, GroupId>,
        findings: &mut Vec<ConfigFinding>,
    ) {
        let mut members = 0u32;
        for &router in config.members.iter().collect::<BTreeSet<_>>() {
            let first = *of_router.entry(router).or_insert(group);
            if !self.routers.contains_key(&router) {
                findings.push(ConfigFinding::MemberUnknown { group, router });
            } else if first != group {
                findings.push(ConfigFinding::SecondMembership { router, first, second: group });
            } else {
                members += 1;
            }
        }
        if members < 2 {
            findings.push(ConfigFinding::FewMembers { group, members });
        }
        for tracker in config.trackers.iter().map(|it| it.tracker).filter(|id| !self.trackers.contains_key(id)) {
            findings.push(ConfigFinding::GroupTracksUnknown { group, tracker });
        }
    }
}

/// Something in an [`EngineConfig`] that does not count, or that is hardly meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ConfigFinding {
    /// The member is left out.
    #[error("group {} names router {}, which does not exist", group.0, router.0)]
    MemberUnknown {
        /// The group.
        group: GroupId,
        /// The member.
        router: RouterId,
    },
    /// The second membership does not count.
    #[error("router {} is in group {} already, its membership in group {} does not count", router.0, first.0, second.0)]
    SecondMembership {
        /// The router.
        router: RouterId,
        /// The group that it belongs to.
        first: GroupId,
        /// The one that it does not belong to.
        second: GroupId,
    },
    /// The group works, but there is nothing to keep together.
    #[error("group {} has {members} members", group.0)]
    FewMembers {
        /// The group.
        group: GroupId,
        /// 0 or 1.
        members: u32,
    },
    /// The router does not depend on it.
    #[error("router {} tracks tracker {}, which does not exist", router.0, tracker.0)]
    RouterTracksUnknown {
        /// The router.
        router: RouterId,
        /// The tracker.
        tracker: TrackerId,
    },
    /// The members do not depend on it.
    #[error("group {} tracks tracker {}, which does not exist", group.0, tracker.0)]
    GroupTracksUnknown {
        /// The group.
        group: GroupId,
        /// The tracker.
        tracker: TrackerId,
    },
    /// The weight counts as 0 for a link of a member of a group and for a file with weight 1; otherwise the router does
    /// not depend on it.
    #[error("the weight of {} {} does not count for router {}: {because}", tracked.kind(), tracked.number(), router.0)]
    WeightIgnored {
        /// The router.
        router: RouterId,
        /// What it tracks.
        tracked: Tracked,
        /// Why its priority may not move.
        because: Fixed,
    },
}

/// Virtual routers that move together (`vrrp_sync_group`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct GroupConfig {
    /// Its members. Of two groups that name the same router the one with the lower id has it.
    pub members: Vec<RouterId>,
    /// Links that every member depends on.
    pub tracked_links: Vec<TrackedLink>,
    /// Trackers that every member depends on.
    pub trackers: Vec<TrackerUse>,
    /// Whether what the members track themselves may move their priorities (`sync_group_tracking_weight`). Default off:
    /// a weighted link loses its weight, so that a link that is down is a fault; so does a file with weight 1; every
    /// other weighted tracker of a member is left out, but for processes, which move its priority all the same.
    pub tracking_weight: bool,
}

impl GroupConfig {
    /// A group that tracks nothing.
    #[must_use]
    pub const fn new(members: Vec<RouterId>) -> Self {
        Self { members, tracked_links: Vec::new(), trackers: Vec::new(), tracking_weight: false }
    }
}

/// Whom a virtual router speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Partners {
    /// All on the link; a link that cannot carry multicast is a fault.
    #[default]
    Multicast,
    /// Some by unicast.
    Unicast,
    /// None, although it is one for unicast: a fault (`unicast_fault_no_peer`).
    Missing,
}

/// One virtual router as the [`Engine`](crate::Engine) sees it. Holds no secret: passwords and keys belong to
/// [`WireConfig`](crate::WireConfig).
///
/// [`RouterConfig::new`] gives keepalived's defaults; the fields are then set one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RouterConfig {
    /// Its number on the link.
    pub vrid: Vrid,
    /// The protocol version it speaks; `advertisement_interval` must be one of the same version (see
    /// [`AdvertisementInterval::nearest`]).
    pub version: Version,
    /// The family of its packets and addresses.
    pub family: Family,
    /// The configured priority, 1..=255; trackers move the effective one. Default 100.
    pub priority: Priority,
    /// The time between its advertisements. Default one second.
    pub advertisement_interval: AdvertisementInterval,
    /// The virtual addresses that the advertisements name, in configured order.
    pub addresses: Vec<IpAddr>,
    /// Any number that changes whenever something else that `Apply` puts in place changes: prefixes, devices, routes,
    /// rules, excluded addresses. Another number makes an Active Router apply again.
    pub resources_revision: u64,
    /// The link that it runs on; `None` for a unicast router that is bound to none.
    pub link: Option<LinkId>,
    /// Whether its own link being down is a fault (off with keepalived's `dont_track_primary`). Default on.
    pub track_link: bool,
    /// Other links that it depends on.
    pub tracked_links: Vec<TrackedLink>,
    /// Trackers that it depends on.
    pub trackers: Vec<TrackerUse>,
    /// Whom it speaks to. Default multicast.
    pub partners: Partners,
    /// The source address of its packets, if one is configured; else that of the link.
    pub source: Option<IpAddr>,
    /// Whether a configured `source` must be the link's own address (`track_src_ip`). Default off.
    pub track_source: bool,
    /// Strict mode (`strict_mode`): the RFC's rules whatever else is set; see [`RouterConfig::strict_changes`].
    /// Default off.
    pub strict: bool,
    /// Whether it takes over from a lower priority ("Preempt_Mode", RFC 9568 §6.1); priority 255 always does.
    /// Default on.
    pub preempt_mode: bool,
    /// How long it lets a router of lower priority be before it preempts, up to 1000 s; nothing without preemption.
    /// Default zero.
    pub preempt_delay: Duration,
    /// How many advertisement intervals of silence end in a take-over, 1..=100. Default 3.
    pub down_timer_adverts: u8,
    /// Whether packets to the addresses are taken in although it does not own them ("Accept_Mode", RFC 9568 §6.1).
    /// `None`: only outside strict mode. Default `None`.
    pub accept_mode: Option<bool>,
    /// Until then it hears nothing, and its first timer begins then: the start-up delay. Counts when the router starts
    /// or leaves fault. Default [`Instant::ZERO`].
    pub start_not_before: Instant,
    /// The highest priority among its peers, 1..=254 (`timer_expired_backup`): if this process was held up until such a
    /// peer must have taken over, it goes to Backup. Without preemption only. Default `None`.
    pub timer_expired_backup: Option<Priority>,
    /// Whether [`Notification::Active`](crate::Notification::Active) is given out again after a conflict with another
    /// Active Router that this one won. Default off.
    pub renotify_on_conflict: bool,
    /// Whether an Active Router leaves an advertisement of lower priority unanswered. Default off.
    pub lower_prio_no_advert: bool,
    /// Whether an Active Router sends one more advertisement before it yields to a higher priority. Default off.
    pub higher_prio_send_advert: bool,
    /// When its addresses are announced.
    pub announcements: AnnounceConfig,
}

impl RouterConfig {
    /// A router with keepalived's defaults: version 2 for IPv4 and 3 for IPv6, priority 100, one second.
    #[must_use]
    pub fn new(vrid: Vrid, family: Family) -> Self {
        let version = match family {
            Family::Ipv4 => Version::V2,
            Family::Ipv6 => Version::V3,
        };
        Self {
            vrid,
            version,
            family,
            priority: Priority::DEFAULT,
            advertisement_interval: AdvertisementInterval::one_second(version),
            addresses: Vec::new(),
            resources_revision: 0,
            link: None,
            track_link: true,
            tracked_links: Vec::new(),
            trackers: Vec::new(),
            partners: Partners::Multicast,
            source: None,
            track_source: false,
            strict: false,
            preempt_mode: true,
            preempt_delay: Duration::ZERO,
            down_timer_adverts: DOWN_TIMER_ADVERTS,
            accept_mode: None,
            start_not_before: Instant::ZERO,
            timer_expired_backup: None,
            renotify_on_conflict: false,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            announcements: AnnounceConfig::default(),
        }
    }

    /// Whether this router owns the addresses (priority 255).
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.priority == Priority::OWNER
    }

    /// Preempt_Mode as it takes effect: the owner always preempts (RFC 9568 §6.1).
    #[must_use]
    pub fn preempts(&self) -> bool {
        self.preempt_mode || self.is_owner()
    }

    /// What takes effect: the fields above as the owner's rights, strict mode and the ranges leave them.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let preempt_mode = self.preempts();
        let mut rules = Rules {
            preempt_mode,
            preempt_delay: if preempt_mode { self.preempt_delay.min(LONGEST_PREEMPT_DELAY) } else { Duration::ZERO },
            down_timer_adverts: self.down_timer_adverts.clamp(1, 100),
            accept_mode: self.is_owner() || self.accept_mode.unwrap_or(!self.strict),
            timer_expired_backup: self
                .timer_expired_backup
                .filter(|_| !preempt_mode)
                .map(|highest| highest.clamp(Priority(1), Priority(254))),
            lower_prio_no_advert: self.lower_prio_no_advert,
            higher_prio_send_advert: self.higher_prio_send_advert,
            announcements: self.announcements.rules(),
        };
        if self.strict {
            rules.make_strict(self);
        }
        rules
    }

    /// What strict mode overrides of the settings above; empty without it. What it means for packets (authentication,
    /// unicast, MAC addresses, adverts heard by the owner) is for the caller to see to.
    #[must_use]
    pub fn strict_changes(&self) -> Vec<StrictChange> {
        let (strict, free) = (self.rules(), Self { strict: false, ..self.clone() }.rules());
        let lower_prio = |rules: &Rules| (rules.announcements.lower_prio_repeat, rules.announcements.lower_prio_delay);
        [
            (StrictChange::PreemptDelay, strict.preempt_delay != free.preempt_delay),
            (StrictChange::DownTimerAdverts, strict.down_timer_adverts != free.down_timer_adverts),
            (StrictChange::AcceptMode, strict.accept_mode != free.accept_mode),
            (StrictChange::LowerPrioNoAdvert, strict.lower_prio_no_advert != free.lower_prio_no_advert),
            (StrictChange::HigherPrioSendAdvert, strict.higher_prio_send_advert != free.higher_prio_send_advert),
            (StrictChange::LowerPrioAnnouncements, lower_prio(&strict) != lower_prio(&free)),
        ]
        .into_iter()
        .filter_map(|(change, differs)| differs.then_some(change))
        .collect()
    }

    /// Active_Down_Interval for an Active Router that advertises every `interval`, with an effective `priority`:
    /// `down_timer_adverts` intervals and Skew_Time (RFC 9568 §6.1).
    #[must_use]
    pub fn active_down_interval(&self, interval: AdvertisementInterval, priority: Priority) -> Duration {
        let adverts = self.rules().down_timer_adverts;
        interval.duration().saturating_mul(u32::from(adverts)) + interval.skew_time(priority)
    }

    /// Active_Down_Interval of the peer that waits least for this router: the owner, with the RFC's three intervals, or
    /// fewer if this router has fewer. More of them here say nothing of the peers.
    pub(crate) fn shortest_active_down_interval(&self) -> Duration {
        let down_timer_adverts = self.rules().down_timer_adverts.min(DOWN_TIMER_ADVERTS);
        let interval = self.advertisement_interval;
        interval.duration().saturating_mul(down_timer_adverts.into()) + interval.skew_time(Priority::OWNER)
    }

    /// Whether an Active Router has to apply again what `Apply` puts in place.
    pub(crate) fn applies_otherwise_than(&self, old: &Self) -> bool {
        self.addresses != old.addresses
            || self.resources_revision != old.resources_revision
            || self.rules().accept_mode != old.rules().accept_mode
    }

    /// Whether `other` is the same virtual router on the wire, so that one can become the other without a restart.
    #[must_use]
    pub(crate) fn same_identity(&self, other: &Self) -> bool {
        let identity = |it: &Self| (it.vrid, it.version, it.family, it.link);
        identity(self) == identity(other)
    }
}

/// The rules that a virtual router goes by; see [`RouterConfig::rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// See [`RouterConfig::preempt_mode`].
    pub preempt_mode: bool,
    /// See [`RouterConfig::preempt_delay`]; at most 1000 s.
    pub preempt_delay: Duration,
    /// See [`RouterConfig::down_timer_adverts`]; 1..=100.
    pub down_timer_adverts: u8,
    /// See [`RouterConfig::accept_mode`]; always on for the owner. The driver filters packets to the addresses of an
    /// Active Router by it, Neighbor Solicitations and Advertisements excepted.
    pub accept_mode: bool,
    /// See [`RouterConfig::timer_expired_backup`]; 1..=254.
    pub timer_expired_backup: Option<Priority>,
    /// See [`RouterConfig::lower_prio_no_advert`].
    pub lower_prio_no_advert: bool,
    /// See [`RouterConfig::higher_prio_send_advert`].
    pub higher_prio_send_advert: bool,
    /// See [`RouterConfig::announcements`].
    pub announcements: AnnounceConfig,
}

impl Rules {
    /// Every effect of strict mode on a state machine.
    fn make_strict(&mut self, config: &RouterConfig) {
        self.preempt_delay = Duration::ZERO;
        self.down_timer_adverts = DOWN_TIMER_ADVERTS;
        self.accept_mode &= config.is_owner() || config.version == Version::V3;
        self.lower_prio_no_advert = true;
        self.higher_prio_send_advert = false;
        self.announcements.lower_prio_repeat = 0;
        self.announcements.lower_prio_delay = Duration::ZERO;
    }
}

/// A setting that strict mode overrides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StrictChange {
    /// `preempt_delay` is dropped.
    PreemptDelay,
    /// `down_timer_adverts` is 3.
    DownTimerAdverts,
    /// A router that does not own the addresses does not take in packets to them: version 2 never, version 3 unless
    /// `accept` says so.
    AcceptMode,
    /// `lower_prio_no_advert` is on.
    LowerPrioNoAdvert,
    /// `higher_prio_send_advert` is off.
    HigherPrioSendAdvert,
    /// `garp_lower_prio_repeat` and `garp_lower_prio_delay` are zero.
    LowerPrioAnnouncements,
}

/// A link whose state moves the priority of a router, or puts it in fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackedLink {
    /// The link.
    pub link: LinkId,
    /// Added to the priority while the link is up if positive; its absolute value is subtracted while the link is down
    /// if negative. −253..=253; 0 makes a link that is down a fault.
    pub weight: i16,
    /// Turns the movement, or the fault, into its opposite.
    pub reverse: bool,
}

/// When the addresses of an Active Router are announced by gratuitous ARP or unsolicited Neighbor Advertisement. A
/// *block* announces every address `repeat` times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AnnounceConfig {
    /// `garp_master_repeat`: sends per address in the block that follows a take-over; 0 counts as 1. Default 5.
    pub repeat: u8,
    /// `garp_master_delay`: when a second such block follows; zero for none. Default 5 s.
    pub delay: Duration,
    /// `garp_master_refresh`: the period of further blocks; zero for none. Default zero.
    pub refresh: Duration,
    /// `garp_master_refresh_repeat`: sends per address in these; 0 counts as 1. Default 1.
    pub refresh_repeat: u8,
    /// `garp_lower_prio_repeat`: sends per address in the block after an advertisement of lower priority; 0 for none.
    /// Default 5.
    pub lower_prio_repeat: u8,
    /// `garp_lower_prio_delay`: when a second such block follows; zero for none. Default 5 s.
    pub lower_prio_delay: Duration,
    /// `garp_extra_if`: the period of announcements on other links, up to a day; zero for none. Default zero.
    pub extra_period: Duration,
    /// Which links these are. Default [`ExtraLinks::VirtualMac`].
    pub extra_links: ExtraLinks,
}

/// On which links an address is announced every [`AnnounceConfig::extra_period`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ExtraLinks {
    /// Those with a virtual MAC that hold an address and are not the router's own.
    #[default]
    VirtualMac,
    /// `all`: every one that holds an address.
    All,
}

impl AnnounceConfig {
    /// `vrrp_min_garp`: one send per address, no second block.
    pub const MINIMAL: Self = Self {
        repeat: 1,
        delay: Duration::ZERO,
        refresh: Duration::ZERO,
        refresh_repeat: 1,
        lower_prio_repeat: 1,
        lower_prio_delay: Duration::ZERO,
        extra_period: Duration::ZERO,
        extra_links: ExtraLinks::VirtualMac,
    };

    fn rules(self) -> Self {
        Self { repeat: self.repeat.max(1), refresh_repeat: self.refresh_repeat.max(1), ..self }
    }
}

impl Default for AnnounceConfig {
    fn default() -> Self {
        Self {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            lower_prio_repeat: 5,
            lower_prio_delay: Duration::from_secs(5),
            extra_period: Duration::ZERO,
            extra_links: ExtraLinks::VirtualMac,
        }
    }
}
