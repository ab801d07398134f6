use super::*;
use crate::{
    access::{Access, CredentialId},
    store::{
        inventory::Listed,
        testing::{Place, on_both},
    },
};

const HOUR: Duration = Duration::from_secs(3_600);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + ms)
}

struct Bed {
    _place: Place,
    store: Store,
    account: AccountId,
}

impl Bed {
    async fn new(place: Place) -> Self {
        let store = place.open().await;
        let account = store.first_admin(at(0)).await.unwrap().id;
        Self { _place: place, store, account }
    }

    async fn token(&self, name: &str, uses: u32, ms: i64) -> NewToken {
        let (tags, group) = (vec!["edge".to_owned()], Some("eu".to_owned()));
        let account = self.account;
        let request = EnrollmentRequest { account, name, uses, lifetime: HOUR, tags, group };
        self.store.create_enrollment(&request, at(ms)).await.unwrap()
    }

    /// A host that makes its secret of one letter.
    async fn enroll(
        &self,
        token: &str,
        key: &str,
        letter: char,
        ms: i64,
    ) -> Result<Enrolled, EnrollError> {
        let hash: [u8; 32] = sha(&secret_of(letter));
        let (name, tags) = (&format!("name of {key}"), &["own".to_owned(), "edge".to_owned()]);
        let host = Enrollee { key, name, tags, secret_hash: &hash };
        self.store.enroll(token, &host, at(ms)).await
    }
}

fn secret_of(letter: char) -> String {
    letter.to_string().repeat(43)
}

fn sha(text: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).into()
}

on_both! {
    a_host_gets_a_key_that_is_good_for_its_device_alone,
    a_token_enrolls_as_many_as_it_says_and_as_long,
    a_machine_that_has_a_key_is_nobody_elses,
    what_was_revoked_comes_back_by_a_newer_token_only,
    a_token_that_cannot_be_is_not_made,
}

async fn a_host_gets_a_key_that_is_good_for_its_device_alone(place: Place) {
    let bed = Bed::new(place).await;
    let token = bed.token("web", 2, 0).await;
    assert!(token.secret.starts_with(ENROLLMENT_PREFIX));
    assert_eq!(enrollment_number(&token.secret), Some(token.id));
    assert_eq!(enrollment_number("kobel_1_x"), None);
    let a = bed.enroll(&token.secret, "a/host", 'a', 1).await.unwrap();
    let b = bed.enroll(&token.secret, "b/host", 'b', 2).await.unwrap();
    assert!(a.device != b.device && a.token != b.token);

    let key = agent_token(a.token, &secret_of('a'));
    let known = bed.store.by_token(&key, at(3)).await.unwrap().unwrap();
    assert_eq!(known.credential, CredentialId::Token(a.token));
    let devices = DeviceScope::Only([a.device].into());
    assert_eq!(*known.access, Access { role: kobel_wire::Role::Agent, devices });
    assert_eq!(known.expires_at, None, "the token's end is not the key's");
    // Another's secret with its number, and the enrollment token itself, are nobody's.
    for wrong in [agent_token(a.token, &secret_of('b')), token.secret.clone()] {
        assert!(bed.store.by_token(&wrong, at(3)).await.unwrap().is_none());
    }
    let as_plain = token.secret.replace("enroll_", "");
    assert!(bed.store.by_token(&as_plain, at(3)).await.unwrap().is_none());

    let device = bed.store.inventoried(a.device).await.unwrap().unwrap();
    assert_eq!((device.source, device.spec.name.as_str()), (SourceKind::Agent, "name of a/host"));
    assert_eq!(
        (device.spec.tags, device.spec.group.as_deref()),
        (vec!["edge".to_owned(), "own".to_owned()], Some("eu"))
    );
    assert_eq!(device.agent_key_since, Some(at(1)));
    let enrollment = bed.store.enrollment(token.id, at(3)).await.unwrap().unwrap();
    assert_eq!((enrollment.uses, enrollment.used), (2, 2));
    assert_eq!(enrollment.state, TokenState::UsedUp);
    assert_eq!(enrollment.devices.len(), 2);
    let listed = bed.store.tokens(at(3)).await.unwrap();
    assert_eq!((listed[0].enrolled, listed[0].state), (Some((2, 2)), TokenState::UsedUp));
    assert_eq!((listed[1].key_of, listed[1].state), (Some(a.device), TokenState::Valid));
    let asked = crate::store::AuditQuery { limit: 9, ..Default::default() };
    let audit = bed.store.audit(&asked).await.unwrap();
    assert!(audit.iter().any(|entry| entry.action == "agent.enroll"
        && entry.device_uuid == Some(a.device)
        && entry.actor.name == format!("admin (token {})", token.id)));
}

async fn a_token_enrolls_as_many_as_it_says_and_as_long(place: Place) {
    let bed = Bed::new(place).await;
    let token = bed.token("once", 1, 0).await.secret;
    let first = bed.enroll(&token, "a/host", 'a', 1).await.unwrap();
    // The answer was lost: the same again, and no second use.
    assert_eq!(bed.enroll(&token, "a/host", 'a', 2).await.unwrap(), first);
    assert!(matches!(bed.enroll(&token, "b/host", 'b', 3).await, Err(EnrollError::UsedUp(_, 1))));

    let token = bed.token("short", 5, 0).await.secret;
    let end = 3_600_000;
    bed.enroll(&token, "c/host", 'c', end - 1).await.unwrap();
    assert!(matches!(bed.enroll(&token, "d/host", 'd', end).await, Err(EnrollError::Expired(_))));

    let token = bed.token("gone", 5, 0).await.secret;
    bed.store.revoke_token("gone", at(1)).await.unwrap();
    assert!(matches!(bed.enroll(&token, "d/host", 'd', 2).await, Err(EnrollError::Revoked(_))));

    // Who guesses is told nothing.
    let mut wrong = token.clone();
    wrong.replace_range(token.len() - 1.., if token.ends_with('A') { "B" } else { "A" });
    for wrong in [wrong.as_str(), "", "kobel_enroll_", "kobel_enroll_1_x", "kobel_1_x"] {
        assert!(matches!(bed.enroll(wrong, "d/host", 'd', 2).await, Err(EnrollError::Wrong)));
    }
    assert_eq!(bed.store.inventory(Listed::All).await.unwrap().len(), 2, "nothing else was added");
}

async fn a_machine_that_has_a_key_is_nobody_elses(place: Place) {
    let bed = Bed::new(place).await;
    let token = bed.token("many", 9, 0).await.secret;
    bed.enroll(&token, "a/host", 'a', 1).await.unwrap();
    // Whoever has a token and knows a machine's key cannot speak for it.
    assert!(matches!(bed.enroll(&token, "a/host", 'x', 2).await, Err(EnrollError::HasKey(_))));
    // Nor can the same secret by another token: it could be one that was overheard.
    let other = bed.token("other", 9, 0).await.secret;
    assert!(matches!(bed.enroll(&other, "a/host", 'a', 2).await, Err(EnrollError::HasKey(_))));
}

async fn what_was_revoked_comes_back_by_a_newer_token_only(place: Place) {
    let bed = Bed::new(place).await;
    let old = bed.token("old", 9, 0).await.secret;
    let first = bed.enroll(&old, "a/host", 'a', 1).await.unwrap();
    bed.store.revoke_agent_key(first.device, &Actor::Hub, at(10)).await.unwrap();
    let key = agent_token(first.token, &secret_of('a'));
    assert!(bed.store.by_token(&key, at(11)).await.unwrap().is_none());
    let again = bed.store.revoke_agent_key(first.device, &Actor::Hub, at(11)).await;
    assert!(matches!(again, Err(StoreError::NoAgentKey(_))));
    assert!(matches!(bed.enroll(&old, "a/host", 'b', 12).await, Err(EnrollError::Older(_))));
    let new = bed.token("new", 1, 13).await.secret;
    let second = bed.enroll(&new, "a/host", 'b', 14).await.unwrap();
    assert_eq!(second.device, first.device, "it is the same device");

    // Deleting revokes, and neither an old nor a new token brings it back.
    bed.store.delete_device(first.device, &Actor::Hub, at(20)).await.unwrap();
    let key = agent_token(second.token, &secret_of('b'));
    assert!(bed.store.by_token(&key, at(21)).await.unwrap().is_none());
    let newest = bed.token("newest", 1, 22).await.secret;
    assert!(matches!(bed.enroll(&newest, "a/host", 'c', 23).await, Err(EnrollError::Deleted(_))));
    bed.store.restore_device(first.device, &Actor::Hub, at(24)).await.unwrap();
    bed.enroll(&newest, "a/host", 'c', 25).await.unwrap();
}

async fn a_token_that_cannot_be_is_not_made(place: Place) {
    let bed = Bed::new(place).await;
    let account = bed.account;
    let good = EnrollmentRequest {
        account,
        name: "x",
        uses: 1,
        lifetime: HOUR,
        tags: vec![],
        group: None,
    };
    let limited = bed
        .store
        .add_account(
            "limited",
            kobel_wire::Role::Admin,
            &DeviceScope::Only(Default::default()),
            at(0),
        )
        .await
        .unwrap();
    for (bad, field) in [
        (EnrollmentRequest { uses: 0, ..good.clone() }, "uses"),
        (EnrollmentRequest { uses: MOST_USES + 1, ..good.clone() }, "uses"),
        (EnrollmentRequest { lifetime: Duration::ZERO, ..good.clone() }, "expires"),
        (EnrollmentRequest { lifetime: LONGEST * 2, ..good.clone() }, "expires"),
        (EnrollmentRequest { tags: vec!["a,b".into()], ..good.clone() }, "tags[0]"),
        (EnrollmentRequest { account: limited.id, ..good.clone() }, "account"),
    ] {
        let refused = bed.store.create_enrollment(&bad, at(0)).await;
        assert!(matches!(refused, Err(StoreError::Field(e)) if e.field == field), "{field}");
    }
    bed.store.create_enrollment(&good, at(0)).await.unwrap();
    let taken = bed.store.create_enrollment(&good, at(0)).await;
    assert!(matches!(taken, Err(StoreError::NameTaken("token", _))));
}
