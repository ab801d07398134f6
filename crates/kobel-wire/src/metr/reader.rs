//! Reads a stream of version 2.

use crate::{
    DeviceId, Timestamp,
    metr::{
        DEFAULT_MAX_DEVICES, Error, Record, bits,
        frame::{self, Header},
        quantity,
        row::{self, Row},
    },
};

/// What a frame says.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// When it was made.
    pub timestamp: Timestamp,
    /// Whether it is a key frame: then `records` are all devices of the stream, and a device that
    /// is not among them has left it.
    pub is_key: bool,
    /// The readings in the frame, by rising id. In a delta frame those of the devices that were
    /// read anew since the frame before, or whose state changed since the key frame. A device that
    /// is not in it was not read: what was known of it stands, and grows older.
    pub records: Vec<Record>,
}

/// Reads a stream of version 2, one frame after another.
///
/// It keeps the last key frame. A lost delta frame costs nothing but the readings in it; after a
/// lost key frame every delta yields [`Error::NeedsKeyFrame`] until the next key frame, and no
/// delta is ever read against another key frame than its own. After any error the reader is as it
/// was before.
pub struct Reader {
    key: Option<Key>,
    max_devices: usize,
}

struct Key {
    number: u32,
    /// The step of its timestamp.
    step: i64,
    rows: Vec<Row>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader of at most [`DEFAULT_MAX_DEVICES`] devices.
    pub fn new() -> Self {
        Self::with_max_devices(DEFAULT_MAX_DEVICES)
    }

    /// A reader of at most so many devices. It keeps about 50 bytes for each that a key frame
    /// has, and a frame has 3 bits for each at least.
    pub fn with_max_devices(max_devices: usize) -> Self {
        Self { key: None, max_devices }
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// [`Error::NeedsKeyFrame`] for a delta whose key frame did not come; any other [`Error`] but
    /// those of version 1 for bytes that are no frame of version 2.
    pub fn apply(&mut self, bytes: &[u8]) -> Result<Frame, Error> {
        let (header, body) = frame::read(bytes, self.max_devices)?;
        let rows = if header.is_delta {
            let has = self.key.as_ref().map(|key| key.number);
            let key = self.key.as_ref().filter(|key| key.number == header.key);
            let key = key.ok_or(Error::NeedsKeyFrame { needs: header.key, has })?;
            delta_rows(&header, body, key)?
        } else {
            key_rows(&header, body)?
        };
        let records = rows.iter().map(Row::record).collect();
        if !header.is_delta {
            let step = quantity::step(header.timestamp);
            self.key = Some(Key { number: header.key, step, rows });
        }
        Ok(Frame { timestamp: header.timestamp, is_key: !header.is_delta, records })
    }

    /// The devices of the last key frame, by rising id: none before the first.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = DeviceId> {
        let rows = self.key.as_ref().map_or(&[][..], |key| &key.rows);
        rows.iter().map(|row| DeviceId(row.id))
    }
}

/// Each row is a difference to the one before it, and its gap goes from id to id.
fn key_rows(header: &Header, body: &[u8]) -> Result<Vec<Row>, Error> {
    let now = quantity::step(header.timestamp);
    let mut bits = bits::Reader::new(body);
    let mut rows = Vec::with_capacity(header.records as usize);
    let (mut before, mut age) = (Row::ORIGIN, 0);
    let mut next = Some(0u64);
    for record in 0..header.records {
        let gap = row::read_gap(&mut bits, &header.parameters, record)?;
        let id = next
            .and_then(|next| next.checked_add(gap))
            .ok_or(Error::OutOfRange { record, field: "id" })?;
        next = id.checked_add(1);
        (before, age) =
            row::read(&mut bits, &header.parameters, (&before, age), (id, now, record))?;
        rows.push(before);
    }
    end(bits)?;
    Ok(rows)
}

/// Each row is a difference to its device's in the key frame, and its gap goes from place to
/// place there.
fn delta_rows(header: &Header, body: &[u8], key: &Key) -> Result<Vec<Row>, Error> {
    let now = quantity::step(header.timestamp);
    let mut bits = bits::Reader::new(body);
    let mut rows = Vec::with_capacity((header.records as usize).min(key.rows.len()));
    let mut next = 0u64;
    for record in 0..header.records {
        let gap = row::read_gap(&mut bits, &header.parameters, record)?;
        let place = next.saturating_add(gap);
        let base = usize::try_from(place)
            .ok()
            .and_then(|place| key.rows.get(place))
            .ok_or(Error::OutOfRange { record, field: "place in the key frame" })?;
        next = place + 1;
        let base_age = key.step - base.step;
        let identity = (base.id, now, record);
        let (row, _) = row::read(&mut bits, &header.parameters, (base, base_age), identity)?;
        rows.push(row);
    }
    end(bits)?;
    Ok(rows)
}

/// After the last record are only the zeros that fill its byte.
fn end(bits: bits::Reader<'_>) -> Result<(), Error> {
    let (left, zeros) = bits.end();
    if left < 8 && zeros { Ok(()) } else { Err(Error::TrailingBytes { bits: left }) }
}
