//! What a mail server may answer to a health check: no input panics, the pieces it comes in make no difference, and no
//! reply is longer than it may be.
//!
//! The first octet is the size of the pieces.

#![no_main]

use health_checkers::probe::smtp::reply::{Code, ReplyError, ReplyReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Some((&size, octets)) = octets.split_first() else { return };
    let whole = read(octets, octets.len().max(1));
    assert_eq!(read(octets, usize::from(size).max(1)), whole);
});

/// All replies, and what ended them.
fn read(octets: &[u8], size: usize) -> (Vec<Code>, Option<ReplyError>) {
    let (mut reader, mut codes) = (ReplyReader::default(), Vec::new());
    for piece in octets.chunks(size) {
        reader.push(piece);
        loop {
            match reader.poll_reply() {
                Ok(Some(code)) => codes.push(code),
                Ok(None) => break,
                Err(error) => return (codes, Some(error)),
            }
        }
    }
    (codes, None)
}
