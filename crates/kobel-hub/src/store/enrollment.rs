//! Enrollment: a token that lasts a short time, and for which each host gets a key of its own.
//!
//! A key is a token of the role agent that is good for its device alone. The agent makes the secret
//! itself; what it sends is the secret's hash, and the hub keeps no more of any token. Whoever sends
//! the same hash again by the same token gets the same answer, so an answer that was lost costs
//! nothing.

use std::time::Duration;

use kobel_wire::{DeviceUuid, SourceKind, Timestamp};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::{
    Actor, NewToken, Store, StoreError, TokenState,
    audit::{self, About},
    checked_name,
    db::{Connection, Row, query},
    inventory::{DeviceSpec, FieldError},
    scope_of, secret,
    sessions::after,
    tokens::{PREFIX, state_of},
};
use crate::access::{AccountId, DeviceScope};

/// What an enrollment token begins with, so that an agent knows what it was given.
pub const ENROLLMENT_PREFIX: &str = "kobel_enroll_";

/// The most hosts of one token.
const MOST_USES: u32 = 10_000;

/// The longest that one holds.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What a new enrollment token is to be.
#[derive(Debug, Clone)]
pub struct EnrollmentRequest<'a> {
    /// Whose it is, and whose the keys will be: it must see every device.
    pub account: AccountId,
    /// What people call it.
    pub name: &'a str,
    /// How many hosts it enrolls, 1 to 10,000.
    pub uses: u32,
    /// How long it holds, at most 30 days.
    pub lifetime: Duration,
    /// Words that are put on a host that is new.
    pub tags: Vec<String>,
    /// The group that a host is put in that is new.
    pub group: Option<String>,
}

/// An enrollment token, and what came by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrollment {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// How many hosts it enrolls.
    pub uses: u32,
    /// How many it has enrolled.
    pub used: u32,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether it holds.
    pub state: TokenState,
    /// The devices that came by it, oldest first.
    pub devices: Vec<(DeviceUuid, String)>,
}

/// A host that wants a key.
#[derive(Debug, Clone, Copy)]
pub struct Enrollee<'a> {
    /// What its agent's device is known by, for ever.
    pub key: &'a str,
    /// What to call it where it is new.
    pub name: &'a str,
    /// Words to put on it where it is new, beside the token's.
    pub tags: &'a [String],
    /// SHA-256 of the secret that the agent made.
    pub secret_hash: &'a [u8; 32],
}

/// A host that has a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The key's number: the token is `kobel_<number>_<secret>`.
    pub token: i64,
    /// Its device.
    pub device: DeviceUuid,
    /// What that is called.
    pub name: String,
}

/// Why a host gets no key. Only who has the token is told more than that it is wrong.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// There is no such token.
    #[error("the enrollment token is wrong")]
    Wrong,
    /// It was revoked.
    #[error("the enrollment token {0:?} was revoked; make another one on the hub")]
    Revoked(String),
    /// It has ended.
    #[error("the enrollment token {0:?} has expired; make another one on the hub")]
    Expired(String),
    /// All its uses are used.
    #[error(
        "the enrollment token {0:?} is used up: it was for {1} host(s); make another one on the hub"
    )]
    UsedUp(String, u32),
    /// Whose token it is may not see every device any more.
    #[error("the account of the enrollment token {0:?} may not add devices")]
    Limited(String),
    /// The device has a key that holds.
    #[error(
        "this machine is enrolled already, as {0:?}; if it has lost its key, revoke that on the hub: \
         kobel agent revoke {0:?}, then make another enrollment token"
    )]
    HasKey(String),
    /// The device was deleted.
    #[error("this machine was deleted on the hub, where it is {0:?}: restore or purge it first")]
    Deleted(String),
    /// Its key was revoked after the token was made: the token must not undo that.
    #[error(
        "this machine's key was revoked after the enrollment token was made; make another one on \
         the hub"
    )]
    Older(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for EnrollError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Makes an enrollment token.
    ///
    /// # Errors
    /// [`StoreError::Field`] names what is wrong.
    pub async fn create_enrollment(
        &self,
        request: &EnrollmentRequest<'_>,
        now: Timestamp,
    ) -> Result<NewToken, StoreError> {
        let name = checked_name(request.name, "token")?;
        let wrong = |field: &str, why: &str| FieldError { field: field.into(), why: why.into() };
        if !(1..=MOST_USES).contains(&request.uses) {
            return Err(wrong("uses", "use 1 to 10,000").into());
        }
        if request.lifetime.is_zero() || request.lifetime > LONGEST {
            return Err(wrong("expires", "use up to 30 days (30d)").into());
        }
        // Checked as those of any device.
        let labels = DeviceSpec {
            name: "host".into(),
            tags: request.tags.clone(),
            group: request.group.clone(),
            ..DeviceSpec::default()
        };
        let labels = labels.checked(SourceKind::Agent, now)?;
        let account = query("SELECT devices FROM accounts WHERE id = $1")
            .bind(request.account.0)
            .fetch_one(&self.pool)
            .await?;
        if scope_of(account.try_get(0)?)? != DeviceScope::All {
            return Err(wrong("account", "it must see every device: new ones come by it").into());
        }
        let (secret, hash) = secret::generate()?;
        let expires_at = after(now, request.lifetime);
        let made = query(
            "INSERT INTO tokens (account_id, name, secret_hash, role, created_at, expires_at, \
             enrolls, enroll_tags, enroll_group) \
             VALUES ($1, $2, $3, 'agent', $4, $5, $6, $7, $8) RETURNING id",
        )
        .bind(request.account.0)
        .bind(name)
        .bind(hash)
        .bind(now.as_millis())
        .bind(expires_at.as_millis())
        .bind(i64::from(request.uses))
        .bind(serde_json::to_string(&labels.tags).unwrap_or_default())
        .bind(labels.group)
        .fetch_one(&self.pool)
        .await;
        let row = match made {
            Err(sqlx::Error::Database(e)) if e.is_unique_violation() => {
                return Err(StoreError::NameTaken("token", name.to_owned()));
            }
            made => made?,
        };
        let id = row.try_get(0)?;
        let secret = secret::join(id, &secret).replacen('.', "_", 1);
        let secret = format!("{ENROLLMENT_PREFIX}{secret}");
        Ok(NewToken { id, secret, expires_at: Some(expires_at) })
    }

    /// An enrollment token by its number, with the devices that came by it.
    pub async fn enrollment(
        &self,
        id: i64,
        now: Timestamp,
    ) -> Result<Option<Enrollment>, StoreError> {
        let row = query(
            "SELECT name, enrolls, enrolled, expires_at, revoked_at FROM tokens \
             WHERE id = $1 AND enrolls IS NOT NULL",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let devices = query(
            "SELECT d.uuid, d.name FROM tokens t JOIN devices d ON d.uuid = t.device_uuid \
             WHERE t.enrolled_by = $1 ORDER BY t.id",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await?;
        let devices = devices.iter().map(|row| Ok((uuid(row.try_get(0)?)?, row.try_get(1)?)));
        Ok(Some(Enrollment {
            id,
            name: row.try_get("name")?,
            uses: count(&row, "enrolls")?,
            used: count(&row, "enrolled")?,
            expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp::from_millis),
            state: state_of(&row, now)?,
            devices: devices.collect::<Result<_, StoreError>>()?,
        }))
    }

    /// Gives a host its key, in one transaction with its device and its line in the audit log.
    ///
    /// # Errors
    /// Why it gets none.
    pub async fn enroll(
        &self,
        token: &str,
        host: &Enrollee<'_>,
        now: Timestamp,
    ) -> Result<Enrolled, EnrollError> {
        let rest = token.strip_prefix(ENROLLMENT_PREFIX).ok_or(EnrollError::Wrong)?;
        let rest = rest.replacen('_', ".", 1);
        let (id, given) = secret::split(&rest).ok_or(EnrollError::Wrong)?;
        let mut change = self.pool.begin().await?;
        let row = query(
            "SELECT t.name, t.secret_hash, t.account_id, t.created_at, t.expires_at, \
             t.revoked_at, t.enrolls, t.enrolled, t.enroll_tags, t.enroll_group, a.devices, \
             a.name AS account FROM tokens t JOIN accounts a ON a.id = t.account_id \
             WHERE t.id = $1 AND t.enrolls IS NOT NULL",
        )
        .bind(id)
        .fetch_optional(&mut *change)
        .await?;
        let row = row.ok_or(EnrollError::Wrong)?;
        if !secret::matches(given, row.try_get("secret_hash")?) {
            return Err(EnrollError::Wrong);
        }
        let known = known(&mut change, host.key).await?;
        if let Some(device) = &known
            && let Some((key, by, hash)) = key_of(&mut change, device.uuid).await?
        {
            // The answer before was lost on its way.
            if by == Some(id) && bool::from(hash.ct_eq(host.secret_hash)) {
                let (device, name) = (device.uuid, device.name.clone());
                return Ok(Enrolled { token: key, device, name });
            }
            return Err(EnrollError::HasKey(device.name.clone()));
        }
        holds(&row, now)?;
        let device = match known {
            Some(known) => {
                check_may_come(&mut change, &known, row.try_get("created_at")?).await?;
                known
            }
            None => add(&mut change, host, &row, now).await?,
        };
        let token = add_key(&mut change, (id, &row), host, &device, now).await?;
        query("UPDATE tokens SET enrolled = enrolled + 1, last_used_at = $1 WHERE id = $2")
            .bind(now.as_millis())
            .bind(id)
            .execute(&mut *change)
            .await?;
        let actor = Actor::Token(format!("{} (token {id})", row.try_get::<&str, _>("account")?));
        let about = About { uuid: device.uuid, name: &device.name };
        let after = json!({ "key": token });
        audit::write(&mut change, &actor, "agent.enroll", Some(about), None, Some(&after), now)
            .await?;
        change.commit().await?;
        Ok(Enrolled { token, device: device.uuid, name: device.name })
    }

    /// Revokes the key of a device's agent: its link ends within a second.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it has none.
    pub async fn revoke_agent_key(
        &self,
        device: DeviceUuid,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut change = self.pool.begin().await?;
        let name: Option<String> = query("SELECT name FROM devices WHERE uuid = $1")
            .bind(device.to_string())
            .fetch_optional(&mut *change)
            .await?
            .map(|row| row.try_get(0))
            .transpose()?;
        let name = name.ok_or_else(|| StoreError::NotFound("device", device.to_string()))?;
        if !revoke_key(&mut change, device, now).await? {
            return Err(StoreError::NoAgentKey(name));
        }
        let about = About { uuid: device, name: &name };
        audit::write(&mut change, actor, "agent.revoke", Some(about), None, None, now).await?;
        change.commit().await?;
        Ok(())
    }
}

/// Revokes the key of a device, if it has one, in the transaction of what that belongs to.
pub(super) async fn revoke_key(
    change: &mut Connection,
    device: DeviceUuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done =
        query("UPDATE tokens SET revoked_at = $1 WHERE device_uuid = $2 AND revoked_at IS NULL")
            .bind(now.as_millis())
            .bind(device.to_string())
            .execute(change)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// A device as far as enrollment looks at it.
struct Known {
    uuid: DeviceUuid,
    id: i64,
    name: String,
    deleted: bool,
}

async fn known(change: &mut Connection, key: &str) -> Result<Option<Known>, StoreError> {
    let row = query(
        "SELECT id, uuid, name, deleted_at FROM devices WHERE source = $1 AND source_key = $2",
    )
    .bind(SourceKind::Agent.as_str())
    .bind(key)
    .fetch_optional(change)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Known {
        uuid: uuid(row.try_get("uuid")?)?,
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        deleted: row.try_get::<Option<i64>, _>("deleted_at")?.is_some(),
    }))
}

/// The number of the device's key that holds, the token that it came by, and its secret's hash.
async fn key_of(
    change: &mut Connection,
    device: DeviceUuid,
) -> Result<Option<(i64, Option<i64>, Vec<u8>)>, StoreError> {
    let row = query(
        "SELECT id, enrolled_by, secret_hash FROM tokens \
         WHERE device_uuid = $1 AND revoked_at IS NULL",
    )
    .bind(device.to_string())
    .fetch_optional(change)
    .await?;
    Ok(row
        .map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .transpose()?)
}

/// Whether the token still enrolls.
fn holds(row: &Row, now: Timestamp) -> Result<(), EnrollError> {
    let name = row.try_get::<&str, _>("name")?.to_owned();
    match state_of(row, now)? {
        TokenState::Revoked => return Err(EnrollError::Revoked(name)),
        TokenState::Expired => return Err(EnrollError::Expired(name)),
        TokenState::UsedUp => {
            return Err(EnrollError::UsedUp(name, count(row, "enrolls")?));
        }
        TokenState::Valid => {}
    }
    if scope_of(row.try_get("devices")?)? != DeviceScope::All {
        return Err(EnrollError::Limited(name));
    }
    Ok(())
}

async fn check_may_come(
    change: &mut Connection,
    known: &Known,
    made_at: i64,
) -> Result<(), EnrollError> {
    if known.deleted {
        return Err(EnrollError::Deleted(known.name.clone()));
    }
    let later = query("SELECT 1 FROM tokens WHERE device_uuid = $1 AND revoked_at >= $2")
        .bind(known.uuid.to_string())
        .bind(made_at)
        .fetch_optional(change)
        .await?;
    if later.is_some() { Err(EnrollError::Older(known.name.clone())) } else { Ok(()) }
}

async fn add(
    change: &mut Connection,
    host: &Enrollee<'_>,
    token: &Row,
    now: Timestamp,
) -> Result<Known, StoreError> {
    let corrupt = |e: serde_json::Error| StoreError::Corrupt("tokens.enroll_tags", e.to_string());
    let mut tags: Vec<String> =
        serde_json::from_str(token.try_get("enroll_tags")?).map_err(corrupt)?;
    for tag in host.tags {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    let device = DeviceUuid::generate();
    let row = query(
        "INSERT INTO devices (uuid, name, tags, group_name, source, source_key, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
    )
    .bind(device.to_string())
    .bind(host.name)
    .bind(serde_json::to_string(&tags).unwrap_or_default())
    .bind(token.try_get::<Option<&str>, _>("enroll_group")?)
    .bind(SourceKind::Agent.as_str())
    .bind(host.key)
    .bind(now.as_millis())
    .fetch_one(change)
    .await?;
    let name = host.name.to_owned();
    Ok(Known { uuid: device, id: row.try_get(0)?, name, deleted: false })
}

async fn add_key(
    change: &mut Connection,
    (by, token): (i64, &Row),
    host: &Enrollee<'_>,
    device: &Known,
    now: Timestamp,
) -> Result<i64, StoreError> {
    // Of the tokens that hold, one has a name.
    let suffix = format!(" (device {})", device.id);
    let name: String = device.name.chars().take(64 - suffix.len()).collect();
    let row = query(
        "INSERT INTO tokens (account_id, name, secret_hash, role, devices, created_at, \
         device_uuid, enrolled_by) VALUES ($1, $2, $3, 'agent', $4, $5, $6, $7) RETURNING id",
    )
    .bind(token.try_get::<i64, _>("account_id")?)
    .bind(format!("{name}{suffix}"))
    .bind(host.secret_hash.as_slice())
    .bind(format!("[\"{}\"]", device.uuid))
    .bind(now.as_millis())
    .bind(device.uuid.to_string())
    .bind(by)
    .fetch_one(change)
    .await?;
    Ok(row.try_get(0)?)
}

fn uuid(text: &str) -> Result<DeviceUuid, StoreError> {
    text.parse()
        .map_err(|e: kobel_wire::IdError| StoreError::Corrupt("devices.uuid", e.to_string()))
}

fn count(row: &Row, column: &'static str) -> Result<u32, StoreError> {
    let count: i64 = row.try_get(column)?;
    u32::try_from(count).map_err(|e| StoreError::Corrupt(column, e.to_string()))
}

/// Whether a text looks like an enrollment token, and its number.
pub fn enrollment_number(token: &str) -> Option<i64> {
    let rest = token.strip_prefix(ENROLLMENT_PREFIX)?.replacen('_', ".", 1);
    secret::split(&rest).map(|(id, _)| id)
}

/// What a key's token is, of its number and its secret.
pub fn agent_token(id: i64, secret: &str) -> String {
    format!("{PREFIX}{id}_{secret}")
}

#[cfg(test)]
mod tests;
