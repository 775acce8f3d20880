//! The packet filter of routers that do not accept what is sent to their addresses, and of macvlans
//! (`behaviour.md` §3.12). Its tables are reconciled like addresses: an address is in its set before it is on the host,
//! and leaves the set after it has left the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc;
use vip_netlink::nft::{self, Dropped, Table, TableName, Vmac, plan};
use vip_netlink::{Family, LinkIndex, LinkName, NftEvent, NftMonitor, NftSocket};
use vrrp_proto::RouterId;

use super::holdings::Holdings;
use super::view::View;
use crate::config::firewall::{FirewallPart, LinkKey, is_link_local};
use crate::config::vrrp::VirtualAddress;

/// The tables as this process knows them.
#[derive(Debug, Default)]
pub(crate) struct Firewall {
    /// What the running configuration needs.
    part: Option<FirewallPart>,
    /// The routers whose addresses are dropped.
    closed: BTreeMap<RouterId, LinkKey>,
    /// The names that tables of ours on this host may have.
    names: BTreeSet<String>,
    sockets: Option<Sockets>,
    /// The tables that are there; `None`: the kernel has to be asked.
    present: Option<Vec<Table>>,
    /// What is wanted is not known yet: what the process before this one left stays as it is.
    waiting: bool,
    /// Others changed them since they were put in place.
    disturbed: bool,
}

#[derive(Debug)]
struct Sockets {
    nft: NftSocket,
    monitor: NftMonitor,
}

impl Sockets {
    fn open() -> Result<Self, vip_netlink::Error> {
        let nft = NftSocket::open()?;
        // Before the first look at the tables.
        let monitor = NftMonitor::open(nft.port())?;
        Ok(Self { nft, monitor })
    }
}

impl Firewall {
    /// A process before this one may have left tables with this name.
    pub(crate) fn inherit(&mut self, name: String) {
        self.names.insert(name);
        self.waiting = true;
    }

    /// The running configuration, and those of its routers whose addresses are dropped.
    pub(crate) fn configure(&mut self, part: Option<FirewallPart>, closed: BTreeMap<RouterId, LinkKey>) {
        if let Some(part) = &part
            && self.names.insert(part.table.clone())
            && part.implied
        {
            tracing::info!("use_vmac or no_accept/strict specified, but no firewall configured - using nftables");
        }
        self.part = part;
        self.closed = closed;
        self.waiting = false;
    }

    /// Makes the kernel load what it needs, before anybody waits for it. What goes wrong is said when it matters.
    pub(crate) fn warm_up(&mut self, part: &FirewallPart) {
        if self.sockets.is_none() {
            let _ = self.look(&nft::Firewall::names(&part.table));
        }
    }

    /// Its tables are no longer wanted.
    pub(crate) fn withdraw(&mut self) {
        self.part = None;
        self.closed.clear();
        self.waiting = false;
    }

    /// What becomes readable when somebody changed something.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.sockets.as_ref().map(|sockets| sockets.monitor.as_fd())
    }

    /// Whether others changed something that was not looked at since.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbed
    }

    /// Takes what the kernel reports.
    pub(crate) fn hear(&mut self) {
        let Some(sockets) = &mut self.sockets else { return };
        let mut heard = false;
        loop {
            match sockets.monitor.poll_event() {
                Ok(None) => break,
                Ok(Some(NftEvent::Changed(TableName { name, .. }))) => heard |= self.names.contains(&name),
                Ok(Some(_)) => heard = true,
                Err(error) => {
                    tracing::error!("{error}");
                    self.sockets = None;
                    heard = true;
                    break;
                }
            }
        }
        if heard {
            self.present = None;
            self.disturbed = true;
        }
    }

    /// Makes the tables those that are wanted.
    ///
    /// # Errors
    /// What the kernel refused, in whole sentences. Tables that it did not refuse are as they should be.
    pub(crate) fn reconcile(&mut self, holdings: &Holdings, view: &View) -> Result<(), Vec<String>> {
        if self.names.is_empty() || self.waiting {
            return Ok(());
        }
        let all: Vec<_> = self.names.iter().flat_map(|name| nft::Firewall::names(name)).collect();
        let present = match self.present.take() {
            Some(present) => present,
            None => match self.look(&all) {
                Ok(present) => present,
                Err(error) if self.part.is_none() && lacks_nftables(&error) => {
                    *self = Self::default();
                    return Ok(());
                }
                Err(error) => return Err(vec![explain(&error)]),
            },
        };
        let wanted = self.wanted(holdings, view, &present);
        let Some(sockets) = &mut self.sockets else { return Ok(()) };
        let mut refused = Vec::new();
        // One by one: what is wrong with one family need not be wrong with the other.
        for name in &all {
            let of = |tables: &[Table]| tables.iter().filter(|table| table.name == *name).cloned().collect::<Vec<_>>();
            let changes = plan(&of(&wanted), &of(&present), std::slice::from_ref(name));
            if self.disturbed && !changes.is_empty() {
                tracing::warn!("somebody changed the nftables table {name} - putting it back");
            }
            refused.extend(sockets.nft.apply(&changes).refused.iter().map(|refusal| explain(&refusal.error)));
        }
        self.disturbed = false;
        if !refused.is_empty() {
            return Err(refused);
        }
        self.present = Some(wanted);
        if self.part.is_none() {
            *self = Self::default();
        }
        Ok(())
    }

    fn look(&mut self, names: &[TableName]) -> Result<Vec<Table>, vip_netlink::Error> {
        let sockets = match self.sockets.take() {
            Some(sockets) => sockets,
            None => Sockets::open()?,
        };
        self.sockets.insert(sockets).nft.present(names)
    }

    fn wanted(&self, holdings: &Holdings, view: &View, present: &[Table]) -> Vec<Table> {
        let Some(part) = &self.part else { return Vec::new() };
        let firewall = nft::Firewall {
            name: part.table.clone(),
            priority: part.priority,
            counters: part.counters,
            filters: part.filters.clone(),
            by_index: part.link_keys.contains(&LinkKey::Index),
            by_name: part.link_keys.contains(&LinkKey::Name),
            dropped: self.dropped(holdings, view, present),
            vmacs: vmacs(part, view),
        };
        firewall.tables()
    }

    /// What is held by routers that do not accept, and what was dropped before and is still on this host: it stays so
    /// until it is gone, whoever put it there.
    fn dropped(&self, holdings: &Holdings, view: &View, present: &[Table]) -> BTreeSet<Dropped> {
        let held = self.closed.iter().filter(|(router, _)| holdings.holds(**router));
        let mut dropped: BTreeSet<_> = held
            .flat_map(|(router, key)| holdings.addresses(*router).iter().map(move |address| (address, *key)))
            .filter_map(|(address, key)| element(address, key, view))
            .collect();
        let mut before = nft::Firewall::dropped_by(present);
        before.retain(|it| !dropped.contains(it));
        if !before.is_empty() {
            let (here, owners) = (places(view), holdings.owners());
            let open = |router: &RouterId| holdings.holds(*router) && !self.closed.contains_key(router);
            // A virtual address that nobody accepts packets for now.
            let may_stay = |ip: IpAddr| owners.get(&ip).is_some_and(|routers| !routers.iter().any(open));
            dropped.extend(before.into_iter().filter(|it| is_here(it, &here, view) && may_stay(it.ip())));
        }
        dropped
    }
}

/// Removes the tables with that name, for a process that knows nothing else of them.
///
/// # Errors
/// What the kernel refused.
pub(crate) fn remove_tables(name: &str) -> Result<(), vip_netlink::Error> {
    let removed = NftSocket::open().and_then(|mut nft| nft.reconcile(&[], &nft::Firewall::names(name)));
    match removed {
        Ok(applied) => applied.refused.into_iter().next().map_or(Ok(()), |refusal| Err(refusal.error)),
        Err(error) if lacks_nftables(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The error, and what it means.
fn explain(error: &vip_netlink::Error) -> String {
    let hint = if lacks_nftables(error) { " - is the kernel built with nf_tables?" } else { "" };
    format!("packets to virtual addresses without accept are not dropped: {error}{hint}")
}

/// How a kernel without nftables, or without netfilter, says so: it has no tables.
pub(crate) fn lacks_nftables(error: &vip_netlink::Error) -> bool {
    let errors = [libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT, libc::EOPNOTSUPP, libc::EINVAL];
    error.io().raw_os_error().is_some_and(|errno| errors.contains(&errno))
}

/// `None` if the link of a link-local address is not there.
fn element(address: &VirtualAddress, key: LinkKey, view: &View) -> Option<Dropped> {
    match address.ip {
        IpAddr::V6(ip) if is_link_local(address.ip) => Some(match key {
            LinkKey::Index => Dropped::OnLink(ip, view.link(&address.device)?.index),
            LinkKey::Name => Dropped::OnLinkNamed(ip, LinkName::try_from(address.device.as_str()).ok()?),
        }),
        ip => Some(Dropped::Anywhere(ip)),
    }
}

/// Every address of this host, and the links that have it.
fn places(view: &View) -> BTreeMap<IpAddr, Vec<LinkIndex>> {
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for key in view.addresses() {
        places.entry(key.ip).or_default().push(key.link);
    }
    places
}

fn is_here(dropped: &Dropped, places: &BTreeMap<IpAddr, Vec<LinkIndex>>, view: &View) -> bool {
    let Some(links) = places.get(&dropped.ip()) else { return false };
    match dropped {
        Dropped::Anywhere(_) => true,
        Dropped::OnLink(_, link) => links.contains(link),
        Dropped::OnLinkNamed(_, name) => view.link(&name.to_string()).is_some_and(|link| links.contains(&link.index)),
    }
}

/// The macvlans that have one of the MAC addresses.
fn vmacs(part: &FirewallPart, view: &View) -> BTreeMap<Family, Vec<Vmac>> {
    let mut found: BTreeMap<Family, Vec<Vmac>> = BTreeMap::new();
    for (family, mac) in &part.vmacs {
        let macvlans = view.links().filter(|link| link.kind.as_deref() == Some("macvlan") && link.mac == Some(*mac));
        let pairs = macvlans.filter_map(|link| Some(Vmac { link: link.index, parent: link.parent? }));
        found.entry(*family).or_default().extend(pairs);
    }
    found
}

#[cfg(test)]
mod tests {
    use vip_netlink::{Address, MacAddr};
    use vrrp_proto::Ownership;

    use super::*;
    use crate::config::network::Belongings;
    use crate::config::vrrp::tests::part;
    use crate::workers::vrrp::view::tests::link;

    const ONE: RouterId = RouterId(1);
    const TWO: RouterId = RouterId(2);
    const TEXT: &str = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nno_accept\nvirtual_ipaddress { 192.0.2.1 }\n\
         virtual_ipaddress_excluded { fe80::1 }\n}\n\
         vrrp_instance B {\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress {\n192.0.2.1\n192.0.2.2\n}\n}\n";

    fn eth0() -> LinkIndex {
        LinkIndex::new(2).unwrap()
    }

    fn view(addresses: &[&str]) -> View {
        let address = |text: &&str| Address::new(eth0(), text.parse().unwrap(), 32);
        View::new(vec![link(eth0(), "eth0")], addresses.iter().map(address).collect())
    }

    fn set_up() -> (Firewall, Holdings) {
        let part = part(TEXT);
        let mut holdings = Holdings::default();
        holdings.configure([ONE, TWO].into_iter().zip(part.instances.iter().map(Belongings::of)));
        let mut firewall = Firewall::default();
        firewall.configure(part.firewall, [(ONE, LinkKey::Index)].into());
        (firewall, holdings)
    }

    fn dropped(firewall: &Firewall, holdings: &Holdings, view: &View, present: &[Table]) -> Vec<String> {
        firewall.dropped(holdings, view, present).iter().map(|it| it.ip().to_string()).collect()
    }

    #[test]
    fn an_address_is_dropped_from_before_it_is_here_until_it_is_gone() {
        let (firewall, mut holdings) = set_up();
        assert_eq!(dropped(&firewall, &holdings, &view(&[]), &[]), Vec::<String>::new());
        holdings.set(ONE, Ownership::Held);
        assert_eq!(dropped(&firewall, &holdings, &view(&[]), &[]), ["192.0.2.1", "fe80::1"]);
        let present = firewall.wanted(&holdings, &view(&[]), &[]);
        holdings.set(ONE, Ownership::Released);
        assert_eq!(dropped(&firewall, &holdings, &view(&["192.0.2.1"]), &present), ["192.0.2.1"]);
        assert_eq!(dropped(&firewall, &holdings, &view(&[]), &present), Vec::<String>::new());
    }

    #[test]
    fn what_another_router_accepts_or_nobody_knows_is_not_kept_out() {
        let (firewall, mut holdings) = set_up();
        holdings.set(ONE, Ownership::Held);
        let present = firewall.wanted(&holdings, &view(&[]), &[]);
        holdings.set(ONE, Ownership::Released);
        holdings.set(TWO, Ownership::Held);
        assert_eq!(dropped(&firewall, &holdings, &view(&["192.0.2.1"]), &present), Vec::<String>::new());
        let (firewall, _) = set_up();
        let nobody = Holdings::default();
        assert_eq!(dropped(&firewall, &nobody, &view(&["192.0.2.1"]), &present), Vec::<String>::new());
    }

    #[test]
    fn macvlans_are_found_by_their_mac_address() {
        let mac = MacAddr([0, 0, 0x5e, 0, 1, 1]);
        let index = |number| LinkIndex::new(number).unwrap();
        let macvlan = |number, name, parent| {
            let plain = link(index(number), name);
            vip_netlink::Link { kind: Some("macvlan".into()), parent: Some(index(parent)), mac: Some(mac), ..plain }
        };
        let view = View::new(vec![link(eth0(), "eth0"), macvlan(7, "vrrp.1", 2)], Vec::new());
        let part = part(&TEXT.replace("no_accept", "use_vmac")).firewall.unwrap();
        let expected = [(Family::Ipv4, vec![Vmac { link: index(7), parent: index(2) }])].into();
        assert_eq!(vmacs(&part, &view), expected);
        assert_eq!(vmacs(&part, &View::default()), [(Family::Ipv4, Vec::new())].into());
    }
}
