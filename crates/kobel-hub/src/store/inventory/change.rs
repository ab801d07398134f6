//! Changes of the inventory. Each is one transaction with its line in the audit log.

use std::fmt;

use kobel_wire::{DeviceUuid, SourceKind, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{
    DeviceRecord, DeviceSpec, FieldError, PinnedKey, SecretKind, SignInMethod, check_fingerprint,
    one, secrets, spec::wrong,
};
use crate::store::{
    Actor, SecretKeys, Store, StoreError,
    audit::{self, About},
    db::{Connection, query},
    enrollment,
};

/// The action of who asks for another try.
const RETRY: &str = "device.retry";

/// The longest password and passphrase; a private key may be longer.
const PASSWORD: usize = 1_024;
const PRIVATE_KEY: usize = 64 * 1024;

/// What somebody wants to be otherwise of a device: a JSON merge patch (RFC 7396) of its
/// [`DeviceSpec`], and secrets.
#[derive(Debug, Default)]
pub struct DeviceChange {
    /// What is to be otherwise.
    pub patch: Map<String, Value>,
    /// Secrets to set, and to take away.
    pub secrets: Vec<(SecretKind, SecretChange)>,
    /// The revision that the change was made for, where that matters.
    pub revision: Option<i64>,
}

/// What becomes of a secret.
pub enum SecretChange {
    /// It is this from now on.
    Set(Zeroizing<String>),
    /// It is taken away.
    Remove,
}

impl fmt::Debug for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set(_) => "Set(…)",
            Self::Remove => "Remove",
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GivenSecrets {
    #[serde(default, with = "given")]
    password: Option<Option<String>>,
    #[serde(default, with = "given")]
    private_key: Option<Option<String>>,
    #[serde(default, with = "given")]
    passphrase: Option<Option<String>>,
}

/// Tells `null` from what is not there.
mod given {
    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(from).map(Some)
    }
}

impl DeviceChange {
    /// Takes apart the body of a request: `secrets` and `revision` are no part of the patch. What
    /// only an answer has, such as `deviceUuid` and `state`, is refused as any unknown field.
    ///
    /// # Errors
    /// The field that is wrong; never with a secret in it.
    pub fn of(mut body: Map<String, Value>) -> Result<Self, FieldError> {
        let revision = match body.remove("revision") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let number = value.as_i64();
                Some(number.ok_or_else(|| wrong("revision", "expected a number"))?)
            }
        };
        let mut secrets = Vec::new();
        if let Some(given) = body.remove("secrets") {
            // The parser's words could repeat the value; these do not.
            let given: GivenSecrets = serde_path_to_error::deserialize(given).map_err(|error| {
                let path = error.path().to_string();
                let field = if path == "." { "secrets".into() } else { format!("secrets.{path}") };
                wrong(field, "expected password, privateKey and passphrase, each a text or null")
            })?;
            for (kind, field, most, value) in [
                (SecretKind::Password, "password", PASSWORD, given.password),
                (SecretKind::PrivateKey, "privateKey", PRIVATE_KEY, given.private_key),
                (SecretKind::Passphrase, "passphrase", PASSWORD, given.passphrase),
            ] {
                let change = match value {
                    None => continue,
                    Some(None) => SecretChange::Remove,
                    Some(Some(secret)) => {
                        let secret = Zeroizing::new(secret);
                        if secret.is_empty() || secret.len() > most {
                            let why = format!("use 1 to {most} bytes, or null to take it away");
                            return Err(wrong(format!("secrets.{field}"), why));
                        }
                        SecretChange::Set(secret)
                    }
                };
                secrets.push((kind, change));
            }
        }
        Ok(Self { patch: body, secrets, revision })
    }

    /// Who says a secret and not how to sign in means: by that.
    fn sign_in_by_secret(&self, spec: &mut DeviceSpec) {
        let named = self.patch.get("ssh").is_some_and(|ssh| ssh.get("signIn").is_some());
        let has = |kind| {
            let set = |(k, change): &(_, _)| *k == kind && matches!(change, SecretChange::Set(_));
            self.secrets.iter().any(set)
        };
        let ssh = spec.ssh.get_or_insert_default();
        if named {
            return;
        }
        let methods: Vec<_> = [
            (has(SecretKind::PrivateKey), SignInMethod::Key),
            (ssh.identity_file.is_some(), SignInMethod::KeyFile),
            (has(SecretKind::Password), SignInMethod::Password),
        ]
        .into_iter()
        .filter_map(|(is, method)| is.then_some(method))
        .collect();
        if !methods.is_empty() {
            ssh.sign_in = methods;
        }
    }

    /// A new device as this describes it, checked.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn described(&self, now: Timestamp) -> Result<DeviceSpec, FieldError> {
        let mut spec = DeviceSpec::default().patched(&self.patch)?;
        self.sign_in_by_secret(&mut spec);
        let spec = spec.checked(SourceKind::Ssh, now)?;
        let set: Vec<_> = self
            .secrets
            .iter()
            .filter(|(_, change)| matches!(change, SecretChange::Set(_)))
            .map(|(kind, _)| *kind)
            .collect();
        has_its_secrets(&spec, &set)?;
        Ok(spec)
    }

    /// This change of a known device, checked; and which secrets it has then.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn applied(
        &self,
        to: &DeviceRecord,
        now: Timestamp,
    ) -> Result<(DeviceSpec, Vec<SecretKind>), FieldError> {
        let mut spec = to.spec.patched(&self.patch)?;
        if to.source == SourceKind::Ssh {
            if !self.secrets.is_empty() {
                self.sign_in_by_secret(&mut spec);
            }
        } else if !self.secrets.is_empty() {
            return Err(wrong("secrets", "this device is not read over SSH; it needs none"));
        }
        let spec = spec.checked(to.source, now)?;
        let mut kinds: Vec<_> = to.secrets.iter().map(|secret| secret.kind).collect();
        for (kind, change) in &self.secrets {
            kinds.retain(|k| k != kind);
            if matches!(change, SecretChange::Set(_)) {
                kinds.push(*kind);
            }
        }
        if to.source == SourceKind::Ssh {
            has_its_secrets(&spec, &kinds)?;
        }
        Ok((spec, kinds))
    }
}

/// Whether every way to sign in has what it needs.
fn has_its_secrets(spec: &DeviceSpec, kinds: &[SecretKind]) -> Result<(), FieldError> {
    for method in spec.ssh.iter().flat_map(|ssh| &ssh.sign_in) {
        let (kind, field, what) = match method {
            SignInMethod::Password => (SecretKind::Password, "secrets.password", "a password"),
            SignInMethod::Key => (SecretKind::PrivateKey, "secrets.privateKey", "a private key"),
            _ => continue,
        };
        if !kinds.contains(&kind) {
            return Err(wrong(field, format!("missing: ssh.signIn asks for {what}")));
        }
    }
    Ok(())
}

impl Store {
    /// Adds a device that the hub reads over SSH.
    ///
    /// # Errors
    /// [`StoreError::Field`] names what is wrong; [`StoreError::Taken`] the name or address that
    /// another one has.
    pub async fn add_device(
        &self,
        asked: &DeviceChange,
        keys: &SecretKeys,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<DeviceRecord, StoreError> {
        let mut change = self.pool.begin().await?;
        let made = insert(&mut change, asked, keys, actor, now).await?;
        change.commit().await?;
        Ok(made)
    }

    /// Adds a device, or with `dry` only finds out whether it could be.
    ///
    /// # Errors
    /// As [`Store::add_device`].
    pub async fn try_device(
        &self,
        asked: &DeviceChange,
        keys: &SecretKeys,
        actor: &Actor,
        now: Timestamp,
        dry: bool,
    ) -> Result<(), StoreError> {
        let mut change = self.pool.begin().await?;
        insert(&mut change, asked, keys, actor, now).await?;
        if dry {
            change.rollback().await?;
        } else {
            change.commit().await?;
        }
        Ok(())
    }

    /// Changes a device. What is as it was is no change, and writes nothing.
    ///
    /// # Errors
    /// As [`Store::add_device`]; [`StoreError::Changed`] where somebody changed it meanwhile.
    pub async fn edit_device(
        &self,
        uuid: DeviceUuid,
        asked: &DeviceChange,
        keys: &SecretKeys,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<DeviceRecord, StoreError> {
        let mut change = self.pool.begin().await?;
        let before = present(&mut change, uuid).await?;
        if let Some(revision) = asked.revision
            && revision != before.revision
        {
            return Err(StoreError::Changed { asked: revision, now: before.revision });
        }
        let (spec, _) = asked.applied(&before, now)?;
        is_free(&mut change, &spec, Some(&before)).await?;
        let set = secrets::change(&mut change, keys, uuid, &asked.secrets, now).await?;
        if spec == before.spec && set.is_empty() {
            change.rollback().await?;
            return Ok(before);
        }
        write(&mut change, uuid, &spec, now).await?;
        let (was, mut is) = differences(&before.spec, &spec);
        if !set.is_empty() {
            is["secrets"] = json!(set);
        }
        let about = About { uuid, name: &spec.name };
        audit::write(&mut change, actor, "device.edit", Some(about), Some(&was), Some(&is), now)
            .await?;
        let made = one(&mut change, uuid).await?;
        change.commit().await?;
        made.ok_or_else(|| StoreError::NotFound("device", uuid.to_string()))
    }

    /// Pins a host key. With `replace` the keys that were pinned for this host before are right no
    /// longer. One that is pinned already is no change.
    ///
    /// # Errors
    /// [`StoreError::Field`] where it is no fingerprint or the device is not read over SSH.
    pub async fn pin_host_key(
        &self,
        uuid: DeviceUuid,
        host: Option<&str>,
        fingerprint: &str,
        replace: bool,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<DeviceRecord, StoreError> {
        check_fingerprint("fingerprint", fingerprint)?;
        let mut change = self.pool.begin().await?;
        let before = present(&mut change, uuid).await?;
        let (Some(address), Some(ssh)) = (&before.spec.address, &before.spec.ssh) else {
            let why = "this device is not read over SSH; it has no host key";
            return Err(wrong("fingerprint", why).into());
        };
        let host = match host {
            None => address.host_port(),
            Some(host) => {
                let named: super::SshAddress =
                    host.parse().map_err(|e| wrong("host", format!("{e}")))?;
                let host = named.host_port();
                let mut known = ssh.jump.iter().chain([address]).map(|hop| hop.host_port());
                if !known.any(|known| known == host) {
                    let why = "neither this device nor one of its jump hosts";
                    return Err(wrong("host", why).into());
                }
                host
            }
        };
        let mut ssh = ssh.clone();
        let known = |key: &PinnedKey| key.host == host && key.fingerprint == fingerprint;
        if replace {
            ssh.host_keys.retain(|key| key.host != host || known(key));
        }
        if !ssh.host_keys.iter().any(known) {
            let fingerprint = fingerprint.to_owned();
            ssh.host_keys.push(PinnedKey { host, fingerprint, pinned_at: now });
        }
        let spec = DeviceSpec { ssh: Some(ssh), ..before.spec.clone() };
        if spec == before.spec {
            change.rollback().await?;
            return Ok(before);
        }
        write(&mut change, uuid, &spec, now).await?;
        let (was, is) = differences(&before.spec, &spec);
        let about = About { uuid, name: &spec.name };
        let action = "device.host-key";
        audit::write(&mut change, actor, action, Some(about), Some(&was), Some(&is), now).await?;
        let made = one(&mut change, uuid).await?;
        change.commit().await?;
        made.ok_or_else(|| StoreError::NotFound("device", uuid.to_string()))
    }

    /// Has the hub try a device again that it had given up, such as after a refused sign-in.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it is not there.
    pub async fn retry_device(
        &self,
        uuid: DeviceUuid,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut change = self.pool.begin().await?;
        let device = present(&mut change, uuid).await?;
        let about = About { uuid, name: &device.spec.name };
        audit::write(&mut change, actor, RETRY, Some(about), None, None, now).await?;
        change.commit().await?;
        Ok(())
    }

    /// The devices that somebody asked to be tried again after the change of this number.
    pub async fn retried_since(&self, change: i64) -> Result<Vec<DeviceUuid>, StoreError> {
        let rows = query("SELECT device_uuid FROM audit WHERE id > $1 AND action = $2")
            .bind(change)
            .bind(RETRY)
            .fetch_all(&self.pool)
            .await?;
        let mut devices = Vec::with_capacity(rows.len());
        for row in rows {
            let uuid: Option<String> = row.try_get(0)?;
            devices.extend(uuid.and_then(|uuid| uuid.parse::<DeviceUuid>().ok()));
        }
        Ok(devices)
    }

    /// Deletes a device: it is read no longer. Its history is kept until it is purged, its secrets
    /// are not.
    ///
    /// # Errors
    /// [`StoreError::Local`] for the machine that the hub runs on.
    pub async fn delete_device(
        &self,
        uuid: DeviceUuid,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<DeviceRecord, StoreError> {
        let mut change = self.pool.begin().await?;
        let before = present(&mut change, uuid).await?;
        if before.source == SourceKind::Local {
            return Err(StoreError::Local(before.spec.name));
        }
        mark(&mut change, uuid, Some(now), now).await?;
        // An agent that was taken out must not come in again by what it has.
        enrollment::revoke_key(&mut change, uuid, now).await?;
        secrets::remove_all(&mut change, uuid).await?;
        let about = About { uuid, name: &before.spec.name };
        let was = serde_json::to_value(&before.spec).unwrap_or_default();
        audit::write(&mut change, actor, "device.delete", Some(about), Some(&was), None, now)
            .await?;
        let deleted = one(&mut change, uuid).await?;
        change.commit().await?;
        deleted.ok_or_else(|| StoreError::NotFound("device", uuid.to_string()))
    }

    /// Takes a deleted device back in, the same one as before. Its secrets must be set anew; until
    /// then it is not read.
    ///
    /// # Errors
    /// [`StoreError::Taken`] where another one has its name or address by now.
    pub async fn restore_device(
        &self,
        uuid: DeviceUuid,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<DeviceRecord, StoreError> {
        let mut change = self.pool.begin().await?;
        let before = one(&mut change, uuid).await?.filter(|device| device.deleted_at.is_some());
        let Some(before) = before else {
            return Err(StoreError::NotFound("deleted device", uuid.to_string()));
        };
        is_free(&mut change, &before.spec, None).await?;
        mark(&mut change, uuid, None, now).await?;
        let about = About { uuid, name: &before.spec.name };
        audit::write(&mut change, actor, "device.restore", Some(about), None, None, now).await?;
        let restored = one(&mut change, uuid).await?;
        change.commit().await?;
        restored.ok_or_else(|| StoreError::NotFound("device", uuid.to_string()))
    }

    /// Forgets a deleted device for good. What is stored of it elsewhere, such as its log lines, is
    /// the caller's to forget.
    ///
    /// # Errors
    /// [`StoreError::NotDeleted`] where it was not deleted before.
    pub async fn purge_device(
        &self,
        uuid: DeviceUuid,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<DeviceRecord, StoreError> {
        let mut change = self.pool.begin().await?;
        let before = one(&mut change, uuid).await?;
        let before = before.ok_or_else(|| StoreError::NotFound("device", uuid.to_string()))?;
        if before.deleted_at.is_none() {
            return Err(StoreError::NotDeleted(before.spec.name));
        }
        secrets::remove_all(&mut change, uuid).await?;
        query("DELETE FROM devices WHERE uuid = $1")
            .bind(uuid.to_string())
            .execute(&mut *change)
            .await?;
        let about = About { uuid, name: &before.spec.name };
        audit::write(&mut change, actor, "device.purge", Some(about), None, None, now).await?;
        change.commit().await?;
        Ok(before)
    }
}

/// Adds a device in this transaction.
async fn insert(
    change: &mut Connection,
    asked: &DeviceChange,
    keys: &SecretKeys,
    actor: &Actor,
    now: Timestamp,
) -> Result<DeviceRecord, StoreError> {
    let spec = asked.described(now)?;
    let uuid = DeviceUuid::generate();
    is_free(change, &spec, None).await?;
    let owner = uuid.to_string();
    query(
        "INSERT INTO devices (uuid, name, tags, source, source_key, created_at, address, \
             group_name, notes, enabled, options, ssh) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(&owner)
    .bind(&spec.name)
    .bind(text(&spec.tags))
    .bind(SourceKind::Ssh.as_str())
    // Its address may change; it stays the same device.
    .bind(&owner)
    .bind(now.as_millis())
    .bind(spec.address.as_ref().map(ToString::to_string))
    .bind(&spec.group)
    .bind(&spec.notes)
    .bind(spec.enabled)
    .bind(text(&spec.options))
    .bind(spec.ssh.as_ref().map(text))
    .execute(&mut *change)
    .await?;
    let set = secrets::change(change, keys, uuid, &asked.secrets, now).await?;
    let mut after = serde_json::to_value(&spec).unwrap_or_default();
    if !set.is_empty() {
        after["secrets"] = json!(set);
    }
    let about = About { uuid, name: &spec.name };
    audit::write(change, actor, "device.add", Some(about), None, Some(&after), now).await?;
    let made = one(change, uuid).await?;
    made.ok_or_else(|| StoreError::NotFound("device", owner))
}

/// The device, where it is there and not deleted.
async fn present(change: &mut Connection, uuid: DeviceUuid) -> Result<DeviceRecord, StoreError> {
    let found = one(change, uuid).await?.filter(|device| device.deleted_at.is_none());
    found.ok_or_else(|| StoreError::NotFound("device", uuid.to_string()))
}

/// Whether the name and the address are no other device's.
async fn is_free(
    change: &mut Connection,
    spec: &DeviceSpec,
    own: Option<&DeviceRecord>,
) -> Result<(), StoreError> {
    let own_id = own.map_or(0, |own| i64::try_from(own.id.0).unwrap_or(i64::MAX));
    // A name that it has is its own, also where an agent's device came by the same one.
    if own.is_none_or(|own| own.spec.name != spec.name) {
        let taken = query(
            "SELECT uuid FROM devices WHERE name = $1 AND deleted_at IS NULL AND id <> $2 LIMIT 1",
        )
        .bind(&spec.name)
        .bind(own_id)
        .fetch_optional(&mut *change)
        .await?;
        if taken.is_some() {
            return Err(StoreError::Taken {
                field: "name",
                value: spec.name.clone(),
                by: spec.name.clone(),
            });
        }
    }
    let Some(address) = &spec.address else { return Ok(()) };
    let rows = query(
        "SELECT name, ssh FROM devices WHERE address = $1 AND deleted_at IS NULL AND id <> $2",
    )
    .bind(address.to_string())
    .bind(own_id)
    .fetch_all(change)
    .await?;
    let way = spec.ssh.as_ref().map(|ssh| ssh.jump.as_slice()).unwrap_or_default();
    for row in rows {
        // By another way the same address is another host.
        let ssh: Option<String> = row.try_get("ssh")?;
        let ssh: super::SshSettings =
            ssh.and_then(|ssh| serde_json::from_str(&ssh).ok()).unwrap_or_default();
        if ssh.jump == way {
            return Err(StoreError::Taken {
                field: "address",
                value: address.to_string(),
                by: row.try_get("name")?,
            });
        }
    }
    Ok(())
}

async fn write(
    change: &mut Connection,
    uuid: DeviceUuid,
    spec: &DeviceSpec,
    now: Timestamp,
) -> Result<(), StoreError> {
    query(
        "UPDATE devices SET name = $1, tags = $2, address = $3, group_name = $4, notes = $5, \
         enabled = $6, options = $7, ssh = $8, revision = revision + 1, changed_at = $9 \
         WHERE uuid = $10",
    )
    .bind(&spec.name)
    .bind(text(&spec.tags))
    .bind(spec.address.as_ref().map(ToString::to_string))
    .bind(&spec.group)
    .bind(&spec.notes)
    .bind(spec.enabled)
    .bind(text(&spec.options))
    .bind(spec.ssh.as_ref().map(text))
    .bind(now.as_millis())
    .bind(uuid.to_string())
    .execute(change)
    .await?;
    Ok(())
}

async fn mark(
    change: &mut Connection,
    uuid: DeviceUuid,
    deleted_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    query(
        "UPDATE devices SET deleted_at = $1, revision = revision + 1, changed_at = $2 \
         WHERE uuid = $3",
    )
    .bind(deleted_at.map(Timestamp::as_millis))
    .bind(now.as_millis())
    .bind(uuid.to_string())
    .execute(change)
    .await?;
    Ok(())
}

/// Plain data with text keys is always written.
fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The fields that differ, as they were and as they are; of objects only what differs inside.
fn differences(before: &DeviceSpec, after: &DeviceSpec) -> (Value, Value) {
    let value = |spec| serde_json::to_value(spec).unwrap_or_default();
    let (mut was, mut is) = (value(before), value(after));
    drop_equal(&mut was, &mut is);
    (was, is)
}

fn drop_equal(a: &mut Value, b: &mut Value) {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return };
    let fields: Vec<_> = a.keys().filter(|field| b.contains_key(*field)).cloned().collect();
    for field in fields {
        if a[&field] == b[&field] {
            a.remove(&field);
            b.remove(&field);
        } else if let (Some(a), Some(b)) = (a.get_mut(&field), b.get_mut(&field)) {
            drop_equal(a, b);
        }
    }
}
