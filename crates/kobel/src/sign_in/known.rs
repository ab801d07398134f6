//! Credentials that were looked up since the database was last written.
//!
//! When a hub restarts, thousands come back within seconds, many by the same token. What the
//! database said of a credential holds until somebody writes it; then everything here is
//! forgotten.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use kobel_hub::access::{CredentialId, Principal};
use kobel_wire::Timestamp;
use sha2::{Digest, Sha256};

/// The most credentials that are remembered; beyond it they are looked up each time.
const MOST: usize = 50_000;

/// How a credential comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// In the CONNECT packet.
    Token,
    /// In the session's cookie.
    Cookie,
}

/// Names a credential without keeping it.
type Name = [u8; 32];

/// What the database said. Shared by all sign-ins; held for a look into a table.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Counts how often everything was forgotten.
    turn: u64,
    principals: HashMap<Name, Principal>,
    used: HashSet<i64>,
}

/// A look that found nothing, to be followed by a look into the database.
#[derive(Debug)]
pub(crate) struct Missing {
    name: Name,
    turn: u64,
}

impl Known {
    /// Who has this credential, if that is known. A token is no cookie, whatever its text.
    pub(crate) fn look(
        &self,
        kind: Kind,
        credential: &str,
        now: Timestamp,
    ) -> Result<Principal, Missing> {
        let name = Sha256::new_with_prefix([kind as u8]).chain_update(credential).finalize().into();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.principals.get(&name).cloned();
        match known.filter(|principal| principal.expires_at.is_none_or(|at| at > now)) {
            Some(principal) => {
                table.note_use(&principal);
                Ok(principal)
            }
            None => Err(Missing { name, turn: table.turn }),
        }
    }

    /// Remembers what the database said after a look that found nothing; unless the database was
    /// written meanwhile, for then it may say something else by now.
    pub(crate) fn learn(&self, missing: &Missing, principal: &Principal) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.note_use(principal);
        if table.turn == missing.turn && table.principals.len() < MOST {
            table.principals.insert(missing.name, principal.clone());
        }
    }

    /// The database was written.
    pub(crate) fn forget(&self) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.turn += 1;
        table.principals.clear();
    }

    /// The tokens that were used since this was last asked.
    pub(crate) fn take_used(&self) -> Vec<i64> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.used.drain().collect()
    }
}

impl Table {
    fn note_use(&mut self, principal: &Principal) {
        if let CredentialId::Token(id) = principal.credential {
            self.used.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kobel_hub::access::{Access, AccountId, DeviceScope};
    use kobel_wire::Role;

    use super::*;

    fn principal(expires_at: Option<Timestamp>) -> Principal {
        Principal {
            account: AccountId(1),
            name: "ann".into(),
            access: Arc::new(Access { role: Role::Viewer, devices: DeviceScope::All }),
            credential: CredentialId::Token(7),
            expires_at,
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn what_was_learned_is_known_until_it_is_forgotten_or_ends() {
        let known = Known::default();
        let missing = known.look(Kind::Token, "secret", at(0)).unwrap_err();
        known.learn(&missing, &principal(Some(at(100))));
        assert_eq!(
            known.look(Kind::Token, "secret", at(99)).unwrap().credential,
            CredentialId::Token(7)
        );
        assert!(known.look(Kind::Token, "secret", at(100)).is_err());
        assert!(known.look(Kind::Token, "other", at(0)).is_err());
        assert!(known.look(Kind::Cookie, "secret", at(0)).is_err());
        known.forget();
        assert!(known.look(Kind::Token, "secret", at(0)).is_err());
    }

    #[test]
    fn what_was_read_before_a_write_is_not_learned_after_it() {
        let known = Known::default();
        let missing = known.look(Kind::Token, "secret", at(0)).unwrap_err();
        // Revoked between the look into the database and now.
        known.forget();
        known.learn(&missing, &principal(None));
        assert!(known.look(Kind::Token, "secret", at(0)).is_err());
    }

    #[test]
    fn uses_are_noted_once() {
        let known = Known::default();
        let missing = known.look(Kind::Token, "secret", at(0)).unwrap_err();
        known.learn(&missing, &principal(None));
        known.look(Kind::Token, "secret", at(0)).unwrap();
        assert_eq!(known.take_used(), [7]);
        assert!(known.take_used().is_empty());
    }
}
