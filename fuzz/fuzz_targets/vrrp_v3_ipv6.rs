//! Octets of a raw socket for VRRPv3 over IPv6: no input panics, what is accepted is for us, and parse-emit-parse is
//! stable.

#![no_main]

mod vrrp;

use libfuzzer_sys::fuzz_target;
use vrrp_proto::{Family, Version};

fuzz_target!(|octets: &[u8]| {
    let plain = vrrp::config(Version::V3, Family::Ipv6);
    vrrp::receive_octets(octets, Family::Ipv6, &[vrrp::unicast(plain.clone()), plain]);
});
