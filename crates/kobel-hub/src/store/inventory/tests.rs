//! The inventory against a real database of either engine.

use serde_json::{Value, json};

use super::*;
use crate::store::{
    Actor, AuditQuery, SecretKeys,
    testing::{Place, on_both},
};

const KEY: &str = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";
const OTHER: &str = "SHA256:AAAQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";

struct Fixture {
    place: Place,
    store: Store,
    keys: SecretKeys,
    me: Actor,
}

async fn fixture(place: Place) -> Fixture {
    let (store, keys) = (place.open().await, place.keys());
    Fixture { place, store, keys, me: Actor::Cli("me".into()) }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + ms)
}

fn change(body: &Value) -> DeviceChange {
    DeviceChange::of(body.as_object().unwrap().clone()).unwrap()
}

impl Fixture {
    async fn add(&self, body: &Value) -> Result<DeviceRecord, StoreError> {
        self.store.add_device(&change(body), &self.keys, &self.me, at(0)).await
    }

    async fn edit(&self, uuid: DeviceUuid, body: &Value) -> Result<DeviceRecord, StoreError> {
        self.store.edit_device(uuid, &change(body), &self.keys, &self.me, at(1)).await
    }

    async fn log(&self) -> Vec<crate::store::AuditEntry> {
        self.store.audit(&AuditQuery { limit: 100, ..AuditQuery::default() }).await.unwrap()
    }
}

on_both! {
    a_device_is_added_edited_deleted_restored_and_purged_and_the_log_says_so,
    names_and_addresses_are_one_device_s,
    who_edits_what_somebody_else_changed_meanwhile_is_told,
    secrets_are_named_and_never_shown,
    host_keys_are_pinned_and_replaced,
    other_sources_devices_have_names_and_notes_only,
    a_device_is_found_by_what_people_call_it,
    the_hub_s_key_is_made_once,
}

async fn a_device_is_added_edited_deleted_restored_and_purged_and_the_log_says_so(place: Place) {
    let f = fixture(place).await;
    let added = f
        .add(&json!({ "address": "ssh://me@web-1", "tags": ["web"], "group": "prod" }))
        .await
        .unwrap();
    assert_eq!((added.spec.name.as_str(), added.revision), ("web-1", 1));
    let uuid = added.device_uuid;
    assert_eq!(f.store.inventoried(uuid).await.unwrap().unwrap(), added);
    let edited = f.edit(uuid, &json!({ "name": "front", "group": null })).await.unwrap();
    assert_eq!((edited.spec.name.as_str(), edited.revision), ("front", 2));
    assert_eq!(edited.spec.tags, ["web"]);
    // Nothing new is no change.
    let last = f.store.last_change().await.unwrap();
    assert_eq!(f.edit(uuid, &json!({ "name": "front" })).await.unwrap(), edited);
    assert_eq!(f.store.last_change().await.unwrap(), last);

    let not_deleted = f.store.purge_device(uuid, &f.me, at(2)).await;
    assert!(matches!(not_deleted, Err(StoreError::NotDeleted(_))));
    f.store.delete_device(uuid, &f.me, at(2)).await.unwrap();
    assert!(f.store.inventory(Listed::Present).await.unwrap().is_empty());
    assert_eq!(f.store.inventory(Listed::Deleted).await.unwrap().len(), 1);
    assert!(matches!(f.edit(uuid, &json!({})).await, Err(StoreError::NotFound(..))));
    let back = f.store.restore_device(uuid, &f.me, at(3)).await.unwrap();
    assert_eq!((back.id, back.deleted_at), (added.id, None));
    f.store.delete_device(uuid, &f.me, at(4)).await.unwrap();
    f.store.purge_device(uuid, &f.me, at(5)).await.unwrap();
    assert_eq!(f.store.inventoried(uuid).await.unwrap(), None);

    let log = f.log().await;
    let actions: Vec<_> = log.iter().rev().map(|entry| entry.action.as_str()).collect();
    let all = ["add", "edit", "delete", "restore", "delete", "purge"];
    assert_eq!(actions, all.map(|action| format!("device.{action}")));
    let edit = &log[log.len() - 2];
    assert_eq!(edit.before, Some(json!({ "name": "web-1", "group": "prod" })));
    assert_eq!(edit.after, Some(json!({ "name": "front" })));
    assert_eq!((edit.actor.kind.as_str(), edit.actor.name.as_str()), ("cli", "me"));
    assert_eq!(edit.device_name.as_deref(), Some("front"));
    let older = AuditQuery { before: Some(log[3].id), device: Some(uuid), limit: 2 };
    let page = f.store.audit(&older).await.unwrap();
    assert_eq!(page, log[4..6]);
}

async fn names_and_addresses_are_one_device_s(place: Place) {
    let f = fixture(place).await;
    let first = f.add(&json!({ "address": "me@web-1", "name": "one" })).await.unwrap();
    for (body, field) in [
        (json!({ "address": "me@web-2", "name": "one" }), "name"),
        (json!({ "address": "ssh://me@WEB-1:22", "name": "two" }), "address"),
    ] {
        match f.add(&body).await {
            Err(StoreError::Taken { field: taken, .. }) => assert_eq!(taken, field),
            other => panic!("{other:?}"),
        }
    }
    // By another way it is another host.
    let jump = json!({ "jump": ["ssh://me@gate"] });
    f.add(&json!({ "address": "me@web-1", "name": "two", "ssh": jump })).await.unwrap();
    // A deleted one holds nothing.
    f.store.delete_device(first.device_uuid, &f.me, at(1)).await.unwrap();
    f.add(&json!({ "address": "me@web-1", "name": "one" })).await.unwrap();
    let back = f.store.restore_device(first.device_uuid, &f.me, at(2)).await;
    assert!(matches!(back, Err(StoreError::Taken { .. })));
}

async fn who_edits_what_somebody_else_changed_meanwhile_is_told(place: Place) {
    let f = fixture(place).await;
    let device = f.add(&json!({ "address": "me@web-1" })).await.unwrap();
    let uuid = device.device_uuid;
    f.edit(uuid, &json!({ "notes": "by another", "revision": 1 })).await.unwrap();
    let late = f.edit(uuid, &json!({ "notes": "mine", "revision": 1 })).await;
    assert!(matches!(late, Err(StoreError::Changed { asked: 1, now: 2 })));
}

async fn secrets_are_named_and_never_shown(place: Place) {
    let f = fixture(place).await;
    let body = json!({ "address": "me@web-1", "secrets": { "password": "hunter2-planted" } });
    let device = f.add(&body).await.unwrap();
    let ssh = device.spec.ssh.as_ref().unwrap();
    assert_eq!(ssh.sign_in, [SignInMethod::Password], "who gives a password signs in by it");
    assert_eq!(device.secrets[0].kind, SecretKind::Password);
    let uuid = device.device_uuid;
    let open = async |kind| f.store.device_secret(uuid, kind, &f.keys).await;
    assert_eq!(open(SecretKind::Password).await.unwrap().unwrap().as_str(), "hunter2-planted");
    assert!(open(SecretKind::PrivateKey).await.unwrap().is_none());
    let shown =
        format!("{device:?} {} {:?}", serde_json::to_string(&device).unwrap(), f.log().await);
    assert!(!shown.contains("hunter2"), "{shown}");
    for file in std::fs::read_dir(f.place.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(15).any(|part| part == b"hunter2-planted");
        assert!(!found, "the password stands in {}", path.display());
    }
    // Another secret is another row, so that whoever uses it notices.
    let row = device.secrets[0].row;
    let edited = f.edit(uuid, &json!({ "secrets": { "password": "another" } })).await.unwrap();
    assert!(edited.secrets[0].row != row && edited.revision == 2);
    // Without it the way to sign in has nothing to sign in by.
    match f.edit(uuid, &json!({ "secrets": { "password": null } })).await {
        Err(StoreError::Field(error)) => assert_eq!(error.field, "secrets.password"),
        other => panic!("{other:?}"),
    }
    let by_key = json!({ "secrets": { "password": null }, "ssh": { "signIn": ["hub-key"] } });
    assert!(f.edit(uuid, &by_key).await.unwrap().secrets.is_empty());
    assert_eq!(f.log().await[0].after.as_ref().unwrap()["secrets"]["password"], "removed");
    // A deleted device's secrets are gone at once.
    f.edit(uuid, &json!({ "secrets": { "password": "x" } })).await.unwrap();
    f.store.delete_device(uuid, &f.me, at(9)).await.unwrap();
    assert!(open(SecretKind::Password).await.unwrap().is_none());
}

#[test]
fn a_wrong_secret_is_not_repeated() {
    for secrets in [
        json!({ "password": ["planted"] }),
        json!({ "password": 7, "x": "planted" }),
        json!("planted"),
        json!({ "privateKey": "planted".repeat(20_000) }),
    ] {
        let body = json!({ "secrets": secrets });
        let error = DeviceChange::of(body.as_object().unwrap().clone()).unwrap_err();
        assert!(error.field.starts_with("secrets"), "{error}");
        assert!(!error.to_string().contains("planted"), "{error}");
    }
}

async fn host_keys_are_pinned_and_replaced(place: Place) {
    let f = fixture(place).await;
    let jump = json!({ "jump": ["ssh://me@gate:2222"] });
    let device = f.add(&json!({ "address": "me@web-1", "ssh": jump })).await.unwrap();
    let uuid = device.device_uuid;
    let pin = async |host, key, replace| {
        f.store.pin_host_key(uuid, host, key, replace, &Actor::Hub, at(1)).await
    };
    let keys = |device: &DeviceRecord| -> Vec<(String, String)> {
        let keys = &device.spec.ssh.as_ref().unwrap().host_keys;
        keys.iter().map(|key| (key.host.clone(), key.fingerprint.clone())).collect()
    };
    let own = |key: &str| ("web-1:22".to_owned(), key.to_owned());
    assert_eq!(keys(&pin(None, KEY, false).await.unwrap()), [own(KEY)]);
    assert_eq!(pin(None, KEY, false).await.unwrap().revision, 2, "pinned already");
    let gate = ("gate:2222".to_owned(), KEY.to_owned());
    let both = pin(Some("gate:2222"), KEY, false).await.unwrap();
    assert_eq!(keys(&both), [own(KEY), gate.clone()]);
    let replaced = pin(None, OTHER, true).await.unwrap();
    assert_eq!(keys(&replaced), [gate, own(OTHER)]);
    for (host, key) in [(Some("elsewhere:22"), KEY), (None, "SHA256:short")] {
        assert!(matches!(pin(host, key, false).await, Err(StoreError::Field(_))));
    }
    assert_eq!(f.log().await[0].action, "device.host-key");
}

async fn other_sources_devices_have_names_and_notes_only(place: Place) {
    let f = fixture(place).await;
    let agent = f.store.device(SourceKind::Agent, "a/1", "web-9", at(0)).await.unwrap();
    let local = f.store.device(SourceKind::Local, "m", "hub", at(0)).await.unwrap();
    let edited = f.edit(agent.uuid, &json!({ "name": "nine", "tags": ["x"] })).await.unwrap();
    assert_eq!((edited.source, edited.spec.address), (SourceKind::Agent, None));
    for body in [
        json!({ "address": "me@x" }),
        json!({ "enabled": false }),
        json!({ "options": { "period": 5 } }),
        json!({ "secrets": { "password": "x" } }),
    ] {
        assert!(matches!(f.edit(agent.uuid, &body).await, Err(StoreError::Field(_))), "{body}");
    }
    let refused = f.store.delete_device(local.uuid, &f.me, at(1)).await;
    assert!(matches!(refused, Err(StoreError::Local(_))));
    // A deleted one is not made again by its agent.
    f.store.delete_device(agent.uuid, &f.me, at(1)).await.unwrap();
    let key = crate::store::DeviceKey { key: "a/1", name: "web-9", tags: &[] };
    let all = crate::access::DeviceScope::All;
    assert_eq!(f.store.devices(SourceKind::Agent, &[key], &all, at(2)).await.unwrap(), [None]);
}

async fn a_device_is_found_by_what_people_call_it(place: Place) {
    let f = fixture(place).await;
    let one = f
        .add(&json!({ "address": "me@a", "name": "o'neil; $(reboot) \"x\" ../.." }))
        .await
        .unwrap();
    let find = async |text: &str| f.store.find_device(text, Listed::Present).await;
    for text in [&one.spec.name, &one.device_uuid.to_string(), &one.id.to_string()] {
        assert_eq!(find(text).await.unwrap(), one, "{text}");
    }
    assert!(matches!(find("nothing").await, Err(StoreError::NotFound(..))));
    for n in 0..2 {
        f.store.device(SourceKind::Agent, &format!("a/{n}"), "twin", at(0)).await.unwrap();
    }
    assert!(matches!(find("twin").await, Err(StoreError::Ambiguous(_, 2, _))));
}

async fn the_hub_s_key_is_made_once(place: Place) {
    let f = fixture(place).await;
    let make = |text: &'static str| move || Ok(zeroize::Zeroizing::new(text.to_owned()));
    let first = f.store.hub_key(&f.keys, make("first"), &f.me, at(0)).await.unwrap();
    let again = f.store.hub_key(&f.keys, make("second"), &f.me, at(0)).await.unwrap();
    assert_eq!((first.as_str(), again.as_str()), ("first", "first"));
}
