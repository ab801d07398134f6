//! Links that sign in once.

use std::time::Duration;

use kobel_wire::Timestamp;

use super::{Account, Store, StoreError, db::query, secret, sessions::after};
use crate::access::AccountId;

/// A link that was just made.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// What stands behind the `#` of the link. Known to whoever gets the link only.
    pub secret: String,
    /// When it ends, used or not.
    pub expires_at: Timestamp,
}

impl Store {
    /// Makes a link for an account, and forgets those that have ended.
    pub async fn make_link(
        &self,
        account: AccountId,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<NewLink, StoreError> {
        let (secret, hash) = secret::generate()?;
        let expires_at = after(now, lifetime);
        query("DELETE FROM sign_in_links WHERE expires_at <= $1")
            .bind(now.as_millis())
            .execute(&self.pool)
            .await?;
        let row = query(
            "INSERT INTO sign_in_links (account_id, secret_hash, expires_at) \
             VALUES ($1, $2, $3) RETURNING id",
        )
        .bind(account.0)
        .bind(hash)
        .bind(expires_at.as_millis())
        .fetch_one(&self.pool)
        .await?;
        Ok(NewLink { secret: secret::join(row.try_get(0)?, &secret), expires_at })
    }

    /// Uses a link up; gives its account, or `None` where it was used before, has ended, or never
    /// was.
    pub async fn use_link(
        &self,
        link: &str,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let Some((id, given)) = secret::split(link) else {
            return Ok(None);
        };
        let row = query(
            "SELECT secret_hash, account_id FROM sign_in_links WHERE id = $1 AND expires_at > $2",
        )
        .bind(id)
        .bind(now.as_millis())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if !secret::matches(given, row.try_get("secret_hash")?) {
            return Ok(None);
        }
        // Whoever deletes the row has used the link; of two at once, one.
        let used = query("DELETE FROM sign_in_links WHERE id = $1").bind(id);
        if used.execute(&self.pool).await?.rows_affected() == 0 {
            return Ok(None);
        }
        self.account_by_id(AccountId(row.try_get("account_id")?)).await
    }
}
