//! A monitored host and what is known of it.

use serde::{Deserialize, Serialize};

use crate::{DeviceId, DeviceUuid, Timestamp};

/// A monitored host: its identity, its state, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its identity.
    pub device_uuid: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
    /// What people call it; its host name until somebody names it.
    pub name: String,
    /// Words that people put on it.
    pub tags: Vec<String>,
    /// The one group that people put it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How it is read.
    pub source: SourceKind,
    /// How it fares.
    pub state: DeviceState,
    /// Why, in words, where the state is not `online`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// Since when it has been in this state.
    pub state_since: Timestamp,
    /// What the host says of itself.
    #[serde(flatten)]
    pub facts: Facts,
    /// Its container engine.
    pub engine: Engine,
}

/// What a host says of itself; it seldom changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// What the host calls itself.
    pub hostname: String,
    /// The operating system, as os-release(5) names it for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Kernel name and release, such as "Linux 6.12.0".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Machine architecture, such as `x86_64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The processor's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// Logical processors online.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<u32>,
    /// When the host booted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booted_at: Option<Timestamp>,
}

/// How a device is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The machine that the hub runs on.
    Local,
    /// By the hub, over SSH.
    Ssh,
    /// By an agent on the host, which dials the hub.
    Agent,
    /// Not at all: a made-up host of `kobel simulate`.
    Simulated,
}

impl SourceKind {
    /// The word used in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ssh => "ssh",
            Self::Agent => "agent",
            Self::Simulated => "simulated",
        }
    }
}

impl std::str::FromStr for SourceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Local, Self::Ssh, Self::Agent, Self::Simulated]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("no source is called {text:?}: local, ssh, agent or simulated"))
    }
}

/// How a device fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// Samples come when they are due.
    Online,
    /// Samples come late.
    Slow,
    /// No sample for three periods.
    Stale,
    /// It cannot be reached.
    Unreachable,
    /// It refused the sign-in.
    AuthFailed,
    /// Its host key is not the one pinned.
    HostKeyChanged,
}

/// The container engine of a device, and whether it can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    /// Whether it can be read.
    pub state: EngineState,
    /// Which one it is, once it has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EngineKind>,
    /// Its version, once it has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it was looked for, such as `unix:///var/run/docker.sock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What is wrong and what to do, where it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when it has been in this state.
    pub since: Timestamp,
}

impl Engine {
    /// An engine that nobody has looked for yet.
    pub fn unknown(since: Timestamp) -> Self {
        Self {
            state: EngineState::Unknown,
            kind: None,
            version: None,
            endpoint: None,
            message: None,
            since,
        }
    }
}

/// Whether a container engine can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineState {
    /// Not looked for yet.
    Unknown,
    /// It answers and its events arrive.
    Connected,
    /// No socket, or nobody listening on it.
    Absent,
    /// The socket is there, and we may not use it.
    Denied,
    /// It answered with an error.
    Error,
}

/// Which container engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Docker (moby).
    Docker,
    /// Podman, by its Docker-compatible API.
    Podman,
}
