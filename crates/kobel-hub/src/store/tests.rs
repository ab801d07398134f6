//! The store against a real database of either engine.

use std::collections::BTreeSet;

use kobel_wire::{SourceKind, Timestamp};
use tempfile::TempDir;

use super::{
    testing::{Place, on_both},
    *,
};
use crate::access::{Access, CredentialId};

const HOUR: Duration = Duration::from_secs(3600);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + ms)
}

fn uuid(n: u64) -> DeviceUuid {
    format!("0198c0de-0000-7000-8000-{n:012x}").parse().unwrap()
}

fn only(devices: &[u64]) -> DeviceScope {
    DeviceScope::Only(devices.iter().map(|n| uuid(*n)).collect::<BTreeSet<_>>())
}

on_both! {
    the_first_admin_is_made_once,
    a_session_holds_until_it_ends,
    a_new_password_ends_the_other_sessions,
    a_link_signs_in_once,
    a_token_does_and_sees_no_more_than_its_account,
    what_goes_with_an_account_goes_and_an_admin_stays,
    of_admins_that_go_at_once_one_stays,
    numbers_of_changes_rise_in_the_order_that_they_are_seen,
    a_machine_keeps_its_identity,
    a_database_of_a_newer_version_is_refused,
    a_write_of_anybody_is_a_change,
    hundreds_of_devices_are_found_or_made_at_once,
    an_agent_s_token_sees_nothing_and_no_account_is_an_agent,
}

async fn the_first_admin_is_made_once(place: Place) {
    let store = place.open().await;
    let first = store.first_admin(at(0)).await.unwrap();
    assert_eq!((first.name.as_str(), first.role), ("admin", Role::Admin));
    assert!(store.nobody_has_a_password().await.unwrap());
    store.set_password(first.id, "correct horse", None).await.unwrap();
    // A second process on the same file, as the command line is.
    let other = place.open().await;
    let again = other.first_admin(at(5)).await.unwrap();
    assert_eq!((again.id, again.has_password), (first.id, true));
    assert!(!other.nobody_has_a_password().await.unwrap());
    assert_eq!(other.accounts().await.unwrap().len(), 1);
}

async fn a_session_holds_until_it_ends(place: Place) {
    let store = place.open().await;
    let admin = store.first_admin(at(0)).await.unwrap();
    let session = store.start_session(admin.id, HOUR, at(0)).await.unwrap();
    let known = store.by_cookie(&session.cookie, at(1)).await.unwrap().unwrap();
    assert_eq!(known.account, admin.id);
    assert_eq!(known.credential, CredentialId::Session(session.id));
    assert_eq!(known.expires_at, Some(at(3_600_000)));
    assert!(store.by_cookie(&session.cookie, at(3_600_000)).await.unwrap().is_none());

    let mut forged = session.cookie.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    for bad in [forged.as_str(), "", "1", "1.x", "' OR 1=1"] {
        assert!(store.by_cookie(bad, at(1)).await.unwrap().is_none(), "{bad}");
    }
    let credential = store.end_session(session.id).await.unwrap();
    assert!(store.by_cookie(&session.cookie, at(1)).await.unwrap().is_none());
    assert!(store.access_by(credential, at(1)).await.unwrap().is_none());
    // The next one has a number of its own: an old socket is never taken for it.
    let next = store.start_session(admin.id, HOUR, at(0)).await.unwrap();
    assert_ne!(next.id, session.id);
}

async fn a_new_password_ends_the_other_sessions(place: Place) {
    let store = place.open().await;
    let admin = store.first_admin(at(0)).await.unwrap();
    let here = store.start_session(admin.id, HOUR, at(0)).await.unwrap();
    let there = store.start_session(admin.id, HOUR, at(0)).await.unwrap();
    store.set_password(admin.id, "correct horse", Some(here.id)).await.unwrap();
    assert!(store.by_cookie(&here.cookie, at(1)).await.unwrap().is_some());
    assert!(store.by_cookie(&there.cookie, at(1)).await.unwrap().is_none());
    let check = |name, password| store.check_password(name, password);
    assert!(check("admin", "correct horse").await.unwrap().is_some());
    assert!(check("admin", "wrong horse").await.unwrap().is_none());
    assert!(check("nobody", "correct horse").await.unwrap().is_none());
}

async fn a_link_signs_in_once(place: Place) {
    let store = place.open().await;
    let admin = store.first_admin(at(0)).await.unwrap();
    let link = store.make_link(admin.id, HOUR, at(0)).await.unwrap();
    assert!(store.use_link("1.nothing", at(1)).await.unwrap().is_none());
    let (a, b) =
        tokio::join!(store.use_link(&link.secret, at(1)), store.use_link(&link.secret, at(1)));
    assert_eq!(a.unwrap().is_some() as u8 + b.unwrap().is_some() as u8, 1);
    assert!(store.use_link(&link.secret, at(1)).await.unwrap().is_none());
    let late = store.make_link(admin.id, HOUR, at(0)).await.unwrap();
    assert!(store.use_link(&late.secret, at(3_600_000)).await.unwrap().is_none());
}

async fn a_token_does_and_sees_no_more_than_its_account(place: Place) {
    let store = place.open().await;
    let ann = store.add_account("ann", Role::Viewer, &only(&[1, 2]), at(0)).await.unwrap();
    let request = TokenRequest {
        account: ann.id,
        name: "ci",
        role: Role::Admin,
        devices: only(&[2, 3]),
        lifetime: Some(HOUR),
    };
    let token = store.create_token(&request, at(0)).await.unwrap();
    assert!(token.secret.starts_with("kobel_1_"), "{}", token.secret);
    let known = store.by_token(&token.secret, at(1)).await.unwrap().unwrap();
    assert_eq!(*known.access, Access { role: Role::Viewer, devices: only(&[2]) });
    assert_eq!(known.name.as_ref(), "ann");

    store.note_use(&[token.id], at(1)).await.unwrap();
    let listed = &store.tokens(at(1)).await.unwrap()[0];
    assert_eq!((listed.state, listed.last_used_at), (TokenState::Valid, Some(at(1))));
    assert_eq!(store.tokens(at(3_600_000)).await.unwrap()[0].state, TokenState::Expired);
    assert!(store.by_token(&token.secret, at(3_600_000)).await.unwrap().is_none());

    // What the account may see now is what counts.
    store.set_access("ann", Role::Viewer, &only(&[3])).await.unwrap();
    let access = store.access_by(known.credential, at(2)).await.unwrap().unwrap();
    assert_eq!(access.devices, only(&[3]));

    let taken = store.create_token(&request, at(0)).await.unwrap_err();
    assert!(matches!(taken, StoreError::NameTaken("token", _)), "{taken}");
    assert_eq!(store.revoke_token("ci", at(3)).await.unwrap(), known.credential);
    assert!(store.by_token(&token.secret, at(4)).await.unwrap().is_none());
    assert!(store.access_by(known.credential, at(4)).await.unwrap().is_none());
    assert!(matches!(store.revoke_token("ci", at(5)).await, Err(StoreError::NotFound(..))));
    // The name is free again, and a number revokes as well.
    let second = store.create_token(&request, at(0)).await.unwrap();
    store.revoke_token(&second.id.to_string(), at(6)).await.unwrap();
}

async fn what_goes_with_an_account_goes_and_an_admin_stays(place: Place) {
    let store = place.open().await;
    store.first_admin(at(0)).await.unwrap();
    for admin_must_stay in [
        store.remove_account("admin").await.unwrap_err(),
        store.set_access("admin", Role::Viewer, &DeviceScope::All).await.unwrap_err(),
    ] {
        assert!(matches!(admin_must_stay, StoreError::LastAdmin(_)), "{admin_must_stay}");
    }
    let bob = store.add_account("bob", Role::Admin, &DeviceScope::All, at(0)).await.unwrap();
    let session = store.start_session(bob.id, HOUR, at(0)).await.unwrap();
    store.remove_account("bob").await.unwrap();
    assert!(store.by_cookie(&session.cookie, at(1)).await.unwrap().is_none());
    for bad in ["", " bob", "bo\nb", &"x".repeat(65)] {
        let refused = store.add_account(bad, Role::Viewer, &DeviceScope::All, at(0)).await;
        assert!(matches!(refused, Err(StoreError::BadName(..))), "{bad:?}");
    }
    let twice = store.add_account("admin", Role::Viewer, &DeviceScope::All, at(0)).await;
    assert!(matches!(twice, Err(StoreError::NameTaken("user", _))));
}

async fn of_admins_that_go_at_once_one_stays(place: Place) {
    // As two nodes, each with connections of its own.
    let (one, two) = (place.open().await, place.open().await);
    one.first_admin(at(0)).await.unwrap();
    for _ in 0..20 {
        one.add_account("bob", Role::Admin, &DeviceScope::All, at(0)).await.unwrap();
        let (a, b) = tokio::join!(
            one.set_access("admin", Role::Viewer, &DeviceScope::All),
            two.set_access("bob", Role::Viewer, &DeviceScope::All),
        );
        assert_eq!(u8::from(a.is_ok()) + u8::from(b.is_ok()), 1, "{a:?} {b:?}");
        if a.is_ok() {
            one.set_access("admin", Role::Admin, &DeviceScope::All).await.unwrap();
        }
        one.remove_account("bob").await.unwrap();
    }
}

/// Who knows the newest number of the audit log knows all that was changed up to it.
async fn numbers_of_changes_rise_in_the_order_that_they_are_seen(place: Place) {
    let stores = [place.open().await, place.open().await];
    let reader = place.open().await;
    let mut devices = Vec::new();
    for store in &stores {
        for n in 0..2 {
            let name = format!("{n}");
            devices.push(store.device(SourceKind::Agent, &name, &name, at(0)).await.unwrap().uuid);
        }
    }
    let writing = async {
        let one = |at_once: usize| {
            let (store, device) = (&stores[at_once % 2], devices[at_once % 2]);
            async move {
                for n in 0..25 {
                    if n % 2 == 0 {
                        store.delete_device(device, &Actor::Hub, at(n)).await.unwrap();
                    } else {
                        store.restore_device(device, &Actor::Hub, at(n)).await.unwrap();
                    }
                }
            }
        };
        tokio::join!(one(0), one(1));
    };
    let reading = async {
        let all = AuditQuery { limit: 1_000, ..AuditQuery::default() };
        let (mut newest, mut seen) = (0, BTreeSet::new());
        while seen.len() < 50 {
            for entry in reader.audit(&all).await.unwrap() {
                if seen.insert(entry.id) {
                    assert!(entry.id > newest, "{} came after {newest}", entry.id);
                }
            }
            newest = seen.last().copied().unwrap_or(0);
        }
    };
    tokio::join!(writing, reading);
}

async fn a_machine_keeps_its_identity(place: Place) {
    let store = place.open().await;
    let made = store.device(SourceKind::Local, "m1", "host", at(0)).await.unwrap();
    let other = store.device(SourceKind::Local, "m2", "clone", at(0)).await.unwrap();
    store.close().await;
    let again = place.open().await;
    assert_eq!(again.device(SourceKind::Local, "m1", "renamed", at(9)).await.unwrap(), made);
    assert_ne!((made.uuid, made.id), (other.uuid, other.id));
}

async fn a_database_of_a_newer_version_is_refused(place: Place) {
    let store = place.open().await;
    query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'later', success, checksum, 0 FROM _sqlx_migrations LIMIT 1",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    store.close().await;
    let refused = Store::open_database(&place.database).await.unwrap_err();
    assert!(matches!(refused, StoreError::Migrate(_)), "{refused}");
}

async fn a_write_of_anybody_is_a_change(place: Place) {
    let store = place.open().await;
    let mut changes = store.changes();
    assert!(changes.happened().await.unwrap());
    assert!(!changes.happened().await.unwrap());
    store.first_admin(at(0)).await.unwrap();
    assert!(changes.happened().await.unwrap());
    assert!(!changes.happened().await.unwrap());
    let other = place.open().await;
    other.add_account("ann", Role::Viewer, &DeviceScope::All, at(0)).await.unwrap();
    assert!(changes.happened().await.unwrap());
    assert!(!changes.happened().await.unwrap());
}

async fn hundreds_of_devices_are_found_or_made_at_once(place: Place) {
    let store = place.open().await;
    let tags = ["web".to_owned()];
    let texts: Vec<_> = (0..300).map(|n| format!("host/{n}")).collect();
    let keys: Vec<_> = texts.iter().map(|key| DeviceKey { key, name: key, tags: &tags }).collect();
    let ask = async |source, keys: &[DeviceKey<'_>], scope: &DeviceScope| {
        store.devices(source, keys, scope, at(0)).await.unwrap()
    };
    let made = ask(SourceKind::Agent, &keys[..200], &DeviceScope::All).await;
    let ids: BTreeSet<_> = made.iter().map(|d| d.as_ref().unwrap().id).collect();
    assert_eq!(ids.len(), 200);
    assert_eq!(made[7].as_ref().unwrap().tags, tags);
    // Known ones are the same, in the order of the keys; new ones come with them.
    let mut changes = store.changes();
    assert!(changes.happened().await.unwrap());
    let again = ask(SourceKind::Agent, &keys[..200], &DeviceScope::All).await;
    assert_eq!(again, made);
    assert!(!changes.happened().await.unwrap(), "nothing new, nothing written");
    let more = ask(SourceKind::Agent, &keys[100..], &DeviceScope::All).await;
    assert_eq!((&more[..100], more.len()), (&made[100..], 200));
    // Another source's keys are its own.
    let other = ask(SourceKind::Simulated, &keys[..1], &DeviceScope::All).await;
    assert_ne!(other[0].as_ref().unwrap().uuid, made[0].as_ref().unwrap().uuid);
    // Whoever may see one speaks for that one, and makes none.
    let scope = DeviceScope::Only([made[3].as_ref().unwrap().uuid].into());
    let limited = ask(SourceKind::Agent, &keys[2..5], &scope).await;
    assert_eq!(limited, [None, made[3].clone(), None]);
    let new = [DeviceKey { key: "host/new", name: "new", tags: &[] }];
    assert_eq!(ask(SourceKind::Agent, &new, &scope).await, [None]);
}

async fn an_agent_s_token_sees_nothing_and_no_account_is_an_agent(place: Place) {
    let store = place.open().await;
    let admin = store.first_admin(at(0)).await.unwrap();
    let request = TokenRequest {
        account: admin.id,
        name: "web-1",
        role: Role::Agent,
        devices: DeviceScope::All,
        lifetime: None,
    };
    let made = store.create_token(&request, at(0)).await.unwrap();
    let access = store.by_token(&made.secret, at(1)).await.unwrap().unwrap().access;
    assert_eq!(access.role, Role::Agent, "also where its account is an admin");
    assert!(!access.may_see(uuid(1)) && !access.sees_all() && !access.may_see_system());
    for refused in [
        store.add_account("robot", Role::Agent, &DeviceScope::All, at(0)).await.map(|_| ()),
        store.set_access("admin", Role::Agent, &DeviceScope::All).await,
    ] {
        assert!(matches!(refused, Err(StoreError::AgentAccount)));
    }
}

#[tokio::test]
async fn tokens_outlive_the_change_of_their_table() {
    let folder = TempDir::new().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join(FILE))
        .create_if_missing(true)
        .foreign_keys(true);
    let old = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    let mut first = sqlx::migrate!("./migrations/sqlite");
    first.migrations.to_mut().retain(|migration| migration.version == 1);
    first.run(&old).await.unwrap();
    for sql in [
        "INSERT INTO accounts (name, role, created_at) VALUES ('ann', 'admin', 0)",
        "INSERT INTO tokens (account_id, name, secret_hash, role, created_at) \
         VALUES (1, 'ci', x'01', 'viewer', 5), (1, 'gone', x'02', 'viewer', 6)",
        "DELETE FROM tokens WHERE name = 'gone'",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&old).await.unwrap();
    }
    old.close().await;

    let store = Store::open(folder.path()).await.unwrap();
    let tokens = store.tokens(at(0)).await.unwrap();
    assert_eq!((tokens.len(), tokens[0].id, tokens[0].name.as_str()), (1, 1, "ci"));
    let request = |role, name| TokenRequest {
        account: crate::access::AccountId(1),
        name,
        role,
        devices: DeviceScope::All,
        lifetime: None,
    };
    let made = store.create_token(&request(Role::Agent, "agent"), at(0)).await.unwrap();
    assert_eq!(made.id, 3, "a number is never used twice");
    let taken = store.create_token(&request(Role::Agent, "ci"), at(0)).await;
    assert!(matches!(taken, Err(StoreError::NameTaken(..))));
    store.remove_account("ann").await.unwrap_err();
    store.add_account("bob", Role::Admin, &DeviceScope::All, at(0)).await.unwrap();
    store.remove_account("ann").await.unwrap();
    assert!(store.tokens(at(0)).await.unwrap().is_empty(), "tokens go with their account");
}
