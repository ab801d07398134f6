//! permessage-deflate (RFC 7692), without context takeover in either direction.
//!
//! Without context a message stands for itself: it is deflated once for everybody, and nothing is
//! kept per connection.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::{HeaderMap, HeaderValue, header};

use super::Error;

/// What a message ends with after a flush, and is not sent (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A deflated message that is not smaller than this part of the plain one is not worth it.
const WORTH: f64 = 0.8;

/// Levels 1 to 9. On JSON the low ones are nearly as small and several times as fast.
const LEVEL: u32 = 3;

thread_local! {
    // Of a few hundred KB each, and they allocate when made; a message resets them.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// The answer to the extensions that a client offers; `None` when deflate is not among them, or
/// not in a form that is possible here.
pub fn negotiate(headers: &HeaderMap) -> Option<HeaderValue> {
    let possible = headers
        .get_all(header::SEC_WEBSOCKET_EXTENSIONS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(is_possible);
    let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    possible.then(|| HeaderValue::from_static(answer))
}

/// Whether an offer can be taken (section 7.1): a parameter that is unknown, given twice or with a
/// wrong value declines it, and a smaller window of ours is not possible here.
fn is_possible(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return false;
    }
    let mut seen = Vec::new();
    parts.all(|part| {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        let first = !seen.contains(&name);
        seen.push(name);
        let bits = |value: &str| {
            value.len() <= 2
                && !value.starts_with('0')
                && value.parse().is_ok_and(|b: u8| (8..=15).contains(&b))
        };
        first
            && match (name, value) {
                ("server_no_context_takeover" | "client_no_context_takeover", None) => true,
                ("client_max_window_bits", None) => true,
                ("client_max_window_bits", Some(value)) => bits(value),
                ("server_max_window_bits", Some("15")) => true,
                _ => false,
            }
    })
}

/// The message deflated, if that is worth it.
pub(crate) fn deflate(message: &[u8]) -> Option<Vec<u8>> {
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let most = (message.len() as f64 * WORTH) as usize;
        let mut out = Vec::with_capacity(most + TAIL.len());
        // Into what is reserved, and no further: if it does not fit it is not worth it.
        let status = deflate.compress_vec(message, &mut out, FlushCompress::Sync).ok()?;
        let whole = status == Status::Ok
            && deflate.total_in() == message.len() as u64
            && out.len() < out.capacity()
            && out.ends_with(&TAIL);
        out.truncate(out.len().saturating_sub(TAIL.len()));
        whole.then_some(out)
    })
}

/// What was deflated, of at most `limit` bytes.
pub(super) fn inflate(message: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        let mut out = Vec::with_capacity((message.len() * 4).max(64).min(limit + 1));
        for part in [message, &TAIL] {
            let before = inflate.total_in();
            loop {
                if out.len() > limit {
                    return Err(Error::TooLarge);
                }
                if out.len() == out.capacity() {
                    out.reserve_exact(out.len().min(limit + 1 - out.len()).max(1));
                }
                let (used, len) = ((inflate.total_in() - before) as usize, out.len());
                let status = inflate
                    .decompress_vec(&part[used..], &mut out, FlushDecompress::Sync)
                    .map_err(|_| Error::Protocol)?;
                if status == Status::StreamEnd {
                    // A last block inside the message is allowed (section 7.2.3.5).
                    return if out.len() > limit { Err(Error::TooLarge) } else { Ok(out) };
                }
                let taken = (inflate.total_in() - before) as usize;
                if taken == part.len() && out.len() < out.capacity() {
                    break;
                }
                if taken == used && out.len() == len {
                    return Err(Error::Protocol);
                }
            }
        }
        if out.len() > limit { Err(Error::TooLarge) } else { Ok(out) }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offers_are_taken_where_possible() {
        for (offer, taken) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            ("permessage-deflate; client_max_window_bits=10; server_no_context_takeover", true),
            ("permessage-deflate; server_max_window_bits=15", true),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits=16", false),
            ("permessage-deflate; client_max_window_bits=08", false),
            ("permessage-deflate; client_no_context_takeover=1", false),
            ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", false),
            ("permessage-deflate; new", false),
            ("x-webkit-deflate-frame", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("sec-websocket-extensions", HeaderValue::from_static(offer));
            assert_eq!(negotiate(&headers).is_some(), taken, "{offer}");
        }
        assert_eq!(negotiate(&HeaderMap::new()), None);
    }

    #[test]
    fn the_rfc_s_own_examples() {
        // Section 7.2.3: "Hello" in one block, in a block without compression, and in a last one.
        for bytes in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(bytes, 100).unwrap(), b"Hello", "{bytes:x?}");
            assert_eq!(inflate(bytes, 4), Err(Error::TooLarge), "{bytes:x?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let bomb = deflate(&vec![b'x'; 10_000_000]).unwrap();
        assert!(bomb.len() < 50_000, "{}", bomb.len());
        assert_eq!(inflate(&bomb, 100_000), Err(Error::TooLarge));
        assert_eq!(inflate(&bomb, 10_000_000).unwrap().len(), 10_000_000);
    }

    #[test]
    fn what_is_random_is_left_as_it_is() {
        let mut bytes = vec![0; 5_000];
        getrandom::fill(&mut bytes).unwrap();
        assert_eq!(deflate(&bytes), None);
    }

    proptest! {
        #[test]
        fn there_and_back(text in "[a-d]{0,3000}") {
            if let Some(small) = deflate(text.as_bytes()) {
                prop_assert!(small.len() <= text.len() * 4 / 5);
                prop_assert_eq!(inflate(&small, text.len()).unwrap(), text.as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(out) = inflate(&bytes, 1_000) {
                prop_assert!(out.len() <= 1_000);
            }
        }
    }
}
