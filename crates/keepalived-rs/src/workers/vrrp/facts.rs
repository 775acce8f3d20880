//! What this process tells the supervisor for its successor, and how the successor reads it. Pure.
//!
//! One fact per router holds its number and its snapshot. When a router sent its last advert changes too often for
//! that: a few facts hold these times for all Active routers.

use std::collections::BTreeMap;

use vrrp_proto::{Instant, Reserved, RouterId, RouterSnapshot, Snapshot, TrackerId, Verdict};

use crate::config::vrrp::VirtualAddress;
use crate::ipc::{self, Fact, NotifyEvent, TrackerName};

const ROUTER: &str = "router ";
const ADVERTS: &str = "adverts ";
const ADDRESSES: &str = "addresses ";
const SEQUENCES: &str = "sequences ";
const NOTIFICATION: &str = "notification ";
const TRACKER: &str = "tracker ";
const NEXT_NOTIFICATION: &str = "next notification";

/// So many times fit into one message.
const TIMES_PER_FACT: usize = 2000;

/// So many addresses fit into one message, whatever their interfaces and labels are called.
const ADDRESSES_PER_FACT: usize = 500;

/// What a router needs to go on.
pub(crate) fn router(key: &str, id: RouterId, snapshot: &RouterSnapshot) -> Fact {
    Fact { key: format!("{ROUTER}{key}"), value: ipc::encode(&(id, snapshot)) }
}

/// There is no such router any more.
pub(crate) fn forget_router(key: &str) -> Fact {
    Fact { key: format!("{ROUTER}{key}"), value: Vec::new() }
}

/// When each router sent its last advert.
pub(crate) fn last_adverts(times: &[(RouterId, Instant)]) -> impl Iterator<Item = Fact> {
    times
        .chunks(TIMES_PER_FACT)
        .enumerate()
        .map(|(number, chunk)| Fact { key: format!("{ADVERTS}{number}"), value: ipc::encode(&chunk) })
}

/// The addresses that a router may have put on this host; none forgets them. So many were told `before`.
pub(crate) fn addresses(
    key: &str,
    id: RouterId,
    addresses: &[VirtualAddress],
    before: usize,
) -> impl Iterator<Item = Fact> {
    let count = addresses.len().max(before).div_ceil(ADDRESSES_PER_FACT);
    let chunks = addresses.chunks(ADDRESSES_PER_FACT).map(move |chunk| ipc::encode(&(id, chunk)));
    chunks
        .chain(std::iter::repeat(Vec::new()))
        .take(count)
        .enumerate()
        .map(move |(number, value)| Fact { key: format!("{ADDRESSES}{number} {key}"), value })
}

/// The addresses that each router may have put on this host, with its key.
pub(crate) fn told_addresses(facts: &[Fact]) -> BTreeMap<RouterId, (String, Vec<VirtualAddress>)> {
    let mut told: BTreeMap<RouterId, (String, Vec<VirtualAddress>)> = BTreeMap::new();
    for fact in facts {
        let Some((_, key)) = fact.key.strip_prefix(ADDRESSES).and_then(|rest| rest.split_once(' ')) else { continue };
        let Ok((id, chunk)) = ipc::decode::<(RouterId, Vec<VirtualAddress>)>(&fact.value) else { continue };
        told.entry(id).or_insert_with(|| (key.to_owned(), Vec::new())).1.extend(chunk);
    }
    told
}

/// The sequences that authenticated adverts of a router may use up. Never forgotten: whoever sends for it once more,
/// however much later, begins behind them.
pub(crate) fn sequences(key: &str, reserved: &Reserved) -> Fact {
    Fact { key: format!("{SEQUENCES}{key}"), value: ipc::encode(reserved) }
}

/// The sequences that were reserved, by the key of the router.
pub(crate) fn told_sequences(facts: &[Fact]) -> BTreeMap<String, Reserved> {
    let of = |fact: &Fact| Some((fact.key.strip_prefix(SEQUENCES)?.to_owned(), ipc::decode(&fact.value).ok()?));
    facts.iter().filter_map(of).collect()
}

/// A notification that the runner has not acknowledged.
pub(crate) fn notification(number: u64, event: &NotifyEvent) -> Fact {
    Fact { key: format!("{NOTIFICATION}{number}"), value: ipc::encode(event) }
}

/// The runner has it.
pub(crate) fn forget_notification(number: u64) -> Fact {
    Fact { key: format!("{NOTIFICATION}{number}"), value: Vec::new() }
}

/// The number of the next notification.
pub(crate) fn next_notification(number: u64) -> Fact {
    Fact { key: NEXT_NOTIFICATION.into(), value: ipc::encode(&number) }
}

/// What a tracker said; `None` once it is no longer configured.
pub(crate) fn tracker(name: &TrackerName, id: TrackerId, verdict: Option<Verdict>) -> Fact {
    let key = match name {
        TrackerName::Script(name) => format!("{TRACKER}script {name}"),
        TrackerName::File(name) => format!("{TRACKER}file {name}"),
        TrackerName::Process(name) => format!("{TRACKER}process {name}"),
    };
    Fact { key, value: verdict.map(|verdict| ipc::encode(&(name, id, verdict))).unwrap_or_default() }
}

/// The numbers of the trackers, and what each said.
pub(crate) fn trackers(facts: &[Fact]) -> BTreeMap<TrackerName, (TrackerId, Verdict)> {
    let told = facts.iter().filter(|fact| fact.key.starts_with(TRACKER));
    let told = told.filter_map(|fact| ipc::decode::<(TrackerName, TrackerId, Verdict)>(&fact.value).ok());
    told.map(|(name, id, verdict)| (name, (id, verdict))).collect()
}

/// The numbers of the routers by key, and their snapshots. What cannot be read is left out: such a router starts anew.
pub(crate) fn routers(facts: &[Fact]) -> (BTreeMap<String, RouterId>, Snapshot) {
    let mut ids = BTreeMap::new();
    let mut snapshot = Snapshot::default();
    for fact in facts {
        let Some(key) = fact.key.strip_prefix(ROUTER) else { continue };
        let Ok((id, router)) = ipc::decode::<(RouterId, RouterSnapshot)>(&fact.value) else { continue };
        ids.insert(key.to_owned(), id);
        snapshot.routers.insert(id, router);
    }
    snapshot.trackers = trackers(facts).into_values().collect();
    let times = facts.iter().filter(|fact| fact.key.starts_with(ADVERTS));
    let times = times.filter_map(|fact| ipc::decode::<Vec<(RouterId, Instant)>>(&fact.value).ok()).flatten();
    for (id, time) in times {
        if let Some(router) = snapshot.routers.get_mut(&id) {
            router.last_advertisement = router.last_advertisement.max(Some(time));
        }
    }
    (ids, snapshot)
}

/// The notifications that may not have reached the runner, and the number of the next one.
pub(crate) fn notifications(facts: &[Fact]) -> (BTreeMap<u64, NotifyEvent>, u64) {
    let next = facts.iter().find(|fact| fact.key == NEXT_NOTIFICATION);
    let next = next.and_then(|fact| ipc::decode(&fact.value).ok()).unwrap_or(1);
    let waiting = facts.iter().filter_map(|fact| {
        let number = fact.key.strip_prefix(NOTIFICATION)?.parse().ok()?;
        Some((number, ipc::decode(&fact.value).ok()?))
    });
    (waiting.collect(), next)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vrrp_proto::{AdvertisementInterval, Role, Version};

    use super::*;
    use crate::ipc::NotifyState;

    fn snapshot(last: u64) -> RouterSnapshot {
        RouterSnapshot {
            role: Role::Active,
            last_advertisement: Some(Instant::from_nanos(last)),
            active_down_interval: Duration::from_secs(3),
            active_adver_interval: AdvertisementInterval::one_second(Version::V2),
            last_transition: None,
            notified: true,
            control: vrrp_proto::Control::default(),
        }
    }

    #[test]
    fn the_successor_knows_the_newest_advert_of_each_router() {
        let facts: Vec<_> = [
            router("IPv4 51 eth0 224.0.0.18", RouterId(7), &snapshot(100)),
            router("IPv4 52 eth0 224.0.0.18", RouterId(8), &snapshot(300)),
        ]
        .into_iter()
        .chain(last_adverts(&[(RouterId(7), Instant::from_nanos(200)), (RouterId(8), Instant::from_nanos(200))]))
        .collect();
        let (ids, read) = routers(&facts);
        assert_eq!(ids.get("IPv4 51 eth0 224.0.0.18"), Some(&RouterId(7)));
        assert_eq!(read.routers[&RouterId(7)], snapshot(200));
        assert_eq!(read.routers[&RouterId(8)], snapshot(300));
    }

    #[test]
    fn the_successor_knows_what_trackers_said() {
        let (script, file) = (TrackerName::Script("x".into()), TrackerName::File("x".into()));
        let facts = [
            tracker(&script, TrackerId(4), Some(Verdict::Down)),
            tracker(&file, TrackerId(2), Some(Verdict::Value(-3))),
        ];
        let expected = [(script.clone(), (TrackerId(4), Verdict::Down)), (file, (TrackerId(2), Verdict::Value(-3)))];
        assert_eq!(trackers(&facts), expected.into());
        let (_, snapshot) = routers(&facts);
        assert_eq!(snapshot.trackers, [(TrackerId(4), Verdict::Down), (TrackerId(2), Verdict::Value(-3))].into());
        let gone = tracker(&script, TrackerId(4), None);
        assert!(gone.key == facts[0].key && gone.value.is_empty());
    }

    #[test]
    fn ten_thousand_times_fit_into_messages() {
        let times: Vec<_> = (0..10_000).map(|id| (RouterId(id), Instant::from_nanos(u64::MAX / 2))).collect();
        let facts: Vec<_> = last_adverts(&times).collect();
        assert!(facts.iter().all(|fact| fact.value.len() < 60_000));
        assert_eq!(facts.len(), 5);
    }

    #[test]
    fn addresses_fit_into_messages_and_come_back() {
        let address = |number: u16| VirtualAddress {
            ip: std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into(),
            prefix_len: 128,
            device: "abcdefghijklmno".into(),
            broadcast: Some(std::net::Ipv4Addr::BROADCAST),
            scope: 255,
            label: Some("abcdefghijklmno".into()),
            peer: Some(std::net::Ipv6Addr::LOCALHOST.into()),
            flags: vip_netlink::AddressFlags::all(),
            preferred: vip_netlink::Lifetime::Seconds(1 << 31),
        };
        let all: Vec<_> = (0..2500).map(address).collect();
        let told: Vec<_> = addresses("IPv6 51 eth0 ff02::12", RouterId(7), &all, 0).collect();
        assert!(told.iter().all(|fact| fact.value.len() < 60_000));
        let expected = BTreeMap::from([(RouterId(7), ("IPv6 51 eth0 ff02::12".to_owned(), all.clone()))]);
        assert_eq!(told_addresses(&told), expected);
        let fewer: Vec<_> = addresses("IPv6 51 eth0 ff02::12", RouterId(7), &all[..1], all.len()).collect();
        let keys = |facts: &[Fact]| facts.iter().map(|fact| fact.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&fewer), keys(&told));
        assert_eq!(told_addresses(&fewer)[&RouterId(7)].1, all[..1]);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let broken = Fact { key: "router IPv4 51 eth0 224.0.0.18".into(), value: vec![1, 2, 3] };
        let (ids, snapshot) = routers(&[broken]);
        assert!(ids.is_empty() && snapshot.routers.is_empty());
    }

    #[test]
    fn unacknowledged_notifications_go_on_to_the_successor() {
        let event = NotifyEvent::Instance { name: "VI_1".into(), state: NotifyState::Active, priority: 100 };
        let facts = [notification(12, &event), next_notification(13)];
        assert_eq!(notifications(&facts), (BTreeMap::from([(12, event)]), 13));
        assert_eq!(notifications(&[]), (BTreeMap::new(), 1));
    }
}
