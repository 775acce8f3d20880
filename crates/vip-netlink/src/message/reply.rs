//! What the kernel says to a request: `NLMSG_ERROR`, `NLMSG_DONE`.

use super::{Message, ParseError, attributes, text};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The end of the answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Carried out, or the end of a dump.
    Done,
    /// Refused.
    Refused {
        /// Error number, above 0.
        errno: i32,
        /// The kernel's own words, if it has any ("extended acknowledgement").
        text: Option<String>,
    },
}

/// Reads `NLMSG_ERROR` or `NLMSG_DONE`; `None` for any other message.
///
/// # Errors
/// [`ParseError`] if the message is cut off.
pub fn parse(message: &Message<'_>) -> Result<Option<Reply>, ParseError> {
    if !matches!(message.kind, NLMSG_ERROR | NLMSG_DONE) {
        return Ok(None);
    }
    let truncated = ParseError::Truncated { needed: 4, got: message.payload.len() };
    let reply = match message.payload.split_first_chunk::<4>() {
        None if message.kind == NLMSG_DONE => Reply::Done,
        None => return Err(truncated),
        Some((&code, rest)) => match i32::from_ne_bytes(code) {
            code if code >= 0 => Reply::Done, // some dumps end with a count
            code => Reply::Refused { errno: code.saturating_neg(), text: explanation(message, rest) },
        },
    };
    Ok(Some(reply))
}

/// The attributes stand behind the copy of the request: all of it, or its header only where it is capped; behind the
/// code at once in a `NLMSG_DONE`. A text that cannot be read is as good as none.
fn explanation(message: &Message<'_>, rest: &[u8]) -> Option<String> {
    if message.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let copied = match message.kind {
        NLMSG_DONE => 0,
        _ if message.flags & NLM_F_CAPPED != 0 => 16,
        _ => {
            let (&len, _) = rest.split_first_chunk::<4>()?;
            usize::try_from(u32::from_ne_bytes(len)).ok()?.checked_add(3)? & !3
        }
    };
    let found = attributes(rest.get(copied..)?).map_while(Result::ok).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG);
    found.map(|(_, value)| String::from_utf8_lossy(text(value)).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::messages;

    #[rustfmt::skip]
    const REFUSED: [u8; 60] = [
        60, 0, 0, 0, 2, 0, 0x00, 0x02, 7, 0, 0, 0, 0, 0, 0, 0,
        0xea, 0xff, 0xff, 0xff, // -22
        20, 0, 0, 0, 20, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, // the request
        8, 0, 2, 0, 16, 0, 0, 0, // where
        12, 0, 1, 0, b'b', b'a', b'd', b' ', b'i', b'p', b'!', 0,
    ];

    #[test]
    fn an_error_carries_the_kernels_own_words() {
        let message = messages(&REFUSED).next().unwrap().unwrap();
        let refused = Reply::Refused { errno: 22, text: Some("bad ip!".into()) };
        assert_eq!(parse(&message), Ok(Some(refused)));

        let [capped_head, capped_tail] = [&REFUSED[16..36], &REFUSED[40..]];
        let payload = [capped_head, capped_tail].concat();
        let capped = Message { flags: NLM_F_ACK_TLVS | NLM_F_CAPPED, payload: &payload, ..message };
        assert!(matches!(parse(&capped), Ok(Some(Reply::Refused { errno: 22, text: Some(_) }))));

        let silent = Message { flags: 0, ..message };
        assert_eq!(parse(&silent), Ok(Some(Reply::Refused { errno: 22, text: None })));
    }

    #[test]
    fn no_error_and_the_end_of_a_dump_are_done() {
        let message = |kind, payload| Message { kind, flags: 0, sequence: 1, port: 0, payload };
        assert_eq!(parse(&message(NLMSG_ERROR, &[0; 20])), Ok(Some(Reply::Done)));
        assert_eq!(parse(&message(NLMSG_DONE, &[])), Ok(Some(Reply::Done)));
        assert_eq!(parse(&message(20, &[0; 20])), Ok(None));
        assert!(parse(&message(NLMSG_ERROR, &[0; 3])).is_err());
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(kind in 0..5_u16, flags: u16, payload in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&Message { kind, flags, sequence: 0, port: 0, payload: &payload });
        }

        #[test]
        fn no_flipped_octet_makes_it_panic(at in any::<prop::sample::Index>(), to: u8) {
            let mut datagram = REFUSED;
            *at.get_mut(&mut datagram) = to;
            for message in messages(&datagram) {
                let _ = message.map(|message| parse(&message));
            }
        }
    }
}
