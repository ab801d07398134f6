//! A device as the API shows it: what is stored of it, and how it fares now.

use kobel_hub::store::inventory::{
    CollectOptions, DeviceRecord, SecretRecord, SshAddress, SshSettings,
};
use kobel_wire::{Device, DeviceId, DeviceState, DeviceUuid, Engine, Facts, SourceKind, Timestamp};
use serde::Serialize;

/// A device in an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(super) device_uuid: DeviceUuid,
    id: DeviceId,
    pub(super) source: SourceKind,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<SshAddress>,
    pub(super) tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    enabled: bool,
    #[serde(flatten)]
    settings: Option<Settings>,
    #[serde(flatten)]
    pub(super) live: Option<Live>,
    revision: i64,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

/// What only admins see.
#[derive(Debug, Serialize)]
struct Settings {
    notes: String,
    options: CollectOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh: Option<SshSettings>,
    secrets: Vec<SecretRecord>,
    #[serde(rename = "agentKeySince", skip_serializing_if = "Option::is_none")]
    agent_key_since: Option<Timestamp>,
}

/// How it fares.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Live {
    pub(super) state: DeviceState,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<String>,
    state_since: Timestamp,
    facts: Facts,
    engine: Engine,
}

impl Shown {
    /// Of a device; `whole` for admins. `live` where it is read.
    pub(super) fn of(device: DeviceRecord, live: Option<Device>, whole: bool) -> Self {
        let spec = device.spec;
        let settings = whole.then_some(Settings {
            notes: spec.notes,
            options: spec.options,
            ssh: spec.ssh,
            secrets: device.secrets,
            agent_key_since: device.agent_key_since,
        });
        let live = live.map(|live| Live {
            state: live.state,
            state_reason: live.state_reason,
            state_since: live.state_since,
            facts: live.facts,
            engine: live.engine,
        });
        Self {
            device_uuid: device.device_uuid,
            id: device.id,
            source: device.source,
            name: spec.name,
            address: spec.address,
            tags: spec.tags,
            group: spec.group,
            enabled: spec.enabled,
            settings,
            live,
            revision: device.revision,
            created_at: device.created_at,
            changed_at: device.changed_at,
            deleted_at: device.deleted_at,
        }
    }
}
