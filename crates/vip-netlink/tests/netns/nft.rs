//! nftables.

use std::{
    collections::BTreeSet,
    net::Ipv6Addr,
    num::{NonZeroU16, NonZeroU32},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use vip_netlink::{
    Family, LinkIndex, NftEvent, NftMonitor, NftSocket,
    nft::{Change, Dropped, Expression, Firewall, Marking, Policy, Table, TableName, Target, Transport, Vmac, plan},
};

use super::{DEADLINE, Skip, readable};

fn link(index: u32) -> LinkIndex {
    LinkIndex::new(index).unwrap()
}

/// Every set, map and rule that there is.
fn everything(hosts: impl IntoIterator<Item = u8>) -> Firewall {
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let mut dropped = BTreeSet::from([
        Dropped::Anywhere("2001:db8::1".parse().unwrap()),
        Dropped::OnLink(link_local, link(1)),
        Dropped::OnLinkNamed(link_local, "eth0".parse().unwrap()),
    ]);
    dropped.extend(hosts.into_iter().map(|host| Dropped::Anywhere([192, 0, 2, host].into())));
    let vmacs = vec![Vmac { link: link(6), parent: link(3) }, Vmac { link: link(7), parent: link(3) }];
    Firewall {
        name: "routers".into(),
        priority: -7,
        counters: true,
        filters: [Family::Ipv4, Family::Ipv6].into(),
        by_index: true,
        by_name: true,
        dropped,
        vmacs: [(Family::Ipv4, vmacs.clone()), (Family::Ipv6, vmacs)].into(),
    }
}

fn socket() -> Result<NftSocket, Skip> {
    let mut socket = NftSocket::open().map_err(|error| error.to_string())?;
    socket.present(&Firewall::names("routers")).map_err(|error| error.to_string())?;
    Ok(socket)
}

/// What is not there afterwards.
fn left_to_do(nft: &mut NftSocket, wanted: &[Table]) -> Vec<Change> {
    plan(wanted, &nft.present(&Firewall::names("routers")).unwrap(), &[])
}

pub(super) fn the_filter_of_routers_is_read_back_as_it_was_set() -> Result<(), Skip> {
    let mut nft = socket()?;
    for hosts in [1..3, 2..9, 0..250, 4..4] {
        let wanted = everything(hosts).tables();
        let applied = nft.reconcile(&wanted, &[]).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!(applied.sends, 1);
        assert_eq!(left_to_do(&mut nft, &wanted), []);
    }
    let applied = nft.reconcile(&[], &Firewall::names("routers")).unwrap();
    assert!(applied.refused.is_empty(), "{applied:?}");
    assert_eq!(nft.present(&Firewall::names("routers")).unwrap(), []);
    Ok(())
}

/// Half way through the kernel says that there is no such table.
pub(super) fn tables_that_go_while_they_are_listed_are_not_there() -> Result<(), Skip> {
    let mut nft = socket()?;
    let (names, wanted) = (Firewall::names("routers"), everything(0..250).tables());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = socket().expect("there was one before");
            for _ in 0..100 {
                other.reconcile(&wanted, &[]).expect("nobody else changes them");
                other.reconcile(&[], &names).expect("nobody else changes them");
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            nft.present(&names).unwrap();
        }
    });
    assert_eq!(nft.present(&names).unwrap(), []);
    Ok(())
}

/// Ranges grow over others that go in the same batch, and marks change.
pub(super) fn marks_are_read_back_as_they_were_set() -> Result<(), Skip> {
    let mut nft = socket()?;
    let target = |[first, last]: [&str; 2], port, mark| Target {
        transport: Transport::Udp,
        first: first.parse().unwrap(),
        last: last.parse().unwrap(),
        port: NonZeroU16::new(port),
        mark: NonZeroU32::new(mark).unwrap(),
    };
    for (v4, v6, counters) in [
        (["192.0.2.1", "192.0.2.1"], ["2001:db8::1", "2001:db8::ffff"], false),
        (["192.0.2.0", "192.0.2.9"], ["2001:db8::2", "2001:db8::2"], false),
        (["192.0.2.5", "192.0.2.20"], ["2001:db8::2", "2001:db8::3"], true),
    ] {
        let mark = if counters { 8 } else { 7 };
        let targets = vec![target(v4, 80, mark), target(v6, 80, mark), target(v4, 0, 9), target(v6, 0, 9)];
        let wanted = Marking { name: "routers".into(), priority: 5, counters, targets }.tables();
        let applied = nft.reconcile(&wanted, &[]).unwrap();
        assert!(applied.refused.is_empty(), "{applied:?}");
        assert_eq!(left_to_do(&mut nft, &wanted), []);
        assert!(nft.present(&Firewall::names("routers")).unwrap().iter().all(Marking::may_have_made));
    }
    nft.reconcile(&[], &Firewall::names("routers")).unwrap();
    Ok(())
}

pub(super) fn thousands_of_elements_take_more_than_one_batch() -> Result<(), Skip> {
    let mut nft = socket()?;
    let addresses = (0..10_000_u32).map(|host| Dropped::Anywhere(std::net::Ipv4Addr::from_bits(host).into()));
    let wanted = Firewall { dropped: addresses.collect(), ..everything([]) }.tables();
    let applied = nft.reconcile(&wanted, &[]).unwrap();
    assert!(applied.refused.is_empty() && applied.sends > 1, "{applied:?}");
    assert_eq!(left_to_do(&mut nft, &wanted), []);
    Ok(())
}

pub(super) fn what_somebody_changed_is_put_back() -> Result<(), Skip> {
    let mut nft = socket()?;
    let wanted = everything([1]).tables();
    nft.reconcile(&wanted, &[]).unwrap();
    let table = wanted.first().unwrap().name.clone();
    let rule = vec![Expression::Counter];
    for change in [Change::RemoveTable(table.clone()), Change::AddRule { table, chain: "in".into(), rule }] {
        assert!(nft.apply(&[change]).refused.is_empty());
        assert_ne!(left_to_do(&mut nft, &wanted), []);
        assert!(nft.reconcile(&wanted, &[]).unwrap().refused.is_empty());
        assert_eq!(left_to_do(&mut nft, &wanted), []);
    }
    Ok(())
}

pub(super) fn a_batch_with_a_refusal_changes_nothing_and_says_which() -> Result<(), Skip> {
    let mut nft = socket()?;
    let mut wanted = everything([1]).tables();
    let chains = wanted.iter_mut().rev().flat_map(|table| &mut table.chains);
    let base = chains.filter_map(|chain| chain.base.as_mut()).next().unwrap();
    base.policy = Policy(77);
    let refused = nft.apply(&plan(&wanted, &[], &[])).refused;
    let errors: Vec<_> = refused.iter().map(|refusal| refusal.error.to_string()).collect();
    let expected = "adding the chain out to the table ip6 routers: Invalid argument";
    assert!(errors.first().unwrap().starts_with(expected), "{errors:?}");
    assert_eq!(nft.present(&Firewall::names("routers")).unwrap(), []);
    Ok(())
}

pub(super) fn a_monitor_hears_of_others_only() -> Result<(), Skip> {
    let (mut ours, mut theirs) = (socket()?, socket()?);
    let mut monitor = NftMonitor::open(ours.port()).unwrap();
    let wanted = everything([1]).tables();
    ours.reconcile(&wanted, &[]).unwrap();
    assert_eq!(monitor.poll_event().unwrap(), None);
    let name = TableName { family: Family::Ipv6, name: "routers".into() };
    theirs.apply(&[Change::RemoveTable(name.clone())]);
    let deadline = Instant::now() + DEADLINE;
    let heard = loop {
        match monitor.poll_event().unwrap() {
            Some(event) => break event,
            None => readable(&monitor, deadline.min(Instant::now() + Duration::from_secs(1))).unwrap(),
        }
    };
    assert_eq!(heard, NftEvent::Changed(name));
    Ok(())
}
