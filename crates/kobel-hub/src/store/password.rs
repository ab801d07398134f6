//! Passwords: argon2id (RFC 9106) with the library's defaults, 19 MiB and two passes.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::StoreError;

/// The fewest characters of a password (NIST SP 800-63B asks for at least 8).
pub const MIN_PASSWORD: usize = 8;

/// The most bytes of a password that are looked at; more is refused.
const MAX_BYTES: usize = 1024;

/// Hashes at once: each takes 19 MiB and a core for some 20 ms. More wait.
const AT_ONCE: usize = 2;

/// Hashes and compares passwords, a few at a time, off the async threads.
#[derive(Debug, Clone)]
pub struct Passwords(Arc<Semaphore>);

impl Passwords {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// The PHC string of a password.
    pub(super) async fn hash(&self, password: &str) -> Result<String, StoreError> {
        if password.chars().count() < MIN_PASSWORD {
            return Err(StoreError::ShortPassword);
        }
        if password.len() > MAX_BYTES {
            return Err(StoreError::Hash(format!("longer than {MAX_BYTES} bytes")));
        }
        let password = password.to_owned();
        self.run(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|h| h.to_string()).map_err(|e| StoreError::Hash(e.to_string()))
        })
        .await?
    }

    /// Whether the password is the one hashed. Without a hash a dummy is compared, so that the
    /// time does not tell whether the account exists.
    pub(super) async fn verify(&self, password: &str, hash: Option<String>) -> bool {
        // Of some password that nobody knows.
        const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IGhlcmU$\
                             1tSX1Kr2zvVDF1UIHZhPzLQ3BBp3bYMhl8XvbqxWfQw";
        if password.len() > MAX_BYTES {
            return false;
        }
        let password = password.to_owned();
        let known = hash.is_some();
        let compared = self.run(move || {
            let hash = hash.as_deref().unwrap_or(DUMMY);
            PasswordHash::new(hash).is_ok_and(|hash| {
                Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
            })
        });
        compared.await.unwrap_or(false) && known
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        // Neither is ever closed or cancelled while somebody waits here.
        let _turn = self.0.acquire().await.map_err(|e| StoreError::Hash(e.to_string()))?;
        spawn_blocking(work).await.map_err(|e| StoreError::Hash(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_itself_only() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse", Some(hash.clone())).await);
        assert!(!passwords.verify("correct horsE", Some(hash.clone())).await);
        assert!(!passwords.verify(&"x".repeat(2000), Some(hash)).await);
        assert!(!passwords.verify("correct horse", Some("not a hash".into())).await);
        assert!(!passwords.verify("correct horse", None).await);
        assert!(matches!(passwords.hash("short").await, Err(StoreError::ShortPassword)));
    }

    #[test]
    fn the_dummy_is_a_hash() {
        // Else an unknown account would be answered without the work of a known one.
        let dummy = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IGhlcmU$\
                     1tSX1Kr2zvVDF1UIHZhPzLQ3BBp3bYMhl8XvbqxWfQw";
        assert!(PasswordHash::new(dummy).is_ok());
    }
}
