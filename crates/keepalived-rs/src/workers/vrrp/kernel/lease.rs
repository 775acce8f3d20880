//! `vrrp_vip_lease`: virtual addresses that the kernel withdraws by itself once nobody renews them, because every process
//! is gone or frozen.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use vip_netlink::{Address, Ipv4Setting, LinkIndex, Present, Wanted, plan};
use vrrp_proto::Instant;

use super::{Kernel, clock};
use crate::config::virtual_link::Kind;
use crate::config::vrrp::{VirtualAddress, VrrpPart};
use crate::workers::vrrp::sysctl::Sysctl;
use crate::workers::vrrp::view::View;

/// So often a lease is renewed before it would end.
const RENEWALS: u32 = 4;

/// When leases are renewed. With the default there are none.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    every: Option<Duration>,
    next: Option<Instant>,
    /// What is there has another end until it was tried to give it its lease, in the next turn.
    waits_a_turn: bool,
}

impl Renewals {
    /// When [`Kernel::renew_leases`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Addresses may have come that somebody else gave their end.
    pub(super) fn renew_now(&mut self) {
        if self.every.is_some() {
            self.next = Some(Instant::ZERO);
        }
    }

    /// How often to renew, if now is the time to.
    fn take_due(&mut self, now: Instant) -> Option<Duration> {
        let waits = std::mem::take(&mut self.waits_a_turn);
        self.every.filter(|_| !waits && self.next.is_some_and(|at| at <= now))
    }
}

impl Kernel {
    /// Virtual addresses last so long from now on, or for ever: those that are there too.
    pub(super) fn set_lease(&mut self, lease: Option<Duration>) {
        self.renewals = Renewals { every: lease.map(|lease| lease / RENEWALS), ..Renewals::default() };
        if self.holdings.set_lease(lease) {
            let holding: Vec<_> = self.holdings.holding().collect();
            if !holding.is_empty() {
                self.unsettled.extend(holding);
                self.renewals.waits_a_turn = true;
                self.retry_at = Some(clock::now());
            }
        }
    }

    /// Lets the leases of what is there begin anew, in one batch, when it is time to.
    pub(super) fn renew_leases(&mut self, now: Instant) {
        let Some(every) = self.renewals.take_due(now) else { return };
        let leased = self.holdings.leased(|name| self.view.link(name).map(|link| link.index));
        // One that others took away does not come back like this.
        self.renewals.next = (!leased.is_empty()).then(|| now + every);
        let is_there = |address: &Address| self.out_of_step || self.view.has(&address.key());
        let there: Vec<_> = leased.into_iter().filter(is_there).collect();
        // Nothing has to be asked of the kernel for that: what is there is as it was leased, but for the time.
        let renew = there.iter().map(Address::key).collect();
        let wanted = Wanted { addresses: there.clone(), renew, ..Wanted::default() };
        let changes = plan(&wanted, &Present { addresses: there, ..Present::default() });
        for refusal in self.route.apply(&changes).refused {
            self.complain(format!("renewing vrrp_vip_lease: {}", refusal.error));
            self.retry_soon();
        }
    }
}

/// Whether the end of a lease takes no address along that has none.
///
/// # Errors
/// For the first address that would be the primary one of its network, where the kernel removes the others with it.
pub(super) fn check(part: &VrrpPart, view: &View) -> anyhow::Result<()> {
    if part.vip_lease.is_none() || promotes_secondaries("all", view) {
        return Ok(());
    }
    check_links(part, view)
}

fn check_links(part: &VrrpPart, view: &View) -> anyhow::Result<()> {
    let virtual_ones = part.virtual_addresses();
    for instance in &part.instances {
        for address in instance.addresses.iter().filter(|address| address.prefix_len < 32 && address.ip.is_ipv4()) {
            let device = address.device.as_str();
            let is_macvlan = part.virtual_link(device).is_some_and(|link| matches!(link.kind, Kind::Macvlan { .. }));
            let promotes = instance.promote_secondaries && instance.link() == Some(device);
            let Some(link) =
                view.link(device).filter(|_| !is_macvlan && !promotes && !promotes_secondaries(device, view))
            else {
                continue;
            };
            anyhow::ensure!(
                has_primary(address, link.index, &virtual_ones, view),
                "({}) vrrp_vip_lease: {}/{} would be the primary address of its network on {device}, and at the end of \
                 its lease the kernel would remove every other address of that network too; write promote_secondaries \
                 in the instance, or set net.ipv4.conf.{device}.promote_secondaries to 1",
                instance.name,
                address.ip,
                address.prefix_len
            );
        }
    }
    Ok(())
}

/// Whether the kernel keeps the other addresses of a network when it removes the primary one, on a link or on `all`.
fn promotes_secondaries(device: &str, view: &View) -> bool {
    Sysctl::new(device, Ipv4Setting::PromoteSecondaries).value(view).is_some_and(|value| value != 0)
}

/// Whether the host itself has an address in the network of a virtual one.
fn has_primary(address: &VirtualAddress, link: LinkIndex, virtual_ones: &BTreeSet<IpAddr>, view: &View) -> bool {
    let network = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => Some(ip.to_bits() >> (32 - u32::from(address.prefix_len).clamp(1, 32))),
        IpAddr::V6(_) => None,
    };
    let own = view.addresses().filter(|key| key.link == link && key.prefix_len == address.prefix_len);
    let wanted = network(address.peer.unwrap_or(address.ip));
    own.filter(|key| !virtual_ones.contains(&key.ip)).any(|key| network(key.ip) == wanted)
}

#[cfg(test)]
mod tests {
    use vip_netlink::{Ipv4Conf, Link};

    use super::*;
    use crate::config::vrrp::tests::part;
    use crate::workers::vrrp::view::tests::link;

    /// eth0 with 192.0.2.1/24.
    fn view(promotes: u32) -> View {
        let index = LinkIndex::new(2).unwrap();
        let ipv4 = Ipv4Conf::default().with(Ipv4Setting::PromoteSecondaries, promotes);
        let eth0 = Link { ipv4, ..link(index, "eth0") };
        View::new(vec![eth0], vec![Address::new(index, [192, 0, 2, 1].into(), 24)])
    }

    fn checked(address: &str, line: &str, promotes: u32) -> Result<(), String> {
        let part = part(&format!(
            "global_defs {{\nvrrp_vip_lease 6\n}}\nvrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\n{line}\n\
             virtual_ipaddress {{\n{address}\n}}\n}}\n"
        ));
        check_links(&part, &view(promotes)).map_err(|error| error.to_string())
    }

    #[test]
    fn leases_are_first_given_and_then_renewed() {
        let every = Duration::from_secs(2);
        let mut renewals = Renewals { every: Some(every), next: None, waits_a_turn: true };
        renewals.renew_now();
        assert_eq!(renewals.take_due(Instant::ZERO), None, "a retry comes before");
        assert_eq!(renewals.take_due(Instant::ZERO), Some(every));
        renewals.next = Some(Instant::ZERO + every);
        assert_eq!(renewals.take_due(Instant::ZERO), None);
        assert_eq!(renewals.take_due(Instant::ZERO + every), Some(every));
    }

    #[test]
    fn only_an_address_that_takes_others_along_is_refused() {
        for harmless in ["192.0.2.9/24", "198.51.100.9/32", "2001:db8::9/64"] {
            assert_eq!(checked(harmless, "", 0), Ok(()), "{harmless}");
        }
        for primary in ["198.51.100.9/24", "192.0.2.9/25"] {
            let refusal = checked(primary, "", 0).unwrap_err();
            assert!(refusal.contains("(VI_1)") && refusal.contains(primary), "{refusal}");
            assert_eq!(checked(primary, "promote_secondaries", 0), Ok(()));
            assert_eq!(checked(primary, "use_vmac", 0), Ok(()));
            assert_eq!(checked(primary, "", 1), Ok(()));
        }
    }
}
