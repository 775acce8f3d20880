//! The authentication header of VRRPv2 over IPv4: HMAC-MD5-96 (RFC 2402, RFC 2403).

use core::net::{IpAddr, Ipv4Addr};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use subtle::ConstantTimeEq;

use crate::checksum::PROTOCOL;

/// The IP protocol number of the authentication header.
pub(crate) const PROTOCOL_AH: u8 = 51;
/// Its length with an integrity check value of 96 bits.
pub(crate) const AH_LENGTH: usize = 24;

const FIXED_LENGTH: usize = 12;
const ICV_LENGTH: usize = AH_LENGTH - FIXED_LENGTH;
/// "Payload Len": its length in 32-bit words, less 2 (RFC 2402 §2.2).
const PAYLOAD_LENGTH: u8 = 4;

/// The fields of an authentication header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AhHeader {
    pub(crate) next_header: u8,
    pub(crate) sequence: u32,
    fixed: [u8; FIXED_LENGTH],
    icv: [u8; ICV_LENGTH],
}

impl AhHeader {
    pub(crate) const fn parse(octets: &[u8; AH_LENGTH]) -> Self {
        let &[n, l, r0, r1, p0, p1, p2, p3, s0, s1, s2, s3, ref icv @ ..] = octets;
        let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
        Self { next_header: n, sequence, fixed: [n, l, r0, r1, p0, p1, p2, p3, s0, s1, s2, s3], icv: *icv }
    }

    /// The header in front of a VRRP packet; the Security Parameters Index is the source address, as in keepalived. Its
    /// integrity check value is made by [`AhKey::sign`].
    pub(crate) const fn new(source: Ipv4Addr, sequence: u32) -> Self {
        let ([p0, p1, p2, p3], [s0, s1, s2, s3]) = (source.octets(), sequence.to_be_bytes());
        let fixed = [PROTOCOL, PAYLOAD_LENGTH, 0, 0, p0, p1, p2, p3, s0, s1, s2, s3];
        Self { next_header: PROTOCOL, sequence, fixed, icv: [0; ICV_LENGTH] }
    }

    pub(crate) fn octets(&self) -> [u8; AH_LENGTH] {
        let mut octets = [0; AH_LENGTH];
        for (octet, field) in octets.iter_mut().zip(self.fixed.into_iter().chain(self.icv)) {
            *octet = field;
        }
        octets
    }
}

/// The key: the eight octets of the password.
#[derive(Clone, Copy)]
pub(crate) struct AhKey<'a>(pub(crate) &'a [u8; 8]);

impl AhKey<'_> {
    /// Puts the integrity check value of a datagram into its authentication header.
    pub(crate) fn sign(self, ip_header: &[u8], header: &mut AhHeader, pdu: &[u8], reach: Reach) {
        header.icv = self.icv(ip_header, header, pdu, reach);
    }

    /// Whether the integrity check value is right.
    pub(crate) fn verifies(self, ip_header: &[u8], header: &AhHeader, pdu: &[u8], reach: Reach) -> bool {
        self.icv(ip_header, header, pdu, reach).ct_eq(&header.icv).into()
    }

    /// Over the IP header without what may change on the way, the authentication header with a value of zero, and the
    /// packet (RFC 2402 §3.3.3).
    fn icv(self, ip_header: &[u8], header: &AhHeader, pdu: &[u8], reach: Reach) -> [u8; ICV_LENGTH] {
        let mut mac = Hmac::<Md5>::new_from_slice(self.0).expect("HMAC takes keys of any length");
        match ip_header.split_first_chunk::<12>() {
            Some((&[version_length, _, l0, l1, i0, i1, _, _, ttl, protocol, _, _], rest)) => {
                // keepalived counts the TTL in where a router on the way would have cut it: multicast has one link.
                let ttl = match reach {
                    Reach::Multicast => ttl,
                    Reach::Unicast => 0,
                };
                mac.update(&[version_length, 0, l0, l1, i0, i1, 0, 0, ttl, protocol, 0, 0]);
                mac.update(rest);
            }
            None => mac.update(ip_header),
        }
        mac.update(&header.fixed);
        mac.update(&[0; ICV_LENGTH]);
        mac.update(pdu);
        let digest: [u8; 16] = mac.finalize().into_bytes().into();
        let [icv @ .., _, _, _, _] = digest;
        icv
    }
}

/// Whether the TTL is one of the fields that may change on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Multicast,
    Unicast,
}

impl Reach {
    /// Of a packet to this address.
    pub(crate) const fn of(destination: IpAddr) -> Self {
        if destination.is_multicast() { Self::Multicast } else { Self::Unicast }
    }
}
