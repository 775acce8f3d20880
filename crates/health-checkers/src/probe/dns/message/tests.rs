use proptest::prelude::*;

use super::*;

fn query(id: u16, name: &str, record: RecordType) -> Vec<u8> {
    let name = Name::parse(name).unwrap();
    let mut out = Vec::new();
    Query { id, name: &name, record }.emit(&mut out);
    out
}

#[test]
fn a_query_has_one_question() {
    let expected = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x0f\x00\x01";
    assert_eq!(query(0x1234, "www.example.org", RecordType::MX), expected);
    assert_eq!(query(0x1234, "www.example.org.", RecordType::MX), expected);
    let root = b"\xff\xfe\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01";
    assert_eq!(query(0xfffe, ".", RecordType::SOA), root);
    assert_eq!(query(0xfffe, "", RecordType::SOA), root);
}

#[test]
fn names_that_cannot_be_sent_are_refused() {
    assert_eq!(Name::parse("a..b"), Err(NameError::EmptyLabel));
    assert_eq!(Name::parse(".a"), Err(NameError::EmptyLabel));
    assert_eq!(Name::parse(".."), Err(NameError::EmptyLabel));
    assert!(Name::parse(&"a".repeat(63)).is_ok());
    assert_eq!(Name::parse(&"a".repeat(64)), Err(NameError::LongLabel));
    assert_eq!(Name::parse(&"a".repeat(300)), Err(NameError::LongLabel));
    // 253 octets as written are 255 as sent.
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!((longest.len(), Name::parse(&longest).map(|name| name.0.len() + 1)), (253, Ok(255)));
    assert_eq!(Name::parse(&(longest + "d")), Err(NameError::Long));
}

#[test]
fn only_the_response_to_the_query_counts() {
    let response = b"\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00";
    assert_eq!(response_code(response, 0x1234), Some(Rcode::NO_ERROR));
    assert_eq!(response_code(response, 0x1235), None);
    assert_eq!(response_code(&response[..11], 0x1234), None);
    assert_eq!(response_code(&query(0x1234, ".", RecordType::A), 0x1234), None, "the query that comes back");
    assert_eq!(response_code(b"\x12\x34\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00", 0x1234), Some(Rcode(3)));
    assert_eq!(Rcode(3).to_string(), "rcode = 3");
}

proptest! {
    #[test]
    fn any_octets_are_judged_by_their_header(octets in prop::collection::vec(any::<u8>(), 0..40), id: u16) {
        let code = response_code(&octets, id);
        let header = octets.get(..HEADER_LENGTH);
        let answers = header.is_some_and(|header| header[..2] == id.to_be_bytes() && header[2] >= 0x80);
        prop_assert_eq!(code.is_some(), answers);
        let mut made = octets;
        made.resize(HEADER_LENGTH, 0);
        made[..2].copy_from_slice(&id.to_be_bytes());
        made[2] |= QR;
        prop_assert_eq!(response_code(&made, id), Some(Rcode(made[3] & 15)));
    }

    #[test]
    fn a_name_is_its_labels(labels in prop::collection::vec("[a-z0-9-]{1,20}", 1..8)) {
        let sent = query(7, &labels.join("."), RecordType::A);
        let mut rest = &sent[HEADER_LENGTH..sent.len() - 5];
        for label in labels {
            let (length, more) = rest.split_first().unwrap();
            let (found, more) = more.split_at(usize::from(*length));
            prop_assert_eq!(found, label.as_bytes());
            rest = more;
        }
        prop_assert!(rest.is_empty());
    }
}
