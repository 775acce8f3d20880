//! The tables of nftables that mark the packets of virtual servers (`nftables_ipvs`, `behaviour.md` §6.1).

use std::collections::BTreeSet;

use vip_netlink::nft::{self, Change, Marking, Table, TableName};
use vip_netlink::{Error, NftSocket};

use crate::workers::vrrp::firewall::lacks_nftables;

const HARM: &str = "packets to the addresses of groups are not marked, and reach no real server";

/// What leads from the tables that are there to those that are wanted: the wanted ones are made, and those of the other
/// names of `ours` removed.
///
/// # Errors
/// The name of a table that holds what no marking makes: it is somebody else's.
fn plan(wanted: &[Table], present: &[Table], ours: &[TableName]) -> Result<Vec<Change>, TableName> {
    let of_others = present.iter().find(|table| !Marking::may_have_made(table));
    match of_others {
        Some(table) => Err(table.name.clone()),
        None => Ok(nft::plan(wanted, present, ours)),
    }
}

/// The way to nftables.
#[derive(Debug, Default)]
pub(super) struct Marker {
    socket: Option<NftSocket>,
}

impl Marker {
    /// With a socket of the network namespace of the calling thread. Without nftables it is missed when it is needed.
    pub(super) fn open_here() -> Self {
        Self { socket: NftSocket::open().ok() }
    }

    /// Makes the tables of `wanted`, and removes those of the other names in `ours`. Tables of other names are not looked at.
    ///
    /// # Errors
    /// What is in the way and what can be done about it.
    pub(super) fn mark(&mut self, wanted: Option<&Marking>, ours: &BTreeSet<String>) -> Result<(), String> {
        let names = ours.iter().chain(wanted.map(|marking| &marking.name)).collect::<BTreeSet<_>>();
        let names: Vec<_> = names.into_iter().flat_map(|name| Marking::names(name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        match self.reconcile(&wanted.map(Marking::tables).unwrap_or_default(), &names) {
            Err(Trouble::Kernel(error)) if wanted.is_none() && lacks_nftables(&error) => Ok(()),
            result => result.map_err(|trouble| trouble.explain(wanted.is_some())),
        }
    }

    fn reconcile(&mut self, wanted: &[Table], names: &[TableName]) -> Result<(), Trouble> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => NftSocket::open().map_err(Trouble::Kernel)?,
        };
        let socket = self.socket.insert(socket);
        let present = socket.present(names).map_err(Trouble::Kernel)?;
        let changes = plan(wanted, &present, names).map_err(Trouble::OfOthers)?;
        let refused = socket.apply(&changes).refused.into_iter().next();
        refused.map_or(Ok(()), |refusal| Err(Trouble::Kernel(refusal.error)))
    }
}

/// Why tables are not as they should be.
#[derive(Debug)]
enum Trouble {
    OfOthers(TableName),
    Kernel(Error),
}

impl Trouble {
    fn explain(&self, wanted: bool) -> String {
        let harm = if wanted { HARM } else { "a table is left" };
        match self {
            Self::OfOthers(table) if wanted => {
                format!("{harm}: the nftables table {table} is somebody else's - remove it, or name another one here")
            }
            Self::OfOthers(table) => format!("{harm}: somebody else put something into the nftables table {table}"),
            Self::Kernel(error) if lacks_nftables(error) => {
                format!("{harm}: {error} - is the kernel built with nf_tables?")
            }
            Self::Kernel(error) => format!("{harm}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32};

    use vip_netlink::nft::{Chain, Target, Transport};

    use super::*;

    fn marking(name: &str) -> Marking {
        let target = Target {
            transport: Transport::Tcp,
            first: "192.0.2.1".parse().unwrap(),
            last: "192.0.2.1".parse().unwrap(),
            port: NonZeroU16::new(80),
            mark: NonZeroU32::MIN,
        };
        Marking { name: name.to_owned(), priority: -1, counters: false, targets: vec![target] }
    }

    #[test]
    fn a_table_of_somebody_else_stays() {
        let names = Marking::names("t");
        let (own, empty) = (marking("t").tables(), Marking { targets: Vec::new(), ..marking("t") }.tables());
        assert!(!plan(&own, &[], &names).unwrap().is_empty());
        assert_eq!(plan(&own, &own, &names), Ok(Vec::new()));
        assert_eq!(plan(&empty, &own, &names), Ok(vec![Change::RemoveTable(names[0].clone())]));
        let mut foreign = own.clone();
        foreign[0].chains.push(Chain { name: "foo".into(), base: None, rules: Vec::new() });
        assert_eq!(plan(&own, &foreign, &names), Err(names[0].clone()));
        assert_eq!(plan(&empty, &foreign, &names), Err(names[0].clone()));
    }

    #[test]
    fn nothing_wanted_and_nothing_ours_asks_nobody() {
        let mut marker = Marker::default();
        assert_eq!(marker.mark(None, &BTreeSet::new()), Ok(()));
        assert!(marker.socket.is_none());
    }
}
