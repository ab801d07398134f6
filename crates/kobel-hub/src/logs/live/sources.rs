//! Where the lines of a device's containers come from.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
};

use kobel_wire::{ContainerId, DeviceUuid};
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
pub struct LogSources(Arc<RwLock<HashMap<DeviceUuid, Arc<dyn LogSource>>>>);

impl LogSources {
    /// The source of a device from now on.
    pub fn set(&self, device: DeviceUuid, source: Arc<dyn LogSource>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(device, source);
    }

    /// A device has no source of logs any more.
    pub fn remove(&self, device: DeviceUuid) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&device);
    }

    /// The source of a device.
    pub fn of(&self, device: DeviceUuid) -> Option<Arc<dyn LogSource>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&device).cloned()
    }
}
