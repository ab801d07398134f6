//! Frames that the server writes (RFC 6455, section 5.2): never masked.

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The next part of a message.
    Continuation = 0x0,
    /// Text.
    Text = 0x1,
    /// Binary.
    Binary = 0x2,
    /// The end.
    Close = 0x8,
    /// A ping.
    Ping = 0x9,
    /// The answer to a ping.
    Pong = 0xa,
}

impl Opcode {
    pub(super) fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Why a connection ends (RFC 6455, section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// Done.
    Normal = 1000,
    /// The server goes away.
    Away = 1001,
    /// The other side broke the protocol.
    Protocol = 1002,
    /// Text that is not UTF-8.
    Data = 1007,
    /// Against the server's rules.
    Policy = 1008,
    /// A message larger than allowed.
    TooLarge = 1009,
}

/// The first reserved bit: the message is deflated (RFC 7692, section 6).
pub(super) const RSV1: u8 = 0x40;

/// Appends the header of a final, unmasked frame with a deflated payload of `len` bytes.
pub(crate) fn deflated_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    let start = out.len();
    header(out, opcode, len);
    out[start] |= RSV1;
}

/// Appends the header of a final, unmasked frame with a payload of `len` bytes.
pub fn header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    out.push(0x80 | opcode as u8);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// A close frame.
pub fn close(code: CloseCode) -> [u8; 4] {
    let [high, low] = (code as u16).to_be_bytes();
    [0x88, 2, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_shortest_length() {
        for (len, expected) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            header(&mut out, Opcode::Text, len);
            assert_eq!(out, expected);
        }
        assert_eq!(close(CloseCode::Protocol), [0x88, 2, 0x03, 0xea]);
    }
}
