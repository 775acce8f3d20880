use proptest::prelude::*;

use super::*;

/// All replies in octets that come in pieces of this size, and what ended them.
fn replies(octets: &[u8], size: usize) -> (Vec<u16>, Result<(), ReplyError>) {
    let (mut reader, mut codes) = (ReplyReader::default(), Vec::new());
    for piece in octets.chunks(size) {
        reader.push(piece);
        loop {
            match reader.poll_reply() {
                Ok(Some(Code(code))) => codes.push(code),
                Ok(None) => break,
                Err(error) => return (codes, Err(error)),
            }
        }
    }
    (codes, Ok(()))
}

fn all(text: &str) -> (Vec<u16>, Result<(), ReplyError>) {
    replies(text.as_bytes(), text.len().max(1))
}

#[test]
fn replies_may_have_many_lines() {
    assert_eq!(all("220 mail.example.org ESMTP\r\n"), (vec![220], Ok(())));
    assert_eq!(all("220-mail\r\n220-second\r\n220 last\r\n250-a\n250\n"), (vec![220, 250], Ok(())));
    assert_eq!(all("250\r\n"), (vec![250], Ok(())));
    assert_eq!(all("250Ok\r\n"), (vec![250], Ok(())), "without a space");
    assert_eq!(all("220-mail\r\n220 la"), (vec![], Ok(())));
}

#[test]
fn what_is_no_reply_is_told_apart() {
    for text in ["HTTP/1.0 400 Bad\r\n", "22\r\n", "\r\n", "120 x\r\n", "+20 x\r\n", "220-a\r\n221 b\r\n"] {
        assert_eq!(all(text), (vec![], Err(ReplyError::Malformed)), "{text:?}");
    }
    assert_eq!(Code(42).to_string(), "reply 042");
}

#[test]
fn a_reply_without_end_is_given_up() {
    let line = "a".repeat(ReplyReader::LIMIT + 1);
    assert_eq!(all(&line), (vec![], Err(ReplyError::TooLong)));
    let lines = "220-abcd\r\n".repeat(ReplyReader::LIMIT / 10 + 1);
    assert_eq!(all(&lines), (vec![], Err(ReplyError::TooLong)));
    let many = "220 abcd\r\n".repeat(ReplyReader::LIMIT / 10 + 1);
    assert_eq!(all(&many).1, Ok(()), "each is short");
}

proptest! {
    #[test]
    fn the_pieces_make_no_difference(text in "([2-5][0-9]{2}[- ]?[a-z]{0,5}\r?\n){0,8}.{0,4}", size in 1..20usize) {
        let whole = replies(text.as_bytes(), text.len().max(1));
        prop_assert_eq!(replies(text.as_bytes(), size), whole);
    }

    #[test]
    fn no_octets_are_too_much(octets in prop::collection::vec(any::<u8>(), 0..300), size in 1..20usize) {
        let _ = replies(&octets, size);
    }
}
