//! Withdrawing what a process left behind that is not replaced in time.

use std::collections::BTreeSet;

use anyhow::Context as _;
use vip_netlink::{RouteSocket, Wanted};
use vrrp_proto::{Ownership, Priority, Reserved, RouterId, Transmitter};

use super::clock;
use super::facts;
use super::firewall;
use super::holdings::{HOST, Holdings};
use super::packet;
use super::roster;
use super::sockets::{Departures, SendSocket};
use super::view::View;
use super::vmac::{self, Vmacs};
use crate::config::network::Belongings;
use crate::config::vrrp::{Instance, Transport, VrrpPart};
use crate::ipc::Fact;

/// Sends priority 0 for every instance whose addresses are on this host, then removes these addresses, its routes
/// and rules, what is static, and whatever else the worker before told in `facts` to have put there. What becomes true
/// meanwhile goes to `tell`, before it does.
///
/// # Errors
/// When the kernel cannot be asked, or refused to remove some addresses; the others are removed all the same.
pub(crate) fn cleanup(
    parts: &[VrrpPart],
    facts: &[Fact],
    tell: &mut dyn FnMut(Fact) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut route = RouteSocket::open()?;
    let view = View::new(route.links()?, route.addresses()?);
    let sequences = facts::told_sequences(facts);
    let mut all = told(facts, &view);
    for part in parts {
        for (number, (wanted, present)) in wanted(part, &view).into_iter().enumerate() {
            if let Some(instance) = part.instances.get(number).filter(|_| present) {
                let used = sequences.get(&instance.key).copied();
                if let Err(error) = resign(instance, part, &view, used, tell) {
                    tracing::error!("({}) {error:#}", instance.name);
                }
            }
            all.release.extend(wanted.release);
            all.release_routes.extend(wanted.release_routes);
            all.release_rules.extend(wanted.release_rules);
        }
    }
    let applied = route.reconcile(&all)?;
    for refusal in &applied.refused {
        tracing::error!("{}", refusal.error);
    }
    for over in restore_host(parts, facts, &view)? {
        tell(over)?;
    }
    anyhow::ensure!(
        applied.refused.is_empty(),
        "{} addresses, routes or rules could not be removed",
        applied.refused.len()
    );
    // Last: as long as an address is here, what is sent to it is dropped.
    let tables = parts.iter().filter_map(|part| part.firewall.as_ref()).map(|firewall| firewall.table.clone());
    for table in tables.chain(facts::told_firewall(facts)).collect::<BTreeSet<_>>() {
        firewall::remove_tables(&table)?;
    }
    Ok(())
}

/// What a worker put on this host, whatever its configuration is now.
fn told(facts: &[Fact], view: &View) -> Wanted {
    let told = facts::told_footprints(facts);
    let ids: BTreeSet<_> = told.keys().copied().collect();
    let mut holdings = Holdings::default();
    for (id, (_, footprint)) in told {
        holdings.inherit(id, footprint);
    }
    holdings.wanted(&ids, |name| view.link(name).map(|link| link.index))
}

/// Removes macvlans and ipvlans and restores settings of interfaces: those that processes before this one announced in
/// `facts`, and the links that `parts` describe. The facts that are over.
///
/// # Errors
/// When the kernel cannot be asked; what it refuses is logged.
fn restore_host(parts: &[VrrpPart], facts: &[Fact], view: &View) -> anyhow::Result<Vec<Fact>> {
    let mut vmacs = Vmacs::default();
    parts.iter().for_each(|part| vmacs.inherit_links(part, view));
    vmacs.inherit(facts);
    vmac::restore(&mut vmacs)
}

/// For each instance, and last for what is static, what is to go, and whether any of its addresses is there.
fn wanted(part: &VrrpPart, view: &View) -> Vec<(Wanted, bool)> {
    let one = |belongings: Belongings| {
        let mut holdings = Holdings::default();
        let id = HOST;
        holdings.configure([(id, belongings)]);
        holdings.set(id, Ownership::Released);
        let wanted = holdings.wanted(&BTreeSet::from([id]), |name| view.link(name).map(|link| link.index));
        let present = wanted.release.iter().any(|key| view.has(key));
        (wanted, present)
    };
    part.instances.iter().map(Belongings::of).chain([part.fixed.clone()]).map(one).collect()
}

fn resign(
    instance: &Instance,
    part: &VrrpPart,
    view: &View,
    used: Option<Reserved>,
    tell: &mut dyn FnMut(Fact) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let virtual_ones = part.virtual_addresses();
    let place = roster::place(instance, part, view, &virtual_ones).context("its interface is gone")?;
    let name = instance.advert_interface();
    let of_link = || {
        let link = view.link(part.source_interface(name?))?;
        view.sources(link.index, instance.family(), &virtual_ones).first().copied()
    };
    let source = instance.source().or_else(of_link).context("there is no address to send from")?;
    let destinations = match &instance.transport {
        Transport::Multicast { group } => vec![*group],
        Transport::Unicast { peers } => peers.iter().map(|peer| peer.address).collect(),
    };
    let mut departures = Departures::new(SendSocket::open(instance.family())?);
    let mut transmitter = Transmitter::new(instance.wire_config()?)?;
    if let Some(used) = used {
        transmitter.resume(used);
    }
    if let Some(reserved) = transmitter.reserve(clock::wall()) {
        tell(facts::sequences(&instance.key, &reserved))?;
    }
    let advert = transmitter.begin(Priority::RESIGN, clock::wall());
    for destination in destinations {
        let ends = [source, destination];
        let emit = |out: &mut Vec<u8>| packet::emit(&mut transmitter, &advert, source, destination, out);
        departures.add(RouterId(0), &place, ends, emit)?;
    }
    // One that is refused keeps none of the others back.
    departures.send(|_, error| tracing::error!("({}) sending priority 0: {error}", instance.name));
    tracing::debug!("({}) sent 0 priority", instance.name);
    Ok(())
}
