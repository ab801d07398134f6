//! A container and how it fares.

use serde::{Deserialize, Serialize};

use crate::{ContainerId, DeviceUuid, Timestamp};

/// A Docker or Podman container on a device: what it is, its state, and its newest figures.
///
/// Figures are absent while the container does not run, and until a first difference is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// The device it runs on.
    pub device_uuid: DeviceUuid,
    /// The engine's full id.
    pub container_id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// The image it was made from, as it was named then.
    pub image: String,
    /// The Compose project (label `com.docker.compose.project`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The Compose service (label `com.docker.compose.service`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it does now.
    pub state: ContainerState,
    /// The same for people, as `docker ps` says it: "Up 3 minutes (healthy)".
    pub status: String,
    /// What its health check says; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What its main process ended with; absent while it runs and before it first ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How often the engine restarted it by its restart policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_count: Option<u64>,
    /// What is to become of its log lines beside being shown (label `kobel.logs`); absent for the
    /// usual: they are stored, where the hub stores any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogPolicy>,
    /// Processor time, percent of one core (200 on two busy cores), as `docker stats` counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Memory in use without reclaimable page cache, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// What it may use, bytes; the host's memory where it has no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// Bytes received per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_in: Option<f64>,
    /// Bytes sent per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_out: Option<f64>,
    /// Bytes read per second from block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_read: Option<f64>,
    /// Bytes written per second to block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_write: Option<f64>,
    /// Processes and threads in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// The state of a container, by the words of the Docker Engine API, and `removed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Runs.
    Running,
    /// Frozen.
    Paused,
    /// Between two runs, by its restart policy.
    Restarting,
    /// Its main process ended.
    Exited,
    /// On its way out.
    Removing,
    /// Could not be removed.
    Dead,
    /// Gone. The last word on a container; it is in no list afterwards.
    Removed,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Container {
    /// Whether two states of a container differ in nothing but figures, and the status that counts
    /// the time.
    pub fn same_but_figures(&self, other: &Self) -> bool {
        let bare = |container: &Self| Self {
            status: String::new(),
            cpu: None,
            memory: None,
            memory_limit: None,
            network_in: None,
            network_out: None,
            block_read: None,
            block_write: None,
            pids: None,
            ..container.clone()
        };
        bare(self) == bare(other)
    }
}

impl ContainerState {
    /// Whether its processes exist (running, paused or restarting).
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

/// What is to become of a container's log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogPolicy {
    /// They are shown to those who look, and never stored.
    Off,
}

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No verdict yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// As many checks in a row failed as its `retries` say.
    Unhealthy,
}
