//! Two readings to a sample.

use std::collections::HashMap;

use kobel_wire::{Interface, Sample, Timestamp};
use tokio::time::Instant;

use super::{
    Reading,
    cpu::{CpuCounters, CpuTimes},
    percent, rate, round2,
};
use crate::Target;

/// The least time between two readings that gives a rate. The host's uptime comes in hundredths of
/// a second, so less would be mostly error.
const LEAST: f64 = 0.05;

/// How much less than ours the host's clock may advance before it must have started anew.
const REBOOT_SLACK: f64 = 5.0;

/// The last reading of a host, for the difference to the next.
///
/// Rates are over the host's own uptime where it gives one, so they are right after a pause of
/// either side. They are absent in the first reading and after a reboot: when the uptime went back,
/// or advanced much less than our clock did.
#[derive(Debug, Default)]
pub struct Deltas {
    before: Option<(Instant, Reading)>,
}

enum Span {
    /// Seconds over which the counters grew.
    Seconds(f64),
    /// No difference can be made: first reading, or the host started anew.
    Reset,
    /// Too little time for a rate; the older reading is still the better start.
    TooShort,
}

impl Deltas {
    /// The sample that this reading gives. `now` is our clock at the time of the reading, `at` what
    /// people's clocks say.
    pub fn sample(
        &mut self,
        target: Target,
        reading: Reading,
        now: Instant,
        at: Timestamp,
    ) -> Sample {
        let mut sample = Sample::empty(target.device, target.id, at);
        levels(&mut sample, &reading);
        match self.span(now, reading.uptime) {
            Span::TooShort => return sample,
            Span::Reset => {}
            Span::Seconds(seconds) => {
                if let Some((_, before)) = &self.before {
                    rates(&mut sample, before, &reading, seconds);
                }
            }
        }
        self.before = Some((now, reading));
        sample
    }

    fn span(&self, now: Instant, uptime: Option<f64>) -> Span {
        let Some((then, before)) = &self.before else {
            return Span::Reset;
        };
        let ours = now.saturating_duration_since(*then).as_secs_f64();
        let seconds = match (before.uptime, uptime) {
            (Some(before), Some(after)) if after < before => return Span::Reset,
            (Some(before), Some(after)) if after - before + REBOOT_SLACK < ours => {
                return Span::Reset;
            }
            (Some(before), Some(after)) => after - before,
            _ => ours,
        };
        if seconds < LEAST { Span::TooShort } else { Span::Seconds(seconds) }
    }
}

/// What one reading tells by itself.
fn levels(sample: &mut Sample, reading: &Reading) {
    sample.load = reading.load;
    sample.uptime = reading.uptime;
    sample.pressure = reading.pressure;
    sample.memory_total = reading.memory.total;
    sample.memory_used = reading.memory.used();
    sample.memory = sample
        .memory_used
        .zip(sample.memory_total)
        .and_then(|(used, total)| percent(used as f64, total as f64));
    sample.swap =
        reading.memory.swap_used().and_then(|(used, total)| percent(used as f64, total as f64));
}

/// What takes two readings.
fn rates(sample: &mut Sample, before: &Reading, after: &Reading, seconds: f64) {
    if let (Some(before), Some(after)) = (&before.cpu, &after.cpu) {
        processor(sample, before, after);
    }
    // A disk or an interface that is new, or that was taken out and put in again, joins at the next
    // reading.
    let disks: Vec<_> = after
        .disks
        .iter()
        .filter_map(|(name, after)| {
            let before = before.disks.get(name)?;
            Some((
                rate(before.read, after.read, seconds)?,
                rate(before.written, after.written, seconds)?,
            ))
        })
        .collect();
    (sample.disk_read, sample.disk_write) = sums(&disks);

    let known: HashMap<&str, _> = before.interfaces.iter().map(|i| (i.name.as_str(), i)).collect();
    sample.interfaces = after
        .interfaces
        .iter()
        .filter_map(|after| {
            let before = known.get(after.name.as_str())?;
            Some(Interface {
                name: after.name.clone(),
                received: rate(before.received, after.received, seconds)?,
                sent: rate(before.sent, after.sent, seconds)?,
            })
        })
        .collect();
    let traffic: Vec<_> = sample.interfaces.iter().map(|i| (i.received, i.sent)).collect();
    (sample.network_in, sample.network_out) = sums(&traffic);
}

fn processor(sample: &mut Sample, before: &CpuCounters, after: &CpuCounters) {
    let Some(shares) = after.total.shares_since(&before.total) else {
        return;
    };
    (sample.cpu, sample.iowait, sample.steal) = (Some(shares.used), shares.iowait, shares.steal);
    let known: HashMap<u32, CpuTimes> = before.cores.iter().copied().collect();
    sample.cores = after
        .cores
        .iter()
        .map(|(number, after)| {
            let shares = known.get(number).and_then(|before| after.shares_since(before));
            // The list has a place for each online core; one that just came online, or whose tick
            // stands still (NO_HZ), has done nothing that shows.
            round2(shares.map_or(0.0, |shares| shares.used))
        })
        .collect();
}

fn sums(parts: &[(f64, f64)]) -> (Option<f64>, Option<f64>) {
    if parts.is_empty() {
        return (None, None);
    }
    (Some(parts.iter().map(|p| p.0).sum()), Some(parts.iter().map(|p| p.1).sum()))
}

#[cfg(test)]
mod tests;
