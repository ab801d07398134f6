//! Where the lines of a device's containers come from.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use kobel_wire::{ContainerId, DeviceUuid};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::logs::{LogStart, Poke, queue::LogSender};

/// Gives the lines of a device's containers.
pub trait LogSource: Send + Sync {
    /// Follows a container until cancelled, from `start` on. Ends by itself when the
    /// container is gone and all was told, or with what is wrong and what to do. `poke` says when
    /// the container was started.
    fn follow(
        &self,
        container: ContainerId,
        start: LogStart,
        sink: LogSender,
        poke: Poke,
        cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

    /// Whether its containers are followed for the store while nobody looks. Not where the lines
    /// are worth nothing once nobody looks, as those of a simulated fleet.
    fn is_stored_unwatched(&self) -> bool {
        true
    }

    /// Whether it gives what another node tells ([`SourceEvent::Told`](crate::logs::SourceEvent)).
    fn is_told(&self) -> bool {
        false
    }
}

/// The source of a device whose logs cannot be had: whoever asks is told why.
#[derive(Debug, Clone)]
pub struct NoLogs(pub &'static str);

impl LogSource for NoLogs {
    fn follow(
        &self,
        _container: ContainerId,
        _start: LogStart,
        _sink: LogSender,
        _poke: Poke,
        _cancel: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let wrong = self.0.to_owned();
        Box::pin(async move { Err(wrong) })
    }

    fn is_stored_unwatched(&self) -> bool {
        false
    }
}

/// The sources of all devices. Cloned freely.
#[derive(Clone, Default)]
pub struct LogSources(Arc<Shared>);

#[derive(Default)]
struct Shared {
    sources: RwLock<HashMap<DeviceUuid, Arc<dyn LogSource>>>,
    /// Devices whose logs are read by another node now, or not any more. Bounded by the devices.
    moved: Mutex<HashSet<DeviceUuid>>,
    ready: Notify,
}

impl LogSources {
    /// The source of a device from now on.
    pub fn set(&self, device: DeviceUuid, source: Arc<dyn LogSource>) {
        let is_told = source.is_told();
        let mut sources = self.0.sources.write().unwrap_or_else(PoisonError::into_inner);
        let before = sources.insert(device, source);
        drop(sources);
        // Also where it had none in between: its streams remember.
        if is_told || before.is_none_or(|before| before.is_told()) {
            self.0.moved.lock().unwrap_or_else(PoisonError::into_inner).insert(device);
            self.0.ready.notify_one();
        }
    }

    /// The devices whose logs another node reads now, or not any more; also some where nothing changed.
    /// Cancel safe; for one task.
    pub(crate) async fn moved(&self) -> Vec<DeviceUuid> {
        loop {
            {
                let mut moved = self.0.moved.lock().unwrap_or_else(PoisonError::into_inner);
                if !moved.is_empty() {
                    return std::mem::take(&mut *moved).into_iter().collect();
                }
            }
            self.0.ready.notified().await;
        }
    }

    /// A device has no source of logs any more.
    pub fn remove(&self, device: DeviceUuid) {
        let mut sources = self.0.sources.write().unwrap_or_else(PoisonError::into_inner);
        sources.remove(&device);
    }

    /// The source of a device.
    pub fn of(&self, device: DeviceUuid) -> Option<Arc<dyn LogSource>> {
        let sources = self.0.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources.get(&device).cloned()
    }
}
