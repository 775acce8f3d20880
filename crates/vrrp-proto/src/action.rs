//! What comes out of a virtual router and of the engine.

use core::net::IpAddr;
use core::time::Duration;

use crate::control::{Command, Control};
use crate::planted::{Bug, planted};
use crate::track::Verdict;
use crate::types::{AdvertisementInterval, GroupId, Instant, LinkId, Priority, RouterId, Ticket, TrackerId};

/// What the driver does next. The order of the queue is part of the contract.
///
/// Becoming Active: `Record`(timeout), `Fact`, `Advertise`, `Record`(entering), `Apply`; after `handle_applied` then
/// `Announce`, `Notify`, `Fact`. Leaving it: `Record`s, `Fact`, `Advertise`(0) unless a better router took over, `Record`,
/// `Apply`, `Notify`. "No longer Active" is so told before the resignation leaves and before the first address goes.
///
/// In a sync group the member that moves first comes first, with all of its own actions; then
/// `Record`([`Event::GroupSyncs`]) in its name, the actions of the other members one after the other, and `NotifyGroup`
/// once scripts were told of every member. On shutdown the groups come after all routers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Action {
    /// Tell whoever restarts this process. Comes before everything that depends on it; the newest per router counts.
    Fact {
        /// Of which router.
        router: RouterId,
        /// What [`Engine::resume`](crate::Engine::resume) needs.
        snapshot: RouterSnapshot,
    },
    /// Send an advertisement now, to the group or to every peer.
    Advertise {
        /// Of which router.
        router: RouterId,
        /// 0 resigns.
        priority: Priority,
    },
    /// Make the kernel's addresses, routes and rules those of `ownership`; answer with `handle_applied` or
    /// `handle_refused`. A newer one for the same router replaces it. The last one of a router that was removed is for
    /// the driver to try until it succeeds: nobody is left here to ask again.
    Apply {
        /// Of which router.
        router: RouterId,
        /// What is wanted.
        ownership: Ownership,
        /// To be given back with the answer.
        ticket: Ticket,
    },
    /// Announce addresses by gratuitous ARP or unsolicited Neighbor Advertisement: all that `scope` names once, then
    /// again, `repeat` times in all. What still waits of an earlier announcement of the same scope is replaced.
    Announce {
        /// Of which router.
        router: RouterId,
        /// Which addresses.
        scope: AnnounceScope,
        /// Sends per address, at least 1.
        repeat: u8,
    },
    /// Run notification scripts, write FIFOs, send mail.
    Notify {
        /// Of which router.
        router: RouterId,
        /// What is said.
        notification: Notification,
        /// Its effective priority.
        priority: Priority,
    },
    /// Tell whoever restarts this process what a tracker said last. The newest per tracker counts.
    TrackerFact {
        /// Which tracker.
        tracker: TrackerId,
        /// What it said; `None` once it is no longer configured.
        verdict: Option<Verdict>,
    },
    /// As [`Notify`](Self::Notify), for a sync group. Comes after the notifications of its members.
    NotifyGroup {
        /// Of which group.
        group: GroupId,
        /// What is said.
        notification: Notification,
    },
    /// Active_Down_Timer is about to end: unless something is heard before, the router takes over then. What takes time to
    /// wake up can be woken now; nothing else follows from it, and it may come more than once. Only with
    /// [`Engine::prepare_ahead`](crate::Engine::prepare_ahead).
    Prepare {
        /// Which router.
        router: RouterId,
        /// When it takes over.
        due: Instant,
    },
    /// Something that a person reading the log wants to know.
    Record {
        /// Of which router.
        router: RouterId,
        /// What happened.
        event: Event,
    },
}

impl Action {
    /// The router that the action is about; `None` if it is about a group or a tracker.
    #[must_use]
    pub const fn router(&self) -> Option<RouterId> {
        match self {
            Self::TrackerFact { .. } | Self::NotifyGroup { .. } => None,
            Self::Fact { router, .. }
            | Self::Advertise { router, .. }
            | Self::Apply { router, .. }
            | Self::Announce { router, .. }
            | Self::Notify { router, .. }
            | Self::Prepare { router, .. }
            | Self::Record { router, .. } => Some(*router),
        }
    }
}

/// Which addresses are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum AnnounceScope {
    /// Every address.
    Addresses,
    /// One address on each link with a virtual MAC that holds any and is not the router's own link
    /// (`garp_extra_if`): switches forget a MAC address that sends nothing.
    VirtualMacLinks,
    /// One address on each link that holds any (`garp_extra_if all`).
    AllLinks,
}

/// Whether the virtual addresses belong to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Ownership {
    /// Put everything in place; adopt what is there.
    Held,
    /// Take everything away.
    Released,
}

/// The part that a router plays, without its timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Role {
    /// Not started, or shut down ("Initialize", RFC 9568 §6.4.1).
    Stopped,
    /// In Initialize because something that it needs is missing; see [`FaultReason`].
    Fault,
    /// Listens to the Active Router (RFC 9568 §6.4.2).
    Backup,
    /// Holds the addresses (RFC 9568 §6.4.3).
    Active,
}

/// How a conflict between two Active Routers ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ConflictOutcome {
    /// This router stayed Active: no rival was heard for one Active_Down_Interval.
    Won,
    /// This router gave way to a better one.
    Yielded,
    /// This router is no longer Active for a reason of its own.
    Abandoned,
}

/// What notification scripts are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Notification {
    /// It became Active and its addresses are in place; with `renotify_on_conflict` also after a conflict that it won.
    Active,
    /// It became Backup.
    Backup {
        /// Whether this is its first state.
        initial: bool,
    },
    /// It went to fault.
    Fault {
        /// Whether this is its first state.
        initial: bool,
    },
    /// The daemon stops.
    Stop,
    /// It is no longer configured.
    Deleted,
    /// As Active it heard a lower priority (`notify_master_rx_lower_pri`); at most once per advertisement interval.
    ReceivedLowerPriority,
}

/// A reason to be in fault. A router is in fault while it has at least one; each comes and goes on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum FaultReason {
    /// The link does not exist, or nothing is known of it yet.
    LinkMissing(LinkId),
    /// The link is down.
    LinkDown(LinkId),
    /// A tracked link without weight is down, or up if it is tracked in reverse.
    TrackedLink(LinkId),
    /// The link has no address of the router's family to send from, or not the configured one.
    NoSourceAddress,
    /// The kernel did not put the addresses in place within one Active_Down_Interval.
    NotApplied,
    /// The link cannot carry multicast, which the router needs.
    LinkWithoutMulticast(LinkId),
    /// It is a unicast router without a peer (`unicast_fault_no_peer`).
    NoPeers,
    /// A tracker without weight fails, or succeeds if it is tracked in reverse; or a file's product is below −253.
    Tracker(TrackerId),
    /// A tracker without weight has not said anything since the start. The only reason that no one is told of.
    TrackerPending(TrackerId),
    /// Another member of the sync group is in fault.
    SyncGroup(GroupId),
    /// Held in maintenance by command.
    Maintenance,
    /// Its advertisements neither come nor leave: the driver could not open a socket for them.
    NoPath,
}

/// What the next process needs to go on where this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RouterSnapshot {
    /// The part it plays; it holds its addresses only as [`Role::Active`]. In a fault that no one was told of (see
    /// [`FaultReason::TrackerPending`]) it is [`Role::Stopped`].
    pub role: Role,
    /// When it last sent an advertisement as Active.
    pub last_advertisement: Option<Instant>,
    /// How long every peer waits in silence after that advertisement, whatever its priority: three of the intervals that held
    /// then, or fewer if this router waits for fewer, and the owner's Skew_Time. Zero before the first one.
    pub active_down_interval: Duration,
    /// The interval of the Active Router that it follows.
    pub active_adver_interval: AdvertisementInterval,
    /// When it last changed its part.
    pub last_transition: Option<Instant>,
    /// As Active: whether [`Notification::Active`] was given out.
    pub notified: bool,
    /// What a person told it to do.
    pub control: Control,
}

impl RouterSnapshot {
    /// Whether it held its addresses.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        match self.role {
            Role::Active => Ownership::Held,
            Role::Stopped | Role::Fault | Role::Backup => Ownership::Released,
        }
    }

    /// Whether a process that starts at `now` may go on as Active: no peer's Active_Down_Timer can have ended.
    #[must_use]
    pub fn resumable(&self, now: Instant) -> bool {
        self.role == Role::Active
            && self
                .last_advertisement
                .is_some_and(|last| last <= now && (self.is_young(last, now) || planted(Bug::ResumesTooLate)))
    }

    fn is_young(&self, last: Instant, now: Instant) -> bool {
        now.saturating_duration_since(last) < self.active_down_interval
    }
}

/// What a log line says. The words are the driver's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Event {
    /// Active_Down_Timer fired: the router takes over.
    ReceiveAdvertisementTimeout,
    /// It becomes Active.
    EnteringActive,
    /// It becomes Backup.
    EnteringBackup {
        /// Whether this is its first state.
        initial: bool,
    },
    /// It goes to fault.
    EnteringFault {
        /// Whether this is its first state.
        initial: bool,
    },
    /// A new process goes on as Active.
    ResumedActive,
    /// A reason to be in fault appeared.
    FaultRaised(FaultReason),
    /// A reason to be in fault went away; others may remain.
    FaultCleared(FaultReason),
    /// As Active: a higher priority was heard; the router yields.
    HigherPriorityAdvert {
        /// The sender.
        source: IpAddr,
        /// Its priority.
        theirs: Priority,
        /// Our effective priority.
        ours: Priority,
    },
    /// As Active: the same priority from a higher address was heard; the router yields.
    HigherAddressAdvert {
        /// The sender.
        source: IpAddr,
        /// The priority of both.
        priority: Priority,
    },
    /// As Active: a lower priority, or the same from a lower address. Once per advertisement interval.
    LowerPriorityAdvert {
        /// The sender.
        source: IpAddr,
        /// Its priority.
        theirs: Priority,
        /// Our effective priority.
        ours: Priority,
        /// Whether it is answered by an advertisement.
        answered: bool,
    },
    /// As Backup: a lower priority, which does not hold the router back. Once per advertisement interval.
    LowerPriorityDiscarded {
        /// The sender.
        source: IpAddr,
        /// Its priority.
        theirs: Priority,
    },
    /// As Active: our own priority from our own address. Once per advertisement interval.
    OwnAddressAdvert {
        /// The address.
        source: IpAddr,
    },
    /// Another router also says that it owns the addresses (RFC 9568 §8.3.2).
    TwoOwners {
        /// The other one.
        source: IpAddr,
        /// Whether this router yields to it.
        yields: bool,
    },
    /// The second owner, which ought to yield, is no longer heard.
    RivalOwnerStopped {
        /// Its address.
        source: IpAddr,
    },
    /// The second owner does not yield: this router runs at 254 from now on.
    RivalOwnerPersists {
        /// Its address.
        source: IpAddr,
    },
    /// Something else than the second owner was heard: this router runs at 255 again.
    OwnerPriorityRestored {
        /// What was heard.
        source: IpAddr,
    },
    /// As Active: another Active Router is heard. Everything until [`Event::ConflictEnded`] is the same conflict, however
    /// many rivals there are.
    ConflictStarted {
        /// The first rival.
        source: IpAddr,
        /// Its priority.
        theirs: Priority,
        /// Our effective priority.
        ours: Priority,
    },
    /// Rivals are no longer heard, or this router is no longer Active.
    ConflictEnded {
        /// The rival heard last.
        source: IpAddr,
        /// From the first to the last advertisement of a rival.
        duration: Duration,
        /// How many of them were heard.
        advertisements: u32,
        /// How it ended.
        outcome: ConflictOutcome,
    },
    /// As Active: this process was held up for so long that a peer has taken over, or must have (`timer_expired_backup`).
    TimerExpired {
        /// How late Adver_Timer is.
        late: Duration,
    },
    /// As Backup: the Active Router resigned.
    BackupReceivedPriorityZero {
        /// The sender.
        source: IpAddr,
    },
    /// As Active: another router resigned.
    ActiveReceivedPriorityZero {
        /// The sender.
        source: IpAddr,
    },
    /// An advertisement of priority 0 was sent.
    SentPriorityZero,
    /// Preempting a lower priority waits.
    PreemptDelayStarted {
        /// For how long.
        delay: Duration,
    },
    /// Preempting is off: an equal or higher priority was heard.
    PreemptDelayStopped,
    /// As Backup: an Active Router was heard.
    ActiveSetTo {
        /// Its address.
        address: IpAddr,
    },
    /// As Backup: another Active Router than before was heard.
    ActiveChanged {
        /// The one before.
        from: IpAddr,
        /// The one now.
        to: IpAddr,
    },
    /// As Backup: the Active Router's interval differs from the one followed until now.
    IntervalLearned {
        /// The interval before.
        from: AdvertisementInterval,
        /// The interval now.
        to: AdvertisementInterval,
    },
    /// Trackers or a reload moved the effective priority.
    PriorityChanged {
        /// Before.
        from: Priority,
        /// Now.
        to: Priority,
    },
    /// As Active: an address was taken away from outside.
    AddressLost {
        /// Whether it is put back; otherwise the router gives up being Active.
        restored: bool,
    },
    /// The kernel refused a change; it is tried again.
    Refused {
        /// What was wanted.
        ownership: Ownership,
    },
    /// This member is the first of its sync group to change its part; the others follow at once.
    GroupSyncs {
        /// The group.
        group: GroupId,
        /// Where it goes: [`Role::Active`], [`Role::Backup`] or [`Role::Fault`].
        to: Role,
    },
    /// A person told it something.
    Commanded(Command),
}
