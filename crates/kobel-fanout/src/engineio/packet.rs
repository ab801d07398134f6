//! One packet: a type in one digit, then its data. Binary messages have no type on WebSocket and
//! the type `b` (and base64) in a polling payload.

/// A packet from a client, borrowed from the bytes it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: only servers send it.
    Open,
    /// `1`: the client ends the session.
    Close,
    /// `2`: the probe of an upgrade; its data is to be sent back.
    Ping(&'a str),
    /// `3`: the answer to the server's ping.
    Pong,
    /// `4`: a text message.
    Message(&'a str),
    /// `5`: the client moves to this transport.
    Upgrade,
    /// `6`: nothing.
    Noop,
}

/// Why a text is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// No type at all.
    #[error("empty packet")]
    Empty,
    /// A type that the protocol does not know.
    #[error("unknown packet type")]
    UnknownType,
}

impl<'a> Packet<'a> {
    /// Reads a packet from text.
    pub fn parse(text: &'a str) -> Result<Self, PacketError> {
        let (kind, data) = text.split_at_checked(1).ok_or(if text.is_empty() {
            PacketError::Empty
        } else {
            PacketError::UnknownType
        })?;
        Ok(match kind {
            "0" => Self::Open,
            "1" => Self::Close,
            "2" => Self::Ping(data),
            "3" => Self::Pong,
            "4" => Self::Message(data),
            "5" => Self::Upgrade,
            "6" => Self::Noop,
            _ => return Err(PacketError::UnknownType),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_type() {
        for (text, packet) in [
            ("0{}", Packet::Open),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong),
            ("3probe", Packet::Pong),
            ("4", Packet::Message("")),
            ("4hello €", Packet::Message("hello €")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
        ] {
            assert_eq!(Packet::parse(text), Ok(packet), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        assert_eq!(Packet::parse(""), Err(PacketError::Empty));
        for text in ["7", "a", "abc", "-1", " 4", "€"] {
            assert_eq!(Packet::parse(text), Err(PacketError::UnknownType), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = Packet::parse(&text);
        }
    }
}
