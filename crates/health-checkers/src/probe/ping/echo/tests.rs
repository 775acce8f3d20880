use proptest::prelude::*;

use super::*;

/// As Debian's keepalived 2.2.7 sent it, without the rest of its text.
#[test]
fn the_checksum_is_that_of_a_request_from_elsewhere() {
    let text = b"keepalived check - ".repeat(7);
    let data = &text[..128];
    let mut message = Vec::new();
    Echo { identifier: 1, sequence: 0 }.emit(Family::Inet, data, &mut message);
    assert_eq!(message[..8], [8, 0, 0x6b, 0x16, 0, 1, 0, 0]);
    message.clear();
    Echo { identifier: 1, sequence: 0 }.emit_reply(Family::Inet, data, &mut message);
    assert_eq!(message[..8], [0, 0, 0x73, 0x16, 0, 1, 0, 0]);
}

#[test]
fn a_checksum_of_an_odd_number_of_octets_has_a_zero_at_its_end() {
    assert_eq!(checksum(&[0x01, 0x02, 0x03]), checksum(&[0x01, 0x02, 0x03, 0x00]));
    assert_eq!(checksum(&[0xff, 0xff, 0x00, 0x01]), 0xfffe, "the carry comes round");
}

#[test]
fn a_header_that_is_not_whole_has_no_payload() {
    assert_eq!(ip_payload(&[]), None);
    assert_eq!(ip_payload(&[0x45; 19]), None);
    assert_eq!(ip_payload(&[0x44; 40]), None, "a header of 16 octets");
    assert_eq!(ip_payload(&[0x65; 40]), None, "IPv6");
    assert_eq!(ip_payload(&[0x45; 20]), Some(&[][..]));
    assert_eq!(ip_payload(&[0x46; 26]), Some(&[0x46, 0x46][..]));
}

fn families() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Inet), Just(Family::Inet6)]
}

proptest! {
    #[test]
    fn what_is_written_is_read(family in families(), identifier: u16, sequence: u16, data: Vec<u8>) {
        let echo = Echo { identifier, sequence };
        let mut message = Vec::new();
        echo.emit_reply(family, &data, &mut message);
        prop_assert_eq!(Echo::parse_reply(family, &message), Some(echo));
        message.clear();
        echo.emit(family, &data, &mut message);
        prop_assert_eq!(Echo::parse_reply(family, &message), None);
    }

    #[test]
    fn a_flipped_bit_is_seen(sequence: u16, data in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut message = Vec::new();
        Echo { identifier: 9, sequence }.emit_reply(Family::Inet, &data, &mut message);
        let at = at.index(message.len());
        message[at] ^= 1u8 << bit;
        prop_assert_eq!(Echo::parse_reply(Family::Inet, &message), None);
    }

    #[test]
    fn no_octets_are_too_much(family in families(), octets in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = (Echo::parse_reply(family, &octets), ip_payload(&octets));
    }
}
