//! The samples of a while, on their way to be a summary.

use kobel_wire::{SERIES, Spread, Summary, Timestamp};

use crate::Target;

/// Two samples further apart than this are not of one while: the machine slept, or its clock was set.
const APART_MS: i64 = 120_000;

/// The least, the greatest and the sum of a series so far.
#[derive(Debug, Clone, Copy)]
struct Gathered {
    min: f64,
    max: f64,
    sum: f64,
    count: u32,
}

/// Samples that are summarised as they come; as large as one sample, however many they are.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// When the first and the last sample were taken.
    span: Option<(Timestamp, Timestamp)>,
    samples: u32,
    series: [Option<Gathered>; SERIES.len()],
}

impl Window {
    /// Adds a sample's values, in the order of [`SERIES`]. An absent value is left out, and so is
    /// one that is no number. After a leap of the time what was gathered before it is given up: one
    /// summary cannot have times of both.
    pub fn add(&mut self, at: Timestamp, values: &[Option<f64>; SERIES.len()]) {
        let leap = |to: Timestamp| (at.as_millis() - to.as_millis()).abs() > APART_MS;
        if self.span.is_some_and(|(_, to)| leap(to)) {
            *self = Self::default();
        }
        let (from, to) = self.span.unwrap_or((at, at));
        self.span = Some((from.min(at), to.max(at)));
        self.samples = self.samples.saturating_add(1);
        for (gathered, value) in self.series.iter_mut().zip(values) {
            let Some(value) = value.filter(|value| (*value as f32).is_finite()) else { continue };
            match gathered {
                None => {
                    *gathered = Some(Gathered { min: value, max: value, sum: value, count: 1 });
                }
                Some(gathered) => {
                    gathered.min = gathered.min.min(value);
                    gathered.max = gathered.max.max(value);
                    gathered.sum += value;
                    gathered.count += 1;
                }
            }
        }
    }

    /// The summary of what was added since the last one; `None` where nothing was.
    pub fn take(&mut self, target: Target) -> Option<Summary> {
        let (from, to) = self.span.take()?;
        let samples = std::mem::take(&mut self.samples);
        let series = std::mem::take(&mut self.series).map(|gathered| gathered.map(spread));
        Some(Summary { device_uuid: target.device, id: target.id, from, to, samples, series })
    }
}

fn spread(gathered: Gathered) -> Spread {
    let (min, max) = (gathered.min as f32, gathered.max as f32);
    // A sum rounds; the mean is not outside for that.
    let mean = ((gathered.sum / f64::from(gathered.count)) as f32).clamp(min, max);
    Spread { min, mean, max }
}
