//! What a DNS server may answer to a health check: no input panics, and the header alone makes the difference.
//!
//! The first two octets are the ID of the query.

#![no_main]

use health_checkers::probe::dns::message::{HEADER_LENGTH, response_code};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Some((id, octets)) = octets.split_first_chunk() else { return };
    let id = u16::from_be_bytes(*id);
    let code = response_code(octets, id);
    if let Some(code) = code {
        assert!(code.0 < 16 && octets.starts_with(&id.to_be_bytes()));
        assert_eq!(response_code(octets, !id), None);
    }
    assert_eq!(octets.get(..HEADER_LENGTH).and_then(|header| response_code(header, id)), code);
});
