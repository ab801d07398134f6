//! METR version 2 from outside: whatever the bytes are, a value or an error that says what is
//! wrong, and a reader that goes on as before.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as the tests do")]

use kobel_wire::{
    DeviceId, Timestamp,
    metr::{Error, FLAG_DELTA, HEADER_LEN, KeyedEncoder, Reader, Record},
};
use proptest::prelude::*;

const START: i64 = 1_795_000_000_000;

fn records(count: u64, cpu: f64) -> Vec<Record> {
    let record = |id| {
        let mut record = Record::empty(DeviceId(id * id), Timestamp::from_millis(START));
        record.cpu = Some(cpu);
        record.temperature = (id % 2 == 0).then_some(40.0 + id as f64);
        record.network_in = Some(10f64.powi(id as i32));
        record
    };
    (0..count).map(record).collect()
}

/// A key frame of nine devices, and a delta against it.
fn frames() -> [Vec<u8>; 2] {
    let mut encoder = KeyedEncoder::new(7);
    let key = encoder.encode(Timestamp::from_millis(START), &records(9, 10.0));
    let delta = encoder.encode(Timestamp::from_millis(START + 1_000), &records(9, 12.0));
    assert!(key.is_key && !delta.is_key);
    [key.bytes.to_vec(), delta.bytes.to_vec()]
}

fn reader_with_key() -> Reader {
    let mut reader = Reader::new();
    reader.apply(&frames()[0]).unwrap();
    reader
}

fn error(bytes: &[u8]) -> Error {
    let mut reader = reader_with_key();
    let error = reader.apply(bytes).unwrap_err();
    // The reader is as it was.
    assert_eq!(reader.devices().len(), 9);
    assert_eq!(reader.apply(&frames()[1]).unwrap().records.len(), 9);
    error
}

/// The frame with some bytes in place of its own.
fn patched(frame: &[u8], place: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[place..place + bytes.len()].copy_from_slice(bytes);
    frame
}

#[test]
fn every_cut_is_an_error() {
    for frame in frames() {
        for cut in 0..frame.len() {
            match error(&frame[..cut]) {
                Error::TooShort { need: HEADER_LEN, have } => {
                    assert!(have == cut && cut < HEADER_LEN);
                }
                Error::LengthMismatch { records: 9, need, have } => {
                    assert!(have == cut && need > cut as u64 && cut >= HEADER_LEN);
                }
                Error::Truncated { record } => assert!(record < 9 && cut >= HEADER_LEN),
                other => panic!("{cut}: {other}"),
            }
        }
    }
}

#[test]
fn every_wrong_magic_version_and_flag_is_an_error() {
    for frame in frames() {
        for bit in 0..32 {
            let bad = patched(&frame, bit / 8, &[frame[bit / 8] ^ 1 << (bit % 8)]);
            assert!(matches!(error(&bad), Error::BadMagic { .. }), "bit {bit}");
        }
        for version in (0..=255).filter(|version| *version != 2) {
            let bad = patched(&frame, 4, &[version]);
            assert_eq!(error(&bad), Error::UnsupportedVersion(version));
        }
        for flags in (0..=255).filter(|flags| flags & !FLAG_DELTA != 0) {
            let bad = patched(&frame, 5, &[flags]);
            assert_eq!(error(&bad), Error::UnsupportedFlags(flags & !FLAG_DELTA));
        }
        assert!(matches!(error(&patched(&frame, 6, &[1])), Error::UnsupportedFlags(1)));
        assert!(matches!(error(&patched(&frame, 7, &[1])), Error::UnsupportedFlags(1)));
    }
    assert!(matches!(error(b"RTEM"), Error::BadMagic { .. }), "version 1");
}

#[test]
fn every_other_count_is_an_error() {
    for frame in frames() {
        let count = |count: u32| error(&patched(&frame, 20, &count.to_le_bytes()));
        for fewer in 0..9 {
            assert!(matches!(count(fewer), Error::TrailingBytes { .. }), "{fewer}");
        }
        assert!(matches!(count(10), Error::Truncated { record: 9 } | Error::OutOfRange { .. }));
        assert!(matches!(count(u32::MAX), Error::LengthMismatch { records: u32::MAX, .. }));
    }
}

#[test]
fn what_follows_the_last_record_is_an_error() {
    for frame in frames() {
        let long = [&frame[..], &[0]].concat();
        assert!(matches!(error(&long), Error::TrailingBytes { bits: 8..16 }));
    }
    // Less than a byte is left, and it is not zero.
    let [key, _] = frames();
    let mut full = key.clone();
    *full.last_mut().unwrap() |= 0x80;
    if full != key {
        assert!(matches!(error(&full), Error::TrailingBytes { bits: 1..8 }));
    }
}

#[test]
fn a_time_outside_the_calendar_is_an_error() {
    for ms in [i64::MIN, -62_167_219_200_001, 253_402_300_800_000, i64::MAX] {
        let bad = patched(&frames()[0], 8, &ms.to_le_bytes());
        assert_eq!(error(&bad), Error::BadTimestamp(ms));
    }
}

#[test]
fn a_delta_against_another_key_frame_is_an_error() {
    let [key, delta] = frames();
    let other = patched(&delta, 16, &8u32.to_le_bytes());
    assert_eq!(error(&other), Error::NeedsKeyFrame { needs: 8, has: Some(7) });
    let none = Reader::new().apply(&delta).unwrap_err();
    assert_eq!(none, Error::NeedsKeyFrame { needs: 7, has: None });
    assert_eq!(none.to_string(), "METR delta against key frame 7: the reader has none");
    // A delta of more places than the key frame has.
    let mut reader = Reader::new();
    let mut encoder = KeyedEncoder::new(7);
    let now = Timestamp::from_millis(START);
    reader.apply(&encoder.encode(now, &records(3, 10.0)).bytes).unwrap();
    let beyond = Error::OutOfRange { record: 3, field: "place in the key frame" };
    assert_eq!(reader.apply(&delta).unwrap_err(), beyond);
    assert!(Reader::new().apply(&key).is_ok());
}

#[test]
fn more_devices_than_allowed_are_refused_before_they_are_decoded() {
    let mut reader = Reader::with_max_devices(8);
    let error = reader.apply(&frames()[0]).unwrap_err();
    assert_eq!(error, Error::TooManyRecords { records: 9, limit: 8 });
    assert!(Reader::with_max_devices(9).apply(&frames()[0]).is_ok());
}

/// Records of three bits, as small as they can be, written by hand: gap, "as before", age.
#[test]
fn ids_and_values_beyond_their_range_are_errors() {
    let [key, _] = frames();
    let header = |records: u32, parameters: [u8; 4]| {
        let key = patched(&key, 20, &records.to_le_bytes());
        patched(&key, 24, &parameters)[..HEADER_LEN].to_vec()
    };
    let frame = |records: u32, bits: &str| {
        let mut frame = header(records, [0; 4]);
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        for byte in bits.chunks(8) {
            frame.push(byte.iter().rev().fold(0, |byte, bit| byte << 1 | bit));
        }
        frame
    };
    // In order: lowest bit first. A gap of 2^64-1 in full: 16 ones, 63 in six bits, 64 ones.
    let greatest = format!("{} 111111 {}", "1".repeat(16), "1".repeat(64));
    // No values at all: "otherwise", state 0, none of six.
    let empty = "1 000 000000 0";
    let mut reader = Reader::new();
    let one = reader.apply(&frame(1, &format!("{greatest} {empty}"))).unwrap();
    assert_eq!(one.records[0].id, DeviceId(u64::MAX));
    let two = frame(2, &format!("{greatest} {empty} 0 0 0"));
    assert_eq!(error(&two), Error::OutOfRange { record: 1, field: "id" });
    let state = frame(1, "0 1 011 000000 0");
    assert_eq!(error(&state), Error::OutOfRange { record: 0, field: "state" });
    // Zigzag 1 is -1.
    let age = frame(1, "0 1 000 000000 10");
    assert_eq!(error(&age), Error::OutOfRange { record: 0, field: "age" });
    let cpu = frame(1, "0 0 0 10 0 0 0 0 0");
    assert_eq!(error(&cpu), Error::OutOfRange { record: 0, field: "cpu" });
    let rate = frame(1, &format!("0 0 0 0 0 0 0 0 {greatest}"));
    assert_eq!(error(&rate), Error::OutOfRange { record: 0, field: "network out" });
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_an_error(
        body in prop::collection::vec(any::<u8>(), 0..200),
        parameters: [u8; 4],
        count in 0u32..80,
        is_delta: bool,
    ) {
        let [key, delta] = frames();
        let mut bytes = if is_delta { &delta } else { &key }[..HEADER_LEN].to_vec();
        bytes[20..24].copy_from_slice(&count.to_le_bytes());
        bytes[24..28].copy_from_slice(&parameters);
        bytes.extend(body);
        if let Ok(frame) = reader_with_key().apply(&bytes) {
            prop_assert_eq!(frame.records.len(), count as usize);
            prop_assert!(frame.records.is_sorted_by(|a, b| a.id < b.id));
        }
        let _ = reader_with_key().apply(&bytes[HEADER_LEN..]);
    }

    #[test]
    fn a_frame_with_wrong_bits_is_a_frame_or_an_error(
        is_delta: bool,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..4),
    ) {
        let [key, delta] = frames();
        let mut bytes = if is_delta { delta } else { key };
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        let mut reader = reader_with_key();
        let _ = reader.apply(&bytes);
        let _ = reader.apply(&frames()[1]);
    }
}
