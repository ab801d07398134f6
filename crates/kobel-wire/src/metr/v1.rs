//! Version 1: the post's format, little-endian. 12 bytes, then 20 for each device.

use bytes::Bytes;

use crate::{
    DeviceId, Timestamp,
    metr::{Error, Record, quantity},
};

/// The first four bytes: 0x4D455452 ("METR"), little-endian as all the rest.
const MAGIC: [u8; 4] = 0x4D45_5452_u32.to_le_bytes();
const HEADER_LEN: usize = 12;
const RECORD_LEN: usize = 20;
const NO_PERCENT: u16 = 0xFFFF;
const NO_TEMPERATURE: i16 = i16::MIN;

/// A frame of version 1.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameV1 {
    /// When it was made, restored from its low 32 bits.
    pub timestamp: Timestamp,
    /// A reading for each device.
    pub readings: Vec<ReadingV1>,
}

/// What version 1 says of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadingV1 {
    /// The device's short number.
    pub id: DeviceId,
    /// Processor time, percent of all cores, to a hundredth.
    pub cpu: Option<f64>,
    /// Used memory, percent, to a hundredth.
    pub memory: Option<f64>,
    /// Used space of the root filesystem, percent, to a hundredth.
    pub disk: Option<f64>,
    /// Temperature of the processor, °C, to a tenth.
    pub temperature: Option<f64>,
    /// Bytes received per second, at most 4294967295; 0 where the host does not say, too.
    pub network_in: u32,
}

/// A frame of version 1 of these records, made at `timestamp`.
///
/// State, age and bytes sent are not in it. Values beyond a field's range become the nearest in
/// it.
pub fn encode_v1(timestamp: Timestamp, records: &[Record]) -> Bytes {
    // A frame of 2³² devices does not fit in memory.
    let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER_LEN + records.len() * RECORD_LEN);
    bytes.extend(MAGIC);
    bytes.extend(count.to_le_bytes());
    bytes.extend((timestamp.as_millis() as u32).to_le_bytes());
    for record in records {
        let percent = |value| quantity::percent(value).map_or(NO_PERCENT, |value| value as u16);
        let temperature =
            quantity::temperature(record.temperature).map_or(NO_TEMPERATURE, |value| value as i16);
        bytes.extend(record.id.0.to_le_bytes());
        bytes.extend(percent(record.cpu).to_le_bytes());
        bytes.extend(percent(record.memory).to_le_bytes());
        bytes.extend(percent(record.disk).to_le_bytes());
        bytes.extend(temperature.to_le_bytes());
        bytes.extend(quantity::rate_v1(record.network_in).to_le_bytes());
    }
    bytes.into()
}

/// Reads a frame of version 1. `now` is the reader's own clock: of the instants whose low 32 bits
/// are the frame's, the frame's is the one nearest to it, so it may be off by 24 days.
///
/// # Errors
/// [`Error::BadMagic`], [`Error::TooShort`], and [`Error::LengthMismatch`] unless the length is
/// exactly that of the records counted.
pub fn decode_v1(bytes: &[u8], now: Timestamp) -> Result<FrameV1, Error> {
    if let Some(found) = bytes.first_chunk::<4>()
        && *found != MAGIC
    {
        return Err(Error::BadMagic { found: *found, expected: MAGIC });
    }
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(Error::TooShort { need: HEADER_LEN, have: bytes.len() });
    };
    let [.., c0, c1, c2, c3, t0, t1, t2, t3] = *header;
    let records = u32::from_le_bytes([c0, c1, c2, c3]);
    let low = u32::from_le_bytes([t0, t1, t2, t3]);

    let need = HEADER_LEN as u64 + u64::from(records) * RECORD_LEN as u64;
    if need != bytes.len() as u64 {
        return Err(Error::LengthMismatch { records, need, have: bytes.len() });
    }
    let (rows, _) = body.as_chunks::<RECORD_LEN>();
    Ok(FrameV1 { timestamp: nearest(low, now), readings: rows.iter().map(reading).collect() })
}

fn reading(row: &[u8; RECORD_LEN]) -> ReadingV1 {
    let [i0, i1, i2, i3, i4, i5, i6, i7, c0, c1, m0, m1, d0, d1, t0, t1, n0, n1, n2, n3] = *row;
    let percent = |bytes| {
        let hundredths = u16::from_le_bytes(bytes);
        (hundredths != NO_PERCENT).then(|| quantity::percent_back(hundredths.into()))
    };
    let tenths = i16::from_le_bytes([t0, t1]);
    ReadingV1 {
        id: DeviceId(u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7])),
        cpu: percent([c0, c1]),
        memory: percent([m0, m1]),
        disk: percent([d0, d1]),
        temperature: (tenths != NO_TEMPERATURE).then(|| quantity::temperature_back(tenths.into())),
        network_in: u32::from_le_bytes([n0, n1, n2, n3]),
    }
}

/// The instant nearest to `now` whose low 32 bits these are.
fn nearest(low: u32, now: Timestamp) -> Timestamp {
    let ahead = low.wrapping_sub(now.as_millis() as u32) as i32;
    Timestamp::from_millis(now.as_millis() + i64::from(ahead))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn record() -> Record {
        let mut record = Record::empty(DeviceId(7), at(1_795_000_000_000));
        record.cpu = Some(12.34);
        record.temperature = Some(-5.5);
        record.network_in = Some(1e6);
        record
    }

    #[test]
    fn the_bytes_are_those_of_the_post() {
        let bytes = encode_v1(at(0x1_2345_6789), &[record()]);
        assert_eq!(
            bytes[..],
            [
                0x52, 0x54, 0x45, 0x4D, 1, 0, 0, 0, 0x89, 0x67, 0x45, 0x23, // header
                7, 0, 0, 0, 0, 0, 0, 0, 0xD2, 0x04, 0xFF, 0xFF, 0xFF, 0xFF, 0xC9, 0xFF, 0x40, 0x42,
                0x0F, 0x00,
            ]
        );
        let frame = decode_v1(&bytes, at(0x1_2345_0000)).unwrap();
        assert_eq!(frame.timestamp, at(0x1_2345_6789));
        let reading = frame.readings[0];
        assert_eq!((reading.cpu, reading.memory, reading.disk), (Some(12.34), None, None));
        assert_eq!((reading.temperature, reading.network_in), (Some(-5.5), 1_000_000));
    }

    #[test]
    fn values_saturate() {
        let mut record = record();
        (record.cpu, record.memory, record.disk) = (Some(1e9), Some(-3.0), Some(f64::NAN));
        (record.temperature, record.network_in) = (Some(1e9), Some(5e9));
        let frame = decode_v1(&encode_v1(at(0), &[record]), at(0)).unwrap();
        let reading = frame.readings[0];
        assert_eq!((reading.cpu, reading.memory, reading.disk), (Some(655.34), Some(0.0), None));
        assert_eq!((reading.temperature, reading.network_in), (Some(3276.7), u32::MAX));
    }

    #[test]
    fn the_time_is_the_nearest_to_the_readers_clock() {
        let half = 1i64 << 31;
        for (made, now, read) in [
            (1_795_000_000_000, 1_795_000_000_000, 1_795_000_000_000),
            (1_795_000_000_000, 1_795_000_000_000 + half, 1_795_000_000_000),
            (1_795_000_000_000, 1_795_000_000_000 - half + 1, 1_795_000_000_000),
            // Beyond 24 days the reader takes the next turn of the 32 bits.
            (1_795_000_000_000, 1_795_000_000_000 + half + 1, 1_795_000_000_000 + (1 << 32)),
        ] {
            let frame = decode_v1(&encode_v1(at(made), &[]), at(now)).unwrap();
            assert_eq!(frame.timestamp, at(read), "made {made}, now {now}");
        }
    }

    #[test]
    fn every_other_length_and_magic_is_an_error() {
        let good = encode_v1(at(0), &[record(), record()]);
        for cut in 0..good.len() {
            let expected = if cut < 12 {
                Error::TooShort { need: 12, have: cut }
            } else {
                Error::LengthMismatch { records: 2, need: 52, have: cut }
            };
            assert_eq!(decode_v1(&good[..cut], at(0)), Err(expected));
        }
        let long = [&good[..], &[0]].concat();
        let expected = Error::LengthMismatch { records: 2, need: 52, have: 53 };
        assert_eq!(decode_v1(&long, at(0)), Err(expected));
        for byte in 0..4 {
            let mut bad = good.to_vec();
            bad[byte] ^= 1;
            assert!(matches!(decode_v1(&bad, at(0)), Err(Error::BadMagic { .. })));
        }
        // A count that would need 80 GB.
        let mut bad = good.to_vec();
        bad[4..8].fill(0xFF);
        let need = 12 + 20 * u64::from(u32::MAX);
        let expected = Error::LengthMismatch { records: u32::MAX, need, have: 52 };
        assert_eq!(decode_v1(&bad, at(0)), Err(expected));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0u32..6) {
            let _ = decode_v1(&bytes, at(0));
            let mut framed = [&MAGIC[..], &count.to_le_bytes(), &bytes].concat();
            if let Ok(frame) = decode_v1(&framed, at(0)) {
                prop_assert_eq!(frame.readings.len(), count as usize);
            }
            framed.truncate(12 + 20 * count as usize);
            prop_assert_eq!(
                decode_v1(&framed, at(0)).is_ok(),
                framed.len() == 12 + 20 * count as usize
            );
        }

        #[test]
        fn values_come_back_to_their_precision(
            id: u64,
            cpu in prop::option::of(0.0..=100.0f64),
            temperature in prop::option::of(-100.0..150.0f64),
            network_in in 0.0..4e9f64,
        ) {
            let mut record = Record::empty(DeviceId(id), at(0));
            (record.cpu, record.temperature, record.network_in) = (cpu, temperature, Some(network_in));
            let frame = decode_v1(&encode_v1(at(0), &[record]), at(0)).unwrap();
            let reading = frame.readings[0];
            prop_assert_eq!(reading.id, record.id);
            prop_assert_eq!(reading.cpu.is_some(), cpu.is_some());
            prop_assert!((reading.cpu.unwrap_or(0.0) - cpu.unwrap_or(0.0)).abs() <= 0.005 + 1e-9);
            let off = reading.temperature.unwrap_or(0.0) - temperature.unwrap_or(0.0);
            prop_assert!(off.abs() <= 0.05 + 1e-9);
            prop_assert!((f64::from(reading.network_in) - network_in).abs() <= 0.5);
        }
    }
}
