//! A device's secrets, and the hub's own key.

use std::collections::BTreeMap;

use kobel_wire::{DeviceUuid, Timestamp};
use zeroize::Zeroizing;

use super::{SecretChange, SecretKind};
use crate::store::{
    Actor, SecretKeys, Store, StoreError, audit,
    db::{Connection, query},
    sealed::{self, Slot},
};

/// The hub's own private key.
const HUB_KEY: Slot<'static> = Slot { owner: "hub", kind: "ssh-key" };

/// Sets and takes away secrets; gives in words what became of which.
pub(super) async fn change(
    change: &mut Connection,
    keys: &SecretKeys,
    uuid: DeviceUuid,
    asked: &[(SecretKind, SecretChange)],
    now: Timestamp,
) -> Result<BTreeMap<&'static str, &'static str>, StoreError> {
    let owner = uuid.to_string();
    let mut done = BTreeMap::new();
    for (kind, asked) in asked {
        let slot = Slot { owner: &owner, kind: kind.as_str() };
        match asked {
            SecretChange::Set(secret) => {
                sealed::put(change, keys, slot, secret, now).await?;
                done.insert(kind.as_str(), "set");
            }
            SecretChange::Remove => {
                if sealed::remove(change, slot).await? {
                    done.insert(kind.as_str(), "removed");
                }
            }
        }
    }
    Ok(done)
}

pub(super) async fn remove_all(
    change: &mut Connection,
    uuid: DeviceUuid,
) -> Result<(), StoreError> {
    query("DELETE FROM secrets WHERE owner = $1").bind(uuid.to_string()).execute(change).await?;
    Ok(())
}

impl Store {
    /// A device's secret, opened; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Secret`] where it does not open.
    pub async fn device_secret(
        &self,
        uuid: DeviceUuid,
        kind: SecretKind,
        keys: &SecretKeys,
    ) -> Result<Option<Zeroizing<String>>, StoreError> {
        let owner = uuid.to_string();
        let slot = Slot { owner: &owner, kind: kind.as_str() };
        sealed::get(&mut self.pool.acquire().await?, keys, slot).await
    }

    /// The hub's own private key, made by `make` where there is none yet. Of two processes that
    /// make it at once, one does.
    ///
    /// # Errors
    /// [`StoreError::Secret`] where it does not open.
    pub async fn hub_key(
        &self,
        keys: &SecretKeys,
        make: impl FnOnce() -> Result<Zeroizing<String>, StoreError> + Send,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Zeroizing<String>, StoreError> {
        if let Some(known) = sealed::get(&mut self.pool.acquire().await?, keys, HUB_KEY).await? {
            return Ok(known);
        }
        let mut change = self.pool.begin().await?;
        if let Some(known) = sealed::get(&mut change, keys, HUB_KEY).await? {
            return Ok(known);
        }
        let made = make()?;
        sealed::put(&mut change, keys, HUB_KEY, &made, now).await?;
        audit::write(&mut change, actor, "hub.ssh-key", None, None, None, now).await?;
        change.commit().await?;
        Ok(made)
    }
}
