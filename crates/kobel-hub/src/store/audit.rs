//! Who changed what, and when. Rows are only ever added.

use kobel_wire::{DeviceUuid, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{
    Store, StoreError,
    db::{Connection, query},
};

/// Who changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person on the page, by the account's name.
    Account(String),
    /// A program by a token: `account (token NUMBER)`.
    Token(String),
    /// Somebody on the command line of the hub's machine, by the system's user name.
    Cli(String),
    /// The hub itself.
    Hub,
}

impl Actor {
    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Account(name) => ("account", name),
            Self::Token(name) => ("token", name),
            Self::Cli(name) => ("cli", name),
            Self::Hub => ("hub", "kobel"),
        }
    }
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number; later ones are higher.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who made it.
    pub actor: AuditActor,
    /// What was done, such as `device.edit`.
    pub action: String,
    /// The device that it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_uuid: Option<DeviceUuid>,
    /// What that was called then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// What changed, as it was; no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What changed, as it is since; no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditActor {
    /// `account`, `token`, `cli` or `hub`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Which changes are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditQuery {
    /// Only of this device.
    pub device: Option<DeviceUuid>,
    /// Only older than the one of this number.
    pub before: Option<i64>,
    /// The most of them.
    pub limit: u32,
}

/// A device, as an entry names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) uuid: DeviceUuid,
    pub(super) name: &'a str,
}

/// Writes an entry, in the transaction of the change itself.
pub(super) async fn write(
    change: &mut Connection,
    actor: &Actor,
    action: &str,
    about: Option<About<'_>>,
    before: Option<&Value>,
    after: Option<&Value>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (kind, name) = actor.columns();
    query(
        "INSERT INTO audit \
         (at, actor_kind, actor, action, device_uuid, device_name, before, after) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(now.as_millis())
    .bind(kind)
    .bind(name)
    .bind(action)
    .bind(about.map(|about| about.uuid.to_string()))
    .bind(about.map(|about| about.name))
    .bind(before.map(Value::to_string))
    .bind(after.map(Value::to_string))
    .execute(change)
    .await?;
    Ok(())
}

impl Store {
    /// The changes, newest first.
    pub async fn audit(&self, asked: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = query(
            "SELECT id, at, actor_kind, actor, action, device_uuid, device_name, before, after \
             FROM audit WHERE ($1 IS NULL OR device_uuid = $1) AND ($2 IS NULL OR id < $2) \
             ORDER BY id DESC LIMIT $3",
        )
        .bind(asked.device.map(|uuid| uuid.to_string()))
        .bind(asked.before)
        .bind(i64::from(asked.limit))
        .fetch_all(&self.pool)
        .await?;
        let corrupt = |what, e: String| StoreError::Corrupt(what, e);
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let json = |column: &str| -> Result<Option<Value>, StoreError> {
                let text: Option<String> = row.try_get(column)?;
                let read = text.map(|text| serde_json::from_str(&text)).transpose();
                read.map_err(|e| corrupt("audit", e.to_string()))
            };
            let uuid: Option<String> = row.try_get("device_uuid")?;
            let uuid = uuid.map(|uuid| uuid.parse()).transpose();
            entries.push(AuditEntry {
                id: row.try_get("id")?,
                at: Timestamp::from_millis(row.try_get("at")?),
                actor: AuditActor { kind: row.try_get("actor_kind")?, name: row.try_get("actor")? },
                action: row.try_get("action")?,
                device_uuid: uuid
                    .map_err(|e: kobel_wire::IdError| corrupt("audit", e.to_string()))?,
                device_name: row.try_get("device_name")?,
                before: json("before")?,
                after: json("after")?,
            });
        }
        Ok(entries)
    }

    /// The number of the newest change. Every change of the inventory is one, so whoever knows this
    /// number knows whether there is anything new.
    pub async fn last_change(&self) -> Result<i64, StoreError> {
        let row = query("SELECT COALESCE(MAX(id), 0) FROM audit").fetch_one(&self.pool);
        Ok(row.await?.try_get(0)?)
    }
}
