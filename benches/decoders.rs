//! One advertisement of one address: octets to fields and fields to octets, here and in `vrrp_packet`, the only other
//! decoder for Rust whose codec can be called (VRRPv2 only; it verifies neither checksum nor length).

use std::net::{IpAddr, Ipv4Addr};

use divan::{Bencher, black_box};
use vrrp_packet::{MutableVrrpPacket, VrrpPacket};
use vrrp_proto::{
    Addresses, AuthData, Centis, Family, GROUP_IPV4, Pdu, Priority, PseudoHeader, Seconds, VersionFields, Vrid,
};

const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const VIRTUAL: [[u8; 4]; 1] = [[198, 18, 0, 100]];
const V2: VersionFields =
    VersionFields::V2 { auth_type: 0, advertisement_interval: Seconds(1), auth_data: AuthData([0; 8]) };

fn main() {
    divan::main();
}

fn pdu(fields: VersionFields) -> Pdu<'static> {
    let vrid = Vrid::new(51).expect("not 0");
    let addresses = Addresses::ipv4(&VIRTUAL).expect("at most 255");
    Pdu { vrid, priority: Priority(100), fields, addresses }
}

fn v3() -> (VersionFields, PseudoHeader) {
    let pseudo = PseudoHeader::between(IpAddr::V4(SOURCE), IpAddr::V4(GROUP_IPV4)).expect("one family");
    (VersionFields::V3 { max_advertise_interval: Centis::new(100).expect("12 bits") }, pseudo)
}

fn octets(fields: VersionFields, pseudo: PseudoHeader) -> Vec<u8> {
    let mut octets = Vec::new();
    pdu(fields).emit(pseudo, &mut octets);
    octets
}

/// What a receiver needs of a packet: everything, the sum included.
fn sum(pdu: &Pdu<'_>) -> u32 {
    let addresses = pdu.addresses.octets().iter().map(|&octet| u32::from(octet)).sum::<u32>();
    addresses + u32::from(pdu.vrid.get()) + u32::from(pdu.priority.0)
}

#[divan::bench]
fn parse_v2_with_checksum(bencher: Bencher<'_, '_>) {
    let octets = octets(V2, PseudoHeader::None);
    bencher.bench(|| sum(&Pdu::parse(black_box(&octets), Family::Ipv4, PseudoHeader::None).expect("sound")));
}

#[divan::bench]
fn parse_v2_without_checksum(bencher: Bencher<'_, '_>) {
    let octets = octets(V2, PseudoHeader::None);
    bencher.bench(|| sum(&Pdu::parse_unverified(black_box(&octets), Family::Ipv4).expect("sound")));
}

#[divan::bench]
fn parse_v2_without_checksum_vrrp_packet(bencher: Bencher<'_, '_>) {
    let octets = octets(V2, PseudoHeader::None);
    bencher.bench(|| {
        let packet = VrrpPacket::new(black_box(&octets)).expect("long enough");
        let addresses = packet.get_ip_addresses_raw().iter().map(|&octet| u32::from(octet)).sum::<u32>();
        addresses + u32::from(packet.get_vrid()) + u32::from(packet.get_priority())
    });
}

#[divan::bench]
fn parse_v3_with_checksum(bencher: Bencher<'_, '_>) {
    let (fields, pseudo) = v3();
    let octets = octets(fields, pseudo);
    bencher.bench(|| sum(&Pdu::parse(black_box(&octets), Family::Ipv4, pseudo).expect("sound")));
}

#[divan::bench]
fn emit_v2_with_checksum(bencher: Bencher<'_, '_>) {
    let mut buffer = Vec::with_capacity(64);
    bencher.bench_local(|| {
        buffer.clear();
        black_box(pdu(V2)).emit(PseudoHeader::None, &mut buffer);
        buffer.len()
    });
}

/// Without the checksum, which the crate leaves to its caller.
#[divan::bench]
fn emit_v2_without_checksum_vrrp_packet(bencher: Bencher<'_, '_>) {
    let mut buffer = [0; 20];
    bencher.bench_local(|| {
        let mut packet = MutableVrrpPacket::new(&mut buffer).expect("long enough");
        packet.set_version(2);
        packet.set_header_type(1);
        packet.set_vrid(black_box(51));
        packet.set_priority(black_box(100));
        packet.set_count_ip(1);
        packet.set_auth_type(0);
        packet.set_advert_int(1);
        packet.set_ip_addresses(black_box(VIRTUAL.as_flattened()));
        packet.set_auth_data(0);
        packet.set_auth_data2(0);
    });
}

#[divan::bench]
fn emit_v3_with_checksum(bencher: Bencher<'_, '_>) {
    let (fields, pseudo) = v3();
    let mut buffer = Vec::with_capacity(64);
    bencher.bench_local(|| {
        buffer.clear();
        black_box(pdu(fields)).emit(pseudo, &mut buffer);
        buffer.len()
    });
}
