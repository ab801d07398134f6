//! API tokens.

use std::time::Duration;

use kobel_wire::{DeviceUuid, Role, Timestamp};

use super::{
    Store, StoreError, checked_name,
    db::{Row, query},
    role_of, scope_of, scope_to_column, secret,
    sessions::after,
};
use crate::access::{AccountId, CredentialId, DeviceScope};

/// What every token begins with, so that people and secret scanners know it.
pub(super) const PREFIX: &str = "kobel_";

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct TokenRequest<'a> {
    /// Whose it is; it can do and see no more than its account.
    pub account: AccountId,
    /// What people call it.
    pub name: &'a str,
    /// What it may do.
    pub role: Role,
    /// What it may see.
    pub devices: DeviceScope,
    /// How long it holds; `None`: until it is revoked.
    pub lifetime: Option<Duration>,
}

/// A token that was just made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its number.
    pub id: i64,
    /// The token itself. Shown once, stored nowhere.
    pub secret: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A token as it can be listed.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The name of its account.
    pub account: String,
    /// What it may do.
    pub role: Role,
    /// What it may see.
    pub devices: DeviceScope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// Whether it holds.
    pub state: TokenState,
    /// Of an enrollment token: how many hosts it has enrolled, and of how many.
    pub enrolled: Option<(u32, u32)>,
    /// Of an agent's own key: its device.
    pub key_of: Option<DeviceUuid>,
}

/// Whether a token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It does.
    Valid,
    /// It has ended by itself.
    Expired,
    /// It was revoked.
    Revoked,
    /// It enrolled as many hosts as it was for.
    UsedUp,
}

impl Store {
    /// Makes a token.
    pub async fn create_token(
        &self,
        request: &TokenRequest<'_>,
        now: Timestamp,
    ) -> Result<NewToken, StoreError> {
        let name = checked_name(request.name, "token")?;
        let (secret, hash) = secret::generate()?;
        let expires_at = request.lifetime.map(|lifetime| after(now, lifetime));
        let made = query(
            "INSERT INTO tokens \
             (account_id, name, secret_hash, role, devices, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(request.account.0)
        .bind(name)
        .bind(hash)
        .bind(request.role.as_str())
        .bind(scope_to_column(&request.devices))
        .bind(now.as_millis())
        .bind(expires_at.map(Timestamp::as_millis))
        .fetch_one(&self.pool)
        .await;
        let row = match made {
            Err(sqlx::Error::Database(e)) if e.is_unique_violation() => {
                return Err(StoreError::NameTaken("token", name.to_owned()));
            }
            made => made?,
        };
        let id = row.try_get(0)?;
        let secret = format!("{PREFIX}{}", secret::join(id, &secret));
        // A dot would end what a double click selects.
        Ok(NewToken { id, secret: secret.replacen('.', "_", 1), expires_at })
    }

    /// Every token, oldest first.
    pub async fn tokens(&self, now: Timestamp) -> Result<Vec<Token>, StoreError> {
        let rows = query(
            "SELECT t.id, t.name, a.name AS account, t.role, t.devices, t.created_at, \
             t.expires_at, t.revoked_at, t.last_used_at, t.enrolls, t.enrolled, t.device_uuid \
             FROM tokens t JOIN accounts a ON a.id = t.account_id ORDER BY t.id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| read(row, now)).collect()
    }

    /// Revokes the token of this name, or of this number.
    pub async fn revoke_token(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<CredentialId, StoreError> {
        let row = query(
            "UPDATE tokens SET revoked_at = $1 WHERE revoked_at IS NULL AND id = \
             (SELECT id FROM tokens WHERE revoked_at IS NULL AND (name = $2 OR id = $3) \
              ORDER BY name = $2 DESC LIMIT 1) RETURNING id",
        )
        .bind(now.as_millis())
        .bind(name)
        .bind(name.parse().unwrap_or(0_i64))
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) => Ok(CredentialId::Token(row.try_get(0)?)),
            None => Err(StoreError::NotFound("token", name.to_owned())),
        }
    }
}

/// Whether the token of a row with its times and its uses holds.
pub(super) fn state_of(row: &Row, now: Timestamp) -> Result<TokenState, StoreError> {
    let (enrolls, enrolled): (Option<i64>, i64) =
        (row.try_get("enrolls")?, row.try_get("enrolled")?);
    Ok(if row.try_get::<Option<i64>, _>("revoked_at")?.is_some() {
        TokenState::Revoked
    } else if row.try_get::<Option<i64>, _>("expires_at")?.is_some_and(|at| at <= now.as_millis()) {
        TokenState::Expired
    } else if enrolls.is_some_and(|enrolls| enrolled >= enrolls) {
        TokenState::UsedUp
    } else {
        TokenState::Valid
    })
}

fn read(row: &Row, now: Timestamp) -> Result<Token, StoreError> {
    let time = |column| -> Result<Option<Timestamp>, StoreError> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_millis))
    };
    let count = |count: i64| {
        u32::try_from(count).map_err(|e| StoreError::Corrupt("tokens.enrolls", e.to_string()))
    };
    let enrolls: Option<i64> = row.try_get("enrolls")?;
    let enrolled = match enrolls {
        Some(enrolls) => Some((count(row.try_get("enrolled")?)?, count(enrolls)?)),
        None => None,
    };
    let key_of: Option<&str> = row.try_get("device_uuid")?;
    let key_of = key_of.map(str::parse).transpose().map_err(|e: kobel_wire::IdError| {
        StoreError::Corrupt("tokens.device_uuid", e.to_string())
    })?;
    Ok(Token {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        account: row.try_get("account")?,
        role: role_of(row.try_get("role")?)?,
        devices: scope_of(row.try_get("devices")?)?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        expires_at: time("expires_at")?,
        last_used_at: time("last_used_at")?,
        state: state_of(row, now)?,
        enrolled,
        key_of,
    })
}
