//! What the kernel tells a [`Monitor`](crate::Monitor).

use super::{
    Message, ParseError,
    address::{self, RTM_DELADDR, RTM_NEWADDR},
    link::{self, RTM_DELLINK, RTM_NEWLINK},
};
use crate::types::{Address, Link};

/// A change that someone made, ourselves included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link is there or has changed.
    Link(Link),
    /// A link is gone, or has moved to another namespace.
    LinkRemoved(Link),
    /// An address is there or has changed.
    Address(Address),
    /// An address is gone.
    AddressRemoved(Address),
    /// Events were lost. What is there now only a dump can tell.
    Overflow,
}

/// Reads `RTM_NEWLINK`, `RTM_DELLINK`, `RTM_NEWADDR` or `RTM_DELADDR`; `None` for any other message.
///
/// # Errors
/// [`ParseError`] names the first thing that is wrong.
pub fn parse(message: &Message<'_>) -> Result<Option<Event>, ParseError> {
    Ok(match message.kind {
        RTM_NEWLINK => link::parse(message.payload)?.map(Event::Link),
        RTM_DELLINK => link::parse(message.payload)?.map(Event::LinkRemoved),
        RTM_NEWADDR => Some(Event::Address(address::parse(message.payload)?)),
        RTM_DELADDR => Some(Event::AddressRemoved(address::parse(message.payload)?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::messages;

    proptest! {
        #[test]
        fn no_octets_make_it_panic(mut datagram in proptest::collection::vec(any::<u8>(), 16..300), kind in 15..22_u16) {
            datagram[..4].copy_from_slice(&48_u32.to_ne_bytes());
            datagram[4..6].copy_from_slice(&kind.to_ne_bytes());
            for message in messages(&datagram) {
                let _ = message.map(|message| parse(&message));
            }
        }
    }

    #[test]
    fn other_messages_are_no_events() {
        let message = Message { kind: 24, flags: 0, sequence: 0, payload: &[] }; // RTM_NEWROUTE
        assert_eq!(parse(&message), Ok(None));
        assert!(parse(&Message { kind: RTM_NEWADDR, ..message }).is_err());
    }
}
