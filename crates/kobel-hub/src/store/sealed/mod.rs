//! Secrets that the hub must be able to use: passwords and private keys of devices.
//!
//! Sealed by XChaCha20-Poly1305. The key is in a file outside of the database, so that neither a
//! copy of the one nor of the other is enough. The associated data names the owner and the kind: a
//! row that is moved to another device opens for nobody.

mod keyring;

use std::path::{Path, PathBuf};

use kobel_wire::Timestamp;
use zeroize::Zeroizing;

use super::{
    Store, StoreError,
    audit::{self, Actor},
    db::{Connection, Db, query},
};
use keyring::{Keyring, Sealed};

/// Why a secret cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file of keys cannot be used.
    #[error(
        "the file of the secrets' keys, {0}, cannot be used: {1}; name another one by \
         --secret-key-file"
    )]
    KeyFile(PathBuf, std::io::Error),
    /// Others may read it.
    #[error("others may read {0} (mode {1:o}), and it opens every secret: chmod 600 {0}")]
    KeyFileOpen(PathBuf, u32),
    /// It is none.
    #[error("{0} is no file of secrets' keys: line {1} is wrong; put the right file back")]
    KeyFileWrong(PathBuf, usize),
    /// There are secrets and no keys.
    #[error(
        "the file of the secrets' keys, {0}, is not there, and secrets are sealed with them: put it \
         back, or name it by --secret-key-file. If it is lost, delete the devices' secrets and set \
         them anew"
    )]
    KeyFileGone(PathBuf),
    /// The key is not in the file.
    #[error(
        "the key {0} that a secret was sealed with is not in the file of keys: put the right file \
         back, or set the secret anew"
    )]
    KeyMissing(String),
    /// Changed by somebody, or another device's.
    #[error("a secret does not open: it was changed, or is another device's; set it anew")]
    Damaged,
    /// Not a text.
    #[error("a secret could not be sealed")]
    Sealing,
    /// No randomness from the system.
    #[error("the system gives no randomness: {0}")]
    Random(getrandom::Error),
}

/// Where the keys are. The file is made with the first secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKeys(PathBuf);

/// Who a secret belongs to, and which one it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) owner: &'a str,
    pub(super) kind: &'a str,
}

impl Slot<'_> {
    fn bound(self) -> Vec<u8> {
        // Neither has a NUL, so no two slots are bound alike.
        format!("kobel-secret-1\0{}\0{}", self.owner, self.kind).into_bytes()
    }
}

impl SecretKeys {
    /// In this file.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The keys as they are now. Read each time: another process may have rotated them.
    fn read(&self) -> Result<Keyring, SecretError> {
        Keyring::read(&self.0)?.ok_or_else(|| SecretError::KeyFileGone(self.0.clone()))
    }

    /// The keys, made where nothing is sealed yet. To be called with the database locked for
    /// writing, so that no two processes make them.
    async fn read_or_make(&self, change: &mut Connection) -> Result<Keyring, StoreError> {
        if let Some(ring) = Keyring::read(&self.0)? {
            return Ok(ring);
        }
        let sealed: i64 =
            query("SELECT COUNT(*) FROM secrets").fetch_one(change).await?.try_get(0)?;
        if sealed > 0 {
            return Err(SecretError::KeyFileGone(self.0.clone()).into());
        }
        let ring = Keyring::generate()?;
        ring.write(&self.0)?;
        Ok(ring)
    }
}

/// Seals a secret into its slot. The transaction must be an immediate one: the keys cannot be
/// rotated away while it is open.
pub(super) async fn put(
    change: &mut Connection,
    keys: &SecretKeys,
    slot: Slot<'_>,
    secret: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let ring = keys.read_or_make(change).await?;
    let sealed = ring.seal(secret.as_bytes(), &slot.bound())?;
    remove(change, slot).await?;
    query(
        "INSERT INTO secrets (owner, kind, key_id, nonce, sealed, set_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(slot.owner)
    .bind(slot.kind)
    .bind(sealed.key_id)
    .bind(sealed.nonce)
    .bind(sealed.bytes)
    .bind(now.as_millis())
    .execute(change)
    .await?;
    Ok(())
}

/// Takes a secret away; true if there was one.
pub(super) async fn remove(change: &mut Connection, slot: Slot<'_>) -> Result<bool, StoreError> {
    let gone = query("DELETE FROM secrets WHERE owner = $1 AND kind = $2")
        .bind(slot.owner)
        .bind(slot.kind)
        .execute(change)
        .await?;
    Ok(gone.rows_affected() > 0)
}

/// Opens a secret; `None` where there is none.
pub(super) async fn get(
    from: &mut Connection,
    keys: &SecretKeys,
    slot: Slot<'_>,
) -> Result<Option<Zeroizing<String>>, StoreError> {
    let row = query("SELECT key_id, nonce, sealed FROM secrets WHERE owner = $1 AND kind = $2")
        .bind(slot.owner)
        .bind(slot.kind)
        .fetch_optional(from)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let sealed = Sealed {
        key_id: row.try_get("key_id")?,
        nonce: row.try_get("nonce")?,
        bytes: row.try_get("sealed")?,
    };
    let opened = keys.read()?.open(&sealed, &slot.bound())?;
    let text = std::str::from_utf8(&opened).map_err(|_| SecretError::Damaged)?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

impl Store {
    /// Seals every secret with a new key, and forgets the old one; gives how many. A crash in
    /// between leaves both keys in the file, and the next rotation goes on.
    ///
    /// # Errors
    /// When a secret does not open: then nothing is changed but the file, which has the new key
    /// beside the old one.
    pub async fn rotate_secrets(
        &self,
        keys: &SecretKeys,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut change = self.pool.begin().await?;
        let ring = keys.read_or_make(&mut change).await?.with_new()?;
        // Before anything is sealed with it: whatever happens next, both open.
        ring.write(&keys.0)?;
        let rows = query("SELECT id, owner, kind, key_id, nonce, sealed FROM secrets")
            .fetch_all(&mut *change)
            .await?;
        for row in &rows {
            let slot = Slot { owner: row.try_get("owner")?, kind: row.try_get("kind")? };
            let sealed = Sealed {
                key_id: row.try_get("key_id")?,
                nonce: row.try_get("nonce")?,
                bytes: row.try_get("sealed")?,
            };
            let secret = ring.open(&sealed, &slot.bound())?;
            let sealed = ring.seal(&secret, &slot.bound())?;
            query("UPDATE secrets SET key_id = $1, nonce = $2, sealed = $3 WHERE id = $4")
                .bind(sealed.key_id)
                .bind(sealed.nonce)
                .bind(sealed.bytes)
                .bind(row.try_get::<i64, _>("id")?)
                .execute(&mut *change)
                .await?;
        }
        let after = serde_json::json!({ "key": ring.newest(), "secrets": rows.len() });
        audit::write(&mut change, actor, "secret.rotate", None, None, Some(&after), now).await?;
        change.commit().await?;
        if let Db::Sqlite(pool) = &self.pool {
            // What was sealed with the old key may still stand in the write-ahead log.
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool).await?;
        }
        self.drop_old_keys(keys).await?;
        Ok(rows.len())
    }

    /// Forgets the keys that nothing is sealed with any more.
    async fn drop_old_keys(&self, keys: &SecretKeys) -> Result<(), StoreError> {
        // Locked, so that nobody seals with an old one meanwhile.
        let mut change = self.pool.begin().await?;
        let ring = keys.read()?;
        let others: i64 = query("SELECT COUNT(*) FROM secrets WHERE key_id <> $1")
            .bind(ring.newest())
            .fetch_one(&mut *change)
            .await?
            .try_get(0)?;
        if others == 0 {
            ring.newest_only().write(&keys.0)?;
        }
        change.rollback().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
