//! The inventory: the devices, what people say of them, and every change of that.
//!
//! What people say is a [`DeviceSpec`]; what the store knows beside it makes a [`DeviceRecord`].
//! A change and its line in the audit log are one transaction. A deleted device is kept until it is
//! purged, so that its history can still be looked at.

mod address;
mod change;
mod secrets;
mod settings;
mod spec;

use kobel_wire::{DeviceId, DeviceUuid, SourceKind, Timestamp};
use serde::Serialize;

pub use address::{SSH_PORT, SshAddress, SshAddressError};
pub use change::{DeviceChange, SecretChange};
pub use settings::{
    CollectOptions, DockerUse, HostKeyPolicy, PinnedKey, SecretKind, SignInMethod, SshSettings,
};
pub use spec::{DeviceSpec, FieldError, check_fingerprint};

use super::{
    Store, StoreError,
    db::{Connection, Row, query},
};

/// A device in the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRecord {
    /// Its identity.
    pub device_uuid: DeviceUuid,
    /// Its short number.
    pub id: DeviceId,
    /// How it is read.
    pub source: SourceKind,
    /// What people say of it.
    #[serde(flatten)]
    pub spec: DeviceSpec,
    /// Which secrets are kept for it.
    pub secrets: Vec<SecretRecord>,
    /// Since when its agent has a key of its own that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_key_since: Option<Timestamp>,
    /// Counts its changes.
    pub revision: i64,
    /// When it came.
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// When it was deleted, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// A secret that is kept; not the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRecord {
    /// Its row: another one whenever it is set.
    #[serde(skip)]
    pub row: i64,
    /// Which one.
    pub kind: SecretKind,
    /// When it was set.
    pub set_at: Timestamp,
}

/// Which devices are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Listed {
    /// Those that are there.
    #[default]
    Present,
    /// Those that were deleted and not purged.
    Deleted,
    /// Both.
    All,
}

const COLUMNS: &str = "id, uuid, name, tags, source, created_at, address, group_name, notes, \
     enabled, options, ssh, revision, changed_at, deleted_at, (SELECT k.created_at FROM tokens k \
     WHERE k.device_uuid = devices.uuid AND k.revoked_at IS NULL) AS agent_key_since";

impl Store {
    /// The devices, by rising number.
    pub async fn inventory(&self, listed: Listed) -> Result<Vec<DeviceRecord>, StoreError> {
        let which = match listed {
            Listed::Present => " WHERE deleted_at IS NULL",
            Listed::Deleted => " WHERE deleted_at IS NOT NULL",
            Listed::All => "",
        };
        let sql = format!("SELECT {COLUMNS} FROM devices{which} ORDER BY id");
        let mut from = self.pool.acquire().await?;
        let rows = query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut from).await?;
        let mut devices = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let secrets = query("SELECT id, owner, kind, set_at FROM secrets ORDER BY kind")
            .fetch_all(&mut from)
            .await?;
        let mut by_owner: std::collections::HashMap<String, Vec<SecretRecord>> =
            std::collections::HashMap::new();
        for row in &secrets {
            if let Some(secret) = secret(row)? {
                by_owner.entry(row.try_get("owner")?).or_default().push(secret);
            }
        }
        for device in &mut devices {
            let own = by_owner.remove(&device.device_uuid.to_string());
            device.secrets = own.unwrap_or_default();
        }
        Ok(devices)
    }

    /// A device, deleted or not.
    pub async fn inventoried(&self, uuid: DeviceUuid) -> Result<Option<DeviceRecord>, StoreError> {
        one(&mut self.pool.acquire().await?, uuid).await
    }

    /// The one device that somebody means by its UUID, its number or its name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Ambiguous`] where several are called so.
    pub async fn find_device(
        &self,
        text: &str,
        listed: Listed,
    ) -> Result<DeviceRecord, StoreError> {
        let mut found: Vec<_> = self.inventory(listed).await?;
        let exact = found.iter().position(|d| d.device_uuid.to_string() == text.to_lowercase());
        if let Some(at) = exact {
            return Ok(found.swap_remove(at));
        }
        let number = text.strip_prefix('#').unwrap_or(text).parse().ok().map(DeviceId);
        let by_number = found.iter().position(|d| Some(d.id) == number);
        found.retain(|device| device.spec.name == text || Some(device.id) == number);
        match (found.len(), by_number) {
            (0, _) => Err(StoreError::NotFound("device", text.to_owned())),
            (1, _) => Ok(found.swap_remove(0)),
            (count, _) => Err(StoreError::Ambiguous("devices", count, text.to_owned())),
        }
    }
}

/// A device by its identity.
pub(super) async fn one(
    from: &mut Connection,
    uuid: DeviceUuid,
) -> Result<Option<DeviceRecord>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM devices WHERE uuid = $1");
    let owner = uuid.to_string();
    let row = query(sqlx::AssertSqlSafe(sql)).bind(&owner).fetch_optional(&mut *from).await?;
    let Some(row) = row else { return Ok(None) };
    let mut device = read(&row)?;
    let secrets =
        query("SELECT id, owner, kind, set_at FROM secrets WHERE owner = $1 ORDER BY kind")
            .bind(&owner)
            .fetch_all(from)
            .await?;
    for row in &secrets {
        device.secrets.extend(secret(row)?);
    }
    Ok(Some(device))
}

fn secret(row: &Row) -> Result<Option<SecretRecord>, StoreError> {
    let Some(kind) = SecretKind::of(row.try_get("kind")?) else { return Ok(None) };
    let set_at = Timestamp::from_millis(row.try_get("set_at")?);
    Ok(Some(SecretRecord { row: row.try_get("id")?, kind, set_at }))
}

fn read(row: &Row) -> Result<DeviceRecord, StoreError> {
    let corrupt = |what, e: String| StoreError::Corrupt(what, e);
    let time = |column| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
    };
    let id: i64 = row.try_get("id")?;
    let address: Option<String> = row.try_get("address")?;
    let ssh: Option<String> = row.try_get("ssh")?;
    let spec = DeviceSpec {
        name: row.try_get("name")?,
        address: address
            .map(|address| address.parse())
            .transpose()
            .map_err(|e: SshAddressError| corrupt("devices.address", e.to_string()))?,
        tags: serde_json::from_str(row.try_get("tags")?)
            .map_err(|e| corrupt("devices.tags", e.to_string()))?,
        group: row.try_get("group_name")?,
        notes: row.try_get("notes")?,
        enabled: row.try_get("enabled")?,
        options: serde_json::from_str(row.try_get("options")?)
            .map_err(|e| corrupt("devices.options", e.to_string()))?,
        ssh: ssh
            .map(|ssh| serde_json::from_str(&ssh))
            .transpose()
            .map_err(|e| corrupt("devices.ssh", e.to_string()))?,
    };
    Ok(DeviceRecord {
        device_uuid: row
            .try_get::<&str, _>("uuid")?
            .parse()
            .map_err(|e: kobel_wire::IdError| corrupt("devices.uuid", e.to_string()))?,
        id: DeviceId(u64::try_from(id).map_err(|e| corrupt("devices.id", e.to_string()))?),
        source: row
            .try_get::<&str, _>("source")?
            .parse()
            .map_err(|e| corrupt("devices.source", e))?,
        spec,
        secrets: Vec::new(),
        agent_key_since: time("agent_key_since")?,
        revision: row.try_get("revision")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        changed_at: time("changed_at")?,
        deleted_at: time("deleted_at")?,
    })
}

#[cfg(test)]
mod tests;
