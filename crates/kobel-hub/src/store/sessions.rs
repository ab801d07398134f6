//! Sessions of the page.

use std::time::Duration;

use kobel_wire::Timestamp;

use super::{Store, StoreError, db::query, secret};
use crate::access::{AccountId, CredentialId};

/// A session that was just made.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its number.
    pub id: i64,
    /// What the cookie holds. Known to the browser only.
    pub cookie: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Store {
    /// Starts a session, and forgets those that have ended.
    pub async fn start_session(
        &self,
        account: AccountId,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<NewSession, StoreError> {
        let (secret, hash) = secret::generate()?;
        let expires_at = after(now, lifetime);
        query("DELETE FROM sessions WHERE expires_at <= $1")
            .bind(now.as_millis())
            .execute(&self.pool)
            .await?;
        let row = query(
            "INSERT INTO sessions (account_id, secret_hash, created_at, expires_at) \
             VALUES ($1, $2, $3, $4) RETURNING id",
        )
        .bind(account.0)
        .bind(hash)
        .bind(now.as_millis())
        .bind(expires_at.as_millis())
        .fetch_one(&self.pool)
        .await?;
        let id = row.try_get(0)?;
        Ok(NewSession { id, cookie: secret::join(id, &secret), expires_at })
    }

    /// Ends a session.
    pub async fn end_session(&self, id: i64) -> Result<CredentialId, StoreError> {
        query("DELETE FROM sessions WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(CredentialId::Session(id))
    }
}

pub(super) fn after(now: Timestamp, lifetime: Duration) -> Timestamp {
    let ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_add(ms))
}
