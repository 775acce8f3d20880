//! Gratuitous ARP and unsolicited neighbour advertisements, as Ethernet frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::{
    MutablePacket, Packet,
    arp::{ArpHardwareTypes, ArpOperations, MutableArpPacket},
    ethernet::{EtherTypes, MutableEthernetPacket},
    icmpv6::{
        self, Icmpv6Packet, Icmpv6Types,
        ndp::{Icmpv6Codes, MutableNeighborAdvertPacket, NdpOption, NdpOptionTypes, NeighborAdvertFlags},
    },
    ip::IpNextHeaderProtocols,
    ipv6::MutableIpv6Packet,
};

use crate::types::{LinkIndex, MacAddr};

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
const ADVERTISEMENT: usize = 32; // 24 octets and the target link-layer address option

/// "This address is here": what tells the neighbours on one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Announcement {
    /// The link to send on.
    pub link: LinkIndex,
    /// Where the address is from now on: the Ethernet address of the link, or the virtual one.
    pub mac: MacAddr,
    /// The address.
    pub ip: IpAddr,
    /// IPv6: this host forwards packets (RFC 4861 §4.4, Router flag).
    pub router: bool,
}

impl Announcement {
    /// The whole Ethernet frame: [`gratuitous_arp`] for IPv4, [`unsolicited_advertisement`] for IPv6.
    pub fn frame(&self) -> Vec<u8> {
        match self.ip {
            IpAddr::V4(ip) => gratuitous_arp(self.mac, ip).to_vec(),
            IpAddr::V6(ip) => unsolicited_advertisement(self.mac, ip, self.router).to_vec(),
        }
    }
}

/// A broadcast ARP request whose sender and target are both `ip`, with a target hardware address of all ones
/// (RFC 5227 §3 leaves it open; this is what keepalived sends).
pub fn gratuitous_arp(mac: MacAddr, ip: Ipv4Addr) -> [u8; ETHERNET + ARP] {
    let mut frame = [0; ETHERNET + ARP];
    let mut ethernet = MutableEthernetPacket::new(&mut frame).expect("long enough for its header");
    ethernet.set_destination(pnet_base::MacAddr::broadcast());
    ethernet.set_source(mac.0.into());
    ethernet.set_ethertype(EtherTypes::Arp);
    let mut arp = MutableArpPacket::new(ethernet.payload_mut()).expect("28 octets are an ARP packet");
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(ArpOperations::Request);
    arp.set_sender_hw_addr(mac.0.into());
    arp.set_sender_proto_addr(ip);
    arp.set_target_hw_addr(pnet_base::MacAddr::broadcast());
    arp.set_target_proto_addr(ip);
    frame
}

/// An unsolicited neighbour advertisement (RFC 4861 §4.4, §7.2.6) from `ip` to all nodes: Override set, Solicited
/// clear, with the target link-layer address option. `router` sets the Router flag.
pub fn unsolicited_advertisement(mac: MacAddr, ip: Ipv6Addr, router: bool) -> [u8; ETHERNET + IPV6 + ADVERTISEMENT] {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut frame = [0; ETHERNET + IPV6 + ADVERTISEMENT];
    let mut ethernet = MutableEthernetPacket::new(&mut frame).expect("long enough for its header");
    ethernet.set_destination([0x33, 0x33, 0, 0, 0, 1].into());
    ethernet.set_source(mac.0.into());
    ethernet.set_ethertype(EtherTypes::Ipv6);
    let mut packet = MutableIpv6Packet::new(ethernet.payload_mut()).expect("72 octets hold an IPv6 header");
    packet.set_version(6);
    packet.set_payload_length(32); // the advertisement
    packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
    packet.set_hop_limit(255);
    packet.set_source(ip);
    packet.set_destination(ALL_NODES);
    let mut advertisement = MutableNeighborAdvertPacket::new(packet.payload_mut()).expect("32 octets are enough");
    advertisement.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    advertisement.set_icmpv6_code(Icmpv6Codes::NoCode);
    advertisement.set_flags(NeighborAdvertFlags::Override | if router { NeighborAdvertFlags::Router } else { 0 });
    advertisement.set_target_addr(ip);
    advertisement.set_options(&[NdpOption {
        option_type: NdpOptionTypes::TargetLLAddr,
        length: 1, // in units of eight octets
        data: mac.0.to_vec(),
    }]);
    let whole = Icmpv6Packet::new(advertisement.packet()).expect("32 octets hold an ICMPv6 header");
    let checksum = icmpv6::checksum(&whole, &ip, &ALL_NODES);
    advertisement.set_checksum(checksum);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x00, 0x00, 0x5e, 0x00, 0x01, 0x33]);

    #[test]
    fn gratuitous_arp_is_a_broadcast_request_for_itself() {
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 0x08, 0x06, // Ethernet
            0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01,                                           // request
            0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 192, 0, 2, 1,                                   // sender
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 192, 0, 2, 1,                                   // target
        ];
        assert_eq!(gratuitous_arp(MAC, Ipv4Addr::new(192, 0, 2, 1)), expected);
    }

    #[test]
    fn unsolicited_advertisement_goes_to_all_nodes_with_override() {
        let ip = "2001:db8::1".parse().unwrap();
        #[rustfmt::skip]
        let mut expected = [
            0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 0x86, 0xdd, // Ethernet
            0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 58, 255,                                        // IPv6
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            136, 0, 0x9b, 0xf8, 0x20, 0, 0, 0,                                                  // advertisement
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            2, 1, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x33,                                           // target link layer
        ];
        assert_eq!(unsolicited_advertisement(MAC, ip, false), expected);

        expected[58] = 0xa0; // Router
        expected[56..58].copy_from_slice(&[0x1b, 0xf8]);
        assert_eq!(unsolicited_advertisement(MAC, ip, true), expected);
    }

    #[test]
    fn the_checksum_covers_the_pseudo_header() {
        let frame = unsolicited_advertisement(MAC, "fe80::1:2:3:4".parse().unwrap(), true);
        let pseudo = frame[22..54].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u32>();
        let message = frame[54..].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u32>();
        let mut sum = pseudo + message + 32 + 58;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        assert_eq!(sum, 0xffff);
    }
}
