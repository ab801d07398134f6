//! Whose lines they are, also when the container is long gone.

use kobel_wire::{Container, ContainerId, DeviceUuid, log::LogStreamId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What is kept of a container beside its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogIdentity {
    /// The device that it ran on.
    pub device_uuid: DeviceUuid,
    /// That device's name.
    pub device_name: String,
    /// The engine's full id.
    pub container_id: ContainerId,
    /// The container's name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its Compose project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its Compose service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

impl LogIdentity {
    /// Of a container on a device of this name.
    pub fn of(container: &Container, device_name: &str) -> Self {
        Self {
            device_uuid: container.device_uuid,
            device_name: device_name.to_owned(),
            container_id: container.container_id.clone(),
            name: container.name.clone(),
            image: container.image.clone(),
            project: container.project.clone(),
            service: container.service.clone(),
        }
    }

    /// Whether a container took the place of `before`: it has its name. While Compose makes another,
    /// both are there, and the new one's name has the old one's short id in front.
    pub(crate) fn succeeds(&self, before: &Self) -> bool {
        let old = before.container_id.to_string();
        let own = old
            .get(..12)
            .and_then(|short| self.name.strip_prefix(short)?.strip_prefix('_'))
            .unwrap_or(&self.name);
        self.device_uuid == before.device_uuid
            && self.container_id != before.container_id
            && own == before.name
    }

    /// Whether both are of one Compose service.
    pub(crate) fn same_service(&self, other: &Self) -> bool {
        self.device_uuid == other.device_uuid
            && self.service.is_some()
            && (&self.project, &self.service) == (&other.project, &other.service)
    }

    /// The stream's name on the wire.
    pub fn stream(&self) -> LogStreamId {
        LogStreamId { device: self.device_uuid, container: self.container_id.clone() }
    }
}

/// Names a stream in files and cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct StreamKey(pub(super) u64);

impl StreamKey {
    /// Of 64 bits of a SHA-256: two of a million streams are the same in one of 37 million stores.
    pub(super) fn of(stream: &LogStreamId) -> Self {
        let hash = Sha256::digest(stream.to_string());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(u64::from_le_bytes(first))
    }
}
