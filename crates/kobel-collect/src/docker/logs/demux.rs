//! Docker's multiplexed stream: frames of a header of 8 bytes and so many bytes of one output
//! (Docker Engine API, `ContainerAttach`, "Stream format").
//!
//! A frame is handed on in the pieces in which it comes, so its length, which may be up to 4 GB,
//! costs no memory.

use kobel_wire::log::LogOutput;

/// The longest message of the engine that is kept.
const MESSAGE: usize = 1000;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// What should be a header is none.
    #[error(
        "not Docker's framing of logs: got the bytes {0:02x?} where a header (00, 01 or 02, then \
         00 00 00 and a length) should be"
    )]
    NotAHeader([u8; 8]),
    /// The engine itself said that it failed, in a frame of its own (type 3).
    #[error("the engine says: {0}")]
    Engine(String),
}

/// A part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A frame begins.
    Begin(LogOutput),
    /// Bytes of it.
    Bytes(LogOutput, &'a [u8]),
    /// It is whole.
    End(LogOutput),
}

/// Takes the stream apart.
#[derive(Debug, Default)]
pub struct Demux {
    header: [u8; 8],
    /// Bytes of the header that are there.
    have: usize,
    frame: Option<Frame>,
    message: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    /// `None`: the engine's own.
    output: Option<LogOutput>,
    left: usize,
}

impl Demux {
    /// The next piece of `bytes`, which shrink by what was taken; `None` when more are needed.
    ///
    /// # Errors
    /// When what follows is no frame. The stream cannot be read on then.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        loop {
            let Some(frame) = &mut self.frame else {
                let take = bytes.len().min(8 - self.have);
                let (head, rest) = bytes.split_at(take);
                self.header[self.have..self.have + take].copy_from_slice(head);
                self.have += take;
                *bytes = rest;
                if self.have < 8 {
                    return Ok(None);
                }
                self.have = 0;
                let frame = self.begin()?;
                self.frame = Some(frame);
                match frame.output {
                    Some(output) => return Ok(Some(Piece::Begin(output))),
                    None => continue,
                }
            };
            if frame.left == 0 {
                let output = frame.output;
                self.frame = None;
                return match output {
                    Some(output) => Ok(Some(Piece::End(output))),
                    None => Err(self.engine()),
                };
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(frame.left));
            frame.left -= piece.len();
            *bytes = rest;
            match frame.output {
                Some(output) => return Ok(Some(Piece::Bytes(output, piece))),
                None => {
                    let room = MESSAGE.saturating_sub(self.message.len());
                    self.message.extend_from_slice(&piece[..piece.len().min(room)]);
                    // Enough is known; the rest could be long.
                    if self.message.len() >= MESSAGE {
                        return Err(self.engine());
                    }
                }
            }
        }
    }

    fn begin(&self) -> Result<Frame, FrameError> {
        let [kind, 0, 0, 0, length @ ..] = self.header else {
            return Err(FrameError::NotAHeader(self.header));
        };
        let output = match kind {
            // 0 is standard input, which a terminal's echo would be.
            0 | 1 => Some(LogOutput::Stdout),
            2 => Some(LogOutput::Stderr),
            3 => None,
            _ => return Err(FrameError::NotAHeader(self.header)),
        };
        Ok(Frame { output, left: u32::from_be_bytes(length) as usize })
    }

    fn engine(&self) -> FrameError {
        FrameError::Engine(crate::text::clean(&String::from_utf8_lossy(&self.message), 300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> Result<Vec<String>, FrameError> {
        let (mut demux, mut rest, mut pieces) = (Demux::default(), bytes, Vec::new());
        while let Some(piece) = demux.next(&mut rest)? {
            pieces.push(match piece {
                Piece::Begin(output) => format!("({}", output.as_str()),
                Piece::Bytes(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Piece::End(_) => ")".into(),
            });
        }
        Ok(pieces)
    }

    #[test]
    fn frames() {
        let bytes = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x05wo";
        let wanted = ["(stdout", "hi", ")", "(stderr", ")", "(stdout", "wo"];
        assert_eq!(pieces(bytes).unwrap(), wanted);
    }

    #[test]
    fn four_gigabytes_are_only_announced() {
        let mut demux = Demux::default();
        let mut rest = b"\x01\0\0\0\xff\xff\xff\xffx".as_slice();
        assert_eq!(demux.next(&mut rest), Ok(Some(Piece::Begin(LogOutput::Stdout))));
        assert_eq!(demux.next(&mut rest), Ok(Some(Piece::Bytes(LogOutput::Stdout, b"x"))));
        assert_eq!(demux.next(&mut rest), Ok(None));
    }

    #[test]
    fn what_is_no_frame_is_said() {
        for bytes in [b"hello world", b"\x04\0\0\0\0\0\0\x01x  ", b"\x01\0\x01\0\0\0\0\x01x  "] {
            let error = pieces(bytes).unwrap_err();
            assert!(error.to_string().contains("a header"), "{error}");
        }
        let error = pieces(b"\x03\0\0\0\0\0\0\x04oh\x1bno").unwrap_err();
        assert_eq!(error, FrameError::Engine("ohn".into()));
        let mut long = b"\x03\0\0\0\xff\xff\xff\xff".to_vec();
        long.resize(5000, b'x');
        assert_eq!(pieces(&long).unwrap_err(), FrameError::Engine("x".repeat(300)));
    }
}
