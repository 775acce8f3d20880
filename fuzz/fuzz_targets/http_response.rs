//! What a web server may answer to a health check: no input panics, and the pieces it comes in make no difference.
//!
//! The first octet is the size of the pieces.

#![no_main]

use health_checkers::probe::http::response::{Limits, Response, ResponseError, ResponseReader, Status};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let Some((&size, octets)) = octets.split_first() else { return };
    let whole = read(octets, octets.len().max(1));
    assert_eq!(read(octets, usize::from(size).max(1)), whole);
    if let Ok((Status::Complete, response)) = whole
        && let Some(announced) = response.content_length
        && !matches!(response.status_code, 204 | 304)
    {
        assert_eq!(response.body_length, announced);
    }
});

fn read(octets: &[u8], size: usize) -> Result<(Status, Response), ResponseError> {
    let mut reader = ResponseReader::new(Limits::default());
    let mut status = Status::More;
    for piece in octets.chunks(size) {
        status = reader.push(piece)?;
    }
    Ok((status, reader.finish()?))
}
