//! Withdrawing what a process left behind that is not replaced in time.

use std::collections::BTreeSet;

use anyhow::Context as _;
use vip_netlink::{RouteSocket, Wanted};
use vrrp_proto::{Ownership, Priority, RouterId, Transmitter};

use super::clock;
use super::holdings::Holdings;
use super::packet;
use super::roster;
use super::sockets::SocketPair;
use super::view::View;
use super::vmac::{self, Vmacs};
use crate::config::network::Belongings;
use crate::config::vrrp::{Instance, Transport, VrrpPart};
use crate::ipc::Fact;

/// Sends priority 0 for every instance whose addresses are on this host, then removes these addresses, its routes
/// and rules.
///
/// # Errors
/// When the kernel cannot be asked, or refused to remove some addresses; the others are removed all the same.
pub(crate) fn cleanup(part: &VrrpPart) -> anyhow::Result<()> {
    let mut route = RouteSocket::open()?;
    let view = View::new(route.links()?, route.addresses()?);
    let wanted = wanted(part, &view);
    for (instance, (_, present)) in part.instances.iter().zip(&wanted) {
        if *present && let Err(error) = resign(instance, part, &view) {
            tracing::error!("({}) {error:#}", instance.name);
        }
    }
    let mut all = Wanted::default();
    for (wanted, _) in wanted {
        all.release.extend(wanted.release);
        all.release_routes.extend(wanted.release_routes);
        all.release_rules.extend(wanted.release_rules);
    }
    let applied = route.reconcile(&all)?;
    for refusal in &applied.refused {
        tracing::error!("{}", refusal.error);
    }
    anyhow::ensure!(
        applied.refused.is_empty(),
        "{} addresses, routes or rules could not be removed",
        applied.refused.len()
    );
    Ok(())
}

/// Removes macvlans and ipvlans and restores settings of interfaces: those of `kept`, which processes before this one
/// announced, and the links that `parts` name. The facts that are over.
///
/// # Errors
/// When the kernel cannot be asked; what it refuses is logged.
pub(crate) fn restore_host(parts: &[VrrpPart], kept: &[Fact]) -> anyhow::Result<Vec<Fact>> {
    let mut vmacs = Vmacs::default();
    parts.iter().for_each(|part| vmacs.inherit_links(part));
    vmacs.inherit(kept);
    vmac::restore(&mut vmacs)
}

/// For each instance what is to go, and whether any of it is there.
fn wanted(part: &VrrpPart, view: &View) -> Vec<(Wanted, bool)> {
    let one = |instance: &Instance| {
        let mut holdings = Holdings::default();
        let id = RouterId(0);
        holdings.configure([(id, Belongings::of(instance))]);
        holdings.set(id, Ownership::Released);
        let wanted = holdings.wanted(&BTreeSet::from([id]), |name| view.link(name).map(|link| link.index));
        let present = wanted.release.iter().any(|key| view.has(key));
        (wanted, present)
    };
    part.instances.iter().map(one).collect()
}

fn resign(instance: &Instance, part: &VrrpPart, view: &View) -> anyhow::Result<()> {
    let virtual_ones = part.virtual_addresses();
    let place = roster::place(instance, part, view, &virtual_ones).context("its interface is gone")?;
    let name = instance.advert_interface();
    let of_link = || {
        let link = view.link(part.source_interface(name?))?;
        view.sources(link.index, instance.family(), &virtual_ones).first().copied()
    };
    let source = instance.source().or_else(of_link).context("there is no address to send from")?;
    let pair = SocketPair::open(place, name.unwrap_or_default(), 0)?;
    let destinations = match &instance.transport {
        Transport::Multicast { group } => vec![*group],
        Transport::Unicast { peers } => peers.iter().map(|peer| peer.address).collect(),
    };
    let mut transmitter = Transmitter::new(instance.wire_config()?)?;
    let advert = transmitter.begin(Priority::RESIGN, clock::wall());
    for destination in destinations {
        let mut packet = Vec::new();
        packet::emit(&mut transmitter, &advert, source, destination, &mut packet)?;
        pair.send(&packet, destination).with_context(|| format!("sending priority 0 to {destination}"))?;
    }
    tracing::debug!("({}) sent 0 priority", instance.name);
    Ok(())
}
