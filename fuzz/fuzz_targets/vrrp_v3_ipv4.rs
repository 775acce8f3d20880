//! Octets of a raw socket for VRRPv3 over IPv4 with each of its checksums: no input panics, what is accepted is for us,
//! and parse-emit-parse is stable.

#![no_main]

mod vrrp;

use libfuzzer_sys::fuzz_target;
use vrrp_proto::{Family, Version};

fuzz_target!(|octets: &[u8]| {
    let plain = vrrp::config(Version::V3, Family::Ipv4);
    let mut as_v2 = plain.clone();
    as_v2.v3_checksum_as_v2 = true;
    vrrp::receive_octets(octets, Family::Ipv4, &[vrrp::unicast(plain.clone()), plain, as_v2]);
});
