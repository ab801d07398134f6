//! The header of version 2.

use crate::{
    Timestamp,
    metr::{
        Error,
        row::{COLUMNS, LEAST_BITS, Rows},
    },
};

/// The first four bytes of version 2: "METR" as text. Version 1 begins with "RTEM".
pub const MAGIC: [u8; 4] = *b"METR";
/// The byte after the magic.
pub const VERSION: u8 = 2;
/// The flag of a delta frame; a frame without it is a key frame.
pub const FLAG_DELTA: u8 = 1;
/// Bytes before the records.
pub const HEADER_LEN: usize = 28;

/// What is before the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_delta: bool,
    pub(super) timestamp: Timestamp,
    /// The number of this key frame, or of the one that the delta is against.
    pub(super) key: u32,
    pub(super) records: u32,
    pub(super) parameters: [u32; COLUMNS],
}

/// The frame of these rows.
pub(super) fn write(is_delta: bool, timestamp: Timestamp, key: u32, rows: &Rows) -> Vec<u8> {
    let parameters = rows.parameters();
    // Rows take 3 bits and more: 2³² of them do not fit in memory.
    let records = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER_LEN + rows.len() * 16);
    bytes.extend(MAGIC);
    bytes.push(VERSION);
    bytes.push(if is_delta { FLAG_DELTA } else { 0 });
    // Kept for later; 0 until then.
    bytes.extend([0, 0]);
    bytes.extend(timestamp.as_millis().to_le_bytes());
    bytes.extend(key.to_le_bytes());
    bytes.extend(records.to_le_bytes());
    for pair in parameters.chunks_exact(2) {
        bytes.push((pair[0] | pair[1] << 4) as u8);
    }
    rows.write(bytes, &parameters)
}

/// Reads the header; the records are the rest of the bytes.
pub(super) fn read(bytes: &[u8], max_records: usize) -> Result<(Header, &[u8]), Error> {
    if let Some(found) = bytes.first_chunk::<4>()
        && *found != MAGIC
    {
        return Err(Error::BadMagic { found: *found, expected: MAGIC });
    }
    // Before the length: another version may well have a shorter header.
    if let Some(version) = bytes.get(4)
        && *version != VERSION
    {
        return Err(Error::UnsupportedVersion(*version));
    }
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(Error::TooShort { need: HEADER_LEN, have: bytes.len() });
    };
    let [_, _, _, _, _, flags, later0, later1, rest @ ..] = *header;
    let [t0, t1, t2, t3, t4, t5, t6, t7, rest @ ..] = rest;
    let [k0, k1, k2, k3, r0, r1, r2, r3, p0, p1, p2, p3] = rest;
    let unknown = flags & !FLAG_DELTA | later0 | later1;
    if unknown != 0 {
        return Err(Error::UnsupportedFlags(unknown));
    }

    let ms = i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
    let timestamp = Timestamp::from_millis(ms);
    if timestamp.as_millis() != ms {
        return Err(Error::BadTimestamp(ms));
    }

    let records = u32::from_le_bytes([r0, r1, r2, r3]);
    let need = HEADER_LEN as u64 + (u64::from(records) * LEAST_BITS).div_ceil(8);
    if need > bytes.len() as u64 {
        return Err(Error::LengthMismatch { records, need, have: bytes.len() });
    }
    if records as usize > max_records {
        return Err(Error::TooManyRecords { records, limit: max_records });
    }

    let mut parameters = [0; COLUMNS];
    for (pair, byte) in parameters.chunks_exact_mut(2).zip([p0, p1, p2, p3]) {
        pair.copy_from_slice(&[u32::from(byte & 15), u32::from(byte >> 4)]);
    }
    let header = Header {
        is_delta: flags & FLAG_DELTA != 0,
        timestamp,
        key: u32::from_le_bytes([k0, k1, k2, k3]),
        records,
        parameters,
    };
    Ok((header, body))
}
