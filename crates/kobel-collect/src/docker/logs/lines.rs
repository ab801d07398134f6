//! From the engine's bytes to lines.
//!
//! With `timestamps=1` the engine puts an RFC 3339 stamp and a space before each line, and again
//! before each part of a line: Docker writes a line longer than 16 KB down in parts, all with the
//! stamp of the first. Without a terminal a part is a frame, so it is known where one begins. A
//! terminal's bytes have no frames: there a part is known by its place, 16 KB after the last, and
//! by the very same stamp.

use std::mem;

use kobel_hub::logs::{RawLine, stamp};
use kobel_wire::log::{LogOutput, LogTime};

use super::demux::{Demux, FrameError, Piece};

/// The most bytes of a line; of more, only their number is kept.
pub const LINE_BYTES: usize = 256 << 10;

/// A part of a line in Docker's logs (`defaultBufSize` of its copier).
const PART: usize = 16 << 10;

/// The longest stamp, nanoseconds and an offset in it, with its space.
const STAMP: usize = 37;

/// How the parts of a line are stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// All alike, as Docker does. So what comes with another stamp is another line, and the one
    /// before it ended without a line feed, with its process.
    Alike,
    /// Each by itself, as Podman does.
    Apart,
}

/// The lines of a stream of logs, by the bytes as they come.
#[derive(Debug)]
pub struct Framing {
    /// `None` for a terminal.
    demux: Option<Demux>,
    stdout: Assembler,
    stderr: Assembler,
}

impl Framing {
    /// For a container with a terminal (`Config.Tty`) or without.
    pub fn new(tty: bool, parts: Parts) -> Self {
        let assembler = |output| Assembler {
            output,
            tty,
            parts,
            line: Vec::new(),
            cut: 0,
            open: false,
            at: None,
            stamp: Vec::new(),
            expects: if tty { Expects::Stamp } else { Expects::Content },
            part: 0,
        };
        Self {
            demux: (!tty).then(Demux::default),
            stdout: assembler(LogOutput::Stdout),
            stderr: assembler(LogOutput::Stderr),
        }
    }

    /// Takes bytes that came at `now`, the time of lines without a stamp; adds the lines that are
    /// whole to `out`.
    ///
    /// # Errors
    /// When they are not the engine's framing; the stream cannot be read on then.
    pub fn feed(
        &mut self,
        now: LogTime,
        mut bytes: &[u8],
        out: &mut Vec<RawLine>,
    ) -> Result<(), FrameError> {
        let Some(demux) = &mut self.demux else {
            self.stdout.bytes(now, bytes, out);
            return Ok(());
        };
        while let Some(piece) = demux.next(&mut bytes)? {
            match piece {
                Piece::Begin(output) => of(&mut self.stdout, &mut self.stderr, output).begin(),
                Piece::Bytes(output, bytes) => {
                    of(&mut self.stdout, &mut self.stderr, output).bytes(now, bytes, out);
                }
                Piece::End(output) => of(&mut self.stdout, &mut self.stderr, output).end(now, out),
            }
        }
        Ok(())
    }

    /// Nothing follows, and that is the end of the container's output: gives what has no line feed.
    /// Not for a stream that broke: that part comes again.
    pub fn finish(&mut self, now: LogTime, out: &mut Vec<RawLine>) {
        self.stdout.finish(now, out);
        self.stderr.finish(now, out);
    }
}

fn of<'a>(
    stdout: &'a mut Assembler,
    stderr: &'a mut Assembler,
    output: LogOutput,
) -> &'a mut Assembler {
    match output {
        LogOutput::Stdout => stdout,
        LogOutput::Stderr => stderr,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// A stamp, of which `stamp` has come.
    Stamp,
    /// The stamp of the line once more, of which so many bytes have come.
    Again(usize),
    Content,
}

/// The lines of one output.
#[derive(Debug)]
struct Assembler {
    output: LogOutput,
    tty: bool,
    parts: Parts,
    /// What there is of the line.
    line: Vec<u8>,
    /// Bytes of it that were left off.
    cut: u64,
    /// Whether something of a line has come.
    open: bool,
    at: Option<i64>,
    /// The bytes that may be a stamp; afterwards, of a terminal, those of the line's stamp.
    stamp: Vec<u8>,
    expects: Expects,
    /// Bytes since the last stamp.
    part: usize,
}

impl Assembler {
    /// A frame begins, and a stamp with it.
    fn begin(&mut self) {
        self.stamp.clear();
        self.expects = Expects::Stamp;
    }

    /// A frame ends: what was too short for a stamp is none.
    fn end(&mut self, now: LogTime, out: &mut Vec<RawLine>) {
        if self.expects == Expects::Stamp && !self.stamp.is_empty() {
            self.stamped(now, out);
        }
    }

    fn bytes(&mut self, now: LogTime, mut bytes: &[u8], out: &mut Vec<RawLine>) {
        while let Some(&first) = bytes.first() {
            match self.expects {
                Expects::Stamp => {
                    let room = STAMP - self.stamp.len();
                    let end = memchr::memchr2(b' ', b'\n', &bytes[..bytes.len().min(room)]);
                    // The space is the stamp's, a line feed is not.
                    let take = end
                        .map_or(bytes.len().min(room), |end| end + usize::from(bytes[end] == b' '));
                    self.stamp.extend_from_slice(&bytes[..take]);
                    bytes = &bytes[take..];
                    if end.is_some() || self.stamp.len() == STAMP {
                        self.stamped(now, out);
                    }
                }
                Expects::Again(have) if self.stamp.get(have) == Some(&first) => {
                    bytes = &bytes[1..];
                    self.expects = Expects::Again(have + 1);
                    if have + 1 == self.stamp.len() {
                        self.expects = Expects::Content;
                        self.part = 0;
                    }
                }
                Expects::Again(have) => {
                    // It only looked like it.
                    self.expects = Expects::Content;
                    let looked_like = self.stamp[..have].to_vec();
                    self.append(&looked_like);
                }
                Expects::Content => bytes = self.content(now, bytes, out),
            }
        }
    }

    /// Takes bytes of a line up to its end, or to where a stamp may be; gives the rest.
    fn content<'a>(&mut self, now: LogTime, bytes: &'a [u8], out: &mut Vec<RawLine>) -> &'a [u8] {
        self.open = true;
        // Of a terminal, the next part may begin here.
        let most = if self.tty && self.part < PART { PART - self.part } else { usize::MAX };
        let upto = bytes.len().min(most);
        match memchr::memchr(b'\n', &bytes[..upto]) {
            Some(end) => {
                self.append(&bytes[..end]);
                self.close(now, out);
                self.begin();
                &bytes[end + 1..]
            }
            None => {
                self.append(&bytes[..upto]);
                if self.tty && self.part == PART && !self.stamp.is_empty() {
                    self.expects = Expects::Again(0);
                }
                &bytes[upto..]
            }
        }
    }

    /// As much of a stamp has come as there will be.
    fn stamped(&mut self, now: LogTime, out: &mut Vec<RawLine>) {
        self.expects = Expects::Content;
        let text = self.stamp.strip_suffix(b" ").unwrap_or(&self.stamp);
        let Some(at) = stamp::rfc3339(text) else {
            let content = mem::take(&mut self.stamp);
            // It can hold no line feed, but it can be all there is of a line.
            self.open = self.open || !content.is_empty();
            self.append(&content);
            return;
        };
        if self.open && self.parts == Parts::Alike && self.at != Some(at) {
            self.close(now, out);
        }
        self.at = self.at.filter(|_| self.open).or(Some(at));
        self.open = true;
        self.part = 0;
        if !self.tty {
            self.stamp.clear();
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.part += bytes.len();
        let take = bytes.len().min(LINE_BYTES - self.line.len());
        self.line.extend_from_slice(&bytes[..take]);
        self.cut += (bytes.len() - take) as u64;
    }

    fn close(&mut self, now: LogTime, out: &mut Vec<RawLine>) {
        let mut line = mem::take(&mut self.line);
        let mut cut = mem::take(&mut self.cut);
        if cut > 0 {
            let whole = whole_characters(&line);
            cut += (line.len() - whole) as u64;
            line.truncate(whole);
        } else {
            let end = line.iter().rposition(|b| *b != b'\r').map_or(0, |last| last + 1);
            line.truncate(end);
        }
        let text = String::from_utf8(line)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        // A line without a stamp came at the earliest after the one before it.
        let at = self.at.take().map_or(now, LogTime::from_nanos);
        out.push(RawLine { at, stream: self.output, text, cut });
        self.open = false;
        self.part = 0;
    }

    fn finish(&mut self, now: LogTime, out: &mut Vec<RawLine>) {
        self.end(now, out);
        if let Expects::Again(have) = self.expects {
            let looked_like = self.stamp[..have].to_vec();
            self.append(&looked_like);
        }
        if self.open {
            self.close(now, out);
        }
        self.begin();
    }
}

/// The length without a character that was cut in two.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(4);
    match std::str::from_utf8(&bytes[tail..]) {
        Ok(_) => bytes.len(),
        Err(_) => {
            // The last byte that begins a character; of rubbish, any place is as good.
            let lead = bytes[tail..].iter().rposition(|b| *b & 0xc0 != 0x80);
            match lead.map(|at| tail + at) {
                Some(at) if bytes[at] >= 0xc0 && at + width(bytes[at]) > bytes.len() => at,
                _ => bytes.len(),
            }
        }
    }
}

fn width(lead: u8) -> usize {
    match lead {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests;
