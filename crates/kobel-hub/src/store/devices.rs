//! The identities of devices.

use kobel_wire::{DeviceId, DeviceUuid, SourceKind, Timestamp};

use super::{
    Store, StoreError,
    db::{Row, query},
};
use crate::access::DeviceScope;

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
    /// The one group that people put it in.
    pub group: Option<String>,
}

/// What a source knows a device by, and what to call it where it is new.
#[derive(Debug, Clone, Copy)]
pub struct DeviceKey<'a> {
    /// What it is known by, for ever.
    pub key: &'a str,
    /// The name of a new one.
    pub name: &'a str,
    /// The tags of a new one.
    pub tags: &'a [String],
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
        query(
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
        let row = query(
            "SELECT id, uuid, name, tags, group_name, deleted_at FROM devices WHERE source = $1 AND source_key = $2",
        )
        .bind(source)
        .bind(key)
        .fetch_one(&self.pool)
        .await?;
        read(&row)
    }

    /// The devices that a source knows by these keys, in their order, in one transaction: hundreds
    /// come at once when an agent of many connects. A new one is made; but whoever may see some
    /// devices only gets `None` for others, and makes none; nor does anybody get one that was deleted.
    pub async fn devices(
        &self,
        source: SourceKind,
        keys: &[DeviceKey<'_>],
        scope: &DeviceScope,
        now: Timestamp,
    ) -> Result<Vec<Option<StoredDevice>>, StoreError> {
        let source = source.as_str();
        let mut change = self.pool.begin().await?;
        let mut devices = Vec::with_capacity(keys.len());
        let mut made = false;
        for key in keys {
            let found = query(
                "SELECT id, uuid, name, tags, group_name, deleted_at FROM devices WHERE source = $1 AND source_key = $2",
            )
            .bind(source)
            .bind(key.key)
            .fetch_optional(&mut *change)
            .await?;
            let device = match (found, scope) {
                // Somebody took it out; its source does not bring it back.
                (Some(row), _) if row.try_get::<Option<i64>, _>("deleted_at")?.is_some() => None,
                (Some(row), DeviceScope::All) => Some(read(&row)?),
                (Some(row), DeviceScope::Only(devices)) => {
                    Some(read(&row)?).filter(|device| devices.contains(&device.uuid))
                }
                (None, DeviceScope::Only(_)) => None,
                (None, DeviceScope::All) => {
                    made = true;
                    let tags = serde_json::to_string(key.tags)
                        .map_err(|e| StoreError::Corrupt("tags", e.to_string()))?;
                    let row = query(
                        "INSERT INTO devices (uuid, name, tags, source, source_key, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id, uuid, name, tags, group_name, \
                         deleted_at",
                    )
                    .bind(DeviceUuid::generate().to_string())
                    .bind(key.name)
                    .bind(tags)
                    .bind(source)
                    .bind(key.key)
                    .bind(now.as_millis())
                    .fetch_one(&mut *change)
                    .await?;
                    Some(read(&row)?)
                }
            };
            devices.push(device);
        }
        // Nothing written, nothing said: whoever watches for changes need not look.
        if made {
            change.commit().await?;
        } else {
            change.rollback().await?;
        }
        Ok(devices)
    }
}

fn read(row: &Row) -> Result<StoredDevice, StoreError> {
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
        group: row.try_get("group_name")?,
    })
}
