//! Octets of a raw socket for VRRPv2, with and without password: no input panics, what is accepted is for us, and
//! parse-emit-parse is stable.

#![no_main]

mod vrrp;

use libfuzzer_sys::fuzz_target;
use vrrp_proto::{Authentication, Family, Password, Version};

fuzz_target!(|octets: &[u8]| {
    let configs = [
        vrrp::config(Version::V2, Family::Ipv4),
        vrrp::unicast(vrrp::config(Version::V2, Family::Ipv4)),
        vrrp::with(Authentication::Pass(Password::new(b"1111")), Version::V2),
    ];
    vrrp::receive_octets(octets, Family::Ipv4, &configs);
    vrrp::receive_octets(octets, Family::Ipv6, &[vrrp::config(Version::V2, Family::Ipv6)]);
});
