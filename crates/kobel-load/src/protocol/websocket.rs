//! WebSocket frames from the client's side (RFC 6455, section 5): those written are masked, those
//! read are parsed in place.

use super::{LARGEST, ProtocolError};

/// The parts of a frame that a client tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

/// A whole frame; the payload is where it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) payload: &'a [u8],
}

/// The frame at the beginning of `bytes`, and its length with its header; `None` while it is
/// incomplete.
#[inline]
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, ProtocolError> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    // No extension is offered, so the reserved bits are zero; a server does not mask.
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(ProtocolError::Frame);
    }
    let opcode = match first & 0x0f {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xa => Opcode::Pong,
        _ => return Err(ProtocolError::Frame),
    };
    let fin = first & 0x80 != 0;
    if first & 0x08 != 0 && (!fin || second > 125) {
        return Err(ProtocolError::Frame);
    }
    let (head, len) = match (second, rest) {
        (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, u64::from(short)),
    };
    if len > LARGEST as u64 {
        return Err(ProtocolError::TooLarge);
    }
    let end = head + len as usize;
    let Some(payload) = bytes.get(head..end) else { return Ok(None) };
    Ok(Some((Frame { fin, opcode, payload }, end)))
}

/// Appends a final frame, masked by `mask`.
pub(crate) fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode as u8);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a server writes it.
    fn server(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, Opcode::Text, payload, [0; 4]);
        out[0] = first;
        out[1] &= 0x7f;
        let head = out.len() - payload.len();
        out.drain(head - 4..head);
        out
    }

    #[test]
    fn reads_frames_of_every_length() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let payload = vec![b'x'; len];
            let bytes = server(0x81, &payload);
            let (frame, used) = parse(&bytes).unwrap().unwrap();
            assert_eq!(frame, Frame { fin: true, opcode: Opcode::Text, payload: &payload });
            assert_eq!(used, bytes.len());
            for cut in [0, 1, 2, 3, 9, bytes.len() - 1] {
                if cut < bytes.len() {
                    assert_eq!(parse(&bytes[..cut]), Ok(None), "{len} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn refuses_what_breaks_the_protocol() {
        for (bytes, error) in [
            (&[0xc1, 0][..], ProtocolError::Frame),
            (&[0x81, 0x81, 0, 0, 0, 0, b'a'], ProtocolError::Frame),
            (&[0x83, 0], ProtocolError::Frame),
            (&[0x09, 0], ProtocolError::Frame),
            (&[0x89, 126, 0, 126], ProtocolError::Frame),
            (&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0], ProtocolError::TooLarge),
            (&[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], ProtocolError::TooLarge),
        ] {
            assert_eq!(parse(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn writes_masked_frames() {
        let mut out = Vec::new();
        write(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        // The example of RFC 6455, section 5.7.
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        out.clear();
        write(&mut out, Opcode::Binary, &[0; 126], [0; 4]);
        assert_eq!(out[..4], [0x82, 0x80 | 126, 0, 126]);
        out.clear();
        write(&mut out, Opcode::Binary, &[0; 65_536], [0; 4]);
        assert_eq!(out[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        /// Unmasked again it is what was written.
        #[test]
        fn a_mask_is_undone_by_itself(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            mask in any::<[u8; 4]>(),
        ) {
            let mut out = Vec::new();
            write(&mut out, Opcode::Binary, &payload, mask);
            let at = out.len() - payload.len();
            prop_assert_eq!(&out[at - 4..at], &mask);
            let back: Vec<_> =
                out[at..].iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k).collect();
            prop_assert_eq!(back, payload);
        }
    }
}
