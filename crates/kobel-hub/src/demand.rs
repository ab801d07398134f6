//! What viewers need, told to the sources: the way back against the stream of samples.
//!
//! One value for each device. A connection to sources holds one [`Demand`] for all of its devices;
//! what it has not taken yet is replaced by what is newer, so it is bounded by the devices.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kobel_wire::DeviceUuid;
use tokio::sync::Notify;

/// Nobody watches: one summary in this time.
pub const UNWATCHED: Duration = Duration::from_secs(30);

/// How often a device is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nobody watches it: a summary, and the newest sample with it, each [`UNWATCHED`].
    Unwatched,
    /// A sample in this time, 1 to 30 s.
    Every(Duration),
}

impl Need {
    /// What needs one sample in so many seconds.
    pub fn of_seconds(seconds: u8) -> Self {
        Self::Every(Duration::from_secs(seconds.max(1).into()).min(UNWATCHED))
    }

    /// In what time something comes.
    pub fn period(self) -> Duration {
        match self {
            Self::Unwatched => UNWATCHED,
            Self::Every(period) => period,
        }
    }
}

#[derive(Default)]
struct Shared {
    // Held for a move of one value, never across an await.
    changed: Mutex<HashMap<DeviceUuid, Need>>,
    ready: Notify,
}

/// What the hub needs of the devices of one connection. Cloned freely. Until it is told otherwise, a
/// device is [`Need::Unwatched`].
#[derive(Clone, Default)]
pub struct Demand(Arc<Shared>);

impl Demand {
    /// Tells the source what is needed of a device from now on. Never waits.
    pub fn tell(&self, device: DeviceUuid, need: Need) {
        self.0.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(device, need);
        self.0.ready.notify_one();
    }

    /// What changed since the last call.
    pub(crate) fn take(&self) -> Vec<(DeviceUuid, Need)> {
        let mut changed = self.0.changed.lock().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *changed).into_iter().collect()
    }

    /// What changed since the last call, as soon as something did. Cancel safe; for one task.
    pub async fn changed(&self) -> Vec<(DeviceUuid, Need)> {
        loop {
            let changed = self.take();
            if !changed.is_empty() {
                return changed;
            }
            self.0.ready.notified().await;
        }
    }
}

impl std::fmt::Debug for Demand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Demand")
    }
}
