//! Frames from clients, put together to messages (RFC 6455, section 5).

use bytes::Bytes;

use super::{
    deflate::inflate,
    frame::{CloseCode, Opcode, RSV1},
};

/// A message, or a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Binary.
    Binary(Bytes),
    /// A ping, to be answered with the same data.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// The client closes.
    Close,
}

/// Why the client's bytes are refused, by the code of the close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the WebSocket protocol.
    #[error("WebSocket protocol error")]
    Protocol,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A message larger than allowed.
    #[error("message too large")]
    TooLarge,
}

impl Error {
    /// The code to close with.
    pub fn code(self) -> CloseCode {
        match self {
            Self::Protocol => CloseCode::Protocol,
            Self::NotUtf8 => CloseCode::Data,
            Self::TooLarge => CloseCode::TooLarge,
        }
    }
}

/// Puts messages together. Holds memory only while one is incomplete, and never more than the
/// limit, a header and a control frame, in buffers of at most twice that.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    deflate: bool,
}

#[derive(Debug, Default)]
struct Partial {
    /// Bytes of an incomplete frame.
    bytes: Vec<u8>,
    /// The message of which the first fragments have come.
    message: Option<Begun>,
}

/// A message in the making.
#[derive(Debug)]
struct Begun {
    opcode: Opcode,
    deflated: bool,
    bytes: Vec<u8>,
}

struct Header {
    fin: bool,
    deflated: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Of the header itself.
    len: usize,
    payload: usize,
}

impl Decoder {
    /// For a connection on which permessage-deflate was negotiated, or not.
    pub fn new(deflate: bool) -> Self {
        Self { partial: None, deflate }
    }

    /// Whether permessage-deflate was negotiated.
    pub fn deflates(&self) -> bool {
        self.deflate
    }

    /// Takes bytes as they came and gives the messages that are complete. `limit` is the most
    /// bytes that a message may have.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        limit: usize,
        out: &mut Vec<Message>,
    ) -> Result<(), Error> {
        let deflate = self.deflate;
        let mut partial = self.partial.take().map(|p| *p).unwrap_or_default();
        let mut held = std::mem::take(&mut partial.bytes);
        if held.is_empty() {
            let used = partial.frames(input, limit, deflate, out)?;
            held = input[used..].to_vec();
        } else {
            held.extend_from_slice(input);
            let used = partial.frames(&mut held, limit, deflate, out)?;
            // Left where it is while its frame is incomplete: a client that sends a large frame
            // byte by byte must not have it copied at each.
            if used > 0 {
                held = held[used..].to_vec();
            }
        }
        if !held.is_empty() || partial.message.is_some() {
            partial.bytes = held;
            self.partial = Some(Box::new(partial));
        }
        Ok(())
    }

    /// Bytes held for an incomplete message.
    pub fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            partial.bytes.len() + partial.message.as_ref().map_or(0, |begun| begun.bytes.len())
        })
    }
}

impl Header {
    fn read(bytes: &[u8], limit: usize, deflate: bool) -> Result<Option<Self>, Error> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        // Reserved bits are zero but for that of a negotiated extension; clients mask.
        let allowed = if deflate { RSV1 } else { 0 };
        if first & 0x70 & !allowed != 0 || second & 0x80 == 0 {
            return Err(Error::Protocol);
        }
        let (fin, opcode) = (first & 0x80 != 0, Opcode::of(first & 0x0f).ok_or(Error::Protocol)?);
        let deflated = first & RSV1 != 0;
        // The first frame of a message says so, for all of it (RFC 7692, section 6.1).
        if deflated && (opcode.is_control() || opcode == Opcode::Continuation) {
            return Err(Error::Protocol);
        }
        let short = second & 0x7f;
        if opcode.is_control() && (!fin || short > 125) {
            return Err(Error::Protocol);
        }
        let (extended, payload) = match (short, rest) {
            (126, [a, b, ..]) => (2, u64::from(u16::from_be_bytes([*a, *b]))),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (8, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (0, u64::from(short)),
        };
        if payload > limit as u64 {
            return Err(Error::TooLarge);
        }
        let Some(&[a, b, c, d]) = rest.get(extended..extended + 4) else {
            return Ok(None);
        };
        let (mask, payload) = ([a, b, c, d], payload as usize);
        Ok(Some(Self { fin, deflated, opcode, mask, len: 2 + extended + 4, payload }))
    }
}

impl Partial {
    /// Takes the frames that are complete and says how many bytes they were.
    fn frames(
        &mut self,
        bytes: &mut [u8],
        limit: usize,
        deflate: bool,
        out: &mut Vec<Message>,
    ) -> Result<usize, Error> {
        let mut used = 0;
        while let Some(header) = Header::read(&bytes[used..], limit, deflate)? {
            let start = used + header.len;
            let Some(payload) = bytes.get_mut(start..start + header.payload) else {
                break;
            };
            unmask(payload, header.mask);
            out.extend(self.frame(&header, payload, limit)?);
            used = start + header.payload;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        limit: usize,
    ) -> Result<Option<Message>, Error> {
        match (header.opcode, &mut self.message) {
            // Nothing, or a code of two bytes and a reason (section 5.5.1).
            (Opcode::Close, _) if payload.len() == 1 => Err(Error::Protocol),
            (Opcode::Close, _) => Ok(Some(Message::Close)),
            (Opcode::Ping, _) => Ok(Some(Message::Ping(Bytes::copy_from_slice(payload)))),
            (Opcode::Pong, _) => Ok(Some(Message::Pong)),
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                Err(Error::Protocol)
            }
            (Opcode::Continuation, Some(begun)) => {
                if begun.bytes.len() + payload.len() > limit {
                    return Err(Error::TooLarge);
                }
                begun.bytes.extend_from_slice(payload);
                if !header.fin {
                    return Ok(None);
                }
                self.message.take().map(|begun| begun.whole(limit)).transpose()
            }
            (opcode, None) => {
                let begun = Begun { opcode, deflated: header.deflated, bytes: payload.to_vec() };
                if header.fin {
                    return begun.whole(limit).map(Some);
                }
                self.message = Some(begun);
                Ok(None)
            }
        }
    }
}

impl Begun {
    fn whole(self, limit: usize) -> Result<Message, Error> {
        let bytes = if self.deflated { inflate(&self.bytes, limit)? } else { self.bytes };
        if self.opcode == Opcode::Text {
            String::from_utf8(bytes).map(Message::Text).map_err(|_| Error::NotUtf8)
        } else {
            Ok(Message::Binary(bytes.into()))
        }
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 99, 0, 255];
        let mut out = vec![opcode | if fin { 0x80 } else { 0 }];
        match payload.len() {
            len @ 0..=125 => out.push(0x80 | len as u8),
            len @ 126..=0xffff => {
                out.push(0x80 | 126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(0x80 | 127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k));
        out
    }

    fn all(bytes: &[u8]) -> Result<Vec<Message>, Error> {
        let mut out = Vec::new();
        Decoder::default().feed(&mut bytes.to_vec(), 1000, &mut out).map(|()| out)
    }

    #[test]
    fn puts_fragments_together_around_a_ping() {
        let bytes = [frame(false, 1, b"he"), frame(true, 9, b"?"), frame(true, 0, b"llo")].concat();
        assert_eq!(
            all(&bytes),
            Ok(vec![Message::Ping(Bytes::from_static(b"?")), Message::Text("hello".into())])
        );
    }

    #[test]
    fn refuses_what_breaks_the_protocol() {
        let unmasked = vec![0x81, 1, b'a'];
        let reserved = {
            let mut f = frame(true, 1, b"a");
            f[0] |= 0x40;
            f
        };
        for (bytes, error) in [
            (unmasked, Error::Protocol),
            (reserved, Error::Protocol),
            (frame(true, 3, b""), Error::Protocol),
            (frame(false, 9, b""), Error::Protocol),
            (frame(true, 9, &[0; 126]), Error::Protocol),
            (frame(true, 0, b"a"), Error::Protocol),
            ([frame(false, 1, b"a"), frame(true, 1, b"b")].concat(), Error::Protocol),
            (frame(true, 1, &[0xff]), Error::NotUtf8),
            (frame(true, 2, &[0; 1001]), Error::TooLarge),
            ([frame(false, 2, &[0; 600]), frame(true, 0, &[0; 600])].concat(), Error::TooLarge),
        ] {
            assert_eq!(all(&bytes), Err(error), "{:?}", &bytes[..2]);
        }
    }

    #[test]
    fn a_large_length_is_refused_before_its_bytes_come() {
        assert_eq!(all(&[0x82, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0]), Err(Error::TooLarge));
    }

    /// Seen by how often its buffer is another.
    #[test]
    fn a_frame_byte_by_byte_is_not_copied_at_each() {
        let bytes = frame(true, 2, &[1; 50_000]);
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let (mut moves, mut last) = (0, std::ptr::null());
        for byte in &bytes {
            decoder.feed(&mut [*byte], 100_000, &mut out).unwrap();
            let at =
                decoder.partial.as_ref().map_or(std::ptr::null(), |partial| partial.bytes.as_ptr());
            moves += u32::from(at != last);
            last = at;
        }
        assert_eq!(out, [Message::Binary(vec![1; 50_000].into())]);
        assert!(moves < 50, "{moves}");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = all(&bytes);
        }

        /// However the bytes are cut, the messages are the same, and little is held.
        #[test]
        fn cuts_do_not_matter(
            messages in prop::collection::vec((any::<bool>(), "[a-z€]{0,200}", 1usize..4), 1..6),
            cuts in prop::collection::vec(1usize..50, 1..100),
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for (text, data, parts) in messages {
                let size = data.len().div_ceil(parts).max(1);
                let chunks: Vec<_> = data.as_bytes().chunks(size).collect();
                let chunks = if chunks.is_empty() { vec![&b""[..]] } else { chunks };
                let first = if text { 1 } else { 2 };
                for (i, chunk) in chunks.iter().enumerate() {
                    let opcode = if i == 0 { first } else { 0 };
                    bytes.extend(frame(i + 1 == chunks.len(), opcode, chunk));
                }
                expected.push(if text {
                    Message::Text(data)
                } else {
                    Message::Binary(data.into_bytes().into())
                });
            }
            let mut decoder = Decoder::default();
            let mut out = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            while !bytes.is_empty() {
                let cut = cuts.next().unwrap().min(bytes.len());
                let mut chunk: Vec<_> = bytes.drain(..cut).collect();
                decoder.feed(&mut chunk, 10_000, &mut out).unwrap();
            }
            prop_assert_eq!(out, expected);
            prop_assert_eq!(decoder.held(), 0);
        }
    }
}
