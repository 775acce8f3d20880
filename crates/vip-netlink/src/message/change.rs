//! A [`Change`] as a request.

use neli::consts::nl::NlmF;

use super::{address, link, route, rule};
use crate::plan::{Change, Placement};

/// The requests for `changes`, to be sent as one datagram. The answer to the first carries `sequence`, that to the next
/// one more, and so on. An error comes for each that is refused, an acknowledgement only for the last.
pub fn emit_batch(changes: &[Change], sequence: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = sequence;
    for (index, change) in changes.iter().enumerate() {
        let answer = if index + 1 == changes.len() { Answer::Always } else { Answer::IfRefused };
        emit(change, answer, sequence, &mut out);
        sequence = sequence.wrapping_add(1);
    }
    out
}

/// Whether the kernel is to answer if all went well. It always answers if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// An error only.
    IfRefused,
    /// An error or an acknowledgement (`NLM_F_ACK`).
    Always,
}

/// Appends the request for `change` to `out`. The answer will carry `sequence`.
fn emit(change: &Change, answer: Answer, sequence: u32, out: &mut Vec<u8>) {
    let flags = match answer {
        Answer::IfRefused => NlmF::empty(),
        Answer::Always => NlmF::ACK,
    };
    match *change {
        Change::AddAddress(ref address) => address::emit_add(address, flags | NlmF::EXCL, sequence, out),
        Change::EditAddress(ref address) => address::emit_add(address, flags | NlmF::REPLACE, sequence, out),
        Change::RemoveAddress(ref address) => address::emit_remove(address, flags, sequence, out),
        Change::AddRoute { ref route, placement } => {
            route::emit_add(route, flags | placement_flags(placement), sequence, out);
        }
        Change::ReplaceRoute(ref route) => route::emit_add(route, flags | NlmF::REPLACE, sequence, out),
        Change::RemoveRoute(ref route) => route::emit_remove(route, flags, sequence, out),
        Change::AddRule(ref rule) => rule::emit_add(rule, flags, sequence, out),
        Change::RemoveRule(ref rule) => rule::emit_remove(rule, flags, sequence, out),
        Change::AddVeth { name, peer } => link::emit_add_veth(name, peer, flags, sequence, out),
        Change::AddBridge { name } => link::emit_add_bridge(name, flags, sequence, out),
        Change::AddVirtualLink(ref made) => link::emit_add_virtual(made, flags, sequence, out),
        Change::SetVirtualKind { link: target, kind } => {
            link::emit_set_kind(target, kind, flags, sequence, out);
        }
        Change::SetMac { link: target, mac } => link::emit_set_mac(target, mac, flags, sequence, out),
        Change::SetGroup { link: target, group } => link::emit_set_group(target, group, flags, sequence, out),
        Change::SetAddressGeneration { link: target, mode } => {
            link::emit_set_address_generation(target, mode, flags, sequence, out);
        }
        Change::SetIpv4Conf { link: target, conf } => link::emit_set_ipv4_conf(target, &conf, flags, sequence, out),
        Change::SetLinkUp(target) => link::emit_up(target, flags, sequence, out),
        Change::SetLinkDown(target) => link::emit_down(target, flags, sequence, out),
        Change::SetMaster { link: port, master } => link::emit_set_master(port, master, flags, sequence, out),
        Change::MoveToNamespace { link: target, namespace } => {
            link::emit_move(target, namespace, flags, sequence, out);
        }
        Change::Rename { link: target, name } => link::emit_rename(target, name, flags, sequence, out),
        Change::DelLink(target) => link::emit_remove(target, flags, sequence, out),
    }
}

/// The kernel puts a route before others unless it is told to do something else.
const fn placement_flags(placement: Placement) -> NlmF {
    match placement {
        Placement::First => NlmF::empty(),
        Placement::Last => NlmF::APPEND,
        Placement::Alone => NlmF::EXCL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::messages,
        types::{
            Address, AddressGeneration, Family, Ipv4Conf, LinkIndex, LinkName, MacAddr, MacvlanMode, Prefix, Route,
            Rule, RuleAction, VirtualKind, VirtualLink,
        },
    };

    #[test]
    fn only_the_last_request_asks_for_an_acknowledgement() {
        let link = LinkIndex::new(2).unwrap();
        let name: LinkName = "eth0".parse().unwrap();
        let address = Address::virtual_address(link, [192, 0, 2, 1].into(), 24);
        let route = Box::new(Route::new(Prefix::network([192, 0, 2, 0].into(), 24)));
        let rule = Box::new(Rule::new(Family::Ipv4, 9, RuleAction::Nop));
        let kind = VirtualKind::Macvlan { mode: MacvlanMode::PRIVATE };
        let made = VirtualLink {
            name,
            parent: link,
            kind,
            mac: None,
            group: 0,
            master: None,
            address_generation: None,
            ipv4: Ipv4Conf::default(),
        };
        let changes = [
            Change::AddAddress(address),
            Change::EditAddress(address),
            Change::RemoveAddress(address),
            Change::AddRoute { route: route.clone(), placement: Placement::First },
            Change::AddRoute { route: route.clone(), placement: Placement::Last },
            Change::AddRoute { route: route.clone(), placement: Placement::Alone },
            Change::ReplaceRoute(route.clone()),
            Change::RemoveRoute(route),
            Change::AddRule(rule.clone()),
            Change::RemoveRule(rule),
            Change::AddVeth { name, peer: name },
            Change::AddBridge { name },
            Change::SetLinkUp(name.into()),
            Change::SetLinkDown(link.into()),
            Change::SetMaster { link: link.into(), master: None },
            Change::MoveToNamespace { link: link.into(), namespace: 3 },
            Change::Rename { link, name },
            Change::AddVirtualLink(Box::new(made)),
            Change::SetVirtualKind { link, kind },
            Change::SetMac { link, mac: MacAddr([2; 6]) },
            Change::SetGroup { link, group: 0 },
            Change::SetAddressGeneration { link, mode: AddressGeneration::NONE },
            Change::SetIpv4Conf { link, conf: Ipv4Conf::default() },
            Change::DelLink(link.into()),
        ];
        let batch = emit_batch(&changes, u32::MAX);
        let requests: Vec<_> = messages(&batch).map(Result::unwrap).collect();
        let kinds: Vec<_> = requests.iter().map(|request| request.kind).collect();
        assert_eq!(
            kinds,
            [20, 20, 21, 24, 24, 24, 24, 25, 32, 33, 16, 16, 19, 19, 19, 19, 19, 16, 16, 19, 19, 19, 19, 17]
        );
        let sequences: Vec<_> = requests.iter().map(|request| request.sequence).collect();
        assert_eq!(sequences, (0..24).map(|n: u32| n.wrapping_sub(1)).collect::<Vec<_>>());
        // NLM_F_REQUEST, and of the first two: NLM_F_CREATE with NLM_F_EXCL or NLM_F_REPLACE; of routes: also
        // NLM_F_APPEND.
        let flags: Vec<_> = requests.iter().map(|request| request.flags).collect();
        assert_eq!(
            flags,
            [
                0x601,
                0x501,
                1,
                0x401,
                0xc01,
                0x601,
                0x501,
                1,
                0x601,
                1,
                0x601,
                0x601,
                1,
                1,
                1,
                1,
                1,
                0x601,
                1,
                1,
                1,
                1,
                1,
                1 | 4
            ]
        );
    }
}
