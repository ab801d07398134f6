//! A polling body: packets joined by the record separator.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Packet, PacketError};

/// Stands between the packets of a payload (U+001E).
pub const SEPARATOR: u8 = 0x1e;

/// Why a body is no payload. The session is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// One of the packets is malformed.
    #[error("malformed packet: {0}")]
    Packet(#[from] PacketError),
    /// One of the binary packets is not base64.
    #[error("a binary packet is not base64")]
    NotBase64,
}

/// An item of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// A packet of text.
    Text(Packet<'a>),
    /// A binary message.
    Binary(Vec<u8>),
}

/// Takes a body apart. All of it is read before any of it counts.
pub fn split(body: &[u8]) -> Result<Vec<Item<'_>>, PayloadError> {
    let text = std::str::from_utf8(body).map_err(|_| PayloadError::NotUtf8)?;
    text.split(char::from(SEPARATOR))
        .map(|part| match part.strip_prefix('b') {
            Some(data) => {
                STANDARD.decode(data).map(Item::Binary).map_err(|_| PayloadError::NotBase64)
            }
            None => Ok(Item::Text(Packet::parse(part)?)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_a_body_apart() {
        assert_eq!(
            split("4hello\u{1e}bAQIDBA==\u{1e}2".as_bytes()),
            Ok(vec![
                Item::Text(Packet::Message("hello")),
                Item::Binary(vec![1, 2, 3, 4]),
                Item::Text(Packet::Ping("")),
            ])
        );
    }

    #[test]
    fn refuses_the_whole_for_one_bad_packet() {
        for (body, error) in [
            (&b""[..], PayloadError::Packet(PacketError::Empty)),
            (b"abc", PayloadError::Packet(PacketError::UnknownType)),
            (b"4a\x1e", PayloadError::Packet(PacketError::Empty)),
            (b"4a\x1ex", PayloadError::Packet(PacketError::UnknownType)),
            (b"4a\x1eb!", PayloadError::NotBase64),
            (b"4\xff", PayloadError::NotUtf8),
        ] {
            assert_eq!(split(body), Err(error), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = split(&body);
        }
    }
}
