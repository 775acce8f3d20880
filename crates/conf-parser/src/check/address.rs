//! Virtual addresses: twice, or in no network of their link.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::{Config, Priority, VirtualAddress, VrrpInstance, VrrpVersion};
use crate::diagnostic::{Code, Diagnostic};
use crate::host::{Host, Prefix};

pub(super) fn check(config: &Config, host: &dyn Host, findings: &mut Vec<Diagnostic>) {
    let groups = groups(config);
    let together = |one: &VrrpInstance, other: &VrrpInstance| {
        let group = groups.get(one.name.as_str());
        one.name == other.name || group.is_some() && group == groups.get(other.name.as_str())
    };
    let mut owners: HashMap<(IpAddr, Option<&str>), (&VrrpInstance, &VirtualAddress)> = HashMap::new();
    for instance in &config.vrrp_instances {
        for address in instance.virtual_addresses.iter().chain(&instance.excluded_addresses) {
            match owners.get(&(*address.address, device(instance, address))) {
                Some((other, first)) if !together(other, instance) => {
                    findings.push(duplicate(other, first, instance, address))
                }
                Some(_) => {}
                None => {
                    owners.insert((*address.address, device(instance, address)), (instance, address));
                }
            }
            findings.extend(outside(instance, address, host));
        }
        findings.extend(silent(instance));
    }
}

/// The sync group of each member: members move together.
fn groups(config: &Config) -> HashMap<&str, usize> {
    let groups = config.sync_groups.iter().enumerate();
    groups.flat_map(|(at, group)| group.members.iter().map(move |member| (member.as_str(), at))).collect()
}

fn device<'a>(instance: &'a VrrpInstance, address: &'a VirtualAddress) -> Option<&'a str> {
    address.dev.as_deref().or(instance.interface.as_ref()).map(|dev| dev.value.as_str())
}

fn duplicate(
    other: &VrrpInstance,
    first: &VirtualAddress,
    instance: &VrrpInstance,
    address: &VirtualAddress,
) -> Diagnostic {
    let message = format!(
        "{} is an address of {} and of {}: whichever gives it up takes it from the other",
        *address.address, *other.name, *instance.name
    );
    Diagnostic::note(Code::SharedAddress, address.address.span, message)
        .help("give each address to one instance, or put both into a vrrp_sync_group")
        .related(first.address.span, format!("{} has it here", *other.name))
}

/// An address that no network of its link holds: neighbours there do not ask for it.
fn outside(instance: &VrrpInstance, address: &VirtualAddress, host: &dyn Host) -> Option<Diagnostic> {
    let device = device(instance, address)?;
    let interface = host.interface(device).present()?;
    let ip = *address.address;
    let networks: Vec<_> =
        interface.addresses.iter().filter(|prefix| prefix.address.is_ipv4() == ip.is_ipv4()).collect();
    // An address with a network of its own brings it along; link-local ones belong everywhere.
    let own_network = usize::from(address.prefix_len) < if ip.is_ipv4() { 32 } else { 128 };
    let everywhere = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    if networks.is_empty() || everywhere || own_network || networks.iter().any(|prefix| prefix.contains(ip)) {
        return None;
    }
    let message = format!("{ip} lies in no network of {device}: only who routes it there reaches it");
    let known: Vec<_> = networks.iter().map(|prefix: &&Prefix| prefix.to_string()).collect();
    Some(
        Diagnostic::note(Code::OutsideNetwork, address.address.span, message)
            .label(format!("{device} has {}", known.join(", "))),
    )
}

/// Strict mode lets only the owner answer at its addresses, not even to a ping (RFC 9568 §6.1, Accept_Mode).
fn silent(instance: &VrrpInstance) -> Option<Diagnostic> {
    let answers = instance.accept || instance.priority == Priority::OWNER;
    if !instance.strict_mode || answers || instance.virtual_addresses.is_empty() {
        return None;
    }
    let place = instance.places.of("vrrp_instance", "strict_mode").unwrap_or(instance.name.span);
    let message = format!(
        "({}) in strict mode what is sent to its addresses is dropped, pings included: only who routes through them uses them",
        *instance.name
    );
    let help = match instance.version {
        VrrpVersion::V2 => "without strict mode, or with 'version 3' and 'accept', a service can listen on them",
        VrrpVersion::V3 => "with 'accept' in the instance a service can listen on its addresses",
    };
    Some(Diagnostic::note(Code::SilentAddress, place, message).help(help).related(instance.name.span, "this instance"))
}
