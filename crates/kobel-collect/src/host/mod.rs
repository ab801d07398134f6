//! From the text of /proc and /sys to a sample: pure, for any reader.
//!
//! [`HostText`] is the text as the kernel printed it; [`Reading::parse`] makes counters of it;
//! [`Deltas`] makes a sample of two readings. Beside them [`mounts`], [`thermal`], [`processes`], [`cgroups`]
//! and [`facts`] read what is asked for less often. Nothing here opens a file or reads a clock.
//!
//! The text may come from a host that is broken or hostile. A line that makes no sense is skipped
//! and its value is absent; nothing panics, and no length that the text claims is believed.
//! `procfs-core` parses what it parses line by line and without panics. Three of its parsers are
//! guarded or replaced here, each with the reason beside it.

pub mod cgroups;
pub mod cpu;
pub mod deltas;
pub mod disks;
pub mod facts;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod pressure;
pub mod processes;
pub mod reading;
pub mod thermal;

pub use deltas::Deltas;
pub use reading::{HostText, Reading};

/// `part` of `whole` in percent, 0 to 100 with two decimals; absent of nothing.
pub(crate) fn percent(part: f64, whole: f64) -> Option<f64> {
    let share = part / whole * 100.0;
    // A NaN (0 of 0) and an infinity (something of 0) are both no answer.
    share.is_finite().then(|| round2(share.clamp(0.0, 100.0)))
}

/// Two decimals: what a viewer can tell apart, and short in JSON.
pub(crate) fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// How fast a counter grew, per second and whole; absent where it went back.
pub(crate) fn rate(before: u64, after: u64, seconds: f64) -> Option<f64> {
    let per_second = after.checked_sub(before)? as f64 / seconds;
    per_second.is_finite().then(|| per_second.round())
}
