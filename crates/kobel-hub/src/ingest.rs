//! The way from the sources into the hub: a queue that keeps the newest.
//!
//! A source never waits. What the hub has not yet taken is replaced by what is newer: the newest
//! sample per device, the newest state per container. So the queue is bounded by what exists
//! (devices and their containers), however late the hub is, and the last word always arrives.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use kobel_wire::{Container, ContainerId, DeviceState, DeviceUuid, Engine, Facts, Sample, Summary};
use tokio::sync::Notify;

/// The most summaries of a device that wait: two hours. Of more the oldest go.
const SUMMARIES: usize = 240;

/// What waits for the hub from one device.
#[derive(Debug, Default)]
pub struct DeviceUpdate {
    /// The newest sample.
    pub sample: Option<Sample>,
    /// What it did while nobody watched, oldest first.
    pub summaries: Vec<Summary>,
    /// The newest facts.
    pub facts: Option<Facts>,
    /// The newest state of its container engine.
    pub engine: Option<Engine>,
    /// The newest state of the device and the reason, where the source reported one.
    pub state: Option<(DeviceState, Option<String>)>,
    /// All of its containers, where the source took stock: what is not listed is gone.
    pub inventory: Option<Vec<Container>>,
    /// Containers that changed since (after the inventory, where there is one); a removed one
    /// comes with the state `removed`. In the order of their first change.
    pub containers: Vec<Container>,
}

#[derive(Default)]
struct Waiting {
    devices: HashMap<DeviceUuid, DeviceUpdate>,
    /// Where a container stands in its device's `containers`.
    places: HashMap<(DeviceUuid, ContainerId), usize>,
    samples_replaced: u64,
    changes_replaced: u64,
}

#[derive(Default)]
struct Shared {
    // Held for a move of one value, never across an await.
    waiting: Mutex<Waiting>,
    ready: Notify,
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.ready.notify_one();
    }
}

/// The sources' end. Cloned freely; every call returns at once.
#[derive(Clone, Default)]
pub struct Ingest(Arc<Shared>);

/// The hub's end. One task takes from it.
pub struct Inbox(Arc<Shared>);

/// How often something newer replaced what the hub had not yet taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Samples.
    pub samples: u64,
    /// Container changes.
    pub containers: u64,
}

/// A new queue. When it is full, that is when a device's last report still waits, the newer report
/// replaces it.
pub fn channel() -> (Ingest, Inbox) {
    let ingest = Ingest::default();
    let inbox = Inbox(Arc::clone(&ingest.0));
    (ingest, inbox)
}

impl Ingest {
    /// A new reading of a device.
    pub fn sample(&self, sample: Sample) {
        self.0.update(|waiting| {
            let device = waiting.devices.entry(sample.device_uuid).or_default();
            let replaced = device.sample.replace(sample).is_some();
            waiting.samples_replaced += u64::from(replaced);
        });
    }

    /// What a device did over a while in which nobody watched it.
    pub fn summary(&self, summary: Summary) {
        self.0.update(|waiting| {
            let device = waiting.devices.entry(summary.device_uuid).or_default();
            if device.summaries.len() >= SUMMARIES {
                device.summaries.remove(0);
                waiting.samples_replaced += 1;
            }
            device.summaries.push(summary);
        });
    }

    /// What a device says of itself, where it is new.
    pub fn facts(&self, device: DeviceUuid, facts: Facts) {
        self.0.update(|waiting| waiting.devices.entry(device).or_default().facts = Some(facts));
    }

    /// Whether the device's container engine can be read, where it is new.
    pub fn engine(&self, device: DeviceUuid, engine: Engine) {
        self.0.update(|waiting| waiting.devices.entry(device).or_default().engine = Some(engine));
    }

    /// How a device fares, as its source sees it, with the reason in words.
    pub fn state(&self, device: DeviceUuid, state: DeviceState, reason: Option<String>) {
        self.0.update(|waiting| {
            waiting.devices.entry(device).or_default().state = Some((state, reason));
        });
    }

    /// All containers of a device. Replaces every change that still waits.
    pub fn inventory(&self, device: DeviceUuid, containers: Vec<Container>) {
        self.0.update(|waiting| {
            let update = waiting.devices.entry(device).or_default();
            for change in mem::take(&mut update.containers) {
                waiting.places.remove(&(device, change.container_id));
            }
            update.inventory = Some(containers);
        });
    }

    /// A container that is new, changed or (with the state `removed`) gone.
    pub fn container(&self, container: Container) {
        self.0.update(|waiting| {
            let update = waiting.devices.entry(container.device_uuid).or_default();
            let key = (container.device_uuid, container.container_id.clone());
            match waiting.places.get(&key) {
                Some(&place) => {
                    update.containers[place] = container;
                    waiting.changes_replaced += 1;
                }
                None => {
                    waiting.places.insert(key, update.containers.len());
                    update.containers.push(container);
                }
            }
        });
    }

    /// What the hub took in already: for another one that is to take it in, too.
    pub(crate) fn again(&self, device: DeviceUuid, update: &DeviceUpdate) {
        if let Some(facts) = &update.facts {
            self.facts(device, facts.clone());
        }
        if let Some(engine) = &update.engine {
            self.engine(device, engine.clone());
        }
        if let Some((state, reason)) = &update.state {
            self.state(device, *state, reason.clone());
        }
        if let Some(inventory) = &update.inventory {
            self.inventory(device, inventory.clone());
        }
        for container in &update.containers {
            self.container(container.clone());
        }
        for summary in &update.summaries {
            self.summary(summary.clone());
        }
        if let Some(sample) = &update.sample {
            self.sample(sample.clone());
        }
    }

    /// How often something newer replaced what still waited.
    pub fn replaced(&self) -> Replaced {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        Replaced { samples: waiting.samples_replaced, containers: waiting.changes_replaced }
    }
}

impl Inbox {
    /// Everything that waits, as soon as something does. Cancel safe.
    pub async fn take(&self) -> HashMap<DeviceUuid, DeviceUpdate> {
        loop {
            {
                let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if !waiting.devices.is_empty() {
                    waiting.places.clear();
                    return mem::take(&mut waiting.devices);
                }
            }
            self.0.ready.notified().await;
        }
    }
}

#[cfg(test)]
mod tests;
