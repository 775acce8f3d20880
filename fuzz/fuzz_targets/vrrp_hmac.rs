//! Packets with an HMAC trailer that are changed, repeated, reordered and forged on the way.

#![no_main]

mod vrrp;

use libfuzzer_sys::fuzz_target;
use vrrp_proto::{AntiReplay, Authentication, Hmac, HmacKey, KeyId, Version};

fuzz_target!(|input: (bool, bool, Vec<vrrp::Step>)| {
    let (v3, monotonic, steps) = input;
    let id = KeyId::new(7).expect("not zero");
    let key = HmacKey::new(id, &[0x5a; 32]).expect("32 octets");
    let mut hmac = Hmac::new([key], id).expect("its key");
    if monotonic {
        hmac.anti_replay = AntiReplay::Monotonic;
    }
    let version = if v3 { Version::V3 } else { Version::V2 };
    let config = vrrp::with(Authentication::Hmac(hmac), version);
    // Of the IP header only length, TTL and source are looked at. What changes the destination leaves VRRPv3 through its
    // pseudo-header, unless two changes make up for each other in the checksum, which the trailer does not cover.
    vrrp::play(&config, &steps, |octet| matches!(octet, 1 | 4..=7 | 9..=11 | 16..=19 | 26 | 27));
});
