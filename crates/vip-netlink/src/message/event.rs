//! What the kernel tells a [`Monitor`](crate::Monitor).

use super::{
    Message, ParseError,
    address::{self, RTM_DELADDR, RTM_NEWADDR},
    link::{self, RTM_DELLINK, RTM_NEWLINK},
    route::{self, RTM_DELROUTE, RTM_NEWROUTE},
    rule::{self, RTM_DELRULE, RTM_NEWRULE},
};
use crate::types::{Address, Link, Route, Rule};

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
    /// A route is there or has changed.
    Route(Box<Route>),
    /// A route is gone.
    RouteRemoved(Box<Route>),
    /// A rule is there.
    Rule(Box<Rule>),
    /// A rule is gone.
    RuleRemoved(Box<Rule>),
    /// Events were lost. What is there now only a dump can tell.
    Overflow,
}

/// Reads `RTM_NEW…` and `RTM_DEL…` of `LINK`, `ADDR`, `ROUTE` and `RULE`; `None` for any other message.
///
/// # Errors
/// [`ParseError`] names the first thing that is wrong.
pub fn parse(message: &Message<'_>) -> Result<Option<Event>, ParseError> {
    Ok(match message.kind {
        RTM_NEWLINK => link::parse(message.payload)?.map(Event::Link),
        RTM_DELLINK => link::parse(message.payload)?.map(Event::LinkRemoved),
        RTM_NEWADDR => address::parse_ip(message.payload)?.map(Event::Address),
        RTM_DELADDR => address::parse_ip(message.payload)?.map(Event::AddressRemoved),
        RTM_NEWROUTE => route::parse(message.payload)?.map(Box::new).map(Event::Route),
        RTM_DELROUTE => route::parse(message.payload)?.map(Box::new).map(Event::RouteRemoved),
        RTM_NEWRULE => rule::parse(message.payload)?.map(Box::new).map(Event::Rule),
        RTM_DELRULE => rule::parse(message.payload)?.map(Box::new).map(Event::RuleRemoved),
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
        fn no_octets_make_it_panic(mut datagram in proptest::collection::vec(any::<u8>(), 16..300), kind in 15..35_u16) {
            datagram[..4].copy_from_slice(&48_u32.to_ne_bytes());
            datagram[4..6].copy_from_slice(&kind.to_ne_bytes());
            for message in messages(&datagram) {
                let _ = message.map(|message| parse(&message));
            }
        }
    }

    #[test]
    fn other_messages_are_no_events() {
        let message = Message { kind: 28, flags: 0, sequence: 0, port: 0, payload: &[] }; // RTM_NEWNEIGH
        assert_eq!(parse(&message), Ok(None));
        assert!(parse(&Message { kind: RTM_NEWADDR, ..message }).is_err());
        // An AF_MCTP address, 9 on the second link.
        let mctp = [45, 8, 0, 0, 2, 0, 0, 0, 5, 0, 2, 0, 9, 0, 0, 0];
        for kind in [RTM_NEWADDR, RTM_DELADDR] {
            assert_eq!(parse(&Message { kind, payload: &mctp, ..message }), Ok(None));
        }
    }
}
