//! Accounts.

use kobel_wire::{Role, Timestamp};

use super::{
    Store, StoreError, checked_name,
    db::{Connection, Row, query},
    role_of, scope_of, scope_to_column,
};
use crate::access::{AccountId, DeviceScope};

/// The account that is made at the first start.
const FIRST: &str = "admin";

/// Somebody who may sign in.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its name, by which it signs in.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What it may see.
    pub devices: DeviceScope,
    /// Whether it can sign in by password.
    pub has_password: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

const COLUMNS: &str =
    "id, name, role, devices, password_hash IS NOT NULL AS has_password, created_at";

pub(super) fn read(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId(row.try_get("id")?),
        name: row.try_get("name")?,
        role: role_of(row.try_get("role")?)?,
        devices: scope_of(row.try_get("devices")?)?,
        has_password: row.try_get("has_password")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
    })
}

impl Store {
    /// Makes the first account, an admin without a password, where there is none; gives the admin
    /// that was made first.
    pub async fn first_admin(&self, now: Timestamp) -> Result<Account, StoreError> {
        // In one statement, since two processes may start at once.
        query(
            "INSERT INTO accounts (name, role, created_at) SELECT $1, 'admin', $2 \
             WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE role = 'admin') \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(FIRST)
        .bind(now.as_millis())
        .execute(&self.pool)
        .await?;
        let sql =
            format!("SELECT {COLUMNS} FROM accounts WHERE role = 'admin' ORDER BY id LIMIT 1");
        read(&query(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await?)
    }

    /// Whether nobody has a password yet: then only a link leads in.
    pub async fn nobody_has_a_password(&self) -> Result<bool, StoreError> {
        let row = query("SELECT count(*) FROM accounts WHERE password_hash IS NOT NULL");
        let count: i64 = row.fetch_one(&self.pool).await?.try_get(0)?;
        Ok(count == 0)
    }

    /// Makes an account.
    pub async fn add_account(
        &self,
        name: &str,
        role: Role,
        devices: &DeviceScope,
        now: Timestamp,
    ) -> Result<Account, StoreError> {
        checked_name(name, "user")?;
        if role == Role::Agent {
            return Err(StoreError::AgentAccount);
        }
        let made =
            query("INSERT INTO accounts (name, role, devices, created_at) VALUES ($1, $2, $3, $4)")
                .bind(name)
                .bind(role.as_str())
                .bind(scope_to_column(devices))
                .bind(now.as_millis())
                .execute(&self.pool)
                .await;
        match made {
            Err(sqlx::Error::Database(e)) if e.is_unique_violation() => {
                Err(StoreError::NameTaken("user", name.to_owned()))
            }
            Err(e) => Err(e.into()),
            Ok(_) => self.account(name).await,
        }
    }

    /// The account of this name.
    pub async fn account(&self, name: &str) -> Result<Account, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM accounts WHERE name = $1");
        let row = query(sqlx::AssertSqlSafe(sql)).bind(name).fetch_optional(&self.pool).await?;
        match row {
            Some(row) => read(&row),
            None => Err(StoreError::NotFound("user", name.to_owned())),
        }
    }

    /// The account of this number, if it is still there.
    pub async fn account_by_id(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM accounts WHERE id = $1");
        let row = query(sqlx::AssertSqlSafe(sql)).bind(id.0).fetch_optional(&self.pool).await?;
        row.map(|row| read(&row)).transpose()
    }

    /// Every account, oldest first.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM accounts ORDER BY id");
        let rows = query(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// Changes what an account may do and see. Live sockets of it are closed by whoever watches
    /// the credentials.
    pub async fn set_access(
        &self,
        name: &str,
        role: Role,
        devices: &DeviceScope,
    ) -> Result<(), StoreError> {
        if role == Role::Agent {
            return Err(StoreError::AgentAccount);
        }
        let account = self.account(name).await?;
        let mut change = self.pool.begin().await?;
        if account.role == Role::Admin && role != Role::Admin {
            keep_an_admin(&mut change, &account).await?;
        }
        query("UPDATE accounts SET role = $1, devices = $2 WHERE id = $3")
            .bind(role.as_str())
            .bind(scope_to_column(devices))
            .bind(account.id.0)
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        Ok(())
    }

    /// Removes an account with its sessions, tokens and links.
    pub async fn remove_account(&self, name: &str) -> Result<(), StoreError> {
        let account = self.account(name).await?;
        let mut change = self.pool.begin().await?;
        if account.role == Role::Admin {
            keep_an_admin(&mut change, &account).await?;
        }
        query("DELETE FROM accounts WHERE id = $1")
            .bind(account.id.0)
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        Ok(())
    }

    /// Sets a password and ends the account's sessions, except `keep`.
    pub async fn set_password(
        &self,
        account: AccountId,
        password: &str,
        keep: Option<i64>,
    ) -> Result<(), StoreError> {
        let hash = self.passwords.hash(password).await?;
        let mut change = self.pool.begin().await?;
        query("UPDATE accounts SET password_hash = $1 WHERE id = $2")
            .bind(hash)
            .bind(account.0)
            .execute(&mut *change)
            .await?;
        query("DELETE FROM sessions WHERE account_id = $1 AND id <> $2")
            .bind(account.0)
            .bind(keep.unwrap_or(0))
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        Ok(())
    }

    /// The account, if this is its password. Takes the same time for an account that does not
    /// exist.
    pub async fn check_password(
        &self,
        name: &str,
        password: &str,
    ) -> Result<Option<Account>, StoreError> {
        let row = query("SELECT password_hash FROM accounts WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        let hash: Option<String> = match row {
            Some(row) => row.try_get(0)?,
            None => None,
        };
        if !self.passwords.verify(password, hash).await {
            return Ok(None);
        }
        self.account(name).await.map(Some)
    }
}

async fn keep_an_admin(change: &mut Connection, account: &Account) -> Result<(), StoreError> {
    let others =
        query("SELECT count(*) FROM accounts WHERE role = 'admin' AND id <> $1").bind(account.id.0);
    let others: i64 = others.fetch_one(change).await?.try_get(0)?;
    if others == 0 {
        return Err(StoreError::LastAdmin(account.name.clone()));
    }
    Ok(())
}
