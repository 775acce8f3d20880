//! What the kernel did not take, in the words of the configuration: file and line, virtual server, real server, keyword.

use std::collections::HashMap;
use std::net::IpAddr;

use conf_parser::Span;
use conf_parser::config::{RealServer, ServiceKey, VirtualServer};
use ipvs_control::Change;
use ipvs_control::socket::Setting;
use ipvs_control::types::DestinationKey;
use ipvs_control::virtual_server as ipvs;

use super::kernel::Refused;
use crate::config::checker::{Lines, real_server_name};

const VIRTUAL_SERVER: &str = "virtual_server";
const REAL_SERVER: &str = "virtual_server/real_server";

/// Finds the real servers of destinations, for many refusals: each takes the time of a look into a map.
#[derive(Debug, Default)]
pub(super) struct Finder<'a>(HashMap<&'a ServiceKey, Places<'a>>);

/// The real servers of one virtual server; of several the first.
#[derive(Debug, Default)]
struct Places<'a> {
    with_port: HashMap<DestinationKey, Found<'a>>,
    with_address: HashMap<IpAddr, Found<'a>>,
}

/// A real server.
#[derive(Debug, Clone, Copy)]
enum Found<'a> {
    Configured(&'a RealServer),
    /// It is not configured any more, and was called so.
    Leaving(&'a str),
}

impl<'a> Finder<'a> {
    /// The real server of the destination that a change was for: the one of its port, or one whose port is the service's.
    fn find(
        &mut self,
        server: &'a VirtualServer,
        leaving: impl Iterator<Item = &'a ipvs::RealServer>,
        change: &Change,
    ) -> Option<Found<'a>> {
        let key = destination(change)?;
        let places = self.0.entry(&server.service.value).or_insert_with(|| Places::of(server, leaving));
        places.with_port.get(&key).or_else(|| places.with_address.get(&key.address)).copied()
    }
}

impl<'a> Places<'a> {
    fn of(server: &'a VirtualServer, leaving: impl Iterator<Item = &'a ipvs::RealServer>) -> Self {
        let mut places = Self::default();
        for real in &server.real_servers {
            places.add(real.address.value, real.port, Found::Configured(real));
        }
        for real in leaving {
            places.add(real.address, real.port.unwrap_or_default(), Found::Leaving(&real.name));
        }
        places
    }

    fn add(&mut self, address: IpAddr, port: u16, found: Found<'a>) {
        self.with_port.entry(DestinationKey { address, port }).or_insert(found);
        self.with_address.entry(address).or_insert(found);
    }
}

/// The line for the log; `server` is the virtual server that the change was for, with the real servers that leave it.
/// Without `lines` it is not configured any more, and no place is named.
pub(super) fn line<'a>(
    lines: Option<&Lines>,
    finder: &mut Finder<'a>,
    (server, leaving): (&'a VirtualServer, impl Iterator<Item = &'a ipvs::RealServer>),
    refused: &Refused,
) -> String {
    let found = finder.find(server, leaving, &refused.change);
    let (real, name) = match found {
        Some(Found::Configured(real)) => (Some(real), Some(real_server_name(server, real))),
        Some(Found::Leaving(name)) => (None, Some(name.to_owned())),
        None => (None, None),
    };
    let (span, keyword) = place(server, real, refused.setting);
    let place = lines.map(|lines| lines.prefix(span)).unwrap_or_default();
    let mut line = format!("{place}virtual server {}", server.service.value);
    if let Some(name) = name {
        line += &format!(", real server {name}");
    }
    if let Some(keyword) = keyword {
        line += &format!(", {keyword}");
    }
    format!("{line}: {}", refused.text)
}

fn destination(change: &Change) -> Option<DestinationKey> {
    match change {
        Change::AddDestination { destination, .. } | Change::EditDestination { destination, .. } => {
            Some(destination.key())
        }
        Change::RemoveDestination { destination, .. } => Some(*destination),
        _ => None,
    }
}

/// Where the setting was written, else the block that it belongs to; and its keyword.
fn place(server: &VirtualServer, real: Option<&RealServer>, setting: Option<Setting>) -> (Span, Option<&'static str>) {
    let block = real.map_or(server.service.span, |real| real.address.span);
    let of_server = |keyword| server.places.of(VIRTUAL_SERVER, keyword);
    let of_real = |keyword| real.and_then(|real| real.places.of(REAL_SERVER, keyword));
    let (keyword, span) = match setting {
        Some(Setting::Scheduler) => ("lvs_sched", of_server("lvs_sched")),
        Some(Setting::PersistenceEngine) => ("persistence_engine", of_server("persistence_engine")),
        Some(Setting::PersistenceGranularity) => ("persistence_granularity", of_server("persistence_granularity")),
        Some(Setting::Forwarding) => ("lvs_method", of_real("lvs_method").or_else(|| of_server("lvs_method"))),
        Some(Setting::UpperThreshold) => ("uthreshold", of_real("uthreshold")),
        Some(Setting::LowerThreshold) => ("lthreshold", of_real("lthreshold")),
        _ => return (block, None),
    };
    (span.unwrap_or(block), Some(keyword))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use conf_parser::{MemoryLoader, Options, parse};
    use ipvs_control::types::Destination;
    use ipvs_control::{ForwardingMethod, ServiceAddress};

    use super::*;

    const FILE: &str = "virtual_server 192.0.2.1 80 {
    protocol TCP
    lb_algo mh
    lb_kind TUN
    real_server 10.0.0.1 80 {
        weight 1
        lthreshold 5
        uthreshold 9
    }
    real_server 10.0.0.2 80 {
        weight 1
    }
}
";

    fn said(real: Option<&str>, setting: Option<Setting>) -> String {
        let parsed = parse(&MemoryLoader::new([("k.conf", FILE)]), Path::new("k.conf"), &Options::default());
        let service = ServiceAddress::tcp("192.0.2.1:80".parse().unwrap());
        let change = match real {
            Some(real) => {
                let destination = Destination::new(real.parse().unwrap(), ForwardingMethod::Masquerade);
                Change::AddDestination { service, destination }
            }
            None => Change::RemoveService(service),
        };
        let refused = Refused { change, setting, text: "no".to_owned() };
        let server = (&parsed.config.virtual_servers[0], std::iter::empty());
        line(Some(&Lines::of(&parsed.sources)), &mut Finder::default(), server, &refused)
    }

    /// A group can have a thousand of them, with the same real servers.
    #[test]
    fn the_services_of_a_virtual_server_share_what_is_looked_up() {
        let parsed = parse(&MemoryLoader::new([("k.conf", FILE)]), Path::new("k.conf"), &Options::default());
        let server = &parsed.config.virtual_servers[0];
        let mut finder = Finder::default();
        for port in [80, 81] {
            let service = ServiceAddress::tcp(([192, 0, 2, 1], port).into());
            let destination = Destination::new("10.0.0.2:80".parse().unwrap(), ForwardingMethod::Masquerade);
            let change = Change::AddDestination { service, destination };
            let Some(Found::Configured(found)) = finder.find(server, std::iter::empty(), &change) else {
                panic!("10.0.0.2 is there");
            };
            assert_eq!(found.address.value.to_string(), "10.0.0.2");
        }
        assert_eq!(finder.0.len(), 1);
    }

    #[test]
    fn the_line_of_the_setting_is_named() {
        let vs = "virtual server [192.0.2.1]:tcp:80";
        assert_eq!(said(None, Some(Setting::Scheduler)), format!("k.conf:3: {vs}, lvs_sched: no"));
        assert_eq!(said(None, Some(Setting::PersistenceEngine)), format!("k.conf:1: {vs}, persistence_engine: no"));
        assert_eq!(said(None, None), format!("k.conf:1: {vs}: no"));
        let rs = "real server [10.0.0.1]:tcp:80";
        let first = Some("10.0.0.1:80");
        assert_eq!(said(first, Some(Setting::LowerThreshold)), format!("k.conf:7: {vs}, {rs}, lthreshold: no"));
        assert_eq!(said(first, Some(Setting::UpperThreshold)), format!("k.conf:8: {vs}, {rs}, uthreshold: no"));
        assert_eq!(said(first, Some(Setting::Forwarding)), format!("k.conf:4: {vs}, {rs}, lvs_method: no"));
        let rs = "real server [10.0.0.2]:tcp:80";
        assert_eq!(said(Some("10.0.0.2:80"), Some(Setting::Address)), format!("k.conf:10: {vs}, {rs}: no"));
    }
}
