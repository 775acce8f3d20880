//! What may arrive where an ICMP echo is waited for: no input panics, and what is a reply stays the same when it is
//! written anew.

#![no_main]

use health_checkers::probe::ping::echo::{Echo, Family, ip_payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let payload = ip_payload(octets);
    for (family, message) in [(Family::Inet, payload), (Family::Inet, Some(octets)), (Family::Inet6, Some(octets))] {
        let Some(message) = message else { continue };
        let Some(echo) = Echo::parse_reply(family, message) else { continue };
        let mut again = Vec::new();
        echo.emit_reply(family, &message[8..], &mut again);
        assert_eq!(Echo::parse_reply(family, &again), Some(echo));
    }
});
