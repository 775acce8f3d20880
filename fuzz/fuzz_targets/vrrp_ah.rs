//! Packets with an authentication header that are changed, repeated, reordered and forged on the way.

#![no_main]

mod vrrp;

use libfuzzer_sys::fuzz_target;
use vrrp_proto::{Authentication, Password, Version};

fuzz_target!(|steps: Vec<vrrp::Step>| {
    let config = vrrp::with(Authentication::Ah(Password::new(b"secret")), Version::V2);
    // Type of service, fragment field and header checksum may change on the way.
    vrrp::play(&config, &steps, |octet| matches!(octet, 1 | 6 | 7 | 10 | 11));
});
