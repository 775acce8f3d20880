//! The words and log lines that users' scripts, monitors and habits depend on, byte for byte
//! (`behaviour.md` §3.5, §4.1, §8.6). MASTER and FAULT exist here and in configuration files only.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vrrp_proto::{
    AddressMismatch, AdvertisementInterval, ClockSkew, ConflictOutcome, Discard, Event, Family, FaultReason, GroupId,
    IntervalMismatch, LinkId, Ownership, Role, TrackerId, Verified,
};

use crate::ipc::{NotifyState, TrackerName};

impl NotifyState {
    /// The word that scripts and FIFOs get.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Active => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
            Self::Deleted => "DELETED",
            Self::ActiveReceivedLowerPriority => "MASTER_RX_LOWER_PRI",
        }
    }
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Shown with `-D` only.
    Detail,
    /// Always shown.
    Info,
    /// Something to look at.
    Warning,
    /// Something to mend.
    Error,
}

/// One line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// How much it matters.
    pub(crate) level: Level,
    /// The text.
    pub(crate) text: String,
}

impl Line {
    /// Hands the line to the log.
    pub(crate) fn write(&self) {
        let text = &self.text;
        match self.level {
            Level::Detail => tracing::debug!("{text}"),
            Level::Info => tracing::info!("{text}"),
            Level::Warning => tracing::warn!("{text}"),
            Level::Error => tracing::error!("{text}"),
        }
    }
}

/// A VRRP instance as its lines name it.
#[derive(Clone, Copy)]
pub(crate) struct Instance<'a> {
    /// Its name in the file.
    pub(crate) name: &'a str,
    /// The family of its adverts.
    pub(crate) family: Family,
    /// The names of links.
    pub(crate) links: &'a dyn Fn(LinkId) -> String,
    /// The names of sync groups.
    pub(crate) groups: &'a dyn Fn(GroupId) -> String,
    /// The names of trackers.
    pub(crate) trackers: &'a dyn Fn(TrackerId) -> Option<TrackerName>,
}

impl Instance<'_> {
    /// What keepalived writes when `event` happens.
    pub(crate) fn line(&self, event: &Event) -> Line {
        if let Event::GroupSyncs { group, to } = event {
            let text = format!("VRRP_Group({}) Syncing instances to {} state", (self.groups)(*group), state_word(*to));
            return Line { level: Level::Info, text };
        }
        let (level, text) = self.words(event);
        // Some of keepalived's lines have a colon here.
        let colon = if matches!(event, Event::RivalOwnerStopped { .. }) { ":" } else { "" };
        if let Event::FaultRaised(FaultReason::Tracker(id)) | Event::FaultCleared(FaultReason::Tracker(id)) = event
            && let Some(TrackerName::File(file)) = (self.trackers)(*id)
        {
            let raised = matches!(event, Event::FaultRaised(_));
            let state = if raised { "now FAULT state" } else { "leaving FAULT state" };
            return Line { level: Level::Info, text: format!("({}): tracked file {file} {state}", self.name) };
        }
        Line { level, text: format!("({}){colon} {text}", self.name) }
    }

    fn words(&self, event: &Event) -> (Level, String) {
        let state = |word: &str, initial: &bool| {
            (Level::Info, format!("Entering {word} STATE{}", if *initial { " (init)" } else { "" }))
        };
        match event {
            Event::ReceiveAdvertisementTimeout => (Level::Detail, "Receive advertisement timeout".into()),
            Event::EnteringActive => state("MASTER", &false),
            Event::EnteringBackup { initial } => state("BACKUP", initial),
            Event::EnteringFault { initial } => state("FAULT", initial),
            Event::ResumedActive => (Level::Info, "continuing as MASTER after a restart of the VRRP process".into()),
            Event::FaultRaised(reason) => (Level::Info, format!("entering FAULT state ({})", self.fault(*reason))),
            Event::FaultCleared(reason) => {
                (Level::Detail, format!("no longer in FAULT for this reason: {}", self.fault(*reason)))
            }
            Event::TwoOwners { source, .. } => two_owners(*source),
            Event::TimerExpired { late } => {
                (Level::Warning, format!("VRRP thread timer expired {} seconds ago", seconds(*late)))
            }
            Event::PriorityChanged { from, to } => {
                (Level::Info, format!("Changing effective priority from {} to {}", from.0, to.0))
            }
            Event::AddressLost { restored: true } => {
                (Level::Warning, "putting back what was removed from outside".into())
            }
            Event::AddressLost { restored: false } => {
                (Level::Warning, "something was removed from outside; giving up the rest too".into())
            }
            Event::Refused { ownership } => (Level::Warning, refused(*ownership).into()),
            Event::RivalOwnerStopped { .. }
            | Event::RivalOwnerPersists { .. }
            | Event::OwnerPriorityRestored { .. }
            | Event::ConflictStarted { .. }
            | Event::ConflictEnded { .. } => rival_words(event),
            heard => heard_words(heard),
        }
    }

    fn fault(&self, reason: FaultReason) -> String {
        let name = self.links;
        match reason {
            FaultReason::LinkMissing(link) => format!("interface {} missing", name(link)),
            FaultReason::LinkDown(link) | FaultReason::TrackedLink(link) => {
                format!("interface {} down", name(link))
            }
            FaultReason::NoSourceAddress => format!("no {} address for interface", family_word(self.family)),
            FaultReason::NotApplied => "its addresses could not be put in place in time".into(),
            FaultReason::Tracker(tracker) => match (self.trackers)(tracker) {
                Some(TrackerName::Script(script)) => format!("tracked script {script}"),
                Some(TrackerName::File(file)) => format!("tracked file {file}"),
                Some(TrackerName::Process(process)) => format!("tracked process {process}"),
                None => "something that it tracks".into(),
            },
            FaultReason::NoPeers => "unicast without any peers".into(),
            FaultReason::LinkWithoutMulticast(link) => format!("interface {} has no multicast", name(link)),
            FaultReason::SyncGroup(group) => format!("sync group {}", (self.groups)(group)),
            FaultReason::NoPath => "no socket for its adverts".into(),
            other => format!("{other:?}"),
        }
    }
}

/// keepalived's word for a part that a router plays.
fn state_word(role: Role) -> &'static str {
    match role {
        Role::Stopped => "INIT",
        Role::Fault => "FAULT",
        Role::Backup => "BACKUP",
        Role::Active => "MASTER",
    }
}

/// What the adverts of others and our own lead to.
fn heard_words(event: &Event) -> (Level, String) {
    match event {
        Event::HigherPriorityAdvert { source, theirs, ours } => (
            Level::Info,
            format!("Master received advert from {source} with higher priority {}, ours {}", theirs.0, ours.0),
        ),
        Event::HigherAddressAdvert { source, priority } => (
            Level::Info,
            format!(
                "Master received advert from {source} with same priority {} but higher IP address than ours",
                priority.0
            ),
        ),
        Event::LowerPriorityAdvert { source, theirs, ours, answered } => (
            Level::Info,
            format!(
                "Received advert from {source} with lower priority {}, ours {}{}",
                theirs.0,
                ours.0,
                if *answered { ", forcing new election" } else { "" }
            ),
        ),
        Event::LowerPriorityDiscarded { source, theirs } => {
            (Level::Info, format!("received lower priority ({}) advert from {source} - discarding", theirs.0))
        }
        Event::OwnAddressAdvert { .. } => {
            (Level::Warning, "WARNING - equal priority advert received from remote host with our IP address.".into())
        }
        Event::BackupReceivedPriorityZero { .. } => (Level::Detail, "Backup received priority 0 advertisement".into()),
        Event::ActiveReceivedPriorityZero { .. } => (Level::Detail, "Master received priority 0 message".into()),
        Event::SentPriorityZero => (Level::Detail, "sent 0 priority".into()),
        Event::PreemptDelayStarted { delay } => (Level::Info, format!("start preempt delay ({})", seconds(*delay))),
        Event::PreemptDelayStopped => (Level::Info, "stop preempt delay".into()),
        Event::ActiveSetTo { address } => (Level::Detail, format!("master set to {address}")),
        Event::ActiveChanged { from, to } => (Level::Detail, format!("master changed from {from} to {to}")),
        Event::IntervalLearned { from, to } => (
            Level::Detail,
            format!("advertisement interval updated from {}ms to {}ms by master", millis(*from), millis(*to)),
        ),
        other => (Level::Detail, format!("{other:?}")),
    }
}

/// What keepalived writes about an accepted advert that is not quite as ours; once per sender and state.
pub(crate) fn mismatch_lines(name: &str, source: IpAddr, verified: &Verified) -> Vec<Line> {
    let interval = verified.interval.map(|IntervalMismatch { ours, theirs }| {
        let ours = ours.centis().map_or(0, vrrp_proto::Centis::get);
        format!("advertisement interval mismatch ours = {ours} centi-sec rcv'd={} centi-sec", theirs.get())
    });
    let vrid = verified.advertisement.vrid.get();
    let addresses = verified.addresses.map(|mismatch| match mismatch {
        AddressMismatch::Count { got, expected } => format!("expected {expected} VIPs but received {got}"),
        AddressMismatch::Missing(address) => {
            format!("ip address associated with VRID {vrid} not present in advert: {address}")
        }
    });
    let skew = verified.clock_skew.map(|ClockSkew { ahead, by }| {
        let side = if ahead { "ahead of" } else { "behind" };
        format!("clock {} s {side} ours in advert", seconds(by))
    });
    let line = |text| Line { level: Level::Info, text: format!("({name}) {text} from {source}") };
    let switched = verified
        .checksum_switched
        .then(|| Line { level: Level::Info, text: format!("({name}) Setting unicast VRRPv3 checksum to old version") });
    interval.into_iter().chain(addresses).chain(skew).map(line).chain(switched).collect()
}

/// What keepalived writes about a packet that it drops (`behaviour.md` §3.3).
pub(crate) fn discard_line(name: &str, source: IpAddr, discard: &Discard) -> Line {
    let text = match *discard {
        Discard::UnexpectedAuthenticationHeader => {
            format!("Received AH header but auth type not AH from {source}")
        }
        Discard::MissingAuthenticationHeader => format!("No AH header but auth type is AH from {source}"),
        Discard::Length { got, expected } => {
            let how = if got < expected { "short" } else { "long" };
            format!("vrrp packet from {source} too {how}, length {got} and expect {expected}")
        }
        Discard::HopLimit { got } => {
            format!("invalid TTL/HL from {source}. Received {got} and expect 255")
        }
        Discard::Version { got, expected } => {
            format!("wrong VRRP version from {source}. Received {got} and expect {expected}")
        }
        Discard::InvalidAuthenticationType { got } => format!("Invalid auth type: {got} from {source}"),
        Discard::AuthenticationType { got, expected } => {
            format!("received a {got} auth from {source}, expecting {expected}!")
        }
        Discard::AuthenticationFailed => format!("received an invalid passwd from {source}!"),
        Discard::AdvertisementInterval { got, expected } => {
            format!("advertisement interval mismatch from {source}: mine={expected} sec rcv'd={got} sec")
        }
        Discard::PacketType { got } => format!("Invalid packet type: {got} from {source}"),
        Discard::TotalLength { declared, got } => {
            format!("ip_tot_len mismatch from {source}: {declared} declared, {got} received")
        }
        Discard::Checksum => format!("Invalid VRRPv2/VRRPv3 checksum from {source}"),
        Discard::Destination { destination } if destination.is_multicast() => {
            format!("Expected unicast packet but received multicast packet from {source}")
        }
        Discard::Destination { .. } => {
            format!("Expected multicast packet but received unicast packet from {source}")
        }
        Discard::AddressOwner => format!("Dropping packet(s) from {source} since we are address owner"),
        Discard::UnknownPeer { peer } => format!("unicast source address {peer} not a unicast peer"),
        other => format!("advert from {source} dropped: {other}"),
    };
    Line { level: Level::Info, text: format!("({name}) {text}") }
}

/// An advert could not be sent.
pub(crate) fn send_error_line(name: &str, error: &std::io::Error) -> Line {
    let text = match error.raw_os_error() {
        Some(number) => {
            let reason = nix::errno::Errno::from_raw(number).desc();
            format!("({name}) send advert error {number} ({reason})")
        }
        None => format!("({name}) send advert error ({error})"),
    };
    Line { level: Level::Info, text }
}

/// What comes of another router that is MASTER at the same time.
fn rival_words(event: &Event) -> (Level, String) {
    match event {
        Event::RivalOwnerStopped { .. } => {
            (Level::Info, "rogue address owner appears to have stopped advertising".into())
        }
        Event::RivalOwnerPersists { source } => (
            Level::Error,
            format!("{source} is still advertising as address owner, please resolve - reducing our priority"),
        ),
        Event::OwnerPriorityRestored { .. } => {
            (Level::Info, "Restoring our priority to 255 since received advert with lower priority".into())
        }
        Event::ConflictStarted { source, theirs, ours } => {
            (Level::Detail, format!("{source} is MASTER too, with priority {theirs}, ours {ours}"))
        }
        Event::ConflictEnded { source, duration, advertisements, outcome } => {
            let outcome = match outcome {
                ConflictOutcome::Won => "it gave way",
                ConflictOutcome::Yielded => "we give way",
                ConflictOutcome::Abandoned => "we are no longer MASTER",
            };
            let lasted = seconds(*duration);
            // Giving way to the first advert is how every preemption goes.
            let level = if duration.is_zero() { Level::Detail } else { Level::Warning };
            (level, format!("{source} was MASTER too, for {lasted} seconds and {advertisements} adverts: {outcome}"))
        }
        other => (Level::Detail, format!("{other:?}")),
    }
}

fn two_owners(source: IpAddr) -> (Level, String) {
    let text = format!(
        "CONFIGURATION ERROR: local instance and {source} are both configured as address owner, please resolve"
    );
    (Level::Error, text)
}

fn refused(ownership: Ownership) -> &'static str {
    match ownership {
        Ownership::Held => "not every address could be put in place; trying again",
        Ownership::Released => "not every address could be removed; trying again",
    }
}

fn family_word(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

fn millis(interval: AdvertisementInterval) -> u128 {
    interval.duration().as_millis()
}

/// Seconds with six decimals, as the C library's `struct timeval` is printed.
pub(crate) fn seconds(duration: Duration) -> impl fmt::Display {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}

#[cfg(test)]
mod tests {
    use vrrp_proto::{Priority, Version};

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn lines(events: &[Event]) -> String {
        let links = |link: LinkId| format!("eth{}", link.0);
        let groups = |group: GroupId| format!("G{}", group.0);
        let trackers = |_| None;
        let instance =
            Instance { name: "VI_1", family: Family::Ipv4, links: &links, groups: &groups, trackers: &trackers };
        events.iter().map(|event| instance.line(event)).map(show).collect()
    }

    fn show(line: Line) -> String {
        format!("{:7} {}\n", format!("{:?}", line.level), line.text)
    }

    #[test]
    fn states_and_elections() {
        let (ours, theirs) = (Priority(100), Priority(150));
        let second = AdvertisementInterval::nearest(Version::V3, Duration::from_secs(1));
        let tenth = AdvertisementInterval::nearest(Version::V3, Duration::from_millis(100));
        let text = lines(&[
            Event::ReceiveAdvertisementTimeout,
            Event::EnteringActive,
            Event::EnteringBackup { initial: true },
            Event::EnteringBackup { initial: false },
            Event::EnteringFault { initial: true },
            Event::EnteringFault { initial: false },
            Event::ResumedActive,
            Event::HigherPriorityAdvert { source: PEER, theirs, ours },
            Event::HigherAddressAdvert { source: PEER, priority: ours },
            Event::LowerPriorityAdvert { source: PEER, theirs: Priority(50), ours, answered: true },
            Event::LowerPriorityAdvert { source: PEER, theirs: Priority(50), ours, answered: false },
            Event::LowerPriorityDiscarded { source: PEER, theirs: Priority(50) },
            Event::OwnAddressAdvert { source: PEER },
            Event::TwoOwners { source: PEER, yields: true },
            Event::RivalOwnerStopped { source: PEER },
            Event::RivalOwnerPersists { source: PEER },
            Event::OwnerPriorityRestored { source: PEER },
            Event::ConflictStarted { source: PEER, theirs, ours },
            Event::ConflictEnded {
                source: PEER,
                duration: Duration::from_millis(1500),
                advertisements: 3,
                outcome: ConflictOutcome::Won,
            },
            Event::ConflictEnded {
                source: PEER,
                duration: Duration::ZERO,
                advertisements: 1,
                outcome: ConflictOutcome::Yielded,
            },
            Event::TimerExpired { late: Duration::from_millis(4250) },
            Event::BackupReceivedPriorityZero { source: PEER },
            Event::ActiveReceivedPriorityZero { source: PEER },
            Event::SentPriorityZero,
            Event::PreemptDelayStarted { delay: Duration::from_secs(4) },
            Event::PreemptDelayStopped,
            Event::ActiveSetTo { address: PEER },
            Event::ActiveChanged { from: PEER, to: IpAddr::from([192, 0, 2, 3]) },
            Event::IntervalLearned { from: second, to: tenth },
            Event::PriorityChanged { from: ours, to: theirs },
        ]);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn faults_and_addresses() {
        let text = lines(&[
            Event::FaultRaised(FaultReason::LinkMissing(LinkId(0))),
            Event::FaultRaised(FaultReason::LinkDown(LinkId(0))),
            Event::FaultRaised(FaultReason::TrackedLink(LinkId(1))),
            Event::FaultRaised(FaultReason::NoSourceAddress),
            Event::FaultRaised(FaultReason::NotApplied),
            Event::FaultCleared(FaultReason::LinkDown(LinkId(0))),
            Event::AddressLost { restored: true },
            Event::AddressLost { restored: false },
            Event::Refused { ownership: Ownership::Held },
            Event::Refused { ownership: Ownership::Released },
        ]);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn sync_groups_name_themselves() {
        let group = GroupId(7);
        let text = lines(&[
            Event::GroupSyncs { group, to: Role::Active },
            Event::GroupSyncs { group, to: Role::Backup },
            Event::GroupSyncs { group, to: Role::Fault },
            Event::FaultRaised(FaultReason::SyncGroup(group)),
        ]);
        let expected = "Info    VRRP_Group(G7) Syncing instances to MASTER state\n\
                        Info    VRRP_Group(G7) Syncing instances to BACKUP state\n\
                        Info    VRRP_Group(G7) Syncing instances to FAULT state\n\
                        Info    (VI_1) entering FAULT state (sync group G7)\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn dropped_packets() {
        let discards = [
            Discard::UnexpectedAuthenticationHeader,
            Discard::Length { got: 12, expected: 20 },
            Discard::Length { got: 30, expected: 20 },
            Discard::HopLimit { got: 254 },
            Discard::Version { got: 3, expected: 2 },
            Discard::InvalidAuthenticationType { got: 9 },
            Discard::AuthenticationType { got: 0, expected: 1 },
            Discard::AuthenticationFailed,
            Discard::AdvertisementInterval { got: 2, expected: 1 },
            Discard::PacketType { got: 2 },
            Discard::TotalLength { declared: 40, got: 44 },
            Discard::Checksum,
            Discard::NoAddresses,
            Discard::Destination { destination: IpAddr::from([224, 0, 0, 18]) },
            Discard::Destination { destination: IpAddr::from([192, 0, 2, 1]) },
            Discard::AddressOwner,
            Discard::UnknownPeer { peer: PEER },
            Discard::PeerHopLimit { peer: PEER, got: 3 },
        ];
        let text: String = discards.iter().map(|discard| show(discard_line("VI_1", PEER, discard))).collect();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn an_advert_that_cannot_be_sent_names_number_and_reason() {
        let error = std::io::Error::from_raw_os_error(19);
        assert_eq!(send_error_line("VI_1", &error).text, "(VI_1) send advert error 19 (No such device)");
    }

    #[test]
    fn scripts_are_told_these_words() {
        use NotifyState::{Active, ActiveReceivedLowerPriority, Backup, Deleted, Fault, Stop};
        let words = [Active, Backup, Fault, Stop, Deleted, ActiveReceivedLowerPriority].map(NotifyState::word);
        assert_eq!(words, ["MASTER", "BACKUP", "FAULT", "STOP", "DELETED", "MASTER_RX_LOWER_PRI"]);
    }

    #[test]
    fn seconds_have_six_decimals() {
        assert_eq!(seconds(Duration::from_micros(4_000_001)).to_string(), "4.000001");
    }
}
