use proptest::prelude::*;

use super::*;

fn reply(pattern: &[(u8, u8)]) -> Reply {
    let pattern = pattern.iter().map(|&(value, mask)| ReplyByte { value, mask }).collect();
    Reply { pattern, ..Reply::default() }
}

#[test]
fn nibbles_that_may_be_anything_are_not_compared() {
    // x1 xx 2x
    let reply = reply(&[(0x01, 0x0f), (0, 0), (0x20, 0xf0)]);
    assert_eq!(reply.check(&[0xf1, 0x77, 0x2c]), Ok(()));
    assert_eq!(reply.check(&[0xf1, 0x77, 0x2c, 0xff]), Ok(()), "the rest is free");
    assert_eq!(reply.check(&[0xf2, 0x77, 0x2c]), Err(ReplyError::Octet(0)));
    assert_eq!(reply.check(&[0xf1, 0x77, 0x3c]), Err(ReplyError::Octet(2)));
    assert_eq!(reply.check(&[0xf1, 0x77]), Err(ReplyError::Short { length: 2, expected: 3 }));
}

#[test]
fn both_lengths_are_accepted_and_what_is_beyond_is_not() {
    let reply = Reply { min_length: 2, max_length: 4, ..Reply::default() };
    let lengths: Vec<_> = (0..=6).filter(|length| reply.check(&vec![0; *length]).is_ok()).collect();
    assert_eq!(lengths, [2, 3, 4]);
    assert_eq!(reply.check(&[0]), Err(ReplyError::Length(1)));
}

#[test]
fn any_reply_of_255_octets_is_taken_by_default() {
    assert_eq!(Reply::default().check(&[]), Ok(()));
    assert_eq!(Reply::default().check(&[7; 255]), Ok(()));
    assert_eq!(Reply::default().check(&[7; 256]), Err(ReplyError::Length(256)));
}

proptest! {
    #[test]
    fn one_bit_that_counts_makes_the_difference(
        octets in prop::collection::vec(any::<u8>(), 1..64), masks in prop::collection::vec(any::<u8>(), 64),
        place in any::<prop::sample::Index>(), bit in 0..8u32,
    ) {
        let pattern: Vec<_> = octets.iter().zip(&masks).map(|(octet, mask)| (octet & mask, *mask)).collect();
        let reply = reply(&pattern);
        prop_assert_eq!(reply.check(&octets), Ok(()));
        let place = place.index(octets.len());
        let mut flipped = octets;
        let flag = 1u8 << bit;
        flipped[place] ^= flag;
        let mask: u8 = masks[place];
        let counts = mask & flag != 0;
        prop_assert_eq!(reply.check(&flipped), if counts { Err(ReplyError::Octet(place)) } else { Ok(()) });
    }
}
