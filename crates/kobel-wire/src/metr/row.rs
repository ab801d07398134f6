//! A record as version 2 writes it: whole numbers, each a difference to another row's.

use crate::{
    DeviceId, Timestamp,
    metr::{
        Error, Record,
        bits::{Lengths, Reader, Writer, unzigzag, zigzag},
        quantity::{self, PERCENT_MAX, RATE_MAX, STATES, STEP_MS, TEMPERATURE_MAX},
    },
};

/// The values of a row, in the order in which they are written: name, least and greatest.
const FIELDS: [(&str, i32, i32); 6] = [
    ("cpu", 0, PERCENT_MAX),
    ("memory", 0, PERCENT_MAX),
    ("disk", 0, PERCENT_MAX),
    ("temperature", -TEMPERATURE_MAX, TEMPERATURE_MAX),
    ("network in", 0, RATE_MAX),
    ("network out", 0, RATE_MAX),
];

/// Each has a parameter of its own in the header: the gap, the age, and the values.
pub(super) const COLUMNS: usize = 2 + FIELDS.len();

/// The fewest bits in which a record can be: gap, "as before", age.
pub(super) const LEAST_BITS: u64 = 3;

/// The greatest age, 497 days. What is older is said to be so old.
const AGE_MAX: i64 = u32::MAX as i64;

/// A record in whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: u64,
    /// When the host was read, in steps of 10 ms since the epoch.
    pub(super) step: i64,
    pub(super) state: u8,
    /// Bit `n` says that field `n` has a value.
    present: u8,
    /// Where a value is absent, the one that the row was a difference to: so encoder and reader
    /// agree on it without a bit written.
    values: [i32; FIELDS.len()],
}

impl Row {
    /// What the first row of a key frame is a difference to.
    pub(super) const ORIGIN: Self = Self {
        id: 0,
        step: 0,
        state: 0,
        present: (1 << FIELDS.len()) - 1,
        values: [0; FIELDS.len()],
    };

    /// The record in whole numbers; absent values are 0 until [`Row::inherit`].
    pub(super) fn of(record: &Record) -> Self {
        let values = [
            quantity::percent(record.cpu),
            quantity::percent(record.memory),
            quantity::percent(record.disk),
            quantity::temperature(record.temperature),
            quantity::rate(record.network_in),
            quantity::rate(record.network_out),
        ];
        let mut present = 0;
        for (field, value) in values.iter().enumerate() {
            present |= u8::from(value.is_some()) << field;
        }
        Self {
            id: record.id.0,
            step: quantity::step(record.sampled_at),
            state: quantity::state(record.state),
            present,
            values: values.map(Option::unwrap_or_default),
        }
    }

    /// The record that a reader sees.
    pub(super) fn record(&self) -> Record {
        let value = |field: usize| (self.present >> field & 1 == 1).then(|| self.values[field]);
        Record {
            id: DeviceId(self.id),
            // The number was checked when it was read.
            state: STATES[usize::from(self.state) % STATES.len()],
            sampled_at: Timestamp::from_millis(self.step * STEP_MS),
            cpu: value(0).map(quantity::percent_back),
            memory: value(1).map(quantity::percent_back),
            disk: value(2).map(quantity::percent_back),
            temperature: value(3).map(quantity::temperature_back),
            network_in: value(4).map(quantity::rate_back),
            network_out: value(5).map(quantity::rate_back),
        }
    }

    /// How old the row is in a frame made in `now`, in steps: a row from after the frame is 0.
    pub(super) fn age(&self, now: i64) -> i64 {
        now.saturating_sub(self.step).clamp(0, AGE_MAX)
    }

    /// The row as a frame made in `now` says it.
    pub(super) fn as_said(&self, now: i64) -> Self {
        Self { step: now - self.age(now), ..*self }
    }

    /// Takes the base's values where it has none itself, as the reader will.
    pub(super) fn inherit(&mut self, base: &Self) {
        for (field, value) in self.values.iter_mut().enumerate() {
            if self.present >> field & 1 == 0 {
                *value = base.values[field];
            }
        }
    }
}

/// Rows on their way into a frame. They wait until all are there, for the parameters that suit
/// them are written before them. Kept between frames for its memory.
#[derive(Default)]
pub(super) struct Rows {
    waiting: Vec<Symbols>,
    lengths: [Lengths; COLUMNS],
}

/// The numbers that say a row.
struct Symbols {
    gap: u64,
    /// State and presence, where they are not the base's.
    kind: Option<(u8, u8)>,
    age: u64,
    present: u8,
    values: [u64; FIELDS.len()],
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.lengths = Default::default();
    }

    /// Adds a row `gap` places after the one before, as a difference to `base`.
    pub(super) fn add(&mut self, gap: u64, (row, age): (&Row, i64), (base, base_age): (&Row, i64)) {
        let same = (row.state, row.present) == (base.state, base.present);
        let mut symbols = Symbols {
            gap,
            kind: (!same).then_some((row.state, row.present)),
            age: zigzag(age - base_age),
            present: row.present,
            values: [0; FIELDS.len()],
        };
        self.lengths[0].count(symbols.gap);
        self.lengths[1].count(symbols.age);
        for field in 0..FIELDS.len() {
            if row.present >> field & 1 == 1 {
                let difference = i64::from(row.values[field]) - i64::from(base.values[field]);
                symbols.values[field] = zigzag(difference);
                self.lengths[2 + field].count(symbols.values[field]);
            }
        }
        self.waiting.push(symbols);
    }

    /// The parameters that suit the rows.
    pub(super) fn parameters(&self) -> [u32; COLUMNS] {
        std::array::from_fn(|column| self.lengths[column].parameter())
    }

    /// Writes the rows after the header.
    pub(super) fn write(&self, header: Vec<u8>, parameters: &[u32; COLUMNS]) -> Vec<u8> {
        let mut bits = Writer::after(header);
        for row in &self.waiting {
            bits.rice(row.gap, parameters[0]);
            match row.kind {
                None => bits.bits(0, 1),
                Some((state, present)) => {
                    bits.bits(1 | u64::from(state) << 1 | u64::from(present) << 4, 10);
                }
            }
            bits.rice(row.age, parameters[1]);
            for field in 0..FIELDS.len() {
                if row.present >> field & 1 == 1 {
                    bits.rice(row.values[field], parameters[2 + field]);
                }
            }
        }
        bits.finish()
    }
}

/// Reads a row's gap; the row itself follows by [`read`], once its base is known by the gap.
pub(super) fn read_gap(
    bits: &mut Reader<'_>,
    parameters: &[u32; COLUMNS],
    record: u32,
) -> Result<u64, Error> {
    bits.rice(parameters[0]).ok_or(Error::Truncated { record })
}

/// Reads what follows the gap: the row and its age. `now` is the frame's step, `record` its place
/// in the frame, for an error.
pub(super) fn read(
    bits: &mut Reader<'_>,
    parameters: &[u32; COLUMNS],
    (base, base_age): (&Row, i64),
    (id, now, record): (u64, i64, u32),
) -> Result<(Row, i64), Error> {
    let truncated = Error::Truncated { record };
    let out_of_range = |field| Error::OutOfRange { record, field };
    let mut row = Row { id, ..*base };
    if bits.bits(1).ok_or(truncated.clone())? == 1 {
        row.state = bits.bits(3).ok_or(truncated.clone())? as u8;
        if usize::from(row.state) >= STATES.len() {
            return Err(out_of_range("state"));
        }
        row.present = bits.bits(FIELDS.len() as u32).ok_or(truncated.clone())? as u8;
    }
    let age = base_age
        .checked_add(unzigzag(bits.rice(parameters[1]).ok_or(truncated.clone())?))
        .filter(|age| (0..=AGE_MAX).contains(age))
        .ok_or(out_of_range("age"))?;
    row.step = now - age;
    for (field, (name, least, greatest)) in FIELDS.into_iter().enumerate() {
        if row.present >> field & 1 == 1 {
            let difference = unzigzag(bits.rice(parameters[2 + field]).ok_or(truncated.clone())?);
            row.values[field] = i64::from(base.values[field])
                .checked_add(difference)
                .and_then(|value| i32::try_from(value).ok())
                .filter(|value| (least..=greatest).contains(value))
                .ok_or(out_of_range(name))?;
        }
    }
    Ok((row, age))
}
