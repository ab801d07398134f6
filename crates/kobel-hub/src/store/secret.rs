//! Secrets that a client keeps: 256 random bits, of which the store knows the SHA-256.
//!
//! They are too long to be guessed, so a fast hash is enough. On the wire a secret goes with its
//! row's number, `<id>.<secret>`, so that the row is found by its number and the secret compared
//! in constant time.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::StoreError;

/// Length of a secret in base64url without padding.
const LEN: usize = 43;

/// A new secret and its hash.
pub(super) fn generate() -> Result<(String, Vec<u8>), StoreError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let hash = hash(&secret);
    Ok((secret, hash))
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// Whether the secret has this hash; takes the same time for any two.
pub(super) fn matches(secret: &str, known: &[u8]) -> bool {
    hash(secret).ct_eq(known).into()
}

/// Joins a row's number and its secret.
pub(super) fn join(id: i64, secret: &str) -> String {
    format!("{id}.{secret}")
}

/// Takes apart what [`join`] put together; `None` for anything else.
pub(super) fn split(text: &str) -> Option<(i64, &str)> {
    let (id, secret) = text.split_once('.')?;
    let well_formed = id.len() <= 18
        && id.bytes().all(|b| b.is_ascii_digit())
        && secret.len() == LEN
        && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !well_formed {
        return None;
    }
    Some((id.parse().ok()?, secret))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_matches_its_own_hash_only() {
        let (secret, hash) = generate().unwrap();
        let (other, _) = generate().unwrap();
        assert!(matches(&secret, &hash));
        assert!(!matches(&other, &hash));
        assert!(!matches(&secret, &hash[1..]));
        assert_eq!(split(&join(7, &secret)), Some((7, &*secret)));
    }

    #[test]
    fn what_is_no_secret_is_not_looked_up() {
        let secret = "a".repeat(LEN);
        for bad in ["", ".", "7.", &secret, &format!("-7.{secret}"), &format!("7.{secret}=")] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_split(text in ".{0,80}") {
            let _ = split(&text);
        }
    }
}
