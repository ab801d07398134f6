//! What is sent of a device that is read each second: as much as its viewers need.
//!
//! While somebody watches, a sample as often as the fastest of them needs one; while nobody does,
//! one summary in 30 s and the newest sample with it. The rules take place where the device is read
//! (in this process or in an agent), so what nobody needs costs nothing on the way. No I/O and no
//! clock: time is an argument.

mod window;

use std::time::Duration;

use kobel_hub::demand::{Need, UNWATCHED};
use kobel_wire::{Sample, Summary};
use tokio::time::Instant;

use crate::Target;

pub use window::Window;

/// How much too early a sample may come and still be taken for the one that is due: timers are
/// not exact, and a whole second later would be worse.
const EARLY: Duration = Duration::from_millis(250);

/// The shaping of one device.
#[derive(Debug)]
pub struct Edge {
    target: Target,
    /// How much earlier the first summary comes.
    phase: Duration,
    need: Need,
    window: Window,
    /// The newest sample and when it was read, while it has not been sent.
    unsent: Option<(Sample, Instant)>,
    /// When the last one that was sent was due.
    sent: Option<Instant>,
}

/// What is to be sent now.
#[derive(Debug, Default, PartialEq)]
pub struct Shaped {
    /// What the device did while nobody watched.
    pub summary: Option<Summary>,
    /// Its newest sample.
    pub sample: Option<Sample>,
}

impl Edge {
    /// A device that nobody watches yet. Its first sample is sent when it comes, the first summary
    /// with it.
    ///
    /// When nobody watches it any longer, the first summary comes by `phase` earlier than 30 s
    /// later: whoever leaves a view of a thousand devices leaves them all at once, and their
    /// summaries should not come all at once for ever. Beyond 30 s it is the rest.
    pub fn new(target: Target, phase: Duration) -> Self {
        let phase = Duration::from_secs(phase.as_secs() % UNWATCHED.as_secs());
        let (need, window) = (Need::Unwatched, Window::default());
        Self { target, phase, need, window, unsent: None, sent: None }
    }

    /// What is needed now.
    pub fn need(&self) -> Need {
        self.need
    }

    /// Takes what is needed from now on. Where that is more than before, the newest sample is sent
    /// at once, and what was gathered while nobody watched with it.
    pub fn set_need(&mut self, need: Need) -> Shaped {
        let before = std::mem::replace(&mut self.need, need);
        let mut shaped = Shaped::default();
        if before == Need::Unwatched && need != before {
            shaped.summary = self.window.take(self.target);
        }
        if need == Need::Unwatched && need != before {
            self.sent = self.sent.map(|sent| sent.checked_sub(self.phase).unwrap_or(sent));
        }
        if need.period() < before.period()
            && let Some((sample, read)) = self.unsent.take()
        {
            shaped.sample = Some(sample);
            self.sent = Some(read);
        }
        shaped
    }

    /// Takes a new sample, read at `now`.
    pub fn sample(&mut self, sample: Sample, now: Instant) -> Shaped {
        if self.need == Need::Unwatched {
            self.window.add(sample.sampled_at, &sample.series());
        }
        let period = self.need.period();
        let due = self.sent.map_or(now, |sent| sent + period);
        if now + EARLY < due {
            self.unsent = Some((sample, now));
            return Shaped::default();
        }
        // In equal periods, however late a timer is; after a pause they begin anew.
        self.sent = Some(if due + period > now { due } else { now });
        self.unsent = None;
        let summary = match self.need {
            Need::Unwatched => self.window.take(self.target),
            Need::Every(_) => None,
        };
        Shaped { summary, sample: Some(sample) }
    }
}

#[cfg(test)]
mod tests;
