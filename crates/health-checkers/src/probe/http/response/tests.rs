use proptest::prelude::*;

use super::*;

/// MD5 of "hello".
const HELLO: [u8; 16] =
    [0x5d, 0x41, 0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92];
/// MD5 of "5\r\nhello\r\n0\r\n\r\n": what keepalived's genhash prints for it.
const HELLO_CHUNKED: [u8; 16] =
    [0x79, 0xe9, 0x48, 0x9e, 0x3b, 0xd3, 0xf0, 0xcb, 0x01, 0x58, 0x21, 0x53, 0x41, 0xde, 0x04, 0x6d];
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

fn md5(octets: &[u8]) -> [u8; 16] {
    Md5::digest(octets).into()
}

/// Reads `octets` in pieces of `size`; the status is that of the last piece.
fn read_in_pieces(octets: &[u8], size: usize) -> Result<(Status, Response), ResponseError> {
    let mut reader = ResponseReader::new(Limits::default());
    let mut status = Status::More;
    for piece in octets.chunks(size) {
        status = reader.push(piece)?;
    }
    Ok((status, reader.finish()?))
}

/// Reads `octets` whole and octet by octet, which must give the same.
fn read(octets: &[u8]) -> Result<(Status, Response), ResponseError> {
    let whole = read_in_pieces(octets, octets.len().max(1));
    assert_eq!(read_in_pieces(octets, 1), whole);
    whole
}

#[test]
fn without_length_the_body_lasts_until_the_server_closes() {
    let (status, response) = read(b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhello").unwrap();
    assert_eq!(status, Status::More);
    assert_eq!((response.status_code, response.digest, response.digest_as_sent), (200, HELLO, HELLO));
    assert_eq!((response.content_length, response.body_length), (None, 5));
}

#[test]
fn content_length_ends_the_body() {
    let (status, response) =
        read(b"HTTP/1.1 404 No\r\ncontent-length: 5\r\n\r\nhello and what is not part of it").unwrap();
    assert_eq!((status, response.status_code), (Status::Complete, 404));
    assert_eq!((response.digest, response.content_length, response.body_length), (HELLO, Some(5), 5));
    let (status, response) = read(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!((status, response.digest), (Status::Complete, md5(b"")));
}

#[test]
fn a_body_that_ends_early_is_taken_as_it_is() {
    let (status, response) = read(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").unwrap();
    assert_eq!((status, response.content_length, response.body_length), (Status::More, Some(50), 5));
}

#[test]
fn lengths_that_make_no_sense_are_ignored() {
    for header in
        ["Content-Length: +5", "Content-Length: -1", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: "]
    {
        let (status, response) = read(format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\nhello").as_bytes()).unwrap();
        assert_eq!((status, response.content_length, response.digest), (Status::More, None, HELLO), "{header}");
    }
    let twice = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(read(twice).unwrap().0, Status::Complete);
}

#[test]
fn chunks_are_put_together() {
    let (status, response) = read(CHUNKED).unwrap();
    assert_eq!(status, Status::Complete);
    assert_eq!((response.digest, response.digest_as_sent), (HELLO, HELLO_CHUNKED));
    let parts = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\n\
        2;name=value\r\nhe\r\n003 \r\nllo\r\n0\r\nTrailer: x\r\n\r\n";
    let (status, response) = read(parts).unwrap();
    assert_eq!((status, response.digest, response.body_length), (Status::Complete, HELLO, 5));
    assert_eq!(response.content_length, None);
}

#[test]
fn chunks_that_make_no_sense_last_until_the_server_closes() {
    for body in ["hello", "5\r\nhelloX\r\n0\r\n\r\n", "\r\n", "11111111111111111\r\n", "-1\r\n", ";\r\n"] {
        let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let (status, response) = read(text.as_bytes()).unwrap();
        assert_eq!((status, response.status_code), (Status::More, 200), "{body:?}");
        assert_eq!(response.digest_as_sent, md5(body.as_bytes()), "{body:?}");
    }
}

#[test]
fn the_largest_chunk_size_does_not_overflow() {
    let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello";
    assert_eq!(read(text).unwrap().1.digest, HELLO);
}

#[test]
fn some_statuses_have_no_body() {
    for code in [204, 304] {
        let text = format!("HTTP/1.1 {code} x\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(read(text.as_bytes()).unwrap().0, Status::Complete);
    }
}

#[test]
fn interim_responses_are_passed_over() {
    let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let (status, response) = read(text).unwrap();
    assert_eq!((status, response.status_code, response.digest), (Status::Complete, 200, HELLO));
    assert_eq!(read(b"HTTP/1.1 100 Continue\r\n\r\n"), Err(ResponseError::NoHeader));
}

#[test]
fn sloppy_headers_are_read() {
    for text in [
        "HTTP/1.0 200\r\n\r\nhello",
        "HTTP/1.0 200 OK\n\nhello",
        "\r\n\r\nHTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1  200  OK\r\nName : value\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nno colon\r\nX: y\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\nhello",
    ] {
        let (_, response) = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!((response.status_code, response.digest), (200, HELLO), "{text:?}");
    }
}

#[test]
fn what_is_not_http_is_malformed() {
    for text in
        ["220 mail.example.org ESMTP\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 20\r\n\r\n"]
    {
        assert_eq!(read(text.as_bytes()), Err(ResponseError::Malformed), "{text:?}");
    }
}

#[test]
fn a_header_must_be_whole() {
    for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nX: y\r\n", "\r\n\r\n"] {
        assert_eq!(read(text.as_bytes()), Err(ResponseError::NoHeader), "{text:?}");
    }
}

#[test]
fn many_headers_are_read_and_too_long_ones_refused() {
    let header = |lines| format!("HTTP/1.1 200 OK\r\n{}\r\nhello", "X: y\r\n".repeat(lines));
    assert_eq!(read_in_pieces(header(10_000).as_bytes(), 4096).unwrap().1.digest, HELLO);
    let too_long = Err(ResponseError::HeaderTooLong { limit: 256 << 10 });
    assert_eq!(read_in_pieces(header(50_000).as_bytes(), 4096), too_long);
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000);
    assert_eq!(read_in_pieces(endless.as_bytes(), 4096), too_long);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let limits = Limits { body: 5, ..Limits::default() };
    let mut reader = ResponseReader::new(limits);
    assert_eq!(reader.push(b"HTTP/1.1 200 OK\r\n\r\nhello"), Ok(Status::More));
    assert_eq!(reader.push(b"!"), Err(ResponseError::BodyTooLong { limit: 5 }));
    let mut reader = ResponseReader::new(limits);
    assert_eq!(reader.push(CHUNKED), Err(ResponseError::BodyTooLong { limit: 5 }));
}

/// Octets that often are nearly a response.
fn any_octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Content-Length: 7\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_input_panics_and_pieces_do_not_matter(octets in any_octets(), size in 1..40_usize) {
        let whole = read_in_pieces(&octets, octets.len().max(1));
        prop_assert_eq!(read_in_pieces(&octets, size), whole);
    }

    #[test]
    fn any_body_is_read_in_each_framing(body in proptest::collection::vec(any::<u8>(), 0..300), size in 1..40_usize) {
        let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(size) {
            chunked.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let mut counted = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        counted.extend_from_slice(&body);
        for octets in [chunked, counted] {
            let (status, response) = read_in_pieces(&octets, 7).expect("a response");
            prop_assert_eq!(status, Status::Complete);
            prop_assert_eq!(response.digest, md5(&body));
        }
    }
}
