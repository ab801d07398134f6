//! The hub's own SSH key: Ed25519, made by the hub itself, sealed in the store.
//!
//! It is kept as a private key file of OpenSSH (PROTOCOL.key in OpenSSH's source, not encrypted: it
//! is sealed as a whole), so that whatever reads such files reads it.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use kobel_hub::store::{Actor, SecretKeys, Store, StoreError};
use kobel_wire::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const KIND: &str = "ssh-ed25519";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
const END: &str = "-----END OPENSSH PRIVATE KEY-----\n";
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// What a line of `authorized_keys` lets its key do: nothing but run commands and reach the
/// container engine's socket by forwarding. No terminal, no agent, no X11.
const OPTIONS: &str = "restrict,port-forwarding";

/// The public part of the hub's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HubKey {
    /// As in a `.pub` file.
    pub(crate) public_key: String,
    /// As `ssh-keygen -l` shows it.
    pub(crate) fingerprint: String,
    /// The line for `~/.ssh/authorized_keys` on a device, with the least rights that do.
    pub(crate) authorized_keys: String,
}

impl HubKey {
    /// The hub's key, made where there is none yet.
    ///
    /// # Errors
    /// When it cannot be sealed or opened.
    pub(crate) async fn of(
        store: &Store,
        keys: &SecretKeys,
        actor: &Actor,
    ) -> Result<Self, StoreError> {
        let private = private(store, keys, actor).await?;
        public(&private).ok_or_else(|| {
            StoreError::Corrupt("the hub's SSH key", "it is no Ed25519 key of OpenSSH".into())
        })
    }
}

/// The private key, made where there is none yet: text of an OpenSSH key file.
///
/// # Errors
/// When it cannot be sealed or opened.
pub(crate) async fn private(
    store: &Store,
    keys: &SecretKeys,
    actor: &Actor,
) -> Result<Zeroizing<String>, StoreError> {
    store.hub_key(keys, generate, actor, Timestamp::now()).await
}

fn generate() -> Result<Zeroizing<String>, StoreError> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *seed)?;
    let mut check = [0_u8; 4];
    getrandom::fill(&mut check)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
        .map_err(|error| StoreError::Corrupt("a new SSH key", error.to_string()))?;
    let public = pair.public_key().as_ref();

    let mut secret = Zeroizing::new(Vec::with_capacity(256));
    // Twice the same: a wrong passphrase would make two numbers of it.
    secret.extend_from_slice(&check);
    secret.extend_from_slice(&check);
    string(&mut secret, KIND.as_bytes());
    string(&mut secret, public);
    let both = Zeroizing::new([&*seed, public].concat());
    string(&mut secret, &both);
    string(&mut secret, b"kobel");
    let padding = secret.len().next_multiple_of(8) - secret.len();
    secret.extend((1..=padding).map(|n| n as u8));

    let mut key = Zeroizing::new(Vec::with_capacity(512));
    key.extend_from_slice(MAGIC);
    for none in ["none", "none", ""] {
        string(&mut key, none.as_bytes());
    }
    key.extend_from_slice(&1_u32.to_be_bytes());
    string(&mut key, &blob(public));
    string(&mut key, &secret);
    let encoded = Zeroizing::new(STANDARD.encode(&*key));
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(BEGIN);
    for line in encoded.as_bytes().chunks(70) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(END);
    Ok(text)
}

/// The public part of a key that [`generate`] made.
fn public(private: &str) -> Option<HubKey> {
    let inside = private.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let encoded = Zeroizing::new(inside.split_whitespace().collect::<String>());
    let key = Zeroizing::new(STANDARD.decode(&*encoded).ok()?);
    let mut rest = key.strip_prefix(MAGIC)?;
    for _ in 0..3 {
        take(&mut rest)?;
    }
    rest = rest.strip_prefix(&1_u32.to_be_bytes())?;
    let blob = take(&mut rest)?;
    let mut parts = blob;
    if take(&mut parts)? != KIND.as_bytes() || take(&mut parts)?.len() != 32 {
        return None;
    }
    let public_key = format!("{KIND} {} kobel", STANDARD.encode(blob));
    Some(HubKey {
        fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob))),
        authorized_keys: format!("{OPTIONS} {public_key}"),
        public_key,
    })
}

/// RFC 4253, 6.6, and RFC 8709, 4.
fn blob(public: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(64);
    string(&mut blob, KIND.as_bytes());
    string(&mut blob, public);
    blob
}

/// RFC 4251, 5: a length and so many bytes.
fn string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (bytes, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    #[test]
    fn openssh_reads_the_key() {
        let private = generate().unwrap();
        let known = public(&private).unwrap();
        assert!(known.authorized_keys.starts_with("restrict,port-forwarding ssh-ed25519 AAAA"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, private.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let keygen = |argument: &str| {
            let ran = Command::new("ssh-keygen").arg(argument).arg("-f").arg(&path).output();
            // The format's other proof is the sign-in of the tests over SSH.
            ran.ok().map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned())
        };
        if let Some(said) = keygen("-y") {
            assert_eq!(said.trim(), known.public_key);
            assert!(keygen("-l").unwrap().contains(&known.fingerprint));
        }
        assert_ne!(*generate().unwrap(), *private);
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in ["", BEGIN, &format!("{BEGIN}AAAA\n{END}"), &format!("{BEGIN}!\n{END}")] {
            assert_eq!(public(text), None);
        }
    }
}
