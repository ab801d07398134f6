//! What the hub's side of the agent links counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why something of an agent was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedReason {
    /// The token is missing, wrong, or of another role.
    Unauthorized,
    /// No version of the protocol in common.
    Version,
    /// A message that cannot be read, or is out of place.
    Protocol,
    /// A message that is too large.
    TooLarge,
    /// A device that the agent may not speak for.
    Claim,
    /// A report on a device that the agent does not speak for.
    UnknownDevice,
    /// A value that cannot be; it was left out.
    BadValue,
    /// More containers, mounts or the like than are taken; the rest was left out.
    TooMany,
}

impl RefusedReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Unauthorized,
        Self::Version,
        Self::Protocol,
        Self::TooLarge,
        Self::Claim,
        Self::UnknownDevice,
        Self::BadValue,
        Self::TooMany,
    ];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Version => "version",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Claim => "claim",
            Self::UnknownDevice => "unknown_device",
            Self::BadValue => "bad_value",
            Self::TooMany => "too_many",
        }
    }
}

/// Counters that all links share. Each is independent of the others.
#[derive(Debug, Default)]
pub(super) struct AgentStats {
    links: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    samples: AtomicU64,
    summaries: AtomicU64,
    shed: AtomicU64,
    refused: [AtomicU64; RefusedReason::ALL.len()],
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentSnapshot {
    /// Links that are up.
    pub links: u64,
    /// Devices that they speak for.
    pub devices: u64,
    /// Messages from agents.
    pub messages: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Samples in them.
    pub samples: u64,
    /// Summaries in them.
    pub summaries: u64,
    /// Numbered reports that agents gave up while the hub was away.
    pub shed: u64,
    /// What was not taken, in the order of [`RefusedReason::ALL`].
    pub refused: [u64; RefusedReason::ALL.len()],
}

impl AgentStats {
    pub(super) fn snapshot(&self, devices: u64) -> AgentSnapshot {
        AgentSnapshot {
            links: self.links.load(Relaxed),
            devices,
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            samples: self.samples.load(Relaxed),
            summaries: self.summaries.load(Relaxed),
            shed: self.shed.load(Relaxed),
            refused: std::array::from_fn(|n| self.refused[n].load(Relaxed)),
        }
    }

    pub(super) fn link_begins(&self) {
        self.links.fetch_add(1, Relaxed);
    }

    pub(super) fn link_ends(&self) {
        self.links.fetch_sub(1, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.messages.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn took(&self, samples: u64, summaries: u64) {
        self.samples.fetch_add(samples, Relaxed);
        self.summaries.fetch_add(summaries, Relaxed);
    }

    pub(super) fn shed(&self, count: u64) {
        self.shed.fetch_add(count, Relaxed);
    }

    pub(super) fn refused(&self, reason: RefusedReason, count: u64) {
        self.refused[reason as usize].fetch_add(count, Relaxed);
    }
}
