//! The identities of devices.

use kobel_wire::{DeviceId, DeviceUuid, SourceKind, Timestamp};
use sqlx::Row;

use super::{Store, StoreError};

/// A device as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDevice {
    /// Its identity.
    pub uuid: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
    /// What people call it.
    pub name: String,
    /// Words that people put on it.
    pub tags: Vec<String>,
}

impl Store {
    /// The device that a source knows by this key; made with this name where it is new.
    pub async fn device(
        &self,
        source: SourceKind,
        key: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<StoredDevice, StoreError> {
        let source = source.as_str();
        sqlx::query(
            "INSERT INTO devices (uuid, name, source, source_key, created_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source, source_key) DO NOTHING",
        )
        .bind(DeviceUuid::generate().to_string())
        .bind(name)
        .bind(source)
        .bind(key)
        .bind(now.as_millis())
        .execute(&self.pool)
        .await?;
        let row = sqlx::query(
            "SELECT id, uuid, name, tags FROM devices WHERE source = $1 AND source_key = $2",
        )
        .bind(source)
        .bind(key)
        .fetch_one(&self.pool)
        .await?;
        let corrupt = |what, e: String| StoreError::Corrupt(what, e);
        let id: i64 = row.try_get("id")?;
        Ok(StoredDevice {
            uuid: row
                .try_get::<&str, _>("uuid")?
                .parse()
                .map_err(|e: kobel_wire::IdError| corrupt("devices.uuid", e.to_string()))?,
            id: DeviceId(u64::try_from(id).map_err(|e| corrupt("devices.id", e.to_string()))?),
            name: row.try_get("name")?,
            tags: serde_json::from_str(row.try_get("tags")?)
                .map_err(|e| corrupt("devices.tags", e.to_string()))?,
        })
    }
}
