//! Datagrams of a route netlink socket: no input panics, and an address that was read can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vip_netlink::{
    Address, AddressFlags, Change, Event,
    message::{address, change::emit_batch, event, link, messages, reply, route, rule},
};

fuzz_target!(|octets: &[u8]| {
    for message in messages(octets) {
        let Ok(message) = message else { break };
        let _ = reply::parse(&message);
        let _ = link::parse(message.payload);
        let _ = address::parse(message.payload);
        let _ = route::parse(message.payload);
        let _ = rule::parse(message.payload);
        if let Ok(Some(Event::Address(address))) = event::parse(&message) {
            let emitted = emit_batch(&[Change::AddAddress(address)], 1);
            let emitted = messages(&emitted).next().expect("one message").expect("a whole one");
            let parsed = address::parse(emitted.payload).expect("an address");
            assert_eq!(parsed, Address { flags: address.flags & AddressFlags::SETTABLE, ..address });
        }
    }
});
