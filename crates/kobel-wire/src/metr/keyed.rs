//! Makes a stream of version 2.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    DeviceId, Timestamp,
    metr::{Record, frame, quantity, row::Row, row::Rows},
};

/// A key frame comes at least this often.
const KEY_PERIOD: Duration = Duration::from_secs(30);

/// A frame as its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The frame.
    pub bytes: Bytes,
    /// Whether it is a key frame.
    pub is_key: bool,
}

/// Makes the frames of one stream: for viewers that all get the same devices at the same rate.
///
/// It decides which frames are key frames: the first; when a device appeared or left; every 30 s;
/// when a delta frame would be as big; when the clock was set back; when it is asked to.
///
/// A viewer that comes between two key frames is given [`KeyedEncoder::catch_up`] and then
/// understands all that follows.
pub struct KeyedEncoder {
    next_key: u32,
    key_period: Duration,
    key: Option<Key>,
    /// The newest row of each device, by rising id. In step with the key's, place by place,
    /// unless `key_due`.
    latest: Vec<Row>,
    /// Which places the frame has rows for; kept for its memory, as are the two after the next.
    touched: Vec<bool>,
    /// Which places had another state since the key frame.
    unsettled: Vec<bool>,
    newcomers: Vec<Row>,
    rows: Rows,
    /// Something makes the next frame a key frame.
    key_due: bool,
    /// When the last frame was made.
    timestamp: Timestamp,
    /// What [`KeyedEncoder::catch_up`] made since the last frame.
    caught_up: Option<Bytes>,
}

struct Key {
    number: u32,
    timestamp: Timestamp,
    bytes: Bytes,
    /// As a reader has them.
    rows: Vec<Row>,
}

impl KeyedEncoder {
    /// An encoder whose first key frame has this number; each after it has the next.
    ///
    /// A reader tells key frames apart by their numbers alone: give each encoder a start of its
    /// own, for instance a random one, so that a viewer that is moved from one to another (another
    /// rate, a restarted hub) does not take the one's for the other's.
    pub fn new(first_key: u32) -> Self {
        Self {
            next_key: first_key,
            key_period: KEY_PERIOD,
            key: None,
            latest: Vec::new(),
            touched: Vec::new(),
            unsettled: Vec::new(),
            newcomers: Vec::new(),
            rows: Rows::default(),
            key_due: true,
            timestamp: Timestamp::default(),
            caught_up: None,
        }
    }

    /// With key frames at least so often, in place of every 30 s.
    #[must_use]
    pub fn with_key_period(mut self, period: Duration) -> Self {
        self.key_period = period;
        self
    }

    /// The frame of a tick: of the devices that were read anew, or whose state changed, since the
    /// tick before. Sorted records are cheaper; of two with the same id the later counts.
    ///
    /// A device that was not in the stream joins it. One that is not among the records stays in
    /// it, with its last reading, until [`KeyedEncoder::remove`].
    ///
    /// A delta frame also repeats each device whose state changed since the key frame, so that a
    /// lost frame leaves no viewer with a wrong state for longer than a tick.
    pub fn encode(&mut self, timestamp: Timestamp, records: &[Record]) -> Encoded {
        self.timestamp = timestamp;
        self.caught_up = None;
        self.take(records);
        let delta = match &self.key {
            Some(key) if !self.key_due && !key.is_over(timestamp, self.key_period) => {
                Some(delta(&mut self.rows, key, timestamp, &self.latest, |place, _, _| {
                    self.touched[place] || self.unsettled[place]
                }))
                .filter(|delta| delta.len() < key.bytes.len())
            }
            _ => None,
        };
        match delta {
            Some(bytes) => Encoded { bytes, is_key: false },
            None => Encoded { bytes: self.new_key(), is_key: true },
        }
    }

    /// Takes in readings without a frame: for [`KeyedEncoder::catch_up`] between two ticks. Whoever
    /// is in the stream already gets them where they are among those of the next
    /// [`KeyedEncoder::encode`].
    pub fn observe(&mut self, timestamp: Timestamp, records: &[Record]) {
        self.timestamp = timestamp;
        self.caught_up = None;
        self.take(records);
    }

    /// Makes the next frame a key frame.
    pub fn force_key(&mut self) {
        self.key_due = true;
    }

    /// Takes a device out of the stream: the next frame is a key frame without it. False if it was
    /// not in it.
    pub fn remove(&mut self, id: DeviceId) -> bool {
        let before = self.latest.len();
        self.retain(|member| member != id);
        self.latest.len() < before
    }

    /// Keeps only these devices in the stream; if one leaves, the next frame is a key frame.
    pub fn retain(&mut self, mut keep: impl FnMut(DeviceId) -> bool) {
        let before = self.latest.len();
        self.latest.retain(|row| keep(DeviceId(row.id)));
        self.key_due |= self.latest.len() < before;
    }

    /// The devices in the stream.
    pub fn devices(&self) -> usize {
        self.latest.len()
    }

    /// The last key frame again; `None` before the first. It may be 30 s old: see
    /// [`KeyedEncoder::catch_up`].
    pub fn key_frame(&self) -> Option<Bytes> {
        self.key.as_ref().map(|key| key.bytes.clone())
    }

    /// What a viewer needs that comes now, or that missed frames: the last key frame, and a delta
    /// frame of every device whose last reading is not the key frame's, unless there is none. All
    /// frames after that go to it as to the others. Empty before the first frame.
    ///
    /// Made once between two frames, however often it is asked for.
    pub fn catch_up(&mut self) -> Vec<Bytes> {
        let Some(key) = &self.key else { return Vec::new() };
        let mut frames = vec![key.bytes.clone()];
        // Devices that joined or left meanwhile come with the key frame that is due.
        let in_step = key.rows.len() == self.latest.len()
            && key.rows.iter().zip(&self.latest).all(|(base, row)| base.id == row.id);
        if in_step && key.timestamp != self.timestamp {
            let delta = self.caught_up.get_or_insert_with(|| {
                delta(&mut self.rows, key, self.timestamp, &self.latest, |place, row, base| {
                    row != base || self.unsettled[place]
                })
            });
            frames.push(delta.clone());
        }
        frames
    }

    /// Takes the records over into `latest`, and marks their places.
    fn take(&mut self, records: &[Record]) {
        self.touched.clear();
        self.touched.resize(self.latest.len(), false);
        let mut expected = 0;
        for record in records {
            let row = Row::of(record);
            let place = if self.latest.get(expected).is_some_and(|known| known.id == row.id) {
                Ok(expected)
            } else {
                self.latest.binary_search_by_key(&row.id, |known| known.id)
            };
            match place {
                Ok(place) => {
                    // Until a key frame settles it, also if the state comes back to what it was: a
                    // viewer may have seen the one change and not the other.
                    if self.latest[place].state != row.state
                        && let Some(unsettled) = self.unsettled.get_mut(place)
                    {
                        *unsettled = true;
                    }
                    self.latest[place] = row;
                    self.touched[place] = true;
                    expected = place + 1;
                }
                Err(_) => self.newcomers.push(row),
            }
        }
        if !self.newcomers.is_empty() {
            self.key_due = true;
            // The sort is stable and the later of two comes first: the other goes.
            self.latest.extend(self.newcomers.drain(..).rev());
            self.latest.sort_by_key(|row| row.id);
            self.latest.dedup_by_key(|row| row.id);
        }
    }

    fn new_key(&mut self) -> Bytes {
        let now = quantity::step(self.timestamp);
        let number = self.next_key;
        self.next_key = number.wrapping_add(1);
        self.key_due = false;
        self.unsettled.clear();
        self.unsettled.resize(self.latest.len(), false);

        self.rows.clear();
        let (mut before, mut before_age) = (Row::ORIGIN, 0);
        let mut next = 0u64;
        let mut seen = Vec::with_capacity(self.latest.len());
        for row in &mut self.latest {
            let age = row.age(now);
            row.inherit(&before);
            self.rows.add(row.id - next, (row, age), (&before, before_age));
            // The last possible id is followed by none.
            next = row.id.wrapping_add(1);
            (before, before_age) = (row.as_said(now), age);
            seen.push(before);
        }
        let bytes: Bytes = frame::write(false, self.timestamp, number, &self.rows).into();
        let timestamp = self.timestamp;
        self.key = Some(Key { number, timestamp, bytes: bytes.clone(), rows: seen });
        bytes
    }
}

impl Key {
    /// Whether it is time for the next, or the clock was set back.
    fn is_over(&self, now: Timestamp, period: Duration) -> bool {
        let age = now.as_millis().saturating_sub(self.timestamp.as_millis());
        u64::try_from(age).map_or(true, |age| u128::from(age) >= period.as_millis())
    }
}

/// The delta frame of the rows that `pick` picks by their place, themselves and their base.
fn delta(
    rows: &mut Rows,
    key: &Key,
    timestamp: Timestamp,
    latest: &[Row],
    pick: impl Fn(usize, &Row, &Row) -> bool,
) -> Bytes {
    let now = quantity::step(timestamp);
    let key_step = quantity::step(key.timestamp);
    rows.clear();
    let mut next = 0;
    for (place, (row, base)) in latest.iter().zip(&key.rows).enumerate() {
        if pick(place, row, base) {
            let gap = (place - next) as u64;
            rows.add(gap, (row, row.age(now)), (base, key_step - base.step));
            next = place + 1;
        }
    }
    frame::write(true, timestamp, key.number, rows).into()
}
