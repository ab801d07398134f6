//! From a credential to who it is.

use std::sync::Arc;

use kobel_wire::{Role, Timestamp};

use super::{
    Store, StoreError,
    db::{Row, query},
    role_of, scope_of, secret,
    tokens::PREFIX,
};
use crate::access::{Access, AccountId, CredentialId, DeviceScope, Principal};

const SESSION: &str = "SELECT s.secret_hash, s.expires_at, a.id AS account_id, a.name, a.role, \
     a.devices FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.id = $1";

const TOKEN: &str = "SELECT t.secret_hash, t.expires_at, a.id AS account_id, a.name, a.role, \
     a.devices, t.role AS token_role, t.devices AS token_devices \
     FROM tokens t JOIN accounts a ON a.id = t.account_id \
     WHERE t.id = $1 AND t.revoked_at IS NULL AND t.enrolls IS NULL";

impl Store {
    /// Who has the session of this cookie; `None` where it does not hold.
    pub async fn by_cookie(
        &self,
        cookie: &str,
        now: Timestamp,
    ) -> Result<Option<Principal>, StoreError> {
        let Some((id, given)) = secret::split(cookie) else {
            return Ok(None);
        };
        let Some(row) = query(SESSION).bind(id).fetch_optional(&self.pool).await? else {
            return Ok(None);
        };
        if !secret::matches(given, row.try_get("secret_hash")?) {
            return Ok(None);
        }
        principal(&row, CredentialId::Session(id), now)
    }

    /// Who has this API token; `None` where it does not hold.
    pub async fn by_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Principal>, StoreError> {
        let Some(rest) = token.strip_prefix(PREFIX) else {
            return Ok(None);
        };
        let rest = rest.replacen('_', ".", 1);
        let Some((id, given)) = secret::split(&rest) else {
            return Ok(None);
        };
        let Some(row) = query(TOKEN).bind(id).fetch_optional(&self.pool).await? else {
            return Ok(None);
        };
        if !secret::matches(given, row.try_get("secret_hash")?) {
            return Ok(None);
        }
        principal(&row, CredentialId::Token(id), now)
    }

    /// Notes that these tokens were used. For many at once: a write for each sign-in would cost more
    /// than the sign-in.
    pub async fn note_use(&self, tokens: &[i64], now: Timestamp) -> Result<(), StoreError> {
        let mut change = self.pool.begin().await?;
        for id in tokens {
            query("UPDATE tokens SET last_used_at = $1 WHERE id = $2")
                .bind(now.as_millis())
                .bind(id)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// What the holder of this credential may do and see now; `None` where it does not hold any
    /// more.
    pub async fn access_by(
        &self,
        credential: CredentialId,
        now: Timestamp,
    ) -> Result<Option<Arc<Access>>, StoreError> {
        let (sql, id) = match credential {
            CredentialId::Session(id) => (SESSION, id),
            CredentialId::Token(id) => (TOKEN, id),
        };
        match query(sql).bind(id).fetch_optional(&self.pool).await? {
            Some(row) => Ok(principal(&row, credential, now)?.map(|p| p.access)),
            None => Ok(None),
        }
    }
}

fn principal(
    row: &Row,
    credential: CredentialId,
    now: Timestamp,
) -> Result<Option<Principal>, StoreError> {
    let expires_at = row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp::from_millis);
    if expires_at.is_some_and(|at| at <= now) {
        return Ok(None);
    }
    let mut access = Access {
        role: role_of(row.try_get("role")?)?,
        devices: scope_of(row.try_get("devices")?)?,
    };
    if let CredentialId::Token(_) = credential {
        // A token does and sees what both it and its account may.
        access.role = access.role.min(role_of(row.try_get("token_role")?)?);
        access.devices = both(access.devices, scope_of(row.try_get("token_devices")?)?);
    }
    Ok(Some(Principal {
        account: AccountId(row.try_get("account_id")?),
        name: row.try_get::<&str, _>("name")?.into(),
        access: Arc::new(access),
        credential,
        expires_at,
    }))
}

fn both(a: DeviceScope, b: DeviceScope) -> DeviceScope {
    match (a, b) {
        (DeviceScope::All, only) | (only, DeviceScope::All) => only,
        (DeviceScope::Only(a), DeviceScope::Only(b)) => {
            DeviceScope::Only(a.intersection(&b).copied().collect())
        }
    }
}

// `Role::min` is by rank: an agent is less than a viewer, and that less than an admin.
const _: () = assert!((Role::Agent as u8) < (Role::Viewer as u8));
const _: () = assert!((Role::Viewer as u8) < (Role::Admin as u8));
