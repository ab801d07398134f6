//! Credentials that were looked up since the database was last written.
//!
//! When a hub restarts, thousands come back within seconds, many by the same token. What the
//! database said of a credential holds until somebody writes it; then nobody is let in by what is
//! here until it was looked up again. So who was known stays known while the database is away.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use kobel_hub::access::{Access, CredentialId, Principal};
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
    /// Known before the database was written, and not looked up since.
    unsure: HashMap<Name, Principal>,
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
        let table = &mut *table;
        table.turn += 1;
        // Those of the last time are in it only where the database did not answer since.
        table.unsure.extend(table.principals.drain());
        if table.unsure.len() > MOST {
            table.unsure.clear();
        }
    }

    /// The credentials that were known before, to be looked up again, and what they could do and see
    /// then.
    pub(crate) fn unsure(&self) -> HashMap<CredentialId, Arc<Access>> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        table
            .unsure
            .values()
            .filter(|principal| principal.expires_at.is_none_or(|at| at > now))
            .map(|principal| (principal.credential, Arc::clone(&principal.access)))
            .collect()
    }

    /// These hold as before; the others are forgotten. To be called by whoever calls
    /// [`Known::forget`], so that nothing is forgotten in between.
    pub(crate) fn confirm(&self, good: &HashSet<CredentialId>) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        for (name, principal) in table.unsure.drain() {
            if good.contains(&principal.credential) && table.principals.len() < MOST {
                // Who came in meanwhile was looked up as late as this.
                table.principals.entry(name).or_insert(principal);
            }
        }
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
    use kobel_hub::access::{AccountId, DeviceScope};
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
    fn what_is_looked_up_again_is_known_again_and_nothing_else() {
        let known = Known::default();
        for (secret, id) in [("kept", 7), ("revoked", 8)] {
            let missing = known.look(Kind::Token, secret, at(0)).unwrap_err();
            let credential = CredentialId::Token(id);
            known.learn(&missing, &Principal { credential, ..principal(None) });
        }
        known.forget();
        let unsure = known.unsure();
        assert_eq!(unsure.len(), 2);
        assert!(known.look(Kind::Token, "kept", at(0)).is_err(), "not before it is looked up");
        known.confirm(&HashSet::from([CredentialId::Token(7)]));
        assert!(known.look(Kind::Token, "kept", at(0)).is_ok());
        assert!(known.look(Kind::Token, "revoked", at(0)).is_err());
        // Nor does the next time bring it back.
        known.forget();
        known.confirm(&HashSet::from([CredentialId::Token(7), CredentialId::Token(8)]));
        assert!(known.look(Kind::Token, "revoked", at(0)).is_err());
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
