//! Records of segments and journals.
//!
//! A record is a header of 20 bytes, a head that is read when the store opens, and a body that is
//! read when somebody looks:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `KLR1` |
//! | 4 | kind: 1 a stream, 2 lines |
//! | 4 | bytes of the head |
//! | 4 | bytes of the body |
//! | 4 | CRC-32 of the 12 bytes before and of the head |
//!
//! All numbers are little-endian. The head says the CRC-32 of what is in the body. Where a record is
//! damaged, the next one is found by its first four bytes and its checksum.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{
    bytes::{Damaged, Input},
    identity::StreamKey,
};
use crate::logs::LogPosition;

const MAGIC: &[u8; 4] = b"KLR1";
const HEADER: usize = 20;

/// The kinds of records.
const STREAM: u32 = 1;
const LINES: u32 = 2;

/// The longest head, and the longest body.
const HEAD: usize = 64 << 10;
const BODY: u64 = 256 << 20;

/// What is known of lines without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinesHead {
    pub(super) stream: StreamKey,
    /// The number of the first line; the others follow without a hole.
    pub(super) first: u64,
    pub(super) count: u32,
    /// The oldest and the newest time.
    pub(super) span: (i64, i64),
    /// A bit for each level.
    pub(super) levels: u8,
    /// How far the container's log was read with the last of them.
    pub(super) position: Option<LogPosition>,
    /// Bytes of the filter of their words, which the body begins with, and its checksum.
    pub(super) filter: (u32, u32),
    /// The checksum of the rest, and the bytes that it unpacks to; 0 where it is not packed.
    pub(super) lines: (u32, u32),
}

impl LinesHead {
    fn write(&self) -> Vec<u8> {
        let position = self.position.unwrap_or(LogPosition { since: 0, seen: 0, newest: 0 });
        let mut out = Vec::with_capacity(86);
        out.extend_from_slice(&self.stream.0.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.span.0.to_le_bytes());
        out.extend_from_slice(&self.span.1.to_le_bytes());
        out.push(self.levels);
        out.push(u8::from(self.position.is_some()));
        out.extend_from_slice(&position.since.to_le_bytes());
        out.extend_from_slice(&position.seen.to_le_bytes());
        out.extend_from_slice(&position.newest.to_le_bytes());
        out.extend_from_slice(&self.filter.0.to_le_bytes());
        out.extend_from_slice(&self.filter.1.to_le_bytes());
        out.extend_from_slice(&self.lines.0.to_le_bytes());
        out.extend_from_slice(&self.lines.1.to_le_bytes());
        out
    }

    fn read(head: &[u8]) -> Result<Self, Damaged> {
        let mut input = Input::new(head);
        let (stream, first, count) = (StreamKey(input.u64()?), input.u64()?, input.u32()?);
        let (span, levels) = ((input.i64()?, input.i64()?), input.byte()?);
        let known = input.byte()? != 0;
        let position =
            LogPosition { since: input.i64()?, seen: input.u64()?, newest: input.i64()? };
        let position = known.then_some(position);
        let (filter, lines) = ((input.u32()?, input.u32()?), (input.u32()?, input.u32()?));
        Ok(Self { stream, first, count, span, levels, position, filter, lines })
    }
}

/// A record as it is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// JSON of a stream.
    Stream(Vec<u8>),
    Lines(LinesHead),
}

/// Where a record is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) head: Head,
    /// Where its body is in the file, and how long it is.
    pub(super) body: (u64, u32),
}

/// Writes the record of a stream behind `out`.
pub(super) fn write_stream(out: &mut Vec<u8>, json: &[u8]) {
    write(out, STREAM, json, 0);
}

/// Writes the record of lines behind `out`; its body is to follow at once.
pub(super) fn write_lines(out: &mut Vec<u8>, head: &LinesHead, body: usize) {
    write(out, LINES, &head.write(), body);
}

fn write(out: &mut Vec<u8>, kind: u32, head: &[u8], body: usize) {
    let mut header = [0; HEADER - 8];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[4..8].copy_from_slice(&(head.len() as u32).to_le_bytes());
    header[8..].copy_from_slice(&(body as u32).to_le_bytes());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&header);
    out.extend_from_slice(&checksum(&[&header, head]).to_le_bytes());
    out.extend_from_slice(head);
}

/// The CRC-32 of these bytes together.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) records: Vec<Found>,
    /// Where the last good record ends.
    pub(super) end: u64,
    /// Bytes that belong to no good record.
    pub(super) lost: u64,
}

/// Finds the records of a file, and goes on behind what is damaged.
pub(super) fn scan(file: &File) -> io::Result<Scanned> {
    let len = file.metadata()?.len();
    let mut scanned = Scanned::default();
    let mut at = 0;
    while at < len {
        match read_head(file, at, len)? {
            Some((found, end)) => {
                scanned.records.push(found);
                (scanned.end, at) = (end, end);
            }
            None => {
                let next = next_magic(file, at + 1, len)?;
                scanned.lost += next - at;
                at = next;
            }
        }
    }
    Ok(scanned)
}

fn read_head(file: &File, at: u64, len: u64) -> io::Result<Option<(Found, u64)>> {
    let mut header = [0; HEADER];
    if len - at < HEADER as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut header, at)?;
    let mut input = Input::new(&header);
    let mut number = || input.u32().unwrap_or(u32::MAX);
    let (magic, kind, head_len, body, sum) = (number(), number(), number(), number(), number());
    let body_at = at + HEADER as u64 + u64::from(head_len);
    let end = body_at + u64::from(body);
    if magic != u32::from_le_bytes(*MAGIC)
        || head_len as usize > HEAD
        || u64::from(body) > BODY
        || end > len
    {
        return Ok(None);
    }
    let mut head = vec![0; head_len as usize];
    file.read_exact_at(&mut head, at + HEADER as u64)?;
    if checksum(&[&header[4..16], &head]) != sum {
        return Ok(None);
    }
    let head = match kind {
        STREAM => Head::Stream(head),
        LINES => match LinesHead::read(&head) {
            Ok(lines) if lines.filter.0 <= body => Head::Lines(lines),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some((Found { head, body: (body_at, body) }, end)))
}

/// Where the next record may begin; `len` where there is none.
fn next_magic(file: &File, from: u64, len: u64) -> io::Result<u64> {
    let mut at = from;
    let mut buffer = vec![0; 64 << 10];
    while at < len {
        let part = buffer.len().min((len - at) as usize);
        file.read_exact_at(&mut buffer[..part], at)?;
        if let Some(found) = memchr::memmem::find(&buffer[..part], MAGIC) {
            return Ok(at + found as u64);
        }
        if at + part as u64 == len {
            break;
        }
        // One may begin in this part and end in the next.
        at += part as u64 - 3;
    }
    Ok(len)
}
