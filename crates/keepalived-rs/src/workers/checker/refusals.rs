//! What the kernel did not take, in the words of the configuration: file and line, virtual server, real server, keyword.

use conf_parser::Span;
use conf_parser::config::{RealServer, VirtualServer};
use ipvs_control::Change;
use ipvs_control::socket::Setting;
use ipvs_control::types::DestinationKey;

use super::kernel::Refused;
use crate::config::checker::{Lines, real_server_name};

const VIRTUAL_SERVER: &str = "virtual_server";
const REAL_SERVER: &str = "virtual_server/real_server";

/// The line for the log; `server` is the virtual server that the change was for.
pub(super) fn line(lines: &Lines, server: &VirtualServer, refused: &Refused) -> String {
    let real = destination(&refused.change).and_then(|key| find(server, key));
    let (span, keyword) = place(server, real, refused.setting);
    let mut line = format!("{}virtual server {}", lines.prefix(span), server.service.value);
    if let Some(real) = real {
        line += &format!(", real server {}", real_server_name(server, real));
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

/// The real server of a destination: the one of its port, or one whose port is the service's.
fn find(server: &VirtualServer, key: DestinationKey) -> Option<&RealServer> {
    let here = || server.real_servers.iter().filter(|real| real.address.value == key.address);
    here().find(|real| real.port == key.port).or_else(|| here().next())
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
        line(&Lines::of(&parsed.sources), &parsed.config.virtual_servers[0], &refused)
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
