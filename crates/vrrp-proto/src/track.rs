//! What trackers say, and what that means for the priority of a virtual router and its faults.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use crate::action::FaultReason;
use crate::config::{GroupConfig, RouterConfig, TrackedLink};
use crate::engine::LinkFacts;
use crate::types::{GroupId, LinkId, Priority, TrackerId};

/// What a tracker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum TrackerConfig {
    /// A script that succeeds or fails.
    Script {
        /// Counts as failing until it has succeeded.
        init_fail: bool,
    },
    /// A file that holds a number; 0 until it has been read.
    File,
    /// A number of processes that is enough or not.
    Process,
    /// A BFD session; down until it has come up.
    Bfd,
}

/// What a tracker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Verdict {
    /// The script succeeds, the processes are enough, the session is up.
    Up,
    /// The opposite.
    Down,
    /// The number in the file.
    Value(i64),
}

/// A tracker that moves the priority of a router, or puts it in fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackerUse {
    /// The tracker.
    pub tracker: TrackerId,
    /// Added to the priority while the tracker is up if positive; its absolute value is subtracted while the tracker is
    /// down if negative. For a file: multiplied by the number. −253..=253, for files and processes −254..=254. 0 makes
    /// a tracker that is down, or a file that holds another number than 0, a fault.
    pub weight: i16,
    /// Turns the movement, or the fault, into its opposite.
    pub reverse: bool,
}

impl TrackerConfig {
    /// Whether a tracker of this kind can say that.
    #[must_use]
    pub const fn can_say(&self, verdict: Verdict) -> bool {
        matches!(self, Self::File) == matches!(verdict, Verdict::Value(_))
    }
}

/// Something that moves a priority, with its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Tracked {
    /// A link.
    Link(LinkId),
    /// A script.
    Script(TrackerId),
    /// A file.
    File(TrackerId),
    /// Processes.
    Process(TrackerId),
    /// A BFD session.
    Bfd(TrackerId),
}

impl Tracked {
    pub(crate) const fn of(config: TrackerConfig, tracker: TrackerId) -> Self {
        match config {
            TrackerConfig::Script { .. } => Self::Script(tracker),
            TrackerConfig::File => Self::File(tracker),
            TrackerConfig::Process => Self::Process(tracker),
            TrackerConfig::Bfd => Self::Bfd(tracker),
        }
    }

    /// The word of the configuration for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Link(_) => "interface",
            Self::Script(_) => "script",
            Self::File(_) => "file",
            Self::Process(_) => "process",
            Self::Bfd(_) => "BFD session",
        }
    }

    pub(crate) const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Link(link) => Some(*link),
            Self::Script(_) | Self::File(_) | Self::Process(_) | Self::Bfd(_) => None,
        }
    }

    pub(crate) const fn tracker(&self) -> Option<TrackerId> {
        match self {
            Self::Link(_) => None,
            Self::Script(id) | Self::File(id) | Self::Process(id) | Self::Bfd(id) => Some(*id),
        }
    }

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Link(link) => link.0,
            Self::Script(tracker) | Self::File(tracker) | Self::Process(tracker) | Self::Bfd(tracker) => tracker.0,
        }
    }

    fn failing(self) -> FaultReason {
        match self {
            Self::Link(link) => FaultReason::TrackedLink(link),
            Self::Script(tracker) | Self::File(tracker) | Self::Process(tracker) | Self::Bfd(tracker) => {
                FaultReason::Tracker(tracker)
            }
        }
    }
}

/// What is known of everything that can be tracked.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) links: &'a BTreeMap<LinkId, LinkFacts>,
    pub(crate) trackers: &'a BTreeMap<TrackerId, Tracker>,
}

/// A tracker with what it said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tracker {
    pub(crate) config: TrackerConfig,
    pub(crate) verdict: Option<Verdict>,
}

enum Reading {
    Good,
    Bad,
    Number(i64),
    /// Nothing has been said yet.
    Unknown,
}

impl Known<'_> {
    fn read(&self, tracked: Tracked) -> Reading {
        let (Tracked::Script(id) | Tracked::File(id) | Tracked::Process(id) | Tracked::Bfd(id)) = tracked else {
            return self.read_link(tracked);
        };
        let Some(tracker) = self.trackers.get(&id) else {
            return Reading::Unknown;
        };
        match (tracker.verdict, tracker.config) {
            (Some(Verdict::Up), _) => Reading::Good,
            (Some(Verdict::Down), _) | (None, TrackerConfig::Script { init_fail: true } | TrackerConfig::Bfd) => {
                Reading::Bad
            }
            (Some(Verdict::Value(number)), _) => Reading::Number(number),
            (None, TrackerConfig::File) => Reading::Number(0),
            (None, TrackerConfig::Script { init_fail: false } | TrackerConfig::Process) => Reading::Unknown,
        }
    }

    fn read_link(&self, tracked: Tracked) -> Reading {
        let up = matches!(tracked, Tracked::Link(link) if self.links.get(&link).is_some_and(|facts| facts.up));
        if up { Reading::Good } else { Reading::Bad }
    }
}

/// One thing that one router depends on, once the rules for owners and sync groups are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) tracked: Tracked,
    weight: i16,
    reverse: bool,
}

/// What a dependency does to its router now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Moves(i32),
    Fault(FaultReason),
}

/// The smallest product of a file that is not a fault, and the largest one that counts.
const MOST: i64 = 253;

impl Dependency {
    pub(crate) fn effect(&self, known: Known<'_>) -> Effect {
        let weight = i64::from(self.weight);
        let movement = match known.read(self.tracked) {
            Reading::Unknown if weight == 0 => return self.pending(),
            Reading::Good if weight == 0 => return self.fault_if(self.reverse),
            Reading::Bad if weight == 0 => return self.fault_if(!self.reverse),
            Reading::Number(number) if weight == 0 => return self.fault_if((number != 0) != self.reverse),
            Reading::Unknown => 0,
            Reading::Good => weight.max(0),
            Reading::Bad => weight.min(0),
            Reading::Number(number) => number.saturating_mul(weight),
        };
        let movement = if self.reverse { movement.saturating_neg() } else { movement };
        let is_file = matches!(self.tracked, Tracked::File(_));
        if is_file && movement < -MOST {
            return Effect::Fault(self.tracked.failing());
        }
        let most = if is_file { MOST } else { i64::from(i16::MAX) };
        Effect::Moves(i32::try_from(movement.min(most)).unwrap_or(i32::MIN))
    }

    fn fault_if(&self, failing: bool) -> Effect {
        if failing { Effect::Fault(self.tracked.failing()) } else { Effect::Moves(0) }
    }

    fn pending(&self) -> Effect {
        Effect::Fault(FaultReason::TrackerPending(TrackerId(self.tracked.number())))
    }
}

/// Why the weight of something that a router tracks does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Fixed {
    /// It owns the addresses: its priority never changes.
    #[error("it owns the addresses")]
    Owner,
    /// It is a member of a sync group, whose members move together.
    #[error("it is a member of group {}", .0.0)]
    Group(GroupId),
}

/// What becomes of something with a weight that a router may not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remains {
    Unweighted,
    Nothing,
}

/// keepalived leaves members of a group their weighted processes.
const fn may_float(tracked: Tracked, fixed: Fixed) -> bool {
    matches!((tracked, fixed), (Tracked::Process(_), Fixed::Group(_)))
}

fn remains(tracked: Tracked, weight: i16, fixed: Fixed) -> Remains {
    match (tracked, fixed) {
        (Tracked::Link(_), Fixed::Group(_)) => Remains::Unweighted,
        (Tracked::File(_), _) if matches!(weight, 1 | -1) => Remains::Unweighted,
        _ => Remains::Nothing,
    }
}

/// A sync group as its members' dependencies see it.
pub(crate) type Membership<'a> = Option<(GroupId, &'a GroupConfig)>;

/// What a router depends on: what itself and its sync group track. Calls `ignored` for every weight that does not count.
pub(crate) fn dependencies(
    config: &RouterConfig,
    group: Membership<'_>,
    kind: impl Fn(TrackerId) -> Option<TrackerConfig>,
    mut ignored: impl FnMut(Tracked, Fixed),
) -> Vec<Dependency> {
    let owner = config.is_owner().then_some(Fixed::Owner);
    let of_group = group.filter(|(_, group)| !group.tracking_weight).map(|(id, _)| Fixed::Group(id));
    let own = uses(&config.tracked_links, &config.trackers, &kind).map(|it| (it, owner.or(of_group)));
    let no_group = GroupConfig::default();
    let shared = group.map_or(&no_group, |(_, group)| group);
    let shared = uses(&shared.tracked_links, &shared.trackers, &kind).map(|it| (it, owner));
    let mut found = Vec::new();
    for (mut it, fixed) in own.chain(shared) {
        if let Some(fixed) = fixed.filter(|fixed| it.weight != 0 && !may_float(it.tracked, *fixed)) {
            ignored(it.tracked, fixed);
            if remains(it.tracked, it.weight, fixed) == Remains::Nothing {
                continue;
            }
            it.weight = 0;
        }
        found.push(it);
    }
    found
}

fn uses(
    links: &[TrackedLink],
    trackers: &[TrackerUse],
    kind: &impl Fn(TrackerId) -> Option<TrackerConfig>,
) -> impl Iterator<Item = Dependency> {
    let links =
        links.iter().map(|it| Dependency { tracked: Tracked::Link(it.link), weight: it.weight, reverse: it.reverse });
    let trackers = trackers.iter().filter_map(move |it| {
        let tracked = Tracked::of(kind(it.tracker)?, it.tracker);
        Some(Dependency { tracked, weight: it.weight, reverse: it.reverse })
    });
    links.chain(trackers)
}

/// How an effective priority comes about. Its text is like "150 − 20 script chk_nginx".
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PriorityExplanation {
    /// Where it starts: the configured priority, or the one set by command.
    pub base: Priority,
    /// Whether `base` was set by command.
    pub by_command: bool,
    /// What moves it now, and by how much; never 0.
    pub moves: Vec<(Tracked, i32)>,
    /// The priority that is sent: `base` and all `moves`, within 1..=254. For the owner 255 whatever moves, or 254 while
    /// another owner does not yield.
    pub effective: Priority,
}

impl PriorityExplanation {
    /// Its text, with the name that `name` gives to each thing; without names the numbers of the ids are shown.
    pub fn named<N: fmt::Display>(&self, name: impl Fn(Tracked) -> N) -> impl fmt::Display {
        fmt::from_fn(move |f| self.write(f, &name))
    }

    fn write<N: fmt::Display>(&self, f: &mut fmt::Formatter<'_>, name: &impl Fn(Tracked) -> N) -> fmt::Result {
        write!(f, "{}", self.base)?;
        if self.by_command {
            f.write_str(" by command")?;
        }
        for (tracked, by) in &self.moves {
            let sign = if *by < 0 { '−' } else { '+' };
            write!(f, " {sign} {} {} {}", by.unsigned_abs(), tracked.kind(), name(*tracked))?;
        }
        let sum = self.moves.iter().fold(i32::from(self.base.0), |sum, (_, by)| sum.saturating_add(*by));
        if sum != i32::from(self.effective.0) {
            write!(f, ", limited to {}", self.effective)?;
        }
        Ok(())
    }
}

impl fmt::Display for PriorityExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &|tracked: Tracked| tracked.number())
    }
}

#[cfg(test)]
mod tests;
