//! A [`Change`] as a request.

use neli::consts::nl::NlmF;

use super::{address, link};
use crate::plan::Change;

/// Whether the kernel is to answer if all went well. It always answers if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// An error only.
    IfRefused,
    /// An error or an acknowledgement (`NLM_F_ACK`).
    Always,
}

/// Appends the request for `change` to `out`. The answer will carry `sequence`.
pub fn emit(change: &Change, answer: Answer, sequence: u32, out: &mut Vec<u8>) {
    let flags = match answer {
        Answer::IfRefused => NlmF::empty(),
        Answer::Always => NlmF::ACK,
    };
    match *change {
        Change::AddAddress(ref address) => address::emit_add(address, flags | NlmF::EXCL, sequence, out),
        Change::EditAddress(ref address) => address::emit_add(address, flags | NlmF::REPLACE, sequence, out),
        Change::RemoveAddress(ref address) => address::emit_remove(address, flags, sequence, out),
        Change::AddVeth { name, peer } => link::emit_add_veth(name, peer, flags, sequence, out),
        Change::AddBridge { name } => link::emit_add_bridge(name, flags, sequence, out),
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
