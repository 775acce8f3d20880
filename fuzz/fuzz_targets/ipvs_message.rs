//! Datagrams of the generic netlink family `IPVS`, both ways: no input panics, and what was read can be written and
//! read again.

#![no_main]

use ipvs_control::message::{Reply, frames};
use libfuzzer_sys::fuzz_target;

/// Any number above those of netlink's own messages.
const FAMILY: u16 = 30;

fuzz_target!(|octets: &[u8]| {
    for frame in frames(octets) {
        let Ok(frame) = frame else { break };
        if let Ok(Reply::Answer(answer)) = frame.reply() {
            let mut emitted = Vec::new();
            answer.emit(FAMILY, 1, &mut emitted);
            let frame = frames(&emitted).next().expect("one message").expect("a whole one");
            assert_eq!(frame.reply(), Ok(Reply::Answer(answer)));
        }
        if let Ok(request) = frame.request() {
            let mut emitted = Vec::new();
            request.emit(FAMILY, 1, frame.acknowledge(), &mut emitted);
            let again = frames(&emitted).next().expect("one message").expect("a whole one");
            assert_eq!(again.request(), Ok(request));
        }
    }
});
