//! What a `virtual_server_group` stands for: one service for each of its addresses and firewall marks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

use conf_parser::config::{self, Config, GroupEntry, Protocol, ServiceKey};
use ipvs_control::ServiceAddress;
use serde::{Deserialize, Serialize};

use super::{Inexpressible, family, service_address};

/// So many services a virtual server may stand for.
const MAX_SERVICES: u128 = 1 << 18;

/// The entries of the groups that virtual servers name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Groups(BTreeMap<String, Vec<GroupEntry>>);

impl Groups {
    /// The groups of `config` that are used.
    pub(crate) fn from_config(config: &Config) -> Self {
        let named = config.virtual_servers.iter().filter_map(|server| match &server.service.value {
            ServiceKey::Group { name, .. } => Some(name),
            ServiceKey::Address { .. } | ServiceKey::Fwmark { .. } => None,
        });
        let used: BTreeSet<_> = named.collect();
        let groups = config.virtual_server_groups.iter().filter(|group| used.contains(&group.name.value));
        let entries = |group: &config::VirtualServerGroup| group.entries.iter().map(|entry| entry.value).collect();
        Self(groups.map(|group| (group.name.value.clone(), entries(group))).collect())
    }

    /// What stands in a group; nothing in one that is not used.
    pub(super) fn entries(&self, name: &str) -> &[GroupEntry] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The services that `key` stands for, in the order of the file.
    ///
    /// # Errors
    /// For a firewall mark 0 alone, which no packet has, and for more services than anybody means.
    pub(crate) fn services(&self, key: &ServiceKey) -> Result<Vec<ServiceAddress>, Inexpressible> {
        let ServiceKey::Group { name, protocol, family, .. } = key else { return Ok(vec![service_address(key)?]) };
        let entries = self.entries(name);
        let number = entries.iter().map(size).fold(0, u128::saturating_add);
        if number > MAX_SERVICES {
            let reason = format!("its group stands for {number} services, more than {MAX_SERVICES}: use a fwmark");
            return Err(Inexpressible { name: key.to_string(), reason });
        }
        Ok(entries.iter().flat_map(|entry| services(*entry, *protocol, *family)).collect())
    }
}

/// How many services an entry stands for.
fn size(entry: &GroupEntry) -> u128 {
    match *entry {
        GroupEntry::Addresses { first, last, .. } => bits(last).saturating_sub(bits(first)).saturating_add(1),
        GroupEntry::Fwmark { .. } => 1,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A mark 0, of which the file's reader has told, is left out: no packet has it, and the kernel does not take it.
fn services(
    entry: GroupEntry,
    protocol: Option<Protocol>,
    default: Option<config::Family>,
) -> Box<dyn Iterator<Item = ServiceAddress>> {
    match entry {
        GroupEntry::Addresses { first, last, port } => {
            let service = move |address: IpAddr| {
                let socket = SocketAddr::new(address, port);
                match protocol.unwrap_or(Protocol::Udp) {
                    Protocol::Tcp => ServiceAddress::tcp(socket),
                    Protocol::Udp => ServiceAddress::udp(socket),
                    Protocol::Sctp => ServiceAddress::sctp(socket),
                }
            };
            Box::new((bits(first)..=bits(last)).map(move |bits| service(address(first, bits))))
        }
        GroupEntry::Fwmark { mark, family: own } => {
            let family = family(own.or(default).unwrap_or(config::Family::Ipv4));
            Box::new(NonZeroU32::new(mark).map(|mark| ServiceAddress::fwmark(mark, family)).into_iter())
        }
    }
}

/// The address of these bits, of the family of `like`.
fn address(like: IpAddr, bits: u128) -> IpAddr {
    match (like, u32::try_from(bits)) {
        (IpAddr::V4(_), Ok(bits)) => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checker::tests::config;

    fn services_of(group: &str, server: &str) -> Vec<String> {
        let config = config(&format!(
            "virtual_server_group G {{\n{group}\n}}\nvirtual_server group G {{\n lb_algo rr\n {server}\n}}\n"
        ));
        let services = Groups::from_config(&config).services(&config.virtual_servers[0].service).unwrap();
        services.iter().map(|service| format!("{service} {:?}", service.family())).collect()
    }

    #[test]
    fn each_address_of_a_range_is_a_service() {
        let found = services_of(
            "192.0.2.254-192.0.3.1 80\n 192.0.2.1-2 443\n 198.51.100.4/31 25",
            "protocol TCP\n lb_kind NAT\n real_server 10.0.0.1 80 { weight 1 }",
        );
        let expected = [
            "[192.0.2.254]:tcp:80 Inet",
            "[192.0.2.255]:tcp:80 Inet",
            "[192.0.3.0]:tcp:80 Inet",
            "[192.0.3.1]:tcp:80 Inet",
            "[192.0.2.1]:tcp:443 Inet",
            "[192.0.2.2]:tcp:443 Inet",
            "[198.51.100.4]:tcp:25 Inet",
            "[198.51.100.5]:tcp:25 Inet",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_mark_has_its_own_family_or_that_of_the_servers() {
        let real = "lb_kind NAT\n real_server 2001:db8::1 80 { weight 1 }";
        assert_eq!(services_of("fwmark 3\n fwmark 4 inet6", real), ["FWM 3 Inet6", "FWM 4 Inet6"]);
        let tunnelled = "lb_kind TUN\n real_server 10.0.0.1 { weight 1 }";
        assert_eq!(services_of("fwmark 3\n fwmark 4 inet6", tunnelled), ["FWM 3 Inet", "FWM 4 Inet6"]);
    }

    #[test]
    fn addresses_and_marks_of_both_families_go_together_behind_tunnels() {
        let found = services_of(
            "2001:db8::fffe-ffff 53\n 192.0.2.1 53\n fwmark 9 inet6",
            "protocol UDP\n lb_kind TUN\n real_server 10.0.0.1 { weight 1 }",
        );
        let expected = [
            "[2001:db8::fffe]:udp:53 Inet6",
            "[2001:db8::ffff]:udp:53 Inet6",
            "[192.0.2.1]:udp:53 Inet",
            "FWM 9 Inet6",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nobody_means_a_million_services() {
        let (first, last) = ("2001:db8::".parse().unwrap(), "2001:db8::f:ffff".parse().unwrap());
        let entries = vec![GroupEntry::Addresses { first, last, port: 80 }];
        let groups = Groups(BTreeMap::from([("G".to_owned(), entries)]));
        let key = ServiceKey::Group { name: "G".into(), number: 0, protocol: Some(Protocol::Tcp), family: None };
        let expected = "[G]:0: its group stands for 1048576 services, more than 262144: use a fwmark";
        assert_eq!(groups.services(&key).unwrap_err().to_string(), expected);
        let all =
            GroupEntry::Addresses { first: Ipv6Addr::UNSPECIFIED.into(), last: IpAddr::V6(u128::MAX.into()), port: 80 };
        assert_eq!(size(&all), u128::MAX);
    }

    #[test]
    fn mark_zero_is_left_out() {
        assert_eq!(services(GroupEntry::Fwmark { mark: 0, family: None }, None, None).count(), 0);
    }
}
