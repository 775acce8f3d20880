//! What this process tells the supervisor for its successor, and how the successor reads it. Pure.
//!
//! One fact per router holds its number and its snapshot. When a router sent its last advert changes too often for
//! that: a few facts hold these times for all Active routers.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use vrrp_proto::{Instant, Ownership, ReplayMemory, Reserved, RouterId, RouterSnapshot, Snapshot, TrackerId, Verdict};

use super::counters::Counters;
use crate::config::network::Footprint;
use crate::ipc::{self, Fact, NotifyEvent, TrackerName};

const ROUTER: &str = "router ";
const ADVERTS: &str = "adverts ";
const COUNTERS: &str = "counters ";
const ADDRESSES: &str = "addresses ";
const ROUTES: &str = "routes ";
const RULES: &str = "rules ";
const SEQUENCES: &str = "sequences ";
const HEARD: &str = "heard ";
const NOTIFICATION: &str = "notification ";
const TRACKER: &str = "tracker ";
/// Macvlans, ipvlans and settings of interfaces: one fact for each.
const HOST: &str = "host ";
const FIREWALL: &str = "firewall";
const NEXT_NOTIFICATION: &str = "next notification";

/// So many times fit into one message.
const TIMES_PER_FACT: usize = 2000;

/// The numbers of so many routers share a fact with their counters: it takes little time to make, and fits into a message.
pub(crate) const COUNTERS_PER_FACT: u32 = 128;

/// So many things are named where something is left.
pub(crate) const MOST_WORDS: usize = 20;

/// So many octets of addresses, routes or rules go into one fact, unless one of them alone has more: well below what a
/// message can carry.
const FACT_OCTETS: usize = 32 * 1024;

/// Whether a fact tells of something that is on this host, whatever becomes of the processes.
pub(crate) fn is_on_host(key: &str) -> bool {
    [ADDRESSES, ROUTES, RULES, FIREWALL, HOST].iter().any(|kind| key.starts_with(kind))
}

/// Whether a fact may stay true after a clean-up that was carried out: one of peers, or one that the clean-up takes back
/// by itself, each as soon as it is no longer true.
pub(crate) fn outlives_cleanup(key: &str) -> bool {
    is_known_to_peers(key) || key.starts_with(HOST)
}

/// Whether a fact tells of something that peers remember, so that it stays true when nothing is left on this host.
pub(crate) fn is_known_to_peers(key: &str) -> bool {
    key.starts_with(SEQUENCES)
}

/// Whether a daemon needs to know a fact of one that was killed. That one's roles are not among them: its peers have
/// taken over, or soon will.
pub(crate) fn outlives_daemon(key: &str) -> bool {
    is_on_host(key) || is_known_to_peers(key)
}

/// What a router needs to go on.
pub(crate) fn router(key: &str, id: RouterId, snapshot: &RouterSnapshot) -> Fact {
    Fact { key: format!("{ROUTER}{key}"), value: ipc::encode(&(id, snapshot)) }
}

/// The key of the fact that holds what a router needs to go on.
pub(crate) fn router_key(key: &str) -> String {
    format!("{ROUTER}{key}")
}

/// Whether the router of such a fact owns its addresses; a fact that was forgotten is of one that is not there.
pub(crate) fn is_active(value: &[u8]) -> bool {
    ipc::decode::<(RouterId, RouterSnapshot)>(value).is_ok_and(|(_, snapshot)| snapshot.ownership() == Ownership::Held)
}

/// There is no such router any more.
pub(crate) fn forget_router(key: &str) -> [Fact; 2] {
    [ROUTER, HEARD].map(|kind| Fact { key: format!("{kind}{key}"), value: Vec::new() })
}

/// When each router sent its last advert.
pub(crate) fn last_adverts(times: &[(RouterId, Instant)]) -> impl Iterator<Item = Fact> {
    times
        .chunks(TIMES_PER_FACT)
        .enumerate()
        .map(|(number, chunk)| Fact { key: format!("{ADVERTS}{number}"), value: ipc::encode(&chunk) })
}

/// The counters of routers in a row of numbers, of which there are [`COUNTERS_PER_FACT`]; none of them forgets the fact.
pub(crate) fn counters(row: u32, all: &[(RouterId, Counters)]) -> Fact {
    let value = if all.is_empty() { Vec::new() } else { ipc::encode(&all) };
    Fact { key: format!("{COUNTERS}{row}"), value }
}

/// What was counted of each router.
pub(crate) fn told_counters(facts: &[Fact]) -> BTreeMap<RouterId, Counters> {
    let told = facts.iter().filter(|fact| fact.key.starts_with(COUNTERS));
    told.filter_map(|fact| ipc::decode::<Vec<(RouterId, Counters)>>(&fact.value).ok()).flatten().collect()
}

/// What a router may have put on this host; nothing forgets it. So much of it was told `before`.
pub(crate) fn footprint(key: &str, id: RouterId, footprint: &Footprint, before: &Footprint) -> Vec<Fact> {
    let mut facts = Vec::new();
    tell_chunks(&mut facts, (ADDRESSES, key, id), &footprint.addresses, &before.addresses);
    tell_chunks(&mut facts, (ROUTES, key, id), &footprint.routes, &before.routes);
    tell_chunks(&mut facts, (RULES, key, id), &footprint.rules, &before.rules);
    facts
}

fn tell_chunks<T: Serialize>(facts: &mut Vec<Fact>, (kind, key, id): (&str, &str, RouterId), all: &[T], before: &[T]) {
    let (told, now) = (chunks(before).len(), chunks(all));
    let count = now.len().max(told);
    let values = now.into_iter().map(|chunk| ipc::encode(&(id, chunk))).chain(std::iter::repeat(Vec::new()));
    let numbered = values.take(count).enumerate();
    facts.extend(numbered.map(|(number, value)| Fact { key: format!("{kind}{number} {key}"), value }));
}

/// As many in a row as one fact holds.
fn chunks<T: Serialize>(all: &[T]) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    let (mut rest, mut len, mut octets) = (all, 0, 0);
    for item in all {
        let size = ipc::encode(item).len();
        if len > 0 && octets + size > FACT_OCTETS {
            let (chunk, after) = rest.split_at(len);
            chunks.push(chunk);
            (rest, len, octets) = (after, 0, 0);
        }
        len += 1;
        octets += size;
    }
    chunks.extend(Some(rest).filter(|rest| !rest.is_empty()));
    chunks
}

/// What each router may have put on this host, with its key.
pub(crate) fn told_footprints(facts: &[Fact]) -> BTreeMap<RouterId, (String, Footprint)> {
    let mut told = BTreeMap::new();
    collect(&mut told, facts, ADDRESSES, |footprint| &mut footprint.addresses);
    collect(&mut told, facts, ROUTES, |footprint| &mut footprint.routes);
    collect(&mut told, facts, RULES, |footprint| &mut footprint.rules);
    told
}

fn collect<T: DeserializeOwned>(
    told: &mut BTreeMap<RouterId, (String, Footprint)>,
    facts: &[Fact],
    kind: &str,
    part: impl Fn(&mut Footprint) -> &mut Vec<T>,
) {
    for fact in facts {
        let Some((_, key)) = fact.key.strip_prefix(kind).and_then(|rest| rest.split_once(' ')) else { continue };
        let Ok((id, chunk)) = ipc::decode::<(RouterId, Vec<T>)>(&fact.value) else { continue };
        let (_, footprint) = told.entry(id).or_insert_with(|| (key.to_owned(), Footprint::default()));
        part(footprint).extend(chunk);
    }
}

/// What may be left on this host, in words, for whoever has to remove it.
pub(crate) fn remains(facts: &[Fact]) -> Vec<String> {
    let footprints = told_footprints(facts).into_values().map(|(_, footprint)| footprint.words(MOST_WORDS));
    let host = facts.iter().filter_map(|fact| fact.key.strip_prefix(HOST)).map(str::to_owned);
    let tables = told_firewall(facts).map(|table| format!("tables {table} of nftables"));
    footprints.chain(host).chain(tables).take(MOST_WORDS).collect()
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

/// What a router heard of authenticated senders: with every beat, so that what was recorded before is not believed by
/// the next worker.
pub(crate) fn heard(key: &str, memory: &ReplayMemory) -> Fact {
    Fact { key: format!("{HEARD}{key}"), value: ipc::encode(memory) }
}

/// What was heard, by the key of the router.
pub(crate) fn told_heard(facts: &[Fact]) -> BTreeMap<String, ReplayMemory> {
    let of = |fact: &Fact| Some((fact.key.strip_prefix(HEARD)?.to_owned(), ipc::decode(&fact.value).ok()?));
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

/// The tables of nftables with this name may be on this host.
pub(crate) fn firewall(table: &str) -> Fact {
    Fact { key: FIREWALL.into(), value: ipc::encode(&table) }
}

/// There are none any more.
pub(crate) fn forget_firewall() -> Fact {
    Fact { key: FIREWALL.into(), value: Vec::new() }
}

/// The name of the tables of nftables that may be on this host.
pub(crate) fn told_firewall(facts: &[Fact]) -> Option<String> {
    facts.iter().find(|fact| fact.key == FIREWALL).and_then(|fact| ipc::decode(&fact.value).ok())
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
pub(crate) mod tests {
    use std::time::Duration;

    use vrrp_proto::{AdvertisementInterval, Role, Version};

    use super::*;
    use crate::config::vrrp::{HeldAddress, VirtualAddress};
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

    /// The fact of a router that plays this part.
    pub(crate) fn router_fact(key: &str, role: Role) -> Fact {
        router(key, RouterId(1), &RouterSnapshot { role, ..snapshot(1) })
    }

    #[test]
    fn the_fact_of_a_router_says_whether_it_is_active() {
        let active = router_fact("k", Role::Active);
        assert_eq!(active.key, router_key("k"));
        assert!(is_active(&active.value));
        assert!(!is_active(&router_fact("k", Role::Backup).value));
        assert!(!is_active(&router_fact("k", Role::Fault).value));
        assert!(!is_active(&forget_router("k")[0].value));
    }

    #[test]
    fn the_largest_counters_of_a_row_fit_into_a_message() {
        let largest = Counters::LARGEST;
        let (one, other) = (RouterId(u32::MAX), RouterId(3));
        let row: Vec<_> = (0..COUNTERS_PER_FACT).map(|number| (RouterId(u32::MAX - number), largest)).collect();
        assert!(ipc::encode(&ipc::Report::Facts(vec![counters(9, &row)])).len() < FACT_OCTETS);
        let facts = [counters(9, &row), counters(0, &[(other, Counters::default())])];
        let told = told_counters(&facts);
        assert_eq!((told.len(), told[&one], told[&other]), (row.len() + 1, largest, Counters::default()));
        assert!(counters(9, &[]).value.is_empty(), "an empty row is forgotten");
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

    /// That of a line of `virtual_routes`.
    fn held_route(line: &str) -> crate::config::network::HeldRoute {
        let text = format!(
            "vrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {{\n192.0.2.1/24\n}}\n\
             virtual_routes {{\n{line}\n}}\n}}\n"
        );
        crate::config::vrrp::tests::part(&text).instances[0].routes[0].clone()
    }

    #[test]
    fn what_is_too_long_for_a_fact_with_others_has_one_for_itself() {
        let texts: Vec<_> = [1, FACT_OCTETS + 1, 5, FACT_OCTETS - 10, 1, 1].map(|len| "x".repeat(len)).into();
        let lens: Vec<_> = chunks(&texts).into_iter().map(<[_]>::len).collect();
        assert_eq!(lens, [1, 1, 2, 2]);
        assert!(chunks::<u8>(&[]).is_empty());
    }

    #[test]
    fn footprints_fit_into_messages_and_come_back() {
        let ip = |number: u16| std::net::Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0xffff, 0xffff, 0, 0, number).into();
        let address = |number: u16| VirtualAddress {
            ip: ip(number),
            prefix_len: 128,
            device: "abcdefghijklmno".into(),
            broadcast: Some(std::net::Ipv4Addr::BROADCAST),
            scope: 255,
            label: Some("abcdefghijklmno".into()),
            peer: Some(std::net::Ipv6Addr::LOCALHOST.into()),
            flags: vip_netlink::AddressFlags::all(),
            preferred: vip_netlink::Lifetime::Seconds(1 << 31),
            track: true,
        };
        let prefix = |number: u16| vip_netlink::Prefix::network(ip(number), 128);
        let route = |number: u16| {
            let hop = "nexthop via 2001:db8::9 dev abcdefghijklmno weight 9 ";
            let line = format!("{} table 4000000000 metric 4000000000 {}", prefix(number), hop.repeat(number.into()));
            held_route(&line)
        };
        let rule = |number: u16| vip_netlink::Rule {
            from: Some(prefix(number)),
            to: Some(prefix(number)),
            fwmark: Some(vip_netlink::Fwmark { mark: u32::MAX, mask: u32::MAX }),
            iif: "abcdefghijklmno".parse().ok(),
            oif: "abcdefghijklmno".parse().ok(),
            tunnel_id: std::num::NonZeroU64::new(u64::MAX),
            uid_range: Some((u32::MAX, u32::MAX)),
            source_ports: Some((u16::MAX, u16::MAX)),
            destination_ports: Some((u16::MAX, u16::MAX)),
            realms: vip_netlink::Realms::from_wire(u32::MAX),
            suppress_prefix_length: Some(u32::MAX),
            suppress_group: Some(u32::MAX),
            ..vip_netlink::Rule::new(vip_netlink::Family::Ipv6, u32::MAX, vip_netlink::RuleAction::Table(u32::MAX))
        };
        let all = Footprint {
            addresses: (0..2500).map(address).map(HeldAddress::from).collect(),
            routes: (2..120).map(route).collect(),
            rules: (0..1000).map(rule).collect(),
        };
        let key = "IPv6 51 eth0 ff02::12";
        let told = footprint(key, RouterId(7), &all, &Footprint::default());
        assert!(told.iter().all(|fact| fact.value.len() < FACT_OCTETS + 10));
        let of_routes = told.iter().filter(|fact| fact.key.starts_with(ROUTES));
        assert!(of_routes.clone().count() > 2 && of_routes.count() < 20);
        let expected = BTreeMap::from([(RouterId(7), (key.to_owned(), all.clone()))]);
        assert_eq!(told_footprints(&told), expected);
        let few = Footprint { addresses: vec![address(0).into()], routes: vec![route(3)], rules: Vec::new() };
        let fewer = footprint(key, RouterId(7), &few, &all);
        let keys = |facts: &[Fact]| facts.iter().map(|fact| fact.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&fewer), keys(&told));
        assert_eq!(told_footprints(&fewer)[&RouterId(7)].1, few);
    }

    #[test]
    fn what_is_left_is_named() {
        let part = crate::config::vrrp::tests::part(
            "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.8/24\n192.0.2.9/24\n}\n\
             virtual_routes {\n10.0.0.0/8 dev eth0 table 7\n}\n}\n",
        );
        let left = crate::config::network::Belongings::of(&part.instances[0]).footprint();
        let mut facts = footprint("k", RouterId(7), &left, &Footprint::default());
        facts.extend([firewall("keepalived"), Fact { key: "host link vrrp.51".into(), value: vec![1] }]);
        facts.push(sequences("k", &Reserved::default()));
        assert_eq!(
            remains(&facts),
            [
                "192.0.2.8/24 dev eth0, 192.0.2.9/24 dev eth0, route 10.0.0.0/8 table 7",
                "link vrrp.51",
                "tables keepalived of nftables"
            ]
        );
        assert_eq!(left.words(1), "192.0.2.8/24 dev eth0 and 2 more");
        assert!(remains(&[]).is_empty());
    }

    #[test]
    fn the_successor_knows_the_tables() {
        assert_eq!(told_firewall(&[firewall("keepalived")]).as_deref(), Some("keepalived"));
        assert_eq!(told_firewall(&[]), None);
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
